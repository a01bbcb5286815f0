/* Any bytes as JSON: the checkers agree, and none touches a byte outside the text and its padding. */
#include <stdlib.h>
#include <string.h>

#include "json/check.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as large as the contract says, so that a sanitizer sees one byte too many. */
static uint8_t *padded(const uint8_t *data, size_t size, uint8_t pad)
{
    uint8_t *text = malloc(size + JSON_PAD);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    memset(text + size, pad, JSON_PAD);
    return text;
}

static void copies(uint8_t *text, const uint8_t *src, size_t size, bool valid)
{
    if (json_copy_valid(text, src, size) != valid || (size && memcmp(text, src, size) != 0))
        abort();
    bool members = false;
    if (size && check_wide_usable() && check_wide(text, src, size, &members) != valid)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *text = padded(data, size, '"');
    bool members = false, wide_members = false;
    bool valid = size && check_scalar(text, size, &members);
    struct json_fault fault = {0};
    if (json_explain(text, size, &fault) != valid || json_valid(text, size) != valid)
        abort();
    if (!valid && (fault.code != MOAT_E_BAD_JSON || fault.offset > size || !*fault.reason))
        abort();
    if (size && check_wide_usable()) {
        memset(text + size, '1', JSON_PAD);
        if (check_wide(text, NULL, size, &wide_members) != valid || (valid && members != wide_members))
            abort();
    }
    uint8_t *src = malloc(size ? size : 1); /* no padding: the source is only read */
    if (!src)
        abort();
    if (size)
        memcpy(src, data, size);
    copies(text, src, size, valid);
    free(src);
    free(text);
    return 0;
}
