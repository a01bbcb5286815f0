/* From sealed bytes to the plugin's table, checked and copied. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "worker/engine/private.h"

static bool copy_table(const struct moat_plugin *theirs, char *message, size_t size)
{
    struct moat_plugin *ours = &engine.plugin;
    if (theirs->abi != MOAT_PLUGIN_ABI) { /* before anything else is read */
        snprintf(message, size, "the plugin was built for version %u of moat/plugin.h, this Moat runs version %d",
                 theirs->abi, MOAT_PLUGIN_ABI);
        return false;
    }
    if (theirs->size < offsetof(struct moat_plugin, health)) {
        snprintf(message, size, "the plugin's table has only %u bytes", theirs->size);
        return false;
    }
    size_t known = theirs->size < sizeof *ours ? theirs->size : sizeof *ours;
    memset(ours, 0, sizeof *ours);
    memcpy(ours, theirs, known);
    if (!ours->initialize || !ours->execute) {
        snprintf(message, size, "the plugin's table has no %s", ours->initialize ? "execute" : "initialize");
        return false;
    }
    return true;
}

bool engine_load(const struct inside *in, char *message, size_t size)
{
    void *entry = NULL;
    for (size_t i = 0; i < in->ncode; i++) { /* libraries first: the entry, last, finds them loaded */
        entry = inside_load(in, i, message, size);
        if (!entry)
            return false;
    }
    const struct moat_plugin *theirs = entry ? dlsym(entry, "moat_plugin") : NULL;
    if (!theirs) {
        snprintf(message, size, "the plugin does not export moat_plugin: end its source with MOAT_PLUGIN(…)");
        return false;
    }
    return copy_table(theirs, message, size);
}
