/* The head of a package and FILES.  The first byte chooses: the input is a whole package as it comes; or a head, which
 * then gets a right signature (of a publisher, of the host itself, or none) and payload; or FILES of a package that is
 * right in everything else. */
#include <stdlib.h>
#include <string.h>

#include "package/files.h"
#include "package/head.h"

#define NOW 1800000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char manifest[] = "{\"moat\":1,\"name\":\"demo\",\"version\":\"1.0.0\",\"engine\":\"native\",\"entry\":"
                               "\"demo.so\",\"capabilities\":[\"custom\"],\"actions\":[{\"name\":\"run\"}]}";
static const char files[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  demo.so\n";

static struct signing_key *key, *publisher, *host; /* key: who signs in this run; NULL: nobody */

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int trust(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    *out = (struct trust_answer){.known = true, .hmac = key, .publisher = "fuzz", .names = "demo,a*"};
    if (key)
        out->key = *key_public(key);
    return 0;
}

/* What is accepted is exactly what a packer would write. */
static void check_accepted(const struct package *p)
{
    const uint8_t *bytes;
    size_t len;
    uint8_t head[PACKAGE_HEAD];
    struct files list;
    buf_auto text = BUF_INIT(1 << 20);
    package_bytes(p, &bytes, &len);
    head_format(package_head(p), head);
    must(memcmp(head, bytes, HEAD_SIGNED) == 0);
    must(files_parse(bytes + PACKAGE_HEAD + package_head(p)->manifest_len, package_head(p)->files_len, &list, NULL) ==
         0);
    must(files_format(&list, &text));
    must(text.len == package_head(p)->files_len);
    must(memcmp(text.data, bytes + PACKAGE_HEAD + package_head(p)->manifest_len, text.len) == 0);
    files_free(&list);
    must(strcmp(package_manifest(p)->name, package_head(p)->name) == 0);
}

/* Who only looks is told the same, and of everything; what is forged stays closed to them. */
static void check_survey(struct package *p, bool verified)
{
    struct error err;
    struct findings found = {0};
    enum package_signature signature;
    must(package_survey(p, trust, NULL, NOW, &found, &signature, &err) == 0);
    must(verified == (found.count == 0));
    must(!verified || signature == (key ? PACKAGE_GOOD : PACKAGE_UNSIGNED));
    must(signature != PACKAGE_BAD || !package_is_readable(p));
    must(signature != PACKAGE_GOOD || package_is_readable(p));
    findings_free(&found);
    if (package_unverified(p, &err) == 0)
        package_read(p, &err);
}

static bool try_package(const uint8_t *bytes, size_t len)
{
    struct package *p;
    struct error err;
    if (package_open_bytes(bytes, len, 1 << 20, &p, &err))
        return false;
    bool verified = package_verify(p, trust, NULL, NOW, &err) == 0;
    bool accepted = verified && package_read(p, &err) == 0;
    if (accepted)
        check_accepted(p);
    check_survey(p, verified);
    package_free(p);
    return accepted;
}

static void put_head(struct buf *out, const uint8_t *head)
{
    uint8_t bytes[PACKAGE_HEAD] = {0};
    memcpy(bytes, head, HEAD_SIGNED);
    sha256(out->data + PACKAGE_HEAD, out->len - PACKAGE_HEAD, bytes + 96);
    if (key)
        key_sign(key, bytes, HEAD_SIGNED, bytes + HEAD_SIGNED);
    memcpy(out->data, bytes, sizeof bytes);
}

static void with_head(const uint8_t *data, size_t size)
{
    uint8_t head[PACKAGE_HEAD] = {0};
    buf_auto out = BUF_INIT(1 << 20);
    memcpy(head, data, size < HEAD_SIGNED ? size : HEAD_SIGNED);
    memset(head + 64, 0, KEY_ID_LEN);
    if (key)
        memcpy(head + 64, key_public(key)->id, KEY_ID_LEN);
    buf_put(&out, head, sizeof head);
    buf_puts(&out, manifest);
    buf_puts(&out, files);
    buf_puts(&out, "archive");
    put_head(&out, head);
    try_package(out.data, out.len);
}

static void with_files(const uint8_t *data, size_t size)
{
    struct package_head head = {.algorithm = ALGORITHM_ED25519,
                                .signed_at = NOW,
                                .name = "demo",
                                .version = "1.0.0",
                                .manifest_len = sizeof manifest - 1,
                                .files_len = size,
                                .archive_len = 7};
    uint8_t bytes[PACKAGE_HEAD];
    buf_auto out = BUF_INIT(1 << 20);
    memcpy(head.key_id, key_public(key)->id, KEY_ID_LEN);
    head_format(&head, bytes);
    buf_put(&out, bytes, sizeof bytes);
    buf_puts(&out, manifest);
    buf_put(&out, data, size);
    if (!buf_puts(&out, "archive"))
        return;
    put_head(&out, bytes);
    try_package(out.data, out.len);
    /* FILES alone, whatever the manifest names. */
    struct files list;
    if (files_parse(data, size, &list, NULL) == 0) {
        for (size_t i = 0; i < list.count; i++)
            must(files_find(&list, list.list[i].path) == (long)i);
        files_free(&list);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    if (!publisher &&
        (key_generate(&publisher, &err) || key_hmac("the key of this very host, for fuzzing", 38, &host, &err)))
        abort();
    if (size == 0)
        return 0;
    key = *data == 'm' ? host : *data == 'z' ? NULL : publisher;
    if (*data == 'h' || *data == 'm' || *data == 'z')
        with_head(data + 1, size - 1);
    else if (*data == 'f')
        with_files(data + 1, size - 1);
    else
        must(!try_package(data, size)); /* nobody guesses the key of this process */
    return 0;
}
