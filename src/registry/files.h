/* registry/files: the packages on the disk, each under its own hash.  Knows no SQL.  Private to src/registry.
 *
 * sha256/HEX.moat: the packages.
 *
 * stage/.stage-*: on their way: written and synced, without a name yet.
 *
 * stage/HEX: a mark: the package of this hash may be one too many there (it is being published, dropped or set aside)
 * until a transaction has ended.  Made before it, so that a process that dies leaves it behind.
 *
 * damaged/HEX.moat: what was found to be other bytes than were installed: set aside, never deleted by us.
 *
 * owner: which registry all of this belongs to. */
#ifndef REGISTRY_FILES_H
#define REGISTRY_FILES_H

#include "registry/registry.h"

#define FILES_STAGE ".stage-" /* how the name of what was not published begins */

void files_path(const char *plugin_dir, const uint8_t sha256[32], char out[PATH_MAX]);
/* The packages' directory, to look for many of them; -1: nothing is there. The caller closes it. */
int files_open(const char *plugin_dir);
bool files_is_there(int packages, const uint8_t sha256[32]);
int files_stage(const char *plugin_dir, const void *bytes, size_t len, struct registry_stage *out, struct error *err);

/* Before a package is published, dropped or found damaged. */
int files_mark(const char *plugin_dir, const uint8_t sha256[32], struct error *err);
/* Gives the staged file its name, durably. The stage is empty afterwards. */
int files_publish(const char *plugin_dir, struct registry_stage *stage, const uint8_t sha256[32], struct error *err);
/* After the transaction: an unwanted package goes, a damaged one into damaged/, then its mark. What cannot be done now
 * is at the next open. */
enum files_fate { FILES_UNWANTED, FILES_WANTED, FILES_DAMAGED };
void files_settle(const char *plugin_dir, const uint8_t sha256[32], enum files_fate fate);

/* Makes the directories and says in there that they belong to the registry `id` in `dir`; MOAT_E_WRONG_STATE when they
 * are another one's: its packages would look like strays.  *fresh: there was no stage/ yet. */
int files_claim(const char *plugin_dir, const char *id, const char *dir, bool *fresh, struct error *err);

/* An enum files_fate, or an error. */
typedef int (*files_wanted)(void *context, const uint8_t sha256[32], struct error *err);
/* At open, cheap: removes what was staged and never published, and settles what is marked. */
int files_settle_marked(const char *plugin_dir, files_wanted wanted, void *context, struct error *err);
/* Every package that nobody wants goes: looks at each. *removed: how many. */
int files_collect(const char *plugin_dir, files_wanted wanted, void *context, uint64_t *removed, struct error *err);

#endif
