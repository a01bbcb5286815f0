/* What plugins say, told while it comes: each who follows has a place in the journal, which is the memory of all of
 * them, and at most one bite of it as text. Who falls behind what the journal keeps is told how much is missing.
 *
 * On its loop, but for wake; `coming` says that its task is in the loop's hands, or will be. */
#include <stdlib.h>
#include <string.h>

#include "service/log.h"

#define BITE 16      /* records that are made text at once */
#define BITES_MAX 64 /* that are looked at in one turn of the loop */
#define TEXT_MAX (1 << 20)

struct log_follow {
    struct loop_task task;
    struct journal *journal;
    struct log_filter filter;
    struct service_following how;
    struct error error;
    uint64_t at;      /* all up to this record was looked at */
    uint64_t beat_at; /* monotonic: the next heartbeat */
    struct buf text;
    size_t read;                     /* of the text */
    bool ready, coming, waits, left; /* ready: it has a seat */
};

static struct log_follow *of(struct loop_task *task)
{
    return (struct log_follow *)(void *)((char *)task - offsetof(struct log_follow, task));
}

static void follow_free(struct log_follow *f)
{
    if (f->ready)
        journal_stand(f->journal);
    buf_free(&f->text);
    free(f);
}

/* ---- what is told ---- */

static void beat_later(struct log_follow *f)
{
    f->beat_at = clock_mono_ns() + f->how.heartbeat_ns;
}

static void put_id(struct log_follow *f)
{
    buf_printf(&f->text, "id: %s-%llu\n", journal_name(f->journal), (unsigned long long)f->at);
}

static void put_record(struct log_follow *f, const struct record *r)
{
    buf_auto json = BUF_INIT(TEXT_MAX); /* of its own: what stands before a value decides about a comma */
    log_tell(&json, r);
    put_id(f);
    buf_puts(&f->text, "event: record\ndata: ");
    buf_put(&f->text, json.data, json.len);
    buf_puts(&f->text, "\n\n");
    f->text.failed |= json.failed;
}

static void put_dropped(struct log_follow *f, uint64_t events)
{
    buf_printf(&f->text, "event: dropped\ndata: {\"events\":%llu}\n\n", (unsigned long long)events);
}

/* The next of the journal: false when there is none. */
static bool take_bite(struct log_follow *f)
{
    struct record *some[BITE];
    size_t n = journal_take(f->journal, f->at + 1, UINT64_MAX, some, BITE);
    if (n && some[0]->seq > f->at + 1)
        put_dropped(f, some[0]->seq - f->at - 1);
    for (size_t i = 0; i < n; i++) {
        f->at = some[i]->seq;
        if (log_fits(&f->filter, some[i]))
            put_record(f, some[i]);
        record_unref(some[i]);
    }
    return n > 0;
}

/* ---- waiting for more ---- */

static bool fits(const void *context, const struct record *r)
{
    return log_fits(&((const struct log_follow *)context)->filter, r);
}

/* On the journal's thread: nobody else looks at it until its task has come. */
static void wake(void *context, uint64_t seen)
{
    struct log_follow *f = context;
    f->at = seen;
    loop_post(f->how.loop, &f->task);
}

static void come_again(struct log_follow *f)
{
    f->coming = true;
    loop_post(f->how.loop, &f->task);
}

/* Nothing is there: it is told when something is. false: nothing will be. */
static bool wait_for_more(struct log_follow *f)
{
    struct journal_waiter w = {
        .after = f->at, .until = f->beat_at, .fits = fits, .wake = wake, .context = f, .seated = true};
    f->coming = f->waits = true;
    switch (journal_wait(f->journal, &w)) {
    case JOURNAL_WAITS:
        return true;
    case JOURNAL_MOVED:
        f->waits = false;
        come_again(f);
        return true;
    case JOURNAL_ENDS:
    case JOURNAL_CROWDED:
        break;
    }
    f->coming = f->waits = false;
    return false;
}

static void on_loop(struct loop_task *task)
{
    struct log_follow *f = of(task);
    f->coming = f->waits = false;
    if (f->left) {
        follow_free(f);
    } else if (!f->ready) {
        f->ready = true;
        f->how.ready(f->how.context, NULL, f);
    } else {
        f->how.more(f->how.context);
    }
}

/* ---- reading ---- */

static long give(struct log_follow *f, void *room, size_t size)
{
    size_t left = f->text.len - f->read, n = left < size ? left : size;
    memcpy(room, f->text.data + f->read, n);
    f->read += n;
    if (f->read == f->text.len) {
        buf_clear(&f->text);
        f->read = 0;
    }
    beat_later(f);
    return (long)n;
}

