/* The host's end: records out, answers in.  Every byte that comes from the worker passes channel_next. */
#include "wire/channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/io.h"
#include "wire/channel_private.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* A log line costs the host about as much as a call. After a host that stood still the ring may be full of lines, and
 * the engine says LAYOUT_LINES a second, and a hundred times how far it is: together still less than this. */
#define CHATTER_BURST 2048
#define CHATTER_SPAN (250 * NS_PER_MS)

_Static_assert(CHATTER_BURST > LAYOUT_RING / LAYOUT_ALIGN + (LAYOUT_LINES + 100) / 2, "an honest engine may break it");

static int memory_file(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)size) < 0)
        io_close(&fd);
    return fd;
}

/* FUTURE_WRITE comes after the host's own writable mapping and forbids every later one, write(2) and hole punching
 * included.  The worker's descriptor is opened for reading only on top of that. */
static int seal_h2w(int fd)
{
    char path[64];
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int map_files(struct channel *ch, int *h2w, int *w2h)
{
    size_t size = layout_file(ch->payload_max);
    fd_auto out = memory_file("moat-h2w", size);
    fd_auto in = memory_file("moat-w2h", size);
    if (out < 0 || in < 0 || !layout_map(&ch->out, out, ch->payload_max, PROT_READ | PROT_WRITE) ||
        !layout_map(&ch->in, in, ch->payload_max, PROT_READ) ||
        fcntl(in, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -1;
    *h2w = seal_h2w(out);
    if (*h2w < 0)
        return -1;
    *w2h = io_steal(&in);
    return 0;
}

int channel_new(size_t payload_max, struct channel **out, int *h2w, int *w2h, int *bell, struct error *err)
{
    if (!payload_max || payload_max > LAYOUT_PAYLOAD_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "the payload limit of a channel is 1 byte to 256 MiB, not %zu",
                         payload_max);
    struct channel *ch = calloc(1, sizeof *ch);
    if (!ch)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a channel");
    ch->payload_max = payload_max;
    ch->oldest = ch->next = ch->taken = CHANNEL_FIRST_ID;
    ch->reserved_large = ch->read_large = -1;
    ch->placed = -1;
    ch->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fd_auto h2w_fd = -1, w2h_fd = -1;
    fd_auto bell_fd = ch->bell < 0 ? -1 : fcntl(ch->bell, F_DUPFD_CLOEXEC, 3);
    if (bell_fd < 0 || map_files(ch, &h2w_fd, &w2h_fd) < 0) {
        int saved = errno;
        channel_free(ch);
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, saved, "cannot make a channel of shared memory");
    }
    ch->h2w = (struct h2w_page *)(void *)ch->out.base;
    ch->w2h = (const struct w2h_page *)(const void *)ch->in.base;
    ch->h2w->magic = LAYOUT_MAGIC;
    ch->h2w->payload_max = payload_max;
    if (sched_getaffinity(0, sizeof ch->cpus, &ch->cpus) < 0)
        CPU_ZERO(&ch->cpus);
    *out = ch;
    *h2w = io_steal(&h2w_fd);
    *w2h = io_steal(&w2h_fd);
    *bell = io_steal(&bell_fd);
    return 0;
}

void channel_free(struct channel *ch)
{
    if (!ch)
        return;
    if (ch->h2w) { /* a worker that still listens leaves by itself */
        atomic_store_explicit(&ch->h2w->closed, 1, memory_order_release);
        atomic_fetch_add(&ch->h2w->bell, 1);
        layout_futex_wake(&ch->h2w->bell, 1);
    }
    if (ch->out.base)
        munmap(ch->out.base, ch->out.size);
    if (ch->in.base)
        munmap(ch->in.base, ch->in.size);
    io_close(&ch->bell);
    free(ch);
}

size_t channel_in_flight(const struct channel *ch)
{
    return (size_t)(ch->next - ch->oldest);
}

const char *channel_broken_why(const struct channel *ch)
{
    return ch->why;
}

enum channel_got channel_break(struct channel *ch, const char *why)
{
    if (!ch->why)
        ch->why = why;
    return CHANNEL_BROKEN;
}

/* Out: calls. */

static int free_large(const struct channel *ch)
{
    for (int i = 0; i < (int)LAYOUT_LARGE; i++) /* lowest first: its pages are warm */
        if (!ch->large_busy[i])
            return i;
    return -1;
}

uint8_t *channel_reserve(struct channel *ch, size_t len)
{
    if (ch->why || ch->reserved || len > ch->payload_max || channel_in_flight(ch) == CHANNEL_WINDOW)
        return NULL;
    bool large = len > CHANNEL_INLINE_MAX;
    /* A checker may write BUF_PAD bytes behind the payload; then comes the commit word that submit clears. */
    size_t need = (large ? LAYOUT_ALIGN : layout_size(len + BUF_PAD)) + LAYOUT_ALIGN;
    if (LAYOUT_RING - (size_t)(ch->head - ch->tail) < need)
        return NULL;
    int slot = large ? free_large(ch) : -1;
    if (large && slot < 0)
        return NULL;
    ch->reserved = true;
    ch->reserved_large = (int8_t)slot;
    return large ? layout_slot(&ch->out, ch->payload_max, (unsigned)slot) : layout_record(&ch->out, ch->head)->payload;
}

void channel_unreserve(struct channel *ch)
{
    ch->reserved = false;
}

unsigned channel_submit(struct channel *ch, enum channel_kind kind, uint32_t action, uint64_t deadline, size_t len,
                        void *cookie)
{
    int slot = ch->reserved_large;
    size_t size = slot < 0 ? layout_size(len) : LAYOUT_ALIGN;
    uint8_t *payload =
        slot < 0 ? layout_record(&ch->out, ch->head)->payload : layout_slot(&ch->out, ch->payload_max, (unsigned)slot);
    payload[len] = 0;
    struct header h = {.id = ch->next,
                       .deadline = deadline,
                       .len = (uint32_t)len,
                       .kind = (uint8_t)kind,
                       .flags = slot < 0 ? 0 : (uint8_t)(LAYOUT_FLAG_LARGE | (slot ? LAYOUT_FLAG_SECOND : 0)),
                       .status = (uint16_t)action};
    if (slot >= 0)
        ch->large_busy[slot] = true;
    layout_publish(&ch->out, ch->head, size, &h);
    ch->head += size;
    ch->pending[CHANNEL_SLOT(ch->next)] =
        (struct pending){.cookie = cookie, .end = ch->head, .kind = (uint8_t)kind, .large = (int8_t)slot};
    ch->reserved = false;
    ch->submitted = true;
    return CHANNEL_SLOT(ch->next++);
}

/* The id of the call in flight in that slot, or 0. */
static uint64_t id_in_slot(const struct channel *ch, unsigned slot)
{
    uint64_t id = ch->oldest + CHANNEL_SLOT(slot - CHANNEL_SLOT(ch->oldest));
    return slot < CHANNEL_WINDOW && id < ch->next ? id : 0;
}

void channel_cancel(struct channel *ch, unsigned slot)
{
    uint64_t id = id_in_slot(ch, slot);
    if (id)
        atomic_store_explicit(&ch->h2w->cancel[slot], id, memory_order_release);
}

/* In: answers. */

/* The worker's progress counts only between what it said last and what was submitted. */
static bool read_taken(struct channel *ch)
{
    uint64_t taken = atomic_load_explicit(&ch->w2h->taken, memory_order_acquire);
    if (taken == 0) /* a fresh page */
        taken = CHANNEL_FIRST_ID;
    if (taken < ch->taken || taken > ch->next)
        return false;
    ch->taken = taken;
    return true;
}

bool channel_taken(struct channel *ch, unsigned slot)
{
    uint64_t id = id_in_slot(ch, slot);
    if (!id || !read_taken(ch)) {
        if (id)
            channel_break(ch, "the progress it reports is impossible");
        return true;
    }
    return id < ch->taken;
}

/* What a record of each kind may be. */
static const struct rule {
    bool known, answers, large;
    bool about_call; /* belongs to a call; the others may come at any time, with id 0 */
    bool asks;       /* and waits for a reply */
    uint32_t max;    /* bytes inline */
} rules[] = {
    [CHANNEL_RESULT - CHANNEL_RESULT] = {true, true, true, true, false, CHANNEL_INLINE_MAX},
    [CHANNEL_FAILURE - CHANNEL_RESULT] = {true, true, false, true, false, LAYOUT_SMALL},
    [CHANNEL_LOG - CHANNEL_RESULT] = {true, false, false, false, false, LAYOUT_SMALL},
    [CHANNEL_PROGRESS - CHANNEL_RESULT] = {true, false, false, true, false, LAYOUT_SMALL},
    [CHANNEL_ASK - CHANNEL_RESULT] = {true, false, true, true, true, CHANNEL_INLINE_MAX},
};

static bool too_much_chatter(struct channel *ch)
{
    if (++ch->chatter < CHATTER_BURST)
        return false;
    uint64_t now = clock_mono_ns(), since = ch->chatter_since;
    ch->chatter = 0;
    ch->chatter_since = now;
    return now - since < CHATTER_SPAN;
}

/* Checks the private copy of a header; NULL when all of it holds. */
static const char *refuse(struct channel *ch, const struct header *h, const struct rule *rule)
{
    if (!rule || !rule->known)
        return "a record of a kind that a worker does not send";
    if (atomic_load_explicit(&ch->asked, memory_order_relaxed))
        return "a record while it waits for what it asked";
    if (h->flags & ~LAYOUT_FLAGS || (h->flags && (!(h->flags & LAYOUT_FLAG_LARGE) || !rule->large)) ||
        (rule->asks && h->flags & LAYOUT_FLAG_SECOND))
        return "a record with flags that its kind does not have";
    size_t most = ch->payload_max + (rule->asks ? CHANNEL_ASK_EXTRA : 0);
    if (h->len > (h->flags ? most : rule->max) || (rule->large && h->len > most))
        return "a record longer than its kind may be";
    if (h->id == 0 && !rule->about_call)
        return NULL;
    if (h->id != ch->oldest || ch->oldest == ch->next)
        return "a record for a call that is not the one being answered";
    uint8_t asked = ch->pending[CHANNEL_SLOT(h->id)].kind;
    if (h->kind == CHANNEL_RESULT && h->len && asked != CHANNEL_CALL && asked != CHANNEL_SAVE)
        return "a result where none was asked for";
    if (rule->asks && asked != CHANNEL_CALL)
        return "it asks for something, and runs no call";
    return NULL;
}

/* The worker has answered: its parameters' room is free again. */
static void retire(struct channel *ch)
{
    const struct pending *p = &ch->pending[CHANNEL_SLOT(ch->oldest)];
    ch->tail = p->end;
    if (p->large >= 0)
        ch->large_busy[p->large] = false;
    __atomic_store_n(&ch->oldest, ch->oldest + 1, __ATOMIC_RELAXED); /* channel_overran may look from elsewhere */
    ch->chatter = 0;
}

/* In the object code of gcc 12 and clang 14 each word of the record is loaded once here (objdump -d libwire.a). */
enum channel_got channel_next(struct channel *ch, struct channel_answer *out)
{
    if (ch->read_end)
        channel_release(ch);
    if (ch->why)
        return CHANNEL_BROKEN;
    const struct record *r = layout_record(&ch->in, ch->read);
    if (!layout_ready(r, ch->read)) {
        if (ch->gave_back) /* the worker may be waiting for the room, not for work */
            channel_ring(ch);
        return CHANNEL_EMPTY;
    }
    struct header h;
    layout_copy_header(r, &h);
    unsigned kind = (unsigned)h.kind - CHANNEL_RESULT;
    const struct rule *rule = kind < sizeof rules / sizeof *rules ? &rules[kind] : NULL;
    const char *why = refuse(ch, &h, rule);
    if (why)
        return channel_break(ch, why);
    if (!rule->answers && !rule->asks && too_much_chatter(ch))
        return channel_break(ch, "it floods the channel with log lines or progress");

    if (ch->fruitless)
        ch->fruitless--;
    bool in_room = h.flags && rule->asks;
    ch->read_large = !h.flags || in_room ? -1 : (h.flags & LAYOUT_FLAG_SECOND) ? 1 : 0;
    ch->read_end = ch->read + (h.flags ? LAYOUT_ALIGN : layout_size(h.len));
    *out = (struct channel_answer){
        .kind = (enum channel_kind)h.kind,
        .cookie = h.id ? ch->pending[CHANNEL_SLOT(h.id)].cookie : NULL,
        .status = h.status,
        .len = h.len,
        .shared = in_room   ? layout_ask_room(&ch->in, ch->payload_max)
                  : h.flags ? layout_slot(&ch->in, ch->payload_max, (unsigned)ch->read_large)
                            : r->payload,
    };
    if (rule->asks)
        atomic_store_explicit(&ch->asked, true, memory_order_relaxed);
    if (rule->answers)
        retire(ch);
    return CHANNEL_GOT;
}

void channel_release(struct channel *ch)
{
    if (!ch->read_end)
        return;
    ch->read = ch->read_end;
    ch->read_end = 0;
    atomic_store_explicit(&ch->h2w->ring_back, ch->read, memory_order_release);
    if (ch->read_large >= 0)
        atomic_store_explicit(&ch->h2w->large_back[ch->read_large], ++ch->large_back[ch->read_large],
                              memory_order_release);
    ch->gave_back = true;
}

/* An honest worker says nothing between its ask and this, so whoever replies and the owner, who reads the ring, meet in
 * `asked` alone. */
void channel_reply(struct channel *ch, bool ok, const void *bytes, size_t len, bool here)
{
    uint8_t *room = layout_ask_room(&ch->out, ch->payload_max);
    len = len < ch->payload_max ? len : ch->payload_max;
    if (len)
        memcpy(room, bytes, len);
    room[len] = 0;
    uint64_t replies = atomic_load_explicit(&ch->h2w->replies, memory_order_relaxed);
    atomic_store_explicit(&ch->h2w->reply, (uint64_t)len | (ok ? 0 : LAYOUT_REFUSED), memory_order_relaxed);
    atomic_store_explicit(&ch->asked, false, memory_order_release);
    atomic_store_explicit(&ch->h2w->replies, replies + 1, memory_order_release);
    channel_wake_worker(ch, true, here);
}

unsigned channel_overran(const struct channel *ch, enum channel_when when, uint64_t *seen)
{
    uint64_t oldest = __atomic_load_n(&ch->oldest, __ATOMIC_RELAXED);
    uint64_t call = when == CHANNEL_AT_START ? 0 : when == CHANNEL_AT_OLDEST ? oldest : oldest - 1;
    if (atomic_load_explicit(&ch->w2h->limit_call, memory_order_acquire) != call)
        return 0;
    *seen = atomic_load_explicit(&ch->w2h->limit_seen, memory_order_relaxed);
    uint64_t limit = atomic_load_explicit(&ch->w2h->limit, memory_order_relaxed);
    return limit > UINT32_MAX ? 0 : (unsigned)limit;
}

void channel_abandon(struct channel *ch, void (*each)(void *cookie, bool taken, void *context), void *context)
{
    bool honest = read_taken(ch);
    channel_break(ch, "the worker has ended");
    while (ch->oldest < ch->next) {
        uint64_t id = ch->oldest;
        void *cookie = ch->pending[CHANNEL_SLOT(id)].cookie;
        retire(ch);
        each(cookie, !honest || id < ch->taken, context);
    }
}
