/* ledger: keeps numbers, and hands them over to the next generation.  For tests and figures of what happens to calls
 * and to state when workers come and go: its configuration says how each step of its life goes wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

#define CONFIG_MAX 4096

struct parameters {
    const char *text;
    size_t len;
};

/* What a generation hands over: how many numbers, and their sum. */
struct book {
    uint64_t count, sum;
};

static const struct moat_host *host;
static struct book book;
static char config[CONFIG_MAX];
static int file = -1; /* each number is appended to it, when the configuration names one */

static bool text(struct parameters p, const char *name, char *out, size_t size)
{
    struct slice value;
    return request_find(p.text, p.len, name, &value) && request_text(value, out, size);
}

static long long integer(struct parameters p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.text, p.len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

/* In short naps: so a test sees from outside that it sleeps, and does not wait for work. */
static void pause_ms(long long ms)
{
    for (long long left = ms; left > 0; left -= 5) {
        struct timespec t = {.tv_nsec = (left < 5 ? left : 5) * 1000000};
        while (nanosleep(&t, &t) != 0 && errno == EINTR)
            ;
    }
}

/* A real fault: signals sent to oneself are ignored in the first process of a pid namespace. */
static void crash(void)
{
    volatile uintptr_t nowhere = 8;
    *(volatile int *)nowhere = 1;
}

/* The configuration's word for a step of this plugin's life; true: it goes well. */
static bool goes_well(const char *step)
{
    struct parameters p = {config, strlen(config)};
    char how[32] = "";
    text(p, step, how, sizeof how);
    if (strcmp(how, "crash") == 0)
        crash();
    if (strcmp(how, "hang") == 0)
        pause_ms(600000);
    if (strcmp(how, "slow") == 0)
        pause_ms(200);
    return strcmp(how, "fail") != 0;
}

/* ---- actions ---- */

static bool answer_number(struct moat_call *call, long long n)
{
    char reply[32];
    int len = snprintf(reply, sizeof reply, "%lld", n);
    return host->answer(call, reply, (size_t)len);
}

/* As configured: so many of a hundred numbers, always the same ones, go wrong after they were noted. */
static bool is_unlucky(unsigned long long n)
{
    struct parameters p = {config, strlen(config)};
    return (n * 2654435761u >> 16) % 100 < (unsigned long long)integer(p, "note_percent", 0);
}

static bool goes_wrong(struct moat_call *call)
{
    struct parameters p = {config, strlen(config)};
    char how[32] = "";
    text(p, "note", how, sizeof how);
    if (strcmp(how, "crash") == 0)
        crash();
    if (strcmp(how, "slow") == 0)
        pause_ms(20);
    if (strcmp(how, "fail") != 0)
        return false;
    host->fail(call, "unlucky", "this number brings no luck");
    return true;
}

/* Notes n once; answers it. */
static bool do_note(struct moat_call *call, struct parameters p)
{
    long long n = integer(p, "n", 0);
    pause_ms(integer(p, "ms", 0));
    if (file >= 0 && write(file, &n, sizeof n) != (ssize_t)sizeof n)
        return host->fail(call, "not_noted", strerrorname_np(errno));
    book.count++;
    book.sum += (uint64_t)n;
    if (is_unlucky((unsigned long long)n) && goes_wrong(call))
        return false;
    return answer_number(call, n);
}

static bool do_book(struct moat_call *call, struct parameters p)
{
    char reply[96];
    (void)p;
    int len = snprintf(reply, sizeof reply, "{\"count\":%llu,\"sum\":%llu}", (unsigned long long)book.count,
                       (unsigned long long)book.sum);
    return host->answer(call, reply, (size_t)len);
}

/* Computes for so many microseconds. */
static bool do_work(struct moat_call *call, struct parameters p)
{
    struct timespec t;
    long long us = integer(p, "us", 0);
    clock_gettime(CLOCK_MONOTONIC, &t);
    long long end = t.tv_sec * 1000000LL + t.tv_nsec / 1000 + us;
    do
        clock_gettime(CLOCK_MONOTONIC, &t);
    while (t.tv_sec * 1000000LL + t.tv_nsec / 1000 < end);
    return answer_number(call, us);
}

static bool do_configured(struct moat_call *call, struct parameters p)
{
    (void)p;
    return host->answer(call, config, strlen(config));
}

static bool do_crash(struct moat_call *call, struct parameters p)
{
    (void)p;
    crash();
    return host->fail(call, "alive", "it did not crash");
}

static bool do_hang(struct moat_call *call, struct parameters p)
{
    (void)p;
    pause_ms(600000);
    return host->fail(call, "awake", "it did not hang");
}

/* Takes memory and descriptors and forgets them. */
static bool do_leak(struct moat_call *call, struct parameters p)
{
    size_t bytes = (size_t)integer(p, "bytes", 0);
    char *forgotten = malloc(bytes + 1);
    if (!forgotten || dup(0) < 0)
        return host->fail(call, "leaked_all", "there is nothing left to leak");
    memset(forgotten, 1, bytes + 1);
    return answer_number(call, (long long)bytes);
}

static bool do_lie(struct moat_call *call, struct parameters p)
{
    (void)p;
    return host->answer(call, "{\"not\": JSON}", 13);
}

static const struct {
    const char *name;
    bool (*run)(struct moat_call *call, struct parameters p);
} actions[] = {
    {"note", do_note},   {"book", do_book}, {"work", do_work}, {"configured", do_configured},
    {"crash", do_crash}, {"hang", do_hang}, {"leak", do_leak}, {"lie", do_lie},
};

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, action) == 0)
            return actions[i].run(call, (struct parameters){parameters, len});
    return host->fail(call, "no_such_action", action);
}

