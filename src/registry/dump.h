/* registry/dump: everything that is known of names and versions, out of one registry and into another.  Part of
 * registry.h for those who export and import; see docs/versions.md for what belongs to it. */
#ifndef REGISTRY_DUMP_H
#define REGISTRY_DUMP_H

#include "registry/registry.h"

/* Texts are the registry's during the call, or the caller's until the next record is asked for. */
struct dump_version {
    const char *version, *state, *reason, *manifest; /* state: the operator's word: available, deprecated, archived */
    size_t manifest_len;
    uint8_t sha256[32], key_id[32];
    uint64_t size, signed_at, expires_at, installed_at, changed_at;
    uint32_t capabilities, permissions;
};

/* Names in their order, those without a version too (their owner and decisions are remembered). */
int registry_each_name(struct registry_reader *reader, bool (*each)(void *context, const struct registry_plugin *p),
                       void *context, struct error *err);
/* In the order in which they were installed. */
int registry_each_dump(struct registry_reader *reader, const char *name,
                       bool (*each)(void *context, const struct dump_version *v), void *context, struct error *err);

enum dump_kind {
    DUMP_CEILING,
    DUMP_SOURCE,
    DUMP_PUBLISHER,
    DUMP_KEY,
    DUMP_PLUGIN,
    DUMP_DECISION,
    DUMP_CONFIG,
    DUMP_VERSION,
    DUMP_PLUGIN_END
};

/* A plugin's record is followed by its decisions, configuration and versions and then its end. */
struct dump_record {
    enum dump_kind kind;
    struct registry_ceiling ceiling;
    struct registry_source source;
    struct registry_publisher publisher;
    struct registry_key key;
    struct registry_plugin plugin; /* of PLUGIN and everything up to its end */
    struct registry_decision decision;
    const char *config; /* what may be shown of the configuration: a JSON object; secrets that are set stay */
    struct dump_version version;
};

/* REGISTRY_IMPORT.  What the records name becomes as they say; what they do not name stays.  A version never changes
 * (MOAT_E_ALREADY_EXISTS), a name keeps its owner (MOAT_E_NAME_NOT_ALLOWED), a key its publisher, and a revoked key
 * stays revoked; the newest version ever seen only grows. Ceilings only come; a source that is another here is
 * MOAT_E_ALREADY_EXISTS. A version whose package is not in the store is damaged until
 * it is installed. */
struct registry_import {
    /* 1: *out is the next record; 0: there is no more; or an error. On the store thread: it may wait for
     * nobody but a thread that checks the records before it, and that waits for nothing. */
    int (*next)(void *context, struct dump_record *out, struct error *err);
    /* Where the last record stands, to name it in an error. */
    void (*where)(void *context, struct error *err);
    void *context;
    int (*compare)(const char *a, const char *b);        /* of versions */
    uint64_t publishers, keys, plugins, versions, added; /* out; added: versions that were not there */
    uint64_t ceilings, sources;                          /* out */
};

#endif
