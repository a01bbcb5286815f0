#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/reading.h"
#include "json/cursor.h"

#define POINTER_TOKENS_MAX 64

struct compiler {
    struct reading *r;
    uint32_t own;
    unsigned views;
    struct piece *pieces;
    struct ref *refs;
    struct form_place *forms;
    uint32_t npieces, pieces_cap, nrefs, refs_cap, nforms, forms_cap;
    const uint8_t *mark; /* from here on nothing is put yet */
    bool plain;
};

/* ---- growing ---- */

/* Room for one more; NULL: no memory, and list is as it was. */
static void *grown(void *list, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    uint32_t more = *cap ? *cap * 2 : 8;
    void *grown = realloc(list, more * size);
    if (grown)
        *cap = more;
    return grown;
}

static bool no_memory(struct reading *r)
{
    r->task->arena.failed = true;
    return false;
}

static bool add_piece(struct compiler *c, struct piece piece)
{
    struct piece *more = grown(c->pieces, c->npieces, &c->pieces_cap, sizeof *more);
    if (!more)
        return no_memory(c->r);
    c->pieces = more;
    c->pieces[c->npieces++] = piece;
    return true;
}

static bool put_until(struct compiler *c, const uint8_t *end)
{
    struct piece piece = {.kind = PIECE_BYTES, .bytes = c->mark, .len = (size_t)(end - c->mark)};
    c->plain &= c->npieces == 0;
    return !piece.len || add_piece(c, piece);
}

static bool add_ref(struct compiler *c, enum piece_kind kind, const struct ref *ref)
{
    if (c->r->nrefs++ == TASK_REFS_MAX)
        return reading_fault(c->r, FAULT_SIZE, ref->at, "a task has at most %d references", TASK_REFS_MAX);
    struct ref *more = grown(c->refs, c->nrefs, &c->refs_cap, sizeof *more);
    if (!more)
        return no_memory(c->r);
    c->refs = more;
    c->refs[c->nrefs] = *ref;
    return add_piece(c, (struct piece){.kind = kind, .ref = c->nrefs++});
}

static bool add_form(struct compiler *c, enum form form, const uint8_t *at, const uint8_t *object)
{
    struct form_place *more = grown(c->forms, c->nforms, &c->forms_cap, sizeof *more);
    if (!more)
        return no_memory(c->r);
    c->forms = more;
    c->forms[c->nforms++] = (struct form_place){form, at, object, c->nrefs};
    return true;
}

/* These bytes are looked at once more than the one pass. */
static bool charge(struct reading *r, const uint8_t *at, size_t bytes)
{
    r->skipped += bytes;
    if (r->skipped <= TASK_LOOKED_MAX)
        return true;
    return reading_fault(r, FAULT_SIZE, at, "reading this task takes more steps than are allowed");
}

/* ---- pointers ---- */

/* ~1 and ~0; false: neither. */
static bool unescape(char *token)
{
    char *to = token;
    for (const char *from = token; *from; from++) {
        if (*from == '~' && from[1] != '0' && from[1] != '1')
            return false;
        *to++ = *from != '~' ? *from : *++from == '0' ? '~' : '/';
    }
    *to = '\0';
    return true;
}

/* text is cut up in place. */
static int split(char *text, const char *tokens[POINTER_TOKENS_MAX])
{
    int n = 0;
    if (*text != '/')
        return -1;
    for (char *at = text; at; n++) {
        char *next = strchr(at + 1, '/');
        if (n == POINTER_TOKENS_MAX)
            return -1;
        if (next)
            *next = '\0';
        tokens[n] = at + 1;
        if (!unescape(at + 1))
            return -1;
        at = next;
    }
    return n;
}

static bool keep_tokens(struct reading *r, struct ref *ref, const char *const *tokens, int n)
{
    const char **kept = n > 0 ? arena_get(&r->task->arena, (size_t)n, sizeof *kept) : NULL;
    if (n > 0 && !kept)
        return false;
    for (int i = 0; i < n; i++)
        kept[i] = tokens[i];
    ref->tokens = kept;
    ref->ntokens = (uint32_t)(n > 0 ? n : 0);
    return true;
}

