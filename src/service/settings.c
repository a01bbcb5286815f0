#include "service/setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

const struct setting settings_table[] = {
#define F(field) offsetof(struct settings, field)
    {"accept_missing_layers", KIND_LAYERS, 0, 0, WALL_ALL, false, F(accept_missing_layers),
     "layers of the wall that may be missing on this machine, as `moat doctor` names them; user_namespace accepts the "
     "fallback wall of docs/walls.md"},
    {"access_log_every", KIND_NUMBER, 100, 0, 1u << 30, true, F(access_log_every),
     "one request in so many is logged; 0 logs none, 1 all"},
    {"config_guard", KIND_TIME, 600 * NS_PER_S, 0, 24 * 3600 * NS_PER_S, true, F(config_guard),
     "a changed configuration is watched for so long, and taken back when calls are worse with it than before; 0: it "
     "is not"},
    {"cors_origins", KIND_ORIGINS, 0, 0, 0, true, F(cors_origins),
     "origins of web pages that may ask, such as \"https://console.example.org\"; requests of others are refused"},
    {"cpu_max", KIND_TIME, 600 * NS_PER_S, NS_PER_MS, 24 * 3600 * NS_PER_S, false, F(cpu_max),
     "CPU time that no call may use more of, whatever its plugin's manifest asks for"},
    {"deadline_default", KIND_TIME, 30 * NS_PER_S, NS_PER_MS, 24 * 3600 * NS_PER_S, true, F(deadline_default),
     "the deadline of a call when neither its caller nor the manifest says one"},
    {"deadline_max", KIND_TIME, 600 * NS_PER_S, NS_PER_MS, 24 * 3600 * NS_PER_S, true, F(deadline_max),
     "no call may run longer; a higher one holds for plugins that start from then on"},
    {"descriptors_max", KIND_NUMBER, 256, 16, 4096, false, F(descriptors_max),
     "open files of one worker: no manifest gets more"},
    {"file_size_max", KIND_SIZE, 1ull << 30, 4096, 1ull << 40, false, F(file_size_max),
     "bytes of one file that a plugin writes: no manifest gets more"},
    {"file_write_max", KIND_SIZE, 1ull << 30, 4096, POLICY_MOST_MAX, false, F(file_write_max),
     "bytes that a plugin may add in a place which it may write, where the grant does not say how many "
     "(docs/quota.md)"},
    {"http_body_time", KIND_TIME, 30 * NS_PER_S, NS_PER_MS, 3600 * NS_PER_S, true, F(http_body_time),
     "a client has this to send a body, or to take an answer, and as long again as http_rate_min asks for"},
    {"http_connections", KIND_NUMBER, 16384, 1, 1 << 20, false, F(http_connections),
     "connections at once over TCP; fewer where there are not so many descriptors"},
    {"http_connections_per_address", KIND_NUMBER, 256, 1, 1 << 20, true, F(http_connections_per_address),
     "connections at once from one address, or one IPv6 network; loopback addresses have no such limit"},
    {"http_head_time", KIND_TIME, 20 * NS_PER_S, NS_PER_MS, 3600 * NS_PER_S, true, F(http_head_time),
     "a new connection has this to send its first request's head"},
    {"http_idle_time", KIND_TIME, 60 * NS_PER_S, NS_PER_MS, 24 * 3600 * NS_PER_S, true, F(http_idle_time),
     "a connection may wait this long until its next request's head is there"},
    {"http_rate_min", KIND_SIZE, 16 << 10, 1, 1 << 30, true, F(http_rate_min),
     "bytes a second below which a client is too slow"},
    {"idle_stop", KIND_TIME, 600 * NS_PER_S, NS_PER_S, 365ull * 24 * 3600 * NS_PER_S, true, F(idle_stop),
     "a plugin that was not loaded on purpose and has nothing to do for so long has its workers stopped; the next call "
     "starts one"},
    {"log_level", KIND_LEVEL, LOG_INFO, LOG_DEBUG, LOG_ERROR, true, F(log_level), "the least that a server logs"},
    {"log_lines", KIND_NUMBER, 50, 1, 100000, true, F(log_lines),
     "lines a second of a worker's log (it passes on 1000 at most), and of its output, that are kept; more are "
     "counted"},
    {"log_memory", KIND_SIZE, 4 << 20, 64 << 10, 1 << 30, true, F(log_memory),
     "bytes of memory for the last lines of all plugins, as `moat log` shows them; the oldest leave first"},
    {"memory_max", KIND_SIZE, 4ull << 30, 1 << 20, 1ull << 40, false, F(memory_max),
     "memory of one worker: no manifest gets more"},
    {"monitor_every", KIND_TIME, 5 * NS_PER_S, 100 * NS_PER_MS, 3600 * NS_PER_S, false, F(monitor_every),
     "how often is looked at how plugins do of late, for `moat monitor`, anomalies and guards"},
    {"network_connect_time", KIND_TIME, 10 * NS_PER_S, NS_PER_MS, 600 * NS_PER_S, false, F(network_connect_time),
     "a plugin's connection has this for its host's name, and this again until it stands"},
    {"network_connections", KIND_NUMBER, 32, 1, NET_CONNECTIONS, false, F(network_connections),
     "connections of one plugin at once"},
    {"network_connects", KIND_NUMBER, 100, 0, 1 << 20, false, F(network_connects),
     "new connections of one plugin in a second, and at once after a rest; 0: no limit"},
    {"network_rate", KIND_SIZE, 0, 0, 1ull << 40, false, F(network_rate),
     "bytes a second of all connections of one plugin, both ways together; 0: no limit"},
    {"network_servers", KIND_SERVERS, 0, 0, 0, false, F(network_servers),
     "name servers that plugins' connections ask, ADDRESS or ADDRESS:PORT with commas between; \"\": those of "
     "/etc/resolv.conf"},
    {"otlp_endpoint", KIND_URL, 0, 0, 0, false, F(otlp_endpoint),
     "the collector that is told of each call as a span, and of what the monitor counts (OTLP over HTTP, JSON, to its "
     "/v1/traces and /v1/metrics); \"\": nobody is told"},
    {"otlp_metrics_every", KIND_TIME, 60 * NS_PER_S, 0, 24 * 3600 * NS_PER_S, false, F(otlp_metrics_every),
     "how often that collector is told of what the monitor counts, while anything happens; 0: it is not"},
    {"package_max", KIND_SIZE, PACKAGE_MAX_DEFAULT, 1 << 20, PACKAGE_MAX_EVER, true, F(package_max),
     "the largest package that may be installed"},
    {"payload_max", KIND_SIZE, 8 << 20, 64 << 10, 256 << 20, false, F(payload_max),
     "the largest parameters or result of a call"},
    {"pool", KIND_NUMBER, 1, 0, 64, false, F(pool), "half-built walls that are kept ready"},
    {"pool_forecast", KIND_NUMBER, 8, 0, 64, false, F(pool_forecast),
     "so many at most, where the starts of the past let expect more at once than `pool`; 0, or a `pool` of 0: never"},
    {"processes_max", KIND_NUMBER, 128, 1, 1024, false, F(processes_max),
     "processes and threads of one worker: no manifest gets more"},
    {"queue_per_plugin", KIND_NUMBER, 1024, 1, 1 << 20, true, F(queue_per_plugin),
     "calls that may wait for one plugin"},
    {"queue_total", KIND_NUMBER, 16384, 1, 1 << 22, true, F(queue_total), "calls that may wait for all plugins"},
    {"tasks_history", KIND_NUMBER, 100000, 0, 100000000, false, F(tasks_history),
     "ended tasks that are remembered; 0: none, and a task ends with its host"},
    {"tasks_history_max", KIND_SIZE, 4ull << 30, 1 << 20, 1ull << 50, false, F(tasks_history_max),
     "bytes of the database of tasks; beyond it the oldest ended tasks are forgotten"},
    {"tasks_keep", KIND_TIME, 7ull * 24 * 3600 * NS_PER_S, NS_PER_S, 3650ull * 24 * 3600 * NS_PER_S, false,
     F(tasks_keep), "an ended task is remembered for so long"},
    {"tasks_parameters_max", KIND_SIZE, 1ull << 30, 64 << 10, 1ull << 50, false, F(tasks_parameters_max),
     "bytes of memory for the parameters of all steps that wait for their plugins or run; a step beyond it fails"},
    {"tasks_result_memory", KIND_SIZE, 1 << 20, 1 << 10, 256 << 20, false, F(tasks_result_memory),
     "a step's result of more bytes is kept on disk, not in memory, until its task ends"},
    {"tasks_results_max", KIND_SIZE, 4ull << 30, 1 << 20, 1ull << 50, false, F(tasks_results_max),
     "bytes on disk of the large results of all tasks that run"},
    {"tmp_max", KIND_SIZE, 1ull << 30, 4096, 1ull << 40, false, F(tmp_max),
     "temporary files of one worker: no manifest gets more"},
    {"token_requests", KIND_NUMBER, 0, 0, 1u << 30, true, F(token_requests),
     "requests that one token may make in a minute, and at once; more are answered `rate_limited`. 0: as many as it "
     "likes"},
    {"workers_max", KIND_NUMBER, 31, 1, 31, false, F(workers_max), "workers of one plugin: no manifest gets more"},
    {"workers_total", KIND_NUMBER, 1024, 1, 1 << 16, false, F(workers_total),
     "workers of all plugins; beyond, a start stops the one that has rested longest"},
#undef F
};
const size_t nsettings = sizeof settings_table / sizeof *settings_table;

