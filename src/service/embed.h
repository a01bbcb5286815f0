/* service/embed: what the parts of libmoat share behind struct moat.  Not for the host's own code. */
#ifndef SERVICE_EMBED_H
#define SERVICE_EMBED_H

struct moat;
struct service;

struct service *moat_service(struct moat *m);
/* What the front door keeps for this handle: made when it is first asked for (NULL: no memory), freed by moat_close
 * when the service has gone. Any thread. */
void *moat_front(struct moat *m, void *(*make)(struct service *s), void (*free)(void *front));

#endif
