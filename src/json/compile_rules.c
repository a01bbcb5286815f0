/* The keywords that hold no list of schemas: types, limits, enum and const, and an object's members. */
#include "json/compile.h"
#include "json/unique.h"
#include "json/walk.h"

/* type */

static const struct {
    const char *name;
    enum scan_kind kind;
} types[] = {
    {"null", KIND_NULL},     {"boolean", KIND_BOOLEAN}, {"number", KIND_NUMBER}, {"integer", KIND_NUMBER},
    {"string", KIND_STRING}, {"array", KIND_ARRAY},     {"object", KIND_OBJECT},
};
#define TYPE_COUNT (sizeof types / sizeof *types)
#define TYPE_NUMBER 2
#define TYPE_INTEGER 3

static bool add_type(struct compiler *c, const uint8_t *quote, unsigned *found)
{
    size_t len = 0;
    const uint8_t *name = *quote == '"' ? compile_string(c, quote, &len) : NULL;
    for (unsigned i = 0; name && i < TYPE_COUNT; i++) {
        if (strlen(types[i].name) != len || memcmp(types[i].name, name, len) != 0)
            continue;
        if (*found & 1u << i)
            return compile_refuse(c, quote, "the type stands twice");
        *found |= 1u << i;
        return true;
    }
    return compile_refuse(c, quote, "a type is null, boolean, number, integer, string, array or object");
}

bool compile_types(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    const uint8_t *value = values[KEYWORD_TYPE], *item;
    unsigned found = 0;
    if (!value)
        return true;
    if (*value == '"' && !add_type(c, value, &found))
        return false;
    if (*value == '[')
        for (const uint8_t *p = value + 1; (item = walk_item(p)); p = walk_value(item))
            if (!add_type(c, item, &found))
                return false;
    if (!found)
        return compile_refuse(c, value, "no type is left that a value could have");
    n->kinds = 0;
    for (unsigned i = 0; i < TYPE_COUNT; i++)
        if (found & 1u << i)
            n->kinds |= (uint8_t)KIND_BIT(types[i].kind);
    n->integer = found & 1u << TYPE_INTEGER && !(found & 1u << TYPE_NUMBER);
    return true;
}

/* Numbers */

/* Sets *limit; *small stays true when it is a small integer. */
static void read_limit(const uint8_t *value, struct number_limit *limit, bool *small)
{
    if (!value)
        return;
    limit->text = value;
    limit->exact = number_at(value);
    bool plain = true;
    const uint8_t *end = scan_number(value, &plain);
    if (plain && end - value <= NUMBER_SMALL)
        limit->small = number_small(value, end);
    else
        *small = false;
}

static bool read_multiple(struct compiler *c, const uint8_t *value, struct number_rules *rules)
{
    if (!value)
        return true;
    struct number n = number_at(value);
    rules->multiple_text = value;
    if (!number_to_u63(&n, &rules->multiple) || !rules->multiple)
        return compile_refuse(c, value, "multipleOf must be a positive integer");
    return true;
}

bool compile_numbers(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    if (!values[KEYWORD_MINIMUM] && !values[KEYWORD_MAXIMUM] && !values[KEYWORD_ABOVE] && !values[KEYWORD_BELOW] &&
        !values[KEYWORD_MULTIPLE])
        return true;
    struct number_rules *rules = compile_alloc(c, sizeof *rules);
    if (!rules || !read_multiple(c, values[KEYWORD_MULTIPLE], rules))
        return false;
    rules->small = true;
    read_limit(values[KEYWORD_MINIMUM], &rules->minimum, &rules->small);
    read_limit(values[KEYWORD_MAXIMUM], &rules->maximum, &rules->small);
    read_limit(values[KEYWORD_ABOVE], &rules->above, &rules->small);
    read_limit(values[KEYWORD_BELOW], &rules->below, &rules->small);
    n->number = rules;
    return true;
}

/* Sizes */

static bool read_size(struct compiler *c, const uint8_t *value, uint64_t *size)
{
    if (!value)
        return true;
    struct number n = number_at(value);
    return number_to_u63(&n, size) || compile_refuse(c, value, "the limit must be a whole number, 0 or more");
}

