/* service/installed: the package of an installed version, opened and checked anew each time it is used, and what is
 * said when it is not what was installed. On a thread of jobs: it reads files.  Private to src/service. */
#ifndef SERVICE_INSTALLED_H
#define SERVICE_INSTALLED_H

#include "service/internal.h"

/* The stored package of a version, with the hash that was installed. A file that is another one, or is not there, marks
 * the version damaged. */
int installed_package(struct job *job, const struct registry_version *v, struct package **out, struct error *err);

/* Signature, key, expiry and hash, and that the registry's manifest is the signed one, which decides what is asked and
 * checked and may have come with an import. *out is the caller's to free; nothing on failure. */
int installed_open(struct job *job, const struct registry_version *v, const struct buf *text, struct package **out,
                   struct error *err);
/* Of an error of these: whatever is wrong with the bytes now, they were verified when they came. */
bool installed_is_damage(int code);
/* The version is set aside; what err says becomes the answer's reason: MOAT_E_PACKAGE_DAMAGED. */
int installed_mark_damaged(struct job *job, const struct registry_version *v, struct error *err);
/* What an operator can do: the same bytes again, or the version that was installed last of those that are whole. */
void installed_cure(struct job *job, const char *name, const char *version, char out[200]);

#endif
