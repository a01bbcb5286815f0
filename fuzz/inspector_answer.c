/* An inspector in an attacker's hands: its answer is the input.  What comes out are the signed files or nothing. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "package/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t left;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static ssize_t next(void *context, void *data, size_t len, struct error *err)
{
    struct input *in = context;
    size_t n = len < in->left ? len : in->left;
    memcpy(data, in->data, n);
    in->data += n;
    in->left -= n;
    return (ssize_t)n;
}

static const char *const contents[] = {"hello", "abc", ""};
static struct files_entry entries[] = {
    {.path = "demo.so"}, {.path = "text", .asset = true}, {.path = "words", .asset = true}};
static const struct files files = {.list = entries, .count = 3};

static void check(const struct answer *a, const struct manifest *m)
{
    must(a->files.count == files.count);
    for (size_t i = 0; i < files.count; i++) {
        char bytes[8];
        size_t len = strlen(contents[i]);
        int fd = entries[i].asset ? a->files.assets : a->files.fds[i];
        must((a->files.fds[i] < 0) == entries[i].asset);
        must(strcmp(a->files.paths[i], entries[i].path) == 0 && a->files.sizes[i] == len);
        must(pread(fd, bytes, sizeof bytes, (off_t)a->files.offsets[i]) >= (ssize_t)len);
        must(memcmp(bytes, contents[i], len) == 0);
    }
    struct findings findings = {0};
    struct finding first;
    bool found = elf_judge(m, a, &findings, &first);
    must(found == (findings.refusals > 0));
    findings_free(&findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct manifest m = {.entry = "demo.so"};
    struct input in = {data, size};
    struct answer_source source = {.read = next, .context = &in};
    struct answer a;
    struct error err = {0};
    for (size_t i = 0; i < files.count; i++)
        sha256(contents[i], strlen(contents[i]), entries[i].sha256);
    int rc = answer_read(&source, &files, 1 << 20, &a, &err);
    if (rc) {
        must(err.code == (enum moat_code) - rc && *err.message);
        return 0;
    }
    must(in.left == 0);
    check(&a, &m);
    answer_free(&a);
    return 0;
}
