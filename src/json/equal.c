#include "json/program.h"
#include "json/walk.h"

static bool equal_numbers(const uint8_t *a, const uint8_t *b)
{
    struct number x = number_at(a), y = number_at(b);
    return number_compare(&x, &y) == 0;
}

/* a is the schema's: no more than its length is compared. */
static bool same_strings(const uint8_t *a, const uint8_t *b, int64_t *steps)
{
    bool unused;
    *steps -= 2 * (walk_string(a, &unused) - a);
    return walk_same_string(a, b);
}

static bool equal_arrays(const uint8_t *a, const uint8_t *b, int64_t *steps)
{
    const uint8_t *p = a + 1, *q = b + 1;
    for (;;) {
        p = walk_item(p);
        q = walk_item(q);
        if (!p || !q)
            return p == q;
        if (!equal_values(p, q, steps))
            return false;
        p = walk_value(p);
        q = walk_value(q);
    }
}

static uint64_t count_members(const uint8_t *object, int64_t *steps)
{
    struct walk_member m;
    uint64_t n = 0;
    const uint8_t *p = object + 1;
    for (; walk_member(p, &m); p = walk_value(m.value))
        n++;
    *steps -= p - object;
    return n;
}

/* The value of the member with this name, or NULL. */
static const uint8_t *find_member(const uint8_t *object, const uint8_t *name, int64_t *steps)
{
    struct walk_member m;
    const uint8_t *p = object + 1, *found = NULL;
    for (; !found && walk_member(p, &m); p = walk_value(m.value))
        if (walk_same_string(m.name, name))
            found = m.value;
    *steps -= p - object;
    return found;
}

/* Neither has a repeated member: then as many, and each of one in the other, is the same. */
static bool equal_objects(const uint8_t *a, const uint8_t *b, int64_t *steps)
{
    if (count_members(a, steps) != count_members(b, steps))
        return false;
    struct walk_member m;
    for (const uint8_t *p = a + 1; walk_member(p, &m); p = walk_value(m.value)) {
        const uint8_t *other = *steps < 0 ? NULL : find_member(b, m.name, steps);
        if (!other || !equal_values(m.value, other, steps))
            return false;
    }
    return true;
}

bool equal_values(const uint8_t *a, const uint8_t *b, int64_t *steps)
{
    enum scan_kind kind = scan_kind_of[*a];
    if (kind != scan_kind_of[*b] || (*steps -= 4) < 0)
        return false;
    switch (kind) {
    case KIND_NUMBER:
        return equal_numbers(a, b);
    case KIND_STRING:
        return same_strings(a + 1, b + 1, steps);
    case KIND_ARRAY:
        return equal_arrays(a, b, steps);
    case KIND_OBJECT:
        return equal_objects(a, b, steps);
    default:
        return *a == *b; /* t, f or n */
    }
}
