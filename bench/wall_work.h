/* bench/wall_work: the work whose cost inside the wall is compared with the same work outside it.  Linked into the
 * plugin `walled` and into the program that measures: C library only, no memory of its own. */
#ifndef BENCH_WALL_WORK_H
#define BENCH_WALL_WORK_H

#include <stdint.h>

extern const char *const work_names[]; /* "compute", "read", "read_4k", "open", NULL */
enum work { WORK_COMPUTE, WORK_READ, WORK_READ_4K, WORK_OPEN };

/* The ns that it took, or -errno.  The file is open before the clock is read.  read: all of it, as `cat` does,
 * 128 KiB at a time; read_4k: a page at a time, so that each byte bears most of the filter; open: once more, and close.
 */
int64_t work_run(enum work what, unsigned times, const char *path);

#endif
