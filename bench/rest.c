/* POST execute through `moat serve`, beside bare libmicrohttpd which sends as many bytes back, in blocks that take
 * turns: what a route, a token, the schema, the plugin and the receipt cost.
 *
 *     rest [PART…]      c1 c8 c32 mib flask tls idle; all of them without a name */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <moat/moat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "bench.h"
#include "http_load.h"

#define ROUNDS 24
#define BLOCK_MS 150
#define IDLE 10000

extern char **environ;

struct peer {
    pid_t pid;
    int in; /* it ends when this does; -1: it ends by a signal */
    unsigned port;
};

static char home[256], token[80];

/* ---- processes ---- */

static struct peer start(const char *const argv[], char *line, size_t size)
{
    int in[2], out[2];
    posix_spawn_file_actions_t files;
    struct peer p;
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        bench_die("no pipe");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&p.pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ))
        bench_die("cannot start %s", argv[0]);
    posix_spawn_file_actions_destroy(&files);
    close(in[0]);
    close(out[1]);
    p.in = in[1];
    FILE *f = fdopen(out[0], "r");
    if (line && (!f || !fgets(line, (int)size, f)))
        bench_die("%s said nothing", argv[0]);
    if (f)
        fclose(f);
    return p;
}

static void stop(struct peer *p)
{
    close(p->in);
    kill(p->pid, SIGTERM);
    waitpid(p->pid, NULL, 0);
}

static struct peer start_moat(const char *cert, const char *key)
{
    char moat[600], line[4096], *at;
    snprintf(moat, sizeof moat, "%s/moat", bench_build());
    const char *const argv[] = {moat, "serve",     "--json",      "--home",
                                home, "--listen",  "127.0.0.1:0", cert ? "--tls-cert" : NULL,
                                cert, "--tls-key", key,           NULL};
    struct peer p = start(argv, line, sizeof line);
    if (!(at = strstr(line, "127.0.0.1:")))
        bench_die("moat said %s", line);
    p.port = (unsigned)atoi(at + strlen("127.0.0.1:"));
    if ((at = strstr(line, "\"admin_token\":\"")))
        snprintf(token, sizeof token, "%.64s", at + strlen("\"admin_token\":\""));
    return p;
}

static struct peer start_bare(const char *cert, const char *key)
{
    char path[600], line[64];
    snprintf(path, sizeof path, "%s/bench/rest.bare", bench_build());
    const char *const argv[] = {path, cert, key, NULL};
    struct peer p = start(argv, line, sizeof line);
    p.port = (unsigned)atoi(line);
    return p;
}

static void run_quietly(const char *const argv[])
{
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)(uintptr_t)argv, environ) ||
        waitpid(pid, &status, 0) != pid || status)
        bench_die("%s failed", argv[0]);
    posix_spawn_file_actions_destroy(&quiet);
}

