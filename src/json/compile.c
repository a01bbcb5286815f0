/* From a schema's text to its program.  Works on the raw text with json/walk: the program points into the schema's own
 * copy of it, and what is refused is named by its JSON Pointer there. */
#include "json/compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "json/unique.h"
#include "json/walk.h"

/* Of walking after $ref and comparing names; schemas made to be slow are refused. */
#define COMPILE_STEPS (64 << 20)
#define REF_MAX 1024
#define DIALECT "https://json-schema.org/draft/2020-12/schema"

#define KIND_SCHEMA (KIND_BIT(KIND_OBJECT) | KIND_BIT(KIND_BOOLEAN))

static const struct {
    const char *name;
    uint8_t kinds; /* of the keyword's value */
    const char *form;
} keywords[KEYWORD_COUNT] = {
    [KEYWORD_TYPE] = {"type", KIND_BIT(KIND_STRING) | KIND_BIT(KIND_ARRAY), "a type's name or an array of them"},
    [KEYWORD_ENUM] = {"enum", KIND_BIT(KIND_ARRAY), "an array"},
    [KEYWORD_CONST] = {"const", KINDS_ALL, ""},
    [KEYWORD_PROPERTIES] = {"properties", KIND_BIT(KIND_OBJECT), "an object of schemas"},
    [KEYWORD_REQUIRED] = {"required", KIND_BIT(KIND_ARRAY), "an array of names"},
    [KEYWORD_ADDITIONAL] = {"additionalProperties", KIND_SCHEMA, "a schema"},
    [KEYWORD_ITEMS] = {"items", KIND_SCHEMA, "a schema (a list of schemas is called prefixItems)"},
    [KEYWORD_PREFIX] = {"prefixItems", KIND_BIT(KIND_ARRAY), "an array of schemas"},
    [KEYWORD_MIN_LENGTH] = {"minLength", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MAX_LENGTH] = {"maxLength", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MIN_ITEMS] = {"minItems", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MAX_ITEMS] = {"maxItems", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MIN_MEMBERS] = {"minProperties", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MAX_MEMBERS] = {"maxProperties", KIND_BIT(KIND_NUMBER), "a whole number"},
    [KEYWORD_MINIMUM] = {"minimum", KIND_BIT(KIND_NUMBER), "a number"},
    [KEYWORD_MAXIMUM] = {"maximum", KIND_BIT(KIND_NUMBER), "a number"},
    [KEYWORD_ABOVE] = {"exclusiveMinimum", KIND_BIT(KIND_NUMBER), "a number"},
    [KEYWORD_BELOW] = {"exclusiveMaximum", KIND_BIT(KIND_NUMBER), "a number"},
    [KEYWORD_MULTIPLE] = {"multipleOf", KIND_BIT(KIND_NUMBER), "a positive integer"},
    [KEYWORD_ANY] = {"anyOf", KIND_BIT(KIND_ARRAY), "an array of schemas"},
    [KEYWORD_ONE] = {"oneOf", KIND_BIT(KIND_ARRAY), "an array of schemas"},
    [KEYWORD_ALL] = {"allOf", KIND_BIT(KIND_ARRAY), "an array of schemas"},
    [KEYWORD_NOT] = {"not", KIND_SCHEMA, "a schema"},
    [KEYWORD_DEFS] = {"$defs", KIND_BIT(KIND_OBJECT), "an object of schemas"},
    [KEYWORD_REF] = {"$ref", KIND_BIT(KIND_STRING), "a text such as \"#/$defs/name\""},
    [KEYWORD_SCHEMA] = {"$schema", KIND_BIT(KIND_STRING), "\"" DIALECT "\""},
    [KEYWORD_ID] = {"$id", KIND_BIT(KIND_STRING), "a text"},
    [KEYWORD_TITLE] = {"title", KIND_BIT(KIND_STRING), "a text"},
    [KEYWORD_DESCRIPTION] = {"description", KIND_BIT(KIND_STRING), "a text"},
    [KEYWORD_COMMENT] = {"$comment", KIND_BIT(KIND_STRING), "a text"},
    [KEYWORD_FORMAT] = {"format", KIND_BIT(KIND_STRING), "a text"},
    [KEYWORD_DEFAULT] = {"default", KINDS_ALL, ""},
    [KEYWORD_EXAMPLES] = {"examples", KIND_BIT(KIND_ARRAY), "an array"},
    [KEYWORD_DEPRECATED] = {"deprecated", KIND_BIT(KIND_BOOLEAN), "true or false"},
    [KEYWORD_READ_ONLY] = {"readOnly", KIND_BIT(KIND_BOOLEAN), "true or false"},
    [KEYWORD_WRITE_ONLY] = {"writeOnly", KIND_BIT(KIND_BOOLEAN), "true or false"},
    [KEYWORD_SECRET] = {"secret", KIND_BIT(KIND_BOOLEAN), "true or false"},
};

