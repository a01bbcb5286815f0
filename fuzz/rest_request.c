/* Bytes become a request's head and body as src/rest reads them before anything is done: target, route, query, fields.
 *
 *     METHOD TARGET\n BODY */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "rest/route.h"
#include "rest/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What was decoded is text that may stand in a log, and reads back the same after encoding. */
static void check_text(const char *text)
{
    for (const char *p = text; *p; p++)
        require((unsigned char)*p >= 0x20 && *p != 0x7f);
    if (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return;
    buf_auto again = BUF_INIT(1 << 20);
    buf_putc(&again, '/');
    uri_encode(&again, text);
    if (again.failed)
        return;
    struct uri uri;
    require(uri_parse((char *)again.data, &uri, NULL) == 0);
    require(uri.nsegments == 1 && strcmp(uri.segments[0], text) == 0);
}

static void check_uri(const struct uri *uri)
{
    require(uri->nsegments <= URI_SEGMENTS && uri->npairs <= URI_PAIRS);
    for (size_t i = 0; i < uri->nsegments; i++)
        check_text(uri->segments[i]);
    for (size_t i = 0; i < uri->npairs; i++)
        check_text(uri->pairs[i].value);
}

static void read_body(const struct route *route, const char *body, size_t len)
{
    struct error err;
    buf_auto text = BUF_INIT(1 << 20);
    json_t *fields = NULL;
    if (!route->fields || !buf_put(&text, body, len) || !text.data)
        return;
    if (route_read_fields(route->fields, text.data, text.len, &fields, &err) == 0)
        require(json_is_object(fields));
    else
        require(fields == NULL && *err.message);
    json_decref(fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    copy[size] = '\0';
    char *method = copy, *target = strchr(copy, ' '), *body = target ? strchr(target, '\n') : NULL;
    if (target && body) {
        struct uri uri;
        struct error err;
        *target++ = '\0';
        *body++ = '\0';
        if (uri_parse(target, &uri, &err) == 0) {
            const char *params[ROUTE_PARAMS] = {0};
            bool path_exists;
            check_uri(&uri);
            const struct route *route = route_find(method, &uri, params, &path_exists);
            require(!route || path_exists);
            if (route) {
                route_check_query(route, &uri, &err);
                read_body(route, body, size - (size_t)(body - copy));
            }
        }
    }
    free(copy);
    return 0;
}
