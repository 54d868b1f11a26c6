/* SPDX-License-Identifier: Apache-2.0 */
/* New flows: rates of counters, and what becomes of them from one generation to the next; under
 * simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/demand.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/random.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { START_MS = 10000000, LOOK_MS = 2000 };

/* ---- rates ----------------------------------------------------------------------------------- */

static void count(struct gs_demand_cell *cell, uint32_t flows, uint64_t now_ms, uint64_t since_ms)
{
	struct gs_demand_look look;

	gs_demand_look_init(&look, now_ms, since_ms);
	assert_int_equal(gs_demand_count(&look, cell, cell->counter + flows), flows);
}

static double rate(const struct gs_demand_cell *cell, enum gs_demand_span span, uint64_t now_ms)
{
	struct gs_demand_look look;

	gs_demand_look_init(&look, now_ms, 1000);
	return gs_demand_rate(&look, cell, span);
}

/* As many flows a second as there are, however often somebody looks. */
static void a_constant_stream_has_its_rate(void **state)
{
	static const uint64_t every_ms[] = {100, 1000, 2000, 10000};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(every_ms); i++) {
		struct gs_demand_cell cell = {0};
		uint64_t now_ms = START_MS;

		for (uint64_t ms = 0; ms < 3000000; ms += every_ms[i]) {
			now_ms += every_ms[i];
			count(&cell, (uint32_t)(50 * every_ms[i] / 1000), now_ms, every_ms[i]);
		}
		assert_float_equal(rate(&cell, GS_DEMAND_MINUTE, now_ms), 50, 0.1);
		assert_float_equal(rate(&cell, GS_DEMAND_FIVE_MINUTES, now_ms), 50, 0.1);
		assert_int_equal(cell.flows, 150000);
	}
}

/* It need not be touched for that. */
static void what_ends_fades(void **state)
{
	struct gs_demand_cell cell = {0};
	uint64_t now_ms = START_MS;
	(void)state;

	for (int i = 0; i < 2000; i++)
		count(&cell, 100, now_ms += 1000, 1000);
	assert_float_equal(rate(&cell, GS_DEMAND_MINUTE, now_ms + 60000), 100 / M_E, 0.1);
	assert_float_equal(rate(&cell, GS_DEMAND_FIVE_MINUTES, now_ms + 300000), 100 / M_E, 0.3);
	assert_float_equal(rate(&cell, GS_DEMAND_MINUTE, now_ms + 3600000), 0, 1e-9);
	count(&cell, 100, now_ms + 3600000, 1000);
	assert_float_equal(rate(&cell, GS_DEMAND_MINUTE, now_ms + 3600000), 100.0 / 60, 0.02);
}

/* 60 flows at once are one a second of a minute, at first. */
static void a_burst_is_spread_over_the_span(void **state)
{
	struct gs_demand_cell cell = {0};
	(void)state;

	count(&cell, 600, START_MS, 1000);
	assert_float_equal(rate(&cell, GS_DEMAND_MINUTE, START_MS), 10, 0.1);
	assert_float_equal(rate(&cell, GS_DEMAND_FIVE_MINUTES, START_MS), 2, 0.02);
}

static void a_counter_may_wrap(void **state)
{
	struct gs_demand_cell cell = {.counter = UINT32_MAX - 2, .at = START_MS / 100};
	struct gs_demand_look look;
	(void)state;

	gs_demand_look_init(&look, START_MS, 1000);
	assert_int_equal(gs_demand_count(&look, &cell, 4), 7);
	assert_int_equal(gs_demand_count(&look, &cell, 4), 0);
	assert_int_equal(cell.flows, 7);
}

/* ---- other locations ------------------------------------------------------------------------- */

#define AT(lat, lon) .has_coord = true, .coord = {lat, lon}

static void locations_match_by_what_they_say(void **state)
{
	static const struct gs_location before[] = {
		{.country = ""},
		{.country = "DE", .continent = "EU", AT(50, 8)},
		{.country = "DE", .continent = "EU", AT(52, 13)},
		{.country = "DE", .continent = "EU"},
		{.country = "US", .subdivision = "CA", AT(37, -122)},
		{.country = "US", .subdivision = "NV", AT(37, -122)},
		{.override_region = 2},
		{.override_region = 3},
	};
	static const struct gs_location after[] = {
		{.country = ""},
		{.override_region = 3},
		{.country = "US", .subdivision = "CA", AT(37, -122)},
		{.country = "DE", .continent = "EU"},
		{.country = "DE", .continent = "EU", AT(52, 13)},
		{.country = "DE", .continent = "EU", AT(50, 9)},
		{.country = "FR", .continent = "EU", AT(50, 8)},
	};
	static const uint16_t want[] = {0, 0, 4, 3, 2, 0, 0, 1};
	uint16_t slots[64], got[ARRAY_SIZE(before)];
	(void)state;

	_Static_assert(ARRAY_SIZE(want) == ARRAY_SIZE(before), "one each");
	assert_true(gs_demand_match_slots(ARRAY_SIZE(after)) <= ARRAY_SIZE(slots));
	gs_demand_match(before, ARRAY_SIZE(before), after, ARRAY_SIZE(after), slots, got);
	assert_memory_equal(got, want, sizeof(want));
}

