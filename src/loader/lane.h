/* loader/lane: a worker's channel as its owner works it; only the owner calls these.  Part of loader/internal. */
#ifndef LOADER_LANE_H
#define LOADER_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/channel.h"

struct call;
struct call_list;
struct worker;

#define LANE_LET_GO_NS (2000 * 1000ull) /* a loop lets a worker that computes longer off its CPU */

enum pushed { PUSHED, PUSH_FULL, PUSH_FINISHED };
enum pushed lane_push(struct worker *w, struct call *c, uint64_t now, struct call_list *here);
bool lane_control(struct worker *w, enum channel_kind kind, uint64_t now, uint64_t deadline_ns);
bool lane_request(struct worker *w, enum channel_kind kind, const uint8_t *bytes, size_t len, uint64_t now,
                  uint64_t deadline_ns);
/* The plugin's words for a failure, copied to text and made harmless. */
void lane_failure(const struct channel_answer *a, char *text, size_t size, const char **code, const char **message);
/* Reads at most max records; how many. CHANNEL_BROKEN kills. */
unsigned lane_drain(struct worker *w, unsigned max, struct call_list *here);
/* Deadlines and cancellations; returns when to look again, UINT64_MAX: no need. */
uint64_t lane_expire(struct worker *w, uint64_t now, struct call_list *here);
/* After its death: answers what was taken, gives back what was not. */
void lane_bury(struct worker *w, struct call_list *untaken, struct call_list *here);

#endif
