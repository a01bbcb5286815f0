/* service/journal: the last JOURNAL_LINES lines that plugins logged, in memory: about 1 MiB when full, each cut to
 * JOURNAL_TEXT_MAX bytes, gone with the process.  Any thread.  Private to src/service. */
#ifndef SERVICE_JOURNAL_H
#define SERVICE_JOURNAL_H

#define JOURNAL_LINES 4096
#define JOURNAL_TEXT_MAX 200

struct journal;
struct journal *journal_new(void); /* NULL: no memory */
void journal_free(struct journal *j);
void journal_add(struct journal *j, const char *plugin, const char *call_id, unsigned level, const char *text);

#endif
