/* base/clock: time in nanoseconds and its text forms.  Owns nothing, any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

static inline uint64_t clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_wall_ns(void); /* since 1970 */

#define CLOCK_RFC3339_MAX 40
/* "2026-11-22T17:02:03.123Z" */
void clock_rfc3339(uint64_t wall_ns, char out[CLOCK_RFC3339_MAX]);

/* What a TIME is at most: 100 years. Added to any time of this century it is still one, also as a signed number. */
#define CLOCK_SPAN_MAX (36500 * (86400 * NS_PER_S))
/* How an error says it, where no shorter bound holds. */
#define CLOCK_SPAN_FORM "a TIME of 36500d (100 years) at most, such as"

/* TIME of the surface: a whole number and ms, s, m, h or d; CLOCK_SPAN_MAX at most. */
bool clock_parse_span(const char *text, uint64_t *ns);

/* The shortest TIME that says ns exactly enough for people ("2s", "1500ms", "10m"). */
void clock_format_span(uint64_t ns, char out[32]);

#endif
