#include "tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "support.h"

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2];
    char uname[32], gname[32], major[8], minor[8], prefix[155], zero[12];
};
_Static_assert(sizeof(struct header) == 512, "a tar header is one block");

void tar_put(struct buf *tar, const struct tar_entry *e)
{
    static const uint8_t zeros[512];
    struct header h = {.type = e->type ? e->type : '0', .magic = "ustar", .version = "00"};
    size_t len = strlen(e->path), size = e->claimed ? e->claimed : e->len;
    memcpy(h.name, e->path, len < sizeof h.name ? len : sizeof h.name);
    snprintf(h.mode, sizeof h.mode, "%07o", (e->mode ? e->mode : 0644) & 07777u);
    memcpy(h.uid, "0000000", 8);
    memcpy(h.gid, "0000000", 8);
    snprintf(h.size, sizeof h.size, "%011zo", size & 077777777777);
    memcpy(h.mtime, "00000000000", 12);
    if (e->link)
        snprintf(h.link, sizeof h.link, "%s", e->link);
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((unsigned char *)&h)[i];
    snprintf(h.sum, sizeof h.sum, "%06o", sum & 0777777u);
    h.sum[7] = ' ';
    buf_put(tar, &h, sizeof h);
    buf_put(tar, e->data, e->len);
    assert_true(buf_put(tar, zeros, (512 - e->len % 512) % 512));
}

void tar_end(struct buf *tar)
{
    static const uint8_t zeros[1024];
    assert_true(buf_put(tar, zeros, sizeof zeros));
}

void zstd_pack(const struct buf *plain, struct buf *out)
{
    size_t room = ZSTD_compressBound(plain->len);
    buf_clear(out);
    assert_true(buf_reserve(out, room));
    out->len = ZSTD_compress(out->data, room, plain->data, plain->len, 3);
    assert_false(ZSTD_isError(out->len));
}

static void compress_piece(ZSTD_CCtx *zstd, const void *data, size_t len, ZSTD_EndDirective how, struct buf *out)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    size_t left;
    do {
        assert_true(buf_reserve(out, 64 * 1024));
        ZSTD_outBuffer room = {.dst = out->data + out->len, .size = 64 * 1024};
        left = ZSTD_compressStream2(zstd, &room, &in, how);
        assert_false(ZSTD_isError(left));
        out->len += room.pos;
    } while (in.pos < in.size || (how == ZSTD_e_end && left));
}

void zstd_bomb(const struct tar_entry *entry, uint64_t zeros, struct buf *out)
{
    static const uint8_t piece[1 << 20];
    buf_auto tar = BUF_INIT(1 << 20);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    buf_clear(out);
    tar_put(&tar, entry);
    compress_piece(zstd, tar.data, tar.len, ZSTD_e_continue, out);
    for (; zeros; zeros -= zeros < sizeof piece ? zeros : sizeof piece)
        compress_piece(zstd, piece, zeros < sizeof piece ? zeros : sizeof piece, ZSTD_e_continue, out);
    compress_piece(zstd, NULL, 0, ZSTD_e_end, out);
    ZSTD_freeCCtx(zstd);
}
