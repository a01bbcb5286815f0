#include "cli/new.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fill.h"
#include "base/io.h"
#include "base/text.h"
#include "package/manifest.h"

/* The files of src/cli/template, in the order of writing; a 0 ends each text. */
extern const uint8_t new_manifest[], new_source[], new_makefile[], new_readme[];
static const struct new_file {
    const char *name;
    const uint8_t *text;
} new_files[] = {
    {"plugin.json", new_manifest},
    {"plugin.c", new_source},
    {"Makefile", new_makefile},
    {"README.md", new_readme},
};
enum { NEW_FILES = sizeof new_files / sizeof *new_files };

/* What the template's marks, @NAME@, @MOAT@ and @INCLUDE@, are replaced by. */
struct values {
    char name[MANIFEST_NAME_MAX + 1], moat[PATH_MAX], include[PATH_MAX];
};

/* The last component of the directory, wherever it is reached from: `moat new .` means the directory one stands in. */
static int take_name(const char *dir, struct values *v, struct error *err)
{
    char real[PATH_MAX], shown[PATH_MAX];
    if (!text_copy(shown, sizeof shown, realpath(dir, real) ? real : dir) || !*shown)
        return error_set(err, MOAT_E_BAD_USAGE, "'%.100s' is no path of a directory", dir);
    for (size_t len = strlen(shown); len > 1 && shown[len - 1] == '/';)
        shown[--len] = 0;
    const char *slash = strrchr(shown, '/'), *name = slash ? slash + 1 : shown;
    if (!text_is_name(name, MANIFEST_NAME_MAX))
        return error_set(
            err, MOAT_E_BAD_USAGE,
            "'%.100s' is no plugin's name: use lower-case letters, digits and single _, such as word_count", name);
    text_copy(v->name, sizeof v->name, name);
    return 0;
}

/* A path that means the same in a Makefile and in a shell; all others are left to be given by hand. */
static bool is_plain_path(const char *path)
{
    return path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-")] == 0;
}

/* The header lies beside this program in a build directory, and above it in a source tree and in an installation. */
static void find_moat(struct values *v)
{
    static const char *const places[] = {"include", "../include"};
    char self[PATH_MAX], candidate[PATH_MAX], real[PATH_MAX];
    text_copy(v->moat, sizeof v->moat, "moat");
    text_copy(v->include, sizeof v->include, "/usr/include");
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0)
        return;
    self[len] = 0;
    if (is_plain_path(self))
        text_copy(v->moat, sizeof v->moat, self);
    char *slash = strrchr(self, '/');
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int put = snprintf(candidate, sizeof candidate, "%s/%s/moat", self, places[i]);
        if (put < 0 || (size_t)put >= sizeof candidate || !realpath(candidate, real))
            continue;
        *strrchr(real, '/') = 0; /* the directory that "moat/plugin.h" is found in */
        put = snprintf(candidate, sizeof candidate, "%s/moat/plugin.h", real);
        if (put > 0 && (size_t)put < sizeof candidate && access(candidate, R_OK) == 0 && is_plain_path(real)) {
            text_copy(v->include, sizeof v->include, real);
            return;
        }
    }
}

static int write_file(int dir, const struct new_file *file, const struct values *v, struct error *err)
{
    buf_auto text = BUF_INIT(256 * 1024);
    const struct fill_mark marks[] = {{"@NAME@", v->name}, {"@MOAT@", v->moat}, {"@INCLUDE@", v->include}};
    fill_marks(&text, (const char *)file->text, marks, sizeof marks / sizeof *marks);
    if (text.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", file->name);
    fd_auto fd = openat(dir, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || !io_write_all(fd, text.data, text.len))
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "%s", file->name);
    return 0;
}

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    bool empty = dir != NULL;
    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    return empty;
}

int new_write(const char *dir, struct error *err)
{
    struct values v;
    int rc = take_name(dir, &v, err);
    if (rc < 0)
        return rc;
    find_moat(&v);
    bool made = mkdir(dir, 0777) == 0;
    if (!made && errno == ENOENT)
        return error_set(err, MOAT_E_NO_SUCH_FILE, "the directory that '%.200s' would be in is not there", dir);
    if (!made && errno != EEXIST)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "could not make '%.200s'", dir);
    if (!made && !is_empty(dir))
        return error_set(err, MOAT_E_BAD_USAGE, "'%.200s' is there already and is not an empty directory", dir);
    fd_auto fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "could not open '%.200s'", dir);
    size_t n = 0;
    for (; n < NEW_FILES && rc == 0; n++)
        rc = write_file(fd, &new_files[n], &v, err);
    if (rc == 0)
        return 0;
    while (n > 0) /* the directory was empty: every file of these names is ours */
        unlinkat(fd, new_files[--n].name, 0);
    if (made)
        rmdir(dir);
    return rc;
}
