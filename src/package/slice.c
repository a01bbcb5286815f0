#include "package/slice.h"

#include <string.h>

#include "json/cursor.h"

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\n\r");
}

/* Past the closing quote of the string that starts at p. */
static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p + 1;
}

static const char *skip_value(const char *p)
{
    return (const char *)cursor_behind((const uint8_t *)p);
}

struct slice slice_value(const char *text)
{
    const char *from = skip_space(text);
    return (struct slice){from, (size_t)(skip_value(from) - from)};
}

/* From behind '[', '{' or a value to the next element. */
static const char *next(const char *p)
{
    p = skip_space(p);
    return *p == ',' ? skip_space(p + 1) : p;
}

struct slice slice_element(struct slice array, size_t place)
{
    const char *p = next(array.text + 1);
    while (place--)
        p = next(skip_value(p));
    return slice_value(p);
}

struct slice slice_member(struct slice object, size_t place)
{
    const char *p = next(object.text + 1);
    for (;; p = next(skip_value(p))) {
        p = skip_space(skip_string(p)); /* at the colon */
        p = skip_space(p + 1);
        if (place-- == 0)
            return slice_value(p);
    }
}
