/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What depends on more than one packet: flows that stay, drain, move and are forgotten, regions
 * that go down and come back, generations that change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "user/core/random.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

/* Ages in units of 2^30 ns. */
enum {
	SEED = 0x5eed,
	TABLE_SEED = 0x7ab1e,
	SECONDS_50 = 47,
	SECONDS_70 = 66,
	MINUTES_14 = 782,
	MINUTES_16 = 894,
};

static struct xdp_edge edge;

static struct packet client(uint32_t number, uint8_t flags)
{
	char src[32];

	snprintf(src, sizeof(src), "192.0.2.%u", number % 250 + 1);
	return packet_build(&(struct packet_spec){
		.src = src, .sport = (uint16_t)(20000 + number), .flags = flags});
}

static uint32_t expect(const struct packet *packet, enum gs_reason want)
{
	struct xdp_result result = xdp_edge_send(&edge, packet);

	if (result.reason != want)
		print_message("reason %u, wanted %u\n", result.reason, want);
	assert_int_equal(result.reason, want);
	return result.backend;
}

/* ---- the table's words ----------------------------------------------------------------------- */

static uint16_t now_units(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint16_t)(((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) >> 30) &
	       0x7fff;
}

static uint64_t table_hash(const struct packet *packet)
{
	struct gs_flow_tuple tuple = edge_tuple(packet);

	return gs_hash_flow(&tuple, TABLE_SEED);
}

static uint32_t bucket_of(const struct packet *packet)
{
	return (uint32_t)table_hash(packet) & (EDGE_FLOW_BUCKETS - 1);
}

static uint32_t tag_of(const struct packet *packet)
{
	return (uint32_t)(table_hash(packet) >> 32);
}

static struct gs_flow_bucket bucket_get(uint32_t index)
{
	struct gs_flow_bucket bucket;

	xdp_edge_get(&edge, GS_MAP_FLOWS, &index, &bucket);
	return bucket;
}

static void bucket_set(uint32_t index, const struct gs_flow_bucket *bucket)
{
	xdp_edge_set(&edge, GS_MAP_FLOWS, &index, bucket);
}

/* Way of the flow, or -1. */
static int find_way(const struct packet *packet)
{
	struct gs_flow_bucket bucket = bucket_get(bucket_of(packet));

	for (int i = 0; i < (int)GS_FLOW_WAYS; i++)
		if (bucket.entry[i].tag == tag_of(packet))
			return i;
	return -1;
}

static struct gs_flow_entry entry_of(const struct packet *packet)
{
	int way = find_way(packet);

	assert_in_range(way, 0, GS_FLOW_WAYS - 1);
	return bucket_get(bucket_of(packet)).entry[way];
}

static void set_entry(const struct packet *packet, uint32_t backend, bool proven, uint16_t age)
{
	struct gs_flow_bucket bucket = bucket_get(bucket_of(packet));
	int way = find_way(packet);

	assert_in_range(way, 0, GS_FLOW_WAYS - 1);
	bucket.entry[way].backend = (uint16_t)backend;
	bucket.entry[way].seen =
		(uint16_t)(((now_units() - age) & 0x7fff) | (proven ? GS_FLOW_PROVEN : 0));
	bucket_set(bucket_of(packet), &bucket);
}

/* ---- one flow -------------------------------------------------------------------------------- */

static void test_proven_by_second_packet(void **state)
{
	struct packet syn = client(1, SYN), ack = client(1, ACK);
	uint32_t backend = expect(&syn, GS_REASON_tx_new);

	(void)state;
	assert_int_equal(entry_of(&syn).backend, backend);
	assert_int_equal(entry_of(&syn).seen & GS_FLOW_PROVEN, 0);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), backend);
	assert_int_equal(entry_of(&syn).seen & GS_FLOW_PROVEN, GS_FLOW_PROVEN);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), backend);
}

static void test_unknown_without_syn(void **state)
{
	struct packet ack = client(2, ACK);
	uint32_t backend = expect(&ack, GS_REASON_tx_new);

	(void)state;
	assert_int_equal(entry_of(&ack).seen & GS_FLOW_PROVEN, 0);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), backend);
	assert_int_equal(entry_of(&ack).seen & GS_FLOW_PROVEN, GS_FLOW_PROVEN);
}

