/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/geo.h"
#include "user/core/plan.h"
#include "user/core/random.h"

#include <math.h>
#include <string.h>

enum { EU = 1, US = 2, AP = 3, SA = 4 };

static const struct gs_region FOUR[] = {
	{.id = EU, .name = "eu", .coord = {50.1, 8.7}},
	{.id = US, .name = "us", .coord = {39.0, -77.5}},
	{.id = AP, .name = "ap", .coord = {1.35, 103.8}},
	{.id = SA, .name = "sa", .coord = {-23.5, -46.6}},
};
static const struct gs_policy NEAREST = {
	.id = 1, .kind = GS_POLICY_GEO, .order_count = 3, .order = {US, EU, AP}};

static double draw_between(uint64_t *seed, double low, double high)
{
	return low + (high - low) * ((double)(gs_random(seed) >> 11) / (double)(1ULL << 53));
}

/* ---- gs_plan_make: by hand ------------------------------------------------------------------- */

struct make_case {
	const char *name;
	enum gs_policy_kind kind;
	struct gs_location location;
	enum gs_admin admin[4]; /* of eu us ap sa */
	uint64_t capacity[4];
	uint64_t served; /* region set; 0: all */
	uint8_t order_count;
	gs_id order[4];
	uint8_t want_count;
	gs_id want[4];
	uint16_t want_spare[4];
};

#define SEOUL                                             \
	{                                                 \
		.has_coord = true, .coord = { 37.6, 127 } \
	}
#define OSLO                                                \
	{                                                   \
		.has_coord = true, .coord = { 59.9, 10.75 } \
	}
#define US_FIRST .order_count = 3, .order = {US, EU, AP}
#define TO_SECOND .want_spare = {0, 65535}

