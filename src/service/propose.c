/* What would have to be granted: the smallest grants that serve what a plugin was denied, each with its reason, judged
 * by the policy as a grant would be.  It proposes; only the operator decides.
 *
 * Of a place: the file itself; the directory only where an entry of it is to be made or taken away, or where several of
 * its files are asked for and it is no directory of the root. What is not there cannot be granted: a plugin that tries
 * names at random gets nothing proposed for them, and what is found of it is bounded. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

#define PROPOSALS 16 /* of one answer */
#define SEVERAL 3    /* files of a directory */
#define REASON_MAX 320
#define WANTS_MAX (REGISTRY_DENIALS + 1)

struct want {
    struct grant grant;
    uint64_t count, first_ms;
    unsigned files;                /* of a directory: how many of it were asked for; 0: the object itself */
    bool folded;                   /* another one has it */
    bool entry;                    /* of a place: what was tried is something in it */
    char operation[32], name[128]; /* of the first denial: what was tried, and on which entry */
};

struct propose_op {
    struct op op;
    struct target target;
    struct want *wants; /* WANTS_MAX */
    size_t nwants;
    struct policy_answer answer;
    uint64_t missing, unnamed; /* denials of what is not there, of what has no name any more */
    uint64_t hopeless;         /* of what no grant allows */
};

static void clear(struct op *op)
{
    free(((struct propose_op *)op)->wants);
}

/* ---- places ---- */

/* The directory of a path, "/" of one in the root. */
static void parent_of(const char *path, char out[POLICY_SCOPE_MAX])
{
    text_copy(out, POLICY_SCOPE_MAX, path);
    char *slash = strrchr(out, '/');
    if (slash)
        slash[slash == out] = '\0';
}

static bool is_of_the_root(const char *dir)
{
    return strchr(dir + 1, '/') == NULL;
}

/* What a new entry needs: the nearest directory that is there. */
static bool nearest_directory(const char *path, char out[POLICY_SCOPE_MAX])
{
    struct stat st = {0};
    char at[POLICY_SCOPE_MAX];
    text_copy(at, sizeof at, path);
    do {
        parent_of(at, out);
        memcpy(at, out, sizeof at);
    } while (strcmp(out, "/") != 0 && stat(out, &st) < 0);
    return strcmp(out, "/") != 0 && S_ISDIR(st.st_mode);
}

static bool changes_entries(const char *operation)
{
    static const char *const all[] = {"create a directory", "create a file", "link",  "remove",
                                      "remove a directory", "remove a file", "rename"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(operation, all[i]) == 0)
            return true;
    return false;
}

/* false: what was tried is not there, or no place that anybody can have. */
static bool place_of(enum permission p, const char *operation, const char *object, char out[POLICY_SCOPE_MAX])
{
    char near[POLICY_SCOPE_MAX], real[PATH_MAX];
    struct stat st;
    bool there = stat(object, &st) == 0, itself = there && (p == PERMISSION_FILE_READ || !changes_entries(operation));
    if (!text_copy(near, sizeof near, object) || (!there && p == PERMISSION_FILE_READ))
        return false;
    /* By the path that it really has, as it would be granted. */
    return (itself || nearest_directory(object, near)) && realpath(near, real) &&
           text_copy(out, POLICY_SCOPE_MAX, real);
}

/* ---- what is wanted ---- */

static struct want *want_of(struct propose_op *o, const struct grant *g)
{
    for (size_t i = 0; i < o->nwants; i++)
        if (grant_equal(&o->wants[i].grant, g))
            return &o->wants[i];
    if (o->nwants == WANTS_MAX)
        return NULL;
    struct want *w = &o->wants[o->nwants++];
    *w = (struct want){.grant = *g};
    return w;
}

/* As a text, so that it is read by the one reader of grants. */
static bool grant_of(enum permission p, const struct registry_denial *d, struct grant *out)
{
    char scope[POLICY_SCOPE_MAX], text[POLICY_SCOPE_MAX + 64];
    bool place = p == PERMISSION_FILE_READ || p == PERMISSION_FILE_WRITE;
    /* New code is all of execute_code; a program is itself. */
    bool program = p == PERMISSION_EXECUTE_CODE && policy_object(p, d->object, scope);
    bool bare = (p == PERMISSION_EXECUTE_CODE && !program) || p == PERMISSION_SYSTEM_ACCESS;
    if (program && scope[0] == '/' && access(scope, X_OK) < 0)
        return false;
    if (program)
        ;
    else if (place ? !place_of(p, d->operation, d->object, scope) : !text_copy(scope, sizeof scope, d->object))
        return false;
    snprintf(text, sizeof text, "%s%s%s", permission_name(p), bare ? "" : "=", bare ? "" : scope);
    return grant_parse(text, out, NULL) == 0;
}

