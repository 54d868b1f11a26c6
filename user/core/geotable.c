// SPDX-License-Identifier: Apache-2.0
/*
 * Building goes over the ranges twice: first to count, which says how large the output must be,
 * then to write. So the caller's memory grows once, and nothing is written that does not fit.
 *
 * A node's children and its long leaf run lie where the walk has come to, so what a look-up reads
 * below the root is mostly in one page or two: a cold look-up pays for pages.
 *
 * Both families are one 128-bit number line here: an IPv4 address stands for the 2^96 numbers that
 * begin with its 32 bits, which is also how the packet path reads bits beyond an address's end.
 */
#include "geotable.h"

#include <errno.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define MAX_BLOCKS (1ull << 26)
#define SLOTS (1u << GS_GEO_STRIDE)

/* Nodes begin at a node's place: what is left before them are places for short runs. */
#define HOLES 8u

struct hole {
	uint64_t first, end;
};

struct build {
	const struct gs_geo_range *ranges; /* or NULL, and: */
	const struct gs_geo_key *starts;
	const uint16_t *locations;
	size_t count;
	unsigned align;		     /* bits between the family's last bit and bit 0 of the line */
	struct gs_geo_block *blocks; /* NULL: only count */
	uint64_t next;		     /* first place that is free, counted in leaves */
	struct hole holes[HOLES];    /* the last ones */
	unsigned next_hole;
};

/*
 * Bits set in a word, counted in parallel (Hacker's Delight, 5-1). The builtin would be a call into
 * libgcc on machines without the instruction.
 */
static unsigned count_bits(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555u;
	word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return (unsigned)(word * 0x0101010101010101u >> 56);
}

/* A place in the table: the numbers first .. first + 2^bits - 1. */
struct span {
	u128 first;
	unsigned bits;
};

static unsigned family_align(enum gs_geo_family family)
{
	return family == GS_GEO_V4 ? 96 : 0;
}

static unsigned root_bits(enum gs_geo_family family)
{
	return family == GS_GEO_V4 ? GS_GEO4_ROOT_BITS : GS_GEO6_ROOT_BITS;
}

