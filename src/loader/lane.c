/* A worker's channel as its owner works it: calls in, answers out, deadlines, and what becomes of calls when the worker
 * dies.  The worker answers in order, so the oldest flight is the one that runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"

#define BURY_RECORDS 4096

static struct flight *flight_at(struct lane *lane, uint32_t i)
{
    return &lane->flights[i % CHANNEL_WINDOW];
}

/* For denials: what the worker does just now, as far as the host can know. */
static void tell_running(struct worker *w)
{
    struct lane *lane = &w->lane;
    uint32_t running = 0;
    if (lane_flying(lane) && flight_at(lane, lane->head)->kind == CHANNEL_CALL)
        running = flight_at(lane, lane->head)->action + 1;
    if (atomic_load_explicit(&w->running, memory_order_relaxed) != running)
        atomic_store_explicit(&w->running, running, memory_order_relaxed);
    atomic_store_explicit(&w->tally.in_flight, lane_flying(lane), memory_order_relaxed);
}

/* The flight at the head: what the worker says is about it, and its CPU time counts from here. */
static void now_runs(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    struct flight *f = flight_at(lane, lane->head);
    lines_running(w, f->call, f->action);
    if (!w->gen->cpu_ns || f->kind != CHANNEL_CALL)
        return;
    overrun_cpu_begin(w, f, now);
    if (f->cpu_at < lane->soonest)
        lane->soonest = f->cpu_at;
}

static void take_off(struct worker *w, const struct flight *flight)
{
    struct lane *lane = &w->lane;
    if (!lane_flying(lane) || flight->deadline_ns < lane->soonest)
        lane->soonest = flight->deadline_ns;
    *flight_at(lane, lane->tail++) = *flight;
    if (lane_flying(lane) == 1)
        now_runs(w, flight->sent_ns);
    lane->pushed = true;
    tell_running(w);
    if (w->gen->quota)
        quota_arm(w->gen->quota);
}

static uint64_t estimate(const struct worker *w, uint32_t action)
{
    return atomic_load_explicit(&w->gen->estimate[action], memory_order_relaxed);
}

/* ---- in ---- */

static int late(struct call *c)
{
    char span[32];
    struct hidden *h = call_hidden(c);
    clock_format_span(h->deadline_ns - h->begun_ns, span);
    return error_set(&c->error, MOAT_E_DEADLINE, "%s.%s did not answer within %s", c->plugin, c->action, span);
}

static int cancelled(struct call *c)
{
    return error_set(&c->error, MOAT_E_CANCELLED, "the call of %s.%s was cancelled", c->plugin, c->action);
}

/* Why a call must not run (any longer), or 0. */
static int over(struct call *c, uint64_t now)
{
    struct hidden *h = call_hidden(c);
    if (atomic_load_explicit(&h->cancel, memory_order_relaxed))
        return cancelled(c);
    return now >= h->deadline_ns ? late(c) : 0;
}

enum pushed lane_push(struct worker *w, struct call *c, uint64_t now, struct call_list *here)
{
    struct lane *lane = &w->lane;
    struct hidden *h = call_hidden(c);
    int rc = over(c, now);
    if (rc) {
        call_finish(c, rc, here);
        return PUSH_FINISHED;
    }
    uint8_t *room = channel_reserve(lane->ch, c->parameters_len);
    if (!room)
        return PUSH_FULL;
    /* A copy was checked with its generation's schema; another generation's may differ. */
    if (h->copy && h->gen == w->gen) {
        memcpy(room, h->copy, c->parameters_len);
    } else if ((rc = call_check(c, w->gen, room))) {
        channel_unreserve(lane->ch);
        call_finish(c, rc, here);
        return PUSH_FINISHED;
    }
    struct flight f = {
        .call = c, .sent_ns = now, .deadline_ns = h->deadline_ns, .action = h->action, .kind = CHANNEL_CALL};
    struct flight *cookie = flight_at(lane, lane->tail);
    f.slot = (uint16_t)channel_submit(lane->ch, CHANNEL_CALL, h->action, h->deadline_ns, c->parameters_len, cookie);
    atomic_store_explicit(&h->state, CALL_SENT, memory_order_relaxed);
    h->sent_ns = now;
    lane->work_ns += estimate(w, h->action);
    take_off(w, &f);
    return PUSHED;
}

