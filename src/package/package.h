/* package: bytes from outside become a verified package.  The order is the order of the functions: open, verify, read,
 * unpack; each refuses to run before the one above it said yes.  See docs/package-format.md for every byte.
 *
 *     0    512-byte head: the signed text is bytes 0..447, the signature bytes 448..511
 *     512  payload: plugin.json | FILES | archive (tar, zstd); the head carries the three lengths and SHA-256 of it all
 *
 * FILES is a list in the form of sha256sum ("<64 hex>  <path>\n", sorted by path), so the signed bytes name the hash of
 * every entry before anything of the archive is looked at.  The archive is only ever read by moat-helper behind its
 * wall; what the helper returns is hashed here against FILES.
 *
 * Blocking (disk, helper): jobs threads and command line only.  One package object, one thread at a time. */
#ifndef PACKAGE_PACKAGE_H
#define PACKAGE_PACKAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "package/key.h"
#include "package/manifest.h"
#include "sandbox/spawner.h"

#define PACKAGE_HEAD 512
#define PACKAGE_MAX_DEFAULT (64ull << 20)
#define PACKAGE_MAX_EVER (1ull << 30)
#define PACKAGE_FILES_MAX 1000 /* entries */
#define PACKAGE_PATH_MAX 200   /* bytes of an entry's path */
#define PACKAGE_RATIO_MAX 100  /* unpacked to packed bytes */

struct package;

/* Copies the file into a sealed memory file, so that what is verified cannot change; checks sizes and the magic. */
int package_open(const char *path, uint64_t max, struct package **out, struct error *err);
/* The same, of a file that messages call something else than its path. */
int package_open_as(const char *path, const char *called, uint64_t max, struct package **out, struct error *err);
int package_open_bytes(const void *bytes, size_t len, uint64_t max, struct package **out, struct error *err);
void package_free(struct package *p);

/* Valid after open, but only claims until verified. */
struct package_head {
    enum algorithm algorithm;
    uint8_t key_id[KEY_ID_LEN];
    char name[MANIFEST_NAME_MAX + 1];
    char version[MANIFEST_VERSION_MAX + 1];
    uint64_t signed_at, expires_at; /* seconds since 1970; expires_at 0: never */
    uint64_t manifest_len, files_len, archive_len;
    uint8_t payload_sha256[32];
};
const struct package_head *package_head(const struct package *p);
void package_bytes(const struct package *p, const uint8_t **bytes, size_t *len); /* the whole file, sealed */
void package_sha256(const struct package *p, uint8_t out[32]);                   /* of the whole file */

/* What the trust store says of a key. */
struct trust_answer {
    bool known, revoked;
    struct public_key key;
    const struct signing_key *hmac; /* for hmac-sha256 keys */
    char publisher[65];
    char names[129]; /* pattern of names it may publish: "*", "acme_*", "a,b_*" */
};
typedef int (*trust_lookup)(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out,
                            struct error *err);

/* Signature over the head, SHA-256 of the payload, trust, name pattern, revocation, expiry, signing time. now: seconds;
 * a signing time up to 300 s ahead is taken as clock skew. */
int package_verify(struct package *p, trust_lookup lookup, void *context, uint64_t now, struct error *err);
bool trust_name_matches(const char *pattern, const char *name);

/* ---- for those who look into a package and install nothing ---- */

struct findings;
enum package_signature {
    PACKAGE_NOT_CHECKED, /* nobody here knows the key, or it was revoked */
    PACKAGE_UNSIGNED,
    PACKAGE_BAD,  /* it, or the payload's hash: somebody changed the package */
    PACKAGE_GOOD, /* of a key that is trusted */
};
const char *package_signature_name(enum package_signature s); /* "not_checked", "none", "bad", "good" */

/* As package_verify, but goes on behind what refuses the package: each refusal becomes a finding. When key, signature
 * and payload are in order the package can be read, whatever else is wrong. An error is the lookup's. */
int package_survey(struct package *p, trust_lookup lookup, void *context, uint64_t now, struct findings *findings,
                   enum package_signature *signature, struct error *err);

/* Lets a package be read of which nobody vouches for more than that its payload is the one its head names. Only in a
 * process of its own, for the eyes of whoever asked, or on the way into a home in development mode that is thrown away
 * (cli/learn_place.h): never on the way to something that runs where a signature is asked for. */
int package_unverified(struct package *p, struct error *err);

/* May package_read begin? */
bool package_is_readable(const struct package *p);

/* Reads the verified manifest and FILES, and checks that name and version are the head's. */
int package_read(struct package *p, struct error *err);
/* The same for those who look: each fault becomes a finding, and there is no manifest then; an error is ours. */
int package_read_all(struct package *p, struct findings *findings, struct error *err);
struct manifest *package_manifest(const struct package *p); /* borrowed; NULL before package_read */
const char *package_publisher(const struct package *p);

struct finding {
    enum moat_code code;
    bool warning; /* advice: the package is accepted all the same */
    char message[400], where[PACKAGE_PATH_MAX + 1], cure[200];
};
struct findings {
    struct finding *list; /* what refuses, in the order of finding; behind it the warnings */
    size_t count, cap;
    size_t refusals; /* how many of them are no warnings */
};
void findings_add(struct findings *f, enum moat_code code, const char *where, const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void findings_refuse(struct findings *f, const struct error *why); /* with its code's advice as the cure */
void findings_warn(struct findings *f, enum moat_code code, const char *where, const char *cure, const char *format,
                   ...) __attribute__((format(printf, 5, 6)));
void findings_free(struct findings *f);

/* Verified files in memory: code is a sealed memory file each, fds[i]; all assets together are one (wire/assets.h),
 * and their fds[i] is -1.  File i stands at offsets[i], the start of a page, of its memory file. */
struct unpacked {
    char **paths;
    int *fds;
    uint64_t *sizes, *offsets;
    size_t count;
    int assets;         /* sealed; -1: there are none, or 0 in an empty struct */
    uint32_t libraries; /* of the host, that the code needs (sandbox/libraries.h) */
};
int unpacked_find(const struct unpacked *u, const char *path); /* of code: its descriptor (borrowed), or -1 */
void unpacked_free(struct unpacked *u);

/* Runs the inspector, hashes what it returns against FILES. Whatever refuses the package becomes a finding in
 * `findings` (may be NULL): on failure there is at least one new one, and the first new one's code is the result. */
int package_unpack(struct package *p, struct spawner *spawner, struct unpacked *out, struct findings *findings,
                   struct error *err);

/* Makes a package from a directory with plugin.json. Reproducible: the same bytes for the same input, key and time
 * (SOURCE_DATE_EPOCH is honoured for the signing time). The archive is written by moat-helper. out_path NULL:
 * NAME-VERSION.moat in the current directory; the path is returned in made. The files that go in are the manifest's
 * entry, libraries and assets, nothing else. */
struct pack_options {
    const struct signing_key *key;  /* NULL: an unsigned package */
    uint64_t signed_at, expires_at; /* 0: now; 0: never */
    const char *out_path;
    struct findings *findings; /* may be NULL: what an install would say of it, warnings too */
};
int package_pack(const char *dir, const struct pack_options *options, struct spawner *spawner, char made[4096],
                 struct error *err);

#endif
