/* The audit trail as it is asked for: lists, verification, heads, signatures, rotation. */
#include "service/audit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000
#define AUDIT_KEY "(audit)" /* of operations that change the trail: a name that no plugin can have */

struct audit_op {
    struct op op;
    char actor[REGISTRY_ACTOR_MAX + 1], action[64], subject[REGISTRY_SUBJECT_MAX + 1], outcome[32];
    struct registry_audit_filter filter;
    uint64_t limit, count, last, keep;
    bool more, anchored;
    struct registry_audit_head head; /* an anchor, or what is signed */
    bool wants_key;
    uint8_t key[32], signature[64];
    uint64_t signed_upto; /* by `key` */
    unsigned signatures, faults;
};

/* ---- list ---- */

static bool tell_record(void *context, const struct registry_audit_record *e)
{
    struct audit_op *a = context;
    struct buf *out = &a->op.result;
    if (a->count == a->limit) {
        a->more = true;
        return false;
    }
    a->count++;
    a->last = e->seq;
    tell_open(out, NULL, '{');
    tell_number(out, "seq", e->seq);
    tell_time(out, "time", e->time_ms * NS_PER_MS);
    tell_text(out, "actor", e->actor);
    tell_text(out, "action", e->action);
    tell_text(out, "subject", e->subject);
    tell_text(out, "outcome", e->outcome);
    tell_number(out, "count", e->count);
    tell_raw(out, "detail", *e->detail ? e->detail : "{}");
    tell_text(out, "call", *e->call ? e->call : NULL);
    tell_hex(out, "hash", e->hash, 32);
    tell_close(out, '}');
    return !out->failed;
}

