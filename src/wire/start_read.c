/* The worker's half; links libc only. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "wire/start.h"
#include "wire/start_format.h"

struct cursor {
    const char *at, *end;
};

/* The next text, which ends inside the file; NULL when it does not. */
static const char *take_text(struct cursor *c)
{
    const char *text = c->at;
    const char *zero = memchr(text, 0, (size_t)(c->end - text));
    if (!zero)
        return NULL;
    c->at = zero + 1;
    return text;
}

static bool take_apart(const void *file, size_t size, struct start *out)
{
    struct start_head head;
    if (size < sizeof head)
        return false;
    memcpy(&head, file, sizeof head);
    if (head.magic != START_MAGIC || head.zero || head.nactions > START_ACTIONS_MAX)
        return false;
    struct cursor c = {(const char *)file + sizeof head, (const char *)file + size};
    struct start s = {.nactions = head.nactions, .payload_max = head.payload_max, .config_len = head.config_len};
    s.plugin = take_text(&c);
    s.version = s.plugin ? take_text(&c) : NULL;
    if (!s.version)
        return false;
    for (size_t i = 0; i < s.nactions; i++)
        if (!(s.actions[i] = take_text(&c)))
            return false;
    size_t left = (size_t)(c.end - c.at);
    if (!left || left - 1 != head.config_len || c.at[left - 1] != 0)
        return false;
    s.config = c.at;
    *out = s;
    return true;
}

bool start_read(int fd, struct start *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)START_FILE_MAX)
        return false;
    size_t size = (size_t)st.st_size;
    void *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return false;
    if (take_apart(file, size, out))
        return true;
    munmap(file, size);
    return false;
}