static const struct setting *setting_find(const char *key)
{
    for (size_t i = 0; i < nsettings; i++)
        if (strcmp(settings_table[i].key, key) == 0)
            return &settings_table[i];
    return NULL;
}

static void store(struct settings *s, const struct setting *t, const struct setting_value *v)
{
    char *at = (char *)s + t->offset;
    if (setting_is_text(t))
        text_copy(at, SETTINGS_TEXT_MAX, v->text);
    else
        memcpy(at, &v->n, sizeof v->n);
}

int settings_check(const char *key, const char *text, struct error *err)
{
    const struct setting *t = setting_find(key);
    struct setting_value v;
    return t ? setting_parse(t, text, &v, err) : error_set(err, MOAT_E_NOT_FOUND, "there is no setting \"%.64s\"", key);
}

/* ---- reading ---- */

struct reading {
    struct settings *out;
    struct error *err;
    int code;
};

/* A key or value of another version is left alone; what is not set has its default. */
static bool read_one(void *context, const char *key, const char *value)
{
    struct reading *r = context;
    const struct setting *t = setting_find(key);
    struct setting_value v;
    struct error why;
    if (!t)
        return true;
    if (setting_parse(t, value, &v, &why) == 0) {
        store(r->out, t, &v);
        return true;
    }
    error_prefix(&why, "the registry has a setting that cannot be");
    r->code = error_set(r->err, MOAT_E_STORAGE_FAILED, "%s", why.message);
    return false;
}

