/* Tokens: 256 random bits each, of which only the SHA-256 is kept, here and in the registry.
 *
 * A request finds its token in memory: by the hash's first bytes, then compared whole without telling by its time how
 * much was right.  An attacker who learns such bytes has learnt nothing, for no text can be made for a hash.  When a
 * token was used is noted beside it and written at most once a minute. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"
#include "service/token.h"

#define TEXT_LEN 64
#define USED_FLUSH_S 60
#define LIVE_MAX 10000
#define USED_BATCH 512

struct entry {
    int64_t id; /* 0: free */
    uint8_t hash[32];
    uint32_t scopes;
    uint64_t expires; /* seconds; 0: never */
    _Atomic uint64_t used, written;
    char plugins[SERVICE_SCOPES_MAX];
};

/* Open addressing, at most half full.  The lock is held for a look, and for a change. */
struct tokens {
    pthread_rwlock_t lock;
    struct entry *slots;
    size_t nslots, count;     /* a power of two */
    bool had_admin;           /* ever, revoked ones included */
    _Atomic uint64_t flushed; /* seconds */
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

static uint64_t now_s(void)
{
    return clock_wall_ns() / NS_PER_S;
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

/* text: scopes with a space between them. */
static int scopes_parse(const char *text, uint32_t *scopes, char plugins[SERVICE_SCOPES_MAX], struct error *err)
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

static void put(struct tokens *t, const struct entry *e)
{
    size_t i = slot_of(t, e->hash);
    while (t->slots[i].id)
        i = (i + 1) & (t->nslots - 1);
    memcpy(&t->slots[i], e, sizeof *e);
}

static bool grow(struct tokens *t)
{
    struct entry *old = t->slots, *slots = calloc(t->nslots * 2, sizeof *slots);
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

static int tokens_add(struct tokens *t, const struct entry *e, struct error *err)
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

static size_t tokens_count(struct tokens *t)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t n = t->count;
    pthread_rwlock_unlock(&t->lock);
    return n;
}

/* From its return on nobody is let in with it. What stood behind it moves up: a gap would end a look too early. */
static void tokens_remove(struct tokens *t, int64_t id)
{
    pthread_rwlock_wrlock(&t->lock);
    size_t i = 0, mask = t->nslots - 1;
    while (i < t->nslots && t->slots[i].id != id)
        i++;
    if (i < t->nslots) {
        memset(&t->slots[i], 0, sizeof t->slots[i]);
        t->count--;
        for (size_t k = (i + 1) & mask; t->slots[k].id; k = (k + 1) & mask) {
            struct entry moved;
            memcpy(&moved, &t->slots[k], sizeof moved);
            memset(&t->slots[k], 0, sizeof t->slots[k]);
            put(t, &moved);
        }
    }
    pthread_rwlock_unlock(&t->lock);
}

static struct entry *find(struct tokens *t, const uint8_t hash[32])
{
    for (size_t i = slot_of(t, hash); t->slots[i].id; i = (i + 1) & (t->nslots - 1))
        if (is_same(t->slots[i].hash, hash))
            return &t->slots[i];
    return NULL;
}

static void flush_begin(struct service *s);

bool service_token_find(struct service *s, const char *token, struct service_principal *out)
{
    struct tokens *t = s->tokens;
    uint8_t hash[32];
    size_t len = strnlen(token, TEXT_LEN + 1);
    if (len != TEXT_LEN)
        return false;
    sha256(token, len, hash);
    uint64_t now = now_s();
    pthread_rwlock_rdlock(&t->lock);
    struct entry *e = find(t, hash);
    bool good = e && (!e->expires || now < e->expires);
    if (good) {
        atomic_store_explicit(&e->used, now, memory_order_relaxed);
        out->scopes = e->scopes;
        out->token = e->id;
        text_copy(out->plugins, sizeof out->plugins, e->plugins);
    }
    pthread_rwlock_unlock(&t->lock);
    uint64_t flushed = atomic_load_explicit(&t->flushed, memory_order_relaxed);
    if (good && now >= flushed + USED_FLUSH_S && atomic_compare_exchange_strong(&t->flushed, &flushed, now))
        flush_begin(s);
    return good;
}

/* ---- when they were used ---- */

static size_t collect(struct tokens *t, struct registry_token_use list[USED_BATCH])
{
    size_t n = 0;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->nslots && n < USED_BATCH; i++) {
        struct entry *e = &t->slots[i];
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

/* ---- from the registry ---- */

struct loading {
    struct tokens *tokens;
    struct error *err;
    int code;
};

static bool load_one(void *context, const struct registry_token *t)
{
    struct loading *l = context;
    struct entry e = {.id = t->id, .expires = t->expires_at};
    struct error why;
    if (scopes_parse(t->scopes, &e.scopes, e.plugins, &why) < 0) {
        log_event(LOG_WARN, "token_unreadable", "#id", log_num(t->id), "why", why.message, NULL);
        return true; /* it lets nobody in */
    }
    l->tokens->had_admin |= (e.scopes & SCOPE_ADMIN) != 0;
    if (t->revoked_at)
        return true;
    memcpy(e.hash, t->hash, sizeof e.hash);
    atomic_init(&e.used, t->last_used_at);
    atomic_init(&e.written, t->last_used_at);
    l->code = tokens_add(l->tokens, &e, l->err);
    return l->code == 0;
}

int token_load(struct service *s, struct registry_reader *reader, struct error *err)
{
    struct loading l = {.tokens = s->tokens, .err = err};
    int rc = registry_each_token(reader, load_one, &l, err);
    return rc ? rc : l.code;
}

/* ---- making one ---- */

struct making {
    char scopes[REGISTRY_SCOPES_MAX], name[REGISTRY_TOKEN_NAME_MAX + 1], text[TEXT_LEN + 1];
    struct entry entry;
};

static void making_clear(struct making *m)
{
    explicit_bzero(m->text, sizeof m->text);
}

/* The command's row and the entry in memory. */
static int make(struct service *s, struct op *op, struct making *m, struct error *err)
{
    uint8_t bytes[TEXT_LEN / 2];
    if (tokens_count(s->tokens) >= LIVE_MAX)
        return error_set(err, MOAT_E_LIMIT, "there are %d tokens: revoke some first", LIVE_MAX);
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_errno(err, MOAT_E_INTERNAL, errno, "no random bytes for a token");
    text_hex(m->text, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
    sha256(m->text, TEXT_LEN, m->entry.hash);
    struct registry_command c = {
        .verb = REGISTRY_TOKEN_ADD,
        .token_add = {.hash = m->entry.hash, .scopes = m->scopes, .name = m->name, .expires_at = m->entry.expires}};
    int rc = op ? op_write(op, &c, err) : registry_run(s->registry, &c, err);
    if (rc < 0)
        return rc;
    m->entry.id = c.token_add.id;
    return tokens_add(s->tokens, &m->entry, err);
}

int service_admin_token(struct service *s, char fresh[65], struct error *err)
{
    struct making m = {.scopes = "admin", .name = "the first start's", .entry.scopes = SCOPE_ADMIN};
    int rc = 0;
    pthread_mutex_lock(&s->token_lock);
    if (!s->tokens->had_admin)
        rc = make(s, NULL, &m, err);
    s->tokens->had_admin |= rc == 0;
    pthread_mutex_unlock(&s->token_lock);
    if (rc == 0 && fresh)
        memcpy(fresh, m.text, sizeof m.text);
    making_clear(&m);
    return rc;
}

/* ---- operations ---- */

struct token_op {
    struct op op;
    struct making m;
    int64_t id;
};

static void clear(struct op *op)
{
    making_clear(&((struct token_op *)op)->m);
}

static void tell_scopes(struct buf *out, const char *text)
{
    char copy[REGISTRY_SCOPES_MAX], *rest = copy;
    text_copy(copy, sizeof copy, text);
    tell_open(out, "scopes", '[');
    for (char *one; (one = strsep(&rest, " "));)
        if (*one)
            tell_text(out, NULL, one);
    tell_close(out, ']');
}

static void create(struct op *op, struct job *job)
{
    struct token_op *t = (struct token_op *)op;
    struct buf *out = &op->result;
    int rc = op->code;
    pthread_mutex_lock(&op->s->token_lock);
    if (rc == 0)
        rc = make(op->s, op, &t->m, &op->error);
    if (rc == 0 && t->m.entry.scopes & SCOPE_ADMIN)
        op->s->tokens->had_admin = true;
    pthread_mutex_unlock(&op->s->token_lock);
    if (rc == 0) {
        tell_open(out, NULL, '{');
        tell_number(out, "id", (uint64_t)t->m.entry.id);
        tell_text(out, "token", t->m.text);
        tell_text(out, "name", t->m.name);
        tell_scopes(out, t->m.scopes);
        tell_seconds(out, "expires", t->m.entry.expires);
        tell_close(out, '}');
    }
    op_end(op, rc);
}

static int take_scopes(struct token_op *t, const char *const *scopes, size_t n)
{
    buf_auto text = BUF_INIT(REGISTRY_SCOPES_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        if (!*scopes[i] || strchr(scopes[i], ' '))
            return error_set(&t->op.error, MOAT_E_BAD_USAGE, "a scope is one word");
        buf_printf(&text, "%s%s", i ? " " : "", scopes[i]);
    }
    if (text.failed)
        return error_set(&t->op.error, MOAT_E_BAD_USAGE, "these are more scopes than a token holds");
    text_copy(t->m.scopes, sizeof t->m.scopes, buf_text(&text));
    return scopes_parse(t->m.scopes, &t->m.entry.scopes, t->m.entry.plugins, &t->op.error);
}

static int take_end(struct token_op *t, const char *span)
{
    uint64_t ns;
    if (!span)
        return 0;
    if (!clock_parse_span(span, &ns) || ns < NS_PER_S)
        return error_set(&t->op.error, MOAT_E_BAD_USAGE, "a token holds for a TIME of a second or more, such as 7d");
    t->m.entry.expires = now_s() + ns / NS_PER_S;
    return 0;
}

void service_token_create(struct service *s, const char *const *scopes, size_t nscopes, const char *name_or_null,
                          const char *for_or_null, service_done done, void *context)
{
    struct token_op *t = op_new(s, sizeof *t, done, context);
    if (!t)
        return;
    t->op.clear = clear;
    int rc = take_scopes(t, scopes, nscopes);
    if (rc == 0)
        rc = take_end(t, for_or_null);
    if (rc == 0 && name_or_null && !text_copy(t->m.name, sizeof t->m.name, name_or_null))
        rc = error_set(&t->op.error, MOAT_E_BAD_USAGE, "a token's name has at most %d bytes", REGISTRY_TOKEN_NAME_MAX);
    t->op.code = rc;
    op_begin(&t->op, NULL, create);
}

struct listing {
    struct tokens *tokens;
    struct buf *out;
    uint64_t now;
};

static uint64_t used_at(struct tokens *t, const struct registry_token *one)
{
    pthread_rwlock_rdlock(&t->lock);
    struct entry *e = find(t, one->hash);
    uint64_t used = e ? atomic_load_explicit(&e->used, memory_order_relaxed) : one->last_used_at;
    pthread_rwlock_unlock(&t->lock);
    return used;
}

static bool tell_token(void *context, const struct registry_token *t)
{
    struct listing *l = context;
    bool expired = t->expires_at && l->now >= t->expires_at;
    tell_open(l->out, NULL, '{');
    tell_number(l->out, "id", (uint64_t)t->id);
    tell_text(l->out, "name", t->name);
    tell_scopes(l->out, t->scopes);
    tell_text(l->out, "state", t->revoked_at ? "revoked" : expired ? "expired" : "valid");
    tell_seconds(l->out, "created", t->created_at);
    tell_seconds(l->out, "expires", t->expires_at);
    tell_seconds(l->out, "revoked", t->revoked_at);
    tell_seconds(l->out, "last_used", used_at(l->tokens, t));
    tell_close(l->out, '}');
    return true;
}

static void list(struct op *op, struct job *job)
{
    struct listing l = {op->s->tokens, &op->result, now_s()};
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "tokens", '[');
    int rc = registry_each_token(job->reader, tell_token, &l, &op->error);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_token_list(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_begin(op, NULL, list);
}

/* Out of memory first: whatever becomes of the row, nobody is let in with it from here on. */
static void revoke(struct op *op, struct job *job)
{
    struct token_op *t = (struct token_op *)op;
    struct registry_command c = {.verb = REGISTRY_TOKEN_REVOKE, .token_revoke = {.id = t->id}};
    int rc = op->code;
    if (rc == 0) {
        tokens_flush(op->s);
        tokens_remove(op->s->tokens, t->id);
        rc = op_write(op, &c, &op->error);
    }
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_number(&op->result, "id", (uint64_t)t->id);
        tell_flag(&op->result, "revoked", true);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

void service_token_revoke(struct service *s, const char *id, service_done done, void *context)
{
    struct token_op *t = op_new(s, sizeof *t, done, context);
    if (!t)
        return;
    size_t len = strspn(id, "0123456789");
    if (len == 0 || len > 18 || id[len])
        t->op.code = error_set(&t->op.error, MOAT_E_NOT_FOUND, "there is no token \"%.32s\"", id);
    else
        t->id = strtoll(id, NULL, 10);
    op_begin(&t->op, NULL, revoke);
}
