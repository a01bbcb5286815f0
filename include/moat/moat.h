/* moat/moat.h: a plugin host inside your program.  Link libmoat; run moat-worker and moat-helper from beside it.
 *
 * Threads: any number of threads may use one struct moat at once.  Functions block until done, except moat_call_begin.
 * Errors: functions return MOAT_E_OK (0) or a positive enum moat_code; `error` (may be NULL) then says what, where and
 * what to do.  Memory: text and results are the caller's and freed with moat_free.
 * A child made by fork must not use the handle. */
#ifndef MOAT_MOAT_H
#define MOAT_MOAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <moat/errors.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOAT_API __attribute__((visibility("default")))

struct moat;

struct moat_error {
    enum moat_code code;
    char message[1024];
    char detail[1024]; /* a JSON object, or empty */
    char id[33];       /* of the call, or empty */
};

/* Set size first: `struct moat_options o = {.size = sizeof o}`. Zero and NULL mean the default. */
struct moat_options {
    size_t size;
    const char *home, *plugin_dir, *registry_dir;
    bool disable_security; /* enable_security off: development mode, in which unsigned packages run behind the same
                              walls. A home is made for it or for security; the other is MOAT_E_WRONG_STATE. */
    bool auto_load;        /* start every installed active plugin at open */
    const char *libexec;   /* where moat-worker and moat-helper are */
};

/* One home has one owner at a time: MOAT_E_HOME_BUSY while a server or another program holds it. The environment's
 * PLUGIN_SECRET_KEY, PLUGIN_SECRET_KEY_OLD and their _FILE forms are read here and stay as they are. */
MOAT_API int moat_open(const struct moat_options *options, struct moat **out, struct moat_error *error);
/* Running calls get a moment to end; then everything of it is gone. NULL is fine. */
MOAT_API void moat_close(struct moat *m);

/* Text arguments `what` are NAME or NAME@VERSION. json outputs are the same documents as the REST routes' `result`. */
struct moat_install_options {
    size_t size;
    const char *const *grants; /* "file_read=/data", … */
    size_t ngrants;
    bool load, use, allow_older;
};
MOAT_API int moat_install(struct moat *m, const char *path, const struct moat_install_options *options, char **json,
                          struct moat_error *error);
MOAT_API int moat_validate(struct moat *m, const char *path, char **json, struct moat_error *error);
MOAT_API int moat_uninstall(struct moat *m, const char *what, bool purge, struct moat_error *error);
MOAT_API int moat_load(struct moat *m, const char *what, struct moat_error *error);
MOAT_API int moat_unload(struct moat *m, const char *name, struct moat_error *error);
MOAT_API int moat_grant(struct moat *m, const char *name, const char *grant, struct moat_error *error);
MOAT_API int moat_revoke(struct moat *m, const char *name, const char *grant, struct moat_error *error);
MOAT_API int moat_trust_add(struct moat *m, const char *publisher, const char *public_key_pem, const char *names,
                            struct moat_error *error);
MOAT_API int moat_list(struct moat *m, char **json, struct moat_error *error);
MOAT_API int moat_info(struct moat *m, const char *what, char **json, struct moat_error *error);
MOAT_API int moat_stats(struct moat *m, char **json, struct moat_error *error);

/* What is to come, as `GET /api/forecast` answers it (docs/forecast.md). options NULL: of all plugins, a day ahead;
 * else zero it and set size. plugin_executions: a series of yours, one number for each hour, the oldest first; NULL:
 * the recorded calls of `plugin`, or of all when that is NULL too. horizon: hours ahead, 0 for 24. limit: calls an hour
 * that are to be watched for, 0 for none. */
struct moat_forecast_options {
    size_t size;
    const char *plugin;
    const double *plugin_executions;
    size_t n;
    unsigned horizon;
    double limit;
    /* A program whose size ends here has none. Not calls: the most workers that were started at once in each hour, and
     * how many half-built walls stand ready for it. Of all plugins: without plugin and plugin_executions. */
    bool pool;
};
MOAT_API int moat_forecast(struct moat *m, const struct moat_forecast_options *options, char **json,
                           struct moat_error *error);

/* ---- the monitor (docs/monitor.md) ---- */

