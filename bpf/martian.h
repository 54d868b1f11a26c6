/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 2: sources that are no single host's (RFC 1122, 3.2.1.3; RFC 4291, 2.5 and 2.7), or the
 * service's own address. Nothing goes to them, no answer of the edge's (RFC 1122, 3.2.2; RFC 1812,
 * 4.3.2.7; RFC 4443, 2.4 e) and none of a backend's: what they sent for a service ends here.
 */
#pragma once

#include "parse.h"

GS_INLINE int gs_is_martian4(__be32 src)
{
	__u32 net = (__u32)GS_BE32(src) >> 24;

	/* "this network", loopback, multicast, broadcast; what else is in 240/4 some networks use
	 */
	return net == 0 || net == 127 || (net & 0xf0) == 224 || src == 0xffffffffu;
}

GS_INLINE int gs_is_martian6(const __be32 src[4])
{
	int is_low = !(src[0] | src[1] | src[2]);

	/* multicast, unspecified, loopback; mapped ones the parser has refused */
	return (src[0] & GS_BE32(0xff000000u)) == GS_BE32(0xff000000u) ||
	       (is_low && (src[3] & ~(__be32)GS_BE32(1u)) == 0);
}

/* Addresses as in struct gs_service_key; family: of the client. */
GS_INLINE int gs_is_martian_to(const __be32 src[4], const __be32 dst[4], __u8 family)
{
	if (src[3] == dst[3] && src[2] == dst[2] && src[1] == dst[1] && src[0] == dst[0])
		return 1;
	return family == 4 ? gs_is_martian4(src[3]) : gs_is_martian6(src);
}

/* Of an ICMP error: whom it quotes as the client. */
__attribute__((noinline)) int gs_is_martian(const struct gs_packet *packet)
{
	return packet && gs_is_martian_to(packet->tuple.src, packet->tuple.dst, packet->family);
}
