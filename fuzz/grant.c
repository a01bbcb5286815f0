/* grant_parse on any text: what it accepts reads back as itself, covers itself, and has a command. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2048], shown[600], command[POLICY_COMMAND_MAX];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct grant g, again;
    if (grant_parse(text, &g, NULL))
        return 0;
    grant_format(&g, shown, sizeof shown);
    if (grant_parse(shown, &again, NULL) || !grant_equal(&g, &again) || !grant_covers(&g, &again))
        abort();
    policy_command("p", (int)g.permission, g.scope, command);
    return 0;
}
