/* sandbox/inside_helper: the last step of a moat-helper's wall, taken by the helper itself once its libraries are
 * loaded and before it reads a byte.  Namespaces and limits stand already: the spawner made them before the exec. */
#ifndef SANDBOX_INSIDE_HELPER_H
#define SANDBOX_INSIDE_HELPER_H

#include <stdbool.h>

/* What is left afterwards: descriptors 0 (input) and 1 (output), private memory up to its limit, two seconds of CPU.
 * Anything else kills it (src/sandbox/policy/helper.policy).  No stdio on other descriptors, no files, no threads, no
 * clock but the vdso's.  Call it in main, before anything reads descriptor 0; allocate nothing executable.
 *
 * NULL when locked; else the name of the step that failed (errno says why), and the helper must exit at once. */
const char *
inside_helper_lock(const char *called); /* argv[0]: the spawner says there whether it is without namespaces */

/* The same for an sql helper (helper_sqlite.policy, helper_postgres.policy): descriptors from 0 up to that number are
 * left, and with them the database's two files or one connected socket. It can neither open nor connect anything. */
const char *inside_helper_lock_sql(const char *called, bool postgres, unsigned descriptors);
/* The same for the net helper (helper_net.policy): descriptor 0, a socket to the host, and as many sockets to other
 * machines as its limit on descriptors leaves.  No port of this machine can be bound. */
const char *inside_helper_lock_net(const char *called);

#endif
