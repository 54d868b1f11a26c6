/* SPDX-License-Identifier: Apache-2.0 */
/* Fences against everything that could lead over them, in random worlds; and who wins inside: two
 * databases whose prefixes nest either way, and overrides of prefixes, systems and places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/asn_world.h"
#include "tests/fakes/world.h"
#include "user/app/tables.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLDS = 150, CLIENTS = 300, FENCES_MOST = 6, PLACES_MOST = 5 };

static const char *const COUNTRIES[] = {"", "DE", "FR", "US"};
static const char *const CONTINENTS[] = {"", "EU", "EU", "NA"};
static const char *const PLACES[] = {"everybody",	  "continent:EU",      "continent:NA",
				     "country:DE",	  "country:FR",	       "country:US",
				     "subdivision:DE-BE", "subdivision:US-CA", "country:JP"};

static uint32_t below(uint64_t *seed, uint32_t limit)
{
	return (uint32_t)(world_draw(seed) % limit);
}

static struct gs_place place(const char *text)
{
	struct gs_place parsed = {.code = ""};

	assert_int_equal(gs_place_parse(text, &parsed), 0);
	return parsed;
}

/* ---- worlds with places, fences, overrides of places and policies of every kind ---------------
 */

static void settle(struct world *world, uint64_t *seed)
{
	for (uint32_t i = 1; i < world->geo.location_count; i++) {
		struct gs_location *location = &world->geo.locations[i];
		uint32_t country = below(seed, ARRAY_SIZE(COUNTRIES));

		memcpy(location->country, COUNTRIES[country], strlen(COUNTRIES[country]) + 1);
		memcpy(location->continent, CONTINENTS[country], strlen(CONTINENTS[country]) + 1);
		if (country == 1 && below(seed, 2))
			memcpy(location->subdivision, below(seed, 2) ? "BE" : "BY", 3);
		if (country == 3 && below(seed, 2))
			memcpy(location->subdivision, "CA", 3);
		if (country == 0 && below(seed, 2))
			memcpy(location->continent, "EU", 3);
	}
}

static int compare_fences(const void *a, const void *b)
{
	return gs_fence_compare(a, b);
}

static void fence_in(struct world *world, uint64_t *seed)
{
	struct gs_snapshot *snapshot = &world->snapshot;
	uint32_t count = below(seed, FENCES_MOST + 1), kept = 0;

	snapshot->fences = calloc(FENCES_MOST, sizeof(*snapshot->fences));
	assert_non_null(snapshot->fences);
	for (uint32_t i = 0; i < count; i++) {
		struct gs_fence *fence = &snapshot->fences[i];

		fence->place = place(PLACES[below(seed, ARRAY_SIZE(PLACES))]);
		fence->service =
			below(seed, 2)
				? 0
				: snapshot->services[below(seed, snapshot->service_count)].id;
		fence->holds_unknown = below(seed, 2);
		for (uint32_t r = 0; r < snapshot->region_count; r++)
			if (below(seed, 2) && fence->region_count < GS_FENCE_REGIONS_MAX)
				fence->regions[fence->region_count++] = snapshot->regions[r].id;
		if (fence->region_count == 0)
			fence->regions[fence->region_count++] = snapshot->regions[0].id;
	}
	qsort(snapshot->fences, count, sizeof(*snapshot->fences), compare_fences);
	for (uint32_t i = 0; i < count; i++)
		if (kept == 0 ||
		    gs_fence_compare(&snapshot->fences[kept - 1], &snapshot->fences[i]) != 0)
			snapshot->fences[kept++] = snapshot->fences[i];
	snapshot->fence_count = kept;
}