static bool take(void *context, const struct registry_denial *d)
{
    struct propose_op *o = context;
    struct grant g;
    if (d->permission < 0 || d->permission >= PERMISSION_COUNT) {
        o->hopeless += d->count;
        return true;
    }
    enum permission p = (enum permission)d->permission;
    if (strcmp(d->object, LOADER_DENIALS_OTHER) == 0 || strstr(d->object, POLICY_UNTOLD)) {
        o->unnamed += d->count;
        return true;
    }
    if (!grant_of(p, d, &g)) {
        *(p == PERMISSION_FILE_READ || p == PERMISSION_FILE_WRITE || p == PERMISSION_EXECUTE_CODE ? &o->missing
                                                                                                  : &o->hopeless) +=
            d->count;
        return true;
    }
    struct want *w = want_of(o, &g);
    if (!w)
        return false;
    w->count += d->count;
    if (!w->first_ms || d->first_ms < w->first_ms) {
        const char *slash = strrchr(d->object, '/');
        w->first_ms = d->first_ms;
        w->entry = strcmp(d->object, g.scope) != 0;
        text_copy(w->operation, sizeof w->operation, d->operation);
        text_plain(w->name, sizeof w->name, slash ? slash + 1 : d->object, strlen(slash ? slash + 1 : d->object));
    }
    return true;
}

/* ---- folding ---- */

static bool is_in(const struct grant *g, enum permission p, const char *dir)
{
    char parent[POLICY_SCOPE_MAX];
    parent_of(g->scope, parent);
    return g->permission == p && strcmp(parent, dir) == 0;
}

/* How many of a directory are wanted or granted already. */
static unsigned count_in(const struct propose_op *o, enum permission p, const char *dir)
{
    unsigned n = 0;
    for (size_t i = 0; i < o->nwants; i++)
        n += !o->wants[i].folded && is_in(&o->wants[i].grant, p, dir);
    for (size_t i = 0; i < o->answer.ngrants; i++)
        n += is_in(&o->answer.grants[i], p, dir);
    return n;
}

/* Several of one directory become it, unless that is too much to ask for or lies over what a ceiling keeps. */
static void fold_directory(struct propose_op *o, size_t first)
{
    struct grant dir = {.permission = o->wants[first].grant.permission};
    struct error none;
    parent_of(o->wants[first].grant.scope, dir.scope);
    unsigned files = is_of_the_root(dir.scope) ? 0 : count_in(o, dir.permission, dir.scope);
    if (files < SEVERAL || o->nwants == WANTS_MAX || grant_check(&dir, &o->answer, &none) < 0)
        return;
    struct want *w = want_of(o, &dir);
    if (!w->first_ms)
        w->first_ms = o->wants[first].first_ms;
    w->files = files;
    for (size_t i = 0; i < o->nwants; i++) {
        if (!is_in(&o->wants[i].grant, dir.permission, dir.scope))
            continue;
        o->wants[i].folded = true;
        w->count += o->wants[i].count;
    }
}

/* What may be written may be read. */
static bool serves(const struct grant *a, const struct grant *b)
{
    struct grant reads = *a;
    if (b->permission == PERMISSION_FILE_READ)
        grant_reading(a, &reads);
    return grant_covers(&reads, b);
}

static bool is_granted(const struct propose_op *o, const struct grant *g)
{
    for (size_t i = 0; i < o->answer.ngrants; i++)
        if (serves(&o->answer.grants[i], g))
            return true;
    return false;
}

static bool is_served(const struct propose_op *o, size_t at)
{
    const struct grant *g = &o->wants[at].grant;
    for (size_t i = 0; i < o->nwants; i++)
        if (i != at && !o->wants[i].folded && serves(&o->wants[i].grant, g))
            return true;
    return false;
}

static int earlier(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    return x->first_ms != y->first_ms ? (x->first_ms < y->first_ms ? -1 : 1) : strcmp(x->grant.scope, y->grant.scope);
}

static void fold(struct propose_op *o)
{
    size_t asked = o->nwants;
    for (size_t i = 0; i < asked; i++)
        o->wants[i].folded = is_granted(o, &o->wants[i].grant);
    for (size_t i = 0; i < asked; i++) {
        enum permission p = o->wants[i].grant.permission;
        if (!o->wants[i].folded && (p == PERMISSION_FILE_READ || p == PERMISSION_FILE_WRITE))
            fold_directory(o, i);
    }
    for (size_t i = 0; i < o->nwants; i++)
        o->wants[i].folded |= is_served(o, i);
    qsort(o->wants, o->nwants, sizeof *o->wants, earlier);
}

/* ---- telling ---- */

static void reason_of(const struct want *w, char out[REASON_MAX])
{
    char times[48];
    snprintf(times, sizeof times, w->count == 1 ? "once" : "%llu times", (unsigned long long)w->count);
    if (w->files)
        snprintf(out, REASON_MAX, "%u of its files are needed, such as %s", w->files, w->name[0] ? w->name : "others");
    else if (w->grant.permission == PERMISSION_FILE_WRITE && w->entry)
        snprintf(out, REASON_MAX, "its entries are to change: %s %s, tried %s", w->operation, w->name, times);
    else
        snprintf(out, REASON_MAX, "%s %s, tried %s", w->operation, w->name, times);
}