/* Something that your platform did. Set size; plugin and action are words of at most 63 letters, digits and _.:/- of
 * yours, 128 different pairs at most (MOAT_E_LIMIT). Some ten nanoseconds, no lock, never blocks. */
struct moat_metric {
    size_t size;
    const char *plugin, *action;
    bool success;
    uint64_t duration_ns; /* 0: not timed; 100 years at most (MOAT_E_BAD_PARAMETERS) */
};
MOAT_API int moat_record_metric(struct moat *m, const struct moat_metric *metric, struct moat_error *error);
/* How everything does of late, the calls of plugins and what was recorded, with its anomalies, as `GET /api/monitor`
 * answers it. plugin NULL: of all. */
MOAT_API int moat_monitor(struct moat *m, const char *plugin, char **json, struct moat_error *error);

/* What an action, or a recorded pair, did since it was told of last. */
struct moat_metric_report {
    size_t size;
    const char *plugin, *action;
    bool platform;           /* recorded by moat_record_metric; else calls of a plugin */
    uint64_t calls, failed;  /* since it was told of last */
    uint64_t p50_ns, p99_ns; /* of the last minute */
    bool errors_anomaly, latency_anomaly;
};
/* told is called every few seconds (the setting `monitor_every`), once for each that did something, on one of Moat's
 * threads; it must not block. It takes the place of the one before; NULL: none. When this returns the one before is not
 * called any more; so told must not call it. */
MOAT_API void moat_on_metric(struct moat *m, void (*told)(void *context, const struct moat_metric_report *report),
                             void *context);

/* ---- parameters: what can be changed while everything runs (docs/parameters.md) ---- */

/* One of yours. Zero it, set size; everything is copied. */
struct moat_parameter {
    size_t size;
    const char *name;    /* letters, digits and _.-, 63 at most; not settings.… */
    const char *current; /* its value now, as JSON: a number, a text, true or false; it stays of that kind */
    const char *about;   /* for people, or NULL */
    bool bounded;        /* a number from min to max; step > 0: min and a whole number of steps */
    double min, max, step;
    const char *choices; /* a JSON array of what it may be, or NULL */
    const char *watched; /* the plugin, or the word of your recorded metrics, that tells whether a change was bad;
                            NULL: all together */
    /* Makes it so; false: it is not taken. On one of Moat's threads, one at a time; must not block. */
    bool (*set)(void *context, const char *name, const char *value);
    void *context; /* yours */
};
/* The same name again takes its place. 128 with the host's (MOAT_E_LIMIT). MOAT_E_BAD_USAGE. */
MOAT_API int moat_register_parameter(struct moat *m, const struct moat_parameter *parameter, struct moat_error *error);
/* As `GET /api/parameters` answers, or of one of them (MOAT_E_NOT_FOUND): value, bounds, history. name NULL: all. */
MOAT_API int moat_parameter(struct moat *m, const char *name, char **json, struct moat_error *error);
/* guard: the calls of the next ten minutes are watched, and the change is taken back when they are worse. why may be
 * NULL; json too. MOAT_E_NOT_FOUND, MOAT_E_BAD_JSON, MOAT_E_BAD_USAGE (bounds), MOAT_E_WRONG_STATE: set said no. */
MOAT_API int moat_set_parameter(struct moat *m, const char *name, const char *value, const char *why, bool guard,
                                char **json, struct moat_error *error);
struct moat_parameter_change {
    size_t size;
    const char *name, *from, *to, *who, *why; /* from, to: JSON */
    bool taken_back;                          /* by the guard */
};
/* changed is called after each change, whoever made it; otherwise as moat_on_metric. */
MOAT_API void moat_on_parameter(struct moat *m,
                                void (*changed)(void *context, const struct moat_parameter_change *change),
                                void *context);

struct moat_receipt {
    uint64_t queued_ns, ran_ns, cpu_ns, bytes_in, bytes_out;
};

