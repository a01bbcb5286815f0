/* database_read, database_write: a data source, for queries that the host then has no part in. */
#include <string.h>

#include "base/text.h"
#include "broker/ask.h"
#include "broker/rights.h"
#include "wire/seat.h"

/* The bytes are its name. */
bool sql_object(const struct question *ask, char object[POLICY_SCOPE_MAX])
{
    if (ask->len > SEAT_SOURCE_MAX || strlen((const char *)ask->bytes) != ask->len ||
        !text_is_name((const char *)ask->bytes, SEAT_SOURCE_MAX))
        return false;
    memcpy(object, ask->bytes, ask->len + 1);
    return true;
}

/* Who may write gets a helper that can, whatever it asks for first. */
void sql_read_answer(const struct asking *a, const char *object)
{
    bool write = policy_allows(rights_answer(a->rights), PERMISSION_DATABASE_WRITE, object, broker_now(a->broker)) ==
                 POLICY_GRANTED;
    broker_open_source(a->broker, a->ask, object, write);
}

void sql_write_answer(const struct asking *a, const char *object)
{
    broker_open_source(a->broker, a->ask, object, true);
}
