#include "helper/stream.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PIECE (64 * 1024)
#define WINDOW_LOG_MAX 24
/* Of a frame as RFC 8878 has it.  The library would also take frames of its own early versions, and such as are to be
 * skipped. */
#define MAGIC "\x28\xb5\x2f\xfd"

struct stream {
    const struct duty_io *io;
    uint64_t at, end; /* in the package */
    bool begun;
    uint64_t given, most, used;
    ZSTD_DCtx *zstd;
    ZSTD_inBuffer in;
    bool frame_done;
    enum inspect_refusal refusal;
    uint8_t packed[PIECE], plain[PIECE];
};

struct stream *stream_new(const struct duty_io *io, uint64_t offset, uint64_t len, uint64_t most)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->io = io;
    s->at = offset;
    s->end = offset + len;
    s->most = most;
    s->zstd = ZSTD_createDCtx();
    if (!s->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        stream_free(s);
        return NULL;
    }
    return s;
}

void stream_free(struct stream *s)
{
    if (s)
        ZSTD_freeDCtx(s->zstd);
    free(s);
}

static long refuse(struct stream *s, enum inspect_refusal why)
{
    s->refusal = why;
    return -1;
}

static bool refill(struct stream *s)
{
    size_t n = s->end - s->at < PIECE ? (size_t)(s->end - s->at) : PIECE;
    if (n == 0 || !s->io->read(s->io->context, s->packed, n, s->at))
        return false;
    s->at += n;
    s->in = (ZSTD_inBuffer){.src = s->packed, .size = n};
    return true;
}

/* At the beginning, a look at what it is.  What is shorter than the magic is cut short anyway. */
static bool begin(struct stream *s)
{
    if (!s->begun && s->in.size >= sizeof MAGIC - 1 && memcmp(s->packed, MAGIC, sizeof MAGIC - 1) != 0)
        s->refusal = INSPECT_REFUSAL_NOT_ZSTD;
    s->begun = true;
    return !s->refusal;
}

static enum inspect_refusal zstd_refusal(size_t code)
{
    switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_prefix_unknown:
        return INSPECT_REFUSAL_NOT_ZSTD;
    case ZSTD_error_frameParameter_windowTooLarge:
        return INSPECT_REFUSAL_WINDOW;
    case ZSTD_error_memory_allocation:
        return INSPECT_REFUSAL_MEMORY;
    default:
        return INSPECT_REFUSAL_BROKEN;
    }
}

/* Where in the stream the last byte stands that is not zero: behind the last entry there may be zeros only. */
static void note_used(struct stream *s, size_t n)
{
    size_t i = n;
    while (i && s->plain[i - 1] == 0)
        i--;
    if (i)
        s->used = s->given + i;
}

long stream_next(struct stream *s, const void **piece)
{
    ZSTD_outBuffer out = {.dst = s->plain, .size = sizeof s->plain};
    if (s->refusal)
        return -1;
    while (out.pos == 0) {
        bool input = s->in.pos < s->in.size || refill(s);
        if (s->frame_done)
            /* One frame is all: a second one, or anything else, would be content that nobody looks at. */
            return input ? refuse(s, INSPECT_REFUSAL_TRAILING) : 0;
        if (!input)
            return refuse(s, INSPECT_REFUSAL_BROKEN); /* cut short */
        if (!begin(s))
            return -1;
        size_t left = ZSTD_decompressStream(s->zstd, &out, &s->in);
        if (ZSTD_isError(left))
            return refuse(s, zstd_refusal(left));
        s->frame_done = left == 0;
    }
    if (s->given + out.pos > s->most)
        return refuse(s, INSPECT_REFUSAL_SIZE);
    note_used(s, out.pos);
    s->given += out.pos;
    *piece = s->plain;
    return (long)out.pos;
}

enum inspect_refusal stream_refusal(const struct stream *s)
{
    return s->refusal;
}

uint64_t stream_used(const struct stream *s)
{
    return s->used;
}
