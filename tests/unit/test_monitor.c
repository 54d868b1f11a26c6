/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor under simulated time: nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/monitor.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <string.h>

/* ---- the scene ------------------------------------------------------------------------------- */

enum { EVENTS_MAX = 4096 };

struct scene {
	struct gs_loop loop;
	struct fake_prober fake;
	struct gs_prober prober;
	struct gs_monitor *monitor;
	uint32_t event_count;
	struct gs_monitor_verdict events[EVENTS_MAX];
	uint64_t event_ms[EVENTS_MAX];
	bool drop_on_verdict; /* the callback replaces the set by an empty one */
	uint32_t results[GS_PROBE_CLASS__COUNT];
	struct gs_monitor_result last_result;
	enum gs_health_state last_result_state; /* the target's, as on_result found it */
};

static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	struct scene *scene = context;

	assert_true(scene->event_count < EVENTS_MAX);
	scene->events[scene->event_count] = *verdict;
	scene->event_ms[scene->event_count++] = scene->loop.now_ms;
	if (scene->drop_on_verdict)
		assert_int_equal(fake_watch(scene->monitor, NULL, 0, NULL, NULL), 0);
}

static void on_result(void *context, const struct gs_monitor_result *result)
{
	struct scene *scene = context;
	struct gs_monitor_status status;

	assert_true(gs_monitor_get(scene->monitor, result->backend, &status));
	scene->results[result->class]++;
	scene->last_result = *result;
	scene->last_result_state = status.state;
}

static int set_up(void **state)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict,
							.on_result = on_result};
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->loop.now_ms = 1000000;
	fake_prober_init(&scene->fake, &scene->loop, &scene->prober);
	for (int i = 0; i < FAKE_PROBER_BACKENDS; i++)
		scene->fake.backend[i].answer = (struct fake_answer){GS_PROBE_OK, 5, 0};
	*state = scene;
	return gs_monitor_new(&scene->loop, &scene->prober, &events, scene, 42, &scene->monitor);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	gs_monitor_free(scene->monitor);
	fake_prober_done(&scene->fake);
	/* The monitor leaves nothing behind in the loop. */
	if (scene->loop.count != 0)
		return -1;
	free(scene);
	return 0;
}

static struct gs_probe_target target_of(gs_id backend)
{
	struct gs_probe_target target = {.backend = backend, .port = 80};

	target.addr.bytes[14] = (uint8_t)(backend >> 8);
	target.addr.bytes[15] = (uint8_t)backend;
	target.spec = gs_probe_spec_default();
	return target;
}

/* Targets 1 .. count; count <= 2000. */
static void watch(struct scene *scene, uint32_t count)
{
	static struct gs_probe_target targets[2000];

	for (uint32_t i = 0; i < count; i++)
		targets[i] = target_of((gs_id)(i + 1));
	assert_int_equal(fake_watch(scene->monitor, targets, count, NULL, NULL), 0);
}

static void watch_one(struct scene *scene, const struct gs_probe_target *target)
{
	assert_int_equal(fake_watch(scene->monitor, target, 1, NULL, NULL), 0);
}

static struct gs_monitor_status status_of(struct scene *scene, gs_id backend)
{
	struct gs_monitor_status status;

	memset(&status, 0xee, sizeof(status));
	assert_true(gs_monitor_get(scene->monitor, backend, &status));
	return status;
}

static void answer(struct scene *scene, gs_id backend, enum gs_probe_class class)
{
	scene->fake.backend[backend].answer = (struct fake_answer){class, 5, 0};
}

/* ---- schedule -------------------------------------------------------------------------------- */

static void first_round_is_parallel(void **state)
{
	struct scene *scene = *state;

	watch(scene, 500);
	assert_int_equal(gs_monitor_unknown_count(scene->monitor), 500);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UNKNOWN);
	run_for(&scene->loop, GS_HEALTH_FAST_INTERVAL_MS + 5);
	assert_int_equal(gs_monitor_unknown_count(scene->monitor), 0);
	assert_int_equal(scene->event_count, 500);
	for (uint32_t i = 0; i < 500; i++) {
		assert_true(scene->events[i].up && scene->events[i].first);
		assert_int_equal(scene->events[i].why, GS_PROBE_OK);
		assert_int_equal(scene->events[i].latency_us, 5000);
		assert_in_range(scene->fake.backend[i + 1].probes, 1, 2);
	}
}

static void probes_spread_out(void **state)
{
	struct scene *scene = *state;
	uint32_t bucket[20] = {0}, sum = 0;
	uint64_t start_ms;

	watch(scene, 1000);
	run_for(&scene->loop, 2000);
	start_ms = scene->loop.now_ms;
	for (int i = 0; i < 20; i++) { /* 20 ms each: one interval in all */
		uint32_t before = 0, after = 0;

		for (int b = 1; b <= 1000; b++)
			before += scene->fake.backend[b].probes;
		run_until(&scene->loop, start_ms + 20 * (uint64_t)(i + 1));
		for (int b = 1; b <= 1000; b++)
			after += scene->fake.backend[b].probes;
		bucket[i] = after - before;
		sum += bucket[i];
	}
	assert_in_range(sum, 900, 1100);
	for (int i = 0; i < 20; i++) /* 50 expected */
		assert_in_range(bucket[i], 20, 90);
}