static bool read_step_part(struct reading *r, struct ref *ref, const char *const *tokens, int n, uint32_t own,
                           unsigned views)
{
    int64_t step = n > 1 ? reading_step(r, tokens[1], strlen(tokens[1])) : -1;
    const char *part = n > 2 ? tokens[2] : "";
    if (step < 0)
        return reading_fault(r, FAULT_REFERENCE, ref->at, "there is no step \"%.64s\"", n > 1 ? tokens[1] : "");
    ref->step = (uint32_t)step;
    ref->kind = strcmp(part, "result") == 0 ? REF_RESULT : strcmp(part, "error") == 0 ? REF_ERROR : REF_OUTCOME;
    if (ref->kind == REF_OUTCOME && (strcmp(part, "outcome") != 0 || n > 3))
        return reading_fault(r, FAULT_REFERENCE, ref->at, "of a step there is /result, /outcome and /error");
    if (ref->kind == REF_ERROR &&
        (n > 4 || (n == 4 && strcmp(tokens[3], "code") != 0 && strcmp(tokens[3], "message") != 0)))
        return reading_fault(r, FAULT_REFERENCE, ref->at, "of an error there is /code and /message");
    if (!keep_tokens(r, ref, tokens + 3, n - 3))
        return false;
    if (own == VIEW_NO_STEP)
        return true;
    if (ref->step != own)
        return reading_edge(r, own, ref->step, ref->at);
    if ((ref->kind == REF_ERROR && views & VIEW_OWN_ERROR) || (ref->kind == REF_RESULT && views & VIEW_OWN_RESULT))
        return true;
    return reading_fault(r, FAULT_REFERENCE, ref->at, "the step refers to itself");
}

/* What the input lacks is known now. */
static bool check_input(struct reading *r, struct ref *ref)
{
    const struct task *t = r->task;
    if (!charge(r, ref->at, ref->ntokens && t->input ? cursor_length(t->input) : 0))
        return false;
    if (ref->fallback || (t->input && ref_follow(ref, t->input)))
        return true;
    return reading_fault(r, FAULT_REFERENCE, ref->at,
                         t->input ? "the task's input has no such value" : "the task has no input");
}

static bool resolve(struct reading *r, struct ref *ref, const char *const *tokens, int n, uint32_t own, unsigned views)
{
    const char *first = n > 0 ? tokens[0] : "";
    bool item = strcmp(first, "item") == 0, index = strcmp(first, "index") == 0;
    if (strcmp(first, "steps") == 0)
        return read_step_part(r, ref, tokens, n, own, views);
    if (strcmp(first, "input") == 0) {
        ref->kind = REF_INPUT;
        return keep_tokens(r, ref, tokens + 1, n - 1) && check_input(r, ref);
    }
    if (!item && !index)
        return reading_fault(r, FAULT_REFERENCE, ref->at, "pointers lead to /input, /steps/ID, /item or /index");
    if (!(views & VIEW_ITEM))
        return reading_fault(r, FAULT_REFERENCE, ref->at, "there is no /%s here: it is of a step with `for_each`",
                             first);
    if (index && n > 1)
        return reading_fault(r, FAULT_REFERENCE, ref->at, "/index is a number");
    ref->kind = item ? REF_ITEM : REF_INDEX;
    return keep_tokens(r, ref, tokens + 1, n - 1);
}

static bool pointer_of(struct reading *r, char *text, uint32_t own, unsigned views, struct ref *ref)
{
    const char *tokens[POINTER_TOKENS_MAX];
    int n = split(text, tokens);
    if (n < 0)
        return reading_fault(r, FAULT_TEMPLATE, ref->at, "not a JSON Pointer: it begins with / and ~ is ~0");
    return resolve(r, ref, tokens, n, own, views);
}

