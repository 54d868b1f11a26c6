// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet path: parse (fragment) -> match -> limit -> pick (locate, handshake) -> forward
 * (answer)
 * -> count (sample). Each step is one header and returns a reason; only gs_action knows XDP
 * actions. README.md follows one packet through.
 */
#include "maps/gs_maps.bpf.h"

#include "answer.h"
#include "count.h"
#include "express.h"
#include "forward.h"
#include "fragment.h"
#include "handshake.h"
#include "ingress.h"
#include "limit.h"
#include "locate.h"
#include "martian.h"
#include "match.h"
#include "nat.h"
#include "neighbour.h"
#include "parse.h"
#include "pick.h"
#include "sample.h"
#include "stale.h"
#include "tunnel.h"

/* packet: zeroed. A function of its own: the verifier goes through what follows once, and not once
 * for every way a packet can be parsed. */
__attribute__((noinline)) int gs_take_apart(struct xdp_md *ctx, struct gs_packet *packet)
{
	if (!packet)
		return GS_REASON_pass_truncated;
	return gs_parse((const void *)(long)ctx->data, (const void *)(long)ctx->data_end, packet);
}

/* Of a packet that is for a service: where to, and why. 0 in *ret_backend: nowhere. */
GS_INLINE enum gs_reason gs_choose(struct gs_turn *turn, const struct gs_packet *packet,
				   const struct gs_service_value *service, __u32 *ret_backend)
{
	enum gs_reason reason;
	__u64 entry;
	int quoted;

	if (packet->shape == GS_SHAPE_QUOTES) {
		quoted = gs_pick_quoted(packet, turn);
		if (quoted == 0)
			quoted = gs_pick_new(packet, turn);
		if (quoted <= 0)
			return (enum gs_reason) - quoted;
		*ret_backend = (__u32)quoted & ~GS_PICK_TRIAL;
		return GS_REASON_tx_icmp;
	}
	entry = gs_flow_find(turn->table_hash, turn->flow_mask, turn->now,
			     gs_is_syn(packet->tcp_flags), gs_flow_ends(packet->tcp_flags),
			     &turn->watch);
	quoted = gs_pick(turn, packet, service, entry);
	reason = (enum gs_reason)(quoted & GS_PICKED_REASON);
	*ret_backend = (__u32)quoted >> GS_PICKED_BACKEND;
	if (packet->shape == GS_SHAPE_FIRST && *ret_backend)
		gs_fragment_remember(packet);
	if (packet->shape == GS_SHAPE_LATER && reason == GS_REASON_tx_flow)
		return GS_REASON_tx_fragment;
	return reason;
}

/* What the parser has found against the packet stands, if it concerns a service of ours. */
GS_INLINE enum gs_reason gs_refuse(const struct gs_packet *packet, enum gs_reason fault,
				   struct gs_outcome *outcome)
{
	__u32 judged = (__u32)gs_match_fault(packet, fault);

	outcome->service = judged >> GS_FAULT_SERVICE;
	return judged & GS_FAULT_REASON;
}

/* fault: what to count if it is for nobody here. */
GS_INLINE enum gs_reason gs_answer_echo(struct xdp_md *ctx, const struct gs_packet *packet,
					enum gs_reason fault)
{
	const struct gs_service_value *address;
	enum gs_reason reason;

	if (!gs_match_concerns(packet))
		return fault;
	if (gs_is_martian(packet))
		return GS_REASON_drop_martian;
	address = gs_match_find(packet, 0, 0, 1);
	if (address && address->stale) {
		reason = (enum gs_reason)gs_stale(address->stale, address->stale_after_s);
		if (reason != GS_REASON_NONE)
			return reason;
	}
	return (enum gs_reason)gs_echo(ctx, packet);
}

/* Of what is for nobody here. */
GS_INLINE enum gs_reason gs_pass_reason(const struct gs_packet *packet)
{
	if (packet->shape == GS_SHAPE_QUOTES)
		return GS_REASON_pass_protocol;
	return packet->shape != GS_SHAPE_WHOLE ? GS_REASON_pass_fragment
					       : GS_REASON_pass_not_service;
}