static const struct make_case MAKE_CASES[] = {
	{.name = "nearest first",
	 .location = OSLO,
	 US_FIRST,
	 .want_count = 4,
	 .want = {EU, US, AP, SA},
	 TO_SECOND},
	{.name = "another place",
	 .location = SEOUL,
	 US_FIRST,
	 .want_count = 4,
	 .want = {AP, EU, US, SA},
	 TO_SECOND},
	{.name = "unknown location: default order, the rest by id",
	 US_FIRST,
	 .want_count = 4,
	 .want = {US, EU, AP, SA},
	 TO_SECOND},
	{.name = "failover: the order for everybody",
	 .kind = GS_POLICY_FAILOVER,
	 .location = SEOUL,
	 .order_count = 2,
	 .order = {SA, US},
	 .want_count = 4,
	 .want = {SA, US, EU, AP},
	 TO_SECOND},
	{.name = "empty order: by id", .want_count = 4, .want = {EU, US, AP, SA}, TO_SECOND},
	{.name = "unknown and repeated ids in the order",
	 .order_count = 4,
	 .order = {99, AP, AP, 0},
	 .want_count = 4,
	 .want = {AP, EU, US, SA},
	 TO_SECOND},
	{.name = "maintenance and force_down are left out",
	 .location = OSLO,
	 .admin = {GS_ADMIN_MAINTENANCE, GS_ADMIN_FORCE_DOWN},
	 US_FIRST,
	 .want_count = 2,
	 .want = {AP, SA},
	 TO_SECOND},
	{.name = "drain and force_up stay",
	 .location = OSLO,
	 .admin = {GS_ADMIN_DRAIN, GS_ADMIN_FORCE_UP},
	 US_FIRST,
	 .want_count = 4,
	 .want = {EU, US, AP, SA},
	 TO_SECOND},
	{.name = "left out of the default order, too",
	 .admin = {0, GS_ADMIN_MAINTENANCE},
	 US_FIRST,
	 .want_count = 3,
	 .want = {EU, AP, SA},
	 TO_SECOND},
	{.name = "only regions that serve",
	 .location = OSLO,
	 .served = 1 << US | 1 << AP,
	 US_FIRST,
	 .want_count = 2,
	 .want = {US, AP},
	 TO_SECOND},
	{.name = "one that serves",
	 .location = OSLO,
	 .served = 1 << AP,
	 US_FIRST,
	 .want_count = 1,
	 .want = {AP},
	 .want_spare = {65535}},
	{.name = "none that serves", .location = OSLO, .served = 1ULL << 60, US_FIRST},
	{.name = "all in maintenance",
	 .location = OSLO,
	 US_FIRST,
	 .admin = {GS_ADMIN_MAINTENANCE, GS_ADMIN_MAINTENANCE, GS_ADMIN_FORCE_DOWN,
		   GS_ADMIN_MAINTENANCE}},
	{.name = "override: its region, then by distance to it",
	 .location = {.has_coord = true, .coord = {1.35, 103.8}, .override_region = AP},
	 US_FIRST,
	 .want_count = 4,
	 .want = {AP, EU, US, SA},
	 TO_SECOND},
	{.name = "override: its region, then by the policy, which is its order here",
	 .kind = GS_POLICY_FAILOVER,
	 .location = {.has_coord = true, .coord = {1.35, 103.8}, .override_region = SA},
	 US_FIRST,
	 .want_count = 4,
	 .want = {SA, US, EU, AP},
	 TO_SECOND},
	{.name = "override to a region in maintenance: its neighbours",
	 .location = {.has_coord = true, .coord = {-23.5, -46.6}, .override_region = SA},
	 .admin = {0, 0, 0, GS_ADMIN_MAINTENANCE},
	 US_FIRST,
	 .want_count = 3,
	 .want = {US, EU, AP},
	 TO_SECOND},
	{.name = "override to a region that does not serve",
	 .location = {.has_coord = true, .coord = {-23.5, -46.6}, .override_region = SA},
	 .served = 1 << AP | 1 << US,
	 US_FIRST,
	 .want_count = 2,
	 .want = {US, AP},
	 TO_SECOND},
	{.name = "override to a region that is gone",
	 .location = {.override_region = 77},
	 US_FIRST,
	 .want_count = 4,
	 .want = {US, EU, AP, SA},
	 TO_SECOND},
	{.name = "capacities of all: in proportion",
	 .location = OSLO,
	 .capacity = {1000, 500, 250, 2000},
	 US_FIRST,
	 .want_count = 4,
	 .want = {EU, US, AP, SA},
	 .want_spare = {32768, 16384, 8192, 65535}},
	{.name = "one capacity missing: to the second",
	 .location = OSLO,
	 .capacity = {1000, 0, 250, 2000},
	 US_FIRST,
	 .want_count = 4,
	 .want = {EU, US, AP, SA},
	 TO_SECOND},
	{.name = "the missing one is not in the plan",
	 .location = OSLO,
	 .capacity = {1000, 0, 500, 2000},
	 .served = 1 << EU | 1 << AP,
	 US_FIRST,
	 .want_count = 2,
	 .want = {EU, AP},
	 .want_spare = {65535, 32768}},
	{.name = "tiny beside huge keeps a weight",
	 .location = OSLO,
	 .capacity = {UINT64_MAX, 1, 1, UINT64_MAX},
	 US_FIRST,
	 .want_count = 4,
	 .want = {EU, US, AP, SA},
	 .want_spare = {65535, 1, 1, 65535}},
};

