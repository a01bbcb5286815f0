#include "json/unique.h"

#define MULTIPLIER 0x9e3779b97f4a7c15ull

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * MULTIPLIER;
    return hash ^ hash >> 29;
}

static uint32_t finish(uint64_t hash, uint64_t last, uint64_t len)
{
    return (uint32_t)(mix(mix(hash, last), len) >> 32);
}

/* Must give what the unique_hash gives for the same characters. */
static uint32_t hash_escaped(const uint8_t *name)
{
    struct walk_chars chars = walk_chars(name);
    uint64_t hash = 0, word = 0, len = 0;
    for (int c; (c = walk_char(&chars)) >= 0;) {
        word |= (uint64_t)c << 8 * (len & 7);
        if ((++len & 7) == 0) {
            hash = mix(hash, word);
            word = 0;
        }
    }
    return finish(hash, word, len);
}

uint32_t unique_hash(const uint8_t *name, size_t len)
{
    uint64_t hash = 0, word;
    const uint8_t *p = name;
    for (size_t left = len; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        hash = mix(hash, word);
    }
    memcpy(&word, p, 8);
    word &= (1ull << 8 * (len & 7)) - 1;
    return finish(hash, word, len);
}

void unique_init(struct unique *u, const uint8_t *text, int64_t *steps)
{
    u->text = text;
    u->steps = steps;
    u->repeated = NULL;
    u->used = 0;
}

struct unique_object unique_begin(struct unique *u)
{
    return (struct unique_object){.first = u->used};
}

static uint32_t hash_of(const struct walk_member *m)
{
    return m->escaped ? hash_escaped(m->name) : unique_hash(m->name, (size_t)(m->name_end - m->name));
}

bool unique_add(struct unique *u, struct unique_object *o, const struct walk_member *m)
{
    if (o->many || u->used - o->first == UNIQUE_FEW || u->used == UNIQUE_LIST) {
        o->many = true; /* unique_end looks at all of them */
        return true;
    }
    uint32_t hash = hash_of(m);
    for (unsigned i = o->first; i < u->used; i++) {
        if (u->list[i].hash != hash || !walk_same_string(u->text + u->list[i].offset, m->name))
            continue;
        u->repeated = m->value;
        return false;
    }
    u->list[u->used++] = (struct unique_name){hash, (uint32_t)(m->name - u->text)};
    return true;
}

/* Objects with many members: the names are dealt by their hash into as many parts as keep the table three quarters
 * empty or less, and each pass over the object looks at one part.  Memory stays fixed, time is charged. */
#define TABLE 8192
#define TABLE_FULL (TABLE * 3 / 4)

struct table {
    struct unique_name slots[TABLE]; /* offset + 1; 0 is free */
    unsigned used;
};

enum found { FOUND_NEW, FOUND_REPEATED, FOUND_FULL };

/* Each probe is charged: names made to meet in one slot cost their sender the budget. */
static enum found table_add(struct table *t, int64_t *steps, const uint8_t *object, const struct walk_member *m,
                            uint32_t hash)
{
    for (uint32_t i = hash % TABLE;; i = (i + 1) % TABLE) {
        if (--*steps < 0)
            return FOUND_FULL;
        struct unique_name *slot = &t->slots[i];
        if (!slot->offset) {
            *slot = (struct unique_name){hash, (uint32_t)(m->name - object) + 1};
            return ++t->used > TABLE_FULL ? FOUND_FULL : FOUND_NEW;
        }
        if (slot->hash != hash)
            continue;
        *steps -= (m->name_end - m->name) / 16;
        if (walk_same_string(object + slot->offset - 1, m->name))
            return FOUND_REPEATED;
    }
}

/* One pass; the parts are told by bits that the table's index does not use. */
static enum found look_at_part(struct unique *u, struct table *t, const uint8_t *object, uint32_t part, uint32_t mask)
{
    struct walk_member m;
    memset(t, 0, sizeof *t);
    for (const uint8_t *p = object + 1; walk_member(p, &m); p = walk_value(m.value)) {
        uint32_t hash = hash_of(&m);
        if ((hash >> 13 & mask) != part)
            continue;
        enum found found = table_add(t, u->steps, object, &m, hash);
        if (found == FOUND_REPEATED)
            u->repeated = m.value;
        if (found != FOUND_NEW)
            return found;
    }
    return FOUND_NEW;
}

_Static_assert(TABLE == 1 << 13, "the index of the table takes 13 bits of the hash");

__attribute__((noinline)) static bool unique_many(struct unique *u, const uint8_t *object)
{
    struct table table;
    int64_t cost = walk_value(object) - object + TABLE / 4;
    uint32_t mask = 0;
    for (uint32_t part = 0; part <= mask; part++) {
        if ((*u->steps -= cost) < 0)
            return false;
        enum found found = look_at_part(u, &table, object, part, mask);
        if (found == FOUND_REPEATED)
            return false;
        if (found == FOUND_NEW)
            continue;
        /* Too full, or over the budget: twice as many parts, from the first again (part + 1 wraps to 0). */
        mask = mask << 1 | 1;
        part = UINT32_MAX;
        if (mask >> 19) {
            *u->steps = -1; /* names made to collide: no number of parts would do */
            return false;
        }
    }
    return true;
}

bool unique_end(struct unique *u, struct unique_object *o, const uint8_t *object)
{
    u->used = o->first;
    return !o->many || unique_many(u, object);
}

static const uint8_t *each_container(struct unique *u, const uint8_t *p);

static const uint8_t *each_object(struct unique *u, const uint8_t *object)
{
    struct unique_object o = unique_begin(u);
    struct walk_member m;
    const uint8_t *p = object + 1;
    while (walk_member(p, &m)) {
        if (!unique_add(u, &o, &m))
            return NULL;
        p = *m.value == '{' || *m.value == '[' ? each_container(u, m.value) : walk_value(m.value);
        if (!p)
            return NULL;
    }
    return unique_end(u, &o, object) ? scan_space(p) + 1 : NULL;
}

/* p: an opening bracket or brace; the position behind its end.  As deep as the text, JSON_DEPTH_MAX at most. */
static const uint8_t *each_container(struct unique *u, const uint8_t *p)
{
    if (*p == '{')
        return each_object(u, p);
    bool unused;
    for (p++;;) {
        p = walk_bracket(p);
        if (*p == ']')
            return p + 1;
        if (*p == '"')
            p = walk_string(p + 1, &unused) + 1;
        else if (!(p = each_container(u, p)))
            return NULL;
    }
}

bool unique_value(struct unique *u, const uint8_t *p)
{
    return (*p != '{' && *p != '[') || each_container(u, p);
}
