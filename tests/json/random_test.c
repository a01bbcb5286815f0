/* Random documents and mutations of them: the checkers agree with each other, with the schema machine under schemas
 * that allow everything, and with jansson.
 *
 * What jansson refuses and RFC 8259 allows is masked, by its own error codes and these escapes: numbers out of the
 * range of C types, a NUL in a name, lone surrogates.  A raw NUL byte it may take for nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "all_checkers.h"
#include "base/buf.h"
#include "json/json.h"

#define DOCUMENTS 20000
#define MUTATIONS 12 /* of each document */
#define DOCUMENT_MAX 4000

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static unsigned below(unsigned n)
{
    return (unsigned)(next_random() >> 16) % n;
}

#define PICK(table) (table)[below(sizeof(table) / sizeof *(table))]

static void put_space(struct buf *b)
{
    static const char *const space[] = {"",   "",   "",   "",     " ",
                                        "  ", "\n", "\t", "\r\n", "                                "};
    buf_puts(b, PICK(space));
}

static void put_string(struct buf *b)
{
    static const char *const parts[] = {"a",
                                        "abc",
                                        " ",
                                        "0",
                                        "{",
                                        "]",
                                        ",",
                                        ":",
                                        "\\\"",
                                        "\\\\",
                                        "\\/",
                                        "\\b",
                                        "\\f",
                                        "\\n",
                                        "\\r",
                                        "\\t",
                                        "\\u0000",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\\ud800",
                                        "\\uDC00",
                                        "\xc3\xa9",
                                        "\xe6\xbc\xa2",
                                        "\xf0\x9f\x98\x80",
                                        "\xed\x9f\xbf",
                                        "\xf4\x8f\xbf\xbf",
                                        "\x7f",
                                        "true",
                                        "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"};
    buf_putc(b, '"');
    for (unsigned n = below(4) ? below(4) : below(24); n; n--)
        buf_puts(b, PICK(parts));
    buf_putc(b, '"');
}

static void put_digits(struct buf *b)
{
    for (unsigned n = 1 + (below(8) ? below(4) : below(40)); n; n--)
        buf_putc(b, (char)('0' + below(10)));
}

static void put_number(struct buf *b)
{
    if (!below(3))
        buf_putc(b, '-');
    if (below(4)) {
        buf_putc(b, (char)('1' + below(9)));
        put_digits(b);
    } else {
        buf_putc(b, '0');
    }
    if (!below(3)) {
        buf_putc(b, '.');
        put_digits(b);
    }
    if (!below(4)) {
        static const char *const e[] = {"e", "E", "e+", "e-", "E-"};
        buf_puts(b, PICK(e));
        buf_putc(b, (char)('0' + below(10)));
    }
}

static void put_value(struct buf *b, unsigned depth);

static void put_container(struct buf *b, unsigned depth, bool object)
{
    buf_putc(b, object ? '{' : '[');
    put_space(b);
    unsigned count = below(8) ? below(5) : below(60);
    for (unsigned i = 0; i < count && b->len < DOCUMENT_MAX; i++) {
        if (i)
            buf_putc(b, ',');
        put_space(b);
        if (object) {
            put_string(b);
            put_space(b);
            buf_putc(b, ':');
            put_space(b);
        }
        put_value(b, depth + 1);
        put_space(b);
    }
    buf_putc(b, object ? '}' : ']');
}

static void put_value(struct buf *b, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    unsigned kind = below(depth > 12 || b->len > DOCUMENT_MAX ? 6 : 12);
    if (kind < 1)
        buf_puts(b, PICK(words));
    else if (kind < 4)
        put_number(b);
    else if (kind < 6)
        put_string(b);
    else
        put_container(b, depth, kind < 9);
}

static void splice(struct buf *b, size_t at, size_t gone, const char *bytes, size_t len)
{
    struct buf next = BUF_INIT(b->max);
    buf_put(&next, b->data, at);
    buf_put(&next, bytes, len);
    buf_put(&next, b->data + at + gone, b->len - at - gone);
    buf_free(b);
    *b = next;
}

static void mutate(struct buf *b)
{
    static const char *const tokens[] = {"\"",   "\\",       "{",        "}",    "[",      "]",    ",",    ":",
                                         "0",    "-",        ".",        "e",    "+",      "1",    "true", "null",
                                         "nul",  "\\u",      "\\ud8",    "\x01", "\x1f",   "\x7f", "\x80", "\xc2",
                                         "\xe0", "\xed\xa0", "\xf4\x90", "\xff", " ",      "\n",   "\f",   "//",
                                         "'",    "[]",       "{}",       "\"\"", "\"a\":", ",,",   "\\\\", "\\\""};
    size_t at = b->len ? below((unsigned)b->len) : 0, left = b->len - at;
    const char *token = PICK(tokens);
    char byte = (char)next_random();
    switch (below(7)) {
    case 0: /* another byte */
        splice(b, at, left != 0, &byte, 1);
        break;
    case 1: /* one bit */
        if (left)
            b->data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 2:
        splice(b, at, 0, token, strlen(token));
        break;
    case 3:
        splice(b, at, left != 0, token, strlen(token));
        break;
    case 4: /* less */
        splice(b, at, left ? 1 + below((unsigned)(left < 4 ? left : 4)) - 0 : 0, "", 0);
        break;
    case 5: /* cut */
        splice(b, at, left, "", 0);
        break;
    default: { /* a piece stands twice */
        char piece[40];
        size_t n = left < sizeof piece ? left : below(sizeof piece);
        if (n)
            memcpy(piece, b->data + at, n);
        splice(b, b->len ? below((unsigned)b->len) : 0, 0, piece, n);
    }
    }
}