/* ---- the busiest ----------------------------------------------------------------------------- */

static int naive_compare(const void *left, const void *right)
{
	const struct gs_demand_row *a = left, *b = right;

	if (a->per_second[0] > b->per_second[0] || a->per_second[0] < b->per_second[0])
		return a->per_second[0] > b->per_second[0] ? -1 : 1;
	if (a->flows != b->flows)
		return a->flows > b->flows ? -1 : 1;
	return (a->key > b->key) - (a->key < b->key);
}

static void the_busiest_are_those_of_a_sort(void **state)
{
	enum { ROWS = 400 };
	static struct gs_demand_row all[ROWS], room[ROWS];
	uint64_t seed = 11;
	(void)state;

	for (uint32_t take = 0; take <= ROWS; take += 37) {
		struct gs_demand_top top = {.rows = room, .room = take};

		for (uint32_t i = 0; i < ROWS; i++) {
			all[i] = (struct gs_demand_row){.policy = 1, .key = i};
			all[i].per_second[0] = (double)(gs_random(&seed) % 40);
			all[i].flows = gs_random(&seed) % 3;
			gs_demand_top_offer(&top, &all[i]);
		}
		gs_demand_top_sort(&top);
		qsort(all, ROWS, sizeof(all[0]), naive_compare);
		assert_int_equal(top.count, take);
		assert_int_equal(top.offered, ROWS);
		for (uint32_t i = 0; i < take; i++)
			assert_int_equal(room[i].key, all[i].key);
	}
}

/* ---- generations ----------------------------------------------------------------------------- */

enum { BERLIN = 1, TOKYO, VIRGINIA, PLACES };

static const struct gs_location places[PLACES] = {
	[BERLIN] = {.country = "DE", AT(52, 13)},
	[TOKYO] = {.country = "JP", AT(35, 139)},
	[VIRGINIA] = {.country = "US", AT(38, -77)},
};
/* The same, but for Tokyo's, under other ids. */
static const struct gs_location other_places[PLACES] = {
	[1] = {.country = "JP", AT(34, 135)},
	[2] = {.country = "US", AT(38, -77)},
	[3] = {.country = "DE", AT(52, 13)},
};

struct scene {
	struct gs_loop loop;
	struct fake_dataplane dataplane_fake;
	struct gs_dataplane dataplane;
	struct gs_snapshot *snapshot;
	struct gs_geodata geo, other_geo;
	struct gs_location locations[PLACES], other_locations[PLACES];
	struct gs_tables *tables;
	struct gs_reconcile_state state;
	struct gs_demand *demand;
};

static const struct gs_reconcile_state *look(void *context)
{
	struct scene *scene = context;

	return &scene->state;
}

static struct gs_tables *build(struct scene *scene, const struct gs_geodata *geo)
{
	struct gs_tables *tables = NULL;
	struct gs_error error;

	if (gs_tables_build(scene->snapshot, geo, &tables, &error))
		fail_msg("%s", error.text);
	return tables;
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	const struct gs_demand_ports ports = {.loop = &scene->loop,
					      .dataplane = &scene->dataplane,
					      .look = look,
					      .look_context = scene};

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	scene->loop.now_ms = START_MS;
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	scene->snapshot = fake_snapshot(1);
	memcpy(scene->locations, places, sizeof(places));
	memcpy(scene->other_locations, other_places, sizeof(other_places));
	scene->geo = (struct gs_geodata){
		.digest = 5, .location_count = PLACES, .locations = scene->locations};
	scene->other_geo = (struct gs_geodata){
		.digest = 6, .location_count = PLACES, .locations = scene->other_locations};
	scene->tables = build(scene, &scene->geo);
	return gs_demand_new(&ports, &scene->demand);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	bool is_clean;

