/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 4b, of a flow that the table does not know: location -> plan -> region -> ring. A pure
 * function of (generation, usable words, fill words, packet), but for limits and trials that it
 * takes; user/core/plan.c has the same draw, and straight.h its ordinary case.
 */
#pragma once

#include "flow.h"
#include "limit.h"
#include "locate.h"

/* ---- location -> plan -> region --------------------------------------------------------------*/

/* Entry of `routes` and `demand`. */
GS_INLINE __u32 gs_route_index(const struct gs_generation_value *generation, __u32 row,
			       __u32 location)
{
	return row * generation->locations + (location < generation->locations ? location : 0);
}

/* NULL: the row has none for this location. */
GS_INLINE const struct gs_plan_value *gs_plan_get(__u32 at, __u32 route_index)
{
	void *table = bpf_map_lookup_elem(&routes, &at);
	const struct gs_route_block *route;
	__u32 plan = route_index / GS_BLOCK_U16;

	route = table ? bpf_map_lookup_elem(table, &plan) : NULL;
	if (!route)
		return NULL;
	plan = route->plan[route_index % GS_BLOCK_U16];
	if (plan == 0)
		return NULL;
	table = bpf_map_lookup_elem(&plans, &at);
	return table ? bpf_map_lookup_elem(table, &plan) : NULL;
}

/*
 * 1: new flows with this draw may go to the region. A function of its own for the verifier, which
 * then knows nothing of the result: it would follow all 2^16 sets of usable regions otherwise.
 */
__attribute__((noinline)) int gs_region_takes_new(__u32 at, __u32 regions, __u32 service,
						  __u32 region, __u32 draw)
{
	__u32 pool = service * GS_MAX_REGIONS + region;

	return gs_takes_new(gs_usable_get(&usable_region, region), (__u16)draw) &&
	       gs_takes_new(gs_usable_get(&usable_pool, pool), (__u16)draw) &&
	       gs_pool_get(at, regions, service, region).slots != 0;
}

/* Who asks whether a region is open: the flow, as far as that matters. */
struct gs_ask {
	__u32 at;
	__u32 regions;
	__u32 service;
	__u16 draw; /* for accept: the low bits of the selection hash, no part of ring slots */
	__u16 _pad;
};

GS_INLINE __u32 gs_region_open(const struct gs_ask *ask, __u32 region)
{
	return gs_region_takes_new(ask->at, ask->regions, ask->service, region, ask->draw) & 1;
}

/* The first draw: whose share the slot falls into. 0: nobody's (an empty plan). */
GS_INLINE __u32 gs_plan_first(const struct gs_plan_value *plan, __u16 slot)
{
	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		if (i >= plan->count)
			break;
		if (slot <= plan->share[i])
			return plan->region[i];
	}
	return 0;
}

/* What weighs in a second draw: the plan's own spare, or a half of the regions' words in `fill`. */
enum gs_weigh { GS_WEIGH_PLAN, GS_WEIGH_SPARE, GS_WEIGH_ROOM };

GS_INLINE __u32 gs_plan_weight(const struct gs_plan_value *plan, __u32 i, __u32 weigh)
{
	struct gs_fill_word word;

	if (weigh == GS_WEIGH_PLAN)
		return plan->spare[i];
	word = gs_fill_get(plan->region[i]);
	return weigh == GS_WEIGH_ROOM ? word.room : word.spare;
}

/* Bit i: the plan's i-th region is open. Apart from the draw, and small: both are called with most
 * of the stack in use. */
__attribute__((noinline)) int gs_plan_usable(const struct gs_ask *ask,
					     const struct gs_plan_value *plan)
{
	__u32 usable = 0;

	if (!ask || !plan)
		return 0;
	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		if (i >= plan->count)
			break;
		usable |= gs_region_open(ask, plan->region[i]) << i;
	}
	return (int)usable;
}

/*
 * A second draw over these regions of the plan (gs_plan_usable). 0: there are none, or, but by the
 * plan's own spare, none weighs anything: then it is the first.
 */
__attribute__((noinline)) int gs_plan_draw(const struct gs_plan_value *plan, __u32 usable,
					   __u32 draw, __u32 weigh)
{
	__u32 total = 0, first = 0, point;

	if (!plan)
		return 0;
	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		if (!(usable >> i & 1))
			continue;
		total += gs_plan_weight(plan, i, weigh);
		if (!first)
			first = plan->region[i];
	}
	if (total == 0)
		return weigh == GS_WEIGH_PLAN ? (int)first : 0;
	point = (__u32)((__u64)draw * total >> 32);
	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		__u32 weight;

		if (!(usable >> i & 1))
			continue;
		weight = gs_plan_weight(plan, i, weigh);
		if (point < weight)
			return plan->region[i];
		point -= weight;
	}
	return (int)first; /* words have changed meanwhile */
}

