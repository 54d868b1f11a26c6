/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in, and how much: access rules, token buckets of client prefixes, services and
 * regions, and what a flood does to those who were there before.
 *
 * Time: a bucket's word says when it is full again. "Used up" is written by hand, an hour ahead;
 * "a second later" is all words a second earlier. Where a burst is counted, a run that took too
 * long says nothing and is made again.
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
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SYN = 0x02, ACK = 0x10, HOME = 1, TABLE_SEED = 0x7ab1e, SEED = 0x5eed, TRIES = 50 };

static struct xdp_edge edge;

/* ---- packets --------------------------------------------------------------------------------- */

static struct packet packet4(const char *src, uint16_t sport, uint8_t flags)
{
	return packet_build(&(struct packet_spec){.src = src, .sport = sport, .flags = flags});
}

static struct packet packet6(const char *src, uint16_t sport, uint8_t flags)
{
	return packet_build(
		&(struct packet_spec){.family = 6, .src = src, .sport = sport, .flags = flags});
}

static struct packet packet_of(const char *src, uint16_t sport, uint8_t flags)
{
	return strchr(src, ':') ? packet6(src, sport, flags) : packet4(src, sport, flags);
}

static enum gs_reason reason_of(const struct packet *packet)
{
	return xdp_edge_send(&edge, packet).reason;
}

static void expect(const struct packet *packet, enum gs_reason want)
{
	enum gs_reason got = reason_of(packet);

	if (got != want)
		print_message("%s, wanted %s\n", edge_reason_name(got), edge_reason_name(want));
	assert_int_equal(got, want);
}

/* ---- services' limits ------------------------------------------------------------------------ */

static const struct gs_service_value no_limits = {.limit4 = 24, .limit6 = 48};

static void set_service(uint32_t service, struct gs_service_value value)
{
	static const struct {
		const char *vip;
		uint8_t protocol;
		uint16_t port;
	} keys[] = {
		[SERVICE_WEB4] = {"198.51.100.10", IPPROTO_TCP, 80},
		[SERVICE_WEB6] = {"2001:db8:100::10", IPPROTO_TCP, 80},
		[SERVICE_DNS4] = {"198.51.100.10", IPPROTO_UDP, 53},
	};
	struct gs_service_key key = {.port = htons(keys[service].port),
				     .protocol = keys[service].protocol};

	packet_addr(keys[service].vip, (uint8_t *)key.addr);
	value.service = (uint16_t)service;
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &value);
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Where the tokens of a limit are: one word, or the two places of a client. */
struct place {
	uint32_t block, word;
};

struct bucket {
	uint32_t count;
	struct place at[2];
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return ((uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec)
	       << GS_LIMIT_CLOCK_SHIFT;
}

static uint64_t hour_ahead(void)
{
	return now() + 3600ull * GS_LIMIT_SECOND;
}

static struct bucket shared_bucket(uint32_t block, enum gs_limit_kind kind)
{
	return (struct bucket){1, {{block, kind}}};
}

/* The places of a prefix with host bits zero. */
static struct bucket client_bucket(const __be32 prefix[4], uint32_t service,
				   enum gs_limit_kind kind)
{
	uint64_t hash = gs_hash_limit(prefix, service, kind, TABLE_SEED);
	uint32_t mask = (1u << GS_LIMIT_HALF_BITS) - 1;
	uint32_t first = (uint32_t)hash & mask, second = (uint32_t)(hash >> 32) & mask;

	return (struct bucket){
		2,
		{{GS_LIMIT_CLIENT_BLOCK + first / 8, first % 8},
		 {GS_LIMIT_CLIENT_BLOCK + GS_LIMIT_HALF_BLOCKS + second / 8, second % 8}}};
}

static struct bucket client_of(const char *prefix, uint32_t service, enum gs_limit_kind kind)
{
	__be32 addr[4];

