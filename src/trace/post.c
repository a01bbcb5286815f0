#include "trace/post.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define ANSWER_MAX (16 * 1024)
#define CONNECT_MS 5000L
#define ANSWER_MS 10000L

/* What is used of libcurl, and only once somebody wants it. */
struct curl {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *handle, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *handle);
    CURLcode (*easy_getinfo)(CURL *handle, CURLINFO info, ...);
    void (*easy_cleanup)(CURL *handle);
    const char *(*easy_strerror)(CURLcode code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
};

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define S(field) \
    { \
        "curl_" #field, offsetof(struct curl, field) \
    }
    S(global_init),  S(easy_init),     S(easy_setopt),  S(easy_perform),   S(easy_getinfo),
    S(easy_cleanup), S(easy_strerror), S(slist_append), S(slist_free_all),
#undef S
};

struct post {
    struct curl curl;
    CURL *handle;
    struct curl_slist *headers;
    /* of the request under way */
    bool (*goes_on)(void *context);
    void *context;
    struct buf *answer;
};

/* It stays loaded: libraries of this kind leave threads and handlers behind when they are thrown out. */
static int load(struct curl *out, struct error *err)
{
    static const char *const names[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_set(err, MOAT_E_NO_SUCH_FILE, "libcurl is not here (Debian: libcurl3-gnutls): %s", dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *at = dlsym(library, symbols[i].name);
        if (!at)
            return error_set(err, MOAT_E_NO_SUCH_FILE, "libcurl is too old: it has no %s", symbols[i].name);
        memcpy((char *)out + symbols[i].offset, &at, sizeof at);
    }
    return 0;
}

static size_t take_answer(char *bytes, size_t size, size_t n, void *context)
{
    struct post *p = context;
    size_t len = size * n, room = ANSWER_MAX - p->answer->len;
    buf_put(p->answer, bytes, len < room ? len : room);
    return len; /* what is more is read and thrown away */
}

static int look_around(void *context, curl_off_t down, curl_off_t downloaded, curl_off_t up, curl_off_t uploaded)
{
    const struct post *p = context;
    return p->goes_on && !p->goes_on(p->context);
}

static bool set_up(struct post *p, const char *url)
{
    const struct curl *c = &p->curl;
    CURL *h = p->handle;
    struct curl_slist *list = c->slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = list ? c->slist_append(list, "Expect:") : NULL; /* no round trip before the body */
    p->headers = more ? more : list;
    return more && !c->easy_setopt(h, CURLOPT_URL, url) && !c->easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https") &&
           !c->easy_setopt(h, CURLOPT_POST, 1L) && !c->easy_setopt(h, CURLOPT_HTTPHEADER, p->headers) &&
           !c->easy_setopt(h, CURLOPT_NOSIGNAL, 1L) && !c->easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) &&
           !c->easy_setopt(h, CURLOPT_TIMEOUT_MS, ANSWER_MS) &&
           !c->easy_setopt(h, CURLOPT_WRITEFUNCTION, take_answer) && !c->easy_setopt(h, CURLOPT_WRITEDATA, p) &&
           !c->easy_setopt(h, CURLOPT_NOPROGRESS, 0L) && !c->easy_setopt(h, CURLOPT_XFERINFOFUNCTION, look_around) &&
           !c->easy_setopt(h, CURLOPT_XFERINFODATA, p) && !c->easy_setopt(h, CURLOPT_USERAGENT, "moat");
}

int post_open(const char *url, struct post **out, struct error *err)
{
    struct post *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the exporter");
    int rc = load(&p->curl, err);
    if (rc == 0 && (p->curl.global_init(CURL_GLOBAL_DEFAULT) || !(p->handle = p->curl.easy_init()) || !set_up(p, url)))
        rc = error_set(err, MOAT_E_NO_SUCH_FILE, "libcurl cannot be used: it is too old, or there is no memory");
    if (rc < 0)
        post_close(p);
    else
        *out = p;
    return rc;
}

void post_close(struct post *p)
{
    if (!p)
        return;
    if (p->headers)
        p->curl.slist_free_all(p->headers);
    if (p->handle)
        p->curl.easy_cleanup(p->handle);
    free(p);
}

/* What OTLP/HTTP names as worth another try. */
static enum post_result judge(long status)
{
    if (status / 100 == 2)
        return POST_TAKEN;
    return status == 429 || status == 502 || status == 503 || status == 504 ? POST_AGAIN : POST_REFUSED;
}

enum post_result post_json(struct post *p, const struct buf *body, bool (*goes_on)(void *context), void *context,
                           struct buf *answer, uint64_t *wait_ns, struct error *why)
{
    const struct curl *c = &p->curl;
    long status = 0;
    curl_off_t wait = 0;
    *wait_ns = 0;
    p->goes_on = goes_on;
    p->context = context;
    p->answer = answer;
    c->easy_setopt(p->handle, CURLOPT_POSTFIELDS, buf_text(body));
    c->easy_setopt(p->handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
    CURLcode rc = c->easy_perform(p->handle);
    if (rc) {
        error_set(why, MOAT_E_NO_ANSWER, "%s", c->easy_strerror(rc));
        return POST_AGAIN;
    }
    c->easy_getinfo(p->handle, CURLINFO_RESPONSE_CODE, &status);
    c->easy_getinfo(p->handle, CURLINFO_RETRY_AFTER, &wait);
    *wait_ns = wait > 0 ? (uint64_t)wait * NS_PER_S : 0;
    enum post_result result = judge(status);
    if (result != POST_TAKEN) {
        char said[200];
        text_plain(said, sizeof said, buf_text(answer), answer->len);
        error_set(why, MOAT_E_NO_ANSWER, "status %ld%s%s", status, *said ? ": " : "", said);
    }
    return result;
}
