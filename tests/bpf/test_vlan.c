/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VLAN tags: none, one or two on the way in, as many on the way out, in every mode and pair of
 * families; what the edge answers keeps those it came with. Bytes are compared.
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
#include <stdio.h>
#include <string.h>

#define SYN 0x02
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;
static const uint32_t id = EDGE_HOP;

/* What a client's packet may come with, the outer one first. */
static const struct {
	const char *name;
	uint32_t count;
	uint32_t tag[3];
} comes[] = {
	{"untagged", 0, {0}},
	{"802.1Q", 1, {0x81000064}},
	{"priority only", 1, {0x8100e000}},
	{"802.1ad", 1, {0x88a800c8}},
	{"QinQ", 2, {0x88a800c8, 0x81000064}},
	{"QinQ, both 802.1Q", 2, {0x810000c8, 0x81000064}},
	{"QinQ, both 802.1ad", 2, {0x88a800c8, 0x88a80064}},
	{"QinQ of old", 2, {0x910000c8, 0x81000064}},
};

static const uint32_t leaves[] = {0x88a86007, 0x81000009};

static const struct {
	const char *name;
	struct packet_spec spec;
	uint32_t service, region;
} packets[] = {
	{"4 in 4", {.flags = SYN, .payload = 33, .ds = 0xbb}, SERVICE_WEB4, 1},
	{"4 in 6", {.flags = SYN, .src = "203.0.113.200"}, SERVICE_WEB4, 3},
	{"6 in 4", {.family = 6, .flags = SYN}, SERVICE_WEB6, 1},
	{"6 in 6", {.family = 6, .flags = SYN, .src = "2001:db8:3::9"}, SERVICE_WEB6, 3},
};

static void set_mode(uint32_t service, uint32_t region, uint8_t mode)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t backend = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(backend);

		value.mode = mode;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	}
}

static struct gs_hop_value set_hop(uint32_t tags, uint32_t flags, uint32_t mtu)
{
	struct gs_hop_value hop = edge_hop_value();

	hop.tags = (uint8_t)tags;
	for (uint32_t i = 0; i < tags; i++)
		hop.tag[i] = (struct gs_tag){.protocol = htons((uint16_t)(leaves[i] >> 16)),
					     .tci = htons((uint16_t)leaves[i])};
	hop.flags = flags;
	hop.mtu = mtu;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	return hop;
}

static void expect_bytes(const char *what, const char *how, const struct packet *got,
			 const struct packet *want)
{
	char name[128];

	snprintf(name, sizeof(name), "%s, %s", what, how);
	edge_expect_bytes(name, got, want);
}

/* What leaves for this backend, without tags. */
static struct packet untagged(const struct packet *packet, uint32_t backend, uint8_t mode,
			      bool is_back, uint16_t sport)
{
	struct gs_hop_value hop = edge_hop_value();
	struct packet_outer outer;
	struct packet out = *packet;
	char text[64];

	memcpy(outer.dst_mac, is_back ? packet->bytes + 6 : hop.dst_mac, 6);
	memcpy(outer.src_mac, is_back ? packet->bytes : hop.src_mac, 6);
	outer.dst = edge_backend_addr(backend, text);
	outer.src = edge_backend_value(backend).family == 6 ? "2001:db8:e::1" : "192.0.2.254";
	if (mode == GS_FORWARD_IPIP)
		return packet_encapsulate(packet, &outer);
	if (mode == GS_FORWARD_GUE)
		return packet_gue(packet, &outer, sport);
	memcpy(out.bytes, outer.dst_mac, 6);
	memcpy(out.bytes + 6, outer.src_mac, 6);
	return out;
}

static void check_forward(unsigned how, unsigned what, uint8_t mode, uint32_t tags, bool is_back)
{
	struct packet plain = packet_build(&packets[what].spec), want;
	struct packet packet = packet_tag(&plain, comes[how].tag, comes[how].count);
	uint32_t out_tags = is_back ? comes[how].count : tags;
	struct xdp_result result;
	uint32_t l4;

	set_mode(packets[what].service, packets[what].region, mode);
	set_hop(tags, is_back ? GS_HOP_REFLECT : 0, 1500);
	xdp_edge_forget(&edge);
	result = xdp_edge_send(&edge, &packet);
	if (result.reason != GS_REASON_tx_new)
		fail_msg("%s, %s: %s", packets[what].name, comes[how].name,
			 edge_reason_name(result.reason));
	assert_int_equal(result.action, XDP_TX);
	l4 = PACKET_L3 + 4 * out_tags + (edge_backend_value(result.backend).family == 4 ? 20 : 40);
	want = untagged(&plain, result.backend, mode, is_back, packet_get16(result.out.bytes + l4));
	want = packet_tag(&want, is_back ? comes[how].tag : leaves, out_tags);
	expect_bytes(packets[what].name, comes[how].name, &result.out, &want);
}

static void tags_are_exchanged(void **state)
{
	static const uint8_t modes[] = {GS_FORWARD_IPIP, GS_FORWARD_GUE, GS_FORWARD_L2};

	(void)state;
	for (unsigned how = 0; how < ARRAY_SIZE(comes); how++)
		for (unsigned what = 0; what < ARRAY_SIZE(packets); what++)
			for (unsigned mode = 0; mode < ARRAY_SIZE(modes); mode++)
				for (uint32_t tags = 0; tags <= 2; tags++) {
					/* no L2 in another family */
					if (modes[mode] == GS_FORWARD_L2 &&
					    (what == 1 || what == 2))
						continue;
					check_forward(how, what, modes[mode], tags, false);
				}
}

