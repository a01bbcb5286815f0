/* service/recall: what the registry says of an installed version that may run, kept for its next start: its record,
 * its manifest, who signed it, what was decided, whether anything is configured.  It is good as long as registry_epoch
 * says that nothing of the kind was written; whether a plugin is wanted is not of the kind, and is asked each time.
 * Never a configuration, which may hold secrets.  Jobs threads. */
#ifndef SERVICE_RECALL_H
#define SERVICE_RECALL_H

#include "service/internal.h"

#define RECALL_ENTRIES 64
#define RECALL_TEXT_MAX (256u << 10) /* of a manifest that is kept */

struct known {
    unsigned refs;                 /* recall's */
    struct registry_plugin plugin; /* but for `wanted` */
    struct registry_version record;
    struct buf text; /* the manifest's */
    struct trust_answer signer;
    bool decided; /* the rest is there as well */
    struct decisions decisions;
    bool configured; /* it is never kept then */
};

struct recall *recall_new(void); /* NULL: out of memory */
void recall_free(struct recall *r);

/* What was kept at this epoch, or NULL. version NULL or empty: the current one. */
struct known *recall_find(struct recall *r, const char *name, const char *version, uint64_t epoch);
/* Of the epoch that stood before anything of it was read, and still stands; it does not change any more. */
void recall_keep(struct recall *r, struct known *k, uint64_t epoch);

/* One reference, read by its caller alone until it is kept. NULL: out of memory. */
struct known *known_new(void);
void known_unref(struct recall *r, struct known *k); /* NULL is fine */

#endif
