#include "wire/port.h"

#include <string.h>
#include <sys/stat.h>

#define SPIN_NS (100 * NS_PER_US) /* without work; then it sleeps although it may spin */

static bool read_payload_max(struct port *p, int h2w)
{
    struct stat st;
    if (fstat(h2w, &st) < 0 || st.st_size < LAYOUT_PAGE) /* reading behind its end would end the process */
        return false;
    struct h2w_page *page = mmap(NULL, LAYOUT_PAGE, PROT_READ, MAP_SHARED, h2w, 0);
    if (page == MAP_FAILED)
        return false;
    p->payload_max = page->payload_max;
    bool ok = page->magic == LAYOUT_MAGIC && p->payload_max && p->payload_max <= LAYOUT_PAYLOAD_MAX;
    munmap(page, LAYOUT_PAGE);
    return ok;
}

bool port_open(struct port *p, int h2w, int w2h, int bell)
{
    *p = (struct port){.bell = bell};
    bool ok = read_payload_max(p, h2w) && layout_map(&p->in, h2w, p->payload_max, PROT_READ) &&
              layout_map(&p->out, w2h, p->payload_max, PROT_READ | PROT_WRITE);
    /* The files can be reached through the mappings only: plugin code must not resize, punch or map them anew. */
    close(h2w);
    close(w2h);
    if (!ok)
        return false;
    p->h2w = (const struct h2w_page *)(const void *)p->in.base;
    p->w2h = (struct w2h_page *)(void *)p->out.base;
    return true;
}

/* Waking the host. */

/* The full fence costs about one cache miss; without it the host could fall asleep on an answer that still sits in this
 * CPU's store buffer, and stay so while the next call runs. */
static void ring_host(struct port *p)
{
    layout_fence();
    uint32_t sleep = atomic_load_explicit(&p->h2w->host_sleep, memory_order_relaxed);
    if (!(sleep & LAYOUT_ASLEEP) || sleep == p->rang)
        return;
    p->rang = sleep;
    if (sleep & LAYOUT_LOOP) {
        uint64_t one = 1;
        ssize_t n;
        do
            n = write(p->bell, &one, sizeof one);
        while (n < 0 && errno == EINTR);
        return;
    }
    atomic_fetch_add_explicit(&p->w2h->bell, 1, memory_order_release);
    layout_futex_wake(&p->w2h->bell, 1);
}

/* Waiting for the host. */

struct want {
    bool (*there)(struct port *p, size_t what);
    size_t what;
    uint32_t how; /* LAYOUT_ROOM, or 0 */
};

static bool closed(const struct port *p)
{
    return atomic_load_explicit(&p->h2w->closed, memory_order_acquire);
}

static bool there_or_closed(struct port *p, const struct want *want)
{
    return want->there(p, want->what) || closed(p);
}

static void sleep_once(struct port *p, const struct want *want)
{
    /* The bell is read before the epoch is shown: each sleep is rung once, so a ring for this one, even a ring for
     * nothing, must end it. */
    uint32_t seen = atomic_load_explicit(&p->h2w->bell, memory_order_acquire);
    p->epoch += LAYOUT_EPOCH;
    atomic_store_explicit(&p->w2h->worker_sleep, p->epoch | LAYOUT_ASLEEP | want->how, memory_order_relaxed);
    layout_fence();
    if (!there_or_closed(p, want))
        layout_futex_wait(&p->h2w->bell, seen, 0);
    atomic_store_explicit(&p->w2h->worker_sleep, p->epoch, memory_order_relaxed);
}

static bool sleep_until(struct port *p, struct want want)
{
    while (!there_or_closed(p, &want))
        sleep_once(p, &want);
    return want.there(p, want.what);
}

static bool may_spin(const struct port *p)
{
    return atomic_load_explicit(&p->h2w->may_spin, memory_order_relaxed);
}

