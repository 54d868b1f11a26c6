/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 3: client -> location: the operator's overrides, then the compiled geo table. The layout of
 * the table is described at struct gs_geo_block; user/core/geotable.c does the same walk.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

/* Bits of an address not walked yet, the next one on top; what follows the last one is zero. */
struct gs_geo_bits {
	__u64 high;
	__u64 low;
};

GS_INLINE __u32 gs_geo_take(struct gs_geo_bits *bits, __u32 count)
{
	__u32 value = (__u32)(bits->high >> (64 - count));

	bits->high = bits->high << count | bits->low >> (64 - count);
	bits->low <<= count;
	return value;
}

/* Block number / per of a table, or NULL: the table is shorter than it should be. */
GS_INLINE const struct gs_geo_block *gs_geo_block(void *table, __u32 number, __u32 per)
{
	__u32 index = number / per;

	return bpf_map_lookup_elem(table, &index);
}

GS_INLINE __u32 gs_geo_leaf(void *table, const struct gs_geo_node *node, __u32 slot)
{
	__u32 run = (__u32)__builtin_popcountll(node->leaf_map << (63 - slot));
	const struct gs_geo_block *block;

	if (run == 0)
		return 0;
	run--;
	if (run < GS_GEO_INLINE_LEAVES)
		return node->leaf[run];
	run += node->leaf_base - GS_GEO_INLINE_LEAVES;
	block = gs_geo_block(table, run, GS_BLOCK_U16);
	return block ? block->leaf[run % GS_BLOCK_U16] : 0;
}

GS_INLINE __u32 gs_geo_find(void *table, struct gs_geo_bits bits, __u32 root_bits, __u32 levels)
{
	__u32 entry = gs_geo_take(&bits, root_bits);
	const struct gs_geo_block *block = gs_geo_block(table, entry, GS_BLOCK_U32);

	if (!block)
		return 0;
	entry = block->root[entry % GS_BLOCK_U32];
	if (entry & GS_GEO_LEAF)
		return (__u16)entry;
	for (__u32 level = 0; level < levels; level++) {
		__u32 slot = gs_geo_take(&bits, GS_GEO_STRIDE);
		const struct gs_geo_node *node;

		block = gs_geo_block(table, entry, GS_BLOCK_NODES);
		if (!block)
			return 0;
		node = &block->node[entry % GS_BLOCK_NODES];
		if (!(node->child_map >> slot & 1))
			return gs_geo_leaf(table, node, slot);
		entry = node->child_base +
			(__u32)__builtin_popcountll(node->child_map & ((1ull << slot) - 1));
	}
	return 0;
}

GS_INLINE __u32 gs_locate_ip4(__be32 addr, const struct gs_generation_value *generation, __u32 at)
{
	struct gs_geo_bits bits = {.high = (__u64)(__u32)GS_BE32(addr) << 32};
	void *table;

	if (generation->overrides4) {
		struct gs_override4_key key = {.prefix_len = 32, .addr = addr};
		const struct gs_override_value *found = NULL;

		table = bpf_map_lookup_elem(&override4, &at);
		if (table)
			found = bpf_map_lookup_elem(table, &key);
		if (found)
			return found->location;
	}
	table = bpf_map_lookup_elem(&geo4, &at);
	return table ? gs_geo_find(table, bits, GS_GEO4_ROOT_BITS, GS_GEO4_LEVELS) : 0;
}

/* 6to4 and NAT64 clients carry the IPv4 address that says where they are: then 1 and *ret_v4. */
GS_INLINE int gs_locate_embedded(const __be32 addr[4], __be32 *ret_v4)
{
	__u32 first = (__u32)GS_BE32(addr[0]);

	if (first >> 16 == 0x2002)
		*ret_v4 = GS_BE32(first << 16 | (__u32)GS_BE32(addr[1]) >> 16);
	else if (first == 0x0064ff9b && addr[1] == 0 && addr[2] == 0)
		*ret_v4 = addr[3];
	else
		return 0;
	return 1;
}

/* An override of an IPv6 prefix also holds for 6to4 and NAT64 clients in it: it is nearer to what
 * the operator wrote than what their address stands for. */
GS_INLINE __u32 gs_locate_ip6(const __be32 addr[4], const struct gs_generation_value *generation,
			      __u32 at)
{
	struct gs_geo_bits bits;
	__be32 embedded;
	void *table;

	if (generation->overrides6) {
		struct gs_override6_key key = {.prefix_len = 128,
					       .addr = {addr[0], addr[1], addr[2], addr[3]}};
		const struct gs_override_value *found = NULL;

		table = bpf_map_lookup_elem(&override6, &at);
		if (table)
			found = bpf_map_lookup_elem(table, &key);
		if (found)
			return found->location;
	}
	if (gs_locate_embedded(addr, &embedded))
		return gs_locate_ip4(embedded, generation, at);
	bits.high = GS_BE64(((const gs_wire64 *)addr)[0]);
	bits.low = GS_BE64(((const gs_wire64 *)addr)[1]);
	table = bpf_map_lookup_elem(&geo6, &at);
	return table ? gs_geo_find(table, bits, GS_GEO6_ROOT_BITS, GS_GEO6_LEVELS) : 0;
}

/* at: the generation's slot. 0: unknown. */
GS_INLINE __u32 gs_locate(const struct gs_packet *packet,
			  const struct gs_generation_value *generation, __u32 at)
{
	if (packet->family == 4)
		return gs_locate_ip4(packet->tuple.src[3], generation, at);
	return gs_locate_ip6(packet->tuple.src, generation, at);
}
