/* The host's half: the file as src/wire/start_read.c takes it apart. */
#include "wire/start.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "wire/start_format.h"

static void put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text) + 1);
}

int start_write(const struct start *start, int *fd, struct error *err)
{
    if (start->nactions > START_ACTIONS_MAX || start->config_len > START_FILE_MAX / 2)
        return error_set(err, MOAT_E_TOO_LARGE, "the plugin's actions or its configuration are too many to start it");
    buf_auto b = BUF_INIT(START_FILE_MAX);
    struct start_head head = {.magic = START_MAGIC,
                              .payload_max = start->payload_max,
                              .config_len = start->config_len,
                              .nactions = (uint32_t)start->nactions};
    buf_put(&b, &head, sizeof head);
    put_text(&b, start->plugin);
    put_text(&b, start->version);
    for (size_t i = 0; i < start->nactions; i++)
        put_text(&b, start->actions[i]);
    buf_put(&b, start->config, start->config_len);
    buf_putc(&b, '\0');
    if (b.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for what the plugin is told at its start");
    int sealed = io_sealed("moat-start", b.data, b.len);
    if (sealed < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make a sealed memory file");
    *fd = sealed;
    return 0;
}
