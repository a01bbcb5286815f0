#include "json/walk.h"

#include <stdio.h>

const uint8_t *walk_string(const uint8_t *p, bool *escaped)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    for (;;) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (!mask) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(mask);
        if (*p == '"')
            return p;
        *escaped = true;
        p += 2;
    }
#else
    for (; *p != '"'; p++)
        if (*p == '\\') {
            *escaped = true;
            p++;
        }
    return p;
#endif
}

const uint8_t *walk_bracket(const uint8_t *p)
{
#ifdef __SSE2__
    /* With bit 5 set, [ and { are one character, and so are ] and }. */
    const __m128i bit5 = _mm_set1_epi8(0x20), quote = _mm_set1_epi8('"');
    const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    for (;; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p), w = _mm_or_si128(v, bit5);
        __m128i stop =
            _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_or_si128(_mm_cmpeq_epi8(w, open), _mm_cmpeq_epi8(w, close)));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#else
    while (*p != '"' && *p != '[' && *p != ']' && *p != '{' && *p != '}')
        p++;
    return p;
#endif
}

const uint8_t *walk_value(const uint8_t *p)
{
    bool unused;
    switch (scan_kind_of[*p]) {
    case KIND_STRING:
        return walk_string(p + 1, &unused) + 1;
    case KIND_ARRAY:
    case KIND_OBJECT:
        break;
    default:
        while (*p > ' ' && *p != ',' && *p != ']' && *p != '}')
            p++;
        return p;
    }
    for (unsigned depth = 0;; p++) {
        p = walk_bracket(p);
        if (*p == '"')
            p = walk_string(p + 1, &unused);
        else if (*p == '[' || *p == '{')
            depth++;
        else if (--depth == 0)
            return p + 1;
    }
}

bool walk_member(const uint8_t *p, struct walk_member *m)
{
    p = scan_space(p);
    if (*p == ',')
        p = scan_space(p + 1);
    if (*p == '}')
        return false;
    m->name = p + 1;
    m->escaped = false;
    m->name_end = walk_string(m->name, &m->escaped);
    m->value = scan_space(scan_space(m->name_end + 1) + 1);
    return true;
}

const uint8_t *walk_item(const uint8_t *p)
{
    p = scan_space(p);
    if (*p == ',')
        p = scan_space(p + 1);
    return *p == ']' ? NULL : p;
}

static unsigned four_digits(const uint8_t *p)
{
    unsigned n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 4 | (unsigned)scan_hex(p[i]);
    return n;
}

static bool is_high(unsigned c)
{
    return c >= 0xd800 && c < 0xdc00;
}

static bool is_low(unsigned c)
{
    return c >= 0xdc00 && c < 0xe000;
}

static unsigned encode(uint8_t out[4], unsigned c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    unsigned count = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = count - 1; i; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(c | (0xf00u >> count & 0xff));
    return count;
}

/* c->p stands on a backslash. */
static void resolve_escape(struct walk_chars *c)
{
    static const uint8_t plain[256] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    uint8_t kind = c->p[1];
    c->p += 2;
    c->next = 0;
    if (kind != 'u') {
        c->bytes[0] = plain[kind] ? plain[kind] : kind;
        c->count = 1;
        return;
    }
    unsigned unit = four_digits(c->p);
    c->p += 4;
    if (is_high(unit) && c->p[0] == '\\' && c->p[1] == 'u' && is_low(four_digits(c->p + 2))) {
        unit = 0x10000 + ((unit & 0x3ff) << 10 | (four_digits(c->p + 2) & 0x3ff));
        c->p += 6;
    }
    c->count = encode(c->bytes, unit);
}

int walk_char(struct walk_chars *c)
{
    if (c->next == c->count) {
        if (*c->p == '"')
            return -1;
        if (*c->p != '\\')
            return *c->p++;
        resolve_escape(c);
    }
    return c->bytes[c->next++];
}

