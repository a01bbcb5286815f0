/* One pass over the text checks syntax and schema together.  Keywords about the kinds are checked on the way;
 * enum, const and the combinators look again at a value that was just passed, and are charged for it.
 * The first miss ends the pass. */
#include "json/run.h"

#include "json/check.h"
#include "json/walk.h"

/* What is looked at again, in steps of the budget (schema.c). */
#define STEPS_BRANCH 8
#define STEPS_DIGIT 4   /* of two numbers that begin alike */
#define STEPS_EXACT 24  /* a number against limits that are not small, in a branch: its one pass is free */
#define STEPS_WORD 2    /* 64 declared members of an object */
#define STEPS_COLLIDE 2 /* a declared name with another's slot */
#define COMPARED_AT_ONCE 16

static const uint8_t *run_value(struct run *r, const struct node *n, const uint8_t *p);

/* Not inlined and cold: a miss happens once. */
__attribute__((cold, noinline)) static const uint8_t *missed(struct run *r, enum why why, const uint8_t *at,
                                                             uint64_t count)
{
    r->miss = (struct miss){.why = why, .at = at, .what.count = count};
    return NULL;
}

__attribute__((cold, noinline)) static const uint8_t *missed_node(struct run *r, const uint8_t *at,
                                                                  const struct node *n)
{
    r->miss = (struct miss){.why = n->kinds ? WHY_TYPE : WHY_FALSE, .at = at, .what.node = n};
    return NULL;
}

__attribute__((cold, noinline)) static const uint8_t *missed_text(struct run *r, enum why why, const uint8_t *at,
                                                                  const uint8_t *text)
{
    r->miss = (struct miss){.why = why, .at = at, .what.text = text};
    return NULL;
}

__attribute__((cold, noinline)) static const uint8_t *missed_property(struct run *r, const uint8_t *at,
                                                                      const struct property *property)
{
    r->miss = (struct miss){.why = WHY_MISSING, .at = at, .what.property = property};
    return NULL;
}

static const uint8_t *syntax(struct run *r, const uint8_t *at)
{
    return missed(r, WHY_SYNTAX, at, 0);
}

/* unique_* said no: repeated, or too dear. */
static const uint8_t *not_unique(struct run *r, const uint8_t *at)
{
    return r->unique.repeated ? missed(r, WHY_REPEATED, r->unique.repeated, 0) : missed(r, WHY_STEPS, at, 0);
}

/* A value that no rule is about. */
static const uint8_t *run_anything(struct run *r, const uint8_t *p)
{
    bool members = false;
    const uint8_t *end = scan_value(p, r->depth, &members);
    if (!end)
        return syntax(r, p);
    if (members && !unique_value(&r->unique, p))
        return not_unique(r, p);
    return end;
}

/* Numbers */

static bool limits_small(struct run *r, const struct number_rules *rules, const uint8_t *p, int64_t n)
{
    if (rules->minimum.text && n < rules->minimum.small)
        return missed_text(r, WHY_MINIMUM, p, rules->minimum.text);
    if (rules->maximum.text && n > rules->maximum.small)
        return missed_text(r, WHY_MAXIMUM, p, rules->maximum.text);
    if (rules->above.text && n <= rules->above.small)
        return missed_text(r, WHY_ABOVE, p, rules->above.text);
    if (rules->below.text && n >= rules->below.small)
        return missed_text(r, WHY_BELOW, p, rules->below.text);
    if (rules->multiple && (uint64_t)(n < 0 ? -n : n) % rules->multiple)
        return missed_text(r, WHY_MULTIPLE, p, rules->multiple_text);
    return true;
}

