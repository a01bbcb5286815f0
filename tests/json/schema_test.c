/* Schemas: what each keyword allows, what the answer says, what is refused when compiling, and the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "place.h"
#include "json/json.h"

static struct place place;

static struct json_schema *compile(const char *text)
{
    struct json_schema *schema = NULL;
    struct error err;
    if (json_schema_compile(place_text(&place, text, strlen(text), '}'), strlen(text), &schema, &err))
        fail_msg("%s: %s", text, err.message);
    return schema;
}

static int check(const struct json_schema *schema, const char *text, size_t len, struct json_fault *fault)
{
    struct json_fault copied = {0};
    uint8_t *dst = calloc(1, len + JSON_PAD);
    assert_non_null(dst);
    int r = json_schema_check(schema, place_text(&place, text, len, ']'), len, fault);
    assert_int_equal(json_schema_copy_check(schema, dst, place_text(&place, text, len, 0), len, &copied), r);
    assert_memory_equal(dst, text, len);
    assert_int_equal(json_schema_check(schema, dst, len, NULL), r);
    if (r) {
        assert_int_equal(r, -(int)fault->code);
        assert_string_equal(copied.reason, fault->reason);
        assert_string_equal(copied.pointer, fault->pointer);
        assert_int_equal(copied.offset, fault->offset);
    }
    free(dst);
    return r;
}

struct answer {
    const char *schema;                  /* NULL: as before */
    const char *text, *pointer, *reason; /* reason NULL: fits */
};

static void run(const struct answer *cases, size_t count)
{
    struct json_schema *schema = NULL;
    const char *said = "";
    for (size_t i = 0; i < count; i++) {
        const struct answer *c = &cases[i];
        if (c->schema) {
            json_schema_free(schema);
            schema = compile(said = c->schema);
        }
        struct json_fault fault = {0};
        int r = check(schema, c->text, strlen(c->text), &fault);
        if (!c->reason) {
            if (r)
                fail_msg("%s should fit %s: %s", c->text, said, fault.reason);
            continue;
        }
        if (r != -MOAT_E_BAD_PARAMETERS)
            fail_msg("%s should not fit %s: %d", c->text, said, r);
        assert_string_equal(fault.reason, c->reason);
        assert_string_equal(fault.pointer, c->pointer);
    }
    json_schema_free(schema);
}
#define RUN(table) run(table, sizeof(table) / sizeof *(table))

static void answers_types(void **state)
{
    static const struct answer cases[] = {
        {"{\"type\":\"integer\"}", "1", 0, 0},
        {NULL, "-0", 0, 0},
        {NULL, "1.0", 0, 0},
        {NULL, "10e-1", 0, 0},
        {NULL, "1e300", 0, 0},
        {NULL, "0.000e-99999999999999999999", 0, 0},
        {NULL, "123456789012345678901234567890", 0, 0},
        {NULL, "1.5", "", "expected integer, found 1.5"},
        {NULL, "1e-1", "", "expected integer, found 1e-1"},
        {NULL, "\"1\"", "", "expected integer, found string"},
        {NULL, "null", "", "expected integer, found null"},
        {"{\"type\":[\"string\",\"null\",\"array\"]}", "null", 0, 0},
        {NULL, "[{}]", 0, 0},
        {NULL, "true", "", "expected null, string or array, found boolean"},
        {NULL, "{}", "", "expected null, string or array, found object"},
        {"{\"type\":[\"integer\",\"number\"]}", "1.5", 0, 0},
        {"{\"items\":{\"type\":\"number\"}}", "[1,2,\"x\"]", "/2", "expected number, found string"},
        {NULL, "{\"a\":\"x\"}", 0, 0},
        {"false", "1", "", "no value is allowed here"},
        {"true", "1", 0, 0},
        {"{}", "[{\"a\":1}]", 0, 0},
        {"{\"properties\":{\"a\":false}}", "{\"a\":1}", "/a", "no value is allowed here"},
    };
    RUN(cases);
}

