/* loader: turns a version into running workers and calls into answers.  Owns generations, queues, the spawner, the
 * supervise and explain threads, and all that is counted per plugin.  Knows no SQL, no HTTP and no signature:
 * src/service hands it a finished spec.
 *
 * Threads: calls may begin on any thread and complete on the loop they name (or, blocking, on the caller's own thread);
 * loader_set and friends may be called on any thread and complete on the supervise thread. Nothing here blocks except
 * call_run, loader_new and loader_free. */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "measure/histogram.h"
#include "package/manifest.h"
#include "sandbox/reach.h"
#include "sandbox/wall.h"
#include "sandbox/weigh.h"

struct question;
struct loader;
struct call;
struct call_times;

/* Something a plugin tried and did not get. The same (plugin, version, action, operation, object) are one with a count;
 * where there are too many different ones the object is "(other)", later the action and the version "". */
#define LOADER_DENIALS_OTHER "(other)"
struct denial {
    const char *plugin, *version, *action; /* action: the running call's, or "" */
    const char *call_id;                   /* of the last one's call, or "" */
    const char *operation, *object, *wall;
    int permission;      /* enum permission, or -1 when nothing can allow it */
    const char *command; /* the exact command that would, or "" */
    uint64_t count;
    uint64_t first_ns, last_ns; /* wall */
};

/* What no manifest can ask beyond; 0: no cap. */
struct loader_caps {
    uint64_t memory, tmp, file_size; /* bytes, of each worker */
    uint64_t cpu_ns;                 /* of one call */
    uint32_t processes, descriptors, workers;
};

/* What a plugin said, as one line that steers no terminal, or what became of it. Texts are valid during on_line. */
enum line_source {
    LINE_LOG,    /* by the log call */
    LINE_OUTPUT, /* on standard output or error: of the call that ran when it was read, or that ran last */
    LINE_HOST,   /* the host's own words: lines were thrown away, the worker died */
    LINE_SOURCES
};
struct loader_line {
    enum line_source source;
    unsigned level; /* enum moat_log_level */
    const char *plugin, *version, *text;
    const char *action, *call, *trace; /* "" when no call is known; see trace_id */
    pid_t pid;                         /* of the worker */
    uint64_t dropped;                  /* so many lines before this one were thrown away */
};

/* What has happened since it was told last. */
struct loader_counts {
    const char *plugin, *version;
    uint64_t loads, calls, errors;
    uint64_t last_call_ns; /* wall; 0: none */
};

/* A new version beside the current one (docs/canary.md). */
enum canary_state {
    CANARY_RUNNING,
    CANARY_PASSED,      /* it is not worse; loader_canary_promote makes it current */
    CANARY_PROMOTED,    /* it is current */
    CANARY_ROLLED_BACK, /* it is worse: nothing meets it any more */
    CANARY_ENDED        /* something else ended it first */
};
const char *canary_state_name(enum canary_state s);
struct loader_canary_side {
    uint64_t calls, failed, slow; /* that were judged; of them bad, for one reason or the other */
};
struct loader_canary {
    char version[MANIFEST_VERSION_MAX + 1], current[MANIFEST_VERSION_MAX + 1];
    unsigned percent;
    enum canary_state state;
    uint64_t since_ns, until_ns; /* wall; until 0: it goes on */
    char why[200];               /* it ended, or "" */
    struct loader_canary_side before, after;
    double evidence_worse, evidence_fine; /* likelihood ratios; 100 decides (docs/measure.md) */
};

/* A new configuration in the old one's place, watched for a while (docs/versions.md). */
enum guard_state {
    GUARD_RUNNING,
    GUARD_PASSED,      /* it is not worse: it stays */
    GUARD_EXPIRED,     /* its window was over before that was shown: it stays */
    GUARD_WORSE,       /* it is worse, and is being taken back */
    GUARD_ROLLED_BACK, /* what was before is again */
    GUARD_ENDED,       /* something else came between */
    GUARD_NONE,        /* there was nothing to compare with */
    GUARD_OFF,         /* nobody asked for one: never the loader's */
    GUARD_STATES
};
const char *guard_state_name(enum guard_state s);
bool guard_state_parse(const char *name, enum guard_state *out);
struct loader_guard_ask {
    uint64_t revision, base; /* numbers of the caller's: of the new configuration, of what holds before it */
    uint64_t window_ns;      /* how long it is watched at most */
    bool back;               /* it is that base again, after GUARD_WORSE: nothing is watched */
};
struct loader_guard {
    uint64_t revision, base; /* base: of the configuration that it is compared with */
    enum guard_state state;
    uint64_t since_ns, until_ns, ends_ns; /* wall; until 0: it goes on, to ends at most */
    char why[200];                        /* it is over, or "" */
    struct loader_canary_side before, after;
    double evidence_worse, evidence_fine; /* as a canary's */
};

