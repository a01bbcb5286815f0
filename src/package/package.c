#include "package/package.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "package/head.h"
#include "package/package_internal.h"

#define CLOCK_SKEW 300 /* seconds */

void package_free(struct package *p)
{
    if (!p)
        return;
    if (p->bytes)
        munmap((void *)(uintptr_t)p->bytes, p->len);
    io_close(&p->fd);
    files_free(&p->files);
    manifest_unref(p->manifest);
    free(p);
}

static int too_large(uint64_t max, struct error *err)
{
    return error_set(err, MOAT_E_TOO_LARGE, "the package is larger than %" PRIu64 " bytes", max);
}

/* Nothing about trust is decided here; a file that no packer wrote is refused before it costs more. */
static int check_shape(struct package *p, struct error *err)
{
    uint8_t head[PACKAGE_HEAD] = {0};
    memcpy(head, p->bytes, p->len < sizeof head ? p->len : sizeof head);
    int rc = head_parse(head, &p->head, err);
    if (p->len < PACKAGE_HEAD)
        return rc == -MOAT_E_NOT_A_PACKAGE ? rc
                                           : error_set(err, MOAT_E_PACKAGE_DAMAGED,
                                                       "the package is cut short: %zu bytes, not even a head", p->len);
    if (rc)
        return rc;
    /* Each length is bounded by head_parse: the sum cannot wrap. */
    uint64_t whole = PACKAGE_HEAD + p->head.manifest_len + p->head.files_len + p->head.archive_len;
    if (p->len != whole)
        return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the package is %s: it has %zu bytes, its head says %" PRIu64,
                         p->len < whole ? "cut short" : "longer than it should be", p->len, whole);
    return 0;
}

static int map_bytes(struct package *p, struct error *err)
{
    if (p->len == 0)
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "this is not a package: it is empty");
    void *map = mmap(NULL, p->len, PROT_READ, MAP_SHARED, p->fd, 0);
    if (map == MAP_FAILED)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot map the package");
    p->bytes = map;
    return check_shape(p, err);
}

/* Takes over the sealed descriptor. */
static int adopt(int *fd, size_t len, struct package **out, struct error *err)
{
    struct package *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a package");
    p->fd = io_steal(fd);
    p->len = len;
    int rc = map_bytes(p, err);
    if (rc)
        package_free(p);
    else
        *out = p;
    return rc;
}

int package_open_bytes(const void *bytes, size_t len, uint64_t max, struct package **out, struct error *err)
{
    if (len > max || len > PACKAGE_MAX_EVER)
        return too_large(max < PACKAGE_MAX_EVER ? max : PACKAGE_MAX_EVER, err);
    fd_auto fd = io_sealed("moat-package", bytes, len);
    if (fd < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package");
    return adopt(&fd, len, out, err);
}

/* Copies to the end of the file, whatever fstat said: a file may grow while it is read. */
static int copy_in(int from, int to, uint64_t max, uint64_t *copied, struct error *err)
{
    uint8_t chunk[64 * 1024];
    ssize_t n;
    *copied = 0;
    while ((n = io_read_full(from, chunk, sizeof chunk)) > 0) {
        *copied += (uint64_t)n;
        if (*copied > max)
            return too_large(max, err);
        if (!io_write_all(to, chunk, (size_t)n))
            return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package");
    }
    return n < 0 ? error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read the package") : 0;
}

/* O_NONBLOCK: a fifo must not hold the caller up before it is found to be none of ours. */
static int open_regular(const char *path, int *out, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno == ENOENT || errno == ENOTDIR ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED,
                           errno, "cannot open the package");
    if (!S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "this is not a package: it is not a regular file");
    *out = io_steal(&fd);
    return 0;
}