/* Shared by all programs. */
static const struct node anything = {.kinds = KINDS_ALL, .height = 1}, nothing = {.height = 1};
/* Stands for a schema whose keywords are being read: met again, it contains itself. */
static const struct node busy;

bool compile_refuse(struct compiler *c, const uint8_t *at, const char *format, ...)
{
    if (!c->err || c->err->code)
        return false;
    struct walk_place place;
    char pointer[JSON_POINTER_MAX], reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    walk_pointer(c->text, at, pointer, sizeof pointer, &place);
    error_set(c->err, MOAT_E_BAD_MANIFEST, "schema: %s%s%s", pointer, *pointer ? ": " : "", reason);
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_puts(&detail, "{\"pointer\":");
    text_json_string(&detail, pointer);
    if (buf_puts(&detail, "}"))
        text_copy(c->err->detail, sizeof c->err->detail, buf_text(&detail));
    return false;
}

#define BLOCK_SIZE 4000u

struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

void *compile_alloc(struct compiler *c, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct block *b = c->schema->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        b = calloc(1, sizeof *b + room);
        if (!b) {
            if (c->err && !c->err->code)
                error_set(c->err, MOAT_E_OUT_OF_MEMORY, "no memory for a schema");
            return NULL;
        }
        b->size = room;
        b->next = c->schema->blocks;
        c->schema->blocks = b;
    }
    void *place = b->data + b->used;
    b->used += size;
    return place;
}

const uint8_t *compile_string(struct compiler *c, const uint8_t *quote, size_t *len)
{
    bool unused;
    uint8_t *copy = compile_alloc(c, (size_t)(walk_string(quote + 1, &unused) - quote) + 16);
    if (!copy)
        return NULL;
    struct walk_chars chars = walk_chars(quote + 1);
    size_t n = 0;
    for (int b; (b = walk_char(&chars)) >= 0;)
        copy[n++] = (uint8_t)b;
    copy[n] = 0;
    *len = n;
    return copy;
}

static bool is_text(const uint8_t *quote, const char *text)
{
    struct walk_chars chars = walk_chars(quote + 1);
    int b;
    while ((b = walk_char(&chars)) >= 0)
        if (b == 0 || b != (unsigned char)*text++)
            return false;
    return !*text;
}

/* $ref */

static int hex_pair(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 2 || scan_hex(p[0]) < 0 || scan_hex(p[1]) < 0)
        return -1;
    return scan_hex(p[0]) << 4 | scan_hex(p[1]);
}

/* The next token of a pointer in a URI fragment: %XX, then ~0 and ~1.  The position behind it, or NULL. */
static const uint8_t *next_token(const uint8_t *p, const uint8_t *end, uint8_t *token, size_t *len)
{
    bool tilde = false;
    for (*len = 0; p < end && *p != '/'; p++) {
        int b = *p;
        if (b == '%') {
            if ((b = hex_pair(p + 1, end)) < 0)
                return NULL;
            p += 2;
        }
        if (tilde) {
            if (b != '0' && b != '1')
                return NULL;
            token[*len - 1] = b == '0' ? '~' : '/';
            tilde = false;
            continue;
        }
        tilde = b == '~';
        token[(*len)++] = (uint8_t)b;
    }
    return tilde ? NULL : p;
}

