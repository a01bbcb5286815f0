/* libmoat, through its header alone. */
#include <moat/moat.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kit.h"

static struct moat *m;
static struct moat_error e;

/* The kit makes the packages; its service gives the home up. */
static int setup(void **state)
{
    if (kit_setup(state) != 0)
        return -1;
    struct kit *k = *state;
    kit_close(k);
    struct moat_options options = {
        .size = sizeof options, .home = kit_path(k, "home"), .libexec = getenv("MOAT_TEST_BIN")};
    if (moat_open(&options, &m, &e) != MOAT_E_OK)
        fail_msg("%s", e.message);
    return 0;
}

static int teardown(void **state)
{
    moat_close(m);
    m = NULL;
    return kit_teardown(state);
}

static void install(struct kit *k, struct kit_package p)
{
    char *json;
    if (moat_install(m, kit_pack(k, p), NULL, &json, &e) != MOAT_E_OK)
        fail_msg("%s", e.message);
    moat_free(json);
}

#define FINE(call) assert_int_equal((call), MOAT_E_OK)

static void everything_of_the_header_works(void **state)
{
    struct kit *k = *state;
    char *json, grant[700];
    struct moat_install_options options = {.size = sizeof options, .load = true};
    const char *package = kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"});
    FINE(moat_validate(m, package, &json, &e));
    assert_non_null(strstr(json, "\"valid\":true"));
    moat_free(json);
    FINE(moat_install(m, package, &options, &json, &e));
    assert_non_null(strstr(json, "\"loaded\":true"));
    moat_free(json);
    FINE(moat_list(m, &json, &e));
    assert_non_null(strstr(json, "\"alpha\""));
    moat_free(json);
    FINE(moat_info(m, "alpha", &json, &e));
    assert_non_null(strstr(json, "\"health_status\""));
    moat_free(json);
    FINE(moat_stats(m, &json, &e));
    assert_non_null(strstr(json, "\"loaded_plugins\":1"));
    moat_free(json);
    kit_write(k, "data.txt", "x");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    FINE(moat_grant(m, "alpha", grant, &e));
    FINE(moat_revoke(m, "alpha", grant, &e));
    FINE(moat_unload(m, "alpha", &e));
    FINE(moat_load(m, "alpha", &e));
    FINE(moat_uninstall(m, "alpha", true, &e));
    assert_int_equal(moat_info(m, "alpha", &json, &e), MOAT_E_NO_SUCH_PLUGIN);
    assert_int_equal(e.code, MOAT_E_NO_SUCH_PLUGIN);
    assert_true(strlen(e.message) > 0);
    assert_int_equal(moat_load(m, "alpha", NULL), MOAT_E_NO_SUCH_PLUGIN); /* without an error to fill */
    assert_string_equal(moat_code_name(MOAT_E_NO_SUCH_PLUGIN), "no_such_plugin");
}

static void options_must_say_their_size(void **state)
{
    struct kit *k = *state;
    struct moat *other = NULL;
    struct moat_options none = {0};
    struct moat_options busy = {.size = sizeof busy, .home = kit_path(k, "home"), .libexec = getenv("MOAT_TEST_BIN")};
    assert_int_equal(moat_open(&none, &other, &e), MOAT_E_BAD_USAGE);
    assert_int_equal(moat_open(&busy, &other, &e), MOAT_E_HOME_BUSY);
    assert_null(other);
    struct moat_call_data call = {.plugin = "alpha", .action = "echo"};
    assert_int_equal(moat_call(m, &call), MOAT_E_BAD_USAGE);
    moat_close(NULL);
    moat_free(NULL);
}

