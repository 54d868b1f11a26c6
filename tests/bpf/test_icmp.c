/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICMP at the edge: errors find the backend of the flow they quote, echo requests are answered, and
 * who sends what does not fit is told what does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define SYN 0x02
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define ROUTER4 "203.0.113.77" /* at location 2, not the clients' */
#define ROUTER6 "2001:db8:2::77"
#define VIP4 "198.51.100.10"
#define VIP6 "2001:db8:100::10"

static struct xdp_edge edge;

static struct xdp_result expect(const char *name, const struct packet *packet, enum gs_reason want)
{
	return xdp_edge_expect(&edge, name, packet, want);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* An error from a router about what the service sent to the client of `client`. */
static struct packet error_about(const struct packet *client, uint8_t type, uint8_t code,
				 uint32_t rest, uint32_t quoted)
{
	struct packet answer = packet_reverse(client);
	bool is_v6 = answer.bytes[PACKET_L3] >> 4 == 6;

	return packet_icmp(&(struct packet_icmp){
		.src = is_v6 ? ROUTER6 : ROUTER4,
		.dst = is_v6 ? VIP6 : VIP4,
		.type = type,
		.code = code,
		.rest = rest,
		.bytes = answer.bytes + PACKET_L3,
		.length = quoted,
	});
}

static const struct {
	const char *name;
	struct packet_spec client;
	uint8_t type, code;
	uint32_t header; /* of the quote, up to the transport header */
} errors[] = {
	{"fragmentation needed", {.payload = 100}, 3, 4, 20},
	{"host unreachable", {.payload = 100}, 3, 1, 20},
	{"time exceeded", {.payload = 100}, 11, 0, 20},
	{"parameter problem", {.payload = 100}, 12, 0, 20},
	{"about options", {.payload = 100, .ip_options = 40}, 3, 4, 60},
	{"about UDP", {.protocol = IPPROTO_UDP, .dport = 53, .payload = 100}, 3, 3, 20},
	{"to an IPv6 backend", {.src = "203.0.113.200", .payload = 100}, 3, 4, 20},
	{"packet too big", {.family = 6, .payload = 100}, 2, 0, 40},
	{"unreachable, IPv6", {.family = 6, .payload = 100}, 1, 4, 40},
	{"time exceeded, IPv6", {.family = 6, .payload = 100}, 3, 0, 40},
	{"parameter problem, IPv6", {.family = 6, .payload = 100}, 4, 1, 40},
	{"about UDP over IPv6",
	 {.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .payload = 100},
	 1,
	 4,
	 40},
	/* extensions: of the answer, the client sends none */
	{"about a first fragment",
	 {.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .extensions = "f", .payload = 100},
	 2,
	 0,
	 48},
	{"about an atomic fragment", {.family = 6, .extensions = "o", .payload = 100}, 2, 0, 48},
	{"behind a header", {.family = 6, .extensions = "h", .payload = 100}, 1, 4, 48},
	{"behind six headers", {.family = 6, .extensions = "hrdafd", .payload = 100}, 2, 0, 96},
};

/* Of a flow the table knows, wherever plans would send it by now; and without a trace. */
static void errors_reach_the_flows_backend(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		struct packet_spec syn = errors[i].client;
		struct packet client = packet_build(&errors[i].client), first;
		/* 8 bytes of transport header are all that a router must quote */
		uint32_t quotes[] = {errors[i].header + 8, errors[i].header + 20,
				     client.length - PACKET_L3};
		struct xdp_result flow, result;

		syn.flags = SYN;
		syn.extensions = NULL;
		first = packet_build(&syn);
		flow = xdp_edge_send(&edge, &first);
		assert_int_not_equal(flow.backend, 0);
		xdp_edge_set_region(&edge, flow.region, edge_drain);
		for (unsigned q = 0; q < ARRAY_SIZE(quotes); q++) {
			struct packet error = error_about(&client, errors[i].type, errors[i].code,
							  1400, quotes[q]);
			struct packet want;

			result = expect(errors[i].name, &error, GS_REASON_tx_icmp);
			assert_int_equal(result.action, XDP_TX);
			assert_int_equal(result.service, flow.service);
			assert_int_equal(result.backend, flow.backend);
			want = edge_expect_frame(&error, flow.backend);
			edge_expect_bytes(errors[i].name, &result.out, &want);
			packet_case();
		}
		xdp_edge_set_region(&edge, flow.region, edge_up);
	}
}

