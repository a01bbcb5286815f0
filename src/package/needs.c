#include "package/needs.h"

#include <string.h>

#include "base/clock.h"
#include "package/helper.h"

#define ANSWER_MAX ((NEEDS_MAX + 2) * (sizeof(struct needs_record) + NEEDS_TEXT_MAX))
#define TIMEOUT_NS (10 * NS_PER_S)

/* Plain text: it becomes paths and messages. */
static bool is_plain(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

static bool take(struct needs *n, const struct needs_record *r, const uint8_t *text)
{
    if (r->type == NEEDS_STRANGE) {
        n->strange = true;
        return r->text_len == 0;
    }
    if (r->type < NEEDS_SCRIPT || r->type > NEEDS_PATH || n->count == NEEDS_MAX || !r->text_len ||
        !is_plain(text, r->text_len))
        return false;
    n->list[n->count].type = (enum needs_type)r->type;
    memcpy(n->list[n->count].text, text, r->text_len);
    n->list[n->count++].text[r->text_len] = '\0';
    return true;
}

bool needs_read(const uint8_t *bytes, size_t len, struct needs *out)
{
    struct needs_record r;
    out->count = 0;
    out->strange = false;
    while (len >= sizeof r) {
        memcpy(&r, bytes, sizeof r);
        bytes += sizeof r;
        len -= sizeof r;
        if (r.type == NEEDS_END)
            return r.text_len == 0 && len == 0;
        if (r.text_len > NEEDS_TEXT_MAX || r.text_len > len || !take(out, &r, bytes))
            return false;
        bytes += r.text_len;
        len -= r.text_len;
    }
    return false;
}

static int read_all(struct helper *h, uint8_t *answer, size_t *len, struct error *err)
{
    ssize_t n;
    *len = 0;
    while ((n = helper_read(h, answer + *len, ANSWER_MAX - *len, err)) > 0) {
        *len += (size_t)n;
        if (*len == ANSWER_MAX)
            return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper says more about a program than there is");
    }
    return (int)n;
}

int needs_of(struct spawner *spawner, int fd, struct needs *out, struct error *err)
{
    struct helper h;
    uint8_t answer[ANSWER_MAX];
    size_t len;
    int rc = helper_begin(&h, spawner, "needs", fd, 0, TIMEOUT_NS, err);
    if (rc)
        return rc;
    rc = helper_finish(&h, read_all(&h, answer, &len, err), err);
    if (rc == 0 && !needs_read(answer, len, out))
        rc = error_set(err, MOAT_E_PACKAGE_DAMAGED, "the helper's answer about a program makes no sense");
    return rc;
}
