/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From short to long: of the blocks of one length as many are kept as are wanted, the others are
 * halved and are of the next length. Where the space is the one that the shape was counted in it
 * comes out even; of a larger one blocks are left out as soon as what is wanted fits without them.
 */
#include "city.h"

#include "user/core/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 signed_number;

struct splitter {
	const struct city_shape *shape;
	uint64_t seed;
	const struct city_block *space; /* by length */
	size_t space_count;
	struct city_blocks now, next; /* blocks of one length, and of the next one */
	/* Addresses that may be left out from this length on. */
	signed_number spare[129];
	signed_number left_out;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t state = a ^ b * 0xff51afd7ed558ccdULL;

	return gs_random(&state);
}

static int compare_first(const void *a, const void *b)
{
	const struct city_block *i = a, *j = b;

	return (i->first > j->first) - (i->first < j->first);
}

static int compare_keys(const void *a, const void *b)
{
	const struct city_block *i = a, *j = b;

	if (i->key != j->key)
		return i->key < j->key ? -1 : 1;
	return compare_first(a, b);
}

static int compare_lengths(const void *a, const void *b)
{
	const struct city_block *i = a, *j = b;

	return i->length != j->length ? (int)i->length - (int)j->length : compare_first(a, b);
}

static city_number size_of(const struct splitter *splitter, unsigned length)
{
	return (city_number)1 << (splitter->shape->width - length);
}

/* ---- which part of the space ---------------------------------------------------------------- */

/* spare[n]: the least, over lengths from n on, of what there is of blocks up to there less what is
 * wanted of prefixes up to there. Whether it is enough everywhere. */
static bool count_spare(struct splitter *splitter, const uint64_t blocks[129])
{
	const unsigned width = splitter->shape->width;
	signed_number sums[129], sum = 0;

	for (unsigned length = 1; length <= width; length++) {
		sum += (signed_number)(size_of(splitter, length) * blocks[length]);
		sum -= (signed_number)(size_of(splitter, length) *
				       splitter->shape->prefixes[length]);
		sums[length] = sum;
	}
	for (unsigned length = width; length > 0; length--) {
		splitter->spare[length] = sums[length];
		if (length < width && splitter->spare[length + 1] < sums[length])
			splitter->spare[length] = splitter->spare[length + 1];
	}
	return splitter->spare[1] >= 0;
}

/*
 * Whole neighbourhoods, so that what is left of a smaller shape is as dense as the whole: drawn
 * until there are as many blocks as is the shape's share of all, then until it fits.
 */
static size_t choose_space(struct splitter *splitter, struct city_blocks *space)
{
	const unsigned width = splitter->shape->width, step = width == 32 ? 16 : 96;
	uint64_t blocks[129] = {0};
	size_t used = 0, given = 0;

	for (size_t i = 0; i < space->count; i++) {
		struct city_block *block = &space->at[i];

		block->key = mix(splitter->seed, (uint64_t)(block->first >> step)) >> 1;
		/* What nobody has comes last, the smallest first. */
		if (block->is_spare)
			block->key = 1ULL << 63 | (uint64_t)(128 - block->length) << 48 |
				     block->key >> 16;
		else
			given++;
	}
	qsort(space->at, space->count, sizeof(space->at[0]), compare_keys);
	while (used < space->count) {
		bool is_share = used >= given / splitter->shape->part;

		if (is_share && used % 64 == 0 && count_spare(splitter, blocks))
			break;
		blocks[space->at[used++].length]++;
	}
	count_spare(splitter, blocks);
	return used;
}

/* ---- one length ----------------------------------------------------------------------------- */

