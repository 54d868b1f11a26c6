/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/app/gradual.h"
#include "user/app/tables.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geo.h"
#include "user/core/maglev.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLDS = 60, CLIENTS = 400 };

static struct gs_tables *build_ok(const struct gs_snapshot *snapshot, const struct gs_geodata *geo)
{
	struct gs_tables *tables = NULL;
	struct gs_error error = {{0}};
	int result = gs_tables_build(snapshot, geo, &tables, &error);

	if (result)
		fail_msg("gs_tables_build: %d: %s", result, error.text);
	assert_ptr_equal(tables->snapshot, snapshot);
	assert_ptr_equal(tables->geo, geo);
	return tables;
}

/* ---- oracles: the slow way, by the words of the contract ------------------------------------- */

static bool naive_gets_slots(const struct gs_backend *backend)
{
	return backend->admin == GS_ADMIN_AUTO || backend->admin == GS_ADMIN_FORCE_UP ||
	       backend->admin == GS_ADMIN_DRAIN;
}

static bool naive_serves(const struct gs_snapshot *snapshot, gs_id service, gs_id region)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].service == service &&
		    snapshot->backends[i].region == region &&
		    naive_gets_slots(&snapshot->backends[i]))
			return true;
	return false;
}

/* A region's rank for a location: lower is better; ties by id. Negative: not a candidate. */
static double naive_rank(const struct gs_snapshot *snapshot, const struct gs_service *service,
			 const struct gs_location *location, const struct gs_region *region)
{
	const struct gs_policy *policy = gs_snapshot_policy(snapshot, service->policy);

	if (region->admin == GS_ADMIN_MAINTENANCE || region->admin == GS_ADMIN_FORCE_DOWN ||
	    !naive_serves(snapshot, service->id, region->id))
		return -1;
	if (location->override_region == region->id)
		return 0;
	if (policy->kind == GS_POLICY_GEO && location->has_coord)
		return 1 + gs_geo_distance_km(&location->coord, &region->coord);
	for (uint32_t i = 0; i < policy->order_count; i++)
		if (policy->order[i] == region->id)
			return 1 + i;
	return 1000;
}

/* Picks the best of the rest until none is left. */
static uint32_t naive_order(const struct gs_snapshot *snapshot, const struct gs_service *service,
			    const struct gs_location *location, gs_id ret_order[GS_MAX_REGIONS])
{
	bool taken[GS_MAX_REGIONS] = {false};
	uint32_t count = 0;

	for (;;) {
		const struct gs_region *best = NULL;
		double best_rank = 0;

		for (uint32_t i = 0; i < snapshot->region_count; i++) {
			const struct gs_region *region = &snapshot->regions[i];
			double rank = naive_rank(snapshot, service, location, region);

			if (rank < 0 || taken[region->id] || (best && rank >= best_rank))
				continue;
			best = region;
			best_rank = rank;
		}
		if (!best)
			return count;
		taken[best->id] = true;
		ret_order[count++] = best->id;
	}
}

static bool naive_inside(const struct gs_prefix *prefix, const struct gs_addr *addr)
{
	unsigned length = prefix->length + (prefix->is_v4 ? 96u : 0u);

	if (prefix->is_v4 != gs_addr_is_v4(addr))
		return false;
	for (unsigned bit = 0; bit < length; bit++)
		if ((prefix->addr.bytes[bit / 8] ^ addr->bytes[bit / 8]) & (0x80 >> bit % 8))
			return false;
	return true;
}

static const struct gs_override *naive_override(const struct gs_snapshot *snapshot,
						const struct gs_addr *client)
{
	const struct gs_override *best = NULL;
	struct gs_addr inside;

	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_override *override = &snapshot->overrides[i];

		if (naive_inside(&override->prefix, client) &&
		    (!best || override->prefix.length > best->prefix.length))
			best = override;
	}
	if (!best && gs_geo_embedded_v4(client, &inside))
		return naive_override(snapshot, &inside);
	return best;
}

/* ---- random worlds against the oracles ------------------------------------------------------- */

static void check_plan(const struct gs_tables *tables, const struct gs_service *service,
		       uint16_t location)
{
	gs_id want[GS_MAX_REGIONS];
	uint32_t count = naive_order(tables->snapshot, service, &tables->locations[location], want);
	const struct gs_plan *plan = gs_tables_plan(tables, service->id, location);

	if (count == 0) {
		assert_null(plan);
		return;
	}
	assert_non_null(plan);
	assert_int_equal(plan->count, count);
	assert_memory_equal(plan->region, want, count * sizeof(want[0]));
	assert_int_equal(plan->share[count - 1], UINT16_MAX);
}

