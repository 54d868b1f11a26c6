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
GS_INLINE __u64 gs_flow_find(__u64 table_hash, __u32 flow_mask, __u32 now, int is_syn, __u16 ends,
			     __u8 *ret_watch)
{
	volatile __u64 *bucket = gs_flow_bucket(table_hash, flow_mask);
	const __u32 tag = gs_flow_tag(table_hash);
	union gs_flow_bits entry, touched;

	if (!bucket)
		return 0;
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		entry.word = bucket[way];
		if (entry.as.tag != tag)
			continue;
		if (is_syn)
			return gs_flow_awaits(entry.as, now) ? entry.word : 0;
		if (!(entry.as.seen & GS_FLOW_PROVEN))
			*ret_watch = GS_WATCH_PROVEN;
		touched = entry;
		touched.as.backend |= ends;
		touched.as.seen = (__u16)(now | GS_FLOW_PROVEN);
		if (touched.word != entry.word)
			bucket[way] = touched.word;
		return touched.word;
	}
	return 0;
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

/* Begins to bring the flow's bucket from memory, and does not wait for it. */
GS_INLINE void gs_flow_touch(__u64 table_hash, __u32 flow_mask)
{
	volatile __u64 *bucket = gs_flow_bucket(table_hash, flow_mask);

	if (bucket)
		(void)bucket[0];
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

/* Writes the flow's entry, flags included; 0: its bucket holds only flows in use. A function of its
 * own: in gs_pick there is no stack for it. */
__attribute__((noinline)) int gs_flow_remember(__u64 table_hash, __u32 flow_mask, __u32 now,
					       __u16 backend, __u32 proven)
{
	volatile __u64 *bucket = gs_flow_bucket(table_hash, flow_mask);
	const __u32 tag = gs_flow_tag(table_hash);
	union gs_flow_bits entry;
	__u32 best = 0;

	if (!bucket)
		return 0;
#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		__u32 worth;

		entry.word = bucket[way];
		worth = gs_flow_worth(entry.as, tag, now);
		/* of equals the first: that is where the look-up begins */
		if (worth && best < (worth << 3 | (GS_FLOW_WAYS - 1 - way)))
			best = worth << 3 | (GS_FLOW_WAYS - 1 - way);
	}
	if (!best)
		return 0;
	entry.as.tag = tag;
	entry.as.backend = backend;
	entry.as.seen = (__u16)(now | proven);
	bucket += GS_FLOW_WAYS - 1 - best % GS_FLOW_WAYS;
	if (*bucket != entry.word)
		*bucket = entry.word;
	return 1;
}

/* ---- entered without a guess -------------------------------------------------------------------
 *
 * Where an entry is in its bucket nobody can foretell, and a CPU that guesses wrong throws away
 * what it has begun meanwhile. So all ways are looked at, without a branch.
 */
struct gs_flow_places {
	__u64 own;   /* the entry with the tag; 0: there is none */
	__u32 at;    /* the way it is in */
	__u32 empty; /* the first empty way; GS_FLOW_WAYS: there is none */
};

/* 1: x is 0. As arithmetic, which the compiler must not see through. */
GS_INLINE __u64 gs_flow_is_zero(__u64 x)
{
	asm volatile("" : "+r"(x));
	return (x - 1) >> 63;
}

GS_INLINE struct gs_flow_places gs_flow_look(volatile __u64 *bucket, __u32 tag)
{
	struct gs_flow_places places = {.own = 0};
	__u64 is_first = 1, is_full = 1;

#pragma unroll
	for (__u32 way = 0; way < GS_FLOW_WAYS; way++) {
		union gs_flow_bits entry = {.word = bucket[way]};
		__u64 is_own = gs_flow_is_zero(entry.as.tag ^ tag) & is_first;

		places.own |= entry.word & -is_own;
		places.at |= way & (__u32)-is_own;
		is_first ^= is_own;
		is_full &= ~gs_flow_is_zero(entry.as.tag);
		places.empty += (__u32)is_full;
	}
	return places;
}

/* The compiler knows that there are no more ways; kernel 6.1's verifier has to see it. */
GS_INLINE volatile __u64 *gs_flow_way(volatile __u64 *bucket, __u32 way)
{
	asm volatile("" : "+r"(way));
	return &bucket[way & (GS_FLOW_WAYS - 1)];
}

#define GS_FLOW_ENTERED 1   /* it is in the table */
#define GS_FLOW_UNTRACKED 2 /* its bucket holds only flows in use */
#define GS_FLOW_OTHER 3	    /* it is there already, and not so: nothing was written */

/*
 * Of a flow that a packet which proves nothing begins, or whose SYN is repeated: writes its entry,
 * flags included. *ret_known: the one it had, as gs_flow_find gives it. OTHER: that is proven, or
 * of another backend.
 */
GS_INLINE int gs_flow_enter(__u64 table_hash, __u32 flow_mask, __u32 now, __u16 backend,
			    union gs_flow_bits *ret_known)
{
	volatile __u64 *bucket = gs_flow_bucket(table_hash, flow_mask);
	union gs_flow_bits entry, known;
	struct gs_flow_places places;

	ret_known->word = 0;
	entry.as.tag = gs_flow_tag(table_hash);
	entry.as.backend = backend;
	entry.as.seen = (__u16)now;
	if (!bucket)
		return GS_FLOW_UNTRACKED;
	places = gs_flow_look(bucket, entry.as.tag);
	known.word = places.own;
	if (known.word) {
		if (gs_flow_awaits(known.as, now)) {
			*ret_known = known;
			if (known.as.seen & GS_FLOW_PROVEN ||
			    (known.as.backend ^ backend) & (__u16)~GS_FLOW_CLOSED)
				return GS_FLOW_OTHER;
		}
		if (known.word != entry.word)
			*gs_flow_way(bucket, places.at) = entry.word;
		return GS_FLOW_ENTERED;
	}
	if (places.empty < GS_FLOW_WAYS) {
		*gs_flow_way(bucket, places.empty) = entry.word;
		return GS_FLOW_ENTERED;
	}
	return gs_flow_remember(table_hash, flow_mask, now, backend, 0) ? GS_FLOW_ENTERED
									: GS_FLOW_UNTRACKED;
}
