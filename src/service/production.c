/* The checklist of a deployment: what works and yet should not stay so where others depend on it.  Told from what is
 * recorded; nothing is changed, and no package is read (that is `check`). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

#define S_PER_DAY (24ull * 60 * 60)
#define KEY_DAYS 365
#define GRANT_DAYS 30
#define BACKUP_HOURS 24
#define WEEK 7
#define ERRORS_LEAST 10 /* in a week: fewer say nothing */

struct production_op {
    struct op op;
    char (*names)[REGISTRY_NAME_MAX + 1]; /* of what is installed */
    size_t nnames, cap;
    const char *check; /* the one that is made */
    const char *name;  /* the plugin that is looked at */
    uint64_t now;      /* seconds since 1970 */
    unsigned faults, wrong;
    bool short_of_memory;
    uint64_t calls[2], errors[2]; /* the last week, the one before */
    uint64_t at;                  /* a time that was looked for, seconds; 0: none */
};

static void clear(struct op *op)
{
    free(((struct production_op *)op)->names);
}

static void line(struct production_op *p, bool good, const char *cure, const char *detail)
{
    struct buf *out = &p->op.result;
    p->faults += !good;
    p->wrong += !good;
    tell_open(out, NULL, '{');
    tell_text(out, "check", p->check);
    tell_flag(out, "good", good);
    tell_text(out, "detail", detail);
    tell_text(out, "cure", good ? NULL : cure);
    tell_close(out, '}');
}

__attribute__((format(printf, 3, 4))) static void wrong(struct production_op *p, const char *cure, const char *format,
                                                        ...)
{
    char detail[PATH_MAX + 200];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    line(p, false, cure, detail);
}

static void begin(struct production_op *p, const char *check)
{
    p->check = check;
    p->wrong = 0;
}

/* The one line of a check that found nothing. */
static void end(struct production_op *p, const char *detail)
{
    if (!p->wrong)
        line(p, true, NULL, detail);
}

/* ---- the host ---- */

static int check_security(struct production_op *p, struct job *job, struct error *err)
{
    (void)err;
    begin(p, "security");
    if (trust_in_development(job->s))
        wrong(p, "`moat secure`", "this home is in development mode: unsigned packages run");
    end(p, "only signed packages run");
    return 0;
}

static int check_walls(struct production_op *p, struct job *job, struct error *err)
{
    (void)err;
    begin(p, "walls");
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (job->s->settings.accept_missing_layers >> i & 1)
            wrong(p, "`moat settings set accept_missing_layers '[]'`, and `moat doctor` tells how to get the layer",
                  "%s may be missing", wall_layer_name((enum wall_layer)i));
    end(p, "no layer may be missing");
    return 0;
}

static int check_modes(struct production_op *p, struct job *job, struct error *err)
{
    const struct home *home = &job->s->home;
    const char *const dirs[] = {home->dir, home->registry_dir, home->plugin_dir};
    (void)err;
    begin(p, "file modes");
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        struct stat st;
        if (stat(dirs[i], &st) < 0)
            wrong(p, "look whether it is there", "%s cannot be looked at", dirs[i]);
        else if (st.st_mode & 077)
            wrong(p, "`chmod go= DIRECTORY`", "%s is open to others than its owner (mode %04o)", dirs[i],
                  (unsigned)(st.st_mode & 07777));
    }
    end(p, "the home's directories, with all secrets in them, are their owner's alone");
    return 0;
}

/* ---- who may ask, and sign ---- */

static bool look_at_key(void *context, const struct registry_key *k)
{
    struct production_op *p = context;
    uint64_t days = p->now > k->added_at ? (p->now - k->added_at) / S_PER_DAY : 0;
    if (k->revoked_at || trust_is_unsigned(k->id))
        return true;
    if (k->algorithm != ALGORITHM_ED25519 && k->algorithm != ALGORITHM_HMAC_SHA256)
        wrong(p, "`moat trust revoke PUBLISHER KEYID`", "a key of %s has an algorithm that is not known", k->publisher);
    else if (days > KEY_DAYS)
        wrong(p, "`moat keygen`, `moat trust add` the new key, sign anew, `moat trust revoke` the old one",
              "a key of %s is trusted for %llu days", k->publisher, (unsigned long long)days);
    return true;
}