/* enable_security off: another home, in which unsigned packages run and which no secure host opens. */
static void development_mode_has_homes_of_its_own(void **state)
{
    struct kit *k = *state;
    struct moat *dev = NULL;
    struct moat_options unsafe = {.size = sizeof unsafe,
                                  .home = kit_path(k, "home"),
                                  .libexec = getenv("MOAT_TEST_BIN"),
                                  .disable_security = true};
    const char *package = kit_pack(k, (struct kit_package){.nobody = true});
    char home[600], *json;
    assert_int_equal(moat_install(m, package, NULL, &json, &e), MOAT_E_UNSIGNED);
    moat_close(m);
    m = NULL;
    assert_int_equal(moat_open(&unsafe, &dev, &e), MOAT_E_WRONG_STATE);
    snprintf(home, sizeof home, "%s", kit_path(k, "dev"));
    unsafe.home = home;
    FINE(moat_open(&unsafe, &dev, &e));
    FINE(moat_install(dev, package, NULL, &json, &e));
    moat_free(json);
    struct moat_call_data call = {.size = sizeof call, .plugin = "alpha", .action = "echo", .parameters = "5"};
    FINE(moat_call(dev, &call));
    moat_free(call.result);
    FINE(moat_stats(dev, &json, &e));
    assert_non_null(strstr(json, "\"enabled\":false,\"development\":\"on\""));
    moat_free(json);
    moat_close(dev);
    unsafe.disable_security = false;
    assert_int_equal(moat_open(&unsafe, &dev, &e), MOAT_E_WRONG_STATE);
    assert_non_null(strstr(e.message, "moat secure"));
}

static void calls_bring_results_receipts_and_errors(void **state)
{
    struct kit *k = *state;
    install(k, (struct kit_package){0});
    struct moat_call_data call = {.size = sizeof call, .plugin = "alpha", .action = "echo", .parameters = "{\"a\": 1}"};
    FINE(moat_call(m, &call));
    assert_string_equal(call.result, "{\"a\": 1}");
    assert_int_equal(call.result_len, 8);
    assert_int_equal(call.receipt.bytes_in, 8);
    assert_int_equal(call.receipt.bytes_out, 8);
    assert_true(call.receipt.ran_ns > 0);
    moat_free(call.result);
    call.parameters = NULL;
    FINE(moat_call(m, &call));
    assert_string_equal(call.result, "{}");
    moat_free(call.result);
    call.parameters = "{\"cut\": 1} and more";
    call.parameters_len = 10;
    FINE(moat_call(m, &call));
    assert_string_equal(call.result, "{\"cut\": 1}");
    moat_free(call.result);
    call.parameters_len = 0;
    assert_int_equal(moat_call(m, &call), MOAT_E_BAD_JSON);
    assert_null(call.result);
    assert_int_equal(call.error.code, MOAT_E_BAD_JSON);
    assert_int_equal(strlen(call.error.id), 32);
    call.parameters = "{\"code\":\"no\",\"message\":\"as asked\"}";
    call.action = "fail";
    assert_int_equal(moat_call(m, &call), MOAT_E_ACTION_FAILED);
    assert_non_null(strstr(call.error.message, "as asked"));
    call.action = "sleep";
    call.parameters = "{\"ms\":10000}";
    call.deadline_ns = 50000000;
    assert_int_equal(moat_call(m, &call), MOAT_E_DEADLINE);
    call.action = "crash";
    call.parameters = NULL;
    call.deadline_ns = 0;
    assert_int_equal(moat_call(m, &call), MOAT_E_PLUGIN_CRASHED);
}

enum { MANY = 2500 };

static void many_calls_at_once(void **state)
{
    struct kit *k = *state;
    static struct moat_call_data calls[MANY];
    static char parameters[MANY][32];
    install(k, (struct kit_package){0});
    memset(calls, 0, sizeof calls);
    for (int i = 0; i < MANY; i++) {
        snprintf(parameters[i], sizeof parameters[i], "{\"i\":%d}", i);
        calls[i] = (struct moat_call_data){.size = sizeof calls[i],
                                           .plugin = "alpha",
                                           .action = i % 100 == 99 ? "nothing" : "echo",
                                           .parameters = parameters[i]};
    }
    calls[7].size = 0;
    assert_int_equal(moat_call_many(m, calls, MANY), MANY / 100 + 1);
    for (int i = 0; i < MANY; i++) {
        if (i == 7) {
            assert_int_equal(calls[i].code, MOAT_E_BAD_USAGE);
        } else if (i % 100 == 99) {
            assert_int_equal(calls[i].code, MOAT_E_NO_SUCH_ACTION);
            assert_null(calls[i].result);
        } else {
            assert_int_equal(calls[i].code, MOAT_E_OK);
            assert_string_equal(calls[i].result, parameters[i]);
        }
        moat_free(calls[i].result);
    }
    assert_int_equal(moat_call_many(m, calls, 0), 0);
}

