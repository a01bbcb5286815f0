#include "orchestrator/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "json/cursor.h"

/* A schema may unfold without end, a template may be large: beyond this nothing is known before the call itself. */
#define STEPS_MAX 20000
#define BYTES_MAX (32u << 20)

struct compiled {
    const json_t *node;
    struct json_schema *schema; /* NULL: it could not be compiled alone */
};

struct view {
    json_t *parameters, *result; /* NULL: as good as true */
    pthread_mutex_t lock;        /* of compiled */
    struct compiled *compiled;
    size_t ncompiled, cap;
};

static const struct {
    const char *name;
    unsigned bits;
} type_names[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOLEAN}, {"number", TYPE_NUMBER},
                  {"integer", TYPE_INTEGER}, {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                  {"object", TYPE_OBJECT}};

void types_text(unsigned types, char out[100])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
        unsigned bits = type_names[i].bits;
        if ((types & bits) != bits)
            continue;
        n += (size_t)snprintf(out + n, 100 - n, "%s%s", n ? " or " : "", type_names[i].name);
        types &= ~bits;
    }
    if (!n)
        snprintf(out, 100, "nothing");
}

/* ---- a view's life ---- */

static struct view *view_new(const struct manifest_action *a)
{
    struct view *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->parameters = json_loads(a->parameters_json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    v->result = json_loads(a->result_json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    pthread_mutex_init(&v->lock, NULL);
    return v;
}

void view_free(struct view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->ncompiled; i++)
        json_schema_free(v->compiled[i].schema);
    free(v->compiled);
    pthread_mutex_destroy(&v->lock);
    json_decref(v->parameters);
    json_decref(v->result);
    free(v);
}

struct view *offer_view(struct offer *o, uint32_t action)
{
    pthread_mutex_lock(&o->lock);
    if (!o->views[action])
        o->views[action] = view_new(&o->manifest->actions[action]);
    struct view *v = o->views[action];
    pthread_mutex_unlock(&o->lock);
    return v;
}

/* ---- types ---- */

struct asking {
    const json_t *root;
    int steps;
};

static const json_t *resolve(const json_t *root, const char *ref)
{
    char token[256];
    const json_t *at = *ref == '#' ? root : NULL;
    for (ref++; at && *ref == '/';) {
        size_t n = strcspn(ref + 1, "/"), k = 0;
        for (size_t i = 1; i <= n && k < sizeof token - 1; i++) {
            bool escape = i < n && ref[i] == '~';
            token[k++] = escape ? (ref[++i] == '1' ? '/' : '~') : ref[i];
        }
        token[k] = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(token)) : json_object_get(at, token);
        ref += n + 1;
    }
    return at;
}

static unsigned type_bits(const char *name)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(type_names[i].name, name) == 0)
            return type_names[i].bits;
    return 0;
}

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return TYPE_OBJECT;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_INTEGER:
        return TYPE_INTEGER;
    case JSON_REAL:
        return TYPE_NUMBER; /* 1.0 is an integer too */
    case JSON_NULL:
        return TYPE_NULL;
    default:
        return TYPE_BOOLEAN;
    }
}

/* What type, enum and const of this node alone allow. */
static unsigned own_types(const json_t *node)
{
    unsigned types = TYPE_ANY, some = 0;
    const json_t *type = json_object_get(node, "type"), *list = json_object_get(node, "enum"), *one;
    size_t i;
    if (json_is_string(type))
        types = type_bits(json_string_value(type));
    if (json_is_array(type)) {
        json_array_foreach(type, i, one) some |= json_is_string(one) ? type_bits(json_string_value(one)) : 0;
        types = some;
    }
    if (json_is_array(list)) {
        some = 0;
        json_array_foreach(list, i, one) some |= type_of(one);
        types &= some;
    }
    one = json_object_get(node, "const");
    return one ? types & type_of(one) : types;
}

static unsigned types_at(struct asking *a, const json_t *node, const char *const *tokens, uint32_t n);

static unsigned member_types(struct asking *a, const json_t *node, const char *const *tokens, uint32_t n)
{
    const json_t *properties = json_object_get(node, "properties");
    const json_t *sub = json_object_get(properties, tokens[0]);
    if (!sub)
        sub = json_object_get(node, "additionalProperties");
    return sub ? types_at(a, sub, tokens + 1, n - 1) : TYPE_ANY;
}

static unsigned item_types(struct asking *a, const json_t *node, const char *const *tokens, uint32_t n)
{
    size_t len = strspn(tokens[0], "0123456789");
    if (!len || tokens[0][len])
        return 0;
    const json_t *first = json_object_get(node, "prefixItems"), *items = json_object_get(node, "items");
    size_t i = len > 9 ? SIZE_MAX : (size_t)atol(tokens[0]);
    const json_t *sub = i < json_array_size(first) ? json_array_get(first, i) : items;
    return sub ? types_at(a, sub, tokens + 1, n - 1) : TYPE_ANY;
}

static unsigned any_types(struct asking *a, const json_t *list, const char *const *tokens, uint32_t n)
{
    unsigned types = 0;
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) types |= types_at(a, one, tokens, n);
    return types;
}

