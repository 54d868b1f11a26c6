/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geotable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { TABLES = 1000, PREFIXES = 40 };

struct prefix {
	u128 first;
	unsigned length; /* of width */
	uint16_t location;
};

static u128 last_of(const struct prefix *prefix, unsigned width)
{
	unsigned bits = width - prefix->length;

	return prefix->first + (bits == 128 ? ~(u128)0 : ((u128)1 << bits) - 1);
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){.high = (uint64_t)(number >> 64), .low = (uint64_t)number};
}

/* The slow, obvious way: of all prefixes around the address, the longest. */
static uint16_t longest_match(const struct prefix *prefixes, size_t count, unsigned width,
			      u128 address)
{
	uint16_t location = 0;
	int best = -1;

	for (size_t i = 0; i < count; i++)
		if (address >= prefixes[i].first && address <= last_of(&prefixes[i], width) &&
		    (int)prefixes[i].length > best) {
			best = (int)prefixes[i].length;
			location = prefixes[i].location;
		}
	return location;
}

static u128 draw_address(uint64_t *seed, unsigned width)
{
	u128 address = (u128)world_draw(seed) << 64 | world_draw(seed);

	return width == 32 ? (uint32_t)address : address;
}

/* Close together, so that they nest, touch and share nodes; now and then the address space's ends.
 */
static size_t draw_prefixes(uint64_t *seed, unsigned width, struct prefix prefixes[PREFIXES])
{
	size_t count = world_draw(seed) % (PREFIXES + 1);
	u128 centre = draw_address(seed, width);

	for (size_t i = 0; i < count; i++) {
		struct prefix *prefix = &prefixes[i];
		unsigned host;

		prefix->length = (unsigned)(world_draw(seed) % (width + 1));
		if (world_draw(seed) % 4 == 0)
			prefix->length = width - (unsigned)(world_draw(seed) % 3);
		host = width - prefix->length;
		prefix->first = centre ^ draw_address(seed, width) >> world_draw(seed) % width;
		if (world_draw(seed) % 8 == 0)
			prefix->first = world_draw(seed) % 2 ? 0 : ~(u128)0;
		if (width == 32)
			prefix->first = (uint32_t)prefix->first;
		prefix->first = host == 128 ? 0 : prefix->first >> host << host;
		prefix->location = (uint16_t)(world_draw(seed) % (i % 3 ? 5 : 65536));
		for (size_t j = 0; j < i; j++)
			if (prefixes[j].first == prefix->first &&
			    prefixes[j].length == prefix->length)
				prefix->location = prefixes[j].location;
	}
	return count;
}

static int compare_numbers(const void *a, const void *b)
{
	u128 i = *(const u128 *)a, j = *(const u128 *)b;

	return (i > j) - (i < j);
}

/* Where the answer may change: starts, and what follows ends. */
static size_t boundaries_of(const struct prefix *prefixes, size_t count, unsigned width,
			    u128 boundaries[2 * PREFIXES + 1])
{
	u128 end = width == 32 ? UINT32_MAX : ~(u128)0;
	size_t found = 0, kept = 1;

	boundaries[found++] = 0;
	for (size_t i = 0; i < count; i++) {
		boundaries[found++] = prefixes[i].first;
		if (last_of(&prefixes[i], width) != end)
			boundaries[found++] = last_of(&prefixes[i], width) + 1;
	}
	qsort(boundaries, found, sizeof(boundaries[0]), compare_numbers);
	for (size_t i = 1; i < found; i++)
		if (boundaries[i] != boundaries[kept - 1])
			boundaries[kept++] = boundaries[i];
	return kept;
}

