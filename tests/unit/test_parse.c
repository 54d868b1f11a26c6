/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path's parser on the host, where the sanitizers see every byte it reads: each frame in
 * memory of exactly its own length, at every length from 0, and with random bytes in it. (Verdicts
 * of the real program: tests/bpf/test_xdp.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/parse.h"
#include "tests/bpf/packet.h"
#include "user/core/random.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* A copy of its own in the heap: one byte too far is an error. */
static enum gs_reason parse(const uint8_t *bytes, uint32_t length, struct gs_packet *ret_packet)
{
	uint8_t *frame = malloc(length ? length : 1);
	enum gs_reason reason;

	assert_non_null(frame);
	memcpy(frame, bytes, length);
	memset(ret_packet, 0, sizeof(*ret_packet));
	reason = gs_parse(frame, frame + length, ret_packet);
	free(frame);
	return reason;
}

static const struct packet_spec whole[] = {
	{.flags = 2, .ds = 0xb9},
	{.payload = 100},
	{.ip_options = 24},
	{.protocol = IPPROTO_UDP, .dport = 53, .payload = 40},
	{.family = 6, .flags = 0x12, .ds = 0x47},
	{.family = 6, .protocol = IPPROTO_UDP, .payload = 11},
	{.family = 6, .extensions = "h"},
	{.family = 6, .extensions = "hrdaad", .protocol = IPPROTO_UDP},
	{.family = 6, .extensions = "o"},
	{.family = 6, .extensions = "hod", .protocol = IPPROTO_UDP},
};

/* ---- whole frames ---------------------------------------------------------------------------- */

static void expect_fields(const struct packet_spec *spec, const struct packet *frame,
			  const struct gs_packet *packet)
{
	const uint8_t *ip = frame->bytes + PACKET_L3, *l4 = frame->bytes + frame->l4;
	bool is_v6 = spec->family == 6;
	uint8_t src[16], dst[16];

	packet_addr(is_v6 ? "2001:db8:1::1" : "192.0.2.1", src);
	packet_addr(is_v6 ? "2001:db8:100::10" : "198.51.100.10", dst);
	assert_memory_equal(packet->tuple.src, src, 16);
	assert_memory_equal(packet->tuple.dst, dst, 16);
	assert_memory_equal(&packet->tuple.src_port, l4, 2);
	assert_memory_equal(&packet->tuple.dst_port, l4 + 2, 2);
	assert_int_equal(packet->tuple.protocol, frame->protocol);
	assert_int_equal(packet->family, is_v6 ? 6 : 4);
	assert_int_equal(packet->frame_bytes, frame->length);
	assert_int_equal(packet->length, frame->length - PACKET_L3);
	assert_int_equal(packet->ds, is_v6 ? (ip[0] << 4 | ip[1] >> 4) & 0xff : ip[1]);
	assert_int_equal(packet->ds, spec->ds);
	assert_int_equal(packet->tcp_flags, frame->protocol == IPPROTO_TCP ? l4[13] : 0);
}

static void test_fields(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(whole); i++) {
		struct packet frame = packet_build(&whole[i]);
		struct gs_packet packet;

		assert_int_equal(parse(frame.bytes, frame.length, &packet), GS_REASON_NONE);
		expect_fields(&whole[i], &frame, &packet);
	}
}

static void test_padding_is_not_length(void **state)
{
	struct packet frame = packet_build(&(struct packet_spec){.padding = 18});
	struct gs_packet packet;

	(void)state;
	assert_int_equal(parse(frame.bytes, frame.length, &packet), GS_REASON_NONE);
	assert_int_equal(packet.length, 40);
	assert_int_equal(packet.frame_bytes, 14 + 40 + 18);
}

/* ---- every length ---------------------------------------------------------------------------- */

static void test_every_length(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(whole); i++) {
		struct packet frame = packet_build(&whole[i]);
		uint32_t fixed = PACKET_L3 + (whole[i].family == 6 ? GS_IP6_BYTES : GS_IP4_BYTES);

		for (uint32_t length = 0; length < frame.length; length++) {
			struct gs_packet packet;

			assert_int_equal(parse(frame.bytes, length, &packet),
					 length < fixed ? GS_REASON_pass_truncated
							: GS_REASON_drop_truncated);
			assert_int_equal(packet.frame_bytes, length);
			assert_int_equal(packet.family != 0, length >= fixed);
		}
	}
}

