#include "loader/denials.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "policy/policy.h"

#define BUCKETS 1024

/* Never freed while the loader lives; everything but the count, the last time and the call is fixed. */
struct denial_row {
    struct denial_row *next, *next_in_bucket;
    struct plugin *plugin;
    struct denial_row *kind; /* of an object: the row of its kind, which counts objects */
    char operation[32], wall[32], version[MANIFEST_VERSION_MAX + 1], action[MANIFEST_ACTION_MAX + 1];
    char call[33]; /* denials_lock */
    int permission;
    unsigned objects; /* of a kind */
    uint64_t first_ns;
    uint64_t handed; /* take_lock: of the count, to on_denials */
    _Atomic uint64_t count, last_ns;
    char object[];
};

/* A kind has a row of its own, with the object DENIAL_OTHER: it is shown once something is counted there. */
struct denials {
    struct denial_row *all, *buckets[BUCKETS];
    unsigned rows, kinds, plain;
};

/* What a row is found by. */
struct key {
    const char *version, *action, *operation, *object;
};

/* ---- rows ---- */

static uint64_t add_hash(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211ull;
    return h * 31;
}

static size_t bucket_of(const struct key *k)
{
    uint64_t h = add_hash(14695981039346656037ull, k->version);
    h = add_hash(add_hash(add_hash(h, k->action), k->operation), k->object);
    return (h >> 32) % BUCKETS;
}

static struct denial_row *row_find(const struct denials *d, const struct key *k)
{
    for (struct denial_row *r = d->buckets[bucket_of(k)]; r; r = r->next_in_bucket)
        if (strcmp(r->object, k->object) == 0 && strcmp(r->operation, k->operation) == 0 &&
            strcmp(r->action, k->action) == 0 && strcmp(r->version, k->version) == 0)
            return r;
    return NULL;
}

static struct denial_row *row_new(struct plugin *p, const struct key *k, const struct refused *ev)
{
    struct denials *d = p->rows;
    size_t len = strlen(k->object) + 1;
    struct denial_row *r = calloc(1, sizeof *r + len);
    if (!r)
        return NULL;
    r->plugin = p;
    text_copy(r->operation, sizeof r->operation, k->operation);
    text_copy(r->wall, sizeof r->wall, ev->event.wall);
    text_copy(r->version, sizeof r->version, k->version);
    text_copy(r->action, sizeof r->action, k->action);
    memcpy(r->object, k->object, len);
    r->permission = ev->event.permission;
    r->first_ns = clock_wall_ns();
    struct denial_row **bucket = &d->buckets[bucket_of(k)];
    r->next_in_bucket = *bucket;
    *bucket = r;
    r->next = d->all;
    d->all = r;
    return r;
}

/* Found, or made while `*used` is below most. */
static struct denial_row *row_get(struct plugin *p, const struct key *k, const struct refused *ev, unsigned *used,
                                  unsigned most)
{
    struct denial_row *r = row_find(p->rows, k);
    if (r || *used >= most)
        return r;
    r = row_new(p, k, ev);
    *used += r != NULL;
    return r;
}

/* The row of this event: its own, its kind's, its operation's, or the last resort. Numbers are never lost, only names.
 * The first object of a kind has its row in any case: a flood of one kind hides no other. */
static struct denial_row *row_of(struct worker *w, const struct refused *ev, const char *action)
{
    struct plugin *p = w->plugin;
    struct denials *d = p->rows;
    struct key k = {w->gen->version, action, ev->event.operation, ev->event.object};
    struct key kind = {k.version, k.action, k.operation, DENIAL_OTHER}, plain = {"", "", k.operation, DENIAL_OTHER};
    static const struct key last = {"", "", DENIAL_OTHER, DENIAL_OTHER};
    struct denial_row *own = row_find(d, &k);
    if (own)
        return own;
    struct denial_row *of = row_get(p, &kind, ev, &d->kinds, DENIAL_KINDS);
    if (!of) {
        struct denial_row *any = row_get(p, &plain, ev, &d->plain, DENIAL_PLAIN);
        return any ? any : row_get(p, &last, ev, &d->plain, DENIAL_PLAIN + 1);
    }
    if (of->objects && (of->objects >= DENIAL_OBJECTS || d->rows >= DENIAL_ROWS))
        return of;
    own = row_new(p, &k, ev);
    d->rows += own != NULL;
    of->objects += own != NULL;
    return own ? own : of;
}

/* ---- telling ---- */