static void answers_numbers(void **state)
{
    static const struct answer cases[] = {
        {"{\"minimum\":0,\"maximum\":10}", "0", 0, 0},
        {NULL, "-0.0", 0, 0},
        {NULL, "10.00", 0, 0},
        {NULL, "1e1", 0, 0},
        {NULL, "-1", "", "the value must be at least 0"},
        {NULL, "10.000000000000000000000000000001", "", "the value must be at most 10"},
        {NULL, "1e400", "", "the value must be at most 10"},
        {NULL, "-1e-400", "", "the value must be at least 0"},
        {NULL, "977629833402412734e9776298334024127349", "", "the value must be at most 10"},
        {NULL, "1e-99999999999999999999999999999999", 0, 0},
        {NULL, "\"x\"", 0, 0},
        {"{\"exclusiveMinimum\":0.1,\"exclusiveMaximum\":1}", "0.10000000000000000001", 0, 0},
        {NULL, "0.1", "", "the value must be greater than 0.1"},
        {NULL, "1.0", "", "the value must be less than 1"},
        {"{\"maximum\":9223372036854775807}", "9223372036854775807", 0, 0},
        {NULL, "9223372036854775808", "", "the value must be at most 9223372036854775807"},
        {"{\"maximum\":18446744073709551615}", "18446744073709551615", 0, 0},
        {NULL, "18446744073709551616", "", "the value must be at most 18446744073709551615"},
        {"{\"multipleOf\":3}", "9", 0, 0},
        {NULL, "-9.0", 0, 0},
        {NULL, "0", 0, 0},
        {NULL, "3e30", 0, 0},
        {NULL, "111111111111111111111111111111", 0, 0},
        {NULL, "1e30", "", "the value must be a multiple of 3"},
        {NULL, "4.5", "", "the value must be a multiple of 3"},
        {NULL, "9007199254740993", 0, 0},
        {"{\"multipleOf\":7.0}", "18446744073709551617", "", "the value must be a multiple of 7.0"},
    };
    RUN(cases);
}

static void answers_strings(void **state)
{
    static const struct answer cases[] = {
        {"{\"minLength\":2,\"maxLength\":3}", "\"ab\"", 0, 0},
        {NULL, "\"\xf0\x9f\x98\x80\xc3\xa9\xe6\xbc\xa2\"", 0, 0},
        {NULL, "\"\\ud83d\\ude00\\n\"", 0, 0},
        {NULL, "\"\\ud83d\\ud83d\\ude00a\"", 0, 0},
        {NULL, "\"\\ud83d\\ude00\"", "", "the value must have at least 2 characters"},
        {NULL, "\"abcd\"", "", "the value must have at most 3 characters"},
        {"{\"maxLength\":1}", "\"\\u00e9\\u0000\"", "", "the value must have at most 1 character"},
        {NULL, "12", 0, 0},
    };
    RUN(cases);
}

static void answers_arrays(void **state)
{
    static const struct answer cases[] = {
        {"{\"minItems\":1,\"maxItems\":2}", "[1]", 0, 0},
        {NULL, "[]", "", "the value must have at least 1 item"},
        {NULL, "[1,2,3]", "", "the value must have at most 2 items"},
        {"{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"items\":{\"type\":\"null\"}}",
         "[\"a\",1,null,null]", 0, 0},
        {NULL, "[]", 0, 0},
        {NULL, "[\"a\"]", 0, 0},
        {NULL, "[\"a\",\"b\"]", "/1", "expected integer, found string"},
        {NULL, "[\"a\",1,null,2]", "/3", "expected null, found number"},
        {"{\"prefixItems\":[{}],\"items\":false}", "[1,2]", "/1", "no value is allowed here"},
        {"{\"items\":{\"items\":{\"minimum\":1}}}", "[[1,2],[3,0]]", "/1/1", "item 1 must be at least 1"},
    };
    RUN(cases);
}

