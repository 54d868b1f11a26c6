/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors about the tunnel itself: a router between edge and backend says what fits. What is one of
 * ours is remembered, what is not, says nothing, or says too much, is as any ICMP; all of it passes
 * to the kernel as it came.
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
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define ROUTER4 "100.64.1.2"
#define ROUTER6 "fd00:ff:1::2"
#define EDGE4 "192.0.2.254" /* of the hop */
#define EDGE6 "2001:db8:e::1"

enum { IP4 = 20, IP6 = 40, ICMP = 8 };

static struct xdp_edge edge;
static uint32_t backend4, backend6; /* their addresses stand in `tunnels` */

struct quote {
	const char *name;
	bool is_v6;
	bool is_gue;
	uint8_t type, code;
	uint32_t rest;	      /* of the ICMP header: the MTU */
	uint32_t length;      /* bytes quoted */
	uint16_t told_length; /* IPv4: what the quoted header claims; 0: as it is */
	const char *src;      /* of the quote and of whom it is told to; NULL: the hop's */
	const char *dst;      /* of the quote; NULL: the backend's */
	uint16_t port;	      /* GUE: to which; 0: ours */
	uint32_t want_mtu;    /* 0: not about us, counted as want */
	enum gs_reason want;
};

static void read_told(uint32_t id, struct gs_tunnel_told *ret_told)
{
	xdp_edge_get(&edge, GS_MAP_TUNNEL_TOLD, &id, ret_told);
}

static uint64_t tellings(void)
{
	uint32_t zero = 0;
	uint64_t count;

	xdp_edge_get(&edge, GS_MAP_TUNNEL_TOLD, &zero, &count);
	return count;
}

static struct packet error_of(const struct quote *quote)
{
	struct packet inner = packet_build(&(struct packet_spec){.payload = 200});
	char address[64];
	struct packet_outer outer = {.src = quote->is_v6 ? EDGE6 : EDGE4};
	struct packet sent;
	uint32_t header = quote->is_v6 ? IP6 : IP4;

	edge_backend_addr(quote->is_v6 ? backend6 : backend4, address);
	outer.dst = quote->dst ? quote->dst : address;
	if (quote->src)
		outer.src = quote->src;
	sent = quote->is_gue ? packet_gue(&inner, &outer, 50000)
			     : packet_encapsulate(&inner, &outer);
	if (quote->port)
		packet_put16(sent.bytes + PACKET_L3 + header + 2, quote->port);
	if (quote->told_length) {
		packet_put16(sent.bytes + PACKET_L3 + 2, quote->told_length);
		packet_fix_ip4(&sent);
	}
	return packet_icmp(&(struct packet_icmp){
		.src = quote->is_v6 ? ROUTER6 : ROUTER4,
		.dst = outer.src,
		.type = quote->type,
		.code = quote->code,
		.rest = quote->rest,
		.bytes = sent.bytes + PACKET_L3,
		.length = quote->length ? quote->length : header + 8,
	});
}

