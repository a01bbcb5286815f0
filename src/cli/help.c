/* Everything that is told of the commands comes from their table: help, man page, docs/cli.md, completion. */
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

const char cli_version[] = MOAT_VERSION;

int help_all(FILE *out)
{
    fputs("Moat runs signed plugins, each behind its own wall.\n\n"
          "Usage: moat COMMAND [ARG…] [--json] [--home DIR]\n",
          out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\nTo %s:\n", cli_groups[group]);
        for (size_t i = 0; i < ncommands; i++)
            if ((int)commands[i].group == group)
                fprintf(out, "  %-15s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n`moat help COMMAND` tells more. The home is --home, else MOAT_HOME, else /var/lib/moat for root and\n"
          "$XDG_DATA_HOME/moat for a user.\n",
          out);
    return 0;
}

static void print_options(FILE *out, uint64_t options, const char *before, const char *between, const char *after)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        if (!(options & 1ull << i))
            continue;
        const struct option_info *o = &cli_options[i];
        char name[64];
        snprintf(name, sizeof name, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        if (o->letter)
            snprintf(name + strlen(name), sizeof name - strlen(name), ", -%c", o->letter);
        fprintf(out, "%s%s%s%s%s", before, name, between, o->about, after);
    }
}

int help_command(const struct command *command)
{
    printf("moat %s: %s\n\nUsage: moat %s%s%s\n\nOptions:\n", command->name, command->summary, command->name,
           *command->arguments ? " " : "", command->arguments);
    for (int i = 0; i < OPT_COUNT; i++) {
        if (!((command->options | OPT_EVERYWHERE) & 1ull << i) || i == OPT_VERSION)
            continue;
        const struct option_info *o = &cli_options[i];
        char name[64];
        snprintf(name, sizeof name, "%s%c%s--%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
                 o->letter ? ", " : "  ", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-24s %s\n", name, o->about);
    }
    printf("\nExample: %s\n", command->example);
    return 0;
}

/* ---- pages ---- */

static int exit_statuses(FILE *out, const char *before, const char *between, const char *after)
{
    static const char *const meanings[] = {
        "done",
        "the plugin's action failed and said why",
        "wrong usage or wrong parameters",
        "refused: not a package, signature, trust, permission, policy, token",
        "no such plugin, action, version, file",
        "the plugin died, overran its deadline or a limit",
        "this machine cannot enforce what the policy asks for",
        "something of ours failed: storage, memory, a server that does not answer",
        "not now: queue full, wrong state, draining, home busy",
    };
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        fprintf(out, "%s%zu%s%s%s", before, i, between, meanings[i], after);
    return 0;
}

static int markdown(FILE *out)
{
    fputs("# The command line\n\n"
          "This page is made from the table of commands (`moat help pages/cli`).\n\n"
          "`moat COMMAND [ARG…] [--json] [--home DIR]`. Results go to standard output, everything for people about "
          "them\nto standard error. With `--json` a success prints the route's `result` alone and a failure prints the "
          "failure\ndocument of docs/api.md as one line on standard error. Commands but `doctor`, `new`, `pack`, "
          "`keygen`, `inspect`,\n`completion`, `help`, `restore` and `serve` go through a route of docs/api.md: of the "
          "home's server when one runs, else in\nthe command's own process. A home that another command holds is "
          "waited for, 10 seconds at most.\n\n"
          "A grant `G` is a permission and its scope: `file_read=/data`, `file_write=/out`, or a bare name where no "
          "scope is\nneeded. TIME is `250ms`, `90s`, `10m`, `2h`, `7d`; 100 years (`36500d`) at most.\n",
          out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\n## To %s\n", cli_groups[group]);
        for (size_t i = 0; i < ncommands; i++) {
            const struct command *m = &commands[i];
            if ((int)m->group != group)
                continue;
            fprintf(out, "\n### moat %s %s\n\n%c%s.\n", m->name, m->arguments, m->summary[0] & ~0x20, m->summary + 1);
            if (m->options)
                fputc('\n', out);
            print_options(out, m->options, "- `", "`: ", "\n");
            fprintf(out, "\n    %s\n", m->example);
        }
    }
    fputs("\n## Exit statuses\n\n| exit | meaning |\n| --- | --- |\n", out);
    exit_statuses(out, "| ", " | ", " |\n");
    return 0;
}

/* In a man page a backslash and a line's first dot or quote have a meaning, and a plain hyphen is typographic. */
static void roff(FILE *out, const char *text)
{
    static const char dots[] = "…";
    for (; *text; text++) {
        if (strncmp(text, dots, sizeof dots - 1) == 0) { /* troff reads Latin-1 */
            fputs("...", out);
            text += sizeof dots - 2;
        } else if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\'')
            fputs("\\(aq", out);
        else
            fputc(*text, out);
    }
}

