/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends that flap, on a whole edge under simulated time: real probes' schedule, health, damping,
 * panic, words and what is told of them. One service in three regions of two backends each.
 */
#define SIMULATED_WORKER
#include "tests/fakes/simulated_loop.h"

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "tests/fakes/metrics_whole.h"
#include "tests/fakes/world.h"
#include "user/app/api.h"
#include "user/app/reconcile.h"
#include "user/app/rest.h"
#include "user/base/log.h"
#include "user/core/health.h"
#include "user/core/service_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKENDS = FAKE_REGIONS * FAKE_PER_REGION };

struct scene {
	struct gs_loop loop;
	struct world *world;
	struct fake_store store_fake;
	struct fake_geodb geodb_fake;
	struct fake_dataplane dataplane_fake;
	struct fake_nexthop nexthop_fake;
	struct fake_prober prober_fake;
	struct gs_store store;
	struct gs_geodb geodb;
	struct gs_dataplane dataplane;
	struct gs_nexthop nexthop;
	struct gs_prober prober;
	struct gs_reconcile_settings settings;
	struct gs_reconcile *reconcile;
	char folder[32];
	uint64_t flap_from_ms;
	uint64_t period_ms[BACKENDS + 1]; /* by backend; 0: does not flap */
	uint64_t away_ms;		  /* at the beginning of each; 0: half of it */
	uint64_t phase_ms;		  /* one backend's periods behind the one's before it */
	bool is_dead[BACKENDS + 1];
};

static struct fake_answer answer(void *context, gs_id backend, uint32_t n)
{
	const struct scene *scene = context;
	uint64_t period_ms = scene->period_ms[backend];
	bool is_away = scene->is_dead[backend] ||
		       (period_ms > 0 && scene->loop.now_ms >= scene->flap_from_ms &&
			(scene->loop.now_ms - scene->flap_from_ms + backend * scene->phase_ms) %
					period_ms <
				(scene->away_ms ? scene->away_ms : period_ms / 2));

	(void)n;
	return (struct fake_answer){.class = is_away ? GS_PROBE_REFUSED : GS_PROBE_OK,
				    .after_ms = 3};
}

/* Probed as it is by default; nobody panics but where a test says so. */
static struct gs_snapshot *snapshot_of(uint64_t revision)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	gs_service_spec_default(&snapshot->services[0]);
	snapshot->services[0].probe = gs_probe_spec_default();
	return snapshot;
}

static void give(struct scene *scene, struct gs_snapshot *snapshot)
{
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_for(&scene->loop, 3000);
}

