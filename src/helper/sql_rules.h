/* helper/sql_rules: what a statement may do in SQLite: the authorizer, as one table. */
#ifndef HELPER_SQL_RULES_H
#define HELPER_SQL_RULES_H

#include <stdbool.h>

/* The last refusal while a statement was prepared; reset it before. */
struct sql_verdict {
    bool refused;
    bool needs_write; /* with the right to write it would be allowed */
    char operation[32];
    char why[160];
};
extern struct sql_verdict sql_verdict;

struct sqlite3;
void sql_rules_install(struct sqlite3 *db, bool write);

#endif
