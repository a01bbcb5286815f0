/* plugin.json: what is accepted, what every refusal says and where. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"

static int parse(const char *text, struct manifest **out, struct error *err)
{
    return manifest_parse((const uint8_t *)text, strlen(text), out, err);
}

static const char full[] =
    "{\n"
    "  \"moat\": 1, \"name\": \"data_processor\", \"version\": \"1.2.3-rc.1+build.5\",\n"
    "  \"author\": \"A. U. Thor\", \"description\": \"Line one\\nline two\", \"license\": \"Apache-2.0\",\n"
    "  \"homepage\": \"https://example.com\", \"keywords\": [\"numbers\", \"\\u00fcber\"],\n"
    "  \"engine\": \"native\", \"entry\": \"data_processor.so\", \"libraries\": [\"lib/a.so\", \"lib/b.so\"],\n"
    "  \"assets\": [\"data/table.csv\"],\n"
    "  \"capabilities\": [\"Data_Processing\", \"MONITORING\"],\n"
    "  \"required_permissions\": {\"file_read\": {\"paths\": [\"/data\", \"/srv/x\"]}, \"SYSTEM_ACCESS\": {}},\n"
    "  \"optional_permissions\": [\"network_access\", \"Execute_Code\"],\n"
    "  \"actions\": [\n"
    "    {\"name\": \"transform\", \"description\": \"d\", \"idempotent\": true,\n"
    "     \"para\\u006deters\": {\"type\": \"object\", \"properties\": {\"x\": {\"minimum\": 1e400, \"type\": "
    "\"number\"}}},\n"
    "     \"result\": {\"type\" : \"array\"}},\n"
    "    {\"name\": \"other\"}],\n"
    "  \"config\": {\"type\": \"object\", \"properties\": {\n"
    "     \"precision\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 17, \"default\": 6},\n"
    "     \"ratio\": {\"type\": \"number\", \"default\": 0.1},\n"
    "     \"api_key\": {\"type\": \"string\", \"secret\": true},\n"
    "     \"nested\": {\"type\": \"object\", \"properties\": {\"a\": {\"default\": [1, {\"b\": \"}\"}]}, \"c\": {}}},\n"
    "     \"empty\": {\"type\": \"object\", \"properties\": {\"a\": {}}},\n"
    "     \"qu\\\"ote\": {\"default\": \"\\u00e9\"}}},\n"
    "  \"limits\": {\"memory\": \"64MiB\", \"tmp\": \"16MiB\", \"processes\": 2, \"deadline\": \"1500ms\", "
    "\"workers\": "
    "3},\n"
    "  \"state\": true\n"
    "}\n";

static void everything(void **state)
{
    struct error err;
    struct manifest *m;
    /* 1e400 is a number that no tree of doubles holds. */
    assert_refused(parse(full, &m, &err), &err, MOAT_E_BAD_MANIFEST, "real number overflow");
    char *text = strdup(full), *big = strstr(text, "1e400");
    big[2] = '3';
    if (parse(text, &m, &err))
        fail_msg("%s", err.message);
    assert_string_equal(m->name, "data_processor");
    assert_string_equal(m->version, "1.2.3-rc.1+build.5");
    assert_string_equal(m->author, "A. U. Thor");
    assert_string_equal(m->description, "Line one\nline two");
    assert_string_equal(m->license, "Apache-2.0");
    assert_string_equal(m->homepage, "https://example.com");
    assert_int_equal(m->nkeywords, 2);
    assert_string_equal(m->keywords[1], "\xc3\xbc"
                                        "ber");
    assert_string_equal(m->engine, "native");
    assert_string_equal(m->entry, "data_processor.so");
    assert_int_equal(m->nlibraries, 2);
    assert_string_equal(m->libraries[1], "lib/b.so");
    assert_int_equal(m->nassets, 1);
    assert_int_equal(m->capabilities, 1u << CAPABILITY_DATA_PROCESSING | 1u << CAPABILITY_MONITORING);
    assert_int_equal(m->nasks, 4);
    assert_int_equal(m->asks[0].permission, PERMISSION_FILE_READ);
    assert_true(m->asks[0].required);
    assert_int_equal(m->asks[0].nscopes, 2);
    assert_string_equal(m->asks[0].scopes[1], "/srv/x");
    assert_int_equal(m->asks[1].permission, PERMISSION_SYSTEM_ACCESS);
    assert_int_equal(m->asks[3].permission, PERMISSION_EXECUTE_CODE);
    assert_false(m->asks[3].required);
    assert_int_equal(m->asks[3].nscopes, 0);
    assert_int_equal(m->nactions, 2);
    assert_true(m->actions[0].idempotent);
    assert_int_equal(m->actions[0].parameters_json[0], '{');
    assert_non_null(strstr(m->actions[0].parameters_json, "\"properties\": {\"x\""));
    assert_string_equal(m->actions[0].result_json, "{\"type\" : \"array\"}"); /* as it was written */
    assert_string_equal(m->actions[1].parameters_json, "{}");
    assert_string_equal(m->actions[1].description, "");
    assert_false(m->actions[1].idempotent);
    assert_int_equal(manifest_action(m, "other"), 1);
    assert_int_equal(manifest_action(m, "none"), -1);
    assert_string_equal(m->config_defaults, "{\"precision\":6,\"ratio\":0.1,\"nested\":{\"a\":[1, {\"b\": "
                                            "\"}\"}]},\"qu\\\"ote\":\"\\u00e9\"}");
    assert_int_equal(m->limits.memory, 64 << 20);
    assert_int_equal(m->limits.tmp, 16 << 20);
    assert_int_equal(m->limits.processes, 2);
    assert_int_equal(m->limits.workers, 3);
    assert_int_equal(m->limits.deadline_ns, 1500 * NS_PER_MS);
    assert_true(m->state);
    /* The compiled schemas work, and live as long as the last reference. */
    struct manifest *again = manifest_ref(m);
    manifest_unref(m);
    buf_auto good = BUF_INIT(100), bad = BUF_INIT(100);
    buf_puts(&good, "{\"x\":1e301}");
    buf_puts(&bad, "{\"x\":\"1\"}");
    assert_int_equal(json_schema_check(again->actions[0].parameters, good.data, good.len, NULL), 0);
    assert_int_equal(json_schema_check(again->actions[0].parameters, bad.data, bad.len, NULL), -MOAT_E_BAD_PARAMETERS);
    manifest_unref(again);
    manifest_unref(NULL);
    free(text);
}

