#include "service/recall.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct known *known; /* NULL: free */
    uint64_t epoch, used;
};

struct recall {
    pthread_mutex_t lock;
    uint64_t clock;
    struct entry entries[RECALL_ENTRIES];
};

struct known *known_new(void)
{
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->refs = 1;
    k->text = BUF_INIT(2 * MANIFEST_MAX);
    return k;
}

/* Under the lock, or when nobody else knows it. */
static void drop(struct known *k)
{
    if (!k || --k->refs)
        return;
    decisions_free(&k->decisions);
    buf_free(&k->text);
    free(k);
}

void known_unref(struct recall *r, struct known *k)
{
    pthread_mutex_lock(&r->lock);
    drop(k);
    pthread_mutex_unlock(&r->lock);
}

struct recall *recall_new(void)
{
    struct recall *r = calloc(1, sizeof *r);
    if (r)
        pthread_mutex_init(&r->lock, NULL);
    return r;
}

void recall_free(struct recall *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < RECALL_ENTRIES; i++)
        drop(r->entries[i].known);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static bool is_of(const struct entry *e, const char *name, const char *version_or_null)
{
    const struct known *k = e->known;
    const char *version = version_or_null && *version_or_null ? version_or_null : k ? k->plugin.current : "";
    return k && strcmp(k->record.name, name) == 0 && strcmp(k->record.version, version) == 0;
}

struct known *recall_find(struct recall *r, const char *name, const char *version, uint64_t epoch)
{
    struct known *found = NULL;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < RECALL_ENTRIES; i++) {
        struct entry *e = &r->entries[i];
        if (!is_of(e, name, version) || e->epoch != epoch)
            continue;
        e->used = ++r->clock;
        found = e->known;
        found->refs++;
        break;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* The version's own place, else a free one, else that of the longest unused. */
static struct entry *place_of(struct recall *r, const struct known *k)
{
    struct entry *least = &r->entries[0];
    for (size_t i = 0; i < RECALL_ENTRIES; i++) {
        struct entry *e = &r->entries[i];
        if (is_of(e, k->record.name, k->record.version))
            return e;
        if (e->used < least->used)
            least = e;
    }
    return least;
}

void recall_keep(struct recall *r, struct known *k, uint64_t epoch)
{
    if (k->text.len > RECALL_TEXT_MAX)
        return;
    pthread_mutex_lock(&r->lock);
    struct entry *e = place_of(r, k);
    drop(e->known);
    k->refs++;
    *e = (struct entry){.known = k, .epoch = epoch, .used = ++r->clock};
    pthread_mutex_unlock(&r->lock);
}
