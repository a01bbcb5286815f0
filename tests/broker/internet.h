/* A small Internet for the tests of the net broker: a network namespace with name servers and an echo, reached by a
 * veth from the namespace that the test moves into.  No packet leaves the two.
 *
 *   10.77.0.1, 9.9.9.1 (the test's) ─── 10.77.0.2, 9.9.9.2, 9.9.9.3: echo on port 7; names on port 53 of 9.9.9.2 */
#ifndef TESTS_BROKER_INTERNET_H
#define TESTS_BROKER_INTERNET_H

#include <stdbool.h>
#include <stdint.h>

#define INTERNET_DNS "9.9.9.2:53"
#define INTERNET_ECHO 7    /* sends back what it gets */
#define INTERNET_SINK 9    /* reads slowly: a little, then nothing until it is told */
#define INTERNET_SOURCE 19 /* writes for as long as somebody reads */
#define INTERNET_HELD 21   /* accepts, and tells of what it read until the end: see internet_seen */

/* Moves this process into a namespace of its own and starts the other one. false, with why: this machine does not let
 * us. Call it first of all: no thread may run. */
bool internet_open(const char **why);
void internet_close(void);

/* What the far end has seen, in memory that is shared with it. */
struct internet_seen {
    _Atomic uint32_t queries;                /* names that were asked for */
    _Atomic uint64_t sink_bytes;             /* that the sink has read */
    _Atomic uint32_t sink_reads;             /* set by the test: it reads on */
    _Atomic uint32_t accepted, ended, reset; /* connections, and how they ended */
};
extern struct internet_seen *internet_seen;

/* Names: echo.test 9.9.9.3; wild.echo.test the same; private.test 10.77.0.2; both.test 10.77.0.2 and 9.9.9.3;
 * own.test 9.9.9.1; loop.test 127.0.0.1; six.test ::1; mapped.test ::ffff:127.0.0.1; metadata.test 169.254.169.254;
 * flip.test 9.9.9.3 when it is asked for the first time, then 127.0.0.1; silent.test: no answer; all others: none. */

#endif
