#include "json/check.h"
#include "json/json.h"
#include "json/scan.h"

/* One bit a level: is the container an object? */
struct levels {
    uint64_t objects[(JSON_DEPTH_MAX + 63) / 64];
    unsigned base, depth; /* base: levels around the value that is scanned */
};

SCAN_INLINE bool levels_push(struct levels *l, bool object)
{
    if (l->base + l->depth >= JSON_DEPTH_MAX)
        return false;
    uint64_t bit = 1ull << (l->depth & 63), *word = &l->objects[l->depth >> 6];
    *word = object ? *word | bit : *word & ~bit; /* NOLINT(clang-analyzer-core.*): the other bits are never read */
    l->depth++;
    return true;
}

SCAN_INLINE bool levels_in_object(const struct levels *l)
{
    unsigned top = l->depth - 1;
    return l->objects[top >> 6] >> (top & 63) & 1;
}

/* `"name" :` and the space around it; the position of the value. */
SCAN_INLINE const uint8_t *scan_name(const uint8_t *p)
{
    bool escaped;
    if (*p != '"' || !(p = scan_string(p + 1, &escaped)))
        return NULL;
    p = scan_space(p);
    return *p == ':' ? scan_space(p + 1) : NULL;
}

const uint8_t *scan_value(const uint8_t *p, unsigned depth, bool *members)
{
    struct levels levels;
    bool unused;
    levels.base = depth;
    levels.depth = 0;
    for (;;) {
        /* p stands on a value. */
        bool object = *p == '{';
        if (object || *p == '[') {
            if (!levels_push(&levels, object))
                return NULL;
            p = scan_space(p + 1);
            if (*p != (object ? '}' : ']')) {
                if (object && !(p = scan_name(p)))
                    return NULL;
                continue;
            }
            levels.depth--;
            p++;
        } else if (!(p = scan_leaf(p, &unused, &unused))) {
            return NULL;
        }
        /* p stands behind a value: close what ends here, then on to the next one. */
        for (;;) {
            if (levels.depth == 0)
                return p;
            p = scan_space(p);
            object = levels_in_object(&levels);
            if (*p == ',')
                break;
            if (*p != (object ? '}' : ']'))
                return NULL;
            levels.depth--;
            p++;
        }
        p = scan_space(p + 1);
        if (object) {
            *members = true;
            if (!(p = scan_name(p)))
                return NULL;
        }
    }
}

bool check_scalar(uint8_t *text, size_t len, bool *members)
{
    text[len] = 0;
    const uint8_t *p = scan_value(scan_space(text), 0, members);
    return p && scan_space(p) == text + len;
}
