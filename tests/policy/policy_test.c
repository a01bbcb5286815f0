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
        {"network_access=*.Example.COM.:443", "network_access=*.example.com:443"},
        {"network_access=example.com:*", "network_access=example.com:*"},
        {"network_access=xn--bcher-kva.Example:443", "network_access=xn--bcher-kva.example:443"},
        {"network_access=10.0.0.0/8:443", "network_access=10.0.0.0/8:443"},
        {"network_access=0.0.0.0/0:*", "network_access=0.0.0.0/0:*"},
        {"network_access=10.1.2.3/32:443", "network_access=10.1.2.3:443"},
        {"network_access=[FD00:0::/8]:443", "network_access=[fd00::/8]:443"},
        {"network_access=[::ffff:127.0.0.1]:80", "network_access=127.0.0.1:80"},
        {"network_access=[::FFFF:7f00:1]:80", "network_access=127.0.0.1:80"},
        {"network_access=[::ffff:10.0.0.0/104]:80", "network_access=10.0.0.0/8:80"},
        {"file_write=/a,max=1/b", "file_write=/a,max=1/b"},
        {"file_read=/out,max=x", "file_read=/out,max=x"},
        {"file_write=//out/.,max=1024KiB", "file_write=/out,max=1MiB"},
        {"file_write=/out/,max=1500", "file_write=/out,max=1500"},
        {"file_write=/out,max=1048576GiB", "file_write=/out,max=1048576GiB"},
        {"database_read=main", "database_read=main"},
        {"execute_code", "execute_code"},
        {"execute_code=/usr//bin/jq/", "execute_code=/usr/bin/jq"},
        {"execute_code=bin/tool", "execute_code=bin/tool"},
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
        "execute_code=../sh",
        "execute_code=/bin/../sh",
        "execute_code=a//b",
        "system_access=/bin/sh",
        "system_access=all",
        "network_access=",
        "network_access=host",
        "network_access=host:",
        "network_access=host:0",
        "network_access=host:65536",
        "network_access=host:080",
        "network_access=*:443",
        "network_access=a.*.example.com:443",
        "network_access=*a.example.com:443",
        "network_access=*.*.example.com:443",
        "network_access=*.1:443",
        ("network_access=b\xc3\xbc"
         "cher.example:443"),
        "network_access=0177.0.0.1:80",
        "network_access=127.0.0.01:80",
        "network_access=10.1.2.3/8:443",
        "network_access=10.0.0.0/33:443",
        "network_access=10.0.0.0/:443",
        "network_access=10.0.0.0/08:443",
        "network_access=[fe80::1%lo]:80",
        "network_access=[fd00::1/8]:443",
        "network_access=example.com/8:443",
        "network_access=[:80",
        "file_write=/out,max=",
        "file_write=/out,max=0",
        "file_write=/out,max=-1",
        "file_write=/out,max=1TB",
        "file_write=/out,max=1,max=2",
        "file_write=/out,max=5/",
        "file_write=/out,max=1048577GiB",
        "file_write=/out,max=99999999999999999999",
        "file_write=/out,max=1 GiB",
        "file_write=/a/../b,max=1GiB",
        "file_write=,max=5",
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
        {"network_access=*.b.c:1", "network_access=a.B.c.:1", true},
        {"network_access=*.b.c:1", "network_access=b.c:1", false},
        {"network_access=*.b.c:1", "network_access=x.a.b.c:1", false},
        {"network_access=*.b.c:1", "network_access=ab.c:1", false},
        {"network_access=a.b:*", "network_access=a.b:1", true},
        {"network_access=a.b:1", "network_access=a.b:*", false},
        {"network_access=10.0.0.0/8:1", "network_access=10.255.0.1:1", true},
        {"network_access=10.0.0.0/8:1", "network_access=10.1.0.0/16:1", true},
        {"network_access=10.1.0.0/16:1", "network_access=10.0.0.0/8:1", false},
        {"network_access=10.0.0.0/8:1", "network_access=11.0.0.1:1", false},
        {"network_access=10.128.0.0/9:1", "network_access=10.127.0.1:1", false},
        {"network_access=0.0.0.0/0:1", "network_access=[::ffff:1.2.3.4]:1", true},
        {"network_access=0.0.0.0/0:1", "network_access=[::1]:1", false},
        {"network_access=0.0.0.0/0:1", "network_access=a.b:1", false},
        {"network_access=[fd00::/8]:1", "network_access=[fdff::1]:1", true},
        {"network_access=[::1]:1", "network_access=[0:0:0:0:0:0:0:1]:1", true},
        {"agent_control=a", "agent_control=a.run", true},
        {"agent_control=a", "agent_control=ab.run", false},
        {"agent_control=a.run", "agent_control=a", false},
        {"agent_control", "agent_control=a", true},
        {"execute_code", "execute_code", true},
        /* The bare name is about the plugin's own code; a program of the machine is always named. */
        {"execute_code", "execute_code=bin/tool", true},
        {"execute_code", "execute_code=/bin/sh", false},
        {"execute_code=bin/tool", "execute_code", false},
        {"execute_code=/bin/sh", "execute_code=/bin/sh", true},
        {"execute_code=/bin/sh", "execute_code=/bin/shells", false},
        {"execute_code=bin/sh", "execute_code=/bin/sh", false},
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

