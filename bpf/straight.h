/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 4 of most new flows of the express lane, in one go: the region that the client's draw falls
 * to is open and keeps its own, and the first backend of its ring is up. Then this is what gs_pick
 * and gs_pick_new decide and remember (a change there is a change here; tests/bpf/test_express.c
 * compares them). Whatever is different is left to them, and nothing was noted by then.
 *
 * A client that has lately begun a flow here is likely to begin more. What does not depend on the
 * flow, this CPU keeps in `client_cache`.
 */
#pragma once

#include "handshake.h"
#include "martian.h"
#include "pick.h"
#include "plain.h"

/* May it be decided so? Limits of new flows and affinities are gs_pick's, and what UDP of the
 * sample tells is gs_watch_flow's. */
GS_INLINE int gs_straight_may(const struct gs_pending *flow)
{
	if (flow->service.client_flows | flow->service.flows | flow->service.affinity)
		return 0;
	if (flow->plain.protocol == IPPROTO_UDP && gs_handshake_sampled(flow->table_hash))
		return 0;
	return !flow->entry;
}

GS_INLINE __u32 gs_straight_location(const struct gs_pending *flow,
				     const struct gs_generation_value *generation)
{
	const __be32 *src = (const __be32 *)flow->plain.src;

	if (flow->plain.family == 4)
		return gs_locate_ip4(src[3], generation, flow->at);
	return gs_locate_ip6(src, generation, flow->at);
}

/* 1: the region keeps its own clients, and takes new flows with this draw. */
GS_INLINE int gs_straight_opens(const struct gs_pending *flow, __u32 asks, __u32 region, __u16 draw)
{
	__u32 pool = flow->service.service * GS_MAX_REGIONS + region;
	struct gs_fill_word fill_word;

	if (asks & GS_ASK_FILL) {
		fill_word = gs_fill_get(region);
		if (fill_word.shed | fill_word.away)
			return 0;
	}
	return gs_takes_new(gs_usable_get(&usable_region, region), draw) &&
	       gs_takes_new(gs_usable_get(&usable_pool, pool), draw);
}

/* The first backend of the ring for this hash; 0: that is not all there is to it. */
GS_INLINE __u32 gs_straight_backend(__u32 at, struct gs_pool_value pool, __u64 hash)
{
	__u32 slot = pool.base + gs_hash_slot(hash, 0, pool.slots);
	const struct gs_ring_block *block;
	__u32 index = slot / GS_BLOCK_U16, backend;
	void *table;

	table = pool.slots ? bpf_map_lookup_elem(&rings, &at) : NULL;
	block = table ? bpf_map_lookup_elem(table, &index) : NULL;
	if (!block)
		return 0;
	backend = block->backend[slot % GS_BLOCK_U16];
	return backend && gs_takes_new(gs_usable_get(&usable_backend, backend), (__u16)hash)
		       ? backend
		       : 0;
}

GS_INLINE struct gs_client_cached *gs_straight_place(const struct gs_pending *flow)
{
	__u64 h = (flow->plain.src[0] + flow->service.service) * 0x9e3779b97f4a7c15ULL ^
		  flow->plain.src[1];
	__u32 index = (__u32)(h * 0xd6e8feb86659fd93ULL >> 40) % GS_CLIENT_CACHE;

	return bpf_map_lookup_elem(&client_cache, &index);
}

/* Whereto the client's draw falls. 0; -1: the policy has no plan for its location. */
GS_INLINE int gs_straight_fill(const struct gs_pending *flow,
			       const struct gs_generation_value *generation, __u64 stamp,
			       struct gs_client_cached *client)
{
	const struct gs_plan_value *plan;
	__u64 draw;

	client->stamp = 0;
	client->route =
		gs_route_index(generation, flow->row, gs_straight_location(flow, generation));
	draw = gs_hash_client((const __be32 *)flow->plain.src, generation->seed);
	plan = gs_plan_get(flow->at, client->route);
	if (!plan)
		return -1;
	client->region = gs_plan_first(plan, (__u16)draw);
	client->pool =
		gs_pool_get(flow->at, generation->regions, flow->service.service, client->region);
	client->src[0] = flow->plain.src[0];
	client->src[1] = flow->plain.src[1];
	client->stamp = stamp;
	return 0;
}

/* The client's line of the cache, filled in; NULL: gs_pick_new says why there is none. */
GS_INLINE const struct gs_client_cached *
gs_straight_client(const struct gs_pending *flow, const struct gs_generation_value *generation)
{
	struct gs_client_cached *client = gs_straight_place(flow);
	__u64 stamp = (__u64)flow->epoch << 32 | flow->at << 16 | flow->service.service;

	_Static_assert(GS_MAX_SERVICES <= 1u << 16, "stamp");
	if (!client)
		return NULL;
	if (((client->src[0] ^ flow->plain.src[0]) | (client->src[1] ^ flow->plain.src[1]) |
	     (client->stamp ^ stamp)) &&
	    gs_straight_fill(flow, generation, stamp, client))
		return NULL;
	return client->region ? client : NULL;
}

