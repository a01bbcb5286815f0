/* A session with a PostgreSQL server, from its start to the end that it does not see: what a server is asked goes on
 * when the one who asked is dead. So the host knows which of the server's processes worked for a helper, and sends
 * another one after it, which has the same role and ends that process. Nothing that a statement can change or catch
 * (limits of time, the end of a query) keeps it alive. */
#include <stdio.h>
#include <stdlib.h>

#include "helper/sql_postgres.h"

static void no_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static const char who[] =
    "SELECT pg_catalog.pg_backend_pid(), (extract(epoch FROM a.backend_start) * 1000000)::int8, EXISTS (SELECT 1 FROM "
    "pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER') AND (r.rolsuper OR "
    "r.rolcreaterole OR r.rolreplication OR r.rolbypassrls OR r.rolname IN ('pg_read_server_files', "
    "'pg_write_server_files', 'pg_execute_server_program'))) FROM pg_catalog.pg_stat_activity a WHERE a.pid = "
    "pg_catalog.pg_backend_pid()";

/* Whatever the role's sessions begin with: it is asked as the role itself, and nobody's operators answer. */
static const char plainly[] = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE NONE; SET LOCAL search_path = "
                              "pg_catalog, pg_temp";

static void command(PGconn *conn, const char *sql)
{
    pq.PQclear(pq.PQexec(conn, sql));
}

static bool look(PGconn *conn, struct sql_answer *a)
{
    command(conn, plainly);
    PGresult *r = pq.PQexec(conn, who);
    bool read = pq.PQresultStatus(r) == PGRES_TUPLES_OK && pq.PQntuples(r) == 1;
    bool mighty = read && *pq.PQgetvalue(r, 0, 2) != 'f';
    struct sql_word w = {.version = SQL_VERSION, .kind = SQL_SERVED};
    if (read)
        w.backend = (struct sql_backend){.pid = strtoll(pq.PQgetvalue(r, 0, 0), NULL, 10),
                                         .began = strtoll(pq.PQgetvalue(r, 0, 1), NULL, 10),
                                         .server = pq.PQserverVersion(conn)};
    pq.PQclear(r);
    command(conn, "ROLLBACK");
    if (mighty)
        return answer_fail(
            a, SEAT_UNAVAILABLE,
            "the role is, or can become, a superuser, makes roles, replicates, passes row security by or "
            "reaches the server's files: give the source a role of its own");
    if (!read)
        return answer_fail(a, SEAT_UNAVAILABLE, "the server does not say what the role may do");
    sql_tell_host(&w);
    return true;
}

static PGconn *let_in(struct sql_answer *a)
{
    PGconn *conn = pq.PQconnectdbParams(postgres_options.names, postgres_options.values, 0);
    if (conn && pq.PQstatus(conn) == CONNECTION_OK) {
        pq.PQsetNoticeProcessor(conn, no_notice, NULL);
        return conn;
    }
    const char *words = conn ? pq.PQerrorMessage(conn) : "no memory", *refused = postgres_refused_certificate();
    if (*refused)
        answer_fail(a, SEAT_UNAVAILABLE, "the server's certificate is not accepted: %.100s (%.300s)", refused, words);
    else
        answer_fail(a, SEAT_UNAVAILABLE, "the server does not let the source's role in: %.300s", words);
    return NULL;
}

PGconn *postgres_open(struct sql_answer *a)
{
    PGconn *conn = let_in(a);
    return conn && look(conn, a) ? conn : NULL; /* the end of the process is the end of the other */
}

/* The number alone could be another's by now. One whose beginning is not shown is not known to have ended. */
static const char end_it[] =
    "SELECT CASE WHEN (extract(epoch FROM backend_start) * 1000000)::int8 = $2::int8 THEN "
    "pg_catalog.pg_terminate_backend(pid) ELSE backend_start IS NOT NULL END FROM pg_catalog.pg_stat_activity WHERE "
    "pid = $1::int8 AND pid <> pg_catalog.pg_backend_pid()";

bool postgres_end(void)
{
    char room[512], pid[24], began[24];
    struct sql_answer a;
    answer_begin(&a, room, sizeof room);
    PGconn *conn = let_in(&a);
    if (!conn)
        return false;
    snprintf(pid, sizeof pid, "%lld", (long long)sql_start.backend.pid);
    snprintf(began, sizeof began, "%lld", (long long)sql_start.backend.began);
    PGresult *r = pq.PQexecParams(conn, end_it, 2, NULL, (const char *const[]){pid, began}, NULL, NULL, 0);
    bool ended = pq.PQresultStatus(r) == PGRES_TUPLES_OK &&
                 (pq.PQntuples(r) == 0 || *pq.PQgetvalue(r, 0, 0) == 't'); /* none: it has ended already */
    pq.PQclear(r);
    pq.PQfinish(conn);
    return ended;
}