static void show(const struct denial_row *r, struct denial *out, char command[POLICY_COMMAND_MAX])
{
    const char *object = strcmp(r->object, DENIAL_OTHER) == 0 ? "" : r->object;
    if (!policy_denial_command(r->plugin->name, r->permission, r->operation, object, command))
        command[0] = '\0';
    *out = (struct denial){
        .plugin = r->plugin->name,
        .version = r->version,
        .action = r->action,
        .call_id = r->call,
        .operation = r->operation,
        .object = r->object,
        .wall = r->wall,
        .permission = r->permission,
        .command = command,
        .count = atomic_load_explicit(&r->count, memory_order_relaxed),
        .first_ns = r->first_ns,
        .last_ns = atomic_load_explicit(&r->last_ns, memory_order_relaxed),
    };
}

static bool power_of_ten(uint64_t n)
{
    while (n >= 10 && n % 10 == 0)
        n /= 10;
    return n == 1;
}

/* In the log the first time, the tenth, the hundredth: a flood is told in a few lines. The explain thread alone writes
 * rows, so that it may read them without the lock. */
static void tell(struct loader *l, const struct denial_row *r)
{
    char command[POLICY_COMMAND_MAX];
    struct denial d;
    show(r, &d, command);
    if (power_of_ten(d.count))
        log_event(LOG_WARN, "denial", "plugin", d.plugin, "version", d.version, "action", *d.action ? d.action : NULL,
                  "operation", d.operation, "object", d.object, "wall", d.wall, "permission",
                  d.permission >= 0 ? permission_name((enum permission)d.permission) : NULL, "#count", log_num(d.count),
                  "call", *d.call_id ? d.call_id : NULL, "allow_with", *d.command ? d.command : NULL, NULL);
    if (l->config.on_denial)
        l->config.on_denial(l->config.context, &d);
}

static const char *action_of(const struct worker *w, uint32_t running)
{
    const struct manifest *m = w->gen->spec->manifest;
    return running && running <= m->nactions ? m->actions[running - 1].name : "";
}

void denial_count(struct worker *w, const struct refused *ev)
{
    struct loader *l = w->l;
    struct plugin *p = w->plugin;
    struct denial_row *r = NULL;
    atomic_fetch_add(&p->denials, 1);
    pthread_mutex_lock(&l->denials_lock);
    if (!p->rows)
        p->rows = calloc(1, sizeof *p->rows);
    if (p->rows)
        r = row_of(w, ev, action_of(w, ev->action));
    if (r) {
        atomic_fetch_add(&r->count, 1);
        atomic_store(&r->last_ns, clock_wall_ns());
        if (ev->call[0])
            memcpy(r->call, ev->call, sizeof r->call);
    }
    pthread_mutex_unlock(&l->denials_lock);
    counts_stir(l);
    if (r)
        tell(l, r);
}

void denials_free(struct plugin *p)
{
    while (p->rows && p->rows->all) {
        struct denial_row *r = p->rows->all;
        p->rows->all = r->next;
        free(r);
    }
    free(p->rows);
}

/* ---- handing over ---- */

static bool hand_one(struct loader *l, struct denial_row *r)
{
    char command[POLICY_COMMAND_MAX], call[33];
    struct denial d;
    show(r, &d, command);
    uint64_t count = d.count;
    if (count == r->handed)
        return true;
    pthread_mutex_lock(&l->denials_lock);
    memcpy(call, r->call, sizeof call);
    pthread_mutex_unlock(&l->denials_lock);
    d.call_id = call;
    d.count -= r->handed;
    if (!l->config.on_denials(l->config.context, &d))
        return false;
    r->handed = count;
    return true;
}

/* Since the last time nothing may have come: then no row is looked at. */
void denials_hand_over(struct plugin *p)
{
    struct loader *l = p->l;
    if (!l->config.on_denials)
        return;
    pthread_mutex_lock(&l->take_lock);
    uint64_t all = atomic_load(&p->denials);
    pthread_mutex_lock(&l->denials_lock);
    struct denial_row *r = p->rows && p->denials_handed != all ? p->rows->all : NULL; /* what is behind it stays */
    pthread_mutex_unlock(&l->denials_lock);
    bool any = r != NULL, taken = any;
    for (; r && taken; r = r->next)
        taken = hand_one(l, r);
    if (taken)
        p->denials_handed = all;
    else if (any)
        counts_stir(l); /* it is told again */
    pthread_mutex_unlock(&l->take_lock);
}
