/* service/settings: what an operator can set, with bounds; stored as JSON by name.  Private to src/service. */
#ifndef SERVICE_SETTINGS_H
#define SERVICE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "registry/registry.h"

/* The values as numbers that code uses. */
struct settings {
    uint64_t payload_max, package_max, deadline_default, deadline_max, pool, queue_per_plugin, queue_total;
    uint64_t accept_missing_layers; /* WALL_BITs */
    uint64_t idle_stop, workers_total;
    /* Of the HTTP server (http/http.h). */
    uint64_t access_log_every, http_body_time, http_connections, http_connections_per_address, http_head_time,
        http_idle_time, http_rate_min;
    uint64_t log_level, log_lines;
    uint64_t memory_max, tmp_max, file_size_max, cpu_max, processes_max, descriptors_max, workers_max;
};

/* Defaults, and what the registry has. */
int settings_read(struct registry_reader *reader, struct settings *out, struct error *err);

#endif
