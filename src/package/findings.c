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

/* Bytes of the UTF-8 character at p, which a 0 ends; 0: there is none. */
static size_t character(const unsigned char *p)
{
    static const struct {
        unsigned char from, to, second_from, second_to;
        size_t len;
    } forms[] = {
        {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*p < forms[i].from || *p > forms[i].to)
            continue;
        size_t len = forms[i].len;
        bool good = len == 1 || (p[1] >= forms[i].second_from && p[1] <= forms[i].second_to);
        for (size_t k = 2; good && k < len; k++)
            good = (p[k] & 0xc0) == 0x80;
        return good ? len : 0;
    }
    return 0;
}

/* Findings go to terminals and into JSON: no control characters, and UTF-8 even where the end was cut. */
static void make_text(unsigned char *text)
{
    for (size_t len; *text; text += len ? len : 1) {
        len = character(text);
        if (!len)
            *text = '?';
    }
}

static void __attribute__((format(printf, 5, 0)))
fill(struct finding *one, enum moat_code code, const char *where, const char *cure, const char *format, va_list args)
{
    *one = (struct finding){.code = code};
    text_copy(one->where, sizeof one->where, where);
    text_copy(one->cure, sizeof one->cure, cure);
    vsnprintf(one->message, sizeof one->message, format, args);
    make_text((unsigned char *)one->message);
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
