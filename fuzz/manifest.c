/* plugin.json of any bytes: what is accepted keeps the promises of manifest.h. */
#include "package/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/package.h"
#include "package/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_defaults(const struct manifest *m)
{
    buf_auto text = BUF_INIT(4 << 20);
    must(buf_puts(&text, m->config_defaults));
    must(json_schema_check(m->config, text.data, text.len, NULL) == 0);
}

static void check_action(const struct manifest *m, size_t i)
{
    const struct manifest_action *a = &m->actions[i];
    struct json_schema *again;
    buf_auto text = BUF_INIT(4 << 20);
    must(text_is_name(a->name, MANIFEST_ACTION_MAX));
    must(manifest_action(m, a->name) == (int)i);
    must(a->parameters && a->result);
    must(buf_puts(&text, a->parameters_json));
    must(json_schema_compile(text.data, text.len, &again, NULL) == 0);
    json_schema_free(again);
}

/* An author hears of a fault exactly when a host would refuse, and of the host's one among them. */
static void check_findings(const uint8_t *data, size_t size, bool refused, const struct error *why)
{
    struct findings found = {0};
    struct manifest *m;
    struct error err;
    must(manifest_parse_all(data, size, &found, &m, &err) == 0);
    must(refused == (m == NULL) && refused == (found.count > 0));
    must(!refused || found.list[0].code == why->code);
    manifest_unref(m);
    findings_free(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest *m;
    struct error err = {0};
    int rc = manifest_parse(data, size, &m, &err);
    check_findings(data, size, rc != 0, &err);
    if (rc) {
        must(err.code == (enum moat_code) - rc && *err.message);
        return 0;
    }
    must(text_is_name(m->name, MANIFEST_NAME_MAX) && version_is_valid(m->version));
    must(version_compare(m->version, m->version) == 0);
    must(strcmp(m->engine, "native") == 0 && !path_problem(m->entry));
    must(m->nactions >= 1 && m->capabilities != 0 && m->nasks <= PERMISSION_COUNT);
    for (size_t i = 0; i < m->nactions; i++)
        check_action(m, i);
    check_defaults(m);
    manifest_unref(m);
    return 0;
}