/* Only now its text is the arena's, to be cut up. */
static char *pointer_text(struct reading *r, const uint8_t *string)
{
    size_t len = cursor_length(string);
    char *text = arena_get(&r->task->arena, len + 1, 1);
    if (!text)
        return NULL;
    if (cursor_text(string, text, len + 1) >= 0)
        return text;
    reading_fault(r, FAULT_TEMPLATE, string, "a JSON Pointer is a text without NUL and lone surrogates");
    return NULL;
}

bool template_pointer(struct reading *r, const uint8_t *string, uint32_t own, unsigned views, struct ref *out)
{
    char *text = pointer_text(r, string);
    out->at = string;
    /* What an outcome or a value of no step is, is no fault here: it equals nothing. */
    return text && pointer_of(r, text, own, views, out);
}

/* ---- forms ---- */

static enum form form_name(const uint8_t *name)
{
    if (cursor_text_is(name, "$from"))
        return FORM_FROM;
    if (cursor_text_is(name, "$text"))
        return FORM_TEXT;
    return cursor_text_is(name, "$literal") ? FORM_LITERAL : FORM_NONE;
}

/* Which form the object is; a form has one member, or two: "$from" and "default". */
static enum form form_of(struct compiler *c, const uint8_t *object)
{
    struct cursor_member m = {0};
    const uint8_t *at = object;
    const uint8_t *name = cursor_root(object + 1);
    if (*name == '}')
        return FORM_NONE;
    enum form form = form_name(name);
    if (form || !cursor_text_is(name, "default"))
        return form;
    cursor_next_member(&at, &m);
    charge(c->r, object, (size_t)(at - object));
    return cursor_next_member(&at, &m) && form_name(m.name) == FORM_FROM ? FORM_FROM : FORM_NONE;
}

static bool compile_from(struct compiler *c, const uint8_t *object)
{
    struct cursor_member m;
    struct ref ref = {.at = object};
    const uint8_t *pointer = NULL;
    for (const uint8_t *at = object; cursor_next_member(&at, &m);) {
        if (form_name(m.name) == FORM_FROM) {
            pointer = m.value;
        } else if (cursor_text_is(m.name, "default")) {
            ref.fallback = m.value;
            ref.fallback_len = cursor_length(m.value);
        } else {
            return reading_fault(c->r, FAULT_TEMPLATE, object,
                                 "beside \"$from\" there is \"default\" and nothing else");
        }
    }
    if (cursor_kind(pointer) != CURSOR_STRING)
        return reading_fault(c->r, FAULT_TEMPLATE, object, "\"$from\" is a JSON Pointer, a text");
    char *text = pointer_text(c->r, pointer);
    return text && pointer_of(c->r, text, c->own, c->views, &ref) && add_ref(c, PIECE_VALUE, &ref);
}

/* The pointer between two braces of a text, raw: its escapes are those of the text. */
static bool compile_inside(struct compiler *c, const uint8_t *object, const uint8_t *from, const uint8_t *end)
{
    size_t len = (size_t)(end - from);
    struct ref ref = {.at = object};
    uint8_t *quoted = arena_get(&c->r->task->arena, len + 2 + JSON_PAD, 1);
    if (!quoted)
        return false;
    quoted[0] = quoted[len + 1] = '"';
    memcpy(quoted + 1, from, len);
    char *text = pointer_text(c->r, quoted);
    return text && pointer_of(c->r, text, c->own, c->views, &ref) && add_ref(c, PIECE_INSIDE, &ref);
}

static const uint8_t *until_brace(const uint8_t *p, const uint8_t *end, uint8_t brace)
{
    for (; p < end && *p != brace; p++)
        p += *p == '\\';
    return p;
}

/* The string stands for itself, quotes included, but for its braces. */
static bool compile_parts(struct compiler *c, const uint8_t *object, const uint8_t *string)
{
    const uint8_t *end = cursor_behind(string) - 1, *p = string + 1;
    c->mark = string;
    while ((p = until_brace(p, end, '{')) < end) {
        bool doubled = p[1] == '{';
        if (!put_until(c, doubled ? p + 1 : p))
            return false;
        const uint8_t *close = doubled ? p + 1 : until_brace(p, end, '}');
        if (close >= end)
            return reading_fault(c->r, FAULT_TEMPLATE, object, "a { of \"$text\" has no }; {{ is a brace itself");
        if (!doubled && !compile_inside(c, object, p + 1, close))
            return false;
        c->mark = p = close + 1;
    }
    return put_until(c, end + 1);
}

