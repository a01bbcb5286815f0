#include "rest/request.h"

/* ---- what queries and bodies may hold ---- */

static const struct field install_query[] = {
    {"auto_load", FIELD_FLAG, false, "start it, and start it again with the server"},
    {"use", FIELD_FLAG, false, "make this version the current one"},
    {"allow_older", FIELD_FLAG, false,
     "take a version older than the newest seen; it does not become current by itself"},
    {"grant", FIELD_TEXTS, false, "a grant to decide with the installation, such as `file_read=/data`; repeatable"},
    {"for", FIELD_TEXT, false, "a TIME after which these grants end by themselves"},
    {"accept", FIELD_TEXT, false, "with `use`, as in `POST /api/plugins/use/{name}`"},
    {"metadata", FIELD_TEXT, false, "a JSON object; each member must equal the signed manifest's"},
    {0},
};
static const struct field install_fields[] = {
    {"plugin_path", FIELD_TEXT, true, "a file in PLUGIN_DIR's `incoming`, relative to it"},
    {"metadata", FIELD_OBJECT, false, "each member must equal the signed manifest's"},
    {"auto_load", FIELD_FLAG, false, "as in the query"},
    {"use", FIELD_FLAG, false, "as in the query"},
    {"allow_older", FIELD_FLAG, false, "as in the query"},
    {"grants", FIELD_TEXTS, false, "grants to decide with the installation"},
    {"for", FIELD_TEXT, false, "as in the query"},
    {"accept", FIELD_TEXT, false, "as in the query"},
    {0},
};
static const struct field validate_query[] = {
    {"metadata", FIELD_TEXT, false, "a JSON object; each member must equal the signed manifest's"},
    {0},
};
static const struct field validate_fields[] = {
    {"plugin_path", FIELD_TEXT, true, "a file in PLUGIN_DIR's `incoming`, relative to it"},
    {"metadata", FIELD_OBJECT, false, "each member must equal the signed manifest's"},
    {0},
};
static const struct field uninstall_query[] = {
    {"purge", FIELD_FLAG, false, "forget decisions and statistics as well"},
    {0},
};
static const struct field config_query[] = {
    {"no_guard", FIELD_FLAG, false, "it stays whatever becomes of the calls, and a guard that runs ends"},
    {0},
};
static const struct field history_query[] = {
    {"limit", FIELD_NUMBER, false, "revisions to tell of at most, 1 to 1000; 20 when it is left out"},
    {0},
};
static const struct field use_query[] = {
    {"accept", FIELD_TEXT, false,
     "the digest that `diff` gives (16 digits of it at least), or `all`: needed when agents would be told something "
     "else than by the current version"},
    {"canary", FIELD_NUMBER, false,
     "1 to 99: the version runs beside the current one with this percentage of the calls, and takes its place, or "
     "goes, by what becomes of them"},
    {0},
};
static const struct field deprecate_query[] = {
    {"reason", FIELD_TEXT, false, "why, and what to use instead; shown to whoever uses the version"},
    {"undo", FIELD_FLAG, false, "it is not deprecated any more"},
    {0},
};
static const struct field archive_query[] = {
    {"undo", FIELD_FLAG, false, "take it out of the archive again"},
    {0},
};
static const struct field diff_query[] = {
    {"from", FIELD_TEXT, true, "NAME@VERSION, or NAME for the current one"},
    {"to", FIELD_TEXT, true, "the same, of the same plugin"},
    {0},
};
static const struct field diff_fields[] = {
    {"plugin_path", FIELD_TEXT, true, "a file in PLUGIN_DIR's `incoming`, relative to it"},
    {0},
};
static const struct field diff_package_query[] = {
    {"from", FIELD_TEXT, true, "NAME@VERSION, or NAME for the current one"},
    {0},
};
static const struct field list_query[] = {
    {"capability", FIELD_TEXT, false, "only plugins with this capability"},
    {"permission", FIELD_TEXT, false, "only plugins that ask for this permission"},
    {"status", FIELD_TEXT, false, "`active` or `inactive`"},
    {"publisher", FIELD_TEXT, false, "only plugins of this publisher"},
    {"q", FIELD_TEXT, false,
     "a search: words that begin words of the name, description, author, actions, keywords; the very name and "
     "names that begin so stand first, slips of the keys are forgiven"},
    {"limit", FIELD_NUMBER, false, "at most so many; 100 unless told"},
    {"after", FIELD_TEXT, false, "go on after this name, the last one of the page before (`next`)"},
    {0},
};
static const struct field forecast_query[] = {
    {"plugin", FIELD_TEXT, false, "its calls; those of all plugins together unless told"},
    {"horizon", FIELD_NUMBER, false, "hours ahead; 24 unless told, 336 at most"},
    {"limit", FIELD_NUMBER, false, "calls an hour: when will so many be met?"},
    {"pool", FIELD_FLAG, false,
     "not calls: the most workers that were started at once in each hour, and how many half-built walls stand ready "
     "for it"},
    {0},
};
static const struct field forecast_fields[] = {
    {"plugin_executions", FIELD_ANY, true, "an array of numbers, one for each hour, the oldest first"},
    {"horizon", FIELD_NUMBER, false, "hours ahead; 24 unless told, 336 at most"},
    {"limit", FIELD_NUMBER, false, "calls an hour: when will so many be met?"},
    {0},
};
static const struct field report_query[] = {
    {"since", FIELD_TEXT, false, "a TIME: so far back; 7d unless told, 63d at most"},
    {0},
};
static const struct field parameter_query[] = {
    {"why", FIELD_TEXT, false, "the reason, for the history and the audit trail"},
    {"no_guard", FIELD_FLAG, false, "do not watch what becomes of it"},
    {0},
};
static const struct field monitor_query[] = {
    {"plugin", FIELD_TEXT, false, "only its actions; all unless told"},
    {0},
};
static const struct field record_fields[] = {
    {"plugin", FIELD_TEXT, true, "who did it: a word of yours of at most 63 letters, digits and _.:/-"},
    {"action", FIELD_TEXT, true, "what it did: the same"},
    {"success", FIELD_FLAG, true, "whether it went well"},
    {"duration", FIELD_TEXT, false, "a TIME: how long it took"},
    {0},
};
static const struct field grant_fields[] = {
    {"grant", FIELD_TEXT, true, "a permission and its scope, such as `file_read=/data`"},
    {"for", FIELD_TEXT, false, "a TIME after which it ends by itself, as if it were revoked then"},
    {0},
};
static const struct field revoke_query[] = {
    {"grant", FIELD_TEXT, true, "the grant to take back, as `grants` shows it"},
    {0},
};
static const struct field refuse_fields[] = {
    {"permission", FIELD_TEXT, true, "the permission that the plugin asks for and shall not have"},
    {0},
};
static const struct field trust_fields[] = {
    {"publisher", FIELD_TEXT, true, "a name of your choice for who owns the key"},
    {"public_key", FIELD_TEXT, true, "the public key as PEM"},
    {"names", FIELD_TEXT, false, "which plugin names it may publish, such as `acme_*`; any that nobody else owns"},
    {0},
};
static const struct field ceiling_fields[] = {
    {"subject", FIELD_TEXT, true, "`publisher:NAME`, `capability:NAME` or `everybody`"},
    {"never", FIELD_TEXT, true, "a permission, for all of it, or a grant such as `file_write=/etc`"},
    {0},
};
static const struct field source_fields[] = {
    {"name", FIELD_TEXT, true, "what `database_read=NAME` and `database_write=NAME` name"},
    {"kind", FIELD_TEXT, true, "`sqlite` or `postgres`"},
    {"place", FIELD_TEXT, true,
     "a path of the host, from the root: the database, or for postgres a file with the connection string that only "
     "the host's user may read"},
    {0},
};
static const struct field audit_query[] = {
    {"actor", FIELD_TEXT, false, "who did it, such as `uid:0` or `token:3`"},
    {"action", FIELD_TEXT, false, "what was done, such as `plugin.install`, or all of a kind: `plugin.`"},
    {"subject", FIELD_TEXT, false, "what it was done to: a plugin, a publisher, a setting, a token's id"},
    {"outcome", FIELD_TEXT, false, "`ok`, or the code of a refusal"},
    {"since", FIELD_TEXT, false, "a TIME: not longer ago"},
    {"after", FIELD_NUMBER, false, "go on after this record, in the order they came; without it the newest come first"},
    {"before", FIELD_NUMBER, false, "go on before this record"},
    {"limit", FIELD_NUMBER, false, "at most so many; 100 unless told, 1000 at most"},
    {0},
};
static const struct field denials_query[] = {
    {"since", FIELD_TEXT, false, "a TIME: rows that were added to not longer ago"},
    {"limit", FIELD_NUMBER, false, "at most so many, the last first; all unless told"},
    {0},
};
static const struct field verify_query[] = {
    {"anchor", FIELD_TEXT, false, "COUNT:HASH of a head that was kept elsewhere"},
    {"key", FIELD_TEXT, false, "a public key (32 bytes as hex) that must have signed a head"},
    {0},
};
static const struct field sign_fields[] = {
    {"head", FIELD_TEXT, true, "COUNT:HASH"},
    {"key", FIELD_TEXT, true, "the Ed25519 public key, 32 bytes as hex"},
    {"signature", FIELD_TEXT, true, "64 bytes as hex, over the text of docs/audit.md"},
    {0},
};
static const struct field rotate_query[] = {
    {"keep", FIELD_NUMBER, false, "so many of the newest records stay; none unless told"},
    {0},
};

