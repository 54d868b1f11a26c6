/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes from a data plane to what is shown, under simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/handshakes.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"

#include <errno.h>
#include <string.h>

enum { BERLIN = 3, LOCATIONS = 8, FIRST = 1, MANY = 1000 };

struct scene {
	struct gs_loop loop;
	struct fake_dataplane dataplane_fake;
	struct fake_prober prober_fake;
	struct gs_dataplane dataplane;
	struct gs_prober prober;
	struct gs_snapshot *snapshot;
	struct gs_geodata geo;
	struct gs_location locations[LOCATIONS];
	struct gs_tables tables;
	struct gs_reconcile_state state;
	struct gs_handshakes *handshakes;
};

static const struct gs_reconcile_state *look(void *context)
{
	struct scene *scene = context;

	return &scene->state;
}

static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	(void)context;
	(void)verdict;
}

static int make(struct scene *scene, uint32_t one_in)
{
	const struct gs_handshakes_ports ports = {.loop = &scene->loop,
						  .dataplane = &scene->dataplane,
						  .look = look,
						  .look_context = scene};

	return gs_handshakes_new(&ports, 42, one_in, &scene->handshakes);
}

/* Backend FIRST is probed, up, and its next regular probe is far away. */
static int watch(struct scene *scene)
{
	struct gs_probe_target target = {.backend = FIRST, .port = 80};

	target.spec = gs_probe_spec_default();
	target.spec.interval_ms = 3600000;
	return fake_watch(scene->state.monitor, &target, 1, NULL, NULL);
}

static int set_up(void **state)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict};
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	scene->loop.now_ms = 10000000;
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	scene->dataplane_fake.handshake_fd = 77;
	fake_prober_init(&scene->prober_fake, &scene->loop, &scene->prober);
	for (int i = 0; i < FAKE_PROBER_BACKENDS; i++)
		scene->prober_fake.backend[i].answer = (struct fake_answer){GS_PROBE_OK, 5, 0};
	scene->snapshot = fake_snapshot(1);
	scene->geo = (struct gs_geodata){.digest = 5, .location_count = LOCATIONS - 1};
	scene->locations[LOCATIONS - 1].override_region = FAKE_EU;
	scene->tables = (struct gs_tables){.digest = 9,
					   .geo = &scene->geo,
					   .location_count = LOCATIONS,
					   .locations = scene->locations};
	scene->state.snapshot = scene->snapshot;
	scene->state.tables = &scene->tables;
	if (gs_monitor_new(&scene->loop, &scene->prober, &events, scene, 42,
			   &scene->state.monitor) ||
	    watch(scene) || make(scene, 64))
		return -1;
	gs_handshakes_trips(scene->handshakes); /* knows its locations */
	return gs_handshakes_attach(scene->handshakes);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	bool is_clean;

	gs_handshakes_free(scene->handshakes);
	gs_monitor_free(scene->state.monitor);
	fake_prober_done(&scene->prober_fake);
	is_clean = scene->loop.count == 0 && !scene->loop.io;
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return is_clean ? 0 : -1;
}

/* One handshake each from `count` prefixes. */
static void shake(struct scene *scene, uint32_t count, uint32_t rtt_us)
{
	struct fake_dataplane *fake = &scene->dataplane_fake;

	for (uint32_t i = 0; i < count; i++) {
		struct gs_handshake handshake = {
			.rtt_us = rtt_us,
			.service = FAKE_WEB,
			.region = FAKE_EU,
			.backend = FIRST,
			.location = BERLIN,
			.client = {.length = 24, .is_v4 = true},
		};

		handshake.client.addr.bytes[13] = (uint8_t)(i >> 8);
		handshake.client.addr.bytes[14] = (uint8_t)i;
		assert_true(fake->handshake_count < FAKE_HANDSHAKES_MAX);
		fake->handshakes[fake->handshake_count++] = handshake;
	}
}

/* As epoll does: until nothing is left. */
static void hear(struct scene *scene)
{
	assert_non_null(scene->loop.io);
	while (scene->dataplane_fake.handshake_count > 0)
		scene->loop.io->on_ready(scene->loop.io, GS_LOOP_READABLE);
}

