/* package/key_internal: what a signing key is in memory.  Only key.c and key_file.c include it. */
#ifndef PACKAGE_KEY_INTERNAL_H
#define PACKAGE_KEY_INTERNAL_H

#include "package/key.h"

#define KEY_SEED_LEN 32

/* Lives in sodium_malloc memory only. */
struct signing_key {
    struct public_key public;
    size_t secret_len;
    uint8_t secret[]; /* ed25519: seed and public half, as libsodium keeps them; HMAC: the key */
};

bool key_ready(void);
struct signing_key *key_alloc(enum algorithm algorithm, size_t secret_len);
int key_from_seed(const uint8_t seed[KEY_SEED_LEN], struct signing_key **out, struct error *err);

#endif
