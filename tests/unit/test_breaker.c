/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/breaker.h"
#include "user/core/random.h"

#include <errno.h>
#include <string.h>

enum { START_MS = 1000000 };

struct scene {
	struct gs_breaker breaker;
	struct gs_breaker_spec spec;
	uint64_t now_ms;
};

static void begin(struct scene *scene, uint64_t seed)
{
	memset(scene, 0, sizeof(*scene));
	scene->spec = gs_breaker_spec_default();
	scene->now_ms = START_MS;
	gs_breaker_init(&scene->breaker, scene->now_ms, seed);
}

static bool result(struct scene *scene, enum gs_breaker_result result)
{
	return gs_breaker_on_result(&scene->breaker, &scene->spec, scene->breaker.epoch, result,
				    scene->now_ms);
}

static struct gs_permit permit(const struct scene *scene)
{
	return gs_breaker_permit(&scene->breaker, &scene->spec, scene->now_ms);
}

/* Time goes on to when the breaker next has something to do. */
static void to_due(struct scene *scene)
{
	uint64_t due_ms = gs_breaker_due_ms(&scene->breaker);

	assert_int_not_equal(due_ms, UINT64_MAX);
	assert_false(due_ms > scene->now_ms + 1 &&
		     gs_breaker_step(&scene->breaker, &scene->spec, due_ms - 1));
	scene->now_ms = due_ms;
	assert_true(gs_breaker_step(&scene->breaker, &scene->spec, due_ms));
}

static void trip(struct scene *scene)
{
	for (uint32_t i = 0; i < scene->spec.consecutive; i++)
		result(scene, GS_BREAKER_FAILED_CONNECT);
	assert_int_equal(scene->breaker.state, GS_BREAKER_OPEN);
}

static void to_half_open(struct scene *scene)
{
	trip(scene);
	to_due(scene);
	assert_int_equal(scene->breaker.state, GS_BREAKER_HALF_OPEN);
}