static int manual(FILE *out)
{
    fprintf(out,
            ".TH MOAT 1 \"\" \"Moat %s\" \"Moat\"\n.SH NAME\nmoat \\- run signed plugins, each behind its own wall\n"
            ".SH SYNOPSIS\n.B moat\n.I COMMAND\n[\\fIARG\\fR...] [\\fB\\-\\-json\\fR] [\\fB\\-\\-home\\fR "
            "\\fIDIR\\fR]\n.SH DESCRIPTION\nA secure plugin host: it installs signed packages, grants them what they "
            "may touch, and calls their actions. Results go to standard output, everything for people to standard "
            "error.\n",
            cli_version);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fputs(".SH TO ", out);
        for (const char *p = cli_groups[group]; *p; p++)
            fputc(*p >= 'a' && *p <= 'z' ? *p & ~0x20 : *p, out);
        fputc('\n', out);
        for (size_t i = 0; i < ncommands; i++) {
            const struct command *m = &commands[i];
            if ((int)m->group != group)
                continue;
            fprintf(out, ".TP\n\\fBmoat %s\\fR ", m->name);
            roff(out, m->arguments);
            fputc('\n', out);
            roff(out, m->summary);
            fputs(".\n", out);
            for (int k = 0; k < OPT_COUNT; k++) {
                if (!(m->options & 1ull << k))
                    continue;
                fprintf(out, ".br\n\\fB\\-\\-%s\\fR %s: ", cli_options[k].name,
                        cli_options[k].value ? cli_options[k].value : "");
                roff(out, cli_options[k].about);
                fputs(".\n", out);
            }
            fputs(".br\nExample: ", out);
            roff(out, m->example);
            fputc('\n', out);
        }
    }
    fputs(".SH EXIT STATUS\n", out);
    exit_statuses(out, ".TP\n", "\n", ".\n");
    fputs(".SH ENVIRONMENT\n.TP\nMOAT_HOME, PLUGIN_DIR, REGISTRY_DIR\nThe home, and where its packages and its "
          "registry are.\n",
          out);
    return 0;
}

static int api(FILE *out)
{
    buf_auto text = BUF_INIT(1 << 20);
    if (!rest_document(&text))
        return error_info(MOAT_E_OUT_OF_MEMORY)->exit;
    fwrite(text.data, 1, text.len, out);
    return 0;
}

static int permissions(FILE *out)
{
    buf_auto text = BUF_INIT(1 << 20);
    if (!service_permissions_page(&text))
        return error_info(MOAT_E_OUT_OF_MEMORY)->exit;
    fwrite(text.data, 1, text.len, out);
    return 0;
}

static int print_json(FILE *out, bool (*make)(struct buf *text))
{
    buf_auto text = BUF_INIT(4 << 20);
    if (!make(&text))
        return error_info(MOAT_E_OUT_OF_MEMORY)->exit;
    json_t *tree = json_loadb(buf_text(&text), text.len, 0, NULL);
    int rc = tree ? json_dumpf(tree, out, JSON_INDENT(2)) : -1;
    json_decref(tree);
    fputc('\n', out);
    return rc ? error_info(MOAT_E_OUT_OF_MEMORY)->exit : 0;
}

