/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet at a time through the real program: verdict, bytes out, and the one reason that
 * counted it. What depends on several packets is in test_flows.c, where clients are in
 * test_locate.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "packet_cases.h"
#include "xdp_edge.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define SYN 0x02

static struct xdp_edge edge;

/* Verdict by the reason; passed ones untouched. */
static struct xdp_result expect_reason(const char *name, const struct packet *packet,
				       enum gs_reason want)
{
	return xdp_edge_expect(&edge, name, packet, want);
}

/* ---- what becomes of one packet -------------------------------------------------------------- */

/* Clients are at location 1 (or 3, behind an IPv6 tunnel): so says their address. */
static uint32_t location_of_case(const struct packet_case *c)
{
	return c->spec.src ? 3 : 1;
}

static void test_forwarded(void **state)
{
	(void)state;
	for (unsigned i = 0; i < packet_cases_forwarded_count; i++) {
		const struct packet_case *c = &packet_cases_forwarded[i];
		struct packet packet = packet_case_build(c), want;
		uint32_t backend = edge_expect_backend(&edge, &packet, c->service,
						       location_of_case(c), 0x5eed);
		struct xdp_result result;

		xdp_edge_forget(&edge);
		assert_int_not_equal(backend, 0);
		result = expect_reason(c->name, &packet, c->want);
		assert_int_equal(result.service, c->service);
		assert_int_equal(result.backend, backend);
		assert_int_equal(result.region, backend / 4 % 4);
		want = edge_expect_frame(&packet, backend);
		edge_expect_bytes(c->name, &result.out, &want);
		packet_case();
	}
}

static void test_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < packet_cases_refused_count; i++) {
		const struct packet_case *c = &packet_cases_refused[i];
		struct packet packet = packet_case_build(c);
		struct xdp_result result = expect_reason(c->name, &packet, c->want);

		if (result.service != c->service)
			print_message("%s: counted for service %u\n", c->name, result.service);
		assert_int_equal(result.service, c->service);
		assert_int_equal(result.backend, 0);
		assert_int_equal(result.region, 0);
		packet_case();
	}
}

/* ---- every header, cut at every byte --------------------------------------------------------- */

static const struct packet_spec cut[] = {
	{.payload = 7},
	{UDP_DNS, .payload = 7},
	{.ip_options = 12},
	{.ip_options = 40, UDP_DNS},
	{.family = 6},
	{.family = 6, UDP_DNS, .payload = 3},
	{.family = 6, .extensions = "hrdad"},
	{.family = 6, .extensions = "aaa", UDP_DNS},
	{.family = 6, .extensions = "o"},
	{.family = 6, .extensions = "hod", UDP_DNS, .payload = 2},
};

static void expect_cut(const struct packet_spec *spec, uint32_t length, enum gs_reason otherwise)
{
	struct packet packet = packet_build(spec);
	uint32_t fixed = PACKET_L3 + (spec->family == 6 ? 40 : 20);
	char name[64];

	snprintf(name, sizeof(name), "%u of %u bytes", length, packet.length);
	packet.length = length;
	expect_reason(name, &packet, length < fixed ? GS_REASON_pass_truncated : otherwise);
}

static void test_cut(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cut); i++) {
		struct packet_spec elsewhere = cut[i];
		uint32_t whole = packet_build(&cut[i]).length;

		elsewhere.dst = elsewhere.family == 6 ? "2001:db8:100::99" : "198.51.100.99";
		for (uint32_t length = 14; length < whole; length++) {
			expect_cut(&cut[i], length, GS_REASON_drop_truncated);
			expect_cut(&elsewhere, length, GS_REASON_pass_not_service);
		}
		packet_case();
	}
}