bool compile_size(struct compiler *c, const uint8_t *least, const uint8_t *most, struct size_rules *rules)
{
    rules->least = 0; /* NOLINT(clang-analyzer-core.NullDereference): compile_refuse answers false */
    rules->most = UINT64_MAX;
    return read_size(c, least, &rules->least) && read_size(c, most, &rules->most);
}

bool compile_strings(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    if (!values[KEYWORD_MIN_LENGTH] && !values[KEYWORD_MAX_LENGTH])
        return true;
    struct size_rules *rules = compile_alloc(c, sizeof *rules);
    n->string = rules;
    return rules && compile_size(c, values[KEYWORD_MIN_LENGTH], values[KEYWORD_MAX_LENGTH], rules);
}

/* enum, const */

static bool read_choice(struct compiler *c, const uint8_t *value, struct choice *choice)
{
    choice->text = value;
    choice->kind = scan_kind_of[*value];
    if (choice->kind == KIND_NUMBER)
        choice->number = number_at(value);
    return *value != '"' || (choice->name = compile_string(c, value, &choice->len));
}

static const struct choices *read_choices(struct compiler *c, const uint8_t *array)
{
    size_t count = 0;
    const uint8_t *p, *item;
    for (p = array + 1; (item = walk_item(p)); p = walk_value(item))
        count++;
    if (!count) {
        compile_refuse(c, array, "an empty enum allows no value");
        return NULL;
    }
    struct choices *choices = compile_alloc(c, sizeof *choices);
    struct choice *list = compile_alloc(c, count * sizeof *list);
    if (!choices || !list)
        return NULL;
    *choices = (struct choices){.count = count, .list = list};
    for (p = array + 1; (item = walk_item(p)); p = walk_value(item))
        if (!read_choice(c, item, list++))
            return NULL;
    return choices;
}

static const struct choices *read_const(struct compiler *c, const uint8_t *value)
{
    struct choices *choices = compile_alloc(c, sizeof *choices);
    struct choice *choice = compile_alloc(c, sizeof *choice);
    if (!choices || !choice || !read_choice(c, value, choice))
        return NULL;
    *choices = (struct choices){.is_const = true, .count = 1, .list = choice};
    return choices;
}

bool compile_choices(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    if (values[KEYWORD_ENUM] && !(n->choices = read_choices(c, values[KEYWORD_ENUM])))
        return false;
    return !values[KEYWORD_CONST] || (n->fixed = read_const(c, values[KEYWORD_CONST]));
}

/* Members of an object */

struct draft {
    struct object_rules *rules;
    struct property *properties;
    size_t count;
    const uint8_t **required; /* where `required` names it, or NULL */
};

static bool read_name(struct compiler *c, const uint8_t *quote, struct property *property)
{
    property->name = compile_string(c, quote, &property->len);
    if (!property->name)
        return false;
    if (property->len > PROGRAM_NAME_MAX)
        return compile_refuse(c, quote, "a member's name is longer than %d bytes", PROGRAM_NAME_MAX);
    property->hash = unique_hash(property->name, property->len);
    return true;
}

static bool read_properties(struct compiler *c, const uint8_t *object, struct draft *d)
{
    struct walk_member m;
    if (!object)
        return true;
    for (const uint8_t *p = object + 1; walk_member(p, &m); p = walk_value(m.value)) {
        struct property *property = &d->properties[d->count++];
        if (!read_name(c, m.name - 1, property) || !(property->node = compile_schema(c, m.value)))
            return false;
        property->declared = true;
    }
    return true;
}

static struct property *find_property(struct compiler *c, struct draft *d, const struct property *like)
{
    c->steps -= (int64_t)d->count;
    for (size_t i = 0; c->steps >= 0 && i < d->count; i++) {
        struct property *property = &d->properties[i];
        if (property->hash == like->hash && property->len == like->len &&
            !memcmp(property->name, like->name, like->len))
            return property;
    }
    return NULL;
}

/* A required name without a schema of its own becomes a property like the additional ones. */
static bool read_required(struct compiler *c, const uint8_t *array, struct draft *d)
{
    const uint8_t *item;
    if (!array)
        return true;
    for (const uint8_t *p = array + 1; (item = walk_item(p)); p = walk_value(item)) {
        struct property name = {.node = d->rules->rest};
        if (*item != '"')
            return compile_refuse(c, item, "required must be an array of names");
        if (!read_name(c, item, &name))
            return false;
        struct property *property = find_property(c, d, &name);
        if (c->steps < 0)
            return compile_refuse(c, array, "too complicated");
        if (!property) {
            property = &d->properties[d->count++];
            *property = name;
        }
        size_t index = (size_t)(property - d->properties);
        if (d->required[index])
            return compile_refuse(c, item, "the name stands twice");
        d->required[index] = item;
    }
    return true;
}

