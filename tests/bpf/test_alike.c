/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two edges of one configuration and one GeoIP database send every flow to the same backend,
 * whatever either has been through: each has the real program and maps of its own. One has just
 * begun; the other has published other worlds and drafts of this one, carried their flows, lost its
 * daemon on the way, and stands on another link. Those whose digests differ do not agree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/packet.h"
#include "tests/bpf/pinned_edge.h"
#include "tests/fakes/world.h"
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLDS = 4, FLOWS = 65536 / WORLDS, DRAFTS = 5, STATES = 4, OLD_FLOWS = 200 };

struct edge {
	struct pinned_edge pinned;
	struct gs_dataplane dataplane;
	uint8_t link; /* tells next hops apart */
	struct gs_dataplane_info info;
};

/* ---- edges ----------------------------------------------------------------------------------- */

static void start_daemon(struct edge *edge)
{
	struct gs_error error = {{0}};

	if (gs_dataplane_open(edge->pinned.pin_dir, &edge->dataplane, &error))
		fail_msg("open: %s", error.text);
}

static void edge_open(struct edge *edge, uint8_t link)
{
	*edge = (struct edge){.link = link};
	pinned_edge_open(&edge->pinned);
	start_daemon(edge);
}

static void edge_close(struct edge *edge)
{
	edge->dataplane.ops->close(edge->dataplane.self);
	pinned_edge_close(&edge->pinned);
}

/* The daemon is another one; maps stay. */
static void restart_daemon(struct edge *edge)
{
	edge->dataplane.ops->close(edge->dataplane.self);
	start_daemon(edge);
}

/* By this edge's own next hops. */
static void publish(struct edge *edge, const struct gs_tables *tables)
{
	const struct gs_snapshot *snapshot = tables->snapshot;
	GS_AUTO_FREE struct gs_hop *hops = calloc(snapshot->backend_count + 1, sizeof(*hops));
	struct gs_error error = {{0}};

	assert_non_null(hops);
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		hops[i] = (struct gs_hop){
			.dst_mac = {2, edge->link, 0, 0, 0, (uint8_t)(i % edge->link)},
			.src_mac = {2, edge->link, 1},
			.mtu = 1500,
			.src4 = gs_addr_from_v4(0xc0000200u + edge->link),
			.src6 = {{0x20, 0x01, 0x0d, 0xb8, [15] = edge->link}},
		};
	if (edge->dataplane.ops->publish(edge->dataplane.self, tables, hops, &edge->info, &error))
		fail_msg("publish: %s", error.text);
}

static struct gs_tables *build(const struct world *world)
{
	struct gs_error error = {{0}};
	struct gs_tables *tables;

	if (gs_tables_build(&world->snapshot, &world->geo, &tables, &error))
		fail_msg("tables: %s", error.text);
	return tables;
}

/* ---- words ----------------------------------------------------------------------------------- */

static struct gs_usable draw_word(uint64_t *seed)
{
	switch (world_draw(seed) % 8) {
	case 0:
		return (struct gs_usable){.state = GS_USABLE_DOWN};
	case 1:
		return (struct gs_usable){.state = GS_USABLE_DRAIN};
	case 2:
		return (struct gs_usable){.state = GS_USABLE_UP,
					  .accept = (uint16_t)world_draw(seed)};
	default:
		return (struct gs_usable){.state = GS_USABLE_UP, .accept = UINT16_MAX};
	}
}

/* Of everything there is; the same seed, the same words. is_well: all up, nothing is full. */
static void set_words(const struct edge *edge, const struct gs_snapshot *snapshot, uint64_t seed,
		      bool is_well)
{
	const struct gs_usable up = {.state = GS_USABLE_UP, .accept = UINT16_MAX};
	const struct gs_dataplane *dataplane = &edge->dataplane;

	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		gs_id region = snapshot->regions[i].id;
		struct gs_usable word = draw_word(&seed);
		struct gs_fill fill = {.away = (uint16_t)world_draw(&seed),
				       .room = (uint16_t)world_draw(&seed),
				       .spare = (uint16_t)world_draw(&seed)};

		if (is_well)
			fill = (struct gs_fill){.away = 0};
		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_REGION, region,
					   is_well ? up : word);
		dataplane->ops->set_fill(dataplane->self, region, fill);
	}
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		struct gs_usable word = draw_word(&seed), pool_word = draw_word(&seed);

		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_BACKEND, backend->id,
					   is_well ? up : word);
		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_POOL,
					   gs_pool_index(backend->service, backend->region),
					   is_well ? up : pool_word);
	}
}

/* ---- flows ----------------------------------------------------------------------------------- */

static bool is_forwarded(const struct edge_answer *answer)
{
	return answer->verdict == XDP_TX;
}

static bool is_alike(const struct edge_answer *a, const struct edge_answer *b)
{
	return a->verdict == b->verdict &&
	       (!is_forwarded(a) || gs_addr_compare(&a->to, &b->to) == 0);
}

struct outcome {
	uint32_t sent, forwarded, differing;
};