/* Of a flow the table has never seen (another edge's, another queue's): the same decision. */
static void errors_about_unknown_flows_follow_the_decision(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		struct packet_spec spec = errors[i].client;
		struct packet client, answered, error;
		struct xdp_result result, flow;

		spec.flags = SYN;
		spec.sport = (uint16_t)(2000 + i);
		answered = packet_build(&spec);
		spec.extensions = NULL;
		client = packet_build(&spec);
		error = error_about(&answered, errors[i].type, errors[i].code, 1400,
				    errors[i].header + 8);
		result = expect(errors[i].name, &error, GS_REASON_tx_icmp);
		/* no flow was opened by it */
		flow = xdp_edge_send(&edge, &client);
		assert_int_equal(flow.reason, GS_REASON_tx_new);
		assert_int_equal(flow.backend, result.backend);
		packet_case();
	}
}

static void errors_prove_no_flow(void **state)
{
	struct packet syn = packet_build(&(struct packet_spec){.flags = SYN, .sport = 4711});
	struct packet error = error_about(&syn, 3, 4, 1400, 28);
	struct gs_flow_bucket before, after;
	(void)state;

	xdp_edge_forget(&edge);
	xdp_edge_send(&edge, &syn);
	for (uint32_t bucket = 0; bucket < EDGE_FLOW_BUCKETS; bucket++) {
		xdp_edge_get(&edge, GS_MAP_FLOWS, &bucket, &before);
		if (bucket == 0)
			expect("an error", &error, GS_REASON_tx_icmp);
		xdp_edge_get(&edge, GS_MAP_FLOWS, &bucket, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		for (uint32_t way = 0; way < GS_FLOW_WAYS; way++)
			assert_int_equal(after.entry[way].seen & GS_FLOW_PROVEN, 0);
	}
}

static void errors_take_no_trial(void **state)
{
	struct packet client = packet_build(&(struct packet_spec){.flags = SYN, .sport = 4712});
	struct packet error = error_about(&client, 3, 4, 1400, 28);
	uint32_t pool = SERVICE_WEB4 * GS_MAX_REGIONS + 1;
	struct gs_trial_value trial = {.epoch = 3, .left = 5};
	(void)state;

	xdp_edge_set(&edge, GS_MAP_TRIALS, &pool, &trial);
	xdp_edge_set_pool(
		&edge, SERVICE_WEB4, 1,
		(struct gs_usable_word){.state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = 3});
	assert_int_not_equal(expect("an error", &error, GS_REASON_tx_icmp).region, 1);
	xdp_edge_get(&edge, GS_MAP_TRIALS, &pool, &trial);
	assert_int_equal(trial.left, 5);
}

/* What is not about a flow of a service of ours is the kernel's. */
static void other_errors_pass(void **state)
{
	static const struct packet_spec clients[] = {
		{.dport = 81, .payload = 100},		    /* no service there */
		{.protocol = IPPROTO_UDP, .payload = 100},  /* nor of this protocol */
		{.protocol = IPPROTO_SCTP, .payload = 100}, /* neither TCP nor UDP */
		{.family = 6, .dport = 81, .payload = 100}, /* the same */
		{.family = 6, .dport = 81, .extensions = "h", .payload = 100},
		{.family = 6, .protocol = IPPROTO_SCTP, .extensions = "h", .payload = 100},
		{.family = 6, .extensions = "hdrdada", .payload = 100}, /* one too many */
		{.fragment = 0x00b9, .payload = 100}, /* a later fragment: no ports */
		{.family = 6, .extensions = "l", .payload = 100},
		{.family = 6, .extensions = "hld", .payload = 100},
		{.family = 6, .src = "::ffff:192.0.2.1", .payload = 100}, /* not for the wire */
	};
	struct packet client = packet_build(&(struct packet_spec){.payload = 100}), error;
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		struct packet other = packet_build(&clients[i]);

		error = error_about(&other, clients[i].family == 6 ? 1 : 3, 1, 0,
				    other.length - PACKET_L3);
		expect("no service of ours", &error, GS_REASON_pass_protocol);
		packet_case();
	}
	/* from us to somebody, says the outer header; from somebody else, says the quote */
	for (int family = 4; family <= 6; family += 2) {
		struct packet_spec spec = {.family = (uint8_t)family,
					   .dst = family == 6 ? "2001:db8:100::99"
							      : "198.51.100.99",
					   .payload = 100};

		client = packet_build(&spec);
		error = error_about(&client, family == 6 ? 2 : 3, family == 6 ? 0 : 4, 1400, 60);
		expect("another's answer", &error, GS_REASON_pass_protocol);
	}
	client = packet_build(&(struct packet_spec){.payload = 100});
	error = error_about(&client, 5, 1, 0, 60);
	expect("a redirect", &error, GS_REASON_pass_protocol);
	error = error_about(&client, 4, 0, 0, 60);
	expect("a source quench", &error, GS_REASON_pass_protocol);
	client = packet_build(&(struct packet_spec){.family = 6, .payload = 100});
	error = error_about(&client, 137, 0, 0, 60);
	expect("an IPv6 redirect", &error, GS_REASON_pass_protocol);
	error = error_about(&client, 134, 0, 0, 60);
	expect("a router advertisement", &error, GS_REASON_pass_protocol);
}

