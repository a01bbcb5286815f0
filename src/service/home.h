/* service/home: where one Moat keeps what it owns, and who holds it.  Owns the lock file. */
#ifndef SERVICE_HOME_H
#define SERVICE_HOME_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct home {
    char dir[PATH_MAX];          /* --home, MOAT_HOME, /var/lib/moat or $XDG_DATA_HOME/moat */
    char plugin_dir[PATH_MAX];   /* PLUGIN_DIR, or dir/packages; its `incoming` takes uploads */
    char registry_dir[PATH_MAX]; /* REGISTRY_DIR, or dir/registry */
    char socket[PATH_MAX];       /* registry_dir/moat.sock */
    char lock[PATH_MAX];         /* registry_dir/lock */
};

/* Arguments win over the environment; NULL means not given. Creates nothing. */
int home_resolve(const char *dir, const char *plugin_dir, const char *registry_dir, struct home *out,
                 struct error *err);

/* Who holds the lock, as the holder wrote it into the lock file. */
struct home_owner {
    pid_t pid;
    bool server;
};

/* Creates the directories (0700) and takes the lock; *fd is the lock, close it to let go. Held by someone else:
 * -MOAT_E_HOME_BUSY with *owner filled, at once. */
int home_lock(const struct home *home, bool server, int *fd, struct home_owner *owner, struct error *err);

#endif
