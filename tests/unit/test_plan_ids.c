/* SPDX-License-Identifier: Apache-2.0 */
/* More different plans than ids: what gives way, against the slow way and at full size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/large_world.h"
#include "user/app/plan_ids.h"
#include "user/app/snapshot_io.h"
#include "user/app/tables.h"
#include "user/base/cleanup.h"
#include "user/core/latency.h"
#include "user/core/plan_tail.h"
#include "user/core/random.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- against the slow way -------------------------------------------------------------------- */

enum { ROWS = 3, LOCATIONS = 24, PAIRS = ROWS * LOCATIONS, REGIONS = 7, ROUNDS = 300 };

struct small {
	struct gs_plan plans[PAIRS]; /* [row * LOCATIONS + location]; count 0: none */
	uint8_t places[ROWS][GS_ID_MAX_REGION + 1];
	uint32_t order[PAIRS]; /* in which they come */
};

static void shuffle(uint64_t *seed, void *items, size_t count, size_t size)
{
	char *at = items, swap[sizeof(struct gs_plan)];

	for (size_t i = count; i > 1; i--) {
		size_t other = gs_random(seed) % i;

		memcpy(swap, at + (i - 1) * size, size);
		memcpy(at + (i - 1) * size, at + other * size, size);
		memcpy(at + other * size, swap, size);
	}
}

static void draw_plan(uint64_t *seed, struct gs_plan *plan)
{
	gs_id regions[REGIONS];
	uint8_t homes;

	for (uint32_t i = 0; i < REGIONS; i++)
		regions[i] = (gs_id)(i + 1);
	/* Half of them only somewhat shuffled: plans that have their beginnings in common. */
	if (gs_random(seed) % 2)
		shuffle(seed, regions, REGIONS, sizeof(regions[0]));
	else
		shuffle(seed, regions + 2, REGIONS - 2, sizeof(regions[0]));
	memset(plan, 0, sizeof(*plan));
	plan->count = (uint8_t)(gs_random(seed) % 8 ? REGIONS - gs_random(seed) % 2
						    : gs_random(seed) % (REGIONS + 1));
	homes = (uint8_t)(1 + gs_random(seed) % 16 / 13);
	for (uint8_t i = 0; i < plan->count; i++) {
		plan->region[i] = regions[i];
		plan->share[i] =
			i + 1 < homes && i + 1 < plan->count ? (uint16_t)(10000 + i) : UINT16_MAX;
		plan->spare[i] = (uint16_t)(regions[i] * 10);
	}
}

static void draw_small(uint64_t *seed, struct small *small)
{
	for (uint32_t row = 0; row < ROWS; row++) {
		for (uint32_t id = 0; id <= GS_ID_MAX_REGION; id++)
			small->places[row][id] = (uint8_t)id;
		shuffle(seed, small->places[row] + 1, REGIONS, 1);
	}
	for (uint32_t i = 0; i < PAIRS; i++) {
		draw_plan(seed, &small->plans[i]);
		small->order[i] = i;
	}
	/* Rows in which all is the same but the policy's order. */
	if (gs_random(seed) % 2)
		memcpy(&small->plans[LOCATIONS], small->plans, LOCATIONS * sizeof(small->plans[0]));
	shuffle(seed, small->order, PAIRS, sizeof(small->order[0]));
}

/* By the words of the contract. */
static uint32_t slow_begin(const struct gs_plan *plan, uint32_t exact)
{
	uint32_t homes = 1;

	for (uint32_t i = 0; i < plan->count; i++)
		homes += plan->share[i] != UINT16_MAX;
	if (exact < homes + 1)
		exact = homes + 1;
	return exact < plan->count ? exact : plan->count;
}

