#include "orchestrator/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/score.h"
#include "orchestrator/view.h"

#define CHOICES_KEPT 256

struct list {
    struct offer **all;
    size_t n, cap;
};

struct kept_choice {
    char key[200];
    struct choice *choice;
};

struct catalog {
    struct loader *loader;
    pthread_mutex_t lock;
    uint64_t changes; /* of the loader, as of the last renewal */
    bool renewed;
    struct offer **slots; /* by name; open addressing */
    size_t nslots, noffers;
    struct list by_capability[CAPABILITY_COUNT]; /* in the order of names */
    struct kept_choice choices[CHOICES_KEPT];
    size_t nchoices;
    _Atomic uint64_t figures_at;
};

/* ---- offers ---- */

static struct offer *offer_new(const char *name, struct manifest *m)
{
    struct offer *o = calloc(1, sizeof *o);
    struct view **views = o ? calloc(m->nactions + 1, sizeof *views) : NULL;
    if (!views) {
        free(o);
        return NULL;
    }
    o->refs = 1;
    text_copy(o->name, sizeof o->name, name);
    o->manifest = manifest_ref(m);
    o->views = views;
    pthread_mutex_init(&o->lock, NULL);
    for (size_t i = 0; i < m->nasks; i++)
        o->asks |= 1u << m->asks[i].permission;
    score_unknown(o);
    return o;
}

struct offer *offer_ref(struct offer *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void offer_unref(struct offer *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < o->manifest->nactions; i++)
        view_free(o->views[i]);
    free(o->views);
    pthread_mutex_destroy(&o->lock);
    manifest_unref(o->manifest);
    free(o);
}

struct choice *choice_ref(struct choice *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void choice_unref(struct choice *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < c->n; i++)
        offer_unref(c->list[i].offer);
    free(c);
}

/* ---- by name ---- */

static uint64_t hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3;
    return h ^ h >> 29;
}

static struct offer **slot_of(struct offer **slots, size_t nslots, const char *name)
{
    size_t i = hash_name(name) & (nslots - 1);
    while (slots[i] && strcmp(slots[i]->name, name) != 0)
        i = (i + 1) & (nslots - 1);
    return &slots[i];
}

static bool make_room(struct catalog *c)
{
    if (c->slots && c->noffers * 2 < c->nslots)
        return true;
    size_t n = c->nslots ? c->nslots * 2 : 64;
    struct offer **more = calloc(n, sizeof *more);
    if (!more)
        return false;
    for (size_t i = 0; i < c->nslots; i++)
        if (c->slots[i])
            *slot_of(more, n, c->slots[i]->name) = c->slots[i];
    free(c->slots);
    c->slots = more;
    c->nslots = n;
    return true;
}

/* The offer of this manifest: the one that is there, or a fresh one in its place. Under the lock; borrowed. */
static struct offer *take(struct catalog *c, const char *name, struct manifest *m)
{
    if (!make_room(c))
        return NULL;
    struct offer **slot = slot_of(c->slots, c->nslots, name);
    if (*slot && (*slot)->manifest == m)
        return *slot;
    struct offer *fresh = offer_new(name, m);
    if (!fresh)
        return NULL;
    c->noffers += !*slot;
    offer_unref(*slot);
    *slot = fresh;
    return fresh;
}

static struct offer *nothing(struct catalog *c, const char *name, enum moat_code gate, struct error *err)
{
    char words[256];
    if (gate == MOAT_E_NO_SUCH_PLUGIN || !loader_gate(c->loader, name, words, sizeof words))
        error_set(err, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%.64s\"", name);
    else
        error_set(err, gate, "%s", words);
    return NULL;
}

struct offer *catalog_named(struct catalog *c, const char *name, struct error *err)
{
    enum moat_code gate = MOAT_E_OK;
    struct manifest *m = loader_manifest(c->loader, name, &gate);
    if (!m)
        return nothing(c, name, gate, err);
    pthread_mutex_lock(&c->lock);
    struct offer *o = take(c, name, m);
    o = o ? offer_ref(o) : NULL;
    pthread_mutex_unlock(&c->lock);
    manifest_unref(m);
    if (!o)
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the catalog");
    return o;
}

/* ---- by capability ---- */

static bool list_add(struct list *l, struct offer *o)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct offer **more = realloc(l->all, cap * sizeof *more);
        if (!more)
            return false;
        l->all = more;
        l->cap = cap;
    }
    l->all[l->n++] = offer_ref(o);
    return true;
}

static void list_clear(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        offer_unref(l->all[i]);
    free(l->all);
    *l = (struct list){0};
}

static void forget_choices(struct catalog *c)
{
    while (c->nchoices)
        choice_unref(c->choices[--c->nchoices].choice);
}