static void answers_objects(void **state)
{
    static const struct answer cases[] = {
        {"{\"type\":\"object\",\"properties\":{\"data\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}},"
         "\"operation\":{\"enum\":[\"add\",\"multiply\"]},\"factor\":{\"minimum\":0}},\"required\":[\"data\","
         "\"operation\"],\"additionalProperties\":false}",
         "{\"data\":[1,2,3],\"operation\":\"multiply\",\"factor\":2}", 0, 0},
        {NULL, "{\"oper\\u0061tion\":\"\\u0061dd\",\"data\":[]}", 0, 0},
        {NULL, "{\"data\":[1,\"2\"],\"operation\":\"add\"}", "/data/1", "expected number, found string"},
        {NULL, "{\"data\":[],\"operation\":\"divide\"}", "/operation",
         "\"operation\" must be one of \"add\", \"multiply\""},
        {NULL, "{\"operation\":\"add\"}", "", "missing member \"data\""},
        {NULL, "{\"operation\":\"add\",\"data\":[],\"x\":1}", "/x", "unknown member \"x\""},
        {NULL, "{\"operation\":\"add\",\"data\":[],\"factor\":-1}", "/factor", "\"factor\" must be at least 0"},
        {NULL, "{\"operation\":\"add\",\"data\":[],\"d\\u0061ta\":[]}", "/data", "repeated member \"d\\u0061ta\""},
        {NULL, "{\"a\\tb~/\":1}", "/a\\u0009b~0~1", "unknown member \"a\\tb~/\""},
        {"{\"additionalProperties\":{\"type\":\"integer\"},\"minProperties\":1,\"maxProperties\":2}", "{\"x\":1}", 0,
         0},
        {NULL, "{}", "", "the value must have at least 1 member"},
        {NULL, "{\"a\":1,\"b\":2,\"c\":3}", "", "the value must have at most 2 members"},
        {NULL, "{\"a\":1,\"b\":\"c\"}", "/b", "expected integer, found string"},
        {NULL, "{\"a\":1,\"\\u0061\":2}", "/a", "repeated member \"\\u0061\""},
        {"{\"required\":[\"x\"],\"additionalProperties\":false}", "{\"x\":1}", "/x", "unknown member \"x\""},
        {"{\"required\":[\"x\"]}", "{\"y\":[{\"x\":1}]}", "", "missing member \"x\""},
        {NULL, "{\"x\":{\"y\":1,\"y\":2}}", "/x/y", "repeated member \"y\""},
    };
    RUN(cases);
}

static void answers_combinators(void **state)
{
    static const struct answer cases[] = {
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "1", 0, 0},
        {NULL, "1.5", "", "the value fits none of the 2 forms that are allowed"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"properties\":{\"a\":{\"type\":\"null\"}},\"type\":\"object\"}]}",
         "{\"a\":1}", "/a", "expected null, found number"},
        {"{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"integer\"}]}", "1.5", 0, 0},
        {NULL, "1", "", "the value fits more than one of 2 forms, of which it must fit exactly one"},
        {NULL, "[]", "", "the value fits none of the 2 forms that are allowed"},
        {"{\"allOf\":[{\"minimum\":1},{\"maximum\":2}]}", "2", 0, 0},
        {NULL, "3", "", "the value must be at most 2"},
        {"{\"not\":{\"type\":\"string\"}}", "1", 0, 0},
        {NULL, "\"\"", "", "the value has a form that is not allowed"},
        {"{\"$defs\":{\"a/b%\":{\"type\":\"integer\"},\"l\":{\"items\":{\"$ref\":\"#/$defs/a~1b%25\"}}},"
         "\"properties\":{\"x\":{\"$ref\":\"#/$defs/l\",\"maxItems\":2}}}",
         "{\"x\":[1,2]}", 0, 0},
        {NULL, "{\"x\":[1,null]}", "/x/1", "expected integer, found null"},
        {NULL, "{\"x\":[1,2,3]}", "/x", "\"x\" must have at most 2 items"},
    };
    RUN(cases);
}

