/* The one socket of an sql helper for PostgreSQL.  It is connected before the wall stands, to the address that the
 * operator's string names; behind the wall libpq asks for a socket and a connection as ever, and is given this one:
 * the names `socket` and `connect` are found here first, as an executable's symbols come before a library's. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "helper/sql.h"
#include "helper/sql_postgres.h"

#define LIBRARY "libpq.so.5"
#define CONNECT_SECONDS 5
#define PLACE 3 /* behind the host's socket and the seats' number */

struct libpq pq;
struct postgres_options postgres_options;

static int ready = -1; /* connected, not yet given to libpq */
static int given = -1;

#define PUBLIC __attribute__((visibility("default"), used))

/* By their names in the symbol table: what the C library's header declares is not quite a C function. */
PUBLIC int own_socket(int domain, int type, int protocol) __asm__("socket");
PUBLIC int own_connect(int fd, const void *address, socklen_t len) __asm__("connect");

/* Where libpq wants to try again, its filter refuses; the net helper (helper/net.h) has sockets of its own. */
int own_socket(int domain, int type, int protocol)
{
    if (ready < 0)
        return (int)syscall(SYS_socket, domain, type, protocol);
    given = ready;
    ready = -1;
    return given;
}

int own_connect(int fd, const void *address, socklen_t len)
{
    return fd >= 0 && fd == given ? 0 : (int)syscall(SYS_connect, fd, address, len);
}

static bool load(char *why, size_t size)
{
    static const char *const names[] = {
#define X(name) #name,
        LIBPQ(X)
#undef X
    };
    void **to[] = {
#define X(name) (void **)(void *)&pq.name,
        LIBPQ(X)
#undef X
    };
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof names / sizeof *names; i++)
        if (!(*to[i] = dlsym(library, names[i])))
            library = NULL;
    if (!library)
        snprintf(why, size, "%s is not installed on this machine (Debian: libpq5)", LIBRARY);
    return library;
}

/* What may stand in a string. The rest names files, which are not there, or ways of proving oneself that need them. */
static bool option_is_known(const char *name)
{
    static const char *const known[] = {"host",     "hostaddr", "port",    "dbname",          "user",
                                        "password", "sslmode",  "options", "application_name"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static void add(const char *name, const char *value)
{
    if (postgres_options.count == POSTGRES_OPTIONS)
        return;
    postgres_options.names[postgres_options.count] = name;
    postgres_options.values[postgres_options.count++] = value;
}

static const char *value_of(const char *name)
{
    for (unsigned i = 0; i < postgres_options.count; i++)
        if (strcmp(postgres_options.names[i], name) == 0)
            return postgres_options.values[i];
    return NULL;
}

/* The session that is to end another begins as we want it: what a role is set to begin with (ALTER ROLE … SET) is as
 * much the plugin's as the one to be ended, and could make this one see nothing, wait, or end first. What the string
 * says itself comes before. */
static void begin_as_we_want(void)
{
    static char text[SQL_STRING_MAX + 512];
    const char *own = value_of("options");
    snprintf(text, sizeof text,
             "%s -c statement_timeout=10000 -c lock_timeout=0 -c tcp_user_timeout=0 -c role=none "
             "-c search_path=pg_catalog -c default_transaction_isolation=read\\ committed "
             "-c default_transaction_deferrable=off%s",
             own ? own : "", sql_start.backend.server >= 140000 ? " -c idle_session_timeout=0" : "");
    for (unsigned i = 0; i < postgres_options.count; i++)
        if (strcmp(postgres_options.names[i], "options") == 0)
            postgres_options.values[i] = text;
    if (!own)
        add("options", text);
}

/* The parsed options live as long as the process. */
static bool parse(char *why, size_t size)
{
    char *words = NULL;
    PQconninfoOption *all = pq.PQconninfoParse(sql_start.string, &words);
    if (!all) { /* its words may quote the string, and with it a password */
        snprintf(why, size, "the connection string cannot be read: KEY=VALUE pairs or a postgresql:// address");
        pq.PQfreemem(words);
        return false;
    }
    for (PQconninfoOption *o = all; o->keyword; o++) {
        if (!o->val || !*o->val)
            continue;
        if (!option_is_known(o->keyword)) {
            snprintf(why, size, "the connection string has `%s`, which an sql helper has no use for", o->keyword);
            return false;
        }
        add(o->keyword, o->val);
    }
    if (!value_of("user") || !value_of("dbname")) {
        snprintf(why, size, "the connection string has no `%s`", value_of("user") ? "dbname" : "user");
        return false;
    }
    if (!value_of("port"))
        add("port", "5432");
    add("gssencmode", "disable");
    add("connect_timeout", "5");
    add("client_encoding", "UTF8");
    if (sql_start.kind == SQL_POSTGRES_END)
        begin_as_we_want();
    return true;
}

union address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool find(union address *to, socklen_t *len, char *why, size_t size)
{
    const char *host = value_of("host"), *place = value_of("hostaddr"), *port = value_of("port");
    uint16_t number = (uint16_t)strtoul(port, NULL, 10);
    memset(to, 0, sizeof *to);
    if (!place)
        place = host ? host : "/var/run/postgresql";
    if (*place == '/') {
        to->local.sun_family = AF_UNIX;
        int n = snprintf(to->local.sun_path, sizeof to->local.sun_path, "%s/.s.PGSQL.%s", place, port);
        *len = sizeof to->local;
        if (n < (int)sizeof to->local.sun_path)
            return true;
    } else if (inet_pton(AF_INET, place, &to->v4.sin_addr) == 1) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(number);
        *len = sizeof to->v4;
        return true;
    } else if (inet_pton(AF_INET6, place, &to->v6.sin6_addr) == 1) {
        to->v6.sin6_family = AF_INET6;
        to->v6.sin6_port = htons(number);
        *len = sizeof to->v6;
        return true;
    }
    snprintf(why, size,
             "an sql helper asks nobody for addresses: let `host` be the directory of a socket, or give `hostaddr`");
    return false;
}

bool postgres_connect(char *why, size_t size)
{
    union address to;
    socklen_t len = 0;
    if (!load(why, size) || !parse(why, size) || !find(&to, &len, why, size))
        return false;
    int fd = (int)syscall(SYS_socket, to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval most = {.tv_sec = CONNECT_SECONDS};
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    if (fd < 0 || syscall(SYS_connect, fd, &to.any, len) < 0) {
        snprintf(why, size, "the server cannot be reached: %s", strerror(errno));
        return false;
    }
    ready = dup2(fd, PLACE);
    if (fd != PLACE)
        close(fd);
    sql_fds[SQL_FD_DATABASE] = ready;
    return ready >= 0;
}