bool lane_request(struct worker *w, enum channel_kind kind, const uint8_t *bytes, size_t len, uint64_t now,
                  uint64_t deadline_ns)
{
    struct lane *lane = &w->lane;
    uint8_t *room = channel_reserve(lane->ch, len);
    if (!room)
        return false;
    if (len)
        memcpy(room, bytes, len);
    struct flight f = {.sent_ns = now, .deadline_ns = deadline_ns, .kind = (uint8_t)kind};
    f.slot = (uint16_t)channel_submit(lane->ch, kind, 0, deadline_ns, len, flight_at(lane, lane->tail));
    take_off(w, &f);
    return true;
}

bool lane_control(struct worker *w, enum channel_kind kind, uint64_t now, uint64_t deadline_ns)
{
    return lane_request(w, kind, NULL, 0, now, deadline_ns);
}

/* ---- out ---- */

static int not_as_promised(struct call *c, const struct json_fault *fault)
{
    if (fault->code == MOAT_E_INTERNAL)
        return error_set(&c->error, MOAT_E_INTERNAL, "the result of %s.%s: %s", c->plugin, c->action, fault->reason);
    if (fault->code == MOAT_E_BAD_JSON)
        return error_set(&c->error, MOAT_E_BAD_RESULT, "%s.%s answered something that is not JSON", c->plugin,
                         c->action);
    /* One that takes too many steps to check is no better than one that does not fit: nobody knows what it is. */
    error_set(&c->error, MOAT_E_BAD_RESULT, "the result of %s.%s is not what its manifest promises: %s%s%s", c->plugin,
              c->action, fault->pointer, *fault->pointer ? ": " : "", fault->reason);
    call_detail(c, fault);
    return -MOAT_E_BAD_RESULT;
}

/* Shared memory is the worker's to change: what is checked is the copy. */
static bool copy_result(const struct manifest_action *action, uint8_t *result, const struct channel_answer *a,
                        struct json_fault *fault)
{
    if (action->promises)
        return json_schema_copy_check(action->result, result, a->shared, a->len, fault) == 0;
    fault->code = MOAT_E_BAD_JSON;
    return json_copy_valid(result, a->shared, a->len);
}

static int take_result(struct worker *w, struct call *c, const struct channel_answer *a)
{
    uint8_t *result = malloc(a->len + JSON_PAD);
    if (!result)
        return error_set(&c->error, MOAT_E_OUT_OF_MEMORY, "no memory for the result of %s.%s", c->plugin, c->action);
    struct json_fault fault;
    if (!copy_result(&w->gen->spec->manifest->actions[call_hidden(c)->action], result, a, &fault)) {
        free(result);
        return not_as_promised(c, &fault);
    }
    result[a->len] = '\0';
    c->result = result;
    c->result_len = a->len;
    return 0;
}

static bool is_word(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n <= 32 && !text[n];
}

/* "code NUL message", in the plugin's words: copied once, then made harmless. */
void lane_failure(const struct channel_answer *a, char *text, size_t size, const char **code, const char **message)
{
    size_t n = a->len < size - 2 ? a->len : size - 2;
    memcpy(text, a->shared, n);
    text[n] = text[n + 1] = '\0';
    *code = text;
    *message = text + strlen(text) + 1;
    if (*message > text + n)
        *message = "";
    if (!is_word(*code))
        *code = "failed";
}

static int take_failure(const struct worker *w, struct call *c, const struct channel_answer *a)
{
    char text[2050];
    const char *code, *message;
    lane_failure(a, text, sizeof text, &code, &message);
    if (strcmp(code, "cancelled") == 0 && atomic_load(&call_hidden(c)->cancel))
        return cancelled(c);
    struct overrun o;
    if (overrun_of_failure(w, &o))
        return overrun_error(w, &o, &c->error, "%s.%s failed: %s: %s", c->plugin, c->action, code, message);
    error_set(&c->error, MOAT_E_ACTION_FAILED, "%s.%s failed: %s: %s", c->plugin, c->action, code, message);
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_printf(&detail, "{\"code\":\"%s\",\"message\":", code);
    char shown[150]; /* six characters of JSON each at most */
    if (strlen(message) < sizeof c->error.detail / 7)
        text_json_string(&detail, message);
    else
        text_json_string(&detail, (text_copy(shown, sizeof shown, message), shown));
    if (buf_putc(&detail, '}'))
        memcpy(c->error.detail, detail.data, detail.len + 1);
    return -MOAT_E_ACTION_FAILED;
}

