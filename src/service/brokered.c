/* What running calls ask of the host, and by which rights: the loader's asks on their way to the broker. */
#include "base/text.h"
#include "service/internal.h"
#include "service/jobs.h"

void asked(void *context, struct question *ask)
{
    broker_ask(((struct service *)context)->broker, ask);
}

/* ---- tasks: who runs them may have to be opened first, which blocks ---- */

struct task_op {
    struct op op;
    struct question *ask;
};

static void no_task(void *context, const struct error *error, struct buf *result)
{
    if (error)
        ask_fail(context, error);
}

static void not_now(struct question *ask)
{
    struct error err;
    error_set(&err, MOAT_E_WRONG_STATE, "this host runs no tasks, or is about to end");
    ask_fail(ask, &err);
}

static void hand_task(struct op *op, struct job *job)
{
    struct task_op *t = (struct task_op *)(void *)op;
    struct service *s = op->s;
    pthread_rwlock_rdlock(&s->task_lock);
    service_task_run run = atomic_load(&s->run_task);
    if (run)
        run(s, t->ask);
    else
        not_now(t->ask);
    pthread_rwlock_unlock(&s->task_lock);
    op_end(op, 0);
}

/* Nor is it waited for while somebody makes it. */
static bool guest_is_there(struct service *s)
{
    if (pthread_mutex_trylock(&s->guest_lock) != 0)
        return false;
    bool there = s->guest != NULL;
    pthread_mutex_unlock(&s->guest_lock);
    return there;
}

static void hand_later(struct service *s, struct question *ask)
{
    struct task_op *t = op_new(s, sizeof *t, no_task, ask);
    if (!t)
        return;
    t->ask = ask;
    op_begin(&t->op, NULL, hand_task);
}

void task_wanted(void *context, struct question *ask)
{
    struct service *s = context;
    pthread_rwlock_rdlock(&s->task_lock);
    service_task_run run = atomic_load(&s->run_task);
    if (!run)
        not_now(ask);
    else if (guest_is_there(s))
        run(s, ask);
    else
        hand_later(s, ask);
    pthread_rwlock_unlock(&s->task_lock);
}

void service_run_tasks(struct service *s, service_task_run run)
{
    atomic_store(&s->run_task, run);
}

void tasks_end(struct service *s)
{
    pthread_rwlock_wrlock(&s->task_lock);
    atomic_store(&s->run_task, NULL);
    pthread_rwlock_unlock(&s->task_lock);
}

bool service_may_call(struct service *s, const char *plugin, const char *version, const char *object)
{
    return broker_allows(s->broker, plugin, version, PERMISSION_AGENT_CONTROL, object);
}

void service_deny_call(struct service *s, struct question *ask, const char *object, struct error *err)
{
    broker_deny_call(s->broker, ask, object, err);
}

void rights_set(struct service *s, const char *name, const char *version, const struct policy_answer *answer)
{
    broker_set(s->broker, name, version, answer);
}

bool version_lives(void *context, const char *name, const char *version)
{
    return loader_lives(((struct service *)context)->loader, name, version);
}

void rights_drop(struct service *s, const char *name)
{
    broker_drop(s->broker, name);
}

static bool over(void *context, const struct question *ask, struct error *err)
{
    return !broker_still(((struct service *)context)->broker, ask, err);
}

void rights_review(struct service *s, const char *name)
{
    loader_asks_review(s->loader, name, over, s);
}

/* ---- connections ---- */

#define IDLE_NS (30 * NS_PER_S) /* a helper without a connection stays for so long */

struct spawner *helpers_spawner(void *context)
{
    return loader_spawner(((struct service *)context)->loader);
}

int connections_open(struct service *s, struct error *err)
{
    const struct settings *set = &s->settings;
    struct net_config config = {.loop = s->loops[0],
                                .broker = s->broker,
                                .spawner = helpers_spawner,
                                .context = s,
                                .limits = {.connections = (uint32_t)set->network_connections,
                                           .connects_per_second = (uint32_t)set->network_connects,
                                           .bytes_per_second = set->network_rate,
                                           .connect_ns = set->network_connect_time,
                                           .idle_ns = IDLE_NS}};
    text_copy(config.limits.servers, sizeof config.limits.servers, set->network_servers);
    int rc = net_new(&config, &s->net, err);
    if (rc == 0)
        broker_use_net(s->broker, s->net);
    return rc;
}

int connections_end(struct service *s, const char *name, struct error *err)
{
    struct waits *w = waits_new(1);
    if (!w)
        return error_set(err, MOAT_E_REVOKE_INCOMPLETE, "no memory to wait for the end of %s's connections", name);
    net_revoke(s->net, name, waits_done, waits_add(w, name));
    return waits_finish(w, WAIT_DEAD_NS, err);
}
