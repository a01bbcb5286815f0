/* helper/stream: one zstd frame out of the package, unpacked piece by piece for libarchive.  Counts what it gives out,
 * so that a bomb ends at its limit whatever the headers say. */
#ifndef HELPER_STREAM_H
#define HELPER_STREAM_H

#include "helper/duty.h"
#include "wire/archive.h"

struct stream;

/* The frame lies at offset, len bytes long; at most `most` bytes come out.  NULL without memory. */
struct stream *stream_new(const struct duty_io *io, uint64_t offset, uint64_t len, uint64_t most);
void stream_free(struct stream *s);

/* The next piece, valid until the next call: its length, 0 at the end, -1 when refused. */
long stream_next(struct stream *s, const void **piece);

/* INSPECT_NOT_REFUSED while nothing was wrong. */
enum inspect_refusal stream_refusal(const struct stream *s);

/* Offset behind the last byte so far that was not zero. */
uint64_t stream_used(const struct stream *s);

#endif
