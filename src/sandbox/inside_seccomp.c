/* The filters, and the messages around them. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/kernel.h"
#include "sandbox/program.h"

/* Kernel 6.3: memory never becomes executable later.  An addition: seccomp says the same, and does not depend on it. */
int inside_step_mdwe(struct builder *b)
{
    if (!b->order.execute_code)
        prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
    return 0;
}

static int install(const struct policy_program *p, unsigned long flags)
{
    /* The kernel only reads it; its type predates const. */
    struct sock_fprog program = {.len = p->length, .filter = (struct sock_filter *)(uintptr_t)p->code};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

#define PROGRAM_MAX 4096

/* The fallback's filter lets a process signal itself only, and which that is is known here: the policy's SELF stands
 * for it. */
static int install_own(const struct policy_program *p, unsigned long flags)
{
    static struct sock_filter code[PROGRAM_MAX];
    struct policy_program own = {.length = p->length, .code = code};
    if (p->length > PROGRAM_MAX) {
        errno = E2BIG;
        return -1;
    }
    memcpy(code, p->code, p->length * sizeof *code);
    for (unsigned i = 0; i < p->length; i++)
        if (BPF_CLASS(code[i].code) == BPF_JMP && BPF_OP(code[i].code) == BPF_JEQ && code[i].k == POLICY_SELF)
            code[i].k = (uint32_t)getpid();
    return install(&own, flags);
}

/* One filter, complete before any plugin code, because a constructor is plugin code.  From 5.19 on a worker that waits
 * for the host's answer can still be killed at once. */
int inside_step_filter(struct builder *b)
{
    static const struct {
        const struct policy_program *asking, *quiet;
    } filters[2][2] = {
        {{&policy_worker, &policy_worker_quiet}, {&policy_worker_programs, &policy_worker_programs_quiet}},
        {{&policy_worker_execute, &policy_worker_execute_quiet},
         {&policy_worker_execute_programs, &policy_worker_execute_programs_quiet}}};
    bool execute = b->order.execute_code, programs = b->order.nprograms > 0;
    const struct policy_program *p = b->fallback ? &policy_worker_fallback : filters[execute][programs].asking;
    int (*put)(const struct policy_program *, unsigned long) = b->fallback ? install_own : install;
    b->listener = put(p, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if (b->listener < 0 && errno == EINVAL)
        b->listener = put(p, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (b->listener >= 0)
        return 0;
    if (b->fallback)
        return errno; /* it cannot do without */
    /* EBUSY: somebody around us listens already, as some container managers do.  EINVAL: an old kernel.  The wall holds
     * without, only unexplained; whether that is enough the host decides from the missing listener. */
    return install(filters[execute][programs].quiet, 0) < 0 ? errno : 0;
}

int inside_step_listener(struct builder *b)
{
    if (b->listener < 0)
        return 0;
    bool sent = inside_report(b->control, REPORT_LISTENER, 0, 0, "", "", b->listener);
    int e = sent ? 0 : errno;
    /* A plugin that held it could answer its own notifications. */
    io_close(&b->listener);
    return e;
}

int inside_step_last_filter(struct builder *b)
{
    return install(b->out->net ? &policy_worker_last_net : &policy_worker_last, 0) < 0 ? errno : 0;
}

int inside_step_built(struct builder *b)
{
    return inside_report(b->control, WALL_BUILT, b->self, 0, "", "", -1) ? 0 : errno;
}