static void least(void **state)
{
    struct error err;
    struct manifest *m;
    if (parse(GOOD_MANIFEST, &m, &err))
        fail_msg("%s", err.message);
    assert_string_equal(m->author, "");
    assert_string_equal(m->config_json, "{}");
    assert_string_equal(m->config_defaults, "{}");
    assert_int_equal(m->limits.memory, 256 << 20);
    assert_int_equal(m->limits.tmp, 16 << 20);
    assert_int_equal(m->limits.processes, 1);
    assert_int_equal(m->limits.workers, 1);
    assert_int_equal(m->limits.deadline_ns, 0);
    assert_int_equal(m->limits.file_size, 64 << 20);
    assert_int_equal(m->limits.descriptors, 64);
    assert_int_equal(m->limits.cpu_ns, 0);
    assert_false(m->state);
    assert_int_equal(m->nasks, 0);
    manifest_unref(m);
}

/* A manifest that is good but for one member: put in place of the good one, or added. */
static void with_member(const char *name, const char *value, struct buf *out)
{
    static const struct {
        const char *name, *value;
    } good[] = {
        {"moat", "1"},
        {"name", "\"demo\""},
        {"version", "\"1.0.0\""},
        {"engine", "\"native\""},
        {"entry", "\"demo.so\""},
        {"capabilities", "[\"custom\"]"},
        {"actions", "[{\"name\":\"run\"}]"},
    };
    bool placed = false;
    buf_clear(out);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        bool this = strcmp(good[i].name, name) == 0;
        placed = placed || this;
        if (!this || value)
            buf_printf(out, "%s\"%s\":%s", out->len ? "," : "{", good[i].name, this ? value : good[i].value);
    }
    if (!placed)
        buf_printf(out, ",\"%s\":%s", name, value);
    assert_true(buf_putc(out, '}'));
}

