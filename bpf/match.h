/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Step 2: destination -> service. */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

GS_INLINE const struct gs_service_value *gs_match_find(const struct gs_packet *packet, __be16 port,
						       __u8 protocol)
{
	struct gs_service_key key = {.port = port, .protocol = protocol};

	key.addr[0] = packet->tuple.dst[0];
	key.addr[1] = packet->tuple.dst[1];
	key.addr[2] = packet->tuple.dst[2];
	key.addr[3] = packet->tuple.dst[3];
	return bpf_map_lookup_elem(&services, &key);
}

/* The service, exact port before every port; 0: none. */
GS_INLINE __u32 gs_match(const struct gs_packet *packet)
{
	const struct gs_service_value *found;

	found = gs_match_find(packet, packet->tuple.dst_port, packet->tuple.protocol);
	if (!found)
		found = gs_match_find(packet, 0, packet->tuple.protocol);
	return found ? found->service : 0;
}

/* What the parser holds against a packet counts only at our own addresses. */
GS_INLINE enum gs_reason gs_match_fault(const struct gs_packet *packet, enum gs_reason fault)
{
	if (fault < GS_REASON_drop_bad_ip) /* a pass_ reason: whosever it is */
		return fault;
	if (gs_match_find(packet, 0, 0))
		return fault;
	if (fault == GS_REASON_drop_bad_ip)
		return GS_REASON_pass_bad_ip;
	if (fault == GS_REASON_drop_fragment)
		return GS_REASON_pass_fragment;
	return GS_REASON_pass_not_service;
}
