/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions filled by what edges count and tell each other: from counters to words, under simulated
 * time, with two edges on one store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/capacity.h"
#include "user/app/demand.h"
#include "user/app/snapshot_io.h"
#include "user/app/usable.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { START_MS = 10000000, EDGES = 2, BERLIN = 1, VIRGINIA, PLACES, ROWS_MAX = 16 };

static const struct gs_location places[PLACES] = {
	[BERLIN] = {.country = "DE", .has_coord = true, .coord = {52, 13}},
	[VIRGINIA] = {.country = "US", .has_coord = true, .coord = {38, -77}},
};

/* One edge: its own loop, data plane and view. */
struct edge {
	struct gs_loop loop;
	struct fake_dataplane dataplane_fake;
	struct gs_dataplane dataplane;
	struct gs_store store;
	struct gs_usable_view view;
	struct gs_reconcile_state state;
	struct gs_demand *demand;
	struct gs_capacity *capacity;
	struct gs_demand_told told[ROWS_MAX]; /* what the store has of it */
	uint32_t told_count, told_times;
	double a_second[PLACES]; /* new flows */
	double owed[PLACES];
};

struct scene {
	struct gs_snapshot *snapshot;
	struct gs_location locations[PLACES];
	struct gs_geodata geo;
	struct gs_tables *tables;
	struct edge edge[EDGES];
};

static const struct gs_reconcile_state *look(void *context)
{
	return &((struct edge *)context)->state;
}

static void on_flows(void *context, const struct gs_tables *tables, uint32_t entry, uint32_t flows)
{
	gs_capacity_count(((struct edge *)context)->capacity, tables, entry, flows);
}

static void on_round(void *context, uint64_t elapsed_ms)
{
	gs_capacity_counted(((struct edge *)context)->capacity, elapsed_ms);
}

static void report(void *self, const struct gs_demand_told *rows, uint32_t count)
{
	struct edge *edge = self;

	assert_true(count <= ROWS_MAX);
	memcpy(edge->told, rows, count * sizeof(*rows));
	edge->told_count = count;
	edge->told_times++;
}

static const struct gs_store_ops store_ops = {.report_demand = report};

static int open_edge(struct scene *scene, struct edge *edge)
{
	const struct gs_capacity_ports capacity = {.loop = &edge->loop,
						   .dataplane = &edge->dataplane,
						   .store = &edge->store,
						   .look = look,
						   .look_context = edge};
	const struct gs_demand_ports demand = {.loop = &edge->loop,
					       .dataplane = &edge->dataplane,
					       .look = look,
					       .look_context = edge,
					       .on_flows = on_flows,
					       .on_round = on_round,
					       .flows_context = edge};

	edge->loop.now_ms = START_MS;
	fake_dataplane_init(&edge->dataplane_fake, &edge->dataplane);
	edge->store = (struct gs_store){.ops = &store_ops, .self = edge};
	for (int id = 1; id <= FAKE_REGIONS; id++)
		edge->view.regions[id] = (struct gs_usable){.state = GS_USABLE_UP};
	edge->state = (struct gs_reconcile_state){
		.snapshot = scene->snapshot, .tables = scene->tables, .view = &edge->view};
	return gs_capacity_new(&capacity, &edge->capacity) || gs_demand_new(&demand, &edge->demand);
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct gs_error error;

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	scene->snapshot = fake_snapshot(1);
	for (uint32_t i = 0; i < scene->snapshot->region_count; i++)
		scene->snapshot->regions[i].capacity = 100;
	memcpy(scene->locations, places, sizeof(places));
	scene->geo = (struct gs_geodata){
		.digest = 5, .location_count = PLACES, .locations = scene->locations};
	if (gs_tables_build(scene->snapshot, &scene->geo, &scene->tables, &error))
		fail_msg("%s", error.text);
	for (int e = 0; e < EDGES; e++)
		if (open_edge(scene, &scene->edge[e]))
			return -1;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	bool is_clean = true;

	for (int e = 0; e < EDGES; e++) {
		gs_demand_free(scene->edge[e].demand);
		gs_capacity_free(scene->edge[e].capacity);
		is_clean = is_clean && scene->edge[e].loop.count == 0;
	}
	gs_tables_free(scene->tables);
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return is_clean ? 0 : -1;
}

