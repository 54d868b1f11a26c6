/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That packets take the express lane at all, and that what it has cached of services and clients
 * holds no longer than it may. Whether it decides as the whole way does is in test_express.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge_pair.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define SYN 0x02
#define ACK 0x10

enum { PORTS = 3 * GS_SERVICE_CACHE, MAX_CPUS = 256, SCRATCH_WORDS = 40 };
#define LOOKED_ON (~0ull >> 1) /* monitor_until_ns */

static struct xdp_edge edge;
static struct gs_meta_value first_meta;

static int open_edge(void **state)
{
	(void)state;
	edge_stay_here();
	xdp_edge_open(&edge);
	xdp_edge_fill(&edge, 1, 2, 0x5eee, false);
	first_meta = xdp_edge_meta(&edge);
	return 0;
}

static int close_edge(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

/* No flows, and nothing cached. */
static int reset(void **state)
{
	(void)state;
	xdp_edge_forget(&edge);
	xdp_edge_set_meta(&edge, &first_meta);
	return 0;
}

static struct packet client(uint16_t sport, uint8_t flags)
{
	return packet_build(&(struct packet_spec){.sport = sport, .flags = flags});
}

static struct xdp_result expect(const char *name, const struct packet *packet, enum gs_reason want)
{
	return xdp_edge_expect(&edge, name, packet, want);
}

/* A proven flow whose service is cached. */
static struct packet proven_flow(void)
{
	struct packet syn = client(7, SYN), ack = client(7, ACK);

	expect("SYN", &syn, GS_REASON_tx_new);
	expect("ACK", &ack, GS_REASON_tx_flow);
	return ack;
}

/* As nobody may: what is cached stays good. */
static void set_unsaid(const char *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(xdp_edge_map(&edge, map), key, value, BPF_ANY), 0);
}

static void count_epoch(void)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);

	xdp_edge_set_meta(&edge, &meta);
}

static struct gs_service_key key_of(const char *vip, uint16_t port)
{
	struct gs_service_key key = {.port = htons(port), .protocol = IPPROTO_TCP};

	packet_addr(vip, (uint8_t *)key.addr);
	return key;
}

/* ---- the lane is taken ----------------------------------------------------------------------- */

/* The whole way asks for the generation's number, and passes everything without one. What the lane
 * has cached it does not ask again: so it shows which way a packet has gone. */
static void forget_number(uint64_t monitor_until_ns)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);

	meta.generation[0].number = 0;
	meta.monitor_until_ns = monitor_until_ns;
	set_unsaid(GS_MAP_META, &(uint32_t){0}, &meta);
}

static void test_known_flows_take_the_lane(void **state)
{
	static const uint32_t tag = 0x81000007;
	struct packet ack = proven_flow(), tagged = packet_tag(&ack, &tag, 1);
	struct packet options =
		packet_build(&(struct packet_spec){.sport = 7, .flags = ACK, .ip_options = 4});

	(void)state;
	forget_number(0);
	expect("plain", &ack, GS_REASON_tx_flow);
	expect("options", &options, GS_REASON_pass_no_meta);
	expect("a tag", &tagged, GS_REASON_pass_no_meta);
	forget_number(LOOKED_ON);
	expect("looked on", &ack, GS_REASON_pass_no_meta);
	forget_number(0);
	expect("no more", &ack, GS_REASON_tx_flow);
}

static const struct {
	const char *name;
	struct gs_service_value value;
	uint32_t asks;
	bool is_plain;
} services[] = {
	{"nothing is asked", {.service = SERVICE_WEB4}, 0, true},
	{"limits of new flows", {.client_flows = 9, .flows = 9}, 0, true},
	{"by the client, with a priority",
	 {.affinity = GS_AFFINITY_CLIENT, .priority = 3},
	 0,
	 true},
	{"a capacity", {0}, GS_ASK_FILL, true},
	{"a limit of a client's packets", {.client_packets = 1000000}, 0, false},
	{"a limit of packets", {.packets = 1000000}, 0, false},
	{"stale after a while", {.stale = GS_STALE_PASS, .stale_after_s = 100}, 0, false},
	{"access rules", {0}, GS_ASK_ACCESS6_OWN, false},
	{"access rules of all", {0}, GS_ASK_ACCESS4_ALL, false},
	{"limits of regions", {0}, GS_ASK_REGION_LIMITS, false},
};

