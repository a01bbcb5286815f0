/* A task of any bytes, as the host's checker would pass it on (UTF-8, escaped): whatever is answered has each bracket
 * closed, and what asks for something has at least one point. */
#include "../tests/plugins/fake_host.h"

extern const struct moat_plugin moat_plugin;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t quote(char *out, const uint8_t *data, size_t size)
{
    size_t n = (size_t)sprintf(out, "{\"task\":\"");
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '"' || data[i] == '\\')
            out[n++] = '\\';
        n += data[i] == 0     ? 0
             : data[i] < 0x20 ? (size_t)sprintf(out + n, "\\u%04x", data[i])
                              : (out[n] = (char)data[i], (size_t)1);
    }
    return n + (size_t)sprintf(out + n, "\",\"today\":\"2026-11-30\"}");
}

static void check_brackets(const char *json, size_t len)
{
    long depth = 0;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        if (text && json[i] == '\\')
            i++;
        else if (json[i] == '"')
            text = !text;
        else if (!text)
            depth += (json[i] == '{' || json[i] == '[') - (json[i] == '}' || json[i] == ']');
    }
    if (depth || text)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const actions[] = {"analyze", "suggest", "estimate", "decompose"};
    static char quoted[6 * 8192 + 64];
    if (size > 8192)
        return 0;
    moat_plugin.initialize(&fake_host, "{}", 2);
    for (size_t i = 0; i < 8; i++) {
        struct moat_call call = {.payload_max = i == 1 ? 64 : 1 << 20};
        size_t n = i < 4 ? quote(quoted, data, size) : size;
        /* The last four times the bytes are the parameters themselves. */
        const char *parameters = i < 4 ? quoted : (const char *)data;
        bool yes = fake_call(&moat_plugin, &call, actions[i % 4], parameters, n);
        if (call.broke_contract || yes != (call.result != NULL) || (!yes && !call.code[0]))
            abort();
        if (yes)
            check_brackets(call.result, call.result_len);
        fake_clear(&call);
    }
    return 0;
}
