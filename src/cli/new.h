/* cli/new: writes a small, complete native plugin to start from.  Owns the template; runs nothing of it. */
#ifndef CLI_NEW_H
#define CLI_NEW_H

#include "base/error.h"

/* Makes dir, or fills it when it is there and empty; the plugin's name is its last component.
 * MOAT_E_BAD_USAGE: that is no plugin's name, or the directory is not empty. On failure nothing is left. */
int new_write(const char *dir, struct error *err);

/* The files of the template, in the order of writing.  @NAME@, @MOAT@ and @INCLUDE@ stand for what differs. */
struct new_file {
    const char *name, *text;
};
extern const struct new_file new_files[];
extern const size_t new_nfiles;

#endif
