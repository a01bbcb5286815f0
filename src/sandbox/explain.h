/* sandbox/explain: one seccomp notification at a time becomes an answer to the worker and, when it was refused, an
 * event that says what was tried.  It only ever refuses, or leaves the call to the kernel's walls, which hold anyway;
 * nothing read from the plugin's memory ever allows something.  Owned by the explain thread; may block briefly. */
#ifndef SANDBOX_EXPLAIN_H
#define SANDBOX_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/wall.h"

struct explain_event {
    bool denied;
    int syscall;
    int permission;             /* enum permission that would have allowed it; -1: nothing can */
    char operation[32];         /* "open for reading", "connect", "execve", … or the system call's name */
    char object[WALL_PATH_MAX]; /* a path, an address, or empty (a process: of some program); neutralised */
    char wall[32];              /* the layer that refuses: "mounts", "seccomp", "W^X", … */
};

/* Prepares a listener received with WALL_BUILT (SYNC_WAKE_UP where the kernel has it). */
void explain_setup(int listener);

/* Is it a listener still? What took its number, or broke it, answers nobody's questions. */
bool explain_holds(int listener);

/* Takes one waiting notification, of the worker or of what it started, and answers it by what the worker was given.
 * 1: *out is filled; 0: nothing was waiting; -1: the worker is gone. */
int explain_next(int listener, const struct child *worker, const struct wall_request *given, struct explain_event *out);

#endif
