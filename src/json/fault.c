/* The words for what does not fit. */
#include <stdio.h>

#include "json/program.h"
#include "json/walk.h"

#define QUOTED_MAX 60 /* bytes quoted of a name or a value */

/* %s who, %t the types that may stand here, %f what stands here, %l the list of an enum, %v the schema's value,
 * %m the missing member, %n a count, %p its plural, %k the member's name. */
static const char *const templates[WHY_COUNT] = {
    [WHY_SYNTAX] = "the checkers disagree about this text",
    [WHY_STEPS] = "checking this text takes more steps than are allowed",
    [WHY_TYPE] = "expected %t, found %f",
    [WHY_FALSE] = "no value is allowed here",
    [WHY_ENUM] = "%s must be one of %l",
    [WHY_CONST] = "%s must be %l",
    [WHY_MINIMUM] = "%s must be at least %v",
    [WHY_MAXIMUM] = "%s must be at most %v",
    [WHY_ABOVE] = "%s must be greater than %v",
    [WHY_BELOW] = "%s must be less than %v",
    [WHY_MULTIPLE] = "%s must be a multiple of %v",
    [WHY_MIN_LENGTH] = "%s must have at least %n character%p",
    [WHY_MAX_LENGTH] = "%s must have at most %n character%p",
    [WHY_MIN_ITEMS] = "%s must have at least %n item%p",
    [WHY_MAX_ITEMS] = "%s must have at most %n item%p",
    [WHY_MIN_MEMBERS] = "%s must have at least %n member%p",
    [WHY_MAX_MEMBERS] = "%s must have at most %n member%p",
    [WHY_MISSING] = "missing member %m",
    [WHY_UNKNOWN] = "unknown member %k",
    [WHY_REPEATED] = "repeated member %k",
    [WHY_ANY] = "%s fits none of the %n forms that are allowed",
    [WHY_ONE_NONE] = "%s fits none of the %n forms that are allowed",
    [WHY_ONE_MANY] = "%s fits more than one of %n forms, of which it must fit exactly one",
    [WHY_NOT] = "%s has a form that is not allowed",
};

struct words {
    struct walk_out out;
    const struct miss *miss;
    struct walk_place place;
};

static void put_count(struct words *w, uint64_t n)
{
    char digits[24];
    walk_put(&w->out, digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n));
}

static void put_quoted(struct words *w, const uint8_t *name, const uint8_t *end)
{
    walk_puts(&w->out, "\"");
    walk_put_raw(&w->out, name, end, QUOTED_MAX);
    walk_puts(&w->out, "\"");
}

static void put_who(struct words *w)
{
    if (w->place.top) {
        walk_puts(&w->out, "the value");
    } else if (w->place.item) {
        walk_puts(&w->out, "item ");
        put_count(w, w->place.index);
    } else {
        put_quoted(w, w->place.name, w->place.name_end);
    }
}

static void put_name(struct words *w)
{
    put_quoted(w, w->place.name, w->place.name_end);
}

static void put_missing(struct words *w)
{
    put_quoted(w, w->miss->what.property->name, w->miss->what.property->name + w->miss->what.property->len);
}

static const char *const kind_names[KIND_COUNT] = {
    [KIND_NULL] = "null",     [KIND_BOOLEAN] = "boolean", [KIND_NUMBER] = "number",
    [KIND_STRING] = "string", [KIND_ARRAY] = "array",     [KIND_OBJECT] = "object",
};

static void put_types(struct words *w)
{
    const struct node *n = w->miss->what.node;
    unsigned left = n->kinds;
    for (unsigned kind = 1; kind < KIND_COUNT; kind++) {
        if (!(left & KIND_BIT(kind)))
            continue;
        if (left != n->kinds)
            walk_puts(&w->out, left == KIND_BIT(kind) ? " or " : ", ");
        walk_puts(&w->out, kind == KIND_NUMBER && n->integer ? "integer" : kind_names[kind]);
        left &= ~KIND_BIT(kind);
    }
}

/* A number where an integer belongs is quoted; otherwise the kind says enough. */
static void put_found(struct words *w)
{
    const uint8_t *p = w->miss->at;
    if (scan_kind_of[*p] == KIND_NUMBER && w->miss->what.node->kinds & KIND_BIT(KIND_NUMBER))
        walk_put_raw(&w->out, p, walk_value(p), QUOTED_MAX);
    else
        walk_puts(&w->out, kind_names[scan_kind_of[*p]]);
}

static void put_list(struct words *w)
{
    const struct choices *choices = w->miss->what.choices;
    for (size_t i = 0; i < choices->count && !w->out.cut; i++) {
        const uint8_t *text = choices->list[i].text;
        if (i)
            walk_puts(&w->out, ", ");
        walk_put_raw(&w->out, text, walk_value(text), QUOTED_MAX);
    }
}

static void put_value(struct words *w)
{
    const uint8_t *text = w->miss->what.text;
    walk_put_raw(&w->out, text, walk_value(text), QUOTED_MAX);
}

static void put_n(struct words *w)
{
    put_count(w, w->miss->what.count);
}

static void put_plural(struct words *w)
{
    if (w->miss->what.count != 1)
        walk_puts(&w->out, "s");
}

static void (*const put[128])(struct words *w) = {
    ['s'] = put_who,     ['t'] = put_types, ['f'] = put_found,  ['l'] = put_list, ['v'] = put_value,
    ['m'] = put_missing, ['n'] = put_n,     ['p'] = put_plural, ['k'] = put_name,
};

void fault_fill(struct json_fault *fault, const struct miss *miss, const uint8_t *text)
{
    struct words w = {.out = {.text = fault->reason, .size = sizeof fault->reason}, .miss = miss};
    fault->code = miss->why == WHY_STEPS    ? MOAT_E_LIMIT
                  : miss->why == WHY_SYNTAX ? MOAT_E_INTERNAL
                                            : MOAT_E_BAD_PARAMETERS;
    fault->offset = (size_t)(miss->at - text);
    fault->reason[0] = '\0';
    walk_pointer(text, miss->at, fault->pointer, sizeof fault->pointer, &w.place);
    for (const char *t = templates[miss->why]; *t; t++) {
        if (*t == '%')
            put[(unsigned char)*++t](&w);
        else
            walk_put(&w.out, t, 1);
    }
}