/* Of a place that is closed to others, as keys and passwords are: a yes should be meant. */
static bool is_closed(const struct grant *g)
{
    struct stat st;
    char path[POLICY_SCOPE_MAX];
    if (g->permission == PERMISSION_EXECUTE_CODE || !grant_place(g, path) || stat(path, &st) < 0)
        return false;
    mode_t all = S_ISDIR(st.st_mode) ? S_IROTH | S_IXOTH : S_IROTH;
    return (st.st_mode & all) != all;
}

static void tell_proposal(struct propose_op *o, const struct want *w)
{
    struct buf *out = &o->op.result;
    char text[POLICY_SCOPE_MAX + 64], reason[REASON_MAX], told[REASON_MAX + 80], command[POLICY_COMMAND_MAX];
    grant_format(&w->grant, text, sizeof text);
    reason_of(w, reason);
    snprintf(told, sizeof told, "%s%s", reason,
             is_closed(&w->grant) ? "; CAUTION: it is closed to other users of this machine" : "");
    tell_open(out, NULL, '{');
    tell_text(out, "grant", text);
    tell_text(out, "permission", permission_name(w->grant.permission));
    tell_text(out, "scope", w->grant.scope);
    tell_text(out, "reason", told);
    tell_number(out, "count", w->count);
    tell_flag(out, "asked", o->answer.asked >> w->grant.permission & 1);
    tell_text(out, "command",
              policy_command(o->target.name, (int)w->grant.permission, w->grant.scope, command) ? command : NULL);
    tell_close(out, '}');
}

/* Would the policy let it be granted? As `grant` itself would say it. */
static int judge(const struct propose_op *o, const struct grant *g, struct error *err)
{
    if (o->answer.refused >> g->permission & 1)
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s is refused: `moat grants %s`",
                         permission_name(g->permission), o->target.name);
    return grant_check(g, &o->answer, err);
}

static void tell_refused(struct buf *out, const struct grant *g, const struct error *why)
{
    char text[POLICY_SCOPE_MAX + 64];
    grant_format(g, text, sizeof text);
    tell_open(out, NULL, '{');
    tell_text(out, "grant", text);
    tell_text(out, "code", error_info(why->code)->name);
    tell_text(out, "reason", why->message);
    tell_close(out, '}');
}

static void tell_all(struct propose_op *o)
{
    struct buf *out = &o->op.result;
    buf_auto refused = BUF_INIT(JOBS_RESULT_MAX / 2);
    uint64_t told = 0, forbidden = 0, more = 0;
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", o->target.name);
    tell_open(out, "proposals", '[');
    tell_open(&refused, NULL, '[');
    for (size_t i = 0; i < o->nwants; i++) {
        struct error why;
        if (o->wants[i].folded)
            continue;
        bool may = judge(o, &o->wants[i].grant, &why) == 0;
        uint64_t *n = may ? &told : &forbidden;
        if (*n >= PROPOSALS)
            more++;
        else if (++*n && may)
            tell_proposal(o, &o->wants[i]);
        else
            tell_refused(&refused, &o->wants[i].grant, &why);
    }
    tell_close(out, ']');
    tell_close(&refused, ']');
    tell_raw(out, "refused", buf_text(&refused));
    tell_number(out, "left_out", more);
    tell_number(out, "missing", o->missing);
    tell_number(out, "unnamed", o->unnamed);
    tell_number(out, "hopeless", o->hopeless);
    tell_close(out, '}');
}

/* ---- together ---- */

static int read_all(struct propose_op *o, struct job *job)
{
    struct manifest *m = NULL;
    struct decisions d = {0};
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
    const char *name = o->target.name;
    struct error *err = &o->op.error;
    uint64_t dropped = 0;
    int rc = denials_flush(job, name, err);
    if (rc == 0)
        rc = current_manifest(job, name, &m, publisher, err);
    if (rc == 0)
        rc = decisions_read(job, name, &d, err);
    if (rc == 0)
        decisions_answer(m, publisher, &d, &o->answer);
    if (rc == 0)
        rc = registry_find_denials_dropped(job->reader, name, &dropped, err);
    o->unnamed = dropped;
    if (rc == 0)
        rc = registry_each_denial(job->reader, name, 0, take, o, err);
    manifest_unref(m);
    decisions_free(&d);
    return rc;
}

static void propose(struct op *op, struct job *job)
{
    struct propose_op *o = (struct propose_op *)op;
    int rc = op->code;
    if (rc == 0 && !(o->wants = calloc(WANTS_MAX, sizeof *o->wants)))
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the proposals");
    if (rc == 0)
        rc = read_all(o, job);
    if (rc == 0) {
        fold(o);
        tell_all(o);
    }
    op_end(op, rc);
}

void service_proposals(struct service *s, const char *name, service_done done, void *context)
{
    struct propose_op *o = op_new(s, sizeof *o, done, context);
    if (!o)
        return;
    o->op.clear = clear;
    o->op.code = target_parse(name, false, &o->target, &o->op.error);
    op_begin(&o->op, NULL, propose);
}