	packet_addr(prefix, (uint8_t *)addr);
	return client_bucket(addr, service, kind);
}

static uint64_t word_get(struct place at)
{
	struct gs_limit_block block;

	xdp_edge_get(&edge, GS_MAP_LIMITS, &at.block, &block);
	return block.word[at.word];
}

static void word_set(struct place at, uint64_t value)
{
	struct gs_limit_block block;

	xdp_edge_get(&edge, GS_MAP_LIMITS, &at.block, &block);
	block.word[at.word] = value;
	xdp_edge_set(&edge, GS_MAP_LIMITS, &at.block, &block);
}

static void bucket_set(const struct bucket *bucket, uint64_t value)
{
	for (uint32_t i = 0; i < bucket->count; i++)
		word_set(bucket->at[i], value);
}

/* So much later, as this bucket sees it. */
static void pass_time(const struct bucket *bucket, uint64_t units)
{
	for (uint32_t i = 0; i < bucket->count; i++)
		word_set(bucket->at[i], word_get(bucket->at[i]) - units);
}

static void forget_limits(void)
{
	static struct gs_limit_block blocks[GS_LIMIT_BLOCKS];
	static uint32_t keys[GS_LIMIT_BLOCKS];
	uint32_t count = GS_LIMIT_BLOCKS;

	for (uint32_t i = 0; i < GS_LIMIT_BLOCKS; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(xdp_edge_map(&edge, GS_MAP_LIMITS), keys, blocks,
					      &count, NULL),
			 0);
}

/* ---- each limit ------------------------------------------------------------------------------ */

static void set_region_limit(uint32_t region, uint32_t packets, uint32_t flows)
{
	struct gs_region_limit_value value = {packets, flows};
	struct gs_meta_value meta = xdp_edge_meta(&edge);

	xdp_edge_set(&edge, GS_MAP_REGION_LIMITS, &region, &value);
	meta.generation[meta.active].asks |= GS_ASK_REGION_LIMITS;
	xdp_edge_set_meta(&edge, &meta);
}

enum limit {
	CLIENT_PACKETS,
	CLIENT_FLOWS,
	SERVICE_PACKETS,
	SERVICE_FLOWS,
	REGION_PACKETS,
	REGION_FLOWS,
	LIMIT__COUNT
};

static const enum gs_reason refusals[] = {
	[CLIENT_PACKETS] = GS_REASON_drop_client_packets,
	[CLIENT_FLOWS] = GS_REASON_drop_client_flows,
	[SERVICE_PACKETS] = GS_REASON_drop_service_packets,
	[SERVICE_FLOWS] = GS_REASON_drop_service_flows,
	[REGION_PACKETS] = GS_REASON_drop_region_packets,
	[REGION_FLOWS] = GS_REASON_drop_region_flows,
};

/* A case: this limit, of the web service of this family, met by the clients of region HOME. */
struct limit_case {
	enum limit limit;
	bool is_v6;
};

static uint32_t case_service(const struct limit_case *c)
{
	return c->is_v6 ? SERVICE_WEB6 : SERVICE_WEB4;
}

static void case_set(const struct limit_case *c, uint32_t rate)
{
	struct gs_service_value value = no_limits;

	if (c->limit == CLIENT_PACKETS)
		value.client_packets = rate;
	else if (c->limit == CLIENT_FLOWS)
		value.client_flows = rate;
	else if (c->limit == SERVICE_PACKETS)
		value.packets = rate;
	else if (c->limit == SERVICE_FLOWS)
		value.flows = rate;
	else
		set_region_limit(HOME, c->limit == REGION_PACKETS ? rate : 0,
				 c->limit == REGION_FLOWS ? rate : 0);
	set_service(case_service(c), value);
}

static void case_clear(const struct limit_case *c)
{
	set_service(case_service(c), no_limits);
	set_region_limit(HOME, 0, 0);
	forget_limits();
	xdp_edge_forget(&edge);
}

static struct bucket case_bucket(const struct limit_case *c)
{
	enum gs_limit_kind kind =
		c->limit == CLIENT_FLOWS || c->limit == SERVICE_FLOWS || c->limit == REGION_FLOWS
			? GS_LIMIT_FLOWS
			: GS_LIMIT_PACKETS;

	if (c->limit == CLIENT_PACKETS || c->limit == CLIENT_FLOWS)
		return client_of(c->is_v6 ? "2001:db8:1::" : "192.0.2.0", case_service(c), kind);
	if (c->limit == SERVICE_PACKETS || c->limit == SERVICE_FLOWS)
		return shared_bucket(case_service(c), kind);
	return shared_bucket(GS_LIMIT_REGION_BLOCK + HOME, kind);
}

/* The first packet of a new flow from the prefix every case is about. */
static struct packet case_packet(const struct limit_case *c, uint16_t number)
{
	return packet_of(c->is_v6 ? "2001:db8:1::7" : "192.0.2.7", (uint16_t)(5000 + number), SYN);
}

static void for_each_limit(void (*test)(const struct limit_case *c))
{
	for (int limit = 0; limit < LIMIT__COUNT; limit++)
		for (int is_v6 = 0; is_v6 < 2; is_v6++) {
			struct limit_case c = {limit, is_v6};

			test(&c);
			case_clear(&c);
		}
}

static uint16_t next_number;

/* Without comparing all counters: a burst is quicker than its tokens come back. */
static uint32_t send_quickly(const struct packet *packet)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length);

	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	return opts.retval;
}

static uint64_t counted(enum gs_reason reason)
{
	static struct gs_count cpus[1024];
	uint64_t packets = 0;
	uint32_t key = reason;

	xdp_edge_get(&edge, GS_MAP_COUNT_REASON, &key, cpus);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		packets += cpus[cpu].packets;
	return packets;
}

/* Packets let through, of at most `most`, before the first that is refused. */
static uint32_t count_burst(const struct limit_case *c, uint32_t most)
{
	uint64_t before = counted(refusals[c->limit]);
	uint32_t count = 0;

	for (; count < most; count++) {
		struct packet packet = case_packet(c, next_number++);

		if (send_quickly(&packet) == XDP_DROP)
			break;
	}
	assert_int_equal(counted(refusals[c->limit]) - before, count < most ? 1 : 0);
	return count;
}

/* Just N at once; one more when the time of one token has passed, and no more than N after long. */
static void try_burst(const struct limit_case *c)
{
	static const uint32_t rates[] = {1, 3, 10};
	struct bucket bucket = case_bucket(c);

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const uint32_t rate = rates[i], token = GS_LIMIT_SECOND / rate;
		uint32_t first, second, third;
		uint64_t begun;
		int tries = 0;

		case_set(c, rate);
		do {
			begun = now();
			bucket_set(&bucket, 0);
			first = count_burst(c, rate + 5);
			pass_time(&bucket, token);
			second = count_burst(c, rate + 5);
			pass_time(&bucket, 100ull * GS_LIMIT_SECOND);
			third = count_burst(c, rate + 5);
			assert_true(++tries < TRIES);
		} while (now() - begun > token / 2);
		assert_int_equal(first, rate);
		assert_int_equal(second, 1);
		assert_int_equal(third, rate);
	}
}

static void a_burst_is_one_second_of_it(void **state)
{
	(void)state;
	for_each_limit(try_burst);
}