int package_open_as(const char *path, const char *called, uint64_t max, struct package **out, struct error *err)
{
    fd_auto from = -1;
    uint64_t len = 0;
    max = max < PACKAGE_MAX_EVER ? max : PACKAGE_MAX_EVER;
    int rc = open_regular(path, &from, err);
    if (rc == 0) {
        fd_auto copy = io_memfile("moat-package");
        if (copy < 0)
            rc = error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package");
        if (rc == 0)
            rc = copy_in(from, copy, max, &len, err);
        fd_auto sealed = rc == 0 ? io_seal(copy) : -1;
        if (rc == 0 && sealed < 0)
            rc = error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot seal the package's memory");
        if (rc == 0)
            rc = adopt(&sealed, (size_t)len, out, err);
    }
    if (rc)
        error_prefix(err, "%s", called);
    return rc;
}

int package_open(const char *path, uint64_t max, struct package **out, struct error *err)
{
    return package_open_as(path, path, max, out, err);
}

const struct package_head *package_head(const struct package *p)
{
    return &p->head;
}

void package_bytes(const struct package *p, const uint8_t **bytes, size_t *len)
{
    *bytes = p->bytes;
    *len = p->len;
}

void package_sha256(const struct package *p, uint8_t out[32])
{
    sha256(p->bytes, p->len, out);
}

struct manifest *package_manifest(const struct package *p)
{
    return p->manifest;
}

const char *package_publisher(const struct package *p)
{
    return p->publisher;
}

/* One element of a pattern against a name; '*' stands for any run of characters. */
static bool element_matches(const char *pattern, size_t len, const char *name)
{
    const char *end = pattern + len, *star = NULL, *resume = NULL;
    while (*name) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            resume = name;
        } else if (pattern < end && *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            /* Only the last star is ever tried again: no pattern costs more than its length times the name's. */
            pattern = star;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

bool trust_name_matches(const char *pattern, const char *name)
{
    for (const char *p = pattern;; p++) {
        size_t len = strcspn(p, ",");
        if (len && element_matches(p, len, name))
            return true;
        p += len;
        if (!*p)
            return false;
    }
}

/* ---- who signed, and do they stand for it? ---- */

/* The two ways to say that nobody here knows the key. */
static int unknown_key(const struct package *p, const char *id, struct error *err)
{
    const struct package_head *h = &p->head;
    if (h->algorithm == ALGORITHM_NONE)
        return error_set(err, MOAT_E_UNSIGNED, "%s %s is not signed", h->name, h->version);
    if (h->algorithm == ALGORITHM_HMAC_SHA256)
        return error_set(err, MOAT_E_UNKNOWN_KEY,
                         "%s %s is signed by the HMAC key %s, which this host was not given at its start: set "
                         "PLUGIN_SECRET_KEY_FILE to it, or PLUGIN_SECRET_KEY_OLD_FILE while it is being replaced",
                         h->name, h->version, id);
    return error_set(err, MOAT_E_UNKNOWN_KEY, "%s %s is signed by the %s key %s, which is not trusted here", h->name,
                     h->version, algorithm_name(h->algorithm), id);
}

static int check_key(const struct package *p, const struct trust_answer *answer, struct error *err)
{
    char id[KEY_ID_HEX];
    text_hex(id, p->head.key_id, KEY_ID_LEN);
    /* The algorithm is the key's, never the package's choice: a public key must not become an HMAC secret. */
    if (!answer->known || memcmp(answer->key.id, p->head.key_id, KEY_ID_LEN) != 0 ||
        answer->key.algorithm != p->head.algorithm || (answer->key.algorithm == ALGORITHM_HMAC_SHA256 && !answer->hmac))
        return unknown_key(p, id, err);
    if (answer->revoked)
        return error_set(err, MOAT_E_KEY_REVOKED, "%s %s is signed by the key %s of %s, which was revoked",
                         p->head.name, p->head.version, id, answer->publisher);
    return 0;
}

static int check_payload(const struct package *p, struct error *err)
{
    uint8_t hash[32];
    sha256(p->bytes + PACKAGE_HEAD, p->len - PACKAGE_HEAD, hash);
    if (memcmp(hash, p->head.payload_sha256, sizeof hash) == 0)
        return 0;
    return error_set(err, MOAT_E_PACKAGE_DAMAGED,
                     "the content of %s %s is not what was signed: its SHA-256 does not match", p->head.name,
                     p->head.version);
}

static int check_signature(const struct package *p, const struct trust_answer *answer, struct error *err)
{
    if (p->head.algorithm != ALGORITHM_NONE &&
        !key_verify(&answer->key, answer->hmac, p->bytes, HEAD_SIGNED, p->bytes + HEAD_SIGNED))
        return error_set(err, MOAT_E_BAD_SIGNATURE,
                         "the signature of %s %s is wrong: the package was changed after it was signed", p->head.name,
                         p->head.version);
    return check_payload(p, err);
}

/* ---- what the signed head claims ---- */

static int check_name(const struct package *p, const struct trust_answer *answer, uint64_t now, struct error *err)
{
    if (!answer->known || trust_name_matches(answer->names, p->head.name))
        return 0;
    return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "%s may publish \"%s\", not \"%s\"", answer->publisher,
                     answer->names, p->head.name);
}

