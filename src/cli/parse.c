#include <string.h>

#include "cli/cli.h"

const struct command *cli_find(const char *const *words, size_t n, size_t *used)
{
    const struct command *found = NULL;
    *used = 0;
    for (size_t i = 0; i < ncommands && n; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);
        if (strncmp(words[0], name, first) != 0 || words[0][first])
            continue;
        if (space && (n < 2 || strcmp(words[1], space + 1) != 0))
            continue;
        *used = space ? 2 : 1;
        found = &commands[i];
    }
    return found;
}

static int find_option(const char *name, size_t len)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (strlen(cli_options[i].name) == len && strncmp(cli_options[i].name, name, len) == 0)
            return i;
    return -1;
}

static int find_letter(char letter)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (cli_options[i].letter == letter)
            return i;
    return -1;
}

/* "-" is standard input and "-5" is a number that an action may take. */
static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] && !(arg[1] >= '0' && arg[1] <= '9');
}

static int take_option(struct cli *c, int option, const char *value, struct error *err)
{
    if (option == OPT_GRANT || option == OPT_SCOPE) { /* no command takes both */
        if (c->ngrants == CLI_GRANTS_MAX)
            return error_set(err, MOAT_E_BAD_USAGE, "more than %d times --%s", CLI_GRANTS_MAX,
                             cli_options[option].name);
        c->grants[c->ngrants++] = value;
    } else if (c->option[option] && cli_options[option].value) {
        return error_set(err, MOAT_E_BAD_USAGE, "--%s is given twice", cli_options[option].name);
    }
    c->option[option] = value;
    return 0;
}

/* One option at argv[*i], perhaps with its value in the next argument. */
static int parse_option(struct cli *c, int argc, char **argv, int *i, struct error *err)
{
    const char *arg = argv[*i], *value = NULL;
    int option;
    if (arg[1] == '-') {
        size_t len = strcspn(arg + 2, "=");
        option = find_option(arg + 2, len);
        value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
    } else {
        option = find_letter(arg[1]);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (option < 0)
        return error_set(err, MOAT_E_BAD_USAGE, "there is no option %.60s", arg);
    if (!cli_options[option].value) {
        if (value)
            return error_set(err, MOAT_E_BAD_USAGE, "--%s takes no value", cli_options[option].name);
        return take_option(c, option, "", err);
    }
    if (!value && *i + 1 == argc)
        return error_set(err, MOAT_E_BAD_USAGE, "--%s lacks its %s", cli_options[option].name,
                         cli_options[option].value);
    return take_option(c, option, value ? value : argv[++*i], err);
}

static int check_options(const struct cli *c, struct error *err)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (c->option[i] && !((c->command->options | OPT_EVERYWHERE) & 1ull << i))
            return error_set(err, MOAT_E_BAD_USAGE, "moat %s does not take --%s", c->command->name,
                             cli_options[i].name);
    return 0;
}

static int resolve_command(struct cli *c, struct error *err)
{
    size_t used;
    if (!c->nargs)
        return 0;
    c->command = cli_find(c->args, c->nargs, &used);
    if (!c->command) {
        for (size_t i = 0; i < ncommands; i++) { /* "trust" alone, or "trust nonsense" */
            size_t len = strlen(c->args[0]);
            if (strncmp(commands[i].name, c->args[0], len) == 0 && commands[i].name[len] == ' ')
                return error_set(err, MOAT_E_BAD_USAGE, "there is no command %.60s %.60s; see `moat help %.60s`",
                                 c->args[0], c->nargs > 1 ? c->args[1] : "alone", c->args[0]);
        }
        return error_set(err, MOAT_E_BAD_USAGE, "there is no command %.60s; `moat help` lists them", c->args[0]);
    }
    memmove(c->args, c->args + used, (c->nargs - used) * sizeof *c->args);
    c->nargs -= used;
    c->args[c->nargs] = NULL;
    return 0;
}

/* The command is known as far as it was read: its help is what a failure points to. */
static int fail_in_words(struct cli *c, int rc)
{
    size_t used;
    c->command = cli_find(c->args, c->nargs, &used);
    return rc;
}

int cli_parse(int argc, char **argv, struct cli *c, struct error *err)
{
    bool options = true;
    *c = (struct cli){0};
    /* Whatever else is wrong with the line, its failure has the form that it asks for. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            c->option[OPT_JSON] = "";
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && is_option(argv[i])) {
            int rc = parse_option(c, argc, argv, &i, err);
            if (rc)
                return fail_in_words(c, rc);
        } else if (c->nargs == CLI_ARGS_MAX) {
            return fail_in_words(c, error_set(err, MOAT_E_BAD_USAGE, "too many arguments"));
        } else {
            c->args[c->nargs++] = argv[i];
        }
    }
    int rc = resolve_command(c, err);
    if (rc || !c->command || cli_has(c, OPT_HELP) || cli_has(c, OPT_VERSION))
        return rc;
    rc = check_options(c, err);
    if (rc)
        return rc;
    if (c->nargs < c->command->least || c->nargs > c->command->most)
        return error_set(err, MOAT_E_BAD_USAGE, "moat %s takes %s; see `moat help %s`", c->command->name,
                         *c->command->arguments ? c->command->arguments : "no arguments", c->command->name);
    return 0;
}
