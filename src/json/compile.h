/* json/compile: what the two files of the schema compiler share.  Private to src/json. */
#ifndef JSON_COMPILE_H
#define JSON_COMPILE_H

#include "json/program.h"

enum keyword {
    KEYWORD_TYPE,
    KEYWORD_ENUM,
    KEYWORD_CONST,
    KEYWORD_PROPERTIES,
    KEYWORD_REQUIRED,
    KEYWORD_ADDITIONAL,
    KEYWORD_ITEMS,
    KEYWORD_PREFIX,
    KEYWORD_MIN_LENGTH,
    KEYWORD_MAX_LENGTH,
    KEYWORD_MIN_ITEMS,
    KEYWORD_MAX_ITEMS,
    KEYWORD_MIN_MEMBERS,
    KEYWORD_MAX_MEMBERS,
    KEYWORD_MINIMUM,
    KEYWORD_MAXIMUM,
    KEYWORD_ABOVE,
    KEYWORD_BELOW,
    KEYWORD_MULTIPLE,
    KEYWORD_ANY,
    KEYWORD_ONE,
    KEYWORD_ALL,
    KEYWORD_NOT,
    KEYWORD_DEFS,
    KEYWORD_REF,
    /* From here on they say nothing about values. */
    KEYWORD_SCHEMA,
    KEYWORD_ID,
    KEYWORD_TITLE,
    KEYWORD_DESCRIPTION,
    KEYWORD_COMMENT,
    KEYWORD_FORMAT,
    KEYWORD_DEFAULT,
    KEYWORD_EXAMPLES,
    KEYWORD_DEPRECATED,
    KEYWORD_READ_ONLY,
    KEYWORD_WRITE_ONLY,
    KEYWORD_SECRET,
    KEYWORD_COUNT,
};

struct compiler {
    struct json_schema *schema;
    const uint8_t *text; /* the schema's own copy, known to be JSON */
    size_t len;
    const struct node **made; /* by the offset of the schema's first byte */
    struct error *err;        /* never NULL; the first refusal stays */
    unsigned depth;
    int64_t steps;
};

/* Fills err with the JSON Pointer of `at`; returns false.  "too complicated" when the steps are spent. */
__attribute__((format(printf, 3, 4))) bool compile_refuse(struct compiler *c, const uint8_t *at, const char *format,
                                                          ...);

/* Zeroed memory that lives as long as the schema; NULL with err filled. */
void *compile_alloc(struct compiler *c, size_t size);

/* The string at quote with its escapes resolved; NULL with err filled. */
const uint8_t *compile_string(struct compiler *c, const uint8_t *quote, size_t *len);

/* The schema at p; NULL with err filled. */
const struct node *compile_schema(struct compiler *c, const uint8_t *p);

/* child is now below parent, inside an object with so many words of seen bits. */
void compile_adopt(struct node *parent, const struct node *child, size_t words);

/* A pair of keywords that count something; NULL: not there. */
bool compile_size(struct compiler *c, const uint8_t *least, const uint8_t *most, struct size_rules *rules);

/* Each takes its keywords out of values, which has the value of every keyword, or NULL. */
bool compile_types(struct compiler *c, struct node *n, const uint8_t *const *values);
bool compile_numbers(struct compiler *c, struct node *n, const uint8_t *const *values);
bool compile_strings(struct compiler *c, struct node *n, const uint8_t *const *values);
bool compile_choices(struct compiler *c, struct node *n, const uint8_t *const *values);
bool compile_members(struct compiler *c, struct node *n, const uint8_t *const *values);

#endif