static void answers_enum_and_const(void **state)
{
    static const struct answer cases[] = {
        {"{\"enum\":[1,\"a\\u0062\",{\"x\":[1.0,null],\"y\":{}},true]}", "1.0", 0, 0},
        {NULL, "100e-2", 0, 0},
        {NULL, "\"\\u0061b\"", 0, 0},
        {NULL, "{\"y\":{},\"\\u0078\":[10E-1,null]}", 0, 0},
        {NULL, "true", 0, 0},
        {NULL, "false", "", "the value must be one of 1, \"a\\u0062\", {\"x\":[1.0,null],\"y\":{}}, true"},
        {NULL, "{\"y\":{}}", "", "the value must be one of 1, \"a\\u0062\", {\"x\":[1.0,null],\"y\":{}}, true"},
        {NULL, "{\"y\":{},\"x\":[null,1]}", "",
         "the value must be one of 1, \"a\\u0062\", {\"x\":[1.0,null],\"y\":{}}, true"},
        {"{\"const\":18446744073709551617}", "18446744073709551617.0", 0, 0},
        {NULL, "18446744073709551616", "", "the value must be 18446744073709551617"},
        {"{\"const\":0}", "-0.0e7", 0, 0},
        {NULL, "false", "", "the value must be 0"},
        {"{\"const\":\"\\ud800\"}", "\"\\uD800\"", 0, 0},
        {NULL, "\"\\ufffd\"", "", "the value must be \"\\ud800\""},
    };
    RUN(cases);
}

/* A text that is not JSON is bad_json, wherever the schema error stands. */
static void lets_bad_json_win(void **state)
{
    static const char *const schemas[] = {
        "{\"type\":\"object\"}", "{\"items\":{\"type\":\"string\"}}",
        "{\"items\":false}",     "{\"anyOf\":[{\"type\":\"string\"},{\"const\":[2]}]}",
        "{\"not\":{}}",          "false"};
    static const char *const texts[] = {"[1,2", "[1,2]]", "[1,{\"a\":1,\"a\":2},]", "[1,\"\xff\"]", "[1]x", ""};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct json_schema *schema = compile(schemas[i]);
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
            struct json_fault fault = {0};
            assert_int_equal(check(schema, texts[j], strlen(texts[j]), &fault), -MOAT_E_BAD_JSON);
            assert_string_equal(fault.pointer, "");
        }
        json_schema_free(schema);
    }
}