static void start(struct scene *scene)
{
	const struct gs_reconcile_ports ports = {
		.loop = &scene->loop,
		.store = &scene->store,
		.geodb = &scene->geodb,
		.dataplane = &scene->dataplane,
		.nexthop = &scene->nexthop,
		.prober = &scene->prober,
	};

	assert_int_equal(gs_reconcile_new(&ports, &scene->settings, &scene->reconcile), 0);
	assert_int_equal(gs_reconcile_start(scene->reconcile), 0);
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	scene->loop.now_ms = 1000000;
	scene->world = world_new(1);
	scene->geodb_fake.geo = &scene->world->geo;
	scene->nexthop_fake.mtu = 1500;
	fake_store_init(&scene->store_fake, &scene->store);
	fake_geodb_init(&scene->geodb_fake, &scene->geodb);
	fake_nexthop_init(&scene->nexthop_fake, &scene->nexthop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_prober_init(&scene->prober_fake, &scene->loop, &scene->prober);
	for (gs_id b = 1; b <= BACKENDS; b++) {
		scene->prober_fake.backend[b].script = answer;
		scene->prober_fake.backend[b].context = scene;
	}
	strcpy(scene->folder, "/tmp/gs-test-XXXXXX");
	if (!mkdtemp(scene->folder))
		return -1;
	snprintf(scene->settings.dampings, sizeof(scene->settings.dampings), "%s/dampings.json",
		 scene->folder);
	snprintf(scene->settings.overlays, sizeof(scene->settings.overlays), "%s/overlays.json",
		 scene->folder);
	scene->settings.seed = 42;
	start(scene);
	give(scene, snapshot_of(1));
	scene->flap_from_ms = scene->loop.now_ms;
	scene->store_fake.transition_count = 0;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	gs_reconcile_free(scene->reconcile);
	fake_prober_done(&scene->prober_fake);
	unlink(scene->settings.dampings);
	unlink(scene->settings.overlays);
	rmdir(scene->folder);
	world_free(scene->world);
	/* Nothing is left in the loop. */
	if (scene->loop.count != 0)
		return -1;
	free(scene);
	return 0;
}

static bool is_up(const struct scene *scene, gs_id backend)
{
	return scene->dataplane_fake.backends[backend].state == GS_USABLE_UP;
}

static uint32_t serving(const struct scene *scene)
{
	uint32_t count = 0;

	for (gs_id b = 1; b <= BACKENDS; b++)
		count += is_up(scene, b);
	return count;
}

static bool answers(const struct scene *scene, gs_id backend)
{
	struct gs_monitor_status status;

	return gs_monitor_get(gs_reconcile_look(scene->reconcile)->monitor, backend, &status) &&
	       (status.state == GS_HEALTH_UP || status.state == GS_HEALTH_SUSPECT);
}

static struct gs_dampings_status status_of(struct scene *scene, gs_id backend)
{
	const struct gs_reconcile_state *look = gs_reconcile_look(scene->reconcile);
	struct gs_dampings_status status;

	gs_dampings_get(look->dampings, &look->snapshot->services[0], backend, scene->loop.now_ms,
			&status);
	return status;
}

/* Of a backend: how often it went to `to`. *ret_why: the last one's. */
static uint32_t transitions(const struct scene *scene, gs_id backend, const char *to,
			    const char **ret_why)
{
	uint32_t count = 0;
	char name[GS_NAME_MAX];

	snprintf(name, sizeof(name), "backend-%d-%d", (backend - 1) / FAKE_PER_REGION + 1,
		 (backend - 1) % FAKE_PER_REGION);
	assert_true(scene->store_fake.transition_count <= FAKE_TRANSITIONS_MAX);
	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++) {
		const struct gs_transition *transition = &scene->store_fake.transitions[i];

		if (transition->kind != GS_OBJECT_BACKEND ||
		    strcmp(transition->backend, name) != 0 || strcmp(transition->to, to) != 0)
			continue;
		count++;
		if (ret_why)
			*ret_why = transition->why;
	}
	return count;
}

/* Until it is held; it takes three flaps. */
static void damp(struct scene *scene, gs_id backend)
{
	scene->flap_from_ms = scene->loop.now_ms;
	scene->period_ms[backend] = 2000;
	for (int i = 0; i < 100 && !status_of(scene, backend).is_held; i++)
		run_for(&scene->loop, 100);
	scene->period_ms[backend] = 0;
	run_for(&scene->loop, 2000);
	assert_true(status_of(scene, backend).is_held);
	assert_true(answers(scene, backend));
	assert_false(is_up(scene, backend));
}

/* ---- one that flaps -------------------------------------------------------------------------- */

static void every_2_s_for_5_min_goes_down_three_times(void **state)
{
	struct scene *scene = *state;
	uint64_t flapped_ms;
	const char *why = "";

	scene->period_ms[1] = 2000;
	run_for(&scene->loop, 300000);
	scene->period_ms[1] = 0;
	flapped_ms = scene->loop.now_ms;
	assert_in_range(transitions(scene, 1, "down", &why), 1, 3);
	assert_non_null(strstr(why, "refused; damped: down 3 times, held for "));
	assert_int_equal(transitions(scene, 1, "up", NULL), 2);
	run_for(&scene->loop, 10000);
	assert_true(answers(scene, 1));
	assert_false(is_up(scene, 1));
	/* It comes back by itself, with nobody's help, within the ceiling. */
	while (!is_up(scene, 1) && scene->loop.now_ms < flapped_ms + 600000)
		run_for(&scene->loop, 100);
	assert_in_range(scene->loop.now_ms - flapped_ms, 60000, GS_DAMPING_CEILING_S * 1000u);
	assert_int_equal(transitions(scene, 1, "up", &why), 3);
	assert_string_equal(why, "no longer damped");
	assert_int_equal(transitions(scene, 2, "down", NULL), 0);
}

/* At the moment the penalty is there, not when a probe comes next. */
static void it_returns_at_reuse(void **state)
{
	struct scene *scene = *state;
	uint64_t left_ms;

	damp(scene, 3);
	left_ms = status_of(scene, 3).left_ms;
	assert_in_range(left_ms, 40000, 60000);
	run_for(&scene->loop, left_ms - 5);
	assert_false(is_up(scene, 3));
	run_for(&scene->loop, 10);
	assert_true(is_up(scene, 3));
}

