#include "sample.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

void place_make(struct place *p)
{
    const char *base = getenv("TMPDIR");
    snprintf(p->dir, sizeof p->dir, "%s/moat-registry-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(p->dir))
        abort();
    snprintf(p->registry, sizeof p->registry, "%s/registry", p->dir);
    snprintf(p->packages, sizeof p->packages, "%s/packages", p->dir);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

static char in_memory[] = "/dev/shm/moat-registry-XXXXXX";

static void leave_memory(void)
{
    nftw(in_memory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void place_in_memory(void)
{
    if (getenv("TMPDIR") || !mkdtemp(in_memory))
        return;
    setenv("TMPDIR", in_memory, 1);
    atexit(leave_memory);
}

unsigned place_strays(void)
{
    unsigned n = 0;
    DIR *d = opendir(in_memory);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += strncmp(e->d_name, "etilqs_", 7) == 0;
    if (d)
        closedir(d);
    return n;
}

void place_remove(const struct place *p)
{
    nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int place_open(const struct place *p, struct registry **out, struct error *err)
{
    return registry_open(p->registry, p->packages, out, err);
}

void sample_fill(uint8_t out[32], uint8_t seed)
{
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(seed * 7 + i);
}

int sample_trust(struct registry *r, const char *publisher, uint8_t seed, struct error *err)
{
    uint8_t id[32], bytes[32];
    sample_fill(id, seed);
    sample_fill(bytes, (uint8_t)(seed + 100));
    struct registry_command c = {.verb = REGISTRY_TRUST_ADD,
                                 .trust_add = {.publisher = publisher, .id = id, .bytes = bytes, .algorithm = 1}};
    return registry_run(r, &c, err);
}

int sample_revoke(struct registry *r, const char *publisher, const uint8_t *seed_or_null, struct error *err)
{
    uint8_t id[32];
    if (seed_or_null)
        sample_fill(id, *seed_or_null);
    struct registry_command c = {.verb = REGISTRY_TRUST_REVOKE,
                                 .trust_revoke = {.publisher = publisher, .key = seed_or_null ? id : NULL}};
    return registry_run(r, &c, err);
}

int sample_install(struct registry *r, struct sample_install *in, struct error *err)
{
    struct registry_stage stage;
    struct registry_decision decision = {.permission = 0};
    uint8_t sha256[32], key[32], content[3000];
    sample_fill(sha256, in->bytes);
    sample_fill(key, in->key);
    memset(content, in->bytes, sizeof content);
    int rc = registry_stage(r, content, sizeof content, &stage, err);
    if (rc < 0)
        return rc;
    if (in->grant)
        snprintf(decision.scope, sizeof decision.scope, "%s", in->grant);
    struct registry_command c = {.verb = REGISTRY_INSTALL,
                                 .install = {.name = in->name,
                                             .version = in->version,
                                             .newest = in->version,
                                             .sha256 = sha256,
                                             .key = key,
                                             .size = sizeof content,
                                             .signed_at = 1000,
                                             .manifest = "{}",
                                             .capabilities = in->bytes,
                                             .stage = &stage,
                                             .decisions = &decision,
                                             .ndecisions = in->grant != NULL,
                                             .use = in->use}};
    rc = registry_run(r, &c, err);
    registry_unstage(&stage);
    in->already = c.install.already;
    in->current = c.install.current;
    return rc;
}

int sample_uninstall(struct registry *r, const char *name, const char *version, bool purge, struct error *err)
{
    struct registry_command c = {.verb = REGISTRY_UNINSTALL,
                                 .uninstall = {.name = name, .version = version, .purge = purge}};
    return registry_run(r, &c, err);
}

int sample_use(struct registry *r, const char *name, const char *version, struct error *err)
{
    struct registry_command c = {.verb = REGISTRY_USE, .use = {.name = name, .version = version}};
    return registry_run(r, &c, err);
}

int sample_decide(struct registry *r, const char *name, int permission, const char *scope, bool refused,
                  struct error *err)
{
    struct registry_decision d = {.permission = permission, .refused = refused};
    snprintf(d.scope, sizeof d.scope, "%s", scope);
    struct registry_command c = {.verb = REGISTRY_DECIDE, .decide = {.name = name, .list = &d, .count = 1}};
    return registry_run(r, &c, err);
}

int sample_set(struct registry *r, const char *key, const char *value, struct error *err)
{
    struct registry_command c = {.verb = REGISTRY_SET, .set = {.key = key, .value = value}};
    return registry_run(r, &c, err);
}

/* ---- a run through every kind of change ---- */

static int versions_step(struct registry *r, int step, struct error *err)
{
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10, .grant = "/data"};
    struct sample_install two = {.name = "alpha", .version = "1.1.0", .key = 1, .bytes = 11, .use = true};
    struct sample_install beta = {.name = "beta", .version = "0.1.0", .key = 1, .bytes = 12};
    uint8_t seed = 1;
    switch (step) {
    case 0:
        return sample_trust(r, "acme", 1, err);
    case 1:
        return sample_install(r, &one, err);
    case 2:
        return sample_install(r, &beta, err);
    case 3:
        return sample_install(r, &two, err);
    case 4:
        return sample_decide(r, "alpha", 0, "", true, err);
    case 5:
        return sample_set(r, "pool", "3", err);
    case 6:
        return sample_uninstall(r, "alpha", "1.0.0", false, err);
    case 7:
        return sample_use(r, "beta", "0.1.0", err);
    case 8:
        return sample_uninstall(r, "beta", NULL, true, err);
    default:
        return sample_revoke(r, "acme", &seed, err);
    }
}

const struct sample_script sample_scripts[SAMPLE_SCRIPTS] = {
    {"versions", 10, 7, versions_step},
    {"states", 15, -1, sample_states_step},
};

/* ---- the whole as one text ---- */

static bool put_key(void *context, const struct registry_key *k)
{
    buf_printf(context, "key %s %d%s\n", k->publisher, k->id[0], k->revoked_at ? " revoked" : "");
    return true;
}

static bool put_version(void *context, const struct registry_version *v)
{
    buf_printf(context, " %s %d %s%s%s\n", v->version, v->sha256[0], registry_state_name(v->state),
               v->reason[0] ? " " : "", v->reason);
    return true;
}

static bool put_decision(void *context, const struct registry_decision *d)
{
    buf_printf(context, "decision %s %d %s%s\n", d->name, d->permission, d->scope, d->refused ? " refused" : "");
    return true;
}

static void put_config(struct registry_reader *reader, const char *name, struct buf *out)
{
    buf_auto value = BUF_INIT(4096), secret = BUF_INIT(4096);
    uint64_t revision;
    if (registry_find_config(reader, name, &revision, &value, &secret, NULL) > 0)
        buf_printf(out, " config %d %s %s\n", (int)revision, buf_text(&value), buf_text(&secret));
}

static bool put_token(void *context, const struct registry_token *t)
{
    buf_printf(context, "token %d %s%s\n", (int)t->id, t->scopes, t->revoked_at ? " revoked" : "");
    return true;
}

static bool put_setting(void *context, const char *key, const char *value)
{
    buf_printf(context, "setting %s %s\n", key, value);
    return true;
}

struct names {
    char list[16][REGISTRY_NAME_MAX + 1];
    size_t count;
    struct buf *out;
};

static bool put_plugin(void *context, const struct registry_plugin *p, const struct registry_version *v,
                       const char *manifest, size_t manifest_len)
{
    struct names *n = context;
    snprintf(n->list[n->count++], sizeof n->list[0], "%s", p->name);
    return n->count < 16;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void put_files(const struct place *p, struct buf *out)
{
    char path[400], names[64][80];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/sha256", p->packages);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir)) && count < 64;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            snprintf(names[count++], sizeof names[0], "%.79s", e->d_name);
    if (dir)
        closedir(dir);
    qsort(names, count, sizeof names[0], by_text);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "file %.2s\n", names[i]);
}

void sample_describe(struct registry *r, const struct place *p, struct buf *out)
{
    struct registry_reader *reader;
    struct registry_filter all = {.active = -1};
    struct names names = {.out = out};
    struct registry_plugin plugin;
    if (registry_reader_new(r, &reader, NULL) < 0)
        abort();
    registry_each_key(reader, NULL, put_key, out, NULL);
    registry_each_plugin(reader, &all, put_plugin, &names, NULL);
    for (size_t i = 0; i < names.count; i++) {
        registry_find_plugin(reader, names.list[i], &plugin, NULL);
        buf_printf(out, "plugin %s of %s, %u versions, current %s%s%s%s%s\n", plugin.name, plugin.owner,
                   plugin.versions, plugin.current, plugin.previous[0] ? ", before it " : "", plugin.previous,
                   plugin.pinned ? ", pinned" : "", plugin.active ? "" : ", inactive");
        if (plugin.wanted)
            buf_printf(out, " wanted %d\n", (int)plugin.wanted);
        registry_each_version(reader, names.list[i], put_version, out, NULL);
        put_config(reader, names.list[i], out);
    }
    registry_each_decision(reader, NULL, put_decision, out, NULL);
    registry_each_setting(reader, put_setting, out, NULL);
    registry_each_token(reader, put_token, out, NULL);
    put_files(p, out);
    registry_reader_free(reader);
}

void sample_trail_is_whole(struct registry *r)
{
    struct registry_reader *reader;
    struct registry_audit_check check;
    struct error err;
    if (registry_reader_new(r, &reader, &err) < 0 || registry_audit_verify(reader, NULL, &check, &err) < 0)
        abort();
    registry_reader_free(reader);
    if (check.problem[0]) {
        fprintf(stderr, "the audit trail: %s\n", check.problem);
        abort();
    }
}