static void check_plans(const struct gs_tables *tables)
{
	for (uint32_t i = 0; i < tables->snapshot->service_count; i++)
		for (uint32_t location = 0; location < tables->location_count; location++)
			check_plan(tables, &tables->snapshot->services[i], (uint16_t)location);
	assert_null(gs_tables_plan(tables, tables->snapshot->services[0].id,
				   (uint16_t)tables->location_count));
	assert_null(gs_tables_plan(tables, GS_MAX_SERVICES - 1, 0));
}

static void check_ring(const struct gs_tables *tables, gs_id service, gs_id region)
{
	const struct gs_snapshot *snapshot = tables->snapshot;
	const struct gs_table_pool *pool = &tables->pools[service * tables->region_stride + region];
	uint32_t found = 0;

	assert_int_equal(pool->slots != 0, naive_serves(snapshot, service, region));
	assert_true(pool->base + pool->slots <= tables->ring_slot_count);
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		uint32_t slots = 0;

		for (uint32_t slot = 0; slot < pool->slots; slot++)
			slots += tables->ring_slots[pool->base + slot] == backend->id;
		if (backend->service == service && backend->region == region &&
		    naive_gets_slots(backend))
			assert_true(slots > 0);
		else
			assert_int_equal(slots, 0);
		found += slots;
	}
	assert_int_equal(found, pool->slots);
}

static void check_rings(const struct gs_tables *tables)
{
	const struct gs_snapshot *snapshot = tables->snapshot;
	uint32_t total = 0;

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		gs_id service = snapshot->services[i].id;
		const struct gs_table_pool *row = &tables->pools[service * tables->region_stride];

		assert_int_equal(row->base, tables->service_row[service]);
		assert_int_equal(row->slots, snapshot->services[i].policy);
		for (uint32_t j = 0; j < snapshot->region_count; j++) {
			check_ring(tables, service, snapshot->regions[j].id);
			total += row[snapshot->regions[j].id].slots;
		}
	}
	assert_int_equal(total, tables->ring_slot_count);
}

static void check_clients(const struct world *world, const struct gs_tables *tables, uint64_t *seed)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct gs_addr client = world_client(world, seed);
		const struct gs_override *override = naive_override(&world->snapshot, &client);
		struct gs_prefix prefix = {{{0}}, 0, false};
		bool is_override = !override;
		uint16_t location = gs_tables_locate(tables, &client, &prefix, &is_override);

		assert_int_equal(is_override, override != NULL);
		assert_int_equal(location, gs_tables_locate(tables, &client, NULL, NULL));
		if (override) {
			assert_int_equal(gs_prefix_compare(&prefix, &override->prefix), 0);
			assert_int_equal(tables->locations[location].override_region,
					 override->region);
			assert_true(location >= world->geo.location_count);
		} else {
			assert_int_equal(location, world_geo_location(world, &client));
			assert_true(gs_prefix_contains(&prefix, &client));
		}
	}
}

static void test_random_worlds(void **state)
{
	uint64_t seed = 20261123;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < WORLDS; i++) {
		struct world *world = world_new(world_draw(&seed));
		struct gs_tables *tables;

		tables = build_ok(&world->snapshot, &world->geo);
		assert_int_equal(tables->seed, world->snapshot.selection_seed);
		assert_int_equal(tables->location_stride % GS_BLOCK_U16, 0);
		assert_true(tables->location_stride >= tables->location_count);
		check_plans(tables);
		check_rings(tables);
		check_clients(world, tables, &seed);
		gs_tables_free(tables);
		world_free(world);
	}
}

static void test_same_input_same_tables(void **state)
{
	struct world *world = world_new(7);
	struct gs_tables *a = build_ok(&world->snapshot, &world->geo);
	struct gs_tables *b = build_ok(&world->snapshot, &world->geo);

	(void)state;
	assert_int_equal(a->digest, b->digest);
	assert_int_equal(a->row_count, b->row_count);
	assert_int_equal(a->ring_slot_count, b->ring_slot_count);
	assert_memory_equal(a->routes, b->routes,
			    (size_t)a->row_count * a->location_stride * sizeof(*a->routes));
	assert_memory_equal(a->ring_slots, b->ring_slots,
			    a->ring_slot_count * sizeof(*a->ring_slots));
	gs_tables_free(a);
	gs_tables_free(b);
	world_free(world);
}

/* ---- one small world, by hand ---------------------------------------------------------------- */

struct small {
	struct gs_region regions[3];
	struct gs_policy policies[2]; /* the second says what the first one says */
	struct gs_service services[2];
	struct gs_backend backends[4];
	struct gs_override overrides[2];
	struct gs_access access[3];
	struct gs_snapshot snapshot;
};

static struct gs_addr addr(const char *text)
{
	struct gs_addr parsed;

	assert_int_equal(gs_addr_parse(text, &parsed), 0);
	return parsed;
}

static struct gs_prefix prefix(const char *text)
{
	struct gs_prefix parsed;

	assert_int_equal(gs_prefix_parse(text, &parsed), 0);
	return parsed;
}