/* One that is down when its time is over is no concern of damping any more. */
static void one_that_is_dead_returns_when_it_answers(void **state)
{
	struct scene *scene = *state;

	damp(scene, 3);
	scene->is_dead[3] = true;
	run_for(&scene->loop, 150000); /* its fourth flap: held, and let go */
	assert_false(status_of(scene, 3).is_held);
	assert_false(is_up(scene, 3));
	scene->is_dead[3] = false;
	run_for(&scene->loop, 2000);
	assert_true(is_up(scene, 3));
}

static void two_flaps_and_slow_ones_are_free(void **state)
{
	struct scene *scene = *state;

	scene->period_ms[1] = 60000; /* 30 s away, 30 s there: at most 2000 */
	run_for(&scene->loop, 600000);
	assert_int_equal(transitions(scene, 1, "down", NULL), 10);
	assert_int_equal(transitions(scene, 1, "up", NULL), 10);
	assert_false(status_of(scene, 1).is_suppressed);
}

static void it_can_be_switched_off(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = snapshot_of(2);

	damp(scene, 1);
	snapshot->services[0].damping.suppress = 0;
	give(scene, snapshot);
	assert_true(is_up(scene, 1));
	scene->period_ms[1] = 5000;
	scene->flap_from_ms = scene->loop.now_ms;
	scene->store_fake.transition_count = 0;
	run_for(&scene->loop, 60000);
	assert_true(transitions(scene, 1, "down", NULL) > 3);
}

/* ---- the floor ------------------------------------------------------------------------------- */

/*
 * All flap, each in its own time: half of the service's weight serves whenever as much answers, in
 * the very turn of the verdict.
 */
static void all_flap_and_the_floor_is_kept(void **state)
{
	struct scene *scene = *state;
	uint32_t held_max = 0, rows = 0;

	for (gs_id b = 1; b <= BACKENDS; b++)
		scene->period_ms[b] = 8000 + 100u * b;
	scene->away_ms = 1200;
	scene->phase_ms = 1400;
	for (int i = 0; i < 10000; i++) {
		uint32_t alive = 0, held = 0, most = 0;

		run_for(&scene->loop, 10);
		for (gs_id b = 1; b <= BACKENDS; b++) {
			alive += answers(scene, b);
			held += status_of(scene, b).is_held;
		}
		most = alive < BACKENDS / 2 ? alive : BACKENDS / 2;
		if (serving(scene) < most)
			fail_msg("%u serve of %u that answer, %u held", serving(scene), alive,
				 held);
		held_max = held > held_max ? held : held_max;
		rows += scene->store_fake.transition_count;
		scene->store_fake.transition_count = 0;
	}
	assert_in_range(held_max, 2, BACKENDS);
	assert_true(rows > 0);
}

/* All but the floor are held; then others fail: those that are held serve in the same turn. */
static void who_is_needed_is_let_go(void **state)
{
	struct scene *scene = *state;
	const char *why = "";

	damp(scene, 1);
	damp(scene, 2);
	damp(scene, 3);
	assert_int_equal(serving(scene), 3);
	for (gs_id b = 4; b <= BACKENDS; b++)
		assert_true(is_up(scene, b));
	scene->store_fake.transition_count = 0;
	scene->is_dead[6] = true;
	for (int i = 0; i < 200 && is_up(scene, 6); i++) {
		run_for(&scene->loop, 10);
		assert_int_equal(serving(scene), 3);
	}
	assert_false(is_up(scene, 6));
	/* The one that flapped first has the least to go. */
	assert_true(is_up(scene, 1));
	assert_int_equal(transitions(scene, 1, "up", &why), 1);
	assert_string_equal(why, "no longer damped: too few would serve without it");
	assert_true(status_of(scene, 1).is_suppressed);
	/* The other is back: who was let go stays, until it fails again. */
	scene->is_dead[6] = false;
	run_for(&scene->loop, 5000);
	assert_true(is_up(scene, 1));
	assert_int_equal(serving(scene), 4);
	scene->is_dead[1] = true;
	run_for(&scene->loop, 2000);
	scene->is_dead[1] = false;
	run_for(&scene->loop, 5000);
	assert_true(answers(scene, 1) && !is_up(scene, 1));
}

static void clear_all(struct scene *scene)
{
	struct gs_overlay_names names[BACKENDS];
	struct gs_error error;
	uint32_t cleared;

	for (int b = 0; b < BACKENDS; b++) {
		names[b] = (struct gs_overlay_names){.region = ""};
		snprintf(names[b].backend, GS_NAME_MAX, "backend-%d-%d", b / FAKE_PER_REGION + 1,
			 b % FAKE_PER_REGION);
	}
	assert_int_equal(
		gs_reconcile_undamp(scene->reconcile, names, BACKENDS, "kim", &cleared, &error), 0);
}