static int check_keys(struct production_op *p, struct job *job, struct error *err)
{
    begin(p, "keys");
    int rc = registry_each_key(job->reader, NULL, look_at_key, p, err);
    if (rc == 0)
        end(p, "every trusted key has 256 bits and is younger than a year");
    return rc;
}

/* The same with an end: to be copied as it stands. */
static void put_cure(struct buf *out, const struct registry_token *t)
{
    buf_puts(out, "`moat token create");
    for (const char *word = t->scopes; *word;) {
        size_t len = strcspn(word, " ");
        buf_printf(out, " --scope '%.*s'", (int)len, word);
        word += len + (word[len] == ' ');
    }
    buf_printf(out, " --for 90d`, hand that one out, then `moat token revoke %lld`", (long long)t->id);
}

static bool look_at_token(void *context, const struct registry_token *t)
{
    struct production_op *p = context;
    buf_auto cure = BUF_INIT(2 * REGISTRY_SCOPES_MAX + 4096);
    if (t->revoked_at || t->expires_at)
        return true;
    put_cure(&cure, t);
    wrong(p, buf_text(&cure), "token %lld (%s) has no end", (long long)t->id, t->scopes);
    return true;
}

static int check_tokens(struct production_op *p, struct job *job, struct error *err)
{
    begin(p, "tokens");
    int rc = registry_each_token(job->reader, look_at_token, p, err);
    if (rc == 0)
        end(p, "every token has an end");
    return rc;
}

/* ---- plugins ---- */

static bool remember_name(void *context, const struct registry_plugin *plugin, const struct registry_version *v,
                          const char *manifest, size_t len)
{
    struct production_op *p = context;
    (void)v, (void)manifest, (void)len;
    if (p->nnames == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        void *more = realloc(p->names, cap * sizeof *p->names);
        if (!more) {
            p->short_of_memory = true;
            return false;
        }
        p->names = more;
        p->cap = cap;
    }
    text_copy(p->names[p->nnames++], sizeof *p->names, plugin->name);
    return true;
}

static int read_names(struct production_op *p, struct job *job, struct error *err)
{
    static const struct registry_filter all = {.active = -1};
    int rc = registry_each_plugin(job->reader, &all, remember_name, p, err);
    return p->short_of_memory ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the names of plugins") : rc;
}

static bool find_oldest_grant(void *context, const struct registry_decision *d)
{
    struct production_op *p = context;
    if (!d->refused && (!p->at || d->decided_at < p->at))
        p->at = d->decided_at;
    return true;
}

/* Calls are counted by plugin, not by grant: a plugin that nobody called used none of its grants. */
static int check_grants(struct production_op *p, struct job *job, struct error *err)
{
    begin(p, "grants");
    for (size_t i = 0; i < p->nnames; i++) {
        struct registry_counts n = {0};
        p->at = 0;
        int rc = registry_each_decision(job->reader, p->names[i], find_oldest_grant, p, err);
        if (rc == 0)
            rc = counters_read(job, p->names[i], NULL, &n, err);
        if (rc < 0)
            return rc;
        uint64_t since = p->now - GRANT_DAYS * S_PER_DAY;
        if (p->at && p->at < since && n.last_call_ms / 1000 < since)
            wrong(p, "`moat grants NAME`, then `moat revoke NAME GRANT`",
                  "%s was not called for %d days and keeps its grants", p->names[i], GRANT_DAYS);
    }
    end(p, "no plugin keeps grants without being called for 30 days (which grant a call used cannot be told)");
    return 0;
}

static bool add_day(void *context, const char *version, uint64_t day, const struct registry_counts *n)
{
    struct production_op *p = context;
    uint64_t today = p->now / S_PER_DAY;
    (void)version;
    if (day > today || today - day >= 2 * WEEK)
        return true;
    size_t which = (today - day) / WEEK;
    p->calls[which] += n->calls;
    p->errors[which] += n->errors;
    return true;
}