static void list(struct op *op, struct job *job)
{
    struct audit_op *a = (struct audit_op *)op;
    int rc = op->code;
    /* Refusals of the last second are among what is asked for. */
    if (rc == 0)
        rc = registry_flush(op->s->registry, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "records", '[');
    if (rc == 0)
        rc = registry_each_audit(job->reader, &a->filter, tell_record, a, &op->error);
    tell_close(&op->result, ']');
    if (a->more)
        tell_number(&op->result, "next", a->last);
    else
        tell_raw(&op->result, "next", NULL);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

/* Copies an asked-for text, NULL for none; false: longer than any record's. */
static bool take(const char *text, char *room, size_t size, const char **out)
{
    *out = text ? room : NULL;
    return !text || text_copy(room, size, text);
}

static int take_filter(struct audit_op *a, const struct service_audit *f, struct error *err)
{
    uint64_t span, now = clock_wall_ns();
    bool fits = take(f->actor, a->actor, sizeof a->actor, &a->filter.actor) &&
                take(f->action, a->action, sizeof a->action, &a->filter.action) &&
                take(f->subject, a->subject, sizeof a->subject, &a->filter.subject) &&
                take(f->outcome, a->outcome, sizeof a->outcome, &a->filter.outcome);
    if (!fits)
        return error_set(err, MOAT_E_BAD_REQUEST, "a filter is longer than what the trail holds");
    if (f->since && !clock_parse_span(f->since, &span))
        return error_set(err, MOAT_E_BAD_REQUEST, "since is not " CLOCK_SPAN_FORM " 90s, 10m or 7d");
    if (f->since)
        a->filter.since_ms = span < now ? (now - span) / NS_PER_MS : 0;
    a->filter.after = f->after;
    a->filter.before = f->before;
    a->filter.newest_first = !f->after;
    a->limit = f->limit ? f->limit : LIMIT_DEFAULT;
    if (a->limit > LIMIT_MAX)
        a->limit = LIMIT_MAX;
    return 0;
}

void service_audit(struct service *s, const struct service_audit *f, service_done done, void *context)
{
    struct audit_op *a = op_new(s, sizeof *a, done, context);
    if (!a)
        return;
    a->op.code = take_filter(a, f, &a->op.error);
    op_begin(&a->op, NULL, list);
}

/* ---- head ---- */

static void tell_head(struct buf *out, const char *key, const struct registry_audit_head *head)
{
    tell_open(out, key, '{');
    tell_number(out, "count", head->count);
    tell_hex(out, "hash", head->hash, 32);
    tell_close(out, '}');
}

static void head(struct op *op, struct job *job)
{
    struct registry_audit_head now;
    char identity[33];
    int rc = registry_flush(op->s->registry, &op->error);
    if (rc == 0)
        rc = registry_audit_head(job->reader, &now, &op->error);
    if (rc == 0)
        rc = registry_identity(job->reader, identity, &op->error);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "registry", identity);
        tell_number(&op->result, "count", now.count);
        tell_hex(&op->result, "hash", now.hash, 32);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

void service_audit_head(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_begin(op, NULL, head);
}

/* ---- verify ---- */

static bool is_good_signature(struct registry_reader *reader, const char *identity,
                              const struct registry_audit_signature *s)
{
    char text[AUDIT_SIGNED_MAX];
    uint8_t known[32];
    struct public_key key = {.algorithm = ALGORITHM_ED25519};
    memcpy(key.bytes, s->key, 32);
    size_t len = audit_signed_text(identity, &s->head, text);
    if (!key_verify(&key, NULL, text, len, s->signature))
        return false;
    /* A head whose record was rotated out is looked for in its segment. */
    int found = registry_audit_find_hash(reader, s->head.count, known, NULL);
    return found == 0 || (found > 0 && memcmp(known, s->head.hash, 32) == 0);
}

struct signatures {
    struct audit_op *a;
    struct job *job;
    char identity[33];
    uint64_t first_bad;
};

static bool check_signature(void *context, const struct registry_audit_signature *s)
{
    struct signatures *c = context;
    c->a->signatures++;
    if (!is_good_signature(c->job->reader, c->identity, s)) {
        c->a->faults++;
        c->first_bad = c->first_bad ? c->first_bad : s->head.count;
    } else if (c->a->wants_key && memcmp(s->key, c->a->key, 32) == 0) {
        c->a->signed_upto = s->head.count;
    }
    return true;
}

static int check_signatures(struct audit_op *a, struct job *job, struct registry_audit_check *check, struct error *err)
{
    struct signatures c = {.a = a, .job = job};
    int rc = registry_identity(job->reader, c.identity, err);
    if (rc == 0)
        rc = registry_each_audit_signature(job->reader, check_signature, &c, err);
    if (rc < 0 || check->problem[0])
        return rc;
    if (a->faults) {
        check->bad = c.first_bad;
        snprintf(check->problem, sizeof check->problem, "the signed head of record %llu is not the trail's",
                 (unsigned long long)c.first_bad);
    } else if (a->wants_key && !a->signed_upto) {
        snprintf(check->problem, sizeof check->problem, "no head is signed with that key");
    }
    return 0;
}

static int is_segment(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 6 && strcmp(entry->d_name + len - 6, ".jsonl") == 0;
}

/* A segment must begin and end where the registry remembers that a rotation did. */
static void meet_root(struct registry_reader *reader, struct segment_check *c)
{
    uint8_t known[32];
    const struct registry_audit_head *ends[] = {&c->from, &c->upto};
    for (size_t i = 0; i < 2 && !c->problem[0]; i++) {
        int found = registry_audit_find_root(reader, ends[i]->count, known, NULL);
        if (found <= 0 || memcmp(known, ends[i]->hash, 32) != 0) {
            c->bad = ends[i]->count;
            snprintf(c->problem, sizeof c->problem, "it does not %s where the trail was rotated", i ? "end" : "begin");
        }
    }
}

static int tell_segment(struct audit_op *a, struct job *job, const char *dir, const char *name, bool *whole,
                        struct error *err)
{
    char path[PATH_MAX];
    struct segment_check c;
    struct buf *out = &a->op.result;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", dir);
    int rc = segment_check_file(path, a->anchored ? &a->head : NULL, &c, err);
    if (rc < 0)
        return rc;
    if (!c.problem[0])
        meet_root(job->reader, &c);
    if (c.anchored)
        a->anchored = false; /* met here: the kept part need not have it */
    tell_open(out, NULL, '{');
    tell_text(out, "file", name);
    tell_number(out, "from", c.from.count + 1);
    tell_number(out, "upto", c.upto.count);
    tell_flag(out, "valid", !c.problem[0]);
    tell_text(out, "problem", c.problem[0] ? c.problem : NULL);
    tell_close(out, '}');
    *whole = *whole && !c.problem[0];
    return 0;
}

static int segments_dir(const struct service *s, char out[PATH_MAX], struct error *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s/" AUDIT_SEGMENTS, s->home.registry_dir) < PATH_MAX)
        return 0;
    return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", s->home.registry_dir);
}

/* What a rotation that was interrupted has left begins where the kept part does. */
static bool is_leftover(const char *name, const struct registry_audit_head *root)
{
    return strtoull(name, NULL, 10) > root->count;
}

static int tell_segments(struct audit_op *a, struct job *job, bool *whole, struct error *err)
{
    char dir[PATH_MAX];
    struct dirent **list = NULL;
    struct registry_audit_head root;
    int rc = segments_dir(a->op.s, dir, err);
    if (rc == 0)
        rc = registry_audit_root(job->reader, &root, err);
    int n = rc == 0 ? scandir(dir, &list, is_segment, alphasort) : 0; /* -1: nothing was ever rotated */
    tell_open(&a->op.result, "segments", '[');
    for (int i = 0; i < n; i++) {
        if (rc == 0 && !is_leftover(list[i]->d_name, &root))
            rc = tell_segment(a, job, dir, list[i]->d_name, whole, err);
        free(list[i]);
    }
    free(list);
    tell_close(&a->op.result, ']');
    return rc;
}

static void tell_check(struct audit_op *a, const struct registry_audit_check *check, bool whole)
{
    struct buf *out = &a->op.result;
    tell_flag(out, "valid", whole && !check->problem[0]);
    tell_number(out, "records", check->records);
    if (check->bad)
        tell_number(out, "bad", check->bad);
    else
        tell_raw(out, "bad", NULL);
    tell_text(out, "problem", check->problem[0] ? check->problem : whole ? NULL : "a segment is not whole");
    tell_head(out, "head", &check->head);
    tell_number(out, "clock_went_back", check->clock_back);
    tell_number(out, "signatures", a->signatures);
    if (a->wants_key)
        tell_number(out, "signed_upto", a->signed_upto);
}

static void verify(struct op *op, struct job *job)
{
    struct audit_op *a = (struct audit_op *)op;
    struct registry_audit_check check = {0};
    bool whole = true;
    int rc = op->code;
    if (rc == 0)
        rc = registry_flush(op->s->registry, &op->error);
    tell_open(&op->result, NULL, '{');
    if (rc == 0)
        rc = tell_segments(a, job, &whole, &op->error);
    if (rc == 0)
        rc = registry_audit_verify(job->reader, a->anchored ? &a->head : NULL, &check, &op->error);
    if (rc == 0)
        rc = check_signatures(a, job, &check, &op->error);
    tell_check(a, &check, whole);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

/* "COUNT:HASH" */
static int parse_anchor(const char *text, struct registry_audit_head *out, struct error *err)
{
    char *end;
    uint64_t count = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != ':' || !text_unhex(out->hash, 32, end + 1))
        return error_set(err, MOAT_E_BAD_REQUEST, "an anchor is COUNT:HASH, as `moat audit head` prints it");
    out->count = count;
    return 0;
}

void service_audit_verify(struct service *s, const char *anchor_or_null, const char *key_or_null, service_done done,
                          void *context)
{
    struct audit_op *a = op_new(s, sizeof *a, done, context);
    if (!a)
        return;
    a->anchored = anchor_or_null != NULL;
    a->wants_key = key_or_null != NULL;
    if (anchor_or_null)
        a->op.code = parse_anchor(anchor_or_null, &a->head, &a->op.error);
    if (a->op.code == 0 && key_or_null && !text_unhex(a->key, 32, key_or_null))
        a->op.code = error_set(&a->op.error, MOAT_E_BAD_REQUEST, "key is not a public key's 32 bytes as hex");
    op_begin(&a->op, NULL, verify);
}

/* ---- sign ---- */

static void sign(struct op *op, struct job *job)
{
    struct audit_op *a = (struct audit_op *)op;
    struct registry_audit_signature s = {.head = a->head};
    char identity[33];
    memcpy(s.key, a->key, 32);
    memcpy(s.signature, a->signature, 64);
    int rc = op->code;
    if (rc == 0)
        rc = registry_identity(job->reader, identity, &op->error);
    if (rc == 0 && !is_good_signature(job->reader, identity, &s))
        rc = error_set(&op->error, MOAT_E_BAD_SIGNATURE, "the signature is not of this trail's record %llu",
                       (unsigned long long)a->head.count);
    struct registry_command c = {
        .verb = REGISTRY_AUDIT_SIGN,
        .audit_sign = {.count = a->head.count, .hash = a->head.hash, .key = a->key, .signature = a->signature}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        tell_head(&op->result, NULL, &a->head);
    op_end(op, rc);
}

void service_audit_sign(struct service *s, const char *head, const char *key, const char *signature, service_done done,
                        void *context)
{
    struct audit_op *a = op_new(s, sizeof *a, done, context);
    if (!a)
        return;
    a->op.code = parse_anchor(head, &a->head, &a->op.error);
    if (a->op.code == 0 && (!text_unhex(a->key, 32, key) || !text_unhex(a->signature, 64, signature)))
        a->op.code = error_set(&a->op.error, MOAT_E_BAD_REQUEST, "key and signature are 32 and 64 bytes as hex");
    op_begin(&a->op, AUDIT_KEY, sign);
}

/* ---- rotate ---- */

static void remove_leftovers(const char *dir, const struct registry_audit_head *root)
{
    char path[PATH_MAX];
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_segment, alphasort);
    for (int i = 0; i < n; i++) {
        if (is_leftover(list[i]->d_name, root) &&
            (size_t)snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name) < sizeof path)
            unlink(path);
        free(list[i]);
    }
    free(list);
}

