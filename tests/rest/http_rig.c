/* The HTTP server over a fake service, driven by lines on standard input, so that what happens on the wire is tested
 * without plugins, and slow or silent ones come when the test says so.
 *
 *     http_rig HOME ADDRESS:PORT      prints "URL"
 *     hold | release                  calls end only when they are cancelled, or at once again
 *     fail CODE | succeed             by the code's number
 *     limits PAYLOAD PACKAGE
 *     cancelled | asked | package     prints it
 *     busy | drain | quit */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_service.h"
#include "http/http.h"

static void obey(char *line, struct service *s, struct http *h)
{
    unsigned long long payload, package;
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "hold") == 0 || strcmp(line, "release") == 0)
        fake_hold_calls(s, *line == 'h');
    else if (strncmp(line, "fail ", 5) == 0)
        fake_fail(s, (enum moat_code)atoi(line + 5), "told to fail");
    else if (strcmp(line, "succeed") == 0)
        fake_fail(s, MOAT_E_OK, "");
    else if (sscanf(line, "limits %llu %llu", &payload, &package) == 2)
        fake_limits(s, payload, package);
    else if (strcmp(line, "drain") == 0)
        http_drain(h);
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

int main(int argc, char **argv)
{
    struct service *s = fake_begin(argv[1]);
    struct rest *rest;
    struct http *h;
    struct error err;
    char line[256];
    struct http_options options = {.listen = argv[2]};
    signal(SIGPIPE, SIG_IGN);
    if (rest_new(s, &rest, &err) < 0 || http_new(rest, &h, &err) < 0)
        return 2;
    int rc = http_listen(h, &options, &err);
    if (rc == 0) {
        printf("%s\n", http_url(h));
        fflush(stdout);
        while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0)
            obey(line, s, h);
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