/* Seconds in which every edge's flows come in, and, if there is a store, each hears of the other.
 */
static void pass(struct scene *scene, int seconds, bool has_store)
{
	for (int s = 0; s < seconds; s++)
		for (int e = 0; e < EDGES; e++) {
			struct edge *edge = &scene->edge[e];
			const struct edge *other = &scene->edge[!e];

			for (int place = 0; place < PLACES; place++) {
				uint32_t flows;

				edge->owed[place] += edge->a_second[place];
				flows = (uint32_t)edge->owed[place];
				edge->owed[place] -= flows;
				edge->dataplane_fake.demand[0][place] += flows;
			}
			run_for(&edge->loop, 1000);
			if (has_store && s % 2)
				gs_capacity_hear(edge->capacity, other->told, other->told_count,
						 other->told_count > 0);
		}
}

static struct gs_capacity_status status_of(const struct edge *edge, gs_id region)
{
	struct gs_capacity_status status = {0};

	assert_true(gs_capacity_get(edge->capacity, region, &status));
	return status;
}

static void near(const char *what, double got, double want, double by)
{
	if (fabs(got - want) > by)
		fail_msg("%s: %.3f, want %.3f", what, got, want);
}

/* Neither edge alone would fill Frankfurt; both together do, and both send the same share away. */
static void edges_fill_a_region_together(void **state)
{
	struct scene *scene = *state;

	scene->edge[0].a_second[BERLIN] = 60;
	scene->edge[1].a_second[BERLIN] = 60;
	scene->edge[1].a_second[VIRGINIA] = 40;
	pass(scene, 120, true);
	for (int e = 0; e < EDGES; e++) {
		const struct edge *edge = &scene->edge[e];
		struct gs_capacity_status eu = status_of(edge, FAKE_EU);

		near("demand", eu.demand, 120, 3);
		near("here", eu.here, 60, 2);
		near("away", eu.away_percent, 100. * 40 / 120, 2);
		near("kept", eu.kept, 80, 3);
		near("the word", edge->dataplane_fake.fill[FAKE_EU].away / 65536., 1. / 3, .02);
		/* 40 to us, which has 40 left to its target, and ap, which has 80 */
		near("us takes", status_of(edge, FAKE_US).taken, 40. * 60 / 160, 2);
		near("ap takes", status_of(edge, FAKE_AP).taken, 40. * 100 / 160, 2);
		assert_int_equal(edge->dataplane_fake.fill[FAKE_EU].shed, 0);
	}
	/* told when it had changed, and every ten seconds */
	assert_in_range(scene->edge[0].told_times, 10, 24);
	assert_int_equal(scene->edge[1].told_count, 2);
	assert_string_equal(scene->edge[1].told[0].home, "region-1");
	assert_string_equal(scene->edge[1].told[0].usable, "region-1,region-2,region-3");
}

/* The store is away: the others' demand stays what it was, one's own goes on being followed. */
static void without_the_store_the_last_word_holds(void **state)
{
	struct scene *scene = *state;

	scene->edge[0].a_second[BERLIN] = 30;
	scene->edge[1].a_second[BERLIN] = 60;
	pass(scene, 60, true);
	near("before", status_of(&scene->edge[0], FAKE_EU).demand, 90, 3);
	scene->edge[0].a_second[BERLIN] = 70;
	scene->edge[1].a_second[BERLIN] = 0;
	pass(scene, 120, false);
	near("after", status_of(&scene->edge[0], FAKE_EU).demand, 130, 4);
	assert_true(gs_capacity_heard_ms_ago(scene->edge[0].capacity) >= 100000);
	assert_int_equal(gs_capacity_edges(scene->edge[0].capacity), 1);
}