static bool token_is(const uint8_t *name, const uint8_t *token, size_t len)
{
    struct walk_chars chars = walk_chars(name);
    for (size_t i = 0; i < len; i++)
        if (walk_char(&chars) != token[i])
            return false;
    return walk_char(&chars) < 0;
}

static const uint8_t *child_of(struct compiler *c, const uint8_t *p, const uint8_t *token, size_t len)
{
    const uint8_t *start = p, *found = NULL, *item;
    struct walk_member m;
    char index[24];
    if (*p == '{') {
        for (p++; !found && walk_member(p, &m); p = walk_value(m.value))
            if (token_is(m.name, token, len))
                found = m.value;
    } else if (*p == '[') {
        p++;
        for (size_t i = 0; !found && (item = walk_item(p)); i++, p = walk_value(item)) {
            size_t n = (size_t)snprintf(index, sizeof index, "%zu", i);
            if (n == len && !memcmp(index, token, n))
                found = item;
        }
    }
    c->steps -= p - start;
    return c->steps < 0 ? NULL : found;
}

static const uint8_t *resolve(struct compiler *c, const uint8_t *ref)
{
    uint8_t token[REF_MAX + 1];
    size_t len;
    const uint8_t *text = compile_string(c, ref, &len);
    if (!text)
        return NULL;
    if (*text != '#' || len > REF_MAX) {
        compile_refuse(c, ref, "$ref must lead to a place in this schema, such as \"#/$defs/name\"");
        return NULL;
    }
    const uint8_t *p = text + 1, *end = text + len, *target = scan_space(c->text);
    while (p && p < end && target) {
        p = *p == '/' ? next_token(p + 1, end, token, &len) : NULL;
        target = p ? child_of(c, target, token, len) : NULL;
    }
    if (!target || !p) {
        compile_refuse(c, ref, "$ref leads nowhere in this schema");
        return NULL;
    }
    return target;
}

/* Lists of schemas */

void compile_adopt(struct node *parent, const struct node *child, size_t words)
{
    if (parent->height <= child->height)
        parent->height = child->height + 1;
    if (parent->seen_words < child->seen_words + words)
        parent->seen_words = child->seen_words + (unsigned)words;
}

/* The schemas of the array (NULL: none), and first the one at `extra` (NULL: none). */
static const struct node_list *compile_list(struct compiler *c, struct node *n, const uint8_t *array,
                                            const uint8_t *extra)
{
    static const uint8_t none[] = "[]";
    const uint8_t *first = (array ? array : none) + 1, *p, *item;
    size_t count = extra != NULL;
    if (array && !walk_item(first)) {
        compile_refuse(c, array, "the array must not be empty");
        return NULL;
    }
    for (p = first; (item = walk_item(p)); p = walk_value(item))
        count++;
    struct node_list *list = compile_alloc(c, sizeof *list + count * sizeof list->nodes[0]);
    if (!list)
        return NULL;
    if (extra && !(list->nodes[list->count++] = compile_schema(c, extra)))
        return NULL;
    for (p = first; (item = walk_item(p)); p = walk_value(item))
        if (!(list->nodes[list->count++] = compile_schema(c, item)))
            return NULL;
    for (size_t i = 0; i < list->count; i++)
        compile_adopt(n, list->nodes[i], 0); /* NOLINT(clang-analyzer-core.NullDereference): each was looked at */
    return list;
}

static bool combinators(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    const uint8_t *target = NULL;
    if (values[KEYWORD_REF] && !(target = resolve(c, values[KEYWORD_REF])))
        return false;
    if (target && c->made[target - c->text] == &busy)
        return compile_refuse(c, values[KEYWORD_REF], "$ref must not lead back to a schema that contains it");
    if ((values[KEYWORD_ALL] || target) && !(n->all = compile_list(c, n, values[KEYWORD_ALL], target)))
        return false;
    if (values[KEYWORD_ANY] && !(n->any = compile_list(c, n, values[KEYWORD_ANY], NULL)))
        return false;
    if (values[KEYWORD_ONE] && !(n->one = compile_list(c, n, values[KEYWORD_ONE], NULL)))
        return false;
    if (values[KEYWORD_NOT]) {
        if (!(n->not_this = compile_schema(c, values[KEYWORD_NOT])))
            return false;
        compile_adopt(n, n->not_this, 0);
    }
    n->more = n->all || n->any || n->one || n->not_this || n->fixed || n->choices;
    return true;
}

