/* Connection strings: what is taken means what libpq takes it to mean, and what would not be done is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "base/io.h"
#include "broker/sql_server.h"
#include "broker/sql_source.h"

static void strings_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *read, *write;
    } cases[] = {
        {"host=/run user=a", "host=/run user=a", NULL},
        {"# first\n\n  read host=r \r\nwrite\thost=w\n", "host=r", "host=w"},
        {"write host=w", NULL, "host=w"},
        {"\n# nothing\n", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        struct sql_roles roles;
        snprintf(text, sizeof text, "%s", cases[i].text);
        assert_int_equal(sql_source_roles(text, &roles, NULL), 0);
        assert_int_equal(!roles.read, !cases[i].read);
        assert_int_equal(!roles.write, !cases[i].write);
        if (roles.read)
            assert_string_equal(roles.read, cases[i].read);
        if (roles.write)
            assert_string_equal(roles.write, cases[i].write);
    }
    char twice[] = "read sslmode=disable\nuser=b\n";
    struct sql_roles roles;
    assert_int_equal(sql_source_roles(twice, &roles, NULL), -MOAT_E_BAD_USAGE);
}

/* ---- the same as libpq ---- */

static const char *const pieces[] = {"host",
                                     "=",
                                     " ",
                                     "user",
                                     "'",
                                     "\\",
                                     "sslmode",
                                     "=verify-full",
                                     "sslrootcert=/a ",
                                     "port=",
                                     "5432",
                                     "password='",
                                     "dbname",
                                     "\t",
                                     "\n",
                                     "%20",
                                     "%4",
                                     "%00",
                                     "@",
                                     ":",
                                     "/",
                                     "?",
                                     "&",
                                     "[::1]",
                                     "]",
                                     "[",
                                     ",",
                                     "a",
                                     "b\\'c",
                                     "options",
                                     "ssl=true",
                                     "hostaddr=127.0.0.1",
                                     "application_name",
                                     "channel_binding=require",
                                     "sslcrl=/x",
                                     "+",
                                     "%2Fvar",
                                     "é",
                                     "=="};
static const char *const beginnings[] = {"",
                                         "",
                                         "postgresql://",
                                         "postgres://",
                                         "postgresql://u:p@h:1/d?",
                                         "host=a user=b dbname='c d' ",
                                         "user=a ",
                                         "postgresql://",
                                         "postgres:/"};

static void make(unsigned *random, char out[512])
{
    size_t used =
        (size_t)snprintf(out, 512, "%s", beginnings[(size_t)rand_r(random) % (sizeof beginnings / sizeof *beginnings)]);
    for (int n = rand_r(random) % 9; n; n--)
        used += (size_t)snprintf(out + used, 512 - used, "%s",
                                 pieces[(size_t)rand_r(random) % (sizeof pieces / sizeof *pieces)]);
}

static int known(const char *name)
{
    for (int i = 0; i < SQL_OPTION_COUNT; i++)
        if (strcmp(name, sql_option_names[i]) == 0)
            return i;
    return -1;
}

static void compare(const char *text, const struct sql_string *ours)
{
    char *words = NULL;
    PQconninfoOption *all = PQconninfoParse(text, &words);
    if (!all)
        fail_msg("libpq does not take \"%s\": %s", text, words);
    for (PQconninfoOption *o = all; o && o->keyword; o++) {
        int option = known(o->keyword);
        const char *theirs = o->val && *o->val ? o->val : NULL, *here = option < 0 ? NULL : ours->values[option];
        if (!theirs != !here || (here && strcmp(theirs, here) != 0))
            fail_msg("\"%s\": %s is \"%s\" to libpq, and \"%s\" here", text, o->keyword, theirs ? theirs : "",
                     here ? here : "");
    }
    PQconninfoFree(all);
}

static void means_what_libpq_says(void **state)
{
    (void)state;
    const char *seed = getenv("MOAT_SEED");
    unsigned random = seed ? (unsigned)strtoul(seed, NULL, 10) : 1, taken[2] = {0};
    for (int i = 0; i < 30000; i++) {
        char text[512];
        struct sql_string s;
        make(&random, text);
        if (sql_string_parse(text, &s, NULL) < 0)
            continue;
        compare(text, &s);
        taken[strncmp(text, "postgres", 8) == 0]++;
    }
    assert_true(taken[0] > 500 && taken[1] > 500);
}