struct loader_config {
    const char *worker_path, *helper_path;
    struct loop *const *loops; /* where queued calls are driven; a plugin lives on one of them */
    size_t nloops;
    uint32_t accepted_layers; /* WALL_BITs */
    size_t payload_max;       /* bytes of parameters or of a result; 8 MiB */
    unsigned pool;            /* half-built walls kept ready; 1 */
    uint64_t deadline_default_ns, deadline_max_ns;
    size_t queue_per_plugin, queue_total; /* calls waiting; 1024 and 16384 */
    /* A plugin at rest for so long has its workers stopped, unless loader_keep says otherwise; the next call starts
     * one. 0: it never has. Looked at every few seconds. */
    uint64_t idle_stop_ns;
    unsigned workers_total; /* of all plugins; beyond, a start stops the worker that has rested longest; 1024 */
    struct loader_caps caps;
    const char *cgroup_root, *cgroup_self; /* NULL: /sys/fs/cgroup and /proc/self/cgroup */
    uint32_t lines_per_second; /* of a worker's output, and of its log, that are told; 0: 50; the rest is counted */
    /* Sinks; called on the explain or supervise thread, must not block; may be NULL. on_denial: of each denial once;
     * its count and call are those so far. */
    void (*on_denial)(void *context, const struct denial *denial);
    /* Of each row what came to it since the last time: count is only that. At loader_collect and in loader_free, on the
     * thread that asks. false: not taken, it is told again. */
    bool (*on_denials)(void *context, const struct denial *more);
    void (*on_call_error)(void *context, const char *plugin, const struct error *error, const char *call_id);
    /* Each load, call and error once: at loader_collect, when a worker ends, in loader_free. Errors of calls that did
     * not get as far as a worker count for the version that was current. On any thread. */
    void (*on_counts)(void *context, const struct loader_counts *counts);
    /* There is something to collect, after a loader_collect of all that found that there was nothing. On any thread,
     * must not block. */
    void (*on_stir)(void *context);
    /* On any thread. */
    void (*on_line)(void *context, const struct loader_line *line);
    /* A call of a plugin that is there has ended, whatever became of it: c has its outcome. On any thread, before its
     * caller is told. */
    void (*on_end)(void *context, const struct call *c, const struct call_times *times);
    /* A canary passed, or is over. On the supervise thread; must not block. */
    void (*on_canary)(void *context, const char *plugin, const struct loader_canary *canary);
    /* A guard is over; GUARD_WORSE: it is to be taken back, by loader_configure and loader_guard_settle. On the
     * supervise thread; must not block. */
    void (*on_guard)(void *context, const char *plugin, const struct loader_guard *guard);
    /* A running call asks for something (wire/ask.h). On the thread that reads its worker's channel; must not block.
     * NULL: everything is refused. */
    void (*on_ask)(void *context, struct question *ask);
    /* A worker that could have asked for data sources has ended, by its number. On the supervise thread; must not
     * block. May be NULL. */
    void (*on_worker_end)(void *context, uint64_t worker);
    /* A generation is to start whose spec has no code yet (ncode 0: only the manifest, so that defining thousands of
     * plugins at start opens no package). Called once per such start on the supervise thread, must not block. The
     * answer is a loader_set of that name from another thread: a spec with its code, or a closed gate. Until then the
     * plugin is loading and its calls wait. */
    void (*need_spec)(void *context, const char *name);
    void *context;
};

int loader_new(const struct loader_config *config, struct loader **out, struct error *err);
/* What can be changed while it runs, as in the config: for what begins from then on. 0: what it is if none is said. A
 * higher deadline_max_ns holds for generations that are made from then on. Any thread. */
struct loader_tuning {
    uint64_t deadline_default_ns, deadline_max_ns, idle_stop_ns;
    size_t queue_per_plugin, queue_total;
    uint32_t lines_per_second;
};
void loader_tune(struct loader *l, const struct loader_tuning *to);
/* Refuses new calls, gives running ones grace_ns, kills what is left. Every call has completed, all workers have ended,
 * nobody asks any more; loader_refused finds none of them. The spawner is still there. */
