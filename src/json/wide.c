/* The bit-parallel checker: 64 bytes become masks of 64 bits, one mask per class of byte, and the grammar is arithmetic
 * on masks.  Bit i of a mask is byte i of the block.
 *
 * Three ideas carry it:
 *   - A carry-less product with all ones is a running XOR: over the quotes it gives the inside of all strings at once.
 *   - Adding the first bits of runs to the mask of the runs moves each bit behind its run: over space it finds the next
 *     token, over digits the end of a number.  The carry out of bit 63 goes to the next block.
 *   - Each token allows only some tokens behind it ("what may follow").  As every token but the first has one before
 *     it, checking all successors checks the order of the whole text.
 * Only brackets, escapes and the words true, false, null are looked at one by one.
 *
 * Faults are collected in `bad` and looked at now and then; nobody asks here where the fault is. */
#include "json/check.h"

#include <string.h>

#include "json/json.h"
#include "json/scan.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,pclmul,bmi,bmi2")))
#define WIDE static inline __attribute__((always_inline)) TARGET
#define RARE(x) __builtin_expect(!!(x), 0)

#define BLOCK 64
#define LOOK_EVERY 4096 /* bytes between looks at `bad` */
#define AHEAD 8         /* bytes behind a block that words and escapes are read from */

_Static_assert(JSON_PAD >= 2 * BLOCK + AHEAD, "the last block and what is read ahead of it fall into the padding");

bool check_wide_usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

struct block {
    __m256i low, high;
};

/* What one block leaves to the next.  Where nothing else is said: bit 0, to be put in front of the mask. */
struct wide {
    uint64_t bad; /* any bit: not JSON */

    uint64_t escaped;   /* the first byte is escaped */
    uint64_t in_string; /* all ones: the first byte is inside a string */
    uint64_t key;       /* that string is a member's name */
    uint64_t in_scalar; /* the last byte belonged to a number or word */

    uint64_t want_value, want_item, want_name, want_colon, want_end; /* see check_order */

    uint64_t minus, zero, dot, exponent, sign; /* the last byte was such, at its place in a number */
    uint64_t whole, fraction, power;           /* digits of that part go on */
    uint64_t digit;                            /* the last byte was a digit */
    uint64_t word;                             /* bits of a word that reach into the next block */

    uint64_t in_object; /* all ones: the innermost container is an object */
    uint64_t levels[JSON_DEPTH_MAX / 64];
    unsigned depth;
    bool members; /* some object has two members */

    __m256i utf8_last, utf8_bad;
    bool utf8_open; /* the last bytes were the beginning of a sequence */
};

/* Masks */

WIDE uint64_t bits(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

WIDE uint64_t equal(struct block v, char c)
{
    __m256i k = _mm256_set1_epi8(c);
    return bits(_mm256_cmpeq_epi8(v.low, k), _mm256_cmpeq_epi8(v.high, k));
}

/* Bytes not above most, unsigned. */
WIDE uint64_t at_most(struct block v, char most)
{
    __m256i k = _mm256_set1_epi8(most);
    return bits(_mm256_cmpeq_epi8(_mm256_min_epu8(v.low, k), v.low),
                _mm256_cmpeq_epi8(_mm256_min_epu8(v.high, k), v.high));
}

WIDE uint64_t digits(struct block v)
{
    __m256i zero = _mm256_set1_epi8('0');
    return at_most((struct block){_mm256_sub_epi8(v.low, zero), _mm256_sub_epi8(v.high, zero)}, 9);
}

WIDE struct block with_bit5(struct block v)
{
    __m256i bit5 = _mm256_set1_epi8(0x20);
    return (struct block){_mm256_or_si256(v.low, bit5), _mm256_or_si256(v.high, bit5)};
}

/* Each bit becomes the XOR of itself and all below. */
WIDE uint64_t running_xor(uint64_t x)
{
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)x), _mm_set1_epi8(-1), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* The positions behind x. */
WIDE uint64_t behind(uint64_t x, uint64_t *carry)
{
    uint64_t r = x << 1 | *carry;
    *carry = x >> 63;
    return r;
}

