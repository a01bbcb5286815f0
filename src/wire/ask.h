/* wire/ask: something that a running call asks of the host (plugin.h: call, …).  The loader takes it out of the
 * worker's channel and hands it on; src/broker decides and answers.  Neither knows the other: this is what they share.
 *
 * An ask lives from the loader's on_ask until it is answered: exactly once, by one of the functions below, from any
 * thread, at once or later.  Its worker waits meanwhile, and its call's time runs on. */
#ifndef WIRE_ASK_H
#define WIRE_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Numbers on the wire: new ones are added at the end. */
enum ask_service {
    ASK_CALL = 1, /* plugin NUL action NUL parameters -> the result's JSON */
    ASK_SQL_READ, /* a source's name -> two bytes: the seat (wire/seat.h), and whether its helper may write */
    ASK_SQL_WRITE,
    ASK_FACT,    /* a name, or nothing for all of them -> JSON */
    ASK_CONNECT, /* struct net_wish (wire/net.h), a host -> nothing, and a descriptor over the worker's own socket */
    ASK_TASK,    /* a task's JSON (docs/tasks.md) -> its document */
    ASK_SERVICES
};

#define ASK_OBJECT 80   /* PLUGIN.ACTION */
#define ASK_CHAIN_MAX 8 /* plugins that wait for each other in one chain of calls, the last one's included */

struct call;
struct question;
struct ask_answers {
    bool (*on_stop)(struct question *ask, void (*stop)(struct question *ask));
    void (*done)(struct question *ask, const void *bytes, size_t len);
    void (*hand)(struct question *ask, int fd);
    void (*refuse)(struct question *ask, const struct error *error);
    void (*deny)(struct question *ask, int permission, const char *operation, const char *object,
                 const struct error *error);
    void (*call)(struct question *ask, const char *plugin, const char *action, const void *parameters, size_t len);
    void (*object)(struct question *ask, const char *object);
    void (*begin)(struct question *ask, struct call *c);
    void (*over)(struct question *ask, const struct call *c);
    unsigned (*chain)(const struct question *ask, const char *names[ASK_CHAIN_MAX]);
};

struct question {
    /* fixed */
    const struct ask_answers *to;
    unsigned service; /* any number: the worker's word */
    const uint8_t
        *bytes; /* the host's own copy of what the worker wrote, len bytes and BUF_PAD behind; a 0 is the first */
    size_t len;
    const char *plugin, *version, *action; /* who asks */
    const char *call_id;                   /* of its call */
    uint64_t worker;                       /* its number, which no other worker of this host has had */
    int seats;                             /* its seats (wire/seat.h), or -1; stays the worker's */
    uint64_t deadline_ns;                  /* of its call, CLOCK_MONOTONIC */
    uint64_t principal;                    /* in whose name: as its call's */
    char traceparent[56];                  /* of ASK_CALL and ASK_TASK: what is begun for it belongs to its call */
    void *context;                         /* the handler's */
    void (*stop)(struct question *ask);    /* by ask_on_stop */
    char task[33];                         /* the handler's, before ask_on_stop: which task it is */
    char object[ASK_OBJECT];               /* by ask_object, and its lock: what it waits for now */
};

/* By a handler that answers later, within on_ask or later.  From here on stop is called, at most once and from any
 * thread, when nobody waits for the answer any more: the call was cancelled or is late, the worker died, a right was
 * revoked.  The handler ends what it does and answers all the same, perhaps within stop, which must not block.  false:
 * nobody waits as it is. */
static inline bool ask_on_stop(struct question *ask, void (*stop)(struct question *ask))
{
    return ask->to->on_stop(ask, stop);
}

/* What the plugin is told: bytes as its service defines them. */
static inline void ask_done(struct question *ask, const void *bytes, size_t len)
{
    ask->to->done(ask, bytes, len);
}

/* Done, with a descriptor that its worker gets; fd stays the caller's. */
static inline void ask_hand(struct question *ask, int fd)
{
    ask->to->hand(ask, fd);
}

/* It did not work: the code's name, and the message. */
static inline void ask_fail(struct question *ask, const struct error *error)
{
    ask->to->refuse(ask, error);
}

/* It is not allowed: the same, and a denial is told of. permission: -1 when nothing can allow it. */
static inline void ask_deny(struct question *ask, int permission, const char *operation, const char *object,
                            const struct error *error)
{
    ask->to->deny(ask, permission, operation, object, error);
}

/* Allowed: the loader runs that call on the asking call's behalf and answers. Texts are copied. */
static inline void ask_call(struct question *ask, const char *plugin, const char *action, const void *parameters,
                            size_t len)
{
    ask->to->call(ask, plugin, action, parameters, len);
}

/* Before the right to it is looked at: when rights change later, the ask is given up if this is not allowed any more.
 */
static inline void ask_object(struct question *ask, const char *object)
{
    ask->to->object(ask, object);
}

/* Begins a call of the handler's own on the asking call's behalf: one at a time, before the answer, any thread. Its
 * done comes as with call_begin, when it was refused as well: the chain, a knot, or nobody waits for the ask any more.
 */
static inline void ask_begin(struct question *ask, struct call *c)
{
    ask->to->begin(ask, c);
}

/* First thing in its done. */
static inline void ask_over(struct question *ask, const struct call *c)
{
    ask->to->over(ask, c);
}

/* Whose calls wait for it, the first one first, who asks the last; names are valid until the answer. */
static inline unsigned ask_chain(const struct question *ask, const char *names[ASK_CHAIN_MAX])
{
    return ask->to->chain(ask, names);
}

#endif
