/* broker/address: which addresses only an operator who names them can mean.  Pure functions, any thread. */
#ifndef BROKER_ADDRESS_H
#define BROKER_ADDRESS_H

#include <stdbool.h>

#include "wire/net.h"

#define ADDRESS_TEXT_MAX 64

/* "a loopback address", "a private address", …; NULL: one of the public Internet. An IPv4 address in IPv6's clothes is
 * what it carries. docs/network.md lists the ranges. */
const char *address_special(const struct net_address *a);

/* "192.0.2.1:443", "[2001:db8::1]:443": as src/policy writes it. */
void address_format(const struct net_address *a, unsigned port, char out[ADDRESS_TEXT_MAX]);

/* The host of a normal "HOST:PORT": true when it is an address. */
bool address_parse(const char *normal, struct net_address *out);

#endif