/* Pieces of datagrams: cut short until they are whole; whose they are as soon as it can be read. */
static void test_cut_fragments(void **state)
{
	static const struct {
		struct packet_spec spec;
		uint32_t ports; /* bytes of the frame to the end of another service's ports; 0: none
				 */
		enum gs_reason want;
	} rows[] = {
		{{.family = 6, .extensions = "f"}, 0, GS_REASON_tx_new},
		{{.family = 6, .extensions = "f", .dport = 9}, 66, GS_REASON_pass_fragment},
		{{.family = 6, .extensions = "l", .src = "2001:db8:1::2", .dport = 9},
		 0,
		 GS_REASON_drop_fragment},
		{{.family = 6, .extensions = "hf", .protocol = IPPROTO_UDP, .dport = 54},
		 74,
		 GS_REASON_pass_fragment},
		{{VIP_TCP6, .extensions = "l"}, 0, GS_REASON_drop_fragment},
		{{.fragment = 0x2000}, 0, GS_REASON_tx_new},
		{{.fragment = 0x2000, .dport = 9}, 38, GS_REASON_pass_fragment},
		{{.fragment = 0x00b9, .src = "192.0.2.2"}, 0, GS_REASON_drop_fragment},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet packet = packet_build(&rows[i].spec);
		uint32_t fixed = rows[i].spec.family == 6 ? 40 : 20;

		for (uint32_t length = PACKET_L3; length <= packet.length; length++) {
			struct packet part = packet;
			enum gs_reason want = GS_REASON_drop_truncated;
			char name[64];

			part.length = length;
			if (length < PACKET_L3 + fixed)
				want = GS_REASON_pass_truncated;
			else if (length == packet.length)
				want = rows[i].want;
			else if (rows[i].ports && length >= rows[i].ports)
				want = GS_REASON_pass_fragment;
			snprintf(name, sizeof(name), "row %u, %u bytes", i, length);
			xdp_edge_forget(&edge);
			expect_reason(name, &part, want);
		}
		packet_case();
	}
}

/* ---- whose frame it is ----------------------------------------------------------------------- */

static void test_group_macs(void **state)
{
	static const uint8_t macs[][6] = {
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* broadcast */
		{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}, /* IPv4 multicast */
		{0x33, 0x33, 0x00, 0x00, 0x00, 0x01}, /* IPv6 multicast */
		{0x03, 0x00, 0x00, 0x00, 0x00, 0xed},
	};
	static const struct packet_spec specs[] = {
		{.flags = SYN},	      {.family = 6, .flags = SYN}, {UDP_DNS},
		{.fragment = 0x2000}, {.ethertype = 0x0806},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++)
		for (unsigned n = 0; n < ARRAY_SIZE(macs); n++) {
			struct packet packet = packet_build(&specs[i]);

			memcpy(packet.bytes, macs[n], 6);
			expect_reason("group", &packet, GS_REASON_pass_group_mac);
			packet_case();
		}
}

/* ---- maps that are not as they should be ----------------------------------------------------- */

static void test_meta_missing(void **state)
{
	const struct gs_meta_value good = xdp_edge_meta(&edge);
	struct packet web = packet_build(&(struct packet_spec){.flags = SYN});
	struct packet other = packet_build(&(struct packet_spec){.dport = 81});
	struct gs_meta_value meta = good;

	(void)state;
	meta.generation[0].number = 0;
	xdp_edge_set_meta(&edge, &meta);
	expect_reason("slot never filled", &web, GS_REASON_pass_no_meta);
	expect_reason("slot never filled", &other, GS_REASON_pass_not_service);
	meta = good;
	meta.active = GS_GENERATIONS;
	xdp_edge_set_meta(&edge, &meta);
	expect_reason("no such slot", &web, GS_REASON_pass_no_meta);
	meta = good;
	meta.layout_version++;
	xdp_edge_set_meta(&edge, &meta);
	expect_reason("another layout", &web, GS_REASON_pass_no_meta);
	memset(&meta, 0, sizeof(meta));
	xdp_edge_set_meta(&edge, &meta);
	expect_reason("nothing", &web, GS_REASON_pass_no_meta);
	xdp_edge_set_meta(&edge, &good);
	xdp_edge_forget(&edge);
	expect_reason("as it was", &web, GS_REASON_tx_new);
}