static void interval_and_jitter(void **state)
{
	struct scene *scene = *state;
	uint64_t last_ms = 0;
	uint32_t low = UINT32_MAX, high = 0, seen = 0;

	watch(scene, 1);
	run_for(&scene->loop, 2000);
	for (int i = 0; i < 200000; i++) {
		uint64_t start_ms = scene->fake.backend[1].last_start_ms;

		if (last_ms && start_ms != last_ms) {
			uint32_t gap_ms = (uint32_t)(start_ms - last_ms);

			low = gap_ms < low ? gap_ms : low;
			high = gap_ms > high ? gap_ms : high;
			seen++;
		}
		last_ms = start_ms;
		run_for(&scene->loop, 1);
	}
	assert_in_range(seen, 450, 550);
	assert_in_range(low, 360, 364);
	assert_in_range(high, 436, 440);
	assert_int_equal(scene->fake.backend[1].running_max, 1);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
}

/* Farther than the soft deadline: a second probe each time, but not one every 100 ms for ever. */
static void far_targets_are_not_hammered(void **state)
{
	struct scene *scene = *state;
	uint32_t before;

	scene->fake.backend[1].answer.after_ms = 180;
	watch(scene, 1);
	run_for(&scene->loop, 2000);
	before = scene->fake.backend[1].probes;
	run_for(&scene->loop, 10000);
	assert_in_range(scene->fake.backend[1].probes - before, 30, 45);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
	assert_int_equal(status_of(scene, 1).latency_us, 180000);
}

static void pipeline_has_an_end(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(1);

	target.spec.timeout_ms = 60000;
	target.spec.fall = 200;
	answer(scene, 1, GS_PROBE_TIMEOUT);
	watch_one(scene, &target);
	run_for(&scene->loop, 30000);
	assert_int_equal(scene->fake.backend[1].running_max, GS_HEALTH_PIPELINE_MAX);
	run_for(&scene->loop, 600000);
	assert_int_equal(scene->fake.backend[1].running_max, GS_HEALTH_PIPELINE_MAX);
	assert_true(scene->fake.backend[1].probes > 100);
}

static void down_targets_are_probed_slowly(void **state)
{
	struct scene *scene = *state;
	uint32_t before;

	answer(scene, 1, GS_PROBE_REFUSED);
	watch(scene, 1);
	run_for(&scene->loop, 2000);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_DOWN);
	before = scene->fake.backend[1].probes;
	run_for(&scene->loop, 20000);
	assert_in_range(scene->fake.backend[1].probes - before, 18, 23);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* 200 targets die one after the other, each at another phase of its schedule. */
static void failover_within_the_bound(struct scene *scene, enum gs_probe_class class)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	uint64_t died_ms[201];

	watch(scene, 200);
	run_for(&scene->loop, 2000);
	scene->event_count = 0;
	for (gs_id b = 1; b <= 200; b++) {
		answer(scene, b, class);
		died_ms[b] = scene->loop.now_ms;
		run_for(&scene->loop, 7);
	}
	run_for(&scene->loop, 2000);
	assert_int_equal(scene->event_count, 200);
	for (uint32_t i = 0; i < 200; i++) {
		const struct gs_monitor_verdict *verdict = &scene->events[i];
		uint64_t took_ms = scene->event_ms[i] - died_ms[verdict->backend];

		assert_false(verdict->up);
		assert_false(verdict->first);
		assert_int_equal(verdict->why, class);
		assert_in_range(took_ms, 1, gs_health_worst_case_ms(&spec));
		assert_int_equal(status_of(scene, verdict->backend).since_ms, scene->event_ms[i]);
	}
}

static void black_hole(void **state)
{
	struct scene *scene = *state;

	failover_within_the_bound(scene, GS_PROBE_TIMEOUT);
	assert_true(scene->fake.backend[1].running_max >= 3); /* pipelined */
}

static void refused(void **state)
{
	failover_within_the_bound(*state, GS_PROBE_REFUSED);
}

static void bad_status(void **state)
{
	failover_within_the_bound(*state, GS_PROBE_STATUS);
}

static void comes_back(void **state)
{
	struct scene *scene = *state;

	watch(scene, 1);
	run_for(&scene->loop, 1000);
	answer(scene, 1, GS_PROBE_TIMEOUT);
	run_for(&scene->loop, 3000);
	answer(scene, 1, GS_PROBE_OK);
	scene->event_count = 0;
	/* The slow interval, then `rise` fast ones. */
	run_for(&scene->loop, 1100 + 3 * 110 + 5);
	assert_int_equal(scene->event_count, 1);
	assert_true(scene->events[0].up);
	assert_false(scene->events[0].first);
	assert_int_equal(scene->events[0].why, GS_PROBE_OK);
	assert_int_equal(status_of(scene, 1).why, GS_PROBE_TIMEOUT); /* the last that counted */
}

