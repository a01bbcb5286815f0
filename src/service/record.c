#include "service/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int record_refuse(struct error *err, const char *pointer, const char *format, ...)
{
    char why[600];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    error_set(err, MOAT_E_BAD_DOCUMENT, "%s: %s", *pointer ? pointer : "the document", why);
    if (err)
        snprintf(err->detail, sizeof err->detail, "{\"pointer\":\"%.500s\"}", pointer);
    return -MOAT_E_BAD_DOCUMENT;
}

/* Most records have their members in the table's order: *index is where to look first, and where it was. */
static const struct record_member *find(const struct record_member *members, const uint8_t *name, size_t *index)
{
    if (members[*index].name && cursor_text_is(name, members[*index].name))
        return &members[*index];
    for (*index = 0; members[*index].name; ++*index)
        if (cursor_text_is(name, members[*index].name))
            return &members[*index];
    return NULL;
}

static bool fill(const struct record_member *m, const uint8_t *value, const uint8_t *end, void *out)
{
    struct record_span span = {value, (size_t)(end - value)};
    char *at = (char *)out + m->offset, hex[65];
    bool flag;
    switch (m->kind) {
    case RECORD_TEXT:
        return cursor_text(value, at, m->size) >= 0;
    case RECORD_WHOLE:
        return cursor_whole(value, (uint64_t *)(void *)at);
    case RECORD_FLAG:
        flag = cursor_true(value);
        memcpy(at, &flag, sizeof flag);
        return cursor_kind(value) == CURSOR_BOOLEAN;
    case RECORD_HEX32:
        return cursor_text(value, hex, sizeof hex) == 64 && text_unhex((uint8_t *)at, 32, hex);
    case RECORD_LIST:
        memcpy(at, &value, sizeof value);
        return cursor_kind(value) == CURSOR_ARRAY;
    case RECORD_OBJECT:
        memcpy(at, &value, sizeof value);
        return cursor_kind(value) == CURSOR_OBJECT;
    case RECORD_SPAN:
        memcpy(at, &span, sizeof span);
        return cursor_kind(value) == CURSOR_OBJECT;
    }
    return false;
}

static int wrong_kind(const struct record_member *m, const char *pointer, struct error *err)
{
    static const char *const kinds[] = {
        [RECORD_TEXT] = "a text",        [RECORD_WHOLE] = "a whole number that is not negative",
        [RECORD_FLAG] = "true or false", [RECORD_HEX32] = "64 hexadecimal digits",
        [RECORD_LIST] = "an array",      [RECORD_OBJECT] = "an object",
        [RECORD_SPAN] = "an object"};
    char at[512];
    snprintf(at, sizeof at, "%s/%s", pointer, m->name);
    if (m->kind == RECORD_TEXT)
        return record_refuse(err, at, "this must be a text of at most %zu bytes", m->size - 1);
    return record_refuse(err, at, "this must be %s", kinds[m->kind]);
}

int record_read(const uint8_t *object, const struct record_member *members, const char *pointer, void *out,
                struct error *err)
{
    const uint8_t *end;
    return record_read_to(object, members, pointer, out, &end, err);
}

int record_read_to(const uint8_t *object, const struct record_member *members, const char *pointer, void *out,
                   const uint8_t **end, struct error *err)
{
    struct cursor_member m;
    uint64_t seen = 0;
    size_t i = 0;
    char name[64];
    if (cursor_kind(object) != CURSOR_OBJECT)
        return record_refuse(err, pointer, "this must be an object");
    while (cursor_next_member(&object, &m)) {
        const struct record_member *known = find(members, m.name, &i);
        if (!known)
            return record_refuse(err, pointer, "there is a member `%s`, which is not known here",
                                 cursor_text(m.name, name, sizeof name) >= 0 ? name : "…");
        if (seen >> i & 1)
            return record_refuse(err, pointer, "the member `%s` is there twice", known->name);
        seen |= 1ull << i;
        if (!fill(known, m.value, object, out))
            return wrong_kind(known, pointer, err);
        i++;
    }
    *end = cursor_close(object);
    for (i = 0; members[i].name; i++)
        if (members[i].required && !(seen >> i & 1))
            return record_refuse(err, pointer, "the member `%s` is missing", members[i].name);
    return 0;
}
