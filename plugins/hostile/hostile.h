/* hostile: what each attack is given and what it reports.
 *
 * Every attack is real, stays within bounds that do no lasting harm outside a wall, and says what it found. */
#ifndef HOSTILE_HOSTILE_H
#define HOSTILE_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>

#include <moat/plugin.h>

#include "../common/request.h"

/* What happened: one line of `tried`, every single attempt in `detail`. */
struct report {
    bool succeeded; /* at least one attempt did what a plugin must not do */
    int errnum;     /* of the first attempt that was refused */
    char tried[256], detail[1024];
};

struct attack {
    struct moat_call *call;
    const struct moat_host *host;
    const char *text;
    size_t len;
    struct report report;
};

/* Parameters; the defaults stand in for what was left out. */
__attribute__((returns_nonnull)) const char *attack_text(struct attack *a, const char *name, const char *otherwise);
long attack_integer(struct attack *a, const char *name, long otherwise);

__attribute__((format(printf, 2, 3))) void attack_tried(struct attack *a, const char *format, ...);
__attribute__((format(printf, 2, 3))) void attack_detail(struct attack *a, const char *format, ...);

/* Notes one attempt: result is what the system call returned.  true when the kernel let it through. */
bool attack_attempt(struct attack *a, const char *what, long result);

typedef void attack_run(struct attack *a);

/* Runs the attack of that name and answers its report; the table ends with a NULL name. */
struct attack_row {
    const char *name;
    attack_run *run;
};
bool attack_run_named(const struct attack_row *rows, const char *name, struct attack *a);

attack_run read_secret, write_outside, read_environment, mount_something;                     /* files.c */
attack_run connect_tcp, connect_unix, raw_socket;                                             /* network.c */
attack_run list_host_processes, signal_host, ptrace_host, exec_shell, fork_bomb, memory_bomb, /* processes.c */
    overrun_deadline, crash;
attack_run map_executable, nested_namespace, io_uring, kernel_surface, keyctl_keyring, scribble; /* kernel.c */

#endif