static struct fake_answer one_in_three_fails(void *context, gs_id backend, uint32_t n)
{
	(void)context;
	(void)backend;
	return (struct fake_answer){n % 3 == 2 ? GS_PROBE_RESET : GS_PROBE_OK, 5, 0};
}

static void scattered_failures_add_up(void **state)
{
	struct scene *scene = *state;

	scene->fake.backend[1].script = one_in_three_fails;
	watch(scene, 1);
	run_for(&scene->loop, 5000);
	assert_int_equal(status_of(scene, 1).state == GS_HEALTH_UP, false);
	assert_int_equal(scene->event_count, 2); /* first up, then down, and never again */
	run_for(&scene->loop, 60000);
	assert_int_equal(scene->event_count, 2);
}

static void unknown_takes_fall_failures(void **state)
{
	struct scene *scene = *state;

	answer(scene, 1, GS_PROBE_TIMEOUT);
	watch(scene, 1);
	run_for(&scene->loop, 249);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UNKNOWN);
	run_for(&scene->loop, 100 + 2 * 100);
	assert_int_equal(scene->event_count, 1);
	assert_true(scene->events[0].first && !scene->events[0].up);
	assert_int_equal(scene->events[0].latency_us, 0);
}

/* ---- the budget of extra probes -------------------------------------------------------------- */

struct pattern {
	const char *name, *letters; /* . ok, r refused, t timeout; again and again */
	uint32_t after_ms;
};

static struct fake_answer follow_pattern(void *context, gs_id backend, uint32_t n)
{
	const struct pattern *pattern = context;
	char letter = pattern->letters[n % strlen(pattern->letters)];

	(void)backend;
	return (struct fake_answer){letter == 't'   ? GS_PROBE_TIMEOUT
				    : letter == 'r' ? GS_PROBE_REFUSED
						    : GS_PROBE_OK,
				    pattern->after_ms, 0};
}

/* Whatever a target does, it gets a fifth more probes than its regular ones, and one store. Twice
 * as many if it is far away: each regular one has another one beside it, as it has while it is up.
 */
static void flapping_targets_are_not_hammered(void **state)
{
	enum { LASTS_MS = 600000, STORE = GS_HEALTH_FALL + GS_HEALTH_RISE + GS_HEALTH_CLEAR };
	static const struct pattern patterns[] = {
		{"up and down", "....rrr", 5},
		{"by timeouts", "....ttt", 5},
		{"every other one", ".r", 5},
		{"every other one, by timeouts", ".t", 5},
		{"one in three", "..t", 5},
		{"one in four", "...r", 5},
		{"one in eleven", "..........t", 5},
		{"a slow verdict each way", "............rrrrrrrrrrrr", 5},
		{"far away, up and down", "....ttt", 180},
		{"far away, one in four", "...t", 180},
		{"far away, one in eleven", "..........t", 180},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct pattern pattern = patterns[i];
		uint32_t regular = LASTS_MS / (GS_HEALTH_INTERVAL_MS * 9 / 10);
		uint32_t most = regular * 6 / 5 + STORE;

		if (pattern.after_ms > GS_HEALTH_FAST_INTERVAL_MS)
			most *= 2;
		assert_int_equal(fake_watch(scene->monitor, NULL, 0, NULL, NULL), 0);
		memset(&scene->fake.backend[1], 0, sizeof(scene->fake.backend[1]));
		scene->fake.backend[1].script = follow_pattern;
		scene->fake.backend[1].context = &pattern;
		watch(scene, 1);
		run_for(&scene->loop, LASTS_MS);
		print_message("# %s: %u probes, at most %u\n", pattern.name,
			      scene->fake.backend[1].probes, most);
		assert_in_range(scene->fake.backend[1].probes, regular / 3, most);
		scene->event_count = 0;
	}
}

/* Dies `wait_ms` after a failure that meant nothing, or after a while of whatever is scripted. */
static uint64_t time_to_go_down(struct scene *scene, gs_id backend)
{
	uint64_t died_ms = scene->loop.now_ms;

	scene->event_count = 0;
	scene->fake.backend[backend].script = NULL;
	answer(scene, backend, GS_PROBE_TIMEOUT);
	while (scene->event_count == 0)
		run_for(&scene->loop, 1);
	assert_false(scene->events[0].up);
	return scene->loop.now_ms - died_ms;
}

static uint64_t time_to_come_back(struct scene *scene, gs_id backend)
{
	uint64_t back_ms = scene->loop.now_ms;

	scene->event_count = 0;
	answer(scene, backend, GS_PROBE_OK);
	while (scene->event_count == 0)
		run_for(&scene->loop, 1);
	assert_true(scene->events[0].up);
	return scene->loop.now_ms - back_ms;
}

