/* The table of verbs: what each does, and how the audit trail tells of it.  No record without a change, no change
 * without its record: both happen in the command's savepoint. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "registry/audit.h"
#include "registry/dump.h"
#include "registry/write.h"

/* The members of the record's detail. Never a secret: a token's hash, a configuration's or a setting's value. */
typedef void (*verb_tell)(const struct registry_command *c, struct buf *detail);

/* ---- details ---- */

static void tell_trust_add(const struct registry_command *c, struct buf *out)
{
    audit_put_hex(out, "key", c->trust_add.id, 32);
    audit_put_text(out, "names", c->trust_add.names);
}

static void tell_trust_revoke(const struct registry_command *c, struct buf *out)
{
    audit_put_hex(out, "key", c->trust_revoke.key, 32);
}

static void tell_trust_names(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "names", c->trust_names.names);
}

static void tell_transfer(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "from", c->transfer.before);
    audit_put_text(out, "to", c->transfer.publisher);
}

static void tell_decisions(struct buf *out, const struct registry_decision *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s{\"permission\":%d", i ? "," : "", list[i].permission);
        audit_put_text(out, "scope", list[i].scope);
        if (list[i].refused)
            buf_puts(out, ",\"refused\":true");
        if (list[i].until)
            audit_put_number(out, "until", list[i].until);
        buf_putc(out, '}');
    }
}

static void tell_install(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->install.version);
    audit_put_hex(out, "sha256", c->install.sha256, 32);
    audit_put_hex(out, "key", c->install.key, 32);
    buf_printf(out, ",\"current\":%s", c->install.current ? "true" : "false");
    if (c->install.already)
        buf_puts(out, ",\"already\":true");
    if (c->install.ndecisions) {
        buf_puts(out, ",\"grants\":[");
        tell_decisions(out, c->install.decisions, c->install.ndecisions);
        buf_putc(out, ']');
    }
}

static void tell_uninstall(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->uninstall.version);
    audit_put_number(out, "removed", c->uninstall.removed);
    if (c->uninstall.purge)
        buf_puts(out, ",\"purge\":true");
}

static void tell_use(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->use.version);
    if (c->use.evidence)
        buf_printf(out, ",\"canary\":%s", c->use.evidence);
}

static void tell_canary_start(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->canary.version);
    audit_put_number(out, "percent", c->canary.percent);
}

static void tell_canary_end(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->canary.version);
    audit_put_text(out, "outcome", c->canary.outcome);
    audit_put_text(out, "why", c->canary.why);
    buf_printf(out, ",\"canary\":%s", c->canary.evidence);
}

static void tell_parameter(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "outcome", c->parameter.outcome);
    audit_put_text(out, "why", c->parameter.why);
    buf_printf(out, ",\"from\":%s,\"to\":%s", c->parameter.from, c->parameter.to);
}

static void tell_rollback(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->rollback.version);
}

static void tell_pin(const struct registry_command *c, struct buf *out)
{
    buf_printf(out, "\"pinned\":%s", c->pin.on ? "true" : "false");
}

static void tell_activate(const struct registry_command *c, struct buf *out)
{
    buf_printf(out, "\"active\":%s", c->activate.on ? "true" : "false");
}

static void tell_mark(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->mark.version);
    audit_put_text(out, "state", c->mark.on ? registry_state_name(c->mark.state) : "available");
    if (c->mark.on && *c->mark.reason)
        audit_put_text(out, "reason", c->mark.reason);
}

static void tell_configure(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "revision", c->configure.expected + 1);
    if (c->configure.guard)
        audit_put_text(out, "guard", c->configure.guard);
}

static void tell_guard_end(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "revision", c->guard_end.revision);
    audit_put_text(out, "outcome", c->guard_end.outcome);
    audit_put_text(out, "why", c->guard_end.why);
    if (c->guard_end.back) {
        audit_put_number(out, "base", c->guard_end.base);
        audit_put_number(out, "back", c->guard_end.revision + 1);
    }
    buf_printf(out, ",\"guard\":%s", c->guard_end.evidence);
}

