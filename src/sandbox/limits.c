#include "sandbox/messages.h"

#define MIB (1024ull * 1024)

struct wall_limits limits_filled(const struct wall_limits *limits, bool helper)
{
    struct wall_limits out = *limits;
    if (!out.memory)
        out.memory = 256 * MIB;
    if (!out.tmp)
        out.tmp = WALL_TMP_DEFAULT;
    /* A helper writes to a pipe unless its asker says otherwise: no file can grow. */
    if (!out.file_size && !helper)
        out.file_size = 64 * MIB;
    if (!out.processes)
        out.processes = 1 + 16;
    if (!out.descriptors) /* a helper's: enough to load its libraries */
        out.descriptors = helper ? 96 : 64;
    if (!out.cpu_seconds && helper)
        out.cpu_seconds = 2;
    return out;
}