static void decide(const struct ask *asks, size_t nasks, const struct decision *decisions, size_t ndecisions,
                   uint64_t now, struct policy_answer *out)
{
    memset(out, 0x5a, sizeof *out); /* what is not written says nothing */
    policy_decide(
        &(struct policy_input){
            .asks = asks, .nasks = nasks, .decisions = decisions, .ndecisions = ndecisions, .now = now},
        out);
}

static void nothing_granted_is_nothing(void **state)
{
    struct ask asks[] = {{PERMISSION_FILE_READ, true}, {PERMISSION_EXECUTE_CODE, false}};
    struct policy_answer a;
    decide(asks, 2, NULL, 0, 100, &a);
    assert_false(a.ready);
    assert_int_equal(a.blocking, PERMISSION_FILE_READ);
    assert_int_equal(a.ngrants, 0);
    assert_int_equal(a.asked, 1u << PERMISSION_FILE_READ | 1u << PERMISSION_EXECUTE_CODE);
    assert_int_equal(a.undecided, a.asked);
    decide(NULL, 0, NULL, 0, 100, &a);
    assert_true(a.ready);
}

static void decisions_by_example(void **state)
{
    struct ask asks[] = {{PERMISSION_EXECUTE_CODE, false}, {PERMISSION_FILE_READ, true}};
    struct policy_answer a;
    struct decision ok[] = {granted("file_read=/a", 0), granted("file_read=/a/b", 0), granted("file_read=/c", 101)};
    decide(asks, 2, ok, 3, 100, &a);
    assert_true(a.ready);
    assert_int_equal(a.ngrants, 2); /* /a/b says nothing new */
    assert_string_equal(a.grants[1].scope, "/c");
    assert_int_equal(a.undecided, 1u << PERMISSION_EXECUTE_CODE);
    decide(asks, 2, ok, 3, 101, &a); /* the end of /c has come */
    assert_int_equal(a.ngrants, 1);

    struct decision unasked[] = {granted("file_write=/a", 0), granted("file_read=/a", 0)};
    decide(asks, 2, unasked, 2, 100, &a);
    assert_int_equal(a.ngrants, 1);
    assert_int_equal(a.grants[0].permission, PERMISSION_FILE_READ);

    struct decision both[] = {granted("file_read=/a", 0), refusal(PERMISSION_FILE_READ),
                              refusal(PERMISSION_DATABASE_WRITE)};
    decide(asks, 2, both, 3, 100, &a);
    assert_false(a.ready);
    assert_int_equal(a.blocking, PERMISSION_FILE_READ);
    assert_int_equal(a.refused, 1u << PERMISSION_FILE_READ);
    assert_int_equal(a.ngrants, 0);

    struct decision optional[] = {granted("file_read=/a", 0), refusal(PERMISSION_EXECUTE_CODE)};
    decide(asks, 2, optional, 2, 100, &a);
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
        {PERMISSION_FILE_READ, "/a/b" POLICY_UNTOLD, "moat grant p file_read=PATH"},
        {PERMISSION_FILE_READ, "/a/../b", "moat grant p file_read=PATH"},
        {PERMISSION_FILE_READ, "/a b;rm $x`", "moat grant p 'file_read=/a b;rm $x`'"},
        {PERMISSION_FILE_READ, "/it's", "moat grant p 'file_read=/it'\\''s'"},
        {PERMISSION_FILE_READ, "/proc/1/mem", NULL},
        {PERMISSION_FILE_READ, "/sys", NULL},
        {PERMISSION_FILE_READ, "/process", "moat grant p file_read=/process"},
        {PERMISSION_FILE_READ, "/", NULL},
        {PERMISSION_EXECUTE_CODE, "/bin/sh", "moat grant p execute_code=/bin/sh"},
        {PERMISSION_EXECUTE_CODE, "/package/bin/tool", "moat grant p execute_code=bin/tool"},
        {PERMISSION_EXECUTE_CODE, "bin/tool", "moat grant p execute_code=bin/tool"},
        {PERMISSION_EXECUTE_CODE, "rwx", "moat grant p execute_code"},
        {PERMISSION_NETWORK_ACCESS, "example.com:443", "moat grant p network_access=example.com:443"},
        {PERMISSION_NETWORK_ACCESS, "[::1]:9", "moat grant p 'network_access=[::1]:9'"},
        {PERMISSION_NETWORK_ACCESS, "0x7f.1:9", "moat grant p network_access=127.0.0.1:9"},
        {PERMISSION_NETWORK_ACCESS, "*.example.com:9", "moat grant p network_access=HOST:PORT"},
        {PERMISSION_NETWORK_ACCESS, "10.0.0.0/8:9", "moat grant p network_access=HOST:PORT"},
        {PERMISSION_FILE_WRITE, "/out,max=1GiB", "moat grant p file_write=PATH"},
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
    struct grant g = parse("file_read=/a b"), wild = g;
    char advice[POLICY_COMMAND_MAX + 2];
    memcpy(wild.scope, quotes, sizeof quotes);
    grant_advice("revoke", "p", &g, advice);
    assert_string_equal(advice, "`moat revoke p 'file_read=/a b'`");
    grant_advice("revoke", "p", &wild, advice);
    assert_string_equal(advice, "`moat help revoke`");
}

