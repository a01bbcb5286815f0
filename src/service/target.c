#include <string.h>

#include "base/text.h"
#include "service/internal.h"

int target_parse(const char *what, bool may_have_version, struct target *out, struct error *err)
{
    struct target t = {0};
    const char *at = strchr(what, '@');
    size_t n = at ? (size_t)(at - what) : strlen(what);
    if (n < sizeof t.name)
        memcpy(t.name, what, n);
    if (n >= sizeof t.name || !text_is_name(t.name, MANIFEST_NAME_MAX))
        return error_set(err, MOAT_E_BAD_USAGE, "\"%.64s\" is not the name of a plugin", what);
    if (at && !may_have_version)
        return error_set(err, MOAT_E_BAD_USAGE, "\"%.128s\": this takes the name without a version", what);
    if (at && (!version_is_valid(at + 1) || !text_copy(t.version, sizeof t.version, at + 1)))
        return error_set(err, MOAT_E_BAD_USAGE, "\"%.64s\" is not a version, such as 1.0.0", at + 1);
    *out = t;
    return 0;
}
