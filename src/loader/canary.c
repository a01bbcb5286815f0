/* Canaries: a generation of another version beside the current one, which a share of the calls meets until one of them
 * is shown to be the better choice.  Supervise begins and ends them; who owns a worker tells how its calls ended; which
 * calls they meet is decided when they are queued. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"
#include "measure/sequential.h"

/* docs/canary.md has the reasons for each. */
static const struct sequential_limits limits = {
    .tolerated = 0.01, .margin = 0.05, .false_alarm = 0.01, .false_pass = 0.01};
#define SLOW_AFTER 100 /* runs of an action by the old one, before anything is called slow */
#define SLOW_AGAIN 64  /* and then how often the border is looked at again */
#define WARM_CALLS 10  /* of a worker: not called slow */
#define SHARE_FROM 50  /* calls that say nothing of how many each one gets */
#define CRASHES_MAX 5

struct canary {
    struct generation *gen; /* a reference */
    struct plugin *plugin;
    unsigned percent;
    unsigned crashes; /* supervise */
    /* the plugin's lock */
    struct loader_canary told;
    struct sequential test;
    uint64_t routed[2], turn; /* calls that were given to each; one by one */
    struct manifest *before;  /* a reference: whose actions the borders are of */
    struct border {
        struct histogram runs;
        uint64_t slow_ns; /* 0: not known yet */
    } * borders;
};

