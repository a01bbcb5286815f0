/* broker/ask: what can be asked, as a table; each service in a file of its own.  Private to src/broker.
 *
 * Everything is refused that does not stand in the table, and nothing reaches a handler before the permission as a
 * whole was found granted.  What the ask's bytes say is the worker's word: a handler takes them apart with every length
 * checked, and asks the policy for the object it finds. */
#ifndef BROKER_ASK_H
#define BROKER_ASK_H

#include "broker/broker.h"

struct rights; /* of one version: immutable, counted */
struct rights *rights_get(struct broker *b, const char *plugin,
                          const char *version); /* a reference; NULL: it has none */
void rights_put(struct rights *r);

/* When it may come.  The channel lets a worker ask only while it runs a call, one thing at a time. */
enum ask_when {
    WHEN_CALLED = 1, /* at any time of the call */
};

struct asking {
    struct broker *broker;
    struct question *ask;
    const struct service *service;
    const struct rights *rights; /* valid until the handler returns; NULL: nothing was ever granted */
};

struct service {
    enum permission permission;
    enum ask_when when;
    const char *operation; /* as denials tell it */
    /* What the bytes name, as the policy's object; false: they are none of this service. */
    bool (*object)(const struct question *ask, char object[POLICY_SCOPE_MAX]);
    /* It is allowed for that object. Answers now or later; must not block. */
    void (*answer)(const struct asking *a, const char *object);
    bool has_wider; /* a permission that contains it, for the same object */
    enum permission wider;
    bool whole; /* the permission has no scope: it is asked for as a whole, whatever the object */
    bool many;  /* it is for one object after the other: the handler asks for each */
};
extern const struct service services[ASK_SERVICES];

struct facts;
const struct facts *broker_facts(const struct broker *b);
/* net.c */
bool connect_object(const struct question *ask, char object[POLICY_SCOPE_MAX]);
void connect_answer(const struct asking *a, const char *object);

/* call.c */
bool call_object(const struct question *ask, char object[POLICY_SCOPE_MAX]);
void call_answer(const struct asking *a, const char *object);

/* task.c */
bool task_object(const struct question *ask, char object[POLICY_SCOPE_MAX]);
void task_answer(const struct asking *a, const char *object);

/* fact.c */
bool fact_object(const struct question *ask, char object[POLICY_SCOPE_MAX]);
void fact_answer(const struct asking *a, const char *object);

/* sql_open.c */
bool sql_object(const struct question *ask, char object[POLICY_SCOPE_MAX]);
void sql_read_answer(const struct asking *a, const char *object);
void sql_write_answer(const struct asking *a, const char *object);

#endif
