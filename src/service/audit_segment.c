#include "service/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "service/tell.h"

#define CHUNK (1 << 20)

size_t audit_signed_text(const char *identity, const struct registry_audit_head *head, char out[AUDIT_SIGNED_MAX])
{
    char hex[65];
    text_hex(hex, head->hash, 32);
    int n = snprintf(out, AUDIT_SIGNED_MAX, "moat-audit-head-1\n%s\n%" PRIu64 "\n%s\n", identity, head->count, hex);
    return n > 0 ? (size_t)n : 0;
}

/* ---- writing ---- */

struct writer {
    int fd;
    struct buf line, text;
    struct registry_audit_head last;
    bool failed;
};

static void put_line(struct writer *w)
{
    buf_putc(&w->line, '\n');
    buf_put(&w->text, w->line.data, w->line.len);
    w->failed = w->failed || w->line.failed;
    buf_clear(&w->line);
    if (w->text.len < CHUNK && !w->text.failed)
        return;
    w->failed = w->failed || w->text.failed || !io_write_all(w->fd, w->text.data, w->text.len);
    buf_clear(&w->text);
}

static bool put_record(void *context, const struct registry_audit_record *e)
{
    struct writer *w = context;
    struct buf *out = &w->line;
    tell_open(out, NULL, '{');
    tell_number(out, "seq", e->seq);
    tell_number(out, "time", e->time_ms);
    tell_number(out, "count", e->count);
    tell_text(out, "actor", e->actor);
    tell_text(out, "call", e->call);
    tell_text(out, "action", e->action);
    tell_text(out, "subject", e->subject);
    tell_text(out, "outcome", e->outcome);
    tell_text(out, "detail", e->detail); /* as text: its bytes are hashed */
    tell_hex(out, "hash", e->hash, 32);
    tell_close(out, '}');
    put_line(w);
    w->last.count = e->seq;
    memcpy(w->last.hash, e->hash, 32);
    return !w->failed;
}

static int write_all(struct registry_reader *reader, uint64_t upto, struct writer *w, struct error *err)
{
    struct registry_audit_filter f = {.before = upto + 1};
    char identity[33];
    int rc = registry_identity(reader, identity, err);
    if (rc == 0)
        rc = registry_audit_root(reader, &w->last, err);
    if (rc < 0)
        return rc;
    tell_open(&w->line, NULL, '{');
    tell_number(&w->line, "moat_audit", 1);
    tell_text(&w->line, "registry", identity);
    tell_number(&w->line, "after", w->last.count);
    tell_hex(&w->line, "hash", w->last.hash, 32);
    tell_close(&w->line, '}');
    put_line(w);
    rc = registry_each_audit(reader, &f, put_record, w, err);
    if (rc == 0 && (w->failed || w->text.failed || !io_write_all(w->fd, w->text.data, w->text.len) || fsync(w->fd) < 0))
        rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write the segment of the audit trail");
    return rc;
}

static int publish(const char *temporary, const char *dir, const char *name, struct error *err)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", dir);
    fd_auto parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || rename(temporary, path) < 0 || fsync(parent) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write %s", path);
    return 0;
}

int segment_write(struct registry_reader *reader, const char *dir, uint64_t upto, char name[64],
                  struct registry_audit_head *last, struct error *err)
{
    char temporary[PATH_MAX];
    struct writer w = {.fd = -1, .line = BUF_INIT(CHUNK), .text = BUF_INIT(4 * CHUNK)};
    struct registry_audit_head root = {0};
    int rc = io_mkdirs(dir, 0700, err);
    if (rc == 0 && (size_t)snprintf(temporary, sizeof temporary, "%s/.segment", dir) >= sizeof temporary)
        rc = error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", dir);
    if (rc == 0)
        rc = registry_audit_root(reader, &root, err);
    if (rc < 0)
        return rc;
    w.fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    rc = w.fd < 0 ? error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create %s", temporary)
                  : write_all(reader, upto, &w, err);
    snprintf(name, 64, "%020" PRIu64 "-%020" PRIu64 ".jsonl", root.count + 1, w.last.count);
    if (rc == 0)
        rc = publish(temporary, dir, name, err);
    if (rc < 0 && w.fd >= 0)
        unlink(temporary);
    io_close(&w.fd);
    buf_free(&w.line);
    buf_free(&w.text);
    if (rc == 0)
        *last = w.last;
    return rc;
}

/* ---- checking ---- */

