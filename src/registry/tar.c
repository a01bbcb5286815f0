#include "registry/tar.h"

#include <stdio.h>
#include <string.h>

/* Where the fields of a ustar header are (POSIX.1-1988). */
enum { NAME = 0, MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148, TYPE = 156, MAGIC = 257 };

static void put_octal(uint8_t *at, int digits, uint64_t n)
{
    for (int i = digits - 1; i >= 0; i--, n >>= 3)
        at[i] = (uint8_t)('0' + (n & 7));
}

bool tar_header(const char *name, uint64_t size, uint8_t out[TAR_BLOCK])
{
    size_t len = strlen(name);
    if (len == 0 || len > TAR_NAME_MAX || size > TAR_SIZE_MAX)
        return false;
    memset(out, 0, TAR_BLOCK);
    memcpy(out + NAME, name, len);
    put_octal(out + MODE, 7, 0600);
    put_octal(out + UID, 7, 0);
    put_octal(out + GID, 7, 0);
    put_octal(out + SIZE, 11, size);
    put_octal(out + MTIME, 11, 0);
    out[TYPE] = '0';
    memcpy(out + MAGIC, "ustar\00000", 8);
    memset(out + CHECKSUM, ' ', 8);
    uint64_t sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += out[i];
    put_octal(out + CHECKSUM, 6, sum);
    out[CHECKSUM + 6] = 0;
    return true;
}

bool tar_read(const uint8_t block[TAR_BLOCK], char name[TAR_NAME_MAX + 1], uint64_t *size)
{
    uint8_t expected[TAR_BLOCK];
    uint64_t n = 0;
    for (int i = 0; i < 11; i++) {
        uint8_t digit = block[SIZE + i];
        if (digit < '0' || digit > '7')
            return false;
        n = n << 3 | (uint64_t)(digit - '0');
    }
    size_t len = strnlen((const char *)block, TAR_NAME_MAX + 1);
    if (len > TAR_NAME_MAX)
        return false;
    char text[TAR_NAME_MAX + 1];
    memcpy(text, block, len);
    text[len] = '\0';
    if (!tar_header(text, n, expected) || memcmp(expected, block, TAR_BLOCK) != 0)
        return false;
    memcpy(name, text, len + 1);
    *size = n;
    return true;
}
