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

/* ---- what a change of trust does to what runs ---- */

struct version {
    char name[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1];
    bool current;
};
struct affected {
    struct version *list;
    size_t count, cap;
    bool failed;
};

static bool note_version(void *context, const char *name, const char *version, bool current)
{
    struct affected *a = context;
    if (a->count == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 16;
        void *list = realloc(a->list, cap * sizeof *a->list);
        if (!list) {
            a->failed = true;
            return false;
        }
        a->list = list;
        a->cap = cap;
    }
    struct version *v = &a->list[a->count++];
    *v = (struct version){.current = current};
    text_copy(v->name, sizeof v->name, name);
    text_copy(v->version, sizeof v->version, version);
    return true;
}

/* Every version that this publisher, or this key, has signed. */
static int find_affected(struct op *op, struct job *job, const uint8_t *key, struct affected *a)
{
    int rc = registry_each_signed(job->reader, ((struct trust_op *)op)->publisher, key, note_version, a, &op->error);
    if (rc == 0 && a->failed)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "the trust is changed, but no memory to stop its plugins");
    return rc;
}

/* The gate of a plugin whose current version may not run any more: what ran is dead when the wait is over. What still
 * drains of a version that was current before dies alone. */
static void stop_version(struct op *op, struct waits *w, const struct version *v, enum moat_code code,
                         const char *message)
{
    struct plan p = {.gate = code};
    struct loader *l = op->s->loader;
    if (!v->current && loader_plugin(l, v->name)) {
        loader_end(l, v->name, v->version, waits_done, waits_add(w, v->name));
    } else if (v->current) {
        snprintf(p.message, sizeof p.message, "%s", message);
        plan_set(op->s, v->name, &p, LOADER_REVOKE, waits_done, waits_add(w, v->name));
    }
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

/* Elements between commas, none of them empty. */
static bool is_pattern(const char *text)
{
    size_t n = strlen(text);
    return n && n <= REGISTRY_NAMES_MAX && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_*,")] == '\0' &&
           *text != ',' && text[n - 1] != ',' && !strstr(text, ",,");
}

static int check_pattern(const char *names, struct error *err)
{
    if (!names || is_pattern(names))
        return 0;
    return error_set(err, MOAT_E_BAD_USAGE,
                     "\"%.64s\" is no pattern of plugin names, such as acme_* or a,b_*: %d characters at most", names,
                     REGISTRY_NAMES_MAX);
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
    int rc = check_pattern(t->names, err);
    return rc < 0 ? rc : key_parse_public(t->text, strlen(t->text), &t->key, err);
}

/* Names that a publisher may publish no more are closed, and what ran of them is dead; those that it may again are
 * open. Holds every name's key. */
static int names_apply(struct op *op, struct job *job)
{
    struct affected a = {0};
    struct trust_op *t = (struct trust_op *)op;
    int rc = find_affected(op, job, NULL, &a);
    struct waits *w = rc < 0 ? NULL : waits_new(a.count);
    if (rc == 0 && !w)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory to stop the plugins of %s", t->publisher);
    for (size_t i = 0; i < a.count && rc == 0; i++) {
        char message[ERROR_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s may publish \"%s\", not \"%s\"", t->publisher, t->names, a.list[i].name);
        if (!trust_name_matches(t->names, a.list[i].name))
            stop_version(op, w, &a.list[i], MOAT_E_NAME_NOT_ALLOWED, message);
        else if (a.list[i].current && !plugin_is_running(op->s, a.list[i].name))
            plan_define(job, a.list[i].name);
    }
    if (w)
        rc = waits_finish(w, WAIT_DEAD_NS, &op->error);
    free(a.list);
    return rc;
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
    if (rc == 0 && t->names)
        rc = names_apply(op, job);
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
    begin(s, publisher, names_or_null, pem, names_or_null ? JOBS_ALL : NULL, add, done, context);
}

/* ---- names ---- */

static void names(struct op *op, struct job *job)
{
    struct trust_op *t = (struct trust_op *)op;
    struct registry_command c = {.verb = REGISTRY_TRUST_NAMES,
                                 .trust_names = {.publisher = t->publisher, .names = t->names}};
    int rc = op->code;
    if (rc == 0)
        rc = check_pattern(t->names, &op->error);
    if (rc == 0 && strcmp(t->publisher, REGISTRY_NOBODY) == 0)
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "unsigned packages have no publisher whose names could be told");
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        rc = names_apply(op, job);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "publisher", t->publisher);
    tell_text(&op->result, "names", t->names);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_trust_names(struct service *s, const char *publisher, const char *pattern, service_done done,
                         void *context)
{
    begin(s, publisher, pattern, NULL, JOBS_ALL, names, done, context);
}

/* ---- transfer ---- */

