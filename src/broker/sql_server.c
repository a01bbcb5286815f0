#include "broker/sql_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define SOCKETS "/var/run/postgresql" /* where a string without a host means */
#define PORT "5432"

static const char *value(const struct sql_server *s, enum sql_option option)
{
    return s->string.values[option];
}

__attribute__((format(printf, 2, 3))) static int refuse(struct error *err, const char *format, ...)
{
    char what[512];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    return error_set(err, MOAT_E_BAD_USAGE, "the connection string %s", what);
}

/* ---- where it is ---- */

/* 0: it is none. */
static uint16_t port_of(const char *text)
{
    unsigned long n = strspn(text, "0123456789") == strlen(text) && strlen(text) <= 5 ? strtoul(text, NULL, 10) : 0;
    return n <= UINT16_MAX ? (uint16_t)n : 0;
}

static int socket_in(struct sql_server *s, const char *directory, const char *port, struct error *err)
{
    struct sockaddr_un *to = (struct sockaddr_un *)&s->address;
    to->sun_family = AF_UNIX;
    int n = snprintf(to->sun_path, sizeof to->sun_path, "%s/.s.PGSQL.%s", directory, port);
    s->address_len = sizeof *to;
    return n < (int)sizeof to->sun_path ? 0 : refuse(err, "has a `host` that is too long for the path of a socket");
}

static bool in_figures(struct sql_server *s, const char *text, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->address;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        s->address_len = sizeof *v4;
        return inet_ntop(AF_INET, &v4->sin_addr, s->hostaddr, sizeof s->hostaddr);
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    s->address_len = sizeof *v6;
    return inet_ntop(AF_INET6, &v6->sin6_addr, s->hostaddr, sizeof s->hostaddr);
}

static int find(struct sql_server *s, struct error *err)
{
    const char *host = value(s, SQL_OPTION_HOST), *hostaddr = value(s, SQL_OPTION_HOSTADDR);
    if (!value(s, SQL_OPTION_PORT))
        s->string.values[SQL_OPTION_PORT] = PORT;
    uint16_t port = port_of(value(s, SQL_OPTION_PORT));
    if (!port)
        return refuse(err, "has a `port` that is no number from 1 to 65535");
    if (!host && !hostaddr)
        host = s->string.values[SQL_OPTION_HOST] = SOCKETS;
    if (host && *host == '/')
        return hostaddr ? refuse(err, "has the directory of a socket as `host`, and a `hostaddr`: give one of them")
                        : socket_in(s, host, value(s, SQL_OPTION_PORT), err);
    if (host && strchr(host, ','))
        return refuse(err, "has more than one `host`: give the one server that is meant");
    return in_figures(s, hostaddr ? hostaddr : host, port)
               ? 0
               : refuse(err, "leads to no address, and nobody is asked for one: let `host` be the directory of a "
                             "socket, or give `hostaddr`, an address in figures");
}

/* Whoever can listen to what stays on this machine is root here. */
static bool is_loopback(const struct sql_server *s)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->address;
    if (s->address.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* ---- how it is spoken with ---- */

/* In libpq's order: from `require` on nothing is sent before TLS stands. */
enum mode { MODE_DISABLE, MODE_ALLOW, MODE_PREFER, MODE_REQUIRE, MODE_VERIFY_CA, MODE_VERIFY_FULL, MODES };
static const char *const modes[MODES] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};

static int one_of(const struct sql_server *s, enum sql_option option, const char *const *list, int n, struct error *err)
{
    char known[128] = "";
    for (int i = 0; i < n; i++) {
        if (strcmp(value(s, option), list[i]) == 0)
            return i;
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "", list[i]);
    }
    return refuse(err, "has a `%s` that is none of %s", sql_option_names[option], known);
}

static int check_words(const struct sql_server *s, struct error *err)
{
    static const char *const binding[] = {"disable", "prefer", "require"};
    static const char *const least[] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
    int rc = value(s, SQL_OPTION_CHANNEL_BINDING) ? one_of(s, SQL_OPTION_CHANNEL_BINDING, binding, 3, err) : 0;
    if (rc >= 0 && value(s, SQL_OPTION_TLS_LEAST))
        rc = one_of(s, SQL_OPTION_TLS_LEAST, least, 4, err);
    return rc < 0 ? rc : 0;
}

static int take_files(struct sql_server *s, struct error *err)
{
    static const enum sql_option options[SQL_FILES] = {SQL_OPTION_SSLROOTCERT, SQL_OPTION_SSLCERT, SQL_OPTION_SSLKEY};
    for (int i = 0; i < SQL_FILES; i++) {
        const char *path = value(s, options[i]);
        if (path && i == SQL_FILE_ROOT && strcmp(path, "system") == 0)
            path = SQL_SYSTEM_ROOTS;
        if (path && *path != '/')
            return refuse(err, "has a `%s` that is no path from the root", sql_option_names[options[i]]);
        s->files[i] = path;
    }
    if (!s->files[SQL_FILE_CERTIFICATE] == !s->files[SQL_FILE_KEY])
        return 0;
    return refuse(err, "has a `%s`, but the one that belongs to it is missing: `%s`",
                  s->files[SQL_FILE_KEY] ? "sslkey" : "sslcert", s->files[SQL_FILE_KEY] ? "sslcert" : "sslkey");
}

