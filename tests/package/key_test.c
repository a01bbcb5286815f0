/* Keys: files that openssl reads and writes, both algorithms against published vectors, wrong files. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"

static void generate_write_read(void **state)
{
    struct error err;
    struct signing_key *a, *b;
    struct public_key public;
    const char *path = scratch_path("mine");
    assert_int_equal(key_generate(&a, &err), 0);
    assert_int_equal(key_write(a, path, &err), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(key_read(path, &b, &err), 0);
    assert_int_equal(key_read_public(scratch_path("mine.pub"), &public, &err), 0);
    assert_memory_equal(key_public(a), key_public(b), sizeof public);
    assert_memory_equal(key_public(a), &public, sizeof public);
    uint8_t id[32];
    sha256(public.bytes, 32, id);
    assert_memory_equal(id, public.id, 32);
    key_free(a);
    key_free(b);
}

static void never_over_a_file(void **state)
{
    struct error err;
    struct signing_key *key;
    assert_int_equal(key_generate(&key, &err), 0);
    write_file(scratch_path("there"), "precious", 8);
    assert_refused(key_write(key, scratch_path("there"), &err), &err, MOAT_E_ALREADY_EXISTS, "there");
    assert_int_not_equal(access(scratch_path("there.pub"), F_OK), 0);
    write_file(scratch_path("half.pub"), "precious", 8);
    assert_refused(key_write(key, scratch_path("half"), &err), &err, MOAT_E_ALREADY_EXISTS, "half.pub");
    assert_int_not_equal(access(scratch_path("half"), F_OK), 0);
    /* A link, even one that leads nowhere, is not followed. */
    assert_int_equal(symlink(scratch_path("elsewhere"), scratch_path("link")), 0);
    assert_refused(key_write(key, scratch_path("link"), &err), &err, MOAT_E_ALREADY_EXISTS, "link");
    assert_int_not_equal(access(scratch_path("elsewhere"), F_OK), 0);
    assert_refused(key_write(key, scratch_path("none/key"), &err), &err, MOAT_E_NO_SUCH_FILE, "none/key");
    key_free(key);
}

static void openssl_reads_what_we_write(void **state)
{
    struct error err;
    struct signing_key *key;
    uint8_t signature[SIGNATURE_LEN];
    assert_int_equal(key_generate(&key, &err), 0);
    assert_int_equal(key_write(key, scratch_path("ours"), &err), 0);
    assert_int_equal(run("cd %s && openssl pkey -in ours -pubout | cmp - ours.pub", scratch()), 0);
    assert_int_equal(run("cd %s && openssl pkey -in ours | cmp - ours", scratch()), 0);
    write_file(scratch_path("text"), "what is signed", 14);
    key_sign(key, "what is signed", 14, signature);
    write_file(scratch_path("signature"), signature, sizeof signature);
    assert_int_equal(run("cd %s && openssl pkeyutl -verify -rawin -pubin -inkey ours.pub -in text -sigfile signature "
                         ">/dev/null",
                         scratch()),
                     0);
    key_free(key);
}

static void we_read_what_openssl_writes(void **state)
{
    struct error err;
    struct signing_key *key;
    struct public_key public;
    assert_int_equal(run("cd %s && openssl genpkey -algorithm ed25519 -out theirs 2>/dev/null && openssl pkey -in "
                         "theirs -pubout -out theirs.pub",
                         scratch()),
                     0);
    assert_int_equal(key_read(scratch_path("theirs"), &key, &err), 0);
    assert_int_equal(key_read_public(scratch_path("theirs.pub"), &public, &err), 0);
    assert_memory_equal(key_public(key), &public, sizeof public);
    write_file(scratch_path("text"), "what is signed", 14);
    assert_int_equal(run("cd %s && openssl pkeyutl -sign -rawin -inkey theirs -in text -out theirs.sig", scratch()), 0);
    buf_auto signature = BUF_INIT(SIGNATURE_LEN);
    assert_int_equal(io_read_file(scratch_path("theirs.sig"), &signature, &err), 0);
    assert_int_equal(signature.len, SIGNATURE_LEN);
    assert_true(key_verify(&public, NULL, "what is signed", 14, signature.data));
    for (size_t i = 0; i < SIGNATURE_LEN; i++) {
        signature.data[i] ^= 1;
        assert_false(key_verify(&public, NULL, "what is signed", 14, signature.data));
        signature.data[i] ^= 1;
    }
    assert_false(key_verify(&public, NULL, "what is signes", 14, signature.data));
    key_free(key);
}

