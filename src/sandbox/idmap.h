/* sandbox/idmap: as root, makes a grant's mount on the host's side: detached, with its flags, and with the host's owner
 * of the path shown to the worker as the worker's own user.  So files that only root can read work when root granted
 * them, and what the worker creates belongs to that owner. */
#ifndef SANDBOX_IDMAP_H
#define SANDBOX_IDMAP_H

#include <sys/types.h>

#include "sandbox/wall.h"

/* The maps of the last grant: grants of one plugin mostly have one owner. */
struct idmap {
    uid_t uid; /* the worker's, as the host counts */
    gid_t gid;
    uid_t owner_uid;
    gid_t owner_gid;
    int mapping; /* a user namespace, or -1 */
};

#define IDMAP_INIT(u, g) ((struct idmap){.uid = (u), .gid = (g), .mapping = -1})

void idmap_clear(struct idmap *m);

/* *out is the detached mount, the caller's; or -1 when this host cannot make one: then the worker makes its own, the
 * plain way.  program: it may be executed.  An error when the path is no longer what was granted. */
int idmap_mount(struct idmap *m, const struct wall_grant *g, bool program, int *out, struct error *err);

#endif
