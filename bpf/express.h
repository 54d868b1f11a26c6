/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The express lane, which most packets take: whole ones of TCP or UDP, without tags, options or
 * extension headers, for a service of which nothing is asked but the flow (GS_SERVICE_PLAIN), while
 * nobody looks on. It is the whole way (gs_process) with what such packets cannot meet left out,
 * and it shares with it every step that decides: flow table, pick, forward. Whatever is different
 * is left to the whole way, untouched.
 */
#pragma once

#include "action.h"
#include "count.h"
#include "forward.h"
#include "handshake.h"
#include "martian.h"
#include "match.h"
#include "pick.h"

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

/* Into a tunnel whose next hop is known, as gs_send does it. NONE, and *outcome says where to; a
 * reason to drop it; -1: it is as it came, and for gs_forward. */
GS_INLINE int gs_plain_send(struct xdp_md *ctx, __u16 length, __u8 family, __u8 ds,
			    const struct gs_backend_value *backend, __u64 table_hash,
			    struct gs_outcome *outcome)
{
	const struct gs_packet packet = {.length = length, .family = family, .ds = ds};
	const struct gs_hop_value *hop;
	enum gs_reason reason;
	struct gs_head head;
	__u32 outer;

	if ((backend->mode != GS_FORWARD_IPIP && backend->mode != GS_FORWARD_GUE) ||
	    (backend->family != 4 && backend->family != 6))
		return -1;
	hop = gs_hop_of(backend, 0);
	if (!hop || hop->tags || hop->flags & GS_HOP_REFLECT)
		return -1;
	outer = gs_outer_size(backend);
	if (!gs_fits(length, outer, hop->mtu))
		return -1;
	gs_forward_head(ctx, &packet, hop, &head);
	head.tag_bytes = 0;
	if (bpf_xdp_adjust_head(ctx, -(int)outer)) /* there is no room: gs_forward says so */
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

/* ---- what is not decided at once ---------------------------------------------------------------
 *
 * A packet of the lane that begins or proves a flow, or whose flow has to move, goes on in a
 * function behind the first one, not in it: each would have the other's stack. Between them it lies
 * in this CPU's scratch.
 */
struct gs_unfolded {
	struct gs_packet packet;
	struct gs_turn turn;
	struct gs_service_value service;
	struct gs_outcome outcome;
	__u32 _pad;
	__u64 entry; /* gs_flow_find's */
};
_Static_assert(sizeof(struct gs_unfolded) <= sizeof(struct gs_scratch), "scratch");

#define GS_EXPRESS_NO (-1)     /* not for the lane: the packet is as it came, nothing was noted */
#define GS_EXPRESS_DECIDE (-2) /* gs_express_decide goes on */

GS_INLINE struct gs_unfolded *gs_express_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

GS_INLINE void gs_plain_unfold(const struct gs_plain *plain, struct gs_packet *ret_packet)
{
	__u64 *src = (__u64 *)ret_packet->tuple.src, *dst = (__u64 *)ret_packet->tuple.dst;

	__builtin_memset(ret_packet, 0, sizeof(*ret_packet));
	src[0] = plain->src[0];
	src[1] = plain->src[1];
	dst[0] = plain->dst[0];
	dst[1] = plain->dst[1];
	ret_packet->tuple.src_port = plain->src_port;
	ret_packet->tuple.dst_port = plain->dst_port;
	ret_packet->tuple.protocol = plain->protocol;
	ret_packet->frame_bytes = plain->frame_bytes;
	ret_packet->length = plain->length;
	ret_packet->family = plain->family;
	ret_packet->ds = plain->ds;
	ret_packet->tcp_flags = plain->tcp_flags;
	ret_packet->has_df = plain->has_df;
	ret_packet->l4 = plain->family == 4 ? GS_IP4_BYTES : GS_IP6_BYTES;
}

GS_INLINE void gs_express_turn(const struct gs_service_cached *cached,
			       const struct gs_meta_value *found, struct gs_turn *ret_turn)
{
	__builtin_memset(ret_turn, 0, sizeof(*ret_turn));
	ret_turn->at = cached->active;
	ret_turn->service = cached->value.service;
	ret_turn->flow_mask = found->flow_mask;
	if (ret_turn->at < GS_GENERATIONS)
		ret_turn->asks = (__u8)found->generation[ret_turn->at].asks;
	ret_turn->affinity = cached->value.affinity;
	ret_turn->affinity4 = cached->value.affinity4;
	ret_turn->affinity6 = cached->value.affinity6;
	ret_turn->priority = cached->value.priority;
}

/* From gs_pick on. The action, or GS_EXPRESS_NO. */
__attribute__((noinline)) int gs_express_decide(struct xdp_md *ctx)
{
	struct gs_unfolded *rest = gs_express_scratch();
	const struct gs_backend_value *backend;
	enum gs_reason reason;
	int picked, sent;
	__u32 id;

	if (!rest)
		return GS_EXPRESS_NO;
	picked = gs_pick(&rest->turn, &rest->packet, &rest->service, rest->entry);
	reason = (enum gs_reason)(picked & GS_PICKED_REASON);
	id = (__u32)picked >> GS_PICKED_BACKEND;
	if (!id)
		return gs_express_end(ctx, &rest->outcome, reason, rest->packet.frame_bytes);
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend)
		return gs_express_fault(rest->outcome.service, GS_REASON_drop_no_backend,
					rest->packet.frame_bytes);
	sent = gs_plain_send(ctx, rest->packet.length, rest->packet.family, rest->packet.ds,
			     backend, rest->turn.table_hash, &rest->outcome);
	if (sent == GS_REASON_NONE)
		rest->outcome.backend = id;
	else if (sent < 0)
		sent = gs_forward(ctx, &rest->packet, id, rest->turn.table_hash, &rest->outcome);
	if (sent != GS_REASON_NONE)
		reason = (enum gs_reason)sent;
	if (rest->turn.watch && (sent == GS_REASON_NONE || sent == GS_REASON_tx_fib))
		gs_watch_flow(&rest->packet, &rest->turn, id);
	return gs_express_end(ctx, &rest->outcome, reason, rest->packet.frame_bytes);
}