static int check_end(const struct package *p, const struct trust_answer *answer, uint64_t now, struct error *err)
{
    char when[CLOCK_RFC3339_MAX];
    if (!p->head.expires_at || now < p->head.expires_at)
        return 0;
    clock_rfc3339(p->head.expires_at * NS_PER_S, when);
    return error_set(err, MOAT_E_PACKAGE_EXPIRED, "%s %s was valid until %s", p->head.name, p->head.version, when);
}

static int check_begin(const struct package *p, const struct trust_answer *answer, uint64_t now, struct error *err)
{
    char when[CLOCK_RFC3339_MAX];
    if (p->head.signed_at <= now || p->head.signed_at - now <= CLOCK_SKEW)
        return 0;
    clock_rfc3339(p->head.signed_at * NS_PER_S, when);
    return error_set(err, MOAT_E_PACKAGE_FROM_FUTURE, "%s %s says it was signed at %s, which is still to come",
                     p->head.name, p->head.version, when);
}

typedef int (*claim)(const struct package *p, const struct trust_answer *answer, uint64_t now, struct error *err);
static const claim claims[] = {check_name, check_end, check_begin};
#define NCLAIMS (sizeof claims / sizeof *claims)

static void verified(struct package *p, const struct trust_answer *answer)
{
    text_copy(p->publisher, sizeof p->publisher, answer->publisher);
    p->stage = p->manifest ? STAGE_READ : STAGE_VERIFIED;
}

int package_verify(struct package *p, trust_lookup lookup, void *context, uint64_t now, struct error *err)
{
    struct trust_answer answer = {0};
    p->stage = STAGE_OPEN;
    int rc = lookup(context, p->head.key_id, &answer, err);
    if (rc == 0)
        rc = check_key(p, &answer, err);
    if (rc == 0)
        rc = check_signature(p, &answer, err);
    for (size_t i = 0; i < NCLAIMS && rc == 0; i++)
        rc = claims[i](p, &answer, now, err);
    if (rc == 0)
        verified(p, &answer);
    return rc;
}

/* ---- for those who only look ---- */

static const char *const signature_names[] = {"not_checked", "none", "bad", "good"};

const char *package_signature_name(enum package_signature s)
{
    return signature_names[s];
}

static enum package_signature survey_signature(const struct package *p, const struct trust_answer *answer,
                                               struct findings *findings)
{
    struct error why;
    if (check_key(p, answer, &why) < 0) {
        findings_refuse(findings, &why);
        return p->head.algorithm == ALGORITHM_NONE ? PACKAGE_UNSIGNED : PACKAGE_NOT_CHECKED;
    }
    if (check_signature(p, answer, &why) < 0) {
        findings_refuse(findings, &why);
        return PACKAGE_BAD;
    }
    return p->head.algorithm == ALGORITHM_NONE ? PACKAGE_UNSIGNED : PACKAGE_GOOD;
}