/* ---- tasks ---- */

#define SELECT(capability) "{\"capability\":\"" capability "\",\"action\":\"echo\""

static void assert_told(char *json, const char *part)
{
    if (!strstr(json, part))
        fail_msg("no %s in %s", part, json);
}

static void a_step_is_given_the_plugin_that_has_its_capability(void **state)
{
    struct kit *k = *state;
    char *json = NULL;
    FINE(moat_orchestrator_select(m, SELECT("agent_skill") "}", &json, &e)); /* nobody: that is an answer as well */
    assert_told(json, "\"plugin\":null");
    moat_free(json);
    install(k, (struct kit_package){0});
    FINE(moat_orchestrator_select(m, SELECT("agent_skill") "}", &json, &e));
    assert_told(json, "\"plugin\":\"alpha\"");
    assert_null(strstr(json, "candidates"));
    moat_free(json);
    FINE(moat_orchestrator_select(m, SELECT("agent_skill") ",\"explain\":true}", &json, &e));
    assert_told(json, "\"candidates\":[{\"plugin\":\"alpha\"");
    moat_free(json);
}

static void what_cannot_be_selected_is_an_error_and_leaves_the_answer_alone(void **state)
{
    static char untouched[] = "untouched";
    static const struct {
        const char *request;
        int code;
    } cases[] = {{"", MOAT_E_BAD_JSON},
                 {"{\"capability\":", MOAT_E_BAD_JSON},
                 {"[]", MOAT_E_BAD_REQUEST},
                 {"{\"plugin\":\"alpha\",\"action\":\"echo\"}", MOAT_E_BAD_REQUEST},
                 {"{\"nonsense\":1}", MOAT_E_BAD_TASK}};
    char *json = untouched;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = moat_orchestrator_select(m, cases[i].request, &json, &e);
        if (code != cases[i].code || (int)e.code != code)
            fail_msg("%s: %s, %s", cases[i].request, moat_code_name(code), e.message);
        assert_ptr_equal(json, untouched);
        assert_true(strlen(e.message) > 0);
        assert_int_equal(moat_orchestrator_select(m, cases[i].request, &json, NULL), code);
    }
}

/* Of plugins and of tasks: nothing at first, then what was done. */
static void figures_tell_of_calls_and_tasks(void **state)
{
    struct kit *k = *state;
    char *json = NULL;
    FINE(moat_orchestrator_stats(m, &json, &e));
    assert_told(json, "\"succeeded\":0,\"failed\":0");
    assert_told(json, "\"plugins_used\":[],\"success_rate\":null");
    moat_free(json);
    install(k, (struct kit_package){0});
    struct moat_task_data good = {
        .size = sizeof good,
        .task = "{\"task\":1,\"steps\":[{\"id\":\"a\",\"plugin\":\"alpha\",\"action\":\"echo\"}]}"};
    FINE(moat_orchestrator_execute(m, &good));
    moat_free(good.json);
    FINE(moat_orchestrator_stats(m, &json, &e));
    assert_told(json, "\"succeeded\":1,\"failed\":0");
    assert_told(json, "\"plugins_used\":[{\"plugin\":\"alpha\",\"calls\":1,\"errors\":0");
    moat_free(json);
    FINE(moat_stats(m, &json, &e));
    assert_told(json, "\"loaded_plugins\":1");
    moat_free(json);
}

static atomic_int completed;
static atomic_int wrong;

static void on_done(struct moat_call_data *call)
{
    wrong += call->code != MOAT_E_OK || strcmp(call->result, call->parameters) != 0;
    moat_free(call->result);
    completed++;
}

