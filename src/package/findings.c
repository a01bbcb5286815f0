/* What keeps a package from being accepted, gathered. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/package.h"

#define FINDINGS_MAX 200 /* more say nothing new */

static bool has_room(struct findings *f)
{
    if (f->count < f->cap)
        return true;
    if (f->count >= FINDINGS_MAX)
        return false;
    size_t cap = f->cap ? 2 * f->cap : 8;
    struct finding *list = realloc(f->list, cap * sizeof *list);
    if (!list)
        return false;
    f->list = list;
    f->cap = cap;
    return true;
}

void findings_add(struct findings *f, enum moat_code code, const char *where, const char *cure, const char *format, ...)
{
    if (!f || !has_room(f))
        return;
    struct finding *one = &f->list[f->count++];
    *one = (struct finding){.code = code};
    text_copy(one->where, sizeof one->where, where);
    text_copy(one->cure, sizeof one->cure, cure);
    va_list args;
    va_start(args, format);
    vsnprintf(one->message, sizeof one->message, format, args);
    va_end(args);
    /* Names out of a package go to terminals. */
    for (unsigned char *p = (unsigned char *)one->message; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

void findings_refuse(struct findings *f, const struct error *why)
{
    findings_add(f, why->code, "", error_info(why->code)->advice, "%s", why->message);
}

void findings_free(struct findings *f)
{
    free(f->list);
    *f = (struct findings){0};
}
