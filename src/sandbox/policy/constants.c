#include "policy.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef MAP_TYPE
#define MAP_TYPE 0x0f
#endif

#define C(name) \
    { \
#name, (uint64_t)name \
    }
static const struct {
    const char *name;
    uint64_t value;
} constants[] = {
    {"SELF", 0x4d4f4154}, /* POLICY_SELF of sandbox/program.h */
    {"NET", 4},           /* WORKER_NET of sandbox/messages.h */
    C(O_PATH),
    C(O_ACCMODE),
    C(O_RDONLY),
    C(O_WRONLY),
    C(O_RDWR),
    C(PROT_READ),
    C(PROT_WRITE),
    C(PROT_EXEC),
    C(PROT_GROWSDOWN),
    C(PROT_GROWSUP),
    C(MAP_TYPE),
    C(MAP_SHARED),
    C(MAP_PRIVATE),
    C(MAP_ANONYMOUS),
    C(MAP_GROWSDOWN),
    C(MAP_HUGETLB),
    C(MADV_MERGEABLE),
    C(CLONE_VM),
    C(CLONE_THREAD),
    C(CLONE_VFORK),
    C(CLONE_FILES),
    C(CLONE_SIGHAND),
    C(CLONE_PARENT),
    C(CLONE_PTRACE),
    C(CLONE_NEWNS),
    C(CLONE_NEWCGROUP),
    C(CLONE_NEWUTS),
    C(CLONE_NEWIPC),
    C(CLONE_NEWUSER),
    C(CLONE_NEWPID),
    C(CLONE_NEWNET),
    C(F_DUPFD),
    C(F_DUPFD_CLOEXEC),
    C(F_GETFD),
    C(F_SETFD),
    C(F_GETFL),
    C(F_SETFL),
    C(F_GETLK),
    C(F_SETLK),
    C(F_SETLKW),
    C(F_OFD_GETLK),
    C(F_OFD_SETLK),
    C(F_OFD_SETLKW),
    C(S_ISUID),
    C(S_ISGID),
    C(TCGETS),
    C(PR_SET_NAME),
    C(AF_INET),
    C(AF_INET6),
    C(SOCK_STREAM),
    C(SOCK_DGRAM),
    {"ARCH_SET_FS", ARCH_SET_FS},
    {"ARCH_CET_STATUS", ARCH_CET_STATUS},
    {"SOCK_KIND", 0xf}, /* the rest are SOCK_CLOEXEC and SOCK_NONBLOCK */
    {"FUTEX_CMD_MASK", 0x7f},
    {"FUTEX_WAIT", 0},
    {"FUTEX_WAKE", 1},
    {"FUTEX_REQUEUE", 3},
    {"FUTEX_CMP_REQUEUE", 4},
    {"FUTEX_WAKE_OP", 5},
    {"FUTEX_WAIT_BITSET", 9},
    {"FUTEX_WAKE_BITSET", 10},
};
#undef C

static bool one(const char *text, size_t len, uint64_t *out)
{
    char word[64];
    if (len == 0 || len >= sizeof word)
        return false;
    memcpy(word, text, len);
    word[len] = '\0';
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (strcmp(constants[i].name, word) == 0) {
            *out = constants[i].value;
            return true;
        }
    }
    char *end;
    errno = 0;
    *out = strtoull(word, &end, 0);
    return *end == '\0' && errno == 0 && word[0] >= '0' && word[0] <= '9';
}

bool constant_parse(const char *text, uint64_t *out)
{
    uint64_t all = 0, bits;
    for (;;) {
        size_t len = strcspn(text, "|");
        if (!one(text, len, &bits))
            return false;
        all |= bits;
        if (!text[len])
            break;
        text += len + 1;
    }
    *out = all;
    return true;
}

int errno_parse(const char *name)
{
    static const struct {
        const char *name;
        int value;
    } errors[] = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EACCES", EACCES}, {"EINVAL", EINVAL}, {"ENOENT", ENOENT}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].value;
    return 0;
}
