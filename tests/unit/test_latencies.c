/* SPDX-License-Identifier: Apache-2.0 */
/* From handshakes to the store and, in this edge's turn, from what all told to what is published;
 * under simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/latencies.h"
#include "user/app/probe_trips.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/geo.h"
#include "user/core/random.h"
#include "user/core/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum { MUNICH = 1, MUNICH_TOO, BERLIN, NOWHERE, OVERRIDDEN, LOCATIONS };
enum { PERIOD_MS = 10000, ROOM = 64 };
#define MUNICH_CELL "cell:DE-BY/48,11"
#define BERLIN_CELL "cell:DE-BE/52,13"

/* ---- the worker, which tests let run ---------------------------------------------------------*/

static struct gs_job *waiting;
static bool works_at_once;

void gs_loop_work(struct gs_loop *loop, struct gs_job *job)
{
	(void)loop;
	assert_null(waiting);
	waiting = job;
	if (!works_at_once)
		return;
	waiting = NULL;
	job->run(job);
	job->done(job);
}

static void work(void)
{
	struct gs_job *job = waiting;

	assert_non_null(job);
	waiting = NULL;
	job->run(job);
	job->done(job);
}

uint64_t gs_now_us(void)
{
	return 1;
}

/* ---- a store ---------------------------------------------------------------------------------*/

struct fake_latency_store {
	const struct gs_latency_store_events *events;
	void *context;
	bool is_away;
	uint32_t exchanges, period_ms;
	struct gs_latency_told told[ROOM];
	uint32_t told_count;
	uint32_t publishes;
	int64_t epoch;
	struct gs_latency_step step;
	struct gs_latency_change changes[ROOM];
	uint32_t change_count;
};

static void start(void *self, const struct gs_latency_store_events *events, void *context)
{
	struct fake_latency_store *fake = self;

	fake->events = events;
	fake->context = context;
}

static bool exchange(void *self, const struct gs_latency_told *rows, uint32_t count,
		     uint32_t period_ms)
{
	struct fake_latency_store *fake = self;

	if (fake->is_away)
		return false;
	assert_true(count <= ROOM);
	fake->exchanges++;
	fake->period_ms = period_ms;
	fake->told_count = count;
	memcpy(fake->told, rows, count * sizeof(*rows));
	return true;
}

static void publish(void *self, int64_t epoch, const struct gs_latency_step *step,
		    const struct gs_latency_change *changes, uint32_t count)
{
	struct fake_latency_store *fake = self;

	assert_true(count <= ROOM);
	fake->publishes++;
	fake->epoch = epoch;
	fake->step = *step;
	fake->change_count = count;
	assert_true(step->begins == (count > 0));
	if (count > 0)
		memcpy(fake->changes, changes, count * sizeof(*changes));
}

/* ---- a scene ---------------------------------------------------------------------------------*/

struct scene {
	struct gs_loop loop;
	struct fake_dataplane dataplane_fake;
	struct gs_dataplane dataplane;
	struct fake_latency_store fake;
	struct gs_latency_store store;
	struct gs_snapshot *snapshot;
	struct gs_location locations[LOCATIONS];
	struct gs_tables tables;
	struct gs_reconcile_state state;
	struct gs_handshakes *handshakes;
	struct gs_latencies *latencies;
	struct gs_probe_trips *trips;
	uint32_t prefixes;
};

static const struct gs_reconcile_state *look(void *context)
{
	struct scene *scene = context;

	return &scene->state;
}

static struct gs_location location_of(const char *country, const char *subdivision, double lat,
				      double lon)
{
	struct gs_location location = {.has_coord = true, .coord = {lat, lon}};

	strcpy(location.country, country);
	strcpy(location.subdivision, subdivision);
	strcpy(location.continent, *country ? "EU" : "");
	return location;
}

