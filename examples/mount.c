/* mount: a small web server with a page of its own that mounts Moat's routes under /host, the way a web framework
 * registers a blueprint.
 *
 *     mount HOME PORT          prints "http://127.0.0.1:PORT"; ends when standard input does
 *
 * GET /hello is its own; /host/api/… is Moat's. Whoever sends `X-Operator: yes` it vouches for; a real program would
 * look at its session. Everybody else needs one of Moat's tokens. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <moat/moat.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOUNT "/host"
#define HEADERS_MAX 32
#define BODY_MAX (1 << 20)

struct request {
    struct moat_rest_request rest;
    struct moat_rest_header headers[HEADERS_MAX];
    char target[2048];
    char *body;
    size_t len;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int done;
};

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct request *r = cls;
    if (r->rest.nheaders < HEADERS_MAX)
        r->headers[r->rest.nheaders++] = (struct moat_rest_header){name, value ? value : ""};
    if (strcasecmp(name, "X-Operator") == 0 && value && strcmp(value, "yes") == 0)
        r->rest.trusted = true;
    (void)kind;
    return MHD_YES;
}

static void told(struct moat_rest_request *rest)
{
    struct request *r = rest->context;
    pthread_mutex_lock(&r->lock);
    r->done = 1;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
}

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *text, size_t len)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return rc;
}

/* This server has a thread for each connection, so that it may wait. */
static enum MHD_Result ask_moat(struct moat *moat, struct request *r, struct MHD_Connection *c)
{
    struct moat_error error;
    r->rest.headers = r->headers;
    r->rest.body = r->body;
    r->rest.body_len = r->len;
    if (moat_rest_begin(moat, &r->rest, told, &error) != MOAT_E_OK)
        return send_text(c, 503, error.message, strlen(error.message));
    pthread_mutex_lock(&r->lock);
    while (!r->done)
        pthread_cond_wait(&r->ended, &r->lock);
    pthread_mutex_unlock(&r->lock);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->rest.answer_len, (void *)(uintptr_t)r->rest.answer, MHD_RESPMEM_MUST_COPY);
    for (size_t i = 0; i < r->rest.nanswer_headers; i++)
        MHD_add_response_header(response, r->rest.answer_headers[i].name, r->rest.answer_headers[i].value);
    enum MHD_Result rc = MHD_queue_response(c, (unsigned)r->rest.status, response);
    MHD_destroy_response(response);
    moat_rest_end(&r->rest);
    return rc;
}

static void *see_target(void *cls, const char *target, struct MHD_Connection *c)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->rest = (struct moat_rest_request){.size = sizeof r->rest, .target = r->target, .mount = MOUNT, .context = r};
    snprintf(r->target, sizeof r->target, "%s", target);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->ended, NULL);
    (void)cls, (void)c;
    return r;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context)
{
    struct request *r = *context;
    if (!r)
        return MHD_NO;
    (void)version;
    if (!r->rest.method) {
        r->rest.method = method;
        MHD_get_connection_values(c, MHD_HEADER_KIND, take_header, r);
        return MHD_YES;
    }
    if (*size) {
        char *more = r->len + *size <= BODY_MAX ? realloc(r->body, r->len + *size) : NULL;
        if (!more)
            return MHD_NO;
        memcpy(more + r->len, data, *size);
        r->body = more;
        r->len += *size;
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/hello") == 0)
        return send_text(c, 200, "hello from the host program\n", 28);
    if (strncmp(url, MOUNT "/", strlen(MOUNT) + 1) == 0)
        return ask_moat(cls, r, c);
    return send_text(c, 404, "not here\n", 9);
}

static void completed(void *cls, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode why)
{
    struct request *r = *context;
    if (r) {
        free(r->body);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->ended);
        free(r);
    }
    (void)cls, (void)c, (void)why;
}

int main(int argc, char **argv)
{
    struct moat *moat;
    struct moat_error error;
    if (argc != 3) {
        fprintf(stderr, "usage: mount HOME PORT\n");
        return 2;
    }
    struct moat_options options = {.size = sizeof options, .home = argv[1]};
    if (moat_open(&options, &moat, &error) != MOAT_E_OK) {
        fprintf(stderr, "mount: %s\n", error.message);
        return 1;
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_Daemon *server =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, handle, moat,
                         MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_URI_LOG_CALLBACK, see_target, NULL,
                         MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
    if (server) {
        printf("http://127.0.0.1:%u\n", MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
        fflush(stdout);
        while (getchar() != EOF)
            ;
        MHD_stop_daemon(server);
    }
    moat_close(moat);
    return server ? 0 : 1;
}
