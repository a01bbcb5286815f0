/* wire/channel: the host's end of one worker's shared memory.  Carries calls in and answers out; knows nothing of
 * plugins, queues or deadlines' meaning.  Trusts no byte that the worker can write.
 *
 * Two sealed memory files with one writer each: H2W (host writes, worker maps read-only) and W2H (worker writes, host
 * maps read-only).  Each holds a page of waited-on words, a byte ring of records, and two large slots (extents) for
 * payloads above CHANNEL_INLINE_MAX.  See docs/channel.md for the layout.
 *
 * One owner thread at a time (channel_reply says where it differs).  A worker that breaks the protocol makes
 * channel_next answer CHANNEL_BROKEN for ever: its owner has it killed. */
#ifndef WIRE_CHANNEL_H
#define WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define CHANNEL_INLINE_MAX (16 * 1024)
#define CHANNEL_WINDOW 256    /* records in flight at most */
#define CHANNEL_ASK_EXTRA 128 /* bytes that an ask may have beyond payload_max: names before parameters */

struct channel;

/* h2w, w2h and bell (an eventfd, never read by the host) are the descriptors for the worker; they are the caller's and
 * may be closed once sent.  payload_max bounds parameters and results. */
int channel_new(size_t payload_max, struct channel **out, int *h2w, int *w2h, int *bell, struct error *err);
void channel_free(struct channel *ch);

enum channel_kind {
    /* host to worker; each is answered by exactly one CHANNEL_RESULT or CHANNEL_FAILURE, in the order of submission */
    CHANNEL_CALL = 1,
    CHANNEL_HEALTH,
    CHANNEL_CONFIGURE,
    CHANNEL_SHUTDOWN,
    CHANNEL_SAVE,
    CHANNEL_RESTORE,
    /* worker to host */
    CHANNEL_RESULT = 32, /* payload: the action's JSON, the saved state, or empty for the others */
    CHANNEL_FAILURE,     /* payload: code NUL message, both the plugin's own words; HEALTH: it is not healthy */
    CHANNEL_LOG,         /* payload: text; status is the level; belongs to the running call, answers nothing */
    CHANNEL_PROGRESS,    /* payload: text; status is thousandths */
    CHANNEL_ASK,         /* payload: what the running call asks of the host; status is the service (wire/ask.h); the
                            worker waits for channel_reply and says nothing before it */
};

/* Room for a payload of len bytes (and JSON_PAD behind it) in memory that the worker cannot write: check it there.
 * NULL when the window, the ring or the large slots are full, or a reservation is open: take answers first. */
uint8_t *channel_reserve(struct channel *ch, size_t len);
void channel_unreserve(struct channel *ch);

/* Publishes what was reserved (len may be less than that). deadline is CLOCK_MONOTONIC ns, 0 for none; cookie comes
 * back with each answer. The slot number (below CHANNEL_WINDOW) is for channel_cancel. */
unsigned channel_submit(struct channel *ch, enum channel_kind kind, uint32_t action, uint64_t deadline, size_t len,
                        void *cookie);

/* Once after a batch: wakes the worker when it sleeps. */
void channel_ring(struct channel *ch);

/* Sets the flag that the running call can see; a call that was not taken yet is then answered by a CHANNEL_FAILURE with
 * code "cancelled" unrun.  Nothing happens when the slot's call was answered already. */
void channel_cancel(struct channel *ch, unsigned slot);

/* Has the worker begun this call?  Its own word for it: good for a receipt, never for a right. */
bool channel_taken(struct channel *ch, unsigned slot);

/* Which limit did the worker run into while it worked on that request?  0: none.  Its own word: good for the wording of
 * an error, never for a right; *seen is what it wanted. */
enum channel_when { CHANNEL_AT_START, CHANNEL_AT_OLDEST, CHANNEL_AT_ANSWERED };
unsigned channel_overran(const struct channel *ch, enum channel_when when, uint64_t *seen);

enum channel_got { CHANNEL_EMPTY, CHANNEL_GOT, CHANNEL_BROKEN };

struct channel_answer {
    enum channel_kind kind;
    void *cookie; /* of the call it belongs to; NULL for a log line outside any call */
    uint32_t status;
    size_t len;            /* checked against every bound */
    const uint8_t *shared; /* still the worker's to change: copy once, check the copy */
};

/* The next record. The header was copied once and checked. Until channel_release the payload's memory stays put; the
 * next channel_next releases by itself. A worker that floods the channel with logs and progress is broken too, but a
 * loop should still read a bounded number at a time. */
enum channel_got channel_next(struct channel *ch, struct channel_answer *out);
void channel_release(struct channel *ch);
const char *channel_broken_why(const struct channel *ch);

size_t channel_in_flight(const struct channel *ch);

/* Answers what was asked: exactly once for each CHANNEL_ASK, by any one thread, while the channel lives; here: the
 * worker may be put on this thread's CPU, from which the owner lets it go. Copies len bytes (payload_max at most), to
 * where the worker cannot write, and wakes it. */
void channel_reply(struct channel *ch, bool ok, const void *bytes, size_t len, bool here);

/* Waiting.  A blocking owner: spins for a short while when it may, then yields or sleeps on a futex until an answer,
 * until_ns (CLOCK_MONOTONIC, 0: without end) or channel_wake.  false on timeout only.
 * A loop: channel_arm, sleep in epoll on channel_fd (edge-triggered, never read), channel_disarm, drain; when
 * channel_fd was what fired it says so with channel_rang, which counts rings that bring nothing and breaks the channel
 * of a worker that does nothing else. */
bool channel_wait(struct channel *ch, uint64_t until_ns, bool spin);
void channel_wake(struct channel *ch);   /* any thread: ends a channel_wait early, or the next one */
void channel_linger(struct channel *ch); /* a loop that rang: lets a worker on its CPU go first, if it is quick */
int channel_fd(const struct channel *ch);
bool channel_arm(struct channel *ch); /* false: an answer is there already, do not sleep */
void channel_disarm(struct channel *ch);
void channel_rang(struct channel *ch);

/* The host's grant that the worker may spin for work, up to 100 us at a time, instead of sleeping.  Without a second
 * CPU it changes nothing. */
void channel_allow_spin(struct channel *ch, bool allowed);
bool channel_worker_sleeps(const struct channel *ch);

/* Tells the channel which process (as the host sees it) is behind it; 0: none.  From then on a sleeping worker is put
 * on the caller's CPU before it is woken, which saves an interrupt between CPUs, a spinning one elsewhere, and one that
 * computes for over 2 ms while a blocking owner waits is let go.  channel_unpin lets it go at once (any thread). */
void channel_place(struct channel *ch, pid_t worker);
void channel_unpin(struct channel *ch);

/* After the worker's death, and after the last answers were read: hands back every unanswered cookie in order; taken
 * says that the worker had begun it (a worker that wrote nonsense there has begun them all). */
void channel_abandon(struct channel *ch, void (*each)(void *cookie, bool taken, void *context), void *context);

#endif