static bool limits_exact(struct run *r, const struct number_rules *rules, const uint8_t *p, const struct number *n)
{
    if (rules->minimum.text && number_compare(n, &rules->minimum.exact) < 0)
        return missed_text(r, WHY_MINIMUM, p, rules->minimum.text);
    if (rules->maximum.text && number_compare(n, &rules->maximum.exact) > 0)
        return missed_text(r, WHY_MAXIMUM, p, rules->maximum.text);
    if (rules->above.text && number_compare(n, &rules->above.exact) <= 0)
        return missed_text(r, WHY_ABOVE, p, rules->above.text);
    if (rules->below.text && number_compare(n, &rules->below.exact) >= 0)
        return missed_text(r, WHY_BELOW, p, rules->below.text);
    if (rules->multiple && !number_is_multiple(n, rules->multiple))
        return missed_text(r, WHY_MULTIPLE, p, rules->multiple_text);
    return true;
}

static const uint8_t *run_number(struct run *r, const struct node *n, const uint8_t *p)
{
    bool plain = true;
    const uint8_t *end = scan_number(p, &plain);
    if (!end)
        return syntax(r, p);
    if (plain && n->number && n->number->small && end - p <= NUMBER_SMALL)
        return limits_small(r, n->number, p, number_small(p, end)) ? end : NULL;
    if (plain && !n->number)
        return end;
    struct number number = number_at(p);
    if (n->number && r->branches && (r->steps -= STEPS_EXACT + (end - p)) < 0)
        return missed(r, WHY_STEPS, p, 0);
    if (n->integer && !plain && !number_is_integer(&number))
        return missed_node(r, p, n);
    return !n->number || limits_exact(r, n->number, p, &number) ? end : NULL;
}

/* Strings */

static const uint8_t *run_string(struct run *r, const struct node *n, const uint8_t *p)
{
    bool escaped = false;
    const uint8_t *end = scan_string(p + 1, &escaped);
    if (!end)
        return syntax(r, p);
    if (!n->string)
        return end;
    uint64_t length = walk_code_points(p + 1, end - 1);
    if (length < n->string->least)
        return missed(r, WHY_MIN_LENGTH, p, n->string->least);
    if (length > n->string->most)
        return missed(r, WHY_MAX_LENGTH, p, n->string->most);
    return end;
}

/* Arrays */

/* The short way for items that need no more than a look at their first byte and their grammar. */
static inline const uint8_t *run_item(struct run *r, const struct node *n, const uint8_t *p)
{
    if (!n)
        return run_anything(r, p);
    enum scan_kind kind = scan_kind_of[*p];
    if (kind == KIND_NUMBER && n->kinds & KIND_BIT(KIND_NUMBER) && !n->number && !n->more) {
        bool plain = true;
        const uint8_t *end = scan_number(p, &plain);
        if (end && (plain || !n->integer))
            return end;
    }
    return run_value(r, n, p);
}

static const uint8_t *run_items(struct run *r, const struct array_rules *rules, const uint8_t *p, uint64_t *count)
{
    const struct node_list *prefix = rules->prefix;
    for (;;) {
        bool in_prefix = prefix && *count < prefix->count;
        p = run_item(r, in_prefix ? prefix->nodes[*count] : rules->rest, p);
        if (!p)
            return NULL;
        ++*count;
        p = scan_space(p);
        if (*p == ']')
            return p + 1;
        if (*p != ',')
            return syntax(r, p);
        p = scan_space(p + 1);
    }
}

static const uint8_t *run_array(struct run *r, const struct node *n, const uint8_t *array)
{
    const struct array_rules *rules = n->array;
    if (r->depth == JSON_DEPTH_MAX)
        return syntax(r, array);
    r->depth++;
    uint64_t count = 0;
    const uint8_t *p = scan_space(array + 1);
    p = *p == ']' ? p + 1 : run_items(r, rules, p, &count);
    if (!p)
        return NULL;
    r->depth--;
    if (count < rules->items.least)
        return missed(r, WHY_MIN_ITEMS, array, rules->items.least);
    if (count > rules->items.most)
        return missed(r, WHY_MAX_ITEMS, array, rules->items.most);
    return p;
}

/* Objects */

static bool same_name(const struct property *property, const uint8_t *name, size_t len)
{
    return property->len == len && !memcmp(property->name, name, len);
}

