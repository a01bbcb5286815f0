/* broker_parts: the figures of the group `broker`, by the broker that they are about.  Each prints its lines. */
#ifndef BENCH_BROKER_PARTS_H
#define BENCH_BROKER_PARTS_H

void broker_agent(void);
void broker_sql(void);
void broker_net(void);

#endif
