/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The business loop with every port a fake: what it publishes, which words it writes when, what
 * stays in force when something fails. The loop and its worker are the real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "tests/fakes/world.h"
#include "user/app/probe_trips.h"
#include "user/app/reconcile.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <string.h>

enum { LIMIT_MS = 20000 };

struct scene {
	struct gs_loop *loop;
	struct fake_store store_fake;
	struct fake_geodb geodb_fake;
	struct fake_nexthop nexthop_fake;
	struct fake_dataplane dataplane_fake;
	struct fake_prober prober_fake;
	struct gs_store store;
	struct gs_geodb geodb;
	struct gs_nexthop nexthop;
	struct gs_dataplane dataplane;
	struct gs_prober prober;
	struct gs_reconcile_settings settings;
	struct gs_reconcile *reconcile;
	struct world *world; /* its GeoIP database */
	char folder[32];

	struct gs_timer poll, limit;
	bool (*until)(struct scene *scene);
	bool timed_out;

	double sampled; /* flows of one client, in the sample of the last hour */
	int load_calls, load_err;
	char load_problem[GS_ERROR_MAX];
	int reopens;
};

/* One that cannot be built: an override of a region that is not there. */
static struct gs_snapshot *bad_snapshot(uint64_t revision)
{
	struct gs_snapshot *good = fake_snapshot(revision), *bad;

	assert_int_equal(gs_snapshot_copy(good, 1, &bad), 0);
	gs_snapshot_free(good);
	bad->overrides[0].prefix = (struct gs_prefix){
		.addr = gs_addr_from_v4(0xcb007100), .length = 24, .is_v4 = true};
	bad->overrides[0].region = 99;
	bad->override_count = 1;
	return bad;
}

/* ---- the scene ------------------------------------------------------------------------------- */

static int reopen(void *context, struct gs_error *error)
{
	struct scene *scene = context;

	(void)error;
	scene->reopens++;
	memset(scene->dataplane_fake.regions, 0, sizeof(scene->dataplane_fake.regions));
	memset(scene->dataplane_fake.backends, 0, sizeof(scene->dataplane_fake.backends));
	memset(scene->dataplane_fake.pools, 0, sizeof(scene->dataplane_fake.pools));
	memset(&scene->dataplane_fake.info, 0, sizeof(scene->dataplane_fake.info));
	scene->dataplane_fake.heartbeat_result = 0;
	return 0;
}

static void on_poll(struct gs_timer *timer)
{
	struct scene *scene = timer->context;
	bool is_so;

	pthread_mutex_lock(&scene->dataplane_fake.lock);
	is_so = scene->until(scene);
	pthread_mutex_unlock(&scene->dataplane_fake.lock);
	if (is_so)
		gs_loop_stop(scene->loop);
	else
		gs_loop_timer_set(scene->loop, timer, 2);
}

static void on_limit(struct gs_timer *timer)
{
	struct scene *scene = timer->context;

	scene->timed_out = true;
	gs_loop_stop(scene->loop);
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	if (gs_loop_new(&scene->loop))
		return -1;
	scene->world = world_new(1);
	scene->geodb_fake.geo = &scene->world->geo;
	scene->nexthop_fake.mtu = 1500;
	fake_store_init(&scene->store_fake, &scene->store);
	fake_geodb_init(&scene->geodb_fake, &scene->geodb);
	fake_nexthop_init(&scene->nexthop_fake, &scene->nexthop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_prober_init(&scene->prober_fake, scene->loop, &scene->prober);
	scene->poll = (struct gs_timer){.on_due = on_poll, .context = scene};
	scene->limit = (struct gs_timer){.on_due = on_limit, .context = scene};
	strcpy(scene->folder, "/tmp/gs-test-XXXXXX");
	if (!mkdtemp(scene->folder))
		return -1;
	snprintf(scene->settings.last_good, sizeof(scene->settings.last_good), "%s/last-good.json",
		 scene->folder);
	snprintf(scene->settings.overlays, sizeof(scene->settings.overlays), "%s/overlays.json",
		 scene->folder);
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	uint32_t alive;

	gs_loop_end_worker(scene->loop);
	gs_reconcile_free(scene->reconcile);
	alive = scene->geodb_fake.alive;
	fake_prober_done(&scene->prober_fake);
	gs_loop_free(scene->loop);
	world_free(scene->world);
	unlink(scene->settings.last_good);
	unlink(scene->settings.overlays);
	rmdir(scene->folder);
	free(scene);
	return alive ? -1 : 0; /* every database that was given was released */
}

static uint32_t clients(void *context, struct gs_client_count *ret_counts)
{
	struct scene *scene = context;
	struct gs_addr client = gs_addr_from_v4(0xcb007100);

	ret_counts[0] = (struct gs_client_count){.of = {gs_prefix_make(&client, 24), FAKE_WEB},
						 .flows = scene->sampled};
	return scene->sampled > 0;
}

static void start(struct scene *scene)
{
	const struct gs_reconcile_ports ports = {
		.loop = scene->loop,
		.store = &scene->store,
		.geodb = &scene->geodb,
		.dataplane = &scene->dataplane,
		.nexthop = &scene->nexthop,
		.prober = &scene->prober,
		.reopen_dataplane = reopen,
		.reopen_context = scene,
		.clients = clients,
		.generation_context = scene,
	};

	assert_int_equal(gs_reconcile_new(&ports, &scene->settings, &scene->reconcile), 0);
	assert_int_equal(gs_reconcile_start(scene->reconcile), 0);
}

static void give(struct scene *scene, struct gs_snapshot *snapshot)
{
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
}

static void lose_database(struct scene *scene)
{
	scene->store_fake.events->on_connection(scene->store_fake.context, false, "scripted");
}

static void run_until(struct scene *scene, bool (*until)(struct scene *scene))
{
	scene->until = until;
	gs_loop_timer_set(scene->loop, &scene->poll, 0);
	gs_loop_timer_set(scene->loop, &scene->limit, LIMIT_MS);
	assert_int_equal(gs_loop_run(scene->loop), 0);
	gs_loop_timer_clear(scene->loop, &scene->poll);
	gs_loop_timer_clear(scene->loop, &scene->limit);
	assert_false(scene->timed_out);
}

static const struct gs_reconcile_state *look(struct scene *scene)
{
	return gs_reconcile_look(scene->reconcile);
}

static bool is_idle(struct scene *scene)
{
	return !look(scene)->working;
}

static bool all_known(struct scene *scene)
{
	return look(scene)->tables && gs_monitor_unknown_count(look(scene)->monitor) == 0 &&
	       is_idle(scene);
}

static uint32_t publishes(struct scene *scene)
{
	return __atomic_load_n(&scene->dataplane_fake.publishes, __ATOMIC_RELAXED);
}

static void answer(struct scene *scene, gs_id region, enum gs_probe_class class)
{
	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(region, n)].answer.class = class;
}

static uint16_t region_word(struct scene *scene, gs_id region)
{
	return scene->dataplane_fake.regions[region].state;
}

static struct gs_usable pool_word(struct scene *scene, gs_id region)
{
	return scene->dataplane_fake.pools[gs_pool_index(FAKE_WEB, region)];
}

/* Running, everything up, the first round over, the log of writes empty. */
static void start_in_peace(struct scene *scene)
{
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, all_known);
	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		assert_int_equal(region_word(scene, r), GS_USABLE_UP);
		assert_int_equal(pool_word(scene, r).state, GS_USABLE_UP);
	}
	scene->dataplane_fake.write_count = 0;
	scene->store_fake.transition_count = 0;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void a_snapshot_is_published(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *saved;
	struct gs_error error;

	start(scene);
	assert_int_equal(scene->dataplane_fake.heartbeats, 1);
	give(scene, fake_snapshot(7));
	run_until(scene, all_known);
	assert_int_equal(publishes(scene), 1);
	assert_int_equal(scene->dataplane_fake.last_revision, 7);
	assert_int_equal(scene->dataplane_fake.last_hop_mtu, 1500);
	assert_int_equal(scene->store_fake.report.revision, 7);
	assert_int_equal(scene->store_fake.report.generation, 1);
	assert_int_equal(look(scene)->snapshot->revision, 7);
	assert_true(look(scene)->connected);
	assert_false(look(scene)->from_last_good);
	run_until(scene, is_idle);
	assert_int_equal(gs_snapshot_load(scene->settings.last_good, &saved, &error), 0);
	assert_int_equal(saved->revision, 7);
	gs_snapshot_free(saved);
	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		assert_int_equal(pool_word(scene, r).fallback, fake_backend(r, 0));
		for (int n = 0; n < FAKE_PER_REGION; n++)
			assert_int_equal(scene->dataplane_fake.backends[fake_backend(r, n)].state,
					 GS_USABLE_UP);
	}
	/* The same once more changes nothing. */
	give(scene, fake_snapshot(7));
	run_until(scene, is_idle);
	assert_int_equal(publishes(scene), 1);
}

static bool one_publish_waits(struct scene *scene)
{
	return publishes(scene) == 1;
}

static bool revision_9(struct scene *scene)
{
	return look(scene)->snapshot && look(scene)->snapshot->revision == 9 && is_idle(scene);
}

static void the_newest_snapshot_wins(void **state)
{
	struct scene *scene = *state;

	pthread_mutex_lock(&scene->dataplane_fake.gate);
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, one_publish_waits);
	for (uint64_t revision = 2; revision <= 9; revision++)
		give(scene, fake_snapshot(revision));
	assert_int_equal(publishes(scene), 1);
	pthread_mutex_unlock(&scene->dataplane_fake.gate);
	run_until(scene, revision_9);
	assert_int_equal(publishes(scene), 2);
}

static bool has_publish_problem(struct scene *scene)
{
	return look(scene)->publish_problem[0] != '\0';
}

static void a_snapshot_that_cannot_be_built_changes_nothing(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	give(scene, bad_snapshot(2));
	run_until(scene, has_publish_problem);
	assert_int_equal(look(scene)->snapshot->revision, 1);
	assert_int_equal(look(scene)->info.generation, 1);
	assert_int_equal(publishes(scene), 1);
	assert_int_equal(scene->dataplane_fake.write_count, 0);
	give(scene, fake_snapshot(9));
	run_until(scene, revision_9);
	assert_string_equal(look(scene)->publish_problem, "");
}

