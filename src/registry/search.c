#include "registry/search.h"

#include <string.h>

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

int search_keys(const char *word, int (*each)(void *context, const char *key, struct error *err), void *context,
                struct error *err)
{
    char key[SEARCH_WORD_MAX + 1];
    size_t len = strlen(word);
    int rc = each(context, word, err);
    for (size_t i = 0, n; i < len && rc >= 0; i += n) {
        n = character(word + i);
        memcpy(key, word, i);
        memcpy(key + i, word + i + n, len - i - n + 1);
        rc = each(context, key, err);
    }
    return rc;
}

/* ---- the index ---- */

struct one_word {
    struct db *db;
    int64_t id;
};

static int add_key(void *context, const char *key, struct error *err)
{
    struct one_word *w = context;
    return db_run(w->db, err, "INSERT OR IGNORE INTO typo (key, word) VALUES (?, ?)", "ti", key, w->id);
}

static int add_word(struct db *db, const char *word, struct error *err)
{
    struct one_word w = {.db = db};
    int rc = db_run(db, err, "INSERT OR IGNORE INTO word (word) VALUES (?)", "t", word);
    if (rc < 0 || sqlite3_changes(db->handle) == 0)
        return rc;
    w.id = sqlite3_last_insert_rowid(db->handle);
    return search_keys(word, add_key, &w, err);
}

static int add_words(struct db *db, const char *text, struct error *err)
{
    char word[SEARCH_WORD_MAX + 1];
    size_t len;
    int rc = 0;
    while (rc == 0 && (len = search_next_word(&text, word)))
        if (len >= SEARCH_WORD_MIN)
            rc = add_word(db, word, err);
    return rc;
}

enum { COLUMNS = 5 }; /* of search */

static int add_row_words(struct db *db, int64_t plugin, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row, "SELECT name, description, author, actions, keywords FROM search WHERE rowid = ?",
                      "i", plugin);
    if (rc <= 0)
        return rc;
    rc = 0;
    for (int i = 0; i < COLUMNS && rc == 0; i++) {
        const char *text = (const char *)sqlite3_column_text(row, i);
        rc = add_words(db, text ? text : "", err);
    }
    db_end(row);
    return rc;
}

/* The manifest's members by name: the one place of the registry that looks into a manifest. */
#define MEMBERS \
    "p.name, ifnull(v.manifest ->> '$.description', ''), ifnull(v.manifest ->> '$.author', '')," \
    " ifnull((SELECT group_concat(ifnull(value ->> '$.name', '') || ' ' || ifnull(value ->> '$.description', ''), ' " \
    "')" \
    " FROM json_each(v.manifest, '$.actions')), '')," \
    " ifnull((SELECT group_concat(value, ' ') FROM json_each(v.manifest, '$.keywords')), '')"

int search_refresh(struct db *db, int64_t plugin, struct error *err)
{
    int rc = db_run(db, err, "DELETE FROM search WHERE rowid = ?", "i", plugin);
    if (rc == 0)
        rc = db_run(db, err,
                    "INSERT INTO search (rowid, name, description, author, actions, keywords) SELECT p.id, " MEMBERS
                    " FROM plugin p JOIN version v"
                    " ON v.id = ifnull(p.current, (SELECT max(id) FROM version n WHERE n.plugin = p.id))"
                    " WHERE p.id = ?",
                    "i", plugin);
    return rc < 0 ? rc : add_row_words(db, plugin, err);
}

int search_rebuild(struct db *db, struct error *err)
{
    static const char *const clear[] = {"DELETE FROM typo", "DELETE FROM word", "DELETE FROM search"};
    int64_t plugin = 0;
    int rc = 0;
    for (size_t i = 0; i < sizeof clear / sizeof *clear && rc == 0; i++)
        rc = db_run(db, err, clear[i], "");
    while (rc == 0) {
        rc = db_number(db, err, 0, &plugin, "SELECT min(id) FROM plugin WHERE id > ?", "i", plugin);
        if (rc < 0 || plugin == 0)
            break;
        rc = search_refresh(db, plugin, err);
    }
    return rc;
}
