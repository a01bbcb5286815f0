/* broker/sql_server: the one PostgreSQL server that a connection string means, and how its helper must speak with it.
 * What libpq would pass over in silence is refused here: nothing in a string may promise more than what is done. */
#ifndef BROKER_SQL_SERVER_H
#define BROKER_SQL_SERVER_H

#include <sys/socket.h>

#include "broker/sql_string.h"
#include "wire/sql.h"

/* What `sslrootcert=system` stands for (Debian: ca-certificates). */
#define SQL_SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

/* Not to be copied: texts stand in the string. It may hold a password: sql_server_clear. */
struct sql_server {
    struct sql_string string;
    struct sockaddr_storage address;
    socklen_t address_len;
    char hostaddr[64];            /* in figures; "" for a Unix socket */
    const char *mode;             /* sslmode, never NULL */
    const char *files[SQL_FILES]; /* paths from the root; NULL: not named */
};

/* Touches nothing but the text. MOAT_E_BAD_USAGE says what to write instead, and repeats no value. */
int sql_server_read(const char *text, struct sql_server *out, struct error *err);
void sql_server_clear(struct sql_server *s);

/* Reads the files that it names: *fd has all of them, sealed, and is the caller's; -1 when none is named. May block on
 * a slow disk: not on a loop. MOAT_E_NO_SUCH_FILE, MOAT_E_BAD_USAGE (it is none of the right kind, or others may
 * change or read it), MOAT_E_STORAGE_FAILED, MOAT_E_OUT_OF_MEMORY. */
int sql_server_files(const struct sql_server *s, uint32_t lengths[SQL_FILES], int *fd, struct error *err);

/* The server's part of what its helper is told. */
int sql_server_start(const struct sql_server *s, struct sql_start *out, struct error *err);

#endif
