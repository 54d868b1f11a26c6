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
#include "maps/gs_maps.h"
#include "packet.h"
#include "packet_cases.h"
#include "xdp_edge.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

enum { ROUNDS = 100, FRAMES = 40, SEED = 0x1a4e };

static struct edge_pair pair;

static int setup(void **state)
{
	(void)state;
	edge_pair_open(&pair);
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
	uint32_t is_v6 = edge_pair_draw(seed, 2), is_odd = edge_pair_draw(seed, 8) == 0;
	struct packet_spec spec = {
		.family = is_v6 ? 6 : 4,
		.src = sources[is_v6]
			      [is_odd ? 6 + edge_pair_draw(seed, 5) : edge_pair_draw(seed, 6)],
		.dst = targets[is_v6][edge_pair_draw(seed, 6)],
		.protocol = edge_pair_draw(seed, 3) ? IPPROTO_TCP : IPPROTO_UDP,
		.sport = (uint16_t)(1000 + edge_pair_draw(seed, 4)),
		.dport = ports[edge_pair_draw(seed, ARRAY_SIZE(ports))],
		.flags = flags[edge_pair_draw(seed, ARRAY_SIZE(flags))],
		.ds = (uint8_t)edge_pair_draw(seed, 256),
		.fragment = edge_pair_draw(seed, 2) ? 0x4000 : 0,
		.payload = (uint16_t)(edge_pair_draw(seed, 64) ? edge_pair_draw(seed, 90) : 1500),
		.padding = (uint16_t)(edge_pair_draw(seed, 4) ? 0 : edge_pair_draw(seed, 8)),
	};
	struct packet packet;

	if (spec.protocol == IPPROTO_UDP) {
		spec.dport = edge_pair_draw(seed, 8) ? 53 : 80;
		spec.dst = targets[is_v6][edge_pair_draw(seed, 8) ? 0 : 5];
	}
	if (edge_pair_draw(seed, 16) == 0)
		spec.fragment = pieces[edge_pair_draw(seed, ARRAY_SIZE(pieces))];
	if (edge_pair_draw(seed, 16) == 0 && !is_v6)
		spec.ip_options = (uint8_t)(4 * edge_pair_draw(seed, 11));
	if (edge_pair_draw(seed, 16) == 0 && is_v6)
		spec.extensions = extensions[edge_pair_draw(seed, ARRAY_SIZE(extensions))];
	packet = packet_build(&spec);
	if (edge_pair_draw(seed, 8) == 0)
		packet.length = PACKET_L3 + edge_pair_draw(seed, packet.length - PACKET_L3);
	if (edge_pair_draw(seed, 8) == 0 && packet.length > PACKET_L3)
		packet.bytes[12 +
			     edge_pair_draw(seed, packet.length > 70 ? 58 : packet.length - 12)] =
			(uint8_t)edge_pair_draw(seed, 256);
	if (edge_pair_draw(seed, 64) == 0)
		packet.bytes[0] |= 1;
	return packet;
}

static void test_random_alike(void **state)
{
	static const enum gs_reason must[] = {
		GS_REASON_tx_flow,
		GS_REASON_tx_new,
		GS_REASON_tx_repicked,
		GS_REASON_tx_trial,
		GS_REASON_drop_martian,
		GS_REASON_drop_no_region,
		GS_REASON_drop_mode,
		GS_REASON_drop_truncated,
		GS_REASON_drop_service_flows,
		GS_REASON_drop_stale,
		GS_REASON_pass_stale,
		GS_REASON_drop_denied,
		GS_REASON_drop_no_plan,
		GS_REASON_drop_shed,
		GS_REASON_pass_not_service,
		GS_REASON_pass_group_mac,
		GS_REASON_drop_no_backend,
		GS_REASON_drop_service_packets,
		GS_REASON_drop_region_packets,
	};
	uint64_t seed = SEED;
	char name[64];

	(void)state;
	memset(pair.reasons, 0, sizeof(pair.reasons));
	print_message("# seed %#llx\n", (unsigned long long)seed);
	for (int round = 0; round < ROUNDS; round++) {
		edge_pair_change(&pair, &seed);
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
