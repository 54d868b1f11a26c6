/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 2a: has the controller been away for too long for this service? Asked only for services
 * whose policy is not KEEP.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

#define GS_NS_PER_S 1000000000u

/*
 * policy, after_s: of a service or of an address marker. NONE, or the reason that ends the packet.
 * The coarse clock is CLOCK_MONOTONIC as of the last tick: it may be behind the heartbeat.
 */
__attribute__((noinline)) int gs_stale(__u32 policy, __u32 after_s)
{
	__u64 now = bpf_ktime_get_coarse_ns(), beat;
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return GS_REASON_NONE;
	beat = *(const volatile __u64 *)&found->heartbeat_ns;
	/* Without a first heartbeat nobody is away: the maps are new. */
	if (!beat || now <= beat || now - beat <= (__u64)after_s * GS_NS_PER_S)
		return GS_REASON_NONE;
	if (policy == GS_STALE_PASS)
		return GS_REASON_pass_stale;
	return policy == GS_STALE_DROP ? GS_REASON_drop_stale : GS_REASON_NONE;
}