static void override_places(struct world *world, uint64_t *seed)
{
	struct gs_snapshot *snapshot = &world->snapshot;
	uint32_t first = 1 + below(seed, 4), count = below(seed, PLACES_MOST);

	snapshot->overrides = realloc(snapshot->overrides, (snapshot->override_count + PLACES_MOST +
							    1) * sizeof(*snapshot->overrides));
	assert_non_null(snapshot->overrides);
	for (uint32_t i = 0; i < count; i++)
		snapshot->overrides[snapshot->override_count++] = (struct gs_override){
			.place = place(PLACES[first + i]),
			.region = snapshot->regions[below(seed, snapshot->region_count)].id};
}

static void override_systems(struct world *world, uint64_t *seed)
{
	struct gs_snapshot *snapshot = &world->snapshot;
	uint32_t count = below(seed, ASN_WORLD_SYSTEMS);

	snapshot->overrides =
		realloc(snapshot->overrides, (snapshot->override_count + ASN_WORLD_SYSTEMS + 1) *
						     sizeof(*snapshot->overrides));
	assert_non_null(snapshot->overrides);
	for (uint32_t i = 0; i < count; i++)
		snapshot->overrides[snapshot->override_count++] = (struct gs_override){
			.asn = 64500 + ASN_WORLD_SYSTEMS - 1 - i,
			.region = snapshot->regions[below(seed, snapshot->region_count)].id};
}

static void draw_policies(struct world *world, uint64_t *seed)
{
	for (uint32_t i = 0; i < world->snapshot.policy_count; i++) {
		struct gs_policy *policy = &world->snapshot.policies[i];

		policy->kind = (enum gs_policy_kind)below(seed, GS_POLICY_RANKED);
		gs_policy_default(policy);
		for (uint32_t p = 0; p < policy->order_count; p++)
			policy->weight[p] = (uint16_t)(below(seed, 3) * 100);
	}
}

static struct world *fenced_world(uint64_t *seed)
{
	struct world *world = world_new(world_draw(seed));

	settle(world, seed);
	fence_in(world, seed);
	override_places(world, seed);
	override_systems(world, seed);
	draw_policies(world, seed);
	return world;
}

/* ---- the oracle ------------------------------------------------------------------------------ */

static bool naive_serves(const struct gs_snapshot *snapshot, gs_id service, gs_id region)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].service == service &&
		    snapshot->backends[i].region == region &&
		    snapshot->backends[i].admin != GS_ADMIN_MAINTENANCE &&
		    snapshot->backends[i].admin != GS_ADMIN_FORCE_DOWN)
			return true;
	return false;
}

/* Every fence that holds for these clients of this service names it. */
static bool naive_inside(const struct gs_snapshot *snapshot, const struct gs_location *location,
			 gs_id service, gs_id region)
{
	for (uint32_t f = 0; f < snapshot->fence_count; f++) {
		const struct gs_fence *fence = &snapshot->fences[f];
		enum gs_place_answer answer = gs_place_holds(&fence->place, location);
		bool is_named = false;

		if ((fence->service != 0 && fence->service != service) || answer == GS_PLACE_NO ||
		    (answer == GS_PLACE_UNKNOWN && !fence->holds_unknown))
			continue;
		for (uint32_t r = 0; r < fence->region_count; r++)
			is_named = is_named || fence->regions[r] == region;
		if (!is_named)
			return false;
	}
	return true;
}

static bool naive_may(const struct gs_snapshot *snapshot, const struct gs_location *location,
		      gs_id service, const struct gs_region *region)
{
	return gs_plan_region_allowed(region) && naive_serves(snapshot, service, region->id) &&
	       naive_inside(snapshot, location, service, region->id);
}

static const struct gs_override *naive_prefix(const struct gs_snapshot *snapshot,
					      const struct gs_addr *client)
{
	const struct gs_override *best = NULL;
	struct gs_addr inside;

	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_override *override = &snapshot->overrides[i];

		if (override->place.kind == GS_PLACE_EVERYBODY && !override->asn &&
		    gs_prefix_contains(&override->prefix, client) &&
		    (!best || override->prefix.length > best->prefix.length))
			best = override;
	}
	if (!best && gs_geo_embedded_v4(client, &inside))
		return naive_prefix(snapshot, &inside);
	return best;
}

