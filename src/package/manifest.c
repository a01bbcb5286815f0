/* The shape is the published schema's business, checked by src/json like a client's parameters; only then a tree is
 * built, and the rules that a schema cannot say are checked over it. */
#include "package/manifest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/manifest_internal.h"
#include "package/package.h"
#include "package/paths.h"

#define POINTER_MAX 512

/* docs/schema/plugin.schema.json, made into an array by embed.py. */
extern const uint8_t manifest_schema_text[];
extern const size_t manifest_schema_text_len;

struct kept {
    struct kept *next;
    max_align_t bytes[];
};

static pthread_once_t shape_once = PTHREAD_ONCE_INIT;
static struct json_schema *shape; /* of every manifest; compiled once, never freed */

static void compile_shape(void)
{
    struct buf text = BUF_INIT(1 << 20);
    if (buf_put(&text, manifest_schema_text, manifest_schema_text_len))
        json_schema_compile(text.data, text.len, &shape, NULL);
    buf_free(&text);
}

void *reader_keep(struct reader *r, size_t count, size_t size)
{
    struct kept *block = NULL;
    if (!count || size <= (SIZE_MAX - sizeof *block) / count)
        block = calloc(1, sizeof *block + count * size);
    if (!block) {
        error_set(r->err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
        return NULL;
    }
    block->next = r->holder->kept;
    r->holder->kept = block;
    return block->bytes;
}

static int refuse_text(struct error *err, const char *pointer, const char *text)
{
    int rc = error_set(err, MOAT_E_BAD_MANIFEST, "plugin.json: %s%s%s", pointer, *pointer ? ": " : "", text);
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_puts(&detail, "{\"pointer\":");
    text_json_string(&detail, pointer);
    if (err && buf_putc(&detail, '}'))
        text_copy(err->detail, sizeof err->detail, buf_text(&detail));
    return rc;
}

static void add_finding(struct findings *f, enum moat_code code, const char *pointer, const char *text)
{
    char where[POINTER_MAX + 16];
    snprintf(where, sizeof where, "plugin.json%s%s", *pointer ? "#" : "", pointer);
    findings_add(f, code, where, error_info(code)->advice, "%s", text);
}

int reader_refuse(struct reader *r, const char *pointer, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!r->findings)
        return refuse_text(r->err, pointer, text);
    r->refused++;
    add_finding(r->findings, MOAT_E_BAD_MANIFEST, pointer, text);
    return 0;
}

bool reader_slice(json_t *object, struct slice object_text, const char *name, struct slice *out)
{
    /* The tree keeps the order of the text, and no member stands twice: the place in one is the place in the other. */
    size_t place = 0;
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i), place++) {
        if (strcmp(json_object_iter_key(i), name) != 0)
            continue;
        *out = slice_member(object_text, place);
        return true;
    }
    return false;
}

int reader_strings(struct reader *r, json_t *array, const char *const **out, size_t *n)
{
    size_t count = json_array_size(array);
    const char **list = reader_keep(r, count, sizeof *list);
    if (!list)
        return -MOAT_E_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++)
        list[i] = json_string_value(json_array_get(array, i));
    *out = list;
    *n = count;
    return 0;
}

/* The compiler's pointer starts at the schema, the author's at the file: the two are joined. */
static int refuse_schema(struct reader *r, const char *pointer, const struct error *why)
{
    static const char before[] = "schema: ";
    char joined[POINTER_MAX];
    json_t *detail = json_loads(why->detail, 0, NULL);
    const char *inner = json_string_value(json_object_get(detail, "pointer"));
    const char *reason = why->message;
    if (strncmp(reason, before, sizeof before - 1) == 0)
        reason += sizeof before - 1;
    if (inner && *inner && strncmp(reason, inner, strlen(inner)) == 0)
        reason += strlen(inner) + 2; /* ": " */
    snprintf(joined, sizeof joined, "%s%s", pointer, inner ? inner : "");
    json_decref(detail);
    return reader_refuse(r, joined, "%s", reason);
}

