#include "policy/scope.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return true;
    return false;
}

/* ---- paths ---- */

/* Appends "/name" for the component at *text and moves past it; false when it does not fit. */
static bool path_step(const char **text, char *out, size_t *used)
{
    size_t n = strcspn(*text, "/");
    const char *name = *text;
    *text += n;
    if (n == 0 || (n == 1 && name[0] == '.'))
        return true;
    if (*used + 1 + n >= POLICY_SCOPE_MAX)
        return false;
    out[(*used)++] = '/';
    memcpy(out + *used, name, n);
    *used += n;
    return true;
}

/* "..", read as text, is not what the kernel makes of it behind a symbolic link: it is refused, not resolved. */
static bool path_goes_up(const char *text)
{
    for (const char *p = text; (p = strstr(p, "..")); p += 2)
        if ((p == text || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

static bool path_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    if (*text != '/') {
        *why = "the scope must be an absolute path";
        return false;
    }
    if (has_control(text) || path_goes_up(text)) {
        *why = "a path must not hold \"..\" or control characters";
        return false;
    }
    char normal[POLICY_SCOPE_MAX];
    size_t used = 0;
    while (*text) {
        text += *text == '/';
        if (!path_step(&text, normal, &used)) {
            *why = "the path is too long";
            return false;
        }
    }
    if (!used)
        normal[used++] = '/';
    normal[used] = '\0';
    memcpy(out, normal, used + 1);
    return true;
}

static bool path_contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    if (n == 1)
        return true; /* "/" */
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

bool scope_path_is_closed(const char *path)
{
    static const char *const closed[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (path_contains(closed[i], path))
            return true;
    return strcmp(path, "/") == 0;
}

/* A path as what a plugin asks for: itself. */
static bool path_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    const char *why;
    return path_normalise(text, out, &why);
}

static bool path_meets(const char *a, const char *b)
{
    return path_contains(a, b) || path_contains(b, a);
}

/* ---- a place for writing ---- */

/* Kept for how much may lie there ("/out,max=1GiB"): as long as no plugin is held to it, nothing is granted by it. */
static bool names_a_most(const char *text)
{
    const char *last = strrchr(text, '/');
    return last && strstr(last, ",max=");
}

static bool place_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    char normal[POLICY_SCOPE_MAX];
    if (!path_normalise(text, normal, why))
        return false;
    *why = "how much may lie in a place is not watched: \",max=\" grants nothing; leave it out";
    return !names_a_most(normal) && text_copy(out, POLICY_SCOPE_MAX, normal);
}

static bool place_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    const char *why;
    return place_normalise(text, out, &why);
}

/* Of a program: by its path in the package. */
static bool is_shipped(const char *scope)
{
    return *scope != '/';
}

bool grant_place(const struct grant *g, char path[POLICY_SCOPE_MAX])
{
    bool file = g->permission == PERMISSION_FILE_READ || g->permission == PERMISSION_FILE_WRITE ||
                (g->permission == PERMISSION_EXECUTE_CODE && !is_shipped(g->scope));
    return file && *g->scope && text_copy(path, POLICY_SCOPE_MAX, g->scope);
}

/* ---- names ---- */

static bool source_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    *why = "the scope must be the name of a data source";
    return text_is_name(text, 64) && text_copy(out, POLICY_SCOPE_MAX, text);
}

static bool action_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    *why = "the scope must be PLUGIN or PLUGIN.ACTION";
    char plugin[64];
    const char *dot = strchr(text, '.');
    size_t n = dot ? (size_t)(dot - text) : strlen(text);
    if (n >= sizeof plugin)
        return false;
    memcpy(plugin, text, n);
    plugin[n] = '\0';
    return text_is_name(plugin, 30) && (!dot || text_is_name(dot + 1, 32)) && text_copy(out, POLICY_SCOPE_MAX, text);
}

static bool action_contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '.');
}

static bool source_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    const char *why;
    return source_normalise(text, out, &why);
}

static bool same_text(const char *outer, const char *inner)
{
    return strcmp(outer, inner) == 0;
}

static bool action_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    const char *why;
    return action_normalise(text, out, &why);
}

static bool action_meets(const char *a, const char *b)
{
    return action_contains(a, b) || action_contains(b, a);
}

/* ---- programs ---- */

#define PACKAGE_PLACE "/package/" /* where a worker sees them (sandbox/wall.h) */

/* A path of the package as it is written in the manifest, or one of the host's. */
static bool program_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    char rooted[POLICY_SCOPE_MAX], normal[POLICY_SCOPE_MAX];
    if (!is_shipped(text))
        return path_normalise(text, out, why);
    int n = snprintf(rooted, sizeof rooted, "/%s", text);
    *why = "the path is too long";
    if (n < 0 || (size_t)n >= sizeof rooted || !path_normalise(rooted, normal, why))
        return false;
    *why = "the scope must be the path of a program: one of this machine's, absolute, or one of the package's";
    return strcmp(normal, rooted) == 0 && normal[1] && text_copy(out, POLICY_SCOPE_MAX, normal + 1);
}

/* What was refused of memory has its protection as the object, such as "rwx". */
static bool is_memory(const char *text)
{
    return strlen(text) == 3 && strspn(text, "rwx-") == 3;
}

