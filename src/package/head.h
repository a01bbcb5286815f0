/* package/head: the 512 bytes in front of a package, as bytes and as a struct.  Pure; decides nothing about trust. */
#ifndef PACKAGE_HEAD_H
#define PACKAGE_HEAD_H

#include "package/package.h"

#define HEAD_SIGNED 448 /* bytes 0..447 are the signed text, the rest is the signature */

/* MOAT_E_NOT_A_PACKAGE (magic) or MOAT_E_PACKAGE_DAMAGED (anything else that no packer writes, padding included). */
int head_parse(const uint8_t bytes[PACKAGE_HEAD], struct package_head *out, struct error *err);

/* Writes bytes 0..447; the signature's place is zeroed. The head must be one that head_parse takes. */
void head_format(const struct package_head *head, uint8_t out[PACKAGE_HEAD]);

#endif
