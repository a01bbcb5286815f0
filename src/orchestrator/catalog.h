/* orchestrator/catalog: what there is to run steps with: every plugin whose calls are taken, by name and by capability,
 * and how well each does.  Owns its offers; follows the loader, knows no SQL but for who owns a name.
 *
 * Threads: any, but catalog_renew and whatever says so, which may take milliseconds: the planner's. */
#ifndef ORCHESTRATOR_CATALOG_H
#define ORCHESTRATOR_CATALOG_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "orchestrator/task.h"
#include "registry/registry.h"
#include "service/service.h"

/* One action of an offer, as the check sees it: its schemas as trees, made when they are first asked for. */
struct view;

/* One version of one plugin.  Immutable but for its figures; reference-counted. */
struct offer {
    _Atomic int refs;
    char name[MANIFEST_NAME_MAX + 1];
    struct manifest *manifest; /* a reference */
    uint32_t asks;             /* bits of enum permission */
    pthread_mutex_t lock;      /* of views */
    struct view **views;       /* by action; NULL: not made yet */
    /* Terms of its score, each from 0 to 1, and what they were made of: renewed every FIGURES_NS. */
    _Atomic float health, success, speed, thrift, base;
    _Atomic uint64_t runs;
    _Atomic bool closed;
};
struct offer *offer_ref(struct offer *o);
void offer_unref(struct offer *o); /* NULL is fine */

/* The candidates of one capability, action and where; immutable, reference-counted. */
struct candidate {
    struct offer *offer; /* a reference */
    uint32_t action;
};
struct choice {
    _Atomic int refs;
    uint32_t n;
    struct candidate list[]; /* in the order of names */
};
struct choice *choice_ref(struct choice *c);
void choice_unref(struct choice *c);

struct catalog;
int catalog_new(struct service *s, struct catalog **out, struct error *err);
void catalog_free(struct catalog *c);

/* What calls of NAME meet now. NULL: *err says why there is nothing. */
struct offer *catalog_named(struct catalog *c, const char *name, struct error *err);

/* Has the loader changed since the last catalog_renew? */
bool catalog_is_stale(struct catalog *c);
/* Planner: follows the loader. */
int catalog_renew(struct catalog *c, struct error *err);
/* Are the figures older than FIGURES_NS? Says so once. */
#define FIGURES_NS (NS_PER_S)
bool catalog_wants_figures(struct catalog *c);
void catalog_figures(struct catalog *c); /* planner */

/* The candidates as of the last renewal; n may be 0. NULL: no memory. where may be NULL; with a publisher: planner,
 * and reader is its connection. */
struct choice *catalog_choose(struct catalog *c, int capability, const char *action, const struct task_where *where,
                              struct registry_reader *reader, struct error *err);
/* NULL: it fits; else why not, in few words put into text. */
const char *where_misfit(const struct task_where *w, const struct offer *o, const char *owner, char text[160]);
/* Who owns NAME; "" when nobody does. Planner. */
int catalog_owner(struct registry_reader *reader, const char *name, char out[REGISTRY_PUBLISHER_MAX + 1],
                  struct error *err);

/* Every offer of a capability, in the order of names. */
void catalog_each(struct catalog *c, int capability, void (*each)(void *context, struct offer *o), void *context);

#endif
