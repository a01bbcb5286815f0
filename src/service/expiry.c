#include "service/expiry.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "service/internal.h"

#define KEEP_S 60 /* how often the time is kept while a grant has an end */

/* ---- the timer ---- */

/* Holds the lock. */
static void arm(struct service *s, uint64_t at_s)
{
    struct expiry *e = &s->expiry;
    uint64_t at = home_time_boot(&s->time, at_s * NS_PER_S), now = home_time_boot_clock();
    uint64_t left = at > now ? at - now : 1; /* 0 would be never */
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(left / NS_PER_S), .tv_nsec = (long)(left % NS_PER_S)}};
    timerfd_settime(e->timer, 0, &when, NULL);
    e->next_s = at_s;
}

void expiry_note(struct service *s, uint64_t until_s)
{
    struct expiry *e = &s->expiry;
    uint64_t keep = service_now(s) + KEEP_S;
    if (!until_s)
        return;
    pthread_mutex_lock(&e->lock);
    e->timed = true;
    until_s = until_s < keep ? until_s : keep;
    if (!e->next_s || until_s < e->next_s)
        arm(s, until_s);
    pthread_mutex_unlock(&e->lock);
}

/* ---- one plugin ---- */

struct end_op {
    struct op op;
    char name[MANIFEST_NAME_MAX + 1];
    struct decisions ended;
};

static void clear(struct op *op)
{
    decisions_free(&((struct end_op *)op)->ended);
}

/* Of the decisions: those that have ended are listed, and was is what held a moment before. */
static int find_ended(struct end_op *e, struct decisions *before, struct manifest *m, const char *publisher,
                      struct policy_answer *was)
{
    uint64_t now = before->now;
    int rc = 0;
    for (size_t i = 0; i < before->count && rc == 0; i++) {
        const struct registry_decision *d = &before->list[i];
        if (!d->until || d->until > now)
            continue;
        before->now = d->until - 1 < before->now ? d->until - 1 : before->now;
        rc = decisions_add(&e->ended, d, &e->op.error);
    }
    if (rc == 0 && m)
        decisions_answer(m, publisher, before, was);
    before->now = now;
    return rc;
}

static void tell_ended(const struct end_op *e, int rc)
{
    for (size_t i = 0; i < e->ended.count; i++) {
        struct grant g;
        char text[POLICY_SCOPE_MAX + 64];
        if (!record_as_grant(&e->ended.list[i], &g))
            continue;
        grant_format(&g, text, sizeof text);
        log_event(rc < 0 ? LOG_ERROR : LOG_INFO, "grant_ended", "plugin", e->name, "grant", text, "left",
                  rc < 0 ? e->op.error.message : NULL, NULL);
    }
}

/* The workers first, then the record: a host that dies in between finds the grant again, ended. */
static int end_grants(struct end_op *e, struct job *job, struct decisions *before)
{
    struct service *s = e->op.s;
    struct manifest *m = NULL;
    struct error none;
    struct policy_answer was, is;
    char publisher[REGISTRY_PUBLISHER_MAX + 1] = "";
    int known = current_manifest(job, e->name, &m, publisher, &none);
    int rc = find_ended(e, before, m, publisher, &was);
    if (rc == 0 && e->ended.count && m) {
        decisions_answer(m, publisher, before, &is);
        rc = follow_less(s, job, e->name, m->version, &was, &is, &e->op.error);
    } else if (rc == 0 && e->ended.count && !nothing_can_run(known)) {
        rc = follow_less(s, job, e->name, NULL, NULL, NULL, &e->op.error);
    } else if (rc < 0) { /* not all of them are known: nothing followed, and all are found again */
        log_event(LOG_ERROR, "expiry_failed", "plugin", e->name, "why", e->op.error.message, NULL);
        e->ended.count = 0;
    }
    manifest_unref(m);
    struct registry_command c = {.verb = REGISTRY_GRANT_END,
                                 .grant_end = {.name = e->name, .list = e->ended.list, .count = e->ended.count}};
    struct error unwritten;
    if (e->ended.count && op_write(&e->op, &c, rc < 0 ? &unwritten : &e->op.error) < 0 && rc == 0)
        rc = -(int)e->op.error.code;
    if (e->ended.count)
        tell_ended(e, rc);
    return rc;
}

static void end_of_plugin(struct op *op, struct job *job)
{
    struct end_op *e = (struct end_op *)op;
    struct decisions before = {0};
    int rc = decisions_read(job, e->name, &before, &op->error);
    if (rc == 0)
        rc = end_grants(e, job, &before);
    decisions_free(&before);
    op_end(op, rc);
}

static void ended(void *context, const struct error *error, struct buf *result)
{
}

