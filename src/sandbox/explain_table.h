/* sandbox/explain_table: for each system call that a worker's filter asks about, what it is called to people, which
 * permission would have allowed it, and where its object stands.  Constant data. */
#ifndef SANDBOX_EXPLAIN_TABLE_H
#define SANDBOX_EXPLAIN_TABLE_H

#include <stdint.h>

/* Where the object of the call is found. */
enum explain_object {
    OBJECT_NONE,
    OBJECT_OPEN,    /* a path to open: dir, path, flags, mode */
    OBJECT_CHANGE,  /* a path to change: dir, path, and mode where there is one */
    OBJECT_PAIR,    /* two paths to change: dir, path, and dir2, path2 */
    OBJECT_LOOK,    /* a path to look at: dir, path, flags; asked only behind the fallback wall */
    OBJECT_PATH,    /* a path, only to name it: dir, path */
    OBJECT_PROGRAM, /* a path to execute: dir, path */
    OBJECT_FAMILY,  /* an address family and a socket type: arguments 0 and 1 */
    OBJECT_ADDRESS, /* a socket address: path is its argument, the next its length */
    OBJECT_MEMORY,  /* protection in argument 2, flags in 3 */
    OBJECT_PROCESS, /* a process number in `path` */
    OBJECT_START,   /* a new process; flags where there are some */
};

/* Only the kinds OPEN, CHANGE, PAIR and PROGRAM are ever left to the kernel; everything else is refused whatever is
 * read. */
struct explain_row {
    int number;
    const char *operation;
    int permission; /* for OPEN, CHANGE and PAIR decided by the path */
    enum explain_object object;
    int8_t dir, path, flags, mode, dir2, path2; /* argument numbers, -1: none (the working directory, no check) */
};

/* NULL: nothing is known but the name. */
const struct explain_row *explain_find(int number);

/* NULL for a number that this build knows no call of. */
const char *explain_syscall_name(int number);

#endif
