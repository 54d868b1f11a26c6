/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Full regions, as packets: five regions at 70 % of their capacities, 65,536 clients, the largest
 * region lost; then more than all can take. Tables of the real planner, words of the real solver.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "pinned_edge.h"
#include "user/adapters/adapters.h"
#include "user/core/capacity.h"
#include "user/core/cidr.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"
#include "user/ports.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIVE = 5, CLIENTS = 65536, LOW = 1, HIGH = 2, LARGEST = 1, ALL = GS_CAPACITY_REGIONS };
static const uint64_t capacity[FIVE] = {25000, 20000, 15000, 18000, 12000};

static struct {
	struct pinned_edge edge;
	struct gs_dataplane dataplane;
	struct gs_region regions[FIVE];
	struct gs_policy policy;
	struct gs_service services[2]; /* LOW: priority 1, HIGH: 6 */
	struct gs_backend backends[2 * FIVE];
	struct gs_override overrides[FIVE];
	struct gs_snapshot snapshot;
	struct gs_tables *tables;
	struct gs_hop hops[2 * FIVE];
	bool up[ALL];
	struct gs_capacity_input input;
	struct gs_capacity_words right, words;
	struct gs_fill fill[ALL];
	uint16_t port; /* another one each time: every flow is a new one */
} s;

static struct client {
	struct gs_addr addr;
	gs_id home, before, after;
} clients[CLIENTS];

static struct gs_service *service_of(int which)
{
	return &s.services[which - 1];
}

static void make_services(void)
{
	for (int i = 0; i < 2; i++) {
		struct gs_service *service = &s.services[i];

		service->id = (gs_id)(i + 1);
		snprintf(service->name, sizeof(service->name), "service-%d", i + 1);
		service->vip = gs_addr_from_v4(0xc6336400u + 10);
		service->port = (uint16_t)(80 + i);
		service->protocol = GS_PROTOCOL_TCP;
		service->policy = 1;
		gs_service_spec_default(service);
		service->limit.priority = i ? 6 : 1;
	}
}

/* Clients of (20 + i).0.0.0/8 are at home in region i + 1, by an override. */
static void make_regions(void)
{
	for (int i = 0; i < FIVE; i++) {
		struct gs_region *region = &s.regions[i];
		struct gs_addr first = gs_addr_from_v4((20u + (uint32_t)i) << 24);

		region->id = (gs_id)(i + 1);
		snprintf(region->name, sizeof(region->name), "region-%d", i + 1);
		region->coord = (struct gs_coord){10 * i, 20 * i};
		region->capacity = capacity[i];
		s.policy.order[i] = region->id;
		s.overrides[i].prefix = gs_prefix_make(&first, 8);
		s.overrides[i].region = region->id;
		s.up[region->id] = true;
	}
}

static void make_backends(void)
{
	for (int i = 0; i < 2 * FIVE; i++) {
		struct gs_backend *backend = &s.backends[i];

		backend->id = (gs_id)(i + 1);
		snprintf(backend->name, sizeof(backend->name), "backend-%d", i + 1);
		backend->service = (gs_id)(1 + i / FIVE);
		backend->region = (gs_id)(1 + i % FIVE);
		backend->addr = gs_addr_from_v4(0x0a000000u + (uint32_t)i + 1);
		backend->weight = 100;
		s.hops[i] = (struct gs_hop){.dst_mac = {2, 0, 0, 0, 0, 1},
					    .src_mac = {2, 0, 0, 0, 0, 2},
					    .mtu = 1500,
					    .src4 = gs_addr_from_v4(0x0a0000feu)};
	}
}

static void set_region(gs_id region, bool is_up)
{
	const struct gs_usable word = {.state = is_up ? GS_USABLE_UP : GS_USABLE_DOWN,
				       .accept = UINT16_MAX};

	s.up[region] = is_up;
	s.dataplane.ops->set_usable(s.dataplane.self, GS_OBJECT_REGION, region, word);
}