static void to_closing(struct scene *scene)
{
	to_half_open(scene);
	for (uint32_t i = 0; i < scene->spec.successes; i++)
		result(scene, GS_BREAKER_OK);
	assert_int_equal(scene->breaker.state, GS_BREAKER_CLOSING);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* o: good, x: failed, c: no connection, .: a second goes by. */
static void results_open_it(void **state)
{
	static const struct {
		const char *name, *results;
		bool opens; /* with the last one, not before */
	} cases[] = {
		{"five connections in a row", "ccccc", true},
		{"four", "cccc", false},
		{"a good one between", "ccccoccc", false},
		{"an answer, if a bad one, is a connection", "ccccxcccc", false},
		{"after that, five", "ccccxccccc", true},
		{"half of twenty", "oooooooooooxxxxxxxxx", false},
		{"half of twenty, no less", "ooooooooooxxxxxxxxxx", true},
		{"all, below the volume", "xxxxxxxxxxxxxxxxxxx", false},
		{"all, at the volume", "xxxxxxxxxxxxxxxxxxxx", true},
		{"what is ten seconds old has gone", "xxxxxxxxxxxxxxxxxxx..........x", false},
		{"what is nine seconds old has not", "xxxxxxxxxxxxxxxxxxx.........x", true},
		{"an hour of rest", "ooooooooooooooooooooxxxxxxxxx..........ccccc", true},
		{"good ones alone", "oooooooooooooooooooooooooooooooooooooooo", false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene scene;

		begin(&scene, i);
		print_message("# %s\n", cases[i].name);
		for (const char *r = cases[i].results; *r; r++) {
			if (*r == '.') {
				scene.now_ms += 1000;
				continue;
			}
			assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSED);
			result(&scene, *r == 'o'   ? GS_BREAKER_OK
				       : *r == 'x' ? GS_BREAKER_FAILED
						   : GS_BREAKER_FAILED_CONNECT);
		}
		assert_int_equal(scene.breaker.state,
				 cases[i].opens ? GS_BREAKER_OPEN : GS_BREAKER_CLOSED);
	}
}

/* The rule said another way: every result is kept, and all of them are looked at each time. */
struct model {
	struct {
		uint64_t second;
		bool failed;
	} past[4000];
	uint32_t count, row;
	uint64_t start_ms;
};

static bool model_opens(struct model *model, const struct gs_breaker_spec *spec,
			enum gs_breaker_result result, uint64_t now_ms)
{
	uint64_t second = (now_ms - model->start_ms) / 1000;
	uint32_t all = 0, failed = 0;

	model->past[model->count].second = second;
	model->past[model->count++].failed = result != GS_BREAKER_OK;
	model->row = result == GS_BREAKER_FAILED_CONNECT ? model->row + 1 : 0;
	for (uint32_t i = 0; i < model->count; i++) {
		if (second - model->past[i].second >= GS_BREAKER_BUCKETS)
			continue;
		all++;
		failed += model->past[i].failed;
	}
	return model->row >= spec->consecutive ||
	       (all >= spec->min_volume && failed * 100.0 / all >= spec->failure_percent);
}

static void opens_just_when_the_model_does(void **state)
{
	uint32_t opened = 0;
	(void)state;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct model *model = test_calloc(1, sizeof(*model));
		uint64_t random = seed, bad_percent = seed % 60;
		struct scene scene;

		begin(&scene, seed);
		scene.spec.min_volume = 1 + (uint32_t)(seed % 40);
		scene.spec.failure_percent = (uint8_t)(20 + seed % 60);
		scene.spec.consecutive = (uint8_t)(2 + seed % 9);
		model->start_ms = scene.now_ms;
		for (int i = 0; i < 4000 && scene.breaker.state == GS_BREAKER_CLOSED; i++) {
			enum gs_breaker_result r = GS_BREAKER_OK;
			bool opens;

			scene.now_ms += gs_random(&random) % (1 + seed % 700);
			if (gs_random(&random) % 100 < bad_percent)
				r = gs_random(&random) % 2 ? GS_BREAKER_FAILED
							   : GS_BREAKER_FAILED_CONNECT;
			opens = model_opens(model, &scene.spec, r, scene.now_ms);
			if (result(&scene, r) != opens)
				fail_msg("seed %u, result %d: the model says %d", (unsigned)seed, i,
					 opens);
			opened += opens;
		}
		test_free(model);
	}
	assert_in_range(opened, 50, 199); /* or nothing was compared */
}

/* ---- how long it stays open ------------------------------------------------------------------ */

static void open_time_doubles_to_the_cap_with_full_jitter(void **state)
{
	static const uint32_t bounds_ms[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};
	uint64_t longest_ms[ARRAY_SIZE(bounds_ms)] = {0};
	uint64_t shortest_ms[ARRAY_SIZE(bounds_ms)];
	(void)state;

	memset(shortest_ms, 0xff, sizeof(shortest_ms));
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct scene scene;

		begin(&scene, seed);
		trip(&scene);
		for (size_t k = 0; k < ARRAY_SIZE(bounds_ms); k++) {
			uint64_t open_ms = scene.breaker.until_ms - scene.now_ms;

			assert_in_range(open_ms, 1, bounds_ms[k]);
			longest_ms[k] = open_ms > longest_ms[k] ? open_ms : longest_ms[k];
			shortest_ms[k] = open_ms < shortest_ms[k] ? open_ms : shortest_ms[k];
			assert_int_equal(permit(&scene).kind, GS_PERMIT_NONE);
			to_due(&scene);
			assert_true(result(&scene, GS_BREAKER_FAILED)); /* the trial fails */
			assert_int_equal(scene.breaker.state, GS_BREAKER_OPEN);
		}
	}
	for (size_t k = 0; k < ARRAY_SIZE(bounds_ms); k++) {
		assert_in_range(longest_ms[k], bounds_ms[k] * 99 / 100, bounds_ms[k]);
		assert_in_range(shortest_ms[k], 1, bounds_ms[k] / 100);
	}
}

