/* service/record: reading records of a JSON document by a table of members: which there must be, of what kind, how
 * long. A refusal names the place by its JSON Pointer.  Over json/cursor: no tree, so that a document may be large. */
#ifndef SERVICE_RECORD_H
#define SERVICE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "json/cursor.h"

enum record_kind { RECORD_TEXT, RECORD_WHOLE, RECORD_FLAG, RECORD_HEX32, RECORD_LIST, RECORD_OBJECT, RECORD_SPAN };
struct record_span {
    const uint8_t *text;
    size_t len;
};
struct record_member {
    const char *name; /* NULL ends a table */
    enum record_kind kind;
    bool required;
    size_t offset; /* in the struct that is filled: char[], uint64_t, bool, uint8_t[32], const uint8_t *, or (of an
                      object too) struct record_span */
    size_t size;   /* of a text's array */
};

/* Fills *out; members that are left out stay as they are there. MOAT_E_BAD_DOCUMENT with the pointer. */
int record_read(const uint8_t *object, const struct record_member *members, const char *pointer, void *out,
                struct error *err);
/* The same, and *end is behind the object: for large ones, whose end nobody wants to look for twice. */
int record_read_to(const uint8_t *object, const struct record_member *members, const char *pointer, void *out,
                   const uint8_t **end, struct error *err);
__attribute__((format(printf, 3, 4))) int record_refuse(struct error *err, const char *pointer, const char *format,
                                                        ...);

#endif
