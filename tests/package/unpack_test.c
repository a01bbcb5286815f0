/* The archive: what the inspector refuses, what an inspector in wrong hands cannot do, what code is judged by.
 * argv: moat-worker, moat-helper, the directory with the fake helpers and the little plugins. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "package/package_internal.h"
#include "tar.h"
#include "wire/assets.h"

static const char *worker, *helper, *built;
static struct spawner *spawner;
static struct signing_key *key;

static int set_up(void **state)
{
    struct error err;
    if (key_generate(&key, &err) || spawner_start(worker, helper, &spawner, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    spawner_stop(spawner);
    key_free(key);
    return 0;
}

/* Verified and read, or the test ends. */
static struct package *ready(const struct buf *bytes)
{
    struct error err = {0};
    struct package *p = NULL;
    struct trust trust = trust_in(key, "*");
    if (package_open_bytes(bytes->data, bytes->len, PACKAGE_MAX_DEFAULT, &p, &err) ||
        package_verify(p, trust_find, &trust, NOW, &err) || package_read(p, &err))
        fail_msg("%s", err.message);
    return p;
}

static void list_file(struct buf *files, const char *path, const void *data, size_t len)
{
    uint8_t hash[32];
    char hex[65];
    sha256(data, len, hash);
    text_hex(hex, hash, 32);
    assert_true(buf_printf(files, "%s  %s\n", hex, path));
}

static int unpack_pieces(const struct pieces *pieces, struct findings *findings, struct error *err)
{
    buf_auto bytes = BUF_INIT(PACKAGE_MAX_DEFAULT);
    make_package(pieces, &bytes);
    struct package *p = ready(&bytes);
    struct unpacked files;
    int rc = package_unpack(p, spawner, &files, findings, err);
    if (rc == 0)
        unpacked_free(&files);
    package_free(p);
    return rc;
}

/* A package whose FILES is about "demo.so" with these bytes, and whose archive is this. */
static int unpack_archive(const struct buf *archive, const void *code, size_t len, struct error *err)
{
    buf_auto files = BUF_INIT(1 << 20);
    list_file(&files, "demo.so", code, len);
    return unpack_pieces(
        &(struct pieces){.key = key, .files = buf_text(&files), .archive = archive->data, .archive_len = archive->len},
        NULL, err);
}

static int unpack_tar(const struct buf *tar, const void *code, size_t len, struct error *err)
{
    buf_auto archive = BUF_INIT(512 << 20);
    zstd_pack(tar, &archive);
    return unpack_archive(&archive, code, len, err);
}

static void read_built(const char *name, struct buf *out)
{
    struct error err;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", built, name);
    if (io_read_file(path, out, &err))
        fail_msg("%s", err.message);
}

