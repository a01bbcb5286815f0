/* What references stand for while a task runs. */
#include <stdio.h>
#include <stdlib.h>
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

/* What was read back from the disk, as long as these values are looked at. */
struct loaded {
    struct loaded *next;
    uint32_t step;
    uint8_t *json;
};

void values_free(struct values *v)
{
    for (struct loaded *l = v->loaded, *next; l; l = next) {
        next = l->next;
        free(l->json);
        free(l);
    }
    v->loaded = NULL;
    buf_free(&v->scratch);
}

static int too_much(struct error *err)
{
    return error_set(err, MOAT_E_LIMIT, "filling a template takes more steps than are allowed");
}

static int load(struct values *v, uint32_t step, const uint8_t **json, struct error *err)
{
    const struct run *r = v->run;
    const struct step_run *s = &r->steps[step];
    v->read_back += s->len;
    if (v->read_back > TASK_LOOKED_MAX)
        return too_much(err);
    struct loaded *l = malloc(sizeof *l);
    if (!l)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a result on disk");
    int rc = spill_read(r->o->spill, r->id, step, s->len, s->sum, &l->json, err);
    if (rc < 0) {
        free(l);
        error_prefix(err, "the result of step %s", r->task->steps[step].id);
        return rc;
    }
    l->step = step;
    l->next = v->loaded;
    v->loaded = l;
    *json = cursor_root(l->json);
    return 0;
}

int values_result(struct values *v, uint32_t step, const uint8_t **json, struct error *err)
{
    const struct step_run *s = &v->run->steps[step];
    *json = s->result ? cursor_root(s->result) : NULL;
    if (!s->spilled)
        return 0;
    for (const struct loaded *l = v->loaded; l; l = l->next)
        if (l->step == step) {
            *json = cursor_root(l->json);
            return 0;
        }
    return load(v, step, json, err);
}

static const uint8_t *of_item(const struct values *v)
{
    return v->unit ? v->run->steps[v->unit->step].each->items[v->unit->item] : NULL;
}

/* *document NULL: there is none. */
static int document_of(struct values *v, const struct ref *ref, const uint8_t **document, struct error *err)
{
    switch (ref->kind) {
    case REF_INPUT:
        *document = v->run->task->input;
        break;
    case REF_RESULT:
        return values_result(v, ref->step, document, err);
    case REF_OUTCOME:
        *document = of_outcome(v, ref);
        break;
    case REF_ERROR:
        *document = of_error(v, ref);
        break;
    case REF_ITEM:
        *document = of_item(v);
        break;
    case REF_INDEX:
        *document = of_index(v);
        break;
    }
    return 0;
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
    const uint8_t *document = NULL;
    v->looked += ref->ntokens ? size_of(v->run, v->unit, ref) : 0;
    if (v->looked > TASK_LOOKED_MAX)
        return too_much(err);
    int rc = document_of(v, ref, &document, err);
    const uint8_t *found = rc == 0 && document ? ref_follow(ref, document) : NULL;
    if (!found)
        return rc;
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

bool values_on_disk(const struct run *r, const struct task_template *t)
{
    for (uint32_t i = 0; r->large && t && i < t->nrefs; i++)
        if (t->refs[i].kind == REF_RESULT && r->steps[t->refs[i].step].spilled)
            return true;
    return false;
}

int condition_holds(struct values *v, const struct task_condition *c, struct error *err)
{
    const uint8_t *value = NULL;
    size_t len;
    int64_t steps = EQUAL_STEPS;
    if (c->is_outcome)
        return v->run->steps[c->ref.step].outcome == c->outcome;
    int rc = values_get(v, &c->ref, &value, &len, err);
    if (rc < 0)
        return rc;
    bool equal = rc == 1 && cursor_equal(c->equals, value, &steps) && steps >= 0;
    return equal != c->negated;
}
