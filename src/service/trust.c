/* Whom the operator trusts, and this host's own key beside them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

/* ---- asked by package_verify ---- */

/* "No key" is the id of unsigned packages. */
bool trust_is_unsigned(const uint8_t key_id[KEY_ID_LEN])
{
    uint8_t any = 0;
    for (size_t i = 0; i < KEY_ID_LEN; i++)
        any |= key_id[i];
    return any == 0;
}

bool trust_in_development(const struct service *s)
{
    return s->home.development == HOME_ON;
}

int trust_find(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    const struct job *job = context;
    struct registry_key key;
    if (trust_is_unsigned(key_id)) {
        *out = (struct trust_answer){.known = trust_in_development(job->s), .publisher = REGISTRY_NOBODY, .names = "*"};
        return 0;
    }
    int rc = registry_find_key(job->reader, key_id, &key, err);
    *out = (struct trust_answer){.known = rc > 0, .revoked = rc > 0 && key.revoked_at != 0};
    if (rc <= 0)
        return rc;
    out->key.algorithm = (enum algorithm)key.algorithm;
    memcpy(out->key.id, key.id, sizeof out->key.id);
    memcpy(out->key.bytes, key.bytes, sizeof out->key.bytes);
    out->hmac = secrets_find(job->s->secrets, key_id);
    text_copy(out->publisher, sizeof out->publisher, key.publisher);
    text_copy(out->names, sizeof out->names, key.names);
    return 0;
}

/* ---- this host's own keys ---- */

/* The registry knows an HMAC key by its id alone, so that the versions it signed have an owner and it can be revoked;
 * the secret stays with the environment. */
static int know_key(struct service *s, struct registry_reader *reader, const char *publisher,
                    const struct public_key *key, struct error *err)
{
    static const uint8_t nothing[32];
    struct registry_key known;
    int rc = registry_find_key(reader, key->id, &known, err);
    if (rc > 0 && known.revoked_at)
        log_event(LOG_WARN, "hmac_key_revoked", "publisher", publisher, "why",
                  "a key of this host's environment was revoked: what it signed is refused", NULL);
    if (rc)
        return rc < 0 ? rc : 0;
    struct registry_command c = {
        .verb = REGISTRY_TRUST_ADD,
        .trust_add = {.publisher = publisher, .id = key->id, .bytes = nothing, .algorithm = (int)key->algorithm}};
    return registry_run(s->registry, &c, err);
}

int trust_open(struct service *s, struct registry_reader *reader, struct error *err)
{
    static const struct public_key none = {.algorithm = ALGORITHM_NONE};
    const struct signing_key *const secrets[] = {s->secrets ? s->secrets->key : NULL,
                                                 s->secrets ? s->secrets->old : NULL};
    int rc = trust_in_development(s) ? know_key(s, reader, REGISTRY_NOBODY, &none, err) : 0;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets && rc == 0; i++)
        if (secrets[i])
            rc = know_key(s, reader, SECRET_PUBLISHER, key_public(secrets[i]), err);
    return rc;
}

struct trust_op {
    struct op op;
    char *publisher, *names, *text; /* text: PEM, or a key's id */
    struct public_key key;
};

static void clear(struct op *op)
{
    struct trust_op *t = (struct trust_op *)op;
    free(t->publisher);
    free(t->names);
    free(t->text);
}

static char *copy(const char *text, struct trust_op *t)
{
    char *own = text ? strdup(text) : NULL;
    if (text && !own)
        t->op.code = error_set(&t->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the key");
    return own;
}

static void begin(struct service *s, const char *publisher, const char *names, const char *text, const char *key,
                  op_step step, service_done done, void *context)
{
    struct trust_op *t = op_new(s, sizeof *t, done, context);
    if (!t)
        return;
    t->op.clear = clear;
    t->publisher = copy(publisher, t);
    t->names = copy(names, t);
    t->text = copy(text, t);
    op_begin(&t->op, key, step);
}

/* ---- add ---- */

/* A publisher's name is a label of the operator's choice: [A-Za-z0-9][A-Za-z0-9._-]*. */
static bool is_label(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > REGISTRY_PUBLISHER_MAX || !isalnum((unsigned char)*text))
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("._-", *text))
            return false;
    return true;
}