/* ---- ceilings ---- */

static struct ceiling ceiling(const char *subject, const char *never)
{
    struct ceiling c;
    struct error err = {0};
    if (ceiling_parse(subject, never, &c, &err))
        fail_msg("%s %s: %s", subject, never, err.message);
    char again[80];
    ceiling_subject(&c, again);
    assert_string_equal(again, subject);
    return c;
}

/* ---- how much may be written ---- */

static void a_bound_is_said_and_taken_apart(void **state)
{
    struct grant g = parse("file_write=/out,max=3MiB"), other;
    char place[POLICY_SCOPE_MAX];
    assert_true(grant_place(&g, place));
    assert_string_equal(place, "/out");
    assert_int_equal(grant_most(&g), 3 << 20);
    assert_true(grant_reading(&g, &other));
    assert_int_equal(other.permission, PERMISSION_FILE_READ);
    assert_string_equal(other.scope, "/out");
    assert_true(grant_bounded(&g, 6 << 20, &other));
    assert_string_equal(other.scope, "/out,max=6MiB");
    g = parse("file_read=/out,max=3MiB"); /* a name like any other */
    assert_int_equal(grant_most(&g), 0);
    assert_true(grant_place(&g, place));
    assert_string_equal(place, "/out,max=3MiB");
    assert_false(grant_reading(&g, &other));
    assert_false(grant_bounded(&g, 1, &other));
}

