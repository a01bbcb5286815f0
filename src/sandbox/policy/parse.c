#include "policy.h"

#include <ctype.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LEN 512

/* Where the parser stands. */
struct place {
    const char *file;
    unsigned line;
    bool in_group;
    unsigned first_group; /* groups below came from a used policy and may be replaced */
};

void policy_fault(struct policy *p, const char *file, unsigned line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%u: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    p->faults++;
}

static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    if (!*word)
        return NULL;
    char *end = word + strcspn(word, " \t");
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static bool parse_compare(const char *word, enum compare *out)
{
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    for (unsigned i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (strcmp(word, signs[i]) == 0) {
            *out = (enum compare)i;
            return true;
        }
    }
    return false;
}

/* argN [& MASK] COMPARE VALUE */
static bool parse_test(char **rest, struct test *t)
{
    char *word = next_word(rest);
    if (!word || strncmp(word, "arg", 3) != 0 || word[3] < '0' || word[3] > '5' || word[4])
        return false;
    *t = (struct test){.argument = (unsigned)(word[3] - '0'), .mask = UINT64_MAX};
    word = next_word(rest);
    if (word && strcmp(word, "&") == 0) {
        word = next_word(rest);
        if (!word || !constant_parse(word, &t->mask))
            return false;
        word = next_word(rest);
    }
    if (!word || !parse_compare(word, &t->compare))
        return false;
    /* libseccomp masks only for equality. */
    if (t->mask != UINT64_MAX && t->compare != CMP_EQ)
        return false;
    word = next_word(rest);
    return word && constant_parse(word, &t->value) && (t->value & ~t->mask) == 0;
}

static void add_rule(struct policy *p, const struct place *at, const struct rule *model, const char *name)
{
    if (p->nrules == RULES_MAX || strlen(name) >= NAME_MAX_LEN) {
        policy_fault(p, at->file, at->line, "too many rules, or a name too long: %s", name);
        return;
    }
    struct rule *r = &p->rules[p->nrules];
    *r = *model;
    r->line = at->line;
    r->group = p->ngroups - 1;
    snprintf(r->name, sizeof r->name, "%s", name);
    r->number = seccomp_syscall_resolve_name(name);
    if (r->number == __NR_SCMP_ERROR) {
        policy_fault(p, at->file, at->line, "no system call is called %s", name);
        return;
    }
    p->nrules++;
}

/* ACTION [ERRNO] NAME… [if TEST [and TEST]…] */
static void parse_rule(struct policy *p, const struct place *at, const char *action, char *rest)
{
    static const struct {
        const char *word;
        enum action action;
    } actions[] = {{"allow", ACT_ALLOW},
                   {"explain", ACT_EXPLAIN},
                   {"notify", ACT_NOTIFY},
                   {"errno", ACT_ERRNO},
                   {"kill", ACT_KILL}};
    struct rule model = {0};
    size_t i = 0;
    while (i < sizeof actions / sizeof *actions && strcmp(actions[i].word, action) != 0)
        i++;
    if (i == sizeof actions / sizeof *actions) {
        policy_fault(p, at->file, at->line, "no action is called %s", action);
        return;
    }
    model.action = actions[i].action;
    char *word;
    if (model.action == ACT_ERRNO && (!(word = next_word(&rest)) || !(model.errnum = errno_parse(word)))) {
        policy_fault(p, at->file, at->line, "errno needs a known error's name");
        return;
    }
    char *names[64];
    size_t n = 0;
    while ((word = next_word(&rest)) && strcmp(word, "if") != 0 && n < 64)
        names[n++] = word;
    if (word)
        snprintf(model.when, sizeof model.when, "%s", rest);
    while (word) {
        if (model.ntests == TESTS_MAX || !parse_test(&rest, &model.tests[model.ntests++])) {
            policy_fault(p, at->file, at->line, "not a test: argN [& MASK] == VALUE");
            return;
        }
        word = next_word(&rest);
        if (word && strcmp(word, "and") != 0) {
            policy_fault(p, at->file, at->line, "tests are joined by `and`, not %s", word);
            return;
        }
    }
    if (!n)
        policy_fault(p, at->file, at->line, "a rule without a system call");
    for (size_t k = 0; k < n; k++)
        add_rule(p, at, &model, names[k]);
}