static int rotate_to(struct audit_op *a, struct job *job, const struct registry_audit_head *root, uint64_t upto,
                     struct error *err)
{
    char dir[PATH_MAX], name[64];
    struct registry_audit_head last = {0};
    int rc = segments_dir(a->op.s, dir, err);
    if (rc < 0)
        return rc;
    remove_leftovers(dir, root);
    rc = segment_write(job->reader, dir, upto, name, &last, err);
    struct registry_command c = {.verb = REGISTRY_AUDIT_ROTATE,
                                 .audit_rotate = {.upto = last.count, .hash = last.hash, .file = name}};
    if (rc == 0)
        rc = op_write(&a->op, &c, err);
    if (rc < 0)
        return rc;
    tell_open(&a->op.result, NULL, '{');
    tell_text(&a->op.result, "file", name);
    tell_number(&a->op.result, "upto", last.count);
    tell_hex(&a->op.result, "hash", last.hash, 32);
    tell_close(&a->op.result, '}');
    return 0;
}

/* What leaves must be whole: afterwards it can only be checked against its file. */
static void rotate(struct op *op, struct job *job)
{
    struct audit_op *a = (struct audit_op *)op;
    struct registry_audit_check check;
    struct registry_audit_head root;
    int rc = registry_flush(op->s->registry, &op->error);
    if (rc == 0)
        rc = registry_audit_verify(job->reader, NULL, &check, &op->error);
    if (rc == 0)
        rc = registry_audit_root(job->reader, &root, &op->error);
    if (rc == 0 && check.problem[0])
        rc = error_set(&op->error, MOAT_E_WRONG_STATE, "%s: `moat audit verify` tells more", check.problem);
    uint64_t upto = rc == 0 && check.head.count > a->keep ? check.head.count - a->keep : 0;
    if (rc == 0 && upto <= root.count)
        rc = error_set(&op->error, MOAT_E_WRONG_STATE, "the trail has no more than %llu records to keep",
                       (unsigned long long)(check.head.count - root.count));
    if (rc == 0)
        rc = rotate_to(a, job, &root, upto, &op->error);
    op_end(op, rc);
}

void service_audit_rotate(struct service *s, uint64_t keep, service_done done, void *context)
{
    struct audit_op *a = op_new(s, sizeof *a, done, context);
    if (!a)
        return;
    a->keep = keep;
    op_begin(&a->op, AUDIT_KEY, rotate);
}

/* ---- refusals ---- */

void service_note_refusal(struct service *s, const char *actor, const char *call, const char *action,
                          const char *subject, enum moat_code code)
{
    struct registry_refusal refusal = {
        .actor = actor, .call = call, .action = action, .subject = subject, .code = code};
    registry_refuse(s->registry, &refusal);
}
