/* sandbox/inside: the wall as the worker builds it around itself, in order, each step with its reason.
 * Only moat-worker links this.  Single thread. */
#ifndef SANDBOX_INSIDE_H
#define SANDBOX_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left in the worker's hands when its wall stands. */
struct inside {
    int control; /* SEQPACKET to the host; only inside_ready and inside_failed write to it */
    int h2w, w2h, bell, start;
    int tree; /* a detached view of /proc/self/fd, only for inside_load */
    int code[8];
    size_t ncode;
    int assets;    /* 0: none */
    int seats;     /* 0: none; closed by who maps it, before any code is loaded */
    bool net;      /* inside_connection works */
    bool programs; /* processes can be started */
    int home;      /* the fallback wall: the root directory, to come back to without a name; else -1 */
};

/* From exec to the finished wall: half wall, wait, assignment, full wall, one filter, listener handed over, "built".
 * `channel` is called once in between, while the half wall waits: h2w, w2h and bell are there then, and nothing else.
 * On failure it has told the host and the process must exit. */
bool inside_build(int control, bool fallback, void (*channel)(struct inside *in), struct inside *out);

/* Until the host, which reads meanwhile what holds for this process, says go; false: it never will.  Before it nothing
 * of the plugin may be loaded; what is the engine's own can be made ready. */
bool inside_wait(const struct inside *in);

/* dlopens code[i] from its sealed bytes; NULL with a message. Closes nothing.  Refuses while h2w or w2h is not -1: map
 * the channel and close its files first, or a constructor could map them as code. */
void *inside_load(const struct inside *in, size_t i, char *message, size_t size);

/* No more code will be loaded: closes the code, the start file and the tree.  The assets' file is closed by who maps
 * it, before any code is loaded. */
void inside_loaded(struct inside *in);

/* The next connection that the host sent, waited for; -1: it has gone. Only with in->net. */
int inside_connection(void);

void inside_ready(const struct inside *in);
void inside_failed(const struct inside *in, const char *step, const char *message);

#endif
