#include "registry/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"

#define HEX 64
#define SUFFIX ".moat"

void files_path(const char *plugin_dir, const uint8_t sha256[32], char out[PATH_MAX])
{
    char hex[HEX + 1];
    text_hex(hex, sha256, 32);
    snprintf(out, PATH_MAX, "%s/sha256/%s" SUFFIX, plugin_dir, hex);
}

int files_stage(const char *plugin_dir, const void *bytes, size_t len, struct registry_stage *out, struct error *err)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/stage/" FILES_STAGE "XXXXXX", plugin_dir) >= sizeof path)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", plugin_dir);
    fd_auto fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create %s", path);
    if (fchmod(fd, 0600) < 0 || !io_write_all(fd, bytes, len) || fsync(fd) < 0) {
        int saved = errno;
        unlink(path);
        return error_errno(err, MOAT_E_STORAGE_FAILED, saved, "cannot write %s", path);
    }
    snprintf(out->path, sizeof out->path, "%s", path);
    return 0;
}

int files_open(const char *plugin_dir)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/sha256", plugin_dir);
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool files_is_there(int packages, const uint8_t sha256[32])
{
    char name[HEX + sizeof SUFFIX];
    text_hex(name, sha256, 32);
    memcpy(name + HEX, SUFFIX, sizeof SUFFIX);
    return packages >= 0 && faccessat(packages, name, F_OK, 0) == 0;
}

void registry_unstage(struct registry_stage *stage)
{
    if (stage->path[0])
        unlink(stage->path);
    stage->path[0] = '\0';
}

static int sync_directory(const char *path, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot sync %s", path);
    return 0;
}

static int sub_path(char out[PATH_MAX], const char *dir, const char *name, struct error *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", dir);
    return 0;
}

