/* docs/api.md: everything that the table knows, for people. */
#include <string.h>

#include "rest/request.h"

static const char intro[] =
    "# The HTTP API\n"
    "\n"
    "This page is made from the table that routes (`moat help pages/api`). `moat serve` answers it on a loopback "
    "address "
    "and "
    "on\nthe home's Unix socket; the command line uses the same routes, with or without a server.\n"
    "\n"
    "## Requests\n"
    "\n"
    "- On TCP every request but health carries `Authorization: Bearer TOKEN`. The admin token is shown once, at the\n"
    "  first start of `moat serve`. On the Unix socket the home's owner and root are admin without a token.\n"
    "- Token and scope are checked first, then the path's names, the media type and the body.\n"
    "- `{name}` is NAME or NAME@VERSION wherever the command of the same name takes it. Path and query are\n"
    "  percent-encoded UTF-8; control characters, unknown or repeated query members are refused.\n"
    "- A query's flags are `true`, `false`, `1` or `0`. JSON bodies are `application/json` and hold only the members\n"
    "  named here.\n"
    "- On TCP the Host header must name the loopback address, and requests with an `Origin` (browsers' pages of\n"
    "  elsewhere) are refused.\n"
    "- HEAD is answered wherever GET is.\n"
    "\n"
    "## Answers\n"
    "\n"
    "Success is `{\"success\":true,\"result\":…}` with status 200. Failure is\n"
    "`{\"success\":false,\"error\":{\"code\":…,\"message\":…,\"id\":…,\"detail\":{…}}}` with the status of its code "
    "below. "
    "`id` is\n32 hexadecimal digits and stands in the server's log as well. 401 carries WWW-Authenticate, 405 Allow, "
    "429 "
    "and\n`draining` Retry-After. Malformed HTTP is answered by the HTTP library itself, without JSON.\n"
    "\n"
    "## Calls\n"
    "\n"
    "`POST /api/plugins/execute/{name}/{action}` takes the action's parameters as its body, any JSON text that fits "
    "the\n"
    "action's schema; an empty body is `bad_json`. Headers, all optional:\n"
    "\n"
    "| header | |\n"
    "| --- | --- |\n"
    "| `Moat-Deadline` | a TIME (`250ms`, `90s`, `10m`, `2h`); the plugin's and the operator's hold as well, the "
    "smallest wins |\n"
    "| `traceparent` | W3C Trace Context; a malformed one starts a new trace |\n"
    "\n"
    "The answer carries `Moat-Receipt`, a JSON object: `id` of the call, `version` that ran it, `queued_ns`, "
    "`ran_ns`,\n"
    "`cpu_ns`, `bytes_in`, `bytes_out`, all by the host's reading. A client that leaves cancels its call.\n"
    "\n"
    "## Packages\n"
    "\n"
    "`install` and `validate` take the package's bytes as `application/octet-stream`, or JSON that names a file in\n"
    "PLUGIN_DIR's `incoming`. An upload that breaks leaves nothing.\n"
    "\n"
    "## Routes\n";

static void put_fields(struct buf *out, const char *title, const struct field *fields)
{
    static const char *const kinds[] = {[FIELD_TEXT] = "text",
                                        [FIELD_TEXTS] = "texts",
                                        [FIELD_FLAG] = "flag",
                                        [FIELD_NUMBER] = "number",
                                        [FIELD_OBJECT] = "object"};
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
                                         [BODY_PACKAGE] = " Body: a package, or a JSON object."};
    buf_printf(out, "\n### %s %s\n\n%s\n\nScope: %s.%s", route->method, route->path, route->summary,
               scope_text(route->scope), bodies[route->body]);
    if (*route->command)
        buf_printf(out, " Command: `moat %s`.", route->command);
    buf_putc(out, '\n');
    put_fields(out, "Query", route->query);
    put_fields(out, "Members of the body", route->fields);
}

bool rest_document(struct buf *out)
{
    buf_puts(out, intro);
    buf_puts(out, "\n| method | path | scope | command |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < nroutes; i++)
        buf_printf(out, "| %s | `%s` | %s | `moat %s` |\n", routes[i].method, routes[i].path,
                   scope_text(routes[i].scope), routes[i].command);
    for (size_t i = 0; i < nroutes; i++)
        put_route(out, &routes[i]);
    buf_puts(out, "\n## Errors\n\n| code | HTTP | exit status | what to do |\n| --- | --- | --- | --- |\n");
    for (int code = 1; code < MOAT_E_COUNT; code++) {
        const struct error_info *info = error_info(code);
        buf_printf(out, "| `%s` | %d | %d | %s |\n", info->name, info->http, info->exit, info->advice);
    }
    return !out->failed;
}
