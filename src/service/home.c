#include "service/home.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

#define PROTOCOL 1 /* of the socket's routes and of the files in the home */
#define RECORD "home.txt"

static const char *given(const char *argument, const char *variable)
{
    const char *env = argument && *argument ? argument : getenv(variable);
    return env && *env ? env : NULL;
}

static int put_path(char out[PATH_MAX], struct error *err, const char *dir, const char *name)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s%s%s", dir, *name ? "/" : "", name) >= PATH_MAX - 128)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %.200s… is too long", dir);
    return 0;
}

/* Absolute, without ".", doubled or last slashes, so that two ways of writing one directory are one record. */
static int normalise(char path[PATH_MAX], struct error *err)
{
    char whole[2 * PATH_MAX], cwd[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(cwd, sizeof cwd))
        return error_errno(err, MOAT_E_BAD_USAGE, errno, "no current directory for the path %s", path);
    snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    size_t used = 0;
    char *rest;
    for (char *part = strtok_r(whole, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        size_t n = strlen(part);
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0)
            return error_set(err, MOAT_E_BAD_USAGE, "the home's path %s must not hold \"..\"", path);
        if (used + 1 + n >= PATH_MAX - 128)
            return error_set(err, MOAT_E_BAD_USAGE, "the path %.200s… is too long", path);
        path[used++] = '/';
        memcpy(path + used, part, n);
        used += n;
    }
    if (!used)
        path[used++] = '/';
    path[used] = '\0';
    return 0;
}

static int default_dir(char out[PATH_MAX], struct error *err)
{
    if (geteuid() == 0)
        return put_path(out, err, "/var/lib/moat", "");
    const char *data = given(NULL, "XDG_DATA_HOME"), *user = given(NULL, "HOME");
    if (data && *data == '/')
        return put_path(out, err, data, "moat");
    if (user)
        return put_path(out, err, user, ".local/share/moat");
    return error_set(err, MOAT_E_BAD_USAGE, "no home: give --home, or set MOAT_HOME");
}

/* A directory that is given, or one below the home. */
static int part_of(char out[PATH_MAX], const char *dir, const char *argument, const char *variable, const char *name,
                   struct error *err)
{
    const char *own = given(argument, variable);
    int rc = own ? put_path(out, err, own, "") : put_path(out, err, dir, name);
    return rc < 0 ? rc : normalise(out, err);
}

int home_resolve(const char *dir, const char *plugin_dir, const char *registry_dir, struct home *out, struct error *err)
{
    struct home h = {0};
    const char *own = given(dir, "MOAT_HOME");
    int rc = own ? put_path(h.dir, err, own, "") : default_dir(h.dir, err);
    if (rc == 0)
        rc = normalise(h.dir, err);
    if (rc == 0)
        rc = part_of(h.plugin_dir, h.dir, plugin_dir, "PLUGIN_DIR", "packages", err);
    if (rc == 0)
        rc = part_of(h.registry_dir, h.dir, registry_dir, "REGISTRY_DIR", "registry", err);
    if (rc == 0)
        rc = put_path(h.socket, err, h.registry_dir, "moat.sock");
    if (rc == 0)
        rc = put_path(h.lock, err, h.registry_dir, "lock");
    if (rc == 0)
        *out = h;
    return rc;
}

/* ---- the lock ---- */

/* What is in these directories decides whom this Moat trusts: nobody else may be able to write there. */
static int make_private(const char *path, struct error *err)
{
    struct stat st;
    int rc = io_mkdirs(path, 0700, err);
    if (rc < 0)
        return rc;
    if (stat(path, &st) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot look at %s", path);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s is not a directory", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s belongs to another user (uid %u): use a home of your own",
                         path, (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(err, MOAT_E_STORAGE_FAILED, "others may write to %s: `chmod go-w %s`", path, path);
    return 0;
}

static int make_directories(const struct home *home, struct error *err)
{
    char incoming[PATH_MAX + 16];
    snprintf(incoming, sizeof incoming, "%s/incoming", home->plugin_dir);
    const char *const all[] = {home->dir, home->registry_dir, home->plugin_dir, incoming};
    int rc = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && rc == 0; i++)
        rc = make_private(all[i], err);
    return rc;
}

static void read_owner(int fd, struct home_owner *owner)
{
    char text[64], role[16] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = 0;
    *owner = (struct home_owner){0};
    if (n <= 0)
        return;
    text[n] = '\0';
    if (sscanf(text, "%ld %15s", &pid, role) == 2)
        *owner = (struct home_owner){.pid = (pid_t)pid, .server = strcmp(role, "server") == 0};
}

/* Between taking the lock and writing its name an owner looks like the one before: look again for a moment. */
static void wait_for_owner(int fd, struct home_owner *owner)
{
    for (int i = 0; i < 50; i++) {
        read_owner(fd, owner);
        if (owner->pid > 0 && (kill(owner->pid, 0) == 0 || errno == EPERM))
            return;
        usleep(1000);
    }
    *owner = (struct home_owner){0};
}

static int take(const struct home *home, bool server, int fd, struct home_owner *owner, struct error *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot lock %s", home->lock);
        struct home_owner who;
        wait_for_owner(fd, &who);
        if (owner)
            *owner = who;
        return error_set(err, MOAT_E_HOME_BUSY, "%s is held by %s (process %ld)", home->dir,
                         who.server ? "a server" : "another command", (long)who.pid);
    }
    char text[64];
    int n = snprintf(text, sizeof text, "%ld %s\n", (long)getpid(), server ? "server" : "command");
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write %s", home->lock);
    return 0;
}

/* ---- the record ---- */

