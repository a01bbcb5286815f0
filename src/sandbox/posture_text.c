#include "sandbox/posture_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/text.h"
#include "sandbox/messages.h"

const char *const posture_namespaces[POSTURE_NAMESPACES] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};

#define SAY(layer, ...) snprintf(why[WALL_##layer], sizeof why[WALL_##layer], __VA_ARGS__)

const char *posture_field(const char *status, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = status; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    }
    return NULL;
}

/* -- status -- */

/* The bounding set last: an ordinary user cannot empty it, and with no_new_privs it bounds nothing. */
static bool no_capabilities(const char *status, bool fallback)
{
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets - fallback; i++) {
        const char *v = posture_field(status, sets[i]);
        char *end;
        if (!v || strtoull(v, &end, 16) != 0 || *end != '\n' || end == v)
            return false;
    }
    return true;
}

/* Real, effective, saved and file-system user: all the worker's. */
static bool all_ids(const char *status, uid_t uid)
{
    const char *v = posture_field(status, "Uid");
    unsigned id[4];
    return v && sscanf(v, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4 && id[0] == uid && id[1] == uid &&
           id[2] == uid && id[3] == uid;
}

/* It is process 1 of the innermost of at least two pid namespaces: its end is the end of all below it. */
static bool is_init(const char *status)
{
    const char *v = posture_field(status, "NSpid");
    unsigned long last = 0;
    int fields = 0;
    while (v && *v && *v != '\n') {
        char *end;
        last = strtoul(v, &end, 10);
        if (end == v)
            return false;
        fields++;
        v = end + strspn(end, " \t");
    }
    return fields >= 2 && last == 1;
}

/* Ours are two on top of what the host is under; kernels before 5.9 do not count them. */
static bool filtered(const char *status, unsigned before)
{
    const char *mode = posture_field(status, "Seccomp"), *count = posture_field(status, "Seccomp_filters");
    return mode && strtoul(mode, NULL, 10) == 2 && (!count || strtoul(count, NULL, 10) >= before + 2u);
}

/* -- mountinfo -- */

struct mount_line {
    char point[WALL_PATH_MAX];
    char options[128];
    char type[32];
};

bool posture_unescape(char *out, size_t size, const char *in, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c == '\\' && i + 3 < len && in[i + 1] >= '0' && in[i + 1] <= '3') {
            c = (char)((in[i + 1] - '0') * 64 + (in[i + 2] - '0') * 8 + (in[i + 3] - '0'));
            i += 3;
        }
        if (n + 1 >= size)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

static bool copy_field(char *out, size_t size, const char *text, size_t len)
{
    if (len >= size)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

/* id parent major:minor root POINT OPTIONS optional… - TYPE source super */
static bool parse_mount(const char *line, size_t len, struct mount_line *out)
{
    const char *field[16] = {0};
    size_t length[16] = {0}, n = 0, dash = 0;
    for (size_t i = 0; i < len && n < 16;) {
        size_t end = i;
        while (end < len && line[end] != ' ')
            end++;
        field[n] = line + i;
        length[n] = end - i;
        if (n >= 6 && !dash && end - i == 1 && line[i] == '-')
            dash = n;
        n++;
        i = end + 1;
    }
    return dash && dash + 1 < n && posture_unescape(out->point, sizeof out->point, field[4], length[4]) &&
           copy_field(out->options, sizeof out->options, field[5], length[5]) &&
           copy_field(out->type, sizeof out->type, field[dash + 1], length[dash + 1]);
}

static bool has_option(const char *options, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = options; *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

/* The innermost grant that path is or lies in. */
static const struct wall_grant *grant_of(const struct wall_request *r, const char *path)
{
    const struct wall_grant *best = NULL;
    for (size_t i = 0; i < r->ngrants; i++) {
        size_t len = strlen(r->grants[i].path);
        if (strncmp(r->grants[i].path, path, len) == 0 && (path[len] == '/' || path[len] == '\0') &&
            (!best || len > strlen(best->path)))
            best = &r->grants[i];
    }
    return best;
}

const char *wall_program_mount(const struct wall_request *request, const struct wall_program *p)
{
    return !p->shipped && grant_of(request, p->place) ? p->file.path : p->place;
}

/* The program that appears there; the package's file system for all that it ships. */
static const struct wall_program *program_at(const struct wall_request *r, const char *path)
{
    for (size_t i = 0; i < r->nprograms; i++)
        if (strcmp(r->programs[i].shipped ? WALL_PACKAGE_PLACE : wall_program_mount(r, &r->programs[i]), path) == 0)
            return &r->programs[i];
    return NULL;
}

struct mounts {
    bool root, tmp, package;
    bool granted[WALL_GRANTS_MAX];
    bool program[WALL_PROGRAMS_MAX];
};

/* NULL when the mount is as it must be; else what is wrong. */
static const char *judge_mount(const struct mount_line *m, const struct wall_request *r, struct mounts *seen)
{
    bool ro = has_option(m->options, "ro");
    const struct wall_program *p = program_at(r, m->point);
    if (!has_option(m->options, "nosuid") || !has_option(m->options, "nodev"))
        return "lacks nosuid or nodev";
    if (p && p->shipped && (seen->package || strcmp(m->type, "tmpfs") != 0))
        return "is not the package's";
    if (p) {
        seen->package |= p->shipped;
        seen->program[p - r->programs] = true;
        return ro ? NULL : "is writable and may be executed";
    }
    if (!has_option(m->options, "noexec"))
        return "lacks noexec";
    const struct wall_grant *g = grant_of(r, m->point);
    if (g) {
        if (strcmp(g->path, m->point) == 0)
            seen->granted[g - r->grants] = true;
        return g->writable || ro ? NULL : "is writable and was granted for reading";
    }
    if (strcmp(m->type, "tmpfs") != 0)
        return "was not granted";
    if (strcmp(m->point, "/") == 0 && !seen->root) {
        seen->root = true;
        return ro ? NULL : "is writable";
    }
    if (strcmp(m->point, "/tmp") == 0 && !seen->tmp) {
        seen->tmp = true;
        return NULL;
    }
    return "was not granted";
}

static bool judge_mounts(const char *mountinfo, const struct wall_request *r, char why[128])
{
    struct mounts seen = {0};
    struct mount_line m;
    for (const char *line = mountinfo; *line;) {
        size_t len = strcspn(line, "\n");
        if (!parse_mount(line, len, &m)) {
            snprintf(why, 128, "a mount cannot be read");
            return false;
        }
        const char *fault = judge_mount(&m, r, &seen);
        if (fault) {
            snprintf(why, 128, "the mount at %.60s %s", m.point, fault);
            return false;
        }
        line += len + (line[len] == '\n');
    }
    if (!seen.root) {
        snprintf(why, 128, "its root is not a private, read-only one");
        return false;
    }
    for (size_t i = 0; i < r->nprograms; i++) {
        if (!seen.program[i] && !(r->programs[i].shipped && seen.package)) {
            snprintf(why, 128, "the program %.80s is not mounted", r->programs[i].place);
            return false;
        }
    }
    for (size_t i = 0; i < r->ngrants; i++) {
        if (!seen.granted[i]) {
            snprintf(why, 128, "the grant %.80s is not mounted", r->grants[i].path);
            return false;
        }
    }
    return true;
}

/* -- limits -- */

static unsigned long long limit_value(const char **text)
{
    *text += strspn(*text, " ");
    if (strncmp(*text, "unlimited", 9) == 0) {
        *text += 9;
        return RLIM_INFINITY;
    }
    char *end;
    unsigned long long v = strtoull(*text, &end, 10);
    if (end == *text)
        v = RLIM_INFINITY;
    *text = end;
    return v;
}

static bool within(const char *limits, const char *name, unsigned long long most)
{
    const char *line = strstr(limits, name);
    if (!line || (line != limits && line[-1] != '\n'))
        return false;
    line += strlen(name);
    unsigned long long soft = limit_value(&line), hard = limit_value(&line);
    return soft <= most && hard <= most;
}

static bool judge_limits(const char *limits, const struct wall_request *r, char why[128])
{
    const struct wall_limits l = limits_filled(&r->limits, false);
    const struct {
        const char *name;
        unsigned long long most;
    } table[] = {
        {"Max data size", l.memory},
        {"Max address space", l.memory + (64ull << 30)},
        {"Max stack size", 8ull << 20},
        {"Max processes", l.processes},
        {"Max open files", l.descriptors},
        {"Max file size", l.file_size},
        {"Max core file size", 0},
        {"Max locked memory", 0},
        {"Max msgqueue size", 0},
        {"Max pending signals", 64},
        {"Max cpu time", l.cpu_seconds ? l.cpu_seconds : RLIM_INFINITY},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!within(limits, table[i].name, table[i].most)) {
            snprintf(why, 128, "%s is above %llu", table[i].name, table[i].most);
            return false;
        }
    }
    return true;
}

/* -- together -- */

static uint32_t judge_namespaces(const struct posture_seen *seen, char why[WALL_LAYER_COUNT][128])
{
    uint32_t present = 0;
    for (int i = 0; i < POSTURE_NAMESPACES; i++) {
        if (seen->separate[i])
            present |= 1u << (WALL_USER_NS + i);
        else
            snprintf(why[WALL_USER_NS + i], 128, "it shares the host's %s namespace", posture_namespaces[i]);
    }
    if (!all_ids(seen->status, seen->uid)) {
        present &= ~WALL_BIT(USER_NS);
        SAY(USER_NS, "it does not run as the user that was made for it");
    }
    if (!is_init(seen->status)) {
        present &= ~WALL_BIT(PID_NS);
        SAY(PID_NS, "it is not process 1 of its own pid namespace");
    }
    return present;
}

uint32_t posture_judge(const struct posture_seen *seen, const struct wall_request *request,
                       char why[WALL_LAYER_COUNT][128])
{
    const uint32_t told = WALL_BIT(NO_NESTED_NS) | WALL_BIT(LANDLOCK) | WALL_BIT(NOTIFY) | WALL_BIT(KEYRING);
    uint32_t present = judge_namespaces(seen, why) | (seen->self & told);
    const char *nnp = posture_field(seen->status, "NoNewPrivs");
    if (judge_mounts(seen->mountinfo, request, why[WALL_ROOT]))
        present |= WALL_BIT(ROOT);
    if (judge_limits(seen->limits, request, why[WALL_RLIMITS]))
        present |= WALL_BIT(RLIMITS);
    if (seen->fallback && !all_ids(seen->status, seen->uid))
        SAY(CAPABILITIES, "it does not run as the user that was made for it");
    else if (no_capabilities(seen->status, seen->fallback))
        present |= WALL_BIT(CAPABILITIES);
    else
        SAY(CAPABILITIES, "a capability set is not empty");
    if (nnp && nnp[0] == '1')
        present |= WALL_BIT(NO_NEW_PRIVS);
    else
        SAY(NO_NEW_PRIVS, "no_new_privs is not set");
    if (filtered(seen->status, seen->filters_before))
        present |= WALL_BIT(SECCOMP);
    else
        SAY(SECCOMP, "its filters are not in force");
    /* The files of a process that is not dumpable belong to root. */
    bool dumpable = seen->owner == seen->uid && seen->uid != 0;
    if ((seen->self & WALL_BIT(NOT_DUMPABLE)) && !dumpable)
        present |= WALL_BIT(NOT_DUMPABLE);
    else
        SAY(NOT_DUMPABLE, "its memory can be read by processes of the same user");
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if ((told & (1u << i)) && !(present & (1u << i)))
            snprintf(why[i], 128, "the worker could not set it up");
    return present;
}