static void fill_receipt(struct worker *w, struct call *c, const struct flight *f, uint64_t ran, size_t out)
{
    struct hidden *h = call_hidden(c);
    struct receipt *r = &c->receipt;
    r->queued_ns = f->sent_ns > h->begun_ns ? f->sent_ns - h->begun_ns : 0;
    r->ran_ns = ran;
    r->cpu_ns = w->lane.cpu_share < ran ? w->lane.cpu_share : ran;
    r->bytes_in = c->parameters_len;
    r->bytes_out = out;
    memcpy(r->version, w->gen->version, sizeof r->version);
    ask_account(w, r);
}

/* A loop reads the clock each time the channel runs empty, so that a call alone has a reading of its own; a thread that
 * borrowed the worker only after a long call or once in a while: the reading costs a tenth of a short one. */
#define CPU_LONG_NS (20 * NS_PER_US)
#define CPU_SPAN_NS (10 * NS_PER_MS)

static void look_at_cpu(struct worker *w, struct call *c, uint64_t ran, uint64_t now)
{
    struct lane *lane = &w->lane;
    lane->cpu_calls++;
    if (lane_flying(lane))
        return;
    bool lent = c && call_hidden(c)->lent;
    if (!lent || ran > CPU_LONG_NS || now - lane->cpu_seen_at > CPU_SPAN_NS)
        tally_cpu(w, now);
}

static void learn(struct worker *w, uint32_t action, uint64_t ran)
{
    _Atomic uint32_t *e = &w->gen->estimate[action];
    int64_t old = atomic_load_explicit(e, memory_order_relaxed);
    int64_t seen = ran > UINT32_MAX / 2 ? UINT32_MAX / 2 : (int64_t)ran;
    int64_t next = old + (seen - old) / 4;
    if (next != old)
        atomic_store_explicit(e, (uint32_t)next, memory_order_relaxed);
}

/* A canary's is no news of the plugin, nor is that of what drains. */
static void tell_health(struct worker *w, enum health health, const char *why)
{
    struct plugin *p = w->plugin;
    pthread_mutex_lock(&p->lock);
    bool current = w->gen == p->current;
    pthread_mutex_unlock(&p->lock);
    if (current)
        plugin_health(p, health, why);
}

static void control_answered(struct worker *w, const struct flight *f, const struct channel_answer *a)
{
    if (f->kind == CHANNEL_CONFIGURE || f->kind == CHANNEL_SAVE || f->kind == CHANNEL_RESTORE) {
        errand_answered(w, a);
        return;
    }
    if (a->kind != CHANNEL_FAILURE) {
        if (f->kind == CHANNEL_HEALTH)
            tell_health(w, HEALTH_HEALTHY, "");
        return;
    }
    char text[2050];
    const char *code, *message;
    lane_failure(a, text, sizeof text, &code, &message);
    if (f->kind == CHANNEL_SHUTDOWN)
        log_event(LOG_WARN, "plugin_shutdown_failed", "plugin", w->plugin->name, "message", message, NULL);
    if (f->kind == CHANNEL_HEALTH)
        tell_health(w, HEALTH_DEGRADED, message);
}

static void count(struct worker *w, const struct flight *f, uint64_t ran, uint64_t from, size_t out, uint64_t now)
{
    const struct call *c = f->call;
    const struct hidden *h = c ? call_hidden(f->call) : NULL;
    struct counted_run run = {.ran_ns = ran,
                              .waited_ns = h && from > h->begun_ns ? from - h->begun_ns : 0,
                              .cpu_ns = w->lane.cpu_share < ran ? w->lane.cpu_share : ran,
                              .in = c ? c->parameters_len : 0,
                              .out = out};
    tally_run(w, f->action, &run, now);
}

