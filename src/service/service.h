/* service: what one Moat can do, independent of who asks: install, validate, load, decide, call, tell.  Joins registry,
 * package, policy and loader; knows no HTTP.  Owns the jobs threads and the loops.
 *
 * Every operation begins and completes: `done` is called exactly once, on any thread but never before the function
 * has returned to a loop (jobs and supervise threads call it; it must not block). result is the JSON text that routes
 * and commands show (see docs/api.md); done may steal it. error NULL: it worked. String arguments are copied. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "loader/loader.h"
#include "service/home.h"
#include "service/secret.h"

struct service;

struct service_options {
    struct home home;
    bool server;    /* `moat serve`: start what is wanted, write the socket's owner into the lock */
    bool auto_load; /* load what is installed (moat.h's option) */
    bool undefined; /* for one request that is about the registry: no installed plugin is defined, which takes a
                       moment for each; what is called or asked for its state is not known */
    const char *worker_path; /* NULL: beside this executable or library, then $MOAT_LIBEXEC, then PREFIX/libexec */
    const char *helper_path;
    unsigned loops;                /* 0: one per core, at most 4 */
    const struct secrets *secrets; /* this host's HMAC keys; stay until service_close; NULL: none */
};

/* Where the two executables are that options (all of it may be zero) lead to, for commands that need no home. */
int locate_executables(const struct service_options *options, char worker[PATH_MAX], char helper[PATH_MAX],
                       struct error *err);

/* Takes the lock, opens the registry, starts threads, defines every installed active plugin (lazily). MOAT_E_HOME_BUSY
 * at once when someone else holds it. Blocks. */
int service_open(const struct service_options *options, struct service **out, struct error *err);
/* Drains for at most grace_ns. Blocks. */
void service_close(struct service *s, uint64_t grace_ns);

struct loader *service_loader(struct service *s); /* calls go straight there: call_begin, call_run */
struct loop *service_loop(struct service *s, unsigned i);
unsigned service_loops(const struct service *s);
const struct home *service_home(const struct service *s);
struct registry;
struct registry *service_registry(struct service *s); /* for who reads from it with a connection of its own */

/* The one thing that stands on the service: made when it is first asked for (NULL: *err says why), and stopped by
 * service_close before anything else goes. make and stop may block. Any thread but a loop's. */
void *service_guest(struct service *s, void *(*make)(struct service *s, struct error *err), void (*stop)(void *guest),
                    struct error *err);

typedef void (*service_done)(void *context, const struct error *error, struct buf *result);

/* In whose name, and by which request, the operations act that this thread begins from now on: the audit trail tells
 * of it. Copied; NULL: Moat itself ("host"), no request. The front door sets it around each request. */
void service_act_as(const char *actor, const char *call);

/* A result that is bare bytes: filled before done is called without an error; the descriptor is then the caller's. */
struct service_file {
    int fd; /* from its start; -1 before and on failure */
    uint64_t len;
    const char *media; /* "application/json" */
    char name[112];    /* what it would be called, or "" */
};

/* ---- packages ---- */
struct service_install {
    const char *path;   /* the package: a file that stays until done; removed after when `temporary` */
    const char *called; /* what messages call the package; NULL: its path */
    bool temporary;
    const char *metadata;      /* JSON object of the request, or NULL: each field must equal the manifest's */
    const char *const *grants; /* texts of grants to decide with the installation */
    size_t ngrants;
    const char *span; /* a TIME after which these grants end; NULL: they do not */
    bool load, use, allow_older;
    const char *accept; /* as service_use's */
};
void service_install(struct service *s, const struct service_install *in, service_done done, void *context);
/* called, metadata: as in service_install. */
void service_validate(struct service *s, const char *path, const char *called_or_null, bool temporary,
                      const char *metadata_or_null, service_done done, void *context);
/* what: NAME or NAME@VERSION, wherever it is called that. */
void service_uninstall(struct service *s, const char *what, bool purge, service_done done, void *context);
/* Bare bytes, as they were installed; counted as a download. */
void service_fetch(struct service *s, const char *what, struct service_file *file, service_done done, void *context);
/* What changes from one version of a plugin to another, or (to NULL) to the package in the file at path, which messages
 * call as service_install says. */
