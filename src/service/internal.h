/* service/internal: the service as its own files see it.  Private to src/service. */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "broker/net.h"
#include "broker/sql.h"
#include "package/package.h"
#include "policy/policy.h"
#include "registry/registry.h"
#include "service/asked.h"
#include "service/expiry.h"
#include "service/home_time.h"
#include "service/jobs.h"
#include "service/journal.h"
#include "service/monitor.h"
#include "service/origins.h"
#include "service/parameter.h"
#include "service/pool.h"
#include "service/service.h"
#include "service/settings.h"
#include "service/token.h"
#include "service/vault.h"
#include "trace/meters.h"
#include "trace/spans.h"

#define LOOPS_MAX 4
#define STOP_GRACE_NS (5 * NS_PER_S)
#define WAIT_DEAD_NS (6 * NS_PER_S) /* the loader answers revoke_incomplete by itself after 5 s */

struct service {
    struct home home;
    int lock; /* the home's */
    bool server, auto_load, undefined;
    const struct secrets *secrets; /* or NULL */
    struct registry *registry;
    struct loader *loader;
    struct broker *broker;
    struct sql_keeper *queries;
    struct net *net; /* connections, on the first loop */
    struct jobs jobs;
    struct vault *vault;
    struct recall *recall;
    struct loop *loops[LOOPS_MAX];
    pthread_t loop_threads[LOOPS_MAX];
    unsigned nloops, nloop_threads;
    struct settings settings; /* as at open; what is live in them: under settings_lock */
    pthread_mutex_t settings_lock;
    void (*on_settings)(void *context); /* settings_lock */
    void *settings_context;
    _Atomic uint64_t package_max;
    uint64_t payload_max, opened_ns;
    bool counters_over;         /* the store thread asks for nothing any more: what is told now is the last */
    pthread_mutex_t token_lock; /* one is made at a time */
    bool had_admin;             /* a token with that scope ever, revoked ones included; under token_lock */
    struct tokens *tokens;
    struct journal *journal;
    struct monitor *monitor;
    struct parameters *parameters;
    struct pool pool;
    struct spans *spans;      /* or NULL: no collector is named */
    struct meters *meters;    /* the same */
    uint64_t metrics_sent_ns; /* the looking thread's: monotonic; opened_ns: never */
    bool metrics_moved;       /* the looking thread's: something is to be told */
    struct origins *origins;
    struct home_time time; /* as at open; never changes */
    struct expiry expiry;
    _Atomic size_t starting; /* wanted plugins whose first start goes on */
    pthread_mutex_t guest_lock;
    void *guest; /* see service_guest */
    void (*guest_stop)(void *guest);
    pthread_rwlock_t task_lock; /* held for reading while run_task runs, so that it is not after service_close began */
    _Atomic(service_task_run) run_task; /* see service_run_tasks */
};

/* ---- target.c: NAME and NAME@VERSION ---- */

struct target {
    char name[MANIFEST_NAME_MAX + 1];
    char version[MANIFEST_VERSION_MAX + 1]; /* or empty */
};
int target_parse(const char *what, bool may_have_version, struct target *out, struct error *err);

/* ---- versions.c ---- */

/* The version that is named, else the current one; manifest (may be NULL) gets its text appended. */
int version_find(struct job *job, const struct target *t, struct registry_version *out, struct buf *manifest,
                 struct error *err);
int tell_versions(struct buf *out, struct job *job, const char *name, struct error *err); /* newest first */
void tell_deprecated(struct buf *out, const char *key, const struct registry_version *v); /* why, or null */
void tell_warnings(struct buf *out, const struct registry_version *v); /* what its user should know */

/* ---- use.c: what the operator has to have seen before agents are told something else ---- */

#define ACCEPT_ALL "all"
#define ACCEPT_LEAST 16 /* digits of a digest */
int accept_parse(const char *text_or_null, char out[65], struct error *err);
/* May m (whose text is at hand) follow the current version? MOAT_E_CHANGES_NOT_ACCEPTED, which says what to say: in a
 * command, or in a file. */
int accept_check(struct job *job, const char *name, const char *current, const struct manifest *m, const char *text,
                 size_t len, const char *accept, bool in_file, struct error *err);

