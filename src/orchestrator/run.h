/* orchestrator/run: one task while it runs.  Private to src/orchestrator.
 *
 * A run lives on one loop; only that thread touches it, but for what is marked. Its steps' results do not change once
 * their step is over, so that the planner may read them while it fills a template.
 *
 *     orchestrator.c  from a request to a run: reading, planning, the tables of what runs
 *     run.c           which step is next; the end
 *     step.c          one step: its condition, its calls, its outcome
 *     each.c          the items of a step with for_each
 *     large.c         results that are too large for memory: to the disk, and back for who refers to them
 *     unit.c          one call of a step, with its retries and its fallback
 *     value.c         what references stand for
 *     lane.c          how many calls of a plugin are under way
 *     asked.c         those that a plugin's call waits for
 *     ask.c           cancel, show, list
 *     document.c      what is told of a run
 *     event.c         what is told while it runs, and follow.c to whom
 *     keep.c          what is remembered of it
 *     resume.c        going on with what another host began */
#ifndef ORCHESTRATOR_RUN_H
#define ORCHESTRATOR_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "orchestrator/feed.h"
#include "orchestrator/orchestrator.h"
#include "orchestrator/planner.h"
#include "orchestrator/roster.h"
#include "orchestrator/spill.h"
#include "registry/tasks.h"

enum run_status { RUN_RUNNING, RUN_SUCCEEDED, RUN_FAILED, RUN_CANCELLED, RUN_INTERRUPTED, RUN_STATUS_COUNT };
const char *run_status_name(enum run_status s);
int run_status_parse(const char *text); /* -1: no such */

/* ---- lanes: at most LANE_CALLS calls of one plugin from one loop, of large results fewer; the rest waits here, where
 * it costs nothing ---- */

#define LANE_CALLS 128
#define LANE_CALLS_FIRST 16
#define LANE_CALLS_LEAST 4
#define LANE_BYTES (64u << 20)

struct unit;
struct lane {
    struct lane *next;
    char plugin[MANIFEST_NAME_MAX + 1];
    uint32_t calls;
    size_t large;              /* bytes of the results of late, the large ones */
    struct unit *first, **end; /* waiting */
    /* One writer, this loop; read by any thread. */
    _Atomic uint64_t done, failed, ran_ns, cpu_ns;
};

#define LANE_SLOTS 256
struct place { /* one for each loop */
    struct orchestrator *o;
    struct loop *loop;
    _Atomic(struct lane *) lanes[LANE_SLOTS]; /* lists that only grow, at their heads */
    struct unit *spare;                       /* units for the next calls */
    unsigned nspare;
};

/* ---- the orchestrator ---- */

#define RUN_SLOTS 16384 /* of ids */
#define STICKY_SLOTS 1024

struct sticky {
    char key[TASK_ID_MAX * 4 + 1], plugin[MANIFEST_NAME_MAX + 1];
};

struct orchestrator {
    struct service *service;
    struct loader *loader;
    struct catalog *catalog;
    struct planner *planner;
    struct spill *spill; /* the planner's */
    struct places {
        struct place *list;
        unsigned n;
    } places;
    _Atomic unsigned turn;
    pthread_mutex_t lock;   /* of the table, the count, sticky */
    pthread_cond_t nothing; /* nothing runs any more */
    struct run *runs[RUN_SLOTS];
    size_t running;
    bool closing;
    struct sticky sticky[STICKY_SLOTS];
    struct tasks *tasks;         /* NULL: nothing is remembered */
    struct tasks_reader *reader; /* the planner's */
    _Atomic unsigned unwritten;  /* runs that have ended and wait for the disk */
    _Atomic uint64_t parameters; /* bytes that units hold for their calls */
    uint64_t parameters_max;
    struct chore figures, resume;
    _Atomic bool figuring;
    /* Since it was opened. */
    _Atomic uint64_t ended[RUN_STATUS_COUNT], over[OUTCOME_COUNT];
};

/* ---- one step of a run ---- */

enum step_state { STEP_WAITING, STEP_READY, STEP_RUNNING, STEP_OVER };

struct each {              /* of a step with for_each */
    uint8_t *text;         /* the filled array */
    const uint8_t **items; /* and the end behind them */
    uint32_t n, next, running, failed;
    uint64_t told_ns; /* when its progress was told */
    size_t total;     /* bytes of all results */
    size_t held;      /* of those that are in memory, which are a list: */
    uint32_t first_held;
    uint32_t first_writing; /* those that the planner writes, the planner's list meanwhile */
    bool writing;           /* one of the calls waits for that, and no other begins */
    bool on_disk;           /* some are */
    struct piece_of {
        uint8_t *result; /* NULL: null, or it is on the disk */
        size_t len;
        bool spilled;
        struct spill_item place;
        uint32_t after; /* in its list, or NO_ITEM */
    } * results;
};

