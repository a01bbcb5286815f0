/* Who asks, by the token that a request brings. */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "rest/request.h"

struct rest_principal rest_bearer(struct rest *r, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    struct rest_principal principal = {0};
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return principal;
    const char *token = authorization + sizeof scheme - 1;
    struct service_principal found;
    if (!service_token_find(r->service, token + strspn(token, " "), &found))
        return principal;
    principal.scopes = found.scopes;
    principal.token = found.token;
    principal.expires = found.expires;
    principal.wait_ns = found.wait_ns;
    memcpy(principal.plugins, found.plugins, sizeof principal.plugins);
    return principal;
}

static uint64_t this_second(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (uint64_t)t.tv_sec;
}

/* Behind a proxy a connection is many clients': none may learn from the time how much of another's token it has. */
static bool is_same_header(const struct rest_known *known, const char *header, size_t len)
{
    unsigned char differ = 0;
    if (!known->len || known->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(known->header[i] ^ header[i]);
    return differ == 0;
}

const struct rest_principal *rest_bearer_known(struct rest *r, struct rest_known *known, const char *authorization)
{
    uint64_t epoch = service_token_epoch(r->service), second = this_second(); /* before the look: older at worst */
    size_t len = authorization ? strnlen(authorization, REST_KNOWN_MAX) : 0;
    if (known->epoch == epoch && known->second == second && is_same_header(known, authorization, len))
        return &known->who;
    known->who = rest_bearer(r, authorization);
    known->epoch = epoch;
    known->second = second;
    known->len = epoch && known->who.scopes && len < REST_KNOWN_MAX ? len : 0;
    if (known->len)
        memcpy(known->header, authorization, known->len);
    return &known->who;
}

bool request_is_let_in(struct rest_request *q)
{
    return !q->token || service_token_holds(request_service(q), q->token, q->token_expires, &q->token_seen);
}
