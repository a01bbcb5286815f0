/* base/buf: one growing byte buffer with a hard maximum.  It owns its memory; it never aborts.
 *
 * A failed put (maximum, memory) leaves the content as it was and makes the buffer `failed`; later puts fail too, so
 * that a writer may check once at the end.  After len there are always BUF_PAD zeroed-or-stale readable and writable
 * bytes (none while data is NULL), the first of which is 0: text can be used as a C string and checked by src/json. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUF_PAD 192

struct buf {
    uint8_t *data;
    size_t len, cap, max;
    bool failed;
};

#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_clear(struct buf *b); /* keeps memory and maximum, forgets content and failure */
void buf_free(struct buf *b);  /* safe on a zeroed buffer; usable again afterwards */
bool buf_reserve(struct buf *b, size_t more);
bool buf_put(struct buf *b, const void *data, size_t len);
bool buf_puts(struct buf *b, const char *text);
bool buf_putc(struct buf *b, char c);
__attribute__((format(printf, 2, 3))) bool buf_printf(struct buf *b, const char *format, ...);

/* Never NULL: "" for an empty buffer. */
const char *buf_text(const struct buf *b);

/* Hands the memory (with its padding) to the caller, who frees it; the buffer is empty afterwards.
 * NULL when it failed or has no memory. */
uint8_t *buf_steal(struct buf *b, size_t *len);

#define buf_auto __attribute__((cleanup(buf_free))) struct buf

#endif
