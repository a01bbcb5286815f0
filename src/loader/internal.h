/* loader/internal: the shapes that the files of src/loader share, and who may touch what.
 *
 * Every field below is under one of five rules; docs/loader.md draws them:
 *   fixed      set before others can see the object, never again
 *   atomic     any thread, as its comment says
 *   lock       under the plugin's lock; held for a few lines, never while calling out
 *   supervise  only on the supervise thread
 *   loop       only on the plugin's loop
 *   owner      only by who took the worker out of its slot (the plugin's loop, or a thread in call_run) */
#ifndef LOADER_INTERNAL_H
#define LOADER_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "loader/ask.h"
#include "loader/call_list.h"
#include "loader/canary.h"
#include "loader/change.h"
#include "loader/errand.h"
#include "loader/explained.h"
#include "loader/guard.h"
#include "loader/hand.h"
#include "loader/lane.h"
#include "loader/lines.h"
#include "loader/loader.h"
#include "loader/op.h"
#include "loader/outcome.h"
#include "loader/overrun.h"
#include "loader/pooled.h"
#include "loader/queue.h"
#include "loader/quota.h"
#include "loader/rate.h"
#include "loader/record.h"
#include "loader/start.h"
#include "loader/table.h"
#include "loader/tuned.h"
#include "sandbox/cgroup.h"
#include "sandbox/explain.h"
#include "sandbox/spawner.h"
#include "sandbox/wall.h"
#include "wire/channel.h"

#define PLUGIN_SLOTS 64   /* living workers of one plugin, old generations included */
#define PLUGIN_WORKERS 31 /* of one generation at most, so that the next one always finds slots */
#define START_TIMEOUT_NS (10 * NS_PER_S)
#define CANCEL_GRACE_NS (50 * NS_PER_MS)
#define SHUTDOWN_GRACE_NS (2 * NS_PER_S)
#define GATE_GRACE_NS (5 * NS_PER_S)
#define CIRCUIT_NS (30 * NS_PER_S) /* a plugin that fails in a row is left alone for so long */
#define TICK_NS (5 * NS_PER_S)     /* how often supervise looks around while workers live */
#define PROBE_NS (30 * NS_PER_S)   /* a plugin that is in use, or was not well, is asked how it is so often */
#define REVOKE_LATE_NS (5 * NS_PER_S)
#define WINDOW_WORK_NS (100 * NS_PER_US) /* work in one worker's channel, as far as it was measured */
#define LINE_MAX_SHOWN 200

struct worker;
struct generation;

/* ---- one call's inside (call.c) ---- */

enum call_state { CALL_NEW, CALL_QUEUED, CALL_SENT, CALL_DONE };

/* A thread in call_run that waits for calls in a queue. */
struct waiter {
    _Atomic uint32_t left;
};

struct hidden {
    struct loop_task task;  /* posts the completion */
    struct call *prev;      /* lock: in the queue */
    struct generation *gen; /* whose schema the copy was checked with: a reference */
    uint8_t *copy;          /* malloc'd parameters, or NULL: still the caller's, not yet checked */
    uint64_t begun_ns, deadline_ns, sent_ns;
    struct waiter *waiter;
    _Atomic(struct plugin *) plugin;
    struct inquiry *of; /* fixed: the ask that it runs for; NULL: a call of the host's */
    uint32_t action;
    _Atomic uint8_t state;
    _Atomic uint8_t cancel;
    uint8_t tries;
    uint8_t side; /* 1: it is the canary's (queue.c) */
    bool trial;   /* the one call that an open circuit lets through */
    bool lent;    /* a thread in call_run owns the channel it is in: nobody needs to be told */
};
_Static_assert(sizeof(struct hidden) <= sizeof(((struct call *)0)->internal), "struct call has room for it");

static inline struct hidden *call_hidden(struct call *c)
{
    return (struct hidden *)(void *)c->internal;
}

/* The deadline of a call that names none; gen NULL: of no plugin. */
uint64_t call_usual_span(const struct loader *l, const struct generation *gen);
/* Fills ids, times and the deadline. */
void call_open(struct loader *l, struct plugin *p, struct call *c, const struct generation *gen, uint64_t now);
/* Action, size, syntax and schema against gen; writes the checked text to room when it is not NULL, else to a copy that
 * the call owns. 0 or -code with c->error filled. */