/* 100 ms of a rate of 1,000 a second are 100 packets. */
static void try_rate(const struct limit_case *c)
{
	struct bucket bucket = case_bucket(c);

	case_set(c, 1000);
	for (int i = 0; i < 3; i++) {
		uint64_t begun = now(), most;
		uint32_t count;

		bucket_set(&bucket, begun + GS_LIMIT_SECOND - GS_LIMIT_SECOND / 10);
		count = count_burst(c, 100000);
		most = 100 + (now() - begun) * 1000 / GS_LIMIT_SECOND + 1;
		assert_in_range(count, 85 /* the coarse clock is up to 10 ms behind */, most);
	}
}

static void a_rate_is_kept(void **state)
{
	(void)state;
	for_each_limit(try_rate);
}

static void try_used_up(const struct limit_case *c)
{
	struct packet packet = case_packet(c, next_number++);
	struct bucket bucket = case_bucket(c);

	bucket_set(&bucket, hour_ahead());
	expect(&packet, GS_REASON_tx_new); /* 0: no limit, whatever the words say */
	xdp_edge_forget(&edge);
	case_set(c, 1000000);
	expect(&packet, refusals[c->limit]);
	expect(&packet, refusals[c->limit]); /* nothing was remembered */
	bucket_set(&bucket, now() - 1);
	expect(&packet, GS_REASON_tx_new);
}

static void used_up_is_refused(void **state)
{
	(void)state;
	for_each_limit(try_used_up);
}

/* From the slowest to beyond what words can tell apart. */
static void any_rate_works(void **state)
{
	static const uint32_t rates[] = {1,	      7,	   1000000,    100000000,
					 4000000000u, 4000000001u, 0xffffffffu};
	struct bucket bucket = shared_bucket(SERVICE_WEB4, GS_LIMIT_PACKETS);
	(void)state;

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const uint32_t token = GS_LIMIT_SECOND / rates[i];
		struct packet packet = packet4("192.0.2.1", (uint16_t)(100 + i), SYN);
		struct gs_service_value value = no_limits;
		uint64_t before = hour_ahead();

		value.packets = rates[i];
		set_service(SERVICE_WEB4, value);
		bucket_set(&bucket, before);
		expect(&packet, GS_REASON_drop_service_packets);
		before = now() - GS_LIMIT_SECOND;
		bucket_set(&bucket, before);
		expect(&packet, GS_REASON_tx_new);
		assert_in_range(word_get(bucket.at[0]) - token, before, now());
	}
}

/* ---- prefixes -------------------------------------------------------------------------------- */

static void a_prefix_is_one_client(void **state)
{
	static const struct {
		const char *one, *other;
		uint8_t length;
		bool is_shared;
	} cases[] = {
		{"192.0.2.1", "192.0.2.254", 24, true},
		{"192.0.2.1", "192.0.3.1", 24, false},
		{"192.0.2.1", "192.0.3.1", 23, true},
		{"192.0.2.1", "192.0.2.2", 32, false},
		{"192.0.2.1", "192.0.2.1", 32, true},
		{"192.0.2.1", "192.255.2.1", 8, true},
		{"192.0.2.1", "193.0.2.1", 8, false},
		{"192.0.2.1", "203.0.113.1", 0, true},
		{"2001:db8:1::1", "2001:db8:1:ffff::1", 48, true},
		{"2001:db8:1::1", "2001:db8:2::1", 48, false},
		{"2001:db8:1:7::1", "2001:db8:1:7:ffff::", 64, true},
		{"2001:db8:1:7::1", "2001:db8:1:8::1", 64, false},
		{"2001:db8:1::1", "2001:db8:1::2", 128, false},
		{"2001:db8:1::1", "2001:db8:1::1", 128, true},
		{"2001:db8:1::8000:0:0:1", "2001:db8:1::1", 65, false},
		{"2001:db8:1::4000:0:0:1", "2001:db8:1::1", 65, true},
		{"2001:db8:1::1", "2600::1", 2, true},
		{"2001:db8:1::1", "4001::1", 2, false},
		{"2001:db8:1::1", "3ff0::1", 0, true},
		/* the IPv4 address inside decides, by its own length */
		{"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.99", 24, true},
		{"64:ff9b::192.0.2.1", "64:ff9b::192.0.3.1", 24, false},
		{"2002:c000:201::1", "2002:c000:202:ffff::1", 24, true},
		{"2002:c000:201::1", "2002:c001:201::1", 24, false},
		{"2002:c000:201::1", "64:ff9b::192.0.2.3", 24, true},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet one = packet_of(cases[i].one, 1, SYN);
		struct packet other = packet_of(cases[i].other, 2, SYN);
		struct gs_service_value value = {
			.client_packets = 1, .limit4 = cases[i].length, .limit6 = cases[i].length};
		enum gs_reason got;
		uint64_t begun;
		int tries = 0;

		set_service(SERVICE_WEB4, value);
		set_service(SERVICE_WEB6, value);
		do {
			forget_limits();
			begun = now();
			expect(&one, GS_REASON_tx_new);
			expect(&one, GS_REASON_drop_client_packets);
			got = reason_of(&other);
			assert_true(++tries < TRIES);
		} while (now() - begun > GS_LIMIT_SECOND / 2);
		if ((got == GS_REASON_drop_client_packets) != cases[i].is_shared)
			fail_msg("%s and %s, /%u: %s", cases[i].one, cases[i].other,
				 cases[i].length, edge_reason_name(got));
		xdp_edge_forget(&edge);
	}
}

