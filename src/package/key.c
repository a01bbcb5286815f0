#include "package/key.h"

#include <gnutls/crypto.h>
#include <sodium.h>
#include <string.h>

#include "package/key_internal.h"

_Static_assert(SIGNATURE_LEN == crypto_sign_BYTES, "an ed25519 signature is 64 bytes");

const char *algorithm_name(enum algorithm a)
{
    return a == ALGORITHM_ED25519 ? "ed25519" : a == ALGORITHM_HMAC_SHA256 ? "hmac-sha256" : "none";
}

/* Idempotent and safe between threads; the choice of the CPU's fast code is made here. */
bool key_ready(void)
{
    return sodium_init() >= 0;
}

void sha256(const void *data, size_t len, uint8_t out[32])
{
    /* GnuTLS uses the CPU's SHA extensions, libsodium does not.  A hash cannot be allowed to fail half-way, and
     * libsodium's never does. */
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out) != 0)
        crypto_hash_sha256(out, data, len);
}

static void hmac_sha256(const uint8_t *secret, size_t secret_len, const void *text, size_t len, uint8_t out[32])
{
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, secret_len, text, len, out) == 0)
        return;
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, secret, secret_len);
    crypto_auth_hmacsha256_update(&state, text, len);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

/* The caller fills the secret; sodium_malloc keeps it out of swap and core files and behind guard pages. It puts the
 * memory's end against a page's: its beginning is aligned only if its size is. */
struct signing_key *key_alloc(enum algorithm algorithm, size_t secret_len)
{
    if (!key_ready())
        return NULL;
    const size_t align = _Alignof(max_align_t);
    struct signing_key *key = sodium_malloc((sizeof *key + secret_len + align - 1) / align * align);
    if (!key)
        return NULL;
    memset(key, 0, sizeof *key);
    key->public.algorithm = algorithm;
    key->secret_len = secret_len;
    return key;
}

void key_free(struct signing_key *key)
{
    sodium_free(key); /* wipes; NULL is fine */
}

int key_from_seed(const uint8_t seed[KEY_SEED_LEN], struct signing_key **out, struct error *err)
{
    struct signing_key *key = key_alloc(ALGORITHM_ED25519, crypto_sign_SECRETKEYBYTES);
    if (!key)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no locked memory for a key");
    crypto_sign_seed_keypair(key->public.bytes, key->secret, seed);
    sha256(key->public.bytes, sizeof key->public.bytes, key->public.id);
    *out = key;
    return 0;
}

int key_generate(struct signing_key **out, struct error *err)
{
    if (!key_ready())
        return error_set(err, MOAT_E_INTERNAL, "libsodium does not start");
    uint8_t seed[KEY_SEED_LEN];
    randombytes_buf(seed, sizeof seed);
    int rc = key_from_seed(seed, out, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

int key_hmac(const void *secret, size_t len, struct signing_key **out, struct error *err)
{
    static const char label[] = "moat hmac key id\n";
    if (len < HMAC_KEY_MIN)
        return error_set(err, MOAT_E_BAD_USAGE, "the HMAC key has %zu bytes; it needs at least %d", len, HMAC_KEY_MIN);
    if (len > HMAC_KEY_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "the HMAC key has %zu bytes; at most %d are taken", len, HMAC_KEY_MAX);
    struct signing_key *key = key_alloc(ALGORITHM_HMAC_SHA256, len);
    uint8_t *labelled = key ? sodium_malloc(sizeof label - 1 + len) : NULL;
    if (!labelled) {
        key_free(key);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no locked memory for a key");
    }
    memcpy(key->secret, secret, len);
    memcpy(labelled, label, sizeof label - 1);
    memcpy(labelled + sizeof label - 1, secret, len);
    sha256(labelled, sizeof label - 1 + len, key->public.id);
    sodium_free(labelled);
    *out = key;
    return 0;
}

const struct public_key *key_public(const struct signing_key *key)
{
    return &key->public;
}

void key_sign(const struct signing_key *key, const void *text, size_t len, uint8_t signature[SIGNATURE_LEN])
{
    memset(signature, 0, SIGNATURE_LEN);
    if (key->public.algorithm == ALGORITHM_ED25519)
        crypto_sign_detached(signature, NULL, text, len, key->secret);
    else
        hmac_sha256(key->secret, key->secret_len, text, len, signature);
}

bool key_verify(const struct public_key *key, const struct signing_key *secret, const void *text, size_t len,
                const uint8_t signature[SIGNATURE_LEN])
{
    if (!key_ready())
        return false;
    if (key->algorithm == ALGORITHM_ED25519)
        return crypto_sign_verify_detached(signature, text, len, key->bytes) == 0;
    /* A secret of another key, or a public key passed off as a secret, verifies nothing. */
    if (key->algorithm != ALGORITHM_HMAC_SHA256 || !secret || secret->public.algorithm != ALGORITHM_HMAC_SHA256 ||
        sodium_memcmp(secret->public.id, key->id, KEY_ID_LEN) != 0)
        return false;
    uint8_t expected[SIGNATURE_LEN];
    key_sign(secret, text, len, expected);
    bool same = sodium_memcmp(expected, signature, SIGNATURE_LEN) == 0;
    sodium_memzero(expected, sizeof expected);
    return same;
}
