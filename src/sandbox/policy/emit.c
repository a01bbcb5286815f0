#include "emit.h"

#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INSTRUCTIONS_MAX 4096

static uint32_t kernel_action(enum action action, int errnum, bool listener)
{
    switch (action) {
    case ACT_ALLOW:
        return SCMP_ACT_ALLOW;
    case ACT_EXPLAIN:
        return listener ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW;
    case ACT_NOTIFY:
        return listener ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(EPERM);
    case ACT_ERRNO:
        return SCMP_ACT_ERRNO((unsigned)errnum);
    case ACT_KILL:
        break;
    }
    return SCMP_ACT_KILL_PROCESS;
}

static struct scmp_arg_cmp kernel_test(const struct test *t)
{
    static const enum scmp_compare plain[] = {SCMP_CMP_EQ, SCMP_CMP_NE, SCMP_CMP_LT,
                                              SCMP_CMP_LE, SCMP_CMP_GT, SCMP_CMP_GE};
    if (t->mask != UINT64_MAX)
        return (struct scmp_arg_cmp){t->argument, SCMP_CMP_MASKED_EQ, t->mask, t->value};
    return (struct scmp_arg_cmp){t->argument, plain[t->compare], t->value, 0};
}

static bool add_rules(scmp_filter_ctx ctx, const struct policy *p, bool listener)
{
    uint32_t fallback = kernel_action(p->fallback, p->fallback_errno, listener);
    for (unsigned i = 0; i < p->nrules; i++) {
        const struct rule *r = &p->rules[i];
        uint32_t action = kernel_action(r->action, r->errnum, listener);
        /* A call that this architecture lacks has a negative number; one that gets the default needs no rule. */
        if (p->groups[r->group].replaced || r->number < 0 || action == fallback)
            continue;
        struct scmp_arg_cmp tests[TESTS_MAX];
        for (unsigned k = 0; k < r->ntests; k++)
            tests[k] = kernel_test(&r->tests[k]);
        int e = seccomp_rule_add_exact_array(ctx, action, r->number, r->ntests, tests);
        if (e < 0) {
            fprintf(stderr, "%s:%u: libseccomp refuses %s: %s\n", p->groups[r->group].file, r->line, r->name,
                    strerror(-e));
            return false;
        }
    }
    return true;
}

/* The filter's instructions, or 0. */
static size_t compile(const struct policy *p, bool listener, struct sock_filter *out)
{
    size_t n = 0;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    scmp_filter_ctx ctx = seccomp_init(kernel_action(p->fallback, p->fallback_errno, listener));
    if (ctx && fd >= 0 && seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
        seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 && add_rules(ctx, p, listener) &&
        seccomp_export_bpf(ctx, fd) == 0) {
        ssize_t got = pread(fd, out, INSTRUCTIONS_MAX * sizeof *out, 0);
        n = got > 0 && got % (ssize_t)sizeof *out == 0 ? (size_t)got / sizeof *out : 0;
    }
    if (ctx)
        seccomp_release(ctx);
    if (fd >= 0)
        close(fd);
    if (!n || n == INSTRUCTIONS_MAX) {
        fprintf(stderr, "%s: cannot be compiled\n", p->name);
        return 0;
    }
    return n;
}

static bool emit_one(FILE *f, const struct policy *p, bool listener)
{
    static struct sock_filter code[INSTRUCTIONS_MAX];
    const char *suffix = listener ? "" : "_quiet";
    size_t n = compile(p, listener, code);
    if (!n)
        return false;
    fprintf(f, "static const struct sock_filter %s%s_code[] = {\n", p->name, suffix);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "    {0x%02x, %u, %u, 0x%08x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
    fprintf(f, "};\nconst struct policy_program policy_%s%s = {%zu, %s%s_code};\n\n", p->name, suffix, n, p->name,
            suffix);
    return true;
}

static bool asks_the_host(const struct policy *p)
{
    return p->fallback == ACT_NOTIFY;
}

static bool finish(FILE *f, const char *path, bool good)
{
    good = fflush(f) == 0 && !ferror(f) && good;
    fclose(f);
    if (!good)
        unlink(path);
    return good;
}

bool emit_all(const char *path, const struct policy *policies, unsigned n)
{
    /* A build machine with an old kernel can compile for a new one. */
    seccomp_api_set(6);
    FILE *f = fopen(path, "we");
    if (!f)
        return false;
    fputs("/* Written by policyc from src/sandbox/policy. */\n#include \"sandbox/program.h\"\n\n", f);
    bool good = true;
    for (unsigned i = 0; i < n && good; i++) {
        good = emit_one(f, &policies[i], true);
        if (good && asks_the_host(&policies[i]))
            good = emit_one(f, &policies[i], false);
    }
    return finish(f, path, good);
}

bool emit_names(const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return false;
    fputs("/* Written by policyc: the names of this architecture's system calls. */\n", f);
    fputs("static const char *const syscall_names[] = {\n", f);
    for (int i = 0; i < 1024; i++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
        if (name)
            fprintf(f, "    [%d] = \"%s\",\n", i, name);
        free(name);
    }
    fputs("};\n", f);
    return finish(f, path, true);
}
