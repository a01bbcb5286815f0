/* What a plugin says, and what a collector answers: a line steers no terminal and stays as it is when it is cleaned
 * once more; a span with these words in it is one JSON text; an answer of any bytes is a number. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "trace/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *line, size_t size)
{
    char again[300];
    size_t len = strlen(line);
    if (len >= size)
        abort();
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            abort();
    if (!text_plain(again, sizeof again, line, len) || strcmp(line, again) != 0)
        abort();
}

static void check_span(const char *line)
{
    struct span s = {
        .trace = "0af7651916cd43dd8448eb211c80319c", .id = "b7ad6b7169203331", .failed = true, .ran_ns = 1};
    buf_auto out = BUF_INIT(1 << 20);
    text_copy(s.plugin, sizeof s.plugin, "echo");
    text_copy(s.message, sizeof s.message, line);
    text_plain(s.action, sizeof s.action, line, strlen(line));
    if (!otlp_encode(&out, line, &s, 1))
        abort();
    json_t *root = json_loadb(buf_text(&out), out.len, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        abort();
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[256], small[8];
    text_plain(line, sizeof line, (const char *)data, size);
    check_line(line, sizeof line);
    text_plain(small, sizeof small, (const char *)data, size);
    check_line(small, sizeof small);
    check_span(line);
    otlp_rejected((const char *)data, size, "rejectedSpans");
    return 0;
}
