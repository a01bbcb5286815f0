/* import: an exported document, all or nothing.
 *
 *     import  "*"   the whole text is JSON; then three read it side by side. Two check, each its share of the plugins:
 * the records are some, every manifest is one that an install would take. The store thread takes plugin after plugin
 * that was found good into one command, which ends with the last of them, or is undone follow  "*"   what is named is
 * defined anew; what ran is drained and starts again with its next call */
#include "service/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "package/package.h"
#include "service/install.h"
#include "service/tell.h"

#define CHECKERS 2
#define SHARE 32 /* plugins, one checker's turn */

struct import_op;

/* One that checks. But for op, under the lock. */
struct checker {
    struct import_op *op;
    size_t plugins; /* those of its share before this one are good; publishers are when one plugin is, or it is over */
    bool over;
    struct error error;         /* code 0: none */
    struct import_masks *masks; /* of every version of its share, in order */
    size_t nmasks, cap;
    size_t taken; /* of the masks; the store thread's */
};

struct import_op {
    struct op op;
    int fd;
    struct document document;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct checker checkers[CHECKERS];
    bool stored;
    /* The store thread's. */
    struct import in;
    size_t plugin, good; /* whose records are taken; this one and those before it are known to be good: 0 none */
};

static void clear(struct op *op)
{
    struct import_op *i = (struct import_op *)op;
    import_close(&i->in);
    document_close(&i->document);
    for (size_t k = 0; k < CHECKERS; k++)
        free(i->checkers[k].masks);
    pthread_mutex_destroy(&i->lock);
    pthread_cond_destroy(&i->more);
    io_close(&i->fd);
}

static struct checker *checker_of(struct import_op *i, size_t plugin)
{
    return &i->checkers[plugin / SHARE % CHECKERS];
}

/* ---- checking ---- */

static int keep_masks(struct checker *c, const struct import_masks *masks, struct error *err)
{
    if (c->nmasks == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 1024;
        struct import_masks *more = realloc(c->masks, cap * sizeof *more);
        if (!more)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
        c->masks = more;
        c->cap = cap;
    }
    c->masks[c->nmasks++] = *masks;
    return 0;
}

/* What a document says of a source is true here, or it is refused. */
static int check_source(struct import_op *i, const struct registry_source *s, struct error *err)
{
    int rc = source_check_again(i->op.s, s, err);
    return rc < 0 ? rc : 1;
}

/* 1: go on; 0: the store has given up. */
static int note(struct checker *c, const struct import *in, const struct dump_record *record, struct error *err)
{
    int rc = 1;
    if (record->kind != DUMP_VERSION && record->kind != DUMP_PLUGIN_END)
        return 1;
    pthread_mutex_lock(&c->op->lock);
    /* Behind the publishers each reads the first plugin, whosever it is. */
    if (record->kind == DUMP_VERSION && checker_of(c->op, in->plugin) == c && keep_masks(c, &in->masks, err) < 0)
        rc = -MOAT_E_OUT_OF_MEMORY;
    if (record->kind == DUMP_PLUGIN_END) {
        c->plugins = in->plugin;
        pthread_cond_broadcast(&c->op->more);
    }
    if (c->op->stored)
        rc = 0;
    pthread_mutex_unlock(&c->op->lock);
    return rc;
}

static void *check(void *context)
{
    struct checker *c = context;
    struct import in;
    struct dump_record record = {0};
    struct error err = {0};
    int rc = 1;
    import_open_again(&in, &c->op->in, true);
    while (rc > 0) {
        while (checker_of(c->op, in.plugin) != c && import_skip(&in))
            ;
        rc = import_next(&in, &record, &err);
        if (rc > 0 && record.kind == DUMP_SOURCE) {
            rc = check_source(c->op, &record.source, &err);
            if (rc < 0)
                import_where(&in, &err);
        } else if (rc > 0) {
            rc = note(c, &in, &record, &err);
        }
    }
    import_close(&in);
    pthread_mutex_lock(&c->op->lock);
    c->over = true;
    if (rc < 0)
        c->error = err;
    pthread_cond_broadcast(&c->op->more);
    pthread_mutex_unlock(&c->op->lock);
    return NULL;
}

