/* The second half of a check: with the plugins that there are. First who may run each action, then whether what each is
 * given fits what it takes. */
#include "orchestrator/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/view.h"
#include "json/cursor.h"

#define LONG_STEPS 64
#define LONG_TEXT (64 * 1024)
#define MEMOS 16
#define TOKENS_MAX 130
#define UNION_MAX 16 /* candidates whose results are looked at; of more nothing is known */
#define FIT_ALL 32   /* of more candidates only one is looked for that fits: the call itself finds out the rest */

struct memo {
    const char *name;
    struct offer *offer; /* a reference */
};

struct planning {
    struct catalog *c;
    struct task *t;
    struct roster *p;
    const struct roster_rights *rights;
    struct registry_reader *reader;
    struct faults *faults;
    struct error *err;
    struct memo memos[MEMOS];
    size_t nmemos;
    uint32_t step; /* whose action is looked at */
    struct buf scratch;
    int code; /* what is no fault of the task's */
};

/* ---- walking over the actions ---- */

static void each_action(struct planning *g, void (*look)(struct planning *g, const struct task_action *a))
{
    for (uint32_t i = 0; i < g->t->nsteps && !g->code; i++) {
        const struct task_step *s = &g->t->steps[i];
        g->step = i;
        look(g, &s->run);
        if (s->fallback && !g->code)
            look(g, s->fallback);
        if (s->compensate && !g->code)
            look(g, s->compensate);
    }
}

static void fault(struct planning *g, enum fault_kind kind, const uint8_t *at, const char *below, const char *message)
{
    char pointer[JSON_POINTER_MAX] = "", whole[JSON_POINTER_MAX * 2];
    if (g->faults->count < FAULTS_MAX)
        task_pointer(g->t, at, pointer);
    snprintf(whole, sizeof whole, "%s%s", pointer, below);
    whole[JSON_POINTER_MAX - 1] = '\0';
    faults_add(g->faults, kind, whole, "%s", message);
}

/* ---- who may run it ---- */

static bool may(const struct planning *g, const char *plugin, const char *action)
{
    return !g->rights || g->rights->may(g->rights->context, plugin, action);
}

static void refuse(struct planning *g, const char *plugin, const char *action, bool any)
{
    g->code = g->rights->refuse(g->rights->context, g->t->steps[g->step].id, plugin, action, any, g->err);
}

static struct offer *find_named(struct planning *g, const char *name, struct error *err)
{
    for (size_t i = 0; i < g->nmemos; i++)
        if (strcmp(g->memos[i].name, name) == 0)
            return offer_ref(g->memos[i].offer);
    struct offer *o = catalog_named(g->c, name, err);
    if (o && g->nmemos < MEMOS)
        g->memos[g->nmemos++] = (struct memo){o->name, offer_ref(o)};
    return o;
}

static void check_where(struct planning *g, const struct task_action *a, const struct offer *o)
{
    char owner[REGISTRY_PUBLISHER_MAX + 1] = "", text[160], message[FAULT_MESSAGE_MAX];
    if (a->where && a->where->publisher)
        g->code = catalog_owner(g->reader, o->name, owner, g->err);
    const char *why = g->code ? NULL : where_misfit(a->where, o, owner, text);
    if (!why)
        return;
    snprintf(message, sizeof message, "%s does not fit `where`: %s", o->name, why);
    fault(g, FAULT_PLUGIN, a->at, "/where", message);
}

static void resolve_named(struct planning *g, const struct task_action *a)
{
    struct error why = {0};
    struct roster_action *out = &g->p->actions[a->number];
    char message[FAULT_MESSAGE_MAX];
    if (!may(g, a->plugin, a->action)) {
        refuse(g, a->plugin, a->action, false);
        return;
    }
    out->named = find_named(g, a->plugin, &why);
    if (!out->named) {
        fault(g, FAULT_PLUGIN, a->at, "/plugin", why.message);
        return;
    }
    int index = manifest_action(out->named->manifest, a->action);
    out->action = index < 0 ? 0 : (uint32_t)index;
    snprintf(message, sizeof message, "%s %s has no action \"%s\"", a->plugin, out->named->manifest->version,
             a->action);
    check_where(g, a, out->named);
    if (index >= 0)
        return;
    fault(g, FAULT_PLUGIN, a->at, "/action", message);
    offer_unref(out->named); /* nothing more is known of it */
    out->named = NULL;
}