static void replace_group(struct policy *p, const char *name, unsigned before)
{
    for (unsigned i = 0; i < before; i++)
        if (strcmp(p->groups[i].name, name) == 0)
            p->groups[i].replaced = true;
}

/* group NAME: why */
static void parse_group(struct policy *p, struct place *at, char *rest)
{
    char *colon = strchr(rest, ':');
    if (!colon || strlen(colon + 1) < 12) {
        policy_fault(p, at->file, at->line, "a group says why: `group NAME: reason`");
        return;
    }
    *colon = '\0';
    char *name = next_word(&rest);
    if (!name || strlen(name) >= NAME_MAX_LEN || p->ngroups == GROUPS_MAX) {
        policy_fault(p, at->file, at->line, "a group needs a short name");
        return;
    }
    for (unsigned i = at->first_group; i < p->ngroups; i++)
        if (strcmp(p->groups[i].name, name) == 0)
            policy_fault(p, at->file, at->line, "the group %s stands twice", name);
    replace_group(p, name, at->first_group);
    struct group *g = &p->groups[p->ngroups++];
    snprintf(g->name, sizeof g->name, "%s", name);
    snprintf(g->file, sizeof g->file, "%s", at->file);
    snprintf(g->reason, sizeof g->reason, "%s", colon + 1 + strspn(colon + 1, " "));
    at->in_group = true;
}

/* default ACTION [ERRNO] */
static void parse_default(struct policy *p, const struct place *at, char *rest)
{
    char *word = next_word(&rest);
    p->has_fallback = true;
    if (word && strcmp(word, "notify") == 0)
        p->fallback = ACT_NOTIFY;
    else if (word && strcmp(word, "kill") == 0)
        p->fallback = ACT_KILL;
    else if (word && strcmp(word, "allow") == 0)
        p->fallback = ACT_ALLOW;
    else
        policy_fault(p, at->file, at->line, "the default is notify, kill or allow");
}

static void read_into(const char *path, struct policy *p);

/* use FILE, beside this one */
static void parse_use(struct policy *p, struct place *at, char *rest)
{
    char path[512];
    char *word = next_word(&rest);
    const char *slash = strrchr(at->file, '/');
    if (!word || p->ngroups) {
        policy_fault(p, at->file, at->line, "`use FILE` stands before every group");
        return;
    }
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - at->file + 1) : 0, at->file, word);
    read_into(path, p);
    at->first_group = p->ngroups;
}

static void parse_line(struct policy *p, struct place *at, char *line)
{
    char *rest = line;
    char *word = next_word(&rest);
    if (!word || word[0] == '#')
        return;
    if (strcmp(word, "group") == 0)
        parse_group(p, at, rest);
    else if (strcmp(word, "default") == 0)
        parse_default(p, at, rest);
    else if (strcmp(word, "use") == 0)
        parse_use(p, at, rest);
    else if (strcmp(word, "relax-wx:") == 0 && strlen(rest) >= 12)
        p->relaxed = true;
    else if (strcmp(word, "relax-net:") == 0 && strlen(rest) >= 12)
        p->relaxed_net = true;
    else if (strcmp(word, "relax-programs:") == 0 && strlen(rest) >= 12)
        p->relaxed_programs = true;
    else if (at->in_group)
        parse_rule(p, at, word, rest);
    else
        policy_fault(p, at->file, at->line, "%s outside a group", word);
}

static void read_into(const char *path, struct policy *p)
{
    struct place at = {.file = path};
    FILE *f = fopen(path, "re");
    if (!f) {
        policy_fault(p, path, 0, "cannot be opened");
        return;
    }
    char line[LINE_MAX_LEN];
    while (fgets(line, sizeof line, f)) {
        at.line++;
        size_t len = strlen(line);
        if (len && line[len - 1] == '\n')
            line[len - 1] = '\0';
        else if (len == sizeof line - 1)
            policy_fault(p, path, at.line, "the line is too long");
        parse_line(p, &at, line);
    }
    fclose(f);
    if (!p->has_fallback)
        policy_fault(p, path, at.line, "no `default` action");
}

void policy_read(const char *path, struct policy *out)
{
    memset(out, 0, sizeof *out);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    snprintf(out->name, sizeof out->name, "%.*s", (int)strcspn(base, "."), base);
    read_into(path, out);
}