static struct gs_plan settle_slowly(const struct gs_plan *plan, uint32_t exact,
				    const uint8_t *places)
{
	struct gs_plan settled = *plan;
	uint32_t at = slow_begin(plan, exact);

	for (uint32_t place = 0; place <= UINT8_MAX; place++)
		for (uint32_t i = slow_begin(plan, exact); i < plan->count; i++)
			if (places[plan->region[i]] == place) {
				settled.region[at] = plan->region[i];
				settled.spare[at++] = plan->spare[i];
			}
	assert_int_equal(at, plan->count);
	return settled;
}

/* Different ones, with so many exact choices. */
static uint32_t count_slowly(const struct small *small, uint32_t exact)
{
	static struct gs_plan met[PAIRS];
	uint32_t count = 0;

	for (uint32_t i = 0; i < PAIRS; i++) {
		uint32_t at = 0;

		if (small->plans[i].count == 0)
			continue;
		met[count] = settle_slowly(&small->plans[i], exact, small->places[i / LOCATIONS]);
		while (memcmp(&met[at], &met[count], sizeof(met[0])) != 0)
			at++;
		count += at == count;
	}
	return count;
}

static void check_small(struct small *small, uint32_t most)
{
	uint16_t routes[PAIRS] = {0};
	struct gs_plan_ids ids = {
		.routes = routes, .row_count = ROWS, .stride = LOCATIONS, .places = small->places};
	uint32_t exact = GS_PLAN_REGIONS;
	int err = 0;

	while (exact >= GS_PLAN_EXACT_LEAST && count_slowly(small, exact) > most)
		exact--;
	assert_int_equal(gs_plan_ids_init(&ids, most), 0);
	for (uint32_t i = 0; i < PAIRS && !err; i++) {
		uint32_t pair = small->order[i];

		if (small->plans[pair].count > 0)
			err = gs_plan_ids_route(&ids, pair / LOCATIONS, pair % LOCATIONS,
						&small->plans[pair]);
	}
	assert_int_equal(err, exact < GS_PLAN_EXACT_LEAST ? -EFBIG : 0);
	if (!err)
		assert_int_equal(ids.exact, exact);
	for (uint32_t i = 0; i < PAIRS && !err; i++) {
		const struct gs_plan *is = gs_plan_set_get(ids.set, routes[i]);
		struct gs_plan want =
			settle_slowly(&small->plans[i], exact, small->places[i / LOCATIONS]);

		assert_true((is != NULL) == (want.count > 0));
		if (is)
			assert_memory_equal(is, &want, sizeof(want));
	}
	gs_plan_ids_done(&ids);
}

/* As many exact choices as fit, in whatever order locations come, and what is behind them. */
static void agrees_with_brute_force(void **state)
{
	(void)state;
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		uint64_t seed = round;
		struct small small;

		draw_small(&seed, &small);
		check_small(&small, (uint32_t)(1 + gs_random(&seed) % PAIRS));
	}
}

/* Settled again for less is settled for less at once; shares and what is exact never move. */
static void settling_is_one_after_the_other(void **state)
{
	(void)state;
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		uint64_t seed = round;
		struct gs_plan plan, twice, once;
		uint32_t more, less;
		struct small small;

		draw_small(&seed, &small);
		plan = twice = once = small.plans[0];
		more = (uint32_t)(gs_random(&seed) % (GS_PLAN_REGIONS + 1));
		less = (uint32_t)(gs_random(&seed) % (more + 1));
		gs_plan_tail_settle(&twice, more, small.places[0]);
		gs_plan_tail_settle(&twice, less, small.places[0]);
		gs_plan_tail_settle(&once, less, small.places[0]);
		assert_memory_equal(&once, &twice, sizeof(once));
		assert_memory_equal(once.share, plan.share, sizeof(plan.share));
		assert_memory_equal(once.region, plan.region,
				    slow_begin(&plan, less) * sizeof(plan.region[0]));
	}
}

/* ---- at full size ---------------------------------------------------------------------------- */

enum { POLICIES = 20, SERVED = 20, FENCED = 3 };

