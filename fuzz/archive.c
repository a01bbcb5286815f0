/* The inspector's reading code without its wall.  The first byte chooses what the rest is: a zstd frame, a tar stream,
 * or an ELF file.  What it says of it must be an answer that the host could read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "helper/duty.h"
#include "wire/archive.h"

#define HEAD 512
#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct buf package, answer;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool read_package(void *context, void *data, size_t len, uint64_t offset)
{
    const struct buf *package = &((struct run *)context)->package;
    if (offset > package->len || len > package->len - offset)
        return false;
    memcpy(data, package->data + offset, len);
    return true;
}

static bool write_answer(void *context, const void *data, size_t len)
{
    return buf_put(&((struct run *)context)->answer, data, len);
}

/* Files in ascending order within the budget, facts behind their file, one end. */
static void check_answer(const struct buf *answer, uint64_t budget)
{
    char last[ARCHIVE_PATH_MAX + 1] = "", path[ARCHIVE_TEXT_MAX + 1];
    uint32_t before = 0;
    for (size_t at = 0;;) {
        struct inspect_record r;
        must(answer->len - at >= sizeof r);
        memcpy(&r, answer->data + at, sizeof r);
        at += sizeof r;
        must(r.text_len <= ARCHIVE_TEXT_MAX && r.text_len <= answer->len - at);
        memcpy(path, answer->data + at, r.text_len);
        path[r.text_len] = '\0';
        at += r.text_len;
        if (r.type == INSPECT_END || r.type == INSPECT_REFUSED) {
            must(at == answer->len);
            must((r.type == INSPECT_END) == (r.value == 0) && r.value < INSPECT_REFUSALS_END);
            return;
        }
        if (r.type == INSPECT_FILE) {
            must(r.value <= budget && r.value <= answer->len - at && r.text_len <= ARCHIVE_PATH_MAX);
            must(strcmp(last, path) < 0 && path[0] != '/');
            memcpy(last, path, r.text_len + 1);
            budget -= r.value;
            at += r.value;
        } else {
            must(before != 0 && r.type > INSPECT_FILE && r.type <= INSPECT_IMPORT);
            must(r.type != INSPECT_ELF || before == INSPECT_FILE);
        }
        before = r.type;
    }
}

static void inspect(const void *archive, size_t len)
{
    struct run run = {.package = BUF_INIT(HEAD + 4 * INPUT_MAX), .answer = BUF_INIT(1 << 28)};
    struct duty_io io = {.read = read_package, .write = write_answer, .context = &run};
    uint8_t head[HEAD] = {0};
    for (int i = 0; i < 8; i++)
        head[56 + i] = (uint8_t)((uint64_t)len >> 8 * i);
    must(buf_put(&run.package, head, sizeof head) && buf_put(&run.package, archive, len));
    must(duty_inspect(&io) == HELPER_DONE);
    check_answer(&run.answer, archive_budget(len));
    buf_free(&run.package);
    buf_free(&run.answer);
}

static void inspect_tar(const void *tar, size_t len)
{
    static uint8_t packed[2 * INPUT_MAX];
    size_t n = ZSTD_compress(packed, sizeof packed, tar, len, 1);
    must(!ZSTD_isError(n));
    inspect(packed, n);
}

static void inspect_file(const uint8_t *content, size_t len)
{
    static uint8_t tar[2 * INPUT_MAX];
    unsigned sum = 0;
    memset(tar, 0, 512);
    memcpy(tar, "demo.so", 7);
    memcpy(tar + 100, "0000644", 7);
    snprintf((char *)tar + 124, 12, "%011zo", len & 07777777777);
    memset(tar + 148, ' ', 8);
    tar[156] = '0';
    memcpy(tar + 257,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < 512; i++)
        sum += tar[i];
    snprintf((char *)tar + 148, 8, "%06o", sum & 0777777);
    memcpy(tar + 512, content, len);
    size_t whole = 512 + (len + 511) / 512 * 512 + 1024;
    memset(tar + 512 + len, 0, whole - 512 - len);
    inspect_tar(tar, whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_MAX)
        return 0;
    if (*data == 't')
        inspect_tar(data + 1, size - 1);
    else if (*data == 'e')
        inspect_file(data + 1, size - 1);
    else
        inspect(data, size);
    return 0;
}