static bool is_pattern(const char *text)
{
    return *text && strlen(text) <= REGISTRY_NAMES_MAX &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_*,")] == '\0';
}

static const struct {
    const char *name, *is;
} reserved[] = {{SECRET_PUBLISHER, "this host's own key (PLUGIN_SECRET_KEY)"},
                {REGISTRY_NOBODY, "whoever does not sign, in development mode"}};

static int check(struct trust_op *t)
{
    struct error *err = &t->op.error;
    if (!is_label(t->publisher))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "\"%.64s\" is no publisher's name: letters, digits, '.', '_' and '-', %d at most",
                         t->publisher, REGISTRY_PUBLISHER_MAX);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(t->publisher, reserved[i].name) == 0)
            return error_set(err, MOAT_E_BAD_USAGE, "%s stands for %s: choose another name", reserved[i].name,
                             reserved[i].is);
    if (t->names && !is_pattern(t->names))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "\"%.64s\" is no pattern of plugin names, such as acme_* or a,b_*: %d characters at most",
                         t->names, REGISTRY_NAMES_MAX);
    return key_parse_public(t->text, strlen(t->text), &t->key, err);
}

static void add(struct op *op, struct job *job)
{
    struct trust_op *t = (struct trust_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = check(t);
    struct registry_command c = {.verb = REGISTRY_TRUST_ADD,
                                 .trust_add = {.publisher = t->publisher,
                                               .names = t->names,
                                               .id = t->key.id,
                                               .bytes = t->key.bytes,
                                               .algorithm = (int)t->key.algorithm}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    struct registry_key known;
    if (rc == 0)
        rc = registry_find_key(job->reader, t->key.id, &known, &op->error);
    if (rc > 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "publisher", known.publisher);
        tell_text(&op->result, "names", known.names);
        tell_hex(&op->result, "key_id", t->key.id, sizeof t->key.id);
        tell_text(&op->result, "algorithm", algorithm_name(t->key.algorithm));
        tell_close(&op->result, '}');
    }
    op_end(op, rc < 0 ? rc : 0);
}

void service_trust_add(struct service *s, const char *publisher, const char *pem, const char *names_or_null,
                       service_done done, void *context)
{
    begin(s, publisher, names_or_null, pem, NULL, add, done, context);
}

/* ---- list ---- */

struct listing {
    struct buf *out;
    const struct secrets *secrets;
    bool development;
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
};

static const char *key_status(const struct secrets *secrets, bool development, const struct registry_key *k)
{
    if (k->revoked_at)
        return "revoked";
    if (k->algorithm == ALGORITHM_NONE)
        return development ? "accepted" : "refused";
    if (k->algorithm != ALGORITHM_HMAC_SHA256)
        return "trusted";
    const struct signing_key *secret = secrets_find(secrets, k->id);
    return !secret ? "not_given" : secret == secrets->key ? "signs" : "verifies";
}

/* Keys come in the order of their publishers. */
static bool tell_key(void *context, const struct registry_key *k)
{
    struct listing *l = context;
    if (strcmp(l->publisher, k->publisher) != 0) {
        if (l->publisher[0]) {
            tell_close(l->out, ']');
            tell_close(l->out, '}');
        }
        snprintf(l->publisher, sizeof l->publisher, "%s", k->publisher);
        tell_open(l->out, NULL, '{');
        tell_text(l->out, "name", k->publisher);
        tell_text(l->out, "names", k->names);
        tell_open(l->out, "keys", '[');
    }
    tell_open(l->out, NULL, '{');
    tell_hex(l->out, "id", k->id, sizeof k->id);
    tell_text(l->out, "algorithm", algorithm_name((enum algorithm)k->algorithm));
    tell_text(l->out, "status", key_status(l->secrets, l->development, k));
    tell_flag(l->out, "revoked", k->revoked_at != 0);
    tell_seconds(l->out, "added_at", k->added_at);
    tell_seconds(l->out, "revoked_at", k->revoked_at);
    tell_close(l->out, '}');
    return true;
}

static void list(struct op *op, struct job *job)
{
    struct listing l = {.out = &op->result, .secrets = op->s->secrets, .development = trust_in_development(op->s)};
    tell_open(l.out, NULL, '{');
    tell_open(l.out, "publishers", '[');
    int rc = registry_each_key(job->reader, NULL, tell_key, &l, &op->error);
    if (l.publisher[0]) {
        tell_close(l.out, ']');
        tell_close(l.out, '}');
    }
    tell_close(l.out, ']');
    tell_close(l.out, '}');
    op_end(op, rc);
}

void service_trust_list(struct service *s, service_done done, void *context)
{
    begin(s, NULL, NULL, NULL, NULL, list, done, context);
}

/* ---- revoke ---- */

struct affected {
    char (*names)[REGISTRY_NAME_MAX + 1];
    size_t count, cap;
    bool failed;
};

/* The current version is signed by a key that is revoked by now. */
static bool note_affected(void *context, const struct registry_plugin *p, const struct registry_version *v,
                          const char *manifest, size_t manifest_len)
{
    struct affected *a = context;
    if (!v->key_revoked)
        return true;
    if (a->count == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 16;
        void *names = realloc(a->names, cap * sizeof *a->names);
        if (!names) {
            a->failed = true;
            return false;
        }
        a->names = names;
        a->cap = cap;
    }
    memcpy(a->names[a->count++], p->name, sizeof p->name);
    return true;
}

static int kill_affected(struct op *op, struct job *job, struct affected *a)
{
    struct registry_filter every = {.active = -1};
    int rc = registry_each_plugin(job->reader, &every, note_affected, a, &op->error);
    struct waits *w = rc < 0 || a->failed ? NULL : waits_new(a->count);
    if (rc == 0 && !w)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "the key is revoked, but no memory to stop its plugins");
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < a->count; i++) {
        struct plan p = {.gate = MOAT_E_KEY_REVOKED};
        snprintf(p.message, sizeof p.message, "the key that signed %s is revoked", a->names[i]);
        plan_set(op->s, a->names[i], &p, LOADER_REVOKE, waits_done, waits_add(w, a->names[i]));
    }
    return waits_finish(w, WAIT_DEAD_NS, &op->error);
}

static void revoke(struct op *op, struct job *job)
{
    struct trust_op *t = (struct trust_op *)op;
    struct affected a = {0};
    uint8_t id[KEY_ID_LEN];
    int rc = op->code;
    if (rc == 0 && t->text && !text_unhex(id, sizeof id, t->text))
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "\"%.64s\" is no key id: 64 hex digits, see `moat trust list`",
                       t->text);
    struct registry_command c = {.verb = REGISTRY_TRUST_REVOKE,
                                 .trust_revoke = {.publisher = t->publisher, .key = t->text ? id : NULL}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        rc = kill_affected(op, job, &a);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "publisher", t->publisher);
        tell_text(&op->result, "key_id", t->text);
        tell_open(&op->result, "stopped", '[');
        for (size_t i = 0; i < a.count; i++)
            tell_text(&op->result, NULL, a.names[i]);
        tell_close(&op->result, ']');
        tell_close(&op->result, '}');
    }
    free(a.names);
    op_end(op, rc);
}

void service_trust_revoke(struct service *s, const char *publisher, const char *key_id_or_null, service_done done,
                          void *context)
{
    begin(s, publisher, NULL, key_id_or_null, JOBS_ALL, revoke, done, context);
}
