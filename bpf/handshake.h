/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 5c: what flows tell that are new or just proven. How many there are by policy and location;
 * to each backend, how many SYNs and how many of them again; and of a sample, whose client it is
 * and how long its handshake took. The tables are described at struct gs_handshake_entry.
 *
 * Nothing here decides about a packet: with direct return the edge sees no SYN-ACK, so anybody can
 * complete a handshake that never was. It is evidence for the controller to weigh.
 */
#pragma once

#include "answer.h"
#include "flow.h"
#include "lease.h"
#include "locate.h"

/* ---- new flows -------------------------------------------------------------------------------*/

/* entry: gs_route_index's; at: the slot it is of. */
GS_INLINE void gs_demand_add(__u32 at, __u32 entry)
{
	const struct gs_meta_value *found;
	struct gs_demand_block *block;
	__u32 zero = 0, index, bank;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found || at >= GS_GENERATIONS || entry >= GS_DEMAND_ENTRIES)
		return;
	bank = *(const volatile __u8 *)&found->demand_bank[at] % GS_DEMAND_BANKS;
	index = (bank * GS_DEMAND_ENTRIES + entry) / GS_DEMAND_WAYS;
	block = bpf_map_lookup_elem(&demand, &index);
	if (block)
		__sync_fetch_and_add(&block->flows[entry % GS_DEMAND_WAYS], 1);
}

/* ---- the sample ------------------------------------------------------------------------------*/

union gs_handshake_bits {
	__u64 word;
	struct gs_handshake_entry as;
};

/* Bits of a product: the hash itself decides about buckets and tags. */
GS_INLINE __u64 gs_handshake_draw(__u64 table_hash)
{
	return (table_hash * 0xd6e8feb86659fd93ULL) >> 20;
}

/* 1: the flow is in the sample. */
GS_INLINE int gs_handshake_sampled(__u64 table_hash)
{
	const struct gs_meta_value *found;
	__u32 zero = 0, one_in;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return 0;
	one_in = *(const volatile __u32 *)&found->handshake_one_in;
	return one_in && ((__u32)gs_handshake_draw(table_hash) & (one_in - 1)) == 0;
}

GS_INLINE volatile __u64 *gs_handshake_word(__u64 table_hash)
{
	__u32 place = (__u32)(gs_handshake_draw(table_hash) >> 17);
	__u32 index = place / GS_HANDSHAKE_WAYS % GS_HANDSHAKE_BLOCKS;
	struct gs_handshake_block *block = bpf_map_lookup_elem(&handshakes, &index);

	return block ? (volatile __u64 *)&block->entry[place % GS_HANDSHAKE_WAYS] : NULL;
}

GS_INLINE __u32 gs_handshake_now(void)
{
	return (__u32)(bpf_ktime_get_ns() / 1000);
}

/* The SYN of a flow in the sample. is_repeated: of one that it did not open. */
__attribute__((noinline)) int gs_handshake_mark(__u64 table_hash, __u32 is_repeated)
{
	volatile __u64 *word = gs_handshake_word(table_hash);
	union gs_handshake_bits entry = {.word = 0};

	if (!word)
		return 0;
	entry.as.tag = gs_flow_tag(table_hash);
	if (!is_repeated) {
		entry.as.us = gs_handshake_now();
		*word = entry.word;
	} else if ((__u32)*word == entry.as.tag) {
		*word = 0;
	}
	return 0;
}

/* A SYN goes to the backend. */
GS_INLINE void gs_handshake_syn(__u64 table_hash, __u32 backend, __u32 is_repeated)
{
	struct gs_syn_count *count = bpf_map_lookup_elem(&count_syn, &backend);

	if (count) {
		count->syns += !is_repeated;
		count->repeated += is_repeated;
	}
	if (gs_handshake_sampled(table_hash))
		gs_handshake_mark(table_hash, is_repeated);
}

