/* service/apply: the declarative file: which plugins are wanted, in which version, with which rights and configuration.
 *
 *     apply_read    bytes to wanted plugins: pure, and what the fuzz target reads any bytes with
 *     apply_diff    one wanted plugin against the registry: what differs, and whether it may become so
 *     apply         the operation: all of them, then one command of the registry
 *     apply_follow  what runs is made to follow
 *
 * The file is the whole truth for the plugins it names: what it leaves out is the default (no grant, nothing
 * configured, not pinned, active), but for `wanted`, which stays as it is, and secrets, which are never in it and stay
 * as they are. Private to src/service; one thread at a time. */
#ifndef SERVICE_APPLY_H
#define SERVICE_APPLY_H

#include "service/config.h"
#include "service/document.h"
#include "service/face.h"
#include "service/install.h"

#define APPLY_MAX (64ull << 20)
#define APPLY_PLUGINS_MAX 50000
#define APPLY_FILE_MAX 255

struct wanted {
    char name[MANIFEST_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1];
    uint8_t sha256[32];            /* of the package */
    char file[APPLY_FILE_MAX + 1]; /* a path in PLUGIN_DIR's incoming, or empty */
    char accept[FACE_DIGEST];      /* what agents are told was seen: its digest; or empty */
    struct decisions decisions;    /* owned: the grants in their order, then the refusals; no two alike */
    size_t grants;                 /* how many of them are grants */
    const uint8_t *config;         /* an object of the document, or NULL: nothing is set */
    bool pinned, active, says_wanted;
    enum registry_wanted wanted; /* when it says so */
};

struct apply {
    struct document document;
    struct wanted *list; /* owned, in the document's order, no name twice */
    size_t count;
};

/* MOAT_E_BAD_JSON, MOAT_E_BAD_DOCUMENT with the pointer, MOAT_E_TOO_LARGE. Close it in any case. */
int apply_open(struct apply *a, int fd, struct error *err);
int apply_open_bytes(struct apply *a, const void *bytes, size_t len, struct error *err); /* which are copied */
void apply_close(struct apply *a);                                                       /* safe on zeroes */

/* ---- one plugin, as it is and as it is to be ---- */

/* A package of `incoming`, taken in: what its installation needs. */
struct arrival {
    struct registry_stage stage; /* path empty: it was only looked at */
    char publisher[REGISTRY_PUBLISHER_MAX + 1], newest[MANIFEST_VERSION_MAX + 1];
    bool takes_name;
    uint8_t key[32];
    uint64_t size, signed_at, expires_at;
    struct buf text; /* the manifest's */
    uint32_t permissions;
};

struct change {
    const struct wanted *wanted;
    size_t index;            /* in the document */
    struct arrival *arrival; /* owned; it is installed with the rest. NULL: the version is here */
    struct manifest *manifest;
    char before[MANIFEST_VERSION_MAX + 1]; /* the current version, or empty */
    struct decisions add, remove;
    struct config config; /* what is to be set */
    size_t differences;
    /* The commands there are to be. */
    bool unpins, switches, configures, activates, wants, pins;
    /* What that means for workers: a right is lost, and none that has it may go on; or they need to be others. */
    bool loses, replaces;
};

/* Without the key: takes the package that the file names, when its version is not here. stage: to be installed. */
int apply_take(struct job *job, struct change *c, bool stage, struct error *err);
/* With the key of all: compares and checks. Each difference is told as an element of the array that is open in out, and
 * counted. Errors name the JSON Pointer; then nothing may be applied. */
int apply_diff(struct job *job, struct change *c, struct buf *out, struct error *err);
void change_clear(struct change *c);

/* Puts "/plugins/INDEX" and the rest in front of the message and into the detail. Returns -err->code. */
__attribute__((format(printf, 3, 4))) int apply_refuse_at(struct error *err, size_t index, const char *rest, ...);

/* ---- what runs follows ---- */

/* Everything that changed is done what can be done; 0 or the first error. */
int apply_follow(struct job *job, const struct change *list, size_t count, struct error *err);

#endif
