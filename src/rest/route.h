/* rest/route: the table of routes: what there is, who may, what it takes, who answers, and how it is told.  One line of
 * the table routes, authorises and documents; nothing about a route is said anywhere else. */
#ifndef REST_ROUTE_H
#define REST_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "rest/rest.h"
#include "rest/uri.h"

/* One member of a query or of a JSON body. */
enum field_kind { FIELD_TEXT, FIELD_TEXTS, FIELD_FLAG, FIELD_NUMBER, FIELD_OBJECT, FIELD_ANY };
struct field {
    const char *name; /* NULL ends a list */
    enum field_kind kind;
    bool required;
    const char *about;
};

enum route_body {
    BODY_NONE,     /* nothing, or an empty JSON object */
    BODY_OBJECT,   /* a JSON object with the route's fields */
    BODY_VALUE,    /* any JSON text, as it is */
    BODY_CALL,     /* the same, as large as a call may be, checked by the loader */
    BODY_ITEMS,    /* a JSON array of at most ROUTE_ITEMS_MAX objects with the route's fields, as large as a call */
    BODY_TASK,     /* a task or a part of one as JSON, as large as a call may be, checked by the orchestrator */
    BODY_DOCUMENT, /* a JSON document of any size, to a file */
    BODY_PACKAGE,  /* a package's bytes to a file, or a JSON object with the route's fields */
};

struct rest_request;

#define ROUTE_PARAMS 2
#define ROUTE_ITEMS_MAX 1000
#define ROUTE_NUMBER_DIGITS 15 /* of a query */
#define ROUTE_NUMBER_MAX 999999999999999
struct route {
    const char *method;
    const char *path; /* "/api/plugins/info/{name}" */
    enum rest_scope scope;
    enum route_body body;
    void (*handle)(struct rest_request *q);
    const struct field *query, *fields; /* may be NULL: none */
    const char *command;                /* of the command line, "" when there is none */
    const char *summary;
    bool reads_installed; /* a GET that fails with 422 when what is installed is damaged */
};

extern const struct route routes[];
extern const size_t nroutes;

const char *route_scope_name(enum rest_scope scope);

/* The route of method and segments, with params pointing into the target; HEAD finds GET. NULL: none; *path_exists
 * tells whether another method has this path. */
const struct route *route_find(const char *method, const struct uri *target, const char *params[ROUTE_PARAMS],
                               bool *path_exists);
/* "GET, HEAD, POST": what the path of target takes. */
void route_allow(const struct uri *target, struct buf *out);

/* Are the pairs of a query what the route takes, each once (texts: as often as they like), flags and numbers well
 * formed? MOAT_E_BAD_REQUEST. */
int route_check_query(const struct route *route, const struct uri *target, struct error *err);

/* A JSON object with these fields only, of their kinds, the required ones there. text has JSON_PAD behind it.
 * MOAT_E_BAD_JSON, MOAT_E_BAD_REQUEST. */
struct json_t;
int route_read_fields(const struct field *fields, uint8_t *text, size_t len, struct json_t **out, struct error *err);

#endif