/* All of them; this thread is one. */
static void check_all(struct import_op *i)
{
    pthread_t threads[CHECKERS];
    bool started[CHECKERS] = {0};
    for (size_t k = 1; k < CHECKERS; k++)
        started[k] = pthread_create(&threads[k], NULL, check, &i->checkers[k]) == 0;
    check(&i->checkers[0]);
    for (size_t k = 1; k < CHECKERS; k++)
        if (started[k])
            pthread_join(threads[k], NULL);
        else
            check(&i->checkers[k]);
}

/* ---- storing, on the store thread ---- */

/* Until the plugin whose turn it is was found good. Who checks it waits for nobody. At the end, all must be over. */
static int wait_for(struct import_op *i, struct error *err)
{
    struct checker *c = checker_of(i, i->plugin);
    pthread_mutex_lock(&i->lock);
    while (!c->over && c->plugins <= i->plugin)
        pthread_cond_wait(&i->more, &i->lock);
    bool good = c->plugins > i->plugin;
    for (size_t k = 0; k < CHECKERS && !good; k++) {
        while (!i->checkers[k].over)
            pthread_cond_wait(&i->more, &i->lock);
        if (i->checkers[k].error.code && !c->error.code)
            c = &i->checkers[k];
    }
    pthread_mutex_unlock(&i->lock);
    if (good)
        i->good = i->plugin + 1;
    if (good || !c->error.code)
        return 0;
    if (err)
        *err = c->error; /* over: it does not change any more */
    return -(int)c->error.code;
}

static void take_masks(struct import_op *i, struct dump_version *v)
{
    struct checker *c = checker_of(i, i->plugin);
    pthread_mutex_lock(&i->lock);
    v->capabilities = c->masks[c->taken].capabilities;
    v->permissions = c->masks[c->taken].permissions;
    pthread_mutex_unlock(&i->lock);
    c->taken++;
}

static int next(void *context, struct dump_record *out, struct error *err)
{
    struct import_op *i = context;
    int rc = i->plugin >= i->good ? wait_for(i, err) : 0;
    if (rc == 0)
        rc = import_next(&i->in, out, err);
    if (rc <= 0)
        return rc;
    if (out->kind == DUMP_VERSION)
        take_masks(i, &out->version);
    i->plugin += out->kind == DUMP_PLUGIN_END;
    return 1;
}

static void where(void *context, struct error *err)
{
    import_where(&((struct import_op *)context)->in, err);
}

static void stored(struct registry_command *command)
{
    struct import_op *i = command->context;
    pthread_mutex_lock(&i->lock);
    i->stored = true;
    pthread_cond_broadcast(&i->more);
    pthread_mutex_unlock(&i->lock);
}

static int store(struct import_op *i, struct registry_import *records, struct error *err)
{
    struct registry_command command = {
        .verb = REGISTRY_IMPORT, .import = {.records = records}, .done = stored, .context = i};
    int rc = import_open(&i->in, &i->document, false, err);
    if (rc < 0)
        return rc;
    op_write_begin(&i->op, &command);
    check_all(i);
    pthread_mutex_lock(&i->lock);
    while (!i->stored)
        pthread_cond_wait(&i->more, &i->lock);
    pthread_mutex_unlock(&i->lock);
    if (command.code < 0)
        *err = command.error;
    return command.code;
}

/* ---- what ran follows ---- */

static int follow_one(struct job *job, const char *name, struct error *err)
{
    int rc = 0;
    if (plugin_is_running(job->s, name)) {
        struct waits *w = waits_new(1);
        if (!w)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to stop %s", name);
        loader_stop(job->s->loader, name, STOP_GRACE_NS, waits_done, waits_add(w, name));
        rc = waits_finish(w, STOP_GRACE_NS + WAIT_DEAD_NS, err);
    }
    plan_define(job, name);
    return rc;
}