/* The backend; 0: that is not all there is to it. *ret_route: gs_route_index. */
GS_INLINE __u32 gs_straight_decide(const struct gs_pending *flow,
				   const struct gs_generation_value *generation, __u32 *ret_route)
{
	const struct gs_client_cached *client = gs_straight_client(flow, generation);
	__u64 ports =
		gs_hash_ports(flow->plain.src_port, flow->plain.dst_port, flow->plain.protocol);
	__u64 hash;

	*ret_route = 0;
	if (!client)
		return 0;
	if (flow->plain.family == 4)
		hash = gs_hash_flow4((__be32)(flow->plain.src[1] >> 32),
				     (__be32)(flow->plain.dst[1] >> 32), ports, generation->seed);
	else
		hash = gs_hash_flow6(flow->plain.src, flow->plain.dst, ports, generation->seed);
	*ret_route = client->route;
	if (!gs_straight_opens(flow, generation->asks, client->region, (__u16)hash))
		return 0;
	return gs_straight_backend(flow->at, client->pool, hash);
}

GS_INLINE int gs_straight_is_martian(const struct gs_pending *flow)
{
	return gs_is_martian_to((const __be32 *)flow->plain.src, (const __be32 *)flow->plain.dst,
				flow->plain.family);
}

/* As gs_watch_flow. */
GS_INLINE void gs_straight_watch(const struct gs_pending *flow, __u32 watch, __u32 backend)
{
	if (watch & GS_WATCH_NEW)
		gs_demand_add(flow->at, flow->demand);
	if (watch & GS_WATCH_SYN)
		gs_handshake_syn(flow->table_hash, backend, (watch & GS_WATCH_REPEATED) != 0);
}

/*
 * The action, the packet being counted. GS_EXPRESS_DECIDE: it is for gs_pick, and nothing was
 * noted; or, with flow->picked, for gs_forward. A repeated SYN goes where the first one went, or on
 * to gs_pick, too.
 */
__attribute__((noinline)) int gs_straight(struct xdp_md *ctx)
{
	struct gs_pending *flow = gs_pending();
	struct gs_outcome outcome = {.service = 0};
	const struct gs_generation_value *generation;
	const struct gs_backend_value *backend;
	const struct gs_meta_value *found;
	const struct gs_hop_value *hop;
	union gs_flow_bits known;
	__u32 zero = 0, watch;
	int sent = -1, entered;
	enum gs_reason reason;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found || !flow)
		return GS_EXPRESS_DECIDE;
	generation = gs_generation(flow->at);
	if (!generation || !gs_straight_may(flow) || gs_straight_is_martian(flow))
		return GS_EXPRESS_DECIDE;
	outcome.service = flow->service.service;
	gs_flow_touch(flow->table_hash, found->flow_mask);
	outcome.backend = gs_straight_decide(flow, generation, &flow->demand);
	backend = bpf_map_lookup_elem(&backends, &outcome.backend);
	if (!outcome.backend || !backend)
		return GS_EXPRESS_DECIDE;
	entered =
		gs_flow_enter(flow->table_hash, found->flow_mask, flow->now,
			      (__u16)outcome.backend | gs_flow_ends(flow->plain.tcp_flags), &known);
	if (entered == GS_FLOW_OTHER)
		return GS_EXPRESS_DECIDE;
	watch = gs_watch_new(known.as, gs_is_syn(flow->plain.tcp_flags),
			     entered == GS_FLOW_ENTERED);
	reason = entered == GS_FLOW_ENTERED ? GS_REASON_tx_new : GS_REASON_tx_untracked;
	hop = gs_plain_hop(backend, flow->plain.length);
	if (hop)
		sent = gs_plain_send(ctx, flow->plain.length, flow->plain.family, flow->plain.ds,
				     backend, hop, flow->table_hash, &outcome);
	if (sent == -1) {
		flow->watch = (__u8)watch;
		flow->picked = gs_picked(reason, outcome.backend);
		return GS_EXPRESS_DECIDE;
	}
	if (sent != GS_REASON_NONE)
		return gs_express_fault(flow->service.service, (__u32)sent,
					flow->plain.frame_bytes);
	gs_straight_watch(flow, watch, outcome.backend);
	return gs_express_end(ctx, &outcome, reason, flow->plain.frame_bytes);
}
