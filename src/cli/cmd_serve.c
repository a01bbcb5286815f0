/* `moat serve`: owns the home for its life and answers until it is told to end. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/supervisor.h"
#include "http/http.h"

#define HOME_WAIT_NS (10 * NS_PER_S)
#define HOME_RETRY_US 20000
#define DRAIN_NS (10 * NS_PER_S)
#define CLOSE_GRACE_NS (5 * NS_PER_S)
#define TICK_NS (50 * NS_PER_MS)

struct server {
    struct service *service;
    struct rest *rest;
    struct http *http;
    struct http_options options;
    sigset_t signals;
};

/* Every connection is a descriptor: the soft limit is for programs that use select. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A command that holds the home ends soon; another server does not. */
static int open_service(struct cli *c, struct service **out, struct error *err)
{
    struct service_options options = {.home = c->home, .server = true, .secrets = &c->secrets};
    uint64_t until = clock_mono_ns() + HOME_WAIT_NS;
    for (;;) {
        int rc = service_open(&options, out, err);
        if (rc != -MOAT_E_HOME_BUSY || clock_mono_ns() > until || strstr(err->message, "server"))
            return rc;
        usleep(HOME_RETRY_US);
    }
}

static void take_limits(struct service *s, struct http_limits *out)
{
    uint64_t every = service_setting(s, "access_log_every");
    *out = (struct http_limits){
        .head_ns = service_setting(s, "http_head_time"),
        .idle_ns = service_setting(s, "http_idle_time"),
        .body_ns = service_setting(s, "http_body_time"),
        .rate = service_setting(s, "http_rate_min"),
        .connections = (unsigned)service_setting(s, "http_connections"),
        .per_address = (unsigned)service_setting(s, "http_connections_per_address"),
        .access_every = every ? (unsigned)every : UINT_MAX,
    };
}

static void settings_changed(void *server)
{
    struct server *s = server;
    struct http_limits limits;
    take_limits(s->service, &limits);
    http_limit(s->http, &limits);
}

static int start(struct cli *c, struct server *s, struct error *err)
{
    struct http_options *o = &s->options;
    o->listen = c->option[OPT_LISTEN];
    o->cert = c->option[OPT_TLS_CERT];
    o->key = c->option[OPT_TLS_KEY];
    o->insecure = cli_has(c, OPT_INSECURE_HTTP);
    o->development = cli_has(c, OPT_DEV);
    int rc = supervisor_sockets(&o->tcp_fd, &o->unix_fd, err);
    if (rc == 0)
        rc = cli_home(c, err);
    c->home.mode = o->development ? HOME_DEVELOPMENT : HOME_SECURE;
    if (rc == 0)
        rc = cli_secrets(c, err);
    if (rc == 0)
        rc = open_service(c, &s->service, err);
    if (rc == 0)
        rc = rest_new(s->service, &s->rest, err);
    if (rc == 0)
        rc = rest_resume(s->rest, err);
    if (rc == 0)
        rc = http_new(s->rest, &s->http, err);
    if (rc == 0)
        take_limits(s->service, &o->limits);
    if (rc == 0)
        rc = http_listen(s->http, o, err);
    if (rc == 0) { /* what was set meanwhile is not missed */
        service_on_settings(s->service, settings_changed, s);
        settings_changed(s);
    }
    return rc;
}

static void stop(struct server *s)
{
    if (s->http)
        http_stop(s->http);
    if (s->service)
        service_close(s->service, CLOSE_GRACE_NS);
    http_free(s->http);
    rest_free(s->rest);
}

/* As systemd tells whose output goes to its journal: JOURNAL_STREAM=DEVICE:INODE. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char its[64];
    if (!stream || fstat(fd, &st) < 0)
        return false;
    snprintf(its, sizeof its, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(its, stream) == 0;
}

/* What is shown would be kept where others than the home's owner read: none is made, the socket's peer can make one. */
static int first_token(const struct cli *c, struct server *s, char token[65], struct error *err)
{
    if (!is_journal(cli_has(c, OPT_JSON) ? STDOUT_FILENO : STDERR_FILENO))
        return service_admin_token(s->service, token, err);
    log_event(LOG_INFO, "no_token_shown", "why", "the journal keeps what is said here", "cure",
              "moat token create --scope admin", NULL);
    return 0;
}

