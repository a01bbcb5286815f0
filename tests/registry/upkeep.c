#include "upkeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN(...) registry_run(r, &(struct registry_command){__VA_ARGS__}, err)

static const struct registry_decision lent = {.permission = 1, .scope = "/out", .until = 4000000000};

static int trust(struct registry *r, struct error *err)
{
    return sample_trust(r, "acme", 1, err);
}

static int install(struct registry *r, struct error *err)
{
    struct sample_install in = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10, .grant = "/data"};
    return sample_install(r, &in, err);
}

static int names(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_TRUST_NAMES, .trust_names = {.publisher = "acme", .names = "alpha"});
}

static int want(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_WANT, .want = {.wanted = REGISTRY_LOADED});
}

static int damage(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_DAMAGE, .damage = {.name = "alpha", .version = "1.0.0"});
}

static int undecide(struct registry *r, struct error *err)
{
    static const struct registry_decision data = {.permission = 0, .scope = "/data"};
    return RUN(.verb = REGISTRY_UNDECIDE, .undecide = {.name = "alpha", .list = &data, .count = 1});
}

static int lend(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_DECIDE, .decide = {.name = "alpha", .list = &lent, .count = 1});
}

static int lend_end(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_GRANT_END, .grant_end = {.name = "alpha", .list = &lent, .count = 1});
}

static int configure(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_CONFIGURE, .configure = {.name = "alpha", .value = "{\"a\":1}", .secret = "{\"s\":1}"});
}

static int set(struct registry *r, struct error *err)
{
    return sample_set(r, "pool", "3", err);
}

static int unset(struct registry *r, struct error *err)
{
    return sample_set(r, "pool", NULL, err);
}

static int add_token(struct registry *r, struct error *err)
{
    uint8_t hash[32];
    sample_fill(hash, 50);
    return RUN(.verb = REGISTRY_TOKEN_ADD, .token_add = {.hash = hash, .scopes = "read"});
}

static int use_token(struct registry *r, struct error *err)
{
    static const struct registry_token_use use = {.id = 1, .at = 7};
    return RUN(.verb = REGISTRY_TOKEN_USED, .token_used = {.list = &use, .count = 1});
}

static int revoke_token(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_TOKEN_REVOKE, .token_revoke = {.id = 1});
}

static int set_ceiling(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_CEILING_SET, .ceiling = {.subject = "everybody", .scope = "/etc"});
}

static int remove_ceiling(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_CEILING_REMOVE, .ceiling = {.subject = "everybody", .scope = "/etc"});
}

static int add_source(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_SOURCE_ADD, .source_add = {.name = "main", .kind = "sqlite", .place = "/srv/main"});
}

static int remove_source(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_SOURCE_REMOVE, .source_remove = {.name = "main"});
}

static int tell_time(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_HOME_TIME, .home_time = {.boot = "boot", .boot_ns = 5, .time_ns = 6});
}

static int head_of(struct registry *r, struct registry_audit_head *out, struct error *err)
{
    struct registry_reader *reader;
    int rc = registry_reader_new(r, &reader, err);
    if (rc < 0)
        return rc;
    rc = registry_audit_head(reader, out, err);
    registry_reader_free(reader);
    return rc;
}

static int sign(struct registry *r, struct error *err)
{
    struct registry_audit_head head;
    uint8_t key[32], signature[64] = {1};
    sample_fill(key, 3);
    int rc = head_of(r, &head, err);
    return rc < 0 ? rc
                  : RUN(.verb = REGISTRY_AUDIT_SIGN,
                        .audit_sign = {.count = head.count, .hash = head.hash, .key = key, .signature = signature});
}

static int rotate(struct registry *r, struct error *err)
{
    struct registry_audit_head head;
    int rc = head_of(r, &head, err);
    return rc < 0 ? rc
                  : RUN(.verb = REGISTRY_AUDIT_ROTATE,
                        .audit_rotate = {.upto = head.count, .hash = head.hash, .file = "a file"});
}

static int note_backup(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_NOTE_BACKUP, .note = {.file = "/b.tar"});
}

static int start_canary(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_CANARY_START, .canary = {.name = "alpha", .version = "1.0.0", .percent = 5});
}

static int end_canary(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_CANARY_END,
               .canary = {.name = "alpha", .version = "1.0.0", .outcome = "ended", .why = "w", .evidence = "{}"});
}

static int set_parameter(struct registry *r, struct error *err)
{
    return RUN(.verb = REGISTRY_PARAMETER,
               .parameter = {.name = "speed", .from = "1", .to = "2", .why = "w", .outcome = "set"});
}

