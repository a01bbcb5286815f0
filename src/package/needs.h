/* package/needs: what a program or a library needs to be run: asked of moat-helper, which reads the file behind its
 * wall; what it answers is checked here.  Blocking: jobs threads. */
#ifndef PACKAGE_NEEDS_H
#define PACKAGE_NEEDS_H

#include "base/error.h"
#include "sandbox/spawner.h"
#include "wire/needs.h"

struct needs {
    size_t count;
    struct {
        enum needs_type type; /* SCRIPT, LOADER, LIBRARY or PATH */
        char text[NEEDS_TEXT_MAX + 1];
    } list[NEEDS_MAX];
    bool strange; /* this machine could not run it; nothing else that is said of it counts */
};

/* fd: the file, from its beginning; stays the caller's. */
int needs_of(struct spawner *spawner, int fd, struct needs *out, struct error *err);

/* The answer of the helper, whole; false: it is none. For needs_of and its fuzz target. */
bool needs_read(const uint8_t *bytes, size_t len, struct needs *out);

#endif
