#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

/* What happens inside while a command runs is told on a terminal; elsewhere a command's standard error holds its one
 * line of failure and nothing else. `serve` sets up a log of its own. */
static void quiet_log(const struct cli *c)
{
    bool tell = isatty(STDERR_FILENO) && !cli_has(c, OPT_JSON);
    log_setup(STDERR_FILENO, LOG_AUTO, tell ? LOG_WARN : LOG_ERROR + 1);
}

static int run(struct cli *c)
{
    if (cli_has(c, OPT_VERSION))
        return run_version(c);
    if (cli_has(c, OPT_HELP)) {
        if (c->command)
            help_command(c->command);
        else
            help_all(stdout);
        return cli_done(c);
    }
    if (!c->command) {
        help_all(stderr);
        return error_info(MOAT_E_BAD_USAGE)->exit;
    }
    return c->command->run(c);
}

int main(int argc, char **argv)
{
    struct cli c;
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    if (cli_parse(argc, argv, &c, &err) < 0)
        return cli_fail(&c, &err);
    secrets_read(&c.secrets, &c.secrets_error);
    secrets_scrub();
    quiet_log(&c);
    int status = run(&c);
    secrets_free(&c.secrets);
    return status;
}