	gs_demand_free(scene->demand);
	is_clean = scene->loop.count == 0;
	gs_tables_free(scene->tables);
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return is_clean ? 0 : -1;
}

/* In force; the counters of its slot begin at 0, as the data plane's do. */
static void put_in_force(struct scene *scene, struct gs_tables *tables, uint32_t slot)
{
	const struct gs_generation_change change = {.before = scene->state.tables,
						    .after = tables,
						    .slot_before = scene->state.info.slot,
						    .slot_after = slot};

	while (!gs_demand_replace(scene->demand, &change))
		continue;
	if (scene->tables != tables)
		gs_tables_free(scene->tables);
	scene->tables = tables;
	scene->state.tables = tables;
	scene->state.snapshot = scene->snapshot;
	scene->state.info.slot = slot;
}

static void open_flows(struct scene *scene, uint32_t location, uint32_t flows)
{
	scene->dataplane_fake.demand[scene->state.info.slot][location] += flows;
}

/* Of the line with this key; all zero: there is none. */
static struct gs_demand_row line(struct scene *scene, enum gs_demand_by by, uint32_t key)
{
	struct gs_demand_row rows[64];
	struct gs_demand_top top = {.rows = rows, .room = ARRAY_SIZE(rows)};
	const struct gs_demand_query query = {.by = by};

	gs_demand_read(scene->demand, &query, &top);
	for (uint32_t i = 0; i < top.count; i++)
		if (rows[i].key == key)
			return rows[i];
	return (struct gs_demand_row){0};
}

static uint64_t flows_of(struct scene *scene, enum gs_demand_by by, uint32_t key)
{
	return line(scene, by, key).flows;
}

static uint32_t country(const char *name)
{
	return 1 + (uint32_t)(name[0] - 'A') * 26 + (uint32_t)(name[1] - 'A');
}

static void flows_are_told_by_all_they_are_of(void **state)
{
	struct scene *scene = *state;
	char name[3];

	put_in_force(scene, scene->tables, 0);
	open_flows(scene, BERLIN, 7);
	open_flows(scene, TOKYO, 3);
	open_flows(scene, 0, 2);
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, BERLIN), 7);
	assert_int_equal(line(scene, GS_DEMAND_BY_LOCATION, BERLIN).region, FAKE_EU);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, 0), 2);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, VIRGINIA), 0);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("DE")), 7);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("JP")), 3);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, 0), 2);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("US")), 0);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_REGION, FAKE_AP), 3);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 12);
	assert_float_equal(line(scene, GS_DEMAND_BY_POLICY, 0).per_second[GS_DEMAND_MINUTE],
			   12.0 / 60, 0.01);
	assert_int_equal(gs_demand_sum_country(scene->demand, country("DE")), 7);
	assert_string_equal(gs_demand_country_name(country("JP"), name), "JP");
	assert_string_equal(gs_demand_country_name(0, name), "");
}

static void only_the_policy_that_is_asked_for(void **state)
{
	struct scene *scene = *state;
	struct gs_demand_row rows[8];
	struct gs_demand_top top = {.rows = rows, .room = ARRAY_SIZE(rows)};
	struct gs_demand_query query = {.policy = scene->snapshot->policies[0].id,
					.by = GS_DEMAND_BY_POLICY};

	put_in_force(scene, scene->tables, 0);
	open_flows(scene, BERLIN, 7);
	run_for(&scene->loop, LOOK_MS);
	gs_demand_read(scene->demand, &query, &top);
	assert_int_equal(top.offered, 1);
	query.policy++;
	gs_demand_read(scene->demand, &query, &top);
	assert_int_equal(top.offered, 1);
}

/* Ids mean other places: what was counted under the old ones is the old ones'. */
static void the_last_flows_of_a_generation_are_its_own(void **state)
{
	struct scene *scene = *state;

	put_in_force(scene, scene->tables, 0);
	open_flows(scene, BERLIN, 7);
	run_for(&scene->loop, LOOK_MS);
	open_flows(scene, BERLIN, 5); /* and nobody has looked since */
	open_flows(scene, TOKYO, 1);
	put_in_force(scene, build(scene, &scene->other_geo), 1);
	open_flows(scene, 3, 10); /* Berlin's now */
	open_flows(scene, 1, 20); /* another one of Japan */
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("DE")), 22);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("JP")), 21);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_COUNTRY, country("US")), 0);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, 3), 22); /* handed over */
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, 1), 20); /* it is not the old one */
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_REGION, FAKE_EU), 22);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 43);
}

