/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 4a: the flow table. Buckets, entries and classes are described in README.md; the layout is
 * at struct gs_flow_entry.
 */
#pragma once

#include "turn.h"

#define GS_SYN_TRIES 8u /* units of 2^30 ns: a SYN repeated within it belongs to its trial */

union gs_flow_bits {
	__u64 word;
	struct gs_flow_entry as;
};

GS_INLINE __u32 gs_flow_tag(__u64 hash)
{
	__u32 tag = (__u32)(hash >> 32);

	return tag ? tag : 1;
}

GS_INLINE volatile __u64 *gs_flow_bucket(__u64 table_hash, __u32 flow_mask)
{
	__u32 index = (__u32)table_hash & flow_mask;

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
 * (backend 0) if there is none or the packet starts a connection anew. *ret_watch: GS_WATCH_PROVEN
 * if this packet proves it. Returns values, not the place: the verifier would follow the rest of
 * the program once for each way.
 */
GS_INLINE struct gs_flow_entry gs_flow_find(__u64 table_hash, __u32 flow_mask, __u32 now,
					    int is_syn, __u16 ends, __u8 *ret_watch)
{
	const union gs_flow_bits none = {.word = 0};
	volatile __u64 *bucket = gs_flow_bucket(table_hash, flow_mask);
	const __u32 tag = gs_flow_tag(table_hash);
	union gs_flow_bits entry, touched;

	if (!bucket)
		return none.as;
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		if (entry.as.tag != tag)
			continue;
		if (is_syn)
			return gs_flow_awaits(entry.as, now) ? entry.as : none.as;
		if (!(entry.as.seen & GS_FLOW_PROVEN))
			*ret_watch = GS_WATCH_PROVEN;
		touched = entry;
		touched.as.backend |= ends;
		touched.as.seen = (__u16)(now | GS_FLOW_PROVEN);
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
	volatile __u64 *bucket = gs_flow_bucket(turn->table_hash, turn->flow_mask);
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
	bucket = gs_flow_bucket(turn->table_hash, turn->flow_mask);
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
	volatile __u64 *bucket = gs_flow_bucket(turn->table_hash, turn->flow_mask);
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
		/* of equals the first: that is where the look-up begins */
		if (worth && best < (worth << 3 | (GS_FLOW_WAYS - 1 - way)))
			best = worth << 3 | (GS_FLOW_WAYS - 1 - way);
	}
	if (!best)
		return 0;
	entry.as.tag = tag;
	entry.as.backend = backend;
	entry.as.seen = (__u16)(turn->now | proven);
	bucket += GS_FLOW_WAYS - 1 - best % GS_FLOW_WAYS;
	if (*bucket != entry.word)
		*bucket = entry.word;
	return 1;
}