static const struct {
    const char *name, *value, *message;
} bad[] = {
    /* shape: the published schema */
    {"moat", "2", "/moat"},
    {"moat", NULL, "moat"},
    {"name", NULL, "name"},
    {"version", NULL, "version"},
    {"engine", NULL, "engine"},
    {"entry", NULL, "entry"},
    {"capabilities", NULL, "capabilities"},
    {"actions", NULL, "actions"},
    {"surprise", "1", "surprise"},
    {"name", "7", "/name"},
    {"engine", "\"wasm\"", "/engine: the engine must be \"native\""},
    {"engine", "\"python\"", "/engine: the engine must be \"native\""},
    {"capabilities", "[]", "/capabilities"},
    {"capabilities", "\"custom\"", "/capabilities"},
    {"actions", "[]", "/actions"},
    {"actions", "[{}]", "/actions/0"},
    {"actions", "[{\"name\":\"run\",\"speed\":1}]", "/actions/0"},
    {"actions", "[{\"name\":\"run\",\"parameters\":7}]", "/actions/0/parameters"},
    {"libraries", "[7]", "/libraries/0"},
    {"libraries", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]", "/libraries"},
    {"limits", "{\"memory\":64}", "/limits/memory"},
    {"limits", "{\"workers\":0}", "/limits/workers"},
    {"limits", "{\"descriptors\":15}", "/limits/descriptors"},
    {"limits", "{\"workers\":1.5}", "/limits/workers"},
    {"limits", "{\"processes\":1025}", "/limits/processes"},
    {"limits", "{\"disk\":\"1MiB\"}", "disk"},
    {"state", "1", "/state"},
    {"config", "[]", "/config"},
    {"required_permissions", "\"file_read\"", "/required_permissions"},
    {"required_permissions", "{\"file_read\":[]}", "/required_permissions"},
    {"required_permissions", "{\"file_read\":{\"paths\":[]}}", "/required_permissions"},
    /* names and versions */
    {"name", "\"Demo\"", "/name: a plugin's name is"},
    {"name", "\"1demo\"", "/name"},
    {"name", "\"de__mo\"", "/name"},
    {"name", "\"de-mo\"", "/name"},
    {"name", "\"\"", "/name"},
    {"name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "/name"},
    {"version", "\"1.0\"", "/version"},
    {"version", "\"01.0.0\"", "/version: \"01.0.0\" is not a version"},
    {"version", "\"1.0.0-\"", "/version"},
    {"version", "\"1.0.0-01\"", "/version"},
    {"version", "\"v1.0.0\"", "/version"},
    {"version", "\"1.0.0\\n\"", "/version: has a control character"},
    {"author", "\"\\u001b[2J\"", "/author: has a control character"},
    {"author", "\"a\\u202eb\"", "/author: has a control character"},
    {"author", "\"a\\u009bb\"", "/author: has a control character"},
    {"description", "\"a\\rb\"", "/description"},
    {"keywords", "[\"a\",\"b\\u0007\"]", "/keywords/1"},
    {"author", "\"\\u0000\"", "plugin.json: line 1"},
    {"author", "\"\\ud800\"", "plugin.json: line 1"},
    {"actions", "[{\"name\":\"Run\"}]", "/actions/0/name"},
    {"actions", "[{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]", "/actions/0/name"},
    {"actions", "[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"a\"}]", "/actions/2/name: the action \"a\" is there"},
    {"actions", "[{\"name\":\"a\",\"description\":\"\\u0008\"}]", "/actions/0/description"},
    /* paths */
    {"entry", "\"/demo.so\"", "/entry: the path \"/demo.so\" is absolute"},
    {"entry", "\"../demo.so\"", "/entry"},
    {"entry", "\"a\\\\b\"", "/entry"},
    {"entry", "\"plugin.json\"", "/entry"},
    {"libraries", "[\"demo.so\"]", "/libraries/0: the path \"demo.so\" is there twice"},
    {"libraries", "[\"a.so\",\"A.so\"]", "/libraries/1: the path \"A.so\" differs"},
    {"assets", "[\"a\",\"b/../c\"]", "/assets/1"},
    {"assets", "[\"demo.so/x\"]", "is also a directory of another path"},
    /* capabilities and permissions */
    {"capabilities", "[\"custom\",\"dancing\"]", "/capabilities/1: there is no capability \"dancing\"; there are"},
    {"capabilities", "[\"custom\",\"CUSTOM\"]", "/capabilities/1: custom stands twice"},
    {"required_permissions", "[\"fly\"]", "/required_permissions/0: there is no permission \"fly\"; there are"},
    {"required_permissions", "[\"file_read\",\"FILE_READ\"]", "/required_permissions/1: file_read is asked for twice"},
    {"optional_permissions", "{\"fly\":{}}", "/optional_permissions/fly"},
    {"optional_permissions", "{\"file_read\":{\"hosts\":[\"a:1\"]}}", "file_read has no scope \"hosts\"; it has paths"},
    {"optional_permissions", "{\"system_access\":{\"paths\":[\"/a\"]}}", "system_access has no scope"},
    {"optional_permissions", "{\"file_read\":{\"paths\":[\"/a\",\"b\"]}}", "/optional_permissions/file_read/paths/1"},
    {"optional_permissions", "{\"file_read\":{\"paths\":[\"/a/../b\"]}}", "/file_read/paths/0"},
    {"optional_permissions", "{\"file_read\":{\"paths\":[\"/a\\n\"]}}", "control character"},
    {"optional_permissions", "{\"network_access\":{\"hosts\":[\"example.com\"]}}", "is not HOST:PORT"},
    {"optional_permissions", "{\"network_access\":{\"hosts\":[\"example.com:0\"]}}", "is not HOST:PORT"},
    {"optional_permissions", "{\"network_access\":{\"hosts\":[\"example.com:65536\"]}}", "is not HOST:PORT"},
    {"optional_permissions", "{\"network_access\":{\"hosts\":[\":443\"]}}", "is not HOST:PORT"},
    {"optional_permissions", "{\"agent_control\":{\"actions\":[\"other\"]}}", "is not PLUGIN.ACTION"},
    {"optional_permissions", "{\"database_read\":{\"sources\":[\"a b\"]}}", "is not the name of a data source"},
    /* schemas */
    {"actions", "[{\"name\":\"a\",\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"pattern\":\"a\"}}}}]",
     "/actions/0/parameters/properties/x/pattern"},
    {"actions", "[{\"name\":\"a\"},{\"name\":\"b\",\"result\":{\"type\":\"integr\"}}]", "/actions/1/result/type"},
    {"actions", "[{\"name\":\"a\",\"parameters\":{\"$ref\":\"#\"}}]", "/actions/0/parameters"},
    {"config", "{}", "/config: the configuration's schema needs \"type\": \"object\""},
    {"config", "{\"type\":\"array\"}", "/config"},
    {"config", "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"default\":\"x\"}}}",
     "do not satisfy"},
    {"config", "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{}}}", "do not satisfy"},
    {"config", "{\"type\":\"object\",\"properties\":{\"a\":{\"secret\":true,\"default\":\"x\"}}}",
     "/config/properties/a: a secret has no default"},
    {"config", "{\"type\":\"object\",\"properties\":{\"a\":{\"secret\":1}}}", "/config/properties/a/secret"},
    /* limits */
    {"limits", "{\"memory\":\"64MB\"}", "/limits/memory: \"64MB\" is not a size"},
    {"limits", "{\"memory\":\"1KiB\"}", "/limits/memory"},
    {"limits", "{\"memory\":\"1025GiB\"}", "/limits/memory"},
    {"limits", "{\"tmp\":\"-1\"}", "/limits/tmp"},
    {"limits", "{\"deadline\":\"2\"}", "/limits/deadline: \"2\" is not a time"},
    {"limits", "{\"deadline\":\"0ms\"}", "/limits/deadline"},
    {"limits", "{\"cpu\":\"2\"}", "/limits/cpu: \"2\" is not a time"},
    {"limits", "{\"file_size\":\"1\"}", "/limits/file_size"},
    {"limits", "{\"deadline\":\"2d\"}", "/limits/deadline"},
};

static void refusals(void **state)
{
    buf_auto text = BUF_INIT(1 << 20);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        struct manifest *m = NULL;
        with_member(bad[i].name, bad[i].value, &text);
        int rc = parse(buf_text(&text), &m, &err);
        if (rc == 0)
            print_error("accepted: %s\n", buf_text(&text));
        assert_refused(rc, &err, MOAT_E_BAD_MANIFEST, bad[i].message);
        assert_int_equal(strncmp(err.message, "plugin.json: ", 13), 0);
        assert_null(m);
    }
}