/* The place is what is revoked and forbidden; a bound that says more is not lost beside one that says less. */
static void a_bound_is_no_part_of_the_place(void **state)
{
    static const struct {
        const char *first, *second;
        bool covers, both;
    } rows[] = {
        {"file_write=/out", "file_write=/out,max=1MiB", true, true},
        {"file_write=/out,max=1MiB", "file_write=/out", true, true},
        {"file_write=/out,max=1MiB", "file_write=/out,max=2MiB", true, true},
        {"file_write=/out,max=2MiB", "file_write=/out,max=1MiB", true, false},
        {"file_write=/out,max=2MiB", "file_write=/out/a,max=2MiB", true, false},
        {"file_write=/out,max=2MiB", "file_write=/out/a,max=3MiB", true, true},
        {"file_write=/out/a,max=9MiB", "file_write=/out,max=1MiB", false, true},
        {"file_write=/out,max=9MiB", "file_write=/outer,max=1MiB", false, true},
        {"file_write=/out", "file_write=/out/a", true, false},
    };
    static const struct ask asks[] = {{PERMISSION_FILE_WRITE, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct grant first = parse(rows[i].first), second = parse(rows[i].second);
        struct decision d[] = {granted(rows[i].first, 0), granted(rows[i].second, 0)};
        struct policy_input in = {.asks = asks, .nasks = 1, .decisions = d, .ndecisions = 2, .now = 100};
        struct policy_answer a;
        policy_decide(&in, &a);
        if (grant_covers(&first, &second) != rows[i].covers || a.ngrants != (rows[i].both ? 2 : 1))
            fail_msg("%s and %s: %zu hold", rows[i].first, rows[i].second, a.ngrants);
        assert_int_equal(policy_allows(&a, PERMISSION_FILE_WRITE, "/out/a/b", 100), POLICY_GRANTED);
        assert_int_equal(policy_allows(&a, PERMISSION_FILE_WRITE, "/ou", 100), POLICY_OUTSIDE);
    }
}

static void ceilings_are_parsed(void **state)
{
    static const char *const bad[][2] = {
        {"acme", "file_read"},
        {"publisher:", "file_read"},
        {"capability:none", "file_read"},
        {"everybody:x", "file_read"},
        {"everybody", "nothing"},
        {"everybody", "file_read="},
        {"everybody", "file_read=rel"},
        {"everybody", "file_write=/a,max=1"},
    };
    ceiling("everybody", "file_read");
    ceiling("publisher:acme", "network_access=169.254.0.0/16:*");
    ceiling("capability:monitoring", "file_write=/etc");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ceiling c = {.name = "untouched"};
        struct error err = {0};
        assert_int_equal(ceiling_parse(bad[i][0], bad[i][1], &c, &err), -MOAT_E_BAD_USAGE);
        assert_string_equal(c.name, "untouched");
    }
}