/* What a plugin named is absolute; what it named in its package is granted as the manifest has it. */
static bool program_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    char path[POLICY_SCOPE_MAX];
    const char *why;
    size_t n = strlen(PACKAGE_PLACE);
    if (is_shipped(text))
        return !is_memory(text) && program_normalise(text, out, &why);
    if (!path_object(text, path) || strcmp(path, "/") == 0)
        return false;
    return text_copy(out, POLICY_SCOPE_MAX, strncmp(path, PACKAGE_PLACE, n) == 0 ? path + n : path);
}

/* Also a directory of them, as a ceiling has it. */
static bool program_contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    if (strcmp(outer, "/") == 0)
        return !is_shipped(inner);
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

static bool program_meets(const char *a, const char *b)
{
    return program_contains(a, b) || program_contains(b, a);
}

/* ---- the table ---- */

static const struct scope_rule rules[PERMISSION_COUNT] = {
    [PERMISSION_FILE_READ] = {true, true,
                              "`file_read=PATH`: a file, or a directory with all that is and appears in it. Absolute, "
                              "without `..`; doubled and last slashes and `.` are left out.",
                              "PATH", path_normalise, path_object, path_contains, path_meets, path_contains},
    [PERMISSION_FILE_WRITE] =
        {true, true,
         "`file_write=PATH`: as `file_read`, which it includes. What may lie there has no bound but the "
         "file system's and the limit on each file.",
         "PATH", place_normalise, place_object, path_contains, path_meets, path_contains},
    [PERMISSION_NETWORK_ACCESS] =
        {false, false,
         "`network_access=HOST:PORT`; PORT may be `*`. HOST is a name (case and a last dot do not matter; an "
         "international name in its `xn--` form), `*.DOMAIN` for exactly one label more, an IPv4 address in full and "
         "decimal, `[IPv6]` in any spelling (one that maps IPv4 is the IPv4 address), or a range such as `10.0.0.0/8` "
         "or `[fd00::/8]`. The bare name is any host. An address that is not public has to be named by an address or a "
         "range, also where it is what a granted name stands for: [network](network.md).",
         "HOST:PORT", host_normalise, host_object, host_contains, host_meets, host_contains},
    [PERMISSION_DATABASE_READ] =
        {false, false,
         "`database_read=NAME`: a data source of `moat source add`, or `private`, which is the "
         "plugin's own database. [Queries](queries.md).",
         "NAME", source_normalise, source_object, same_text, same_text, same_text},
    [PERMISSION_DATABASE_WRITE] = {false, false, "`database_write=NAME`: as `database_read`, which it includes.",
                                   "NAME", source_normalise, source_object, same_text, same_text, same_text},
    [PERMISSION_EXECUTE_CODE] =
        {false, true,
         "`execute_code`: to map new code, and to run what the package ships. `execute_code=PROGRAM`: to run that "
         "program "
         "and no more; PROGRAM is a file of this machine by its absolute path, or one of the package's as "
         "`plugin.json` has it. [Programs](programs.md).",
         NULL, program_normalise, program_object, program_contains, program_meets, program_contains, is_shipped},
    [PERMISSION_SYSTEM_ACCESS] = {.about = "`system_access`: no scope."},
    [PERMISSION_AGENT_CONTROL] = {false, false,
                                  "`agent_control=PLUGIN.ACTION`, or `agent_control=PLUGIN` for all of its actions.",
                                  "PLUGIN.ACTION", action_normalise, action_object, action_contains, action_meets,
                                  action_contains},
};

const struct scope_rule *scope_rule(enum permission p)
{
    return &rules[p];
}

const char *policy_scope_about(enum permission p)
{
    return rules[p].about;
}

bool scope_contains(const struct grant *outer, const struct grant *inner)
{
    if (outer->permission != inner->permission)
        return false;
    const struct scope_rule *rule = scope_rule(outer->permission);
    return !*outer->scope || (*inner->scope && rule->contains && rule->contains(outer->scope, inner->scope));
}

bool scope_meets(const struct grant *never, const struct grant *g)
{
    if (never->permission != g->permission)
        return false;
    const struct scope_rule *rule = scope_rule(g->permission);
    if (!*never->scope || (!*g->scope && !rule->bare_gives))
        return true;
    return *g->scope ? rule->meets && rule->meets(never->scope, g->scope) : rule->bare_gives(never->scope);
}

bool scope_gives(const struct grant *outer, const struct grant *inner)
{
    const struct scope_rule *rule = scope_rule(outer->permission);
    if (outer->permission == inner->permission && !*outer->scope && *inner->scope && rule->bare_gives)
        return rule->bare_gives(inner->scope);
    return scope_contains(outer, inner);
}

bool scope_admits(const struct grant *g, const struct grant *object)
{
    if (g->permission != object->permission)
        return false;
    const struct scope_rule *rule = scope_rule(g->permission);
    return !*g->scope || (*object->scope && rule->admits && rule->admits(g->scope, object->scope));
}

bool scope_normal(const struct grant *g, bool bare, struct grant *out)
{
    const struct scope_rule *rule = scope_rule(g->permission);
    const char *why;
    out->permission = g->permission;
    if (*g->scope)
        return rule->normalise && rule->normalise(g->scope, out->scope, &why);
    out->scope[0] = '\0';
    return bare || !rule->needed;
}
