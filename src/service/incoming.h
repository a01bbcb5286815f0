/* service/incoming: files that were put into PLUGIN_DIR's `incoming`, by a path inside it. */
#ifndef SERVICE_INCOMING_H
#define SERVICE_INCOMING_H

#include "service/service.h"

/* A descriptor of the caller's, of a regular file: no way out of the directory, links included, and it names the very
 * file that was looked at. MOAT_E_NO_SUCH_FILE, MOAT_E_BAD_REQUEST; `what` names the path in messages. */
int incoming_open(const struct home *home, const char *what, const char *path, int *fd, struct error *err);

#endif