void service_diff(struct service *s, const char *from, const char *to_or_null, const char *path,
                  const char *called_or_null, service_done done, void *context);
/* accept: when agents would be told something else than by the current version, MOAT_E_CHANGES_NOT_ACCEPTED unless it
 * is the digest of what they would be told (see diff) or at least the first 16 digits of it, or "all". */
void service_use(struct service *s, const char *what, const char *accept_or_null, service_done done, void *context);
/* The version runs beside the current one with 1 to 99 percent of the calls, and takes its place, or goes, by what
 * becomes of them (docs/canary.md). MOAT_E_WRONG_STATE when the plugin does not run. */
void service_canary(struct service *s, const char *what, unsigned percent, const char *accept_or_null,
                    service_done done, void *context);
/* Of a canary: ends it, and the current version stays. */
void service_rollback(struct service *s, const char *name, service_done done, void *context);
void service_pin(struct service *s, const char *name, bool on, service_done done, void *context);
void service_activate(struct service *s, const char *name, bool on, service_done done, void *context);
void service_deprecate(struct service *s, const char *what, bool on, const char *reason_or_null, service_done done,
                       void *context);
void service_archive(struct service *s, const char *what, bool on, service_done done, void *context);

/* ---- moving what is known; see docs/versions.md ---- */
void service_export(struct service *s, struct service_file *file, service_done done, void *context);
/* A document in a file, which is duplicated. All or nothing: MOAT_E_BAD_DOCUMENT with the JSON Pointer. */
void service_import(struct service *s, int file, service_done done, void *context);
/* The declarative file (docs/versions.md), all or nothing; check: only what would change. The descriptor stays the
 * caller's. {"applied", "plugins", "changes": [{"plugin", "what", "from", "to"}]} */
void service_apply(struct service *s, int file, bool check, service_done done, void *context);

/* ---- configuration ---- */
void service_config_get(struct service *s, const char *name, service_done done, void *context);
/* value NULL: the default again. guard: what runs with it is watched, and the change is taken back when it is worse. */
void service_config_set(struct service *s, const char *name, const char *key, const char *value_json_or_null,
                        bool guard, service_done done, void *context);
/* The newest revisions, `limit` of them (0: 20), and what became of each. */
void service_config_history(struct service *s, const char *name, uint64_t limit, service_done done, void *context);

/* ---- running ---- */
void service_load(struct service *s, const char *what, service_done done, void *context);
void service_unload(struct service *s, const char *name, service_done done, void *context);
void service_reload(struct service *s, const char *name, service_done done, void *context);
void service_stop_all(struct service *s, service_done done, void *context);

/* ---- deciding ---- */
/* for_or_null: a TIME after which the grant ends by itself, as if it were revoked then. */
void service_grant(struct service *s, const char *name, const char *grant, const char *for_or_null, service_done done,
                   void *context);
void service_refuse(struct service *s, const char *name, const char *permission, service_done done, void *context);
void service_revoke(struct service *s, const char *name, const char *grant, service_done done, void *context);
void service_grants(struct service *s, const char *name_or_null, service_done done, void *context);

bool service_permissions_page(struct buf *out); /* docs/permissions.md; pure */

/* What nobody, a publisher ("publisher:NAME") or a capability ("capability:NAME") can ever get. Holds for what was
 * granted before as well: workers that held it are dead when it is set. */
void service_ceiling_list(struct service *s, service_done done, void *context);
void service_ceiling_set(struct service *s, const char *subject, const char *never, service_done done, void *context);
void service_ceiling_remove(struct service *s, const char *subject, const char *never, service_done done,
                            void *context);

/* Data sources, which database grants name. kind: sqlite (place: the database) or postgres (place: a file with the
 * connection string, which only the host's user may read). */
void service_source_list(struct service *s, service_done done, void *context);
void service_source_add(struct service *s, const char *name, const char *kind, const char *place, service_done done,
                        void *context);
void service_source_remove(struct service *s, const char *name, service_done done, void *context);

void service_trust_add(struct service *s, const char *publisher, const char *pem, const char *names_or_null,
                       service_done done, void *context);
void service_trust_list(struct service *s, service_done done, void *context);
void service_trust_revoke(struct service *s, const char *publisher, const char *key_id_or_null, service_done done,
                          void *context);