/* Health brings the old patience back step by step, not at once. */
static void exponent_decays_by_one_a_healthy_window(void **state)
{
	struct scene scene;
	(void)state;

	begin(&scene, 3);
	trip(&scene);
	for (int i = 0; i < 3; i++) {
		to_due(&scene);
		result(&scene, GS_BREAKER_FAILED);
	}
	to_due(&scene);
	for (uint32_t i = 0; i < scene.spec.successes; i++)
		result(&scene, GS_BREAKER_OK);
	while (scene.breaker.state == GS_BREAKER_CLOSING)
		to_due(&scene);
	assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSED);
	assert_int_equal(scene.breaker.exponent, 4);
	scene.now_ms += 9999;
	result(&scene, GS_BREAKER_OK);
	assert_int_equal(scene.breaker.exponent, 4);
	scene.now_ms += 1;
	result(&scene, GS_BREAKER_OK);
	assert_int_equal(scene.breaker.exponent, 3);
	scene.now_ms += 25000;
	result(&scene, GS_BREAKER_OK);
	assert_int_equal(scene.breaker.exponent, 1);
	scene.now_ms += 3600000;
	result(&scene, GS_BREAKER_OK);
	assert_int_equal(scene.breaker.exponent, 0);
}

/* ---- half open ------------------------------------------------------------------------------- */

static void of_64_callers_just_the_trials_get_through(void **state)
{
	(void)state;

	for (uint64_t seed = 1; seed <= 500; seed++) {
		uint64_t random = seed;
		struct scene scene;
		uint32_t through = 0;

		begin(&scene, seed);
		scene.spec.trials = (uint16_t)(seed % 65);
		to_half_open(&scene);
		assert_int_equal(permit(&scene).kind, GS_PERMIT_TRIALS);
		assert_int_equal(permit(&scene).trials, scene.spec.trials);
		for (int caller = 0; caller < 64; caller++) {
			scene.now_ms += gs_random(&random) % 100;
			through += gs_breaker_take_trial(&scene.breaker, scene.now_ms);
		}
		assert_int_equal(through, scene.spec.trials);
	}
}

static void good_trials_close_it_in_steps(void **state)
{
	static const struct {
		uint32_t after_ms;
		uint16_t percent;
	} ramp[] = {{0, 10}, {1332, 10}, {1333, 25}, {2665, 25}, {2666, 50}, {3998, 50}};
	struct scene scene;
	uint64_t closing_ms;
	(void)state;

	begin(&scene, 5);
	to_half_open(&scene);
	for (uint32_t i = 1; i < scene.spec.successes; i++)
		assert_false(result(&scene, GS_BREAKER_OK));
	assert_true(result(&scene, GS_BREAKER_OK));
	assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSING);
	closing_ms = scene.now_ms;
	for (size_t i = 0; i < ARRAY_SIZE(ramp); i++) {
		scene.now_ms = closing_ms + ramp[i].after_ms;
		assert_int_equal(permit(&scene).kind, GS_PERMIT_SHARE);
		assert_int_equal(permit(&scene).accept, 65535 * ramp[i].percent / 100);
	}
	scene.now_ms = closing_ms;
	for (int i = 0; i < 3; i++)
		to_due(&scene);
	assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSED);
	assert_int_equal(permit(&scene).kind, GS_PERMIT_ALL);
	assert_int_equal(scene.now_ms, closing_ms + 3999);
}

static void a_ramp_ends_when_it_fails(void **state)
{
	struct scene scene;
	(void)state;

	begin(&scene, 6);
	to_closing(&scene);
	to_due(&scene);
	trip(&scene);
	assert_int_equal(scene.breaker.exponent, 2);
}

/* With any results, from any epoch, at any time: it never stays. */
static void it_always_leaves_half_open(void **state)
{
	(void)state;

	for (uint64_t seed = 1; seed <= 2000; seed++) {
		uint64_t random = seed, entered_ms;
		uint32_t epoch;
		struct scene scene;

		begin(&scene, seed);
		to_half_open(&scene);
		entered_ms = scene.now_ms;
		epoch = scene.breaker.epoch;
		while (scene.breaker.epoch == epoch) {
			uint32_t other = epoch - (uint32_t)(gs_random(&random) % 2);

			scene.now_ms += 1 + gs_random(&random) % 3000;
			if (seed % 3)
				gs_breaker_on_result(&scene.breaker, &scene.spec, other,
						     gs_random(&random) % 4 ? GS_BREAKER_OK
									    : GS_BREAKER_FAILED,
						     scene.now_ms);
			if (scene.breaker.epoch == epoch)
				gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms);
			assert_in_range(scene.now_ms - entered_ms, 0,
					GS_BREAKER_HALF_OPEN_MS + 3000);
		}
		assert_int_not_equal(scene.breaker.state, GS_BREAKER_HALF_OPEN);
	}
}

