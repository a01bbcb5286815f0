/* policy: scopes by example, decisions by example and as properties over random inputs (MOAT_SEED replays). */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct grant parse(const char *text)
{
    struct grant g;
    struct error err = {0};
    if (grant_parse(text, &g, &err))
        fail_msg("%s: %s", text, err.message);
    return g;
}

static void refused(const char *text)
{
    struct grant g = {.permission = PERMISSION_DATABASE_WRITE}, before = g;
    struct error err = {0};
    assert_int_equal(grant_parse(text, &g, &err), -MOAT_E_BAD_USAGE);
    assert_int_equal(err.code, MOAT_E_BAD_USAGE);
    assert_true(strlen(err.message) > 10);
    assert_memory_equal(&g, &before, sizeof g);
}

static void scopes_are_normalised(void **state)
{
    static const struct {
        const char *text, *normal;
    } rows[] = {
        {"file_read=/data", "file_read=/data"},
        {"FILE_READ=/data/", "file_read=/data"},
        {"file_read=//data///a/./b/", "file_read=/data/a/b"},
        {"file_write=/..a/b..", "file_write=/..a/b.."},
        {"file_read=/a=b c", "file_read=/a=b c"},
        {"file_read=/", "file_read=/"},
        {"file_read=/.", "file_read=/"},
        {"network_access=API.Example.com.:443", "network_access=api.example.com:443"},
        {"network_access=127.0.0.1:80", "network_access=127.0.0.1:80"},
        {"network_access=[0:0::1]:80", "network_access=[::1]:80"},
        {"network_access", "network_access"},
        {"database_read=main", "database_read=main"},
        {"execute_code", "execute_code"},
        {"System_Access", "system_access"},
        {"agent_control=other.run", "agent_control=other.run"},
        {"agent_control=other", "agent_control=other"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct grant g = parse(rows[i].text), again;
        char text[600];
        grant_format(&g, text, sizeof text);
        assert_string_equal(text, rows[i].normal);
        again = parse(text);
        assert_true(grant_equal(&g, &again));
    }
}

static void nonsense_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "=",
        "=/data",
        "file",
        "file_reads=/x",
        "file_read",
        "file_read=",
        "file_read=data",
        "file_read=~/x",
        "file_read=/a/../b",
        "file_read=/..",
        "file_read=/a\nb",
        "file_read=../x",
        "execute_code=/bin/sh",
        "system_access=all",
        "network_access=",
        "network_access=host",
        "network_access=host:",
        "network_access=host:0",
        "network_access=host:65536",
        "network_access=host:080",
        "network_access=*.example.com:443",
        "network_access=:443",
        "network_access=a..b:1",
        "network_access=a..:1",
        "network_access=.:1",
        "network_access=0x7f.1:80",
        "network_access=2130706433:80",
        "network_access=127.1:80",
        "network_access=[::1:80",
        "network_access=[nope]:80",
        "network_access=a b:80",
        "network_access=::1:80",
        "database_read=a/b",
        "database_write=A",
        "agent_control=x.",
        "agent_control=.y",
        "agent_control=a.b.c",
        "agent_control=a__b",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i]);
    char longest[POLICY_SCOPE_MAX + 64];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "file_read=/", 11);
    longest[11 + POLICY_SCOPE_MAX - 2] = '\0';
    parse(longest);
    longest[11 + POLICY_SCOPE_MAX - 2] = 'a';
    longest[11 + POLICY_SCOPE_MAX - 1] = '\0';
    refused(longest);
}