const char *canary_state_name(enum canary_state s)
{
    static const char *const names[] = {"running", "passed", "promoted", "rolled_back", "ended"};
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

/* ---- which calls it gets: under the lock ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* A known caller stays where it is as long as the share of calls is not far from what was asked for. */
static bool takes(struct canary *k, uint64_t principal)
{
    uint64_t all = k->routed[0] + k->routed[1], salt = mix(k->told.since_ns);
    bool mine = principal && mix(salt ^ principal) % 100 < k->percent;
    unsigned most = k->percent < 34 ? 2 * k->percent : (k->percent + 100) / 2;
    bool few = all >= SHARE_FROM && k->routed[1] * 400 < k->percent * all;
    bool many = k->routed[1] * 100 > most * all + 100 * SHARE_FROM;
    if (!principal || (mine && many) || (!mine && few))
        return mix(salt + ++k->turn) % 100 < k->percent;
    return mine;
}

unsigned canary_side(struct plugin *p, const struct call *c)
{
    struct canary *k = p->canary;
    if (!k || !atomic_load(&p->canary_up))
        return 0;
    unsigned side = takes(k, c->principal);
    k->routed[side]++;
    return side;
}

/* ---- how calls end: who owns the worker ---- */

/* NULL: the old version has no such action. */
static struct border *border_of(struct canary *k, const struct worker *w, uint32_t action)
{
    if (w->gen->spec->manifest == k->before)
        return &k->borders[action];
    int i = manifest_action(k->before, w->gen->spec->manifest->actions[action].name);
    return i < 0 ? NULL : &k->borders[i];
}

static void learn_border(struct border *b, uint64_t ran_ns, uint64_t slack_ns)
{
    histogram_add(&b->runs, ran_ns);
    if (b->runs.count < SLOW_AFTER || b->runs.count % SLOW_AGAIN)
        return;
    uint64_t p99 = histogram_quantile(&b->runs, 0.99);
    b->slow_ns = p99 + p99 / 4 + slack_ns;
}

/* A time that was over fails who was slow by then, or had all the time there is. */
static bool has_failed(enum guard_kind kind, const struct border *b, uint64_t ran_ns)
{
    bool known = b && b->slow_ns;
    return kind == GUARD_FAILED || (kind != GUARD_GOOD && known && ran_ns > b->slow_ns) ||
           (kind == GUARD_LATE && !known);
}

static void outcome(struct canary *k, struct worker *w, uint32_t action, uint64_t ran_ns, enum guard_kind kind)
{
    bool new = w->gen == k->gen;
    struct border *b = border_of(k, w, action);
    bool warm = atomic_load_explicit(&w->tally.executions, memory_order_relaxed) > WARM_CALLS;
    bool good = kind == GUARD_GOOD, failed = has_failed(kind, b, ran_ns);
    bool slow = good && warm && b && b->slow_ns && ran_ns > b->slow_ns;
    if (!good && !failed)
        return; /* its caller had less patience than usual */
    struct loader_canary_side *side = new ? &k->told.after : &k->told.before;
    side->calls++;
    side->failed += failed;
    side->slow += slow;
    if (new)
        sequential_after(&k->test, failed || slow);
    else
        sequential_before(&k->test, failed || slow);
    if (!new &&good && b)
        learn_border(b, ran_ns, k->plugin->l->canary_slack_ns); /* after it was judged by what was known before */
}

void canary_tell(struct worker *w, uint32_t action, uint64_t ran_ns, enum guard_kind kind)
{
    struct plugin *p = w->plugin;
    pthread_mutex_lock(&p->lock);
    struct canary *k = p->canary;
    bool fell = false;
    /* Once the verdict has fallen its evidence stays as it was. */
    bool open = k && k->told.state == CANARY_RUNNING && k->test.verdict == SEQUENTIAL_OPEN;
    if (open && (w->gen == k->gen || w->gen == p->current)) {
        outcome(k, w, action, ran_ns, kind);
        fell = k->test.verdict != SEQUENTIAL_OPEN;
    }
    pthread_mutex_unlock(&p->lock);
    if (fell && !atomic_exchange(&p->judged, true))
        loop_post(p->l->supervise, &p->judge);
}

/* ---- beginning and end: supervise ---- */

bool canary_is(const struct generation *g)
{
    return g->plugin->canary && g->plugin->canary->gen == g;
}

static void canary_free(struct canary *k)
{
    if (!k)
        return;
    generation_unref(k->gen);
    manifest_unref(k->before);
    free(k->borders);
    free(k);
}

static struct canary *canary_new(struct generation *g)
{
    struct plugin *p = g->plugin;
    struct canary *k = calloc(1, sizeof *k);
    struct manifest *before = p->current->spec->manifest;
    struct border *borders = calloc(before->nactions ? before->nactions : 1, sizeof *borders);
    if (!k || !borders) {
        free(k);
        free(borders);
        return NULL;
    }
    *k = (struct canary){.gen = generation_ref(g),
                         .plugin = p,
                         .percent = g->percent,
                         .before = manifest_ref(before),
                         .borders = borders,
                         .told = {.percent = g->percent, .state = CANARY_RUNNING, .since_ns = clock_wall_ns()}};
    text_copy(k->told.version, sizeof k->told.version, g->version);
    text_copy(k->told.current, sizeof k->told.current, p->current->version);
    unsigned rest = 100 - g->percent;
    sequential_init(&k->test, &limits, rest / g->percent, g->percent / (rest ? rest : 1));
    return k;
}

bool canary_begin(struct generation *g)
{
    struct plugin *p = g->plugin;
    struct canary *k = canary_new(g);
    if (!k)
        return false;
    log_event(LOG_INFO, "canary_started", "plugin", p->name, "version", g->version, "current", k->told.current,
              "#percent", log_num(k->percent), NULL);
    atomic_store(&g->canary, true);
    pthread_mutex_lock(&p->lock);
    p->canary = k;
    atomic_store(&p->canary_on, true);
    free(p->last_canary);
    p->last_canary = NULL;
    pthread_mutex_unlock(&p->lock);
    plugin_show(p);
    return true;
}

static double ratio(double log_evidence)
{
    return exp(fmin(log_evidence, 30));
}

/* Under the lock. */
static struct loader_canary told_now(const struct canary *k)
{
    struct loader_canary told = k->told;
    told.evidence_worse = ratio(k->test.log_worse);
    told.evidence_fine = ratio(k->test.log_fine);
    return told;
}

/* The plugin has none any more; what is left of it is the caller's. */
static struct canary *take_away(struct plugin *p, enum canary_state state, const char *why)
{
    struct canary *k = p->canary;
    struct loader_canary *last = malloc(sizeof *last); /* NULL: it is not shown later */
    atomic_store(&k->gen->canary, false);
    pthread_mutex_lock(&p->lock);
    k->told.state = state;
    k->told.until_ns = clock_wall_ns();
    text_copy(k->told.why, sizeof k->told.why, why);
    if (last)
        *last = told_now(k);
    p->canary = NULL;
    atomic_store(&p->canary_on, false);
    atomic_store(&p->canary_up, false);
    free(p->last_canary);
    p->last_canary = last;
    pthread_mutex_unlock(&p->lock);
    log_event(state == CANARY_ROLLED_BACK ? LOG_WARN : LOG_INFO, "canary_over", "plugin", p->name, "version",
              k->told.version, "outcome", canary_state_name(state), "why", why, NULL);
    return k;
}

static void tell(struct plugin *p, const struct loader_canary *told)
{
    const struct loader_config *config = &p->l->config;
    if (config->on_canary)
        config->on_canary(config->context, p->name, told);
}

/* No new call meets it from here on; those that it has begun end in it, those that wait for it go to the old one. */
void canary_stop(struct plugin *p, enum canary_state state, const char *why)
{
    if (!p->canary)
        return;
    struct canary *k = take_away(p, state, why);
    struct loader_canary told = told_now(k);
    generation_withdraw(k->gen);
    plugin_show(p);
    plugin_kick(p);
    tell(p, &told);
    canary_free(k);
}

/* It becomes what the plugin is. */
static void promote(struct plugin *p)
{
    struct canary *k = take_away(p, CANARY_PROMOTED, "");
    struct loader_canary told = told_now(k);
    k->gen->percent = 0;
    record_promote(k->gen);
    plugin_publish(p, k->gen, RETIRE_DRAIN, UINT64_MAX);
    plugin_health(p, HEALTH_HEALTHY, "");
    tell(p, &told);
    canary_free(k);
}

/* The verdict fell. */
void canary_judged(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, judge));
    struct canary *k = p->canary;
    struct loader_canary told;
    char why[200];
    atomic_exchange(&p->judged, false);
    if (!k)
        return;
    pthread_mutex_lock(&p->lock);
    enum sequential_verdict verdict = k->test.verdict;
    bool fresh = k->told.state == CANARY_RUNNING && verdict != SEQUENTIAL_OPEN;
    if (fresh && verdict == SEQUENTIAL_FINE)
        k->told.state = CANARY_PASSED;
    told = told_now(k);
    pthread_mutex_unlock(&p->lock);
    if (!fresh)
        return;
    if (verdict == SEQUENTIAL_FINE) {
        log_event(LOG_INFO, "canary_passed", "plugin", p->name, "version", told.version, NULL);
        tell(p, &told);
        return;
    }
    snprintf(why, sizeof why,
             "%llu of its %llu calls failed and %llu were slow; of %s, %llu of %llu failed and %llu were slow",
             (unsigned long long)told.after.failed, (unsigned long long)told.after.calls,
             (unsigned long long)told.after.slow, told.current, (unsigned long long)told.before.failed,
             (unsigned long long)told.before.calls, (unsigned long long)told.before.slow);
    canary_stop(p, CANARY_ROLLED_BACK, why);
}

