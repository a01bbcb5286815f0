/* loader/errand: what supervise asks of one worker beside its calls: take this configuration, save your state, restore
 * that one.
 *
 * A worker on an errand is paused (WORKER_PAUSED): it gets no new calls, neither from the queue nor from a thread that
 * borrows, its loop has it and keeps it.  When the calls that it had are over the loop sends the one request, and tells
 * supervise the answer.  The pause goes on until supervise ends it: several workers can change together.
 *
 * An errand passes between two threads by its state, and only by that:
 *
 *   NONE ──errand_send──> ASKED ──loop, worker at rest──> SENT ──answer──> TOLD ──supervise has looked──> NONE
 *                           └──errand_withdraw──> NONE        └── the worker dies: supervise hears of that anyway
 */
#ifndef LOADER_ERRAND_H
#define LOADER_ERRAND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/loop.h"
#include "wire/channel.h"

#define ERRAND_NS (5 * NS_PER_S) /* to answer in, and to say how it is; then the worker is ended */

struct worker;

enum errand_state { ERRAND_NONE, ERRAND_ASKED, ERRAND_SENT, ERRAND_TOLD };
enum errand_answer {
    ERRAND_DONE,
    ERRAND_REFUSED,      /* the plugin says no, in `message` */
    ERRAND_NOT_SUPPORTED /* its table has no such function, or this host no room for the answer */
};

struct errand {
    _Atomic int state;
    struct loop_task task; /* loop, then supervise */
    /* supervise's while NONE, then the loop's */
    enum channel_kind kind;
    uint8_t *bytes; /* owned; wiped when it is over: a configuration may hold secrets */
    size_t len;
    uint64_t span_ns; /* to answer in, from sending; then the worker is ended */
    /* the loop's while SENT, then supervise's */
    enum errand_answer answer;
    char message[200];
    uint8_t *blob; /* owned: the saved state */
    size_t blob_len;
};

/* supervise: pauses the worker and asks; bytes are taken. false: an earlier one is not over, nothing has happened. */
bool errand_send(struct worker *w, enum channel_kind kind, uint8_t *bytes, size_t len, uint64_t span_ns);
/* supervise: true: the worker had not been sent it, and is not. It stays paused. */
bool errand_withdraw(struct worker *w);
bool errand_is_free(const struct worker *w);
void errand_clear(struct worker *w);                          /* frees what is left, the worker is gone */
void errand_death(const struct worker *w, struct error *err); /* supervise: how it ended, in words */

/* supervise: no new calls; and again. */
void worker_pause(struct worker *w);
void worker_resume(struct worker *w);

/* the loop */
void errand_serve(struct worker *w, uint64_t now); /* sends what is asked when nothing is in flight */
void errand_answered(struct worker *w, const struct channel_answer *a);

#endif