int files_publish(const char *plugin_dir, struct registry_stage *stage, const uint8_t sha256[32], struct error *err)
{
    char path[PATH_MAX], dir[PATH_MAX];
    int rc = sub_path(dir, plugin_dir, "sha256", err);
    if (rc < 0)
        return rc;
    files_path(plugin_dir, sha256, path);
    if (rename(stage->path, path) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot rename %s to %s", stage->path, path);
    stage->path[0] = '\0';
    return sync_directory(dir, err);
}

static void in_folder(const char *plugin_dir, const char *folder, const uint8_t sha256[32], const char *suffix,
                      char out[PATH_MAX])
{
    char hex[HEX + 1];
    text_hex(hex, sha256, 32);
    snprintf(out, PATH_MAX, "%s/%s/%s%s", plugin_dir, folder, hex, suffix);
}

int files_mark(const char *plugin_dir, const uint8_t sha256[32], struct error *err)
{
    char path[PATH_MAX];
    in_folder(plugin_dir, "stage", sha256, "", path);
    fd_auto fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create %s", path) : 0;
}

static bool set_aside(const char *plugin_dir, const char *package, const uint8_t sha256[32])
{
    char to[PATH_MAX], dir[PATH_MAX];
    in_folder(plugin_dir, "damaged", sha256, SUFFIX, to);
    snprintf(dir, sizeof dir, "%s/damaged", plugin_dir);
    return io_mkdirs(dir, 0700, NULL) == 0 && (rename(package, to) == 0 || errno == ENOENT);
}

void files_settle(const char *plugin_dir, const uint8_t sha256[32], enum files_fate fate)
{
    char package[PATH_MAX], mark[PATH_MAX];
    bool done = fate == FILES_WANTED;
    files_path(plugin_dir, sha256, package);
    in_folder(plugin_dir, "stage", sha256, "", mark);
    if (fate == FILES_UNWANTED)
        done = unlink(package) == 0 || errno == ENOENT;
    else if (fate == FILES_DAMAGED)
        done = set_aside(plugin_dir, package, sha256);
    if (done)
        unlink(mark);
}

static int write_claim(const char *plugin_dir, const char *path, const char *id, const char *dir, struct error *err)
{
    buf_auto text = BUF_INIT(PATH_MAX + 256);
    struct registry_stage stage;
    buf_printf(&text, "%s\nThis directory belongs to the registry in %s.\n", id, dir);
    if (text.failed) /* a claim without its id would be another registry's for ever */
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", path);
    int rc = files_stage(plugin_dir, text.data, text.len, &stage, err);
    if (rc < 0)
        return rc;
    if (rename(stage.path, path) == 0)
        return sync_directory(plugin_dir, err);
    rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create %s", path);
    registry_unstage(&stage);
    return rc;
}

int files_claim(const char *plugin_dir, const char *id, const char *dir, bool *fresh, struct error *err)
{
    char path[PATH_MAX], packages[PATH_MAX], stage[PATH_MAX];
    buf_auto there = BUF_INIT(PATH_MAX + 256);
    struct error why;
    int rc = sub_path(path, plugin_dir, "owner", err);
    if (rc == 0)
        rc = sub_path(packages, plugin_dir, "sha256", err);
    if (rc == 0)
        rc = sub_path(stage, plugin_dir, "stage", err);
    if (rc == 0)
        rc = io_mkdirs(packages, 0700, err);
    *fresh = rc == 0 && access(stage, F_OK) < 0;
    if (rc == 0)
        rc = io_mkdirs(stage, 0700, err);
    if (rc < 0)
        return rc;
    rc = io_read_file(path, &there, &why);
    if (rc == -MOAT_E_NO_SUCH_FILE)
        return write_claim(plugin_dir, path, id, dir, err);
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    if (strncmp(buf_text(&there), id, strlen(id)) == 0)
        return 0;
    return error_set(err, MOAT_E_WRONG_STATE,
                     "%s holds the packages of another registry (%s says which): use another PLUGIN_DIR, or remove "
                     "that file when its registry is gone for good",
                     plugin_dir, path);
}

/* Is it a hash, with this behind it? */
static bool is_hash(const char *name, const char *suffix, uint8_t sha256[32])
{
    char hex[HEX + 1];
    if (strlen(name) != HEX + strlen(suffix) || strcmp(name + HEX, suffix) != 0)
        return false;
    memcpy(hex, name, HEX);
    hex[HEX] = '\0';
    return text_unhex(sha256, 32, hex);
}

static bool is_staged(const char *name)
{
    return strncmp(name, FILES_STAGE, strlen(FILES_STAGE)) == 0;
}

static int remove_stray(DIR *dir, const char *path, const char *name, struct error *err)
{
    if (unlinkat(dirfd(dir), name, 0) == 0 || errno == ENOENT)
        return 0;
    return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot remove the stray %s/%s", path, name);
}

static int open_folder(const char *plugin_dir, const char *folder, char path[PATH_MAX], DIR **out, struct error *err)
{
    int rc = sub_path(path, plugin_dir, folder, err);
    if (rc < 0)
        return rc;
    *out = opendir(path);
    return *out ? 0 : error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot list %s", path);
}

int files_settle_marked(const char *plugin_dir, files_wanted wanted, void *context, struct error *err)
{
    char path[PATH_MAX];
    DIR *dir;
    int rc = open_folder(plugin_dir, "stage", path, &dir, err);
    if (rc < 0)
        return rc;
    struct dirent *entry;
    while (rc >= 0 && (entry = readdir(dir))) {
        uint8_t sha256[32];
        if (is_staged(entry->d_name)) {
            rc = remove_stray(dir, path, entry->d_name, err);
        } else if (is_hash(entry->d_name, "", sha256)) {
            rc = wanted(context, sha256, err);
            if (rc >= 0)
                files_settle(plugin_dir, sha256, (enum files_fate)rc);
        }
    }
    closedir(dir);
    return rc < 0 ? rc : 0;
}

int files_collect(const char *plugin_dir, files_wanted wanted, void *context, uint64_t *removed, struct error *err)
{
    char path[PATH_MAX];
    DIR *dir;
    int rc = open_folder(plugin_dir, "sha256", path, &dir, err);
    if (rc < 0)
        return rc;
    struct dirent *entry;
    while (rc >= 0 && (entry = readdir(dir))) {
        uint8_t sha256[32];
        bool staged = is_staged(entry->d_name); /* by the first release, which staged here */
        if (!staged && !is_hash(entry->d_name, SUFFIX, sha256))
            continue;
        rc = staged ? FILES_UNWANTED : wanted(context, sha256, err);
        if (rc != FILES_UNWANTED)
            continue;
        rc = remove_stray(dir, path, entry->d_name, err);
        *removed += rc == 0;
    }
    closedir(dir);
    return rc < 0 ? rc : 0;
}