int call_check(struct call *c, struct generation *gen, uint8_t *room);
/* Into the detail of c->error: {"pointer","reason"}. */
void call_detail(struct call *c, const struct json_fault *fault);
/* code and message stand in c->error; 0 leaves it. Then done, exactly once: on `here` (a list of the loop that runs
 * this) or by post, or for the waiter. */
void call_finish(struct call *c, int code, struct call_list *here);
/* Of one that a worker had. */
void call_finish_in(struct worker *w, struct call *c, int code, struct call_list *here);
/* The gate's words; the size's. */
int call_refused(struct call *c, const struct generation *gen);
int call_too_large(struct loader *l, struct call *c);
/* Checks and queues; 0 or -code, then it is not queued and the caller finishes it. */
int call_queue(struct loader *l, struct call *c, bool again); /* again: it was opened before */
void waiter_wait(struct waiter *w);
void waiter_tell(struct waiter *w);

/* ---- one worker ---- */

enum {
    WORKER_DEAD = 1,    /* its process has ended: supervise said so */
    WORKER_KILLED = 2,  /* SIGKILL is on its way */
    WORKER_RETIRED = 4, /* no new calls; ends when those it has are answered */
    WORKER_PAUSED = 8   /* no new calls for a while: supervise has something to ask it (errand.h) */
};

enum kill_why {
    KILL_NOT,
    KILL_DEADLINE,
    KILL_CANCELLED,
    KILL_REVOKED,
    KILL_STOPPED,
    KILL_BROKEN,
    KILL_START,
    KILL_SHUTDOWN,
    KILL_SPAWNER,
    KILL_CPU,
    KILL_EXPLAIN,
    KILL_QUOTA
};

/* The host's fault, not the plugin's: it is started anew. */
static inline bool kill_was_ours(int why)
{
    return why == KILL_SPAWNER || why == KILL_EXPLAIN;
}

/* One record in the channel. */
struct flight {
    struct call *call; /* NULL: a control record, or its call was answered early */
    uint64_t sent_ns, deadline_ns, kill_at;
    uint64_t cpu_from_ns,
        cpu_at; /* where its CPU time is bounded: the clock at its begin; when to look next, 0: not begun */
    uint16_t slot;
    uint8_t kind;
    bool flagged; /* told that it is cancelled */
    uint32_t action;
};

/* What is counted per worker: the owner writes, anyone reads (relaxed). On lines of its own: nothing else shares them.
 */
struct tally {
    alignas(64) _Atomic uint64_t executions, cpu_ns, last_ns;
    _Atomic uint32_t in_flight;
};

/* The owner's side of a worker (lane.c). */
struct lane {
    struct channel *ch;                    /* fixed from ready to gone */
    struct flight flights[CHANNEL_WINDOW]; /* [head, tail) in flight, in the order of the channel */
    uint32_t head, tail;
    uint64_t work_ns;   /* the estimates of what is in flight */
    uint64_t prev_ns;   /* the last answer */
    uint64_t soonest;   /* nothing in flight needs a look before that */
    uint64_t let_go_at; /* loop: a worker that still computes then is let off the loop's CPU */
    bool armed, pushed, shutdown, placed;
    uint64_t leave_by; /* loop: told to shut down, it is gone by then */
    /* spinning (run.c) */
    uint64_t lent_ns; /* end of the last loan */
    uint32_t streak;
    int spin_slot, spin_cpu;
    bool spins;
    /* CPU time (stats.c) */
    uint64_t cpu_seen_ns, cpu_seen_at, cpu_calls, cpu_share;
    struct line_rate log_rate;
    bool asks; /* the call at the head has asked for something */
};

enum worker_state {
    WORKER_SPAWNING,
    WORKER_HALF,
    WORKER_ASSIGNED,
    WORKER_HELD, /* its wall stands, the verdict on its code is to come */
    WORKER_GOING,
    WORKER_READY,
    WORKER_ENDED
};

/* Lines of the output pipe (output.c). */
struct output {
    struct loop_watch watch;
    struct loop_timer pause;
    char line[OUTPUT_LINE_MAX];
    size_t used;
    bool cut;
    uint64_t window_ns;
    uint64_t window_bytes;
    struct line_rate rate;
};

