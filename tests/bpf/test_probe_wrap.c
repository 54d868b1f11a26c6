/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wraps probes: every mode and family byte for byte as the RFCs have it, what it does not
 * take for a probe's, and probes it cannot send, each for one reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_probe.h"
#include "packet.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CPUS = 1024, BACKEND = 4711, HOP = 17, IP4 = 20, IP6 = 40, UDP = 8 };

static struct bpf_object *object;
static int prog_fd;

static const uint8_t dst_mac[6] = {2, 0, 0, 0, 0, 0xaa}, src_mac[6] = {2, 0, 0, 0, 0, 0xbb};

static void set(const char *map, uint32_t key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(object, map);

	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &key, value, BPF_ANY), 0);
}

static void counts_get(uint64_t ret_counts[GS_WRAP__COUNT])
{
	static uint64_t cpus[MAX_CPUS][GS_WRAP__COUNT];
	uint32_t zero = 0;
	int fd = bpf_object__find_map_fd_by_name(object, GS_PROBE_MAP_COUNT);

	assert_in_range(libbpf_num_possible_cpus(), 1, MAX_CPUS);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, cpus), 0);
	memset(ret_counts, 0, GS_WRAP__COUNT * sizeof(*ret_counts));
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		for (int r = 0; r < GS_WRAP__COUNT; r++)
			ret_counts[r] += cpus[i][r];
}

/* Asserts that one reason moved, and that the verdict is its own. */
static struct packet put_through(const char *name, const struct packet *packet, uint32_t mark,
				 enum gs_wrap_reason want)
{
	enum { PASS = TC_ACT_OK, DROP = TC_ACT_SHOT, SEND = TC_ACT_REDIRECT };
#define VERDICT(reason, verdict, text) verdict,
	static const uint32_t verdicts[] = {GS_WRAP_REASONS(VERDICT)};
#undef VERDICT
	uint64_t before[GS_WRAP__COUNT], after[GS_WRAP__COUNT];
	struct __sk_buff skb = {.mark = mark}, skb_out;
	struct packet out = {.length = 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes), .ctx_in = &skb, .ctx_size_in = sizeof(skb),
		    .ctx_out = &skb_out, .ctx_size_out = sizeof(skb_out));

	counts_get(before);
	assert_int_equal(bpf_prog_test_run_opts(prog_fd, &opts), 0);
	counts_get(after);
	packet_case();
	for (uint32_t i = 0; i < GS_WRAP__COUNT; i++) {
		if (after[i] - before[i] != (i == want))
			print_message("%s: reason %u moved, wanted %u\n", name, i, want);
		assert_int_equal(after[i] - before[i], i == want);
	}
	assert_int_equal(opts.retval, verdicts[want]);
	/* Whatever filters by marks behind us meets no probe. */
	assert_int_equal(skb_out.mark, want == GS_WRAP_sent ? 0 : mark);
	out.length = opts.data_size_out;
	return out;
}

static void expect_same(const char *name, const struct packet *got, const struct packet *want)
{
	if (got->length != want->length || memcmp(got->bytes, want->bytes, want->length) != 0)
		print_message("%s: other bytes came out\n", name);
	assert_int_equal(got->length, want->length);
	assert_memory_equal(got->bytes, want->bytes, want->length);
}

static struct gs_hop_value hop_value(void)
{
	struct gs_hop_value hop = {.mtu = 1500, .ifindex = 1};

	memcpy(hop.dst_mac, dst_mac, 6);
	memcpy(hop.src_mac, src_mac, 6);
	assert_int_equal(inet_pton(AF_INET, "192.0.2.254", &hop.src4), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:e::1", hop.src6), 1);
	return hop;
}

static struct gs_backend_value backend_value(enum gs_forward_mode mode, uint8_t family)
{
	struct gs_backend_value value = {
		.hop = HOP, .service = 1, .region = 1, .mode = mode, .family = family};

