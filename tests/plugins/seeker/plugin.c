/* seeker: wants files, one after another or many at random; for the tests of what is learned from denials. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

static const struct moat_host *host;

struct parameters {
    const char *text;
    size_t len;
};

static long long integer(struct parameters p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.text, p.len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

static bool text(struct parameters p, const char *name, char *out, size_t size)
{
    struct slice value;
    return request_find(p.text, p.len, name, &value) && request_text(value, out, size);
}

static bool failed(struct moat_call *call, const char *path)
{
    char message[600];
    snprintf(message, sizeof message, "%s: %.500s", strerrorname_np(errno), path);
    return host->fail(call, "cannot", message);
}

static bool number(struct moat_call *call, long long n)
{
    char reply[32];
    snprintf(reply, sizeof reply, "%lld", n);
    return host->answer(call, reply, strlen(reply));
}

/* ---- errand, probe ---- */

static bool errand(struct moat_call *call, struct parameters p)
{
    static const char *const names[] = {"first", "second", "out"};
    static char path[4096];
    for (int i = 0; i < 3; i++) {
        if (!text(p, names[i], path, sizeof path))
            return host->fail(call, "bad_path", names[i]);
        int fd = i < 2 ? open(path, O_RDONLY | O_CLOEXEC) : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return failed(call, path);
        close(fd);
    }
    return host->answer(call, "true", 4);
}

static bool probe(struct moat_call *call, struct parameters p)
{
    static char dir[3000], path[4096];
    long long opened = 0, count = integer(p, "count", 1);
    text(p, "dir", dir, sizeof dir);
    for (long long i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%lld", dir, i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        opened++;
        close(fd);
    }
    return number(call, opened);
}

/* ---- the plugin ---- */

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct parameters p = {parameters, len};
    return strcmp(action, "errand") == 0 ? errand(call, p) : probe(call, p);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
