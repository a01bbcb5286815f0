/* orchestrator/task: what is a task and what is none, by example, by size and by time; templates filled.
 * With --answer: reads one task a line, says "ok" or its findings as JSON. */
#include "orchestrator/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "json/cursor.h"

static struct task *good(const char *text)
{
    struct task *t = NULL;
    struct error err = {0};
    if (task_read(text, strlen(text), &t, NULL, &err))
        fail_msg("%s: %s", text, err.message);
    return t;
}

/* The first finding is at that pointer and says that. */
static void refused(const char *text, const char *pointer, const char *says)
{
    struct task *t = (struct task *)&text, *before = t;
    struct faults faults = {0};
    struct error err = {0};
    assert_int_equal(task_read(text, strlen(text), &t, &faults, &err), -MOAT_E_BAD_TASK);
    assert_ptr_equal(t, before);
    assert_true(faults.count >= 1);
    if (strcmp(faults.list[0].pointer, pointer) != 0 || !strstr(faults.list[0].message, says))
        fail_msg("%s: %s: %s", text, faults.list[0].pointer, faults.list[0].message);
    assert_non_null(strstr(err.detail, "\"findings\":["));
    faults_free(&faults);
}

#define STEPS(steps) "{\"task\":1,\"input\":{\"n\":[1,2]},\"steps\":[" steps "]}"
#define A "{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\"}"

static void forms_that_are_refused(void **state)
{
    static const struct {
        const char *text, *pointer, *says;
    } rows[] = {
        {"{}", "", "missing member"},
        {"{\"task\":2,\"steps\":[" A "]}", "/task", "must be 1"},
        {"{\"task\":1,\"steps\":[]}", "/steps", "at least 1"},
        {"{\"task\":1,\"steps\":[" A "],\"x\":1}", "/x", "unknown member"},
        {STEPS("{\"id\":\"a b\",\"plugin\":\"p\",\"action\":\"x\"}"), "/steps/0/id", "letters"},
        {STEPS(A "," A), "/steps/1/id", "already"},
        {STEPS("{\"id\":\"a\",\"action\":\"x\"}"), "/steps/0", "either"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"capability\":\"custom\",\"action\":\"x\"}"), "/steps/0", "either"},
        {STEPS("{\"id\":\"a\",\"capability\":\"magic\",\"action\":\"x\"}"), "/steps/0/capability",
         "no such capability"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"P\",\"action\":\"x\"}"), "/steps/0/plugin", "small letter"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"depends_on\":[\"b\"]}"), "/steps/0/depends_on/0",
         "no such step"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"depends_on\":[\"a\"]}"), "/steps/0", "a, a"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"depends_on\":[\"b\"]},"
               "{\"id\":\"b\",\"plugin\":\"p\",\"action\":\"x\",\"depends_on\":[\"a\"]}"),
         "/steps/0", "a, b, a"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"timeout\":\"5 s\"}"), "/steps/0/timeout",
         "not a time"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"timeout\":\"0s\"}"), "/steps/0/timeout", "above 0"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"timeout\":\"213503d\"}"), "/steps/0/timeout",
         "36500d (100 years) at most"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"retry\":{\"attempts\":2,\"on\":[\"bad\"]}}"),
         "/steps/0/retry/on/0", "no error"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"on_error\":\"fallback\"}"), "/steps/0/on_error",
         "go together"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"fallback\":{\"plugin\":\"q\",\"action\":\"y\"}}"),
         "/steps/0/fallback", "go together"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"where\":{\"version\":\"latest\"}}"),
         "/steps/0/where/version", "not comparisons"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"where\":{\"permissions\":[\"fly\"]}}"),
         "/steps/0/where/permissions/0", "no such permission"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"for_each\":{\"items\":3}}"),
         "/steps/0/for_each/items", "an array"},
        {"{\"task\":1,\"budget\":{\"bytes\":\"many\"},\"steps\":[" A "]}", "/budget/bytes", "not a size"},
        {"{\"task\":1,\"budget\":{\"calls\":0},\"steps\":[" A "]}", "/budget/calls", "at least 1"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"when\":[{\"step\":\"b\",\"outcome\":\"failed\"}]}"),
         "/steps/0/when/0/step", "no such step"},
        {STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"when\":[{\"step\":\"a\",\"outcome\":\"failed\"}]}"),
         "/steps/0/when/0/step", "itself"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].text, rows[i].pointer, rows[i].says);
}

#define WITH(parameters) STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"parameters\":" parameters "}")