bool walk_same_string(const uint8_t *a, const uint8_t *b)
{
    struct walk_chars x = walk_chars(a), y = walk_chars(b);
    int c;
    do {
        c = walk_char(&x);
        if (c != walk_char(&y))
            return false;
    } while (c >= 0);
    return true;
}

uint64_t walk_code_points(const uint8_t *p, const uint8_t *end)
{
    uint64_t n = 0;
    while (p < end) {
        if (*p != '\\') {
            n += (*p++ & 0xc0) != 0x80;
            continue;
        }
        struct walk_chars c = {.p = p};
        resolve_escape(&c);
        p = c.p;
        n++;
    }
    return n;
}

/* Room for "…" is always kept. */
#define ELLIPSIS "\xe2\x80\xa6"

void walk_put(struct walk_out *o, const void *bytes, size_t len)
{
    if (o->cut)
        return;
    if (len > o->size - sizeof ELLIPSIS - o->len) {
        bytes = ELLIPSIS;
        len = sizeof ELLIPSIS - 1;
        o->cut = true;
    }
    memcpy(o->text + o->len, bytes, len);
    o->len += len;
    o->text[o->len] = '\0';
}

void walk_puts(struct walk_out *o, const char *text)
{
    walk_put(o, text, strlen(text));
}

void walk_put_raw(struct walk_out *o, const uint8_t *p, const uint8_t *end, size_t most)
{
    for (size_t used = 0, n; p < end; p += n, used += n) {
        n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        if (used + n > most) {
            walk_puts(o, ELLIPSIS);
            return;
        }
        walk_put(o, *p == 0x7f || *p < 0x20 ? (const uint8_t *)"?" : p, n);
    }
}

/* One token of a pointer, `~` and `/` escaped as RFC 6901 says. */
static void put_token(struct walk_out *o, const uint8_t *name)
{
    struct walk_chars chars = walk_chars(name);
    uint8_t bytes[4];
    walk_put(o, "/", 1);
    for (int c; (c = walk_char(&chars)) >= 0;) {
        size_t n = 0, want = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        for (bytes[n++] = (uint8_t)c; n < want;)
            bytes[n++] = (uint8_t)walk_char(&chars);
        char control[8];
        if (c == '~' || c == '/')
            walk_puts(o, c == '~' ? "~0" : "~1");
        else if (c < 0x20 || c == 0x7f)
            walk_put(o, control, (size_t)snprintf(control, sizeof control, "\\u%04x", (unsigned)c));
        else if (c == 0xed && bytes[1] >= 0xa0)
            walk_puts(o, "\xef\xbf\xbd"); /* a lone surrogate has no UTF-8 */
        else
            walk_put(o, bytes, n);
    }
}

/* The child of the container at p that holds target, or NULL. */
static const uint8_t *child_with(const uint8_t *p, const uint8_t *target, struct walk_place *place)
{
    bool object = *p++ == '{';
    struct walk_member m = {0};
    for (uint64_t index = 0;; index++) {
        if (object ? !walk_member(p, &m) : !(m.value = walk_item(p)))
            return NULL;
        if (target < m.value)
            return NULL;
        p = walk_value(m.value);
        if (target < p) {
            *place = (struct walk_place){.item = !object, .name = m.name, .name_end = m.name_end, .index = index};
            return m.value;
        }
    }
}

void walk_pointer(const uint8_t *text, const uint8_t *target, char *pointer, size_t size, struct walk_place *place)
{
    struct walk_out o = {.text = pointer, .size = size};
    pointer[0] = '\0';
    *place = (struct walk_place){.top = true};
    for (const uint8_t *p = scan_space(text); p && p != target && (*p == '{' || *p == '[');) {
        p = child_with(p, target, place);
        char digits[24];
        if (p && place->item)
            walk_put(&o, digits, (size_t)snprintf(digits, sizeof digits, "/%llu", (unsigned long long)place->index));
        else if (p)
            put_token(&o, place->name);
    }
}
