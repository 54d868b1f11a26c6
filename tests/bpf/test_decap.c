/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend kit's decapsulator: what an edge wraps comes out as it was, the rest passes or is
 * dropped, each for one reason. In a network namespace of the test's own, because whether an
 * address is local is the kernel's word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_decap.h"
#include "packet.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CPUS = 1024, IP4 = 20, IP6 = 40 };

static struct bpf_object *object;
static int prog_fd, mss_fd;

static const struct packet_outer outer4 = {.dst_mac = {2, 0, 0, 0, 0, 1},
					   .src_mac = {2, 0, 0, 0, 0, 2},
					   .src = "192.0.2.254",
					   .dst = "10.1.0.11"};
static const struct packet_outer outer6 = {.dst_mac = {2, 0, 0, 0, 0, 1},
					   .src_mac = {2, 0, 0, 0, 0, 2},
					   .src = "2001:db8:e::1",
					   .dst = "fd00:1::11"};

static int map_fd(const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	assert_true(fd >= 0);
	return fd;
}

static uint64_t count_get(uint32_t reason)
{
	static uint64_t cpus[MAX_CPUS][GS_DECAP__COUNT];
	uint32_t zero = 0;
	uint64_t sum = 0;

	assert_in_range(libbpf_num_possible_cpus(), 1, MAX_CPUS);
	assert_int_equal(bpf_map_lookup_elem(map_fd(GS_DECAP_MAP_COUNT), &zero, cpus), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cpus[i][reason];
	return sum;
}

static void set_edge(const char *address, uint32_t length, bool is_there)
{
	bool is_v6 = strchr(address, ':') != NULL;
	struct gs_decap_edge_key key = {
		.prefix_len = GS_DECAP_FAMILY_BITS + length + (is_v6 ? 0 : 96),
		.family = is_v6 ? 6 : 4,
	};
	uint32_t one = 1;

	packet_addr(address, (uint8_t *)key.addr);
	if (is_there)
		assert_int_equal(bpf_map_update_elem(map_fd(GS_DECAP_MAP_EDGES), &key, &one, 0), 0);
	else
		assert_int_equal(bpf_map_delete_elem(map_fd(GS_DECAP_MAP_EDGES), &key), 0);
}

static void set_vip(const char *address, bool is_there)
{
	struct gs_decap_vip_key key;
	uint32_t one = 1;

	packet_addr(address, (uint8_t *)key.addr);
	if (is_there)
		assert_int_equal(bpf_map_update_elem(map_fd(GS_DECAP_MAP_VIPS), &key, &one, 0), 0);
	else
		assert_int_equal(bpf_map_delete_elem(map_fd(GS_DECAP_MAP_VIPS), &key), 0);
}

/* Asserts that one reason moved, and that the verdict is its own. */
static struct packet put_through(const char *name, const struct packet *packet,
				 enum gs_decap_reason want)
{
#define VERDICT(reason, verdict, text) XDP_##verdict,
	static const uint32_t verdicts[] = {GS_DECAP_REASONS(VERDICT)};
#undef VERDICT
	uint64_t before[GS_DECAP__COUNT];
	struct packet out = {.length = 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes));

	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++)
		before[i] = count_get(i);
	assert_int_equal(bpf_prog_test_run_opts(prog_fd, &opts), 0);
	out.length = opts.data_size_out;
	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++) {
		if (count_get(i) - before[i] != (i == want))
			print_message("%s: reason %u moved, wanted %u\n", name, i, want);
		assert_int_equal(count_get(i) - before[i], i == want);
	}
	assert_int_equal(opts.retval, verdicts[want]);
	return out;
}

static void expect_same(const char *name, const struct packet *got, const struct packet *want)
{
	if (got->length != want->length || memcmp(got->bytes, want->bytes, want->length) != 0)
		print_message("%s: other bytes came out\n", name);
	assert_int_equal(got->length, want->length);
	assert_memory_equal(got->bytes, want->bytes, want->length);
}

/* The inner frame, with the MAC addresses of the outer one. */
static struct packet inside(const struct packet *inner, const struct packet_outer *outer)
{
	struct packet want = *inner;

	memcpy(want.bytes, outer->dst_mac, 6);
	memcpy(want.bytes + 6, outer->src_mac, 6);
	return want;
}

/* ---- what edges send ------------------------------------------------------------------------- */