static int set_up(void **state)
{
	static const struct gs_latency_store_ops ops = {start, exchange, publish};
	struct scene *scene = calloc(1, sizeof(*scene));
	const struct gs_handshakes_ports handshakes = {.loop = &scene->loop,
						       .dataplane = &scene->dataplane,
						       .look = look,
						       .look_context = scene};
	struct gs_latencies_ports ports = {
		.loop = &scene->loop, .store = &scene->store, .look = look, .look_context = scene};

	*state = scene;
	waiting = NULL;
	works_at_once = true;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	scene->loop.now_ms = 10000000;
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	scene->dataplane_fake.handshake_fd = 77;
	scene->store = (struct gs_latency_store){.ops = &ops, .self = &scene->fake};
	scene->snapshot = fake_snapshot(1);
	scene->locations[MUNICH] = location_of("DE", "BY", 48.2, 11.5);
	scene->locations[MUNICH_TOO] = location_of("DE", "BY", 48.9, 11.1);
	scene->locations[BERLIN] = location_of("DE", "BE", 52.5, 13.4);
	scene->locations[NOWHERE] = location_of("DE", "", 52.5, 13.4);
	scene->locations[NOWHERE].has_coord = false;
	scene->locations[OVERRIDDEN] = location_of("", "", 52.5, 13.4);
	scene->locations[OVERRIDDEN].override_region = FAKE_EU;
	scene->tables = (struct gs_tables){.digest = 9,
					   .snapshot = scene->snapshot,
					   .location_count = LOCATIONS,
					   .locations = scene->locations};
	scene->state.snapshot = scene->snapshot;
	scene->state.tables = &scene->tables;
	if (gs_handshakes_new(&handshakes, 42, 1, &scene->handshakes))
		return -1;
	ports.handshakes = scene->handshakes;
	if (gs_probe_trips_new(&scene->trips))
		return -1;
	scene->state.probe_trips = scene->trips;
	gs_handshakes_trips(scene->handshakes); /* knows its locations */
	if (gs_handshakes_attach(scene->handshakes))
		return -1;
	return gs_latencies_new(&ports, PERIOD_MS, &scene->latencies);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	bool is_clean;

	gs_latencies_free(scene->latencies);
	gs_handshakes_free(scene->handshakes);
	gs_probe_trips_free(scene->trips);
	is_clean = scene->loop.count == 0 && !scene->loop.io && !scene->fake.events;
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return is_clean ? 0 : -1;
}

/* So many of different prefixes. */
static void shake(struct scene *scene, uint16_t location, gs_id region, uint32_t count,
		  uint32_t rtt_us)
{
	struct fake_dataplane *fake = &scene->dataplane_fake;

	for (uint32_t i = 0; i < count; i++) {
		struct gs_handshake *handshake = &fake->handshakes[i];

		*handshake = (struct gs_handshake){.rtt_us = rtt_us,
						   .service = FAKE_WEB,
						   .region = region,
						   .location = location,
						   .client = {.length = 24, .is_v4 = true}};
		handshake->client.addr.bytes[13] = (uint8_t)(scene->prefixes >> 8);
		handshake->client.addr.bytes[14] = (uint8_t)scene->prefixes++;
	}
	fake->handshake_count = count;
	scene->loop.io->on_ready(scene->loop.io, GS_LOOP_READABLE);
	assert_int_equal(fake->handshake_count, 0);
}

/* ---- what is told ----------------------------------------------------------------------------*/

static void what_clients_had_is_told(void **state)
{
	struct scene *scene = *state;
	const struct gs_latency_told *told = scene->fake.told;

	shake(scene, MUNICH, FAKE_EU, 3, 20000);
	shake(scene, BERLIN, FAKE_US, 1, 90000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 1);
	assert_int_equal(scene->fake.period_ms, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 2);
	assert_string_equal(told[0].place, BERLIN_CELL);
	assert_string_equal(told[0].region, "region-2");
	assert_string_equal(told[0].continent, "EU");
	assert_int_equal(told[0].samples, 1);
	assert_int_equal(told[0].rtt_us, 90000);
	assert_string_equal(told[1].place, MUNICH_CELL);
	assert_int_equal(told[1].samples, 3);
	assert_int_equal(told[1].rtt_us, 20000);
	assert_int_equal(told[1].age_ms, PERIOD_MS);
	assert_true(told[1].model_us >= GS_MODEL_FLOOR_US && told[1].model_us < 210000);
	/* Only what is new, next time. */
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 2);
	assert_int_equal(scene->fake.told_count, 0);
	shake(scene, MUNICH, FAKE_EU, 1, 20000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 1);
	assert_int_equal(told[0].samples, 4);
}

