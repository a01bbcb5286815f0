/* What an Idempotency-Key stands for.  Scope: token, plugin, action and key; a body is known by its SHA-256.  Entries
 * stand in a table by hash; those whose run has ended also in the order of their ends, in which they go. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rest/run.h"

#define BUCKETS 4096 /* a power of two; a chain has two or three of KEYS_MAX */
#define SCOPE_MAX (MANIFEST_NAME_MAX + MANIFEST_ACTION_MAX + RUN_KEY_MAX + 32)

struct key_entry {
    struct key_entry *chain, *older, *newer; /* the last two of what has ended */
    uint32_t hash;
    bool ended;
    uint64_t until_ns; /* monotonic; from its end on */
    uint8_t body[32];
    struct run *waiters;
    /* the outcome */
    int code;
    struct error *error; /* NULL: none, or not kept */
    uint8_t *result;
    size_t len;
    bool kept;
    char id[33];
    struct receipt receipt;
    size_t scope_len;
    char scope[];
};

struct keys {
    pthread_mutex_t lock;
    struct key_entry *buckets[BUCKETS], *oldest, *newest; /* of what has ended */
    size_t count;
    uint64_t bytes;
};

struct keys *keys_new(void)
{
    struct keys *k = calloc(1, sizeof *k);
    if (k)
        pthread_mutex_init(&k->lock, NULL);
    return k;
}

/* ---- entries ---- */

static size_t weight(const struct key_entry *e)
{
    return e->kept ? e->len + (e->error ? sizeof *e->error : 0) : 0;
}

static void forget_answer(struct keys *k, struct key_entry *e)
{
    k->bytes -= weight(e);
    free(e->result);
    free(e->error);
    e->result = NULL;
    e->error = NULL;
    e->kept = false;
}

static void drop(struct keys *k, struct key_entry *e)
{
    struct key_entry **at = &k->buckets[e->hash % BUCKETS];
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    if (e->ended) {
        *(e->older ? &e->older->newer : &k->oldest) = e->newer;
        *(e->newer ? &e->newer->older : &k->newest) = e->older;
    }
    forget_answer(k, e);
    k->count--;
    free(e);
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    while (k->oldest)
        drop(k, k->oldest);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static void expire(struct keys *k, uint64_t now)
{
    while (k->oldest && now >= k->oldest->until_ns)
        drop(k, k->oldest);
}

/* For one key more. One that runs stays: somebody counts on it. */
static bool is_room(struct keys *k)
{
    if (k->count >= KEYS_MAX && k->oldest)
        drop(k, k->oldest);
    return k->count < KEYS_MAX;
}

static void make_room(struct keys *k, size_t len)
{
    for (struct key_entry *e = k->oldest; e && k->bytes + len > KEYS_BYTES; e = e->newer)
        forget_answer(k, e);
}

/* FNV-1a: the table is bounded, a client that makes its own keys collide slows its own down by microseconds. */
static uint32_t hash_of(const char *bytes, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)bytes[i]) * 16777619u;
    return h;
}

static size_t scope_of(const struct run *run, char scope[SCOPE_MAX])
{
    int n = snprintf(scope, SCOPE_MAX, "%lld %.30s %.32s %.255s", (long long)run->token, run->call.plugin,
                     run->call.action, run->key);
    return n < SCOPE_MAX ? (size_t)n : SCOPE_MAX - 1;
}

static struct key_entry *find(struct keys *k, uint32_t hash, const char *scope, size_t len)
{
    struct key_entry *e = k->buckets[hash % BUCKETS];
    while (e && (e->hash != hash || e->scope_len != len || memcmp(e->scope, scope, len) != 0))
        e = e->chain;
    return e;
}

static struct key_entry *add(struct keys *k, uint32_t hash, const char *scope, size_t len, const uint8_t body[32])
{
    struct key_entry *e = calloc(1, sizeof *e + len);
    if (!e)
        return NULL;
    e->hash = hash;
    e->scope_len = len;
    memcpy(e->scope, scope, len);
    memcpy(e->body, body, sizeof e->body);
    e->chain = k->buckets[hash % BUCKETS];
    k->buckets[hash % BUCKETS] = e;
    k->count++;
    return e;
}

static void end(struct keys *k, struct key_entry *e)
{
    e->ended = true;
    e->until_ns = clock_mono_ns() + KEYS_NS;
    e->older = k->newest;
    *(k->newest ? &k->newest->newer : &k->oldest) = e;
    k->newest = e;
}

/* ---- outcomes ---- */

/* The outcome into a run of its own: result is copied, for each request frees its own. */
static void give(struct run *run, int code, const struct error *error, const uint8_t *result, size_t len,
                 const char *id, const struct receipt *receipt)
{
    struct call *c = &run->call;
    run->replay = RUN_REPLAYED;
    c->code = code;
    if (error)
        c->error = *error;
    memcpy(c->id, id, sizeof c->id);
    c->receipt = *receipt;
    if (!result)
        return;
    c->result = malloc(len + BUF_PAD);
    if (!c->result) {
        c->code = error_set(&c->error, MOAT_E_OUT_OF_MEMORY, "no memory for the answer that was kept");
        return;
    }
    memcpy(c->result, result, len);
    c->result_len = len;
}