/* What is known of a fragment that ends at every byte. */
static void test_fragments_every_length(void **state)
{
	static const struct {
		struct packet_spec spec;
		uint32_t header; /* bytes of the frame until it is known to be a fragment */
		bool is_first;
		uint8_t protocol; /* 0: behind more headers, not known */
	} rows[] = {
		{{.fragment = 0x2000}, 34, true, IPPROTO_TCP},
		{{.fragment = 0x2001, .ip_options = 8}, 34, false, IPPROTO_TCP},
		{{.family = 6, .extensions = "f"}, 62, true, IPPROTO_TCP},
		{{.family = 6, .extensions = "l"}, 62, false, IPPROTO_TCP},
		{{.family = 6, .extensions = "hrf", .protocol = IPPROTO_UDP},
		 78,
		 true,
		 IPPROTO_UDP},
		{{.family = 6, .extensions = "al", .protocol = IPPROTO_UDP},
		 78,
		 false,
		 IPPROTO_UDP},
		{{.family = 6, .extensions = "of"}, 70, true, IPPROTO_TCP},
		{{.family = 6, .extensions = "fd"}, 62, false, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet frame = packet_build(&rows[i].spec);
		uint32_t fixed =
			PACKET_L3 + (rows[i].spec.family == 6 ? GS_IP6_BYTES : GS_IP4_BYTES);

		for (uint32_t length = 0; length <= frame.length; length++) {
			enum gs_reason want = GS_REASON_drop_truncated;
			bool is_whole = length == frame.length;
			bool has_ports = rows[i].is_first && length >= frame.l4 + 4 && !is_whole;
			struct gs_packet packet;

			if (length < fixed)
				want = GS_REASON_pass_truncated;
			else if (length >= rows[i].header && rows[i].protocol == 0)
				want = GS_REASON_drop_headers;
			else if (is_whole)
				want = rows[i].is_first ? GS_REASON_NONE : GS_REASON_drop_fragment;
			assert_int_equal(parse(frame.bytes, length, &packet), want);
			assert_int_equal(packet.has_ports, has_ports);
			assert_int_equal(packet.tuple.protocol,
					 length < rows[i].header ? 0 : rows[i].protocol);
			if (has_ports || want == GS_REASON_NONE)
				assert_int_equal(packet.tuple.dst_port, GS_BE16(80));
			if (is_whole && rows[i].protocol)
				assert_int_equal(packet.shape, rows[i].is_first ? GS_SHAPE_FIRST
										: GS_SHAPE_LATER);
		}
	}
}

/* Ports of faulty packets: read as soon as they are there, in the frame and by the lengths. */
static void test_ports_of_faulty(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(whole); i++) {
		struct packet frame = packet_build(&whole[i]);
		uint8_t *ip = frame.bytes + PACKET_L3;
		uint32_t fixed = whole[i].family == 6 ? GS_IP6_BYTES : 0;
		struct gs_packet packet;

		for (uint32_t length = PACKET_L3; length < frame.length; length++) {
			parse(frame.bytes, length, &packet);
			assert_int_equal(packet.has_ports, length >= frame.l4 + 4);
		}
		for (uint32_t room = 0; room < 8; room++) {
			packet_put16(ip + (fixed ? 4 : 2),
				     (uint16_t)(frame.l4 - PACKET_L3 - fixed + room));
			assert_int_equal(parse(frame.bytes, frame.length, &packet),
					 GS_REASON_drop_truncated);
			assert_int_equal(packet.has_ports, room >= 4);
		}
	}
}

static void test_group_macs(void **state)
{
	struct packet frame = packet_build(&whole[0]);
	struct gs_packet packet;

	(void)state;
	for (int first = 0; first < 256; first++) {
		frame.bytes[0] = (uint8_t)first;
		assert_int_equal(parse(frame.bytes, frame.length, &packet),
				 first & 1 ? GS_REASON_pass_group_mac : GS_REASON_NONE);
		assert_int_equal(parse(frame.bytes, 13, &packet), GS_REASON_pass_truncated);
	}
}

