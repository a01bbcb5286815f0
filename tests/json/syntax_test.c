/* The grammar of RFC 8259, rule by rule: what must pass, what must not, and what json_explain says about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "all_checkers.h"
#include "base/buf.h"
#include "json/json.h"

struct text {
    const char *bytes;
    size_t len;
};
#define T(literal) \
    { \
        literal, sizeof(literal) - 1 \
    }

static const struct text accepted[] = {
    /* literals and space */
    T("null"),
    T("true"),
    T("false"),
    T(" \t\r\n null \t\r\n "),
    T("[true,false,null]"),
    T("[ true , false , null ]"),
    /* numbers */
    T("0"),
    T("-0"),
    T("1"),
    T("-1"),
    T("10"),
    T("1234567890123456789012345678901234567890"),
    T("0.0"),
    T("-0.5"),
    T("0.1e1"),
    T("1e1"),
    T("1E1"),
    T("1e+1"),
    T("1E-1"),
    T("0e0"),
    T("0E+0"),
    T("1e999999"),
    T("-1.25e-17"),
    T("[0,1,-1,0.5,1e5]"),
    T("[0 ,1\t,2\n]"),
    /* strings */
    T("\"\""),
    T("\"a\""),
    T("\" \""),
    T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    T("\"\\u0000\""),
    T("\"\\u00e9\\uABCD\\uabcd\""),
    T("\"\\ud83d\\ude00\""),
    T("\"\\ud800\""),
    T("\"\\udc00\\ud800\""),
    T("\"\\\\\""),
    T("\"\\\\\\\\\""),
    T("\"\\\\\\\"\""),
    T("\"\x7f\""),
    T("\"//\""),
    T("\"[{,:\""),
    T("\"a\\u0022b\""),
    /* UTF-8, at the ends of each range */
    T("\"\xc2\x80\""),
    T("\"\xdf\xbf\""),
    T("\"\xe0\xa0\x80\""),
    T("\"\xed\x9f\xbf\""),
    T("\"\xee\x80\x80\""),
    T("\"\xef\xbf\xbf\""),
    T("\"\xf0\x90\x80\x80\""),
    T("\"\xf4\x8f\xbf\xbf\""),
    T("\"\xef\xbb\xbf\""),
    T("\"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\""),
    /* arrays and objects */
    T("[]"),
    T("[ ]"),
    T("[[]]"),
    T("[[],[]]"),
    T("[[[[]]]]"),
    T("[\"\",\"\"]"),
    T("{}"),
    T("{ }"),
    T("{\"\":0}"),
    T("{\"a\":1,\"b\":2}"),
    T("{ \"a\" : 1 , \"b\" : [ 2 ] }"),
    T("{\"a\":{\"b\":{\"c\":{}}}}"),
    T("{\"a\":1,\"a\":2}"),
    T("[{},{}]"),
    T("[{\"a\":[]},[{}]]"),
    T("{\"a\":\"b\"}"),
    T("{\"a\":null}"),
    T("[{\"a\":true},false]"),
    T("{\"a\\\"b\":1}"),
    T("{\"[\":\"]\"}"),
};

