/* registry/search: the words of what is installed, where a search looks.  One row for each plugin, of the version that
 * stands for it (the current one, else the one installed last), and the index of near misses.  Private to src/registry.
 *
 * search: FTS5 over name, description, author, actions, keywords; rowid is the plugin's id.  Its tokens are those of
 *   unicode61, without diacritics: "data_processor" is data and processor. Prefixes of 2 and 3 characters are indexed.
 * near_miss: each word of 4 to 32 bytes that ever stood in a row, folded to lower case (ASCII), under each of its two
 *   halves and its length in characters (UTF-8).  One insertion, deletion or substitution leaves one half as it was,
 * and one swap of neighbours as well unless it is over the middle: look up the few halves that words near to what was
 * typed can have (search_near_halves), and keep the words that are near enough.  Two rows for each word, however long:
 * what an installation of new words writes is little. */
#ifndef REGISTRY_SEARCH_H
#define REGISTRY_SEARCH_H

#include "registry/db.h"

#define SEARCH_WORD_MIN 4
#define SEARCH_WORD_MAX 32

/* After anything that changes which version stands for the plugin; the plugin may be gone. */
int search_refresh(struct db *db, int64_t plugin, struct error *err);

/* For thousands of them in one transaction: words that it has seen need no statement each time. Bounded; zeroes are an
 * empty one. */
struct search_seen {
    char (*words)[SEARCH_WORD_MAX + 1]; /* a hash table of `size` places */
    size_t size, used;
};
int search_refresh_many(struct db *db, int64_t plugin, struct search_seen *seen, struct error *err);
void search_seen_free(struct search_seen *seen);
/* All of it anew: the migration's, and the cure of a search that `doctor --deep` finds wrong. */
int search_rebuild(struct db *db, struct error *err);

/* How many plugins are in it and should not be, or the other way round. */
#define SEARCH_WRONG \
    "SELECT (SELECT count(*) FROM plugin p WHERE EXISTS (SELECT 1 FROM version WHERE plugin = p.id)" \
    " AND NOT EXISTS (SELECT 1 FROM search s WHERE s.rowid = p.id AND s.name = p.name)) +" \
    " (SELECT count(*) FROM search s WHERE NOT EXISTS (SELECT 1 FROM version v WHERE v.plugin = s.rowid))"

/* The next word at *p: letters and digits of ASCII in lower case, and every byte that is not ASCII.  Returns its
 * length, cut at SEARCH_WORD_MAX (not inside a character), or 0 at the end; *p stands behind it. */
size_t search_next_word(const char **p, char out[SEARCH_WORD_MAX + 1]);

/* A half of a word of `length` characters, its first or its last one: a key of near_miss. */
#define SEARCH_HALF_MAX (SEARCH_WORD_MAX + 4)
struct search_half {
    char key[SEARCH_HALF_MAX];
};
#define SEARCH_OWN_HALVES 2
void search_own_halves(const char *word, struct search_half out[SEARCH_OWN_HALVES]);
/* Under which every word stands that is one slip away; returns how many. */
#define SEARCH_NEAR_HALVES 7
size_t search_near_halves(const char *word, struct search_half out[SEARCH_NEAR_HALVES]);

#endif