static void makes_plans(void **state)
{
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(MAKE_CASES); c++) {
		const struct make_case *m = &MAKE_CASES[c];
		struct gs_policy policy = {.id = 1, .kind = m->kind, .order_count = m->order_count};
		struct gs_region_set served = {{m->served}};
		struct gs_region regions[4];
		struct gs_plan plan;

		memcpy(regions, FOUR, sizeof(regions));
		memcpy(policy.order, m->order, sizeof(m->order));
		for (int i = 0; i < 4; i++) {
			regions[i].admin = m->admin[i];
			regions[i].capacity = m->capacity[i];
		}
		gs_plan_make(&policy, &m->location, regions, 4, m->served ? &served : NULL, &plan);
		if (plan.count != m->want_count)
			fail_msg("%s: %d regions, want %d", m->name, plan.count, m->want_count);
		for (int i = 0; i < plan.count; i++) {
			if (plan.region[i] != m->want[i])
				fail_msg("%s: [%d] is region %d, want %d", m->name, i,
					 plan.region[i], m->want[i]);
			if (plan.spare[i] != m->want_spare[i])
				fail_msg("%s: [%d] spare %d, want %d", m->name, i, plan.spare[i],
					 m->want_spare[i]);
			assert_int_equal(plan.share[i], 65535);
		}
	}
}

static void allowed(void **state)
{
	static const bool want[GS_ADMIN__COUNT] = {
		[GS_ADMIN_AUTO] = true, [GS_ADMIN_FORCE_UP] = true, [GS_ADMIN_DRAIN] = true};
	(void)state;

	for (int admin = 0; admin < GS_ADMIN__COUNT; admin++) {
		struct gs_region region = {.id = 1, .admin = (enum gs_admin)admin};

		assert_int_equal(gs_plan_region_allowed(&region), want[admin]);
	}
}

/* ---- gs_plan_make: against brute force ------------------------------------------------------- */

static double angle(const struct gs_coord *a, const struct gs_coord *b)
{
	const long double rad = 3.14159265358979323846L / 180;
	long double la = a->lat_deg * rad, lb = b->lat_deg * rad;
	long double dot =
		sinl(la) * sinl(lb) + cosl(la) * cosl(lb) * cosl((a->lon_deg - b->lon_deg) * rad);

	return (double)acosl(fmaxl(-1, fminl(1, dot)));
}

/* Again and again the best of those not yet taken. */
static uint8_t order_by_force(const struct gs_location *location, const struct gs_region *regions,
			      uint32_t count, const struct gs_region_set *served, gs_id *ret_order)
{
	bool taken[GS_MAX_REGIONS] = {false};
	uint8_t n = 0;

	while (n < GS_PLAN_REGIONS) {
		int best = -1;

		for (uint32_t i = 0; i < count; i++) {
			bool up = regions[i].admin != GS_ADMIN_MAINTENANCE &&
				  regions[i].admin != GS_ADMIN_FORCE_DOWN;
			bool serves =
				served->words[regions[i].id / 64] & (1ULL << (regions[i].id % 64));

			if (!up || !serves || taken[i])
				continue;
			if (best < 0 || angle(&location->coord, &regions[i].coord) <
						angle(&location->coord, &regions[best].coord))
				best = (int)i;
		}
		if (best < 0)
			break;
		taken[best] = true;
		ret_order[n++] = regions[best].id;
	}
	return n;
}

static void agrees_with_brute_force(void **state)
{
	static struct gs_region regions[GS_MAX_REGIONS];
	static const struct gs_policy no_order = {.kind = GS_POLICY_GEO}; /* ties by id */
	(void)state;

	for (uint64_t round = 1; round <= 1500; round++) {
		uint64_t seed = round;
		uint32_t count = (uint32_t)(gs_random(&seed) % 60);
		struct gs_location location = {.has_coord = true};
		struct gs_region_set served = {{0}};
		gs_id want[GS_PLAN_REGIONS], id = 0;
		uint8_t want_count;
		struct gs_plan plan;

		for (uint32_t i = 0; i < count; i++) {
			id = (gs_id)(id + 1 + gs_random(&seed) % 4);
			regions[i] = (struct gs_region){
				.id = id,
				.coord = {draw_between(&seed, -90, 90),
					  draw_between(&seed, -180, 180)},
				.capacity = gs_random(&seed) % 1000,
			};
			if (gs_random(&seed) % 4 == 0)
				regions[i].admin =
					(enum gs_admin)(gs_random(&seed) % GS_ADMIN__COUNT);
			if (i > 0 && gs_random(&seed) % 8 == 0) /* the same place: tie */
				regions[i].coord = regions[i - 1].coord;
			if (gs_random(&seed) % 5 != 0)
				served.words[id / 64] |= 1ULL << (id % 64);
		}
		location.coord.lat_deg = draw_between(&seed, -90, 90);
		location.coord.lon_deg = draw_between(&seed, -180, 180);
		gs_plan_make(&no_order, &location, regions, count, &served, &plan);
		want_count = order_by_force(&location, regions, count, &served, want);
		if (plan.count != want_count ||
		    memcmp(plan.region, want, want_count * sizeof(want[0])) != 0)
			fail_msg("seed %llu: another order", (unsigned long long)round);
	}
}