static int by_name(const void *a, const void *b)
{
    const struct offer *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

struct gathering {
    struct catalog *c;
    struct list lists[CAPABILITY_COUNT];
    bool failed;
};

static void gather(void *context, const char *name, struct manifest *m)
{
    struct gathering *g = context;
    pthread_mutex_lock(&g->c->lock);
    struct offer *o = take(g->c, name, m);
    o = o ? offer_ref(o) : NULL;
    pthread_mutex_unlock(&g->c->lock);
    for (int i = 0; o && i < CAPABILITY_COUNT; i++)
        if (m->capabilities >> i & 1)
            g->failed |= !list_add(&g->lists[i], o);
    g->failed |= !o;
    offer_unref(o);
}

bool catalog_is_stale(struct catalog *c)
{
    pthread_mutex_lock(&c->lock);
    bool stale = !c->renewed || c->changes != loader_changes(c->loader);
    pthread_mutex_unlock(&c->lock);
    return stale;
}

/* Only what is offered now is kept by name. */
static void forget_others(struct catalog *c)
{
    struct offer **old = c->slots;
    size_t nold = c->nslots;
    c->slots = NULL;
    c->nslots = c->noffers = 0;
    for (int k = 0; k < CAPABILITY_COUNT; k++)
        for (size_t i = 0; i < c->by_capability[k].n && make_room(c); i++) {
            struct offer *o = c->by_capability[k].all[i], **slot = slot_of(c->slots, c->nslots, o->name);
            if (!*slot) {
                *slot = offer_ref(o);
                c->noffers++;
            }
        }
    for (size_t i = 0; i < nold; i++)
        offer_unref(old[i]);
    free(old);
}

/* A change that comes meanwhile makes it stale again: the number was read before. */
int catalog_renew(struct catalog *c, struct error *err)
{
    struct gathering g = {.c = c};
    uint64_t changes = loader_changes(c->loader);
    loader_offers(c->loader, gather, &g);
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        if (g.lists[i].n)
            qsort(g.lists[i].all, g.lists[i].n, sizeof *g.lists[i].all, by_name);
    pthread_mutex_lock(&c->lock);
    if (!g.failed) {
        for (int i = 0; i < CAPABILITY_COUNT; i++) {
            struct list old = c->by_capability[i];
            c->by_capability[i] = g.lists[i];
            g.lists[i] = old;
        }
        forget_choices(c);
        forget_others(c);
        c->changes = changes;
        c->renewed = true;
    }
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        list_clear(&g.lists[i]);
    if (g.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the catalog");
    catalog_figures(c);
    return 0;
}

/* Cleared by the caller. false: no memory for all of them. */
static bool list_of(struct catalog *c, int capability, struct list *out)
{
    bool good = true;
    *out = (struct list){0};
    pthread_mutex_lock(&c->lock);
    const struct list *l = &c->by_capability[capability];
    for (size_t i = 0; i < l->n && good; i++)
        good = list_add(out, l->all[i]);
    pthread_mutex_unlock(&c->lock);
    return good;
}

void catalog_each(struct catalog *c, int capability, void (*each)(void *context, struct offer *o), void *context)
{
    struct list copy;
    list_of(c, capability, &copy);
    for (size_t i = 0; i < copy.n; i++)
        each(context, copy.all[i]);
    list_clear(&copy);
}

/* ---- figures ---- */

bool catalog_wants_figures(struct catalog *c)
{
    uint64_t at = atomic_load_explicit(&c->figures_at, memory_order_relaxed), now = clock_mono_ns();
    return now > at + FIGURES_NS && atomic_compare_exchange_strong(&c->figures_at, &at, now);
}

static void renew_figures(void *context, struct offer *o)
{
    struct catalog *c = context;
    struct loader_merits f;
    if (loader_merits(c->loader, o->name, &f))
        score_figures(o, &f);
}

void catalog_figures(struct catalog *c)
{
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        catalog_each(c, i, renew_figures, c);
    atomic_store_explicit(&c->figures_at, clock_mono_ns(), memory_order_relaxed);
}

/* ---- choosing ---- */

static const char *missing_keyword(const struct task_where *w, const struct manifest *m)
{
    for (size_t i = 0; i < w->nkeywords; i++) {
        size_t k = 0;
        while (k < m->nkeywords && strcmp(m->keywords[k], w->keywords[i]) != 0)
            k++;
        if (k == m->nkeywords)
            return w->keywords[i];
    }
    return NULL;
}

const char *where_misfit(const struct task_where *w, const struct offer *o, const char *owner, char text[160])
{
    uint32_t beyond = w && w->bounded ? o->asks & ~w->permissions : 0;
    const char *keyword = w ? missing_keyword(w, o->manifest) : NULL;
    if (!w)
        return NULL;
    if (beyond)
        snprintf(text, 160, "it asks for %s", permission_name((enum permission)__builtin_ctz(beyond)));
    else if (!where_version_fits(w, o->manifest->version))
        snprintf(text, 160, "its version %s is not %.80s", o->manifest->version, w->version);
    else if (keyword)
        snprintf(text, 160, "it has not the keyword \"%.50s\"", keyword);
    else if (w->publisher && strcmp(w->publisher, owner) != 0)
        snprintf(text, 160, "its publisher is %.64s", *owner ? owner : "nobody");
    else
        return NULL;
    return text;
}

int catalog_owner(struct registry_reader *reader, const char *name, char out[REGISTRY_PUBLISHER_MAX + 1],
                  struct error *err)
{
    struct registry_plugin p;
    *out = '\0';
    int rc = reader ? registry_find_plugin(reader, name, &p, err) : 0;
    if (rc == 1)
        memcpy(out, p.owner, sizeof p.owner);
    return rc < 0 ? rc : 0;
}

static int fits(const struct task_where *w, const struct offer *o, struct registry_reader *reader, struct error *err)
{
    char text[160], owner[REGISTRY_PUBLISHER_MAX + 1] = "";
    int rc = w && w->publisher ? catalog_owner(reader, o->name, owner, err) : 0;
    return rc < 0 ? rc : !where_misfit(w, o, owner, text);
}

static struct choice *choice_make(const struct list *l, const char *action, const struct task_where *where,
                                  struct registry_reader *reader, struct error *err)
{
    struct choice *out = malloc(sizeof *out + l->n * sizeof *out->list);
    if (!out) {
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %zu candidates", l->n);
        return NULL;
    }
    out->refs = 1;
    out->n = 0;
    for (size_t i = 0; i < l->n; i++) {
        int index = manifest_action(l->all[i]->manifest, action);
        int rc = index < 0 ? 0 : fits(where, l->all[i], reader, err);
        if (rc == 1)
            out->list[out->n++] = (struct candidate){offer_ref(l->all[i]), (uint32_t)index};
        if (rc < 0) {
            choice_unref(out);
            return NULL;
        }
    }
    return out;
}

/* What the choice depends on, as a text; false: not worth keeping. Owners may change without the loader's knowing. */
static bool choice_key(int capability, const char *action, const struct task_where *w, char out[200])
{
    int n = snprintf(out, 200, "%d %s", capability, action);
    if (!w)
        return true;
    if (w->publisher)
        return false;
    if (w->bounded)
        n += snprintf(out + n, 200 - (size_t)n, " p%x", w->permissions);
    if (w->version && n < 190)
        n += snprintf(out + n, 200 - (size_t)n, " v%s", w->version);
    for (size_t i = 0; i < w->nkeywords && n < 190; i++)
        n += snprintf(out + n, 200 - (size_t)n, " k%zu:%s", strlen(w->keywords[i]), w->keywords[i]);
    return n < 190;
}

static struct choice *find_kept(struct catalog *c, const char *key)
{
    for (size_t i = 0; i < c->nchoices; i++)
        if (strcmp(c->choices[i].key, key) == 0)
            return choice_ref(c->choices[i].choice);
    return NULL;
}

static void keep(struct catalog *c, const char *key, struct choice *choice)
{
    if (c->nchoices == CHOICES_KEPT)
        forget_choices(c);
    struct kept_choice *k = &c->choices[c->nchoices++];
    text_copy(k->key, sizeof k->key, key);
    k->choice = choice_ref(choice);
}

/* Whoever looks a name up waits for the lock, loops among them: it is not held while the registry is asked. */
static struct choice *choose_unkept(struct catalog *c, int capability, const char *action,
                                    const struct task_where *where, struct registry_reader *reader, struct error *err)
{
    struct list copy;
    struct choice *made = NULL;
    if (list_of(c, capability, &copy))
        made = choice_make(&copy, action, where, reader, err);
    else
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the candidates");
    list_clear(&copy);
    return made;
}

struct choice *catalog_choose(struct catalog *c, int capability, const char *action, const struct task_where *where,
                              struct registry_reader *reader, struct error *err)
{
    char key[200];
    if (!choice_key(capability, action, where, key))
        return choose_unkept(c, capability, action, where, reader, err);
    pthread_mutex_lock(&c->lock);
    struct choice *found = find_kept(c, key);
    if (!found) {
        found = choice_make(&c->by_capability[capability], action, where, reader, err);
        if (found)
            keep(c, key, found);
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* ---- its life ---- */

int catalog_new(struct service *s, struct catalog **out, struct error *err)
{
    struct catalog *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the catalog");
    c->loader = service_loader(s);
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return 0;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    forget_choices(c);
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        list_clear(&c->by_capability[i]);
    for (size_t i = 0; i < c->nslots; i++)
        offer_unref(c->slots[i]);
    free(c->slots);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
