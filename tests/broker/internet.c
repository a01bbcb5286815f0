#include "internet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct internet_seen *internet_seen;
static pid_t far_end = -1;

/* ---- name server ---- */

static const struct {
    const char *name, *v4, *v6;
} names[] = {
    {"echo.test", "9.9.9.3", NULL},
    {"wild.echo.test", "9.9.9.3", NULL},
    {"private.test", "10.77.0.2", NULL},
    {"both.test", "10.77.0.2 9.9.9.3", NULL},
    {"own.test", "9.9.9.1", NULL},
    {"loop.test", "127.0.0.1", NULL},
    {"six.test", NULL, "::1"},
    {"mapped.test", NULL, "::ffff:127.0.0.1"},
    {"metadata.test", "169.254.169.254", NULL},
    {"flip.test", "9.9.9.3", NULL},
};

/* The name of a query, lower case; where what follows it stands. */
static size_t read_name(const uint8_t *p, size_t len, char *out, size_t size)
{
    size_t at = 12, used = 0;
    while (at < len && p[at]) {
        size_t n = p[at++];
        if (at + n > len || used + n + 2 > size)
            return 0;
        if (used)
            out[used++] = '.';
        for (size_t i = 0; i < n; i++, at++)
            out[used++] = (char)(p[at] >= 'A' && p[at] <= 'Z' ? p[at] + 32 : p[at]);
    }
    out[used] = '\0';
    return at + 1;
}

static size_t put_answers(uint8_t *out, const char *list, int family, unsigned type, uint8_t *count)
{
    char copy[128];
    size_t len = 0, width = family == AF_INET ? 4 : 16;
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *save = NULL, *one = strtok_r(copy, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
        const uint8_t head[] = {0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 1, 0, (uint8_t)width};
        memcpy(out + len, head, sizeof head);
        inet_pton(family, one, out + len + sizeof head);
        len += sizeof head + width;
        ++*count;
    }
    return len;
}

static size_t answer(uint8_t *p, size_t len)
{
    static unsigned flips;
    char name[256];
    size_t at = read_name(p, len, name, sizeof name);
    if (at == 0 || at + 4 > len || strcmp(name, "silent.test") == 0)
        return 0;
    unsigned type = p[at + 1];
    atomic_fetch_add(&internet_seen->queries, 1);
    p[2] = 0x85;
    p[3] = 0x83; /* no such name */
    memset(p + 6, 0, 6);
    at += 4;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) != 0)
            continue;
        bool flipped = strcmp(name, "flip.test") == 0 && type == 1 && flips++ > 0;
        p[3] = 0x80;
        at += type == 1    ? put_answers(p + at, flipped ? "127.0.0.1" : names[i].v4, AF_INET, type, &p[7])
              : type == 28 ? put_answers(p + at, names[i].v6, AF_INET6, type, &p[7])
                           : 0;
    }
    return at;
}

static void *serve_names(void *argument)
{
    int fd = *(int *)argument;
    uint8_t packet[1024];
    struct sockaddr_in from;
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &size);
        size_t len = n >= 17 ? answer(packet, (size_t)n) : 0;
        if (len)
            sendto(fd, packet, len, 0, (struct sockaddr *)&from, size);
    }
    return NULL;
}

/* ---- servers, one thread a connection ---- */

static void echo(int fd)
{
    char buffer[65536];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        for (ssize_t done = 0, w; done < n; done += w)
            if ((w = write(fd, buffer + done, (size_t)(n - done))) <= 0)
                return;
}

/* A page, then nothing before it is told; it counts what comes. */
static void sink(int fd)
{
    char buffer[4096];
    ssize_t n = read(fd, buffer, sizeof buffer);
    atomic_fetch_add(&internet_seen->sink_bytes, n > 0 ? (uint64_t)n : 0);
    while (!atomic_load(&internet_seen->sink_reads))
        poll(NULL, 0, 1);
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        atomic_fetch_add(&internet_seen->sink_bytes, (uint64_t)n);
    atomic_fetch_add(n < 0 && errno == ECONNRESET ? &internet_seen->reset : &internet_seen->ended, 1);
}

static void source(int fd)
{
    static const char bytes[65536];
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
    atomic_fetch_add(&internet_seen->reset, 1);
}

