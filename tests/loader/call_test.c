/* One call at a time: what its caller gets, in every way that a call can end. */
#include <signal.h>

#include "rig.h"

static void first_call_starts_the_plugin(void **state)
{
    struct rig *r = rig_open();
    rig_define(r, "echo", NULL, LOADER_LAZY);
    assert_int_equal(rig_status(r, "echo")->state, STATE_UNLOADED);
    rig_expect(r, "echo", "echo", "{\"a\": [1, 2.5, \"\\u00e9\"]}", 0, "{\"a\": [1, 2.5, \"\\u00e9\"]}");
    assert_int_equal(rig_status(r, "echo")->state, STATE_READY);
    assert_int_equal(rig_status(r, "echo")->health, HEALTH_HEALTHY);
    rig_close(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_call_starts_the_plugin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
