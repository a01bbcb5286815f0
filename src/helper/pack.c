/* Duty "pack": writes the archive of a package.  The same files give the same bytes: fixed order (the host's), owner,
 * modes, time and zstd level, one thread. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "helper/duty.h"
#include "wire/archive.h"

#define LEVEL 9
#define PIECE (64 * 1024)

struct packing {
    const struct duty_io *io;
    uint64_t at; /* in the input */
    ZSTD_CCtx *zstd;
    uint8_t in[PIECE], out[PIECE];
};

static bool compress(struct packing *p, const void *data, size_t len, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    size_t left;
    do {
        ZSTD_outBuffer out = {.dst = p->out, .size = sizeof p->out};
        left = ZSTD_compressStream2(p->zstd, &out, &in, how);
        if (ZSTD_isError(left) || !p->io->write(p->io->context, p->out, out.pos))
            return false;
    } while (in.pos < in.size || (how == ZSTD_e_end && left));
    return true;
}

static la_ssize_t take(struct archive *a, void *context, const void *data, size_t len)
{
    if (compress(context, data, len, ZSTD_e_continue))
        return (la_ssize_t)len;
    archive_set_error(a, EIO, "the archive cannot be written");
    return -1;
}

static bool next(struct packing *p, void *data, size_t len)
{
    if (!p->io->read(p->io->context, data, len, p->at))
        return false;
    p->at += len;
    return true;
}

static bool put_header(struct archive *a, const char *path, const struct pack_record *r)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return false;
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, r->executable ? 0755 : 0644);
    archive_entry_set_size(entry, (la_int64_t)r->size);
    archive_entry_set_mtime(entry, 0, 0);
    bool ok = archive_write_header(a, entry) == ARCHIVE_OK;
    archive_entry_free(entry);
    return ok;
}

static bool put_content(struct packing *p, struct archive *a, uint64_t size)
{
    while (size) {
        size_t n = size < PIECE ? (size_t)size : PIECE;
        if (!next(p, p->in, n) || archive_write_data(a, p->in, n) != (la_ssize_t)n)
            return false;
        size -= n;
    }
    return true;
}

static bool put_files(struct packing *p, struct archive *a)
{
    struct pack_record r;
    char path[ARCHIVE_PATH_MAX + 1];
    for (unsigned count = 0; next(p, &r, sizeof r); count++) {
        if (r.path_len == 0)
            return true;
        if (count == ARCHIVE_FILES_MAX || r.path_len > ARCHIVE_PATH_MAX || r.size > ARCHIVE_UNPACKED_MAX ||
            !next(p, path, r.path_len))
            return false;
        path[r.path_len] = '\0';
        if (!put_header(a, path, &r) || !put_content(p, a, r.size))
            return false;
    }
    return false;
}

static bool pack(struct packing *p, struct archive *a)
{
    return archive_write_set_format_ustar(a) == ARCHIVE_OK && archive_write_add_filter_none(a) == ARCHIVE_OK &&
           archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
           archive_write_open(a, p, NULL, take, NULL) == ARCHIVE_OK && put_files(p, a) &&
           archive_write_close(a) == ARCHIVE_OK && compress(p, NULL, 0, ZSTD_e_end);
}

int duty_pack(const struct duty_io *io)
{
    int status = HELPER_NO_MEMORY;
    struct packing *p = calloc(1, sizeof *p);
    struct archive *a = archive_write_new();
    if (p && a && (p->zstd = ZSTD_createCCtx()) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL))) {
        p->io = io;
        status = pack(p, a) ? HELPER_DONE : HELPER_BAD_INPUT;
    }
    archive_write_free(a);
    if (p)
        ZSTD_freeCCtx(p->zstd);
    free(p);
    return status;
}
