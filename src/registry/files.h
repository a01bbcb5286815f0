/* registry/files: the packages on the disk, each under its own hash.  Knows no SQL.  Private to src/registry. */
#ifndef REGISTRY_FILES_H
#define REGISTRY_FILES_H

#include "registry/registry.h"

#define FILES_STAGE ".stage-" /* how the name of what was not published begins */

void files_path(const char *plugin_dir, const uint8_t sha256[32], char out[PATH_MAX]);
int files_stage(const char *plugin_dir, const void *bytes, size_t len, struct registry_stage *out, struct error *err);

/* Gives the staged file its name, durably. The stage is empty afterwards. */
int files_publish(const char *plugin_dir, struct registry_stage *stage, const uint8_t sha256[32], struct error *err);
/* What cannot be removed is collected at the next open. */
void files_remove(const char *plugin_dir, const uint8_t sha256[32]);

/* Makes the directory and says in it that it belongs to the registry `id` in `dir`; MOAT_E_WRONG_STATE when it is
 * another one's: its packages would look like strays. */
int files_claim(const char *plugin_dir, const char *id, const char *dir, struct error *err);

/* Removes what was staged and never published, and every package that `wanted` does not know (1 yes, 0 no, <0 error).
 */
int files_collect(const char *plugin_dir, int (*wanted)(void *context, const uint8_t sha256[32], struct error *err),
                  void *context, struct error *err);

#endif
