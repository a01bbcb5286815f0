#include "wire/seat.h"

#include <sys/stat.h>

#include "wire/layout.h"

#define SPIN_NS (40 * NS_PER_US)

const char *seat_code_name(unsigned code)
{
    static const char *const names[] = {
#define X(id, name) name,
        SEAT_CODES(X)
#undef X
    };
    return code < SEAT_CODE_COUNT ? names[code] : "bad_answer";
}

struct seat *seat_map(int fd, unsigned i)
{
    struct stat st;
    if (i >= SEATS || syscall(SYS_fstat, fd, &st) < 0 || st.st_size != (off_t)SEATS * SEAT_SIZE)
        return NULL;
    void *p = mmap(NULL, SEAT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)i * SEAT_SIZE);
    return p == MAP_FAILED ? NULL : p;
}

void seat_unmap(struct seat *s)
{
    if (s)
        munmap(s, SEAT_SIZE);
}

/* ---- waiting ---- */

static bool changed(const struct seat *s, uint32_t from)
{
    return atomic_load_explicit(&s->turn, memory_order_acquire) != from;
}

static bool spin_for(struct seat *s, struct spin *spin, uint32_t from)
{
    if (!spin_pays(spin))
        return changed(s, from);
    bool found = false;
    uint64_t end = clock_mono_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 64 && !(found = changed(s, from)); i++)
            layout_pause();
    } while (!found && clock_mono_ns() < end);
    spin_told(spin, found);
    return found;
}

/* Until the turn is another than `from`; false at until_ns. */
static bool wait_for(struct seat *s, struct spin *spin, _Atomic uint32_t *sleeps, uint32_t from, uint64_t until_ns)
{
    if (changed(s, from) || spin_for(s, spin, from))
        return true;
    bool late = false;
    while (!changed(s, from) && !late) {
        atomic_store_explicit(sleeps, 1, memory_order_relaxed);
        layout_fence();
        if (!changed(s, from))
            layout_futex_wait(&s->turn, from, until_ns);
        atomic_store_explicit(sleeps, 0, memory_order_relaxed);
        late = until_ns && clock_mono_ns() >= until_ns;
    }
    return changed(s, from);
}

static bool pass_on(struct seat *s, uint32_t from, uint32_t to, const _Atomic uint32_t *sleeps)
{
    uint32_t was = from;
    if (!atomic_compare_exchange_strong(&s->turn, &was, to))
        return false;
    if (atomic_load_explicit(sleeps, memory_order_relaxed))
        layout_futex_wake(&s->turn, 2);
    return true;
}

/* ---- the worker ---- */

bool seat_ask(struct seat *s, const struct seat_request *r)
{
    atomic_store_explicit(&s->op, r->op, memory_order_relaxed);
    atomic_store_explicit(&s->cpu, sched_getcpu(), memory_order_relaxed);
    atomic_fetch_add_explicit(&s->ticket, 1, memory_order_relaxed);
    atomic_store_explicit(&s->max_rows, r->max_rows, memory_order_relaxed);
    atomic_store_explicit(&s->sql_len, r->sql_len, memory_order_relaxed);
    atomic_store_explicit(&s->params_len, r->params_len, memory_order_relaxed);
    atomic_store_explicit(&s->deadline, r->deadline, memory_order_relaxed);
    atomic_store_explicit(&s->serial, r->serial, memory_order_relaxed);
    return pass_on(s, SEAT_IDLE, SEAT_ASKED, &s->helper_sleeps);
}

/* The turn is looked at once: an answer that comes when the time is over is late or is the answer, never lost. */
enum seat_end seat_wait(struct seat *s, struct spin *spin, uint64_t until_ns, struct seat_answer *out)
{
    if (!wait_for(s, spin, &s->worker_sleeps, SEAT_ASKED, until_ns))
        return SEAT_LATE;
    if (atomic_load_explicit(&s->answered, memory_order_relaxed) != atomic_load(&s->ticket))
        return SEAT_NO_MORE;
    out->code = atomic_load_explicit(&s->code, memory_order_relaxed);
    out->flags = atomic_load_explicit(&s->flags, memory_order_relaxed);
    out->len = atomic_load_explicit(&s->len, memory_order_relaxed);
    return SEAT_ANSWERED;
}

bool seat_closed(const struct seat *s)
{
    return atomic_load_explicit(&s->turn, memory_order_acquire) == SEAT_CLOSED;
}

/* ---- the helper ---- */

bool seat_next(struct seat *s, struct spin *spin, uint64_t until_ns, struct seat_request *out)
{
    if (!wait_for(s, spin, &s->helper_sleeps, SEAT_IDLE, until_ns) || seat_closed(s))
        return false;
    out->op = atomic_load_explicit(&s->op, memory_order_relaxed);
    out->cpu = atomic_load_explicit(&s->cpu, memory_order_relaxed);
    out->max_rows = atomic_load_explicit(&s->max_rows, memory_order_relaxed);
    out->sql_len = atomic_load_explicit(&s->sql_len, memory_order_relaxed);
    out->params_len = atomic_load_explicit(&s->params_len, memory_order_relaxed);
    out->deadline = atomic_load_explicit(&s->deadline, memory_order_relaxed);
    out->serial = atomic_load_explicit(&s->serial, memory_order_relaxed);
    return true;
}

void seat_answer(struct seat *s, const struct seat_answer *a)
{
    atomic_store_explicit(&s->code, a->code, memory_order_relaxed);
    atomic_store_explicit(&s->flags, a->flags, memory_order_relaxed);
    atomic_store_explicit(&s->len, a->len, memory_order_relaxed);
    atomic_store_explicit(&s->answered, atomic_load_explicit(&s->ticket, memory_order_relaxed), memory_order_relaxed);
    pass_on(s, SEAT_ASKED, SEAT_IDLE, &s->worker_sleeps);
}

bool seat_leave(struct seat *s)
{
    return pass_on(s, SEAT_IDLE, SEAT_CLOSED, &s->worker_sleeps);
}
