/* echo: one simple thing per action, well or badly, for the tests of the host and for measurements. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

static const struct moat_host *host;
static unsigned long calls;

struct parameters {
    const char *text;
    size_t len;
};

static bool answer(struct moat_call *call, const char *text)
{
    return host->answer(call, text, strlen(text));
}

static bool answer_errno(struct moat_call *call, int errnum)
{
    char text[64];
    const char *name = strerrorname_np(errnum);
    snprintf(text, sizeof text, "\"%s\"", name ? name : "unknown");
    return answer(call, text);
}

static long long integer(struct parameters p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.text, p.len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

static bool text(struct parameters p, const char *name, char *out, size_t size)
{
    struct slice value;
    return request_find(p.text, p.len, name, &value) && request_text(value, out, size);
}

static void pause_ms(long long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (ms && nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static bool do_echo(struct moat_call *call, struct parameters p)
{
    char *room = host->result_room(call, p.len);
    if (!room)
        return host->fail(call, "too_large", "this host takes no result of that size");
    memcpy(room, p.text, p.len);
    return host->commit(call, p.len);
}

static bool do_sleep(struct moat_call *call, struct parameters p)
{
    struct slice deaf, tell;
    if (request_find(p.text, p.len, "tell", &tell) && *tell.at == 't')
        host->progress(call, 0, "sleeping");
    bool listens = !request_find(p.text, p.len, "deaf", &deaf) || *deaf.at != 't';
    for (long long left = integer(p, "ms", 0); left > 0; left -= 5) {
        if (listens && host->cancelled(call))
            return answer(call, "false");
        pause_ms(left < 5 ? left : 5);
    }
    return answer(call, "true");
}

static bool do_crash(struct moat_call *call, struct parameters p)
{
    host->log(MOAT_LOG_ERROR, "about to crash, as asked");
    fprintf(stderr, "echo: last words\n");
    fflush(stderr);
    /* A real fault: raise() is ignored in the first process of a pid namespace. */
    volatile uintptr_t nowhere = 8;
    *(volatile int *)nowhere = 1;
    return false;
}

static bool do_spin(struct moat_call *call, struct parameters p)
{
    volatile bool stop = false;
    while (!stop)
        ;
    return false;
}