/* RFC 8032, section 7.1, test 2. */
static void ed25519_vector(void **state)
{
    struct error err;
    struct signing_key *key;
    uint8_t signature[SIGNATURE_LEN], expected[SIGNATURE_LEN], public[32];
    uint8_t der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    text_unhex(der + 16, 32, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    write_file(scratch_path("vector.der"), der, sizeof der);
    assert_int_equal(run("cd %s && openssl pkey -inform DER -in vector.der -out vector", scratch()), 0);
    assert_int_equal(key_read(scratch_path("vector"), &key, &err), 0);
    text_unhex(public, 32, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_memory_equal(key_public(key)->bytes, public, 32);
    text_unhex(expected, 64,
               "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
               "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    key_sign(key, "\x72", 1, signature);
    assert_memory_equal(signature, expected, SIGNATURE_LEN);
    key_free(key);
}

/* RFC 4231, test case 6 (a key longer than the block), and case 7 for another text. */
static void hmac_vectors(void **state)
{
    struct error err;
    struct signing_key *key, *other;
    uint8_t secret[131], signature[SIGNATURE_LEN], expected[SIGNATURE_LEN] = {0};
    memset(secret, 0xaa, sizeof secret);
    assert_int_equal(key_hmac(secret, sizeof secret, &key, &err), 0);
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    text_unhex(expected, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    key_sign(key, text, strlen(text), signature);
    assert_memory_equal(signature, expected, SIGNATURE_LEN);
    assert_true(key_verify(key_public(key), key, text, strlen(text), signature));
    for (size_t i = 0; i < SIGNATURE_LEN; i++) { /* the zeros behind the 32 bytes count too */
        signature[i] ^= 0x80;
        assert_false(key_verify(key_public(key), key, text, strlen(text), signature));
        signature[i] ^= 0x80;
    }
    secret[0] ^= 1;
    assert_int_equal(key_hmac(secret, sizeof secret, &other, &err), 0);
    assert_false(key_verify(key_public(key), other, text, strlen(text), signature));
    assert_false(key_verify(key_public(key), NULL, text, strlen(text), signature));
    assert_memory_not_equal(key_public(key)->id, key_public(other)->id, KEY_ID_LEN);

    uint8_t id[32], labelled[17 + 131] = "moat hmac key id\n";
    secret[0] ^= 1;
    memcpy(labelled + 17, secret, sizeof secret);
    sha256(labelled, sizeof labelled, id);
    assert_memory_equal(id, key_public(key)->id, 32);

    assert_refused(key_hmac(secret, HMAC_KEY_MIN - 1, &other, &err), &err, MOAT_E_BAD_USAGE, "31 bytes");
    assert_refused(key_hmac(secret, 1 << 20, &other, &err), &err, MOAT_E_BAD_USAGE, "1048576 bytes");
    assert_refused(key_write(key, scratch_path("hmac"), &err), &err, MOAT_E_BAD_USAGE, "ed25519");
    key_free(key);
    key_free(other);
}

static void wrong_files(void **state)
{
    static const struct {
        const char *make, *message;
    } cases[] = {
        {"openssl genpkey -algorithm x25519 -out bad", "not an Ed25519 key"},
        {"openssl genpkey -algorithm ed25519 -aes256 -pass pass:x -out bad", "encrypted private key"},
        {"openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out bad", "a public key"},
        {"openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out bad", "not an Ed25519 key"},
        {"printf 'ssh-ed25519 AAAA me' > bad", "OpenSSH public key"},
        {": > bad", "no PEM key"},
        {"head -c 20000 /dev/zero > bad", "too large"},
        {"printf -- '-----BEGIN PRIVATE KEY-----\\n!\\n-----END PRIVATE KEY-----\\n' > bad", "not an Ed25519 key"},
        {"printf -- '-----BEGIN PRIVATE KEY-----\\nMC4C' > bad", "a private key"},
    };
    struct error err;
    struct signing_key *key;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(run("cd %s && rm -f bad && { %s; } 2>/dev/null", scratch(), cases[i].make), 0);
        assert_refused(key_read(scratch_path("bad"), &key, &err), &err, MOAT_E_BAD_USAGE, cases[i].message);
        assert_non_null(strstr(err.message, "bad: ") ? "" : strstr(err.message, "bad is"));
    }
    assert_refused(key_read(scratch_path("missing"), &key, &err), &err, MOAT_E_NO_SUCH_FILE, "missing");
}

static void weak_public_keys(void **state)
{
    struct error err;
    struct public_key public;
    /* The neutral element, a point of order 8, and 32 bytes that are no point. */
    static const char *const points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "0200000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < 3; i++) {
        uint8_t der[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
        text_unhex(der + 12, 32, points[i]);
        write_file(scratch_path("weak.der"), der, sizeof der);
        assert_int_equal(run("cd %s && { echo '-----BEGIN PUBLIC KEY-----'; openssl base64 -A -in weak.der; echo; "
                             "echo '-----END PUBLIC KEY-----'; } > weak.pub",
                             scratch()),
                         0);
        assert_refused(key_read_public(scratch_path("weak.pub"), &public, &err), &err, MOAT_E_BAD_USAGE,
                       "not a valid Ed25519 public key");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generate_write_read),
        cmocka_unit_test(never_over_a_file),
        cmocka_unit_test(openssl_reads_what_we_write),
        cmocka_unit_test(we_read_what_openssl_writes),
        cmocka_unit_test(ed25519_vector),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(weak_public_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