static void good(void **state)
{
    struct error err = {0};
    buf_auto code = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24), archive = BUF_INIT(1 << 24), files = BUF_INIT(10000);
    buf_auto bytes = BUF_INIT(1 << 24);
    read_built("good.so", &code);
    tar_put(&tar, &(struct tar_entry){.path = "data/empty"});
    tar_put(&tar, &(struct tar_entry){.path = "data/words", .data = "some words", .len = 10});
    tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = code.data, .len = code.len, .mode = 0755});
    tar_end(&tar);
    zstd_pack(&tar, &archive);
    list_file(&files, "data/empty", "", 0);
    list_file(&files, "data/words", "some words", 10);
    list_file(&files, "demo.so", code.data, code.len);
    make_package(&(struct pieces){.key = key,
                                  .files = buf_text(&files),
                                  .archive = archive.data,
                                  .archive_len = archive.len,
                                  .manifest =
                                      "{\"moat\":1,\"name\":\"demo\",\"version\":\"1.0.0\",\"engine\":\"native\","
                                      "\"entry\":\"demo.so\",\"assets\":[\"data/words\",\"data/empty\"],"
                                      "\"capabilities\":[\"custom\"],\"actions\":[{\"name\":\"run\"}]}"},
                 &bytes);
    struct package *p = ready(&bytes);
    struct unpacked u;
    struct findings findings = {0};
    if (package_unpack(p, spawner, &u, &findings, &err))
        fail_msg("%s", err.message);
    assert_int_equal(findings.count, 0);
    assert_int_equal(u.count, 3);
    assert_int_equal(unpacked_find(&u, "none"), -1);
    int fd = unpacked_find(&u, "demo.so");
    uint8_t *copy = malloc(code.len + 1);
    assert_int_equal(pread(fd, copy, code.len + 1, 0), code.len);
    assert_memory_equal(copy, code.data, code.len);
    free(copy);
    const int kept[] = {fd, u.assets};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        assert_int_equal(fcntl(kept[i], F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
        assert_int_equal(fcntl(kept[i], F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(fcntl(kept[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    /* The assets are in one file, which a worker can take apart. */
    struct assets assets;
    size_t len;
    assert_int_equal(unpacked_find(&u, "data/words"), -1);
    assert_int_equal(u.sizes[1], 10);
    assert_true(assets_map(u.assets, &assets));
    assert_int_equal(assets.count, 2);
    assert_string_equal(assets_find(&assets, "data/words", &len), "some words");
    assert_int_equal(len, 10);
    assert_ptr_equal(assets_find(&assets, "data/words", NULL), assets.base + u.offsets[1]);
    assert_non_null(assets_find(&assets, "data/empty", &len));
    assert_int_equal(len, 0);
    unpacked_free(&u);
    package_free(p);
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "data/empty where FILES names demo");
}

static void not_read_yet(void **state)
{
    struct error err;
    struct package *p;
    struct unpacked u;
    buf_auto bytes = BUF_INIT(1 << 20);
    make_package(&(struct pieces){.key = key}, &bytes);
    assert_int_equal(package_open_bytes(bytes.data, bytes.len, PACKAGE_MAX_DEFAULT, &p, &err), 0);
    assert_refused(package_unpack(p, spawner, &u, NULL, &err), &err, MOAT_E_INTERNAL, "not read");
    package_free(p);
}

static const char path_of_201[] =
    "0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/01234567"
    "89/012345678901";

/* One bad entry before a good one; the inspector must stop there. */
static void bad_entries(void **state)
{
    static const struct {
        struct tar_entry entry;
        const char *message;
    } cases[] = {
        {{.path = "/etc/passwd"}, "not clean and relative: /etc/passwd"},
        {{.path = "../a"}, "not clean and relative: ../a"},
        {{.path = "a/../../b"}, "not clean and relative"},
        {{.path = "./a"}, "not clean and relative"},
        {{.path = "a//b"}, "not clean and relative"},
        {{.path = "a", .type = '2', .link = "/etc/passwd"}, "not a regular file: a"},
        {{.path = "a", .type = '1', .link = "b"}, "not a regular file: a"},
        {{.path = "a", .type = '3'}, "not a regular file"},
        {{.path = "a", .type = '4'}, "not a regular file"},
        {{.path = "a", .type = '6'}, "not a regular file"},
        {{.path = "a/", .type = '5'}, "not a regular file"},
        {{.path = "a", .mode = 04755}, "set-uid"},
        {{.path = "a", .mode = 02755}, "set-uid"},
        {{.path = "a", .mode = 01755}, "set-uid"},
        {{.path = "a"}, "has a where FILES names demo.so"},
        {{.path = "a", .type = 'L', .data = path_of_201, .len = sizeof path_of_201}, ""},
        {{.path = "a", .type = 'x', .data = "12 path=abc\n", .len = 12}, "not a plain ustar"},
        {{.path = "a", .type = 'g', .data = "12 path=abc\n", .len = 12}, "not a plain ustar"},
        {{.path = "a", .type = 'S'}, ""},
        {{.path = "a", .claimed = 077777777777}, "unpacks to more than"},
        {{.path = "a", .data = "x", .len = 1, .claimed = 1000000}, "broken"},
        {{.path = "z"}, "has z where"},
    };
    struct error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_auto tar = BUF_INIT(1 << 20);
        tar_put(&tar, &cases[i].entry);
        tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = "hello", .len = 5});
        tar_end(&tar);
        assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, cases[i].message);
    }
}

static void put_demo(struct buf *tar)
{
    tar_put(tar, &(struct tar_entry){.path = "demo.so", .data = "hello", .len = 5});
}

static void bad_streams(void **state)
{
    struct error err = {0};
    buf_auto tar = BUF_INIT(1 << 24), archive = BUF_INIT(1 << 24), twice = BUF_INIT(1 << 24);
    /* twice the same */
    put_demo(&tar);
    put_demo(&tar);
    tar_end(&tar);
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "twice or out of order");
    /* bytes behind the end, hidden from whoever reads the entries */
    buf_clear(&tar);
    put_demo(&tar);
    tar_end(&tar);
    put_demo(&tar);
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "belong to no entry");
    /* or before the first one */
    buf_clear(&tar);
    assert_true(buf_put(&tar, (uint8_t[512]){0}, 512));
    put_demo(&tar);
    tar_end(&tar);
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "");
    /* a second frame, a cut one, a tail, another format, nothing */
    buf_clear(&tar);
    put_demo(&tar);
    tar_end(&tar);
    zstd_pack(&tar, &archive);
    buf_put(&twice, archive.data, archive.len);
    buf_put(&twice, archive.data, archive.len);
    assert_refused(unpack_archive(&twice, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "belong to no entry");
    for (size_t cut = 1; cut < archive.len; cut += 7) {
        struct buf part = {.data = archive.data, .len = cut, .cap = cut};
        assert_int_equal(unpack_archive(&part, "hello", 5, &err), -MOAT_E_NOT_A_PACKAGE);
    }
    buf_putc(&archive, 'x');
    assert_refused(unpack_archive(&archive, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "belong to no entry");
    assert_refused(unpack_archive(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "not compressed with zstd");
    buf_clear(&tar);
    buf_puts(&tar, "this is no archive at all");
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "the archive ");
    buf_clear(&tar);
    tar_end(&tar);
    assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "FILES names demo.so, which the");
}

