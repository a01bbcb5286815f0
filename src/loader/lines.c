/* What workers say: each line of their log and of their output becomes one record for whoever keeps them, at most so
 * many a second of each; the rest is counted, and the count is told. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "loader/internal.h"
#include "moat/plugin.h"

/* ---- which call it is about ---- */

/* Written by the owner at each call's begin, so it costs a few stores and no lock: the readers look again when it
 * changed meanwhile. A worker between calls keeps the last one: what it printed is mostly read after its answer. */
void lines_running(struct worker *w, const struct call *c, uint32_t action)
{
    struct attribution *a = &w->about;
    bool traced = c && *c->traceparent;
    uint64_t words[8] = {0};
    char trace[33];
    if (c)
        memcpy(words, c->id, 32);
    if (traced) {
        trace_id(CALL_PLACE(c), trace);
        memcpy(words + 4, trace, 32);
    }
    uint32_t seq = atomic_load_explicit(&a->seq, memory_order_relaxed);
    atomic_store_explicit(&a->seq, seq + 1, memory_order_relaxed);
    /* Who sees one of these sees the odd seq as well. */
    for (int i = 0; i < (traced ? 8 : 4); i++)
        atomic_store_explicit(&a->words[i], words[i], memory_order_release);
    atomic_store_explicit(&a->action, (c ? action + 1 : 0) | (traced ? ABOUT_TRACED : 0), memory_order_release);
    atomic_store_explicit(&a->seq, seq + 2, memory_order_release);
}

/* The call's id and its trace's; the action + 1. */
static uint32_t read_attribution(const struct attribution *a, uint64_t words[8])
{
    uint32_t seq, action;
    do {
        seq = atomic_load_explicit(&a->seq, memory_order_acquire);
        for (int i = 0; i < 8; i++)
            words[i] = atomic_load_explicit(&a->words[i], memory_order_acquire);
        action = atomic_load_explicit(&a->action, memory_order_acquire);
    } while (seq & 1 || seq != atomic_load_explicit(&a->seq, memory_order_relaxed));
    if (!(action & ABOUT_TRACED))
        for (int i = 0; i < 4; i++)
            words[4 + i] = words[i]; /* its trace is its own */
    return action & ~ABOUT_TRACED;
}

void lines_call_now(struct worker *w, uint32_t action, char id[33])
{
    uint64_t words[8];
    bool same = action && read_attribution(&w->about, words) == action;
    if (same)
        memcpy(id, words, 32);
    id[same ? 32 : 0] = '\0';
}

struct about {
    char call[33], trace[33];
    const char *action;
};

static void about_running(struct worker *w, struct about *out)
{
    uint64_t words[8];
    uint32_t action = read_attribution(&w->about, words);
    memcpy(out->call, words, 32);
    memcpy(out->trace, words + 4, 32);
    out->call[32] = out->trace[32] = '\0';
    const struct spec *spec = w->gen ? w->gen->spec : NULL;
    out->action = spec && action ? spec->manifest->actions[action - 1].name : "";
}

static void about_call(const struct call *c, struct about *out)
{
    *out = (struct about){.action = ""};
    if (!c)
        return;
    memcpy(out->call, c->id, sizeof out->call);
    trace_id(CALL_PLACE(c), out->trace);
    out->action = c->action;
}

/* ---- telling ---- */

static void tell(struct worker *w, const struct about *about, struct loader_line *line)
{
    const struct loader_config *config = &w->l->config;
    if (!config->on_line || !w->plugin)
        return;
    line->plugin = w->plugin->name;
    line->version = w->gen ? w->gen->version : "";
    line->action = about->action;
    line->call = about->call;
    line->trace = about->trace;
    line->pid = w->child.pid;
    config->on_line(config->context, line);
}

static void tell_host(struct worker *w, const struct about *about, const char *text, uint64_t dropped)
{
    tell(w, about,
         &(struct loader_line){.source = LINE_HOST, .level = MOAT_LOG_WARN, .text = text, .dropped = dropped});
}

/* ---- so many a second ---- */