static const struct {
	enum gs_policy_kind kind;
	int8_t bias; /* of the first region of the order */
	uint16_t band_ms;
	uint8_t band_percent;
} kinds[] = {
	{GS_POLICY_GEO, 0, 0, 0},      {GS_POLICY_GEO, 30, 0, 0},
	{GS_POLICY_GEO, -30, 0, 0},    {GS_POLICY_GEO, 60, 0, 0},
	{GS_POLICY_GEO, -60, 0, 0},    {GS_POLICY_GEO, 10, 0, 0},
	{GS_POLICY_LATENCY, 0, 5, 10}, {GS_POLICY_LATENCY, 0, 0, 0},
	{GS_POLICY_LATENCY, 0, 2, 5},  {GS_POLICY_COST, 0, 20, 0},
	{GS_POLICY_COST, 0, 5, 10},    {GS_POLICY_WEIGHTED, 0, 0, 0},
	{GS_POLICY_RANKED, 0, 5, 10},  {GS_POLICY_AVAILABILITY, 0, 0, 0},
};

/* Places all over the world, no two alike. */
static struct gs_geodata *make_geodata(void)
{
	struct gs_geodata *geo = large_geodata();
	uint64_t seed = 1;

	for (uint32_t i = 1; i < geo->location_count; i++)
		geo->locations[i].coord =
			(struct gs_coord){(double)(gs_random(&seed) % 130000) / 1000 - 60,
					  (double)(gs_random(&seed) % 360000) / 1000 - 180};
	return geo;
}

/* A published round trip of each place's cell, some of them far from the model's. */
static void make_latencies(struct gs_snapshot *s, const struct gs_geodata *geo)
{
	for (uint32_t i = 0; i < LARGE_LATENCIES; i++) {
		struct gs_latency_places places;

		gs_latency_places_of(&geo->locations[i + 1], &places);
		s->latencies[i] = (struct gs_latency){.region = (gs_id)(1 + i % LARGE_REGIONS),
						      .samples = 100,
						      .us = 20000 + (int32_t)(i * 7919 % 90000),
						      .at_unix_ms = 1795600000000};
		memcpy(s->latencies[i].place, places.name[GS_LATENCY_CELL],
		       sizeof(s->latencies[i].place));
	}
	large_sort_latencies(s);
}

static gs_id region_of_policy(uint32_t policy, uint32_t at)
{
	return (gs_id)(1 + (policy * 7 + at * 3) % LARGE_REGIONS);
}

static void make_policies(struct gs_snapshot *s)
{
	static const uint8_t rank[] = {GS_BY_LATENCY, GS_BY_AVAILABILITY, GS_BY_GEO};

	for (uint32_t p = 0; p < POLICIES; p++) {
		struct gs_policy *policy = &s->policies[p];
		uint32_t kind = p % ARRAY_SIZE(kinds);

		*policy = (struct gs_policy){.id = (gs_id)(p + 1),
					     .kind = kinds[kind].kind,
					     .band_ms = kinds[kind].band_ms,
					     .band_percent = kinds[kind].band_percent,
					     .order_count = GS_POLICY_ORDER_MAX};
		snprintf(policy->name, GS_NAME_MAX, "policy-%u", p + 1);
		if (policy->kind == GS_POLICY_RANKED) {
			policy->rank_count = ARRAY_SIZE(rank);
			memcpy(policy->rank, rank, sizeof(rank));
		}
		for (uint32_t i = 0; i < GS_POLICY_ORDER_MAX; i++) {
			policy->order[i] = region_of_policy(p, i);
			policy->weight[i] = i < 3 ? 100 : 0;
		}
		policy->bias[0] = kinds[kind].bias;
	}
}

/* 2,000 backends of 100 services; each in 20 of 50 regions, by 20 policies. */
static struct gs_snapshot *make_snapshot(const struct gs_geodata *geo)
{
	struct gs_snapshot *large = large_snapshot(1), counts = *large, *s;
	struct gs_error error;

