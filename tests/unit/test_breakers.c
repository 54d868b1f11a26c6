/* SPDX-License-Identifier: Apache-2.0 */
/* The breakers of an edge, in simulated time. */
#include "tests/fakes/simulated_loop.h"

#include "tests/fakes/fakes.h"
#include "user/app/breakers.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGES_MAX = 64 };

struct scene {
	struct gs_loop loop;
	struct gs_breakers *breakers;
	struct gs_snapshot *snapshot;
	struct gs_force forces[4];
	struct gs_breakers_change changes[CHANGES_MAX];
	uint32_t count;
};

static void on_change(void *context, const struct gs_breakers_change *change)
{
	struct scene *scene = context;

	assert_true(scene->count < CHANGES_MAX);
	scene->changes[scene->count++] = *change;
}

static const struct gs_breakers_events EVENTS = {.on_change = on_change};

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->loop.now_ms = 5000;
	scene->snapshot = fake_snapshot(1);
	scene->snapshot->services[0].breaker = gs_breaker_spec_default();
	free(scene->snapshot->forces);
	scene->snapshot->forces = scene->forces;
	assert_int_equal(
		gs_breakers_new(&scene->loop, "fra1", &EVENTS, scene, 42, &scene->breakers), 0);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	gs_breakers_free(scene->breakers);
	assert_int_equal(scene->loop.count, 0);
	scene->snapshot->forces = NULL;
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return 0;
}

static void set(struct scene *scene)
{
	assert_int_equal(gs_breakers_set(scene->breakers, scene->snapshot), 0);
}

static void probe(struct scene *scene, gs_id region, enum gs_probe_class result)
{
	gs_breakers_on_probe(scene->breakers, FAKE_WEB, region, result, 1000, scene->loop.now_ms);
}

static void trip(struct scene *scene, gs_id region)
{
	for (uint32_t i = 0; i < GS_BREAKER_CONSECUTIVE; i++)
		probe(scene, region, GS_PROBE_TIMEOUT);
}

static enum gs_permit_kind permit(const struct scene *scene, gs_id region)
{
	return gs_breakers_permit(scene->breakers, FAKE_WEB, region).kind;
}

static void last_is(const struct scene *scene, const char *from, const char *to)
{
	assert_true(scene->count > 0);
	assert_string_equal(scene->changes[scene->count - 1].from, from);
	assert_string_equal(scene->changes[scene->count - 1].to, to);
}

static void a_pool_goes_all_the_way_round(void **state)
{
	struct scene *scene = *state;

	set(scene);
	assert_int_equal(gs_breakers_count(scene->breakers), FAKE_REGIONS);
	trip(scene, FAKE_EU);
	last_is(scene, "closed", "open");
	assert_int_equal(scene->count, 1);
	assert_int_equal(scene->changes[0].saved.state, GS_BREAKER_OPEN);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
	assert_int_equal(permit(scene, FAKE_US), GS_PERMIT_ALL);
	run_for(&scene->loop, GS_BREAKER_OPEN_MS);
	last_is(scene, "open", "half_open");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_TRIALS);
	for (uint32_t i = 0; i < GS_BREAKER_SUCCESSES; i++)
		probe(scene, FAKE_EU, GS_PROBE_OK);
	last_is(scene, "half_open", "closing");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_SHARE);
	run_for(&scene->loop, GS_BREAKER_RAMP_MS);
	last_is(scene, "closing", "closed");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
}

static void what_counts(void **state)
{
	static const struct {
		enum gs_probe_class result;
		bool opens; /* five in a row */
	} cases[] = {
		{GS_PROBE_OK, false},	   {GS_PROBE_REFUSED, true}, {GS_PROBE_TIMEOUT, true},
		{GS_PROBE_RESET, true},	   {GS_PROBE_STATUS, false}, {GS_PROBE_BAD_REPLY, false},
		{GS_PROBE_NO_ROUTE, true}, {GS_PROBE_LOCAL, false},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t before = scene->count;

		snprintf(scene->snapshot->services[0].name, GS_NAME_MAX, "web-%zu", i);
		set(scene); /* another service: its breakers begin anew */
		for (uint32_t n = 0; n < GS_BREAKER_CONSECUTIVE; n++)
			probe(scene, FAKE_US, cases[i].result);
		assert_int_equal(scene->count - before, cases[i].opens);
	}
	/* Twenty bad answers do, as a share. */
	for (int n = 0; n < 20; n++)
		probe(scene, FAKE_AP, GS_PROBE_STATUS);
	last_is(scene, "closed", "open");
}