/* One service's limit, or one kind of limit, says nothing of another's. */
static void limits_are_apart(void **state)
{
	struct packet web = packet4("192.0.2.1", 1, SYN), ack = packet4("192.0.2.1", 1, ACK);
	struct packet dns = packet_build(
		&(struct packet_spec){.protocol = IPPROTO_UDP, .dport = 53, .src = "192.0.2.1"});
	struct bucket packets = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct bucket flows = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_FLOWS);
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = value.client_flows = value.packets = value.flows = 1000;
	set_service(SERVICE_WEB4, value);
	set_service(SERVICE_DNS4, value);
	expect(&web, GS_REASON_tx_new);
	bucket_set(&flows, hour_ahead());
	expect(&ack, GS_REASON_tx_flow);
	bucket_set(&packets, hour_ahead());
	expect(&ack, GS_REASON_drop_client_packets);
	expect(&dns, GS_REASON_tx_new);
}

/* ---- the two places of a client -------------------------------------------------------------- */

static void refused_only_by_both_places(void **state)
{
	struct bucket bucket = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct packet packet = packet4("192.0.2.1", 1, ACK);
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = 1000;
	set_service(SERVICE_WEB4, value);
	expect(&packet, GS_REASON_tx_new);
	for (uint32_t full = 0; full < 2; full++) {
		struct place busy = bucket.at[full], free_one = bucket.at[1 - full];
		uint64_t ahead = hour_ahead(), begun = now();

		bucket_set(&bucket, 0);
		word_set(busy, ahead);
		expect(&packet, GS_REASON_tx_flow);
		/* what the other has used is not charged to whoever is there already */
		assert_true(word_get(busy) == ahead);
		assert_in_range(word_get(free_one), begun - GS_LIMIT_SECOND / 100,
				now() + GS_LIMIT_SECOND / 1000);
		word_set(free_one, ahead);
		expect(&packet, GS_REASON_drop_client_packets);
	}
}

/* A token moves the emptier place up, and the other only if it was behind that. */
static void the_emptier_place_counts(void **state)
{
	static const int64_t ms[][2] = {{0, 0}, {100, 0}, {0, 100}, {5, 0}, {0, 5}, {300, 600}};
	struct bucket bucket = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct packet packet = packet4("192.0.2.1", 1, ACK);
	const uint64_t unit = GS_LIMIT_SECOND / 1000;
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = 100; /* a token is 10 ms */
	set_service(SERVICE_WEB4, value);
	expect(&packet, GS_REASON_tx_new);
	for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		uint64_t base, used[2], want[2], after;
		int tries = 0;

		do { /* base is ahead of any now within */
			base = now() + 20 * unit;
			for (int n = 0; n < 2; n++) {
				used[n] = base + (uint64_t)ms[i][n] * unit;
				word_set(bucket.at[n], used[n]);
			}
			expect(&packet, GS_REASON_tx_flow);
			assert_true(++tries < TRIES);
		} while (now() > base);
		after = (used[0] < used[1] ? used[0] : used[1]) + 10 * unit;
		for (int n = 0; n < 2; n++) {
			want[n] = used[n] > after ? used[n] : after;
			assert_true(word_get(bucket.at[n]) == want[n]);
		}
	}
}

/*
 * How often a client is refused for what others have used: with K prefixes that have used up
 * theirs, each place is taken with p = 1 - e^(-K / 2^18), both with p^2. docs/operating.md has the
 * numbers.
 */
static void false_refusals_are_as_rare_as_documented(void **state)
{
	enum { ASKED = 4000 };
	static const uint32_t used_up[] = {1000, 10000, 60000, 200000};
	static struct gs_limit_block blocks[GS_LIMIT_BLOCKS];
	static uint32_t keys[GS_LIMIT_BLOCKS];
	struct gs_service_value value = no_limits;
	uint64_t seed = 20;
	(void)state;

	value.client_packets = 1000000;
	value.limit4 = 32;
	set_service(SERVICE_WEB4, value);
	for (size_t i = 0; i < sizeof(used_up) / sizeof(used_up[0]); i++) {
		double p = 1 - exp(-(double)used_up[i] / (1u << GS_LIMIT_HALF_BITS));
		double want = ASKED * p * p, deviation = sqrt(want * (1 - p * p));
		uint32_t count = GS_LIMIT_BLOCKS, refused = 0;

		memset(blocks, 0, sizeof(blocks));
		for (uint32_t k = 0; k < used_up[i]; k++) {
			/* of 10/8: none of those that ask below */
			__be32 prefix[4] = {0, 0, htonl(0xffff),
					    htonl(0x0a000000 | (uint32_t)(gs_random(&seed) >> 40))};
			struct bucket bucket =
				client_bucket(prefix, SERVICE_WEB4, GS_LIMIT_PACKETS);

			for (int n = 0; n < 2; n++)
				blocks[bucket.at[n].block].word[bucket.at[n].word] = ~0ull >> 1;
		}
		for (uint32_t k = 0; k < GS_LIMIT_BLOCKS; k++)
			keys[k] = k;
		assert_int_equal(bpf_map_update_batch(xdp_edge_map(&edge, GS_MAP_LIMITS), keys,
						      blocks, &count, NULL),
				 0);
		for (uint32_t k = 0; k < ASKED; k++) {
			char src[32];
			struct packet packet;

			snprintf(src, sizeof(src), "172.16.%u.%u", k / 250, k % 250 + 1);
			packet = packet4(src, 7, ACK);
			refused += send_quickly(&packet) == XDP_DROP;
		}
		print_message("# %u prefixes used up: %u of %d others refused, expected %.1f\n",
			      used_up[i], refused, ASKED, want);
		assert_true(fabs(refused - want) <= 4 * deviation + 1);
	}
}

/* ---- what counts as a new flow --------------------------------------------------------------- */

static void use_up_flows(uint32_t service)
{
	struct gs_service_value value = no_limits;
	struct bucket bucket = shared_bucket(service, GS_LIMIT_FLOWS);

	value.flows = 1000;
	set_service(service, value);
	bucket_set(&bucket, hour_ahead());
}

