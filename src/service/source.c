/* source add, list, remove: the data sources that database grants may name. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "broker/sql_source.h"
#include "service/internal.h"
#include "service/tell.h"

struct source_op {
    struct op op;
    struct registry_source source;
};

/* ---- what a place has to be ---- */

/* A database, or a place in a directory where one can be made. */
static int check_sqlite(struct registry_source *s, struct error *err)
{
    char copy[PATH_MAX], real[PATH_MAX];
    struct stat st;
    if (realpath(s->place, real)) {
        if (stat(real, &st) < 0 || !S_ISREG(st.st_mode))
            return error_set(err, MOAT_E_BAD_USAGE, "%.400s is not a file", s->place);
        text_copy(s->place, sizeof s->place, real);
        return 0;
    }
    text_copy(copy, sizeof copy, s->place);
    char *slash = strrchr(copy, '/'), name[NAME_MAX + 1];
    if (errno != ENOENT || !text_copy(name, sizeof name, slash + 1) || !*name)
        return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot use %.400s", s->place);
    slash[slash == copy] = '\0';
    if (!realpath(copy, real))
        return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot make a database in %.400s", copy);
    int n = snprintf(s->place, sizeof s->place, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    return n < (int)sizeof s->place ? 0 : error_set(err, MOAT_E_BAD_USAGE, "the path is too long");
}

/* Opened once: what was opened is what is looked at. */
static int check_postgres(struct registry_source *s, struct error *err)
{
    char real[PATH_MAX];
    fd_auto fd = open(s->place, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || !realpath(s->place, real))
        return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot read %.400s", s->place);
    int rc = sql_source_check(fd, s->place, err);
    if (rc == 0)
        text_copy(s->place, sizeof s->place, real);
    return rc;
}

static const struct {
    const char *name;
    int (*check)(struct registry_source *s, struct error *err);
} kinds[] = {{"sqlite", check_sqlite}, {"postgres", check_postgres}};

static bool beneath(const char *dir, const char *path)
{
    char real[PATH_MAX];
    size_t n = realpath(dir, real) ? strlen(real) : 0;
    return n && strncmp(path, real, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* What is the home's is no plugin's. */
static int check_outside(const struct service *s, const struct registry_source *source, struct error *err)
{
    const char *const own[] = {s->home.dir, s->home.registry_dir, s->home.plugin_dir};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (beneath(own[i], source->place))
            return error_set(err, MOAT_E_PERMISSION_DENIED, "%.400s lies in the home, which no plugin gets to see",
                             source->place);
    return 0;
}

static int check(const struct service *service, struct registry_source *s, struct error *err)
{
    if (!text_is_name(s->name, REGISTRY_SOURCE_MAX))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "\"%.64s\" is no name of a source: a-z, then a-z, 0-9 and single _, %d characters at most",
                         s->name, REGISTRY_SOURCE_MAX);
    if (strcmp(s->name, SQL_PRIVATE) == 0)
        return error_set(err, MOAT_E_BAD_USAGE, "\"%s\" is every plugin's own database: give the source another name",
                         SQL_PRIVATE);
    if (s->place[0] != '/')
        return error_set(err, MOAT_E_BAD_USAGE, "the place of a source is a path from the root, and %.200s is not",
                         s->place);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(s->kind, kinds[i].name) != 0)
            continue;
        int rc = kinds[i].check(s, err);
        return rc < 0 ? rc : check_outside(service, s, err);
    }
    return error_set(err, MOAT_E_BAD_USAGE, "a source is of the kind sqlite or postgres, not \"%.15s\"", s->kind);
}

bool source_is_well_formed(const struct registry_source *s)
{
    bool known = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        known |= strcmp(s->kind, kinds[i].name) == 0;
    return known && s->place[0] == '/' && text_is_name(s->name, REGISTRY_SOURCE_MAX);
}

int source_check_again(const struct service *service, const struct registry_source *s, struct error *err)
{
    struct registry_source here = *s;
    struct error none;
    if (access(s->place, F_OK) < 0)
        return check_outside(service, s, err);
    int rc = check(service, &here, &none);
    if (rc < 0 || strcmp(here.place, s->place) == 0) {
        if (rc < 0 && err)
            *err = none;
        return rc;
    }
    return error_set(err, MOAT_E_BAD_USAGE, "%.400s leads to another place here, %.400s", s->place, here.place);
}

