/* Notices memory that was refused.  Plugins that do not bring an allocator of their own call the C library's through
 * these names, because an executable's symbols come before a library's.  Linked into moat-worker only. */
#include <errno.h>
#include <malloc.h>

#include "sandbox/wall_limits.h"
#include "worker/engine/private.h"

#define PUBLIC __attribute__((visibility("default")))

/* The C library's own, under the names that it exports for this. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

/* What would have been in use, had it been given. */
static void refused(size_t size)
{
    int saved = errno;
    struct mallinfo2 heap = mallinfo2();
    uint64_t wanted = heap.uordblks + heap.hblkhd;
    port_overran(&engine.port, WALL_LIMIT_MEMORY, __builtin_add_overflow(wanted, size, &wanted) ? UINT64_MAX : wanted);
    errno = saved;
}

PUBLIC void *malloc(size_t size)
{
    void *p = __libc_malloc(size);
    if (__builtin_expect(!p, 0))
        refused(size);
    return p;
}

PUBLIC void *calloc(size_t n, size_t size)
{
    void *p = __libc_calloc(n, size);
    size_t all;
    if (__builtin_expect(!p, 0))
        refused(__builtin_mul_overflow(n, size, &all) ? SIZE_MAX : all);
    return p;
}

PUBLIC void *realloc(void *old, size_t size)
{
    void *p = __libc_realloc(old, size);
    if (__builtin_expect(!p && size, 0))
        refused(size);
    return p;
}
