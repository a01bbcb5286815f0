/* service/token: the tokens that let requests in, in memory.  Private to src/service. */
#ifndef SERVICE_TOKEN_H
#define SERVICE_TOKEN_H

#include <stdatomic.h>

#include "registry/registry.h"
#include "service/service.h"

#define TOKEN_TEXT_LEN 64

struct token {
    int64_t id; /* 0: free */
    uint8_t hash[32];
    uint32_t scopes;
    uint64_t expires; /* seconds; 0: never */
    _Atomic uint64_t used, written;
    _Atomic uint64_t spent_until; /* monotonic ns: when none of its requests counts against it any more */
    char plugins[SERVICE_SCOPES_MAX];
};

struct tokens;

struct tokens *tokens_new(void); /* NULL: no memory */
void tokens_free(struct tokens *t);

/* Any thread. */
int tokens_add(struct tokens *t, const struct token *one, struct error *err); /* copied */
void tokens_remove(struct tokens *t, int64_t id); /* from its return on nobody is let in with it */
size_t tokens_count(struct tokens *t);
/* Requests a minute of each, and as many at once; 0: without a limit. Holds for the next request. */
void tokens_limit(struct tokens *t, uint64_t requests);
uint64_t tokens_used_at(struct tokens *t, const struct registry_token *one);

/* Writes when they were used. Blocks; not on a loop. */
void tokens_flush(struct service *s);

/* text: scopes with a space between them. MOAT_E_BAD_USAGE. Pure. */
int token_scopes(const char *text, uint32_t *scopes, char plugins[SERVICE_SCOPES_MAX], struct error *err);

#endif
