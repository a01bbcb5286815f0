/* What tasks cost: one step beside a bare call on the same way, the check of a large graph, a choice among a thousand
 * candidates, and tasks a second, with and without history. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "bench.h"
#include "orchestrator/roster.h"
#include "service/embed.h"

#define ROUNDS 21
#define CHAIN 1000 /* steps, or calls, one after the other */
#define WINDOW 64  /* tasks under way */
#define TASKS 20000
#define STEPS 10000
#define CANDIDATES 1000

static const char one_step[] = "{\"task\":1,\"steps\":[{\"id\":\"a\",\"plugin\":\"echo\",\"action\":\"echo\","
                               "\"parameters\":{\"text\":\"sixty-four bytes of JSON go there and come back.\"}}]}";

static void pin(unsigned cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* ---- one at a time: the next begins when one is done ---- */

struct chain {
    struct moat *m;
    unsigned left;
    struct moat_call_data call;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
};

static void next_call(struct moat_call_data *call)
{
    struct chain *c = call->context;
    if (call->code)
        bench_die("%s", call->error.message);
    moat_free(call->result);
    if (--c->left) {
        moat_call_begin(c->m, call, next_call);
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->over);
    pthread_mutex_unlock(&c->lock);
}

/* Bare calls on the way that a step takes: begun on a loop, completed there. ns of one. */
static double bare_calls(struct moat *m)
{
    struct chain c = {.m = m,
                      .left = CHAIN,
                      .call = {.size = sizeof c.call,
                               .plugin = "echo",
                               .action = "echo",
                               .parameters = "{\"text\":\"sixty-four bytes of JSON go there and come back.\"}"},
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .over = PTHREAD_COND_INITIALIZER};
    c.call.context = &c;
    uint64_t from = clock_mono_ns();
    moat_call_begin(m, &c.call, next_call);
    pthread_mutex_lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.over, &c.lock);
    pthread_mutex_unlock(&c.lock);
    return (double)(clock_mono_ns() - from) / CHAIN;
}

static void run_task(struct moat *m, const char *text)
{
    struct moat_task_data d = {.size = sizeof d, .task = text};
    if (moat_orchestrator_execute(m, &d))
        bench_die("%s", d.error.message);
    if (!strstr(d.json, "\"status\":\"succeeded\""))
        bench_die("%.300s", d.json);
    moat_free(d.json);
}

/* Steps that wait for each other, as the bare calls do; reading and checking the task is part of it. */
static void put_chain(struct buf *out, unsigned n, bool refers)
{
    buf_puts(out, "{\"task\":1,\"steps\":[");
    for (unsigned i = 0; i < n; i++) {
        buf_printf(out,
                   "%s{\"id\":\"s%u\",\"plugin\":\"echo\",\"action\":\"echo\",\"parameters\":{\"text\":", i ? "," : "",
                   i);
        if (i && refers)
            buf_printf(out, "{\"$from\":\"/steps/s%u/result/text\"}}}", i - 1);
        else
            buf_puts(out, "\"sixty-four bytes of JSON go there and come back.\"}");
        if (!(i && refers))
            buf_printf(out, i ? ",\"depends_on\":[\"s%u\"]}" : "}", i - 1);
    }
    buf_puts(out, "]}");
}

static void step_ratio(struct moat *m)
{
    struct samples steps = {0}, calls = {0};
    buf_auto text = BUF_INIT(4 << 20);
    put_chain(&text, CHAIN, false);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t from = clock_mono_ns();
        run_task(m, buf_text(&text));
        samples_add(&steps, (double)(clock_mono_ns() - from) / CHAIN);
        samples_add(&calls, bare_calls(m));
    }
    double step = samples_percentile(&steps, 50), call = samples_percentile(&calls, 50);
    figure_print(&(struct figure){.name = "tasks.step_ratio",
                                  .unit = "ratio",
                                  .value = step / call,
                                  .reference = "call.begun",
                                  .reference_value = call / 1e3,
                                  .ratio = step / call,
                                  .p50 = step / 1e3,
                                  .p99 = samples_percentile(&steps, 99) / 1e3});
    samples_clear(&steps);
    samples_clear(&calls);
}

