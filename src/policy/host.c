/* "HOST:PORT": names and wildcards by label, addresses and ranges of them, in one normal form each. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/scope.h"

#define HOST_MAX 254
#define PORT_ANY 0

enum kind { NAME, WILDCARD, V4, V6 };

struct endpoint {
    enum kind kind;
    char name[HOST_MAX]; /* of a wildcard: what stands behind "*." */
    uint8_t address[16];
    unsigned bits; /* of the address that count */
    unsigned port;
};

static unsigned width(const struct endpoint *e)
{
    return e->kind == V4 ? 32 : 128;
}

/* ---- parts ---- */

static bool parse_number(const char *text, unsigned most, unsigned *out)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] || (*text == '0' && n > 1))
        return false;
    *out = (unsigned)atoi(text);
    return *out <= most;
}

static bool parse_port(const char *text, unsigned *port)
{
    if (strcmp(text, "*") == 0) {
        *port = PORT_ANY;
        return true;
    }
    return parse_number(text, 65535, port) && *port != 0;
}

/* Letters, digits, '-' and '_' in labels, lower case, without the last dot; *last is where the last label begins. */
static bool parse_labels(char *host, const char **last)
{
    size_t n = strlen(host), label = 0;
    if (n && host[n - 1] == '.')
        host[--n] = '\0';
    if (n == 0 || n >= HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] + 32);
        char c = host[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (c == '.' ? label == 0 : !plain || label == 63)
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    *last = host + n - label;
    return label != 0;
}

/* Bits behind the mask would make one range two texts. */
static bool is_masked(const struct endpoint *e)
{
    for (unsigned i = e->bits; i < width(e); i++)
        if (e->address[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

/* An IPv4 address that is written as IPv6 is the IPv4 address. */
static void unmap(struct endpoint *e)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (e->kind != V6 || e->bits < 96 || memcmp(e->address, mapped, sizeof mapped) != 0)
        return;
    memmove(e->address, e->address + 12, 4);
    memset(e->address + 4, 0, 12);
    e->kind = V4;
    e->bits -= 96;
}

static bool parse_address(char *host, int family, struct endpoint *e, const char **why)
{
    char *slash = strchr(host, '/');
    e->kind = family == AF_INET ? V4 : V6;
    e->bits = width(e);
    if (slash) {
        *slash = '\0';
        if (!parse_number(slash + 1, width(e), &e->bits)) {
            *why = "a range is an address, a slash and how many of its bits count, such as 10.0.0.0/8";
            return false;
        }
    }
    if (inet_pton(family, host, e->address) != 1) {
        *why = "an address is written in full and in decimal, such as 127.0.0.1 or [::1]";
        return false;
    }
    unmap(e);
    if (is_masked(e))
        return true;
    *why = "the bits of a range that do not count must be 0, as in 10.0.0.0/8";
    return false;
}

static bool parse_name(char *host, struct endpoint *e, const char **why)
{
    const char *last;
    bool wild = strncmp(host, "*.", 2) == 0;
    char *name = wild ? host + 2 : host;
    *why = "a host's name is made of letters, digits, '-' and '_'; a wildcard is its whole first label, as in "
           "*.example.com";
    for (const unsigned char *p = (const unsigned char *)host; *p; p++)
        if (*p >= 0x80)
            *why = "a host's name is written in ASCII: an international one in its xn-- form";
    if (!parse_labels(name, &last))
        return false;
    /* Whatever ends in a number is an address to the system's resolver, in one of many spellings. */
    if (*last >= '0' && *last <= '9') {
        if (wild)
            return false;
        return parse_address(host, AF_INET, e, why);
    }
    e->kind = wild ? WILDCARD : NAME;
    return text_copy(e->name, sizeof e->name, name);
}

/* ---- the whole ---- */

static bool parse(const char *text, struct endpoint *e, const char **why)
{
    char host[POLICY_SCOPE_MAX];
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    *why =
        "the scope must be HOST:PORT, *.DOMAIN:PORT, IPv4:PORT, [IPv6]:PORT or a range as in 10.0.0.0/8:PORT; PORT may "
        "be *";
    *e = (struct endpoint){.port = PORT_ANY};
    if (n == 0 || n >= sizeof host || !parse_port(colon + 1, &e->port))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    if (*host == '[') {
        if (host[n - 1] != ']')
            return false;
        host[n - 1] = '\0';
        return parse_address(host + 1, AF_INET6, e, why);
    }
    /* A range of IPv4 has a slash, which no name has. */
    return strchr(host, '/') ? parse_address(host, AF_INET, e, why) : parse_name(host, e, why);
}

static void format(const struct endpoint *e, char out[POLICY_SCOPE_MAX])
{
    char host[INET6_ADDRSTRLEN], port[16] = "*", range[16] = "";
    if (e->port != PORT_ANY)
        snprintf(port, sizeof port, "%u", e->port);
    if (e->kind == NAME || e->kind == WILDCARD) {
        snprintf(out, POLICY_SCOPE_MAX, "%s%s:%s", e->kind == WILDCARD ? "*." : "", e->name, port);
        return;
    }
    if (e->bits < width(e))
        snprintf(range, sizeof range, "/%u", e->bits);
    inet_ntop(e->kind == V4 ? AF_INET : AF_INET6, e->address, host, sizeof host);
    snprintf(out, POLICY_SCOPE_MAX, e->kind == V4 ? "%s%s:%s" : "[%s%s]:%s", host, range, port);
}

bool host_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why)
{
    struct endpoint e;
    if (!parse(text, &e, why))
        return false;
    format(&e, out);
    return true;
}

/* What the C library would connect to: "127.1", "0x7f000001" and "017700000001" are all the same machine. */
static bool parse_old_address(const char *text, struct endpoint *e)
{
    char host[64], *dot;
    struct in_addr v4;
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n == 0 || n >= sizeof host || strspn(text, "0123456789abcdefxABCDEFX.") < n || !parse_port(colon + 1, &e->port))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    if (n > 1 && host[n - 1] == '.')
        host[n - 1] = '\0';
    dot = strrchr(host, '.');
    char first = dot ? dot[1] : *host;
    if (first < '0' || first > '9' || inet_aton(host, &v4) != 1)
        return false;
    e->kind = V4;
    e->bits = 32;
    memcpy(e->address, &v4, 4);
    return true;
}