/* The token is shown once and goes into no log: on standard error for people, in the result for programs. */
static void announce(const struct cli *c, struct server *s, const char *token)
{
    const char *socket = service_home(s->service)->socket;
    if (cli_has(c, OPT_JSON)) {
        buf_auto out = BUF_INIT(16 * 1024);
        buf_printf(&out, "{\"url\":\"%s\",\"socket\":", http_url(s->http));
        text_json_string(&out, socket);
        buf_printf(&out, ",\"pid\":%d,\"development\":\"%s\"", (int)getpid(),
                   home_development_name(service_home(s->service)->development));
        if (*token)
            buf_printf(&out, ",\"admin_token\":\"%s\"", token);
        buf_puts(&out, "}");
        puts(buf_text(&out));
        fflush(stdout);
    } else {
        fprintf(stderr, "moat: listening on %s and on the socket %s\n", http_url(s->http), socket);
        if (*token)
            fprintf(stderr, "moat: the admin token, shown this once: %s\n", token);
        if (cli_has(c, OPT_DEV))
            fputs(cli_development, stderr);
    }
    log_event(LOG_INFO, "listening", "url", http_url(s->http), "socket", socket, NULL);
}

/* true: a signal to end came within the time. A hangup asks to read again what a server that ends needs no more. */
static bool signal_within(const sigset_t *signals, uint64_t ns)
{
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    int sig = sigtimedwait(signals, NULL, &t);
    return sig > 0 && sig != SIGHUP;
}

/* Requests under way get their time; a second signal, or its end, cancels them. */
static void drain(struct server *s)
{
    uint64_t until = clock_mono_ns() + DRAIN_NS;
    http_drain(s->http);
    while (http_busy(s->http) && clock_mono_ns() < until && !signal_within(&s->signals, TICK_NS))
        ;
    if (!http_busy(s->http))
        return;
    http_abandon(s->http);
    until = clock_mono_ns() + 2 * NS_PER_S;
    while (http_busy(s->http) && clock_mono_ns() < until && !signal_within(&s->signals, TICK_NS))
        ;
}

/* SIGHUP: what a server can read again while it runs. */
static void reload(struct server *s)
{
    struct error err;
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)(clock_mono_ns() / NS_PER_US));
    supervisor_tell(state);
    if (http_reload(s->http, &err) < 0)
        log_event(LOG_ERROR, "reload_failed", "why", err.message, NULL);
    else
        log_event(LOG_INFO, "reloaded", NULL);
    supervisor_tell("READY=1");
}

static void serve(struct server *s)
{
    int sig;
    supervisor_tell("READY=1");
    while (sigwait(&s->signals, &sig) == 0 && sig == SIGHUP)
        reload(s);
    supervisor_tell("STOPPING=1");
    log_event(LOG_INFO, "ending", "signal", strsignal(sig), NULL);
    drain(s);
}

/* Local: nobody may hold the home while what it stands for changes. */
int run_secure(struct cli *c)
{
    struct error err;
    struct home_owner owner;
    fd_auto lock = -1;
    int rc = cli_home(c, &err);
    if (rc == 0)
        rc = home_lock(&c->home, false, &lock, &owner, &err);
    bool was = c->home.development == HOME_ON;
    if (rc == 0)
        rc = home_secure(&c->home, &err);
    if (rc < 0)
        return cli_fail(c, &err);
    if (cli_has(c, OPT_JSON))
        printf("{\"development\":\"%s\"}\n", home_development_name(c->home.development));
    else
        puts(was ? "This home is secure from now on: what is installed in it unsigned is refused."
                 : "This home is secure.");
    return cli_done(c);
}

int run_serve(struct cli *c)
{
    struct server s = {.options = HTTP_OPTIONS};
    struct error err;
    char token[65] = "";
    /* Threads inherit the mask: only this one meets the signals, where it waits for them. */
    sigemptyset(&s.signals);
    sigaddset(&s.signals, SIGTERM);
    sigaddset(&s.signals, SIGINT);
    sigaddset(&s.signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &s.signals, NULL);
    log_setup(STDERR_FILENO, LOG_AUTO, LOG_INFO);
    raise_descriptors();
    int rc = start(c, &s, &err);
    if (rc == 0)
        rc = first_token(c, &s, token, &err);
    if (rc == 0) {
        announce(c, &s, token);
        explicit_bzero(token, sizeof token);
        serve(&s);
    }
    stop(&s);
    return rc ? cli_fail(c, &err) : cli_done(c);
}