/* One of its workers died: it has a few more tries, none of which is the plugin's circuit's business. */
void canary_crashed(struct generation *g, const struct error *err)
{
    struct canary *k = g->plugin->canary;
    char why[256];
    if (++k->crashes < CRASHES_MAX) {
        generation_start(g, true);
        return;
    }
    snprintf(why, sizeof why, "it crashed %u times: %.150s", k->crashes, err->message);
    canary_stop(g->plugin, CANARY_ROLLED_BACK, why);
}

/* Nobody waits for a canary's worker, so that nobody's waiting would start the next one. */
void canary_lost_worker(struct generation *g)
{
    if (canary_is(g))
        generation_start(g, true);
}

/* ---- what is asked of it: supervise ---- */

static int check(const struct op *op, struct error *err)
{
    const struct plugin *p = op->plugin;
    const struct generation *now = p->current;
    if (!now || now->gate || !now->ready)
        return error_set(err, MOAT_E_WRONG_STATE, "%s does not run: a canary is judged beside what runs", p->name);
    if (p->next && !p->next->percent)
        return error_set(err, MOAT_E_WRONG_STATE, "%s is being replaced: try again when that is over", p->name);
    if (now->spec->manifest->state || op->spec->manifest->state)
        return error_set(err, MOAT_E_WRONG_STATE,
                         "%s hands its state on from version to version: it cannot be in two of them at once", p->name);
    if (op->percent < 1 || op->percent > 99)
        return error_set(err, MOAT_E_BAD_USAGE, "a canary needs a version and 1 to 99 percent of the calls");
    return 0;
}

