/* What the tests of packages share: a place for files, a seed, and packages made piece by piece. */
#ifndef TESTS_PACKAGE_SUPPORT_H
#define TESTS_PACKAGE_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/buf.h"
#include "package/package.h"

/* A fresh directory for this process, removed at exit. */
const char *scratch(void);
/* "<scratch>/name", valid until the sixteenth next call. */
const char *scratch_path(const char *name);
void write_file(const char *path, const void *data, size_t len);

/* From MOAT_SEED, else from the clock; printed once. */
uint64_t seed(void);
uint64_t random_u64(void);

/* The exit status of a shell command. */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Pieces of a package; what is NULL or zero gets a good value. */
struct pieces {
    const struct signing_key *key;
    const char *name, *version, *manifest, *files;
    const void *archive;
    size_t archive_len;
    uint64_t signed_at, expires_at;
};
void make_package(const struct pieces *pieces, struct buf *out);
void sign_again(struct buf *package, const struct signing_key *key); /* over a head that was changed */

#define NOW 1800000000ull
#define GOOD_MANIFEST \
    "{\"moat\":1,\"name\":\"demo\",\"version\":\"1.0.0\",\"engine\":\"native\",\"entry\":\"demo.so\"," \
    "\"capabilities\":[\"custom\"],\"actions\":[{\"name\":\"run\"}]}"

/* The whole trust store: one key. */
struct trust {
    struct trust_answer answer;
};
struct trust trust_in(const struct signing_key *key, const char *names);
int trust_find(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err);

/* Fails the test unless rc is -code and the message holds text. */
#define assert_refused(rc, err, expected, text) assert_refused_at(rc, err, expected, text, __FILE__, __LINE__)
void assert_refused_at(int rc, const struct error *err, enum moat_code expected, const char *text, const char *file,
                       int line);

#endif