static void refuses_schemas(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "schema: not JSON at byte 0: the text is empty: send one JSON value, such as {}"},
        {"{\"type\":}", "schema: not JSON at byte 8: expected a value, found '}'"},
        {"1", "schema: a schema is an object, true or false"},
        {"{\"type\":\"float\"}", "schema: /type: a type is null, boolean, number, integer, string, array or object"},
        {"{\"type\":[]}", "schema: /type: no type is left that a value could have"},
        {"{\"type\":[\"null\",\"null\"]}", "schema: /type/1: the type stands twice"},
        {"{\"properties\":{\"a/b\":{\"pattern\":\"x\"}}}", "schema: /properties/a~1b/pattern: the keyword \"pattern\" "
                                                           "is not one that Moat checks (docs/json.md lists them)"},
        {"{\"uniqueItems\":false}",
         "schema: /uniqueItems: the keyword \"uniqueItems\" is not one that Moat checks (docs/json.md lists them)"},
        {"{\"items\":[{}]}", "schema: /items: items must be a schema (a list of schemas is called prefixItems)"},
        {"{\"minLength\":-1}", "schema: /minLength: the limit must be a whole number, 0 or more"},
        {"{\"maxItems\":1.5}", "schema: /maxItems: the limit must be a whole number, 0 or more"},
        {"{\"multipleOf\":0.1}", "schema: /multipleOf: multipleOf must be a positive integer"},
        {"{\"multipleOf\":0}", "schema: /multipleOf: multipleOf must be a positive integer"},
        {"{\"minimum\":\"1\"}", "schema: /minimum: minimum must be a number"},
        {"{\"enum\":[]}", "schema: /enum: an empty enum allows no value"},
        {"{\"anyOf\":[]}", "schema: /anyOf: the array must not be empty"},
        {"{\"anyOf\":[1]}", "schema: /anyOf/0: a schema is an object, true or false"},
        {"{\"allOf\":[],\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{}}}", "schema: /allOf: the array must not be empty"},
        {"{\"required\":[\"a\",\"a\"]}", "schema: /required/1: the name stands twice"},
        {"{\"required\":[1]}", "schema: /required/0: required must be an array of names"},
        {"{\"type\":\"null\",\"typ\\u0065\":\"null\"}", "schema: /type: the name stands twice"},
        {"{\"$ref\":\"#\"}", "schema: /$ref: $ref must not lead back to a schema that contains it"},
        {"{\"$ref\":\"http://example.com\"}",
         "schema: /$ref: $ref must lead to a place in this schema, such as \"#/$defs/name\""},
        {"{\"$ref\":\"#/$defs/a\"}", "schema: /$ref: $ref leads nowhere in this schema"},
        {"{\"$ref\":\"#a\"}", "schema: /$ref: $ref leads nowhere in this schema"},
        {"{\"$defs\":{\"a\":{\"items\":{\"$ref\":\"#/$defs/b\"}},\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
         "schema: /$defs/b/not/$ref: $ref must not lead back to a schema that contains it"},
        {"{\"items\":{\"$ref\":\"#/$defs/o/items\"},\"$defs\":{\"o\":{\"items\":{\"not\":{\"$ref\":\"#/$defs/o\"}}}}}",
         "schema: /$defs/o/items/not/$ref: $ref must not lead back to a schema that contains it"},
        {"{\"prefixItems\":[{\"$ref\":\"#/$defs/o/items\"}],\"$defs\":true}",
         "schema: /$defs: $defs must be an object of schemas"},
        {"{\"items\":{\"$id\":\"x\"}}", "schema: /items/$id: $id may stand only at the top of the schema"},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
         "schema: /$schema: $schema must be \"https://json-schema.org/draft/2020-12/schema\""},
        {"{\"secret\":\"yes\"}", "schema: /secret: secret must be true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_schema *schema = NULL;
        struct error err = {0};
        size_t len = strlen(cases[i].text);
        int r = json_schema_compile(place_text(&place, cases[i].text, len, '}'), len, &schema, &err);
        if (r != -MOAT_E_BAD_MANIFEST)
            fail_msg("not refused: %s", cases[i].text);
        assert_string_equal(err.message, cases[i].message);
        assert_null(schema);
    }
}

static void takes_annotations(void **state)
{
    json_schema_free(
        compile("{\"$schema\":\"https://json-schema.org/draft/2020-12/"
                "schema\",\"$id\":\"urn:x\",\"title\":\"t\",\"description\":"
                "\"d\",\"$comment\":\"c\",\"default\":[1],\"examples\":[1],\"deprecated\":true,\"readOnly\":false,"
                "\"writeOnly\":"
                "true,\"format\":\"date\",\"properties\":{\"key\":{\"type\":\"string\",\"secret\":true}}}"));
}

