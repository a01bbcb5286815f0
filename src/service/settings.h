/* service/settings: what an operator can set, with bounds; stored as JSON by name.  Private to src/service. */
#ifndef SERVICE_SETTINGS_H
#define SERVICE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "loader/loader.h"
#include "registry/registry.h"

#define SETTINGS_TEXT_MAX 4096

/* The values as code uses them. */
struct settings {
    uint64_t payload_max, package_max, deadline_default, deadline_max, pool, pool_forecast, queue_per_plugin,
        queue_total;
    uint64_t accept_missing_layers; /* WALL_BITs */
    uint64_t idle_stop, workers_total, config_guard;
    /* Of the HTTP server (http/http.h). */
    uint64_t access_log_every, http_body_time, http_connections, http_connections_per_address, http_head_time,
        http_idle_time, http_rate_min;
    uint64_t log_level, log_lines, log_memory;
    uint64_t monitor_every, otlp_metrics_every;
    uint64_t token_requests;
    uint64_t network_connect_time, network_connections, network_connects, network_rate;
    uint64_t tasks_history, tasks_history_max, tasks_keep, tasks_parameters_max, tasks_result_memory, tasks_results_max;
    uint64_t memory_max, tmp_max, file_size_max, file_write_max, cpu_max, processes_max, descriptors_max, workers_max;
    char cors_origins[SETTINGS_TEXT_MAX];    /* JSON, checked */
    char network_servers[SETTINGS_TEXT_MAX]; /* of names, or "" */
    char otlp_endpoint[SETTINGS_TEXT_MAX];   /* a URL, or "" */
};

/* docs/schema/settings.schema.json: of the object of all settings, by key. */
bool settings_schema(struct buf *out);

/* Defaults, and what the registry has. */
struct service;
/* What takes effect at once. */
void settings_apply(struct service *s, const struct settings *now);
/* Writes it into the registry and applies it; one at a time: under the operation's key "(settings)". */
struct loader_tuning settings_tuning(const struct settings *s);
struct op;
struct job;
int settings_change(struct op *op, struct job *job, const char *key, const char *value);
/* One of them, of all that were read. */
struct setting;
void settings_tell_value(struct buf *out, const char *key, const struct setting *t, const struct settings *s);
/* Is this JSON text a value of that key? MOAT_E_NOT_FOUND, MOAT_E_BAD_JSON, MOAT_E_BAD_USAGE. Pure. */
int settings_check(const char *key, const char *text, struct error *err);
int settings_read(struct registry_reader *reader, struct settings *out, struct error *err);

#endif
