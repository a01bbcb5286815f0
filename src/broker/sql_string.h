/* broker/sql_string: a connection string in the two forms of PostgreSQL, "NAME=VALUE NAME='VALUE'" and
 * "postgresql://USER:PASSWORD@HOST:PORT/DBNAME?NAME=VALUE", taken apart as libpq takes it apart.  Stricter than that
 * in what it takes: an option that is not in the list, or is there twice, makes the string none.  Opens nothing.  Any
 * thread. */
#ifndef BROKER_SQL_STRING_H
#define BROKER_SQL_STRING_H

#include <stddef.h>

#include "base/error.h"

#define SQL_STRING_MAX 4096

/* X(enumerator, name in the string) */
#define SQL_STRING_OPTIONS(X) \
    X(HOST, "host") \
    X(HOSTADDR, "hostaddr") \
    X(PORT, "port") \
    X(DBNAME, "dbname") \
    X(USER, "user") \
    X(PASSWORD, "password") \
    X(SSLMODE, "sslmode") \
    X(SSLROOTCERT, "sslrootcert") \
    X(SSLCERT, "sslcert") \
    X(SSLKEY, "sslkey") \
    X(TLS_LEAST, "ssl_min_protocol_version") \
    X(CHANNEL_BINDING, "channel_binding") \
    X(OPTIONS, "options") \
    X(APPLICATION_NAME, "application_name")

enum sql_option {
#define X(option, name) SQL_OPTION_##option,
    SQL_STRING_OPTIONS(X)
#undef X
        SQL_OPTION_COUNT
};

extern const char *const sql_option_names[SQL_OPTION_COUNT];

/* The values stand in room: not to be copied. It may hold a password; whoever has it wipes it. */
struct sql_string {
    const char *values[SQL_OPTION_COUNT]; /* NULL: absent, or empty, which is the same */
    size_t used;
    char room[SQL_STRING_MAX + 1];
};

/* MOAT_E_BAD_USAGE. The message repeats no part of the text but the name of a known option. */
int sql_string_parse(const char *text, struct sql_string *out, struct error *err);

#endif
