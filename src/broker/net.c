#include "broker/net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "broker/net_internal.h"
#include "broker/rights.h"

#define OPERATION "connect"
#define HOST_MAX 255

/* ---- a wish's end ---- */

/* Its stop takes the context out before it does anything: whoever has it says when the wish is freed. */
static void leave(struct wish *w)
{
    w->answered = true;
    if (w->id >= 0) {
        w->side->links[w->id].wish = NULL;
        w->id = -1;
    }
    for (struct wish **link = &w->side->line; w->in_line && *link; link = &(*link)->next)
        if (*link == w) {
            *link = w->next;
            if (!*link)
                w->side->line_end = link;
            w->in_line = false;
            break;
        }
}

/* Before the answer, after which the ask is no more: does a stop still have it? */
static bool is_mine(struct wish *w)
{
    return __atomic_exchange_n(&w->ask->context, NULL, __ATOMIC_ACQ_REL) != NULL;
}

static void answer_fail(struct wish *w, const struct error *err)
{
    bool mine = is_mine(w);
    leave(w);
    ask_fail(w->ask, err);
    if (mine)
        free(w);
}

void wish_hand(struct wish *w, int fd)
{
    bool mine = is_mine(w);
    leave(w);
    ask_hand(w->ask, fd);
    if (mine)
        free(w);
}

void wish_fail(struct wish *w, enum moat_code code, const char *why)
{
    struct error err;
    error_set(&err, code, "%s: %s", w->object, why);
    answer_fail(w, &err);
}

/* object: what a grant would have to name. */
static void deny(struct wish *w, const char *object, enum policy_reason reason, const char *why)
{
    struct error err;
    char command[POLICY_COMMAND_MAX] = "";
    bool mine = is_mine(w), helps = reason == POLICY_OUTSIDE || reason == POLICY_ENDED || reason == POLICY_UNDECIDED;
    if (helps && !policy_command(w->ask->plugin, PERMISSION_NETWORK_ACCESS, object, command))
        command[0] = '\0';
    error_set(&err, MOAT_E_PERMISSION_DENIED, "%s: %s%s%s%s", w->object, why, *command ? ": `" : "", command,
              *command ? "`" : "");
    atomic_fetch_add(&w->net->refused, 1);
    leave(w);
    ask_deny(w->ask, PERMISSION_NETWORK_ACCESS, OPERATION, object, &err);
    if (mine)
        free(w);
}

/* ---- what it may ---- */

/* false: it was answered. */
static bool name_allowed(struct wish *w, const struct rights *rights)
{
    const struct policy_answer *a = rights ? rights_answer(rights) : NULL;
    enum policy_reason r = a ? policy_allows(a, PERMISSION_NETWORK_ACCESS, w->object, broker_now(w->net->config.broker))
                             : POLICY_NOT_ASKED;
    if (r == POLICY_GRANTED)
        return true;
    deny(w, w->object, r, policy_reason_text(r));
    return false;
}

static struct rights *rights_of(const struct wish *w)
{
    return rights_get(w->net->config.broker, w->ask->plugin, w->ask->version);
}

/* The first address that was not allowed, for the answer when none is. */
struct verdict {
    char object[ADDRESS_TEXT_MAX], why[160];
    enum policy_reason reason;
};

/* An address is allowed when the name was and no ceiling forbids it; one that is not public has to be named itself. */
static bool address_allowed(struct wish *w, const struct policy_answer *a, struct net_address *address,
                            struct verdict *no)
{
    uint64_t now = broker_now(w->net->config.broker);
    struct verdict v = {.reason = POLICY_GRANTED};
    const char *special = address_special(address);
    address_format(address, w->port, v.object);
    address->named = policy_names(a, v.object, now);
    if (policy_forbids(a, PERMISSION_NETWORK_ACCESS, v.object)) {
        v.reason = POLICY_CEILING;
        snprintf(v.why, sizeof v.why, "a ceiling forbids %s", v.object);
    } else if (special && !address->named) {
        v.reason = POLICY_OUTSIDE;
        snprintf(v.why, sizeof v.why, "%s is %s, which has to be named", v.object, special);
    }
    if (v.reason != POLICY_GRANTED && no->reason == POLICY_GRANTED)
        *no = v;
    return v.reason == POLICY_GRANTED;
}

static bool judge(struct wish *w, const struct rights *rights, const struct net_address *a, uint32_t n,
                  struct net_order *out)
{
    struct verdict no = {.reason = POLICY_GRANTED};
    if (!name_allowed(w, rights)) /* again: time has passed */
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct net_address one = a[i];
        if (address_allowed(w, rights_answer(rights), &one, &no))
            out->addresses[out->naddresses++] = one;
    }
    out->port = w->port;
    out->timeout_ms = (uint32_t)(w->net->config.limits.connect_ns / NS_PER_MS);
    if (out->naddresses)
        return true;
    deny(w, no.object, no.reason, no.why);
    return false;
}

bool wish_judge(struct wish *w, const struct net_address *a, uint32_t n, struct net_order *out)
{
    struct rights *rights = rights_of(w);
    bool may = judge(w, rights, a, n, out);
    rights_put(rights);
    return may;
}