static void a_scope_contains_what_is_below_it(void **state)
{
    static const struct {
        const char *a, *b;
        bool covers;
    } rows[] = {
        {"file_read=/data", "file_read=/data", true},
        {"file_read=/data", "file_read=/data/x", true},
        {"file_read=/data", "file_read=/database", false},
        {"file_read=/data/x", "file_read=/data", false},
        {"file_read=/", "file_read=/etc", true},
        {"file_read=/data", "file_write=/data", false},
        {"file_write=/data", "file_read=/data", false},
        {"network_access", "network_access=a.b:1", true},
        {"network_access=a.b:1", "network_access", false},
        {"network_access=a.b:1", "network_access=a.b:12", false},
        {"network_access=A.b.:1", "network_access=a.B:1", true},
        {"agent_control=a", "agent_control=a.run", true},
        {"agent_control=a", "agent_control=ab.run", false},
        {"agent_control=a.run", "agent_control=a", false},
        {"agent_control", "agent_control=a", true},
        {"execute_code", "execute_code", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct grant a = parse(rows[i].a), b = parse(rows[i].b);
        if (grant_covers(&a, &b) != rows[i].covers)
            fail_msg("%s covers %s?", rows[i].a, rows[i].b);
    }
    /* Not through grant_parse: compared after normalisation all the same, and no meaning covers nothing. */
    struct grant raw = {PERMISSION_FILE_READ, "/data//x/./"}, normal = parse("file_read=/data/x");
    assert_true(grant_covers(&raw, &normal) && grant_covers(&normal, &raw));
    struct grant bare = {PERMISSION_FILE_READ, ""}, relative = {PERMISSION_FILE_READ, "x"};
    assert_false(grant_covers(&bare, &normal) || grant_covers(&normal, &bare) || grant_covers(&bare, &bare));
    assert_false(grant_covers(&relative, &relative));
}

static struct decision granted(const char *text, uint64_t until)
{
    return (struct decision){.grant = parse(text), .until = until};
}

static struct decision refusal(enum permission p)
{
    return (struct decision){.grant = {.permission = p}, .refused = true};
}

static void nothing_granted_is_nothing(void **state)
{
    struct ask asks[] = {{PERMISSION_FILE_READ, true}, {PERMISSION_EXECUTE_CODE, false}};
    struct policy_answer a;
    policy_decide(asks, 2, NULL, 0, 100, &a);
    assert_false(a.ready);
    assert_int_equal(a.blocking, PERMISSION_FILE_READ);
    assert_int_equal(a.ngrants, 0);
    assert_int_equal(a.asked, 1u << PERMISSION_FILE_READ | 1u << PERMISSION_EXECUTE_CODE);
    assert_int_equal(a.undecided, a.asked);
    policy_decide(NULL, 0, NULL, 0, 100, &a);
    assert_true(a.ready);
}

static void decisions_by_example(void **state)
{
    struct ask asks[] = {{PERMISSION_EXECUTE_CODE, false}, {PERMISSION_FILE_READ, true}};
    struct policy_answer a;
    struct decision ok[] = {granted("file_read=/a", 0), granted("file_read=/a/b", 0), granted("file_read=/c", 101)};
    policy_decide(asks, 2, ok, 3, 100, &a);
    assert_true(a.ready);
    assert_int_equal(a.ngrants, 2); /* /a/b says nothing new */
    assert_string_equal(a.grants[1].scope, "/c");
    assert_int_equal(a.undecided, 1u << PERMISSION_EXECUTE_CODE);
    policy_decide(asks, 2, ok, 3, 101, &a); /* the end of /c has come */
    assert_int_equal(a.ngrants, 1);

    struct decision unasked[] = {granted("file_write=/a", 0), granted("file_read=/a", 0)};
    policy_decide(asks, 2, unasked, 2, 100, &a);
    assert_int_equal(a.ngrants, 1);
    assert_int_equal(a.grants[0].permission, PERMISSION_FILE_READ);

    struct decision both[] = {granted("file_read=/a", 0), refusal(PERMISSION_FILE_READ),
                              refusal(PERMISSION_DATABASE_WRITE)};
    policy_decide(asks, 2, both, 3, 100, &a);
    assert_false(a.ready);
    assert_int_equal(a.blocking, PERMISSION_FILE_READ);
    assert_int_equal(a.refused, 1u << PERMISSION_FILE_READ);
    assert_int_equal(a.ngrants, 0);

    struct decision optional[] = {granted("file_read=/a", 0), refusal(PERMISSION_EXECUTE_CODE)};
    policy_decide(asks, 2, optional, 2, 100, &a);
    assert_true(a.ready);
    assert_int_equal(a.undecided, 0);
}

static void commands_are_exact(void **state)
{
    static const struct {
        int permission;
        const char *object, *command; /* NULL: nothing can */
    } rows[] = {
        {PERMISSION_FILE_READ, "/etc/passwd", "moat grant p file_read=/etc/passwd"},
        {PERMISSION_FILE_READ, "/a//b/", "moat grant p file_read=/a/b"},
        {PERMISSION_FILE_WRITE, "", "moat grant p file_write=PATH"},
        {PERMISSION_FILE_READ, "relative", "moat grant p file_read=PATH"},
        {PERMISSION_FILE_READ, "/a/../b", "moat grant p file_read=PATH"},
        {PERMISSION_FILE_READ, "/a b;rm $x`", "moat grant p 'file_read=/a b;rm $x`'"},
        {PERMISSION_FILE_READ, "/it's", "moat grant p 'file_read=/it'\\''s'"},
        {PERMISSION_FILE_READ, "/proc/1/mem", NULL},
        {PERMISSION_FILE_READ, "/sys", NULL},
        {PERMISSION_FILE_READ, "/process", "moat grant p file_read=/process"},
        {PERMISSION_FILE_READ, "/", NULL},
        {PERMISSION_EXECUTE_CODE, "/bin/sh", "moat grant p execute_code"},
        {PERMISSION_NETWORK_ACCESS, "example.com:443", "moat grant p network_access=example.com:443"},
        {PERMISSION_NETWORK_ACCESS, "[::1]:9", "moat grant p 'network_access=[::1]:9'"},
        {PERMISSION_NETWORK_ACCESS, "", "moat grant p network_access=HOST:PORT"},
        {-1, "/etc/passwd", NULL},
        {PERMISSION_COUNT, "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[POLICY_COMMAND_MAX] = "untouched";
        assert_int_equal(policy_command("p", rows[i].permission, rows[i].object, out), rows[i].command != NULL);
        assert_string_equal(out, rows[i].command ? rows[i].command : "untouched");
    }
    /* Too many quotes for a command line: the form, not half a command. */
    char quotes[POLICY_SCOPE_MAX], out[POLICY_COMMAND_MAX];
    memset(quotes, '\'', sizeof quotes - 1);
    quotes[0] = '/';
    quotes[sizeof quotes - 1] = '\0';
    assert_true(policy_command("p", PERMISSION_FILE_READ, quotes, out));
    assert_string_equal(out, "moat grant p file_read=PATH");
}

/* ---- properties ---- */

static uint64_t rng;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 32) % n;
}