static void limits(void **state)
{
	static struct gs_region regions[GS_MAX_REGIONS];
	static const struct gs_location at_zero = {.has_coord = true};
	static const struct gs_location to_last = {
		.has_coord = true, .coord = {0, 52}, .override_region = 255};
	static const struct gs_location unknown;
	struct gs_plan plan;
	(void)state;

	for (uint32_t i = 0; i < 255; i++) /* nearest last, so that every one displaces another */
		regions[i] =
			(struct gs_region){.id = (gs_id)(i + 1), .coord = {0, 179.0 - i / 2.0}};
	gs_plan_make(&NEAREST, &at_zero, regions, 255, NULL, &plan);
	assert_int_equal(plan.count, GS_PLAN_REGIONS);
	for (uint32_t i = 0; i < GS_PLAN_REGIONS; i++)
		assert_int_equal(plan.region[i], 255 - i);
	gs_plan_make(&NEAREST, &to_last, regions, 255, NULL, &plan);
	assert_int_equal(plan.count, GS_PLAN_REGIONS);
	assert_int_equal(plan.region[0], 255);
	assert_int_equal(plan.region[15], 240);
	gs_plan_make(&NEAREST, &unknown, regions, 255, NULL, &plan);
	assert_int_equal(plan.count, GS_PLAN_REGIONS);
	assert_int_equal(plan.region[15], 16);
	gs_plan_make(&NEAREST, &at_zero, regions, 0, NULL, &plan);
	assert_int_equal(plan.count, 0);
}

/* ---- gs_plan_pick ---------------------------------------------------------------------------- */

static struct gs_plan plan_of(uint8_t count, const uint16_t *share, const uint16_t *spare)
{
	struct gs_plan plan = {.count = count};

	for (uint8_t i = 0; i < count; i++) {
		plan.region[i] = (gs_id)(i + 1);
		plan.share[i] = share[i];
		plan.spare[i] = spare[i];
	}
	return plan;
}