/* Those that who asks may not run are none. */
static bool mask_allowed(struct planning *g, struct roster_action *out, const char *action)
{
    const struct choice *c = out->choice;
    uint64_t *mask = arena_get(&g->p->arena, c->n / 64 + 1, sizeof *mask);
    size_t left = 0;
    if (!mask)
        return false;
    for (uint32_t i = 0; i < c->n; i++)
        if (may(g, c->list[i].offer->name, action)) {
            mask[i / 64] |= 1ull << i % 64;
            left++;
        }
    if (left < c->n)
        out->mask = mask;
    if (!left && c->n)
        refuse(g, c->list[0].offer->name, action, true);
    return true;
}

static void resolve_choice(struct planning *g, const struct task_action *a)
{
    struct roster_action *out = &g->p->actions[a->number];
    char message[FAULT_MESSAGE_MAX];
    out->choice = catalog_choose(g->c, a->capability, a->action, a->where, g->reader, g->err);
    if (!out->choice || (g->rights && !mask_allowed(g, out, a->action))) {
        g->code = error_set(g->err, MOAT_E_OUT_OF_MEMORY, "no memory to plan the task");
        return;
    }
    if (out->choice->n)
        return;
    snprintf(message, sizeof message, "no active plugin has the capability %s and the action \"%s\"%s",
             capability_name((enum capability)a->capability), a->action, a->where ? ", and fits `where`" : "");
    fault(g, FAULT_PLUGIN, a->at, "/capability", message);
}

static void resolve(struct planning *g, const struct task_action *a)
{
    if (a->plugin)
        resolve_named(g, a);
    else
        resolve_choice(g, a);
}

/* ---- types of references ---- */

static unsigned offer_types(struct offer *o, uint32_t action, const char *const *tokens, uint32_t n)
{
    const struct view *v = offer_view(o, action);
    return v ? view_result_types(v, tokens, n) : TYPE_ANY;
}

static unsigned action_types(const struct planning *g, const struct task_action *a, const char *const *tokens,
                             uint32_t n)
{
    const struct roster_action *p = &g->p->actions[a->number];
    unsigned types = 0;
    if (p->named)
        return offer_types(p->named, p->action, tokens, n);
    if (!p->choice || !p->choice->n || p->choice->n > UNION_MAX)
        return TYPE_ANY;
    for (uint32_t i = 0; i < p->choice->n; i++)
        types |= offer_types(p->choice->list[i].offer, p->choice->list[i].action, tokens, n);
    return types;
}

static unsigned result_types(const struct planning *g, uint32_t step, const char *const *tokens, uint32_t n)
{
    const struct task_step *s = &g->t->steps[step];
    if (s->items && n == 0)
        return TYPE_ARRAY;
    if (s->items && !tokens[0][strspn(tokens[0], "0123456789")]) {
        tokens++; /* an item that failed, and was let to, is null */
        n--;
    } else if (s->items) {
        return 0;
    }
    unsigned types = action_types(g, &s->run, tokens, n);
    if (s->items && s->on_error == ON_ERROR_CONTINUE && n == 0)
        types |= TYPE_NULL;
    return s->fallback ? types | action_types(g, s->fallback, tokens, n) : types;
}

