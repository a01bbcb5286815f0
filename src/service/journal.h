/* service/journal: what plugins said last, in memory: records by number, at most so many bytes of them (the setting
 * log_memory), the oldest leave first; gone with the process.  A thread of its own writes them to the server's log and
 * wakes who waits for more, so that nobody who adds a line ever waits for a terminal or a disk.  When that thread is
 * slower than the lines come it skips those that have left, and says so.
 *
 * Any thread.  Private to src/service. */
#ifndef SERVICE_JOURNAL_H
#define SERVICE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/loader.h"

#define JOURNAL_WAITERS 256
#define JOURNAL_SEATS 256

struct record {
    _Atomic int refs;
    uint64_t seq, at_ns; /* from 1; wall */
    enum line_source source;
    unsigned level;
    pid_t pid;
    uint64_t dropped;
    const char *plugin, *version, *action, *call, *trace, *text; /* "" when there is none */
    size_t cost;
    char texts[];
};
void record_unref(struct record *r);

struct journal;
int journal_open(uint64_t bytes, struct journal **out, struct error *err); /* starts its thread */
/* Nobody adds any more. Writes what is left; NULL is fine. */
void journal_close(struct journal *j);

/* From now on so many bytes; the oldest leave. false: no memory, it stays as it was. */
bool journal_limit(struct journal *j, uint64_t bytes);

void journal_add(struct journal *j, const struct loader_line *line);

/* Eight hexadecimal digits, other ones for each journal: with a record's number they mean that record for ever. */
const char *journal_name(const struct journal *j);

struct journal_span {
    uint64_t oldest, newest; /* numbers of what is kept; newest < oldest: nothing */
};
struct journal_span journal_span(struct journal *j);
/* References to what is kept of [from, to], in order, at most max of them from the front. How many. */
size_t journal_take(struct journal *j, uint64_t from, uint64_t to, struct record **out, size_t max);

/* Calls wake once: when a record behind `after` fits, at `until` (monotonic; UINT64_MAX: never), or when waiting is
 * over for good. All up to seen was looked at and does not fit. On the journal's thread, must not block. */
struct journal_waiter {
    uint64_t after, until;
    bool (*fits)(const void *context, const struct record *r);
    void (*wake)(void *context, uint64_t seen);
    void *context;
    bool seated; /* it has a seat */
};
enum journal_waits {
    JOURNAL_WAITS,
    JOURNAL_MOVED,   /* there is something behind `after` now: look again */
    JOURNAL_ENDS,    /* nobody waits any more */
    JOURNAL_CROWDED, /* JOURNAL_WAITERS do already */
};
enum journal_waits journal_wait(struct journal *j, const struct journal_waiter *waiter);
/* The waiter with this context goes. false: there is none, its wake was called. */
bool journal_unwait(struct journal *j, const void *context);
/* Who waits again and again takes a seat, with which it is never crowded out, until it stands up. false: JOURNAL_SEATS
 * are taken. */
bool journal_sit(struct journal *j);
void journal_stand(struct journal *j);
/* Wakes all, and lets nobody wait from now on. */
void journal_end_waits(struct journal *j);

#endif
