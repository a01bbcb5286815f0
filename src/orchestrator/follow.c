/* Following a task: who asks is brought to the task's loop, or, when it has ended, to what is remembered of it. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"
#include "service/tell.h"
#include "json/cursor.h"

struct asked {
    struct loop_task task;
    struct chore chore;
    struct orchestrator *o;
    struct run *run; /* a reference, while it runs */
    char id[ORCHESTRATOR_ID], after[40];
    struct task_following how;
};

static void refuse(struct asked *a, const struct error *err)
{
    a->how.ready(a->how.context, err, NULL);
}

/* With an event of its own: `state` of what goes on, `task_ended` of what does not. */
static void begin_with(struct asked *a, struct feed *feed, const char *name, const struct buf *json)
{
    struct error err;
    struct follow *f = json->failed ? NULL : follow_new(&a->how, feed, name, json);
    error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to follow the task");
    if (f)
        follow_begin(f);
    else
        refuse(a, &err);
}

/* ---- one that runs: on its loop ---- */

static struct feed *feed_of(struct run *r)
{
    struct feed *feed = atomic_load(&r->feed);
    if (!feed && !r->ended) {
        feed = feed_new();
        atomic_store(&r->feed, feed);
    }
    return feed;
}

static void follow_it(struct loop_task *task)
{
    struct asked *a = (struct asked *)(void *)((char *)task - offsetof(struct asked, task));
    struct run *r = a->run;
    struct feed *feed = feed_of(r);
    struct follow *f = feed && *a->after ? follow_after(&a->how, feed, a->after) : NULL;
    struct buf json = BUF_INIT(64u << 20);
    if (f) {
        follow_begin(f);
    } else if (r->ended) {
        document_end(&json, r);
        begin_with(a, NULL, "task_ended", &json);
    } else {
        document_run(&json, r);
        json.failed |= !feed;
        begin_with(a, feed, "state", &json);
    }
    buf_free(&json);
    run_unref(r);
    free(a);
}

/* ---- one that does not: on the planner ---- */

/* Of its document what document_end would tell. */
static void tell_end(struct buf *out, const uint8_t *document)
{
    static const char *const members[] = {"id", "name", "status", "error", "began", "ended", "receipt"};
    tell_open(out, NULL, '{');
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const uint8_t *value = cursor_get(document, members[i]);
        if (!value)
            continue;
        buf_printf(out, "%s\"%s\":", i ? "," : "", members[i]);
        buf_put(out, value, cursor_length(value));
    }
    tell_close(out, '}');
}

static void follow_remembered(struct chore *chore, struct registry_reader *unused)
{
    struct asked *a = (struct asked *)(void *)((char *)chore - offsetof(struct asked, chore));
    struct buf document = BUF_INIT(512u << 20), json = BUF_INIT(64u << 20);
    struct tasks_row row;
    struct error err;
    int rc = a->o->tasks ? tasks_find(a->o->reader, a->id, &row, &document, &err) : 0;
    if (rc == 0)
        rc = error_set(&err, MOAT_E_NOT_FOUND, "there is no task \"%.40s\": `moat task list` shows them", a->id);
    if (rc < 0) {
        refuse(a, &err);
    } else {
        if (row.ended_ns && document.len) {
            tell_end(&json, cursor_root(document.data));
        } else {
            document_interrupted(&json, &row);
            tell_close(&json, '}');
        }
        begin_with(a, NULL, "task_ended", &json);
    }
    buf_free(&document);
    buf_free(&json);
    free(a);
}

void orchestrator_follow(struct orchestrator *o, const char *id, const struct task_following *how)
{
    struct error err;
    struct asked *a = calloc(1, sizeof *a);
    if (!a) {
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to follow the task");
        how->ready(how->context, &err, NULL);
        return;
    }
    a->o = o;
    a->how = *how;
    if (!text_copy(a->id, sizeof a->id, id))
        *a->id = '\0'; /* nobody's */
    text_copy(a->after, sizeof a->after, how->after ? how->after : "");
    a->run = run_find(o, id);
    if (a->run) {
        a->task.run = follow_it;
        loop_post(a->run->place->loop, &a->task);
        return;
    }
    a->chore.work = follow_remembered;
    planner_post(o->planner, &a->chore);
}
