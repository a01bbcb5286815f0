/* Data sources for running calls: what the broker has allowed is opened here, on a jobs thread, and kept by
 * broker/sql. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/sql_source.h"
#include "service/internal.h"

#define MIB (1024ull * 1024)
#define MEMORY (64 * MIB)
#define OWN_MAX (256 * MIB)               /* of a plugin's own database */
#define OTHERS_MAX (1024ull * 1024 * MIB) /* the operator's are the operator's: as large as they get */
#define STATEMENT_NS (30 * NS_PER_S)
#define TRANSACTION_NS (10 * NS_PER_S)
#define IDLE_NS (30 * NS_PER_S)
#define ROWS_MAX 100000
#define SERVERS_NS (3 * NS_PER_S) /* for servers to end what is asked of them, when the host ends */
#define END_NS (5 * NS_PER_S)

struct query_op {
    struct op op;
    struct question *ask;
    char source[SQL_SOURCE_MAX + 1], place[PATH_MAX];
    bool write;
};

static void answered(void *context, const struct error *error, struct buf *result)
{
    if (error)
        ask_fail(context, error);
    else
        ask_done(context, result->data, result->len);
}

/* ---- which file, which server ---- */

static int own_place(const struct service *s, const char *plugin, char out[PATH_MAX], struct error *err)
{
    int n = snprintf(out, PATH_MAX, "%s/data/%s/%s", s->home.dir, plugin, SQL_PRIVATE_FILE);
    return n < PATH_MAX ? 0 : error_set(err, MOAT_E_BAD_USAGE, "the home's path is too long");
}

static int find_source(struct query_op *q, struct job *job, struct sql_source *out, struct error *err)
{
    *out = (struct sql_source){.kind = SQL_SQLITE, .name = q->source, .place = q->place, .database_max = OTHERS_MAX};
    if (strcmp(q->source, SQL_PRIVATE) == 0) {
        out->own = true;
        out->database_max = OWN_MAX;
        return own_place(job->s, q->ask->plugin, q->place, err);
    }
    struct registry_source record;
    int rc = registry_find_source(job->reader, q->source, &record, err);
    if (rc == 0)
        return error_set(err, MOAT_E_NOT_FOUND, "there is no data source %s: `moat source add %s KIND PLACE`",
                         q->source, q->source);
    if (rc < 0)
        return rc;
    text_copy(q->place, sizeof q->place, record.place);
    out->kind = strcmp(record.kind, "postgres") == 0 ? SQL_POSTGRES : SQL_SQLITE;
    return 0;
}

/* ---- opening ---- */

static void nobody_waits(struct question *ask)
{
    (void)ask;
}

/* It may have been revoked, or its worker may have ended, while the helper was started: who revokes looks at the
 * helpers that are there, after the right is gone. */
static int still_wanted(struct service *s, const struct query_op *q, struct error *err)
{
    struct question *ask = q->ask;
    enum permission p = q->write ? PERMISSION_DATABASE_WRITE : PERMISSION_DATABASE_READ;
    if (!broker_allows(s->broker, ask->plugin, ask->version, p, q->source))
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s for %s was taken back", permission_name(p), q->source);
    return ask_on_stop(ask, nobody_waits) ? 0 : error_set(err, MOAT_E_CANCELLED, "nobody waits for it any more");
}

static void open_it(struct op *op, struct job *job)
{
    struct query_op *q = (struct query_op *)op;
    struct question *ask = q->ask;
    struct sql_source source;
    struct seat_told told;
    struct sql_opening o = {.user = {.plugin = ask->plugin,
                                     .version = ask->version,
                                     .source = q->source,
                                     .worker = ask->worker,
                                     .write = q->write},
                            .seats = ask->seats,
                            .start = {.memory = MEMORY,
                                      .statement_ns = STATEMENT_NS,
                                      .transaction_ns = TRANSACTION_NS,
                                      .idle_ns = IDLE_NS,
                                      .rows_max = ROWS_MAX},
                            .spawner = loader_spawner(op->s->loader)};
    int rc = find_source(q, job, &source, &op->error);
    if (rc == 0)
        rc = sql_source_open(&source, &o, &op->error);
    if (rc == 0) {
        rc = sql_open(op->s->queries, &o, &told, &op->error);
        sql_source_close(&o);
    }
    if (rc == 0 && (rc = still_wanted(op->s, q, &op->error)) < 0)
        sql_close(op->s->queries, told.serial); /* the worker's others go on */
    if (rc == 0)
        buf_put(&op->result, &told, sizeof told);
    op_end(op, rc);
}

void source_wanted(void *context, struct question *ask, const char *source, bool write)
{
    struct query_op *q = op_new(context, sizeof *q, answered, ask);
    if (!q)
        return;
    q->ask = ask;
    q->write = write;
    text_copy(q->source, sizeof q->source, source);
    if (ask->seats < 0)
        q->op.code = error_set(&q->op.error, MOAT_E_INTERNAL, "the worker has no seat for a data source");
    op_begin(&q->op, NULL, open_it);
}

/* ---- ending ---- */

struct keeping {
    struct service *s;
    const char *plugin, *source; /* NULL: of all */
};

static bool is_about(const struct keeping *k, const struct sql_user *u)
{
    return (!k->plugin || strcmp(k->plugin, u->plugin) == 0) && (!k->source || strcmp(k->source, u->source) == 0);
}

static bool still_allowed(void *context, const struct sql_user *u)
{
    const struct keeping *k = context;
    enum permission p = u->write ? PERMISSION_DATABASE_WRITE : PERMISSION_DATABASE_READ;
    return !is_about(k, u) || broker_allows(k->s->broker, u->plugin, u->version, p, u->source);
}

static bool others(void *context, const struct sql_user *u)
{
    return !is_about(context, u);
}

int queries_review(struct service *s, const char *name, struct error *err)
{
    struct keeping k = {.s = s, .plugin = name};
    return sql_end(s->queries, still_allowed, &k, END_NS, err);
}

int queries_end(struct service *s, const char *plugin, const char *source, struct error *err)
{
    struct keeping k = {.s = s, .plugin = plugin, .source = source};
    return sql_end(s->queries, others, &k, END_NS, err);
}

/* Its own database, when nothing of the plugin is to be left. */
int queries_purge(struct service *s, const char *plugin, struct error *err)
{
    char path[PATH_MAX], journal[PATH_MAX + 16];
    int rc = queries_end(s, plugin, NULL, err);
    if (rc == 0)
        rc = own_place(s, plugin, path, err);
    if (rc < 0)
        return rc;
    snprintf(journal, sizeof journal, "%s-journal", path);
    if ((unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR) ||
        (unlink(journal) < 0 && errno != ENOENT && errno != ENOTDIR))
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot remove %.400s", path);
    *strrchr(path, '/') = '\0';
    rmdir(path); /* what others have put there is theirs */
    return 0;
}

/* ---- telling ---- */

static void refused(void *context, const struct sql_user *u, const char *operation)
{
    struct service *s = context;
    char named[64];
    snprintf(named, sizeof named, "sql %s", operation);
    loader_refused(s->loader, u->plugin, u->worker, named, u->source);
}

int queries_open(struct service *s, struct error *err)
{
    struct sql_config config = {.refused = refused, .spawner = helpers_spawner, .context = s};
    return sql_keeper_new(&config, &s->queries, err);
}

void worker_ended(void *context, uint64_t worker)
{
    struct service *s = context;
    sql_worker_gone(s->queries, worker);
}

void queries_close(struct service *s)
{
    if (s->queries)
        sql_keeper_stop(s->queries, SERVERS_NS);
    sql_keeper_free(s->queries);
}
