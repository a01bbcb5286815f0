/* package/package_internal: what a package object is made of.  Only package.c, unpack.c and their tests include it. */
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

/* package_unpack with another patience than the usual one. */
int package_unpack_within(struct package *p, struct spawner *spawner, uint64_t timeout_ns, struct unpacked *out,
                          struct findings *findings, struct error *err);

#endif