static int grow(struct gs_geo_output *output, size_t block_limit)
{
	struct gs_geo_block *blocks = malloc(block_limit * sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	free(output->blocks);
	output->blocks = blocks;
	output->block_limit = block_limit;
	return 0;
}

/* Nested prefixes to disjoint ranges; unknown ones are sometimes left out, sometimes said. */
static size_t flatten(const struct prefix *prefixes, size_t count, unsigned width,
		      const u128 *boundaries, size_t boundary_count, struct gs_geo_range *ranges)
{
	u128 end = width == 32 ? UINT32_MAX : ~(u128)0;
	size_t used = 0;

	for (size_t i = 0; i < boundary_count; i++) {
		uint16_t location = longest_match(prefixes, count, width, boundaries[i]);

		if (location == 0 && i % 2)
			continue;
		ranges[used].first = key_of(boundaries[i]);
		ranges[used].last = key_of(i + 1 < boundary_count ? boundaries[i + 1] - 1 : end);
		ranges[used++].location = location;
	}
	return used;
}

static void check_one(const struct gs_geo_output *output, enum gs_geo_family family,
		      const struct prefix *prefixes, size_t count, u128 address, int table)
{
	unsigned width = family == GS_GEO_V4 ? 32 : 128;
	uint16_t want, got;

	if (width == 32)
		address = (uint32_t)address;
	want = longest_match(prefixes, count, width, address);
	got = gs_geo_find(output->blocks, output->block_count, family, key_of(address));
	if (got != want)
		fail_msg("table %d, IPv%d, %016llx%016llx: %u, want %u", table,
			 family == GS_GEO_V4 ? 4 : 6, (unsigned long long)(address >> 64),
			 (unsigned long long)address, got, want);
}

static void equals_longest_match(enum gs_geo_family family, uint64_t seed)
{
	const unsigned width = family == GS_GEO_V4 ? 32 : 128;
	struct gs_geo_output output = {.grow = grow};

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int table = 0; table < TABLES; table++) {
		struct prefix prefixes[PREFIXES];
		struct gs_geo_range ranges[2 * PREFIXES + 1];
		u128 boundaries[2 * PREFIXES + 1];
		size_t count = draw_prefixes(&seed, width, prefixes);
		size_t found = boundaries_of(prefixes, count, width, boundaries);
		struct gs_geo_input input = {.family = family, .ranges = ranges};
		size_t at;

		input.count = flatten(prefixes, count, width, boundaries, found, ranges);
		assert_int_equal(gs_geo_build(&input, &output, &at), 0);
		for (size_t i = 0; i < found; i++)
			for (int near = -1; near <= 1; near++)
				check_one(&output, family, prefixes, count,
					  boundaries[i] + (u128)near, table);
		for (int i = 0; i < 200; i++)
			check_one(&output, family, prefixes, count, draw_address(&seed, width),
				  table);
	}
	free(output.blocks);
}

static void equals_longest_match_v4(void **state)
{
	(void)state;
	equals_longest_match(GS_GEO_V4, 1);
}

static void equals_longest_match_v6(void **state)
{
	(void)state;
	equals_longest_match(GS_GEO_V6, 2);
}

/* Each address its own location, down to the last bit. */
static void single_addresses(void **state)
{
	static struct gs_geo_range ranges[4096];
	(void)state;

	for (int family = GS_GEO_V4; family <= GS_GEO_V6; family++) {
		struct gs_geo_input input = {(enum gs_geo_family)family, ranges,
					     ARRAY_SIZE(ranges)};
		struct gs_geo_output output = {.grow = grow};
		u128 base = family == GS_GEO_V4 ? 0xc0000200u : ~(u128)0 - 8191;
		size_t at;

		for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
			ranges[i].first = ranges[i].last = key_of(base + 2 * i);
			ranges[i].location = (uint16_t)(65535 - i);
		}
		assert_int_equal(gs_geo_build(&input, &output, &at), 0);
		for (size_t i = 0; i < 2 * ARRAY_SIZE(ranges); i++)
			assert_int_equal(gs_geo_find(output.blocks, output.block_count,
						     input.family, key_of(base + i)),
					 i % 2 ? 0 : 65535 - i / 2);
		free(output.blocks);
	}
}

