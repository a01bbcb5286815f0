#include "fake_service.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "orchestrator/orchestrator.h"

struct service {
    struct home home;
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned completing; /* lock: threads that may still touch what they complete to */
    char asked[2048], package[256];
    enum moat_code code;
    uint64_t principal; /* of the last call */
    char message[256];
    _Atomic bool hold;
    struct call *held; /* the last one */
    _Atomic unsigned cancelled;
    uint64_t payload_max, package_max;
    _Atomic uint64_t forgotten; /* not 0: no token is good any more */
};

static void *run(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct service *fake_begin(const char *home)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s || home_resolve(home, NULL, NULL, &s->home, NULL) < 0 || loop_new(&s->loop, NULL) < 0 ||
        io_mkdirs(s->home.registry_dir, 0700, NULL) < 0 || io_mkdirs(s->home.plugin_dir, 0700, NULL) < 0 ||
        pthread_create(&s->thread, NULL, run, s->loop) != 0)
        abort();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    s->payload_max = 1 << 20;
    s->package_max = 4 << 20;
    return s;
}

void fake_end(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->completing)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
    loop_stop(s->loop);
    pthread_join(s->thread, NULL);
    loop_free(s->loop);
    free(s);
}

const char *fake_asked(struct service *s)
{
    return s->asked;
}

uint64_t fake_principal(struct service *s)
{
    return s->principal;
}

const char *fake_package(struct service *s)
{
    return s->package;
}

void fake_fail(struct service *s, enum moat_code code, const char *message)
{
    s->code = code;
    snprintf(s->message, sizeof s->message, "%.200s", message);
}

void fake_hold_calls(struct service *s, bool hold)
{
    s->hold = hold;
}

void fake_tell(struct service *s, unsigned lines, size_t len)
{
    char text[4096];
    for (unsigned i = 0; s->held && s->held->told && i < lines; i++) {
        int n = snprintf(text, sizeof text, "%06u", i);
        for (; (size_t)n < len && (size_t)n < sizeof text - 1; n++)
            text[n] = 'x';
        text[n] = '\0';
        s->held->told(s->held, &(struct call_told){.level = 1, .text = text});
    }
}

unsigned fake_cancelled(struct service *s)
{
    return s->cancelled;
}

void fake_limits(struct service *s, uint64_t payload_max, uint64_t package_max)
{
    s->payload_max = payload_max;
    s->package_max = package_max;
}

void fake_forget_tokens(struct service *s)
{
    atomic_store(&s->forgotten, 1);
}

/* ---- what src/rest meets ---- */

struct completion {
    struct service *s;
    service_done done;
    void *context;
    struct error error;
    bool failed;
};

static void count_completing(struct service *s, int change)
{
    pthread_mutex_lock(&s->lock);
    s->completing += (unsigned)change;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
}

/* Completes on a thread of its own, as the service's jobs do. */
static void *complete(void *arg)
{
    struct completion *c = arg;
    buf_auto result = BUF_INIT(1024);
    buf_puts(&result, "{\"fake\":true}");
    c->done(c->context, c->failed ? &c->error : NULL, &result);
    count_completing(c->s, -1);
    free(c);
    return NULL;
}

__attribute__((format(printf, 4, 5))) static void answer(struct service *s, service_done done, void *context,
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->asked, sizeof s->asked, format, args);
    va_end(args);
    struct completion *c = calloc(1, sizeof *c);
    pthread_t thread;
    if (!c)
        abort();
    c->s = s;
    c->done = done;
    c->context = context;
    c->failed = s->code != MOAT_E_OK;
    if (c->failed)
        error_set(&c->error, s->code, "%s", s->message);
    count_completing(s, 1);
    if (pthread_create(&thread, NULL, complete, c) != 0)
        abort();
    pthread_detach(thread);
}

static const char *or_null(const char *text)
{
    return text ? text : "NULL";
}

static void read_package(struct service *s, const char *path)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : io_read_full(fd, s->package, sizeof s->package - 1);
    s->package[n > 0 ? n : 0] = '\0';
}

