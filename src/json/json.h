/* json: is this text JSON (RFC 8259, UTF-8), and does it fit a schema?  One pass, no tree, no allocation while
 * checking. Pure functions, any thread.  Trees off the hot path are jansson's business, after the text was checked
 * here.
 *
 * Strict: no comments, no trailing commas, no lone surrogate bytes, no BOM, numbers exactly by the grammar; nesting to
 * JSON_DEPTH_MAX.  \u escapes of lone surrogates are syntax (RFC 8259 allows them) and pass.  An empty text is not
 * JSON.
 *
 * Memory: a checked text has JSON_PAD bytes after its end that the checker may read AND overwrite (struct buf gives
 * them).  Shared memory that another process can write is never checked in place: it is copied with json_copy_valid,
 * which loads each source byte once, so that what was checked is what the host holds. */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define JSON_PAD BUF_PAD
#define JSON_DEPTH_MAX 256
#define JSON_POINTER_MAX 256
#define JSON_REASON_MAX 256

/* Where and why a text was refused. */
struct json_fault {
    enum moat_code code;            /* MOAT_E_BAD_JSON, MOAT_E_BAD_PARAMETERS, MOAT_E_LIMIT (step budget) */
    size_t offset;                  /* byte of a syntax error; of a schema error the value's first byte */
    char pointer[JSON_POINTER_MAX]; /* RFC 6901; cut with "…" when longer; "" is the whole text */
    char reason[JSON_REASON_MAX];   /* one line: "expected a number, found a string" */
};

/* Syntax only; picks the scalar or the bit-parallel checker by length and CPU. */
bool json_valid(uint8_t *text, size_t len);

/* Copies src to dst (room for len + JSON_PAD) while checking the copy; false when it is not JSON. */
bool json_copy_valid(uint8_t *dst, const uint8_t *src, size_t len);

/* As json_valid, slower, and says where and why. */
bool json_explain(uint8_t *text, size_t len, struct json_fault *fault);

/* A compiled schema: immutable, shared between threads. */
struct json_schema;

/* The closed profile of SURFACE (JSON Schema 2020-12): any other keyword, a $ref that is not local, does not resolve or
 * recurses, a pattern of types that cannot be, is MOAT_E_BAD_MANIFEST with the keyword's JSON Pointer.
 * `true`, `{}` are schemas too.  text needs JSON_PAD behind it. */
int json_schema_compile(uint8_t *text, size_t len, struct json_schema **out, struct error *err);
void json_schema_free(struct json_schema *schema); /* NULL is fine */

/* Syntax and schema at once.  0, or -fault->code with *fault filled (fault may be NULL).  A text that is not JSON is
 * MOAT_E_BAD_JSON even when a schema error stands before the fault; a repeated member is MOAT_E_BAD_PARAMETERS. */
int json_schema_check(const struct json_schema *schema, uint8_t *text, size_t len, struct json_fault *fault);

/* json_copy_valid and json_schema_check over the private copy, with no second pass where one will do. */
int json_schema_copy_check(const struct json_schema *schema, uint8_t *dst, const uint8_t *src, size_t len,
                           struct json_fault *fault);

#endif
