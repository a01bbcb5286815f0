/* broker/sql_end: what a PostgreSQL server is asked goes on there when the helper that asked is dead.  This sends
 * another helper after it, which has the same options, ends the server's process, and leaves.  Owns those on their way.
 * The keeper's loop alone, unless a line says otherwise. */
#ifndef BROKER_SQL_END_H
#define BROKER_SQL_END_H

#include "base/loop.h"
#include "broker/sql.h"

#define SQL_ENDERS_MAX 32 /* at a time; they wait for servers, and a statement has the server's own limits too */

struct sql_ender;
struct sql_enders {
    struct loop *loop;
    struct sql_ender *all;
    _Atomic unsigned count;                      /* any thread */
    void (*one_left)(struct sql_enders *enders); /* it is one less */
};

/* start, files: of the one that has left, its options included; files is the caller's, -1 when there are none. What
 * fails is in the log: nobody waits for it. */
void sql_end_backend(struct sql_enders *e, struct spawner *spawner, const struct sql_user *user,
                     const struct sql_start *start, int files, const struct sql_backend *backend,
                     const struct wall_limits *limits);

/* The loop has stopped: those that are left are killed. */
void sql_enders_clear(struct sql_enders *e);

#endif