static void not_json(void **state)
{
    struct error err;
    struct manifest *m;
    assert_refused(parse("", &m, &err), &err, MOAT_E_BAD_JSON, "line 1, column 1");
    assert_refused(parse("{\n  \"moat\": 1,\n  oops", &m, &err), &err, MOAT_E_BAD_JSON, "line 3, column 3");
    assert_refused(parse("[]", &m, &err), &err, MOAT_E_BAD_MANIFEST, "object");
    assert_refused(parse("{\"moat\":1,\"moat\":1}", &m, &err), &err, MOAT_E_BAD_MANIFEST, "moat");
    char *large = calloc(1, MANIFEST_MAX + 2);
    memset(large, ' ', MANIFEST_MAX + 1);
    assert_refused(parse(large, &m, &err), &err, MOAT_E_BAD_MANIFEST, "larger than");
    free(large);
}

/* Any cut of a good manifest is refused, any change of a byte is refused or read. */
static void damage(void **state)
{
    struct error err;
    struct manifest *m;
    char *text = strdup(full);
    strstr(text, "1e400")[2] = '3';
    size_t len = strlen(text);
    for (size_t cut = 0; cut + 3 < len; cut++)
        assert_int_not_equal(manifest_parse((uint8_t *)text, cut, &m, &err), 0);
    seed();
    for (int i = 0; i < 3000; i++) {
        size_t at = random_u64() % len;
        char old = text[at];
        text[at] = (char)random_u64();
        if (manifest_parse((uint8_t *)text, len, &m, &err) == 0)
            manifest_unref(m);
        text[at] = old;
    }
    free(text);
}

