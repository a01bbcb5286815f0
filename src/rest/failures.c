#include "rest/failures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct failures {
    pthread_mutex_t lock;
    uint64_t kept, nobodys; /* ever */
    struct failure ring[FAILURES_KEPT], ring_nobodys[FAILURES_NOBODYS];
};

struct failures *failures_new(void)
{
    struct failures *f = calloc(1, sizeof *f); /* zero pages until they are used */
    if (f)
        pthread_mutex_init(&f->lock, NULL);
    return f;
}

void failures_free(struct failures *f)
{
    if (f)
        pthread_mutex_destroy(&f->lock);
    free(f);
}

void failures_keep(struct failures *f, const struct failure *one)
{
    bool nobodys = one->code == MOAT_E_UNAUTHORIZED;
    pthread_mutex_lock(&f->lock);
    if (nobodys)
        f->ring_nobodys[f->nobodys++ % FAILURES_NOBODYS] = *one;
    else
        f->ring[f->kept++ % FAILURES_KEPT] = *one;
    pthread_mutex_unlock(&f->lock);
}

static const struct failure *find(const struct failure *ring, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(ring[i].id, id) == 0)
            return &ring[i];
    return NULL;
}

bool failures_find(struct failures *f, const char *id, struct failure *out)
{
    if (!*id)
        return false;
    pthread_mutex_lock(&f->lock);
    const struct failure *one = find(f->ring, FAILURES_KEPT, id);
    if (!one)
        one = find(f->ring_nobodys, FAILURES_NOBODYS, id);
    if (one)
        *out = *one;
    pthread_mutex_unlock(&f->lock);
    return one != NULL;
}
