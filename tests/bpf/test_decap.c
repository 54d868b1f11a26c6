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

#include "bpf/decap.h"
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
static int prog_fd;

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
	static uint64_t cpus[MAX_CPUS];
	uint64_t sum = 0;

	assert_in_range(libbpf_num_possible_cpus(), 1, MAX_CPUS);
	assert_int_equal(bpf_map_lookup_elem(map_fd("gs_decap_count"), &reason, cpus), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cpus[i];
	return sum;
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

		got = put_through("over IPv4", &in4, GS_DECAP_pass_inner);
		want = inside(&inner, &outer4);
		expect_same("over IPv4", &got, &want);
		got = put_through("over IPv6", &in6, GS_DECAP_pass_inner);
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

		got = put_through("GUE over IPv4", &in4, GS_DECAP_pass_inner);
		want = inside(&inner, &outer4);
		expect_same("GUE over IPv4", &got, &want);
		got = put_through("GUE over IPv6", &in6, GS_DECAP_pass_inner);
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
	struct packet options = packet_build(&(struct packet_spec){.ip_options = 4});

	(void)state;
	expect_untouched("TCP", &plain4, GS_DECAP_pass_other);
	expect_untouched("TCP over IPv6", &plain6, GS_DECAP_pass_other);
	expect_untouched("ARP", &arp, GS_DECAP_pass_other);
	gre.bytes[PACKET_L3 + 9] = IPPROTO_GRE;
	expect_untouched("GRE", &gre, GS_DECAP_pass_other);
	fragment.bytes[PACKET_L3 + 6] = 0x20;
	packet_fix_ip4(&fragment);
	expect_untouched("fragment", &fragment, GS_DECAP_pass_transit);
	options.bytes[PACKET_L3 + 9] = IPPROTO_IPIP;
	packet_fix_ip4(&options);
	expect_untouched("options", &options, GS_DECAP_pass_transit);
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
		{"a checksum", 7, 0x01, GS_DECAP_pass_transit},
		{"too long for its packet", 4, 0x10, GS_DECAP_drop_malformed},
		{"shorter than a header", 5, 0x07, GS_DECAP_drop_malformed},
		{"one byte short", 5, 0x00, GS_DECAP_drop_malformed},
		{"an inner IPv4 header of 10 bytes", 10, 0xff, GS_DECAP_drop_malformed},
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
			    rows[i].want == GS_DECAP_pass_transit)
				expect_untouched(rows[i].name, &packet, rows[i].want);
		}
		packet = packet_gue(&inner, &outers[o], 50000);
		for (packet.length--; packet.length >= PACKET_L3; packet.length--)
			put_through("cut", &packet,
				    packet.length < udp + 4 ? GS_DECAP_pass_other
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
	put_through("ours", &packet, GS_DECAP_pass_inner);
	packet = packet_encapsulate(&inner, &outer6);
	put_through("ours over IPv6", &packet, GS_DECAP_pass_inner);
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
		{"inner longer than outer", 4, false, 3, 59, true, GS_DECAP_drop_malformed},
		{"inner version 6 in protocol 4", 4, false, 20, 0x65, false,
		 GS_DECAP_drop_malformed},
		{"inner version 4 in protocol 41", 6, false, 20, 0x45, false,
		 GS_DECAP_drop_malformed},
		{"outer version 4 over IPv6", 4, true, 0, 0x45, false, GS_DECAP_drop_malformed},
		{"inner longer than outer over IPv6", 4, true, 43, 41, false,
		 GS_DECAP_drop_malformed},
		{"no inner header over IPv6", 6, true, 5, 39, false, GS_DECAP_drop_truncated},
		{"inner IPv6 longer than outer", 6, true, 45, 21, false, GS_DECAP_drop_malformed},
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

/* ---- marks, strangers ------------------------------------------------------------------------ */

static void mark(struct packet *packet, bool is_v6)
{
	packet->bytes[PACKET_L3 + 1] |= is_v6 ? 0x30 : 0x03;
	if (!is_v6)
		packet_fix_ip4(packet);
}

/* inner ECN x outer family: not capable, ECT(1), ECT(0), already marked */
static void test_congestion_marks(void **state)
{
	(void)state;
	for (uint8_t ecn = 0; ecn < 4; ecn++)
		for (uint8_t family = 4; family <= 6; family += 2)
			for (int over6 = 0; over6 < 2; over6++) {
				struct packet_spec spec = {.family = family,
							   .ds = (uint8_t)(0xb8 | ecn)};
				const struct packet_outer *outer = over6 ? &outer6 : &outer4;
				struct packet inner = packet_build(&spec);
				struct packet packet = packet_encapsulate(&inner, outer), want, got;

				mark(&packet, over6);
				got = put_through("marked", &packet,
						  ecn ? GS_DECAP_pass_inner
						      : GS_DECAP_drop_congested);
				if (!ecn)
					continue;
				spec.ds = 0xbb;
				inner = packet_build(&spec);
				want = inside(&inner, outer);
				expect_same("marked", &got, &want);
			}
}

static void test_strangers(void **state)
{
	struct packet inner = packet_build(&(struct packet_spec){.payload = 1});
	struct packet in4 = packet_encapsulate(&inner, &outer4);
	struct packet in6 = packet_encapsulate(&inner, &outer6);
	uint32_t zero = 0, on = 1, off = 0;
	uint8_t edge[16];

	(void)state;
	assert_int_equal(bpf_map_update_elem(map_fd("gs_decap_conf"), &zero, &on, 0), 0);
	packet_addr(outer4.src, edge);
	assert_int_equal(bpf_map_update_elem(map_fd("gs_decap_edges"), edge, &on, 0), 0);
	put_through("an edge", &in4, GS_DECAP_pass_inner);
	put_through("a stranger", &in6, GS_DECAP_drop_stranger);
	put_through("no tunnel", &inner, GS_DECAP_pass_other);
	assert_int_equal(bpf_map_update_elem(map_fd("gs_decap_conf"), &zero, &off, 0), 0);
	put_through("anybody", &in6, GS_DECAP_pass_inner);
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
		cmocka_unit_test(test_unwraps),	   cmocka_unit_test(test_unwraps_gue),
		cmocka_unit_test(test_gue_or_not), cmocka_unit_test(test_passes),
		cmocka_unit_test(test_transit),	   cmocka_unit_test(test_cut),
		cmocka_unit_test(test_broken),	   cmocka_unit_test(test_congestion_marks),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests_name("decap", tests, setup, teardown);
}
