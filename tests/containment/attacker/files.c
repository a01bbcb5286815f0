/* Attacks through files: out of a grant, through one, and on what was granted for reading only.
 * Parameters: secret, a file outside every grant; read, a directory granted for reading; write, one for writing. */
#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "attacker.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_statx
#define SYS_statx 332
#endif

#define ROOM 4200

static const char *secret(struct attack *a)
{
    return attack_text(a, "secret", "/nowhere");
}

/* A path in the granted directory `which`. */
static const char *in(struct attack *a, const char *which, const char *name, char out[ROOM])
{
    snprintf(out, ROOM, "%s/%s", attack_text(a, which, "/nowhere"), name);
    return out;
}

static long open_at(const char *path, int flags)
{
    return raw(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* Opening is nothing yet: what counts is whether the secret's bytes come out. */
static long read_secret_of(const char *path)
{
    char bytes[64] = "";
    long fd = open_at(path, O_RDONLY);
    if (fd < 0)
        return fd;
    long got = raw(SYS_read, fd, bytes, sizeof bytes - 1);
    raw(SYS_close, fd);
    return got < 0 ? got : strstr(bytes, "secret") ? 0 : -ENODATA;
}

static long write_to(const char *path, int flags)
{
    long fd = open_at(path, O_WRONLY | flags);
    long result = fd < 0 ? fd : raw(SYS_write, fd, "", 0);
    if (fd >= 0)
        raw(SYS_close, fd);
    return result;
}

/* "file" and "dir" in the writable grant lead to the secret and to its directory. */
void through_a_link(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "follow a symbolic link out of a grant");
    attack_attempt(a, "read through a file's link", read_secret_of(in(a, "write", "to_file", path)));
    attack_attempt(a, "write through it", write_to(path, 0));
    attack_attempt(a, "read through a directory's link", read_secret_of(in(a, "write", "to_dir/secret", path)));
    attack_attempt(a, "create through it", write_to(in(a, "write", "to_dir/new", path), O_CREAT | O_EXCL));
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

void hard_link_out(struct attack *a)
{
    char path[ROOM], from[ROOM];
    attack_tried(a, "hard-link a file into a writable grant");
    in(a, "write", "linked", path);
    if (attack_attempt(a, "the secret", raw(SYS_linkat, AT_FDCWD, secret(a), AT_FDCWD, path, 0)))
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
    /* From the read grant into the writable one: then it could be written. */
    in(a, "read", "file", from);
    if (attack_attempt(a, "a file granted for reading", raw(SYS_linkat, AT_FDCWD, from, AT_FDCWD, path, 0)))
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Somebody outside swaps "turn" between a directory and a link to the secret's, as fast as it can. */
void swapped_link(struct attack *a)
{
    char path[ROOM];
    struct timespec start = {0}, now = {0};
    long best = -ENOENT, tries = 0;
    attack_tried(a, "win a race with a link that is swapped between check and open");
    in(a, "write", "turn/secret", path);
    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &start);
    do {
        long got = read_secret_of(path);
        tries++;
        if (got == 0)
            best = 0;
        raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    } while (best < 0 && (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 700);
    attack_attempt(a, "the secret", best);
    attack_detail(a, "%ld tries", tries);
}

void rename_across(struct attack *a)
{
    char ro[ROOM], rw[ROOM], moved[ROOM];
    attack_tried(a, "move files between grants");
    in(a, "read", "file", ro);
    in(a, "write", "mine", rw);
    in(a, "write", "stolen", moved);
    raw(SYS_close, open_at(rw, O_CREAT | O_WRONLY));
    if (attack_attempt(a, "out of the read grant", raw(SYS_renameat2, AT_FDCWD, ro, AT_FDCWD, moved, 0)))
        raw(SYS_renameat2, AT_FDCWD, moved, AT_FDCWD, ro, 0);
    if (attack_attempt(a, "exchange", raw(SYS_renameat2, AT_FDCWD, rw, AT_FDCWD, ro, 2 /* RENAME_EXCHANGE */)))
        raw(SYS_renameat2, AT_FDCWD, rw, AT_FDCWD, ro, 2);
    in(a, "read", "planted", moved);
    if (attack_attempt(a, "into the read grant", raw(SYS_renameat2, AT_FDCWD, rw, AT_FDCWD, moved, 0)))
        raw(SYS_renameat2, AT_FDCWD, moved, AT_FDCWD, rw, 0);
    raw(SYS_unlinkat, AT_FDCWD, rw, 0);
}

void truncate_read_only(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "cut a file that was granted for reading");
    in(a, "read", "empty", path);
    attack_attempt(a, "truncate", raw(SYS_truncate, path, 0));
    attempt_fd(a, "O_TRUNC", open_at(path, O_RDONLY | O_TRUNC));
    attempt_fd(a, "for writing", open_at(path, O_RDWR));
    attempt_fd(a, "a new file", open_at(in(a, "read", "new", path), O_CREAT | O_EXCL | O_WRONLY));
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

void change_attributes(struct attack *a)
{
    char path[ROOM];
    const char *targets[2] = {secret(a), in(a, "read", "file", path)};
    attack_tried(a, "change mode, owner, times or attributes of what is not its own");
    for (int i = 0; i < 2; i++) {
        long fd = open_at(targets[i], O_RDONLY);
        attack_attempt(a, "chmod", raw(SYS_fchmodat, AT_FDCWD, targets[i], 0644));
        attack_attempt(a, "fchmodat2", raw(SYS_fchmodat2, AT_FDCWD, targets[i], 0644, 0));
        attack_attempt(a, "fchmod", fd < 0 ? fd : raw(SYS_fchmod, fd, 0644));
        attack_attempt(a, "chown", raw(SYS_fchownat, AT_FDCWD, targets[i], -1, -1, 0));
        attack_attempt(a, "utimensat", raw(SYS_utimensat, AT_FDCWD, targets[i], 0, 0));
        attack_attempt(a, "futimens", fd < 0 ? fd : raw(SYS_utimensat, fd, 0, 0, 0));
        attack_attempt(a, "setxattr", raw(SYS_setxattr, targets[i], "user.moat", "x", 1, 0));
        if (fd >= 0)
            raw(SYS_close, fd);
    }
}

/* Does the answer tell a file that is there from one that is not? */
static void tell_apart(struct attack *a, const char *what, long there, long absent)
{
    attack_attempt(a, what, there != absent ? 0 : there < 0 ? there : -ENOENT);
}

void probe(struct attack *a)
{
    char st[256], absent[ROOM], text[256];
    const char *there = secret(a);
    snprintf(absent, sizeof absent, "%s.absent", there);
    attack_tried(a, "learn whether %s exists", there);
    tell_apart(a, "newfstatat", raw(SYS_newfstatat, AT_FDCWD, there, st, 0),
               raw(SYS_newfstatat, AT_FDCWD, absent, st, 0));
    tell_apart(a, "statx", raw(SYS_statx, AT_FDCWD, there, 0, 0x7ff, st),
               raw(SYS_statx, AT_FDCWD, absent, 0, 0x7ff, st));
    tell_apart(a, "faccessat", raw(SYS_faccessat, AT_FDCWD, there, 0), raw(SYS_faccessat, AT_FDCWD, absent, 0));
    tell_apart(a, "O_PATH", open_at(there, O_PATH), open_at(absent, O_PATH));
    tell_apart(a, "open", open_at(there, O_RDONLY), open_at(absent, O_RDONLY));
    tell_apart(a, "readlink", raw(SYS_readlinkat, AT_FDCWD, there, text, sizeof text),
               raw(SYS_readlinkat, AT_FDCWD, absent, text, sizeof text));
    tell_apart(a, "chdir", raw(SYS_chdir, there), raw(SYS_chdir, absent));
    tell_apart(a, "execve", raw(SYS_execve, there, 0, 0), raw(SYS_execve, absent, 0, 0));
}

void proc_entries(struct attack *a)
{
    static const char *const paths[] = {"/proc/self/maps",
                                        "/proc/self/root/etc/passwd",
                                        "/proc/1/cmdline",
                                        "/proc/sys/kernel/core_pattern",
                                        "/proc/self/fd",
                                        "/proc/version",
                                        "/sys/kernel/uevent_seqnum",
                                        "/dev/null",
                                        "/dev/urandom",
                                        "/dev/shm"};
    attack_tried(a, "open what the kernel shows of the machine");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        attempt_fd(a, paths[i], open_at(paths[i], O_RDONLY));
}

/* Outside, the test leaves one open. */
void directory_descriptors(struct attack *a)
{
    attack_tried(a, "find a directory among its descriptors and walk out of it");
    for (int fd = 0; fd < 256; fd++) {
        char path[] = "../../../../../../../../etc/passwd";
        if (raw(SYS_fcntl, fd, F_GETFD) < 0)
            continue;
        char what[32];
        snprintf(what, sizeof what, "descriptor %d", fd);
        attempt_fd(a, what, raw(SYS_openat, fd, path, O_RDONLY, 0));
    }
}

void climb(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "climb out of a granted directory");
    if (raw(SYS_chdir, in(a, "write", ".", path)) == 0)
        attack_attempt(a, "chdir, then ..", read_secret_of("../secret"));
    raw(SYS_chdir, "/");
    long dir = open_at(path, O_PATH | O_DIRECTORY);
    if (dir >= 0) {
        long fd = raw(SYS_openat, dir, "../secret", O_RDONLY, 0);
        attempt_fd(a, "openat of a directory, then ..", fd);
        attack_attempt(a, "fchdir, then ..", raw(SYS_fchdir, dir) == 0 ? read_secret_of("../secret") : -EACCES);
        raw(SYS_chdir, "/");
        raw(SYS_close, dir);
    }
    attack_attempt(a, "by name", read_secret_of(in(a, "write", "../secret", path)));
}

struct mount_attr_ {
    uint64_t set, clear, propagation, userns;
};

void remount(struct attack *a)
{
    char path[ROOM];
    struct mount_attr_ writable = {.clear = 1 /* MOUNT_ATTR_RDONLY */};
    attack_tried(a, "make a read-only grant writable");
    in(a, "read", ".", path);
    attack_attempt(a, "bind", raw(SYS_mount, path, path, 0, MS_BIND, 0));
    attack_attempt(a, "remount", raw(SYS_mount, 0, path, 0, MS_REMOUNT | MS_BIND, 0));
    attack_attempt(a, "mount_setattr", raw(SYS_mount_setattr, AT_FDCWD, path, 0, &writable, sizeof writable));
    attack_attempt(a, "propagation", raw(SYS_mount, 0, path, 0, MS_PRIVATE, 0));
    attack_attempt(a, "umount", raw(SYS_umount2, path, MNT_DETACH));
}

void leave_root(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "change its root directory");
    in(a, "write", ".", path);
    attack_attempt(a, "chroot", raw(SYS_chroot, path));
    attack_attempt(a, "pivot_root", raw(SYS_pivot_root, path, path));
    attack_attempt(a, "open_tree", raw(428, AT_FDCWD, "/", 1));
    attack_attempt(a, "move_mount", raw(SYS_move_mount, AT_FDCWD, path, AT_FDCWD, "/", 0));
    attack_attempt(a, "fsopen", raw(430, "tmpfs", 0));
}

void odd_paths(struct attack *a)
{
    char path[ROOM];
    const char *to = secret(a);
    attack_tried(a, "reach %s by paths that checks misread", to);
    snprintf(path, sizeof path, "/%s", to);
    attack_attempt(a, "two slashes", read_secret_of(path));
    snprintf(path, sizeof path, "/./././%s/.", to);
    path[strlen(path) - 2] = '\0';
    attack_attempt(a, "dots", read_secret_of(path));
    snprintf(path, sizeof path, "/tmp/../tmp/..%s", to);
    attack_attempt(a, "up from /tmp", read_secret_of(path));
    size_t len = 0, want = 4090 - strlen(to);
    while (len + 2 < want)
        path[len++] = '/', path[len++] = '.';
    strcpy(path + len, to);
    attack_attempt(a, "overlong", read_secret_of(path));
    raw(SYS_mkdirat, AT_FDCWD, in(a, "write", "\xff\xfe", path), 0700);
    in(a, "write", "\xff\xfe/../../secret", path);
    attack_attempt(a, "bytes that are no UTF-8", read_secret_of(path));
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY, 0, 0};
    attempt_fd(a, "openat2", raw(SYS_openat2, AT_FDCWD, to, &how, sizeof how));
    static char name[] = "x\0/../../etc/passwd";
    attack_attempt(a, "a NUL", read_secret_of(name));
}

