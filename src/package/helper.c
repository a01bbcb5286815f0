#include "package/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "wire/archive.h"

#define MIB (1024ull * 1024)
#define PIPE_SIZE (1024 * 1024)
#define GRACE_MS 2000
#define KILL_ROUND_MS 50
#define KILL_ROUNDS 100

/* Address space, not memory: what it does not touch costs nothing. */
static struct wall_limits limits_for(uint64_t bytes)
{
    return (struct wall_limits){
        .memory = 256 * MIB + bytes,
        .cpu_seconds = 2 + (uint32_t)(bytes / (16 * MIB)),
    };
}

int helper_begin(struct helper *h, struct spawner *spawner, const char *duty, int input, uint64_t bytes,
                 uint64_t timeout_ns, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make a pipe for the helper");
    fd_auto reading = ends[0], writing = ends[1];
    /* A larger pipe saves switches; a refusal (the user's quota of pipes) costs nothing else. */
    fcntl(reading, F_SETPIPE_SZ, PIPE_SIZE);
    if (fcntl(reading, F_SETFL, O_NONBLOCK) < 0)
        return error_errno(err, MOAT_E_INTERNAL, errno, "cannot set up a pipe for the helper");
    struct wall_limits limits = limits_for(bytes);
    *h = (struct helper){
        .child = CHILD_NONE, .output = -1, .until = clock_mono_ns() + timeout_ns, .cpu_seconds = limits.cpu_seconds};
    int rc = spawner_helper(spawner, duty, input, writing, &limits, &h->child, err);
    if (rc)
        return rc;
    h->output = io_steal(&reading);
    return 0;
}

ssize_t helper_read(struct helper *h, void *data, size_t len, struct error *err)
{
    for (;;) {
        ssize_t n = read(h->output, data, len);
        if (n >= 0) {
            h->ended = n == 0;
            return n;
        }
        if (errno != EAGAIN && errno != EINTR)
            return error_errno(err, MOAT_E_INTERNAL, errno, "cannot read from the helper");
        uint64_t now = clock_mono_ns();
        if (now >= h->until)
            return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper did not answer in time and was ended");
        struct pollfd p = {.fd = h->output, .events = POLLIN};
        poll(&p, 1, (int)((h->until - now) / NS_PER_MS + 1));
    }
}

/* Somebody else's SIGKILL, the spawner's death included, says nothing about the package.  The kernel sends one to
 * whoever used up its processor time, and that does. */
static bool killed_from_outside(const struct helper *h, const struct child_event *end)
{
    const struct rusage *u = &end->usage;
    return WIFSIGNALED(end->wait_status) && WTERMSIG(end->wait_status) == SIGKILL &&
           u->ru_utime.tv_sec + u->ru_stime.tv_sec + 1 < (time_t)h->cpu_seconds;
}

/* Its end in words; 0 when it ended as it should. */
static int explain(const struct helper *h, const struct child_event *end, struct error *err)
{
    int status = end->wait_status;
    if (killed_from_outside(h, end))
        return error_set(err, MOAT_E_START_FAILED,
                         "the helper that looks into packages was killed before it had an answer: try again");
    if (end->kind == CHILD_FAILED)
        return error_errno(err, MOAT_E_WALL_MISSING, end->errnum, "the helper's wall cannot be built: %s", end->step);
    if (WIFSIGNALED(status))
        return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper was ended by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
    switch (WEXITSTATUS(status)) {
    case HELPER_DONE:
        return 0;
    case HELPER_NO_LOCK:
        return error_set(err, MOAT_E_WALL_MISSING, "the helper could not lock itself in");
    case HELPER_NO_MEMORY:
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "the helper's memory was not enough");
    default:
        return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper gave up with status %d", WEXITSTATUS(status));
    }
}

/* Until its process id is known it cannot be killed: that takes a moment after the start. */
static bool kill_and_wait(struct child *c, struct child_event *end)
{
    for (int i = 0; i < KILL_ROUNDS; i++) {
        child_kill(c);
        if (child_wait(c, KILL_ROUND_MS, end))
            return true;
    }
    return false;
}

int helper_finish(struct helper *h, int rc, struct error *err)
{
    struct child_event end = {0};
    /* One that has closed its output is at its end, and how it ends is worth waiting for. */
    bool known = h->ended && child_wait(&h->child, GRACE_MS, &end);
    if (!known && !kill_and_wait(&h->child, &end) && rc == 0)
        rc = error_set(err, MOAT_E_INTERNAL, "the helper does not end");
    if (known && (rc == 0 || h->ended)) {
        struct error why;
        int ended = explain(h, &end, &why);
        if (ended) {
            rc = ended;
            if (err)
                *err = why;
        }
    } else if (rc == 0) {
        rc = error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper had said all and did not end");
    }
    child_close(&h->child);
    io_close(&h->output);
    return rc;
}
