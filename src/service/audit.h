/* service/audit: what the audit trail is outside the registry: segments that were rotated out, and signed heads.
 * docs/audit.md says both to the byte.  Private to src/service. */
#ifndef SERVICE_AUDIT_H
#define SERVICE_AUDIT_H

#include "package/key.h"
#include "registry/registry.h"

#define AUDIT_LINE_MAX (128 * 1024)
#define AUDIT_SEGMENTS "audit" /* the directory beside the registry */

/* The text that is signed. */
#define AUDIT_SIGNED_MAX 256
size_t audit_signed_text(const char *identity, const struct registry_audit_head *head, char out[AUDIT_SIGNED_MAX]);

/* ---- a segment: JSON lines, one for where it begins, one for each record ---- */

/* Writes the records up to `upto` into dir/FIRST-LAST.jsonl, durably. name gets the file's name, last its end. */
int segment_write(struct registry_reader *reader, const char *dir, uint64_t upto, char name[64],
                  struct registry_audit_head *last, struct error *err);

struct segment_check {
    struct registry_audit_head from, upto; /* from: what its first record follows */
    uint64_t bad;                          /* as registry_audit_check's */
    char problem[200];                     /* empty: it is whole */
    bool anchored;                         /* it has the anchor's record, as the anchor says */
};
/* Any bytes. */
void segment_check_text(const char *text, size_t len, const struct registry_audit_head *anchor,
                        struct segment_check *out);
/* The same for a file, a line at a time; MOAT_E_STORAGE_FAILED. */
int segment_check_file(const char *path, const struct registry_audit_head *anchor, struct segment_check *out,
                       struct error *err);

#endif