static bool spin_for_work(const struct port *p)
{
    const struct record *r = layout_record(&p->in, p->read);
    uint64_t end = clock_mono_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 256; i++) {
            if (layout_ready(r, p->read))
                return true;
            layout_pause();
        }
    } while (may_spin(p) && clock_mono_ns() < end);
    return false;
}

static bool work_there(struct port *p, size_t what)
{
    (void)what;
    return layout_ready(layout_record(&p->in, p->read), p->read);
}

static bool wait_for_work(struct port *p)
{
    if (work_there(p, 0))
        return true;
    if (may_spin(p)) {
        if (spin_for_work(p))
            return true;
    } else if (layout_yield_until(&p->yield, layout_record(&p->in, p->read), p->read)) {
        return true;
    }
    return sleep_until(p, (struct want){work_there, 0, 0});
}

bool port_next(struct port *p, struct port_request *out)
{
    if (closed(p) || !wait_for_work(p))
        return false;
    const struct record *r = layout_record(&p->in, p->read);
    struct header h;
    layout_copy_header(r, &h);
    bool large = h.flags & LAYOUT_FLAG_LARGE;
    p->id = h.id;
    p->read_end = p->read + (large ? LAYOUT_ALIGN : layout_size(h.len));
    *out = (struct port_request){
        .kind = (enum channel_kind)h.kind,
        .action = h.status,
        .deadline = h.deadline,
        .payload = large ? layout_slot(&p->in, p->payload_max, h.flags & LAYOUT_FLAG_SECOND ? 1 : 0) : r->payload,
        .len = h.len,
    };
    return true;
}

void port_take(struct port *p)
{
    atomic_store_explicit(&p->w2h->taken, p->id + 1, memory_order_release);
}

bool port_cancelled(const struct port *p)
{
    return p->id && atomic_load_explicit(&p->h2w->cancel[p->id % CHANNEL_WINDOW], memory_order_acquire) == p->id;
}

void port_overran(struct port *p, unsigned limit, uint64_t seen)
{
    if (!p->w2h)
        return;
    atomic_store_explicit(&p->w2h->limit, limit, memory_order_relaxed);
    atomic_store_explicit(&p->w2h->limit_seen, seen, memory_order_relaxed);
    atomic_store_explicit(&p->w2h->limit_call, p->id, memory_order_release);
}

/* Room. */

/* A record of that size and the commit word behind it, which publishing clears. */
static bool ring_there(struct port *p, size_t size)
{
    size_t need = size + LAYOUT_ALIGN;
    if (LAYOUT_RING - (size_t)(p->head - p->back) >= need)
        return true;
    p->back = atomic_load_explicit(&p->h2w->ring_back, memory_order_acquire);
    return LAYOUT_RING - (size_t)(p->head - p->back) >= need;
}

static int free_large(const struct port *p)
{
    for (int i = 0; i < (int)LAYOUT_LARGE; i++) /* lowest first: its pages are warm */
        if (atomic_load_explicit(&p->h2w->large_back[i], memory_order_acquire) == p->large_used[i])
            return i;
    return -1;
}

static bool large_there(struct port *p, size_t what)
{
    (void)what;
    return free_large(p) >= 0;
}

uint8_t *port_room(struct port *p, size_t len)
{
    size_t size = layout_size(len);
    if (!ring_there(p, size) && !sleep_until(p, (struct want){ring_there, size, LAYOUT_ROOM}))
        return NULL;
    return layout_record(&p->out, p->head)->payload;
}

int port_large_room(struct port *p)
{
    int slot = free_large(p);
    if (slot < 0 && sleep_until(p, (struct want){large_there, 0, LAYOUT_ROOM}))
        slot = free_large(p);
    return slot;
}

uint8_t *port_large(struct port *p, int slot)
{
    return layout_slot(&p->out, p->payload_max, (unsigned)slot);
}

/* Answers. */

