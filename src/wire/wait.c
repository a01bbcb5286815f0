/* The host's end: waking, waiting, and where the worker runs.  The handshake is in docs/channel.md; each side's full
 * fence stands between its own store and its look at the other's word. */
#include <string.h>

#include "wire/channel_private.h"

#define SPIN_NS (50 * NS_PER_US)       /* a blocking owner's spin before it sleeps */
#define LET_GO_NS (2 * NS_PER_MS)      /* a worker that computes longer loses its place on the caller's CPU */
#define SLEEP_CAP_NS (100 * NS_PER_MS) /* no sleep is longer: the net under channel_wake */
#define FRUITLESS_MAX 256              /* an honest worker rings once for something it published */

/* Where the worker runs. */

static pid_t worker_of(struct channel *ch)
{
    return atomic_load_explicit(&ch->worker, memory_order_relaxed);
}

static void set_cpus(struct channel *ch, const cpu_set_t *set, int placed)
{
    /* Failure is only slower: the worker may have ended, or the rights may be missing.  0 would mean this thread. */
    pid_t worker = worker_of(ch);
    if (worker > 0)
        (void)sched_setaffinity(worker, sizeof *set, set);
    atomic_store_explicit(&ch->placed, placed, memory_order_relaxed);
}

static void put_here(struct channel *ch)
{
    int cpu = sched_getcpu();
    if (!worker_of(ch) || cpu < 0 || cpu == atomic_load_explicit(&ch->placed, memory_order_relaxed))
        return;
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((unsigned)cpu, &here);
    set_cpus(ch, &here, cpu);
}

static void put_elsewhere(struct channel *ch)
{
    int cpu = sched_getcpu();
    if (!worker_of(ch) || cpu < 0)
        return;
    cpu_set_t others = ch->cpus;
    CPU_CLR((unsigned)cpu, &others);
    set_cpus(ch, &others, -1);
}

void channel_place(struct channel *ch, pid_t worker)
{
    atomic_store_explicit(&ch->worker, worker, memory_order_relaxed);
    atomic_store_explicit(&ch->placed, -1, memory_order_relaxed);
}

void channel_unpin(struct channel *ch)
{
    if (worker_of(ch) && atomic_load_explicit(&ch->placed, memory_order_relaxed) >= 0)
        set_cpus(ch, &ch->cpus, -1);
}

void channel_allow_spin(struct channel *ch, bool allowed)
{
    bool now = atomic_load_explicit(&ch->h2w->may_spin, memory_order_relaxed);
    allowed = allowed && CPU_COUNT(&ch->cpus) > 1;
    if (now == allowed)
        return;
    if (allowed)
        put_elsewhere(ch);
    atomic_store_explicit(&ch->h2w->may_spin, allowed, memory_order_release);
}

/* Waking the worker. */

bool channel_worker_sleeps(const struct channel *ch)
{
    return atomic_load_explicit(&ch->w2h->worker_sleep, memory_order_relaxed) & LAYOUT_ASLEEP;
}

/* Each sleep is woken once, and only for what it waits for: a worker woken for nothing costs two switches. */
void channel_wake_worker(struct channel *ch, bool work, bool here)
{
    layout_fence();
    uint32_t epoch = atomic_load_explicit(&ch->w2h->worker_sleep, memory_order_relaxed);
    if (!(epoch & LAYOUT_ASLEEP) || epoch == atomic_load_explicit(&ch->woken, memory_order_relaxed) ||
        !(work || epoch & LAYOUT_ROOM))
        return;
    atomic_store_explicit(&ch->woken, epoch, memory_order_relaxed);
    if (here && !atomic_load_explicit(&ch->h2w->may_spin, memory_order_relaxed))
        put_here(ch);
    atomic_fetch_add_explicit(&ch->h2w->bell, 1, memory_order_release); /* the owner and who replies may both ring */
    layout_futex_wake(&ch->h2w->bell, 1);
}

void channel_ring(struct channel *ch)
{
    bool work = ch->submitted;
    if (!work && !ch->gave_back)
        return;
    ch->submitted = ch->gave_back = false;
    channel_wake_worker(ch, work, true);
}

/* Being woken. */

