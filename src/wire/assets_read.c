/* The worker's half; links libc only. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "wire/assets.h"
#include "wire/assets_format.h"

/* An asset ends, with the 0 behind it, before the entries begin. */
static bool entry_is_good(const struct assets_entry *e, const struct assets_head *head)
{
    return e->offset >= ASSETS_PAGE && e->offset % ASSETS_PAGE == 0 && e->offset < head->entries &&
           e->len < head->entries - e->offset && e->name[sizeof e->name - 1] == '\0';
}

static bool take_apart(const uint8_t *file, size_t size, struct assets *out)
{
    struct assets_head head;
    if (size < ASSETS_PAGE)
        return false;
    memcpy(&head, file, sizeof head);
    if (head.magic != ASSETS_MAGIC || head.count > ASSETS_MAX || head.entries < ASSETS_PAGE || head.entries > size ||
        head.entries % ASSETS_PAGE || size - head.entries != head.count * sizeof(struct assets_entry))
        return false;
    const struct assets_entry *list = (const void *)(file + head.entries);
    for (size_t i = 0; i < head.count; i++)
        if (!entry_is_good(&list[i], &head) || (i && strcmp(list[i - 1].name, list[i].name) >= 0))
            return false;
    *out = (struct assets){.base = file, .list = list, .count = head.count};
    return true;
}

/* Shared, from a descriptor that cannot write: no later mprotect makes it writable, not even as a private copy. */
bool assets_map(int fd, struct assets *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)ASSETS_FILE_MAX)
        return false;
    size_t size = (size_t)st.st_size;
    void *file = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        return false;
    if (take_apart(file, size, out))
        return true;
    munmap(file, size);
    return false;
}

const void *assets_find(const struct assets *a, const char *name, size_t *len)
{
    size_t low = 0, high = a->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, a->list[middle].name);
        if (order == 0) {
            if (len)
                *len = (size_t)a->list[middle].len;
            return a->base + a->list[middle].offset;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