struct step_run {
    enum step_state state;
    enum task_outcome outcome;
    uint32_t waiting;  /* for how many steps */
    uint32_t attempts; /* calls, of all items */
    uint32_t finished; /* the how-manieth to succeed: for compensations */
    bool noted;        /* it is remembered that it was begun */
    bool fell_back, compensated, compensation_failed;
    enum moat_code code; /* why it failed */
    char *message;
    uint8_t *result;             /* JSON with JSON_PAD behind; NULL: none, or it is on the disk */
    size_t len;                  /* wherever it is */
    bool spilled;                /* on the disk */
    uint64_t sum;                /* for reading it back */
    struct offer *ran_by;        /* the last: a reference, or NULL */
    char *why;                   /* of the choice, when that was asked for: JSON */
    uint64_t began_ns, ended_ns; /* wall */
    struct each *each;
};

/* ---- one call of a step ---- */

enum unit_phase { PHASE_RUN, PHASE_FALLBACK, PHASE_COMPENSATE };
#define NO_ITEM UINT32_MAX

struct unit {
    struct call call;
    struct run *run;
    struct unit *next, **before; /* waiting in its run or (before) its lane, or spare */
    struct unit *after, **link;  /* among those of the run */
    uint32_t step, item, tries, others;
    enum unit_phase phase;
    struct offer *offer; /* a reference, while it is called */
    int64_t avoid;       /* the candidate that failed last, or -1 */
    struct lane *lane;
    struct buf parameters;
    size_t held; /* of them, counted in the orchestrator's */
    struct loop_timer timer;
    struct chore chore; /* filling */
    struct loop_task task;
    uint64_t delay_ns, full_ns, since_ns;
    uint64_t told_ns;    /* when its progress was told; while it is called, the reading thread's */
    enum moat_code code; /* of the last failure */
    char *message;
    struct error *error;                    /* of filling, or noting, on another thread; NULL: no memory for it */
    int there;                              /* what that came to: 0 or an error */
    bool is_noted;                          /* keep_note was asked for it */
    bool in_lane;                           /* lane_leave is to come */
    bool called, filling, resting, counted; /* resting: until its timer; counted: in the run's in_flight */
};

/* ---- the run ---- */

enum stop { STOP_NOT, STOP_FAILED, STOP_CANCELLED, STOP_BUDGET };

struct run {
    _Atomic int refs; /* the loop's, and those of messages on their way */
    struct orchestrator *o;
    struct place *place;
    char id[ORCHESTRATOR_ID];
    char traceparent[56]; /* of its calls: the task is their span's parent */
    struct run *next;     /* in the table: the orchestrator's lock */
    struct task_request request;
    struct question *ask;        /* a plugin's call waits for it, until it is told; else NULL */
    char *chain;                 /* then: who waits, as a JSON array */
    _Atomic(struct feed *) feed; /* NULL: nobody has followed it yet */
    uint8_t *text;               /* of the request, until it is read */
    struct task *task;
    struct roster *roster;
    struct chore chore;
    struct loop_task task_on_loop;
    int code; /* of reading and planning */
    struct error *error;
    struct faults faults;
    bool check_only, told;
    bool tell_late;  /* its end is told when it is on the disk */
    bool kept;       /* remembered in the tasks' database */
    bool resumed;    /* another host began it */
    bool closing;    /* this host ends: the next one goes on */
    bool large;      /* there are results of it on the disk, or may be */
    bool end_failed; /* its end could not be written: the next host goes on */
    struct remembered *remembered;
    struct loop_task begun; /* what was written of its beginning */
    int begin_code;
    struct loop_task turn; /* the next one, when conditions have looked at enough in this one */
    size_t looked;         /* bytes, in this turn */
    bool turning;          /* the next one is to come */