static void completions_come_once_each(void **state)
{
    struct kit *k = *state;
    static struct moat_call_data calls[200];
    install(k, (struct kit_package){0});
    completed = wrong = 0;
    for (int i = 0; i < 200; i++) {
        calls[i] = (struct moat_call_data){
            .size = sizeof calls[i], .plugin = "alpha", .action = "echo", .parameters = "{\"x\":\"y\"}"};
        moat_call_begin(m, &calls[i], on_done);
    }
    for (int i = 0; i < 2000 && completed < 200; i++)
        usleep(5000);
    assert_int_equal(completed, 200);
    assert_int_equal(wrong, 0);
}

static void *call_some(void *argument)
{
    uintptr_t failed = 0;
    for (int i = 0; i < 200; i++) {
        struct moat_call_data call = {
            .size = sizeof call, .plugin = "alpha", .action = "echo", .parameters = "{\"t\":true}"};
        failed += moat_call(m, &call) != MOAT_E_OK;
        moat_free(call.result);
    }
    return (void *)failed;
}

static void threads_may_call_while_the_plugin_is_reloaded_and_granted(void **state)
{
    struct kit *k = *state;
    pthread_t threads[4];
    char grant[700];
    install(k, (struct kit_package){.optional = "[\"file_read\"]", .workers = 2});
    kit_write(k, "data.txt", "x");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    FINE(moat_load(m, "alpha", &e));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_some, NULL), 0);
    FINE(moat_grant(m, "alpha", grant, &e)); /* adding loses no call */
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_int_equal((uintptr_t)failed, 0);
    }
}

/* A program of its own, with the shared and with the static library. */
static void a_program_embeds_it(void **state)
{
    struct kit *k = *state;
    const char *const programs[] = {getenv("MOAT_TEST_EMBED_SHARED"), getenv("MOAT_TEST_EMBED_STATIC")};
    char *pem = kit_pem(k->acme), home[600], key[600], package[4096];
    kit_write(k, "acme.pub", pem);
    free(pem);
    snprintf(key, sizeof key, "%s", kit_path(k, "acme.pub"));
    snprintf(package, sizeof package, "%s", kit_pack(k, (struct kit_package){0}));
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(programs[i]);
        snprintf(home, sizeof home, "%s/embedded-%zu", k->dir, i);
        int out[2], status;
        char text[8192];
        assert_int_equal(pipe(out), 0);
        pid_t child = fork();
        if (child == 0) {
            dup2(out[1], STDOUT_FILENO);
            execl(programs[i], programs[i], home, getenv("MOAT_TEST_BIN"), key, package, (char *)NULL);
            _exit(127);
        }
        close(out[1]);
        size_t n = 0;
        ssize_t got;
        while ((got = read(out[0], text + n, sizeof text - 1 - n)) > 0)
            n += (size_t)got;
        text[n] = '\0';
        close(out[0]);
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_non_null(strstr(text, "\n{\"hello\":\"world\"}\n"));
    }
}

/* ---- the monitor ---- */

#define RECORDERS 4
#define RECORDS 20000

static void *recorder(void *context)
{
    struct moat_metric metric = {
        .size = sizeof metric, .plugin = "billing", .action = "charge", .success = true, .duration_ns = 3000};
    for (int i = 0; i < RECORDS; i++) {
        metric.success = i % 100 != 0;
        if (moat_record_metric(m, &metric, NULL) != MOAT_E_OK)
            return context;
    }
    return NULL;
}

struct reported {
    _Atomic uint64_t calls, failed, echoes;
};

/* Records as well: that is allowed. */
static void reported(void *context, const struct moat_metric_report *report)
{
    struct reported *sum = context;
    struct moat_metric own = {.size = sizeof own, .plugin = "reports", .action = report->action, .success = true};
    if (!report->platform) {
        atomic_fetch_add(&sum->echoes, report->calls);
    } else if (strcmp(report->plugin, "billing") == 0) {
        moat_record_metric(m, &own, NULL);
        atomic_fetch_add(&sum->calls, report->calls);
        atomic_fetch_add(&sum->failed, report->failed);
    }
}