/* A failure that meant nothing, and then death at any moment after it. */
static void forgetting_a_failure_delays_no_failover(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	struct scene *scene = *state;

	for (uint32_t wait_ms = 0; wait_ms < 4000; wait_ms += 53) {
		assert_int_equal(fake_watch(scene->monitor, NULL, 0, NULL, NULL), 0);
		answer(scene, 1, GS_PROBE_OK);
		watch(scene, 1);
		run_for(&scene->loop, 3000);
		answer(scene, 1, GS_PROBE_REFUSED);
		while (status_of(scene, 1).state != GS_HEALTH_SUSPECT)
			run_for(&scene->loop, 1);
		answer(scene, 1, GS_PROBE_OK);
		run_for(&scene->loop, wait_ms);
		assert_in_range(time_to_go_down(scene, 1), 1, gs_health_worst_case_ms(&spec));
		assert_in_range(time_to_come_back(scene, 1), 1, 1100 + 3 * 110 + 5);
	}
}

/* Silent at every soft deadline, because it is far away, for an hour: nothing is used up. */
static void distance_delays_no_failover(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	struct scene *scene = *state;

	for (int i = 0; i < 20; i++) {
		scene->fake.backend[1].answer = (struct fake_answer){GS_PROBE_OK, 180, 0};
		watch(scene, 1);
		run_for(&scene->loop, 180000 + 37 * (uint64_t)i);
		assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
		assert_in_range(time_to_go_down(scene, 1), 1, gs_health_worst_case_ms(&spec) + 180);
	}
}

/* Every half a minute: seldom enough to be stable, so each time is like the first one. */
static void leaving_now_and_then_is_always_as_quick(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	struct scene *scene = *state;

	watch(scene, 1);
	for (int i = 0; i < 60; i++) {
		run_for(&scene->loop, 20000 + 41 * (uint64_t)i);
		assert_in_range(time_to_go_down(scene, 1), 1, gs_health_worst_case_ms(&spec));
		run_for(&scene->loop, 5000);
		assert_in_range(time_to_come_back(scene, 1), 1, 1100 + 3 * 110 + 5);
	}
}

/* What has been used up by flapping is slower, but gets its verdict; and is paid back in a while.
 */
static void a_budget_that_is_empty_fills_again(void **state)
{
	static struct pattern flapping = {"up and down", "....rrr", 5};
	struct gs_probe_spec spec = gs_probe_spec_default();
	struct scene *scene = *state;
	uint32_t slow_ms = (spec.interval_ms * spec.fall + spec.timeout_ms) * 11 / 10, slower = 0;

	watch(scene, 1);
	for (int i = 0; i < 20; i++) {
		uint64_t took_ms;

		scene->fake.backend[1].script = follow_pattern;
		scene->fake.backend[1].context = &flapping;
		run_for(&scene->loop, 60000);
		while (!(status_of(scene, 1).state == GS_HEALTH_UP))
			run_for(&scene->loop, 1);
		took_ms = time_to_go_down(scene, 1);
		assert_in_range(took_ms, 1, slow_ms);
		slower += took_ms > gs_health_worst_case_ms(&spec);
		answer(scene, 1, GS_PROBE_OK);
		run_for(&scene->loop, 60000);
		assert_in_range(time_to_go_down(scene, 1), 1, gs_health_worst_case_ms(&spec));
	}
	assert_true(slower > 0);
}

/* Every probe that has come to something is told once, as it was judged, and when it began. */
static void every_result_is_told(void **state)
{
	static const enum gs_probe_class classes[] = {
		GS_PROBE_OK,	 GS_PROBE_REFUSED,   GS_PROBE_TIMEOUT,	GS_PROBE_RESET,
		GS_PROBE_STATUS, GS_PROBE_BAD_REPLY, GS_PROBE_NO_ROUTE, GS_PROBE_LOCAL};
	struct scene *scene = *state;

	watch(scene, 2); /* the second one answers: no route is the target's own */
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		uint32_t before = scene->results[classes[i]], ended = 0, told = 0;

		answer(scene, 1, classes[i]);
		run_for(&scene->loop, 10000);
		for (gs_id b = 1; b <= 2; b++)
			ended += scene->fake.backend[b].probes - scene->fake.backend[b].running;
		for (int c = 0; c < GS_PROBE_CLASS__COUNT; c++)
			told += scene->results[c];
		assert_int_equal(told, ended);
		assert_true(scene->results[classes[i]] >= before + 9);
	}
}

static void results_carry_what_happened(void **state)
{
	struct scene *scene = *state;

	answer(scene, 1, GS_PROBE_TIMEOUT);
	scene->fake.backend[1].rtt_us = 3000; /* of an answer that came to nothing */
	watch(scene, 1);
	while (scene->results[GS_PROBE_TIMEOUT] == 0)
		run_for(&scene->loop, 1);
	assert_int_equal(scene->last_result.backend, 1);
	assert_int_equal(scene->last_result.latency_us, 0);
	assert_int_equal(scene->last_result.rtt_us, 0);
	assert_true(scene->last_result.began_ms + GS_HEALTH_TIMEOUT_MS == scene->loop.now_ms);
	answer(scene, 1, GS_PROBE_OK);
	scene->fake.backend[1].rtt_us = 3000;
	while (scene->results[GS_PROBE_OK] == 0)
		run_for(&scene->loop, 1);
	assert_int_equal(scene->last_result.latency_us, 5000);
	assert_int_equal(scene->last_result.rtt_us, 3000);
	assert_true(scene->last_result.began_ms + 5 == scene->loop.now_ms);
	assert_int_equal(scene->last_result_state, status_of(scene, 1).state);
}