void op_canary(struct op *op)
{
    struct plugin *p = op->plugin;
    struct error err;
    if (check(op, &err)) {
        op_done(op, &err);
        return;
    }
    canary_give_way(p, "another canary took its place");
    struct generation *g = generation_new(p, op->spec, MOAT_E_OK, "");
    if (!g) {
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for a canary of %s", p->name);
        op_done(op, &err);
        return;
    }
    g->percent = op->percent;
    p->next = g;
    waiters_add(&g->waiters, op);
    generation_start(g, true);
}

static void none(struct op *op)
{
    struct error err;
    error_set(&err, MOAT_E_WRONG_STATE, "%s has no canary%s%s", op->name, *op->version ? " of version " : "",
              op->version);
    op_done(op, &err);
}

void op_canary_promote(struct op *op)
{
    struct plugin *p = op->plugin;
    if (!p->canary || strcmp(p->canary->told.version, op->version) != 0 || !p->canary->gen->ready) {
        none(op);
        return;
    }
    promote(p);
    op_done(op, NULL);
}

void op_canary_end(struct op *op)
{
    if (!op->plugin->canary) {
        none(op);
        return;
    }
    canary_stop(op->plugin, CANARY_ENDED, op->gate_message);
    op_done(op, NULL);
}

void canary_give_way(struct plugin *p, const char *why)
{
    struct error err;
    canary_stop(p, CANARY_ENDED, why);
    if (!p->next || !p->next->percent)
        return;
    error_set(&err, MOAT_E_WRONG_STATE, "the canary of %s was given up before it was ready: %s", p->name, why);
    generation_drop_next(p, &err);
}

void canary_wants(struct plugin *p)
{
    struct canary *k = p->canary;
    if (k && queue_waits(p, QUEUE_SIDE(1)))
        generation_start(k->gen, true);
}

bool canary_full(const struct plugin *p)
{
    const struct generation *g = p->canary ? p->canary->gen : NULL;
    return !g || g->starting || g->ready >= g->nworkers;
}

bool canary_ready(const struct plugin *p)
{
    return p->canary && p->canary->gen->ready;
}

void canary_end_version(struct plugin *p, const char *version, const char *why)
{
    bool runs = p->canary && strcmp(p->canary->told.version, version) == 0;
    bool starts = p->next && p->next->percent && strcmp(p->next->version, version) == 0;
    if (runs || starts)
        canary_give_way(p, why);
}

/* ---- telling: any thread ---- */

bool plugin_canary(struct plugin *p, struct loader_canary *out)
{
    pthread_mutex_lock(&p->lock);
    bool there = p->canary || p->last_canary;
    if (p->canary)
        *out = told_now(p->canary);
    else if (p->last_canary)
        *out = *p->last_canary;
    pthread_mutex_unlock(&p->lock);
    return there;
}

void canary_forget(struct plugin *p)
{
    canary_free(p->canary);
    free(p->last_canary);
}
