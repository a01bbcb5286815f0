#include "text.h"

#include <stdlib.h>
#include <string.h>

#define EVERY 64 /* bytes between two known counts of characters */

struct text text;
static uint32_t characters[TEXT_MAX / EVERY + 2];

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static bool begins(const char *at, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - at) >= n && memcmp(at, with, n) == 0;
}

/* ---- what a run of characters is by its form ---- */

/* Extensions that make a.b a file's name; without a list "e.g" and "v1.2" would be some. */
static bool is_extension(const char *at, size_t len)
{
    static const char known[] =
        " c cc cfg conf cpp cs css csv db doc docx env eps epub gif go gz h html ini ipynb java jpeg"
        " jpg js json jsonl jsx key log md mov mp3 mp4 odt parquet pdf pem php png pptx ppt py rb rs"
        " rst sh sql sqlite svg tar tex tgz tif toml ts tsv tsx txt wav webp xls xlsx xml yaml yml zip ";
    char word[10] = " ";
    if (len == 0 || len > 7)
        return false;
    memcpy(word + 1, at, len);
    word[len + 1] = ' ';
    word[len + 2] = 0;
    return strstr(known, word) != NULL;
}

static bool is_file(const char *at, size_t len)
{
    const char *dot = memrchr(at, '.', len);
    if (dot && dot > at && is_extension(dot + 1, (size_t)(at + len - dot - 1)))
        return true;
    bool rooted = at[0] == '/' || (len > 1 && (memcmp(at, "~/", 2) == 0 || memcmp(at, "./", 2) == 0));
    return rooted && len > 2 && is_letter(at[len > 2 && at[0] != '/' ? 2 : 1]);
}

static bool is_email(const char *at, size_t len)
{
    const char *sign = memchr(at, '@', len), *end = at + len;
    if (!sign || sign == at || sign + 1 == end || memchr(sign + 1, '@', (size_t)(end - sign - 1)))
        return false;
    const char *dot = memrchr(sign + 1, '.', (size_t)(end - sign - 1));
    return dot && dot > sign + 1 && end - dot > 2;
}

