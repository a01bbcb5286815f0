/* bench/many: the parts of that group. */
#ifndef BENCH_MANY_H
#define BENCH_MANY_H

/* fair.c: what a plugin waits beside one that is flooded. */
void measure_fairness(void);

#endif
