/* cli/learn_place: a home to be thrown away, in which a plugin may ask for everything and has nothing: development
 * mode, behind the same walls, below the ceilings of the home that it is learned for.  Nothing in that other home
 * changes. Private to src/cli. */
#ifndef CLI_LEARN_PLACE_H
#define CLI_LEARN_PLACE_H

#include "cli/cli.h"

struct learn_place {
    struct cli cli; /* what is asked with it is asked of the home that is thrown away */
    char dir[PATH_MAX], name[64], version[80], publisher[80];
    json_t *manifest; /* as the author wrote it */
    bool bounded;     /* there is a home whose ceilings hold */
};

/* what: a package's file (with a "/", or *.moat), or the name of an installed plugin, whose configuration is taken
 * along, but for secrets. 0, or the exit status of a failure that was reported; in any case learn_place_remove. */
int learn_place_make(struct cli *c, const char *what, struct learn_place *out);
void learn_place_remove(struct learn_place *place);

#endif
