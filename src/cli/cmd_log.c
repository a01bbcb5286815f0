/* `moat log`: what plugins said, as a server remembers it. */
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"

#define PAGE "1000"
#define WAIT "30s"

static void ask_log(struct cli *c, struct ask *a)
{
    static const struct {
        enum cli_option option;
        const char *query;
    } filters[] = {{OPT_CALL, "call"},     {OPT_TRACE, "trace"}, {OPT_LEVEL, "level"},
                   {OPT_SOURCE, "source"}, {OPT_SINCE, "since"}, {OPT_LIMIT, "limit"}};
    ask_init(a, "GET", "/api/log");
    ask_query(a, "plugin", c->nargs ? c->args[0] : NULL);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        ask_query(a, filters[i].query, c->option[filters[i].option]);
}

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text ? text : "";
}

/* 2026-11-25T13:35:02.123Z info  word_count.count    the line */
static void show_line(const json_t *record)
{
    const char *source = text_of(record, "source"), *action = text_of(record, "action");
    const char *word = strcmp(source, "log") == 0      ? text_of(record, "level")
                       : strcmp(source, "output") == 0 ? "out"
                                                       : source;
    show_text(stdout, text_of(record, "time"));
    printf(" %-5s ", word);
    int width = printf("%s%s%s", text_of(record, "plugin"), *action ? "." : "", action);
    printf("%*s ", width < 20 ? 20 - width : 0, "");
    show_text(stdout, text_of(record, "text"));
    putchar('\n');
}

static void show_lines(struct cli *c, const json_t *result)
{
    const json_t *list = json_object_get(result, "records");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *record = json_array_get(list, i);
        if (cli_has(c, OPT_JSON)) {
            json_dumpf(record, stdout, JSON_COMPACT);
            putchar('\n');
        } else {
            show_line(record);
        }
    }
    fflush(stdout);
}

static void show_page(struct cli *c, const json_t *result)
{
    show_lines(c, result);
    if (!json_array_size(json_object_get(result, "records")))
        fputs("Nothing of that kind was said since the server started.\n", stderr);
}

/* A page of what came after record `after`; an exit status. */
static int follow_page(struct cli *c, json_int_t *after)
{
    struct ask a;
    struct reply reply;
    char number[24];
    ask_log(c, &a);
    a.server_only = "what plugins say is in the memory of a server";
    if (*after >= 0) {
        snprintf(number, sizeof number, "%lld", (long long)*after);
        ask_query(&a, "after", number);
        ask_query(&a, "wait", WAIT);
    }
    int rc = ask_route(c, &a, &reply);
    if (rc == 0) {
        json_t *result = json_loadb(reply.result, reply.len, 0, NULL);
        json_int_t lost = json_integer_value(json_object_get(result, "lost"));
        if (lost)
            fprintf(stderr, "moat: %lld lines had left the server's memory before they could be shown\n",
                    (long long)lost);
        show_lines(c, result);
        *after = json_integer_value(json_object_get(result, "next"));
        json_decref(result);
    }
    reply_free(&reply);
    return rc ? rc : cli_done(c);
}

static int follow(struct cli *c)
{
    json_int_t after = -1;
    int rc = follow_page(c, &after);
    c->option[OPT_LIMIT] = PAGE;
    while (rc == 0)
        rc = follow_page(c, &after);
    return rc;
}

int run_log(struct cli *c)
{
    struct ask a;
    if (cli_has(c, OPT_FOLLOW))
        return follow(c);
    ask_log(c, &a);
    return ask_and_show(c, &a, show_page);
}
