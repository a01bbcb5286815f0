/* wire/layout: the bytes of a channel, for its two ends only.  Owns no memory; see docs/channel.md.
 *
 * H2W file: one page of words, the ring, two large slots, the ask room.  The host writes it, the worker maps it
 * read-only.
 * W2H file: the same shape, the worker writes it, the host maps it read-only.
 * Both ends map the ring twice in a row, so that a record never has to wrap. */
#ifndef WIRE_LAYOUT_H
#define WIRE_LAYOUT_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define LAYOUT_MAGIC 0x31306c656e6e6863ull
#define LAYOUT_PAGE 4096u
#define LAYOUT_RING 65536u
#define LAYOUT_ALIGN 64u
#define LAYOUT_HEADER 32u
#define LAYOUT_LARGE 2u    /* large slots in each direction */
#define LAYOUT_ROOMS 3u    /* and one more for what a running call asks the host, and for the reply */
#define LAYOUT_SMALL 2048u /* bytes of a failure, a log line, a progress message at most */
#define LAYOUT_PAYLOAD_MAX (256u << 20)
#define LAYOUT_LINES 1000u /* of log, a second, that the engine passes on: the setting log_lines says what is kept */

/* Each word that one side polls or sleeps on while the other writes has a cache line of its own: sharing one would make
 * every poll cost a transfer between CPUs. */
struct h2w_page {
    alignas(64) uint64_t magic;
    uint64_t payload_max;
    alignas(64) _Atomic uint32_t bell;       /* the worker's futex word */
    alignas(64) _Atomic uint32_t host_sleep; /* the host's sleep epoch, see LAYOUT_ASLEEP */
    alignas(64) _Atomic uint32_t may_spin;
    _Atomic uint32_t closed;                   /* the host is done: the worker exits */
    alignas(64) _Atomic uint64_t ring_back;    /* position in the W2H ring that the host has read up to */
    _Atomic uint64_t large_back[LAYOUT_LARGE]; /* how often the host gave each W2H slot back */
    alignas(64) _Atomic uint64_t cancel[256];  /* the id of the cancelled call in that slot */
    alignas(64) _Atomic uint64_t replies;      /* how many asks were answered; stored last */
    _Atomic uint64_t reply;                    /* of the last one: bits 0-31 length, bit 32: it was refused */
};
_Static_assert(sizeof(struct h2w_page) <= LAYOUT_PAGE, "the words fit their page");

struct w2h_page {
    alignas(64) _Atomic uint32_t bell;         /* the host's futex word */
    alignas(64) _Atomic uint32_t worker_sleep; /* the worker's sleep epoch */
    alignas(64) _Atomic uint64_t taken;        /* id behind the last call that was begun */
    /* The last limit that this process ran into, as it says: which, what it wanted, in which call (0: at its start). */
    alignas(64) _Atomic uint64_t limit_call;
    _Atomic uint64_t limit, limit_seen;
};
_Static_assert(sizeof(struct w2h_page) <= LAYOUT_PAGE, "the words fit their page");

/* A sleep epoch is odd while its owner sleeps or is about to; every sleep has a number of its own, so that the other
 * side wakes each sleep once.  LAYOUT_LOOP: the host sleeps in epoll, ring its eventfd instead of the futex.
 * LAYOUT_ROOM: the worker sleeps for want of room, not of work. */
#define LAYOUT_ASLEEP 1u
#define LAYOUT_LOOP 2u
#define LAYOUT_ROOM 2u
#define LAYOUT_EPOCH 4u

/* A record starts with four words; the payload follows.  Words, because each is then loaded exactly once, as an
 * atomic: a compiler may fetch a plain field twice, and the other side may change it between.
 *   0  commit: position / 64 + 1, stored last
 *   1  id of the call; its slot is the low byte; 0: no call
 *   2  length, kind, flags, status (see layout_pack)
 *   3  deadline, CLOCK_MONOTONIC ns; 0: none */
struct record {
    alignas(64) _Atomic uint64_t word[4];
    uint8_t payload[];
};

#define LAYOUT_FLAG_LARGE 1u  /* the payload stands in a large slot … */
#define LAYOUT_FLAG_SECOND 2u /* … the second of the two */
#define LAYOUT_FLAGS 3u       /* (an ask's payload that is large stands in the ask room, and has no second one) */
#define LAYOUT_REFUSED (1ull << 32)

struct header {
    uint64_t id, deadline;
    uint32_t len;
    uint8_t kind, flags;
    uint16_t status;
};

static inline uint64_t layout_pack(const struct header *h)
{
    return (uint64_t)h->len | (uint64_t)h->kind << 32 | (uint64_t)h->flags << 40 | (uint64_t)h->status << 48;
}

static inline uint64_t layout_commit(uint64_t position)
{
    return position / LAYOUT_ALIGN + 1;
}

static inline size_t layout_align(size_t n)
{
    return (n + LAYOUT_ALIGN - 1) & ~(size_t)(LAYOUT_ALIGN - 1);
}

/* Bytes of ring that a record with len bytes inline takes: a 0 stands behind the payload. */
static inline size_t layout_size(size_t len)
{
    return layout_align(LAYOUT_HEADER + len + 1);
}

/* Behind payload_max there is room for what a checker reads and writes beyond the end. */
static inline size_t layout_large(size_t payload_max)
{
    return (payload_max + BUF_PAD + LAYOUT_PAGE - 1) & ~(size_t)(LAYOUT_PAGE - 1);
}

