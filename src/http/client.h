/* http/client: one request over the home's Unix socket, for the command line.  Blocks. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct client_request {
    const char *method, *target;
    const char *content_type; /* NULL: none */
    const void *body;         /* or */
    int body_file;            /* -1: body; else all of this file from its start */
    uint64_t body_len;
    const char *deadline; /* Moat-Deadline, or NULL */
    /* NULL, or events are asked for: an answer that is a stream is given piece by piece, as it comes. */
    void (*stream)(void *context, const char *bytes, size_t len);
    void *context;
    int answer_file; /* -1: into memory; else the body of a successful answer is written there */
};

struct client_answer {
    int status;
    char receipt[512]; /* Moat-Receipt, or "" */
    struct buf body;   /* the caller frees it; empty when it went to a file */
};

/* Is a server there? A connected socket, or -1 with errno. */
int client_connect(const char *socket_path);
/* Sends and waits. A server that is busy is waited for as long as it takes; one that does not even answer for its
 * health within a few seconds is MOAT_E_NO_ANSWER. socket is closed in any case. */
int client_ask(int socket, const char *socket_path, const struct client_request *request, struct client_answer *out,
               struct error *err);

#endif
