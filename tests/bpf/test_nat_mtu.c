/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT between links of different MTUs: replies that the client's link does not take, and what both
 * sides' SYNs say. The client's link is the loopback of a network namespace of this test's own; the
 * backends' is the hop's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SYN = 2, ACK = 16 };
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static const char edge4[] = "192.0.2.254", edge6[] = "2001:db8:e::1";
static struct xdp_edge edge;

/* ---- flows ----------------------------------------------------------------------------------- */

static void set_client_mtu(uint32_t mtu)
{
	char command[64];

	snprintf(command, sizeof(command), "ip link set lo mtu %u", mtu);
	assert_int_equal(system(command), 0);
}

static void set_backend_mtu(uint32_t mtu)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	hop.mtu = mtu;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
}

static void set_nat(uint32_t service, uint32_t region)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = GS_FORWARD_NAT;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

static struct packet_spec client_of(uint8_t family, uint8_t protocol)
{
	return (struct packet_spec){.family = family,
				    .src = family == 6 ? "2001:db8:3::9" : "192.0.2.1",
				    .protocol = protocol,
				    .dport = protocol == IPPROTO_UDP ? 53 : 80,
				    .flags = SYN};
}

/* A flow is opened; what its backend sends. addr: the backend's. */
static struct packet_spec reply_of(uint8_t family, uint8_t protocol, char addr[64])
{
	struct packet_spec spec = client_of(family, protocol);
	struct packet packet = packet_build(&spec);
	struct xdp_result result = xdp_edge_send(&edge, &packet);

	assert_int_equal(result.action, XDP_TX);
	assert_true(result.backend > 0);
	return (struct packet_spec){
		.family = family,
		.protocol = protocol,
		.src = edge_backend_addr(result.backend, addr),
		.dst = family == 6 ? edge6 : edge4,
		.sport = spec.dport,
		.dport = packet_get16(result.out.bytes + packet.l4),
	};
}

/* ---- replies --------------------------------------------------------------------------------- */

/* What the backend is told of its reply: by the address that it has sent it to. */
static struct packet told(const struct packet *reply, const struct packet_spec *spec, uint32_t mtu)
{
	bool is_v6 = spec->family == 6;
	struct packet out = packet_icmp(&(struct packet_icmp){
		.src = spec->dst,
		.dst = spec->src,
		.type = is_v6 ? 2 : 3,
		.code = is_v6 ? 0 : 4,
		.rest = mtu,
		.bytes = reply->bytes + PACKET_L3,
		.length = is_v6 ? 128 : 68,
		.ds = 0xc0,
		.ttl = 64,
	});

	memcpy(out.bytes, reply->bytes + 6, 6);
	memcpy(out.bytes + 6, reply->bytes, 6);
	if (is_v6) {
		out.bytes[PACKET_L3 + 1] &= 0xf0;
		packet_put16(out.bytes + PACKET_L3 + 2, 0);
	} else {
		packet_put16(out.bytes + PACKET_L3 + 4, 0);
		packet_put16(out.bytes + PACKET_L3 + 6, 0x4000);
		packet_fix_ip4(&out);
	}
	return out;
}

static const struct row {
	const char *name;
	uint8_t family, protocol;
	uint16_t fragment;
	const char *extensions;
	uint32_t mtu, length; /* of the client's link; of the reply */
	enum gs_reason reason;
} rows[] = {
	{"it fits", 4, IPPROTO_UDP, 0x4000, NULL, 1500, 1500, GS_REASON_tx_nat_reply},
	{"one more", 4, IPPROTO_UDP, 0x4000, NULL, 1500, 1501, GS_REASON_tx_too_big},
	{"far more", 4, IPPROTO_UDP, 0x4000, NULL, 1500, 2500, GS_REASON_tx_too_big},
	{"TCP", 4, IPPROTO_TCP, 0x4000, NULL, 1400, 1401, GS_REASON_tx_too_big},
	{"TCP that fits", 4, IPPROTO_TCP, 0x4000, NULL, 1400, 1400, GS_REASON_tx_nat_reply},
	{"without DF", 4, IPPROTO_UDP, 0, NULL, 1500, 1501, GS_REASON_drop_would_fragment},
	{"without DF, it fits", 4, IPPROTO_UDP, 0, NULL, 1500, 1500, GS_REASON_tx_nat_reply},
	{"a first fragment", 4, IPPROTO_UDP, 0x6000, NULL, 1500, 1520, GS_REASON_tx_too_big},
	{"a narrow link", 4, IPPROTO_UDP, 0x4000, NULL, 576, 577, GS_REASON_tx_too_big},
	{"IPv6, it fits", 6, IPPROTO_UDP, 0, NULL, 1500, 1500, GS_REASON_tx_nat_reply},
	{"IPv6", 6, IPPROTO_UDP, 0, NULL, 1500, 1501, GS_REASON_tx_too_big},
	{"TCP over IPv6", 6, IPPROTO_TCP, 0, NULL, 1280, 1281, GS_REASON_tx_too_big},
	{"a fragment of IPv6", 6, IPPROTO_UDP, 0, "f", 1500, 1520, GS_REASON_tx_too_big},
	{"a link that is none of IPv6", 6, IPPROTO_UDP, 0, NULL, 1279, 1280,
	 GS_REASON_drop_too_big},
};