/* Numbers that point outside of a table do no harm: they find nothing. */
static void test_tables_short(void **state)
{
	const struct gs_meta_value good = xdp_edge_meta(&edge);
	struct packet web = packet_build(&(struct packet_spec){.flags = SYN});
	const struct gs_pool_value pools[] = {{0}};
	const struct gs_geo_block wild[] = {{.root = {0x7ffffffe, 0x7ffffffe}}};
	struct gs_meta_value meta = good;

	(void)state;
	xdp_edge_fill(&edge, 2, 9, 0x5eed, false);
	xdp_edge_flip(&edge, 2);
	xdp_edge_forget(&edge);
	expect_reason("whole", &web, GS_REASON_tx_new);
	xdp_edge_put_array(&edge, GS_MAP_GEO4, 2, sizeof(wild[0]), 1, wild);
	xdp_edge_flip(&edge, 2); /* or what is cached of the client would do */
	expect_reason("a root of one block: unknown", &web, GS_REASON_tx_new);
	expect_reason("the same, its service cached", &web, GS_REASON_tx_new);
	xdp_edge_put_array(&edge, GS_MAP_POOLS, 2, sizeof(pools[0]), 1, pools);
	xdp_edge_flip(&edge, 2);
	expect_reason("no pools", &web, GS_REASON_drop_no_plan);
	expect_reason("no pools, its service cached", &web, GS_REASON_drop_no_plan);
	xdp_edge_set_meta(&edge, &good);
	meta = good;
	meta.flow_mask = 0xffffffff;
	xdp_edge_set_meta(&edge, &meta);
	expect_reason("no such bucket", &web, GS_REASON_tx_untracked);
	xdp_edge_set_meta(&edge, &good);
}

/* ---- hops and backends ----------------------------------------------------------------------- */

static uint32_t backend_of(const struct packet *packet)
{
	uint32_t backend = edge_expect_backend(&edge, packet, SERVICE_WEB4, 1, 0x5eed);

	assert_int_not_equal(backend, 0);
	return backend;
}

static void test_backend_values(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){.flags = SYN});
	uint32_t backend = backend_of(&packet), empty_hop = 7;
	struct gs_backend_value good = edge_backend_value(backend), value = good;

	(void)state;
	value.mode = GS_FORWARD_NONE;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("no mode", &packet, GS_REASON_drop_mode);
	value.mode = 77;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("a later program's mode", &packet, GS_REASON_drop_mode);
	value = good;
	value.family = 5;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("no family", &packet, GS_REASON_drop_mode);
	value = good;
	value.hop = 0;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("hop 0", &packet, GS_REASON_drop_no_hop);
	value.hop = empty_hop;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("empty hop", &packet, GS_REASON_drop_no_hop);
	value.hop = GS_MAX_HOPS;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	expect_reason("no such hop", &packet, GS_REASON_drop_no_hop);
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &good);
	xdp_edge_forget(&edge);
	expect_reason("as it was", &packet, GS_REASON_tx_new);
}

/* What just fits goes; of one byte more `want` becomes. */
static void expect_mtu(const struct packet_spec *spec, uint32_t outer, enum gs_reason want,
		       const char *name)
{
	struct packet packet = packet_build(spec);
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	hop.mtu = packet.length - PACKET_L3 - spec->padding + outer;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	xdp_edge_forget(&edge);
	expect_reason(name, &packet, GS_REASON_tx_new);
	hop.mtu--;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	expect_reason(name, &packet, want);
	hop.mtu++;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
}