static void tell_import(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "plugins", c->import.records->plugins);
    audit_put_number(out, "versions", c->import.records->versions);
    audit_put_number(out, "added", c->import.records->added);
    if (c->import.records->ceilings)
        audit_put_number(out, "ceilings", c->import.records->ceilings);
    if (c->import.records->sources)
        audit_put_number(out, "sources", c->import.records->sources);
}

static void tell_apply(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "plugins", c->apply.plugins);
    audit_put_number(out, "changes", c->apply.changes);
}

static void tell_damage(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "version", c->damage.version);
}

static void tell_want(const struct registry_command *c, struct buf *out)
{
    static const char *const names[] = {"lazy", "loaded", "stopped"};
    audit_put_text(out, "wanted", names[c->want.wanted]);
}

static void tell_decide(const struct registry_command *c, struct buf *out)
{
    buf_puts(out, "\"decisions\":[");
    tell_decisions(out, c->decide.list, c->decide.count);
    buf_putc(out, ']');
}

static void tell_undecide(const struct registry_command *c, struct buf *out)
{
    buf_puts(out, "\"decisions\":[");
    tell_decisions(out, c->undecide.list, c->undecide.count);
    buf_putc(out, ']');
}

static void tell_grant_end(const struct registry_command *c, struct buf *out)
{
    buf_puts(out, "\"decisions\":[");
    tell_decisions(out, c->grant_end.list, c->grant_end.count);
    buf_putc(out, ']');
}

static void tell_grant_weighed(const struct registry_command *c, struct buf *out)
{
    buf_puts(out, "\"decisions\":[");
    for (size_t i = 0; i < c->grant_weighed.count; i++) {
        const struct registry_decision *d = &c->grant_weighed.list[i];
        buf_printf(out, "%s{\"permission\":%d", i ? "," : "", d->permission);
        audit_put_text(out, "scope", d->scope);
        audit_put_number(out, "held", (uint64_t)d->held);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void tell_ceiling(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "permission", (uint64_t)c->ceiling.permission);
    audit_put_text(out, "scope", c->ceiling.scope);
}

static void tell_source(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "kind", c->source_add.kind);
    audit_put_text(out, "place", c->source_add.place);
}

static void tell_set(const struct registry_command *c, struct buf *out)
{
    audit_put_text(out, "value", c->set.value ? c->set.value : NULL);
}

static void tell_token_add(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "id", (uint64_t)c->token_add.id);
    audit_put_text(out, "scopes", c->token_add.scopes);
    if (c->token_add.expires_at)
        audit_put_number(out, "until", c->token_add.expires_at);
}

static void tell_token_revoke(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "id", (uint64_t)c->token_revoke.id);
}

static void tell_nothing(const struct registry_command *c, struct buf *out)
{
}

static void tell_rotate(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "upto", c->audit_rotate.upto);
    audit_put_hex(out, "hash", c->audit_rotate.hash, 32);
    audit_put_text(out, "file", c->audit_rotate.file);
}

static void tell_sign(const struct registry_command *c, struct buf *out)
{
    audit_put_number(out, "count", c->audit_sign.count);
    audit_put_hex(out, "hash", c->audit_sign.hash, 32);
    audit_put_hex(out, "key", c->audit_sign.key, 32);
}

/* ---- the table ---- */