static bool get_number(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *n = json_object_get(object, key);
    if (!json_is_integer(n) || json_integer_value(n) < 0)
        return false;
    *out = (uint64_t)json_integer_value(n);
    return true;
}

static bool get_text(const json_t *object, const char *key, const char **out)
{
    const json_t *text = json_object_get(object, key);
    *out = json_string_value(text);
    return *out && strlen(*out) == json_string_length(text);
}

static bool get_hash(const json_t *object, uint8_t out[32])
{
    const char *hex;
    return get_text(object, "hash", &hex) && text_unhex(out, 32, hex);
}

static bool get_record(const json_t *line, struct registry_audit_record *e)
{
    return json_object_size(line) == 10 && get_number(line, "seq", &e->seq) && get_number(line, "time", &e->time_ms) &&
           get_number(line, "count", &e->count) && get_text(line, "actor", &e->actor) &&
           get_text(line, "call", &e->call) && get_text(line, "action", &e->action) &&
           get_text(line, "subject", &e->subject) && get_text(line, "outcome", &e->outcome) &&
           get_text(line, "detail", &e->detail) && get_hash(line, e->hash);
}

static bool bad(struct segment_check *c, uint64_t seq, const char *problem)
{
    c->bad = seq;
    snprintf(c->problem, sizeof c->problem, "record %" PRIu64 " %s", seq, problem);
    return false;
}

static bool check_anchor(struct segment_check *c, const struct registry_audit_head *anchor)
{
    if (!anchor || anchor->count != c->upto.count)
        return true;
    c->anchored = memcmp(anchor->hash, c->upto.hash, 32) == 0;
    return c->anchored || bad(c, c->upto.count, "is not the one of the anchor: the trail was rewritten");
}

static bool check_begin(const json_t *line, struct segment_check *c)
{
    struct registry_audit_head from = {0};
    uint64_t format;
    if (!get_number(line, "moat_audit", &format) || format != 1 || !get_number(line, "after", &from.count) ||
        !get_hash(line, from.hash)) {
        snprintf(c->problem, sizeof c->problem, "this is not a segment of an audit trail");
        return false;
    }
    c->from = c->upto = from;
    return true;
}

static bool check_record(const json_t *line, const struct registry_audit_head *anchor, struct segment_check *c)
{
    struct registry_audit_record e;
    uint8_t hash[32];
    uint64_t next = c->upto.count + 1;
    if (!get_record(line, &e))
        return bad(c, next, "is not a record of an audit trail");
    if (e.seq != next)
        return bad(c, next, "is missing");
    if (!registry_audit_hash(c->upto.hash, &e, hash) || memcmp(hash, e.hash, 32) != 0)
        return bad(c, next, "was changed, or does not follow the one before it");
    c->upto.count = next;
    memcpy(c->upto.hash, hash, 32);
    return check_anchor(c, anchor);
}

/* One line, the first one when nothing was read before; false: no further. */
static bool check_line(const char *text, size_t len, bool first, const struct registry_audit_head *anchor,
                       struct segment_check *c)
{
    json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    bool good = first ? check_begin(line, c) : check_record(line, anchor, c);
    json_decref(line);
    return good;
}

void segment_check_text(const char *text, size_t len, const struct registry_audit_head *anchor,
                        struct segment_check *out)
{
    struct segment_check c = {0};
    bool first = true, good = true;
    for (const char *end = text + len; good && text < end; first = false) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);
        good = check_line(text, n, first, anchor, &c);
        text += n + (newline != NULL);
    }
    if (first)
        check_begin(NULL, &c);
    *out = c;
}

int segment_check_file(const char *path, const struct registry_audit_head *anchor, struct segment_check *out,
                       struct error *err)
{
    struct segment_check c = {0};
    FILE *file = fopen(path, "re");
    char *line = malloc(AUDIT_LINE_MAX);
    bool first = true, good = true;
    int rc = !file  ? error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s", path)
             : line ? 0
                    : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", path);
    for (; rc == 0 && good && fgets(line, AUDIT_LINE_MAX, file); first = false) {
        size_t len = strlen(line);
        good = check_line(line, len && line[len - 1] == '\n' ? len - 1 : len, first, anchor, &c);
    }
    if (rc == 0 && ferror(file))
        rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s", path);
    if (rc == 0 && first)
        check_begin(NULL, &c);
    if (file)
        fclose(file);
    free(line);
    if (rc == 0)
        *out = c;
    return rc;
}