static const struct gs_override *naive_system(const struct gs_snapshot *snapshot, uint32_t asn)
{
	for (uint32_t i = 0; asn && i < snapshot->override_count; i++)
		if (snapshot->overrides[i].asn == asn)
			return &snapshot->overrides[i];
	return NULL;
}

/* ---- checks ---------------------------------------------------------------------------------- */

struct scene {
	const struct world *world;
	const struct asn_world *asn; /* NULL: no such database */
	const struct gs_tables *tables;
	struct gs_tables_reasons reasons;
	uint32_t of_systems; /* how many clients were under such an override, and it was followed */
};

static void check_plan(struct scene *scene, const struct gs_service *service,
		       const struct gs_addr *client)
{
	const struct gs_snapshot *snapshot = &scene->world->snapshot;
	uint16_t at = gs_tables_locate(scene->tables, client, NULL, NULL);
	const struct gs_location *location =
		&scene->world->geo.locations[world_geo_location(scene->world, client)];
	const struct gs_plan *plan = gs_tables_plan(scene->tables, service->id, at);
	const struct gs_override *override = naive_prefix(snapshot, client), *system = NULL;
	uint32_t may = 0;

	if (!override && scene->asn)
		override = system = naive_system(snapshot, asn_world_find(scene->asn, client));

	for (uint32_t r = 0; r < snapshot->region_count; r++)
		may += naive_may(snapshot, location, service->id, &snapshot->regions[r]);
	assert_int_equal(plan ? plan->count : 0, may < GS_PLAN_REGIONS ? may : GS_PLAN_REGIONS);
	if (!plan)
		return;
	for (int i = 0; i < plan->count; i++)
		assert_true(naive_may(snapshot, location, service->id,
				      gs_snapshot_region(snapshot, plan->region[i])));
	if (!override)
		override = gs_snapshot_place_override(snapshot, location);
	assert_ptr_equal(gs_tables_override(scene->tables, client), override);
	if (override && naive_may(snapshot, location, service->id,
				  gs_snapshot_region(snapshot, override->region))) {
		assert_int_equal(plan->region[0], override->region);
		assert_int_equal(plan->share[0], UINT16_MAX);
		scene->of_systems += system != NULL;
	}
	assert_int_equal(gs_tables_explain(scene->tables, service->id, at, &scene->reasons), 0);
	assert_int_equal(scene->reasons.ranking.count, plan->count);
	for (int i = 0; i < plan->count; i++)
		assert_int_equal(snapshot->regions[scene->reasons.ranking.index[i]].id,
				 plan->region[i]);
}

/* Sometimes from where an IPv4 address is inside. */
static struct gs_addr draw_client(const struct scene *scene, uint64_t *seed)
{
	struct gs_addr client = scene->asn && below(seed, 2) ? asn_world_client(scene->asn, seed)
							     : world_client(scene->world, seed);
	struct gs_addr nat64;

	if (!gs_addr_is_v4(&client) || below(seed, 4))
		return client;
	assert_int_equal(gs_addr_parse("64:ff9b::", &nat64), 0);
	memcpy(nat64.bytes + 12, client.bytes + 12, 4);
	return nat64;
}