/* Of the IP packet, by its own header. */
static void set_length(struct packet *packet, uint32_t length)
{
	uint8_t *ip = packet->bytes + PACKET_L3;

	if (ip[0] >> 4 == 6) {
		packet_put16(ip + 4, (uint16_t)(length - 40));
		return;
	}
	packet_put16(ip + 2, (uint16_t)length);
	packet_fix_ip4(packet);
}

/* Every length of quote and of frame: forwarded only if the ports can be read. */
static void cut_errors_pass(void **state)
{
	static const struct packet_spec clients[] = {
		{.payload = 30},
		{.ip_options = 8, .payload = 30},
		{.family = 6, .payload = 30},
		{.family = 6, .extensions = "hafd", .payload = 30}};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		struct packet client = packet_build(&clients[i]);
		uint32_t header = client.l4 - PACKET_L3;
		uint8_t type = clients[i].family == 6 ? 2 : 3;

		for (uint32_t quoted = 0; quoted < header + 30; quoted++) {
			struct packet error = error_about(&client, type, 0, 1400, quoted);

			expect("cut quote", &error,
			       quoted >= header + 4 ? GS_REASON_tx_icmp : GS_REASON_pass_protocol);
			/* the rest of it behind the packet's own end */
			error = error_about(&client, type, 0, 1400, header + 30);
			set_length(&error, error.l4 - PACKET_L3 + 8 + quoted);
			expect("cut quote, whole frame", &error,
			       quoted >= header + 4 ? GS_REASON_tx_icmp : GS_REASON_pass_protocol);
		}
		for (uint32_t length = PACKET_L3 + (clients[i].family == 6 ? 40u : 20u);
		     length < client.length; length++) {
			struct packet error = error_about(&client, type, 0, 1400, header + 8);

			if (length >= error.length)
				break;
			error.length = length;
			expect("cut frame", &error, GS_REASON_pass_protocol);
		}
		packet_case();
	}
}

/* A header of the quote that contradicts itself. */
static void malformed_quotes_pass(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t value;
	} patches[] = {{0, 0x65}, {0, 0x44}, {0, 0x4f}, {6, 0x00}, {9, 50}, {12, 1}};
	struct packet client = packet_build(&(struct packet_spec){.payload = 2});
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(patches); i++) {
		struct packet error = error_about(&client, 3, 4, 1400, 28);

		error.bytes[error.l4 + 8 + patches[i].at] = patches[i].value;
		expect("malformed quote", &error,
		       patches[i].at == 6 ? GS_REASON_tx_icmp : GS_REASON_pass_protocol);
		packet_case();
	}
}

