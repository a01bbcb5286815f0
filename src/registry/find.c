#include "registry/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/search.h"

#define NEAR_MAX 8         /* other words for one that was typed */
#define NEAR_ROWS_MAX 2000 /* looked at for one half */
#define EXPRESSION_MAX (16 * 1024)

struct words {
    char list[FIND_WORDS_MAX][SEARCH_WORD_MAX + 1];
    size_t count;
};

void found_free(struct found_list *l)
{
    free(l->list);
    *l = (struct found_list){0};
}

static void split(const char *text, struct words *out)
{
    char copy[FIND_TEXT_MAX + 1];
    size_t len = strnlen(text, FIND_TEXT_MAX);
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80) /* not inside a character */
        len--;
    memcpy(copy, text, len);
    copy[len] = '\0';
    const char *at = copy;
    out->count = 0;
    while (out->count < FIND_WORDS_MAX && search_next_word(&at, out->list[out->count]))
        out->count++;
}

/* ---- candidates ---- */

static int keep(struct found_list *l, int64_t plugin, int tier, const char *name, struct error *err)
{
    for (size_t i = 0; i < l->count; i++) /* earlier kinds are better ones */
        if (l->list[i].plugin == plugin)
            return 0;
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct found *list = realloc(l->list, cap * sizeof *list);
        if (!list)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the search");
        l->list = list;
        l->cap = cap;
    }
    struct found *f = &l->list[l->count++];
    *f = (struct found){.plugin = plugin, .tier = tier};
    snprintf(f->name, sizeof f->name, "%s", name ? name : "");
    return 0;
}

static int keep_rows(struct db *db, sqlite3_stmt *row, int rc, int tier, struct found_list *l, struct error *err)
{
    for (; rc > 0; rc = db_next(db, err, row)) {
        int kept = keep(l, sqlite3_column_int64(row, 0), tier, (const char *)sqlite3_column_text(row, 1), err);
        if (kept < 0) {
            db_end(row);
            return kept;
        }
    }
    return rc;
}

/* ?2 to ?5 are the filter. */
#define FILTERED \
    " JOIN publisher o ON o.id = p.owner" \
    " JOIN version v ON v.id = ifnull(p.current, (SELECT max(id) FROM version n WHERE n.plugin = p.id))"
#define FILTER \
    " AND (?2 = 0 OR v.capabilities & ?2) AND (?3 = 0 OR v.permissions & ?3) AND (?4 < 0 OR p.active = ?4)" \
    " AND (?5 IS NULL OR o.name = ?5)"

/* Words joined as a name has them: "data proc" is data_proc. */
static int by_name(struct db *db, const struct words *words, const struct registry_filter *f, struct found_list *out,
                   struct error *err)
{
    char name[FIND_WORDS_MAX * (SEARCH_WORD_MAX + 1) + 1] = "";
    for (size_t i = 0, n = 0; i < words->count; i++)
        n += (size_t)snprintf(name + n, sizeof name - n, "%s%s", i ? "_" : "", words->list[i]);
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row, "SELECT p.id, p.name FROM plugin p" FILTERED " WHERE p.name = ?1" FILTER, "tiiit",
                      name, (int64_t)f->capabilities, (int64_t)f->permissions, (int64_t)f->active, f->publisher);
    rc = keep_rows(db, row, rc, 0, out, err);
    if (rc < 0)
        return rc;
    /* Names are of a-z, 0-9 and _: all that begin with it are below it with a { behind. */
    rc = db_start(db, err, &row,
                  "SELECT p.id, p.name FROM plugin p" FILTERED " WHERE p.name > ?1 AND p.name < ?1 || '{'" FILTER
                  " ORDER BY p.name LIMIT ?6",
                  "tiiiti", name, (int64_t)f->capabilities, (int64_t)f->permissions, (int64_t)f->active, f->publisher,
                  (int64_t)FIND_TIER_MAX);
    return keep_rows(db, row, rc, 1, out, err);
}

static int by_words(struct db *db, const char *expression, int tier, const struct registry_filter *f,
                    struct found_list *out, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row,
                      "SELECT p.id, p.name FROM search JOIN plugin p ON p.id = search.rowid" FILTERED
                      " WHERE search MATCH ?1" FILTER " LIMIT ?6",
                      "tiiiti", expression, (int64_t)f->capabilities, (int64_t)f->permissions, (int64_t)f->active,
                      f->publisher, (int64_t)FIND_TIER_MAX);
    return keep_rows(db, row, rc, tier, out, err);
}

/* ---- one slip away ---- */

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t characters(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += begins_character(text[i]);
    return n;
}

/* Where the second character begins. */
static size_t first_character(const char *text, size_t len)
{
    size_t n = 1;
    while (n < len && !begins_character(text[n]))
        n++;
    return n;
}

