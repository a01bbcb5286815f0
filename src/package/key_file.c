/* Key files.  RFC 8410 leaves no choice in the DER of a bare Ed25519 key: a fixed prefix and 32 bytes.  So the files
 * are compared with that prefix instead of being parsed as ASN.1. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "package/key.h"
#include "package/key_internal.h"

#define KEY_FILE_MAX (16 * 1024)
#define DER_MAX 64

struct form {
    const char *label;
    size_t prefix_len;
    uint8_t prefix[16];
};

static const struct form private_form = {
    /* PKCS#8: SEQUENCE(46) { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING(32) } } */
    .label = "PRIVATE KEY",
    .prefix_len = 16,
    .prefix = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20},
};
static const struct form public_form = {
    /* SubjectPublicKeyInfo: SEQUENCE(42) { SEQUENCE { OID 1.3.101.112 }, BIT STRING(33, no unused bits) } */
    .label = "PUBLIC KEY",
    .prefix_len = 12,
    .prefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
};

static void pem_format(const struct form *form, const uint8_t key[32], char *out, size_t size)
{
    uint8_t der[DER_MAX];
    char base64[sodium_base64_ENCODED_LEN(DER_MAX, sodium_base64_VARIANT_ORIGINAL)];
    memcpy(der, form->prefix, form->prefix_len);
    memcpy(der + form->prefix_len, key, 32);
    /* At most 64 characters: one line of PEM. */
    sodium_bin2base64(base64, sizeof base64, der, form->prefix_len + 32, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, size, "-----BEGIN %s-----\n%s\n-----END %s-----\n", form->label, base64, form->label);
    sodium_memzero(der, sizeof der);
    sodium_memzero(base64, sizeof base64);
}