/* Another pattern for a publisher's names, which holds for what is installed as well. */
void service_trust_names(struct service *s, const char *publisher, const char *pattern, service_done done,
                         void *context);
/* The plugin's name belongs to that publisher from now on. */
void service_trust_transfer(struct service *s, const char *plugin, const char *publisher, service_done done,
                            void *context);

/* ---- telling ---- */
struct service_filter {
    const char *capability, *permission, *status, *publisher, *q, *after; /* NULL: any */
    unsigned limit;                                                       /* 0: 100 */
};
void service_available(struct service *s, const struct service_filter *filter, service_done done, void *context);
void service_loaded(struct service *s, service_done done, void *context);
void service_info(struct service *s, const char *what, service_done done, void *context);
void service_versions(struct service *s, const char *name, service_done done, void *context);
void service_errors(struct service *s, const char *name, service_done done, void *context);
void service_capabilities(struct service *s, service_done done, void *context);
void service_permissions(struct service *s, service_done done, void *context);
void service_stats(struct service *s, service_done done, void *context);
void service_health(struct service *s, service_done done, void *context);
/* What would have to be granted for what was denied (propose.c). */
void service_proposals(struct service *s, const char *name, service_done done, void *context);
/* since: a TIME, not longer ago; limit 0: all. */
void service_denials(struct service *s, const char *name_or_null, const char *since_or_null, uint64_t limit,
                     service_done done, void *context);

/* ---- the monitor (docs/monitor.md) ---- */

/* Something that the platform did: plugin and action are words of at most 63 letters, digits and _.:/- of its own;
 * duration 0: not timed. Any thread, no lock once the pair is known, does not block. MOAT_E_BAD_USAGE; MOAT_E_LIMIT
 * when there are too many pairs. */
struct service_metric {
    const char *plugin, *action;
    bool success;
    uint64_t duration_ns;
};
int service_record(struct service *s, const struct service_metric *metric, struct error *err);
/* What an action, or a pair of the platform's, did since the last look, and in the last minute. */
struct service_metric_report {
    const char *plugin, *action;
    bool platform;           /* recorded, not called */
    uint64_t calls, failed;  /* since the last look */
    uint64_t p50_ns, p99_ns; /* of the last minute */
    bool errors_anomaly, latency_anomaly;
};
/* Called every few seconds (`monitor_every`) on a jobs thread, of each that did something; must not block. One at a
 * time: another takes its place; NULL: none, and when this returns it is not called any more. */
typedef void (*service_metric_sink)(void *context, const struct service_metric_report *report);
void service_on_metric(struct service *s, service_metric_sink sink, void *context);
/* How everything does of late, with its anomalies. name NULL: of all plugins. */
void service_monitor(struct service *s, const char *name_or_null, service_done done, void *context);

/* ---- parameters (docs/parameters.md) ---- */

/* What the platform lets be changed. Everything is copied. name: letters, digits and _.-, 63 at most; current: its
 * value as JSON, a number, a text, true or false; bounded: a number from min to max in steps (0: any); choices: a JSON
 * array, or NULL; watched: the plugin (or the word of recorded metrics) whose calls tell whether a change was bad, NULL
 * for all. set is called on a jobs thread, one at a time, and must not block: false means that it is not taken. The
 * same name again takes the place of the one before. Any thread. MOAT_E_BAD_USAGE, MOAT_E_BAD_JSON, MOAT_E_LIMIT. */
struct service_parameter {
    const char *name, *current, *about, *choices, *watched;
    bool bounded;
    double min, max, step;
    bool (*set)(void *context, const char *name, const char *value_json);
    void *context;
};
int service_register_parameter(struct service *s, const struct service_parameter *parameter, struct error *err);
void service_parameters(struct service *s, const char *name_or_null, service_done done, void *context);
/* guard: watch the calls of the next ten minutes, and take it back when they are worse. */
void service_parameter_set(struct service *s, const char *name, const char *value_json, const char *why_or_null,
                           bool guard, service_done done, void *context);
struct service_parameter_change {
    const char *name, *from, *to, *who, *why;
    bool taken_back; /* by the guard */
};
/* Called after each change, on a jobs thread; must not block. As service_on_metric. */
typedef void (*service_parameter_sink)(void *context, const struct service_parameter_change *change);
void service_on_parameter(struct service *s, service_parameter_sink sink, void *context);

