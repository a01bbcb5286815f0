/* rest/run: one action's run on behalf of a request: known by its id while it runs, remembered by its receipt after,
 * and run at most once for an Idempotency-Key.  Owns the list of what runs and the last RUNS_RECEIPTS receipts.
 *
 * Threads: run_begin and run_leave on the run's loop; the rest any. */
#ifndef REST_RUN_H
#define REST_RUN_H

#include <pthread.h>

#include "service/service.h"

#define RUNS_RECEIPTS 10000
#define RUN_KEY_MAX 255

struct runs;
struct keys;
struct key_entry;

enum run_replay { RUN_PLAIN, RUN_FIRST, RUN_REPLAYED }; /* without a key; with a new one; with a known one */

/* In its owner's memory, from run_begin to done. Clear it, fill the inputs of `call` but loop, done and context. */
struct run {
    struct call call;
    int64_t token;   /* who asks; 0: not by a token */
    const char *key; /* Idempotency-Key, or NULL */
    struct loop *loop;
    bool at_once;                  /* as call's */
    void (*done)(struct run *run); /* on loop, perhaps before run_begin returns; call has the outcome */
    void *context;
    enum run_replay replay; /* out */
    /* the module's own */
    struct runs *runs;
    uint64_t began_ns; /* wall */
    struct run *next, **link;
    struct key_entry *entry; /* this run is the one that the key's others wait for */
    struct loop_task task;
    bool listed, left;
};

struct runs *runs_new(struct loader *loader); /* NULL: no memory */
void runs_free(struct runs *r);               /* every run is done */

/* Zero, but for the text of an error that is none. */
void run_clear(struct run *run);
/* Its call has an id when this returns or done is called. */
void run_begin(struct runs *r, struct run *run);
/* Nobody waits for it any more. done still comes. Without a key the call is cancelled; with one it runs on, for its
 * client may come back for the answer. */
void run_leave(struct run *run);

/* Cancels the call of this id; false: none such runs. */
bool runs_cancel(struct runs *r, const char *id);

/* ---- what ran ---- */

struct run_record {
    char id[33], plugin[MANIFEST_NAME_MAX + 1], action[MANIFEST_ACTION_MAX + 1], version[MANIFEST_VERSION_MAX + 1];
    int64_t token;
    uint64_t began_ns; /* wall */
    enum moat_code code;
    uint64_t queued_ns, ran_ns, cpu_ns, bytes_in, bytes_out; /* of what runs now: bytes_in alone */
};
struct run_filter {
    const char *plugin; /* NULL: any */
    size_t limit;
};
/* In the order of beginning; shown is valid during each. Under a lock: each only writes it down. */
void runs_each_running(struct runs *r, const struct run_filter *f,
                       void (*each)(void *context, const struct run_record *record), void *context);
/* Newest first. */
void runs_each_ended(struct runs *r, const struct run_filter *f,
                     void (*each)(void *context, const struct run_record *record), void *context);
size_t runs_running(struct runs *r);

/* ---- keys.c: what an Idempotency-Key stands for: KEYS_NS long, the last KEYS_MAX of them, and KEYS_BYTES of answers.
 * Beyond these the oldest answer goes first, and its key after. Nothing outlives the process. ---- */

#define KEYS_NS (600 * NS_PER_S)
#define KEYS_MAX 10000
#define KEYS_BYTES (64ull << 20)

struct keys *keys_new(void);
void keys_free(struct keys *k);

enum keys_claim {
    KEYS_RUN,  /* nobody had it: the run is the one, and run->entry is set */
    KEYS_WAIT, /* it runs: run->done comes with its outcome */
    KEYS_DONE, /* run->call has the outcome: an earlier one's, or a refusal */
};
enum keys_claim keys_claim(struct keys *k, struct run *run);
/* The run of a claimed key has ended: remembered unless it never reached the plugin, and told to those that wait. */
void keys_settle(struct keys *k, struct run *run);
/* Takes a waiting run out; false: its outcome is on its way. */
bool keys_leave(struct keys *k, struct run *run);
/* May this run be cancelled when its client has left? Not while others wait for it, nor for its key's sake. */
struct keys_figures {
    size_t keys;
    uint64_t bytes;
};
struct keys_figures keys_figures(struct keys *k);

#endif