struct worker {
    _Atomic int refs; /* supervise's and the explain thread's */
    struct loader *l;
    struct plugin *plugin;    /* fixed once assigned */
    struct generation *gen;   /* fixed once assigned: a reference */
    struct child child;       /* supervise; pid and pidfd fixed from WORKER_HALF on */
    unsigned slot;            /* fixed once assigned */
    clockid_t cpu_clock;      /* fixed once ready: of its process, all threads */
    uint64_t quota_cpu_ns;    /* supervise (quota.c): that clock when it was armed by it */
    _Atomic uint32_t flags;   /* atomic: set by any thread; none but WORKER_PAUSED is ever cleared, by supervise */
    _Atomic int why;          /* atomic: enum kill_why, the first reason stays */
    _Atomic bool exposed;     /* atomic: it is or was ready, so that owners may have it */
    _Atomic bool look;        /* atomic: a call in its channel was cancelled */
    _Atomic uint32_t running; /* atomic: action + 1 of the call at the head, for denials */
    struct attribution about; /* atomic: that call, or the last one, for what is read of its output */

    /* supervise */
    enum worker_state state;
    bool half; /* it said so */
    bool explain_added;
    struct worker *next;        /* in the pool, or among the plugin's living */
    struct worker *next_of_all; /* among the loader's */
    struct loop_watch status, control;
    struct loop_timer timer; /* the start takes too long; later, retired: the grace is over */
    struct output output;
    uint64_t birth, ready_ns;
    struct wall_request request;
    int tmp;                        /* its /tmp, to see how full it is; -1; fixed from ready on */
    int seats;                      /* for queries (wire/seat.h), or -1; fixed once assigned, open as long as this is */
    uint64_t number;                /* fixed once assigned: its own */
    int net;                        /* over which it is handed connections; -1: it is not; fixed once assigned */
    struct cgroup cgroup;           /* fixed once assigned; supervise removes it */
    struct child_event death;       /* fixed once WORKER_DEAD is set */
    char broken[160];               /* owner, then fixed once dead: why it was killed */
    char last_line[LINE_MAX_SHOWN]; /* lock */
    uint64_t last_output_ns;        /* lock */

    struct loop_task task;    /* loop, then supervise: the way out */
    struct worker *busy_next; /* loop */
    struct loop_watch bell;   /* loop */
    bool busy, bell_rang;     /* loop */
    unsigned strays;          /* loop: rings while it was not busy */
    struct explained explained;
    struct errand errand;
    bool asked, took; /* supervise (change.c): it is being configured, it was */
    struct lane lane;
    struct tally tally;
    _Atomic(struct action_tally *) *acts; /* fixed once assigned; each made by the owner */
    size_t nacts;
    _Atomic(struct outcomes *) outcomes; /* made by the owner at its first answer, then fixed */
    uint64_t rated;                      /* supervise (rate.c): so many of them were looked at */
    uint64_t outcomes_from;              /* supervise: those before say nothing about what is now */
    uint64_t counted;                    /* the plugin's lock (counts.c): executions that were told to on_counts */
    struct worker_asks asks;
};

/* ---- one generation ---- */

struct generation {
    _Atomic int refs;
    struct plugin *plugin;
    struct spec *spec; /* NULL only behind a closed gate */
    enum moat_code gate;
    char gate_message[256];
    bool stopped; /* the gate was closed by loader_stop: loader_start opens it */
    char version[MANIFEST_VERSION_MAX + 1];
    uint64_t deadline_max_ns;      /* of the manifest and of the operator, when it was made */
    bool deadline_own;             /* the manifest names one: it holds for calls that name none */
    struct manifest_limits limits; /* what holds: the caps are applied */
    uint64_t cpu_ns;               /* of one call; 0: the deadline ends it before, nobody need look */
    uint32_t nworkers;
    bool may_wait;              /* for other plugins: nothing is put behind its running calls */
    _Atomic uint32_t *estimate; /* atomic: per action, ns of a run, as measured; starts at the window's work */

