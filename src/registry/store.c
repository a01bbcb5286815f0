/* The store thread: takes all that waits, makes one transaction of it, answers when it is on the disk. */
#include <string.h>

#include "base/clock.h"
#include "registry/epoch.h"
#include "registry/files.h"
#include "registry/write.h"

#define GROUP_MAX 128

static int sql(struct registry *r, const char *text, struct error *err)
{
    return db_run(&r->writer, err, text, "");
}

/* Disk full, I/O errors and the like roll the whole transaction back behind our back. */
static bool lost(const struct registry *r)
{
    return sqlite3_get_autocommit(r->writer.handle) != 0;
}

/* What is refused is told in the trail too, but not one record for each: a refusal changes nothing, and anybody can
 * make thousands. */
static void tell_refusal(struct registry *r, const struct registry_command *c)
{
    char subject[REGISTRY_SUBJECT_MAX + 1];
    struct registry_refusal refusal = {
        .actor = c->actor, .call = c->call, .subject = subject, .code = (enum moat_code) - c->code};
    verb_describe(c, &refusal.action, subject);
    if (refusal.action && error_info(refusal.code)->exit == error_info(MOAT_E_PERMISSION_DENIED)->exit)
        registry_refuse(r, &refusal);
}

static void run_one(struct registry *r, struct registry_command *c)
{
    struct registry_audit_head head = r->head;
    c->code = sql(r, "SAVEPOINT command", &c->error);
    if (c->code < 0)
        return;
    c->code = write_run(r, c, &c->error);
    if (c->code == 0)
        c->code = sql(r, "RELEASE command", &c->error);
    if (c->code < 0) {
        r->head = head;
        if (!lost(r) && (sql(r, "ROLLBACK TO command", NULL) < 0 || sql(r, "RELEASE command", NULL) < 0))
            sqlite3_exec(r->writer.handle, "ROLLBACK", NULL, NULL, NULL);
        tell_refusal(r, c);
    }
}

/* The transaction has ended, whichever way: what is marked stays if a good version refers to it.  Only this thread
 * publishes, so that nothing can come to refer to it in between. */
static void settle_marked(struct registry *r)
{
    for (size_t i = 0; i + 32 <= r->marked.len; i += 32) {
        int fate = store_fate(r, r->marked.data + i, NULL);
        if (fate >= 0) /* else the mark stays for the next open */
            files_settle(r->plugin_dir, r->marked.data + i, (enum files_fate)fate);
    }
    buf_clear(&r->marked);
}

/* Every command of the group that had succeeded shares the transaction's fate. */
static void fail_all(struct registry_command *group, const struct error *err)
{
    for (struct registry_command *c = group; c; c = c->next) {
        if (c->code == 0) {
            c->error = *err;
            c->code = -(int)err->code;
        }
    }
}

static bool keeps_epoch(const struct registry_command *group)
{
    for (; group; group = group->next)
        if (!verb_keeps_epoch(group->verb))
            return false;
    return true;
}

uint64_t registry_epoch(const struct registry *r)
{
    return atomic_load(&r->epoch);
}

static int run_all(struct registry *r, struct registry_command *group, struct error *err)
{
    struct registry_audit_head head = r->head;
    int rc = sql(r, "BEGIN IMMEDIATE", err);
    for (struct registry_command *c = group; c && rc == 0; c = c->next) {
        run_one(r, c);
        if (lost(r)) {
            *err = c->error;
            rc = c->code;
        }
    }
    if (rc == 0)
        rc = gather_write(r, &r->gathered, err);
    if (rc == 0 && r->head.count != head.count)
        rc = audit_save(&r->writer, &r->head, err);
    return rc < 0 ? rc : sql(r, "COMMIT", err);
}

/* Under the lock. */
static void gathered_done(struct registry *r)
{
    r->writing_gathered = false;
    pthread_cond_broadcast(&r->written);
}

/* false: nothing was written, and what was gathered waits for the next time. */
static bool run_group(struct registry *r, struct registry_command *group)
{
    struct registry_audit_head head = r->head;
    struct error err = {.code = MOAT_E_STORAGE_FAILED};
    uint64_t step = keeps_epoch(group) ? 0 : 1;
    r->now_ms = clock_wall_ns() / NS_PER_MS;
    if (step)
        wanted_forget(r);
    atomic_fetch_add(&r->epoch, step);
    int rc = run_all(r, group, &err);
    if (rc < 0)
        sqlite3_exec(r->writer.handle, "ROLLBACK", NULL, NULL, NULL);
    if (rc < 0)
        wanted_forget(r);
    else if (!step)
        wanted_take(r, group);
    atomic_fetch_add(&r->epoch, step);
    if (rc < 0) {
        r->head = head;
        fail_all(group, &err);
        settle_marked(r);
        pthread_mutex_lock(&r->lock);
        gather_give_back(&r->gather, &r->gathered);
        gathered_done(r);
        pthread_mutex_unlock(&r->lock);
        return false;
    }
    pthread_mutex_lock(&r->lock);
    gather_free(&r->gathered);
    gathered_done(r);
    pthread_mutex_unlock(&r->lock);
    atomic_fetch_add_explicit(&r->commits, 1, memory_order_relaxed);
    settle_marked(r);
    return true;
}

/* ---- the thread ---- */

