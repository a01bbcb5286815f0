/* The steps of a task: ids first, so that references can be resolved as they are met, then each step. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/reading.h"
#include "service/service.h" /* versions, names */
#include "json/cursor.h"

#define RETRY_DELAY_NS (100 * NS_PER_MS)
#define RETRY_DELAY_MAX_NS (30 * NS_PER_S)
#define ITEMS_AT_ONCE 4

bool read_time(struct reading *r, const uint8_t *string, uint64_t *ns)
{
    char text[32];
    if (cursor_text(string, text, sizeof text) > 0 && clock_parse_span(text, ns) && *ns)
        return true;
    return reading_fault(r, FAULT_VALUE, string,
                         "not a time: a whole number above 0 and ms, s, m, h or d, 36500d (100 years) at most");
}

/* ---- members ---- */

static struct members read_members(const uint8_t *object, const uint8_t **behind)
{
    static const struct {
        const char *name;
        size_t offset;
    } table[] = {
#define M(name) {#name, offsetof(struct members, name)}
        M(id),   M(action),   M(plugin), M(parameters), M(depends_on), M(capability), M(where),      M(sticky),
        M(when), M(for_each), M(retry),  M(timeout),    M(on_error),   M(fallback),   M(compensate),
#undef M
    };
    struct members found = {0};
    struct cursor_member m;
    while (cursor_next_member(&object, &m))
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (cursor_text_is(m.name, table[i].name)) {
                memcpy((char *)&found + table[i].offset, &m.value, sizeof m.value);
                break;
            }
    *behind = cursor_root(object) + 1; /* no object of ours is empty */
    return found;
}

/* ---- ids ---- */

static uint64_t hash_id(const struct reading *r, const char *id, size_t len)
{
    uint64_t h = r->seed ^ (len * 0x9e3779b97f4a7c15u);
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (uint8_t)id[i]) * 0x9fb21c651e98df25u;
        h ^= h >> 29;
    }
    return h ^ h >> 32;
}

static uint32_t *find_slot(const struct reading *r, const char *id, size_t len)
{
    uint32_t i = (uint32_t)hash_id(r, id, len) & (r->nslots - 1);
    while (r->slots[i] && strcmp(r->steps[r->slots[i] - 1].id, id) != 0)
        i = (i + 1) & (r->nslots - 1);
    return &r->slots[i];
}

int64_t reading_step(const struct reading *r, const char *id, size_t len)
{
    return (int64_t)*find_slot(r, id, len) - 1;
}

static bool is_id(const char *id)
{
    for (; *id; id++)
        if (!((*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z') || (*id >= '0' && *id <= '9') || *id == '_' ||
              *id == '-'))
            return false;
    return true;
}

static bool add_id(struct reading *r, uint32_t i)
{
    size_t len;
    const uint8_t *string = r->members[i].id;
    const char *id = reading_text(r, string, &len);
    r->steps[i].id = id ? id : "";
    if (!id || !is_id(id))
        return id && reading_fault(r, FAULT_ID, string, "an id has letters, digits, _ and -");
    uint32_t *slot = find_slot(r, id, len);
    if (*slot)
        return reading_fault(r, FAULT_ID, string, "another step has the id \"%s\" already", id);
    *slot = i + 1;
    return true;
}

/* One walk over all of it, however large: where each step and each of its members is. */
static bool find_steps(struct reading *r, const uint8_t *array)
{
    uint32_t n = 0, room = 0;
    for (const uint8_t *p = cursor_root(array + 1); *p != ']'; n++) {
        if (n == room) {
            room = room ? room * 4 : 4;
            struct members *more = realloc(r->members, room * sizeof *more);
            if (!more)
                return false;
            r->members = more;
        }
        const uint8_t *object = *p == ',' ? cursor_root(p + 1) : p;
        r->members[n] = read_members(object, &p);
        r->members[n].at = object;
        p = cursor_root(p);
    }
    r->task->nsteps = n;
    return true;
}

bool read_ids(struct reading *r, const uint8_t *array)
{
    if (find_steps(r, array)) {
        for (r->nslots = 16; r->nslots < r->task->nsteps * 2; r->nslots *= 2)
            ;
        r->slots = calloc(r->nslots, sizeof *r->slots);
        r->steps = arena_get(&r->task->arena, r->task->nsteps, sizeof *r->steps);
    }
    r->task->steps = r->steps;
    if (!r->slots || !r->steps) {
        r->task->arena.failed = true;
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; i < r->task->nsteps; i++) {
        r->steps[i].at = r->members[i].at;
        good &= add_id(r, i);
    }
    return good;
}

/* ---- where ---- */

static const struct {
    const char *sign;
    enum comparison how;
} signs[] = {{">=", COMPARE_GREATER_EQUAL}, {"<=", COMPARE_LESS_EQUAL}, {">", COMPARE_GREATER},
             {"<", COMPARE_LESS},           {"=", COMPARE_EQUAL},       {"", COMPARE_EQUAL}};

static bool read_rule(char *word, struct version_rule *out)
{
    size_t i = 0;
    while (strncmp(word, signs[i].sign, strlen(signs[i].sign)) != 0)
        i++;
    out->how = signs[i].how;
    out->version = word + strlen(signs[i].sign);
    return version_is_valid(out->version);
}

static bool read_version(struct reading *r, const uint8_t *string, struct task_where *out)
{
    char *rest = NULL, *copy;
    out->version = reading_text(r, string, NULL);
    copy = out->version ? arena_get(&r->task->arena, strlen(out->version) + 1, 1) : NULL;
    if (!copy)
        return false;
    memcpy(copy, out->version, strlen(out->version));
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (out->nrules == TASK_COMPARISONS_MAX || !read_rule(word, &out->rules[out->nrules]))
            return reading_fault(r, FAULT_VALUE, string, "not comparisons such as \">=1.2.0 <2.0.0\", %d at most",
                                 TASK_COMPARISONS_MAX);
        out->nrules++;
    }
    return out->nrules || reading_fault(r, FAULT_VALUE, string, "a comparison such as \">=1.2.0\" is asked for");
}

