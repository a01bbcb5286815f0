/* orchestrator/feed: the last events of one task, for those who follow it.  Private to src/orchestrator.
 *
 * It is made when the first one begins to follow, and holds a bounded text that all of them read, each at a place of
 * its own: a reader that falls behind what is kept is cut off, and costs nothing more.  Any thread, unless a line says
 * else; nothing blocks. */
#ifndef ORCHESTRATOR_FEED_H
#define ORCHESTRATOR_FEED_H

#include "base/loop.h"
#include "orchestrator/orchestrator.h"

#define FEED_BYTES (256 * 1024)
#define FEED_EVENTS 2048 /* of them a client may come back to */

struct feed;

struct feed *feed_new(void); /* one reference; NULL: no memory */
struct feed *feed_ref(struct feed *f);
void feed_unref(struct feed *f); /* NULL is fine */
/* One event more; what has too many bytes for the feed is not told. */
void feed_put(struct feed *f, const char *name, const void *json, size_t len);
void feed_end(struct feed *f); /* nothing comes any more */

/* ---- one who follows ---- */

/* One event that is its own comes first, then what comes into the feed from now on; feed NULL: nothing more. NULL: no
 * memory. */
struct follow *follow_new(const struct task_following *how, struct feed *feed, const char *name,
                          const struct buf *json);
/* The same, going on behind the event with this id; NULL: it is not known any more (or no memory). */
struct follow *follow_after(const struct task_following *how, struct feed *feed, const char *id);
/* It is told that it may read, on its loop. */
void follow_begin(struct follow *f);

#endif