static const struct verb {
    int (*run)(struct registry *r, struct registry_command *c, uint64_t now, struct error *err);
    const char *action; /* of the record; NULL: no change of trust, grant, state, configuration or token */
    size_t subject;     /* where the command has the subject ... */
    enum {
        SUBJECT_NAME,
        SUBJECT_ID,
        SUBJECT_TRAIL,
        SUBJECT_ALL
    } kind; /* ... a const char *, NULL for all of them; an int64_t */
    verb_tell tell;
    bool keeps_epoch; /* changes nothing that registry_epoch tells of */
} verbs[REGISTRY_VERB_COUNT] = {
#define AT(member) offsetof(struct registry_command, member)
    [REGISTRY_TRUST_ADD] = {write_trust_add, "trust.add", AT(trust_add.publisher), SUBJECT_NAME, tell_trust_add},
    [REGISTRY_TRUST_REVOKE] = {write_trust_revoke, "trust.revoke", AT(trust_revoke.publisher), SUBJECT_NAME,
                               tell_trust_revoke},
    [REGISTRY_TRUST_NAMES] = {write_trust_names, "trust.names", AT(trust_names.publisher), SUBJECT_NAME,
                              tell_trust_names},
    [REGISTRY_TRANSFER] = {write_transfer, "plugin.transfer", AT(transfer.name), SUBJECT_NAME, tell_transfer},
    [REGISTRY_INSTALL] = {write_install, "plugin.install", AT(install.name), SUBJECT_NAME, tell_install},
    [REGISTRY_UNINSTALL] = {write_uninstall, "plugin.uninstall", AT(uninstall.name), SUBJECT_NAME, tell_uninstall},
    [REGISTRY_USE] = {write_use, "plugin.use", AT(use.name), SUBJECT_NAME, tell_use},
    [REGISTRY_WANT] = {write_want, "plugin.want", AT(want.name), SUBJECT_NAME, tell_want, true},
    [REGISTRY_DAMAGE] = {write_damage, "plugin.damaged", AT(damage.name), SUBJECT_NAME, tell_damage},
    [REGISTRY_DECIDE] = {write_decide, "grant.decide", AT(decide.name), SUBJECT_NAME, tell_decide},
    [REGISTRY_UNDECIDE] = {write_undecide, "grant.withdraw", AT(undecide.name), SUBJECT_NAME, tell_undecide},
    [REGISTRY_SET] = {write_set, "setting.set", AT(set.key), SUBJECT_NAME, tell_set},
    [REGISTRY_CEILING_SET] = {write_ceiling_set, "ceiling.set", AT(ceiling.subject), SUBJECT_NAME, tell_ceiling},
    [REGISTRY_CEILING_REMOVE] = {write_ceiling_remove, "ceiling.remove", AT(ceiling.subject), SUBJECT_NAME,
                                 tell_ceiling},
    [REGISTRY_SOURCE_ADD] = {write_source_add, "source.add", AT(source_add.name), SUBJECT_NAME, tell_source},
    [REGISTRY_SOURCE_REMOVE] = {write_source_remove, "source.remove", AT(source_remove.name), SUBJECT_NAME,
                                tell_nothing},
    [REGISTRY_GRANT_END] = {write_grant_end, "grant.end", AT(grant_end.name), SUBJECT_NAME, tell_grant_end},
    [REGISTRY_GRANT_WEIGHED] = {write_grant_weighed, "grant.weighed", AT(grant_weighed.name), SUBJECT_NAME,
                                tell_grant_weighed},
    [REGISTRY_HOME_TIME] = {write_home_time, NULL, 0, SUBJECT_TRAIL, NULL, true},
    [REGISTRY_TOKEN_ADD] = {write_token_add, "token.create", AT(token_add.id), SUBJECT_ID, tell_token_add},
    [REGISTRY_TOKEN_REVOKE] = {write_token_revoke, "token.revoke", AT(token_revoke.id), SUBJECT_ID, tell_token_revoke},
    [REGISTRY_TOKEN_USED] = {write_token_used, NULL, 0, SUBJECT_ID, NULL, true},
    [REGISTRY_NOTE_BACKUP] = {write_note, "registry.backup", AT(note.file), SUBJECT_NAME, tell_nothing},
    [REGISTRY_NOTE_RESTORE] = {write_note, "registry.restore", AT(note.file), SUBJECT_NAME, tell_nothing},
    [REGISTRY_CANARY_START] = {write_note, "canary.start", AT(canary.name), SUBJECT_NAME, tell_canary_start},
    [REGISTRY_CANARY_END] = {write_note, "canary.end", AT(canary.name), SUBJECT_NAME, tell_canary_end},
    [REGISTRY_PARAMETER] = {write_note, "parameter.set", AT(parameter.name), SUBJECT_NAME, tell_parameter},
    [REGISTRY_MEND] = {write_mend, NULL, 0, SUBJECT_TRAIL, NULL},
    [REGISTRY_FLUSH] = {write_flush, NULL, 0, SUBJECT_TRAIL, NULL, true},
    [REGISTRY_ROLLBACK] = {write_rollback, "plugin.rollback", AT(rollback.name), SUBJECT_NAME, tell_rollback},
    [REGISTRY_PIN] = {write_pin, "plugin.pin", AT(pin.name), SUBJECT_NAME, tell_pin},
    [REGISTRY_ACTIVATE] = {write_activate, "plugin.activate", AT(activate.name), SUBJECT_NAME, tell_activate},
    [REGISTRY_MARK] = {write_mark, "version.mark", AT(mark.name), SUBJECT_NAME, tell_mark},
    [REGISTRY_IMPORT] = {write_import, "registry.import", 0, SUBJECT_ALL, tell_import},
    [REGISTRY_APPLY] = {write_apply, "registry.apply", 0, SUBJECT_ALL, tell_apply},
    [REGISTRY_CONFIGURE] = {write_configure, "plugin.configure", AT(configure.name), SUBJECT_NAME, tell_configure},
    [REGISTRY_GUARD_END] = {write_guard_end, "config.guard", AT(guard_end.name), SUBJECT_NAME, tell_guard_end},
#undef AT
    [REGISTRY_AUDIT_ROTATE] = {write_audit_rotate, "audit.rotate", 0, SUBJECT_TRAIL, tell_rotate},
    [REGISTRY_AUDIT_SIGN] = {write_audit_sign, "audit.sign", 0, SUBJECT_TRAIL, tell_sign},
};

