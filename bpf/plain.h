/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Plain packets, and no others: whole ones of TCP or UDP, without tags, options or extension
 * headers. What the express lane (express.h) reads of them, and how it sends them on where that is
 * plain, too.
 */
#pragma once

#include "action.h"
#include "count.h"
#include "forward.h"

/* A packet of the lane, in what is no more than registers. Addresses as two words on the wire, IPv4
 * ones mapped. */
struct gs_plain {
	__u64 src[2];
	__u64 dst[2];
	__u32 frame_bytes;
	__u16 length; /* of the IP packet */
	__be16 src_port;
	__be16 dst_port;
	__u8 family;
	__u8 ds;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 has_df;
};

/* ---- parse -----------------------------------------------------------------------------------*/

/* As gs_parse_l4. header: a constant; length: not less. 1: nothing is wrong with it. */
GS_INLINE int gs_plain_l4(const __u8 *ip, const void *end, __u32 header, __u32 length,
			  struct gs_plain *plain)
{
	const __u8 *l4 = ip + header;
	__u32 room = length - header, bytes;

	if (length > plain->frame_bytes - ETH_HLEN || length > 0xffff)
		return 0;
	plain->length = (__u16)length;
	if (plain->protocol == IPPROTO_TCP) {
		if ((const void *)(l4 + GS_TCP_BYTES) > end || room < GS_TCP_BYTES)
			return 0;
		bytes = (__u32)(l4[12] >> 4) * 4;
		plain->tcp_flags = l4[13];
		if (bytes < GS_TCP_BYTES || bytes > room)
			return 0;
	} else if (plain->protocol == IPPROTO_UDP) {
		if ((const void *)(l4 + GS_UDP_BYTES) > end)
			return 0;
		bytes = gs_wire_u16(l4 + 4);
		if (bytes < GS_UDP_BYTES || bytes > room)
			return 0;
	} else {
		return 0;
	}
	plain->src_port = *(const gs_wire16 *)l4;
	plain->dst_port = *(const gs_wire16 *)(l4 + 2);
	return 1;
}

GS_INLINE int gs_plain_ip4(const __u8 *ip, const void *end, struct gs_plain *plain)
{
	__be16 fragment;
	__u32 length;

	if ((const void *)(ip + GS_IP4_BYTES) > end || ip[0] != 0x45)
		return 0;
	fragment = *(const gs_wire16 *)(ip + 6);
	length = gs_wire_u16(ip + 2);
	if (fragment & GS_BE16(0x3fff) || length < GS_IP4_BYTES)
		return 0;
	plain->src[0] = 0;
	plain->src[1] = gs_hash_pair((__be32)GS_HASH_MAPPED, *(const gs_wire32 *)(ip + 12));
	plain->dst[0] = 0;
	plain->dst[1] = gs_hash_pair((__be32)GS_HASH_MAPPED, *(const gs_wire32 *)(ip + 16));
	plain->family = 4;
	plain->ds = ip[1];
	plain->has_df = (fragment & GS_BE16(0x4000)) != 0;
	plain->protocol = ip[9];
	return gs_plain_l4(ip, end, GS_IP4_BYTES, length, plain);
}

GS_INLINE int gs_plain_is_mapped(const __u64 addr[2])
{
	return !addr[0] && (__u32)addr[1] == GS_HASH_MAPPED;
}

GS_INLINE int gs_plain_ip6(const __u8 *ip, const void *end, struct gs_plain *plain)
{
	if ((const void *)(ip + GS_IP6_BYTES) > end || ip[0] >> 4 != 6)
		return 0;
	plain->src[0] = *(const gs_wire64 *)(ip + 8);
	plain->src[1] = *(const gs_wire64 *)(ip + 16);
	plain->dst[0] = *(const gs_wire64 *)(ip + 24);
	plain->dst[1] = *(const gs_wire64 *)(ip + 32);
	if (gs_plain_is_mapped(plain->src) || gs_plain_is_mapped(plain->dst))
		return 0;
	plain->family = 6;
	plain->ds = (__u8)(gs_wire_u16(ip) >> 4);
	plain->has_df = 1;
	plain->protocol = ip[6];
	return gs_plain_l4(ip, end, GS_IP6_BYTES, GS_IP6_BYTES + gs_wire_u16(ip + 4), plain);
}

