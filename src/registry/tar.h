/* registry/tar: the plain form of a tar archive that a backup is: ustar headers that follow from name and size alone,
 * so that whoever reads one compares it byte for byte instead of parsing it.  Private to src/registry. */
#ifndef REGISTRY_TAR_H
#define REGISTRY_TAR_H

#include <stdbool.h>
#include <stdint.h>

#define TAR_BLOCK 512
#define TAR_NAME_MAX 99
#define TAR_SIZE_MAX ((1ull << 33) - 1) /* 8 GiB: eleven octal digits */

/* false: the name or the size does not fit. */
bool tar_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK]);
/* Is it the header of some file of ours? Then its name and size. */
bool tar_read(const uint8_t block[TAR_BLOCK], char name[TAR_NAME_MAX + 1], uint64_t *size);
/* Zeroes behind the bytes of an entry, up to the next block. */
static inline uint32_t tar_padding(uint64_t size)
{
    return (uint32_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

#endif