static const struct packet_spec inners[] = {
	{.flags = 2},
	{.payload = 900, .ds = 0xb9},
	{.ip_options = 12},
	{.protocol = IPPROTO_UDP, .dport = 53, .padding = 5},
	{.family = 6},
	{.family = 6, .ds = 0x2e, .payload = 77},
	{.family = 6, .extensions = "hda"},
};

static void test_unwraps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		struct packet inner = packet_build(&inners[i]);
		struct packet in4 = packet_encapsulate(&inner, &outer4);
		struct packet in6 = packet_encapsulate(&inner, &outer6), got, want;

		got = put_through("over IPv4", &in4, GS_DECAP_pass_ipip4);
		want = inside(&inner, &outer4);
		expect_same("over IPv4", &got, &want);
		got = put_through("over IPv6", &in6, GS_DECAP_pass_ipip6);
		want = inside(&inner, &outer6);
		expect_same("over IPv6", &got, &want);
	}
}

static void test_unwraps_gue(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		struct packet inner = packet_build(&inners[i]);
		struct packet in4 = packet_gue(&inner, &outer4, 0xc000 + i);
		struct packet in6 = packet_gue(&inner, &outer6, 0xffff), got, want;

		got = put_through("GUE over IPv4", &in4, GS_DECAP_pass_gue4);
		want = inside(&inner, &outer4);
		expect_same("GUE over IPv4", &got, &want);
		got = put_through("GUE over IPv6", &in6, GS_DECAP_pass_gue6);
		want = inside(&inner, &outer6);
		expect_same("GUE over IPv6", &got, &want);
	}
}

/* ---- what is no business of ours ------------------------------------------------------------- */

static void expect_untouched(const char *name, const struct packet *packet,
			     enum gs_decap_reason want)
{
	struct packet got = put_through(name, packet, want);

	expect_same(name, &got, packet);
}

static void test_passes(void **state)
{
	struct packet plain4 = packet_build(&(struct packet_spec){.payload = 9});
	struct packet plain6 = packet_build(&(struct packet_spec){.family = 6, .extensions = "d"});
	struct packet arp = packet_build(&(struct packet_spec){.ethertype = 0x0806});
	struct packet gre = packet_encapsulate(&plain4, &outer4);
	struct packet fragment = packet_encapsulate(&plain4, &outer4);
	struct packet options = packet_build(
		&(struct packet_spec){.ip_options = 4, .src = outer4.src, .dst = outer4.dst});

	(void)state;
	expect_untouched("TCP", &plain4, GS_DECAP_pass_other);
	expect_untouched("TCP over IPv6", &plain6, GS_DECAP_pass_other);
	expect_untouched("ARP", &arp, GS_DECAP_pass_other);
	gre.bytes[PACKET_L3 + 9] = IPPROTO_GRE;
	expect_untouched("GRE", &gre, GS_DECAP_pass_other);
	fragment.bytes[PACKET_L3 + 6] = 0x20;
	packet_fix_ip4(&fragment);
	expect_untouched("fragment", &fragment, GS_DECAP_pass_fragment);
	options.bytes[PACKET_L3 + 9] = IPPROTO_IPIP;
	packet_fix_ip4(&options);
	expect_untouched("options", &options, GS_DECAP_pass_options);
}

/* UDP is GUE only if all of it says so; then it is judged like any tunnel packet. */
static void test_gue_or_not(void **state)
{
	static const struct {
		const char *name;
		uint32_t at; /* from the UDP header on */
		uint8_t value;
		enum gs_decap_reason want;
	} rows[] = {
		{"another port", 3, 0xc1, GS_DECAP_pass_other},
		{"a GUE header of variant 0", 8, 0x00, GS_DECAP_pass_other},
		{"neither IPv4 nor IPv6", 8, 0x55, GS_DECAP_pass_other},
		{"a checksum", 7, 0x01, GS_DECAP_pass_checksum},
		{"too long for its packet", 4, 0x10, GS_DECAP_drop_malformed},
		{"shorter than a header", 5, 0x07, GS_DECAP_drop_malformed},
		{"one byte short", 5, 0x00, GS_DECAP_drop_malformed},
		{"an inner packet that is too long", 10, 0xff, GS_DECAP_drop_inner},
	};
	struct packet inner = packet_build(&(struct packet_spec){.payload = 9}), packet;
	struct packet_outer outers[] = {outer4, outer6};
	(void)state;

	for (int o = 0; o < 2; o++) {
		uint32_t udp = PACKET_L3 + (o == 0 ? IP4 : IP6);

		for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			packet = packet_gue(&inner, &outers[o], 50000);
			packet.bytes[udp + rows[i].at] = rows[i].value;
			put_through(rows[i].name, &packet, rows[i].want);
			if (rows[i].want == GS_DECAP_pass_other ||
			    rows[i].want == GS_DECAP_pass_checksum)
				expect_untouched(rows[i].name, &packet, rows[i].want);
		}
		packet = packet_gue(&inner, &outers[o], 50000);
		for (packet.length--; packet.length >= PACKET_L3; packet.length--)
			put_through("cut", &packet,
				    packet.length < udp + 9 ? GS_DECAP_pass_other
							    : GS_DECAP_drop_truncated);
	}
}

