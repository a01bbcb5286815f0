/* orchestrator/view: an action's two schemas as trees, for questions that a compiled schema does not answer: which
 * types may stand at a place, and does a template fit.  Immutable but for the schemas that it compiles on the way; any
 * thread. */
#ifndef ORCHESTRATOR_VIEW_H
#define ORCHESTRATOR_VIEW_H

#include "orchestrator/catalog.h"

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_FRACTION = 8, /* a number that is no integer */
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ANY = 127
};
#define TYPE_NUMBER (TYPE_INTEGER | TYPE_FRACTION)
void types_text(unsigned types, char out[100]);

/* Of one action of the offer; NULL: no memory. Lives as long as the offer. */
struct view *offer_view(struct offer *o, uint32_t action);
void view_free(struct view *v);

/* What may be at the end of these tokens in a result; 0: nothing ever is. */
unsigned view_result_types(const struct view *v, const char *const *tokens, uint32_t ntokens);

/* The types of what a reference gives; TYPE_ANY: unknown. value: when it is known already, else NULL. */
struct fit_source {
    unsigned (*types)(void *context, const struct ref *ref, const uint8_t **value);
    void *context;
};
/* Does the template fit the action's parameters? false: *at is where not, reason says why. */
bool view_fits(struct view *v, const struct task_template *t, const struct fit_source *source, const uint8_t **at,
               char reason[JSON_REASON_MAX]);

#endif
