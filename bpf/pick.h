/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 4: flow -> backend. The flow table first; for what it does not know, or no longer may keep,
 * location -> plan -> region -> ring. Everything but the flow table is a pure function of
 * (generation, usable words, packet), and user/core/plan.c has the same draw.
 */
#pragma once

#include "limit.h"
#include "locate.h"

#define GS_SYN_TRIES 8u /* units of 2^30 ns: a SYN repeated within it belongs to its trial */

/* Of a flow, what is worth noting beyond its packet (handshake.h). */
#define GS_WATCH_NEW 1u
#define GS_WATCH_SYN 2u
#define GS_WATCH_REPEATED 4u /* the SYN, which no ACK has answered yet */
#define GS_WATCH_PROVEN 8u   /* by this packet */

/* What is decided once for a packet; numbers only, so that it may be handed to a function. */
struct gs_turn {
	__u64 table_hash; /* of the flow */
	__u32 at;	  /* slot of the generation in force: read once, so that two never mix */
	__u32 service;
	__u32 flow_mask;
	__u32 now;    /* ktime in units of 2^30 ns, 15 bits */
	__u32 demand; /* policy * locations + location, once the flow was picked anew */
	/* small, because the stack is: 512 bytes for a packet's whole way */
	__u8 may_try;	 /* 1: begins a connection, and may be a half-open breaker's trial */
	__u8 asks;	 /* the generation's */
	__u8 is_allowed; /* 1: by an access rule, so under no limit of clients */
	__u8 is_new;	 /* 1: of a flow that counts as new for limits */
	__u8 watch;	 /* GS_WATCH_* */
	__u8 affinity;	 /* enum gs_affinity, and its bits: of the service */
	__u8 affinity4;
	__u8 affinity6;
};

/* NULL: no such slot. */
GS_INLINE const struct gs_generation_value *gs_generation(__u32 at)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	return found && at < GS_GENERATIONS ? &found->generation[at] : NULL;
}

/* ---- usable words ----------------------------------------------------------------------------*/

union gs_usable_bits {
	__u64 word;
	struct gs_usable_word as;
};

/* All of it in one load. */
GS_INLINE struct gs_usable_word gs_usable_get(void *map, __u32 index)
{
	union gs_usable_bits bits = {.word = 0};
	const volatile __u64 *word = bpf_map_lookup_elem(map, &index);

	if (word)
		bits.word = *word;
	return bits.as;
}

GS_INLINE int gs_takes_new(struct gs_usable_word word, __u16 draw)
{
	return word.state == GS_USABLE_UP && draw <= word.accept;
}

/* ---- flow table ------------------------------------------------------------------------------*/

union gs_flow_bits {
	__u64 word;
	struct gs_flow_entry as;
};

GS_INLINE __u32 gs_flow_tag(__u64 hash)
{
	__u32 tag = (__u32)(hash >> 32);

	return tag ? tag : 1;
}

GS_INLINE volatile __u64 *gs_flow_bucket(const struct gs_turn *turn)
{
	__u32 index = (__u32)turn->table_hash & turn->flow_mask;

	return bpf_map_lookup_elem(&flows, &index);
}

/* How long ago, in units of 2^30 ns. The little that is in the future is now. */
GS_INLINE __u32 gs_flow_age(__u32 now, __u16 seen)
{
	__u32 age = (now - seen) & GS_SEEN_TIME;

	return age > GS_SEEN_TIME - GS_SEEN_AHEAD ? 0 : age;
}

/* Of the packet: GS_FLOW_CLOSED if it ends its connection, else 0. Without a branch, which would
 * double the verifier's paths. */
GS_INLINE __u16 gs_flow_ends(__u8 tcp_flags)
{
	_Static_assert(GS_TCP_FIN == 1 && GS_TCP_RST == 4 && GS_FLOW_CLOSED == 1u << 15, "bits");
	return (__u16)(((tcp_flags | tcp_flags >> 2) & 1u) << 15);
}

/* May a SYN belong to the connection of this entry? One that was answered, or was just tried. */
GS_INLINE int gs_flow_awaits(struct gs_flow_entry entry, __u32 now)
{
	__u32 age = gs_flow_age(now, entry.seen);

	return !(entry.backend & GS_FLOW_CLOSED) &&
	       age <= (entry.seen & GS_FLOW_PROVEN ? GS_SYN_KEEPS : GS_SYN_TRIES);
}

