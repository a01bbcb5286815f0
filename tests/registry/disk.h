/* A disk and a memory that fail on request, under everything of this process that writes: the calls of the C library
 * themselves are replaced, so that SQLite, the packages' files and the rest meet the same disk.  For a test's child
 * process. */
#ifndef TESTS_REGISTRY_DISK_H
#define TESTS_REGISTRY_DISK_H

#include <stdint.h>

enum disk_fault {
    DISK_NONE,
    DISK_EIO,    /* the Nth call fails */
    DISK_ENOSPC, /* from the Nth call on nothing can grow */
    DISK_SHORT,  /* the Nth write takes half of what it is given */
    DISK_POWER,  /* before the Nth call the power goes: what was not synced is there, or not, or half, sector by sector
                  */
    DISK_MEMORY, /* the Nth allocation fails */
};

/* Nothing is synced for real in this process from now on. at 0: never. */
void disk_set(enum disk_fault fault, long at, uint64_t seed);
/* Calls (or allocations) that could have failed so far. */
long disk_seen(void);
#define DISK_POWER_STATUS 77 /* how a process ends whose power went */

#endif