static void a_publish_that_fails_is_tried_again_later(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	scene->dataplane_fake.publish_error = -ENOSPC;
	scene->dataplane_fake.publish_fails = 2;
	give(scene, fake_snapshot(9));
	run_until(scene, has_publish_problem);
	assert_int_equal(look(scene)->snapshot->revision, 1);
	assert_int_equal(scene->dataplane_fake.write_count, 0);
	run_until(scene, revision_9);
	assert_int_equal(publishes(scene), 1 + 2 + 1); /* not one more */
	assert_string_equal(look(scene)->publish_problem, "");
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static bool eu_is_down(struct scene *scene)
{
	return region_word(scene, FAKE_EU) == GS_USABLE_DOWN;
}

static bool eu_is_up(struct scene *scene)
{
	return region_word(scene, FAKE_EU) == GS_USABLE_UP && all_known(scene) &&
	       scene->dataplane_fake.backends[fake_backend(FAKE_EU, 0)].state == GS_USABLE_UP &&
	       scene->dataplane_fake.backends[fake_backend(FAKE_EU, 1)].state == GS_USABLE_UP;
}

static void expect_write(struct scene *scene, uint32_t at, enum gs_object_kind kind, uint32_t index,
			 uint16_t word)
{
	const struct fake_write *write = &scene->dataplane_fake.writes[at];

	assert_true(at < scene->dataplane_fake.write_count);
	assert_int_equal(write->kind, kind);
	assert_int_equal(write->index, index);
	assert_int_equal(write->word.state, word);
}

static void expect_transition(struct scene *scene, uint32_t at, enum gs_object_kind kind,
			      const char *from, const char *to)
{
	const struct gs_transition *transition = &scene->store_fake.transitions[at];

	assert_true(at < scene->store_fake.transition_count);
	assert_int_equal(transition->kind, kind);
	assert_string_equal(transition->from, from);
	assert_string_equal(transition->to, to);
	assert_string_not_equal(transition->why, "");
	assert_true(transition->unix_ms > 1600000000000);
}

/* First one backend, then the other: six writes in all, the region's before its pool's. */
static void a_region_dies_by_words(void **state)
{
	struct scene *scene = *state;
	gs_id first;

	start_in_peace(scene);
	answer(scene, FAKE_EU, GS_PROBE_REFUSED);
	run_until(scene, eu_is_down);
	assert_int_equal(scene->dataplane_fake.write_count <= 6, true);
	first = (gs_id)scene->store_fake.transitions[0].backend[strlen("backend-1-")] == '0'
			? fake_backend(FAKE_EU, 0)
			: fake_backend(FAKE_EU, 1);
	if (first == fake_backend(FAKE_EU, 0)) { /* it was the fallback: another is named first */
		expect_write(scene, 0, GS_OBJECT_POOL, gs_pool_index(FAKE_WEB, FAKE_EU),
			     GS_USABLE_UP);
		assert_int_equal(scene->dataplane_fake.writes[0].word.fallback,
				 fake_backend(FAKE_EU, 1));
		expect_write(scene, 1, GS_OBJECT_BACKEND, first, GS_USABLE_DOWN);
	} else {
		expect_write(scene, 0, GS_OBJECT_BACKEND, first, GS_USABLE_DOWN);
	}
	{
		uint32_t at = scene->dataplane_fake.write_count - 3;

		expect_write(scene, at, GS_OBJECT_REGION, FAKE_EU, GS_USABLE_DOWN);
		expect_write(scene, at + 1, GS_OBJECT_POOL, gs_pool_index(FAKE_WEB, FAKE_EU),
			     GS_USABLE_DOWN);
		expect_write(scene, at + 2, GS_OBJECT_BACKEND,
			     first == fake_backend(FAKE_EU, 0) ? fake_backend(FAKE_EU, 1)
							       : fake_backend(FAKE_EU, 0),
			     GS_USABLE_DOWN);
	}
	expect_transition(scene, 0, GS_OBJECT_BACKEND, "up", "down");
	expect_transition(scene, 1, GS_OBJECT_BACKEND, "up", "down");
	expect_transition(scene, 2, GS_OBJECT_POOL, "up", "down");
	expect_transition(scene, 3, GS_OBJECT_REGION, "up", "down");
	assert_int_equal(scene->store_fake.transition_count, 4);
	assert_string_equal(scene->store_fake.transitions[3].region, "region-1");
	assert_non_null(strstr(scene->store_fake.transitions[3].why, "backend-1-"));
	assert_int_equal(publishes(scene), 1); /* failover needs no build */
	assert_int_equal(region_word(scene, FAKE_US), GS_USABLE_UP);

	scene->dataplane_fake.write_count = 0;
	answer(scene, FAKE_EU, GS_PROBE_OK);
	run_until(scene, eu_is_up);
	expect_write(scene, 0, GS_OBJECT_BACKEND, scene->dataplane_fake.writes[0].index,
		     GS_USABLE_UP);
	expect_write(scene, 1, GS_OBJECT_POOL, gs_pool_index(FAKE_WEB, FAKE_EU), GS_USABLE_UP);
	expect_write(scene, 2, GS_OBJECT_REGION, FAKE_EU, GS_USABLE_UP);
	assert_int_equal(publishes(scene), 1);
}

/* The worker is busy and the database away: the words change all the same. */
static void failover_waits_for_nobody(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	lose_database(scene);
	pthread_mutex_lock(&scene->dataplane_fake.gate);
	give(scene, fake_snapshot(2));
	lose_database(scene);
	answer(scene, FAKE_EU, GS_PROBE_TIMEOUT);
	run_until(scene, eu_is_down);
	assert_int_equal(look(scene)->snapshot->revision, 1);
	pthread_mutex_unlock(&scene->dataplane_fake.gate);
	run_until(scene, is_idle);
	assert_int_equal(look(scene)->snapshot->revision, 2);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_DOWN);
}

static bool revision_2(struct scene *scene)
{
	return look(scene)->snapshot && look(scene)->snapshot->revision == 2 && is_idle(scene);
}

static void an_operator_drains_a_region(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *drained = fake_snapshot(2);
	uint64_t generation;

	start_in_peace(scene);
	generation = look(scene)->info.generation;
	drained->regions[FAKE_AP - 1].admin = GS_ADMIN_DRAIN;
	give(scene, drained);
	run_until(scene, revision_2);
	assert_int_equal(region_word(scene, FAKE_AP), GS_USABLE_DRAIN);
	for (uint32_t i = 0; i < scene->dataplane_fake.write_count; i++)
		expect_write(scene, i, GS_OBJECT_REGION, FAKE_AP, GS_USABLE_DRAIN);
	assert_int_equal(look(scene)->info.generation, generation); /* nothing to rebuild */
	expect_transition(scene, 0, GS_OBJECT_REGION, "up", "drain");
}

/* ---- words before the flip ------------------------------------------------------------------- */

/* Region-1's backends (or everybody's) are other machines, with other ids. */
static struct gs_snapshot *with_new_backends(uint64_t revision, bool everywhere)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_backend *backend = &snapshot->backends[i];

		backend->id = (gs_id)(backend->id + 100);
		if (!everywhere && backend->region != FAKE_EU)
			continue;
		backend->addr.bytes[12] = 11;
		backend->name[0] = 'g';
	}
	if (!everywhere) /* the others keep their ids; ascending all the same */
		for (uint32_t i = FAKE_PER_REGION; i < snapshot->backend_count; i++)
			snapshot->backends[i].id = (gs_id)(snapshot->backends[i].id - 100);
	return snapshot;
}

/* Blue is replaced by green everywhere: packets find green's words when they find green. */
static void new_backends_are_ready_at_the_flip(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	give(scene, with_new_backends(2, true));
	run_until(scene, revision_2);
	for (gs_id id = 101; id <= 106; id++)
		assert_int_equal(scene->dataplane_fake.published_backend[id], GS_USABLE_UP);
	for (gs_id id = 1; id <= 6; id++)
		assert_int_equal(scene->dataplane_fake.backends[id].state, GS_USABLE_DOWN);
}

static struct gs_snapshot *moved_to_new_ids(void)
{
	struct gs_snapshot *snapshot = with_new_backends(2, false);

	/* Sorted by id: region-1's new ones stand at the end. */
	for (int n = 0; n < FAKE_PER_REGION; n++) {
		struct gs_backend first = snapshot->backends[0];

		memmove(&snapshot->backends[0], &snapshot->backends[1],
			(snapshot->backend_count - 1) * sizeof(first));
		snapshot->backends[snapshot->backend_count - 1] = first;
	}
	return snapshot;
}

/* Region-1 gets backends nobody knows: its clients are elsewhere before the ring changes. */
static void a_region_of_unknown_backends_is_left_before_the_flip(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	give(scene, moved_to_new_ids());
	run_until(scene, revision_2);
	assert_int_equal(scene->dataplane_fake.published_region[FAKE_EU], GS_USABLE_DOWN);
	assert_int_equal(scene->dataplane_fake.published_region[FAKE_US], GS_USABLE_UP);
}

static void words_ahead_are_taken_back_if_it_fails(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	scene->dataplane_fake.publish_error = -EFBIG;
	give(scene, moved_to_new_ids());
	run_until(scene, has_publish_problem);
	assert_int_equal(scene->dataplane_fake.published_region[FAKE_EU], GS_USABLE_DOWN);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_UP);
	assert_int_equal(pool_word(scene, FAKE_EU).state, GS_USABLE_UP);
	assert_int_equal(pool_word(scene, FAKE_EU).fallback, fake_backend(FAKE_EU, 0));
	for (gs_id id = 101; id <= 106; id++)
		assert_int_equal(scene->dataplane_fake.backends[id].state, GS_USABLE_DOWN);
	assert_int_equal(scene->store_fake.transition_count, 0);
}

/* A service in one region only. */
static struct gs_snapshot *only_in(uint64_t revision, gs_id region)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	for (int n = 0; n < FAKE_PER_REGION; n++)
		snapshot->backends[n] = snapshot->backends[(region - 1) * FAKE_PER_REGION + n];
	snapshot->backend_count = FAKE_PER_REGION;
	return snapshot;
}

/* In two: the first two regions, whose backends come first. */
static struct gs_snapshot *in_two(uint64_t revision)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	snapshot->backend_count = 2 * FAKE_PER_REGION;
	return snapshot;
}

static bool one_region_serves(struct scene *scene)
{
	return look(scene)->snapshot && look(scene)->snapshot->revision == 1 && all_known(scene) &&
	       is_idle(scene);
}