static int count(struct registry *r, struct error *err)
{
    registry_count(r, &(struct registry_count){.plugin = "alpha", .version = "1.0.0", .n = {.calls = 3}});
    return registry_flush(r, err);
}

static int deny(struct registry *r, struct error *err)
{
    struct registry_denial d = {.plugin = "alpha",
                                .version = "1.0.0",
                                .action = "a",
                                .call = "c",
                                .operation = "connect",
                                .object = "o",
                                .wall = "seccomp",
                                .count = 7};
    if (!registry_deny(r, &d))
        abort();
    return registry_flush(r, err);
}

const struct upkeep_step upkeep_steps[UPKEEP_STEPS] = {
    {"trust", trust},
    {"install", install},
    {"names", names},
    {"want", want},
    {"damage", damage},
    {"install again", install},
    {"undecide", undecide},
    {"lend", lend},
    {"lend_end", lend_end},
    {"configure", configure},
    {"set", set},
    {"unset", unset},
    {"add_token", add_token},
    {"use_token", use_token},
    {"revoke_token", revoke_token},
    {"set_ceiling", set_ceiling},
    {"remove_ceiling", remove_ceiling},
    {"add_source", add_source},
    {"remove_source", remove_source},
    {"tell_time", tell_time},
    {"sign", sign},
    {"rotate", rotate},
    {"note_backup", note_backup},
    {"start_canary", start_canary},
    {"end_canary", end_canary},
    {"set_parameter", set_parameter},
    {"count", count},
    {"deny", deny},
};

/* ---- what is there ---- */

static bool put_publisher(void *context, const struct registry_publisher *p)
{
    buf_printf(context, "publisher %s: %s\n", p->name, p->names);
    return true;
}

static bool put_ceiling(void *context, const struct registry_ceiling *c)
{
    buf_printf(context, "ceiling %s %d %s\n", c->subject, c->permission, c->scope);
    return true;
}

static bool put_source(void *context, const struct registry_source *s)
{
    buf_printf(context, "source %s %s %s\n", s->name, s->kind, s->place);
    return true;
}

static bool put_end(void *context, const struct registry_decision *d)
{
    buf_printf(context, "%s %s until %llu\n", d->name, d->scope, (unsigned long long)d->until);
    return true;
}

static bool put_use(void *context, const struct registry_token *t)
{
    buf_printf(context, "token %d used %llu\n", (int)t->id, (unsigned long long)t->last_used_at);
    return true;
}

static bool put_signature(void *context, const struct registry_audit_signature *s)
{
    buf_printf(context, "signed %llu\n", (unsigned long long)s->head.count);
    return true;
}

static bool put_record(void *context, const struct registry_audit_record *record)
{
    buf_printf(context, "%llu %s %s %s\n", (unsigned long long)record->seq, record->action, record->subject,
               record->outcome);
    return true;
}

static bool put_denial(void *context, const struct registry_denial *d)
{
    buf_printf(context, "denied %s %llu times\n", d->operation, (unsigned long long)d->count);
    return true;
}

static void put_rest(struct registry_reader *reader, struct buf *out)
{
    struct registry_home_time time;
    struct registry_audit_head root;
    struct registry_counts counts;
    struct registry_audit_filter all = {0};
    registry_each_publisher(reader, put_publisher, out, NULL);
    registry_each_ceiling(reader, put_ceiling, out, NULL);
    registry_each_source(reader, put_source, out, NULL);
    registry_each_timed(reader, put_end, out, NULL);
    registry_each_token(reader, put_use, out, NULL);
    if (registry_find_home_time(reader, &time, NULL) > 0)
        buf_printf(out, "time %llu\n", (unsigned long long)time.time_ns);
    if (registry_find_counts(reader, NULL, NULL, &counts, NULL) >= 0)
        buf_printf(out, "%llu installs, %llu calls\n", (unsigned long long)counts.installs,
                   (unsigned long long)counts.calls);
    registry_each_denial(reader, NULL, 0, put_denial, out, NULL);
    if (registry_audit_root(reader, &root, NULL) >= 0)
        buf_printf(out, "root %llu\n", (unsigned long long)root.count);
    registry_each_audit(reader, &all, put_record, out, NULL);
    registry_each_audit_signature(reader, put_signature, out, NULL);
}

void upkeep_describe(struct registry *r, const struct place *p, struct buf *out)
{
    struct registry_reader *reader;
    sample_describe(r, p, out);
    if (registry_reader_new(r, &reader, NULL) < 0)
        abort();
    put_rest(reader, out);
    registry_reader_free(reader);
}