static bool do_alloc(struct moat_call *call, struct parameters p)
{
    size_t want = (size_t)integer(p, "bytes", 0), got = 0, step = (size_t)1 << 20;
    char reply[32];
    struct block {
        struct block *next;
    } *blocks = NULL;
    while (got < want) {
        struct block *b = malloc(step);
        if (!b)
            break;
        memset(b, 1, step);
        b->next = blocks;
        blocks = b;
        got += step;
    }
    while (blocks) {
        struct block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
    snprintf(reply, sizeof reply, "%zu", got < want ? got : want);
    return answer(call, reply);
}

/* Memory until there is none: asked for in one piece, by small ones, or past the C library. */
static void *take_memory(const char *what)
{
    if (strcmp(what, "malloc") == 0)
        return malloc((size_t)1 << 40);
    bool bare = strcmp(what, "mmap") == 0;
    for (;;) {
        char *p =
            bare ? mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : malloc(1 << 20);
        if (!p || p == MAP_FAILED)
            return NULL;
        memset(p, 1, 1 << 20);
    }
}

/* Writes until nothing more can be written; the errno. */
static int fill_file(const char *path)
{
    static char bytes[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (fd >= 0 && write(fd, bytes, sizeof bytes) > 0)
        ;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return errnum;
}

/* Runs into a limit, and then crashes as plugins do, or fails, or goes on. */
/* As many as there are; they stay open until the next call that wants them gone. */
static int take_descriptors(void)
{
    while (dup(STDERR_FILENO) >= 0)
        continue;
    return errno;
}

static bool do_overrun(struct moat_call *call, struct parameters p)
{
    char what[32] = "", then[32] = "";
    text(p, "what", what, sizeof what);
    text(p, "then", then, sizeof then);
    bool file = what[0] == '/', descriptors = strcmp(what, "descriptors") == 0;
    int errnum = file ? fill_file(what) : descriptors ? take_descriptors() : ENOMEM;
    volatile char *nothing = file || descriptors ? NULL : take_memory(what);
    if (strcmp(then, "fail") == 0)
        return host->fail(call, "overran", strerrorname_np(errnum));
    if (strcmp(then, "go_on") == 0)
        return answer_errno(call, errnum);
    *nothing = 1; /* NOLINT(clang-analyzer-core.NullDereference): it is asked to crash */
    return false;
}

static bool do_log(struct moat_call *call, struct parameters p)
{
    static char line[65536];
    if (!text(p, "text", line, sizeof line))
        return host->fail(call, "bad_text", "no text");
    for (long long times = integer(p, "times", 1); times > 0; times--)
        host->log(MOAT_LOG_INFO, line);
    fprintf(stderr, "%s\n", line);
    fflush(stderr);
    return answer(call, "null");
}

static bool do_count(struct moat_call *call, struct parameters p)
{
    char reply[32];
    snprintf(reply, sizeof reply, "%lu", calls);
    return answer(call, reply);
}

static bool do_fail(struct moat_call *call, struct parameters p)
{
    static char code[4096], message[65536];
    if (!text(p, "code", code, sizeof code))
        snprintf(code, sizeof code, "asked_for");
    if (!text(p, "message", message, sizeof message))
        snprintf(message, sizeof message, "it was asked to fail");
    return host->fail(call, code, message);
}

static bool do_big(struct moat_call *call, struct parameters p)
{
    size_t bytes = (size_t)integer(p, "bytes", 2);
    char *room = host->result_room(call, bytes);
    if (!room)
        return host->fail(call, "too_large", "this host takes no result of that size");
    memset(room, 'x', bytes);
    room[0] = room[bytes - 1] = '"';
    return host->commit(call, bytes);
}

static bool do_read(struct moat_call *call, struct parameters p)
{
    char path[4096], bytes[256], reply[sizeof bytes + 2];
    if (!text(p, "path", path, sizeof path))
        return host->fail(call, "bad_path", "no path");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return answer_errno(call, errno);
    ssize_t got = read(fd, bytes, sizeof bytes);
    int errnum = errno;
    close(fd);
    if (got < 0)
        return answer_errno(call, errnum);
    size_t len = 0;
    reply[len++] = '"';
    for (ssize_t i = 0; i < got; i++)
        reply[len++] = bytes[i] >= ' ' && bytes[i] < 127 && !strchr("\"\\", bytes[i]) ? bytes[i] : '.';
    reply[len++] = '"';
    return host->answer(call, reply, len);
}

static bool do_write(struct moat_call *call, struct parameters p)
{
    static char path[4096], bytes[65536];
    if (!text(p, "path", path, sizeof path) || !text(p, "text", bytes, sizeof bytes))
        return host->fail(call, "bad_path", "no path or text");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return answer_errno(call, errno);
    size_t len = strlen(bytes);
    ssize_t put = write(fd, bytes, len);
    int errnum = put < 0 ? errno : EIO;
    close(fd);
    return put == (ssize_t)len ? answer(call, "null") : answer_errno(call, errnum);
}

static bool do_progress(struct moat_call *call, struct parameters p)
{
    host->progress(call, 250, "a quarter");
    host->progress(call, 500, NULL);
    host->progress(call, 1000, "all");
    return answer(call, "null");
}

static bool do_mute(struct moat_call *call, struct parameters p)
{
    return true;
}

static bool do_bad_result(struct moat_call *call, struct parameters p)
{
    return answer(call, "{\"this\": is not JSON}");
}

static bool do_typed(struct moat_call *call, struct parameters p)
{
    return answer(call, "\"not a number\"");
}

static const struct {
    const char *name;
    bool (*run)(struct moat_call *call, struct parameters p);
} actions[] = {
    {"echo", do_echo},         {"sleep", do_sleep}, {"crash", do_crash},
    {"spin", do_spin},         {"alloc", do_alloc}, {"log", do_log},
    {"overrun", do_overrun},   {"count", do_count}, {"fail", do_fail},
    {"big", do_big},           {"read", do_read},   {"write", do_write},
    {"progress", do_progress}, {"mute", do_mute},   {"bad_result", do_bad_result},
    {"typed", do_typed},
};

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    struct parameters p = {config, len};
    char why[256];
    host = given;
    pause_ms(integer(p, "init_ms", 0));
    if (text(p, "refuse", why, sizeof why) && why[0]) {
        host->refuse(why);
        return false;
    }
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct parameters p = {parameters, len};
    calls++;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, action) == 0)
            return actions[i].run(call, p);
    return host->fail(call, "no_such_action", action);
}

static bool configure(const char *config, size_t len)
{
    struct parameters p = {config, len};
    char why[256];
    if (text(p, "refuse", why, sizeof why) && why[0]) {
        host->refuse(why);
        return false;
    }
    return true;
}

static bool health(void)
{
    return true;
}

static bool shutdown_plugin(void)
{
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .health = health, .configure = configure,
            .shutdown = shutdown_plugin);