static void small_init(struct small *small)
{
	*small = (struct small){
		.regions = {{.id = 1, .name = "eu", .coord = {50.1, 8.7}},
			    {.id = 2, .name = "us", .coord = {39.0, -77.5}},
			    {.id = 3, .name = "ap", .coord = {1.35, 103.8}}},
		.policies = {{.id = 1, .name = "near", .order_count = 2, .order = {1, 2}},
			     {.id = 2, .name = "near-too", .order_count = 2, .order = {1, 2}}},
		.services = {{.id = 1, .name = "web", .port = 80, .policy = 1},
			     {.id = 2, .name = "dns", .port = 53, .policy = 1}},
		.backends = {{.id = 1, .name = "a", .service = 1, .region = 1, .weight = 100},
			     {.id = 2, .name = "b", .service = 1, .region = 1, .weight = 100},
			     {.id = 3, .name = "c", .service = 1, .region = 2, .weight = 100},
			     {.id = 4,
			      .name = "d",
			      .service = 2,
			      .region = 1,
			      .weight = 100,
			      .admin = GS_ADMIN_MAINTENANCE}},
	};
	small->services[0].vip = small->services[1].vip = addr("198.51.100.10");
	small->services[0].protocol = GS_PROTOCOL_TCP;
	small->services[1].protocol = GS_PROTOCOL_UDP;
	for (unsigned i = 0; i < 4; i++) {
		small->backends[i].addr = addr("10.0.0.1");
		small->backends[i].addr.bytes[15] += i;
	}
	small->overrides[0] = (struct gs_override){
		.prefix = prefix("203.0.113.0/24"), .region = 2, .reason = "ticket"};
	small->overrides[1] = (struct gs_override){
		.prefix = prefix("203.0.0.0/16"), .region = 1, .reason = "other"};
	small->access[0] = (struct gs_access){prefix("192.0.2.0/24"), 0, false, "flood"};
	small->access[1] = (struct gs_access){prefix("192.0.2.0/24"), 1, true, "partner"};
	small->access[2] = (struct gs_access){prefix("2001:db8::/32"), 0, false, ""};
	small->snapshot = (struct gs_snapshot){.selection_seed = 5,
					       .region_count = 3,
					       .policy_count = 2,
					       .service_count = 2,
					       .backend_count = 4,
					       .override_count = 2,
					       .access_count = 3,
					       .access = small->access,
					       .regions = small->regions,
					       .policies = small->policies,
					       .services = small->services,
					       .backends = small->backends,
					       .overrides = small->overrides};
}

static void test_without_geoip(void **state)
{
	struct small small;
	struct gs_tables *tables;
	struct gs_addr client = addr("203.0.113.9");
	struct gs_prefix matched;
	bool is_override;
	const struct gs_plan *plan;

	(void)state;
	small_init(&small);
	tables = build_ok(&small.snapshot, NULL);
	assert_int_equal(tables->location_count, 3); /* unknown, eu's and us' */
	plan = gs_tables_plan(tables, 1, gs_tables_locate(tables, &client, &matched, &is_override));
	assert_true(is_override);
	assert_int_equal(matched.length, 24);
	assert_int_equal(plan->region[0], 2);
	client = addr("203.0.200.1");
	plan = gs_tables_plan(tables, 1, gs_tables_locate(tables, &client, &matched, &is_override));
	assert_int_equal(matched.length, 16);
	assert_int_equal(plan->region[0], 1);
	client = addr("2001:db8::1");
	assert_int_equal(gs_tables_locate(tables, &client, &matched, &is_override), 0);
	assert_false(is_override);
	assert_int_equal(matched.length, 0);
	assert_null(gs_tables_plan(tables, 2, 0)); /* its one backend is under maintenance */
	gs_tables_free(tables);
}

static void test_nothing_configured(void **state)
{
	struct gs_snapshot empty = {.selection_seed = 1};
	struct gs_tables *tables = build_ok(&empty, NULL);

	(void)state;
	assert_int_equal(tables->row_count, 0);
	assert_int_equal(tables->ring_slot_count, 0);
	assert_int_equal(tables->service_stride, 1);
	assert_int_equal(tables->region_stride, 1);
	assert_null(gs_tables_plan(tables, 1, 0));
	gs_tables_free(tables);
	gs_tables_free(NULL);
}

/* ---- digest ---------------------------------------------------------------------------------- */

