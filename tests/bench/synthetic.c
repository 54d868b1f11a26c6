/* SPDX-License-Identifier: Apache-2.0 */
/* Geo tables of a city database's size where there is no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "geo.h"
#include "user/core/random.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	PREFIXES4 = 4400000,
	PREFIXES6 = 2000000,
	LOCATIONS = 8300,
	BLOCK_LIMIT = 1 << 21,
};

/* Starts with the gaps between ranges as unknown. */
static void take_ranges(struct bench_geo_family *family, const struct gs_geo_range *ranges,
			size_t count)
{
	struct gs_geo_key next = {0, 0};
	size_t at = 0;

	family->starts = calloc(2 * count + 1, sizeof(*family->starts));
	family->locations = calloc(2 * count + 1, sizeof(*family->locations));
	assert_true(family->starts && family->locations);
	for (size_t i = 0; i < count; i++) {
		if (next.high != ranges[i].first.high || next.low != ranges[i].first.low)
			family->starts[at++] = next;
		family->locations[at] = ranges[i].location;
		family->starts[at++] = ranges[i].first;
		next = ranges[i].last;
		if (++next.low == 0)
			next.high++;
	}
	family->starts[at++] = next;
	family->start_count = at;
}

static void build_table(struct bench_geo_family *family, enum gs_geo_family kind,
			const struct gs_geo_range *ranges, size_t count)
{
	struct gs_geo_output output = {.block_limit = BLOCK_LIMIT};
	size_t bad;

	output.blocks = calloc(BLOCK_LIMIT, sizeof(*output.blocks));
	assert_non_null(output.blocks);
	assert_int_equal(gs_geo_build(&(struct gs_geo_input){kind, ranges, count}, &output, &bad),
			 0);
	family->kind = kind;
	family->blocks = output.blocks;
	family->block_count = output.block_count;
	take_ranges(family, ranges, count);
}

/*
 * Prefix lengths as a city-level database has them for IPv4: how many of each, roughly, in
 * thousands; /17 stands for all shorter ones.
 */
static uint32_t city_length4(uint64_t *seed)
{
	static const uint16_t weights[] = {18,	14,  29,  62,  124, 297, 589, 1931,
					   221, 252, 200, 180, 150, 120, 60,  150};
	uint32_t total = 0, point, i = 0;

	for (uint32_t n = 0; n < sizeof(weights) / sizeof(weights[0]); n++)
		total += weights[n];
	for (point = (uint32_t)(gs_random(seed) % total); point >= weights[i]; i++)
		point -= weights[i];
	return 17 + i;
}

/* Prefix behind prefix from 1.0.0.0 on, each with a location of its own drawing; none of them
 * loopback's, whose packets are dropped before they are located. */
static size_t city_ranges4(uint64_t *seed, struct gs_geo_range *ranges, size_t limit)
{
	uint64_t at = 1u << 24;
	size_t count = 0;

	while (count < limit) {
		uint64_t size = 1ull << (32 - city_length4(seed));

		at = (at + size - 1) / size * size;
		if (at >> 24 == 127)
			at = 1ull << 31;
		if (at + size > 0xe0000000)
			break;
		ranges[count++] = (struct gs_geo_range){
			{0, at}, {0, at + size - 1}, (uint16_t)(1 + gs_random(seed) % LOCATIONS)};
		at += size;
	}
	return count;
}

/* /48s and longer in runs, as providers hand them out below 2a00::/12. */
static size_t city_ranges6(uint64_t *seed, struct gs_geo_range *ranges, size_t limit)
{
	uint64_t at = 0x2a00ull << 48;

	for (size_t i = 0; i < limit; i++) {
		uint64_t size = 1ull << (64 - (40 + gs_random(seed) % 17));

		if (gs_random(seed) % 64 == 0)
			at += gs_random(seed) % 8 << 32; /* the next provider's /32 */
		at = (at + size - 1) / size * size;
		ranges[i] = (struct gs_geo_range){{at, 0},
						  {at + size - 1, ~0ull},
						  (uint16_t)(1 + gs_random(seed) % LOCATIONS)};
		at += size;
	}
	return limit;
}

void bench_geo_synthesize(struct bench_geo *geo)
{
	struct gs_geo_range *ranges = calloc(PREFIXES4, sizeof(*ranges));
	uint64_t seed = 1;

	assert_non_null(ranges);
	build_table(&geo->family[0], GS_GEO_V4, ranges, city_ranges4(&seed, ranges, PREFIXES4));
	build_table(&geo->family[1], GS_GEO_V6, ranges, city_ranges6(&seed, ranges, PREFIXES6));
	free(ranges);
	snprintf(geo->name, sizeof(geo->name), "synthetic");
}
