/* sandbox/wall_limits: what one walled process may use.  0 means the default that stands beside it. */
#ifndef SANDBOX_WALL_LIMITS_H
#define SANDBOX_WALL_LIMITS_H

#include <stdint.h>

#define WALL_TMP_DEFAULT (16ull << 20)

/* What a process can run into, as users read it. */
enum wall_limit {
    WALL_LIMIT_NONE,
    WALL_LIMIT_MEMORY,
    WALL_LIMIT_TMP,
    WALL_LIMIT_FILE_SIZE,
    WALL_LIMIT_PROCESSES,
    WALL_LIMIT_CPU,
    WALL_LIMIT_DESCRIPTORS,
    WALL_LIMIT_COUNT
};

struct wall_limits {
    uint64_t memory;      /* bytes of private memory, RLIMIT_DATA; 256 MiB (helper: RLIMIT_AS) */
    uint64_t tmp;         /* bytes of its private /tmp; 16 MiB */
    uint64_t file_size;   /* bytes of one written file; 64 MiB */
    uint32_t processes;   /* threads and processes together; 1 + 16 */
    uint32_t descriptors; /* 64 (helper: 96, until its lock) */
    uint32_t cpu_seconds; /* backstop, whole life; helper only by default: 2 */
};

#endif