/* Names of a schema can be made to meet in one slot: each further one is charged. */
static const struct property *find_hashed(struct run *r, const struct object_rules *rules, const uint8_t *name,
                                          size_t len)
{
    uint32_t hash = unique_hash(name, len);
    for (uint32_t i = hash & rules->table_mask; rules->table[i];
         i = (i + 1) & rules->table_mask, r->steps -= STEPS_COLLIDE) {
        const struct property *property = &rules->properties[rules->table[i] - 1];
        if (property->hash != hash)
            continue;
        r->steps -= (int64_t)(len / COMPARED_AT_ONCE);
        if (same_name(property, name, len))
            return property;
    }
    return NULL;
}

/* hint: members mostly come in the schema's order. */
static inline const struct property *find_plain(struct run *r, const struct object_rules *rules, const uint8_t *name,
                                                size_t len, size_t hint)
{
    if (hint < rules->count && same_name(&rules->properties[hint], name, len))
        return &rules->properties[hint];
    if (rules->table)
        return find_hashed(r, rules, name, len);
    for (size_t i = 0; i < rules->count; i++)
        if (same_name(&rules->properties[i], name, len))
            return &rules->properties[i];
    return NULL;
}

/* A name with escapes is resolved first; one that is longer than every declared name is none of them. */
static const struct property *find_escaped(struct run *r, const struct object_rules *rules, const uint8_t *name)
{
    uint8_t plain[PROGRAM_NAME_MAX + 8]; /* the hash reads 8 bytes at a time */
    struct walk_chars chars = walk_chars(name);
    size_t len = 0;
    for (int c; (c = walk_char(&chars)) >= 0;) {
        if (len == PROGRAM_NAME_MAX)
            return NULL;
        plain[len++] = (uint8_t)c;
    }
    return find_plain(r, rules, plain, len, 0);
}

/* One object on its way. */
struct members {
    const struct object_rules *rules;
    uint64_t *seen;
    struct unique_object names; /* those that the schema does not name */
    uint64_t count;
    size_t hint;
};

/* p stands on the name's quote; returns the position behind the value. */
static inline const uint8_t *run_member(struct run *r, struct members *m, const uint8_t *p)
{
    bool escaped = false;
    const uint8_t *name = p + 1;
    if (*p != '"' || !(p = scan_string(name, &escaped)))
        return syntax(r, name);
    const uint8_t *name_end = p - 1;
    p = scan_space(p);
    if (*p != ':')
        return syntax(r, p);
    p = scan_space(p + 1);
    const struct property *property =
        escaped ? find_escaped(r, m->rules, name) : find_plain(r, m->rules, name, (size_t)(name_end - name), m->hint);
    if (r->steps < 0)
        return missed(r, WHY_STEPS, p, 0);
    const struct node *node = m->rules->rest;
    bool declared = false;
    if (property) {
        size_t index = (size_t)(property - m->rules->properties);
        uint64_t bit = 1ull << (index & 63), *word = &m->seen[index >> 6];
        if (*word & bit)
            return missed(r, WHY_REPEATED, p, 0);
        *word |= bit;
        m->hint = index + 1;
        node = property->node;
        declared = property->declared;
    }
    if (!declared && node && !node->kinds)
        return missed(r, WHY_UNKNOWN, p, 0);
    struct walk_member member = {name, name_end, p, escaped};
    if (!property && !unique_add(&r->unique, &m->names, &member))
        return not_unique(r, p);
    m->count++;
    return node ? run_value(r, node, p) : run_anything(r, p);
}

static const uint8_t *run_members(struct run *r, struct members *m, const uint8_t *p)
{
    for (;;) {
        if (!(p = run_member(r, m, p)))
            return NULL;
        p = scan_space(p);
        if (*p == '}')
            return p + 1;
        if (*p != ',')
            return syntax(r, p);
        p = scan_space(p + 1);
    }
}