bool where_version_fits(const struct task_where *w, const char *version)
{
    for (size_t i = 0; i < w->nrules; i++) {
        int c = version_compare(version, w->rules[i].version);
        enum comparison how = w->rules[i].how;
        bool fits = how == COMPARE_EQUAL        ? c == 0
                    : how == COMPARE_LESS       ? c < 0
                    : how == COMPARE_LESS_EQUAL ? c <= 0
                    : how == COMPARE_GREATER    ? c > 0
                                                : c >= 0;
        if (!fits)
            return false;
    }
    return true;
}

static bool read_permissions(struct reading *r, const uint8_t *array, struct task_where *out)
{
    const uint8_t *item;
    out->bounded = true;
    while (cursor_next_item(&array, &item)) {
        char text[40];
        int p = cursor_text(item, text, sizeof text) < 0 ? -1 : permission_parse(text);
        if (p < 0)
            return reading_fault(r, FAULT_VALUE, item, "there is no such permission: `moat permissions` lists them");
        out->permissions |= 1u << p;
    }
    return true;
}

static bool read_keywords(struct reading *r, const uint8_t *array, struct task_where *out)
{
    const uint8_t *item, *at = array;
    size_t n = 0;
    while (cursor_next_item(&at, &item))
        n++;
    const char **list = arena_get(&r->task->arena, n + 1, sizeof *list);
    if (!list)
        return false;
    for (at = array; cursor_next_item(&at, &item);)
        if (!(list[out->nkeywords++] = reading_text(r, item, NULL)))
            return false;
    out->keywords = list;
    return true;
}

static const struct task_where *read_where(struct reading *r, const uint8_t *object)
{
    struct task_where *w = arena_get(&r->task->arena, 1, sizeof *w);
    struct cursor_member m;
    bool good = w != NULL;
    while (good && cursor_next_member(&object, &m)) {
        if (cursor_text_is(m.name, "permissions"))
            good = read_permissions(r, m.value, w);
        else if (cursor_text_is(m.name, "publisher"))
            good = (w->publisher = reading_text(r, m.value, NULL)) != NULL;
        else if (cursor_text_is(m.name, "version"))
            good = read_version(r, m.value, w);
        else
            good = read_keywords(r, m.value, w);
    }
    return good ? w : NULL;
}

/* ---- what is run ---- */

static bool read_name(struct reading *r, const uint8_t *string, size_t max, const char **out)
{
    *out = reading_text(r, string, NULL);
    if (*out && text_is_name(*out, max))
        return true;
    return *out && reading_fault(r, FAULT_TARGET, string, "a name is a small letter, then small letters, digits and _");
}

