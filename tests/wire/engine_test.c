/* The engine answers whatever it is asked exactly once, in the plugin's words.  Without walls: this file plays
 * src/sandbox's inside. */
#include "rig.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/ask.h"
#include "wire/start.h"
#include "worker/engine.h"

#define MIB ((size_t)1 << 20)

/* inside, without walls: what it is told goes down a socket pair as text. */

static const char *plugin_path;

void *inside_load(const struct inside *in, size_t i, char *message, size_t size)
{
    void *lib = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        snprintf(message, size, "%s", dlerror());
    return lib;
}

void inside_loaded(struct inside *in)
{
    close(in->start);
}

bool inside_wait(const struct inside *in)
{
    return in->control >= 0;
}

/* The host of these tests hands over a pipe's end. */
int inside_connection(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    close(ends[1]);
    return ends[0];
}

void inside_ready(const struct inside *in)
{
    if (write(in->control, "ready", 6) != 6)
        _exit(5);
}

void inside_failed(const struct inside *in, const char *step, const char *message)
{
    char text[600];
    int n = snprintf(text, sizeof text, "%s: %s", step, message);
    if (write(in->control, text, (size_t)n + 1) != n + 1)
        _exit(5);
}

static const char *const actions[] = {
    "echo",      "in_place", "many_answers", "too_large", "stale", "flood", "fail", "until_cancelled",
    "remaining", "crash",    "no_result",    "silent",    "asks",  "gone"};

static uint32_t number(const char *action)
{
    for (uint32_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i], action) == 0)
            return i;
    fail_msg("no action %s", action);
    return 0;
}

static char said[600]; /* by inside_ready or inside_failed */

static void begin(struct rig *r, const char *variant, const char *config)
{
    struct error err;
    struct start start = {.plugin = "every",
                          .version = "1.0.0",
                          .nactions = sizeof actions / sizeof *actions - 1,
                          .config = config,
                          .config_len = strlen(config),
                          .payload_max = MIB};
    memcpy(start.actions, actions, sizeof actions);
    int start_fd, pair[2];
    rig_alone(r, MIB);
    assert_int_equal(start_write(&start, &start_fd, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.so", getenv("WIRE_PLUGINS"), variant);
    plugin_path = path;
    fflush(NULL);
    r->pid = fork();
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        struct inside in = {.control = pair[1],
                            .h2w = r->h2w,
                            .w2h = r->w2h,
                            .bell = r->bell,
                            .start = start_fd,
                            .tree = -1,
                            .ncode = 1};
        engine_channel(&in);
        _exit(engine_serve(&in));
    }
    close(pair[1]);
    close(start_fd);
    assert_true(read(pair[0], said, sizeof said) > 0);
    close(pair[0]);
}

static void end_with(struct rig *r, int status)
{
    int got = -1;
    assert_int_equal(waitpid(r->pid, &got, 0), r->pid);
    assert_true(WIFEXITED(got));
    assert_int_equal(WEXITSTATUS(got), status);
    r->pid = 0;
    rig_stop(r);
}

static char text[MIB + 1];
static unsigned logs, progress;
static char last_log[LAYOUT_SMALL + 1];

/* One call to its answer; the payload in text; logs and progress counted. */
static enum channel_kind ask(struct rig *r, enum channel_kind kind, uint32_t action, const void *payload, size_t len)
{
    uint8_t *room = channel_reserve(r->ch, len);
    assert_non_null(room);
    memcpy(room, payload, len);
    channel_submit(r->ch, kind, action, 0, len, r);
    logs = progress = 0;
    for (;;) {
        struct channel_answer a = rig_next(r);
        if (a.kind == CHANNEL_LOG) {
            logs++;
            memcpy(last_log, a.shared, a.len);
            last_log[a.len] = 0;
        }
        progress += a.kind == CHANNEL_PROGRESS;
        if (a.kind == CHANNEL_LOG || a.kind == CHANNEL_PROGRESS)
            continue;
        memcpy(text, a.shared, a.len);
        text[a.len] = 0;
        channel_release(r->ch);
        return a.kind;
    }
}

static enum channel_kind act(struct rig *r, const char *action, const char *parameters)
{
    return ask(r, CHANNEL_CALL, number(action), parameters, strlen(parameters));
}

static void assert_failure(enum channel_kind kind, const char *code, const char *message)
{
    assert_int_equal(kind, CHANNEL_FAILURE);
    assert_string_equal(text, code);
    assert_string_equal(text + strlen(text) + 1, message);
}

static void results(void **state)
{
    struct rig r;
    begin(&r, "every", "{}");
    assert_string_equal(said, "ready");
    assert_int_equal(act(&r, "echo", "[1,2,3]"), CHANNEL_RESULT);
    assert_string_equal(text, "[1,2,3]");
    assert_string_equal(last_log, "hello from initialize");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(act(&r, "in_place", "{\"a\":\"b\"}"), CHANNEL_RESULT);
        assert_string_equal(text, "{\"a\":\"b\"}");
        assert_int_equal(logs, 1);
        assert_int_equal(progress, 1);
        assert_int_equal(act(&r, "many_answers", "\"last\""), CHANNEL_RESULT);
        assert_string_equal(text, "\"last\"");
        assert_int_equal(act(&r, "too_large", ""), CHANNEL_RESULT);
        assert_string_equal(text, "true");
        assert_int_equal(act(&r, "stale", "1"), CHANNEL_RESULT);
        assert_string_equal(text, "false");
    }
    static char big[MIB];
    for (size_t len = CHANNEL_INLINE_MAX - 20; len < sizeof big; len = len * 5 / 3) {
        memset(big, 'a' + (int)(len % 26), len);
        assert_int_equal(ask(&r, CHANNEL_CALL, number("in_place"), big, len), CHANNEL_RESULT);
        assert_memory_equal(text, big, len);
        assert_int_equal(text[len], 0);
        assert_int_equal(ask(&r, CHANNEL_CALL, number("echo"), big, len), CHANNEL_RESULT);
        assert_memory_equal(text, big, len);
        assert_int_equal(ask(&r, CHANNEL_CALL, number("many_answers"), big, len), CHANNEL_RESULT);
        assert_memory_equal(text, big, len);
    }
    rig_stop(&r);
}

