/* The unix layer of SQLite makes its system calls through a table (sqlite3_vfs.xSetSystemCall).  The calls that take a
 * path are answered here, from two descriptors; those on descriptors stay as they are, locks included: other processes
 * that use the database see them as ever. */
#include "helper/sql_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JOURNAL SQL_FILES_NAME "-journal"

static struct {
    int database, journal;
    bool stale;
} files;

/* The C library's fstat asks by name, with an empty one; that is not allowed here. */
static int plain_fstat(int fd, struct stat *st)
{
    return (int)syscall(SYS_fstat, fd, st);
}

static int descriptor(const char *path)
{
    if (strcmp(path, SQL_FILES_NAME) == 0)
        return files.database;
    if (strcmp(path, JOURNAL) == 0)
        return files.journal;
    errno = ENOENT;
    return -1;
}

/* Who else uses the database may remove the journal when its transaction ends. Then ours is a file without a name, and
 * there may be another with it. */
static bool journal_is_there(struct stat *st)
{
    if (plain_fstat(files.journal, st) < 0)
        return false;
    files.stale |= st->st_nlink == 0;
    return !files.stale;
}

static int my_open(const char *path, int flags, int mode)
{
    struct stat st;
    int fd = descriptor(path);
    (void)flags;
    (void)mode;
    if (fd == files.journal && fd >= 0 && !journal_is_there(&st)) {
        errno = EACCES;
        return -1;
    }
    return fd;
}

static int my_close(int fd)
{
    (void)fd;
    return 0;
}

static int my_stat(const char *path, struct stat *st)
{
    int fd = descriptor(path);
    if (fd < 0)
        return -1;
    return plain_fstat(fd, st);
}

static int my_lstat(const char *path, struct stat *st)
{
    return my_stat(path, st);
}

/* An empty journal is none. */
static int my_access(const char *path, int mode)
{
    struct stat st;
    (void)mode;
    if (strcmp(path, JOURNAL) != 0) {
        int fd = descriptor(path);
        return fd < 0 ? -1 : 0;
    }
    if (!journal_is_there(&st) || st.st_size > 0)
        return 0; /* stale: opening it will fail, and with it the statement */
    errno = ENOENT;
    return -1;
}

static int my_unlink(const char *path)
{
    int fd = strcmp(path, JOURNAL) == 0 ? files.journal : -1;
    if (fd < 0) {
        errno = ENOENT;
        return -1;
    }
    return ftruncate(fd, 0);
}

/* The names stay, so there is no directory to be synced. */
static int my_open_directory(const char *path, int *fd)
{
    (void)path;
    *fd = -1;
    return SQLITE_CANTOPEN;
}

static ssize_t my_readlink(const char *path, char *out, size_t size)
{
    (void)path;
    (void)out;
    (void)size;
    errno = EINVAL;
    return -1;
}

static char *my_getcwd(char *out, size_t size)
{
    if (size < 2)
        return NULL;
    memcpy(out, "/", 2);
    return out;
}

static int no_call(void)
{
    errno = EPERM;
    return -1;
}

static int as_done(void)
{
    return 0;
}

static unsigned my_geteuid(void)
{
    return 1; /* not root: nothing is to be given to anybody */
}

void sql_files_use(int database, int journal)
{
    files.database = database;
    files.journal = journal;
}

bool sql_files_stale(void)
{
    return files.stale;
}

bool sql_files_install(int database, int journal)
{
    static const struct {
        const char *name;
        sqlite3_syscall_ptr call;
    } calls[] = {
        {"open", (sqlite3_syscall_ptr)my_open},       {"close", (sqlite3_syscall_ptr)my_close},
        {"access", (sqlite3_syscall_ptr)my_access},   {"getcwd", (sqlite3_syscall_ptr)my_getcwd},
        {"stat", (sqlite3_syscall_ptr)my_stat},       {"fstat", (sqlite3_syscall_ptr)plain_fstat},
        {"unlink", (sqlite3_syscall_ptr)my_unlink},   {"openDirectory", (sqlite3_syscall_ptr)my_open_directory},
        {"mkdir", (sqlite3_syscall_ptr)no_call},      {"rmdir", (sqlite3_syscall_ptr)no_call},
        {"fchmod", (sqlite3_syscall_ptr)as_done},     {"fchown", (sqlite3_syscall_ptr)as_done},
        {"geteuid", (sqlite3_syscall_ptr)my_geteuid}, {"readlink", (sqlite3_syscall_ptr)my_readlink},
        {"lstat", (sqlite3_syscall_ptr)my_lstat},
    };
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    sql_files_use(database, journal);
    if (!vfs || vfs->iVersion < 3)
        return false;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call) != SQLITE_OK)
            return false;
    return true;
}
