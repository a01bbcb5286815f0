/* The HTTP server over a fake service, driven by lines on standard input, so that what happens on the wire is tested
 * without plugins, and slow or silent ones come when the test says so.
 *
 *     http_rig HOME ADDRESS:PORT [NAME=VALUE…]      prints "URL"
 * with NAME head_ms, idle_ms, body_ms, rate, connections, per_address, access_every, insecure, cert, key.
 *     hold | release                  calls end only when they are cancelled, or at once again
 *     fail CODE | succeed             by the code's number
 *     limits PAYLOAD PACKAGE
 *     tell LINES BYTES | finish       the call that is held logs, or ends
 *     cancelled | asked | package     prints it
 *     busy | drain | reload | quit */
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_service.h"
#include "http/http.h"

static void obey(char *line, struct service *s, struct http *h)
{
    unsigned long long payload, package, lines, bytes;
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "hold") == 0 || strcmp(line, "release") == 0)
        fake_hold_calls(s, *line == 'h');
    else if (strncmp(line, "fail ", 5) == 0)
        fake_fail(s, (enum moat_code)atoi(line + 5), "told to fail");
    else if (strcmp(line, "succeed") == 0)
        fake_fail(s, MOAT_E_OK, "");
    else if (sscanf(line, "limits %llu %llu", &payload, &package) == 2)
        fake_limits(s, payload, package);
    else if (sscanf(line, "tell %llu %llu", &lines, &bytes) == 2)
        fake_tell(s, (unsigned)lines, bytes);
    else if (strcmp(line, "finish") == 0)
        fake_finish(s);
    if (strcmp(line, "cancelled") == 0)
        printf("%u\n", fake_cancelled(s));
    else if (strcmp(line, "busy") == 0)
        printf("%zu\n", http_busy(h));
    else if (strcmp(line, "asked") == 0)
        printf("%s\n", fake_asked(s));
    else if (strcmp(line, "package") == 0)
        printf("%s\n", fake_package(s));
    else
        printf("ok\n");
    fflush(stdout);
}

static void take_option(struct http_options *o, char *text)
{
    char *value = strchr(text, '=');
    if (!value)
        exit(2);
    *value++ = '\0';
    unsigned long long n = strtoull(value, NULL, 10);
    if (strcmp(text, "head_ms") == 0)
        o->limits.head_ns = n * 1000000;
    else if (strcmp(text, "idle_ms") == 0)
        o->limits.idle_ns = n * 1000000;
    else if (strcmp(text, "body_ms") == 0)
        o->limits.body_ns = n * 1000000;
    else if (strcmp(text, "rate") == 0)
        o->limits.rate = n;
    else if (strcmp(text, "connections") == 0)
        o->limits.connections = (unsigned)n;
    else if (strcmp(text, "per_address") == 0)
        o->limits.per_address = (unsigned)n;
    else if (strcmp(text, "access_every") == 0)
        o->limits.access_every = (unsigned)n;
    else if (strcmp(text, "insecure") == 0)
        o->insecure = n;
    else if (strcmp(text, "cert") == 0)
        o->cert = value;
    else if (strcmp(text, "key") == 0)
        o->key = value;
    else
        exit(2);
}

/* The fake's state is its loop's: an order is obeyed there. */
struct order {
    struct loop_task task;
    char line[256];
    struct service *s;
    struct http *h;
    sem_t obeyed;
};

static void run_order(struct loop_task *task)
{
    struct order *o = (struct order *)task;
    obey(o->line, o->s, o->h);
    sem_post(&o->obeyed);
}

/* Of the server alone; both wait for its loop. */
static void obey_here(const struct order *o)
{
    struct error err;
    if (strcmp(o->line, "drain\n") == 0)
        http_drain(o->h);
    else if (strcmp(o->line, "reload\n") == 0 && http_reload(o->h, &err) < 0)
        printf("%s: ", err.message);
}

int main(int argc, char **argv)
{
    struct service *s = fake_begin(argv[1]);
    struct rest *rest;
    struct http *h;
    struct error err;
    struct order order = {.task.run = run_order, .s = s};
    struct http_options options = HTTP_OPTIONS;
    options.listen = argv[2];
    for (int i = 3; i < argc; i++)
        take_option(&options, argv[i]);
    log_setup(STDERR_FILENO, LOG_JSON, LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    if (rest_new(s, &rest, &err) < 0 || http_new(rest, &h, &err) < 0)
        return 2;
    int rc = http_listen(h, &options, &err);
    if (rc == 0) {
        printf("%s\n", http_url(h));
        fflush(stdout);
        order.h = h;
        sem_init(&order.obeyed, 0, 0);
        while (fgets(order.line, sizeof order.line, stdin) && strcmp(order.line, "quit\n") != 0) {
            obey_here(&order);
            loop_post(service_loop(s, 0), &order.task);
            while (sem_wait(&order.obeyed) != 0)
                ;
        }
        http_drain(h);
        http_abandon(h);
    } else {
        printf("%s\n", err.message);
    }
    http_stop(h);
    fake_end(s);
    http_free(h);
    rest_free(rest);
    return rc ? 1 : 0;
}
