/* Blocking calls: a thread borrows an idle worker, works its channel itself and waits there for its own answers,
 * spinning where a CPU is to spare.  Without an idle worker its calls stand in the queue like everyone's. */
#include <sched.h>
#include <string.h>

#include "loader/internal.h"

#define QUEUED_AT_ONCE 32 /* of one thread in the queue: others want their turn too */
#define RECORDS_AT_ONCE 256

/* ---- borrowing ---- */

static uint32_t flags_of(const struct worker *w)
{
    return atomic_load_explicit(&w->flags, memory_order_acquire);
}

struct worker *worker_borrow(struct plugin *p)
{
    if (atomic_load_explicit(&p->queued, memory_order_relaxed) || !atomic_load_explicit(&p->open, memory_order_acquire))
        return NULL; /* who waits in the queue was here first */
    uint32_t slots = atomic_load_explicit(&p->slots, memory_order_relaxed);
    for (uint32_t i = 0; i < slots; i++) {
        if (!atomic_load_explicit(&p->idle[i], memory_order_relaxed))
            continue;
        struct worker *w = atomic_exchange(&p->idle[i], NULL);
        if (!w)
            continue;
        if (!flags_of(w))
            return w;
        worker_return(w);
    }
    return NULL;
}

/* The exchange orders the return before the look at what came in meanwhile: whoever flags a worker or queues a call has
 * the loop look at the slots after that, so one of the two sees the other.  w itself may be gone after the exchange. */
void worker_return(struct worker *w)
{
    struct plugin *p = w->plugin;
    atomic_exchange(&p->idle[w->slot], w);
    if (atomic_load(&p->queued) || atomic_load(&p->flagged))
        plugin_kick(p);
}

/* ---- spinning ---- */

#define SPIN_GAP_NS (20 * NS_PER_US)   /* calls that follow each other this fast … */
#define SPIN_STREAK 32                 /* … so many times */
#define SPIN_IDLE_NS (100 * NS_PER_US) /* an idle spinner's place is free for another */
#define SPIN_LONG_NS (50 * NS_PER_US)  /* longer calls gain nothing */

static bool spin_take(struct spin_slot *slot, struct worker *w, uint64_t now)
{
    struct worker *holder = atomic_load_explicit(&slot->holder, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&slot->used_ns, memory_order_relaxed);
    if (holder && holder != w && now - used < SPIN_IDLE_NS)
        return false;
    if (!atomic_compare_exchange_strong(&slot->holder, &holder, w))
        return false;
    atomic_store_explicit(&slot->used_ns, now, memory_order_relaxed);
    return true;
}

/* At most one spinner for each CPU beyond the first: spinning where somebody else could run is the worst of all. */
static bool spin_claim(struct worker *w, uint64_t now)
{
    struct loader *l = w->l;
    struct lane *lane = &w->lane;
    for (unsigned i = 0; i < l->spinners; i++) {
        if (!spin_take(&l->spin[i], w, now))
            continue;
        lane->spin_slot = (int)i;
        lane->spin_cpu = sched_getcpu();
        lane->spins = true;
        channel_allow_spin(lane->ch, true);
        return true;
    }
    lane->streak = 0;
    return false;
}

void spin_forget(struct worker *w)
{
    struct worker *mine = w;
    if (w->lane.spins)
        atomic_compare_exchange_strong(&w->l->spin[w->lane.spin_slot].holder, &mine, NULL);
    w->lane.spins = false;
}

void spin_end(struct worker *w)
{
    if (!w->lane.spins)
        return;
    spin_forget(w);
    w->lane.streak = 0;
    channel_allow_spin(w->lane.ch, false);
}

/* Keeps what was granted before; the place may have been taken over meanwhile. */
static bool spin_still(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    struct spin_slot *slot = &w->l->spin[lane->spin_slot];
    bool idle = now > lane->lent_ns + SPIN_IDLE_NS;
    if (idle || atomic_load_explicit(&slot->holder, memory_order_relaxed) != w) {
        spin_end(w);
        return false;
    }
    atomic_store_explicit(&slot->used_ns, now, memory_order_relaxed);
    int cpu = sched_getcpu();
    if (cpu != lane->spin_cpu) { /* this thread was moved, perhaps onto the worker's CPU */
        channel_allow_spin(lane->ch, false);
        channel_allow_spin(lane->ch, true);
        lane->spin_cpu = cpu;
    }
    return true;
}

static bool spin_begin(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    if (lane->spins)
        return spin_still(w, now);
    lane->streak = now < lane->lent_ns + SPIN_GAP_NS ? lane->streak + 1 : 0;
    return lane->streak >= SPIN_STREAK && spin_claim(w, now);
}

/* After each wait: many answers in a row deserve it, a long wait ends it. */
static bool spin_again(struct worker *w, bool spins, unsigned answers, uint64_t waited, uint64_t now)
{
    struct lane *lane = &w->lane;
    if (waited > SPIN_LONG_NS) {
        spin_end(w);
        lane->streak = 0;
        return false;
    }
    if (spins)
        return true;
    lane->streak += answers;
    return lane->streak >= SPIN_STREAK && spin_claim(w, now);
}

/* ---- running on a borrowed worker ---- */

struct loan {
    struct loader *l;
    struct worker *w;
    struct call *const *calls;
    size_t n;
    size_t opened;     /* calls before this one have their id and deadline */
    size_t sent, done; /* calls before `done` are over; those before `sent` have been in a channel or are over */
};