static void same(struct small *s)
{
	(void)s;
}
static void rename_all(struct small *s)
{
	strcpy(s->regions[0].name, "europe");
	strcpy(s->services[0].name, "www");
	strcpy(s->policies[0].name, "closest");
	strcpy(s->backends[0].name, "alpha");
	strcpy(s->overrides[0].reason, "because");
}
static void change_revision(struct small *s)
{
	s->snapshot.revision++;
}
static void change_cost(struct small *s)
{
	s->regions[0].cost = 1;
}
static void change_probe(struct small *s)
{
	s->services[0].probe.rise = 9;
}
static void swap_overrides(struct small *s)
{
	struct gs_override first = s->overrides[0];

	s->overrides[0] = s->overrides[1];
	s->overrides[1] = first;
}
static void take_equal_policy(struct small *s)
{
	s->services[1].policy = 2;
}
static void move_backend_in_maintenance(struct small *s)
{
	s->backends[3].addr = addr("10.0.0.77");
}
static void drain_backend(struct small *s)
{
	s->backends[0].admin = GS_ADMIN_DRAIN;
}
static void change_seed(struct small *s)
{
	s->snapshot.selection_seed++;
}
static void change_weight(struct small *s)
{
	s->backends[0].weight = 10;
}
static void change_address(struct small *s)
{
	s->backends[0].addr = addr("10.0.0.77");
}
static void change_forward(struct small *s)
{
	s->backends[0].forward = GS_FORWARD_AS_GUE;
}
static void listen_elsewhere(struct small *s)
{
	s->backends[0].forward = GS_FORWARD_AS_NAT;
	s->backends[0].port = 8080;
}
static void bind_clients(struct small *s)
{
	s->services[0].affinity.kind = GS_AFFINE_CLIENT;
}
static void bind_prefixes(struct small *s)
{
	s->services[0].affinity =
		(struct gs_affinity_spec){.kind = GS_AFFINE_PREFIX, .prefix4 = 24, .prefix6 = 48};
}
static void widen_unused_prefix(struct small *s)
{
	s->services[0].affinity.prefix4 = 8;
}
static void limit_and_drain(struct small *s)
{
	s->services[0].limit.flows = 7;
	s->services[0].stale.kind = GS_STALE_IS_DROPPED;
	s->regions[0].admin = GS_ADMIN_DRAIN;
	s->regions[0].drain_until_unix_ms = 5;
}
static void maintain_backend(struct small *s)
{
	s->backends[0].admin = GS_ADMIN_MAINTENANCE;
}
static void maintain_region(struct small *s)
{
	s->regions[0].admin = GS_ADMIN_MAINTENANCE;
}
static void state_capacities(struct small *s)
{
	s->regions[0].capacity = 10;
	s->regions[1].capacity = 20;
}
static void change_order(struct small *s)
{
	s->policies[0].order[0] = 2;
	s->policies[0].order[1] = 1;
}
static void change_override(struct small *s)
{
	s->overrides[0].region = 3;
}
static void lengthen_override(struct small *s)
{
	s->overrides[0].prefix = prefix("203.0.113.0/25");
}
static void drop_override(struct small *s)
{
	s->snapshot.override_count--;
}
static void reword_access(struct small *s)
{
	s->access[0].reason[0] = 'F';
}
static void turn_access(struct small *s)
{
	s->access[0].allow = true;
}
static void lengthen_access(struct small *s)
{
	s->access[2].prefix.length = 33;
}
static void give_access(struct small *s)
{
	s->access[1].service = 2;
}
static void drop_access(struct small *s)
{
	s->snapshot.access_count--;
}
static void limit_region(struct small *s)
{
	s->regions[0].limit_flows = 5;
}
static void limit_service(struct small *s)
{
	s->services[0].limit.flows = 5; /* stands beside generations */
}
static void change_port(struct small *s)
{
	s->services[0].port = 81;
}
static void change_vip(struct small *s)
{
	s->services[0].vip = addr("198.51.100.11");
}
static void renumber_backend(struct small *s)
{
	s->backends[3].id = 9;
	s->backends[3].admin = GS_ADMIN_AUTO;
}

static void test_digest_follows_decisions(void **state)
{
	static const struct {
		const char *name;
		void (*mutate)(struct small *small);
		bool want_change;
	} cases[] = {
		{"nothing", same, false},
		{"names and reasons", rename_all, false},
		{"revision", change_revision, false},
		{"cost", change_cost, false},
		{"probe", change_probe, false},
		{"order of overrides", swap_overrides, false},
		{"another policy that says the same", take_equal_policy, false},
		{"address of a backend in maintenance", move_backend_in_maintenance, false},
		{"a draining backend keeps its slots", drain_backend, false},
		{"bits of a prefix that affinity does not go by", widen_unused_prefix, false},
		{"limits, stale policy, a drain's end", limit_and_drain, false},
		{"reason of an access rule", reword_access, false},
		{"limit of a service", limit_service, false},
		{"access rule turned", turn_access, true},
		{"access rule's length", lengthen_access, true},
		{"access rule of another service", give_access, true},
		{"access rule removed", drop_access, true},
		{"first limit of a region", limit_region, true},
		{"seed", change_seed, true},
		{"affinity by client", bind_clients, true},
		{"affinity by prefix", bind_prefixes, true},
		{"NAT to a port", listen_elsewhere, true},
		{"weight", change_weight, true},
		{"address", change_address, true},
		{"forward mode", change_forward, true},
		{"backend to maintenance", maintain_backend, true},
		{"region to maintenance", maintain_region, true},
		{"capacities", state_capacities, true},
		{"default order", change_order, true},
		{"override to another region", change_override, true},
		{"override's length", lengthen_override, true},
		{"override removed", drop_override, true},
		{"port", change_port, true},
		{"VIP", change_vip, true},
		{"backend's id", renumber_backend, true},
	};
	struct small small;
	struct gs_tables *before;

	(void)state;
	small_init(&small);
	before = build_ok(&small.snapshot, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct small changed;
		struct gs_tables *after;

		small_init(&changed);
		cases[i].mutate(&changed);
		after = build_ok(&changed.snapshot, NULL);
		if ((after->digest != before->digest) != cases[i].want_change)
			fail_msg("%s: digest %s", cases[i].name,
				 cases[i].want_change ? "is the same" : "changed");
		gs_tables_free(after);
	}
	gs_tables_free(before);
}

