/* service/import: an exported document as records, read where it stands.  Knows no registry and no loader: the fuzz
 * target reads any bytes with it.  One thread at a time. */
#ifndef SERVICE_IMPORT_H
#define SERVICE_IMPORT_H

#include "registry/dump.h"
#include "service/document.h"
#include "json/cursor.h"

#define IMPORT_MAX (1ull << 30)

struct import_masks {
    uint32_t capabilities, permissions;
};

struct import {
    struct document *document;           /* the caller's */
    const uint8_t *ceilings, *sources;   /* arrays; NULL: left out, as before there were any */
    const uint8_t *publishers, *plugins; /* arrays */
    /* Where the reading is. */
    const uint8_t *ceiling_at, *source_at, *publisher_at, *key_at, *plugin_at, *decision_at, *version_at;
    enum {
        IMPORT_CEILING,
        IMPORT_SOURCE,
        IMPORT_PUBLISHER,
        IMPORT_KEY,
        IMPORT_PLUGIN,
        IMPORT_DECISION,
        IMPORT_CONFIG,
        IMPORT_VERSION,
    } step;                                                            /* what comes next */
    size_t ceiling, source, publisher, key, plugin, decision, version; /* indices, for pointers */
    bool has_current, has_previous;                                    /* were they among the versions so far? */
    const uint8_t *config;
    struct buf manifest, config_text;
    char state[16], reason[REGISTRY_REASON_MAX + 1], version_text[REGISTRY_VERSION_MAX + 1], pointer[128];
    /* Of the version that was read, when it was checked. */
    struct import_masks masks;
    bool checking;
};

/* A document (service/document.h) as records; several may read one. MOAT_E_BAD_DOCUMENT with the pointer. checking:
 * with every manifest, so that what another reads of it afterwards has no fault of its own, and with `masks`. */
int import_open(struct import *in, struct document *document, bool checking, struct error *err);
/* One more that reads the same from its beginning; `of` was opened. */
void import_open_again(struct import *in, const struct import *of, bool checking);
/* Between two plugins: goes over the next one without a look. false: it is not there, or not between two. */
bool import_skip(struct import *in);
void import_close(struct import *in);                                      /* safe on zeroes */
int import_next(void *import, struct dump_record *out, struct error *err); /* see struct registry_import */
void import_where(void *import, struct error *err);

/* ---- import_read.c and import_version.c to each other ---- */

/* Of the record that is being read; it stays in in->pointer until the next one. */
const char *import_pointer(struct import *in);
int import_read_version(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err);

#endif
