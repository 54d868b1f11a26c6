/* SPDX-License-Identifier: Apache-2.0 */
/* How a packet leaves: GUE and L2 (IPIP is in test_xdp.c, NAT in test_nat.c), in every pair of
 * families. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define SYN 0x02
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;

/* The pool's two backends, in this mode. */
static void set_mode(uint32_t service, uint32_t region, uint8_t mode)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t backend = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(backend);

		value.mode = mode;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	}
}

static struct packet_outer outer_to(uint32_t backend, char text[64])
{
	struct gs_hop_value hop = edge_hop_value();
	struct packet_outer outer = {.dst = edge_backend_addr(backend, text)};

	outer.src = edge_backend_value(backend).family == 6 ? "2001:db8:e::1" : "192.0.2.254";
	memcpy(outer.dst_mac, hop.dst_mac, 6);
	memcpy(outer.src_mac, hop.src_mac, 6);
	return outer;
}

static const struct {
	const char *name;
	struct packet_spec spec;
	uint32_t service, region;
	uint32_t outer; /* bytes of GUE's */
} rows[] = {
	{"4 in 4", {.flags = SYN, .payload = 33, .ds = 0xbb}, SERVICE_WEB4, 1, 28},
	{"4 in 6", {.flags = SYN, .src = "203.0.113.200", .ds = 2}, SERVICE_WEB4, 3, 48},
	{"6 in 4", {.family = 6, .flags = SYN, .ds = 0x2e}, SERVICE_WEB6, 1, 28},
	{"6 in 6", {.family = 6, .flags = SYN, .src = "2001:db8:3::9"}, SERVICE_WEB6, 3, 48},
	{"UDP", {.protocol = IPPROTO_UDP, .dport = 53, .payload = 9}, SERVICE_DNS4, 1, 28},
	{"padded", {.flags = SYN, .padding = 7}, SERVICE_WEB4, 1, 28},
	{"options", {.flags = SYN, .ip_options = 40}, SERVICE_WEB4, 1, 28},
};

static void gue_has_all_families(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet packet = packet_build(&rows[i].spec), want;
		uint32_t l4 = PACKET_L3 + rows[i].outer - 8;
		struct packet_outer outer;
		struct xdp_result result;
		char text[64];

		set_mode(rows[i].service, rows[i].region, GS_FORWARD_GUE);
		xdp_edge_forget(&edge);
		result = xdp_edge_send(&edge, &packet);
		assert_int_equal(result.reason, GS_REASON_tx_new);
		assert_int_equal(result.action, XDP_TX);
		assert_int_equal(result.region, rows[i].region);
		outer = outer_to(result.backend, text);
		want = packet_gue(&packet, &outer, packet_get16(result.out.bytes + l4));
		edge_expect_bytes(rows[i].name, &result.out, &want);
		assert_in_range(packet_get16(result.out.bytes + l4), 0xc000, 0xffff);
	}
}

/* A flow keeps its port, or its packets would overtake each other; flows differ in it. */
static void gue_spreads_flows_and_not_packets(void **state)
{
	enum { FLOWS = 400 };
	static uint16_t ports[FLOWS];
	uint32_t different = 0;
	(void)state;

	set_mode(SERVICE_WEB4, 1, GS_FORWARD_GUE);
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct packet_spec spec = {.flags = SYN, .sport = (uint16_t)(1024 + flow)};
		bool is_new = true;

		for (int again = 0; again < 3; again++) {
			struct packet packet = packet_build(&spec);
			struct xdp_result result = xdp_edge_send(&edge, &packet);
			uint16_t port = packet_get16(result.out.bytes + 34);

			if (again > 0)
				assert_int_equal(port, ports[flow]);
			ports[flow] = port;
			spec.flags = 0;
			spec.payload = (uint16_t)(again * 100);
		}
		for (uint32_t other = 0; other < flow && is_new; other++)
			is_new = ports[other] != ports[flow];
		different += is_new;
	}
	/* 400 of 16,384: about 5 pairs meet */
	assert_in_range(different, 370, FLOWS);
}

static void gue_asks_for_more_room(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct packet packet = packet_build(&rows[i].spec);
		struct gs_hop_value hop = edge_hop_value();
		uint32_t id = EDGE_HOP;

		set_mode(rows[i].service, rows[i].region, GS_FORWARD_GUE);
		xdp_edge_forget(&edge);
		hop.mtu = packet.length - PACKET_L3 + rows[i].outer;
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_tx_new);
		hop.mtu--;
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_DROP);
	}
}

/* MACs are all that changes, and all of the MTU is the packet's. */
static void l2_changes_macs_only(void **state)
{
	static const struct packet_spec specs[] = {
		{.flags = SYN, .payload = 50, .ds = 0xbb},
		{.family = 6, .flags = SYN, .src = "2001:db8:3::9", .extensions = "hd"},
		{.flags = SYN, .padding = 9, .ip_options = 8},
	};
	static const uint32_t places[][2] = {
		{SERVICE_WEB4, 1}, {SERVICE_WEB6, 3}, {SERVICE_WEB4, 1}};
	struct gs_hop_value good = edge_hop_value(), hop = good;
	uint32_t id = EDGE_HOP;
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct packet packet = packet_build(&specs[i]), want = packet;
		struct xdp_result result;

		set_mode(places[i][0], places[i][1], GS_FORWARD_L2);
		xdp_edge_forget(&edge);
		hop = good;
		hop.mtu = packet.length - PACKET_L3 - specs[i].padding;
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		memcpy(want.bytes, hop.dst_mac, 6);
		memcpy(want.bytes + 6, hop.src_mac, 6);
		result = xdp_edge_send(&edge, &packet);
		assert_int_equal(result.reason, GS_REASON_tx_new);
		assert_int_equal(result.action, XDP_TX);
		edge_expect_bytes("L2", &result.out, &want);
		hop.mtu--;
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_DROP);
		/* its own sender is no backend */
		hop = good;
		hop.flags = GS_HOP_REFLECT;
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_drop_no_hop);
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &good);
	}
}

/* Without an outer header a backend of the other family cannot be reached. */
static void l2_is_of_the_packets_family(void **state)
{
	struct packet packet =
		packet_build(&(struct packet_spec){.flags = SYN, .src = "203.0.113.200"});
	struct packet six = packet_build(&(struct packet_spec){.family = 6, .flags = SYN});
	(void)state;

	set_mode(SERVICE_WEB4, 3, GS_FORWARD_L2);
	set_mode(SERVICE_WEB6, 1, GS_FORWARD_L2);
	assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_drop_mode);
	assert_int_equal(xdp_edge_send(&edge, &six).reason, GS_REASON_drop_mode);
}

static int setup(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define MODE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MODE_TEST(gue_has_all_families),
		MODE_TEST(gue_spreads_flows_and_not_packets),
		MODE_TEST(gue_asks_for_more_room),
		MODE_TEST(l2_changes_macs_only),
		MODE_TEST(l2_is_of_the_packets_family),
	};

	return cmocka_run_group_tests_name("modes", tests, NULL, NULL);
}
