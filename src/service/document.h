/* service/document: a JSON text of any size, mapped where it lies, so that src/json can check it and the cursor read
 * it. Pure but for the file.  One thread at a time. */
#ifndef SERVICE_DOCUMENT_H
#define SERVICE_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct document {
    uint8_t *text; /* JSON, with a 0 behind it; what is written into it changes no file */
    size_t len, mapped;
};

/* MOAT_E_BAD_JSON, MOAT_E_TOO_LARGE. Close it in any case. */
int document_open(struct document *d, int fd, uint64_t max, struct error *err);
/* The same for bytes at hand, which are copied. */
int document_open_bytes(struct document *d, const void *bytes, size_t len, uint64_t max, struct error *err);
void document_close(struct document *d); /* safe on zeroes */

#endif
