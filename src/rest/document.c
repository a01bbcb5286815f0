/* docs/api.md: src/rest/api.md.in, and everything that the table knows, for people. */
#include <string.h>

#include "base/fill.h"
#include "rest/request.h"

extern const uint8_t rest_api_page[]; /* a 0 ends it */

static void put_fields(struct buf *out, const char *title, const struct field *fields)
{
    static const char *const kinds[] = {[FIELD_TEXT] = "text",     [FIELD_TEXTS] = "texts",   [FIELD_FLAG] = "flag",
                                        [FIELD_NUMBER] = "number", [FIELD_OBJECT] = "object", [FIELD_ANY] = "value"};
    if (!fields)
        return;
    buf_printf(out, "\n%s:\n\n", title);
    for (; fields->name; fields++)
        buf_printf(out, "- `%s` (%s%s): %s\n", fields->name, kinds[fields->kind], fields->required ? ", required" : "",
                   fields->about);
}

static const char *scope_text(enum rest_scope scope)
{
    switch (scope) {
    case REST_OPEN:
        return "none, it is open";
    case REST_EXECUTE:
        return "`execute:NAME` or `execute:*`";
    case REST_READ:
        return "`read`";
    case REST_MANAGE:
        return "`manage`";
    case REST_TASKS:
        return "`execute:NAME`, `execute:*` or `manage`";
    case REST_ADMIN:
        break;
    }
    return "`admin`";
}

static void put_route(struct buf *out, const struct route *route)
{
    static const char *const bodies[] = {[BODY_NONE] = "",
                                         [BODY_OBJECT] = " Body: a JSON object.",
                                         [BODY_VALUE] = " Body: a JSON value.",
                                         [BODY_CALL] = " Body: the parameters, as JSON.",
                                         [BODY_DOCUMENT] = " Body: a JSON document.",
                                         [BODY_TASK] = " Body: a task as JSON.",
                                         [BODY_ITEMS] = " Body: a JSON array of objects.",
                                         [BODY_PACKAGE] = " Body: a package, or a JSON object."};
    buf_printf(out, "\n### %s %s\n\n%s\n\nScope: %s.%s", route->method, route->path, route->summary,
               scope_text(route->scope), bodies[route->body]);
    if (*route->command)
        buf_printf(out, " Command: `moat %s`.", route->command);
    buf_putc(out, '\n');
    put_fields(out, "Query", route->query);
    put_fields(out, "Members of the body", route->fields);
}

static void put_index(struct buf *out)
{
    buf_puts(out, "| method | path | scope | command |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < nroutes; i++)
        buf_printf(out, "| %s | `%s` | %s | %s%s%s |\n", routes[i].method, routes[i].path, scope_text(routes[i].scope),
                   *routes[i].command ? "`moat " : "", routes[i].command, *routes[i].command ? "`" : "");
}

static void put_errors(struct buf *out)
{
    for (int code = 1; code < MOAT_E_COUNT; code++) {
        const struct error_info *info = error_info(code);
        buf_printf(out, "| `%s` | %d | %d | %s |\n", info->name, info->http, info->exit, info->advice);
    }
}

bool rest_document(struct buf *out)
{
    buf_auto index = BUF_INIT(1 << 20), all = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
    put_index(&index);
    for (size_t i = 0; i < nroutes; i++)
        put_route(&all, &routes[i]);
    put_errors(&errors);
    const struct fill_mark marks[] = {
        {"@INDEX@", buf_text(&index)}, {"@ROUTES@", buf_text(&all)}, {"@ERRORS@", buf_text(&errors)}};
    fill_marks(out, (const char *)rest_api_page, marks, sizeof marks / sizeof *marks);
    return !index.failed && !all.failed && !errors.failed && !out->failed;
}