/*
 * The flow's entry as it is, after noting that it was seen, and whether it `ends`; an empty one
 * (backend 0) if there is none or the packet starts a connection anew. Returns values, not the
 * place: the verifier would follow the rest of the program once for each way.
 */
GS_INLINE struct gs_flow_entry gs_flow_find(struct gs_turn *turn, int is_syn, __u16 ends)
{
	const union gs_flow_bits none = {.word = 0};
	volatile __u64 *bucket = gs_flow_bucket(turn);
	const __u32 tag = gs_flow_tag(turn->table_hash);
	union gs_flow_bits entry, touched;

	if (!bucket)
		return none.as;
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		if (entry.as.tag != tag)
			continue;
		if (is_syn)
			return gs_flow_awaits(entry.as, turn->now) ? entry.as : none.as;
		if (!(entry.as.seen & GS_FLOW_PROVEN))
			turn->watch = GS_WATCH_PROVEN;
		touched = entry;
		touched.as.backend |= ends;
		touched.as.seen = (__u16)(turn->now | GS_FLOW_PROVEN);
		if (touched.word != entry.word)
			bucket[way] = touched.word;
		return touched.as;
	}
	return none.as;
}

/* The flow's entry as it is; asking leaves no trace. An empty one: there is none. */
GS_INLINE struct gs_flow_entry gs_flow_peek(const struct gs_turn *turn)
{
	union gs_flow_bits entry = {.word = 0};
	volatile __u64 *bucket = gs_flow_bucket(turn);
	const __u32 tag = gs_flow_tag(turn->table_hash);

	if (!bucket)
		return entry.as;
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		if (entry.as.tag == tag)
			return entry.as;
	}
	entry.word = 0;
	return entry.as;
}

/* How gladly an entry is given up: the higher the class, and in a class the longer not seen. */
enum gs_flow_class {
	GS_FLOW_IN_USE, /* proven, seen within 60 s: never */
	GS_FLOW_QUIET,	/* proven, not seen for 60 s */
	GS_FLOW_UNPROVEN,
	GS_FLOW_OVER, /* closed */
	GS_FLOW_ABANDONED,
	GS_FLOW_EMPTY,
	GS_FLOW_OWN, /* the flow's own entry */
};

/* Class and age; 0: in use. */
GS_INLINE __u32 gs_flow_worth(struct gs_flow_entry entry, __u32 tag, __u32 now)
{
	__u32 age = gs_flow_age(now, entry.seen);

	if (entry.tag == tag)
		return GS_FLOW_OWN << 15;
	if (entry.tag == 0)
		return GS_FLOW_EMPTY << 15;
	if (age > GS_FLOW_IDLE)
		return GS_FLOW_ABANDONED << 15 | age;
	if (entry.backend & GS_FLOW_CLOSED)
		return GS_FLOW_OVER << 15 | age;
	if (!(entry.seen & GS_FLOW_PROVEN))
		return GS_FLOW_UNPROVEN << 15 | age;
	return age > GS_SYN_KEEPS ? GS_FLOW_QUIET << 15 | age : 0;
}

/* 1: gs_flow_remember would find a place for it. */
__attribute__((noinline)) int gs_flow_has_room(const struct gs_turn *turn)
{
	volatile __u64 *bucket;
	union gs_flow_bits entry;
	__u32 has_room = 0;

	if (!turn)
		return 0;
	bucket = gs_flow_bucket(turn);
	if (!bucket)
		return 0;
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		has_room |= gs_flow_worth(entry.as, gs_flow_tag(turn->table_hash), turn->now) != 0;
	}
	return (int)has_room;
}

/* Writes the flow's entry, flags included; 0: its bucket holds only flows in use. */
GS_INLINE int gs_flow_remember(const struct gs_turn *turn, __u16 backend, __u32 proven)
{
	volatile __u64 *bucket = gs_flow_bucket(turn);
	const __u32 tag = gs_flow_tag(turn->table_hash);
	union gs_flow_bits entry;
	__u32 best = 0;

	if (!bucket)
		return 0;
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		__u32 worth;

		entry.word = bucket[way];
		worth = gs_flow_worth(entry.as, tag, turn->now);
		if (worth && best < (worth << 3 | way))
			best = worth << 3 | way;
	}
	if (!best)
		return 0;
	entry.as.tag = tag;
	entry.as.backend = backend;
	entry.as.seen = (__u16)(turn->now | proven);
	bucket += best % GS_FLOW_WAYS;
	if (*bucket != entry.word)
		*bucket = entry.word;
	return 1;
}