void loader_close(struct loader *l, uint64_t grace_ns);
/* Closes it, if nobody has, and joins the threads. */
void loader_free(struct loader *l, uint64_t grace_ns);

/* Tells on_counts and on_denials what was not told yet, of one plugin or (NULL) of all; false: nothing has happened
 * since all were collected last. Any thread. */
bool loader_collect(struct loader *l, const char *name_or_null);

/* What holds for a plugin that asks for this: the smaller of its request and the caps. */
struct manifest_limits loader_limits(const struct loader *l, const struct manifest_limits *asked);

/* Has a worker run behind the fallback wall? Any thread. */
bool loader_fallback(const struct loader *l);

/* The half-built walls' spawner, for src/package's inspector too. Any thread. */
struct spawner *loader_spawner(struct loader *l);

/* A place that may be written, and how much may lie there. */
struct spec_quota {
    struct wall_grant place;
    char granted[WALL_PATH_MAX]; /* as the operator named it */
    uint64_t held, bound;        /* bytes that lay there when it was granted; that may lie there, all in all */
};

/* One loadable thing: a version with one set of grants and one configuration. Immutable; reference-counted. */
struct spec {
    _Atomic int refs;
    struct manifest *manifest; /* a reference of its own */
    int code[WALL_CODE_MAX];   /* owned: sealed memory files, the entry last */
    size_t ncode;
    uint32_t libraries; /* of the host, that the code needs (sandbox/libraries.h) */
    int assets;         /* owned: sealed memory file (wire/assets.h), or 0: none */
    char *config;       /* owned: JSON object */
    size_t config_len;
    struct wall_grant grants[WALL_GRANTS_MAX];
    size_t ngrants;
    struct wall_program *programs; /* owned; NULL: none */
    size_t nprograms;
    struct spec_quota *quotas; /* owned: of those that may be written */
    size_t nquotas;
    bool execute_code; /* it may map new code */
    bool network;      /* its workers can be handed connections */
};
struct spec *spec_ref(struct spec *s);
void spec_unref(struct spec *s);

enum loader_state {
    STATE_UNLOADED,
    STATE_LOADING,
    STATE_READY,
    STATE_DRAINING,
    STATE_BACKOFF,
    STATE_OPEN_CIRCUIT,
    STATE_NEEDS_GRANT
};
const char *loader_state_name(enum loader_state s);
enum health { HEALTH_UNKNOWN, HEALTH_HEALTHY, HEALTH_DEGRADED, HEALTH_FAILED };
const char *health_name(enum health h);

typedef void (*loader_done)(void *context, const struct error *error); /* error NULL: done */

enum loader_how {
    LOADER_LAZY,   /* use the spec from the next start on; a first call starts it. A running generation with another
                      spec is replaced as with LOADER_START */
    LOADER_START,  /* start now; done when it is ready, and only then do new calls meet it; when it cannot start, the
                      old generation (if any) stays and error says why. The old one drains: no call is lost */
    LOADER_HELD,   /* LOADER_START of a spec whose code is still being judged: the wall is built meanwhile, none of
                      the code runs before loader_verdict */
    LOADER_REVOKE, /* the old generation, and what still drains from before it, is killed first (its running calls fail
                      with permission_denied), done when it is dead; then lazy */
};

/* Defines or replaces what NAME runs. `gate` not MOAT_E_OK: calls are answered with that code and message at once
 * (MOAT_E_WRONG_STATE unloaded or inactive, MOAT_E_PERMISSION_DENIED needs_grant) and running generations end as after
 * loader_stop. spec may be NULL with a closed gate. The loader takes its own reference. */
void loader_set(struct loader *l, const char *name, struct spec *spec, enum loader_how how, enum moat_code gate,
                const char *gate_message, loader_done done, void *context);

/* What runs is to have the configuration of spec, which is otherwise the same: done when each worker has taken it
 * through its configure(); from then on it holds for later starts as well. MOAT_E_START_FAILED with the plugin's words
 * when one does not: then all go on with what they had. A plugin without configure(), or that does not run as spec
 * says, is replaced as with LOADER_START. guard: from then on its calls are compared with those before; NULL: they are
 * not, and a guard that runs ends. */
void loader_configure(struct loader *l, const char *name, struct spec *spec, const struct loader_guard_ask *guard,
                      loader_done done, void *context);