static void test_mtu(void **state)
{
	struct gs_hop_value good = edge_hop_value();
	uint32_t id = EDGE_HOP;

	(void)state;
	expect_mtu(&(struct packet_spec){.flags = SYN, .payload = 1200}, 20,
		   GS_REASON_drop_would_fragment, "4 in 4");
	expect_mtu(&(struct packet_spec){.flags = SYN, .payload = 1200, .fragment = 0x4000}, 20,
		   GS_REASON_tx_too_big, "4 in 4, DF");
	expect_mtu(&(struct packet_spec){.flags = SYN, .payload = 3, .padding = 9}, 20,
		   GS_REASON_drop_would_fragment, "padded");
	expect_mtu(&(struct packet_spec){.flags = SYN, .src = "203.0.113.200"}, 40,
		   GS_REASON_drop_would_fragment, "4 in 6");
	expect_mtu(
		&(struct packet_spec){
			.flags = SYN, .payload = 100, .fragment = 0x4000, .src = "203.0.113.200"},
		40, GS_REASON_tx_too_big, "4 in 6, DF");
	/* shorter than what would be quoted */
	expect_mtu(&(struct packet_spec){.flags = SYN, .fragment = 0x4000}, 20,
		   GS_REASON_drop_too_big, "tiny, DF");
	/* an IPv6 host sends 1,280 bytes whatever it is told */
	expect_mtu(&(struct packet_spec){.family = 6, .flags = SYN, .payload = 1220}, 20,
		   GS_REASON_drop_too_big, "6 in 4, told 1279");
	expect_mtu(&(struct packet_spec){.family = 6, .flags = SYN, .payload = 1221}, 20,
		   GS_REASON_tx_too_big, "6 in 4");
	expect_mtu(
		&(struct packet_spec){
			.family = 6, .flags = SYN, .payload = 1221, .src = "2001:db8:3::9"},
		40, GS_REASON_tx_too_big, "6 in 6");
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &good);
}

static void test_mtu_beyond_ip(void **state)
{
	static const uint32_t mtus[] = {65535, 65536, 70000, 0xffffffff};
	struct packet packet = packet_build(&(struct packet_spec){.flags = SYN, .payload = 1400});
	struct gs_hop_value good = edge_hop_value(), hop = good;
	uint32_t id = EDGE_HOP;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(mtus); i++) {
		hop.mtu = mtus[i];
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		xdp_edge_forget(&edge);
		expect_reason("a large MTU", &packet, GS_REASON_tx_new);
		packet_case();
	}
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &good);
}

/* Of loopback, where packets of a test run come in. */
static void set_bond(uint32_t bond)
{
	const struct gs_own_mac_value value = {.bond = bond};
	uint32_t ifindex = 1;

	xdp_edge_set(&edge, GS_MAP_OWN_MACS, &ifindex, &value);
}

static void test_hop_kinds(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){.flags = SYN});
	struct packet want = edge_expect_frame(&packet, backend_of(&packet));
	struct gs_hop_value good = edge_hop_value(), hop = good;
	struct xdp_result result;
	uint32_t id = EDGE_HOP;

	(void)state;
	hop.flags = GS_HOP_REFLECT;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	xdp_edge_forget(&edge);
	result = expect_reason("reflect", &packet, GS_REASON_tx_new);
	memcpy(want.bytes, packet.bytes + 6, 6);
	memcpy(want.bytes + 6, packet.bytes, 6);
	edge_expect_bytes("reflect", &result.out, &want);

	hop = good;
	hop.ifindex = 1; /* loopback: what BPF_PROG_TEST_RUN says packets came in by */
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	xdp_edge_forget(&edge);
	expect_reason("the same interface", &packet, GS_REASON_tx_new);
	hop.ifindex = 4711;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	result = xdp_edge_send(&edge, &packet);
	assert_int_equal(result.action, XDP_REDIRECT);
	assert_int_equal(result.reason, GS_REASON_tx_new);
	/* where packets come in is a port of that one, which is a bond; then, of another one */
	set_bond(4711);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_TX);
	set_bond(4712);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_REDIRECT);
	set_bond(0);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_REDIRECT);
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &good);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_fragments, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group_macs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_meta_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tables_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backend_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu_beyond_ip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hop_kinds, setup, teardown),
	};

	return cmocka_run_group_tests_name("xdp", tests, NULL, NULL);
}
