/* registry/internal: the registry as its own files see it.  Private to src/registry. */
#ifndef REGISTRY_INTERNAL_H
#define REGISTRY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "registry/audit.h"
#include "registry/db.h"
#include "registry/gather.h"
#include "registry/registry.h"

/* What was written last of a plugin; name empty: nothing. */
#define WANTED_NOTES 64
struct wanted_note {
    char name[REGISTRY_NAME_MAX + 1];
    enum registry_wanted wanted;
};

struct registry {
    char plugin_dir[PATH_MAX], file[PATH_MAX];
    struct db writer; /* the store thread's, once it runs */

    pthread_t store;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t waiting;
    struct registry_command *first, **last;
    bool stopping;
    struct gather gather;
    bool (*collect)(void *context); /* see registry_gather_from */
    void *collect_context;
    uint64_t collect_ns; /* when next; UINT64_MAX: when there is something again */
    bool collect_soon;   /* there is, since it was asked last */
    bool collecting, writing_gathered;
    pthread_cond_t written;   /* neither of the two any more */
    uint64_t gathered_writes; /* how often they were begun */
    _Atomic uint64_t commits, commands;
    _Atomic uint64_t epoch; /* see registry_epoch */
    struct wanted_note notes[WANTED_NOTES];
    unsigned next_note;

    /* The store thread's, 32 bytes each: packages that are marked (files.h) until the open transaction has ended. */
    struct buf marked;
    struct registry_audit_head head; /* of the trail, with what the open transaction appended */
    uint64_t now_ms;                 /* the open transaction's */
    struct gather gathered;          /* what it writes besides commands */
};

struct registry_reader {
    struct registry *registry;
    struct db db;
};

/* A row that no code of ours wrote: it is closed. -MOAT_E_STORAGE_FAILED. */
int reader_damaged(struct registry_reader *reader, sqlite3_stmt *row, struct error *err);

/* Inside a transaction. */
int counter_add(struct db *db, const struct registry_count *count, uint64_t now_ms, struct error *err);
int starts_add(struct db *db, const struct registry_starts *more, uint64_t now_ms, struct error *err);
int denials_add(struct db *db, const struct gather_denial *first, struct error *err);

/* Which versions refer to this package? For files.h; context: the registry, on whose thread its writer is. */
int store_fate(void *registry, const uint8_t sha256[32], struct error *err);

/* wanted.c, on the store thread: what this transaction (NULL: nobody knows what) leaves of the notes. */
void wanted_forget(struct registry *r);
void wanted_take(struct registry *r, const struct registry_command *group);

int store_start(struct registry *r, struct error *err);
void store_stop(struct registry *r);

#endif