/* What is published leaves nobody without a region before it, and none after it. */
static void check_move(struct scene *scene, struct gs_snapshot *to)
{
	give(scene, to);
	run_until(scene, revision_2);
	assert_int_equal(scene->dataplane_fake.published_region[FAKE_EU], GS_USABLE_UP);
	assert_int_equal(scene->dataplane_fake.published_region[FAKE_US], GS_USABLE_UP);
	assert_int_equal(scene->dataplane_fake.published_pool[gs_pool_index(FAKE_WEB, FAKE_EU)],
			 GS_USABLE_UP);
	assert_int_equal(scene->dataplane_fake.published_pool[gs_pool_index(FAKE_WEB, FAKE_US)],
			 GS_USABLE_UP);
	for (int n = 0; n < FAKE_PER_REGION; n++)
		assert_int_equal(scene->dataplane_fake.published_backend[fake_backend(FAKE_US, n)],
				 GS_USABLE_UP);
	assert_int_not_equal(region_word(scene, FAKE_EU), GS_USABLE_UP);
	assert_int_equal(region_word(scene, FAKE_US), GS_USABLE_UP);
}

/* The only region there is serves until the generation of the next one is in force. */
static void the_only_region_is_replaced(void **state)
{
	struct scene *scene = *state;

	start(scene);
	give(scene, only_in(1, FAKE_EU));
	run_until(scene, one_region_serves);
	check_move(scene, only_in(2, FAKE_US));
}

static void the_only_region_is_drained_for_a_new_one(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *next = in_two(2);

	next->regions[FAKE_EU - 1].admin = GS_ADMIN_DRAIN;
	start(scene);
	give(scene, only_in(1, FAKE_EU));
	run_until(scene, one_region_serves);
	check_move(scene, next);
}

static void the_only_backends_are_drained_for_new_ones(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *next = in_two(2);

	for (int n = 0; n < FAKE_PER_REGION; n++)
		next->backends[n].admin = GS_ADMIN_DRAIN;
	start(scene);
	give(scene, only_in(1, FAKE_EU));
	run_until(scene, one_region_serves);
	check_move(scene, next);
}

static bool is_eu_down(struct scene *scene)
{
	return region_word(scene, FAKE_EU) == GS_USABLE_DOWN;
}

/* The pool of a dead region gets new backends: the generation in force does not know them yet. */
static void a_pool_is_not_raised_onto_backends_nobody_knows(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *next = moved_to_new_ids();

	start_in_peace(scene);
	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(FAKE_EU, n)].answer.class =
			GS_PROBE_TIMEOUT;
	run_until(scene, is_eu_down);
	for (uint32_t i = 0; i < next->backend_count; i++)
		if (next->backends[i].region == FAKE_EU)
			next->backends[i].admin = GS_ADMIN_FORCE_UP;
	give(scene, next);
	run_until(scene, revision_2);
	assert_int_equal(scene->dataplane_fake.published_pool[gs_pool_index(FAKE_WEB, FAKE_EU)],
			 GS_USABLE_DOWN);
	assert_int_equal(pool_word(scene, FAKE_EU).state, GS_USABLE_UP);
	assert_true(pool_word(scene, FAKE_EU).fallback > 100);
}

/* ---- drains with a deadline -------------------------------------------------------------------
 */

static bool is_eu_drained(struct scene *scene)
{
	return region_word(scene, FAKE_EU) == GS_USABLE_DRAIN;
}

static bool eu_backend_is_down(struct scene *scene)
{
	return scene->dataplane_fake.backends[fake_backend(FAKE_EU, 0)].state == GS_USABLE_DOWN;
}

static struct gs_snapshot *drained_until(uint64_t revision, int64_t unix_ms)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	snapshot->regions[FAKE_EU - 1].admin = GS_ADMIN_DRAIN;
	snapshot->regions[FAKE_EU - 1].drain_until_unix_ms = unix_ms;
	return snapshot;
}

/* At the deadline the words go down by themselves: no snapshot, no probe says anything then. */
static void a_drain_ends_at_its_deadline(void **state)
{
	struct scene *scene = *state;
	int64_t until;

	start_in_peace(scene);
	until = gs_unix_ms() + 700;
	give(scene, drained_until(2, until));
	run_until(scene, is_eu_drained);
	assert_true(gs_unix_ms() < until);
	run_until(scene, is_eu_down);
	assert_in_range(gs_unix_ms() - until, 0, 5000);
	assert_int_equal(region_word(scene, FAKE_US), GS_USABLE_UP);
	/* told as what it is */
	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++)
		if (strcmp(scene->store_fake.transitions[i].to, "down") == 0)
			assert_non_null(strstr(scene->store_fake.transitions[i].why, "drain"));
	give(scene, fake_snapshot(3));
	run_until(scene, eu_is_up);
}

static void a_backends_drain_ends_at_its_deadline(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(2);

	start_in_peace(scene);
	snapshot->backends[0].admin = GS_ADMIN_DRAIN;
	snapshot->backends[0].drain_until_unix_ms = gs_unix_ms() + 300;
	give(scene, snapshot);
	run_until(scene, eu_backend_is_down);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_UP);
	assert_int_equal(scene->dataplane_fake.backends[fake_backend(FAKE_EU, 1)].state,
			 GS_USABLE_UP);
}

/* A daemon that was away meanwhile does not let it begin anew. */
static void a_drain_that_is_over_stays_so_after_a_restart(void **state)
{
	struct scene *scene = *state;

	start(scene);
	give(scene, drained_until(1, gs_unix_ms() - 1000));
	run_until(scene, all_known);
	for (uint32_t i = 0; i < scene->dataplane_fake.write_count; i++) {
		const struct fake_write *write = &scene->dataplane_fake.writes[i];

		if (write->kind == GS_OBJECT_REGION && write->index == FAKE_EU)
			assert_int_equal(write->word.state, GS_USABLE_DOWN);
	}
	assert_int_equal(region_word(scene, FAKE_US), GS_USABLE_UP);
}

/* ---- operators' overlays, and panic ---------------------------------------------------------- */

/* The fake snapshot with region-1 drained, laid over it, until then. */
static struct gs_snapshot *overlaid(uint64_t revision, int64_t expires_unix_ms)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);

	free(snapshot->overlays);
	snapshot->overlays = calloc(1, sizeof(*snapshot->overlays));
	assert_non_null(snapshot->overlays);
	snapshot->overlay_count = 1;
	snapshot->overlays[0] = (struct gs_overlay){.region = FAKE_EU,
						    .admin = GS_ADMIN_DRAIN,
						    .made_unix_ms = gs_unix_ms(),
						    .expires_unix_ms = expires_unix_ms};
	return snapshot;
}

/* Without the database, and by its clock: this machine's is an hour late. */
static void an_overlay_expires_without_the_database(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot;
	int64_t until;

	start_in_peace(scene);
	until = gs_unix_ms() + 700;
	snapshot = overlaid(2, until + 3600000);
	snapshot->clock_ahead_ms = 3600000;
	give(scene, snapshot);
	run_until(scene, is_eu_drained);
	assert_int_equal(look(scene)->info.generation, 1); /* nothing to rebuild */
	lose_database(scene);
	run_until(scene, eu_is_up);
	assert_in_range(gs_unix_ms() - until, 0, 5000);
}

static void lay_over_us(struct scene *scene, uint32_t seconds)
{
	const struct gs_overlay_names us = {.region = "region-2"};
	const struct gs_reconcile_laying laying = {
		.overlay = {.admin = GS_ADMIN_DRAIN, .reason = "a cable"},
		.seconds = seconds,
		.demand = -1};
	struct gs_error error = {""};

	assert_int_equal(gs_reconcile_lay(scene->reconcile, &us, 1, &laying, &error), 0);
}

static bool is_us_drained(struct scene *scene)
{
	return region_word(scene, FAKE_US) == GS_USABLE_DRAIN;
}

static bool is_us_up(struct scene *scene)
{
	return region_word(scene, FAKE_US) == GS_USABLE_UP;
}

/* In force in the same turn; it holds over another snapshot and a restart, and ends by itself. */
static void what_one_edge_says_holds_there(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	lay_over_us(scene, 2);
	assert_true(is_us_drained(scene));
	assert_non_null(strstr(scene->store_fake.transitions[0].why, "a cable"));
	give(scene, fake_snapshot(2));
	run_until(scene, revision_2);
	assert_true(is_us_drained(scene));
	run_until(scene, is_idle);
	gs_reconcile_free(scene->reconcile);
	start(scene);
	give(scene, fake_snapshot(3));
	run_until(scene, all_known);
	assert_int_equal(look(scene)->local->count, 1);
	assert_true(is_us_drained(scene));
	run_until(scene, is_us_up);
	assert_int_equal(look(scene)->local->entry_count, 0);
}

/* The database says otherwise, of this edge too. */
static void what_one_edge_says_is_superseded(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = overlaid(2, 0);

	start_in_peace(scene);
	lay_over_us(scene, 3600);
	snapshot->overlays[0].region = FAKE_US;
	snapshot->overlays[0].admin = GS_ADMIN_AUTO;
	snapshot->overlays[0].supersedes = true;
	snapshot->overlays[0].made_unix_ms = gs_unix_ms() + 1;
	give(scene, snapshot);
	run_until(scene, is_us_up);
	assert_int_equal(look(scene)->local->entry_count, 0);
}

static bool is_all_down(struct scene *scene)
{
	return gs_panics_get(look(scene)->panics, FAKE_WEB).mode == GS_PANIC_ALL_DOWN;
}

static bool only_us_is_up(struct scene *scene)
{
	return is_us_up(scene) && region_word(scene, FAKE_EU) == GS_USABLE_DOWN &&
	       region_word(scene, FAKE_AP) == GS_USABLE_DOWN;
}

/* Region after region fails and is left; of the last one nobody would be left, so all serve; the
 * first that is back is the only one again. */
static void nothing_is_healthy(void **state)
{
	struct scene *scene = *state;
	bool was_told = false;

	start_in_peace(scene);
	answer(scene, FAKE_EU, GS_PROBE_REFUSED);
	run_until(scene, eu_is_down);
	answer(scene, FAKE_AP, GS_PROBE_TIMEOUT);
	run_until(scene, only_us_is_up);
	answer(scene, FAKE_US, GS_PROBE_STATUS);
	run_until(scene, is_all_down);
	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		assert_int_equal(region_word(scene, r), GS_USABLE_UP);
		assert_int_equal(pool_word(scene, r).state, GS_USABLE_UP);
		assert_int_not_equal(pool_word(scene, r).fallback, 0);
	}
	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++)
		was_told = was_told || strstr(scene->store_fake.transitions[i].why,
					      "all down: health is ignored");
	assert_true(was_told);
	answer(scene, FAKE_US, GS_PROBE_OK);
	run_until(scene, only_us_is_up);
}

