/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Step 2: destination -> service. */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

GS_INLINE const struct gs_service_value *gs_match_find(const struct gs_packet *packet, __be16 port,
						       __u8 protocol, __u8 marker)
{
	struct gs_service_key key = {.port = port, .protocol = protocol, .marker = marker};

	key.addr[0] = packet->tuple.dst[0];
	key.addr[1] = packet->tuple.dst[1];
	key.addr[2] = packet->tuple.dst[2];
	key.addr[3] = packet->tuple.dst[3];
	return bpf_map_lookup_elem(&services, &key);
}

/* The service, exact port before every port; NULL: none. */
GS_INLINE const struct gs_service_value *gs_match(const struct gs_packet *packet)
{
	const struct gs_service_value *found;

	found = gs_match_find(packet, packet->tuple.dst_port, packet->tuple.protocol, 0);
	return found ? found : gs_match_find(packet, 0, packet->tuple.protocol, 0);
}

/* Is a faulty packet without a port one of an address and protocol that a service has? */
GS_INLINE int gs_match_concerns(const struct gs_packet *packet)
{
	__u8 protocol = packet->tuple.protocol;

	if (protocol)
		return gs_match_find(packet, 0, protocol, 1) != NULL;
	return gs_match_find(packet, 0, IPPROTO_TCP, 1) || gs_match_find(packet, 0, IPPROTO_UDP, 1);
}

#define GS_FAULT_REASON 0xffu
#define GS_FAULT_SERVICE 8 /* shift */

/*
 * What the parser holds against a packet counts only where a service of ours is concerned. The
 * reason to count; above it, if its port is known, the service. A function of its own: the verifier
 * goes through it once, and not once for every fault there is.
 */
__attribute__((noinline)) int gs_match_fault(const struct gs_packet *packet, __u32 fault)
{
	const struct gs_service_value *found;
	__u32 service = 0;

	if (!packet || fault < GS_REASON_drop_bad_ip) /* a pass_ reason: whosever it is */
		return (int)fault;
	if (packet->has_ports) {
		found = gs_match(packet);
		service = found ? found->service : 0;
	}
	if (service || (!packet->has_ports && gs_match_concerns(packet)))
		return (int)(fault | service << GS_FAULT_SERVICE);
	if (fault == GS_REASON_drop_bad_ip)
		return GS_REASON_pass_bad_ip;
	if (fault == GS_REASON_drop_fragment || packet->shape != GS_SHAPE_WHOLE)
		return GS_REASON_pass_fragment;
	return GS_REASON_pass_not_service;
}
