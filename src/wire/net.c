#include "wire/net.h"

#include <string.h>

static bool is_text(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool all_zero(const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

/* least: how many there must be; 0: none may be. */
static bool addresses_fit(const struct net_address *a, uint32_t n, uint32_t least, uint32_t most)
{
    if (n < least || n > most)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if ((a[i].family != NET_V4 && a[i].family != NET_V6) || a[i].named > 1 ||
            (a[i].family == NET_V4 && !all_zero(a[i].bytes + 4, 12)))
            return false;
    return all_zero(a + n, (NET_ADDRESSES_MAX - n) * sizeof *a);
}

/* Printable ASCII without a space: a name as src/policy makes it normal. */
static bool is_host(const char *text, size_t size)
{
    if (!is_text(text, size) || !*text)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* What each kind may carry. */
static const struct order_rule {
    bool id, time, port, name, servers;
    uint32_t least, most; /* addresses */
    size_t fds;
} order_rules[NET_ORDERS] = {
    [NET_SETUP] = {.servers = true},
    [NET_RESOLVE] = {.id = true, .time = true, .name = true},
    [NET_CONNECT] = {.id = true, .time = true, .port = true, .least = 1, .most = NET_ADDRESSES_MAX, .fds = 1},
    [NET_CLOSE] = {.id = true},
    [NET_QUIT] = {0},
};

const char *net_order_fault(const struct net_order *o, size_t len, size_t nfds)
{
    if (len != sizeof *o || o->version != NET_VERSION)
        return "an order of another length or version";
    if (o->kind == 0 || o->kind >= NET_ORDERS)
        return "an order of no known kind";
    const struct order_rule *rule = &order_rules[o->kind];
    if (nfds != rule->fds)
        return "an order with another number of descriptors than its kind has";
    if (rule->id ? o->id >= NET_CONNECTIONS : o->id != 0)
        return "an order with an id that there is not";
    if ((o->timeout_ms != 0) != rule->time || (rule->port ? o->port == 0 || o->port > 65535 : o->port != 0))
        return "an order with a time or a port that its kind does not have";
    if (!addresses_fit(o->addresses, o->naddresses, rule->least, rule->most))
        return "an order with addresses that are none";
    if (rule->name ? !is_host(o->text, sizeof o->text) : !is_text(o->text, sizeof o->text))
        return "an order with a name that is none";
    if ((!rule->name && !rule->servers && *o->text) || (!rule->servers && o->bytes_per_second))
        return "an order with what its kind does not have";
    return NULL;
}

static const struct report_rule {
    bool id, why, counts;
    uint32_t least, most;
} report_rules[NET_REPORTS] = {
    [NET_READY] = {0},
    [NET_RESOLVED] = {.id = true, .least = 1, .most = NET_ADDRESSES_MAX},
    [NET_CONNECTED] = {.id = true, .least = 1, .most = 1},
    [NET_REFUSED] = {.id = true, .why = true, .most = 1},
    [NET_ENDED] = {.id = true, .counts = true},
};

const char *net_report_fault(const struct net_report *r, size_t len)
{
    if (len != sizeof *r || r->version != NET_VERSION)
        return "a report of another length or version";
    if (r->kind == 0 || r->kind >= NET_REPORTS)
        return "a report of no known kind";
    const struct report_rule *rule = &report_rules[r->kind];
    if (rule->id ? r->id >= NET_CONNECTIONS : r->id != 0)
        return "a report with an id that there is not";
    if (rule->why ? r->why == NET_WHY_NONE || r->why >= NET_WHY_COUNT : r->why != NET_WHY_NONE)
        return "a report with a reason that there is not";
    if (!addresses_fit(r->addresses, r->naddresses, rule->least, rule->most))
        return "a report with addresses that are none";
    if (!rule->counts && (r->bytes_in || r->bytes_out))
        return "a report with counts that its kind does not have";
    return NULL;
}

static const struct {
    const char *name, *text;
} whys[NET_WHY_COUNT] = {
#define X(id, name, text) {name, text},
    NET_WHYS(X)
#undef X
};

const char *net_why_name(uint32_t why)
{
    return why < NET_WHY_COUNT ? whys[why].name : "";
}

const char *net_why_text(uint32_t why)
{
    return why < NET_WHY_COUNT ? whys[why].text : "";
}
