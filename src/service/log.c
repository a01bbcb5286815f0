/* What plugins said, as routes tell it: filtered, by page, or once there is more; and what of it belongs to one call.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "service/log.h"
#include "service/tell.h"

#define LIMIT_DEFAULT 100
#define WAIT_MAX_NS (60 * NS_PER_S)
#define AT_ONCE 64
#define LINES_OF_CALL 200
#define LAST_LINES 20 /* of a worker that died */

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const source_names[LINE_SOURCES] = {"log", "output", "host"};

static void tell_or_null(struct buf *out, const char *key, const char *text)
{
    tell_text(out, key, *text ? text : NULL);
}

void log_tell(struct buf *out, const struct record *r)
{
    tell_open(out, NULL, '{');
    tell_number(out, "seq", r->seq);
    tell_time(out, "time", r->at_ns);
    tell_text(out, "plugin", r->plugin);
    tell_or_null(out, "version", r->version);
    tell_or_null(out, "action", r->action);
    tell_or_null(out, "call", r->call);
    tell_or_null(out, "trace", r->trace);
    tell_number(out, "pid", (uint64_t)r->pid);
    tell_text(out, "source", source_names[r->source]);
    tell_text(out, "level", level_names[r->level]);
    tell_text(out, "text", r->text);
    tell_number(out, "dropped", r->dropped);
    tell_close(out, '}');
}

/* ---- a page ---- */

bool log_fits(const void *filter, const struct record *r)
{
    const struct log_filter *f = filter;
    return r->level >= f->level && (f->source < 0 || r->source == (enum line_source)f->source) &&
           r->at_ns >= f->since_ns && (!*f->plugin || strcmp(f->plugin, r->plugin) == 0) &&
           (!*f->call || strcmp(f->call, r->call) == 0) && (!*f->trace || strcmp(f->trace, r->trace) == 0);
}

/* Of [from, to] what fits, from the front; *seen: all up to there was looked at. */
static size_t page_forward(struct log_op *l, struct record **page, uint64_t *seen)
{
    struct journal *j = l->op.s->journal;
    struct record *some[AT_ONCE];
    size_t n, used = 0;
    while (used < l->limit && (n = journal_take(j, *seen + 1, UINT64_MAX, some, AT_ONCE)) > 0) {
        for (size_t i = 0; i < n; i++) {
            bool room = used < l->limit;
            if (room)
                *seen = some[i]->seq;
            if (room && log_fits(&l->filter, some[i]))
                page[used++] = some[i];
            else
                record_unref(some[i]);
        }
    }
    return used;
}

static void reverse(struct record **page, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct record *r = page[i];
        page[i] = page[n - 1 - i];
        page[n - 1 - i] = r;
    }
}

/* The newest that are wanted up to `to`, in the order they came. */
static size_t page_backward(struct journal *j, uint64_t to, uint64_t since_ns, size_t max, struct record **page,
                            bool (*wanted)(void *context, const struct record *r), void *context)
{
    struct record *some[AT_ONCE];
    size_t used = 0;
    bool more = true;
    while (more && to) {
        uint64_t from = to > AT_ONCE ? to - AT_ONCE + 1 : 1;
        size_t n = journal_take(j, from, to, some, AT_ONCE);
        more = n > 0 && some[0]->seq == from && from > 1;
        for (size_t i = n; i-- > 0;) {
            if (used < max && some[i]->at_ns >= since_ns && wanted(context, some[i]))
                page[used++] = some[i];
            else
                record_unref(some[i]);
        }
        more = more && used < max;
        to = from - 1;
    }
    reverse(page, used);
    return used;
}

static bool fits_page(void *filter, const struct record *r)
{
    return log_fits(filter, r);
}

size_t log_newest(struct log_op *l, uint64_t to, struct record **page)
{
    return page_backward(l->op.s->journal, to, l->filter.since_ns, l->limit, page, fits_page, &l->filter);
}

/* lost: of what came behind `after`, so much had left before it was asked for. */
static void tell_page(struct log_op *l, struct record **page, size_t n, uint64_t next, uint64_t lost)
{
    struct buf *out = &l->op.result;
    tell_open(out, NULL, '{');
    tell_open(out, "records", '[');
    for (size_t i = 0; i < n; i++) {
        log_tell(out, page[i]);
        record_unref(page[i]);
    }
    tell_close(out, ']');
    tell_number(out, "next", next);
    tell_number(out, "lost", lost);
    tell_close(out, '}');
}

