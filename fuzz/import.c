/* Any bytes as an exported document: refused, or records that are what a registry takes, the same each time. */
#include <stdlib.h>
#include <string.h>

#include "package/manifest.h"
#include "service/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct dump_record *d)
{
    switch (d->kind) {
    case DUMP_DECISION:
        require(d->decision.permission >= 0 && d->decision.permission < PERMISSION_COUNT);
        break;
    case DUMP_VERSION:
        require(version_is_valid(d->version.version) && strlen(d->version.manifest) == d->version.manifest_len);
        require(d->version.capabilities != 0);
        break;
    case DUMP_PLUGIN:
        require(version_is_valid(d->plugin.newest));
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct import in = {0};
    struct dump_record record = {0};
    struct error err;
    int rc = import_open_bytes(&in, data, size, &err);
    if (rc == 0)
        rc = import_check(&in, &err);
    if (rc < 0) {
        require(err.message[0]);
    } else {
        import_rewind(&in);
        while ((rc = import_next(&in, &record, &err)) > 0)
            check(&record);
        require(rc == 0); /* what was checked has no fault any more */
    }
    import_close(&in);
    return 0;
}
