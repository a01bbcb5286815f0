/* cli: the command `moat`.  Owns arguments, what people see, and exit statuses; what a command does is done by a route
 * of src/rest, asked of the home's owner when there is one and else in this process.
 *
 * Results go to standard output; everything for people about them to standard error. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/error.h"
#include "rest/rest.h"

/* An option means the same wherever it is taken. */
#define CLI_OPTIONS(X) \
    X(HELP, "help", 'h', NULL, "show the command's help") \
    X(JSON, "json", 0, NULL, "print the result as JSON; failures as JSON on standard error") \
    X(HOME, "home", 0, "DIR", "the directory that this Moat owns") \
    X(VERSION, "version", 0, NULL, "show Moat's version") \
    X(KEY, "key", 0, "FILE", "the key's file") \
    X(HMAC, "hmac", 0, NULL, "sign with this host's own key, PLUGIN_SECRET_KEY or PLUGIN_SECRET_KEY_FILE") \
    X(UNSIGNED, "unsigned", 0, NULL, "sign with nothing: only development mode runs it") \
    X(METADATA, "metadata", 0, "JSON", "an object; each member must equal the signed manifest's") \
    X(OUTPUT, "output", 'o', "FILE", "where to write") \
    X(EXPIRES, "expires", 0, "TIME", "the package is not accepted after so long") \
    X(NAMES, "names", 0, "PATTERN", "the names that may be published, such as acme_*; else any nobody else owns") \
    X(GRANT, "grant", 0, "G", "decide a permission as well, such as file_read=/data; repeatable") \
    X(LOAD, "load", 0, NULL, "start it as well") \
    X(USE, "use", 0, NULL, "make this version the current one") \
    X(ALLOW_OLDER, "allow-older", 0, NULL, "take a version older than the newest seen") \
    X(ACCEPT, "accept", 0, "DIGEST", "what agents would be told was seen: the digest that diff shows") \
    X(CANARY, "canary", 0, "PERCENT", "run beside the current version on 1 to 99 percent of the calls, and be judged") \
    X(ACCEPT_CHANGES, "accept-changes", 0, NULL, "whatever agents would be told") \
    X(CAPABILITY, "capability", 0, "NAME", "only plugins with this capability") \
    X(PERMISSION, "permission", 0, "NAME", "only plugins that ask for this permission") \
    X(STATUS, "status", 0, "STATUS", "only active, or only inactive plugins") \
    X(PUBLISHER, "publisher", 0, "NAME", "only plugins of this publisher") \
    X(AFTER, "after", 0, "NAME", "go on after this one") \
    X(NO_GUARD, "no-guard", 0, NULL, "do not watch the calls, and take nothing back by itself") \
    X(UNDO, "undo", 0, NULL, "take it back") \
    X(REASON, "reason", 0, "TEXT", "why, and what to use instead") \
    X(GO_ON, "go-on", 0, NULL, "make the next step, instead of telling what it would be") \
    X(PURGE, "purge", 0, NULL, "forget decisions and statistics as well") \
    X(LOADED, "loaded", 0, NULL, "only what is loaded, with its state") \
    X(DEEP, "deep", 0, NULL, "look at every record and package of the home as well") \
    X(PRODUCTION, "production", 0, NULL, "go through the checklist of a deployment as well") \
    X(CHECK, "check", 0, NULL, "only show what would change; exit status 1 when something would") \
    X(ACTOR, "actor", 0, "WHO", "only what WHO did, such as uid:0 or token:3") \
    X(ACTION, "action", 0, "ACTION", "only this, such as plugin.install, or all of a kind: plugin.") \
    X(SUBJECT, "subject", 0, "NAME", "only about this plugin, publisher, setting or token") \
    X(OUTCOME, "outcome", 0, "CODE", "only with this outcome: ok, or the code of a refusal") \
    X(SINCE, "since", 0, "TIME", "not longer ago than this") \
    X(CALL, "call", 0, "ID", "only of this call") \
    X(TRACE, "trace", 0, "ID", "only of this W3C trace") \
    X(LEVEL, "level", 0, "LEVEL", "only this and what is worse: debug, info, warn or error") \
    X(SOURCE, "source", 0, "SOURCE", "only log, output, or host: what became of lines and workers") \
    X(LIMIT, "limit", 0, "N", "at most so many") \
    X(HTML, "html", 0, "FILE", "write it into this file as a page that needs nothing else") \
    X(SVG, "svg", 0, "FILE", "draw it into this file as well") \
    X(POOL, "pool", 0, NULL, "starts of workers, and how many half-built walls stand ready for them") \
    X(FOLLOW, "follow", 'f', NULL, "go on with what comes, until interrupted") \
    X(INTERVAL, "interval", 0, "TIME", "look so often; every second unless told") \
    X(ONCE, "once", 0, NULL, "look for one interval, print, end") \
    X(AUTO, "auto", 0, "DIR", "say yes by itself to what lies in this directory, which is to be thrown away") \
    X(ANCHOR, "anchor", 0, "COUNT:HASH", "a head that was kept elsewhere, as `audit head` prints it") \
    X(KEEP, "keep", 0, "N", "so many of the newest stay") \
    X(SCOPE, "scope", 0, "S", "what it may: execute:NAME, execute:*, read, manage or admin; repeatable") \
    X(FOR, "for", 0, "TIME", "it holds for so long, such as 7d; without an end unless told") \
    X(NAME, "name", 0, "TEXT", "a word of yours for it") \
    X(DEADLINE, "deadline", 0, "TIME", "give up after so long, such as 250ms or 10m") \
    X(RECEIPT, "receipt", 0, NULL, "show what the call cost, on standard error") \
    X(EXPLAIN, "explain", 0, NULL, "say why each plugin was chosen, and the rest not") \
    X(LISTEN, "listen", 0, "ADDRESS:PORT", "the address to serve on; one that is not loopback needs TLS") \
    X(TLS_CERT, "tls-cert", 0, "FILE", "serve TLS with this certificate chain (PEM); SIGHUP reads it again") \
    X(TLS_KEY, "tls-key", 0, "FILE", "the certificate's key (PEM)") \
    X(INSECURE_HTTP, "insecure-http", 0, NULL, "serve any address without TLS, such as behind a proxy that has it") \
    X(DEV, "dev", 0, NULL, "development mode, in a home made for it: unsigned packages run, behind the same walls")

