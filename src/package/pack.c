/* A directory becomes a package.  The archive is written by moat-helper; the finished package goes through the same
 * checks as an install would make, before anything is left on disk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "package/files.h"
#include "package/head.h"
#include "package/helper.h"
#include "package/package.h"
#include "wire/archive.h"

#define CHUNK (64 * 1024)
#define TIMEOUT_NS (120 * NS_PER_S)

struct packing {
    const char *dir;
    int dirfd;
    const struct pack_options *options;
    struct spawner *spawner;
    struct buf manifest_text;
    struct manifest *manifest;
    struct files files;
    int list; /* what the helper reads: pack records */
    uint64_t list_len;
    struct buf package;
    struct error *err;
};

static void packing_clear(struct packing *p)
{
    io_close(&p->dirfd);
    io_close(&p->list);
    buf_free(&p->manifest_text);
    buf_free(&p->package);
    manifest_unref(p->manifest);
    files_free(&p->files);
}

/* Links are followed inside the directory only: a package must not carry home what a link points to. */
static int open_beneath(struct packing *p, const char *path, int *out, uint64_t *size)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    fd_auto fd = (int)syscall(SYS_openat2, p->dirfd, path, &how, sizeof how);
    struct stat st;
    if (fd < 0 && errno == EXDEV)
        return error_set(p->err, MOAT_E_BAD_USAGE, "%s/%s leads out of the directory", p->dir, path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(p->err, errno == ENOENT || errno == ENOTDIR ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED,
                           errno, "cannot open %s/%s", p->dir, path);
    if (!S_ISREG(st.st_mode))
        return error_set(p->err, MOAT_E_BAD_USAGE, "%s/%s is not a regular file", p->dir, path);
    *size = (uint64_t)st.st_size;
    *out = io_steal(&fd);
    return 0;
}

/* An author is told of every fault at once, in one line. */
static int tell_faults(struct packing *p, const struct findings *f)
{
    buf_auto line = BUF_INIT(ERROR_MESSAGE_MAX - 1);
    for (size_t i = 0; i < f->count; i++) {
        const char *pointer = strchr(f->list[i].where, '#');
        buf_printf(&line, "%s%s%s%s", i ? "; " : "plugin.json: ", pointer ? pointer + 1 : "", pointer ? ": " : "",
                   f->list[i].message);
    }
    return error_set(p->err, f->list[0].code, "%s", buf_text(&line));
}

static int parse_manifest(struct packing *p)
{
    struct findings f = {0};
    int rc = manifest_parse_all(p->manifest_text.data, p->manifest_text.len, &f, &p->manifest, p->err);
    if (rc == 0 && f.count == 1) /* with the detail that one fault has */
        rc = manifest_parse(p->manifest_text.data, p->manifest_text.len, &p->manifest, p->err);
    else if (rc == 0 && f.count)
        rc = tell_faults(p, &f);
    findings_free(&f);
    return rc;
}

static int read_manifest(struct packing *p)
{
    fd_auto fd = -1;
    uint64_t size = 0;
    p->dirfd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->dirfd < 0)
        return error_errno(p->err, errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED, errno,
                           "cannot open the directory %s", p->dir);
    int rc = open_beneath(p, "plugin.json", &fd, &size);
    if (rc)
        return rc;
    if (size > MANIFEST_MAX || !buf_reserve(&p->manifest_text, size))
        return error_set(p->err, MOAT_E_BAD_MANIFEST, "plugin.json: larger than %d bytes", MANIFEST_MAX);
    ssize_t n = io_read_full(fd, p->manifest_text.data, size);
    if (n < 0)
        return error_errno(p->err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s/plugin.json", p->dir);
    p->manifest_text.len = (size_t)n;
    return parse_manifest(p);
}

