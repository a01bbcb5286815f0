/* report: the actions' results, from what was read of the text. */
#ifndef AGENT_SKILL_REPORT_H
#define AGENT_SKILL_REPORT_H

#include "../common/request.h"
#include "write.h"

void report_analysis(void);
void report_approaches(void);
void report_estimate(void);
/* offers: a JSON array of {"capability", "action", "description"} of what the caller can run; may be empty. */
void report_task(struct slice offers);

/* What the text does not say and work of its kind needs. */
struct missing {
    const char *what, *question;
};
unsigned missing_list(struct missing out[8]);

#endif
