/* package/manifest: plugin.json, read strictly once and then immutable.  Owns every string it shows.
 * The same reader serves the packer (a file of the author's) and the host (verified bytes of a package). */
#ifndef PACKAGE_MANIFEST_H
#define PACKAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"
#include "json/json.h"

#define MANIFEST_MAX (1024 * 1024)
#define MANIFEST_NAME_MAX 30
#define MANIFEST_ACTION_MAX 32
#define MANIFEST_VERSION_MAX 64

struct manifest_action {
    const char *name, *description;
    bool idempotent;
    const char *parameters_json, *result_json; /* schemas as text; "{}" when left out */
    struct json_schema *parameters, *result;   /* compiled */
    bool promises;                             /* the manifest says what the result is */
};

struct manifest_ask {
    enum permission permission;
    bool required;
    const char *const *scopes; /* what the author suggests: paths, hosts, …, as a grant's scope; may be empty */
    size_t nscopes;
};

/* A request, defaults filled in; the operator's caps are not applied here. */
struct manifest_limits {
    uint64_t memory, tmp, file_size; /* bytes */
    uint32_t processes, workers, descriptors;
    uint64_t deadline_ns; /* 0: left out, the host's default */
    uint64_t cpu_ns;      /* CPU time of one call; 0: left out, the deadline alone bounds it */
};

struct manifest {
    const char *name, *version, *author, *description, *license, *homepage;
    const char *const *keywords;
    size_t nkeywords;
    const char *engine; /* "native" */
    const char *entry;
    const char *const *libraries, *const *assets;
    size_t nlibraries, nassets;
    uint32_t capabilities; /* bit 1 << enum capability */
    const struct manifest_ask *asks;
    size_t nasks;
    const struct manifest_action *actions;
    size_t nactions;
    const char *config_json;     /* schema; "{}" when left out */
    struct json_schema *config;  /* compiled */
    const char *config_defaults; /* JSON object made of the schema's defaults */
    struct manifest_limits limits;
    bool state;
};

/* MOAT_E_BAD_JSON or MOAT_E_BAD_MANIFEST with the JSON Pointer. */
int manifest_parse(const uint8_t *text, size_t len, struct manifest **out, struct error *err);
/* The same for an author: every fault becomes a finding (package/package.h), *out is NULL when there is one, and an
 * error is not the text's. */
struct findings;
int manifest_parse_all(const uint8_t *text, size_t len, struct findings *findings, struct manifest **out,
                       struct error *err);
void manifest_unref(struct manifest *m); /* NULL is fine */
struct manifest *manifest_ref(struct manifest *m);
/* The member that a permission's scopes stand in: "paths", "hosts"; NULL: it has none. */
const char *manifest_scopes_member(enum permission p);
const struct manifest_ask *manifest_ask_of(const struct manifest *m, enum permission p); /* NULL: it does not ask */
int manifest_action(const struct manifest *m, const char *name);                         /* its index, or -1 */

/* Order of SemVer 2.0.0, build metadata left out: <0, 0, >0. Both must be versions. */
int version_compare(const char *a, const char *b);
bool version_is_valid(const char *text);

#endif