static void known_flows_are_not_new(void **state)
{
	struct packet syn = packet4("192.0.2.1", 1, SYN), ack = packet4("192.0.2.1", 1, ACK);
	struct packet fresh = packet4("192.0.2.1", 2, SYN), other = packet4("192.0.2.1", 3, ACK);
	struct packet half = packet4("192.0.2.1", 4, SYN), half_ack = packet4("192.0.2.1", 4, ACK);
	struct packet udp = packet_build(
		&(struct packet_spec){.protocol = IPPROTO_UDP, .dport = 53, .sport = 9});
	struct packet udp2 = packet_build(
		&(struct packet_spec){.protocol = IPPROTO_UDP, .dport = 53, .sport = 10});
	struct xdp_result first;
	(void)state;

	first = xdp_edge_send(&edge, &syn);
	expect(&ack, GS_REASON_tx_flow);
	expect(&half, GS_REASON_tx_new);
	expect(&udp, GS_REASON_tx_new);
	use_up_flows(SERVICE_WEB4);
	use_up_flows(SERVICE_DNS4);
	expect(&ack, GS_REASON_tx_flow);
	expect(&syn, GS_REASON_tx_flow);
	expect(&udp, GS_REASON_tx_flow);
	expect(&half, GS_REASON_tx_new); /* a SYN repeated is the same flow's */
	expect(&half_ack, GS_REASON_tx_flow);
	expect(&fresh, GS_REASON_drop_service_flows);
	expect(&other, GS_REASON_drop_service_flows);
	expect(&udp2, GS_REASON_drop_service_flows);
	/* a known one that must move is not new either */
	xdp_edge_set_backend(&edge, first.backend, edge_down);
	expect(&ack, GS_REASON_tx_repicked);
	/* what was refused left nothing behind */
	set_service(SERVICE_WEB4, no_limits);
	expect(&fresh, GS_REASON_tx_new);
}

/* Every bucket holds only flows in use, of others. */
static void fill_flows(void)
{
	struct gs_flow_bucket full;

	for (uint32_t way = 0; way < GS_FLOW_WAYS; way++)
		full.entry[way] = (struct gs_flow_entry){
			.tag = 0x1000 + way,
			.backend = 1,
			.seen = (uint16_t)((now() >> GS_LIMIT_CLOCK_SHIFT >> 30 & 0x7fff) |
					   GS_FLOW_PROVEN)};
	for (uint32_t bucket = 0; bucket < EDGE_FLOW_BUCKETS; bucket++)
		xdp_edge_set(&edge, GS_MAP_FLOWS, &bucket, &full);
}

/* A flow that finds no room is new with each packet: only what says so itself counts. */
static void untracked_flows_are_not_new_again(void **state)
{
	struct packet ack = packet4("192.0.2.1", 1, ACK), syn = packet4("192.0.2.1", 1, SYN);
	(void)state;

	fill_flows();
	use_up_flows(SERVICE_WEB4);
	expect(&ack, GS_REASON_tx_untracked);
	expect(&syn, GS_REASON_drop_service_flows);
	xdp_edge_forget(&edge);
	expect(&ack, GS_REASON_drop_service_flows);
}

/* A refused one keeps neither its flow nor its fragments. */
static void fragments_of_what_is_refused(void **state)
{
	struct packet_spec spec = {.protocol = IPPROTO_UDP, .dport = 53, .payload = 200};
	struct packet first, later;
	(void)state;

	spec.fragment = 0x2000;
	first = packet_build(&spec);
	spec.fragment = 0x0020;
	later = packet_build(&spec);
	use_up_flows(SERVICE_DNS4);
	expect(&first, GS_REASON_drop_service_flows);
	expect(&later, GS_REASON_drop_fragment);
	set_service(SERVICE_DNS4, no_limits);
	expect(&first, GS_REASON_tx_new);
	use_up_flows(SERVICE_DNS4);
	expect(&later, GS_REASON_tx_fragment);
}

static struct packet error_about(const char *client, uint16_t sport)
{
	struct packet_spec spec = {.src = client, .sport = sport, .flags = ACK};
	struct packet sent, answer;

	sent = packet_build(&spec);
	answer = packet_reverse(&sent);
	return packet_icmp(&(struct packet_icmp){.src = "203.0.113.99",
						 .dst = "198.51.100.10",
						 .type = 3,
						 .code = 4,
						 .rest = 1400,
						 .bytes = answer.bytes + PACKET_L3,
						 .length = 28});
}