    struct step_run *steps;
    uint32_t *ready; /* a ring of steps; each is in it once */
    uint32_t ready_head, ready_tail, over, succeeded;
    struct unit *pending, **pending_end; /* to be begun */
    struct unit *units;                  /* all that there are */
    uint32_t in_flight, nunits;
    enum stop stop;
    bool compensate, compensating, pumping, ended;
    bool ending;      /* the planner makes its result */
    uint32_t undoing; /* how many successes are left to look at */
    uint32_t *successes;
    uint32_t culprit; /* the step that failed the task, or UINT32_MAX */
    struct error *failure;
    struct buf result;
    struct loop_timer timer;
    uint64_t began_ns, began_wall_ns, ended_wall_ns;
    uint64_t before_ns; /* the time that other hosts worked on it */
    uint64_t until_ns;  /* monotonic: the budget's time is used up */
    uint64_t calls, cpu_ns, ran_ns, bytes_in, bytes_out;
    enum run_status status;
};

/* value.c: what references stand for. On the loop nothing of it may be on the disk: values_on_disk. */
struct values {
    const struct run *run;
    const struct unit *unit; /* or NULL */
    struct buf scratch;
    size_t looked; /* bytes of documents, on the way to values inside */
    struct loaded *loaded;
    size_t read_back; /* its bytes */
};
#define VALUES_INIT(of, unit_or_null) ((struct values){.run = (of), .unit = (unit_or_null), .scratch = BUF_INIT(4096)})
void values_free(struct values *v);
/* MOAT_E_LIMIT: beyond TASK_LOOKED_MAX; MOAT_E_STORAGE_FAILED: what is on the disk is not what was written. */
int values_get(void *context, const struct ref *ref, const uint8_t **value, size_t *len, struct error *err);
int values_result(struct values *v, uint32_t step, const uint8_t **json, struct error *err); /* *json NULL: none */
/* Bytes that have to be looked through for its parameters. */
size_t values_size(const struct unit *u);
bool values_on_disk(const struct run *r, const struct task_template *t);                  /* t may be NULL */
int condition_holds(struct values *v, const struct task_condition *c, struct error *err); /* 1, 0, or an error */

/* orchestrator.c */
void run_unref(struct run *r);
struct run *run_ref(struct run *r);
struct run *run_find(struct orchestrator *o, const char *id); /* a reference, or NULL; any thread */
void run_leave_table(struct run *r);
void orchestrator_look(struct orchestrator *o); /* old figures are renewed soon */

struct run *run_make(struct orchestrator *o, const struct task_request *request); /* NULL: done was called */
void run_plan_there(struct run *r, struct registry_reader *reader); /* planner; then it goes to its loop */

/* asked.c: tasks that plugins ask for, and in whose name any task runs. */
bool asker_may(void *asker, const char *plugin, const char *action); /* roster_rights.may */
int asker_refuse(void *asker, const char *step, const char *plugin, const char *action, bool any, struct error *err);
struct question *asked_of(const struct task_request *request); /* or NULL */
bool asked_waits(struct run *r, struct error *err);            /* false: nobody waits for it any more */
void asked_call(struct unit *u);                               /* instead of call_begin */

/* keep.c: false: nothing is remembered. */
bool keep_begin(struct run *r, bool wait); /* wait: r->begun comes to the loop, with a reference of the run's */
void keep_step(struct run *r, uint32_t i);
bool keep_note(struct unit *u); /* u->task comes to the loop when it is on the disk; u->there: it could not be */
bool keep_end(struct run *r);   /* the run leaves the table when it is on the disk */

/* resume.c */
void run_remember_used(struct run *r);
void run_remember(struct run *r); /* on its loop, in place of a beginning */
void remembered_free(struct run *r);

/* run.c */
void run_start(struct run *r);  /* read and planned: on its loop */
void run_cannot(struct run *r); /* one that was resumed cannot go on: r->error says why */
void run_tell_end(struct run *r);
void run_pump(struct run *r);
void run_stop(struct run *r, enum stop stop, const struct error *why); /* nothing more begins */
void run_ready(struct run *r, uint32_t step);
void run_queue(struct run *r, struct unit *u);
int run_result(struct values *v, struct buf *out, struct error *err); /* loop or planner, as step_look */
/* It is over; made: 0, or its result could not be made, and why. */
void run_close(struct run *r, int made, const struct error *why);

/* step.c */
void step_start(struct run *r, uint32_t i);
void step_unit_done(struct unit *u);          /* its call's result is the unit's; takes it and the unit */
void step_unit_over(struct unit *u);          /* the same, when the result is where it is to be */
void step_unit_failed(struct unit *u);        /* code and message stand in the unit; takes the unit */
void step_unknown(struct run *r, uint32_t i); /* begun by another host, and nobody knows how it ended */
void step_unit_dropped(struct unit *u);       /* it never began, and never will; takes the unit */
void step_free(struct step_run *s);
/* Whether it runs: 1, or 0: it is skipped; and then its items. Only looks at what is over: on the loop, or, when it is
 * of the results on disk, on the planner. */