/* prefixItems and items may be there, minItems and maxItems too. */
static bool array_rules(struct compiler *c, struct node *n, const uint8_t *const *values)
{
    struct array_rules *rules = compile_alloc(c, sizeof *rules);
    if (!rules || !compile_size(c, values[KEYWORD_MIN_ITEMS], values[KEYWORD_MAX_ITEMS], &rules->items))
        return false;
    if (values[KEYWORD_PREFIX] && !(rules->prefix = compile_list(c, n, values[KEYWORD_PREFIX], NULL)))
        return false;
    if (values[KEYWORD_ITEMS]) {
        if (!(rules->rest = compile_schema(c, values[KEYWORD_ITEMS])))
            return false;
        compile_adopt(n, rules->rest, 0);
        if (rules->rest == &anything)
            rules->rest = NULL;
    }
    if (rules->prefix || rules->rest || values[KEYWORD_MIN_ITEMS] || values[KEYWORD_MAX_ITEMS])
        n->array = rules;
    return true;
}

static bool definitions(struct compiler *c, const uint8_t *defs)
{
    struct walk_member m;
    if (!defs)
        return true;
    for (const uint8_t *p = defs + 1; walk_member(p, &m); p = walk_value(m.value))
        if (!compile_schema(c, m.value))
            return false;
    return true;
}

/* Keywords */

static bool keyword_value(struct compiler *c, const struct walk_member *m, const uint8_t **values)
{
    for (size_t k = 0; k < KEYWORD_COUNT; k++) {
        if (!is_text(m->name - 1, keywords[k].name))
            continue;
        values[k] = m->value;
        if (keywords[k].kinds & KIND_BIT(scan_kind_of[*m->value]))
            return true;
        return compile_refuse(c, m->value, "%s must be %s", keywords[k].name, keywords[k].form);
    }
    struct walk_out name = {.text = (char[80]){0}, .size = 80};
    walk_put_raw(&name, m->name, m->name_end, 60);
    return compile_refuse(c, m->value, "the keyword \"%s\" is not one that Moat checks (docs/json.md lists them)",
                          name.text);
}

static bool read_keywords(struct compiler *c, const uint8_t *object, const uint8_t **values)
{
    struct walk_member m;
    for (const uint8_t *p = object + 1; walk_member(p, &m); p = walk_value(m.value))
        if (!keyword_value(c, &m, values))
            return false;
    if (values[KEYWORD_SCHEMA] && !is_text(values[KEYWORD_SCHEMA], DIALECT))
        return compile_refuse(c, values[KEYWORD_SCHEMA], "$schema must be \"%s\"", DIALECT);
    /* Deeper, $id would change what a $ref means. */
    if (values[KEYWORD_ID] && object != scan_space(c->text))
        return compile_refuse(c, values[KEYWORD_ID], "$id may stand only at the top of the schema");
    return true;
}

static bool build(struct compiler *c, struct node *n, const uint8_t *object)
{
    const uint8_t *values[KEYWORD_COUNT] = {NULL};
    return read_keywords(c, object, values) && definitions(c, values[KEYWORD_DEFS]) && compile_types(c, n, values) &&
           compile_numbers(c, n, values) && compile_strings(c, n, values) && compile_choices(c, n, values) &&
           array_rules(c, n, values) && compile_members(c, n, values) && combinators(c, n, values);
}

/* A schema that only leads to another one is that other one. */
static const struct node *shortened(const struct node *n)
{
    bool own = n->kinds != KINDS_ALL || n->integer || n->number || n->string || n->array || n->object;
    if (!own && !n->more)
        return &anything;
    bool only_all = n->all && n->all->count == 1 && !n->any && !n->one && !n->not_this && !n->fixed && !n->choices;
    return !own && only_all ? n->all->nodes[0] : n;
}