static void test_only_plain_services_take_the_lane(void **state)
{
	const struct gs_service_key key = key_of("198.51.100.10", 80);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(services); i++) {
		struct gs_service_value value = services[i].value;
		struct gs_meta_value meta = first_meta;
		struct packet ack;

		reset(NULL);
		value.service = SERVICE_WEB4;
		xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &value);
		meta.generation[0].asks = services[i].asks;
		xdp_edge_set_meta(&edge, &meta);
		ack = proven_flow();
		forget_number(0);
		expect(services[i].name, &ack,
		       services[i].is_plain ? GS_REASON_tx_flow : GS_REASON_pass_no_meta);
		packet_case();
	}
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &services[0].value);
}

/* Only the lane leaves packets in `scratch`: those it does not decide at once. Was the pattern in
 * it written over? */
static bool unfolds(const struct packet *packet, enum gs_reason want)
{
	static uint64_t before[MAX_CPUS * SCRATCH_WORDS], after[MAX_CPUS * SCRATCH_WORDS];
	uint32_t zero = 0;

	assert_in_range(libbpf_num_possible_cpus(), 1, MAX_CPUS);
	memset(before, 0xa5, sizeof(before));
	memset(after, 0xa5, sizeof(after));
	xdp_edge_set(&edge, "scratch", &zero, before);
	expect(edge_reason_name(want), packet, want);
	xdp_edge_get(&edge, "scratch", &zero, after);
	return memcmp(before, after, sizeof(before)) != 0;
}

static void test_new_flows_take_the_lane(void **state)
{
	struct packet first = client(1, SYN), syn = client(2, SYN), ack = client(2, ACK);
	struct gs_meta_value looked_on = first_meta, sampled = first_meta;

	(void)state;
	assert_false(unfolds(&first, GS_REASON_tx_new)); /* its service is not cached yet */
	assert_true(unfolds(&syn, GS_REASON_tx_new));
	assert_false(unfolds(&ack, GS_REASON_tx_flow)); /* proves it, and is sent at once */
	assert_false(unfolds(&ack, GS_REASON_tx_flow));
	sampled.handshake_one_in = 1;
	xdp_edge_set_meta(&edge, &sampled);
	assert_false(unfolds(&first, GS_REASON_tx_new));
	syn = client(3, SYN), ack = client(3, ACK);
	assert_true(unfolds(&syn, GS_REASON_tx_new));
	assert_true(unfolds(&ack, GS_REASON_tx_flow)); /* it has a round trip to tell */
	assert_false(unfolds(&ack, GS_REASON_tx_flow));
	xdp_edge_forget(&edge);
	looked_on.monitor_until_ns = LOOKED_ON;
	xdp_edge_set_meta(&edge, &looked_on);
	assert_false(unfolds(&first, GS_REASON_tx_new));
	assert_false(unfolds(&syn, GS_REASON_tx_new));
	assert_false(unfolds(&ack, GS_REASON_tx_flow));
}

/* ---- what is cached -------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct gs_service_value value;
	enum gs_reason want;
} changes[] = {
	{"another id", {.service = SERVICE_EXACT}, GS_REASON_tx_repicked},
	{"stale",
	 {.service = SERVICE_WEB4, .stale = GS_STALE_DROP, .stale_after_s = 1},
	 GS_REASON_drop_stale},
	{"stale, passed",
	 {.service = SERVICE_WEB4, .stale = GS_STALE_PASS, .stale_after_s = 1},
	 GS_REASON_pass_stale},
	{"a limit of packets",
	 {.service = SERVICE_WEB4, .packets = 1},
	 GS_REASON_drop_service_packets},
	{"no more than before", {.service = SERVICE_WEB4}, GS_REASON_tx_flow},
};

/* Until the epoch is counted up the old one is what packets meet, then the new one is. */
static void test_changed_service(void **state)
{
	const struct gs_service_key key = key_of("198.51.100.10", 80);
	const struct gs_service_value first = {.service = SERVICE_WEB4};
	const struct gs_limit_block used = {{~0ull >> 1, ~0ull >> 1}};
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	uint32_t service = SERVICE_WEB4;

	(void)state;
	meta.heartbeat_ns = 1; /* long ago */
	xdp_edge_set_meta(&edge, &meta);
	xdp_edge_set(&edge, GS_MAP_LIMITS, &service, &used);
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		struct packet ack;
		struct xdp_result result;

		xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &first);
		xdp_edge_forget(&edge);
		ack = proven_flow();
		set_unsaid(GS_MAP_SERVICES, &key, &changes[i].value);
		expect("unsaid", &ack, GS_REASON_tx_flow);
		count_epoch();
		result = expect(changes[i].name, &ack, changes[i].want);
		assert_int_equal(result.service, changes[i].value.service);
		packet_case();
	}
}

