#include "broker/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct range {
    const char *first;
    unsigned bits;
    const char *what;
};

/* IANA's registries of special-purpose addresses, and what clouds put at fixed places. */
static const struct range v4_ranges[] = {
    {"0.0.0.0", 8, "an address of this network"},
    {"10.0.0.0", 8, "a private address"},
    {"100.64.0.0", 10, "a provider's private address"},
    {"127.0.0.0", 8, "a loopback address"},
    {"168.63.129.16", 32, "a cloud's metadata address"},
    {"169.254.0.0", 16, "a link-local address, where clouds have their metadata"},
    {"172.16.0.0", 12, "a private address"},
    {"192.0.0.0", 24, "an address of protocols"},
    {"192.0.2.0", 24, "an address of examples"},
    {"192.88.99.0", 24, "a relay's address"},
    {"192.168.0.0", 16, "a private address"},
    {"198.18.0.0", 15, "an address of benchmarks"},
    {"198.51.100.0", 24, "an address of examples"},
    {"203.0.113.0", 24, "an address of examples"},
    {"224.0.0.0", 4, "a multicast address"},
    {"240.0.0.0", 4, "a reserved address"},
};

/* Public are the unicast addresses that are handed out, 2000::/3, but for these. */
static const struct range v6_ranges[] = {
    {"2001::", 23, "an address of protocols, which may carry an IPv4 address"},
    {"2001:db8::", 32, "an address of examples"},
    {"2002::", 16, "an address that carries an IPv4 address"},
    {"3fff::", 20, "an address of examples"},
};

/* What it is, of those that are not public anyway. */
static const struct range v6_words[] = {
    {"::1", 128, "a loopback address"},
    {"fc00::", 7, "a private address"},
    {"fe80::", 10, "a link-local address"},
    {"ff00::", 8, "a multicast address"},
};

static bool is_in(const uint8_t *bytes, int family, const struct range *r)
{
    uint8_t first[16];
    unsigned whole = r->bits / 8, rest = r->bits % 8;
    if (inet_pton(family, r->first, first) != 1 || memcmp(bytes, first, whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ first[whole]) >> (8 - rest) == 0;
}

static const char *find(const uint8_t *bytes, int family, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_in(bytes, family, &ranges[i]))
            return ranges[i].what;
    return NULL;
}

static bool is_mapped(const uint8_t *bytes)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

#define FIND(bytes, family, ranges) find(bytes, family, ranges, sizeof(ranges) / sizeof *(ranges))

const char *address_special(const struct net_address *a)
{
    if (a->family == NET_V4)
        return FIND(a->bytes, AF_INET, v4_ranges);
    if (is_mapped(a->bytes))
        return FIND(a->bytes + 12, AF_INET, v4_ranges);
    const char *what = FIND(a->bytes, AF_INET6, v6_words);
    if (what)
        return what;
    if ((a->bytes[0] & 0xe0) != 0x20)
        return "an address that is not handed out";
    return FIND(a->bytes, AF_INET6, v6_ranges);
}

void address_format(const struct net_address *a, unsigned port, char out[ADDRESS_TEXT_MAX])
{
    char text[INET6_ADDRSTRLEN] = "";
    if (a->family == NET_V6 && !is_mapped(a->bytes)) {
        inet_ntop(AF_INET6, a->bytes, text, sizeof text);
        snprintf(out, ADDRESS_TEXT_MAX, "[%s]:%u", text, port);
    } else {
        inet_ntop(AF_INET, a->family == NET_V4 ? a->bytes : a->bytes + 12, text, sizeof text);
        snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", text, port);
    }
}

bool address_parse(const char *normal, struct net_address *out)
{
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(normal, ':');
    size_t n = colon ? (size_t)(colon - normal) : 0;
    struct net_address a = {0};
    if (n == 0 || n >= sizeof host)
        return false;
    memcpy(host, normal, n);
    host[n] = '\0';
    if (*host == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        a.family = NET_V6;
        if (inet_pton(AF_INET6, host + 1, a.bytes) != 1)
            return false;
    } else {
        a.family = NET_V4;
        if (inet_pton(AF_INET, host, a.bytes) != 1)
            return false;
    }
    *out = a;
    return true;
}
