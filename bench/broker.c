/* The group `broker`: what brokers do for plugins.  policy.decide_ns: one answer of the policy, from three permissions
 * that are asked for, six decisions and two ceilings; policy.allow_ns: one object against it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench.h"
#include "broker_parts.h"
#include "policy/policy.h"

#define RUNS 200
#define ROUNDS 2000

static const struct ask asks[] = {
    {PERMISSION_FILE_READ, true}, {PERMISSION_NETWORK_ACCESS, true}, {PERMISSION_DATABASE_READ, false}};
static struct decision decisions[6];
static struct ceiling ceilings[2];
static struct policy_answer answer;
static struct policy_input input = {.asks = asks,
                                    .nasks = sizeof asks / sizeof *asks,
                                    .decisions = decisions,
                                    .ndecisions = sizeof decisions / sizeof *decisions,
                                    .ceilings = ceilings,
                                    .nceilings = sizeof ceilings / sizeof *ceilings,
                                    .publisher = "acme",
                                    .capabilities = 1u << CAPABILITY_INTEGRATION,
                                    .now = 1800000000};

static void prepare(void)
{
    static const char *const grants[] = {"file_read=/data",
                                         "file_read=/usr/share/models",
                                         "network_access=api.example.com:443",
                                         "network_access=*.internal.example:5432",
                                         "network_access=10.0.0.0/8:443",
                                         "database_read=orders"};
    struct error err;
    for (size_t i = 0; i < input.ndecisions; i++)
        if (grant_parse(grants[i], &decisions[i].grant, &err) < 0)
            bench_die("%s", err.message);
    decisions[2].until = input.now + 60;
    if (ceiling_parse("everybody", "file_read=/etc", &ceilings[0], &err) < 0 ||
        ceiling_parse("publisher:acme", "network_access=169.254.0.0/16:*", &ceilings[1], &err) < 0)
        bench_die("%s", err.message);
}

static void decide(void)
{
    policy_decide(&input, &answer);
    if (!answer.ready || answer.ngrants != input.ndecisions)
        bench_die("the policy decides otherwise");
}

static void allow(void)
{
    if (policy_allows(&answer, PERMISSION_NETWORK_ACCESS, "db.internal.example:5432", input.now) != POLICY_GRANTED)
        bench_die("the policy allows otherwise");
}

static void measure(const char *name, void (*one)(void))
{
    struct samples s = {0};
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < ROUNDS; i++)
            one();
        samples_add(&s, (double)(clock_mono_ns() - start) / ROUNDS);
    }
    double p50 = samples_percentile(&s, 50), p99 = samples_percentile(&s, 99);
    figure_print(&(struct figure){.name = name,
                                  .unit = "ns",
                                  .value = p50,
                                  .p50 = p50 / 1e3,
                                  .p99 = p99 / 1e3,
                                  .reference_value = -1,
                                  .ratio = -1});
    samples_clear(&s);
}

int main(void)
{
    broker_sql(); /* first: it forks, and the others have threads */
    broker_agent();
    prepare();
    measure("policy.decide_ns", decide);
    measure("policy.allow_ns", allow);
    broker_net();
    return 0;
}