/* CPU time so far of a process, its threads and all that it started, in ns: workers are the spawner's children. */
static double cpu_of(pid_t pid)
{
    char pattern[64], line[4096];
    double sum = 0;
    glob_t tasks;
    snprintf(pattern, sizeof pattern, "/proc/%d/task/*/schedstat", (int)pid);
    if (glob(pattern, GLOB_NOSORT, NULL, &tasks) != 0)
        return 0;
    for (size_t i = 0; i < tasks.gl_pathc; i++) {
        FILE *f = fopen(tasks.gl_pathv[i], "re");
        double ns = 0;
        if (f && fscanf(f, "%lf", &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
        memcpy(strrchr(tasks.gl_pathv[i], '/') + 1, "children", sizeof "children"); /* shorter than "schedstat" */
        f = fopen(tasks.gl_pathv[i], "re");
        if (f && fgets(line, sizeof line, f))
            for (char *save, *one = strtok_r(line, " \n", &save); one; one = strtok_r(NULL, " \n", &save))
                sum += cpu_of(atoi(one));
        if (f)
            fclose(f);
    }
    globfree(&tasks);
    return sum;
}

/* ---- requests ---- */

static struct buf make_request(size_t parameters)
{
    struct buf b = BUF_INIT(parameters + 1024);
    buf_printf(&b,
               "POST /api/plugins/execute/echo/echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n{\"text\":\"",
               token, parameters);
    for (size_t i = strlen("{\"text\":\"\"}"); i < parameters; i++)
        buf_putc(&b, (char)('a' + i % 26));
    if (!buf_puts(&b, "\"}"))
        bench_die("out of memory");
    return b;
}

/* ---- figures ---- */

struct outcome {
    struct samples ratios, mine, theirs, latencies[2], cpu;
};

/* how: how the peer is met; Moat is met with TLS when it is, and else on keep-alive. */
static void compare(const struct peer *moat, const struct peer *bare, enum load_how how, unsigned clients,
                    size_t parameters, struct outcome *o)
{
    struct buf request = make_request(parameters);
    struct load *a = load_new(moat->port, how == LOAD_TLS ? how : LOAD_PLAIN, clients, request.data, request.len);
    struct load *b = load_new(bare->port, how, clients, request.data, request.len);
    *o = (struct outcome){0};
    load_run(a, BLOCK_MS, NULL);
    load_run(b, BLOCK_MS, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        double cpu_b = cpu_of(bare->pid);
        double theirs = load_run(b, BLOCK_MS, &o->latencies[1]);
        cpu_b = (cpu_of(bare->pid) - cpu_b) / theirs;
        double cpu_a = cpu_of(moat->pid);
        double mine = load_run(a, BLOCK_MS, &o->latencies[0]);
        cpu_a = (cpu_of(moat->pid) - cpu_a) / mine;
        samples_add(&o->mine, mine);
        samples_add(&o->theirs, theirs);
        samples_add(&o->ratios, mine / theirs);
        samples_add(&o->cpu, cpu_a / cpu_b);
    }
    load_free(a);
    load_free(b);
    buf_free(&request);
}

static void tell(const char *name, const char *reference, struct outcome *o)
{
    figure_print(&(struct figure){.name = name,
                                  .unit = "1/s",
                                  .value = samples_percentile(&o->mine, 50),
                                  .p50 = samples_percentile(&o->latencies[0], 50) / 1e3,
                                  .p99 = samples_percentile(&o->latencies[0], 99) / 1e3,
                                  .reference = reference,
                                  .reference_value = samples_percentile(&o->theirs, 50),
                                  .ratio = samples_percentile(&o->ratios, 50)});
}

static void tell_ratio(const char *name, const char *reference, double ratio)
{
    figure_print(&(struct figure){.name = name,
                                  .unit = "",
                                  .value = ratio,
                                  .p50 = -1,
                                  .p99 = -1,
                                  .reference = reference,
                                  .reference_value = 1,
                                  .ratio = ratio});
}

static void clear(struct outcome *o)
{
    samples_clear(&o->ratios);
    samples_clear(&o->mine);
    samples_clear(&o->theirs);
    samples_clear(&o->cpu);
    for (int i = 0; i < 2; i++)
        samples_clear(&o->latencies[i]);
}

static void calls(const char *name, unsigned clients, size_t parameters)
{
    struct outcome o;
    struct peer moat = start_moat(NULL, NULL), bare = start_bare(NULL, NULL);
    compare(&moat, &bare, LOAD_PLAIN, clients, parameters, &o);
    tell(name, "bare libmicrohttpd", &o);
    if (clients == 32) {
        tell_ratio("rest.cpu_ratio", "CPU a request, bare libmicrohttpd", samples_percentile(&o.cpu, 50));
        tell_ratio("rest.p99_ratio", "p99, bare libmicrohttpd",
                   samples_percentile(&o.latencies[0], 99) / samples_percentile(&o.latencies[1], 99));
    }
    clear(&o);
    stop(&moat);
    stop(&bare);
}

static void one_client(void)
{
    calls("rest.c1", 1, 64);
}

static void eight_clients(void)
{
    calls("rest.c8", 8, 64);
}

static void many_clients(void)
{
    calls("rest.c32", 32, 64);
}

static void one_mib(void)
{
    calls("rest.mib_ratio", 2, 1 << 20);
}

static void over_tls(void)
{
    char cert[300], key[300];
    struct outcome o;
    snprintf(cert, sizeof cert, "%s/cert.pem", home);
    snprintf(key, sizeof key, "%s/key.pem", home);
    const char *const openssl[] = {"openssl",
                                   "req",
                                   "-x509",
                                   "-newkey",
                                   "ec",
                                   "-pkeyopt",
                                   "ec_paramgen_curve:P-256",
                                   "-nodes",
                                   "-days",
                                   "2",
                                   "-subj",
                                   "/CN=localhost",
                                   "-keyout",
                                   key,
                                   "-out",
                                   cert,
                                   NULL};
    run_quietly(openssl);
    struct peer moat = start_moat(cert, key), bare = start_bare(cert, key);
    compare(&moat, &bare, LOAD_TLS, 8, 64, &o);
    tell("rest.tls_ratio", "bare libmicrohttpd over TLS", &o);
    clear(&o);
    stop(&moat);
    stop(&bare);
}

static void wait_for_port(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 200; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool there = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
        close(fd);
        if (there)
            return;
        usleep(50000);
    }
    bench_die("gunicorn does not answer");
}

static unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        bench_die("no free port");
    close(fd);
    return ntohs(a.sin_port);
}