static void silence_proves_nothing(void **state)
{
	struct scene scene;
	(void)state;

	begin(&scene, 8);
	to_half_open(&scene);
	assert_int_equal(scene.breaker.exponent, 1);
	for (int i = 0; i < 20; i++) {
		to_due(&scene);
		assert_int_equal(scene.breaker.state, GS_BREAKER_OPEN);
		assert_in_range(scene.breaker.until_ms - scene.now_ms, 1, 2000);
		to_due(&scene);
		assert_int_equal(scene.breaker.exponent, 1);
	}
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void late_results_change_nothing(void **state)
{
	(void)state;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint64_t random = seed;
		struct scene scene;

		begin(&scene, seed);
		for (int change = 0; change < 12; change++) {
			struct gs_breaker before;

			if (scene.breaker.state == GS_BREAKER_CLOSED)
				trip(&scene);
			else if (scene.breaker.state == GS_BREAKER_HALF_OPEN &&
				 gs_random(&random) % 2)
				while (!result(&scene, GS_BREAKER_OK))
					;
			else
				to_due(&scene);
			before = scene.breaker;
			for (uint32_t late = 1; late <= 30; late++)
				assert_false(gs_breaker_on_result(
					&scene.breaker, &scene.spec,
					scene.breaker.epoch - 1 - late % scene.breaker.epoch,
					late % 2 ? GS_BREAKER_FAILED_CONNECT : GS_BREAKER_OK,
					scene.now_ms));
			assert_memory_equal(&before, &scene.breaker, sizeof(before));
		}
	}
}

/* ---- forces ---------------------------------------------------------------------------------- */

static void forces_hold_until_they_expire(void **state)
{
	struct scene scene;
	(void)state;

	begin(&scene, 9);
	gs_breaker_set_force(&scene.breaker, GS_BREAKER_FORCED_OPEN, scene.now_ms + 5000);
	assert_int_equal(permit(&scene).kind, GS_PERMIT_NONE);
	assert_true(permit(&scene).forced);
	assert_false(gs_breaker_take_trial(&scene.breaker, scene.now_ms));
	assert_int_equal(gs_breaker_due_ms(&scene.breaker), scene.now_ms + 5000);
	scene.now_ms += 4999;
	assert_false(gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms));
	scene.now_ms += 1;
	assert_int_equal(permit(&scene).kind, GS_PERMIT_ALL);
	assert_true(gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms));
	assert_false(permit(&scene).forced);

	/* Held closed it goes on judging underneath. */
	gs_breaker_set_force(&scene.breaker, GS_BREAKER_FORCED_CLOSED, UINT64_MAX);
	trip(&scene);
	assert_int_equal(permit(&scene).kind, GS_PERMIT_ALL);
	assert_true(gs_breaker_take_trial(&scene.breaker, scene.now_ms));
	gs_breaker_set_force(&scene.breaker, GS_BREAKER_AUTO, 0);
	assert_int_equal(permit(&scene).kind, GS_PERMIT_NONE);
	assert_false(permit(&scene).forced);
}

static void a_disabled_one_is_closed(void **state)
{
	struct scene scene;
	(void)state;

	begin(&scene, 10);
	trip(&scene);
	scene.spec.enabled = false;
	assert_int_equal(permit(&scene).kind, GS_PERMIT_ALL);
	assert_true(gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms));
	assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSED);
	for (int i = 0; i < 100; i++)
		assert_false(result(&scene, GS_BREAKER_FAILED_CONNECT));
}

/* ---- a restart ------------------------------------------------------------------------------- */