static int setup(void **state)
{
	const struct gs_usable up = {.state = GS_USABLE_UP, .accept = UINT16_MAX};
	struct gs_dataplane_info info;
	struct gs_error error = {{0}};
	(void)state;

	memset(&s, 0, sizeof(s));
	pinned_edge_open(&s.edge);
	make_services();
	make_regions();
	make_backends();
	s.policy.id = 1;
	strcpy(s.policy.name, "nearest");
	s.policy.kind = GS_POLICY_GEO;
	s.policy.order_count = FIVE;
	s.snapshot = (struct gs_snapshot){.revision = 1,
					  .selection_seed = 0x5eed,
					  .region_count = FIVE,
					  .regions = s.regions,
					  .policy_count = 1,
					  .policies = &s.policy,
					  .service_count = 2,
					  .services = s.services,
					  .backend_count = 2 * FIVE,
					  .backends = s.backends,
					  .override_count = FIVE,
					  .overrides = s.overrides};
	if (gs_tables_build(&s.snapshot, NULL, &s.tables, &error) ||
	    gs_dataplane_open(s.edge.pin_dir, &s.dataplane, &error) ||
	    s.dataplane.ops->publish(s.dataplane.self, s.tables, s.hops, &info, &error))
		fail_msg("%s", error.text);
	for (gs_id region = 1; region <= FIVE; region++)
		set_region(region, true);
	for (int i = 0; i < 2 * FIVE; i++) {
		s.dataplane.ops->set_usable(s.dataplane.self, GS_OBJECT_BACKEND, s.backends[i].id,
					    up);
		s.dataplane.ops->set_usable(
			s.dataplane.self, GS_OBJECT_POOL,
			gs_pool_index(s.backends[i].service, s.backends[i].region), up);
	}
	s.port = 2000;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	s.dataplane.ops->close(s.dataplane.self);
	gs_tables_free(s.tables);
	pinned_edge_close(&s.edge);
	return 0;
}

/* A /24 each, as many in each region as its capacity has of all. */
static void populate(void)
{
	uint64_t all = 0, at = 0;
	uint32_t next = 0;

	for (int i = 0; i < FIVE; i++)
		all += capacity[i];
	for (uint32_t i = 0; i < FIVE; i++) {
		at += capacity[i];
		for (uint32_t n = 0; next < CLIENTS && next < at * CLIENTS / all; n++, next++)
			clients[next] = (struct client){
				.addr = gs_addr_from_v4((20u + i) << 24 | n << 8 | 7),
				.home = (gs_id)(i + 1)};
	}
	assert_int_equal(next, CLIENTS);
}

/* load: of all capacity. Half of the demand is of each service. */
static void solve(double load)
{
	double each = 0;

	for (int i = 0; i < FIVE; i++)
		each += (double)capacity[i] * load / CLIENTS;
	for (int i = 0; i < FIVE; i++)
		s.input.limit[i + 1].capacity = capacity[i];
	gs_capacity_clear(&s.input);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		uint8_t usable[FIVE], count = 0;

		for (uint8_t region = 1; region <= FIVE; region++)
			if (s.up[region])
				usable[count++] = region;
		for (int which = LOW; which <= HIGH; which++)
			gs_capacity_add(&s.input, clients[i].home, usable, count,
					service_of(which)->limit.priority, each / 2);
	}
	gs_capacity_solve(&s.input, &s.right);
}

static void step(uint32_t ms)
{
	gs_capacity_step(&s.input, &s.right, s.up, ms, &s.words);
	gs_capacity_to_fill(&s.words, s.fill);
	for (gs_id region = 1; region <= FIVE; region++) {
		struct gs_fill got;

		s.dataplane.ops->set_fill(s.dataplane.self, region, s.fill[region]);
		got = s.dataplane.ops->get_fill(s.dataplane.self, region);
		assert_memory_equal(&got, &s.fill[region], sizeof(got));
	}
}

/* By core/plan.c. */
static gs_id expect(const struct client *client, const struct gs_service *service)
{
	const struct gs_plan *plan = gs_tables_plan(
		s.tables, service->id, gs_tables_locate(s.tables, &client->addr, NULL, NULL));
	bool usable[GS_PLAN_REGIONS];
	struct gs_fill fill[GS_PLAN_REGIONS];
	enum gs_plan_way way;
	int at;

	for (int i = 0; i < plan->count; i++) {
		usable[i] = s.up[plan->region[i]];
		fill[i] = s.fill[plan->region[i]];
	}
	at = gs_plan_pick_filled(plan, usable, fill, service->limit.priority,
				 gs_tables_draw(s.tables, service, &client->addr), &way);
	return at < 0 ? 0 : plan->region[at];
}

/* A new flow of every client; where it goes is what core/plan.c says. How many were dropped. */
static int send_all(int which)
{
	const struct gs_service *service = service_of(which);
	int dropped = 0;

	s.port++;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		const struct edge_flow flow = {.client = clients[i].addr,
					       .client_port = s.port,
					       .service = service,
					       .port = service->port};
		struct edge_answer answer = pinned_edge_send(&s.edge, &flow);
		gs_id want = expect(&clients[i], service);

		clients[i].after = 0;
		if (answer.verdict == XDP_TX)
			clients[i].after = (gs_id)(1 + (answer.to.bytes[15] - 1) % FIVE);
		if (clients[i].after != want)
			fail_msg("client %u: to region %u, not %u", i, clients[i].after, want);
		dropped += !clients[i].after;
	}
	return dropped;
}

