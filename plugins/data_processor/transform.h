/* transform: one operation on every number of a list. */
#ifndef DATA_PROCESSOR_TRANSFORM_H
#define DATA_PROCESSOR_TRANSFORM_H

#include "list.h"

bool transform(struct moat_call *call, const char *text, size_t len, const struct list *list);

#endif
