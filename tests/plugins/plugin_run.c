/* Calls a plugin without a host: `plugin_run PLUGIN.so [PAYLOAD_MAX [CONFIG]]`.
 * Each line of standard input is "ACTION<tab>JSON"; each answer one line "ok<tab>RESULT" or "fail<tab>CODE<tab>WHY". */
#include <dlfcn.h>

#include "fake_host.h"

static void show(struct moat_call *call, bool yes)
{
    if (call->broke_contract)
        printf("broken\n");
    else if (yes && call->result)
        printf("ok\t%.*s\n", (int)call->result_len, call->result);
    else if (!yes && call->code[0])
        printf("fail\t%s\t%s\n", call->code, call->message);
    else
        printf("broken\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *config = argc > 3 ? argv[3] : "{}";
    struct moat_call call = {.payload_max = argc > 2 ? strtoul(argv[2], NULL, 10) : 64u << 20};
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    const struct moat_plugin *plugin = library ? dlsym(library, "moat_plugin") : NULL;
    if (!plugin || plugin->abi != MOAT_PLUGIN_ABI || plugin->size < sizeof *plugin) {
        fprintf(stderr, "plugin_run: %s\n", library ? "not a plugin" : argc > 1 ? dlerror() : "which plugin?");
        return 2;
    }
    if (!plugin->initialize(&fake_host, config, strlen(config))) {
        fprintf(stderr, "plugin_run: refused: %s\n", fake_refusal);
        return 3;
    }
    char *line = NULL;
    size_t size = 0;
    for (ssize_t len; (len = getline(&line, &size, stdin)) > 0; fake_clear(&call)) {
        char *tab = memchr(line, '\t', (size_t)len);
        if (!tab)
            continue;
        *tab++ = 0;
        size_t text = (size_t)(line + len - tab) - (line[len - 1] == '\n');
        show(&call, fake_call(plugin, &call, line, tab, text));
    }
    free(line);
    if (plugin->shutdown)
        plugin->shutdown();
    return 0;
}