/* The flow's own backend is another one than the decision's: who is asked shows. */
static uint32_t pin_elsewhere(const struct packet *packet, bool proven, uint16_t age)
{
	uint32_t chosen = edge_expect_backend(&edge, packet, SERVICE_WEB4, 1, SEED);
	uint32_t other = edge_backend_id(SERVICE_WEB4, 2, chosen % 2);

	set_entry(packet, other, proven, age);
	return other;
}

static void test_syn_keeps_or_starts_anew(void **state)
{
	static const struct {
		bool proven;
		uint16_t age;
		bool kept;
	} cases[] = {
		{true, 0, true},   {true, 50, true},	       {true, SECONDS_70, false},
		{false, 0, false}, {false, SECONDS_70, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet syn = client(10 + i, SYN), ack = client(10 + i, ACK);
		uint32_t chosen = expect(&syn, GS_REASON_tx_new), other, got;

		other = pin_elsewhere(&syn, cases[i].proven, cases[i].age);
		got = expect(&syn, cases[i].kept ? GS_REASON_tx_flow : GS_REASON_tx_new);
		assert_int_equal(got, cases[i].kept ? other : chosen);
		assert_int_equal(!!(entry_of(&syn).seen & GS_FLOW_PROVEN), cases[i].kept);
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), got);
	}
}

static void test_syn_ack_is_no_syn(void **state)
{
	struct packet syn = client(20, SYN), both = client(20, SYN | ACK);
	uint32_t other;

	(void)state;
	expect(&syn, GS_REASON_tx_new);
	other = pin_elsewhere(&syn, false, SECONDS_70);
	assert_int_equal(expect(&both, GS_REASON_tx_flow), other);
}

static void test_seen_written_when_it_changed(void **state)
{
	struct packet ack = client(3, ACK);

	(void)state;
	expect(&ack, GS_REASON_tx_new);
	set_entry(&ack, entry_of(&ack).backend, true, MINUTES_14);
	expect(&ack, GS_REASON_tx_flow);
	assert_in_range((now_units() - entry_of(&ack).seen) & 0x7fff, 0, 2);
}

/* ---- full buckets ---------------------------------------------------------------------------- */

static void fill_bucket(uint32_t index, bool proven, uint16_t age)
{
	struct gs_flow_bucket bucket;

	for (uint32_t i = 0; i < GS_FLOW_WAYS; i++)
		bucket.entry[i] = (struct gs_flow_entry){
			.tag = 0xf00d0000 + i,
			.backend = 1,
			.seen = (uint16_t)(((now_units() - age) & 0x7fff) |
					   (proven ? GS_FLOW_PROVEN : 0)),
		};
	bucket_set(index, &bucket);
}

static void age_way(uint32_t index, uint32_t way, bool proven, uint16_t age)
{
	struct gs_flow_bucket bucket = bucket_get(index);

	bucket.entry[way].seen =
		(uint16_t)(((now_units() - age) & 0x7fff) | (proven ? GS_FLOW_PROVEN : 0));
	bucket_set(index, &bucket);
}

static void close_way(uint32_t index, uint32_t way)
{
	struct gs_flow_bucket bucket = bucket_get(index);

	bucket.entry[way].backend |= GS_FLOW_CLOSED;
	bucket_set(index, &bucket);
}

/* Which entry of the bucket a new flow takes. */
static void expect_way(const struct packet *syn, int want)
{
	expect(syn, GS_REASON_tx_new);
	assert_int_equal(find_way(syn), want);
}

static void test_proven_are_not_pushed_out(void **state)
{
	struct packet packets[] = {client(30, SYN), client(30, ACK)};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t bucket = bucket_of(&packets[i]);
		struct gs_flow_bucket before, after;

		fill_bucket(bucket, true, SECONDS_50);
		before = bucket_get(bucket);
		expect(&packets[i], GS_REASON_tx_untracked);
		expect(&packets[i], GS_REASON_tx_untracked);
		after = bucket_get(bucket);
		assert_memory_equal(&before, &after, sizeof(before));
	}
}

/*
 * The coarse clock of another CPU may be a tick further, and so may be what it wrote: seen in the
 * future is seen just now.
 */
