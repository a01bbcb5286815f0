/* wire/start_format: the start file.  A head, then texts that each end in a 0: plugin, version, the actions, the
 * configuration (whose length the head says too). Nothing behind them. */
#ifndef WIRE_START_FORMAT_H
#define WIRE_START_FORMAT_H

#include <stdint.h>

#define START_MAGIC 0x31307472617473ull
#define START_FILE_MAX (64u << 20)

struct start_head {
    uint64_t magic, payload_max, config_len;
    uint32_t nactions, zero;
};

#endif
