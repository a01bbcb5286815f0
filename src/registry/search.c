#include "registry/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "json/cursor.h"
#include "json/json.h"

#define MANIFEST_TEXT_MAX (8u << 20) /* far more than a manifest may have */

/* ---- words ---- */

static bool is_letter(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Bytes of the character that begins at p. */
static size_t character(const char *p)
{
    size_t n = 1;
    while (((unsigned char)p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

size_t search_next_word(const char **p, char out[SEARCH_WORD_MAX + 1])
{
    const char *at = *p;
    size_t len = 0;
    while (*at && !is_letter((unsigned char)*at))
        at++;
    bool room = true;
    while (is_letter((unsigned char)*at)) {
        size_t n = character(at);
        room = room && len + n <= SEARCH_WORD_MAX;
        for (size_t i = 0; i < n && room; i++)
            out[len++] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 32 : at[i]);
        at += n;
    }
    out[len] = '\0';
    *p = at;
    return len;
}

/* Where each character begins, and the end; returns how many there are. */
static size_t characters(const char *word, size_t at[SEARCH_WORD_MAX + 1])
{
    size_t count = 0;
    for (at[0] = 0; word[at[count]]; count++)
        at[count + 1] = at[count] + character(word + at[count]);
    return count;
}

/* The middle of a word of so many characters: how many its first half has. */
static size_t middle(size_t length)
{
    return length / 2;
}

static void put_half(struct search_half *out, char side, size_t length, const char *text, size_t bytes)
{
    snprintf(out->key, sizeof out->key, "%c%02zu%.*s", side, length, (int)bytes, text);
}

/* Of a word of `length` characters, which begins as this one does, or ends as it does. */
static void put_first(struct search_half *out, size_t length, const char *word, const size_t *at)
{
    put_half(out, 'a', length, word, at[middle(length)]);
}

static void put_last(struct search_half *out, size_t length, const char *word, const size_t *at, size_t count)
{
    size_t from = at[count - (length - middle(length))];
    put_half(out, 'z', length, word + from, at[count] - from);
}

void search_own_halves(const char *word, struct search_half out[SEARCH_OWN_HALVES])
{
    size_t at[SEARCH_WORD_MAX + 1], count = characters(word, at);
    put_first(&out[0], count, word, at);
    put_last(&out[1], count, word, at, count);
}

/* The two characters around the middle have changed places. */
static void put_swapped(struct search_half *out, const char *word, const size_t *at, size_t count)
{
    char half[SEARCH_WORD_MAX];
    size_t m = middle(count), before = at[m - 1], one = at[m + 1] - at[m];
    memcpy(half, word, before);
    memcpy(half + before, word + at[m], one);
    put_half(out, 'a', count, half, before + one);
}

size_t search_near_halves(const char *word, struct search_half out[SEARCH_NEAR_HALVES])
{
    size_t at[SEARCH_WORD_MAX + 1], count = characters(word, at), n = 0;
    for (size_t length = count > 1 ? count - 1 : 1; length <= count + 1; length++) {
        put_first(&out[n++], length, word, at);
        put_last(&out[n++], length, word, at, count);
    }
    if (count > 1)
        put_swapped(&out[n++], word, at, count);
    return n;
}

/* ---- words that were seen ---- */

#define SEEN_SIZE (1u << 17) /* 4 MiB; half of it is used */

static size_t place_of(const char *word)
{
    uint64_t hash = 14695981039346656037u;
    for (; *word; word++)
        hash = (hash ^ (unsigned char)*word) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32) & (SEEN_SIZE - 1);
}

/* Was it seen? From now on it was, when there is room. */
static bool seen_before(struct search_seen *seen, const char *word)
{
    if (!seen)
        return false;
    if (!seen->words) {
        seen->words = calloc(SEEN_SIZE, sizeof *seen->words);
        seen->size = seen->words ? SEEN_SIZE : 0;
    }
    if (!seen->size)
        return false;
    size_t i = place_of(word);
    for (; seen->words[i][0]; i = (i + 1) & (SEEN_SIZE - 1))
        if (strcmp(seen->words[i], word) == 0)
            return true;
    if (seen->used < SEEN_SIZE / 2) {
        memcpy(seen->words[i], word, strlen(word) + 1);
        seen->used++;
    }
    return false;
}

void search_seen_free(struct search_seen *seen)
{
    free(seen->words);
    *seen = (struct search_seen){0};
}

/* ---- the index ---- */

static int add_word(struct db *db, const char *word, struct error *err)
{
    struct search_half halves[SEARCH_OWN_HALVES];
    search_own_halves(word, halves);
    int rc = 0;
    for (size_t i = 0; i < SEARCH_OWN_HALVES && rc == 0; i++) {
        rc = db_run(db, err, "INSERT OR IGNORE INTO near_miss (half, word) VALUES (?, ?)", "tt", halves[i].key, word);
        if (rc == 0 && sqlite3_changes(db->handle) == 0)
            break; /* it is known */
    }
    return rc;
}

static int add_words(struct db *db, const char *text, struct search_seen *seen, struct error *err)
{
    char word[SEARCH_WORD_MAX + 1];
    size_t len;
    int rc = 0;
    while (rc == 0 && (len = search_next_word(&text, word)))
        if (len >= SEARCH_WORD_MIN && !seen_before(seen, word))
            rc = add_word(db, word, err);
    return rc;
}

/* ---- a row ---- */

enum { NAME, DESCRIPTION, AUTHOR, ACTIONS, KEYWORDS, COLUMNS }; /* of search */

struct row {
    struct buf manifest, text, columns[COLUMNS];
};

static void row_free(struct row *r)
{
    buf_free(&r->manifest);
    buf_free(&r->text);
    for (int i = 0; i < COLUMNS; i++)
        buf_free(&r->columns[i]);
}

/* A string's characters behind what is there; what is no string adds nothing. */
static void put_string(struct row *r, int column, const uint8_t *value)
{
    buf_clear(&r->text);
    if (cursor_kind(value) != CURSOR_STRING || !buf_reserve(&r->text, cursor_length(value)))
        return;
    if (cursor_text(value, (char *)r->text.data, r->text.cap) < 0)
        return;
    struct buf *out = &r->columns[column];
    buf_puts(out, out->len ? " " : "");
    buf_puts(out, (char *)r->text.data);
}

/* The manifest's members by name: the one place of the registry that looks into a manifest. */
static void read_manifest(struct row *r)
{
    const uint8_t *root, *list, *item;
    if (!json_valid(r->manifest.data, r->manifest.len)) /* nobody wrote it like this; nothing of it is found */
        return;
    r->manifest.data[r->manifest.len] = 0;
    root = cursor_root(r->manifest.data);
    put_string(r, DESCRIPTION, cursor_get(root, "description"));
    put_string(r, AUTHOR, cursor_get(root, "author"));
    list = cursor_get(root, "actions");
    bool some = cursor_kind(list) == CURSOR_ARRAY;
    while (some && cursor_next_item(&list, &item)) {
        put_string(r, ACTIONS, cursor_get(item, "name"));
        put_string(r, ACTIONS, cursor_get(item, "description"));
    }
    list = cursor_get(root, "keywords");
    some = cursor_kind(list) == CURSOR_ARRAY;
    while (some && cursor_next_item(&list, &item))
        put_string(r, KEYWORDS, item);
}

/* Of the version that stands for it: 1, or 0 when there is none. */
static int read_row(struct db *db, int64_t plugin, struct row *r, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row,
                      "SELECT p.name, v.manifest FROM plugin p JOIN version v"
                      " ON v.id = ifnull(p.current, (SELECT max(id) FROM version n WHERE n.plugin = p.id))"
                      " WHERE p.id = ?",
                      "i", plugin);
    if (rc <= 0)
        return rc;
    buf_puts(&r->columns[NAME], (const char *)sqlite3_column_text(row, 0));
    buf_put(&r->manifest, sqlite3_column_text(row, 1), (size_t)sqlite3_column_bytes(row, 1));
    db_end(row);
    if (r->manifest.len)
        read_manifest(r);
    bool failed = r->manifest.failed || r->text.failed;
    for (int i = 0; i < COLUMNS; i++)
        failed |= r->columns[i].failed;
    return failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the search") : 1;
}

static int insert_row(struct db *db, int64_t plugin, const struct row *r, struct search_seen *seen, struct error *err)
{
    const struct buf *c = r->columns;
    int rc = db_run(db, err,
                    "INSERT INTO search (rowid, name, description, author, actions, keywords)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    "ittttt", plugin, buf_text(&c[NAME]), buf_text(&c[DESCRIPTION]), buf_text(&c[AUTHOR]),
                    buf_text(&c[ACTIONS]), buf_text(&c[KEYWORDS]));
    for (int i = 0; i < COLUMNS && rc == 0; i++)
        rc = add_words(db, buf_text(&c[i]), seen, err);
    return rc;
}

int search_refresh(struct db *db, int64_t plugin, struct error *err)
{
    return search_refresh_many(db, plugin, NULL, err);
}

int search_refresh_many(struct db *db, int64_t plugin, struct search_seen *seen, struct error *err)
{
    struct row r = {.manifest = BUF_INIT(MANIFEST_TEXT_MAX), .text = BUF_INIT(MANIFEST_TEXT_MAX)};
    for (int i = 0; i < COLUMNS; i++)
        r.columns[i] = BUF_INIT(MANIFEST_TEXT_MAX);
    int rc = db_run(db, err, "DELETE FROM search WHERE rowid = ?", "i", plugin);
    if (rc == 0)
        rc = read_row(db, plugin, &r, err);
    if (rc > 0)
        rc = insert_row(db, plugin, &r, seen, err);
    row_free(&r);
    return rc;
}

int search_rebuild(struct db *db, struct error *err)
{
    static const char *const clear[] = {"DELETE FROM near_miss", "DELETE FROM search"};
    struct search_seen seen = {0};
    int64_t plugin = 0;
    int rc = 0;
    for (size_t i = 0; i < sizeof clear / sizeof *clear && rc == 0; i++)
        rc = db_run(db, err, clear[i], "");
    while (rc == 0) {
        rc = db_number(db, err, 0, &plugin, "SELECT min(id) FROM plugin WHERE id > ?", "i", plugin);
        if (rc < 0 || plugin == 0)
            break;
        rc = search_refresh_many(db, plugin, &seen, err);
    }
    search_seen_free(&seen);
    return rc;
}