static void ceilings_by_example(void **state)
{
    static const struct {
        const char *subject, *never, *grant;
        enum policy_reason why;
    } rows[] = {
        {"everybody", "file_read", "file_read=/a", POLICY_CEILING},
        {"publisher:acme", "file_read=/etc", "file_read=/etc/x", POLICY_CEILING},
        {"publisher:other", "file_read=/etc", "file_read=/etc/x", POLICY_GRANTED},
        {"capability:monitoring", "file_read=/etc", "file_read=/etc", POLICY_CEILING},
        {"capability:security", "file_read=/etc", "file_read=/etc", POLICY_GRANTED},
        /* A mount is given as a whole. */
        {"everybody", "file_read=/etc/shadow", "file_read=/etc", POLICY_CEILING},
        {"everybody", "file_read=/etc", "file_read=/etcetera", POLICY_GRANTED},
        /* Who writes a place reads it. */
        {"everybody", "file_read=/etc", "file_write=/etc", POLICY_CEILING},
        {"everybody", "file_read=/etc", "file_write=/etc,max=1GiB", POLICY_CEILING},
        {"everybody", "file_write=/etc/a", "file_write=/etc,max=1GiB", POLICY_CEILING},
        {"everybody", "file_write=/etc", "file_write=/etcetera,max=1GiB", POLICY_GRANTED},
        {"everybody", "file_write=/etc", "file_read=/etc", POLICY_GRANTED},
        /* Brokers decide object by object. */
        {"everybody", "network_access=169.254.0.0/16:*", "network_access", POLICY_GRANTED},
        {"everybody", "network_access=169.254.0.0/16:*", "network_access=169.254.169.254:80", POLICY_CEILING},
        {"everybody", "network_access=*.corp.example:*", "network_access=db.corp.example:5432", POLICY_CEILING},
        {"everybody", "execute_code", "execute_code", POLICY_CEILING},
        {"everybody", "execute_code", "execute_code=/bin/sh", POLICY_CEILING},
        {"everybody", "execute_code", "execute_code=bin/tool", POLICY_CEILING},
        {"everybody", "execute_code=/usr/bin", "execute_code=/usr/bin/jq", POLICY_CEILING},
        {"everybody", "execute_code=/usr/bin/jq", "execute_code", POLICY_GRANTED},
        {"everybody", "execute_code=bin/tool", "execute_code", POLICY_CEILING},
        {"everybody", "execute_code=bin/tool", "execute_code=bin/other", POLICY_GRANTED},
        {"everybody", "agent_control=vault", "agent_control=vault.read", POLICY_CEILING},
    };
    struct ask asks[PERMISSION_COUNT];
    for (int p = 0; p < PERMISSION_COUNT; p++)
        asks[p] = (struct ask){(enum permission)p, false};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decision d = granted(rows[i].grant, 0);
        struct ceiling c = ceiling(rows[i].subject, rows[i].never);
        struct policy_input in = {.asks = asks,
                                  .nasks = PERMISSION_COUNT,
                                  .decisions = &d,
                                  .ndecisions = 1,
                                  .ceilings = &c,
                                  .nceilings = 1,
                                  .publisher = "acme",
                                  .capabilities = 1u << CAPABILITY_MONITORING,
                                  .now = 100};
        struct policy_answer a;
        policy_decide(&in, &a);
        if (policy_judge(&in, &d) != rows[i].why || (a.ngrants == 1) != (rows[i].why == POLICY_GRANTED))
            fail_msg("%s %s over %s: %s", rows[i].subject, rows[i].never, rows[i].grant,
                     policy_reason_name(policy_judge(&in, &d)));
        assert_int_equal(a.why[d.grant.permission], rows[i].why);
    }
}

