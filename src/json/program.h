/* json/program: a compiled schema, as compile.c makes it, run.c runs it and fault.c talks about it.
 * Private to src/json; immutable once made. */
#ifndef JSON_PROGRAM_H
#define JSON_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json/json.h"
#include "json/number.h"
#include "json/scan.h"

#define PROGRAM_TEXT_MAX (256u << 10) /* bytes of a schema */
#define PROGRAM_HEIGHT_MAX 256        /* nodes inside nodes, $ref followed */
#define PROGRAM_NAME_MAX 255          /* bytes of a declared member's name */
#define PROGRAM_SEEN_WORDS 256        /* see object_rules */
#define PROGRAM_STEPS_MAX (32 << 20)  /* of one check, however long the text; a step is about a nanosecond */
#define PROGRAM_HASHED_FROM 8         /* declared members; fewer are looked for in turn */

#define KIND_BIT(kind) (1u << (kind))
#define KINDS_ALL (KIND_BIT(KIND_COUNT) - 2)

struct node;

struct node_list {
    size_t count;
    const struct node *nodes[];
};

/* Limits of a number; `text` is the keyword's value, for the message. */
struct number_limit {
    const uint8_t *text; /* NULL: no such limit */
    struct number exact;
    int64_t small; /* when all limits of the rules are small */
};

struct number_rules {
    struct number_limit minimum, maximum, above, below;
    const uint8_t *multiple_text;
    uint64_t multiple; /* 0: none */
    bool small;        /* every limit is an integer of at most NUMBER_SMALL characters */
};

struct size_rules {
    uint64_t least, most;
};

struct array_rules {
    struct size_rules items;
    const struct node_list *prefix; /* NULL: none */
    const struct node *rest;        /* NULL: anything */
};

struct property {
    const uint8_t *name; /* escapes resolved */
    size_t len;
    uint32_t hash;
    const struct node *node; /* what `properties` says, or else what additionalProperties says; NULL: anything */
    bool declared;
};

/* A bit for each property says that it was seen: that finds repetitions and what is missing.  The bits of the objects
 * open at once live in one array; compile.c sees to it that PROGRAM_SEEN_WORDS are enough for every text. */
struct object_rules {
    struct size_rules members;
    size_t count, words;
    const struct property *properties;
    const uint64_t *required;
    const uint16_t *table; /* index + 1 by hash; NULL below PROGRAM_HASHED_FROM */
    uint32_t table_mask;
    const struct node *rest; /* NULL: anything */
};

/* enum or const. */
struct choice {
    const uint8_t *text; /* raw */
    enum scan_kind kind;
    const uint8_t *name; /* of a string, its escapes resolved */
    size_t len;
    struct number number;
};

struct choices {
    bool is_const;
    size_t count;
    const struct choice *list;
};

struct node {
    uint8_t kinds;                     /* KIND_BIT of each kind that may stand here */
    bool more;                         /* there are rules beside those of the kinds */
    bool integer;                      /* a number must be one */
    const struct number_rules *number; /* NULL: no rules for this kind */
    const struct size_rules *string;
    const struct array_rules *array;
    const struct object_rules *object;
    const struct choices *fixed, *choices; /* const, enum */
    const struct node_list *all, *any, *one;
    const struct node *not_this;
    unsigned height;     /* nodes below, this included */
    unsigned seen_words; /* the most that a way down from here needs */
};

struct json_schema {
    uint8_t *text; /* the schema's own, padded: messages quote it */
    const struct node *root;
    struct block *blocks; /* memory of the program, freed at once */
};

/* Why a value does not fit.  The reasons' words stand in fault.c. */
enum why {
    WHY_SYNTAX,
    WHY_STEPS,
    WHY_TYPE,
    WHY_FALSE,
    WHY_ENUM,
    WHY_CONST,
    WHY_MINIMUM,
    WHY_MAXIMUM,
    WHY_ABOVE,
    WHY_BELOW,
    WHY_MULTIPLE,
    WHY_MIN_LENGTH,
    WHY_MAX_LENGTH,
    WHY_MIN_ITEMS,
    WHY_MAX_ITEMS,
    WHY_MIN_MEMBERS,
    WHY_MAX_MEMBERS,
    WHY_MISSING,
    WHY_UNKNOWN,
    WHY_REPEATED,
    WHY_ANY,
    WHY_ONE_NONE,
    WHY_ONE_MANY,
    WHY_NOT,
    WHY_COUNT,
};

struct miss {
    enum why why;
    const uint8_t *at; /* the value's first byte */
    union {
        const struct node *node;         /* TYPE */
        const struct choices *choices;   /* ENUM, CONST */
        const struct property *property; /* MISSING */
        const uint8_t *text;             /* of the limit, MINIMUM to MULTIPLE */
        uint64_t count;                  /* lengths, sizes, ANY, ONE_NONE, ONE_MANY */
    } what;
};

/* The fault of a text that is known to be JSON. */
void fault_fill(struct json_fault *fault, const struct miss *miss, const uint8_t *text);

/* How many steps a text of so many bytes may take; json_schema_check that says how many it took (len is not 0). */
int64_t json_steps(size_t len);
int json_schema_count(const struct json_schema *schema, uint8_t *text, size_t len, int64_t *steps);

/* The same JSON value: 1 and 1.0, escapes resolved, members in any order.  *steps is charged. */
bool equal_values(const uint8_t *a, const uint8_t *b, int64_t *steps);

#endif