static const struct node *compile_object(struct compiler *c, const uint8_t *object)
{
    struct node *n = compile_alloc(c, sizeof *n);
    if (!n)
        return NULL;
    n->kinds = KINDS_ALL;
    n->height = 1;
    if (!build(c, n, object))
        return NULL;
    if (n->height > PROGRAM_HEIGHT_MAX)
        compile_refuse(c, object, "schemas are nested deeper than %d, $ref followed", PROGRAM_HEIGHT_MAX);
    else if (n->seen_words > PROGRAM_SEEN_WORDS)
        compile_refuse(c, object, "too many properties: %d at most on one way down", PROGRAM_SEEN_WORDS * 64);
    else
        return shortened(n);
    return NULL;
}

const struct node *compile_schema(struct compiler *c, const uint8_t *p)
{
    const struct node **made = &c->made[p - c->text];
    if (*p == 't' || *p == 'f')
        return *p == 't' ? &anything : &nothing;
    if (*p != '{') {
        compile_refuse(c, p, "a schema is an object, true or false");
        return NULL;
    }
    if (*made == &busy) {
        compile_refuse(c, p, "a $ref inside leads back to this schema");
        return NULL;
    }
    if (*made)
        return *made;
    if (c->depth == PROGRAM_HEIGHT_MAX) {
        compile_refuse(c, p, "schemas are nested deeper than %d, $ref followed", PROGRAM_HEIGHT_MAX);
        return NULL;
    }
    *made = &busy;
    c->depth++;
    *made = compile_object(c, p);
    c->depth--;
    return *made;
}

static int text_fault(struct error *err, uint8_t *text, size_t len)
{
    struct json_fault fault;
    if (len > PROGRAM_TEXT_MAX)
        return error_set(err, MOAT_E_BAD_MANIFEST, "schema: longer than %u KiB", PROGRAM_TEXT_MAX >> 10);
    if (json_explain(text, len, &fault))
        return 0;
    return error_set(err, MOAT_E_BAD_MANIFEST, "schema: not JSON at byte %zu: %s", fault.offset, fault.reason);
}

static int compile_all(struct compiler *c)
{
    struct unique *names = malloc(sizeof *names);
    c->made = calloc(c->len + 1, sizeof(const struct node *));
    if (!names || !c->made) {
        free(names);
        return error_set(c->err, MOAT_E_OUT_OF_MEMORY, "no memory for a schema");
    }
    unique_init(names, c->text, &c->steps);
    if (!unique_value(names, scan_space(c->text)))
        compile_refuse(c, names->repeated ? names->repeated : c->text,
                       names->repeated ? "the name stands twice" : "too complicated");
    else
        c->schema->root = compile_schema(c, scan_space(c->text));
    free(names);
    if (c->schema->root)
        return 0;
    return c->err->code ? -(int)c->err->code : error_set(c->err, MOAT_E_BAD_MANIFEST, "schema: too complicated");
}

int json_schema_compile(uint8_t *text, size_t len, struct json_schema **out, struct error *err)
{
    struct error unwanted;
    if (!err)
        err = &unwanted;
    int r = text_fault(err, text, len);
    if (r)
        return r;
    struct json_schema *schema = calloc(1, sizeof *schema);
    if (schema)
        schema->text = calloc(1, len + JSON_PAD);
    if (!schema || !schema->text) {
        free(schema);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a schema");
    }
    memcpy(schema->text, text, len);
    err->code = MOAT_E_OK; /* from here on: the first refusal stays */
    struct compiler c = {.schema = schema, .text = schema->text, .len = len, .err = err, .steps = COMPILE_STEPS};
    r = compile_all(&c);
    free(c.made);
    if (r) {
        json_schema_free(schema);
        return r;
    }
    *out = schema;
    return 0;
}

void json_schema_free(struct json_schema *schema)
{
    if (!schema)
        return;
    for (struct block *b = schema->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(schema->text);
    free(schema);
}