static void what_threads_record_is_all_told(void **state)
{
    pthread_t threads[RECORDERS];
    struct reported sum = {0};
    char *json;
    void *failed;
    install(*state, (struct kit_package){0});
    moat_on_metric(m, reported, &sum);
    struct moat_call_data call = {.size = sizeof call, .plugin = "alpha", .action = "echo", .parameters = "5"};
    FINE(moat_call(m, &call));
    moat_free(call.result);
    for (int i = 0; i < RECORDERS; i++)
        pthread_create(&threads[i], NULL, recorder, &sum);
    for (int i = 0; i < RECORDERS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    FINE(moat_monitor(m, "billing", &json, &e)); /* which looks, and so reports */
    assert_non_null(strstr(json, "\"plugin\":\"billing\",\"action\":\"charge\",\"source\":\"platform\",\"calls\":80000,"
                                 "\"failed\":800"));
    moat_free(json);
    moat_on_metric(m, NULL, NULL);
    assert_int_equal(atomic_load(&sum.calls), RECORDERS * RECORDS);
    assert_int_equal(atomic_load(&sum.failed), RECORDERS * RECORDS / 100);
    assert_int_equal(atomic_load(&sum.echoes), 1);
    FINE(moat_call(m, &call));
    moat_free(call.result);
    FINE(moat_monitor(m, NULL, &json, &e));
    moat_free(json);
    assert_int_equal(atomic_load(&sum.echoes), 1); /* nobody is told any more */
}

static void a_metric_needs_its_words(void **state)
{
    struct moat_metric metric = {.size = sizeof metric, .plugin = "billing", .action = "two words"};
    assert_int_equal(moat_record_metric(m, &metric, &e), MOAT_E_BAD_USAGE);
    metric.action = NULL;
    assert_int_equal(moat_record_metric(m, &metric, &e), MOAT_E_BAD_USAGE);
    metric = (struct moat_metric){.plugin = "billing", .action = "charge"};
    assert_int_equal(moat_record_metric(m, &metric, &e), MOAT_E_BAD_USAGE);
    metric.size = sizeof metric;
    metric.duration_ns = UINT64_MAX;
    assert_int_equal(moat_record_metric(m, &metric, &e), MOAT_E_BAD_PARAMETERS);
    assert_non_null(strstr(e.message, "100 years"));
}

/* ---- parameters ---- */

struct knob {
    pthread_mutex_t lock;
    pthread_cond_t turned;
    char value[64], told[4][64]; /* told: "FROM TO WHY", of the last changes */
    unsigned turns, changes, taken_back;
    bool stiff;
};

static bool turn(void *context, const char *name, const char *value)
{
    struct knob *k = context;
    pthread_mutex_lock(&k->lock);
    bool takes = !k->stiff && strcmp(name, "batch.size") == 0;
    if (takes)
        snprintf(k->value, sizeof k->value, "%s", value);
    k->turns += takes;
    pthread_mutex_unlock(&k->lock);
    return takes;
}

static void turned(void *context, const struct moat_parameter_change *c)
{
    struct knob *k = context;
    pthread_mutex_lock(&k->lock);
    snprintf(k->told[k->changes++ % 4], sizeof k->told[0], "%.20s %.20s %.20s", c->from, c->to, c->why);
    k->taken_back += c->taken_back;
    pthread_cond_broadcast(&k->turned);
    pthread_mutex_unlock(&k->lock);
}

#define KNOB ((struct knob){.lock = PTHREAD_MUTEX_INITIALIZER, .turned = PTHREAD_COND_INITIALIZER})

static void register_knob(struct knob *k)
{
    struct moat_parameter p = {.size = sizeof p,
                               .name = "batch.size",
                               .current = "10",
                               .about = "how many at once",
                               .bounded = true,
                               .min = 5,
                               .max = 50,
                               .step = 5,
                               .watched = "billing",
                               .set = turn,
                               .context = k};
    FINE(moat_register_parameter(m, &p, &e));
    moat_on_parameter(m, turned, k);
}

static char *told_of(const char *name)
{
    char *json;
    FINE(moat_parameter(m, name, &json, &e));
    return json;
}

static void a_parameter_is_changed_within_its_bounds(void **state)
{
    static const char *const bad[] = {"7",    "4",    "55",       "1e300", "\"10\"", "true",
                                      "null", "[10]", "nonsense", "10 10", ""};
    struct knob k = KNOB;
    register_knob(&k);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(moat_set_parameter(m, "batch.size", bad[i], NULL, false, NULL, &e), MOAT_E_OK);
    assert_int_equal(k.turns, 0);
    FINE(moat_set_parameter(m, "batch.size", "15.0", "more at once", false, NULL, &e));
    assert_string_equal(k.value, "15.0");
    FINE(moat_set_parameter(m, "batch.size", "50", NULL, false, NULL, &e));
    k.stiff = true;
    assert_int_equal(moat_set_parameter(m, "batch.size", "5", NULL, false, NULL, &e), MOAT_E_WRONG_STATE);
    char *json = told_of("batch.size");
    assert_non_null(strstr(json, "\"name\":\"batch.size\",\"value\":50,\"min\":5.0,\"max\":50.0,\"step\":5.0"));
    assert_non_null(strstr(json, "\"from\":10,\"to\":15.0,\"who\":\"host\",\"why\":\"more at once\""));
    assert_non_null(strstr(json, "\"changes\":2"));
    moat_free(json);
    assert_int_equal(k.changes, 2);
    assert_string_equal(k.told[0], "10 15.0 more at once");
    assert_int_equal(moat_parameter(m, "other", &json, &e), MOAT_E_NOT_FOUND);
    moat_on_parameter(m, NULL, NULL);
}

/* Numbers by lot: taken are those of the lattice and no others. */
static void what_is_taken_is_what_the_bounds_say(void **state)
{
    struct knob k = KNOB;
    unsigned seed = 7;
    register_knob(&k);
    for (int i = 0; i < 3000; i++) {
        char text[32];
        double x = (double)(rand_r(&seed) % 2000) / (i % 2 ? 20 : 1) - 20;
        bool right = x >= 5 && x <= 50 && (long)x % 5 == 0 && x == (double)(long)x;
        if (right && i > 300)
            continue; /* each one is a record on the disk */
        snprintf(text, sizeof text, "%.2f", x);
        int rc = moat_set_parameter(m, "batch.size", text, NULL, false, NULL, &e);
        assert_int_equal(rc, right ? MOAT_E_OK : MOAT_E_BAD_USAGE);
    }
    moat_on_parameter(m, NULL, NULL);
}

static void parameters_are_defined_soundly(void **state)
{
    struct knob k = KNOB;
    struct moat_parameter good = {.size = sizeof good, .name = "mode", .current = "\"a\"", .set = turn, .context = &k};
    struct moat_parameter bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].name = "two words";
    bad[1].name = "settings.pool";
    bad[2].current = "{}";
    bad[3].set = NULL;
    bad[4].bounded = true; /* of a text */
    bad[5].choices = "[\"b\"]";
    bad[6].choices = "no list";
    bad[7].size = 8;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(moat_register_parameter(m, &bad[i], &e), MOAT_E_BAD_USAGE);
    good.choices = "[\"a\",\"b\"]";
    FINE(moat_register_parameter(m, &good, &e));
    FINE(moat_register_parameter(m, &good, &e));
    assert_int_equal(moat_set_parameter(m, "mode", "\"c\"", NULL, false, NULL, &e), MOAT_E_BAD_USAGE);
    int rc = MOAT_E_OK;
    for (int i = 0; rc == MOAT_E_OK; i++) {
        char name[16];
        assert_true(i < 130);
        snprintf(name, sizeof name, "p%d", i);
        good.name = name;
        rc = moat_register_parameter(m, &good, &e);
    }
    assert_int_equal(rc, MOAT_E_LIMIT);
}

