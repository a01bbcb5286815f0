#include "service/document.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "json/json.h"

static int room_for(struct document *d, uint64_t len, uint64_t max, struct error *err)
{
    if (len > max)
        return error_set(err, MOAT_E_TOO_LARGE, "a document has at most %llu bytes", (unsigned long long)max);
    d->mapped = (size_t)len + JSON_PAD + 1;
    d->text = mmap(NULL, d->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (d->text == MAP_FAILED) {
        d->text = NULL;
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
    }
    d->len = (size_t)len;
    return 0;
}

static int check(struct document *d, struct error *err)
{
    struct json_fault fault;
    if (!d->len)
        return error_set(err, MOAT_E_BAD_JSON, "the document is not JSON: it is empty, at byte 0");
    if (!json_valid(d->text, d->len) && !json_explain(d->text, d->len, &fault))
        return error_set(err, MOAT_E_BAD_JSON, "the document is not JSON: %s, at byte %zu", fault.reason, fault.offset);
    d->text[d->len] = 0;
    return 0;
}

int document_open(struct document *d, int fd, uint64_t max, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read the document");
    int rc = room_for(d, (uint64_t)st.st_size, max, err);
    /* The file lies over the beginning; what is behind its end stays memory that reads as 0. */
    if (rc == 0 && st.st_size &&
        mmap(d->text, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
        rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read the document");
    return rc < 0 ? rc : check(d, err);
}

int document_open_bytes(struct document *d, const void *bytes, size_t len, uint64_t max, struct error *err)
{
    int rc = room_for(d, len, max, err);
    if (rc < 0)
        return rc;
    memcpy(d->text, bytes, len);
    return check(d, err);
}

void document_close(struct document *d)
{
    if (d->text)
        munmap(d->text, d->mapped);
    *d = (struct document){0};
}