/* The guard that runs, or the last one; false: there was none. Any thread. */
bool loader_guard_status(struct loader *l, const char *name, struct loader_guard *out);
/* What became of one that was GUARD_WORSE: GUARD_ROLLED_BACK, or not, and why. Any thread. */
void loader_guard_settle(struct loader *l, const char *name, uint64_t revision, bool back, const char *why);

/* The verdict on a LOADER_HELD: NULL lets the code run; otherwise the start fails with that error and leaves NAME as it
 * was. Without one the start fails when its time is over. Nothing happens when the start is over already. */
void loader_verdict(struct loader *l, const char *name, struct spec *spec, const struct error *refused);

/* Starts what is defined; done when ready (at once when it is). */
void loader_start(struct loader *l, const char *name, loader_done done, void *context);
/* It was loaded on purpose: being idle does not stop it. Any thread, at once. */
void loader_keep(struct loader *l, const char *name, bool keep);
/* Fresh workers of the same spec; no call is lost. */
void loader_reload(struct loader *l, const char *name, loader_done done, void *context);
/* Closes the gate with MOAT_E_WRONG_STATE, drains for at most grace_ns, kills; done when every worker is dead. */
void loader_stop(struct loader *l, const char *name, uint64_t grace_ns, loader_done done, void *context);
/* Kills what still drains of a version that was replaced; its running calls fail as with LOADER_REVOKE. The current
 * generation goes on. Done when those workers are dead. */
void loader_end(struct loader *l, const char *name, const char *version, loader_done done, void *context);
/* loader_stop with no grace, then NAME is unknown. */
void loader_forget(struct loader *l, const char *name, loader_done done, void *context);

/* ---- canaries ---- */

/* Starts spec beside the current generation, which must be running, and gives it that share of the calls; done when it
 * is ready. on_canary tells what became of it. It ends when NAME is defined anew, configured, reloaded, stopped or
 * forgotten, when loader_end names its version, and with the loader; a start that fails changes nothing. */
void loader_canary(struct loader *l, const char *name, struct spec *spec, unsigned percent, loader_done done,
                   void *context);
/* It becomes current; no call is lost. MOAT_E_WRONG_STATE when there is none of that version. */
void loader_canary_promote(struct loader *l, const char *name, const char *version, loader_done done, void *context);
/* Nothing meets it any more. MOAT_E_WRONG_STATE when there is none. */
void loader_canary_end(struct loader *l, const char *name, const char *why, loader_done done, void *context);
/* The one that runs, or the last one; false: there was none. Any thread. */
bool loader_canary_status(struct loader *l, const char *name, struct loader_canary *out);

struct last_error {
    uint64_t wall_ns;
    enum moat_code code;
    char message[200], call_id[33];
};

struct loader_status {
    char name[MANIFEST_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1];
    enum loader_state state;
    enum health health;
    uint64_t health_since_ns; /* wall */
    char health_why[200];
    unsigned workers;
    pid_t first_pid;
    uint64_t executions, errors, errors_by_code[MOAT_E_COUNT], restarts, denials;
    uint64_t last_executed_ns; /* wall; 0: never */
    uint64_t queued, in_flight;
    uint64_t rated, failed; /* executions but a canary's, and how many of them failed */
    uint64_t bytes_in, bytes_out, cpu_ns;
    uint64_t memory, peak_memory; /* of all its workers now; of one at its most */
    struct histogram runs, waits; /* ns, as in loader_figure */
    struct last_error last[20];   /* newest first */
    size_t nlast;
    char last_log[200];
    bool fallback_wall;     /* its last worker has, or had, the fallback wall */
    uint64_t lines_dropped; /* of its log and its output: more than are shown */
    uint64_t quota_kills;   /* how often its workers were ended because too much lay where they may write */
};
/* What of it costs nothing to tell. */
struct loader_brief {
    char version[MANIFEST_VERSION_MAX + 1];
    enum loader_state state;
    unsigned workers;
};
/* false: not defined. Any thread. */
bool loader_brief(struct loader *l, const char *name, struct loader_brief *out);
bool loader_status(struct loader *l, const char *name, struct loader_status *out);
/* Calls each for every defined plugin, in the order of names. */
void loader_each(struct loader *l, void (*each)(void *context, const struct loader_status *status), void *context);

/* ---- figures of actions and generations ---- */

#define LOADER_ACTIONS_MAX 512   /* names of a plugin's actions over all its versions */
#define LOADER_GENERATIONS_MAX 5 /* that are told one by one; older ones count in their actions' sums */

