#include "table.h"

#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *answer_of(enum action action)
{
    static const char *const words[] = {[ACT_ALLOW] = "allowed",
                                        [ACT_EXPLAIN] = "asked, then the kernel's walls",
                                        [ACT_NOTIFY] = "refused and reported",
                                        [ACT_ERRNO] = "refused",
                                        [ACT_KILL] = "ends the process"};
    return words[action];
}

/* A cell: a bar would end it. */
static void cell(const char *text)
{
    for (; *text; text++)
        fputs(*text == '|' ? "\\|" : (char[]){*text, 0}, stdout);
}

static bool there(const struct policy *p, const struct rule *r)
{
    return !p->groups[r->group].replaced && r->number >= 0;
}

static void rows_of_group(const struct policy *p, unsigned group)
{
    for (unsigned i = 0; i < p->nrules; i++) {
        const struct rule *r = &p->rules[i];
        if (r->group != group || !there(p, r))
            continue;
        printf("| `%s` | %s%s%s | ", r->name, answer_of(r->action), r->action == ACT_ERRNO ? " with " : "",
               r->action == ACT_ERRNO ? strerrorname_np(r->errnum) : "");
        if (*r->when) {
            printf("if `");
            cell(r->when);
            printf("`");
        }
        puts(" |");
    }
}

static bool named(const struct policy *p, const char *name)
{
    for (unsigned i = 0; i < p->nrules; i++)
        if (there(p, &p->rules[i]) && strcmp(p->rules[i].name, name) == 0)
            return true;
    return false;
}

/* Every call of this architecture that no rule names: they get the default. */
static void unnamed(const struct policy *p)
{
    unsigned count = 0;
    for (int i = 0; i < 1024; i++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
        if (name && !named(p, name))
            printf("%s`%s`", count++ ? ", " : "", name);
        free(name);
    }
    printf(".\n\nThose are %u; numbers that have no name get the same answer.\n", count);
}

void table_print(const struct policy *p)
{
    printf("\n## %s\n\nWhat no group names: %s.\n", p->name, answer_of(p->fallback));
    for (unsigned g = 0; g < p->ngroups; g++) {
        if (p->groups[g].replaced)
            continue;
        printf("\n**%s**: ", p->groups[g].name);
        cell(p->groups[g].reason);
        puts(".\n\n| call | answer | condition |\n| --- | --- | --- |");
        rows_of_group(p, g);
    }
    if (p->fallback != ACT_ALLOW) {
        printf("\n**Everything else** (%s): ", answer_of(p->fallback));
        unnamed(p);
    }
}