static void test_removed_service(void **state)
{
	const struct gs_service_key key = key_of("198.51.100.10", 80);
	struct packet ack = proven_flow(), syn = client(8, SYN);

	(void)state;
	assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_SERVICES), &key), 0);
	expect("unsaid", &ack, GS_REASON_tx_flow);
	count_epoch();
	expect("known", &ack, GS_REASON_pass_not_service);
	expect("new", &syn, GS_REASON_pass_not_service);
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key,
		     &(struct gs_service_value){.service = SERVICE_WEB4});
	expect("again", &ack, GS_REASON_tx_flow);
}

/* A generation asks things of packets that the one before did not: it holds with its flip. */
static void test_flip(void **state)
{
	struct packet ack = proven_flow(), syn = client(9, SYN);
	struct gs_meta_value meta;

	(void)state;
	xdp_edge_access(&edge, 1, "192.0.2.0", 24, 0, false);
	expect("not in force", &ack, GS_REASON_tx_flow);
	meta = xdp_edge_meta(&edge);
	meta.active = 1;
	set_unsaid(GS_MAP_META, &(uint32_t){0}, &meta);
	expect("known", &ack, GS_REASON_drop_denied);
	expect("new", &syn, GS_REASON_drop_denied);
	xdp_edge_flip(&edge, 0);
	expect("known, back", &ack, GS_REASON_tx_flow);
	assert_int_equal(expect("new, back", &syn, GS_REASON_tx_new).region, 1);
}

/* ---- clients ----------------------------------------------------------------------------------
 */

/* Clients whose draws are in `client_cache`, of this service, on all CPUs. */
static unsigned clients_cached(uint32_t service)
{
	static struct gs_client_cached cpus[MAX_CPUS];
	unsigned count = 0;

	for (uint32_t i = 0; i < GS_CLIENT_CACHE; i++) {
		xdp_edge_get(&edge, "client_cache", &i, cpus);
		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
			count += cpus[cpu].stamp && (cpus[cpu].stamp & 0xffff) == service;
	}
	return count;
}

/* New flows of the client 192.0.2.1 to a service, `count` of them: where they go. */
static void expect_client(const char *dst, uint16_t dport, uint16_t first, uint16_t count,
			  uint32_t service, uint32_t region, uint64_t seed)
{
	for (uint16_t i = 0; i < count; i++) {
		struct packet syn = packet_build(&(struct packet_spec){
			.dst = dst, .dport = dport, .sport = (uint16_t)(first + i), .flags = SYN});
		struct gs_flow_tuple tuple = edge_tuple(&syn);
		struct xdp_result result = expect("client", &syn, GS_REASON_tx_new);

		assert_int_equal(result.service, service);
		assert_int_equal(result.region, region);
		assert_int_equal(result.backend,
				 edge_expect_backend_in(&edge, &tuple, service, region, seed));
	}
}

/* With its second flow the client is known, and goes where the generation in force has it: each has
 * its own rings and its own first region, and nothing outlives a flip. */
static void test_clients_follow_the_generation(void **state)
{
	(void)state;
	xdp_edge_fill(&edge, 1, 3, 0x77, true);
	for (uint16_t turn = 0; turn < 6; turn++) {
		xdp_edge_flip(&edge, turn % 2);
		expect_client("198.51.100.10", 80, (uint16_t)(100 + turn * 20), 20, SERVICE_WEB4,
			      turn % 2 ? 2 : 1, turn % 2 ? 0x77 : 0x5eed);
		assert_int_equal(clients_cached(SERVICE_WEB4), 1);
	}
	xdp_edge_fill(&edge, 1, 2, 0x5eee, false);
	xdp_edge_flip(&edge, 0);
}

/* A slot filled anew while it is not in force, too. */
static void test_clients_of_a_slot_filled_again(void **state)
{
	(void)state;
	for (uint16_t turn = 0; turn < 4; turn++) {
		xdp_edge_fill(&edge, 1, 3u + turn, 0x77u + turn, turn % 2);
		xdp_edge_flip(&edge, 1);
		expect_client("198.51.100.10", 80, (uint16_t)(300 + turn * 20), 20, SERVICE_WEB4,
			      turn % 2 ? 2 : 1, 0x77u + turn);
		xdp_edge_flip(&edge, 0);
	}
	xdp_edge_fill(&edge, 1, 2, 0x5eee, false);
}