/* Beside the region or the backend: the flow is one of a half-open breaker's trials. */
#define GS_PICK_TRIAL 0x10000u

/*
 * 1: the pool is on trial, and this flow is one of those it takes; a region beyond its limits takes
 * none, so that no trial is spent on a packet that is dropped. The quota is never exceeded,
 * whatever other CPUs and the controller do meanwhile: `left` is only ever taken from by an atomic
 * decrement that tells what was there. Reading it first keeps it from running away below 0.
 */
__attribute__((noinline)) int gs_trial_take(__u32 at, __u32 regions, __u32 service, __u32 region,
					    __u32 draw)
{
	__u32 pool = service * GS_MAX_REGIONS + region;
	struct gs_usable_word word = gs_usable_get(&usable_pool, pool);
	struct gs_trial_value *trial;

	if (word.state != GS_USABLE_TRIAL ||
	    !gs_takes_new(gs_usable_get(&usable_region, region), (__u16)draw) ||
	    gs_pool_get(at, regions, service, region).slots == 0)
		return 0;
	trial = bpf_map_lookup_elem(&trials, &pool);
	if (!trial || *(const volatile __u32 *)&trial->epoch != word.epoch ||
	    *(const volatile __s32 *)&trial->left <= 0 || !gs_limit_region_has(region))
		return 0;
	return __sync_fetch_and_add(&trial->left, -1) > 0;
}

/* In place of the region: nobody has room for the client. */
#define GS_PICK_SHED 0x20000u

/* A client that its region is too full for: where it goes instead; 0: it stays, nobody has room. */
GS_INLINE __u32 gs_pick_away(const struct gs_ask *ask, const struct gs_plan_value *plan, __u32 draw,
			     __u32 home)
{
	__u32 usable = (__u32)gs_plan_usable(ask, plan);

	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++)
		usable &= ~((__u32)(plan->region[i] == home) << i);
	return (__u32)gs_plan_draw(plan, usable, draw, GS_WEIGH_ROOM);
}

/* A client that its region is no longer there for. */
GS_INLINE __u32 gs_pick_spare(const struct gs_turn *turn, const struct gs_ask *ask,
			      const struct gs_plan_value *plan, __u32 draw)
{
	__u32 usable = (__u32)gs_plan_usable(ask, plan), region = 0;

	if (turn->asks & GS_ASK_FILL)
		region = (__u32)gs_plan_draw(plan, usable, draw, GS_WEIGH_SPARE);
	return region ? region : (__u32)gs_plan_draw(plan, usable, draw, GS_WEIGH_PLAN);
}

/*
 * draw: the client's (gs_hash_client). 0: no region of the plan is usable. A region on trial takes
 * flows by the first draw only: what other regions lose must not land on it. And only those the
 * table has room for: the next packet of another one would not find the way back.
 */
GS_INLINE __u32 gs_pick_region(const struct gs_turn *turn, const struct gs_ask *ask,
			       const struct gs_plan_value *plan, __u64 draw)
{
	__u32 region = gs_plan_first(plan, (__u16)draw), other;

	if (region && turn->asks & GS_ASK_FILL) {
		struct gs_fill_word word = gs_fill_get(region);

		if (word.shed && gs_fill_sheds(draw, word.shed, turn->priority))
			return GS_PICK_SHED;
		other = word.away && gs_fill_leaves(draw, word.away)
				? gs_pick_away(ask, plan, (__u32)(draw >> 16), region)
				: 0;
		if (other)
			return other;
	}
	if (region && gs_region_open(ask, region))
		return region;
	if (region && turn->may_try && gs_flow_has_room(turn) &&
	    gs_trial_take(ask->at, ask->regions, ask->service, region, ask->draw))
		return region | GS_PICK_TRIAL;
	return gs_pick_spare(turn, ask, plan, (__u32)(draw >> 16));
}

/* ---- region -> backend -----------------------------------------------------------------------*/