static bool read_target(struct reading *r, const uint8_t *at, const struct members *m, struct task_action *out)
{
    char text[40];
    out->capability = -1;
    if (!m->plugin == !m->capability)
        return reading_fault(r, FAULT_TARGET, at, "either `plugin` or `capability` says who runs it");
    if (m->plugin)
        return read_name(r, m->plugin, MANIFEST_NAME_MAX, &out->plugin);
    out->capability = cursor_text(m->capability, text, sizeof text) < 0 ? -1 : capability_parse(text);
    return out->capability >= 0 ||
           reading_fault(r, FAULT_TARGET, m->capability, "there is no such capability: `moat capabilities` lists them");
}

static bool read_action(struct reading *r, const uint8_t *at, const struct members *m, uint32_t own, unsigned views,
                        struct task_action *out)
{
    out->at = at;
    out->number = r->task->nactions++;
    bool good = read_target(r, at, m, out);
    good &= read_name(r, m->action, MANIFEST_ACTION_MAX, &out->action);
    if (m->where)
        good &= (out->where = read_where(r, m->where)) != NULL;
    if (m->parameters)
        good &= (out->parameters = template_compile(r, m->parameters, own, views)) != NULL;
    return good;
}

static bool read_other(struct reading *r, const uint8_t *object, uint32_t own, unsigned views,
                       const struct task_action **out)
{
    const uint8_t *behind;
    struct members m = read_members(object, &behind);
    struct task_action *a = arena_get(&r->task->arena, 1, sizeof *a);
    *out = a;
    return a && read_action(r, object, &m, own, views, a);
}

/* ---- the rest of a step ---- */

static bool read_depends(struct reading *r, uint32_t i, const uint8_t *array)
{
    const uint8_t *item;
    char id[TASK_ID_MAX * 4 + 1];
    bool good = true;
    while (cursor_next_item(&array, &item)) {
        ssize_t len = cursor_text(item, id, sizeof id);
        int64_t needs = len < 0 ? -1 : reading_step(r, id, (size_t)len);
        if (needs < 0)
            good = reading_fault(r, FAULT_REFERENCE, item, "there is no such step");
        else if (!reading_edge(r, i, (uint32_t)needs, item))
            return false;
    }
    return good;
}

static enum task_outcome outcome_of(const uint8_t *string)
{
    for (int o = OUTCOME_SUCCEEDED; o < OUTCOME_COUNT; o++)
        if (cursor_text_is(string, task_outcome_name((enum task_outcome)o)))
            return (enum task_outcome)o;
    return OUTCOME_NONE;
}

static bool read_outcome(struct reading *r, uint32_t own, const uint8_t *object, struct task_condition *out)
{
    const uint8_t *step = cursor_get(object, "step");
    char id[TASK_ID_MAX * 4 + 1];
    ssize_t len = cursor_text(step, id, sizeof id);
    int64_t found = len < 0 ? -1 : reading_step(r, id, (size_t)len);
    if (found < 0 || found == own)
        return reading_fault(r, FAULT_REFERENCE, step,
                             found < 0 ? "there is no such step" : "the step refers to itself");
    out->is_outcome = true;
    out->outcome = outcome_of(cursor_get(object, "outcome"));
    out->ref = (struct ref){.kind = REF_OUTCOME, .step = (uint32_t)found, .at = step};
    return reading_edge(r, own, (uint32_t)found, step);
}

static bool read_condition(struct reading *r, uint32_t own, const uint8_t *object, struct task_condition *out)
{
    if (cursor_get(object, "step"))
        return read_outcome(r, own, object, out);
    out->equals = cursor_get(object, "equals");
    out->negated = cursor_true(cursor_get(object, "not"));
    out->ref.fallback = out->equals; /* that it is not there is no fault: it equals nothing */
    bool good = template_pointer(r, cursor_get(object, "value"), own, 0, &out->ref);
    out->ref.fallback = NULL;
    return good;
}

static bool read_when(struct reading *r, uint32_t own, const uint8_t *array, struct task_step *step)
{
    const uint8_t *item, *at = array;
    uint32_t n = 0;
    while (cursor_next_item(&at, &item))
        n++;
    struct task_condition *list = arena_get(&r->task->arena, n, sizeof *list);
    bool good = list != NULL;
    at = array;
    for (uint32_t i = 0; list && cursor_next_item(&at, &item); i++)
        good &= read_condition(r, own, item, &list[i]);
    step->when = list;
    step->nwhen = n;
    return good;
}

