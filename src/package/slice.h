/* package/slice: where a value stands in a text that was checked already.  Schemas are kept as their author wrote them,
 * not as a tree prints them again.  Pure; the text must be valid JSON with JSON_PAD bytes behind it. */
#ifndef PACKAGE_SLICE_H
#define PACKAGE_SLICE_H

#include <stddef.h>

struct slice {
    const char *text;
    size_t len;
};

/* The whole value of a text, without the white space around it. */
struct slice slice_value(const char *text);

/* The value of an object's member, or an array's element, by its place; it must exist. */
struct slice slice_member(struct slice object, size_t place);
struct slice slice_element(struct slice array, size_t place);

#endif
