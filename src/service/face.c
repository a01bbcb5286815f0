#include "service/face.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/key.h"
#include "service/tell.h"

#define POINTER_MAX 1024

json_t *face_read(const char *text, size_t len)
{
    return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
}

json_t *face_action(const json_t *manifest, const char *name)
{
    const json_t *actions = json_object_get(manifest, "actions");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        json_t *action = json_array_get(actions, i);
        const char *other = json_string_value(json_object_get(action, "name"));
        if (other && strcmp(other, name) == 0)
            return action;
    }
    return NULL;
}

/* ---- the digest ---- */

/* What is left out says the same as an empty text or an empty schema. */
static void put_member(json_t *object, const char *key, json_t *value, json_t *otherwise)
{
    json_object_set(object, key, value ? value : otherwise);
    json_decref(otherwise);
}

static json_t *face_of(const json_t *manifest)
{
    json_t *face = json_object(), *all = json_object();
    const json_t *actions = json_object_get(manifest, "actions");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *action = json_array_get(actions, i);
        const char *name = json_string_value(json_object_get(action, "name"));
        json_t *one = json_object();
        put_member(one, "description", json_object_get(action, "description"), json_string(""));
        put_member(one, "parameters", json_object_get(action, "parameters"), json_object());
        put_member(one, "result", json_object_get(action, "result"), json_object());
        json_object_set_new(all, name ? name : "", one);
    }
    put_member(face, "description", json_object_get(manifest, "description"), json_string(""));
    json_object_set_new(face, "actions", all);
    return face;
}