bool host_object(const char *text, char out[POLICY_SCOPE_MAX])
{
    struct endpoint e;
    const char *why;
    if (!parse(text, &e, &why)) {
        e = (struct endpoint){.port = PORT_ANY};
        if (!parse_old_address(text, &e))
            return false;
    }
    bool range = (e.kind == V4 || e.kind == V6) && e.bits < width(&e);
    if (e.kind == WILDCARD || range || e.port == PORT_ANY)
        return false;
    format(&e, out);
    return true;
}

/* ---- comparing: texts that are normal, so that nothing is checked again ---- */

struct view {
    enum kind kind;
    const char *host; /* not terminated; of a wildcard: what stands behind "*." */
    size_t len;
    const char *port;
};

static void view(const char *normal, struct view *out)
{
    const char *colon = strrchr(normal, ':');
    out->host = normal;
    out->len = colon ? (size_t)(colon - normal) : strlen(normal);
    out->port = colon ? colon + 1 : "";
    if (*normal == '[') {
        out->kind = V6;
    } else if (normal[0] == '*' && normal[1] == '.') {
        out->kind = WILDCARD;
        out->host += 2;
        out->len -= 2;
    } else {
        const char *dot = memrchr(out->host, '.', out->len);
        const char *last = dot ? dot + 1 : out->host;
        out->kind = *last >= '0' && *last <= '9' ? V4 : NAME;
    }
}

static bool same_bits(const struct endpoint *a, const struct endpoint *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->address, b->address, whole) != 0)
        return false;
    return rest == 0 || (a->address[whole] ^ b->address[whole]) >> (8 - rest) == 0;
}

static bool range_contains(const char *outer, const char *inner)
{
    struct endpoint o, i;
    const char *why;
    return parse(outer, &o, &why) && parse(inner, &i, &why) && o.kind == i.kind && o.bits <= i.bits &&
           same_bits(&o, &i, o.bits);
}

static bool same_host(const struct view *a, const char *host, size_t len)
{
    return a->len == len && memcmp(a->host, host, len) == 0;
}

/* "*.example.com" stands for exactly one label. */
static bool wildcard_contains(const struct view *wild, const struct view *inner)
{
    if (inner->kind == WILDCARD)
        return same_host(wild, inner->host, inner->len);
    const char *dot = inner->kind == NAME ? memchr(inner->host, '.', inner->len) : NULL;
    return dot && same_host(wild, dot + 1, inner->len - (size_t)(dot + 1 - inner->host));
}

static bool hosts_contain(const struct view *o, const struct view *i, const char *outer, const char *inner)
{
    if (o->kind == WILDCARD)
        return wildcard_contains(o, i);
    if (o->kind != i->kind)
        return false;
    return same_host(o, i->host, i->len) || (o->kind != NAME && range_contains(outer, inner));
}

static bool any_port(const struct view *v)
{
    return strcmp(v->port, "*") == 0;
}

bool host_contains(const char *outer, const char *inner)
{
    struct view o, i;
    view(outer, &o);
    view(inner, &i);
    return (any_port(&o) || strcmp(o.port, i.port) == 0) && hosts_contain(&o, &i, outer, inner);
}

bool host_meets(const char *a, const char *b)
{
    struct view x, y;
    view(a, &x);
    view(b, &y);
    bool ports = any_port(&x) || any_port(&y) || strcmp(x.port, y.port) == 0;
    return ports && (hosts_contain(&x, &y, a, b) || hosts_contain(&y, &x, b, a));
}

bool host_is_address(const char *normal)
{
    struct view v;
    view(normal, &v);
    return *normal && (v.kind == V4 || v.kind == V6);
}
