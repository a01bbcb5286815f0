#include "service/journal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define RECORD_LEAST 256 /* bytes: so that slots never are what is short */
#define AT_ONCE 64

struct journal {
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool started, closing, ends;
    /* lock: records [oldest, newest] */
    uint64_t oldest, newest, used, bytes;
    size_t nslots;
    struct record **slots; /* by number modulo nslots */
    struct journal_waiter waiters[JOURNAL_WAITERS + JOURNAL_SEATS];
    size_t nwaiters, standing; /* standing: those of the waiters that have no seat */
    size_t seated;             /* who has one, waiting or not */
    char name[9];
};

/* ---- records ---- */

void record_unref(struct record *r)
{
    if (r && atomic_fetch_sub(&r->refs, 1) == 1)
        free(r);
}

static size_t length(const char *text)
{
    return (text ? strlen(text) : 0) + 1;
}

static const char *put(char **at, const char *text)
{
    size_t len = length(text);
    const char *put_at = memcpy(*at, text ? text : "", len);
    *at += len;
    return put_at;
}

static struct record *record_new(const struct loader_line *line)
{
    size_t texts = length(line->plugin) + length(line->version) + length(line->action) + length(line->call) +
                   length(line->trace) + length(line->text);
    struct record *r = malloc(sizeof *r + texts);
    if (!r)
        return NULL;
    *r = (struct record){.refs = 1,
                         .at_ns = clock_wall_ns(),
                         .source = line->source,
                         .level = line->level & 3,
                         .pid = line->pid,
                         .dropped = line->dropped};
    char *at = r->texts;
    r->plugin = put(&at, line->plugin);
    r->version = put(&at, line->version);
    r->action = put(&at, line->action);
    r->call = put(&at, line->call);
    r->trace = put(&at, line->trace);
    r->text = put(&at, line->text);
    r->cost = sizeof *r + texts < RECORD_LEAST ? RECORD_LEAST : sizeof *r + texts;
    return r;
}

static struct record **slot(struct journal *j, uint64_t seq)
{
    return &j->slots[seq % j->nslots];
}

static void drop_oldest(struct journal *j)
{
    struct record *r = *slot(j, j->oldest);
    *slot(j, j->oldest++) = NULL;
    j->used -= r->cost;
    record_unref(r);
}

static size_t slots_for(uint64_t bytes)
{
    return (size_t)(bytes / RECORD_LEAST) + 1;
}

bool journal_limit(struct journal *j, uint64_t bytes)
{
    size_t n = slots_for(bytes);
    struct record **slots = calloc(n, sizeof *slots), **old;
    if (!slots)
        return false;
    pthread_mutex_lock(&j->lock);
    while (j->used > bytes)
        drop_oldest(j);
    for (uint64_t seq = j->oldest; seq <= j->newest; seq++)
        slots[seq % n] = *slot(j, seq);
    old = j->slots;
    j->slots = slots;
    j->nslots = n;
    j->bytes = bytes;
    pthread_mutex_unlock(&j->lock);
    free(old);
    return true;
}

/* Without memory, or larger than all that may be kept, a line is lost, as it would be a moment later. */
void journal_add(struct journal *j, const struct loader_line *line)
{
    struct record *r = record_new(line);
    if (!r)
        return;
    pthread_mutex_lock(&j->lock);
    if (r->cost > j->bytes) {
        pthread_mutex_unlock(&j->lock);
        record_unref(r);
        return;
    }
    while (j->used + r->cost > j->bytes)
        drop_oldest(j);
    r->seq = ++j->newest;
    *slot(j, r->seq) = r;
    j->used += r->cost;
    pthread_cond_signal(&j->news);
    pthread_mutex_unlock(&j->lock);
}

const char *journal_name(const struct journal *j)
{
    return j->name;
}

struct journal_span journal_span(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    struct journal_span span = {j->oldest, j->newest};
    pthread_mutex_unlock(&j->lock);
    return span;
}

static size_t take(struct journal *j, uint64_t from, uint64_t to, struct record **out, size_t max)
{
    size_t n = 0;
    from = from > j->oldest ? from : j->oldest;
    to = to < j->newest ? to : j->newest;
    for (; from <= to && n < max; from++) {
        out[n] = *slot(j, from);
        atomic_fetch_add(&out[n++]->refs, 1);
    }
    return n;
}

size_t journal_take(struct journal *j, uint64_t from, uint64_t to, struct record **out, size_t max)
{
    pthread_mutex_lock(&j->lock);
    size_t n = take(j, from, to, out, max);
    pthread_mutex_unlock(&j->lock);
    return n;
}

/* ---- waiting ---- */

