/* What references stand for while a task runs. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"
#include "json/cursor.h"

/* Comparing a condition's two values: bytes looked at, or so. */
#define EQUAL_STEPS (1 << 22)

static const uint8_t *of_error(struct values *v, const struct ref *ref)
{
    const struct step_run *s = &v->run->steps[ref->step];
    bool own = v->unit && v->unit->step == ref->step && v->unit->phase == PHASE_FALLBACK;
    enum moat_code code = own ? v->unit->code : s->code;
    const char *message = own ? v->unit->message : s->message;
    if (!code)
        return NULL;
    buf_clear(&v->scratch);
    buf_printf(&v->scratch, "{\"code\":\"%s\",\"message\":", error_info(code)->name);
    text_json_string(&v->scratch, message ? message : "");
    buf_putc(&v->scratch, '}');
    return v->scratch.failed ? NULL : v->scratch.data;
}

static const uint8_t *of_outcome(const struct values *v, const struct ref *ref)
{
    static const uint8_t texts[OUTCOME_COUNT][16 + 192] = {"", "\"succeeded\"", "\"failed\"", "\"skipped\""};
    enum task_outcome outcome = v->run->steps[ref->step].outcome;
    return outcome ? texts[outcome] : NULL;
}

static const uint8_t *of_index(struct values *v)
{
    buf_clear(&v->scratch);
    return v->unit && buf_printf(&v->scratch, "%u", v->unit->item) ? v->scratch.data : NULL;
}

static const uint8_t *document_of(struct values *v, const struct ref *ref)
{
    const struct run *r = v->run;
    switch (ref->kind) {
    case REF_INPUT:
        return r->task->input;
    case REF_RESULT:
        return r->steps[ref->step].result ? cursor_root(r->steps[ref->step].result) : NULL;
    case REF_OUTCOME:
        return of_outcome(v, ref);
    case REF_ERROR:
        return of_error(v, ref);
    case REF_ITEM:
        if (!v->unit)
            return NULL;
        return r->steps[v->unit->step].each->items[v->unit->item];
    case REF_INDEX:
        return of_index(v);
    }
    return NULL;
}

/* Bytes of what a reference leads into; of the input as good as: reading has counted them. */
static size_t size_of(const struct run *r, const struct unit *u, const struct ref *ref)
{
    if (ref->kind == REF_RESULT)
        return r->steps[ref->step].len;
    if (ref->kind == REF_INPUT)
        return r->task->len / 4;
    const uint8_t **items = ref->kind == REF_ITEM && u ? r->steps[u->step].each->items : NULL;
    return items ? (size_t)(items[u->item + 1] - items[u->item]) : 0;
}

int values_get(void *context, const struct ref *ref, const uint8_t **value, size_t *len, struct error *err)
{
    struct values *v = context;
    v->looked += ref->ntokens ? size_of(v->run, v->unit, ref) : 0;
    if (v->looked > TASK_LOOKED_MAX)
        return error_set(err, MOAT_E_LIMIT, "filling a template takes more steps than are allowed");
    const uint8_t *document = document_of(v, ref), *found = document ? ref_follow(ref, document) : NULL;
    if (!found)
        return 0;
    *value = found;
    *len = cursor_length(found);
    return 1;
}

size_t values_size(const struct unit *u)
{
    const struct task_template *t = unit_action(u)->parameters;
    size_t sum = t && !t->plain ? t->len : 0; /* a plain one is copied, not looked at */
    for (uint32_t i = 0; t && i < t->nrefs; i++)
        sum += size_of(u->run, u, &t->refs[i]);
    return sum;
}

bool condition_holds(struct run *r, const struct task_condition *c)
{
    struct values v = {.run = r, .scratch = BUF_INIT(4096)};
    const uint8_t *value = NULL;
    size_t len;
    int64_t steps = EQUAL_STEPS;
    if (c->is_outcome)
        return r->steps[c->ref.step].outcome == c->outcome;
    bool equal =
        values_get(&v, &c->ref, &value, &len, NULL) == 1 && cursor_equal(c->equals, value, &steps) && steps >= 0;
    r->looked += v.looked;
    buf_free(&v.scratch);
    return equal != c->negated;
}
