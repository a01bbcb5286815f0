/* policyc: compiles the policies of src/sandbox/policy to C arrays.
 *     policyc OUT.c NAMES.h FILE.policy…     writes both, or nothing and exits 1
 *     policyc --check FILE.policy…           lint only */
#include "emit.h"
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy policies[8];

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

int main(int argc, char **argv)
{
    bool check = argc >= 3 && strcmp(argv[1], "--check") == 0;
    int first = check ? 2 : 3;
    if (argc <= first || argc - first > (int)(sizeof policies / sizeof *policies)) {
        fputs("usage: policyc OUT.c NAMES.h FILE.policy… | policyc --check FILE.policy…\n", stderr);
        return 2;
    }
    if (read_all(argv + first, argc - first))
        return 1;
    if (check)
        return 0;
    return emit_all(argv[1], policies, (unsigned)(argc - first)) && emit_names(argv[2]) ? 0 : 1;
}