/* What libpq takes and people write. */
static void takes_what_people_write(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "host=/run/postgresql dbname=books user=reader password='it\\'s \\\\ a secret'",
        " host = 127.0.0.1\tport = 5433 dbname = d user = u options='-c geqo=off' ",
        "postgresql://reader:it%27s%20@127.0.0.1:5433/books?sslmode=disable&application_name=moat",
        "postgres://%2Frun%2Fpostgresql/books?user=reader",
        "postgresql://u@[::1]:5432/d?ssl=true",
        "postgresql://db.example/d?user=u&hostaddr=10.0.0.1&sslmode=verify-full&sslrootcert=/etc/ca.pem"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct sql_string s;
        struct error err;
        if (sql_string_parse(texts[i], &s, &err) < 0)
            fail_msg("\"%s\": %s", texts[i], err.message);
        compare(texts[i], &s);
    }
}

/* ---- what a string may ask for ---- */

#define WHO "user=u dbname=d password=sesame "
#define FAR_ WHO "host=db.example hostaddr=10.0.0.1 "
#define NEAR_ WHO "host=db.example hostaddr=127.0.0.1 "

static void nothing_is_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words; /* NULL: it is taken */
        const char *mode;
    } cases[] = {
        {WHO, NULL, "prefer"},
        {WHO "host=/run/postgresql", NULL, "prefer"},
        {NEAR_, NULL, "prefer"},
        {WHO "host=::1", NULL, "prefer"},
        {WHO "host=::ffff:127.0.0.1", NULL, "prefer"},
        {FAR_ "sslmode=require", NULL, "require"},
        {FAR_ "sslmode=disable", NULL, "disable"},
        {FAR_ "sslmode=prefer", NULL, "prefer"},
        {FAR_ "sslmode=verify-full sslrootcert=/ca.pem", NULL, "verify-full"},
        {FAR_ "sslmode=verify-ca sslrootcert=/ca.pem", NULL, "verify-ca"},
        {FAR_ "sslmode=require sslrootcert=/ca.pem", NULL, "verify-ca"},
        {FAR_ "sslrootcert=system", NULL, "verify-full"},
        {FAR_ "sslmode=verify-full sslrootcert=system", NULL, "verify-full"},
        {FAR_ "sslmode=require sslcert=/c.pem sslkey=/k.pem", NULL, "require"},
        {FAR_ "sslmode=require channel_binding=require ssl_min_protocol_version=TLSv1.3", NULL, "require"},
        {WHO "host=10.0.0.1 sslmode=verify-full sslrootcert=/ca.pem", NULL, "verify-full"},
        /* another machine, and not a word about TLS */
        {FAR_, "sslmode=verify-full", NULL},
        {WHO "host=0.0.0.0", "another machine", NULL},
        {WHO "host=::", "another machine", NULL},
        {WHO "host=::ffff:10.0.0.1", "another machine", NULL},
        {FAR_ "sslmode=", "another machine", NULL},
        {FAR_ "sslrootcert=/ca.pem", "another machine", NULL},
        /* what libpq does not heed */
        {NEAR_ "sslrootcert=/ca.pem", "does not heed", NULL},
        {NEAR_ "sslmode=prefer sslrootcert=/ca.pem", "does not heed", NULL},
        {NEAR_ "sslmode=disable sslcert=/c.pem sslkey=/k.pem", "does not heed", NULL},
        {WHO "host=/run sslmode=verify-full sslrootcert=/ca.pem", "Unix socket", NULL},
        {WHO "host=/run sslmode=require", "Unix socket", NULL},
        {WHO "sslrootcert=system", "Unix socket", NULL},
        {WHO "host=/run sslmode=disable sslrootcert=/ca.pem", "Unix socket", NULL},
        {FAR_ "sslmode=require sslcrl=/crl.pem", "`sslcrl`", NULL},
        {FAR_ "sslmode=require sslpassword=sesame", "`sslpassword`", NULL},
        {WHO "service=books", "`service`", NULL},
        {NEAR_ "sslmode=verify-full sslmode=disable", "`sslmode` twice", NULL},
        /* what could not hold */
        {FAR_ "sslmode=verify-full", "sslrootcert", NULL},
        {FAR_ "sslmode=verify-ca", "sslrootcert", NULL},
        {FAR_ "sslmode=require sslrootcert=system", "verify-full", NULL},
        {FAR_ "sslmode=verify-ca sslrootcert=system", "verify-full", NULL},
        {WHO "hostaddr=10.0.0.1 sslmode=verify-full sslrootcert=/ca.pem", "no `host`", NULL},
        {FAR_ "sslmode=require sslcert=/c.pem", "`sslkey`", NULL},
        {FAR_ "sslmode=require sslkey=/k.pem", "`sslcert`", NULL},
        {FAR_ "sslmode=verify-full sslrootcert=ca.pem", "path from the root", NULL},
        {FAR_ "sslmode=require sslcert=system sslkey=/k.pem", "path from the root", NULL},
        {FAR_ "sslmode=verify_full sslrootcert=/ca.pem", "`sslmode`", NULL},
        {FAR_ "sslmode=Require", "`sslmode`", NULL},
        {FAR_ "sslmode=require channel_binding=always", "`channel_binding`", NULL},
        {FAR_ "sslmode=require ssl_min_protocol_version=1.3", "`ssl_min_protocol_version`", NULL},
        /* which server */
        {WHO "host=db.example sslmode=require", "hostaddr", NULL},
        {WHO "host=db.example hostaddr=other.example sslmode=require", "hostaddr", NULL},
        {WHO "host=a,b hostaddr=10.0.0.1,10.0.0.2 sslmode=require", "more than one", NULL},
        {WHO "host=@abstract", "hostaddr", NULL},
        {WHO "host=/run hostaddr=10.0.0.1 sslmode=require", "one of them", NULL},
        {NEAR_ "port=0", "port", NULL},
        {NEAR_ "port=65536", "port", NULL},
        {NEAR_ "port=54x", "port", NULL},
        {NEAR_ "port=5432,5433", "port", NULL},
        {"user=u host=/run", "dbname", NULL},
        {"dbname=d host=/run", "user", NULL},
        {"user='' dbname=d", "user", NULL},
        /* no string */
        {"user", "without a `=`", NULL},
        {"user=u password=se same", "character 20", NULL},
        {"user=u password='sesame", "without an end", NULL},
        {"user=u sesame=x", "no option", NULL},
        {"postgresql://u:sesame@h/d?sesame=x", "no option", NULL},
        {"postgresql://u:sesame@h/d?user", "without a `=`", NULL},
        {"postgresql://u:se%same@h/d", "hexadecimal", NULL},
        {"postgresql://u:sesame%00@h/d", "hexadecimal", NULL},
        {"postgresql://u:sesame@[::1/d", "[ without", NULL},
        {"postgresql://u:sesame@[::1]x/d", "behind a ]", NULL},
        {"postgresql://u:sesame@[::1]/d e", "%20", NULL},
        {"user=u password='sesame'x dbname=d", "behind a quotation", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sql_server s;
        struct error err = {0};
        int rc = sql_server_read(cases[i].text, &s, &err);
        if ((rc < 0) != (cases[i].words != NULL))
            fail_msg("\"%s\": %s", cases[i].text, rc < 0 ? err.message : "is taken");
        if (rc < 0 && (!strstr(err.message, cases[i].words) || strstr(err.message, "sesame")))
            fail_msg("\"%s\" says: %s", cases[i].text, err.message);
        if (rc == 0)
            assert_string_equal(s.mode, cases[i].mode);
    }
    char *long_one = malloc(SQL_STRING_MAX + 2);
    memset(long_one, ' ', SQL_STRING_MAX + 1);
    long_one[SQL_STRING_MAX + 1] = '\0';
    struct sql_server s;
    assert_int_equal(sql_server_read(long_one, &s, NULL), -MOAT_E_BAD_USAGE);
    free(long_one);
}

