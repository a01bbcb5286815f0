/* What it costs that a plugin's connections are made by a helper and relayed.  broker.connect_us: how much longer a
 * plugin waits for a connection than a bare connect takes.  broker.relay: bytes from a TCP peer to a plugin, against
 * the same bytes over a bare Unix pair; broker.relay_out: the other way.  The peer is on loopback.  What a transport
 * over TCP allows at all stands beside: broker.relay_tcp and broker.relay_out_tcp are the same bytes against a bare TCP
 * connection to the same peer from a process of its own, as a plugin is one.  Root measures in a network of its own:
 * the machine's may have a congestion control that paces what it sends, as BBR does, and is several times as slow on
 * loopback.  The reference's name tells which one it was. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"
#include "broker_parts.h"

#define BLOCK 65536
#define BYTES (256ull << 20) /* of one turn */
#define TURNS 7
#define CONNECTS 200
#define CONNECT_TURNS 5

#define CONTROL "/proc/sys/net/ipv4/tcp_congestion_control"

static char block[BLOCK];

/* ---- the network ---- */

/* Before there is a thread or a child that is to be in it. */
static void own_network(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return; /* no root's: the machine's */
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int link = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), control = open(CONTROL, O_WRONLY | O_CLOEXEC);
    if (link < 0 || ioctl(link, SIOCSIFFLAGS, &lo) < 0 || control < 0 || write(control, "reno", 4) != 4)
        bench_die("cannot set up a network of its own");
    close(link);
    close(control);
}

static void congestion_control(char out[16])
{
    FILE *f = fopen(CONTROL, "re");
    if (!f || fscanf(f, "%15s", out) != 1)
        bench_die("there is no " CONTROL);
    fclose(f);
}

/* ---- the peer: a thread for each connection ---- */

static void source(int fd)
{
    while (write(fd, block, BLOCK) > 0)
        ;
}

/* Says so when all has come. */
static void sink(int fd)
{
    static char taken[BLOCK];
    uint64_t got = 0;
    for (ssize_t n; got < BYTES && (n = read(fd, taken, BLOCK)) > 0;)
        got += (uint64_t)n;
    if (write(fd, "d", 1) == 1)
        while (read(fd, taken, BLOCK) > 0)
            ;
}

static void quiet(int fd)
{
    char c;
    while (read(fd, &c, 1) > 0)
        ;
}

struct service {
    void (*serve)(int fd);
    int fd;
    unsigned port;
};

static void *serve_one(void *context)
{
    struct service s = *(struct service *)context;
    free(context);
    s.serve(s.fd);
    close(s.fd);
    return NULL;
}

static void thread_for(void *(*run)(void *), const struct service *s)
{
    pthread_t thread;
    struct service *copy = malloc(sizeof *copy);
    if (!copy)
        bench_die("no memory for the peer");
    *copy = *s;
    if (pthread_create(&thread, NULL, run, copy))
        bench_die("no thread for the peer");
    pthread_detach(thread);
}

static void *accept_all(void *context)
{
    struct service s = *(struct service *)context, one = s;
    free(context);
    while ((one.fd = accept(s.fd, NULL, NULL)) >= 0)
        thread_for(serve_one, &one);
    return NULL;
}

static void service_open(struct service *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&at, size) < 0 || listen(s->fd, 64) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&at, &size) < 0)
        bench_die("the peer cannot listen");
    s->port = ntohs(at.sin_port);
    thread_for(accept_all, s);
}

static struct service to_plugin = {.serve = source}, from_plugin = {.serve = sink}, silent = {.serve = quiet};

/* ---- the plugin ---- */

static struct moat *m;

/* What the plugin's clock says, ns each. */
static void ask(unsigned port, const char *more, struct samples *out)
{
    char parameters[200];
    snprintf(parameters, sizeof parameters, "{\"host\":\"127.0.0.1\",\"port\":%u,%s}", port, more);
    struct moat_call_data call = {.size = sizeof call, .plugin = "dialer", .action = "time", .parameters = parameters};
    if (moat_call(m, &call))
        bench_die("time: %s", call.error.message);
    const char *at = call.result;
    for (char *end; *at == '[' || *at == ','; at = end)
        samples_add(out, (double)strtoull(at + 1, &end, 10));
    moat_free(call.result);
}

static double ask_bytes(unsigned port, bool out)
{
    char more[80];
    struct samples s = {0};
    snprintf(more, sizeof more, "\"bytes\":%llu%s", BYTES, out ? ",\"out\":true" : "");
    ask(port, more, &s);
    double ns = samples_percentile(&s, 50);
    samples_clear(&s);
    return ns;
}

/* ---- the references ---- */

/* -1: it fails. */
static int dial(unsigned port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? fd : -1;
}

static double bare_connect(void)
{
    uint64_t from = clock_mono_ns();
    int fd = dial(silent.port);
    if (fd < 0)
        bench_die("a bare connect fails");
    double ns = (double)(clock_mono_ns() - from);
    close(fd);
    return ns;
}