/* Marks places, counted in leaves, that nothing else uses and that are behind the root. */
static void take_places(const struct gs_geo_output *output, uint64_t first, unsigned count,
			size_t root_blocks, uint8_t *seen)
{
	assert_true(first / GS_BLOCK_U16 >= root_blocks);
	assert_true((first + count - 1) / GS_BLOCK_U16 < output->block_count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(seen[first + i]++, 0);
}

/* The layout the packet path relies on, walked from the root: everything has its own place. */
static void check_node(const struct gs_geo_output *output, uint32_t number, size_t root_blocks,
		       uint8_t *seen)
{
	const unsigned places = GS_BLOCK_U16 / GS_BLOCK_NODES;
	const struct gs_geo_node *node =
		&output->blocks[number / GS_BLOCK_NODES].node[number % GS_BLOCK_NODES];
	uint32_t children, runs;

	take_places(output, (uint64_t)number * places, places, root_blocks, seen);
	children = (uint32_t)__builtin_popcountll(node->child_map);
	runs = (uint32_t)__builtin_popcountll(node->leaf_map);
	assert_int_equal(node->child_map & node->leaf_map, 0);
	assert_true(children > 0 || runs > 1);
	assert_int_equal(node->leaf_base == 0, runs <= GS_GEO_INLINE_LEAVES);
	if (node->leaf_base)
		take_places(output, node->leaf_base, runs - GS_GEO_INLINE_LEAVES, root_blocks,
			    seen);
	/* A leaf slot below which no run starts would have no location. */
	if (node->child_map != UINT64_MAX)
		assert_true(__builtin_ctzll(~node->child_map) == __builtin_ctzll(node->leaf_map));
	for (uint32_t i = 0; i < children; i++)
		check_node(output, node->child_base + i, root_blocks, seen);
}

/* The same said without gaps comes out the same. */
static void check_starts(const struct gs_geo_output *want, enum gs_geo_family family,
			 const struct gs_geo_range *ranges, size_t count)
{
	static struct gs_geo_key starts[4 * PREFIXES + 3];
	static uint16_t owners[4 * PREFIXES + 3];
	const struct gs_geo_key end = family == GS_GEO_V4
					      ? (struct gs_geo_key){0, UINT32_MAX}
					      : (struct gs_geo_key){UINT64_MAX, UINT64_MAX};
	struct gs_geo_starts input = {family, starts, owners, 1};
	struct gs_geo_output output = {.grow = grow};
	size_t at;

	starts[0] = key_of(0);
	owners[0] = 0;
	for (size_t i = 0; i < count; i++) {
		u128 after = (u128)ranges[i].last.high << 64 | ranges[i].last.low;

		/* A range takes the place of the gap before it, where there is none. */
		if (memcmp(&starts[input.count - 1], &ranges[i].first, sizeof(starts[0])) == 0)
			input.count--;
		starts[input.count] = ranges[i].first;
		owners[input.count++] = ranges[i].location;
		if (memcmp(&ranges[i].last, &end, sizeof(end)) == 0)
			break;
		starts[input.count] = key_of(after + 1);
		owners[input.count++] = 0;
	}
	assert_int_equal(gs_geo_build_starts(&input, &output, &at), 0);
	assert_int_equal(output.block_count, want->block_count);
	assert_memory_equal(output.blocks, want->blocks, want->block_count * sizeof(*want->blocks));
	free(output.blocks);
}

static void layout_is_sound(void **state)
{
	uint64_t seed = 3;
	(void)state;

	for (int table = 0; table < 40; table++) {
		enum gs_geo_family family = table % 2 ? GS_GEO_V6 : GS_GEO_V4;
		unsigned width = family == GS_GEO_V4 ? 32 : 128;
		unsigned bits = family == GS_GEO_V4 ? GS_GEO4_ROOT_BITS : GS_GEO6_ROOT_BITS;
		struct gs_geo_output output = {.grow = grow};
		struct prefix prefixes[PREFIXES];
		struct gs_geo_range ranges[2 * PREFIXES + 1];
		u128 boundaries[2 * PREFIXES + 1];
		size_t count = draw_prefixes(&seed, width, prefixes);
		size_t found = boundaries_of(prefixes, count, width, boundaries), at;
		struct gs_geo_input input = {family, ranges, 0};
		uint8_t *seen;

		input.count = flatten(prefixes, count, width, boundaries, found, ranges);
		assert_int_equal(gs_geo_build(&input, &output, &at), 0);
		check_starts(&output, family, ranges, input.count);
		seen = calloc(output.block_count, GS_BLOCK_U16);
		assert_non_null(seen);
		for (uint32_t i = 0; i < 1u << bits; i++) {
			uint32_t entry = output.blocks[i / GS_BLOCK_U32].root[i % GS_BLOCK_U32];

			if (entry & GS_GEO_LEAF)
				assert_int_equal(entry & ~GS_GEO_LEAF & ~0xffffu, 0);
			else
				check_node(&output, entry, (1u << bits) / GS_BLOCK_U32, seen);
		}
		free(seen);
		free(output.blocks);
	}
}

static struct gs_geo_range range(uint64_t first, uint64_t last, uint16_t location)
{
	return (struct gs_geo_range){{0, first}, {0, last}, location};
}

static void refuses_bad_ranges(void **state)
{
	const struct {
		const char *name;
		enum gs_geo_family family;
		struct gs_geo_range ranges[3];
		int err;
		size_t at;
	} cases[] = {
		{"ends before it begins", GS_GEO_V4, {range(2, 1, 1)}, -EINVAL, 0},
		{"overlap", GS_GEO_V4, {range(1, 5, 1), range(5, 6, 2)}, -EINVAL, 1},
		{"descending", GS_GEO_V6, {range(5, 6, 1), range(1, 2, 2)}, -EINVAL, 1},
		{"twice the same", GS_GEO_V6, {range(1, 2, 1), range(1, 2, 1)}, -EINVAL, 1},
		{"third one",
		 GS_GEO_V4,
		 {range(1, 1, 1), range(2, 2, 1), range(2, 3, 1)},
		 -EINVAL,
		 2},
		{"no IPv4 address", GS_GEO_V4, {range(1, 1ull << 32, 1)}, -EINVAL, 0},
		{"touching", GS_GEO_V4, {range(1, 1, 1), range(2, 2, 2), range(3, 9, 2)}, 0, 77},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_geo_input input = {cases[i].family, cases[i].ranges, 0};
		struct gs_geo_output output = {.grow = grow};
		size_t at = 77;

		while (input.count < 3 && cases[i].ranges[input.count].location)
			input.count++;
		if (gs_geo_build(&input, &output, &at) != cases[i].err || at != cases[i].at)
			fail_msg("%s: at %zu", cases[i].name, at);
		if (cases[i].err) {
			assert_null(output.blocks);
			assert_int_equal(output.block_count, 0);
		}
		free(output.blocks);
	}
}

static void refuses_bad_starts(void **state)
{
	const struct {
		enum gs_geo_family family;
		struct gs_geo_key starts[3];
		int err;
		size_t at;
	} cases[] = {
		{GS_GEO_V4, {{0, 1}, {0, 2}, {0, 3}}, -EINVAL, 0},
		{GS_GEO_V4, {{0, 0}, {0, 2}, {0, 2}}, -EINVAL, 2},
		{GS_GEO_V6, {{0, 0}, {1, 0}, {0, 7}}, -EINVAL, 2},
		{GS_GEO_V4, {{0, 0}, {0, 1ull << 32}, {1, 0}}, -EINVAL, 1},
		{GS_GEO_V6, {{0, 0}, {0, 1ull << 32}, {1, 0}}, 0, 77},
	};
	static const uint16_t owners[3] = {1, 2, 3};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_geo_starts input = {cases[i].family, cases[i].starts, owners, 3};
		struct gs_geo_output output = {.grow = grow};
		size_t at = 77;

		if (gs_geo_build_starts(&input, &output, &at) != cases[i].err || at != cases[i].at)
			fail_msg("case %zu: at %zu", i, at);
		assert_int_equal(output.blocks == NULL, cases[i].err != 0);
		free(output.blocks);
	}
}