	counts.policy_count = POLICIES;
	counts.latency_count = LARGE_LATENCIES;
	counts.fence_count = 1;
	counts.overlay_count = 0;
	assert_int_equal(gs_snapshot_new(&counts, &s), 0);
	memcpy(s->regions, large->regions, LARGE_REGIONS * sizeof(*s->regions));
	memcpy(s->services, large->services, LARGE_SERVICES * sizeof(*s->services));
	memcpy(s->backends, large->backends, LARGE_BACKENDS * sizeof(*s->backends));
	memcpy(s->overrides, large->overrides, sizeof(*s->overrides));
	gs_snapshot_free(large);
	for (uint32_t i = 0; i < LARGE_REGIONS; i++) {
		s->regions[i].cost = 0.01 * (i % 9);
		s->regions[i].availability = i % 4 ? 99.9 : 99.99;
		s->regions[i].capacity = 1000 + i % 5 * 500;
	}
	for (uint32_t i = 0; i < LARGE_SERVICES; i++)
		s->services[i].policy = (gs_id)(1 + i % POLICIES);
	for (uint32_t i = 0; i < LARGE_BACKENDS; i++)
		s->backends[i].region = region_of_policy((s->backends[i].service - 1u) % POLICIES,
							 i / LARGE_SERVICES);
	make_policies(s);
	make_latencies(s, geo);
	s->fences[0] = (struct gs_fence){.place = {GS_PLACE_COUNTRY, "BA"}, .region_count = FENCED};
	for (uint32_t i = 0; i < FENCED; i++)
		s->fences[0].regions[i] = (gs_id)(1 + i * 10);
	if (gs_snapshot_check(s, &error))
		fail_msg("%s", error.text);
	return s;
}

/* The same with the services of one policy, all of whose plans have an id. */
static struct gs_tables *make_alone(const struct gs_snapshot *s, const struct gs_geodata *geo,
				    gs_id policy, struct gs_snapshot *ret_alone)
{
	static struct gs_service services[LARGE_SERVICES];
	static struct gs_backend backends[LARGE_BACKENDS];
	struct gs_tables *tables = NULL;
	struct gs_error error;

	*ret_alone = *s;
	ret_alone->services = services;
	ret_alone->backends = backends;
	ret_alone->service_count = ret_alone->backend_count = 0;
	for (uint32_t i = 0; i < s->service_count; i++)
		if (s->services[i].policy == policy)
			services[ret_alone->service_count++] = s->services[i];
	for (uint32_t i = 0; i < s->backend_count; i++)
		if (gs_snapshot_service(ret_alone, s->backends[i].service))
			backends[ret_alone->backend_count++] = s->backends[i];
	if (gs_tables_build(ret_alone, geo, &tables, &error))
		fail_msg("%s", error.text);
	assert_int_equal(tables->exact_choices, GS_PLAN_REGIONS);
	return tables;
}

static gs_id exact_region(const struct gs_plan *plan, uint32_t i)
{
	return i < plan->count ? plan->region[i] : 0;
}

/* What a plan was, and what it is: the same regions, each with its spare; the beginning as it was.
 */
static void check_plan(const struct gs_plan *was, const struct gs_plan *is, uint32_t exact)
{
	uint32_t begin = slow_begin(was, exact), found = 0;

	assert_int_equal(was->count, is->count);
	assert_memory_equal(was->share, is->share, sizeof(was->share));
	for (uint32_t i = 0; i < begin; i++)
		assert_int_equal(exact_region(is, i), exact_region(was, i));
	for (uint32_t i = 0; i < was->count; i++)
		for (uint32_t j = 0; j < is->count; j++)
			found += was->region[i] == is->region[j] && was->spare[i] == is->spare[j];
	assert_int_equal(found, was->count);
}

