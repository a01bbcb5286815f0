#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"
#include "sandbox/libraries.h"

struct loader_config rig_config;

static const char *needed(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set: run this test through meson\n", name);
        exit(2);
    }
    return value;
}

static int open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

struct rig *rig_open(void)
{
    struct error err;
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->fds = open_fds();
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(loop_new(&r->loops[i], &err), 0);
        assert_int_equal(pthread_create(&r->threads[i], NULL, run_loop, r->loops[i]), 0);
    }
    rig_config.worker_path = rig_config.worker_path ? rig_config.worker_path : needed("LOADER_WORKER");
    rig_config.helper_path = NULL;
    rig_config.loops = r->loops;
    rig_config.nloops = rig_config.nloops ? rig_config.nloops : LOOPS;
    if (loader_new(&rig_config, &r->l, &err))
        fail_msg("loader_new: %s", err.message);
    memset(&rig_config, 0, sizeof rig_config);
    return r;
}

void rig_close(struct rig *r, uint64_t grace_ns)
{
    loader_free(r->l, grace_ns);
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(r->loops[i]);
        pthread_join(r->threads[i], NULL);
        loop_free(r->loops[i]);
    }
    RIG_WAIT(rig_children() == 0);
    assert_int_equal(open_fds(), r->fds);
    free(r);
}

/* ---- specs ---- */

static void replace(struct buf *text, const char *from, const char *to)
{
    const char *at = strstr(buf_text(text), from);
    if (!at)
        fail_msg("plugin.json has no %s", from);
    struct buf out = BUF_INIT(text->max);
    buf_put(&out, text->data, (size_t)(at - buf_text(text)));
    buf_puts(&out, to);
    buf_puts(&out, at + strlen(from));
    buf_free(text);
    *text = out;
}

static struct manifest *manifest_of(const char *name, const struct variant *v)
{
    struct error err;
    struct manifest *m;
    char with[128], own[64], path[512];
    buf_auto text = BUF_INIT(MANIFEST_MAX);
    const char *plugin = v->ledger ? "ledger" : v->relay ? "relay" : "echo";
    snprintf(path, sizeof path, "%s/%s/plugin.json", needed("LOADER_PLUGINS"), plugin);
    if (io_read_file(path, &text, &err))
        fail_msg("%s", err.message);
    snprintf(with, sizeof with, "\"name\": \"%s\"", name);
    snprintf(own, sizeof own, "\"name\": \"%s\"", plugin);
    replace(&text, own, with);
    if (v->state)
        replace(&text, "\"state\": false", "\"state\": true");
    if (v->version) {
        snprintf(with, sizeof with, "\"version\": \"%s\"", v->version);
        replace(&text, "\"version\": \"1.0.0\"", with);
    }
    if (v->workers) {
        snprintf(with, sizeof with, "\"workers\": %u", v->workers);
        replace(&text, "\"workers\": 1", with);
    }
    if (v->deadline) {
        snprintf(with, sizeof with, "\"deadline\": \"%s\"", v->deadline);
        replace(&text, "\"deadline\": \"30s\"", with);
    }
    if (v->idempotent) {
        char from[128];
        snprintf(from, sizeof from, "\"name\": \"%s\",", v->idempotent);
        snprintf(with, sizeof with, "\"name\": \"%s\", \"idempotent\": true,", v->idempotent);
        replace(&text, from, with);
    }
    if (v->renamed) {
        char from[128];
        snprintf(from, sizeof from, "\"name\": \"%s\",", v->renamed);
        replace(&text, from, "\"name\": \"renamed\",");
    }
    if (v->promise) {
        snprintf(with, sizeof with, "\"name\": \"echo\", \"result\": %s,", v->promise);
        replace(&text, "\"name\": \"echo\", \"description\": \"Answers its parameters\",", with);
    }
    if (manifest_parse(text.data, text.len, &m, &err))
        fail_msg("plugin.json: %s", err.message);
    return m;
}

static int code_of(const struct variant *v)
{
    struct error err;
    const char *file = needed(v->liar     ? "LOADER_LIAR"
                              : v->ledger ? "LOADER_LEDGER"
                              : v->relay  ? "LOADER_RELAY"
                                          : "LOADER_ECHO");
    buf_auto bytes = BUF_INIT(64 << 20);
    if (v->garbage)
        buf_puts(&bytes, "this is no shared object");
    else if (io_read_file(file, &bytes, &err))
        fail_msg("%s", err.message);
    int fd = io_sealed("code", bytes.data, bytes.len);
    assert_true(fd >= 0);
    return fd;
}