/* Where this machine has no way to go, nobody is sent. */
static void nothing_is_healthy_or_reachable(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(1);

	start(scene);
	give(scene, snapshot);
	run_until(scene, all_known);
	answer(scene, FAKE_EU, GS_PROBE_NO_ROUTE); /* while others answer */
	run_until(scene, eu_is_down);
	answer(scene, FAKE_US, GS_PROBE_REFUSED);
	answer(scene, FAKE_AP, GS_PROBE_REFUSED);
	run_until(scene, is_all_down);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_DOWN);
	assert_int_equal(region_word(scene, FAKE_US), GS_USABLE_UP);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* The maps say who was up: nobody is taken down because nobody has asked yet. */
static void a_restart_does_not_flap(void **state)
{
	struct scene *scene = *state;

	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		const struct gs_usable up = {.state = GS_USABLE_UP, .accept = UINT16_MAX};

		scene->dataplane_fake.regions[r] = up;
		scene->dataplane_fake.pools[gs_pool_index(FAKE_WEB, r)] = up;
		for (int n = 0; n < FAKE_PER_REGION; n++)
			scene->dataplane_fake.backends[fake_backend(r, n)] = up;
	}
	scene->dataplane_fake.info.generation = 5;
	scene->dataplane_fake.backends[fake_backend(FAKE_US, 1)].state = GS_USABLE_DOWN;
	/* the one that was down; another one that fails long enough would rightly go down */
	scene->prober_fake.backend[fake_backend(FAKE_US, 1)].answer.class = GS_PROBE_TIMEOUT;
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, is_idle);
	for (uint32_t i = 0; i < scene->dataplane_fake.write_count; i++) {
		const struct fake_write *write = &scene->dataplane_fake.writes[i];

		if (write->kind != GS_OBJECT_BACKEND ||
		    write->index > FAKE_REGIONS * FAKE_PER_REGION ||
		    write->index == fake_backend(FAKE_US, 1))
			continue;
		assert_int_equal(write->word.state, GS_USABLE_UP);
	}
	/* Nothing has changed, so nothing is told. */
	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++)
		if (scene->store_fake.transitions[i].kind != GS_OBJECT_GENERATION)
			assert_string_equal(scene->store_fake.transitions[i].region, "region-2");
}

/* ---- breakers, generations ------------------------------------------------------------------- */

static struct gs_snapshot *with_breakers(uint64_t revision)
{
	struct gs_snapshot *snapshot = fake_snapshot(revision);
	struct gs_breaker_spec *spec = &snapshot->services[0].breaker;

	*spec = gs_breaker_spec_default();
	spec->open_ms = spec->open_max_ms = 100;
	spec->ramp_ms = 300;
	snprintf(snapshot->actor, sizeof(snapshot->actor), "alice");
	return snapshot;
}

static uint16_t eu_pool(struct scene *scene)
{
	return scene->dataplane_fake.pools[gs_pool_index(FAKE_WEB, FAKE_EU)].state;
}

static bool eu_pool_is_whole(struct scene *scene)
{
	return eu_pool(scene) == GS_USABLE_UP &&
	       scene->dataplane_fake.pools[gs_pool_index(FAKE_WEB, FAKE_EU)].accept == UINT16_MAX;
}

static uint32_t breaker_transitions(const struct scene *scene, const char *to)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++)
		count += scene->store_fake.transitions[i].kind == GS_OBJECT_BREAKER &&
			 strcmp(scene->store_fake.transitions[i].to, to) == 0;
	return count;
}

/* Down by health, then held back by its breaker: trials, a ramp, everything. */
static void a_region_comes_back_by_trials(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = with_breakers(1);
	struct gs_breaker_spec *spec = &snapshot->services[0].breaker;
	bool tried = false, ramped = false;

	/* Longer than its health takes to recover, on a slow machine, too. */
	spec->open_ms = spec->open_max_ms = 1500;
	start(scene);
	give(scene, snapshot);
	run_until(scene, is_idle);
	run_until(scene, eu_is_up);
	answer(scene, FAKE_EU, GS_PROBE_REFUSED);
	run_until(scene, eu_is_down);
	assert_true(breaker_transitions(scene, "open") >= 1);
	scene->dataplane_fake.write_count = 0;
	answer(scene, FAKE_EU, GS_PROBE_OK);
	/* On a slow machine the trial may be over before anybody has looked: the log has it. */
	run_until(scene, eu_pool_is_whole);
	for (uint32_t i = 0; i < scene->dataplane_fake.write_count; i++) {
		const struct fake_write *write = &scene->dataplane_fake.writes[i];

		if (write->kind != GS_OBJECT_POOL)
			continue;
		tried |= write->word.state == GS_USABLE_TRIAL &&
			 write->word.trials == GS_BREAKER_TRIALS;
		ramped |=
			write->word.state == GS_USABLE_UP && write->word.accept == UINT16_MAX / 10;
	}
	assert_true(tried);
	assert_true(ramped);
	assert_true(breaker_transitions(scene, "closed") >= 1);
}

static bool us_and_ap_are_down(struct scene *scene)
{
	return region_word(scene, FAKE_US) == GS_USABLE_DOWN &&
	       region_word(scene, FAKE_AP) == GS_USABLE_DOWN;
}

/* A force holds as long as it is there; one that nobody made never takes the last pool. */
static void forces_hold_whoever_is_left(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = with_breakers(1);

	snapshot->force_count = 1;
	free(snapshot->forces);
	snapshot->forces = calloc(1, sizeof(*snapshot->forces));
	snapshot->forces[0] = (struct gs_force){.service = FAKE_WEB,
						.region = FAKE_EU,
						.open = true,
						.expires_unix_ms = INT64_MAX / 2,
						.actor = "bob"};
	start(scene);
	give(scene, snapshot);
	run_until(scene, is_idle);
	run_until(scene, all_known);
	assert_int_equal(eu_pool(scene), GS_USABLE_DRAIN);
	assert_int_equal(breaker_transitions(scene, "forced_open"), 1);
	answer(scene, FAKE_US, GS_PROBE_REFUSED);
	answer(scene, FAKE_AP, GS_PROBE_REFUSED);
	run_until(scene, us_and_ap_are_down);
	assert_int_equal(eu_pool(scene), GS_USABLE_DRAIN);
}

static void generations_and_plans_are_told(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *second = with_breakers(2);
	uint32_t told = 0, plans = 0;

	start(scene);
	give(scene, with_breakers(1));
	run_until(scene, is_idle);
	second->regions[FAKE_EU - 1].admin = GS_ADMIN_MAINTENANCE;
	give(scene, second);
	run_until(scene, revision_2);
	run_until(scene, is_idle);
	for (uint32_t i = 0; i < scene->store_fake.transition_count; i++) {
		const struct gs_transition *t = &scene->store_fake.transitions[i];

		if (t->kind == GS_OBJECT_GENERATION) {
			assert_string_equal(t->actor, "alice");
			assert_non_null(strstr(t->why, "revision "));
			told++;
		}
		if (t->kind == GS_OBJECT_PLAN) {
			assert_string_equal(t->service, "web");
			assert_non_null(strstr(t->from, " locations"));
			assert_string_not_equal(t->from, t->to);
			plans++;
		}
	}
	assert_int_equal(told, 2);
	assert_true(plans >= 2); /* what one region has lost, another one has */
}

static bool from_last_good(struct scene *scene)
{
	return look(scene)->from_last_good && look(scene)->tables;
}

static bool not_from_last_good(struct scene *scene)
{
	return look(scene)->tables && !look(scene)->from_last_good;
}

static void the_last_good_file_serves_while_the_database_is_away(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *saved = fake_snapshot(3);
	struct gs_error error;

	assert_int_equal(gs_snapshot_save(saved, scene->settings.last_good, &error), 0);
	gs_snapshot_free(saved);
	start(scene);
	lose_database(scene);
	run_until(scene, from_last_good);
	assert_int_equal(scene->dataplane_fake.last_revision, 3);
	assert_false(look(scene)->connected);
	assert_string_equal(look(scene)->connection_why, "scripted");
	give(scene, fake_snapshot(3));
	run_until(scene, not_from_last_good);
	assert_true(look(scene)->connected);
}

/* Neither database nor file: what an earlier daemon put in force is not touched. */
static void without_a_snapshot_nothing_is_touched(void **state)
{
	struct scene *scene = *state;

	scene->dataplane_fake.info.generation = 5;
	start(scene);
	lose_database(scene);
	run_until(scene, is_idle);
	assert_int_equal(publishes(scene), 0);
	assert_int_equal(scene->dataplane_fake.write_count, 0);
	assert_null(look(scene)->snapshot);
	assert_int_equal(look(scene)->info.generation, 5);
}

static void a_broken_last_good_file_is_refused(void **state)
{
	struct scene *scene = *state;
	FILE *file = fopen(scene->settings.last_good, "we");

	assert_non_null(file);
	fputs("{\"not\": \"a snapshot\"}\n", file);
	fclose(file);
	start(scene);
	lose_database(scene);
	run_until(scene, is_idle);
	assert_int_equal(publishes(scene), 0);
	give(scene, fake_snapshot(9));
	run_until(scene, revision_9);
}

/* ---- GeoIP ----------------------------------------------------------------------------------- */

static void on_loaded(void *context, int err, const char *problem)
{
	struct scene *scene = context;

	scene->load_calls++;
	scene->load_err = err;
	snprintf(scene->load_problem, sizeof(scene->load_problem), "%s", problem);
}

static bool was_loaded(struct scene *scene)
{
	return scene->load_calls > 0;
}

static void load(struct scene *scene, const char *path)
{
	scene->load_calls = 0;
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, path, 0, on_loaded, scene), 0);
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, path, 0, on_loaded, scene),
			 -EBUSY);
	run_until(scene, was_loaded);
	assert_int_equal(scene->load_calls, 1);
}

/* On the worker: it may be half a gigabyte. */
static bool was_released(struct scene *scene)
{
	return __atomic_load_n(&scene->geodb_fake.releases, __ATOMIC_RELAXED) > 0;
}

