/* One wanted plugin against what the registry says: what differs, and what stands against it. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "service/apply.h"
#include "service/tell.h"
#include "json/cursor.h"

/* ---- differences ---- */

struct compared {
    struct job *job;
    struct change *c;
    const struct wanted *w;
    struct registry_plugin plugin;
    bool known;                                 /* the name */
    struct buf text;                            /* of the wanted version's manifest, when it is installed */
    char publisher[REGISTRY_PUBLISHER_MAX + 1]; /* whose key signed the wanted version */
    struct decisions before;
    struct policy_answer was; /* of the wanted version with what was decided before */
    struct config config;     /* as it is */
    struct buf *out;
};

static void open_difference(struct compared *d, const char *what)
{
    d->c->differences++;
    tell_open(d->out, NULL, '{');
    tell_text(d->out, "plugin", d->w->name);
    tell_text(d->out, "what", what);
}

static void tell_difference(struct compared *d, const char *what, const char *from, const char *to)
{
    open_difference(d, what);
    tell_text(d->out, "from", from && *from ? from : NULL);
    tell_text(d->out, "to", to && *to ? to : NULL);
    tell_close(d->out, '}');
}

static bool differs_flag(struct compared *d, const char *what, bool from, bool to)
{
    if (from == to)
        return false;
    open_difference(d, what);
    tell_flag(d->out, "from", from);
    tell_flag(d->out, "to", to);
    tell_close(d->out, '}');
    return true;
}

/* ---- the version ---- */

static int refuse_absent(const struct compared *d, struct error *err)
{
    error_set(err, MOAT_E_NO_SUCH_VERSION,
              "%s is not installed in version %s: `moat install FILE`, or put its package into PLUGIN_DIR's incoming "
              "and name it in `file`",
              d->w->name, d->w->version);
    return apply_refuse_at(err, d->c->index, "/version");
}

static int check_installed(struct compared *d, const struct registry_version *v, struct error *err)
{
    char hex[65];
    if (memcmp(v->sha256, d->w->sha256, 32) != 0) {
        text_hex(hex, v->sha256, 32);
        error_set(err, MOAT_E_ALREADY_EXISTS, "%s %s is installed with other bytes, %s", d->w->name, d->w->version,
                  hex);
        return apply_refuse_at(err, d->c->index, "/sha256");
    }
    if (d->c->switches && !d->c->arrival && version_may_run(d->job, &d->plugin, v, &d->text, err) < 0)
        return apply_refuse_at(err, d->c->index, "/version");
    if (d->c->manifest)
        return 0;
    int rc = manifest_parse(d->text.data, d->text.len, &d->c->manifest, err);
    return rc < 0 ? apply_refuse_at(err, d->c->index, "/version") : 0;
}

/* Whose the name is by now, and which version is the newest. */
static int admit_arrival(struct compared *d, struct arrival *a, struct error *err)
{
    const char *owner = d->plugin.owner;
    a->takes_name = d->known && strcmp(owner, REGISTRY_NOBODY) == 0 && strcmp(a->publisher, owner) != 0;
    if (d->known && !a->takes_name && strcmp(a->publisher, owner) != 0) {
        error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to the publisher %s", d->w->name, owner);
        return apply_refuse_at(err, d->c->index, "/file");
    }
    d->c->loses = a->takes_name; /* what ran unsigned has no grant any more */
    bool newest = !d->known || a->takes_name || version_compare(d->w->version, d->plugin.newest) >= 0;
    snprintf(a->newest, sizeof a->newest, "%s", newest ? d->w->version : d->plugin.newest);
    return 0;
}

static int compare_version(struct compared *d, struct error *err)
{
    struct change *c = d->c;
    const struct wanted *w = d->w;
    struct registry_version v;
    int found = registry_find_version(d->job->reader, w->name, w->version, &v, &d->text, err);
    if (found < 0)
        return found;
    if (!found && !c->arrival)
        return refuse_absent(d, err);
    snprintf(d->publisher, sizeof d->publisher, "%s", c->arrival ? c->arrival->publisher : v.publisher);
    snprintf(c->before, sizeof c->before, "%s", d->plugin.current);
    c->switches = strcmp(c->before, w->version) != 0;
    int rc = found ? check_installed(d, &v, err) : 0;
    if (rc == 0 && c->arrival)
        rc = admit_arrival(d, c->arrival, err);
    if (rc < 0)
        return rc;
    if (c->arrival)
        tell_difference(d, found ? "package" : "install", NULL, w->version);
    if (c->switches)
        tell_difference(d, "version", c->before, w->version);
    c->replaces = c->switches || c->arrival;
    const struct buf *text = c->arrival ? &c->arrival->text : &d->text;
    rc = accept_check(d->job, w->name, c->before, c->manifest, buf_text(text), text->len, w->accept, true, err);
    return rc < 0 ? apply_refuse_at(err, c->index, "/accept") : 0;
}