static void failures(void **state)
{
    struct rig r;
    begin(&r, "every", "{}");
    assert_failure(act(&r, "fail", ""), "overflow", "it does not fit");
    assert_failure(act(&r, "silent", ""), "failed", "the action failed and gave no reason");
    assert_failure(act(&r, "no_result", ""), "no_result", "the action said it succeeded and gave no result");
    assert_failure(act(&r, "gone", ""), "no_such_action", "the worker knows no action of that number");
    assert_failure(act(&r, "silent", ""), "failed", "the action failed and gave no reason");
    rig_stop(&r);
}

static void everything_but_calls(void **state)
{
    struct rig r;
    char saved[64];
    begin(&r, "every", "{}");
    assert_int_equal(ask(&r, CHANNEL_HEALTH, 0, "", 0), CHANNEL_RESULT);
    assert_int_equal(ask(&r, CHANNEL_CONFIGURE, 0, "well", 4), CHANNEL_RESULT);
    assert_int_equal(ask(&r, CHANNEL_SAVE, 0, "", 0), CHANNEL_RESULT);
    memcpy(saved, text, sizeof saved);
    assert_string_equal(saved, "well");
    assert_failure(ask(&r, CHANNEL_CONFIGURE, 0, "no", 2), "refused",
                   "the plugin refused its configuration and gave no reason");
    static char big[100];
    assert_failure(ask(&r, CHANNEL_CONFIGURE, 0, big, sizeof big), "refused", "too long");
    assert_int_equal(ask(&r, CHANNEL_CONFIGURE, 0, "ill", 3), CHANNEL_RESULT);
    assert_failure(ask(&r, CHANNEL_HEALTH, 0, "", 0), "unhealthy", "the plugin says that it is not healthy");
    assert_failure(ask(&r, CHANNEL_RESTORE, 0, "", 0), "refused",
                   "the plugin refused its saved state and gave no reason");
    assert_int_equal(ask(&r, CHANNEL_RESTORE, 0, saved, sizeof saved), CHANNEL_RESULT);
    assert_int_equal(ask(&r, CHANNEL_HEALTH, 0, "", 0), CHANNEL_RESULT);
    assert_failure(ask(&r, (enum channel_kind)9, 0, "", 0), "not_supported", "the worker does not know this request");
    assert_int_equal(ask(&r, CHANNEL_SHUTDOWN, 0, "", 0), CHANNEL_RESULT);
    end_with(&r, 0);
}

