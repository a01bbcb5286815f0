/* text: a task's text cut into tokens.  One text at a time, in memory that stays for the next one. */
#ifndef AGENT_SKILL_TEXT_H
#define AGENT_SKILL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX 65536
#define WORD_ROOM 48 /* a longer word is none that is looked for */

enum token_kind {
    TOKEN_WORD,
    TOKEN_NUMBER,
    TOKEN_MARK,  /* one character of punctuation */
    TOKEN_BREAK, /* an empty line, or the beginning of a list's item */
    /* what stands for something by its form alone */
    TOKEN_URL,
    TOKEN_EMAIL,
    TOKEN_FILE,
    TOKEN_DATE,
    TOKEN_TIME,
    TOKEN_PERCENT,
    TOKEN_MONEY,
    TOKEN_VERSION,
    TOKEN_REFERENCE, /* #123, PROJ-45 */
    TOKEN_MENTION,   /* @somebody */
    TOKEN_QUOTED,
    TOKEN_CODE, /* `between backticks` */
};

struct token {
    uint32_t at, len; /* bytes of the text */
    uint8_t kind;
};

/* A piece of the text: tokens from..to-1. */
struct span {
    uint32_t from, to;
};

extern struct text {
    char bytes[TEXT_MAX + 1];
    char lower[TEXT_MAX + 1]; /* the same with A to Z made small */
    uint32_t len, n;
    struct token tokens[TEXT_MAX + 1];
} text;

/* Cuts text.bytes[0..len) into tokens. */
void text_cut(size_t len);

/* The character (not byte) at which a byte stands: what programs in most languages index by. */
uint32_t text_character(uint32_t byte);

/* Is token i this small-letter word (or mark)? */
bool text_is(uint32_t i, const char *word);
bool text_is_one_of(uint32_t i, const char *const *words);

/* Token i in small letters, "" when it does not fit. */
const char *text_word(uint32_t i, char out[WORD_ROOM]);

bool text_capital(uint32_t i);
/* The value of a TOKEN_NUMBER such as 1,200 or -3.5 or 20k; false for what only looks like one. */
bool text_number(uint32_t i, double *out);

#endif