/* ---- what is granted ---- */

static const struct registry_decision *find_same(const struct decisions *in, const struct registry_decision *one)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct registry_decision *d = &in->list[i];
        if (d->permission == one->permission && d->refused == one->refused && d->until == one->until &&
            strcmp(d->scope, one->scope) == 0)
            return d;
    }
    return NULL;
}

static void tell_decision(struct compared *d, const struct registry_decision *one, bool comes)
{
    struct grant g = {.permission = (enum permission)one->permission};
    char text[POLICY_SCOPE_MAX + 64];
    if (one->permission < 0 || one->permission >= PERMISSION_COUNT)
        return;
    memcpy(g.scope, one->scope, sizeof g.scope);
    grant_format(&g, text, sizeof text);
    open_difference(d, one->refused ? "refusal" : "grant");
    tell_text(d->out, "from", comes ? NULL : text);
    tell_text(d->out, "to", comes ? text : NULL);
    if (one->until)
        tell_seconds(d->out, "until", one->until);
    tell_close(d->out, '}');
}

/* A document is taken again and again: no link in it leads to another place the next time. */
static int check_straight(const struct grant *g, struct error *err)
{
    struct grant settled = *g;
    int rc = grant_settle(&settled, err);
    if (rc == 0 && !grant_equal(&settled, g))
        rc = error_set(err, MOAT_E_PERMISSION_DENIED, "%.300s leads to %.300s by a link: name that", g->scope,
                       settled.scope);
    return rc;
}

/* A place is looked at when it is granted: one that has gone since is no difference. No ceiling may forbid it. */
static int check_place(struct compared *d, size_t i, struct error *err)
{
    const struct registry_decision *one = &d->w->decisions.list[i];
    struct grant g = {.permission = (enum permission)one->permission};
    memcpy(g.scope, one->scope, sizeof g.scope);
    bool good = one->refused || (grant_check(&g, &d->was, err) == 0 && check_straight(&g, err) == 0);
    return good ? 0 : apply_refuse_at(err, d->c->index, "/grants/%zu", i);
}

static int compare_decisions(struct compared *d, struct error *err)
{
    const struct decisions *wanted = &d->w->decisions, *before = &d->before;
    int rc = 0;
    decisions_answer(d->c->manifest, d->publisher, before, &d->was);
    if (grants_fit(wanted, NULL, d->w->name, err) < 0)
        return apply_refuse_at(err, d->c->index, "/grants");
    for (size_t i = 0; i < before->count && rc == 0; i++) {
        if (find_same(wanted, &before->list[i]))
            continue;
        rc = decisions_add(&d->c->remove, &before->list[i], err);
        tell_decision(d, &before->list[i], false);
    }
    for (size_t i = 0; i < wanted->count && rc == 0; i++) {
        if (find_same(before, &wanted->list[i]))
            continue;
        rc = check_place(d, i, err);
        if (rc == 0)
            rc = decisions_add(&d->c->add, &wanted->list[i], err);
        tell_decision(d, &wanted->list[i], true);
    }
    return rc;
}

/* Does another grant of the file give all of it? */
static bool is_given(const struct wanted *w, const struct registry_decision *one)
{
    struct grant g = {.permission = (enum permission)one->permission}, other;
    memcpy(g.scope, one->scope, sizeof g.scope);
    for (size_t i = 0; i < w->grants; i++) {
        other.permission = (enum permission)w->decisions.list[i].permission;
        memcpy(other.scope, w->decisions.list[i].scope, sizeof other.scope);
        if (grant_covers(&other, &g))
            return true;
    }
    return false;
}