/* A probe that could not even be sent is a result, too: of our own trouble. */
static void probes_that_cannot_be_sent_are_told(void **state)
{
	struct scene *scene = *state;

	scene->fake.backend[1].answer.error = -EMFILE;
	watch(scene, 1);
	run_for(&scene->loop, 10000);
	assert_int_equal(scene->results[GS_PROBE_LOCAL], scene->fake.backend[1].probes);
	assert_int_equal(scene->results[GS_PROBE_LOCAL], status_of(scene, 1).local_failures);
	assert_true(scene->results[GS_PROBE_LOCAL] > 9);
}

/* Timeouts measured by a loop that was late are told as what they were judged to be. */
static void results_are_told_as_judged(void **state)
{
	struct scene *scene = *state;

	watch(scene, 1);
	run_for(&scene->loop, 1000);
	answer(scene, 1, GS_PROBE_TIMEOUT);
	for (int i = 0; i < 50; i++) {
		run_for(&scene->loop, 20);
		stall_for(&scene->loop, 80);
	}
	assert_int_equal(scene->results[GS_PROBE_TIMEOUT], 0);
	assert_true(scene->results[GS_PROBE_LOCAL] > 5);
}

/* ---- our own trouble ------------------------------------------------------------------------- */

static void local_errors_never_count(void **state)
{
	struct scene *scene = *state;

	watch(scene, 2);
	run_for(&scene->loop, 1000);
	scene->event_count = 0;
	answer(scene, 1, GS_PROBE_LOCAL);
	scene->fake.backend[2].answer.error = -EMFILE;
	run_for(&scene->loop, 60000);
	assert_int_equal(scene->event_count, 0);
	for (gs_id b = 1; b <= 2; b++) {
		assert_int_equal(status_of(scene, b).state, GS_HEALTH_UP);
		assert_int_equal(status_of(scene, b).failures, 0);
		assert_true(status_of(scene, b).local_failures > 100);
	}
	/* And it goes on as if nothing had been. */
	scene->fake.backend[2].answer.error = 0;
	answer(scene, 2, GS_PROBE_REFUSED);
	run_for(&scene->loop, 1000);
	assert_int_equal(status_of(scene, 2).state, GS_HEALTH_DOWN);
}

/* A way that is gone fails over while others answer; a cable of ours that is out fails nothing. */
static void no_route_counts_beside_answers(void **state)
{
	struct scene *scene = *state;

	watch(scene, 2);
	run_for(&scene->loop, 1000);
	scene->event_count = 0;
	answer(scene, 1, GS_PROBE_NO_ROUTE);
	answer(scene, 2, GS_PROBE_NO_ROUTE);
	run_for(&scene->loop, 60000);
	assert_int_equal(scene->event_count, 0);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
	answer(scene, 2, GS_PROBE_OK);
	run_for(&scene->loop, 2000);
	assert_int_equal(scene->event_count, 1);
	assert_int_equal(scene->events[0].backend, 1);
	assert_int_equal(scene->events[0].up, false);
	assert_int_equal(scene->events[0].why, GS_PROBE_NO_ROUTE);
	assert_int_equal(status_of(scene, 2).state, GS_HEALTH_UP);
	answer(scene, 1, GS_PROBE_OK);
	run_for(&scene->loop, 5000);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
}

/* Timeouts for 5 s while the loop is late again and again; by how much decides. */
static void stall_case(struct scene *scene, uint32_t stall_ms, enum gs_probe_class class,
		       bool want_up)
{
	watch(scene, 20);
	run_for(&scene->loop, 1000);
	for (gs_id b = 1; b <= 20; b++)
		answer(scene, b, class);
	for (int i = 0; i < 50; i++) {
		run_for(&scene->loop, 100 - stall_ms);
		stall_for(&scene->loop, stall_ms);
	}
	assert_in_range(gs_monitor_worst_lag_ms(scene->monitor), stall_ms / 2, stall_ms);
	for (gs_id b = 1; b <= 20; b++)
		assert_int_equal(status_of(scene, b).state == GS_HEALTH_UP, want_up);
	/* it is told to everybody who asks, and forgotten in time */
	assert_in_range(gs_monitor_worst_lag_ms(scene->monitor), stall_ms / 2, stall_ms);
	run_for(&scene->loop, 125000);
	assert_int_equal(gs_monitor_worst_lag_ms(scene->monitor), 0);
}

static void lag_makes_timeouts_worthless(void **state)
{
	stall_case(*state, 80, GS_PROBE_TIMEOUT, true); /* 32 % of the timeout */
}

static void little_lag_does_not(void **state)
{
	stall_case(*state, 40, GS_PROBE_TIMEOUT, false); /* 16 % */
}

static void answers_prove_at_any_lag(void **state)
{
	stall_case(*state, 80, GS_PROBE_REFUSED, false);
}