static void set_forwarding(bool on)
{
	static const char *const files[] = {"/proc/sys/net/ipv4/ip_forward",
					    "/proc/sys/net/ipv6/conf/all/forwarding",
					    "/proc/sys/net/ipv6/conf/lo/forwarding"};

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		FILE *file = fopen(files[i], "w");

		assert_non_null(file);
		fprintf(file, "%d\n", on);
		assert_int_equal(fclose(file), 0);
	}
}

/* A router that is a backend as well: only what is addressed to itself. */
static void test_transit(void **state)
{
	struct packet inner = packet_build(&(struct packet_spec){.payload = 9});
	struct packet_outer elsewhere4 = outer4, elsewhere6 = outer6;
	struct packet packet;

	(void)state;
	set_forwarding(true);
	packet = packet_encapsulate(&inner, &outer4);
	put_through("ours", &packet, GS_DECAP_pass_ipip4);
	packet = packet_encapsulate(&inner, &outer6);
	put_through("ours over IPv6", &packet, GS_DECAP_pass_ipip6);
	elsewhere4.dst = "10.1.0.12";
	packet = packet_encapsulate(&inner, &elsewhere4);
	expect_untouched("another host's", &packet, GS_DECAP_pass_transit);
	elsewhere6.dst = "fd00:1::12";
	packet = packet_encapsulate(&inner, &elsewhere6);
	expect_untouched("another host's over IPv6", &packet, GS_DECAP_pass_transit);
	set_forwarding(false);
}

/* ---- broken ones ----------------------------------------------------------------------------- */

static void test_cut(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		struct packet_spec spec = inners[i];
		struct packet inner, packet;

		spec.padding = 0;
		inner = packet_build(&spec);
		packet = packet_encapsulate(&inner, &outer4);
		for (packet.length--; packet.length >= PACKET_L3; packet.length--)
			put_through("cut", &packet,
				    packet.length < PACKET_L3 + IP4 ? GS_DECAP_pass_other
								    : GS_DECAP_drop_truncated);
		packet = packet_encapsulate(&inner, &outer6);
		for (packet.length--; packet.length >= PACKET_L3; packet.length--)
			put_through("cut", &packet,
				    packet.length < PACKET_L3 + IP6 ? GS_DECAP_pass_other
								    : GS_DECAP_drop_truncated);
	}
}

struct broken_case {
	const char *name;
	uint8_t family; /* of the inner packet */
	bool over6;
	uint32_t at; /* from the outer header on */
	uint8_t value;
	bool fix; /* the outer checksum afterwards */
	enum gs_decap_reason want;
};