/* Sent before the state began: of an earlier epoch. */
static void late_probes_change_nothing(void **state)
{
	struct scene *scene = *state;
	uint64_t began_ms;

	set(scene);
	trip(scene, FAKE_EU);
	began_ms = scene->loop.now_ms;
	run_for(&scene->loop, GS_BREAKER_OPEN_MS);
	last_is(scene, "open", "half_open");
	for (int i = 0; i < 50; i++) {
		gs_breakers_on_probe(scene->breakers, FAKE_WEB, FAKE_EU, GS_PROBE_TIMEOUT, 0,
				     began_ms);
		gs_breakers_on_probe(scene->breakers, FAKE_WEB, FAKE_EU, GS_PROBE_OK, 1000,
				     began_ms);
	}
	last_is(scene, "open", "half_open");
	probe(scene, FAKE_EU, GS_PROBE_TIMEOUT);
	last_is(scene, "half_open", "open");
}

static void force(struct scene *scene, const char *edge, bool open, int64_t left_ms)
{
	struct gs_force *f = &scene->forces[scene->snapshot->force_count++];

	*f = (struct gs_force){.service = FAKE_WEB,
			       .region = FAKE_EU,
			       .open = open,
			       .expires_unix_ms = gs_unix_ms() + left_ms,
			       .reason = "ticket 7",
			       .actor = "alice"};
	snprintf(f->edge, sizeof(f->edge), "%s", edge);
}

static void forces_hold_and_expire(void **state)
{
	struct scene *scene = *state;

	set(scene);
	force(scene, "", true, 10000);
	set(scene);
	last_is(scene, "closed", "forced_open");
	assert_string_equal(scene->changes[0].actor, "alice");
	assert_string_equal(scene->changes[0].why, "ticket 7");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
	assert_true(gs_breakers_permit(scene->breakers, FAKE_WEB, FAKE_EU).forced);
	set(scene); /* the same again is no change */
	assert_int_equal(scene->count, 1);
	run_for(&scene->loop, 9999);
	assert_int_equal(scene->count, 1);
	run_for(&scene->loop, 2);
	last_is(scene, "forced_open", "closed");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
}

static void the_edges_own_force_wins_and_others_do_not_matter(void **state)
{
	struct scene *scene = *state;

	force(scene, "", true, 10000);
	force(scene, "ams2", false, 10000);
	set(scene);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
	force(scene, "fra1", false, 10000);
	set(scene);
	last_is(scene, "forced_open", "forced_closed");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
	trip(scene, FAKE_EU);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
	scene->snapshot->force_count = 0;
	set(scene);
	last_is(scene, "forced_closed", "open");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
}

static void an_expired_force_is_none(void **state)
{
	struct scene *scene = *state;

	force(scene, "", true, 0);
	set(scene);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
	assert_int_equal(scene->count, 0);
}

static const struct gs_breaker_record SAVED[] = {
	{.service = "web",
	 .region = "region-1",
	 .saved = {.state = GS_BREAKER_OPEN, .exponent = 4, .epoch = 9, .left_ms = 30000}},
	{.service = "gone", .region = "region-2", .saved = {.state = GS_BREAKER_OPEN}},
};

static void what_was_saved_is_taken_up(void **state)
{
	for (int after = 0; after < 2; after++) {
		struct gs_breaker_record records[2];
		struct scene *scene = *state;
		struct gs_breakers_status status;

		memcpy(records, SAVED, sizeof(records));
		records[0].unix_ms = records[1].unix_ms = gs_unix_ms() - 12000;
		if (after) {
			teardown(state);
			setup(state);
			scene = *state;
			set(scene);
		}
		assert_int_equal(gs_breakers_restore(scene->breakers, records, 2), 0);
		if (!after)
			set(scene);
		assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
		assert_int_equal(permit(scene, FAKE_US), GS_PERMIT_ALL);
		assert_true(gs_breakers_find(scene->breakers, FAKE_WEB, FAKE_EU, &status));
		assert_int_equal(status.exponent, 4);
		assert_int_equal(status.until_ms, scene->loop.now_ms + 18000);
		run_for(&scene->loop, 18000);
		last_is(scene, "open", "half_open");
	}
}

