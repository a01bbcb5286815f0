/* The file of assets: what the host writes a worker finds, nothing that is not so is mapped, nobody can write to it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "wire/assets_format.h"

static const struct {
    const char *name;
    size_t len;
} samples[] = {{"a", 1}, {"data/empty", 0}, {"data/page", ASSETS_PAGE}, {"data/word", 5000}, {"z", ASSETS_PAGE - 1}};
#define SAMPLES (sizeof samples / sizeof *samples)

static uint8_t byte_of(size_t sample, size_t at)
{
    return (uint8_t)(17 * sample + at * 31 + 1);
}

static int write_samples(void)
{
    struct error err;
    struct assets_writer w;
    static uint8_t bytes[2 * ASSETS_PAGE];
    assert_int_equal(assets_begin(&w, SAMPLES, &err), 0);
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_true(assets_add(&w, samples[i].name, samples[i].len, &err) > 0);
        for (size_t k = 0; k < samples[i].len; k++)
            bytes[k] = byte_of(i, k);
        assert_true(io_write_all(w.fd, bytes, samples[i].len));
    }
    int fd = assets_finish(&w, &err);
    assert_true(fd >= 0);
    assets_abandon(&w);
    return fd;
}

static void what_was_written_is_found(void **state)
{
    struct assets a;
    int fd = write_samples();
    assert_true(assets_map(fd, &a));
    close(fd);
    assert_int_equal(a.count, SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t len = 0;
        const uint8_t *bytes = assets_find(&a, samples[i].name, &len);
        assert_non_null(bytes);
        assert_int_equal(len, samples[i].len);
        assert_int_equal((uintptr_t)bytes % ASSETS_PAGE, 0);
        for (size_t k = 0; k < len; k++)
            assert_int_equal(bytes[k], byte_of(i, k));
        assert_int_equal(bytes[len], 0); /* a text ends */
        assert_ptr_equal(assets_find(&a, samples[i].name, NULL), bytes);
    }
    static const char *const none[] = {"", "A", "aa", "data", "data/", "data/wor", "data/words", "zz", "\xff"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(assets_find(&a, none[i], NULL));
    assert_null(assets_find(&(struct assets){0}, "a", NULL)); /* a plugin without any */
}

/* Two mappings of one descriptor, as two workers have them, are the same memory; no call makes it writable. */
static void shared_and_sealed(void **state)
{
    struct assets a, b;
    int fd = write_samples();
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_true(assets_map(fd, &a));
    assert_true(assets_map(fd, &b));
    assert_int_equal(mprotect((void *)(uintptr_t)a.base, ASSETS_PAGE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_ptr_equal(mmap(NULL, ASSETS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
}

static void refusals_of_the_writer(void **state)
{
    struct error err;
    struct assets_writer w;
    char name[ASSETS_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    assert_int_equal(assets_begin(&w, 3, &err), 0);
    assert_true(assets_add(&w, "b", 0, &err) > 0);
    assert_int_equal(assets_add(&w, "b", 0, &err), -MOAT_E_INTERNAL);
    assert_int_equal(assets_add(&w, "a", 0, &err), -MOAT_E_INTERNAL);
    name[ASSETS_NAME_MAX + 1] = '\0';
    assert_int_equal(assets_add(&w, name, 0, &err), -MOAT_E_INTERNAL);
    assert_int_equal(assets_add(&w, "c", UINT64_MAX, &err), -MOAT_E_TOO_LARGE);
    assert_int_equal(assets_add(&w, "c", ASSETS_FILE_MAX, &err), -MOAT_E_TOO_LARGE);
    name[ASSETS_NAME_MAX] = '\0';
    assert_true(assets_add(&w, name, 0, &err) > 0);
    assert_true(assets_add(&w, "o", 0, &err) > 0);
    assert_int_equal(assets_add(&w, "p", 0, &err), -MOAT_E_INTERNAL); /* one more than was said */
    int fd = assets_finish(&w, &err);
    struct assets a;
    assert_true(assets_map(fd, &a));
    assert_non_null(assets_find(&a, name, NULL));
    close(fd);
    assets_abandon(&w);
    assets_abandon(&w); /* once more is nothing */
}

static bool maps(const void *bytes, size_t len, struct assets *out)
{
    int fd = memfd_create("other", MFD_CLOEXEC);
    assert_true(io_write_all(fd, bytes, len));
    bool ok = assets_map(fd, out);
    close(fd);
    return ok;
}

/* Every cut is refused, and no flipped byte of head or entries leads outside the file. */
static void damaged_files(void **state)
{
    struct assets a;
    struct stat st;
    int fd = write_samples();
    assert_int_equal(fstat(fd, &st), 0);
    size_t len = (size_t)st.st_size, entries = len - SAMPLES * sizeof(struct assets_entry);
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, len + 1, 0), len);
    close(fd);
    for (size_t cut = 0; cut < len; cut += cut < entries ? 997 : 1)
        assert_false(maps(bytes, cut, &a));
    assert_false(maps(bytes, len + 1, &a));
    for (size_t i = 0; i < len; i += i == sizeof(struct assets_head) - 1 ? entries - i : 1) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1u << bit);
            if (maps(bytes, len, &a)) {
                for (size_t k = 0; k < a.count; k++) {
                    const struct assets_entry *e = &a.list[k];
                    assert_true(strlen(e->name) < sizeof e->name && e->offset % ASSETS_PAGE == 0);
                    assert_true(e->offset < entries && e->len < entries - e->offset);
                }
                munmap((void *)(uintptr_t)a.base, len);
            }
            bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_found),
        cmocka_unit_test(shared_and_sealed),
        cmocka_unit_test(refusals_of_the_writer),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