static void pick_table(void **state)
{
	static const struct {
		const char *name;
		uint8_t count;
		uint16_t share[4], spare[4];
		bool usable[4];
		uint64_t draw;
		int want;
	} cases[] = {
		{"no regions", 0, {0}, {0}, {0}, 5, -1},
		{"first has it all", 2, {65535, 65535}, {0, 1}, {1, 1}, 65535, 0},
		{"edge of a share", 2, {999, 65535}, {0, 1}, {1, 1}, 999, 0},
		{"beyond the edge", 2, {999, 65535}, {0, 1}, {1, 1}, 1000, 1},
		{"high bits do not count in the slot",
		 2,
		 {999, 65535},
		 {0, 1},
		 {1, 1},
		 0x7fff0001,
		 0},
		{"lost first, to the second",
		 3,
		 {65535, 65535, 65535},
		 {0, 65535},
		 {0, 1, 1},
		 3,
		 1},
		{"no weight among the usable: first usable",
		 3,
		 {65535, 65535, 65535},
		 {0, 65535},
		 {0, 0, 1},
		 3,
		 2},
		{"nothing usable", 3, {65535, 65535, 65535}, {1, 1, 1}, {0}, 3, -1},
		{"second draw, lowest point",
		 3,
		 {65535, 65535, 65535},
		 {9, 10, 30},
		 {0, 1, 1},
		 0,
		 1},
		{"second draw, highest point",
		 3,
		 {65535, 65535, 65535},
		 {9, 10, 30},
		 {0, 1, 1},
		 0xffffffffULL << 16,
		 2},
		/* 40 * x / 2^32 reaches 10 at x = 2^30 */
		{"second draw, below the border",
		 3,
		 {65535, 65535, 65535},
		 {9, 10, 30},
		 {0, 1, 1},
		 ((1ULL << 30) - 1) << 16,
		 1},
		{"second draw, on the border",
		 3,
		 {65535, 65535, 65535},
		 {9, 10, 30},
		 {0, 1, 1},
		 (1ULL << 30) << 16,
		 2},
		{"bits 48 and up do not count",
		 3,
		 {65535, 65535, 65535},
		 {9, 10, 30},
		 {0, 1, 1},
		 0xffffULL << 48,
		 1},
		{"a weight of 0 is never drawn",
		 3,
		 {65535, 65535, 65535},
		 {9, 0, 30},
		 {0, 1, 1},
		 0,
		 2},
		{"share of a lost middle region",
		 3,
		 {99, 199, 65535},
		 {1, 0, 0},
		 {1, 0, 1},
		 150,
		 0},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_plan plan = plan_of(cases[i].count, cases[i].share, cases[i].spare);
		int got = gs_plan_pick(&plan, cases[i].usable, cases[i].draw);

		if (got != cases[i].want)
			fail_msg("%s: %d, want %d", cases[i].name, got, cases[i].want);
	}
}

/* The text of gs_plan_value's comment over again, in a 128-bit fraction instead of a product. */
static int pick_by_force(const struct gs_plan *plan, const bool *usable, uint64_t draw)
{
	unsigned __int128 before = 0, total = 0, fraction = (uint32_t)(draw >> 16);

	for (int i = 0; i < plan->count; i++) {
		uint32_t low = i ? plan->share[i - 1] + 1u : 0;

		if ((draw & 0xffff) >= low && (draw & 0xffff) <= plan->share[i] && usable[i])
			return i;
		total += usable[i] ? plan->spare[i] : 0;
	}
	for (int i = 0; i < plan->count; i++) {
		if (!usable[i] || plan->spare[i] == 0)
			continue;
		before += plan->spare[i];
		if (fraction * total < before << 32)
			return i;
	}
	for (int i = 0; i < plan->count; i++)
		if (usable[i])
			return i;
	return -1;
}

static void pick_agrees_with_brute_force(void **state)
{
	(void)state;

	for (uint64_t round = 1; round <= 3000; round++) {
		uint64_t seed = round;
		struct gs_plan plan = {.count =
					       (uint8_t)(gs_random(&seed) % (GS_PLAN_REGIONS + 1))};
		bool usable[GS_PLAN_REGIONS];
		uint32_t share = 0;

		for (int i = 0; i < plan.count; i++) {
			share += (uint32_t)(gs_random(&seed) % (65536 - share));
			plan.share[i] = (uint16_t)(i == plan.count - 1 ? 65535 : share);
			plan.spare[i] = gs_random(&seed) % 3 ? (uint16_t)gs_random(&seed) : 0;
			usable[i] = gs_random(&seed) % 3 != 0;
		}
		for (int n = 0; n < 100; n++) {
			uint64_t draw = gs_random(&seed);

			if (gs_plan_pick(&plan, usable, draw) != pick_by_force(&plan, usable, draw))
				fail_msg("seed %llu, draw %#llx: another region",
					 (unsigned long long)round, (unsigned long long)draw);
		}
	}
}