void set_uid_copy(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "leave a set-uid file in a writable grant");
    in(a, "write", "suid", path);
    attempt_fd(a, "openat", raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 04755));
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
    attempt_fd(a, "creat", raw(SYS_creat, path, 02755));
    raw(SYS_close, open_at(path, O_CREAT | O_WRONLY));
    attack_attempt(a, "chmod", raw(SYS_chmod, path, 04755));
    attack_attempt(a, "fchmodat", raw(SYS_fchmodat, AT_FDCWD, path, 06755));
    attack_attempt(a, "fchmodat2", raw(SYS_fchmodat2, AT_FDCWD, path, 04755, 0));
    long fd = open_at(path, O_WRONLY);
    attack_attempt(a, "fchmod", fd < 0 ? fd : raw(SYS_fchmod, fd, 02755));
    raw(SYS_close, fd);
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_CREAT | O_WRONLY, 04755, 0};
    attempt_fd(a, "openat2", raw(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* A trap for whoever reads the directory outside. */
void plant_a_link(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "leave a symbolic link to %s in a writable grant", secret(a));
    in(a, "write", "trap", path);
    if (attack_attempt(a, "symlinkat", raw(SYS_symlinkat, secret(a), AT_FDCWD, path)))
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
    if (attack_attempt(a, "symlink", raw(SYS_symlink, secret(a), path)))
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

void by_handle(struct attack *a)
{
    struct {
        unsigned bytes;
        int type;
        char handle[128];
    } h = {.bytes = sizeof h.handle};
    char path[ROOM];
    int mount_id = 0;
    attack_tried(a, "open a file by its handle instead of its path");
    long named = raw(SYS_name_to_handle_at, AT_FDCWD, in(a, "read", "file", path), &h, &mount_id, 0);
    attack_attempt(a, "name_to_handle_at", named);
    long dir = open_at(in(a, "read", ".", path), O_RDONLY);
    attempt_fd(a, "open_by_handle_at", raw(SYS_open_by_handle_at, dir, &h, O_RDONLY));
    raw(SYS_close, dir);
}

void make_nodes(struct attack *a)
{
    static const struct {
        const char *what;
        int mode;
        long device;
    } kinds[] = {{"character device", S_IFCHR | 0600, 0x103},
                 {"block device", S_IFBLK | 0600, 0x700},
                 {"FIFO", S_IFIFO | 0600, 0},
                 {"socket", S_IFSOCK | 0600, 0},
                 {"file", S_IFREG | 0600, 0}};
    char path[ROOM];
    attack_tried(a, "make devices, FIFOs and sockets");
    in(a, "write", "node", path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (attack_attempt(a, kinds[i].what, raw(SYS_mknodat, AT_FDCWD, path, kinds[i].mode, kinds[i].device)))
            raw(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Root outside made "device" (a copy of /dev/null) in the writable grant. */
void open_device(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "use a device that lies in a granted directory");
    long fd = open_at(in(a, "write", "device", path), O_RDWR);
    attempt_fd(a, "open", fd);
    attempt_fd(a, "read only", open_at(path, O_RDONLY));
}

void unnamed_file(struct attack *a)
{
    char path[ROOM], ro[ROOM];
    attack_tried(a, "bring a file that has no name into the read grant");
    long fd = open_at(in(a, "write", ".", path), O_TMPFILE | O_RDWR);
    in(a, "read", "unnamed", ro);
    attack_attempt(a, "linkat with AT_EMPTY_PATH",
                   fd < 0 ? fd : raw(SYS_linkat, fd, "", AT_FDCWD, ro, 0x1000 /* AT_EMPTY_PATH */));
    snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
    raw(SYS_unlinkat, AT_FDCWD, ro, 0);
    attack_attempt(a, "linkat through /proc", raw(SYS_linkat, AT_FDCWD, path, AT_FDCWD, ro, 0x400));
    raw(SYS_unlinkat, AT_FDCWD, ro, 0);
    attempt_fd(a, "O_TMPFILE there", open_at(in(a, "read", ".", path), O_TMPFILE | O_RDWR));
    if (fd >= 0)
        raw(SYS_close, fd);
}

void leases_and_owners(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "have the kernel signal others about files, or hold others up");
    long fd = open_at(in(a, "read", "file", path), O_RDONLY);
    attack_attempt(a, "F_SETLEASE", raw(SYS_fcntl, fd, F_SETLEASE, F_RDLCK));
    raw(SYS_fcntl, fd, F_SETLEASE, F_UNLCK);
    attack_attempt(a, "F_SETOWN", raw(SYS_fcntl, fd, F_SETOWN, 1));
    attack_attempt(a, "F_SETSIG", raw(SYS_fcntl, fd, F_SETSIG, 9));
    attack_attempt(a, "F_SETFL", raw(SYS_fcntl, fd, F_SETFL, O_ASYNC | O_NONBLOCK));
    attack_attempt(a, "flock", raw(SYS_flock, fd, LOCK_SH | LOCK_NB));
    raw(SYS_close, fd);
    long dir = open_at(in(a, "read", ".", path), O_RDONLY);
    attack_attempt(a, "F_NOTIFY", raw(SYS_fcntl, dir, F_NOTIFY, 1));
    raw(SYS_close, dir);
}

void watch_files(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "watch what others do with files");
    long fd = raw(SYS_inotify_init1, O_CLOEXEC);
    attack_attempt(a, "inotify_init1", fd);
    if (fd >= 0) {
        attack_attempt(a, "inotify_add_watch", raw(SYS_inotify_add_watch, fd, in(a, "read", ".", path), 0xfff));
        raw(SYS_close, fd);
    }
    attempt_fd(a, "fanotify_init", raw(SYS_fanotify_init, 0x200, O_RDONLY));
}

/* The page cache of a file that may only be read, by ways around write. */
void splice_pages(struct attack *a)
{
    int ends[2] = {-1, -1};
    char path[ROOM];
    attack_tried(a, "put pages of a read-only file into a pipe");
    raw(SYS_pipe2, ends, 0);
    long fd = open_at(in(a, "read", "file", path), O_RDONLY);
    attack_attempt(a, "splice", raw(SYS_splice, fd, 0, ends[1], 0, 1, 0));
    struct {
        const void *base;
        size_t len;
    } part = {path, 1};
    attack_attempt(a, "vmsplice", raw(SYS_vmsplice, ends[1], &part, 1, 0));
    attack_attempt(a, "sendfile", raw(SYS_sendfile, ends[1], fd, 0, 1));
    attack_attempt(a, "copy_file_range", raw(SYS_copy_file_range, fd, 0, fd, 0, 0, 0));
    raw(SYS_close, fd);
    raw(SYS_close, ends[0]);
    raw(SYS_close, ends[1]);
}

void preallocate(struct attack *a)
{
    char path[ROOM];
    attack_tried(a, "take disk space without writing, and make the machine write everything");
    long fd = open_at(in(a, "write", "large", path), O_CREAT | O_RDWR);
    attack_attempt(a, "fallocate", raw(SYS_fallocate, fd, 0, 0, 1 << 20));
    raw(SYS_close, fd);
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
    attack_attempt(a, "sync", raw(SYS_sync));
    attack_attempt(a, "syncfs", raw(SYS_syncfs, 1) == -EBADF ? -EBADF : raw(SYS_syncfs, 0));
}

/* A write lock on a file that was granted for reading would stop those who may write it. */
void locks(struct attack *a)
{
    char path[ROOM];
    struct flock all = {.l_type = F_WRLCK};
    attack_tried(a, "lock a read-only file against its writers");
    long fd = open_at(in(a, "read", "file", path), O_RDWR);
    attack_attempt(a, "open for locking", fd);
    if (fd < 0)
        fd = open_at(path, O_RDONLY);
    attack_attempt(a, "write lock", raw(SYS_fcntl, fd, F_SETLK, &all));
    attack_attempt(a, "open-file write lock", raw(SYS_fcntl, fd, F_OFD_SETLK, &all));
    raw(SYS_close, fd);
}

/* Code that it wrote itself, into each place where it may write. */
void map_written_code(struct attack *a)
{
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    static const char *const where[] = {"write", "tmp"};
    char path[ROOM];
    attack_tried(a, "map a file that it has written as code");
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            in(a, "write", "code", path);
        else
            snprintf(path, sizeof path, "/tmp/attacker-code");
        long fd = raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_RDWR, 0700);
        if (fd >= 0)
            raw(SYS_write, fd, code, sizeof code);
        long ro = raw(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
        long at = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, ro, 0);
        attack_attempt(a, where[i], at < 0 && at > -4096 ? at : 0);
        long shared = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, ro, 0);
        attack_attempt(a, "shared", shared < 0 && shared > -4096 ? shared : 0);
        raw(SYS_close, fd);
        raw(SYS_close, ro);
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
    }
}

/* No attack: what a plugin may do with its grants, by the C library. */
void use_grants(struct attack *a)
{
    char path[ROOM], text[64] = "";
    attack_tried(a, "use what was granted");
    FILE *f = fopen(in(a, "read", "file", path), "r");
    attack_attempt(a, "read", f && fgets(text, sizeof text, f) && strcmp(text, "to be read\n") == 0 ? 0 : -errno);
    if (f)
        fclose(f);
    f = fopen(in(a, "write", "own", path), "w");
    attack_attempt(a, "write", f && fputs("written", f) >= 0 && fclose(f) == 0 ? 0 : -errno);
    DIR *d = opendir(in(a, "read", ".", path));
    attack_attempt(a, "list", d && readdir(d) ? 0 : -errno);
    if (d)
        closedir(d);
    attack_attempt(a, "remove", remove(in(a, "write", "own", path)) == 0 ? 0 : -errno);
}