static bool compile_form(struct compiler *c, const uint8_t *object, const uint8_t *behind, enum form form)
{
    struct cursor_member m, second;
    const uint8_t *at = object;
    if (!charge(c->r, object, (size_t)(behind - object)) || !put_until(c, object))
        return false;
    c->plain = false;
    if (form == FORM_FROM)
        return add_form(c, form, object, object) && compile_from(c, object);
    cursor_next_member(&at, &m);
    if (cursor_next_member(&at, &second))
        return reading_fault(c->r, FAULT_TEMPLATE, object, "beside \"%s\" there is nothing else",
                             form == FORM_TEXT ? "$text" : "$literal");
    if (!add_form(c, form, m.value, object))
        return false;
    if (form == FORM_LITERAL) {
        c->mark = m.value;
        return put_until(c, cursor_behind(m.value));
    }
    if (cursor_kind(m.value) != CURSOR_STRING)
        return reading_fault(c->r, FAULT_TEMPLATE, object, "\"$text\" is a text");
    return compile_parts(c, object, m.value);
}

/* ---- the one pass ---- */

static const uint8_t *compile_value(struct compiler *c, const uint8_t *p);

static const uint8_t *compile_members(struct compiler *c, const uint8_t *object)
{
    const uint8_t *p = cursor_root(object + 1);
    while (*p != '}') {
        if (form_name(p)) {
            reading_fault(c->r, FAULT_TEMPLATE, object,
                          "\"$from\", \"$text\" and \"$literal\" stand alone in their object");
            return NULL;
        }
        p = cursor_root(cursor_root(cursor_behind(p)) + 1); /* behind the name, and the colon */
        p = compile_value(c, p);
        if (!p)
            return NULL;
        p = cursor_root(p);
        p = *p == ',' ? cursor_root(p + 1) : p;
    }
    return p + 1;
}

static const uint8_t *compile_object(struct compiler *c, const uint8_t *object)
{
    enum form form = form_of(c, object);
    if (!form)
        return compile_members(c, object);
    const uint8_t *behind = cursor_behind(object);
    if (!compile_form(c, object, behind, form))
        return NULL;
    c->mark = behind;
    return behind;
}

static const uint8_t *compile_array(struct compiler *c, const uint8_t *array)
{
    const uint8_t *p = cursor_root(array + 1);
    while (*p != ']') {
        p = compile_value(c, p);
        if (!p)
            return NULL;
        p = cursor_root(p);
        p = *p == ',' ? cursor_root(p + 1) : p;
    }
    return p + 1;
}

static const uint8_t *compile_value(struct compiler *c, const uint8_t *p)
{
    if (c->r->full)
        return NULL;
    enum cursor_kind kind = cursor_kind(p);
    return kind == CURSOR_OBJECT ? compile_object(c, p) : kind == CURSOR_ARRAY ? compile_array(c, p) : cursor_behind(p);
}

static const struct task_template *keep(struct compiler *c, const uint8_t *at, const uint8_t *behind)
{
    struct arena *a = &c->r->task->arena;
    struct task_template *t = arena_get(a, 1, sizeof *t);
    struct piece *pieces = arena_get(a, c->npieces, sizeof *pieces);
    struct ref *refs = arena_get(a, c->nrefs, sizeof *refs);
    struct form_place *forms = arena_get(a, c->nforms, sizeof *forms);
    if (!t || !pieces || !refs || !forms)
        return NULL;
    if (c->npieces)
        memcpy(pieces, c->pieces, c->npieces * sizeof *pieces);
    if (c->nrefs)
        memcpy(refs, c->refs, c->nrefs * sizeof *refs);
    if (c->nforms)
        memcpy(forms, c->forms, c->nforms * sizeof *forms);
    *t = (struct task_template){.at = at,
                                .len = (size_t)(behind - at),
                                .pieces = pieces,
                                .refs = refs,
                                .forms = forms,
                                .npieces = c->npieces,
                                .nrefs = c->nrefs,
                                .nforms = c->nforms,
                                .plain = c->plain};
    return t;
}

