/* The declarative file, read record by record: no registry, no loader, no disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/apply.h"
#include "service/record.h"

#define POINTER_MAX 96

struct top {
    uint64_t form;
    const uint8_t *plugins;
};

struct plugin_record {
    struct wanted w;
    char accept[FACE_DIGEST], wanted[12];
    const uint8_t *grants, *refuse;
};

static int add(struct wanted *w, const struct registry_decision *d, const char *at, struct error *err)
{
    for (size_t i = 0; i < w->decisions.count; i++) {
        const struct registry_decision *other = &w->decisions.list[i];
        if (other->permission == d->permission && (d->refused || other->refused))
            return record_refuse(err, at, "this permission is granted or refused already");
        if (other->permission == d->permission && strcmp(other->scope, d->scope) == 0)
            return record_refuse(err, at, "this grant is there twice");
    }
    if (!d->refused && w->decisions.count == REGISTRY_GRANTS_MAX) /* grants come first */
        return record_refuse(err, at, "a plugin has at most %d grants", REGISTRY_GRANTS_MAX);
    return decisions_add(&w->decisions, d, err);
}

/* A grant's end and other conditions would become an object beside the text; here it is read. */
static int read_grant(const uint8_t *item, const char *at, struct registry_decision *out, struct error *err)
{
    char text[POLICY_SCOPE_MAX + 64];
    struct error why;
    if (cursor_text(item, text, sizeof text) < 0)
        return record_refuse(err, at, "a grant is a text such as \"file_read=/data\"");
    if (decision_parse(text, out, &why) < 0)
        return record_refuse(err, at, "%.400s", why.message);
    return 0;
}

static int read_refusal(const uint8_t *item, const char *at, struct registry_decision *out, struct error *err)
{
    char text[64];
    int permission = cursor_text(item, text, sizeof text) < 0 ? -1 : permission_parse(text);
    if (permission < 0)
        return record_refuse(err, at, "a refusal is the name of one of the eight permissions");
    *out = (struct registry_decision){.permission = permission, .refused = true};
    return 0;
}

static int read_decisions(struct wanted *w, const uint8_t *list, const char *pointer, const char *member,
                          int (*read)(const uint8_t *item, const char *at, struct registry_decision *out,
                                      struct error *err),
                          struct error *err)
{
    struct registry_decision one = {0};
    const uint8_t *item;
    char at[POINTER_MAX];
    int rc = 0;
    for (size_t i = 0; rc == 0 && list && cursor_next_item(&list, &item); i++) {
        snprintf(at, sizeof at, "%.60s/%.8s/%zu", pointer, member, i);
        rc = read(item, at, &one, err);
        if (rc == 0)
            rc = add(w, &one, at, err);
    }
    return rc;
}

static bool is_inside(const char *path)
{
    return *path != '/' && strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && !strstr(path, "/../");
}

static int check(struct plugin_record *r, const char *pointer, struct error *err)
{
    static const char *const names[] = {"lazy", "loaded", "stopped"};
    struct wanted *w = &r->w;
    struct error why;
    size_t i = 0;
    while (i < 3 && strcmp(names[i], r->wanted) != 0)
        i++;
    if (!text_is_name(w->name, MANIFEST_NAME_MAX))
        return record_refuse(err, pointer, "`name` is no plugin's name");
    if (!version_is_valid(w->version))
        return record_refuse(err, pointer, "`version` is no version");
    if (r->wanted[0] && i == 3)
        return record_refuse(err, pointer, "`wanted` is lazy, loaded or stopped");
    if (!is_inside(w->file))
        return record_refuse(err, pointer, "`file` is a path inside PLUGIN_DIR's incoming");
    if (accept_parse(r->accept[0] ? r->accept : NULL, w->accept, &why) < 0)
        return record_refuse(err, pointer, "%.300s", why.message);
    w->says_wanted = r->wanted[0];
    w->wanted = w->says_wanted ? (enum registry_wanted)i : REGISTRY_LAZY;
    return 0;
}

