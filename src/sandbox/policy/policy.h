/* policy/policy: a seccomp policy as its text says it.  Build time only: shared by the parser, the lint and the emitter
 * of policyc.  docs/walls.md describes the language. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_LEN 32
#define GROUPS_MAX 64
#define RULES_MAX 512
#define TESTS_MAX 3

#ifndef ARCH_SET_FS /* of x86-64's asm/prctl.h, which other architectures lack */
#define ARCH_SET_FS 0x1002
#endif
#define ARCH_CET_STATUS 0x3001 /* of a kernel that never came; the C library asks all the same */

enum action {
    ACT_ALLOW,
    ACT_EXPLAIN, /* asked of the host, which may leave it to the kernel's walls; without a listener: allow */
    ACT_NOTIFY,  /* asked of the host, which refuses; without a listener: EPERM */
    ACT_ERRNO,
    ACT_KILL,
};

enum compare { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };

/* (argument & mask) compare value; mask is all ones when the text has none. */
struct test {
    unsigned argument;
    uint64_t mask, value;
    enum compare compare;
};

struct rule {
    enum action action;
    int errnum;
    int number; /* libseccomp's, native; negative for a call that this architecture lacks */
    char name[NAME_MAX_LEN];
    struct test tests[TESTS_MAX];
    unsigned ntests;
    char when[320]; /* the tests as they are written, or empty */
    unsigned group;
    unsigned line;
};

struct group {
    char name[NAME_MAX_LEN];
    char file[128];
    char reason[200];
    bool replaced;
};

struct policy {
    char name[NAME_MAX_LEN];
    enum action fallback; /* the default action */
    int fallback_errno;
    bool has_fallback, relaxed; /* relaxed: W^X is not asked for, with a reason */
    bool relaxed_net;           /* sockets may be made, with a reason */
    bool relaxed_programs;      /* programs may be started, with a reason */
    struct group groups[GROUPS_MAX];
    unsigned ngroups;
    struct rule rules[RULES_MAX];
    unsigned nrules;
    unsigned faults; /* said on standard error */
};

/* Reads a policy and what it uses; every fault is printed with file and line and counted. */
void policy_read(const char *path, struct policy *out);

/* Refuses what no policy of ours may say; counts faults. */
void policy_lint(struct policy *p);

__attribute__((format(printf, 4, 5))) void policy_fault(struct policy *p, const char *file, unsigned line,
                                                        const char *format, ...);

/* A named constant or a number, joined by |. */
bool constant_parse(const char *text, uint64_t *out);
int errno_parse(const char *name); /* 0: unknown */

#endif