static void replies_have_to_fit_the_clients_link(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char addr[64];
		struct packet_spec spec = reply_of(rows[i].family, rows[i].protocol, addr);
		struct packet reply, want;
		struct xdp_result result;

		spec.fragment = rows[i].fragment;
		spec.extensions = rows[i].extensions;
		reply = packet_build(&spec);
		spec.payload = (uint16_t)(rows[i].length - (reply.length - PACKET_L3));
		reply = packet_build(&spec);
		assert_int_equal(reply.length, PACKET_L3 + rows[i].length);
		set_client_mtu(rows[i].mtu);
		result = xdp_edge_expect(&edge, rows[i].name, &reply, rows[i].reason);
		if (rows[i].reason == GS_REASON_tx_too_big) {
			/* back by the link it came from */
			assert_int_equal(result.action, XDP_TX);
			want = told(&reply, &spec, rows[i].mtu);
			edge_expect_bytes(rows[i].name, &result.out, &want);
		}
		packet_case();
	}
}

/* Later fragments and errors are nothing to tell of (RFC 1122, 3.2.2). */
static void not_of_everything_is_told(void **state)
{
	char addr[64];
	struct packet_spec spec = reply_of(4, IPPROTO_UDP, addr), large = spec;
	struct packet packet, first;
	(void)state;

	set_client_mtu(1000);
	spec.fragment = 0x6000;
	spec.payload = 64;
	first = packet_build(&spec);
	xdp_edge_expect(&edge, "the first", &first, GS_REASON_tx_nat_reply);
	spec.fragment = 0x4009;
	spec.payload = 1200;
	packet = packet_build(&spec);
	xdp_edge_expect(&edge, "a later one", &packet, GS_REASON_drop_too_big);
	spec.payload = 64;
	packet = packet_build(&spec);
	xdp_edge_expect(&edge, "a later one that fits", &packet, GS_REASON_tx_nat_reply);
	/* an error of the backend's about what it was sent, with all of that in it */
	large.fragment = 0x4000;
	large.payload = 1200;
	packet = packet_build(&large);
	packet = packet_reverse(&packet);
	packet = packet_icmp(&(struct packet_icmp){.src = addr,
						   .dst = edge4,
						   .type = 3,
						   .code = 3,
						   .bytes = packet.bytes + PACKET_L3,
						   .length = packet.length - PACKET_L3});
	xdp_edge_expect(&edge, "a large error", &packet, GS_REASON_drop_too_big);
	set_client_mtu(1500);
	xdp_edge_expect(&edge, "one that fits", &packet, GS_REASON_tx_nat_reply);
}

/* As all answers: a backend's prefix has its own limit. */
static void backends_are_told_so_often(void **state)
{
	char addr[64];
	struct packet_spec spec = reply_of(4, IPPROTO_UDP, addr);
	struct packet packet;
	(void)state;

	spec.fragment = 0x4000;
	spec.payload = 1400;
	packet = packet_build(&spec);
	set_client_mtu(1400);
	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, edge_asker(addr), UINT64_MAX >> 1);
	xdp_edge_expect(&edge, "beyond it", &packet, GS_REASON_drop_too_big);
	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, edge_asker(addr), 0);
	xdp_edge_expect(&edge, "within it", &packet, GS_REASON_tx_too_big);
}

/* ---- MSS ------------------------------------------------------------------------------------- */

/* A SYN with MSS 8960. */
static struct packet with_mss(const struct packet_spec *spec)
{
	static const uint8_t option[4] = {2, 4, 0x23, 0x00};
	struct packet_spec longer = *spec;
	struct packet packet;

	longer.payload = 4;
	packet = packet_build(&longer);
	packet.bytes[packet.l4 + 12] = 6 << 4;
	memcpy(packet.bytes + packet.l4 + 20, option, 4);
	packet_fix_l4(&packet);
	return packet;
}

static void both_sides_are_told_what_both_links_take(void **state)
{
	static const struct {
		const char *name;
		uint32_t client, backend, least;
	} links[] = {
		{"the client's is narrow", 1400, 9000, 1400},
		{"the backends' is narrow", 9000, 1400, 1400},
		{"as wide", 1500, 1500, 1500},
		{"both take it all", 9000, 9000, 9000},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(links); i++)
		for (uint8_t family = 4; family <= 6; family += 2) {
			uint32_t most = links[i].least - (family == 6 ? 60 : 40);
			char addr[64];
			struct packet_spec spec = client_of(family, IPPROTO_TCP), reply;
			struct packet packet;
			struct xdp_result result;

			set_client_mtu(links[i].client);
			set_backend_mtu(links[i].backend);
			packet = with_mss(&spec);
			result = xdp_edge_send(&edge, &packet);
			assert_int_equal(result.action, XDP_TX);
			assert_int_equal(packet_get16(result.out.bytes + packet.l4 + 22), most);
			reply = reply_of(family, IPPROTO_TCP, addr);
			reply.flags = SYN | ACK;
			packet = with_mss(&reply);
			result = xdp_edge_expect(&edge, links[i].name, &packet,
						 GS_REASON_tx_nat_reply);
			assert_int_equal(packet_get16(result.out.bytes + packet.l4 + 22), most);
			packet_case();
		}
}

/* ---- main ------------------------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	xdp_edge_open(&edge);
	set_nat(SERVICE_WEB4, 1);
	set_nat(SERVICE_DNS4, 1);
	set_nat(SERVICE_WEB6, 3);
	set_nat(SERVICE_DNS6, 3);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define MTU_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MTU_TEST(replies_have_to_fit_the_clients_link),
		MTU_TEST(not_of_everything_is_told),
		MTU_TEST(backends_are_told_so_often),
		MTU_TEST(both_sides_are_told_what_both_links_take),
	};

	return cmocka_run_group_tests_name("nat_mtu", tests, NULL, NULL);
}