static inline size_t layout_file(size_t payload_max)
{
    return LAYOUT_PAGE + LAYOUT_RING + LAYOUT_ROOMS * layout_large(payload_max);
}

static inline size_t layout_mapping(size_t payload_max)
{
    return layout_file(payload_max) + LAYOUT_RING;
}

/* One file as a side sees it: page, ring, the ring again, large slots. */
struct layout_map {
    uint8_t *base;
    size_t size;
};

static inline bool layout_map(struct layout_map *map, int fd, size_t payload_max, int protection)
{
    size_t size = layout_mapping(payload_max), head = LAYOUT_PAGE + LAYOUT_RING;
    uint8_t *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    if (mmap(base, head, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(base + head, size - head, protection, MAP_SHARED | MAP_FIXED, fd, LAYOUT_PAGE) == MAP_FAILED) {
        int saved = errno;
        munmap(base, size);
        errno = saved;
        return false;
    }
    *map = (struct layout_map){base, size};
    return true;
}

static inline struct record *layout_record(const struct layout_map *map, uint64_t position)
{
    return (struct record *)(void *)(map->base + LAYOUT_PAGE + (position & (LAYOUT_RING - 1)));
}

static inline uint8_t *layout_slot(const struct layout_map *map, size_t payload_max, unsigned slot)
{
    return map->base + LAYOUT_PAGE + 2 * LAYOUT_RING + slot * layout_large(payload_max);
}

/* Room for payload_max bytes and a name or two before them. */
static inline uint8_t *layout_ask_room(const struct layout_map *map, size_t payload_max)
{
    return layout_slot(map, payload_max, LAYOUT_LARGE);
}

static inline bool layout_ready(const struct record *r, uint64_t position)
{
    return atomic_load_explicit(&r->word[0], memory_order_acquire) == layout_commit(position);
}

/* Publishes a record whose payload stands already; size is layout_size of what is inline.  The next record's commit is
 * cleared first: bytes of an old payload could pass for it. */
static inline void layout_publish(const struct layout_map *map, uint64_t position, size_t size, const struct header *h)
{
    struct record *r = layout_record(map, position);
    atomic_store_explicit(&r->word[1], h->id, memory_order_relaxed);
    atomic_store_explicit(&r->word[2], layout_pack(h), memory_order_relaxed);
    atomic_store_explicit(&r->word[3], h->deadline, memory_order_relaxed);
    atomic_store_explicit(&layout_record(map, position + size)->word[0], 0, memory_order_relaxed);
    atomic_store_explicit(&r->word[0], layout_commit(position), memory_order_release);
}

/* Each header word is loaded once; everything after that works on the copy. */
static inline void layout_copy_header(const struct record *r, struct header *out)
{
    out->id = atomic_load_explicit(&r->word[1], memory_order_relaxed);
    uint64_t packed = atomic_load_explicit(&r->word[2], memory_order_relaxed);
    out->deadline = atomic_load_explicit(&r->word[3], memory_order_relaxed);
    out->len = (uint32_t)packed;
    out->kind = (uint8_t)(packed >> 32);
    out->flags = (uint8_t)(packed >> 40);
    out->status = (uint16_t)(packed >> 48);
}

/* Between a store to one's own word and a look at the other side's. */
static inline void layout_fence(void)
{
#if defined(__SANITIZE_THREAD__) /* gcc's thread sanitizer knows no fences; a read-modify-write is as full */
    _Atomic int word = 0;
    atomic_fetch_add(&word, 1);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void layout_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Works on a mapping that this side can only read.  Not FUTEX_PRIVATE: the other side is another process.
 * until_ns is absolute CLOCK_MONOTONIC, 0 for none. */
static inline long layout_futex_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    struct timespec t = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, until_ns ? &t : NULL, NULL, FUTEX_BITSET_MATCH_ANY);
}

static inline long layout_futex_wake(const _Atomic uint32_t *word, int count)
{
    return syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

/* Two processes on one CPU pass a call on fastest by yielding.  Behind a process that hogs the CPU a yield costs a
 * whole time slice: one that took over a millisecond stops yielding for a while.  So does one that brings nothing again
 * and again: the other side has too much else to do, or the scheduler thinks that this side is owed the CPU. */
#define LAYOUT_YIELDS 2
#define LAYOUT_YIELD_SLOW NS_PER_MS
#define LAYOUT_YIELD_REST (100 * NS_PER_MS)
#define LAYOUT_YIELD_VAIN 16
#define LAYOUT_YIELD_PAUSE (5 * NS_PER_MS)

struct layout_yield {
    uint64_t rest_until;
    unsigned vain; /* in a row */
};

static inline bool layout_yield_until(struct layout_yield *y, const struct record *r, uint64_t position)
{
    uint64_t before = clock_mono_ns();
    if (before < y->rest_until)
        return layout_ready(r, position);
    for (int i = 0; i < LAYOUT_YIELDS; i++) {
        sched_yield();
        if (layout_ready(r, position)) {
            y->vain = 0;
            return true;
        }
        uint64_t after = clock_mono_ns();
        if (after - before > LAYOUT_YIELD_SLOW) {
            y->rest_until = after + LAYOUT_YIELD_REST;
            return false;
        }
        before = after;
    }
    if (++y->vain >= LAYOUT_YIELD_VAIN)
        y->rest_until = before + LAYOUT_YIELD_PAUSE;
    return layout_ready(r, position);
}

#endif