static void lag_passes(void **state)
{
	struct scene *scene = *state;

	watch(scene, 1);
	run_for(&scene->loop, 1000);
	stall_for(&scene->loop, 500);
	answer(scene, 1, GS_PROBE_TIMEOUT);
	run_for(&scene->loop, 2000);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_DOWN);
}

/* ---- the set changes ------------------------------------------------------------------------- */

static void unchanged_targets_keep_their_state(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target targets[4];
	struct gs_monitor_status before;
	uint32_t probes;

	watch(scene, 3);
	answer(scene, 2, GS_PROBE_REFUSED);
	run_for(&scene->loop, 3000);
	before = status_of(scene, 2);
	probes = scene->fake.backend[2].probes;
	assert_int_equal(before.state, GS_HEALTH_DOWN);
	scene->event_count = 0;

	/* 1 goes, 3 moves, 4 comes, 2 stays but is probed at other times; in another order. */
	targets[0] = target_of(4);
	targets[1] = target_of(3);
	targets[1].port = 81;
	targets[2] = target_of(2);
	targets[2].spec.down_interval_ms = 5000;
	assert_int_equal(fake_watch(scene->monitor, targets, 3, NULL, NULL), 0);
	assert_int_equal(scene->event_count, 0);
	assert_memory_equal(&before, &(struct gs_monitor_status[]){status_of(scene, 2)}[0],
			    sizeof(before));
	assert_int_equal(status_of(scene, 3).state, GS_HEALTH_UNKNOWN);
	assert_int_equal(status_of(scene, 4).state, GS_HEALTH_UNKNOWN);
	assert_int_equal(gs_monitor_unknown_count(scene->monitor), 2);
	assert_false(gs_monitor_get(scene->monitor, 1, &before));

	probes = scene->fake.backend[1].probes;
	run_for(&scene->loop, 4000);
	assert_int_equal(scene->fake.backend[1].probes, probes);
	assert_int_equal(scene->fake.backend[3].last_target.port, 81);
	assert_int_equal(status_of(scene, 4).state, GS_HEALTH_UP);
	assert_int_equal(scene->event_count, 2);
}

static void what_makes_another_target(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target old = target_of(1);

	old.spec.kind = GS_PROBE_HTTP;
	strcpy(old.spec.path, "/health");
	strcpy(old.spec.host, "a.example");
	for (int what = 0; what < 6; what++) {
		struct gs_probe_target new = old;
		bool kept = what == 5;

		watch_one(scene, &old);
		run_for(&scene->loop, 1000);
		switch (what) {
		case 0:
			new.addr.bytes[15] ^= 1;
			break;
		case 1:
			new.port++;
			break;
		case 2:
			new.spec.kind = GS_PROBE_TCP;
			break;
		case 3:
			strcpy(new.spec.path, "/healthz");
			break;
		case 4:
			strcpy(new.spec.host, "b.example");
			break;
		default:
			new.spec.interval_ms = 10000;
			new.spec.fall = 9;
		}
		watch_one(scene, &new);
		assert_int_equal(status_of(scene, 1).state,
				 kept ? GS_HEALTH_UP : GS_HEALTH_UNKNOWN);
	}
}

static void new_times_hold_at_once(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(1);
	uint32_t before;

	target.spec.interval_ms = 60000;
	watch_one(scene, &target);
	run_for(&scene->loop, 200000);
	before = scene->fake.backend[1].probes;
	target.spec.interval_ms = 100;
	watch_one(scene, &target);
	run_for(&scene->loop, 1000);
	assert_in_range(scene->fake.backend[1].probes - before, 9, 13);
}

static void removed_while_a_probe_runs(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target moved = target_of(1);
	uint64_t token;

	answer(scene, 1, GS_PROBE_TIMEOUT);
	watch(scene, 1);
	run_for(&scene->loop, 120);
	assert_true(scene->fake.backend[1].running > 0);
	moved.port = 8080;
	watch_one(scene, &moved);
	assert_int_equal(scene->fake.backend[1].cancels, 1);
	assert_int_equal(scene->fake.backend[1].running, 0);
	/* A result nobody asked for is nobody's. */
	for (token = 0; token < 100; token++)
		scene->fake.events->on_result(scene->fake.context, 1ULL << 48 | token,
					      GS_PROBE_REFUSED, 0, 0);
	scene->fake.events->on_result(scene->fake.context, UINT64_MAX, GS_PROBE_OK, 0, 0);
	assert_int_equal(status_of(scene, 1).results, 0);
	assert_int_equal(scene->event_count, 0);
}

static void set_changed_by_the_callback(void **state)
{
	struct scene *scene = *state;

	scene->drop_on_verdict = true;
	watch(scene, 10);
	run_for(&scene->loop, 5000);
	assert_int_equal(scene->event_count, 1);
	assert_int_equal(scene->loop.count, 0);
}

static enum gs_health_state warm(void *context, gs_id backend)
{
	static const enum gs_health_state states[] = {GS_HEALTH_UNKNOWN,    GS_HEALTH_UP,
						      GS_HEALTH_DOWN,	    GS_HEALTH_SUSPECT,
						      GS_HEALTH_RECOVERING, GS_HEALTH__COUNT};