/* ---- telling ---- */

struct listing {
    struct buf *out;
    const struct decisions *decisions;
};

/* The plugins that were granted the source by its name. */
static void tell_users(struct buf *out, const char *key, const struct decisions *d, const char *name)
{
    const char *before = "";
    tell_open(out, key, '[');
    for (size_t i = 0; i < d->count; i++) {
        const struct registry_decision *one = &d->list[i];
        bool database = one->permission == PERMISSION_DATABASE_READ || one->permission == PERMISSION_DATABASE_WRITE;
        if (!database || one->refused || strcmp(one->scope, name) != 0 || strcmp(one->name, before) == 0)
            continue;
        tell_text(out, NULL, one->name);
        before = one->name;
    }
    tell_close(out, ']');
}

static bool tell_source(void *context, const struct registry_source *s)
{
    struct listing *l = context;
    tell_open(l->out, NULL, '{');
    tell_text(l->out, "name", s->name);
    tell_text(l->out, "kind", s->kind);
    tell_text(l->out, "place", s->place);
    tell_seconds(l->out, "added_at", s->added_at);
    tell_users(l->out, "granted_to", l->decisions, s->name);
    tell_close(l->out, '}');
    return true;
}

static void list(struct op *op, struct job *job)
{
    struct decisions all = {0};
    struct listing l = {.out = &op->result, .decisions = &all};
    int rc = decisions_read(job, NULL, &all, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "sources", '[');
    if (rc == 0)
        rc = registry_each_source(job->reader, tell_source, &l, &op->error);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    decisions_free(&all);
    op_end(op, rc);
}

void service_source_list(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, list);
}

/* ---- changing ---- */

static void add(struct op *op, struct job *job)
{
    struct source_op *o = (struct source_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = check(op->s, &o->source, &op->error);
    struct registry_command c = {
        .verb = REGISTRY_SOURCE_ADD,
        .source_add = {.name = o->source.name, .kind = o->source.kind, .place = o->source.place}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "name", o->source.name);
        tell_text(&op->result, "kind", o->source.kind);
        tell_text(&op->result, "place", o->source.place);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

/* Grants of it stay, and give nothing until there is a source of that name again. */
static void remove_it(struct op *op, struct job *job)
{
    struct source_op *o = (struct source_op *)op;
    struct decisions all = {0};
    struct registry_command c = {.verb = REGISTRY_SOURCE_REMOVE, .source_remove = {.name = o->source.name}};
    int rc = op->code;
    if (rc == 0)
        rc = decisions_read(job, NULL, &all, &op->error);
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        rc = queries_end(op->s, NULL, o->source.name, &op->error);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "name", o->source.name);
        tell_flag(&op->result, "removed", true);
        tell_users(&op->result, "granted_to", &all, o->source.name);
        tell_close(&op->result, '}');
    }
    decisions_free(&all);
    op_end(op, rc);
}

static void begin(struct service *s, const char *name, const char *kind, const char *place, op_step step,
                  service_done done, void *context)
{
    struct source_op *o = op_new(s, sizeof *o, done, context);
    if (!o)
        return;
    bool fits = text_copy(o->source.name, sizeof o->source.name, name) &&
                text_copy(o->source.kind, sizeof o->source.kind, kind) &&
                text_copy(o->source.place, sizeof o->source.place, place);
    if (!fits)
        o->op.code =
            error_set(&o->op.error, MOAT_E_BAD_USAGE,
                      "a source's name has at most %d characters, its kind is sqlite or postgres", REGISTRY_SOURCE_MAX);
    op_begin(&o->op, JOBS_ALL, step);
}

void service_source_add(struct service *s, const char *name, const char *kind, const char *place, service_done done,
                        void *context)
{
    begin(s, name, kind, place, add, done, context);
}

void service_source_remove(struct service *s, const char *name, service_done done, void *context)
{
    begin(s, name, "", "", remove_it, done, context);
}
