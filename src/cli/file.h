/* cli/file: the user's own files, with errors that name them. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include <limits.h>

#include "cli/cli.h"

/* A readable regular file as the body of a; MOAT_E_NO_SUCH_FILE. */
int file_as_body(struct ask *a, const char *path, struct error *err);
/* Standard input to its end, at most max bytes. */
int file_read_stdin(struct buf *out, struct error *err);

/* file as a path from the root: the owner of the home may be another process, with another directory. */
int file_from_root(const char *file, char out[PATH_MAX], struct error *err);

/* Asks, and the successful answer becomes the file at path, whole or not at all; "-" is standard output. 0 or the exit
 * status of a failure that was reported. */
int file_from_answer(struct cli *c, struct ask *a, const char *path);

#endif