static const struct text rejected[] = {
    /* nothing, and nearly nothing */
    T(""),
    T(" "),
    T("\n"),
    T("\0"),
    T(" \0"),
    T("\xef\xbb\xbf{}"),
    T("\xef\xbb\xbf"),
    T("\xff"),
    T("\xc2"),
    /* literals */
    T("t"),
    T("tru"),
    T("truE"),
    T("True"),
    T("TRUE"),
    T("truee"),
    T("nul"),
    T("nulll"),
    T("fals"),
    T("falsee"),
    T("nan"),
    T("NaN"),
    T("Infinity"),
    T("-Infinity"),
    T("undefined"),
    T("true false"),
    T("[truefalse]"),
    T("[true\0]"),
    T("nulltrue"),
    T("null\0"),
    T("[nul]"),
    T("[null1]"),
    T("[1null]"),
    T("[true\"a\"]"),
    /* numbers */
    T("-"),
    T("+1"),
    T("01"),
    T("-01"),
    T("00"),
    T("0x10"),
    T("1."),
    T(".5"),
    T("-.5"),
    T("1.e1"),
    T("1e"),
    T("1e+"),
    T("1e-"),
    T("1e1.5"),
    T("1.5.5"),
    T("--1"),
    T("1-"),
    T("1-2"),
    T("1+2"),
    T("1e1e1"),
    T("1 2"),
    T("1a"),
    T("1_000"),
    T("[1 2]"),
    T("[-]"),
    T("[1.]"),
    T("[0123]"),
    T("[1,-]"),
    T("[- 1]"),
    T("[1 .5]"),
    T("[1e 5]"),
    T("1,"),
    T("[0.]"),
    T("\xef\xbc\x91"),
    T("1\0"),
    T("-a"),
    T("[+]"),
    T("[e]"),
    T("[e1]"),
    T("[E+1]"),
    /* strings */
    T("\""),
    T("\"a"),
    T("\"\\"),
    T("\"\\\""),
    T("\"\\\\\\\""),
    T("'a'"),
    T("\"\\x\""),
    T("\"\\'\""),
    T("\"\\0\""),
    T("\"\\a\""),
    T("\"\\U0041\""),
    T("\"\\u\""),
    T("\"\\u0\""),
    T("\"\\u00\""),
    T("\"\\u000\""),
    T("\"\\u000g\""),
    T("\"\\u 000\""),
    T("\"\\u-000\""),
    T("\"\\u00"),
    T("\"\x01\""),
    T("\"\x1f\""),
    T("\"\n\""),
    T("\"\t\""),
    T("\"\0\""),
    T("\"a\"b"),
    T("\"a\"\"b\""),
    T("[\"a\"\"b\"]"),
    T("[\"a\" \"b\"]"),
    T("a\"b\""),
    T("\\\"a\""),
    T("\"\\\n\""),
    T("\"\\\xc3\xa9\""),
    T("[\"a\"1]"),
    T("[1\"a\"]"),
    /* UTF-8 */
    T("\"\x80\""),
    T("\"\xbf\""),
    T("\"\xc0\x80\""),
    T("\"\xc1\xbf\""),
    T("\"\xc2\""),
    T("\"\xc2\xc2\""),
    T("\"\xe0\x80\x80\""),
    T("\"\xe0\x9f\xbf\""),
    T("\"\xe1\x80\""),
    T("\"\xe1\""),
    T("\"\xed\xa0\x80\""),
    T("\"\xed\xbf\xbf\""),
    T("\"\xf0\x80\x80\x80\""),
    T("\"\xf0\x8f\xbf\xbf\""),
    T("\"\xf0\x90\x80\""),
    T("\"\xf0\x90\""),
    T("\"\xf4\x90\x80\x80\""),
    T("\"\xf5\x80\x80\x80\""),
    T("\"\xf8\x88\x80\x80\x80\""),
    T("\"\xfe\""),
    T("\"\xff\""),
    T("\"\xe1\x80\xe1\x80\x80\""),
    T("\"\xc2\x80\x80\""),
    T("[\xc2\xa0]"),
    T("\xc2\xa0"
      "1"),
    T("\"\xe2\x82"),
    T("\"\xc2"),
    /* space that is none */
    T("\f1"),
    T("\v1"),
    T("1\xc2\x85"),
    T("[\x01]"),
    T("[1,\x0c"
      "2]"),
    T("\x7f"),
    /* arrays */
    T("["),
    T("]"),
    T("[["),
    T("[]]"),
    T("[1"),
    T("[1,"),
    T("[1,]"),
    T("[,]"),
    T("[,1]"),
    T("[1,,2]"),
    T("[1;2]"),
    T("[1:2]"),
    T("[:]"),
    T("[1}"),
    T("[}"),
    T("[],"),
    T("[][]"),
    T("[] []"),
    T("[1],[2]"),
    T("[1 ,]"),
    T("[\"a\",]"),
    T("[[],]"),
    T("[[]1]"),
    T("[1[]]"),
    T("[\"\":1]"),
    /* objects */
    T("{"),
    T("}"),
    T("{]"),
    T("{\"a\""),
    T("{\"a\":"),
    T("{\"a\":1"),
    T("{\"a\":1,"),
    T("{\"a\":1,}"),
    T("{,}"),
    T("{:}"),
    T("{:1}"),
    T("{1:2}"),
    T("{a:1}"),
    T("{'a':1}"),
    T("{null:1}"),
    T("{\"a\"}"),
    T("{\"a\",\"b\"}"),
    T("{\"a\":}"),
    T("{\"a\"1}"),
    T("{\"a\"::1}"),
    T("{\"a\":1:2}"),
    T("{\"a\":1 \"b\":2}"),
    T("{\"a\":1,,\"b\":2}"),
    T("{\"a\":1;\"b\":2}"),
    T("{\"a\":1]"),
    T("{\"a\":]"),
    T("{[]:1}"),
    T("{{}:1}"),
    T("{\"a\":1}}"),
    T("{}{}"),
    T("{} {}"),
    T("{\"a\" \"b\":1}"),
    T("{\"a\":\"b\":\"c\"}"),
    T("{\"a\",1}"),
    T("{\"a\":1,2}"),
    T("{\"a\":1,\"b\"}"),
    T("{}:"),
    T("{},"),
    T("[{\"a\":1,}]"),
    T("[{\"a\":[1}]"),
    T("[1,{\"a\":2]}"),
    /* comments and other habits */
    T("// a\n1"),
    T("1 // a"),
    T("/* a */ 1"),
    T("[1,/**/2]"),
    T("# a\n1"),
    T("{} #"),
    T("1;"),
    T("`1`"),
    T("(1)"),
    T("<a>"),
};