/* ---- forward ---------------------------------------------------------------------------------*/

/* Of a backend behind a tunnel whose next hop is known, if the packet fits: the hop. NULL: it is
 * gs_forward's. */
GS_INLINE const struct gs_hop_value *gs_plain_hop(const struct gs_backend_value *backend,
						  __u16 length)
{
	const struct gs_hop_value *hop;

	if ((backend->mode != GS_FORWARD_IPIP && backend->mode != GS_FORWARD_GUE) ||
	    (backend->family != 4 && backend->family != 6))
		return NULL;
	hop = gs_hop_of(backend, 0);
	if (!hop || hop->tags || hop->flags & GS_HOP_REFLECT ||
	    !gs_fits(length, gs_outer_size(backend), hop->mtu))
		return NULL;
	return hop;
}

/* As gs_send does it, by gs_plain_hop. NONE, and *outcome says where to; a reason to drop it; -1:
 * it is as it came, and for gs_forward. */
GS_INLINE int gs_plain_send(struct xdp_md *ctx, __u16 length, __u8 family, __u8 ds,
			    const struct gs_backend_value *backend, const struct gs_hop_value *hop,
			    __u64 table_hash, struct gs_outcome *outcome)
{
	const struct gs_packet packet = {.length = length, .family = family, .ds = ds};
	const gs_wire32 *mac = (const gs_wire32 *)hop->dst_mac; /* src_mac follows */
	enum gs_reason reason;
	struct gs_head head;

	head.mac[0] = mac[0];
	head.mac[1] = mac[1];
	head.mac[2] = mac[2];
	head.tag_bytes = 0;
	/* there is no room: gs_forward says so */
	if (bpf_xdp_adjust_head(ctx, -(int)gs_outer_size(backend)))
		return -1;
	reason = backend->family == 4
			 ? gs_encapsulate4(ctx, &packet, backend, hop, &head, table_hash)
			 : gs_encapsulate6(ctx, &packet, backend, hop, &head, table_hash);
	if (reason != GS_REASON_NONE)
		return reason;
	outcome->region = backend->region;
	outcome->ifindex = hop->ifindex;
	return GS_REASON_NONE;
}

GS_INLINE int gs_express_end(const struct xdp_md *ctx, const struct gs_outcome *outcome,
			     enum gs_reason reason, __u32 frame_bytes)
{
	gs_count(outcome, reason, frame_bytes);
	return gs_action(ctx, reason, outcome->ifindex);
}

/* What does not happen, and is counted all the same; apart, so that nobody follows it further. */
__attribute__((noinline)) int gs_express_fault(__u32 service, __u32 reason, __u32 frame_bytes)
{
	const struct gs_outcome outcome = {.service = service};

	gs_count(&outcome, reason, frame_bytes);
	return XDP_DROP;
}

#define GS_EXPRESS_NO (-1)     /* not for the lane: the packet is as it came, nothing was noted */
#define GS_EXPRESS_DECIDE (-2) /* gs_straight goes on, and behind it gs_express_decide */

/* ---- what is not decided at once ---------------------------------------------------------------
 *
 * A packet of the lane that begins a flow, or needs more than to be sent, goes on in functions
 * behind the first one, not in it: each would have the other's stack. Between them it lies in this
 * CPU's scratch.
 */
struct gs_pending {
	struct gs_plain plain;
	struct gs_service_value service;
	__u64 table_hash;
	__u64 entry; /* gs_flow_find's; of a SYN nobody has asked yet */
	__u32 now;
	__u32 at;     /* slot of the generation in force */
	__u32 row;    /* the service's, in `routes` */
	__u32 epoch;  /* of services, under which all this was found */
	__u32 demand; /* gs_straight's: the entry of `demand` (gs_route_index) */
	int picked;   /* and what gs_pick would have said; 0: it decides */
	__u8 watch;
	__u8 _pad[7];
	/* gs_express_decide's: on the stack of those it calls there is no room */
	struct gs_packet packet;
	struct gs_turn turn;
	struct gs_outcome outcome;
};
_Static_assert(sizeof(struct gs_pending) <= sizeof(struct gs_scratch), "scratch");

/* NULL: never. */
GS_INLINE struct gs_pending *gs_pending(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}
