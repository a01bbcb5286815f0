/* Any bytes as an exported document: refused, or records that are what a registry takes, the same each time. */
#include <stdlib.h>
#include <string.h>

#include "package/manifest.h"
#include "policy/policy.h"
#include "service/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct dump_record *d)
{
    struct ceiling c;
    switch (d->kind) {
    case DUMP_CEILING:
        require(d->ceiling.permission >= 0 && d->ceiling.permission < PERMISSION_COUNT);
        require(ceiling_parse(d->ceiling.subject, permission_name((enum permission)d->ceiling.permission), &c, NULL) ==
                0);
        break;
    case DUMP_SOURCE:
        require(d->source.name[0] && d->source.place[0] == '/');
        break;
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

/* Every record; checking also looks into the manifests. Their number, or an error. */
static long read_all(struct document *document, bool checking, struct error *err)
{
    struct import in;
    struct dump_record record = {0};
    long n = 0;
    int rc = import_open(&in, document, checking, err);
    while (rc == 0 && (rc = import_next(&in, &record, err)) > 0) {
        if (checking)
            check(&record);
        n++;
        rc = 0;
    }
    import_close(&in);
    return rc < 0 ? rc : n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct document document = {0};
    struct error err;
    long n = document_open_bytes(&document, data, size, IMPORT_MAX, &err);
    if (n == 0)
        n = read_all(&document, true, &err);
    if (n < 0)
        require(err.message[0]);
    else
        require(read_all(&document, false, &err) == n); /* what was checked has no fault any more */
    document_close(&document);
    return 0;
}