static void test_other_types_every_length(void **state)
{
	static const struct {
		uint16_t type;
		enum gs_reason want;
	} cases[] = {
		{0x0806, GS_REASON_pass_not_ip},
		{0x0801, GS_REASON_pass_not_ip},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct packet frame =
			packet_build(&(struct packet_spec){.ethertype = cases[i].type});

		for (uint32_t length = 0; length <= frame.length; length++) {
			struct gs_packet packet;

			assert_int_equal(parse(frame.bytes, length, &packet),
					 length < PACKET_L3 ? GS_REASON_pass_truncated
							    : cases[i].want);
			assert_int_equal(packet.family, 0);
		}
	}
}

/* ---- lengths ----------------------------------------------------------------------------------
 */

/* No IP packet is longer than 65,535 bytes, whatever a hop says, and no sum of lengths wraps. (The
 * kernel's test runs take no packets of that size.) */
static void test_fits(void **state)
{
	static const struct {
		uint32_t length, outer, mtu;
		int want;
	} cases[] = {
		{1480, 20, 1500, 1},	    {1481, 20, 1500, 0},	{65515, 20, 65535, 1},
		{65515, 20, 65536, 1},	    {65516, 20, 65536, 0},	{65516, 20, 70000, 0},
		{65495, 40, 70000, 1},	    {65496, 40, 0xffffffff, 0}, {65535, 20, 0xffffffff, 0},
		{65535, 40, 0xffffffff, 0}, {65535, 20, 19, 0},		{28, 20, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		if (gs_fits(cases[i].length, cases[i].outer, cases[i].mtu) != cases[i].want)
			fail_msg("%u + %u, MTU %u", cases[i].length, cases[i].outer, cases[i].mtu);
}

/* ---- random bytes ---------------------------------------------------------------------------- */

static void expect_sane(enum gs_reason reason, const struct gs_packet *packet, uint32_t length)
{
	assert_in_range(reason, 0, GS_REASON_NONE);
	assert_int_equal(packet->frame_bytes, length);
	assert_true(packet->family == 0 || packet->family == 4 || packet->family == 6);
	if (reason != GS_REASON_NONE)
		return;
	assert_true(packet->tuple.protocol == IPPROTO_TCP || packet->tuple.protocol == IPPROTO_UDP);
	assert_in_range(packet->length, 28, length - PACKET_L3);
	assert_int_equal(gs_addr_is_mapped(packet->tuple.src), packet->family == 4);
}

/* Good frames with a few bytes changed and an end cut off: most reach deep into the parser. */
static void test_random_damage(void **state)
{
	uint64_t seed = 20261123;
	uint32_t seen[GS_REASON__COUNT + 1] = {0};

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 300000; i++) {
		struct packet frame = packet_build(&whole[gs_random(&seed) % ARRAY_SIZE(whole)]);
		struct gs_packet packet;
		enum gs_reason reason;

		for (uint64_t n = gs_random(&seed) % 4; n; n--)
			frame.bytes[12 + gs_random(&seed) % 60] = (uint8_t)gs_random(&seed);
		if (gs_random(&seed) % 4 == 0)
			frame.length = (uint32_t)(gs_random(&seed) % (frame.length + 1));
		reason = parse(frame.bytes, frame.length, &packet);
		expect_sane(reason, &packet, frame.length);
		seen[reason]++;
	}
	/* the damage found every fault there is */
	for (enum gs_reason reason = GS_REASON_drop_bad_ip; reason < GS_REASON_drop_headers;
	     reason++)
		if (reason != GS_REASON_drop_martian) /* a later step's */
			assert_int_not_equal(seen[reason], 0);
	assert_int_not_equal(seen[GS_REASON_NONE], 0);
}

static void test_noise(void **state)
{
	uint64_t seed = 42;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 100000; i++) {
		uint8_t bytes[160];
		uint32_t length = (uint32_t)(gs_random(&seed) % sizeof(bytes));
		struct gs_packet packet;

		for (uint32_t at = 0; at < sizeof(bytes); at++)
			bytes[at] = (uint8_t)gs_random(&seed);
		bytes[0] &= 0xfe;
		packet_put16(bytes + 12, gs_random(&seed) % 2 ? 0x0800 : 0x86dd);
		expect_sane(parse(bytes, length, &packet), &packet, length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_padding_is_not_length),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_fragments_every_length),
		cmocka_unit_test(test_ports_of_faulty),
		cmocka_unit_test(test_group_macs),
		cmocka_unit_test(test_other_types_every_length),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_random_damage),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
