#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/libraries.h"

void inside_load_library(const char *soname)
{
    dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static void load_libraries(const struct builder *b)
{
    for (unsigned i = 0; i < libraries_count; i++)
        if (b->order.libraries & 1u << i)
            inside_load_library(libraries[i]);
}

static int change_root(int fd)
{
    return fchdir(fd) < 0 || chroot(".") < 0 ? errno : 0;
}

/* While the host's libraries can be seen, and before there are limits that loading them could meet. */
int inside_step_libraries(struct builder *b)
{
    int e = 0;
    bool moved = b->host >= 0 && b->order.libraries;
    if (moved)
        e = change_root(b->host);
    if (!e)
        load_libraries(b);
    if (!e && moved)
        e = change_root(b->root);
    return e;
}

static void *fail(char *message, size_t size, const char *what)
{
    snprintf(message, size, "%s", what ? what : "unknown error");
    return NULL;
}

void *inside_load(const struct inside *in, size_t i, char *message, size_t size)
{
    char name[16];
    if (i >= in->ncode || in->tree < 0)
        return fail(message, size, "no such code");
    /* Constructors run in here.  With a descriptor of the file that a worker writes, a plugin could map its own bytes
     * as code: private, from a file and not writable.  Who closes them sets them to -1. */
    if (in->w2h >= 0 || in->h2w >= 0 || in->seats)
        return fail(message, size, "the channel's files must be closed before code is loaded");
    /* The only name that the sealed bytes have: their number in a view of our own descriptors.  No file, no /proc, and
     * no path that could be changed. */
    snprintf(name, sizeof name, "./%d", in->code[i]);
    if (fchdir(in->tree) < 0)
        return fail(message, size, strerror(errno));
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    const char *why = handle ? NULL : dlerror();
    if ((in->home < 0 ? chdir("/") : fchdir(in->home)) < 0 && handle)
        return fail(message, size, "cannot leave the code's directory");
    return handle ? handle : fail(message, size, why);
}

void inside_loaded(struct inside *in)
{
    for (size_t i = 0; i < in->ncode; i++)
        io_close(&in->code[i]);
    in->ncode = 0;
    io_close(&in->start);
    io_close(&in->tree);
    io_close(&in->home);
}