/* What is in force with the file, and what that means for workers that run with what was in force before. */
static int compare_rights(struct compared *d, struct error *err)
{
    struct change *c = d->c;
    struct policy_answer is;
    struct decisions wanted = d->before; /* the same ceilings and time */
    wanted.list = d->w->decisions.list;
    wanted.count = d->w->decisions.count;
    decisions_answer(c->manifest, d->publisher, &wanted, &is);
    if (!is.ready) {
        error_set(err, MOAT_E_PERMISSION_DENIED,
                  "%s %s requires %s, which the file does not grant: nothing is granted that it does not name",
                  d->w->name, d->w->version, permission_name(is.blocking));
        return apply_refuse_at(err, c->index, "/grants");
    }
    for (size_t i = 0; i < c->remove.count; i++)
        c->loses |= !c->remove.list[i].refused && !is_given(d->w, &c->remove.list[i]);
    c->replaces |= !answer_same_workers(&d->was, &is) || !d->was.ready;
    return 0;
}

/* ---- what is configured ---- */

/* The same value, however it is written? In doubt not. */
static bool same_value(const uint8_t *a, const uint8_t *b)
{
    size_t alen = cursor_length(a), blen = cursor_length(b);
    if (alen == blen && memcmp(a, b, alen) == 0)
        return true;
    json_t *one = json_loadb((const char *)a, alen, JSON_DECODE_ANY, NULL);
    json_t *two = json_loadb((const char *)b, blen, JSON_DECODE_ANY, NULL);
    bool same = one && two && json_equal(one, two);
    json_decref(one);
    json_decref(two);
    return same;
}

static void put_value(struct buf *out, const char *key, const uint8_t *value)
{
    buf_auto text = BUF_INIT(2 * CONFIG_MAX);
    if (value)
        buf_put(&text, value, cursor_length(value));
    if (text.failed)
        out->failed = true;
    tell_raw(out, key, value ? buf_text(&text) : NULL);
}

static void tell_property(struct compared *d, const uint8_t *name, const uint8_t *from, const uint8_t *to)
{
    char key[CONFIG_KEY_MAX + 1] = "";
    cursor_text(name, key, sizeof key);
    open_difference(d, "config");
    tell_text(d->out, "key", key);
    put_value(d->out, "from", from);
    put_value(d->out, "to", to);
    tell_close(d->out, '}');
}

static const uint8_t *get(const uint8_t *object, const uint8_t *name)
{
    char key[CONFIG_KEY_MAX + 1];
    return object && cursor_text(name, key, sizeof key) >= 0 ? cursor_get(object, key) : NULL;
}

/* "~" and "/" of a member's name as RFC 6901 writes them. */
static void put_pointer(struct buf *out, const char *key)
{
    for (; *key; key++)
        if (*key == '~' || *key == '/')
            buf_puts(out, *key == '~' ? "~0" : "~1");
        else
            buf_putc(out, *key);
}

/* Secret or too long a name, with its own pointer; what is left is for the schema. */
static int check_properties(struct compared *d, struct error *err)
{
    const uint8_t *at = d->w->config;
    struct cursor_member m;
    char key[CONFIG_KEY_MAX + 1];
    while (at && cursor_next_member(&at, &m)) {
        if (cursor_text(m.name, key, sizeof key) < 0) {
            error_set(err, MOAT_E_BAD_DOCUMENT, "a configuration's key has at most %d bytes", CONFIG_KEY_MAX);
            return apply_refuse_at(err, d->c->index, "/config");
        }
        if (!config_is_secret(d->c->manifest, key))
            continue;
        error_set(err, MOAT_E_BAD_DOCUMENT,
                  "`%s` is a secret and stands in no file: `moat config set %s %s -` takes it from standard input", key,
                  d->w->name, key);
        buf_auto pointer = BUF_INIT(2 * CONFIG_KEY_MAX + 1);
        put_pointer(&pointer, key);
        return apply_refuse_at(err, d->c->index, "/config/%s", buf_text(&pointer));
    }
    return 0;
}

/* Secrets stay, but for those that the file sets in the open: this version no longer calls them secret. */
static void keep_secrets(struct compared *d, struct buf *out)
{
    const uint8_t *at = cursor_root((const uint8_t *)buf_text(&d->config.secret));
    struct cursor_member m;
    buf_putc(out, '{');
    while (cursor_next_member(&at, &m)) {
        if (get(d->w->config, m.name))
            continue;
        buf_puts(out, out->len > 1 ? "," : "");
        buf_put(out, m.name, cursor_length(m.name));
        buf_putc(out, ':');
        buf_put(out, m.value, cursor_length(m.value));
    }
    buf_putc(out, '}');
}