int log_check_name(struct log_op *l, struct job *job, size_t found)
{
    struct registry_plugin plugin;
    if (!*l->filter.plugin || found)
        return 0;
    int rc = registry_find_plugin(job->reader, l->filter.plugin, &plugin, &l->op.error);
    if (rc == 0 || (rc > 0 && !plugin.versions))
        return error_set(&l->op.error, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", l->filter.plugin);
    return rc < 0 ? rc : 0;
}

static void page(struct op *op, struct job *job);

static bool fits_op(const void *op, const struct record *r)
{
    return log_fits(&((const struct log_op *)op)->filter, r);
}

static void wake(void *op, uint64_t seen)
{
    (void)seen; /* the page is looked through again: a record that fits is behind it */
    op_loader_done(op, NULL);
}

/* true: the operation goes on later, and is no longer ours. */
static bool waits(struct log_op *l, uint64_t seen)
{
    uint64_t now = clock_mono_ns();
    if (!l->until)
        l->until = now + l->wait_ns;
    if (now >= l->until)
        return false;
    l->after = seen;
    struct journal_waiter w = {
        .after = seen, .until = l->until, .fits = fits_op, .wake = wake, .context = op_wait(&l->op, page)};
    switch (journal_wait(l->op.s->journal, &w)) {
    case JOURNAL_WAITS:
        return true;
    case JOURNAL_MOVED:
        op_then(&l->op, page);
        return true;
    case JOURNAL_CROWDED:
        op_end(&l->op, error_set(&l->op.error, MOAT_E_QUEUE_FULL, "%d others wait for lines already", JOURNAL_WAITERS));
        return true;
    case JOURNAL_ENDS:
        break;
    }
    return false;
}

static void page(struct op *op, struct job *job)
{
    struct log_op *l = (struct log_op *)op;
    struct record *list[LOG_PAGE_MAX];
    if (op->code < 0) {
        op_end(op, op->code);
        return;
    }
    struct journal_span span = journal_span(op->s->journal);
    uint64_t seen = span.newest, lost = 0;
    size_t n;
    if (l->goes_on) {
        /* A number that this server has not reached is of another one's life: from the beginning. */
        seen = l->after > span.newest ? 0 : l->after;
        lost = span.oldest > seen + 1 ? span.oldest - seen - 1 : 0;
        n = page_forward(l, list, &seen);
    } else {
        uint64_t to = l->before && l->before <= span.newest ? l->before - 1 : span.newest;
        n = log_newest(l, to, list);
    }
    int rc = log_check_name(l, job, n);
    if (rc == 0 && l->goes_on && !n && l->wait_ns && waits(l, seen))
        return;
    tell_page(l, list, n, seen, lost);
    op_end(op, rc);
}

static int index_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], word) == 0)
            return (int)i;
    return -1;
}

static int parse_times(struct log_op *l, const struct service_log *f, struct error *err)
{
    uint64_t span = 0, now = clock_wall_ns();
    if (f->since && !clock_parse_span(f->since, &span))
        return error_set(err, MOAT_E_BAD_REQUEST, "since is not " CLOCK_SPAN_FORM " 90s, 10m or 7d");
    if (f->since)
        l->filter.since_ns = now > span ? now - span : 0;
    if (f->wait && (!clock_parse_span(f->wait, &l->wait_ns) || l->wait_ns > WAIT_MAX_NS))
        return error_set(err, MOAT_E_BAD_REQUEST, "wait is not a TIME of at most 60s");
    return 0;
}

int log_parse(struct log_op *l, const struct service_log *f, struct error *err)
{
    struct target target;
    l->filter.source = -1;
    l->goes_on = f->goes_on;
    l->after = f->after;
    l->before = f->before;
    l->limit = !f->limit ? LIMIT_DEFAULT : f->limit < LOG_PAGE_MAX ? f->limit : LOG_PAGE_MAX;
    if (f->plugin && target_parse(f->plugin, false, &target, err) < 0)
        return -(int)err->code;
    if (f->plugin)
        memcpy(l->filter.plugin, target.name, sizeof l->filter.plugin);
    int level = f->level ? index_of(f->level, level_names, 4) : 0;
    if (level < 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "level is one of debug, info, warn, error");
    l->filter.level = (unsigned)level;
    if (f->source && (l->filter.source = index_of(f->source, source_names, LINE_SOURCES)) < 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "source is one of log, output, host");
    if (!text_copy(l->filter.call, sizeof l->filter.call, f->call ? f->call : "") ||
        !text_copy(l->filter.trace, sizeof l->filter.trace, f->trace ? f->trace : ""))
        return error_set(err, MOAT_E_BAD_REQUEST, "the ids of calls and of traces have 32 digits");
    return parse_times(l, f, err);
}

void service_log(struct service *s, const struct service_log *filter, service_done done, void *context)
{
    struct log_op *l = op_new(s, sizeof *l, done, context);
    if (!l)
        return;
    l->op.code = log_parse(l, filter, &l->op.error);
    op_begin(&l->op, NULL, page);
}

void service_end_waits(struct service *s)
{
    journal_end_waits(s->journal);
}

/* ---- of one call ---- */

struct of_call {
    const char *call;
    const struct record *died; /* the host's word that the worker died in it */
    unsigned last;             /* lines of that worker so far */
};

/* Newest first: the death comes before the last lines, whichever call they were told of. */
static bool is_of_call(void *context, const struct record *r)
{
    struct of_call *o = context;
    bool its = strcmp(r->call, o->call) == 0;
    if (its && r->source == LINE_HOST && !o->died)
        o->died = r;
    bool last = o->died && r->pid == o->died->pid && o->last < LAST_LINES;
    o->last += last;
    return its || last;
}

void service_log_of(struct service *s, const char *call_id, struct buf *out)
{
    struct record *list[LINES_OF_CALL];
    struct of_call of = {.call = call_id};
    size_t n =
        !*call_id ? 0
                  : page_backward(s->journal, journal_span(s->journal).newest, 0, LINES_OF_CALL, list, is_of_call, &of);
    tell_open(out, NULL, '[');
    for (size_t i = 0; i < n; i++) {
        log_tell(out, list[i]);
        record_unref(list[i]);
    }
    tell_close(out, ']');
}
