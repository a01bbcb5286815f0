/* A package that the file names and PLUGIN_DIR's incoming has; and what all of apply share. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "service/apply.h"
#include "service/incoming.h"

void change_clear(struct change *c)
{
    if (c->arrival) {
        registry_unstage(&c->arrival->stage);
        buf_free(&c->arrival->text);
        free(c->arrival);
    }
    c->arrival = NULL;
    manifest_unref(c->manifest);
    c->manifest = NULL;
    decisions_free(&c->add);
    decisions_free(&c->remove);
    config_free(&c->config);
}

int apply_refuse_at(struct error *err, size_t index, const char *rest, ...)
{
    char member[300], detail[ERROR_DETAIL_MAX];
    buf_auto at = BUF_INIT(1000);
    va_list args;
    va_start(args, rest);
    vsnprintf(member, sizeof member, rest, args);
    va_end(args);
    buf_printf(&at, "/plugins/%zu%s", index, member);
    error_prefix(err, "%.400s", buf_text(&at));
    /* What the detail had stays beside the pointer. */
    snprintf(detail, sizeof detail, "%s", err->detail);
    buf_auto text = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_puts(&text, "{\"pointer\":");
    bool fits = text_json_string(&text, buf_text(&at)) && buf_puts(&text, *detail == '{' ? "," : "}");
    if (fits && *detail == '{')
        buf_puts(&text, detail + 1);
    if (!text.failed)
        snprintf(err->detail, sizeof err->detail, "%s", buf_text(&text));
    return -(int)err->code;
}

/* ---- a package of incoming ---- */

/* 1: installed with these bytes, and whole; 0: to be brought. */
static int is_here(struct job *job, const struct wanted *w, struct error *err)
{
    struct registry_version v;
    int rc = registry_find_version(job->reader, w->name, w->version, &v, NULL, err);
    if (rc <= 0)
        return rc;
    return v.state != REGISTRY_DAMAGED || memcmp(v.sha256, w->sha256, 32) != 0; /* other bytes: told later */
}

static int check_named(const struct wanted *w, const struct package *package, struct error *err)
{
    const struct package_head *h = package_head(package);
    uint8_t sha256[32];
    package_sha256(package, sha256);
    if (strcmp(h->name, w->name) != 0 || strcmp(h->version, w->version) != 0)
        return error_set(err, MOAT_E_METADATA_MISMATCH, "%s is the package of %s %s", w->file, h->name, h->version);
    if (memcmp(sha256, w->sha256, 32) != 0)
        return error_set(err, MOAT_E_METADATA_MISMATCH, "%s is another package than `sha256` says", w->file);
    return 0;
}

/* Everything that an installation looks at before the transaction. */
static int take_in(struct job *job, const struct wanted *w, const char *path, struct intake *in, struct error *err)
{
    int rc = intake_read(in, job, path, w->file, err);
    if (rc == 0)
        rc = check_named(w, in->package, err);
    if (rc == 0)
        rc = intake_unpack(in, job, NULL, err);
    return rc < 0 ? rc : intake_admit(in, job, true, NULL, err);
}

static int keep(struct job *job, struct change *c, const struct intake *in, bool stage, struct error *err)
{
    const struct package_head *h = package_head(in->package);
    const uint8_t *bytes;
    size_t len;
    struct arrival *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", c->wanted->name);
    c->arrival = a;
    package_bytes(in->package, &bytes, &len);
    memcpy(a->key, h->key_id, 32);
    a->size = len;
    a->signed_at = h->signed_at;
    a->expires_at = h->expires_at;
    snprintf(a->publisher, sizeof a->publisher, "%s", package_publisher(in->package));
    a->text = BUF_INIT(2 * MANIFEST_MAX);
    c->manifest = manifest_ref(package_manifest(in->package));
    a->permissions = intake_permissions(c->manifest);
    buf_put(&a->text, bytes + PACKAGE_HEAD, h->manifest_len);
    if (a->text.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", c->wanted->name);
    return stage ? registry_stage(job->s->registry, bytes, len, &a->stage, err) : 0;
}

int apply_take(struct job *job, struct change *c, bool stage, struct error *err)
{
    const struct wanted *w = c->wanted;
    struct intake in = {0};
    char path[40];
    int fd = -1;
    int rc = w->file[0] ? is_here(job, w, err) : 1;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = incoming_open(&job->s->home, "the file", w->file, &fd, err);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (rc == 0)
        rc = take_in(job, w, path, &in, err);
    if (rc == 0)
        rc = keep(job, c, &in, stage, err);
    intake_clear(&in);
    io_close(&fd);
    return rc < 0 ? apply_refuse_at(err, c->index, "/file") : 0;
}