static const struct quote quotes[] = {
	{"IPIP", .type = 3, .code = 4, .rest = 1400, .want_mtu = 1400},
	{"IPIP, the least of a quote", .type = 3, .code = 4, .rest = 1400, .length = 28,
	 .want_mtu = 1400},
	{"IPIP, a long quote", .type = 3, .code = 4, .rest = 1400, .length = 200, .want_mtu = 1400},
	{"GUE", .is_gue = true, .type = 3, .code = 4, .rest = 1400, .want_mtu = 1400},
	{"IPIP over IPv6", .is_v6 = true, .type = 2, .rest = 1400, .want_mtu = 1400},
	{"GUE over IPv6", .is_v6 = true, .is_gue = true, .type = 2, .rest = 1400, .want_mtu = 1400},
	{"as much as the hop takes", .type = 3, .code = 4, .rest = 1500, .want_mtu = 1500},
	{"the least", .type = 3, .code = 4, .rest = 576, .want_mtu = 576},
	{"the least of IPv6", .is_v6 = true, .type = 2, .rest = 1280, .want_mtu = 1280},
	{"an old router, 1500", .type = 3, .code = 4, .told_length = 1500, .want_mtu = 1492},
	{"an old router, 1492", .type = 3, .code = 4, .told_length = 1492, .want_mtu = 1006},
	{"an old router, 1006", .type = 3, .code = 4, .told_length = 1006, .want_mtu = 576},
	{"the upper half of the field is none of it", .type = 3, .code = 4,
	 .rest = 0xabcd0000 | 1400, .want_mtu = 1400},

	{"less than the least", .type = 3, .code = 4, .rest = 575, .want = GS_REASON_pass_protocol},
	{"a byte", .type = 3, .code = 4, .rest = 1, .want = GS_REASON_pass_protocol},
	{"less than the least of IPv6", .is_v6 = true, .type = 2, .rest = 1279,
	 .want = GS_REASON_pass_protocol},
	{"nothing over IPv6", .is_v6 = true, .type = 2, .rest = 0, .want = GS_REASON_pass_protocol},
	{"more than the hop takes", .type = 3, .code = 4, .rest = 1501,
	 .want = GS_REASON_pass_protocol},
	{"far more over IPv6", .is_v6 = true, .type = 2, .rest = 0xffffffff,
	 .want = GS_REASON_pass_protocol},
	{"unreachable", .type = 3, .code = 1, .rest = 1400, .want = GS_REASON_pass_protocol},
	{"time exceeded", .type = 11, .rest = 1400, .want = GS_REASON_pass_protocol},
	{"unreachable over IPv6", .is_v6 = true, .type = 1, .rest = 1400,
	 .want = GS_REASON_pass_protocol},
	{"time exceeded over IPv6", .is_v6 = true, .type = 3, .rest = 1400,
	 .want = GS_REASON_pass_protocol},
	{"nobody's backend", .type = 3, .code = 4, .rest = 1400, .dst = "10.250.0.1",
	 .want = GS_REASON_pass_protocol},
	{"nobody's backend over IPv6", .is_v6 = true, .type = 2, .rest = 1400, .dst = "fd00:99::1",
	 .want = GS_REASON_pass_protocol},
	{"another sender", .type = 3, .code = 4, .rest = 1400, .src = "192.0.2.253",
	 .want = GS_REASON_pass_protocol},
	{"another sender over IPv6", .is_v6 = true, .type = 2, .rest = 1400, .src = "2001:db8:e::2",
	 .want = GS_REASON_pass_protocol},
	{"UDP to another port", .is_gue = true, .type = 3, .code = 4, .rest = 1400, .port = 6081,
	 .want = GS_REASON_pass_protocol},
	{"UDP to another port over IPv6", .is_v6 = true, .is_gue = true, .type = 2, .rest = 1400,
	 .port = 53, .want = GS_REASON_pass_protocol},
};

static void what_is_told_of_a_tunnel(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(quotes); i++) {
		const struct quote *quote = &quotes[i];
		enum gs_reason want = quote->want_mtu ? GS_REASON_pass_tunnel_mtu : quote->want;
		uint32_t id = quote->is_v6 ? backend6 : backend4;
		struct packet error = error_of(quote);
		struct gs_tunnel_told before = {.mtu = 1234, .seen = 7}, told;
		uint64_t count = tellings();
		struct xdp_result result;

		xdp_edge_set(&edge, GS_MAP_TUNNEL_TOLD, &id, &before);
		result = xdp_edge_send(&edge, &error);
		if (result.reason != want)
			fail_msg("%s: %s, wanted %s", quote->name, edge_reason_name(result.reason),
				 edge_reason_name(want));
		assert_int_equal(result.action, XDP_PASS);
		assert_int_equal(result.out.length, error.length);
		assert_memory_equal(result.out.bytes, error.bytes, error.length);
		read_told(id, &told);
		if (told.mtu != (quote->want_mtu ? quote->want_mtu : before.mtu))
			fail_msg("%s: told %u", quote->name, told.mtu);
		assert_int_equal(tellings(), count + (quote->want_mtu ? 1 : 0));
		assert_int_equal(told.seen == before.seen, quote->want_mtu == 0);
		packet_case();
	}
}