/* Random damage of a compressed stream: refused each time, never a hang, never a wrong file. */
static void damaged_streams(void **state)
{
    struct error err = {0};
    buf_auto code = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24), archive = BUF_INIT(1 << 24);
    read_built("good.so", &code);
    tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = code.data, .len = code.len});
    tar_end(&tar);
    zstd_pack(&tar, &archive);
    seed();
    for (int i = 0; i < 60; i++) {
        size_t at = random_u64() % archive.len;
        uint8_t old = archive.data[at];
        archive.data[at] ^= (uint8_t)(1 + random_u64() % 255);
        int rc = unpack_archive(&archive, code.data, code.len, &err);
        /* Bits that nothing reads exist in a zstd frame; the content is the signed one then. */
        assert_true(rc == 0 || rc == -MOAT_E_NOT_A_PACKAGE || rc == -MOAT_E_PACKAGE_DAMAGED);
        archive.data[at] = old;
    }
}

static void bombs(void **state)
{
    struct error err = {0};
    struct rusage before, after;
    const uint64_t gib = 1 << 30;
    buf_auto tar = BUF_INIT(1 << 28), archive = BUF_INIT(1 << 24);
    getrusage(RUSAGE_SELF, &before);
    /* A GiB of zeros in a few KiB: by the header's word, against it, and behind a whole entry. */
    zstd_bomb(&(struct tar_entry){.path = "demo.so", .claimed = gib}, gib, &archive);
    assert_true(archive.len < 1 << 20);
    assert_refused(unpack_archive(&archive, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "unpacks to more than");
    zstd_bomb(&(struct tar_entry){.path = "demo.so", .data = "hello", .len = 5}, gib, &archive);
    assert_refused(unpack_archive(&archive, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "unpacks to more than");
    zstd_bomb(&(struct tar_entry){.path = "demo.so", .claimed = 1 << 20}, gib, &archive);
    assert_refused(unpack_archive(&archive, "hello", 5, &err), &err, MOAT_E_PACKAGE_DAMAGED, "not what was signed");
    /* A window that wants memory. */
    static const uint8_t wide[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00};
    struct buf frame = {.data = (uint8_t *)(uintptr_t)wide, .len = sizeof wide};
    assert_refused(unpack_archive(&frame, "hello", 5, &err), &err, MOAT_E_NOT_A_PACKAGE, "window");
    /* No end of entries. */
    for (unsigned i = 0; i < 20000; i++)
        tar_put(&tar, &(struct tar_entry){.path = "demo.so"});
    tar_end(&tar);
    assert_refused(unpack_tar(&tar, "", 0, &err), &err, MOAT_E_NOT_A_PACKAGE, "twice or out of order");
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 200 * 1024);
}

static void thousand_files(void **state)
{
    struct error err = {0};
    buf_auto code = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24), archive = BUF_INIT(1 << 24), files = BUF_INIT(1 << 20);
    buf_auto manifest = BUF_INIT(1 << 20);
    read_built("good.so", &code);
    buf_puts(&manifest,
             "{\"moat\":1,\"name\":\"demo\",\"version\":\"1.0.0\",\"engine\":\"native\",\"entry\":\"demo.so\","
             "\"capabilities\":[\"custom\"],\"actions\":[{\"name\":\"run\"}],\"assets\":[");
    for (unsigned i = 0; i < 998; i++) {
        char path[16];
        snprintf(path, sizeof path, "a%04u", i);
        buf_printf(&manifest, "%s\"%s\"", i ? "," : "", path);
        list_file(&files, path, path, strlen(path));
        tar_put(&tar, &(struct tar_entry){.path = path, .data = path, .len = strlen(path)});
    }
    buf_puts(&manifest, "]}");
    list_file(&files, "demo.so", code.data, code.len);
    tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = code.data, .len = code.len});
    tar_end(&tar);
    zstd_pack(&tar, &archive);
    /* However many they are, they take no descriptor each. */
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int rc = unpack_pieces(&(struct pieces){.key = key,
                                            .files = buf_text(&files),
                                            .manifest = buf_text(&manifest),
                                            .archive = archive.data,
                                            .archive_len = archive.len},
                           NULL, &err);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (rc)
        fail_msg("%s", err.message);
}