void wish_own(struct wish *w, const struct net_address *a)
{
    char object[ADDRESS_TEXT_MAX], why[160];
    address_format(a, w->port, object);
    snprintf(why, sizeof why, "%s is this machine itself, which has to be named", object);
    deny(w, object, POLICY_OUTSIDE, why);
}

/* ---- how much it may ---- */

static bool rate_allows(struct side *s, uint64_t now)
{
    double most = s->net->config.limits.connects_per_second;
    if (most == 0)
        return true;
    s->tokens += most * (double)(now - s->tokens_ns) / (double)NS_PER_S;
    s->tokens = s->tokens > most ? most : s->tokens;
    s->tokens_ns = now;
    if (s->tokens < 1)
        return false;
    s->tokens -= 1;
    return true;
}

/* ---- its way ---- */

/* A helper is up: the name is asked for, or an address connected to. */
void wish_go(struct wish *w)
{
    struct side *s = w->side;
    struct net_order o;
    memset(&o, 0, sizeof o);
    struct rights *rights = rights_of(w);
    bool may = w->literal ? judge(w, rights, &w->address, 1, &o) : name_allowed(w, rights);
    rights_put(rights);
    if (!may)
        return;
    int id = s->used < s->net->config.limits.connections ? link_take(s) : -1;
    if (id < 0) {
        char why[160];
        snprintf(why, sizeof why,
                 "%s has %u connections, and no plugin may have more: close one, or raise "
                 "`network_connections`",
                 s->plugin, s->used);
        wish_fail(w, MOAT_E_LIMIT, why);
        return;
    }
    w->id = id;
    s->links[id].wish = w;
    o.id = (uint32_t)id;
    if (w->literal) {
        o.kind = NET_CONNECT;
        link_connect(s, id, &o);
        return;
    }
    s->links[id].state = NEAR_RESOLVING;
    o.kind = NET_RESOLVE;
    o.timeout_ms = (uint32_t)(s->net->config.limits.connect_ns / NS_PER_MS);
    snprintf(o.text, sizeof o.text, "%.*s", (int)(strrchr(w->object, ':') - w->object), w->object);
    helper_order(s, &o, -1);
}

static void stand_in_line(struct wish *w)
{
    struct side *s = w->side;
    w->next = NULL;
    w->in_line = true;
    *s->line_end = w;
    s->line_end = &w->next;
}

/* A name that text_plain would change is none: what is judged is what was asked. */
bool connect_object(const struct question *ask, char object[POLICY_SCOPE_MAX])
{
    struct net_wish head;
    char host[HOST_MAX + 1];
    size_t n = ask->len < sizeof head ? 0 : ask->len - sizeof head;
    if (n == 0 || n > HOST_MAX)
        return false;
    const char *text = (const char *)ask->bytes + sizeof head;
    memcpy(&head, ask->bytes, sizeof head);
    text_plain(host, sizeof host, text, n);
    if (head.port == 0 || head.flags & ~NET_WISH_NONBLOCK || strlen(host) != n || memcmp(host, text, n) != 0)
        return false;
    bool bare_v6 = strchr(host, ':') && *host != '[';
    snprintf(object, POLICY_SCOPE_MAX, bare_v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)head.port);
    return true;
}

static void begin(struct wish *w)
{
    struct side *s = w->side;
    struct error err;
    if (atomic_load(&w->net->stops)) {
        wish_fail(w, MOAT_E_DRAINING, "the host ends");
    } else if (!rate_allows(s, clock_mono_ns())) {
        wish_fail(w, MOAT_E_RATE_LIMITED, "too many connections in a second: wait, or raise `network_connects`");
    } else if (s->state == HELPER_UP) {
        wish_go(w);
        helper_rest(s);
    } else if (s->state == HELPER_NONE && !helper_start(s, &err)) {
        answer_fail(w, &err);
    } else {
        stand_in_line(w);
    }
}

static void run_begin(struct loop_task *task)
{
    struct wish *w = (struct wish *)(void *)((char *)task - offsetof(struct wish, begin));
    w->begun = true;
    w->side = side_of(w->net, w->ask->plugin);
    if (w->stopped)
        w->stop.run(&w->stop);
    else if (!w->side)
        wish_fail(w, MOAT_E_OUT_OF_MEMORY, "no memory for a connection");
    else
        begin(w);
}

/* ---- its stop ---- */

static void run_stop(struct loop_task *task)
{
    struct wish *w = (struct wish *)(void *)((char *)task - offsetof(struct wish, stop));
    if (!w->answered) {
        struct error err;
        struct side *s = w->side;
        int id = w->id;
        error_set(&err, MOAT_E_CANCELLED, "nobody waits for the connection any more");
        leave(w);
        if (id >= 0)
            link_close(s, id);
        ask_fail(w->ask, &err);
    }
    free(w);
}

/* Any thread. */
static void stop(struct question *ask)
{
    struct wish *w = __atomic_exchange_n(&ask->context, NULL, __ATOMIC_ACQ_REL);
    if (w)
        loop_post(w->net->config.loop, &w->stop);
}