int reader_schema(struct reader *r, struct slice schema, const char *pointer, const char **text,
                  struct json_schema **compiled)
{
    uint8_t *copy = reader_keep(r, schema.len + JSON_PAD, 1);
    if (!copy)
        return -MOAT_E_OUT_OF_MEMORY;
    memcpy(copy, schema.text, schema.len);
    struct error why = {0};
    int rc = json_schema_compile(copy, schema.len, compiled, &why);
    if (rc == -MOAT_E_BAD_MANIFEST)
        return refuse_schema(r, pointer, &why);
    if (rc)
        return error_set(r->err, why.code, "%s", why.message);
    /* The checker may have used the place behind the text. */
    copy[schema.len] = 0;
    *text = (const char *)copy;
    return 0;
}

/* Strings of a manifest reach terminals, logs and pages: none may steer them. */
static bool is_plain(const char *text, bool lines)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 && !(lines && (*p == '\n' || *p == '\t')))
            return false;
        if (*p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f))
            return false;
        /* U+202A..U+202E and U+2066..U+2069 turn the direction of what follows. */
        if (*p == 0xe2 &&
            ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
            return false;
    }
    return true;
}

static int read_text(struct reader *r, const char *name, bool lines, const char **out)
{
    json_t *value = json_object_get(r->holder->root, name);
    *out = value ? json_string_value(value) : "";
    if (is_plain(*out, lines))
        return 0;
    char pointer[POINTER_MAX];
    snprintf(pointer, sizeof pointer, "/%s", name);
    return reader_refuse(r, pointer, "has a control character");
}

static int read_texts(struct reader *r)
{
    const struct {
        const char *name;
        bool lines;
        const char **out;
    } texts[] = {
        {"name", false, &r->m->name},       {"version", false, &r->m->version},
        {"author", false, &r->m->author},   {"description", true, &r->m->description},
        {"license", false, &r->m->license}, {"homepage", false, &r->m->homepage},
        {"engine", false, &r->m->engine},   {"entry", false, &r->m->entry},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int rc = read_text(r, texts[i].name, texts[i].lines, texts[i].out);
        if (rc)
            return rc;
    }
    r->m->state = json_is_true(json_object_get(r->holder->root, "state"));
    int rc = 0;
    if (!text_is_name(r->m->name, MANIFEST_NAME_MAX))
        rc = reader_refuse(r, "/name",
                           "a plugin's name is a small letter, then small letters, digits and single underscores, "
                           "at most %d in all",
                           MANIFEST_NAME_MAX);
    if (rc == 0 && !version_is_valid(r->m->version))
        rc = reader_refuse(r, "/version", "\"%s\" is not a version by Semantic Versioning 2.0.0, such as 1.0.0",
                           r->m->version);
    return rc;
}

static int read_keywords(struct reader *r)
{
    char pointer[POINTER_MAX];
    int rc = reader_strings(r, json_object_get(r->holder->root, "keywords"), &r->m->keywords, &r->m->nkeywords);
    for (size_t i = 0; rc == 0 && i < r->m->nkeywords; i++) {
        snprintf(pointer, sizeof pointer, "/keywords/%zu", i);
        if (!is_plain(r->m->keywords[i], false))
            rc = reader_refuse(r, pointer, "has a control character");
    }
    return rc;
}

static int read_capability(struct reader *r, const char *text, size_t i)
{
    char pointer[POINTER_MAX];
    int c = capability_parse(text);
    snprintf(pointer, sizeof pointer, "/capabilities/%zu", i);
    if (c < 0)
        return reader_refuse(r, pointer,
                             "there is no capability \"%s\"; there are data_processing, model_inference, "
                             "agent_skill, integration, visualization, monitoring, security and custom",
                             text);
    if (r->m->capabilities & 1u << c)
        return reader_refuse(r, pointer, "%s stands twice", capability_name((enum capability)c));
    r->m->capabilities |= 1u << c;
    return 0;
}