struct looked_up {
    bool found, matches;
    const char *publisher, *plugin;
};

static bool match_publisher(void *context, const struct registry_publisher *p)
{
    struct looked_up *l = context;
    if (strcmp(p->name, l->publisher) != 0)
        return true;
    l->found = true;
    l->matches = trust_name_matches(p->names, l->plugin);
    return false;
}

/* A name is not given to who could not publish it. */
static int check_heir(struct op *op, struct job *job, const char *plugin)
{
    struct trust_op *t = (struct trust_op *)op;
    struct looked_up l = {.publisher = t->publisher, .plugin = plugin};
    if (strcmp(t->publisher, REGISTRY_NOBODY) == 0)
        return error_set(&op->error, MOAT_E_BAD_USAGE, "unsigned packages own no name");
    struct registry_plugin owned;
    int rc = registry_find_plugin(job->reader, plugin, &owned, &op->error);
    if (rc == 0)
        return error_set(&op->error, MOAT_E_NO_SUCH_PLUGIN, "nobody owns the name `%s`", plugin);
    if (rc > 0)
        rc = registry_each_publisher(job->reader, match_publisher, &l, &op->error);
    if (rc == 0 && !l.found)
        return error_set(&op->error, MOAT_E_NOT_FOUND, "no publisher `%s` is trusted", t->publisher);
    if (rc == 0 && !l.matches)
        return error_set(&op->error, MOAT_E_NAME_NOT_ALLOWED,
                         "%s may not publish %s: `moat trust names %s PATTERN` allows it first", t->publisher, plugin,
                         t->publisher);
    return rc;
}

static void transfer(struct op *op, struct job *job)
{
    struct trust_op *t = (struct trust_op *)op;
    struct target target;
    struct registry_command c = {.verb = REGISTRY_TRANSFER, .transfer = {.publisher = t->publisher}};
    int rc = op->code;
    if (rc == 0)
        rc = target_parse(t->text, false, &target, &op->error);
    if (rc == 0)
        rc = check_heir(op, job, target.name);
    c.transfer.name = target.name;
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "name", target.name);
        tell_text(&op->result, "publisher", t->publisher);
        tell_text(&op->result, "before", c.transfer.before);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

void service_trust_transfer(struct service *s, const char *plugin, const char *publisher, service_done done,
                            void *context)
{
    begin(s, publisher, NULL, plugin, JOBS_ALL, transfer, done, context);
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

static int kill_affected(struct op *op, const struct affected *a)
{
    struct waits *w = waits_new(a->count);
    if (!w)
        return error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "the key is revoked, but no memory to stop its plugins");
    for (size_t i = 0; i < a->count; i++) {
        char message[ERROR_MESSAGE_MAX];
        snprintf(message, sizeof message, "the key that signed %s %s is revoked", a->list[i].name, a->list[i].version);
        stop_version(op, w, &a->list[i], MOAT_E_KEY_REVOKED, message);
    }
    return waits_finish(w, WAIT_DEAD_NS, &op->error);
}

static void tell_revoked(struct op *op, const struct affected *a)
{
    struct trust_op *t = (struct trust_op *)op;
    struct buf *out = &op->result;
    tell_open(out, NULL, '{');
    tell_text(out, "publisher", t->publisher);
    tell_text(out, "key_id", t->text);
    tell_open(out, "stopped", '[');
    for (size_t i = 0; i < a->count; i++)
        if (a->list[i].current)
            tell_text(out, NULL, a->list[i].name);
    tell_close(out, ']');
    tell_open(out, "versions", '[');
    for (size_t i = 0; i < a->count; i++) {
        char both[REGISTRY_NAME_MAX + REGISTRY_VERSION_MAX + 2];
        snprintf(both, sizeof both, "%s@%s", a->list[i].name, a->list[i].version);
        tell_text(out, NULL, both);
    }
    tell_close(out, ']');
    tell_close(out, '}');
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
    if (rc == 0 && strcmp(t->publisher, REGISTRY_NOBODY) == 0)
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "unsigned packages have no key: `moat secure` refuses them");
    const uint8_t *key = t->text ? id : NULL;
    struct registry_command c = {.verb = REGISTRY_TRUST_REVOKE,
                                 .trust_revoke = {.publisher = t->publisher, .key = key}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        rc = find_affected(op, job, key, &a);
    if (rc == 0)
        rc = kill_affected(op, &a);
    if (rc == 0)
        tell_revoked(op, &a);
    free(a.list);
    op_end(op, rc);
}

void service_trust_revoke(struct service *s, const char *publisher, const char *key_id_or_null, service_done done,
                          void *context)
{
    begin(s, publisher, NULL, key_id_or_null, JOBS_ALL, revoke, done, context);
}
