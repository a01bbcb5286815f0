/* helper/sql_postgres: what the two files about PostgreSQL share: libpq, loaded before the wall stands. */
#ifndef HELPER_SQL_POSTGRES_H
#define HELPER_SQL_POSTGRES_H

#include <libpq-fe.h>

#include "helper/sql.h"

/* The functions that are used, by name. */
#define LIBPQ(X) \
    X(PQclear) \
    X(PQcmdStatus) \
    X(PQcmdTuples) \
    X(PQconnectdbParams) \
    X(PQconsumeInput) \
    X(PQerrorMessage) \
    X(PQexec) \
    X(PQexecParams) \
    X(PQfformat) \
    X(PQfinish) \
    X(PQflush) \
    X(PQfname) \
    X(PQftype) \
    X(PQgetResult) \
    X(PQgetisnull) \
    X(PQgetlength) \
    X(PQgetvalue) \
    X(PQisBusy) \
    X(PQnfields) \
    X(PQntuples) \
    X(PQresultErrorField) \
    X(PQresultStatus) \
    X(PQsendQuery) \
    X(PQsendQueryParams) \
    X(PQsetNoticeProcessor) \
    X(PQsetSingleRowMode) \
    X(PQserverVersion) \
    X(PQsetnonblocking) \
    X(PQsocket) \
    X(PQstatus) \
    X(PQtransactionStatus)

struct libpq {
#define X(name) __typeof__(name) *name;
    LIBPQ(X)
#undef X
};
extern struct libpq pq;

/* What the host says, as PQconnectdbParams takes it. */
#define POSTGRES_OPTIONS 64
struct postgres_options {
    const char *names[POSTGRES_OPTIONS + 1], *values[POSTGRES_OPTIONS + 1];
    unsigned count;
};
extern struct postgres_options postgres_options;

/* Of libpq's TLS library, when it has one (sql_tls.c); before the wall. */
void postgres_load_tls(void *library);
/* Why the server's certificate was not accepted, in the TLS library's words; "" when it was, or was not looked at. */
const char *postgres_refused_certificate(void);

/* As the source's role, which is looked at first; the host is told which of the server's processes it is. NULL: the
 * answer says why not. */
PGconn *postgres_open(struct sql_answer *a);

#endif