static void give_kept(struct run *run, const struct key_entry *e)
{
    if (e->kept) {
        give(run, e->code, e->error, e->result, e->len, e->id, &e->receipt);
        return;
    }
    run->replay = RUN_REPLAYED;
    memcpy(run->call.id, e->id, sizeof e->id);
    run->call.code = error_set(&run->call.error, MOAT_E_ANSWER_NOT_KEPT,
                               "the request with this Idempotency-Key was run as call %s, and its answer was too large "
                               "to keep",
                               e->id);
}

enum keys_claim keys_claim(struct keys *k, struct run *run)
{
    char scope[SCOPE_MAX];
    uint8_t body[32];
    enum keys_claim claim = KEYS_DONE;
    size_t len = scope_of(run, scope);
    uint32_t hash = hash_of(scope, len);
    gnutls_hash_fast(GNUTLS_DIG_SHA256, run->call.parameters, run->call.parameters_len, body);
    pthread_mutex_lock(&k->lock);
    expire(k, clock_mono_ns());
    struct key_entry *e = find(k, hash, scope, len);
    if (e && memcmp(e->body, body, sizeof body) != 0) {
        run->call.code = error_set(&run->call.error, MOAT_E_IDEMPOTENCY_CONFLICT,
                                   "this Idempotency-Key stands for another body, of call %s", e->id);
    } else if (e && e->ended) {
        give_kept(run, e);
    } else if (e) {
        run->next = e->waiters;
        e->waiters = run;
        claim = KEYS_WAIT;
    } else if (!is_room(k)) {
        run->call.code = error_set(&run->call.error, MOAT_E_QUEUE_FULL,
                                   "%d calls with an Idempotency-Key run already: no more are remembered", KEYS_MAX);
    } else if ((e = add(k, hash, scope, len, body))) {
        memcpy(e->id, run->call.id, sizeof e->id);
        run->entry = e;
        run->replay = RUN_FIRST;
        claim = KEYS_RUN;
    } else {
        run->call.code = error_set(&run->call.error, MOAT_E_OUT_OF_MEMORY, "no memory for the Idempotency-Key");
    }
    pthread_mutex_unlock(&k->lock);
    return claim;
}

/* A call that no plugin has seen may be tried again with the same key; what does not fit the schema never will. */
static bool is_remembered(const struct call *c)
{
    return !c->code || c->receipt.ran_ns || *c->receipt.version || c->code == -MOAT_E_BAD_PARAMETERS ||
           c->code == -MOAT_E_BAD_JSON;
}

static void keep(struct keys *k, struct key_entry *e, const struct call *c)
{
    e->code = c->code;
    memcpy(e->id, c->id, sizeof e->id);
    e->receipt = c->receipt;
    size_t len = c->code ? sizeof c->error : c->result_len;
    make_room(k, len);
    if (k->bytes + len > KEYS_BYTES)
        return;
    if (c->code && (e->error = malloc(sizeof *e->error)))
        *e->error = c->error;
    if (!c->code && (e->result = malloc(len + 1))) {
        memcpy(e->result, c->result, len);
        e->len = len;
    }
    e->kept = e->error || e->result;
    k->bytes += weight(e);
}

static void tell(struct loop_task *task)
{
    struct run *run = (struct run *)((char *)task - offsetof(struct run, task));
    run->done(run);
}

void keys_settle(struct keys *k, struct run *run)
{
    struct key_entry *e = run->entry;
    struct call *c = &run->call;
    enum run_replay replay = is_remembered(c) ? RUN_REPLAYED : RUN_PLAIN;
    run->entry = NULL;
    if (replay == RUN_PLAIN)
        run->replay = RUN_PLAIN; /* the key stands for nothing any more */
    pthread_mutex_lock(&k->lock);
    struct run *waiter = e->waiters, *next;
    e->waiters = NULL;
    for (; waiter; waiter = next) {
        next = waiter->next;
        give(waiter, c->code, c->code ? &c->error : NULL, c->result, c->result_len, c->id, &c->receipt);
        waiter->replay = replay;
        waiter->task.run = tell;
        loop_post(waiter->loop, &waiter->task);
    }
    if (replay == RUN_REPLAYED) {
        keep(k, e, c);
        end(k, e);
    } else {
        drop(k, e);
    }
    pthread_mutex_unlock(&k->lock);
}

bool keys_leave(struct keys *k, struct run *run)
{
    char scope[SCOPE_MAX];
    bool found = false;
    size_t len = scope_of(run, scope);
    uint32_t hash = hash_of(scope, len);
    pthread_mutex_lock(&k->lock);
    struct key_entry *e = find(k, hash, scope, len);
    for (struct run **at = e ? &e->waiters : NULL; at && *at && !found; at = &(*at)->next) {
        if (*at != run)
            continue;
        *at = run->next;
        found = true;
        break;
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

struct keys_figures keys_figures(struct keys *k)
{
    pthread_mutex_lock(&k->lock);
    struct keys_figures f = {k->count, k->bytes};
    pthread_mutex_unlock(&k->lock);
    return f;
}