/* The first positions behind `tokens` that are not space; `also` are such positions already, or the space there. */
WIDE uint64_t next_token(uint64_t tokens, uint64_t also, uint64_t space, uint64_t *carry)
{
    uint64_t next = tokens << 1 | *carry | also;
    unsigned long long sum, in_space = next & space;
    uint64_t overflow = __builtin_add_overflow(in_space, (unsigned long long)space, &sum);
    *carry = tokens >> 63 | overflow;
    return (sum | next) & ~space;
}

/* The positions behind those runs that begin at `starts` (or go on from the last block). */
WIDE uint64_t run_ends(uint64_t starts, uint64_t runs, uint64_t *carry)
{
    unsigned long long sum, with_carry;
    uint64_t overflow = __builtin_add_overflow((unsigned long long)starts, (unsigned long long)runs, &sum);
    overflow |= __builtin_add_overflow(sum, (unsigned long long)*carry, &with_carry);
    *carry = overflow;
    return with_carry & ~runs;
}

/* UTF-8, after J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte" (2020): three tables
 * by half bytes, whose AND is not 0 where two bytes in a row cannot be. */

enum {
    TOO_SHORT = 1,       /* lead, then lead or ASCII */
    TOO_LONG = 2,        /* ASCII, then continuation */
    OVERLONG_3 = 4,      /* e0, then 80..9f */
    TOO_LARGE_1000 = 64, /* f5.., then 80..8f */
    TOO_LARGE = 8,       /* f4, then 90..bf */
    SURROGATE = 16,      /* ed, then a0..bf */
    OVERLONG_2 = 32,     /* c0 or c1, then continuation */
    OVERLONG_4 = 64,     /* f0, then 80..8f */
    TWO_CONTS = -128,    /* continuation, then continuation */
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTS,
    ABOVE_F4 = ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    AFTER_ANY = TOO_LONG | OVERLONG_2 | TWO_CONTS,
};

#define TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/* The vector that starts n bytes earlier. */
#define EARLIER(now, before, n) _mm256_alignr_epi8(now, _mm256_permute2x128_si256(before, now, 0x21), 16 - (n))