static const struct field names_fields[] = {
    {"names", FIELD_TEXT, true, "a pattern such as `acme_*`, or several between commas"},
    {0},
};
static const struct field transfer_fields[] = {
    {"plugin", FIELD_TEXT, true, "the plugin's name"},
    {"publisher", FIELD_TEXT, true, "who owns it from now on"},
    {0},
};
static const struct field backup_fields[] = {
    {"file", FIELD_TEXT, true, "a path of the host, from the root; nothing may be there yet"},
    {0},
};
static const struct field batch_fields[] = {
    {"plugin", FIELD_TEXT, true, "the plugin's name"},
    {"action", FIELD_TEXT, true, "the action's name"},
    {"parameters", FIELD_ANY, false, "the action's parameters; `{}` unless told"},
    {"deadline", FIELD_TEXT, false, "a TIME for this call; else that of the header Moat-Deadline"},
    {"idempotency_key", FIELD_TEXT, false, "as the header of a single call"},
    {0},
};
static const struct field calls_query[] = {
    {"plugin", FIELD_TEXT, false, "only calls of this plugin"},
    {"limit", FIELD_NUMBER, false, "at most so many of those that ended; 100 unless told, 10000 at most"},
    {0},
};
static const struct field log_query[] = {
    {"plugin", FIELD_TEXT, false, "only of this plugin"},
    {"call", FIELD_TEXT, false, "only of this call, by its id"},
    {"trace", FIELD_TEXT, false, "only of this trace, by its id"},
    {"level", FIELD_TEXT, false, "only `debug` (all), `info`, `warn`, `error`, and what is worse"},
    {"source", FIELD_TEXT, false,
     "only `log` (the log call), `output` (standard output and error), or `host` (what became of lines and workers)"},
    {"since", FIELD_TEXT, false, "a TIME: not longer ago"},
    {"after", FIELD_NUMBER, false, "go on after this record; without it the newest are told"},
    {"before", FIELD_NUMBER, false, "the newest before this record"},
    {"wait", FIELD_TEXT, false,
     "with `after`: when there is nothing yet, answer once there is, or after this TIME (60s at most)"},
    {"limit", FIELD_NUMBER, false, "at most so many; 100 unless told, 1000 at most"},
    {"heartbeat", FIELD_TEXT, false, "of events: the last `id` after so long without one (TIME); 15s unless told"},
    {0},
};
static const struct field token_fields[] = {
    {"scopes", FIELD_TEXTS, true, "what it may: `execute:NAME`, `execute:*`, `read`, `manage`, `admin`"},
    {"for", FIELD_TEXT, false, "a TIME after which it is worth nothing; never unless told"},
    {"name", FIELD_TEXT, false, "a word of yours for who has it"},
    {0},
};
static const struct field apply_query[] = {
    {"check", FIELD_FLAG, false, "only answer the differences; change nothing"},
    {0},
};
static const struct field health_query[] = {
    {"ready", FIELD_FLAG, false, "answer `draining` or `not_ready` (503) unless new work may be sent here"},
    {0},
};