static void test_broken(void **state)
{
	static const struct broken_case cases[] = {
		{"outer checksum", 4, false, 10, 0, false, GS_DECAP_drop_malformed},
		{"outer header length 4", 4, false, 0, 0x44, false, GS_DECAP_drop_malformed},
		{"outer version 6", 4, false, 0, 0x65, true, GS_DECAP_drop_malformed},
		{"outer length 19", 4, false, 3, 19, true, GS_DECAP_drop_malformed},
		{"outer length without the inner header", 4, false, 3, 39, true,
		 GS_DECAP_drop_truncated},
		{"inner longer than outer", 4, false, 3, 59, true, GS_DECAP_drop_inner},
		{"inner version 6 in protocol 4", 4, false, 20, 0x65, false, GS_DECAP_drop_inner},
		{"inner header of 4 bytes", 4, false, 20, 0x41, false, GS_DECAP_drop_inner},
		{"inner length 19", 4, false, 23, 19, false, GS_DECAP_drop_inner},
		{"IPIP in IPIP", 4, false, 29, IPPROTO_IPIP, false, GS_DECAP_drop_nested},
		{"IPv6 in IPv4 in IPv6", 4, true, 49, IPPROTO_IPV6, false, GS_DECAP_drop_nested},
		{"IPv4 in IPv6 in IPv4", 6, false, 26, IPPROTO_IPIP, false, GS_DECAP_drop_nested},
		{"another VIP", 4, false, 39, 99, false, GS_DECAP_drop_not_vip},
		{"another IPv6 VIP", 6, true, 79, 0x99, false, GS_DECAP_drop_not_vip},
		{"inner version 4 in protocol 41", 6, false, 20, 0x45, false, GS_DECAP_drop_inner},
		{"outer version 4 over IPv6", 4, true, 0, 0x45, false, GS_DECAP_drop_malformed},
		{"inner longer than outer over IPv6", 4, true, 43, 41, false, GS_DECAP_drop_inner},
		{"no inner header over IPv6", 6, true, 5, 39, false, GS_DECAP_drop_truncated},
		{"inner IPv6 longer than outer", 6, true, 45, 21, false, GS_DECAP_drop_inner},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet inner =
			packet_build(&(struct packet_spec){.family = cases[i].family});
		struct packet packet =
			packet_encapsulate(&inner, cases[i].over6 ? &outer6 : &outer4);

		packet.bytes[PACKET_L3 + cases[i].at] = cases[i].value;
		if (cases[i].fix)
			packet_fix_ip4(&packet);
		put_through(cases[i].name, &packet, cases[i].want);
	}
}

/* What is inside, behind these headers and the first `cut` bytes less of it, is of this protocol.
 */
static void test_nested_behind_headers(void **state)
{
	static const struct {
		const char *name;
		const char *extensions;
		uint8_t protocol;
		enum gs_decap_reason want;
	} cases[] = {
		{"IPv6 behind options", "d", IPPROTO_IPV6, GS_DECAP_drop_nested},
		{"IPv4 behind options", "d", IPPROTO_IPIP, GS_DECAP_drop_nested},
		{"behind all there are", "hrdafo", IPPROTO_IPV6, GS_DECAP_drop_nested},
		{"in a first fragment", "f", IPPROTO_IPV6, GS_DECAP_drop_nested},
		{"in a later fragment", "l", IPPROTO_IPIP, GS_DECAP_drop_nested},
		{"in a fragment that is all there is", "o", IPPROTO_IPIP, GS_DECAP_drop_nested},
		{"TCP behind options", "d", IPPROTO_TCP, GS_DECAP_pass_ipip6},
		{"UDP behind all there are", "hrdafo", IPPROTO_UDP, GS_DECAP_pass_ipip6},
		{"UDP in a first fragment", "f", IPPROTO_UDP, GS_DECAP_pass_ipip6},
		{"UDP in a later fragment", "l", IPPROTO_UDP, GS_DECAP_pass_ipip6},
		{"bytes of a later fragment", "ld", IPPROTO_IPV6, GS_DECAP_pass_ipip6},
		{"more headers than an edge lets through", "hdrdada", IPPROTO_TCP,
		 GS_DECAP_drop_inner},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet inner =
			packet_build(&(struct packet_spec){.family = 6,
							   .extensions = cases[i].extensions,
							   .protocol = cases[i].protocol,
							   .payload = 60});
		struct packet packet = packet_encapsulate(&inner, &outer6);

		put_through(cases[i].name, &packet, cases[i].want);
	}
}

/* Headers that do not end in the packet: nobody can say what it is. */
static void test_headers_cut(void **state)
{
	struct packet inner = packet_build(&(struct packet_spec){.family = 6, .extensions = "hd"});
	struct packet packet = packet_encapsulate(&inner, &outer6);
	uint32_t headers = 2 * IP6 + 16;

	(void)state;
	for (uint32_t bytes = 0; bytes <= 24; bytes++) {
		packet_put16(packet.bytes + PACKET_L3 + 4, (uint16_t)(IP6 + bytes));
		packet_put16(packet.bytes + PACKET_L3 + IP6 + 4, (uint16_t)bytes);
		put_through("cut by its length", &packet,
			    IP6 + IP6 + bytes < headers ? GS_DECAP_drop_inner
							: GS_DECAP_pass_ipip6);
	}
	packet = packet_encapsulate(&inner, &outer6);
	packet.bytes[PACKET_L3 + 2 * IP6 + 9] = 9; /* units of 8 bytes: more than there are */
	put_through("longer than the packet", &packet, GS_DECAP_drop_inner);
}

