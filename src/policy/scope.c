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

#define MOST ",max="

/* Where the bound of "/out,max=1GiB" begins, in its last part; NULL: it has none. */
static const char *most_in(const char *text)
{
    const char *last = strrchr(text, '/');
    return last ? strstr(last, MOST) : NULL;
}

/* Of a normal scope: its place alone. */
static size_t place_len(const char *scope)
{
    const char *most = most_in(scope);
    return most ? (size_t)(most - scope) : strlen(scope);
}

static bool place_parse(const char *text, const char *most, char place[POLICY_SCOPE_MAX], const char **why)
{
    char head[2 * POLICY_SCOPE_MAX];
    size_t n = most ? (size_t)(most - text) : strlen(text);
    *why = "the path is too long";
    if (n >= sizeof head)
        return false;
    memcpy(head, text, n);
    head[n] = '\0';
    if (!path_normalise(head, place, why))
        return false;
    *why =
        "what is written may be bounded as in file_write=/out,max=1GiB; a name with \",max=\" in it cannot be granted";
    return !most_in(place);
}

/* A whole number of bytes from 1 to 1 PiB, in the largest unit that has it whole. */
static bool place_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    char place[POLICY_SCOPE_MAX], size[32];
    const char *most = most_in(text);
    uint64_t bytes;
    if (!place_parse(text, most, place, why))
        return false;
    if (!most)
        return text_copy(out, POLICY_SCOPE_MAX, place);
    *why = "\"max=\" takes a size from 1 byte to 1048576GiB, such as 64MiB";
    if (!text_parse_size(most + strlen(MOST), &bytes) || !bytes || bytes > POLICY_MOST_MAX)
        return false;
    text_format_size(bytes, size);
    *why = "the path is too long";
    return (size_t)snprintf(out, POLICY_SCOPE_MAX, "%s%s%s", place, MOST, size) < POLICY_SCOPE_MAX;
}

/* What a plugin names is a place, whatever is in its name. */
static bool place_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    const char *why;
    return place_parse(text, NULL, out, &why);
}

/* However much may be written there: who revokes a place, or forbids it, means the place. */
static bool place_contains(const char *outer, const char *inner)
{
    size_t n = place_len(outer), m = place_len(inner);
    if (n == 1)
        return true; /* "/" */
    return n <= m && strncmp(outer, inner, n) == 0 && (n == m || inner[n] == '/');
}

static bool place_meets(const char *a, const char *b)
{
    return place_contains(a, b) || place_contains(b, a);
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
    if (!file || !*g->scope || !text_copy(path, POLICY_SCOPE_MAX, g->scope))
        return false;
    if (g->permission == PERMISSION_FILE_WRITE)
        path[place_len(path)] = '\0';
    return true;
}

uint64_t grant_most(const struct grant *g)
{
    uint64_t bytes;
    const char *most = g->permission == PERMISSION_FILE_WRITE ? most_in(g->scope) : NULL;
    return most && text_parse_size(most + strlen(MOST), &bytes) ? bytes : 0;
}

bool grant_reading(const struct grant *g, struct grant *out)
{
    if (g->permission != PERMISSION_FILE_WRITE)
        return false;
    struct grant reading = {.permission = PERMISSION_FILE_READ};
    if (*g->scope && !grant_place(g, reading.scope))
        return false;
    *out = reading;
    return true;
}

bool grant_bounded(const struct grant *g, uint64_t most, struct grant *out)
{
    struct grant bounded = {.permission = PERMISSION_FILE_WRITE};
    char place[POLICY_SCOPE_MAX], size[32];
    if (g->permission != PERMISSION_FILE_WRITE || !grant_place(g, place))
        return false;
    text_format_size(most, size);
    if ((size_t)snprintf(bounded.scope, sizeof bounded.scope, "%s%s%s", place, MOST, size) >= sizeof bounded.scope)
        return false;
    *out = bounded;
    return true;
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
         "`file_write=PATH` or `file_write=PATH,max=SIZE`: as `file_read`, which it includes. SIZE (`64MiB`) bounds "
         "what "
         "comes to lie there; without it the setting `file_write_max` does. [How much may be written](quota.md).",
         "PATH", place_normalise, place_object, place_contains, place_meets, place_contains},
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
