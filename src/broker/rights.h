/* broker/rights: by which rights each version asks.  A table under one lock that is held for a look; what is found is
 * immutable and counted.  Private to src/broker. */
#ifndef BROKER_RIGHTS_H
#define BROKER_RIGHTS_H

#include "broker/ask.h"

const struct policy_answer *rights_answer(const struct rights *r);
struct net *broker_net(const struct broker *b); /* NULL: nobody makes connections */
uint64_t broker_now(const struct broker *b);
void broker_run_task(struct broker *b, struct question *ask);
void broker_open_source(struct broker *b, struct question *ask, const char *source, bool write);

#endif