void service_install(struct service *s, const struct service_install *in, service_done done, void *context)
{
    char grants[512] = "";
    for (size_t i = 0; i < in->ngrants; i++)
        snprintf(grants + strlen(grants), sizeof grants - strlen(grants), "%s%s", i ? "," : "", in->grants[i]);
    read_package(s, in->path);
    if (strstr(s->message, "PATH")) { /* lets a failure name the file */
        char with[512];
        snprintf(with, sizeof with, "%s is not a package", in->called);
        fake_fail(s, s->code, with);
    }
    answer(s, done, context, "install metadata=%s grants=[%s] load=%d use=%d older=%d%s%s%s%s", or_null(in->metadata),
           grants, in->load, in->use, in->allow_older, in->accept ? " accept=" : "", in->accept ? in->accept : "",
           in->span ? " for=" : "", in->span ? in->span : "");
}

void service_validate(struct service *s, const char *path, const char *called, bool temporary, const char *metadata,
                      service_done done, void *context)
{
    read_package(s, path);
    answer(s, done, context, metadata ? "validate metadata=%s" : "validate", metadata);
}

void service_canary(struct service *s, const char *what, unsigned percent, const char *accept, service_done done,
                    void *context)
{
    answer(s, done, context, "canary %s %u accept=%s", what, percent, accept ? accept : "");
}

void service_uninstall(struct service *s, const char *what, bool purge, service_done done, void *context)
{
    answer(s, done, context, "uninstall %s purge=%d", what, purge);
}