/* Under the lock, so that its name beside can be one fixed name: a leftover is overwritten, never collected. */
static int write_record(const char *path, const char *text, struct error *err)
{
    char beside[PATH_MAX + 32];
    snprintf(beside, sizeof beside, "%s.new", path);
    fd_auto fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || !io_write_all(fd, text, strlen(text)) || fsync(fd) < 0 || rename(beside, path) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write %s", path);
    return 0;
}

/* The value of `key=` in the record, cut at the end of its line. */
static bool recorded(const char *text, const char *key, char *out, size_t size)
{
    size_t n = strlen(key);
    for (const char *line = text, *end; line && *line; end = strchr(line, '\n'), line = end ? end + 1 : NULL) {
        if (strncmp(line, key, n) != 0 || line[n] != '=')
            continue;
        size_t len = strcspn(line + n + 1, "\n");
        if (len >= size)
            return false;
        memcpy(out, line + n + 1, len);
        out[len] = '\0';
        return true;
    }
    return false;
}

static int compare_record(const char *path, const char *text, const struct home *home, struct error *err)
{
    char protocol[16], value[PATH_MAX];
    if (!recorded(text, "protocol", protocol, sizeof protocol))
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s is not a record of a Moat home", path);
    if (strtol(protocol, NULL, 10) != PROTOCOL)
        return error_set(err, MOAT_E_WRONG_STATE, "%s belongs to a Moat of protocol %s, this one has %d: use that one",
                         home->dir, protocol, PROTOCOL);
    const struct {
        const char *key, *now, *variable;
    } parts[] = {{"plugin_dir", home->plugin_dir, "PLUGIN_DIR"}, {"registry_dir", home->registry_dir, "REGISTRY_DIR"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!recorded(text, parts[i].key, value, sizeof value))
            return error_set(err, MOAT_E_STORAGE_FAILED, "%s does not say its %s", path, parts[i].key);
        if (strcmp(value, parts[i].now) != 0)
            return error_set(
                err, MOAT_E_WRONG_STATE,
                "this home was made with %s=%.400s, now it is %.400s: set it as before, or edit %.400s once "
                "you have moved the files",
                parts[i].variable, value, parts[i].now, path);
    }
    return 0;
}

static const char *const development_names[] = {[HOME_NEVER] = "never", [HOME_ON] = "on", [HOME_PAST] = "past"};

const char *home_development_name(enum home_development d)
{
    return development_names[d];
}

/* A record without the line was made before there was a development mode. */
static int read_development(const char *path, const char *text, enum home_development *out, struct error *err)
{
    char value[16] = "never";
    recorded(text, "development", value, sizeof value);
    for (size_t i = 0; i < sizeof development_names / sizeof *development_names; i++) {
        if (strcmp(value, development_names[i]) == 0) {
            *out = (enum home_development)i;
            return 0;
        }
    }
    return error_set(err, MOAT_E_STORAGE_FAILED, "%s says development=%s, which is none of never, on, past", path,
                     value);
}

static int check_mode(const struct home *home, struct error *err)
{
    if (home->mode == HOME_SECURE && home->development == HOME_ON)
        return error_set(err, MOAT_E_WRONG_STATE,
                         "%s is in development mode: go on with `moat serve --dev`, or end it with `moat secure`",
                         home->dir);
    if (home->mode == HOME_DEVELOPMENT && home->development != HOME_ON)
        return error_set(err, MOAT_E_WRONG_STATE,
                         "%s is a secure home and stays one: give development mode a home of its own with --home",
                         home->dir);
    return 0;
}

static int make_record(struct home *home, const char *path, enum home_development development, struct error *err)
{
    buf_auto text = BUF_INIT(4 * PATH_MAX);
    buf_printf(&text, "protocol=%d\nplugin_dir=%s\nregistry_dir=%s\ndevelopment=%s\n", PROTOCOL, home->plugin_dir,
               home->registry_dir, home_development_name(development));
    if (text.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the record of %s", home->dir);
    int rc = write_record(path, buf_text(&text), err);
    if (rc == 0)
        home->development = development;
    return rc;
}

static void record_path(const struct home *home, char out[PATH_MAX + 16])
{
    snprintf(out, PATH_MAX + 16, "%s/" RECORD, home->dir);
}

static int check_record(struct home *home, struct error *err)
{
    char path[PATH_MAX + 16];
    record_path(home, path);
    buf_auto text = BUF_INIT(4 * PATH_MAX);
    struct error why;
    int rc = io_read_file(path, &text, &why);
    if (rc == -MOAT_E_NO_SUCH_FILE)
        return make_record(home, path, home->mode == HOME_DEVELOPMENT ? HOME_ON : HOME_NEVER, err);
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    rc = compare_record(path, buf_text(&text), home, err);
    if (rc == 0)
        rc = read_development(path, buf_text(&text), &home->development, err);
    return rc < 0 ? rc : check_mode(home, err);
}

int home_secure(struct home *home, struct error *err)
{
    char path[PATH_MAX + 16];
    record_path(home, path);
    return home->development == HOME_ON ? make_record(home, path, HOME_PAST, err) : 0;
}

enum home_development home_peek(const struct home *home)
{
    char path[PATH_MAX + 16];
    record_path(home, path);
    buf_auto text = BUF_INIT(4 * PATH_MAX);
    enum home_development development = HOME_NEVER;
    if (io_read_file(path, &text, NULL) == 0)
        read_development(path, buf_text(&text), &development, NULL);
    return development;
}

int home_lock(struct home *home, bool server, int *fd, struct home_owner *owner, struct error *err)
{
    int rc = make_directories(home, err);
    if (rc < 0)
        return rc;
    fd_auto lock = open(home->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot open %s", home->lock);
    rc = take(home, server, lock, owner, err);
    if (rc == 0)
        rc = check_record(home, err);
    if (rc == 0)
        *fd = io_steal(&lock);
    return rc;
}