	(void)context;
	return states[backend - 1];
}

static void warm_start(void **state)
{
	static const enum gs_health_state want[] = {GS_HEALTH_UNKNOWN, GS_HEALTH_UP,
						    GS_HEALTH_DOWN,    GS_HEALTH_UNKNOWN,
						    GS_HEALTH_UNKNOWN, GS_HEALTH_UNKNOWN};
	struct scene *scene = *state;
	struct gs_probe_target targets[6];

	for (gs_id b = 1; b <= 6; b++)
		targets[b - 1] = target_of(b);
	answer(scene, 2, GS_PROBE_REFUSED);
	assert_int_equal(fake_watch(scene->monitor, targets, 6, warm, scene), 0);
	for (gs_id b = 1; b <= 6; b++)
		assert_int_equal(status_of(scene, b).state, want[b - 1]);
	assert_int_equal(scene->event_count, 0);
	run_for(&scene->loop, 3000);
	/* 2 was said to be up and is down, 3 the other way round: no first verdicts, these. */
	assert_int_equal(scene->event_count, 6);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(scene->events[i].first,
				 scene->events[i].backend != 2 && scene->events[i].backend != 3);
}

static void kind_none_is_up(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(1);

	target.spec.kind = GS_PROBE_NONE;
	assert_int_equal(fake_watch(scene->monitor, &target, 1, warm, scene), 0);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
	assert_int_equal(gs_monitor_unknown_count(scene->monitor), 0);
	watch_one(scene, &target);
	run_for(&scene->loop, 100000);
	assert_int_equal(scene->fake.backend[1].probes, 0);
	assert_int_equal(scene->event_count, 0);
}

static void bad_sets_change_nothing(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target twice[] = {target_of(5), target_of(6), target_of(5)};
	struct gs_probe_target zero[] = {target_of(5), target_of(0)};
	struct gs_probe_target fine[] = {target_of(1), target_of(5)};
	uint32_t timers;

	watch(scene, 3);
	run_for(&scene->loop, 1000);
	timers = scene->loop.count;
	assert_int_equal(fake_watch(scene->monitor, twice, 3, NULL, NULL), -EINVAL);
	assert_int_equal(fake_watch(scene->monitor, zero, 2, NULL, NULL), -EINVAL);
	scene->loop.timer_error = -ENOMEM;
	assert_int_equal(fake_watch(scene->monitor, fine, 2, NULL, NULL), -ENOMEM);
	assert_int_equal(scene->loop.count, timers);
	for (gs_id b = 1; b <= 3; b++)
		assert_int_equal(status_of(scene, b).state, GS_HEALTH_UP);
	assert_false(gs_monitor_get(scene->monitor, 5, &(struct gs_monitor_status){0}));
	assert_int_equal(fake_watch(scene->monitor, fine, 2, NULL, NULL), 0);
}

static void prober_that_does_not_start(void **state)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict};
	struct scene *scene = *state;
	struct gs_monitor *monitor = NULL;

	scene->fake.start_error = -EPERM;
	assert_int_equal(gs_monitor_new(&scene->loop, &scene->prober, &events, scene, 1, &monitor),
			 -EPERM);
	assert_null(monitor);
	gs_monitor_free(NULL);
}

/* The same seed, the same schedule; another seed, another one. */
static void seeds_decide_the_schedule(void **state)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict};
	static const uint64_t seeds[] = {7, 7, 8};
	struct scene *scene = *state;
	uint64_t starts[3];

	for (int i = 0; i < 3; i++) {
		gs_monitor_free(scene->monitor);
		scene->loop.now_ms = 5000000;
		scene->event_count = 0;
		assert_int_equal(gs_monitor_new(&scene->loop, &scene->prober, &events, scene,
						seeds[i], &scene->monitor),
				 0);
		watch(scene, 50);
		run_for(&scene->loop, 5000);
		starts[i] = 0;
		for (int b = 1; b <= 50; b++)
			starts[i] = starts[i] * 31 + scene->fake.backend[b].last_start_ms;
	}
	assert_true(starts[0] == starts[1]);
	assert_true(starts[0] != starts[2]);
}

/* ---- hints ----------------------------------------------------------------------------------- */

/* A regular probe is up to 440 ms away; a hint's verdict saves that. */
static void a_hint_probes_at_once(void **state)
{
	struct scene *scene = *state;
	uint32_t before;

	watch(scene, 2);
	run_for(&scene->loop, 5000);
	while (scene->loop.now_ms - scene->fake.backend[1].last_start_ms != 50)
		run_for(&scene->loop, 1);
	before = scene->fake.backend[1].probes;
	answer(scene, 1, GS_PROBE_REFUSED);
	assert_true(gs_monitor_probe_now(scene->monitor, 1));
	assert_int_equal(scene->fake.backend[1].probes, before + 1);
	assert_int_equal(scene->fake.backend[1].last_start_ms, scene->loop.now_ms);
	run_for(&scene->loop, 6); /* the answer takes 5 ms */
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_SUSPECT);
}

