/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geodata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { INTERVALS = 30 };

/* One family's intervals, each to the next one's start, neighbours of different locations. */
struct side {
	unsigned width;
	u128 starts[INTERVALS];
	uint16_t locations[INTERVALS];
	size_t count;
	struct gs_geo_key keys[INTERVALS];
};

static int compare_numbers(const void *a, const void *b)
{
	u128 i = *(const u128 *)a, j = *(const u128 *)b;

	return (i > j) - (i < j);
}

static u128 draw(uint64_t *seed, unsigned width)
{
	u128 number = (u128)world_draw(seed) << 64 | world_draw(seed);

	return width == 32 ? (uint32_t)number : number;
}

static u128 last_address(unsigned width)
{
	return width == 32 ? UINT32_MAX : ~(u128)0;
}

static int grow(struct gs_geo_output *output, size_t block_limit)
{
	output->blocks = malloc(block_limit * sizeof(*output->blocks));
	output->block_limit = block_limit;
	return output->blocks ? 0 : -ENOMEM;
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){.high = (uint64_t)(number >> 64), .low = (uint64_t)number};
}

static void make_family(uint64_t *seed, struct side *side, struct gs_geodata_family *ret_family)
{
	struct gs_geo_range ranges[INTERVALS];
	struct gs_geo_input input = {side->width == 32 ? GS_GEO_V4 : GS_GEO_V6, ranges, 0};
	struct gs_geo_output output = {.grow = grow};
	size_t wanted = 1 + world_draw(seed) % INTERVALS, at;
	u128 centre = draw(seed, side->width);

	for (size_t i = 0; i < wanted; i++) {
		side->starts[i] =
			centre ^ draw(seed, side->width) >> world_draw(seed) % side->width;
		side->locations[i] = (uint16_t)(i % 3);
	}
	side->starts[0] = 0;
	qsort(side->starts, wanted, sizeof(side->starts[0]), compare_numbers);
	side->count = 0;
	for (size_t i = 0; i < wanted; i++)
		if (i == 0 || side->starts[i] != side->starts[i - 1])
			side->starts[side->count++] = side->starts[i];
	for (size_t i = 0; i < side->count; i++) {
		u128 last =
			i + 1 < side->count ? side->starts[i + 1] - 1 : last_address(side->width);

		side->keys[i] = key_of(side->starts[i]);
		if (side->locations[i] == 0)
			continue;
		ranges[input.count].first = side->keys[i];
		ranges[input.count].last = key_of(last);
		ranges[input.count++].location = side->locations[i];
	}
	assert_int_equal(gs_geo_build(&input, &output, &at), 0);
	memset(ret_family, 0, sizeof(*ret_family));
	ret_family->blocks = output.blocks;
	ret_family->block_count = output.block_count;
	ret_family->starts = side->keys;
	ret_family->start_locations = side->locations;
	ret_family->start_count = side->count;
}

static uint16_t slow_location(const struct side *side, u128 number)
{
	uint16_t location = 0;

	for (size_t i = 0; i < side->count; i++)
		if (side->starts[i] <= number)
			location = side->locations[i];
	return location;
}

/* The shortest prefix around the number in which no interval begins after its first address. */
static unsigned slow_length(const struct side *side, u128 number)
{
	for (unsigned length = 0; length < side->width; length++) {
		unsigned host = side->width - length;
		u128 mask = host == 128 ? ~(u128)0 : ((u128)1 << host) - 1;
		bool uniform = true;

		for (size_t i = 0; i < side->count; i++)
			if (side->starts[i] > (number & ~mask) &&
			    side->starts[i] <= (number | mask))
				uniform = false;
		if (uniform)
			return length;
	}
	return side->width;
}

static struct gs_addr addr_of(u128 number, unsigned width)
{
	struct gs_addr addr;

	if (width == 32)
		return gs_addr_from_v4((uint32_t)number);
	for (int i = 15; i >= 0; i--, number >>= 8)
		addr.bytes[i] = (uint8_t)number;
	return addr;
}

static void check_client(const struct gs_geodata *geo, const struct side *side,
			 const struct gs_addr *client, u128 number, unsigned extra)
{
	struct gs_prefix prefix;
	char text[GS_PREFIX_TEXT_MAX];

	assert_int_equal(gs_geodata_find(geo, client, &prefix), slow_location(side, number));
	assert_int_equal(gs_geodata_find(geo, client, NULL), slow_location(side, number));
	if (prefix.length != slow_length(side, number) + extra)
		fail_msg("%s: want length %u", gs_prefix_format(&prefix, text),
			 slow_length(side, number) + extra);
	assert_true(gs_prefix_contains(&prefix, client));
	assert_int_equal(prefix.is_v4, gs_addr_is_v4(client));
}

static void check_number(const struct gs_geodata *geo, const struct side *side, u128 number)
{
	struct gs_addr client;

	if (side->width == 32)
		number = (uint32_t)number;
	client = addr_of(number, side->width);
	if (side->width == 32) {
		/* The same client by 6to4 and by NAT64. */
		struct gs_addr sixtofour = addr_of((u128)0x2002 << 112 | number << 80 | 77, 128);
		struct gs_addr nat64 = addr_of((u128)0x64ff9b << 96 | number, 128);

		check_client(geo, side, &sixtofour, number, 16);
		check_client(geo, side, &nat64, number, 96);
	} else if (gs_addr_is_v4(&client) || gs_geo_embedded_v4(&client, &(struct gs_addr){{0}})) {
		return;
	}
	check_client(geo, side, &client, number, 0);
}

static void finds_location_and_prefix(void **state)
{
	uint64_t seed = 41;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int world = 0; world < 200; world++) {
		struct side sides[2] = {{.width = 32}, {.width = 128}};
		struct gs_geodata geo = {0};

		make_family(&seed, &sides[0], &geo.v4);
		make_family(&seed, &sides[1], &geo.v6);
		for (int i = 0; i < 2; i++) {
			for (size_t j = 0; j < sides[i].count; j++) {
				check_number(&geo, &sides[i], sides[i].starts[j]);
				check_number(&geo, &sides[i], sides[i].starts[j] - 1);
				check_number(&geo, &sides[i], sides[i].starts[j] + 1);
			}
			for (int j = 0; j < 100; j++)
				check_number(&geo, &sides[i], draw(&seed, sides[i].width));
		}
		free(geo.v4.blocks);
		free(geo.v6.blocks);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_location_and_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