static int read_capabilities(struct reader *r)
{
    json_t *list = json_object_get(r->holder->root, "capabilities");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = read_capability(r, json_string_value(json_array_get(list, i)), i);
    return rc;
}

/* Names the place of path number i, counted through entry, libraries and assets. */
static void path_pointer(const struct manifest *m, size_t i, char out[POINTER_MAX])
{
    if (i == 0)
        snprintf(out, POINTER_MAX, "/entry");
    else if (i <= m->nlibraries)
        snprintf(out, POINTER_MAX, "/libraries/%zu", i - 1);
    else
        snprintf(out, POINTER_MAX, "/assets/%zu", i - 1 - m->nlibraries);
}

static int check_paths(struct reader *r, const char **paths, size_t n)
{
    char pointer[POINTER_MAX];
    bool clean = true;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const char *problem = path_problem(paths[i]);
        path_pointer(r->m, i, pointer);
        clean = clean && !problem;
        if (problem)
            rc = reader_refuse(r, pointer, "the path \"%s\" %s", paths[i], problem);
    }
    if (!clean)
        return rc;
    size_t first, second;
    const char *why = paths_clash(paths, n, &first, &second);
    path_pointer(r->m, second, pointer);
    return why ? reader_refuse(r, pointer, "the path \"%s\" %s", paths[second], why) : 0;
}

static int read_paths(struct reader *r)
{
    struct manifest *m = r->m;
    int rc = reader_strings(r, json_object_get(r->holder->root, "libraries"), &m->libraries, &m->nlibraries);
    if (rc == 0)
        rc = reader_strings(r, json_object_get(r->holder->root, "assets"), &m->assets, &m->nassets);
    if (rc)
        return rc;
    size_t n = 1 + m->nlibraries + m->nassets;
    const char **all = reader_keep(r, n, sizeof *all);
    if (!all)
        return -MOAT_E_OUT_OF_MEMORY;
    all[0] = m->entry;
    for (size_t i = 0; i < m->nlibraries; i++)
        all[1 + i] = m->libraries[i];
    for (size_t i = 0; i < m->nassets; i++)
        all[1 + m->nlibraries + i] = m->assets[i];
    return check_paths(r, all, n);
}

static int read_action_schema(struct reader *r, json_t *action, struct slice text, size_t index, const char *name,
                              const char **json, struct json_schema **compiled)
{
    char pointer[POINTER_MAX];
    struct slice schema;
    if (!reader_slice(action, text, name, &schema))
        schema = (struct slice){"{}", 2};
    snprintf(pointer, sizeof pointer, "/actions/%zu/%s", index, name);
    return reader_schema(r, schema, pointer, json, compiled);
}

static int read_action(struct reader *r, json_t *value, struct slice text, size_t i, struct manifest_action *out)
{
    char pointer[POINTER_MAX];
    json_t *about = json_object_get(value, "description");
    out->name = json_string_value(json_object_get(value, "name"));
    out->description = about ? json_string_value(about) : "";
    out->idempotent = json_is_true(json_object_get(value, "idempotent"));
    snprintf(pointer, sizeof pointer, "/actions/%zu/name", i);
    if (!text_is_name(out->name, MANIFEST_ACTION_MAX))
        return reader_refuse(r, pointer,
                             "an action's name is a small letter, then small letters, digits and single underscores, "
                             "at most %d in all",
                             MANIFEST_ACTION_MAX);
    for (size_t k = 0; k < i; k++)
        if (strcmp(r->m->actions[k].name, out->name) == 0)
            return reader_refuse(r, pointer, "the action \"%s\" is there twice", out->name);
    snprintf(pointer, sizeof pointer, "/actions/%zu/description", i);
    if (!is_plain(out->description, true))
        return reader_refuse(r, pointer, "has a control character");
    int rc = read_action_schema(r, value, text, i, "parameters", &out->parameters_json, &out->parameters);
    out->promises = json_object_get(value, "result") != NULL;
    return rc ? rc : read_action_schema(r, value, text, i, "result", &out->result_json, &out->result);
}

