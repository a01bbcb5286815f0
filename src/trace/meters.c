#include "trace/meters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "trace/otlp.h"
#include "trace/post.h"

#define PAUSE_NS NS_PER_S /* after a failure; twice as long after each more */
#define PAUSE_MAX_NS (30 * NS_PER_S)
#define TRIES_MAX 10 /* then the next one is waited for */
#define URL_MAX 1100

struct meters {
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool started;
    struct post *post; /* the thread's, once it runs */
    /* lock */
    struct buf next;
    bool waits; /* there is a next one */
    /* atomic */
    _Atomic bool closing;
    _Atomic uint64_t close_by;
    _Atomic uint64_t exported, dropped, refused;
    /* the thread's */
    bool told; /* that the collector does not answer */
};

void meters_send(struct meters *m, struct buf *body)
{
    pthread_mutex_lock(&m->lock);
    if (m->waits) {
        buf_free(&m->next);
        atomic_fetch_add(&m->dropped, 1);
    }
    m->next = *body;
    m->waits = true;
    pthread_cond_signal(&m->news);
    pthread_mutex_unlock(&m->lock);
    *body = (struct buf){0};
}

struct meters_figures meters_figures(struct meters *m)
{
    return (struct meters_figures){.exported = atomic_load(&m->exported),
                                   .dropped = atomic_load(&m->dropped),
                                   .refused = atomic_load(&m->refused)};
}

/* ---- the thread ---- */

static bool take(struct meters *m, struct buf *out)
{
    pthread_mutex_lock(&m->lock);
    while (!m->waits && !m->closing)
        pthread_cond_wait(&m->news, &m->lock);
    bool some = m->waits;
    *out = m->next;
    m->next = (struct buf){0};
    m->waits = false;
    pthread_mutex_unlock(&m->lock);
    return some;
}

static bool in_time(void *context)
{
    const struct meters *m = context;
    return !atomic_load(&m->closing) || clock_mono_ns() < atomic_load(&m->close_by);
}

/* Or until a newer one is there, or the end. */
static void pause_for(struct meters *m, uint64_t ns)
{
    uint64_t until = clock_mono_ns() + ns;
    struct timespec at = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
    pthread_mutex_lock(&m->lock);
    while (!m->closing && !m->waits && clock_mono_ns() < until)
        pthread_cond_timedwait(&m->news, &m->lock, &at);
    pthread_mutex_unlock(&m->lock);
}

static bool is_overtaken(struct meters *m)
{
    pthread_mutex_lock(&m->lock);
    bool newer = m->waits;
    pthread_mutex_unlock(&m->lock);
    return newer;
}

/* Once for each time that it goes wrong, and once when it is well again. */
static void tell(struct meters *m, const struct error *why)
{
    if (why && !m->told)
        log_event(LOG_WARN, "metrics_not_exported", "why", why->message, NULL);
    if (!why && m->told)
        log_event(LOG_INFO, "metrics_exported_again", "#dropped", log_num(atomic_load(&m->dropped)), NULL);
    m->told = why != NULL;
}

static void deliver(struct meters *m, const struct buf *body)
{
    uint64_t pause = PAUSE_NS, asked;
    for (int i = 1;; i++) {
        bool last = atomic_load(&m->closing);
        struct error why;
        buf_auto answer = BUF_INIT(64 * 1024);
        enum post_result got = post_json(m->post, body, in_time, m, &answer, &asked, &why);
        bool refused = got == POST_REFUSED ||
                       (got == POST_TAKEN && otlp_rejected(buf_text(&answer), answer.len, "rejectedDataPoints"));
        tell(m, got == POST_TAKEN ? NULL : &why);
        if (got != POST_AGAIN) {
            atomic_fetch_add(refused ? &m->refused : &m->exported, 1);
            return;
        }
        if (last || i == TRIES_MAX || is_overtaken(m)) {
            atomic_fetch_add(&m->dropped, 1);
            return;
        }
        pause_for(m, asked > pause ? (asked < PAUSE_MAX_NS ? asked : PAUSE_MAX_NS) : pause);
        pause = pause < PAUSE_MAX_NS / 2 ? 2 * pause : PAUSE_MAX_NS;
    }
}

static void *run(void *context)
{
    struct meters *m = context;
    struct buf body;
    while (take(m, &body)) {
        deliver(m, &body);
        buf_free(&body);
    }
    return NULL;
}

/* ---- open and close ---- */

static int start(struct meters *m, const char *url, struct error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->lock, NULL);
    int rc = post_open(url, &m->post, err);
    if (rc == 0 && (rc = pthread_create(&m->thread, NULL, run, m)))
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the exporter's thread");
    if (rc < 0)
        return rc;
    pthread_setname_np(m->thread, "moat-meters");
    m->started = true;
    return 0;
}

int meters_open(const char *endpoint, struct meters **out, struct error *err)
{
    char url[URL_MAX];
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/')
        len--;
    snprintf(url, sizeof url, "%.*s/v1/metrics", (int)len, endpoint);
    struct meters *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the exporter");
    int rc = start(m, url, err);
    if (rc < 0)
        meters_close(m, 0);
    else
        *out = m;
    return rc;
}

void meters_close(struct meters *m, uint64_t grace_ns)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->close_by, clock_mono_ns() + grace_ns);
    atomic_store(&m->closing, true);
    pthread_cond_signal(&m->news);
    pthread_mutex_unlock(&m->lock);
    if (m->started)
        pthread_join(m->thread, NULL);
    post_close(m->post);
    pthread_cond_destroy(&m->news);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
