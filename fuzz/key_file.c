/* What an operator hands in as a key, and the pattern beside it.  The first byte chooses: a private key's PEM, a public
 * key's, the bytes of an HMAC key, or a pattern and a name. */
#include <stdlib.h>
#include <string.h>

#include "package/key.h"
#include "package/package.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* A key that was taken signs, and only what it signed is its own. */
static void check_signing(const struct signing_key *key)
{
    uint8_t signature[SIGNATURE_LEN];
    const struct public_key *public = key_public(key);
    key_sign(key, "text", 4, signature);
    must(key_verify(public, key, "text", 4, signature));
    must(!key_verify(public, key, "texts", 5, signature));
    signature[SIGNATURE_LEN / 4] ^= 1;
    must(!key_verify(public, key, "text", 4, signature));
}

static char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void try_private(const uint8_t *data, size_t size)
{
    struct error err;
    struct signing_key *key = NULL;
    char *pem = text_of(data, size);
    if (key_parse(pem, &key, &err) == 0)
        check_signing(key);
    else
        must(key == NULL && err.message[0]);
    key_free(key);
    free(pem);
}

/* A public key that is taken has one id, whatever stands around it, and verifies nothing by chance. */
static void try_public(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[SIGNATURE_LEN];
    struct error err;
    struct public_key key, again;
    if (key_parse_public((const char *)data, size, &key, &err)) {
        must(err.message[0]);
        return;
    }
    must(key.algorithm == ALGORITHM_ED25519);
    must(!key_verify(&key, NULL, "text", 4, nothing));
    must(key_parse_public((const char *)data, size, &again, &err) == 0 && memcmp(&key, &again, sizeof key) == 0);
    uint8_t id[KEY_ID_LEN];
    sha256(key.bytes, sizeof key.bytes, id);
    must(memcmp(id, key.id, sizeof id) == 0);
}

static void try_hmac(const uint8_t *data, size_t size)
{
    struct error err;
    struct signing_key *key = NULL;
    bool fits = size >= HMAC_KEY_MIN && size <= HMAC_KEY_MAX;
    must((key_hmac(data, size, &key, &err) == 0) == fits);
    if (fits)
        check_signing(key);
    key_free(key);
}

#define PATTERN_MAX 40

/* A second reading of a pattern: which of its beginnings match which beginnings of the name. */
static bool element_matches(const char *pattern, size_t len, const char *name)
{
    bool match[PATTERN_MAX + 1][PATTERN_MAX + 1] = {{true}};
    size_t n = strlen(name);
    for (size_t i = 1; i <= len; i++) {
        match[i][0] = match[i - 1][0] && pattern[i - 1] == '*';
        for (size_t k = 1; k <= n; k++)
            match[i][k] = pattern[i - 1] == '*' ? match[i - 1][k] || match[i][k - 1]
                                                : match[i - 1][k - 1] && pattern[i - 1] == name[k - 1];
    }
    return match[len][n];
}

static bool matches(const char *pattern, const char *name)
{
    for (;;) {
        size_t len = strcspn(pattern, ",");
        if (len && element_matches(pattern, len, name))
            return true;
        if (!pattern[len])
            return false;
        pattern += len + 1;
    }
}

static void try_pattern(const uint8_t *data, size_t size)
{
    char *text = text_of(data, size), *name = strchr(text, ' ');
    if (name && size < PATTERN_MAX) {
        *name++ = '\0';
        if (!strchr(name, ' ') && *name && !strchr(name, '*') && !strchr(name, ','))
            must(trust_name_matches(text, name) == matches(text, name));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        uint8_t first;
        void (*try)(const uint8_t *data, size_t size);
    } kinds[] = {{'k', try_private}, {'p', try_public}, {'h', try_hmac}, {'n', try_pattern}};
    for (size_t i = 0; size && i < sizeof kinds / sizeof *kinds; i++)
        if (*data == kinds[i].first)
            kinds[i].try(data + 1, size - 1);
    return 0;
}
