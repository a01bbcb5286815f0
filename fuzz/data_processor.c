/* Parameters of any bytes: the host would check them first; the plugin must stay whole without that. */
#include "../tests/plugins/fake_host.h"

extern const struct moat_plugin moat_plugin;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const actions[] = {"transform", "filter", "aggregate", "normalize"};
    moat_plugin.initialize(&fake_host, "{}", 2);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        /* Once with room for anything, once where every result has to be measured. */
        struct moat_call call = {.payload_max = i % 2 ? 64 : 1 << 20};
        bool yes = fake_call(&moat_plugin, &call, actions[i], (const char *)data, size);
        if (call.broke_contract || yes != (call.result != NULL) || (!yes && !call.code[0]))
            abort();
        fake_clear(&call);
    }
    return 0;
}
