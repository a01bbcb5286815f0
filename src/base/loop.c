#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/spin.h"

#define EVENTS_AT_ONCE 64
#define ROUNDS 8 /* of posted work before descriptors are looked at again */

struct loop {
    int epoll, bell;
    _Atomic(struct loop_task *) posted; /* a stack of other threads' work, newest first */
    atomic_bool stopping;
    _Atomic(pthread_t) thread;
    atomic_bool running;
    struct loop_timer **heap; /* from index 1; the earliest first */
    uint32_t timers, capacity;
    uint64_t firing; /* while timers fire: what is due by then */
    struct loop_idle *idle;
    uint64_t look_ns;
    struct spin look;
    /* The events of the current round: loop_unwatch forgets a descriptor's events that were fetched already. */
    struct epoll_event events[EVENTS_AT_ONCE];
    int nevents;
};

int loop_new(struct loop **out, struct error *err)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for an event loop");
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (l->epoll < 0 || l->bell < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->bell, &ev) < 0) {
        int saved = errno;
        loop_free(l);
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, saved, "cannot make an event loop");
    }
    *out = l;
    return 0;
}

/* Runs everything posted so far, oldest first. */
static void run_posted(struct loop *l)
{
    struct loop_task *newest = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire), *first = NULL;
    while (newest) {
        struct loop_task *older = newest->next;
        newest->next = first;
        first = newest;
        newest = older;
    }
    while (first) {
        struct loop_task *next = first->next;
        first->run(first); /* may post itself again, or free itself */
        first = next;
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (atomic_load(&l->posted))
        run_posted(l);
    io_close(&l->epoll);
    io_close(&l->bell);
    free(l->heap);
    free(l);
}

static void ring(struct loop *l)
{
    uint64_t one = 1;
    /* The only failure is a full counter, which is a wake-up that is still to come. */
    if (write(l->bell, &one, sizeof one) < 0)
        return;
}

void loop_post(struct loop *l, struct loop_task *task)
{
    struct loop_task *newest = atomic_load_explicit(&l->posted, memory_order_relaxed);
    do
        task->next = newest;
    while (
        !atomic_compare_exchange_weak_explicit(&l->posted, &newest, task, memory_order_release, memory_order_relaxed));
    if (!newest && !loop_is_mine(l)) /* its own thread looks at what was posted before it sleeps */
        ring(l);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    ring(l);
}

bool loop_is_mine(const struct loop *l)
{
    return atomic_load(&l->running) && pthread_equal(atomic_load(&l->thread), pthread_self());
}

int loop_watch(struct loop *l, struct loop_watch *watch, uint32_t events, struct error *err)
{
    struct epoll_event ev = {.events = events, .data.ptr = watch};
    int op = watch->loop ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(l->epoll, op, watch->fd, &ev) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot watch a descriptor");
    watch->loop = l;
    return 0;
}

void loop_unwatch(struct loop_watch *watch)
{
    struct loop *l = watch->loop;
    if (!l)
        return;
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->loop = NULL;
    for (int i = 0; i < l->nevents; i++)
        if (l->events[i].data.ptr == watch)
            l->events[i].events = 0;
}

static void heap_put(struct loop *l, uint32_t slot, struct loop_timer *timer)
{
    l->heap[slot] = timer;
    timer->slot = slot;
}

static void heap_sift(struct loop *l, uint32_t slot)
{
    struct loop_timer *timer = l->heap[slot];
    while (slot > 1 && l->heap[slot / 2]->at > timer->at) {
        heap_put(l, slot, l->heap[slot / 2]);
        slot /= 2;
    }
    for (;;) {
        uint32_t child = 2 * slot;
        if (child > l->timers)
            break;
        if (child < l->timers && l->heap[child + 1]->at < l->heap[child]->at)
            child++;
        if (l->heap[child]->at >= timer->at)
            break;
        heap_put(l, slot, l->heap[child]);
        slot = child;
    }
    heap_put(l, slot, timer);
}

