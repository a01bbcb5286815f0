#include "sandbox/explain_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/words.h"
#include "sandbox/resolve.h"

static size_t drop_last(const char *out, size_t len)
{
    while (len > 0 && out[len] != '/')
        len--;
    return len;
}

/* Appends the components of text to out[0..*len). */
static bool append(const char *text, char *out, size_t size, size_t *len)
{
    while (*text) {
        text += strspn(text, "/");
        size_t n = strcspn(text, "/");
        if (n == 2 && text[0] == '.' && text[1] == '.') {
            *len = *len ? drop_last(out, *len - 1) : 0;
        } else if (n && !(n == 1 && text[0] == '.')) {
            if (*len + n + 2 > size)
                return false;
            out[(*len)++] = '/';
            memcpy(out + *len, text, n);
            *len += n;
        }
        text += n;
    }
    return true;
}

bool explain_normalise(const char *dir, const char *path, char *out, size_t size)
{
    size_t len = 0;
    if (size < 2 || (path[0] != '/' && !append(dir, out, size, &len)) || !append(path, out, size, &len))
        return false;
    if (!len)
        out[len++] = '/';
    out[len] = '\0';
    return true;
}

static bool lies_in(const char *path, const char *place)
{
    size_t len = strlen(place);
    return strncmp(path, place, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* path is a directory on the way to place. */
static bool leads_to(const char *path, const char *place)
{
    return strcmp(path, "/") == 0 || (lies_in(place, path) && strcmp(path, place) != 0);
}

/* The sealed code, by its number in the detached view of the worker's own descriptors: "/N", since that view's root is
 * all that its directory is called.  Nothing of that name exists anywhere else in a private root. */
static bool own_descriptor(const char *path)
{
    return path[0] == '/' && path[1] && path[1 + strspn(path + 1, "0123456789")] == '\0';
}

static const struct wall_grant *innermost(const char *path, const struct wall_grant *grants, size_t n)
{
    const struct wall_grant *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (lies_in(path, grants[i].path) && (!best || strlen(grants[i].path) > strlen(best->path)))
            best = &grants[i];
    return best;
}

struct explain_judgement explain_judge(const char *path, enum explain_access access, const struct wall_grant *grants,
                                       size_t ngrants)
{
    const struct explain_judgement leave = {0, -1};
    struct explain_judgement refuse = {.errnum = access == ACCESS_WRITE ? EACCES : ENOENT,
                                       .permission =
                                           access == ACCESS_WRITE ? PERMISSION_FILE_WRITE : PERMISSION_FILE_READ};
    const struct wall_grant *g = innermost(path, grants, ngrants);
    if (g)
        return access == ACCESS_WRITE && !g->writable ? refuse : leave;
    if (lies_in(path, "/tmp") || own_descriptor(path))
        return leave;
    bool on_the_way = strcmp(path, "/") == 0;
    for (size_t i = 0; i < ngrants; i++)
        on_the_way = on_the_way || leads_to(path, grants[i].path);
    if (on_the_way && access == ACCESS_LOOK)
        return leave;
    if (on_the_way)
        refuse.errnum = EACCES; /* it is there, as an empty directory */
    if (wall_never_granted(path))
        refuse.permission = -1;
    return refuse;
}

struct explain_judgement explain_judge_alone(const char *path, enum explain_access access,
                                             const struct wall_grant *grants, size_t ngrants)
{
    if (innermost(path, grants, ngrants))
        return explain_judge(path, access, grants, ngrants);
    return (struct explain_judgement){.errnum = access == ACCESS_WRITE ? EACCES : ENOENT,
                                      .permission = wall_never_granted(path) ? -1
                                                    : access == ACCESS_WRITE ? PERMISSION_FILE_WRITE
                                                                             : PERMISSION_FILE_READ};
}

bool explain_is_program(const char *path, const struct wall_request *given)
{
    for (size_t i = 0; i < given->nprograms; i++)
        if (strcmp(path, given->programs[i].place) == 0 || strcmp(path, given->programs[i].file.path) == 0)
            return true;
    return false;
}

/* Length of the UTF-8 character at p, or 0.  Overlong forms, surrogates and what lies above U+10FFFF are none. */
static size_t utf8_length(const unsigned char *p)
{
    size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    /* C1 controls drive terminals too. */
    return p[0] == 0xc2 && p[1] < 0xa0 ? 0 : n;
}

#define UNTOLD_LEN (sizeof EXPLAIN_UNTOLD - 1)

void explain_neutralise(char *out, size_t size, const char *text)
{
    size_t len = 0, mark = 0; /* mark: the last place that has room for saying that the rest is missing */
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        size_t n = *p < 0x80 ? 1 : utf8_length(p);
        bool good = n > 1 || (n == 1 && *p >= 0x20 && *p != 0x7f);
        size_t take = n ? n : 1, put = good ? take : UNTOLD_LEN;
        if (len + UNTOLD_LEN < size)
            mark = len;
        if (len + put >= size)
            break;
        memcpy(out + len, good ? (const char *)p : EXPLAIN_UNTOLD, put);
        len += put;
        p += take;
    }
    if (*p)
        len = mark;
    if (*p && len + UNTOLD_LEN < size) {
        memcpy(out + len, EXPLAIN_UNTOLD, UNTOLD_LEN);
        len += UNTOLD_LEN;
    }
    out[len] = '\0';
}