/* Rates of places that stay go on as if nothing had been. */
static void rates_are_handed_over(void **state)
{
	struct scene *scene = *state;
	double before;

	put_in_force(scene, scene->tables, 0);
	for (int i = 0; i < 100; i++) {
		open_flows(scene, BERLIN, 20);
		run_for(&scene->loop, LOOK_MS);
	}
	before = line(scene, GS_DEMAND_BY_LOCATION, BERLIN).per_second[GS_DEMAND_MINUTE];
	assert_float_equal(before, 10, 0.5);
	put_in_force(scene, build(scene, &scene->other_geo), 2);
	assert_float_equal(line(scene, GS_DEMAND_BY_LOCATION, 3).per_second[GS_DEMAND_MINUTE],
			   before, 0.01);
	run_for(&scene->loop, 60000);
	assert_float_equal(line(scene, GS_DEMAND_BY_LOCATION, 3).per_second[GS_DEMAND_MINUTE],
			   before / M_E, 0.1);
}

/* A daemon that comes to a data plane that works: what it has counted was at other times. */
static void what_was_counted_before_is_not_new(void **state)
{
	struct scene *scene = *state;

	scene->dataplane_fake.demand[2][BERLIN] = 1000;
	scene->state.tables = scene->tables;
	scene->state.snapshot = scene->snapshot;
	scene->state.info.slot = 2;
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 0);
	open_flows(scene, BERLIN, 4);
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 4);
	gs_demand_reopen(scene->demand); /* other maps, which have counted a thing or two */
	scene->dataplane_fake.demand[2][BERLIN] = 77;
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 4);
	open_flows(scene, BERLIN, 1);
	run_for(&scene->loop, LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 5);
}

/* Ids of what is gone may be given to something new. */
static void another_of_the_same_id_begins_at_nothing(void **state)
{
	struct scene *scene = *state;

	put_in_force(scene, scene->tables, 0);
	open_flows(scene, BERLIN, 7);
	open_flows(scene, VIRGINIA, 2);
	run_for(&scene->loop, LOOK_MS);
	strcpy(scene->snapshot->regions[0].name, "elsewhere");
	scene->snapshot->selection_seed++;
	put_in_force(scene, build(scene, &scene->geo), 1);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_REGION, FAKE_EU), 0);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_REGION, FAKE_US), 2);
	strcpy(scene->snapshot->policies[0].name, "another");
	scene->snapshot->selection_seed++;
	put_in_force(scene, build(scene, &scene->geo), 2);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_POLICY, 0), 0);
}

static void nothing_in_force_is_nothing_to_tell(void **state)
{
	struct scene *scene = *state;

	run_for(&scene->loop, 10 * LOOK_MS);
	assert_int_equal(flows_of(scene, GS_DEMAND_BY_LOCATION, BERLIN), 0);
	assert_int_equal(gs_demand_uncounted(scene->demand), 0);
}

/* More pairs than there are counters: those beyond are known to be missing. */
static void more_pairs_than_counters(void **state)
{
	struct scene *scene = *state;
	uint32_t row_count = scene->tables->row_count;
	struct gs_tables *many = scene->tables;

	put_in_force(scene, scene->tables, 0);
	assert_int_equal(gs_demand_uncounted(scene->demand), 0);
	many->row_count = GS_DEMAND_ENTRIES / many->location_stride + 1;
	many->digest++;
	gs_demand_replace(scene->demand,
			  &(struct gs_generation_change){.after = many, .slot_after = 1});
	assert_int_equal(gs_demand_uncounted(scene->demand),
			 (uint64_t)many->row_count * many->location_stride - GS_DEMAND_ENTRIES);
	many->row_count = row_count;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_constant_stream_has_its_rate),
		cmocka_unit_test(what_ends_fades),
		cmocka_unit_test(a_burst_is_spread_over_the_span),
		cmocka_unit_test(a_counter_may_wrap),
		cmocka_unit_test(locations_match_by_what_they_say),
		cmocka_unit_test(the_busiest_are_those_of_a_sort),
#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		SCENE_TEST(flows_are_told_by_all_they_are_of),
		SCENE_TEST(only_the_policy_that_is_asked_for),
		SCENE_TEST(the_last_flows_of_a_generation_are_its_own),
		SCENE_TEST(rates_are_handed_over),
		SCENE_TEST(what_was_counted_before_is_not_new),
		SCENE_TEST(another_of_the_same_id_begins_at_nothing),
		SCENE_TEST(nothing_in_force_is_nothing_to_tell),
		SCENE_TEST(more_pairs_than_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