static void answered(struct worker *w, const struct channel_answer *a, struct call_list *here)
{
    struct lane *lane = &w->lane;
    struct flight f = *flight_at(lane, lane->head++);
    uint64_t now = ticks_now(), from = f.sent_ns > lane->prev_ns ? f.sent_ns : lane->prev_ns;
    uint64_t ran = now > from ? now - from : 0;
    lane->prev_ns = now;
    if (lane_flying(lane) && flight_at(lane, lane->head)->flagged)
        lane->soonest = 0; /* now it is the one that runs: its grace begins */
    if (lane_flying(lane))
        now_runs(w, now);
    tell_running(w);
    if (f.kind != CHANNEL_CALL) {
        control_answered(w, &f, a);
        return;
    }
    uint64_t expected = estimate(w, f.action);
    lane->work_ns = lane_flying(lane) && lane->work_ns > expected ? lane->work_ns - expected : 0;
    learn(w, f.action, ran);
    struct call *c = f.call;
    look_at_cpu(w, c, ran, now);
    count(w, &f, ran, from, a->len, now);
    if (!c) { /* it was answered when its time was over */
        ask_account(w, NULL);
        return;
    }
    int rc;
    if (f.flagged && !atomic_load(&call_hidden(c)->cancel))
        rc = late(c); /* within the grace, but late all the same */
    else if (a->kind == CHANNEL_RESULT)
        rc = take_result(w, c, a);
    else
        rc = take_failure(w, c, a);
    fill_receipt(w, c, &f, ran, a->len);
    outcome_tell(w, c, f.action, ran, rc);
    call_finish_in(w, c, rc, here);
}

static void progress(const struct channel_answer *a)
{
    const struct flight *f = a->cookie;
    struct call *c = f ? f->call : NULL;
    if (!c || !c->told)
        return;
    char text[LINES_TEXT_MAX];
    lines_take_text(a, text);
    unsigned thousandths = a->status < 1000 ? a->status : 1000;
    c->told(c, &(struct call_told){.progress = true, .thousandths = thousandths, .text = text});
}

static void broken(struct worker *w)
{
    uint32_t flags = atomic_load(&w->flags);
    if (flags & (WORKER_DEAD | WORKER_KILLED))
        return;
    text_copy(w->broken, sizeof w->broken, channel_broken_why(w->lane.ch));
    log_event(LOG_WARN, "plugin_broke_protocol", "plugin", w->plugin->name, "why", w->broken, NULL);
    tell_health(w, HEALTH_FAILED, w->broken);
    worker_kill(w, KILL_BROKEN);
}

unsigned lane_drain(struct worker *w, unsigned max, struct call_list *here)
{
    struct lane *lane = &w->lane;
    struct channel_answer a;
    unsigned n = 0;
    if (lane->armed)
        channel_disarm(lane->ch);
    lane->armed = false;
    for (; n < max; n++) {
        enum channel_got got = channel_next(lane->ch, &a);
        if (got == CHANNEL_BROKEN)
            broken(w);
        if (got != CHANNEL_GOT)
            break;
        if (a.kind == CHANNEL_LOG)
            lines_log(w, &a);
        else if (a.kind == CHANNEL_PROGRESS)
            progress(&a);
        else if (a.kind == CHANNEL_ASK)
            ask_take(w, flight_at(lane, lane->head), &a);
        else if (a.kind == CHANNEL_RESULT || a.kind == CHANNEL_FAILURE)
            answered(w, &a, here);
    }
    channel_release(lane->ch);
    return n;
}

/* ---- time ---- */

static void count_killed(struct worker *w, const struct call *c)
{
    pthread_mutex_lock(&w->plugin->lock);
    struct loader_figure *figure = record_figure(w->plugin, w->gen, c->action);
    if (figure)
        figure->executions++;
    w->plugin->killed_runs++;
    struct counts_due *due = counts_due(w->plugin, w->gen);
    if (due)
        due->killed++;
    pthread_mutex_unlock(&w->plugin->lock);
}

