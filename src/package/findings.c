/* What keeps a package from being accepted, gathered. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/package.h"

#define FINDINGS_MAX 200 /* more say nothing new */
#define WARNINGS_MAX 100 /* of them; what refuses always has room */

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

static void __attribute__((format(printf, 5, 0)))
fill(struct finding *one, enum moat_code code, const char *where, const char *cure, const char *format, va_list args)
{
    *one = (struct finding){.code = code};
    text_copy(one->where, sizeof one->where, where);
    text_copy(one->cure, sizeof one->cure, cure);
    vsnprintf(one->message, sizeof one->message, format, args);
    /* Names out of a package go to terminals. */
    for (unsigned char *p = (unsigned char *)one->message; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

/* Before the warnings: the first finding is what refuses. */
void findings_add(struct findings *f, enum moat_code code, const char *where, const char *cure, const char *format, ...)
{
    if (!f || !has_room(f))
        return;
    struct finding *one = &f->list[f->refusals];
    memmove(one + 1, one, (f->count - f->refusals) * sizeof *one);
    va_list args;
    va_start(args, format);
    fill(one, code, where, cure, format, args);
    va_end(args);
    f->refusals++;
    f->count++;
}

void findings_warn(struct findings *f, enum moat_code code, const char *where, const char *cure, const char *format,
                   ...)
{
    if (!f || f->count - f->refusals == WARNINGS_MAX || !has_room(f))
        return;
    va_list args;
    va_start(args, format);
    fill(&f->list[f->count], code, where, cure, format, args);
    va_end(args);
    f->list[f->count++].warning = true;
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