/* What the store did not take is told when it does. */
static void an_absent_store_misses_nothing(void **state)
{
	struct scene *scene = *state;

	scene->fake.is_away = true;
	shake(scene, MUNICH, FAKE_EU, 3, 20000);
	run_for(&scene->loop, 10 * PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 0);
	scene->fake.is_away = false;
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 1);
	assert_int_equal(scene->fake.told[0].age_ms, 11 * PERIOD_MS);
}

static void two_locations_of_a_cell_are_one(void **state)
{
	struct scene *scene = *state;

	shake(scene, MUNICH, FAKE_EU, 3, 20000);
	shake(scene, MUNICH_TOO, FAKE_EU, 1, 40000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 1);
	assert_int_equal(scene->fake.told[0].samples, 4);
	assert_int_equal(scene->fake.told[0].rtt_us, 25000);
}

static void clients_of_no_cell_are_not_told_of(void **state)
{
	struct scene *scene = *state;

	shake(scene, 0, FAKE_EU, 3, 20000);
	shake(scene, NOWHERE, FAKE_EU, 3, 20000);
	shake(scene, OVERRIDDEN, FAKE_EU, 3, 20000);
	shake(scene, LOCATIONS, FAKE_EU, 3, 20000);
	shake(scene, MUNICH, 200, 3, 20000); /* a region that is no more */
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 1);
	assert_int_equal(scene->fake.told_count, 0);
	scene->state.tables = NULL;
	shake(scene, MUNICH, FAKE_EU, 3, 20000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 2);
	assert_int_equal(scene->fake.told_count, 0);
}

static void another_period_holds_at_once(void **state)
{
	struct scene *scene = *state;

	gs_latencies_period(scene->latencies, 500);
	run_for(&scene->loop, 1000);
	assert_int_equal(scene->fake.exchanges, 2);
	assert_int_equal(scene->fake.period_ms, 500);
}

/* ---- what probes tell ------------------------------------------------------------------------*/

static const struct gs_coord frankfurt = {50.1, 8.7};

static void probe(struct scene *scene, gs_id id, uint32_t count, uint32_t rtt_us)
{
	const struct gs_backend *backend = gs_snapshot_backend(scene->snapshot, id);

	for (uint32_t i = 0; i < count; i++)
		gs_probe_trips_add(scene->trips, backend, rtt_us, scene->loop.now_ms);
}

static uint32_t model_of(const struct scene *scene, gs_id region)
{
	const struct gs_coord *coord = &scene->snapshot->regions[region - 1].coord;

	return gs_model_round_trip_us((uint32_t)(gs_geo_distance_km(&frankfurt, coord) * 1000));
}

