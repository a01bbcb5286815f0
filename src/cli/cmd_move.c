/* Commands that move what is known: export, import. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/file.h"
#include "cli/show.h"

int run_export(struct cli *c)
{
    struct ask a;
    const char *path = cli_has(c, OPT_OUTPUT) ? c->option[OPT_OUTPUT] : "-";
    ask_init(&a, "GET", "/api/export");
    int rc = file_from_answer(c, &a, path);
    return rc ? rc : cli_done(c);
}

static void show_imported(struct cli *c, const json_t *result)
{
    static const struct column fields[] = {{"Publishers", "publishers", false}, {"Keys", "keys", false},
                                           {"Plugins", "plugins", false},       {"Versions", "versions", false},
                                           {"Of these new", "added", false},    {"Ceilings", "ceilings", false},
                                           {"Sources", "sources", false}};
    show_fields(result, fields, 7);
    puts("A version whose package is not here is `damaged` until it is installed: `moat import DIR` takes all of a "
         "directory.");
}

static int import_document(struct cli *c, const char *path)
{
    struct ask a;
    struct error err;
    ask_init(&a, "POST", "/api/import");
    if (file_as_body(&a, path, &err) < 0) {
        ask_free(&a);
        return cli_fail(c, &err);
    }
    a.content_type = "application/json";
    return ask_and_show(c, &a, show_imported);
}

/* ---- a directory of packages ---- */

static int is_package(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".moat") == 0;
}

/* 1.10.0 behind 1.9.0, so that most directories come in the order in which they were made. */
static int by_version(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*a)->d_name, (*b)->d_name);
}

/* The result of a route for one package; NULL: reported, with *status. */
static json_t *send_package(struct cli *c, const char *path, const char *file, int *status)
{
    struct ask a;
    struct reply reply;
    struct error err;
    ask_init(&a, "POST", path);
    if (strcmp(path, "/api/plugins/install") == 0)
        ask_query(&a, "allow_older", "true");
    if (file_as_body(&a, file, &err) < 0) {
        ask_free(&a);
        *status = cli_fail(c, &err);
        return NULL;
    }
    *status = ask_route(c, &a, &reply);
    json_t *result = *status ? NULL : json_loadb(reply.result, reply.len, 0, NULL);
    reply_free(&reply);
    if (!result && !*status)
        *status = cli_failf(c, MOAT_E_INTERNAL, "the result cannot be read");
    return result;
}

/* Would it be taken? An older version than the newest seen is, it does not become current by itself. */
static int check_package(struct cli *c, const char *file)
{
    int status;
    json_t *result = send_package(c, "/api/plugins/validate", file, &status);
    const json_t *findings = json_object_get(result, "findings");
    for (size_t i = 0; i < json_array_size(findings) && !status; i++) {
        const json_t *one = json_array_get(findings, i);
        const char *code = json_string_value(json_object_get(one, "code")),
                   *message = json_string_value(json_object_get(one, "message"));
        if (code && message && strcmp(code, "older_version") != 0)
            status =
                cli_failf(c, cli_code(code), "%.300s: %.600s; nothing is installed of the directory", file, message);
    }
    json_decref(result);
    return status;
}

static int install_package(struct cli *c, const char *file, json_t *done)
{
    int status;
    json_t *result = send_package(c, "/api/plugins/install", file, &status);
    if (!result)
        return status;
    if (!cli_has(c, OPT_JSON)) {
        char *name = show_value(result, "name"), *version = show_value(result, "version");
        bool already = json_is_true(json_object_get(result, "already"));
        printf("%s %s %s\n", name ? name : "", version ? version : "", already ? "was installed" : "is installed");
        free(name);
        free(version);
    }
    json_array_append_new(done, result);
    return 0;
}

/* All are looked at before one is installed. Each installation is whole; one that breaks off is gone on with by asking
 * again. */
static int import_packages(struct cli *c, const char *dir)
{
    struct dirent **list;
    char path[PATH_MAX];
    json_t *done = json_array();
    int n = scandir(dir, &list, is_package, by_version), rc = 0;
    if (n < 0)
        rc = cli_failf(c, MOAT_E_NO_SUCH_FILE, "cannot read %.400s", dir);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n && rc == 0; i++) {
            snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
            rc = pass ? install_package(c, path, done) : check_package(c, path);
        }
    if (rc == 0 && cli_has(c, OPT_JSON))
        json_dumpf(done, stdout, JSON_COMPACT), putchar('\n');
    else if (rc == 0 && n == 0)
        printf("There is no package in %s.\n", dir);
    for (int i = 0; i < n; i++)
        free(list[i]);
    if (n >= 0)
        free(list);
    json_decref(done);
    return rc ? rc : cli_done(c);
}

int run_import(struct cli *c)
{
    struct stat st;
    bool dir = stat(c->args[0], &st) == 0 && S_ISDIR(st.st_mode);
    return dir ? import_packages(c, c->args[0]) : import_document(c, c->args[0]);
}
