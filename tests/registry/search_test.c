/* What a search finds of words that were typed with a slip: all that are one insertion, deletion, substitution or swap
 * away, whatever their length and alphabet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry/find.h"
#include "registry/internal.h"
#include "registry/search.h"
#include "sample.h"

static bool share_a_half(const char *stored, const char *typed)
{
    struct search_half own[SEARCH_OWN_HALVES], near[SEARCH_NEAR_HALVES];
    search_own_halves(stored, own);
    size_t n = search_near_halves(typed, near);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < SEARCH_OWN_HALVES; k++)
            if (strcmp(near[i].key, own[k].key) == 0)
                return true;
    return false;
}

#define LETTERS 3
#define LENGTH_MAX 6
#define WORDS_MAX 1100 /* more than 3 + 9 + … + 3^6 */

/* Every word of these letters. */
static size_t make_words(char words[WORDS_MAX][2 * LENGTH_MAX + 1])
{
    static const char *const letters[LETTERS] = {"a", "b", "é"};
    size_t count = 0, first = 0;
    for (int i = 0; i < LETTERS; i++)
        snprintf(words[count++], sizeof *words, "%s", letters[i]);
    for (int length = 2; length <= LENGTH_MAX; length++) {
        size_t end = count;
        for (; first < end; first++)
            for (int i = 0; i < LETTERS; i++)
                snprintf(words[count++], sizeof *words, "%s%s", words[first], letters[i]);
    }
    return count;
}

static void words_one_slip_apart_share_a_half(void **state)
{
    static char words[WORDS_MAX][2 * LENGTH_MAX + 1];
    size_t count = make_words(words), near = 0;
    assert_int_equal(count, 3 + 9 + 27 + 81 + 243 + 729);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (!find_near(words[i], words[k]))
                continue;
            near++;
            if (!share_a_half(words[i], words[k]))
                fail_msg("%s and %s share no half", words[i], words[k]);
        }
    }
    assert_true(near > 10 * count);
}

/* At every place of the longest word: that nothing is written past what holds a half is for the sanitizers to say. */
static void the_longest_words_too(void **state)
{
    char word[SEARCH_WORD_MAX + 1], other[SEARCH_WORD_MAX + 1];
    for (int i = 0; i < SEARCH_WORD_MAX; i++)
        word[i] = (char)('a' + i % 26);
    word[SEARCH_WORD_MAX] = '\0';
    for (size_t i = 0; i < SEARCH_WORD_MAX; i++) {
        memcpy(other, word, sizeof other);
        memmove(other + i, other + i + 1, SEARCH_WORD_MAX - i);
        assert_true(find_near(word, other) && share_a_half(word, other) && share_a_half(other, word));
        memcpy(other, word, sizeof other);
        other[i] = '0';
        assert_true(find_near(word, other) && share_a_half(word, other));
    }
    memset(other, 0x80, SEARCH_WORD_MAX); /* no UTF-8: one character that has no end */
    other[SEARCH_WORD_MAX] = '\0';
    assert_true(share_a_half(other, other));
}

/* ---- in a registry ---- */

static void install(struct registry *r, const char *name, const char *description, uint8_t bytes)
{
    static const char content[] = "a package";
    struct registry_stage stage;
    struct error err;
    uint8_t sha256[32], key[32];
    buf_auto manifest = BUF_INIT(1 << 16);
    sample_fill(sha256, bytes);
    sample_fill(key, 1);
    buf_printf(&manifest, "{\"description\":\"%s\"}", description);
    struct registry_command c = {.verb = REGISTRY_INSTALL,
                                 .install = {.name = name,
                                             .version = "1.0.0",
                                             .newest = "1.0.0",
                                             .sha256 = sha256,
                                             .key = key,
                                             .size = sizeof content,
                                             .signed_at = 1000,
                                             .manifest = buf_text(&manifest),
                                             .stage = &stage}};
    if (registry_stage(r, content, sizeof content, &stage, &err) < 0 || registry_run(r, &c, &err) < 0)
        fail_msg("%s", err.message);
}

static bool put_name(void *context, const struct registry_plugin *p, const struct registry_version *v,
                     const char *manifest, size_t len)
{
    buf_printf(context, "%s ", p->name);
    return true;
}

static void assert_found(struct registry *r, const char *typed, const char *expected)
{
    struct registry_reader *reader;
    struct error err;
    struct registry_filter filter = {.active = -1, .text = typed};
    buf_auto names = BUF_INIT(1 << 16);
    assert_int_equal(registry_reader_new(r, &reader, &err), 0);
    assert_int_equal(registry_each_plugin(reader, &filter, put_name, &names, &err), 0);
    registry_reader_free(reader);
    if (strcmp(buf_text(&names), expected) != 0)
        fail_msg("%s: found %s, not %s", typed, buf_text(&names), expected);
}

/* Some of a thousand words whose first half is the same and that are two slips apart. */
static void put_crowd(struct buf *out, int from, int to)
{
    for (int i = from; i < to; i++) {
        int a = i / 100, b = i / 10 % 10, c = i % 10;
        buf_printf(out, "crowd%d%d%d%d%d%d ", a, a, b, b, c, c);
    }
}

static void a_crowd_of_words_that_begin_alike_hides_none(void **state)
{
    struct place p;
    struct registry *r;
    struct error err;
    buf_auto crowd = BUF_INIT(1 << 16), one = BUF_INIT(1 << 10);
    place_make(&p);
    if (place_open(&p, &r, &err) < 0 || sample_trust(r, "acme", 1, &err) < 0)
        fail_msg("%s", err.message);
    put_crowd(&crowd, 0, 984);
    put_crowd(&one, 984, 985);
    install(r, "many", buf_text(&crowd), 1);
    install(r, "single", buf_text(&one), 2);
    assert_found(r, "crowd998844", "single ");
    assert_found(r, "crowd998x44", "single "); /* the half that is right has them all */
    assert_found(r, "crowd989844", "single ");
    assert_found(r, "crowd99844", "single ");
    assert_found(r, "crxwd998844", "single ");
    assert_found(r, "crowd998xx4", "");
    assert_found(r, "crowd", "many single ");
    registry_close(r);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_one_slip_apart_share_a_half),
                                       cmocka_unit_test(the_longest_words_too),
                                       cmocka_unit_test(a_crowd_of_words_that_begin_alike_hides_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
