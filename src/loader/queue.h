/* loader/queue: calls that wait for a worker of a plugin.  Under the plugin's lock; its functions take it, on any
 * thread. Part of loader/internal. */
#ifndef LOADER_QUEUE_H
#define LOADER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct call_list;
struct plugin;

#define QUEUE_LANES 16 /* of each of two sides: the current generation's, and a canary's */
#define QUEUE_SIDE(n) (0xffffu << 16 * (n))
#define QUEUE_ALL (QUEUE_SIDE(0) | QUEUE_SIDE(1))
struct queue {
    struct queue_lane {
        struct call *first, *last;
        uint32_t count;
    } lanes[2 * QUEUE_LANES];
    uint32_t filled;  /* bits of lanes that have calls */
    uint32_t turn[2]; /* of each side: the lane that had its turn last */
    uint64_t soonest; /* no deadline in it is earlier */
};

/* 0 or -code with c->error filled. */
int queue_add(struct plugin *p, struct call *c);
/* Back to the front, in the order of the list; nothing bounds it. */
void queue_return(struct plugin *p, struct call_list *list);
/* lanes: bits of those that are meant. */
struct call *queue_take(struct plugin *p, uint32_t lanes);
bool queue_waits(struct plugin *p, uint32_t lanes);
bool queue_remove(struct plugin *p, struct call *c); /* false: it is not in the queue any more */
/* Takes what is over its deadline or cancelled; returns when to look again. */
uint64_t queue_expire(struct plugin *p, uint64_t now, struct call_list *late);
/* Everything that waits. */
void queue_empty(struct plugin *p, struct call_list *out);

#endif