/* Nobody is told to grant what a ceiling forbids: before anything was granted, too. */
static void a_ceiling_over_a_whole_permission_is_the_reason(void **state)
{
    static const struct ask asks[] = {{PERMISSION_FILE_READ, false}, {PERMISSION_FILE_WRITE, true}};
    static const struct {
        const char *never;
        enum policy_reason read, write;
    } rows[] = {
        {"file_read", POLICY_CEILING, POLICY_CEILING}, /* who may read nothing writes nothing */
        {"file_write", POLICY_UNDECIDED, POLICY_CEILING},
        {"file_read=/etc", POLICY_UNDECIDED, POLICY_UNDECIDED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ceiling c = ceiling("everybody", rows[i].never);
        struct policy_input in = {.asks = asks, .nasks = 2, .ceilings = &c, .nceilings = 1, .now = 100};
        struct policy_answer a;
        policy_decide(&in, &a);
        assert_int_equal(a.why[PERMISSION_FILE_READ], rows[i].read);
        assert_int_equal(a.why[PERMISSION_FILE_WRITE], rows[i].write);
        assert_int_equal(a.forbidden >> PERMISSION_FILE_READ & 1, rows[i].read == POLICY_CEILING);
        assert_int_equal(a.forbidden >> PERMISSION_FILE_WRITE & 1, rows[i].write == POLICY_CEILING);
    }
}

static void objects_are_allowed_or_not_with_a_reason(void **state)
{
    static const struct {
        const char *object;
        enum policy_reason why;
    } rows[] = {
        {"api.example.com:443", POLICY_GRANTED},
        {"API.Example.COM.:443", POLICY_GRANTED},
        {"api.example.com:80", POLICY_OUTSIDE},
        {"a.b.example.com:443", POLICY_OUTSIDE},
        {"evil.example.com:443", POLICY_CEILING},
        {"10.1.2.3:443", POLICY_GRANTED},
        {"0x0a.1.2.3:443", POLICY_GRANTED}, /* what the resolver would make of it */
        {"167838211:443", POLICY_GRANTED},
        {"[::ffff:10.1.2.3]:443", POLICY_GRANTED},
        {"10.9.9.9:443", POLICY_CEILING},
        {"012.011.9.9:443", POLICY_CEILING}, /* octal */
        {"127.0.0.1:443", POLICY_OUTSIDE},
        {"*.example.com:443", POLICY_OUTSIDE},
        {"10.0.0.0/8:443", POLICY_OUTSIDE},
        {"short.example:1", POLICY_ENDED},
        {"nonsense", POLICY_OUTSIDE},
        {"", POLICY_GRANTED},
    };
    struct ask asks[] = {{PERMISSION_NETWORK_ACCESS, true}, {PERMISSION_FILE_WRITE, false}};
    struct decision ds[] = {granted("network_access=*.example.com:443", 0), granted("network_access=10.0.0.0/8:443", 0),
                            granted("network_access=short.example:1", 150), granted("file_write=/out", 0)};
    struct ceiling cs[] = {ceiling("everybody", "network_access=10.9.0.0/16:*"),
                           ceiling("publisher:acme", "network_access=evil.example.com:443")};
    struct policy_answer a;
    policy_decide(&(struct policy_input){.asks = asks,
                                         .nasks = 2,
                                         .decisions = ds,
                                         .ndecisions = 4,
                                         .ceilings = cs,
                                         .nceilings = 2,
                                         .publisher = "acme",
                                         .now = 100},
                  &a);
    assert_int_equal(a.next_end, 150);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum policy_reason why = policy_allows(&a, PERMISSION_NETWORK_ACCESS, rows[i].object, 150);
        if (why != rows[i].why)
            fail_msg("%s: %s, not %s", rows[i].object, policy_reason_name(why), policy_reason_name(rows[i].why));
    }
    assert_int_equal(policy_allows(&a, PERMISSION_NETWORK_ACCESS, "short.example:1", 149), POLICY_GRANTED);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_WRITE, "/out/a", 100), POLICY_GRANTED);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_WRITE, "/outer", 100), POLICY_OUTSIDE);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_WRITE, "/out/../x", 100), POLICY_OUTSIDE);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_READ, "/out", 100), POLICY_NOT_ASKED);
    assert_true(policy_names(&a, "10.1.2.3:443", 100));
    assert_false(policy_names(&a, "api.example.com:443", 100) || policy_names(&a, "127.0.0.1:443", 100));
    assert_non_null(policy_forbids(&a, PERMISSION_NETWORK_ACCESS, "10.9.1.1:22"));
    assert_non_null(policy_forbids(&a, PERMISSION_NETWORK_ACCESS, "no address"));
    assert_null(policy_forbids(&a, PERMISSION_NETWORK_ACCESS, "10.8.1.1:22"));
    assert_null(policy_forbids(&a, PERMISSION_DATABASE_READ, "main"));
}