struct loader_figure {
    uint64_t executions; /* calls that a worker ran */
    uint64_t failed;     /* of them: ended with a code */
    uint64_t errors;     /* failed, and those that ended before a worker had them (parameters, queue, deadline) */
    uint64_t errors_by_code[MOAT_E_COUNT];
    uint64_t bytes_in, bytes_out, cpu_ns;
    uint64_t last_ns;       /* wall: the last answer; 0: never */
    struct histogram runs;  /* ns from sending (or the answer before) to the answer */
    struct histogram waits; /* ns from a call's beginning to its run: queue, and calls before it in the worker */
};
struct loader_action {
    char name[MANIFEST_ACTION_MAX + 1];
    struct loader_figure figure;
};
/* One set of workers, from its first to the next one's. */
struct loader_generation {
    char version[MANIFEST_VERSION_MAX + 1];
    uint64_t number;             /* of the plugin's, from 1 since this host began */
    uint64_t since_ns, until_ns; /* wall; until 0: it serves */
    uint64_t peak_memory, crashes;
    unsigned workers; /* that live */
    struct loader_figure figure;
};
struct loader_figures {
    struct loader_action *actions; /* in no order; those that did nothing may be missing */
    size_t nactions;
    struct loader_generation generations[LOADER_GENERATIONS_MAX]; /* newest first */
    size_t ngenerations;
};
/* NULL: not known, or no memory. Any thread; the caller frees it with loader_figures_free. */
struct loader_figures *loader_figures(struct loader *l, const char *name);
void loader_figures_free(struct loader_figures *f); /* NULL is fine */

/* Is it one that calls are given to, or has it a worker that has not ended? Any thread. */
bool loader_lives(struct loader *l, const char *name, const char *version);

/* What came to lie in the places that it may write since they were granted, as it was weighed last. */
struct loader_place {
    char place[WALL_PATH_MAX];
    uint64_t held, most, added; /* bytes; most: how much may be added */
    bool weighed;               /* else added is not known yet */
};
size_t loader_places(struct loader *l, const char *name, struct loader_place out[WALL_GRANTS_MAX]); /* any thread */

/* A walled helper of that worker's call has refused what nothing can allow: a denial. Any thread. */
void loader_refused(struct loader *l, const char *plugin, uint64_t worker, const char *operation, const char *object);

/* What running calls of NAME wait for is looked at again: where over() fills err, the call is told so at once and what
 * it asked for is ended. Any thread. */
void loader_asks_review(struct loader *l, const char *name,
                        bool (*over)(void *context, const struct question *ask, struct error *err), void *context);

/* Who explains what is refused. Without it nothing is allowed: a call that needs an answer fails or waits. */
struct loader_explainer {
    bool stuck;         /* inside one explanation: a granted file system does not answer */
    bool gone;          /* its thread has ended, and the next one has not begun yet */
    uint64_t lost;      /* workers that were ended and started anew because nobody could explain their calls any more */
    uint64_t restarts;  /* of the thread */
    uint64_t mended_ns; /* wall: when something was mended last; 0: never */
};
void loader_explainer(const struct loader *l, struct loader_explainer *out); /* any thread */

/* ---- half-built walls (walls.c) ---- */

/* So many are to stand ready from now on, in place of config.pool. Any thread, does not block. */
void loader_pool_set(struct loader *l, unsigned size);
struct loader_pool {
    unsigned size, ready;
};
void loader_pool(const struct loader *l, struct loader_pool *out); /* any thread */
/* Workers whose start was asked for since this was asked last, and how many of them within a second at most; false:
 * none. Any thread. */
bool loader_take_starts(struct loader *l, uint64_t *starts, unsigned *at_once);
/* Something was counted since loader_collect of all found nothing; until it is, on_stir is called again. Any thread. */
bool loader_is_stirred(const struct loader *l);

/* ---- what there is to choose from (offer.c) ---- */

/* Grows with each change of what any name runs. Any thread. */
uint64_t loader_changes(const struct loader *l);
/* What calls of NAME meet now: a reference; NULL behind a closed gate, or when it is not defined: *gate says which. Any
 * thread. */
struct manifest *loader_manifest(struct loader *l, const char *name, enum moat_code *gate);
/* The words of a closed gate; false: it is open, or there is none. */
bool loader_gate(struct loader *l, const char *name, char *message, size_t size);
/* Every name with an open gate, in no order; each takes a reference of its own when it keeps m. */
void loader_offers(struct loader *l, void (*each)(void *context, const char *name, struct manifest *m), void *context);

