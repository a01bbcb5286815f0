#include "registry/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registry/internal.h"

static bool same(const struct gather_refusal *a, const struct gather_refusal *b)
{
    return a->code == b->code && strcmp(a->actor, b->actor) == 0 && strcmp(a->action, b->action) == 0 &&
           strcmp(a->subject, b->subject) == 0;
}

static void set_due(struct gather *g)
{
    if (!g->due_ns)
        g->due_ns = clock_mono_ns() + GATHER_NS;
}

static void add_refusal(struct gather *g, const struct gather_refusal *one)
{
    for (size_t i = 0; i < g->nrefusals; i++) {
        if (same(&g->refusals[i], one)) {
            g->refusals[i].count += one->count;
            return;
        }
    }
    if (g->nrefusals < GATHER_REFUSALS) {
        g->refusals[g->nrefusals++] = *one;
        return;
    }
    /* A flood of different ones: their number is kept, not their names. */
    struct gather_refusal *rest = &g->refusals[GATHER_REFUSALS];
    if (g->nrefusals == GATHER_REFUSALS) {
        *rest = (struct gather_refusal){.actor = "*", .action = "*", .subject = "*", .code = one->code};
        g->nrefusals++;
    }
    rest->count += one->count;
}

void gather_refusal(struct gather *g, const struct registry_refusal *refusal)
{
    struct gather_refusal one = {.code = refusal->code, .count = 1};
    snprintf(one.actor, sizeof one.actor, "%s", refusal->actor ? refusal->actor : AUDIT_HOST);
    snprintf(one.call, sizeof one.call, "%s", refusal->call ? refusal->call : "");
    snprintf(one.action, sizeof one.action, "%s", refusal->action);
    snprintf(one.subject, sizeof one.subject, "%s", refusal->subject ? refusal->subject : "*");
    set_due(g);
    add_refusal(g, &one);
}

/* ---- counters ---- */

struct gather_counts {
    size_t n, size; /* size: a power of two, more than n */
    struct registry_count rows[];
};

void counts_add(struct registry_counts *to, const struct registry_counts *more)
{
    to->installs += more->installs;
    to->downloads += more->downloads;
    to->loads += more->loads;
    to->calls += more->calls;
    to->errors += more->errors;
    to->last_call_ms = more->last_call_ms > to->last_call_ms ? more->last_call_ms : to->last_call_ms;
}