/* Code that would not run behind the wall. */
static void code_is_judged(void **state)
{
    static const struct {
        const char *file, *message, *cure;
    } cases[] = {
        {"hidden.so", "demo.so does not export moat_plugin", "MOAT_PLUGIN"},
        {"stack.so", "asks for an executable stack", "noexecstack"},
        {"textrel.so", "has relocations in its code", "-fPIC"},
        {"rpath.so", "looks for libraries outside the package", "-rpath"},
        {"needs.so", "needs libbundled.so.1", "\"libraries\""},
        {"program", "is not a shared object", "-shared"},
        {"good.so@18=\xb7", "is for machine 183", "-shared"},
        {"good.so@4=\1", "is for machine", "-shared"},
        {"good.so@5=\2", "is", "-shared"},
        {"good.so@16=\1", "is not a shared object", "-shared"},
        {"good.so@54=\0", "", "-shared"},
        {"good.so@32=\xff", "", ""},
        {"text", "demo.so is not an ELF file", "-shared"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        struct findings findings = {0};
        char name[64];
        buf_auto code = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24), archive = BUF_INIT(1 << 24), files = BUF_INIT(9999);
        snprintf(name, sizeof name, "%s", cases[i].file);
        char *patch = strchr(name, '@');
        if (patch)
            *patch++ = '\0';
        if (strcmp(name, "text") == 0)
            buf_puts(&code, "#!/bin/sh\n");
        else
            read_built(name, &code);
        if (patch)
            code.data[strtoul(patch, NULL, 10)] = (uint8_t)strchr(patch, '=')[1];
        tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = code.data, .len = code.len});
        tar_end(&tar);
        zstd_pack(&tar, &archive);
        list_file(&files, "demo.so", code.data, code.len);
        int rc = unpack_pieces(
            &(struct pieces){
                .key = key, .files = buf_text(&files), .archive = archive.data, .archive_len = archive.len},
            &findings, &err);
        assert_refused(rc, &err, MOAT_E_IMPORT_REFUSED, cases[i].message);
        assert_true(findings.count >= 1);
        assert_int_equal(findings.list[0].code, MOAT_E_IMPORT_REFUSED);
        assert_string_equal(findings.list[0].where, "demo.so");
        assert_non_null(strstr(findings.list[0].cure, cases[i].cure));
        findings_free(&findings);
    }
}