    _Atomic bool canary;   /* atomic: it is one now */
    struct record *record; /* fixed once ready; NULL: there was no memory for it */
    struct quota *quota;   /* fixed; NULL: there is nothing that it may write */

    /* supervise */
    struct spec *told; /* a reference: the spec, with the configuration that its workers have by now */
    int start_fd;
    bool asked;       /* need_spec was called, the answer is to come */
    unsigned percent; /* of the calls: as a plugin's next or canary; 0: it is none */
    bool held;        /* no code of it runs before the verdict; only as a plugin's next */
    bool old;         /* not current any more, or given up */
    bool loaded;      /* counted */
    bool guard_asked; /* its configuration is to be watched */
    struct loader_guard_ask guard;
    unsigned starting, ready, lost;
    struct op *waiters;            /* done when ready */
    struct generation *next_start; /* waits for a half-built wall */
    bool waits_for_wall;
};

/* ---- one plugin ---- */

enum circuit { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_TRIAL };

/* What supervise shows to loader_status. */
struct shown {
    bool defined, starting, next, gate_closed, needs_grant;
    unsigned ready, living;
    uint64_t not_before;
    enum health health; /* the worse of the two below */
    uint64_t health_since_ns;
    char health_why[200];
    struct opinion {
        enum health health;
        char why[200];
    } own, rate; /* of its life and its own words; of how its calls end (rate.c), HEALTH_UNKNOWN: nothing against it */
};

struct errors_kept {
    uint64_t by_code[MOAT_E_COUNT];
    struct last_error last[20];
    unsigned next;
};

/* Errors and killed calls of one version. */
#define COUNTS_DUE 4
struct counts_due {
    char version[MANIFEST_VERSION_MAX + 1]; /* "": free */
    uint64_t errors, killed;
};

struct plugin {
    char name[MANIFEST_NAME_MAX + 1]; /* fixed */
    struct loader *l;                 /* fixed */
    struct plugin *next_of_all;       /* fixed */
    /* atomic: the loop it lives on: that of its first call, so that most calls cross no threads on their way; NULL
     * until there is something to do there, then fixed */
    _Atomic(struct loop *) loop;

    /* Idle workers.  Whoever exchanges one for NULL owns it until it puts it back. */
    alignas(64) _Atomic(struct worker *) idle[PLUGIN_SLOTS];
    _Atomic uint32_t slots;   /* atomic: none beyond was ever used */
    _Atomic uint32_t queued;  /* atomic to read, lock to write */
    _Atomic uint32_t flagged; /* atomic: workers with a flag that their loop has not seen off */
    _Atomic bool ask_health;  /* atomic: set by supervise, taken by the loop */
    _Atomic bool keep;        /* atomic: see loader_keep */
    _Atomic bool full;        /* atomic: as many workers as it may have are there or on their way */
    _Atomic bool open;        /* atomic: gate open, circuit closed, no canary, loader not closing */
    _Atomic bool canary_on;   /* atomic: there is a canary */
    _Atomic bool canary_up;   /* atomic: and a worker of it */
    _Atomic bool guard_on;    /* atomic: its configuration is watched */

    alignas(64) pthread_mutex_t lock;
    struct generation *current;          /* lock to write (supervise) and for others to read */
    struct worker *roster[PLUGIN_SLOTS]; /* lock: workers from ready to gone */
    struct queue queue;                  /* lock */
    struct canary *canary;               /* lock to write (supervise) and for others to read */
    struct loader_canary *last_canary;   /* lock: the one before; NULL: none */
    struct guard *guard;                 /* lock to write (supervise) and for others to read */
    struct loader_guard *last_guard;     /* lock: the one before; NULL: none */
    enum circuit circuit;                /* lock */
    uint64_t circuit_until;              /* lock */
    char circuit_why[200];               /* lock */
    struct error *quota_why;             /* lock: too much lies where it may write; NULL: it does not */
    enum moat_code circuit_code;         /* lock */
    struct shown shown;                  /* lock */
    struct errors_kept *errors;          /* lock; NULL until the first */
    uint64_t error_count, restarts;      /* lock */
    struct counts_due due[COUNTS_DUE];   /* lock (counts.c): not told to on_counts yet */
    uint64_t gone_runs, gone_cpu_ns;     /* lock: of workers that have ended */
    struct record *records;              /* lock: newest first */
    struct action_sum *past;             /* lock: of generations before those */
    uint64_t generations;                /* lock: that ever ran */
    uint64_t peak;                       /* lock: bytes */
    uint64_t killed_runs;                /* lock: started calls without an answer */
    uint64_t busy_seen;                  /* lock: see loader_busy */
    char last_log[LINE_MAX_SHOWN];       /* lock */
    _Atomic uint64_t denials, lines_dropped, quota_kills;
    _Atomic bool fallback; /* atomic: as its last worker was */

