#include "rig.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "sandbox/doctor.h"
#include "sandbox/kernel.h"

void rig_user(char **argv)
{
    const char *uid = getenv("MOAT_TEST_UID");
    if (!uid || geteuid() == (uid_t)atoi(uid))
        return;
    unsetenv("MOAT_TEST_UID");
    id_t id = (id_t)atoi(uid);
    if (geteuid() != 0 || setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id)) {
        puts("1..0 # skipped: only root can become another user");
        exit(0);
    }
    /* exec, so that the process is dumpable again, as a program that was started by that user is. */
    execv("/proc/self/exe", argv);
    puts("1..0 # skipped: the build directory cannot be read by that user");
    exit(0);
}

static uint32_t lacking;

uint32_t rig_lacking(void)
{
    return lacking;
}

void rig_needs_wall(void)
{
    struct doctor_report report;
    bool must = getenv("MOAT_WALL_MUST_WORK") != NULL;
    doctor_run(rig_path("WORKER"), getenv("HELPER"), &report);
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        if (report.lines[i].works)
            continue;
        lacking |= 1u << i;
        print_message("# this machine lacks %s: %s\n", wall_layer_name(report.lines[i].layer), report.lines[i].detail);
    }
    if (must && !report.complete)
        exit(1);
    if (report.failed_step[0]) {
        printf("1..0 # skipped: the chain stops at %s: %s\n", report.failed_step, report.failed_why);
        exit(0);
    }
}

void rig_skipped(const char *test, const char *why)
{
    if (getenv("MOAT_WALL_MUST_WORK"))
        fail_msg("%s: %s", test, why);
    print_message("# skipped %s: %s\n", test, why);
}

const char *rig_path(const char *name)
{
    const char *path = getenv(name);
    if (!path)
        fail_msg("%s is not set: run this through meson test", name);
    return path;
}

void rig_directory(char out[64])
{
    strcpy(out, "/tmp/moat-wall-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    return remove(path);
}

void rig_remove(const char *directory)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void rig_write(const char *directory, const char *name, const char *text, unsigned mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    fchmod(fd, mode);
    close(fd);
}

void rig_grant(struct rig_order *o, const char *path, bool writable)
{
    struct error err = {0};
    if (wall_resolve(path, writable, &o->grants[o->ngrants], &err) != 0)
        fail_msg("%s", err.message);
    o->ngrants++;
}

struct spawner *rig_spawner(void)
{
    struct spawner *s = NULL;
    struct error err = {0};
    if (spawner_start(rig_path("WORKER"), getenv("HELPER"), &s, &err) != 0)
        fail_msg("%s", err.message);
    return s;
}

static int sealed_code(const char *name)
{
    buf_auto so = BUF_INIT(16 << 20);
    struct error err = {0};
    if (io_read_file(rig_path(name), &so, &err) != 0)
        fail_msg("%s", err.message);
    int fd = io_sealed("code", so.data, so.len);
    assert_true(fd >= 0);
    return fd;
}

void rig_open(struct rig *g, struct spawner *s, const struct rig_order *o)
{
    struct error err = {0};
    memset(g, 0, sizeof *g);
    g->s = s;
    g->child = CHILD_NONE;
    g->listener = -1;
    g->request.grants = o->grants;
    g->request.ngrants = o->ngrants;
    g->request.execute_code = o->execute_code;
    g->request.programs = o->programs;
    g->request.nprograms = o->nprograms;
    g->request.assets = o->assets;
    g->request.accepted = o->accepted | lacking;
    g->request.libraries = o->libraries;
    g->request.limits = o->limits;
    g->request.h2w = memfd_create("h2w", MFD_CLOEXEC);
    g->request.w2h = memfd_create("w2h", MFD_CLOEXEC);
    g->request.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->request.start = io_sealed("start", o->script, strlen(o->script));
    if (!o->no_code)
        g->request.code[g->request.ncode++] = sealed_code(o->code ? o->code : "PROBE");
    if (spawner_worker(s, &g->child, &err) != 0)
        fail_msg("%s", err.message);
}

void rig_close(struct rig *g)
{
    child_kill(&g->child);
    child_close(&g->child);
    io_close(&g->listener);
    io_close(&g->request.h2w);
    io_close(&g->request.w2h);
    io_close(&g->request.bell);
    io_close(&g->request.start);
    for (size_t i = 0; i < g->request.ncode; i++)
        io_close(&g->request.code[i]);
}

static void drain_output(struct rig *g, struct rig_result *r)
{
    size_t used = strlen(r->output);
    ssize_t n;
    while (used + 1 < sizeof r->output &&
           (n = read(g->child.output, r->output + used, sizeof r->output - 1 - used)) > 0)
        used += (size_t)n;
    r->output[used] = '\0';
}

static int leave_next(int listener)
{
    union {
        struct seccomp_notif asked;
        char room[256];
    } q = {.room = {0}};
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return 0;
    if (!(p.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &q.asked) < 0)
        return -1;
    struct seccomp_notif_resp answer = {.id = q.asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return 1;
}

static void drain_events(struct rig *g, const struct rig_order *o, struct rig_result *r)
{
    struct explain_event e = {.denied = false};
    while (g->listener >= 0) {
        int got = o->leave_all ? leave_next(g->listener) : explain_next(g->listener, &g->child, &g->request, &e);
        if (got < 0)
            io_close(&g->listener);
        if (got != 1)
            return;
        if (e.denied && r->nevents < RIG_EVENTS)
            r->events[r->nevents++] = e;
    }
}

static void built(struct rig *g, struct rig_result *r, const struct wall_event *e)
{
    r->built = true;
    g->listener = e->listener;
    if (g->listener >= 0)
        explain_setup(g->listener);
    r->posture = posture_verify(&g->child, &g->request, e->self, &r->seen, &r->error);
    if (r->posture == 0)
        assert_true(wall_go(&g->child));
    else
        child_kill(&g->child);
}

static void drain_wall(struct rig *g, const struct rig_order *o, struct rig_result *r)
{
    for (;;) {
        struct wall_event e;
        wall_next(&g->child, &e);
        if (e.kind == WALL_NOTHING || r->gone)
            return;
        if (e.kind == WALL_HALF)
            r->half = true;
        else if (e.kind == WALL_BUILT)
            built(g, r, &e);
        else if (e.kind == WALL_READY)
            r->ready = true;
        else if (e.kind == WALL_FAILED)
            r->failed = e;
        else
            r->gone = true;
        if (e.kind == WALL_READY && o->kill_when_ready)
            child_kill(&g->child);
        if (e.kind == WALL_FAILED)
            child_kill(&g->child);
    }
}

/* Serves the worker until *flag is set or it has ended; false when patience ran out. */
bool rig_until(struct rig *g, const struct rig_order *o, struct rig_result *r, const bool *flag, int patience_ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)patience_ms * NS_PER_MS;
    bool assigned = r->built;
    for (;;) {
        if (clock_mono_ns() > until)
            return false;
        struct pollfd p[4] = {{.fd = g->child.status, .events = POLLIN},
                              {.fd = r->gone ? -1 : g->child.control, .events = POLLIN},
                              {.fd = g->child.output, .events = POLLIN},
                              {.fd = g->listener, .events = POLLIN}};
        if (p[2].fd >= 0 && r->gone)
            p[2].fd = -1;
        poll(p, 4, 50);
        struct child_event e;
        child_next(&g->child, &e);
        r->pid = g->child.pid;
        r->uid = g->child.uid;
        drain_wall(g, o, r);
        drain_events(g, o, r);
        drain_output(g, r);
        if (flag && *flag && g->child.pid > 0)
            return true;
        if (r->half && !assigned && g->child.pid > 0) {
            assigned = true;
            r->assign = wall_assign(&g->child, &g->request, &r->error);
            if (r->assign)
                child_kill(&g->child);
        }
        if (e.kind == CHILD_EXITED || e.kind == CHILD_FAILED) {
            drain_wall(g, o, r);
            drain_output(g, r);
            r->end = e;
            return flag == NULL || *flag;
        }
    }
}

void rig_run(struct spawner *s, const struct rig_order *order, struct rig_result *r)
{
    struct rig g;
    memset(r, 0, sizeof *r);
    rig_open(&g, s, order);
    bool ended = rig_until(&g, order, r, NULL, order->patience_ms ? order->patience_ms : 10000);
    rig_close(&g);
    if (!ended)
        fail_msg("the worker does not end; it said:\n%s", r->output);
}

void rig_outside(const char *script, char *output, size_t size)
{
    int ends[2], status;
    size_t used = 0;
    ssize_t n;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        setenv("MOAT_PROBE_OUTSIDE", "1", 1);
        void *code = dlopen(rig_path("PROBE"), RTLD_NOW);
        int (*run)(const char *, int, int) = NULL;
        if (code)
            *(void **)&run = dlsym(code, "probe_main");
        _exit(run ? run(script, -1, -1) : 99);
    }
    close(ends[1]);
    while (used + 1 < size && (n = read(ends[0], output + used, size - 1 - used)) > 0)
        used += (size_t)n;
    output[used] = '\0';
    close(ends[0]);
    waitpid(pid, &status, 0);
}

