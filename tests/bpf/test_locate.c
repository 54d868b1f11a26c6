/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the program thinks a client is: overrides, addresses inside addresses, and the compiled geo
 * table against gs_geo_find. To be seen from outside, each location has a region, and each region
 * a backend whose address says which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "user/core/geotable.h"
#include "user/core/random.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	AT = 1,			 /* the slot this test fills */
	LOCATIONS = 256 - 1,	 /* 0 .. 254; location L is region L + 1 */
	REGIONS = LOCATIONS + 1, /* the stride */
	STRIDE = 256,
	FIRST_BACKEND = 8000, /* of location 0 */
	TABLES = 60,
	LOOKUPS = 150,
	BLOCKS = 90000,
};

static struct xdp_edge edge;

/* ---- a world where the outer address tells the location -------------------------------------- */

static void put_plans(void)
{
	struct gs_route_block routes[STRIDE / GS_BLOCK_U16] = {0};
	static struct gs_plan_value plans[LOCATIONS + 1];

	for (uint32_t i = 0; i < LOCATIONS; i++) {
		plans[i + 1] = (struct gs_plan_value){
			.count = 1, .region = {(uint8_t)(i + 1)}, .share = {65535}};
		routes[i / GS_BLOCK_U16].plan[i % GS_BLOCK_U16] = (uint16_t)(i + 1);
	}
	xdp_edge_put_array(&edge, GS_MAP_PLANS, AT, sizeof(plans[0]), LOCATIONS + 1, plans);
	xdp_edge_put_array(&edge, GS_MAP_ROUTES, AT, sizeof(routes[0]), STRIDE / GS_BLOCK_U16,
			   routes);
}

/* Rings of one slot: slot L of the arena is the backend of location L. Both services the same. */
static void put_pools(void)
{
	static struct gs_pool_value pools[(SERVICE_WEB6 + 1) * REGIONS];
	static struct gs_ring_block rings[STRIDE / GS_BLOCK_U16];

	memset(pools, 0, sizeof(pools));
	for (uint32_t i = 0; i < LOCATIONS; i++) {
		struct gs_pool_value pool = {.base = i, .slots = 1};

		pools[SERVICE_WEB4 * REGIONS + i + 1] = pool;
		pools[SERVICE_WEB6 * REGIONS + i + 1] = pool;
		rings[i / GS_BLOCK_U16].backend[i % GS_BLOCK_U16] = (uint16_t)(FIRST_BACKEND + i);
	}
	xdp_edge_put_array(&edge, GS_MAP_POOLS, AT, sizeof(pools[0]), (SERVICE_WEB6 + 1) * REGIONS,
			   pools);
	xdp_edge_put_array(&edge, GS_MAP_RINGS, AT, sizeof(rings[0]), STRIDE / GS_BLOCK_U16, rings);
}

static void put_backends(void)
{
	for (uint32_t i = 0; i < LOCATIONS; i++) {
		uint32_t region = i + 1, backend = FIRST_BACKEND + i, pool;
		struct gs_backend_value value = {.hop = EDGE_HOP,
						 .region = (uint8_t)region,
						 .mode = GS_FORWARD_IPIP,
						 .family = 4,
						 .addr = {0, 0, htonl(0xffff), htonl(i)}};

		xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
		xdp_edge_set(&edge, GS_MAP_USABLE_BACKEND, &backend, &edge_up);
		xdp_edge_set(&edge, GS_MAP_USABLE_REGION, &region, &edge_up);
		pool = SERVICE_WEB4 * GS_MAX_REGIONS + region;
		xdp_edge_set(&edge, GS_MAP_USABLE_POOL, &pool, &edge_up);
		pool = SERVICE_WEB6 * GS_MAX_REGIONS + region;
		xdp_edge_set(&edge, GS_MAP_USABLE_POOL, &pool, &edge_up);
	}
}

static int setup(void **state)
{
	struct gs_meta_value meta;

	(void)state;
	xdp_edge_open(&edge);
	xdp_edge_fill(&edge, AT, 2, 0x5eed, false); /* geo tables and tries of xdp_edge.h */
	put_plans();
	put_pools();
	put_backends();
	meta = xdp_edge_meta(&edge);
	meta.generation[AT].locations = STRIDE;
	meta.generation[AT].regions = REGIONS;
	meta.active = AT;
	xdp_edge_set_meta(&edge, &meta);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

/* Frames differ only in the client's address. A SYN is decided anew each time. */
static uint16_t locate(const uint8_t client[16], bool is_v4)
{
	struct packet packet =
		packet_build(&(struct packet_spec){.family = is_v4 ? 4 : 6, .flags = 2});
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes, .data_size_in = packet.length,
		    .data_out = out, .data_size_out = sizeof(out));

	if (is_v4)
		memcpy(packet.bytes + PACKET_L3 + 12, client + 12, 4);
	else
		memcpy(packet.bytes + PACKET_L3 + 8, client, 16);
	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	assert_int_equal(opts.retval, XDP_TX);
	return packet_get16(out + PACKET_L3 + 18);
}