    struct loop_task kick; /* atomic flag, then loop */
    _Atomic bool kicked;
    struct loop_task want; /* atomic flag, then supervise */
    _Atomic bool wanted;
    struct loop_task judge; /* a canary's verdict fell */
    _Atomic bool judged;
    struct loop_task guard_task; /* a guard's verdict fell */
    _Atomic bool guard_fell;
    struct loop_task probe; /* a trial call succeeded, or a worker answered: supervise closes the circuit */
    _Atomic bool probed;

    /* loop */
    struct worker *busy;
    struct loop_timer timer;
    struct loop_task quiet; /* unsets the timer when the loader ends */

    /* supervise */
    struct generation *next; /* starts, and becomes current when it is ready: a reference */
    struct worker *living;   /* assigned and not yet gone, of all generations */
    struct op *enders;       /* wait for workers' ends */
    uint64_t births, slots_used;
    unsigned crashes; /* in a row */
    uint64_t crashes_since, not_before;
    unsigned restart_due;
    bool quota_over; /* each start is weighed first, and calls are tries (quota.c) */
    struct rate rate;
    uint64_t asked_ns, asked_runs; /* when it was asked how it is, and how many calls it had run */
    char last_death[200];
    struct loop_timer retry;
    struct hand hand;
    struct change change;
    struct outcomes *outcomes; /* of workers that have ended, of what is current; NULL: none */

    /* explain.c's, under the loader's denial lock */
    struct denials *rows;    /* denials_lock; made with the first one, then fixed */
    uint64_t denials_handed; /* take_lock: of denials, to on_denials */

    uint64_t knot_round;      /* knot_lock */
    struct plugin *knot_next; /* knot_lock */
};

/* ---- the loader ---- */

struct spin_slot {
    alignas(64) _Atomic(struct worker *) holder;
    _Atomic uint64_t used_ns;
};
#define SPIN_SLOTS 16

/* Kept for a while: a job may have taken the pointer just before it died. */
struct dead_spawner {
    struct dead_spawner *next;
    struct spawner *spawner;
    struct loader *l;
    struct loop_timer bury;
};

struct loader {
    struct loader_config config;
    struct tuned tuned; /* atomic */
    char *worker_path, *helper_path;
    _Atomic(struct table *) table;
    pthread_mutex_t table_lock;
    size_t nplugins;
    struct plugin *plugins; /* table_lock to write; a list that only grows in front */
    _Atomic bool closing;
    _Atomic bool stirred;     /* atomic: something was counted since all was collected */
    _Atomic uint32_t queued;  /* all plugins' */
    _Atomic uint64_t changes; /* atomic: generations published and unpublished */

    struct loop *supervise;
    pthread_t supervise_thread;
    _Atomic(struct spawner *) spawner;
    _Atomic bool fallback; /* atomic: a worker has run behind the fallback wall */

    /* supervise */
    struct dead_spawner *dead;
    struct loop_watch spawner_watch;
    struct cgroup_place *cgroups; /* fixed; NULL: there is no place for groups of our own */
    bool cgroups_left;            /* one could not be removed yet */
    bool fallback_always;         /* the namespaces were made and were of no use */
    uint64_t spawner_not_before;
    unsigned spawner_deaths; /* in a row, each within a second of its start */
    uint64_t spawner_started;
    struct loop_timer spawner_retry;
    struct loop_timer tick; /* while a plugin's worker lives */
    struct loop_task first_pump;
    bool supervise_runs, explain_runs;
    struct worker *pool;    /* half-built walls */
    struct worker *workers; /* all that have not been freed */
    unsigned spawning;
    struct pooled pooled; /* half-built walls that stand ready */
    uint64_t numbers;     /* of workers, the last one */
    unsigned assigned;    /* on their way from half-built to ready */
    bool pumping, pump_again;
    struct loop_timer refill;
    bool refill_failed; /* do not fill the pool again before somebody needs a wall */
    struct generation *starts;
    unsigned living;           /* assigned workers that have not gone */
    struct loop_timer crowded; /* a start waits for room, and nobody rests yet */
    struct op *closer;
    struct kept_starts kept_starts;
    uint64_t canary_slack_ns, circuit_ns, tick_ns, probe_ns, drain_ns, errand_ns; /* CIRCUIT_NS …; shorter in tests */
    uint64_t seed;