/* ---- marks, strangers ------------------------------------------------------------------------ */

static void set_outer_ds(struct packet *packet, bool is_v6, uint8_t ds)
{
	uint8_t *ip = packet->bytes + PACKET_L3;

	if (is_v6) {
		ip[0] = (uint8_t)(0x60 | ds >> 4);
		ip[1] = (uint8_t)(ds << 4 | (ip[1] & 15));
		return;
	}
	ip[1] = ds;
	packet_fix_ip4(packet);
}

/* The TCP checksum, over the pseudo header too. */
static void fix_tcp(struct packet *packet, uint8_t family)
{
	uint8_t *ip = packet->bytes + PACKET_L3, *tcp = packet->bytes + packet->l4;
	uint32_t bytes = packet->length - packet->l4;
	uint8_t sum[40 + 100] = {0};

	memcpy(sum, ip + (family == 4 ? 12 : 8), family == 4 ? 8 : 32);
	packet_put16(sum + 34, (uint16_t)bytes);
	sum[39] = IPPROTO_TCP;
	packet_put16(tcp + 16, 0);
	memcpy(sum + 40, tcp, bytes);
	packet_put16(tcp + 16, packet_checksum(sum, 40 + (bytes + 1) / 2 * 2));
}

/* RFC 6040, figure 4: outer ECN, inner ECN -> what comes out; 4: dropped. Both families, both ways.
 */
static void test_congestion_marks(void **state)
{
	static const uint8_t want_ecn[4][4] = {
		{0, 1, 2, 3}, /* outer Not-ECT */
		{0, 1, 1, 3}, /* ECT(1) */
		{0, 1, 2, 3}, /* ECT(0) */
		{4, 3, 3, 3}, /* CE */
	};

	(void)state;
	for (uint32_t row = 0; row < 64; row++) {
		uint8_t out = row & 3, in = row >> 2 & 3, want = want_ecn[out][in];
		bool over6 = row >> 4 & 1;
		struct packet_spec spec = {.family = row >> 5 ? 6 : 4, .ds = (uint8_t)(0xb8 | in)};
		const struct packet_outer *outer = over6 ? &outer6 : &outer4;
		struct packet inner = packet_build(&spec), expected, got;
		struct packet packet = packet_encapsulate(&inner, outer);

		/* The DS field outside is another one, and stays there. */
		set_outer_ds(&packet, over6, (uint8_t)(0x28 | out));
		got = put_through("marked", &packet,
				  want == 4 ? GS_DECAP_drop_congested
				  : over6   ? GS_DECAP_pass_ipip6
					    : GS_DECAP_pass_ipip4);
		if (want == 4)
			continue;
		spec.ds = (uint8_t)(0xb8 | want);
		inner = packet_build(&spec);
		expected = inside(&inner, outer);
		expect_same("marked", &got, &expected);
	}
}

