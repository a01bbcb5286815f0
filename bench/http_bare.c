/* What libmicrohttpd costs by itself: a POST's body goes back, with as many bytes around it as Moat puts there.
 *
 *     rest.bare [CERT KEY]      prints its port, and serves until standard input ends */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "bench.h"

#define BEFORE "{\"success\":true,\"result\":"
#define SMALL 16384

struct request {
    char *bytes;
    size_t len, cap;
};

static void grow(struct request *r, size_t more)
{
    if (r->len + more <= r->cap)
        return;
    r->cap = 2 * (r->len + more);
    r->bytes = realloc(r->bytes, r->cap);
    if (!r->bytes)
        exit(1);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context)
{
    struct request *r = *context;
    if (!r) {
        *context = r = calloc(1, sizeof *r);
        return r ? MHD_YES : MHD_NO;
    }
    if (*size) {
        grow(r, *size + sizeof BEFORE + 1);
        if (!r->len)
            r->len = (size_t)(stpcpy(r->bytes, BEFORE) - r->bytes);
        memcpy(r->bytes + r->len, data, *size);
        r->len += *size;
        *size = 0;
        return MHD_YES;
    }
    r->bytes[r->len++] = '}';
    struct MHD_Response *response = MHD_create_response_from_buffer(r->len, r->bytes, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", "application/json");
    r->bytes = NULL;
    enum MHD_Result rc = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return rc;
}

static void completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    struct request *r = *context;
    if (r)
        free(r->bytes);
    free(r);
    *context = NULL;
}

static const char *read_text(const char *path)
{
    struct buf text = BUF_INIT(65536);
    struct error err;
    if (io_read_file(path, &text, &err) < 0)
        bench_die("%s", err.message);
    return buf_text(&text);
}

int main(int argc, char **argv)
{
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, argc > 2 ? (void *)(uintptr_t)read_text(argv[1]) : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, argc > 2 ? (void *)(uintptr_t)read_text(argv[2]) : NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | (argc > 2 ? MHD_USE_TLS : 0), 0, NULL, NULL, handle, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192,
        MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_ARRAY, argc > 2 ? tls : &tls[2], MHD_OPTION_END);
    if (!daemon)
        bench_die("cannot start bare libmicrohttpd");
    printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    MHD_stop_daemon(daemon);
    return 0;
}
