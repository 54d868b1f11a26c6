/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 4: flow -> backend. The flow table first (flow.h); for what it does not know, or no longer
 * may keep, the decision (plan.h).
 */
#pragma once

#include "flow.h"
#include "lease.h"
#include "plan.h"

/*
 * May a known flow stay with its backend? Drained ones keep what they have. A SYN that repeats one
 * nobody has answered yet is decided anew, but on trial: there the quota it would ask for is gone
 * by then, and its handshake would be torn in two.
 */
GS_INLINE int gs_keeps_flow(__u32 service, const struct gs_backend_value *backend, __u32 id,
			    int is_repeated_syn)
{
	__u32 pool = service * GS_MAX_REGIONS + backend->region;
	__u16 state = gs_usable_get(&usable_pool, pool).state;

	return backend->service == service &&
	       gs_usable_get(&usable_backend, id).state != GS_USABLE_DOWN &&
	       (is_repeated_syn ? state == GS_USABLE_TRIAL : state != GS_USABLE_DOWN) &&
	       gs_usable_get(&usable_region, backend->region).state != GS_USABLE_DOWN;
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

/* Without a branch, which would double the verifier's paths. */
GS_INLINE int gs_is_syn(__u8 tcp_flags)
{
	_Static_assert(GS_TCP_SYN == 2 && GS_TCP_ACK == 16, "bits");
	return tcp_flags >> 1 & ~(tcp_flags >> 4) & 1;
}

/* A reason, and above it the backend (0: the packet is dropped). */
#define GS_PICKED_REASON 0xffu
#define GS_PICKED_BACKEND 8 /* shift */

GS_INLINE int gs_picked(enum gs_reason reason, __u32 backend)
{
	return (int)(reason | backend << GS_PICKED_BACKEND);
}

/*
 * Of a flow whose entry gs_flow_find has given (entry: its word): a tx_ reason and the backend
 * (gs_picked), or a reason to drop. The reason says how the flow was found; forward.h may still
 * find one to drop it. A function of its own: both ways a packet can come here share it.
 */
__attribute__((noinline)) int gs_pick(struct gs_turn *turn, const struct gs_packet *packet,
				      const struct gs_service_value *service, __u64 entry)
{
	const union gs_flow_bits found = {.word = entry};
	const struct gs_flow_entry known = found.as;
	const struct gs_backend_value *backend;
	int picked, tracked, limited, is_syn, is_repeated_syn;
	__u32 id = known.backend & ~GS_FLOW_CLOSED;

	if (!turn || !packet || !service)
		return GS_REASON_drop_no_plan;
	is_syn = gs_is_syn(packet->tcp_flags);
	is_repeated_syn = is_syn && !(known.seen & GS_FLOW_PROVEN);
	if (id) {
		backend = bpf_map_lookup_elem(&backends, &id);
		if (backend && gs_keeps_flow(turn->service, backend, id, is_repeated_syn)) {
			limited = gs_pick_limit_known(turn, backend);
			if (limited)
				return limited;
			if (is_repeated_syn)
				turn->watch = GS_WATCH_SYN | GS_WATCH_REPEATED;
			return gs_picked(GS_REASON_tx_flow, id);
		}
		if (is_repeated_syn)
			id = 0;
	}
	/* A trial is of a whole connection: the middle of one would only be reset. */
	turn->may_try = !id && (is_syn || packet->tuple.protocol != IPPROTO_TCP);
	limited = known.tag ? 0 : gs_pick_limit(turn, packet, service, is_syn);
	if (limited)
		return limited;
	picked = gs_pick_new(packet, turn);
	if (picked <= 0)
		return -picked;
	tracked = gs_flow_remember(turn->table_hash, turn->flow_mask, turn->now,
				   (__u16)picked | gs_flow_ends(packet->tcp_flags) |
					   (known.backend & GS_FLOW_CLOSED),
				   id && !is_syn ? GS_FLOW_PROVEN : 0);
	turn->watch = gs_watch_new(known, is_syn, tracked);
	if (picked & GS_PICK_TRIAL) {
		picked &= ~GS_PICK_TRIAL;
		gs_lease_take(turn->table_hash, turn->service, (__u32)picked);
		return gs_picked(GS_REASON_tx_trial, (__u32)picked);
	}
	if (id)
		return gs_picked(GS_REASON_tx_repicked, (__u32)picked);
	return gs_picked(tracked ? GS_REASON_tx_new : GS_REASON_tx_untracked, (__u32)picked);
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
	if (backend && gs_keeps_flow(turn->service, backend, id, 0)) {
		limited = gs_pick_limit_known(turn, backend);
		return limited ? -limited : (int)id;
	}
	return 0;
}