static uint16_t locate_text(const char *client)
{
	uint8_t addr[16];

	packet_addr(client, addr);
	return locate(addr, !strchr(client, ':'));
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct locate_case {
	const char *client;
	uint16_t want;
};

static void expect_all(const struct locate_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t got = locate_text(cases[i].client);

		if (got != cases[i].want)
			print_message("%s: location %u, wanted %u\n", cases[i].client, got,
				      cases[i].want);
		assert_int_equal(got, cases[i].want);
	}
}
#define EXPECT_ALL(cases) expect_all(cases, sizeof(cases) / sizeof((cases)[0]))

static void test_geo(void **state)
{
	static const struct locate_case cases[] = {
		{"192.0.2.0", 1},
		{"192.0.2.255", 1},
		{"192.0.1.255", 0},
		{"192.0.3.0", 0},
		{"203.0.113.127", 2},
		{"203.0.113.128", 3},
		{"203.0.113.255", 3},
		{"203.0.114.0", 0},
		{"172.16.0.0", 4},
		{"172.31.255.255", 4},
		{"172.32.0.0", 0},
		{"198.18.0.0", 5},
		{"198.19.255.255", 5},
		{"198.20.0.0", 0},
		{"1.0.0.0", 0},
		{"255.255.255.254", 0},
		{"2001:db8:1::", 1},
		{"2001:db8:1:ffff:ffff:ffff:ffff:ffff", 1},
		{"2001:db8:2::1", 2},
		{"2001:db8:0:ffff::", 0},
		{"2001:db8:6::", 0},
		{"::2", 0},
		{"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0},
	};

	(void)state;
	EXPECT_ALL(cases);
}

/* The IPv6 table says location 5 for all of these; it must not be asked. */
static void test_embedded(void **state)
{
	static const struct locate_case cases[] = {
		{"2002:c000:0201::1", 1}, /* 192.0.2.1 */
		{"2002:c000:0201:ffff:ffff:ffff:ffff:ffff", 1},
		{"2002:cb00:7180::", 3}, /* 203.0.113.128 */
		{"2002::", 0},		 /* 0.0.0.0 */
		{"2002:c000:0301::1", 0},
		{"64:ff9b::192.0.2.1", 1},
		{"64:ff9b::203.0.113.127", 2},
		{"64:ff9b::", 0},
		{"2001:ffff:c000:0201::1", 0}, /* next to 6to4 */
		{"2003:c000:0201::", 0},
		{"64:ff9b:0:0:0:1:c000:201", 0}, /* next to the /96 */
		{"64:ff9b:1::192.0.2.1", 0},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void test_overrides(void **state)
{
	static const struct locate_case cases[] = {
		{"192.0.2.1", 1},
		{"192.0.2.128", 77},
		{"192.0.2.200", 78}, /* the longest one */
		{"192.0.2.201", 77},
		{"100.64.0.1", 79},
		{"100.65.0.1", 0},
		{"2001:db8:1::1", 1},
		{"2001:db8:1:2::1", 80},
		{"2001:db8:1:2::2", 81},
		{"2002:c000:02c8::1", 78},     /* by 192.0.2.200 inside */
		{"64:ff9b::192.0.2.129", 77},  /* by the address inside */
		{"2002:c000:0280:5::1", 82},   /* the IPv6 prefix is nearer to what was written */
		{"64:ff9b::198.51.100.1", 83}, /* all of NAT64 but what is longer */
	};

	(void)state;
	xdp_edge_override(&edge, AT, "192.0.2.128", 25, 77);
	xdp_edge_override(&edge, AT, "192.0.2.200", 32, 78);
	xdp_edge_override(&edge, AT, "100.64.0.0", 16, 79);
	assert_int_equal(locate_text("64:ff9b::192.0.2.129"), 77);
	xdp_edge_override(&edge, AT, "2001:db8:1:2::", 64, 80);
	xdp_edge_override(&edge, AT, "2001:db8:1:2::2", 128, 81);
	xdp_edge_override(&edge, AT, "2002:c000:280:5::", 64, 82);
	xdp_edge_override(&edge, AT, "64:ff9b::198.51.100.0", 120, 83);
	EXPECT_ALL(cases);
}

/* Tries whose generation says they are empty are not asked. */
static void test_overrides_not_counted(void **state)
{
	struct gs_meta_value meta;

	(void)state;
	xdp_edge_override(&edge, AT, "192.0.2.0", 24, 77);
	xdp_edge_override(&edge, AT, "2001:db8:1::", 48, 77);
	meta = xdp_edge_meta(&edge);
	meta.generation[AT].overrides4 = meta.generation[AT].overrides6 = 0;
	xdp_edge_set_meta(&edge, &meta);
	assert_int_equal(locate_text("192.0.2.1"), 1);
	assert_int_equal(locate_text("2001:db8:1::1"), 1);
}

/* A location beyond the table of routes counts as unknown. */
static void test_location_too_large(void **state)
{
	(void)state;
	xdp_edge_override(&edge, AT, "192.0.2.0", 24, STRIDE);
	xdp_edge_override(&edge, AT, "203.0.113.0", 24, 0xffffffff);
	assert_int_equal(locate_text("192.0.2.1"), 0);
	assert_int_equal(locate_text("203.0.113.1"), 0);
}

/* ---- random tables against gs_geo_find ------------------------------------------------------- */

typedef unsigned __int128 u128;

/* Clustered, so that nodes get deep and leaves dense. */
static u128 random_address(uint64_t *seed, u128 centre, unsigned bits)
{
	u128 number = (u128)gs_random(seed) << 64 | gs_random(seed);
	unsigned keep = (unsigned)(gs_random(seed) % (bits + 1));
	u128 mask = keep ? ~(u128)0 << (128 - keep) : 0;

	number = (centre & mask) | (number & ~mask);
	return number >> (128 - bits);
}

static int compare_u128(const void *left, const void *right)
{
	u128 a = *(const u128 *)left, b = *(const u128 *)right;

	return (a > b) - (a < b);
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){(uint64_t)(number >> 64), (uint64_t)number};
}

/* Between sorted random points: ranges, gaps and neighbours. Returns how many. */
static size_t random_ranges(uint64_t *seed, unsigned bits, u128 centre, struct gs_geo_range *ranges,
			    size_t limit)
{
	u128 points[512];
	size_t count = 0, pairs = 2 + gs_random(seed) % limit;

	for (size_t i = 0; i <= pairs; i++)
		points[i] = random_address(seed, centre, bits);
	qsort(points, pairs + 1, sizeof(points[0]), compare_u128);
	for (size_t i = 0; i < pairs; i++) {
		if (points[i] == points[i + 1] || gs_random(seed) % 4 == 0)
			continue;
		ranges[count].first = key_of(points[i]);
		ranges[count].last = key_of(points[i + 1] - 1);
		ranges[count++].location = (uint16_t)(gs_random(seed) % LOCATIONS);
	}
	return count;
}

static void to_bytes(u128 number, bool is_v4, uint8_t ret_addr[16])
{
	if (is_v4)
		number |= (u128)0xffff << 32;
	for (int i = 15; i >= 0; i--, number >>= 8)
		ret_addr[i] = (uint8_t)number;
}

static void check_table(uint64_t *seed, enum gs_geo_family family)
{
	unsigned bits = family == GS_GEO_V4 ? 32 : 128;
	static struct gs_geo_range ranges[512];
	u128 centre = (u128)gs_random(seed) << 64 | gs_random(seed);
	size_t count = random_ranges(seed, bits, centre, ranges, 400), bad;
	struct gs_geo_output output = {.block_limit = BLOCKS};

	output.blocks = calloc(BLOCKS, sizeof(*output.blocks));
	assert_non_null(output.blocks);
	assert_int_equal(gs_geo_build(&(struct gs_geo_input){family, ranges, count}, &output, &bad),
			 0);
	xdp_edge_put_array(&edge, family == GS_GEO_V4 ? GS_MAP_GEO4 : GS_MAP_GEO6, AT,
			   sizeof(*output.blocks), (uint32_t)output.block_count, output.blocks);
	for (int i = 0; i < LOOKUPS; i++) {
		u128 number = random_address(seed, centre, bits);
		uint8_t addr[16];

		if (count && i % 3) { /* where something begins or ends */
			const struct gs_geo_range *range = &ranges[gs_random(seed) % count];
			struct gs_geo_key key = i % 3 == 1 ? range->first : range->last;

			number = ((u128)key.high << 64 | key.low) + (gs_random(seed) % 3) - 1;
			number = number << (128 - bits) >> (128 - bits);
		}
		to_bytes(number, family == GS_GEO_V4, addr);
		if (family == GS_GEO_V6 &&
		    ((addr[0] == 0x20 && addr[1] == 2) || number >> 32 == 0xffff))
			continue;
		if (packet_is_martian(addr)) /* is dropped, wherever it would be */
			continue;
		assert_int_equal(
			locate(addr, family == GS_GEO_V4),
			gs_geo_find(output.blocks, output.block_count, family, key_of(number)));
	}
	free(output.blocks);
}

static void test_random_tables(void **state)
{
	uint64_t seed = 4711;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < TABLES; i++)
		check_table(&seed, i % 2 ? GS_GEO_V6 : GS_GEO_V4);
}

#define LOCATE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCATE_TEST(test_geo),
		LOCATE_TEST(test_embedded),
		LOCATE_TEST(test_overrides),
		LOCATE_TEST(test_overrides_not_counted),
		LOCATE_TEST(test_location_too_large),
		LOCATE_TEST(test_random_tables),
	};

	return cmocka_run_group_tests_name("locate", tests, NULL, NULL);
}