static void beside_flask(void)
{
    char address[32];
    struct outcome o;
    struct peer moat = start_moat(NULL, NULL);
    struct peer flask = {.port = free_port()};
    snprintf(address, sizeof address, "127.0.0.1:%u", flask.port);
    setenv("PEER_TOKEN", token, 1);
    const char *const argv[] = {"/usr/bin/python3", "-m",         "gunicorn",       "-w", "1", "-b", address,
                                "--chdir",          BENCH_SOURCE, "flask_peer:app", NULL};
    unsigned port = flask.port;
    flask = start(argv, NULL, 0);
    flask.port = port;
    wait_for_port(port);
    compare(&moat, &flask, LOAD_CLOSED, 32, 64, &o); /* as rest.c32: neither waits for its clients */
    tell("rest.vs_flask", "Flask under gunicorn", &o);
    clear(&o);
    stop(&flask);
    stop(&moat);
}

static double rss_mib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

static void idle_connections(void)
{
    static int fds[IDLE];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < IDLE + 100) {
        fprintf(stderr, "rest.idle_mib needs %d descriptors, and there are %llu\n", IDLE + 100,
                (unsigned long long)limit.rlim_cur);
        return;
    }
    struct peer moat = start_moat(NULL, NULL);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)moat.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < IDLE; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&a, sizeof a) < 0)
            bench_die("cannot open connection %d", i);
    }
    struct buf request = make_request(64);
    struct load *l = load_new(moat.port, LOAD_PLAIN, 1, request.data, request.len); /* behind all of them */
    load_run(l, 50, NULL);
    load_free(l);
    buf_free(&request);
    figure_print(
        &(struct figure){.name = "rest.idle_mib", .unit = "MiB", .value = rss_mib(moat.pid), .p50 = -1, .p99 = -1});
    for (int i = 0; i < IDLE; i++)
        close(fds[i]);
    stop(&moat);
}

static const struct part {
    const char *name;
    void (*measure)(void);
} parts[] = {
    {"c1", one_client},      {"c8", eight_clients}, {"c32", many_clients},      {"mib", one_mib},
    {"flask", beside_flask}, {"tls", over_tls},     {"idle", idle_connections},
};
#define NPARTS (sizeof parts / sizeof *parts)

static const struct part *part_named(const char *name)
{
    for (size_t i = 0; i < NPARTS; i++)
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
    bench_die("there is no part %s: c1 c8 c32 mib flask tls idle", name);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        part_named(argv[i]);
    bench_home(home);
    struct moat *m = bench_open(home);
    bench_install(m, "echo");
    moat_close(m);
    signal(SIGPIPE, SIG_IGN);
    struct peer moat = start_moat(NULL, NULL); /* the first start tells the token */
    stop(&moat);
    for (int i = 1; i < argc; i++)
        part_named(argv[i])->measure();
    for (size_t i = 0; argc == 1 && i < NPARTS; i++)
        parts[i].measure();
    bench_cleanup(home);
    return 0;
}