static void test_seen_in_the_future(void **state)
{
	(void)state;
	for (int ahead = 1; ahead <= 7; ahead++) {
		struct packet stranger = client(40, SYN), syn = client(41, SYN);
		uint32_t bucket = bucket_of(&stranger), other;
		struct gs_flow_bucket before, after;

		xdp_edge_forget(&edge);
		fill_bucket(bucket, true, (uint16_t)-ahead);
		before = bucket_get(bucket);
		expect(&stranger, GS_REASON_tx_untracked);
		after = bucket_get(bucket);
		assert_memory_equal(&before, &after, sizeof(before));
		/* a retransmitted SYN stays with its flow */
		xdp_edge_forget(&edge);
		expect(&syn, GS_REASON_tx_new);
		other = pin_elsewhere(&syn, true, (uint16_t)-ahead);
		assert_int_equal(expect(&syn, GS_REASON_tx_flow), other);
	}
}

static void test_victims(void **state)
{
	struct packet syn = client(31, SYN);
	uint32_t bucket = bucket_of(&syn);
	struct gs_flow_bucket full;

	(void)state;
	/* proven, longest idle first, but none seen within 60 s */
	fill_bucket(bucket, true, SECONDS_50);
	age_way(bucket, 4, true, SECONDS_70);
	age_way(bucket, 6, true, MINUTES_14);
	expect_way(&syn, 6);
	/* unproven before them, oldest first */
	fill_bucket(bucket, true, SECONDS_70);
	age_way(bucket, 2, false, 5);
	age_way(bucket, 5, false, 9);
	age_way(bucket, 7, false, 7);
	expect_way(&syn, 5);
	fill_bucket(bucket, true, SECONDS_70);
	age_way(bucket, 2, false, 0);
	expect_way(&syn, 2);
	fill_bucket(bucket, true, 1);
	age_way(bucket, 5, false, 9);
	/* closed ones before them, the one closed longest ago first, proven or not */
	age_way(bucket, 1, true, 2);
	close_way(bucket, 1);
	age_way(bucket, 3, true, 4);
	close_way(bucket, 3);
	age_way(bucket, 6, false, 3);
	close_way(bucket, 6);
	expect_way(&syn, 3);
	/* idle ones before them, the longest idle first, proven or not */
	fill_bucket(bucket, true, 1);
	age_way(bucket, 1, true, MINUTES_16);
	age_way(bucket, 3, true, MINUTES_16 + 100);
	age_way(bucket, 4, false, 800);
	age_way(bucket, 5, true, 800);
	close_way(bucket, 5);
	expect_way(&syn, 3);
	/* an empty one before all */
	fill_bucket(bucket, false, MINUTES_16);
	full = bucket_get(bucket);
	full.entry[6] = (struct gs_flow_entry){0};
	bucket_set(bucket, &full);
	expect_way(&syn, 6);
	/* and its own before that */
	full = bucket_get(bucket);
	full.entry[0] = (struct gs_flow_entry){0};
	bucket_set(bucket, &full);
	expect_way(&syn, 6);
}

/* Without reading the counters: many. */
static void send_quickly(const struct packet *packet)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length);

	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	assert_int_equal(opts.retval, XDP_TX);
}

/* A flood of SYNs, ACKs and UDP packets of flows nobody proved leaves a proven flow where it is. */
static void test_flood(void **state)
{
	struct packet ack = client(1, ACK);
	uint32_t chosen, other;

	(void)state;
	chosen = expect(&ack, GS_REASON_tx_new);
	other = pin_elsewhere(&ack, true, 0);
	for (uint32_t i = 0; i < 3000; i++) {
		struct packet_spec spec = {.sport = (uint16_t)(1000 + i),
					   .flags = i % 2 ? SYN : ACK,
					   .src = "203.0.113.77"};
		struct packet noise = packet_build(&spec);

		send_quickly(&noise);
	}
	assert_int_not_equal(chosen, other);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), other);
}