/* Of what is for no service: a reply to NAT, or for nobody here. */
GS_INLINE enum gs_reason gs_return(struct xdp_md *ctx, const struct gs_packet *packet,
				   struct gs_outcome *outcome)
{
	int reason = gs_nat_back(ctx, packet, &outcome->ifindex);

	if (reason < 0)
		return gs_pass_reason(packet);
	return reason == GS_REASON_NONE ? GS_REASON_tx_nat_reply : (enum gs_reason)reason;
}

GS_INLINE enum gs_reason gs_process(struct xdp_md *ctx, struct gs_packet *packet,
				    struct gs_outcome *outcome)
{
	const struct gs_service_value *service;
	struct gs_turn turn = {0};
	enum gs_reason reason, fault;
	__u32 backend = 0;
	int limited;

	fault = (enum gs_reason)gs_take_apart(ctx, packet);
	if (packet->shape == GS_SHAPE_ECHO)
		return gs_answer_echo(ctx, packet, fault);
	if (gs_neighbour_may_ask(packet, fault))
		return (enum gs_reason)gs_neighbour(ctx, fault);
	if (fault != GS_REASON_NONE && packet->shape != GS_SHAPE_QUOTES &&
	    !(packet->shape == GS_SHAPE_LATER && gs_fragment_find(packet)))
		return gs_refuse(packet, fault, outcome);
	if (packet->shape == GS_SHAPE_QUOTES && packet->tuple.protocol != IPPROTO_TCP &&
	    gs_tunnel_hear(ctx, packet))
		return GS_REASON_pass_tunnel_mtu;
	service = gs_match(packet);
	if (!service)
		return gs_return(ctx, packet, outcome);
	turn.service = service->service;
	if (gs_is_martian(packet)) {
		outcome->service = turn.service;
		return GS_REASON_drop_martian;
	}
	turn.affinity = service->affinity;
	turn.affinity4 = service->affinity4;
	turn.affinity6 = service->affinity6;
	turn.priority = service->priority;
	if (service->stale) {
		reason = (enum gs_reason)gs_stale(service->stale, service->stale_after_s);
		outcome->service = turn.service;
		/* The kernel gets all of a datagram, or it gets nothing of use. */
		if (reason == GS_REASON_pass_stale && packet->shape == GS_SHAPE_FIRST)
			gs_fragment_remember(packet);
		if (reason != GS_REASON_NONE)
			return reason;
	}
	if (gs_turn_init(&turn, packet))
		return GS_REASON_pass_no_meta;
	outcome->service = turn.service;
	if (gs_limit_concerns(service, turn.asks)) {
		limited = gs_limit_packet(packet, service, turn.at, turn.asks);
		turn.is_allowed = limited == GS_LIMIT_ALLOWED;
		if (limited && !turn.is_allowed)
			return (enum gs_reason)limited;
	}
	reason = gs_choose(&turn, packet, service, &backend);
	if (!backend)
		return reason;
	fault = (enum gs_reason)gs_forward(ctx, packet, backend, turn.table_hash, outcome);
	if (turn.watch && (fault == GS_REASON_NONE || fault == GS_REASON_tx_fib))
		gs_watch_flow(packet, &turn, backend);
	return fault == GS_REASON_NONE ? reason : fault;
}

/* Whatever there is to see: the whole way of a packet, by a function of its own for the stack. */
__attribute__((noinline)) int gs_whole(struct xdp_md *ctx)
{
	struct gs_packet packet = {0};
	struct gs_outcome outcome = {0};
	enum gs_reason reason = gs_process(ctx, &packet, &outcome);

	gs_count(&outcome, reason, packet.frame_bytes);
	if (gs_is_monitored())
		gs_sample(&packet, &outcome, reason, ctx->ingress_ifindex);
	return gs_action(ctx, reason, outcome.ifindex);
}

SEC("xdp")
int gs_xdp(struct xdp_md *ctx)
{
	int action = gs_express(ctx);

	if (action == GS_EXPRESS_DECIDE)
		action = gs_straight(ctx);
	if (action == GS_EXPRESS_DECIDE)
		action = gs_express_decide(ctx);
	return action >= 0 ? action : gs_whole(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
