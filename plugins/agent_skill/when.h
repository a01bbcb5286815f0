/* when: times in a text. */
#ifndef AGENT_SKILL_WHEN_H
#define AGENT_SKILL_WHEN_H

#include "analysis.h"

/* The timing that begins at token i: how many tokens it takes, 0 when there is none. */
uint32_t when_at(uint32_t i, int32_t today, struct finding *out);

/* A date or time that says nothing of what is due then: how many tokens. */
uint32_t when_expression(uint32_t i, int32_t today, int32_t *day);

#endif