static void publish(struct port *p, size_t size, const struct header *h)
{
    layout_publish(&p->out, p->head, size, h);
    p->head += size;
    ring_host(p);
}

/* The request's record may be overwritten as soon as its answer is read. */
static void answered(struct port *p)
{
    p->read = p->read_end;
    p->id = 0;
}

void port_result(struct port *p, size_t len)
{
    publish(p, layout_size(len), &(struct header){.id = p->id, .len = (uint32_t)len, .kind = CHANNEL_RESULT});
    answered(p);
}

void port_result_large(struct port *p, int slot, size_t len)
{
    if (!port_room(p, 0))
        return;
    p->large_used[slot]++;
    publish(p, LAYOUT_ALIGN,
            &(struct header){.id = p->id,
                             .len = (uint32_t)len,
                             .kind = CHANNEL_RESULT,
                             .flags = (uint8_t)(LAYOUT_FLAG_LARGE | (slot ? LAYOUT_FLAG_SECOND : 0))});
    answered(p);
}

bool port_failure(struct port *p, const char *code, const char *message)
{
    size_t code_len = strnlen(code, 32), message_len = strnlen(message, LAYOUT_SMALL - code_len - 1);
    size_t len = code_len + 1 + message_len;
    uint8_t *room = port_room(p, len);
    if (!room)
        return false;
    memcpy(room, code, code_len);
    room[code_len] = 0;
    memcpy(room + code_len + 1, message, message_len);
    publish(p, layout_size(len), &(struct header){.id = p->id, .len = (uint32_t)len, .kind = CHANNEL_FAILURE});
    answered(p);
    return true;
}

bool port_say(struct port *p, enum channel_kind kind, uint32_t status, const char *text, size_t len)
{
    if (len > LAYOUT_SMALL)
        len = LAYOUT_SMALL;
    if (!ring_there(p, layout_size(len)))
        return false;
    memcpy(layout_record(&p->out, p->head)->payload, text, len);
    publish(p, layout_size(len),
            &(struct header){.id = p->id, .len = (uint32_t)len, .kind = (uint8_t)kind, .status = (uint16_t)status});
    return true;
}

static bool replied(struct port *p, size_t what)
{
    return atomic_load_explicit(&p->h2w->replies, memory_order_acquire) >= what;
}

static void put_parts(uint8_t *to, const struct port_part *parts, size_t nparts)
{
    for (size_t i = 0; i < nparts; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].bytes, parts[i].len);
        to += parts[i].len;
    }
}

bool port_ask(struct port *p, uint32_t service, const struct port_part *parts, size_t nparts, struct port_reply *out)
{
    size_t len = 0;
    for (size_t i = 0; i < nparts; i++)
        if (__builtin_add_overflow(len, parts[i].len, &len))
            return false;
    if (len > p->payload_max + CHANNEL_ASK_EXTRA)
        return false;
    bool inside = len <= CHANNEL_INLINE_MAX;
    uint8_t *ring = port_room(p, inside ? len : 0);
    if (!ring)
        return false;
    put_parts(inside ? ring : layout_ask_room(&p->out, p->payload_max), parts, nparts);
    p->asks++;
    publish(p, inside ? layout_size(len) : LAYOUT_ALIGN,
            &(struct header){.id = p->id,
                             .len = (uint32_t)len,
                             .kind = CHANNEL_ASK,
                             .flags = inside ? 0 : LAYOUT_FLAG_LARGE,
                             .status = (uint16_t)service});
    /* No spinning: whoever is to do what was asked may need this CPU. */
    if (!sleep_until(p, (struct want){replied, p->asks, 0}))
        return false;
    uint64_t reply = atomic_load_explicit(&p->h2w->reply, memory_order_relaxed);
    *out = (struct port_reply){
        .ok = !(reply & LAYOUT_REFUSED), .bytes = layout_ask_room(&p->in, p->payload_max), .len = (uint32_t)reply};
    return true;
}