/* What the helper gets: each option once, files by names that are no paths, the address beside the name. */
static void the_helper_is_told_what_holds(void **state)
{
    (void)state;
    static const char expected[] =
        "sslmode\0verify-full\0host\0db.example\0port\0005433\0dbname\0d\0user\0u\0hostaddr\000"
        "10.0.0.1\0sslrootcert\0sslrootcert\0sslcert\0sslcert\0sslkey\0sslkey";
    struct sql_server s;
    struct sql_start start = {0};
    assert_int_equal(
        sql_server_read("postgresql://u@db.example:5433/d?hostaddr=10.0.0.1&sslrootcert=system&sslcert=/c&sslkey=/k",
                        &s, NULL),
        0);
    assert_string_equal(s.files[SQL_FILE_ROOT], SQL_SYSTEM_ROOTS);
    assert_int_equal(sql_server_start(&s, &start, NULL), 0);
    assert_int_equal(start.options_len, sizeof expected);
    assert_memory_equal(start.options, expected, sizeof expected);
    assert_int_equal(((const struct sockaddr *)(const void *)start.server)->sa_family, AF_INET);
}

/* ---- the files that it names ---- */

static char directory[64];

static const char *place(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    int fd = open(place(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
    close(fd);
}

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/moat-string-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    static const char *const names[] = {"root", "cert", "key", "link", "pipe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(place(names[i]));
    return rmdir(directory);
}

#define CERTIFICATE "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
#define KEY "-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----\n"

static int files(uint32_t lengths[SQL_FILES], int *fd, struct error *err)
{
    char text[512];
    struct sql_server s;
    int n = snprintf(text, sizeof text, FAR_ "sslmode=verify-ca sslrootcert=%s/root sslcert=%s/cert sslkey=%s/key",
                     directory, directory, directory);
    assert_true(n < (int)sizeof text && sql_server_read(text, &s, err) == 0);
    return sql_server_files(&s, lengths, fd, err);
}

static void files_are_read_and_sealed(void **state)
{
    (void)state;
    uint32_t lengths[SQL_FILES];
    char all[512] = "";
    int fd;
    put("root", "a comment\n" CERTIFICATE, 0644);
    put("cert", CERTIFICATE, 0444);
    put("key", KEY, 0600);
    assert_int_equal(files(lengths, &fd, NULL), 0);
    assert_int_equal(lengths[SQL_FILE_KEY], strlen(KEY));
    assert_int_equal(io_read_full(fd, all, sizeof all - 1), lengths[0] + lengths[1] + lengths[2]);
    assert_string_equal(all, "a comment\n" CERTIFICATE CERTIFICATE KEY);
    assert_true(write(fd, "x", 1) < 0 && ftruncate(fd, 0) < 0);
    close(fd);
    /* Over a link, as certificates of the system's are named. */
    unlink(place("root"));
    assert_int_equal(symlink("cert", place("root")), 0);
    assert_int_equal(files(lengths, &fd, NULL), 0);
    close(fd);
    unlink(place("root"));
}

static void others_decide_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        mode_t mode;
        const char *words;
    } cases[] = {
        {"root", CERTIFICATE, 0664, "chmod go-w"},
        {"root", CERTIFICATE, 0646, "chmod go-w"},
        {"cert", CERTIFICATE, 0622, "chmod go-w"},
        {"key", KEY, 0640, "chmod 600"},
        {"key", KEY, 0604, "chmod 600"},
        {"root", "", 0644, "no certificate"},
        {"root", KEY, 0600, "no certificate"},
        {"cert", "CERTIFICATE-----", 0600, "no certificate"},
        {"key", CERTIFICATE, 0600, "no private key"},
        {"key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0600, "is encrypted"},
        {"key", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", 0600, "is encrypted"},
    };
    uint32_t lengths[SQL_FILES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        int fd = -2;
        put("root", CERTIFICATE, 0644);
        put("cert", CERTIFICATE, 0644);
        put("key", KEY, 0600);
        put(cases[i].name, cases[i].text, cases[i].mode);
        assert_int_equal(files(lengths, &fd, &err), -MOAT_E_BAD_USAGE);
        assert_int_equal(fd, -1);
        if (!strstr(err.message, cases[i].words) || !strstr(err.message, place(cases[i].name)))
            fail_msg("%s of mode %o says: %s", cases[i].name, (unsigned)cases[i].mode, err.message);
        assert_null(strstr(err.message, "sesame"));
    }
}

static void what_is_no_file_is_not_waited_for(void **state)
{
    (void)state;
    uint32_t lengths[SQL_FILES];
    struct error err = {0};
    int fd;
    put("cert", CERTIFICATE, 0644);
    put("key", KEY, 0600);
    unlink(place("root"));
    assert_int_equal(files(lengths, &fd, &err), -MOAT_E_NO_SUCH_FILE);
    assert_int_equal(mkfifo(place("root"), 0600), 0);
    assert_int_equal(files(lengths, &fd, &err), -MOAT_E_BAD_USAGE);
    unlink(place("root"));
    assert_int_equal(symlink("/dev/zero", place("root")), 0);
    assert_int_equal(files(lengths, &fd, &err), -MOAT_E_BAD_USAGE);
    unlink(place("root"));
    put("root", CERTIFICATE, 0600);
    assert_int_equal(truncate(place("root"), SQL_FILE_MAX + 1), 0);
    assert_int_equal(files(lengths, &fd, &err), -MOAT_E_BAD_USAGE);
    assert_non_null(strstr(err.message, "1024 KiB"));
    assert_int_equal(truncate(place("root"), SQL_FILE_MAX), 0);
    assert_int_equal(files(lengths, &fd, &err), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_found),
        cmocka_unit_test(means_what_libpq_says),
        cmocka_unit_test(takes_what_people_write),
        cmocka_unit_test(nothing_is_passed_over),
        cmocka_unit_test(the_helper_is_told_what_holds),
        cmocka_unit_test_setup_teardown(files_are_read_and_sealed, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(others_decide_nothing, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_not_waited_for, make_directory, remove_directory),
    };
    return cmocka_run_group_tests_name("sql.string", tests, NULL, NULL);
}