/* Matches a pattern in which 9 is a digit. */
static bool formed(const char *at, size_t len, const char *pattern)
{
    if (strlen(pattern) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (pattern[i] == '9' ? !is_digit(at[i]) : pattern[i] != at[i])
            return false;
    return true;
}

static bool formed_as_one_of(const char *at, size_t len, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (formed(at, len, *patterns))
            return true;
    return false;
}

static bool is_date(const char *at, size_t len)
{
    static const char *const patterns[] = {"9999-99-99", "99/99/9999", "9/99/9999", "99/9/9999",
                                           "9/9/9999",   "99.99.9999", "9.9.9999",  "99.9.9999",
                                           "9.99.9999",  "9999/99/99", NULL};
    return formed_as_one_of(at, len, patterns);
}

static bool is_time(const char *at, size_t len)
{
    static const char *const patterns[] = {"9:99",   "99:99",   "9am",    "99am",    "9pm", "99pm",
                                           "9:99am", "99:99am", "9:99pm", "99:99pm", NULL};
    return formed_as_one_of(at, len, patterns);
}

/* 12, -3.5, 1,200,000, 20k, 1e6, 30s: begins as a number and has at most a short tail of letters. */
static bool is_number(const char *at, size_t len)
{
    size_t i = at[0] == '-' || at[0] == '+' || at[0] == '~', letters = 0;
    if (i >= len || !is_digit(at[i]))
        return false;
    for (; i < len; i++) {
        if (is_letter(at[i]))
            letters++;
        else if (letters ||
                 !(is_digit(at[i]) || ((at[i] == '.' || at[i] == ',') && i + 1 < len && is_digit(at[i + 1]))))
            return false;
    }
    return letters <= 3;
}

static bool is_version(const char *at, size_t len)
{
    size_t i = at[0] == 'v', dots = 0;
    if (i >= len || !is_digit(at[i]))
        return false;
    for (; i < len; i++) {
        if (!is_digit(at[i]) && at[i] != '.')
            return false;
        dots += at[i] == '.';
    }
    return (dots >= 2 && at[len - 1] != '.') || (at[0] == 'v' && len > 1);
}

/* PROJ-45 or #123 */
static bool is_reference(const char *at, size_t len)
{
    size_t i = 0;
    if (at[0] == '#') {
        i = 1;
    } else {
        while (i < len && at[i] >= 'A' && at[i] <= 'Z')
            i++;
        if (i < 2 || i >= len || at[i++] != '-')
            return false;
    }
    size_t digits = i;
    while (i < len && is_digit(at[i]))
        i++;
    return i == len && i > digits;
}

static size_t currency(const char *at, size_t len)
{
    static const char *const signs[] = {"$", "€", "£", "US$", NULL};
    for (int i = 0; signs[i]; i++)
        if (begins(at, at + len, signs[i]))
            return strlen(signs[i]);
    return 0;
}

static enum token_kind kind_of(const char *at, size_t len)
{
    size_t sign = currency(at, len);
    if (sign && sign < len && is_number(at + sign, len - sign))
        return TOKEN_MONEY;
    if (len > 3 && is_number(at, len - 3) && memcmp(at + len - 3, "€", 3) == 0)
        return TOKEN_MONEY;
    if (len > 1 && at[len - 1] == '%' && is_number(at, len - 1))
        return TOKEN_PERCENT;
    if (is_date(at, len))
        return TOKEN_DATE;
    if (is_time(at, len))
        return TOKEN_TIME;
    if (is_email(at, len))
        return TOKEN_EMAIL;
    if (is_version(at, len))
        return TOKEN_VERSION;
    if (is_number(at, len))
        return TOKEN_NUMBER;
    if (is_reference(at, len))
        return TOKEN_REFERENCE;
    if (at[0] == '@' && len > 1 && is_letter(at[1]))
        return TOKEN_MENTION;
    return is_file(at, len) ? TOKEN_FILE : TOKEN_WORD;
}

/* ---- cutting ---- */

static void push(const char *at, const char *end, enum token_kind kind)
{
    if (end > at && text.n < TEXT_MAX)
        text.tokens[text.n++] = (struct token){(uint32_t)(at - text.bytes), (uint32_t)(end - at), (uint8_t)kind};
}

/* The length of the character at `at`, of which no more is read than there is. */
static size_t character(const char *at, const char *end)
{
    size_t n = 1;
    while (at + n < end && ((unsigned char)at[n] & 0xC0) == 0x80)
        n++;
    return n;
}

/* Marks of three bytes that are punctuation and not letters: quotation marks, dashes, the ellipsis, the bullet. */
static bool is_wide_mark(const char *at, const char *end)
{
    return end - at >= 3 && (unsigned char)at[0] == 0xE2 && (unsigned char)at[1] == 0x80 && !begins(at, end, "’");
}

static bool is_mark(const char *at, const char *end)
{
    return strchr(",;!?()[]{}<>\"=*|:", *at) != NULL || is_wide_mark(at, end);
}

/* A pair of marks around a few words on one line; what is between is not read as an instruction. */
static const char *quoted(const char *at, const char *end, const char *open, const char *close)
{
    if (!begins(at, end, open))
        return NULL;
    const char *from = at + strlen(open), *limit = end - from > 300 ? from + 300 : end;
    for (const char *p = from; p < limit && *p != '\n'; p++)
        if (begins(p, end, close))
            return p > from ? p + strlen(close) : NULL;
    return NULL;
}

static const char *take_quoted(const char *at, const char *end)
{
    const char *behind = quoted(at, end, "`", "`");
    if (behind) {
        push(at, behind, TOKEN_CODE);
        return behind;
    }
    if (!(behind = quoted(at, end, "\"", "\"")) && !(behind = quoted(at, end, "“", "”")))
        return NULL;
    push(at, behind, TOKEN_QUOTED);
    return behind;
}

static const char *take_url(const char *at, const char *end)
{
    if (!begins(at, end, "http://") && !begins(at, end, "https://") && !begins(at, end, "ftp://") &&
        !begins(at, end, "s3://") && !begins(at, end, "www."))
        return NULL;
    const char *p = at;
    while (p < end && !is_space(*p) && !strchr("\"<>()[]{}`", *p))
        p++;
    while (p > at && strchr(".,;:!?'", p[-1]))
        p--;
    push(at, p, TOKEN_URL);
    return p;
}

/* Slashes and hyphens part words, unless the whole is something by its form. */
static void push_words(const char *at, const char *end)
{
    for (const char *p = at; p < end; p++)
        if (*p == '/' && p > at) {
            push(at, p, TOKEN_WORD);
            push(p, p + 1, TOKEN_MARK);
            at = p + 1;
        }
    push(at, end, TOKEN_WORD);
}

/* [1,2,3] written without spaces is three numbers; 1,200 is one. */
static bool thousands(const char *comma, const char *end)
{
    const char *p = comma + 1;
    while (p < end && is_digit(*p))
        p++;
    return p - comma == 4 && comma > text.bytes && is_digit(comma[-1]);
}

static const char *take_run(const char *at, const char *end, bool listed)
{
    const char *p = at;
    while (p < end && !is_space(*p) && *p != '`' && (!is_mark(p, end) || *p == ',' || *p == ':')) {
        bool inside = p > at && p + 1 < end && is_digit(p[-1]) && is_digit(p[1]);
        if ((*p == ',' && (!inside || listed || !thousands(p, end))) || (*p == ':' && !inside))
            break;
        p += character(p, end);
    }
    const char *stop = p;
    while (p > at && strchr(".'", p[-1]))
        p--;
    if (p == at) { /* nothing but dots */
        push(at, at + 1, TOKEN_MARK);
        return at + 1;
    }
    enum token_kind kind = kind_of(at, (size_t)(p - at));
    if (kind == TOKEN_WORD)
        push_words(at, p);
    else
        push(at, p, kind);
    return p < stop ? p : stop;
}

/* Behind a line's end: an empty line, or what opens an item of a list ("- ", "* ", "• ", "2. ", "b) ", "## "). */
static const char *take_break(const char *at, const char *end)
{
    const char *p = at;
    bool empty = false;
    while (p < end && is_space(*p)) {
        empty = empty || (*p == '\n' && p > at);
        p++;
    }
    const char *item = p;
    while (p < end && (is_digit(*p) || *p == '#') && p - item < 4)
        p++;
    bool numbered = p > item && p + 1 < end && ((item[0] == '#' && *p == ' ') || strchr(".)", *p));
    bool lettered = p == item && p + 2 < end && is_letter(*p) && p[1] == ')' && p[2] == ' ';
    bool bullet = p + 1 < end && strchr("-*+", *p) && is_space(p[1]);
    const char *behind = begins(p, end, "•") ? p + strlen("•") : lettered ? p + 2 : numbered || bullet ? p + 1 : NULL;
    if (behind && begins(behind, end, " [ ]"))
        behind += 4;
    if (behind || empty)
        push(at, at + 1, TOKEN_BREAK);
    return behind ? behind : item;
}

static void count_characters(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        if (i % EVERY == 0)
            characters[i / EVERY] = n;
        n += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    }
    if (text.len % EVERY == 0)
        characters[text.len / EVERY] = n;
}