static bool set_required(struct compiler *c, struct draft *d)
{
    uint64_t *bits = compile_alloc(c, d->rules->words * sizeof *bits);
    if (!bits)
        return false;
    for (size_t i = 0; i < d->count; i++)
        if (d->required[i])
            bits[i >> 6] |= 1ull << (i & 63);
    d->rules->required = bits;
    return true;
}

static bool set_table(struct compiler *c, struct draft *d)
{
    if (d->count < PROGRAM_HASHED_FROM)
        return true;
    uint32_t size = 16;
    while (size < d->count * 2)
        size *= 2;
    uint16_t *table = compile_alloc(c, size * sizeof *table);
    if (!table)
        return false;
    for (size_t i = 0; i < d->count; i++) {
        uint32_t slot = d->properties[i].hash & (size - 1);
        while (table[slot])
            slot = (slot + 1) & (size - 1);
        table[slot] = (uint16_t)(i + 1);
    }
    d->rules->table = table;
    d->rules->table_mask = size - 1;
    return true;
}

static size_t count_names(const uint8_t *properties, const uint8_t *required)
{
    struct walk_member m;
    const uint8_t *item;
    size_t n = 0;
    if (properties)
        for (const uint8_t *p = properties + 1; walk_member(p, &m); p = walk_value(m.value))
            n++;
    if (required)
        for (const uint8_t *p = required + 1; (item = walk_item(p)); p = walk_value(item))
            n++;
    return n;
}

static bool draft_init(struct compiler *c, struct draft *d, const uint8_t *const *values)
{
    size_t most = count_names(values[KEYWORD_PROPERTIES], values[KEYWORD_REQUIRED]);
    if (most > PROGRAM_SEEN_WORDS * 64)
        return compile_refuse(c, values[KEYWORD_PROPERTIES] ? values[KEYWORD_PROPERTIES] : values[KEYWORD_REQUIRED],
                              "too many names: %d at most", PROGRAM_SEEN_WORDS * 64);
    d->rules = compile_alloc(c, sizeof *d->rules);
    d->properties = compile_alloc(c, most * sizeof *d->properties);
    d->required = compile_alloc(c, most * sizeof *d->required);
    return d->rules && d->properties && d->required;
}

static bool read_rest(struct compiler *c, const uint8_t *value, struct object_rules *rules)
{
    if (!value)
        return true;
    const struct node *rest = compile_schema(c, value);
    if (!rest)
        return false;
    rules->rest = rest;
    return true;
}

bool compile_members(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    struct draft d = {0};
    if (!values[KEYWORD_PROPERTIES] && !values[KEYWORD_REQUIRED] && !values[KEYWORD_ADDITIONAL] &&
        !values[KEYWORD_MIN_MEMBERS] && !values[KEYWORD_MAX_MEMBERS])
        return true;
    if (!draft_init(c, &d, values) ||
        !compile_size(c, values[KEYWORD_MIN_MEMBERS], values[KEYWORD_MAX_MEMBERS], &d.rules->members) ||
        !read_rest(c, values[KEYWORD_ADDITIONAL], d.rules) || !read_properties(c, values[KEYWORD_PROPERTIES], &d) ||
        !read_required(c, values[KEYWORD_REQUIRED], &d))
        return false;
    d.rules->count = d.count;
    d.rules->words = (d.count + 63) / 64;
    d.rules->properties = d.properties;
    if (!set_required(c, &d) || !set_table(c, &d))
        return false;
    n->object = d.rules;
    n->seen_words = n->seen_words < d.rules->words ? (unsigned)d.rules->words : n->seen_words;
    for (size_t i = 0; i < d.count; i++)
        if (d.properties[i].node)
            compile_adopt(n, d.properties[i].node, d.rules->words);
    if (d.rules->rest)
        compile_adopt(n, d.rules->rest, d.rules->words);
    return true;
}
