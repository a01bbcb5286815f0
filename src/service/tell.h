/* service/tell: JSON text, member by member, into a buffer.  Commas are its business; the caller closes what it opens.
 * A failed buffer stays failed: check it once at the end. */
#ifndef SERVICE_TELL_H
#define SERVICE_TELL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* key NULL: an element of an array, or the whole text. */
void tell_open(struct buf *out, const char *key, char bracket);     /* '{' or '[' */
void tell_close(struct buf *out, char bracket);                     /* '}' or ']' */
void tell_text(struct buf *out, const char *key, const char *text); /* NULL: null */
void tell_number(struct buf *out, const char *key, uint64_t n);
/* At most ten digits, with a point whatever the locale of an embedding program; null for what is not finite. */
void tell_real(struct buf *out, const char *key, double x);
void tell_flag(struct buf *out, const char *key, bool flag);
void tell_raw(struct buf *out, const char *key, const char *json);    /* NULL: null */
void tell_seconds(struct buf *out, const char *key, uint64_t wall_s); /* RFC 3339; 0: null */
void tell_time(struct buf *out, const char *key, uint64_t wall_ns);
void tell_hex(struct buf *out, const char *key, const uint8_t *bytes, size_t len); /* at most 32 */

#endif