static unsigned types_at(struct asking *a, const json_t *node, const char *const *tokens, uint32_t n)
{
    const json_t *ref, *all, *one;
    size_t i;
    if (!json_is_object(node) || --a->steps < 0)
        return json_is_false(node) ? 0 : TYPE_ANY;
    unsigned own = own_types(node), types = own;
    if (n) {
        types = own & TYPE_OBJECT ? member_types(a, node, tokens, n) : 0;
        types |= own & TYPE_ARRAY ? item_types(a, node, tokens, n) : 0;
    }
    if ((ref = json_object_get(node, "$ref")) && (ref = resolve(a->root, json_string_value(ref))))
        types &= types_at(a, ref, tokens, n);
    if ((all = json_object_get(node, "allOf")))
        json_array_foreach(all, i, one) types &= types_at(a, one, tokens, n);
    if ((all = json_object_get(node, "anyOf")))
        types &= any_types(a, all, tokens, n);
    if ((all = json_object_get(node, "oneOf")))
        types &= any_types(a, all, tokens, n);
    return types;
}

unsigned view_result_types(const struct view *v, const char *const *tokens, uint32_t ntokens)
{
    struct asking a = {.root = v->result, .steps = STEPS_MAX};
    return v->result ? types_at(&a, v->result, tokens, ntokens) : TYPE_ANY;
}

/* ---- a schema of its own for a part ---- */

static struct json_schema *compile(const json_t *root, const json_t *node)
{
    struct json_schema *schema = NULL;
    json_t *alone = json_deep_copy(node), *defs = json_object_get(root, "$defs");
    if (defs && json_is_object(alone))
        json_object_set_new(alone, "$defs", json_deep_copy(defs));
    char *text = alone ? json_dumps(alone, JSON_ENCODE_ANY) : NULL;
    struct buf padded = BUF_INIT(4 << 20);
    if (text && buf_puts(&padded, text))
        json_schema_compile(padded.data, padded.len, &schema, NULL);
    buf_free(&padded);
    free(text);
    json_decref(alone);
    return schema;
}

/* NULL: not to be had, as for a $ref into another place than $defs. */
static const struct json_schema *part_schema(struct view *v, const json_t *node)
{
    struct json_schema *found = NULL;
    pthread_mutex_lock(&v->lock);
    size_t i = 0;
    while (i < v->ncompiled && v->compiled[i].node != node)
        i++;
    if (i == v->ncompiled) {
        size_t cap = v->cap ? v->cap * 2 : 8;
        struct compiled *more = i < v->cap ? v->compiled : realloc(v->compiled, cap * sizeof *more);
        if (more) {
            v->cap = i < v->cap ? v->cap : cap;
            v->compiled = more;
            v->compiled[v->ncompiled++] = (struct compiled){node, compile(v->parameters, node)};
        }
    }
    if (i < v->ncompiled)
        found = v->compiled[i].schema;
    pthread_mutex_unlock(&v->lock);
    return found;
}

/* ---- does it fit? ---- */

struct fitting {
    struct view *v;
    struct asking asking;
    const struct task_template *t;
    const struct fit_source *source;
    size_t bytes; /* looked at */
    const uint8_t *at;
    char *reason;
};

static bool misfit(struct fitting *f, const uint8_t *at, const char *reason)
{
    f->at = at;
    text_copy(f->reason, JSON_REASON_MAX, reason);
    return false;
}

/* A value that is known, exactly; `at` is where it stands for people. */
static bool fit_value(struct fitting *f, const json_t *node, const uint8_t *value, size_t len, const uint8_t *at)
{
    struct json_fault fault;
    const struct json_schema *schema = json_is_true(node) ? NULL : part_schema(f->v, node);
    f->bytes += len;
    uint8_t *copy = schema && f->bytes < BYTES_MAX ? malloc(len + JSON_PAD) : NULL;
    if (!copy)
        return true;
    int rc = json_schema_copy_check(schema, copy, value, len, &fault);
    free(copy);
    if (rc != -MOAT_E_BAD_PARAMETERS)
        return true;
    char reason[JSON_REASON_MAX * 2 + 8];
    snprintf(reason, sizeof reason, "%s%s%s", fault.pointer, *fault.pointer ? ": " : "", fault.reason);
    return misfit(f, at, reason);
}

static bool fit_types(struct fitting *f, const json_t *node, unsigned given, const uint8_t *at)
{
    char wants[100], gets[100], reason[JSON_REASON_MAX];
    unsigned allowed = types_at(&f->asking, node, NULL, 0);
    if (allowed & given)
        return true;
    types_text(allowed, wants);
    types_text(given, gets);
    if (given)
        snprintf(reason, sizeof reason, "expected %s, the value referred to is %s", wants, gets);
    else
        snprintf(reason, sizeof reason, "the result that is referred to never has such a value");
    return misfit(f, at, reason);
}

