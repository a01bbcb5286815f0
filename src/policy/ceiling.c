#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/scope.h"

static const struct {
    const char *prefix;
    enum ceiling_of of;
} kinds[] = {{"publisher:", CEILING_PUBLISHER}, {"capability:", CEILING_CAPABILITY}};

static int parse_subject(const char *subject, struct ceiling *c, struct error *err)
{
    if (strcmp(subject, "everybody") == 0)
        return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].prefix);
        if (strncmp(subject, kinds[i].prefix, n) != 0)
            continue;
        c->of = kinds[i].of;
        int capability = capability_parse(subject + n);
        if (c->of == CEILING_CAPABILITY && capability < 0)
            return error_set(err, MOAT_E_BAD_USAGE, "\"%.64s\" is no capability: `moat capabilities` lists them",
                             subject + n);
        const char *name = c->of == CEILING_CAPABILITY ? capability_name((enum capability)capability) : subject + n;
        if (*name && text_copy(c->name, sizeof c->name, name))
            return 0;
        return error_set(err, MOAT_E_BAD_USAGE, "a publisher's name has 1 to 64 bytes");
    }
    return error_set(err, MOAT_E_BAD_USAGE, "\"%.64s\": a ceiling is over publisher:NAME, capability:NAME or everybody",
                     subject);
}

int ceiling_parse(const char *subject, const char *never, struct ceiling *out, struct error *err)
{
    struct ceiling c = {.of = CEILING_EVERYBODY};
    int permission = permission_parse(never);
    int rc = parse_subject(subject, &c, err);
    if (rc == 0 && permission >= 0) /* all of it, also where a grant needs a scope */
        c.never = (struct grant){.permission = (enum permission)permission};
    else if (rc == 0)
        rc = grant_parse(never, &c.never, err);
    if (rc == 0 && grant_most(&c.never))
        rc = error_set(err, MOAT_E_BAD_USAGE, "\"%.200s\": a ceiling is over a place as a whole: leave \"max\" out",
                       never);
    if (rc == 0)
        *out = c;
    return rc;
}

void ceiling_subject(const struct ceiling *c, char out[80])
{
    static const char *const prefix[] = {
        [CEILING_EVERYBODY] = "everybody", [CEILING_PUBLISHER] = "publisher:", [CEILING_CAPABILITY] = "capability:"};
    snprintf(out, 80, "%s%s", prefix[c->of], c->name);
}
