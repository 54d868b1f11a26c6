/* SPDX-License-Identifier: Apache-2.0 */
#include "geodiff.h"

#include <string.h>

/* Both families are one number line of 128 bits here, as in geotable.c. */
__extension__ typedef unsigned __int128 u128;

#define SLOTS (1u << GS_GEO_STRIDE)

static unsigned align_of(enum gs_geo_family family)
{
	return family == GS_GEO_V4 ? 96 : 0;
}

static unsigned root_bits(enum gs_geo_family family)
{
	return family == GS_GEO_V4 ? GS_GEO4_ROOT_BITS : GS_GEO6_ROOT_BITS;
}

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){.high = (uint64_t)(number >> 64), .low = (uint64_t)number};
}

static unsigned count_bits(uint64_t word)
{
	unsigned count = 0;

	for (; word; word &= word - 1)
		count++;
	return count;
}

/* ---- one compiled table, run by run ---------------------------------------------------------- */

static const struct gs_geo_node *node_at(const struct gs_geo_cursor *cursor, uint32_t node)
{
	if (node / GS_BLOCK_NODES >= cursor->block_count)
		return NULL;
	return &cursor->blocks[node / GS_BLOCK_NODES].node[node % GS_BLOCK_NODES];
}

static uint16_t leaf_of(const struct gs_geo_cursor *cursor, const struct gs_geo_node *node,
			unsigned slot)
{
	unsigned run = count_bits(node->leaf_map << (SLOTS - 1 - slot));
	uint64_t leaf;

	if (run-- == 0)
		return 0;
	if (run < GS_GEO_INLINE_LEAVES)
		return node->leaf[run];
	leaf = (uint64_t)node->leaf_base + run - GS_GEO_INLINE_LEAVES;
	if (leaf / GS_BLOCK_U16 >= cursor->block_count)
		return 0;
	return cursor->blocks[leaf / GS_BLOCK_U16].leaf[leaf % GS_BLOCK_U16];
}

/* Bits of the number that a slot of the node at this depth (from 1 on) leaves open. */
static unsigned slot_bits(const struct gs_geo_cursor *cursor, unsigned depth)
{
	return 128 - root_bits(cursor->family) - GS_GEO_STRIDE * depth;
}

/* The run that ends before `end` (0: at the end of the line) has been read. */
static void take_run(struct gs_geo_cursor *cursor, u128 end, uint16_t location)
{
	cursor->last = key_of(end - 1);
	cursor->location = location;
	cursor->has_run = true;
}

/* What is below `node`, which covers the numbers from `first` to before `end`, is next. */
static void go_down(struct gs_geo_cursor *cursor, uint32_t node, u128 first, u128 end)
{
	const unsigned levels = cursor->family == GS_GEO_V4 ? GS_GEO4_LEVELS : GS_GEO6_LEVELS;

	if (cursor->depth < levels && node_at(cursor, node))
		cursor->frames[cursor->depth++] =
			(struct gs_geo_cursor_frame){.first = key_of(first), .node = node};
	else
		take_run(cursor, end, 0); /* as a look-up finds it */
}

static void read_root(struct gs_geo_cursor *cursor)
{
	const unsigned bits = 128 - root_bits(cursor->family);
	const u128 first = (u128)cursor->root << bits, end = first + ((u128)1 << bits);
	uint32_t entry = GS_GEO_LEAF;

	if (cursor->root / GS_BLOCK_U32 < cursor->block_count)
		entry = cursor->blocks[cursor->root / GS_BLOCK_U32]
				.root[cursor->root % GS_BLOCK_U32];
	cursor->root++;
	if (entry & GS_GEO_LEAF)
		take_run(cursor, end, (uint16_t)entry);
	else
		go_down(cursor, entry, first, end);
}

static void read_node(struct gs_geo_cursor *cursor)
{
	struct gs_geo_cursor_frame *frame = &cursor->frames[cursor->depth - 1];
	const unsigned bits = slot_bits(cursor, cursor->depth), slot = frame->slot;
	const struct gs_geo_node *node = node_at(cursor, frame->node);
	const u128 begin = number_of(frame->first), first = begin + ((u128)slot << bits);
	uint64_t changes;

	if (slot == SLOTS) {
		cursor->depth--;
		return;
	}
	if (node->child_map >> slot & 1) {
		uint32_t below =
			node->child_base + count_bits(node->child_map & ((1ull << slot) - 1));

		frame->slot++;
		go_down(cursor, below, first, first + ((u128)1 << bits));
		return;
	}
	/* Up to the next child, or the next leaf. */
	changes = slot + 1 < SLOTS ? (node->child_map | node->leaf_map) >> (slot + 1) : 0;
	frame->slot = changes ? slot + 1 + (unsigned)__builtin_ctzll(changes) : SLOTS;
	take_run(cursor, begin + ((u128)frame->slot << bits), leaf_of(cursor, node, slot));
}

