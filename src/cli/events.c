#include "cli/events.h"

#include <string.h>

#define EVENT_MAX (1ull << 30)

void events_init(struct events *e, void (*take)(void *context, const struct event *e), void *context)
{
    *e = (struct events){.text = BUF_INIT(EVENT_MAX), .take = take, .context = context};
}

void events_free(struct events *e)
{
    buf_free(&e->text);
}

static const char *value_of(char *line, const char *field)
{
    size_t len = strlen(field);
    if (strncmp(line, field, len) != 0 || line[len] != ':')
        return NULL;
    return line + len + 1 + (line[len + 1] == ' ');
}

/* The lines of one, each with a 0 in place of its end. A comment has no name. */
static void take_lines(const struct events *e, char *line, const char *end)
{
    struct event event = {"", "", "", 0};
    while (line < end) {
        char *behind = memchr(line, '\n', (size_t)(end - line));
        *behind = '\0';
        const char *id = value_of(line, "id"), *name = value_of(line, "event"), *data = value_of(line, "data");
        event.id = id ? id : event.id;
        event.name = name ? name : event.name;
        event.data = data ? data : event.data;
        event.len = data ? (size_t)(behind - data) : event.len;
        line = behind + 1;
    }
    if (*event.name)
        e->take(e->context, &event);
}

void events_stream(void *events, const char *bytes, size_t len)
{
    struct events *e = events;
    if (!buf_put(&e->text, bytes, len))
        return; /* without memory the stream ends without its last event, which is seen */
    char *start = (char *)e->text.data, *end;
    size_t left = e->text.len;
    while ((end = memmem(start + e->looked, left - e->looked, "\n\n", 2))) {
        take_lines(e, start, end + 1);
        left -= (size_t)(end + 2 - start);
        start = end + 2;
        e->looked = 0;
    }
    memmove(e->text.data, start, left);
    e->text.len = left;
    e->looked = left ? left - 1 : 0;
}
