#include "sandbox/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/io.h"
#include "sandbox/doctor_cure.h"
#include "sandbox/kernel.h"
#include "sandbox/wall.h"

#define CHANNEL_ROOM (64 * 1024) /* bytes; of zeros, which are no channel */
#define PATIENCE_MS 5000

/* The chain's steps in order (spawner_child.c, inside_half.c, inside_grants.c) and the layer that each one builds. */
static const struct chain_step {
    const char *name;
    enum wall_layer layer;
} chain[] = {
    {"spawner", WALL_USER_NS},
    {"uid_pool", WALL_USER_NS},
    {"pipe", WALL_USER_NS},
    {"clone3", WALL_USER_NS},
    {"setgroups", WALL_USER_NS},
    {"gid_map", WALL_USER_NS},
    {"uid_map", WALL_USER_NS},
    {"ids", WALL_USER_NS},
    {"ambient_capabilities", WALL_USER_NS},
    {"exec", WALL_USER_NS},
    {"not_dumpable", WALL_NOT_DUMPABLE},
    {"die_with_parent", WALL_PID_NS},
    {"no_new_privs", WALL_NO_NEW_PRIVS},
    {"session", WALL_PID_NS},
    {"keyring", WALL_KEYRING},
    {"host_name", WALL_UTS_NS},
    {"propagation", WALL_MOUNT_NS},
    {"private_root", WALL_ROOT},
    {"private_tmp", WALL_ROOT},
    {"no_nested_namespaces", WALL_NO_NESTED_NS},
    {"bounding_set", WALL_CAPABILITIES},
    {"limits", WALL_RLIMITS},
    {"grants", WALL_ROOT},
    {"code_tree", WALL_ROOT},
    {"root_read_only", WALL_ROOT},
    {"pivot", WALL_ROOT},
    {"detach", WALL_ROOT},
    {"capabilities", WALL_CAPABILITIES},
    {"landlock", WALL_LANDLOCK},
    {"seccomp", WALL_SECCOMP},
    {"listener", WALL_NOTIFY},
    {"descriptor_limit", WALL_RLIMITS},
    {"seccomp_last", WALL_SECCOMP},
};

#define CHAIN_STEPS (sizeof chain / sizeof *chain)

static void stop_at(struct doctor_report *r, const char *step, int errnum, const char *why)
{
    if (r->failed_step[0])
        return;
    snprintf(r->failed_step, sizeof r->failed_step, "%s", step);
    snprintf(r->failed_why, sizeof r->failed_why, "%s%s%.100s", errnum ? strerror(errnum) : "",
             errnum && why[0] ? ": " : "", why);
}

/* What a worker of the doctor's is given: the smallest assignment that touches every layer. */
struct trial {
    struct wall_request request;
    struct wall_grant grant;
    char directory[64];
};

static void trial_clear(struct trial *t)
{
    io_close(&t->request.h2w);
    io_close(&t->request.w2h);
    io_close(&t->request.bell);
    io_close(&t->request.start);
    if (t->directory[0])
        rmdir(t->directory);
}

static bool trial_init(struct trial *t)
{
    memset(t, 0, sizeof *t);
    t->request.h2w = memfd_create("moat-doctor", MFD_CLOEXEC);
    t->request.w2h = memfd_create("moat-doctor", MFD_CLOEXEC);
    t->request.start = memfd_create("moat-doctor", MFD_CLOEXEC);
    t->request.bell = eventfd(0, EFD_CLOEXEC);
    t->request.accepted = WALL_ALL;
    snprintf(t->directory, sizeof t->directory, "/tmp/moat-doctor-XXXXXX");
    if (!mkdtemp(t->directory)) {
        t->directory[0] = '\0';
        return false;
    }
    t->request.grants = &t->grant;
    t->request.ngrants = 1;
    /* The worker looks into the channel while its wall is looked at: there must be something to look at. */
    return t->request.h2w >= 0 && t->request.w2h >= 0 && t->request.start >= 0 && t->request.bell >= 0 &&
           ftruncate(t->request.h2w, CHANNEL_ROOM) == 0 && ftruncate(t->request.w2h, CHANNEL_ROOM) == 0 &&
           wall_resolve(t->directory, false, &t->grant, NULL) == 0;
}