	packet_addr(family == 4 ? "10.1.0.11" : "fd00:1::11", (uint8_t *)value.addr);
	return value;
}

static void put_world(enum gs_forward_mode mode, uint8_t family)
{
	struct gs_backend_value backend = backend_value(mode, family);
	struct gs_hop_value hop = hop_value();

	set(GS_MAP_BACKENDS, BACKEND, &backend);
	set(GS_MAP_HOPS, HOP, &hop);
}

static struct packet_outer outer_of(uint8_t family)
{
	struct packet_outer outer = {.src = family == 4 ? "192.0.2.254" : "2001:db8:e::1",
				     .dst = family == 4 ? "10.1.0.11" : "fd00:1::11"};

	memcpy(outer.dst_mac, dst_mac, 6);
	memcpy(outer.src_mac, src_mac, 6);
	return outer;
}

/* What the kernel sends by the device. */
static const struct packet_spec probes[] = {
	{.flags = 2},
	{.payload = 300, .ds = 0xb8},
	{.flags = 4, .ip_options = 8},
	{.protocol = IPPROTO_UDP, .dport = 53, .payload = 40},
	{.family = 6, .flags = 2},
	{.family = 6, .ds = 0x2e, .payload = 77},
	{.family = 6, .protocol = IPPROTO_UDP, .extensions = "d"},
};

enum { PROBES = sizeof(probes) / sizeof(probes[0]) };

/* ---- sent ------------------------------------------------------------------------------------ */

static void test_wraps(void **state)
{
	(void)state;
	for (int i = 0; i < PROBES * 2; i++) {
		struct packet probe = packet_build(&probes[i / 2]), got, want;
		uint8_t family = i % 2 ? 6 : 4;
		struct packet_outer outer = outer_of(family);
		uint32_t udp = PACKET_L3 + (family == 4 ? IP4 : IP6);
		uint16_t port;

		put_world(GS_FORWARD_IPIP, family);
		got = put_through("ipip", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		want = packet_encapsulate(&probe, &outer);
		expect_same("ipip", &got, &want);

		put_world(GS_FORWARD_GUE, family);
		got = put_through("gue", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		port = packet_get16(got.bytes + udp);
		assert_in_range(port, 0xc000, 0xffff);
		want = packet_gue(&probe, &outer, port);
		expect_same("gue", &got, &want);
	}
}

static void test_l2(void **state)
{
	(void)state;
	for (int i = 0; i < PROBES; i++) {
		uint8_t family = probes[i].family == 6 ? 6 : 4;
		struct packet probe = packet_build(&probes[i]), want = probe, got;

		put_world(GS_FORWARD_L2, family);
		got = put_through("l2", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		memcpy(want.bytes, dst_mac, 6);
		memcpy(want.bytes + 6, src_mac, 6);
		expect_same("l2", &got, &want);
		put_world(GS_FORWARD_L2, 10 - family);
		put_through("l2 of the other family", &probe, GS_PROBE_MARK + BACKEND,
			    GS_WRAP_drop_mode);
	}
}

/* One tag is for the driver to put in front; of two, the inner one is in the frame. */
static void test_tags(void **state)
{
	struct packet probe = packet_build(&probes[0]), got, want;
	struct packet_outer outer = outer_of(4);
	struct gs_hop_value hop = hop_value();
	const uint32_t inner = 0x8100u << 16 | 0x6064;

	(void)state;
	put_world(GS_FORWARD_IPIP, 4);
	hop.tags = 2;
	hop.tag[0] = (struct gs_tag){.protocol = htons(0x88a8), .tci = htons(0x0123)};
	hop.tag[1] = (struct gs_tag){.protocol = htons(0x8100), .tci = htons(0x6064)};
	set(GS_MAP_HOPS, HOP, &hop);
	got = put_through("two tags", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
	want = packet_encapsulate(&probe, &outer);
	want = packet_tag(&want, &inner, 1);
	expect_same("two tags", &got, &want);
}

/* Sources of a prefix: within it, and one flow has one. */
static void test_spread(void **state)
{
	struct packet probe = packet_build(&probes[0]), other, first, again;
	struct gs_hop_value hop = hop_value();
	bool differs = false;

	(void)state;
	hop.spread4 = 8;
	hop.spread6 = 16;
	hop.src4 &= htonl(0xffffff00u);
	hop.src6[3] &= htonl(0xffff0000u);
	for (int family = 4; family <= 6; family += 2) {
		uint32_t at = PACKET_L3 + (family == 4 ? 12 : 8);
		uint32_t bytes = family == 4 ? 3 : 14;

		put_world(GS_FORWARD_IPIP, (uint8_t)family);
		set(GS_MAP_HOPS, HOP, &hop);
		first = put_through("spread", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		again = put_through("spread", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		expect_same("one flow", &again, &first);
		assert_memory_equal(first.bytes + at,
				    family == 4 ? (void *)&hop.src4 : (void *)hop.src6, bytes);
		for (uint16_t port = 1; port < 20 && !differs; port++) {
			other = packet_build(&(struct packet_spec){.sport = port});
			other = put_through("spread", &other, GS_PROBE_MARK + BACKEND,
					    GS_WRAP_sent);
			differs = memcmp(other.bytes + at, first.bytes + at, bytes + 2) != 0;
		}
		assert_true(differs);
	}
}

static void test_size(void **state)
{
	static const struct {
		enum gs_forward_mode mode;
		uint8_t family;
		uint32_t outer;
	} rows[] = {{GS_FORWARD_IPIP, 4, IP4},
		    {GS_FORWARD_IPIP, 6, IP6},
		    {GS_FORWARD_GUE, 4, IP4 + UDP},
		    {GS_FORWARD_GUE, 6, IP6 + UDP},
		    {GS_FORWARD_L2, 4, 0}};
	struct packet probe = packet_build(&(struct packet_spec){.payload = 1000});
	struct gs_hop_value hop = hop_value();

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_world(rows[i].mode, rows[i].family);
		hop.mtu = probe.length - PACKET_L3 + rows[i].outer;
		set(GS_MAP_HOPS, HOP, &hop);
		put_through("just fits", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_sent);
		hop.mtu--;
		set(GS_MAP_HOPS, HOP, &hop);
		put_through("one byte too large", &probe, GS_PROBE_MARK + BACKEND,
			    GS_WRAP_drop_too_big);
	}
}

/* ---- not sent -------------------------------------------------------------------------------- */

static void test_marks(void **state)
{
	static const struct {
		const char *name;
		uint32_t mark;
		enum gs_wrap_reason want;
	} rows[] = {
		{"none", 0, GS_WRAP_pass_mark},
		{"a number alone", BACKEND, GS_WRAP_pass_mark},
		{"below", GS_PROBE_MARK - 1, GS_WRAP_pass_mark},
		{"above", GS_PROBE_MARK + GS_MAX_BACKENDS, GS_WRAP_pass_mark},
		{"another bit", (GS_PROBE_MARK + BACKEND) | 1u << 31, GS_WRAP_pass_mark},
		{"backend 0", GS_PROBE_MARK, GS_WRAP_drop_no_backend},
		{"a backend that is not there", GS_PROBE_MARK + BACKEND + 1,
		 GS_WRAP_drop_no_backend},
		{"the last id", GS_PROBE_MARK + GS_MAX_BACKENDS - 1, GS_WRAP_drop_no_backend},
	};
	struct packet probe = packet_build(&probes[1]), got;

	(void)state;
	put_world(GS_FORWARD_IPIP, 4);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		got = put_through(rows[i].name, &probe, rows[i].mark, rows[i].want);
		expect_same(rows[i].name, &got, &probe);
	}
}

static void test_backends(void **state)
{
	struct packet probe = packet_build(&probes[0]), got;
	struct gs_backend_value backend;

	(void)state;
	put_world(GS_FORWARD_IPIP, 4);
	for (int mode = 0; mode < 256; mode++) {
		backend = backend_value(mode, 4);
		set(GS_MAP_BACKENDS, BACKEND, &backend);
		put_through("a mode", &probe, GS_PROBE_MARK + BACKEND,
			    mode == GS_FORWARD_NONE ? GS_WRAP_drop_no_backend
			    : mode <= GS_FORWARD_L2 ? GS_WRAP_sent
						    : GS_WRAP_drop_mode);
	}
	for (int family = 0; family < 256; family++) {
		if (family == 4 || family == 6)
			continue;
		backend = backend_value(GS_FORWARD_IPIP, 4);
		backend.family = (uint8_t)family;
		set(GS_MAP_BACKENDS, BACKEND, &backend);
		got = put_through("a family", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_mode);
		expect_same("a family", &got, &probe);
	}
}

static void test_hops(void **state)
{
	struct packet probe = packet_build(&probes[0]);
	struct gs_hop_value hop = hop_value();
	struct gs_backend_value backend = backend_value(GS_FORWARD_IPIP, 4);

	(void)state;
	put_world(GS_FORWARD_IPIP, 4);
	hop.mtu = 0;
	set(GS_MAP_HOPS, HOP, &hop);
	put_through("not resolved", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_no_hop);
	hop = hop_value();
	hop.flags = GS_HOP_REFLECT;
	set(GS_MAP_HOPS, HOP, &hop);
	put_through("back to whom?", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_no_hop);
	hop = hop_value();
	hop.ifindex = 0;
	set(GS_MAP_HOPS, HOP, &hop);
	put_through("by what it came?", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_no_hop);
	hop = hop_value();
	set(GS_MAP_HOPS, 0, &hop);
	for (uint32_t id = 0; id <= GS_MAX_HOPS + 1; id += GS_MAX_HOPS) {
		backend.hop = id;
		set(GS_MAP_BACKENDS, BACKEND, &backend);
		put_through("no entry", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_no_hop);
	}
}

/* Nothing but the machine's own kernel speaks here; still no byte is believed. */
static void test_malformed(void **state)
{
	static const struct {
		const char *name;
		uint8_t family;
		uint32_t at; /* from the IP header on */
		uint8_t value;
	} rows[] = {
		{"a version", 4, 0, 0x55},
		{"the other version", 4, 0, 0x65},
		{"a header too short", 4, 0, 0x44},
		{"a length too long", 4, 2, 0xff},
		{"one byte more", 4, 3, 49},
		{"no length", 4, 3, 0},
		{"a version", 6, 0, 0x40},
		{"a length too long", 6, 4, 0xff},
		{"no length", 6, 5, 0},
	};
	struct packet probe, got;

	(void)state;
	put_world(GS_FORWARD_IPIP, 4);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		probe = packet_build(&(struct packet_spec){.family = rows[i].family, .payload = 8});
		assert_int_equal(
			packet_get16(probe.bytes + PACKET_L3 + (rows[i].family == 4 ? 2 : 4)),
			rows[i].family == 4 ? 48 : 28);
		probe.bytes[PACKET_L3 + rows[i].at] = rows[i].value;
		got = put_through(rows[i].name, &probe, GS_PROBE_MARK + BACKEND,
				  GS_WRAP_drop_malformed);
		expect_same(rows[i].name, &got, &probe);
	}
	for (int i = 0; i < PROBES; i++) {
		probe = packet_build(&probes[i]);
		for (probe.length--; probe.length >= PACKET_L3 + IP6; probe.length--)
			put_through("cut", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_malformed);
	}
	probe = packet_build(&(struct packet_spec){.padding = 1});
	put_through("longer than it says", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_malformed);
	probe = packet_build(&(struct packet_spec){.ethertype = 0x0806});
	put_through("ARP", &probe, GS_PROBE_MARK + BACKEND, GS_WRAP_drop_malformed);
}

static int load(void **state)
{
	const char *build = getenv("BUILD");
	char path[512];

	(void)state;
	snprintf(path, sizeof(path), "%s/bpf/gs_probe.bpf.o", build ? build : "build");
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object))
		return -1;
	prog_fd = bpf_program__fd(bpf_object__find_program_by_name(object, GS_PROBE_PROGRAM));
	return prog_fd < 0;
}

static int unload(void **state)
{
	(void)state;
	bpf_object__close(object);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wraps),	  cmocka_unit_test(test_l2),
		cmocka_unit_test(test_tags),	  cmocka_unit_test(test_spread),
		cmocka_unit_test(test_size),	  cmocka_unit_test(test_marks),
		cmocka_unit_test(test_backends),  cmocka_unit_test(test_hops),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
