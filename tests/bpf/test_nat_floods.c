/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers can take of NAT: floods of packets from forged addresses, far more than a plane
 * has slots, beside flows in use and new good ones. One plane for all (31,744 slots). Backends
 * answer as a kernel would, or not at all, as behind a firewall that drops what belongs to no
 * connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, GONE = 0x100, TTL1 = 0x200 };
enum { FLOOD = 40000, KEPT = 100, EVERY = 800 };
/* A flood in 31,744 slots leaves 95 of 100 buckets full, so 90 of 100 flows find both of
 * theirs so; 160 is nearly five standard deviations away. */
enum { TRIED = 200, REFUSED_LEAST = 160 };
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;

/* ---- packets --------------------------------------------------------------------------------- */

/* The verdict alone: counters are not read, there are too many packets for that. */
static uint32_t run(const struct packet *packet, struct packet *ret_out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = ret_out->bytes,
		    .data_size_out = sizeof(ret_out->bytes), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	ret_out->length = opts.data_size_out;
	ret_out->l4 = packet->l4;
	ret_out->protocol = packet->protocol;
	return opts.retval;
}

struct flow {
	char src[16];
	uint16_t sport;
	uint8_t protocol;
	struct packet sent; /* as the backend got the last one */
};

static struct flow flow_of(const char *net, uint32_t number, uint8_t protocol)
{
	struct flow flow = {.sport = (uint16_t)(1024 + number / 250), .protocol = protocol};

	snprintf(flow.src, sizeof(flow.src), "%s%u", net, 1 + number % 250);
	return flow;
}

/* The client sends; false: it was dropped. */
static bool there(struct flow *flow, uint32_t flags)
{
	struct packet packet =
		packet_build(&(struct packet_spec){.src = flow->src,
						   .sport = flow->sport,
						   .protocol = flow->protocol,
						   .dport = flow->protocol == IPPROTO_UDP ? 53 : 80,
						   .flags = (uint8_t)flags});

	if (flags & TTL1) {
		packet.bytes[PACKET_L3 + 8] = 1;
		packet_fix_ip4(&packet);
	}
	return run(&packet, &flow->sent) == XDP_TX;
}

/* The backend answers what it got last; false: nobody's flow, by now. */
static bool back(const struct flow *flow, uint8_t flags)
{
	struct packet reply = packet_reverse(&flow->sent), out;

	if (flow->protocol != IPPROTO_UDP)
		reply.bytes[reply.l4 + 13] = flags;
	return run(&reply, &out) == XDP_TX;
}

static uint16_t port_of(const struct flow *flow)
{
	return packet_get16(flow->sent.bytes + flow->sent.l4);
}

/* ---- good flows ------------------------------------------------------------------------------ */

static void expect_all(bool is_true, const char *name, const char *what, uint32_t number)
{
	if (!is_true)
		fail_msg("%s: %s, flow %u", name, what, number);
}

static bool begin(struct flow *flow)
{
	return flow->protocol == IPPROTO_UDP
		       ? there(flow, 0) && back(flow, 0)
		       : there(flow, SYN) && back(flow, SYN | ACK) && there(flow, ACK);
}

static bool talk(struct flow *flow)
{
	return there(flow, ACK | PSH) && back(flow, ACK);
}

/* ---- floods ---------------------------------------------------------------------------------- */

/* What each forged client sends, and what its backend says to it; 0: the end. */
struct step {
	uint32_t client;
	uint8_t backend; /* 0: nothing */
};