/* From here on the worker sees that the host sleeps; the caller looks at the ring once more before it does. */
static void fall_asleep(struct channel *ch, uint32_t how)
{
    ch->epoch += LAYOUT_EPOCH;
    atomic_store_explicit(&ch->h2w->host_sleep, ch->epoch | LAYOUT_ASLEEP | how, memory_order_relaxed);
    layout_fence();
}

static void get_up(struct channel *ch)
{
    atomic_store_explicit(&ch->h2w->host_sleep, ch->epoch, memory_order_relaxed);
}

/* Counts a wake that brought nothing; each record makes up for one.  Only a worker that rings more often than it says
 * something gets anywhere near the limit. */
void channel_rang(struct channel *ch)
{
    if (!channel_ready(ch) && ++ch->fruitless > FRUITLESS_MAX)
        channel_break(ch, "it rings the bell without an answer, again and again");
}

static bool woken_by_host(struct channel *ch)
{
    return atomic_load_explicit(&ch->wake, memory_order_relaxed) && atomic_exchange(&ch->wake, false);
}

static bool spin_for(struct channel *ch, uint64_t until_ns)
{
    uint64_t end = clock_mono_ns() + SPIN_NS;
    if (until_ns && until_ns < end)
        end = until_ns;
    const struct record *r = layout_record(&ch->in, ch->read);
    do {
        for (int i = 0; i < 64; i++) {
            if (layout_ready(r, ch->read))
                return true;
            layout_pause();
        }
    } while (clock_mono_ns() < end && !atomic_load_explicit(&ch->wake, memory_order_relaxed));
    return false;
}

/* One sleep on the futex, no longer than until_ns. */
static void sleep_once(struct channel *ch, uint64_t until_ns)
{
    atomic_store(&ch->sleeping, true);
    uint32_t seen = atomic_load_explicit(&ch->w2h->bell, memory_order_acquire); /* before the epoch is shown */
    fall_asleep(ch, 0);
    bool rang = false;
    if (!channel_ready(ch) && !atomic_load(&ch->wake)) {
        long rc = layout_futex_wait(&ch->w2h->bell, seen, until_ns);
        rang = rc == 0 || errno == EAGAIN;
    }
    get_up(ch);
    atomic_store(&ch->sleeping, false);
    if (rang && !atomic_load(&ch->wake))
        channel_rang(ch);
}

bool channel_wait(struct channel *ch, uint64_t until_ns, bool spin)
{
    if (ch->read_end)
        channel_release(ch);
    if (channel_ready(ch))
        return true;
    channel_ring(ch); /* whatever was not rung for yet */
    if (spin && spin_for(ch, until_ns))
        return true;
    if (!spin && layout_yield_until(&ch->yield, layout_record(&ch->in, ch->read), ch->read))
        return true;
    uint64_t now = clock_mono_ns(), let_go = now + LET_GO_NS;
    while (!channel_ready(ch) && !woken_by_host(ch)) {
        if (until_ns && now >= until_ns)
            return false;
        uint64_t end = now < let_go ? let_go : now + SLEEP_CAP_NS;
        sleep_once(ch, until_ns && until_ns < end ? until_ns : end);
        now = clock_mono_ns();
        if (now >= let_go)
            channel_unpin(ch);
    }
    return true;
}

/* The sleeper re-reads `wake` after it said that it sleeps; a wake that falls between that look and the kernel's queue
 * finds nobody there, so it is tried again, a bounded number of times: SLEEP_CAP_NS is the net.
 * Every waiter is woken: threads of a hostile worker may wait on the same word to swallow a single one. */
void channel_wake(struct channel *ch)
{
    atomic_store(&ch->wake, true);
    for (int i = 0; i < 64 && atomic_load(&ch->sleeping) && atomic_load(&ch->wake); i++) {
        layout_futex_wake(&ch->w2h->bell, INT32_MAX);
        sched_yield();
    }
}

void channel_linger(struct channel *ch)
{
    if (!channel_ready(ch))
        layout_yield_until(&ch->yield, layout_record(&ch->in, ch->read), ch->read);
}

int channel_fd(const struct channel *ch)
{
    return ch->bell;
}

bool channel_arm(struct channel *ch)
{
    if (ch->read_end)
        channel_release(ch);
    channel_ring(ch); /* whatever was not rung for yet */
    fall_asleep(ch, LAYOUT_LOOP);
    if (!channel_ready(ch))
        return true;
    get_up(ch);
    return false;
}

void channel_disarm(struct channel *ch)
{
    get_up(ch);
}
