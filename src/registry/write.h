/* registry/write: what each command does.  Runs on the store thread, inside the command's savepoint.
 *
 * A new verb is a function here, one row of the table in verbs.c (which says how the audit trail tells of it), and its
 * part of struct registry_command.  Private to src/registry. */
#ifndef REGISTRY_WRITE_H
#define REGISTRY_WRITE_H

#include "registry/internal.h"

/* Runs the command and appends its record to the audit trail; 0, or an error, which rolls the savepoint back. */
int write_run(struct registry *r, struct registry_command *command, struct error *err);

/* registry_epoch tells nothing of it. */
bool verb_keeps_epoch(enum registry_verb verb);

/* What the trail calls a command (action NULL: it does not tell of it), and what it is about. */
void verb_describe(const struct registry_command *c, const char **action, char subject[REGISTRY_SUBJECT_MAX + 1]);

/* What a verb's function answers: an error, or one of these. now: seconds. */
enum { WRITE_CHANGED, WRITE_NOTHING_NEW /* no record of the trail */ };
#define WRITE_VERB(name) int name(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
WRITE_VERB(write_trust_add);
WRITE_VERB(write_trust_revoke);
WRITE_VERB(write_trust_names);
WRITE_VERB(write_transfer);
WRITE_VERB(write_install);
WRITE_VERB(write_uninstall);
WRITE_VERB(write_use);
WRITE_VERB(write_want);
WRITE_VERB(write_damage);
WRITE_VERB(write_decide);
WRITE_VERB(write_undecide);
WRITE_VERB(write_set);
WRITE_VERB(write_rollback);
WRITE_VERB(write_pin);
WRITE_VERB(write_activate);
WRITE_VERB(write_mark);
WRITE_VERB(write_configure);
WRITE_VERB(write_guard_end);
WRITE_VERB(write_import);
WRITE_VERB(write_apply);
WRITE_VERB(write_ceiling_set);
WRITE_VERB(write_ceiling_remove);
WRITE_VERB(write_source_add);
WRITE_VERB(write_source_remove);
WRITE_VERB(write_grant_end);
WRITE_VERB(write_grant_weighed);
WRITE_VERB(write_home_time);
WRITE_VERB(write_token_add);
WRITE_VERB(write_token_revoke);
WRITE_VERB(write_token_used);
WRITE_VERB(write_note);
WRITE_VERB(write_mend);
WRITE_VERB(write_flush);
WRITE_VERB(write_audit_rotate);
WRITE_VERB(write_audit_sign);

/* ---- what they share ---- */

/* The first column of the row of that name, or 0. */
int write_row_id(struct registry *r, struct error *err, int64_t *id, const char *sql, const char *name);
int write_plugin_id(struct registry *r, const char *name, int64_t *id, struct error *err); /* 0: never heard of */
/* A plugin with at least one version, else MOAT_E_NO_SUCH_PLUGIN. */
int write_installed_id(struct registry *r, const char *name, int64_t *id, struct error *err);
/* Or MOAT_E_NO_SUCH_VERSION. */
int write_version_id(struct registry *r, int64_t plugin, const char *name, const char *version, int64_t *id,
                     struct error *err);
/* May it become current? MOAT_E_WRONG_STATE when it is damaged or archived, or the plugin is pinned to another. */
int write_may_be_current(struct registry *r, int64_t plugin, const char *name, int64_t version, const char *text,
                         struct error *err);
/* MOAT_E_LIMIT: more than REGISTRY_GRANTS_MAX. */
int write_check_grants(struct registry *r, int64_t plugin, struct error *err);
int write_decisions(struct registry *r, int64_t plugin, const struct registry_decision *list, size_t count,
                    uint64_t now, struct error *err);

/* What two verbs write. write_ceiling: WRITE_NOTHING_NEW when it is there. */
int write_ceiling(struct registry *r, const char *subject, int permission, const char *scope, uint64_t at,
                  struct error *err);
int write_source(struct registry *r, const char *name, const char *kind, const char *place, uint64_t at,
                 struct error *err);

#endif
