/* From a file to a verified package: every byte counts, every refusal has its own code. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "package/files.h"
#include "package/head.h"
#include "package/paths.h"

static struct signing_key *mine, *other;

static int set_up(void **state)
{
    struct error err;
    return key_generate(&mine, &err) || key_generate(&other, &err);
}

static int tear_down(void **state)
{
    key_free(mine);
    key_free(other);
    return 0;
}

/* Open, verify, read. */
static int accept(const struct buf *bytes, struct trust *trust, uint64_t now, struct error *err)
{
    struct package *p;
    int rc = package_open_bytes(bytes->data, bytes->len, PACKAGE_MAX_DEFAULT, &p, err);
    if (rc)
        return rc;
    rc = package_verify(p, trust_find, trust, now, err);
    if (rc == 0)
        rc = package_read(p, err);
    package_free(p);
    return rc;
}

static void good(void **state)
{
    struct error err;
    struct package *p;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine, .expires_at = NOW + 5}, &bytes);
    write_file(scratch_path("good.moat"), bytes.data, bytes.len);
    assert_int_equal(package_open(scratch_path("good.moat"), PACKAGE_MAX_DEFAULT, &p, &err), 0);
    assert_null(package_manifest(p));
    assert_refused(package_read(p, &err), &err, MOAT_E_INTERNAL, "not verified");
    assert_int_equal(package_verify(p, trust_find, &trust, NOW, &err), 0);
    assert_int_equal(package_read(p, &err), 0);
    assert_string_equal(package_manifest(p)->name, "demo");
    assert_string_equal(package_publisher(p), "acme");
    const struct package_head *head = package_head(p);
    assert_string_equal(head->version, "1.0.0");
    assert_int_equal(head->algorithm, ALGORITHM_ED25519);
    assert_int_equal(head->expires_at, NOW + 5);
    const uint8_t *raw;
    size_t len;
    uint8_t a[32], b[32];
    package_bytes(p, &raw, &len);
    assert_int_equal(len, bytes.len);
    assert_memory_equal(raw, bytes.data, len);
    package_sha256(p, a);
    sha256(bytes.data, bytes.len, b);
    assert_memory_equal(a, b, 32);
    /* A later no takes the earlier yes back. */
    trust.answer.revoked = true;
    assert_refused(package_verify(p, trust_find, &trust, NOW, &err), &err, MOAT_E_KEY_REVOKED, "acme");
    assert_refused(package_read(p, &err), &err, MOAT_E_INTERNAL, "not verified");
    package_free(p);
}

static void what_was_opened_stays(void **state)
{
    struct error err;
    struct package *p;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine}, &bytes);
    const char *path = scratch_path("changing.moat");
    write_file(path, bytes.data, bytes.len);
    assert_int_equal(package_open(path, PACKAGE_MAX_DEFAULT, &p, &err), 0);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(package_verify(p, trust_find, &trust, NOW, &err), 0);
    assert_int_equal(package_read(p, &err), 0);
    package_free(p);
}

static void every_byte_counts(void **state)
{
    struct error err;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine}, &bytes);
    assert_int_equal(accept(&bytes, &trust, NOW, &err), 0);
    for (size_t i = 0; i < bytes.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes.data[i] ^= (uint8_t)(1u << bit);
            if (accept(&bytes, &trust, NOW, &err) == 0)
                fail_msg("bit %u of byte %zu does not count", bit, i);
            bytes.data[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void every_length_counts(void **state)
{
    struct error err;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine}, &bytes);
    size_t whole = bytes.len;
    for (bytes.len = 0; bytes.len < whole; bytes.len++) {
        int rc = accept(&bytes, &trust, NOW, &err);
        assert_true(rc == -MOAT_E_NOT_A_PACKAGE || rc == -MOAT_E_PACKAGE_DAMAGED);
    }
    bytes.len = whole;
    buf_putc(&bytes, 'x');
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "longer");
}