/* Anybody can quote a flow: that uses up nothing of the client's, and opens no flow. */
static void icmp_errors_are_nobodys(void **state)
{
	struct packet error = error_about("192.0.2.1", 1);
	struct bucket client = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct bucket packets = shared_bucket(SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct bucket flows = shared_bucket(SERVICE_WEB4, GS_LIMIT_FLOWS);
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = value.client_flows = value.packets = value.flows = 1000;
	set_service(SERVICE_WEB4, value);
	expect(&error, GS_REASON_tx_icmp);
	assert_true(word_get(client.at[0]) == 0 && word_get(client.at[1]) == 0);
	assert_true(word_get(flows.at[0]) == 0);
	assert_true(word_get(packets.at[0]) != 0);
	bucket_set(&client, hour_ahead());
	bucket_set(&flows, hour_ahead());
	expect(&error, GS_REASON_tx_icmp);
	bucket_set(&packets, hour_ahead());
	expect(&error, GS_REASON_drop_service_packets);
}

/* Whom the client's own limit stops uses nothing of the service's. */
static void a_clients_flood_leaves_the_service_its_tokens(void **state)
{
	struct bucket packets = shared_bucket(SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct bucket client = client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct packet flood = packet4("192.0.2.1", 1, ACK), other = packet4("203.0.113.1", 1, ACK);
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = 10;
	value.packets = 1000;
	set_service(SERVICE_WEB4, value);
	bucket_set(&client, hour_ahead());
	for (int i = 0; i < 50; i++)
		expect(&flood, GS_REASON_drop_client_packets);
	assert_true(word_get(packets.at[0]) == 0);
	expect(&other, GS_REASON_tx_new);
}

/* ---- regions --------------------------------------------------------------------------------- */

static void a_regions_limit_is_its_own(void **state)
{
	struct packet home = packet4("192.0.2.1", 1, SYN), home_ack = packet4("192.0.2.1", 1, ACK);
	struct packet other = packet4("203.0.113.1", 1, SYN), error = error_about("192.0.2.1", 1);
	struct packet fresh = packet4("192.0.2.1", 2, SYN);
	struct bucket packets = shared_bucket(GS_LIMIT_REGION_BLOCK + HOME, GS_LIMIT_PACKETS);
	struct bucket flows = shared_bucket(GS_LIMIT_REGION_BLOCK + HOME, GS_LIMIT_FLOWS);
	(void)state;

	expect(&home, GS_REASON_tx_new);
	set_region_limit(HOME, 1000, 1000);
	bucket_set(&flows, hour_ahead());
	expect(&home_ack, GS_REASON_tx_flow);
	expect(&error, GS_REASON_tx_icmp);
	expect(&fresh, GS_REASON_drop_region_flows); /* and not to another region */
	expect(&other, GS_REASON_tx_new);
	bucket_set(&packets, hour_ahead());
	expect(&home_ack, GS_REASON_drop_region_packets);
	expect(&error, GS_REASON_drop_region_packets);
	error = error_about("192.0.2.1", 77);
	expect(&error, GS_REASON_drop_region_packets);
	expect(&fresh, GS_REASON_drop_region_flows);
	expect(&other, GS_REASON_tx_new); /* a SYN repeated */
}

/* ---- trials ---------------------------------------------------------------------------------- */

static int32_t trials_left(void)
{
	uint32_t pool = SERVICE_WEB4 * GS_MAX_REGIONS + HOME;
	struct gs_trial_value trial;

	xdp_edge_get(&edge, GS_MAP_TRIALS, &pool, &trial);
	return trial.left;
}

static void refused_flows_use_no_trial_up(void **state)
{
	uint32_t pool = SERVICE_WEB4 * GS_MAX_REGIONS + HOME;
	struct gs_trial_value trial = {.epoch = 7, .left = 5};
	(void)state;

	xdp_edge_set(&edge, GS_MAP_TRIALS, &pool, &trial);
	xdp_edge_set_pool(
		&edge, SERVICE_WEB4, HOME,
		(struct gs_usable_word){.state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = 7});
	for (int limit = 0; limit < LIMIT__COUNT; limit++) {
		struct limit_case c = {limit, false};
		struct bucket bucket = case_bucket(&c);
		bool is_region = limit == REGION_PACKETS || limit == REGION_FLOWS;

		case_set(&c, 1000);
		bucket_set(&bucket, hour_ahead());
		for (uint16_t i = 0; i < 10; i++) {
			struct packet syn = packet4("192.0.2.1", (uint16_t)(100 + i), SYN);
			struct xdp_result result = xdp_edge_send(&edge, &syn);

			/* a full region takes none: its flows go where they would without trials */
			assert_int_equal(result.reason,
					 is_region ? GS_REASON_tx_new : refusals[limit]);
			assert_int_not_equal(result.region, HOME);
		}
		assert_int_equal(trials_left(), 5);
		case_clear(&c);
	}
	for (uint16_t i = 0; i < 6; i++) {
		struct packet syn = packet4("192.0.2.1", (uint16_t)(200 + i), SYN);

		expect(&syn, i < 5 ? GS_REASON_tx_trial : GS_REASON_tx_new);
	}
}

/* A flow that finds its bucket full is one region's: the region it is not tried at is not charged.
 */
static void an_untracked_flow_is_charged_once(void **state)
{
	uint32_t pool = SERVICE_WEB4 * GS_MAX_REGIONS + HOME;
	struct packet syn = packet4("192.0.2.1", 300, SYN);
	struct gs_trial_value trial = {.epoch = 7, .left = 5};
	struct xdp_result result;
	(void)state;

	xdp_edge_set(&edge, GS_MAP_TRIALS, &pool, &trial);
	xdp_edge_set_pool(
		&edge, SERVICE_WEB4, HOME,
		(struct gs_usable_word){.state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = 7});
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		set_region_limit(region, 1000, 1000);
	fill_flows();
	result = xdp_edge_send(&edge, &syn);
	assert_int_equal(result.reason, GS_REASON_tx_untracked);
	for (uint32_t kind = GS_LIMIT_PACKETS; kind <= GS_LIMIT_FLOWS; kind++)
		for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
			struct bucket bucket = shared_bucket(GS_LIMIT_REGION_BLOCK + region, kind);

			assert_int_equal(word_get(bucket.at[0]) != 0, region == result.region);
		}
	assert_int_equal(trials_left(), 5);
	xdp_edge_forget(&edge); /* with room it is tried, and charged there */
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	assert_true(word_get(shared_bucket(GS_LIMIT_REGION_BLOCK + HOME, GS_LIMIT_FLOWS).at[0]) !=
		    0);
	assert_int_equal(trials_left(), 4);
}

/* ---- access ---------------------------------------------------------------------------------- */

static void the_longest_rule_decides(void **state)
{
	static const struct {
		const char *addr;
		uint8_t length, service;
		bool allow;
	} rules[] = {
		{"192.0.0.0", 16, 0, false},
		{"192.0.2.0", 24, 0, true},
		{"192.0.2.128", 25, 0, false},
		{"192.0.2.200", 32, SERVICE_WEB4, true},
		{"203.0.113.0", 24, 0, true},
		{"203.0.113.0", 24, SERVICE_WEB4, false},
		{"198.51.0.0", 16, 0, false},
		{"198.51.0.0", 16, SERVICE_WEB4, true},
		{"8.8.8.0", 24, SERVICE_WEB4, false},
		{"8.8.8.8", 32, 0, true},
		{"2001:db8:1::", 48, 0, false},
		{"2001:db8:1:1::", 64, 0, true},
		{"2001:db8:1:1::5", 128, SERVICE_WEB6, false},
		{"2002:c000:300::", 48, 0, true},
	};
	static const struct {
		const char *client;
		bool is_denied;
		bool is_denied_dns;
	} clients[] = {
		{"192.0.1.1", true, true},
		{"192.0.2.1", false, false},
		{"192.0.2.129", true, true},
		{"192.0.2.200", false, true},
		{"203.0.113.1", true, false}, /* of two as long the service's own */
		{"198.51.7.7", false, true},
		{"8.8.8.1", true, false},
		{"8.8.8.8", false, false}, /* the longer one, though the other is the service's */
		{"1.1.1.1", false, false},
		{"2001:db8:1:2::1", true, true},
		{"2001:db8:1:1::1", false, false},
		{"2001:db8:1:1::5", true, false},
		{"2001:db8:2::1", false, false},
		{"64:ff9b::192.0.1.1", true, true}, /* the IPv4 address inside */
		{"64:ff9b::192.0.2.1", false, false},
		{"2002:c000:101::1", true, true},
		{"2002:c000:300::1", false, false}, /* an IPv6 rule first */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		xdp_edge_access(&edge, 0, rules[i].addr, rules[i].length, rules[i].service,
				rules[i].allow);
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		bool is_v6 = strchr(clients[i].client, ':');
		struct packet web = packet_of(clients[i].client, 1, SYN);
		struct packet dns = packet_build(&(struct packet_spec){.family = is_v6 ? 6 : 4,
								       .src = clients[i].client,
								       .protocol = IPPROTO_UDP,
								       .dport = 53});

		expect(&web, clients[i].is_denied ? GS_REASON_drop_denied : GS_REASON_tx_new);
		expect(&dns, clients[i].is_denied_dns ? GS_REASON_drop_denied : GS_REASON_tx_new);
	}
}

static void a_denied_clients_flows_end(void **state)
{
	struct packet syn = packet4("192.0.2.1", 1, SYN), ack = packet4("192.0.2.1", 1, ACK);
	struct packet error = error_about("192.0.2.1", 1), other = error_about("203.0.113.1", 1);
	struct packet stranger =
		packet_build(&(struct packet_spec){.src = "192.0.2.1", .dport = 81, .flags = SYN});
	(void)state;

	expect(&syn, GS_REASON_tx_new);
	expect(&ack, GS_REASON_tx_flow);
	xdp_edge_access(&edge, 0, "192.0.2.0", 24, 0, false);
	expect(&ack, GS_REASON_drop_denied);
	expect(&syn, GS_REASON_drop_denied);
	expect(&error, GS_REASON_drop_denied); /* about a flow of the denied */
	expect(&other, GS_REASON_tx_icmp);
	expect(&stranger, GS_REASON_pass_not_service); /* what is not ours is not ours to deny */
	/* the rule is the generation's: gone with it, and nothing is asked then */
	xdp_edge_fill(&edge, 1, 2, SEED, false);
	xdp_edge_flip(&edge, 1);
	expect(&ack, GS_REASON_tx_flow);
}

static void allowed_clients_are_under_no_client_limit(void **state)
{
	struct packet syn = packet4("192.0.2.1", 1, SYN), ack = packet4("192.0.2.1", 1, ACK);
	struct bucket buckets[] = {client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_PACKETS),
				   client_of("192.0.2.0", SERVICE_WEB4, GS_LIMIT_FLOWS)};
	struct bucket packets = shared_bucket(SERVICE_WEB4, GS_LIMIT_PACKETS);
	struct bucket flows = shared_bucket(SERVICE_WEB4, GS_LIMIT_FLOWS);
	struct gs_service_value value = no_limits;
	(void)state;

	value.client_packets = value.client_flows = value.packets = value.flows = 1000;
	set_service(SERVICE_WEB4, value);
	for (int i = 0; i < 2; i++)
		bucket_set(&buckets[i], hour_ahead());
	expect(&syn, GS_REASON_drop_client_packets);
	bucket_set(&buckets[0], 0);
	expect(&syn, GS_REASON_drop_client_flows);
	bucket_set(&buckets[0], hour_ahead());
	xdp_edge_access(&edge, 0, "192.0.2.0", 24, SERVICE_WEB4, true);
	expect(&syn, GS_REASON_tx_new);
	expect(&ack, GS_REASON_tx_flow);
	bucket_set(&packets, hour_ahead());
	expect(&ack, GS_REASON_drop_service_packets);
	bucket_set(&packets, 0);
	bucket_set(&flows, hour_ahead());
	syn = packet4("192.0.2.1", 2, SYN);
	expect(&syn, GS_REASON_drop_service_flows);
}

