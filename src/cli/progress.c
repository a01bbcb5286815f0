#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* ---- one line that changes ---- */

/* So many bytes of it are whole characters. */
static int fit(const char *text, size_t most)
{
    size_t len = strnlen(text, most);
    while (len && (text[len] & 0xc0) == 0x80)
        len--;
    return (int)len;
}

static void put_words(struct progress *p, const json_t *data)
{
    const char *step = json_string_value(json_object_get(data, "step")),
               *message = json_string_value(json_object_get(data, "message"));
    const json_t *done = json_object_get(data, "done");
    size_t n = (size_t)snprintf(p->what, sizeof p->what, "%.*s", step ? fit(step, 40) : 0, step ? step : "");
    if (json_is_number(done))
        n += (size_t)snprintf(p->what + n, sizeof p->what - n, " %.0f%%", 100 * json_number_value(done));
    if (message && *message)
        snprintf(p->what + n, sizeof p->what - n, ": %.*s", fit(message, 40), message);
}

static void draw(struct progress *p)
{
    fprintf(stderr, "\r\033[K%u of %u steps", p->over, p->steps);
    if (*p->what)
        fputs(", ", stderr);
    show_text(stderr, p->what);
    fflush(stderr);
    p->drawn = true;
}

void progress_show(struct progress *p, const struct event *e)
{
    json_t *data = json_loadb(e->data, e->len, 0, NULL);
    if (strcmp(e->name, "task_begun") == 0)
        p->steps = (unsigned)json_integer_value(json_object_get(data, "steps"));
    else if (strcmp(e->name, "step_ended") == 0)
        p->over++;
    else if (strncmp(e->name, "step_", 5) == 0)
        put_words(p, data);
    if (strncmp(e->name, "step_", 5) == 0)
        draw(p);
    json_decref(data);
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

/* ---- a line for each ---- */

static void print(const json_t *data, const char *path, const char *before)
{
    char *text = show_value(data, path);
    if (text && strcmp(text, "-") != 0) {
        fputs(before, stdout);
        show_text(stdout, text);
    }
    free(text);
}

static void print_state(const json_t *data)
{
    print(data, "id", "Task ");
    print(data, "status", " ");
    for (size_t i = 0; i < json_array_size(json_object_get(data, "steps")); i++) {
        const json_t *step = json_array_get(json_object_get(data, "steps"), i);
        print(step, "outcome", "\n  ");
        print(step, "id", " ");
        print(step, "error.message", ": ");
    }
}

static void print_begun(const json_t *data)
{
    print(data, "step", "  begun ");
}

static void print_item(const json_t *data)
{
    print(data, "step", " ");
    print(data, "item", "[");
    fputs(json_object_get(data, "item") ? "]" : "", stdout);
}

static void print_progress(const json_t *data)
{
    printf("  %.0f%%", 100 * json_number_value(json_object_get(data, "done")));
    print_item(data);
    print(data, "message", ": ");
}

static void print_retry(const json_t *data)
{
    printf("  again in %.3g s", (double)json_integer_value(json_object_get(data, "delay_ns")) / 1e9);
    print_item(data);
    print(data, "message", ": ");
}

static void print_fallback(const json_t *data)
{
    fputs("  falling back", stdout);
    print_item(data);
    print(data, "message", ": ");
}

static void print_compensated(const json_t *data)
{
    print(data, "compensation", "  compensation ");
    print(data, "step", " of ");
}

static void print_ended(const json_t *data)
{
    print(data, "outcome", "  ");
    print(data, "id", " ");
    print(data, "plugin", " ");
    print(data, "error.message", ": ");
}

static void print_end(const json_t *data)
{
    print(data, "id", "Task ");
    print(data, "status", " ");
    print(data, "error.message", ": ");
}

void progress_print(const struct event *e)
{
    static const struct {
        const char *name;
        void (*print)(const json_t *data);
    } events[] = {
        {"state", print_state},      {"step_begun", print_begun},       {"step_progress", print_progress},
        {"step_retry", print_retry}, {"step_fallback", print_fallback}, {"step_compensated", print_compensated},
        {"step_ended", print_ended}, {"task_ended", print_end}};
    json_t *data = json_loadb(e->data, e->len, 0, NULL);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (strcmp(events[i].name, e->name) == 0) {
            events[i].print(data);
            putchar('\n');
            fflush(stdout);
        }
    json_decref(data);
}