static void refusals(void **state)
{
    struct error err;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = other}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_UNKNOWN_KEY, "not trusted");

    make_package(&(struct pieces){.key = mine}, &bytes);
    sign_again(&bytes, other);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_BAD_SIGNATURE, "demo 1.0.0");

    make_package(&(struct pieces){.key = mine}, &bytes);
    trust.answer.revoked = true;
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_KEY_REVOKED, "revoked");
    /* Revoked is said before the signature is looked at, unknown before both. */
    bytes.data[PACKAGE_HEAD - 1] ^= 1;
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_KEY_REVOKED, "revoked");

    trust = trust_in(mine, "acme_*,other");
    make_package(&(struct pieces){.key = mine}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_NAME_NOT_ALLOWED, "acme may publish");

    trust = trust_in(mine, "*");
    make_package(&(struct pieces){.key = mine, .expires_at = NOW}, &bytes);
    assert_int_equal(accept(&bytes, &trust, NOW - 1, &err), 0);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_EXPIRED, "2027-01-15T08:00:00");

    make_package(&(struct pieces){.key = mine, .signed_at = NOW + 300}, &bytes);
    assert_int_equal(accept(&bytes, &trust, NOW, &err), 0);
    make_package(&(struct pieces){.key = mine, .signed_at = NOW + 301}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_FROM_FUTURE, "still to come");

    make_package(&(struct pieces){.key = mine}, &bytes);
    bytes.data[bytes.len - 1] ^= 1;
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "SHA-256");
}

static int broken_store(void *context, const uint8_t id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    return error_set(err, MOAT_E_STORAGE_FAILED, "the trust store is gone");
}

static void a_store_that_fails(void **state)
{
    struct error err;
    struct package *p;
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine}, &bytes);
    assert_int_equal(package_open_bytes(bytes.data, bytes.len, PACKAGE_MAX_DEFAULT, &p, &err), 0);
    assert_refused(package_verify(p, broken_store, NULL, NOW, &err), &err, MOAT_E_STORAGE_FAILED, "gone");
    assert_refused(package_read(p, &err), &err, MOAT_E_INTERNAL, "not verified");
    package_free(p);
}

/* An attacker who knows a public key signs with it as if it were an HMAC secret. */
static void algorithms_do_not_mix(void **state)
{
    struct error err;
    struct signing_key *fake, *real;
    buf_auto bytes = BUF_INIT(1 << 20);
    assert_int_equal(key_hmac(key_public(mine)->bytes, 32, &fake, &err), 0);
    make_package(&(struct pieces){.key = fake}, &bytes);
    memcpy(bytes.data + 64, key_public(mine)->id, KEY_ID_LEN);
    sign_again(&bytes, fake);
    struct trust trust = trust_in(mine, "*");
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_UNKNOWN_KEY, "HMAC key");
    bytes.data[16] = ALGORITHM_ED25519;
    sign_again(&bytes, fake);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_BAD_SIGNATURE, "");

    assert_int_equal(key_hmac("a secret of this host, long enough", 34, &real, &err), 0);
    trust = trust_in(real, "*");
    make_package(&(struct pieces){.key = real}, &bytes);
    assert_int_equal(accept(&bytes, &trust, NOW, &err), 0);
    bytes.data[PACKAGE_HEAD - 1] = 1; /* behind the 32 bytes of an HMAC */
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_BAD_SIGNATURE, "");
    trust.answer.hmac = NULL;
    make_package(&(struct pieces){.key = real}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_UNKNOWN_KEY, "not given");
    key_free(fake);
    key_free(real);
}

/* Nobody's signature: of use only where trust says so, and never as a way around a key. */
static void unsigned_packages(void **state)
{
    struct error err;
    buf_auto bytes = BUF_INIT(1 << 20);
    struct trust trust = trust_in(mine, "*");
    make_package(&(struct pieces){.key = mine}, &bytes);
    bytes.data[16] = ALGORITHM_NONE;
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "a key or a part");
    memset(bytes.data + 64, 0, KEY_ID_LEN);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "a key or a part");
    memset(bytes.data + HEAD_SIGNED, 0, SIGNATURE_LEN);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_UNSIGNED, "not signed");
    trust.answer = (struct trust_answer){.known = true, .publisher = "nobody", .names = "*"};
    assert_int_equal(accept(&bytes, &trust, NOW, &err), 0);
    for (size_t i = HEAD_SIGNED; i < PACKAGE_HEAD; i++) {
        bytes.data[i] = 1;
        assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "a key or a part");
        bytes.data[i] = 0;
    }
    bytes.data[bytes.len - 1] ^= 1; /* the payload's hash holds all the same */
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, "SHA-256");
    /* A store that takes unsigned packages takes no signed one of a key that it does not know. */
    make_package(&(struct pieces){.key = other}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_UNKNOWN_KEY, "ed25519");
}

