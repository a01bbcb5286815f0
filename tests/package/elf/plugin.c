/* A plugin as small as they get. */
#include <moat/plugin.h>

#ifdef CALLS_BUNDLED
int bundled(void);
#endif

static bool initialize(const struct moat_host *host, const char *config, size_t len)
{
#ifdef CALLS_BUNDLED
    return bundled() == 42;
#else
    return true;
#endif
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    return true;
}

#ifdef HIDDEN
const struct moat_plugin hidden_plugin;
const struct moat_plugin hidden_plugin = {
    .size = sizeof(struct moat_plugin), .initialize = initialize, .execute = execute};
#else
MOAT_PLUGIN(.initialize = initialize, .execute = execute);
#endif