/* semver.org, section 11, and the edges of its grammar. */
static void versions(void **state)
{
    static const char *const ordered[] = {
        "0.0.0",
        "0.0.1",
        "0.9.99999999999999999999",
        "1.0.0-0",
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0--",
        "1.0.0-a-b",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.1.0",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.2.0",
        "1.10.0",
        "2.0.0",
        "10.0.0",
        "99999999999999999999.0.0",
        "100000000000000000000.0.0",
    };
    static const char *const same[][2] = {{"1.0.0+a", "1.0.0+b"}, {"1.0.0-a+x", "1.0.0-a"}, {"1.0.0+a-b", "1.0.0"}};
    static const char *const wrong[] = {
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "01.0.0",
        "1.01.0",
        "1.0.01",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-a..b",
        "1.0.0-01",
        "1.0.0-a_b",
        "1.0.0+a+b",
        " 1.0.0",
        "1.0.0 ",
        "-1.0.0",
        "1.0.0-\xc3\xa9",
        "a.b.c",
        "1..0",
        "1.0.0-.",
        "12345678901234567890123456789012345678901234567890123456789012.0.0",
    };
    size_t n = sizeof ordered / sizeof *ordered;
    for (size_t i = 0; i < n; i++) {
        assert_true(version_is_valid(ordered[i]));
        for (size_t k = 0; k < n; k++) {
            int c = version_compare(ordered[i], ordered[k]);
            if ((c > 0) - (c < 0) != (i > k) - (i < k))
                fail_msg("%s and %s compare as %d", ordered[i], ordered[k], c);
        }
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_true(version_is_valid(same[i][0]));
        assert_int_equal(version_compare(same[i][0], same[i][1]), 0);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (version_is_valid(wrong[i]))
            fail_msg("\"%s\" is no version", wrong[i]);
}

/* The documents of this test, one a line: test_manifest_schema.py compares the published schema with the same. */
static int print_documents(void)
{
    buf_auto text = BUF_INIT(1 << 20);
    puts(GOOD_MANIFEST);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        with_member(bad[i].name, bad[i].value, &text);
        puts(buf_text(&text));
    }
    return 0;
}

/* Reads documents, one a line, and answers each with "ok" or the message. */
static int answer_documents(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&line, &room, stdin)) > 0) {
        struct error err;
        struct manifest *m;
        int rc = manifest_parse((uint8_t *)line, (size_t)n - (line[n - 1] == '\n'), &m, &err);
        puts(rc ? err.message : "ok");
        if (rc == 0)
            manifest_unref(m);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--documents") == 0)
        return print_documents();
    if (argc == 2 && strcmp(argv[1], "--answer") == 0)
        return answer_documents();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything), cmocka_unit_test(least),  cmocka_unit_test(refusals),
        cmocka_unit_test(not_json),   cmocka_unit_test(damage), cmocka_unit_test(versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