static void held(int fd)
{
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        ;
    atomic_fetch_add(n < 0 ? &internet_seen->reset : &internet_seen->ended, 1);
}

static const struct {
    uint16_t port;
    void (*serve)(int fd);
} servers[] = {{INTERNET_ECHO, echo}, {INTERNET_SINK, sink}, {INTERNET_SOURCE, source}, {INTERNET_HELD, held}};

struct served {
    void (*serve)(int fd);
    int fd;
};

static void *serve_one(void *argument)
{
    struct served s = *(struct served *)argument;
    free(argument);
    s.serve(s.fd);
    close(s.fd);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct served *s = argument;
    for (;;) {
        struct served *one = malloc(sizeof *one);
        pthread_t thread;
        *one = (struct served){s->serve, accept(s->fd, NULL, NULL)};
        atomic_fetch_add(&internet_seen->accepted, 1);
        if (one->fd < 0 || pthread_create(&thread, NULL, serve_one, one))
            _exit(1);
        pthread_detach(thread);
    }
    return NULL;
}

static int bound(int kind, const char *address, uint16_t port)
{
    static const int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

static _Noreturn void run_far_end(int ready)
{
    static int dns;
    static struct served listening[sizeof servers / sizeof *servers];
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    dns = bound(SOCK_DGRAM, "9.9.9.2", 53);
    if (dns < 0 || pthread_create(&thread, NULL, serve_names, &dns))
        _exit(1);
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        listening[i] = (struct served){servers[i].serve, bound(SOCK_STREAM, "0.0.0.0", servers[i].port)};
        if (listening[i].fd < 0 || listen(listening[i].fd, 128) < 0 ||
            pthread_create(&thread, NULL, accept_all, &listening[i]))
            _exit(1);
    }
    if (write(ready, "r", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* ---- the two namespaces ---- */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* An ordinary user becomes root of a user namespace of its own first. */
static bool move(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (uid == 0)
        return unshare(CLONE_NEWNET) == 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || !write_text("/proc/self/setgroups", "deny"))
        return false;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
    if (!write_text("/proc/self/gid_map", map))
        return false;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    return write_text("/proc/self/uid_map", map);
}

/* `ip` with these words, which spaces part. */
static bool ip(const char *words)
{
    char copy[128], name[] = "ip", *argv[16] = {name}, *rest = copy;
    size_t n = 1;
    pid_t pid;
    int status;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; n < 15 && (word = strsep(&rest, " "));)
        argv[n++] = word;
    return posix_spawnp(&pid, "ip", NULL, NULL, argv, environ) == 0 && waitpid(pid, &status, 0) == pid &&
           WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run(const char *const *lines)
{
    bool good = true;
    for (; good && *lines; lines++)
        good = ip(*lines);
    return good;
}

static const char *const far_lines[] = {"link set lo up",
                                        "link set far up",
                                        "addr add 10.77.0.2/24 dev far",
                                        "addr add 9.9.9.2/24 dev far",
                                        "addr add 9.9.9.3/24 dev far",
                                        NULL};

bool internet_open(const char **why)
{
    int go[2], ready[2];
    char pair[80], c;
    internet_seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *why = "no network namespace can be made here";
    if (internet_seen == MAP_FAILED || !move() || pipe2(go, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0)
        return false;
    far_end = fork();
    if (far_end == 0) {
        if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "u", 1) != 1 || read(go[0], &c, 1) != 1 || !run(far_lines))
            _exit(1);
        run_far_end(ready[1]);
    }
    close(ready[1]);
    snprintf(pair, sizeof pair, "link add near type veth peer name far netns %d", (int)far_end);
    const char *const near_lines[] = {"link set lo up",
                                      pair,
                                      "link set near up",
                                      "addr add 10.77.0.1/24 dev near",
                                      "addr add 9.9.9.1/24 dev near",
                                      NULL};
    *why = "no veth can be made here (iproute2)";
    if (read(ready[0], &c, 1) != 1 || !run(near_lines) || write(go[1], "g", 1) != 1)
        return false;
    *why = "the servers of the far end do not start";
    return read(ready[0], &c, 1) == 1;
}

void internet_close(void)
{
    kill(far_end, SIGKILL);
    waitpid(far_end, NULL, 0);
}
