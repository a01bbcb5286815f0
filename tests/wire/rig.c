#include "rig.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

void rig_alone(struct rig *r, size_t payload_max)
{
    struct error err;
    *r = (struct rig){0};
    if (channel_new(payload_max, &r->ch, &r->h2w, &r->w2h, &r->bell, &err) < 0)
        fail_msg("channel_new: %s", err.message);
}

void rig_start(struct rig *r, size_t payload_max, void (*worker)(struct port *port))
{
    rig_alone(r, payload_max);
    fflush(NULL);
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0) {
        struct port port;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!port_open(&port, r->h2w, r->w2h, r->bell))
            _exit(9);
        worker(&port);
        _exit(0);
    }
    close(r->h2w);
    close(r->w2h);
    close(r->bell);
    r->h2w = r->w2h = r->bell = -1;
}

void rig_stop(struct rig *r)
{
    channel_free(r->ch);
    if (r->h2w >= 0) {
        close(r->h2w);
        close(r->w2h);
        close(r->bell);
    }
    if (r->pid) {
        int status = -1;
        assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
        assert_int_equal(status, 0);
    }
}

void rig_kill(struct rig *r)
{
    kill(r->pid, SIGKILL);
    assert_int_equal(waitpid(r->pid, NULL, 0), r->pid);
    r->pid = 0;
}

static cpu_set_t all_cpus;

void rig_apart(struct rig *r)
{
    assert_int_equal(sched_getaffinity(0, sizeof all_cpus, &all_cpus), 0);
    for (unsigned cpu = 0, used = 0; cpu < CPU_SETSIZE && used < 2; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (CPU_ISSET(cpu, &all_cpus) && sched_setaffinity(used++ ? r->pid : 0, sizeof one, &one) < 0)
            fail_msg("sched_setaffinity");
    }
}

void rig_together(void)
{
    assert_int_equal(sched_setaffinity(0, sizeof all_cpus, &all_cpus), 0);
}

void rig_echo_one(struct port *port, const struct port_request *request)
{
    port_take(port);
    if (request->payload[request->len] != 0)
        _exit(8);
    if (request->len <= CHANNEL_INLINE_MAX) {
        uint8_t *room = port_room(port, request->len);
        if (!room)
            return;
        memcpy(room, request->payload, request->len);
        port_result(port, request->kind == CHANNEL_CALL ? request->len : 0);
        return;
    }
    int slot = port_large_room(port);
    if (slot < 0)
        return;
    memcpy(port_large(port, slot), request->payload, request->len);
    port_result_large(port, slot, request->len);
}

void rig_echo(struct port *port)
{
    struct port_request request;
    while (port_next(port, &request))
        rig_echo_one(port, &request);
}

void rig_fill(uint8_t *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

bool rig_same(const uint8_t *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
            return false;
    return true;
}

unsigned rig_submit(struct rig *r, enum channel_kind kind, size_t len, uint32_t seed, void *cookie)
{
    uint8_t *room = channel_reserve(r->ch, len);
    assert_non_null(room);
    rig_fill(room, len, seed);
    return channel_submit(r->ch, kind, seed & 0xff, 0, len, cookie);
}

struct channel_answer rig_next(struct rig *r)
{
    struct channel_answer answer = {0};
    uint64_t end = clock_mono_ns() + 10 * NS_PER_S;
    channel_ring(r->ch);
    for (;;) {
        enum channel_got got = channel_next(r->ch, &answer);
        if (got == CHANNEL_GOT)
            return answer;
        if (got == CHANNEL_BROKEN)
            fail_msg("broken: %s", channel_broken_why(r->ch));
        if (!channel_wait(r->ch, end, false))
            fail_msg("no answer within ten seconds");
    }
}

uint64_t rig_seed(void)
{
    const char *text = getenv("MOAT_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : clock_mono_ns();
    print_message("# MOAT_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* splitmix64 */
uint64_t rig_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