static void test_strangers(void **state)
{
	struct packet inner = packet_build(&(struct packet_spec){.payload = 1});
	struct packet in4 = packet_encapsulate(&inner, &outer4);
	struct packet in6 = packet_encapsulate(&inner, &outer6);
	struct packet gue = packet_gue(&inner, &outer4, 50000);
	struct packet_outer disguised = outer6;
	struct packet packet;

	(void)state;
	set_edge(outer6.src, 128, false);
	expect_untouched("a stranger", &in6, GS_DECAP_pass_not_edge);
	put_through("an edge", &in4, GS_DECAP_pass_ipip4);
	set_edge("2001:db8:e::", 64, true);
	put_through("one of a network of edges", &in6, GS_DECAP_pass_ipip6);
	set_edge(outer4.src, 32, false);
	expect_untouched("a stranger over IPv4", &in4, GS_DECAP_pass_not_edge);
	expect_untouched("a stranger's GUE", &gue, GS_DECAP_pass_not_edge);
	/* His packets are his own: broken ones pass, too. */
	in4.bytes[PACKET_L3 + 10] ^= 1;
	expect_untouched("a stranger's broken one", &in4, GS_DECAP_pass_not_edge);
	in4.bytes[PACKET_L3 + 10] ^= 1;
	/* Everybody of one family is nobody of the other. */
	set_edge("::", 0, true);
	expect_untouched("IPv4, IPv6 believed", &in4, GS_DECAP_pass_not_edge);
	set_edge("::", 0, false);
	set_edge("192.0.2.128", 25, true);
	put_through("one of a network of edges over IPv4", &in4, GS_DECAP_pass_ipip4);
	disguised.src = "2001:db8:f::1";
	packet = packet_encapsulate(&inner, &disguised);
	memset(packet.bytes + PACKET_L3 + 8, 0, 10);
	memset(packet.bytes + PACKET_L3 + 18, 0xff, 2);
	packet_addr(outer4.src, packet.bytes + PACKET_L3 + 8);
	expect_untouched("an IPv4 edge inside an IPv6 address", &packet, GS_DECAP_pass_not_edge);
	set_edge("192.0.2.128", 25, false);
	set_edge("2001:db8:e::", 64, false);
	set_edge(outer4.src, 32, true);
	set_edge(outer6.src, 128, true);
}

static void test_vips(void **state)
{
	struct packet inner = packet_build(&(struct packet_spec){.payload = 1});
	struct packet inner6 = packet_build(&(struct packet_spec){.family = 6, .payload = 1});
	struct packet in4 = packet_encapsulate(&inner, &outer4);
	struct packet in6 = packet_encapsulate(&inner6, &outer4);

	(void)state;
	set_vip("198.51.100.10", false);
	put_through("not served", &in4, GS_DECAP_drop_not_vip);
	put_through("served", &in6, GS_DECAP_pass_ipip4);
	set_vip("198.51.100.10", true);
	put_through("served again", &in4, GS_DECAP_pass_ipip4);
	/* An IPv4 VIP as an IPv6 destination is none. */
	packet_addr("198.51.100.10", in6.bytes + PACKET_L3 + IP4 + 24);
	put_through("a mapped destination", &in6, GS_DECAP_drop_inner);
}

/* Two buffers: only the first is touched. */
static void test_jumbo(void **state)
{
	enum { PAYLOAD = 8000 };
	static uint8_t in[PACKET_L3 + IP4 + IP4 + 20 + PAYLOAD], out[sizeof(in)];
	struct packet inner = packet_build(&(struct packet_spec){.payload = 0});
	struct packet packet = packet_encapsulate(&inner, &outer4);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = sizeof(in),
		    .data_out = out, .data_size_out = sizeof(out));
	uint64_t before = count_get(GS_DECAP_pass_ipip4);

	(void)state;
	packet_put16(packet.bytes + PACKET_L3 + 2, IP4 + IP4 + 20 + PAYLOAD);
	packet_put16(packet.bytes + PACKET_L3 + IP4 + 2, IP4 + 20 + PAYLOAD);
	packet_fix_ip4(&packet);
	memcpy(in, packet.bytes, packet.length);
	for (uint32_t i = packet.length; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	assert_int_equal(bpf_prog_test_run_opts(prog_fd, &opts), 0);
	assert_int_equal(opts.retval, XDP_PASS);
	assert_int_equal(count_get(GS_DECAP_pass_ipip4), before + 1);
	assert_int_equal(opts.data_size_out, sizeof(in) - IP4);
	assert_memory_equal(out + PACKET_L3, in + PACKET_L3 + IP4, sizeof(in) - IP4 - PACKET_L3);
	/* The outer header claims what the last buffer does not have. */
	opts.data_size_in = sizeof(in) - 1;
	opts.data_size_out = sizeof(out);
	assert_int_equal(bpf_prog_test_run_opts(prog_fd, &opts), 0);
	assert_int_equal(opts.retval, XDP_DROP);
}

/* ---- going out: the MSS ---------------------------------------------------------------------- */

enum { TC_UNSPEC = (uint32_t)-1, MSS4 = 1400, MSS6 = 1380 };