static uint64_t hash(const struct registry_count *c)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a: names are the operator's, not an attacker's */
    for (const char *p = c->plugin; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ull;
    for (const char *p = c->version; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ull;
    return h;
}

static struct registry_count *row_of(struct gather_counts *t, const struct registry_count *c)
{
    for (uint64_t i = hash(c);; i++) {
        struct registry_count *row = &t->rows[i & (t->size - 1)];
        if (!row->plugin[0] || (strcmp(row->plugin, c->plugin) == 0 && strcmp(row->version, c->version) == 0))
            return row;
    }
}

/* At most half full. */
static bool make_room(struct gather *g)
{
    struct gather_counts *old = g->counts;
    if (old && 2 * (old->n + 1) <= old->size)
        return true;
    size_t size = old ? 2 * old->size : 64;
    struct gather_counts *t = calloc(1, sizeof *t + size * sizeof t->rows[0]);
    if (!t)
        return false;
    t->size = size;
    t->n = old ? old->n : 0;
    for (size_t i = 0; old && i < old->size; i++)
        if (old->rows[i].plugin[0])
            *row_of(t, &old->rows[i]) = old->rows[i];
    free(old);
    g->counts = t;
    return true;
}

bool gather_count(struct gather *g, const struct registry_count *count)
{
    if (!count->plugin[0] || !make_room(g))
        return false;
    struct registry_count *row = row_of(g->counts, count);
    if (!row->plugin[0]) {
        *row = *count;
        row->n = (struct registry_counts){0};
        g->counts->n++;
    }
    counts_add(&row->n, &count->n);
    set_due(g);
    return true;
}

void gather_find(const struct gather *g, const char *name, const char *version, struct registry_counts *out)
{
    *out = (struct registry_counts){0};
    for (size_t i = 0; g->counts && i < g->counts->size; i++) {
        const struct registry_count *row = &g->counts->rows[i];
        bool wanted = row->plugin[0] && (!name || strcmp(row->plugin, name) == 0) &&
                      (!version || strcmp(row->version, version) == 0);
        if (wanted)
            counts_add(out, &row->n);
    }
}

void gather_starts(struct gather *g, const struct registry_starts *more)
{
    g->starts.starts += more->starts;
    g->starts.most = more->most > g->starts.most ? more->most : g->starts.most;
    set_due(g);
}

/* ---- denials ---- */

static const char *keep_text(char **room, const char *text)
{
    char *at = *room;
    size_t len = strlen(text) + 1;
    memcpy(at, text, len);
    *room += len;
    return at;
}

static void append(struct gather *g, struct gather_denial *first, struct gather_denial *last, size_t n)
{
    if (g->last_denial)
        g->last_denial->next = first;
    else
        g->denials = first;
    g->last_denial = last;
    g->ndenials += n;
}

bool gather_deny(struct gather *g, const struct registry_denial *more)
{
    const char *const texts[] = {more->plugin,    more->version, more->action, more->call,
                                 more->operation, more->object,  more->wall};
    const char *kept[sizeof texts / sizeof *texts];
    size_t len = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        len += strlen(texts[i]) + 1;
    struct gather_denial *one = g->ndenials < GATHER_DENIALS ? malloc(sizeof *one + len) : NULL;
    if (!one)
        return false;
    char *room = one->texts;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        kept[i] = keep_text(&room, texts[i]);
    one->next = NULL;
    one->d = *more;
    one->d.plugin = kept[0];
    one->d.version = kept[1];
    one->d.action = kept[2];
    one->d.call = kept[3];
    one->d.operation = kept[4];
    one->d.object = kept[5];
    one->d.wall = kept[6];
    append(g, one, one, 1);
    set_due(g);
    return true;
}

/* What could not be written goes in front of what came since. */
static void denials_give_back(struct gather *g, struct gather *taken)
{
    struct gather since = *g;
    if (!taken->denials)
        return;
    g->denials = taken->denials;
    g->last_denial = taken->last_denial;
    g->ndenials = taken->ndenials;
    if (since.denials)
        append(g, since.denials, since.last_denial, since.ndenials);
    taken->denials = taken->last_denial = NULL;
}

void gather_free(struct gather *g)
{
    while (g->denials) {
        struct gather_denial *one = g->denials;
        g->denials = one->next;
        free(one);
    }
    free(g->counts);
    *g = (struct gather){0};
}

/* ---- giving back, writing ---- */

void gather_give_back(struct gather *g, struct gather *taken)
{
    for (size_t i = 0; i < taken->nrefusals; i++)
        add_refusal(g, &taken->refusals[i]);
    for (size_t i = 0; taken->counts && i < taken->counts->size; i++)
        if (taken->counts->rows[i].plugin[0])
            gather_count(g, &taken->counts->rows[i]);
    if (taken->starts.starts)
        gather_starts(g, &taken->starts);
    denials_give_back(g, taken);
    if (taken->due_ns)
        set_due(g);
    gather_free(taken);
}

int gather_write(struct registry *r, const struct gather *g, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->nrefusals && rc == 0; i++) {
        const struct gather_refusal *one = &g->refusals[i];
        struct registry_audit_record e = {.time_ms = r->now_ms,
                                          .count = one->count,
                                          .actor = one->actor,
                                          .call = one->call,
                                          .action = one->action,
                                          .subject = one->subject,
                                          .outcome = error_info(one->code)->name,
                                          .detail = ""};
        rc = audit_append(&r->writer, &r->head, &e, err);
    }
    for (size_t i = 0; g->counts && i < g->counts->size && rc == 0; i++)
        if (g->counts->rows[i].plugin[0])
            rc = counter_add(&r->writer, &g->counts->rows[i], r->now_ms, err);
    if (rc == 0 && g->starts.starts)
        rc = starts_add(&r->writer, &g->starts, r->now_ms, err);
    return rc < 0 ? rc : denials_add(&r->writer, g->denials, err);
}