/* Objects of many members: every size around the steps of the search, each name in turn repeated at the end. */
static void finds_repeated_names(void **state)
{
    static const size_t counts[] = {2, 23, 24, 25, 26, 100, 6143, 6144, 6145, 20000, 60000};
    struct json_schema *schemas[] = {compile("{}"), compile("{\"additionalProperties\":{\"type\":\"integer\"}}"),
                                     compile("{\"properties\":{\"name7\":{\"minimum\":0}}}")};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t again = 0; again <= counts[i]; again += counts[i] > 100 ? counts[i] / 2 : 1) {
            buf_auto b = BUF_INIT(8 << 20);
            for (size_t n = 0; n < counts[i]; n++)
                buf_printf(&b, "%c\"name%zu\":%zu", n ? ',' : '{', n, n);
            buf_printf(&b, ",\"n\\u0061me%zu\":0}", again);
            for (size_t s = 0; s < 3; s++) {
                struct json_fault fault = {0};
                int r = json_schema_check(schemas[s], b.data, b.len, &fault);
                assert_int_equal(r, again < counts[i] ? -MOAT_E_BAD_PARAMETERS : 0);
                char pointer[40];
                snprintf(pointer, sizeof pointer, "/name%zu", again);
                if (r)
                    assert_string_equal(fault.pointer, pointer);
            }
        }
    for (size_t s = 0; s < 3; s++)
        json_schema_free(schemas[s]);
}

static void finds_repeated_names_anywhere(void **state)
{
    static const struct answer cases[] = {
        {"{\"type\":\"object\"}", "{\"a\":[1,\"]\",{\"b\":{\"c\":1,\"d\":2,\"c\":3}}]}", "/a/2/b/c",
         "repeated member \"c\""},
        {NULL, "{\"a\":{\"a\":1},\"b\":{\"a\":1,\"b\":[{\"a\":1}]}}", 0, 0},
        {NULL, "{\"\":1,\"\":2}", "/", "repeated member \"\""},
        {NULL, "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", "/\xf0\x9f\x98\x80",
         "repeated member \"\xf0\x9f\x98\x80\""},
        {NULL, "{\"\\ud800\":1,\"\\ud801\":2,\"\xef\xbf\xbd\":3}", 0, 0},
        {NULL, "{\"12345678\":1,\"1234567\":2,\"123456789\":3,\"1234567\\u0038\":4}", "/12345678",
         "repeated member \"1234567\\u0038\""},
    };
    RUN(cases);
}

static void limits_steps(void **state)
{
    /* 2^24 looks at one value. */
    buf_auto b = BUF_INIT(1 << 16);
    buf_puts(&b, "{\"$defs\":{\"d0\":{\"type\":\"integer\"}");
    for (int i = 1; i <= 24; i++)
        buf_printf(&b, ",\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}", i, i - 1, i - 1);
    buf_puts(&b, "},\"$ref\":\"#/$defs/d24\"}");
    struct json_schema *schema = compile(buf_text(&b));
    struct json_fault fault = {0};
    assert_int_equal(check(schema, "1", 1, &fault), -MOAT_E_LIMIT);
    assert_string_equal(fault.reason, "checking this text takes more steps than are allowed");
    /* A branch that went over the budget is not a branch that failed. */
    assert_int_equal(check(schema, "1 x", 3, &fault), -MOAT_E_BAD_JSON);
    json_schema_free(schema);
    b.len -= strlen(",\"$ref\":\"#/$defs/d24\"}");
    buf_puts(&b, ",\"not\":{\"$ref\":\"#/$defs/d24\"}}");
    schema = compile(buf_text(&b));
    assert_int_equal(check(schema, "1", 1, &fault), -MOAT_E_LIMIT);
    assert_int_equal(check(schema, "1.5", 3, &fault), 0);
    json_schema_free(schema);
}

static void limits_height(void **state)
{
    for (int levels = 100; levels <= 400; levels += 300) {
        buf_auto b = BUF_INIT(1 << 20);
        buf_puts(&b, "{\"$defs\":{\"d0\":{\"type\":\"integer\"}");
        for (int i = 1; i < levels; i++)
            buf_printf(&b, ",\"d%d\":{\"items\":{\"$ref\":\"#/$defs/d%d\"}}", i, i - 1);
        buf_puts(&b, "}}");
        struct json_schema *schema = NULL;
        struct error err;
        int r = json_schema_compile(b.data, b.len, &schema, &err);
        assert_int_equal(r, levels == 100 ? 0 : -MOAT_E_BAD_MANIFEST);
        json_schema_free(schema);
    }
}

