/* Any bytes as a declarative file: refused, or plugins that are named once, with grants that could have been given. */
#include <stdlib.h>
#include <string.h>

#include "service/apply.h"
#include "json/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_decision(const struct registry_decision *d, bool is_grant)
{
    char text[POLICY_SCOPE_MAX + 64];
    struct registry_decision again;
    struct grant g = {.permission = (enum permission)d->permission};
    require(d->permission >= 0 && d->permission < PERMISSION_COUNT && d->refused == !is_grant && d->until == 0);
    memcpy(g.scope, d->scope, sizeof g.scope);
    grant_format(&g, text, sizeof text);
    if (is_grant)
        require(decision_parse(text, &again, NULL) == 0 && strcmp(again.scope, d->scope) == 0);
}

static void check(const struct wanted *w)
{
    require(version_is_valid(w->version) && strlen(w->name) <= MANIFEST_NAME_MAX && w->name[0]);
    require(w->file[0] != '/' && w->grants <= w->decisions.count && w->grants <= REGISTRY_GRANTS_MAX);
    require(!w->config || cursor_kind(w->config) == CURSOR_OBJECT);
    for (size_t i = 0; i < w->decisions.count; i++)
        check_decision(&w->decisions.list[i], i < w->grants);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct apply a = {0};
    struct error err;
    int rc = apply_open_bytes(&a, data, size, &err);
    if (rc < 0)
        require(err.message[0]);
    for (size_t i = 0; rc == 0 && i < a.count; i++) {
        check(&a.list[i]);
        for (size_t k = 0; k < i && i < 64; k++)
            require(strcmp(a.list[i].name, a.list[k].name) != 0);
    }
    apply_close(&a);
    return 0;
}