static bool is_done(const struct call *c)
{
    return atomic_load_explicit(&call_hidden((struct call *)(uintptr_t)c)->state, memory_order_relaxed) == CALL_DONE;
}

static void loan_open(struct loan *loan, struct call *c, uint64_t now)
{
    struct hidden *h = call_hidden(c);
    h->waiter = NULL;
    h->gen = NULL;
    h->copy = NULL;
    call_open(loan->l, loan->w->plugin, c, loan->w->gen, now);
    loan->opened++;
    h->lent = true;
    int rc = call_too_large(loan->l, c);
    if (rc)
        call_finish(c, rc, NULL);
}

static void loan_push(struct loan *loan, uint64_t now)
{
    struct worker *w = loan->w;
    size_t first = loan->sent;
    while (loan->sent < loan->n && !flags_of(w)) {
        struct call *c = loan->calls[loan->sent];
        if (loan->sent >= loan->opened)
            loan_open(loan, c, now);
        call_hidden(c)->lent = true;
        if (!is_done(c) && lane_push(w, c, now, NULL) == PUSH_FULL)
            break;
        loan->sent++;
    }
    if (w->lane.pushed && !w->lane.placed) {
        channel_place(w->lane.ch, w->child.pid);
        w->lane.placed = true;
    }
    if (w->lane.pushed)
        channel_ring(w->lane.ch);
    w->lane.pushed = false;
    /* Who cancels sets the flag, then looks where the call is; we showed where it is, then looked at the flag, and both
     * looks may have come too early. Ringing has a full fence: after it one of the two sees the other. */
    for (size_t i = first; i < loan->sent; i++)
        if (atomic_load_explicit(&call_hidden(loan->calls[i])->cancel, memory_order_relaxed))
            atomic_store_explicit(&w->look, true, memory_order_relaxed);
}

static void loan_bury(struct loan *loan)
{
    struct call_list untaken; /* not needed: whatever is not over is sent again from `done` on */
    call_list_init(&untaken);
    lane_bury(loan->w, &untaken, NULL);
}

/* true: the loan is at its end. */
static bool loan_over(struct loan *loan)
{
    uint32_t flags = flags_of(loan->w);
    while (loan->done < loan->sent && is_done(loan->calls[loan->done]))
        loan->done++;
    if (flags & WORKER_DEAD) {
        loan_bury(loan);
        while (loan->done < loan->sent && is_done(loan->calls[loan->done]))
            loan->done++;
        return true;
    }
    /* A killed worker's flights are nobody's any more: its loop sees it off. */
    bool empty = !lane_flying(&loan->w->lane) || flags & WORKER_KILLED;
    return empty && loan->done == loan->sent && (loan->sent == loan->n || flags);
}

static void nap(void)
{
    struct timespec t = {.tv_nsec = 200 * NS_PER_US};
    nanosleep(&t, NULL);
}

/* How many calls are over. The others, from there on, are to be sent again. */
static size_t run_lent(struct loan *loan)
{
    struct worker *w = loan->w;
    struct lane *lane = &w->lane;
    uint64_t now = ticks_now();
    bool spins = w->l->spinners && spin_begin(w, now);
    loan_push(loan, now);
    while (!loan_over(loan)) {
        uint64_t waits = now;
        uint64_t until = lane_expire(w, now, NULL);
        if (flags_of(w) & WORKER_KILLED)
            nap(); /* its channel may be broken, and then there is nothing to wait on */
        else if (until > now)
            channel_wait(lane->ch, until == UINT64_MAX ? 0 : until, spins);
        unsigned answers = lane_drain(w, RECORDS_AT_ONCE, NULL);
        now = answers ? lane->prev_ns : ticks_now();
        if (w->l->spinners)
            spins = spin_again(w, spins, answers, now - waits, now);
        loan_push(loan, now);
    }
    lane->lent_ns = now;
    worker_return(w);
    return loan->done;
}

/* ---- waiting in the queue ---- */

static void run_queued(struct loan *loan)
{
    size_t n = loan->n - loan->done;
    n = n < QUEUED_AT_ONCE ? n : QUEUED_AT_ONCE;
    struct waiter waiter = {.left = (uint32_t)n};
    for (size_t i = loan->done; i < loan->done + n; i++) {
        struct call *c = loan->calls[i];
        struct hidden *h = call_hidden(c);
        bool again = i < loan->opened;
        if (again && is_done(c)) {
            atomic_fetch_sub(&waiter.left, 1);
            continue;
        }
        if (!again) {
            h->gen = NULL;
            h->copy = NULL;
            loan->opened++;
        }
        h->lent = false;
        h->waiter = &waiter;
        int rc = call_queue(loan->l, c, again);
        if (rc)
            call_finish(c, rc, NULL);
    }
    waiter_wait(&waiter);
    loan->done += n;
}

static size_t same_plugin(struct call *const *calls, size_t n)
{
    size_t i = 1;
    while (i < n && (calls[i]->plugin == calls[0]->plugin || strcmp(calls[i]->plugin, calls[0]->plugin) == 0))
        i++;
    return i;
}

void call_run(struct loader *l, struct call *const *calls, size_t n)
{
    while (n) {
        struct loan loan = {.l = l, .calls = calls, .n = same_plugin(calls, n)};
        struct plugin *p = table_find(l, calls[0]->plugin);
        while (loan.done < loan.n) {
            loan.sent = loan.done;
            loan.w = p ? worker_borrow(p) : NULL;
            if (loan.w)
                run_lent(&loan);
            else
                run_queued(&loan);
        }
        calls += loan.n;
        n -= loan.n;
    }
}
