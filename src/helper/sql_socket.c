/* The one socket of an sql helper for PostgreSQL.  It is connected before the wall stands, to the address that the
 * operator's string means; behind the wall libpq asks for a socket and a connection as ever, and is given this one:
 * the names `socket` and `connect` are found here first, as an executable's symbols come before a library's. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
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
    if (library)
        postgres_load_tls(library);
    else
        snprintf(why, size, "%s is not installed on this machine (Debian: libpq5)", LIBRARY);
    return library;
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
    static char text[SQL_OPTIONS_MAX + 512];
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

/* The host has taken the string apart, and looked at every option: there is one reader of it. */
static bool take_options(void)
{
    const char *at = sql_start.options, *end = at + sql_start.options_len;
    if (sql_start.options_len > sizeof sql_start.options)
        return false;
    while (at < end) {
        const char *name = at, *value = at + strnlen(at, (size_t)(end - at)) + 1;
        if (value >= end)
            return false;
        at = value + strnlen(value, (size_t)(end - value)) + 1;
        if (at > end || postgres_options.count == POSTGRES_OPTIONS)
            return false;
        add(name, value);
    }
    add("gssencmode", "disable");
    add("connect_timeout", "5");
    add("client_encoding", "UTF8");
    if (sql_start.kind == SQL_POSTGRES_END)
        begin_as_we_want();
    return true;
}

bool postgres_connect(char *why, size_t size)
{
    const struct sockaddr *to = (const struct sockaddr *)(const void *)sql_start.server;
    if (!load(why, size) || !take_options() || sql_start.server_len > sizeof sql_start.server)
        return false;
    int fd = (int)syscall(SYS_socket, to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval most = {.tv_sec = CONNECT_SECONDS};
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    if (fd < 0 || syscall(SYS_connect, fd, to, sql_start.server_len) < 0) {
        snprintf(why, size, "the server cannot be reached: %s", strerror(errno));
        return false;
    }
    ready = dup2(fd, PLACE);
    if (fd != PLACE)
        close(fd);
    sql_fds[SQL_FD_DATABASE] = ready;
    return ready >= 0;
}
