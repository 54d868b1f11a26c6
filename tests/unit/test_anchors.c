/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors probed in simulated time: how often, what makes one silent, what another setting keeps.
 */
#include "tests/fakes/simulated_loop.h"

#include "tests/fakes/fake_prober.h"
#include "user/app/anchors.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct world {
	struct gs_loop loop;
	struct fake_prober fake;
	struct gs_prober prober;
	struct gs_anchors *anchors;
};

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	world->loop.now_ms = 5000;
	fake_prober_init(&world->fake, &world->loop, &world->prober);
	assert_int_equal(gs_anchors_new(&world->loop, &world->prober, 7, &world->anchors), 0);
	return world;
}

static void world_free(struct world *world)
{
	gs_anchors_free(world->anchors);
	assert_null(world->fake.probes);
	assert_int_equal(world->loop.count, 0);
	free(world);
}

static void set(struct world *world, const char *text)
{
	struct gs_anchor_set set;
	char why[128];

	assert_int_equal(gs_anchors_parse(text, &set, why, sizeof(why)), 0);
	gs_anchors_set(world->anchors, &set);
}

/* Those in the places from 1 on, as the prober knows them. */
static void answer(struct world *world, gs_id place, enum gs_probe_class class)
{
	world->fake.backend[place].answer = (struct fake_answer){.class = class, .after_ms = 20};
}

static void assert_silent(const struct world *world, uint32_t silent, uint32_t all)
{
	uint32_t count, silent_count;

	gs_anchors_count(world->anchors, &count, &silent_count);
	assert_int_equal(silent_count, silent);
	assert_int_equal(count, all);
}

static void nobody_is_asked_without_any(void **state)
{
	struct world *world = world_new();
	uint32_t all = 1, silent = 1;
	(void)state;

	run_for(&world->loop, 10000);
	assert_silent(world, 0, 0);
	assert_int_equal(world->loop.count, 0);
	gs_anchors_count(NULL, &all, &silent);
	assert_int_equal(all + silent, 0);
	world_free(world);
}

static void a_calm_second_apart(void **state)
{
	struct world *world = world_new();
	const struct gs_probe_target *target = &world->fake.backend[1].last_target;
	struct gs_anchor_status status;
	(void)state;

	set(world, "tcp:198.51.100.7:443");
	run_for(&world->loop, 600);
	assert_int_equal(world->fake.backend[1].probes, 1);
	world->fake.backend[1].probes = 0;
	run_for(&world->loop, 100000);
	assert_in_range(world->fake.backend[1].probes, 95, 105);
	assert_int_equal(world->fake.backend[1].running_max, 1);
	assert_silent(world, 0, 1);
	/* As this machine reaches it, and no backend's. */
	assert_false(target->is_through);
	assert_int_equal(target->port, 443);
	assert_string_equal(target->name, "tcp:198.51.100.7:443");
	assert_string_equal(target->service, "");
	gs_anchors_get(world->anchors, 0, &status);
	assert_int_equal(status.state, GS_HEALTH_UP);
	assert_int_equal(status.why, GS_PROBE_OK);
	world_free(world);
}

static void what_makes_one_silent(void **state)
{
	static const struct {
		enum gs_probe_class class;
		uint32_t silent;
	} cases[] = {
		{GS_PROBE_TIMEOUT, 1}, {GS_PROBE_REFUSED, 1}, {GS_PROBE_NO_ROUTE, 1},
		{GS_PROBE_RESET, 1},   {GS_PROBE_STATUS, 0},  {GS_PROBE_BODY, 0},
		{GS_PROBE_LOCAL, 0},   {GS_PROBE_OK, 0},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct world *world = world_new();
		struct gs_anchor_status status;

		set(world, "dns:192.0.2.1, dns:192.0.2.2");
		run_for(&world->loop, 20000);
		answer(world, 1, cases[c].class);
		run_for(&world->loop, 3000);
		assert_silent(world, cases[c].silent, 2);
		gs_anchors_get(world->anchors, 0, &status);
		assert_string_equal(status.name, "dns:192.0.2.1");
		if (cases[c].silent) {
			assert_int_equal(status.state, GS_HEALTH_DOWN);
			assert_int_equal(status.why, cases[c].class);
		}
		/* For ever, and once a second. */
		world->fake.backend[1].probes = 0;
		run_for(&world->loop, 60000);
		assert_silent(world, cases[c].silent, 2);
		assert_in_range(world->fake.backend[1].probes, 55, 65);
		/* Back by as many answers as a backend's. */
		answer(world, 1, GS_PROBE_OK);
		run_for(&world->loop, 4500);
		assert_silent(world, 0, 2);
		world_free(world);
	}
}