void connect_answer(const struct asking *a, const char *object)
{
    struct net *n = broker_net(a->broker);
    struct question *ask = a->ask;
    struct wish *w = n ? calloc(1, sizeof *w) : NULL;
    struct net_wish head;
    struct error err;
    if (!w || !policy_object(PERMISSION_NETWORK_ACCESS, object, w->object)) {
        error_set(&err, w ? MOAT_E_BAD_PARAMETERS : MOAT_E_OUT_OF_MEMORY, "%.300s: %s", object,
                  w ? "this is no host" : "no memory for a connection");
        free(w);
        ask_fail(ask, &err);
        return;
    }
    memcpy(&head, ask->bytes, sizeof head);
    w->begin.run = run_begin;
    w->stop.run = run_stop;
    w->net = n;
    w->ask = ask;
    w->id = -1;
    w->port = head.port;
    w->flags = head.flags;
    w->literal = address_parse(w->object, &w->address);
    ask->context = w;
    if (ask_on_stop(ask, stop)) {
        loop_post(n->config.loop, &w->begin);
        return;
    }
    free(w);
    error_set(&err, MOAT_E_CANCELLED, "nobody waits for the connection any more");
    ask_fail(ask, &err);
}

/* ---- taking the right back ---- */

static void run_revoke(struct loop_task *task)
{
    struct revoker *r = (struct revoker *)(void *)((char *)task - offsetof(struct revoker, task));
    struct side *s = r->net->sides;
    while (s && strcmp(s->plugin, r->plugin) != 0)
        s = s->next;
    if (!s || s->state == HELPER_NONE) {
        r->done(r->context, NULL);
        free(r);
        return;
    }
    r->next = s->revokers;
    s->revokers = r;
    helper_end(s, true);
    links_end(s, MOAT_E_PERMISSION_DENIED, "the right was taken back");
}

void net_revoke(struct net *n, const char *plugin, void (*done)(void *context, const struct error *error),
                void *context)
{
    struct error err;
    struct revoker *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(&err, MOAT_E_REVOKE_INCOMPLETE, "no memory to end the connections of %s", plugin);
        done(context, &err);
        return;
    }
    *r = (struct revoker){.task.run = run_revoke, .net = n, .done = done, .context = context};
    text_copy(r->plugin, sizeof r->plugin, plugin);
    loop_post(n->config.loop, &r->task);
}

/* ---- the whole ---- */

struct side *side_of(struct net *n, const char *plugin)
{
    for (struct side *s = n->sides; s; s = s->next)
        if (strcmp(s->plugin, plugin) == 0)
            return s;
    struct side *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->net = n;
    text_copy(s->plugin, sizeof s->plugin, plugin);
    s->control = -1;
    s->child = CHILD_NONE;
    s->line_end = &s->line;
    s->tokens = n->config.limits.connects_per_second;
    s->tokens_ns = clock_mono_ns();
    for (size_t i = 0; i < NET_CONNECTIONS; i++)
        s->links[i].end = -1;
    s->next = n->sides;
    n->sides = s;
    return s;
}

int net_new(const struct net_config *config, struct net **out, struct error *err)
{
    struct net *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the network's broker");
    n->config = *config;
    if (n->config.limits.connections > NET_CONNECTIONS)
        n->config.limits.connections = NET_CONNECTIONS;
    *out = n;
    return 0;
}

void net_stop(struct net *n)
{
    atomic_store(&n->stops, true);
}

/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1" or "[2001:db8::1]:53". */
static bool is_server(char *text)
{
    uint8_t address[16];
    char *colon = strrchr(text, ':'), *bracket = strchr(text, ']');
    if (*text == '[') {
        if (!bracket || (bracket[1] && bracket + 1 != colon))
            return false;
        *bracket = '\0';
        text++;
    }
    if (colon && (bracket ? colon > bracket : strchr(text, ':') == colon)) {
        size_t n = strspn(colon + 1, "0123456789");
        if (n == 0 || n > 5 || colon[1 + n] || atoi(colon + 1) > 65535)
            return false;
        *colon = '\0';
    }
    return inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, address) == 1;
}

bool net_servers_check(const char *list)
{
    char copy[NET_SERVERS_MAX], *rest = copy, *one;
    if (!text_copy(copy, sizeof copy, list))
        return false;
    while (*list && (one = strsep(&rest, ",")))
        if (!is_server(one))
            return false;
    return true;
}

void net_free(struct net *n)
{
    for (struct side *s = n ? n->sides : NULL, *next; s; s = next) {
        next = s->next;
        for (size_t i = 0; i < NET_CONNECTIONS; i++)
            io_close(&s->links[i].end);
        io_close(&s->control);
        child_kill(&s->child);
        child_close(&s->child);
        free(s);
    }
    free(n);
}

void net_totals(struct net *n, struct net_totals *out)
{
    *out = (struct net_totals){.connections = atomic_load(&n->connections),
                               .refused = atomic_load(&n->refused),
                               .bytes_in = atomic_load(&n->bytes_in),
                               .bytes_out = atomic_load(&n->bytes_out),
                               .open = atomic_load(&n->open),
                               .helpers = atomic_load(&n->helpers)};
}