/* What other files people hand in by mistake. */
static const char *what_is_it(const char *pem)
{
    static const struct {
        const char *mark, *is;
    } kinds[] = {
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----", "an encrypted private key (`openssl pkey -in FILE` decrypts it)"},
        {"-----BEGIN PRIVATE KEY-----", "a private key"},
        {"-----BEGIN PUBLIC KEY-----", "a public key"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----", "an OpenSSH private key"},
        {"-----BEGIN RSA PRIVATE KEY-----", "an RSA private key"},
        {"-----BEGIN EC PRIVATE KEY-----", "an elliptic curve's private key"},
        {"-----BEGIN RSA PUBLIC KEY-----", "an RSA public key"},
        {"-----BEGIN CERTIFICATE REQUEST-----", "a certificate request"},
        {"-----BEGIN CERTIFICATE-----", "a certificate (`openssl x509 -pubkey -noout -in FILE` takes the key out)"},
        {"-----BEGIN PGP ", "an OpenPGP file"},
        {"ssh-ed25519 ", "an OpenSSH public key"},
        {"ssh-rsa ", "an OpenSSH public key"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(pem, kinds[i].mark))
            return kinds[i].is;
    return "no PEM key";
}

/* The 32 key bytes out of the first PEM block of this form. */
static int pem_parse(const struct form *form, const char *pem, uint8_t key[32], struct error *err)
{
    char begin[64], end[64];
    snprintf(begin, sizeof begin, "-----BEGIN %s-----", form->label);
    snprintf(end, sizeof end, "-----END %s-----", form->label);
    const char *from = strstr(pem, begin), *to = from ? strstr(from, end) : NULL;
    if (!from || !to)
        return error_set(err, MOAT_E_BAD_USAGE, "this is %s, not an Ed25519 \"%s\" in PEM", what_is_it(pem),
                         form->label);
    from += strlen(begin);
    uint8_t der[DER_MAX];
    size_t len;
    int rc = 0;
    if (sodium_base642bin(der, sizeof der, from, (size_t)(to - from), "\r\n \t", &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        len != form->prefix_len + 32 || memcmp(der, form->prefix, form->prefix_len) != 0)
        rc = error_set(err, MOAT_E_BAD_USAGE,
                       "this \"%s\" is not an Ed25519 key (`openssl genpkey -algorithm "
                       "ed25519` or `moat keygen` makes one)",
                       form->label);
    else
        memcpy(key, der + form->prefix_len, 32);
    sodium_memzero(der, sizeof der);
    return rc;
}

/* O_NONBLOCK: a fifo must not hold the caller up before it is found to be none of ours. */
static int open_secret(const char *path, int *out, struct stat *st, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, st) < 0)
        return error_errno(err, errno == ENOENT || errno == ENOTDIR ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED,
                           errno, "cannot open %s", path);
    if (!S_ISREG(st->st_mode))
        return error_set(err, MOAT_E_BAD_USAGE, "%s is not a file", path);
    *out = io_steal(&fd);
    return 0;
}

/* A secret must not stay behind in a buffer that was grown or freed: one fixed, locked page. */
static int read_secret(int fd, const char *path, char **text, size_t *len, struct error *err)
{
    char *bytes = key_ready() ? sodium_malloc(KEY_FILE_MAX + 1) : NULL;
    if (!bytes)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no locked memory for a key");
    ssize_t n = io_read_full(fd, bytes, KEY_FILE_MAX + 1);
    int rc = n < 0              ? error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s", path)
             : n > KEY_FILE_MAX ? error_set(err, MOAT_E_BAD_USAGE, "%s is too large for a key", path)
                                : 0;
    if (rc) {
        sodium_free(bytes);
        return rc;
    }
    bytes[n] = '\0';
    *text = bytes;
    *len = (size_t)n;
    return 0;
}

int key_parse(const char *pem, struct signing_key **out, struct error *err)
{
    uint8_t seed[KEY_SEED_LEN];
    int rc = pem_parse(&private_form, pem, seed, err);
    if (rc == 0)
        rc = key_from_seed(seed, out, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

int key_read(const char *path, struct signing_key **out, struct error *err)
{
    char *pem = NULL;
    size_t len = 0;
    struct stat st;
    fd_auto fd = -1;
    int rc = open_secret(path, &fd, &st, err);
    if (rc == 0)
        rc = read_secret(fd, path, &pem, &len, err);
    if (rc || !pem)
        return rc;
    rc = key_parse(pem, out, err);
    sodium_free(pem);
    if (rc)
        error_prefix(err, "%s", path);
    return rc;
}

/* A secret that others may read is none; one that others may write is theirs. */
static int check_private(const char *path, const struct stat *st, struct error *err)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return error_set(err, MOAT_E_BAD_USAGE, "%s holds a secret key and belongs to another user (uid %u)", path,
                         (unsigned)st->st_uid);
    if (st->st_mode & 077)
        return error_set(err, MOAT_E_BAD_USAGE, "others may read or write %s, which holds a secret key: `chmod 600 %s`",
                         path, path);
    return 0;
}

int key_read_hmac(const char *path, struct signing_key **out, struct error *err)
{
    char *text = NULL;
    size_t len = 0;
    struct stat st;
    fd_auto fd = -1;
    int rc = open_secret(path, &fd, &st, err);
    if (rc == 0)
        rc = check_private(path, &st, err);
    if (rc == 0)
        rc = read_secret(fd, path, &text, &len, err);
    if (rc || !text)
        return rc;
    if (len && text[len - 1] == '\n') /* the one that editors and echo leave */
        len--;
    rc = key_hmac(text, len, out, err);
    sodium_free(text);
    if (rc)
        error_prefix(err, "%s", path);
    return rc;
}

int key_parse_public(const char *pem, size_t len, struct public_key *out, struct error *err)
{
    struct public_key key = {.algorithm = ALGORITHM_ED25519};
    if (len > KEY_FILE_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "this is too large for a key");
    if (!key_ready())
        return error_set(err, MOAT_E_INTERNAL, "libsodium does not start");
    char text[KEY_FILE_MAX + 1];
    memcpy(text, pem, len);
    text[len] = '\0';
    int rc = pem_parse(&public_form, text, key.bytes, err);
    if (rc)
        return rc;
    /* A point of small order would let anyone forge signatures for it. */
    if (!crypto_core_ed25519_is_valid_point(key.bytes))
        return error_set(err, MOAT_E_BAD_USAGE, "these 32 bytes are not a valid Ed25519 public key");
    sha256(key.bytes, sizeof key.bytes, key.id);
    *out = key;
    return 0;
}

int key_read_public(const char *path, struct public_key *out, struct error *err)
{
    buf_auto text = BUF_INIT(KEY_FILE_MAX);
    int rc = io_read_file(path, &text, err);
    if (rc)
        return rc;
    rc = key_parse_public(buf_text(&text), text.len, out, err);
    if (rc)
        error_prefix(err, "%s", path);
    return rc;
}

/* O_EXCL: neither an existing file nor what a link points to is ever written over. */
static int write_new(const char *path, const char *text, mode_t mode, struct error *err)
{
    fd_auto fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return error_set(err, MOAT_E_ALREADY_EXISTS, "%s exists; a key is never written over, choose another name",
                         path);
    if (fd < 0)
        return error_errno(err, errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED, errno,
                           "cannot create %s", path);
    if (fchmod(fd, mode) < 0 || !io_write_all(fd, text, strlen(text)) || fsync(fd) < 0) {
        int saved = errno;
        unlink(path);
        return error_errno(err, MOAT_E_STORAGE_FAILED, saved, "cannot write %s", path);
    }
    return 0;
}

int key_write(const struct signing_key *key, const char *path, struct error *err)
{
    if (key->public.algorithm != ALGORITHM_ED25519)
        return error_set(err, MOAT_E_BAD_USAGE, "only ed25519 keys are kept in files");
    buf_auto public_path = BUF_INIT(8192);
    if (!buf_printf(&public_path, "%s.pub", path))
        return error_set(err, MOAT_E_BAD_USAGE, "the path of the key is too long");
    char text[256];
    /* The public half first: a private key without it can always say it again, so a failure leaves nothing secret. */
    pem_format(&public_form, key->public.bytes, text, sizeof text);
    int rc = write_new(buf_text(&public_path), text, 0644, err);
    if (rc)
        return rc;
    pem_format(&private_form, key->secret, text, sizeof text);
    rc = write_new(path, text, 0600, err);
    sodium_memzero(text, sizeof text);
    if (rc)
        unlink(buf_text(&public_path));
    return rc;
}