#define ONE(name, argument) \
    void service_##name(struct service *s, const char *argument, service_done done, void *context) \
    { \
        answer(s, done, context, #name " %s", or_null(argument)); \
    }
#define TWO(name, first, second) \
    void service_##name(struct service *s, const char *first, const char *second, service_done done, void *context) \
    { \
        answer(s, done, context, #name " %s %s", or_null(first), or_null(second)); \
    }
#define NONE(name) \
    void service_##name(struct service *s, service_done done, void *context) \
    { \
        answer(s, done, context, #name); \
    }
TWO(use, what, accept)
ONE(rollback, name)
ONE(versions, name)
ONE(errors, name)
ONE(config_get, name)
ONE(load, what)
ONE(unload, name)
ONE(reload, name)
NONE(stop_all)
TWO(ceiling_set, subject, never)
TWO(ceiling_remove, subject, never)
NONE(ceiling_list)
NONE(source_list)
ONE(source_remove, name)
TWO(refuse, name, permission)
TWO(revoke, name, grant)
ONE(grants, name)
ONE(proposals, name)
NONE(trust_list)
TWO(trust_revoke, publisher, key)
TWO(trust_names, publisher, pattern)
TWO(trust_transfer, plugin, publisher)
NONE(loaded)
ONE(info, what)
NONE(capabilities)
NONE(permissions)
NONE(stats)
NONE(health)
ONE(monitor, name)
ONE(report, since)
ONE(parameters, name)
ONE(token_revoke, id)
NONE(token_list)
ONE(settings_get, key)
TWO(settings_set, key, value)
NONE(audit_head)
ONE(backup, file)
NONE(check)
NONE(production)
TWO(audit_verify, anchor, key)

void service_grant(struct service *s, const char *name, const char *grant, const char *span, service_done done,
                   void *context)
{
    answer(s, done, context, "grant %s %s%s%s", name, grant, span ? " for " : "", span ? span : "");
}

void service_denials(struct service *s, const char *name, const char *since, uint64_t limit, service_done done,
                     void *context)
{
    answer(s, done, context, "denials %s%s%s%s", or_null(name), since ? " since " : "", since ? since : "",
           limit ? " limited" : "");
}

void service_source_add(struct service *s, const char *name, const char *kind, const char *place, service_done done,
                        void *context)
{
    answer(s, done, context, "source_add %s %s %s", name, kind, place);
}

void service_parameter_set(struct service *s, const char *name, const char *value, const char *why, bool guard,
                           service_done done, void *context)
{
    answer(s, done, context, "parameter_set %s %s %s %d", name, value, or_null(why), guard);
}

int service_record(struct service *s, const struct service_metric *m, struct error *err)
{
    (void)s;
    return strcmp(m->plugin, "refused") == 0 ? error_set(err, MOAT_E_LIMIT, "too many") : 0;
}

void service_forecast(struct service *s, const struct service_forecast *f, service_done done, void *context)
{
    answer(s, done, context, "forecast %s %zu %u %g%s", or_null(f->name), f->series ? f->n : 0, f->horizon, f->limit,
           f->starts ? " pool" : "");
}
void service_audit(struct service *s, const struct service_audit *f, service_done done, void *context)
{
    answer(s, done, context, "audit %s %s %s %s %s %llu %llu %llu", or_null(f->actor), or_null(f->action),
           or_null(f->subject), or_null(f->outcome), or_null(f->since), (unsigned long long)f->after,
           (unsigned long long)f->before, (unsigned long long)f->limit);
}
void service_audit_sign(struct service *s, const char *head, const char *key, const char *signature, service_done done,
                        void *context)
{
    answer(s, done, context, "audit_sign %s %s %s", head, key, signature);
}
void service_audit_rotate(struct service *s, uint64_t keep, service_done done, void *context)
{
    answer(s, done, context, "audit_rotate %llu", (unsigned long long)keep);
}

#define SWITCH(name) \
    void service_##name(struct service *s, const char *what, bool on, service_done done, void *context) \
    { \
        answer(s, done, context, #name " %s %d", what, on); \
    }
SWITCH(pin)
SWITCH(activate)
SWITCH(archive)

void service_deprecate(struct service *s, const char *what, bool on, const char *reason, service_done done,
                       void *context)
{
    answer(s, done, context, "deprecate %s %d %s", what, on, or_null(reason));
}

void service_config_set(struct service *s, const char *name, const char *key, const char *value, bool guard,
                        service_done done, void *context)
{
    answer(s, done, context, "config_set %s %s %s %d", name, key, or_null(value), guard);
}

void service_config_history(struct service *s, const char *name, uint64_t limit, service_done done, void *context)
{
    answer(s, done, context, "config_history %s %d", name, (int)limit);
}

void service_diff(struct service *s, const char *from, const char *to, const char *path, const char *called,
                  service_done done, void *context)
{
    if (path)
        read_package(s, path);
    answer(s, done, context, "diff %s %s", from, path ? "package" : or_null(to));
}

void service_import(struct service *s, int file, service_done done, void *context)
{
    ssize_t n = pread(file, s->package, sizeof s->package - 1, 0);
    s->package[n > 0 ? n : 0] = '\0';
    answer(s, done, context, "import %s", s->package);
}

void service_apply(struct service *s, int file, bool check, service_done done, void *context)
{
    ssize_t n = pread(file, s->package, sizeof s->package - 1, 0);
    s->package[n > 0 ? n : 0] = '\0';
    answer(s, done, context, "apply%s %s", check ? " check" : "", s->package);
}

void service_export(struct service *s, struct service_file *file, service_done done, void *context)
{
    if (s->code == MOAT_E_OK) {
        file->fd = io_sealed("export", "{}", 2);
        file->len = 2;
        file->media = "application/json";
    }
    answer(s, done, context, "export");
}

/* The last package's bytes. */
void service_fetch(struct service *s, const char *what, struct service_file *file, service_done done, void *context)
{
    if (s->code == MOAT_E_OK) {
        file->fd = io_sealed("package", s->package, strlen(s->package));
        file->len = strlen(s->package);
        file->media = "application/octet-stream";
        snprintf(file->name, sizeof file->name, "%s.moat", what);
    }
    answer(s, done, context, "fetch %s", what);
}

void service_trust_add(struct service *s, const char *publisher, const char *pem, const char *names, service_done done,
                       void *context)
{
    answer(s, done, context, "trust_add %s %s %s", publisher, pem, or_null(names));
}

void service_available(struct service *s, const struct service_filter *f, service_done done, void *context)
{
    answer(s, done, context, "available %s %s %s %s %s %s %u", or_null(f->capability), or_null(f->permission),
           or_null(f->status), or_null(f->publisher), or_null(f->q), or_null(f->after), f->limit);
}

uint64_t service_setting_payload_max(const struct service *s)
{
    return s->payload_max;
}

uint64_t service_setting_package_max(const struct service *s)
{
    return s->package_max;
}

uint64_t service_token_epoch(const struct service *s)
{
    return 1 + atomic_load(&s->forgotten);
}

bool service_token_holds(struct service *s, int64_t token, uint64_t expires, uint64_t *seen)
{
    return !atomic_load(&s->forgotten);
}

bool service_token_find(struct service *s, const char *token, struct service_principal *out)
{
    static const struct {
        const char *token, *plugins;
        uint32_t scopes;
    } known[] = {{FAKE_TOKEN, "", SCOPE_ADMIN},
                 {FAKE_READ_TOKEN, "", SCOPE_READ},
                 {FAKE_EXECUTE_TOKEN, " echo other ", SCOPE_EXECUTE}};
    for (size_t i = 0; i < sizeof known / sizeof *known && !atomic_load(&s->forgotten); i++) {
        if (strcmp(token, known[i].token) != 0)
            continue;
        *out = (struct service_principal){.scopes = known[i].scopes, .token = (int64_t)i + 1};
        strcpy(out->plugins, known[i].plugins);
        return true;
    }
    return false;
}

void service_token_create(struct service *s, const char *const *scopes, size_t n, const char *name, const char *span,
                          service_done done, void *context)
{
    answer(s, done, context, "token_create %zu %s name=%s for=%s", n, n ? scopes[0] : "", or_null(name), or_null(span));
}

bool service_origin_is_allowed(struct service *s, const char *origin)
{
    return strcmp(origin, FAKE_ORIGIN) == 0;
}

void service_log_of(struct service *s, const char *call_id, struct buf *out)
{
    buf_puts(out, "[]");
}

void service_log(struct service *s, const struct service_log *filter, service_done done, void *context)
{
    answer(s, done, context, "log %s after %llu wait %s", or_null(filter->plugin), (unsigned long long)filter->after,
           or_null(filter->wait));
}

void service_log_follow(struct service *s, const struct service_log *filter, const struct service_following *how)
{
    struct error err;
    error_set(&err, MOAT_E_QUEUE_FULL, "log follow %s last=%s", or_null(filter->plugin), or_null(how->last));
    how->ready(how->context, &err, NULL);
}

long log_follow_read(struct log_follow *f, void *room, size_t size)
{
    return LOG_FOLLOW_END;
}

void log_follow_end(struct log_follow *f)
{
}

void service_end_waits(struct service *s)
{
}

void service_act_as(const char *actor, const char *call)
{
}

void service_note_refusal(struct service *s, const char *actor, const char *call, const char *action,
                          const char *subject, enum moat_code code)
{
}

int service_ready(struct service *s, struct error *err)
{
    return s->code == MOAT_E_NOT_READY ? error_set(err, s->code, "%s", s->message) : 0;
}

void service_metrics(struct service *s, service_done done, void *context)
{
    answer(s, done, context, "metrics");
}

int service_setting_check(const char *key, const char *value_json, struct error *err)
{
    return 0;
}

void call_make_id(char id[33])
{
    static _Atomic unsigned long long n;
    snprintf(id, 33, "00112233445566778899aabb%08llx", ++n);
}

const struct home *service_home(const struct service *s)
{
    return &s->home;
}

void service_give_back(struct service *s)
{
    malloc_trim(0);
}

struct loop *service_loop(struct service *s, unsigned i)
{
    return s->loop;
}

unsigned service_loops(const struct service *s)
{
    return 1;
}

struct loader *service_loader(struct service *s)
{
    return (struct loader *)s;
}

/* ---- calls: the parameters come back, or the call is held until it is cancelled ---- */

struct fake_call {
    struct loop_task task;
    struct call *call;
    struct service *service;
};

static void call_end(struct loop_task *task)
{
    struct fake_call *f = (struct fake_call *)task;
    struct call *call = f->call;
    struct service *s = f->service;
    if (s->held == call)
        s->held = NULL;
    free(f);
    call->done(call);
}

static void call_answer(struct service *s, struct call *call)
{
    if (s->code) {
        call->code = error_set(&call->error, s->code, "%s", s->message);
        snprintf(call->error.detail, sizeof call->error.detail, "{\"pointer\":\"/a\"}");
    } else {
        call->result = malloc(call->parameters_len + BUF_PAD);
        memcpy(call->result, call->parameters, call->parameters_len);
        call->result_len = call->parameters_len;
    }
}

void call_begin(struct loader *l, struct call *call)
{
    struct service *s = (struct service *)l;
    struct fake_call *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->task.run = call_end;
    f->call = call;
    f->service = s;
    call->internal[0] = f;
    s->principal = call->principal;
    snprintf(s->asked, sizeof s->asked, "call %s %s deadline=%llu trace=%s", call->plugin, call->action,
             (unsigned long long)call->deadline_ns, call->traceparent);
    strcpy(call->id, "00112233445566778899aabbccddeeff");
    strcpy(call->receipt.version, "1.2.3");
    call->receipt.bytes_in = call->parameters_len;
    call->receipt.ran_ns = UINT64_MAX;
    if (s->hold) {
        s->held = call;
        return;
    }
    call_answer(s, call);
    loop_post(call->loop, &f->task);
}

void fake_finish(struct service *s)
{
    struct call *call = s->held;
    if (!call)
        return;
    call_answer(s, call);
    loop_post(call->loop, &((struct fake_call *)call->internal[0])->task);
}

void call_cancel(struct loader *l, struct call *call)
{
    struct service *s = (struct service *)l;
    struct fake_call *f = call->internal[0];
    s->cancelled++;
    call->code = error_set(&call->error, MOAT_E_CANCELLED, "cancelled");
    loop_post(call->loop, &f->task);
}

/* ---- tasks ---- */

struct orchestrator *orchestrator_of(struct service *s, struct error *err)
{
    return (struct orchestrator *)s;
}

void orchestrator_offer(struct service *s)
{
}

void orchestrator_resume(struct orchestrator *o)
{
}

void orchestrator_run(struct orchestrator *o, const struct task_request *r, char id[ORCHESTRATOR_ID])
{
    answer((struct service *)o, r->done, r->context,
           "task run bytes=%zu everything=%d plugins=%s background=%d explain=%d", r->len, r->asker.everything,
           r->asker.plugins, r->background, r->explain);
}

void orchestrator_check(struct orchestrator *o, const struct task_request *r)
{
    answer((struct service *)o, r->done, r->context, "task check bytes=%zu", r->len);
}

void orchestrator_select(struct orchestrator *o, const void *request, size_t len, const struct task_asker *asker,
                         service_done done, void *context)
{
    answer((struct service *)o, done, context, "task select bytes=%zu", len);
}

void orchestrator_list(struct orchestrator *o, const struct task_filter *filter, service_done done, void *context)
{
    answer((struct service *)o, done, context, "task list status=%s limit=%u", filter->status ? filter->status : "",
           filter->limit);
}

void orchestrator_show(struct orchestrator *o, const char *id, service_done done, void *context)
{
    answer((struct service *)o, done, context, "task show %s", id);
}

void orchestrator_cancel(struct orchestrator *o, const char *id, const struct task_asker *asker, service_done done,
                         void *context)
{
    answer((struct service *)o, done, context, "task cancel %s everything=%d", id, asker->everything);
}

void orchestrator_follow(struct orchestrator *o, const char *id, const struct task_following *how)
{
    struct error err;
    error_set(&err, MOAT_E_NOT_FOUND, "task follow %s after=%s", id, how->after ? how->after : "");
    how->ready(how->context, &err, NULL);
}

long follow_read(struct follow *f, void *room, size_t size)
{
    return FOLLOW_END;
}

void follow_end(struct follow *f)
{
}

bool orchestrator_stats(struct orchestrator *o, struct buf *out)
{
    return buf_puts(out, "{\"fake\":true}");
}
