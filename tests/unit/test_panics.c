/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services that ignore health, down to the words: all down under each policy, inside regions and
 * never across them; what is never let in; and that no fence is crossed, with the real planner.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/app/panic.h"
#include "user/app/tables.h"
#include "user/app/usable.h"
#include "user/base/cleanup.h"
#include "user/base/loop.h"
#include "user/core/fence.h"
#include "user/core/plan.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum { REGIONS = 3, EACH = 2, BACKENDS = REGIONS * EACH };

/* One service, "web", in regions 1 to 3; backend ids are region * 10 and the next one. */
struct scene {
	struct gs_region regions[REGIONS];
	struct gs_service service;
	struct gs_backend backends[BACKENDS];
	struct gs_snapshot snapshot;
	enum gs_health_state health[GS_MAX_BACKENDS];
	bool unreachable[GS_MAX_BACKENDS];
	struct gs_panics *panics;
	struct gs_usable_view *view;
	uint64_t now_ms;
};

static enum gs_health_state get_health(void *context, gs_id backend)
{
	const struct scene *scene = context;

	return scene->health[backend];
}

static bool is_unreachable(void *context, gs_id backend)
{
	const struct scene *scene = context;

	return scene->unreachable[backend];
}

static struct scene *scene_new(void)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->service.id = 1;
	strcpy(scene->service.name, "web");
	gs_service_spec_default(&scene->service);
	for (gs_id r = 1; r <= REGIONS; r++) {
		scene->regions[r - 1].id = r;
		for (gs_id b = 0; b < EACH; b++) {
			gs_id id = (gs_id)(r * 10 + b);

			scene->backends[(r - 1) * EACH + b] = (struct gs_backend){
				.id = id, .service = 1, .region = r, .weight = 10};
			scene->health[id] = GS_HEALTH_UP;
		}
	}
	strcpy(scene->regions[1].name, "us");
	scene->snapshot = (struct gs_snapshot){.region_count = REGIONS,
					       .service_count = 1,
					       .backend_count = BACKENDS,
					       .regions = scene->regions,
					       .services = &scene->service,
					       .backends = scene->backends};
	scene->panics = gs_panics_new();
	assert_non_null(scene->panics);
	scene->now_ms = 1000;
	return scene;
}

static void scene_free(struct scene *scene)
{
	gs_usable_view_free(scene->view);
	gs_panics_free(scene->panics);
	free(scene);
}

static void judge(struct scene *scene)
{
	const struct gs_usable_health health = {.get = get_health,
						.is_unreachable = is_unreachable,
						.context = scene,
						.panics = scene->panics,
						.steps = true,
						.now_ms = scene->now_ms};

	gs_usable_view_free(scene->view);
	scene->view = NULL;
	assert_int_equal(gs_usable_view_new(&scene->snapshot, &health, &scene->view), 0);
}

/* Which backends take new flows: "10 11 20". */
static const char *serving(const struct scene *scene, char out[64])
{
	size_t length = 0;

	out[0] = '\0';
	for (int i = 0; i < BACKENDS; i++) {
		const struct gs_backend *backend = &scene->backends[i];
		const struct gs_usable_pool *pool =
			gs_usable_view_pool(scene->view, 1, backend->region);

		if (scene->view->backends[backend->id].state == GS_USABLE_UP &&
		    pool->word.state == GS_USABLE_UP &&
		    scene->view->regions[backend->region].state == GS_USABLE_UP)
			length += (size_t)snprintf(out + length, 64 - length, "%s%u",
						   length ? " " : "", backend->id);
	}
	return out;
}

static void expect(const struct scene *scene, const char *name, const char *want)
{
	char text[64];

	if (strcmp(serving(scene, text), want) != 0)
		fail_msg("%s: '%s' serves instead of '%s'", name, text, want);
}

static void all(struct scene *scene, enum gs_health_state state)
{
	for (int i = 0; i < BACKENDS; i++)
		scene->health[scene->backends[i].id] = state;
}

/* ---- all down, four policies ----------------------------------------------------------------- */