/* ---- life ---- */

static bool take(const char *given, size_t len)
{
    struct parameters p = {given, len};
    char why[256];
    if (len >= sizeof config) {
        host->refuse("the configuration is too long");
        return false;
    }
    if (text(p, "refuse", why, sizeof why) && why[0]) {
        host->refuse(why);
        return false;
    }
    memcpy(config, given, len);
    config[len] = 0;
    return true;
}

static bool initialize(const struct moat_host *given, const char *text_of_config, size_t len)
{
    char path[1024];
    struct parameters p = {text_of_config, len};
    host = given;
    if (!take(text_of_config, len))
        return false;
    if (text(p, "file", path, sizeof path) && path[0] &&
        (file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) {
        host->refuse("the file cannot be opened");
        return false;
    }
    return goes_well("start");
}

static bool configure(const char *text_of_config, size_t len)
{
    char before[CONFIG_MAX];
    memcpy(before, config, sizeof before);
    if (!take(text_of_config, len))
        return false;
    if (goes_well("configure"))
        return true;
    memcpy(config, before, sizeof before);
    return false;
}

static bool health(void)
{
    return goes_well("health");
}

static bool shutdown_plugin(void)
{
    return goes_well("shutdown");
}

static bool save_state(struct moat_call *call)
{
    struct parameters p = {config, strlen(config)};
    size_t len = (size_t)integer(p, "blob", (long long)sizeof book);
    if (!goes_well("save"))
        return host->fail(call, "not_saved", "it was asked not to save");
    char *room = host->result_room(call, len);
    if (!room || len < sizeof book)
        return host->fail(call, "too_large", "this host takes no state of that size");
    memset(room, 0, len);
    memcpy(room, &book, sizeof book);
    return host->commit(call, len);
}

static bool restore_state(const void *blob, size_t len)
{
    if (!goes_well("restore") || len < sizeof book) {
        host->refuse("it was asked not to restore");
        return false;
    }
    memcpy(&book, blob, sizeof book);
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .health = health, .configure = configure,
            .shutdown = shutdown_plugin, .save_state = save_state, .restore_state = restore_state);
