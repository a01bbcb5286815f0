/* broker/sql: the helpers that run plugins' queries.  Owns each from its start to its end: one helper for one worker
 * and one data source, with the plugin's authority over it (read, or read and write) fixed at its start.  Knows no
 * policy and no source: who opens one has decided, and brings the open files or the connection's options.
 *
 * One for each worker and not for each plugin: a helper then does one thing at a time, a call that is cancelled or late
 * takes nobody else's query along, and the end of a worker is the end of all that it has open.
 *
 * Any thread, unless a line says otherwise; sql_open and sql_end may block for a moment. */
#ifndef BROKER_SQL_H
#define BROKER_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "sandbox/spawner.h"
#include "wire/seat.h"
#include "wire/sql.h"

struct sql_keeper;

/* Who a helper is for. */
struct sql_user {
    const char *plugin, *version, *source;
    uint64_t worker; /* a number that no other worker has had */
    bool write;
};

struct sql_config {
    /* On a thread of the keeper's: a helper has refused what nothing can allow. operation is cleaned. */
    void (*refused)(void *context, const struct sql_user *user, const char *operation);
    /* Of helpers that are sent after others (broker/sql_end); on that thread too. */
    struct spawner *(*spawner)(void *context);
    void *context;
};
int sql_keeper_new(const struct sql_config *config, struct sql_keeper **out, struct error *err);
/* Ends all helpers and waits until they are dead. */
void sql_keeper_free(struct sql_keeper *k);

struct sql_opening {
    struct sql_user user;
    int seats;                /* the worker's file; stays the caller's, as all descriptors here */
    struct sql_start start;   /* but for version, seat and write */
    int fds[SQL_FDS_MAX - 1]; /* of the source, from SQL_FD_DATABASE on */
    size_t nfds;
    struct spawner *spawner;
};

/* Starts a helper and gives it a seat of the worker's, and a serial that no other of this keeper's has had. One that
 * serves the same worker and source is ended first; where all seats are taken, the one that was opened first.
 * MOAT_E_START_FAILED, MOAT_E_OUT_OF_MEMORY, MOAT_E_NOT_READY (those who leave take too long). */
int sql_open(struct sql_keeper *k, const struct sql_opening *o, struct seat_told *out, struct error *err);

/* This one is ended, if it is still there; nobody waits for that. */
void sql_close(struct sql_keeper *k, uint64_t serial);

/* Ends all helpers, and waits for timeout_ns at most until servers have ended what they left there. What is left then,
 * or comes later, is left to the server's own limits: the spawners go. */
void sql_keeper_stop(struct sql_keeper *k, uint64_t timeout_ns);

/* Its helpers are ended; nobody waits for that. */
void sql_worker_gone(struct sql_keeper *k, uint64_t worker);

/* Ends every helper that `keep` does not want and waits until they are dead; MOAT_E_REVOKE_INCOMPLETE names one that is
 * not after timeout_ns. keep runs under the keeper's lock. */
int sql_end(struct sql_keeper *k, bool (*keep)(void *context, const struct sql_user *user), void *context,
            uint64_t timeout_ns, struct error *err);

size_t sql_helpers(struct sql_keeper *k); /* that live */

#endif
