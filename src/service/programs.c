#include "service/programs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/programs_need.h"

bool programs_are_shipped(const struct manifest *m, const char *path)
{
    const struct manifest_ask *ask = manifest_ask_of(m, PERMISSION_EXECUTE_CODE);
    for (size_t i = 0; ask && i < ask->nscopes; i++)
        if (strcmp(ask->scopes[i], path) == 0)
            return true;
    return false;
}

static struct wall_program *room(struct spec *s, struct error *err)
{
    if (!s->programs)
        s->programs = calloc(WALL_PROGRAMS_MAX, sizeof *s->programs);
    if (!s->programs) {
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the programs of %s", s->manifest->name);
        return NULL;
    }
    if (s->nprograms == WALL_PROGRAMS_MAX) {
        error_set(err, MOAT_E_LIMIT, "%s has more than %d programs and libraries of them", s->manifest->name,
                  WALL_PROGRAMS_MAX);
        return NULL;
    }
    return &s->programs[s->nprograms];
}

/* ---- the package's ---- */

static int ship(struct spec *s, const struct unpacked *files, const char *path, struct error *err)
{
    size_t i = 0;
    while (i < files->count && strcmp(files->paths[i], path) != 0)
        i++;
    if (i == files->count)
        return error_set(err, MOAT_E_BAD_MANIFEST, "the package has no %s", path);
    struct wall_program *p = room(s, err);
    if (!p)
        return -(int)err->code;
    *p = (struct wall_program){.shipped = true, .offset = files->offsets[i], .size = files->sizes[i]};
    snprintf(p->place, sizeof p->place, "%s/%s", WALL_PACKAGE_PLACE, path);
    s->nprograms++;
    return 0;
}

int programs_ship(struct spec *s, const struct unpacked *files, struct error *err)
{
    const struct manifest_ask *ask = manifest_ask_of(s->manifest, PERMISSION_EXECUTE_CODE);
    int rc = 0;
    for (size_t i = 0; ask && i < ask->nscopes && rc == 0; i++)
        if (ask->scopes[i][0] != '/')
            rc = ship(s, files, ask->scopes[i], err);
    return rc;
}

/* The bare permission is what the package ships, whatever it is called. */
static bool is_granted(const struct wall_program *p, const struct policy_answer *a)
{
    const char *path = p->place + strlen(WALL_PACKAGE_PLACE "/");
    for (size_t i = 0; i < a->ngrants; i++)
        if (a->grants[i].permission == PERMISSION_EXECUTE_CODE &&
            (!*a->grants[i].scope || strcmp(a->grants[i].scope, path) == 0))
            return true;
    return false;
}

static void keep_granted(struct spec *s, const struct policy_answer *a)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->nprograms; i++)
        if (is_granted(&s->programs[i], a))
            s->programs[kept++] = s->programs[i];
    s->nprograms = kept;
}

/* ---- this machine's ---- */

static bool lies_in(const char *path, const char *place)
{
    size_t n = strlen(place);
    return strncmp(path, place, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Code that a plugin could write first is not code that the operator chose. */
static int not_writable(const struct spec *s, const struct wall_program *p, struct error *err)
{
    struct grant named = {.permission = PERMISSION_EXECUTE_CODE};
    char advice[POLICY_COMMAND_MAX + 2];
    for (size_t i = 0; i < s->ngrants; i++) {
        const struct wall_grant *g = &s->grants[i];
        if (!g->writable || !(lies_in(p->file.path, g->path) || lies_in(p->place, g->path)))
            continue;
        text_copy(named.scope, sizeof named.scope, p->place);
        grant_advice("revoke", s->manifest->name, &named, advice);
        return error_set(err, MOAT_E_PERMISSION_DENIED,
                         "%s may write %.300s, so nothing there is run for it: %s, or move the program",
                         s->manifest->name, g->path, advice);
    }
    return 0;
}

int programs_add(struct spec *s, const struct grant *g, const struct policy_answer *a, struct error *err)
{
    struct wall_program *p = room(s, err);
    if (!p)
        return -(int)err->code;
    *p = (struct wall_program){.shipped = false};
    snprintf(p->place, sizeof p->place, "%s", g->scope);
    int rc = grant_resolve(g, a, &p->file, err);
    if (rc < 0)
        error_prefix(err, "%s is to run %s", s->manifest->name, g->scope);
    else
        rc = not_writable(s, p, err);
    if (rc == 0)
        s->nprograms++;
    return rc;
}

/* The same by another name. Looked for when the plugin starts, not while it runs: a plugin makes no such name, since no
 * link leads from one mount to another. */
static int not_reached(const struct spec *s, struct error *err)
{
    struct reached r;
    int rc = reach_writable(s->grants, s->ngrants, s->programs, s->nprograms, &r, err);
    if (rc < 0)
        error_prefix(err, "%s is to run programs and to write", s->manifest->name);
    if (rc <= 0)
        return rc;
    return error_set(err, MOAT_E_PERMISSION_DENIED,
                     "%s may write %.300s, where %s%.300s %s, so it is not run for it: grant a copy of it, or not both",
                     s->manifest->name, r.place->path, r.file ? "" : "a directory of ", r.program->file.path,
                     r.file ? "has another name" : "is mounted as well");
}

static int package_place_is_free(const struct spec *s, struct error *err)
{
    for (size_t i = 0; i < s->ngrants; i++)
        if (s->nprograms && lies_in(s->grants[i].path, WALL_PACKAGE_PLACE))
            return error_set(err, MOAT_E_PERMISSION_DENIED,
                             "%s has programs in its package, which are at %s: %s cannot be granted as well",
                             s->manifest->name, WALL_PACKAGE_PLACE, s->grants[i].path);
    return 0;
}

int programs_grant(struct spec *s, const struct policy_answer *a, struct spawner *spawner, struct error *err)
{
    keep_granted(s, a);
    int rc = package_place_is_free(s, err);
    for (size_t i = 0; i < a->ngrants && rc == 0; i++)
        if (a->grants[i].permission == PERMISSION_EXECUTE_CODE && a->grants[i].scope[0] == '/')
            rc = programs_add(s, &a->grants[i], a, err);
    if (rc == 0)
        rc = programs_need(s, a, spawner, err);
    return rc < 0 ? rc : not_reached(s, err);
}