static void says_when_room_is_short(void **state)
{
	struct gs_geo_range one = range(0x01020304, 0x01020304, 9);
	struct gs_geo_input input = {GS_GEO_V4, &one, 1};
	struct gs_geo_output probe = {.grow = grow}, output = {0};
	size_t at;
	(void)state;

	assert_int_equal(gs_geo_build(&input, &probe, &at), 0);
	output.blocks = calloc(probe.block_count, sizeof(*output.blocks));
	output.block_limit = probe.block_count - 1;
	assert_int_equal(gs_geo_build(&input, &output, &at), -ENOMEM);
	assert_int_equal(output.block_count, 0);
	output.block_limit = probe.block_count;
	assert_int_equal(gs_geo_build(&input, &output, &at), 0);
	assert_int_equal(output.block_count, probe.block_count);
	assert_memory_equal(output.blocks, probe.blocks,
			    probe.block_count * sizeof(*output.blocks));
	free(output.blocks);
	free(probe.blocks);
}

/* A table cut short or overwritten gives wrong answers, but reads nothing outside. */
static void stays_inside_broken_tables(void **state)
{
	struct gs_geo_range ranges[64];
	struct gs_geo_input input = {GS_GEO_V4, ranges, ARRAY_SIZE(ranges)};
	struct gs_geo_output output = {.grow = grow};
	uint64_t seed = 5;
	size_t at;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = range(0x0a000000 + 3 * i, 0x0a000000 + 3 * i + 1, (uint16_t)(i + 1));
	assert_int_equal(gs_geo_build(&input, &output, &at), 0);
	for (int i = 0; i < 20000; i++) {
		size_t count = world_draw(&seed) % 3 ? output.block_count
						     : world_draw(&seed) % output.block_count;
		size_t victim = output.block_count - 1 - world_draw(&seed) % 12;
		struct gs_geo_block kept = output.blocks[victim];
		struct gs_geo_key key = {0, 0x0a000000 + world_draw(&seed) % 256};

		output.blocks[victim].root[world_draw(&seed) % 16] = (uint32_t)world_draw(&seed);
		gs_geo_find(output.blocks, count, GS_GEO_V4, key);
		output.blocks[victim] = kept;
	}
	free(output.blocks);
}

