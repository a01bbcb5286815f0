#include "service/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "service/canary.h"
#include "service/guard.h"
#include "service/internal.h"
#include "service/recall.h"

#define SPANS_GRACE_NS (2 * NS_PER_S)
#define LOOP_LOOK_NS (30 * NS_PER_US) /* a short call's answer, and the next request of who had the last one */

/* ---- what the loader tells ---- */

/* Denials, crashes and failed starts the loader logs itself.  The caller of an action knows what the action said; the
 * operator is told what Moat had to do. */
static bool is_operators(enum moat_code code)
{
    return code == MOAT_E_PLUGIN_CRASHED || code == MOAT_E_START_FAILED || code == MOAT_E_BAD_RESULT ||
           code == MOAT_E_WALL_MISSING || code == MOAT_E_OUT_OF_MEMORY || code == MOAT_E_INTERNAL ||
           code == MOAT_E_LIMIT;
}

static void on_call_error(void *context, const char *plugin, const struct error *error, const char *call_id)
{
    log_event(is_operators(error->code) ? LOG_WARN : LOG_DEBUG, "call_error", "plugin", plugin, "code",
              error_info(error->code)->name, "message", error->message, "call", call_id, NULL);
}

/* What a plugin tried and its wall refused; the whole of it is told by `denials`. */
static void on_denial(void *context, const struct denial *d)
{
    char actor[REGISTRY_ACTOR_MAX + 1];
    snprintf(actor, sizeof actor, "plugin:%.60s", d->plugin);
    service_note_refusal(context, actor, *d->call_id ? d->call_id : NULL, "plugin.denied",
                         d->permission < 0 ? d->operation : permission_name((enum permission)d->permission),
                         MOAT_E_PERMISSION_DENIED);
}

static void on_line(void *context, const struct loader_line *line)
{
    journal_add(((struct service *)context)->journal, line);
}

static void need_spec(void *context, const char *name)
{
    resolve_begin(context, name);
}

static uint64_t home_seconds(void *context)
{
    return service_now(context);
}

/* ---- loops ---- */

static void *loop_main(void *argument)
{
    loop_run(argument);
    return NULL;
}

static unsigned loops_wanted(unsigned asked)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = asked ? asked : cores > 0 ? (unsigned)cores : 1;
    return n < LOOPS_MAX ? n : LOOPS_MAX;
}

static int loops_start(struct service *s, unsigned asked, struct error *err)
{
    unsigned n = loops_wanted(asked);
    for (; s->nloops < n; s->nloops++) {
        int rc = loop_new(&s->loops[s->nloops], err);
        if (rc < 0)
            return rc;
        loop_looks(s->loops[s->nloops], LOOP_LOOK_NS);
    }
    for (; s->nloop_threads < n; s->nloop_threads++) {
        int rc = pthread_create(&s->loop_threads[s->nloop_threads], NULL, loop_main, s->loops[s->nloop_threads]);
        if (rc)
            return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start a loop");
        pthread_setname_np(s->loop_threads[s->nloop_threads], "loop");
    }
    return 0;
}

static void loops_stop(struct service *s)
{
    for (unsigned i = 0; i < s->nloop_threads; i++)
        loop_stop(s->loops[i]);
    for (unsigned i = 0; i < s->nloop_threads; i++)
        pthread_join(s->loop_threads[i], NULL);
    for (unsigned i = 0; i < s->nloops; i++)
        loop_free(s->loops[i]);
    s->nloops = s->nloop_threads = 0;
}

/* ---- open and close ---- */

static int read_state(struct service *s, struct error *err)
{
    struct registry_reader *reader = NULL;
    int rc = registry_reader_new(s->registry, &reader, err);
    if (rc == 0)
        rc = settings_read(reader, &s->settings, err);
    if (rc == 0)
        rc = token_load(s, reader, err);
    if (rc == 0)
        rc = trust_open(s, reader, err);
    if (rc == 0)
        rc = expiry_open(s, reader, err);
    registry_reader_free(reader);
    if (rc < 0)
        return rc;
    s->payload_max = s->settings.payload_max;
    if (s->server)
        log_setup(STDERR_FILENO, LOG_AUTO, (enum log_level)s->settings.log_level);
    settings_apply(s, &s->settings);
    return 0;
}

