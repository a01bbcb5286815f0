/* A segment of an audit trail, as it was exported once: any bytes get an answer, and only a chain of hashes is whole.
 */
#include <stdlib.h>
#include <string.h>

#include "service/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_check c, again;
    segment_check_text((const char *)data, size, NULL, &c);
    if (!memchr(c.problem, 0, sizeof c.problem) || c.anchored || c.upto.count < c.from.count)
        abort();
    /* As far as it was followed, an anchor of its end is met. */
    segment_check_text((const char *)data, size, &c.upto, &again);
    if (!c.problem[0] && c.upto.count > c.from.count && (!again.anchored || again.problem[0]))
        abort();
    return 0;
}
