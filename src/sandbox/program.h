/* sandbox/program: the compiled seccomp filters (from src/sandbox/policy, at build time).  Constant data. */
#ifndef SANDBOX_PROGRAM_H
#define SANDBOX_PROGRAM_H

#include <linux/filter.h>

struct policy_program {
    unsigned short length;
    const struct sock_filter *code;
};

/* _quiet: the same without a listener, for kernels or containers where there can be none: what would be explained is
 * left to the other walls, what would be refused is refused. */
extern const struct policy_program policy_worker, policy_worker_quiet;
extern const struct policy_program policy_worker_execute, policy_worker_execute_quiet;
extern const struct policy_program policy_worker_last; /* the second filter */
extern const struct policy_program policy_helper;

#endif