static void nothing_leads_over_a_fence(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	uint64_t seed = 20261126;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	assert_non_null(scene);
	for (int i = 0; i < WORLDS; i++) {
		struct world *world = fenced_world(&seed);
		struct asn_world *asn = below(&seed, 4) ? asn_world_new(world, &seed) : NULL;
		struct gs_tables_sources sources = {.snapshot = &world->snapshot,
						    .geo = &world->geo,
						    .asn = asn ? &asn->data : NULL};
		struct gs_tables *tables = NULL;
		struct gs_error error = {{0}};

		if (gs_tables_make(&sources, &tables, &error) != 0)
			fail_msg("%s", error.text);
		scene->world = world;
		scene->asn = asn;
		scene->tables = tables;
		for (int c = 0; c < CLIENTS; c++) {
			struct gs_addr client = draw_client(scene, &seed);

			check_plan(scene,
				   &world->snapshot
					    .services[below(&seed, world->snapshot.service_count)],
				   &client);
		}
		gs_tables_free(tables);
		if (asn)
			asn_world_free(asn);
		free(world->snapshot.fences);
		world_free(world);
	}
	print_message("%u clients went where an override of their system says\n",
		      scene->of_systems);
	assert_true(scene->of_systems > WORLDS * CLIENTS / 50);
	free(scene);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* A database whose every second address is in DE. */
struct striped {
	struct gs_geodata geo;
	struct gs_location locations[3];
	struct gs_region regions[2];
	struct gs_policy policy;
	struct gs_override override;
	struct gs_fence fence;
	struct gs_snapshot snapshot;
};

static void stripe(struct striped *s, uint32_t stripes)
{
	*s = (struct striped){
		.locations = {{.country = ""},
			      {.country = "DE", .continent = "EU"},
			      {.country = "FR"}},
		.regions = {{.id = 1, .name = "eu"}, {.id = 2, .name = "us"}},
		.policy = {.id = 1, .name = "p", .order_count = 1, .order = {1}},
		.override = {.prefix = {.is_v4 = true}, .region = 2},
		.fence = {.place = place("country:DE"), .region_count = 1, .regions = {1}}};
	s->override.prefix.addr = gs_addr_from_v4(0);
	s->geo.location_count = 3;
	s->geo.locations = s->locations;
	s->geo.v4.starts = calloc(stripes, sizeof(*s->geo.v4.starts));
	s->geo.v4.start_locations = calloc(stripes, sizeof(*s->geo.v4.start_locations));
	s->geo.v6.starts = calloc(1, sizeof(*s->geo.v6.starts));
	s->geo.v6.start_locations = calloc(1, sizeof(*s->geo.v6.start_locations));
	s->geo.v4.start_count = stripes;
	s->geo.v6.start_count = 1;
	for (uint32_t i = 0; i < stripes; i++) {
		s->geo.v4.starts[i].low = i;
		s->geo.v4.start_locations[i] = (uint16_t)(1 + i % 2);
	}
	s->snapshot = (struct gs_snapshot){.region_count = 2,
					   .policy_count = 1,
					   .override_count = 1,
					   .fence_count = 1,
					   .regions = s->regions,
					   .policies = &s->policy,
					   .overrides = &s->override,
					   .fences = &s->fence};
}

static void unstripe(struct striped *s)
{
	free(s->geo.v4.starts);
	free(s->geo.v4.start_locations);
	free(s->geo.v6.starts);
	free(s->geo.v6.start_locations);
}

static void too_many_pieces(void **state)
{
	struct gs_tables *tables = NULL;
	struct gs_error error = {{0}};
	struct striped s;

	(void)state;
	stripe(&s, 2 * GS_MAX_OVERRIDES + 2);
	assert_int_equal(gs_tables_build(&s.snapshot, &s.geo, &tables, &error), -EFBIG);
	assert_non_null(strstr(error.text, "override 0.0.0.0/0"));
	assert_non_null(strstr(error.text, "65536 IPv4"));
	assert_null(tables);
	s.snapshot.fence_count = 0; /* without the fence it is one prefix */
	assert_int_equal(gs_tables_build(&s.snapshot, &s.geo, &tables, &error), 0);
	assert_int_equal(tables->override_count, 1);
	gs_tables_free(tables);
	unstripe(&s);
	stripe(&s, 1000);
	assert_int_equal(gs_tables_build(&s.snapshot, &s.geo, &tables, &error), 0);
	assert_true(tables->override_count > 400 && tables->override_count < 1100);
	assert_int_equal(tables->class_count, 2);
	gs_tables_free(tables);
	unstripe(&s);
}

/* The same of a system's prefixes: those it has, and those that fences make of them. */
static void too_many_of_a_system(void **state)
{
	struct gs_tables *tables = NULL;
	struct gs_error error = {{0}};
	struct gs_geo_key zero = {0};
	uint32_t nobody = 0, stripes = 2 * GS_MAX_OVERRIDES + 2;
	struct gs_asndata asn = {.v6 = {.starts = &zero, .asns = &nobody, .start_count = 1}};
	struct striped s;
	const struct gs_tables_sources sources = {
		.snapshot = &s.snapshot, .geo = &s.geo, .asn = &asn};

	(void)state;
	stripe(&s, stripes);
	s.override = (struct gs_override){.asn = 64500, .region = 2};
	/* Every second address, as the country is. */
	asn.v4 = (struct gs_asndata_family){.starts = s.geo.v4.starts, .start_count = stripes};
	asn.v4.asns = calloc(stripes, sizeof(*asn.v4.asns));
	assert_non_null(asn.v4.asns);
	for (uint32_t i = 0; i < stripes; i++)
		asn.v4.asns[i] = 64500 + i % 2;
	assert_int_equal(gs_tables_make(&sources, &tables, &error), -EFBIG);
	assert_non_null(strstr(error.text, "override AS64500: it, and"));
	assert_non_null(strstr(error.text, "65536 IPv4"));
	assert_null(tables);
	/* All addresses, but fences cut them. */
	asn.v4.start_count = 1;
	assert_int_equal(gs_tables_make(&sources, &tables, &error), -EFBIG);
	assert_non_null(strstr(error.text, "override AS64500: fences cut it"));
	s.snapshot.fence_count = 0;
	assert_int_equal(gs_tables_make(&sources, &tables, &error), 0);
	assert_int_equal(tables->override_count, 1);
	gs_tables_free(tables);
	/* Nobody is asked for: not a prefix of it is in the tables. */
	asn.v4.start_count = stripes;
	s.override.asn = 64502;
	assert_int_equal(gs_tables_make(&sources, &tables, &error), 0);
	assert_int_equal(tables->override_count, 0);
	gs_tables_free(tables);
	free(asn.v4.asns);
	unstripe(&s);
}

/* What fences say is part of what decisions are: of the digest. */
static void digest_follows_fences(void **state)
{
	struct gs_service service = {.id = 1, .name = "web", .port = 80, .policy = 1};
	struct gs_backend backends[] = {
		{.id = 1, .service = 1, .region = 1, .weight = 1, .addr = gs_addr_from_v4(1)},
		{.id = 2, .service = 1, .region = 2, .weight = 1, .addr = gs_addr_from_v4(2)}};
	struct gs_tables *with = NULL, *without = NULL;
	struct gs_error error = {{0}};
	struct striped s;

	(void)state;
	stripe(&s, 2);
	s.snapshot.services = &service;
	s.snapshot.service_count = 1;
	s.snapshot.backends = backends;
	s.snapshot.backend_count = 2;
	s.snapshot.override_count = 0;
	assert_int_equal(gs_tables_build(&s.snapshot, &s.geo, &with, &error), 0);
	s.snapshot.fence_count = 0;
	assert_int_equal(gs_tables_build(&s.snapshot, &s.geo, &without, &error), 0);
	assert_int_not_equal(with->digest, without->digest);
	assert_int_equal(gs_tables_plan(with, 1, 1)->count, 1);
	assert_int_equal(gs_tables_plan(with, 1, 2)->count, 2);
	assert_int_equal(gs_tables_plan(without, 1, 1)->count, 2);
	gs_tables_free(with);
	gs_tables_free(without);
	unstripe(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_leads_over_a_fence),
		cmocka_unit_test(too_many_pieces),
		cmocka_unit_test(too_many_of_a_system),
		cmocka_unit_test(digest_follows_fences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
