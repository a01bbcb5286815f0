/* Where calls stand in their trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/loader.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"
#define ID "00112233445566778899aabbccddeeff"

static struct call call_of(const char *traceparent)
{
    struct call c = {0};
    strcpy(c.id, ID);
    strcpy(c.traceparent, traceparent);
    return c;
}

static void a_call_of_a_trace_belongs_to_it(void **state)
{
    char text[56];
    struct call c = call_of("00-" TRACE "-" PARENT "-01");
    trace_id(CALL_PLACE(&c), text);
    assert_string_equal(text, TRACE);
    trace_parent(CALL_PLACE(&c), text);
    assert_string_equal(text, PARENT);
    trace_span(CALL_PLACE(&c), text);
    assert_string_equal(text, "0011223344556677");
    assert_true(trace_is_sampled(CALL_PLACE(&c)));
    trace_child(CALL_PLACE(&c), text);
    assert_string_equal(text, "00-" TRACE "-0011223344556677-01");
}

static void a_call_without_one_begins_its_own(void **state)
{
    char text[56];
    struct call c = call_of("");
    trace_id(CALL_PLACE(&c), text);
    assert_string_equal(text, ID);
    trace_parent(CALL_PLACE(&c), text);
    assert_string_equal(text, "");
    assert_true(trace_is_sampled(CALL_PLACE(&c)));
    trace_child(CALL_PLACE(&c), text);
    assert_string_equal(text, "00-" ID "-0011223344556677-01");
}

static void what_the_caller_does_not_record_is_not_recorded(void **state)
{
    char text[56];
    static const struct {
        const char *flags;
        bool sampled;
    } cases[] = {{"00", false}, {"01", true}, {"02", false}, {"0b", true}, {"fe", false}, {"ff", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct call c = call_of("00-" TRACE "-" PARENT "-01");
        memcpy(c.traceparent + 53, cases[i].flags, 2);
        assert_int_equal(trace_is_sampled(CALL_PLACE(&c)), cases[i].sampled);
        trace_child(CALL_PLACE(&c), text);
        assert_string_equal(text + 53, cases[i].flags); /* and so are its children */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_of_a_trace_belongs_to_it),
        cmocka_unit_test(a_call_without_one_begins_its_own),
        cmocka_unit_test(what_the_caller_does_not_record_is_not_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