static double bare_pair(void)
{
    static char taken[BLOCK];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        bench_die("no Unix pair");
    uint64_t from = clock_mono_ns(), left = BYTES;
    thread_for(serve_one, &(struct service){.serve = source, .fd = ends[0]});
    for (ssize_t n; left; left -= (uint64_t)n < left ? (uint64_t)n : left)
        if ((n = read(ends[1], taken, BLOCK)) <= 0)
            bench_die("the pair ends");
    double ns = (double)(clock_mono_ns() - from);
    close(ends[1]);
    return ns;
}

/* What the plugin does with its connection (tests/plugins/dialer), without a relay.  0: it failed. */
static uint64_t time_bytes(unsigned port, bool out)
{
    static char taken[BLOCK];
    int fd = dial(port);
    if (fd < 0)
        return 0;
    uint64_t from = clock_mono_ns(), left = BYTES;
    for (ssize_t n; left; left -= (uint64_t)n < left ? (uint64_t)n : left)
        if ((n = out ? write(fd, block, BLOCK) : read(fd, taken, BLOCK)) <= 0)
            return 0;
    return out && read(fd, taken, 1) != 1 ? 0 : clock_mono_ns() - from;
}

/* In a process of its own, which has no thread and so does only what is safe after a fork. */
static double bare_tcp(unsigned port, bool out)
{
    int told[2];
    uint64_t ns = 0;
    if (pipe(told) < 0)
        bench_die("no pipe");
    pid_t child = fork();
    if (child == 0) {
        ns = time_bytes(port, out);
        _exit(write(told[1], &ns, sizeof ns) != sizeof ns);
    }
    close(told[1]); /* a child that dies is an end of file */
    if (child < 0 || read(told[0], &ns, sizeof ns) != sizeof ns || !ns)
        bench_die("a bare TCP connection fails");
    waitpid(child, NULL, 0);
    close(told[0]);
    return (double)ns;
}

/* ---- the figures ---- */

static void connects(void)
{
    struct samples brokered = {0}, bare = {0};
    char more[40];
    snprintf(more, sizeof more, "\"times\":%d", CONNECTS);
    for (int i = 0; i < CONNECT_TURNS; i++) {
        ask(silent.port, more, &brokered);
        for (int k = 0; k < CONNECTS; k++)
            samples_add(&bare, bare_connect());
    }
    double p50 = samples_percentile(&brokered, 50), reference = samples_percentile(&bare, 50);
    figure_print(&(struct figure){.name = "broker.connect_us",
                                  .unit = "us",
                                  .reference = "bare connect",
                                  .value = (p50 - reference) / 1e3,
                                  .p50 = p50 / 1e3,
                                  .p99 = samples_percentile(&brokered, 99) / 1e3,
                                  .reference_value = reference / 1e3,
                                  .ratio = (p50 - reference) / reference});
    samples_clear(&brokered);
    samples_clear(&bare);
}

static double per_second(double ns)
{
    return (double)BYTES / (1 << 20) * 1e9 / ns;
}

static void print_speed(const char *name, double value, const char *reference, double reference_value)
{
    figure_print(&(struct figure){.name = name,
                                  .unit = "MiB/s",
                                  .reference = reference,
                                  .value = value,
                                  .p50 = -1,
                                  .p99 = -1,
                                  .reference_value = reference_value,
                                  .ratio = value / reference_value});
}

static void relay(const char *name, unsigned port, bool out)
{
    struct samples relayed = {0}, pairs = {0}, tcps = {0};
    char name_tcp[40], control[16], reference[64];
    for (int i = 0; i < TURNS; i++) {
        samples_add(&relayed, ask_bytes(port, out));
        samples_add(&pairs, bare_pair());
        samples_add(&tcps, bare_tcp(port, out));
    }
    double value = per_second(samples_percentile(&relayed, 50)), pair = per_second(samples_percentile(&pairs, 50)),
           tcp = per_second(samples_percentile(&tcps, 50));
    print_speed(name, value, "bare Unix pair", pair);
    snprintf(name_tcp, sizeof name_tcp, "%s_tcp", name);
    congestion_control(control);
    snprintf(reference, sizeof reference, "bare TCP (%s), %.2f of the pair", control, tcp / pair);
    print_speed(name_tcp, value, reference, tcp);
    samples_clear(&relayed);
    samples_clear(&pairs);
    samples_clear(&tcps);
}

void broker_net(void)
{
    char home[256], grant[64];
    signal(SIGPIPE, SIG_IGN);
    own_network();
    bench_home(home);
    bench_setting(home, "network_connects", "0");
    service_open(&to_plugin);
    service_open(&from_plugin);
    service_open(&silent);
    m = bench_open(home);
    snprintf(grant, sizeof grant, "network_access=127.0.0.1:*");
    bench_install_granted(m, "dialer", (const char *const[]){grant}, 1);
    connects();
    relay("broker.relay", to_plugin.port, false);
    relay("broker.relay_out", from_plugin.port, true);
    moat_close(m);
    bench_cleanup(home);
}
