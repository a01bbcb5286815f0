/* loader/lines: what workers say, line by line, and which call it is about.  Private to src/loader. */
#ifndef LOADER_LINES_H
#define LOADER_LINES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_LINE_MAX 1024 /* of a line of output; what is longer is cut */
#define LINES_TEXT_MAX 2049  /* of a line of the log, as the channel has them */

struct worker;
struct call;
struct channel_answer;

/* So many lines a second: by the one thread that takes them; any thread tells what was dropped. */
struct line_rate {
    _Atomic uint64_t since_ns;
    uint32_t lines;
    _Atomic uint32_t dropped;
};

/* What a worker's output is about: the owner writes, others read until seq is even and the same. */
#define ABOUT_TRACED (1u << 31)
struct attribution {
    _Atomic uint32_t seq, action; /* action + 1, and whether the trace is the caller's: else its id is the call's */
    _Atomic uint64_t words[8];    /* the call's id, its trace's */
};

void lines_running(struct worker *w, const struct call *c, uint32_t action); /* owner; c NULL: of no call */
void lines_take_text(const struct channel_answer *a, char text[LINES_TEXT_MAX]);
/* The id of the call that runs action (+ 1) now; "" when it is another one by now. Any thread. */
void lines_call_now(struct worker *w, uint32_t action, char id[33]);
void lines_log(struct worker *w, const struct channel_answer *a);                /* owner */
void lines_output(struct worker *w, const char *line, size_t len, uint64_t now); /* supervise */
void lines_death(struct worker *w, const struct call *c, const char *how);       /* owner; c NULL: it was idle */
void lines_tell_dropped(struct worker *w);                                       /* any thread */
void lines_look(struct worker *w, uint64_t now); /* supervise, now and then: who dropped lines and is silent since */

#endif