/* ---- the lane --------------------------------------------------------------------------------*/

GS_INLINE __u64 gs_plain_hash(const struct gs_plain *plain, __u64 seed)
{
	__u64 ports = gs_hash_ports(plain->src_port, plain->dst_port, plain->protocol);

	if (plain->family == 6)
		return gs_hash_flow6(plain->src, plain->dst, ports, seed);
	return gs_hash_flow4((__be32)(plain->src[1] >> 32), (__be32)(plain->dst[1] >> 32), ports,
			     seed);
}

/* From the parsed packet to the action, or GS_EXPRESS_*. */
GS_INLINE int gs_express_plain(struct xdp_md *ctx, const struct gs_plain *plain)
{
	__u32 zero = 0, now, is_syn = (__u32)gs_is_syn(plain->tcp_flags);
	struct gs_outcome outcome = {.service = 0};
	const struct gs_service_cached *cached;
	const struct gs_backend_value *backend;
	const struct gs_meta_value *found;
	struct gs_unfolded *rest;
	struct gs_match_words words;
	union gs_flow_bits known;
	__u8 watch = 0;
	__u64 hash;
	int sent;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return GS_EXPRESS_NO;
	words = gs_match_words_of(plain->dst[0], plain->dst[1], plain->dst_port, plain->protocol,
				  *(const volatile __u32 *)&found->services_epoch);
	cached = gs_match_place(&words);
	if (!cached || !gs_match_is(cached, &words, found) ||
	    !(cached->value.flags & GS_SERVICE_PLAIN) ||
	    *(const volatile __u64 *)&found->monitor_until_ns)
		return GS_EXPRESS_NO;
	hash = gs_plain_hash(plain, found->table_seed);
	now = (__u32)(bpf_ktime_get_coarse_ns() >> 30) & GS_SEEN_TIME;
	known.as = gs_flow_find(hash, found->flow_mask, now, (int)is_syn,
				gs_flow_ends(plain->tcp_flags), &watch);
	outcome.service = cached->value.service;
	outcome.backend = known.as.backend & ~GS_FLOW_CLOSED;
	backend = bpf_map_lookup_elem(&backends, &outcome.backend);
	/* of a proven flow nothing but sending is left to do */
	if (!watch && !is_syn && known.as.tag && backend &&
	    gs_keeps_flow(outcome.service, backend, outcome.backend, 0)) {
		sent = gs_plain_send(ctx, plain->length, plain->family, plain->ds, backend, hash,
				     &outcome);
		if (sent == GS_REASON_NONE)
			return gs_express_end(ctx, &outcome, GS_REASON_tx_flow, plain->frame_bytes);
		if (sent >= 0)
			return gs_express_fault(outcome.service, (__u32)sent, plain->frame_bytes);
	}
	rest = gs_express_scratch();
	if (!rest)
		return GS_EXPRESS_NO;
	gs_plain_unfold(plain, &rest->packet);
	if (!known.as.tag && gs_is_martian(&rest->packet))
		return GS_EXPRESS_NO;
	gs_express_turn(cached, found, &rest->turn);
	rest->service = cached->value;
	rest->turn.table_hash = hash;
	rest->turn.now = now;
	rest->turn.watch = watch;
	__builtin_memset(&rest->outcome, 0, sizeof(rest->outcome));
	rest->outcome.service = outcome.service;
	rest->entry = known.word;
	return GS_EXPRESS_DECIDE;
}

/* The action, or GS_EXPRESS_*. */
__attribute__((noinline)) int gs_express(struct xdp_md *ctx)
{
	const __u8 *frame = (const __u8 *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	struct gs_plain plain = {0};
	__be16 type;

	if ((const void *)(frame + ETH_HLEN) > end || frame[0] & 1)
		return GS_EXPRESS_NO;
	plain.frame_bytes = (__u32)((const __u8 *)end - frame);
	type = *(const gs_wire16 *)(frame + 12);
	if (type == GS_BE16(ETH_P_IP) && gs_plain_ip4(frame + ETH_HLEN, end, &plain))
		return gs_express_plain(ctx, &plain);
	if (type == GS_BE16(ETH_P_IPV6) && gs_plain_ip6(frame + ETH_HLEN, end, &plain))
		return gs_express_plain(ctx, &plain);
	return GS_EXPRESS_NO;
}