static void geoip_is_loaded_before_the_first_publish(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, all_known);
	assert_int_equal(publishes(scene), 1);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	assert_ptr_equal(scene->dataplane_fake.last_geo, look(scene)->geo);

	load(scene, "/geo/two.mmdb");
	assert_int_equal(scene->load_err, 0);
	assert_string_equal(look(scene)->geo->path, "/geo/two.mmdb");
	assert_int_equal(publishes(scene), 2);
	run_until(scene, was_released);
	assert_int_equal(scene->geodb_fake.releases, 1);
}

static void a_broken_geoip_file_leaves_the_one_in_force(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start_in_peace(scene);
	scene->geodb_fake.error = -EINVAL;
	load(scene, "/geo/broken.mmdb");
	assert_int_equal(scene->load_err, -EINVAL);
	assert_string_equal(scene->load_problem, "/geo/broken.mmdb: scripted to be broken");
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	assert_string_not_equal(look(scene)->geo_problem, "");
	assert_int_equal(publishes(scene), 1);
	assert_int_equal(scene->dataplane_fake.write_count, 0);
	/* And the next snapshot is published with it. */
	give(scene, fake_snapshot(9));
	run_until(scene, revision_9);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	scene->geodb_fake.error = 0;
	load(scene, "/geo/two.mmdb");
	assert_int_equal(scene->load_err, 0);
	assert_string_equal(look(scene)->geo_problem, "");
}

static bool geo_three(struct scene *scene)
{
	return look(scene)->geo && strcmp(look(scene)->geo->path, "/geo/three.mmdb") == 0;
}

/* SIGHUP while somebody's load goes on: it is made good afterwards, the last one asked for. */
static void a_reload_waits_for_the_load_under_way(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start_in_peace(scene);
	assert_int_equal(
		gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", 0, on_loaded, scene), 0);
	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/never.mmdb"), 0);
	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/three.mmdb"), 0);
	run_until(scene, geo_three);
	assert_int_equal(scene->load_calls, 1);
	assert_int_equal(scene->load_err, 0);
	assert_int_equal(scene->geodb_fake.loads, 3);
}

/* Without any file in force, on an empty data plane: unknown locations are better than none. */
static void an_empty_edge_starts_without_geoip(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/broken.mmdb");
	scene->geodb_fake.error = -EINVAL;
	start_in_peace(scene);
	assert_null(look(scene)->geo);
	assert_int_equal(publishes(scene), 1);
}

static bool is_followed(struct scene *scene)
{
	return look(scene)->snapshot != NULL;
}

static bool is_saved(struct scene *scene)
{
	return access(scene->settings.last_good, F_OK) == 0;
}

/* A generation with GeoIP is in force and the file is broken now: only the words follow. */
static void a_warm_edge_keeps_its_geo_tables(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/broken.mmdb");
	scene->geodb_fake.error = -EINVAL;
	scene->dataplane_fake.info.generation = 5;
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, is_followed);
	assert_int_equal(publishes(scene), 0);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_UP);
	answer(scene, FAKE_EU, GS_PROBE_REFUSED);
	run_until(scene, eu_is_down);
	scene->geodb_fake.error = 0;
	load(scene, "/geo/good.mmdb");
	assert_int_equal(scene->load_err, 0);
	assert_int_equal(publishes(scene), 1);
	run_until(scene, is_saved); /* though the words have followed it for long */
}

static bool a_publish_problem_or_geo(struct scene *scene)
{
	return has_publish_problem(scene) && is_idle(scene);
}

/* The file was good; the snapshot beside it was not. */
static void a_bad_first_snapshot_costs_no_geoip(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start(scene);
	give(scene, bad_snapshot(1));
	run_until(scene, a_publish_problem_or_geo);
	assert_null(look(scene)->tables);
	give(scene, fake_snapshot(9));
	run_until(scene, revision_9);
	assert_int_equal(scene->geodb_fake.loads, 1);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
}

static bool geo_two(struct scene *scene)
{
	return look(scene)->geo && strcmp(look(scene)->geo->path, "/geo/two.mmdb") == 0 &&
	       is_idle(scene);
}

/* A bad snapshot and a good file at the same time: the file comes into force, the other not. */
static void the_guilty_one_is_found(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start_in_peace(scene);
	pthread_mutex_lock(&scene->dataplane_fake.gate);
	give(scene, fake_snapshot(2)); /* keeps the worker busy */
	give(scene, bad_snapshot(3));
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", 0, NULL, NULL),
			 0);
	pthread_mutex_unlock(&scene->dataplane_fake.gate);
	run_until(scene, geo_two);
	assert_int_equal(look(scene)->snapshot->revision, 2);
}

/* ---- databases that change much -------------------------------------------------------------- */

static int load_as(struct scene *scene, const char *path, unsigned flags)
{
	scene->load_calls = 0;
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, path, flags, on_loaded, scene), 0);
	run_until(scene, was_loaded);
	assert_int_equal(scene->load_calls, 1);
	return scene->load_err;
}

static int roll_back(struct scene *scene)
{
	int err;

	scene->load_calls = 0;
	err = gs_reconcile_rollback_geo(scene->reconcile, on_loaded, scene);
	if (err)
		return err;
	run_until(scene, was_loaded);
	assert_int_equal(scene->load_calls, 1);
	return scene->load_err;
}

/* One database in force; what is loaded from now on says otherwise of nearly every address. */
static struct world *start_before_a_change(struct scene *scene, uint32_t limit_percent)
{
	struct world *other = world_new(4);

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	scene->settings.geo_limit_percent = limit_percent;
	scene->sampled = 150;
	start_in_peace(scene);
	scene->geodb_fake.geo = &other->geo;
	return other;
}

static void assert_in_force(struct scene *scene, const char *path, uint64_t generation)
{
	assert_string_equal(look(scene)->geo->path, path);
	assert_ptr_equal(scene->dataplane_fake.last_geo, look(scene)->geo);
	assert_int_equal(look(scene)->info.generation, generation);
	assert_int_equal(publishes(scene), generation);
}

static void a_database_that_moves_too_much_stays_out(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, 20);
	const struct gs_geo_change *change;

	assert_int_equal(load_as(scene, "/geo/two.mmdb", 0), -EPERM);
	assert_non_null(strstr(scene->load_problem, "/geo/two.mmdb: would send "));
	assert_non_null(strstr(scene->load_problem, "geoip_change_limit = 20 %"));
	assert_in_force(scene, "/geo/one.mmdb", 1);
	assert_string_equal(look(scene)->geo_problem, scene->load_problem);
	assert_string_equal(look(scene)->publish_problem, "");
	assert_true(look(scene)->geo_refused);
	assert_null(look(scene)->geo_before);
	change = look(scene)->geo_change;
	assert_int_equal(change->outcome, GS_GEO_IS_REFUSED);
	assert_string_equal(change->path, "/geo/two.mmdb");
	assert_string_equal(change->before, "/geo/one.mmdb");
	assert_true(change->v4.moved > 0.2 || change->v6.moved > 0.2);
	assert_true(change->shift.flows == 150);
	assert_int_equal(scene->dataplane_fake.write_count, 0);

	assert_int_equal(load_as(scene, "/geo/two.mmdb", GS_LOAD_FORCED), 0);
	assert_in_force(scene, "/geo/two.mmdb", 2);
	assert_false(look(scene)->geo_refused);
	assert_string_equal(look(scene)->geo_problem, "");
	assert_int_equal(look(scene)->geo_change->outcome, GS_GEO_IS_IN_FORCE);
	assert_true(look(scene)->geo_change->is_forced);
	assert_int_equal(look(scene)->geo_counts.refused, 1);
	assert_int_equal(look(scene)->geo_counts.in_force, 2);
	run_until(scene, is_idle);
	world_free(other);
}

static bool is_refused(struct scene *scene)
{
	return look(scene)->geo_refused;
}

/* SIGHUP asks nobody, and is held to the limit; which may change with it. */
static void a_reload_is_held_to_the_limit(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, 20);

	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/two.mmdb"), 0);
	run_until(scene, is_refused);
	assert_in_force(scene, "/geo/one.mmdb", 1);
	gs_reconcile_limit_geo(scene->reconcile, GS_GEO_LIMIT_OFF);
	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/two.mmdb"), 0);
	run_until(scene, geo_two);
	assert_in_force(scene, "/geo/two.mmdb", 2);
	assert_false(look(scene)->geo_refused);
	world_free(other);
}

/* The configuration that comes meanwhile does not wait for a decision, and changes none. */
static void a_snapshot_passes_a_refused_database(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, 0);

	scene->load_calls = 0;
	__atomic_store_n(&scene->geodb_fake.is_gated, true, __ATOMIC_RELEASE);
	assert_int_equal(
		gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", 0, on_loaded, scene), 0);
	give(scene, fake_snapshot(8)); /* waits for the worker */
	give(scene, fake_snapshot(9));
	__atomic_store_n(&scene->geodb_fake.is_gated, false, __ATOMIC_RELEASE);
	run_until(scene, revision_9);
	run_until(scene, was_loaded);
	run_until(scene, is_idle);
	assert_int_equal(scene->load_err, -EPERM);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	assert_int_equal(look(scene)->snapshot->revision, 9);
	world_free(other);
}

static void a_dry_run_leaves_all_as_it_was(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, 20);
	uint64_t digest = look(scene)->info.digest;

	assert_int_equal(load_as(scene, "/geo/two.mmdb", GS_LOAD_DRY), 0);
	assert_int_equal(look(scene)->geo_change->outcome, GS_GEO_IS_SHOWN);
	assert_true(look(scene)->geo_change->v4.moved > 0 || look(scene)->geo_change->v6.moved > 0);
	scene->geodb_fake.error = -EINVAL;
	assert_int_equal(load_as(scene, "/geo/broken.mmdb", GS_LOAD_DRY), -EINVAL);
	scene->geodb_fake.error = 0;
	assert_in_force(scene, "/geo/one.mmdb", 1);
	assert_true(look(scene)->info.digest == digest);
	assert_string_equal(look(scene)->geo_problem, "");
	assert_string_equal(look(scene)->publish_problem, "");
	assert_null(look(scene)->geo_before);
	assert_int_equal(look(scene)->geo_counts.failed, 0);
	assert_int_equal(look(scene)->geo_counts.refused, 0);
	assert_int_equal(scene->dataplane_fake.write_count, 0);
	assert_int_equal(scene->store_fake.transition_count, 0);
	assert_false(look(scene)->load.is_under_way);
	world_free(other);
}

