/* Tokens: 256 random bits each, of which only the SHA-256 is kept, here and in the registry.
 *
 * A request finds its token in memory: by the hash's first bytes, then compared whole without telling by its time how
 * much was right.  An attacker who learns such bytes has learnt nothing, for no text can be made for a hash.  When a
 * token was used is noted beside it and written at most once a minute. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"
#include "service/token.h"

#define USED_FLUSH_S 60
#define USED_BATCH 512

/* Open addressing, at most half full.  The lock is held for a look, and for a change. */
struct tokens {
    pthread_rwlock_t lock;
    struct token *slots;
    size_t nslots, count;     /* a power of two */
    _Atomic uint64_t flushed; /* seconds */
    _Atomic uint64_t removed; /* how many were taken out */
    _Atomic uint64_t limit;   /* requests a minute of one token; 0: none */
};

struct tokens *tokens_new(void)
{
    struct tokens *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->nslots = 16;
    t->slots = calloc(t->nslots, sizeof *t->slots);
    if (!t->slots) {
        free(t);
        return NULL;
    }
    pthread_rwlock_init(&t->lock, NULL);
    return t;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    explicit_bzero(t->slots, t->nslots * sizeof *t->slots);
    free(t->slots);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}

/* ---- scopes ---- */

static const struct {
    const char *name;
    uint32_t bit;
} words[] = {{"read", SCOPE_READ}, {"manage", SCOPE_MANAGE}, {"admin", SCOPE_ADMIN}};

/* One of SURFACE's scopes; plugins gets the names behind `execute:`. */
static int scope_add(const char *scope, uint32_t *scopes, struct buf *plugins, struct error *err)
{
    static const char execute[] = "execute:";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(scope, words[i].name) == 0) {
            *scopes |= words[i].bit;
            return 0;
        }
    }
    const char *name = strncmp(scope, execute, sizeof execute - 1) == 0 ? scope + sizeof execute - 1 : "";
    if (strcmp(name, "*") != 0 && !text_is_name(name, MANIFEST_NAME_MAX))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "\"%.64s\" is no scope: there are execute:NAME, execute:*, read, manage and admin", scope);
    *scopes |= SCOPE_EXECUTE;
    buf_printf(plugins, "%s%s ", plugins->len ? "" : " ", name);
    return 0;
}

int token_scopes(const char *text, uint32_t *scopes, char plugins[SERVICE_SCOPES_MAX], struct error *err)
{
    buf_auto names = BUF_INIT(SERVICE_SCOPES_MAX - 1);
    uint32_t bits = 0;
    char copy[REGISTRY_SCOPES_MAX], *rest = copy;
    text_copy(copy, sizeof copy, text);
    for (char *one; (one = strsep(&rest, " "));) {
        int rc = *one ? scope_add(one, &bits, &names, err) : 0;
        if (rc)
            return rc;
    }
    if (!bits || names.failed)
        return error_set(err, MOAT_E_BAD_USAGE,
                         bits ? "these are more scopes than a token holds"
                              : "a token needs a scope: execute:NAME, execute:*, read, manage or "
                                "admin");
    bool all = strstr(buf_text(&names), " * ") != NULL;
    *scopes = bits;
    text_copy(plugins, SERVICE_SCOPES_MAX, all ? "*" : buf_text(&names));
    return 0;
}

/* ---- in memory ---- */

static size_t slot_of(const struct tokens *t, const uint8_t hash[32])
{
    uint64_t n;
    memcpy(&n, hash, sizeof n);
    return (size_t)n & (t->nslots - 1);
}

static bool is_same(const uint8_t a[32], const uint8_t b[32])
{
    uint8_t differ = 0;
    for (size_t i = 0; i < 32; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}

static void put(struct tokens *t, const struct token *e)
{
    size_t i = slot_of(t, e->hash);
    while (t->slots[i].id)
        i = (i + 1) & (t->nslots - 1);
    memcpy(&t->slots[i], e, sizeof *e);
}

static bool grow(struct tokens *t)
{
    struct token *old = t->slots, *slots = calloc(t->nslots * 2, sizeof *slots);
    size_t n = t->nslots;
    if (!slots)
        return false;
    t->slots = slots;
    t->nslots *= 2;
    for (size_t i = 0; i < n; i++)
        if (old[i].id)
            put(t, &old[i]);
    free(old);
    return true;
}

int tokens_add(struct tokens *t, const struct token *e, struct error *err)
{
    pthread_rwlock_wrlock(&t->lock);
    bool room = t->count * 2 < t->nslots || grow(t);
    if (room) {
        put(t, e);
        t->count++;
    }
    pthread_rwlock_unlock(&t->lock);
    return room ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the token");
}

size_t tokens_count(struct tokens *t)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t n = t->count;
    pthread_rwlock_unlock(&t->lock);
    return n;
}

/* What stood behind it moves up: a gap would end a look too early. */
void tokens_remove(struct tokens *t, int64_t id)
{
    pthread_rwlock_wrlock(&t->lock);
    size_t i = 0, mask = t->nslots - 1;
    while (i < t->nslots && t->slots[i].id != id)
        i++;
    if (i < t->nslots) {
        memset(&t->slots[i], 0, sizeof t->slots[i]);
        t->count--;
        for (size_t k = (i + 1) & mask; t->slots[k].id; k = (k + 1) & mask) {
            struct token moved;
            memcpy(&moved, &t->slots[k], sizeof moved);
            memset(&t->slots[k], 0, sizeof t->slots[k]);
            put(t, &moved);
        }
    }
    atomic_fetch_add(&t->removed, 1);
    pthread_rwlock_unlock(&t->lock);
}

