/* service/programs_need: the dynamic loader and the libraries of the programs that a plugin may start, found as the
 * loader would find them.  Which those are says moat-helper, behind its wall; the host reads no program.  Jobs threads.
 */
#ifndef SERVICE_PROGRAMS_NEED_H
#define SERVICE_PROGRAMS_NEED_H

#include "loader/loader.h"
#include "policy/policy.h"

/* Adds them to the spec's programs. MOAT_E_START_FAILED names what is not there, and the script whose interpreter was
 * not granted: that is a program of its own. */
int programs_need(struct spec *s, const struct policy_answer *a, struct spawner *spawner, struct error *err);

#endif