static int put(struct packing *p, const void *data, size_t len)
{
    if (!io_write_all(p->list, data, len))
        return error_errno(p->err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package's files");
    p->list_len += len;
    return 0;
}

/* Exactly size bytes, as its record says: a file that changes while it is packed is an error. */
static int put_content(struct packing *p, int fd, const char *path, uint64_t size)
{
    uint8_t chunk[CHUNK];
    for (uint64_t done = 0;;) {
        ssize_t n = io_read_full(fd, chunk, sizeof chunk);
        if (n < 0)
            return error_errno(p->err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s/%s", p->dir, path);
        done += (uint64_t)n;
        if (done > size || (n == 0 && done < size))
            return error_set(p->err, MOAT_E_STORAGE_FAILED, "%s/%s changed while it was read", p->dir, path);
        if (n == 0)
            return 0;
        int rc = put(p, chunk, (size_t)n);
        if (rc)
            return rc;
    }
}

static bool is_code(const struct manifest *m, const char *path)
{
    bool code = strcmp(m->entry, path) == 0;
    for (size_t i = 0; i < m->nlibraries; i++)
        code = code || strcmp(m->libraries[i], path) == 0;
    return code;
}

/* Where a file's content stands in the list. */
struct place {
    uint64_t at, size;
};

static int put_file(struct packing *p, const struct files_entry *entry, struct place *place)
{
    fd_auto fd = -1;
    uint64_t size = 0;
    int rc = open_beneath(p, entry->path, &fd, &size);
    if (rc)
        return rc;
    if (size > ARCHIVE_UNPACKED_MAX || p->list_len > ARCHIVE_UNPACKED_MAX - size)
        return error_set(p->err, MOAT_E_TOO_LARGE, "the files are larger than %llu bytes together, at %s",
                         ARCHIVE_UNPACKED_MAX, entry->path);
    struct pack_record record = {
        .path_len = (uint32_t)strlen(entry->path), .executable = is_code(p->manifest, entry->path), .size = size};
    rc = put(p, &record, sizeof record);
    if (rc == 0)
        rc = put(p, entry->path, record.path_len);
    *place = (struct place){.at = p->list_len, .size = size};
    return rc ? rc : put_content(p, fd, entry->path, size);
}

static int name_files(struct packing *p)
{
    const struct manifest *m = p->manifest;
    size_t n = 0;
    p->files.list = calloc(1 + m->nlibraries + m->nassets, sizeof *p->files.list);
    if (!p->files.list)
        return error_set(p->err, MOAT_E_OUT_OF_MEMORY, "no memory for the list of files");
    snprintf(p->files.list[n++].path, sizeof p->files.list->path, "%s", m->entry);
    for (size_t i = 0; i < m->nlibraries; i++)
        snprintf(p->files.list[n++].path, sizeof p->files.list->path, "%s", m->libraries[i]);
    for (size_t i = 0; i < m->nassets; i++)
        snprintf(p->files.list[n++].path, sizeof p->files.list->path, "%s", m->assets[i]);
    p->files.count = n;
    files_sort(&p->files);
    return 0;
}

/* Hashes what the helper will read, not what the directory holds by then. */
static int hash_files(struct packing *p, const struct place *places)
{
    fd_auto sealed = io_seal(p->list);
    void *map = sealed < 0 ? MAP_FAILED : mmap(NULL, p->list_len, PROT_READ, MAP_SHARED, sealed, 0);
    if (map == MAP_FAILED)
        return error_errno(p->err, MOAT_E_OUT_OF_MEMORY, errno, "cannot map the package's files");
    for (size_t i = 0; i < p->files.count; i++)
        sha256((const uint8_t *)map + places[i].at, places[i].size, p->files.list[i].sha256);
    munmap(map, p->list_len);
    io_close(&p->list);
    p->list = io_steal(&sealed);
    return 0;
}

static int put_files(struct packing *p, struct place *places)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->files.count; i++)
        rc = put_file(p, &p->files.list[i], &places[i]);
    if (rc == 0)
        rc = put(p, &(struct pack_record){0}, sizeof(struct pack_record));
    return rc ? rc : hash_files(p, places);
}

static int gather_files(struct packing *p)
{
    int rc = name_files(p);
    if (rc)
        return rc;
    p->list = io_memfile("moat-pack");
    struct place *places = calloc(p->files.count + 1, sizeof *places);
    if (p->list < 0 || !places)
        rc = error_set(p->err, MOAT_E_OUT_OF_MEMORY, "no memory for the package's files");
    else
        rc = put_files(p, places);
    free(places);
    return rc;
}

static int put_archive(struct packing *p)
{
    struct helper helper;
    uint8_t chunk[CHUNK];
    ssize_t n;
    int rc = helper_begin(&helper, p->spawner, "pack", p->list, p->list_len,
                          TIMEOUT_NS + p->list_len / (1 << 20) * NS_PER_S, p->err);
    if (rc)
        return rc;
    while ((n = helper_read(&helper, chunk, sizeof chunk, p->err)) > 0) {
        if (!buf_put(&p->package, chunk, (size_t)n)) {
            n = error_set(p->err, MOAT_E_TOO_LARGE, "the package is larger than %llu bytes", PACKAGE_MAX_EVER);
            break;
        }
    }
    return helper_finish(&helper, n < 0 ? (int)n : 0, p->err);
}