#define DETAIL_MAX 12000

static void put_detail(const struct verb *v, const struct registry_command *c, struct buf *out)
{
    buf_auto members = BUF_INIT(DETAIL_MAX);
    v->tell(c, &members);
    /* A list of hundreds of grants is longer than a record may be: the record says so, the grants are in the tables. */
    buf_printf(out, "{%s}", members.failed ? "\"cut\":true" : buf_text(&members));
}

static void put_subject(const struct verb *v, const struct registry_command *c, char out[REGISTRY_SUBJECT_MAX + 1])
{
    const char *at = (const char *)c + v->subject, *text = v->kind == SUBJECT_ALL ? "registry" : "audit";
    int64_t id;
    if (v->kind == SUBJECT_ID) {
        memcpy(&id, at, sizeof id);
        snprintf(out, REGISTRY_SUBJECT_MAX + 1, "%lld", (long long)id);
        return;
    }
    if (v->kind == SUBJECT_NAME)
        memcpy(&text, at, sizeof text);
    snprintf(out, REGISTRY_SUBJECT_MAX + 1, "%s", text ? text : "*");
}

bool verb_keeps_epoch(enum registry_verb verb)
{
    return verbs[verb].keeps_epoch;
}

void verb_describe(const struct registry_command *c, const char **action, char subject[REGISTRY_SUBJECT_MAX + 1])
{
    *action = verbs[c->verb].action;
    put_subject(&verbs[c->verb], c, subject);
}

static int record(struct registry *r, const struct verb *v, const struct registry_command *c, struct error *err)
{
    char subject[REGISTRY_SUBJECT_MAX + 1], actor[REGISTRY_ACTOR_MAX + 1], call[REGISTRY_CALL_MAX + 1];
    buf_auto detail = BUF_INIT(DETAIL_MAX + 16);
    put_subject(v, c, subject);
    put_detail(v, c, &detail);
    snprintf(actor, sizeof actor, "%s", c->actor ? c->actor : AUDIT_HOST);
    snprintf(call, sizeof call, "%s", c->call ? c->call : "");
    if (detail.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the audit trail");
    struct registry_audit_record e = {.time_ms = r->now_ms,
                                      .count = 1,
                                      .actor = actor,
                                      .call = call,
                                      .action = v->action,
                                      .subject = subject,
                                      .outcome = error_info(MOAT_E_OK)->name,
                                      .detail = buf_text(&detail)};
    return audit_append(&r->writer, &r->head, &e, err);
}

int write_run(struct registry *r, struct registry_command *c, struct error *err)
{
    const struct verb *v = &verbs[c->verb];
    int rc = v->run(r, c, r->now_ms / 1000, err);
    if (rc == WRITE_CHANGED && v->action)
        rc = record(r, v, c, err);
    return rc < 0 ? rc : 0;
}