    struct loop *explain;
    pthread_t explain_thread;
    pthread_mutex_t denials_lock, take_lock;  /* take_lock: denials.c, outside the other */
    _Atomic uint64_t explain_busy_ns;         /* since when it is inside one explanation; 0: it is not */
    _Atomic bool explain_stuck, explain_over; /* atomic: it is in one for too long; the thread has ended */
    _Atomic uint64_t explain_lost, explain_restarts, explain_mended_ns; /* atomic: see struct loader_explainer */

    unsigned cpus; /* that a worker may use at once */
    unsigned spinners;
    struct spin_slot spin[SPIN_SLOTS];

    pthread_mutex_t errors_lock;
    struct told_error *errors, **errors_end; /* for config.on_call_error */
    unsigned nerrors;
    struct loop_task errors_task;
    bool errors_posted;

    _Atomic uint32_t asks; /* that have not been freed */
    pthread_mutex_t knot_lock;
    uint64_t knot_round; /* knot_lock */
    struct quotas quotas;
};

/* loader.c */
void error_tell(struct plugin *p, const struct error *err, const char *call_id);

/* plugin.c */
struct plugin *plugin_new(struct loader *l, const char *name);
/* Its loop; bound now, to `wish` when that is one of the loader's, when it was not. */
struct loop *plugin_loop(struct plugin *p, struct loop *wish);
void plugin_free(struct plugin *p);
void plugin_kick(struct plugin *p);                  /* any thread: the loop looks at it soon */
struct generation *plugin_current(struct plugin *p); /* any thread: a reference, or NULL */
void plugin_want(struct plugin *p);                  /* any thread: supervise starts a worker when it may */

/* plugin.c */
void plugin_log_line(struct plugin *p, struct worker *w, const char *line, bool output);
/* Of its life, or by its own words; and of how its calls end. */
void plugin_health(struct plugin *p, enum health health, const char *why);
void plugin_rate(struct plugin *p, enum health health, const char *why);
/* supervise: after anything that loader_status shows has changed */
void plugin_show(struct plugin *p);

/* generation.c: on the supervise thread */
enum retire { RETIRE_DRAIN, RETIRE_REVOKE };
struct generation *generation_new(struct plugin *p, struct spec *spec, enum moat_code gate, const char *message);
struct generation *generation_ref(struct generation *g); /* any thread */
void generation_unref(struct generation *g);             /* any thread; NULL is fine */
void generation_start(struct generation *g, bool forced);
void generation_met(struct generation *g, struct worker *w); /* w is ready; the first one publishes it */
void generation_serves(struct generation *g);                /* and calls can reach it: tell who waited */
void generation_start_failed(struct generation *g, const struct error *err);
void generation_worker_died(struct generation *g, struct worker *w);
void worker_describe_death(const struct worker *w, struct error *err);
void generation_worker_gone(struct generation *g, struct worker *w);
void generation_drop_next(struct plugin *p, const struct error *err);
void plugin_publish(struct plugin *p, struct generation *g, enum retire how, uint64_t grace_ns);
/* It was given up beside the current one: what it began ends in it. */
void generation_withdraw(struct generation *g);
void plugin_unpublish(struct plugin *p);
/* Since when it rests: nothing runs, waits or starts; 0: it does not, or has no worker. */
uint64_t plugin_rests_since(const struct plugin *p);
void plugin_rest(struct plugin *p);    /* its workers end, its definition stays */
void plugin_forgive(struct plugin *p); /* what failed in a row is forgotten */
void plugin_wanted(struct loop_task *task);
void plugin_probed(struct loop_task *task);
void plugin_retry(struct loop_timer *timer);
void waiters_tell(struct op **list, const struct error *err);
void waiters_add(struct op **list, struct op *op);
void waiters_move(struct op **to, struct op **from);
void enders_check(struct plugin *p);
bool op_waits_for(const struct op *op, const struct worker *w);