/* Is the share of errors more than half as high again as it was? */
static bool is_rising(const struct production_op *p)
{
    return p->errors[0] >= ERRORS_LEAST &&
           (double)p->errors[0] * (double)p->calls[1] * 2 > (double)p->errors[1] * (double)p->calls[0] * 3;
}

static int check_errors(struct production_op *p, struct job *job, struct error *err)
{
    begin(p, "errors");
    for (size_t i = 0; i < p->nnames; i++) {
        p->calls[0] = p->calls[1] = p->errors[0] = p->errors[1] = 0;
        int rc = registry_each_count(job->reader, p->names[i], NULL, p->now / S_PER_DAY - 2 * WEEK, add_day, p, err);
        if (rc < 0)
            return rc;
        if (p->calls[1] && is_rising(p))
            wrong(p, "`moat log NAME`, then `moat rollback NAME` or an update",
                  "%s: %llu of %llu calls failed in the last 7 days, %llu of %llu in the 7 before", p->names[i],
                  (unsigned long long)p->errors[0], (unsigned long long)p->calls[0], (unsigned long long)p->errors[1],
                  (unsigned long long)p->calls[1]);
    }
    end(p, "no plugin fails more often in the last 7 days than in the 7 before");
    return 0;
}

static bool look_at_version(void *context, const struct registry_version *v)
{
    struct production_op *p = context;
    if (v->state == REGISTRY_DAMAGED)
        wrong(p, "install the same package again", "%s %s is damaged", v->name, v->version);
    return true;
}

static int check_packages(struct production_op *p, struct job *job, struct error *err)
{
    begin(p, "packages");
    for (size_t i = 0; i < p->nnames; i++) {
        int rc = registry_each_version(job->reader, p->names[i], look_at_version, p, err);
        if (rc < 0)
            return rc;
    }
    end(p, "none is known to be damaged (`moat doctor --deep` reads each)");
    return 0;
}

/* ---- what is left when all else fails ---- */

static bool take_time(void *context, const struct registry_audit_record *record)
{
    ((struct production_op *)context)->at = record->time_ms / 1000;
    return false;
}

static int check_backup(struct production_op *p, struct job *job, struct error *err)
{
    static const struct registry_audit_filter backups = {
        .action = "registry.backup", .outcome = "ok", .newest_first = true};
    begin(p, "backup");
    p->at = 0;
    int rc = registry_each_audit(job->reader, &backups, take_time, p, err);
    if (rc < 0)
        return rc;
    uint64_t hours = p->now > p->at ? (p->now - p->at) / 3600 : 0;
    if (!p->at)
        wrong(p, "`moat backup FILE`, each day", "the audit trail has no backup");
    else if (hours >= BACKUP_HOURS)
        wrong(p, "`moat backup FILE`, each day", "the last one is %llu hours old", (unsigned long long)hours);
    end(p, "the last one is younger than a day");
    return 0;
}

/* ---- all of it ---- */

static void production(struct op *op, struct job *job)
{
    static int (*const checks[])(struct production_op * p, struct job * job, struct error * err) = {
        check_security, check_walls,  check_modes,    check_keys,   check_tokens,
        check_grants,   check_errors, check_packages, check_backup,
    };
    struct production_op *p = (struct production_op *)op;
    p->now = clock_wall_ns() / NS_PER_S;
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "lines", '[');
    int rc = registry_flush(job->s->registry, &op->error);
    if (rc == 0)
        rc = read_names(p, job, &op->error);
    for (size_t i = 0; rc == 0 && i < sizeof checks / sizeof *checks; i++)
        rc = checks[i](p, job, &op->error);
    tell_close(&op->result, ']');
    tell_flag(&op->result, "good", p->faults == 0);
    tell_close(&op->result, '}');
    op_end(op, rc < 0 ? rc : 0);
}

void service_production(struct service *s, service_done done, void *context)
{
    struct production_op *p = op_new(s, sizeof *p, done, context);
    if (!p)
        return;
    p->op.clear = clear;
    op_begin(&p->op, NULL, production);
}