/* How far it has looked, for who comes back: an id without an event. */
static void put_heartbeat(struct log_follow *f)
{
    if (clock_mono_ns() < f->beat_at)
        return;
    put_id(f);
    buf_puts(&f->text, "\n");
}

long log_follow_read(struct log_follow *f, void *room, size_t size)
{
    bool more = true;
    if (f->coming && !f->text.len)
        return 0; /* its place is the journal's to move meanwhile */
    for (unsigned i = 0; more && !f->text.len && i < BITES_MAX; i++)
        more = take_bite(f);
    if (!more && !f->text.len)
        put_heartbeat(f);
    if (f->text.failed)
        return LOG_FOLLOW_END; /* without memory: its client may come back */
    if (f->text.len)
        return give(f, room, size);
    if (more)
        come_again(f);
    return more || wait_for_more(f) ? 0 : LOG_FOLLOW_END;
}

void log_follow_end(struct log_follow *f)
{
    if (!f)
        return;
    if (!f->coming || (f->waits && journal_unwait(f->journal, f)))
        follow_free(f);
    else
        f->left = true;
}

/* ---- beginning ---- */

/* "NAME-NUMBER". Another server's is of records that are gone: from the first that there is. */
static bool parse_id(const struct journal *j, const char *id, uint64_t *at)
{
    size_t len = strcspn(id, "-");
    const char *digits = id[len] ? id + len + 1 : "";
    if (!*digits || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 19)
        return false;
    bool ours = len == strlen(journal_name(j)) && strncmp(id, journal_name(j), len) == 0;
    *at = ours ? strtoull(digits, NULL, 10) : UINT64_MAX;
    return true;
}

/* Where it begins: behind a record, or with the newest. */
static void begin(struct op *op, struct job *job)
{
    struct log_op *l = (struct log_op *)op;
    struct log_follow *f = l->follow;
    struct record *list[LOG_PAGE_MAX];
    if (op->code < 0) {
        op_end(op, op->code);
        return;
    }
    uint64_t newest = journal_span(op->s->journal).newest;
    l->limit = l->goes_on ? 1 : l->limit;
    size_t n = log_newest(l, newest, list);
    f->at = n ? list[0]->seq - 1 : newest;
    if (l->goes_on)
        f->at = l->after > newest ? 0 : l->after;
    for (size_t i = 0; i < n; i++)
        record_unref(list[i]);
    op_end(op, log_check_name(l, job, n));
}

static void begun(void *context, const struct error *error, struct buf *result)
{
    struct log_follow *f = context;
    (void)result;
    if (!error && !journal_sit(f->journal)) {
        error_set(&f->error, MOAT_E_QUEUE_FULL, "%d others follow the log already", JOURNAL_SEATS);
        error = &f->error;
    }
    if (error) {
        f->how.ready(f->how.context, error, NULL);
        follow_free(f);
        return;
    }
    buf_puts(&f->text, "retry: 1000\n\n");
    come_again(f);
}

static int parse(struct log_op *l, const struct service_log *filter, const char *last, struct error *err)
{
    int rc = log_parse(l, filter, err);
    if (rc == 0 && (filter->before || filter->wait))
        return error_set(err, MOAT_E_BAD_REQUEST, "`before` and `wait` are of pages: who follows is told what comes");
    if (rc < 0 || !last)
        return rc;
    l->goes_on = true;
    return parse_id(l->op.s->journal, last, &l->after)
               ? 0
               : error_set(err, MOAT_E_BAD_REQUEST, "the id of the last event is none of this log");
}

void service_log_follow(struct service *s, const struct service_log *filter, const struct service_following *how)
{
    struct error err;
    struct log_follow *f = calloc(1, sizeof *f);
    if (!f) {
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to follow the log");
        how->ready(how->context, &err, NULL);
        return;
    }
    f->task.run = on_loop;
    f->journal = s->journal;
    f->how = *how;
    f->how.last = NULL;
    f->text = BUF_INIT(TEXT_MAX);
    f->beat_at = clock_mono_ns() + how->heartbeat_ns;
    struct log_op *l = op_new(s, sizeof *l, begun, f);
    if (!l)
        return;
    l->follow = f;
    l->op.code = parse(l, filter, how->last, &l->op.error);
    f->filter = l->filter;
    op_begin(&l->op, NULL, begin);
}
