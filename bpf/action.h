/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What XDP is told at last. Nothing else of the packet path knows of its actions. */
#pragma once

#include "ingress.h"
#include "parse.h"

#include "maps/gs_maps.bpf.h"

_Static_assert(GS_REASON__COUNT <= 64, "gs_action: one bit a reason");

#define GS_IS_PASS(name, verdict, text) | (__u64)(XDP_##verdict == XDP_PASS) << GS_REASON_##name
#define GS_IS_TX(name, verdict, text) | (__u64)(XDP_##verdict == XDP_TX) << GS_REASON_##name

GS_INLINE int gs_action(const struct xdp_md *ctx, enum gs_reason reason, __u32 ifindex)
{
	if ((0 GS_REASONS(GS_IS_PASS)) >> reason & 1)
		return XDP_PASS;
	if (!((0 GS_REASONS(GS_IS_TX)) >> reason & 1))
		return XDP_DROP;
	if (ifindex && ifindex != ctx->ingress_ifindex && ifindex != gs_ingress(ctx))
		return bpf_redirect(ifindex, 0);
	return XDP_TX;
}