/* ---- echo ------------------------------------------------------------------------------------ */

static const uint8_t ping[56] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff, 0xfe};

static void echo_is_answered(void **state)
{
	static const struct packet_icmp requests[] = {
		{.src = "192.0.2.9", .dst = VIP4, .type = 8, .rest = 0xbeef0001},
		{.src = "192.0.2.9", .dst = VIP4, .type = 8, .rest = 0xffffffff, .ip_options = 12},
		{.src = "192.0.2.9", .dst = VIP4, .type = 8, .ttl = 64},
		{.src = "192.0.2.9", .dst = VIP4, .type = 8, .ttl = 1, .ds = 0xb8},
		{.src = "2001:db8:1::9", .dst = VIP6, .type = 128, .rest = 0xbeef0001},
		{.src = "2001:db8:1::9", .dst = VIP6, .type = 128, .ttl = 1},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
		for (uint32_t bytes = 0; bytes <= sizeof(ping); bytes += 7) {
			struct packet_icmp request = requests[i], reply;
			struct packet packet, want;
			struct xdp_result result;

			request.bytes = ping;
			request.length = bytes;
			packet = packet_icmp(&request);
			reply = request;
			reply.src = request.dst;
			reply.dst = request.src;
			reply.type = request.type == 8 ? 0 : 129;
			reply.ttl = 64;
			want = packet_icmp(&reply);
			memcpy(want.bytes, packet.bytes + 6, 6);
			memcpy(want.bytes + 6, packet.bytes, 6);
			if (packet_get16(want.bytes + want.l4 + 2) == 0)
				packet_put16(want.bytes + want.l4 + 2, 0xffff);
			result = expect("echo", &packet, GS_REASON_tx_echo);
			assert_int_equal(result.action, XDP_TX);
			assert_int_equal(result.backend, 0);
			edge_expect_bytes("echo", &result.out, &want);
		}
}

/* To whom it is not for, what it is not. */
static void other_echoes_pass(void **state)
{
	static const struct packet_icmp others[] = {
		{.src = "192.0.2.9", .dst = "198.51.100.99", .type = 8},
		{.src = "192.0.2.9", .dst = VIP4, .type = 0},
		{.src = "192.0.2.9", .dst = VIP4, .type = 8, .code = 1},
		{.src = "192.0.2.9", .dst = VIP4, .type = 13},
		{.src = "2001:db8:1::9", .dst = "2001:db8:100::99", .type = 128},
		{.src = "2001:db8:1::9", .dst = VIP6, .type = 129},
		{.src = "2001:db8:1::9", .dst = VIP6, .type = 128, .code = 1},
		{.src = "2001:db8:1::9", .dst = VIP6, .type = 135},
	};
	struct packet packet;
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		packet = packet_icmp(&others[i]);
		expect("no echo of ours", &packet, GS_REASON_pass_protocol);
		packet_case();
	}
	packet = packet_icmp(&(struct packet_icmp){
		.src = "192.0.2.9", .dst = VIP4, .type = 8, .bytes = ping, .length = 40});
	packet_put16(packet.bytes + PACKET_L3 + 6, 0x2000);
	packet_fix_ip4(&packet);
	expect("a fragment", &packet, GS_REASON_pass_protocol);
	/* as the maps have an IPv4 VIP, but in IPv6 */
	packet = packet_icmp(
		&(struct packet_icmp){.src = "2001:db8:1::9", .dst = "::ffff:" VIP4, .type = 128});
	expect("to a mapped VIP", &packet, GS_REASON_drop_bad_ip);
	packet = packet_icmp(
		&(struct packet_icmp){.src = "::ffff:192.0.2.9", .dst = VIP6, .type = 128});
	expect("from a mapped address", &packet, GS_REASON_drop_bad_ip);
}

static struct packet echo_from(const char *src)
{
	bool is_v6 = strchr(src, ':') != NULL;