/* ---- plan.c: what a name is to run ---- */

struct decisions;
struct plan {
    char version[MANIFEST_VERSION_MAX + 1];
    struct registry_plugin plugin;
    struct registry_version record; /* of an installed package, with its manifest's text */
    struct buf text;
    enum moat_code gate; /* MOAT_E_OK: open */
    char message[ERROR_MESSAGE_MAX];
    struct spec *spec;           /* NULL behind a closed gate */
    struct policy_answer answer; /* when the manifest was read */
};
void plan_clear(struct plan *p);

enum plan_depth {
    PLAN_MANIFEST, /* the package is not opened: the loader asks when it needs the code */
    PLAN_CODE,     /* verified, unpacked, granted paths resolved */
};

/* version NULL: the current one.  ignore_stop: as if `unload` had not been said. A gate is no error; errors are
 * MOAT_E_NO_SUCH_PLUGIN, MOAT_E_NO_SUCH_VERSION, and what keeps an open gate from having its code. A package that is
 * not what was installed marks its version damaged. */
int plan_make(struct job *job, const char *name, const char *version, enum plan_depth depth, bool ignore_stop,
              struct plan *out, struct error *err);

/* Makes an open PLAN_MANIFEST a PLAN_CODE; does nothing behind a closed gate. */
int plan_bring_code(struct job *job, struct plan *p, struct error *err);

/* The same with what an earlier start has left of the same bytes: 1, or 0 when there is nothing (left). None of it may
 * run before plan_verify has found that the package is what it was, and still trusted. */
int plan_keep_code(struct job *job, struct plan *p);
int plan_verify(struct job *job, const struct plan *p, struct error *err);

/* Would this version run if it were current, and everything of it decided? Its state, signer and bytes; what the
 * operator says of the plugin (inactive, unloaded) does not count. Marks nothing. text: its manifest's. */
int version_may_run(struct job *job, const struct registry_plugin *plugin, const struct registry_version *v,
                    const struct buf *text, struct error *err);

/* As PLAN_CODE for a package that is not installed yet: decisions are those that would hold. */
int plan_from_package(struct job *job, struct package *package, const struct unpacked *files,
                      const struct decisions *decisions, struct plan *out, struct error *err);

/* loader_set of a plan. */
void plan_set(struct service *s, const char *name, const struct plan *p, enum loader_how how, loader_done done,
              void *context);
/* And waits for the answer, on a jobs thread. For what takes a moment, not for starts. */
int plan_set_wait(struct service *s, const char *name, const struct plan *p, enum loader_how how, struct error *err);

/* Defines NAME anew with its manifest alone: calls meet it when this returns. Errors close the gate. Not for a plugin
 * that runs as it should: it would be replaced. */
void plan_define(struct job *job, const char *name);

/* ---- rights.c: asks and decisions ---- */

/* What was decided, and what else the policy decides by, of one moment. */
struct decisions {
    struct registry_decision *list;
    size_t count, cap;
    struct ceiling *ceilings;
    size_t nceilings;
    uint64_t now;  /* seconds of the home's time */
    int64_t ahead; /* of the wall clock, seconds: what a person is shown of an end */
};
/* Of one plugin (NULL: all), with the ceilings and the time. */
int decisions_read(struct job *job, const char *name, struct decisions *out, struct error *err);
int decisions_begin(struct job *job, struct decisions *out, struct error *err); /* nothing decided yet */
void decisions_at_now(struct job *job, struct decisions *d);                    /* what ends, ends by now */
int decisions_add(struct decisions *d, const struct registry_decision *one, struct error *err);
void decisions_free(struct decisions *d);
int decision_parse(const char *text, struct registry_decision *out, struct error *err);
/* When a grant ends that is given now for a TIME (NULL: never). MOAT_E_BAD_USAGE. */
int decision_until(const struct service *s, const char *span, uint64_t *until, struct error *err);
/* A place that is not there, or never granted, is refused when it is granted, not when a plugin starts; and what a
 * ceiling of the answer forbids. */
