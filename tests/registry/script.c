/* The second run of sample.h: what an operator says of plugins and versions, imports and applies. */
#include <stdio.h>
#include <string.h>

#include "registry/dump.h"
#include "sample.h"

static int run(struct registry *r, struct registry_command c, struct error *err)
{
    return registry_run(r, &c, err);
}

#define RUN(...) run(r, (struct registry_command){__VA_ARGS__}, err)

/* ---- a document ---- */

struct records {
    struct dump_record list[10];
    size_t count, at;
};

static int next_record(void *context, struct dump_record *out, struct error *err)
{
    struct records *l = context;
    if (l->at == l->count)
        return 0;
    *out = l->list[l->at++];
    return 1;
}

static void nowhere(void *context, struct error *err)
{
}

static int compare(const char *a, const char *b)
{
    return strcmp(a, b);
}

static void add_version(struct records *l, const char *version, const char *state, uint8_t bytes)
{
    struct dump_version v = {
        .version = version, .state = state, .reason = "", .manifest = "{}", .manifest_len = 2, .size = 3000};
    sample_fill(v.sha256, bytes);
    sample_fill(v.key_id, 2);
    l->list[l->count++] = (struct dump_record){.kind = DUMP_VERSION, .version = v};
}

/* Another publisher with a plugin of two versions, one of whose packages is nowhere. */
static int import(struct registry *r, struct error *err)
{
    struct records l = {0};
    struct registry_publisher other = {.name = "other", .names = "*", .added_at = 1};
    struct registry_key key = {.algorithm = 1, .publisher = "other", .added_at = 1};
    struct registry_plugin gamma = {.name = "gamma",
                                    .owner = "other",
                                    .active = true,
                                    .wanted = REGISTRY_STOPPED,
                                    .current = "1.0.0",
                                    .newest = "2.0.0",
                                    .first_at = 1};
    sample_fill(key.id, 2);
    sample_fill(key.bytes, 102);
    l.list[l.count++] = (struct dump_record){.kind = DUMP_PUBLISHER, .publisher = other};
    l.list[l.count++] = (struct dump_record){.kind = DUMP_KEY, .key = key};
    l.list[l.count++] = (struct dump_record){.kind = DUMP_PLUGIN, .plugin = gamma};
    l.list[l.count++] = (struct dump_record){.kind = DUMP_DECISION, .decision = {.permission = 1, .scope = "/out"}};
    l.list[l.count++] = (struct dump_record){.kind = DUMP_CONFIG, .config = "{\"a\":1}"};
    add_version(&l, "1.0.0", "available", 10);
    add_version(&l, "2.0.0", "deprecated", 30);
    l.list[l.count++] = (struct dump_record){.kind = DUMP_PLUGIN_END, .plugin = gamma};
    struct registry_import records = {.next = next_record, .where = nowhere, .context = &l, .compare = compare};
    return RUN(.verb = REGISTRY_IMPORT, .import = {.records = &records});
}

/* ---- a declarative file ---- */

struct commands {
    struct registry_command list[10];
    size_t count, at;
};

static int next_command(void *context, struct registry_command *out, struct error *err)
{
    struct commands *l = context;
    if (l->at == l->count)
        return 0;
    *out = l->list[l->at++];
    return 1;
}

#define ADD(...) \
    l.list[l.count++] = (struct registry_command) \
    { \
        __VA_ARGS__ \
    }

static int apply(struct registry *r, struct error *err)
{
    static const struct registry_decision old = {.permission = 0, .scope = "/data"},
                                          new = {.permission = 2, .scope = "host:443"};
    struct commands l = {0};
    struct registry_stage stage;
    uint8_t sha256[32], key[32], content[3000];
    sample_fill(sha256, 13);
    sample_fill(key, 1);
    memset(content, 13, sizeof content);
    int rc = registry_stage(r, content, sizeof content, &stage, err);
    if (rc < 0)
        return rc;
    ADD(.verb = REGISTRY_PIN, .pin = {.name = "alpha"});
    ADD(.verb = REGISTRY_INSTALL, .install = {.name = "alpha",
                                              .version = "2.0.0",
                                              .newest = "2.0.0",
                                              .sha256 = sha256,
                                              .key = key,
                                              .size = sizeof content,
                                              .signed_at = 1000,
                                              .manifest = "{}",
                                              .stage = &stage,
                                              .use = true});
    ADD(.verb = REGISTRY_UNDECIDE, .undecide = {.name = "alpha", .list = &old, .count = 1});
    ADD(.verb = REGISTRY_DECIDE, .decide = {.name = "alpha", .list = &new, .count = 1});
    ADD(.verb = REGISTRY_CONFIGURE,
        .configure = {.name = "alpha", .value = "{\"a\":2}", .secret = "{\"s\":1}", .expected = 1});
    ADD(.verb = REGISTRY_ACTIVATE, .activate = {.name = "alpha", .on = true});
    ADD(.verb = REGISTRY_WANT, .want = {.name = "alpha", .wanted = REGISTRY_STOPPED});
    ADD(.verb = REGISTRY_PIN, .pin = {.name = "alpha", .on = true});
    struct registry_together together = {.next = next_command, .where = nowhere, .context = &l};
    rc = RUN(.verb = REGISTRY_APPLY, .apply = {.together = &together, .plugins = 1, .changes = l.count});
    registry_unstage(&stage);
    return rc;
}

/* ---- the steps ---- */

static int mark(struct registry *r, enum registry_state state, struct error *err)
{
    const char *reason = state == REGISTRY_DEPRECATED ? "slow" : "";
    return RUN(.verb = REGISTRY_MARK,
               .mark = {.name = "alpha", .version = "1.1.0", .state = state, .on = true, .reason = reason});
}

static int install(struct registry *r, const char *version, uint8_t bytes, const char *grant, struct error *err)
{
    struct sample_install in = {.name = "alpha", .version = version, .key = 1, .bytes = bytes, .grant = grant};
    return sample_install(r, &in, err);
}

static int add_token(struct registry *r, struct error *err)
{
    uint8_t hash[32];
    sample_fill(hash, 50);
    return RUN(.verb = REGISTRY_TOKEN_ADD, .token_add = {.hash = hash, .scopes = "read"});
}

int sample_states_step(struct registry *r, int step, struct error *err)
{
    switch (step) {
    case 0:
        return sample_trust(r, "acme", 1, err);
    case 1:
        return install(r, "1.0.0", 10, "/data", err);
    case 2:
        return install(r, "1.1.0", 11, NULL, err);
    case 3:
        return sample_use(r, "alpha", "1.1.0", err);
    case 4:
        return RUN(.verb = REGISTRY_ROLLBACK, .rollback = {.name = "alpha", .version = "1.0.0"});
    case 5:
        return RUN(.verb = REGISTRY_PIN, .pin = {.name = "alpha", .on = true});
    case 6:
        return mark(r, REGISTRY_DEPRECATED, err);
    case 7:
        return mark(r, REGISTRY_ARCHIVED, err);
    case 8:
        return RUN(.verb = REGISTRY_CONFIGURE,
                   .configure = {.name = "alpha", .value = "{\"a\":1}", .secret = "{\"s\":1}"});
    case 9:
        return RUN(.verb = REGISTRY_ACTIVATE, .activate = {.name = "alpha"});
    case 10:
        return import(r, err);
    case 11:
        return apply(r, err);
    case 12:
        return add_token(r, err);
    case 13:
        return RUN(.verb = REGISTRY_TRANSFER, .transfer = {.name = "alpha", .publisher = "other"});
    default:
        return sample_uninstall(r, "gamma", NULL, true, err);
    }
}
