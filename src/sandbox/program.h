/* sandbox/program: the compiled seccomp filters (from src/sandbox/policy, at build time).  Constant data. */
#ifndef SANDBOX_PROGRAM_H
#define SANDBOX_PROGRAM_H

#include <linux/filter.h>

#define POLICY_SELF 0x4d4f4154u /* SELF in a policy: the process that the filter is set for */

struct policy_program {
    unsigned short length;
    const struct sock_filter *code;
};

/* _quiet: the same without a listener, for kernels or containers where there can be none: what would be explained is
 * left to the other walls, what would be refused is refused. */
extern const struct policy_program policy_worker, policy_worker_quiet;
extern const struct policy_program policy_worker_execute, policy_worker_execute_quiet;
extern const struct policy_program policy_worker_programs, policy_worker_programs_quiet;
extern const struct policy_program policy_worker_execute_programs, policy_worker_execute_programs_quiet;
extern const struct policy_program policy_worker_fallback; /* without namespaces; its SELF is put in when it is set */
extern const struct policy_program policy_worker_last;     /* the second filter … */
extern const struct policy_program policy_worker_last_net; /* … of a worker that gets connections */
extern const struct policy_program policy_helper;
extern const struct policy_program policy_helper_sqlite, policy_helper_postgres;
extern const struct policy_program policy_helper_net; /* with sockets */

#endif
