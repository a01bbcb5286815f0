/* service/asked: tasks that plugins' running calls ask for, handed on to who runs tasks.  The ask is the loader's: who
 * runs the task begins its calls with it, and answers it (wire/ask.h). What the plugin may call is the broker's word.
 */
#ifndef SERVICE_ASKED_H
#define SERVICE_ASKED_H

#include "broker/broker.h" /* and with it the ask */
#include "service/service.h"

/* Answers it, later. On any thread; must not block but when there is no guest yet, which is then never on a loop. */
typedef void (*service_task_run)(struct service *s, struct question *ask);
void service_run_tasks(struct service *s, service_task_run run); /* until then they are refused; any thread */
/* By agent_control, now: object is PLUGIN.ACTION. Any thread. */
bool service_may_call(struct service *s, const char *plugin, const char *version, const char *object);
/* It may not: err gets why, and the command that would allow it; err NULL: that is the answer, and a denial is told of.
 */
void service_deny_call(struct service *s, struct question *ask, const char *object, struct error *err);

#endif