enum journal_waits journal_wait(struct journal *j, const struct journal_waiter *waiter)
{
    pthread_mutex_lock(&j->lock);
    enum journal_waits rc = j->ends                                             ? JOURNAL_ENDS
                            : j->newest > waiter->after                         ? JOURNAL_MOVED
                            : !waiter->seated && j->standing == JOURNAL_WAITERS ? JOURNAL_CROWDED
                                                                                : JOURNAL_WAITS;
    if (rc == JOURNAL_WAITS) {
        j->waiters[j->nwaiters++] = *waiter;
        j->standing += !waiter->seated;
        pthread_cond_signal(&j->news); /* the thread may have to wake up earlier now */
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static struct journal_waiter take_out(struct journal *j, size_t i)
{
    struct journal_waiter w = j->waiters[i];
    j->standing -= !w.seated;
    j->waiters[i] = j->waiters[--j->nwaiters];
    return w;
}

bool journal_unwait(struct journal *j, const void *context)
{
    bool found = false;
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < j->nwaiters && !found; i++) {
        found = j->waiters[i].context == context;
        if (found)
            take_out(j, i);
    }
    pthread_mutex_unlock(&j->lock);
    return found;
}

bool journal_sit(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    bool free = j->seated < JOURNAL_SEATS;
    j->seated += free;
    pthread_mutex_unlock(&j->lock);
    return free;
}

void journal_stand(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->seated--;
    pthread_mutex_unlock(&j->lock);
}

void journal_end_waits(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->ends = true;
    pthread_cond_signal(&j->news);
    pthread_mutex_unlock(&j->lock);
}

static bool is_over(const struct journal *j, const struct journal_waiter *w, uint64_t now,
                    struct record *const *records, size_t n)
{
    if (j->ends || now >= w->until)
        return true;
    for (size_t i = 0; i < n; i++)
        if (records[i]->seq > w->after && w->fits(w->context, records[i]))
            return true;
    return false;
}

/* None of the records fits. What left before it was looked at is not seen. */
static void saw(struct journal_waiter *w, struct record *const *records, size_t n)
{
    if (n && records[0]->seq <= w->after + 1 && records[n - 1]->seq > w->after)
        w->after = records[n - 1]->seq;
}

/* Under the lock, which wake does not need: it hands over to another thread. */
static void wake(struct journal *j, struct record *const *records, size_t n)
{
    uint64_t now = clock_mono_ns();
    for (size_t i = 0; i < j->nwaiters;) {
        if (is_over(j, &j->waiters[i], now, records, n)) {
            struct journal_waiter w = take_out(j, i);
            w.wake(w.context, w.after);
        } else {
            saw(&j->waiters[i++], records, n);
        }
    }
}

/* ---- its thread ---- */

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* A plugin's own word for how bad things are raises no alarm of the host's. */
static void write_out(const struct record *r)
{
    static const char *const events[] = {"plugin_log", "plugin_output", "plugin_host"};
    static const char *const words[] = {"debug", "info", "warn", "error"};
    enum log_level level = r->source == LINE_HOST ? LOG_WARN : r->level ? LOG_INFO : LOG_DEBUG;
    if (log_enabled(level))
        log_event(level, events[r->source], "plugin", r->plugin, "version", or_null(r->version), "action",
                  or_null(r->action), "call", or_null(r->call), "trace", or_null(r->trace), "#pid", log_num(r->pid),
                  "line_level", words[r->level], "text", r->text, NULL);
}

static void wait_for_news(struct journal *j)
{
    uint64_t until = UINT64_MAX;
    for (size_t i = 0; i < j->nwaiters; i++)
        until = j->waiters[i].until < until ? j->waiters[i].until : until;
    if (until == UINT64_MAX) {
        pthread_cond_wait(&j->news, &j->lock);
        return;
    }
    struct timespec at = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
    pthread_cond_timedwait(&j->news, &j->lock, &at);
}

static void *run(void *context)
{
    struct journal *j = context;
    struct record *records[AT_ONCE];
    uint64_t done = 0;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        size_t n = take(j, done + 1, UINT64_MAX, records, AT_ONCE);
        wake(j, records, n);
        if (!n && j->closing)
            break;
        if (!n) {
            wait_for_news(j);
            continue;
        }
        pthread_mutex_unlock(&j->lock);
        if (records[0]->seq > done + 1)
            log_event(LOG_WARN, "log_skipped", "#lines", log_num(records[0]->seq - done - 1), NULL);
        done = records[n - 1]->seq;
        for (size_t i = 0; i < n; i++) {
            write_out(records[i]);
            record_unref(records[i]);
        }
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- open and close ---- */

static int start(struct journal *j, struct error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&j->lock, NULL);
    int rc = pthread_create(&j->thread, NULL, run, j);
    if (rc)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the log's thread");
    pthread_setname_np(j->thread, "moat-log");
    j->started = true;
    return 0;
}

static void name_it(struct journal *j)
{
    char id[33];
    call_make_id(id);
    memcpy(j->name, id + 32 - (sizeof j->name - 1), sizeof j->name - 1);
}

int journal_open(uint64_t bytes, struct journal **out, struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j) {
        j->bytes = bytes;
        j->oldest = 1;
        name_it(j);
        j->nslots = slots_for(bytes);
        j->slots = calloc(j->nslots, sizeof *j->slots); /* zero pages until they are used */
    }
    if (!j || !j->slots) {
        free(j);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the log");
    }
    int rc = start(j, err);
    if (rc < 0)
        journal_close(j);
    else
        *out = j;
    return rc;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->closing = j->ends = true;
    pthread_cond_signal(&j->news);
    pthread_mutex_unlock(&j->lock);
    if (j->started)
        pthread_join(j->thread, NULL);
    while (j->used)
        drop_oldest(j);
    pthread_cond_destroy(&j->news);
    pthread_mutex_destroy(&j->lock);
    free(j->slots);
    free(j);
}