/* ---- many at once ---- */

struct storm {
    struct moat *m;
    _Atomic unsigned begun, ended;
    struct moat_task_data tasks[WINDOW];
    pthread_mutex_t lock;
    pthread_cond_t over;
};

static void next_task(struct moat_task_data *d)
{
    struct storm *s = d->context;
    if (d->code || !strstr(d->json, "\"succeeded\""))
        bench_die("a task failed: %s", d->code ? d->error.message : d->json);
    moat_free(d->json);
    if (++s->begun <= TASKS)
        moat_orchestrator_begin(s->m, d, next_task);
    if (++s->ended < TASKS)
        return;
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->over);
    pthread_mutex_unlock(&s->lock);
}

static double storm(struct moat *m)
{
    static struct storm s;
    memset(&s, 0, sizeof s);
    s.m = m;
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.over, NULL);
    uint64_t from = clock_mono_ns();
    s.begun = WINDOW;
    for (unsigned i = 0; i < WINDOW; i++) {
        s.tasks[i] = (struct moat_task_data){
            .size = sizeof s.tasks[i], .task = one_step, .task_len = sizeof one_step - 1, .context = &s};
        moat_orchestrator_begin(m, &s.tasks[i], next_task);
    }
    pthread_mutex_lock(&s.lock);
    while (s.ended < TASKS)
        pthread_cond_wait(&s.over, &s.lock);
    pthread_mutex_unlock(&s.lock);
    return TASKS / ((double)(clock_mono_ns() - from) / 1e9);
}

static void per_second(struct moat *m, const char *name)
{
    struct samples rates = {0};
    for (unsigned i = 0; i < 7; i++)
        samples_add(&rates, storm(m));
    figure_print(&(struct figure){.name = name,
                                  .unit = "per_s",
                                  .value = samples_percentile(&rates, 50),
                                  .reference_value = -1,
                                  .ratio = -1,
                                  .p50 = -1,
                                  .p99 = -1});
    samples_clear(&rates);
}

/* ---- checking ---- */

static void check_large(struct moat *m)
{
    struct samples spans = {0};
    struct catalog *catalog;
    struct error err;
    buf_auto text = BUF_INIT(8 << 20);
    put_chain(&text, STEPS, true);
    if (catalog_new(moat_service(m), &catalog, &err) < 0)
        bench_die("%s", err.message);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct task *t;
        struct roster *r;
        uint64_t from = clock_mono_ns();
        if (task_read(text.data, text.len, &t, NULL, &err) < 0 ||
            roster_make(catalog, t, NULL, NULL, &r, NULL, &err) < 0)
            bench_die("%s", err.message);
        samples_add(&spans, (double)(clock_mono_ns() - from));
        roster_unref(r);
        task_unref(t);
    }
    catalog_free(catalog);
    figure_print(&(struct figure){.name = "tasks.check_10k_ms",
                                  .unit = "ms",
                                  .value = samples_percentile(&spans, 50) / 1e6,
                                  .reference_value = -1,
                                  .ratio = -1,
                                  .p50 = samples_percentile(&spans, 50) / 1e3,
                                  .p99 = samples_percentile(&spans, 99) / 1e3});
    samples_clear(&spans);
}

/* ---- choosing ---- */

static void write_manifest(const char *path, const char *name)
{
    FILE *f = fopen(path, "w");
    if (!f ||
        fprintf(f,
                "{\"moat\":1,\"name\":\"%s\",\"version\":\"1.0.0\",\"engine\":\"native\",\"entry\":\"echo.so\","
                "\"capabilities\":[\"monitoring\"],\"actions\":[{\"name\":\"echo\",\"idempotent\":true}]}",
                name) < 0 ||
        fclose(f))
        bench_die("cannot write %s", path);
}