static bool fit_form(struct fitting *f, const json_t *node, const struct form_place *form)
{
    const uint8_t *value = NULL;
    if (form->form == FORM_TEXT)
        return fit_types(f, node, TYPE_STRING, form->object);
    if (form->form == FORM_LITERAL)
        return fit_value(f, node, form->at, cursor_length(form->at), form->object);
    const struct ref *ref = &f->t->refs[form->ref];
    unsigned given = f->source->types(f->source->context, ref, &value);
    if (value)
        return fit_value(f, node, value, cursor_length(value), form->object);
    return fit_types(f, node, ref->fallback ? TYPE_ANY : given, form->object);
}

/* The first form at or behind p. */
static const struct form_place *next_form(const struct fitting *f, const uint8_t *p)
{
    uint32_t low = 0, high = f->t->nforms;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (f->t->forms[middle].object < p)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->t->nforms ? &f->t->forms[low] : NULL;
}

static bool fit(struct fitting *f, const json_t *node, const uint8_t *p);

static bool fit_required(struct fitting *f, const json_t *node, const uint8_t *object)
{
    const json_t *name, *required = json_object_get(node, "required");
    size_t i;
    char reason[JSON_REASON_MAX];
    json_array_foreach(required, i, name)
    {
        if (cursor_get(object, json_string_value(name)))
            continue;
        snprintf(reason, sizeof reason, "missing member \"%.100s\"", json_string_value(name));
        return misfit(f, object, reason);
    }
    return true;
}

static bool fit_members(struct fitting *f, const json_t *node, const uint8_t *object)
{
    const json_t *properties = json_object_get(node, "properties");
    const json_t *others = json_object_get(node, "additionalProperties");
    struct cursor_member m;
    char name[256];
    for (const uint8_t *at = object; cursor_next_member(&at, &m);) {
        const json_t *sub = cursor_text(m.name, name, sizeof name) < 0 ? NULL : json_object_get(properties, name);
        if (!sub && json_is_false(others))
            return misfit(f, m.value, "unknown member");
        if (!sub)
            sub = others;
        if (sub && !fit(f, sub, m.value))
            return false;
    }
    return fit_required(f, node, object);
}

static bool fit_items(struct fitting *f, const json_t *node, const uint8_t *array)
{
    const json_t *first = json_object_get(node, "prefixItems"), *items = json_object_get(node, "items");
    const uint8_t *item, *at = array;
    for (size_t i = 0; cursor_next_item(&at, &item); i++) {
        const json_t *sub = i < json_array_size(first) ? json_array_get(first, i) : items;
        if (sub && !fit(f, sub, item))
            return false;
    }
    return true;
}

static bool fit_any(struct fitting *f, const json_t *list, const uint8_t *p)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) if (fit(f, one, p)) return true;
    return json_array_size(list) == 0;
}

static bool fit_branches(struct fitting *f, const json_t *node, const uint8_t *p)
{
    const json_t *ref = json_object_get(node, "$ref"), *all = json_object_get(node, "allOf"), *one;
    size_t i;
    if (ref && (ref = resolve(f->asking.root, json_string_value(ref))) && !fit(f, ref, p))
        return false;
    json_array_foreach(all, i, one) if (!fit(f, one, p)) return false;
    return fit_any(f, json_object_get(node, "anyOf"), p) && fit_any(f, json_object_get(node, "oneOf"), p);
}

/* The value at p has forms inside, or is one. */
static bool fit_mixed(struct fitting *f, const json_t *node, const uint8_t *p)
{
    bool object = cursor_kind(p) == CURSOR_OBJECT;
    unsigned here = object ? TYPE_OBJECT : TYPE_ARRAY, allowed = own_types(node);
    char wants[100], reason[JSON_REASON_MAX];
    if (!(allowed & here)) {
        types_text(allowed, wants);
        snprintf(reason, sizeof reason, "expected %.99s, found %s", wants, object ? "an object" : "an array");
        return misfit(f, p, reason);
    }
    return (object ? fit_members(f, node, p) : fit_items(f, node, p)) && fit_branches(f, node, p);
}

static bool fit(struct fitting *f, const json_t *node, const uint8_t *p)
{
    const struct form_place *form = next_form(f, p);
    const uint8_t *behind = cursor_behind(p);
    f->bytes += (size_t)(behind - p);
    if (--f->asking.steps < 0 || f->bytes > BYTES_MAX || json_is_true(node))
        return true;
    if (!form || form->object >= behind)
        return fit_value(f, node, p, (size_t)(behind - p), p);
    if (form->object == p)
        return fit_form(f, node, form);
    return json_is_object(node) ? fit_mixed(f, node, p) : misfit(f, p, "no value is allowed here");
}

bool view_fits(struct view *v, const struct task_template *t, const struct fit_source *source, const uint8_t **at,
               char reason[JSON_REASON_MAX])
{
    struct fitting f = {
        .v = v, .asking = {.root = v->parameters, .steps = STEPS_MAX}, .t = t, .source = source, .reason = reason};
    if (!v->parameters || fit(&f, v->parameters, t->at))
        return true;
    *at = f.at;
    return false;
}