/* Nothing to compare with: nothing is refused, and nothing can be shown. */
static void the_first_database_has_no_limit(void **state)
{
	struct scene *scene = *state;

	scene->settings.geo_limit_percent = 0;
	start(scene);
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", GS_LOAD_DRY,
					       on_loaded, scene),
			 -EAGAIN);
	give(scene, fake_snapshot(1));
	run_until(scene, all_known);
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", GS_LOAD_DRY,
					       on_loaded, scene),
			 -EAGAIN);
	assert_int_equal(load_as(scene, "/geo/two.mmdb", 0), 0);
	assert_in_force(scene, "/geo/two.mmdb", 2);
	assert_null(look(scene)->geo_change);
	assert_int_equal(roll_back(scene), -ENOENT);
}

static void a_rollback_goes_back_and_forth(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, 0);
	uint64_t first = look(scene)->info.digest;
	uint32_t loads;

	assert_int_equal(roll_back(scene), -ENOENT);
	assert_int_equal(load_as(scene, "/geo/two.mmdb", GS_LOAD_FORCED), 0);
	assert_string_equal(look(scene)->geo_before->path, "/geo/one.mmdb");
	/* The same once more is no other database. */
	assert_int_equal(load_as(scene, "/geo/again.mmdb", 0), 0);
	assert_true(look(scene)->geo_change->is_same);
	assert_string_equal(look(scene)->geo_before->path, "/geo/one.mmdb");
	loads = scene->geodb_fake.loads;
	assert_int_equal(roll_back(scene), 0);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	assert_int_equal(look(scene)->info.generation, 3);
	assert_true(look(scene)->info.digest == first);
	assert_string_equal(look(scene)->geo_before->path, "/geo/again.mmdb");
	assert_int_equal(roll_back(scene), 0);
	assert_string_equal(look(scene)->geo->path, "/geo/again.mmdb");
	assert_int_equal(look(scene)->info.generation, 4);
	assert_int_equal(scene->geodb_fake.loads, loads);
	world_free(other);
}

static bool is_locating(struct scene *scene)
{
	return look(scene)->load.is_under_way &&
	       look(scene)->load.progress.phase == GS_PHASE_LOCATING &&
	       look(scene)->load.progress.done == 1;
}

static void a_load_is_seen_and_can_be_cancelled(void **state)
{
	struct scene *scene = *state;
	struct world *other = start_before_a_change(scene, GS_GEO_LIMIT_OFF);
	const struct gs_load_state *shown;

	assert_false(look(scene)->load.is_under_way);
	assert_false(gs_reconcile_cancel_load(scene->reconcile));
	__atomic_store_n(&scene->geodb_fake.is_gated, true, __ATOMIC_RELEASE);
	scene->load_calls = 0;
	assert_int_equal(
		gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", 0, on_loaded, scene), 0);
	run_until(scene, is_locating);
	shown = &look(scene)->load;
	assert_string_equal(shown->path, "/geo/two.mmdb");
	assert_int_equal(shown->progress.size_bytes, FAKE_GEODB_SIZE);
	assert_int_equal(shown->progress.total, 2);
	assert_in_range(shown->progress.percent, 1, 99);
	assert_int_equal(scene->load_calls, 0);
	assert_true(gs_reconcile_cancel_load(scene->reconcile));
	run_until(scene, was_loaded);
	assert_int_equal(scene->load_err, -ECANCELED);
	assert_in_force(scene, "/geo/one.mmdb", 1);
	assert_string_equal(look(scene)->geo_problem, "");
	assert_int_equal(look(scene)->geo_counts.cancelled, 1);
	assert_false(look(scene)->load.is_under_way);
	__atomic_store_n(&scene->geodb_fake.is_gated, false, __ATOMIC_RELEASE);
	assert_int_equal(load_as(scene, "/geo/two.mmdb", 0), 0);
	assert_in_force(scene, "/geo/two.mmdb", 2);
	world_free(other);
}

/* The daemon ends while the worker has a load before it that would never end by itself. */
static void an_end_waits_for_no_load(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	__atomic_store_n(&scene->geodb_fake.is_gated, true, __ATOMIC_RELEASE);
	assert_int_equal(gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb", 0, NULL, NULL),
			 0);
	run_until(scene, is_locating);
	gs_reconcile_cancel_load(scene->reconcile);
	gs_loop_end_worker(scene->loop);
}

/* ---- ASN databases --------------------------------------------------------------------------- */

/* With an override of AS64500. */
static struct gs_snapshot *snapshot_of_a_system(uint64_t revision)
{
	struct gs_snapshot *plain = fake_snapshot(revision), *with;

	assert_int_equal(gs_snapshot_copy(plain, 1, &with), 0);
	gs_snapshot_free(plain);
	with->overrides[0].asn = 64500;
	with->overrides[0].region = FAKE_US;
	with->override_count = 1;
	return with;
}

static bool asn_is(struct scene *scene, const char *path)
{
	return look(scene)->asn && strcmp(look(scene)->asn->path, path) == 0 && is_idle(scene);
}

static bool asn_two(struct scene *scene)
{
	return asn_is(scene, "/asn/two.mmdb");
}

static bool has_asn_problem(struct scene *scene)
{
	return look(scene)->asn_problem[0] && is_idle(scene);
}

static const char *missing(struct scene *scene)
{
	static char out[GS_ERROR_MAX];

	return gs_reconcile_asn_missing(look(scene), out);
}

static void both_files_are_there_before_the_first_publish(void **state)
{
	struct scene *scene = *state;
	uint64_t digest;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	strcpy(scene->settings.asn, "/asn/one.mmdb");
	start(scene);
	give(scene, snapshot_of_a_system(1));
	run_until(scene, all_known);
	assert_int_equal(publishes(scene), 1);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
	assert_string_equal(look(scene)->asn->path, "/asn/one.mmdb");
	assert_ptr_equal(look(scene)->tables->asn, look(scene)->asn);
	assert_string_equal(missing(scene), "");
	/* Another ASN database is another digest, though the GeoIP database is the same. */
	digest = scene->store_fake.report.geo_digest;
	assert_int_not_equal(digest, look(scene)->geo->digest);
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/two.mmdb"), 0);
	run_until(scene, asn_two);
	assert_int_equal(scene->store_fake.report.geo_digest, digest);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
}

static bool asn_three(struct scene *scene)
{
	return asn_is(scene, "/asn/three.mmdb");
}

static void a_broken_asn_file_leaves_the_one_in_force(void **state)
{
	struct gs_geo_key zero = {0};
	uint32_t system = 64500;
	const struct gs_asndata other = {
		.digest = 2,
		.v4 = {.starts = &zero, .asns = &system, .start_count = 1},
		.v6 = {.starts = &zero, .asns = &system, .start_count = 1}};
	struct scene *scene = *state;
	uint64_t digest;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	strcpy(scene->settings.asn, "/asn/two.mmdb");
	start_in_peace(scene);
	scene->geodb_fake.asn_error = -EINVAL;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/broken.mmdb"), 0);
	run_until(scene, has_asn_problem);
	assert_string_equal(look(scene)->asn_problem, "/asn/broken.mmdb: scripted to be broken");
	assert_string_equal(look(scene)->asn->path, "/asn/two.mmdb");
	assert_string_equal(look(scene)->geo_problem, "");
	assert_int_equal(publishes(scene), 1);
	/* The next snapshot has it still, and another GeoIP file comes into force beside it. */
	give(scene, snapshot_of_a_system(9));
	run_until(scene, revision_9);
	assert_ptr_equal(look(scene)->tables->asn, look(scene)->asn);
	assert_int_equal(look(scene)->tables->override_count, 0);
	load(scene, "/geo/two.mmdb");
	assert_int_equal(scene->load_err, 0);
	assert_string_equal(look(scene)->asn->path, "/asn/two.mmdb");
	digest = scene->store_fake.report.geo_digest;
	/* A good one again: its systems' prefixes are in the tables. */
	scene->geodb_fake.asn_error = 0;
	scene->geodb_fake.asn = &other;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/three.mmdb"), 0);
	run_until(scene, asn_three);
	assert_string_equal(look(scene)->asn_problem, "");
	assert_true(look(scene)->tables->override_count > 1);
	assert_int_not_equal(scene->store_fake.report.geo_digest, digest);
	assert_string_equal(look(scene)->geo->path, "/geo/two.mmdb");
}

/* Sound, but its system has more prefixes than the tables hold: refused at the publish. */
static void an_asn_file_that_does_not_fit_is_refused(void **state)
{
	enum { PREFIXES = 2 * GS_MAX_OVERRIDES + 2 };
	struct gs_geo_key *starts = calloc(PREFIXES, sizeof(*starts));
	uint32_t *asns = calloc(PREFIXES, sizeof(*asns));
	struct gs_asndata many = {.digest = 3,
				  .v4 = {.starts = starts, .asns = asns, .start_count = PREFIXES},
				  .v6 = {.starts = starts, .asns = asns, .start_count = 1}};
	struct scene *scene = *state;

	assert_non_null(starts);
	assert_non_null(asns);
	for (uint32_t i = 0; i < PREFIXES; i++) {
		starts[i].low = i;
		asns[i] = 64500 + i % 2;
	}
	strcpy(scene->settings.asn, "/asn/two.mmdb");
	start_in_peace(scene);
	give(scene, snapshot_of_a_system(9));
	run_until(scene, revision_9);
	scene->geodb_fake.asn = &many;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/many.mmdb"), 0);
	run_until(scene, has_asn_problem);
	assert_non_null(strstr(look(scene)->asn_problem, "override AS64500"));
	assert_string_equal(look(scene)->asn->path, "/asn/two.mmdb");
	assert_int_equal(look(scene)->snapshot->revision, 9);
	scene->geodb_fake.asn = NULL;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/three.mmdb"), 0);
	run_until(scene, asn_three);
	free(starts);
	free(asns);
}

/* Nobody is under the override, which is said; the rest is in force. */
static void without_an_asn_database_the_rest_is_in_force(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	assert_string_equal(missing(scene), "");
	give(scene, snapshot_of_a_system(9));
	run_until(scene, revision_9);
	assert_non_null(strstr(missing(scene), "overrides of systems (1)"));
	assert_int_equal(look(scene)->tables->override_count, 0);
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/two.mmdb"), 0);
	run_until(scene, asn_two);
	assert_string_equal(missing(scene), "");
}

/* As a_warm_edge_keeps_its_geo_tables: a restart with a broken file moves nobody. */
static void a_warm_edge_keeps_its_systems(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	strcpy(scene->settings.asn, "/asn/broken.mmdb");
	scene->geodb_fake.asn_error = -EINVAL;
	scene->dataplane_fake.info.generation = 5;
	start(scene);
	give(scene, snapshot_of_a_system(1));
	run_until(scene, has_publish_problem);
	assert_non_null(strstr(look(scene)->publish_problem, "no ASN database"));
	assert_int_equal(publishes(scene), 0);
	assert_int_equal(look(scene)->snapshot->revision, 1);
	scene->geodb_fake.asn_error = 0;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/two.mmdb"), 0);
	run_until(scene, asn_two);
	assert_int_equal(publishes(scene), 1);
	assert_string_equal(look(scene)->geo->path, "/geo/one.mmdb");
}

/* The same without such an override: the file is nobody's reason to wait. */
static void a_warm_edge_without_systems_goes_on(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.asn, "/asn/broken.mmdb");
	scene->geodb_fake.asn_error = -EINVAL;
	scene->dataplane_fake.info.generation = 5;
	start(scene);
	give(scene, fake_snapshot(9));
	run_until(scene, revision_9);
	assert_int_equal(publishes(scene), 1);
	assert_null(look(scene)->asn);
}

