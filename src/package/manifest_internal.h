/* package/manifest_internal: the reader that the parts of the manifest share.  Only manifest*.c include it. */
#ifndef PACKAGE_MANIFEST_INTERNAL_H
#define PACKAGE_MANIFEST_INTERNAL_H

#include <jansson.h>

#include "base/buf.h"
#include "package/manifest.h"
#include "package/slice.h"

struct kept; /* memory that lives as long as the manifest */

/* What a pointer to a manifest really points to. */
struct manifest_holder {
    struct manifest public; /* first */
    _Atomic int refs;
    json_t *root; /* owns the strings that the manifest shows */
    struct kept *kept;
};

struct reader {
    struct manifest_holder *holder;
    struct manifest *m;
    struct slice text; /* of the whole manifest */
    struct error *err;
    struct findings *findings; /* NULL: the first fault is the error */
    unsigned refused;          /* with findings: how often */
};

/* count * size zeroed bytes that the manifest frees; NULL after setting the error. */
void *reader_keep(struct reader *r, size_t count, size_t size);

/* MOAT_E_BAD_MANIFEST at a JSON Pointer.  Who collects findings gets 0 and reads on: what was refused is then not there
 * and must not be used. */
__attribute__((format(printf, 3, 4))) int reader_refuse(struct reader *r, const char *pointer, const char *format, ...);

/* Where a member of an object stands in the text; false when there is no such member. */
bool reader_slice(json_t *object, struct slice object_text, const char *name, struct slice *out);

/* The strings of an array, borrowed from the tree. */
int reader_strings(struct reader *r, json_t *array, const char *const **out, size_t *n);

/* Compiles a schema inside the manifest and keeps its text. */
int reader_schema(struct reader *r, struct slice schema, const char *pointer, const char **text,
                  struct json_schema **compiled);

int manifest_read_asks(struct reader *r);   /* manifest_asks.c: the two lists of permissions */
int manifest_read_config(struct reader *r); /* manifest_config.c: the configuration's schema and its defaults */
int manifest_read_limits(struct reader *r); /* manifest_limits.c */

#endif