/* Two packets a flow prove it, as it seems. What was seen within 60 s stays all the same. */
static void test_flood_of_pairs(void **state)
{
	struct packet ack = client(1, ACK);
	uint32_t other;

	(void)state;
	expect(&ack, GS_REASON_tx_new);
	other = pin_elsewhere(&ack, true, SECONDS_50);
	for (uint32_t i = 0; i < 6000; i++) {
		struct packet_spec spec = {
			.sport = (uint16_t)(1000 + i / 2), .flags = ACK, .src = "203.0.113.77"};
		struct packet noise = packet_build(&spec);

		send_quickly(&noise);
	}
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), other);
}

/* ---- finished connections -------------------------------------------------------------------- */

static void test_closed_by_fin_and_rst(void **state)
{
	static const uint8_t ends[] = {FIN, FIN | ACK, RST, RST | ACK, FIN | RST};

	(void)state;
	for (unsigned i = 0; i < sizeof(ends); i++) {
		struct packet syn = client(400 + i, SYN), ack = client(400 + i, ACK);
		struct packet end = client(400 + i, ends[i]);
		uint32_t chosen = expect(&syn, GS_REASON_tx_new), other;

		expect(&ack, GS_REASON_tx_flow);
		other = pin_elsewhere(&ack, true, 0);
		assert_int_equal(expect(&end, GS_REASON_tx_flow), other);
		assert_int_equal(entry_of(&ack).backend, other | GS_FLOW_CLOSED);
		/* what still comes of it goes where it went, and opens nothing */
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), other);
		assert_int_equal(entry_of(&ack).backend, other | GS_FLOW_CLOSED);
		/* the same ports again: a new connection, even within 60 s */
		assert_int_equal(expect(&syn, GS_REASON_tx_new), chosen);
		assert_int_equal(entry_of(&ack).backend, chosen);
		assert_int_equal(entry_of(&ack).seen & GS_FLOW_PROVEN, 0);
	}
}

/* The end of a flow nobody knows (any more), and one that must move after its end. */
static void test_closed_when_written(void **state)
{
	struct packet ack = client(420, ACK), fin = client(420, FIN | ACK);
	uint32_t backend = expect(&fin, GS_REASON_tx_new), next;

	(void)state;
	assert_int_equal(entry_of(&fin).backend, backend | GS_FLOW_CLOSED);
	xdp_edge_set_backend(&edge, backend, edge_down);
	next = expect(&ack, GS_REASON_tx_repicked);
	assert_int_not_equal(next, backend);
	assert_int_equal(entry_of(&fin).backend, next | GS_FLOW_CLOSED);
	xdp_edge_set_backend(&edge, backend, edge_up);
	xdp_edge_forget(&edge);
	expect(&ack, GS_REASON_tx_new);
	assert_int_equal(entry_of(&ack).backend, backend);
	xdp_edge_set_backend(&edge, backend, edge_down);
	next = expect(&fin, GS_REASON_tx_repicked);
	assert_int_equal(entry_of(&fin).backend, next | GS_FLOW_CLOSED);
}

/* Twice as many connections as the table has entries, one after the other, block nobody. */
static void test_finished_leave(void **state)
{
	static const uint8_t packets[] = {SYN, ACK, FIN | ACK, ACK};
	uint32_t backends[100];

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		for (unsigned n = 0; n < sizeof(packets); n++) {
			struct packet packet = client(1000 + i, packets[n]);

			send_quickly(&packet);
		}
	for (uint32_t i = 0; i < 100; i++) {
		struct packet syn = client(3000 + i, SYN), ack = client(3000 + i, ACK);

		backends[i] = expect(&syn, GS_REASON_tx_new);
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), backends[i]);
	}
	xdp_edge_set_region(&edge, 1, edge_drain);
	for (uint32_t i = 0; i < 100; i++) {
		struct packet ack = client(3000 + i, ACK);

		assert_int_equal(expect(&ack, GS_REASON_tx_flow), backends[i]);
	}
}

/* ---- usable words ---------------------------------------------------------------------------- */

typedef void set_word(uint32_t backend, struct gs_usable_word word);

static void set_backend(uint32_t backend, struct gs_usable_word word)
{
	xdp_edge_set_backend(&edge, backend, word);
}

static void set_pool(uint32_t backend, struct gs_usable_word word)
{
	xdp_edge_set_pool(&edge, backend / 16, backend / 4 % 4, word);
}

