/* How fast JSON is checked: one line a figure, {"name":…,"value":…,"unit":…}.  Each is the best of many short runs, so
 * that a busy machine says nothing about the code. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "json/json.h"

#define TEXT_SIZE (1u << 20)
#define RUNS 200

static void die(const char *what)
{
    fprintf(stderr, "bench/json: %s\n", what);
    exit(1);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void make_string(struct buf *b)
{
    buf_putc(b, '"');
    while (b->len < TEXT_SIZE)
        buf_putc(b, (char)('a' + b->len % 26));
    buf_putc(b, '"');
}

static void make_int(struct buf *b)
{
    uint32_t state = 1;
    buf_putc(b, '[');
    for (const char *comma = ""; b->len < TEXT_SIZE; comma = ",")
        buf_printf(b, "%s%" PRIu32, comma, next_random(&state) >> (state & 31));
    buf_putc(b, ']');
}

static void make_records(struct buf *b)
{
    uint32_t state = 1;
    buf_putc(b, '[');
    for (const char *comma = ""; b->len < TEXT_SIZE; comma = ",") {
        uint32_t r = next_random(&state);
        buf_printf(b, "%s{\"id\":%u,\"name\":\"item %u\",\"ok\":%s,\"value\":%u.%u}", comma, r >> 8, r >> 20,
                   r & 4096 ? "true" : "false", r >> 24, r >> 16 & 255);
    }
    buf_putc(b, ']');
}

/* Checks while copying, as the host does with a plugin's result. */
static void copying(const char *name, void (*make)(struct buf *b))
{
    struct buf text = BUF_INIT(2 * TEXT_SIZE);
    make(&text);
    uint8_t *copy = malloc(text.len + JSON_PAD);
    if (!copy || text.failed)
        die("no memory");
    uint64_t best = UINT64_MAX;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_mono_ns();
        if (!json_copy_valid(copy, text.data, text.len))
            die("a valid text was refused");
        uint64_t took = clock_mono_ns() - start;
        best = took < best ? took : best;
    }
    printf("{\"name\":\"%s\",\"value\":%.2f,\"unit\":\"GB/s\"}\n", name, (double)text.len / (double)best);
    free(copy);
    buf_free(&text);
}

static struct json_schema *compile(const char *schema)
{
    struct buf text = BUF_INIT(4096);
    struct json_schema *compiled;
    struct error err;
    buf_puts(&text, schema);
    if (json_schema_compile(text.data, text.len, &compiled, &err))
        die(err.message);
    buf_free(&text);
    return compiled;
}

/* The best time of one check, in ns. */
static double check_ns(const struct json_schema *schema, uint8_t *text, size_t len, int times)
{
    double best = 1e18;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < times; i++)
            if (json_schema_check(schema, text, len, NULL))
                die("a fitting text was refused");
        double took = (double)(clock_mono_ns() - start) / times;
        best = took < best ? took : best;
    }
    return best;
}

static void schema_small(void)
{
    struct json_schema *schema =
        compile("{\"type\":\"object\",\"properties\":{\"data\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}},"
                "\"operation\":{\"enum\":[\"add\",\"subtract\",\"multiply\"]},\"factor\":{\"type\":\"number\"}},"
                "\"required\":[\"data\",\"operation\"],\"additionalProperties\":false}");
    struct buf text = BUF_INIT(4096);
    buf_puts(&text, "{\"data\":[1,2,3,4.5,-6,17,1000],\"operation\":\"multiply\",\"factor\":2}");
    printf("{\"name\":\"json.schema64_ns\",\"value\":%.1f,\"unit\":\"ns\"}\n",
           check_ns(schema, text.data, text.len, 1000));
    buf_free(&text);
    json_schema_free(schema);
}

static void schema_large(const char *name, const char *schema_text, void (*make)(struct buf *b))
{
    struct json_schema *schema = compile(schema_text);
    struct buf text = BUF_INIT(2 * TEXT_SIZE);
    make(&text);
    printf("{\"name\":\"%s\",\"value\":%.2f,\"unit\":\"GB/s\"}\n", name,
           (double)text.len / check_ns(schema, text.data, text.len, 1));
    buf_free(&text);
    json_schema_free(schema);
}

int main(void)
{
    copying("json.string", make_string);
    copying("json.int", make_int);
    copying("json.records", make_records);
    schema_small();
    schema_large("json.schema_numbers", "{\"items\":{\"type\":\"number\"}}", make_int);
    schema_large("json.schema_records",
                 "{\"items\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\",\"minimum\":0},"
                 "\"name\":{\"type\":\"string\"},\"ok\":{\"type\":\"boolean\"},\"value\":{\"type\":\"number\"}},"
                 "\"required\":[\"id\",\"name\",\"ok\",\"value\"],\"additionalProperties\":false}}",
                 make_records);
    schema_large("json.schema_any", "{}", make_records);
    return 0;
}
