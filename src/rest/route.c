#include "rest/route.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

static bool path_matches(const char *pattern, const struct uri *target, const char *params[ROUTE_PARAMS])
{
    size_t i = 0, n = 0;
    while (*pattern == '/') {
        size_t len = strcspn(++pattern, "/");
        if (i == target->nsegments)
            return false;
        const char *segment = target->segments[i++];
        if (*pattern == '{')
            params[n++] = segment;
        else if (strncmp(segment, pattern, len) != 0 || segment[len])
            return false;
        pattern += len;
    }
    return i == target->nsegments;
}

const struct route *route_find(const char *method, const struct uri *target, const char *params[ROUTE_PARAMS],
                               bool *path_exists)
{
    *path_exists = false;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < nroutes; i++) {
        const char *found[ROUTE_PARAMS] = {0};
        if (!path_matches(routes[i].path, target, found))
            continue;
        *path_exists = true;
        if (strcmp(routes[i].method, method) != 0)
            continue;
        memcpy(params, found, sizeof found);
        return &routes[i];
    }
    return NULL;
}

const char *route_scope_name(enum rest_scope scope)
{
    switch (scope) {
    case REST_OPEN:
        return "";
    case REST_EXECUTE:
        return "execute";
    case REST_READ:
        return "read";
    case REST_MANAGE:
        return "manage";
    case REST_TASKS:
        return "execute or manage";
    case REST_ADMIN:
        break;
    }
    return "admin";
}

void route_allow(const struct uri *target, struct buf *out)
{
    const char *params[ROUTE_PARAMS];
    for (size_t i = 0; i < nroutes; i++) {
        if (!path_matches(routes[i].path, target, params))
            continue;
        bool get = strcmp(routes[i].method, "GET") == 0;
        buf_printf(out, "%s%s%s", out->len ? ", " : "", routes[i].method, get ? ", HEAD" : "");
    }
}

static const struct field *find_field(const struct field *fields, const char *name)
{
    for (; fields && fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

/* `?ready` alone says yes. */
static bool is_flag(const char *value)
{
    return !*value || !strcmp(value, "true") || !strcmp(value, "false") || !strcmp(value, "1") || !strcmp(value, "0");
}

static bool is_number(const char *value)
{
    size_t len = strspn(value, "0123456789");
    return len > 0 && len <= ROUTE_NUMBER_DIGITS && !value[len];
}

int route_check_query(const struct route *route, const struct uri *target, struct error *err)
{
    for (size_t i = 0; i < target->npairs; i++) {
        const char *key = target->pairs[i].key, *value = target->pairs[i].value;
        const struct field *field = find_field(route->query, key);
        if (!field)
            return error_set(err, MOAT_E_BAD_REQUEST, "the query has `%.64s`, which this route does not take", key);
        for (size_t k = 0; k < i && field->kind != FIELD_TEXTS; k++)
            if (strcmp(target->pairs[k].key, key) == 0)
                return error_set(err, MOAT_E_BAD_REQUEST, "the query has `%s` twice", key);
        if (field->kind == FIELD_FLAG && !is_flag(value))
            return error_set(err, MOAT_E_BAD_REQUEST, "the query's `%s` is neither true nor false", key);
        if (field->kind == FIELD_NUMBER && !is_number(value))
            return error_set(err, MOAT_E_BAD_REQUEST, "the query's `%s` is not a whole number", key);
    }
    for (const struct field *f = route->query; f && f->name; f++) {
        bool there = !f->required;
        for (size_t i = 0; i < target->npairs && !there; i++)
            there = strcmp(target->pairs[i].key, f->name) == 0;
        if (!there)
            return error_set(err, MOAT_E_BAD_REQUEST, "the query lacks `%s`: %s", f->name, f->about);
    }
    return 0;
}

static bool is_texts(const json_t *value)
{
    if (!json_is_array(value))
        return false;
    size_t i;
    json_t *one;
    json_array_foreach(value, i, one) if (!json_is_string(one)) return false;
    return true;
}

static bool has_kind(enum field_kind kind, const json_t *value)
{
    switch (kind) {
    case FIELD_TEXT:
        return json_is_string(value);
    case FIELD_TEXTS:
        return is_texts(value);
    case FIELD_FLAG:
        return json_is_boolean(value);
    case FIELD_NUMBER:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case FIELD_OBJECT:
        return json_is_object(value);
    case FIELD_ANY:
        return true;
    }
    return false;
}

static const char *kind_name(enum field_kind kind)
{
    static const char *const names[] = {
        [FIELD_TEXT] = "a string",         [FIELD_TEXTS] = "an array of strings", [FIELD_FLAG] = "true or false",
        [FIELD_NUMBER] = "a whole number", [FIELD_OBJECT] = "an object",          [FIELD_ANY] = "a JSON value"};
    return names[kind];
}

static int check_fields(const struct field *fields, json_t *object, struct error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const struct field *field = find_field(fields, name);
        if (!field)
            return error_set(err, MOAT_E_BAD_REQUEST, "the body has `%.64s`, which this route does not take", name);
        if (!has_kind(field->kind, value))
            return error_set(err, MOAT_E_BAD_REQUEST, "the body's `%s` is not %s", name, kind_name(field->kind));
    }
    for (const struct field *f = fields; f && f->name; f++)
        if (f->required && !json_object_get(object, f->name))
            return error_set(err, MOAT_E_BAD_REQUEST, "the body lacks `%s`: %s", f->name, f->about);
    return 0;
}

int route_read_fields(const struct field *fields, uint8_t *text, size_t len, json_t **out, struct error *err)
{
    struct json_fault fault;
    if (!json_explain(text, len, &fault))
        return error_set(err, MOAT_E_BAD_JSON, "the body is not JSON: %s, at byte %zu", fault.reason, fault.offset);
    /* Numbers that jansson cannot hold and repeated members are refused by it: no field needs either. */
    json_error_t why;
    json_t *object = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!object)
        return error_set(err, MOAT_E_BAD_REQUEST, "the body cannot be used: %s", why.text);
    int rc = json_is_object(object) ? check_fields(fields, object, err)
                                    : error_set(err, MOAT_E_BAD_REQUEST, "the body is not a JSON object");
    if (rc) {
        json_decref(object);
        return rc;
    }
    *out = object;
    return 0;
}