static bool compare_properties(struct compared *d)
{
    const uint8_t *before = cursor_root((const uint8_t *)buf_text(&d->config.value)), *at = before, *other;
    size_t seen = d->c->differences;
    struct cursor_member m;
    while (cursor_next_member(&at, &m))
        if (!get(d->w->config, m.name))
            tell_property(d, m.name, m.value, NULL);
    at = d->w->config;
    while (at && cursor_next_member(&at, &m)) {
        other = get(before, m.name);
        if (!other || !same_value(other, m.value))
            tell_property(d, m.name, other, m.value);
    }
    return d->c->differences != seen;
}

static int compare_config(struct compared *d, struct error *err)
{
    struct change *c = d->c;
    struct error why;
    buf_auto effective = BUF_INIT(4u << 20);
    int rc = check_properties(d, err);
    if (rc < 0)
        return rc;
    c->configures = compare_properties(d);
    c->replaces |= c->configures;
    rc = config_split(c->manifest, d->w->config, false, &c->config, &why);
    buf_clear(&c->config.secret);
    keep_secrets(d, &c->config.secret);
    c->config.revision = d->config.revision;
    if (rc == 0 && (c->config.secret.failed || c->config.value.len + c->config.secret.len > CONFIG_MAX))
        rc = error_set(&why, MOAT_E_TOO_LARGE, "a configuration has at most %u bytes", CONFIG_MAX);
    if (rc == 0 && (c->configures || c->config.revision))
        rc = config_effective(c->manifest, &c->config, &effective, &why);
    if (effective.data)
        explicit_bzero(effective.data, effective.cap);
    if (rc == 0)
        return 0;
    *err = why;
    return apply_refuse_at(err, c->index, "/config");
}

/* ---- what is said of the plugin ---- */

static void compare_state(struct compared *d)
{
    static const char *const names[] = {"lazy", "loaded", "stopped"};
    struct change *c = d->c;
    const struct registry_plugin *p = &d->plugin;
    bool here = d->known && p->versions; /* what is not installed is active, not pinned and lazy */
    bool pinned = here && p->pinned, active = here ? p->active : true;
    enum registry_wanted wanted = here ? p->wanted : REGISTRY_LAZY;
    c->activates = differs_flag(d, "active", active, d->w->active);
    c->wants = d->w->says_wanted && d->w->wanted != wanted;
    if (c->wants)
        tell_difference(d, "wanted", names[wanted], names[d->w->wanted]);
    differs_flag(d, "pinned", pinned, d->w->pinned);
    /* A pin holds what is current: it goes before, and comes after, what the file says of the version. */
    c->unpins = pinned && (!d->w->pinned || c->switches);
    c->pins = d->w->pinned && (!pinned || c->unpins);
}

static int read_before(struct compared *d, struct error *err)
{
    const char *name = d->w->name;
    int rc = registry_find_plugin(d->job->reader, name, &d->plugin, err);
    if (rc < 0)
        return rc;
    d->known = rc > 0;
    bool fresh = d->c->arrival && strcmp(d->plugin.owner, REGISTRY_NOBODY) == 0 &&
                 strcmp(d->c->arrival->publisher, REGISTRY_NOBODY) != 0;
    if (d->known && !fresh) /* else what was decided for a name that nobody signed for does not pass on */
        rc = decisions_read(d->job, name, &d->before, err);
    else
        rc = decisions_begin(d->job, &d->before, err);
    if (rc == 0 && !fresh)
        return config_read(d->job, name, &d->config, err);
    return rc < 0 || (buf_puts(&d->config.value, "{}") && buf_puts(&d->config.secret, "{}"))
               ? rc
               : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", name);
}

int apply_diff(struct job *job, struct change *c, struct buf *out, struct error *err)
{
    struct compared d = {
        .job = job, .c = c, .w = c->wanted, .text = BUF_INIT(2 * MANIFEST_MAX), .config = CONFIG_INIT, .out = out};
    c->config = (struct config)CONFIG_INIT;
    int rc = read_before(&d, err);
    if (rc == 0)
        rc = compare_version(&d, err);
    if (rc == 0)
        rc = compare_decisions(&d, err);
    if (rc == 0)
        rc = compare_rights(&d, err);
    if (rc == 0)
        rc = compare_config(&d, err);
    if (rc == 0)
        compare_state(&d);
    buf_free(&d.text);
    decisions_free(&d.before);
    config_free(&d.config);
    return rc;
}