static void a_restart_takes_the_time_into_account(void **state)
{
	static const struct {
		struct gs_breaker_saved saved;
		uint64_t away_ms;
		enum gs_breaker_state want;
		uint64_t want_left_ms; /* OPEN */
		uint8_t want_exponent;
	} cases[] = {
		{{GS_BREAKER_OPEN, 3, 7, 9000}, 2000, GS_BREAKER_OPEN, 7000, 3},
		{{GS_BREAKER_OPEN, 3, 7, 9000}, 9000, GS_BREAKER_OPEN, 0, 3},
		{{GS_BREAKER_OPEN, 3, 7, 9000}, 900000, GS_BREAKER_OPEN, 0, 3},
		{{GS_BREAKER_HALF_OPEN, 2, 8, 0}, 10, GS_BREAKER_OPEN, 0, 2},
		{{GS_BREAKER_CLOSING, 2, 9, 0}, 10, GS_BREAKER_CLOSING, 0, 2},
		{{GS_BREAKER_CLOSED, 3, 10, 0}, 19999, GS_BREAKER_CLOSED, 0, 2},
		{{GS_BREAKER_CLOSED, 3, 10, 0}, UINT32_MAX, GS_BREAKER_CLOSED, 0, 0},
		{{GS_BREAKER_OPEN, 255, 10, 5000}, 0, GS_BREAKER_OPEN, 5000, 31},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene scene;

		begin(&scene, i);
		gs_breaker_restore(&scene.breaker, &cases[i].saved, cases[i].away_ms, scene.now_ms);
		assert_int_equal(scene.breaker.state, cases[i].want);
		assert_int_equal(scene.breaker.exponent, cases[i].want_exponent);
		assert_int_equal(scene.breaker.epoch, cases[i].saved.epoch + 1);
		if (cases[i].want == GS_BREAKER_OPEN) {
			assert_int_equal(gs_breaker_due_ms(&scene.breaker),
					 scene.now_ms + cases[i].want_left_ms);
			to_due(&scene);
			assert_int_equal(scene.breaker.state, GS_BREAKER_HALF_OPEN);
		}
	}
}

static void what_is_saved_comes_back(void **state)
{
	struct gs_breaker_saved saved;
	struct scene scene, after;
	(void)state;

	begin(&scene, 11);
	trip(&scene);
	scene.now_ms += (scene.breaker.until_ms - scene.now_ms) / 2;
	gs_breaker_save(&scene.breaker, scene.now_ms, &saved);
	assert_int_equal(saved.left_ms, scene.breaker.until_ms - scene.now_ms);
	begin(&after, 12);
	gs_breaker_restore(&after.breaker, &saved, 1, after.now_ms);
	assert_int_equal(after.breaker.until_ms - after.now_ms,
			 saved.left_ms > 1 ? saved.left_ms - 1 : 0);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void what_becomes_of_a_lease(void **state)
{
	static const struct {
		const char *name;
		struct gs_lease_facts facts;
		enum gs_lease_fate want;
	} cases[] = {
		{"just begun", {.is_current = true, .age_ms = 10}, GS_LEASE_OPEN},
		{"completed", {.is_current = true, .is_proven = true, .age_ms = 10}, GS_LEASE_DONE},
		{"completed late, but here",
		 {.is_current = true, .is_proven = true, .age_ms = 5000},
		 GS_LEASE_DONE},
		{"never heard of again",
		 {.is_current = true, .age_ms = GS_LEASE_MS},
		 GS_LEASE_RETURNED},
		{"a moment before", {.is_current = true, .age_ms = GS_LEASE_MS - 1}, GS_LEASE_OPEN},
		{"of another epoch", {.is_proven = true}, GS_LEASE_STALE},
		{"NAT: the client's word is none",
		 {.is_current = true, .is_nat = true, .is_proven = true, .age_ms = 10},
		 GS_LEASE_OPEN},
		{"NAT: the backend's is",
		 {.is_current = true, .is_nat = true, .is_answered = true, .age_ms = 10},
		 GS_LEASE_DONE},
		{"NAT: it did not answer",
		 {.is_current = true, .is_nat = true, .is_proven = true, .age_ms = GS_LEASE_MS},
		 GS_LEASE_FAILED},
		{"NAT, of another epoch", {.is_nat = true, .age_ms = GS_LEASE_MS}, GS_LEASE_STALE},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].name);
		assert_int_equal(gs_lease_judge(&cases[i].facts), cases[i].want);
		assert_int_equal(gs_lease_gives_back(cases[i].want),
				 cases[i].want == GS_LEASE_FAILED ||
					 cases[i].want == GS_LEASE_RETURNED);
	}
}