static void all_down(void **state)
{
	static const struct {
		const char *name;
		enum gs_all_down kind;
		gs_id region;
		const char *want, *want_text;
	} rows[] = {
		{"serve any", GS_ALL_DOWN_SERVES_ANY, 0, "10 11 20 21 30 31",
		 "all down: health is ignored"},
		/* Region 3 has been down for long; of the others it cannot be told what is wrong.
		 */
		{"last good", GS_ALL_DOWN_SERVES_LAST_GOOD, 0, "10 11 20 21",
		 "all down: what was healthy last serves"},
		{"fixed", GS_ALL_DOWN_SERVES_FIXED, 2, "20 21", "all down: region us serves"},
		{"fail closed", GS_ALL_DOWN_FAILS_CLOSED, 0, "",
		 "all down: packets are dropped, as the service wants it"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene *scene = scene_new();
		struct gs_panic_status status;
		char text[GS_PANIC_TEXT_MAX];

		scene->service.panic.all_down = rows[i].kind;
		scene->service.panic.region = rows[i].region;
		judge(scene);
		expect(scene, rows[i].name, "10 11 20 21 30 31");
		scene->health[30] = scene->health[31] = GS_HEALTH_DOWN;
		judge(scene);
		expect(scene, "a region is left", "10 11 20 21");
		scene->now_ms += 60000;
		scene->health[10] = scene->health[11] = GS_HEALTH_DOWN;
		judge(scene);
		expect(scene, "the next one is left", "20 21");
		scene->now_ms += 900;
		scene->health[20] = scene->health[21] = GS_HEALTH_DOWN;
		judge(scene);
		expect(scene, rows[i].name, rows[i].want);
		status = gs_panics_get(scene->panics, 1);
		assert_int_equal(status.mode, GS_PANIC_ALL_DOWN);
		assert_int_equal(status.entered, 1);
		assert_string_equal(gs_panic_text(&scene->snapshot, &scene->service, &status, text),
				    rows[i].want_text);
		/* It stays so, however long. */
		scene->now_ms += 3600000;
		judge(scene);
		expect(scene, "an hour later", rows[i].want);
		/* Whoever comes back is served from, and from nowhere else, at once. */
		scene->health[31] = GS_HEALTH_UP;
		judge(scene);
		expect(scene, "one is back", "30 31");
		scene->health[30] = GS_HEALTH_UP;
		judge(scene);
		scene->now_ms += GS_PANIC_HOLD_MS;
		judge(scene);
		assert_int_equal(gs_panics_get(scene->panics, 1).mode, GS_PANIC_CALM);
		expect(scene, "its region is back", "30 31");
		scene_free(scene);
	}
}

/* Nothing was ever seen healthy: the last good is not known. */
static void last_good_of_nothing(void **state)
{
	struct scene *scene = scene_new();
	(void)state;

	scene->service.panic.all_down = GS_ALL_DOWN_SERVES_LAST_GOOD;
	all(scene, GS_HEALTH_UNKNOWN);
	judge(scene);
	expect(scene, "nobody knows yet", "10 11 20 21 30 31");
	assert_int_equal(gs_panics_get(scene->panics, 1).mode, GS_PANIC_CALM);
	all(scene, GS_HEALTH_DOWN);
	scene->health[10] = GS_HEALTH_UNKNOWN;
	judge(scene);
	expect(scene, "one may be up", "10");
	all(scene, GS_HEALTH_DOWN);
	judge(scene);
	expect(scene, "none is", "10 11 20 21 30 31");
	scene_free(scene);
}

/* ---- inside regions -------------------------------------------------------------------------- */

static void inside_regions(void **state)
{
	struct scene *scene = scene_new();
	char text[GS_PANIC_TEXT_MAX];
	struct gs_panic_status status;
	(void)state;

	/* Half of one region is all there is: the other half helps, no other region does. */
	all(scene, GS_HEALTH_DOWN);
	scene->health[20] = GS_HEALTH_SUSPECT;
	judge(scene);
	expect(scene, "panic", "20 21");
	status = gs_panics_get(scene->panics, 1);
	assert_string_equal(gs_panic_text(&scene->snapshot, &scene->service, &status, text),
			    "panic: 16 % of it is healthy, in 1 of 3 regions: health is ignored "
			    "inside those");
	/* Never: only what is healthy. */
	scene->service.panic.percent = 0;
	judge(scene);
	expect(scene, "never", "20");
	scene_free(scene);
}

/* A region that is whole takes everybody: nothing else is let in, however few that is. */
static void a_region_is_left(void **state)
{
	struct scene *scene = scene_new();
	(void)state;

	scene->service.panic.percent = 100;
	for (int i = 0; i < 4; i++)
		scene->health[scene->backends[i].id] = GS_HEALTH_DOWN;
	judge(scene);
	expect(scene, "one of three", "30 31");
	assert_int_equal(gs_panics_get(scene->panics, 1).mode, GS_PANIC_CALM);
	scene_free(scene);
}

/* ---- what is never let in -------------------------------------------------------------------- */

static void never_let_in(void **state)
{
	struct scene *scene = scene_new();
	struct gs_overlay overlays[] = {{.region = 2, .service = 1, .admin = GS_ADMIN_DRAIN},
					{.backend = 31, .admin = GS_ADMIN_MAINTENANCE}};
	(void)state;

	all(scene, GS_HEALTH_DOWN);
	scene->regions[0].admin = GS_ADMIN_DRAIN;
	scene->snapshot.overlays = overlays;
	scene->snapshot.overlay_count = 2;
	judge(scene);
	expect(scene, "drained, in maintenance", "30");
	scene->unreachable[30] = true;
	judge(scene);
	expect(scene, "no way there", "");
	/* What operators have out has no weight either: the rest is well. */
	scene->unreachable[30] = false;
	scene->health[30] = GS_HEALTH_UP;
	judge(scene);
	assert_int_equal(gs_panics_get(scene->panics, 1).mode, GS_PANIC_CALM);
	assert_int_equal(gs_panics_get(scene->panics, 1).tally.weight, 10);
	scene_free(scene);
}

/* Forced up: health is ignored there and nowhere else, but not that there is no way. */
static void forced_up(void **state)
{
	static const struct {
		const char *name;
		struct gs_overlay overlay;
		const char *want, *want_unreachable; /* 10 and 20 are */
	} rows[] = {
		{"a region", {.region = 1}, "10 11", "11"},
		{"a pool", {.region = 2, .service = 1}, "20 21", "21"},
		{"a backend", {.backend = 10}, "10", ""},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene *scene = scene_new();
		struct gs_overlay overlay = rows[i].overlay;

		overlay.admin = GS_ADMIN_FORCE_UP;
		scene->snapshot.overlays = &overlay;
		scene->snapshot.overlay_count = 1;
		scene->service.panic.all_down = GS_ALL_DOWN_FAILS_CLOSED;
		scene->service.panic.percent = 0;
		all(scene, GS_HEALTH_DOWN);
		judge(scene);
		expect(scene, rows[i].name, rows[i].want);
		scene->unreachable[10] = scene->unreachable[20] = true;
		judge(scene);
		expect(scene, rows[i].name, rows[i].want_unreachable);
		scene_free(scene);
	}
}

/* ---- properties ------------------------------------------------------------------------------ */

static const enum gs_health_state STATES[] = {GS_HEALTH_UP, GS_HEALTH_DOWN, GS_HEALTH_DOWN,
					      GS_HEALTH_RECOVERING};

/* Does any of the region's backends that operators let in have `wanted` health? */
static bool region_has(const struct scene *scene, gs_id region, bool wanted)
{
	for (int i = 0; i < BACKENDS; i++) {
		const struct gs_backend *backend = &scene->backends[i];
		bool is_healthy = scene->health[backend->id] == GS_HEALTH_UP;

		if (backend->region == region && is_healthy == wanted &&
		    gs_usable_takes_new(scene->view, backend))
			return true;
	}
	return false;
}

/*
 * A random hour of a service: a region without a healthy backend is left while another has one; a
 * healthy backend is never kept out; what operators have out is never let in.
 */
static void failover_is_never_blocked(void **state)
{
	uint64_t seed = gs_now_us();
	struct scene *scene = scene_new();
	(void)state;

	print_message("seed %lu\n", (unsigned long)seed);
	for (int round = 0; round < 400; round++) {
		gs_id id = scene->backends[world_draw(&seed) % BACKENDS].id;
		bool any = false;

		scene->now_ms += world_draw(&seed) % 5000;
		scene->health[id] = STATES[world_draw(&seed) % ARRAY_SIZE(STATES)];
		if (world_draw(&seed) % 16 == 0)
			scene->regions[world_draw(&seed) % REGIONS].admin =
				world_draw(&seed) % 2 ? GS_ADMIN_DRAIN : GS_ADMIN_AUTO;
		scene->service.panic.percent = (uint8_t)(world_draw(&seed) % 101);
		scene->service.panic.all_down =
			(enum gs_all_down)(world_draw(&seed) % GS_ALL_DOWN__COUNT);
		scene->service.panic.region =
			scene->service.panic.all_down == GS_ALL_DOWN_SERVES_FIXED ? 2 : 0;
		judge(scene);
		for (gs_id r = 1; r <= REGIONS; r++)
			any = any || region_has(scene, r, true);
		for (gs_id r = 1; r <= REGIONS; r++) {
			bool is_up = scene->view->regions[r].state == GS_USABLE_UP;

			assert_true(!is_up || scene->regions[r - 1].admin == GS_ADMIN_AUTO);
			if (any)
				assert_int_equal(is_up, region_has(scene, r, true));
		}
	}
	scene_free(scene);
}

static void draw_health(struct scene *scene, const struct world *world, uint64_t *seed)
{
	uint64_t most = world_draw(seed) % 8; /* mostly down, sometimes wholly */

	for (uint32_t i = 0; i < world->snapshot.backend_count; i++) {
		gs_id id = world->snapshot.backends[i].id;

		scene->health[id] = world_draw(seed) % 8 < most ? GS_HEALTH_UP : GS_HEALTH_DOWN;
		scene->unreachable[id] = world_draw(seed) % 16 == 0;
	}
}

/* Where the packet goes, or 0: the planner's plan, the words, the draw. */
static gs_id decide(const struct gs_tables *tables, const struct gs_usable_view *view,
		    const struct gs_service *service, const struct gs_addr *client)
{
	const struct gs_plan *plan =
		gs_tables_plan(tables, service->id, gs_tables_locate(tables, client, NULL, NULL));
	bool usable[GS_PLAN_REGIONS] = {false};
	int picked;

	for (int i = 0; plan && i < plan->count; i++) {
		const struct gs_usable_pool *pool =
			gs_usable_view_pool(view, service->id, plan->region[i]);

		usable[i] = view->regions[plan->region[i]].state == GS_USABLE_UP && pool &&
			    pool->word.state == GS_USABLE_UP;
	}
	picked = plan ? gs_plan_pick(plan, usable, gs_tables_draw(tables, service, client)) : -1;
	return picked < 0 ? 0 : plan->region[picked];
}

/* Worlds where everybody may be served in some regions only, with health as bad as can be. */
static void no_fence_is_crossed(void **state)
{
	uint64_t seed = gs_now_us();
	uint32_t inside = 0;
	(void)state;

	print_message("seed %lu\n", (unsigned long)seed);
	for (int round = 0; round < 10; round++) {
		struct world *world = world_new(seed + (uint64_t)round);
		struct gs_snapshot *snapshot = &world->snapshot;
		struct gs_fence fence = {.place.kind = GS_PLACE_EVERYBODY};
		struct scene *scene = scene_new();
		struct gs_tables *tables = NULL;
		struct gs_usable_health health = {.get = get_health,
						  .is_unreachable = is_unreachable,
						  .context = scene,
						  .panics = scene->panics,
						  .steps = true};
		struct gs_error error;

		for (uint32_t i = 0; i < snapshot->region_count && i < 2; i++)
			fence.regions[fence.region_count++] = snapshot->regions[i].id;
		snapshot->fences = &fence;
		snapshot->fence_count = 1;
		for (uint32_t i = 0; i < snapshot->service_count; i++) {
			struct gs_panic_spec *panic = &snapshot->services[i].panic;

			panic->percent = 100;
			panic->all_down =
				(enum gs_all_down)(world_draw(&seed) % GS_ALL_DOWN__COUNT);
			/* A fixed region that is outside. */
			panic->region = panic->all_down == GS_ALL_DOWN_SERVES_FIXED
						? snapshot->regions[snapshot->region_count - 1].id
						: 0;
		}
		assert_int_equal(gs_tables_build(snapshot, &world->geo, &tables, &error), 0);
		for (int step = 0; step < 20; step++) {
			struct gs_usable_view *view = NULL;

			draw_health(scene, world, &seed);
			health.now_ms += 1000;
			assert_int_equal(gs_usable_view_new(snapshot, &health, &view), 0);
			for (int packet = 0; packet < 50; packet++) {
				const struct gs_service *service =
					&snapshot->services[world_draw(&seed) %
							    snapshot->service_count];
				struct gs_addr client = world_client(world, &seed);
				gs_id region = decide(tables, view, service, &client);

				assert_true(region == 0 || region == fence.regions[0] ||
					    region == fence.regions[1]);
				inside += region != 0;
			}
			gs_usable_view_free(view);
		}
		gs_tables_free(tables);
		snapshot->fences = NULL;
		snapshot->fence_count = 0;
		scene_free(scene);
		world_free(world);
	}
	assert_true(inside > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_down),
		cmocka_unit_test(last_good_of_nothing),
		cmocka_unit_test(inside_regions),
		cmocka_unit_test(a_region_is_left),
		cmocka_unit_test(never_let_in),
		cmocka_unit_test(forced_up),
		cmocka_unit_test(no_fence_is_crossed),
		cmocka_unit_test(failover_is_never_blocked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
