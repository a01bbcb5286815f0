#include "worker/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/engine/private.h"

struct engine engine;

/* What a call started ends with it, and with it what that started: this is init of their namespace, where everything
 * without a parent ends up, and nothing of a plugin computes while nobody asked it to. Repeated, because a thread of
 * the plugin may start more meanwhile; one that never stops meets its call's deadline. */
static void end_processes(void)
{
    siginfo_t ended = {0};
    if (!engine.programs || waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0)
        return;
    do
        kill(-1, SIGKILL);
    while (waitid(P_ALL, 0, &ended, WEXITED) == 0 || errno != ECHILD);
}

/* What is asked of the plugin, one handler a kind.  A handler answers exactly once. */

static void plain(bool ok, const char *code, const char *message)
{
    if (!ok)
        port_failure(&engine.port, code, message);
    else if (port_room(&engine.port, 0))
        port_result(&engine.port, 0);
}

static void not_supported(const char *what)
{
    char message[96];
    snprintf(message, sizeof message, "the plugin has no %s", what);
    port_failure(&engine.port, "not_supported", message);
}

static void run_call(const struct port_request *request)
{
    if (request->action >= engine.start.nactions) {
        port_failure(&engine.port, "no_such_action", "the worker knows no action of that number");
        return;
    }
    services_begin(request);
    bool ok = engine.plugin.execute(&engine.call, engine.start.actions[request->action], (const char *)request->payload,
                                    request->len);
    end_processes();
    services_finish(ok);
}

static void run_health(const struct port_request *request)
{
    (void)request;
    bool ok = !engine.plugin.health || engine.plugin.health();
    end_processes();
    plain(ok, "unhealthy", "the plugin says that it is not healthy");
}

static void run_configure(const struct port_request *request)
{
    if (!engine.plugin.configure) {
        not_supported("configure");
        return;
    }
    engine.refused[0] = 0;
    bool ok = engine.plugin.configure((const char *)request->payload, request->len);
    end_processes();
    plain(ok, "refused",
          engine.refused[0] ? engine.refused : "the plugin refused its configuration and gave no reason");
}

static void run_shutdown(const struct port_request *request)
{
    (void)request;
    plain(!engine.plugin.shutdown || engine.plugin.shutdown(), "failed", "the plugin's shutdown reported a failure");
}

static void run_save(const struct port_request *request)
{
    if (!engine.plugin.save_state) {
        not_supported("save_state");
        return;
    }
    services_begin(request);
    bool ok = engine.plugin.save_state(&engine.call);
    end_processes();
    services_finish(ok);
}

static void run_restore(const struct port_request *request)
{
    if (!engine.plugin.restore_state) {
        not_supported("restore_state");
        return;
    }
    engine.refused[0] = 0;
    bool ok = engine.plugin.restore_state(request->payload, request->len);
    end_processes();
    plain(ok, "refused", engine.refused[0] ? engine.refused : "the plugin refused its saved state and gave no reason");
}

static void (*const handlers[])(const struct port_request *request) = {
    [CHANNEL_CALL] = run_call,         [CHANNEL_HEALTH] = run_health, [CHANNEL_CONFIGURE] = run_configure,
    [CHANNEL_SHUTDOWN] = run_shutdown, [CHANNEL_SAVE] = run_save,     [CHANNEL_RESTORE] = run_restore,
};

/* Until the host says shutdown or closes; both are a good end. */
static void answer_requests(void)
{
    struct port_request request;
    while (port_next(&engine.port, &request)) {
        if (port_cancelled(&engine.port)) { /* before it was begun */
            port_failure(&engine.port, "cancelled", "");
            continue;
        }
        port_take(&engine.port);
        if ((size_t)request.kind < sizeof handlers / sizeof *handlers && handlers[request.kind])
            handlers[request.kind](&request);
        else
            port_failure(&engine.port, "not_supported", "the worker does not know this request");
        if (request.kind == CHANNEL_SHUTDOWN)
            return;
    }
}

/* Its file is closed before any of the plugin's code runs, as the channel's are. */
static bool map_assets(struct inside *in)
{
    bool ok = !in->assets || assets_map(in->assets, &engine.assets);
    if (in->assets)
        close(in->assets);
    in->assets = 0;
    return ok;
}

/* The channel's files are closed before any of the plugin's code, constructors included, can run. */
void engine_channel(struct inside *in)
{
    engine.unmapped = !port_open(&engine.port, in->h2w, in->w2h, in->bell);
    in->h2w = in->w2h = -1;
}

/* The same holds for the seats: with a descriptor of a file that it writes, a plugin could map its own bytes as code.
 */
static bool map_seats(struct inside *in)
{
    bool ok = !in->seats || query_init(in->seats);
    if (in->seats)
        close(in->seats);
    in->seats = 0;
    return ok;
}

/* NULL, or what is wrong. */
static const char *prepare(struct inside *in)
{
    if (engine.unmapped)
        return "the channel cannot be mapped";
    if (!start_read(in->start, &engine.start))
        return "the start file is damaged";
    if (!map_assets(in))
        return "the assets' file is damaged or cannot be mapped";
    if (!map_seats(in))
        return "the memory for queries cannot be mapped";
    if (in->net) /* the end of a connection is told by what write answers */
        signal(SIGPIPE, SIG_IGN);
    engine.programs = in->programs;
    services_init();
    overrun_init();
    return NULL;
}

int engine_serve(struct inside *in)
{
    char message[512] = "";
    /* Beside the host's look at the wall. It needs a living worker to look at: a failure is told after it. */
    const char *fault = prepare(in);
    if (!inside_wait(in))
        return 1;
    if (fault) {
        inside_failed(in, "load", fault);
        return 1;
    }
    if (!engine_load(in, message, sizeof message)) {
        inside_failed(in, "load", message);
        return 1;
    }
    if (!engine.plugin.initialize(&engine.host, engine.start.config, engine.start.config_len)) {
        inside_failed(in, "initialize", engine.refused[0] ? engine.refused : "the plugin refused and gave no reason");
        return 1;
    }
    end_processes();
    inside_ready(in);
    inside_loaded(in); /* letting go of the view waits for the kernel: beside the host, before the first call */
    answer_requests();
    return 0;
}