/* Depth counts under a schema as it does without one. */
static void limits_depth(void **state)
{
    struct json_schema *schema = compile("{\"items\":{\"items\":{\"properties\":{\"a\":{\"items\":{}}}}}}");
    for (size_t levels = 250; levels < 262; levels++) {
        buf_auto b = BUF_INIT(4096);
        buf_puts(&b, "[[{\"a\":");
        for (size_t i = 3; i < levels; i++)
            buf_putc(&b, '[');
        for (size_t i = 3; i < levels; i++)
            buf_putc(&b, ']');
        buf_puts(&b, "}]]");
        struct json_fault fault = {0};
        assert_int_equal(check(schema, buf_text(&b), b.len, &fault), levels <= JSON_DEPTH_MAX ? 0 : -MOAT_E_BAD_JSON);
    }
    json_schema_free(schema);
}

/* Long pointers and reasons are cut at whole characters, and end. */
static void cuts_long_answers(void **state)
{
    buf_auto b = BUF_INIT(1 << 16);
    for (int i = 0; i < 60; i++)
        buf_puts(&b, "{\"\xe6\xbc\xa2\xe5\xad\x97\":");
    buf_puts(&b, "1");
    for (int i = 0; i < 60; i++)
        buf_putc(&b, '}');
    buf_auto s = BUF_INIT(1 << 16);
    for (int i = 0; i < 60; i++)
        buf_puts(&s, "{\"properties\":{\"\xe6\xbc\xa2\xe5\xad\x97\":");
    buf_puts(&s, "{\"enum\":[");
    for (int i = 0; i < 100; i++)
        buf_printf(&s, "%s\"choice number %d\"", i ? "," : "", i);
    buf_puts(&s, "]}");
    for (int i = 0; i < 60; i++)
        buf_puts(&s, "}}");
    struct json_schema *schema = compile(buf_text(&s));
    struct json_fault fault;
    memset(&fault, 0x55, sizeof fault);
    assert_int_equal(check(schema, buf_text(&b), b.len, &fault), -MOAT_E_BAD_PARAMETERS);
    size_t pointer = strlen(fault.pointer), reason = strlen(fault.reason);
    assert_in_range(pointer, JSON_POINTER_MAX - 12, JSON_POINTER_MAX - 1);
    assert_string_equal(fault.pointer + pointer - 3, "\xe2\x80\xa6");
    assert_in_range(reason, JSON_REASON_MAX - 80, JSON_REASON_MAX - 1);
    assert_string_equal(fault.reason + reason - 3, "\xe2\x80\xa6");
    json_schema_free(schema);
}

static int prepare(void **state)
{
    place_init(&place, 1 << 20);
    return 0;
}

static int clear(void **state)
{
    place_clear(&place);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_types),          cmocka_unit_test(answers_numbers),
        cmocka_unit_test(answers_strings),        cmocka_unit_test(answers_arrays),
        cmocka_unit_test(answers_objects),        cmocka_unit_test(answers_combinators),
        cmocka_unit_test(answers_enum_and_const), cmocka_unit_test(lets_bad_json_win),
        cmocka_unit_test(refuses_schemas),        cmocka_unit_test(takes_annotations),
        cmocka_unit_test(finds_repeated_names),   cmocka_unit_test(finds_repeated_names_anywhere),
        cmocka_unit_test(limits_steps),           cmocka_unit_test(limits_height),
        cmocka_unit_test(limits_depth),           cmocka_unit_test(cuts_long_answers),
    };
    return cmocka_run_group_tests_name("json.schema", tests, prepare, clear);
}