void text_cut(size_t len)
{
    const char *at = text.bytes, *end = at + len;
    text.len = (uint32_t)len;
    text.n = 0;
    text.bytes[len] = text.lower[len] = 0;
    for (size_t i = 0; i < len; i++)
        text.lower[i] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]);
    count_characters();
    bool listed = false;
    if (end > at && !is_space(*at))
        at = take_break(at, end);
    while (at < end) {
        const char *next;
        if (*at == '\n' || at == text.bytes)
            next = take_break(at, end);
        else
            next = at;
        if (next > at) {
            at = next;
        } else if (is_space(*at)) {
            at++;
        } else if ((next = take_quoted(at, end)) || (next = take_url(at, end))) {
            at = next;
        } else if (is_mark(at, end) || *at == '`' || (*at == '-' && (at + 1 == end || is_space(at[1])))) {
            listed = *at == '[' || (listed && *at != ']');
            next = at + character(at, end);
            push(at, next, TOKEN_MARK);
            at = next;
        } else {
            at = take_run(at, end, listed);
        }
    }
}

/* ---- looking ---- */

uint32_t text_character(uint32_t byte)
{
    uint32_t n = characters[byte / EVERY];
    for (uint32_t i = byte / EVERY * EVERY; i < byte; i++)
        n += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    return n;
}

bool text_is(uint32_t i, const char *word)
{
    size_t n = strlen(word);
    return i < text.n && text.tokens[i].len == n && memcmp(text.lower + text.tokens[i].at, word, n) == 0;
}

bool text_is_one_of(uint32_t i, const char *const *words)
{
    for (; *words; words++)
        if (text_is(i, *words))
            return true;
    return false;
}

const char *text_word(uint32_t i, char out[WORD_ROOM])
{
    const struct token *t = &text.tokens[i];
    out[0] = 0;
    if (i < text.n && t->len < WORD_ROOM) {
        memcpy(out, text.lower + t->at, t->len);
        out[t->len] = 0;
    }
    return out;
}

bool text_capital(uint32_t i)
{
    char c = text.bytes[text.tokens[i].at];
    return i < text.n && text.tokens[i].kind == TOKEN_WORD && c >= 'A' && c <= 'Z';
}

bool text_number(uint32_t i, double *out)
{
    const struct token *t = &text.tokens[i];
    char plain[64], *end;
    size_t n = 0;
    if (i >= text.n || t->kind != TOKEN_NUMBER || t->len >= sizeof plain)
        return false;
    for (uint32_t k = 0; k < t->len; k++)
        if (text.lower[t->at + k] != ',' && text.lower[t->at + k] != '~')
            plain[n++] = text.lower[t->at + k];
    plain[n] = 0;
    *out = strtod(plain, &end);
    if (strcmp(end, "k") == 0)
        *out *= 1e3;
    else if (strcmp(end, "m") == 0)
        *out *= 1e6;
    else if (*end)
        return false;
    return *out > -1e300 && *out < 1e300;
}
