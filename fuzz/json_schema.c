/* A schema, a NUL byte, an instance: what compiles can be run on anything, and the answer keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *padded(const uint8_t *data, size_t size)
{
    uint8_t *text = malloc(size + JSON_PAD);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    memset(text + size, ',', JSON_PAD);
    return text;
}

static void check(const struct json_schema *schema, const uint8_t *data, size_t size)
{
    uint8_t *text = padded(data, size), *copy = padded(data, size);
    struct json_fault fault = {0};
    int r = json_schema_check(schema, text, size, &fault);
    if (r != json_schema_copy_check(schema, copy, data, size, NULL))
        abort();
    bool valid = json_valid(text, size);
    if ((r == -MOAT_E_BAD_JSON) == valid || (!r && !valid))
        abort();
    if (r && (r != -(int)fault.code || fault.offset > size || !*fault.reason))
        abort();
    if (r && r != -MOAT_E_BAD_JSON && r != -MOAT_E_BAD_PARAMETERS && r != -MOAT_E_LIMIT)
        abort();
    free(text);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *split = size ? memchr(data, 0, size) : NULL;
    size_t schema_size = split ? (size_t)(split - data) : size;
    uint8_t *text = padded(data, schema_size);
    struct json_schema *schema = NULL;
    struct error err = {0};
    if (json_schema_compile(text, schema_size, &schema, &err) == 0) {
        check(schema, split ? split + 1 : data, split ? size - schema_size - 1 : size);
        json_schema_free(schema);
    } else if (!err.code || !*err.message || schema) {
        abort();
    }
    free(text);
    return 0;
}