/*
 * May a known flow stay with its backend? Drained ones keep what they have. A SYN that repeats one
 * nobody has answered yet is decided anew, but on trial: there the quota it would ask for is gone
 * by then, and its handshake would be torn in two.
 */
GS_INLINE int gs_keeps_flow(const struct gs_turn *turn, const struct gs_backend_value *backend,
			    __u32 id, int is_repeated_syn)
{
	__u32 pool = turn->service * GS_MAX_REGIONS + backend->region;
	__u16 state = gs_usable_get(&usable_pool, pool).state;

	return backend->service == turn->service &&
	       gs_usable_get(&usable_backend, id).state != GS_USABLE_DOWN &&
	       (is_repeated_syn ? state == GS_USABLE_TRIAL : state != GS_USABLE_DOWN) &&
	       gs_usable_get(&usable_region, backend->region).state != GS_USABLE_DOWN;
}

/* ---- location -> plan -> region --------------------------------------------------------------*/

GS_INLINE struct gs_pool_value gs_pool_get(__u32 at, __u32 regions, __u32 service, __u32 region)
{
	__u32 index = service * regions + region;
	const struct gs_pool_value *found = NULL;
	struct gs_pool_value none = {0};
	void *table = bpf_map_lookup_elem(&pools, &at);

	if (table && region < regions)
		found = bpf_map_lookup_elem(table, &index);
	return found ? *found : none;
}