/* The fullest region, of its capacity, if all clients come to `load` of all capacity. */
static double fullest(double load)
{
	double each = 0, of[FIVE + 1] = {0}, most = 0;

	for (int i = 0; i < FIVE; i++)
		each += (double)capacity[i] * load / CLIENTS;
	for (uint32_t i = 0; i < CLIENTS; i++)
		of[clients[i].after] += each;
	for (int i = 0; i < FIVE; i++)
		most = fmax(most, of[i + 1] / (double)capacity[i]);
	return most;
}

/* Of those who were elsewhere. */
static double moved(gs_id lost)
{
	int others = 0, count = 0;

	for (uint32_t i = 0; i < CLIENTS; i++) {
		others += clients[i].before != lost;
		count += clients[i].before != lost && clients[i].after != clients[i].before;
	}
	return (double)count / others;
}

static uint64_t counted(enum gs_reason reason)
{
	static struct gs_count counts[1024];
	uint32_t key = reason;
	uint64_t sum = 0;

	assert_int_equal(
		bpf_map_lookup_elem(pinned_edge_map(&s.edge, GS_MAP_COUNT_REASON), &key, counts),
		0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		sum += counts[cpu].packets;
	return sum;
}

static void the_largest_region_is_lost(void **state)
{
	(void)state;

	populate();
	for (int second = 0; second < 3; second++) {
		solve(.7);
		step(1000);
	}
	assert_int_equal(send_all(LOW), 0);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		assert_int_equal(clients[i].after, clients[i].home);
		clients[i].before = clients[i].after;
	}
	set_region(LARGEST, false);
	/* the first second: one usable word has changed, and nothing else */
	assert_int_equal(send_all(LOW), 0);
	assert_true(fullest(.7) <= 1);
	assert_true(moved(LARGEST) == 0);
	/* then words know of it */
	solve(.7);
	step(1000);
	assert_int_equal(send_all(LOW), 0);
	assert_true(fullest(.7) <= 1);
	assert_true(moved(LARGEST) <= .05);
	/* back again, half way: half of its clients */
	set_region(LARGEST, true);
	for (int second = 0; second < 5; second++) {
		solve(.7);
		step(1000);
	}
	assert_int_equal(send_all(LOW), 0);
	assert_true(moved(LARGEST) <= .05);
	assert_true(fullest(.7) <= 1);
	assert_true(fabs((double)s.fill[LARGEST].away / 65536 - .5) < .01);
	assert_int_equal(counted(GS_REASON_drop_shed), 0);
}

/* A fifth more than all can take: of priority 1 a third is shed, of priority 6 nobody. */
static void what_is_too_much_is_shed_by_priority(void **state)
{
	int dropped;
	(void)state;

	populate();
	solve(1.2);
	step(1000);
	dropped = send_all(LOW);
	assert_true(fabs((double)dropped / CLIENTS - 2 * .2 / 1.2) < .02);
	assert_int_equal(counted(GS_REASON_drop_shed), dropped);
	assert_int_equal(send_all(HIGH), 0);
	assert_int_equal(counted(GS_REASON_drop_shed), dropped);
}

/* A region 30 % beyond its capacity: the rest goes by headroom, and nobody else moves. */
static void a_full_region_sends_its_excess_to_all_others(void **state)
{
	int took[FIVE + 1] = {0}, left = 0, home = 0;
	(void)state;

	populate();
	for (int i = 0; i < FIVE; i++)
		s.input.limit[i + 1].capacity = capacity[i];
	for (uint8_t region = 1; region <= FIVE; region++) {
		static const uint8_t usable[] = {1, 2, 3, 4, 5};

		gs_capacity_add(&s.input, region, usable, FIVE, 4,
				(double)capacity[region - 1] * (region == 2 ? 1.3 : .5));
	}
	gs_capacity_solve(&s.input, &s.right);
	step(60000);
	assert_int_equal(send_all(LOW), 0);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		if (clients[i].home != 2) {
			assert_int_equal(clients[i].after, clients[i].home);
			continue;
		}
		home++;
		left += clients[i].after != 2;
		took[clients[i].after] += clients[i].after != 2;
	}
	assert_true(fabs((double)left / home - .5 / 1.3) < .01);
	for (int region = 1; region <= FIVE; region++)
		if (region != 2)
			assert_true(fabs((double)took[region] / left -
					 (double)capacity[region - 1] / 70000) < .02);
}

#define EDGE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EDGE_TEST(the_largest_region_is_lost),
		EDGE_TEST(what_is_too_much_is_shed_by_priority),
		EDGE_TEST(a_full_region_sends_its_excess_to_all_others),
	};

	return cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
}