GS_INLINE void gs_handshake_prefix(const struct gs_packet *packet, __u8 ret_prefix[6])
{
	const __u8 *from = (const __u8 *)packet->tuple.src;
	__u32 is_v4 = packet->family == 4;

	for (int i = 0; i < 3; i++) {
		ret_prefix[i] = is_v4 ? from[12 + i] : from[i];
		ret_prefix[3 + i] = is_v4 ? 0 : from[3 + i];
	}
}

/* To the controller: a client of the sample. rtt_us: 0: it is not known. */
__attribute__((noinline)) int gs_handshake_tell(const struct gs_packet *packet,
						const struct gs_turn *turn, __u32 id, __u32 rtt_us)
{
	const struct gs_generation_value *generation;
	struct gs_handshake_event event = {.service = 0};
	const struct gs_backend_value *backend;
	struct gs_syn_count *count;

	if (!packet || !turn)
		return 0;
	generation = gs_generation(turn->at);
	backend = bpf_map_lookup_elem(&backends, &id);
	count = bpf_map_lookup_elem(&count_syn, &id);
	if (!generation || !backend || !count)
		return 0;
	event.rtt_us = rtt_us;
	event.service = (__u16)turn->service;
	event.backend = (__u16)id;
	event.region = backend->region;
	event.location = (__u16)gs_locate(packet, generation, turn->at);
	event.family = packet->family;
	gs_handshake_prefix(packet, event.prefix);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		count->lost++;
	else
		count->measured += rtt_us != 0;
	return 0;
}

/* The first ACK of a flow: how long its handshake took, microseconds; 0: not known. */
__attribute__((noinline)) int gs_handshake_ack(__u64 table_hash)
{
	union gs_handshake_bits entry;
	volatile __u64 *word;
	__u32 rtt_us;

	if (!gs_handshake_sampled(table_hash))
		return 0;
	word = gs_handshake_word(table_hash);
	if (!word)
		return 0;
	entry.word = *word;
	if (entry.as.tag != gs_flow_tag(table_hash))
		return 0;
	*word = 0;
	rtt_us = gs_handshake_now() - entry.as.us;
	return rtt_us <= GS_HANDSHAKE_US_MAX ? (int)rtt_us : 0;
}

/* UDP has no handshake that a stranger would have to complete: so many a second, and not more. */
GS_INLINE int gs_handshake_shows(const struct gs_turn *turn, const struct gs_packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP && gs_handshake_sampled(turn->table_hash) &&
	       gs_may_tell();
}

/* Of a packet that proves a flow: may it complete a handshake? UDP has no flags. */
GS_INLINE int gs_is_first_ack(__u8 tcp_flags)
{
	return (tcp_flags & (GS_TCP_ACK | GS_TCP_RST | GS_TCP_FIN)) == GS_TCP_ACK;
}

/* ---- all of it -------------------------------------------------------------------------------*/

/* Of a packet that goes to this backend; after gs_pick. */
__attribute__((noinline)) int gs_watch_flow(const struct gs_packet *packet,
					    const struct gs_turn *turn, __u32 backend)
{
	__u32 rtt_us;

	if (!packet || !turn)
		return 0;
	if (turn->watch & GS_WATCH_NEW) {
		gs_demand_add(turn->at, turn->demand);
		if (gs_handshake_shows(turn, packet))
			gs_handshake_tell(packet, turn, backend, 0);
	}
	if (turn->watch & GS_WATCH_SYN)
		gs_handshake_syn(turn->table_hash, backend, (turn->watch & GS_WATCH_REPEATED) != 0);
	if (turn->watch & GS_WATCH_PROVEN && gs_is_first_ack(packet->tcp_flags)) {
		gs_lease_prove(turn->table_hash, turn->service, backend);
		rtt_us = (__u32)gs_handshake_ack(turn->table_hash);
		if (rtt_us)
			gs_handshake_tell(packet, turn, backend, rtt_us);
	}
	return 0;
}