/* A bare grant names no address: loopback and its like stay closed to it. */
static void a_bare_grant_names_no_address(void **state)
{
    struct ask ask = {PERMISSION_NETWORK_ACCESS, true};
    struct decision d = granted("network_access", 0);
    struct policy_answer a;
    decide(&ask, 1, &d, 1, 100, &a);
    assert_int_equal(policy_allows(&a, PERMISSION_NETWORK_ACCESS, "127.0.0.1:80", 100), POLICY_GRANTED);
    assert_false(policy_names(&a, "127.0.0.1:80", 100));
}

static void a_grant_that_ends_first_hides_none_that_stays(void **state)
{
    struct ask ask = {PERMISSION_FILE_READ, true};
    struct decision ds[] = {granted("file_read=/a", 150), granted("file_read=/a/b", 0)};
    struct policy_answer a;
    decide(&ask, 1, ds, 2, 100, &a);
    assert_int_equal(a.ngrants, 2);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_READ, "/a/c", 149), POLICY_GRANTED);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_READ, "/a/c", 150), POLICY_ENDED);
    assert_int_equal(policy_allows(&a, PERMISSION_FILE_READ, "/a/b/c", 150), POLICY_GRANTED);
}

static void the_reason_of_a_permission_is_the_one_to_act_on(void **state)
{
    struct ask ask = {PERMISSION_FILE_READ, true};
    struct ceiling c = ceiling("everybody", "file_read=/etc");
    struct decision ended = granted("file_read=/a", 50), cut = granted("file_read=/etc", 0), strange = cut;
    snprintf(strange.grant.scope, sizeof strange.grant.scope, "relative");
    strange.strange = !grant_normalise(&strange.grant);
    assert_true(strange.strange);
    static const enum policy_reason why[] = {POLICY_ENDED, POLICY_CEILING, POLICY_MEANINGLESS};
    const struct decision *one[] = {&ended, &cut, &strange};
    for (size_t i = 0; i < 3; i++) {
        struct policy_answer a;
        policy_decide(&(struct policy_input){.asks = &ask,
                                             .nasks = 1,
                                             .decisions = one[i],
                                             .ndecisions = 1,
                                             .ceilings = &c,
                                             .nceilings = 1,
                                             .now = 100},
                      &a);
        assert_int_equal(a.why[PERMISSION_FILE_READ], why[i]);
        assert_int_equal(policy_allows(&a, PERMISSION_FILE_READ, "/a", 100), why[i]);
        assert_true(a.undecided >> PERMISSION_FILE_READ & 1);
        assert_false(a.ready);
    }
    for (int r = 0; r < POLICY_REASON_COUNT; r++)
        assert_true(strlen(policy_reason_name((enum policy_reason)r)) > 4 &&
                    strlen(policy_reason_text((enum policy_reason)r)) > 10);
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
        "file_read=/a",
        "file_read=/a/b",
        "file_read=/a/b/c",
        "file_read=/",
        "file_write=/a",
        "file_write=/b",
        "network_access",
        "network_access=a.b:1",
        "network_access=a.b:2",
        "database_read",
        "database_read=main",
        "database_write=main",
        "execute_code",
        "system_access",
        "agent_control=x",
        "agent_control=x.run",
        "network_access=*.b:1",
        "network_access=a.b:*",
        "network_access=10.0.0.0/8:1",
        "network_access=10.1.0.1:1",
        "file_write=/a/c",
        "file_write=/",
        "file_write=/a/b",
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
        decide(asks, nasks, ds, nds, 100, &before);

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
        decide(asks, nasks, ds, nds + 1, 100, &after);
        assert_no_less(&after, &before);

        /* One grant less, or a refusal more, gives no right. */
        ds[at] = (struct decision){.grant = {.permission = (enum permission)below(PERMISSION_COUNT)}, .refused = true};
        struct policy_answer closed;
        decide(asks, nasks, ds, nds + 1, 100, &closed);
        assert_no_less(&before, &closed);

        /* Time only ends grants; refusals stand here without an end. */
        bool refusal_ends = false;
        for (size_t i = 0; i <= nds; i++)
            refusal_ends |= ds[i].refused && ds[i].until;
        struct policy_answer later;
        decide(asks, nasks, ds, nds + 1, 1000, &later);
        if (!refusal_ends)
            assert_no_less(&closed, &later);
    }
}