/* docs/schema/settings.schema.json */
static int settings(FILE *out)
{
    return print_json(out, service_settings_schema);
}

/* What a server answers to GET /openapi.json. */
static int openapi(FILE *out)
{
    return print_json(out, rest_openapi);
}

int run_help(struct cli *c)
{
    static const struct {
        const char *name;
        int (*print)(FILE *out);
    } pages[] = {{"pages/api", api},
                 {"pages/cli", markdown},
                 {"pages/man", manual},
                 {"pages/openapi", openapi},
                 {"pages/permissions", permissions},
                 {"pages/settings", settings}};
    if (!c->nargs) {
        help_all(stdout);
        return cli_done(c);
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(c->args[0], pages[i].name) == 0)
            return pages[i].print(stdout) ? 7 : cli_done(c);
    size_t used;
    const struct command *command = cli_find(c->args, c->nargs, &used);
    if (command) {
        help_command(command);
        return cli_done(c);
    }
    bool any = false; /* the first word of a pair: tell both */
    for (size_t i = 0; i < ncommands; i++) {
        size_t len = strlen(c->args[0]);
        if (strncmp(commands[i].name, c->args[0], len) != 0 || commands[i].name[len] != ' ')
            continue;
        any = true;
        printf("  moat %s %s\n      %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    }
    return any ? cli_done(c)
               : cli_failf(c, MOAT_E_BAD_USAGE, "there is no command %.60s; `moat help` lists them", c->args[0]);
}

int run_version(struct cli *c)
{
    if (cli_has(c, OPT_JSON))
        printf("{\"version\":\"%s\"}\n", cli_version);
    else
        printf("moat %s\n", cli_version);
    return cli_done(c);
}

static bool first_of_pair(size_t i)
{
    size_t len = strcspn(commands[i].name, " ");
    for (size_t k = 0; k < i; k++)
        if (strncmp(commands[k].name, commands[i].name, len) == 0 && strcspn(commands[k].name, " ") == len)
            return false;
    return true;
}

int run_completion(struct cli *c)
{
    if (strcmp(c->args[0], "bash") != 0)
        return cli_failf(c, MOAT_E_BAD_USAGE, "there is no completion for %.60s, only for bash", c->args[0]);
    fputs("# bash completion for moat\n_moat() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} options= words=\n    case $first in\n",
          stdout);
    for (size_t i = 0; i < ncommands; i++) {
        if (!first_of_pair(i))
            continue;
        size_t len = strcspn(commands[i].name, " ");
        printf("    %.*s) options='", (int)len, commands[i].name);
        uint64_t options = OPT_EVERYWHERE;
        for (size_t k = i; k < ncommands; k++)
            if (strncmp(commands[k].name, commands[i].name, len) == 0 && strcspn(commands[k].name, " ") == len)
                options |= commands[k].options;
        for (int k = 0; k < OPT_COUNT; k++)
            if (options & 1ull << k)
                printf("--%s ", cli_options[k].name);
        fputs("'", stdout);
        if (commands[i].name[len]) {
            fputs("; [ \"$COMP_CWORD\" = 2 ] && words='", stdout);
            for (size_t k = i; k < ncommands; k++)
                if (strncmp(commands[k].name, commands[i].name, len) == 0 && commands[k].name[len] == ' ')
                    printf("%s ", commands[k].name + len + 1);
            fputs("'", stdout);
        }
        fputs(" ;;\n", stdout);
    }
    fputs("    esac\n    [ \"$COMP_CWORD\" = 1 ] && words='", stdout);
    for (size_t i = 0; i < ncommands; i++)
        if (first_of_pair(i))
            printf("%.*s ", (int)strcspn(commands[i].name, " "), commands[i].name);
    fputs("'\n    case $word in -*) words=$options ;; esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "    [ -n \"$words\" ] || mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n}\n"
          "complete -o filenames -F _moat moat\n",
          stdout);
    return cli_done(c);
}