/* The share of 1 M draws each region gets, in normal times and after a loss. */
static void pick_distribution(void **state)
{
	static const uint16_t share[] = {32767, 52427, 65535, 65535}; /* 50 %, 30 %, 20 %, 0 */
	static const uint16_t spare[] = {10, 20, 60, 20};
	static const struct {
		bool usable[4];
		double want[4];
	} cases[] = {
		{{1, 1, 1, 1}, {.5, .3, .2, 0}},
		{{0, 1, 1, 1}, {0, .3 + .5 * .2, .2 + .5 * .6, .5 * .2}},
		{{0, 0, 1, 1}, {0, 0, .2 + .8 * .75, .8 * .25}},
		{{1, 1, 0, 1}, {.5 + .2 * .2, .3 + .2 * .4, 0, .2 * .4}},
	};
	struct gs_plan plan = plan_of(4, share, spare);
	uint64_t seed = 1;
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		const int draws = 1000000;
		int got[4] = {0};

		for (int n = 0; n < draws; n++)
			got[gs_plan_pick(&plan, cases[c].usable, gs_random(&seed))]++;
		for (int i = 0; i < 4; i++)
			if (fabs((double)got[i] / draws - cases[c].want[i]) > 0.003)
				fail_msg("case %zu region %d: %.4f of draws, want %.4f", c, i,
					 (double)got[i] / draws, cases[c].want[i]);
	}
}

/* Who is not in the lost region does not move, and whoever moved comes back. */
static void pick_moves_only_the_lost(void **state)
{
	static const uint16_t share[] = {20000, 40000, 65535}, spare[] = {1, 2, 3};
	static const bool all[] = {1, 1, 1}, lost[] = {1, 0, 1};
	struct gs_plan plan = plan_of(3, share, spare);
	uint64_t seed = 9;
	(void)state;

	for (int n = 0; n < 100000; n++) {
		uint64_t draw = gs_random(&seed);
		int before = gs_plan_pick(&plan, all, draw),
		    after = gs_plan_pick(&plan, lost, draw);

		assert_true(before == after || before == 1);
		assert_int_not_equal(after, 1);
	}
}

/* ---- interning ------------------------------------------------------------------------------- */

static struct gs_plan numbered_plan(uint32_t n)
{
	struct gs_plan plan = {.count = (uint8_t)(1 + n % GS_PLAN_REGIONS)};

	for (uint8_t i = 0; i < plan.count; i++) {
		plan.region[i] = (gs_id)(1 + (n >> (i % 4 * 4)) % 255);
		plan.share[i] = 65535;
		plan.spare[i] = (uint16_t)(n * (i + 1u));
	}
	return plan;
}

static void interns(void **state)
{
	enum { PLANS = 5000 };
	GS_AUTO_FREE void *memory = malloc(gs_plan_set_size(PLANS));
	struct gs_plan_set *set = gs_plan_set_init(memory, PLANS);
	(void)state;

	assert_int_equal(gs_plan_set_count(set), 0);
	assert_null(gs_plan_set_get(set, 0));
	assert_null(gs_plan_set_get(set, 1));
	for (int round = 0; round < 2; round++) {
		for (uint32_t n = 0; n < PLANS; n++) {
			struct gs_plan plan = numbered_plan(n);
			gs_id id;

			/* What lies beyond count is no part of a plan. */
			if (plan.count < GS_PLAN_REGIONS)
				plan.region[plan.count] = (gs_id)round;
			id = gs_plan_set_intern(set, &plan);
			assert_int_equal(id, n + 1);
			assert_memory_equal(gs_plan_set_get(set, id)->region, plan.region,
					    plan.count * sizeof(plan.region[0]));
		}
		assert_int_equal(gs_plan_set_count(set), PLANS);
	}
}