/* One look at the worker's two sockets. false: the chain has stopped and *r says where. */
static bool follow(struct child *w, struct wall_event *event, struct doctor_report *r)
{
    struct child_event end;
    wall_next(w, event);
    if (event->kind == WALL_FAILED) {
        stop_at(r, event->step, event->errnum, event->message);
        return false;
    }
    child_next(w, &end);
    if (end.kind == CHILD_FAILED)
        stop_at(r, end.step, end.errnum, "");
    else if (end.kind == CHILD_EXITED && event->kind == WALL_NOTHING)
        stop_at(r, "spawner", 0, "the worker ended without a word");
    return end.kind != CHILD_FAILED && (end.kind != CHILD_EXITED || event->kind != WALL_NOTHING);
}

/* Waits for one kind of event, and for the pid, which comes on the other socket. */
static bool wait_for(struct child *w, enum wall_event_kind kind, struct wall_event *event, struct doctor_report *r)
{
    uint64_t until = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;
    bool seen = false;
    struct wall_event next;
    while (clock_mono_ns() < until) {
        if (!follow(w, &next, r))
            return false;
        if (next.kind == kind) {
            seen = true;
            *event = next;
        }
        if (seen && w->pid > 0)
            return true;
        struct pollfd p[2] = {{.fd = w->status, .events = POLLIN}, {.fd = w->control, .events = POLLIN}};
        poll(p, 2, 100);
    }
    stop_at(r, "spawner", ETIMEDOUT, "the worker does not answer");
    return false;
}

/* The whole chain with one worker, short of plugin code. true: *posture is what stands. */
static bool run_chain(struct spawner *s, struct trial *t, struct posture *posture, struct doctor_report *r)
{
    struct child w = CHILD_NONE;
    struct wall_event event = {.listener = -1};
    struct error err = {0};
    bool good = false;
    if (spawner_worker(s, &w, &err) != 0)
        stop_at(r, "spawner", 0, err.message);
    else if (wait_for(&w, WALL_HALF, &event, r)) {
        if (wall_assign(&w, &t->request, &err) != 0)
            stop_at(r, "grants", 0, err.message);
        else if (wait_for(&w, WALL_BUILT, &event, r)) {
            good = posture_verify(&w, &t->request, event.self, posture, &err) == 0;
            if (!good)
                stop_at(r, "posture", 0, err.message);
        }
    }
    io_close(&event.listener);
    child_kill(&w);
    child_close(&w);
    return good;
}

/* An unknown duty: the helper leaves at once, but only after its exec behind its own namespaces worked. */
static void try_helper(struct spawner *s, struct doctor_report *r)
{
    struct child c = CHILD_NONE;
    struct child_event event = {0};
    fd_auto null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct error err = {0};
    if (spawner_helper(s, "doctor", null, null, NULL, &c, &err) != 0)
        stop_at(r, "helper", 0, err.message);
    else if (!child_wait(&c, PATIENCE_MS, &event))
        stop_at(r, "helper", ETIMEDOUT, "it does not end");
    else if (event.kind == CHILD_FAILED)
        stop_at(r, "helper", event.errnum, event.step);
    child_kill(&c);
    child_close(&c);
}

