/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The express lane, which most packets take: plain ones (plain.h) for a service of which nothing is
 * asked but the flow (GS_SERVICE_PLAIN), while nobody looks on. What a known flow's packet needs is
 * done here, what most new flows need in straight.h: the whole way (gs_process) without what such
 * packets cannot meet. Whatever is different goes on in gs_pick and gs_forward, which both ways
 * share, or is left to the whole way, untouched. tests/bpf/test_express.c holds them to each other.
 */
#pragma once

#include "handshake.h"
#include "martian.h"
#include "match.h"
#include "plain.h"
#include "straight.h"

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

GS_INLINE void gs_express_turn(const struct gs_pending *flow, const struct gs_meta_value *found,
			       struct gs_turn *ret_turn)
{
	const struct gs_generation_value *generation = gs_generation(flow->at);

	__builtin_memset(ret_turn, 0, sizeof(*ret_turn));
	ret_turn->table_hash = flow->table_hash;
	ret_turn->now = flow->now;
	ret_turn->watch = flow->watch;
	ret_turn->demand = flow->demand;
	ret_turn->at = flow->at;
	ret_turn->service = flow->service.service;
	ret_turn->flow_mask = found->flow_mask;
	if (generation)
		ret_turn->asks = (__u8)generation->asks;
	ret_turn->affinity = flow->service.affinity;
	ret_turn->affinity4 = flow->service.affinity4;
	ret_turn->affinity6 = flow->service.affinity6;
	ret_turn->priority = flow->service.priority;
}

/* What gs_straight has left, from gs_pick or gs_forward on. The action, or GS_EXPRESS_NO. */
__attribute__((noinline)) int gs_express_decide(struct xdp_md *ctx)
{
	struct gs_pending *flow = gs_pending();
	const struct gs_backend_value *backend;
	const struct gs_meta_value *found;
	const struct gs_hop_value *hop;
	enum gs_reason reason;
	__u32 zero = 0, id;
	__u64 entry = 0;
	__u8 watch = 0;
	int picked, sent;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!flow || !found)
		return GS_EXPRESS_NO;
	gs_plain_unfold(&flow->plain, &flow->packet);
	picked = flow->picked;
	if (!picked) {
		entry = flow->entry;
		if (gs_is_syn(flow->plain.tcp_flags))
			entry = gs_flow_find(flow->table_hash, found->flow_mask, flow->now, 1, 0,
					     &watch);
		if (!entry && gs_is_martian(&flow->packet))
			return GS_EXPRESS_NO;
	}
	gs_express_turn(flow, found, &flow->turn);
	__builtin_memset(&flow->outcome, 0, sizeof(flow->outcome));
	flow->outcome.service = flow->turn.service;
	if (!picked)
		picked = gs_pick(&flow->turn, &flow->packet, &flow->service, entry);
	reason = (enum gs_reason)(picked & GS_PICKED_REASON);
	id = (__u32)picked >> GS_PICKED_BACKEND;
	if (!id)
		return gs_express_end(ctx, &flow->outcome, reason, flow->packet.frame_bytes);
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend)
		return gs_express_fault(flow->outcome.service, GS_REASON_drop_no_backend,
					flow->packet.frame_bytes);
	hop = gs_plain_hop(backend, flow->packet.length);
	sent = hop ? gs_plain_send(ctx, flow->packet.length, flow->packet.family, flow->packet.ds,
				   backend, hop, flow->turn.table_hash, &flow->outcome)
		   : -1;
	if (sent == GS_REASON_NONE)
		flow->outcome.backend = id;
	else if (sent < 0)
		sent = gs_forward(ctx, &flow->packet, id, flow->turn.table_hash, &flow->outcome);
	if (sent != GS_REASON_NONE)
		reason = (enum gs_reason)sent;
	if (flow->turn.watch && (sent == GS_REASON_NONE || sent == GS_REASON_tx_fib))
		gs_watch_flow(&flow->packet, &flow->turn, id);
	return gs_express_end(ctx, &flow->outcome, reason, flow->packet.frame_bytes);
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