/* A usable backend by up to GS_RING_TRIES draws, else the pool's fallback; 0: none. */
GS_INLINE int gs_pick_backend(const struct gs_ask *ask, __u32 region, __u64 hash)
{
	const struct gs_ring_block *block;
	__u32 at, backend, pool_index;
	struct gs_pool_value pool;
	void *table;

	if (!ask)
		return 0;
	at = ask->at;
	pool_index = ask->service * GS_MAX_REGIONS + region;
	pool = gs_pool_get(ask->at, ask->regions, ask->service, region);
	table = bpf_map_lookup_elem(&rings, &at);

	for (__u32 try = 0; try < GS_RING_TRIES; try++) {
		__u32 slot = pool.base + gs_hash_slot(hash, try, pool.slots);
		__u32 index = slot / GS_BLOCK_U16;

		block = table ? bpf_map_lookup_elem(table, &index) : NULL;
		if (!block)
			break;
		backend = block->backend[slot % GS_BLOCK_U16];
		if (backend && gs_takes_new(gs_usable_get(&usable_backend, backend), ask->draw))
			return (int)backend;
	}
	backend = gs_usable_get(&usable_pool, pool_index).fallback;
	if (backend && gs_usable_get(&usable_backend, backend).state == GS_USABLE_UP)
		return (int)backend;
	return 0;
}

/* What a new flow is decided by besides its location, under the selection seed. */
struct gs_draws {
	__u64 flow;   /* gs_hash_flow of what its service's affinity leaves of it */
	__u64 client; /* gs_hash_client of the same */
};

/* Of a service with an affinity. A function of its own: the verifier would follow the rest of the
 * decision once for every way to cut an address, and most services have none. */
__attribute__((noinline)) int gs_draw_reduced(const struct gs_packet *packet,
					      const struct gs_turn *turn, __u64 seed,
					      struct gs_draws *ret_draws)
{
	struct gs_flow_tuple tuple;

	if (!packet || !turn || !ret_draws)
		return 0;
	tuple = packet->tuple;
	gs_affinity_reduce(&tuple, turn->affinity, turn->affinity4, turn->affinity6);
	ret_draws->flow = gs_hash_flow(&tuple, seed);
	ret_draws->client = gs_hash_client(tuple.src, seed);
	return 0;
}

/* gs_locate, in a function of its own for the stack's sake. */
__attribute__((noinline)) int gs_locate_new(const struct gs_packet *packet, __u32 at)
{
	const struct gs_generation_value *generation = gs_generation(at);

	return packet && generation ? (int)gs_locate(packet, generation, at) : 0;
}

/*
 * A new flow's backend (> 0, with GS_PICK_TRIAL), or minus the reason why there is none. A function
 * of its own, so that the verifier goes through it once and not once for every way a packet can be
 * parsed.
 */
__attribute__((noinline)) int gs_pick_new(const struct gs_packet *packet, struct gs_turn *turn)
{
	const struct gs_generation_value *generation;
	const struct gs_plan_value *plan;
	struct gs_draws draws = {0};
	struct gs_ask ask;
	__u32 region, backend, row;
	int limited;

	if (!packet || !turn)
		return -GS_REASON_drop_no_plan;
	generation = gs_generation(turn->at);
	if (!generation)
		return -GS_REASON_drop_no_plan;
	if (turn->affinity == GS_AFFINITY_FLOW) {
		draws.flow = gs_hash_flow(&packet->tuple, generation->seed);
		draws.client = gs_hash_client(packet->tuple.src, generation->seed);
	} else {
		gs_draw_reduced(packet, turn, generation->seed, &draws);
	}
	row = gs_pool_get(turn->at, generation->regions, turn->service, 0).base;
	/* Where the client is, not its prefix: geography and overrides may cut a prefix in two. */
	turn->demand = gs_route_index(generation, row, (__u32)gs_locate_new(packet, turn->at));
	plan = gs_plan_get(turn->at, turn->demand);
	if (!plan)
		return -GS_REASON_drop_no_plan;
	ask.at = turn->at;
	ask.regions = generation->regions;
	ask.service = turn->service;
	ask.draw = (__u16)draws.flow;
	ask._pad = 0;
	region = gs_pick_region(turn, &ask, plan, draws.client);
	if (!region)
		return -GS_REASON_drop_no_region;
	if (region == GS_PICK_SHED)
		return -GS_REASON_drop_shed;
	if (turn->asks & GS_ASK_REGION_LIMITS) {
		limited = gs_limit_region(region & ~GS_PICK_TRIAL, turn->is_new);
		if (limited)
			return -limited;
	}
	backend = (__u32)gs_pick_backend(&ask, region & ~GS_PICK_TRIAL, draws.flow);
	if (!backend)
		return -GS_REASON_drop_no_backend;
	return (int)(backend | (region & GS_PICK_TRIAL));
}