static bool lease(struct scene *scene, enum gs_lease_fate fate)
{
	return gs_breaker_on_lease(&scene->breaker, &scene->spec, fate, scene->now_ms);
}

static bool out(struct scene *scene, uint32_t leases)
{
	return gs_breaker_set_leases(&scene->breaker, &scene->spec, leases, scene->now_ms);
}

/* p: a good probe, d: a trial completed, r: one given back, f: one failed, digits: so many are out,
 * .: a second. */
static void probes_and_trials_close_it(void **state)
{
	static const struct {
		const char *name, *events;
		enum gs_breaker_state want;
	} cases[] = {
		{"nobody tries: probes alone", "pppp", GS_BREAKER_CLOSING},
		{"trials are out: they are waited for", "4pppp", GS_BREAKER_HALF_OPEN},
		{"and come", "4ppppdddd", GS_BREAKER_CLOSING},
		{"trials alone are not enough", "9dddddddddppp", GS_BREAKER_HALF_OPEN},
		{"with probes they are", "9dddddddddpppp", GS_BREAKER_CLOSING},
		{"three of four", "4ppppddd", GS_BREAKER_HALF_OPEN},
		{"the others are no longer out", "4ppppddd0", GS_BREAKER_CLOSING},
		{"not for ever", "4pppp..", GS_BREAKER_HALF_OPEN},
		{"but as long as a lease", "4pppp...", GS_BREAKER_CLOSING},
		{"probes that come after that", "4...pppp", GS_BREAKER_CLOSING},
		{"returned ones say nothing", "4rrrrppp", GS_BREAKER_HALF_OPEN},
		{"a failed one opens it", "4ppppf", GS_BREAKER_OPEN},
		{"slow probes are no good ones", "4sssssss...", GS_BREAKER_HALF_OPEN},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene scene;

		begin(&scene, i);
		print_message("# %s\n", cases[i].name);
		to_half_open(&scene);
		for (const char *e = cases[i].events; *e; e++) {
			if (*e == 'p')
				result(&scene, GS_BREAKER_OK);
			else if (*e == 's')
				result(&scene, GS_BREAKER_SLOW);
			else if (*e == 'd')
				lease(&scene, GS_LEASE_DONE);
			else if (*e == 'r')
				lease(&scene, GS_LEASE_RETURNED);
			else if (*e == 'f')
				lease(&scene, GS_LEASE_FAILED);
			else if (*e != '.')
				out(&scene, (uint32_t)(*e - '0'));
			else if (gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms += 1000))
				assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSING);
		}
		assert_int_equal(scene.breaker.state, cases[i].want);
	}
}

/* 64 callers at once, of whose trials three in ten never end; some late ones end in another epoch.
 */
static void of_64_callers_the_lost_ones_cost_nothing(void **state)
{
	(void)state;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct scene scene;
		uint32_t granted = 0, lost = 0, wait_ms = 0;

		begin(&scene, seed);
		scene.spec.successes = 10; /* more than come of them */
		to_half_open(&scene);
		for (int caller = 0; caller < 64; caller++)
			granted += gs_breaker_take_trial(&scene.breaker, scene.now_ms);
		assert_int_equal(granted, GS_BREAKER_TRIALS);
		for (uint32_t i = 0; i < 10; i++)
			result(&scene, GS_BREAKER_OK);
		out(&scene, granted);
		for (uint32_t i = 0; i < granted; i++) {
			if (gs_random(&seed) % 10 < 3 || i == 0)
				lost++;
			else
				lease(&scene, GS_LEASE_DONE);
		}
		out(&scene, lost);
		while (scene.breaker.state == GS_BREAKER_HALF_OPEN && wait_ms <= GS_LEASE_MS) {
			scene.now_ms += 100;
			wait_ms += 100;
			gs_breaker_step(&scene.breaker, &scene.spec, scene.now_ms);
		}
		assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSING);
		assert_true(wait_ms <= GS_LEASE_MS);
		/* What ends now is of no use to anybody, and does no harm. */
		assert_false(lease(&scene, GS_LEASE_DONE));
		assert_false(lease(&scene, GS_LEASE_FAILED));
		assert_int_equal(scene.breaker.state, GS_BREAKER_CLOSING);
	}
}