enum cli_option {
#define X(id, name, letter, value, about) OPT_##id,
    CLI_OPTIONS(X)
#undef X
        OPT_COUNT,
};

struct option_info {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* NULL: a flag */
    const char *about;
};
extern const struct option_info cli_options[OPT_COUNT];
_Static_assert(OPT_COUNT <= 64, "a command's options are bits of one number");

#define OPT(id) (1ull << OPT_##id)
#define OPT_EVERYWHERE (OPT(HELP) | OPT(JSON) | OPT(HOME) | OPT(VERSION))

enum cli_group {
    GROUP_MACHINE,
    GROUP_WRITE,
    GROUP_TRUST,
    GROUP_HAVE,
    GROUP_RUN,
    GROUP_ALLOW,
    GROUP_WATCH,
    GROUP_SET,
    GROUP_SERVE,
    GROUP_COUNT
};
extern const char *const cli_groups[GROUP_COUNT];

struct cli;
struct command {
    const char *name; /* "trust add": one word or two */
    enum cli_group group;
    const char *arguments; /* "NAME PUBFILE [--names PATTERN]" */
    const char *summary, *example;
    uint64_t options; /* besides those everywhere */
    unsigned least, most;
    int (*run)(struct cli *c); /* an exit status */
};
extern const struct command commands[];
extern const size_t ncommands;

#define CLI_ARGS_MAX 16
#define CLI_GRANTS_MAX 64

struct cli {
    const struct command *command; /* NULL: none given */
    const char *args[CLI_ARGS_MAX + 1];
    size_t nargs;
    const char *option[OPT_COUNT]; /* "" for a flag that is there */
    const char *grants[CLI_GRANTS_MAX];
    size_t ngrants;
    struct home home; /* resolved by cli_home */
    bool home_known;
    struct secrets secrets;     /* of the environment, which holds them no longer */
    struct error secrets_error; /* code not 0: what is wrong with them, for the commands that need them */
};