struct spec *rig_spec(const char *name, const struct variant *v)
{
    static const struct variant plain;
    struct error err;
    v = v ? v : &plain;
    struct spec *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->refs = 1;
    s->manifest = manifest_of(name, v);
    s->config = strdup(v->config ? v->config : "{}");
    s->config_len = strlen(s->config);
    s->libraries = LIBRARIES_ALL;
    if (!v->no_code)
        s->code[s->ncode++] = code_of(v);
    if (v->write_path && wall_resolve(v->write_path, true, &s->grants[s->ngrants++], &err))
        fail_msg("%s", err.message);
    if (v->read_path && wall_resolve(v->read_path, false, &s->grants[s->ngrants++], &err))
        fail_msg("%s", err.message);
    return s;
}

/* ---- asking ---- */

void waited_init(struct waited *w)
{
    *w = (struct waited){0};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->told, NULL);
}

void waited_done(void *waited, const struct error *error)
{
    struct waited *w = waited;
    pthread_mutex_lock(&w->lock);
    if (error)
        w->error = *error;
    w->done = true;
    pthread_cond_signal(&w->told);
    pthread_mutex_unlock(&w->lock);
}

int waited_wait(struct waited *w, struct error *err)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        if (pthread_cond_timedwait(&w->told, &w->lock, &end) == ETIMEDOUT)
            fail_msg("nothing was heard for a minute");
    pthread_mutex_unlock(&w->lock);
    if (err)
        *err = w->error;
    return -(int)w->error.code;
}

int rig_set(struct rig *r, const char *name, struct spec *s, enum loader_how how, enum moat_code gate,
            struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_set(r->l, name, s, how, gate, gate ? "the gate is closed" : NULL, waited_done, &w);
    return waited_wait(&w, err);
}

void rig_define(struct rig *r, const char *name, const struct variant *v, enum loader_how how)
{
    struct error err;
    struct spec *s = rig_spec(name, v);
    int rc = rig_set(r, name, s, how, MOAT_E_OK, &err);
    spec_unref(s); /* first: a failure leaves no descriptor behind that its teardown would count */
    if (rc)
        fail_msg("%s: %s", name, err.message);
}

int rig_configure(struct rig *r, const char *name, const struct variant *v, struct error *err)
{
    struct waited w;
    struct spec *s = rig_spec(name, v);
    waited_init(&w);
    loader_configure(r->l, name, s, NULL, waited_done, &w);
    spec_unref(s);
    return waited_wait(&w, err);
}

int rig_start(struct rig *r, const char *name, struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_start(r->l, name, waited_done, &w);
    return waited_wait(&w, err);
}

int rig_reload(struct rig *r, const char *name, struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_reload(r->l, name, waited_done, &w);
    return waited_wait(&w, err);
}

int rig_stop(struct rig *r, const char *name, uint64_t grace_ns, struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_stop(r->l, name, grace_ns, waited_done, &w);
    return waited_wait(&w, err);
}

int rig_forget(struct rig *r, const char *name, struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_forget(r->l, name, waited_done, &w);
    return waited_wait(&w, err);
}

/* ---- calls ---- */

static void call_done(struct call *call)
{
    struct test_call *c = call->context;
    atomic_fetch_add(&c->completions, 1);
    waited_done(&c->waited, NULL);
}

struct test_call *test_call_new(struct rig *r, const char *plugin, const char *action, const char *parameters)
{
    struct test_call *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->plugin = strdup(plugin);
    c->action = strdup(action);
    c->parameters = strdup(parameters);
    waited_init(&c->waited);
    c->call.plugin = c->plugin;
    c->call.action = c->action;
    c->call.parameters = c->parameters;
    c->call.parameters_len = strlen(parameters);
    c->call.loop = r->loops[0];
    c->call.done = call_done;
    c->call.context = c;
    return c;
}

void test_call_begin(struct rig *r, struct test_call *c)
{
    call_begin(r->l, &c->call);
}

void test_call_wait(struct test_call *c)
{
    waited_wait(&c->waited, NULL);
}

void test_call_free(struct test_call *c)
{
    assert_true(atomic_load(&c->completions) <= 1);
    assert_int_equal(strlen(c->call.id), 32);
    if (c->call.code == 0)
        assert_non_null(c->call.result);
    else
        assert_int_equal(c->call.error.code, -c->call.code);
    free(c->call.result);
    free(c->plugin);
    free(c->action);
    free(c->parameters);
    free(c);
}

struct test_call *rig_run(struct rig *r, const char *plugin, const char *action, const char *parameters,
                          uint64_t deadline_ns)
{
    struct test_call *c = test_call_new(r, plugin, action, parameters);
    struct call *one = &c->call;
    c->call.deadline_ns = deadline_ns;
    call_run(r->l, &one, 1);
    return c;
}

