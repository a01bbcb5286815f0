/* A hostile worker against the host's reader: the input is what the worker writes into its shared memory, mixed with
 * what the host does.  Each call comes back at most once, everything handed out lies inside the mapping, and the count
 * of calls in flight is the host's own. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/channel_private.h"

#define MAX ((size_t)20000) /* a large slot is used from 16 KiB on */
#define CALLS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct channel *ch;
    struct layout_map worker; /* W2H as the worker has it */
    struct w2h_page *page;
    uint64_t at; /* where an honest next record would go */
    unsigned sent, answered;
    bool asked;       /* it waits for a reply */
    bool back[CALLS]; /* by cookie */
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint64_t take(struct fuzz *f, size_t n)
{
    uint64_t out = 0;
    n = n < f->left ? n : f->left;
    memcpy(&out, f->data, n);
    f->data += n;
    f->left -= n;
    return out;
}

static void come_back(struct fuzz *f, void *cookie)
{
    uintptr_t call = (uintptr_t)cookie - 1;
    must(call < f->sent && !f->back[call]);
    f->back[call] = true;
    f->answered++;
}

static void host_submits(struct fuzz *f)
{
    size_t len = take(f, 2) % (MAX + 10);
    enum channel_kind kind = CHANNEL_CALL + take(f, 1) % 6;
    uint8_t *room = f->sent < CALLS ? channel_reserve(f->ch, len) : NULL;
    if (!room)
        return;
    memset(room, 0xff, len + BUF_PAD);
    f->sent++;
    channel_submit(f->ch, kind, 0, 0, len, (void *)(uintptr_t)f->sent);
}

static void host_reads(struct fuzz *f)
{
    struct channel_answer a;
    enum channel_got got = channel_next(f->ch, &a);
    must((got == CHANNEL_BROKEN) == (channel_broken_why(f->ch) != NULL));
    if (got != CHANNEL_GOT)
        return;
    const uint8_t *base = f->ch->in.base;
    must(a.len <= MAX + (a.kind == CHANNEL_ASK ? CHANNEL_ASK_EXTRA : 0) && a.shared >= base + LAYOUT_PAGE &&
         a.shared + a.len <= base + f->ch->in.size);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < a.len; i++)
        sum = (uint8_t)(sum + a.shared[i]);
    must(a.kind >= CHANNEL_RESULT && a.kind <= CHANNEL_ASK);
    must(!f->asked);
    f->asked = a.kind == CHANNEL_ASK;
    if (a.kind == CHANNEL_RESULT || a.kind == CHANNEL_FAILURE)
        come_back(f, a.cookie);
}

static void host_replies(struct fuzz *f)
{
    static uint8_t bytes[MAX + 100];
    if (!f->asked)
        return;
    uint64_t before = atomic_load(&f->ch->h2w->replies);
    f->asked = false;
    channel_reply(f->ch, take(f, 1) & 1, bytes, take(f, 2) % sizeof bytes, false);
    must(atomic_load(&f->ch->h2w->replies) == before + 1);
}

static void host_releases(struct fuzz *f)
{
    channel_release(f->ch);
}

static void host_cancels(struct fuzz *f)
{
    channel_cancel(f->ch, (unsigned)take(f, 2));
}

static void host_peeks(struct fuzz *f)
{
    channel_taken(f->ch, (unsigned)take(f, 1));
    channel_worker_sleeps(f->ch);
}

/* The worker's word on a limit counts for the call that it names, and for no other. */
static void host_asks_for_the_limit(struct fuzz *f)
{
    uint64_t seen = 0, call = atomic_load(&f->page->limit_call);
    enum channel_when when = (enum channel_when)(take(f, 1) % 3);
    unsigned limit = channel_overran(f->ch, when, &seen);
    uint64_t meant = when == CHANNEL_AT_START ? 0 : when == CHANNEL_AT_OLDEST ? f->ch->oldest : f->ch->oldest - 1;
    must(!limit ||
         (call == meant && limit == atomic_load(&f->page->limit) && seen == atomic_load(&f->page->limit_seen)));
}

static void worker_overruns(struct fuzz *f)
{
    atomic_store(&f->page->limit_call, take(f, 1) & 1 ? take(f, 8) : f->ch->oldest - take(f, 1) % 3);
    atomic_store(&f->page->limit, take(f, 1) & 1 ? take(f, 8) : take(f, 1));
    atomic_store(&f->page->limit_seen, take(f, 8));
}

static void host_waits(struct fuzz *f)
{
    channel_ring(f->ch);
    channel_wait(f->ch, 1, false);
    if (channel_arm(f->ch))
        channel_rang(f->ch);
    channel_disarm(f->ch);
}

/* Any 8 bytes anywhere in the page or the ring. */
static void worker_scribbles(struct fuzz *f)
{
    size_t where = take(f, 2) * 8 % (LAYOUT_PAGE + LAYOUT_RING);
    uint64_t what = take(f, 8);
    memcpy(f->worker.base + where, &what, sizeof what);
}

/* A record as an honest worker would place it, with fields from the input. */
static void worker_says(struct fuzz *f)
{
    uint64_t shape = take(f, 1);
    struct header h = {.id = f->ch->oldest,
                       .kind = (uint8_t)(shape & 8 ? take(f, 1) : 32 + shape % 5),
                       .flags = (uint8_t)(shape & 16 ? take(f, 1) : 0),
                       .len = (uint32_t)(shape & 32 ? take(f, 4) : take(f, 1))};
    if (shape & 64)
        h.id = take(f, 8);
    if (shape & 128)
        h.id += take(f, 1) - 128;
    layout_publish(&f->worker, f->at, layout_size(h.flags ? 0 : h.len) % LAYOUT_RING, &h);
    f->at += h.flags ? LAYOUT_ALIGN : layout_size(h.len);
}

static void worker_answers(struct fuzz *f)
{
    layout_publish(&f->worker, f->at, 64, &(struct header){.id = f->ch->oldest, .kind = CHANNEL_RESULT});
    f->at += 64;
}

static void worker_progresses(struct fuzz *f)
{
    atomic_store(&f->page->taken, take(f, 1) & 1 ? take(f, 8) : CHANNEL_FIRST_ID + take(f, 1));
    atomic_store(&f->page->worker_sleep, (uint32_t)take(f, 4));
}

static void (*const deeds[])(struct fuzz *) = {
    host_submits,    host_reads,       host_releases, host_cancels,   host_peeks,        host_waits,
    host_reads,      worker_scribbles, worker_says,   worker_answers, worker_progresses, host_asks_for_the_limit,
    worker_overruns, host_replies,
};

static void abandoned(void *cookie, bool taken, void *context)
{
    (void)taken;
    come_back(context, cookie);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;
    int h2w, w2h, bell;
    f = (struct fuzz){.data = data, .left = size};
    if (channel_new(MAX, &f.ch, &h2w, &w2h, &bell, NULL) < 0)
        return 0;
    must(layout_map(&f.worker, w2h, MAX, PROT_READ | PROT_WRITE));
    f.page = (struct w2h_page *)(void *)f.worker.base;
    while (f.left) {
        deeds[take(&f, 1) % (sizeof deeds / sizeof *deeds)](&f);
        must(channel_in_flight(f.ch) == f.sent - f.answered);
    }
    channel_abandon(f.ch, abandoned, &f);
    must(f.answered == f.sent);
    munmap(f.worker.base, f.worker.size);
    channel_free(f.ch);
    close(h2w);
    close(w2h);
    close(bell);
    return 0;
}
