/* What still comes while a service closes is told to what is still there. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kit.h"
#include "loader/loader.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool freed;
    unsigned told, late;
} loader = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void __real_loader_free(struct loader *l, uint64_t grace_ns);
void __wrap_loader_free(struct loader *l, uint64_t grace_ns);
void __real_loader_refused(struct loader *l, const char *plugin, uint64_t worker, const char *operation,
                           const char *object);
void __wrap_loader_refused(struct loader *l, const char *plugin, uint64_t worker, const char *operation,
                           const char *object);

void __wrap_loader_free(struct loader *l, uint64_t grace_ns)
{
    __real_loader_free(l, grace_ns);
    pthread_mutex_lock(&loader.lock);
    loader.freed = true;
    pthread_cond_signal(&loader.changed);
    pthread_mutex_unlock(&loader.lock);
}

/* On the thread that hears of helpers: it is as slow as it takes until the loader is gone, or waits for it in vain. */
void __wrap_loader_refused(struct loader *l, const char *plugin, uint64_t worker, const char *operation,
                           const char *object)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    pthread_mutex_lock(&loader.lock);
    while (!loader.freed && pthread_cond_timedwait(&loader.changed, &loader.lock, &until) == 0)
        ;
    loader.told++;
    loader.late += loader.freed;
    if (!loader.freed)
        __real_loader_refused(l, plugin, worker, operation, object);
    pthread_mutex_unlock(&loader.lock);
}

static void a_helper_s_refusal_is_told_before_the_loader_goes(void **state)
{
    struct kit *k = *state;
    snprintf(k->echo, sizeof k->echo, "%s", getenv("MOAT_TEST_QUERIER"));
    const char *package = kit_pack(k, (struct kit_package){.name = "querier",
                                                           .optional = "[\"database_read\"]",
                                                           .actions = "[{\"name\":\"run\",\"description\":\"r\"}]"});
    OK(k, kit_install(k, (struct service_install){.path = package}));
    OK(k, kit_grant(k, "querier", "database_read=private"));
    OK(k, kit_call(k, "querier", "run", "{\"source\":\"private\",\"steps\":[{\"sql\":\"SELECT 1; SELECT 2\"}]}"));
    kit_close(k);
    assert_int_equal(loader.told, 1);
    assert_int_equal(loader.late, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_helper_s_refusal_is_told_before_the_loader_goes, kit_setup, kit_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