static void set_region(uint32_t backend, struct gs_usable_word word)
{
	xdp_edge_set_region(&edge, backend / 4 % 4, word);
}

static set_word *const setters[] = {set_backend, set_pool, set_region};

static void test_drain(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct packet syn = client(100 + i, SYN), ack = client(100 + i, ACK);
		uint32_t backend = expect(&syn, GS_REASON_tx_new), next;

		expect(&ack, GS_REASON_tx_flow);
		setters[i](backend, edge_drain);
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), backend);
		xdp_edge_forget(&edge);
		next = edge_expect_backend(&edge, &ack, SERVICE_WEB4, 1, SEED);
		assert_int_not_equal(next, backend);
		assert_int_equal(expect(&ack, GS_REASON_tx_new), next);
		setters[i](backend, edge_up);
	}
}

static void test_down_moves(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct packet syn = client(110 + i, SYN), ack = client(110 + i, ACK);
		uint32_t backend = expect(&syn, GS_REASON_tx_new), next;

		expect(&ack, GS_REASON_tx_flow);
		setters[i](backend, edge_down);
		next = edge_expect_backend(&edge, &ack, SERVICE_WEB4, 1, SEED);
		assert_int_not_equal(next, backend);
		assert_int_equal(expect(&ack, GS_REASON_tx_repicked), next);
		/* it stays where it moved, also when the old place comes back */
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), next);
		setters[i](backend, edge_up);
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), next);
	}
}

/* A tag that meets another service's flow, or an id used again: not that backend's packet. */
static void test_foreign_backend(void **state)
{
	struct packet ack = client(120, ACK);
	uint32_t backend = expect(&ack, GS_REASON_tx_new);

	(void)state;
	set_entry(&ack, edge_backend_id(SERVICE_DNS4, 1, 0), true, 0);
	assert_int_equal(expect(&ack, GS_REASON_tx_repicked), backend);
	set_entry(&ack, GS_MAX_BACKENDS + 5, true, 0);
	assert_int_equal(expect(&ack, GS_REASON_tx_repicked), backend);
}

/*
 * Two flows of one service with one tag in one bucket share an entry: the second goes where the
 * first is while that one is in use, and both stay there; an old first one loses it to the second.
 */
static void test_shared_entry(void **state)
{
	struct packet syn = client(121, SYN), ack = client(121, ACK);
	uint32_t own = expect(&syn, GS_REASON_tx_new), other;

	(void)state;
	other = own == edge_backend_id(SERVICE_WEB4, 1, 0) ? edge_backend_id(SERVICE_WEB4, 1, 1)
							   : edge_backend_id(SERVICE_WEB4, 1, 0);
	set_entry(&syn, other, true, 10);
	assert_int_equal(expect(&syn, GS_REASON_tx_flow), other);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), other);
	set_entry(&syn, other, true, 100); /* quiet for longer than a SYN may repeat */
	assert_int_equal(expect(&syn, GS_REASON_tx_new), own);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), own);
}

/* Whatever the port: a client's flows meet, while the table tells them apart. */
static void test_affinity_by_client(void **state)
{
	struct gs_service_key key = {.port = htons(80), .protocol = IPPROTO_TCP};
	struct gs_service_value by_flow, by_client;
	uint32_t seen[4] = {0}, met = 0;
	(void)state;

	assert_int_equal(inet_pton(AF_INET, "198.51.100.10", &key.addr[3]), 1);
	key.addr[2] = htonl(0xffff);
	xdp_edge_get(&edge, GS_MAP_SERVICES, &key, &by_flow);
	by_client = by_flow;
	by_client.affinity = GS_AFFINITY_CLIENT;
	for (unsigned i = 0; i < 40; i++) {
		struct packet syn = client(200 + 250 * i, SYN);
		uint32_t backend = expect(&syn, GS_REASON_tx_new);

		seen[backend % 4]++;
	}
	assert_true(seen[0] > 0 && seen[1] > 0); /* by flow both members of the pool */
	xdp_edge_forget(&edge);
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &by_client);
	for (unsigned i = 0; i < 40; i++) {
		struct packet syn = client(200 + 250 * i, SYN), ack = client(200 + 250 * i, ACK);
		uint32_t backend = expect(&syn, GS_REASON_tx_new);

		met = i == 0 ? backend : met;
		assert_int_equal(backend, met);
		assert_int_equal(expect(&ack, GS_REASON_tx_flow), met);
	}
	/* the entries hold when affinity is by flow again */
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &by_flow);
	for (unsigned i = 0; i < 40; i++) {
		struct packet ack = client(200 + 250 * i, ACK);

		assert_int_equal(expect(&ack, GS_REASON_tx_flow), met);
	}
}