/* ---- all CPUs at once ------------------------------------------------------------------------ */

enum { THREADS = 4, PACKETS = 20000, RATE = 2000 };

static void *send_many(void *context)
{
	const struct packet *packet = context;
	uintptr_t passed = 0;

	for (int i = 0; i < PACKETS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
			    .data_size_in = packet->length);

		if (bpf_prog_test_run_opts(edge.prog_fd, &opts))
			return (void *)UINTPTR_MAX;
		passed += opts.retval == XDP_TX;
	}
	return (void *)passed;
}

static void expect_shared_rate(struct gs_service_value value)
{
	struct packet packet = packet4("192.0.2.1", 1, ACK);
	pthread_t threads[THREADS];
	uint64_t begun, passed = 0, most;

	forget_limits();
	set_service(SERVICE_WEB4, value);
	begun = now();
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, send_many, &packet), 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_true((uintptr_t)result != UINTPTR_MAX);
		passed += (uintptr_t)result;
	}
	/* a bucket, what flows in meanwhile (the coarse clock is a little off), one a CPU */
	most = RATE + (now() - begun + GS_LIMIT_SECOND / 100) * RATE / GS_LIMIT_SECOND +
	       (uint64_t)libbpf_num_possible_cpus();
	assert_in_range(passed, RATE, most);
}

