/* broker/sql_source: from a data source's record to what an sql helper is given: open files, or a connection's string.
 * Follows no link; may block on a slow disk: not on a loop. */
#ifndef BROKER_SQL_SOURCE_H
#define BROKER_SQL_SOURCE_H

#include "broker/sql.h"

/* The source that every plugin has without one being added: a database of its own. */
#define SQL_SOURCE_MAX 64 /* of a source's name */
#define SQL_PRIVATE "private"
#define SQL_PRIVATE_FILE "private.db"

struct sql_source {
    enum sql_kind kind;
    const char *name, *place; /* a path: the database, or the file with the connection's string */
    bool own;                 /* it is the plugin's own and made when it is first used, its directory as well */
    uint64_t database_max;    /* bytes */
};

/* Fills the start (kind, and what is the source's own), fds and nfds of the opening, by user.write. Descriptors are the
 * caller's, from -1: sql_source_close. MOAT_E_NO_SUCH_FILE, MOAT_E_PERMISSION_DENIED (it is no file, or has no role for
 * that), MOAT_E_CONNECT_FAILED (its connection string, or what that names, is not as it must be),
 * MOAT_E_STORAGE_FAILED. */
int sql_source_open(const struct sql_source *s, struct sql_opening *o, struct error *err);
void sql_source_close(struct sql_opening *o);

/* A file of connection strings, opened by the caller: that it is safe, and that each string and each file which it
 * names is as it must be. No server is asked. MOAT_E_BAD_USAGE, MOAT_E_NO_SUCH_FILE, MOAT_E_STORAGE_FAILED. */
int sql_source_check(int fd, const char *place, struct error *err);

/* What such a file has: a line "read STRING", one "write STRING", or a STRING alone, which is for reading. Space around
 * it and lines that begin with # do not count. The roles stand in text, which is changed; NULL: there is none.
 * MOAT_E_BAD_USAGE: two for one purpose. */
struct sql_roles {
    const char *read, *write;
};
int sql_source_roles(char *text, struct sql_roles *out, struct error *err);

#endif
