/* SPDX-License-Identifier: Apache-2.0 */
/* All fragments of a datagram reach one backend, its flow's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SYN 0x02
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;

static void set_id(struct packet *packet, uint32_t id)
{
	uint8_t *ip = packet->bytes + PACKET_L3;

	if (ip[0] >> 4 == 4) {
		packet_put16(ip + 4, (uint16_t)id);
		packet_fix_ip4(packet);
	} else {
		uint32_t wire = htonl(id);

		memcpy(packet->bytes + packet->l4 - 4, &wire, 4); /* the fragment header is last */
	}
}

/* A fragment of the flow of `spec`; later ones have bytes like those of another service's ports. */
static struct packet piece(const struct packet_spec *spec, bool is_first, uint32_t id)
{
	struct packet_spec of = *spec;
	struct packet packet;

	of.payload = 64;
	if (of.family == 6)
		of.extensions = is_first ? "f" : "l";
	else
		of.fragment = is_first ? 0x2000 : 0x00b9;
	packet = packet_build(&of);
	if (!is_first)
		memset(packet.bytes + packet.l4, 0xee, 8);
	set_id(&packet, id);
	return packet;
}

static const struct packet_spec flows[] = {
	{.flags = SYN},
	{.protocol = IPPROTO_UDP, .dport = 53},
	{.family = 6, .flags = SYN},
	{.family = 6, .protocol = IPPROTO_UDP, .dport = 53},
	{.flags = SYN, .src = "203.0.113.200"},
	{.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .src = "2001:db8:3::9"},
	{.dst = "198.51.100.11", .dport = 5060},
};

static void expect_frame(const struct xdp_result *result, const struct packet *in)
{
	struct packet want = edge_expect_frame(in, result->backend);

	assert_int_equal(result->action, XDP_TX);
	assert_int_equal(result->out.length, want.length);
	assert_memory_equal(result->out.bytes, want.bytes, want.length);
}

static void later_ones_follow_the_first(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(flows); i++)
		for (uint16_t port = 1; port <= 20; port++) {
			struct packet_spec spec = flows[i];
			struct packet whole, first, later;
			struct xdp_result flow, result;
			uint32_t id = 1000u * (i + 1) + port;

			spec.sport = (uint16_t)(5000 + port);
			whole = packet_build(&spec);
			first = piece(&spec, true, id);
			later = piece(&spec, false, id);
			flow = xdp_edge_send(&edge, &first);
			assert_int_equal(flow.reason, GS_REASON_tx_new);
			expect_frame(&flow, &first);
			for (int again = 0; again < 3; again++) {
				result = xdp_edge_send(&edge, &later);
				assert_int_equal(result.reason, GS_REASON_tx_fragment);
				assert_int_equal(result.service, flow.service);
				assert_int_equal(result.backend, flow.backend);
				expect_frame(&result, &later);
			}
			/* the rest of the flow goes there, too */
			spec.flags = 0;
			whole = packet_build(&spec);
			assert_int_equal(xdp_edge_send(&edge, &whole).backend, flow.backend);
		}
}

/* Also when the plan has changed meanwhile: the flow is known, and so are its pieces. */
static void a_known_flows_pieces_stay_with_it(void **state)
{
	struct packet_spec spec = {.flags = SYN, .sport = 6000};
	struct packet whole = packet_build(&spec), first, later;
	struct xdp_result flow, result;
	(void)state;

	flow = xdp_edge_send(&edge, &whole);
	spec.flags = 0;
	xdp_edge_set_region(&edge, flow.region, edge_drain);
	first = piece(&spec, true, 7);
	later = piece(&spec, false, 7);
	result = xdp_edge_send(&edge, &first);
	assert_int_equal(result.reason, GS_REASON_tx_flow);
	assert_int_equal(result.backend, flow.backend);
	result = xdp_edge_send(&edge, &later);
	assert_int_equal(result.reason, GS_REASON_tx_fragment);
	assert_int_equal(result.backend, flow.backend);
}

/* One that is nobody's: it came before its first, or the first was of another datagram. */
static void later_ones_without_a_first_are_dropped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(flows); i++) {
		struct packet_spec other = flows[i];
		struct packet first = piece(&flows[i], true, 1), later;

		later = piece(&flows[i], false, 1);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
		xdp_edge_send(&edge, &first);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_tx_fragment);
		later = piece(&flows[i], false, 2);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
		other.src = other.family == 6 ? "2001:db8:1::77" : "192.0.2.77";
		later = piece(&other, false, 1);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
		packet_case();
	}
	/* 32 bits of id in IPv6 */
	{
		struct packet first = piece(&flows[2], true, 0x10001);
		struct packet later = piece(&flows[2], false, 0x20001);

		xdp_edge_send(&edge, &first);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
	}
}