	return packet_icmp(&(struct packet_icmp){
		.src = src, .dst = is_v6 ? VIP6 : VIP4, .type = is_v6 ? 128 : 8});
}

/* A flood is answered as far as its prefix's limit goes; it recovers. */
static void answers_are_limited(void **state)
{
	const uint64_t who = edge_asker("192.0.2.9");
	struct packet packet = echo_from("192.0.2.9");
	uint32_t answered = 0, dropped = 0;
	uint32_t word = gs_answer_word(GS_ANSWER_ECHO, who, xdp_edge_meta(&edge).table_seed);
	uint64_t times[1024];
	(void)state;

	for (int i = 0; i < 200000 && dropped == 0; i++) {
		struct xdp_result result = xdp_edge_send(&edge, &packet);

		if (result.reason == GS_REASON_tx_echo)
			answered++;
		else if (result.reason == GS_REASON_drop_answer_limit)
			dropped++;
		else
			fail_msg("%s", edge_reason_name(result.reason));
		/* as if no time passed: what one answer pays comes back at once otherwise */
		xdp_edge_get(&edge, GS_MAP_ANSWERS, &word, times);
		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
			times[cpu] += times[cpu] ? 100000000 : 0;
		xdp_edge_set(&edge, GS_MAP_ANSWERS, &word, times);
	}
	assert_int_equal(dropped, 1);
	assert_in_range(answered, 4, GS_ANSWER_CELL_BURST);
	xdp_edge_set_answers(&edge, GS_ANSWER_ECHO, who, 0);
	expect("later", &packet, GS_REASON_tx_echo);
}

/* Who floods loses its own answers; beyond what the edge answers at all nobody gets any. */
static void one_prefix_uses_up_its_own_answers(void **state)
{
	static const struct {
		const char *src;
		bool is_flooder;
	} askers[] = {
		{"192.0.2.9", true},	  {"192.0.2.250", true},   {"192.0.3.9", false},
		{"203.0.113.9", false},	  {"2001:db8:1::9", true}, {"2001:db8:1:ff::1", true},
		{"2001:db8:2::9", false},
	};
	const uint64_t never = UINT64_MAX >> 1;
	(void)state;

	for (int is_full = 0; is_full < 2; is_full++) {
		xdp_edge_set_answers(&edge, GS_ANSWER_ECHO, edge_asker("192.0.2.9"), never);
		xdp_edge_set_answers(&edge, GS_ANSWER_ECHO, edge_asker("2001:db8:1::9"), never);
		xdp_edge_set_answers(&edge, GS_ANSWER_ECHO, 0, is_full ? never : 0);
		for (unsigned i = 0; i < ARRAY_SIZE(askers); i++) {
			struct packet packet = echo_from(askers[i].src);
			bool is_dropped = is_full || askers[i].is_flooder;

			expect(askers[i].src, &packet,
			       is_dropped ? GS_REASON_drop_answer_limit : GS_REASON_tx_echo);
			packet_case();
		}
	}
	/* another kind has limits of its own */
	struct packet large = packet_build(
		&(struct packet_spec){.src = "192.0.2.9", .fragment = 0x4000, .payload = 1460});

	expect("too big", &large, GS_REASON_tx_too_big);
}

