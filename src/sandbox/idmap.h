/* sandbox/idmap: as root, makes a grant's mount on the host's side: detached, with its flags, and with the host's owner
 * of the path shown to the worker as the worker's own user.  So files that only root can read work when root granted
 * them, and what the worker creates belongs to that owner. */
#ifndef SANDBOX_IDMAP_H
#define SANDBOX_IDMAP_H

#include <sys/types.h>

#include "sandbox/wall.h"

/* The detached mount, the caller's; or -1 when this host cannot make one: then the worker makes its own, the plain way.
 * uid, gid: the worker's, as the host counts. */
int idmap_mount(const struct wall_grant *g, uid_t uid, gid_t gid);

#endif