/* Other services' and other hosts' pass, and leave nothing behind. */
static void others_fragments_pass(void **state)
{
	static const struct packet_spec others[] = {
		{.dst = "198.51.100.99"},
		{.dport = 81},
		{.family = 6, .dst = "2001:db8:100::99"},
		{.family = 6, .dport = 81},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct packet first = piece(&others[i], true, 3);
		struct packet later = piece(&others[i], false, 3);
		struct xdp_result result = xdp_edge_send(&edge, &first);

		assert_int_equal(result.reason, GS_REASON_pass_fragment);
		result = xdp_edge_send(&edge, &later);
		/* of a VIP nobody can say whose it is */
		assert_int_equal(result.reason, others[i].dport ? GS_REASON_drop_fragment
								: GS_REASON_pass_fragment);
		packet_case();
	}
}

/* ---- two seconds ----------------------------------------------------------------------------- */

/* Moves every entry of the table into the past, by units of 2^27 ns. */
static void age(uint32_t units)
{
	struct gs_fragment_bucket bucket;

	for (uint32_t i = 0; i < GS_FRAGMENT_BUCKETS; i++) {
		bool is_used = false;

		xdp_edge_get(&edge, GS_MAP_FRAGMENTS, &i, &bucket);
		for (uint32_t way = 0; way < GS_FRAGMENT_WAYS; way++) {
			struct gs_fragment_entry *entry = &bucket.entry[way];

			if (!entry->tag_seen)
				continue;
			is_used = true;
			entry->tag_seen = (entry->tag_seen & ~GS_FRAGMENT_SEEN) |
					  ((entry->tag_seen - units) & GS_FRAGMENT_SEEN);
		}
		if (is_used)
			xdp_edge_set(&edge, GS_MAP_FRAGMENTS, &i, &bucket);
	}
}

static void a_first_is_remembered_for_two_seconds(void **state)
{
	struct packet first = piece(&flows[1], true, 99), later = piece(&flows[1], false, 99);
	(void)state;

	xdp_edge_send(&edge, &first);
	age(GS_FRAGMENT_KEEPS - 2);
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_tx_fragment);
	age(3);
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
	xdp_edge_send(&edge, &first);
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_tx_fragment);
	age(2000); /* far in the past, not in the future */
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
}

static uint32_t bucket_of(const struct packet_spec *spec, uint32_t id)
{
	struct packet packet = piece(spec, true, id);
	struct gs_flow_tuple datagram = edge_tuple(&packet);
	uint32_t wire = htonl(id);

	memcpy(&datagram.src_port, &wire, 2);
	memcpy(&datagram.dst_port, (const uint8_t *)&wire + 2, 2);
	return (uint32_t)gs_hash_flow(&datagram, xdp_edge_meta(&edge).table_seed) &
	       (GS_FRAGMENT_BUCKETS - 1);
}

/* More datagrams at once than a bucket has places: the newest is known, and as many as there are.
 */
static void a_full_bucket_knows_the_newest(void **state)
{
	enum { DATAGRAMS = 12 };
	uint32_t ids[DATAGRAMS], found = 0, known = 0;
	(void)state;

	for (uint32_t id = 1; found < DATAGRAMS; id++)
		if (bucket_of(&flows[3], id) == bucket_of(&flows[3], 1))
			ids[found++] = id;
	for (uint32_t i = 0; i < DATAGRAMS; i++) {
		struct packet first = piece(&flows[3], true, ids[i]);
		struct packet later = piece(&flows[3], false, ids[i]);

		xdp_edge_send(&edge, &first);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_tx_fragment);
	}
	for (uint32_t i = 0; i < DATAGRAMS; i++) {
		struct packet later = piece(&flows[3], false, ids[i]);

		known += xdp_edge_send(&edge, &later).reason == GS_REASON_tx_fragment;
	}
	assert_int_equal(known, GS_FRAGMENT_WAYS);
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

#define FRAGMENT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRAGMENT_TEST(later_ones_follow_the_first),
		FRAGMENT_TEST(a_known_flows_pieces_stay_with_it),
		FRAGMENT_TEST(later_ones_without_a_first_are_dropped),
		FRAGMENT_TEST(others_fragments_pass),
		FRAGMENT_TEST(a_first_is_remembered_for_two_seconds),
		FRAGMENT_TEST(a_full_bucket_knows_the_newest),
	};

	return cmocka_run_group_tests_name("fragments", tests, NULL, NULL);
}