static bool members_suffice(struct run *r, const struct members *m, const uint8_t *object)
{
    const struct object_rules *rules = m->rules;
    for (size_t w = 0; w < rules->words; w++) {
        uint64_t missing = rules->required[w] & ~m->seen[w];
        if (missing)
            return missed_property(r, object, &rules->properties[w * 64 + (size_t)__builtin_ctzll(missing)]);
    }
    if (m->count < rules->members.least)
        return missed(r, WHY_MIN_MEMBERS, object, rules->members.least);
    if (m->count > rules->members.most)
        return missed(r, WHY_MAX_MEMBERS, object, rules->members.most);
    return true;
}

static const uint8_t *run_object(struct run *r, const struct node *n, const uint8_t *object)
{
    struct members m = {.rules = n->object, .seen = r->seen + r->seen_used, .names = unique_begin(&r->unique)};
    if (r->depth == JSON_DEPTH_MAX)
        return syntax(r, object);
    r->depth++;
    r->seen_used += (unsigned)m.rules->words;
    r->steps -= STEPS_WORD * (int64_t)m.rules->words; /* an empty object of many declared members costs those */
    if (r->steps < 0)
        return missed(r, WHY_STEPS, object, 0);
    for (size_t w = 0; w < m.rules->words; w++)
        m.seen[w] = 0;
    const uint8_t *p = scan_space(object + 1);
    p = *p == '}' ? p + 1 : run_members(r, &m, p);
    if (!p || !members_suffice(r, &m, object))
        return NULL;
    if (!unique_end(&r->unique, &m.names, object))
        return not_unique(r, object);
    r->seen_used -= (unsigned)m.rules->words;
    r->depth--;
    return p;
}

/* What looks at the value again */

/* The choice at c, which is of the value's kind. */
static bool same_choice(struct run *r, const struct choice *c, const uint8_t *p, size_t len, bool plain,
                        const struct number *number)
{
    if (*p == '"' && plain) {
        if (c->len != len - 2)
            return false;
        r->steps -= (int64_t)(len / COMPARED_AT_ONCE);
        return !memcmp(c->name, p + 1, c->len);
    }
    if (c->kind == KIND_NUMBER) {
        r->steps -= 1 + STEPS_DIGIT * (int64_t)number_alike(&c->number, number);
        return number_compare(&c->number, number) == 0;
    }
    return equal_values(c->text, p, &r->steps);
}

static bool fits_choice(struct run *r, const struct choices *choices, const uint8_t *p, const uint8_t *end)
{
    size_t len = (size_t)(end - p);
    enum scan_kind kind = scan_kind_of[*p];
    bool plain = kind == KIND_STRING && !memchr(p, '\\', len);
    struct number number = {0};
    if (kind == KIND_NUMBER)
        number = number_at(p);
    for (size_t i = 0; --r->steps >= 0 && i < choices->count; i++)
        if (choices->list[i].kind == kind && same_choice(r, &choices->list[i], p, len, plain, &number))
            return true;
    return false;
}

static bool run_choices(struct run *r, const struct choices *choices, const uint8_t *p, const uint8_t *end)
{
    if (!choices || fits_choice(r, choices, p, end))
        return true;
    missed(r, r->steps < 0 ? WHY_STEPS : choices->is_const ? WHY_CONST : WHY_ENUM, p, 0);
    r->miss.what.choices = choices;
    return false;
}

/* Does the value [p, end), known to be JSON without repeated names, fit n?  r->miss says why not. */
static bool run_branch(struct run *r, const struct node *n, const uint8_t *p, const uint8_t *end)
{
    unsigned depth = r->depth, seen_used = r->seen_used, used = r->unique.used;
    bool kind = n->kinds & KIND_BIT(scan_kind_of[*p]); /* else its first byte says all */
    r->steps -= STEPS_BRANCH + (kind ? end - p : 0);
    if (r->steps < 0)
        return missed(r, WHY_STEPS, p, 0);
    r->branches++;
    bool fits = run_value(r, n, p);
    r->branches--;
    if (fits)
        return true;
    r->depth = depth;
    r->seen_used = seen_used;
    r->unique.used = used;
    return false;
}