/* NULL: the service's policy has none for this location. */
GS_INLINE const struct gs_plan_value *
gs_plan_get(struct gs_turn *turn, const struct gs_generation_value *generation, __u32 location)
{
	const struct gs_route_block *route;
	__u32 at = turn->at, index, plan;
	struct gs_pool_value row;
	void *table;

	if (location >= generation->locations)
		location = 0;
	row = gs_pool_get(at, generation->regions, turn->service, 0);
	index = row.base * generation->locations + location;
	turn->demand = row.slots * generation->locations + location;
	table = bpf_map_lookup_elem(&routes, &at);
	plan = index / GS_BLOCK_U16;
	route = table ? bpf_map_lookup_elem(table, &plan) : NULL;
	if (!route)
		return NULL;
	plan = route->plan[index % GS_BLOCK_U16];
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
	__u16 may_try;
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

/* The second draw, over the spare weights of the usable; 0: none is usable. */
GS_INLINE __u32 gs_plan_spare(const struct gs_ask *ask, const struct gs_plan_value *plan,
			      __u32 draw)
{
	__u32 usable = 0, total = 0, first = 0, point;

	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		__u32 open;

		if (i >= plan->count)
			break;
		open = gs_region_open(ask, plan->region[i]);
		usable |= open << i;
		total += plan->spare[i] & -open;
		if (open && !first)
			first = plan->region[i];
	}
	if (total == 0)
		return first;
	point = (__u32)((__u64)draw * total >> 32);
	for (__u32 i = 0; i < GS_PLAN_REGIONS; i++) {
		__u32 weight = plan->spare[i] & -(usable >> i & 1);

		if (point < weight)
			return plan->region[i];
		point -= weight;
	}
	return first;
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

/* draw: the client's (gs_hash_client). 0: no region of the plan is usable. A region on trial takes
 * flows by the first draw only: what other regions lose must not land on it. */
GS_INLINE __u32 gs_pick_region(const struct gs_ask *ask, const struct gs_plan_value *plan,
			       __u64 draw)
{
	__u32 region = gs_plan_first(plan, (__u16)draw);

	if (region && gs_region_open(ask, region))
		return region;
	if (region && ask->may_try &&
	    gs_trial_take(ask->at, ask->regions, ask->service, region, ask->draw))
		return region | GS_PICK_TRIAL;
	return gs_plan_spare(ask, plan, (__u32)(draw >> 16));
}

/* ---- region -> backend -----------------------------------------------------------------------*/

/* A usable backend by up to GS_RING_TRIES draws, else the pool's fallback; 0: none. */
GS_INLINE __u32 gs_pick_backend(const struct gs_ask *ask, __u32 region, __u64 hash)
{
	struct gs_pool_value pool = gs_pool_get(ask->at, ask->regions, ask->service, region);
	__u32 pool_index = ask->service * GS_MAX_REGIONS + region;
	const struct gs_ring_block *block;
	__u32 at = ask->at, backend;
	void *table = bpf_map_lookup_elem(&rings, &at);

	for (__u32 try = 0; try < GS_RING_TRIES; try++) {
		__u32 slot = pool.base + gs_hash_slot(hash, try, pool.slots);
		__u32 index = slot / GS_BLOCK_U16;

		block = table ? bpf_map_lookup_elem(table, &index) : NULL;
		if (!block)
			break;
		backend = block->backend[slot % GS_BLOCK_U16];
		if (backend && gs_takes_new(gs_usable_get(&usable_backend, backend), ask->draw))
			return backend;
	}
	backend = gs_usable_get(&usable_pool, pool_index).fallback;
	if (backend && gs_usable_get(&usable_backend, backend).state == GS_USABLE_UP)
		return backend;
	return 0;
}

/* gs_affinity_reduce in a function of its own: the verifier would follow the rest of the decision
 * once for every way to cut an address. */
__attribute__((noinline)) int gs_reduce(struct gs_flow_tuple *tuple, const struct gs_turn *turn)
{
	if (!tuple || !turn)
		return 0;
	gs_affinity_reduce(tuple, turn->affinity, turn->affinity4, turn->affinity6);
	return 0;
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
	struct gs_flow_tuple tuple;
	struct gs_ask ask;
	__u32 region, backend;
	__u64 hash;
	int limited;

	if (!packet || !turn)
		return -GS_REASON_drop_no_plan;
	generation = gs_generation(turn->at);
	if (!generation)
		return -GS_REASON_drop_no_plan;
	tuple = packet->tuple;
	gs_reduce(&tuple, turn);
	hash = gs_hash_flow(&tuple, generation->seed);
	/* Where the client is, not its prefix: geography and overrides may cut a prefix in two. */
	plan = gs_plan_get(turn, generation, gs_locate(packet, generation, turn->at));
	if (!plan)
		return -GS_REASON_drop_no_plan;
	ask.at = turn->at;
	ask.regions = generation->regions;
	ask.service = turn->service;
	ask.draw = (__u16)hash;
	ask.may_try = (__u16)turn->may_try;
	region = gs_pick_region(&ask, plan, gs_hash_client(tuple.src, generation->seed));
	if (!region)
		return -GS_REASON_drop_no_region;
	if (turn->asks & GS_ASK_REGION_LIMITS) {
		limited = gs_limit_region(region & ~GS_PICK_TRIAL, turn->is_new);
		if (limited)
			return -limited;
	}
	backend = gs_pick_backend(&ask, region & ~GS_PICK_TRIAL, hash);
	if (!backend)
		return -GS_REASON_drop_no_backend;
	return (int)(backend | (region & GS_PICK_TRIAL));
}

/* ---- all of it -------------------------------------------------------------------------------*/

/* 0; -1: meta is not filled in. */
GS_INLINE int gs_turn_init(struct gs_turn *turn, const struct gs_packet *packet)
{
	const struct gs_generation_value *generation;
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found || found->layout_version != GS_MAPS_VERSION)
		return -1;
	turn->at = *(const volatile __u32 *)&found->active;
	generation = gs_generation(turn->at);
	if (!generation || generation->number == 0)
		return -1;
	turn->asks = (__u8)generation->asks;
	turn->flow_mask = found->flow_mask;
	turn->table_hash = gs_hash_flow(&packet->tuple, found->table_seed);
	turn->now = (__u32)(bpf_ktime_get_coarse_ns() >> 30) & GS_SEEN_TIME;
	return 0;
}

/* Of a known flow: 0, or the limit its region is beyond. */
GS_INLINE int gs_pick_limit_known(const struct gs_turn *turn,
				  const struct gs_backend_value *backend)
{
	return turn->asks & GS_ASK_REGION_LIMITS ? gs_limit_region(backend->region, 0) : 0;
}

/*
 * Of a flow the table does not know: 0, or the limit of new flows it is beyond. One that will not
 * be remembered counts only where it says itself that it begins: else each packet of an untracked
 * one would count.
 */
GS_INLINE int gs_pick_limit(struct gs_turn *turn, const struct gs_packet *packet,
			    const struct gs_service_value *service, int is_syn)
{
	if (!(service->client_flows | service->flows | (turn->asks & GS_ASK_REGION_LIMITS)))
		return 0;
	turn->is_new = is_syn || gs_flow_has_room(turn);
	return turn->is_new ? gs_limit_flow(packet, service, turn->is_allowed) : 0;
}

