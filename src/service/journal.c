#include "service/journal.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

struct line {
    uint64_t at_ns;
    unsigned level;
    char plugin[MANIFEST_NAME_MAX + 1], call[33], text[JOURNAL_TEXT_MAX];
};

struct journal {
    pthread_mutex_t lock;
    uint64_t count; /* ever */
    struct line lines[JOURNAL_LINES];
};

struct journal *journal_new(void)
{
    struct journal *j = calloc(1, sizeof *j); /* zero pages until they are used */
    if (j)
        pthread_mutex_init(&j->lock, NULL);
    return j;
}

void journal_free(struct journal *j)
{
    if (j)
        pthread_mutex_destroy(&j->lock);
    free(j);
}

void journal_add(struct journal *j, const char *plugin, const char *call_id, unsigned level, const char *text)
{
    struct line line = {.at_ns = clock_wall_ns(), .level = level};
    text_copy(line.plugin, sizeof line.plugin, plugin);
    text_copy(line.call, sizeof line.call, call_id ? call_id : "");
    text_copy(line.text, sizeof line.text, text);
    pthread_mutex_lock(&j->lock);
    j->lines[j->count++ % JOURNAL_LINES] = line;
    pthread_mutex_unlock(&j->lock);
}

static void tell_line(struct buf *out, const struct line *line)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    tell_open(out, NULL, '{');
    tell_time(out, "time", line->at_ns);
    tell_text(out, "plugin", line->plugin);
    tell_text(out, "level", levels[line->level & 3]);
    tell_text(out, "text", line->text);
    tell_close(out, '}');
}

void service_log_of(struct service *s, const char *call_id, struct buf *out)
{
    struct journal *j = s->journal;
    tell_open(out, NULL, '[');
    pthread_mutex_lock(&j->lock);
    uint64_t from = j->count > JOURNAL_LINES ? j->count - JOURNAL_LINES : 0;
    for (uint64_t i = from; i < j->count && *call_id; i++)
        if (strcmp(j->lines[i % JOURNAL_LINES].call, call_id) == 0)
            tell_line(out, &j->lines[i % JOURNAL_LINES]);
    pthread_mutex_unlock(&j->lock);
    tell_close(out, ']');
}