/* What has happened since is newer than what was saved. */
static void what_has_changed_since_is_left_alone(void **state)
{
	struct gs_breaker_record records[2];
	struct scene *scene = *state;
	struct gs_breakers_status status;

	set(scene);
	trip(scene, FAKE_EU);
	memcpy(records, SAVED, sizeof(records));
	records[0].unix_ms = gs_unix_ms();
	assert_int_equal(gs_breakers_restore(scene->breakers, records, 2), 0);
	assert_true(gs_breakers_find(scene->breakers, FAKE_WEB, FAKE_EU, &status));
	assert_int_equal(status.exponent, 1);
}

static void pools_that_stay_keep_their_state(void **state)
{
	struct scene *scene = *state;

	set(scene);
	trip(scene, FAKE_EU);
	scene->snapshot->services[0].breaker.trials = 3;
	set(scene);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_NONE);
	run_for(&scene->loop, GS_BREAKER_OPEN_MS);
	assert_int_equal(gs_breakers_permit(scene->breakers, FAKE_WEB, FAKE_EU).trials, 3);
	scene->snapshot->services[0].breaker.enabled = false;
	set(scene);
	last_is(scene, "half_open", "closed");
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
	trip(scene, FAKE_EU);
	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
}

static void a_pool_nobody_knows_takes_all(void **state)
{
	struct scene *scene = *state;
	struct gs_breakers_status status;

	assert_int_equal(permit(scene, FAKE_EU), GS_PERMIT_ALL);
	probe(scene, FAKE_EU, GS_PROBE_TIMEOUT);
	assert_false(gs_breakers_find(scene->breakers, FAKE_WEB, FAKE_EU, &status));
}

/* What the data plane tells of the trials of one pool. */
static void tell_leases(struct scene *scene, uint32_t done, uint32_t open, enum gs_lease_fate other,
			uint32_t others)
{
	struct gs_breakers_lease leases[64];
	uint32_t count = 0;

	for (uint32_t i = 0; i < done + open + others; i++)
		leases[count++] = (struct gs_breakers_lease){FAKE_WEB, FAKE_EU,
							     i < done	       ? GS_LEASE_DONE
							     : i < done + open ? GS_LEASE_OPEN
									       : other};
	gs_breakers_on_leases(scene->breakers, leases, count);
}

static void to_half_open(struct scene *scene)
{
	set(scene);
	trip(scene, FAKE_EU);
	run_for(&scene->loop, GS_BREAKER_OPEN_MS);
	last_is(scene, "open", "half_open");
	assert_true(gs_breakers_on_trial(scene->breakers));
}

static void trials_that_are_out_are_waited_for(void **state)
{
	struct scene *scene = *state;
	struct gs_breakers_status status;

	to_half_open(scene);
	tell_leases(scene, 0, 10, 0, 0);
	for (uint32_t i = 0; i < GS_BREAKER_SUCCESSES; i++)
		probe(scene, FAKE_EU, GS_PROBE_OK);
	last_is(scene, "open", "half_open");
	tell_leases(scene, 3, 7, 0, 0);
	assert_true(gs_breakers_find(scene->breakers, FAKE_WEB, FAKE_EU, &status));
	assert_int_equal(status.leases, 7);
	assert_int_equal(status.completed, 3);
	tell_leases(scene, 1, 6, 0, 0);
	last_is(scene, "half_open", "closing");
	assert_false(gs_breakers_on_trial(scene->breakers));
	tell_leases(scene, 0, 0, GS_LEASE_FAILED, 6); /* too late to matter */
	last_is(scene, "half_open", "closing");
}

