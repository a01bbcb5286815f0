/* helper/sql_words: what a statement for PostgreSQL begins with decides whether it is passed on; what it may then do
 * the role and the transaction decide, in the server.  Pure. */
#ifndef HELPER_SQL_WORDS_H
#define HELPER_SQL_WORDS_H

#include <stdbool.h>

#define SQL_WORDS_MAX 24

enum sql_words {
    WORDS_REFUSED, /* sessions, files, code, other roles: SET, COPY, DO, CALL, LOAD, PREPARE, … */
    WORDS_READ,
    WORDS_WRITE,
    WORDS_BEGIN,
    WORDS_COMMIT,
    WORDS_ROLLBACK,
    WORDS_SAVEPOINT
};

/* first: the first word, in capitals, or "". */
enum sql_words sql_words(const char *sql, char first[SQL_WORDS_MAX]);

#endif