/* One client of several services: each has its own pools. */
static void test_clients_of_each_service(void **state)
{
	(void)state;
	for (uint16_t turn = 0; turn < 8; turn++) {
		expect_client("198.51.100.10", 80, (uint16_t)(500 + turn * 4), 4, SERVICE_WEB4, 1,
			      0x5eed);
		assert_int_equal(clients_cached(SERVICE_WEB4), 1);
		expect_client("198.51.100.11", 443, (uint16_t)(600 + turn * 4), 4, SERVICE_EXACT, 1,
			      0x5eed);
		assert_int_equal(clients_cached(SERVICE_EXACT), 1);
	}
}

/* What changes in place is asked of every new flow: a known client leaves a region that is down,
 * and a backend. */
static void test_clients_heed_words(void **state)
{
	static const struct gs_usable_word down = {.state = GS_USABLE_DOWN};
	const uint32_t member = edge_backend_id(SERVICE_WEB4, 1, 0);

	(void)state;
	expect_client("198.51.100.10", 80, 700, 8, SERVICE_WEB4, 1, 0x5eed);
	xdp_edge_set_backend(&edge, member, down);
	expect_client("198.51.100.10", 80, 710, 8, SERVICE_WEB4, 1, 0x5eed);
	xdp_edge_set_backend(&edge, member, edge_up);
	xdp_edge_set_region(&edge, 1, down);
	expect_client("198.51.100.10", 80, 720, 8, SERVICE_WEB4, 2, 0x5eed);
	xdp_edge_set_region(&edge, 1, edge_up);
	xdp_edge_set_pool(&edge, SERVICE_WEB4, 1, down);
	expect_client("198.51.100.10", 80, 730, 8, SERVICE_WEB4, 2, 0x5eed);
	xdp_edge_set_pool(&edge, SERVICE_WEB4, 1, edge_up);
	expect_client("198.51.100.10", 80, 740, 8, SERVICE_WEB4, 1, 0x5eed);
}

/* Without a look at the counters. The action. */
static uint32_t run(const struct packet *packet)
{
	static struct packet out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	return opts.retval;
}

/* More ports than places, each with a flow of its own. */
static void every_port(enum gs_reason want, uint32_t service)
{
	for (uint16_t i = 0; i < PORTS; i++) {
		struct packet packet = packet_build(&(struct packet_spec){
			.dst = "198.51.100.11", .dport = 1000 + i, .flags = SYN});

		if (i % 32 == 0)
			assert_int_equal(expect("port", &packet, want).service, service);
		else
			assert_int_equal(run(&packet), edge_reason_action(want));
		/* From the cache, unless there is none. */
		assert_int_equal(run(&packet), edge_reason_action(want));
	}
}

static void test_every_port(void **state)
{
	const struct gs_service_key any = key_of("198.51.100.11", 0);
	const struct gs_service_key one = key_of("198.51.100.11", 1032);
	const struct gs_service_value exact = {.service = SERVICE_EXACT};
	struct packet packet = packet_build(
		&(struct packet_spec){.dst = "198.51.100.11", .dport = 1032, .flags = ACK});

	(void)state;
	every_port(GS_REASON_tx_new, SERVICE_ANY);
	xdp_edge_forget(&edge);
	assert_int_equal(expect("of all", &packet, GS_REASON_tx_new).service, SERVICE_ANY);
	xdp_edge_set(&edge, GS_MAP_SERVICES, &one, &exact);
	assert_int_equal(expect("its own", &packet, GS_REASON_tx_repicked).service, SERVICE_EXACT);
	assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_SERVICES), &one), 0);
	assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_SERVICES), &any), 0);
	count_epoch();
	every_port(GS_REASON_pass_not_service, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LANE_TEST(test) cmocka_unit_test_setup(test, reset)
		LANE_TEST(test_known_flows_take_the_lane),
		LANE_TEST(test_only_plain_services_take_the_lane),
		LANE_TEST(test_new_flows_take_the_lane),
		LANE_TEST(test_changed_service),
		LANE_TEST(test_removed_service),
		LANE_TEST(test_flip),
		LANE_TEST(test_clients_follow_the_generation),
		LANE_TEST(test_clients_of_a_slot_filled_again),
		LANE_TEST(test_clients_of_each_service),
		LANE_TEST(test_clients_heed_words),
		LANE_TEST(test_every_port),
	};

	return cmocka_run_group_tests_name("express_cache", tests, open_edge, close_edge);
}
