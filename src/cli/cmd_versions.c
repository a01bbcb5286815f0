/* Commands about versions: which one is current, what is said of them, fetching one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/file.h"
#include "cli/show.h"

const char *cli_accept(const struct cli *c)
{
    return cli_has(c, OPT_ACCEPT_CHANGES) ? "all" : c->option[OPT_ACCEPT];
}

void show_warnings(const json_t *result)
{
    const json_t *warnings = json_object_get(result, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        fputs("moat: warning: ", stderr);
        show_text(stderr, text ? text : "");
        fputc('\n', stderr);
    }
}

/* "alpha: current 2.0.0, before 1.0.0" out of whatever members the result has. */
static void show_state(struct cli *c, const json_t *result)
{
    static const struct {
        const char *member, *words;
    } parts[] = {{"version", "version"}, {"current", "current"},       {"state", "state"},   {"status", "status"},
                 {"pinned", "pinned"},   {"deprecated", "deprecated"}, {"before", "before"}, {"canary", "canary"}};
    char *name = show_value(result, "name");
    show_text(stdout, name ? name : c->args[0]);
    free(name);
    const char *between = ": ";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *value = show_value(result, parts[i].member);
        if (value && strcmp(value, "-") != 0) {
            printf("%s%s ", between, parts[i].words);
            show_text(stdout, value);
            between = ", ";
        }
        free(value);
    }
    puts(json_is_true(json_object_get(result, "already")) ? " (as before)" : "");
}

static int say(struct cli *c, const char *path, const char *accept)
{
    struct ask a;
    ask_init(&a, "POST", path);
    ask_segment(&a, c->args[0]);
    ask_query(&a, "accept", accept);
    ask_query(&a, "canary", c->option[OPT_CANARY]);
    ask_query(&a, "undo", cli_has(c, OPT_UNDO) ? "true" : NULL);
    ask_query(&a, "reason", c->option[OPT_REASON]);
    return ask_and_show(c, &a, show_state);
}

int run_use(struct cli *c)
{
    return say(c, "/api/plugins/use", cli_accept(c));
}

int run_rollback(struct cli *c)
{
    return say(c, "/api/plugins/rollback", NULL);
}

int run_pin(struct cli *c)
{
    return say(c, "/api/plugins/pin", NULL);
}

int run_unpin(struct cli *c)
{
    return say(c, "/api/plugins/unpin", NULL);
}

int run_activate(struct cli *c)
{
    return say(c, "/api/plugins/activate", NULL);
}

int run_deactivate(struct cli *c)
{
    return say(c, "/api/plugins/deactivate", NULL);
}

int run_deprecate(struct cli *c)
{
    return say(c, "/api/plugins/deprecate", NULL);
}

int run_archive(struct cli *c)
{
    return say(c, "/api/plugins/archive", NULL);
}

/* ---- fetch ---- */

int file_from_answer(struct cli *c, struct ask *a, const char *path)
{
    char part[PATH_MAX];
    if (strcmp(path, "-") == 0)
        return ask_file(c, a, STDOUT_FILENO);
    int len = snprintf(part, sizeof part, "%s.XXXXXX", path);
    fd_auto fd = len < (int)sizeof part ? mkostemp(part, O_CLOEXEC) : -1;
    if (fd < 0) {
        ask_free(a);
        return cli_failf(c, MOAT_E_NO_SUCH_FILE, "cannot write %.400s: %s", path, strerror(errno));
    }
    int rc = ask_file(c, a, fd);
    /* What others may read is theirs to decide with their umask. */
    mode_t mask = umask(0);
    umask(mask);
    if (rc == 0 && (fchmod(fd, 0666 & ~mask) < 0 || fsync(fd) < 0 || rename(part, path) < 0))
        rc = cli_failf(c, MOAT_E_STORAGE_FAILED, "cannot write %.400s: %s", path, strerror(errno));
    if (rc)
        unlink(part);
    return rc;
}

int run_fetch(struct cli *c)
{
    struct ask a;
    if (!cli_has(c, OPT_OUTPUT))
        return cli_failf(c, MOAT_E_BAD_USAGE, "say where to: moat fetch %.100s -o FILE", c->args[0]);
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, c->args[0]);
    buf_puts(&a.target, "/package");
    int rc = file_from_answer(c, &a, c->option[OPT_OUTPUT]);
    if (rc == 0 && cli_has(c, OPT_JSON) && strcmp(c->option[OPT_OUTPUT], "-") != 0)
        puts("null");
    return rc ? rc : cli_done(c);
}