static void begin_end(struct service *s, const char *name)
{
    struct end_op *e = op_new(s, sizeof *e, ended, NULL);
    if (!e)
        return;
    e->op.clear = clear;
    snprintf(e->name, sizeof e->name, "%s", name);
    op_begin(&e->op, e->name, end_of_plugin);
}

/* ---- all of them ---- */

static void time_now(const struct service *s, struct registry_home_time *out)
{
    memcpy(out->boot, s->time.boot, sizeof out->boot);
    out->boot_ns = home_time_boot_clock();
    out->time_ns = home_time_at(&s->time, out->boot_ns);
}

static int keep_time(struct op *op)
{
    struct registry_command c = {.verb = REGISTRY_HOME_TIME};
    time_now(op->s, &c.home_time);
    return op_write(op, &c, &op->error);
}

/* What the decisions with an end say together; those of a plugin stand together. */
struct ends {
    struct service *s;
    uint64_t now, next; /* next: after now; 0: none */
    bool timed;
    char begun[MANIFEST_NAME_MAX + 1]; /* the last plugin whose grants are being ended */
};

static bool note_end(void *context, const struct registry_decision *d)
{
    struct ends *e = context;
    e->timed = true;
    if (d->until > e->now) {
        e->next = e->next && e->next < d->until ? e->next : d->until;
    } else if (strcmp(e->begun, d->name) != 0) {
        snprintf(e->begun, sizeof e->begun, "%s", d->name);
        begin_end(e->s, d->name);
    }
    return true;
}

static void look(struct op *op, struct job *job)
{
    struct service *s = op->s;
    struct ends e = {.s = s, .now = service_now(s)};
    int rc = registry_each_timed(job->reader, note_end, &e, &op->error);
    if (rc == 0 && e.timed)
        rc = keep_time(op);
    if (rc < 0)
        log_event(LOG_ERROR, "expiry_failed", "why", op->error.message, NULL);
    pthread_mutex_lock(&s->expiry.lock);
    s->expiry.timed = e.timed || rc < 0;
    s->expiry.next_s = 0;
    pthread_mutex_unlock(&s->expiry.lock);
    if (e.timed || rc < 0)
        expiry_note(s, rc < 0 ? e.now + 1 : e.next ? e.next : e.now + KEEP_S);
    op_end(op, 0);
}

static void fired(struct loop_watch *watch, uint32_t events)
{
    struct expiry *e = (struct expiry *)(void *)((char *)watch - offsetof(struct expiry, watch));
    struct service *s = (struct service *)(void *)((char *)e - offsetof(struct service, expiry));
    uint64_t times;
    (void)events;
    if (read(e->timer, &times, sizeof times) != sizeof times)
        return;
    struct op *op = op_new(s, sizeof *op, ended, NULL);
    if (op)
        op_begin(op, NULL, look);
}

/* ---- open and close ---- */

static void run_begin(struct loop_task *task)
{
    struct expiry *e = (struct expiry *)(void *)((char *)task - offsetof(struct expiry, begin));
    struct service *s = (struct service *)(void *)((char *)e - offsetof(struct service, expiry));
    struct error err;
    e->watch = (struct loop_watch){.fd = e->timer, .ready = fired};
    if (loop_watch(s->loops[0], &e->watch, EPOLLIN, &err) < 0)
        log_event(LOG_ERROR, "expiry_failed", "why", err.message, NULL);
}

static bool is_timed(void *context, const struct registry_decision *d)
{
    *(bool *)context = true;
    return false;
}

static int read_time(struct service *s, struct registry_reader *reader, struct error *err)
{
    struct registry_home_time stored;
    char boot[40];
    int rc = registry_find_home_time(reader, &stored, err);
    if (rc < 0)
        return rc;
    home_time_boot_name(boot);
    home_time_begin(rc ? &stored : NULL, boot, home_time_boot_clock(), clock_wall_ns(), &s->time);
    return 0;
}

int expiry_open(struct service *s, struct registry_reader *reader, struct error *err)
{
    struct expiry *e = &s->expiry;
    bool timed = false;
    int rc = read_time(s, reader, err);
    if (rc < 0)
        return rc;
    e->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (e->timer < 0)
        return error_set(err, MOAT_E_LIMIT, "no timer for the ends of grants");
    rc = registry_each_timed(reader, is_timed, &timed, err);
    if (rc == 0 && timed)
        expiry_note(s, service_now(s)); /* looks at once, at what ended while nobody ran */
    return rc;
}

void expiry_start(struct service *s)
{
    s->expiry.begin.run = run_begin;
    loop_post(s->loops[0], &s->expiry.begin);
}

void expiry_close(struct service *s)
{
    struct registry_command c = {.verb = REGISTRY_HOME_TIME};
    if (s->registry && s->expiry.timed) {
        time_now(s, &c.home_time);
        registry_run(s->registry, &c, NULL); /* when it cannot be kept, what was kept before holds */
    }
    io_close(&s->expiry.timer);
}
