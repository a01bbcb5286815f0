#include "broker/sql_string.h"

#include <stdbool.h>
#include <string.h>

const char *const sql_option_names[SQL_OPTION_COUNT] = {
#define X(option, name) name,
    SQL_STRING_OPTIONS(X)
#undef X
};

/* Names of libpq's that are refused: with them a message can say which one it was. Of anything else it only says where
 * it stands: what looks like a name may be a piece of a password. */
static const char *const others[] = {"authtype",
                                     "client_encoding",
                                     "connect_timeout",
                                     "fallback_application_name",
                                     "gssdelegation",
                                     "gssencmode",
                                     "gsslib",
                                     "keepalives",
                                     "keepalives_count",
                                     "keepalives_idle",
                                     "keepalives_interval",
                                     "krbsrvname",
                                     "load_balance_hosts",
                                     "passfile",
                                     "replication",
                                     "require_auth",
                                     "requirepeer",
                                     "requiressl",
                                     "scram_client_key",
                                     "scram_server_key",
                                     "service",
                                     "servicefile",
                                     "sslcertmode",
                                     "sslcompression",
                                     "sslcrl",
                                     "sslcrldir",
                                     "sslkeylogfile",
                                     "sslnegotiation",
                                     "sslpassword",
                                     "sslsni",
                                     "ssl_max_protocol_version",
                                     "target_session_attrs",
                                     "tcp_user_timeout",
                                     "tty"};

struct parser {
    const char *text, *at;
    struct sql_string *out;
    struct error *err;
};

static int wrong(const struct parser *p, const char *what)
{
    return error_set(p->err, MOAT_E_BAD_USAGE, "the connection string has, at character %td, %s", p->at - p->text + 1,
                     what);
}

/* ---- its options ---- */

static int unknown(const struct parser *p, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strlen(others[i]) == len && memcmp(others[i], name, len) == 0)
            return error_set(p->err, MOAT_E_BAD_USAGE,
                             "the connection string has `%s`, which is not supported: leave it out", others[i]);
    return wrong(p, "a word that is no option");
}

/* The option of that name, which must not have been there. */
static int option_of(const struct parser *p, const char *name, size_t len)
{
    for (int i = 0; i < SQL_OPTION_COUNT; i++) {
        if (strlen(sql_option_names[i]) != len || memcmp(sql_option_names[i], name, len) != 0)
            continue;
        if (!p->out->values[i])
            return i;
        return error_set(p->err, MOAT_E_BAD_USAGE, "the connection string has `%s` twice", sql_option_names[i]);
    }
    return unknown(p, name, len);
}

/* No value is longer than the text that it was made of, which has at least one more character: this cannot be full. */
static bool put(struct sql_string *s, char c)
{
    if (s->used == sizeof s->room)
        return false;
    s->room[s->used++] = c;
    return true;
}

static char *value_begin(struct sql_string *s)
{
    return s->room + s->used;
}

static int value_end(const struct parser *p, int option, const char *value)
{
    if (!put(p->out, '\0'))
        return error_set(p->err, MOAT_E_INTERNAL, "a connection string's values are longer than it is");
    p->out->values[option] = *value ? value : NULL;
    return 0;
}

/* ---- NAME=VALUE ---- */

/* Of the C locale: what a name or a value ends with. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(*p->at))
        p->at++;
}

static int take_quoted(struct parser *p)
{
    const char *begin = p->at++;
    for (; *p->at != '\''; p->at++) {
        if (*p->at == '\\' && p->at[1])
            p->at++;
        if (!*p->at) {
            p->at = begin;
            return wrong(p, "a quotation without an end");
        }
        put(p->out, *p->at);
    }
    p->at++;
    return *p->at && !is_blank(*p->at) ? wrong(p, "something right behind a quotation") : 0;
}

/* A backslash that ends the text stands for nothing. */
static void take_bare(struct parser *p)
{
    for (; *p->at && !is_blank(*p->at); p->at++) {
        if (*p->at == '\\' && !*++p->at)
            return;
        put(p->out, *p->at);
    }
}

static int take_pair(struct parser *p)
{
    const char *name = p->at;
    while (*p->at && *p->at != '=' && !is_blank(*p->at))
        p->at++;
    size_t len = (size_t)(p->at - name);
    skip_blanks(p);
    if (*p->at != '=') {
        p->at = name;
        return wrong(p, "a word without a `=` behind it");
    }
    const char *behind = p->at + 1;
    p->at = name;
    int option = option_of(p, name, len);
    if (option < 0)
        return option;
    p->at = behind;
    skip_blanks(p);
    const char *value = value_begin(p->out);
    int rc = 0;
    if (*p->at == '\'')
        rc = take_quoted(p);
    else
        take_bare(p);
    return rc < 0 ? rc : value_end(p, option, value);
}