/* A hint counts nothing against anybody: whoever answers its probe is as well as before. */
static void a_hint_itself_is_no_evidence(void **state)
{
	struct scene *scene = *state;

	watch(scene, 1);
	run_for(&scene->loop, 5000);
	scene->event_count = 0;
	for (int i = 0; i < 1000; i++) {
		gs_monitor_probe_now(scene->monitor, 1);
		run_for(&scene->loop, 20);
	}
	assert_int_equal(scene->event_count, 0);
	assert_int_equal(status_of(scene, 1).state, GS_HEALTH_UP);
	assert_int_equal(status_of(scene, 1).failures, 0);
}

/* Hints without end: a fifth more probes than without any, and failover is as quick as ever. */
static void hints_are_paid_from_the_budget(void **state)
{
	struct scene *scene = *state;
	const struct gs_probe_spec spec = gs_probe_spec_default();
	uint32_t before, sent, regular = 100000 / spec.interval_ms;
	uint64_t down_ms;

	watch(scene, 1);
	run_for(&scene->loop, 5000);
	before = scene->fake.backend[1].probes;
	for (int i = 0; i < 10000; i++) {
		gs_monitor_probe_now(scene->monitor, 1);
		run_for(&scene->loop, 10);
	}
	sent = scene->fake.backend[1].probes - before;
	assert_true(sent > regular);
	assert_true(sent <= regular * 13 / 10 + 2 * spec.clear);
	answer(scene, 1, GS_PROBE_REFUSED);
	down_ms = scene->loop.now_ms;
	scene->event_count = 0;
	while (scene->event_count == 0 && scene->loop.now_ms < down_ms + 5000)
		run_for(&scene->loop, 1);
	assert_in_range(scene->loop.now_ms - down_ms, 0,
			spec.interval_ms * 11 / 10 +
				(spec.fall - 1) * spec.fast_interval_ms * 11 / 10 +
				spec.timeout_ms);
}

static void hints_that_send_nothing(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target none = target_of(1);
	uint32_t before;

	assert_false(gs_monitor_probe_now(scene->monitor, 1)); /* not there */
	watch(scene, 2);
	assert_false(gs_monitor_probe_now(scene->monitor, 2)); /* its first is still to come */
	run_for(&scene->loop, 5000);
	assert_false(gs_monitor_probe_now(scene->monitor, 0));
	assert_false(gs_monitor_probe_now(scene->monitor, 3));
	assert_true(gs_monitor_probe_now(scene->monitor, 2) ||
		    scene->loop.now_ms - scene->fake.backend[2].last_start_ms < 5);
	before = scene->fake.backend[2].probes;
	assert_false(gs_monitor_probe_now(scene->monitor, 2)); /* one is under way */
	answer(scene, 2, GS_PROBE_REFUSED);
	run_for(&scene->loop, 5000);
	assert_int_equal(status_of(scene, 2).state, GS_HEALTH_DOWN);
	before = scene->fake.backend[2].probes;
	assert_false(gs_monitor_probe_now(scene->monitor, 2));
	assert_int_equal(scene->fake.backend[2].probes, before);
	none.spec.kind = GS_PROBE_NONE;
	watch_one(scene, &none);
	assert_false(gs_monitor_probe_now(scene->monitor, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_round_is_parallel),
		TEST(probes_spread_out),
		TEST(interval_and_jitter),
		TEST(far_targets_are_not_hammered),
		TEST(pipeline_has_an_end),
		TEST(down_targets_are_probed_slowly),
		TEST(black_hole),
		TEST(refused),
		TEST(bad_status),
		TEST(comes_back),
		TEST(scattered_failures_add_up),
		TEST(unknown_takes_fall_failures),
		TEST(flapping_targets_are_not_hammered),
		TEST(forgetting_a_failure_delays_no_failover),
		TEST(distance_delays_no_failover),
		TEST(leaving_now_and_then_is_always_as_quick),
		TEST(a_budget_that_is_empty_fills_again),
		TEST(every_result_is_told),
		TEST(results_carry_what_happened),
		TEST(probes_that_cannot_be_sent_are_told),
		TEST(results_are_told_as_judged),
		TEST(local_errors_never_count),
		TEST(no_route_counts_beside_answers),
		TEST(lag_makes_timeouts_worthless),
		TEST(little_lag_does_not),
		TEST(answers_prove_at_any_lag),
		TEST(lag_passes),
		TEST(unchanged_targets_keep_their_state),
		TEST(what_makes_another_target),
		TEST(new_times_hold_at_once),
		TEST(removed_while_a_probe_runs),
		TEST(set_changed_by_the_callback),
		TEST(warm_start),
		TEST(kind_none_is_up),
		TEST(bad_sets_change_nothing),
		TEST(prober_that_does_not_start),
		TEST(seeds_decide_the_schedule),
		TEST(a_hint_probes_at_once),
		TEST(a_hint_itself_is_no_evidence),
		TEST(hints_are_paid_from_the_budget),
		TEST(hints_that_send_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