static const struct field task_query[] = {
    {"wait", FIELD_FLAG, false, "false: the answer is the task's id, and comes as soon as it has begun"},
    {"explain", FIELD_FLAG, false, "tell of each choice of a plugin why that one was chosen, and the rest not"},
    {0},
};
static const struct field task_events_query[] = {
    {"after", FIELD_TEXT, false, "as the header Last-Event-ID, for who cannot set it"},
    {"heartbeat", FIELD_TEXT, false, "a comment after so long without an event (TIME); 15s unless told"},
    {0},
};
static const struct field tasks_query[] = {
    {"status", FIELD_TEXT, false, "`running`, `succeeded`, `failed`, `cancelled` or `interrupted`"},
    {"limit", FIELD_NUMBER, false, "at most so many; 100 unless told"},
    {"after", FIELD_TEXT, false, "go on after the task of this id"},
    {0},
};

/* ---- the table.  The most called route stands first: routing looks from the top. ---- */

const struct route routes[] = {
    {"POST", "/api/plugins/execute/{name}/{action}", REST_EXECUTE, BODY_CALL, handle_execute, NULL, NULL, "call",
     "Runs one action. The body is its parameters; the result is the action's."},
    {"POST", "/api/plugins/install", REST_ADMIN, BODY_PACKAGE, handle_install, install_query, install_fields, "install",
     "Verifies a package and installs it. The first version of a plugin becomes current."},
    {"POST", "/api/plugins/validate", REST_MANAGE, BODY_PACKAGE, handle_validate, validate_query, validate_fields,
     "validate", "Tells whether a package would be accepted, and if not why, finding by finding. Installs nothing."},
    {"DELETE", "/api/plugins/uninstall/{name}", REST_ADMIN, BODY_NONE, handle_uninstall, uninstall_query, NULL,
     "uninstall", "Removes a version, or with a bare name the plugin."},
    {"POST", "/api/plugins/use/{name}", REST_MANAGE, BODY_NONE, handle_use, use_query, NULL, "use",
     "Makes NAME@VERSION the current one, live, without losing a call."},
    {"POST", "/api/plugins/rollback/{name}", REST_MANAGE, BODY_NONE, handle_rollback, NULL, NULL, "rollback",
     "Makes the version current that was so before, live, without losing a call; once."},
    {"POST", "/api/plugins/pin/{name}", REST_MANAGE, BODY_NONE, handle_pin, NULL, NULL, "pin",
     "Keeps the current version: use and rollback are refused until it is unpinned."},
    {"POST", "/api/plugins/unpin/{name}", REST_MANAGE, BODY_NONE, handle_unpin, NULL, NULL, "unpin",
     "Lets the current version be changed again."},
    {"POST", "/api/plugins/activate/{name}", REST_ADMIN, BODY_NONE, handle_activate, NULL, NULL, "activate",
     "Lets an inactive plugin be called again; its first call starts it."},
    {"POST", "/api/plugins/deactivate/{name}", REST_ADMIN, BODY_NONE, handle_deactivate, NULL, NULL, "deactivate",
     "Running calls get a moment to end, the workers are dead when this returns, calls answer `wrong_state`."},
    {"POST", "/api/plugins/deprecate/{name}", REST_ADMIN, BODY_NONE, handle_deprecate, deprecate_query, NULL,
     "deprecate", "Warns whoever uses NAME@VERSION from now on."},
    {"POST", "/api/plugins/archive/{name}", REST_ADMIN, BODY_NONE, handle_archive, archive_query, NULL, "archive",
     "NAME@VERSION is kept and can be fetched, and cannot be used or loaded."},
    {"POST", "/api/plugins/load/{name}", REST_MANAGE, BODY_NONE, handle_load, NULL, NULL, "load",
     "Starts a plugin; a server starts it again with itself."},
    {"POST", "/api/plugins/unload/{name}", REST_MANAGE, BODY_NONE, handle_unload, NULL, NULL, "unload",
     "Lets running calls end and stops a plugin; calls answer `wrong_state` until it is loaded again."},
    {"POST", "/api/plugins/reload/{name}", REST_MANAGE, BODY_NONE, handle_reload, NULL, NULL, "reload",
     "The same version with fresh workers, without losing a call."},
    {"POST", "/api/stop-all", REST_MANAGE, BODY_NONE, handle_stop_all, NULL, NULL, "stop-all",
     "Every worker is dead and calls are refused when this returns."},
    {"GET", "/api/plugins/available", REST_READ, BODY_NONE, handle_available, list_query, NULL, "list",
     "The installed plugins, by name."},
    {"GET", "/api/plugins/loaded", REST_READ, BODY_NONE, handle_loaded, NULL, NULL, "list --loaded",
     "The plugins that run, with their state and their workers."},
    {"GET", "/api/plugins/info/{name}", REST_READ, BODY_NONE, handle_info, NULL, NULL, "info",
     "All about one plugin, or one version of it.", .reads_installed = true},
    {"GET", "/api/plugins/info/{name}/versions", REST_READ, BODY_NONE, handle_versions, NULL, NULL, "",
     "Every installed version, the newest first by the order of Semantic Versioning.", .reads_installed = true},
    {"GET", "/api/plugins/info/{name}/package", REST_READ, BODY_NONE, handle_fetch, NULL, NULL, "fetch",
     "The package as it was installed: bare bytes, checked against the recorded hash.", .reads_installed = true},
    {"GET", "/api/plugins/info/{name}/errors", REST_READ, BODY_NONE, handle_errors, NULL, NULL, "",
     "The plugin's errors by code, and the last twenty.", .reads_installed = true},
    {"GET", "/api/plugins/info/{name}/config", REST_READ, BODY_NONE, handle_config_get, NULL, NULL, "config get",
     "The configuration: what holds, what was set, its schema; of secrets only whether they are set.",
     .reads_installed = true},
    {"PUT", "/api/plugins/info/{name}/config/{key}", REST_ADMIN, BODY_VALUE, handle_config_set, config_query, NULL,
     "config set",
     "Sets one property. The body is its value, as JSON. What runs takes it over without losing a call, and is "
     "watched: when calls are worse with it than before it is taken back."},
    {"DELETE", "/api/plugins/info/{name}/config/{key}", REST_ADMIN, BODY_NONE, handle_config_unset, config_query, NULL,
     "config unset", "Gives a property its default again; watched as a property that is set."},
    {"GET", "/api/plugins/info/{name}/config-history", REST_READ, BODY_NONE, handle_config_history, history_query, NULL,
     "config history",
     "The configurations that there were, the newest first, and what became of those that were watched.",
     .reads_installed = true},
    {"GET", "/api/export", REST_READ, BODY_NONE, handle_export, NULL, NULL, "export",
     "The registry as one JSON document, bare; no secret is in it."},
    {"POST", "/api/import", REST_ADMIN, BODY_DOCUMENT, handle_import, NULL, NULL, "import",
     "Takes an exported document, all or nothing: what it names becomes as it says."},
    {"POST", "/api/apply", REST_ADMIN, BODY_DOCUMENT, handle_apply, apply_query, NULL, "apply",
     "Makes plugins what a declarative file says: version, grants, configuration. All or nothing, in one transaction; "
     "answers every difference there was."},
    {"GET", "/api/diff", REST_READ, BODY_NONE, handle_diff, diff_query, NULL, "diff",
     "What changes from one installed version to another: permissions, actions, schemas, limits, descriptions."},
    {"POST", "/api/diff", REST_MANAGE, BODY_PACKAGE, handle_diff_package, diff_package_query, diff_fields,
     "diff NAME FILE", "The same against a package that is not installed."},
    {"GET", "/api/plugins/info/{name}/grants", REST_READ, BODY_NONE, handle_plugin_grants, NULL, NULL, "grants NAME",
     "What the plugin asks for and what was decided.", .reads_installed = true},
    {"POST", "/api/plugins/info/{name}/grants", REST_ADMIN, BODY_OBJECT, handle_grant, NULL, grant_fields, "grant",
     "Grants a permission."},
    {"DELETE", "/api/plugins/info/{name}/grants", REST_ADMIN, BODY_NONE, handle_revoke, revoke_query, NULL, "revoke",
     "Takes a grant back. When it returns nothing of the right is left, or the answer is `revoke_incomplete`."},
    {"POST", "/api/plugins/info/{name}/refusals", REST_ADMIN, BODY_OBJECT, handle_refuse, NULL, refuse_fields, "refuse",
     "Refuses a permission that the plugin asks for."},
    {"GET", "/api/plugins/info/{name}/denials", REST_READ, BODY_NONE, handle_plugin_denials, denials_query, NULL,
     "denials NAME",
     "What the plugin tried and did not get, with the command that would allow it, the last first. It outlives the "
     "server; `dropped` is how many had rows that are not kept any more.",
     .reads_installed = true},
    {"GET", "/api/plugins/info/{name}/proposals", REST_ADMIN, BODY_NONE, handle_proposals, NULL, NULL, "learn",
     "The smallest grants that would serve what the plugin was denied, each with its reason, judged by the policy; "
     "nothing is granted. `refused`: what the policy would not let be granted. `left_out`: more than are told. "
     "`missing`: denials of what is not there; `unnamed`: of objects whose names were not kept; `hopeless`: of what no "
     "grant allows.",
     .reads_installed = true},
    {"GET", "/api/plugins/capabilities", REST_READ, BODY_NONE, handle_capabilities, NULL, NULL, "capabilities",
     "The eight capabilities, and which plugins have them."},
    {"GET", "/api/plugins/permissions", REST_READ, BODY_NONE, handle_permissions, NULL, NULL, "permissions",
     "The eight permissions, and which plugins ask for them."},
    {"GET", "/api/plugins/stats", REST_READ, BODY_NONE, handle_stats, NULL, NULL, "stats",
     "What is installed, loaded, enforced and executed, in figures."},
    {"GET", "/api/forecast", REST_READ, BODY_NONE, handle_forecast, forecast_query, NULL, "forecast",
     "How many calls an hour are to be expected, with intervals, and when a limit will be met."},
    {"POST", "/api/forecast", REST_READ, BODY_OBJECT, handle_forecast_series, NULL, forecast_fields, "",
     "The same of a series of the caller's."},
    {"GET", "/api/monitor", REST_READ, BODY_NONE, handle_monitor, monitor_query, NULL, "monitor",
     "How each action, and what was recorded, did in the last minute and hour, and what has become worse."},
    {"POST", "/api/monitor", REST_MANAGE, BODY_OBJECT, handle_record, NULL, record_fields, "",
     "Records something that the platform did, to be watched like the calls of plugins."},
    {"GET", "/api/report", REST_READ, BODY_NONE, handle_report, report_query, NULL, "report",
     "What every plugin did, cost and was refused in a span of time, and what was changed."},
    {"GET", "/api/parameters", REST_READ, BODY_NONE, handle_parameters, NULL, NULL, "parameter get",
     "What can be changed while everything runs: the platform's parameters, and settings that take effect at once."},
    {"GET", "/api/parameters/{name}", REST_READ, BODY_NONE, handle_parameter_get, NULL, NULL, "parameter get NAME",
     "One of them, with its last twenty changes."},
    {"PUT", "/api/parameters/{name}", REST_ADMIN, BODY_VALUE, handle_parameter_set, parameter_query, NULL,
     "parameter set",
     "Changes it. The body is its value, as JSON. Calls are watched for ten minutes, and it is taken back when they "
     "are worse."},
    {"GET", "/api/plugins/health", REST_OPEN, BODY_NONE, handle_health, health_query, NULL, "health",
     "Whether the host answers, and how its plugins are."},
    {"POST", "/api/calls", REST_EXECUTE, BODY_ITEMS, handle_batch, NULL, batch_fields, "",
     "Runs an array of calls, begun in its order and answered in it, each with its own outcome."},
    {"GET", "/api/calls", REST_READ, BODY_NONE, handle_calls, calls_query, NULL, "calls",
     "What runs now, and the receipts of the last 10,000 calls, newest first."},
    {"DELETE", "/api/calls/{id}", REST_MANAGE, BODY_NONE, handle_cancel, NULL, NULL, "cancel",
     "Cancels a call that runs or waits; it answers `cancelled`, or as it ended first."},
    {"POST", "/api/tasks", REST_EXECUTE, BODY_TASK, handle_task_run, task_query, NULL, "task run",
     "Runs a task over several plugins (docs/tasks.md); each step needs the scope of its plugin. A task that failed is "
     "an answer as well: `status` says so. With `Accept: text/event-stream` its events come first, then `result` or "
     "`error`."},
    {"POST", "/api/tasks/check", REST_EXECUTE, BODY_TASK, handle_task_check, NULL, NULL, "task check",
     "Checks a task as running it would, and runs nothing: every finding with its JSON Pointer."},
    {"POST", "/api/tasks/select", REST_EXECUTE, BODY_TASK, handle_task_select, NULL, NULL, "",
     "Which plugin a step would get: `capability` and `action`, with `where`, `sticky`, `parameters` as in a step; "
     "with `explain` every candidate and why."},
    {"GET", "/api/tasks", REST_READ, BODY_NONE, handle_task_list, tasks_query, NULL, "task list",
     "The tasks, newest first."},
    {"GET", "/api/tasks/stats", REST_READ, BODY_NONE, handle_task_stats, NULL, NULL, "",
     "How many tasks ran and how that went, and what each plugin did in them."},
    {"GET", "/api/tasks/{id}", REST_READ, BODY_NONE, handle_task_show, NULL, NULL, "task show",
     "One task: how far it has come, or how it went."},
    {"GET", "/api/tasks/{id}/events", REST_READ, BODY_NONE, handle_task_events, task_events_query, NULL,
     "task show --follow",
     "What happens in a task, as server-sent events (docs/tasks.md): first `state`, the task as far as it has come, or "
     "with Last-Event-ID what came after that event; the last one is `task_ended`."},
    {"DELETE", "/api/tasks/{id}", REST_TASKS, BODY_NONE, handle_task_cancel, NULL, NULL, "task cancel",
     "Cancels a task: what runs of it is cancelled, nothing more begins. Another token's needs `manage`."},
    {"GET", "/api/why/{id}", REST_READ, BODY_NONE, handle_why, NULL, NULL, "why",
     "Why a request was refused or a call failed: what decided, who asked, which grant would have allowed it, and "
     "what the plugin logged. Of the last 1,000 failures."},
    {"GET", "/api/log", REST_READ, BODY_NONE, handle_log, log_query, NULL, "log",
     "What plugins logged and printed last, in the order it came; `next` is the `after` that goes on from there. Kept "
     "in memory, as far as the setting `log_memory` allows, since the server's start. With "
     "`Accept: text/event-stream` each as an event, and what comes (docs/logs.md)."},
    {"GET", "/api/tokens", REST_ADMIN, BODY_NONE, handle_tokens, NULL, NULL, "token list",
     "The tokens, without what lets anybody in."},
    {"POST", "/api/tokens", REST_ADMIN, BODY_OBJECT, handle_token_create, NULL, token_fields, "token create",
     "Makes a token, shown this once."},
    {"DELETE", "/api/tokens/{id}", REST_ADMIN, BODY_NONE, handle_token_revoke, NULL, NULL, "token revoke",
     "Revokes a token: no request that begins from now on is let in with it, and events that are followed with it "
     "end."},
    {"GET", "/metrics", REST_READ, BODY_NONE, handle_metrics, NULL, NULL, "", "Figures as OpenMetrics 1.0."},
    {"GET", "/openapi.json", REST_READ, BODY_NONE, handle_openapi, NULL, NULL, "", "This API as OpenAPI 3.1."},
    {"GET", "/api/grants", REST_READ, BODY_NONE, handle_grants, NULL, NULL, "grants",
     "The decisions over every plugin."},
    {"GET", "/api/denials", REST_READ, BODY_NONE, handle_denials, denials_query, NULL, "denials",
     "What any plugin tried and did not get, the last first."},
    {"GET", "/api/ceilings", REST_READ, BODY_NONE, handle_ceiling_list, NULL, NULL, "ceiling list",
     "What publishers, capabilities or everybody can never get."},
    {"POST", "/api/ceilings", REST_ADMIN, BODY_OBJECT, handle_ceiling_set, NULL, ceiling_fields, "ceiling set",
     "Sets a ceiling. It holds for what was granted before as well: workers that held it are dead when this returns."},
    {"DELETE", "/api/ceilings", REST_ADMIN, BODY_NONE, handle_ceiling_remove, ceiling_fields, NULL, "ceiling remove",
     "Removes a ceiling. What was granted below it holds again; the answer names those plugins."},
    {"GET", "/api/sources", REST_READ, BODY_NONE, handle_source_list, NULL, NULL, "source list",
     "The data sources that grants may name, and to whom they are granted."},
    {"POST", "/api/sources", REST_ADMIN, BODY_OBJECT, handle_source_add, NULL, source_fields, "source add",
     "Adds a data source. No plugin may use it before it is granted."},
    {"DELETE", "/api/sources/{name}", REST_ADMIN, BODY_NONE, handle_source_remove, NULL, NULL, "source remove",
     "Removes a data source. What was granted of it stays and gives nothing."},
    {"GET", "/api/trust", REST_READ, BODY_NONE, handle_trust_list, NULL, NULL, "trust list",
     "The publishers, their keys, and which names they may publish."},
    {"POST", "/api/trust", REST_ADMIN, BODY_OBJECT, handle_trust_add, NULL, trust_fields, "trust add",
     "Trusts a publisher's key."},
    {"PUT", "/api/trust/{publisher}", REST_ADMIN, BODY_OBJECT, handle_trust_names, NULL, names_fields, "trust names",
     "Changes which names a publisher may publish. Plugins that it may publish no more are stopped when this returns."},
    {"POST", "/api/trust/transfer", REST_ADMIN, BODY_OBJECT, handle_trust_transfer, NULL, transfer_fields,
     "trust transfer", "Gives a plugin's name to another publisher. What is installed and decided stays."},
    {"DELETE", "/api/trust/{publisher}", REST_ADMIN, BODY_NONE, handle_trust_revoke, NULL, NULL, "trust revoke NAME",
     "Revokes every key of a publisher."},
    {"DELETE", "/api/trust/{publisher}/{key_id}", REST_ADMIN, BODY_NONE, handle_trust_revoke, NULL, NULL,
     "trust revoke NAME KEYID", "Revokes one key."},
    {"GET", "/api/audit", REST_READ, BODY_NONE, handle_audit, audit_query, NULL, "audit",
     "Who changed what, and what was refused."},
    {"GET", "/api/audit/verify", REST_READ, BODY_NONE, handle_audit_verify, verify_query, NULL, "audit verify",
     "Whether the audit trail is whole: nothing edited, removed, put elsewhere, cut off."},
    {"GET", "/api/audit/head", REST_READ, BODY_NONE, handle_audit_head, NULL, NULL, "audit head",
     "The number and the hash of the last record: an anchor to keep elsewhere."},
    {"POST", "/api/audit/heads", REST_ADMIN, BODY_OBJECT, handle_audit_sign, NULL, sign_fields, "audit sign",
     "Keeps a signature over a head of the trail."},
    {"POST", "/api/audit/rotate", REST_ADMIN, BODY_NONE, handle_audit_rotate, rotate_query, NULL, "audit rotate",
     "Moves old records to a file beside the registry; the chain goes on."},
    {"POST", "/api/backup", REST_ADMIN, BODY_OBJECT, handle_backup, NULL, backup_fields, "backup",
     "Writes the registry and its packages, of one moment, into a new file of the host. Calls go on meanwhile."},
    {"POST", "/api/check", REST_ADMIN, BODY_NONE, handle_check, NULL, NULL, "doctor --deep",
     "Looks at every record, reference and package, tells what is wrong with its cure, and mends what can be made "
     "anew."},
    {"GET", "/api/production", REST_ADMIN, BODY_NONE, handle_production, NULL, NULL, "doctor --production",
     "The checklist of a deployment, from what is recorded: each line with its cure."},
    {"GET", "/api/settings", REST_READ, BODY_NONE, handle_settings_list, NULL, NULL, "settings get",
     "Every setting of the host."},
    {"GET", "/api/settings/{key}", REST_READ, BODY_NONE, handle_settings_get, NULL, NULL, "settings get KEY",
     "One setting."},
    {"PUT", "/api/settings/{key}", REST_ADMIN, BODY_VALUE, handle_settings_set, NULL, NULL, "settings set",
     "Changes a setting. The body is its value, as JSON."},
};
const size_t nroutes = sizeof routes / sizeof *routes;