const struct task_template *template_compile(struct reading *r, const uint8_t *at, uint32_t own, unsigned views)
{
    struct compiler c = {.r = r, .own = own, .views = views, .mark = at, .plain = true};
    const uint8_t *behind = compile_value(&c, at);
    const struct task_template *t = behind && put_until(&c, behind) ? keep(&c, at, behind) : NULL;
    free(c.pieces);
    free(c.refs);
    free(c.forms);
    return t;
}

/* ---- filling ---- */

static const uint8_t *item_at(const uint8_t *array, const char *token)
{
    char *end;
    const uint8_t *item;
    if (*token < '0' || *token > '9' || (*token == '0' && token[1]) || strlen(token) > 9)
        return NULL;
    unsigned long n = strtoul(token, &end, 10);
    if (*end)
        return NULL;
    while (cursor_next_item(&array, &item))
        if (n-- == 0)
            return item;
    return NULL;
}

const uint8_t *ref_follow(const struct ref *ref, const uint8_t *value)
{
    for (uint32_t i = 0; i < ref->ntokens && value; i++) {
        enum cursor_kind kind = cursor_kind(value);
        value = kind == CURSOR_OBJECT  ? cursor_get(value, ref->tokens[i])
                : kind == CURSOR_ARRAY ? item_at(value, ref->tokens[i])
                                       : NULL;
    }
    return value;
}

void ref_text(const struct ref *ref, const char *step_id, char *out, size_t size)
{
    static const char *const heads[] = {[REF_INPUT] = "/input", [REF_RESULT] = "/result", [REF_OUTCOME] = "/outcome",
                                        [REF_ERROR] = "/error", [REF_ITEM] = "/item",     [REF_INDEX] = "/index"};
    bool of_step = ref->kind == REF_RESULT || ref->kind == REF_OUTCOME || ref->kind == REF_ERROR;
    int n = snprintf(out, size, "%s%s%s", of_step ? "/steps/" : "", of_step ? step_id : "", heads[ref->kind]);
    for (uint32_t i = 0; i < ref->ntokens && n > 0 && (size_t)n < size; i++)
        n += snprintf(out + n, size - (size_t)n, "/%s", ref->tokens[i]);
}

/* Inside a text: texts as they are, their escapes too; other values as their JSON. */
static bool put_inside(struct buf *out, const uint8_t *value, size_t len)
{
    if (*value == '"')
        return buf_put(out, value + 1, len - 2);
    return text_json_escape(out, (const char *)value, len);
}

static int fill_ref(const struct ref *ref, enum piece_kind kind, const struct template_source *source, struct buf *out,
                    struct error *err)
{
    const uint8_t *value;
    size_t len;
    int rc = source->value(source->context, ref, &value, &len, err);
    if (rc < 0)
        return rc;
    if (rc == 0 && !ref->fallback) {
        char pointer[200];
        ref_text(ref, "…", pointer, sizeof pointer);
        return error_set(err, MOAT_E_BAD_PARAMETERS, "there is no value at %s, and no \"default\"", pointer);
    }
    if (rc == 0) {
        value = ref->fallback;
        len = ref->fallback_len;
    }
    if (kind == PIECE_VALUE)
        buf_put(out, value, len);
    else
        put_inside(out, value, len);
    return 0;
}

int template_fill(const struct task_template *t, const struct template_source *source, struct buf *out,
                  struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < t->npieces && rc == 0 && !out->failed; i++) {
        const struct piece *p = &t->pieces[i];
        if (p->kind == PIECE_BYTES)
            buf_put(out, p->bytes, p->len);
        else
            rc = fill_ref(&t->refs[p->ref], p->kind, source, out, err);
    }
    if (rc < 0 || !out->failed)
        return rc;
    return error_set(err, MOAT_E_TOO_LARGE,
                     "what a template is filled to has more than %zu bytes, or there is no memory", out->max);
}
