/* A hostile net helper against the host, and hostile orders against the helper's check.  The input is what a helper
 * reports, mixed with what plugins ask and give up: each question is answered exactly once, nothing is handed out that
 * was not connected, and every link comes back. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "broker/net_internal.h"

#define QUESTIONS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct asked {
    struct question q;
    void (*stop)(struct question *q);
    bool open, answered;
    uint8_t bytes[64];
};

static struct asked questions[QUESTIONS];
static unsigned nquestions, handed;

static bool on_stop(struct question *q, void (*stop)(struct question *q))
{
    ((struct asked *)(void *)q)->stop = stop;
    return true;
}

static void answer(struct question *q)
{
    struct asked *a = (struct asked *)(void *)q;
    must(a->open && !a->answered);
    a->answered = true;
}

static void hand(struct question *q, int fd)
{
    must(fcntl(fd, F_GETFD) >= 0);
    handed++;
    answer(q);
}

static void refuse(struct question *q, const struct error *err)
{
    must(err->code != MOAT_E_OK);
    answer(q);
}

static void deny(struct question *q, int permission, const char *operation, const char *object, const struct error *err)
{
    must(*object && err->code == MOAT_E_PERMISSION_DENIED);
    answer(q);
}

static const struct ask_answers answers = {.on_stop = on_stop, .hand = hand, .refuse = refuse, .deny = deny};

static uint64_t now(void *context)
{
    return 1;
}

/* ---- the host, with a helper that this input plays ---- */

static struct loop *loop;
static struct broker *broker;
static struct net *net;
static struct side *side;
static int helper = -1;

static void grant_all(void)
{
    static struct policy_answer given;
    struct ask asks = {.permission = PERMISSION_NETWORK_ACCESS};
    struct decision d[2] = {{.grant.permission = PERMISSION_NETWORK_ACCESS}};
    must(grant_parse("network_access=10.0.0.0/8:*", &d[1].grant, NULL) == 0);
    policy_decide(&(struct policy_input){.asks = &asks, .nasks = 1, .decisions = d, .ndecisions = 2}, &given);
    broker_set(broker, "p", "1", &given);
}

static void open_all(void)
{
    int ends[2];
    must(loop_new(&loop, NULL) == 0);
    must(broker_new(&(struct broker_config){.now = now}, &broker, NULL) == 0);
    must(net_new(&(struct net_config){.loop = loop,
                                      .broker = broker,
                                      .limits = {.connections = 16, .connect_ns = 1000000000}},
                 &net, NULL) == 0);
    broker_use_net(broker, net);
    grant_all();
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    side = side_of(net, "p");
    side->control = ends[0];
    side->state = HELPER_STARTING;
    helper = ends[1];
}

/* What the host ordered is read, so that it never has to wait; its descriptors are closed. */
static void drain(void)
{
    struct net_order o;
    int fd = -1;
    size_t n = 1;
    while (io_recv(helper, &o, sizeof o, &fd, &n) > 0) {
        must(!net_order_fault(&o, sizeof o, n));
        io_close(&fd);
        n = 1;
    }
}

static void turn(void)
{
    loop_stop(loop);
    loop_run(loop);
}

static void close_all(void)
{
    net_stop(net);
    turn();
    drain();
    helper_gone(side);
    must(side->used == 0 && !side->line);
    for (unsigned i = 0; i < nquestions; i++)
        must(questions[i].answered);
    loop_free(loop); /* runs what was posted: stops that are still to come */
    close(helper);
    net_free(net);
    broker_free(broker);
    nquestions = handed = 0;
}

/* ---- what happens ---- */

static void ask(const uint8_t *data, size_t len)
{
    static const char *const hosts[] = {"a.test", "b.test", "10.1.2.3", "127.0.0.1", "[::1]", "9.9.9.9"};
    struct asked *a = &questions[nquestions];
    struct net_wish wish = {.port = len ? data[0] : 7, .flags = 0};
    if (nquestions == QUESTIONS)
        return;
    nquestions++;
    *a = (struct asked){.open = true};
    memcpy(a->bytes, &wish, sizeof wish);
    const char *host = hosts[len > 1 ? data[1] % (sizeof hosts / sizeof *hosts) : 0];
    size_t n = strlen(host);
    memcpy(a->bytes + sizeof wish, host, n);
    if (len > 2 && data[2] & 1) { /* the worker's own bytes */
        n = len - 2 < sizeof a->bytes - sizeof wish ? len - 2 : sizeof a->bytes - sizeof wish;
        memcpy(a->bytes + sizeof wish, data + 2, n);
    }
    a->q = (struct question){.to = &answers,
                             .service = ASK_CONNECT,
                             .bytes = a->bytes,
                             .len = sizeof wish + n,
                             .plugin = "p",
                             .version = "1",
                             .action = "a",
                             .call_id = ""};
    broker_ask(broker, &a->q);
}

static void give_up(const uint8_t *data, size_t len)
{
    struct asked *a = len && nquestions ? &questions[data[0] % nquestions] : NULL;
    void (*stop)(struct question *) = a ? a->stop : NULL;
    if (!stop || a->answered)
        return;
    a->stop = NULL;
    stop(&a->q);
}

static void report(const uint8_t *data, size_t len)
{
    struct net_report r = {.version = NET_VERSION};
    size_t n = sizeof r;
    if (len && data[0] & 0x80) { /* any bytes of any length */
        memset(&r, 0, sizeof r);
        n = len - 1 < sizeof r ? len - 1 : sizeof r;
        memcpy(&r, data + 1, n);
    } else if (len > 3) { /* one that may be due */
        r.kind = data[0] % (NET_REPORTS + 1);
        r.id = data[1];
        r.why = r.kind == NET_REFUSED ? data[2] % (NET_WHY_COUNT + 1) : 0;
        r.naddresses = r.kind == NET_RESOLVED || r.kind == NET_CONNECTED || data[2] == NET_WHY_OWN_ADDRESS ? 1 : 0;
        if (r.naddresses)
            r.addresses[0] = (struct net_address){.family = NET_V4, .bytes = {10, 0, 0, data[3]}};
        if (r.naddresses && data[3] & 1)
            memcpy(r.addresses[0].bytes, (uint8_t[]){9, 9, 9, 9}, 4);
    }
    if (side->state == HELPER_STARTING || side->state == HELPER_UP)
        helper_report(side, &r, n);
}

static void check_order(const uint8_t *data, size_t len)
{
    struct net_order o;
    memset(&o, 0, sizeof o);
    memcpy(&o, data, len < sizeof o ? len : sizeof o);
    if (net_order_fault(&o, len < sizeof o ? len : sizeof o, o.kind == NET_CONNECT))
        return;
    must(o.id < NET_CONNECTIONS && o.naddresses <= NET_ADDRESSES_MAX && o.port <= 65535 &&
         memchr(o.text, 0, sizeof o.text));
}

/* Steps: a length, and as many bytes, of which the first says what happens. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const steps[])(const uint8_t *data, size_t len) = {ask, report, give_up, check_order};
    static bool quiet;
    if (!quiet) /* what a helper does wrong is logged */
        log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_JSON, LOG_ERROR);
    quiet = true;
    open_all();
    check_order(data, size);
    while (size > 1) {
        size_t len = data[0] < size - 1 ? data[0] : size - 1;
        if (len)
            steps[data[1] % 4](data + 2, len - 1);
        turn();
        drain();
        data += 1 + len;
        size -= 1 + len;
    }
    close_all();
    return 0;
}