static bool get(struct scene *scene, enum gs_round_trips_kind kind, struct gs_round_trip *ret_trip)
{
	return gs_round_trips_get(gs_handshakes_trips(scene->handshakes), kind,
				  kind == GS_ROUND_TRIPS_LOCATION ? BERLIN : FAKE_WEB, FAKE_EU,
				  scene->loop.now_ms, ret_trip);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void handshakes_reach_what_is_shown(void **state)
{
	struct scene *scene = *state;
	struct gs_round_trip trip;

	assert_int_equal(scene->loop.io->fd, 77);
	assert_false(get(scene, GS_ROUND_TRIPS_SERVICE, &trip));
	shake(scene, 60, 40000);
	hear(scene);
	assert_true(get(scene, GS_ROUND_TRIPS_SERVICE, &trip));
	assert_in_range(trip.count, 40, 60);
	assert_in_range(trip.p50_us, 38000, 42000);
	assert_true(get(scene, GS_ROUND_TRIPS_LOCATION, &trip));
	assert_in_range(trip.p99_us, 38000, 42000);
}

static void a_turn_takes_only_so_many(void **state)
{
	struct scene *scene = *state;

	shake(scene, MANY, 1000);
	scene->loop.io->on_ready(scene->loop.io, GS_LOOP_READABLE);
	assert_int_equal(scene->dataplane_fake.handshake_count, MANY - 64);
}

/* An id that means another place by now tells nothing of it. */
static void other_locations_begin_anew(void **state)
{
	struct scene *scene = *state;
	struct gs_round_trip trip;

	shake(scene, 20, 1000);
	hear(scene);
	scene->tables.digest++; /* other weights, say */
	assert_true(get(scene, GS_ROUND_TRIPS_LOCATION, &trip));
	shake(scene, MANY, 1000); /* of the old ones, not yet heard */
	scene->tables.digest++;
	scene->geo.digest++;
	assert_false(get(scene, GS_ROUND_TRIPS_LOCATION, &trip));
	assert_int_equal(scene->dataplane_fake.handshake_count, 0);
	assert_true(get(scene, GS_ROUND_TRIPS_SERVICE, &trip));
	shake(scene, 20, 1000);
	hear(scene);
	assert_true(get(scene, GS_ROUND_TRIPS_LOCATION, &trip));
	scene->tables.digest++;
	scene->locations[LOCATIONS - 1].override_region = FAKE_US;
	run_for(&scene->loop, 1000);
	assert_false(get(scene, GS_ROUND_TRIPS_LOCATION, &trip));
}

/* ---- the rate -------------------------------------------------------------------------------- */

static void the_rate_is_told(void **state)
{
	struct scene *scene = *state;
	struct fake_dataplane *fake = &scene->dataplane_fake;

	assert_int_equal(fake->one_in, 64);
	gs_handshakes_sample(scene->handshakes, 0);
	assert_int_equal(fake->one_in, 0);
	assert_int_equal(fake->one_in_count, 2);
	assert_int_equal(gs_handshakes_one_in(scene->handshakes), 0);
}

static void off_is_told_too(void **state)
{
	struct scene *scene = *state;

	gs_handshakes_free(scene->handshakes);
	scene->dataplane_fake.one_in = 64; /* what the maps had before */
	assert_int_equal(make(scene, 0), 0);
	assert_int_equal(gs_handshakes_attach(scene->handshakes), 0);
	assert_int_equal(scene->dataplane_fake.one_in, 0);
}

static void other_maps_are_told_the_rate(void **state)
{
	struct scene *scene = *state;
	struct fake_dataplane *fake = &scene->dataplane_fake;
	struct gs_round_trip trip;

	fake->syns[FIRST] = (struct gs_syns){.opened = 50};
	run_for(&scene->loop, 2000);
	assert_int_equal(gs_handshakes_syns(scene->handshakes, FIRST).opened, 50);
	gs_handshakes_detach(scene->handshakes);
	assert_null(scene->loop.io);
	gs_handshakes_sample(scene->handshakes, 8); /* nobody is there */
	assert_int_equal(fake->one_in, 64);
	fake->handshake_fd = 78;
	assert_int_equal(gs_handshakes_attach(scene->handshakes), 0);
	assert_int_equal(fake->one_in, 8);
	assert_int_equal(scene->loop.io->fd, 78);
	assert_int_equal(gs_handshakes_syns(scene->handshakes, FIRST).opened, 0);
	shake(scene, 5, 1000);
	hear(scene);
	assert_true(get(scene, GS_ROUND_TRIPS_SERVICE, &trip));
}

/* ---- SYNs ------------------------------------------------------------------------------------ */

static void repeated_syns_bring_one_probe(void **state)
{
	struct scene *scene = *state;
	struct gs_syns *syns = &scene->dataplane_fake.syns[FIRST];
	uint32_t before;

	run_for(&scene->loop, 2500); /* the first probe, the first look */
	before = scene->prober_fake.backend[FIRST].probes;
	syns->opened += 10;
	run_for(&scene->loop, 1000);
	assert_int_equal(scene->prober_fake.backend[FIRST].probes, before);
	syns->repeated += 9;
	run_for(&scene->loop, 1000);
	assert_int_equal(scene->prober_fake.backend[FIRST].probes, before + 1);
	syns->repeated += 9; /* too soon after that */
	run_for(&scene->loop, 3000);
	assert_int_equal(scene->prober_fake.backend[FIRST].probes, before + 1);
	assert_int_equal(gs_handshakes_syns(scene->handshakes, FIRST).repeated, 18);
}

static void many_backends_are_looked_at_bit_by_bit(void **state)
{
	static struct gs_backend backends[MANY];
	struct scene *scene = *state;
	struct gs_snapshot many = *scene->snapshot;
	uint32_t most = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		backends[i] = scene->snapshot->backends[0];
		backends[i].id = (gs_id)(i + 1);
		scene->dataplane_fake.syns[i + 1].opened = i;
	}
	many.backends = backends;
	many.backend_count = MANY;
	scene->state.snapshot = &many;
	for (int ms = 0; ms < 2500; ms++) {
		uint32_t before = scene->dataplane_fake.syns_asked;

		run_for(&scene->loop, 1);
		if (scene->dataplane_fake.syns_asked - before > most)
			most = scene->dataplane_fake.syns_asked - before;
	}
	assert_int_equal(most, 200);
	assert_in_range(scene->dataplane_fake.syns_asked, MANY, 2 * MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(gs_handshakes_syns(scene->handshakes, (gs_id)(i + 1)).opened, i);
	scene->state.snapshot = scene->snapshot;
}

/* ---- less than everything -------------------------------------------------------------------- */

static void a_data_plane_without_any_of_it(void **state)
{
	static const struct gs_dataplane_ops none = {.publish = NULL};
	struct scene *scene = *state;
	struct gs_round_trip trip;

	gs_handshakes_detach(scene->handshakes);
	scene->dataplane.ops = &none;
	assert_int_equal(gs_handshakes_attach(scene->handshakes), 0);
	assert_null(scene->loop.io);
	gs_handshakes_sample(scene->handshakes, 4);
	scene->tables.digest++;
	scene->geo.digest++;
	run_for(&scene->loop, 5000);
	assert_false(get(scene, GS_ROUND_TRIPS_SERVICE, &trip));
}

static void nothing_in_force_and_nothing_readable(void **state)
{
	struct scene *scene = *state;

	scene->dataplane_fake.syns_error = -EIO;
	run_for(&scene->loop, 3000);
	assert_int_equal(gs_handshakes_syns(scene->handshakes, FIRST).opened, 0);
	assert_true(scene->dataplane_fake.syns_asked > 0);
	scene->state.snapshot = NULL;
	scene->state.tables = NULL;
	shake(scene, 5, 1000);
	hear(scene);
	run_for(&scene->loop, 3000);
	gs_handshakes_free(NULL);
	gs_handshakes_detach(NULL);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(handshakes_reach_what_is_shown),
		SCENE(a_turn_takes_only_so_many),
		SCENE(other_locations_begin_anew),
		SCENE(the_rate_is_told),
		SCENE(off_is_told_too),
		SCENE(other_maps_are_told_the_rate),
		SCENE(repeated_syns_bring_one_probe),
		SCENE(many_backends_are_looked_at_bit_by_bit),
		SCENE(a_data_plane_without_any_of_it),
		SCENE(nothing_in_force_and_nothing_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