/* Sources that are no single host's get no answer, and nothing else either. */
static void nobody_is_answered(void **state)
{
	static const struct {
		const char *src;
		bool is_martian;
	} sources[] = {
		{"0.0.0.0", true},
		{"0.255.255.255", true},
		{"1.0.0.0", false},
		{"126.255.255.255", false},
		{"127.0.0.1", true},
		{"127.255.255.255", true},
		{"128.0.0.0", false},
		{"223.255.255.255", false},
		{"224.0.0.1", true},
		{"239.255.255.255", true},
		{"240.0.0.1", false},
		{"255.255.255.254", false},
		{"255.255.255.255", true},
		{VIP4, true},
		{"198.51.100.9", false},
		{"::", true},
		{"::1", true},
		{"::2", false},
		{"ff02::1", true},
		{"ff0e::1:2", true},
		{"feff::1", false},
		{"fe80::1", false},
		{VIP6, true},
		{"2001:db8:100::11", false},
		{"1::", false},
		{"0:0:1::1", false},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++) {
		const char *src = sources[i].src;
		uint8_t family = strchr(src, ':') ? 6 : 4;
		struct packet echo = echo_from(src);
		struct packet large = packet_build(&(struct packet_spec){
			.family = family, .src = src, .fragment = 0x4000, .payload = 1460});
		struct packet small = packet_build(&(struct packet_spec){
			.family = family, .src = src, .sport = 40001, .flags = SYN});
		struct packet error = error_about(&small, family == 6 ? 1 : 3, 1, 0, 60);
		struct packet elsewhere = packet_build(&(struct packet_spec){
			.family = family, .src = src, .flags = SYN, .dport = 81});
		bool is_martian = sources[i].is_martian;

		expect(src, &echo, is_martian ? GS_REASON_drop_martian : GS_REASON_tx_echo);
		expect(src, &large, is_martian ? GS_REASON_drop_martian : GS_REASON_tx_too_big);
		expect(src, &small, is_martian ? GS_REASON_drop_martian : GS_REASON_tx_new);
		/* whom an error quotes: nothing of ours went there */
		expect(src, &error, is_martian ? GS_REASON_drop_martian : GS_REASON_tx_icmp);
		/* what is for no service is the kernel's to judge */
		expect(src, &elsewhere, GS_REASON_pass_not_service);
		packet_case();
	}
}

/* ---- too big --------------------------------------------------------------------------------- */

static void the_sender_is_told_what_fits(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec spec;
		uint32_t outer, quote;
	} rows[] = {
		{"4 in 4", {.flags = SYN, .fragment = 0x4000, .payload = 1460}, 20, 68},
		{"options", {.fragment = 0x4000, .payload = 1430, .ip_options = 40}, 20, 68},
		{"4 in 6",
		 {.flags = SYN, .fragment = 0x4000, .payload = 1460, .src = "203.0.113.200"},
		 40,
		 68},
		{"UDP",
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x4000, .payload = 1472},
		 20,
		 68},
		{"6 in 4", {.family = 6, .flags = SYN, .payload = 1440}, 20, 128},
		{"6 in 6", {.family = 6, .payload = 1440, .src = "2001:db8:3::9"}, 40, 128},
		{"headers", {.family = 6, .payload = 1400, .extensions = "hdr"}, 20, 128},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet packet = packet_build(&rows[i].spec), want;
		bool is_v6 = rows[i].spec.family == 6;
		struct xdp_result result;

		want = packet_icmp(&(struct packet_icmp){
			.src = is_v6 ? VIP6 : VIP4,
			.dst = rows[i].spec.src ? rows[i].spec.src
						: (is_v6 ? "2001:db8:1::1" : "192.0.2.1"),
			.type = is_v6 ? 2 : 3,
			.code = is_v6 ? 0 : 4,
			.rest = 1500 - rows[i].outer,
			.bytes = packet.bytes + PACKET_L3,
			.length = rows[i].quote,
			.ds = 0xc0,
			.ttl = 64,
		});
		memcpy(want.bytes, packet.bytes + 6, 6);
		memcpy(want.bytes + 6, packet.bytes, 6);
		/* what no test of ours chooses: id, flags, flow label */
		if (is_v6) {
			want.bytes[PACKET_L3 + 1] &= 0xf0;
			packet_put16(want.bytes + PACKET_L3 + 2, 0);
		} else {
			packet_put16(want.bytes + PACKET_L3 + 4, 0);
			packet_put16(want.bytes + PACKET_L3 + 6, 0x4000);
			packet_fix_ip4(&want);
		}
		result = expect(rows[i].name, &packet, GS_REASON_tx_too_big);
		assert_int_equal(result.action, XDP_TX);
		assert_int_equal(result.backend, 0);
		edge_expect_bytes(rows[i].name, &result.out, &want);
		packet_case();
	}
}