/* The items come from an earlier result: what is in it? */
static unsigned item_types(const struct planning *g, const struct ref *ref)
{
    const struct task_template *items = g->t->steps[g->step].items;
    const char *tokens[TOKENS_MAX];
    uint32_t n = 0;
    if (!items || items->npieces != 1 || items->nrefs != 1 || items->refs[0].kind != REF_RESULT ||
        items->refs[0].fallback)
        return TYPE_ANY;
    const struct ref *from = &items->refs[0];
    for (uint32_t i = 0; i < from->ntokens; i++)
        tokens[n++] = from->tokens[i];
    tokens[n++] = "0";
    for (uint32_t i = 0; i < ref->ntokens && n < TOKENS_MAX; i++)
        tokens[n++] = ref->tokens[i];
    return result_types(g, from->step, tokens, n);
}

static unsigned ref_types(void *context, const struct ref *ref, const uint8_t **value)
{
    const struct planning *g = context;
    switch (ref->kind) {
    case REF_INPUT:
        *value = g->t->input ? ref_follow(ref, g->t->input) : NULL;
        if (!*value)
            *value = ref->fallback;
        return TYPE_ANY;
    case REF_RESULT:
        return result_types(g, ref->step, ref->tokens, ref->ntokens);
    case REF_OUTCOME:
        return TYPE_STRING;
    case REF_ERROR:
        return ref->ntokens ? TYPE_STRING : TYPE_OBJECT;
    case REF_INDEX:
        return TYPE_INTEGER;
    case REF_ITEM:
        return item_types(g, ref);
    }
    return TYPE_ANY;
}

/* ---- does what is given fit? ---- */

static bool fits_literally(struct planning *g, const struct manifest_action *a, const struct task_template *t,
                           struct json_fault *fault)
{
    size_t len = t ? t->len : 2;
    buf_clear(&g->scratch);
    if (!buf_reserve(&g->scratch, len))
        return true;
    return json_schema_copy_check(a->parameters, g->scratch.data, t ? t->at : (const uint8_t *)"{}", len, fault) !=
           -MOAT_E_BAD_PARAMETERS;
}

/* false: where, below which pointer, and why not. */
struct misfit {
    const uint8_t *at;
    char below[JSON_POINTER_MAX], reason[JSON_REASON_MAX];
};

static bool fits(struct planning *g, struct offer *o, uint32_t action, const struct task_action *a, struct misfit *no)
{
    const struct task_template *t = a->parameters;
    struct json_fault why;
    struct fit_source source = {.types = ref_types, .context = g};
    *no = (struct misfit){.at = t ? t->at : a->at};
    if (t && t->nforms) {
        struct view *v = offer_view(o, action);
        return !v || view_fits(v, t, &source, &no->at, no->reason);
    }
    if (fits_literally(g, &o->manifest->actions[action], t, &why))
        return true;
    memcpy(no->below, why.pointer, sizeof no->below);
    memcpy(no->reason, why.reason, sizeof no->reason);
    return false;
}

static void say_misfit(struct planning *g, const struct offer *o, const struct task_action *a, const struct misfit *no)
{
    char message[JSON_REASON_MAX + 100];
    snprintf(message, sizeof message, "%s.%s: %s", o->name, a->action, no->reason);
    fault(g, FAULT_TYPE, no->at, no->below, message);
}

static void fit_choice(struct planning *g, const struct task_action *a, struct roster_action *p)
{
    const struct choice *c = p->choice;
    struct misfit no = {0}, first = {0};
    const struct offer *refused = NULL;
    uint32_t good = 0;
    uint64_t *mask = arena_get(&g->p->arena, c->n / 64 + 1, sizeof *mask);
    if (!mask) {
        g->code = error_set(g->err, MOAT_E_OUT_OF_MEMORY, "no memory to plan the task");
        return;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        if (p->mask && !(p->mask[i / 64] >> i % 64 & 1))
            continue;
        if ((good && c->n > FIT_ALL) || fits(g, c->list[i].offer, c->list[i].action, a, &no)) {
            mask[i / 64] |= 1ull << i % 64;
            good++;
        } else if (!refused) {
            refused = c->list[i].offer;
            first = no;
        }
    }
    if (good < c->n)
        p->mask = mask;
    if (!good && refused)
        say_misfit(g, refused, a, &first);
}