/* As many as panic asks for, not half: and where nobody panics, half. */
static void the_floor_is_the_services(void **state)
{
	static const struct {
		uint8_t percent;
		uint32_t serving;
	} cases[] = {{20, 2}, {80, 5}, {100, 6}, {0, 3}};
	struct scene *scene = *state;

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct gs_snapshot *snapshot = snapshot_of(2 + c);

		snapshot->services[0].panic.percent = cases[c].percent;
		give(scene, snapshot);
		clear_all(scene);
		assert_int_equal(serving(scene), BACKENDS);
		for (gs_id b = 1; b <= 5; b++) {
			scene->flap_from_ms = scene->loop.now_ms;
			scene->period_ms[b] = 2000;
			run_for(&scene->loop, 7000);
			scene->period_ms[b] = 0;
			run_for(&scene->loop, 1500);
		}
		if (serving(scene) != cases[c].serving)
			fail_msg("%u %%: %u serve", cases[c].percent, serving(scene));
		assert_true(serving(scene) * 100 >=
			    (cases[c].percent ? cases[c].percent : 50u) * BACKENDS);
	}
}

/* ---- this edge's own fault ------------------------------------------------------------------- */

/* Its cable is out three times: everything fails at once, which is nobody's flapping. */
static void an_edge_that_is_cut_off_damps_nobody(void **state)
{
	struct scene *scene = *state;

	for (gs_id b = 1; b <= BACKENDS; b++)
		scene->period_ms[b] = 16000;
	run_for(&scene->loop, 64000);
	for (gs_id b = 1; b <= BACKENDS; b++) {
		scene->period_ms[b] = 0;
		assert_false(status_of(scene, b).is_held);
		assert_true(status_of(scene, b).penalty < GS_DAMPING_FLAP);
	}
	run_for(&scene->loop, 3000);
	assert_int_equal(serving(scene), BACKENDS);
}

/* ---- operators ------------------------------------------------------------------------------- */

static void an_operator_clears_it(void **state)
{
	const struct gs_overlay_names names[] = {{.backend = "backend-1-0"},
						 {.backend = "backend-1-1"}};
	struct scene *scene = *state;
	struct gs_error error = {""};
	const char *why = "";
	uint32_t cleared;

	damp(scene, 1);
	assert_int_equal(gs_reconcile_undamp(scene->reconcile, names, 2, "kim", &cleared, &error),
			 0);
	assert_int_equal(cleared, 1);
	assert_true(is_up(scene, 1)); /* at once */
	transitions(scene, 1, "up", &why);
	assert_string_equal(why, "its damping was cleared");
	assert_int_equal(gs_reconcile_undamp(scene->reconcile, names, 2, "kim", &cleared, &error),
			 0);
	assert_int_equal(cleared, 0);
}

/* Forced up it serves, and does not go back to being held when the force is over. */
static void force_up_lifts_it(void **state)
{
	const struct gs_overlay_names name = {.backend = "backend-1-0"};
	const struct gs_reconcile_laying laying = {
		.overlay = {.admin = GS_ADMIN_FORCE_UP, .reason = "it is well", .actor = "kim"},
		.seconds = 5,
		.demand = -1};
	struct scene *scene = *state;
	struct gs_error error = {""};

	damp(scene, 1);
	assert_int_equal(gs_reconcile_lay(scene->reconcile, &name, 1, &laying, &error), 0);
	assert_true(is_up(scene, 1));
	assert_false(status_of(scene, 1).is_held);
	run_for(&scene->loop, 11000);
	assert_int_equal(gs_reconcile_look(scene->reconcile)->local->entry_count, 0);
	assert_true(status_of(scene, 1).is_suppressed);
	assert_true(is_up(scene, 1));
}

/* Another machine has its name now: it is not to blame. */
static void another_address_has_not_flapped(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = snapshot_of(2);

	damp(scene, 1);
	snapshot->backends[0].addr.bytes[15] += 100;
	give(scene, snapshot);
	assert_true(is_up(scene, 1));
	assert_false(status_of(scene, 1).is_suppressed);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(no text)";
}

static json_t *backend_of(const json_t *reply, size_t index)
{
	return json_array_get(json_object_get(reply, "backends"), index);
}

