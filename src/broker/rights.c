#include "broker/rights.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "broker/fact.h"

#define BUCKETS 1024
#define VERSIONS_KEPT 64 /* of one plugin, whether they live or not: who is told so is not told when one ends */

struct rights {
    _Atomic int refs;
    struct rights *next; /* in its bucket: the one that was set last comes first */
    char plugin[65], version[65];
    struct policy_answer answer; /* rows behind ngrants and nnever are not there */
};

struct broker {
    struct broker_config config;
    struct facts facts;
    struct net *net;
    pthread_mutex_t lock;
    struct rights *buckets[BUCKETS];
};

int broker_new(const struct broker_config *config, struct broker **out, struct error *err)
{
    struct broker *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the broker");
    b->config = *config;
    facts_read(&b->facts);
    pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return 0;
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct rights *r = b->buckets[i], *next; r; r = next) {
            next = r->next;
            rights_put(r);
        }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void broker_use_net(struct broker *b, struct net *n)
{
    b->net = n;
}

struct net *broker_net(const struct broker *b)
{
    return b->net;
}

uint64_t broker_now(const struct broker *b)
{
    return b->config.now(b->config.context);
}

void broker_open_source(struct broker *b, struct question *ask, const char *source, bool write)
{
    b->config.open_source(b->config.context, ask, source, write);
}

void broker_run_task(struct broker *b, struct question *ask)
{
    b->config.run_task(b->config.context, ask);
}

const struct facts *broker_facts(const struct broker *b)
{
    return &b->facts;
}

const struct policy_answer *rights_answer(const struct rights *r)
{
    return &r->answer;
}

void rights_put(struct rights *r)
{
    if (r && atomic_fetch_sub(&r->refs, 1) == 1)
        free(r);
}

static struct rights **bucket_of(struct broker *b, const char *plugin)
{
    uint64_t h = 14695981039346656037ull;
    for (; *plugin; plugin++)
        h = (h ^ (unsigned char)*plugin) * 1099511628211ull;
    return &b->buckets[(h >> 32) % BUCKETS];
}

struct rights *rights_get(struct broker *b, const char *plugin, const char *version)
{
    pthread_mutex_lock(&b->lock);
    struct rights *r = *bucket_of(b, plugin);
    while (r && (strcmp(r->plugin, plugin) != 0 || strcmp(r->version, version) != 0))
        r = r->next;
    if (r)
        atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&b->lock);
    return r;
}

/* ---- setting ---- */

/* Permissions that are asked for at run time. */
static bool brokered(const struct policy_answer *a)
{
    const uint32_t mask = 1u << PERMISSION_NETWORK_ACCESS | 1u << PERMISSION_DATABASE_READ |
                          1u << PERMISSION_DATABASE_WRITE | 1u << PERMISSION_SYSTEM_ACCESS |
                          1u << PERMISSION_AGENT_CONTROL;
    return a->asked & mask;
}

/* An answer is large and mostly empty: only its rows that are there are copied. */
static struct rights *rights_new(const char *plugin, const char *version, const struct policy_answer *a)
{
    struct rights *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    atomic_init(&r->refs, 1);
    text_copy(r->plugin, sizeof r->plugin, plugin);
    text_copy(r->version, sizeof r->version, version);
    memcpy(&r->answer, a, offsetof(struct policy_answer, grants));
    memcpy(r->answer.grants, a->grants, a->ngrants * sizeof *a->grants);
    memcpy(r->answer.never, a->never, a->nnever * sizeof *a->never);
    return r;
}

/* Takes those of the plugin out that are of this version; NULL: all. */
static void take_out(struct rights **at, const char *plugin, const char *version)
{
    while (*at) {
        struct rights *r = *at;
        if (strcmp(r->plugin, plugin) == 0 && (!version || strcmp(r->version, version) == 0)) {
            *at = r->next;
            rights_put(r);
        } else {
            at = &r->next;
        }
    }
}

/* A reference to those of the plugin before which n others were set, from the newest on; NULL: there are no more. */
static struct rights *behind(struct broker *b, const char *plugin, size_t n)
{
    pthread_mutex_lock(&b->lock);
    struct rights *r = *bucket_of(b, plugin);
    while (r && (strcmp(r->plugin, plugin) != 0 || n--))
        r = r->next;
    if (r)
        atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&b->lock);
    return r;
}

/* These ones: what was set for the version meanwhile stays. */
static void take_one(struct broker *b, const struct rights *one)
{
    pthread_mutex_lock(&b->lock);
    struct rights **at = bucket_of(b, one->plugin);
    while (*at && *at != one)
        at = &(*at)->next;
    if (*at) {
        struct rights *r = *at;
        *at = r->next;
        rights_put(r);
    }
    pthread_mutex_unlock(&b->lock);
}

/* Nobody asks by the rights of a version that does not live.  Whether one does is asked without the lock: who knows may
 * hold locks of its own when it asks for something here. */
static void forget_dead(struct broker *b, const char *plugin)
{
    struct rights *r;
    for (size_t n = VERSIONS_KEPT; (r = behind(b, plugin, n)); rights_put(r)) {
        if (b->config.lives && b->config.lives(b->config.context, plugin, r->version))
            n++;
        else
            take_one(b, r);
    }
}

void broker_set(struct broker *b, const char *plugin, const char *version, const struct policy_answer *answer)
{
    struct rights *r = brokered(answer) ? rights_new(plugin, version, answer) : NULL;
    pthread_mutex_lock(&b->lock);
    struct rights **at = bucket_of(b, plugin);
    take_out(at, plugin, version);
    if (r) {
        r->next = *at;
        *at = r;
    }
    pthread_mutex_unlock(&b->lock);
    forget_dead(b, plugin);
}

void broker_drop(struct broker *b, const char *plugin)
{
    pthread_mutex_lock(&b->lock);
    take_out(bucket_of(b, plugin), plugin, NULL);
    pthread_mutex_unlock(&b->lock);
}
