#include "service/vault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint8_t sha256[32];
    struct manifest *manifest;
    struct unpacked files;
    uint64_t bytes, used; /* used 0: the entry is free */
};

struct vault {
    pthread_mutex_t lock;
    uint64_t clock, bytes;
    struct entry entries[VAULT_ENTRIES];
};

struct vault *vault_new(void)
{
    struct vault *v = calloc(1, sizeof *v);
    if (v)
        pthread_mutex_init(&v->lock, NULL);
    return v;
}

static void drop(struct vault *v, struct entry *e)
{
    if (!e->used)
        return;
    unpacked_free(&e->files);
    manifest_unref(e->manifest);
    v->bytes -= e->bytes;
    *e = (struct entry){0};
}

void vault_free(struct vault *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < VAULT_ENTRIES; i++)
        drop(v, &v->entries[i]);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static struct entry *find(struct vault *v, const uint8_t sha256[32])
{
    for (size_t i = 0; i < VAULT_ENTRIES; i++)
        if (v->entries[i].used && memcmp(v->entries[i].sha256, sha256, 32) == 0)
            return &v->entries[i];
    return NULL;
}

const struct unpacked *vault_lock(struct vault *v, const uint8_t sha256[32])
{
    pthread_mutex_lock(&v->lock);
    struct entry *e = find(v, sha256);
    if (!e) {
        pthread_mutex_unlock(&v->lock);
        return NULL;
    }
    e->used = ++v->clock;
    return &e->files;
}

void vault_unlock(struct vault *v)
{
    pthread_mutex_unlock(&v->lock);
}

struct manifest *vault_manifest(struct vault *v, const uint8_t sha256[32])
{
    pthread_mutex_lock(&v->lock);
    struct entry *e = find(v, sha256);
    struct manifest *m = e ? manifest_ref(e->manifest) : NULL;
    pthread_mutex_unlock(&v->lock);
    return m;
}

/* A free entry, or the longest unused. */
static struct entry *oldest(struct vault *v)
{
    struct entry *least = &v->entries[0];
    for (size_t i = 1; i < VAULT_ENTRIES; i++)
        if (v->entries[i].used < least->used)
            least = &v->entries[i];
    return least;
}

static struct entry *oldest_used(struct vault *v)
{
    struct entry *least = NULL;
    for (size_t i = 0; i < VAULT_ENTRIES; i++)
        if (v->entries[i].used && (!least || v->entries[i].used < least->used))
            least = &v->entries[i];
    return least;
}

void vault_keep(struct vault *v, const uint8_t sha256[32], struct manifest *manifest, struct unpacked *files)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < files->count; i++)
        bytes += files->sizes[i];
    pthread_mutex_lock(&v->lock);
    if (bytes <= VAULT_BYTES && !find(v, sha256)) {
        while (v->bytes + bytes > VAULT_BYTES)
            drop(v, oldest_used(v));
        struct entry *e = oldest(v);
        drop(v, e);
        memcpy(e->sha256, sha256, 32);
        e->manifest = manifest_ref(manifest);
        e->files = *files;
        e->bytes = bytes;
        e->used = ++v->clock;
        v->bytes += bytes;
        *files = (struct unpacked){0};
    }
    pthread_mutex_unlock(&v->lock);
    unpacked_free(files);
}