/* Published round trips come before the model: in plans, in what is said of them, and in digests.
 */
static void test_round_trips_decide(void **state)
{
	struct gs_location locations[] = {
		{.has_coord = false},
		{.country = "DE", .continent = "EU", .has_coord = true, .coord = {50.5, 8.5}},
		{.country = "US", .continent = "NA", .has_coord = true, .coord = {39.5, -77.5}},
	};
	struct gs_latency rows[] = {{.place = "cell:DE/50,8", .region = 1, .us = 200000},
				    {.place = "everybody", .region = 1, .us = 10000},
				    {.place = "everybody", .region = 2, .us = 9000}};
	const struct gs_geodata *geo;
	struct gs_tables_reasons *reasons = malloc(sizeof(*reasons));
	struct gs_tables *before, *after;
	struct world *world = world_new(1);
	struct small small;

	(void)state;
	small_init(&small);
	small.policies[0].kind = GS_POLICY_LATENCY;
	small.policies[1].kind = GS_POLICY_LATENCY;
	world->geo.location_count = world->geo.location_count < 3 ? world->geo.location_count : 3;
	memcpy(world->geo.locations, locations, world->geo.location_count * sizeof(*locations));
	geo = &world->geo;
	assert_int_equal(geo->location_count, 3);
	before = build_ok(&small.snapshot, geo);
	small.snapshot.latencies = rows;
	small.snapshot.latency_count = 3;
	after = build_ok(&small.snapshot, geo);
	assert_int_equal(gs_tables_plan(before, 1, 1)->region[0], 1);
	assert_int_equal(gs_tables_plan(after, 1, 1)->region[0], 2);
	assert_int_equal(gs_tables_plan(after, 1, 2)->region[0], 2);
	assert_int_equal(gs_tables_plan(after, 1, 0)->region[0], 1); /* unknown: the order */
	assert_int_not_equal(before->digest, after->digest);
	assert_int_equal(gs_tables_explain(after, 1, 1, reasons), 0);
	assert_int_equal(reasons->ranking.behind[1], GS_BEHIND_LATENCY);
	assert_int_equal(gs_latency_view_get(&reasons->view, 1, 1000).us, 200000);
	assert_int_equal(gs_tables_explain(after, 1, 0, reasons), 0);
	assert_false(reasons->ranker.knows_round_trip);
	gs_tables_free(before);
	gs_tables_free(after);
	world_free(world);
	free(reasons);
}

static uint32_t slots_of(const struct gs_plan *plan, gs_id region)
{
	uint32_t begin = 0;

	for (uint8_t i = 0; i < plan->count; i++) {
		uint32_t end = plan->share[i] + 1u;

		if (plan->region[i] == region)
			return end - begin;
		begin = end;
	}
	return 0;
}

/*
 * A published round trip that some clients do not go by yet: of locations that go by it, and have
 * another first region for it, a share has; all others have what they have, now.
 */