static void templates_that_are_refused(void **state)
{
    static const struct {
        const char *text, *pointer, *says;
    } rows[] = {
        {WITH("{\"d\":{\"$from\":\"/nowhere\"}}"), "/steps/0/parameters/d", "pointers lead to"},
        {WITH("{\"d\":{\"$from\":\"input\"}}"), "/steps/0/parameters/d", "not a JSON Pointer"},
        {WITH("{\"d\":{\"$from\":\"/input/~2\"}}"), "/steps/0/parameters/d", "not a JSON Pointer"},
        {WITH("{\"d\":{\"$from\":\"/input/m\"}}"), "/steps/0/parameters/d", "no such value"},
        {WITH("{\"d\":{\"$from\":\"/input/n/2\"}}"), "/steps/0/parameters/d", "no such value"},
        {WITH("{\"d\":{\"$from\":\"/input/n/01\"}}"), "/steps/0/parameters/d", "no such value"},
        {WITH("{\"d\":{\"$from\":3}}"), "/steps/0/parameters/d", "a text"},
        {WITH("{\"d\":{\"$from\":\"/input\",\"x\":1}}"), "/steps/0/parameters/d", "nothing else"},
        {WITH("{\"d\":{\"x\":1,\"$from\":\"/input\"}}"), "/steps/0/parameters/d", "stand alone"},
        {WITH("{\"d\":{\"$text\":\"a\",\"x\":1}}"), "/steps/0/parameters/d", "nothing else"},
        {WITH("{\"d\":{\"$text\":\"{/input\"}}"), "/steps/0/parameters/d", "has no }"},
        {WITH("{\"d\":{\"$text\":\"{/inp}\"}}"), "/steps/0/parameters/d", "pointers lead"},
        {WITH("{\"d\":{\"$text\":1}}"), "/steps/0/parameters/d", "is a text"},
        {WITH("{\"d\":[0,{\"$from\":\"/item\"}]}"), "/steps/0/parameters/d/1", "for_each"},
        {WITH("{\"d\":{\"$from\":\"/steps/z/result\"}}"), "/steps/0/parameters/d", "no step \"z\""},
        {WITH("{\"d\":{\"$from\":\"/steps/a/result\"}}"), "/steps/0/parameters/d", "itself"},
        {STEPS(A ",{\"id\":\"b\",\"plugin\":\"p\",\"action\":\"x\",\"parameters\":{\"d\":{\"$from\":\"/steps/a/"
                 "output\"}}}"),
         "/steps/1/parameters/d", "/result"},
        {STEPS(A ",{\"id\":\"b\",\"plugin\":\"p\",\"action\":\"x\",\"parameters\":{\"d\":{\"$from\":\"/steps/a/error/"
                 "x\"}}}"),
         "/steps/1/parameters/d", "/code"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].text, rows[i].pointer, rows[i].says);
}

/* ---- filling ---- */

static int value(void *context, const struct ref *ref, const uint8_t **out, size_t *len, struct error *err)
{
    static uint8_t document[256];
    const char *text = ref->kind == REF_INPUT   ? "{\"n\":[1,2]}"
                       : ref->kind == REF_INDEX ? "7"
                       : ref->kind == REF_ITEM  ? "{\"name\":\"caf\\u00e9 \\\"x\\\"\",\"a/b\":{\"~\":null}}"
                                                : "\"succeeded\"";
    memcpy(document, text, strlen(text) + 1);
    *out = ref_follow(ref, document);
    *len = *out ? cursor_length(*out) : 0;
    return *out != NULL;
}

#define EACH(parameters) \
    STEPS("{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"for_each\":{\"items\":[1]},\"parameters\":" parameters "}")