/* A bad snapshot and a good file at the same time: the file comes into force, the other not. */
static void the_guilty_one_is_found_beside_systems(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/one.mmdb");
	start_in_peace(scene);
	pthread_mutex_lock(&scene->dataplane_fake.gate);
	give(scene, fake_snapshot(2)); /* keeps the worker busy */
	give(scene, bad_snapshot(3));
	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/two.mmdb"), 0);
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/two.mmdb"), 0);
	pthread_mutex_unlock(&scene->dataplane_fake.gate);
	run_until(scene, geo_two);
	run_until(scene, asn_two);
	assert_int_equal(look(scene)->snapshot->revision, 2);
}

/* ---- next hops, new maps --------------------------------------------------------------------- */

static bool hop_is_new(struct scene *scene)
{
	return scene->dataplane_fake.hop_mtu == 1400;
}

/* Nobody tells of it. */
static void hops_are_looked_at_again(void **state)
{
	struct scene *scene = *state;

	scene->settings.hops_poll_ms = 50;
	start_in_peace(scene);
	scene->nexthop_fake.mtu = 1400;
	run_until(scene, hop_is_new);
	assert_int_equal(publishes(scene), 1);
}

enum { FAKE_BACKENDS = FAKE_REGIONS * FAKE_PER_REGION };

/* As start_in_peace, without the poll; what is counted of hops begins at 0. */
static void start_told_only(struct scene *scene)
{
	scene->settings.hops_poll_ms = 3600000;
	start_in_peace(scene);
	scene->nexthop_fake.resolves = 0;
	scene->dataplane_fake.hop_sets = 0;
}

static void tell_of_hops(struct scene *scene)
{
	scene->nexthop_fake.events->on_change(scene->nexthop_fake.context, "scripted");
}

static bool all_resolved(struct scene *scene)
{
	return scene->nexthop_fake.resolves >= FAKE_BACKENDS;
}

static void hops_follow_what_is_told(void **state)
{
	struct scene *scene = *state;

	start_told_only(scene);
	scene->nexthop_fake.mtu = 1400;
	tell_of_hops(scene);
	run_until(scene, all_resolved);
	assert_int_equal(scene->dataplane_fake.hop_sets, FAKE_BACKENDS);
	assert_int_equal(scene->dataplane_fake.hop_mtu, 1400);
	assert_int_equal(scene->nexthop_fake.was_ifindex, 1);
	assert_int_equal(publishes(scene), 1);
}

/* ---- paths narrower than the link -------------------------------------------------------------
 */

static void tell_mtu(struct scene *scene, gs_id backend, uint32_t mtu)
{
	scene->dataplane_fake.told[scene->dataplane_fake.told_count++] =
		(struct gs_told){.backend = backend, .mtu = mtu};
}

static bool nothing_is_told(struct scene *scene)
{
	return scene->dataplane_fake.told_count == 0;
}

/* Each is told after the one before; another backend is told the same, and takes its turn after. */
static void a_told_mtu_is_the_hops(void **state)
{
	enum { BACKEND = 1, OTHER = 4 };
	static const struct {
		uint32_t told, want;
	} steps[] = {
		{1500, 0},    /* no less than the link has */
		{1400, 1400}, /* within a turn */
		{1450, 1400}, /* only ever less */
		{1400, 1400}, {900, 900},
		{100, 596}, /* never less than an IPv4 host takes, inside 20 bytes of outer header
			     */
	};
	struct scene *scene = *state;
	const uint32_t *hop = scene->dataplane_fake.hop_told_mtu;

	start_told_only(scene);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		tell_mtu(scene, BACKEND, steps[i].told);
		run_until(scene, nothing_is_told);
		assert_int_equal(hop[BACKEND], steps[i].want);
		assert_int_equal(gs_reconcile_tunnel_mtu(scene->reconcile, BACKEND), steps[i].want);
		assert_int_equal(hop[OTHER], 0);
	}
	/* The walk of all hops keeps it. */
	tell_of_hops(scene);
	run_until(scene, all_resolved);
	assert_int_equal(hop[BACKEND], 596);
	assert_int_equal(publishes(scene), 1);
	tell_mtu(scene, GS_MAX_BACKENDS - 1, 1400); /* long gone */
	run_until(scene, nothing_is_told);
	assert_int_equal(hop[GS_MAX_BACKENDS - 1], 0);
}

static bool is_told_of_first(struct scene *scene)
{
	return scene->dataplane_fake.hop_told_mtu[1] != 0;
}

static bool is_forgotten(struct scene *scene)
{
	return scene->dataplane_fake.hop_told_mtu[1] == 0;
}

static void a_told_mtu_grows_old(void **state)
{
	struct scene *scene = *state;

	scene->settings.tunnel_keeps_ms = 300;
	start_told_only(scene);
	tell_mtu(scene, 1, 1400);
	run_until(scene, is_told_of_first);
	run_until(scene, is_forgotten);
	assert_int_equal(gs_reconcile_tunnel_mtu(scene->reconcile, 1), 0);
}

static void another_route_forgets_what_was_told(void **state)
{
	struct scene *scene = *state;

	start_told_only(scene);
	tell_mtu(scene, 1, 1400);
	run_until(scene, is_told_of_first);
	scene->nexthop_fake.mtu = 1480; /* of the route by now */
	tell_of_hops(scene);
	run_until(scene, is_forgotten);
	assert_int_equal(scene->dataplane_fake.hop_mtu, 1480);
}

static bool has_second_revision(struct scene *scene)
{
	return gs_reconcile_look(scene->reconcile)->snapshot->revision == 2;
}

/* Several services at one address have one path; what has to fit in differs. */
static void an_address_is_told_of_once(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(2);
	const uint32_t *hop = scene->dataplane_fake.hop_told_mtu;

	/* ids 1, 3, 5: one in each region */
	snapshot->backends[2].addr = snapshot->backends[0].addr;
	snapshot->backends[2].forward = GS_FORWARD_AS_GUE;
	snapshot->backends[4].addr = snapshot->backends[0].addr;
	snapshot->backends[4].forward = GS_FORWARD_AS_L2;
	start_told_only(scene);
	give(scene, snapshot);
	run_until(scene, has_second_revision);
	tell_mtu(scene, 3, 600);
	run_until(scene, nothing_is_told);
	assert_int_equal(hop[1], 600);
	assert_int_equal(hop[3], 604); /* 576 inside IPv4 and UDP */
	assert_int_equal(hop[5], 0);
}

static void what_is_no_way_takes_hops_along(void **state)
{
	static const struct {
		int error;
		uint32_t want_sets, want_mtu;
	} cases[] = {
		{-ENETDOWN, FAKE_BACKENDS, 0},
		{0, FAKE_BACKENDS, 1500},
		{-ENETUNREACH, FAKE_BACKENDS, 0},
		{0, FAKE_BACKENDS, 1500},
		{-EHOSTUNREACH, FAKE_BACKENDS, 0},
		{0, FAKE_BACKENDS, 1500},
		{-EAGAIN, 0, 1500}, /* the asking failed: what is known is kept */
		{-ENOBUFS, 0, 1500},
		{-EPROTO, 0, 1500},
	};
	struct scene *scene = *state;

	start_told_only(scene);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		scene->nexthop_fake.error = cases[i].error;
		scene->nexthop_fake.resolves = 0;
		scene->dataplane_fake.hop_sets = 0;
		tell_of_hops(scene);
		run_until(scene, all_resolved);
		assert_int_equal(scene->dataplane_fake.hop_sets, cases[i].want_sets);
		assert_int_equal(scene->dataplane_fake.hop_mtu, cases[i].want_mtu);
	}
}

static bool resolved_twice(struct scene *scene)
{
	return scene->nexthop_fake.resolves >= 2 * FAKE_BACKENDS;
}

static void a_storm_of_changes_is_one_walk(void **state)
{
	struct scene *scene = *state;

	start_told_only(scene);
	for (int i = 0; i < 10000; i++)
		tell_of_hops(scene);
	run_until(scene, all_resolved);
	for (int i = 0; i < 10000; i++)
		tell_of_hops(scene);
	run_until(scene, resolved_twice);
	assert_int_equal(scene->nexthop_fake.resolves, 2 * FAKE_BACKENDS);
}

static bool some_resolved(struct scene *scene)
{
	return scene->nexthop_fake.resolves > 0;
}

/* Slow answers: the loop does other things in between, and a change begins a whole new round. */
static void a_long_walk_takes_turns(void **state)
{
	struct scene *scene = *state;
	uint32_t before;

	start_told_only(scene);
	scene->nexthop_fake.spend_us = 2000;
	tell_of_hops(scene);
	run_until(scene, some_resolved);
	before = scene->nexthop_fake.resolves;
	assert_in_range(before, 1, FAKE_BACKENDS - 1);
	for (int i = 0; i < 10000; i++)
		tell_of_hops(scene);
	assert_int_equal(scene->nexthop_fake.resolves, before);
	scene->nexthop_fake.resolves = 0;
	run_until(scene, all_resolved);
	assert_int_equal(scene->nexthop_fake.resolves, FAKE_BACKENDS);
}