static void test_round_trips_change_by_and_by(void **state)
{
	static const struct {
		const char *name;
		struct gs_latency row;
		enum gs_policy_kind kind;
		uint16_t location;
		uint32_t old, new; /* slots of regions 1 and 2 */
		uint8_t percent;   /* of gs_tables_move; 0: nobody moves */
	} cases[] = {
		{"a quarter has gone over",
		 {"cell:DE/50,8", 1, 9, 200000, 0, 9000, 75},
		 GS_POLICY_LATENCY,
		 1,
		 49152,
		 16384,
		 25},
		{"three have",
		 {"cell:DE/50,8", 1, 9, 200000, 0, 9000, 25},
		 GS_POLICY_LATENCY,
		 1,
		 16384,
		 49152,
		 75},
		{"all have",
		 {"cell:DE/50,8", 1, 9, 200000, 0, 0, 0},
		 GS_POLICY_LATENCY,
		 1,
		 0,
		 65536,
		 0},
		{"it is new",
		 {"cell:DE/50,8", 1, 9, 200000, 0, GS_LATENCY_NONE, 50},
		 GS_POLICY_LATENCY,
		 1,
		 32768,
		 32768,
		 50},
		{"it goes, and the model speaks again",
		 {"cell:DE/50,8", 1, 9, GS_LATENCY_NONE, 0, 200000, 75},
		 GS_POLICY_LATENCY,
		 1,
		 16384,
		 49152,
		 25},
		{"it is as good as before",
		 {"cell:DE/50,8", 1, 9, 300000, 0, 200000, 50},
		 GS_POLICY_LATENCY,
		 1,
		 0,
		 65536,
		 0},
		{"it is another place's",
		 {"cell:DE/50,8", 1, 9, 200000, 0, 9000, 50},
		 GS_POLICY_LATENCY,
		 2,
		 0,
		 65536,
		 0},
		{"nobody asks for it",
		 {"cell:DE/50,8", 1, 9, 200000, 0, 9000, 50},
		 GS_POLICY_GEO,
		 1,
		 65536,
		 0,
		 0},
	};
	struct gs_location locations[] = {
		{.has_coord = false},
		{.country = "DE", .continent = "EU", .has_coord = true, .coord = {50.5, 8.5}},
		{.country = "US", .continent = "NA", .has_coord = true, .coord = {39.5, -77.5}},
	};
	struct world *world = world_new(1);

	(void)state;
	memcpy(world->geo.locations, locations, sizeof(locations));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_latency row = cases[i].row;
		struct gs_tables *tables, *again;
		struct gs_tables_move move;
		const struct gs_plan *plan;
		struct small small;

		print_message("# %s\n", cases[i].name);
		small_init(&small);
		small.policies[0].kind = cases[i].kind;
		small.snapshot.latencies = &row;
		small.snapshot.latency_count = 1;
		tables = build_ok(&small.snapshot, &world->geo);
		again = build_ok(&small.snapshot, &world->geo);
		assert_int_equal(tables->digest, again->digest);
		plan = gs_tables_plan(tables, 1, cases[i].location);
		assert_int_equal(slots_of(plan, 1), cases[i].old);
		assert_int_equal(slots_of(plan, 2), cases[i].new);
		assert_int_equal(gs_tables_move(tables, 1, cases[i].location, &move),
				 cases[i].percent > 0);
		if (cases[i].percent) {
			assert_int_equal(move.percent, cases[i].percent);
			assert_int_not_equal(move.before.region[0], move.now.region[0]);
		}
		gs_tables_free(tables);
		gs_tables_free(again);
	}
	world_free(world);
}

/* Both plans are under the fences, and an override stands before both. */
static void test_what_is_not_by_round_trips_is_at_once(void **state)
{
	struct gs_location locations[] = {
		{.has_coord = false},
		{.country = "DE", .continent = "EU", .has_coord = true, .coord = {50.5, 8.5}},
	};
	struct gs_latency row = {"cell:DE/50,8", 1, 9, 200000, 0, 9000, 50};
	struct gs_fence fence = {.region_count = 1, .regions = {1}};
	struct world *world = world_new(1);
	struct gs_tables *tables;
	struct small small;

	(void)state;
	memcpy(world->geo.locations, locations, sizeof(locations));
	small_init(&small);
	small.policies[0].kind = GS_POLICY_LATENCY;
	small.snapshot.latencies = &row;
	small.snapshot.latency_count = 1;
	small.snapshot.fences = &fence;
	small.snapshot.fence_count = 1;
	tables = build_ok(&small.snapshot, &world->geo);
	assert_int_equal(gs_tables_plan(tables, 1, 1)->count, 1);
	assert_int_equal(slots_of(gs_tables_plan(tables, 1, 1), 1), 65536);
	gs_tables_free(tables);
	small.snapshot.fence_count = 0;
	/* Another policy, in the middle of it: at once. */
	small.policies[0].kind = GS_POLICY_FAILOVER;
	tables = build_ok(&small.snapshot, &world->geo);
	assert_int_equal(slots_of(gs_tables_plan(tables, 1, 1), 1), 65536);
	gs_tables_free(tables);
	/* A region in maintenance is in neither plan. */
	small.policies[0].kind = GS_POLICY_LATENCY;
	small.regions[1].admin = GS_ADMIN_MAINTENANCE;
	tables = build_ok(&small.snapshot, &world->geo);
	assert_int_equal(slots_of(gs_tables_plan(tables, 1, 1), 1), 65536);
	gs_tables_free(tables);
	world_free(world);
}