int step_look(struct values *v, uint32_t i, struct each **items, struct error *err);
void step_go(struct run *r, uint32_t i, int wanted, struct each *items,
             const struct error *why); /* what came of that */
void step_over(struct run *r, uint32_t i, enum task_outcome outcome);
void step_failed(struct run *r, uint32_t i, enum moat_code code, char *message); /* takes the message */

/* each.c */
int each_make(struct values *v, uint32_t i, struct each **out, struct error *err);
void each_free(struct each *e);             /* NULL is fine */
void each_go_on(struct run *r, uint32_t i); /* one item more is over, or it begins */
/* Takes the call's result. true: some are written to the disk first, then the unit is over, or has failed. */
bool each_takes(struct unit *u);

/* large.c: what blocks goes to the planner and comes back to the loop. true: it does. */
bool large_takes(struct unit *u);            /* its call's result is large: then the unit is over, or has failed */
bool large_looks(struct run *r, uint32_t i); /* what decides about the step is on the disk: then step_go comes */
bool large_end(struct run *r);               /* what its result refers to is: then run_close comes */
void large_drop(struct run *r);              /* it has ended: what it has there goes */
/* With a unit, so that the run does not end meanwhile. */
void large_send(struct unit *u, void (*work)(struct chore *chore, struct registry_reader *reader),
                void (*back)(struct loop_task *task));
void large_send_urgent(struct unit *u, void (*work)(struct chore *chore, struct registry_reader *reader),
                       void (*back)(struct loop_task *task));        /* memory is freed by it */
void large_back(struct unit *u, int there, const struct error *err); /* on the planner: what came of it */
int large_came(struct unit *u, struct error *err);                   /* on the loop: the same */

/* unit.c */
struct unit *unit_new(struct run *r, uint32_t step, uint32_t item, enum unit_phase phase); /* NULL: no memory */
void unit_free(struct unit *u);
void unit_begin(struct unit *u); /* fills and calls; counted in flight until step_unit_* */
void unit_call(struct unit *u);  /* lane.c lets it */
const struct task_action *unit_action(const struct unit *u);
bool run_within_budget(const struct run *r, struct error *why);
void unit_cannot(struct unit *u,
                 const struct error *why); /* no other try: it would be the same again; takes the unit */
void unit_stop(struct unit *u);            /* the run stops: cancelled as far as it has come */

/* lane.c */
struct lane *lane_of(struct place *p, const char *plugin); /* NULL: no memory */
void lane_enter(struct unit *u);                           /* calls unit_call now or later */
void lane_leave(struct unit *u);           /* its result is no burden any more; nothing when it has left */
void lane_saw(struct lane *l, size_t len); /* a result of so many bytes */
void lane_forget(struct unit *u);          /* it waits there (before): it does not any more */

/* document.c */
void document_run(struct buf *out, const struct run *r);                           /* all of it */
void document_step(struct buf *out, const struct run *r, uint32_t i, bool choice); /* and why that plugin */
/* The beginning of that of a task which no host goes on with: an object that the caller closes. */
void document_interrupted(struct buf *out, const struct tasks_row *row);
/* What the whole has besides its result and its steps. */
void document_end(struct buf *out, const struct run *r);
/* The candidates, as an array that the caller closes: others may follow. */
void document_candidates(struct buf *out, const struct choice *c, const uint64_t *mask, int64_t chosen,
                         const char *sticky);
bool document_choice(struct buf *out, const struct choice *c, const uint64_t *mask, int64_t chosen, const char *sticky);

/* event.c: nothing is made of it unless somebody wants to know. */
void event_task_begun(struct run *r);
void event_step_begun(struct run *r, uint32_t i);
void event_items(struct run *r, uint32_t i);                                    /* one more of a for_each is over */
void event_progress(struct unit *u, unsigned thousandths, const char *message); /* on the channel's thread */
void event_retry(const struct unit *u, uint64_t delay_ns);
void event_fallback(const struct unit *u);
void event_step_ended(struct run *r, uint32_t i);
void event_compensated(struct run *r, uint32_t i);
void event_task_ended(struct run *r);

/* sticky.c */
int64_t sticky_find(struct orchestrator *o, const char *key, const struct choice *c, const uint64_t *mask);
void sticky_set(struct orchestrator *o, const char *key, const char *plugin);

#endif