/* Under the lock, which is given up meanwhile: others may count, and ask for nothing to be asked any more. */
static void collect(struct registry *r)
{
    bool (*ask)(void *context) = r->collect;
    void *context = r->collect_context;
    r->collecting = true;
    r->collect_soon = false;
    pthread_mutex_unlock(&r->lock);
    bool more = ask(context);
    pthread_mutex_lock(&r->lock);
    r->collecting = false;
    if (more || r->collect_soon || r->gather.due_ns)
        r->collect_ns = clock_mono_ns() + (r->gather.due_ns ? GATHER_NS : GATHER_QUIET_NS);
    else
        r->collect_ns = UINT64_MAX;
    if (r->gather.due_ns)
        r->gather.due_ns = 1; /* now: a crash loses a second, not two */
    pthread_cond_broadcast(&r->written);
}

static void wait_until(struct registry *r, uint64_t due)
{
    struct timespec until = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)};
    if (due)
        pthread_cond_timedwait(&r->waiting, &r->lock, &until);
    else
        pthread_cond_wait(&r->waiting, &r->lock);
}

/* Under the lock: until there are commands, or what was gathered is to be written. false: nothing will come. */
static bool wait_for_work(struct registry *r)
{
    while (!r->first && !r->stopping) {
        uint64_t now = clock_mono_ns(), due = r->gather.due_ns,
                 next = r->collect && r->collect_ns != UINT64_MAX ? r->collect_ns : 0;
        if (due && now >= due)
            break;
        if (next && now >= next)
            collect(r);
        else
            wait_until(r, due && (!next || due < next) ? due : next);
    }
    return r->first || r->gather.due_ns;
}

/* Takes commands into *group, and what was gathered when it is due. */
static bool take_work(struct registry *r, struct registry_command **group)
{
    pthread_mutex_lock(&r->lock);
    bool work = wait_for_work(r);
    struct registry_command **end = &r->first;
    *group = r->first;
    for (int i = 0; i < GROUP_MAX && *end; i++)
        end = &(*end)->next;
    r->first = *group ? *end : NULL;
    *end = NULL;
    if (!r->first)
        r->last = &r->first;
    if (r->gather.due_ns && (r->stopping || clock_mono_ns() >= r->gather.due_ns)) {
        r->gathered = r->gather;
        r->gather = (struct gather){0};
        r->writing_gathered = true;
        r->gathered_writes++;
    }
    pthread_mutex_unlock(&r->lock);
    return work;
}

static bool is_stopping(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

static void *store_main(void *argument)
{
    struct registry *r = argument;
    struct registry_command *group;
    while (take_work(r, &group)) {
        if (!run_group(r, group) && !group && is_stopping(r))
            break; /* the last of what was gathered cannot be written */
        while (group) {
            struct registry_command *c = group;
            group = c->next; /* done may free it, or begin it again */
            atomic_fetch_add_explicit(&r->commands, 1, memory_order_relaxed);
            c->done(c);
        }
    }
    return NULL;
}

int store_start(struct registry *r, struct error *err)
{
    r->last = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->waiting, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&r->written, NULL);
    r->marked = BUF_INIT(64u << 20);
    int rc = pthread_create(&r->store, NULL, store_main, r);
    if (rc)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the store thread");
    pthread_setname_np(r->store, "store");
    r->running = true;
    return 0;
}

void store_stop(struct registry *r)
{
    if (r->running) {
        pthread_mutex_lock(&r->lock);
        r->stopping = true;
        pthread_cond_signal(&r->waiting);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->store, NULL);
        r->running = false;
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->waiting);
        pthread_cond_destroy(&r->written);
        gather_free(&r->gather);
    }
    buf_free(&r->marked);
}

void registry_begin(struct registry *r, struct registry_command *command)
{
    command->code = 0;
    command->next = NULL;
    pthread_mutex_lock(&r->lock);
    *r->last = command;
    r->last = &command->next;
    pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
};

static void wake(struct registry_command *command)
{
    struct waiter *w = command->context;
    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

int registry_run(struct registry *r, struct registry_command *command, struct error *err)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    command->done = wake;
    command->context = &w;
    registry_begin(r, command);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    if (command->code < 0 && err)
        *err = command->error;
    return command->code;
}

void registry_refuse(struct registry *r, const struct registry_refusal *refusal)
{
    pthread_mutex_lock(&r->lock);
    gather_refusal(&r->gather, refusal);
    pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
}

int registry_flush(struct registry *r, struct error *err)
{
    struct registry_command c = {.verb = REGISTRY_FLUSH};
    pthread_mutex_lock(&r->lock);
    if (r->gather.due_ns)
        r->gather.due_ns = 1;
    pthread_mutex_unlock(&r->lock);
    return registry_run(r, &c, err);
}

void registry_count(struct registry *r, const struct registry_count *count)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->gather.due_ns;
    gather_count(&r->gather, count);
    if (first)
        pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
}

void registry_count_starts(struct registry *r, const struct registry_starts *more)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->gather.due_ns;
    gather_starts(&r->gather, more);
    if (first)
        pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
}

bool registry_deny(struct registry *r, const struct registry_denial *more)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->gather.due_ns, taken = gather_deny(&r->gather, more);
    if (first && taken)
        pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
    return taken;
}

void registry_gather_soon(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    r->collect_soon = true;
    if (r->collect && r->collect_ns == UINT64_MAX) {
        r->collect_ns = clock_mono_ns() + GATHER_NS;
        pthread_cond_signal(&r->waiting);
    }
    pthread_mutex_unlock(&r->lock);
}

void registry_gather_from(struct registry *r, bool (*collect_from)(void *context), void *context)
{
    pthread_mutex_lock(&r->lock);
    r->collect = collect_from;
    r->collect_context = context;
    r->collect_ns = collect_from ? clock_mono_ns() + GATHER_NS : 0;
    while (!collect_from && r->collecting)
        pthread_cond_wait(&r->written, &r->lock);
    pthread_cond_signal(&r->waiting);
    pthread_mutex_unlock(&r->lock);
}