static int take_pairs(struct parser *p)
{
    int rc = 0;
    for (skip_blanks(p); rc == 0 && *p->at; skip_blanks(p))
        rc = take_pair(p);
    return rc;
}

/* ---- postgresql:// ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The text up to end becomes the value; of what is empty nothing is kept. */
static int take_part(struct parser *p, int option, const char *end)
{
    const char *value = value_begin(p->out);
    if (option < 0)
        return option;
    for (; p->at < end; p->at++) {
        char c = *p->at;
        if (is_blank(c))
            return wrong(p, "a blank, which an address writes as %20");
        if (c == '%') {
            int high = hex(p->at[1]), low = high < 0 ? -1 : hex(p->at[2]);
            if (low < 0 || high + low == 0)
                return wrong(p, "a % that is not followed by two hexadecimal digits");
            c = (char)(high << 4 | low);
            p->at += 2;
        }
        put(p->out, c);
    }
    return value_end(p, option, value);
}

static int take_named(struct parser *p, enum sql_option option, const char *end)
{
    return p->at == end ? 0
                        : take_part(p, option_of(p, sql_option_names[option], strlen(sql_option_names[option])), end);
}

/* USER:PASSWORD@, when there is an @ before the first slash. */
static int take_user(struct parser *p)
{
    const char *end = p->at + strcspn(p->at, "@/");
    if (*end != '@')
        return 0;
    const char *colon = memchr(p->at, ':', (size_t)(end - p->at));
    int rc = take_named(p, SQL_OPTION_USER, colon ? colon : end);
    if (rc == 0 && colon) {
        p->at = colon + 1;
        rc = take_named(p, SQL_OPTION_PASSWORD, end);
    }
    p->at = end + 1;
    return rc;
}

/* HOST:PORT, or [ADDRESS]:PORT. */
static int take_host(struct parser *p)
{
    bool bracket = *p->at == '[';
    const char *end = p->at + bracket + strcspn(p->at + bracket, bracket ? "]" : ":/?,");
    if (bracket && (!*end || end == p->at + 1))
        return wrong(p, "a [ without an address and a ]");
    p->at += bracket;
    int rc = take_named(p, SQL_OPTION_HOST, end);
    if (rc < 0)
        return rc;
    p->at = end + bracket;
    if (bracket && *p->at && !strchr(":/?,", *p->at))
        return wrong(p, "something right behind a ]");
    if (*p->at == ':') {
        p->at++;
        rc = take_named(p, SQL_OPTION_PORT, p->at + strcspn(p->at, "/?,"));
    }
    return rc == 0 && *p->at == ',' ? wrong(p, "a second host") : rc;
}

/* JDBC's ssl=true is the one pair that stands for another. */
static int take_query_pair(struct parser *p)
{
    static const char jdbc[] = "ssl=true", require[] = "require";
    const char *end = p->at + strcspn(p->at, "&"), *name = p->at;
    const char *equals = memchr(name, '=', (size_t)(end - name));
    if (!equals)
        return wrong(p, "a word without a `=` behind it");
    if (memchr(equals + 1, '=', (size_t)(end - equals - 1)))
        return wrong(p, "two `=` in one pair, of which an address writes one as %3D");
    if ((size_t)(end - name) == sizeof jdbc - 1 && memcmp(name, jdbc, sizeof jdbc - 1) == 0) {
        int option = option_of(p, "sslmode", 7);
        if (option < 0)
            return option;
        p->out->values[option] = require;
    } else {
        int option = option_of(p, name, (size_t)(equals - name));
        p->at = equals + 1;
        int rc = take_part(p, option, end);
        if (rc < 0)
            return rc;
    }
    p->at = end + (*end == '&');
    return 0;
}

static int take_address(struct parser *p)
{
    int rc = take_user(p);
    if (rc == 0)
        rc = take_host(p);
    if (rc == 0 && *p->at == '/') {
        p->at++;
        rc = take_named(p, SQL_OPTION_DBNAME, p->at + strcspn(p->at, "?"));
    }
    if (rc == 0 && *p->at == '?')
        p->at++;
    while (rc == 0 && *p->at)
        rc = take_query_pair(p);
    return rc;
}

int sql_string_parse(const char *text, struct sql_string *out, struct error *err)
{
    static const char *const schemes[] = {"postgresql://", "postgres://"};
    struct parser p = {.text = text, .at = text, .out = out, .err = err};
    memset(out->values, 0, sizeof out->values);
    out->used = 0;
    if (strlen(text) > SQL_STRING_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "a connection string has at most %d bytes", SQL_STRING_MAX);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            p.at += strlen(schemes[i]);
            return take_address(&p);
        }
    return take_pairs(&p);
}