static void probes_tell_how_far_regions_are(void **state)
{
	struct scene *scene = *state;
	const struct gs_latency_told *told = scene->fake.told;
	struct gs_latencies_status status;

	gs_latencies_stand(scene->latencies, &frankfurt);
	shake(scene, MUNICH, FAKE_EU, 3, 20000);
	probe(scene, fake_backend(FAKE_EU, 0), 3, 9000);
	probe(scene, fake_backend(FAKE_EU, 0), 1, 7000); /* its least */
	probe(scene, fake_backend(FAKE_EU, 1), 2, 8000);
	probe(scene, fake_backend(FAKE_US, 1), 1, 90000);
	/* One that is gone by now is of no region. */
	gs_probe_trips_add(scene->trips,
			   &(struct gs_backend){.id = GS_ID_MAX_BACKEND, .region = FAKE_EU}, 1,
			   scene->loop.now_ms);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 3);
	assert_string_equal(told[0].place, MUNICH_CELL);
	assert_string_equal(told[1].place, "probes");
	assert_string_equal(told[1].region, "region-1");
	assert_string_equal(told[1].continent, "");
	assert_int_equal(told[1].rtt_us, 7000); /* of two the lower */
	assert_int_equal(told[1].samples, 6);
	assert_int_equal(told[1].model_us, model_of(scene, FAKE_EU));
	assert_int_equal(told[1].age_ms, PERIOD_MS);
	assert_string_equal(told[2].region, "region-2");
	assert_int_equal(told[2].rtt_us, 90000);
	assert_int_equal(told[2].model_us, model_of(scene, FAKE_US));
	gs_latencies_look(scene->latencies, &status);
	assert_int_equal(status.probed, 2);
	assert_int_equal(status.told, 3);
	/* Only what was probed since. */
	probe(scene, fake_backend(FAKE_US, 0), 1, 95000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 1);
	assert_string_equal(told[0].region, "region-2");
	assert_int_equal(told[0].rtt_us, 90000);
	assert_int_equal(told[0].samples, 2);
}

static void who_does_not_know_where_it_is_tells_nothing(void **state)
{
	struct scene *scene = *state;

	probe(scene, fake_backend(FAKE_EU, 0), 9, 7000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 1);
	assert_int_equal(scene->fake.told_count, 0);
	gs_latencies_stand(scene->latencies, &frankfurt);
	probe(scene, fake_backend(FAKE_EU, 0), 9, 7000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 1);
	gs_latencies_stand(scene->latencies, NULL);
	probe(scene, fake_backend(FAKE_EU, 0), 9, 7000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.told_count, 0);
	/* Nor without a configuration. */
	gs_latencies_stand(scene->latencies, &frankfurt);
	scene->state.snapshot = NULL;
	probe(scene, fake_backend(FAKE_EU, 0), 9, 7000);
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 4);
	assert_int_equal(scene->fake.told_count, 0);
}

