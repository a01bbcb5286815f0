/* loader/op: what loader_set and its friends ask, on its way to the supervise thread and there.  Part of
 * loader/internal, whose words for threads and locks it uses. */
#ifndef LOADER_OP_H
#define LOADER_OP_H

#include "base/loop.h"
#include "loader/loader.h"

struct generation;
struct plugin;

enum op_kind {
    OP_SET,
    OP_CONFIGURE,
    OP_START,
    OP_RELOAD,
    OP_STOP,
    OP_END,
    OP_FORGET,
    OP_VERDICT,
    OP_CANARY,
    OP_CANARY_PROMOTE,
    OP_CANARY_END,
    OP_CLOSE
};

struct op {
    struct loop_task task;
    struct loader *l;
    enum op_kind kind;
    struct plugin *plugin; /* NULL: there is none of that name */
    char name[MANIFEST_NAME_MAX + 1];
    struct spec *spec;
    enum loader_how how;
    bool held;            /* of OP_SET */
    struct error refused; /* of OP_VERDICT; code 0: it may run */
    enum moat_code gate;
    char gate_message[256];
    uint64_t grace_ns;
    unsigned percent; /* of OP_CANARY */
    bool guard_asked; /* of OP_CONFIGURE */
    struct loader_guard_ask guard;
    char version[MANIFEST_VERSION_MAX + 1]; /* of OP_END, OP_CANARY_PROMOTE */
    loader_done done;
    void *context;
    /* supervise */
    struct op *next;
    uint64_t births;           /* an ender: done when no worker up to that birth lives */
    struct generation *closed; /* what it published */
    struct loop_timer late;
};

/* op.c: on the supervise thread */
void op_run(struct loop_task *task);
void op_done(struct op *op, const struct error *err);
void op_set(struct op *op);
void loader_closed_check(struct loader *l);

#endif