/* ---- arguments ---- */

/* Fills *c. MOAT_E_BAD_USAGE. Texts stay argv's. */
int cli_parse(int argc, char **argv, struct cli *c, struct error *err);
/* The command that these words start with and how many words its name has; NULL: none. */
const struct command *cli_find(const char *const *words, size_t n, size_t *used);
static inline bool cli_has(const struct cli *c, enum cli_option option)
{
    return c->option[option] != NULL;
}
int cli_home(struct cli *c, struct error *err);
int cli_secrets(const struct cli *c, struct error *err); /* 0 when the environment's keys can be used, or are none */

/* ---- what people see ---- */

/* Reports a failure on standard error and returns its exit status. */
int cli_fail(const struct cli *c, const struct error *err);
__attribute__((format(printf, 3, 4))) int cli_failf(const struct cli *c, enum moat_code code, const char *format, ...);
/* The same for a failure document of a route. */
int cli_fail_document(const struct cli *c, const char *document, size_t len);
/* The last thing a command does: 0, or the failure to write what was printed. */
int cli_done(const struct cli *c);
enum moat_code cli_code(const char *name); /* MOAT_E_INTERNAL for names that the table does not have */

/* Text of others without what could steer a terminal. */
void show_text(FILE *out, const char *text);
/* One member of an object as text; "-" when it is missing, null or empty. The caller frees it. */
char *show_value(const json_t *object, const char *path);

struct column {
    const char *title, *path; /* "permissions.0": members and indices */
    bool right;
};
/* A table over an array of objects; `none` is said when it is empty. */
void show_table(const json_t *rows, const struct column *columns, size_t n, const char *none);
/* "Name:  value" lines, those that are there. */
void show_fields(const json_t *object, const struct column *fields, size_t n);
void show_bytes(uint64_t n, char out[32]);
/* The list in a result that is one or has one under key. */
const json_t *show_list(const json_t *result, const char *key);

/* ---- asking a route ---- */

struct ask {
    const char *method;
    struct buf target; /* ask_path, ask_query */
    const char *content_type;
    const void *body;
    size_t len;
    int file; /* the body instead; -1: none */
    const char *deadline;
    const char *server_only; /* why nothing can be asked without a server, or NULL */
    int answer_file;         /* a successful answer is written here, bare; -1: it is the usual document */
    /* NULL, or events are asked for: an answer that is a stream is given piece by piece, and the reply stays empty. */
    void (*stream)(void *context, const char *bytes, size_t len);
    void *context;
};
struct reply {
    struct buf document;
    const char *result; /* inside document; not terminated */
    size_t len;
    char receipt[512];
};

void ask_init(struct ask *a, const char *method, const char *path); /* path as it is */
void ask_segment(struct ask *a, const char *text);                  /* "/text", encoded */
void ask_query(struct ask *a, const char *key, const char *value);  /* NULL value: left out */
void ask_body(struct ask *a, const json_t *object, struct buf *text);
void ask_free(struct ask *a);

/* Asks the owner of the home, or becomes it for this one request. Frees *a. 0 with *reply, or the exit status of a
 * failure that was reported. */
int ask_route(struct cli *c, struct ask *a, struct reply *reply);
/* The same without a report. 0 or -code. */
int ask_quietly(struct cli *c, struct ask *a, struct reply *reply, struct error *err);
/* For routes that answer with a file: it is written to out. 0 or the exit status of a failure that was reported. */
int ask_file(struct cli *c, struct ask *a, int out);
/* For routes that answer with events, given to a->stream: 0 when they came to an end, or the exit status of a failure
 * that was reported. An answer that is no stream after all is in *reply (result not NULL). */
int ask_events(struct cli *c, struct ask *a, struct reply *reply);
void reply_print(const struct reply *r); /* the result and a line's end, on standard output */
void reply_free(struct reply *r);        /* in any case */