static uint32_t compare_with_alone(const struct gs_tables *tables, gs_id policy)
{
	struct gs_snapshot snapshot;
	struct gs_tables *alone = make_alone(tables->snapshot, tables->geo, policy, &snapshot);
	gs_id service = snapshot.services[0].id;
	uint32_t moved = 0;

	for (uint32_t at = 0; at < tables->location_count; at++) {
		const struct gs_plan *was = gs_tables_plan(alone, service, (uint16_t)at);
		const struct gs_plan *is = gs_tables_plan(tables, service, (uint16_t)at);

		assert_true((was != NULL) == (is != NULL));
		if (!was)
			continue;
		check_plan(was, is, tables->exact_choices);
		moved += memcmp(was->region, is->region, sizeof(was->region)) != 0;
	}
	gs_tables_free(alone);
	return moved;
}

/* What is said of a plan is said of the one in force. */
static void check_reasons(const struct gs_tables *tables)
{
	struct gs_tables_reasons *reasons = malloc(sizeof(*reasons));
	uint32_t settled = 0;

	assert_non_null(reasons);
	for (uint32_t at = 1; at < tables->location_count; at += 97) {
		const struct gs_service *service = &tables->snapshot->services[at % LARGE_SERVICES];
		const struct gs_plan *plan = gs_tables_plan(tables, service->id, (uint16_t)at);
		const struct gs_ranking *ranking = &reasons->ranking;

		assert_int_equal(gs_tables_explain(tables, service->id, (uint16_t)at, reasons), 0);
		assert_int_equal(ranking->count, plan ? plan->count : 0);
		assert_int_equal(reasons->exact_choices, tables->exact_choices);
		for (uint32_t i = 0; i < ranking->count; i++) {
			bool is_settled = i >= slow_begin(plan, tables->exact_choices);

			assert_int_equal(reasons->ranker.regions[ranking->index[i]].id,
					 plan->region[i]);
			assert_int_equal(ranking->behind[i] == GS_BEHIND_SETTLED, is_settled);
			settled += is_settled;
		}
	}
	assert_true(settled > 0);
	free(reasons);
}

/* Where ids have run short, clients who would be between two plans go over at once. */
static void check_at_once(struct gs_snapshot *snapshot, struct gs_geodata *geo,
			  const struct gs_tables *now)
{
	struct gs_tables *tables = NULL;
	struct gs_error error;

	for (uint32_t i = 0; i < snapshot->latency_count; i++) {
		snapshot->latencies[i].before_percent = 50;
		snapshot->latencies[i].before_us = 110000 - snapshot->latencies[i].us;
	}
	if (gs_tables_build(snapshot, geo, &tables, &error))
		fail_msg("%s", error.text);
	assert_int_equal(tables->before_percent, 0);
	assert_int_equal(tables->exact_choices, now->exact_choices);
	assert_int_equal(gs_plan_set_count(tables->plans), gs_plan_set_count(now->plans));
	assert_memory_equal(tables->routes, now->routes,
			    (size_t)now->row_count * now->location_stride * sizeof(*now->routes));
	gs_tables_free(tables);
}

static void a_large_world_has_room(void **state)
{
	struct gs_geodata *geo = make_geodata();
	struct gs_snapshot *snapshot = make_snapshot(geo);
	struct gs_tables *tables = NULL;
	struct gs_error error;
	uint32_t moved = 0;

	(void)state;
	if (gs_tables_build(snapshot, geo, &tables, &error))
		fail_msg("%s", error.text);
	print_message("%u plans, the first %u choices are exact\n",
		      gs_plan_set_count(tables->plans), tables->exact_choices);
	assert_true(tables->exact_choices >= 4 && tables->exact_choices < GS_PLAN_REGIONS);
	for (gs_id policy = 1; policy <= POLICIES; policy += 3)
		moved += compare_with_alone(tables, policy);
	assert_true(moved > 0);
	check_reasons(tables);
	check_at_once(snapshot, geo, tables);
	gs_tables_free(tables);
	gs_snapshot_free(snapshot);
	large_geodata_free(geo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(settling_is_one_after_the_other),
		cmocka_unit_test(a_large_world_has_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