/* How many of the list fit, up to `enough`; *nearest is the miss that came furthest.  false: over the budget. */
static bool count_fits(struct run *r, const struct node_list *list, const uint8_t *p, const uint8_t *end, size_t enough,
                       size_t *fits, struct miss *nearest)
{
    *fits = 0;
    *nearest = (struct miss){.at = p};
    for (size_t i = 0; i < list->count && *fits < enough; i++) {
        if (run_branch(r, list->nodes[i], p, end))
            ++*fits;
        else if (r->miss.why == WHY_STEPS)
            return false;
        else if (r->miss.at > nearest->at)
            *nearest = r->miss;
    }
    return true;
}

/* A branch that failed inside the value tells more than "none fits". */
static bool none_fits(struct run *r, enum why why, const struct node_list *list, const uint8_t *p,
                      const struct miss *nearest)
{
    missed(r, why, p, list->count);
    if (nearest->at > p)
        r->miss = *nearest;
    return false;
}

static bool run_alternatives(struct run *r, const struct node *n, const uint8_t *p, const uint8_t *end)
{
    struct miss nearest;
    size_t fits;
    if (n->any) {
        if (!count_fits(r, n->any, p, end, 1, &fits, &nearest))
            return false;
        if (!fits)
            return none_fits(r, WHY_ANY, n->any, p, &nearest);
    }
    if (n->one) {
        if (!count_fits(r, n->one, p, end, 2, &fits, &nearest))
            return false;
        if (!fits)
            return none_fits(r, WHY_ONE_NONE, n->one, p, &nearest);
        if (fits > 1)
            return missed(r, WHY_ONE_MANY, p, n->one->count);
    }
    return true;
}

static bool run_more(struct run *r, const struct node *n, const uint8_t *p, const uint8_t *end)
{
    if (!run_choices(r, n->fixed, p, end) || !run_choices(r, n->choices, p, end))
        return false;
    for (size_t i = 0; n->all && i < n->all->count; i++)
        if (!run_branch(r, n->all->nodes[i], p, end))
            return false;
    if (!run_alternatives(r, n, p, end))
        return false;
    if (n->not_this) {
        if (run_branch(r, n->not_this, p, end))
            return missed(r, WHY_NOT, p, 0);
        if (r->miss.why == WHY_STEPS)
            return false;
    }
    return true;
}

/* The value at p against n; the position behind it, or NULL with r->miss. */
static const uint8_t *run_kind(struct run *r, const struct node *n, const uint8_t *p)
{
    enum scan_kind kind = scan_kind_of[*p];
    if (!(n->kinds & KIND_BIT(kind)))
        return missed_node(r, p, n);
    switch (kind) {
    case KIND_NUMBER:
        return run_number(r, n, p);
    case KIND_STRING:
        return run_string(r, n, p);
    case KIND_ARRAY:
        return n->array ? run_array(r, n, p) : run_anything(r, p);
    case KIND_OBJECT:
        return n->object ? run_object(r, n, p) : run_anything(r, p);
    default: {
        const uint8_t *end = scan_literal(p);
        return end ? end : syntax(r, p);
    }
    }
}

static const uint8_t *run_value(struct run *r, const struct node *n, const uint8_t *p)
{
    const uint8_t *end = run_kind(r, n, p);
    return !end || !n->more || run_more(r, n, p, end) ? end : NULL;
}

const uint8_t *run_text(struct run *r, const struct node *root, const uint8_t *p)
{
    return run_value(r, root, p);
}

bool run_outermost(struct run *r, const struct node *root, const uint8_t *p, bool members)
{
    if (!(root->kinds & KIND_BIT(scan_kind_of[*p])))
        missed_node(r, p, root);
    else if (!members || unique_value(&r->unique, p))
        return true;
    else
        not_unique(r, p);
    return false;
}
