/* helper/duty: the input and output that every duty has.  UNTRUSTED code: it runs walled, reads hostile bytes, and
 * whatever it says is checked again by the host. */
#ifndef HELPER_DUTY_H
#define HELPER_DUTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where bytes come from and go to: descriptors in moat-helper, memory in the fuzz targets. */
struct duty_io {
    /* Exactly len bytes at offset, or false. */
    bool (*read)(void *context, void *data, size_t len, uint64_t offset);
    /* All of it, or false: the host is gone. */
    bool (*write)(void *context, const void *data, size_t len);
    void *context;
};

/* Each returns an enum helper_exit. */
int duty_inspect(const struct duty_io *io);
int duty_needs(const struct duty_io *io);
int duty_pack(const struct duty_io *io);

#endif