static void it_is_told_and_cleared_by_hand(void **state)
{
	static struct gs_config config = {.edge = "fra1"};
	struct scene *scene = *state;
	const struct gs_api api = {.reconcile = scene->reconcile,
				   .dataplane = &scene->dataplane,
				   .loop = &scene->loop,
				   .config = &config};
	json_t *reply, *request, *winner;
	size_t length;
	char *text;

	damp(scene, 1);
	damp(scene, 2);
	reply = gs_api_status(&api, NULL);
	assert_string_equal(text_of(backend_of(reply, 0), "state"), "down");
	assert_string_equal(text_of(backend_of(reply, 0), "health"), "up");
	assert_non_null(
		strstr(text_of(backend_of(reply, 0), "damped"), "damped: down 3 times, held for "));
	assert_true(json_integer_value(json_object_get(backend_of(reply, 0), "flap_penalty")) >
		    GS_DAMPING_REUSE);
	assert_null(json_object_get(backend_of(reply, 2), "damped"));
	assert_null(json_object_get(backend_of(reply, 2), "flap_penalty"));
	json_decref(reply);
	/* Of the region that is left for that. */
	request = json_pack("{s:s, s:s}", "address", "203.0.113.9", "service", "web");
	reply = gs_api_route(&api, request);
	winner = json_object_get(reply, "winner");
	text = json_dumps(json_object_get(reply, "candidates"), 0);
	assert_non_null(strstr(text, "what answers is damped"));
	free(text);
	assert_string_not_equal(text_of(winner, "region"), "region-1");
	json_decref(request);
	json_decref(reply);
	text = metrics_whole_of(&api, &length);
	assert_non_null(strstr(text, "geostream_damped{service=\"web\"} 2\n"));
	free(text);
	request = json_pack("{s:[s], s:s}", "names", "backend-1-*", "actor", "kim");
	reply = gs_api_damping_clear(&api, request);
	assert_int_equal(json_integer_value(json_object_get(reply, "cleared")), 2);
	assert_true(is_up(scene, 1) && is_up(scene, 2));
	json_decref(reply);
	json_decref(request);
	request = json_pack("{s:[s]}", "names", "nobody");
	reply = gs_api_damping_clear(&api, request);
	assert_non_null(strstr(text_of(reply, "error"), "nobody"));
	json_decref(reply);
	json_decref(request);
}

/* ---- restarts -------------------------------------------------------------------------------- */

static void restart(struct scene *scene, uint64_t away_ms)
{
	gs_reconcile_free(scene->reconcile);
	run_for(&scene->loop, away_ms);
	start(scene);
	give(scene, snapshot_of(2));
}

static void it_outlives_a_restart(void **state)
{
	struct scene *scene = *state;
	uint64_t left_ms;

	damp(scene, 3);
	run_for(&scene->loop, 3000);
	left_ms = status_of(scene, 3).left_ms;
	restart(scene, 10000);
	assert_true(status_of(scene, 3).is_held);
	assert_true(answers(scene, 3) && !is_up(scene, 3));
	assert_int_equal(serving(scene), BACKENDS - 1);
	assert_in_range(status_of(scene, 3).left_ms, left_ms - 13000 - 100, left_ms - 13000 + 100);
	run_for(&scene->loop, left_ms - 12000);
	assert_true(is_up(scene, 3));
	/* Away for longer than it was to be held. */
	damp(scene, 3);
	run_for(&scene->loop, 3000);
	restart(scene, 600000);
	assert_true(is_up(scene, 3));
}

static void a_broken_file_is_passed_over(void **state)
{
	struct scene *scene = *state;
	FILE *file;

	damp(scene, 3);
	run_for(&scene->loop, 3000);
	file = fopen(scene->settings.dampings, "w");
	assert_non_null(file);
	fputs("[{\"backend\": \"backend-2-0\", \"penalty\": -1}]", file);
	fclose(file);
	restart(scene, 10);
	assert_false(status_of(scene, 3).is_held);
	assert_true(is_up(scene, 3));
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(every_2_s_for_5_min_goes_down_three_times),
		SCENE(it_returns_at_reuse),
		SCENE(one_that_is_dead_returns_when_it_answers),
		SCENE(two_flaps_and_slow_ones_are_free),
		SCENE(it_can_be_switched_off),
		SCENE(all_flap_and_the_floor_is_kept),
		SCENE(who_is_needed_is_let_go),
		SCENE(the_floor_is_the_services),
		SCENE(an_edge_that_is_cut_off_damps_nobody),
		SCENE(an_operator_clears_it),
		SCENE(force_up_lifts_it),
		SCENE(another_address_has_not_flapped),
		SCENE(it_is_told_and_cleared_by_hand),
		SCENE(it_outlives_a_restart),
		SCENE(a_broken_file_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
