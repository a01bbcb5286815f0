#include "support.h"

#include <ftw.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "package/head.h"

static char place[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_place(void)
{
    nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(void)
{
    if (!*place) {
        strcpy(place, "/tmp/moat-package-XXXXXX");
        if (!mkdtemp(place))
            abort();
        atexit(remove_place);
    }
    return place;
}

const char *scratch_path(const char *name)
{
    static char paths[16][512];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", scratch(), name);
    return path;
}

void write_file(const char *path, const void *data, size_t len)
{
    struct error err;
    if (io_replace_file(path, data, len, 0644, &err))
        fail_msg("%s", err.message);
}

static uint64_t state;

uint64_t seed(void)
{
    static uint64_t value;
    if (!value) {
        const char *given = getenv("MOAT_SEED");
        value = given ? strtoull(given, NULL, 10) : clock_wall_ns() % 1000000000 + 1;
        state = value;
        printf("# MOAT_SEED=%" PRIu64 "\n", value);
    }
    return value;
}

uint64_t random_u64(void)
{
    seed();
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

int run(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    char *const arguments[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, "sh", NULL, NULL, arguments, environ) != 0 || waitpid(pid, &status, 0) != pid)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void sign_again(struct buf *package, const struct signing_key *key)
{
    key_sign(key, package->data, HEAD_SIGNED, package->data + HEAD_SIGNED);
}

void make_package(const struct pieces *p, struct buf *out)
{
    static const char hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char files[256];
    snprintf(files, sizeof files, "%s  demo.so\n", hash);
    const char *manifest = p->manifest ? p->manifest : GOOD_MANIFEST, *list = p->files ? p->files : files;
    const void *archive = p->archive ? p->archive : "archive";
    struct package_head head = {
        .algorithm = key_public(p->key)->algorithm,
        .signed_at = p->signed_at ? p->signed_at : NOW - 1000,
        .expires_at = p->expires_at,
        .manifest_len = strlen(manifest),
        .files_len = strlen(list),
        .archive_len = p->archive ? p->archive_len : strlen(archive),
    };
    snprintf(head.name, sizeof head.name, "%s", p->name ? p->name : "demo");
    snprintf(head.version, sizeof head.version, "%s", p->version ? p->version : "1.0.0");
    memcpy(head.key_id, key_public(p->key)->id, KEY_ID_LEN);
    uint8_t bytes[PACKAGE_HEAD] = {0};
    buf_clear(out);
    buf_put(out, bytes, sizeof bytes);
    buf_puts(out, manifest);
    buf_puts(out, list);
    assert_true(buf_put(out, archive, head.archive_len));
    sha256(out->data + PACKAGE_HEAD, out->len - PACKAGE_HEAD, head.payload_sha256);
    head_format(&head, out->data);
    sign_again(out, p->key);
}

struct trust trust_in(const struct signing_key *key, const char *names)
{
    struct trust t = {.answer = {.known = true, .key = *key_public(key)}};
    if (t.answer.key.algorithm == ALGORITHM_HMAC_SHA256)
        t.answer.hmac = key;
    snprintf(t.answer.publisher, sizeof t.answer.publisher, "acme");
    snprintf(t.answer.names, sizeof t.answer.names, "%s", names);
    return t;
}

int trust_find(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    struct trust *t = context;
    memset(out, 0, sizeof *out);
    if (memcmp(key_id, t->answer.key.id, KEY_ID_LEN) == 0)
        *out = t->answer;
    return 0;
}

void assert_refused_at(int rc, const struct error *err, enum moat_code expected, const char *text, const char *file,
                       int line)
{
    if (rc == -(int)expected && err->code == expected && strstr(err->message, text))
        return;
    print_error("%s:%d: expected %s with \"%s\", got %s: %s\n", file, line, error_info(expected)->name, text,
                rc ? error_info(rc)->name : "success", rc ? err->message : "");
    fail();
}
