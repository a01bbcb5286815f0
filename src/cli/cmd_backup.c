/* `moat backup`, `moat restore`. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/show.h"

static void show_backup(struct cli *c, const json_t *result)
{
    char bytes[32], *packages = show_value(result, "packages");
    show_bytes((uint64_t)json_integer_value(json_object_get(result, "bytes")), bytes);
    printf("Saved the registry and %s packages, %s, in %s.\nIt has what the home has, secret configuration included: "
           "keep it as you keep the home.\n",
           packages ? packages : "0", bytes, c->args[0]);
    free(packages);
}

int run_backup(struct cli *c)
{
    struct ask a;
    struct error err;
    char file[PATH_MAX];
    buf_auto body = {0};
    if (file_from_root(c->args[0], file, &err) < 0)
        return cli_fail(c, &err);
    json_t *object = json_pack("{s:s}", "file", file);
    if (!object)
        return cli_failf(c, MOAT_E_BAD_USAGE, "the path is not UTF-8");
    ask_init(&a, "POST", "/api/backup");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_backup);
}

int run_restore(struct cli *c)
{
    struct error err;
    struct service_restored done = {0};
    int rc = cli_home(c, &err);
    if (rc == 0)
        rc = service_restore(&c->home, c->args[0], &done, &err);
    if (rc < 0)
        return cli_fail(c, &err);
    const char *quote = *done.before ? "\"" : "";
    if (cli_has(c, OPT_JSON))
        printf("{\"packages\":%llu,\"kept\":%s%s%s}\n", (unsigned long long)done.packages, quote,
               *done.before ? done.before : "null", quote);
    else
        printf("Restored the registry and %llu packages.\n", (unsigned long long)done.packages);
    if (*done.before && !cli_has(c, OPT_JSON))
        printf("What was there before is kept in %s of %s and %s.\n", done.before, c->home.registry_dir,
               c->home.plugin_dir);
    return cli_done(c);
}