/* Each plugin of which a call has ended since the last time: for one who looks again and again. The name stays as long
 * as the loader. */
void loader_busy(struct loader *l, void (*each)(void *context, const char *name), void *context);

struct loader_merits {
    enum health health;
    bool closed;           /* its circuit is open: calls are refused for a while */
    uint64_t runs, faults; /* faults: of them, those that the plugin is to blame for */
    uint64_t ran_ns, cpu_ns;
};
/* false: not defined. Any thread. */
bool loader_merits(struct loader *l, const char *name, struct loader_merits *out);

/* ---- calls ---- */

struct plugin;                                                    /* lives as long as the loader: may be kept */
struct plugin *loader_plugin(struct loader *l, const char *name); /* lock-free; NULL: not defined */

struct receipt {
    uint64_t queued_ns, ran_ns, cpu_ns; /* the host's readings; cpu of the worker over this call */
    uint64_t bytes_in, bytes_out;
    /* of ran_ns, while it waited for actions of other plugins; and their CPU time, which is not in cpu_ns */
    uint64_t calls, calls_ns, calls_cpu_ns;
    char version[MANIFEST_VERSION_MAX + 1];
};

/* What a running call says before its end: texts are valid during told, cleaned of what could steer a terminal. */
struct call_told {
    unsigned dropped;     /* so many lines of its log that came too fast to be told; and nothing else */
    bool progress;        /* else a line of its log */
    unsigned thousandths; /* of progress */
    unsigned level;       /* of a line: enum moat_log_level */
    const char *text;     /* "" when there is none */
};

/* One call, in its caller's memory, from call_begin to done. Zero it first. */
struct call {
    /* in */
    const char *plugin, *action;
    const void *parameters; /* not copied by call_run; copied by call_begin */
    size_t parameters_len;
    uint64_t deadline_ns; /* span from begin; 0: the manifest's or the operator's; the smallest wins */
    char traceparent[56]; /* W3C, or empty */
    uint64_t principal;   /* who asks, as a number: different ones take turns in a plugin's queue */
    struct loop *loop;    /* call_begin: where done runs */
    bool at_once; /* call_begin, on loop: worked now, and not together with what else comes in the loop's turn */
    void (*done)(struct call *call);
    /* NULL: nobody wants to know. On the thread that reads the worker's channel, never after done began there; must
     * not block. */
    void (*told)(struct call *call, const struct call_told *what);
    void *context;
    /* out */
    int code;           /* 0 or -enum moat_code */
    struct error error; /* detail of bad_parameters, and of bad_result by its schema: {"pointer","reason"} */
    uint8_t *result;    /* JSON with JSON_PAD behind; the caller frees it with free() */
    size_t result_len;
    char id[33]; /* 32 hex digits: in every error and log line; one that is there already is kept */
    struct receipt receipt;
    /* the loader's own */
    struct call *next;
    void *internal[13];
};

/* ---- traces (W3C Trace Context) ---- */

/* Of on_end; wall clock, ns. */
struct call_times {
    uint64_t begun, ended;
};

/* What has an id of 32 digits and may belong to a trace: a call, a task. */
struct trace_place {
    const char *id, *traceparent; /* traceparent "": it begins a trace of its own, whose id is this one */
};
#define CALL_PLACE(c) ((struct trace_place){(c)->id, (c)->traceparent})
void trace_id(struct trace_place at, char out[33]);
/* As a span: the first half of the id; the span that it belongs to, or "". */
void trace_span(struct trace_place at, char out[17]);
void trace_parent(struct trace_place at, char out[17]);
bool trace_is_sampled(struct trace_place at); /* as the caller said, else yes */
/* What a call is begun with that belongs to it. */
void trace_child(struct trace_place at, char out[56]);

/* A fresh id, unique but no secret. Any thread. */
void call_make_id(char id[33]);

/* Checks, queues, returns; done runs on call->loop (never before call_begin returned, unless it runs on that loop). */
void call_begin(struct loader *l, struct call *call);
/* Any thread that knows the call has not completed; it completes with MOAT_E_CANCELLED, or as it ended first. */
void call_cancel(struct loader *l, struct call *call);

/* Blocking: runs n calls of one thread, in order of the array as far as one worker's are; borrows an idle worker and
 * waits on its channel, spinning where the host allows it; else the queue. Not on a loop. */
void call_run(struct loader *l, struct call *const *calls, size_t n);

#endif