/* Two lost in a row are no verdict, nor is one answer of four. */
static struct fake_answer two_of_twelve(void *context, gs_id backend, uint32_t n)
{
	(void)context;
	(void)backend;
	return (struct fake_answer){.class = n % 12 < 2 ? GS_PROBE_TIMEOUT : GS_PROBE_OK,
				    .after_ms = 20};
}

static struct fake_answer one_of_four(void *context, gs_id backend, uint32_t n)
{
	(void)context;
	(void)backend;
	return (struct fake_answer){.class = n % 4 == 3 ? GS_PROBE_OK : GS_PROBE_TIMEOUT,
				    .after_ms = 20};
}

static void it_takes_a_few(void **state)
{
	struct world *world = world_new();
	(void)state;

	set(world, "icmp:192.0.2.1");
	world->fake.backend[1].script = two_of_twelve;
	for (int i = 0; i < 6000; i++) {
		run_for(&world->loop, 100);
		assert_silent(world, 0, 1);
	}
	world->fake.backend[1].script = one_of_four;
	run_for(&world->loop, 10000);
	for (int i = 0; i < 6000; i++) {
		run_for(&world->loop, 100);
		assert_silent(world, 1, 1);
	}
	world_free(world);
}

/* Nobody has said anything yet: that is no silence. It becomes one. */
static void the_first_moments(void **state)
{
	struct world *world = world_new();
	(void)state;

	answer(world, 1, GS_PROBE_TIMEOUT);
	set(world, "icmp:192.0.2.1");
	run_for(&world->loop, 1000);
	assert_silent(world, 0, 1);
	run_for(&world->loop, 2000);
	assert_silent(world, 1, 1);
	world_free(world);
}

/* No rights, no descriptors: that says nothing of the way. It is asked again. */
static void probes_that_cannot_be_sent(void **state)
{
	struct world *world = world_new();
	(void)state;

	set(world, "icmp:192.0.2.1");
	run_for(&world->loop, 5000);
	world->fake.backend[1].answer.error = -EMFILE;
	world->fake.backend[1].probes = 0;
	run_for(&world->loop, 60000);
	assert_silent(world, 0, 1);
	assert_in_range(world->fake.backend[1].probes, 55, 65);
	world_free(world);
}

static void another_setting(void **state)
{
	struct world *world = world_new();
	struct gs_anchor_status status;
	(void)state;

	set(world, "icmp:192.0.2.1, icmp:192.0.2.2, icmp:192.0.2.3");
	answer(world, 2, GS_PROBE_TIMEOUT);
	run_for(&world->loop, 10000);
	assert_silent(world, 1, 3);
	world->fake.backend[2].cancels = 0;
	/* The second one stays what it is, in another order; a new one takes a place that is free.
	 */
	set(world, "tcp:192.0.2.9:80, icmp:192.0.2.2");
	assert_silent(world, 1, 2);
	gs_anchors_get(world->anchors, 1, &status);
	assert_string_equal(status.name, "icmp:192.0.2.2");
	assert_int_equal(status.state, GS_HEALTH_DOWN);
	gs_anchors_get(world->anchors, 0, &status);
	assert_string_equal(status.name, "tcp:192.0.2.9:80");
	assert_int_equal(status.state, GS_HEALTH_UNKNOWN);
	run_for(&world->loop, 1500);
	gs_anchors_get(world->anchors, 0, &status);
	assert_int_equal(status.state, GS_HEALTH_UP);
	assert_int_equal(world->fake.backend[2].cancels, 0);
	/* One is taken away while it is being asked. */
	answer(world, 2, GS_PROBE_OK);
	while (world->fake.backend[2].running == 0)
		run_for(&world->loop, 1);
	set(world, "tcp:192.0.2.9:80");
	assert_int_equal(world->fake.backend[2].cancels, 1);
	world->fake.backend[2].probes = 0;
	run_for(&world->loop, 10000);
	assert_int_equal(world->fake.backend[2].probes, 0);
	assert_silent(world, 0, 1);
	/* All eight places, none of them old. */
	set(world, "icmp:192.0.2.11,icmp:192.0.2.12,icmp:192.0.2.13,icmp:192.0.2.14,"
		   "icmp:192.0.2.15,icmp:192.0.2.16,icmp:192.0.2.17,icmp:192.0.2.18");
	run_for(&world->loop, 3000);
	assert_silent(world, 0, 8);
	set(world, "");
	assert_silent(world, 0, 0);
	assert_int_equal(world->loop.count, 0);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_asked_without_any),
		cmocka_unit_test(a_calm_second_apart),
		cmocka_unit_test(what_makes_one_silent),
		cmocka_unit_test(it_takes_a_few),
		cmocka_unit_test(the_first_moments),
		cmocka_unit_test(probes_that_cannot_be_sent),
		cmocka_unit_test(another_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
