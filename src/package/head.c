#include "package/head.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* The magic is part of the signed text: a signature made for anything else never fits a package, and a package of
 * another format version never fits this one. */
#define MAGIC_LEN 16
#define MAGIC_ANY_VERSION 14 /* "MOAT package v" */
static const uint8_t magic[] = "MOAT package v1\n";

enum {
    AT_ALGORITHM = 16,
    AT_SIGNED_AT = 24,
    AT_EXPIRES_AT = 32,
    AT_MANIFEST_LEN = 40,
    AT_FILES_LEN = 48,
    AT_ARCHIVE_LEN = 56,
    AT_KEY_ID = 64,
    AT_PAYLOAD = 96,
    AT_NAME = 128,
    AT_VERSION = 160,
    AT_END = 232,
    NAME_ROOM = AT_VERSION - AT_NAME,
    VERSION_ROOM = AT_END - AT_VERSION,
};

/* Beyond the year 9999 no date has four digits; a signing time of 0 is a packer without a clock. */
#define TIME_MAX 253402300799ull

static uint64_t get_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

static void put_le(uint8_t *p, size_t n, uint64_t v)
{
    for (; n--; v >>= 8)
        *p++ = (uint8_t)v;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    while (n--)
        any |= *p++;
    return any == 0;
}

/* Text, then zeros to the end of its room. */
static bool get_text(const uint8_t *p, size_t room, char *out, size_t size)
{
    size_t n = strnlen((const char *)p, room);
    if (n >= size || !all_zero(p + n, room - n))
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

static int damaged(struct error *err, const char *what)
{
    return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the head of the package is damaged: %s", what);
}

static int check_magic(const uint8_t *bytes, struct error *err)
{
    if (memcmp(bytes, magic, MAGIC_LEN) == 0)
        return 0;
    if (memcmp(bytes, magic, MAGIC_ANY_VERSION) == 0)
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "this is a package of another format version; this host reads v1");
    return error_set(err, MOAT_E_NOT_A_PACKAGE, "this is not a package: it does not start with \"MOAT package v1\"");
}

static int check(const struct package_head *h, struct error *err)
{
    if (!text_is_name(h->name, MANIFEST_NAME_MAX))
        return damaged(err, "the plugin's name is not a name");
    if (!version_is_valid(h->version))
        return damaged(err, "the version is not a version");
    if (h->signed_at == 0 || h->signed_at > TIME_MAX || h->expires_at > TIME_MAX)
        return damaged(err, "a time is out of range");
    if (h->expires_at && h->expires_at <= h->signed_at)
        return damaged(err, "it ends before it begins");
    if (h->manifest_len == 0 || h->manifest_len > MANIFEST_MAX)
        return damaged(err, "the manifest's length is out of range");
    if (h->files_len == 0 || h->files_len > PACKAGE_FILES_MAX * (64ull + 2 + PACKAGE_PATH_MAX + 1))
        return damaged(err, "the length of FILES is out of range");
    if (h->archive_len == 0 || h->archive_len > PACKAGE_MAX_EVER)
        return damaged(err, "the archive's length is out of range");
    return 0;
}

int head_parse(const uint8_t bytes[PACKAGE_HEAD], struct package_head *out, struct error *err)
{
    int rc = check_magic(bytes, err);
    if (rc)
        return rc;
    struct package_head h = {
        .signed_at = get_le(bytes + AT_SIGNED_AT, 8),
        .expires_at = get_le(bytes + AT_EXPIRES_AT, 8),
        .manifest_len = get_le(bytes + AT_MANIFEST_LEN, 8),
        .files_len = get_le(bytes + AT_FILES_LEN, 8),
        .archive_len = get_le(bytes + AT_ARCHIVE_LEN, 8),
    };
    uint64_t algorithm = get_le(bytes + AT_ALGORITHM, 8);
    if (algorithm != ALGORITHM_NONE && algorithm != ALGORITHM_ED25519 && algorithm != ALGORITHM_HMAC_SHA256)
        return damaged(err, "its signature algorithm is unknown");
    if (algorithm == ALGORITHM_NONE &&
        (!all_zero(bytes + AT_KEY_ID, KEY_ID_LEN) || !all_zero(bytes + HEAD_SIGNED, SIGNATURE_LEN)))
        return damaged(err, "it has no signature, but a key or a part of one");
    h.algorithm = (enum algorithm)algorithm;
    memcpy(h.key_id, bytes + AT_KEY_ID, KEY_ID_LEN);
    memcpy(h.payload_sha256, bytes + AT_PAYLOAD, 32);
    if (!get_text(bytes + AT_NAME, NAME_ROOM, h.name, sizeof h.name) ||
        !get_text(bytes + AT_VERSION, VERSION_ROOM, h.version, sizeof h.version) ||
        !all_zero(bytes + AT_END, HEAD_SIGNED - AT_END))
        return damaged(err, "a place that must be zero is not");
    rc = check(&h, err);
    if (rc == 0)
        *out = h;
    return rc;
}

void head_format(const struct package_head *head, uint8_t out[PACKAGE_HEAD])
{
    memset(out, 0, PACKAGE_HEAD);
    for (size_t i = 0; i < MAGIC_LEN; i++)
        out[i] = magic[i];
    put_le(out + AT_ALGORITHM, 8, head->algorithm);
    put_le(out + AT_SIGNED_AT, 8, head->signed_at);
    put_le(out + AT_EXPIRES_AT, 8, head->expires_at);
    put_le(out + AT_MANIFEST_LEN, 8, head->manifest_len);
    put_le(out + AT_FILES_LEN, 8, head->files_len);
    put_le(out + AT_ARCHIVE_LEN, 8, head->archive_len);
    memcpy(out + AT_KEY_ID, head->key_id, KEY_ID_LEN);
    memcpy(out + AT_PAYLOAD, head->payload_sha256, 32);
    snprintf((char *)out + AT_NAME, NAME_ROOM, "%s", head->name);
    snprintf((char *)out + AT_VERSION, VERSION_ROOM, "%s", head->version);
}
