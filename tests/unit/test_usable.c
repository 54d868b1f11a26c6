/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is eligible: a table of health x admin states. And the order of writing: between two views
 * of a random world, no packet finds less than both views offer, after any single write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/world.h"
#include "user/app/snapshot_io.h"
#include "user/app/usable.h"
#include "user/base/cleanup.h"
#include "user/base/loop.h"
#include "user/core/plan.h"

#include <string.h>

struct healths {
	enum gs_health_state of[GS_MAX_BACKENDS];
};

static enum gs_health_state get_health(void *context, gs_id backend)
{
	const struct healths *healths = context;

	return healths->of[backend];
}

static struct gs_usable_view *view_of(const struct gs_snapshot *snapshot, struct healths *healths)
{
	const struct gs_usable_health health = {.get = get_health, .context = healths};
	struct gs_usable_view *view = NULL;

	assert_int_equal(gs_usable_view_new(snapshot, &health, &view), 0);
	return view;
}

/* ---- the rules: two backends of one service in region 1, one in region 2 --------------------- */

#define D GS_USABLE_DOWN
#define R GS_USABLE_DRAIN
#define U GS_USABLE_UP

struct one {
	enum gs_health_state health;
	enum gs_admin admin;
};

static const struct {
	const char *name;
	struct one backend[3];
	enum gs_admin region[2];
	uint16_t want_backend[3], want_pool[2], want_region[2];
	gs_id want_fallback[2];
} RULES[] = {
	{"all up",
	 {{GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {U, U, U},
	 {U, U},
	 {U, U},
	 {1, 3}},
	{"suspect is up, recovering is down",
	 {{GS_HEALTH_SUSPECT, 0}, {GS_HEALTH_RECOVERING, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {U, D, U},
	 {U, U},
	 {U, U},
	 {1, 3}},
	{"the fallback is one that is up",
	 {{GS_HEALTH_DOWN, 0}, {GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {D, U, U},
	 {U, U},
	 {U, U},
	 {2, 3}},
	{"a region whose backends are all down",
	 {{GS_HEALTH_DOWN, 0}, {GS_HEALTH_DOWN, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {D, D, U},
	 {D, U},
	 {D, U},
	 {0, 3}},
	{"unknown is not eligible while anything is up",
	 {{GS_HEALTH_UNKNOWN, 0}, {GS_HEALTH_UNKNOWN, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {D, D, U},
	 {D, U},
	 {D, U},
	 {0, 3}},
	{"unknown is better than nothing",
	 {{GS_HEALTH_UNKNOWN, 0}, {GS_HEALTH_DOWN, 0}, {GS_HEALTH_UNKNOWN, 0}},
	 {0, 0},
	 {U, D, U},
	 {U, U},
	 {U, U},
	 {1, 3}},
	{"forced up, whatever the probes say",
	 {{GS_HEALTH_DOWN, GS_ADMIN_FORCE_UP}, {GS_HEALTH_DOWN, 0}, {GS_HEALTH_DOWN, 0}},
	 {0, 0},
	 {U, D, D},
	 {U, D},
	 {U, D},
	 {1, 0}},
	{"forced down and in maintenance, whatever the probes say",
	 {{GS_HEALTH_UP, GS_ADMIN_FORCE_DOWN},
	  {GS_HEALTH_UP, GS_ADMIN_MAINTENANCE},
	  {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {D, D, U},
	 {D, U},
	 {D, U},
	 {0, 3}},
	{"draining keeps what it has",
	 {{GS_HEALTH_UP, GS_ADMIN_DRAIN}, {GS_HEALTH_DOWN, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {R, D, U},
	 {R, U},
	 {R, U},
	 {0, 3}},
	{"draining and dead is dead",
	 {{GS_HEALTH_DOWN, GS_ADMIN_DRAIN}, {GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}},
	 {0, 0},
	 {D, U, U},
	 {U, U},
	 {U, U},
	 {2, 3}},
	{"a region drains or is down by an operator",
	 {{GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}, {GS_HEALTH_UP, 0}},
	 {GS_ADMIN_DRAIN, GS_ADMIN_MAINTENANCE},
	 {U, U, U},
	 {U, U},
	 {R, D},
	 {1, 3}},
	{"a dead region does not drain",
	 {{GS_HEALTH_DOWN, 0}, {GS_HEALTH_DOWN, 0}, {GS_HEALTH_UP, 0}},
	 {GS_ADMIN_DRAIN, GS_ADMIN_FORCE_DOWN},
	 {D, D, U},
	 {D, U},
	 {D, D},
	 {0, 3}},
};

#undef D
#undef R
#undef U

static void eligibility(void **state)
{
	static struct healths healths;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(RULES); i++) {
		struct gs_region regions[] = {{.id = 1, .admin = RULES[i].region[0]},
					      {.id = 2, .admin = RULES[i].region[1]}};
		struct gs_service service = {.id = 5};
		struct gs_backend backends[3];
		struct gs_snapshot snapshot = {.region_count = 2,
					       .service_count = 1,
					       .backend_count = 3,
					       .regions = regions,
					       .services = &service,
					       .backends = backends};
		struct gs_usable_view *view;

		for (gs_id b = 0; b < 3; b++) {
			backends[b] = (struct gs_backend){.id = (gs_id)(b + 1),
							  .service = 5,
							  .region = b < 2 ? 1 : 2,
							  .admin = RULES[i].backend[b].admin};
			healths.of[b + 1] = RULES[i].backend[b].health;
		}
		view = view_of(&snapshot, &healths);
		for (gs_id b = 0; b < 3; b++)
			if (view->backends[b + 1].state != RULES[i].want_backend[b])
				fail_msg("%s: backend %d is %s", RULES[i].name, b + 1,
					 gs_usable_name(view->backends[b + 1]));
		for (gs_id r = 0; r < 2; r++) {
			const struct gs_usable_pool *pool =
				gs_usable_view_pool(view, 5, (gs_id)(r + 1));

			if (view->regions[r + 1].state != RULES[i].want_region[r] ||
			    pool->word.state != RULES[i].want_pool[r] ||
			    pool->word.fallback != RULES[i].want_fallback[r])
				fail_msg("%s: region %d is %s, its pool %s, fallback %d",
					 RULES[i].name, r + 1, gs_usable_name(view->regions[r + 1]),
					 gs_usable_name(pool->word), pool->word.fallback);
		}
		assert_null(gs_usable_view_pool(view, 5, 3));
		assert_null(gs_usable_view_pool(view, 4, 1));
		gs_usable_view_free(view);
	}
}

/* ---- the order ------------------------------------------------------------------------------- */

/* Words as packets would find them: of a view, or as they are in the maps. */
struct words {
	const struct gs_usable *regions, *backends;
	const struct gs_usable_view *view; /* pools of a view */
	const struct fake_dataplane *maps; /* or of the maps */
};

static struct gs_usable pool_word(const struct words *words, gs_id service, gs_id region)
{
	const struct gs_usable_pool *pool;

	if (words->maps)
		return words->maps->pools[gs_pool_index(service, region)];
	pool = gs_usable_view_pool(words->view, service, region);
	return pool ? pool->word : (struct gs_usable){.state = GS_USABLE_DOWN};
}

/* The state a flow of the backend finds: the least of the three. */
static uint16_t chain(const struct words *words, const struct gs_backend *backend)
{
	uint16_t least = words->regions[backend->region].state;
	uint16_t pool = pool_word(words, backend->service, backend->region).state;

	if (pool < least)
		least = pool;
	if (words->backends[backend->id].state < least)
		least = words->backends[backend->id].state;
	return least;
}

/* A pool that takes new flows has a fallback that does, too. */
static bool fallback_serves(const struct words *words, gs_id service, gs_id region)
{
	struct gs_usable pool = pool_word(words, service, region);

	return words->regions[region].state != GS_USABLE_UP || pool.state != GS_USABLE_UP ||
	       pool.fallback == 0 || words->backends[pool.fallback].state == GS_USABLE_UP;
}

struct checked {
	struct fake_dataplane *fake;
	struct gs_dataplane real; /* the fake's own ops */
	const struct gs_snapshot *snapshot;
	const struct gs_usable_view *before, *after;
	uint32_t bad;
};

static void check_write(void *self, enum gs_object_kind kind, uint32_t index,
			struct gs_usable usable)
{
	struct checked *c = self;
	const struct words was = {
		.regions = c->before->regions, .backends = c->before->backends, .view = c->before};
	const struct words will = {
		.regions = c->after->regions, .backends = c->after->backends, .view = c->after};
	const struct words is = {
		.regions = c->fake->regions, .backends = c->fake->backends, .maps = c->fake};

	c->real.ops->set_usable(c->real.self, kind, index, usable);
	for (uint32_t i = 0; i < c->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &c->snapshot->backends[i];
		uint16_t least = chain(&was, backend), other = chain(&will, backend);

		c->bad += chain(&is, backend) < (least < other ? least : other);
		c->bad += !fallback_serves(&is, backend->service, backend->region);
	}
}

static void draw_states(struct gs_snapshot *snapshot, struct healths *healths, uint64_t *seed)
{
	static const enum gs_health_state STATES[] = {GS_HEALTH_UP, GS_HEALTH_UP, GS_HEALTH_DOWN,
						      GS_HEALTH_UNKNOWN};

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_backend *backend = &snapshot->backends[i];

		healths->of[backend->id] = STATES[world_draw(seed) % 4];
		if (world_draw(seed) % 4 == 0)
			backend->admin = world_draw(seed) % GS_ADMIN__COUNT;
	}
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (world_draw(seed) % 4 == 0)
			snapshot->regions[i].admin = world_draw(seed) % GS_ADMIN__COUNT;
}

static void maps_say(const struct fake_dataplane *fake, const struct gs_snapshot *snapshot,
		     const struct gs_usable_view *view)
{
	assert_memory_equal(fake->regions + 1, view->regions + 1,
			    sizeof(view->regions) - sizeof(view->regions[0]));
	assert_memory_equal(fake->backends + 1, view->backends + 1,
			    sizeof(view->backends) - sizeof(view->backends[0]));
	for (uint32_t i = 0; i < view->pool_count; i++)
		assert_memory_equal(
			&fake->pools[gs_pool_index(view->pools[i].service, view->pools[i].region)],
			&view->pools[i].word, sizeof(view->pools[i].word));
	(void)snapshot;
}

/* The quicker way comes to the same. */
static void same_again(const struct gs_usable_view *want, const struct gs_usable_view *earlier,
		       const struct gs_snapshot *snapshot, struct healths *healths)
{
	const struct gs_usable_health health = {.get = get_health, .context = healths};
	struct gs_usable_view *got = NULL;

	assert_int_equal(gs_usable_view_next(earlier, snapshot, &health, &got), 0);
	assert_memory_equal(got->regions, want->regions, sizeof(want->regions));
	assert_memory_equal(got->backends, want->backends, sizeof(want->backends));
	assert_int_equal(got->pool_count, want->pool_count);
	assert_memory_equal(got->pools, want->pools, want->pool_count * sizeof(want->pools[0]));
	gs_usable_view_free(got);
}

static void never_less_than_both_views(void **state)
{
	static struct healths healths;
	uint64_t seed = gs_now_us();
	struct gs_dataplane_ops ops;
	(void)state;

	print_message("seed %lu\n", (unsigned long)seed);
	for (int round = 0; round < 40; round++) {
		struct fake_dataplane *fake = calloc(1, sizeof(*fake));
		struct world *world = world_new(seed + (uint64_t)round);
		struct checked c = {.fake = fake, .snapshot = &world->snapshot};
		struct gs_dataplane checking;
		struct gs_usable_view *view;

		assert_non_null(fake);
		fake_dataplane_init(fake, &c.real);
		ops = *c.real.ops;
		ops.set_usable = check_write;
		checking = (struct gs_dataplane){.ops = &ops, .self = &c};
		draw_states(&world->snapshot, &healths, &seed);
		view = view_of(&world->snapshot, &healths);
		gs_usable_write(&c.real, NULL, view);
		maps_say(fake, &world->snapshot, view);
		for (int step = 0; step < 10; step++) {
			struct gs_usable_view *next;
			uint32_t writes = fake->write_count;

			draw_states(&world->snapshot, &healths, &seed);
			next = view_of(&world->snapshot, &healths);
			same_again(next, view, &world->snapshot, &healths);
			c.before = view;
			c.after = next;
			gs_usable_write(&checking, view, next);
			assert_int_equal(c.bad, 0);
			maps_say(fake, &world->snapshot, next);
			writes = fake->write_count;
			gs_usable_write(&checking, next, next);
			assert_int_equal(fake->write_count, writes);
			gs_usable_view_free(view);
			view = next;
		}
		gs_usable_view_free(view);
		world_free(world);
		free(fake);
	}
}

/* A pool, a region and backends that are no more are closed. */
static void what_is_gone_is_closed(void **state)
{
	static struct healths healths;
	uint64_t seed = 7;
	struct world *world = world_new(seed);
	struct fake_dataplane *fake = calloc(1, sizeof(*fake));
	struct gs_snapshot empty = {.revision = 1};
	struct gs_usable_view *view, *none;
	struct gs_dataplane dataplane;
	(void)state;

	assert_non_null(fake);
	fake_dataplane_init(fake, &dataplane);
	draw_states(&world->snapshot, &healths, &seed);
	view = view_of(&world->snapshot, &healths);
	none = view_of(&empty, &healths);
	gs_usable_write(&dataplane, NULL, view);
	gs_usable_write(&dataplane, view, none);
	for (uint32_t i = 0; i < GS_MAX_SERVICES * GS_MAX_REGIONS; i++)
		assert_int_equal(fake->pools[i].state, GS_USABLE_DOWN);
	for (uint32_t i = 0; i < GS_MAX_REGIONS; i++)
		assert_int_equal(fake->regions[i].state, GS_USABLE_DOWN);
	for (uint32_t i = 0; i < GS_MAX_BACKENDS; i++)
		assert_int_equal(fake->backends[i].state, GS_USABLE_DOWN);
	gs_usable_view_free(view);
	gs_usable_view_free(none);
	world_free(world);
	free(fake);
}

/* ---- breakers: service 1 in regions 1, 2 and 3, one backend each ----------------------------- */

struct limits {
	struct healths healths;
	struct gs_permit of[4]; /* by region */
};

static enum gs_health_state get_limited_health(void *context, gs_id backend)
{
	return get_health(&((struct limits *)context)->healths, backend);
}

static struct gs_permit get_permit(void *context, gs_id service, gs_id region)
{
	assert_int_equal(service, FAKE_WEB);
	return ((struct limits *)context)->of[region];
}

/* a: all, n: none, t: trials, s: a share, N: forced open, A: forced closed */
static struct gs_permit permit_of(char letter)
{
	struct gs_permit permit = {.kind = GS_PERMIT_ALL, .accept = UINT16_MAX};

	permit.forced = letter == 'N' || letter == 'A';
	if (letter == 'n' || letter == 'N')
		permit.kind = GS_PERMIT_NONE;
	if (letter == 't')
		permit = (struct gs_permit){.kind = GS_PERMIT_TRIALS, .trials = 9};
	if (letter == 's')
		permit = (struct gs_permit){.kind = GS_PERMIT_SHARE, .accept = 6553};
	return permit;
}

/* U: up, for all; R: known flows only; T: nine trials; S: a share; D: down */
static char word_letter(struct gs_usable word)
{
	switch (word.state) {
	case GS_USABLE_UP:
		return word.accept == UINT16_MAX ? 'U' : 'S';
	case GS_USABLE_TRIAL:
		return word.trials == 9 ? 'T' : '?';
	case GS_USABLE_DRAIN:
		return 'R';
	default:
		return 'D';
	}
}

static void breakers_limit_what_is_up(void **state)
{
	static const struct {
		const char *permits, *health; /* of regions 1 to 3: u up, d down, m: maintenance */
		const char *want;
	} rows[] = {
		{"aaa", "uuu", "UUU"}, {"naa", "uuu", "RUU"}, {"tsa", "uuu", "TSU"},
		{"nna", "uuu", "RRU"}, {"nnn", "uuu", "UUU"}, /* nobody left: better than nothing */
		{"nts", "uuu", "UUU"}, /* a share alone would turn clients away */
		{"nnA", "uuu", "RRU"}, {"Nnn", "uuu", "RUU"}, /* what an operator forces holds */
		{"NNN", "uuu", "RRR"}, {"naa", "duu", "DUU"}, /* down stays down */
		{"nna", "uud", "UUD"}, /* the one that takes everybody is down */
		{"nna", "uum", "UUU"}, /* its region is closed */
		{"Nna", "uud", "RUD"},
	};
	struct limits *limits = calloc(1, sizeof(*limits));
	const struct gs_usable_health health = {
		.get = get_limited_health, .permit = get_permit, .context = limits};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gs_snapshot *snapshot = fake_snapshot(1);
		struct gs_usable_view *view;
		char got[4] = "";

		for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
			limits->of[r] = permit_of(rows[i].permits[r - 1]);
			if (rows[i].health[r - 1] == 'm')
				snapshot->regions[r - 1].admin = GS_ADMIN_MAINTENANCE;
			for (int n = 0; n < FAKE_PER_REGION; n++)
				limits->healths.of[fake_backend(r, n)] =
					rows[i].health[r - 1] == 'd' ? GS_HEALTH_DOWN
								     : GS_HEALTH_UP;
		}
		assert_int_equal(gs_usable_view_new(snapshot, &health, &view), 0);
		for (gs_id r = 1; r <= FAKE_REGIONS; r++)
			got[r - 1] = word_letter(gs_usable_view_pool(view, FAKE_WEB, r)->word);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("permits %s, health %s: %s, not %s", rows[i].permits,
				 rows[i].health, got, rows[i].want);
		gs_usable_view_free(view);
		gs_snapshot_free(snapshot);
	}
	free(limits);
}

/* What packets have taken of a quota is no reason to write the word, and with it a new one, again.
 */
static void a_running_trial_is_not_written_again(void **state)
{
	static struct fake_dataplane fake;
	struct gs_snapshot *snapshot = fake_snapshot(1);
	struct limits *limits = calloc(1, sizeof(*limits));
	const struct gs_usable_health health = {
		.get = get_limited_health, .permit = get_permit, .context = limits};
	struct gs_usable_view *first, *second;
	struct gs_dataplane dataplane;
	(void)state;

	fake_dataplane_init(&fake, &dataplane);
	for (gs_id backend = 0; backend < GS_MAX_BACKENDS; backend++)
		limits->healths.of[backend] = GS_HEALTH_UP;
	limits->of[1] = permit_of('t');
	limits->of[2] = limits->of[3] = permit_of('a');
	assert_int_equal(gs_usable_view_new(snapshot, &health, &first), 0);
	gs_usable_write(&dataplane, NULL, first);
	assert_int_equal(fake.pools[gs_pool_index(FAKE_WEB, 1)].trials, 9);
	fake.write_count = 0;
	limits->of[1].trials = 4;
	assert_int_equal(gs_usable_view_next(first, snapshot, &health, &second), 0);
	gs_usable_write(&dataplane, first, second);
	assert_int_equal(fake.write_count, 0);
	gs_usable_view_free(first);
	gs_usable_view_free(second);
	gs_snapshot_free(snapshot);
	free(limits);
}

/* ---- deadlines of drains --------------------------------------------------------------------- */

/* At times around the two deadlines of region 1 (2000) and backend 3, of region 2 (1000). */
static void drains_end(void **state)
{
	static const struct {
		int64_t unix_ms;
		uint16_t want_region[2], want_backend; /* the other backends are up */
		int64_t want_due;
	} rows[] = {
		{0, {GS_USABLE_DRAIN, GS_USABLE_UP}, GS_USABLE_DRAIN, 1000},
		{999, {GS_USABLE_DRAIN, GS_USABLE_UP}, GS_USABLE_DRAIN, 1000},
		{1000, {GS_USABLE_DRAIN, GS_USABLE_UP}, GS_USABLE_DOWN, 2000},
		{1999, {GS_USABLE_DRAIN, GS_USABLE_UP}, GS_USABLE_DOWN, 2000},
		{2000, {GS_USABLE_DOWN, GS_USABLE_UP}, GS_USABLE_DOWN, INT64_MAX},
		{INT64_MAX, {GS_USABLE_DOWN, GS_USABLE_UP}, GS_USABLE_DOWN, INT64_MAX},
	};
	static struct healths healths;
	struct gs_snapshot *snapshot = fake_snapshot(1);
	(void)state;

	for (gs_id backend = 0; backend < GS_MAX_BACKENDS; backend++)
		healths.of[backend] = GS_HEALTH_UP;
	snapshot->regions[0].admin = GS_ADMIN_DRAIN;
	snapshot->regions[0].drain_until_unix_ms = 2000;
	snapshot->backends[FAKE_PER_REGION].admin = GS_ADMIN_DRAIN;
	snapshot->backends[FAKE_PER_REGION].drain_until_unix_ms = 1000;
	/* a drain without a deadline */
	snapshot->backends[2 * FAKE_PER_REGION].admin = GS_ADMIN_DRAIN;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct gs_usable_health health = {
			.get = get_health, .context = &healths, .unix_ms = rows[i].unix_ms};
		struct gs_usable_view *view = NULL;

		assert_int_equal(gs_usable_view_new(snapshot, &health, &view), 0);
		for (int r = 0; r < 2; r++)
			assert_int_equal(view->regions[r + 1].state, rows[i].want_region[r]);
		assert_int_equal(view->backends[fake_backend(FAKE_US, 0)].state,
				 rows[i].want_backend);
		assert_int_equal(view->backends[fake_backend(FAKE_EU, 0)].state, GS_USABLE_UP);
		assert_int_equal(view->backends[fake_backend(FAKE_AP, 0)].state, GS_USABLE_DRAIN);
		assert_int_equal(gs_usable_due_unix_ms(snapshot, &health), rows[i].want_due);
		gs_usable_view_free(view);
	}
	gs_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eligibility),
		cmocka_unit_test(never_less_than_both_views),
		cmocka_unit_test(what_is_gone_is_closed),
		cmocka_unit_test(breakers_limit_what_is_up),
		cmocka_unit_test(a_running_trial_is_not_written_again),
		cmocka_unit_test(drains_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