static const struct flood {
	const char *name;
	uint8_t protocol;
	struct step steps[4];
} floods[] = {
	{"ACKs with TTL 1", IPPROTO_TCP, {{ACK | TTL1, 0}, {ACK | TTL1, 0}}},
	{"ACKs, answered by RST", IPPROTO_TCP, {{ACK, RST}}},
	{"ACKs twice, each answered by RST", IPPROTO_TCP, {{ACK, RST}, {ACK, RST}}},
	{"ACKs, firewalled", IPPROTO_TCP, {{ACK, 0}}},
	{"ACKs twice, firewalled", IPPROTO_TCP, {{ACK, 0}, {ACK, 0}}},
	{"FINs", IPPROTO_TCP, {{FIN | ACK, RST}}},
	{"FINs twice, firewalled", IPPROTO_TCP, {{FIN | ACK, 0}, {FIN | ACK, 0}}},
	{"RSTs", IPPROTO_TCP, {{RST, 0}}},
	{"SYN-ACKs", IPPROTO_TCP, {{SYN | ACK, RST}, {SYN | ACK, RST}}},
	{"SYNs", IPPROTO_TCP, {{SYN, SYN | ACK}}},
	{"SYNs, then forged ACKs", IPPROTO_TCP, {{SYN, SYN | ACK}, {ACK, RST}}},
	{"the same, firewalled", IPPROTO_TCP, {{SYN, SYN | ACK}, {ACK, SYN | ACK}}},
	{"SYNs, then without flags", IPPROTO_TCP, {{SYN, SYN | ACK}, {PSH, ACK}}},
	{"UDP, not answered", IPPROTO_UDP, {{GONE, 0}, {GONE, 0}, {GONE, 0}}},
	{"UDP, answered", IPPROTO_UDP, {{GONE, 1}}},
};

static void flood_one(const struct flood *flood, uint32_t number)
{
	struct flow flow = flow_of("192.0.2.", 250 + number, flood->protocol);

	for (unsigned i = 0; i < ARRAY_SIZE(flood->steps) && flood->steps[i].client; i++)
		if (there(&flow, flood->steps[i].client) && flood->steps[i].backend)
			back(&flow, flood->steps[i].backend);
}

static struct flow talking[KEPT], udp[KEPT], fresh[FLOOD / EVERY];

static void forget(void)
{
	const struct gs_flow_bucket empty = {0};

	xdp_edge_forget(&edge);
	for (uint32_t bucket = 0; bucket < GS_NAT_BUCKETS; bucket++)
		xdp_edge_set(&edge, GS_MAP_NAT_FLOWS, &bucket, &empty);
}

static void open_all(const char *name)
{
	for (uint32_t i = 0; i < KEPT; i++) {
		talking[i] = flow_of("192.0.2.", i, IPPROTO_TCP);
		udp[i] = flow_of("192.0.2.", i, IPPROTO_UDP);
		expect_all(begin(&talking[i]) && talk(&talking[i]), name, "before", i);
		expect_all(begin(&udp[i]) && talk(&udp[i]), name, "before, UDP", i);
	}
}

/* From the port it had, and its replies come. */
static void expect_stayed(struct flow *flow, const char *name, const char *what, uint32_t number)
{
	uint16_t port = port_of(flow);

	expect_all(talk(flow) && port_of(flow) == port, name, what, number);
}

/*
 * Flows in use stay; new ones get in while the flood lasts, 200 forged ones after each of their
 * packets, and stay too.
 */
static void floods_shut_nobody_out(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(floods); i++) {
		const struct flood *flood = &floods[i];
		struct flow *flow = fresh;

		forget();
		open_all(flood->name);
		for (uint32_t number = 0; number < FLOOD; number++) {
			uint32_t which = number / EVERY;

			flood_one(flood, number);
			if (number % EVERY == 0) {
				flow = &fresh[which];
				*flow = flow_of("192.0.2.", KEPT + which,
						which % 2 ? IPPROTO_UDP : IPPROTO_TCP);
				expect_all(there(flow, SYN), flood->name, "a new one", which);
			} else if (number % EVERY == EVERY / 4) {
				expect_all(back(flow, SYN | ACK), flood->name, "its answer", which);
			} else if (number % EVERY == EVERY / 2) {
				expect_stayed(flow, flood->name, "its next packet", which);
			}
		}
		for (uint32_t j = 0; j < KEPT; j++) {
			expect_stayed(&talking[j], flood->name, "one that talks", j);
			expect_stayed(&udp[j], flood->name, "one of UDP", j);
		}
		for (uint32_t j = 0; j < ARRAY_SIZE(fresh); j++)
			expect_stayed(&fresh[j], flood->name, "one that came meanwhile", j);
		packet_case();
	}
}