/* What packets are told to ask is what there is. */
static void test_asks(void **state)
{
	static const struct {
		uint32_t first, count; /* of the small world's rules */
		uint32_t packets, flows;
		uint32_t want;
	} cases[] = {
		{0, 0, 0, 0, 0},
		{0, 1, 0, 0, GS_ASK_ACCESS4_ALL},
		{1, 1, 0, 0, GS_ASK_ACCESS4_OWN},
		{2, 1, 0, 0, GS_ASK_ACCESS6_ALL},
		{0, 3, 0, 0, GS_ASK_ACCESS4_ALL | GS_ASK_ACCESS4_OWN | GS_ASK_ACCESS6_ALL},
		{0, 0, 1, 0, GS_ASK_REGION_LIMITS},
		{0, 0, 0, 1, GS_ASK_REGION_LIMITS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct small small;
		struct gs_tables *tables;

		small_init(&small);
		small.snapshot.access = &small.access[cases[i].first];
		small.snapshot.access_count = cases[i].count;
		small.regions[1].limit_packets = cases[i].packets;
		small.regions[1].limit_flows = cases[i].flows;
		tables = build_ok(&small.snapshot, NULL);
		assert_int_equal(tables->asks, cases[i].want);
		gs_tables_free(tables);
	}
}

static void test_digest_follows_geoip(void **state)
{
	struct world *world = world_new(11);
	struct gs_tables *a = build_ok(&world->snapshot, &world->geo);
	struct gs_tables *b, *c;

	(void)state;
	world->geo.digest++;
	b = build_ok(&world->snapshot, &world->geo);
	c = build_ok(&world->snapshot, NULL);
	assert_int_not_equal(a->digest, b->digest);
	assert_int_not_equal(b->digest, c->digest);
	gs_tables_free(a);
	gs_tables_free(b);
	gs_tables_free(c);
	world_free(world);
}

/* ---- limits and nonsense --------------------------------------------------------------------- */

static void lose_override_region(struct small *s)
{
	s->overrides[1].region = 9;
}
static void repeat_override(struct small *s)
{
	s->overrides[1].prefix = s->overrides[0].prefix;
}
static void lengthen_beyond(struct small *s)
{
	s->overrides[0].prefix.length = 33;
}
static void lose_access_service(struct small *s)
{
	s->access[1].service = 9;
}
static void repeat_access(struct small *s)
{
	s->access[1].service = 0;
}
static void shuffle_access(struct small *s)
{
	s->access[0].prefix = prefix("192.0.3.0/24");
}
static void lengthen_access_beyond(struct small *s)
{
	s->access[2].prefix.length = 129;
}
static void repeat_address(struct small *s)
{
	s->backends[1].addr = s->backends[0].addr;
}
static void lose_policy(struct small *s)
{
	s->services[0].policy = 7;
}
static void lose_service(struct small *s)
{
	s->backends[0].service = 9;
}
static void lose_region(struct small *s)
{
	s->backends[0].region = 9;
}
static void weigh_nothing(struct small *s)
{
	s->backends[0].weight = 0;
}
static void exceed_services(struct small *s)
{
	s->services[1].id = GS_MAX_SERVICES;
}
static void exceed_backends(struct small *s)
{
	s->backends[3].id = GS_MAX_BACKENDS;
}
static void exceed_regions(struct small *s)
{
	s->regions[2].id = GS_MAX_REGIONS;
}
static void zero_region(struct small *s)
{
	s->regions[0].id = 0;
}
/* A ring of another length is another ring: maintenance of one must not move the others' clients.
 */
static void test_maintenance_keeps_the_length(void **state)
{
	struct gs_region region = {.id = 1, .name = "eu", .admin = GS_ADMIN_AUTO};
	struct gs_policy policy = {.id = 1, .name = "p", .order_count = 1, .order = {1}};
	struct gs_service service = {.id = 1,
				     .name = "s",
				     .vip = gs_addr_from_v4(0xc6336401),
				     .port = 80,
				     .protocol = GS_PROTOCOL_TCP,
				     .policy = 1};
	struct gs_backend backends[5] = {{0}}; /* five: one class of lengths above four */
	struct gs_snapshot snapshot = {.revision = 1,
				       .region_count = 1,
				       .policy_count = 1,
				       .service_count = 1,
				       .backend_count = 5,
				       .regions = &region,
				       .policies = &policy,
				       .services = &service,
				       .backends = backends};
	uint32_t slots;
	struct gs_tables *tables;

	(void)state;
	for (int i = 0; i < 5; i++) {
		backends[i] =
			(struct gs_backend){.id = (gs_id)(i + 1),
					    .service = 1,
					    .region = 1,
					    .weight = 100,
					    .addr = gs_addr_from_v4(0x0a010001 + (uint32_t)i)};
		snprintf(backends[i].name, sizeof(backends[i].name), "b%d", i);
	}
	tables = build_ok(&snapshot, NULL);
	slots = tables->pools[1 * tables->region_stride + 1].slots;
	gs_tables_free(tables);
	assert_true(slots > gs_maglev_slots(4));
	backends[2].admin = GS_ADMIN_MAINTENANCE;
	tables = build_ok(&snapshot, NULL);
	assert_int_equal(tables->pools[1 * tables->region_stride + 1].slots, slots);
	gs_tables_free(tables);
}

static void test_refused(void **state)
{
	static const struct {
		const char *name;
		void (*mutate)(struct small *small);
		int want;
		const char *want_text;
	} cases[] = {
		{"override of no region", lose_override_region, -EINVAL, "203.0.0.0/16"},
		{"override twice", repeat_override, -EINVAL, "203.0.113.0/24"},
		{"override too long", lengthen_beyond, -EINVAL, "33"},
		{"access rule of no service", lose_access_service, -EINVAL, "192.0.2.0/24"},
		{"access rule twice", repeat_access, -EINVAL, "192.0.2.0/24"},
		{"access rules not sorted", shuffle_access, -EINVAL, "192.0.2.0/24"},
		{"access rule too long", lengthen_access_beyond, -EINVAL, "129"},
		{"one address twice", repeat_address, -EINVAL, "web"},
		{"no such policy", lose_policy, -EINVAL, "web"},
		{"no such service", lose_service, -EINVAL, "backend a"},
		{"no such region", lose_region, -EINVAL, "backend a"},
		{"weight 0", weigh_nothing, -EINVAL, "backend a"},
		{"service id", exceed_services, -EFBIG, "1023"},
		{"backend id", exceed_backends, -EFBIG, "16383"},
		{"region id", exceed_regions, -EFBIG, "255"},
		{"region id 0", zero_region, -EFBIG, "eu"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_tables *untouched = (struct gs_tables *)&cases;
		struct gs_tables *tables = untouched;
		struct gs_error error = {{0}};
		struct small small;
		int result;

		small_init(&small);
		cases[i].mutate(&small);
		result = gs_tables_build(&small.snapshot, NULL, &tables, &error);
		if (result != cases[i].want || !strstr(error.text, cases[i].want_text))
			fail_msg("%s: %d, \"%s\"", cases[i].name, result, error.text);
		assert_ptr_equal(tables, untouched);
		assert_int_equal(gs_tables_build(&small.snapshot, NULL, &tables, NULL), result);
	}
}

static void test_too_many_locations(void **state)
{
	struct gs_geodata geo = {.location_count = GS_MAX_LOCATIONS};
	struct gs_tables *tables = NULL;
	struct gs_error error = {{0}};
	struct small small;

	(void)state;
	small_init(&small);
	geo.locations = calloc(GS_MAX_LOCATIONS, sizeof(*geo.locations));
	assert_non_null(geo.locations);
	assert_int_equal(gs_tables_build(&small.snapshot, &geo, &tables, &error), -EFBIG);
	assert_non_null(strstr(error.text, "65536"));
	geo.location_count = GS_MAX_LOCATIONS - 2; /* room for the two synthetic ones */
	tables = build_ok(&small.snapshot, &geo);
	assert_int_equal(tables->location_count, GS_MAX_LOCATIONS);
	gs_tables_free(tables);
	free(geo.locations);
}

static void test_too_many_overrides(void **state)
{
	struct gs_tables *tables = NULL;
	struct gs_error error = {{0}};
	struct small small;

	(void)state;
	small_init(&small);
	small.snapshot.overrides = calloc(GS_MAX_OVERRIDES + 1, sizeof(*small.snapshot.overrides));
	assert_non_null(small.snapshot.overrides);
	for (uint32_t i = 0; i <= GS_MAX_OVERRIDES; i++) {
		struct gs_addr at = gs_addr_from_v4(0x0a000000 + i);

		small.snapshot.overrides[i].prefix = gs_prefix_make(&at, 32);
		small.snapshot.overrides[i].region = 1;
	}
	small.snapshot.override_count = GS_MAX_OVERRIDES + 1;
	assert_int_equal(gs_tables_build(&small.snapshot, NULL, &tables, &error), -EFBIG);
	assert_non_null(strstr(error.text, "65536 IPv4"));
	small.snapshot.override_count--;
	tables = build_ok(&small.snapshot, NULL);
	assert_int_equal(tables->override_count, GS_MAX_OVERRIDES);
	gs_tables_free(tables);
	free(small.snapshot.overrides);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_worlds),
		cmocka_unit_test(test_same_input_same_tables),
		cmocka_unit_test(test_without_geoip),
		cmocka_unit_test(test_nothing_configured),
		cmocka_unit_test(test_digest_follows_decisions),
		cmocka_unit_test(test_round_trips_decide),
		cmocka_unit_test(test_round_trips_change_by_and_by),
		cmocka_unit_test(test_what_is_not_by_round_trips_is_at_once),
		cmocka_unit_test(test_asks),
		cmocka_unit_test(test_digest_follows_geoip),
		cmocka_unit_test(test_maintenance_keeps_the_length),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many_locations),
		cmocka_unit_test(test_too_many_overrides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
