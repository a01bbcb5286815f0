/* What a worker writes to its standard output and error: lines for the operator, never for a program.  A flood is
 * thrown away with a count; a worse one waits in the pipe, which stops the writer. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "loader/internal.h"

#define BYTES_PER_SECOND (1024 * 1024)
#define READ_AT_ONCE 4096
#define LAST_READS 32 /* after the death: a pipe holds 64 KiB */

static struct worker *worker_of(struct output *o)
{
    return (struct worker *)(void *)((char *)o - offsetof(struct worker, output));
}

static void tell_dropped(struct output *o)
{
    struct worker *w = worker_of(o);
    if (o->dropped)
        log_event(LOG_WARN, "plugin_output_dropped", "plugin", w->plugin ? w->plugin->name : "", "#lines",
                  log_num(o->dropped), NULL);
    o->dropped = 0;
}

static void new_window(struct output *o, uint64_t now)
{
    if (now - o->window_ns < NS_PER_S)
        return;
    tell_dropped(o);
    o->window_ns = now;
    o->window_bytes = 0;
    o->lines = 0;
}

static void end_line(struct output *o)
{
    struct worker *w = worker_of(o);
    o->line[o->used] = '\0';
    bool empty = o->used == 0;
    o->used = 0;
    o->cut = false;
    if (empty || !w->plugin)
        return;
    plugin_log_line(w->plugin, w, o->line, true); /* a crash quotes the last line, shown or not */
    if (o->lines++ < w->l->config.lines_per_second) {
        log_event(LOG_INFO, "plugin_output", "plugin", w->plugin->name, "text", o->line, NULL);
        return;
    }
    o->dropped++;
    atomic_fetch_add_explicit(&w->plugin->lines_dropped, 1, memory_order_relaxed);
}

static void take_bytes(struct output *o, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] == '\n')
            end_line(o);
        else if (o->used < sizeof o->line - 1)
            o->line[o->used++] = data[i];
        else
            o->cut = true;
}

/* false: nothing more for now, or ever. */
static bool read_some(struct output *o)
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
    take_bytes(o, data, (size_t)n);
    return true;
}

static void on_output(struct loop_watch *watch, uint32_t events)
{
    struct output *o = (struct output *)(void *)((char *)watch - offsetof(struct output, watch));
    (void)events;
    uint64_t now = clock_mono_ns();
    new_window(o, now);
    read_some(o);
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
    for (int i = 0; i < LAST_READS && read_some(&w->output); i++)
        ;
    end_line(&w->output);
    tell_dropped(&w->output);
}

void output_close(struct worker *w)
{
    loop_timer_clear(&w->output.pause);
    loop_unwatch(&w->output.watch);
}
