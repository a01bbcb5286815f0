/* What a plugin wrote as a path, in two parts (directory, path): the plain form is plain, the judgement never gives a
 * writing right that no grant gives, and the neutralised text is harmless. */
#include <stdlib.h>
#include <string.h>

#include "sandbox/explain_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wall_grant grants[] = {{.path = "/data", .directory = true},
                                           {.path = "/data/out", .directory = true, .writable = true}};

static void check_plain(const char *path)
{
    size_t len = strlen(path);
    if (path[0] != '/' || (len > 1 && path[len - 1] == '/') || strstr(path, "//") || strstr(path, "/./") ||
        strstr(path, "/../") || (len >= 3 && strcmp(path + len - 3, "/..") == 0))
        abort();
}

static void check_write(const char *path)
{
    struct explain_judgement j = explain_judge(path, ACCESS_WRITE, grants, 2);
    bool inside = strncmp(path, "/data/out", 9) == 0 || strncmp(path, "/tmp", 4) == 0;
    bool number = path[1] && path[1 + strspn(path + 1, "0123456789")] == '\0';
    if (!j.errnum && !inside && !number)
        abort();
}

/* Behind the fallback wall whatever is in no grant is refused, for reading as well. */
static void check_alone(const char *path)
{
    bool out = strncmp(path, "/data/out", 9) == 0, in = strncmp(path, "/data", 5) == 0;
    if (!explain_judge_alone(path, ACCESS_WRITE, grants, 2).errnum && !out)
        abort();
    if (!explain_judge_alone(path, ACCESS_READ, grants, 2).errnum && !in)
        abort();
    if (explain_judge_alone(path, ACCESS_READ, grants, 0).errnum == 0 ||
        explain_judge_alone(path, ACCESS_WRITE, grants, 0).errnum == 0)
        abort();
}

static void check_harmless(const char *text, size_t size)
{
    char out[64];
    explain_neutralise(out, size > sizeof out ? sizeof out : size, text);
    for (const char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2048], plain[1024], again[1024];
    if (size < 1 || size >= sizeof text - 2)
        return 0;
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    const char *path = text + strlen(text) + 1;
    if (path > text + size)
        path = "";
    check_harmless(text, 1 + data[0]);
    if (!explain_normalise(text, path, plain, sizeof plain))
        return 0;
    check_plain(plain);
    check_write(plain);
    check_alone(plain);
    if (!explain_normalise("/x", plain, again, sizeof again) || strcmp(plain, again) != 0)
        abort();
    return 0;
}