/* A SYN-ACK of the VIP's with these TCP options, sums right. */
static struct packet synack(uint8_t family, uint8_t flags, const char *options, uint32_t bytes)
{
	const char *vip = family == 6 ? "2001:db8:100::10" : "198.51.100.10";
	struct packet packet = packet_build(
		&(struct packet_spec){.family = family,
				      .src = vip,
				      .dst = family == 6 ? "2001:db8:1::1" : "192.0.2.1",
				      .sport = 80,
				      .dport = 40000,
				      .flags = flags,
				      .payload = (uint16_t)bytes});

	memcpy(packet.bytes + packet.l4 + 20, options, bytes);
	packet.bytes[packet.l4 + 12] = (uint8_t)((20 + bytes) / 4 << 4);
	fix_tcp(&packet, family);
	return packet;
}

static const struct {
	const char *name;
	const char *options;
	uint32_t bytes;
	uint8_t flags;
	int at; /* of the MSS in the options */
	enum gs_decap_reason want;
} synacks[] = {
	{"Linux's options", "\2\4\x05\xb4\1\1\4\2\1\3\3\7", 12, 0x12, 2, GS_DECAP_mss_clamped},
	{"at an odd place", "\1\2\4\x05\xb4\1\1\1", 8, 0x12, 3, GS_DECAP_mss_clamped},
	{"behind timestamps", "\x08\x0a\1\2\3\4\5\6\7\x08\2\4\xff\xff\1\1", 16, 0x12, 12,
	 GS_DECAP_mss_clamped},
	{"the last of 40 bytes",
	 "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\2\4\x05\xb4", 40,
	 0x12, 38, GS_DECAP_mss_clamped},
	{"with ECN", "\2\4\x05\xb4", 4, 0x52, 2, GS_DECAP_mss_clamped},
	{"as large as allowed", "\2\4\x05\x64", 4, 0x12, -1, GS_DECAP_mss_kept}, /* 1380 */
	{"small", "\2\4\2\x18", 4, 0x12, -1, GS_DECAP_mss_kept},
	{"zero", "\2\4\0\0", 4, 0x12, -1, GS_DECAP_mss_kept},
	{"no options", "", 0, 0x12, -1, GS_DECAP_mss_none},
	{"no MSS", "\4\2\1\1", 4, 0x12, -1, GS_DECAP_mss_none},
	{"behind the end", "\0\2\4\x05\xb4\0\0\0", 8, 0x12, -1, GS_DECAP_mss_none},
	{"an option of no length", "\x08\0\2\4\x05\xb4\1\1", 8, 0x12, -1, GS_DECAP_mss_none},
	{"an option of length 1", "\x08\1\2\4\x05\xb4\1\1", 8, 0x12, -1, GS_DECAP_mss_none},
	{"an MSS of 3 bytes", "\2\3\x05\1", 4, 0x12, -1, GS_DECAP_mss_none},
	{"an MSS beyond the header", "\1\1\2\4", 4, 0x12, -1, GS_DECAP_mss_none},
	{"an option beyond the header", "\x08\xff\2\4", 4, 0x12, -1, GS_DECAP_mss_none},
	{"a SYN", "\2\4\x05\xb4", 4, 0x02, -1, GS_DECAP__COUNT},
	{"an ACK", "\2\4\x05\xb4", 4, 0x10, -1, GS_DECAP__COUNT},
	{"SYN and RST", "\2\4\x05\xb4", 4, 0x16, -1, GS_DECAP__COUNT},
};

/* Asserts what counted (COUNT: nothing) and that the frame always goes on. */
static struct packet put_out(const char *name, const struct packet *packet,
			     enum gs_decap_reason want)
{
	uint64_t before[GS_DECAP__COUNT];
	struct packet out = {.length = 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes));

	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++)
		before[i] = count_get(i);
	assert_int_equal(bpf_prog_test_run_opts(mss_fd, &opts), 0);
	out.length = opts.data_size_out;
	assert_int_equal(opts.retval, TC_UNSPEC);
	for (uint32_t i = 0; i < GS_DECAP__COUNT; i++)
		if (count_get(i) - before[i] != (i == want))
			fail_msg("%s: reason %u moved, wanted %u", name, i, want);
	return out;
}

static void set_mss(uint16_t mss4, uint16_t mss6)
{
	struct gs_decap_conf conf = {.version = GS_DECAP_VERSION, .mss4 = mss4, .mss6 = mss6};
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(map_fd(GS_DECAP_MAP_CONF), &zero, &conf, 0), 0);
}