static void read_text(const char *path, struct buf *out)
{
    char line[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    while (f && (n = fread(line, 1, sizeof line, f)) > 0)
        buf_put(out, line, n);
    if (!f || fclose(f) || out->failed)
        bench_die("cannot read %s", path);
}

static void copy_file(const char *from, const char *to)
{
    buf_auto bytes = BUF_INIT(16 << 20);
    read_text(from, &bytes);
    FILE *f = fopen(to, "wb");
    if (!f || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f))
        bench_die("cannot write %s", to);
}

/* A thousand manifests around the code of one plugin. */
static void install_many(struct moat *m, const char *home)
{
    char dir[300], from[400], path[400], key[400], package[400], name[32];
    struct moat_error error;
    buf_auto pem = BUF_INIT(1 << 16);
    snprintf(dir, sizeof dir, "%s/many", home);
    mkdir(dir, 0700);
    snprintf(from, sizeof from, "%s/tests/plugins/echo.so", bench_build());
    snprintf(path, sizeof path, "%s/echo.so", dir);
    copy_file(from, path);
    snprintf(key, sizeof key, "%s/key", home);
    bench_moat((const char *const[]){"keygen", key, NULL});
    snprintf(path, sizeof path, "%s/key.pub", home);
    read_text(path, &pem);
    if (moat_trust_add(m, "many", buf_text(&pem), NULL, &error))
        bench_die("%s", error.message);
    snprintf(path, sizeof path, "%s/plugin.json", dir);
    snprintf(package, sizeof package, "%s/p.moat", home);
    for (unsigned i = 0; i < CANDIDATES; i++) {
        snprintf(name, sizeof name, "candidate_%u", i);
        write_manifest(path, name);
        bench_moat((const char *const[]){"pack", dir, "--key", key, "-o", package, NULL});
        if (moat_install(m, package, NULL, NULL, &error))
            bench_die("%s", error.message);
        unlink(package);
    }
}

static void select_among(struct moat *m, const char *home)
{
    static const char request[] = "{\"capability\":\"monitoring\",\"action\":\"echo\",\"where\":{\"permissions\":[]}}";
    struct samples spans = {0};
    struct moat_error error;
    install_many(m, home);
    for (unsigned i = 0; i < 2000; i++) {
        char *json = NULL;
        uint64_t from = clock_mono_ns();
        if (moat_orchestrator_select(m, request, &json, &error))
            bench_die("%s", error.message);
        if (i)
            samples_add(&spans, (double)(clock_mono_ns() - from));
        if (!strstr(json, "candidate_"))
            bench_die("%s", json);
        moat_free(json);
    }
    figure_print(&(struct figure){.name = "tasks.select_us",
                                  .unit = "us",
                                  .value = samples_percentile(&spans, 50) / 1e3,
                                  .reference_value = -1,
                                  .ratio = -1,
                                  .p50 = samples_percentile(&spans, 50) / 1e3,
                                  .p99 = samples_percentile(&spans, 99) / 1e3});
    samples_clear(&spans);
}

/* ---- all of it ---- */

/* All threads of the host on one CPU; the worker has the other where there is one. */
static void with_home(const char *history, void (*measure)(struct moat *m, const char *home))
{
    char home[256];
    bench_home(home);
    bench_setting(home, "tasks_history", history);
    struct moat *m = bench_open(home);
    bench_install(m, "echo");
    run_task(m, one_step);
    measure(m, home);
    moat_close(m);
    bench_cleanup(home);
}

static void without_history(struct moat *m, const char *home)
{
    step_ratio(m);
    per_second(m, "tasks.one_step_per_s");
    check_large(m);
    select_among(m, home);
}

static void with_history(struct moat *m, const char *home)
{
    per_second(m, "tasks.one_step_kept_per_s");
}

int main(void)
{
    pin(0); /* the host's threads inherit it: "on one core" */
    with_home("0", without_history);
    with_home("100000", with_history);
    return 0;
}