static uint32_t most_lines(const struct worker *w)
{
    return (uint32_t)tuned(&w->l->tuned.lines_per_second);
}

static void tell_dropped(struct worker *w, struct line_rate *r, const char *what)
{
    char text[160];
    struct about nobody;
    uint32_t n = atomic_exchange_explicit(&r->dropped, 0, memory_order_relaxed);
    if (!n)
        return;
    about_call(NULL, &nobody);
    snprintf(text, sizeof text, "%u lines of its %s were thrown away: at most %u a second are kept (log_lines)", n,
             what, most_lines(w));
    tell_host(w, &nobody, text, n);
}

/* By the one thread that takes lines of this kind. */
static bool may_tell(struct worker *w, struct line_rate *r, const char *what, uint64_t now)
{
    if (now - atomic_load_explicit(&r->since_ns, memory_order_relaxed) > NS_PER_S) {
        tell_dropped(w, r, what);
        atomic_store_explicit(&r->since_ns, now, memory_order_relaxed);
        r->lines = 0;
    }
    if (r->lines++ < most_lines(w))
        return true;
    atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->plugin->lines_dropped, 1, memory_order_relaxed);
    return false;
}

static const char *const kinds[] = {"log", "output"};

void lines_tell_dropped(struct worker *w)
{
    tell_dropped(w, &w->lane.log_rate, kinds[LINE_LOG]);
    tell_dropped(w, &w->output.rate, kinds[LINE_OUTPUT]);
}

/* Who was silent since is not asked again by a line of its own. */
void lines_look(struct worker *w, uint64_t now)
{
    struct line_rate *rates[] = {&w->lane.log_rate, &w->output.rate};
    for (int i = 0; i < 2; i++)
        if (now - atomic_load_explicit(&rates[i]->since_ns, memory_order_relaxed) > NS_PER_S)
            tell_dropped(w, rates[i], kinds[i]);
}

/* ---- lines ---- */

void lines_take_text(const struct channel_answer *a, char text[LINES_TEXT_MAX])
{
    char copy[LINES_TEXT_MAX]; /* shared memory is the worker's to change */
    size_t n = a->len < sizeof copy ? a->len : sizeof copy;
    memcpy(copy, a->shared, n);
    const char *end = memchr(copy, '\0', n);
    text_plain(text, LINES_TEXT_MAX, copy, end ? (size_t)(end - copy) : n);
}

void lines_log(struct worker *w, const struct channel_answer *a)
{
    char text[LINES_TEXT_MAX];
    const struct flight *f = a->cookie;
    struct call *c = f ? f->call : NULL;
    if (!may_tell(w, &w->lane.log_rate, kinds[LINE_LOG], ticks_now())) {
        if (c && c->told)
            c->told(c, &(struct call_told){.dropped = 1, .text = ""});
        return;
    }
    lines_take_text(a, text);
    struct about about;
    about_call(c, &about);
    tell(w, &about, &(struct loader_line){.source = LINE_LOG, .level = a->status & 3, .text = text});
    plugin_log_line(w->plugin, w, text, false);
    if (c && c->told)
        c->told(c, &(struct call_told){.level = a->status & 3, .text = text});
}

void lines_output(struct worker *w, const char *line, size_t len, uint64_t now)
{
    char text[OUTPUT_LINE_MAX + 1];
    struct about about;
    text_plain(text, sizeof text, line, len);
    plugin_log_line(w->plugin, w, text, true); /* a crash quotes the last line, told or not */
    if (!may_tell(w, &w->output.rate, kinds[LINE_OUTPUT], now))
        return;
    about_running(w, &about);
    tell(w, &about, &(struct loader_line){.source = LINE_OUTPUT, .level = MOAT_LOG_INFO, .text = text});
}

void lines_death(struct worker *w, const struct call *c, const char *how)
{
    char text[400];
    struct about about;
    about_call(c, &about);
    snprintf(text, sizeof text, "its worker %s%s%s", how, c ? " while it ran " : "", c ? c->action : "");
    tell_host(w, &about, text, 0);
}