static int read_plugin(const uint8_t *item, size_t index, struct wanted *out, struct error *err)
{
    static const struct record_member members[] = {
        {"name", RECORD_TEXT, true, offsetof(struct plugin_record, w.name), MANIFEST_NAME_MAX + 1},
        {"version", RECORD_TEXT, true, offsetof(struct plugin_record, w.version), MANIFEST_VERSION_MAX + 1},
        {"sha256", RECORD_HEX32, true, offsetof(struct plugin_record, w.sha256), 0},
        {"file", RECORD_TEXT, false, offsetof(struct plugin_record, w.file), APPLY_FILE_MAX + 1},
        {"accept", RECORD_TEXT, false, offsetof(struct plugin_record, accept), FACE_DIGEST},
        {"grants", RECORD_LIST, false, offsetof(struct plugin_record, grants), 0},
        {"refuse", RECORD_LIST, false, offsetof(struct plugin_record, refuse), 0},
        {"config", RECORD_OBJECT, false, offsetof(struct plugin_record, w.config), 0},
        {"pinned", RECORD_FLAG, false, offsetof(struct plugin_record, w.pinned), 0},
        {"active", RECORD_FLAG, false, offsetof(struct plugin_record, w.active), 0},
        {"wanted", RECORD_TEXT, false, offsetof(struct plugin_record, wanted), 12},
        {0},
    };
    struct plugin_record record = {.w.active = true};
    char pointer[POINTER_MAX];
    snprintf(pointer, sizeof pointer, "/plugins/%zu", index);
    int rc = record_read(item, members, pointer, &record, err);
    if (rc == 0)
        rc = check(&record, pointer, err);
    if (rc == 0)
        rc = read_decisions(&record.w, record.grants, pointer, "grants", read_grant, err);
    record.w.grants = record.w.decisions.count;
    if (rc == 0)
        rc = read_decisions(&record.w, record.refuse, pointer, "refuse", read_refusal, err);
    *out = record.w; /* also when it is refused: the list owns the decisions */
    return rc;
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct wanted *const *)a)->name, (*(const struct wanted *const *)b)->name);
}

static int check_names(const struct apply *a, struct error *err)
{
    const struct wanted **sorted = calloc(a->count + 1, sizeof *sorted);
    int rc = 0;
    if (!sorted)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
    for (size_t i = 0; i < a->count; i++)
        sorted[i] = &a->list[i];
    qsort(sorted, a->count, sizeof *sorted, by_name);
    for (size_t i = 1; i < a->count && rc == 0; i++) {
        const struct wanted *one = sorted[i - 1], *two = sorted[i];
        char at[POINTER_MAX];
        snprintf(at, sizeof at, "/plugins/%zu", (size_t)((one > two ? one : two) - a->list));
        if (strcmp(one->name, two->name) == 0)
            rc = record_refuse(err, at, "the plugin %s is there twice", one->name);
    }
    free(sorted);
    return rc;
}

static int read_all(struct apply *a, const uint8_t *plugins, struct error *err)
{
    const uint8_t *at = plugins, *item;
    size_t n = 0;
    while (cursor_next_item(&at, &item))
        n++;
    if (n > APPLY_PLUGINS_MAX)
        return record_refuse(err, "/plugins", "a file names at most %d plugins", APPLY_PLUGINS_MAX);
    a->list = calloc(n + 1, sizeof *a->list);
    if (!a->list)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
    int rc = 0;
    for (at = plugins; rc == 0 && cursor_next_item(&at, &item); a->count++)
        rc = read_plugin(item, a->count, &a->list[a->count], err);
    return rc < 0 ? rc : check_names(a, err);
}

static int begin(struct apply *a, int rc, struct error *err)
{
    static const struct record_member members[] = {
        {"moat_apply", RECORD_WHOLE, true, offsetof(struct top, form), 0},
        {"plugins", RECORD_LIST, true, offsetof(struct top, plugins), 0},
        {0},
    };
    struct top top = {0};
    if (rc == 0)
        rc = record_read(cursor_root(a->document.text), members, "", &top, err);
    if (rc == 0 && top.form != 1)
        rc = record_refuse(err, "/moat_apply", "this is another form than 1, the one that is known here");
    return rc < 0 ? rc : read_all(a, top.plugins, err);
}

int apply_open(struct apply *a, int fd, struct error *err)
{
    return begin(a, document_open(&a->document, fd, APPLY_MAX, err), err);
}

int apply_open_bytes(struct apply *a, const void *bytes, size_t len, struct error *err)
{
    return begin(a, document_open_bytes(&a->document, bytes, len, APPLY_MAX, err), err);
}

void apply_close(struct apply *a)
{
    for (size_t i = 0; i < a->count; i++)
        decisions_free(&a->list[i].decisions);
    free(a->list);
    document_close(&a->document);
    *a = (struct apply){0};
}
