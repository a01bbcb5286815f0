/* wire/sql: what the host and an sql helper say to each other: one message at its start, and afterwards what the host
 * should know.  Both are of one build, so messages are plain structs; the host checks every field of the helper's.
 *
 * Descriptor 0 of moat-helper in the duty "sql" is one end of a SEQPACKET socket.  The first message on it carries
 * struct sql_start with the seats' file and the source's own descriptors; the helper reads it before its wall stands,
 * when nothing hostile has reached it, and everything of the source or the plugin after that. */
#ifndef WIRE_SQL_H
#define WIRE_SQL_H

#include <stdint.h>

#define SQL_VERSION 4
#define SQL_OPTIONS_MAX 4608 /* bytes of a connection's options */

enum sql_kind { SQL_SQLITE = 1, SQL_POSTGRES, SQL_POSTGRES_END };

/* SQLITE: descriptors are the seats, the database, its journal; and, for reading only, both once more for writing when
 * a journal was left behind: what it has is put back and they are closed before anything is asked.
 * POSTGRES: the seats, and the connection's files when it has some.
 * POSTGRES_END: its files alone. It serves nobody: it ends what an earlier helper of the same options left behind in
 * the server. */
enum { SQL_FD_SEATS, SQL_FD_DATABASE, SQL_FD_JOURNAL, SQL_FD_MEND_DATABASE, SQL_FD_MEND_JOURNAL, SQL_FDS_MAX };

/* One process of the server's, for ever: its number, and when it began (us since 1970, by the server's clock); and the
 * server's version as libpq has it (150004). */
struct sql_backend {
    int64_t pid, began; /* pid 0: none */
    int64_t server;
};

/* What a connection's options name, as the host has read it: PEM texts, one behind the other in one descriptor. Behind
 * the wall there are no files; the options have these names instead of paths. */
enum sql_file { SQL_FILE_ROOT, SQL_FILE_CERTIFICATE, SQL_FILE_KEY, SQL_FILES };
#define SQL_FILE_NAMES \
    { \
        "sslrootcert", "sslcert", "sslkey" \
    }
#define SQL_FILE_MAX (1024u * 1024) /* bytes of one */

struct sql_start {
    uint32_t version, kind, write, seat;
    uint64_t serial;         /* of this helper: requests for another are not its own */
    uint64_t memory;         /* bytes that the engine may take */
    uint64_t database_max;   /* bytes; sqlite */
    uint64_t statement_ns;   /* of one request at most */
    uint64_t transaction_ns; /* of rows or a transaction that stay open */
    uint64_t idle_ns;        /* without a request; then it leaves */
    uint32_t rows_max;
    struct sql_backend backend; /* POSTGRES_END */
    /* POSTGRES, POSTGRES_END. The options may hold a password: pairs of texts, NAME 0 VALUE 0, as libpq takes them. */
    _Alignas(8) uint8_t server[128]; /* a struct sockaddr_storage */
    uint32_t server_len, options_len;
    uint32_t files[SQL_FILES]; /* bytes of each; 0: there is none */
    char options[SQL_OPTIONS_MAX];
};

/* What a helper tells the host. */
enum sql_word_kind {
    SQL_REFUSED = 1, /* what nothing can allow; operation: "ATTACH", a short word */
    SQL_SERVED,      /* postgres: `backend` works for it */
    SQL_TOGETHER,    /* it shares CPU number `cpu` with its worker, which makes each wait for the other */
};

struct sql_word {
    uint32_t version, kind;
    struct sql_backend backend;
    int32_t cpu;
    char operation[32];
};

#endif
