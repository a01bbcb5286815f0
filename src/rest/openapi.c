/* /openapi.json: OpenAPI 3.1 of everything that the table routes.  What a route takes and who may ask it is the table's
 * word; what its answer looks like is answers.json's, by "METHOD PATH". */
#include <string.h>

#include "rest/request.h"

extern const uint8_t rest_answers[];
extern const size_t rest_answers_len;

/* ---- schemas of what goes in ---- */

static json_t *field_schema(const struct field *f)
{
    switch (f->kind) {
    case FIELD_TEXT:
        return json_pack("{ss}", "type", "string");
    case FIELD_TEXTS:
        return json_pack("{sss{ss}}", "type", "array", "items", "type", "string");
    case FIELD_FLAG:
        return json_pack("{ss}", "type", "boolean");
    case FIELD_NUMBER:
        return json_pack("{sssisI}", "type", "integer", "minimum", 0, "maximum", (json_int_t)ROUTE_NUMBER_MAX);
    case FIELD_OBJECT:
        return json_pack("{ss}", "type", "object");
    case FIELD_ANY:
        break;
    }
    return json_object();
}

static json_t *parameter(const char *name, const char *in, bool required, const char *about, json_t *schema)
{
    return json_pack("{sssssbsssO}", "name", name, "in", in, "required", required, "description", about, "schema",
                     schema);
}

static void add_parameter(json_t *list, const char *name, const char *in, bool required, const char *about,
                          json_t *schema)
{
    json_array_append_new(list, parameter(name, in, required, about, schema));
    json_decref(schema);
}

/* A path's names are not told apart here: what each may be is the route's to say, with its own error. */
static void add_path_parameters(json_t *list, const char *path)
{
    for (const char *at = strchr(path, '{'); at; at = strchr(at + 1, '{')) {
        char name[32] = "";
        size_t len = strcspn(at + 1, "}");
        memcpy(name, at + 1, len < sizeof name ? len : sizeof name - 1);
        add_parameter(list, name, "path", true, "as the summary says",
                      json_pack("{sssi}", "type", "string", "minLength", 1));
    }
}

