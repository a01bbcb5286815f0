/* aggregate: one number for a list, or one for each group of its items. */
#ifndef DATA_PROCESSOR_AGGREGATE_H
#define DATA_PROCESSOR_AGGREGATE_H

#include "list.h"

bool aggregate(struct moat_call *call, const char *text, size_t len, const struct list *list);
void aggregate_end(void); /* gives back what is kept between calls */

#endif