static struct gs_addr addr_of(const char *text)
{
	struct gs_addr addr;

	assert_int_equal(gs_addr_parse(text, &addr), 0);
	return addr;
}

static void keys_and_embedded_addresses(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: none inside */
	} cases[] = {
		{"2002:c000:201::1", "192.0.2.1"},
		{"2002::", "0.0.0.0"},
		{"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255"},
		{"64:ff9b::192.0.2.33", "192.0.2.33"},
		{"64:ff9b::", "0.0.0.0"},
		{"64:ff9b:1::192.0.2.33", NULL},
		{"64:ff9b::1:192.0.2.33", NULL},
		{"64:ff9a::192.0.2.33", NULL},
		{"2003:c000:201::1", NULL},
		{"2001::c000:201", NULL},
		{"::192.0.2.1", NULL},
		{"192.0.2.1", NULL},
	};
	struct gs_addr addr = addr_of("2001:db8::7:8");
	struct gs_geo_key key = gs_geo_key_of(&addr);
	(void)state;

	assert_true(key.high == 0x20010db800000000 && key.low == 0x70008);
	addr = addr_of("192.0.2.1");
	key = gs_geo_key_of(&addr);
	assert_true(key.high == 0 && key.low == 0xc0000201);
	addr = addr_of("::192.0.2.1");
	key = gs_geo_key_of(&addr);
	assert_true(key.high == 0 && key.low == 0xc0000201);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_addr in = addr_of(cases[i].in), v4 = in;
		bool found = gs_geo_embedded_v4(&in, &v4);
		struct gs_addr want = cases[i].want ? addr_of(cases[i].want) : in;

		assert_int_equal(found, cases[i].want != NULL);
		assert_memory_equal(&v4, &want, sizeof(v4));
		/* In place as well. */
		gs_geo_embedded_v4(&in, &in);
		assert_memory_equal(&in, &want, sizeof(in));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_longest_match_v4),
		cmocka_unit_test(equals_longest_match_v6),
		cmocka_unit_test(single_addresses),
		cmocka_unit_test(layout_is_sound),
		cmocka_unit_test(refuses_bad_ranges),
		cmocka_unit_test(refuses_bad_starts),
		cmocka_unit_test(says_when_room_is_short),
		cmocka_unit_test(stays_inside_broken_tables),
		cmocka_unit_test(keys_and_embedded_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