bool face_digest(const json_t *manifest, char out[FACE_DIGEST])
{
    uint8_t hash[32];
    json_t *face = face_of(manifest);
    char *text = json_dumps(face, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(face);
    if (!text)
        return false;
    sha256(text, strlen(text), hash);
    free(text);
    text_hex(out, hash, sizeof hash);
    return true;
}

/* ---- the first difference ---- */

static bool same(const json_t *a, const json_t *b)
{
    return a == b || json_equal(a, b);
}

static bool action_change(const char *name, const json_t *from, const json_t *to, char *out, size_t size)
{
    static const char *const parts[] = {"description", "parameters", "result"};
    if (!from || !to) {
        snprintf(out, size, "the action `%s` is %s", name, from ? "gone" : "new");
        return true;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (same(json_object_get(from, parts[i]), json_object_get(to, parts[i])))
            continue;
        snprintf(out, size, "the %s of `%s` %s", i ? parts[i] : "description", name,
                 i == 1 ? "are others" : "is another");
        return true;
    }
    return false;
}

bool face_change(const json_t *from, const json_t *to, char *out, size_t size)
{
    json_t *a = face_of(from), *b = face_of(to), *one;
    json_t *before = json_object_get(a, "actions"), *after = json_object_get(b, "actions");
    const char *name;
    bool found = false;
    json_object_foreach(after, name, one)
    {
        if (!found)
            found = action_change(name, json_object_get(before, name), one, out, size);
    }
    json_object_foreach(before, name, one)
    {
        if (!found)
            found = action_change(name, one, json_object_get(after, name), out, size);
    }
    if (!found && !same(json_object_get(a, "description"), json_object_get(b, "description"))) {
        snprintf(out, size, "the plugin's description is another");
        found = true;
    }
    json_decref(a);
    json_decref(b);
    return found;
}

/* ---- every difference ---- */

void tell_json(struct buf *out, const char *key, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (value && !text)
        out->failed = true;
    tell_raw(out, key, text);
    free(text);
}

struct changes {
    struct buf *out;
    size_t count;
    char pointer[POINTER_MAX];
    size_t len;
};

static void add_change(struct changes *c, const json_t *from, const json_t *to)
{
    if (c->count++ >= FACE_CHANGES_MAX)
        return;
    tell_open(c->out, NULL, '{');
    tell_text(c->out, "pointer", c->pointer);
    if (from)
        tell_json(c->out, "from", from);
    if (to)
        tell_json(c->out, "to", to);
    tell_close(c->out, '}');
}

/* Appends a step of RFC 6901; one that does not fit is cut, which is no worse than a long pointer to a reader. */
static size_t enter(struct changes *c, const char *name)
{
    size_t before = c->len;
    buf_auto step = BUF_INIT(POINTER_MAX);
    buf_putc(&step, '/');
    for (; *name; name++) {
        if (*name == '~' || *name == '/')
            buf_puts(&step, *name == '~' ? "~0" : "~1");
        else
            buf_putc(&step, *name);
    }
    snprintf(c->pointer + c->len, sizeof c->pointer - c->len, "%s", buf_text(&step));
    c->len = strlen(c->pointer);
    return before;
}

static void leave(struct changes *c, size_t before)
{
    c->len = before;
    c->pointer[before] = '\0';
}

static void compare(struct changes *c, const json_t *from, const json_t *to);

static void compare_objects(struct changes *c, json_t *from, json_t *to)
{
    const char *name;
    json_t *value;
    json_object_foreach(from, name, value)
    {
        size_t before = enter(c, name);
        compare(c, value, json_object_get(to, name));
        leave(c, before);
    }
    json_object_foreach(to, name, value)
    {
        size_t before = enter(c, name);
        if (!json_object_get(from, name))
            compare(c, NULL, value);
        leave(c, before);
    }
}

static void compare_arrays(struct changes *c, const json_t *from, const json_t *to)
{
    size_t n = json_array_size(from) > json_array_size(to) ? json_array_size(from) : json_array_size(to);
    for (size_t i = 0; i < n; i++) {
        char step[24];
        snprintf(step, sizeof step, "%zu", i);
        size_t before = enter(c, step);
        compare(c, json_array_get(from, i), json_array_get(to, i));
        leave(c, before);
    }
}

/* As deep as the manifest, which the JSON checker bounds. */
static void compare(struct changes *c, const json_t *from, const json_t *to)
{
    if (c->count > FACE_CHANGES_MAX || (!from && !to) || (from && to && json_equal(from, to)))
        return;
    if (json_is_object(from) && json_is_object(to)) /* jansson's iteration takes no const; nothing is changed */
        compare_objects(c, (json_t *)(uintptr_t)from, (json_t *)(uintptr_t)to);
    else if (json_is_array(from) && json_is_array(to))
        compare_arrays(c, from, to);
    else
        add_change(c, from, to);
}

void tell_json_changes(struct buf *out, const char *key, const json_t *from, const json_t *to, bool *cut)
{
    struct changes c = {.out = out};
    tell_open(out, key, '[');
    compare(&c, from, to);
    tell_close(out, ']');
    *cut |= c.count > FACE_CHANGES_MAX;
}

/* ---- actions ---- */

static void tell_pair(struct buf *out, const char *key, const json_t *from, const json_t *to)
{
    if (same(from, to))
        return;
    tell_open(out, key, '{');
    tell_json(out, "from", from);
    tell_json(out, "to", to);
    tell_close(out, '}');
}

static void tell_changed_action(struct buf *out, const char *name, const json_t *from, const json_t *to, bool *cut)
{
    tell_open(out, NULL, '{');
    tell_text(out, "name", name);
    tell_pair(out, "description", json_object_get(from, "description"), json_object_get(to, "description"));
    tell_pair(out, "idempotent", json_object_get(from, "idempotent"), json_object_get(to, "idempotent"));
    tell_json_changes(out, "parameters", json_object_get(from, "parameters"), json_object_get(to, "parameters"), cut);
    tell_json_changes(out, "result", json_object_get(from, "result"), json_object_get(to, "result"), cut);
    tell_close(out, '}');
}

/* Those of `all` that `other` has not. */
static void tell_one_sided(struct buf *out, const char *key, const json_t *all, const json_t *other)
{
    const json_t *actions = json_object_get(all, "actions");
    tell_open(out, key, '[');
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *action = json_array_get(actions, i);
        const char *name = json_string_value(json_object_get(action, "name"));
        if (!name || face_action(other, name))
            continue;
        tell_open(out, NULL, '{');
        tell_text(out, "name", name);
        tell_json(out, "description", json_object_get(action, "description"));
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

void tell_action_changes(struct buf *out, const json_t *from, const json_t *to, bool *cut)
{
    const json_t *actions = json_object_get(to, "actions");
    tell_open(out, "actions", '{');
    tell_one_sided(out, "added", to, from);
    tell_one_sided(out, "removed", from, to);
    tell_open(out, "changed", '[');
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *action = json_array_get(actions, i);
        const char *name = json_string_value(json_object_get(action, "name"));
        const json_t *before = name ? face_action(from, name) : NULL;
        if (before && !json_equal(before, action))
            tell_changed_action(out, name, before, action, cut);
    }
    tell_close(out, ']');
    tell_close(out, '}');
}