static const char bundle_manifest[] =
    "{\"moat\":1,\"name\":\"demo\",\"version\":\"1.0.0\",\"engine\":\"native\",\"entry\":\"demo.so\","
    "\"libraries\":[\"lib/libbundled.so\"],\"capabilities\":[\"custom\"],\"actions\":[{\"name\":\"run\"}]}";

static void bundled_libraries(void **state)
{
    struct error err = {0};
    buf_auto code = BUF_INIT(1 << 24), library = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24),
             archive = BUF_INIT(1 << 24);
    buf_auto files = BUF_INIT(9999);
    read_built("needs.so", &code);
    read_built("libbundled.so", &library);
    tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = code.data, .len = code.len});
    tar_put(&tar, &(struct tar_entry){.path = "lib/libbundled.so", .data = library.data, .len = library.len});
    tar_end(&tar);
    zstd_pack(&tar, &archive);
    list_file(&files, "demo.so", code.data, code.len);
    list_file(&files, "lib/libbundled.so", library.data, library.len);
    if (unpack_pieces(&(struct pieces){.key = key,
                                       .manifest = bundle_manifest,
                                       .files = buf_text(&files),
                                       .archive = archive.data,
                                       .archive_len = archive.len},
                      NULL, &err))
        fail_msg("%s", err.message);
}

/* Random damage of an ELF file: any judgement, no crash of the host, no hang. */
static void damaged_code(void **state)
{
    struct error err = {0};
    buf_auto code = BUF_INIT(1 << 24);
    read_built("good.so", &code);
    seed();
    for (int i = 0; i < 60; i++) {
        buf_auto copy = BUF_INIT(1 << 24), tar = BUF_INIT(1 << 24);
        buf_put(&copy, code.data, code.len);
        for (int k = 0; k < 4; k++)
            copy.data[random_u64() % (i % 2 ? 1024 : copy.len)] = (uint8_t)random_u64();
        tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = copy.data, .len = copy.len});
        tar_end(&tar);
        int rc = unpack_tar(&tar, copy.data, copy.len, &err);
        assert_true(rc == 0 || rc == -MOAT_E_IMPORT_REFUSED || rc == -MOAT_E_PACKAGE_DAMAGED);
    }
}

