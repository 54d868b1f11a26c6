/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 2a: a later fragment -> the ports of its datagram's first one, so that all of a datagram go
 * where its flow goes. A later fragment that comes before the first cannot be kept and is dropped
 * (drop_fragment), as is one whose first came more than 2 s ago.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

union gs_fragment_bits {
	__u64 word;
	struct gs_fragment_entry as;
};

struct gs_fragment_place {
	volatile __u64 *bucket; /* NULL: none */
	__u32 tag;		/* where it stands in tag_seen, never 0 */
	__u32 now;
};

GS_INLINE struct gs_fragment_place gs_fragment_place(const struct gs_packet *packet)
{
	struct gs_fragment_place place = {.bucket = NULL};
	struct gs_flow_tuple datagram = packet->tuple;
	const struct gs_meta_value *found;
	__u32 zero = 0, index;
	__u64 hash;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return place;
	datagram.src_port = (__be16)packet->id;
	datagram.dst_port = (__be16)(packet->id >> 16);
	hash = gs_hash_flow(&datagram, found->table_seed);
	index = (__u32)hash & (GS_FRAGMENT_BUCKETS - 1);
	place.bucket = bpf_map_lookup_elem(&fragments, &index);
	place.tag = (__u32)(hash >> 32) & ~GS_FRAGMENT_SEEN;
	if (!place.tag)
		place.tag = GS_FRAGMENT_SEEN + 1;
	place.now = (__u32)(bpf_ktime_get_coarse_ns() >> 27) & GS_FRAGMENT_SEEN;
	return place;
}

GS_INLINE __u32 gs_fragment_age(union gs_fragment_bits entry, __u32 now)
{
	return (now - entry.as.tag_seen) & GS_FRAGMENT_SEEN;
}

/* 1: packet's ports are set, and it is like any other of its flow. */
__attribute__((noinline)) int gs_fragment_find(struct gs_packet *packet)
{
	struct gs_fragment_place place;
	union gs_fragment_bits entry;

	if (!packet)
		return 0;
	place = gs_fragment_place(packet);
	if (!place.bucket)
		return 0;
	for (__u32 way = 0; way < GS_FRAGMENT_WAYS; way++) {
		entry.word = place.bucket[way];
		if ((entry.as.tag_seen & ~GS_FRAGMENT_SEEN) != place.tag ||
		    gs_fragment_age(entry, place.now) > GS_FRAGMENT_KEEPS)
			continue;
		packet->tuple.src_port = entry.as.src_port;
		packet->tuple.dst_port = entry.as.dst_port;
		return 1;
	}
	return 0;
}

/* The oldest entry, an empty one or the datagram's own makes room. */
__attribute__((noinline)) int gs_fragment_remember(const struct gs_packet *packet)
{
	struct gs_fragment_place place;
	union gs_fragment_bits entry;
	__u32 best = 0, oldest = 0;

	if (!packet)
		return 0;
	place = gs_fragment_place(packet);
	if (!place.bucket)
		return 0;
	for (__u32 way = 0; way < GS_FRAGMENT_WAYS; way++) {
		__u32 age;

		entry.word = place.bucket[way];
		age = 1 + gs_fragment_age(entry, place.now);
		if (!entry.as.tag_seen)
			age = GS_FRAGMENT_SEEN + 2;
		if ((entry.as.tag_seen & ~GS_FRAGMENT_SEEN) == place.tag)
			age = GS_FRAGMENT_SEEN + 3;
		if (age > oldest) {
			oldest = age;
			best = way;
		}
	}
	entry.as.src_port = packet->tuple.src_port;
	entry.as.dst_port = packet->tuple.dst_port;
	entry.as.tag_seen = place.tag | place.now;
	place.bucket[best % GS_FRAGMENT_WAYS] = entry.word;
	return 1;
}
