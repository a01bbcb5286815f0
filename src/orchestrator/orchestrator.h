/* orchestrator: runs tasks over plugins: graphs of calls, plugins chosen by capability (docs/tasks.md).  One for each
 * service; owns every task that runs, their history and the figures of what they used.
 *
 * Threads: functions may be called on any thread and do not block, but where they say so. A task lives on one loop:
 * its done runs there. */
#ifndef ORCHESTRATOR_ORCHESTRATOR_H
#define ORCHESTRATOR_ORCHESTRATOR_H

#include "service/service.h"

#define ORCHESTRATOR_ID 33 /* of a task: 32 hex digits and a 0 */
#define ORCHESTRATOR_RUNNING_MAX 50000

struct orchestrator;
struct asker_plugin;

/* That of the service: made when it is first asked for, gone when the service closes. Opens its database: blocks. */
struct orchestrator *orchestrator_of(struct service *s, struct error *err);

/* Tasks that plugins ask for run here from now on, each on behalf of the call that asks: with its time, its chain, and
 * what agent_control grants its plugin. Any thread, does not block. */
void orchestrator_offer(struct service *s);

/* Tasks that another host left unfinished go on, soon. Once, by a host that stays. */
void orchestrator_resume(struct orchestrator *o);

/* In whose name a task runs. */
struct task_asker {
    bool everything;                  /* may run any plugin */
    char plugins[SERVICE_SCOPES_MAX]; /* else: "*", or names with a space before and behind each */
    int64_t token;                    /* its id, or 0 */
    char actor[32];                   /* for people: "token:3" */
    struct asker_plugin *plugin;      /* a plugin: what it is granted counts (asked.c); else NULL */
};

struct task_request {
    const void *text; /* the task as JSON; copied */
    size_t len;
    struct task_asker asker;
    char traceparent[56]; /* W3C, or empty: the task begins a trace, whose id is its own */
    struct loop *loop;    /* where it is to live; NULL: one of the service's */
    bool background;      /* done comes as soon as it is begun, with {"id", "status"}; the history has the rest */
    bool explain;         /* tell of each step's choice */
    /* NULL, or each event of the task (docs/tasks.md) as it comes, until done; json is valid meanwhile. On its loop, or
     * on the thread that reads a worker's channel; must not block. Not with background. */
    void (*told)(void *context, const char *event, const char *json, size_t len);
    /* result: the task's document; when it failed as well: error is of tasks that did not run */
    service_done done;
    void *context;
};

/* Begins; id (may be NULL) is known when this returns. done is called exactly once, on the loop, perhaps before this
 * returns when that is the caller's. MOAT_E_BAD_TASK: the detail has findings. */
void orchestrator_run(struct orchestrator *o, const struct task_request *request, char id[ORCHESTRATOR_ID]);
/* {"valid", "findings"}; that it is not valid is no error. */
void orchestrator_check(struct orchestrator *o, const struct task_request *request);

/* {"id", "status"}: what runs is cancelled, and nothing more begins. MOAT_E_NOT_FOUND; MOAT_E_WRONG_STATE: it has
 * ended; MOAT_E_FORBIDDEN: another token's, and asker may not everything. */
void orchestrator_cancel(struct orchestrator *o, const char *id, const struct task_asker *asker, service_done done,
                         void *context);
/* The document of one, as far as it has come. */
void orchestrator_show(struct orchestrator *o, const char *id, service_done done, void *context);

/* ---- following one: its events as text/event-stream ---- */

struct follow;
struct task_following {
    const char *after;     /* the id of the event that was read last, or NULL */
    uint64_t heartbeat_ns; /* a comment so often; 0: none */
    struct loop *loop;     /* one of the service's: where it is read */
    /* Once: an error, on any thread; or who follows, on the loop: read what there is. */
    void (*ready)(void *context, const struct error *error, struct follow *f);
    void (*more)(void *context); /* on the loop, after ready: there may be more to read */
    void *context;
};
/* Behind `after` when that is still known, else from `state` on: the document as far as it has come. MOAT_E_NOT_FOUND.
 */
void orchestrator_follow(struct orchestrator *o, const char *id, const struct task_following *how);
/* On the loop: bytes put into room; 0: none now; FOLLOW_END: the task has ended, or it was read too slowly. */
#define FOLLOW_END (-1)
long follow_read(struct follow *f, void *room, size_t size);
void follow_end(struct follow *f); /* on the loop; more does not come any more. NULL is fine */

struct task_filter {
    const char *status, *after; /* NULL: any; after: an id of the order shown, newest first */
    unsigned limit;             /* 0: 100 */
};
void orchestrator_list(struct orchestrator *o, const struct task_filter *filter, service_done done, void *context);

/* Which plugin a step would get: request is {"capability", "action"} with "where", "sticky", "parameters" as in a step;
 * with "explain": true every candidate is told of, and why it was chosen or not. No candidate is no error: "plugin" is
 * null. done may be called before this returns. */
void orchestrator_select(struct orchestrator *o, const void *request, size_t len, const struct task_asker *asker,
                         service_done done, void *context);

/* {"execution_stats", "plugins_used", "success_rate"} since it was opened. At once. */
bool orchestrator_stats(struct orchestrator *o, struct buf *out);

#endif