static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static bool action_available(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* Layers that can be asked for without the chain. */
static uint32_t available_alone(void)
{
    uint32_t bits = WALL_BIT(NO_NEW_PRIVS) | WALL_BIT(NOT_DUMPABLE) | WALL_BIT(RLIMITS) | WALL_BIT(KEYRING);
    if (landlock_abi() >= 1)
        bits |= WALL_BIT(LANDLOCK);
    if (action_available(SECCOMP_RET_ERRNO))
        bits |= WALL_BIT(SECCOMP);
    if (action_available(SECCOMP_RET_USER_NOTIF))
        bits |= WALL_BIT(NOTIFY);
    return bits;
}

/* The chain stopped: what stood before the step, and what would work without it. */
static uint32_t standing(const char *step)
{
    const uint32_t namespaces = WALL_BIT(USER_NS) | WALL_BIT(MOUNT_NS) | WALL_BIT(PID_NS) | WALL_BIT(NET_NS) |
                                WALL_BIT(IPC_NS) | WALL_BIT(UTS_NS) | WALL_BIT(CGROUP_NS);
    uint32_t bits = available_alone();
    size_t at = 0;
    while (at < CHAIN_STEPS && strcmp(chain[at].name, step) != 0)
        at++;
    if (at == CHAIN_STEPS)
        return bits;
    if (chain[at].layer != WALL_USER_NS)
        bits |= namespaces;
    for (size_t i = 0; i < at; i++)
        if (chain[i].layer == WALL_NO_NESTED_NS || chain[i].layer == WALL_CAPABILITIES)
            bits |= 1u << chain[i].layer;
    return bits & ~(1u << chain[at].layer);
}

static void describe(struct doctor_line *line, const struct doctor_report *r)
{
    int abi = landlock_abi();
    if (line->works && line->layer == WALL_LANDLOCK)
        snprintf(line->detail, sizeof line->detail, "Landlock ABI %d", abi);
    else if (line->works)
        snprintf(line->detail, sizeof line->detail, r->failed_step[0] ? "available" : "in force");
    else if (r->failed_step[0])
        snprintf(line->detail, sizeof line->detail, "the chain stops at %.40s: %.90s", r->failed_step, r->failed_why);
    else
        snprintf(line->detail, sizeof line->detail, "could not be set up");
    if (line->works)
        return;
    snprintf(line->cost, sizeof line->cost, "%s", wall_layer_lost(line->layer));
    doctor_cure(line->layer, r->failed_step, line->cure, sizeof line->cure);
}

static void describe_kernel(struct doctor_report *r)
{
    struct utsname name;
    char who[32] = "as root";
    if (geteuid() != 0)
        snprintf(who, sizeof who, "as user %u", (unsigned)geteuid());
    uname(&name);
    int abi = landlock_abi();
    snprintf(r->kernel, sizeof r->kernel, "%.50s, Landlock ABI %d, %s", name.release, abi > 0 ? abi : 0, who);
}

void doctor_run(const char *worker_path, const char *helper_path, struct doctor_report *out)
{
    struct spawner *s = NULL;
    struct trial trial;
    struct posture posture = {0};
    struct error err = {0};
    bool walled = false;
    memset(out, 0, sizeof *out);
    describe_kernel(out);
    if (!trial_init(&trial))
        stop_at(out, "spawner", errno, "no temporary directory in /tmp");
    else if (spawner_start(worker_path, helper_path, &s, &err) != 0)
        stop_at(out, "spawner", 0, err.message);
    else
        walled = run_chain(s, &trial, &posture, out);
    /* Would the fallback do?  Its own failure is not the one to tell of. */
    struct doctor_report second = {0};
    struct posture alone;
    if (s && !walled && trial.request.h2w >= 0) {
        spawner_set_fallback(s, FALLBACK_ALWAYS);
        out->fallback = run_chain(s, &trial, &alone, &second);
    }
    uint32_t works = walled ? posture.present : standing(out->failed_step);
    if (walled && helper_path)
        try_helper(s, out);
    spawner_stop(s);
    trial_clear(&trial);
    out->complete = walled && works == WALL_ALL && !out->failed_step[0];
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        out->lines[i].layer = (enum wall_layer)i;
        out->lines[i].works = works & (1u << i);
        describe(&out->lines[i], out);
    }
}