static int start_loader(struct service *s, const struct service_options *options, struct error *err)
{
    char worker[PATH_MAX], helper[PATH_MAX];
    int rc = locate_executables(options, worker, helper, err);
    if (rc < 0)
        return rc;
    struct loader_config config = {.worker_path = worker,
                                   .helper_path = helper,
                                   .loops = s->loops,
                                   .nloops = s->nloops,
                                   .accepted_layers = (uint32_t)s->settings.accept_missing_layers,
                                   .payload_max = s->settings.payload_max,
                                   .pool = (unsigned)s->settings.pool,
                                   .deadline_default_ns = s->settings.deadline_default,
                                   .deadline_max_ns = s->settings.deadline_max,
                                   .queue_per_plugin = s->settings.queue_per_plugin,
                                   .queue_total = s->settings.queue_total,
                                   .idle_stop_ns = s->settings.idle_stop,
                                   .workers_total = (unsigned)s->settings.workers_total,
                                   .lines_per_second = (uint32_t)s->settings.log_lines,
                                   .caps = {.memory = s->settings.memory_max,
                                            .tmp = s->settings.tmp_max,
                                            .file_size = s->settings.file_size_max,
                                            .cpu_ns = s->settings.cpu_max,
                                            .processes = (uint32_t)s->settings.processes_max,
                                            .descriptors = (uint32_t)s->settings.descriptors_max,
                                            .workers = (uint32_t)s->settings.workers_max},
                                   .on_denial = on_denial,
                                   .on_denials = denials_tell,
                                   .on_call_error = on_call_error,
                                   .on_counts = counters_tell,
                                   .on_stir = counters_stir,
                                   .on_line = on_line,
                                   .on_canary = canary_told,
                                   .on_guard = guard_told,
                                   .on_ask = asked,
                                   .on_worker_end = worker_ended,
                                   .need_spec = need_spec,
                                   .context = s};
    traces_open(s, &config);
    meters_begin(s);
    rc = broker_new(&(struct broker_config){.now = home_seconds,
                                            .open_source = source_wanted,
                                            .run_task = task_wanted,
                                            .lives = version_lives,
                                            .context = s},
                    &s->broker, err);
    if (rc == 0)
        rc = queries_open(s, err);
    if (rc == 0)
        rc = connections_open(s, err);
    return rc < 0 ? rc : loader_new(&config, &s->loader, err);
}

/* At each start, by whomever. */
static void warn_of_development(const struct service *s, int rc)
{
    if (rc == 0 && s->home.development == HOME_ON)
        log_event(LOG_WARN, "development_mode", "home", s->home.dir, "why",
                  "signatures are not required here: unsigned packages run", NULL);
    if (rc == 0 && s->home.development == HOME_PAST)
        log_event(LOG_INFO, "development_past", "home", s->home.dir, "why",
                  "this home was in development mode before: unsigned packages are refused now", NULL);
}

static int open_all(struct service *s, const struct service_options *options, struct error *err)
{
    struct home_owner owner;
    s->vault = vault_new();
    s->recall = recall_new();
    s->tokens = tokens_new();
    s->origins = origins_new();
    s->monitor = monitor_new(s);
    s->parameters = parameters_new(s);
    int rc = s->vault && s->recall && s->tokens && s->origins && s->monitor && s->parameters
                 ? 0
                 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the service");
    if (rc == 0)
        rc = home_lock(&s->home, s->server, &s->lock, &owner, err);
    warn_of_development(s, rc);
    if (rc == 0)
        rc = registry_open(s->home.registry_dir, s->home.plugin_dir, &s->registry, err);
    if (rc == 0)
        rc = read_state(s, err);
    if (rc == 0)
        rc = journal_open(s->settings.log_memory, &s->journal, err);
    if (rc == 0)
        rc = loops_start(s, options->loops, err);
    if (rc == 0)
        rc = start_loader(s, options, err);
    if (rc == 0)
        counters_start(s);
    if (rc == 0)
        rc = jobs_start(s, &s->jobs, err);
    if (rc == 0) {
        expiry_start(s);
        monitor_start(s->monitor);
    }
    if (rc == 0 && !s->undefined)
        rc = wanted_start(s, err);
    return rc;
}

