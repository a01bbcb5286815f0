/* The call figures without Moat around them: the channel, its worker's port, and both JSON checks.  What call.* costs
 * beyond these is the host's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "call_floor.h"
#include "wire/channel.h"
#include "wire/port.h"
#include "json/json.h"

#define MIB ((size_t)1 << 20)

static struct channel *ch;
static pid_t worker;
static bool spins;
static const char small[] = "{\"action\":\"echo\",\"n\":12345,\"text\":\"hello world, this is mo\"}  ";
static char *big;
static uint8_t *out;

static void work(int h2w, int w2h, int bell)
{
    struct port port;
    struct port_request request;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!port_open(&port, h2w, w2h, bell))
        _exit(1);
    while (port_next(&port, &request)) {
        port_take(&port);
        if (request.len <= CHANNEL_INLINE_MAX) {
            memcpy(port_room(&port, request.len), request.payload, request.len);
            port_result(&port, request.len);
        } else {
            int slot = port_large_room(&port);
            memcpy(port_large(&port, slot), request.payload, request.len);
            port_result_large(&port, slot, request.len);
        }
    }
    _exit(0);
}

static void start(void)
{
    int h2w, w2h, bell;
    struct error err;
    if (channel_new(8 * MIB, &ch, &h2w, &w2h, &bell, &err) < 0)
        bench_die("%s", err.message);
    worker = fork();
    if (worker == 0)
        work(h2w, w2h, bell);
    channel_place(ch, worker);
}

static void send_one(const char *json, size_t len)
{
    uint8_t *room = channel_reserve(ch, len);
    if (!room || !json_copy_valid(room, (const uint8_t *)json, len))
        bench_die("no room");
    channel_submit(ch, CHANNEL_CALL, 0, clock_mono_ns() + NS_PER_S, len, NULL);
}

static bool take_one(void)
{
    struct channel_answer a;
    enum channel_got got = channel_next(ch, &a);
    if (got == CHANNEL_EMPTY)
        return false;
    if (got == CHANNEL_BROKEN || !json_copy_valid(out, a.shared, a.len))
        bench_die("broken: %s", channel_broken_why(ch));
    channel_release(ch);
    return true;
}

static void call_one(const char *json, size_t len)
{
    send_one(json, len);
    channel_ring(ch);
    while (!take_one())
        channel_wait(ch, 0, spins);
}

static void call_small(void *unused)
{
    call_one(small, sizeof small - 1);
}

static void call_big(void *unused)
{
    call_one(big, MIB);
}

static void copy_twice(void *unused)
{
    static char *a, *b;
    if (!a) {
        a = malloc(MIB);
        b = malloc(MIB);
        memset(a, 1, MIB);
    }
    memcpy(b, a, MIB);
    __asm__ volatile("" ::"r"(b) : "memory");
    memcpy(a, b, MIB);
    __asm__ volatile("" ::"r"(a) : "memory");
}

static void apart(void *unused)
{
    pin_thread(cpu_number(0));
    floor_child_on(cpu_number(1));
}

static void together(void *unused)
{
    pin_thread(cpu_number(0));
    floor_child_on(cpu_number(0));
}

static void free_caller(void *unused)
{
    pin_thread(-1);
}

static void pipelined(void)
{
    double best = 0;
    for (unsigned round = 0; round < 20; round++) {
        uint64_t before = clock_mono_ns();
        unsigned sent = 0, got = 0, total = 200000;
        while (got < total) {
            while (sent < total && channel_in_flight(ch) < 128)
                send_one(small, sizeof small - 1), sent++;
            channel_ring(ch);
            if (!take_one()) {
                channel_wait(ch, 0, spins);
                continue;
            }
            got++;
            for (unsigned n = 0; n < 64 && take_one(); n++)
                got++;
        }
        double rate = total / ((double)(clock_mono_ns() - before) / 1e9);
        best = rate > best ? rate : best;
    }
    figure_print(&(struct figure){
        .name = "channel.pipelined", .unit = "per_s", .value = best, .p50 = -1, .p99 = -1, .reference = NULL});
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    floor_start();
    big = malloc(MIB + JSON_PAD);
    out = malloc(8 * MIB + JSON_PAD);
    memset(big, 'a', MIB);
    big[0] = big[MIB - 1] = '"';
    start();
    spins = true;
    pin_thread(cpu_number(0));
    channel_allow_spin(ch, true);
    if (!*only || strstr(only, "spin"))
        race_run(&(struct race){"channel.spin", "floor.spin", call_small, floor_spin, apart, apart, 40, 500, 0, 1},
                 NULL);
    if (!*only || strstr(only, "pipe"))
        pipelined();
    if (!*only || strstr(only, "mib"))
        race_run(
            &(struct race){"channel.mib_string", "floor.two_copies", call_big, copy_twice, apart, apart, 20, 50, 0, 1},
            NULL);
    spins = false;
    channel_allow_spin(ch, false);
    if (!*only || strstr(only, "blocked"))
        race_run(&(struct race){"channel.blocked", "floor.futex", call_small, floor_futex, together, together, 40, 300,
                                0, 1},
                 NULL);
    if (!*only || strstr(only, "gap"))
        race_run(&(struct race){"channel.gap", "floor.futex_gap", call_small, floor_futex, free_caller, together, 20,
                                200, 100000, 1},
                 NULL);
    channel_free(ch);
    floor_stop();
    return 0;
}
