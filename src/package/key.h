/* package/key: signing keys and their files.  Ed25519 by libsodium, HMAC-SHA256 by GnuTLS.  Secrets are wiped on free.
 *
 * Files are PEM that openssl reads and writes too: PKCS#8 "PRIVATE KEY", SubjectPublicKeyInfo "PUBLIC KEY" (RFC 8410).
 * A key's id is the SHA-256 of its 32 raw public bytes, for HMAC of "moat hmac key id\n" and the key; shown as hex. */
#ifndef PACKAGE_KEY_H
#define PACKAGE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define KEY_ID_LEN 32
#define KEY_ID_HEX (2 * KEY_ID_LEN + 1)
#define SIGNATURE_LEN 64
#define HMAC_KEY_MIN 32
#define HMAC_KEY_MAX 4096

enum algorithm { ALGORITHM_NONE = 0, ALGORITHM_ED25519 = 1, ALGORITHM_HMAC_SHA256 = 2 };
const char *algorithm_name(enum algorithm a); /* "none", "ed25519", "hmac-sha256" */

struct public_key {
    enum algorithm algorithm;
    uint8_t id[KEY_ID_LEN];
    uint8_t bytes[32]; /* ed25519 only */
};

struct signing_key;

int key_generate(struct signing_key **out, struct error *err);
/* Writes path (mode 0600, never over an existing file) and path.pub. */
int key_write(const struct signing_key *key, const char *path, struct error *err);
int key_read(const char *path, struct signing_key **out, struct error *err);
int key_parse(const char *pem, struct signing_key **out, struct error *err); /* of a private key's PEM */
/* The HMAC key of this host: HMAC_KEY_MIN to HMAC_KEY_MAX bytes. */
int key_hmac(const void *secret, size_t len, struct signing_key **out, struct error *err);
/* The bytes of a file, without one newline at the end; nobody but its owner may read or write it. */
int key_read_hmac(const char *path, struct signing_key **out, struct error *err);
void key_free(struct signing_key *key);
const struct public_key *key_public(const struct signing_key *key);

int key_read_public(const char *path, struct public_key *out, struct error *err);
int key_parse_public(const char *pem, size_t len, struct public_key *out, struct error *err);

void key_sign(const struct signing_key *key, const void *text, size_t len, uint8_t signature[SIGNATURE_LEN]);
/* Constant time. `secret` is needed for HMAC keys only. */
bool key_verify(const struct public_key *key, const struct signing_key *secret, const void *text, size_t len,
                const uint8_t signature[SIGNATURE_LEN]);

void sha256(const void *data, size_t len, uint8_t out[32]);

#endif