int settings_read(struct registry_reader *reader, struct settings *out, struct error *err)
{
    struct settings s;
    struct reading r = {.out = &s, .err = err};
    for (size_t i = 0; i < nsettings; i++) {
        struct setting_value v = setting_fallback(&settings_table[i]);
        store(&s, &settings_table[i], &v);
    }
    int rc = registry_each_setting(reader, read_one, &r, err);
    if (rc == 0)
        rc = r.code;
    if (rc == 0)
        *out = s;
    return rc;
}

/* ---- get and set ---- */

struct settings_op {
    struct op op;
    char *key, *value;
};

static void clear(struct op *op)
{
    struct settings_op *o = (struct settings_op *)op;
    free(o->key);
    free(o->value);
}

static void tell_setting(struct buf *out, const struct setting *t, const struct setting_value *v)
{
    struct setting_value usual = setting_fallback(t);
    tell_open(out, NULL, '{');
    tell_text(out, "key", t->key);
    setting_tell(out, "value", t, v);
    setting_tell(out, "default", t, &usual);
    tell_text(out, "type", setting_kind_name(t));
    if (setting_has_bounds(t))
        setting_tell_bounds(out, t, "min", "max");
    tell_text(out, "takes_effect", t->live ? "at once" : "at the next start");
    tell_text(out, "description", t->about);
    tell_close(out, '}');
}

static struct setting_value value_of(const struct settings *s, const struct setting *t)
{
    struct setting_value v = {0};
    const char *at = (const char *)s + t->offset;
    if (setting_is_text(t))
        text_copy(v.text, sizeof v.text, at);
    else
        memcpy(&v.n, at, sizeof v.n);
    return v;
}

static void tell_one(struct buf *out, const struct setting *t, const struct settings *s)
{
    struct setting_value v = value_of(s, t);
    tell_setting(out, t, &v);
}

uint64_t service_setting(struct service *s, const char *key)
{
    const struct setting *t = setting_find(key);
    pthread_mutex_lock(&s->settings_lock);
    uint64_t n = t ? value_of(&s->settings, t).n : 0;
    pthread_mutex_unlock(&s->settings_lock);
    return n;
}

void service_on_settings(struct service *s, void (*changed)(void *context), void *context)
{
    pthread_mutex_lock(&s->settings_lock);
    s->on_settings = changed;
    s->settings_context = context;
    pthread_mutex_unlock(&s->settings_lock);
}

static int no_such_key(const char *key, struct error *err)
{
    return error_set(err, MOAT_E_NOT_FOUND, "there is no setting \"%.64s\": `moat settings get` lists them", key);
}

