/* broker/fact: facts of the machine that are read once.  Private to src/broker. */
#ifndef BROKER_FACT_H
#define BROKER_FACT_H

#include <stdint.h>

#define FACTS_TEXT_MAX 128

struct facts {
    uint64_t cpus, memory; /* bytes */
    char model[FACTS_TEXT_MAX], zone[FACTS_TEXT_MAX];
};

void facts_read(struct facts *out); /* what cannot be read stays empty */

#endif
