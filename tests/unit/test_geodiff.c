/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of two tables in step, against a look at every address, and at every border. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/core/geodiff.h"

#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { RANGES = 24, OVERS = 6, SMALL = 1 << 10, CASES4 = 60, CASES6 = 5 };

/* One generation of one family, plain and compiled. */
struct side {
	struct gs_geodata_family table;
	struct gs_geo_range ranges[RANGES], over[OVERS];
	uint32_t count, over_count;
};

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){.high = (uint64_t)(number >> 64), .low = (uint64_t)number};
}

/* Ascending and apart, anywhere from `first` to `last`, their length anything up to a share of it.
 */
static uint32_t draw_ranges(struct gs_geo_range *ranges, uint32_t most, u128 first, u128 last,
			    uint64_t *seed)
{
	u128 at = first, step = (last - first) / (most + 1) + 1;
	uint32_t count = 0;

	while (count < most) {
		u128 gap = ((u128)world_draw(seed) << 64 | world_draw(seed)) % step;
		u128 length = ((u128)world_draw(seed) << 64 | world_draw(seed)) % step;

		if (world_draw(seed) % 3 == 0)
			gap = 0;
		if (world_draw(seed) % 4 == 0)
			length = 0;
		if (gap > last - at || length > last - at - gap)
			break;
		ranges[count].first = key_of(at + gap);
		ranges[count].last = key_of(at + gap + length);
		ranges[count++].location = (uint16_t)(world_draw(seed) % 5);
		if (last - at - gap == length)
			break;
		at += gap + length + 1;
	}
	return count;
}

static void make_side(struct side *side, enum gs_geo_family family, u128 first, u128 last,
		      uint64_t *seed)
{
	side->count = draw_ranges(side->ranges, RANGES, first, last, seed);
	side->over_count = draw_ranges(side->over, OVERS, first, last, seed);
	world_compile(&side->table, family, side->ranges, side->count);
}

static struct gs_geo_layers layers_of(const struct side *side)
{
	return (struct gs_geo_layers){.blocks = side->table.blocks,
				      .block_count = side->table.block_count,
				      .over = side->over,
				      .over_count = side->over_count};
}

static bool find(const struct gs_geo_range *ranges, uint32_t count, u128 number,
		 uint16_t *ret_location)
{
	for (uint32_t i = 0; i < count; i++)
		if (number >= number_of(ranges[i].first) && number <= number_of(ranges[i].last)) {
			*ret_location = ranges[i].location;
			return true;
		}
	return false;
}

static bool is_embedded(u128 number)
{
	return number >> 112 == 0x2002 || number >> 32 == (u128)0x0064ff9b << 64;
}

/* From what the tables were made of, not from the tables. */
static uint16_t location_at(const struct side *side, enum gs_geo_family family, u128 number)
{
	uint16_t location = 0;

	if (family == GS_GEO_V6 && is_embedded(number))
		return 0;
	if (!find(side->over, side->over_count, number, &location))
		find(side->ranges, side->count, number, &location);
	return location;
}

struct walk {
	struct gs_geodiff_run *runs;
	size_t count;
};

/* All runs, `most` a call: without a gap, to the end. */
static struct walk walk_all(const struct side *before, const struct side *after,
			    enum gs_geo_family family, uint32_t most)
{
	const struct gs_geo_layers was = layers_of(before), is = layers_of(after);
	struct gs_geodiff diff;
	struct walk walk = {calloc(4096, sizeof(*walk.runs)), 0};
	u128 next = 0;
	uint32_t count;

	assert_non_null(walk.runs);
	gs_geodiff_init(&diff, family, &was, &is);
	while ((count = gs_geodiff_next(&diff, walk.runs + walk.count, most)) > 0) {
		assert_true(count <= most);
		for (uint32_t i = 0; i < count; i++) {
			const struct gs_geodiff_run *run = &walk.runs[walk.count + i];

			assert_true(number_of(run->first) == next);
			assert_true(number_of(run->last) >= next);
			if (i > 0)
				assert_true(run[-1].before != run->before ||
					    run[-1].after != run->after);
			next = number_of(run->last) + 1;
		}
		walk.count += count;
		assert_true(walk.count + most < 4096);
	}
	assert_true(next == (family == GS_GEO_V4 ? (u128)1 << 32 : 0));
	assert_int_equal(gs_geodiff_next(&diff, walk.runs, most), 0);
	return walk;
}

static const struct gs_geodiff_run *run_of(const struct walk *walk, u128 number)
{
	size_t low = 0, high = walk->count - 1;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (number_of(walk->runs[middle].last) < number)
			low = middle + 1;
		else
			high = middle;
	}
	return &walk->runs[low];
}

static void check_at(const struct walk *walk, const struct side *before, const struct side *after,
		     enum gs_geo_family family, u128 number)
{
	const struct gs_geodiff_run *run = run_of(walk, number);

	assert_int_equal(run->before, location_at(before, family, number));
	assert_int_equal(run->after, location_at(after, family, number));
}