/* SOURCE_DATE_EPOCH, https://reproducible-builds.org/specs/source-date-epoch. */
static int signing_time(struct packing *p, uint64_t *out)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    *out = p->options->signed_at ? p->options->signed_at : clock_wall_ns() / NS_PER_S;
    if (p->options->signed_at || !text)
        return 0;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end)
        return error_set(p->err, MOAT_E_BAD_USAGE, "SOURCE_DATE_EPOCH is \"%s\", not a number of seconds", text);
    return 0;
}

static int build(struct packing *p, struct package_head *head)
{
    static const uint8_t room[PACKAGE_HEAD];
    static const struct public_key nobody = {.algorithm = ALGORITHM_NONE};
    const struct public_key *key = p->options->key ? key_public(p->options->key) : &nobody;
    *head = (struct package_head){.algorithm = key->algorithm, .expires_at = p->options->expires_at};
    int rc = signing_time(p, &head->signed_at);
    if (rc)
        return rc;
    if (head->expires_at && head->expires_at <= head->signed_at)
        return error_set(p->err, MOAT_E_BAD_USAGE, "the package would expire before it is signed");
    snprintf(head->name, sizeof head->name, "%s", p->manifest->name);
    snprintf(head->version, sizeof head->version, "%s", p->manifest->version);
    memcpy(head->key_id, key->id, KEY_ID_LEN);
    buf_put(&p->package, room, sizeof room);
    buf_put(&p->package, p->manifest_text.data, p->manifest_text.len);
    head->manifest_len = p->package.len - PACKAGE_HEAD;
    if (!files_format(&p->files, &p->package))
        return error_set(p->err, MOAT_E_OUT_OF_MEMORY, "no memory for the package");
    head->files_len = p->package.len - PACKAGE_HEAD - head->manifest_len;
    rc = put_archive(p);
    if (rc)
        return rc;
    head->archive_len = p->package.len - PACKAGE_HEAD - head->manifest_len - head->files_len;
    sha256(p->package.data + PACKAGE_HEAD, p->package.len - PACKAGE_HEAD, head->payload_sha256);
    head_format(head, p->package.data);
    if (p->options->key)
        key_sign(p->options->key, p->package.data, HEAD_SIGNED, p->package.data + HEAD_SIGNED);
    return 0;
}

static int own_key(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    const struct signing_key *key = context;
    *out = (struct trust_answer){.known = true, .hmac = key, .publisher = "yourself", .names = "*"};
    if (key)
        out->key = *key_public(key);
    return 0;
}

/* What any host would refuse is refused here, where its author can mend it. */
static int check(struct packing *p, const struct package_head *head)
{
    struct package *made;
    struct unpacked files;
    int rc = package_open_bytes(p->package.data, p->package.len, PACKAGE_MAX_EVER, &made, p->err);
    if (rc)
        return rc;
    rc = package_verify(made, own_key, (void *)(uintptr_t)p->options->key, head->signed_at, p->err);
    if (rc == 0)
        rc = package_read(made, p->err);
    if (rc == 0)
        rc = package_unpack(made, p->spawner, &files, p->options->findings, p->err);
    if (rc == 0)
        unpacked_free(&files);
    package_free(made);
    return rc;
}

static int write_out(struct packing *p, const struct package_head *head, char made[4096])
{
    char path[4096];
    const char *out = p->options->out_path;
    int n = out ? snprintf(path, sizeof path, "%s", out)
                : snprintf(path, sizeof path, "%s-%s.moat", head->name, head->version);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(p->err, MOAT_E_BAD_USAGE, "the package's path is too long");
    int rc = io_replace_file(path, p->package.data, p->package.len, 0644, p->err);
    if (rc == 0)
        memcpy(made, path, (size_t)n + 1);
    return rc;
}

int package_pack(const char *dir, const struct pack_options *options, struct spawner *spawner, char made[4096],
                 struct error *err)
{
    struct packing p = {
        .dir = dir,
        .dirfd = -1,
        .options = options,
        .spawner = spawner,
        .manifest_text = BUF_INIT(MANIFEST_MAX),
        .list = -1,
        .package = BUF_INIT(PACKAGE_MAX_EVER),
        .err = err,
    };
    struct package_head head;
    int rc = read_manifest(&p);
    if (rc == 0)
        rc = gather_files(&p);
    if (rc == 0)
        rc = build(&p, &head);
    if (rc == 0)
        rc = check(&p, &head);
    if (rc == 0)
        rc = write_out(&p, &head, made);
    packing_clear(&p);
    return rc;
}
