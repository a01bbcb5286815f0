/* Answers in gzip, for clients that take it.  Compressed piece by piece while it is sent, so that no answer, however
 * large, holds the loop for longer than one piece takes. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "http/server.h"

#define WORTH 1024        /* bytes; below that the head is most of it */
#define PIECE (16 * 1024) /* about a quarter of a millisecond */
#define LEVEL 1
#define GZIP_WINDOW (MAX_WBITS + 16)

struct packer {
    struct rest_request *q;
    z_stream z;
    size_t part; /* of the answer, whose bytes z has */
    bool finished;
};

/* "gzip;q=0" refuses it; the weights are otherwise no business of a server that knows one coding. */
bool compress_accepted(const char *header)
{
    static const char coding[] = "gzip";
    size_t len = sizeof coding - 1;
    for (const char *at = header; *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " \t");
        if (strncasecmp(at, coding, len) != 0 || !strchr(" \t;,", at[len]))
            continue;
        const char *end = at + strcspn(at, ",");
        const char *q = memchr(at, '=', (size_t)(end - at));
        return !q || strtod(q + 1, NULL) > 0;
    }
    return false;
}

static const char *header_of(const struct rest_answer *a, const char *name)
{
    for (size_t i = 0; i < a->nheaders; i++)
        if (strcasecmp(a->headers[i].name, name) == 0)
            return a->headers[i].value;
    return NULL;
}

static bool is_text(const char *type)
{
    static const char *const texts[] = {"application/json", "text/", "application/openmetrics-text"};
    for (size_t i = 0; type && i < sizeof texts / sizeof *texts; i++)
        if (strncasecmp(type, texts[i], strlen(texts[i])) == 0)
            return true;
    return false;
}

bool compress_worth(const struct rest_answer *a)
{
    return a->file < 0 && a->len >= WORTH && is_text(header_of(a, "Content-Type"));
}

static void feed(struct packer *p)
{
    const struct rest_answer *a = rest_answer(p->q);
    while (!p->z.avail_in && p->part < a->nparts) {
        p->z.next_in = (unsigned char *)(uintptr_t)a->parts[p->part].bytes;
        p->z.avail_in = (unsigned)a->parts[p->part].len; /* a call's result is 256 MiB at most */
        p->part++;
    }
}

static ssize_t next_piece(void *cls, uint64_t at, char *out, size_t max)
{
    struct packer *p = cls;
    if (p->finished)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t room = max < PIECE ? max : PIECE, taken = 0;
    p->z.next_out = (unsigned char *)out;
    p->z.avail_out = (unsigned)room;
    while (p->z.avail_out == room && !p->finished && taken < 16 * PIECE) {
        feed(p);
        unsigned whole = p->z.avail_in;
        unsigned now = whole < PIECE ? whole : PIECE;
        bool last = now == whole && p->part == rest_answer(p->q)->nparts;
        p->z.avail_in = now;
        int rc = deflate(&p->z, last ? Z_FINISH : Z_NO_FLUSH);
        taken += now - p->z.avail_in;
        p->z.avail_in += whole - now;
        if (rc == Z_STREAM_END)
            p->finished = true;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    ssize_t n = (ssize_t)(room - p->z.avail_out);
    return n || !p->finished ? n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void packer_free(void *cls)
{
    struct packer *p = cls;
    deflateEnd(&p->z);
    rest_end(p->q);
    free(p);
}

struct MHD_Response *compress_response(struct rest_request *q)
{
    struct packer *p = calloc(1, sizeof *p);
    if (!p || deflateInit2(&p->z, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(p);
        return NULL;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, next_piece, p, packer_free);
    if (!response) {
        deflateEnd(&p->z);
        free(p);
        return NULL;
    }
    p->q = q;
    MHD_add_response_header(response, "Content-Encoding", "gzip");
    return response;
}