static struct package *survey(const struct buf *bytes, struct trust *trust, struct findings *f,
                              enum package_signature *signature)
{
    struct package *p;
    struct error err;
    assert_int_equal(package_open_bytes(bytes->data, bytes->len, PACKAGE_MAX_DEFAULT, &p, &err), 0);
    *f = (struct findings){0};
    assert_int_equal(package_survey(p, trust_find, trust, NOW, f, signature, &err), 0);
    return p;
}

/* Who only looks hears of everything; what nobody vouches for stays closed until it is opened as such. */
static void surveys(void **state)
{
    struct error err;
    struct findings f;
    enum package_signature signature;
    buf_auto bytes = BUF_INIT(1 << 20);
    struct trust trust = trust_in(mine, "acme_*");
    make_package(&(struct pieces){.key = mine, .signed_at = NOW - 20, .expires_at = NOW - 10}, &bytes);
    struct package *p = survey(&bytes, &trust, &f, &signature);
    assert_int_equal(signature, PACKAGE_GOOD);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.list[0].code, MOAT_E_NAME_NOT_ALLOWED);
    assert_int_equal(f.list[1].code, MOAT_E_PACKAGE_EXPIRED);
    assert_true(package_is_readable(p));
    assert_int_equal(package_read(p, &err), 0);
    package_free(p);
    findings_free(&f);

    const struct {
        struct trust trust;
        int at; /* the byte that is changed; -1: none */
        enum moat_code code;
        enum package_signature signature;
        bool may_be_opened;
    } cases[] = {
        {trust_in(other, "*"), -1, MOAT_E_UNKNOWN_KEY, PACKAGE_NOT_CHECKED, true},
        {trust_in(mine, "*"), HEAD_SIGNED, MOAT_E_BAD_SIGNATURE, PACKAGE_BAD, true},
        {trust_in(mine, "*"), PACKAGE_HEAD, MOAT_E_PACKAGE_DAMAGED, PACKAGE_BAD, false},
        {{.answer = {.known = true, .revoked = true, .key = *key_public(mine), .names = "*"}},
         -1,
         MOAT_E_KEY_REVOKED,
         PACKAGE_NOT_CHECKED,
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_package(&(struct pieces){.key = mine}, &bytes);
        if (cases[i].at >= 0)
            bytes.data[cases[i].at] ^= 1;
        struct trust store = cases[i].trust;
        p = survey(&bytes, &store, &f, &signature);
        assert_int_equal(signature, cases[i].signature);
        assert_int_equal(f.count, 1);
        assert_int_equal(f.list[0].code, cases[i].code);
        assert_false(package_is_readable(p));
        assert_refused(package_read(p, &err), &err, MOAT_E_INTERNAL, "not verified");
        assert_int_equal(package_unverified(p, &err), cases[i].may_be_opened ? 0 : -MOAT_E_PACKAGE_DAMAGED);
        assert_int_equal(package_is_readable(p), cases[i].may_be_opened);
        package_free(p);
        findings_free(&f);
    }
}