/* Asks, then prints: with --json the result as it is, else what show makes of it. */
typedef void (*show_result)(struct cli *c, const json_t *result);
int ask_and_show(struct cli *c, struct ask *a, show_result show);

/* The `accept` of a route, from --accept and --accept-changes, or NULL. */
const char *cli_accept(const struct cli *c);

/* Where moat-worker and moat-helper are. */
int cli_executables(char worker[PATH_MAX], char helper[PATH_MAX], struct error *err);
/* What people are told of a home in development mode. */
extern const char cli_development[];
/* "moat 0.1.0" is said nowhere else. */
extern const char cli_version[];

/* ---- commands ---- */
int run_help(struct cli *c);
int help_command(const struct command *command);
int help_all(FILE *out);
int run_completion(struct cli *c);
int run_version(struct cli *c);
int run_doctor(struct cli *c);
int run_new(struct cli *c);
int run_keygen(struct cli *c);
int run_pack(struct cli *c);
int run_inspect(struct cli *c);
int run_validate(struct cli *c);
int run_trust_add(struct cli *c);
int run_trust_list(struct cli *c);
int run_trust_revoke(struct cli *c);
int run_trust_names(struct cli *c);
int run_trust_transfer(struct cli *c);
int run_install(struct cli *c);
int run_uninstall(struct cli *c);
int run_list(struct cli *c);
int run_search(struct cli *c);
int run_info(struct cli *c);
int run_use(struct cli *c);
int run_rollback(struct cli *c);
int run_update(struct cli *c);
int run_retire(struct cli *c);
int run_pin(struct cli *c);
int run_unpin(struct cli *c);
int run_activate(struct cli *c);
int run_deactivate(struct cli *c);
int run_deprecate(struct cli *c);
int run_archive(struct cli *c);
int run_fetch(struct cli *c);
int run_export(struct cli *c);
int run_import(struct cli *c);
int run_apply(struct cli *c);
int run_diff(struct cli *c);
int run_config_get(struct cli *c);
int run_config_history(struct cli *c);
int run_config_set(struct cli *c);
int run_config_unset(struct cli *c);
int run_load(struct cli *c);
int run_unload(struct cli *c);
int run_reload(struct cli *c);
int run_stop_all(struct cli *c);
int run_call(struct cli *c);
int run_task_run(struct cli *c);
int run_task_check(struct cli *c);
int run_task_list(struct cli *c);
int run_task_show(struct cli *c);
int run_task_cancel(struct cli *c);
int run_grant(struct cli *c);
int run_refuse(struct cli *c);
int run_revoke(struct cli *c);
int run_grants(struct cli *c);
int run_denials(struct cli *c);
int run_learn(struct cli *c);
int run_ceiling_set(struct cli *c);
int run_ceiling_list(struct cli *c);
int run_ceiling_remove(struct cli *c);
int run_source_add(struct cli *c);
int run_source_list(struct cli *c);
int run_source_remove(struct cli *c);
int run_stats(struct cli *c);
int run_forecast(struct cli *c);
int run_monitor(struct cli *c);
int run_report(struct cli *c);
int run_parameter_get(struct cli *c);
int run_parameter_set(struct cli *c);
int run_health(struct cli *c);
int run_capabilities(struct cli *c);
int run_permissions(struct cli *c);
int run_backup(struct cli *c);
int run_restore(struct cli *c);
int run_audit(struct cli *c);
int run_audit_verify(struct cli *c);
int run_audit_head(struct cli *c);
int run_audit_sign(struct cli *c);
int run_audit_rotate(struct cli *c);
int run_calls(struct cli *c);
int run_cancel(struct cli *c);
int run_why(struct cli *c);
int run_log(struct cli *c);
int run_top(struct cli *c);

int run_token_create(struct cli *c);
int run_token_list(struct cli *c);
int run_token_revoke(struct cli *c);
int run_settings_get(struct cli *c);
int run_settings_set(struct cli *c);
int run_serve(struct cli *c);
int run_secure(struct cli *c);

#endif