void rig_expect(struct rig *r, const char *plugin, const char *action, const char *parameters, int code,
                const char *text)
{
    struct test_call *c = rig_run(r, plugin, action, parameters, 0);
    if (c->call.code != -code)
        fail_msg("%s.%s: expected %s, got %s: %s", plugin, action, error_info(code)->name,
                 error_info(c->call.code)->name, c->call.code ? c->call.error.message : "");
    if (text && code == 0)
        assert_string_equal((char *)c->call.result, text);
    if (text && code && !strstr(c->call.error.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, c->call.error.message);
    test_call_free(c);
}

/* ---- looking ---- */

struct loader_status *rig_status(struct rig *r, const char *name)
{
    static _Thread_local struct loader_status s;
    loader_status(r->l, name, &s);
    return &s;
}

struct looker {
    struct loop_task task;
    struct loader *l;
    void (*look)(struct loader *l, void *context);
    void *context;
    struct waited waited;
};

static void look_now(struct loop_task *task)
{
    struct looker *k = (struct looker *)(void *)((char *)task - offsetof(struct looker, task));
    k->look(k->l, k->context);
    waited_done(&k->waited, NULL);
}

void rig_look(struct rig *r, void (*look)(struct loader *l, void *context), void *context)
{
    struct looker k = {.task.run = look_now, .l = r->l, .look = look, .context = context};
    waited_init(&k.waited);
    loop_post(r->l->supervise, &k.task);
    waited_wait(&k.waited, NULL);
}

static unsigned long switches_of(pid_t pid)
{
    char path[64], line[256];
    unsigned long n = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "voluntary_ctxt_switches: %lu", &n);
    if (f)
        fclose(f);
    return n;
}

static uint64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* A worker that waits for a call neither computes nor wakes up; one that sleeps does so in short naps. */
void rig_wait_inside(struct rig *r, const char *name)
{
    RIG_WAIT(rig_status(r, name)->in_flight > 0 && rig_status(r, name)->first_pid > 0);
    rig_wait_busy(rig_status(r, name)->first_pid);
}

void rig_wait_busy(pid_t pid)
{
    unsigned long switches = switches_of(pid);
    uint64_t cpu = cpu_of(pid);
    RIG_WAIT(switches_of(pid) > switches + 2 || cpu_of(pid) > cpu + 10 * NS_PER_MS);
}

static pid_t parent_of(pid_t pid, char *state)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    int ppid = 0;
    if (!after || sscanf(after + 1, " %c %d", state, &ppid) != 2)
        return 0;
    return ppid;
}

pid_t rig_spawner(struct rig *r, const char *name)
{
    char state;
    return parent_of(rig_status(r, name)->first_pid, &state);
}

void rig_wait_asleep(pid_t pid)
{
    char state = 0;
    RIG_WAIT(parent_of(pid, &state) > 0 && state == 'S');
}

static bool is_below_us(pid_t pid)
{
    char state;
    for (int i = 0; i < 4 && pid > 1; i++, pid = parent_of(pid, &state))
        if (pid == getpid())
            return true;
    return false;
}

/* The number may be another process's by now: what is held by its descriptor, and is one of ours, is what is killed. */
void rig_kill(pid_t pid)
{
    int fd = pid > 1 ? pidfd_open(pid, 0) : -1;
    if (fd >= 0 && pid != getpid() && is_below_us(pid))
        pidfd_send_signal(fd, SIGKILL, NULL, 0);
    if (fd >= 0)
        close(fd);
}

void rig_kill_worker(struct rig *r, const char *name)
{
    RIG_WAIT(rig_status(r, name)->first_pid > 1);
    rig_kill(rig_status(r, name)->first_pid);
}

bool rig_kill_spawner(struct rig *r, const char *name)
{
    pid_t pid = rig_spawner(r, name);
    rig_kill(pid);
    return pid > 1;
}

/* This process's children and theirs: the spawner and its workers. */
int rig_children(void)
{
    int n = 0;
    char state;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d));) {
        pid_t pid = (pid_t)atoi(e->d_name), up = pid > 0 ? parent_of(pid, &state) : 0;
        n += up > 1 && (up == getpid() || parent_of(up, &state) == getpid());
    }
    closedir(d);
    return n;
}

uint64_t rig_seed(void)
{
    const char *text = getenv("MOAT_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# MOAT_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

unsigned rig_random(uint64_t *state, unsigned below)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(*state >> 33) % below;
}