WIDE __m256i half_byte(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

WIDE __m256i pair_faults(__m256i now, __m256i before1)
{
    const __m256i by_high1 =
        TWICE(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TWO_CONTS, TWO_CONTS,
              TWO_CONTS, TWO_CONTS, TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
              TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
    const __m256i by_low1 = TWICE(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, ANY_LOW | OVERLONG_2, ANY_LOW,
                                  ANY_LOW, ANY_LOW | TOO_LARGE, ABOVE_F4, ABOVE_F4, ABOVE_F4, ABOVE_F4, ABOVE_F4,
                                  ABOVE_F4, ABOVE_F4, ABOVE_F4, ABOVE_F4 | SURROGATE, ABOVE_F4, ABOVE_F4);
    const __m256i by_high2 = TWICE(TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
                                   TOO_SHORT, AFTER_ANY | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4,
                                   AFTER_ANY | OVERLONG_3 | TOO_LARGE, AFTER_ANY | SURROGATE | TOO_LARGE,
                                   AFTER_ANY | SURROGATE | TOO_LARGE, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT);
    __m256i high1 = _mm256_shuffle_epi8(by_high1, half_byte(_mm256_srli_epi16(before1, 4)));
    __m256i low1 = _mm256_shuffle_epi8(by_low1, half_byte(before1));
    __m256i high2 = _mm256_shuffle_epi8(by_high2, half_byte(_mm256_srli_epi16(now, 4)));
    return _mm256_and_si256(_mm256_and_si256(high1, low1), high2);
}

/* Two continuations in a row are right exactly where a lead of three or four stands two or three bytes before. */
WIDE __m256i must_continue(__m256i now, __m256i before)
{
    __m256i third = _mm256_subs_epu8(EARLIER(now, before, 2), _mm256_set1_epi8((char)(0xe0 - 0x80)));
    __m256i fourth = _mm256_subs_epu8(EARLIER(now, before, 3), _mm256_set1_epi8((char)(0xf0 - 0x80)));
    return _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
}

WIDE void check_utf8_half(struct wide *w, __m256i now, __m256i before)
{
    __m256i faults = pair_faults(now, EARLIER(now, before, 1));
    w->utf8_bad = _mm256_or_si256(w->utf8_bad, _mm256_xor_si256(must_continue(now, before), faults));
}

WIDE void check_utf8(struct wide *w, struct block v)
{
    if (RARE(bits(v.low, v.high) || w->utf8_open)) {
        /* Leads too near the end: above 0xbf in the last byte, above 0xdf in the one before, above 0xef before that. */
        const __m256i complete =
            _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                             -1, -1, -1, -1, -1, -1, (char)0xef, (char)0xdf, (char)0xbf);
        check_utf8_half(w, v.low, w->utf8_last);
        check_utf8_half(w, v.high, v.low);
        __m256i open = _mm256_subs_epu8(v.high, complete);
        w->utf8_open = !_mm256_testz_si256(open, open);
    }
    w->utf8_last = v.high;
}

/* Strings */

/* The bytes behind a backslash that is not escaped itself.  Subtracting the starts from a pattern of odd bits lets the
 * borrow run along each series of backslashes; where it ends tells whether the series was odd. */
WIDE uint64_t escaped_bytes(struct wide *w, uint64_t backslash)
{
    const uint64_t odd = 0xaaaaaaaaaaaaaaaaull;
    uint64_t may_escape = backslash & ~w->escaped;
    uint64_t may_be_escaped = may_escape << 1;
    uint64_t series = ((may_be_escaped | odd) - may_escape) ^ odd;
    uint64_t escaped = series ^ (backslash | w->escaped);
    w->escaped = (series & backslash) >> 63;
    return escaped;
}

static const uint8_t escape_kind[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1, ['n'] = 1, ['r'] = 1, ['t'] = 1, ['u'] = 2};

/* text: the block's bytes, and AHEAD more. */
WIDE void check_escapes(struct wide *w, uint64_t escaped, uint64_t inside, const uint8_t *text)
{
    w->bad |= escaped & ~inside;
    for (; escaped; escaped &= escaped - 1) {
        const uint8_t *p = text + __builtin_ctzll(escaped);
        uint8_t kind = escape_kind[*p];
        if (kind == 1)
            continue;
        bool good =
            kind == 2 && scan_hex(p[1]) >= 0 && scan_hex(p[2]) >= 0 && scan_hex(p[3]) >= 0 && scan_hex(p[4]) >= 0;
        w->bad |= !good;
    }
}

/* Numbers and words */

/* What may stand right behind a word.  (The end of a block hides it from the masks.) */
static const uint8_t ends_word[256] = {[' '] = 1, ['\n'] = 1, ['\r'] = 1, ['\t'] = 1, [','] = 1, [']'] = 1, ['}'] = 1};

/* The words at `starts`; the mask of their bytes. */
WIDE uint64_t find_words(struct wide *w, uint64_t starts, const uint8_t *text)
{
    uint64_t words = w->word;
    w->word = 0;
    for (; starts; starts &= starts - 1) {
        int i = __builtin_ctzll(starts);
        uint32_t four;
        memcpy(&four, text + i, 4);
        unsigned n = 4 + (*(text + i) == 'f');
        bool good = four == 0x65757274 /* true */ || four == 0x6c6c756e /* null */ ||
                    (four == 0x736c6166 && text[i + 4] == 'e') /* false */;
        w->bad |= !good | !ends_word[text[i + n]];
        uint64_t mask = (1ull << n) - 1;
        words |= mask << i;
        if (i + n > BLOCK)
            w->word = mask >> (BLOCK - i);
    }
    return words;
}

/* number = [ minus ] whole [ dot fraction ] [ e [ sign ] power ]: each part begins where the one before ends. */
WIDE void check_numbers(struct wide *w, struct block v, uint64_t number, uint64_t starts, uint64_t digit,
                        uint64_t minus)
{
    digit &= number;
    minus &= number;
    uint64_t dot = equal(v, '.') & number, plus = equal(v, '+') & number, e = equal(with_bit5(v), 'e') & number;
    uint64_t first_minus = minus & starts;
    uint64_t whole = (starts & digit) | behind(first_minus, &w->minus);
    w->bad |= behind(whole & equal(v, '0'), &w->zero) & digit;
    uint64_t whole_end = run_ends(whole & digit, digit, &w->whole);
    uint64_t good_dot = whole_end & dot;
    uint64_t fraction = behind(good_dot, &w->dot);
    uint64_t fraction_end = run_ends(fraction & digit, digit, &w->fraction);
    uint64_t good_e = (whole_end | fraction_end) & e;
    uint64_t behind_e = behind(good_e, &w->exponent);
    uint64_t sign = behind_e & (minus | plus);
    uint64_t power = (behind_e & ~sign) | behind(sign, &w->sign);
    run_ends(power & digit, digit, &w->power);
    uint64_t parts = whole | fraction | power;
    uint64_t digit_starts = digit & ~(digit << 1 | w->digit);
    w->bad |= (parts & ~digit) | (digit_starts & ~parts); /* each part is digits, all digits are in a part */
    w->bad |= (dot ^ good_dot) | (e ^ good_e) | (plus & ~sign) | (minus & ~(first_minus | sign));
    w->bad |= number & ~(digit | dot | e | plus | minus);
    w->digit = digit >> 63;
}

WIDE void check_scalars(struct wide *w, struct block v, uint64_t scalar, uint64_t starts, const uint8_t *text)
{
    uint64_t tail = w->minus | w->dot | w->exponent | w->sign | w->fraction | w->power;
    if (!(scalar | tail | w->zero | w->whole | w->word)) {
        w->digit = 0;
        return;
    }
    uint64_t digit = digits(v) & scalar;
    if (!((scalar & ~digit) | tail | w->word)) {
        /* Nothing but plain whole numbers, the most common case. */
        w->bad |= behind(starts & equal(v, '0'), &w->zero) & digit;
        run_ends(starts, digit, &w->whole);
        w->digit = digit >> 63;
        return;
    }
    uint64_t minus = equal(v, '-') & scalar;
    uint64_t number = scalar & ~find_words(w, starts & ~(digit | minus), text);
    check_numbers(w, v, number, starts & number, digit, minus);
}

/* Brackets */

/* Goes over the brackets one by one.  *in_object becomes the mask of the bytes whose container is an object, from
 * each bracket on; *top the mask of those outside of all. */
WIDE void match_brackets(struct wide *w, uint64_t open, uint64_t both, uint64_t curly, uint64_t *in_object,
                         uint64_t *top)
{
    uint64_t now = w->in_object;
    unsigned depth = w->depth;
    *top = depth ? 0 : ~0ull;
    *in_object = now;
    for (; both; both &= both - 1) {
        int i = __builtin_ctzll(both);
        uint64_t from_here = ~0ull << i, object = 0 - (curly >> i & 1), next;
        if (open >> i & 1) {
            if (RARE(depth == JSON_DEPTH_MAX))
                goto bad;
            uint64_t bit = 1ull << (depth & 63), *level = &w->levels[depth >> 6];
            *level = (*level & ~bit) | (now & bit);
            *top &= depth ? ~0ull : ~from_here;
            next = object;
            depth++;
        } else {
            if (RARE(depth == 0 || now != object))
                goto bad;
            depth--;
            *top |= depth ? 0 : from_here;
            next = 0 - (w->levels[depth >> 6] >> (depth & 63) & 1);
        }
        *in_object ^= (now ^ next) & from_here;
        now = next;
    }
    w->depth = depth;
    w->in_object = now;
    return;
bad:
    w->bad |= 1;
}

/* Order */

struct tokens {
    uint64_t inside; /* strings: opening quote up to before the closing one */
    uint64_t open_quote, close_quote;
    uint64_t open, close, curly; /* curly: bit 5 of the byte, telling { } from [ ] */
    uint64_t comma, colon, space;
    uint64_t scalar, scalar_start, scalar_end;
    uint64_t in_object; /* the mask that match_brackets gives */
};

/* What may follow:
 *   want_value  behind `:`, `[`, a comma in an array, and at the beginning: a value (or `]` behind `[`)
 *   want_item   behind a comma: anything that does not close
 *   want_name   behind `{` and a comma in an object: an opening quote (or `}` behind `{`)
 *   want_colon  behind a member's name
 *   want_end    behind a value: a comma or what closes; at the top, nothing */
WIDE void check_order(struct wide *w, const struct tokens *t)
{
    uint64_t object_comma = t->comma & t->in_object, value = t->open_quote | t->open | t->scalar_start;
    uint64_t open_object = t->open & t->curly, close_object = t->close & t->curly, key_end = 0;
    uint64_t ask_value = (t->comma ^ object_comma) | t->colon | (t->open ^ open_object);
    uint64_t next = next_token(ask_value, 0, t->space, &w->want_value);
    w->bad |= next & ~(value | (t->close ^ close_object));
    w->bad |= next_token(t->comma, 0, t->space, &w->want_item) & t->close;
    if (t->open | t->close | w->in_object | w->want_name | w->want_colon | w->key) {
        w->members |= object_comma != 0;
        next = next_token(object_comma | open_object, 0, t->space, &w->want_name);
        w->bad |= next & ~(t->open_quote | close_object);
        key_end = run_ends(next & t->open_quote, t->inside, &w->key) & t->close_quote;
        w->bad |= next_token(key_end, 0, t->space, &w->want_colon) & ~t->colon;
    }
    uint64_t ends = (t->close_quote & ~key_end) | t->close;
    w->bad |= next_token(ends, t->scalar_end, t->space, &w->want_end) & ~(t->comma | t->close);
}

/* Everything outside of strings. */
WIDE void check_outside(struct wide *w, struct block v, struct tokens *t, uint64_t blank, const uint8_t *text)
{
    uint64_t outside = ~(t->inside | t->close_quote), top = ~0ull, starts_in = w->in_object;
    struct block folded = with_bit5(v); /* [ and { are one, ] and } too */
    t->open = equal(folded, '{') & outside;
    t->close = equal(folded, '}') & outside;
    t->comma = equal(v, ',') & outside;
    t->space = 0;
    if (blank & outside)
        t->space = (equal(v, ' ') | equal(v, '\n') | equal(v, '\r') | equal(v, '\t')) & outside;
    t->curly = 0;
    t->in_object = starts_in;
    if (t->open | t->close) {
        t->curly = bits(_mm256_slli_epi16(v.low, 2), _mm256_slli_epi16(v.high, 2));
        match_brackets(w, t->open, t->open | t->close, t->curly, &t->in_object, &top);
    } else if (w->depth) {
        top = 0;
    }
    w->bad |= t->comma & top;
    /* No object here, no colon: one that stands here all the same counts as part of a scalar and fails as such. */
    t->colon = t->open | t->close | starts_in ? equal(v, ':') & outside : 0;
    t->scalar = outside & ~(t->open | t->close | t->comma | t->colon | t->space);
    uint64_t behind_scalar = behind(t->scalar, &w->in_scalar);
    t->scalar_start = t->scalar & ~behind_scalar;
    t->scalar_end = behind_scalar & ~t->scalar;
    check_order(w, t);
    check_scalars(w, v, t->scalar, t->scalar_start, text);
}

/* text: the block's bytes in private memory, and AHEAD more. */
WIDE void check_block(struct wide *w, struct block v, const uint8_t *text)
{
    struct tokens t;
    check_utf8(w, v);
    uint64_t quote = equal(v, '"'), backslash = equal(v, '\\'), blank = at_most(v, ' '), escaped = 0;
    if (RARE(backslash | w->escaped)) {
        escaped = escaped_bytes(w, backslash);
        quote &= ~escaped;
    }
    uint64_t began_inside = w->in_string;
    t.inside = running_xor(quote) ^ began_inside;
    w->in_string = 0 - (t.inside >> 63);
    if (RARE(blank & t.inside))
        w->bad |= at_most(v, 0x1f) & t.inside;
    if (RARE(escaped))
        check_escapes(w, escaped, t.inside, text);
    if (t.inside == ~0ull && began_inside)
        return; /* the middle of a long string: no token begins or ends */
    t.open_quote = quote & t.inside;
    t.close_quote = quote & ~t.inside;
    check_outside(w, v, &t, blank, text);
}

/* The whole */

WIDE struct block load(const uint8_t *p)
{
    const __m256i *q = (const __m256i *)(const void *)p;
    struct block v = {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
    /* From here on the registers are the truth: no compiler may load a second time from memory that others write. */
    __asm__ volatile("" : "+x"(v.low), "+x"(v.high));
    return v;
}

WIDE void store(uint8_t *p, struct block v)
{
    __m256i *q = (__m256i *)(void *)p;
    _mm256_storeu_si256(q, v.low);
    _mm256_storeu_si256(q + 1, v.high);
}

WIDE void start(struct wide *w)
{
    memset(w, 0, sizeof *w);
    w->want_value = 1;
    w->utf8_last = w->utf8_bad = _mm256_setzero_si256();
}

/* The last block holds at least one space of padding: everything that a byte of the text asks of the next has been
 * answered, and what is still wanted was never given. */
WIDE bool finish(const struct wide *w)
{
    return !w->bad && !w->in_string && !w->depth && !w->want_value && _mm256_testz_si256(w->utf8_bad, w->utf8_bad);
}

/* One block is always loaded ahead of the one that is checked, since words and escapes reach into it. */
TARGET static bool check_copying(uint8_t *text, const uint8_t *src, size_t len, bool *members)
{
    struct wide w;
    size_t full = len & ~(size_t)(BLOCK - 1);
    start(&w);
    if (full) {
        struct block v = load(src), next;
        store(text, v);
        for (size_t i = BLOCK; i < full; i += BLOCK, v = next) {
            next = load(src + i);
            store(text + i, next);
            check_block(&w, v, text + i - BLOCK);
            if (RARE(i % LOOK_EVERY == 0 && w.bad)) {
                /* The copy is finished all the same: someone may want to explain it. */
                check_copy_once(text + i + BLOCK, src + i + BLOCK, len - i - BLOCK);
                return false;
            }
        }
        check_copy_once(text + full, src + full, len - full);
        memset(text + len, ' ', BLOCK + AHEAD);
        check_block(&w, v, text + full - BLOCK);
    } else {
        check_copy_once(text, src, len);
        memset(text + len, ' ', BLOCK + AHEAD);
    }
    check_block(&w, load(text + full), text + full);
    *members = w.members;
    return finish(&w);
}

TARGET static bool check_in_place(uint8_t *text, size_t len, bool *members)
{
    struct wide w;
    size_t full = len & ~(size_t)(BLOCK - 1);
    start(&w);
    memset(text + len, ' ', BLOCK + AHEAD);
    for (size_t i = 0; i <= full; i += BLOCK) {
        check_block(&w, load(text + i), text + i);
        if (RARE(i % LOOK_EVERY == 0 && w.bad))
            return false;
    }
    *members = w.members;
    return finish(&w);
}

bool check_wide(uint8_t *text, const uint8_t *src, size_t len, bool *members)
{
    bool valid = src ? check_copying(text, src, len, members) : check_in_place(text, len, members);
    text[len] = 0; /* the sentinel of scan.h, and the end of a C string */
    return valid;
}

#else

bool check_wide_usable(void)
{
    return false;
}

bool check_wide(uint8_t *text, const uint8_t *src, size_t len, bool *members)
{
    if (src)
        check_copy_once(text, src, len);
    return check_scalar(text, len, members);
}

#endif