static struct grant random_grant(void)
{
    static const char *const texts[] = {
        "file_read=/a",         "file_read=/a/b", "file_read=/a/b/c",   "file_read=/",
        "file_write=/a",        "file_write=/b",  "network_access",     "network_access=a.b:1",
        "network_access=a.b:2", "database_read",  "database_read=main", "database_write=main",
        "execute_code",         "system_access",  "agent_control=x",    "agent_control=x.run",
    };
    return parse(texts[below(sizeof texts / sizeof *texts)]);
}

static struct decision random_decision(void)
{
    struct decision d = {.grant = random_grant(), .refused = below(6) == 0, .until = below(4) ? 0 : 90 + below(20)};
    if (d.refused)
        d.grant.scope[0] = '\0';
    return d;
}

static bool allows(const struct policy_answer *a, const struct grant *g)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (grant_covers(&a->grants[i], g))
            return true;
    return false;
}

/* Every right of less is one of more. */
static void assert_no_less(const struct policy_answer *more, const struct policy_answer *less)
{
    for (size_t i = 0; i < less->ngrants; i++)
        assert_true(allows(more, &less->grants[i]));
    assert_true(more->ready || !less->ready);
}

static void properties_hold_on_random_decisions(void **state)
{
    for (int round = 0; round < 20000; round++) {
        struct ask asks[6];
        struct decision ds[20];
        size_t nasks = below(6), nds = below(19);
        for (size_t i = 0; i < nasks; i++)
            asks[i] = (struct ask){(enum permission)below(PERMISSION_COUNT), below(2)};
        for (size_t i = 0; i < nds; i++)
            ds[i] = random_decision();
        struct policy_answer before, after;
        policy_decide(asks, nasks, ds, nds, 100, &before);

        /* Nothing unasked, refused, ended or invented is in force. */
        for (size_t i = 0; i < before.ngrants; i++) {
            const struct grant *g = &before.grants[i];
            assert_true(before.asked >> g->permission & 1);
            assert_false(before.refused >> g->permission & 1);
            bool given = false;
            for (size_t k = 0; k < nds; k++)
                given |= !ds[k].refused && (!ds[k].until || ds[k].until > 100) && grant_equal(&ds[k].grant, g);
            assert_true(given);
        }
        assert_int_equal(before.undecided & before.refused, 0);
        if (!before.ready)
            assert_false(allows(&before, &(struct grant){.permission = before.blocking}));

        /* One more grant, anywhere, takes no right away. */
        size_t at = below((unsigned)nds + 1);
        memmove(ds + at + 1, ds + at, (nds - at) * sizeof *ds);
        ds[at] = (struct decision){.grant = random_grant()};
        policy_decide(asks, nasks, ds, nds + 1, 100, &after);
        assert_no_less(&after, &before);

        /* One grant less, or a refusal more, gives no right. */
        ds[at] = (struct decision){.grant = {.permission = (enum permission)below(PERMISSION_COUNT)}, .refused = true};
        struct policy_answer closed;
        policy_decide(asks, nasks, ds, nds + 1, 100, &closed);
        assert_no_less(&before, &closed);

        /* Time only ends grants; refusals stand here without an end. */
        bool refusal_ends = false;
        for (size_t i = 0; i <= nds; i++)
            refusal_ends |= ds[i].refused && ds[i].until;
        struct policy_answer later;
        policy_decide(asks, nasks, ds, nds + 1, 1000, &later);
        if (!refusal_ends)
            assert_no_less(&closed, &later);
    }
}

static void covering_is_an_order(void **state)
{
    for (int round = 0; round < 20000; round++) {
        struct grant a = random_grant(), b = random_grant(), c = random_grant();
        assert_true(grant_covers(&a, &a));
        if (grant_covers(&a, &b) && grant_covers(&b, &c))
            assert_true(grant_covers(&a, &c));
        if (grant_covers(&a, &b) && grant_covers(&b, &a))
            assert_true(grant_equal(&a, &b));
    }
}

int main(void)
{
    const char *seed = getenv("MOAT_SEED");
    rng = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("# MOAT_SEED=%llu\n", (unsigned long long)rng);
    rng = rng * 0x9e3779b97f4a7c15ull | 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_are_normalised),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_scope_contains_what_is_below_it),
        cmocka_unit_test(nothing_granted_is_nothing),
        cmocka_unit_test(decisions_by_example),
        cmocka_unit_test(commands_are_exact),
        cmocka_unit_test(properties_hold_on_random_decisions),
        cmocka_unit_test(covering_is_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
