/* agent_control: a task over other plugins' actions.  Which those are is known only when it is planned. */
#include "base/text.h"
#include "broker/ask.h"
#include "broker/rights.h"

/* What it waits for now; false: nothing. */
bool task_object(const struct question *ask, char object[POLICY_SCOPE_MAX])
{
    return *ask->object && text_copy(object, POLICY_SCOPE_MAX, ask->object);
}

void task_answer(const struct asking *a, const char *object)
{
    broker_run_task(a->broker, a->ask);
}