/* New flows through both; they are told apart by nothing but what they are. */
static struct outcome compare(const struct edge *a, const struct edge *b, const struct world *world,
			      uint32_t count, uint64_t seed)
{
	struct outcome outcome = {.sent = count};

	for (uint32_t i = 0; i < count; i++) {
		struct edge_flow flow = edge_flow_of(world, &seed);
		struct edge_answer of_a = pinned_edge_send(&a->pinned, &flow);
		struct edge_answer of_b = pinned_edge_send(&b->pinned, &flow);

		outcome.forwarded += is_forwarded(&of_a);
		outcome.differing += !is_alike(&of_a, &of_b);
	}
	return outcome;
}

/* ---- a past ---------------------------------------------------------------------------------- */

static void carry(const struct edge *edge, const struct world *world, uint64_t seed)
{
	for (uint32_t i = 0; i < OLD_FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(world, &seed);

		pinned_edge_send(&edge->pinned, &flow);
	}
}

/* The world before somebody went on with it. */
static void make_draft(struct gs_snapshot *snapshot, uint32_t draft, uint64_t *seed)
{
	snapshot->selection_seed ^= draft & 1;
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		snapshot->backends[i].weight = (uint16_t)(1 + world_draw(seed) % 200);
		if (world_draw(seed) % 4 == 0)
			snapshot->backends[i].admin = GS_ADMIN_MAINTENANCE;
	}
	if (draft % 3 == 0)
		snapshot->backend_count -= snapshot->backend_count / 3;
	for (uint32_t i = 0; draft % 2 && i < snapshot->policy_count; i++) {
		struct gs_policy *policy = &snapshot->policies[i];

		policy->kind = policy->kind == GS_POLICY_GEO ? GS_POLICY_FAILOVER : GS_POLICY_GEO;
	}
	if (draft == 2)
		snapshot->override_count /= 2;
}

static void live_through(struct edge *edge, const struct world *world)
{
	for (uint32_t i = 1; i <= DRAFTS; i++) {
		uint64_t seed = world->snapshot.selection_seed + i;
		bool is_foreign = i % 2;
		struct world *other = world_new(is_foreign ? seed : 0);
		struct world draft = is_foreign ? *other : *world;
		GS_AUTO_FREE struct gs_backend *backends = NULL;
		GS_AUTO_FREE struct gs_policy *policies = NULL;
		size_t size = draft.snapshot.backend_count * sizeof(*backends);
		struct gs_tables *tables;

		backends = malloc(size + 1);
		policies = malloc(draft.snapshot.policy_count * sizeof(*policies));
		assert_non_null(backends);
		assert_non_null(policies);
		memcpy(backends, draft.snapshot.backends, size);
		memcpy(policies, draft.snapshot.policies,
		       draft.snapshot.policy_count * sizeof(*policies));
		draft.snapshot.backends = backends;
		draft.snapshot.policies = policies;
		make_draft(&draft.snapshot, i, &seed);
		tables = build(&draft);
		publish(edge, tables);
		set_words(edge, &draft.snapshot, seed, i == 1);
		carry(edge, &draft, seed);
		if (i % 2 == 0)
			restart_daemon(edge);
		gs_tables_free(tables);
		world_free(other);
	}
}

/* The same, as rows may come in another order where order says nothing. */
static void turn_overrides(struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0, j = snapshot->override_count; i + 1 < j; i++) {
		struct gs_override swap = snapshot->overrides[--j];

		snapshot->overrides[j] = snapshot->overrides[i];
		snapshot->overrides[i] = swap;
	}
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* The pure twin, where all is well: what `a` does is what its tables say. */
static void check_twin(const struct edge *a, const struct gs_tables *tables,
		       const struct world *world, uint64_t seed)
{
	for (uint32_t i = 0; i < OLD_FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(world, &seed);
		struct edge_answer answer = pinned_edge_send(&a->pinned, &flow);
		const struct gs_backend *want = edge_expect(tables, &flow, NULL);

		if (is_forwarded(&answer) != (want != NULL) ||
		    (want && gs_addr_compare(&answer.to, &want->addr) != 0))
			fail_msg("seed %ju: flow %u goes elsewhere than by its tables",
				 (uintmax_t)seed, i);
	}
}

/* Where round trips decide, and a share of all clients goes by those published before. */
static void change_round_trips(struct gs_snapshot *snapshot)
{
	uint64_t seed = snapshot->selection_seed;

	snapshot->latencies = calloc(snapshot->region_count, sizeof(*snapshot->latencies));
	assert_non_null(snapshot->latencies);
	snapshot->latency_count = snapshot->region_count;
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		snapshot->latencies[i] =
			(struct gs_latency){.place = "everybody",
					    .region = snapshot->regions[i].id,
					    .us = (int32_t)(world_draw(&seed) % 200000),
					    .before_us = (int32_t)(world_draw(&seed) % 200000),
					    .before_percent = 50};
	for (uint32_t i = 0; i < snapshot->policy_count; i++)
		if (snapshot->policies[i].kind == GS_POLICY_GEO)
			snapshot->policies[i].kind = GS_POLICY_LATENCY;
}

