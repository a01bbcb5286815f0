#include "trace/spans.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "trace/otlp.h"
#include "trace/post.h"

#define GATHER_NS (500 * NS_PER_MS) /* a first span waits so long for others */
#define PAUSE_NS NS_PER_S           /* after a failure; twice as long after each more */
#define PAUSE_MAX_NS (30 * NS_PER_S)
#define BODY_MAX (4u << 20)
#define URL_MAX 1100
#define VERSION_MAX 32

struct spans {
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool started;
    char version[VERSION_MAX];
    struct post *post; /* the thread's, once it runs */
    /* lock */
    uint64_t first_ns; /* when the oldest that waits came; monotonic */
    size_t head, count;
    struct span *ring; /* SPANS_QUEUED */
    /* atomic */
    _Atomic bool closing;
    _Atomic uint64_t close_by;
    _Atomic uint64_t exported, dropped, refused;
    /* the thread's */
    struct span batch[SPANS_AT_ONCE];
    bool told; /* that the collector does not answer */
};

bool spans_is_endpoint(const char *url)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    if (!scheme || strlen(url) >= 1000 || strchr("/:", url[scheme]) || !url[scheme])
        return false;
    for (const char *c = url; *c; c++)
        if (*c <= ' ' || *c > '~' || strchr("@?#\"\\<>^`{|}", *c))
            return false;
    return true;
}

/* ---- the queue ---- */

void spans_add(struct spans *s, const struct span *span)
{
    pthread_mutex_lock(&s->lock);
    bool full = s->count == SPANS_QUEUED;
    if (!full) {
        s->ring[(s->head + s->count++) % SPANS_QUEUED] = *span;
        if (s->count == 1)
            s->first_ns = clock_mono_ns();
        if (s->count == 1 || s->count == SPANS_AT_ONCE)
            pthread_cond_signal(&s->news);
    }
    pthread_mutex_unlock(&s->lock);
    if (full)
        atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
}

struct spans_figures spans_figures(struct spans *s)
{
    pthread_mutex_lock(&s->lock);
    size_t queued = s->count;
    pthread_mutex_unlock(&s->lock);
    return (struct spans_figures){.exported = atomic_load(&s->exported),
                                  .dropped = atomic_load(&s->dropped),
                                  .refused = atomic_load(&s->refused),
                                  .queued = queued};
}

static void wait_until(struct spans *s, uint64_t until)
{
    struct timespec at = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
    pthread_cond_timedwait(&s->news, &s->lock, &at);
}

/* Waits for enough, or for the first one's time to be over; 0: the end. */
static size_t take_batch(struct spans *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->closing && s->count < SPANS_AT_ONCE) {
        if (!s->count)
            pthread_cond_wait(&s->news, &s->lock);
        else if (clock_mono_ns() < s->first_ns + GATHER_NS)
            wait_until(s, s->first_ns + GATHER_NS);
        else
            break;
    }
    size_t n = s->count < SPANS_AT_ONCE ? s->count : SPANS_AT_ONCE;
    for (size_t i = 0; i < n; i++)
        s->batch[i] = s->ring[(s->head + i) % SPANS_QUEUED];
    s->head = (s->head + n) % SPANS_QUEUED;
    s->count -= n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- sending ---- */

static bool in_time(void *context)
{
    const struct spans *s = context;
    return !atomic_load(&s->closing) || clock_mono_ns() < atomic_load(&s->close_by);
}

/* Once for each time that it goes wrong, and once when it is well again. */
static void tell(struct spans *s, const struct error *why)
{
    if (why && !s->told)
        log_event(LOG_WARN, "spans_not_exported", "why", why->message, NULL);
    if (!why && s->told)
        log_event(LOG_INFO, "spans_exported_again", "#dropped", log_num(atomic_load(&s->dropped)), NULL);
    s->told = why != NULL;
}

/* Or until the exporter closes. */
static void pause_for(struct spans *s, uint64_t ns)
{
    uint64_t until = clock_mono_ns() + ns;
    pthread_mutex_lock(&s->lock);
    while (!s->closing && clock_mono_ns() < until)
        wait_until(s, until);
    pthread_mutex_unlock(&s->lock);
}

static void count_taken(struct spans *s, size_t n, const struct buf *answer)
{
    uint64_t rejected = otlp_rejected(buf_text(answer), answer->len, "rejectedSpans");
    rejected = rejected < n ? rejected : n;
    atomic_fetch_add(&s->exported, n - rejected);
    atomic_fetch_add(&s->refused, rejected);
    tell(s, NULL);
}

/* Until the collector has it, or says that it never will; once more when the exporter closes. */
static void deliver(struct spans *s, const struct buf *body, size_t n)
{
    uint64_t pause = PAUSE_NS, asked;
    for (;;) {
        bool last = atomic_load(&s->closing);
        struct error why;
        buf_auto answer = BUF_INIT(64 * 1024);
        switch (post_json(s->post, body, in_time, s, &answer, &asked, &why)) {
        case POST_TAKEN:
            count_taken(s, n, &answer);
            return;
        case POST_REFUSED:
            atomic_fetch_add(&s->refused, n);
            tell(s, &why);
            return;
        case POST_AGAIN:
            tell(s, &why);
        }
        if (last) {
            atomic_fetch_add(&s->dropped, n);
            return;
        }
        pause_for(s, asked > pause ? (asked < PAUSE_MAX_NS ? asked : PAUSE_MAX_NS) : pause);
        pause = pause < PAUSE_MAX_NS / 2 ? 2 * pause : PAUSE_MAX_NS;
    }
}

static void *run(void *context)
{
    struct spans *s = context;
    size_t n;
    while ((n = take_batch(s)) > 0) {
        buf_auto body = BUF_INIT(BODY_MAX);
        if (!in_time(s) || !otlp_encode(&body, s->version, s->batch, n))
            atomic_fetch_add(&s->dropped, n);
        else
            deliver(s, &body, n);
    }
    return NULL;
}

/* ---- open and close ---- */

static int start(struct spans *s, const char *url, struct error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    int rc = post_open(url, &s->post, err);
    if (rc == 0 && (rc = pthread_create(&s->thread, NULL, run, s)))
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the exporter's thread");
    if (rc < 0)
        return rc;
    pthread_setname_np(s->thread, "moat-spans");
    s->started = true;
    return 0;
}

int spans_open(const char *endpoint, const char *version, struct spans **out, struct error *err)
{
    char url[URL_MAX];
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/')
        len--;
    snprintf(url, sizeof url, "%.*s/v1/traces", (int)len, endpoint);
    struct spans *s = calloc(1, sizeof *s);
    if (s)
        s->ring = calloc(SPANS_QUEUED, sizeof *s->ring); /* zero pages until they are used */
    if (!s || !s->ring) {
        free(s);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for spans");
    }
    text_copy(s->version, sizeof s->version, version);
    int rc = start(s, url, err);
    if (rc < 0)
        spans_close(s, 0);
    else
        *out = s;
    return rc;
}

void spans_close(struct spans *s, uint64_t grace_ns)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->close_by, clock_mono_ns() + grace_ns);
    atomic_store(&s->closing, true);
    pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    struct spans_figures f = spans_figures(s);
    if (f.dropped || f.refused)
        log_event(LOG_WARN, "spans_lost", "#dropped", log_num(f.dropped), "#refused", log_num(f.refused), NULL);
    post_close(s->post);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}
