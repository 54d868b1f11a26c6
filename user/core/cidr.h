/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes: parse, format, compare, mask. Pure. */
#pragma once

#include "types.h"

#include <stddef.h>

enum { GS_ADDR_TEXT_MAX = 46, GS_PREFIX_TEXT_MAX = 50 };

/* Dotted quad or RFC 4291 text; nothing before or after. 0 or -EINVAL, *ret_addr untouched then. */
int gs_addr_parse(const char *text, struct gs_addr *ret_addr);
/* Writes RFC 5952 text (IPv4 as dotted quad) into out[GS_ADDR_TEXT_MAX] and returns out. */
const char *gs_addr_format(const struct gs_addr *addr, char out[GS_ADDR_TEXT_MAX]);
bool gs_addr_is_v4(const struct gs_addr *addr);
/* host_order: a.b.c.d as a << 24 | ... */
struct gs_addr gs_addr_from_v4(uint32_t host_order);
/* Only for gs_addr_is_v4. */
uint32_t gs_addr_to_v4(const struct gs_addr *addr);
/* < 0, 0, > 0 in numeric order, IPv4 inside ::ffff:0:0/96. */
int gs_addr_compare(const struct gs_addr *a, const struct gs_addr *b);

/*
 * "192.0.2.0/24", "2001:db8::/32"; without "/n" the full length. 0; -EINVAL: no prefix; -ERANGE:
 * the length is not the family's; -EDOM: host bits are set.
 */
int gs_prefix_parse(const char *text, struct gs_prefix *ret_prefix);
const char *gs_prefix_format(const struct gs_prefix *prefix, char out[GS_PREFIX_TEXT_MAX]);
/* Clears host bits. length in the family's own terms. */
struct gs_prefix gs_prefix_make(const struct gs_addr *addr, uint8_t length);
bool gs_prefix_contains(const struct gs_prefix *prefix, const struct gs_addr *addr);
/* Order: family (IPv4 first), address, length. */
int gs_prefix_compare(const struct gs_prefix *a, const struct gs_prefix *b);
