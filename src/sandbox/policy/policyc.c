/* policyc: compiles the policies of src/sandbox/policy to C arrays.
 *     policyc OUT.c NAMES.h FILE.policy…     writes both, or nothing and exits 1
 *     policyc --check FILE.policy…           lint only
 *     policyc --table FILE.policy…           docs/syscalls.md, to standard output */
#include "emit.h"
#include "policy.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy policies[16];

static unsigned read_all(char **paths, int n)
{
    unsigned faults = 0;
    for (int i = 0; i < n; i++) {
        policy_read(paths[i], &policies[i]);
        policy_lint(&policies[i]);
        faults += policies[i].faults;
    }
    return faults;
}

static void print_tables(unsigned n)
{
    puts(
        "# System calls\n\n"
        "What each process behind a wall may ask of the kernel, and why. This page is made from `src/sandbox/policy`:\n"
        "`build/src/sandbox/policyc --table src/sandbox/policy/*.policy`. [walls](walls.md) describes the language.\n\n"
        "A worker gets `worker` (or `worker_execute`, with the grant execute_code), and `worker_last` on top of it: "
        "both\n"
        "must agree. `argN` is an argument's register.");
    for (unsigned i = 0; i < n; i++)
        table_print(&policies[i]);
}

int main(int argc, char **argv)
{
    bool check = argc >= 3 && strcmp(argv[1], "--check") == 0, table = argc >= 3 && strcmp(argv[1], "--table") == 0;
    int first = check || table ? 2 : 3;
    if (argc <= first || argc - first > (int)(sizeof policies / sizeof *policies)) {
        fputs(
            "usage: policyc OUT.c NAMES.h FILE.policy… | policyc --check FILE.policy… | policyc --table FILE.policy…\n",
            stderr);
        return 2;
    }
    if (read_all(argv + first, argc - first))
        return 1;
    if (table)
        print_tables((unsigned)(argc - first));
    if (check || table)
        return 0;
    return emit_all(argv[1], policies, (unsigned)(argc - first)) && emit_names(argv[2]) ? 0 : 1;
}