int grant_check(const struct grant *g, const struct policy_answer *a, struct error *err);
/* A grant takes nothing away: what holds for longer is not cut short by one with an end. MOAT_E_WRONG_STATE. */
int grant_not_shorter(const struct grant *g, uint64_t until, const struct decisions *d, const char *plugin,
                      struct error *err);
/* All of them, and one more (NULL: none), can hold at once: a worker has room for so many places. MOAT_E_LIMIT. */
int grants_fit(const struct decisions *d, const struct grant *more, const char *plugin, struct error *err);
/* Where the grant leads now, below the ceilings of the answer, and is not a place that is never granted. */
int grant_resolve(const struct grant *g, const struct policy_answer *a, struct wall_grant *out, struct error *err);
/* A grant of a place, as it is given: by the path that the place really has. Who owns a directory on the way can put a
 * link there later, which leads anywhere: what is kept has none. */
int grant_settle(struct grant *g, struct error *err);
/* What was given of it: at its path, by no link. MOAT_E_PERMISSION_DENIED. */
int grant_find(const struct grant *g, const struct policy_answer *a, struct wall_grant *out, struct error *err);
/* What lies in the place of a grant of file_write now, or REGISTRY_UNWEIGHED. MOAT_E_LIMIT: it cannot be counted. */
int quota_weigh(const struct grant *g, const struct policy_answer *a, int64_t *held, struct error *err);
/* Into the spec: how much may come to lie in each place that may be written. A grant that was not weighed yet is
 * weighed, and that is kept. decisions NULL: as the registry has them. */
int quota_plan(struct job *job, struct spec *s, const struct policy_answer *a, const struct decisions *decisions,
               struct error *err);
/* publisher: whose key signed the version. */
void decisions_answer(const struct manifest *m, const char *publisher, const struct decisions *d,
                      struct policy_answer *out);
/* Why one of them holds or not. */
enum policy_reason decisions_judge(const struct manifest *m, const char *publisher, const struct decisions *d,
                                   const struct registry_decision *one);
bool record_as_grant(const struct registry_decision *record, struct grant *out); /* false: of another version */
/* The same files and the same right to execute? */
bool answer_same_wall(const struct policy_answer *a, const struct policy_answer *b);
/* And the same need of a socket for connections? */
bool answer_same_workers(const struct policy_answer *a, const struct policy_answer *b);
/* Is something of the permission gone, or under a ceiling that was not there? */
bool answer_less_of(enum permission p, const struct policy_answer *was, const struct policy_answer *is);
bool answer_same(const struct policy_answer *a, const struct policy_answer *b); /* the same rights */
/* "NAME needs file_read: `moat grant NAME file_read=/data`" */
void answer_explain(const struct manifest *m, const struct policy_answer *a, char *out, size_t size);
/* One command for each asked permission that is undecided, and each required one that is refused. */
void tell_needs_grant(struct buf *out, const char *key, const struct manifest *m, const struct policy_answer *a);
void tell_permissions(struct buf *out, const char *key, const struct manifest *m, const struct policy_answer *a,
                      const struct decisions *d);
void tell_until(struct buf *out, const char *key, const struct decisions *d, uint64_t until);
uint64_t service_now(const struct service *s); /* seconds of the home's time */

/* ---- source.c ---- */

bool source_is_well_formed(const struct registry_source *s);
/* Of one that was added elsewhere: what is in its place here is what it has to be; it may be missing. */
int source_check_again(const struct service *service, const struct registry_source *s, struct error *err);

/* ---- follow.c: what runs follows what was decided ---- */

/* The current version's manifest and its publisher. */
int current_manifest(struct job *job, const char *name, struct manifest **out,
                     char publisher[REGISTRY_PUBLISHER_MAX + 1], struct error *err);
/* Of what current_manifest returned: nothing of it can run. Any other failure says nothing of what runs. */
bool nothing_can_run(int code);
/* Workers of NAME that hold more than they may are dead when this returns, or the error says which are not; what they
 * ask of the host is refused from now on. was and is are the answers for `version`; NULL: nobody can say what they
 * hold, and none goes on. */
int follow_less(struct service *s, struct job *job, const char *name, const char *version,
                const struct policy_answer *was, const struct policy_answer *is, struct error *err);

