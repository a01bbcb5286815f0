/* package/package_internal: what a package object is made of.  Only package.c and unpack.c include it. */
#ifndef PACKAGE_PACKAGE_INTERNAL_H
#define PACKAGE_PACKAGE_INTERNAL_H

#include "package/files.h"
#include "package/package.h"

enum package_stage { STAGE_OPEN, STAGE_VERIFIED, STAGE_READ };

struct package {
    enum package_stage stage;
    int fd; /* sealed, read-only */
    const uint8_t *bytes;
    size_t len;
    struct package_head head;
    char publisher[65];
    struct manifest *manifest;
    struct files files;
};

#endif