int package_survey(struct package *p, trust_lookup lookup, void *context, uint64_t now, struct findings *findings,
                   enum package_signature *signature, struct error *err)
{
    struct trust_answer answer = {0};
    struct error why;
    size_t before = findings->count;
    p->stage = STAGE_OPEN;
    int rc = lookup(context, p->head.key_id, &answer, err);
    if (rc < 0)
        return rc;
    *signature = survey_signature(p, &answer, findings);
    if (findings->count == before)
        verified(p, &answer);
    for (size_t i = 0; i < NCLAIMS; i++)
        if (claims[i](p, &answer, now, &why) < 0)
            findings_refuse(findings, &why);
    return 0;
}

int package_unverified(struct package *p, struct error *err)
{
    int rc = check_payload(p, err);
    if (rc == 0 && p->stage == STAGE_OPEN)
        p->stage = STAGE_VERIFIED;
    return rc;
}

bool package_is_readable(const struct package *p)
{
    return p->stage >= STAGE_VERIFIED;
}

/* The manifest and FILES must name the same entries: an archive has nothing that nobody asked for. */
static int check_entries(const struct manifest *m, struct files *files, struct error *err)
{
    size_t named = 1 + m->nlibraries + m->nassets;
    const char *missing = files_find(files, m->entry) < 0 ? m->entry : NULL;
    for (size_t i = 0; i < m->nlibraries && !missing; i++)
        missing = files_find(files, m->libraries[i]) < 0 ? m->libraries[i] : NULL;
    for (size_t i = 0; i < m->nassets && !missing; i++) {
        long found = files_find(files, m->assets[i]);
        if (found >= 0)
            files->list[found].asset = true;
        else
            missing = m->assets[i];
    }
    if (missing)
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "the manifest names %s, which FILES does not", missing);
    /* All of them were found and they are distinct: the counts decide. */
    if (named != files->count)
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "FILES names %zu files, the manifest %zu", files->count, named);
    return 0;
}

static int read_rest(struct package *p, const struct manifest *m, struct files *files, struct error *err)
{
    if (strcmp(m->name, p->head.name) != 0 || strcmp(m->version, p->head.version) != 0)
        return error_set(err, MOAT_E_NOT_A_PACKAGE, "the head says %s %s, the manifest %s %s", p->head.name,
                         p->head.version, m->name, m->version);
    int rc = files_parse(p->bytes + PACKAGE_HEAD + p->head.manifest_len, p->head.files_len, files, err);
    return rc ? rc : check_entries(m, files, err);
}

/* findings: NULL, or where the manifest's faults go. */
static int read_parts(struct package *p, struct findings *findings, struct error *err)
{
    const uint8_t *text = p->bytes + PACKAGE_HEAD;
    struct manifest *m = NULL;
    struct files files = {0};
    if (p->stage < STAGE_VERIFIED)
        return error_set(err, MOAT_E_INTERNAL, "the package was not verified before it was read");
    if (p->stage >= STAGE_READ)
        return 0;
    int rc = findings ? manifest_parse_all(text, p->head.manifest_len, findings, &m, err)
                      : manifest_parse(text, p->head.manifest_len, &m, err);
    if (rc || !m)
        return rc;
    rc = read_rest(p, m, &files, err);
    if (rc) {
        manifest_unref(m);
        files_free(&files);
        return rc;
    }
    p->manifest = m;
    p->files = files;
    p->stage = STAGE_READ;
    return 0;
}

int package_read(struct package *p, struct error *err)
{
    return read_parts(p, NULL, err);
}

int package_read_all(struct package *p, struct findings *findings, struct error *err)
{
    int rc = read_parts(p, findings, err);
    if (rc != -MOAT_E_NOT_A_PACKAGE)
        return rc;
    findings_refuse(findings, err);
    return 0;
}