static void test_nowhere(void **state)
{
	struct packet ack = client(130, ACK);
	uint32_t members[2] = {edge_backend_id(SERVICE_WEB4, 1, 0),
			       edge_backend_id(SERVICE_WEB4, 1, 1)};
	struct gs_usable_word word = edge_up;

	(void)state;
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, edge_down);
	expect(&ack, GS_REASON_drop_no_region);
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, edge_up);
	/* the pool says it is up, its backends do not: only the fallback could help */
	xdp_edge_set_backend(&edge, members[0], edge_down);
	xdp_edge_set_backend(&edge, members[1], edge_down);
	expect(&ack, GS_REASON_drop_no_backend);
	word.fallback = (uint16_t)members[0];
	xdp_edge_set_pool(&edge, SERVICE_WEB4, 1, word);
	expect(&ack, GS_REASON_drop_no_backend);
	xdp_edge_set_backend(&edge, members[0], edge_drain);
	expect(&ack, GS_REASON_drop_no_backend);
	/* its own ramp does not count for a fallback */
	xdp_edge_set_backend(&edge, members[0], (struct gs_usable_word){.state = GS_USABLE_UP});
	assert_int_equal(expect(&ack, GS_REASON_tx_new), members[0]);
}

/* A known flow whose every place is gone is dropped, and remembered for when one comes back. */
static void test_known_flow_nowhere(void **state)
{
	struct packet ack = client(131, ACK);
	uint32_t backend = expect(&ack, GS_REASON_tx_new);

	(void)state;
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, edge_down);
	expect(&ack, GS_REASON_drop_no_region);
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, edge_up);
	assert_int_equal(expect(&ack, GS_REASON_tx_flow), backend);
}

/* ---- random words, random clients ------------------------------------------------------------ */

static struct gs_usable_word random_word(uint64_t *seed)
{
	struct gs_usable_word word = {.state = (uint16_t)(gs_random(seed) % 8)};

	if (word.state > GS_USABLE_UP)
		word.state = GS_USABLE_UP;
	word.accept = gs_random(seed) % 2 ? 0xffff : (uint16_t)gs_random(seed);
	return word;
}

static void randomise_words(uint64_t *seed)
{
	for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
		struct gs_usable_word pool = random_word(seed);

		xdp_edge_set_region(&edge, region, random_word(seed));
		pool.fallback = gs_random(seed) % 2
					? (uint16_t)edge_backend_id(SERVICE_WEB4, region, 1)
					: 0;
		xdp_edge_set_pool(&edge, SERVICE_WEB4, region, pool);
		for (uint32_t member = 0; member < 2; member++)
			xdp_edge_set_backend(&edge, edge_backend_id(SERVICE_WEB4, region, member),
					     random_word(seed));
	}
}

/* From anywhere in a location: clients of one /24 draw the same region. */
static struct packet random_client(uint64_t *seed, uint32_t *ret_location)
{
	static const struct {
		uint32_t location;
		uint32_t first;
		uint32_t size;
	} ranges[] = {
		{0, 0x64400000, 0x10000}, /* 100.64.0.0 */
		{1, 0xc0000200, 0x100},	  /* 192.0.2.0 */
		{2, 0xcb007100, 0x80},	  /* 203.0.113.0 */
		{3, 0xcb007180, 0x80},	  {4, 0xac100000, 0x100000}, {4, 0xac100000, 0x100000},
	};
	uint32_t i = (uint32_t)(gs_random(seed) % (sizeof(ranges) / sizeof(ranges[0])));
	uint32_t addr = ranges[i].first + (uint32_t)(gs_random(seed) % ranges[i].size);
	char src[32];