/* What every plugin did, cost and was refused in the last `since` (a TIME; NULL: 7d), and what was changed. */
void service_report(struct service *s, const char *since_or_null, service_done done, void *context);

/* ---- what is to come (docs/forecast.md) ---- */
#define SERVICE_HORIZON_MAX 336
struct service_forecast {
    const char *name;     /* a plugin's recorded calls; NULL: those of all together */
    const double *series; /* or a series of the caller's, hour by hour, the oldest first; copied */
    size_t n;
    unsigned horizon; /* hours ahead; 0: 24 */
    double limit;     /* calls an hour: when will it be met? 0: not asked */
    bool starts;      /* not calls: the most workers that were started at once in each hour, with what the pool makes of
                         it */
};
void service_forecast(struct service *s, const struct service_forecast *asked, service_done done, void *context);

/* ---- the audit trail (docs/audit.md) ---- */
struct service_audit {
    const char *actor, *action, *subject, *outcome, *since; /* NULL: any; since: a TIME, so long ago */
    uint64_t after, before, limit; /* numbers of records; after: in the order they came, else the newest first */
};
void service_audit(struct service *s, const struct service_audit *filter, service_done done, void *context);
void service_audit_head(struct service *s, service_done done, void *context);
/* anchor: COUNT:HASH, kept elsewhere; key: a public key's bytes as hex, which must have signed a head. */
void service_audit_verify(struct service *s, const char *anchor_or_null, const char *key_or_null, service_done done,
                          void *context);
void service_audit_sign(struct service *s, const char *head, const char *key, const char *signature, service_done done,
                        void *context);
/* All but the newest `keep` records leave for a file beside the registry. */
void service_audit_rotate(struct service *s, uint64_t keep, service_done done, void *context);

/* Something was refused before it came to the registry: folded into the trail. Any thread, does not block. */
void service_note_refusal(struct service *s, const char *actor, const char *call, const char *action,
                          const char *subject, enum moat_code code);

/* Looks at every record, reference and package. Finding something is no error: the result tells. Reads everything. */
void service_check(struct service *s, service_done done, void *context);
/* The checklist of a deployment, from what is recorded; likewise. Changes nothing, reads no package. */
void service_production(struct service *s, service_done done, void *context);

/* Writes a backup of this moment; file: a path from the root, which must not exist yet. */
void service_backup(struct service *s, const char *file, service_done done, void *context);
/* Into a home that nobody holds; what was there is kept beside. Blocks. */
struct service_restored {
    uint64_t packages;
    char before[64]; /* the folder, in both directories, that has what was there; empty: there was nothing */
};
int service_restore(struct home *home, const char *file, struct service_restored *out, struct error *err);

/* ---- settings ---- */
void service_settings_get(struct service *s, const char *key_or_null, service_done done, void *context);
void service_settings_set(struct service *s, const char *key, const char *value_json, service_done done, void *context);
bool service_settings_schema(struct buf *out); /* docs/schema/settings.schema.json */
int service_setting_check(const char *key, const char *value_json, struct error *err); /* as set does it first; pure */
/* Settings that hot code reads: any thread, no lock. */
uint64_t service_setting_payload_max(const struct service *s);
uint64_t service_setting_package_max(const struct service *s);
/* A number or time (ns) as it was when the service was opened; key is one of the table. */
uint64_t service_setting(struct service *s, const char *key);
/* changed is called when a setting that takes effect at once has changed, on a jobs thread, until the service closes.
 * One only. */
void service_on_settings(struct service *s, void (*changed)(void *context), void *context);

/* The value of an Origin header: does the setting `cors_origins` name it? Any thread, no SQL. */
bool service_origin_is_allowed(struct service *s, const char *origin);

/* ---- tokens ---- */
enum service_scope {
    SCOPE_EXECUTE = 1 << 0, /* of some plugins' actions */
    SCOPE_READ = 1 << 1,    /* every GET but tokens */
    SCOPE_MANAGE = 1 << 2,
    SCOPE_ADMIN = 1 << 3, /* everything */
};
#define SERVICE_SCOPES_MAX 256
struct service_principal {
    uint32_t scopes;
    int64_t token;                    /* its id */
    uint64_t expires;                 /* seconds; 0: never */
    uint64_t wait_ns;                 /* 0, or how long this request comes before the token may make one again */
    char plugins[SERVICE_SCOPES_MAX]; /* with SCOPE_EXECUTE: "*" or names with a space before and behind each */
};
/* Constant-time look-up in memory, any thread, no SQL; it counts as a request of the token's, by the setting
 * `token_requests`. false: none, expired or revoked; *out is then untouched. */