/* One call. Zero it, set size and the inputs; parameters must stay until it is done. */
struct moat_call_data {
    size_t size;
    /* in */
    const char *plugin, *action;
    const char *parameters; /* JSON; NULL: {} */
    size_t parameters_len;  /* 0: strlen */
    uint64_t deadline_ns;   /* 0: the plugin's or the operator's; the smallest wins */
    void *context;          /* yours */
    /* out */
    int code;
    char *result; /* JSON, 0-terminated; freed with moat_free */
    size_t result_len;
    struct moat_receipt receipt;
    struct moat_error error; /* valid when code is not MOAT_E_OK */
};

MOAT_API int moat_call(struct moat *m, struct moat_call_data *call);
/* Many at once from one thread, pipelined; returns the number that did not end with MOAT_E_OK. */
MOAT_API size_t moat_call_many(struct moat *m, struct moat_call_data *calls, size_t n);
/* done is called once, on one of Moat's threads, and must not block. */
MOAT_API void moat_call_begin(struct moat *m, struct moat_call_data *call, void (*done)(struct moat_call_data *call));

/* ---- tasks over several plugins (docs/tasks.md, examples/orchestrate.c) ---- */

/* One task. Zero it, set size and the inputs; they must stay until it is done. */
struct moat_task_data {
    size_t size;
    /* in */
    const char *task; /* JSON */
    size_t task_len;  /* 0: strlen */
    bool explain;     /* the document tells why each plugin was chosen */
    void *context;    /* yours */
    /* out */
    int code;   /* MOAT_E_OK: it ran, and its document's "status" says how that went; MOAT_E_BAD_TASK: error.detail has
                   what is wrong with it */
    char *json; /* the task's document, 0-terminated; freed with moat_free */
    size_t json_len;
    struct moat_error error; /* valid when code is not MOAT_E_OK */
    /* in; a program whose size ends here has none. NULL, or each event of the task as it comes (docs/tasks.md), until
     * it is done. json is an object, 0-terminated, valid meanwhile. On Moat's threads, perhaps on two at once; must not
     * block. */
    void (*on_event)(struct moat_task_data *task, const char *event, const char *json);
};

MOAT_API int moat_orchestrator_execute(struct moat *m, struct moat_task_data *task);
/* done is called once, on one of Moat's threads, and must not block. */
MOAT_API void moat_orchestrator_begin(struct moat *m, struct moat_task_data *task,
                                      void (*done)(struct moat_task_data *task));
/* Which plugin a step would get: request is {"capability", "action"} with "where", "sticky", "parameters" as in a step,
 * and "explain". */
MOAT_API int moat_orchestrator_select(struct moat *m, const char *request, char **json, struct moat_error *error);
/* {"execution_stats", "plugins_used", "success_rate"} since moat_open. */
MOAT_API int moat_orchestrator_stats(struct moat *m, char **json, struct moat_error *error);

/* ---- the HTTP routes under a server of your own (docs/api.md, docs/embedding.md, examples/mount.c) ---- */

struct moat_rest_header {
    const char *name, *value;
};

/* One request of your server's. Zero it, set size and the inputs; they must stay until it is done. */
struct moat_rest_request {
    size_t size;
    /* in */
    const char *method, *target; /* "GET", "/plugins-host/api/plugins/health?ready" */
    const char *mount;           /* "/plugins-host": what target has in front of Moat's paths; NULL: nothing */
    const struct moat_rest_header *headers; /* those that came */
    size_t nheaders;
    const void *body;
    size_t body_len;
    bool trusted;  /* you have made sure who asks, and may everything; else a token in Authorization decides */
    void *context; /* yours */
    /* out, from done to moat_rest_end */
    int status;
    const struct moat_rest_header *answer_headers;
    size_t nanswer_headers;
    const char *answer; /* 0-terminated as well */
    size_t answer_len;
    void *internal;
};

/* done is called once, on one of Moat's threads, and must not block; then call moat_rest_end, on any thread, before
 * moat_close. Not MOAT_E_OK: it has not begun and done is not called. Events (text/event-stream) are not for this way:
 * every answer comes in one piece. */
MOAT_API int moat_rest_begin(struct moat *m, struct moat_rest_request *request,
                             void (*done)(struct moat_rest_request *request), struct moat_error *error);
MOAT_API void moat_rest_end(struct moat_rest_request *request);

MOAT_API void moat_free(void *memory);
MOAT_API const char *moat_code_name(int code);

#ifdef __cplusplus
}
#endif

#endif
