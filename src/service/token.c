/* Making, listing and revoking tokens: the row in the registry and the entry in memory (tokens.c) together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

#define LIVE_MAX 10000

static uint64_t now_s(void)
{
    return clock_wall_ns() / NS_PER_S;
}

/* ---- from the registry ---- */

struct loading {
    struct service *service;
    struct error *err;
    int code;
};

static bool load_one(void *context, const struct registry_token *t)
{
    struct loading *l = context;
    struct token e = {.id = t->id, .expires = t->expires_at};
    struct error why;
    if (token_scopes(t->scopes, &e.scopes, e.plugins, &why) < 0) {
        log_event(LOG_WARN, "token_unreadable", "#id", log_num(t->id), "why", why.message, NULL);
        return true; /* it lets nobody in */
    }
    l->service->had_admin |= (e.scopes & SCOPE_ADMIN) != 0;
    if (t->revoked_at)
        return true;
    memcpy(e.hash, t->hash, sizeof e.hash);
    atomic_init(&e.used, t->last_used_at);
    atomic_init(&e.written, t->last_used_at);
    l->code = tokens_add(l->service->tokens, &e, l->err);
    return l->code == 0;
}

int token_load(struct service *s, struct registry_reader *reader, struct error *err)
{
    struct loading l = {.service = s, .err = err};
    int rc = registry_each_token(reader, load_one, &l, err);
    return rc ? rc : l.code;
}

/* ---- making one ---- */

struct making {
    char scopes[REGISTRY_SCOPES_MAX], name[REGISTRY_TOKEN_NAME_MAX + 1], text[TOKEN_TEXT_LEN + 1];
    struct token entry;
};

static void making_clear(struct making *m)
{
    explicit_bzero(m->text, sizeof m->text);
}

/* The command's row and the entry in memory. */
static int make(struct service *s, struct op *op, struct making *m, struct error *err)
{
    uint8_t bytes[TOKEN_TEXT_LEN / 2];
    if (tokens_count(s->tokens) >= LIVE_MAX)
        return error_set(err, MOAT_E_LIMIT, "there are %d tokens: revoke some first", LIVE_MAX);
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_errno(err, MOAT_E_INTERNAL, errno, "no random bytes for a token");
    text_hex(m->text, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
    sha256(m->text, TOKEN_TEXT_LEN, m->entry.hash);
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
    if (!s->had_admin)
        rc = make(s, NULL, &m, err);
    s->had_admin |= rc == 0;
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
        op->s->had_admin = true;
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
    return token_scopes(t->m.scopes, &t->m.entry.scopes, t->m.entry.plugins, &t->op.error);
}

static int take_end(struct token_op *t, const char *span)
{
    uint64_t ns;
    if (!span)
        return 0;
    if (!clock_parse_span(span, &ns) || ns < NS_PER_S)
        return error_set(&t->op.error, MOAT_E_BAD_USAGE,
                         "a token holds for a TIME from 1s to 36500d (100 years), such as 7d");
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
    tell_seconds(l->out, "last_used", tokens_used_at(l->tokens, t));
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
        op_read(op, list);
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