/* Plans of which two regions have a half each. */
static uint32_t count_halves(const struct gs_tables *tables)
{
	uint32_t halves = 0;

	for (uint32_t id = 1; id <= gs_plan_set_count(tables->plans); id++)
		halves += gs_plan_set_get(tables->plans, (gs_id)id)->share[0] == UINT16_MAX / 2;
	return halves;
}

static void equal_digests_send_every_flow_alike(void **state)
{
	uint32_t sent = 0, forwarded = 0, halves = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		struct world *world = world_new(seed), *again = world_new(seed);
		struct gs_tables *tables, *tables_again;
		struct edge fresh, old;

		if (seed % 2) {
			change_round_trips(&world->snapshot);
			change_round_trips(&again->snapshot);
		}
		tables = build(world);
		halves += count_halves(tables);
		turn_overrides(&again->snapshot);
		tables_again = build(again);
		edge_open(&fresh, 3);
		edge_open(&old, 5);
		live_through(&old, again);
		publish(&fresh, tables);
		publish(&old, tables_again);
		assert_int_equal(fresh.info.digest, old.info.digest);
		assert_int_not_equal(fresh.info.generation, old.info.generation);
		for (uint32_t i = 0; i < STATES; i++) {
			struct outcome outcome;

			set_words(&fresh, &world->snapshot, seed + i, i == 0);
			set_words(&old, &again->snapshot, seed + i, i == 0);
			if (i == 0)
				check_twin(&fresh, tables, world, seed);
			outcome = compare(&fresh, &old, world, FLOWS / STATES, 1000 * seed + i);
			if (outcome.differing > 0)
				fail_msg("world %ju, words %u: %u of %u flows differ",
					 (uintmax_t)seed, i, outcome.differing, outcome.sent);
			sent += outcome.sent;
			forwarded += outcome.forwarded;
		}
		edge_close(&old);
		edge_close(&fresh);
		gs_tables_free(tables_again);
		gs_tables_free(tables);
		free(again->snapshot.latencies);
		free(world->snapshot.latencies);
		world_free(again);
		world_free(world);
	}
	assert_true(halves > 0);
	print_message("# %u flows, %u of them forwarded, all alike\n", sent, forwarded);
	assert_int_equal(sent, 65536);
	assert_true(forwarded > sent / 4);
}

static void change_seed(struct world *world, struct world *other)
{
	(void)other;
	world->snapshot.selection_seed ^= 1;
}

static void change_geo(struct world *world, struct world *other)
{
	struct gs_geodata geo = world->geo;

	world->geo = other->geo;
	other->geo = geo;
}

static void change_address(struct world *world, struct world *other)
{
	(void)other;
	for (uint32_t i = 0; i < world->snapshot.backend_count; i++)
		world->snapshot.backends[i].addr.bytes[14] ^= 0x40;
}

/* One where it matters where a client is, and where there is something to choose from. */
static uint64_t find_rich_world(void)
{
	for (uint64_t seed = 1;; seed++) {
		struct world *world = world_new(seed);
		const struct gs_snapshot *snapshot = &world->snapshot;
		uint32_t by_place = 0;

		for (uint32_t i = 0; i < snapshot->policy_count; i++)
			by_place += snapshot->policies[i].kind == GS_POLICY_GEO &&
				    snapshot->policies[i].order_count >= 4;
		if (by_place == snapshot->policy_count && snapshot->backend_count > 30) {
			world_free(world);
			return seed;
		}
		world_free(world);
	}
}

/* Another digest is not for nothing. */
static void unequal_digests_do_not(void **state)
{
	static const struct {
		const char *name;
		void (*change)(struct world *world, struct world *other);
	} cases[] = {
		{"seed", change_seed},
		{"GeoIP database", change_geo},
		{"addresses", change_address},
	};

	uint64_t seed = find_rich_world();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *world = world_new(seed), *changed = world_new(seed),
			     *other = world_new(seed + 1);
		struct gs_tables *tables = build(world), *tables_changed;
		struct outcome outcome;
		struct edge a, b;

		cases[i].change(changed, other);
		tables_changed = build(changed);
		edge_open(&a, 3);
		edge_open(&b, 3);
		publish(&a, tables);
		publish(&b, tables_changed);
		set_words(&a, &world->snapshot, 0, true);
		set_words(&b, &changed->snapshot, 0, true);
		outcome = compare(&a, &b, world, 2000, 7);
		if (a.info.digest == b.info.digest || outcome.differing == 0)
			fail_msg("%s: %u flows differ", cases[i].name, outcome.differing);
		edge_close(&b);
		edge_close(&a);
		gs_tables_free(tables_changed);
		gs_tables_free(tables);
		world_free(other);
		world_free(changed);
		world_free(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_digests_send_every_flow_alike),
		cmocka_unit_test(unequal_digests_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