	snprintf(src, sizeof(src), "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255,
		 addr & 255);
	*ret_location = ranges[i].location;
	return packet_build(&(struct packet_spec){
		.src = src, .sport = (uint16_t)(1024 + gs_random(seed) % 60000), .flags = SYN});
}

static void test_decision_against_oracle(void **state)
{
	uint64_t seed = 20261123;
	uint32_t forwarded = 0;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)seed);
	for (int round = 0; round < 60; round++) {
		uint64_t selection = gs_random(&seed);

		struct gs_meta_value meta = xdp_edge_meta(&edge);

		randomise_words(&seed);
		meta.generation[0].seed = selection;
		xdp_edge_set_meta(&edge, &meta);
		for (int i = 0; i < 25; i++) {
			uint32_t location, want;
			struct packet packet = random_client(&seed, &location);
			struct xdp_result result = xdp_edge_send(&edge, &packet);

			want = edge_expect_backend(&edge, &packet, SERVICE_WEB4, location,
						   selection);
			assert_int_equal(result.backend, want);
			forwarded += want != 0;
		}
	}
	assert_in_range(forwarded, 300, 1499); /* both kinds occurred */
}

/* ---- generations ----------------------------------------------------------------------------- */

static void test_flip(void **state)
{
	struct packet old = client(200, ACK), new = client(201, ACK);
	uint32_t before, after;

	(void)state;
	before = expect(&old, GS_REASON_tx_new);
	assert_int_equal(before / 4 % 4, 1);
	xdp_edge_fill(&edge, 1, 2, SEED, true); /* region 2 before region 1 */
	assert_int_equal(expect(&old, GS_REASON_tx_flow), before);
	xdp_edge_flip(&edge, 1);
	assert_int_equal(expect(&old, GS_REASON_tx_flow), before);
	after = expect(&new, GS_REASON_tx_new);
	assert_int_equal(after / 4 % 4, 2);
	xdp_edge_flip(&edge, 0);
	assert_int_equal(expect(&new, GS_REASON_tx_flow), after);
	xdp_edge_forget(&edge);
	assert_int_equal(expect(&new, GS_REASON_tx_new) / 4 % 4, 1);
}

/* Only the selection seed differs: about half of the flows go to the other member. */
static void test_seed_matters(void **state)
{
	uint32_t moved = 0;

	(void)state;
	xdp_edge_fill(&edge, 1, 2, SEED + 1, false);
	for (uint32_t i = 0; i < 64; i++) {
		struct packet ack = client(300 + i, ACK);
		uint32_t first = expect(&ack, GS_REASON_tx_new);

		xdp_edge_forget(&edge);
		xdp_edge_flip(&edge, 1);
		moved += expect(&ack, GS_REASON_tx_new) != first;
		xdp_edge_forget(&edge);
		xdp_edge_flip(&edge, 0);
	}
	assert_in_range(moved, 12, 52);
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

#define FLOW_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLOW_TEST(test_proven_by_second_packet),
		FLOW_TEST(test_unknown_without_syn),
		FLOW_TEST(test_syn_keeps_or_starts_anew),
		FLOW_TEST(test_syn_ack_is_no_syn),
		FLOW_TEST(test_seen_written_when_it_changed),
		FLOW_TEST(test_proven_are_not_pushed_out),
		FLOW_TEST(test_seen_in_the_future),
		FLOW_TEST(test_victims),
		FLOW_TEST(test_flood),
		FLOW_TEST(test_flood_of_pairs),
		FLOW_TEST(test_closed_by_fin_and_rst),
		FLOW_TEST(test_closed_when_written),
		FLOW_TEST(test_finished_leave),
		FLOW_TEST(test_drain),
		FLOW_TEST(test_down_moves),
		FLOW_TEST(test_foreign_backend),
		FLOW_TEST(test_shared_entry),
		FLOW_TEST(test_affinity_by_client),
		FLOW_TEST(test_nowhere),
		FLOW_TEST(test_known_flow_nowhere),
		FLOW_TEST(test_decision_against_oracle),
		FLOW_TEST(test_flip),
		FLOW_TEST(test_seed_matters),
	};

	return cmocka_run_group_tests_name("flows", tests, NULL, NULL);
}