static int read_actions(struct reader *r)
{
    json_t *list = json_object_get(r->holder->root, "actions");
    struct slice text;
    size_t n = json_array_size(list);
    struct manifest_action *actions = reader_keep(r, n, sizeof *actions);
    if (!actions)
        return -MOAT_E_OUT_OF_MEMORY;
    if (!reader_slice(r->holder->root, r->text, "actions", &text))
        return reader_refuse(r, "/actions", "is missing");
    r->m->actions = actions;
    for (size_t i = 0; i < n; i++) {
        r->m->nactions = i + 1; /* what was compiled is freed with the manifest, whatever comes */
        int rc = read_action(r, json_array_get(list, i), slice_element(text, i), i, &actions[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static void line_and_column(const uint8_t *text, size_t offset, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        *column = text[i] == '\n' ? 1 : *column + 1;
        *line += text[i] == '\n';
    }
}

static int refuse_shape(const uint8_t *text, size_t len, const struct json_fault *fault, struct error *err)
{
    if (fault->code == MOAT_E_BAD_JSON) {
        size_t line, column;
        line_and_column(text, fault->offset < len ? fault->offset : len, &line, &column);
        return error_set(err, MOAT_E_BAD_JSON, "plugin.json: line %zu, column %zu: %s", line, column, fault->reason);
    }
    if (strcmp(fault->pointer, "/engine") == 0)
        return refuse_text(err, fault->pointer, "the engine must be \"native\", the only one that exists so far");
    return refuse_text(err, fault->pointer, fault->reason);
}

static int check_shape(const uint8_t *text, size_t len, struct json_fault *fault, struct error *err)
{
    buf_auto copy = BUF_INIT(MANIFEST_MAX);
    fault->code = MOAT_E_OK;
    if (len > MANIFEST_MAX)
        return error_set(err, MOAT_E_BAD_MANIFEST, "plugin.json: larger than %d bytes", MANIFEST_MAX);
    pthread_once(&shape_once, compile_shape);
    if (!shape || !buf_put(&copy, text, len) || !buf_reserve(&copy, 0))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
    if (json_schema_check(shape, copy.data, len, fault) == 0)
        return 0;
    return refuse_shape(text, len, fault, err);
}

/* ---- all faults of the shape ---- */

#define SHAPES_MAX 32

/* The member of the whole that a pointer leads into; false for the whole itself. */
static bool remove_member(json_t *root, const char *pointer)
{
    char name[POINTER_MAX];
    size_t n = 0;
    if (*pointer != '/')
        return false;
    for (const char *p = pointer + 1; *p && *p != '/' && n < sizeof name - 1; p++) {
        bool escape = *p == '~' && (p[1] == '0' || p[1] == '1');
        name[n++] = !escape ? *p : p[1] == '0' ? '~' : '/';
        p += escape;
    }
    name[n] = '\0';
    return json_object_del(root, name) == 0;
}

/* The checker stops at the first fault: without the member that has it the next one is seen.  Then a required member
 * may be missing that is not, so a fault of the whole ends the search. */
static void collect_shape(const uint8_t *text, size_t len, struct json_fault *fault, struct findings *findings)
{
    json_t *root = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    for (int i = 0; i < SHAPES_MAX; i++) {
        struct error why;
        add_finding(findings, fault->code == MOAT_E_BAD_JSON ? MOAT_E_BAD_JSON : MOAT_E_BAD_MANIFEST, fault->pointer,
                    fault->reason);
        if (!root || !remove_member(root, fault->pointer))
            break;
        char *rest = json_dumps(root, JSON_COMPACT);
        int rc = rest ? check_shape((const uint8_t *)rest, strlen(rest), fault, &why) : -1;
        free(rest);
        if (rc == 0 || fault->code == MOAT_E_OK || !*fault->pointer)
            break;
    }
    json_decref(root);
}

/* Of the text's, in its author's words. */
static int refuse_all(const uint8_t *text, size_t len, struct json_fault *fault, struct findings *findings,
                      struct error *err)
{
    if (fault->code != MOAT_E_BAD_JSON && fault->code != MOAT_E_OK) {
        collect_shape(text, len, fault, findings);
        return 0;
    }
    if (err->code != MOAT_E_BAD_JSON && err->code != MOAT_E_BAD_MANIFEST)
        return -(int)err->code;
    findings_refuse(findings, err);
    return 0;
}

static int read_all(struct reader *r)
{
    static int (*const steps[])(struct reader *) = {
        read_texts,         read_keywords, read_capabilities,    read_paths,
        manifest_read_asks, read_actions,  manifest_read_config, manifest_read_limits,
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int rc = steps[i](r);
        if (rc)
            return rc;
    }
    return 0;
}

/* Integers as reals: a schema may name numbers beyond 64 bits, and the few that are read here are small. */
static json_t *build_tree(const char *text, size_t len, struct error *err)
{
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
    if (!root)
        error_set(err, MOAT_E_BAD_MANIFEST, "plugin.json: line %d, column %d: %s", why.line, why.column, why.text);
    return root;
}

/* Of a text whose shape is right. With findings, *out stays NULL when there is one. */
static int parse(const uint8_t *text, size_t len, struct findings *findings, struct manifest **out, struct error *err)
{
    int rc = 0;
    struct manifest_holder *holder = calloc(1, sizeof *holder);
    if (!holder)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
    atomic_init(&holder->refs, 1);
    struct reader r = {.holder = holder, .m = &holder->public, .err = err, .findings = findings};
    holder->root = build_tree((const char *)text, len, err);
    char *copy = holder->root ? reader_keep(&r, len + JSON_PAD, 1) : NULL; /* slices want it behind */
    if (copy) {
        memcpy(copy, text, len);
        r.text = slice_value(copy);
        rc = read_all(&r);
    } else {
        rc = holder->root ? -MOAT_E_OUT_OF_MEMORY : -MOAT_E_BAD_MANIFEST;
    }
    if (rc || r.refused)
        manifest_unref(&holder->public);
    else
        *out = &holder->public;
    return rc;
}

int manifest_parse(const uint8_t *text, size_t len, struct manifest **out, struct error *err)
{
    struct json_fault fault;
    int rc = check_shape(text, len, &fault, err);
    return rc ? rc : parse(text, len, NULL, out, err);
}

int manifest_parse_all(const uint8_t *text, size_t len, struct findings *findings, struct manifest **out,
                       struct error *err)
{
    struct json_fault fault;
    *out = NULL;
    if (check_shape(text, len, &fault, err))
        return refuse_all(text, len, &fault, findings, err);
    int rc = parse(text, len, findings, out, err);
    if (rc != -MOAT_E_BAD_MANIFEST)
        return rc;
    findings_refuse(findings, err); /* the tree's */
    return 0;
}

struct manifest *manifest_ref(struct manifest *m)
{
    atomic_fetch_add_explicit(&((struct manifest_holder *)m)->refs, 1, memory_order_relaxed);
    return m;
}

void manifest_unref(struct manifest *m)
{
    struct manifest_holder *holder = (struct manifest_holder *)m;
    if (!m || atomic_fetch_sub_explicit(&holder->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < m->nactions; i++) {
        json_schema_free(m->actions[i].parameters);
        json_schema_free(m->actions[i].result);
    }
    json_schema_free(m->config);
    json_decref(holder->root);
    for (struct kept *k = holder->kept, *next; k; k = next) {
        next = k->next;
        free(k);
    }
    free(holder);
}

int manifest_action(const struct manifest *m, const char *name)
{
    for (size_t i = 0; i < m->nactions; i++)
        if (strcmp(m->actions[i].name, name) == 0)
            return (int)i;
    return -1;
}