/* An inspector in an attacker's hands can refuse the package; it can do nothing else. */
static void hostile_helpers(void **state)
{
    static const struct {
        const char *name;
        enum moat_code code;
        const char *message;
    } cases[] = {
        {"crash", MOAT_E_PACKAGE_DAMAGED, "ended by signal 11"},
        {"silent", MOAT_E_PACKAGE_DAMAGED, "did not answer in time"},
        {"spin", MOAT_E_PACKAGE_DAMAGED, ""},
        {"garbage", MOAT_E_PACKAGE_DAMAGED, "answer is refused"},
        {"flood", MOAT_E_PACKAGE_DAMAGED, "not what was signed"},
        {"nothing", MOAT_E_PACKAGE_DAMAGED, "ends too early"},
        {"status", MOAT_E_PACKAGE_DAMAGED, "gave up with status 77"},
        {"linger", MOAT_E_PACKAGE_DAMAGED, "did not end"},
        {"tail", MOAT_E_PACKAGE_DAMAGED, "bytes after its end"},
        {"swapped", MOAT_E_PACKAGE_DAMAGED, "demo.so is not what was signed"},
        {"huge_file", MOAT_E_NOT_A_PACKAGE, "more than this host allows"},
        {"long_text", MOAT_E_PACKAGE_DAMAGED, "text is too long"},
        {"extra", MOAT_E_NOT_A_PACKAGE, "has extra, which FILES does not name"},
        {"missing", MOAT_E_NOT_A_PACKAGE, "names demo.so, which the archive does not have"},
        {"nul", MOAT_E_PACKAGE_DAMAGED, "zero byte"},
        {"loose_facts", MOAT_E_PACKAGE_DAMAGED, "facts without their file"},
        {"many_facts", MOAT_E_PACKAGE_DAMAGED, "too many"},
        {"refusal", MOAT_E_NOT_A_PACKAGE, "not a regular file: ?[2J"},
        {"no_lock", MOAT_E_WALL_MISSING, "lock itself in"},
        {"half", MOAT_E_PACKAGE_DAMAGED, "ends too early"},
        {"many_imports", MOAT_E_PACKAGE_DAMAGED, "imports without their file, or too many"},
        {"endless_imports", MOAT_E_PACKAGE_DAMAGED, "imports without their file, or too many"},
        {"loose_import", MOAT_E_PACKAGE_DAMAGED, "imports without their file"},
        {"valued_import", MOAT_E_PACKAGE_DAMAGED, "imports without their file"},
        {"lying_imports", MOAT_E_IMPORT_REFUSED, "demo.so imports socket, which needs network_access"},
        {"two_elves", MOAT_E_PACKAGE_DAMAGED, "facts without their file"},
        {"other_file", MOAT_E_NOT_A_PACKAGE, "has other.so where FILES names demo.so"},
        {"dribble", MOAT_E_PACKAGE_DAMAGED, "did not answer in time"},
        {"late", MOAT_E_PACKAGE_DAMAGED, "did not answer in time"},
        {"unknown_record", MOAT_E_PACKAGE_DAMAGED, "an unknown record"},
        {"unknown_refusal", MOAT_E_PACKAGE_DAMAGED, "an unknown refusal"},
        {"after_refusal", MOAT_E_NOT_A_PACKAGE, "not a regular file"},
        {"absent", MOAT_E_COUNT, ""},
    };
    buf_auto files = BUF_INIT(9999), bytes = BUF_INIT(1 << 20);
    list_file(&files, "demo.so", "hello", 5);
    make_package(&(struct pieces){.key = key, .files = buf_text(&files)}, &bytes);
    for (size_t i = 0; cases[i].code != MOAT_E_COUNT; i++) {
        struct error err = {0};
        struct spawner *fake;
        struct unpacked u;
        struct findings findings = {0};
        char path[4096];
        snprintf(path, sizeof path, "%s/fake_%s", built, cases[i].name);
        if (spawner_start(worker, path, &fake, &err))
            fail_msg("%s", err.message);
        struct package *p = ready(&bytes);
        uint64_t started = clock_mono_ns();
        /* Long for whoever answers at all, and short for who does not. */
        bool slow = strstr("silent late dribble", cases[i].name) != NULL;
        uint64_t patience = slow ? NS_PER_S : 60 * NS_PER_S;
        int rc = package_unpack_within(p, fake, patience, &u, &findings, &err);
        assert_refused(rc, &err, cases[i].code, cases[i].message);
        assert_int_equal(findings.count, 1);
        assert_int_equal(findings.list[0].code, cases[i].code);
        print_message("# %-12s %5llu ms  %s\n", cases[i].name,
                      (unsigned long long)((clock_mono_ns() - started) / NS_PER_MS), err.message);
        findings_free(&findings);
        package_free(p);
        spawner_stop(fake);
    }
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void nothing_is_left(void **state)
{
    struct error err = {0};
    buf_auto tar = BUF_INIT(1 << 20);
    tar_put(&tar, &(struct tar_entry){.path = "demo.so", .data = "hello", .len = 5});
    tar_end(&tar);
    int before = open_descriptors();
    for (int i = 0; i < 5; i++)
        assert_refused(unpack_tar(&tar, "hello", 5, &err), &err, MOAT_E_IMPORT_REFUSED, "not an ELF");
    assert_int_equal(open_descriptors(), before);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    worker = argv[1];
    helper = argv[2];
    built = argv[3];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),           cmocka_unit_test(not_read_yet),    cmocka_unit_test(bad_entries),
        cmocka_unit_test(bad_streams),    cmocka_unit_test(damaged_streams), cmocka_unit_test(bombs),
        cmocka_unit_test(thousand_files), cmocka_unit_test(code_is_judged),  cmocka_unit_test(bundled_libraries),
        cmocka_unit_test(damaged_code),   cmocka_unit_test(hostile_helpers), cmocka_unit_test(nothing_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