/* Sources that differ from flow to flow are all ours; what lies beyond them is not. */
static void spread_sources_are_heard(void **state)
{
	static const struct {
		struct quote quote;
		uint8_t spread4, spread6;
	} rows[] = {
		{{"the base", .type = 3, .code = 4, .rest = 1400, .src = "192.0.2.240",
		  .want_mtu = 1400},
		 4,
		 0},
		{{"the last", .type = 3, .code = 4, .rest = 1400, .src = "192.0.2.255",
		  .want_mtu = 1400},
		 4,
		 0},
		{{"before the first", .type = 3, .code = 4, .rest = 1400, .src = "192.0.2.239",
		  .want = GS_REASON_pass_protocol},
		 4,
		 0},
		{{"of IPv6", .is_v6 = true, .type = 2, .rest = 1400, .src = "2001:db8:e::ab",
		  .want_mtu = 1400},
		 0,
		 8},
		{{"beyond those of IPv6", .is_v6 = true, .type = 2, .rest = 1400,
		  .src = "2001:db8:e::1ab", .want = GS_REASON_pass_protocol},
		 0,
		 8},
	};
	const struct gs_hop_value good = edge_hop_value();
	uint32_t id = EDGE_HOP;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct quote *quote = &rows[i].quote;
		struct gs_hop_value hop = good;
		struct packet error = error_of(quote);
		struct xdp_result result;

		hop.spread4 = rows[i].spread4;
		hop.spread6 = rows[i].spread6;
		inet_pton(AF_INET, "192.0.2.240", &hop.src4);
		inet_pton(AF_INET6, "2001:db8:e::", hop.src6);
		xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
		result = xdp_edge_send(&edge, &error);
		if (result.reason != (quote->want_mtu ? GS_REASON_pass_tunnel_mtu : quote->want))
			fail_msg("%s: %s", quote->name, edge_reason_name(result.reason));
		packet_case();
	}
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &good);
}

/* Cut anywhere, it is as any ICMP: nobody reads what is not there. */
static void cut_ones_say_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		uint32_t header = quotes[i].is_v6 ? IP6 : IP4;
		uint64_t count = tellings();
		struct packet error = error_of(&quotes[i]);

		for (error.length = PACKET_L3 + header + ICMP + header - 1;
		     error.length > PACKET_L3 + header; error.length--) {
			struct xdp_result result = xdp_edge_send(&edge, &error);

			assert_int_equal(result.action, XDP_PASS);
			assert_int_not_equal(result.reason, GS_REASON_pass_tunnel_mtu);
		}
		assert_int_equal(tellings(), count);
	}
}

/* A hop that is lowered already is told again of the same, and of less; not of more. */
static void what_is_lowered_goes_on_being_told(void **state)
{
	struct gs_hop_value hop = edge_hop_value();
	struct quote quote = quotes[0];
	uint32_t id = EDGE_HOP;
	struct packet error;
	(void)state;

	hop.mtu = 1400;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	for (quote.rest = 1399; quote.rest <= 1401; quote.rest++) {
		error = error_of(&quote);
		assert_int_equal(xdp_edge_send(&edge, &error).reason,
				 quote.rest <= 1400 ? GS_REASON_pass_tunnel_mtu
						    : GS_REASON_pass_protocol);
	}
	hop = edge_hop_value();
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
}

/* An answer of a service to a client's port 6080 is no tunnel's packet, whoever the client is. */
static void a_services_flow_to_the_tunnels_port(void **state)
{
	struct packet client = packet_build(&(struct packet_spec){
		.protocol = IPPROTO_UDP, .sport = GS_GUE_PORT, .dport = 53, .payload = 100});
	struct packet answer = packet_reverse(&client);
	struct packet error = packet_icmp(&(struct packet_icmp){
		.src = ROUTER4,
		.dst = "198.51.100.10",
		.type = 3,
		.code = 4,
		.rest = 1400,
		.bytes = answer.bytes + PACKET_L3,
		.length = 28,
	});
	(void)state;

	assert_int_equal(xdp_edge_send(&edge, &error).reason, GS_REASON_tx_icmp);
}

static void add_tunnel(uint32_t backend)
{
	struct gs_tunnel_value value = {.backend = backend};
	struct gs_tunnel_key key;
	char text[64];

	packet_addr(edge_backend_addr(backend, text), (uint8_t *)key.addr);
	xdp_edge_set(&edge, GS_MAP_TUNNELS, &key, &value);
}

static int setup(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	backend4 = edge_backend_id(SERVICE_WEB4, 1, 0);
	backend6 = edge_backend_id(SERVICE_WEB4, 3, 0);
	add_tunnel(backend4);
	add_tunnel(backend6);
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
		cmocka_unit_test(what_is_told_of_a_tunnel),
		cmocka_unit_test(spread_sources_are_heard),
		cmocka_unit_test(cut_ones_say_nothing),
		cmocka_unit_test(what_is_lowered_goes_on_being_told),
		cmocka_unit_test(a_services_flow_to_the_tunnels_port),
	};

	return cmocka_run_group_tests_name("tunnels", tests, setup, teardown);
}
