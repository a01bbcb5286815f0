/* Results on disk: what comes back is what was written, or a clear error. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "orchestrator/spill.h"
#include "json/json.h"

static const char task[] = "0123456789abcdef0123456789abcdef", other[] = "fedcba9876543210fedcba9876543210";
static const char text[] = "[1,2,3,4,5,6,7,8,9]";
#define LEN (sizeof text - 1)

struct place {
    char dir[64], file[160];
    struct spill *s;
};

static int make(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    struct error err;
    assert_non_null(p);
    snprintf(p->dir, sizeof p->dir, "/tmp/spill-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->file, sizeof p->file, "%s/results/%s/7", p->dir, task);
    assert_int_equal(spill_open(p->dir, 10, 50, &p->s, &err), 0);
    *state = p;
    return 0;
}

static int clean(void **state)
{
    struct place *p = *state;
    char results[80];
    spill_drop(p->s, task);
    spill_drop(p->s, other);
    spill_close(p->s);
    snprintf(results, sizeof results, "%s/results", p->dir);
    assert_int_equal(rmdir(results), 0);
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

static uint64_t put(struct place *p, const char *of, uint32_t step)
{
    struct error err;
    uint64_t sum = 0;
    assert_int_equal(spill_write(p->s, of, step, text, LEN, &sum, &err), 0);
    return sum;
}

static void expect_damaged(struct place *p, size_t len, uint64_t sum, const char *what)
{
    struct error err = {0};
    uint8_t *bytes = NULL;
    assert_int_equal(spill_read(p->s, task, 7, len, sum, &bytes, &err), -MOAT_E_STORAGE_FAILED);
    assert_null(bytes);
    assert_non_null(strstr(err.message, "/7"));
    assert_non_null(strstr(err.message, what));
}

static void test_back(void **state)
{
    struct place *p = *state;
    struct error err;
    struct stat st;
    uint8_t *bytes = NULL;
    uint64_t sum = put(p, task, 7);
    assert_int_equal(spill_read(p->s, task, 7, LEN, sum, &bytes, &err), 0);
    assert_memory_equal(bytes, text, LEN);
    for (size_t i = 0; i < JSON_PAD; i++)
        assert_int_equal(bytes[LEN + i], 0);
    free(bytes);
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(spill_wants(p->s, 11));
    assert_false(spill_wants(p->s, 10));
    assert_false(spill_wants(NULL, 11));
}

static void test_each_byte_counts(void **state)
{
    struct place *p = *state;
    uint64_t sum = put(p, task, 7);
    int fd = open(p->file, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < LEN; i++) {
        char changed = (char)(text[i] == '1' ? '2' : '1');
        assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
        expect_damaged(p, LEN, sum, "damaged");
        assert_int_equal(pwrite(fd, &text[i], 1, (off_t)i), 1);
    }
    assert_int_equal(ftruncate(fd, (off_t)LEN - 1), 0);
    close(fd);
    expect_damaged(p, LEN, sum, "damaged");
}

static void test_a_damaged_record(void **state)
{
    struct place *p = *state;
    uint64_t sum = put(p, task, 7);
    expect_damaged(p, LEN, sum + 1, "damaged");
    expect_damaged(p, SIZE_MAX, sum, "damaged");
    expect_damaged(p, 0, sum, "damaged");
}

static void test_gone(void **state)
{
    struct place *p = *state;
    uint64_t sum = put(p, task, 7);
    assert_int_equal(unlink(p->file), 0);
    expect_damaged(p, LEN, sum, "No such file");
    assert_int_equal(symlink("/dev/zero", p->file), 0);
    expect_damaged(p, LEN, sum, "cannot read");
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(mkfifo(p->file, 0600), 0);
    expect_damaged(p, LEN, sum, "damaged");
}

/* Two of 19 bytes fit into 50, a third does not; writing one again and dropping give back what they took. */
static void test_bound(void **state)
{
    struct place *p = *state;
    struct error err;
    uint64_t sum = 42;
    put(p, task, 1);
    put(p, task, 2);
    assert_int_equal(spill_write(p->s, other, 1, text, LEN, &sum, &err), -MOAT_E_LIMIT);
    assert_int_equal(sum, 42);
    assert_non_null(strstr(err.message, "tasks_results_max"));
    put(p, task, 2);
    spill_drop(p->s, task);
    put(p, other, 1);
    put(p, other, 2);
}

static bool is_kept(void *context, const char *name)
{
    return strcmp(name, context) == 0;
}

static void test_sweep(void **state)
{
    struct place *p = *state;
    struct error err;
    uint64_t sum = 0, of_kept = put(p, other, 1);
    uint8_t *bytes = NULL;
    put(p, task, 7);
    spill_close(p->s);
    assert_int_equal(spill_open(p->dir, 10, 50, &p->s, &err), 0);
    assert_int_equal(spill_sweep(p->s, is_kept, (void *)(uintptr_t)other, &err), 0);
    assert_int_equal(access(p->file, F_OK), -1);
    assert_int_equal(spill_read(p->s, other, 1, LEN, of_kept, &bytes, &err), 0);
    free(bytes);
    put(p, other, 2); /* what was kept counts */
    assert_int_equal(spill_write(p->s, other, 3, text, LEN, &sum, &err), -MOAT_E_LIMIT);
}

/* They come back each by itself, in whatever order, and are told from what another step has. */
static void test_items(void **state)
{
    static const char *const texts[] = {"1", "[2,3]", "{}", "\"four\""};
    struct place *p = *state;
    struct spill_item items[4];
    struct error err;
    char room[16];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(spill_add_item(p->s, task, 7, texts[i], strlen(texts[i]), &items[i], &err), 0);
    put(p, task, 7);
    for (size_t i = 4; i-- > 0;) {
        size_t len = strlen(texts[i]);
        assert_int_equal(spill_read_item(p->s, task, 7, &items[i], room, len, &err), 0);
        assert_memory_equal(room, texts[i], len);
    }
    items[1].at++;
    assert_int_equal(spill_read_item(p->s, task, 7, &items[1], room, 5, &err), -MOAT_E_STORAGE_FAILED);
    assert_non_null(strstr(err.message, "/7.items"));
    assert_int_equal(spill_read_item(p->s, task, 7, &items[3], room, 16, &err), -MOAT_E_STORAGE_FAILED);
    spill_drop_items(p->s, task, 7);
    assert_int_equal(spill_read_item(p->s, task, 7, &items[0], room, 1, &err), -MOAT_E_STORAGE_FAILED);
    assert_int_equal(access(p->file, F_OK), 0);
}

/* They count as the others do, and are given back. */
static void test_bound_of_items(void **state)
{
    struct place *p = *state;
    struct spill_item item;
    struct error err;
    put(p, task, 1);
    assert_int_equal(spill_add_item(p->s, task, 7, text, LEN, &item, &err), 0);
    assert_int_equal(spill_add_item(p->s, task, 7, text, LEN, &item, &err), -MOAT_E_LIMIT);
    spill_drop_items(p->s, task, 7);
    put(p, task, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_back),
        TEST(test_each_byte_counts),
        TEST(test_a_damaged_record),
        TEST(test_gone),
        TEST(test_bound),
        TEST(test_sweep),
        TEST(test_items),
        TEST(test_bound_of_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