bool find_near(const char *a, const char *b)
{
    size_t alen = strlen(a), blen = strlen(b), same = 0, behind = 0;
    while (same < alen && same < blen && a[same] == b[same])
        same++;
    while (same && (!begins_character(a[same]) || !begins_character(b[same])))
        same--;
    while (behind < alen - same && behind < blen - same && a[alen - behind - 1] == b[blen - behind - 1])
        behind++;
    while (behind && !begins_character(a[alen - behind]))
        behind--;
    const char *x = a + same, *y = b + same;
    size_t xlen = alen - same - behind, ylen = blen - same - behind;
    size_t xn = characters(x, xlen), yn = characters(y, ylen);
    if (xn <= 1 && yn <= 1)
        return true;
    if (xn != 2 || yn != 2 || xlen != ylen)
        return false;
    size_t cut = first_character(x, xlen), other = xlen - cut;
    return memcmp(x, y + other, cut) == 0 && memcmp(x + cut, y, other) == 0;
}

struct near {
    struct db *db;
    const char *word;
    char list[NEAR_MAX][SEARCH_WORD_MAX + 1];
    size_t count;
};

static void note_near(struct near *n, const char *word)
{
    if (n->count == NEAR_MAX || strlen(word) > SEARCH_WORD_MAX || strcmp(word, n->word) == 0 ||
        !find_near(word, n->word))
        return;
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->list[i], word) == 0)
            return;
    snprintf(n->list[n->count++], sizeof *n->list, "%s", word);
}

static int look_up(struct near *n, const struct search_half *half, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(n->db, err, &row, "SELECT word FROM near_miss WHERE half = ? LIMIT ?", "ti", half->key,
                      (int64_t)NEAR_ROWS_MAX);
    for (; rc > 0; rc = db_next(n->db, err, row)) {
        const char *word = (const char *)sqlite3_column_text(row, 0);
        note_near(n, word ? word : "");
    }
    return rc;
}

static int find_near_words(struct near *n, struct error *err)
{
    struct search_half halves[SEARCH_NEAR_HALVES];
    size_t count = search_near_halves(n->word, halves);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0 && n->count < NEAR_MAX; i++)
        rc = look_up(n, &halves[i], err);
    return rc;
}

/* ---- expressions of FTS5: quoted words, and nothing of the user's besides ---- */

static void put_word(struct buf *out, const char *word, bool prefix)
{
    buf_printf(out, "\"%s\"%s", word, prefix ? "*" : ""); /* a word has no quote in it */
}

static void put_words(struct buf *out, const struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        buf_puts(out, i ? " AND " : "");
        put_word(out, words->list[i], true);
    }
}

static int put_near(struct db *db, const struct words *words, struct buf *out, bool *any, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < words->count && rc >= 0; i++) {
        struct near n = {.db = db, .word = words->list[i]};
        if (strlen(n.word) >= SEARCH_WORD_MIN)
            rc = find_near_words(&n, err);
        buf_puts(out, i ? " AND (" : "(");
        put_word(out, n.word, true);
        for (size_t k = 0; k < n.count; k++) {
            buf_puts(out, " OR ");
            put_word(out, n.list[k], false);
        }
        buf_puts(out, ")");
        *any |= n.count != 0;
    }
    return rc < 0 ? rc : 0;
}

static int find_with_slips(struct db *db, const struct words *words, const struct registry_filter *f,
                           struct found_list *out, struct error *err)
{
    buf_auto expression = BUF_INIT(EXPRESSION_MAX);
    bool any = false;
    int rc = put_near(db, words, &expression, &any, err);
    if (rc < 0 || !any || expression.failed)
        return rc;
    return by_words(db, buf_text(&expression), 4, f, out, err);
}

/* ---- all of it ---- */

static int better(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->tier != y->tier ? (x->tier > y->tier) - (x->tier < y->tier) : strcmp(x->name, y->name);
}

int find_plugins(struct db *db, const struct registry_filter *filter, struct found_list *out, struct error *err)
{
    buf_auto expression = BUF_INIT(EXPRESSION_MAX), in_name = BUF_INIT(EXPRESSION_MAX);
    struct words words;
    split(filter->text, &words);
    if (!words.count)
        return 0;
    put_words(&expression, &words);
    buf_printf(&in_name, "name : (%s)", buf_text(&expression));
    if (expression.failed || in_name.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the search");
    int rc = by_name(db, &words, filter, out, err);
    if (rc == 0)
        rc = by_words(db, buf_text(&in_name), 2, filter, out, err);
    if (rc == 0)
        rc = by_words(db, buf_text(&expression), 3, filter, out, err);
    if (rc == 0 && out->count < FIND_FEW)
        rc = find_with_slips(db, &words, filter, out, err);
    if (rc == 0 && out->count)
        qsort(out->list, out->count, sizeof *out->list, better);
    return rc;
}