static void every_address_of_a_small_space(void **state)
{
	const u128 first = 0x0a000000;
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < CASES4; i++) {
		struct side before = {.count = 0}, after = {.count = 0};
		struct walk walk;

		make_side(&before, GS_GEO_V4, first, first + SMALL - 1, &seed);
		make_side(&after, GS_GEO_V4, first, first + SMALL - 1, &seed);
		walk = walk_all(&before, &after, GS_GEO_V4, i % 2 ? 1000 : 3);
		for (u128 number = first - 2; number < first + SMALL + 2; number++)
			check_at(&walk, &before, &after, GS_GEO_V4, number);
		free(walk.runs);
		free(before.table.blocks);
		free(after.table.blocks);
	}
}

/* Between two neighbouring borders of what the tables were made of nothing changes. */
static void check_borders(const struct walk *walk, const struct side *before,
			  const struct side *after, const struct gs_geo_range *ranges,
			  uint32_t count, enum gs_geo_family family)
{
	const u128 end = family == GS_GEO_V4 ? UINT32_MAX : ~(u128)0;

	for (uint32_t i = 0; i < count; i++) {
		u128 first = number_of(ranges[i].first), last = number_of(ranges[i].last);

		check_at(walk, before, after, family, first);
		check_at(walk, before, after, family, first > 0 ? first - 1 : 0);
		check_at(walk, before, after, family, last);
		check_at(walk, before, after, family, last < end ? last + 1 : end);
	}
}

static void every_border_of_the_whole_space(void **state)
{
	static const struct gs_geo_range embedded[] = {
		{{0x0064ff9b00000000u, 0}, {0x0064ff9b00000000u, UINT32_MAX}, 0},
		{{0x2002000000000000u, 0}, {0x2002ffffffffffffu, UINT64_MAX}, 0},
	};
	uint64_t seed = 2;

	(void)state;
	for (int i = 0; i < CASES6 * 2; i++) {
		enum gs_geo_family family = i < CASES6 ? GS_GEO_V6 : GS_GEO_V4;
		const u128 end = family == GS_GEO_V4 ? UINT32_MAX : ~(u128)0;
		struct side before = {.count = 0}, after = {.count = 0};
		struct walk walk;

		make_side(&before, family, 0, end, &seed);
		make_side(&after, family, 0, end, &seed);
		walk = walk_all(&before, &after, family, 512);
		check_borders(&walk, &before, &after, before.ranges, before.count, family);
		check_borders(&walk, &before, &after, before.over, before.over_count, family);
		check_borders(&walk, &before, &after, after.ranges, after.count, family);
		check_borders(&walk, &before, &after, after.over, after.over_count, family);
		if (family == GS_GEO_V6)
			check_borders(&walk, &before, &after, embedded, 2, family);
		free(walk.runs);
		free(before.table.blocks);
		free(after.table.blocks);
	}
}

static void no_table_is_unknown_everywhere(void **state)
{
	const struct side none = {.count = 0};
	struct side one = {.count = 1};
	struct walk walk;

	(void)state;
	walk = walk_all(&none, &none, GS_GEO_V6, 8);
	assert_int_equal(walk.count, 1);
	free(walk.runs);
	one.ranges[0] = (struct gs_geo_range){{0, 5}, {0, 9}, 7};
	world_compile(&one.table, GS_GEO_V4, one.ranges, 1);
	walk = walk_all(&none, &one, GS_GEO_V4, 8);
	assert_int_equal(walk.count, 3);
	assert_int_equal(walk.runs[1].first.low, 5);
	assert_int_equal(walk.runs[1].last.low, 9);
	assert_int_equal(walk.runs[1].before, 0);
	assert_int_equal(walk.runs[1].after, 7);
	free(walk.runs);
	free(one.table.blocks);
}

/* A table that is no good ends in unknown addresses, as look-ups in it do; not in a crash. */
static void a_broken_table_is_walked_to_its_end(void **state)
{
	uint64_t seed = 3;

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct side before = {.count = 0}, after = {.count = 0};
		struct walk walk;

		make_side(&before, GS_GEO_V4, 0x0a000000, 0x0a000000 + SMALL - 1, &seed);
		make_side(&after, GS_GEO_V4, 0x0a000000, 0x0a000000 + SMALL - 1, &seed);
		after.table.block_count = after.table.block_count - 1 - (size_t)i % 4;
		after.over_count = 0;
		walk = walk_all(&before, &after, GS_GEO_V4, 100);
		for (u128 number = 0x0a000000; number < 0x0a000000 + SMALL; number++)
			assert_int_equal(run_of(&walk, number)->after,
					 gs_geo_find(after.table.blocks, after.table.block_count,
						     GS_GEO_V4, key_of(number)));
		free(walk.runs);
		free(before.table.blocks);
		free(after.table.blocks);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_address_of_a_small_space),
		cmocka_unit_test(every_border_of_the_whole_space),
		cmocka_unit_test(no_table_is_unknown_everywhere),
		cmocka_unit_test(a_broken_table_is_walked_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