/* The call at the head has used up its CPU time: there is no grace in which it could use more. */
static void end_overrun(struct worker *w, struct flight *f, struct call_list *here)
{
    struct call *c = f->call;
    struct overrun o = {WALL_LIMIT_CPU, w->gen->cpu_ns, overrun_cpu_used(w, f)};
    outcome_tell(w, c, f->action, ticks_now() - f->sent_ns, -MOAT_E_LIMIT);
    worker_kill(w, KILL_CPU);
    f->call = NULL;
    count_killed(w, c);
    call_finish_in(w, c, overrun_error(w, &o, &c->error, "%s.%s was ended", c->plugin, c->action), here);
}

/* A call behind the one that runs is answered at once and left to the worker unrun; the one that runs sees the flag,
 * and has a moment to give up before its worker is killed. */
static uint64_t expire_one(struct worker *w, struct flight *f, bool head, uint64_t now, struct call_list *here)
{
    struct call *c = f->call;
    uint64_t look_at = UINT64_MAX;
    int rc = c ? over(c, now) : f->kind != CHANNEL_CALL && now >= f->deadline_ns ? -MOAT_E_DEADLINE : 0;
    if (rc && !f->flagged) {
        f->flagged = true;
        channel_cancel(w->lane.ch, f->slot);
        if (head && c)
            ask_withdraw(w, &c->error);
    }
    if (rc && c && !head) {
        f->call = NULL;
        call_finish_in(w, c, rc, here);
    }
    if (!f->flagged && head && c && (look_at = overrun_cpu(w, f, now)) == 0) {
        end_overrun(w, f, here);
        return UINT64_MAX;
    }
    if (!f->flagged && (c || f->kind != CHANNEL_CALL))
        return look_at < f->deadline_ns ? look_at : f->deadline_ns;
    if (!f->flagged)
        return UINT64_MAX;
    if (!head)
        return UINT64_MAX;
    if (!f->kill_at)
        f->kill_at = now + CANCEL_GRACE_NS;
    if (now < f->kill_at)
        return f->kill_at;
    enum kill_why why = c && rc == -MOAT_E_CANCELLED ? KILL_CANCELLED : KILL_DEADLINE;
    worker_kill(w, f->kind == CHANNEL_SHUTDOWN ? KILL_SHUTDOWN : why);
    if (c) {
        f->call = NULL;
        count_killed(w, c);
        outcome_tell(w, c, f->action, now - f->sent_ns, rc ? rc : -MOAT_E_DEADLINE);
        call_finish_in(w, c, rc ? rc : late(c), here);
    }
    return UINT64_MAX;
}

uint64_t lane_expire(struct worker *w, uint64_t now, struct call_list *here)
{
    struct lane *lane = &w->lane;
    if (!lane_flying(lane))
        return UINT64_MAX;
    bool look = atomic_load_explicit(&w->look, memory_order_relaxed) && atomic_exchange(&w->look, false);
    if (now < lane->soonest && !look)
        return lane->soonest;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = lane->head; i != lane->tail; i++) {
        uint64_t at = expire_one(w, flight_at(lane, i), i == lane->head, now, here);
        next = at < next ? at : next;
    }
    lane->soonest = next;
    return next;
}

/* ---- death ---- */

struct burial {
    struct worker *w;
    struct call_list *untaken, *here;
    unsigned buried;
    bool overran; /* again it would only do the same */
    struct overrun overrun;
};