static void templates_are_filled(void **state)
{
    static const struct {
        const char *text, *filled;
    } rows[] = {
        {EACH("{\"a\": 1 , \"b\":[ ]}"), "{\"a\": 1 , \"b\":[ ]}"},
        {EACH("{\"a\":{\"$from\":\"/item\"}}"), "{\"a\":{\"name\":\"caf\\u00e9 \\\"x\\\"\",\"a/b\":{\"~\":null}}}"},
        {EACH("{\"a\":{\"$from\":\"/item/name\"},\"i\":{\"$from\":\"/index\"}}"),
         "{\"a\":\"caf\\u00e9 \\\"x\\\"\",\"i\":7}"},
        {EACH("{\"a\":{\"$from\":\"/item/a~1b/~0\"}}"), "{\"a\":null}"},
        {EACH("{\"a\":{\"$from\":\"/item/none\",\"default\":[{\"$from\":1}]}}"), "{\"a\":[{\"$from\":1}]}"},
        {EACH("{\"a\":{\"default\":0,\"$from\":\"/item/none\"}}"), "{\"a\":0}"},
        {EACH("{\"a\":{\"default\":0,\"b\":1}}"), "{\"a\":{\"default\":0,\"b\":1}}"},
        {EACH("{\"a\":{\"$literal\":{\"$from\":\"/item\"}}}"), "{\"a\":{\"$from\":\"/item\"}}"},
        {EACH("{\"a\":{\"$ref\":\"/item\"}}"), "{\"a\":{\"$ref\":\"/item\"}}"},
        {EACH("{\"a\":{\"\\u0024from\":\"/index\"}}"), "{\"a\":7}"},
        {EACH("{\"a\":{\"$text\":\"no {{braces} here\"}}"), "{\"a\":\"no {braces} here\"}"},
        {EACH("{\"a\":{\"$text\":\"{/index}{/item/name}: {/item/a~1b}\\n\"}}"),
         "{\"a\":\"7caf\\u00e9 \\\"x\\\": {\\\"~\\\":null}\\n\"}"},
        {EACH("{\"a\":[{\"$from\":\"/input/n/1\"},{\"$from\":\"/input/n\"},3]}"), "{\"a\":[2,[1,2],3]}"},
    };
    struct template_source source = {.value = value};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct task *t = good(rows[i].text);
        struct error err;
        buf_auto out = BUF_INIT(4096);
        assert_int_equal(template_fill(t->steps[0].run.parameters, &source, &out, &err), 0);
        assert_string_equal(buf_text(&out), rows[i].filled);
        task_unref(t);
    }
    struct task *t = good(EACH("{\"a\":{\"$from\":\"/item/none\"}}"));
    struct error err;
    buf_auto out = BUF_INIT(4096);
    assert_int_equal(template_fill(t->steps[0].run.parameters, &source, &out, &err), -MOAT_E_BAD_PARAMETERS);
    assert_non_null(strstr(err.message, "/item/none"));
    task_unref(t);
    t = good(EACH("{\"a\":{\"$from\":\"/item\"}}"));
    buf_auto small = BUF_INIT(16);
    assert_int_equal(template_fill(t->steps[0].run.parameters, &source, &small, &err), -MOAT_E_TOO_LARGE);
    task_unref(t);
}

/* ---- the graph ---- */

static void references_are_dependencies(void **state)
{
    struct task *t = good(STEPS(
        "{\"id\":\"c\",\"plugin\":\"p\",\"action\":\"x\",\"depends_on\":[\"a\",\"a\"],\"when\":[{\"step\":\"a\","
        "\"outcome\":\"succeeded\"}],"
        "\"parameters\":{\"d\":{\"$from\":\"/steps/b/result\"},\"e\":{\"$text\":\"{/steps/a/result/x}\"}}},"
        "{\"id\":\"b\",\"capability\":\"Custom\",\"action\":\"x\",\"fallback\":{\"plugin\":\"q\",\"action\":\"y\","
        "\"parameters\":{\"m\":{\"$from\":\"/steps/b/error/message\"}}},\"on_error\":\"fallback\"}," A));
    assert_int_equal(t->nsteps, 3);
    assert_int_equal(t->steps[0].nneeds, 2);
    assert_int_equal(t->steps[1].nneeds, 0);
    assert_int_equal(t->steps[1].nheirs, 1);
    assert_int_equal(t->steps[1].heirs[0], 0);
    assert_int_equal(t->order[2], 0);
    assert_int_equal(t->nactions, 4);
    assert_int_equal(t->budget.calls, 100000);
    task_unref(t);
}

/* ---- sizes ---- */

static void put_steps(struct buf *out, unsigned n, unsigned needs)
{
    buf_puts(out, "{\"task\":1,\"steps\":[");
    for (unsigned i = 0; i < n; i++) {
        buf_printf(
            out,
            "%s{\"id\":\"step_%u\",\"plugin\":\"data_processor\",\"action\":\"transform\",\"parameters\":{\"data\":",
            i ? "," : "", i);
        if (i)
            buf_printf(out, "{\"$from\":\"/steps/step_%u/result\"}", i - 1);
        else
            buf_puts(out, "[1,2,3]");
        buf_puts(out, ",\"operation\":\"multiply\",\"factor\":2},\"depends_on\":[");
        for (unsigned k = 0; k < needs && k < i; k++)
            buf_printf(out, "%s\"step_%u\"", k ? "," : "", i - 1 - k);
        buf_puts(out, "]}");
    }
    buf_puts(out, "]}");
}