/* Nobody is told of an error by an error: whom it quotes need not have sent anything (RFC 1122). */
static void errors_are_never_answered(void **state)
{
	static const struct packet_spec clients[] = {
		{.fragment = 0x4000, .payload = 1440},
		{.family = 6, .payload = 1400},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		struct packet client = packet_build(&clients[i]);
		bool is_v6 = clients[i].family == 6;
		struct packet error = error_about(&client, is_v6 ? 1 : 3, is_v6 ? 0 : 1, 0,
						  client.length - PACKET_L3);

		expect("a large error", &error, GS_REASON_drop_too_big);
		packet_case();
	}
}

/* In IPv4 of a datagram's pieces only the first is told of (RFC 1122); in IPv6 all are. */
static void later_fragments_are_not_told(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec first, piece;
		enum gs_reason reason;
	} rows[] = {
		{"the first one, with DF",
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x6000, .payload = 64},
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x6000, .payload = 1472},
		 GS_REASON_tx_too_big},
		{"a later one, with DF",
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x6000, .payload = 64},
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x40b9, .payload = 1472},
		 GS_REASON_drop_too_big},
		{"a later one, without",
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x2000, .payload = 64},
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x00b9, .payload = 1472},
		 GS_REASON_drop_would_fragment},
		{"a later one, small enough",
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x6000, .payload = 64},
		 {.protocol = IPPROTO_UDP, .dport = 53, .fragment = 0x40b9, .payload = 64},
		 GS_REASON_tx_fragment},
		{"a later one of IPv6",
		 {.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .extensions = "f"},
		 {.family = 6,
		  .protocol = IPPROTO_UDP,
		  .dport = 53,
		  .extensions = "l",
		  .payload = 1440},
		 GS_REASON_tx_too_big},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet first = packet_build(&rows[i].first);
		struct packet piece = packet_build(&rows[i].piece);

		assert_int_equal(xdp_edge_send(&edge, &first).action, XDP_TX);
		expect(rows[i].name, &piece, rows[i].reason);
		packet_case();
	}
}

/* Beyond the limit it is dropped, and says so: the sender's prefix's, and that of all. */
static void too_big_is_limited(void **state)
{
	struct packet packet = packet_build(
		&(struct packet_spec){.flags = SYN, .fragment = 0x4000, .payload = 1460});
	struct packet other = packet_build(&(struct packet_spec){
		.flags = SYN, .fragment = 0x4000, .payload = 1460, .src = "203.0.113.9"});
	const uint64_t who = edge_asker("192.0.2.1"), never = UINT64_MAX >> 1;
	(void)state;

	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, who, never);
	expect("at its limit", &packet, GS_REASON_drop_too_big);
	expect("another prefix", &other, GS_REASON_tx_too_big);
	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, who, 0);
	expect("below it", &packet, GS_REASON_tx_too_big);
	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, 0, never);
	expect("at that of all", &packet, GS_REASON_drop_too_big);
	expect("and another prefix", &other, GS_REASON_drop_too_big);
	xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, 0, 0);
	expect("below both", &packet, GS_REASON_tx_too_big);
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

#define ICMP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ICMP_TEST(errors_reach_the_flows_backend),
		ICMP_TEST(errors_about_unknown_flows_follow_the_decision),
		ICMP_TEST(errors_prove_no_flow),
		ICMP_TEST(errors_take_no_trial),
		ICMP_TEST(other_errors_pass),
		ICMP_TEST(cut_errors_pass),
		ICMP_TEST(malformed_quotes_pass),
		ICMP_TEST(echo_is_answered),
		ICMP_TEST(other_echoes_pass),
		ICMP_TEST(answers_are_limited),
		ICMP_TEST(one_prefix_uses_up_its_own_answers),
		ICMP_TEST(nobody_is_answered),
		ICMP_TEST(the_sender_is_told_what_fits),
		ICMP_TEST(errors_are_never_answered),
		ICMP_TEST(later_fragments_are_not_told),
		ICMP_TEST(too_big_is_limited),
	};

	return cmocka_run_group_tests_name("icmp", tests, NULL, NULL);
}