/* ---- slow ------------------------------------------------------------------------------------ */

static void handshake(struct scene *scene, uint32_t ms)
{
	gs_breaker_on_handshake(&scene->breaker, &scene->spec, ms * 1000, scene->now_ms);
}

/* s: a slow probe, o: a good one, S: a slow handshake, H: a quick one; each five times. */
static void slow_ones_open_it(void **state)
{
	static const struct {
		const char *name, *results;
		bool opens;
	} cases[] = {
		{"four in five probes",
		 "osss"
		 "s",
		 true},
		{"three in five",
		 "ooss"
		 "s",
		 false},
		{"all, but few", "sss", false},
		{"slow handshakes alone, however many", "SSSSSSSSSSSSSSSSSSSSSSSS", false},
		{"and good probes", "ooooSSSSSSSSSSSSSSSS", false},
		{"half of the probes, and the handshakes", "osSSSS", true},
		{"the handshakes first", "SSSSos", true},
		{"less than half of the probes", "oosSSSSSSSS", false},
		{"half of the probes, three in five handshakes", "osHHSSS", false},
		{"half of the probes, few handshakes", "osSSS", false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene scene;

		for (int watched = 1; watched >= 0; watched--) {
			begin(&scene, i);
			scene.spec.slow_ms = watched ? 200 : 0;
			print_message("# %s, %s\n", cases[i].name, watched ? "watched" : "not");
			for (const char *r = cases[i].results; *r; r++)
				for (int n = 0; n < 5; n++) {
					if (*r == 'S' || *r == 'H')
						handshake(&scene, *r == 'S' ? 201 : 200);
					else if (!watched || *r == 'o')
						result(&scene, GS_BREAKER_OK);
					else
						result(&scene, GS_BREAKER_SLOW);
				}
			assert_int_equal(scene.breaker.state, watched && cases[i].opens
								      ? GS_BREAKER_OPEN
								      : GS_BREAKER_CLOSED);
		}
	}
}

static void names_are_words(void **state)
{
	enum gs_breaker_state parsed;
	(void)state;

	for (int i = 0; i < GS_BREAKER__COUNT; i++) {
		assert_int_equal(gs_breaker_state_parse(
					 gs_breaker_state_name((enum gs_breaker_state)i), &parsed),
				 0);
		assert_int_equal(parsed, i);
	}
	assert_int_equal(gs_breaker_state_parse("ajar", &parsed), -EINVAL);
	assert_string_equal(gs_breaker_state_name(GS_BREAKER__COUNT), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_open_it),
		cmocka_unit_test(opens_just_when_the_model_does),
		cmocka_unit_test(open_time_doubles_to_the_cap_with_full_jitter),
		cmocka_unit_test(exponent_decays_by_one_a_healthy_window),
		cmocka_unit_test(of_64_callers_just_the_trials_get_through),
		cmocka_unit_test(good_trials_close_it_in_steps),
		cmocka_unit_test(a_ramp_ends_when_it_fails),
		cmocka_unit_test(it_always_leaves_half_open),
		cmocka_unit_test(silence_proves_nothing),
		cmocka_unit_test(late_results_change_nothing),
		cmocka_unit_test(forces_hold_until_they_expire),
		cmocka_unit_test(a_disabled_one_is_closed),
		cmocka_unit_test(a_restart_takes_the_time_into_account),
		cmocka_unit_test(what_is_saved_comes_back),
		cmocka_unit_test(what_becomes_of_a_lease),
		cmocka_unit_test(probes_and_trials_close_it),
		cmocka_unit_test(of_64_callers_the_lost_ones_cost_nothing),
		cmocka_unit_test(slow_ones_open_it),
		cmocka_unit_test(names_are_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
