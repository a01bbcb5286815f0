/* service/parameter: what can be changed while everything runs: the platform's own parameters, as an embedding program
 * registers them, and this host's settings that take effect at once.  A change has bounds, a history with who and why,
 * subscribers, and a guard that takes it back when calls have become worse with it.  Values of the platform's are the
 * platform's: kept in memory, and gone with the process.  Private to src/service.
 *
 * Locks: the monitor's before this one; neither while a function of the platform's is called. */
#ifndef SERVICE_PARAMETER_H
#define SERVICE_PARAMETER_H

#include <pthread.h>

#include "measure/watch.h"
#include "registry/registry.h"
#include "service/monitor.h"
#include "service/service.h"

#define PARAMETERS_MAX 128
#define PARAMETER_NAME_MAX 63
#define PARAMETER_VALUE_MAX 1024 /* bytes of JSON */
#define PARAMETER_REASON_MAX 200
#define PARAMETER_HISTORY 20
#define PARAMETER_GUARD_NS (600 * NS_PER_S)

enum parameter_guard {
    PARAMETER_UNGUARDED, /* nobody asked, or nothing is known of before */
    PARAMETER_WATCHED,
    PARAMETER_KEPT,  /* it was not worse, or the time is over */
    PARAMETER_WORSE, /* it is being taken back */
    PARAMETER_TAKEN_BACK,
    PARAMETER_REPLACED /* by a later change */
};
const char *parameter_guard_name(enum parameter_guard g);

/* One change; the newest of a parameter is the one that may be watched. */
struct parameter_change {
    uint64_t number, wall_ns; /* number: of the parameter's, from 1 */
    char who[REGISTRY_ACTOR_MAX + 1], why[PARAMETER_REASON_MAX + 1], guard_why[200];
    char *from, *to;
    enum parameter_guard guard;
};

struct parameter {
    char name[PARAMETER_NAME_MAX + 1];
    const struct setting *setting; /* or NULL: the platform's */
    /* the lock */
    char about[PARAMETER_REASON_MAX + 1], watched[MONITOR_WORD_MAX + 1]; /* watched: "" for all */
    char *value, *choices;                                               /* JSON; choices may be NULL */
    bool bounded;
    double min, max, step;
    bool (*set)(void *context, const char *name, const char *value);
    void *context;
    struct parameter_change history[PARAMETER_HISTORY]; /* by number */
    uint64_t changes;
    struct watch watch;
    uint64_t until_ns;
};

struct parameters {
    struct service *s;
    pthread_mutex_t lock;
    struct parameter *list[PARAMETERS_MAX]; /* only grows */
    size_t count;
    _Atomic unsigned watching; /* changes that are watched just now */
    pthread_mutex_t sink_lock; /* held while a subscriber is told */
    service_parameter_sink sink;
    void *sink_context;
};

struct parameters *parameters_new(struct service *s); /* with the settings; NULL: no memory */
void parameters_free(struct parameters *p);           /* NULL is fine */

/* ---- of the monitor ---- */
void parameters_feed(struct parameters *p, const char *plugin, const struct window_sum *some); /* under its lock */
void parameters_judge(struct parameters *p);                                                   /* not under it */

/* ---- parameter.c, for parameter_set.c; under the lock ---- */
struct parameter *parameter_find(struct parameters *p, const char *name);
/* Is this JSON text a value of it? *canonical is from malloc. MOAT_E_BAD_JSON, MOAT_E_BAD_USAGE. */
int parameter_check(const struct parameter *one, const char *value, char **canonical, struct error *err);
struct parameter_change *parameter_last(struct parameter *one); /* NULL: none */
/* Writes it down; takes from and to. */
struct parameter_change *parameter_note(struct parameter *one, char *from, char *to, const char *who, const char *why);

#endif
