#include "sandbox/libraries.h"

#include <string.h>

const char *const libraries[] = {"libm.so.6", "libstdc++.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1"};
const unsigned libraries_count = sizeof libraries / sizeof *libraries;

uint32_t libraries_bit(const char *soname)
{
    for (unsigned i = 0; i < libraries_count; i++)
        if (strcmp(libraries[i], soname) == 0)
            return 1u << i;
    return 0;
}
