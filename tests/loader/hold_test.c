/* Starts that wait for a verdict on their code: nothing of it runs before, and a refusal leaves everything as it was.
 */
#include <signal.h>
#include <stdio.h>

#include "loader/internal.h"
#include "rig.h"

static struct rig *r;
static _Atomic int needed;

static void need_spec(void *context, const char *name)
{
    struct spec *s = rig_spec(name, &(struct variant){.version = "1.0.0"});
    needed++;
    loader_set(r->l, name, s, LOADER_LAZY, MOAT_E_OK, NULL, NULL, NULL);
    spec_unref(s);
}

static int open_rig(void **state)
{
    needed = 0;
    rig_config.need_spec = need_spec;
    r = rig_open();
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static struct spec *hold(const struct variant *v, struct waited *w)
{
    struct spec *s = rig_spec("echo", v);
    waited_init(w);
    loader_set(r->l, "echo", s, LOADER_HELD, MOAT_E_OK, NULL, waited_done, w);
    return s;
}

static void look(struct loader *l, void *context)
{
    const struct plugin *p = table_find(l, "echo");
    const struct worker *w = p->living;
    bool held = p->next && w && w->gen == p->next && w->state == WORKER_HELD;
    *(pid_t *)context = held ? w->child.pid : 0;
}

/* The process of the start that is held, once its wall stands. */
static pid_t held_worker(void)
{
    pid_t pid = 0;
    RIG_WAIT((rig_look(r, look, &pid), pid));
    return pid;
}

static bool has_mapped(pid_t pid, const char *what)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, what) != NULL;
    if (f)
        fclose(f);
    return found;
}

static void nothing_runs_before_the_verdict(void **state)
{
    struct waited w;
    struct error err;
    rig_define(r, "echo", &(struct variant){.version = "1.0.0"}, LOADER_START);
    struct spec *s = hold(&(struct variant){.version = "2.0.0"}, &w);
    pid_t pid = held_worker();
    if (geteuid() == 0) /* an ordinary user may not look */
        assert_false(has_mapped(pid, "memfd:code"));
    assert_false(w.done);
    assert_string_equal(rig_status(r, "echo")->version, "1.0.0");
    rig_expect(r, "echo", "echo", "1", 0, "1");
    loader_verdict(r->l, "echo", s, NULL);
    assert_int_equal(waited_wait(&w, &err), 0);
    if (geteuid() == 0)
        assert_true(has_mapped(pid, "memfd:code"));
    assert_string_equal(rig_status(r, "echo")->version, "2.0.0");
    rig_expect(r, "echo", "echo", "2", 0, "2");
    spec_unref(s);
}

static void a_refusal_leaves_all_as_it_was(void **state)
{
    struct waited w;
    struct error err, refused;
    error_set(&refused, MOAT_E_BAD_SIGNATURE, "it was changed");
    rig_define(r, "echo", &(struct variant){.version = "1.0.0"}, LOADER_START);
    struct spec *s = hold(&(struct variant){.version = "2.0.0"}, &w);
    pid_t pid = held_worker();
    loader_verdict(r->l, "echo", s, &refused);
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_BAD_SIGNATURE);
    assert_string_equal(err.message, "it was changed");
    RIG_WAIT(kill(pid, 0) != 0);
    assert_string_equal(rig_status(r, "echo")->version, "1.0.0");
    rig_expect(r, "echo", "echo", "1", 0, "1");
    /* A verdict that comes when all is over, or for another, does nothing. */
    loader_verdict(r->l, "echo", s, NULL);
    spec_unref(s);
    s = hold(&(struct variant){.version = "3.0.0"}, &w);
    loader_verdict(r->l, "nobody", s, NULL);
    loader_verdict(r->l, "echo", s, &refused); /* before its wall stands, as often as not */
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_BAD_SIGNATURE);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    spec_unref(s);
}

static void a_verdict_may_come_first(void **state)
{
    struct waited w;
    struct error err;
    struct spec *s = hold(NULL, &w);
    loader_verdict(r->l, "echo", s, NULL);
    assert_int_equal(waited_wait(&w, &err), 0);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    spec_unref(s);
    s = hold(&(struct variant){.garbage = true}, &w);
    loader_verdict(r->l, "echo", s, NULL);
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_START_FAILED);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    spec_unref(s);
}

/* Of a plugin that is only defined: they are run by what was held, and when that is refused by what they would have
 * started themselves. */
static void calls_wait_for_what_is_held(void **state)
{
    struct waited w;
    struct error err, refused;
    error_set(&refused, MOAT_E_KEY_REVOKED, "not any more");
    for (int good = 0; good < 2; good++) {
        struct spec *bare = rig_spec("echo", &(struct variant){.no_code = true});
        assert_int_equal(rig_set(r, "echo", bare, LOADER_REVOKE, MOAT_E_OK, &err), 0);
        spec_unref(bare);
        needed = 0;
        struct spec *s = hold(&(struct variant){.version = "2.0.0"}, &w);
        held_worker();
        struct test_call *c = test_call_new(r, "echo", "echo", "7");
        test_call_begin(r, c);
        usleep(20000); /* that nothing happens has no event */
        assert_int_equal(needed, 0);
        assert_int_equal(c->completions, 0);
        assert_int_equal(rig_status(r, "echo")->state, STATE_LOADING);
        loader_verdict(r->l, "echo", s, good ? NULL : &refused);
        assert_int_equal(waited_wait(&w, &err), good ? 0 : -MOAT_E_KEY_REVOKED);
        test_call_wait(c);
        assert_int_equal(c->call.code, 0);
        test_call_free(c);
        assert_int_equal(needed, !good);
        assert_string_equal(rig_status(r, "echo")->version, good ? "2.0.0" : "1.0.0");
        spec_unref(s);
    }
}

static void stopping_ends_what_is_held(void **state)
{
    static struct waited w; /* told when the loader ends */
    struct error err;
    rig_define(r, "echo", NULL, LOADER_START);
    struct spec *s = hold(NULL, &w);
    held_worker();
    assert_int_equal(rig_stop(r, "echo", 0, &err), 0);
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_WRONG_STATE);
    assert_int_equal(rig_status(r, "echo")->workers, 0);
    spec_unref(s);
    /* And so does the end of the loader: close_rig looks for what is left. */
    s = hold(NULL, &w);
    held_worker();
    spec_unref(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_runs_before_the_verdict), TEST(a_refusal_leaves_all_as_it_was), TEST(a_verdict_may_come_first),
        TEST(calls_wait_for_what_is_held),     TEST(stopping_ends_what_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