static struct ceiling random_ceiling(void)
{
    static const char *const subjects[] = {"everybody", "publisher:a", "publisher:b", "capability:security"};
    struct ceiling c = ceiling(subjects[below(4)], "file_read");
    c.never = random_grant();
    if (below(4) == 0)
        c.never.scope[0] = '\0';
    return c;
}

/* A ceiling more gives no right, to whole grants and to single objects; and what a ceiling forbids nobody has. */
static void ceilings_only_take(void **state)
{
    static const char *const objects[][2] = {
        {"file_read", "/a"},         {"file_read", "/a/b/c/d"},   {"file_write", "/a/b"},
        {"file_write", "/c"},        {"network_access", "a.b:1"}, {"network_access", "10.1.0.1:1"},
        {"network_access", "q.b:9"}, {"database_read", "main"},   {"agent_control", "x.run"},
        {"agent_control", "y.run"},  {"execute_code", ""},
    };
    for (int round = 0; round < 20000; round++) {
        struct ask asks[PERMISSION_COUNT];
        struct decision ds[12];
        struct ceiling cs[4];
        size_t nds = below(13), ncs = 1 + below(4);
        for (int p = 0; p < PERMISSION_COUNT; p++)
            asks[p] = (struct ask){(enum permission)p, below(2)};
        for (size_t i = 0; i < nds; i++)
            ds[i] = random_decision();
        for (size_t i = 0; i < ncs; i++)
            cs[i] = random_ceiling();
        struct policy_input in = {.asks = asks,
                                  .nasks = PERMISSION_COUNT,
                                  .decisions = ds,
                                  .ndecisions = nds,
                                  .ceilings = cs,
                                  .nceilings = ncs - 1,
                                  .publisher = "a",
                                  .capabilities = below(2) ? 1u << CAPABILITY_SECURITY : 0,
                                  .now = 100};
        struct policy_answer before, after;
        policy_decide(&in, &before);
        in.nceilings = ncs;
        policy_decide(&in, &after);
        assert_no_less(&before, &after);
        for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
            enum permission p = (enum permission)permission_parse(objects[i][0]);
            bool was = policy_allows(&before, p, objects[i][1], 100) == POLICY_GRANTED;
            bool is = policy_allows(&after, p, objects[i][1], 100) == POLICY_GRANTED;
            assert_true(was || !is);
            assert_false(is && policy_forbids(&after, p, objects[i][1]));
            bool given = false;
            for (size_t k = 0; k < after.ngrants; k++)
                given |= after.grants[k].permission == p;
            assert_true(given || !is);
        }
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
        cmocka_unit_test(a_bound_is_said_and_taken_apart),
        cmocka_unit_test(a_bound_is_no_part_of_the_place),
        cmocka_unit_test(ceilings_are_parsed),
        cmocka_unit_test(ceilings_by_example),
        cmocka_unit_test(a_ceiling_over_a_whole_permission_is_the_reason),
        cmocka_unit_test(objects_are_allowed_or_not_with_a_reason),
        cmocka_unit_test(a_bare_grant_names_no_address),
        cmocka_unit_test(a_grant_that_ends_first_hides_none_that_stays),
        cmocka_unit_test(the_reason_of_a_permission_is_the_one_to_act_on),
        cmocka_unit_test(ceilings_only_take),
        cmocka_unit_test(properties_hold_on_random_decisions),
        cmocka_unit_test(covering_is_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