/* The rows of one plugin from `at` on. */
static size_t rows_of(const struct decisions *d, size_t at, const char *name, struct decisions *out)
{
    size_t n = 0;
    while (at + n < d->count && strcmp(d->list[at + n].name, name) == 0)
        n++;
    *out = *d;
    out->list += at;
    out->count = n;
    return n;
}

/* A plugin that the document does not name has less under ceilings that came with it. */
static bool has_less(struct job *job, const char *name, const struct decisions *rows, const struct decisions *before)
{
    struct policy_answer was, is;
    struct decisions then = *rows;
    struct manifest *m = NULL;
    struct error none;
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
    if (!plugin_is_running(job->s, name))
        return false;
    if (current_manifest(job, name, &m, publisher, &none) < 0)
        return true; /* in doubt it starts again, by what holds now */
    then.ceilings = before->ceilings;
    then.nceilings = before->nceilings;
    decisions_answer(m, publisher, &then, &was);
    decisions_answer(m, publisher, rows, &is);
    manifest_unref(m);
    return !answer_same(&was, &is);
}

static int follow_ceilings(struct job *job, const struct decisions *before, struct error *err)
{
    struct decisions all = {0}, rows;
    int rc = decisions_read(job, NULL, &all, err);
    for (size_t i = 0; rc == 0 && i < all.count; i += rows.count) {
        const char *name = all.list[i].name;
        rows_of(&all, i, name, &rows);
        if (has_less(job, name, &rows, before))
            rc = follow_one(job, name, err);
    }
    decisions_free(&all);
    return rc;
}

/* All of them, whatever becomes of one; the first error is the answer. */
static int follow(struct import_op *i, struct job *job)
{
    struct import in;
    struct dump_record record = {0};
    struct error *err = &i->op.error, later;
    int first = 0, rc;
    import_open_again(&in, &i->in, false);
    while ((rc = import_next(&in, &record, first < 0 ? &later : err)) > 0) {
        if (record.kind != DUMP_PLUGIN_END)
            continue;
        int followed = follow_one(job, record.plugin.name, first < 0 ? &later : err);
        first = first < 0 ? first : followed;
    }
    import_close(&in);
    expiry_note(job->s, service_now(job->s)); /* looks at once, at the ends that came */
    return first < 0 ? first : rc;
}

static void import(struct op *op, struct job *job)
{
    struct import_op *i = (struct import_op *)op;
    struct registry_import records = {.next = next, .where = where, .context = i, .compare = version_compare};
    struct decisions before = {0};
    int rc = op->code;
    if (rc == 0)
        rc = document_open(&i->document, i->fd, IMPORT_MAX, &op->error);
    if (rc == 0)
        rc = decisions_begin(job, &before, &op->error);
    if (rc == 0)
        rc = store(i, &records, &op->error);
    if (rc == 0 && !job->s->undefined)
        rc = follow(i, job);
    if (rc == 0 && !job->s->undefined && records.ceilings)
        rc = follow_ceilings(job, &before, &op->error);
    decisions_free(&before);
    tell_open(&op->result, NULL, '{');
    tell_number(&op->result, "publishers", records.publishers);
    tell_number(&op->result, "keys", records.keys);
    tell_number(&op->result, "plugins", records.plugins);
    tell_number(&op->result, "versions", records.versions);
    tell_number(&op->result, "added", records.added);
    tell_number(&op->result, "ceilings", records.ceilings);
    tell_number(&op->result, "sources", records.sources);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_import(struct service *s, int file, service_done done, void *context)
{
    struct import_op *i = op_new(s, sizeof *i, done, context);
    if (!i)
        return;
    i->op.clear = clear;
    pthread_mutex_init(&i->lock, NULL);
    pthread_cond_init(&i->more, NULL);
    for (size_t k = 0; k < CHECKERS; k++)
        i->checkers[k] = (struct checker){.op = i};
    i->fd = fcntl(file, F_DUPFD_CLOEXEC, 3);
    if (i->fd < 0)
        i->op.code = error_errno(&i->op.error, MOAT_E_LIMIT, errno, "cannot take the document");
    op_begin(&i->op, JOBS_ALL, import);
}