/* A path that has become longer is so within a minute; one nobody has answered by is nobody's. */
static void the_least_of_half_to_a_whole_minute(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_trip trips[GS_ID_MAX_REGION];
	uint64_t begin_ms = scene->loop.now_ms / 30000 * 30000;
	static const struct {
		uint32_t at_ms, rtt_us; /* 0: only looked at */
		uint32_t want_us, want_count;
	} steps[] = {
		{0, 7000, 7000, 1},	 {29999, 9000, 7000, 2},  {30000, 9000, 7000, 3},
		{59999, 8500, 7000, 4},	 {60000, 9000, 8500, 3},  {89999, 0, 8500, 3},
		{90000, 0, 9000, 1},	 {119999, 0, 9000, 1},	  {120000, 0, 0, 0},
		{400000, 6000, 6000, 1}, {490000, 9000, 9000, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t now_ms = begin_ms + steps[i].at_ms;
		uint32_t count;

		if (steps[i].rtt_us)
			gs_probe_trips_add(
				scene->trips,
				gs_snapshot_backend(scene->snapshot, fake_backend(FAKE_AP, 0)),
				steps[i].rtt_us, now_ms);
		count = gs_probe_trips_look(scene->trips, scene->snapshot, now_ms, trips);
		assert_int_equal(count, steps[i].want_count > 0);
		if (count == 0)
			continue;
		assert_int_equal(trips[0].region, FAKE_AP);
		assert_int_equal(trips[0].us, steps[i].want_us);
		assert_int_equal(trips[0].count, steps[i].want_count);
	}
}

static int compare_us(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* Beside sorting them; of some regions nobody has answered. */
static void of_many_backends_the_middle_one(void **state)
{
	enum { BACKENDS = 400 };
	static struct gs_backend backends[BACKENDS];
	const struct gs_snapshot snapshot = {.backend_count = BACKENDS, .backends = backends};
	uint64_t random = 0x5eed;
	(void)state;

	for (int round = 0; round < 200; round++) {
		uint32_t regions = 1 + (uint32_t)(gs_random(&random) % 60), looked;
		uint32_t us[60][BACKENDS], counts[60] = {0}, at = 0;
		struct gs_probe_trip trips[GS_ID_MAX_REGION];
		struct gs_probe_trips *kept;

		assert_int_equal(gs_probe_trips_new(&kept), 0);
		for (uint32_t i = 0; i < BACKENDS; i++) {
			uint32_t region = (uint32_t)(gs_random(&random) % regions);
			uint32_t one =
				1 + (uint32_t)(gs_random(&random) % (round % 2 ? 9 : UINT32_MAX));

			backends[i] = (struct gs_backend){
				.id = (gs_id)(i + 1),
				.region = (gs_id)(GS_ID_MAX_REGION - 59 + region)};
			if (gs_random(&random) % 3 == 0)
				continue;
			us[region][counts[region]++] = one;
			gs_probe_trips_add(kept, &backends[i], one, 77);
		}
		looked = gs_probe_trips_look(kept, &snapshot, 78, trips);
		for (uint32_t region = 0; region < regions; region++) {
			if (counts[region] == 0)
				continue;
			assert_true(at < looked);
			qsort(us[region], counts[region], sizeof(us[0][0]), compare_us);
			assert_int_equal(trips[at].region, GS_ID_MAX_REGION - 59 + region);
			assert_int_equal(trips[at].us, us[region][(counts[region] - 1) / 2]);
			assert_int_equal(trips[at].count, counts[region]);
			assert_int_equal(trips[at++].at_ms, 77);
		}
		assert_int_equal(at, looked);
		gs_probe_trips_free(kept);
	}
}

/* ---- judging ---------------------------------------------------------------------------------*/

static void turn(struct scene *scene, int64_t epoch, uint32_t samples, uint32_t rtt_us)
{
	struct gs_latency_measured measured = {.place = MUNICH_CELL,
					       .continent = "EU",
					       .region = FAKE_EU,
					       .samples = samples,
					       .rtt_us = rtt_us,
					       .model_us = 3000,
					       .at_unix_ms = gs_unix_ms()};

	scene->fake.events->on_turn(scene->fake.context, epoch, &measured, 1);
	run_for(&scene->loop, PERIOD_MS);
}

static void answer(struct scene *scene, bool is_published)
{
	scene->fake.events->on_published(scene->fake.context, is_published);
}

static struct gs_latencies_status status_of(const struct scene *scene)
{
	struct gs_latencies_status status;

	gs_latencies_look(scene->latencies, &status);
	return status;
}

static void three_turns_make_a_revision(void **state)
{
	struct scene *scene = *state;
	struct gs_latencies_status status;

	for (int64_t epoch = 7; epoch <= 8; epoch++)
		turn(scene, epoch, 9, 20000);
	assert_int_equal(scene->fake.publishes, 0);
	assert_true(status_of(scene).is_judge);
	turn(scene, 9, 9, 20000);
	assert_int_equal(scene->fake.publishes, 1);
	assert_int_equal(scene->fake.epoch, 9);
	assert_int_equal(scene->fake.change_count, 3); /* one cell: no larger ones */
	assert_string_equal(scene->fake.changes[0].place, MUNICH_CELL);
	assert_int_equal(scene->fake.changes[0].us, 20000);
	assert_int_equal(scene->fake.changes[0].samples, 9);
	assert_false(scene->fake.changes[0].is_gone);
	assert_int_equal(scene->fake.changes[1].us, 17000);
	answer(scene, true);
	status = status_of(scene);
	assert_int_equal(status.turns, 3);
	assert_int_equal(status.published, 1);
	assert_int_equal(status.changes, 3);
	assert_int_equal(status.failed, 0);
	run_for(&scene->loop, 3 * PERIOD_MS);
	assert_false(status_of(scene).is_judge);
}

static void what_failed_is_published_in_the_next_turn(void **state)
{
	struct scene *scene = *state;

	for (int64_t epoch = 1; epoch <= 3; epoch++)
		turn(scene, epoch, 9, 20000);
	assert_int_equal(scene->fake.publishes, 1);
	turn(scene, 4, 9, 20000); /* nobody has answered yet */
	assert_int_equal(scene->fake.publishes, 1);
	answer(scene, false);
	turn(scene, 5, 9, 20000);
	assert_int_equal(scene->fake.publishes, 2);
	assert_int_equal(scene->fake.epoch, 5);
	assert_int_equal(scene->fake.change_count, 3);
	assert_int_equal(status_of(scene).failed, 1);
}

/* Another edge had the turn: what this one remembers of its own is void. */
static void who_lost_the_turn_begins_anew(void **state)
{
	struct scene *scene = *state;

	turn(scene, 1, 9, 20000);
	turn(scene, 2, 9, 20000);
	turn(scene, 4, 9, 20000);
	turn(scene, 5, 9, 20000);
	assert_int_equal(scene->fake.publishes, 0);
	turn(scene, 6, 9, 20000);
	assert_int_equal(scene->fake.publishes, 1);
}

/* A slow worker: turns that come meanwhile are kept and not judged. */
static void one_evaluation_at_a_time(void **state)
{
	struct scene *scene = *state;
	struct gs_latency row = {.place = MUNICH_CELL, .region = FAKE_EU};

	works_at_once = false;
	turn(scene, 1, 9, 20000);
	assert_null(gs_latencies_track(scene->latencies, &row));
	turn(scene, 2, 9, 20000);
	work();
	assert_null(waiting);
	assert_int_equal(status_of(scene).turns, 1);
	turn(scene, 3, 9, 20000);
	work();
	assert_non_null(gs_latencies_track(scene->latencies, &row));
	assert_int_equal(gs_latencies_track(scene->latencies, &row)->times, 2);
	turn(scene, 4, 9, 20000); /* ends while the worker has it: tear_down frees what it holds */
	assert_non_null(waiting);
}

/* What is published already, by others, is where it begins; a row nobody measures is withdrawn. */
static void published_rows_are_the_begin(void **state)
{
	struct scene *scene = *state;
	struct gs_latency *rows = calloc(2, sizeof(*rows));
	const struct gs_latency_change *gone = NULL;

	rows[0] = (struct gs_latency){BERLIN_CELL, FAKE_EU, 9, 30000, gs_unix_ms(), 0, 0};
	rows[1] = (struct gs_latency){MUNICH_CELL, FAKE_EU, 9, 20000, gs_unix_ms(), 0, 0};
	free(scene->snapshot->latencies);
	scene->snapshot->latencies = rows;
	scene->snapshot->latency_count = 2;
	for (int64_t epoch = 1; epoch <= 3; epoch++)
		turn(scene, epoch, 9, 21000);
	assert_int_equal(scene->fake.publishes, 1);
	assert_int_equal(scene->fake.change_count, 2); /* the places around Munich */
	assert_string_equal(scene->fake.changes[0].place, "country:DE");
	answer(scene, true);
	/* In ten minutes; what this edge has published it has not heard of, and publishes again. */
	for (int64_t epoch = 4; epoch < 80 && !gone; epoch++) {
		uint32_t publishes = scene->fake.publishes;

		turn(scene, epoch, 9, 21000);
		for (uint32_t i = 0; i < scene->fake.change_count; i++)
			if (scene->fake.changes[i].is_gone)
				gone = &scene->fake.changes[i];
		if (scene->fake.publishes > publishes)
			answer(scene, true);
	}
	assert_non_null(gone);
	assert_string_equal(gone->place, BERLIN_CELL);
	assert_int_equal(gone->region, FAKE_EU);
}

/* A change that another edge has begun goes on in this one's first turn. */
static void what_is_under_way_goes_on(void **state)
{
	struct scene *scene = *state;
	struct gs_latency *rows = calloc(1, sizeof(*rows));

	rows[0] = (struct gs_latency){MUNICH_CELL, FAKE_EU, 9, 20000, gs_unix_ms(), 9000, 75};
	free(scene->snapshot->latencies);
	scene->snapshot->latencies = rows;
	scene->snapshot->latency_count = 1;
	turn(scene, 1, 9, 20000);
	assert_int_equal(scene->fake.publishes, 1);
	assert_int_equal(scene->fake.step.from_percent, 75);
	assert_int_equal(scene->fake.step.to_percent, 50);
	assert_int_equal(scene->fake.change_count, 0);
	answer(scene, true);
	rows[0].before_percent = 25;
	turn(scene, 2, 9, 20000);
	assert_int_equal(scene->fake.step.from_percent, 25);
	assert_int_equal(scene->fake.step.to_percent, 0);
	answer(scene, false); /* and what was not taken is no less there */
	turn(scene, 3, 9, 20000);
	assert_int_equal(scene->fake.publishes, 3);
	assert_int_equal(scene->fake.step.from_percent, 25);
	assert_int_equal(status_of(scene).changes, 2); /* that begin: of the places around */
}

/* Its rows are not what the database has: whoever takes that judges. */
static void who_refuses_a_generation_does_not_judge(void **state)
{
	struct scene *scene = *state;

	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.period_ms, PERIOD_MS);
	strcpy(scene->state.publish_problem, "locations: too many");
	run_for(&scene->loop, PERIOD_MS);
	assert_int_equal(scene->fake.exchanges, 2); /* what it has measured is told all the same */
	assert_int_equal(scene->fake.period_ms, 0);
	for (int64_t epoch = 1; epoch <= 6; epoch++)
		turn(scene, epoch, 9, 20000);
	assert_int_equal(scene->fake.publishes, 0);
	scene->state.publish_problem[0] = '\0';
	for (int64_t epoch = 7; epoch <= 12; epoch++)
		turn(scene, epoch, 9, 20000);
	assert_int_equal(scene->fake.period_ms, PERIOD_MS);
	assert_int_equal(scene->fake.publishes, 1);
}

/* A backend's probes are of where it was. */
static void a_backend_that_moves_begins_anew(void **state)
{
	struct scene *scene = *state;
	gs_id id = fake_backend(FAKE_AP, 0);
	struct gs_backend *backend = NULL;
	struct gs_probe_trip trips[GS_ID_MAX_REGION];

	for (uint32_t i = 0; i < scene->snapshot->backend_count; i++)
		if (scene->snapshot->backends[i].id == id)
			backend = &scene->snapshot->backends[i];
	assert_non_null(backend);
	gs_probe_trips_add(scene->trips, backend, 1000, 5);
	assert_int_equal(gs_probe_trips_look(scene->trips, scene->snapshot, 5, trips), 1);
	backend->addr.bytes[15] ^= 1;
	assert_int_equal(gs_probe_trips_look(scene->trips, scene->snapshot, 5, trips), 0);
	gs_probe_trips_add(scene->trips, backend, 90000, 6);
	assert_int_equal(gs_probe_trips_look(scene->trips, scene->snapshot, 6, trips), 1);
	assert_int_equal(trips[0].us, 90000);
	backend->region = FAKE_EU;
	assert_int_equal(gs_probe_trips_look(scene->trips, scene->snapshot, 6, trips), 0);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(what_clients_had_is_told),
		SCENE(an_absent_store_misses_nothing),
		SCENE(two_locations_of_a_cell_are_one),
		SCENE(clients_of_no_cell_are_not_told_of),
		SCENE(another_period_holds_at_once),
		SCENE(probes_tell_how_far_regions_are),
		SCENE(who_does_not_know_where_it_is_tells_nothing),
		SCENE(the_least_of_half_to_a_whole_minute),
		SCENE(of_many_backends_the_middle_one),
		SCENE(three_turns_make_a_revision),
		SCENE(what_failed_is_published_in_the_next_turn),
		SCENE(who_lost_the_turn_begins_anew),
		SCENE(one_evaluation_at_a_time),
		SCENE(published_rows_are_the_begin),
		SCENE(what_is_under_way_goes_on),
		SCENE(who_refuses_a_generation_does_not_judge),
		SCENE(a_backend_that_moves_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
