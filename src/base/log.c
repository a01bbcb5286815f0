#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES (16 * 1024)

static int log_fd = STDERR_FILENO;
static _Atomic enum log_level log_least = LOG_WARN;
static bool log_json, log_ready;

static struct {
    pthread_mutex_t lock;
    unsigned long long lost; /* lines, since the last that was written */
    bool torn;               /* the last one was not written to its end */
} writing = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(int fd, enum log_format format, enum log_level least)
{
    log_fd = fd;
    log_least = least;
    log_json = format == LOG_JSON || (format == LOG_AUTO && !isatty(fd));
    log_ready = true;
}

bool log_enabled(enum log_level level)
{
    return level >= log_least;
}

void log_set_level(enum log_level least)
{
    log_least = least;
}

const char *log_num_text(char out[24], long long n)
{
    snprintf(out, 24, "%lld", n);
    return out;
}

static void put_json(struct buf *line, const char *key, const char *value)
{
    if (*key == '#') {
        buf_printf(line, ",\"%s\":%s", key + 1, value);
        return;
    }
    buf_printf(line, ",\"%s\":\"", key);
    text_json_escape(line, value, strlen(value));
    buf_putc(line, '"');
}

static void put_text(struct buf *line, const char *key, const char *value)
{
    bool quote = !*value || strpbrk(value, " \"=");
    buf_printf(line, " %s=%s", *key == '#' ? key + 1 : key, quote ? "\"" : "");
    text_json_escape(line, value, strlen(value));
    if (quote)
        buf_putc(line, '"');
}

/* Who reads a pipe or a terminal too slowly, or not at all, must hold nobody up: a pipe that can be written to takes
 * PIPE_BUF bytes at once. Without the lock another thread could take that room. */
static bool write_now(const void *bytes, size_t len)
{
    struct pollfd fd = {.fd = log_fd, .events = POLLOUT};
    for (const char *at = bytes; len;) {
        if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
            return false;
        ssize_t n = write(log_fd, at, len < PIPE_BUF ? len : PIPE_BUF);
        if (n <= 0)
            return false;
        writing.torn = true;
        at += n;
        len -= (size_t)n;
    }
    writing.torn = false;
    return true;
}

static void put_start(struct buf *line, bool json, enum log_level level, const char *event)
{
    char now[CLOCK_RFC3339_MAX];
    clock_rfc3339(clock_wall_ns(), now);
    if (json)
        buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", now, level_names[level], event);
    else
        buf_printf(line, "%s %-5s %s", now, level_names[level], event);
}

/* What is missing is said before what comes after it. */
static bool tell_lost(bool json)
{
    char number[24];
    buf_auto line = BUF_INIT(LINE_MAX_BYTES);
    if (!writing.lost)
        return true;
    if (writing.torn)
        buf_putc(&line, '\n');
    put_start(&line, json, LOG_WARN, "log_lost");
    snprintf(number, sizeof number, "%llu", writing.lost);
    (json ? put_json : put_text)(&line, "#lines", number);
    buf_puts(&line, json ? "}\n" : "\n");
    if (!line.data || !write_now(line.data, line.len))
        return false;
    writing.lost = 0;
    return true;
}

void log_event(enum log_level level, const char *event, ...)
{
    if (!log_enabled(level))
        return;
    bool json = log_ready ? log_json : !isatty(log_fd);
    buf_auto line = BUF_INIT(LINE_MAX_BYTES);
    put_start(&line, json, level, event);

    va_list args;
    va_start(args, event);
    const char *key;
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        if (value)
            (json ? put_json : put_text)(&line, key, value);
    }
    va_end(args);
    buf_puts(&line, json ? "}\n" : "\n");
    /* A log that cannot be written must not stop the host: nothing better could be done with the failure. */
    pthread_mutex_lock(&writing.lock);
    if (!tell_lost(json) || !line.data || !write_now(line.data, line.len))
        writing.lost++;
    pthread_mutex_unlock(&writing.lock);
}