static bool has_line(const char *output, const char *line)
{
    size_t len = strlen(line);
    for (const char *p = output; (p = strstr(p, line)); p += len)
        if ((p == output || p[-1] == '\n') && (p[len] == '\n' || p[len] == '\0'))
            return true;
    return false;
}

void rig_expect(const struct rig_result *r, const char *attempt, const char *answer)
{
    char line[1200];
    snprintf(line, sizeof line, "%s -> %s", attempt, answer);
    if (!has_line(r->output, line))
        fail_msg("expected `%s`; failed step `%s` (%s, errno %d); the worker said:\n%s", line, r->failed.step,
                 r->failed.message, r->failed.errnum, r->output);
}

static void print_events(const struct rig_result *r)
{
    for (size_t i = 0; i < r->nevents; i++)
        print_message("# event: %s `%s` permission %d wall %s\n", r->events[i].operation, r->events[i].object,
                      r->events[i].permission, r->events[i].wall);
}

void rig_event_permission(const struct rig_result *r, const char *operation, int permission)
{
    for (size_t i = 0; i < r->nevents; i++)
        if (strcmp(r->events[i].operation, operation) == 0 && r->events[i].permission == permission)
            return;
    print_events(r);
    fail_msg("no event `%s` with permission %d", operation, permission);
}

const struct explain_event *rig_event(const struct rig_result *r, const char *operation, const char *object)
{
    for (size_t i = 0; i < r->nevents; i++)
        if (strcmp(r->events[i].operation, operation) == 0 && (!object || strcmp(r->events[i].object, object) == 0))
            return &r->events[i];
    print_events(r);
    fail_msg("no event `%s` on `%s`", operation, object ? object : "");
    return NULL;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    char *after = n > 0 ? strrchr(text, ')') : NULL;
    int parent = -1;
    if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
        return -1;
    return parent;
}

size_t rig_descendants(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;
    size_t count = 0;
    while (proc && (e = readdir(proc))) {
        pid_t p = (pid_t)atoi(e->d_name);
        for (int depth = 0; p > 1 && depth < 16; depth++) {
            p = parent_of(p);
            if (p == getpid()) {
                count++;
                break;
            }
        }
    }
    if (proc)
        closedir(proc);
    return count;
}

size_t rig_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}
