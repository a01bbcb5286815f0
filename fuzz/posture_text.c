/* Texts of /proc in three parts (status, mountinfo, limits): whatever they say, nothing is read beyond them, and what
 * only the worker can say is not made up. */
#include <stdlib.h>
#include <string.h>

#include "sandbox/posture_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wall_grant grants[] = {{.path = "/data", .directory = true}};
    static char why[WALL_LAYER_COUNT][128];
    char *text = calloc(1, size + 4), *part[3];
    if (!text)
        return 0;
    memcpy(text, data, size);
    part[0] = text;
    for (int i = 1; i < 3; i++) {
        char *next = part[i - 1] + strlen(part[i - 1]) + 1;
        part[i] = next <= text + size ? next : text + size;
    }
    struct posture_seen seen = {.status = part[0], .mountinfo = part[1], .limits = part[2], .uid = 1000, .owner = 0};
    struct wall_request request = {.grants = grants, .ngrants = 1};
    uint32_t present = posture_judge(&seen, &request, why);
    if (present & (WALL_BIT(LANDLOCK) | WALL_BIT(KEYRING) | WALL_BIT(NOTIFY) | WALL_BIT(NO_NESTED_NS)))
        abort();
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (!memchr(why[i], 0, sizeof why[i]))
            abort();
    free(text);
    return 0;
}