bool loop_timer_set(struct loop *l, struct loop_timer *timer, uint64_t at)
{
    /* One that sets itself to the past again and again has its turn in each round, and the others have theirs. */
    timer->at = at > l->firing ? at : l->firing + 1;
    if (!timer->slot) {
        if (l->timers + 1 >= l->capacity) {
            uint32_t capacity = l->capacity ? 2 * l->capacity : 16;
            struct loop_timer **heap = realloc(l->heap, capacity * sizeof *heap);
            if (!heap)
                return false;
            l->heap = heap;
            l->capacity = capacity;
        }
        timer->loop = l;
        heap_put(l, ++l->timers, timer);
    }
    heap_sift(l, timer->slot);
    return true;
}

void loop_timer_clear(struct loop_timer *timer)
{
    if (!timer->slot)
        return;
    struct loop *l = timer->loop;
    struct loop_timer *last = l->heap[l->timers--];
    if (last != timer) {
        heap_put(l, timer->slot, last);
        heap_sift(l, last->slot);
    }
    timer->slot = 0;
}

/* Fires what is due and returns the nanoseconds until the next, UINT64_MAX without one. */
static uint64_t run_timers(struct loop *l)
{
    if (!l->timers)
        return UINT64_MAX;
    uint64_t now = l->firing = clock_mono_ns();
    while (l->timers && l->heap[1]->at <= now) {
        struct loop_timer *timer = l->heap[1];
        loop_timer_clear(timer);
        timer->fire(timer);
    }
    l->firing = 0;
    return l->timers ? l->heap[1]->at - now : UINT64_MAX;
}

void loop_on_idle(struct loop *l, struct loop_idle *idle)
{
    idle->next = l->idle;
    l->idle = idle;
}

static int sleep_ms(uint64_t ns)
{
    if (ns == UINT64_MAX)
        return -1;
    uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

/* What was posted, what is due, what wants to be done before sleep; all of it may post more. How long to sleep, in ns.
 */
static uint64_t work(struct loop *l)
{
    uint64_t longest = 0;
    for (int i = 0; i < ROUNDS; i++) {
        run_posted(l);
        longest = run_timers(l);
        for (struct loop_idle *idle = l->idle; idle; idle = idle->next) {
            uint64_t wish = idle->before_sleep(idle);
            longest = wish < longest ? wish : longest;
        }
        if (!atomic_load_explicit(&l->posted, memory_order_relaxed))
            return longest;
    }
    return 0; /* descriptors have their turn as well */
}

void loop_looks(struct loop *l, uint64_t ns)
{
    cpu_set_t cpus;
    l->look_ns = ns;
    l->look.alone = sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2;
}

/* Awake, for at most `longest`: events, or 0 and *posted. Who could run on this CPU, a worker most of all, has its turn
 * between two looks. */
static int look(struct loop *l, uint64_t longest, bool *posted)
{
    uint64_t end = clock_mono_ns() + (l->look_ns < longest ? l->look_ns : longest);
    int n;
    do {
        n = epoll_wait(l->epoll, l->events, EVENTS_AT_ONCE, 0);
        *posted = atomic_load_explicit(&l->posted, memory_order_relaxed);
    } while (n == 0 && !*posted && sched_yield() == 0 && clock_mono_ns() < end);
    return n;
}

static int wait_events(struct loop *l, uint64_t longest)
{
    if (longest && l->look_ns && spin_pays(&l->look)) {
        bool posted;
        int n = look(l, longest, &posted);
        spin_told(&l->look, n || posted);
        if (n || posted)
            return n;
    }
    return epoll_wait(l->epoll, l->events, EVENTS_AT_ONCE, sleep_ms(longest));
}

void loop_run(struct loop *l)
{
    atomic_store(&l->thread, pthread_self());
    atomic_store(&l->running, true);
    while (!atomic_load_explicit(&l->stopping, memory_order_relaxed)) {
        uint64_t longest = work(l);
        int n = wait_events(l, longest);
        l->nevents = n > 0 ? n : 0;
        for (int i = 0; i < l->nevents; i++) {
            struct loop_watch *watch = l->events[i].data.ptr;
            if (watch && l->events[i].events)
                watch->ready(watch, l->events[i].events);
        }
        l->nevents = 0;
    }
    run_posted(l);
    atomic_store(&l->stopping, false);
    atomic_store(&l->running, false);
}
