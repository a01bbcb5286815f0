/* docs/api.md: everything that the table knows, for people. */
#include <string.h>

#include "rest/request.h"

static const char *const intro[] = {
    "# The HTTP API\n"
    "\n"
    "This page is made from the table that routes (`moat help pages/api`); `GET /openapi.json` says the same to "
    "programs, with\n"
    "the shape of every answer, as OpenAPI 3.1 (without a server: `moat help pages/openapi`). `moat serve` answers it "
    "on an address and on the home's Unix socket; the\n"
    "command line uses the same routes, with or without a server; an embedding program mounts them under its own\n"
    "([embedding.md](embedding.md)).\n"
    "\n"
    "## Requests\n"
    "\n"
    "- On TCP every request but health carries `Authorization: Bearer TOKEN`. The admin token is shown once, at the\n"
    "  first start of `moat serve`; `moat token create` makes others. On the Unix socket the home's owner and root are "
    "admin\n"
    "  without a token.\n"
    "- Token and scope are checked first, then the path's names, the media type and the body.\n"
    "- `{name}` is NAME or NAME@VERSION wherever the command of the same name takes it. Path and query are\n"
    "  percent-encoded UTF-8; control characters, unknown or repeated query members are refused.\n"
    "- A query's flags are `true`, `false`, `1` or `0`; one without a value is true. JSON bodies are "
    "`application/json` and\n"
    "  hold only the members named here.\n"
    "- On a loopback address the Host header must name it. Requests with an `Origin` (browsers' pages of elsewhere) "
    "are\n"
    "  refused unless the setting `cors_origins` names it; its preflights are then answered, for every path alike.\n"
    "- HEAD is answered wherever GET is; OPTIONS tells what a path takes.\n"
    "- An answer to GET has an `ETag`; with `If-None-Match` it is 304 as long as nothing has changed.\n"
    "\n",
    "## Tokens\n"
    "\n"
    "A token is 256 random bits, of which the registry keeps the SHA-256; nobody can show it again. Its scopes:\n"
    "\n"
    "| scope | may |\n"
    "| --- | --- |\n"
    "| `execute:NAME`, `execute:*` | run those plugins' actions |\n"
    "| `read` | every GET but tokens |\n"
    "| `manage` | load, unload, reload, use, validate, stop-all, cancel |\n"
    "| `admin` | everything |\n"
    "\n"
    "Revoking holds for every request that begins after it was answered; calls that run already end on their own "
    "(`moat\n"
    "cancel ID`). Expiry holds by the host's clock. When a token was last used is kept in memory and written at most "
    "once a\n"
    "minute. A server holds 10,000 tokens that were not revoked.\n"
    "\n"
    "How many requests a token may make is not limited unless the setting `token_requests` says how many in a minute: "
    "so many at\n"
    "once, and then one as soon as its share of the minute is over. What comes too early is 429 `rate_limited` with "
    "`Retry-After`,\n"
    "and told in the audit trail, folded with a count; a wrong token is 401 all the same. A batch is one request.\n"
    "\n"
    "## Answers\n"
    "\n"
    "Success is `{\"success\":true,\"result\":…}` with status 200. Failure is\n"
    "`{\"success\":false,\"error\":{\"code\":…,\"message\":…,\"id\":…,\"detail\":{…}}}` with the status of its code "
    "below. `id` is\n"
    "32 hexadecimal digits; `moat why ID` (`GET /api/why/{id}`) explains the last 1,000 failures, and the last 100 of "
    "those\n"
    "without a valid token, with what the plugin logged as far as the server still has it (docs/logs.md): all of it in "
    "the server's\n"
    "memory, gone with it. 401 carries WWW-Authenticate, 405 Allow, 429, `draining` and `not_ready` Retry-After. "
    "Malformed\n"
    "HTTP is answered by the HTTP library itself, without JSON.\n"
    "\n",
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
    "| `Idempotency-Key` | 1 to 255 printable ASCII characters, see below |\n"
    "| `Accept: text/event-stream` | progress and log lines while the action runs, see below |\n"
    "\n"
    "The answer carries `Moat-Receipt`, a JSON object: `id` of the call, `version` that ran it, `queued_ns`, "
    "`ran_ns`,\n"
    "`cpu_ns`, `bytes_in`, `bytes_out`, all by the host's reading. An action that called other plugins has `calls` as "
    "well, how\n"
    "many, and of `ran_ns` the `calls_ns` that it waited for them, and their `calls_cpu_ns`. A client that leaves "
    "cancels its\n"
    "call, unless it has an Idempotency-Key.\n"
    "\n"
    "### Once\n"
    "\n"
    "With an `Idempotency-Key` an action runs once, however often the request comes: the answer of the first is given "
    "again,\n"
    "failures included, with `Moat-Idempotency: replayed`. A second request while the first runs waits for it. The "
    "same key\n"
    "with another body is `idempotency_conflict`. A key belongs to its token, plugin and action. It is remembered for "
    "10\n"
    "minutes from its answer on, in the server's memory: a restart forgets it, which is what `holds=server-life` says. "
    "The\n"
    "last 10,000 keys are kept, and 64 MiB of answers; beyond these the oldest answer goes first, and a request for it "
    "is\n"
    "`answer_not_kept`: it was run, and is not run again. What never reached the plugin (`queue_full`, `wrong_state`, "
    "…) is\n"
    "not remembered, so that it may be tried again with the same key.\n"
    "\n"
    "### Events\n"
    "\n"
    "With `Accept: text/event-stream` the answer is server-sent events: `progress` "
    "(`{\"done\":0.25,\"message\":\"…\"}`), `log`\n"
    "(`{\"level\":\"info\",\"text\":\"…\"}`), then `receipt`, and last `result` or `error` with the document that "
    "would have been the\n"
    "answer. What is not told is counted by `dropped` (`{\"events\":3}`): a client that\n"
    "reads too slowly for 256 KiB of it misses some, and of a plugin's log the setting `log_lines` says how many lines "
    "a second\n"
    "there are. What fails before the first event is an ordinary failure with its own status. A client that leaves "
    "cancels the\n"
    "call.\n"
    "\n"
    "### Batches\n"
    "\n"
    "`POST /api/calls` takes an array of at most 1,000 calls. They begin in its order and run as their plugins' "
    "workers and\n"
    "queues allow; the answer has an outcome for each, in the array's order: "
    "`{\"success\":true,\"result\":…,\"receipt\":{…}}` or\n"
    "`{\"success\":false,\"error\":{…}}`. The status is 200 whatever they are. All results together may have 64 MiB; "
    "one that goes\n"
    "beyond is told as `limit`, though it was run. A token without the scope for one of them gets `forbidden` in its "
    "place.\n"
    "\n",
    "## Health\n"
    "\n"
    "`GET /api/plugins/health` is alive who answers it at all. `?ready` is 503 while the server is ending (`draining`) "
    "or the\n"
    "plugins that start with it have not all been started once, well or not (`not_ready`).\n"
    "\n"
    "## Packages\n"
    "\n"
    "`install` and `validate` take the package's bytes as `application/octet-stream`, or JSON that names a file in\n"
    "PLUGIN_DIR's `incoming`. An upload that breaks leaves nothing.\n"
    "\n"
    "## Routes\n",
};

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

bool rest_document(struct buf *out)
{
    for (size_t i = 0; i < sizeof intro / sizeof *intro; i++)
        buf_puts(out, intro[i]);
    buf_puts(out, "\n| method | path | scope | command |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < nroutes; i++)
        buf_printf(out, "| %s | `%s` | %s | %s%s%s |\n", routes[i].method, routes[i].path, scope_text(routes[i].scope),
                   *routes[i].command ? "`moat " : "", routes[i].command, *routes[i].command ? "`" : "");
    for (size_t i = 0; i < nroutes; i++)
        put_route(out, &routes[i]);
    buf_puts(out, "\n## Errors\n\n| code | HTTP | exit status | what to do |\n| --- | --- | --- | --- |\n");
    for (int code = 1; code < MOAT_E_COUNT; code++) {
        const struct error_info *info = error_info(code);
        buf_printf(out, "| `%s` | %d | %d | %s |\n", info->name, info->http, info->exit, info->advice);
    }
    return !out->failed;
}