static void get(struct op *op, struct job *job)
{
    struct settings_op *o = (struct settings_op *)op;
    const struct setting *one = o->key ? setting_find(o->key) : NULL;
    struct settings s;
    int rc = op->code;
    if (rc == 0 && o->key && !one)
        rc = no_such_key(o->key, &op->error);
    if (rc == 0)
        rc = settings_read(job->reader, &s, &op->error);
    if (rc == 0 && one) {
        tell_one(&op->result, one, &s);
    } else if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_open(&op->result, "settings", '[');
        for (size_t i = 0; i < nsettings; i++)
            tell_one(&op->result, &settings_table[i], &s);
        tell_close(&op->result, ']');
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

/* What is told of a setting is what holds: others stay as they were at open. */
static void keep_live(struct service *s, const struct settings *now)
{
    pthread_mutex_lock(&s->settings_lock);
    for (size_t i = 0; i < nsettings; i++) {
        struct setting_value v = value_of(now, &settings_table[i]);
        if (settings_table[i].live)
            store(&s->settings, &settings_table[i], &v);
    }
    void (*changed)(void *) = s->on_settings;
    void *context = s->settings_context;
    pthread_mutex_unlock(&s->settings_lock);
    if (changed)
        changed(context);
}

struct loader_tuning settings_tuning(const struct settings *s)
{
    return (struct loader_tuning){.deadline_default_ns = s->deadline_default,
                                  .deadline_max_ns = s->deadline_max,
                                  .idle_stop_ns = s->idle_stop,
                                  .queue_per_plugin = s->queue_per_plugin,
                                  .queue_total = s->queue_total,
                                  .lines_per_second = (uint32_t)s->log_lines};
}

/* Live settings that hot code reads without asking anybody. At open there is neither loader nor journal yet. */
void settings_apply(struct service *s, const struct settings *now)
{
    struct loader_tuning tuning = settings_tuning(now);
    keep_live(s, now);
    if (s->loader)
        loader_tune(s->loader, &tuning);
    if (s->journal && !journal_limit(s->journal, now->log_memory))
        log_event(LOG_ERROR, "setting_not_applied", "key", "log_memory", "why", "no memory", NULL);
    atomic_store_explicit(&s->package_max, now->package_max, memory_order_relaxed);
    if (s->server)
        log_set_level((enum log_level)now->log_level);
    tokens_limit(s->tokens, now->token_requests);
    origins_set(s->origins, json_loads(now->cors_origins, 0, NULL)); /* NULL, without memory: none is let in */
}

int settings_change(struct op *op, struct job *job, const char *key, const char *value)
{
    const struct setting *t = setting_find(key);
    struct settings now;
    struct setting_value v;
    int rc = t ? setting_parse(t, value, &v, &op->error) : no_such_key(key, &op->error);
    if (rc == 0)
        rc = settings_read(job->reader, &now, &op->error);
    if (rc == 0)
        store(&now, t, &v);
    if (rc == 0 && now.deadline_default > now.deadline_max)
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "deadline_default must not be above deadline_max");
    struct registry_command c = {.verb = REGISTRY_SET, .set = {.key = key, .value = value}};
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        settings_apply(op->s, &now);
    return rc;
}

void settings_tell_value(struct buf *out, const char *key, const struct setting *t, const struct settings *s)
{
    struct setting_value v = value_of(s, t);
    setting_tell(out, key, t, &v);
}

static void set(struct op *op, struct job *job)
{
    struct settings_op *o = (struct settings_op *)op;
    struct setting_value v;
    int rc = op->code ? op->code : settings_change(op, job, o->key, o->value);
    if (rc == 0)
        rc = setting_parse(setting_find(o->key), o->value, &v, &op->error);
    if (rc == 0)
        tell_setting(&op->result, setting_find(o->key), &v);
    op_end(op, rc);
}

static void begin(struct service *s, const char *key, const char *value, const char *lock, op_step step,
                  service_done done, void *context)
{
    struct settings_op *o = op_new(s, sizeof *o, done, context);
    if (!o)
        return;
    o->op.clear = clear;
    o->key = key ? strdup(key) : NULL;
    o->value = value ? strdup(value) : NULL;
    if ((key && !o->key) || (value && !o->value))
        o->op.code = error_set(&o->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the setting");
    op_begin(&o->op, lock, step);
}

void service_settings_get(struct service *s, const char *key_or_null, service_done done, void *context)
{
    begin(s, key_or_null, NULL, NULL, get, done, context);
}

/* One at a time, under a key that no plugin can have: two of them are checked against each other. */
void service_settings_set(struct service *s, const char *key, const char *value_json, service_done done, void *context)
{
    begin(s, key, value_json, "(settings)", set, done, context);
}