/* Moves all that was seen back by so many units of 2^30 ns: as if that time had passed. */
static void let_pass(uint32_t units)
{
	struct gs_flow_bucket value;

	for (uint32_t bucket = 0; bucket < GS_NAT_BUCKETS; bucket++) {
		xdp_edge_get(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
		for (uint32_t way = 0; way < GS_FLOW_WAYS; way++) {
			struct gs_flow_entry *entry = &value.entry[way];
			bool is_proven = entry->seen & GS_FLOW_PROVEN;

			entry->seen -= is_proven ? units : units << GS_NAT_FINE;
			entry->seen &= GS_SEEN_TIME;
			entry->seen |= is_proven ? GS_FLOW_PROVEN : 0;
		}
		xdp_edge_set(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
	}
}

static uint32_t refused(uint32_t first, uint8_t protocol)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < TRIED; i++) {
		struct flow flow = flow_of("192.0.2.", first + i, protocol);

		count += !there(&flow, SYN);
	}
	return count;
}

/*
 * What is left: forged UDP that a server answers, and a second packet behind it, is a conversation
 * as far as anybody can see. It holds a slot for 30 s; flows in use stay even then.
 */
static void conversations_of_udp_hold_for_half_a_minute(void **state)
{
	static const struct flood flood = {.protocol = IPPROTO_UDP,
					   .steps = {{GONE, 1}, {GONE, 0}}};
	(void)state;

	forget();
	open_all("conversations");
	for (uint32_t number = 0; number < FLOOD; number++)
		flood_one(&flood, number);
	assert_in_range(refused(100000, IPPROTO_TCP), REFUSED_LEAST, TRIED);
	assert_in_range(refused(100000, IPPROTO_UDP), REFUSED_LEAST, TRIED);
	for (uint32_t i = 0; i < KEPT; i++) {
		expect_stayed(&talking[i], "conversations", "one that talks", i);
		expect_stayed(&udp[i], "conversations", "one of UDP", i);
	}
	let_pass(GS_NAT_UDP_IN_USE - 4);
	assert_in_range(refused(110000, IPPROTO_TCP), REFUSED_LEAST, TRIED);
	let_pass(8);
	assert_int_equal(refused(120000, IPPROTO_TCP), 0);
	assert_int_equal(refused(120000, IPPROTO_UDP), 0);
	/* connections that were silent meanwhile are in use for longer than that */
	for (uint32_t i = 0; i < KEPT; i++)
		expect_stayed(&talking[i], "conversations", "a silent one", i);
}

/* The same of TCP, whose proof takes the backend's word: it is held for three minutes. */
static void connections_hold_for_three_minutes(void **state)
{
	(void)state;
	forget();
	for (uint32_t number = 0; number < FLOOD; number++) {
		struct flow flow = flow_of("192.0.2.", number, IPPROTO_TCP);

		if (begin(&flow))
			talk(&flow);
	}
	assert_in_range(refused(100000, IPPROTO_TCP), REFUSED_LEAST, TRIED);
	let_pass(GS_NAT_IN_USE - 8);
	assert_in_range(refused(110000, IPPROTO_TCP), REFUSED_LEAST, TRIED);
	let_pass(16);
	assert_int_equal(refused(120000, IPPROTO_TCP), 0);
}

/* ---- main ------------------------------------------------------------------------------------ */

static void set_nat(uint32_t service)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(service, 1, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = GS_FORWARD_NAT;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

static int setup(void **state)
{
	struct gs_meta_value meta;
	(void)state;

	xdp_edge_open(&edge);
	meta = xdp_edge_meta(&edge);
	meta.nat_mask = 0;
	xdp_edge_set_meta(&edge, &meta);
	set_nat(SERVICE_WEB4);
	set_nat(SERVICE_DNS4);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define FLOOD_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLOOD_TEST(floods_shut_nobody_out),
		FLOOD_TEST(conversations_of_udp_hold_for_half_a_minute),
		FLOOD_TEST(connections_hold_for_three_minutes),
	};

	return cmocka_run_group_tests_name("nat_floods", tests, NULL, NULL);
}