static struct token *find(struct tokens *t, const uint8_t hash[32])
{
    for (size_t i = slot_of(t, hash); t->slots[i].id; i = (i + 1) & (t->nslots - 1))
        if (is_same(t->slots[i].hash, hash))
            return &t->slots[i];
    return NULL;
}

static void flush_begin(struct service *s);

void tokens_limit(struct tokens *t, uint64_t requests)
{
    atomic_store_explicit(&t->limit, requests, memory_order_relaxed);
}

/* One request of e's: 0, or how long it comes too early. Each of them takes its share of the minute from the time on
 * that the earlier ones have spent; a token may be a whole minute ahead, less that share. What is refused costs
 * nothing. */
static uint64_t spend(struct token *e, uint64_t limit)
{
    if (!limit)
        return 0;
    uint64_t now = clock_mono_ns(), share = 60 * NS_PER_S / limit, ahead = 60 * NS_PER_S - share;
    uint64_t until = atomic_load_explicit(&e->spent_until, memory_order_relaxed), from;
    do {
        from = until > now ? until : now;
        if (from - now > ahead)
            return from - now - ahead;
    } while (!atomic_compare_exchange_weak_explicit(&e->spent_until, &until, from + share, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 0;
}

uint64_t service_token_epoch(const struct service *s)
{
    return atomic_load(&s->tokens->limit) ? 0 : 1 + atomic_load(&s->tokens->removed);
}

bool service_token_find(struct service *s, const char *token, struct service_principal *out)
{
    struct tokens *t = s->tokens;
    uint8_t hash[32];
    size_t len = strnlen(token, TOKEN_TEXT_LEN + 1);
    if (len != TOKEN_TEXT_LEN)
        return false;
    sha256(token, len, hash);
    uint64_t now = clock_wall_ns() / NS_PER_S;
    pthread_rwlock_rdlock(&t->lock);
    struct token *e = find(t, hash);
    bool good = e && (!e->expires || now < e->expires);
    if (good) {
        atomic_store_explicit(&e->used, now, memory_order_relaxed);
        out->scopes = e->scopes;
        out->token = e->id;
        out->expires = e->expires;
        out->wait_ns = spend(e, atomic_load_explicit(&t->limit, memory_order_relaxed));
        text_copy(out->plugins, sizeof out->plugins, e->plugins);
    }
    pthread_rwlock_unlock(&t->lock);
    uint64_t flushed = atomic_load_explicit(&t->flushed, memory_order_relaxed);
    if (good && now >= flushed + USED_FLUSH_S && atomic_compare_exchange_strong(&t->flushed, &flushed, now))
        flush_begin(s);
    return good;
}

bool service_token_holds(struct service *s, int64_t token, uint64_t expires, uint64_t *seen)
{
    struct tokens *t = s->tokens;
    uint64_t removed = 1 + atomic_load(&t->removed); /* before the look: older at worst */
    if (expires && clock_wall_ns() / NS_PER_S >= expires)
        return false;
    bool found = *seen == removed;
    if (found)
        return true;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->nslots && !found; i++)
        found = t->slots[i].id == token;
    pthread_rwlock_unlock(&t->lock);
    if (found)
        *seen = removed;
    return found;
}

/* ---- when they were used ---- */

uint64_t tokens_used_at(struct tokens *t, const struct registry_token *one)
{
    pthread_rwlock_rdlock(&t->lock);
    struct token *e = find(t, one->hash);
    uint64_t used = e ? atomic_load_explicit(&e->used, memory_order_relaxed) : one->last_used_at;
    pthread_rwlock_unlock(&t->lock);
    return used;
}

static size_t collect(struct tokens *t, struct registry_token_use list[USED_BATCH])
{
    size_t n = 0;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->nslots && n < USED_BATCH; i++) {
        struct token *e = &t->slots[i];
        uint64_t used = atomic_load_explicit(&e->used, memory_order_relaxed);
        if (!e->id || used == atomic_load_explicit(&e->written, memory_order_relaxed))
            continue;
        atomic_store_explicit(&e->written, used, memory_order_relaxed);
        list[n++] = (struct registry_token_use){.id = e->id, .at = used};
    }
    pthread_rwlock_unlock(&t->lock);
    return n;
}

void tokens_flush(struct service *s)
{
    struct registry_token_use list[USED_BATCH];
    size_t n = s->tokens ? collect(s->tokens, list) : 0;
    struct registry_command c = {.verb = REGISTRY_TOKEN_USED, .token_used = {.list = list, .count = n}};
    struct error err;
    if (n && registry_run(s->registry, &c, &err) < 0)
        log_event(LOG_WARN, "token_use_lost", "why", err.message, NULL);
}

static void flush(struct op *op, struct job *job)
{
    tokens_flush(op->s);
    op_end(op, 0);
}

static void say_nothing(void *context, const struct error *error, struct buf *result)
{
}

static void flush_begin(struct service *s)
{
    struct op *op = op_new(s, sizeof *op, say_nothing, NULL);
    if (op)
        op_begin(op, NULL, flush);
}