/* Of this thread: what else the machine does is no matter. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t time_to_read(const struct buf *text, int code)
{
    struct task *t = NULL;
    struct error err = {0};
    uint64_t from = cpu_ns();
    int rc = task_read(text->data, text->len, &t, NULL, &err);
    uint64_t span = cpu_ns() - from;
    if (rc != code)
        fail_msg("%d: %s", rc, err.message);
    task_unref(t);
    return span;
}

static uint64_t best_time(unsigned steps)
{
    buf_auto text = BUF_INIT(TASK_TEXT_MAX);
    uint64_t best = UINT64_MAX;
    put_steps(&text, steps, 3);
    for (int i = 0; i < 5; i++) {
        uint64_t span = time_to_read(&text, 0);
        best = span < best ? span : best;
    }
    return best;
}

/* Ten times the steps take ten times as long, or so; how long that is on which machine is bench/tasks' business. */
static void large_graphs_are_read_in_time(void **state)
{
    uint64_t few = best_time(1000), many = best_time(10000);
    print_message("# 10,000 steps: %.2f ms, %.1f times as long as 1,000\n", (double)many / 1e6,
                  (double)many / (double)few);
    assert_true(many < 40 * few);
}

static void hostile_sizes_are_refused(void **state)
{
    buf_auto text = BUF_INIT(TASK_TEXT_MAX + 100);
    struct task *t;
    struct error err;
    put_steps(&text, 10001, 0);
    time_to_read(&text, -MOAT_E_BAD_TASK);
    /* a star of dependencies */
    buf_clear(&text);
    put_steps(&text, 1000, 999);
    time_to_read(&text, -MOAT_E_BAD_TASK);
    /* deep: beyond what JSON may be */
    buf_clear(&text);
    buf_puts(&text, "{\"task\":1,\"input\":");
    for (int i = 0; i < 100000; i++)
        buf_putc(&text, '[');
    assert_int_equal(task_read(text.data, text.len, &t, NULL, &err), -MOAT_E_BAD_JSON);
    /* a default in a default in a default, each large */
    buf_clear(&text);
    buf_puts(&text, "{\"task\":1,\"steps\":[{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"parameters\":");
    for (int i = 0; i < 240; i++)
        buf_puts(&text, "{\"default\":");
    buf_putc(&text, '"');
    for (int i = 0; i < 1 << 20; i++)
        buf_puts(&text, "aaaaaaaa");
    buf_putc(&text, '"');
    for (int i = 0; i < 240; i++)
        buf_puts(&text, ",\"x\":1}");
    buf_puts(&text, "}]}");
    time_to_read(&text, -MOAT_E_BAD_TASK);
    /* more text than a task may have */
    buf_clear(&text);
    for (unsigned i = 0; i < TASK_TEXT_MAX + 1; i++)
        buf_putc(&text, ' ');
    assert_int_equal(task_read(text.data, text.len, &t, NULL, &err), -MOAT_E_TOO_LARGE);
    /* many references into a large input */
    buf_clear(&text);
    buf_puts(&text, "{\"task\":1,\"input\":[");
    for (int i = 0; i < 200000; i++)
        buf_puts(&text, "0,");
    buf_puts(&text, "0],\"steps\":[{\"id\":\"a\",\"plugin\":\"p\",\"action\":\"x\",\"parameters\":{\"d\":[0");
    for (int i = 0; i < 50000; i++)
        buf_puts(&text, ",{\"$from\":\"/input/200000\"}");
    buf_puts(&text, "]}}]}");
    time_to_read(&text, -MOAT_E_BAD_TASK);
}

static void many_faults_are_counted(void **state)
{
    buf_auto text = BUF_INIT(TASK_TEXT_MAX);
    struct faults faults = {0};
    struct error err = {0};
    struct task *t;
    buf_puts(&text, "{\"task\":1,\"steps\":[");
    for (int i = 0; i < 500; i++)
        buf_printf(&text, "%s{\"id\":\"s%d\",\"action\":\"x\"}", i ? "," : "", i);
    buf_puts(&text, "]}");
    assert_int_equal(task_read(text.data, text.len, &t, &faults, &err), -MOAT_E_BAD_TASK);
    assert_int_equal(faults.count, FAULTS_MAX);
    assert_int_equal(faults.more, 400);
    assert_non_null(strstr(err.message, "(and 499 more)"));
    faults_free(&faults);
}

static int answer(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) > 0) {
        struct task *t = NULL;
        struct faults faults = {0};
        struct error err = {0};
        buf_auto out = BUF_INIT(1 << 20);
        int rc = task_read(line, (size_t)len, &t, &faults, &err);
        if (rc == -MOAT_E_BAD_TASK)
            faults_tell(&faults, &out, NULL);
        puts(rc == 0 ? "ok" : rc == -MOAT_E_BAD_TASK ? buf_text(&out) : err.message);
        faults_free(&faults);
        task_unref(t);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--answer") == 0)
        return answer();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_that_are_refused),        cmocka_unit_test(templates_that_are_refused),
        cmocka_unit_test(templates_are_filled),          cmocka_unit_test(references_are_dependencies),
        cmocka_unit_test(large_graphs_are_read_in_time), cmocka_unit_test(hostile_sizes_are_refused),
        cmocka_unit_test(many_faults_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