/* One edge's broken cable: its own clients are elsewhere, the other's stay. */
static void what_one_edge_cannot_reach_others_can(void **state)
{
	struct scene *scene = *state;

	scene->edge[0].a_second[BERLIN] = 30;
	scene->edge[1].a_second[BERLIN] = 30;
	pass(scene, 30, true);
	scene->edge[0].view.regions[FAKE_EU].state = GS_USABLE_DOWN;
	pass(scene, 30, true);
	assert_string_equal(scene->edge[0].told[0].usable, "region-2,region-3");
	assert_int_equal(scene->edge[0].dataplane_fake.fill[FAKE_EU].away, 65535);
	assert_int_equal(scene->edge[1].dataplane_fake.fill[FAKE_EU].away, 0);
	near("us takes of it", status_of(&scene->edge[1], FAKE_US).taken, 15, 1);
	/* back: 10 % a second */
	scene->edge[0].view.regions[FAKE_EU].state = GS_USABLE_UP;
	pass(scene, 5, true);
	near("half way", status_of(&scene->edge[0], FAKE_EU).away_percent, 50, 11);
	pass(scene, 20, true);
	assert_int_equal(scene->edge[0].dataplane_fake.fill[FAKE_EU].away, 0);
}

/* Three times what all can take: as much is shed, by both edges alike, and it does not swing: those
 * who are shed are not counted, and are not forgotten either. */
static void too_much_is_shed_steadily(void **state)
{
	struct scene *scene = *state;
	double least = 1e9, most = 0;

	scene->edge[0].a_second[BERLIN] = 600;
	for (int second = 0; second < 200; second++) {
		struct edge *edge = &scene->edge[0];
		double shed = edge->dataplane_fake.fill[FAKE_EU].shed / (double)GS_SHED_STEP;

		/* what comes through is what is counted */
		edge->a_second[BERLIN] =
			600 * (1 - gs_capacity_shed_share(shed, scene->tables->row_priority[0]));
		pass(scene, 1, true);
		if (second > 100) {
			least = fmin(least, shed);
			most = fmax(most, shed);
		}
	}
	near("shed", most, .5, .03);
	assert_true(most - least < .03);
}

/* Words of an earlier daemon are where this one begins; without capacities they go. */
static void words_are_taken_up_and_put_down(void **state)
{
	struct scene *scene = *state;
	struct edge *edge = &scene->edge[0];
	struct gs_capacity_status status;

	edge->dataplane_fake.fill[FAKE_EU] = (struct gs_fill){.away = 32768};
	gs_capacity_reopen(edge->capacity);
	assert_false(gs_capacity_get(edge->capacity, FAKE_EU, &status));
	pass(scene, 1, false);
	near("ten percent of them come back", edge->dataplane_fake.fill[FAKE_EU].away / 65536., .4,
	     .001);
	for (uint32_t i = 0; i < scene->snapshot->region_count; i++)
		scene->snapshot->regions[i].capacity = 0;
	pass(scene, 1, false);
	for (int region = 1; region <= FAKE_REGIONS; region++)
		assert_memory_equal(&edge->dataplane_fake.fill[region], &(struct gs_fill){0},
				    sizeof(struct gs_fill));
	assert_false(gs_capacity_get(edge->capacity, FAKE_EU, &status));
	assert_null(gs_capacity_fill(edge->capacity));
	assert_null(gs_capacity_fill(NULL));
}

/* Names that are not there, priorities that are none: they count for nothing. */
static void odd_rows_are_left_out(void **state)
{
	static const struct gs_demand_told rows[] = {
		{.home = "region-1", .usable = "region-1,nowhere,region-3", .per_second = 10},
		{.home = "nowhere", .usable = "region-1", .per_second = 10},
		{.home = "region-2", .usable = "region-2", .priority = 8, .per_second = 10},
		{.home = "region-2", .usable = "region-2", .per_second = -5},
	};
	struct scene *scene = *state;

	gs_capacity_hear(scene->edge[0].capacity, rows, ARRAY_SIZE(rows), 3);
	pass(scene, 2, false);
	near("eu", status_of(&scene->edge[0], FAKE_EU).demand, 10, .01);
	near("us", status_of(&scene->edge[0], FAKE_US).demand, 0, .01);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(edges_fill_a_region_together),
		SCENE(without_the_store_the_last_word_holds),
		SCENE(what_one_edge_cannot_reach_others_can),
		SCENE(too_much_is_shed_steadily),
		SCENE(words_are_taken_up_and_put_down),
		SCENE(odd_rows_are_left_out),
	};

	return cmocka_run_group_tests_name("filling", tests, NULL, NULL);
}