static void accepts(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++)
        if (all_checkers_shifted(accepted[i].bytes, accepted[i].len) != 1)
            fail_msg("not accepted: %s", accepted[i].bytes);
}

static void rejects(void **state)
{
    for (size_t i = 0; i < sizeof rejected / sizeof *rejected; i++)
        if (all_checkers_shifted(rejected[i].bytes, rejected[i].len) != 0)
            fail_msg("not rejected: %s", rejected[i].bytes);
}

/* The same texts as parts of larger ones: in an array, in an object, deep inside. */
static void rejects_inside(void **state)
{
    static const char *const around[][2] = {
        {"[", "]"}, {"[1,", ",2]"}, {"{\"a\":", "}"}, {"{\"a\":[{\"b\":", "}]}"}, {"[\"x\",[", "]]"}};
    for (size_t i = 0; i < sizeof rejected / sizeof *rejected; i++)
        for (size_t j = 0; j < sizeof around / sizeof *around; j++) {
            const struct text *t = &rejected[i];
            /* "],[" and the like become well-formed between brackets; "," alone and lists may too. */
            buf_auto b = BUF_INIT(4096);
            buf_puts(&b, around[j][0]);
            buf_put(&b, t->bytes, t->len);
            buf_puts(&b, around[j][1]);
            int inside = all_checkers(b.data, b.len);
            assert_int_not_equal(inside, -1);
            if (j == 2 && memchr(t->bytes, ',', t->len) == NULL && memchr(t->bytes, '"', t->len) == NULL && inside != 0)
                fail_msg("accepted inside an object: %s", t->bytes);
        }
}

static void nest(struct buf *b, const char *open, const char *middle, const char *close, size_t levels)
{
    for (size_t i = 0; i < levels; i++)
        buf_puts(b, open);
    buf_puts(b, middle);
    for (size_t i = 0; i < levels; i++)
        buf_puts(b, close);
}