static bool is_built_again(struct scene *scene)
{
	return publishes(scene) == 2;
}

/* At once where it may be, and again when the build has brought the hops it was begun with. */
static void hops_follow_during_a_build(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *moved = fake_snapshot(2);

	start_told_only(scene);
	moved->backends[0].addr = gs_addr_from_v4(0xc0000263);
	pthread_mutex_lock(&scene->dataplane_fake.gate);
	give(scene, moved);
	run_until(scene, is_built_again);
	assert_int_equal(scene->nexthop_fake.resolves, 1); /* the others are known */
	scene->nexthop_fake.mtu = 1400;
	tell_of_hops(scene);
	run_until(scene, all_resolved);
	/* Not the one whose address the build is about to replace. */
	assert_int_equal(scene->dataplane_fake.hop_sets, FAKE_BACKENDS - 1);
	pthread_mutex_unlock(&scene->dataplane_fake.gate);
	run_until(scene, resolved_twice);
	assert_int_equal(scene->dataplane_fake.last_revision, 2);
	assert_int_equal(scene->dataplane_fake.hop_sets, 2 * FAKE_BACKENDS - 1);
}

static bool is_published_again(struct scene *scene)
{
	return publishes(scene) == 2 && is_idle(scene);
}

static void new_maps_are_filled_again(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	scene->dataplane_fake.heartbeat_result = -ESTALE;
	run_until(scene, is_published_again);
	assert_int_equal(scene->reopens, 1);
	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		assert_int_equal(region_word(scene, r), GS_USABLE_UP);
		assert_int_equal(pool_word(scene, r).state, GS_USABLE_UP);
	}
}

static bool a_publish_failed(struct scene *scene)
{
	return publishes(scene) == 2 && has_publish_problem(scene);
}

static bool maps_are_full(struct scene *scene)
{
	return scene->dataplane_fake.info.generation != 0 && is_idle(scene);
}

/* Neither a failure nor a snapshot that cannot be built makes it forget that the maps are empty. */
static void new_maps_are_filled_in_the_end(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	scene->dataplane_fake.publish_error = -EIO;
	scene->dataplane_fake.heartbeat_result = -ESTALE;
	run_until(scene, a_publish_failed);
	give(scene, bad_snapshot(2));
	scene->dataplane_fake.publish_error = 0;
	run_until(scene, maps_are_full);
	assert_int_equal(scene->dataplane_fake.last_revision, 1);
}

static bool second_is_in_force(struct scene *scene)
{
	return scene->dataplane_fake.last_revision == 2 && is_idle(scene);
}

/* Its word was up under another address: that says nothing about this one. */
static void a_moved_backend_answers_first(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *moved = fake_snapshot(2);
	gs_id id = fake_backend(FAKE_EU, 0);

	start_in_peace(scene);
	moved->backends[id - 1].addr = gs_addr_from_v4(0xc0000263);
	assert_int_equal(moved->backends[id - 1].id, id);
	scene->prober_fake.backend[id].answer.class = GS_PROBE_TIMEOUT;
	give(scene, moved);
	run_until(scene, second_is_in_force);
	assert_int_equal(scene->dataplane_fake.published_backend[id], GS_USABLE_DOWN);
	assert_int_equal(scene->dataplane_fake.published_backend[fake_backend(FAKE_EU, 1)],
			 GS_USABLE_UP);
}

static bool is_asked_at_81(struct scene *scene)
{
	return scene->prober_fake.backend[fake_backend(FAKE_EU, 0)].last_target.port == 81;
}

/* Where NAT sends to, unless the service says where to ask. */
static void probes_go_where_a_backend_listens(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(1);
	gs_id nat = fake_backend(FAKE_EU, 0), plain = fake_backend(FAKE_EU, 1);

	snapshot->backends[nat - 1].forward = GS_FORWARD_AS_NAT;
	snapshot->backends[nat - 1].port = 8080;
	snapshot->services[0].probe.port = 0;
	start(scene);
	give(scene, snapshot);
	run_until(scene, all_known);
	assert_int_equal(scene->prober_fake.backend[nat].last_target.port, 8080);
	assert_int_equal(scene->prober_fake.backend[plain].last_target.port,
			 snapshot->services[0].port);
	snapshot = fake_snapshot(2);
	snapshot->backends[nat - 1].forward = GS_FORWARD_AS_NAT;
	snapshot->backends[nat - 1].port = 8080;
	snapshot->services[0].probe.port = 81;
	give(scene, snapshot);
	run_until(scene, is_asked_at_81);
}

static bool is_heard_of(struct scene *scene)
{
	struct gs_probe_trip trips[GS_ID_MAX_REGION];

	return gs_probe_trips_look(look(scene)->probe_trips, look(scene)->snapshot,
				   gs_loop_now_ms(scene->loop), trips) > 0;
}

/* Of probes that tell it, and succeed. */
static void round_trips_of_probes_are_kept(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_trip trips[GS_ID_MAX_REGION];

	scene->prober_fake.backend[fake_backend(FAKE_US, 1)].rtt_us = 4321;
	scene->prober_fake.backend[fake_backend(FAKE_EU, 1)].rtt_us = 1;
	answer(scene, FAKE_EU, GS_PROBE_REFUSED);
	start(scene);
	give(scene, fake_snapshot(1));
	run_until(scene, all_known);
	run_until(scene, is_heard_of);
	assert_int_equal(gs_probe_trips_look(look(scene)->probe_trips, look(scene)->snapshot,
					     gs_loop_now_ms(scene->loop), trips),
			 1);
	assert_int_equal(trips[0].region, FAKE_US);
	assert_int_equal(trips[0].us, 4321);
}

/* Seconds may pass until a large file is read: states are followed meanwhile. */
static void a_restart_steers_while_geoip_is_read(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->settings.geoip, "/geo/good.mmdb");
	scene->dataplane_fake.info.generation = 5;
	start(scene);
	give(scene, fake_snapshot(1)); /* the loop has not run: nothing is loaded yet */
	assert_non_null(look(scene)->snapshot);
	assert_null(look(scene)->tables);
	assert_int_equal(region_word(scene, FAKE_EU), GS_USABLE_UP);
	run_until(scene, all_known);
	assert_int_equal(publishes(scene), 1);
	assert_non_null(scene->dataplane_fake.last_geo);
}

static void refused_rows_are_told(void **state)
{
	struct scene *scene = *state;

	start_in_peace(scene);
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "services[0]: x");
	assert_true(look(scene)->connected);
	assert_string_equal(look(scene)->connection_why, "services[0]: x");
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	assert_string_equal(look(scene)->connection_why, "");
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(a_snapshot_is_published),
		SCENE(the_newest_snapshot_wins),
		SCENE(a_snapshot_that_cannot_be_built_changes_nothing),
		SCENE(a_publish_that_fails_is_tried_again_later),
		SCENE(a_region_dies_by_words),
		SCENE(failover_waits_for_nobody),
		SCENE(an_operator_drains_a_region),
		SCENE(new_backends_are_ready_at_the_flip),
		SCENE(a_region_of_unknown_backends_is_left_before_the_flip),
		SCENE(words_ahead_are_taken_back_if_it_fails),
		SCENE(the_only_region_is_replaced),
		SCENE(the_only_region_is_drained_for_a_new_one),
		SCENE(the_only_backends_are_drained_for_new_ones),
		SCENE(a_pool_is_not_raised_onto_backends_nobody_knows),
		SCENE(a_drain_ends_at_its_deadline),
		SCENE(a_backends_drain_ends_at_its_deadline),
		SCENE(a_drain_that_is_over_stays_so_after_a_restart),
		SCENE(an_overlay_expires_without_the_database),
		SCENE(what_one_edge_says_holds_there),
		SCENE(what_one_edge_says_is_superseded),
		SCENE(nothing_is_healthy),
		SCENE(nothing_is_healthy_or_reachable),
		SCENE(a_restart_does_not_flap),
		SCENE(a_region_comes_back_by_trials),
		SCENE(forces_hold_whoever_is_left),
		SCENE(generations_and_plans_are_told),
		SCENE(the_last_good_file_serves_while_the_database_is_away),
		SCENE(without_a_snapshot_nothing_is_touched),
		SCENE(a_broken_last_good_file_is_refused),
		SCENE(geoip_is_loaded_before_the_first_publish),
		SCENE(a_broken_geoip_file_leaves_the_one_in_force),
		SCENE(a_reload_waits_for_the_load_under_way),
		SCENE(an_empty_edge_starts_without_geoip),
		SCENE(a_warm_edge_keeps_its_geo_tables),
		SCENE(a_bad_first_snapshot_costs_no_geoip),
		SCENE(both_files_are_there_before_the_first_publish),
		SCENE(a_broken_asn_file_leaves_the_one_in_force),
		SCENE(an_asn_file_that_does_not_fit_is_refused),
		SCENE(without_an_asn_database_the_rest_is_in_force),
		SCENE(a_warm_edge_keeps_its_systems),
		SCENE(a_warm_edge_without_systems_goes_on),
		SCENE(the_guilty_one_is_found_beside_systems),
		SCENE(the_guilty_one_is_found),
		SCENE(hops_are_looked_at_again),
		SCENE(hops_follow_what_is_told),
		SCENE(a_told_mtu_is_the_hops),
		SCENE(a_told_mtu_grows_old),
		SCENE(another_route_forgets_what_was_told),
		SCENE(an_address_is_told_of_once),
		SCENE(what_is_no_way_takes_hops_along),
		SCENE(a_storm_of_changes_is_one_walk),
		SCENE(a_long_walk_takes_turns),
		SCENE(hops_follow_during_a_build),
		SCENE(new_maps_are_filled_again),
		SCENE(new_maps_are_filled_in_the_end),
		SCENE(a_moved_backend_answers_first),
		SCENE(probes_go_where_a_backend_listens),
		SCENE(round_trips_of_probes_are_kept),
		SCENE(a_restart_steers_while_geoip_is_read),
		SCENE(a_database_that_moves_too_much_stays_out),
		SCENE(a_reload_is_held_to_the_limit),
		SCENE(a_snapshot_passes_a_refused_database),
		SCENE(a_dry_run_leaves_all_as_it_was),
		SCENE(the_first_database_has_no_limit),
		SCENE(a_rollback_goes_back_and_forth),
		SCENE(a_load_is_seen_and_can_be_cancelled),
		SCENE(an_end_waits_for_no_load),
		SCENE(refused_rows_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
