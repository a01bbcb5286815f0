/* service/token: the tokens that let requests in, in memory.  Private to src/service. */
#ifndef SERVICE_TOKEN_H
#define SERVICE_TOKEN_H

struct service;
struct tokens;

struct tokens *tokens_new(void); /* NULL: no memory */
void tokens_free(struct tokens *t);
/* Writes when they were used. Blocks; not on a loop. */
void tokens_flush(struct service *s);

#endif
