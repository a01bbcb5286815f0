/* Hosts as a plugin names them: what is understood has one normal form, which a grant takes and which contains itself;
 * what a ceiling forbids is never allowed. */
#include <stdlib.h>
#include <string.h>

#include "policy/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(const char *text, const char *normal)
{
    char again[POLICY_SCOPE_MAX];
    const char *why;
    if (!host_object(normal, again) || strcmp(normal, again) != 0)
        abort();
    if (!host_normalise(normal, again, &why) || strcmp(normal, again) != 0 || !host_contains(again, normal))
        abort();
    static struct policy_answer a;
    struct ask ask = {PERMISSION_NETWORK_ACCESS, true};
    struct decision all = {.grant.permission = PERMISSION_NETWORK_ACCESS};
    struct ceiling never = {.never = {.permission = PERMISSION_NETWORK_ACCESS}};
    memcpy(never.never.scope, normal, sizeof never.never.scope);
    struct policy_input in = {.asks = &ask, .nasks = 1, .decisions = &all, .ndecisions = 1, .now = 1};
    policy_decide(&in, &a);
    if (policy_allows(&a, PERMISSION_NETWORK_ACCESS, text, 1) != POLICY_GRANTED)
        abort();
    in.ceilings = &never;
    in.nceilings = 1;
    policy_decide(&in, &a);
    if (policy_allows(&a, PERMISSION_NETWORK_ACCESS, text, 1) != POLICY_CEILING)
        abort();
}

/* Two patterns between a line's end: containing is meeting. */
static void check_pair(const char *one, const char *two)
{
    char a[POLICY_SCOPE_MAX], b[POLICY_SCOPE_MAX];
    const char *why;
    if (!host_normalise(one, a, &why) || !host_normalise(two, b, &why))
        return;
    if (host_contains(a, b) && (!host_meets(a, b) || !host_meets(b, a)))
        abort();
    if (host_contains(a, b) && host_contains(b, a) && strcmp(a, b) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[1024], normal[POLICY_SCOPE_MAX];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (host_object(text, normal))
        check_object(text, normal);
    char *second = strchr(text, '\n');
    if (second) {
        *second = '\0';
        check_pair(text, second + 1);
    }
    return 0;
}