/* Of a flow picked anew. One that is not remembered is new with every packet: only its SYN counts.
 */
GS_INLINE __u32 gs_watch_new(struct gs_flow_entry known, int is_syn, int tracked)
{
	if (known.tag)
		return is_syn && !(known.seen & GS_FLOW_PROVEN) ? GS_WATCH_SYN | GS_WATCH_REPEATED
								: 0;
	return (is_syn ? GS_WATCH_SYN : 0) | (is_syn || tracked ? GS_WATCH_NEW : 0);
}

/*
 * A tx_ reason and the backend (never 0), or a reason to drop. The reason says how the flow was
 * found; forward.h may still find one to drop it.
 */
GS_INLINE enum gs_reason gs_pick(struct gs_turn *turn, const struct gs_packet *packet,
				 const struct gs_service_value *service, __u32 *ret_backend)
{
	int is_syn = (packet->tcp_flags & (GS_TCP_SYN | GS_TCP_ACK)) == GS_TCP_SYN;
	__u16 ends = gs_flow_ends(packet->tcp_flags);
	struct gs_flow_entry known = gs_flow_find(turn, is_syn, ends);
	int is_repeated_syn = is_syn && !(known.seen & GS_FLOW_PROVEN);
	__u32 id = known.backend & ~GS_FLOW_CLOSED;
	const struct gs_backend_value *backend;
	int picked, tracked, limited;

	if (id) {
		backend = bpf_map_lookup_elem(&backends, &id);
		if (backend && gs_keeps_flow(turn, backend, id, is_repeated_syn)) {
			limited = gs_pick_limit_known(turn, backend);
			if (limited)
				return (enum gs_reason)limited;
			if (is_repeated_syn)
				turn->watch = GS_WATCH_SYN | GS_WATCH_REPEATED;
			*ret_backend = id;
			return GS_REASON_tx_flow;
		}
		if (is_repeated_syn)
			id = 0;
	}
	/* A trial is of a whole connection: the middle of one would only be reset. */
	turn->may_try = !id && (is_syn || packet->tuple.protocol != IPPROTO_TCP);
	limited = known.tag ? 0 : gs_pick_limit(turn, packet, service, is_syn);
	if (limited)
		return (enum gs_reason)limited;
	picked = gs_pick_new(packet, turn);
	if (picked <= 0)
		return (enum gs_reason) - picked;
	ends |= known.backend & GS_FLOW_CLOSED;
	tracked = gs_flow_remember(turn, (__u16)picked | ends, id && !is_syn ? GS_FLOW_PROVEN : 0);
	turn->watch = gs_watch_new(known, is_syn, tracked);
	if (picked & GS_PICK_TRIAL) {
		if (tracked) {
			*ret_backend = (__u32)picked & ~GS_PICK_TRIAL;
			return GS_REASON_tx_trial;
		}
		/* Its next packet would not find the way back: a trial lost, not a connection. */
		turn->may_try = 0;
		picked = gs_pick_new(packet, turn);
		if (picked <= 0)
			return (enum gs_reason) - picked;
	}
	*ret_backend = (__u32)picked;
	if (id)
		return GS_REASON_tx_repicked;
	return tracked ? GS_REASON_tx_new : GS_REASON_tx_untracked;
}

/*
 * Where the flow is that an ICMP error quotes: the backend, or minus the reason to drop it; 0: the
 * table does not know, and gs_pick_new does. Anybody can send one: it opens no flow, keeps none
 * alive and takes no trial. Does not ask gs_pick_new itself: each call more is stack, of which
 * there are 512 bytes for all.
 */
__attribute__((noinline)) int gs_pick_quoted(const struct gs_packet *packet, struct gs_turn *turn)
{
	const struct gs_backend_value *backend;
	int limited;
	__u32 id;

	if (!packet || !turn)
		return -GS_REASON_drop_no_plan;
	id = gs_flow_peek(turn).backend & ~GS_FLOW_CLOSED;
	backend = id ? bpf_map_lookup_elem(&backends, &id) : NULL;
	if (backend && gs_keeps_flow(turn, backend, id, 0)) {
		limited = gs_pick_limit_known(turn, backend);
		return limited ? -limited : (int)id;
	}
	return 0;
}
