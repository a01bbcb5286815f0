#include "json/check.h"

bool check_wide_usable(void)
{
    return false;
}

bool check_wide(uint8_t *text, const uint8_t *src, size_t len, bool *members)
{
    return false;
}
