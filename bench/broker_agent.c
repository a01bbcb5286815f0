/* broker.plugin_to_plugin: one call that a plugin makes of another one, from inside, over 1,000 in a row.  Reference:
 * the same call by the host, through the same queue and loop that most calls take, each of the same run. */
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "bench.h"
#include "broker_parts.h"
#include "moat/moat.h"

#define ROUNDS 15
#define CALLS 1000

/* The next one is begun where the one before has ended, as a server's are. */
struct chain {
    struct moat_call_data call;
    struct moat *m;
    const char *plugin, *action, *parameters;
    int left;
    sem_t over;
};

static void begin_next(struct chain *c);

static void ended(struct moat_call_data *call)
{
    struct chain *c = (struct chain *)(void *)call;
    if (call->code)
        bench_die("%s.%s: %s", c->plugin, c->action, call->error.message);
    if (memmem(call->result, call->result_len, "refused", 7))
        bench_die("%s.%s: %.*s", c->plugin, c->action, (int)call->result_len, (const char *)call->result);
    moat_free(call->result);
    if (--c->left)
        begin_next(c);
    else
        sem_post(&c->over);
}

static void begin_next(struct chain *c)
{
    c->call = (struct moat_call_data){.size = sizeof c->call,
                                      .plugin = c->plugin,
                                      .action = c->action,
                                      .parameters = c->parameters,
                                      .parameters_len = strlen(c->parameters)};
    moat_call_begin(c->m, &c->call, ended);
}

/* ns for each of CALLS. */
static double run(struct chain c)
{
    sem_init(&c.over, 0, 0);
    uint64_t before = clock_mono_ns();
    begin_next(&c);
    while (sem_wait(&c.over))
        ;
    double ns = (double)(clock_mono_ns() - before) / CALLS;
    sem_destroy(&c.over);
    return ns;
}

static double by_host(struct moat *m)
{
    return run((struct chain){.m = m, .left = CALLS, .plugin = "echo", .action = "echo", .parameters = "{}"});
}

static double by_plugin(struct moat *m)
{
    return run((struct chain){.m = m,
                              .left = 1,
                              .plugin = "relay",
                              .action = "pass",
                              .parameters = "{\"path\":\"echo.echo\",\"times\":1000}"});
}

void broker_agent(void)
{
    char home[256];
    struct samples values = {0}, references = {0}, ratios = {0};
    static const char *const grants[] = {"agent_control=echo.echo"};
    bench_home(home);
    struct moat *m = bench_open(home);
    bench_install(m, "echo");
    bench_install_granted(m, "relay", grants, 1);
    by_plugin(m);
    for (int i = 0; i < ROUNDS; i++) {
        double reference = by_host(m), value = by_plugin(m);
        samples_add(&values, value);
        samples_add(&references, reference);
        samples_add(&ratios, value / reference);
    }
    double p50 = samples_percentile(&values, 50) / 1e3;
    figure_print(&(struct figure){.name = "broker.plugin_to_plugin",
                                  .unit = "us",
                                  .value = p50,
                                  .p50 = p50,
                                  .p99 = samples_percentile(&values, 99) / 1e3,
                                  .reference = "a call from the host",
                                  .reference_value = samples_percentile(&references, 50) / 1e3,
                                  .ratio = samples_percentile(&ratios, 50)});
    moat_close(m);
    bench_cleanup(home);
}