/* On to the run that has `number`; it never goes back. */
static void seek(struct gs_geo_cursor *cursor, u128 number)
{
	while (!cursor->has_run || number_of(cursor->last) < number) {
		cursor->has_run = false;
		while (!cursor->has_run)
			if (cursor->depth == 0)
				read_root(cursor);
			else
				read_node(cursor);
	}
}

/* ---- both sides ------------------------------------------------------------------------------ */

/* The location of `number`; *last comes down to where it ends. */
static uint16_t look(struct gs_geodiff_side *side, u128 number, u128 *last)
{
	const unsigned align = align_of(side->cursor.family);
	const struct gs_geo_range *over;
	u128 end;

	for (; side->over_at < side->over_count; side->over_at++) {
		over = &side->over[side->over_at];
		end = number_of(over->last) << align | (((u128)1 << align) - 1);
		if (end < number)
			continue;
		if (number_of(over->first) << align <= number) {
			*last = *last < end ? *last : end;
			return over->location;
		}
		end = (number_of(over->first) << align) - 1;
		*last = *last < end ? *last : end;
		break;
	}
	seek(&side->cursor, number);
	end = number_of(side->cursor.last);
	*last = *last < end ? *last : end;
	return side->cursor.location;
}

/* 64:ff9b::/96 and 2002::/16: true if `number` is in one; *last comes down to where that changes.
 */
static bool is_embedded(enum gs_geo_family family, u128 number, u128 *last)
{
	static const struct {
		struct gs_geo_key first, last;
	} embedded[] = {
		{{0x0064ff9b00000000u, 0}, {0x0064ff9b00000000u, UINT32_MAX}},
		{{0x2002000000000000u, 0}, {0x2002ffffffffffffu, UINT64_MAX}},
	};

	for (size_t i = 0; family == GS_GEO_V6 && i < sizeof(embedded) / sizeof(*embedded); i++) {
		u128 first = number_of(embedded[i].first), end = number_of(embedded[i].last);

		if (number > end)
			continue;
		if (number < first)
			end = first - 1;
		*last = *last < end ? *last : end;
		return number >= first;
	}
	return false;
}

void gs_geodiff_init(struct gs_geodiff *ret_diff, enum gs_geo_family family,
		     const struct gs_geo_layers *before, const struct gs_geo_layers *after)
{
	const struct gs_geo_layers *const layers[] = {before, after};

	memset(ret_diff, 0, sizeof(*ret_diff));
	ret_diff->family = family;
	for (int i = 0; i < 2; i++) {
		struct gs_geodiff_side *side = &ret_diff->side[i];

		side->cursor.blocks = layers[i]->blocks;
		side->cursor.block_count = layers[i]->block_count;
		side->cursor.family = family;
		side->over = layers[i]->over;
		side->over_count = layers[i]->over_count;
	}
}

uint32_t gs_geodiff_next(struct gs_geodiff *diff, struct gs_geodiff_run *ret_runs, uint32_t most)
{
	const unsigned align = align_of(diff->family);
	uint32_t count = 0;

	while (!diff->is_over) {
		const u128 number = number_of(diff->at);
		uint16_t before = 0, after = 0;
		u128 last = ~(u128)0;
		struct gs_geodiff_run *run;

		if (!is_embedded(diff->family, number, &last)) {
			before = look(&diff->side[0], number, &last);
			after = look(&diff->side[1], number, &last);
		}
		run = count > 0 ? &ret_runs[count - 1] : NULL;
		if (!run || run->before != before || run->after != after) {
			if (count == most)
				break;
			run = &ret_runs[count++];
			*run = (struct gs_geodiff_run){
				.first = key_of(number >> align), .before = before, .after = after};
		}
		run->last = key_of(last >> align);
		diff->is_over = last == ~(u128)0;
		diff->at = key_of(last + 1);
	}
	return count;
}
