/* The host's half: the file as src/wire/assets_read.c takes it apart. */
#include "wire/assets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "wire/assets_format.h"

static int no_memory(struct error *err)
{
    return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package's assets");
}

int assets_begin(struct assets_writer *w, size_t most, struct error *err)
{
    *w = (struct assets_writer){.fd = io_memfile("moat-assets"), .most = most, .end = ASSETS_PAGE};
    w->list = calloc(most + 1, sizeof *w->list);
    return w->fd < 0 || !w->list ? no_memory(err) : 0;
}

void assets_abandon(struct assets_writer *w)
{
    io_close(&w->fd);
    free(w->list);
    w->list = NULL;
}

static uint64_t next_page(uint64_t at)
{
    return (at + ASSETS_PAGE - 1) / ASSETS_PAGE * ASSETS_PAGE;
}

int64_t assets_add(struct assets_writer *w, const char *name, uint64_t len, struct error *err)
{
    size_t name_len = strlen(name);
    if (w->count == w->most || w->count == ASSETS_MAX || name_len > ASSETS_NAME_MAX ||
        (w->count && strcmp(w->list[w->count - 1].name, name) >= 0))
        return error_set(err, MOAT_E_INTERNAL, "the asset %.200s was not expected here", name);
    if (len > ASSETS_FILE_MAX - w->end)
        return error_set(err, MOAT_E_TOO_LARGE, "the package's assets are larger than 1 GiB");
    struct assets_entry *e = &w->list[w->count];
    *e = (struct assets_entry){.offset = w->end, .len = len};
    memcpy(e->name, name, name_len);
    if (lseek(w->fd, (off_t)e->offset, SEEK_SET) < 0)
        return no_memory(err);
    w->end = next_page(e->offset + len + 1);
    w->count++;
    return (int64_t)e->offset;
}

int assets_finish(struct assets_writer *w, struct error *err)
{
    struct assets_head head = {.magic = ASSETS_MAGIC, .count = w->count, .entries = w->end};
    if (lseek(w->fd, (off_t)w->end, SEEK_SET) < 0 || !io_write_all(w->fd, w->list, w->count * sizeof *w->list) ||
        lseek(w->fd, 0, SEEK_SET) < 0 || !io_write_all(w->fd, &head, sizeof head))
        return no_memory(err);
    int sealed = io_seal(w->fd);
    return sealed < 0 ? no_memory(err) : sealed;
}
