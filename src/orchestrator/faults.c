#include "orchestrator/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "service/tell.h"

static const char *const kinds[] = {
#define X(id, name) name,
    FAULT_KINDS(X)
#undef X
};

void faults_add(struct faults *f, enum fault_kind kind, const char *pointer, const char *format, ...)
{
    if (!f->list)
        f->list = calloc(FAULTS_MAX, sizeof *f->list);
    if (!f->list || f->count == FAULTS_MAX) {
        f->more++;
        return;
    }
    struct fault *one = &f->list[f->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(one->message, sizeof one->message, format, args);
    va_end(args);
    one->kind = kind;
    text_copy(one->pointer, sizeof one->pointer, pointer);
}

void faults_free(struct faults *f)
{
    free(f->list);
    *f = (struct faults){0};
}

static void tell_one(struct buf *out, const struct fault *one)
{
    tell_open(out, NULL, '{');
    tell_text(out, "pointer", one->pointer);
    tell_text(out, "code", kinds[one->kind]);
    tell_text(out, "message", one->message);
    tell_close(out, '}');
}

void faults_tell(const struct faults *f, struct buf *out, const char *key)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < f->count; i++)
        tell_one(out, &f->list[i]);
    tell_close(out, ']');
}

/* Without those that do not fit: a detail that is cut is no JSON. */
static void put_detail(const struct faults *f, struct error *err)
{
    for (size_t n = f->count; n; n--) {
        buf_auto text = BUF_INIT(ERROR_DETAIL_MAX - 1);
        struct faults some = {.list = f->list, .count = n};
        tell_open(&text, NULL, '{');
        faults_tell(&some, &text, "findings");
        tell_close(&text, '}');
        if (!text.failed) {
            text_copy(err->detail, sizeof err->detail, buf_text(&text));
            return;
        }
    }
}

int faults_error(const struct faults *f, struct error *err)
{
    if (!f->count)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for what is wrong with the task");
    size_t others = f->count - 1 + f->more;
    const struct fault *first = &f->list[0];
    char rest[48] = "";
    if (others)
        snprintf(rest, sizeof rest, " (and %zu more)", others);
    int rc =
        error_set(err, MOAT_E_BAD_TASK, "%s%s%s%s", first->pointer, *first->pointer ? ": " : "", first->message, rest);
    if (err)
        put_detail(f, err);
    return rc;
}