/* How the process ended, in words. */
static void how_it_died(const struct worker *w, char out[160])
{
    int status = w->death.wait_status;
    int why = atomic_load(&w->why);
    if (why == KILL_BROKEN)
        snprintf(out, 160, "was ended because it broke the channel's protocol: %.80s", w->broken);
    else if (why == KILL_SPAWNER)
        snprintf(out, 160, "ended with the process that starts workers");
    else if (why == KILL_EXPLAIN)
        snprintf(out, 160, "was ended because nothing explained its calls any more");
    else if (why == KILL_DEADLINE || why == KILL_CANCELLED || why == KILL_CPU)
        snprintf(out, 160, "was ended because of another call that did not stop in time");
    else if (WIFSIGNALED(status))
        snprintf(out, 160, "was ended by SIG%s", sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
    else
        snprintf(out, 160, "ended by itself with status %d", WEXITSTATUS(status));
}

static void tell_death(struct worker *w, const struct call *c)
{
    char how[160];
    how_it_died(w, how);
    lines_death(w, c, how);
}

static int died(struct worker *w, struct call *c, const struct overrun *overrun)
{
    char how[160], line[LINE_MAX_SHOWN];
    switch (atomic_load(&w->why)) {
    case KILL_REVOKED:
        return error_set(&c->error, MOAT_E_PERMISSION_DENIED, "a right of %s was revoked while the call ran",
                         c->plugin);
    case KILL_QUOTA:
        pthread_mutex_lock(&w->plugin->lock);
        if (!quota_told(w->plugin, &c->error))
            error_set(&c->error, MOAT_E_LIMIT, "%s wrote more than it may", c->plugin);
        pthread_mutex_unlock(&w->plugin->lock);
        return -MOAT_E_LIMIT;
    case KILL_STOPPED:
        if (atomic_load(&w->l->closing))
            return error_set(&c->error, MOAT_E_DRAINING, "the host is shutting down");
        return error_set(&c->error, MOAT_E_WRONG_STATE, "%s was unloaded while the call ran", c->plugin);
    default:
        how_it_died(w, how);
        if (overrun)
            return overrun_error(w, overrun, &c->error, "%s's worker %s while it ran %s", c->plugin, how, c->action);
        pthread_mutex_lock(&w->plugin->lock);
        memcpy(line, w->last_line, sizeof line);
        pthread_mutex_unlock(&w->plugin->lock);
        return error_set(&c->error, MOAT_E_PLUGIN_CRASHED, "%s's worker %s while it ran %s%s%s%s", c->plugin, how,
                         c->action, *line ? "; last log line: \"" : "; it had logged nothing", line, *line ? "\"" : "");
    }
}

static void bury_one(void *cookie, bool taken, void *context)
{
    struct burial *b = context;
    struct flight *f = cookie;
    struct worker *w = b->w;
    struct call *c = f->call;
    w->lane.head++;
    if (!c)
        return;
    struct hidden *h = call_hidden(c);
    const struct manifest_action *action = &w->gen->spec->manifest->actions[f->action];
    int why = atomic_load(&w->why);
    bool first = !b->buried++,
         running = first && why == KILL_NOT; /* the oldest: what the worker says of a limit is about this one */
    if (running && taken)
        tell_death(w, c);
    bool again = action->idempotent && h->tries == 0 && why != KILL_REVOKED && why != KILL_STOPPED &&
                 why != KILL_QUOTA && !(running && b->overran);
    if (taken && first && (why == KILL_NOT || why == KILL_BROKEN))
        outcome_tell(w, c, f->action, ticks_now() - f->sent_ns, -MOAT_E_PLUGIN_CRASHED);
    if (!taken || again) {
        h->tries += taken;
        h->side = taken ? 0 : h->side; /* what a canary died of the current version tries */
        call_list_add(b->untaken, c);
        return;
    }
    count_killed(w, c);
    h->sent_ns = f->sent_ns;
    fill_receipt(w, c, f, ticks_now() - f->sent_ns, 0);
    call_finish_in(w, c, died(w, c, running && b->overran ? &b->overrun : NULL), b->here);
}

void lane_bury(struct worker *w, struct call_list *untaken, struct call_list *here)
{
    struct burial b = {.w = w, .untaken = untaken, .here = here};
    lane_drain(w, BURY_RECORDS, here);
    ask_withdraw(w, NULL);
    b.overran = atomic_load(&w->why) == KILL_NOT && overrun_of_death(w, &b.overrun);
    channel_abandon(w->lane.ch, bury_one, &b);
    if (!b.buried && atomic_load(&w->why) == KILL_NOT && !(atomic_load(&w->flags) & WORKER_RETIRED))
        tell_death(w, NULL);
    lines_tell_dropped(w);
    w->lane.work_ns = 0;
    tell_running(w);
}