/* A flood of SYNs in other people's names takes every trial, again and again. */
static void a_flood_does_not_hold_it_half_open(void **state)
{
	struct scene *scene = *state;
	uint64_t begin_ms;

	to_half_open(scene);
	begin_ms = scene->loop.now_ms;
	for (uint32_t i = 0; i < GS_BREAKER_SUCCESSES; i++)
		probe(scene, FAKE_EU, GS_PROBE_OK);
	/* Nobody had tried when the probes were good: closed already, whatever comes. */
	last_is(scene, "half_open", "closing");
	trip(scene, FAKE_EU);
	last_is(scene, "closing", "open");
	run_for(&scene->loop, 2 * GS_BREAKER_OPEN_MS);
	last_is(scene, "open", "half_open");
	begin_ms = scene->loop.now_ms;
	for (uint32_t i = 0; i < GS_BREAKER_SUCCESSES; i++) {
		tell_leases(scene, 0, 10, GS_LEASE_RETURNED, 10);
		probe(scene, FAKE_EU, GS_PROBE_OK);
	}
	last_is(scene, "open", "half_open");
	while (scene->loop.now_ms < begin_ms + 2 * GS_LEASE_MS &&
	       gs_breakers_on_trial(scene->breakers)) {
		run_for(&scene->loop, 100);
		tell_leases(scene, 0, 10, GS_LEASE_RETURNED, 10);
	}
	last_is(scene, "half_open", "closing");
	assert_true(scene->loop.now_ms <= begin_ms + GS_LEASE_MS + 100);
}

static void a_backend_that_does_not_answer_opens_it(void **state)
{
	struct scene *scene = *state;

	to_half_open(scene);
	tell_leases(scene, 3, 6, GS_LEASE_FAILED, 1);
	last_is(scene, "half_open", "open");
}

static void edges_share_the_quota(void **state)
{
	static const struct {
		uint32_t edges;
		uint16_t trials;
	} cases[] = {{0, 10}, {1, 10}, {2, 5}, {3, 3}, {10, 1}, {50, 1}};
	struct scene *scene = *state;

	to_half_open(scene);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		gs_breakers_share(scene->breakers, cases[i].edges);
		assert_int_equal(gs_breakers_permit(scene->breakers, FAKE_WEB, FAKE_EU).trials,
				 cases[i].trials);
	}
	set(scene); /* another snapshot: the same share */
	assert_int_equal(gs_breakers_permit(scene->breakers, FAKE_WEB, FAKE_EU).trials, 1);
}

static void slow_clients_and_probes_open_it(void **state)
{
	struct scene *scene = *state;

	scene->snapshot->services[0].breaker.slow_ms = 300;
	set(scene);
	for (int i = 0; i < 100; i++)
		gs_breakers_on_handshake(scene->breakers, FAKE_WEB, FAKE_EU, 900000);
	assert_int_equal(scene->count, 0);
	probe(scene, FAKE_EU, GS_PROBE_OK);
	assert_int_equal(scene->count, 0);
	gs_breakers_on_probe(scene->breakers, FAKE_WEB, FAKE_EU, GS_PROBE_OK, 350000,
			     scene->loop.now_ms);
	last_is(scene, "closed", "open");
	assert_non_null(strstr(scene->changes[0].why, "300 ms"));
}

#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_pool_goes_all_the_way_round),
		SCENE_TEST(what_counts),
		SCENE_TEST(late_probes_change_nothing),
		SCENE_TEST(forces_hold_and_expire),
		SCENE_TEST(the_edges_own_force_wins_and_others_do_not_matter),
		SCENE_TEST(an_expired_force_is_none),
		SCENE_TEST(what_was_saved_is_taken_up),
		SCENE_TEST(what_has_changed_since_is_left_alone),
		SCENE_TEST(pools_that_stay_keep_their_state),
		SCENE_TEST(a_pool_nobody_knows_takes_all),
		SCENE_TEST(trials_that_are_out_are_waited_for),
		SCENE_TEST(a_flood_does_not_hold_it_half_open),
		SCENE_TEST(a_backend_that_does_not_answer_opens_it),
		SCENE_TEST(edges_share_the_quota),
		SCENE_TEST(slow_clients_and_probes_open_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