/* Back to whoever sent the packet is back in its VLAN, whatever tags the entry may have. */
static void reflected_keep_theirs(void **state)
{
	(void)state;
	for (unsigned how = 0; how < ARRAY_SIZE(comes); how++)
		for (unsigned what = 0; what < ARRAY_SIZE(packets); what++)
			check_forward(how, what, GS_FORWARD_IPIP, what % 3, true);
}

/* The MTU is of IP packets: tags take none of it. */
static void tags_are_no_part_of_the_mtu(void **state)
{
	(void)state;
	for (unsigned how = 0; how < ARRAY_SIZE(comes); how++) {
		struct packet plain = packet_build(&packets[0].spec);
		struct packet packet = packet_tag(&plain, comes[how].tag, comes[how].count);

		set_hop(2, 0, plain.length - PACKET_L3 + 20);
		xdp_edge_forget(&edge);
		assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_tx_new);
		set_hop(2, 0, plain.length - PACKET_L3 + 19);
		assert_int_equal(xdp_edge_send(&edge, &packet).reason,
				 GS_REASON_drop_would_fragment);
	}
}

static void answers_keep_their_tags(void **state)
{
	static const char *const vips[] = {"198.51.100.10", "2001:db8:100::10"};
	static const char *const sources[] = {"192.0.2.1", "2001:db8:1::1"};
	static const uint8_t bytes[] = "echo, echo";

	(void)state;
	for (unsigned how = 0; how < ARRAY_SIZE(comes); how++) {
		for (unsigned family = 0; family < 2; family++) {
			struct packet_icmp ask = {.src = sources[family],
						  .dst = vips[family],
						  .type = family ? 128 : 8,
						  .bytes = bytes,
						  .length = sizeof(bytes)};
			struct packet_icmp say = {.src = vips[family],
						  .dst = sources[family],
						  .type = family ? 129 : 0,
						  .bytes = bytes,
						  .length = sizeof(bytes),
						  .ttl = 64};
			struct packet echo = packet_icmp(&ask), reply = packet_icmp(&say);
			struct packet packet = packet_tag(&echo, comes[how].tag, comes[how].count);
			struct packet_spec big = {.family = family ? 6 : 4,
						  .flags = 0x10,
						  .payload = 1400,
						  .fragment = family ? 0 : 0x4000};
			struct packet plain = packet_build(&big);
			struct packet large = packet_tag(&plain, comes[how].tag, comes[how].count);
			struct xdp_result result = xdp_edge_send(&edge, &packet), bare;

			memcpy(reply.bytes, echo.bytes + 6, 6);
			memcpy(reply.bytes + 6, echo.bytes, 6);
			reply = packet_tag(&reply, comes[how].tag, comes[how].count);
			assert_int_equal(result.reason, GS_REASON_tx_echo);
			expect_bytes("echo", comes[how].name, &result.out, &reply);

			/* the untagged answer is test_icmp's */
			set_hop(1, 0, 1400);
			bare = xdp_edge_send(&edge, &plain);
			result = xdp_edge_send(&edge, &large);
			assert_int_equal(bare.reason, GS_REASON_tx_too_big);
			assert_int_equal(result.reason, GS_REASON_tx_too_big);
			bare.out = packet_tag(&bare.out, comes[how].tag, comes[how].count);
			expect_bytes("too big", comes[how].name, &result.out, &bare.out);
		}
	}
}

/* Cut anywhere, and with what is for nobody here, it is the kernel's, or dropped with a reason: as
 * the same frame without tags. */
static void others_pass_untouched(void **state)
{
	static const uint32_t three[] = {0x88a80001, 0x81000002, 0x81000003};
	struct packet plain = packet_build(&(struct packet_spec){.flags = SYN});
	struct packet other = packet_build(&(struct packet_spec){.dst = "198.51.100.99"});
	struct packet packet = packet_tag(&plain, three, 3);
	struct xdp_result result = xdp_edge_send(&edge, &packet);

	(void)state;
	assert_int_equal(result.reason, GS_REASON_pass_vlan);
	expect_bytes("three tags", "", &result.out, &packet);
	for (unsigned how = 0; how < ARRAY_SIZE(comes); how++) {
		packet = packet_tag(&other, comes[how].tag, comes[how].count);
		result = xdp_edge_send(&edge, &packet);
		assert_int_equal(result.reason, GS_REASON_pass_not_service);
		expect_bytes("for nobody", comes[how].name, &result.out, &packet);
		packet = packet_tag(&plain, comes[how].tag, comes[how].count);
		for (uint32_t length = PACKET_L3; length < packet.length; length++) {
			uint32_t before = 4 * comes[how].count;
			struct packet cut = packet;

			cut.length = length;
			result = xdp_edge_send(&edge, &cut);
			if (result.reason != (length < PACKET_L3 + before + 20
						      ? GS_REASON_pass_truncated
						      : GS_REASON_drop_truncated))
				fail_msg("%s, %u bytes: %s", comes[how].name, length,
					 edge_reason_name(result.reason));
		}
	}
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

#define VLAN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VLAN_TEST(tags_are_exchanged),		VLAN_TEST(reflected_keep_theirs),
		VLAN_TEST(tags_are_no_part_of_the_mtu), VLAN_TEST(answers_keep_their_tags),
		VLAN_TEST(others_pass_untouched),
	};

	return cmocka_run_group_tests_name("vlan", tests, NULL, NULL);
}