int service_open(const struct service_options *options, struct service **out, struct error *err)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the service");
    s->home = options->home;
    s->lock = -1;
    s->server = options->server;
    s->undefined = options->undefined;
    s->auto_load = options->auto_load;
    s->secrets = options->secrets;
    s->opened_ns = clock_mono_ns();
    pthread_mutex_init(&s->token_lock, NULL);
    pthread_mutex_init(&s->settings_lock, NULL);
    pthread_mutex_init(&s->guest_lock, NULL);
    pthread_rwlock_init(&s->task_lock, NULL);
    pthread_mutex_init(&s->expiry.lock, NULL);
    s->expiry.timer = -1;
    pool_open(&s->pool);
    /* Signals are the program's business, on its own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = open_all(s, options, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        service_close(s, 0);
    else
        *out = s;
    return rc;
}

/* Backwards: no new work, the loader with every call answered, the threads, the registry, and the lock last. */
void service_close(struct service *s, uint64_t grace_ns)
{
    if (!s)
        return;
    if (s->journal)
        journal_end_waits(s->journal);
    tasks_end(s); /* plugins that still run ask in vain */
    if (s->guest)
        s->guest_stop(s->guest);
    jobs_drain(&s->jobs);
    if (s->registry)
        counters_stop(s);
    if (s->net)
        net_stop(s->net);
    if (s->loader)
        meters_last(s);
    if (s->loader)
        loader_close(s->loader, grace_ns);
    queries_close(s);          /* its helpers tell the loader what they refuse */
    loader_free(s->loader, 0); /* which tells the last counts */
    broker_free(s->broker);
    spans_close(s->spans, SPANS_GRACE_NS);
    meters_close(s->meters, SPANS_GRACE_NS);
    jobs_stop(&s->jobs);
    tokens_flush(s);
    loops_stop(s);
    jobs_close(&s->jobs);
    net_free(s->net);
    expiry_close(s);
    registry_close(s->registry);
    vault_free(s->vault);
    recall_free(s->recall);
    io_close(&s->lock);
    pthread_mutex_destroy(&s->token_lock);
    pthread_mutex_destroy(&s->settings_lock);
    pthread_mutex_destroy(&s->guest_lock);
    pthread_rwlock_destroy(&s->task_lock);
    pthread_mutex_destroy(&s->expiry.lock);
    tokens_free(s->tokens);
    journal_close(s->journal);
    monitor_free(s->monitor);
    pool_close(&s->pool);
    parameters_free(s->parameters);
    origins_free(s->origins);
    free(s);
}

void *service_guest(struct service *s, void *(*make)(struct service *s, struct error *err), void (*stop)(void *guest),
                    struct error *err)
{
    pthread_mutex_lock(&s->guest_lock);
    if (!s->guest && (s->guest = make(s, err)))
        s->guest_stop = stop;
    void *guest = s->guest;
    pthread_mutex_unlock(&s->guest_lock);
    return guest;
}

struct registry *service_registry(struct service *s)
{
    return s->registry;
}

struct loader *service_loader(struct service *s)
{
    return s->loader;
}

struct loop *service_loop(struct service *s, unsigned i)
{
    return s->loops[i];
}

unsigned service_loops(const struct service *s)
{
    return s->nloops;
}

const struct home *service_home(const struct service *s)
{
    return &s->home;
}

bool service_origin_is_allowed(struct service *s, const char *origin)
{
    return origins_have(s->origins, origin);
}

int service_ready(struct service *s, struct error *err)
{
    size_t starting = atomic_load(&s->starting);
    return starting ? error_set(err, MOAT_E_NOT_READY, "%zu wanted plugins are starting", starting) : 0;
}

int service_setting_check(const char *key, const char *value_json, struct error *err)
{
    return settings_check(key, value_json, err);
}

bool service_settings_schema(struct buf *out)
{
    return settings_schema(out);
}

uint64_t service_setting_payload_max(const struct service *s)
{
    return s->payload_max;
}

uint64_t service_setting_package_max(const struct service *s)
{
    return atomic_load_explicit(&s->package_max, memory_order_relaxed);
}