static bool has_files(const struct sql_server *s)
{
    return s->files[SQL_FILE_ROOT] || s->files[SQL_FILE_CERTIFICATE] || s->files[SQL_FILE_KEY];
}

/* libpq speaks no TLS over a Unix socket, whatever is asked for. */
static int check_local(const struct sql_server *s, int mode, struct error *err)
{
    return mode < MODE_REQUIRE && !has_files(s)
               ? 0
               : refuse(err, "asks for TLS, which a Unix socket does not have: leave `sslmode` and the certificates "
                             "out, or give `hostaddr`");
}

static int check_verified(const struct sql_server *s, int mode, struct error *err)
{
    bool system = s->files[SQL_FILE_ROOT] && strcmp(value(s, SQL_OPTION_SSLROOTCERT), "system") == 0;
    if (system && mode != MODE_VERIFY_FULL)
        return refuse(err, "has sslrootcert=system with another `sslmode` than verify-full: anybody gets a "
                           "certificate from those authorities, only the name tells servers apart");
    if (mode < MODE_REQUIRE && has_files(s))
        return refuse(err, "has certificates, which sslmode=%s does not heed: say sslmode=verify-full", modes[mode]);
    if ((mode == MODE_VERIFY_CA || mode == MODE_VERIFY_FULL) && !s->files[SQL_FILE_ROOT])
        return refuse(err,
                      "has sslmode=%s and does not say whom to believe: give `sslrootcert`, the path of a file "
                      "of certificates, or sslrootcert=system",
                      modes[mode]);
    if (mode == MODE_VERIFY_FULL && !value(s, SQL_OPTION_HOST))
        return refuse(err, "has sslmode=verify-full and no `host`: give the name that the server's certificate has, "
                           "beside `hostaddr`");
    return 0;
}

/* Whether there is TLS is decided by whoever stands between, unless it is insisted on: beyond this machine nobody gets
 * into that without having said so. */
static int choose_mode(struct sql_server *s, struct error *err)
{
    bool local = s->address.ss_family == AF_UNIX;
    const char *root = value(s, SQL_OPTION_SSLROOTCERT);
    int mode = MODE_PREFER;
    if (value(s, SQL_OPTION_SSLMODE))
        mode = one_of(s, SQL_OPTION_SSLMODE, modes, MODES, err);
    else if (root && strcmp(root, "system") == 0)
        mode = MODE_VERIFY_FULL;
    else if (!local && !is_loopback(s))
        return refuse(err, "has no `sslmode`, and its server is another machine: say sslmode=verify-full with "
                           "`sslrootcert`; or sslmode=require, where nobody can stand between; or sslmode=disable, "
                           "where nobody can listen either");
    if (mode < 0)
        return mode;
    /* The same to libpq, but that it looks away when it cannot find the authority. */
    s->mode = modes[mode == MODE_REQUIRE && root ? MODE_VERIFY_CA : mode];
    return local ? check_local(s, mode, err) : check_verified(s, mode, err);
}

static int check(struct sql_server *s, struct error *err)
{
    if (!value(s, SQL_OPTION_USER) || !value(s, SQL_OPTION_DBNAME))
        return refuse(err, "has no `%s`", value(s, SQL_OPTION_USER) ? "dbname" : "user");
    int rc = find(s, err);
    if (rc == 0)
        rc = check_words(s, err);
    if (rc == 0)
        rc = take_files(s, err);
    return rc < 0 ? rc : choose_mode(s, err);
}

int sql_server_read(const char *text, struct sql_server *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    int rc = sql_string_parse(text, &out->string, err);
    if (rc == 0)
        rc = check(out, err);
    if (rc < 0)
        sql_server_clear(out);
    return rc;
}

void sql_server_clear(struct sql_server *s)
{
    explicit_bzero(s, sizeof *s);
}

/* ---- what the helper is told ---- */

static bool put(struct sql_start *out, const char *name, const char *text)
{
    size_t name_len = strlen(name) + 1, len = strlen(text) + 1;
    if (name_len + len > sizeof out->options - out->options_len)
        return false;
    memcpy(out->options + out->options_len, name, name_len);
    memcpy(out->options + out->options_len + name_len, text, len);
    out->options_len += (uint32_t)(name_len + len);
    return true;
}

int sql_server_start(const struct sql_server *s, struct sql_start *out, struct error *err)
{
    static const char *const files[SQL_FILES] = SQL_FILE_NAMES;
    bool fits = put(out, "sslmode", s->mode);
    for (int i = 0; i < SQL_OPTION_COUNT; i++) {
        bool own = i == SQL_OPTION_SSLMODE || i == SQL_OPTION_HOSTADDR || i == SQL_OPTION_SSLROOTCERT ||
                   i == SQL_OPTION_SSLCERT || i == SQL_OPTION_SSLKEY;
        if (!own && value(s, (enum sql_option)i))
            fits = fits && put(out, sql_option_names[i], value(s, (enum sql_option)i));
    }
    if (s->hostaddr[0])
        fits = fits && put(out, "hostaddr", s->hostaddr);
    for (int i = 0; i < SQL_FILES; i++)
        if (s->files[i])
            fits = fits && put(out, files[i], files[i]);
    _Static_assert(sizeof out->server == sizeof s->address, "the address as it is");
    memcpy(out->server, &s->address, sizeof out->server);
    out->server_len = s->address_len;
    return fits ? 0 : refuse(err, "is too long");
}