bool service_token_find(struct service *s, const char *token, struct service_principal *out);
/* Another number whenever a token that was good may no longer be, but for its expiry: what was found before it changed
 * is to be found again. 0: each request is to be found, for they are counted. Any thread. */
uint64_t service_token_epoch(const struct service *s);
/* Is a token that was found still good? For who goes on with what was asked for long ago. *seen: 0 at first, then the
 * caller's to keep; while no token is revoked nothing is looked for. Any thread. */
bool service_token_holds(struct service *s, int64_t token, uint64_t expires, uint64_t *seen);
/* The admin token of TCP listeners: made at the first start of a server, kept hashed. fresh (may be NULL) gets the
 * token's text once, when it was made just now, else "". Blocks. */
int service_admin_token(struct service *s, char fresh[65], struct error *err);
void service_token_create(struct service *s, const char *const *scopes, size_t nscopes, const char *name_or_null,
                          const char *for_or_null, service_done done, void *context);
void service_token_list(struct service *s, service_done done, void *context);
/* Holds for every request that begins after done, wherever it comes from. */
void service_token_revoke(struct service *s, const char *id, service_done done, void *context);

/* ---- watching ---- */
/* Memory that is free but still the process's goes back to the system, on a jobs thread. Any thread, does not block. */
void service_give_back(struct service *s);
/* What plugins said (docs/logs.md): without goes_on the newest, in the order they came; with it what came after record
 * `after`, and when that is nothing, once there is something or `wait` is over. */
struct service_log {
    const char *plugin, *call, *trace, *level, *source; /* NULL: any; level: at least */
    const char *since, *wait;                           /* TIMEs */
    uint64_t after, before, limit;
    bool goes_on;
};
void service_log(struct service *s, const struct service_log *filter, service_done done, void *context);
/* The same as text/event-stream, from the newest `limit` on, or behind `after`, and what comes. */
struct log_follow;
struct service_following {
    struct loop *loop;     /* one of the service's: where it is read */
    const char *last;      /* the id of the event that was read last, or NULL; outdoes the filter's after */
    uint64_t heartbeat_ns; /* the id of what was looked at last, after so long without an event */
    /* Once: an error, on any thread; or who follows, on the loop: read what there is. */
    void (*ready)(void *context, const struct error *error, struct log_follow *f);
    void (*more)(void *context); /* on the loop, after ready: there may be more to read */
    void *context;
};
void service_log_follow(struct service *s, const struct service_log *filter, const struct service_following *how);
/* On the loop: bytes put into room; 0: none now, more comes; LOG_FOLLOW_END: the server ends. */
#define LOG_FOLLOW_END (-1)
long log_follow_read(struct log_follow *f, void *room, size_t size);
void log_follow_end(struct log_follow *f); /* on the loop; more does not come any more. NULL is fine */
/* Those that wait are answered now, and nobody waits from now on: the server ends. Any thread. */
void service_end_waits(struct service *s);
/* The lines of one call, and when its worker died in it the last ones of that worker: a JSON array. Any thread; reads
 * all that is kept. */
void service_log_of(struct service *s, const char *call_id, struct buf *out);
/* A task that has ended, as the span of which its calls are children. Any thread, does not block. */
struct service_task {
    const char *id, *traceparent; /* traceparent: of who asked for it, or "" */
    uint64_t begun_ns, ended_ns;  /* wall */
    uint64_t cpu_ns, bytes_in, bytes_out;
    const struct error *error; /* NULL: it succeeded */
};
void service_tell_task(struct service *s, const struct service_task *task);
/* OpenMetrics families of registry, plugins and host, without the end. */
void service_metrics(struct service *s, service_done done, void *context);
/* 0: open, and every wanted plugin's first start is over, well or not. MOAT_E_NOT_READY. Any thread. */
int service_ready(struct service *s, struct error *err);

#endif
