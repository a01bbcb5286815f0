/* `moat top`: a live page of what plugins do.  Owns the terminal while it runs, and gives it back however it ends. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cli/top.h"

#define FRAME_MAX (1u << 20)
#define LEAST_NS (100 * NS_PER_MS)
#define MOST_NS (3600 * NS_PER_S)
#define ENTER "\x1b[?1049h\x1b[?25l" /* the other screen, no cursor */
#define LEAVE "\x1b[?25h\x1b[?1049l"
#define CTRL_C 3
#define CTRL_L 12

static volatile sig_atomic_t ended, resized;

static void on_end(int sig)
{
    ended = sig;
}

static void on_resize(int sig)
{
    resized = 1;
}

/* ---- the terminal ---- */

struct screen {
    struct termios before;
    sigset_t waiting; /* the mask to wait with: signals come only there */
    unsigned width, height;
};

static void measure(struct screen *s)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    s->width = known ? size.ws_col : 80;
    s->height = known ? size.ws_row : 24;
}

static void catch_signals(struct screen *s)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction end = {.sa_handler = on_end}, resize = {.sa_handler = on_resize};
    sigset_t caught;
    sigemptyset(&caught);
    sigaddset(&caught, SIGWINCH);
    sigaction(SIGWINCH, &resize, NULL);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        sigaddset(&caught, ends[i]);
        sigaction(ends[i], &end, NULL);
    }
    pthread_sigmask(SIG_BLOCK, &caught, &s->waiting);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        sigdelset(&s->waiting, ends[i]);
    sigdelset(&s->waiting, SIGWINCH);
}

static bool enter(struct screen *s)
{
    if (tcgetattr(STDIN_FILENO, &s->before) < 0)
        return false;
    catch_signals(s);
    struct termios raw = s->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    measure(s);
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0 && io_write_all(STDOUT_FILENO, ENTER, sizeof ENTER - 1);
}

static void leave(const struct screen *s)
{
    io_write_all(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
}

/* ---- keys ---- */

/* true: the page is to be drawn anew. */
static bool take_key(unsigned char key, struct top_page *page)
{
    const char *sort = key ? strchr(top_keys, key) : NULL;
    if (sort) {
        page->sort = (enum top_sort)(sort - top_keys);
        page->first = 0;
    } else if (key == 'q' || key == CTRL_C) {
        ended = SIGINT;
    } else if (key == 'j') {
        page->first++;
    } else if (key == 'k' && page->first) {
        page->first--;
    } else if (key != CTRL_L) {
        return false;
    }
    return true;
}

/* Waits for a key, a signal, or the time. true: something was pressed, or the window has another size. */
static bool wait_for_keys(const struct screen *s, struct top_page *page, uint64_t until)
{
    uint64_t now = clock_mono_ns(), left = until > now ? until - now : 0;
    struct timespec time = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned char keys[64];
    bool pressed = false;
    int n = ppoll(&p, 1, &time, &s->waiting);
    if (n <= 0)
        return resized;
    ssize_t got = read(STDIN_FILENO, keys, sizeof keys);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
        ended = SIGHUP; /* the terminal is gone */
    for (ssize_t i = 0; i < got; i++)
        pressed = take_key(keys[i], page) || pressed;
    return pressed || resized;
}

/* ---- live ---- */

/* In one write, over what is there: no flicker. */
static void draw(struct screen *s, const struct top_look *look, struct top_page *page)
{
    buf_auto frame = BUF_INIT(FRAME_MAX);
    resized = 0;
    measure(s);
    page->width = s->width;
    page->height = s->height;
    if (page->first >= look->nrows)
        page->first = look->nrows ? look->nrows - 1 : 0;
    buf_puts(&frame, "\x1b[H");
    top_draw(&frame, look, page);
    buf_puts(&frame, "\x1b[K\x1b[J");
    io_write_all(STDOUT_FILENO, frame.data, frame.len);
}

static int run(struct cli *c, struct screen *s, uint64_t interval, struct error *err)
{
    struct top_look before = {0}, now = {0};
    struct top_forecast forecast = {0};
    struct top_page page = {
        .sort = TOP_CALLS, .colours = !getenv("NO_COLOR"), .line_end = "\x1b[K\n", .forecast = &forecast};
    int rc = 0;
    while (!ended && (rc = top_read(c, &now, err)) == 0) {
        uint64_t until = now.at_ns + interval;
        page.measured = before.at_ns != 0;
        top_forecast_read(c, &forecast);
        top_compare(&now, page.measured ? &before : NULL);
        do {
            top_sort(&now, page.sort);
            draw(s, &now, &page);
            while (!ended && clock_mono_ns() < until && !wait_for_keys(s, &page, until))
                ;
        } while (!ended && clock_mono_ns() < until);
        top_free(&before);
        before = now;
        now = (struct top_look){0};
    }
    top_free(&before);
    return rc;
}

static int live(struct cli *c, uint64_t interval)
{
    struct screen s;
    struct error err;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cli_failf(c, MOAT_E_BAD_USAGE, "top needs a terminal; `moat top --once` does not");
    if (!enter(&s)) {
        leave(&s);
        return cli_failf(c, MOAT_E_INTERNAL, "the terminal cannot be set up");
    }
    int rc = run(c, &s, interval, &err);
    leave(&s);
    return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

/* ---- once ---- */

static void draw_once(struct cli *c, struct buf *out, const struct top_look *now, struct top_page *page)
{
    struct top_forecast forecast = {0};
    top_forecast_read(c, &forecast);
    page->forecast = &forecast;
    top_draw(out, now, page);
    page->forecast = NULL;
}

static int once(struct cli *c, uint64_t interval)
{
    struct top_look before = {0}, now = {0};
    struct top_page page = {.width = 132, .sort = TOP_CALLS, .measured = true, .line_end = "\n"};
    struct timespec pause = {(time_t)(interval / NS_PER_S), (long)(interval % NS_PER_S)};
    struct error err;
    buf_auto out = BUF_INIT(FRAME_MAX);
    int rc = top_read(c, &before, &err);
    if (rc == 0) {
        nanosleep(&pause, NULL);
        rc = top_read(c, &now, &err);
    }
    if (rc == 0) {
        top_compare(&now, &before);
        top_sort(&now, page.sort);
        if (cli_has(c, OPT_JSON))
            top_json(&out, &now);
        else
            draw_once(c, &out, &now, &page);
        fputs(buf_text(&out), stdout);
        fputs(cli_has(c, OPT_JSON) ? "\n" : "", stdout);
    }
    top_free(&before);
    top_free(&now);
    return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

int run_top(struct cli *c)
{
    uint64_t interval = NS_PER_S;
    const char *text = c->option[OPT_INTERVAL];
    if (text && (!clock_parse_span(text, &interval) || interval < LEAST_NS || interval > MOST_NS))
        return cli_failf(c, MOAT_E_BAD_USAGE, "--interval is a TIME from 100ms to 1h");
    return cli_has(c, OPT_ONCE) || cli_has(c, OPT_JSON) ? once(c, interval) : live(c, interval);
}
