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
    struct document document;
    const uint8_t *publishers, *plugins; /* the two arrays */
    /* Where the reading is. */
    const uint8_t *publisher_at, *key_at, *plugin_at, *decision_at, *version_at;
    int step;                                         /* what comes next */
    size_t publisher, key, plugin, decision, version; /* indices, for pointers */
    const uint8_t *config;
    struct buf manifest, config_text;
    char state[16], reason[REGISTRY_REASON_MAX + 1], version_text[REGISTRY_VERSION_MAX + 1], pointer[128];
    /* Of every version, in order: found when it was checked, told when it is stored. */
    struct import_masks *masks;
    size_t nmasks, cap, mask;
    bool checking;
};

/* Maps the file. MOAT_E_BAD_JSON, MOAT_E_BAD_DOCUMENT with the pointer, MOAT_E_TOO_LARGE. */
int import_open(struct import *in, int fd, struct error *err);
/* The same for bytes at hand, which are copied. */
int import_open_bytes(struct import *in, const void *bytes, size_t len, struct error *err);
void import_close(struct import *in); /* safe on zeroes */

/* Every record, with its manifest: what import_next gives afterwards has no fault of its own. */
int import_check(struct import *in, struct error *err);
void import_rewind(struct import *in);
int import_next(void *import, struct dump_record *out, struct error *err); /* see struct registry_import */
void import_where(void *import, struct error *err);

#endif
