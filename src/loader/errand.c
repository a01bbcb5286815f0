#include "loader/errand.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "loader/change.h"
#include "loader/hand.h"
#include "loader/internal.h"

static void wipe(struct errand *e)
{
    if (e->bytes)
        explicit_bzero(e->bytes, e->len);
    free(e->bytes);
    e->bytes = NULL;
    e->len = 0;
}

/* ---- supervise ---- */

void worker_pause(struct worker *w)
{
    worker_flag(w, WORKER_PAUSED);
    plugin_kick(w->plugin);
}

/* Who sets a flag on a worker without one counts it, who takes the last one off counts it back: two atomic exchanges on
 * the same word, so that one sees the other. */
void worker_resume(struct worker *w)
{
    if (atomic_fetch_and(&w->flags, ~(uint32_t)WORKER_PAUSED) == WORKER_PAUSED)
        atomic_fetch_sub(&w->plugin->flagged, 1);
    plugin_kick(w->plugin);
}

bool errand_is_free(const struct worker *w)
{
    return atomic_load(&w->errand.state) == ERRAND_NONE;
}

static void told(struct loop_task *task);

bool errand_send(struct worker *w, enum channel_kind kind, uint8_t *bytes, size_t len, uint64_t span_ns)
{
    struct errand *e = &w->errand;
    if (!errand_is_free(w))
        return false;
    e->task.run = told;
    e->kind = kind;
    e->bytes = bytes;
    e->len = len;
    e->span_ns = span_ns;
    atomic_store(&e->state, ERRAND_ASKED);
    worker_pause(w);
    return true;
}

bool errand_withdraw(struct worker *w)
{
    int asked = ERRAND_ASKED;
    if (!atomic_compare_exchange_strong(&w->errand.state, &asked, ERRAND_NONE))
        return false;
    wipe(&w->errand);
    return true;
}

void errand_clear(struct worker *w)
{
    wipe(&w->errand);
    free(w->errand.blob);
    w->errand.blob = NULL;
}

static void told(struct loop_task *task)
{
    struct worker *w = (struct worker *)(void *)((char *)task - offsetof(struct worker, errand.task));
    struct errand *e = &w->errand;
    struct errand answer = {.kind = e->kind, .answer = e->answer, .blob = e->blob, .blob_len = e->blob_len};
    memcpy(answer.message, e->message, sizeof answer.message);
    e->blob = NULL;
    wipe(e);
    atomic_store(&e->state, ERRAND_NONE);
    if (answer.kind == CHANNEL_CONFIGURE)
        change_told(w, &answer);
    else
        hand_told(w, &answer);
    free(answer.blob);
}

void errand_death(const struct worker *w, struct error *err)
{
    int why = atomic_load(&w->why);
    if (why == KILL_DEADLINE || why == KILL_CANCELLED)
        error_set(err, MOAT_E_DEADLINE, "it did not answer in time and was ended");
    else
        worker_describe_death(w, err);
}

/* ---- the loop ---- */

static void tell(struct worker *w, enum errand_answer answer, const char *message)
{
    struct errand *e = &w->errand;
    e->answer = answer;
    text_plain(e->message, sizeof e->message, message, strlen(message)); /* the plugin's words */
    atomic_store(&e->state, ERRAND_TOLD);
    loop_post(w->l->supervise, &e->task);
}

void errand_serve(struct worker *w, uint64_t now)
{
    struct errand *e = &w->errand;
    int asked = ERRAND_ASKED;
    if (lane_flying(&w->lane) || atomic_load(&w->flags) != WORKER_PAUSED ||
        !atomic_compare_exchange_strong(&e->state, &asked, ERRAND_SENT))
        return;
    if (!lane_request(w, e->kind, e->bytes, e->len, now, now + e->span_ns))
        tell(w, ERRAND_NOT_SUPPORTED, "it does not fit into the channel");
}

void errand_answered(struct worker *w, const struct channel_answer *a)
{
    struct errand *e = &w->errand;
    if (atomic_load(&e->state) != ERRAND_SENT)
        return;
    if (a->kind == CHANNEL_FAILURE) {
        char text[2050];
        const char *code, *message;
        lane_failure(a, text, sizeof text, &code, &message);
        tell(w, strcmp(code, "not_supported") == 0 ? ERRAND_NOT_SUPPORTED : ERRAND_REFUSED, message);
        return;
    }
    if (e->kind == CHANNEL_SAVE) {
        e->blob = malloc(a->len + 1);
        e->blob_len = a->len;
        if (!e->blob) {
            tell(w, ERRAND_REFUSED, "there is no memory for its state");
            return;
        }
        memcpy(e->blob, a->shared, a->len); /* any bytes: they mean something to the plugin only */
    }
    tell(w, ERRAND_DONE, "");
}
