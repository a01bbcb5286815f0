/* Bytes become the value of a setting, as `settings set` and PUT /api/settings/{key} read it.
 *
 *     KEY\n VALUE */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    copy[size] = '\0';
    char *value = strchr(copy, '\n');
    if (value) {
        struct error err = {0};
        *value++ = '\0';
        int rc = service_setting_check(copy, value, &err);
        require(rc == 0 || (rc == -(int)err.code && *err.message));
        require(rc == 0 || err.code == MOAT_E_NOT_FOUND || err.code == MOAT_E_BAD_JSON || err.code == MOAT_E_BAD_USAGE);
    }
    free(copy);
    return 0;
}
