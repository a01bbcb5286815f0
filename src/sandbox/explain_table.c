#include "sandbox/explain_table.h"

#include <stddef.h>
#include <sys/syscall.h>

#include "base/words.h"
#include "syscall_names.h"

#define FILES PERMISSION_FILE_WRITE
#define CODE PERMISSION_EXECUTE_CODE
#define NET PERMISSION_NETWORK_ACCESS

static const struct explain_row rows[] = {
/* number, operation, permission, object, dir, path, flags, mode, dir2, path2 */
#ifdef SYS_open
    {SYS_open, "open", FILES, OBJECT_OPEN, -1, 0, 1, 2, -1, -1},
    {SYS_creat, "create a file", FILES, OBJECT_CHANGE, -1, 0, -1, 1, -1, -1},
    {SYS_mkdir, "create a directory", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_rmdir, "remove a directory", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_unlink, "remove a file", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_rename, "rename", FILES, OBJECT_PAIR, -1, 0, -1, -1, -1, 1},
    {SYS_link, "link", FILES, OBJECT_PAIR, -1, 0, -1, -1, -1, 1},
    {SYS_chmod, "change the mode", FILES, OBJECT_CHANGE, -1, 0, -1, 1, -1, -1},
    {SYS_utime, "change the times", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_utimes, "change the times", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_futimesat, "change the times", FILES, OBJECT_CHANGE, 0, 1, -1, -1, -1, -1},
    {SYS_stat, "look at a file", FILES, OBJECT_LOOK, -1, 0, -1, -1, -1, -1},
    {SYS_lstat, "look at a file", FILES, OBJECT_LOOK, -1, 0, -1, -1, -1, -1},
    {SYS_access, "look at a file", FILES, OBJECT_LOOK, -1, 0, -1, -1, -1, -1},
    {SYS_readlink, "read a link", FILES, OBJECT_LOOK, -1, 0, -1, -1, -1, -1},
    {SYS_symlink, "make a symbolic link", -1, OBJECT_PATH, -1, 1, -1, -1, -1, -1},
    {SYS_mknod, "make a device", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_chown, "change the owner", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_lchown, "change the owner", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_fork, "start a process", CODE, OBJECT_START, -1, -1, -1, -1, -1, -1},
    {SYS_vfork, "start a process", CODE, OBJECT_START, -1, -1, -1, -1, -1, -1},
#endif
    {SYS_openat, "open", FILES, OBJECT_OPEN, 0, 1, 2, 3, -1, -1},
    {SYS_newfstatat, "look at a file", FILES, OBJECT_LOOK, 0, 1, 3, -1, -1, -1},
    {SYS_statx, "look at a file", FILES, OBJECT_LOOK, 0, 1, 2, -1, -1, -1},
    {SYS_faccessat, "look at a file", FILES, OBJECT_LOOK, 0, 1, -1, -1, -1, -1},
    {SYS_faccessat2, "look at a file", FILES, OBJECT_LOOK, 0, 1, 3, -1, -1, -1},
    {SYS_readlinkat, "read a link", FILES, OBJECT_LOOK, 0, 1, -1, -1, -1, -1},
    {SYS_chdir, "change the directory", FILES, OBJECT_LOOK, -1, 0, -1, -1, -1, -1},
    {SYS_truncate, "truncate", FILES, OBJECT_CHANGE, -1, 0, -1, -1, -1, -1},
    {SYS_mkdirat, "create a directory", FILES, OBJECT_CHANGE, 0, 1, -1, -1, -1, -1},
    {SYS_unlinkat, "remove", FILES, OBJECT_CHANGE, 0, 1, -1, -1, -1, -1},
#ifdef SYS_renameat
    {SYS_renameat, "rename", FILES, OBJECT_PAIR, 0, 1, -1, -1, 2, 3},
#endif
    {SYS_renameat2, "rename", FILES, OBJECT_PAIR, 0, 1, -1, -1, 2, 3},
    {SYS_linkat, "link", FILES, OBJECT_PAIR, 0, 1, -1, -1, 2, 3},
    {SYS_fchmodat, "change the mode", FILES, OBJECT_CHANGE, 0, 1, -1, 2, -1, -1},
#ifdef SYS_fchmodat2
    {SYS_fchmodat2, "change the mode", FILES, OBJECT_CHANGE, 0, 1, -1, 2, -1, -1},
#endif
    {SYS_utimensat, "change the times", FILES, OBJECT_CHANGE, 0, 1, -1, -1, -1, -1},
    {SYS_symlinkat, "make a symbolic link", -1, OBJECT_PATH, 1, 2, -1, -1, -1, -1},
    {SYS_mknodat, "make a device", -1, OBJECT_PATH, 0, 1, -1, -1, -1, -1},
    {SYS_fchownat, "change the owner", -1, OBJECT_PATH, 0, 1, -1, -1, -1, -1},
    {SYS_setxattr, "setxattr", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_chroot, "chroot", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_mount, "mount", -1, OBJECT_PATH, -1, 1, -1, -1, -1, -1},
    {SYS_umount2, "umount", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_pivot_root, "pivot_root", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_statfs, "statfs", -1, OBJECT_PATH, -1, 0, -1, -1, -1, -1},
    {SYS_memfd_create, "memfd_create", -1, OBJECT_NONE, -1, -1, -1, -1, -1, -1},
    {SYS_clone, "start a process", CODE, OBJECT_START, -1, -1, 0, -1, -1, -1},
    {SYS_execve, "execute a program", CODE, OBJECT_PROGRAM, -1, 0, -1, -1, -1, -1},
    {SYS_execveat, "execute a program", CODE, OBJECT_PATH, 0, 1, -1, -1, -1, -1},
    {SYS_mmap, "map memory", CODE, OBJECT_MEMORY, -1, -1, -1, -1, -1, -1},
    {SYS_mprotect, "change memory", CODE, OBJECT_MEMORY, -1, -1, -1, -1, -1, -1},
    {SYS_pkey_mprotect, "change memory", CODE, OBJECT_MEMORY, -1, -1, -1, -1, -1, -1},
    {SYS_socket, "open a socket", NET, OBJECT_FAMILY, -1, -1, -1, -1, -1, -1},
    {SYS_socketpair, "open a socket pair", -1, OBJECT_FAMILY, -1, -1, -1, -1, -1, -1},
    {SYS_connect, "connect", NET, OBJECT_ADDRESS, -1, 1, -1, -1, -1, -1},
    {SYS_bind, "bind", NET, OBJECT_ADDRESS, -1, 1, -1, -1, -1, -1},
    {SYS_listen, "listen", NET, OBJECT_NONE, -1, -1, -1, -1, -1, -1},
    {SYS_accept4, "accept", NET, OBJECT_NONE, -1, -1, -1, -1, -1, -1},
    {SYS_sendto, "send", NET, OBJECT_ADDRESS, -1, 4, -1, -1, -1, -1},
    {SYS_kill, "signal a process", -1, OBJECT_PROCESS, -1, 0, -1, -1, -1, -1},
    {SYS_ptrace, "ptrace", -1, OBJECT_PROCESS, -1, 1, -1, -1, -1, -1},
    {SYS_process_vm_readv, "process_vm_readv", -1, OBJECT_PROCESS, -1, 0, -1, -1, -1, -1},
    {SYS_process_vm_writev, "process_vm_writev", -1, OBJECT_PROCESS, -1, 0, -1, -1, -1, -1},
};

const struct explain_row *explain_find(int number)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

const char *explain_syscall_name(int number)
{
    return number >= 0 && (size_t)number < sizeof syscall_names / sizeof *syscall_names ? syscall_names[number] : NULL;
}
