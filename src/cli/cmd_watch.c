/* Commands that tell how things are. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int tell(struct cli *c, const char *path, show_result show)
{
    struct ask a;
    ask_init(&a, "GET", path);
    return ask_and_show(c, &a, show);
}

/* Whatever members there are, groups indented: figures grow with the systems that report them. */
static void show_members(const json_t *object, int depth)
{
    const char *key;
    json_t *value, *all = json_copy((json_t *)(uintptr_t)object); /* iterating takes no const */
    json_object_foreach(all, key, value)
    {
        printf("%*s", 2 * depth, "");
        show_text(stdout, key);
        if (json_is_object(value)) {
            puts(":");
            show_members(value, depth + 1);
            continue;
        }
        char *text = show_value(all, key);
        fputs(": ", stdout);
        show_text(stdout, text ? text : "-");
        putchar('\n');
        free(text);
    }
    json_decref(all);
}

static void show_figures(struct cli *c, const json_t *result)
{
    const json_t *security = json_object_get(result, "security");
    const char *development = json_string_value(json_object_get(security ? security : result, "development"));
    if (development && strcmp(development, "on") == 0)
        fputs(cli_development, stderr);
    show_members(result, 0);
}

int run_stats(struct cli *c)
{
    return tell(c, "/api/plugins/stats", show_figures);
}

int run_health(struct cli *c)
{
    return tell(c, "/api/plugins/health", show_figures);
}

static void show_words(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {
        {"NAME", "name", false}, {"PLUGINS", "plugins", false}, {"DESCRIPTION", "description", false}};
    show_table(result, columns, 3, "");
}

int run_capabilities(struct cli *c)
{
    return tell(c, "/api/plugins/capabilities", show_words);
}

int run_permissions(struct cli *c)
{
    return tell(c, "/api/plugins/permissions", show_words);
}
