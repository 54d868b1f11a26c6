/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What steps 3 to 5 tell each other of one packet, and what they read of the controller's state:
 * the generation in force, usable words.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

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
	__u32 demand; /* row * locations + location, once the flow was picked anew */
	/* small, because the stack is: 512 bytes for a packet's whole way */
	__u8 may_try;	 /* 1: begins a connection, and may be a half-open breaker's trial */
	__u8 asks;	 /* the generation's */
	__u8 is_allowed; /* 1: by an access rule, so under no limit of clients */
	__u8 is_new;	 /* 1: of a flow that counts as new for limits */
	__u8 watch;	 /* GS_WATCH_* */
	__u8 affinity;	 /* enum gs_affinity, and its bits: of the service */
	__u8 affinity4;
	__u8 affinity6;
	__u8 priority; /* of the service */
};

/* NULL: no such slot. */
GS_INLINE const struct gs_generation_value *gs_generation(__u32 at)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	return found && at < GS_GENERATIONS ? &found->generation[at] : NULL;
}

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

/* Of a service in a region; region 0: its row. All zero: there is none. */
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

union gs_fill_bits {
	__u64 word;
	struct gs_fill_word as;
};

GS_INLINE struct gs_fill_word gs_fill_get(__u32 region)
{
	union gs_fill_bits bits = {.word = 0};
	const volatile __u64 *word = bpf_map_lookup_elem(&fill, &region);

	if (word)
		bits.word = *word;
	return bits.as;
}

GS_INLINE int gs_takes_new(struct gs_usable_word word, __u16 draw)
{
	return word.state == GS_USABLE_UP && draw <= word.accept;
}