static void test_mss(void **state)
{
	(void)state;
	for (uint8_t family = 4; family <= 6; family += 2) {
		uint16_t most = family == 4 ? MSS4 : MSS6;

		for (unsigned i = 0; i < sizeof(synacks) / sizeof(synacks[0]); i++) {
			struct packet in = synack(family, synacks[i].flags, synacks[i].options,
						  synacks[i].bytes);
			struct packet want = in, got;

			set_mss(MSS4, MSS6);
			if (synacks[i].at >= 0) {
				packet_put16(want.bytes + want.l4 + 20 + synacks[i].at, most);
				fix_tcp(&want, family);
			}
			got = put_out(synacks[i].name, &in, synacks[i].want);
			expect_same(synacks[i].name, &got, &want);
			set_mss(0, 0);
			got = put_out("nobody looks", &in, GS_DECAP__COUNT);
			expect_same("nobody looks", &got, &in);
		}
	}
}

static void test_mss_of_others(void **state)
{
	struct packet in = synack(4, 0x12, "\2\4\x05\xb4", 4), got;

	(void)state;
	set_mss(MSS4, MSS6);
	set_vip("198.51.100.10", false);
	got = put_out("no VIP of ours", &in, GS_DECAP__COUNT);
	expect_same("no VIP of ours", &got, &in);
	set_vip("198.51.100.10", true);
	put_out("a VIP of ours", &in, GS_DECAP_mss_clamped);
	in.bytes[PACKET_L3 + 6] = 0x20;
	packet_fix_ip4(&in);
	put_out("a fragment", &in, GS_DECAP__COUNT);
	in = synack(4, 0x12, "\2\4\x05\xb4", 4);
	in.bytes[PACKET_L3 + 9] = IPPROTO_UDP;
	packet_fix_ip4(&in);
	put_out("UDP", &in, GS_DECAP__COUNT);
	set_mss(0, MSS6);
	put_out("IPv6 only", &in, GS_DECAP__COUNT);
	set_mss(MSS4, MSS6);
	for (in = synack(4, 0x12, "\2\4\x05\xb4", 4); in.length > PACKET_L3 + IP4; in.length--)
		put_out("cut", &in,
			in.length >= PACKET_L3 + IP4 + 24   ? GS_DECAP_mss_clamped
			: in.length >= PACKET_L3 + IP4 + 20 ? GS_DECAP_mss_none
							    : GS_DECAP__COUNT);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int setup(void **state)
{
	const char *build = getenv("BUILD");
	char path[256];

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up && ip addr add 10.1.0.11/32 dev lo && "
				"ip route add 10.1.0.0/24 dev lo && "
				"ip -6 addr add fd00:1::11/128 dev lo nodad && "
				"ip -6 route add fd00:1::/64 dev lo"),
			 0);
	set_forwarding(false);
	snprintf(path, sizeof(path), "%s/bpf/gs_decap.bpf.o", build ? build : "build");
	object = bpf_object__open_file(path, NULL);
	assert_non_null(object);
	assert_int_equal(bpf_object__load(object), 0);
	prog_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "gs_decap"));
	assert_true(prog_fd >= 0);
	mss_fd = bpf_program__fd(bpf_object__find_program_by_name(object, GS_DECAP_PROGRAM_MSS));
	assert_true(mss_fd >= 0);
	set_edge(outer4.src, 32, true);
	set_edge(outer6.src, 128, true);
	set_vip("198.51.100.10", true);
	set_vip("2001:db8:100::10", true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(object);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unwraps),	      cmocka_unit_test(test_unwraps_gue),
		cmocka_unit_test(test_gue_or_not),    cmocka_unit_test(test_passes),
		cmocka_unit_test(test_transit),	      cmocka_unit_test(test_cut),
		cmocka_unit_test(test_broken),	      cmocka_unit_test(test_nested_behind_headers),
		cmocka_unit_test(test_headers_cut),   cmocka_unit_test(test_congestion_marks),
		cmocka_unit_test(test_strangers),     cmocka_unit_test(test_vips),
		cmocka_unit_test(test_jumbo),	      cmocka_unit_test(test_mss),
		cmocka_unit_test(test_mss_of_others),
	};

	return cmocka_run_group_tests_name("decap", tests, setup, teardown);
}
