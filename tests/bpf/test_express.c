/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The express lane beside the whole way: what becomes of packets, and what is remembered of them,
 * is the same. That the lane is taken at all is in test_express_cache.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge_pair.h"
#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "packet_cases.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

enum { ROUNDS = 100, FRAMES = 40, MAX_KEYS = 64, SEED = 0x1a4e };

static struct edge_pair pair;
static struct gs_service_key keys[MAX_KEYS]; /* as the world has them at first */
static struct gs_service_value values[MAX_KEYS];
static uint32_t key_count;

static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed += 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(gs_hash_mix(*seed) >> 32) % below;
}

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct gs_service_key));
}

static int setup(void **state)
{
	const struct gs_service_key *previous = NULL;
	int fd;

	(void)state;
	edge_pair_open(&pair);
	fd = xdp_edge_map(&pair.edge[LANE], GS_MAP_SERVICES);
	for (key_count = 0; !bpf_map_get_next_key(fd, previous, &keys[key_count]); key_count++) {
		previous = &keys[key_count];
		assert_true(key_count + 1 < MAX_KEYS);
	}
	qsort(keys, key_count, sizeof(keys[0]),
	      compare_keys); /* each map has an order of its own */
	for (uint32_t i = 0; i < key_count; i++)
		assert_int_equal(bpf_map_lookup_elem(fd, &keys[i], &values[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	edge_pair_close(&pair);
	return 0;
}

/* ---- tables of packets ----------------------------------------------------------------------- */

static void expect_cases_alike(const struct packet_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct packet packet = packet_case_build(&cases[i]);

		for (int turn = 0; turn < 3; turn++) /* new, proving, proven */
			edge_pair_expect_alike(&pair, cases[i].name, &packet);
	}
}

static void test_tables_alike(void **state)
{
	(void)state;
	expect_cases_alike(packet_cases_forwarded, packet_cases_forwarded_count);
	expect_cases_alike(packet_cases_refused, packet_cases_refused_count);
}

/* ---- random ones, the world changing --------------------------------------------------------- */

static void reset_world(void)
{
	const struct gs_hop_value hop = edge_hop_value();
	const struct gs_limit_block unused = {0};
	uint32_t id = EDGE_HOP;

	edge_pair_set(&pair, GS_MAP_HOPS, &id, &hop);
	for (uint32_t i = 0; i < key_count; i++)
		edge_pair_set(&pair, GS_MAP_SERVICES, &keys[i], &values[i]);
	for (uint32_t service = 0; service < EDGE_SERVICES; service++)
		edge_pair_set(&pair, GS_MAP_LIMITS, &service, &unused);
	for (int e = 0; e < EDGES; e++) {
		for (uint32_t region = 1; region < EDGE_REGIONS; region++)
			xdp_edge_set_region(&pair.edge[e], region, edge_up);
		for (uint32_t backend = edge_backend_id(1, 1, 0); backend < EDGE_BACKENDS;
		     backend++) {
			struct gs_backend_value value = edge_backend_value(backend);

			if (value.region == 0 || backend % 4 > 1)
				continue;
			xdp_edge_set(&pair.edge[e], GS_MAP_BACKENDS, &backend, &value);
			xdp_edge_set_backend(&pair.edge[e], backend, edge_up);
			xdp_edge_set_pool(&pair.edge[e], value.service, value.region, edge_up);
		}
		xdp_edge_set_meta(&pair.edge[e], &pair.first_meta[e]);
	}
}

static void change_usable(uint64_t *seed)
{
	const struct gs_usable_word word = {.state = (uint16_t)draw(seed, 4),
					    .accept = (uint16_t)draw(seed, 65536),
					    .epoch = 9};
	const struct gs_trial_value trial = {.epoch = 9, .left = (int32_t)draw(seed, 6)};
	uint32_t service = 1 + draw(seed, EDGE_SERVICES - 1), region = 1 + draw(seed, 3);
	uint32_t pool = service * GS_MAX_REGIONS + region, kind = draw(seed, 5);
	uint32_t backend = edge_backend_id(service, region, 0), members = draw(seed, 3);
	struct gs_usable_word no_trial = word;

	if (no_trial.state == GS_USABLE_TRIAL) /* is of pools only */
		no_trial.state = GS_USABLE_DRAIN;
	for (int e = 0; e < EDGES; e++) {
		if (kind == 0)
			xdp_edge_set_region(&pair.edge[e], region, no_trial);
		else if (kind <= 2)
			for (uint32_t i = members % 2; i <= members / 2 + members % 2; i++)
				xdp_edge_set_backend(&pair.edge[e], backend + i, no_trial);
		else
			xdp_edge_set_pool(&pair.edge[e], service, region, word);
		xdp_edge_set(&pair.edge[e], GS_MAP_TRIALS, &pool, &trial);
	}
}

static void set_heartbeat(uint64_t time_ns)
{
	for (int e = 0; e < EDGES; e++) {
		struct gs_meta_value meta = xdp_edge_meta(&pair.edge[e]);

		meta.heartbeat_ns = time_ns;
		xdp_edge_set_meta(&pair.edge[e], &meta);
	}
}

/* All services at once: what is asked of the packets of each. */
static void change_services(uint64_t *seed)
{
	const struct gs_limit_block used = {{~0ull >> 1, ~0ull >> 1}};
	uint32_t kind = draw(seed, 7);

	for (uint32_t i = 0; i < key_count; i++) {
		struct gs_service_value value = values[i];

		value.limit4 = 24;
		value.limit6 = 48;
		value.client_packets = kind == 0 ? 1000000 : 0;
		value.packets = kind == 1 ? 1000 : 0;
		value.client_flows = kind == 2 ? 1000000 : 0;
		value.flows = kind == 3 ? 1000 : 0;
		value.stale = kind == 4 ? GS_STALE_DROP : kind == 5 ? GS_STALE_PASS : 0;
		value.stale_after_s = 1;
		value.affinity = kind == 6 ? GS_AFFINITY_CLIENT : GS_AFFINITY_FLOW;
		if (draw(seed, 2))
			edge_pair_set(&pair, GS_MAP_SERVICES, &keys[i], &value);
	}
	for (uint32_t i = 1; i < EDGE_SERVICES; i++)
		if (draw(seed, 2))
			edge_pair_set(&pair, GS_MAP_LIMITS, &i, &used);
	if ((kind == 4 || kind == 5) && draw(seed, 4))
		set_heartbeat(1); /* long ago */
}

static void change_backends(uint64_t *seed)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t mode = draw(seed, 6), id = EDGE_HOP, lost = draw(seed, 4) == 0;

	hop.mtu = 200 + draw(seed, 1300);
	hop.flags = draw(seed, 4) == 0 ? GS_HOP_REFLECT : 0;
	hop.tags = draw(seed, 4) == 0;
	hop.tag[0] = (struct gs_tag){.protocol = htons(0x8100), .tci = htons(7)};
	hop.spread4 = (uint8_t)(draw(seed, 2) * 4);
	hop.src4 &= htonl(~15u);
	edge_pair_set(&pair, GS_MAP_HOPS, &id, &hop);
	for (uint32_t i = edge_backend_id(1, 1, 0); i < EDGE_BACKENDS; i++) {
		struct gs_backend_value value = edge_backend_value(i);

		if (value.region == 0 || i % 4 > 1 || draw(seed, 2))
			continue;
		value.mode = (uint8_t)(mode == 5 ? GS_FORWARD_GUE : mode);
		value.service = (uint16_t)(value.service ^ (draw(seed, 16) == 0));
		value.hop = lost ? EDGE_HOP + 1 : EDGE_HOP;
		edge_pair_set(&pair, GS_MAP_BACKENDS, &i, &value);
	}
}

static void change_meta(uint64_t *seed)
{
	uint32_t kind = draw(seed, 3), asks = draw(seed, 2);
	const struct gs_fill fill = {.away = 30000, .room = 100, .spare = 50, .shed = 20000};

	for (int e = 0; e < EDGES; e++) {
		struct gs_meta_value meta = xdp_edge_meta(&pair.edge[e]);

		if (kind == 0)
			meta.active = 1;
		else if (kind == 1)
			meta.generation[0].asks |= asks ? GS_ASK_REGION_LIMITS : 0;
		xdp_edge_set_meta(&pair.edge[e], &meta);
		if (kind == 1 && !asks)
			xdp_edge_access(&pair.edge[e], 0, "203.0.113.0", 24, 0, false);
		if (kind == 2)
			xdp_edge_set_fill(&pair.edge[e], 1 + asks, fill);
	}
}

/* Every flow was last seen so long before. */
static void age_flows(uint32_t units)
{
	for (int e = 0; e < EDGES; e++)
		for (uint32_t i = 0; i < EDGE_FLOW_BUCKETS * GS_FLOW_WAYS; i++) {
			struct gs_flow_entry *entry = &pair.flows[e][0].entry[0] + i;

			entry->seen = (uint16_t)((entry->seen & GS_FLOW_PROVEN) |
						 ((entry->seen - units) & GS_SEEN_TIME));
		}
}

static void change_world(uint64_t *seed)
{
	reset_world();
	for (uint32_t i = draw(seed, 3) + 1; i; i--)
		switch (draw(seed, 9)) {
		case 0:
			change_services(seed);
			break;
		case 1:
			change_backends(seed);
			break;
		case 2:
			change_meta(seed);
			break;
		case 3:
			age_flows(draw(seed, 4) * 30 + 1);
			break;
		case 4:
			xdp_edge_forget(&pair.edge[LANE]);
			xdp_edge_forget(&pair.edge[WHOLE]);
			break;
		default:
			for (int k = 0; k < 8; k++)
				change_usable(seed);
		}
}

/* The last five are martians, or refused at once. */
static const char *const sources[2][11] = {
	{"192.0.2.1", "203.0.113.5", "203.0.113.200", "172.16.9.9", "198.18.0.7", "192.0.2.9",
	 "127.0.0.1", "224.0.0.9", "0.0.0.1", "255.255.255.255", "198.51.100.10"},
	{"2001:db8:1::1", "2001:db8:2::5", "2001:db8:3::9", "2001:db8:4::1", "2001:db8:5::1",
	 "2002:c000:201::1", "::1", "ff02::1", "::", "::ffff:192.0.2.1", "2001:db8:100::10"},
};
static const char *const targets[2][6] = {
	{"198.51.100.10", "198.51.100.10", "198.51.100.11", "198.51.100.11", "198.51.100.12",
	 "198.51.100.99"},
	{"2001:db8:100::10", "2001:db8:100::10", "2001:db8:100::10", "2001:db8:100::10",
	 "2001:db8:100::12", "2001:db8:100::99"},
};

static struct packet random_packet(uint64_t *seed)
{
	static const uint8_t flags[] = {SYN,	   SYN, ACK,	   ACK,	      ACK,
					FIN | ACK, RST, SYN | ACK, SYN | FIN, 0xff};
	static const uint16_t ports[] = {80, 80, 80, 80, 80, 80, 80, 443, 9};
	static const uint16_t pieces[] = {0x2000, 0x00b9, 0x8000, 0x6000};
	static const char *const extensions[] = {"h", "d", "f", "l", "o", "ra"};
	uint32_t is_v6 = draw(seed, 2), is_odd = draw(seed, 8) == 0;
	struct packet_spec spec = {
		.family = is_v6 ? 6 : 4,
		.src = sources[is_v6][is_odd ? 6 + draw(seed, 5) : draw(seed, 6)],
		.dst = targets[is_v6][draw(seed, 6)],
		.protocol = draw(seed, 3) ? IPPROTO_TCP : IPPROTO_UDP,
		.sport = 1000,
		.dport = ports[draw(seed, ARRAY_SIZE(ports))],
		.flags = flags[draw(seed, ARRAY_SIZE(flags))],
		.ds = (uint8_t)draw(seed, 256),
		.fragment = draw(seed, 2) ? 0x4000 : 0,
		.payload = (uint16_t)(draw(seed, 64) ? draw(seed, 90) : 1500),
		.padding = (uint16_t)(draw(seed, 4) ? 0 : draw(seed, 8)),
	};
	struct packet packet;

	if (spec.protocol == IPPROTO_UDP) {
		spec.dport = draw(seed, 8) ? 53 : 80;
		spec.dst = targets[is_v6][draw(seed, 8) ? 0 : 5];
	}
	if (draw(seed, 16) == 0)
		spec.fragment = pieces[draw(seed, ARRAY_SIZE(pieces))];
	if (draw(seed, 16) == 0 && !is_v6)
		spec.ip_options = (uint8_t)(4 * draw(seed, 11));
	if (draw(seed, 16) == 0 && is_v6)
		spec.extensions = extensions[draw(seed, ARRAY_SIZE(extensions))];
	packet = packet_build(&spec);
	if (draw(seed, 8) == 0)
		packet.length = PACKET_L3 + draw(seed, packet.length - PACKET_L3);
	if (draw(seed, 8) == 0 && packet.length > PACKET_L3)
		packet.bytes[12 + draw(seed, packet.length > 70 ? 58 : packet.length - 12)] =
			(uint8_t)draw(seed, 256);
	if (draw(seed, 64) == 0)
		packet.bytes[0] |= 1;
	return packet;
}

static void test_random_alike(void **state)
{
	static const enum gs_reason must[] = {
		GS_REASON_tx_flow,	  GS_REASON_tx_new,	     GS_REASON_tx_repicked,
		GS_REASON_tx_trial,	  GS_REASON_drop_martian,    GS_REASON_drop_no_region,
		GS_REASON_drop_mode,	  GS_REASON_drop_truncated,  GS_REASON_drop_service_flows,
		GS_REASON_drop_stale,	  GS_REASON_pass_stale,	     GS_REASON_drop_denied,
		GS_REASON_drop_no_plan,	  GS_REASON_drop_shed,	     GS_REASON_pass_not_service,
		GS_REASON_pass_group_mac, GS_REASON_drop_no_backend, GS_REASON_drop_service_packets,
	};
	uint64_t seed = SEED;
	char name[64];

	(void)state;
	memset(pair.reasons, 0, sizeof(pair.reasons));
	print_message("# seed %#llx\n", (unsigned long long)seed);
	for (int round = 0; round < ROUNDS; round++) {
		change_world(&seed);
		for (int i = 0; i < FRAMES; i++) {
			struct packet packet = random_packet(&seed);

			snprintf(name, sizeof(name), "seed %#x, round %d, frame %d", SEED, round,
				 i);
			edge_pair_expect_alike(&pair, name, &packet);
		}
		edge_pair_expect_demand_alike(&pair);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(must); i++)
		if (!pair.reasons[must[i]])
			fail_msg("no packet was %s", edge_reason_name(must[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_alike),
		cmocka_unit_test(test_random_alike),
	};

	return cmocka_run_group_tests_name("express", tests, setup, teardown);
}