static bool read_for_each(struct reading *r, uint32_t own, const uint8_t *object, struct task_step *step)
{
    uint64_t n;
    const uint8_t *items = cursor_get(object, "items");
    step->items_at_once = cursor_whole(cursor_get(object, "concurrency"), &n) ? (uint32_t)n : ITEMS_AT_ONCE;
    step->items = template_compile(r, items, own, 0);
    if (!step->items || step->items->npieces > 1 || step->items->nrefs || cursor_kind(items) == CURSOR_ARRAY)
        return step->items != NULL;
    return !step->items->plain || reading_fault(r, FAULT_VALUE, items, "`items` is an array, or a template of one");
}

static bool read_code(struct reading *r, const uint8_t *string, struct task_retry *out)
{
    for (int code = 1; code < MOAT_E_COUNT; code++)
        if (cursor_text_is(string, error_info(code)->name)) {
            out->on[code / 64] |= 1ull << code % 64;
            return true;
        }
    return reading_fault(r, FAULT_VALUE, string, "there is no error of this code: see docs/api.md");
}
_Static_assert(MOAT_E_COUNT <= 128, "task_retry.on has a bit for each error");

/* strtod would ask the embedding program's locale what a point is. */
static double number_of(const uint8_t *value)
{
    json_t *number = json_loadb((const char *)value, cursor_length(value), JSON_DECODE_ANY, NULL);
    double found = json_number_value(number);
    json_decref(number);
    return found;
}

static bool read_retry(struct reading *r, const uint8_t *object, struct task_retry *out)
{
    struct cursor_member m;
    uint64_t n;
    const uint8_t *item;
    bool good = true;
    while (object && cursor_next_member(&object, &m)) {
        if (cursor_text_is(m.name, "attempts"))
            out->attempts = cursor_whole(m.value, &n) ? (uint32_t)n : 1;
        else if (cursor_text_is(m.name, "delay"))
            good &= read_time(r, m.value, &out->delay_ns);
        else if (cursor_text_is(m.name, "delay_max"))
            good &= read_time(r, m.value, &out->delay_max_ns);
        else if (cursor_text_is(m.name, "factor"))
            out->factor = number_of(m.value);
        else
            for (out->named = true; cursor_next_item(&m.value, &item);)
                good &= read_code(r, item, out);
    }
    return good;
}

static bool read_on_error(struct reading *r, const struct members *m, struct task_step *step)
{
    static const char *const words[] = {"fail", "continue", "fallback", "compensate"};
    for (int i = 0; m->on_error && i < 4; i++)
        if (cursor_text_is(m->on_error, words[i]))
            step->on_error = (enum task_on_error)i;
    if ((step->on_error == ON_ERROR_FALLBACK) == (m->fallback != NULL))
        return true;
    return reading_fault(r, FAULT_VALUE, m->on_error ? m->on_error : m->fallback,
                         "`fallback` and \"on_error\": \"fallback\" go together");
}

bool read_step(struct reading *r, uint32_t i)
{
    struct task_step *step = &r->steps[i];
    const struct members m = r->members[i];
    step->retry =
        (struct task_retry){.attempts = 1, .delay_ns = RETRY_DELAY_NS, .delay_max_ns = RETRY_DELAY_MAX_NS, .factor = 2};
    unsigned item = m.for_each ? VIEW_ITEM : 0;
    bool good = read_action(r, step->at, &m, i, item, &step->run);
    good &= read_on_error(r, &m, step);
    good &= read_retry(r, m.retry, &step->retry);
    if (m.sticky)
        good &= (step->sticky = reading_text(r, m.sticky, NULL)) != NULL;
    if (m.depends_on)
        good &= read_depends(r, i, m.depends_on);
    if (m.when)
        good &= read_when(r, i, m.when, step);
    if (m.for_each)
        good &= read_for_each(r, i, m.for_each, step);
    if (m.timeout)
        good &= read_time(r, m.timeout, &step->timeout_ns);
    if (m.fallback)
        good &= read_other(r, m.fallback, i, item | VIEW_OWN_ERROR, &step->fallback);
    if (m.compensate)
        good &= read_other(r, m.compensate, i, VIEW_OWN_RESULT, &step->compensate);
    return good;
}
