#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "service/internal.h"

struct wait {
    struct waits *set;
    char name[MANIFEST_NAME_MAX + 1];
    bool done;
};

/* Lives until the last answer, however late: the waiting thread may have gone on by then. */
struct waits {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t refs, left, count, most;
    int code;
    struct error first;
    struct wait list[];
};

struct waits *waits_new(size_t most)
{
    struct waits *w = calloc(1, sizeof *w + most * sizeof w->list[0]);
    if (!w)
        return NULL;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, &clock);
    pthread_condattr_destroy(&clock);
    w->most = most;
    w->refs = 1;
    return w;
}

static void unref(struct waits *w)
{
    bool last = --w->refs == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void *waits_add(struct waits *w, const char *name)
{
    if (w->count == w->most)
        return NULL;
    struct wait *one = &w->list[w->count++];
    one->set = w;
    snprintf(one->name, sizeof one->name, "%s", name);
    pthread_mutex_lock(&w->lock);
    w->refs++;
    w->left++;
    pthread_mutex_unlock(&w->lock);
    return one;
}

void waits_done(void *context, const struct error *error)
{
    struct wait *one = context;
    struct waits *w = one->set;
    pthread_mutex_lock(&w->lock);
    one->done = true;
    w->left--;
    if (error && w->code == 0) {
        w->code = -(int)error->code;
        w->first = *error;
    }
    pthread_cond_signal(&w->changed);
    unref(w);
}

static void name_left(const struct waits *w, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < w->count && used < size; i++)
        if (!w->list[i].done)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", w->list[i].name);
}

int waits_finish(struct waits *w, uint64_t timeout_ns, struct error *err)
{
    uint64_t end = clock_mono_ns() + timeout_ns;
    struct timespec until = {.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (w->left && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    int code = w->code;
    if (code < 0 && err)
        *err = w->first;
    if (w->left) {
        char names[400];
        name_left(w, names, sizeof names);
        code = error_set(err, MOAT_E_REVOKE_INCOMPLETE, "workers of %s have not ended yet", names);
    }
    unref(w);
    return code;
}