static void record_some(unsigned n, bool success)
{
    struct moat_metric metric = {
        .size = sizeof metric, .plugin = "billing", .action = "charge", .success = success, .duration_ns = 1000};
    while (n--)
        FINE(moat_record_metric(m, &metric, &e));
}

static void look(void)
{
    char *json;
    FINE(moat_monitor(m, NULL, &json, &e));
    moat_free(json);
}

static void a_change_for_the_worse_is_taken_back(void **state)
{
    struct knob k = KNOB;
    register_knob(&k);
    FINE(moat_set_parameter(m, "batch.size", "15", NULL, true, NULL, &e)); /* nothing is known: not watched */
    record_some(300, true);
    FINE(moat_set_parameter(m, "batch.size", "20", "faster", true, NULL, &e));
    char *json = told_of("batch.size");
    assert_non_null(strstr(json, "\"guard\":\"watched\""));
    assert_non_null(strstr(json, "fewer than 100 calls"));
    moat_free(json);
    record_some(100, false);
    look();
    pthread_mutex_lock(&k.lock);
    while (!k.taken_back)
        pthread_cond_wait(&k.turned, &k.lock);
    assert_string_equal(k.value, "15");
    assert_int_equal(k.changes, 3);
    assert_memory_equal(k.told[2], "20 15 taken back:", 17);
    pthread_mutex_unlock(&k.lock);
    json = told_of("batch.size");
    assert_non_null(strstr(json, "\"value\":15,"));
    assert_non_null(strstr(json, "\"guard\":\"taken_back\""));
    assert_non_null(strstr(json, "calls failed; before it were 0 of 300"));
    moat_free(json);
    moat_on_parameter(m, NULL, NULL);
}

