// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet path: parse -> match -> pick (locate) -> forward -> count. Each step is one header and
 * returns a reason; only gs_action knows XDP actions. README.md follows one packet through.
 */
#include "maps/gs_maps.bpf.h"

#include "count.h"
#include "forward.h"
#include "locate.h"
#include "match.h"
#include "parse.h"
#include "pick.h"

_Static_assert(GS_REASON__COUNT <= 64, "gs_action: one bit a reason");

#define GS_IS_PASS(name, verdict, text) | (__u64)(XDP_##verdict == XDP_PASS) << GS_REASON_##name
#define GS_IS_TX(name, verdict, text) | (__u64)(XDP_##verdict == XDP_TX) << GS_REASON_##name

GS_INLINE int gs_action(const struct xdp_md *ctx, enum gs_reason reason, __u32 ifindex)
{
	if ((0 GS_REASONS(GS_IS_PASS)) >> reason & 1)
		return XDP_PASS;
	if (!((0 GS_REASONS(GS_IS_TX)) >> reason & 1))
		return XDP_DROP;
	if (ifindex && ifindex != ctx->ingress_ifindex)
		return bpf_redirect(ifindex, 0);
	return XDP_TX;
}

GS_INLINE enum gs_reason gs_process(struct xdp_md *ctx, struct gs_packet *packet,
				    struct gs_outcome *outcome)
{
	struct gs_turn turn = {0};
	enum gs_reason reason, fault;
	__u32 backend = 0, judged;

	fault = gs_parse((const void *)(long)ctx->data, (const void *)(long)ctx->data_end, packet);
	if (fault != GS_REASON_NONE) {
		judged = (__u32)gs_match_fault(packet, fault);
		outcome->service = judged >> GS_FAULT_SERVICE;
		return judged & GS_FAULT_REASON;
	}
	turn.service = gs_match(packet);
	if (!turn.service)
		return GS_REASON_pass_not_service;
	if (gs_turn_init(&turn, packet))
		return GS_REASON_pass_no_meta;
	outcome->service = turn.service;
	reason = gs_pick(&turn, packet, &backend);
	if (!backend)
		return reason;
	fault = gs_forward(ctx, packet, backend, outcome);
	return fault == GS_REASON_NONE ? reason : fault;
}

SEC("xdp")
int gs_xdp(struct xdp_md *ctx)
{
	struct gs_packet packet = {0};
	struct gs_outcome outcome = {0};
	enum gs_reason reason = gs_process(ctx, &packet, &outcome);

	gs_count(&outcome, reason, packet.frame_bytes);
	return gs_action(ctx, reason, outcome.ifindex);
}

char _license[] SEC("license") = "Dual BSD/GPL";