static void shutdown_may_fail(void **state)
{
    struct rig r;
    begin(&r, "every", "{}");
    ask(&r, CHANNEL_CONFIGURE, 0, "ill", 3);
    assert_failure(ask(&r, CHANNEL_SHUTDOWN, 0, "", 0), "failed", "the plugin's shutdown reported a failure");
    end_with(&r, 0);
}

static void an_older_table(void **state)
{
    struct rig r;
    begin(&r, "old", "{}");
    assert_string_equal(said, "ready");
    act(&r, "echo", "1");
    assert_string_equal(text, "1");
    assert_int_equal(ask(&r, CHANNEL_HEALTH, 0, "", 0), CHANNEL_RESULT);
    assert_failure(ask(&r, CHANNEL_CONFIGURE, 0, "", 0), "not_supported", "the plugin has no configure");
    assert_failure(ask(&r, CHANNEL_SAVE, 0, "", 0), "not_supported", "the plugin has no save_state");
    assert_failure(ask(&r, CHANNEL_RESTORE, 0, "", 0), "not_supported", "the plugin has no restore_state");
    assert_int_equal(ask(&r, CHANNEL_SHUTDOWN, 0, "", 0), CHANNEL_RESULT);
    end_with(&r, 0);
}

static void refused_at_start(void **state)
{
    const struct {
        const char *variant, *config, *says;
    } table[] = {
        {"abi", "{}", "load: the plugin was built for version 99 of moat/plugin.h, this Moat runs version 1"},
        {"size", "{}", "load: the plugin's table has only 8 bytes"},
        {"execute", "{}", "load: the plugin's table has no execute"},
        {"export", "{}", "load: the plugin does not export moat_plugin: end its source with MOAT_PLUGIN(…)"},
        {"every", "{\"bad\":true}", "initialize: bad is true"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig r;
        begin(&r, table[i].variant, table[i].config);
        assert_string_equal(said, table[i].says);
        end_with(&r, 1);
    }
}

static void cancel_and_deadline(void **state)
{
    struct rig r;
    struct channel_answer a;
    begin(&r, "every", "{}");
    assert_non_null(channel_reserve(r.ch, 0));
    unsigned first = channel_submit(r.ch, CHANNEL_CALL, number("until_cancelled"), 0, 0, (void *)1);
    assert_non_null(channel_reserve(r.ch, 0));
    unsigned second = channel_submit(r.ch, CHANNEL_CALL, number("crash"), 0, 0, (void *)2);
    channel_ring(r.ch);
    while (!channel_taken(r.ch, first))
        usleep(100);
    channel_cancel(r.ch, second); /* never run */
    channel_cancel(r.ch, first);
    for (a = rig_next(&r); a.kind == CHANNEL_LOG; a = rig_next(&r))
        ;
    assert_ptr_equal(a.cookie, (void *)1);
    assert_string_equal((const char *)a.shared, "gave_up");
    a = rig_next(&r);
    assert_ptr_equal(a.cookie, (void *)2);
    assert_string_equal((const char *)a.shared, "cancelled");

    assert_non_null(channel_reserve(r.ch, 0));
    channel_submit(r.ch, CHANNEL_CALL, number("remaining"), clock_mono_ns() + 5 * NS_PER_S, 0, NULL);
    a = rig_next(&r);
    char digits[32] = "";
    memcpy(digits, a.shared, a.len < 31 ? a.len : 31);
    uint64_t left = strtoull(digits, NULL, 10);
    assert_true(left > 0 && left <= 5 * NS_PER_S);
    act(&r, "remaining", "");
    assert_string_equal(text, "0"); /* no deadline */
    rig_stop(&r);
}

/* What it asks arrives whole, whatever its size; the answer that stood before stays. */
static void asked_one(struct rig *r, const char *action, const char *parameters, size_t len, bool ok, const char *reply,
                      size_t reply_len)
{
    struct channel_answer a = rig_next(r);
    while (a.kind == CHANNEL_LOG)
        a = rig_next(r);
    char head[40] = "other";
    size_t n = 6 + strlen(action) + 1;
    assert_in_range(n, 8, sizeof head);
    memcpy(head + 6, action, n - 6);
    assert_int_equal(a.kind, CHANNEL_ASK);
    assert_int_equal(a.status, ASK_CALL);
    assert_int_equal(a.len, n + len);
    assert_memory_equal(a.shared, head, n);
    assert_memory_equal(a.shared + n, parameters, len);
    channel_release(r->ch);
    channel_reply(r->ch, ok, reply, reply_len, false);
}

static void asks(void **state)
{
    static char big[MIB];
    const size_t lengths[] = {1, 10, 30, CHANNEL_INLINE_MAX - 12, CHANNEL_INLINE_MAX, 100 * 1024, MIB};
    struct rig r;
    struct channel_answer a;
    begin(&r, "every", "{}");
    memset(big, 'b', sizeof big);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i];
        uint8_t *room = channel_reserve(r.ch, len);
        memcpy(room, big, len);
        channel_submit(r.ch, CHANNEL_CALL, number("asks"), 0, len, NULL);
        asked_one(&r, "first", big, len, true, "1", 1);
        asked_one(&r, "act", big, len, true, big, len);
        a = rig_next(&r);
        assert_int_equal(a.kind, CHANNEL_RESULT);
        assert_int_equal(a.len, len);
        assert_memory_equal(a.shared, big, len);
    }
    assert_non_null(channel_reserve(r.ch, 1));
    channel_submit(r.ch, CHANNEL_CALL, number("asks"), 0, 0, NULL);
    asked_one(&r, "first", "", 0, false, "deadline", 8); /* a refusal without a message */
    asked_one(&r, "act", "", 0, false, "denied\0no", 9);
    a = rig_next(&r);
    assert_int_equal(a.len, 10);
    assert_memory_equal(a.shared, "denied/no/", 10);
    rig_stop(&r);
}