static bool contains(const struct buf *b, const char *what)
{
    return memmem(b->data, b->len, what, strlen(what)) != NULL;
}

/* -1: jansson cannot say. */
static int jansson_says(const struct buf *b)
{
    json_error_t err;
    if (memchr(b->data, 0, b->len))
        return -1;
    json_t *tree = json_loadb((const char *)b->data, b->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);
    if (tree) {
        json_decref(tree);
        return 1;
    }
    enum json_error_code code = json_error_code(&err);
    if (code == json_error_numeric_overflow || code == json_error_null_byte_in_key || code == json_error_stack_overflow)
        return -1;
    bool surrogate = contains(b, "\\ud") || contains(b, "\\uD");
    return surrogate ? -1 : 0;
}

static struct json_schema *schemas[4];

static int compile(void **state)
{
    static const char *const texts[] = {
        "true",
        "{\"$defs\":{\"v\":{\"items\":{\"anyOf\":[{\"minimum\":0},{\"exclusiveMaximum\":0}]},\"additionalProperties\":{"
        "\"minLength\":0},"
        "\"properties\":{\"a\":{\"maxLength\":1e6},\"abc\":{},\"0\":{\"items\":{}}}}},"
        "\"items\":{\"$ref\":\"#/$defs/v\"},\"additionalProperties\":{\"$ref\":\"#/$defs/v\"}}",
        "{\"items\":{\"anyOf\":[{\"type\":\"integer\"},{\"items\":{\"type\":[\"string\",\"number\"]}},true]}}",
        "{\"items\":{\"type\":[\"number\",\"string\",\"boolean\",\"null\",\"array\",\"object\"]},\"minProperties\":0}",
    };
    for (size_t i = 0; i < 4; i++) {
        buf_auto b = BUF_INIT(4096);
        struct error err;
        buf_puts(&b, texts[i]);
        if (json_schema_compile(b.data, b.len, &schemas[i], &err)) {
            fprintf(stderr, "# %s\n", err.message);
            return 1;
        }
    }
    return 0;
}

static int release(void **state)
{
    for (size_t i = 0; i < 4; i++)
        json_schema_free(schemas[i]);
    all_checkers_clear();
    return 0;
}

static void say_text(const struct buf *b)
{
    fprintf(stderr, "# ");
    fwrite(b->data, 1, b->len, stderr);
    fputc('\n', stderr);
}

/* A schema that allows everything refuses what is not JSON, and repeated names. */
static void ask_schemas(struct buf *b, int valid)
{
    int first = 0;
    for (size_t i = 0; i < 4; i++) {
        struct json_fault fault = {0};
        int r = json_schema_check(schemas[i], b->data, b->len, &fault);
        bool good = valid ? r == 0 || (r == -MOAT_E_BAD_PARAMETERS && !strncmp(fault.reason, "repeated", 8))
                          : r == -MOAT_E_BAD_JSON;
        if (i == 0)
            first = r;
        if (good && r == first)
            continue;
        say_text(b);
        fail_msg("schema %zu answers %s (%s), the first one %s", i, error_info(r)->name, fault.reason,
                 error_info(first)->name);
    }
}

static int count_valid, count_all;

static void ask_all(struct buf *b)
{
    int valid = all_checkers(b->data, b->len), other = jansson_says(b);
    if (valid < 0)
        fail();
    if (other >= 0 && other != valid) {
        say_text(b);
        fail_msg("jansson says %d, we say %d", other, valid);
    }
    ask_schemas(b, valid);
    count_all++;
    count_valid += valid;
}

static void agrees(void **state)
{
    time_t end = time(NULL) + 50; /* a slow machine tests less, and says so */
    int documents = 0;
    for (; documents < DOCUMENTS && time(NULL) < end; documents++) {
        buf_auto b = BUF_INIT(1 << 20);
        put_space(&b);
        put_value(&b, 0);
        put_space(&b);
        ask_all(&b);
        struct buf first = BUF_INIT(1 << 20);
        buf_put(&first, b.data, b.len);
        for (int i = 0; i < MUTATIONS; i++) {
            if (i % 3 == 0) {
                buf_clear(&b);
                buf_put(&b, first.data, first.len);
            }
            mutate(&b);
            ask_all(&b);
        }
        buf_free(&first);
    }
    print_message("%d documents, %d texts, %d of them valid\n", documents, count_all, count_valid);
    assert_true(count_valid > documents / 2 && count_valid < count_all);
}

int main(void)
{
    const char *seed = getenv("MOAT_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
    printf("# MOAT_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 0x9e3779b97f4a7c15ull | 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees)};
    return cmocka_run_group_tests_name("json.random", tests, compile, release);
}
