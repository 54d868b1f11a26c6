/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interface a packet came in by, as routes and hops name it. A native program on a bond runs on
 * the bond's ports, and is told of these. What it sends back (XDP_TX) the kernel gives to the port
 * the bond would choose, so for us in and out are the bond.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

/* Asked only where the answer matters, for it is a look-up in a hash. */
GS_INLINE __u32 gs_ingress(const struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	const struct gs_own_mac_value *link = bpf_map_lookup_elem(&own_macs, &ifindex);

	return link && link->bond ? link->bond : ifindex;
}