/* A flood is cut to what a second allows, and the next second says how much was dropped. */
static void floods_are_cut(void **state)
{
    struct rig r;
    begin(&r, "every", "{}");
    assert_int_equal(act(&r, "flood", ""), CHANNEL_RESULT);
    assert_true(logs <= 4 * LAYOUT_LINES);
    usleep(1100 * 1000);
    act(&r, "many_answers", "1");
    assert_int_equal(logs, 2);
    assert_string_equal(last_log, "after the answer");
    rig_stop(&r);
}

static void crash(void **state)
{
    struct rig r;
    struct channel_answer a;
    int status = 0;
    begin(&r, "every", "{}");
    rig_submit(&r, CHANNEL_CALL, 0, number("crash"), NULL);
    channel_ring(r.ch);
    assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
    assert_true(WIFSIGNALED(status));
    while (channel_next(r.ch, &a) == CHANNEL_GOT)
        assert_int_equal(a.kind, CHANNEL_LOG);
    r.pid = 0;
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results),
        cmocka_unit_test(failures),
        cmocka_unit_test(everything_but_calls),
        cmocka_unit_test(shutdown_may_fail),
        cmocka_unit_test(an_older_table),
        cmocka_unit_test(refused_at_start),
        cmocka_unit_test(cancel_and_deadline),
        cmocka_unit_test(asks),
        cmocka_unit_test(floods_are_cut),
        cmocka_unit_test(crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
