/* The wall without namespaces, for machines that do not allow them: Landlock for files, seccomp for all that Landlock
 * leaves open, limits.  A worker shares the host's file tree, processes and network in name; what it can do to them is
 * what these two leave.  Only where the operator accepted it by name; docs/walls.md says what is lost. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/messages.h"

/* As root each worker has a user of its own and nobody needs to look into it but root.  An ordinary user's worker must
 * stay open to its host, which explains and answers for it; to siblings it is closed by Landlock and seccomp. */
static int not_dumpable(struct builder *b)
{
    return getuid() >= POOL_BASE ? inside_step_not_dumpable(b) : 0;
}

/* The sealed code is opened by its number in here; no name of the host's is needed, or could be opened. */
static int view(struct builder *b)
{
    b->out->tree = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    b->out->home = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return b->out->tree < 0 || b->out->home < 0 || chdir("/") < 0 ? errno : 0;
}

static int listener(struct builder *b)
{
    /* Each mapping of code and each look at a descriptor is answered by the host: without it nothing would load. */
    return b->listener < 0 ? EOPNOTSUPP : inside_step_listener(b);
}

const struct step inside_fallback_half_steps[] = {
    {"not_dumpable", not_dumpable},
    {"die_with_parent", inside_step_die_with_parent},
    {"no_new_privs", inside_step_no_new_privs},
    {"descriptors", inside_step_descriptors},
    {"session", inside_step_session},
    {"keyring", inside_step_keyring},
    {"preload", inside_step_preload},
    {0},
};

const struct step inside_fallback_full_steps[] = {
    {"libraries", inside_step_libraries},
    {"limits", inside_step_limits},
    {"sealed_files", inside_step_sealed},
    {"code_view", view},
    {"capabilities", inside_step_capabilities},
    {"landlock", inside_step_landlock_alone},
    {"mdwe", inside_step_mdwe},
    {"seccomp", inside_step_filter},
    {"listener", listener},
    {"descriptor_limit", inside_step_descriptor_limit},
    {"seccomp_last", inside_step_last_filter},
    {"built", inside_step_built},
    {0},
};
