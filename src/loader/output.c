/* What a worker writes to its standard output and error: lines for the operator, never for a program.  A flood is
 * thrown away with a count; a worse one waits in the pipe, which stops the writer. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loader/internal.h"

#define BYTES_PER_SECOND (1024 * 1024)
#define READ_AT_ONCE 4096
#define LAST_READS 32 /* after the death: a pipe holds 64 KiB */

static struct worker *worker_of(struct output *o)
{
    return (struct worker *)(void *)((char *)o - offsetof(struct worker, output));
}

static void new_window(struct output *o, uint64_t now)
{
    if (now - o->window_ns < NS_PER_S)
        return;
    o->window_ns = now;
    o->window_bytes = 0;
}

/* Without the last character, which may have been cut in two, and with a word that there was more. */
static size_t mark_cut(struct output *o)
{
    static const char more[] = "...";
    size_t len = o->used - sizeof more + 1;
    while (len && (o->line[len] & 0xc0) == 0x80)
        len--;
    memcpy(o->line + len, more, sizeof more - 1);
    return len + sizeof more - 1;
}

static void end_line(struct output *o, uint64_t now)
{
    struct worker *w = worker_of(o);
    size_t len = o->cut ? mark_cut(o) : o->used;
    o->used = 0;
    o->cut = false;
    if (len && w->plugin)
        lines_output(w, o->line, len, now);
}

static void take_bytes(struct output *o, const char *data, size_t n, uint64_t now)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] == '\n')
            end_line(o, now);
        else if (o->used < sizeof o->line)
            o->line[o->used++] = data[i];
        else
            o->cut = true;
}

/* false: nothing more for now, or ever. */
static bool read_some(struct output *o, uint64_t now)
{
    char data[READ_AT_ONCE];
    struct worker *w = worker_of(o);
    ssize_t n = w->child.output < 0 ? 0 : read(w->child.output, data, sizeof data);
    if (n < 0 && errno == EINTR)
        return true;
    if (n == 0)
        loop_unwatch(&o->watch);
    if (n <= 0)
        return false;
    o->window_bytes += (size_t)n;
    take_bytes(o, data, (size_t)n, now);
    return true;
}

static void on_output(struct loop_watch *watch, uint32_t events)
{
    struct output *o = (struct output *)(void *)((char *)watch - offsetof(struct output, watch));
    (void)events;
    uint64_t now = clock_mono_ns();
    new_window(o, now);
    read_some(o, now);
    if (o->window_bytes < BYTES_PER_SECOND || !o->watch.loop)
        return;
    loop_unwatch(&o->watch);
    loop_timer_set(worker_of(o)->l->supervise, &o->pause, o->window_ns + NS_PER_S);
}

static void resume(struct loop_timer *timer)
{
    struct output *o = (struct output *)(void *)((char *)timer - offsetof(struct output, pause));
    struct error err;
    new_window(o, clock_mono_ns());
    loop_watch(worker_of(o)->l->supervise, &o->watch, EPOLLIN, &err);
}

int output_watch(struct worker *w, struct error *err)
{
    w->output.watch = (struct loop_watch){.fd = w->child.output, .ready = on_output};
    w->output.pause.fire = resume;
    return loop_watch(w->l->supervise, &w->output.watch, EPOLLIN, err);
}

void output_drain(struct worker *w)
{
    uint64_t now = clock_mono_ns();
    for (int i = 0; i < LAST_READS && read_some(&w->output, now); i++)
        ;
    end_line(&w->output, now);
    lines_tell_dropped(w);
}

void output_close(struct worker *w)
{
    loop_timer_clear(&w->output.pause);
    loop_unwatch(&w->output.watch);
}