/* Field by field: whole words of what was just stored in pieces are what a CPU waits for. */
GS_INLINE void gs_plain_copy(const struct gs_plain *plain, struct gs_plain *ret_plain)
{
	ret_plain->src[0] = plain->src[0];
	ret_plain->src[1] = plain->src[1];
	ret_plain->dst[0] = plain->dst[0];
	ret_plain->dst[1] = plain->dst[1];
	ret_plain->frame_bytes = plain->frame_bytes;
	ret_plain->length = plain->length;
	ret_plain->src_port = plain->src_port;
	ret_plain->dst_port = plain->dst_port;
	ret_plain->family = plain->family;
	ret_plain->ds = plain->ds;
	ret_plain->protocol = plain->protocol;
	ret_plain->tcp_flags = plain->tcp_flags;
	ret_plain->has_df = plain->has_df;
}

/*
 * Of a packet that begins nothing. entry: gs_flow_find's; is_proof: it may complete a handshake.
 * The action; GS_EXPRESS_DECIDE: there is more to do than to send. What completes one of the sample
 * is for gs_watch_flow to tell.
 */
GS_INLINE int gs_express_known(struct xdp_md *ctx, const struct gs_plain *plain, __u32 service,
			       __u64 entry, __u32 is_proof, __u64 hash)
{
	const union gs_flow_bits bits = {.word = entry};
	const struct gs_flow_entry known = bits.as;
	struct gs_outcome outcome = {.service = service};
	const struct gs_backend_value *backend;
	const struct gs_hop_value *hop;
	int sent;

	outcome.backend = known.backend & ~GS_FLOW_CLOSED;
	backend = bpf_map_lookup_elem(&backends, &outcome.backend);
	if (!known.tag || !backend || !gs_keeps_flow(service, backend, outcome.backend, 0))
		return GS_EXPRESS_DECIDE;
	hop = gs_plain_hop(backend, plain->length);
	if (!hop || (is_proof && gs_handshake_sampled(hash)))
		return GS_EXPRESS_DECIDE;
	sent = gs_plain_send(ctx, plain->length, plain->family, plain->ds, backend, hop, hash,
			     &outcome);
	if (sent == -1)
		return GS_EXPRESS_DECIDE;
	if (sent != GS_REASON_NONE)
		return gs_express_fault(service, (__u32)sent, plain->frame_bytes);
	if (is_proof)
		gs_lease_prove(hash, service, outcome.backend);
	return gs_express_end(ctx, &outcome, GS_REASON_tx_flow, plain->frame_bytes);
}

/* From the parsed packet to the action, or GS_EXPRESS_*. */
GS_INLINE int gs_express_plain(struct xdp_md *ctx, const struct gs_plain *plain)
{
	const struct gs_service_cached *cached;
	const struct gs_meta_value *found;
	struct gs_match_words words;
	struct gs_pending *rest;
	__u32 zero = 0, now;
	__u64 hash, entry = 0;
	__u8 watch = 0;
	int action;

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
	if (!gs_is_syn(plain->tcp_flags)) {
		entry = gs_flow_find(hash, found->flow_mask, now, 0, gs_flow_ends(plain->tcp_flags),
				     &watch);
		action = gs_express_known(ctx, plain, cached->value.service, entry,
					  watch && gs_is_first_ack(plain->tcp_flags), hash);
		if (action != GS_EXPRESS_DECIDE)
			return action;
	}
	rest = gs_pending();
	if (!rest)
		return GS_EXPRESS_NO;
	gs_plain_copy(plain, &rest->plain);
	rest->service = cached->value;
	rest->table_hash = hash;
	rest->entry = entry;
	rest->now = now;
	rest->at = cached->active;
	rest->row = cached->row;
	rest->epoch = cached->epoch;
	rest->watch = watch;
	rest->demand = 0;
	rest->picked = 0;
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