static void intern_tells_apart(void **state)
{
	static const uint16_t share[] = {99, 65535}, spare[] = {1, 2};
	GS_AUTO_FREE void *memory = malloc(gs_plan_set_size(10));
	struct gs_plan_set *set = gs_plan_set_init(memory, 10);
	struct gs_plan plan = plan_of(2, share, spare), other;
	(void)state;

	assert_int_equal(gs_plan_set_intern(set, &plan), 1);
	other = plan;
	other.region[1] = 7;
	assert_int_equal(gs_plan_set_intern(set, &other), 2);
	other = plan;
	other.share[0] = 98;
	assert_int_equal(gs_plan_set_intern(set, &other), 3);
	other = plan;
	other.spare[1] = 3;
	assert_int_equal(gs_plan_set_intern(set, &other), 4);
	other = plan;
	other.count = 1;
	assert_int_equal(gs_plan_set_intern(set, &other), 5);
	assert_int_equal(gs_plan_set_intern(set, &plan), 1);
	assert_int_equal(gs_plan_set_count(set), 5);
}

static void intern_limits(void **state)
{
	GS_AUTO_FREE void *memory = malloc(gs_plan_set_size(2));
	GS_AUTO_FREE void *none = malloc(gs_plan_set_size(0));
	GS_AUTO_FREE void *most = malloc(gs_plan_set_size(UINT32_MAX));
	struct gs_plan_set *set = gs_plan_set_init(memory, 2);
	struct gs_plan plans[3] = {numbered_plan(1), numbered_plan(2), numbered_plan(3)};
	struct gs_plan empty = {0}, overlong = {.count = GS_PLAN_REGIONS + 1};
	(void)state;

	assert_int_equal(gs_plan_set_intern(set, &empty), 0);
	assert_int_equal(gs_plan_set_intern(set, &overlong), 0);
	assert_int_equal(gs_plan_set_intern(set, &plans[0]), 1);
	assert_int_equal(gs_plan_set_intern(set, &plans[1]), 2);
	assert_int_equal(gs_plan_set_intern(set, &plans[2]), 0);
	assert_int_equal(gs_plan_set_intern(set, &plans[1]), 2);
	assert_int_equal(gs_plan_set_intern(gs_plan_set_init(none, 0), &plans[0]), 0);

	set = gs_plan_set_init(most, UINT32_MAX);
	for (uint32_t n = 0; n < 70000; n++) {
		static const uint16_t share[] = {65535};
		uint16_t spare = (uint16_t)n;
		struct gs_plan plan = plan_of(1, share, &spare);

		plan.region[0] = (gs_id)(1 + n / 65536);
		assert_int_equal(gs_plan_set_intern(set, &plan), n < 65535 ? n + 1 : 0);
	}
}

static void the_largest_home(void **state)
{
	static const struct {
		uint8_t count;
		uint16_t share[4];
		gs_id want;
	} cases[] = {
		{0, {0}, 0},
		{1, {65535}, 11},
		{3, {65535, 65535, 65535}, 11},
		{2, {32767, 65535}, 11}, /* equal: the first */
		{3, {16383, 65535, 65535}, 12},
		{4, {9999, 19999, 20000, 65535}, 14},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_plan plan = {.count = cases[i].count, .region = {11, 12, 13, 14}};

		memcpy(plan.share, cases[i].share, sizeof(cases[i].share));
		assert_int_equal(gs_plan_largest(&plan), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_plans),
		cmocka_unit_test(allowed),
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(limits),
		cmocka_unit_test(pick_table),
		cmocka_unit_test(pick_agrees_with_brute_force),
		cmocka_unit_test(pick_distribution),
		cmocka_unit_test(pick_moves_only_the_lost),
		cmocka_unit_test(the_largest_home),
		cmocka_unit_test(interns),
		cmocka_unit_test(intern_tells_apart),
		cmocka_unit_test(intern_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
