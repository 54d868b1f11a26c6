/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The express lane: what most packets are goes through here in a third of the time. That is a whole
 * packet of TCP or UDP without tags, options or extension headers, of a proven flow, to a service
 * without limits, whose backend is up behind a tunnel or on a resolved hop. It decides nothing of
 * its own: whatever is different, or it is not sure of, it leaves untouched to the whole way
 * (gs_process), which would have done with every packet of the lane the same.
 */
#pragma once

#include "forward.h"
#include "limit.h"
#include "match.h"
#include "pick.h"
#include "sample.h"

/* What ends or begins a flow is not for here. */
#define GS_EXPRESS_NOT (GS_TCP_SYN | GS_TCP_FIN | GS_TCP_RST)

/* As gs_parse_ip4 of a header without options, of what is no fragment. 1: it is for here. */
GS_INLINE int gs_express_ip4(const __u8 *ip, const void *end, struct gs_packet *packet)
{
	__u32 length;
	__u8 protocol;

	if ((const void *)(ip + GS_IP4_BYTES) > end || ip[0] != 0x45 ||
	    *(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff))
		return 0;
	protocol = ip[9];
	length = gs_wire_u16(ip + 2);
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || length < GS_IP4_BYTES)
		return 0;
	gs_wire_addr4(packet->tuple.src, ip + 12);
	gs_wire_addr4(packet->tuple.dst, ip + 16);
	packet->family = 4;
	packet->ds = ip[1];
	return gs_parse_l4(ip, end, GS_IP4_BYTES, length, protocol, packet) == GS_REASON_NONE;
}

/* As gs_parse_ip6 without extension headers. */
GS_INLINE int gs_express_ip6(const __u8 *ip, const void *end, struct gs_packet *packet)
{
	__u8 protocol;

	if ((const void *)(ip + GS_IP6_BYTES) > end || ip[0] >> 4 != 6)
		return 0;
	protocol = ip[6];
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	gs_wire_addr6(packet->tuple.src, ip + 8);
	gs_wire_addr6(packet->tuple.dst, ip + 24);
	packet->family = 6;
	packet->ds = (__u8)(gs_wire_u16(ip) >> 4);
	return !gs_addr_is_mapped(packet->tuple.src) && !gs_addr_is_mapped(packet->tuple.dst) &&
	       gs_parse_l4(ip, end, GS_IP6_BYTES, GS_IP6_BYTES + gs_wire_u16(ip + 4), protocol,
			   packet) == GS_REASON_NONE;
}

/* The flow's backend, if it is proven and may stay there; 0: the whole way knows. */
GS_INLINE __u32 gs_express_backend(const struct gs_turn *turn)
{
	const struct gs_backend_value *backend;
	volatile __u64 *bucket;
	union gs_flow_bits entry, touched;
	__u32 tag, id = 0;

	bucket = gs_flow_bucket(turn);
	if (!bucket)
		return 0;
	tag = gs_flow_tag(turn->table_hash);
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		if (entry.as.tag != tag)
			continue;
		touched = entry;
		touched.as.seen = (__u16)(turn->now | GS_FLOW_PROVEN);
		if (!(entry.as.seen & GS_FLOW_PROVEN))
			return 0;
		if (touched.word != entry.word)
			bucket[way] = touched.word;
		id = entry.as.backend & ~GS_FLOW_CLOSED;
		break;
	}
	backend = bpf_map_lookup_elem(&backends, &id);
	return id && backend && gs_keeps_flow(turn, backend, id, 0) ? id : 0;
}

/* Sends it. 0: it was not for here, and is as it came; else the reason to count. */
GS_INLINE int gs_express_send(struct xdp_md *ctx, const struct gs_packet *packet, __u32 id,
			      __u64 table_hash, struct gs_outcome *outcome)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop;
	enum gs_reason reason;
	struct gs_head head;
	__u32 outer;

	if (!backend || (backend->mode != GS_FORWARD_IPIP && backend->mode != GS_FORWARD_GUE))
		return -1;
	hop = gs_hop_of(backend, 0);
	if (!hop || hop->tags || hop->flags & GS_HOP_REFLECT)
		return -1;
	outer = gs_outer_size(backend);
	if (!gs_fits(packet->length, outer, hop->mtu))
		return -1;
	gs_forward_head(ctx, packet, hop, &head);
	head.tag_bytes = 0;
	outcome->service = backend->service;
	if (bpf_xdp_adjust_head(ctx, -(int)outer))
		return GS_REASON_drop_headroom;
	reason = backend->family == 4
			 ? gs_encapsulate4(ctx, packet, backend, hop, &head, table_hash)
			 : gs_encapsulate6(ctx, packet, backend, hop, &head, table_hash);
	if (reason != GS_REASON_NONE)
		return reason;
	outcome->region = backend->region;
	outcome->backend = id;
	outcome->ifindex = hop->ifindex;
	return GS_REASON_tx_flow;
}

GS_INLINE int gs_express_family(struct xdp_md *ctx, struct gs_packet *packet,
				struct gs_outcome *outcome)
{
	const struct gs_service_value *service;
	struct gs_turn turn = {0};
	__u32 id;

	if (packet->tcp_flags & GS_EXPRESS_NOT)
		return -1;
	service = gs_match_cached(packet);
	if (!service || service->stale || service->client_packets | service->packets)
		return -1;
	turn.service = service->service;
	if (gs_turn_init(&turn, packet) ||
	    turn.asks & (GS_ASK_ACCESS | GS_ASK_REGION_LIMITS) || gs_is_monitored())
		return -1;
	id = gs_express_backend(&turn);
	return id ? gs_express_send(ctx, packet, id, turn.table_hash, outcome) : -1;
}

/* The reason to count, and *outcome is set; -1: the packet is as it came, and so is *outcome. */
__attribute__((noinline)) int gs_express(struct xdp_md *ctx, struct gs_outcome *outcome)
{
	const __u8 *frame = (const __u8 *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	struct gs_packet packet = {0};
	__be16 type;

	if (!outcome || (const void *)(frame + ETH_HLEN) > end || frame[0] & 1)
		return -1;
	packet.frame_bytes = (__u32)((const __u8 *)end - frame);
	type = *(const gs_wire16 *)(frame + 12);
	if (type == GS_BE16(ETH_P_IP) && gs_express_ip4(frame + ETH_HLEN, end, &packet))
		return gs_express_family(ctx, &packet, outcome);
	if (type == GS_BE16(ETH_P_IPV6) && gs_express_ip6(frame + ETH_HLEN, end, &packet))
		return gs_express_family(ctx, &packet, outcome);
	return -1;
}
