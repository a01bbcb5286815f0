/* moat/plugin.h: all that a plugin's author includes.  No library to link: the plugin exports one table, the host hands
 * it one table of services.
 *
 *     #include <moat/plugin.h>
 *     static const struct moat_host *host;
 *     static bool initialize(const struct moat_host *h, const char *config, size_t len) { host = h; return true; }
 *     static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
 *     {
 *         return host->answer(call, parameters, len);
 *     }
 *     MOAT_PLUGIN(.initialize = initialize, .execute = execute);
 *
 * Threads: the host calls the plugin from one thread, one function at a time; services may be used only from that
 * thread and only while the host is inside the plugin.
 * Text is UTF-8; JSON is RFC 8259 and was checked against the manifest's schema before the plugin sees it.
 * Both tables start with their size and only ever grow at the end. A reader checks abi first, then size. */
#ifndef MOAT_PLUGIN_H
#define MOAT_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOAT_PLUGIN_ABI 1

#ifdef __cplusplus
extern "C" {
#endif

struct moat_call; /* one running call; valid until execute returns */

enum moat_log_level { MOAT_LOG_DEBUG, MOAT_LOG_INFO, MOAT_LOG_WARN, MOAT_LOG_ERROR };

/* What the host answers to something that a call asks of it. It stays until the call asks again, or execute returns. */
struct moat_reply {
    bool ok;
    const char *data; /* ok: the answer, with a 0 behind it; else "" */
    size_t len;
    const char *code, *message; /* not ok: a name of moat/errors.h, and one line; else "" */
};

struct moat_host {
    uint32_t size; /* of this table as the host knows it */
    uint32_t abi;
    const char *plugin, *version; /* from the manifest */

    /* The result.  A call has one result: the last of answer or commit before execute returns true.
     * answer copies len bytes of JSON and gives an open room up. false: larger than this host takes, or the host has
     * gone. */
    bool (*answer)(struct moat_call *call, const char *json, size_t len);
    /* Room for a result written in place, up to capacity bytes; NULL when that is more than this host takes.
     * The room is the plugin's until commit; result_room gives up an earlier room and what was answered before. */
    char *(*result_room)(struct moat_call *call, size_t capacity);
    bool (*commit)(struct moat_call *call, size_t len);
    /* Says why the action failed: code is a short word ([a-z0-9_], at most 32), message one line. Returns false, so
     * that execute can `return host->fail(call, "overflow", "…")`. */
    bool (*fail)(struct moat_call *call, const char *code, const char *message);

    /* The call's surroundings. */
    bool (*cancelled)(const struct moat_call *call);        /* true: give up soon, or the worker is ended */
    uint64_t (*remaining_ns)(const struct moat_call *call); /* until its deadline; UINT64_MAX without one */
    void (*progress)(struct moat_call *call, unsigned thousandths, const char *message); /* message may be NULL */

    /* At any time, initialize included. One line; dropped with a count when there are too many. */
    void (*log)(enum moat_log_level level, const char *message);
    /* In initialize, configure and restore_state, before returning false: why. One line, shown to the operator. */
    void (*refuse)(const char *message);

    /* At any time, initialize included.  The bytes of one of the manifest's assets, by the path that it has there; NULL
     * when there is none.  It starts on a page, a 0 stands behind its last byte, and it stays for the process's life.
     * All workers of this version share the same memory, which nobody can write to.  len may be NULL. */
    const void *(*asset)(const char *name, size_t *len);

    /* ---- asked of the host, in execute, each under a permission of its own; never NULL; blocks until the answer is
     * there, the call is cancelled or its time is over (then say so soon: the worker is ended). ---- */

    /* agent_control: runs an action of another plugin, with the rest of this call's time. parameters is JSON; data is
     * the result's JSON. The other plugin acts with its own grants. A plugin that waits in the chain of calls already
     * is refused with call_cycle, a ninth with call_depth, a wait that could only end at its deadline with
     * would_deadlock: all at once. */
    const struct moat_reply *(*call)(struct moat_call *call, const char *plugin, const char *action,
                                     const char *parameters, size_t len);
    /* system_access: a fact of the machine as JSON: cpu_count, cpu_model, host_name, kernel, machine, memory_total
     * (bytes), operating_system, time_zone, uptime (seconds, whole minutes). name NULL: an object of all of them. */
    const struct moat_reply *(*fact)(struct moat_call *call, const char *name);

    /* database_read, database_write: one SQL statement in the data source of that name; "private" is a database of the
     * plugin's own. parameters is a JSON array for the statement's ? (SQLite) or $1 (PostgreSQL): null, true, false,
     * numbers, strings, {"base64":"…"}; NULL with len 0 for none. data is
     *     {"columns":["id","name"],"rows":[[1,"a"],[2,null]],"changes":0,"more":false}
     * with at most max_rows rows (0: as many as fit, 1 MiB). Where more is true, the same call with sql NULL gives the
     * next rows. BEGIN opens a transaction; what is not committed when the call ends is undone. data is the helper's
     * word, as anything that comes from a database is somebody's. */
    const struct moat_reply *(*query)(struct moat_call *call, const char *source, const char *sql,
                                      const char *parameters, size_t len, unsigned max_rows);

    /* network_access: a connection (TCP) to a host, by name or address. A descriptor for read, write, poll and close
     * and nothing else; 0 from read is the end. It outlives the call: it is the plugin's until it closes it, the worker
     * ends or the right is taken back, after which read says the end (or ECONNRESET) and write fails with EPIPE
     * (SIGPIPE is ignored). flags: 0 or MOAT_CONNECT_NONBLOCK. -1: why (which may be NULL) says why: permission_denied,
     * connect_failed, limit, rate_limited, … Encryption is the plugin's own business: docs/network.md. */
    int (*connect)(struct moat_call *call, const char *host, uint16_t port, unsigned flags,
                   const struct moat_reply **why);

    /* agent_control: runs a task (JSON, docs/tasks.md), one step's call at a time, with the rest of this call's time.
     * data is its document: "status", "result", "error", "steps", "receipt"; that it failed is an answer as well.
     * bad_task: it was not run, and why. Each action that its steps, fallbacks and compensations name is checked before
     * anything runs (permission_denied names the grant), of a capability those are chosen from that it may call; each
     * step is held to what `call` is held to. It ends with this call, and is not in the history. */
    const struct moat_reply *(*task)(struct moat_call *call, const char *json, size_t len);
};

#define MOAT_CONNECT_NONBLOCK 1u /* read and write answer EAGAIN instead of waiting */

struct moat_plugin {
    uint32_t size; /* of this table as the plugin knows it */
    uint32_t abi;
    /* config is the configuration as one JSON object, defaults filled in. false: the plugin is not used. */
    bool (*initialize)(const struct moat_host *host, const char *config, size_t len);
    /* parameters has len bytes and a 0 behind them; it is read-only and valid until execute returns.
     * true: the result given is the call's. false: the action failed, for the reason given to fail. */
    bool (*execute)(struct moat_call *call, const char *action, const char *parameters, size_t len);
    /* The rest may be NULL. */
    bool (*health)(void);
    /* The whole configuration again, between two calls. false: the old one stays in force, and the reason given to
     * refuse is the operator's answer. When another worker refuses, it is called again with the old one. NULL: a change
     * starts a fresh worker. */
    bool (*configure)(const char *config, size_t len);
    bool (*shutdown)(void); /* the worker ends whatever it returns */
    /* With "state": true in the manifest: hands over to the next generation.  save_state answers through host->answer
     * or in place; the blob is any bytes, 8 MiB at most. It may go on with calls after that, when the other one does
     * not take over. restore_state is called once, after initialize and before the first call; false: the old worker
     * stays, and the reason given to refuse is the operator's answer. */
    bool (*save_state)(struct moat_call *call);
    bool (*restore_state)(const void *blob, size_t len);
};

/* Exports the table. */
#ifdef __cplusplus
#define MOAT_PLUGIN_C_LINKAGE extern "C"
#else
#define MOAT_PLUGIN_C_LINKAGE extern
#endif
#define MOAT_PLUGIN(...) \
    MOAT_PLUGIN_C_LINKAGE __attribute__((visibility("default"))) const struct moat_plugin moat_plugin; \
    const struct moat_plugin moat_plugin = {.size = sizeof(struct moat_plugin), .abi = MOAT_PLUGIN_ABI, __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
