/* service/install: what install and validate share: a package taken in, and the rules of admission.  Private to
 * src/service. */
#ifndef SERVICE_INSTALL_H
#define SERVICE_INSTALL_H

#include "service/internal.h"

struct intake {
    struct package *package;
    struct unpacked files;
    struct registry_plugin plugin;         /* as it is; empty when there is none of that name */
    char newest[MANIFEST_VERSION_MAX + 1]; /* of what was seen and this one */
    bool takes_name;                       /* from nobody: what was decided for the name does not pass to it */
};
void intake_clear(struct intake *in);

/* Opened, verified and its manifest read. called: what messages call it. */
int intake_read(struct intake *in, struct job *job, const char *path, const char *called, struct error *err);

/* Where findings may be NULL: without it the first thing that keeps the package out is the error; with it each such
 * thing becomes a finding, the rest is looked at all the same, and an error is ours, not the package's. */
int intake_unpack(struct intake *in, struct job *job, struct findings *findings, struct error *err);
/* Must each member of this JSON object equal the manifest's? MOAT_E_METADATA_MISMATCH; text may be NULL. */
int intake_metadata(struct intake *in, const char *text, struct findings *findings, struct error *err);
/* The rules that depend on what is installed: MOAT_E_NAME_NOT_ALLOWED, MOAT_E_ALREADY_EXISTS, MOAT_E_OLDER_VERSION.
 * They need no more than the head. */
int intake_admit(struct intake *in, struct job *job, bool allow_older, struct findings *findings, struct error *err);

uint32_t intake_permissions(const struct manifest *m);

/* Decisions over permissions that the manifest does not ask for: kept, and not in force. */
void tell_unasked(struct buf *out, const char *key, const struct manifest *m, const struct registry_decision *list,
                  size_t count);

#endif