static void limits_depth(void **state)
{
    static const char *const kinds[][3] = {
        {"[", "1", "]"}, {"[", "", "]"}, {"{\"a\":", "1", "}"}, {"[1,", "2", ",3]"}, {"{\"a\":1,\"b\":", "{}", "}"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t levels = 1; levels <= JSON_DEPTH_MAX + 70; levels++) {
            buf_auto b = BUF_INIT(1 << 20);
            nest(&b, kinds[i][0], kinds[i][1], kinds[i][2], levels);
            size_t depth = levels + (strcmp(kinds[i][1], "{}") == 0);
            assert_int_equal(all_checkers(b.data, b.len), depth <= JSON_DEPTH_MAX);
        }
    buf_auto deep = BUF_INIT(1 << 20);
    nest(&deep, "[", "", "", 200000);
    assert_int_equal(all_checkers(deep.data, deep.len), 0);
    buf_clear(&deep);
    nest(&deep, "[{\"\":", "", "", 100000);
    assert_int_equal(all_checkers(deep.data, deep.len), 0);
}

/* A sample that uses every rule; long enough for several blocks. */
static const char sample[] =
    " {\"name\":\"data \\\"processor\\\" \\u00e9\\ud83d\\ude00\",\"n\":[0,-1,2.5,-3e10,4.25E-3,1e+2],\n\t"
    "\"nested\":{\"a\":[[],[{}],{\"b\":{}}],\"c\":null},\"flags\":[true,false],\"text\":\"\xd0\x9f\xd1\x80\xd0\xb8"
    "\xd0\xb2\xd0\xb5\xd1\x82 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80\",\"long\":\"0123456789012345678901234567890"
    "12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\",\r\n"
    "\"records\":[{\"id\":1,\"ok\":true,\"v\":0.5},{\"id\":2,\"ok\":false,\"v\":-0.5},{\"id\":3,\"ok\":null,\"v\":7}]}";

static void rejects_every_prefix(void **state)
{
    size_t len = sizeof sample - 1;
    assert_int_equal(all_checkers_shifted(sample, len), 1);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(all_checkers(sample, cut), 0);
    /* Every suffix too, but for the space in front. */
    for (size_t skip = 2; skip < len; skip++)
        if (all_checkers(sample + skip, len - skip) == 1)
            fail_msg("accepted a tail: %s", sample + skip);
}

/* One byte replaced by every other byte: all checkers agree (the tables above say what is right). */
static void agree_on_every_byte(void **state)
{
    char text[sizeof sample];
    size_t len = sizeof sample - 1;
    for (size_t i = 0; i < len; i++)
        for (unsigned c = 0; c < 256; c++) {
            memcpy(text, sample, len);
            text[i] = (char)c;
            if (all_checkers(text, len) < 0)
                fail_msg("byte %zu as 0x%02x", i, c);
        }
}

static void reject_garbage_behind(void **state)
{
    for (unsigned c = 0; c < 256; c++) {
        bool space = c == ' ' || c == '\n' || c == '\r' || c == '\t';
        char text[] = "{\"a\":1}?";
        text[7] = (char)c;
        assert_int_equal(all_checkers_shifted(text, 8), space);
    }
}

static void explains(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
        const char *reason;
    } cases[] = {
        {"", 0, "the text is empty: send one JSON value, such as {}"},
        {"  ", 2, "the text is empty: send one JSON value, such as {}"},
        {"{\"a\" 1}", 5, "expected ':' after the member's name, found '1'"},
        {"{a:1}", 1, "expected a member's name in double quotes, found 'a'"},
        {"{'a':1}", 1, "strings are written in double quotes, not in single ones"},
        {"[1 2]", 3, "expected ',' or ']' after an item, found '2'"},
        {"{\"a\":1 \"b\"}", 7, "expected ',' or '}' after a member, found '\"'"},
        {"[1,]", 2, "no comma may stand before ']'"},
        {"{\"a\":1 , }", 7, "no comma may stand before '}'"},
        {"[1,", 3, "the text ends where a value should stand"},
        {"[1", 2, "the text ends where ',' or ']' after an item should stand"},
        {"\"ab", 3, "the text ends inside a string: the closing '\"' is missing"},
        {"\"a\\", 3, "the text ends inside a string: the closing '\"' is missing"},
        {"\"a\nb\"", 2, "a control character (0x0a) in a string must be written as \\u000a"},
        {"\"a\\x\"", 2, "a backslash in a string goes only before \" \\ / b f n r t u"},
        {"\"\\u12g4\"", 1, "\\u needs four hexadecimal digits"},
        {"\"\xff\"", 1, "byte 0xff is not valid UTF-8 here"},
        {"[\xff]", 1, "expected a value, found byte 0xff"},
        {"01", 0, "a number may not start with a needless 0"},
        {"[-]", 2, "expected a digit after '-', found ']'"},
        {"1.", 2, "the text ends where a digit after '.' should stand"},
        {"[1e+]", 4, "expected a digit in the exponent, found ']'"},
        {"{} x", 3, "nothing may follow the JSON value"},
        {"NaN", 0, "JSON has no NaN: send null or leave it out"},
        {"[True]", 1, "write true in small letters"},
        {"// hello", 0, "JSON has no comments"},
        {"\xef\xbb\xbf{}", 0, "a byte order mark may not stand in JSON: save the text as UTF-8 without one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_auto b = BUF_INIT(4096);
        buf_puts(&b, cases[i].text);
        struct json_fault fault;
        assert_false(json_explain(b.data, b.len, &fault));
        assert_string_equal(fault.reason, cases[i].reason);
        assert_int_equal(fault.offset, cases[i].offset);
        assert_int_equal(fault.code, MOAT_E_BAD_JSON);
        assert_string_equal(fault.pointer, "");
    }
}

static void takes_an_empty_buffer(void **state)
{
    struct json_fault fault;
    assert_false(json_valid(NULL, 0));
    assert_false(json_explain(NULL, 0, &fault));
}

/* Someone writes to the source while it is copied: what was called valid is what the copy holds. */

#define RACED 8192
static _Atomic bool stop_racing;

static void *scribble(void *source)
{
    volatile uint8_t *p = source;
    for (unsigned i = 0; !stop_racing; i = (i + 61) % (RACED - 2)) {
        p[1 + i] = i & 1 ? '"' : '\\';
        p[1 + i] = 'a';
    }
    return NULL;
}

static void copies_what_it_checked(void **state)
{
    uint8_t *source = malloc(RACED), *copy = malloc(RACED + JSON_PAD);
    pthread_t writer;
    assert_non_null(source);
    assert_non_null(copy);
    memset(source, 'a', RACED);
    source[0] = source[RACED - 1] = '"';
    stop_racing = false;
    assert_int_equal(pthread_create(&writer, NULL, scribble, source), 0);
    size_t valid = 0;
    for (int i = 0; i < 20000; i++) {
        size_t len = i % 8 ? RACED : 400 + (size_t)i % 100;
        if (json_copy_valid(copy, source, len)) {
            valid++;
            assert_true(json_explain(copy, len, NULL));
            assert_true(json_valid(copy, len));
        }
    }
    stop_racing = true;
    pthread_join(writer, NULL);
    print_message("%zu copies were valid\n", valid);
    free(source);
    free(copy);
}

static int clear(void **state)
{
    all_checkers_clear();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(rejects),
        cmocka_unit_test(rejects_inside),
        cmocka_unit_test(limits_depth),
        cmocka_unit_test(rejects_every_prefix),
        cmocka_unit_test(agree_on_every_byte),
        cmocka_unit_test(reject_garbage_behind),
        cmocka_unit_test(explains),
        cmocka_unit_test(takes_an_empty_buffer),
        cmocka_unit_test(copies_what_it_checked),
    };
    return cmocka_run_group_tests_name("json.syntax", tests, NULL, clear);
}
