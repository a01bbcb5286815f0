/* What kind of statement is it?  By its first words; the server is asked for the rest. */
#include "helper/sql_words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *skip(const char *p)
{
    for (;;) {
        while (isspace((unsigned char)*p))
            p++;
        if (p[0] == '-' && p[1] == '-') {
            p += strcspn(p, "\r\n");
        } else if (p[0] == '/' && p[1] == '*') { /* they nest */
            unsigned depth = 0;
            do {
                bool opens = p[0] == '/' && p[1] == '*', closes = p[0] == '*' && p[1] == '/';
                depth += opens;
                depth -= closes;
                p += opens || closes ? 2 : 1;
            } while (depth && *p);
        } else {
            return p;
        }
    }
}

static const char *word(const char *p, char out[SQL_WORDS_MAX])
{
    size_t n = 0;
    for (; isalpha((unsigned char)*p) || *p == '_'; p++)
        if (n < SQL_WORDS_MAX - 1)
            out[n++] = (char)toupper((unsigned char)*p);
    out[n] = '\0';
    return p;
}

static const struct {
    const char *word;
    enum sql_words kind;
} kinds[] = {
    {"SELECT", WORDS_READ},         {"WITH", WORDS_READ},         {"VALUES", WORDS_READ},
    {"TABLE", WORDS_READ},          {"EXPLAIN", WORDS_READ},      {"SHOW", WORDS_READ},
    {"INSERT", WORDS_WRITE},        {"UPDATE", WORDS_WRITE},      {"DELETE", WORDS_WRITE},
    {"MERGE", WORDS_WRITE},         {"CREATE", WORDS_WRITE},      {"ALTER", WORDS_WRITE},
    {"DROP", WORDS_WRITE},          {"TRUNCATE", WORDS_WRITE},    {"COMMENT", WORDS_WRITE},
    {"SAVEPOINT", WORDS_SAVEPOINT}, {"RELEASE", WORDS_SAVEPOINT}, {"BEGIN", WORDS_BEGIN},
    {"START", WORDS_BEGIN},         {"COMMIT", WORDS_COMMIT},     {"END", WORDS_COMMIT},
    {"ROLLBACK", WORDS_ROLLBACK},   {"ABORT", WORDS_ROLLBACK},
};

/* BEGIN, COMMIT and ROLLBACK stand alone: what they may carry along (modes, PREPARED, CHAIN) is not for here. */
static bool bare(const char *p)
{
    char second[SQL_WORDS_MAX];
    const char *behind = skip(word(skip(p), second));
    bool filler = !*second || strcmp(second, "TRANSACTION") == 0 || strcmp(second, "WORK") == 0;
    if (*behind == ';')
        behind = skip(behind + 1);
    return filler && !*behind;
}

enum sql_words sql_words(const char *sql, char first[SQL_WORDS_MAX])
{
    char second[SQL_WORDS_MAX];
    const char *p = skip(sql);
    while (*p == '(')
        p = skip(p + 1);
    p = word(p, first);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(first, kinds[i].word) != 0)
            continue;
        if (kinds[i].kind == WORDS_ROLLBACK) {
            word(skip(p), second);
            if (strcmp(second, "TO") == 0)
                return WORDS_SAVEPOINT;
        }
        bool alone = kinds[i].kind == WORDS_BEGIN || kinds[i].kind == WORDS_COMMIT || kinds[i].kind == WORDS_ROLLBACK;
        return alone && !bare(p) ? WORDS_REFUSED : kinds[i].kind;
    }
    return WORDS_REFUSED;
}
