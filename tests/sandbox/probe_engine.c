/* The engine of the test's worker: runs the script in the start file with the probe that was loaded as plugin code. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/engine.h"

static char script[128 * 1024];

/* What a script does with the channel's files it does when its wall stands. */
void engine_channel(struct inside *in)
{
    (void)in;
}

int engine_serve(struct inside *in)
{
    char message[256];
    void *code = NULL;
    ssize_t n = pread(in->start, script, sizeof script - 1, 0);
    script[n > 0 ? n : 0] = '\0';
    /* `keep` leaves the channel's files open, which inside_load must refuse. */
    if (strcmp(script, "keep") != 0) {
        close(in->h2w);
        close(in->w2h);
        in->h2w = in->w2h = -1;
    }
    if (!inside_wait(in))
        return 1;
    for (size_t i = 0; i < in->ncode; i++) {
        code = inside_load(in, i, message, sizeof message);
        if (!code) {
            inside_failed(in, "load", message);
            return 1;
        }
    }
    inside_loaded(in);
    inside_ready(in);
    int (*run)(const char *, int, int) = NULL;
    if (code)
        *(void **)&run = dlsym(code, "probe_main");
    return run ? run(script, in->control, in->bell) : 0;
}