/* Which kinds of requests look at a header, and what it says. */
static void add_headers(json_t *list, const struct route *r)
{
    bool call = r->body == BODY_CALL, calls = call || r->body == BODY_ITEMS;
    const struct {
        bool taken;
        const char *name, *about;
    } headers[] = {
        {calls, "Moat-Deadline", "a TIME, such as 250ms or 10m"},
        {call, "Idempotency-Key", "1 to 255 printable ASCII characters; the same again is not run again"},
        {r->handle == handle_task_events || r->handle == handle_log, "Last-Event-ID",
         "the `id` of the event that was read last"},
        {true, "traceparent", "W3C Trace Context; `why` tells of it"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (headers[i].taken)
            add_parameter(list, headers[i].name, "header", false, headers[i].about,
                          json_pack("{ss}", "type", "string"));
}

static json_t *parameters(const struct route *r)
{
    json_t *list = json_array();
    add_path_parameters(list, r->path);
    for (const struct field *f = r->query; f && f->name; f++)
        add_parameter(list, f->name, "query", f->required, f->about, field_schema(f));
    add_headers(list, r);
    return list;
}

static json_t *fields_schema(const struct field *fields)
{
    json_t *properties = json_object(), *required = json_array();
    for (const struct field *f = fields; f && f->name; f++) {
        json_t *schema = field_schema(f);
        json_object_set_new(schema, "description", json_string(f->about));
        json_object_set_new(properties, f->name, schema);
        if (f->required)
            json_array_append_new(required, json_string(f->name));
    }
    return json_pack("{sssosbso}", "type", "object", "properties", properties, "additionalProperties", 0, "required",
                     required);
}

static json_t *request_body(const struct route *r)
{
    json_t *content = json_object();
    if (r->body == BODY_PACKAGE)
        json_object_set_new(content, "application/octet-stream",
                            json_pack("{s{ssss}}", "schema", "type", "string", "format", "binary"));
    bool object = r->body == BODY_OBJECT || r->body == BODY_PACKAGE;
    json_t *schema = r->body == BODY_ITEMS ? json_pack("{sssosi}", "type", "array", "items", fields_schema(r->fields),
                                                       "maxItems", ROUTE_ITEMS_MAX)
                     : object              ? fields_schema(r->fields)
                                           : json_object();
    json_object_set_new(content, "application/json", json_pack("{so}", "schema", schema));
    return json_pack("{sbso}", "required", 1, "content", content);
}

/* ---- what comes out ---- */

static json_t *success(const struct route *r, const json_t *answers)
{
    char key[160];
    snprintf(key, sizeof key, "%s %s", r->method, r->path);
    const json_t *known = json_object_get(answers, key), *media = json_object_get(known, "media");
    if (media)
        return json_pack("{sss{s{sO}}}", "description", "as it is, without an envelope", "content",
                         json_string_value(media), "schema", json_object_get(known, "schema"));
    json_t *result = json_object_get(known, "result");
    json_t *schema = json_pack("{sss[ss]s{s{sb}sO}}", "type", "object", "required", "success", "result", "properties",
                               "success", "const", 1, "result", result ? result : json_true());
    json_t *content = json_pack("{s{so}}", "application/json", "schema", schema);
    if (r->body == BODY_CALL || r->handle == handle_task_run || r->handle == handle_log)
        json_object_set_new(content, "text/event-stream", json_pack("{s{ss}}", "schema", "type", "string"));
    json_t *answer = json_pack("{ssso}", "description", "done", "content", content);
    if (r->body == BODY_CALL)
        json_object_set_new(
            answer, "headers",
            json_pack("{s{sss{ss}}}", "Moat-Receipt", "description", "a Receipt, as JSON", "schema", "type", "string"));
    return answer;
}

/* Which statuses of the one table a route can answer. */
static bool may_answer(const struct route *r, int status)
{
    bool reads = strcmp(r->method, "GET") == 0, body = r->body != BODY_NONE;
    switch (status) {
    case 401:
    case 429:
        return r->scope != REST_OPEN;
    case 403:
    case 400:
    case 404:
    case 503:
        return true;
    case 422:
        return !reads || r->reads_installed;
    case 405:
        return false; /* of a path, not of an operation */
    case 413:
    case 415:
        return body;
    default:
        return !reads;
    }
}

static json_t *responses(const struct route *r, const json_t *answers)
{
    json_t *all = json_object();
    json_object_set_new(all, "200", success(r, answers));
    if (strcmp(r->method, "GET") == 0)
        json_object_set_new(all, "304", json_pack("{ss}", "description", "as If-None-Match has it"));
    for (int code = 1; code < MOAT_E_COUNT; code++) {
        char status[8];
        snprintf(status, sizeof status, "%d", error_info(code)->http);
        if (may_answer(r, error_info(code)->http) && !json_object_get(all, status))
            json_object_set_new(all, status, json_pack("{ss}", "$ref", "#/components/responses/Failure"));
    }
    return all;
}

/* ---- the document ---- */

/* "post_plugins_execute": unique, and good as the name of a function. */
static void operation_id(const struct route *r, char *out, size_t size)
{
    struct buf text = BUF_INIT(size - 1);
    const char *path = strncmp(r->path, "/api/", 5) == 0 ? r->path + 5 : r->path + 1;
    for (const char *m = r->method; *m; m++)
        buf_putc(&text, (char)(*m | 0x20));
    buf_putc(&text, '_');
    for (const char *p = path; *p; p++)
        if (*p != '{' && *p != '}')
            buf_putc(&text, strchr("/-.", *p) ? '_' : *p);
    snprintf(out, size, "%s", buf_text(&text));
    buf_free(&text);
}

/* What a client's author looks under: "plugins", "trust"; "host" for what stands outside of /api. */
static json_t *tags(const struct route *r)
{
    const char *area = strncmp(r->path, "/api/", 5) == 0 ? r->path + 5 : "host";
    return json_pack("[o]", json_stringn(area, strcspn(area, "/")));
}

static json_t *operation(const struct route *r, const json_t *answers)
{
    char id[128];
    operation_id(r, id, sizeof id);
    const char *scope = route_scope_name(r->scope);
    json_t *o = json_pack("{sssosssssoso}", "operationId", id, "tags", tags(r), "summary", r->summary, "x-moat-scope",
                          scope, "parameters", parameters(r), "responses", responses(r, answers));
    if (*r->command)
        json_object_set_new(o, "x-moat-command", json_sprintf("moat %s", r->command));
    if (r->body != BODY_NONE)
        json_object_set_new(o, "requestBody", request_body(r));
    json_object_set_new(o, "security", r->scope == REST_OPEN ? json_array() : json_pack("[{s[s]}]", "token", scope));
    return o;
}

static json_t *paths(const json_t *answers)
{
    json_t *all = json_object();
    for (size_t i = 0; i < nroutes; i++) {
        const struct route *r = &routes[i];
        char method[16] = "";
        for (size_t k = 0; k < sizeof method - 1 && r->method[k]; k++)
            method[k] = (char)(r->method[k] | 0x20);
        if (!json_object_get(all, r->path))
            json_object_set_new(all, r->path, json_object());
        json_object_set_new(json_object_get(all, r->path), method, operation(r, answers));
    }
    return all;
}

static json_t *components(const json_t *answers)
{
    json_t *codes = json_array();
    for (int code = 1; code < MOAT_E_COUNT; code++)
        json_array_append_new(codes, json_string(error_info(code)->name));
    json_t *schemas = json_deep_copy(json_object_get(answers, "$defs"));
    json_object_set_new(schemas, "Code", json_pack("{so}", "enum", codes));
    return json_pack("{sos{s{sss{s{s{ss}}}}}s{s{ssssssss}}}", "schemas", schemas, "responses", "Failure", "description",
                     "the one shape of failure", "content", "application/json", "schema", "$ref",
                     "#/components/schemas/Error", "securitySchemes", "token", "type", "http", "scheme", "bearer",
                     "description", "a token of `moat token create`; the scope that a route needs stands with it",
                     "bearerFormat", "64 hexadecimal digits");
}

static int put_json(const char *bytes, size_t len, void *out)
{
    return buf_put(out, bytes, len) ? 0 : -1;
}

bool rest_openapi(struct buf *out)
{
    json_t *answers = json_loadb((const char *)rest_answers, rest_answers_len, 0, NULL);
    json_t *document = json_pack("{sss{ssssss}soso}", "openapi", "3.1.0", "info", "title", "Moat", "version", "1",
                                 "description", "A secure plugin host for agent platforms. See docs/api.md.", "paths",
                                 paths(answers), "components", components(answers));
    bool done = document && json_dump_callback(document, put_json, out, JSON_COMPACT) == 0;
    json_decref(document);
    json_decref(answers);
    return done && !out->failed;
}