static void not_packages(void **state)
{
    struct error err;
    struct package *p;
    write_file(scratch_path("text"), "hello, world\n", 13);
    assert_refused(package_open(scratch_path("text"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE,
                   "text: this is not a package");
    write_file(scratch_path("empty"), "", 0);
    assert_refused(package_open(scratch_path("empty"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE,
                   "empty");
    assert_refused(package_open(scratch_path("none"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NO_SUCH_FILE,
                   "none");
    assert_refused(package_open(scratch(), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE,
                   "not a regular file");
    assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
    assert_refused(package_open(scratch_path("fifo"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE,
                   "not a regular file");
    write_file(scratch_path("short"), "MOAT package v1\nxx", 18);
    assert_refused(package_open(scratch_path("short"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_PACKAGE_DAMAGED,
                   "cut short");
    char v2[600] = "MOAT package v2\n";
    write_file(scratch_path("v2"), v2, sizeof v2);
    assert_refused(package_open(scratch_path("v2"), PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE,
                   "another format version");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine}, &bytes);
    write_file(scratch_path("big"), bytes.data, bytes.len);
    assert_refused(package_open(scratch_path("big"), bytes.len - 1, &p, &err), &err, MOAT_E_TOO_LARGE, "larger than");
    assert_refused(package_open_bytes(bytes.data, bytes.len, bytes.len - 1, &p, &err), &err, MOAT_E_TOO_LARGE, "");
    assert_int_equal(package_open(scratch_path("big"), bytes.len, &p, &err), 0);
    package_free(p);
    /* A file without an end. */
    assert_refused(package_open("/dev/zero", PACKAGE_MAX_DEFAULT, &p, &err), &err, MOAT_E_NOT_A_PACKAGE, "");
}

/* Signed by the right key, yet nothing that `moat pack` writes. */
static void bad_heads(void **state)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t len;
        const char *message;
    } cases[] = {
        {16, "\3", 1, "algorithm"},
        {20, "\1", 1, "algorithm"},
        {24, "\0\0\0\0\0\0\0\0", 8, "time"},
        {24, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "time"},
        {32, "\1", 1, "ends before"},
        {40, "\0\0\0\0\0\0\0\0", 8, "manifest"},
        {40, "\1\0\x10\0\0\0\0\0", 8, "manifest"},
        {48, "\0\0\0\0\0\0\0\0", 8, "FILES"},
        {48, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "FILES"},
        {56, "\0\0\0\0\0\0\0\0", 8, "archive"},
        {56, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "archive"},
        {128, "Demo", 4, "name"},
        {128, "\0", 1, "zero"},
        {128, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32, "zero"},
        {133, "x", 1, "zero"},
        {160, "1.0", 4, "zero"},
        {160, "1.0\0\0", 5, "version"},
        {240, "x", 1, "zero"},
        {447, "x", 1, "zero"},
    };
    struct error err;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_package(&(struct pieces){.key = mine}, &bytes);
        memcpy(bytes.data + cases[i].at, cases[i].bytes, cases[i].len);
        sign_again(&bytes, mine);
        assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_PACKAGE_DAMAGED, cases[i].message);
    }
}

static void head_goes_round(void **state)
{
    struct error err;
    struct package_head head = {.algorithm = ALGORITHM_HMAC_SHA256,
                                .signed_at = 0x0102030405,
                                .expires_at = 0x0102030406,
                                .manifest_len = 0x010203,
                                .files_len = 0x0203,
                                .archive_len = 0x03040506};
    memset(head.name, 'n', MANIFEST_NAME_MAX);
    memset(head.version, '1', MANIFEST_VERSION_MAX);
    memcpy(head.version, "1.2.", 4);
    head.manifest_len = 1 << 20;
    uint8_t bytes[PACKAGE_HEAD];
    struct package_head back;
    for (unsigned i = 0; i < 32; i++) {
        head.key_id[i] = (uint8_t)i;
        head.payload_sha256[i] = (uint8_t)(255 - i);
    }
    head_format(&head, bytes);
    assert_int_equal(head_parse(bytes, &back, &err), 0);
    assert_memory_equal(&back, &head, sizeof head);
    static const uint8_t le[8] = {5, 4, 3, 2, 1, 0, 0, 0};
    assert_memory_equal(bytes + 24, le, 8);
}

static void pieces_must_agree(void **state)
{
    struct error err;
    struct trust trust = trust_in(mine, "*");
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = mine, .name = "other"}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_NOT_A_PACKAGE, "head says other 1.0.0");
    make_package(&(struct pieces){.key = mine, .version = "1.0.1"}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_NOT_A_PACKAGE, "head says demo 1.0.1");
#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    make_package(&(struct pieces){.key = mine, .files = HASH "  other.so\n"}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_NOT_A_PACKAGE, "names demo.so");
    make_package(&(struct pieces){.key = mine, .files = HASH "  demo.so\n" HASH "  extra\n"}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_NOT_A_PACKAGE, "FILES names 2 files");
    make_package(&(struct pieces){.key = mine, .manifest = "{\"moat\":1"}, &bytes);
    assert_refused(accept(&bytes, &trust, NOW, &err), &err, MOAT_E_BAD_JSON, "line 1");
}

static void files_rules(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "names no file"},
        {HASH "  a", "newline"},
        {HASH " a\n", "64 hexadecimal"},
        {HASH " *a\n", "64 hexadecimal"},
        {HASH "  \n", "is empty"},
        {"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855  a\n", "64 hexadecimal"},
        {"g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n", "64 hexadecimal"},
        {HASH "  a\n\n", "line 2"},
        {HASH "  a\r\n", "printable"},
        {HASH "  /a\n", "absolute"},
        {HASH "  ../a\n", "leaves the package"},
        {HASH "  a/../../b\n", "leaves the package"},
        {HASH "  ./a\n", "\".\" component"},
        {HASH "  a//b\n", "empty component"},
        {HASH "  a/\n", "empty component"},
        {HASH "  a\\b\n", "printable"},
        {HASH "  -rf\n", "hyphen"},
        {HASH "  a /b\n", "space"},
        {HASH "   a\n", "space"},
        {HASH "  caf\xc3\xa9\n", "printable"},
        {HASH "  plugin.json\n", "itself"},
        {HASH "  files\n", "itself"},
        {HASH "  b\n" HASH "  a\n", "ascending"},
        {HASH "  a\n" HASH "  a\n", "ascending"},
        {HASH "  A\n" HASH "  a\n", "letter case"},
        {HASH "  a\n" HASH "  a.b\n" HASH "  a/b\n", "directory"},
        {HASH "  a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q\n", "deeper than 16"},
    };
    struct error err;
    struct files files;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = files_parse((const uint8_t *)bad[i].text, strlen(bad[i].text), &files, &err);
        assert_refused(rc, &err, MOAT_E_NOT_A_PACKAGE, bad[i].message);
    }
    static const char good[] = HASH "  a b/c.so\n" HASH "  a b/d\n" HASH "  z_+@=,~.txt\n";
    buf_auto text = BUF_INIT(1000);
    assert_int_equal(files_parse((const uint8_t *)good, sizeof good - 1, &files, &err), 0);
    assert_int_equal(files.count, 3);
    assert_int_equal(files_find(&files, "a b/d"), 1);
    assert_int_equal(files_find(&files, "a b"), -1);
    assert_true(files_format(&files, &text));
    assert_string_equal(buf_text(&text), good);
    files_free(&files);
}

static void files_caps(void **state)
{
    struct error err;
    struct files files;
    buf_auto text = BUF_INIT(1 << 20);
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&text, HASH "  f%04u\n", i);
    assert_int_equal(files_parse(text.data, text.len, &files, &err), 0);
    assert_int_equal(files.count, 1000);
    files_free(&files);
    buf_printf(&text, HASH "  f1000\n");
    assert_refused(files_parse(text.data, text.len, &files, &err), &err, MOAT_E_NOT_A_PACKAGE, "one entry more");
    char path[202];
    memset(path, 'p', sizeof path);
    path[200] = '\0';
    assert_null(path_problem(path));
    path[200] = 'p';
    path[201] = '\0';
    assert_non_null(path_problem(path));
}

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"*", "a", true},
        {"", "a", false},
        {",", "a", false},
        {"a", "a", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"acme_*", "acme_", true},
        {"acme_*", "acme_x", true},
        {"acme_*", "acm", false},
        {"a,b_*", "b_1", true},
        {"a,b_*", "a", true},
        {"a,b_*", "ab", false},
        {"*_x", "a_x_x", true},
        {"*_x", "a_x_y", false},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1b2b3", false},
        {"x,*", "anything", true},
        {"**", "a", true},
        {"a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (trust_name_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(what_was_opened_stays),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(every_length_counts),
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_store_that_fails),
        cmocka_unit_test(algorithms_do_not_mix),
        cmocka_unit_test(unsigned_packages),
        cmocka_unit_test(surveys),
        cmocka_unit_test(not_packages),
        cmocka_unit_test(bad_heads),
        cmocka_unit_test(head_goes_round),
        cmocka_unit_test(pieces_must_agree),
        cmocka_unit_test(files_rules),
        cmocka_unit_test(files_caps),
        cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