/* A value that no result ever has: also inside texts, which fit anything. */
static void check_refs(struct planning *g, const struct task_template *t)
{
    const uint8_t *unused;
    for (uint32_t i = 0; t && i < t->nrefs; i++) {
        const struct ref *ref = &t->refs[i];
        if (ref->kind == REF_RESULT && !ref->fallback && !ref_types(g, ref, &unused))
            fault(g, FAULT_REFERENCE, ref->at, "", "the result that is referred to never has such a value");
    }
}

static void check_action(struct planning *g, const struct task_action *a)
{
    struct roster_action *p = &g->p->actions[a->number];
    struct misfit no;
    size_t before = g->faults->count + g->faults->more;
    if (p->named && !fits(g, p->named, p->action, a, &no))
        say_misfit(g, p->named, a, &no);
    else if (p->choice && p->choice->n)
        fit_choice(g, a, p);
    if (g->faults->count + g->faults->more == before)
        check_refs(g, a->parameters);
}

static void check_items(struct planning *g)
{
    const uint8_t *value;
    for (uint32_t i = 0; i < g->t->nsteps; i++) {
        const struct task_template *items = g->t->steps[i].items;
        g->step = i;
        check_refs(g, items);
        if (!items || items->npieces != 1 || items->nrefs != 1)
            continue;
        value = NULL;
        unsigned types = ref_types(g, &items->refs[0], &value);
        if (value ? cursor_kind(value) != CURSOR_ARRAY : !(types & TYPE_ARRAY) && !items->refs[0].fallback)
            fault(g, FAULT_TYPE, items->at, "", "the items are no array");
    }
}

/* ---- the whole ---- */

bool roster_is_long(struct catalog *c, const struct task *t)
{
    bool chooses = false;
    if (t->nsteps > LONG_STEPS || t->len > LONG_TEXT)
        return true;
    for (uint32_t i = 0; i < t->nsteps; i++) {
        const struct task_action *all[] = {&t->steps[i].run, t->steps[i].fallback, t->steps[i].compensate};
        for (size_t k = 0; k < 3; k++) {
            chooses |= all[k] && all[k]->capability >= 0;
            if (all[k] && all[k]->where && all[k]->where->publisher)
                return true;
        }
    }
    return chooses && catalog_is_stale(c);
}

static int finish(struct planning *g, struct roster **out)
{
    if (g->code)
        return g->code;
    if (g->faults->count || g->faults->more)
        return faults_error(g->faults, g->err);
    *out = g->p;
    return 0;
}

int roster_make(struct catalog *c, struct task *t, const struct roster_rights *rights, struct registry_reader *reader,
                struct roster **out, struct faults *faults, struct error *err)
{
    struct faults unseen = {0};
    struct roster *p = calloc(1, sizeof *p);
    struct planning g = {.c = c, .t = t, .p = p, .rights = rights, .reader = reader, .err = err};
    if (!p)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to plan the task");
    p->refs = 1;
    p->task = task_ref(t);
    p->actions = arena_get(&p->arena, t->nactions, sizeof *p->actions);
    g.faults = faults ? faults : &unseen;
    g.scratch = BUF_INIT(TASK_TEXT_MAX + JSON_PAD);
    if (!p->actions)
        g.code = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to plan the task");
    each_action(&g, resolve);
    each_action(&g, check_action);
    if (!g.code)
        check_items(&g);
    if (!g.code)
        check_refs(&g, t->result);
    int rc = finish(&g, out);
    while (g.nmemos)
        offer_unref(g.memos[--g.nmemos].offer);
    if (rc < 0)
        roster_unref(p);
    buf_free(&g.scratch);
    faults_free(&unseen);
    return rc;
}

struct roster *roster_ref(struct roster *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void roster_unref(struct roster *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; p->actions && i < p->task->nactions; i++) {
        offer_unref(p->actions[i].named);
        choice_unref(p->actions[i].choice);
    }
    arena_free(&p->arena);
    task_unref(p->task);
    free(p);
}
