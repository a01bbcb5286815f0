/* Routes that take a package, and those that change what is installed and what runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rest/request.h"
#include "service/incoming.h"

const char *request_query(const struct rest_request *q, const char *key)
{
    for (size_t i = 0; i < q->target.npairs; i++)
        if (strcmp(q->target.pairs[i].key, key) == 0)
            return q->target.pairs[i].value;
    return NULL;
}

uint64_t request_number(const struct rest_request *q, const char *key)
{
    const char *text = request_query(q, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

const char *request_text(const struct rest_request *q, const char *key)
{
    return q->json ? json_string_value(json_object_get(q->json, key)) : request_query(q, key);
}

bool request_flag(const struct rest_request *q, const char *key)
{
    if (q->json)
        return json_is_true(json_object_get(q->json, key));
    const char *value = request_query(q, key);
    return value && (!*value || strcmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

const char *request_package(struct rest_request *q)
{
    struct error err;
    const char *named = q->json ? request_text(q, "plugin_path") : NULL;
    if (named && incoming_open(service_home(request_service(q)), "plugin_path", named, &q->file, &err) < 0) {
        request_fail_with(q, &err);
        return NULL;
    }
    q->called = named ? named : "the upload";
    snprintf(q->path, sizeof q->path, "/proc/self/fd/%d", q->file);
    return q->path;
}

/* Grants of the JSON body or of the query; the array is the caller's, the texts are the request's. */
static const char **collect_grants(const struct rest_request *q, size_t *n)
{
    const json_t *list = json_object_get(q->json, "grants");
    size_t most = q->json ? json_array_size(list) : q->target.npairs;
    const char **grants = calloc(most + 1, sizeof *grants);
    *n = 0;
    for (size_t i = 0; grants && i < most; i++) {
        if (q->json)
            grants[(*n)++] = json_string_value(json_array_get(list, i));
        else if (strcmp(q->target.pairs[i].key, "grant") == 0)
            grants[(*n)++] = q->target.pairs[i].value;
    }
    return grants;
}

/* The object of a JSON body, or the text of the query, which the service reads; false: no memory for it. */
static bool take_metadata(struct rest_request *q, const char **out)
{
    const json_t *object = json_object_get(q->json, "metadata");
    if (object)
        q->metadata = json_dumps(object, JSON_COMPACT);
    *out = object ? q->metadata : q->json ? NULL : request_query(q, "metadata");
    return !object || q->metadata;
}

void handle_install(struct rest_request *q)
{
    const char *path = request_package(q);
    if (!path)
        return;
    size_t ngrants;
    const char **grants = collect_grants(q, &ngrants);
    const char *metadata;
    if (!take_metadata(q, &metadata) || !grants) {
        free(grants);
        request_fail(q, MOAT_E_OUT_OF_MEMORY, "no memory for the installation");
        return;
    }
    struct service_install in = {.path = path,
                                 .called = q->called,
                                 .metadata = metadata,
                                 .grants = grants,
                                 .ngrants = ngrants,
                                 .span = request_text(q, "for"),
                                 .load = request_flag(q, "auto_load"),
                                 .use = request_flag(q, "use"),
                                 .allow_older = request_flag(q, "allow_older"),
                                 .accept = request_text(q, "accept")};
    service_install(request_service(q), &in, request_complete, q);
    free(grants);
}

void handle_validate(struct rest_request *q)
{
    const char *path = request_package(q), *metadata;
    if (path && !take_metadata(q, &metadata))
        request_fail(q, MOAT_E_OUT_OF_MEMORY, "no memory for the metadata");
    else if (path)
        service_validate(request_service(q), path, q->called, false, metadata, request_complete, q);
}

void handle_uninstall(struct rest_request *q)
{
    service_uninstall(request_service(q), q->params[0], request_flag(q, "purge"), request_complete, q);
}

void handle_load(struct rest_request *q)
{
    service_load(request_service(q), q->params[0], request_complete, q);
}

void handle_unload(struct rest_request *q)
{
    service_unload(request_service(q), q->params[0], request_complete, q);
}

void handle_reload(struct rest_request *q)
{
    service_reload(request_service(q), q->params[0], request_complete, q);
}

void handle_stop_all(struct rest_request *q)
{
    service_stop_all(request_service(q), request_complete, q);
}