static u128 line_number(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static u128 range_first(const struct build *build, size_t i)
{
	return line_number(build->starts ? build->starts[i] : build->ranges[i].first)
	       << build->align;
}

static u128 range_last(const struct build *build, size_t i)
{
	if (!build->starts)
		return line_number(build->ranges[i].last) << build->align |
		       (((u128)1 << build->align) - 1);
	return i + 1 < build->count ? range_first(build, i + 1) - 1 : ~(u128)0;
}

static uint16_t range_location(const struct build *build, size_t i)
{
	return build->starts ? build->locations[i] : build->ranges[i].location;
}

static u128 span_last(struct span span)
{
	return span.first + (((u128)1 << span.bits) - 1);
}

/* The first range at or after `from` that ends at `number` or later. Steps double, then halve. */
static size_t skip_to(const struct build *build, size_t from, u128 number)
{
	size_t low = from, step = 1;

	if (from == build->count || range_last(build, from) >= number)
		return from;
	/* ranges[low] ends before number */
	while (step < build->count - low && range_last(build, low + step) < number) {
		low += step;
		step *= 2;
	}
	while (step > 0) {
		if (step < build->count - low && range_last(build, low + step) < number)
			low += step;
		step /= 2;
	}
	return low + 1;
}

/*
 * One location covers the numbers from `number` to what is returned, at most `limit`.
 * ranges[at]: the first that ends at number or later.
 */
static u128 uniform_until(const struct build *build, size_t at, u128 number, u128 limit,
			  uint16_t *ret_location)
{
	uint16_t location = 0;

	if (at < build->count && range_first(build, at) <= number)
		location = range_location(build, at);
	*ret_location = location;
	for (;; at++) {
		bool gap = at == build->count || range_first(build, at) > number;

		if (gap && location != 0)
			return number - 1;
		if (at == build->count || range_first(build, at) > limit)
			return limit;
		if (range_location(build, at) != location)
			return range_first(build, at) - 1;
		if (range_last(build, at) >= limit)
			return limit;
		number = range_last(build, at) + 1;
	}
}

/* A node's slots: those that need a child, and the runs of locations of the others. */
struct slots {
	uint64_t child_map;
	uint64_t leaf_map;
	unsigned runs;
	uint16_t leaf[SLOTS];
};

static struct span slot_span(struct span node, unsigned slot)
{
	struct span span = {.bits = node.bits - GS_GEO_STRIDE};

	span.first = node.first + ((u128)slot << span.bits);
	return span;
}

static void add_leaf(struct slots *slots, unsigned slot, uint16_t location)
{
	if (slots->runs > 0 && slots->leaf[slots->runs - 1] == location)
		return;
	slots->leaf_map |= 1ull << slot;
	slots->leaf[slots->runs++] = location;
}

static void read_slots(const struct build *build, size_t at, struct span node,
		       struct slots *ret_slots)
{
	const u128 node_last = span_last(node);
	unsigned slot = 0;

	ret_slots->child_map = 0;
	ret_slots->leaf_map = 0;
	ret_slots->runs = 0;
	while (slot < SLOTS) {
		struct span span = slot_span(node, slot);
		unsigned next = SLOTS;
		uint16_t location;
		u128 last;

		at = skip_to(build, at, span.first);
		last = uniform_until(build, at, span.first, node_last, &location);
		if (last < node_last)
			next = (unsigned)((last + 1 - node.first) >> span.bits);
		if (next > slot) {
			add_leaf(ret_slots, slot, location);
			slot = next;
		} else {
			ret_slots->child_map |= 1ull << slot++;
		}
	}
}

#define NODE_LEAVES (GS_BLOCK_U16 / GS_BLOCK_NODES)

/* Places for nodes side by side; the first one's number. */
static uint64_t take_nodes(struct build *build, unsigned count)
{
	uint64_t first = (build->next + NODE_LEAVES - 1) / NODE_LEAVES;

	if (count == 0)
		return 0;
	if (first * NODE_LEAVES > build->next) {
		build->holes[build->next_hole] = (struct hole){build->next, first * NODE_LEAVES};
		build->next_hole = (build->next_hole + 1) % HOLES;
	}
	build->next = (first + count) * NODE_LEAVES;
	return first;
}

/* Places for runs the node itself has no room for; the first one's number, 0 without any. */
static uint64_t take_leaves(struct build *build, unsigned runs)
{
	unsigned count = runs > GS_GEO_INLINE_LEAVES ? runs - GS_GEO_INLINE_LEAVES : 0;
	uint64_t *place = &build->next, first;

	if (count == 0)
		return 0;
	for (unsigned i = 0; i < HOLES; i++)
		if (build->holes[i].end - build->holes[i].first >= count)
			place = &build->holes[i].first;
	first = *place;
	*place += count;
	return first;
}

static void write_node(struct build *build, uint64_t number, const struct slots *slots,
		       uint64_t child_base, uint64_t leaf_base)
{
	struct gs_geo_node *node =
		&build->blocks[number / GS_BLOCK_NODES].node[number % GS_BLOCK_NODES];

	node->child_map = slots->child_map;
	node->leaf_map = slots->leaf_map;
	node->child_base = (uint32_t)child_base;
	node->leaf_base = (uint32_t)leaf_base;
	for (unsigned i = 0; i < slots->runs; i++) {
		if (i < GS_GEO_INLINE_LEAVES) {
			node->leaf[i] = slots->leaf[i];
			continue;
		}
		build->blocks[leaf_base / GS_BLOCK_U16].leaf[leaf_base % GS_BLOCK_U16] =
			slots->leaf[i];
		leaf_base++;
	}
}

/*
 * Builds node `number` and what is below it: its children get their numbers together, before any
 * grandchild does. As deep as the family has levels: a slot of one address is uniform.
 */
static void build_node(struct build *build, uint64_t number, size_t at, struct span node)
{
	struct slots slots;
	uint64_t child, leaf_base;

	read_slots(build, at, node, &slots);
	leaf_base = take_leaves(build, slots.runs);
	child = take_nodes(build, count_bits(slots.child_map));
	if (build->blocks)
		write_node(build, number, &slots, child, leaf_base);
	for (uint64_t left = slots.child_map; left; left &= left - 1) {
		struct span span = slot_span(node, (unsigned)__builtin_ctzll(left));

		at = skip_to(build, at, span.first);
		build_node(build, child++, at, span);
	}
}

static void write_root(struct build *build, uint32_t first, uint32_t end, uint32_t entry)
{
	for (uint32_t i = first; build->blocks && i < end; i++)
		build->blocks[i / GS_BLOCK_U32].root[i % GS_BLOCK_U32] = entry;
}

static void build_root(struct build *build, enum gs_geo_family family)
{
	const uint32_t entries = 1u << root_bits(family);
	const u128 line_last = ~(u128)0;
	struct span span = {.bits = 128 - root_bits(family)};
	uint32_t i = 0;
	size_t at = 0;

	while (i < entries) {
		uint32_t next = entries;
		uint16_t location;
		u128 last;

		span.first = (u128)i << span.bits;
		at = skip_to(build, at, span.first);
		last = uniform_until(build, at, span.first, line_last, &location);
		if (last < line_last)
			next = (uint32_t)((last + 1) >> span.bits);
		if (next > i) {
			write_root(build, i, next, GS_GEO_LEAF | location);
			i = next;
		} else {
			uint64_t node = take_nodes(build, 1);

			write_root(build, i, i + 1, (uint32_t)node);
			build_node(build, node, at, span);
			i++;
		}
	}
}

static bool is_in_family(enum gs_geo_family family, struct gs_geo_key key)
{
	return family == GS_GEO_V6 || (key.high == 0 && key.low <= UINT32_MAX);
}

static int build_table(struct build *build, enum gs_geo_family family, struct gs_geo_output *output)
{
	const uint64_t root_blocks = (1ull << root_bits(family)) / GS_BLOCK_U32;
	const struct build begun = {
		.ranges = build->ranges,
		.starts = build->starts,
		.locations = build->locations,
		.count = build->count,
		.align = family_align(family),
		.next = root_blocks * GS_BLOCK_U16,
	};
	uint64_t total;

	*build = begun;
	build_root(build, family);
	total = (build->next + GS_BLOCK_U16 - 1) / GS_BLOCK_U16;
	if (total > MAX_BLOCKS)
		return -EFBIG;
	if (total > output->block_limit && (!output->grow || output->grow(output, total)))
		return -ENOMEM;

	*build = begun;
	build->blocks = output->blocks;
	memset(build->blocks, 0, total * sizeof(build->blocks[0]));
	build_root(build, family);
	output->block_count = total;
	return 0;
}

int gs_geo_build(const struct gs_geo_input *input, struct gs_geo_output *output, size_t *ret_at)
{
	struct build build = {.ranges = input->ranges, .count = input->count};

	for (size_t i = 0; i < input->count; i++) {
		const struct gs_geo_range *range = &input->ranges[i];

		if (!is_in_family(input->family, range->last) ||
		    line_number(range->first) > line_number(range->last) ||
		    (i > 0 && line_number(range->first) <= line_number(range[-1].last))) {
			*ret_at = i;
			return -EINVAL;
		}
	}
	return build_table(&build, input->family, output);
}

int gs_geo_build_starts(const struct gs_geo_starts *input, struct gs_geo_output *output,
			size_t *ret_at)
{
	struct build build = {
		.starts = input->starts, .locations = input->locations, .count = input->count};

	for (size_t i = 0; i < input->count; i++) {
		u128 start = line_number(input->starts[i]);

		if (!is_in_family(input->family, input->starts[i]) ||
		    (i == 0 ? start != 0 : start <= line_number(input->starts[i - 1]))) {
			*ret_at = i;
			return -EINVAL;
		}
	}
	return build_table(&build, input->family, output);
}

static uint32_t node_child(const struct gs_geo_node *node, unsigned v)
{
	return node->child_base + count_bits(node->child_map & ((1ull << v) - 1));
}

static uint16_t node_leaf(const struct gs_geo_block *blocks, size_t block_count,
			  const struct gs_geo_node *node, unsigned v)
{
	unsigned run = count_bits(node->leaf_map << (SLOTS - 1 - v));
	uint64_t leaf;

	if (run == 0)
		return 0;
	run--;
	if (run < GS_GEO_INLINE_LEAVES)
		return node->leaf[run];
	leaf = (uint64_t)node->leaf_base + run - GS_GEO_INLINE_LEAVES;
	if (leaf / GS_BLOCK_U16 >= block_count)
		return 0;
	return blocks[leaf / GS_BLOCK_U16].leaf[leaf % GS_BLOCK_U16];
}

uint16_t gs_geo_find(const struct gs_geo_block *blocks, size_t block_count,
		     enum gs_geo_family family, struct gs_geo_key key)
{
	const unsigned levels = family == GS_GEO_V4 ? GS_GEO4_LEVELS : GS_GEO6_LEVELS;
	const u128 number = line_number(key) << family_align(family);
	unsigned bits = 128 - root_bits(family); /* not read yet */
	uint64_t index = (uint64_t)(number >> bits);
	uint32_t entry;

	if (index / GS_BLOCK_U32 >= block_count)
		return 0;
	entry = blocks[index / GS_BLOCK_U32].root[index % GS_BLOCK_U32];
	if (entry & GS_GEO_LEAF)
		return (uint16_t)entry;
	for (unsigned level = 0; level < levels; level++) {
		const struct gs_geo_node *node;
		unsigned v;

		if (entry / GS_BLOCK_NODES >= block_count)
			return 0;
		node = &blocks[entry / GS_BLOCK_NODES].node[entry % GS_BLOCK_NODES];
		bits -= GS_GEO_STRIDE;
		v = (unsigned)(number >> bits) & (SLOTS - 1);
		if (!(node->child_map >> v & 1))
			return node_leaf(blocks, block_count, node, v);
		entry = node_child(node, v);
	}
	return 0;
}

static uint64_t load_be64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap64(value);
}

struct gs_geo_key gs_geo_key_of(const struct gs_addr *addr)
{
	struct gs_geo_key key = {.low = load_be64(addr->bytes + 8)};

	if (load_be64(addr->bytes) == 0 && key.low >> 32 == 0xffff)
		key.low &= UINT32_MAX;
	else
		key.high = load_be64(addr->bytes);
	return key;
}

bool gs_geo_embedded_v4(const struct gs_addr *addr, struct gs_addr *ret_v4)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	struct gs_addr v4 = {.bytes = {[10] = 0xff, [11] = 0xff}};

	if (addr->bytes[0] == 0x20 && addr->bytes[1] == 0x02)
		memcpy(v4.bytes + 12, addr->bytes + 2, 4);
	else if (memcmp(addr->bytes, nat64, sizeof(nat64)) == 0)
		memcpy(v4.bytes + 12, addr->bytes + 12, 4);
	else
		return false;
	*ret_v4 = v4;
	return true;
}
