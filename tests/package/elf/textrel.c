/* An address in the code that the loader must write. */
#include <moat/plugin.h>

static bool initialize(const struct moat_host *host, const char *config, size_t len)
{
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);

__asm__(".text\n"
        ".globl in_code\n"
        "in_code: .quad moat_plugin\n");