static void rates_are_the_edges_not_a_cpus(void **state)
{
	struct gs_service_value value = no_limits;
	(void)state;

	value.packets = RATE;
	expect_shared_rate(value);
	value.packets = 0;
	value.client_packets = RATE;
	expect_shared_rate(value);
}

/* ---- floods ---------------------------------------------------------------------------------- */

enum { ESTABLISHED = 40, FLOOD = 20000 };
enum flood { FLOOD_SYN, FLOOD_ACK, FLOOD_UDP, FLOOD__COUNT };

static struct packet established(uint32_t i)
{
	return packet4("192.0.2.9", (uint16_t)(1000 + i), ACK);
}

/* From any address at all. */
static struct packet flood_packet(enum flood kind, uint64_t *seed)
{
	uint64_t random = gs_random(seed);
	char src[32];

	snprintf(src, sizeof(src), "%u.%u.%u.%u", 1 + (unsigned)(random & 0xff) % 223,
		 (unsigned)(random >> 8 & 0xff), (unsigned)(random >> 16 & 0xff),
		 (unsigned)(random >> 24 & 0xff));
	return packet_build(&(struct packet_spec){
		.src = src,
		.sport = (uint16_t)(random >> 32),
		.protocol = kind == FLOOD_UDP ? IPPROTO_UDP : IPPROTO_TCP,
		.dport = kind == FLOOD_UDP ? 53 : 80,
		.flags = kind == FLOOD_SYN ? SYN : ACK,
	});
}

/*
 * Established flows stay where they are, though another generation would send them elsewhere now;
 * with limits or without. Forty times as many flows come as the table has entries.
 */
static void expect_to_stay(enum flood kind)
{
	uint32_t backends[ESTABLISHED];
	uint64_t seed = 4711 + (uint64_t)kind;

	xdp_edge_forget(&edge);
	xdp_edge_flip(&edge, 0);
	for (uint32_t i = 0; i < ESTABLISHED; i++) {
		struct packet ack = established(i);

		backends[i] = xdp_edge_send(&edge, &ack).backend;
		expect(&ack, GS_REASON_tx_flow);
	}
	xdp_edge_flip(&edge, 1);
	for (uint32_t i = 0; i < FLOOD; i++) {
		struct packet packet = flood_packet(kind, &seed);

		send_quickly(&packet);
	}
	for (uint32_t i = 0; i < ESTABLISHED; i++) {
		struct packet ack = established(i);
		struct xdp_result result = xdp_edge_send(&edge, &ack);

		assert_int_equal(result.reason, GS_REASON_tx_flow);
		assert_int_equal(result.backend, backends[i]);
	}
}

static void floods_leave_established_flows_alone(void **state)
{
	struct gs_service_value value = no_limits;
	(void)state;

	xdp_edge_fill(&edge, 1, 2, SEED, true);
	for (int kind = 0; kind < FLOOD__COUNT; kind++)
		expect_to_stay(kind);
	value.client_flows = ESTABLISHED;
	value.flows = 100;
	value.client_packets = 10000;
	set_service(SERVICE_WEB4, value);
	set_service(SERVICE_DNS4, value);
	for (int kind = 0; kind < FLOOD__COUNT; kind++) {
		forget_limits();
		expect_to_stay(kind);
	}
	assert_true(counted(GS_REASON_drop_service_flows) > FLOOD);
}

/* ---------------------------------------------------------------------------------------------- */

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

#define LIMIT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIMIT_TEST(a_burst_is_one_second_of_it),
		LIMIT_TEST(a_rate_is_kept),
		LIMIT_TEST(used_up_is_refused),
		LIMIT_TEST(any_rate_works),
		LIMIT_TEST(a_prefix_is_one_client),
		LIMIT_TEST(limits_are_apart),
		LIMIT_TEST(refused_only_by_both_places),
		LIMIT_TEST(the_emptier_place_counts),
		LIMIT_TEST(false_refusals_are_as_rare_as_documented),
		LIMIT_TEST(known_flows_are_not_new),
		LIMIT_TEST(untracked_flows_are_not_new_again),
		LIMIT_TEST(fragments_of_what_is_refused),
		LIMIT_TEST(icmp_errors_are_nobodys),
		LIMIT_TEST(a_clients_flood_leaves_the_service_its_tokens),
		LIMIT_TEST(a_regions_limit_is_its_own),
		LIMIT_TEST(refused_flows_use_no_trial_up),
		LIMIT_TEST(an_untracked_flow_is_charged_once),
		LIMIT_TEST(the_longest_rule_decides),
		LIMIT_TEST(a_denied_clients_flows_end),
		LIMIT_TEST(allowed_clients_are_under_no_client_limit),
		LIMIT_TEST(rates_are_the_edges_not_a_cpus),
		LIMIT_TEST(floods_leave_established_flows_alone),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