/* The `count` least by key come first. */
static void select_least(struct city_block *blocks, size_t total, size_t count)
{
	while (total > 1 && count > 0 && count < total) {
		/* Never the last one: then the first part would be all. */
		struct city_block pivot = blocks[(total - 1) / 2];
		size_t low = 0, high = total - 1;

		for (;;) {
			struct city_block swap;

			while (compare_keys(&blocks[low], &pivot) < 0)
				low++;
			while (compare_keys(&blocks[high], &pivot) > 0)
				high--;
			if (low >= high)
				break;
			swap = blocks[low];
			blocks[low++] = blocks[high];
			blocks[high--] = swap;
		}
		/* blocks[0 .. high] <= pivot <= blocks[low ..] */
		low = high + 1;
		if (count <= low) {
			total = low;
		} else {
			blocks += low;
			total -= low;
			count -= low;
		}
	}
}

static int take_level(struct splitter *splitter, unsigned length)
{
	struct city_blocks swap = splitter->now;

	splitter->now = splitter->next;
	splitter->next = swap;
	splitter->next.count = 0;
	for (; splitter->space_count > 0 && splitter->space->length == length;
	     splitter->space++, splitter->space_count--)
		if (city_blocks_add(&splitter->now, splitter->space))
			return -ENOMEM;
	for (size_t i = 0; i < splitter->now.count; i++) {
		struct city_block *block = &splitter->now.at[i];

		block->key = mix(mix(splitter->seed, (uint64_t)(block->first >> 64)),
				 (uint64_t)block->first ^ (uint64_t)length << 56) >>
			     1;
		if (!block->is_spare)
			block->key |= 1ULL << 63;
	}
	return 0;
}

static int halve(struct splitter *splitter, const struct city_block *block)
{
	struct city_block half = *block;

	half.length++;
	if (city_blocks_add(&splitter->next, &half))
		return -ENOMEM;
	half.first += size_of(splitter, half.length);
	return city_blocks_add(&splitter->next, &half);
}

static int split_level(struct splitter *splitter, unsigned length, struct city_blocks *prefixes,
		       uint32_t *ret_lacking)
{
	const city_number size = size_of(splitter, length);
	size_t count, keep = splitter->shape->prefixes[length], leave;
	struct city_block *blocks;
	signed_number spare;
	int err = take_level(splitter, length);

	if (err)
		return err;
	blocks = splitter->now.at;
	count = splitter->now.count;
	*ret_lacking = keep > count ? (uint32_t)(keep - count) : 0;
	keep -= *ret_lacking;
	/* What is not to be had needs no room. */
	splitter->left_out -= (signed_number)(size * *ret_lacking);
	select_least(blocks, count, keep);
	for (size_t i = 0; i < keep; i++)
		if (city_blocks_add(prefixes, &blocks[i]))
			return -ENOMEM;
	blocks += keep;
	count -= keep;
	spare = splitter->spare[length] - splitter->left_out;
	leave = spare < 0 ? 0 : (size_t)((city_number)spare / size);
	if (leave > count || length == splitter->shape->width)
		leave = count;
	splitter->left_out += (signed_number)(size * leave);
	select_least(blocks, count, leave);
	for (size_t i = leave; i < count && !err; i++)
		err = halve(splitter, &blocks[i]);
	return err;
}

int city_split(struct city_blocks *space, const struct city_shape *shape, uint64_t seed,
	       struct city_blocks *ret_prefixes, uint32_t ret_lacking[129])
{
	struct splitter splitter = {.shape = shape, .seed = seed};
	int err = 0;

	splitter.space_count = choose_space(&splitter, space);
	splitter.space = space->at;
	qsort(space->at, splitter.space_count, sizeof(space->at[0]), compare_lengths);
	for (unsigned length = 1; length <= shape->width && !err; length++)
		err = split_level(&splitter, length, ret_prefixes, &ret_lacking[length]);
	city_blocks_done(&splitter.now);
	city_blocks_done(&splitter.next);
	city_blocks_done(space);
	qsort(ret_prefixes->at, ret_prefixes->count, sizeof(ret_prefixes->at[0]), compare_first);
	return err;
}
