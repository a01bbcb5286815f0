/* cli/new: writes a small, complete native plugin to start from: the files of src/cli/template.  Runs nothing of it. */
#ifndef CLI_NEW_H
#define CLI_NEW_H

#include "base/error.h"

/* Makes dir, or fills it when it is there and empty; the plugin's name is its last component.
 * MOAT_E_BAD_USAGE: that is no plugin's name, or the directory is not empty. On failure nothing is left. */
int new_write(const char *dir, struct error *err);

#endif
