/* base/spin: does it pay to look for a while before one sleeps?  Where what is waited for is mostly microseconds away,
 * falling asleep and being woken costs more than the wait; where it is not, looking costs a CPU for nothing.  Who
 * looked in vain SPIN_VAIN_MOST times in a row sleeps at once the next SPIN_REST times, so that an idle process idles.
 */
#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <stdbool.h>

#define SPIN_VAIN_MOST 4
#define SPIN_REST 32

/* One per place where a thread waits; all zero is ready. */
struct spin {
    unsigned vain, rest;
    bool alone; /* one CPU: what is waited for cannot happen meanwhile */
};

static inline bool spin_pays(struct spin *s)
{
    if (s->alone)
        return false;
    if (s->rest == 0)
        return true;
    s->rest--;
    return false;
}

static inline void spin_told(struct spin *s, bool found)
{
    if (found) {
        s->vain = 0;
    } else if (++s->vain >= SPIN_VAIN_MOST) {
        s->vain = 0;
        s->rest = SPIN_REST;
    }
}

#endif
