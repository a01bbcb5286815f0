#include "sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

#define PREFIX "moat-worker-" /* then the host's process id and a number */

struct cgroup_place {
    int dir;
    unsigned next;
};

/* ---- files ---- */

static bool read_text(int dir, const char *name, char *out, size_t size)
{
    fd_auto fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : io_read_full(fd, out, size - 1);
    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

/* The kernel's files are there already and nothing can be created beside them (O_CREAT is refused then); a tree that a
 * test made has none yet. */
static bool write_text(int dir, const char *name, const char *text)
{
    fd_auto fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && io_write_all(fd, text, strlen(text));
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += len)
        if ((p == text || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\n' || !p[len]))
            return true;
    return false;
}

/* The number behind "name " at the begin of a line. */
static uint64_t number_of(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    return 0;
}

/* ---- the place ---- */

/* "0::/some/where/moat-host": the directory above the last part, or NULL. */
static const char *parent_of(char *text)
{
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return NULL;
    line += *line == '\n' ? 4 : 3;
    line[strcspn(line, "\n")] = '\0';
    char *last = strrchr(line, '/');
    if (!last || strcmp(last + 1, CGROUP_HOST) != 0 || strstr(line, "/../"))
        return NULL;
    *last = '\0';
    return line;
}

static struct cgroup_place *refuse(char *why, size_t size, const char *what)
{
    snprintf(why, size, "%s", what);
    return NULL;
}

struct cgroup_place *cgroup_place_open(const char *root, const char *self, char *why, size_t size)
{
    char text[4096], path[2 * PATH_MAX];
    if (!read_text(AT_FDCWD, self, text, sizeof text))
        return refuse(why, size, "the kernel has no control groups");
    const char *parent = parent_of(text);
    if (!parent)
        return refuse(why, size, "the host does not run in a group called " CGROUP_HOST);
    snprintf(path, sizeof path, "%s%s", root, parent);
    fd_auto dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !read_text(dir, "cgroup.controllers", text, sizeof text))
        return refuse(why, size, "the group above the host's cannot be read");
    if (!has_word(text, "memory") || !has_word(text, "pids"))
        return refuse(why, size, "the group above the host's has no memory and pids controllers");
    if (faccessat(dir, ".", W_OK, AT_EACCESS) < 0 || !write_text(dir, "cgroup.subtree_control", "+memory +pids"))
        return refuse(why, size, "the group above the host's is not ours to divide");
    struct cgroup_place *p = calloc(1, sizeof *p);
    if (!p)
        return refuse(why, size, "no memory");
    p->dir = io_steal(&dir);
    cgroup_sweep(p);
    return p;
}

/* Ours, or of a host that is gone; a process that is not ours to signal lives. */
static bool may_go(const char *name)
{
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    long pid = strtol(name + strlen(PREFIX), NULL, 10);
    return pid == getpid() || (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

void cgroup_sweep(struct cgroup_place *p)
{
    int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        io_close(&fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(d));)
        if (may_go(e->d_name))
            unlinkat(p->dir, e->d_name, AT_REMOVEDIR); /* one that is in use stays: EBUSY */
    closedir(d);
}

void cgroup_place_close(struct cgroup_place *p)
{
    if (!p)
        return;
    cgroup_sweep(p);
    io_close(&p->dir);
    free(p);
}

/* ---- one group ---- */

static bool fill(int dir, const struct cgroup_limits *l, pid_t pid)
{
    char memory[32], processes[32], number[32];
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)l->memory);
    snprintf(processes, sizeof processes, "%u", l->processes);
    snprintf(number, sizeof number, "%d", (int)pid);
    if (!write_text(dir, "memory.max", memory) || !write_text(dir, "pids.max", processes))
        return false;
    /* Not everywhere: a kernel without swap accounting; one end for all of a group's processes. */
    write_text(dir, "memory.swap.max", "0");
    write_text(dir, "memory.oom.group", "1");
    return write_text(dir, "cgroup.procs", number);
}

bool cgroup_make(struct cgroup_place *p, const struct cgroup_limits *limits, pid_t pid, struct cgroup *out)
{
    struct cgroup g = {.memory = limits->memory};
    snprintf(g.name, sizeof g.name, PREFIX "%d-%u", (int)getpid(), p->next++);
    if (mkdirat(p->dir, g.name, 0755) < 0)
        return false;
    fd_auto dir = openat(p->dir, g.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !fill(dir, limits, pid)) {
        int saved = errno;
        unlinkat(p->dir, g.name, AT_REMOVEDIR);
        errno = saved;
        return false;
    }
    *out = g;
    return true;
}

bool cgroup_ran_out(const struct cgroup_place *p, const struct cgroup *g, uint64_t *peak)
{
    char text[1024];
    *peak = 0;
    if (!p || !g->name[0])
        return false;
    fd_auto dir = openat(p->dir, g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !read_text(dir, "memory.events", text, sizeof text) || !number_of(text, "oom_kill"))
        return false;
    if (read_text(dir, "memory.peak", text, sizeof text))
        *peak = strtoull(text, NULL, 10);
    return true;
}

bool cgroup_remove(struct cgroup_place *p, struct cgroup *g)
{
    bool gone = !p || !g->name[0] || unlinkat(p->dir, g->name, AT_REMOVEDIR) == 0;
    g->name[0] = '\0';
    return gone;
}
