/* What a hostile schema and a long text can cost together: counted in steps, which are bounded whatever they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "json/program.h"
#include "json/unique.h"

#define TEXT (8u << 20)

static struct json_schema *compile(struct buf *text)
{
    struct json_schema *schema;
    struct error err;
    if (json_schema_compile(text->data, text->len, &schema, &err))
        fail_msg("%s", err.message);
    return schema;
}

/* [PIECE,PIECE,…] of TEXT bytes. */
static void repeat(struct buf *text, const char *piece)
{
    buf_putc(text, '[');
    while (text->len + strlen(piece) + 2 < TEXT) {
        buf_puts(text, piece);
        buf_putc(text, ',');
    }
    text->data[text->len - 1] = ']';
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t count(const char *what, struct buf *schema_text, struct buf *text, int code)
{
    struct json_schema *schema = compile(schema_text);
    int64_t steps;
    uint64_t begin = cpu_ns();
    int rc = json_schema_count(schema, text->data, text->len, &steps);
    uint64_t ns = cpu_ns() - begin;
    print_message("# %s: %lld steps, %.1f ms\n", what, (long long)steps, (double)ns / 1e6);
    assert_int_equal(-rc, code);
    json_schema_free(schema);
    return steps;
}

/* Over the budget, and not by more than one value that was begun. */
static void assert_stopped(const char *what, struct buf *schema, struct buf *text)
{
    int64_t steps = count(what, schema, text, MOAT_E_LIMIT);
    assert_in_range(steps, json_steps(text->len), json_steps(text->len) + (int64_t)text->len);
}

static void the_budget_has_an_end(void **state)
{
    assert_int_equal(json_steps(0), 1 << 20);
    assert_int_equal(json_steps(1000), (1 << 20) + 32000);
    for (size_t len = 1; len < SIZE_MAX / 2; len *= 2)
        assert_in_range(json_steps(len), 1, PROGRAM_STEPS_MAX);
    assert_int_equal(json_steps(TEXT), PROGRAM_STEPS_MAX);
    assert_int_equal(json_steps((size_t)1 << 32), PROGRAM_STEPS_MAX);
}

/* Names of the schema that all meet in one slot of its table, looked for by one that meets them there. */
static void names_that_collide(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    char name[32], piece[64] = "";
    buf_puts(&schema, "{\"items\":{\"properties\":{");
    for (unsigned i = 0, found = 0; found <= 1000; i++) {
        memset(name, 0, sizeof name);
        int len = snprintf(name, sizeof name, "n%u", i);
        if (unique_hash((const uint8_t *)name, (size_t)len) & 4095)
            continue;
        if (++found <= 1000)
            buf_printf(&schema, "%s\"%s\":true", found > 1 ? "," : "", name);
        else
            snprintf(piece, sizeof piece, "{\"%s\":1}", name);
    }
    buf_puts(&schema, "}}}");
    repeat(&text, piece);
    assert_stopped("colliding names", &schema, &text);
}

static void wide_objects(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    buf_puts(&schema, "{\"items\":{\"properties\":{");
    for (int i = 0; i < 14000; i++)
        buf_printf(&schema, "%s\"p%d\":true", i ? "," : "", i);
    buf_puts(&schema, "}}}");
    repeat(&text, "{}");
    assert_stopped("wide objects", &schema, &text);
}

/* An enum of values of one length that differ at their ends, of what open and close say. */
static void assert_dear_choices(const char *what, const char *open, const char *close)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    char digits[1001], piece[1100];
    memset(digits, '1', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    buf_puts(&schema, "{\"items\":{\"enum\":[");
    for (int i = 100; i < 350; i++)
        buf_printf(&schema, "%s%s%s%d%s", i > 100 ? "," : "", open, digits, i, close);
    buf_puts(&schema, "]}}");
    snprintf(piece, sizeof piece, "%s%s349%s", open, digits, close);
    repeat(&text, piece);
    assert_stopped(what, &schema, &text);
}

static void long_choices(void **state)
{
    assert_dear_choices("long strings", "\"", "\"");
    assert_dear_choices("long strings with an escape", "\"\\u0041", "\"");
    assert_dear_choices("long numbers", "", "");
    assert_dear_choices("long strings inside", "[\"", "\"]");
    assert_dear_choices("long names", "{\"", "\":1}");
}

static void many_short_choices(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    buf_puts(&schema, "{\"items\":{\"enum\":[");
    for (int i = 0; i < 30000; i++)
        buf_printf(&schema, "%s%d", i ? "," : "", i);
    buf_puts(&schema, "]}}");
    repeat(&text, "29999");
    assert_stopped("short numbers", &schema, &text);
}

static void branches(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    buf_puts(&schema, "{\"allOf\":[true");
    for (int i = 0; i < 40; i++)
        buf_puts(&schema, ",{\"items\":{\"multipleOf\":7,\"minimum\":1.0000000000000000001}}");
    buf_puts(&schema, "]}");
    repeat(&text, "7e0");
    assert_stopped("branches", &schema, &text);
}

static void many_members(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    buf_puts(&schema, "{\"additionalProperties\":{\"minimum\":0}}");
    for (int i = 0; text.len < TEXT - 64; i++)
        buf_printf(&text, "%c\"%x\":1", i ? ',' : '{', i);
    buf_putc(&text, '}');
    assert_stopped("many members", &schema, &text);
}

/* What people write is far from the end of it, in the largest text that is taken by default. */
static void an_ordinary_long_text_fits(void **state)
{
    buf_auto schema = BUF_INIT(PROGRAM_TEXT_MAX);
    buf_auto text = BUF_INIT(TEXT + 64);
    buf_puts(&schema,
             "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"id\",\"kind\"],\"properties\":{"
             "\"id\":{\"type\":\"integer\",\"minimum\":0},"
             "\"kind\":{\"enum\":[\"temperature\",\"pressure\",\"humidity\",\"wind\"]},"
             "\"value\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"number\"}]},"
             "\"place\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"object\",\"properties\":{"
             "\"x\":{\"type\":\"number\"},\"y\":{\"type\":\"number\"}}}]}},"
             "\"additionalProperties\":false}}");
    repeat(&text, "{\"id\":123456,\"kind\":\"humidity\",\"value\":17.25,\"place\":{\"x\":1.5,\"y\":-3}}");
    assert_in_range(count("ordinary", &schema, &text, 0), 0, PROGRAM_STEPS_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_has_an_end), cmocka_unit_test(names_that_collide),
        cmocka_unit_test(wide_objects),          cmocka_unit_test(long_choices),
        cmocka_unit_test(many_short_choices),    cmocka_unit_test(branches),
        cmocka_unit_test(many_members),          cmocka_unit_test(an_ordinary_long_text_fits),
    };
    return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