/* hold.c: on the supervise thread */
void worker_go(struct worker *w); /* its wall stands and was looked at */
void op_verdict(struct op *op);

/* supervise.c */
int supervise_open(struct loader *l, struct error *err);
void supervise_close(struct loader *l);
void supervise_tick(struct loader *l);
bool spawner_resting(
    struct loader *l); /* it died too soon too often: walls_pump is called when it may be tried again */
bool spawner_just_died(struct loader *l);               /* supervise: and nobody has taken note of it yet */
int spawner_again(struct loader *l, struct error *err); /* supervise: a living one, started anew when it has died */

/* walls.c: on the supervise thread */
void walls_pump(struct loader *l);
void walls_ask(struct loader *l, struct generation *g);    /* one worker for g, as soon as a half-built wall is there */
void walls_forget(struct loader *l, struct generation *g); /* it waits for none any more */
void walls_failed(struct loader *l, const struct error *err, bool lost_spawner); /* one did not get half-built */
void walls_refill(struct loop_timer *timer);
void walls_crowded(struct loop_timer *timer);
void walls_resize(struct loop_task *task);
void walls_close(struct loader *l);

/* worker.c */
int worker_spawn(struct loader *l, struct error *err); /* supervise */
void worker_discard(struct worker *w);                 /* supervise: a half-built one that nobody is to have */
void worker_lost_spawner(struct worker *w);            /* supervise */
void worker_flag(struct worker *w, uint32_t flag);     /* exposed ones; then kick */
void worker_kill(struct worker *w, enum kill_why why); /* who owns it, or supervise */
void worker_failed(struct worker *w, const char *step, int errnum, const char *message); /* supervise: to start */
void worker_unref(struct worker *w);
void worker_gone(struct loop_task *task); /* supervise: its loop has seen it off */

/* assign.c: on the supervise thread */
int worker_prepare(struct worker *w, struct error *err); /* makes and sends its channel */
int worker_assign(struct worker *w, struct generation *g, struct error *err);

/* output.c: on the supervise thread */
int output_watch(struct worker *w, struct error *err);
void output_drain(struct worker *w); /* after its death: all that is left */
void output_close(struct worker *w);

static inline uint32_t lane_flying(const struct lane *lane)
{
    return lane->tail - lane->head;
}

/* drive.c: on the plugin's loop */
void plugin_drive(struct loop_task *task);
void plugin_drive_now(struct plugin *p); /* on its loop */
void plugin_timer(struct loop_timer *timer);
void plugin_quiet(struct loop_task *task);

/* run.c */
struct worker *worker_borrow(struct plugin *p);
void worker_return(struct worker *w);
void spin_end(struct worker *w);    /* the owner */
void spin_forget(struct worker *w); /* anyone, once it has no owner */

/* stats.c */
uint64_t ticks_now(void); /* CLOCK_MONOTONIC ns, cheaply; good to a microsecond */
void ticks_init(void);
void counts_worker_gone(struct worker *w); /* counts.c */
void counts_stir(struct loader *l);        /* something was counted: whoever collects may rest no longer */
/* Under the lock: where what was not answered is counted; ran: as in stats_error. NULL: nowhere, it is defined by
 * nothing. */
struct counts_due *counts_due(struct plugin *p, const struct generation *ran);
void counts_collect(struct plugin *p);
void counts_loaded(struct generation *g);       /* supervise */
void tally_cpu(struct worker *w, uint64_t now); /* reads the worker's CPU time */
/* ran: the generation in whose worker it was; NULL: it did not come so far. */
void stats_error(struct plugin *p, const struct generation *ran, const struct call *c);
bool plugin_status(struct plugin *p, struct loader_status *out);
struct memory {
    uint64_t now, peak; /* bytes; 0: it is gone */
};
struct memory memory_of(pid_t pid);

#endif
