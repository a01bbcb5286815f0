/* cli/show: parts of results that several commands show. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "cli/cli.h"

void show_needs(const json_t *result);            /* `needs_grant` and `not_asked_for` */
void show_permissions(const json_t *permissions); /* an array; nothing when it is empty */
void show_warnings(const json_t *result);         /* `warnings`, on standard error */
void show_diff(struct cli *c, const json_t *result);
/* `findings`, one a line; the exit status of the first. */
int show_findings(const json_t *findings);

#endif