/* ---- brokered.c: what running calls ask, and by which rights ---- */

void asked(void *context, struct question *ask);                          /* loader_config.on_ask */
void task_wanted(void *context, struct question *ask);                    /* broker_config.run_task */
bool version_lives(void *context, const char *name, const char *version); /* broker_config.lives */
void tasks_end(struct service *s);                                        /* none is handed on any more; blocks */
/* From now on this version asks by this answer. */
void rights_set(struct service *s, const char *name, const char *version, const struct policy_answer *answer);
/* Versions of NAME ask for nothing any more, but by what is set after this; what calls wait for now is looked at again
 * by rights_review. */
void rights_drop(struct service *s, const char *name);
void rights_review(struct service *s, const char *name);
int connections_open(struct service *s, struct error *err); /* when the loops run, before the loader */
/* NAME has no connection any more, or the error says what is left. On a jobs thread. */
int connections_end(struct service *s, const char *name, struct error *err);

/* ---- queries.c: data sources of running calls ---- */

int queries_open(struct service *s, struct error *err);
void source_wanted(void *context, struct question *ask, const char *source, bool write); /* broker_config.open_source */
struct spawner *helpers_spawner(void *context);    /* the service's, as it is now */
void worker_ended(void *context, uint64_t worker); /* loader_config.on_worker_end */
void queries_close(struct service *s);             /* between loader_close and loader_free */
/* Helpers of NAME that do what it may not do any more are dead when this returns. MOAT_E_REVOKE_INCOMPLETE. */
int queries_review(struct service *s, const char *name, struct error *err);
/* The same for all of a plugin's (NULL: everybody's) over a source (NULL: all). */
int queries_end(struct service *s, const char *plugin, const char *source, struct error *err);
int queries_purge(struct service *s, const char *plugin, struct error *err); /* and its own database is removed */

/* ---- waits.c: several answers of the loader, on a jobs thread ---- */

struct waits;
struct waits *waits_new(size_t most);
void *waits_add(struct waits *w, const char *name); /* context for waits_done; NULL: out of memory */
void waits_done(void *context, const struct error *error);
/* Until all have answered: 0, the first error, or MOAT_E_REVOKE_INCOMPLETE that names who is left. Frees w. */
int waits_finish(struct waits *w, uint64_t timeout_ns, struct error *err);

/* ---- counters.c: what outlives this process ---- */

void counters_tell(void *context, const struct loader_counts *counts);           /* loader_config.on_counts */
void counters_stir(void *context);                                               /* loader_config.on_stir */
bool denials_tell(void *context, const struct denial *more);                     /* loader_config.on_denials */
int denials_flush(struct job *job, const char *name_or_null, struct error *err); /* what was denied is on the disk */
void counters_start(struct service *s);
void counters_stop(struct service *s); /* before the loader goes */
/* version NULL: of all; name NULL: of everything. Up to this moment. Not inside a snapshot. */
int counters_read(struct job *job, const char *name, const char *version, struct registry_counts *out,
                  struct error *err);
void tell_counts(struct buf *out, const char *key, const struct registry_counts *n);

/* ---- traces.c ---- */

void traces_open(struct service *s, struct loader_config *config); /* sets on_end when spans are exported */

/* ---- meters.c: figures for the collector ---- */

void meters_begin(struct service *s);
/* Tells them when it is time to; true: something is still to be told. The looking thread. */
bool meters_look(struct service *s, bool moved);
void meters_last(struct service *s); /* nothing looks any more */
void metrics_meters(struct buf *out, struct service *s);

/* ---- others ---- */

bool plugin_is_running(struct service *s, const char *name);
void resolve_begin(struct service *s, const char *name); /* run.c: the loader needs code */
int wanted_start(struct service *s, struct error *err);  /* open: starts what is to run */
int trust_find(void *job, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err);
bool trust_is_unsigned(const uint8_t key_id[KEY_ID_LEN]);
bool trust_in_development(const struct service *s);                                   /* unsigned packages run */
int trust_open(struct service *s, struct registry_reader *reader, struct error *err); /* open: this host's own keys */
int token_load(struct service *s, struct registry_reader *reader, struct error *err);

#endif