static void a_change_that_is_not_worse_is_kept(void **state)
{
    struct knob k = KNOB;
    register_knob(&k);
    record_some(1000, true);
    FINE(moat_set_parameter(m, "batch.size", "20", NULL, true, NULL, &e));
    char *json = told_of("batch.size");
    for (int i = 0; i < 60 && strstr(json, "\"watched\",\"guard_why\""); i++) {
        moat_free(json);
        record_some(200, true);
        look();
        json = told_of("batch.size");
    }
    assert_non_null(strstr(json, "\"guard\":\"kept\""));
    assert_non_null(strstr(json, "\"value\":20,"));
    moat_free(json);
    assert_int_equal(k.taken_back, 0);
    moat_on_parameter(m, NULL, NULL);
}

/* What the platform itself records while it is told is no obstacle; a newer change ends the watch over an older one. */
static void a_second_change_takes_the_place_of_the_first(void **state)
{
    struct knob k = KNOB;
    register_knob(&k);
    record_some(300, true);
    FINE(moat_set_parameter(m, "batch.size", "20", NULL, true, NULL, &e));
    FINE(moat_set_parameter(m, "batch.size", "25", NULL, false, NULL, &e));
    record_some(100, false);
    look();
    char *json = told_of("batch.size");
    assert_non_null(strstr(json, "\"guard\":\"replaced\""));
    assert_non_null(strstr(json, "\"value\":25,"));
    moat_free(json);
    moat_on_parameter(m, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(everything_of_the_header_works),
        T(options_must_say_their_size),
        T(development_mode_has_homes_of_its_own),
        T(calls_bring_results_receipts_and_errors),
        T(many_calls_at_once),
        T(a_step_is_given_the_plugin_that_has_its_capability),
        T(what_cannot_be_selected_is_an_error_and_leaves_the_answer_alone),
        T(figures_tell_of_calls_and_tasks),
        T(completions_come_once_each),
        T(threads_may_call_while_the_plugin_is_reloaded_and_granted),
        T(a_program_embeds_it),
        T(what_threads_record_is_all_told),
        T(a_metric_needs_its_words),
        T(a_parameter_is_changed_within_its_bounds),
        T(what_is_taken_is_what_the_bounds_say),
        T(parameters_are_defined_soundly),
        T(a_change_for_the_worse_is_taken_back),
        T(a_change_that_is_not_worse_is_kept),
        T(a_second_change_takes_the_place_of_the_first),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
