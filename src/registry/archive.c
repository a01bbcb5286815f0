#include "registry/archive.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"

#define HEX 64

bool archive_is_segment(const char *name)
{
    size_t first = strspn(name, "0123456789");
    if (first == 0 || first > 20 || name[first] != '-')
        return false;
    size_t last = strspn(name + first + 1, "0123456789");
    return last > 0 && last <= 20 && strcmp(name + first + 1 + last, ".jsonl") == 0;
}

static bool is_name(const struct archive_line *line)
{
    char hex[65], package[TAR_NAME_MAX + 1];
    text_hex(hex, line->sha256, 32);
    snprintf(package, sizeof package, "%s%s.moat", ARCHIVE_PACKAGES, hex);
    return strcmp(line->name, ARCHIVE_DATABASE) == 0 || strcmp(line->name, package) == 0 ||
           (strncmp(line->name, ARCHIVE_SEGMENTS, strlen(ARCHIVE_SEGMENTS)) == 0 &&
            archive_is_segment(line->name + strlen(ARCHIVE_SEGMENTS)));
}

int archive_next_line(const char **at, struct archive_line *out)
{
    char hex[HEX + 1];
    const char *p = *at, *end;
    while (*p == '#') {
        end = strchr(p, '\n');
        if (!end)
            return -1;
        p = end + 1;
    }
    if (!*p)
        return 0;
    end = strchr(p, '\n');
    if (!end || end - p < HEX + 3 || end - p - HEX - 2 > TAR_NAME_MAX || p[HEX] != ' ' || p[HEX + 1] != ' ')
        return -1;
    memcpy(hex, p, HEX);
    hex[HEX] = '\0';
    size_t len = (size_t)(end - p) - HEX - 2;
    memcpy(out->name, p + HEX + 2, len);
    out->name[len] = '\0';
    *at = end + 1;
    return text_unhex(out->sha256, 32, hex) && is_name(out) ? 1 : -1;
}

int archive_copy(int from, int to, uint64_t most, char *chunk, uint8_t sha256[32], uint64_t *size, const char *path,
                 struct error *err)
{
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", path);
    uint64_t done = 0;
    int rc = 0;
    while (rc == 0 && done < most) {
        size_t want = most - done < ARCHIVE_CHUNK ? (size_t)(most - done) : ARCHIVE_CHUNK;
        ssize_t n = io_read_full(from, chunk, want);
        if (n == 0)
            break;
        if (n < 0 || gnutls_hash(hash, chunk, (size_t)n) < 0)
            rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read for %s", path);
        else if (to >= 0 && !io_write_all(to, chunk, (size_t)n))
            rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write %s", path);
        done += n > 0 ? (uint64_t)n : 0;
    }
    gnutls_hash_deinit(hash, sha256);
    *size = done;
    return rc;
}
