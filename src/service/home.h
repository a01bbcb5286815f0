/* service/home: where one Moat keeps what it owns, and who holds it.  Owns the lock file. */
#ifndef SERVICE_HOME_H
#define SERVICE_HOME_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* What a home is opened for. Who asks for nothing gets a secure home, and no other. */
enum home_mode {
    HOME_SECURE,
    HOME_DEVELOPMENT, /* unsigned packages run; only a home that is new, or was made for it */
    HOME_AS_IT_IS,    /* for commands */
};

/* What a home remembers of development mode. */
enum home_development { HOME_NEVER, HOME_ON, HOME_PAST };
const char *home_development_name(enum home_development d); /* "never", "on", "past" */

struct home {
    char dir[PATH_MAX];          /* --home, MOAT_HOME, /var/lib/moat or $XDG_DATA_HOME/moat */
    char plugin_dir[PATH_MAX];   /* PLUGIN_DIR, or dir/packages; its `incoming` takes uploads */
    char registry_dir[PATH_MAX]; /* REGISTRY_DIR, or dir/registry */
    char socket[PATH_MAX];       /* registry_dir/moat.sock */
    char lock[PATH_MAX];         /* registry_dir/lock */
    enum home_mode mode;
    enum home_development development; /* once it is locked */
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
 * -MOAT_E_HOME_BUSY with *owner filled, at once. A home that is recorded in the other mode than home->mode, or with
 * other directories, is MOAT_E_WRONG_STATE. */
int home_lock(struct home *home, bool server, int *fd, struct home_owner *owner, struct error *err);

/* Ends development mode for good; the lock is held. */
int home_secure(struct home *home, struct error *err);

/* What the record says, without the lock; HOME_NEVER where there is none. */
enum home_development home_peek(const struct home *home);

#endif
