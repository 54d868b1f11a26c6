/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Who has this VIP?" on the link: ARP requests and neighbour solicitations for on-link VIPs are
 * answered by the edge itself, byte for byte as RFC 826 and RFC 4861 have it; everything else is
 * the kernel's.
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
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define VIP4 "198.51.100.10"
#define VIP6 "2001:db8:100::10"
#define OFF_LINK4 "198.51.100.11"
#define ASKER4 "198.51.100.200"
#define ASKER6 "2001:db8:100::c8"
#define ALL_NODES "ff02::1"

enum { ARP = PACKET_L3, ND = PACKET_L3 + 40, CPUS_MAX = 1024 };

static struct xdp_edge edge;
static const uint8_t own[6] = {0x02, 0xed, 0x9e, 0, 0, 1};
static const uint8_t asker[6] = {0x02, 0xc1, 0x1e, 0, 0, 0x2a};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t stranger[6] = {0x02, 0x99, 0x99, 0, 0, 9};

/* ---- frames ---------------------------------------------------------------------------------- */

static void put_addr4(uint8_t *at, const char *text)
{
	uint8_t addr[16];

	packet_addr(text, addr);
	memcpy(at, addr + 12, 4);
}

struct arp_spec {
	uint16_t operation;	     /* 0: 1, a request */
	const uint8_t *to;	     /* NULL: everybody */
	const char *sender, *target; /* NULL: ASKER4, VIP4 */
	const uint8_t *sender_mac;   /* NULL: asker */
	const uint8_t *target_mac;   /* NULL: zeroes */
	uint16_t hardware, protocol; /* 0: Ethernet, IPv4 */
	uint8_t hardware_size, size; /* 0: 6, 4 */
	const uint8_t *from;	     /* of the frame; NULL: asker */
};

static struct packet arp_build(const struct arp_spec *spec)
{
	struct packet out = {.length = 60}; /* as short frames are padded */
	uint8_t *arp = out.bytes + ARP;

	memcpy(out.bytes, spec->to ? spec->to : everybody, 6);
	memcpy(out.bytes + 6, spec->from ? spec->from : asker, 6);
	packet_put16(out.bytes + 12, 0x0806);
	packet_put16(arp, spec->hardware ? spec->hardware : 1);
	packet_put16(arp + 2, spec->protocol ? spec->protocol : 0x0800);
	arp[4] = spec->hardware_size ? spec->hardware_size : 6;
	arp[5] = spec->size ? spec->size : 4;
	packet_put16(arp + 6, spec->operation ? spec->operation : 1);
	memcpy(arp + 8, spec->sender_mac ? spec->sender_mac : asker, 6);
	put_addr4(arp + 14, spec->sender ? spec->sender : ASKER4);
	if (spec->target_mac)
		memcpy(arp + 18, spec->target_mac, 6);
	put_addr4(arp + 24, spec->target ? spec->target : VIP4);
	return out;
}

struct nd_spec {
	uint8_t type, code, hops; /* 0: 135, 0, 255; code 0 */
	const char *src, *dst;	  /* NULL: ASKER6; the target's solicited-node group */
	const char *target;	  /* NULL: VIP6 */
	const uint8_t *to;	  /* NULL: the group's */
	const uint8_t *options;
	uint8_t option_bytes;
	uint8_t reserved; /* of the header, its last byte */
};

static struct packet nd_build(const struct nd_spec *spec)
{
	uint8_t body[16 + 64], target[16];
	char group[64];
	struct packet out;

	packet_addr(spec->target ? spec->target : VIP6, target);
	memcpy(body, target, 16);
	if (spec->option_bytes)
		memcpy(body + 16, spec->options, spec->option_bytes);
	snprintf(group, sizeof(group), "ff02::1:ff%02x:%02x%02x", target[13], target[14],
		 target[15]);
	out = packet_icmp(&(struct packet_icmp){
		.src = spec->src ? spec->src : ASKER6,
		.dst = spec->dst ? spec->dst : group,
		.type = spec->type ? spec->type : 135,
		.code = spec->code,
		.rest = spec->reserved,
		.bytes = body,
		.length = 16u + spec->option_bytes,
		.ttl = spec->hops ? spec->hops : 255,
	});
	memcpy(out.bytes, "\x33\x33\xff", 3);
	memcpy(out.bytes + 3, target + 13, 3);
	if (spec->to)
		memcpy(out.bytes, spec->to, 6);
	memcpy(out.bytes + 6, asker, 6);
	return out;
}

/* What RFC 4861 has the edge say of VIP6; by packet_icmp, not by the code under test. */
static struct packet advert(const char *to, const uint8_t *to_mac, uint32_t flags)
{
	uint8_t body[24];
	struct packet out;

	packet_addr(VIP6, body);
	body[16] = 2;
	body[17] = 1;
	memcpy(body + 18, own, 6);
	out = packet_icmp(&(struct packet_icmp){.src = VIP6,
						.dst = to,
						.type = 136,
						.rest = flags,
						.bytes = body,
						.length = sizeof(body),
						.ds = 0xc0,
						.ttl = 255});
	out.bytes[15] &= 0xf0; /* no flow label */
	packet_put16(out.bytes + 16, 0);
	memcpy(out.bytes, to_mac, 6);
	memcpy(out.bytes + 6, own, 6);
	return out;
}

/* ---- the edge -------------------------------------------------------------------------------- */

static void set_link(uint16_t flags)
{
	uint32_t ifindex = if_nametoindex("lo"); /* where test runs come in */
	struct gs_own_mac_value link = {.flags = flags};

	memcpy(link.mac, own, 6);
	xdp_edge_set(&edge, GS_MAP_OWN_MACS, &ifindex, &link);
}

static void set_address(const char *vip, const struct gs_service_value *value)
{
	struct gs_service_key key = {.marker = 1};

	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, value);
}

static const struct gs_service_value on_link = {.flags = GS_SERVICE_ON_LINK};

static struct xdp_result expect(const char *name, const struct packet *packet, enum gs_reason want)
{
	return xdp_edge_expect(&edge, name, packet, want);
}

/* ---- ARP ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct arp_spec ask;
} arp_answered[] = {
	{"broadcast", {0}},
	{"to the edge itself", {.to = own}},
	{"a probe (RFC 5227)", {.sender = "0.0.0.0"}},
	{"sent for another", {.sender_mac = stranger}},
	{"a target MAC is told", {.target_mac = stranger}},
};

static void arp_requests_are_answered(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(arp_answered); i++) {
		const struct arp_spec *ask = &arp_answered[i].ask;
		const uint8_t *mac = ask->sender_mac ? ask->sender_mac : asker;
		struct packet packet = arp_build(ask);
		struct packet want = arp_build(&(struct arp_spec){
			.operation = 2,
			.to = mac,
			.from = own,
			.sender = VIP4,
			.sender_mac = own,
			.target = ask->sender ? ask->sender : ASKER4,
			.target_mac = mac,
		});
		struct xdp_result result = expect(arp_answered[i].name, &packet, GS_REASON_tx_arp);

		assert_int_equal(result.action, XDP_TX);
		assert_int_equal(result.service, 0);
		edge_expect_bytes(arp_answered[i].name, &result.out, &want);
	}
}

static const struct {
	const char *name;
	struct arp_spec ask;
	enum gs_reason reason;
} arp_passed[] = {
	{"another target", {.target = ASKER4, .sender = VIP4}, GS_REASON_pass_group_mac},
	{"a VIP that is not on this link", {.target = OFF_LINK4}, GS_REASON_pass_group_mac},
	{"to the edge, another target",
	 {.to = own, .target = "198.51.100.1"},
	 GS_REASON_pass_not_ip},
	{"to somebody else", {.to = stranger}, GS_REASON_pass_not_ip},
	{"a reply", {.operation = 2}, GS_REASON_pass_group_mac},
	{"a gratuitous request", {.sender = VIP4}, GS_REASON_pass_group_mac},
	{"a gratuitous reply", {.operation = 2, .sender = VIP4}, GS_REASON_pass_group_mac},
	{"RARP's operation", {.operation = 3}, GS_REASON_pass_group_mac},
	{"InARP's operation", {.operation = 8}, GS_REASON_pass_group_mac},
	{"IEEE 802 hardware", {.hardware = 6}, GS_REASON_pass_group_mac},
	{"another protocol", {.protocol = 0x0806}, GS_REASON_pass_group_mac},
	{"8 bytes of hardware address", {.hardware_size = 8}, GS_REASON_pass_group_mac},
	{"16 bytes of protocol address", {.size = 16}, GS_REASON_pass_group_mac},
	{"from a group", {.sender_mac = everybody}, GS_REASON_pass_group_mac},
};

static void other_arp_passes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(arp_passed); i++) {
		struct packet packet = arp_build(&arp_passed[i].ask);

		expect(arp_passed[i].name, &packet, arp_passed[i].reason);
	}
}

static void cut_arp_passes(void **state)
{
	struct packet packet = arp_build(&(struct arp_spec){0});
	(void)state;

	for (uint32_t length = 14; length < ARP + 28; length++) {
		packet.length = length;
		expect("cut", &packet, GS_REASON_pass_group_mac);
	}
	packet.length = ARP + 28;
	expect("whole, not padded", &packet, GS_REASON_tx_arp);
}

/* ---- neighbour discovery --------------------------------------------------------------------- */

static const uint8_t source_option[] = {1, 1, 0x02, 0xc1, 0x1e, 0, 0, 0x2a};
static const uint8_t nonce_option[] = {14, 1, 1, 2, 3, 4, 5, 6};
static const uint8_t four_options[32] = {1, 1, 2, 0xc1, 0x1e, 0, 0, 0x2a, 14, 3, 7};
static const uint8_t five_options[40] = {1, 1, 2, 0xc1, 0x1e, 0, 0, 0x2a, 14, 4, 7};
static const uint8_t empty_option[8] = {1, 0};
static const uint8_t long_option[8] = {1, 2};
static const uint8_t hidden_source[16] = {14, 1, 0, 0, 0, 0, 0, 0, 1, 1};

#define OPTIONS(bytes) .options = (bytes), .option_bytes = sizeof(bytes)

static const struct {
	const char *name;
	struct nd_spec ask;
	uint8_t is_probe;
} nd_answered[] = {
	{"as Linux asks", {OPTIONS(source_option)}, 0},
	{"without an option", {.reserved = 0}, 0},
	{"is it still there (unicast)", {.dst = VIP6, .to = own, OPTIONS(source_option)}, 0},
	{"unicast without an option", {.dst = VIP6, .to = own}, 0},
	{"four units of options", {OPTIONS(four_options)}, 0},
	{"reserved bits", {.reserved = 7, OPTIONS(source_option)}, 0},
	{"from a link-local address", {.src = "fe80::2a", OPTIONS(source_option)}, 0},
	{"duplicate address detection", {.src = "::"}, 1},
	{"the same, enhanced (RFC 7527)", {.src = "::", OPTIONS(nonce_option)}, 1},
};

static void solicitations_are_answered(void **state)
{
	static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(nd_answered); i++) {
		const struct nd_spec *ask = &nd_answered[i].ask;
		struct packet packet = nd_build(ask);
		struct packet want =
			nd_answered[i].is_probe
				? advert(ALL_NODES, all_nodes, 0x20000000)
				: advert(ask->src ? ask->src : ASKER6, asker, 0x60000000);
		struct xdp_result result = expect(nd_answered[i].name, &packet, GS_REASON_tx_nd);

		assert_int_equal(result.action, XDP_TX);
		assert_int_equal(result.service, 0);
		edge_expect_bytes(nd_answered[i].name, &result.out, &want);
	}
}

static const struct {
	const char *name;
	struct nd_spec ask;
	enum gs_reason reason;
} nd_passed[] = {
	{"another target", {.target = "2001:db8:100::99"}, GS_REASON_pass_group_mac},
	{"a VIP that is not on this link",
	 {.target = "2001:db8:100::12"},
	 GS_REASON_pass_group_mac},
	{"from beyond a router", {.hops = 254}, GS_REASON_pass_group_mac},
	{"an advertisement", {.type = 136}, GS_REASON_pass_group_mac},
	{"a router's solicitation", {.type = 133}, GS_REASON_pass_group_mac},
	{"another code", {.code = 1}, GS_REASON_pass_group_mac},
	{"to all nodes", {.dst = ALL_NODES}, GS_REASON_pass_group_mac},
	{"to another group", {.dst = "ff02::1:ff00:11"}, GS_REASON_pass_group_mac},
	{"to a group of the site", {.dst = "ff05::1:ff00:10"}, GS_REASON_pass_group_mac},
	{"to another address", {.dst = "2001:db8:100::99", .to = own}, GS_REASON_pass_protocol},
	{"to somebody else", {.dst = VIP6, .to = stranger}, GS_REASON_pass_protocol},
	{"a multicast target", {.target = "ff02::10"}, GS_REASON_pass_group_mac},
	{"an IPv4 VIP, mapped", {.target = "::ffff:" VIP4}, GS_REASON_pass_group_mac},
	{"from a mapped address", {.src = "::ffff:" ASKER4}, GS_REASON_pass_group_mac},
	{"from a group", {.src = "ff02::2"}, GS_REASON_pass_group_mac},
	{"a probe that tells its MAC",
	 {.src = "::", OPTIONS(source_option)},
	 GS_REASON_pass_group_mac},
	{"the same behind another option",
	 {.src = "::", OPTIONS(hidden_source)},
	 GS_REASON_pass_group_mac},
	{"a probe to one address", {.src = "::", .dst = VIP6, .to = own}, GS_REASON_pass_protocol},
	{"an option of no length", {OPTIONS(empty_option)}, GS_REASON_pass_group_mac},
	{"an option longer than all", {OPTIONS(long_option)}, GS_REASON_pass_group_mac},
	{"five units of options", {OPTIONS(five_options)}, GS_REASON_pass_group_mac},
	{"half a unit of options",
	 {.options = source_option, .option_bytes = 4},
	 GS_REASON_pass_group_mac},
};

static void other_solicitations_pass(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(nd_passed); i++) {
		struct packet packet = nd_build(&nd_passed[i].ask);

		expect(nd_passed[i].name, &packet, nd_passed[i].reason);
	}
}

static void solicitations_with_wrong_sums_pass(void **state)
{
	struct packet packet = nd_build(&(struct nd_spec){OPTIONS(source_option)});
	(void)state;

	for (uint32_t at = ND; at < packet.length; at++) {
		struct packet bad = packet;

		bad.bytes[at] ^= 0x10;
		expect("one bit is wrong", &bad, GS_REASON_pass_group_mac);
	}
}

static void cut_solicitations_pass(void **state)
{
	struct packet packet = nd_build(&(struct nd_spec){OPTIONS(source_option)});
	uint32_t whole = packet.length;
	(void)state;

	for (uint32_t length = 14; length < whole; length++) {
		packet.length = length;
		expect("cut", &packet, GS_REASON_pass_group_mac);
	}
	packet.length = whole + 7; /* a trailer of the link's */
	expect("padded", &packet, GS_REASON_tx_nd);
}

/* ---- when the edge does not answer ----------------------------------------------------------- */

static void expect_both(const char *name, int answered)
{
	struct packet arp = arp_build(&(struct arp_spec){0});
	struct packet nd = nd_build(&(struct nd_spec){OPTIONS(source_option)});

	expect(name, &arp, answered ? GS_REASON_tx_arp : GS_REASON_pass_group_mac);
	expect(name, &nd, answered ? GS_REASON_tx_nd : GS_REASON_pass_group_mac);
}

static void a_drained_edge_is_silent(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){.flags = 2});
	(void)state;

	expect_both("not drained", 1);
	set_link(0);
	expect_both("drained", 0);
	/* What comes all the same is forwarded as ever. */
	expect("a packet", &packet, GS_REASON_tx_new);
	set_link(GS_OWN_MAC_ANSWERS);
	expect_both("no more", 1);
}

static void other_links_are_silent(void **state)
{
	uint32_t ifindex = if_nametoindex("lo");
	(void)state;

	assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_OWN_MACS), &ifindex), 0);
	expect_both("a link that is not known", 0);
}

static uint64_t neighbour(const uint8_t mac[6])
{
	uint64_t who = 0;

	memcpy(&who, mac, 6);
	return who;
}

/*
 * Beyond the limit the question is the kernel's, which is silent about what it has not; and only
 * what would be answered counts. One neighbour's questions cost no other one its answers.
 */
static void answers_are_limited(void **state)
{
	const uint64_t never = UINT64_MAX >> 1, who = neighbour(asker);
	struct packet arp = arp_build(&(struct arp_spec){0});
	struct packet nd = nd_build(&(struct nd_spec){.reserved = 0});
	struct packet other = arp_build(&(struct arp_spec){.target = OFF_LINK4});
	struct packet theirs = arp_build(&(struct arp_spec){
		.sender_mac = stranger, .from = stranger, .sender = "198.51.100.201"});
	(void)state;

	xdp_edge_set_answers(&edge, GS_ANSWER_NEIGHBOUR, who, never);
	expect("ARP at the limit", &arp, GS_REASON_pass_answer_limit);
	expect("a solicitation at the limit", &nd, GS_REASON_pass_answer_limit);
	expect("not ours", &other, GS_REASON_pass_group_mac);
	expect("another neighbour's", &theirs, GS_REASON_tx_arp);
	xdp_edge_set_answers(&edge, GS_ANSWER_NEIGHBOUR, who, 0);
	expect_both("below it", 1);
	xdp_edge_set_answers(&edge, GS_ANSWER_NEIGHBOUR, 0, never);
	expect("ARP at that of all", &arp, GS_REASON_pass_answer_limit);
	expect("a solicitation", &nd, GS_REASON_pass_answer_limit);
	expect("another neighbour's", &theirs, GS_REASON_pass_answer_limit);
	xdp_edge_set_answers(&edge, GS_ANSWER_NEIGHBOUR, 0, 0);
	expect_both("below both", 1);
}

/* A flood of questions from one neighbour. */
static void a_flood_of_questions_is_passed_on(void **state)
{
	struct packet arp = arp_build(&(struct arp_spec){0});
	uint32_t count[2] = {0};
	(void)state;

	for (uint32_t i = 0; i < 100000 && !count[1]; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = arp.bytes,
			    .data_size_in = arp.length, .repeat = 1);

		assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
		count[opts.retval == XDP_PASS]++;
	}
	assert_int_equal(count[1], 1);
	assert_in_range(count[0], GS_ANSWER_CELL_BURST, 99999);
}

/* ---- an edge whose controller is away -------------------------------------------------------- */

enum { AFTER_S = 10 };

/* ago_s: 0: no heartbeat yet */
static void set_heartbeat(uint64_t ago_s)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	meta.heartbeat_ns =
		ago_s ? ((uint64_t)now.tv_sec - ago_s) * 1000000000u + (uint64_t)now.tv_nsec : 0;
	xdp_edge_set_meta(&edge, &meta);
}

static void set_policy(const char *vip, uint16_t port, uint16_t service, uint8_t policy)
{
	struct gs_service_key key = {.port = htons(port), .protocol = IPPROTO_TCP};
	struct gs_service_value value = {
		.service = service, .stale = policy, .stale_after_s = AFTER_S};
	struct gs_service_value address = {
		.flags = GS_SERVICE_ON_LINK, .stale = policy, .stale_after_s = AFTER_S};

	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &value);
	set_address(vip, &address);
}

static void expect_stale(const char *name, enum gs_reason first, enum gs_reason known,
			 enum gs_reason echo)
{
	struct packet syn = packet_build(&(struct packet_spec){.flags = 2, .sport = 1234});
	struct packet data = packet_build(&(struct packet_spec){.sport = 1235});
	struct packet ping = packet_icmp(
		&(struct packet_icmp){.src = "192.0.2.1", .dst = VIP4, .type = 8, .rest = 7});
	struct xdp_result result;

	xdp_edge_forget(&edge);
	result = expect(name, &syn, first);
	assert_int_equal(result.service, SERVICE_WEB4);
	expect(name, &data, known == GS_REASON_tx_flow ? GS_REASON_tx_new : known);
	expect(name, &data, known);
	expect(name, &ping, echo);
}

/* The kernel gets all of a datagram, or nothing. */
static void a_stale_services_fragments_stay_together(void **state)
{
	struct packet first =
		packet_build(&(struct packet_spec){.flags = 0x02, .fragment = 0x2000});
	struct packet later =
		packet_build(&(struct packet_spec){.flags = 0x02, .fragment = 0x00b9});

	(void)state;
	xdp_edge_forget(&edge);
	set_policy(VIP4, 80, SERVICE_WEB4, GS_STALE_PASS);
	set_heartbeat(AFTER_S + 2);
	expect("first", &first, GS_REASON_pass_stale);
	expect("later", &later, GS_REASON_pass_stale);
	set_policy(VIP4, 80, SERVICE_WEB4, GS_STALE_KEEP);
}

static void packets_follow_the_stale_policy(void **state)
{
	static const struct {
		const char *name;
		uint8_t policy;
		uint64_t ago_s;
		enum gs_reason want; /* GS_REASON__COUNT: as ever */
	} rows[] = {
		{"drop, fresh", GS_STALE_DROP, 1, GS_REASON__COUNT},
		{"drop, almost", GS_STALE_DROP, AFTER_S - 2, GS_REASON__COUNT},
		{"drop, stale", GS_STALE_DROP, AFTER_S + 2, GS_REASON_drop_stale},
		{"drop, a day", GS_STALE_DROP, 86400, GS_REASON_drop_stale},
		{"drop, no heartbeat yet", GS_STALE_DROP, 0, GS_REASON__COUNT},
		{"pass, fresh", GS_STALE_PASS, 1, GS_REASON__COUNT},
		{"pass, stale", GS_STALE_PASS, AFTER_S + 2, GS_REASON_pass_stale},
		{"pass, no heartbeat yet", GS_STALE_PASS, 0, GS_REASON__COUNT},
		{"keep, a day", GS_STALE_KEEP, 86400, GS_REASON__COUNT},
		{"unknown policy", 77, 86400, GS_REASON__COUNT},
	};
	struct timespec now;
	(void)state;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool as_ever = rows[i].want == GS_REASON__COUNT;

		if (rows[i].ago_s >= (uint64_t)now.tv_sec) /* before this machine's clock began */
			continue;
		set_policy(VIP4, 80, SERVICE_WEB4, rows[i].policy);
		set_heartbeat(rows[i].ago_s);
		expect_stale(rows[i].name, as_ever ? GS_REASON_tx_new : rows[i].want,
			     as_ever ? GS_REASON_tx_flow : rows[i].want,
			     as_ever ? GS_REASON_tx_echo : rows[i].want);
	}
}

/* One service's policy is not another's. */
static void other_services_are_kept(void **state)
{
	struct packet other =
		packet_build(&(struct packet_spec){.flags = 2, .dst = OFF_LINK4, .dport = 443});
	(void)state;

	set_policy(VIP4, 80, SERVICE_WEB4, GS_STALE_DROP);
	set_heartbeat(AFTER_S + 2);
	expect("another service", &other, GS_REASON_tx_new);
}

static void a_stale_address_is_silent(void **state)
{
	(void)state;
	for (uint8_t policy = GS_STALE_PASS; policy <= GS_STALE_DROP; policy++) {
		struct gs_service_value address = {
			.flags = GS_SERVICE_ON_LINK, .stale = policy, .stale_after_s = AFTER_S};

		set_address(VIP4, &address);
		set_address(VIP6, &address);
		set_heartbeat(1);
		expect_both("fresh", 1);
		set_heartbeat(AFTER_S + 2);
		expect_both("stale", 0);
	}
	set_address(VIP4, &on_link);
	set_address(VIP6, &on_link);
	expect_both("an address that is kept", 1);
}

static int setup(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	set_link(GS_OWN_MAC_ANSWERS);
	set_address(VIP4, &on_link);
	set_address(VIP6, &on_link);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define ARP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ARP_TEST(arp_requests_are_answered),
		ARP_TEST(other_arp_passes),
		ARP_TEST(cut_arp_passes),
		ARP_TEST(solicitations_are_answered),
		ARP_TEST(other_solicitations_pass),
		ARP_TEST(solicitations_with_wrong_sums_pass),
		ARP_TEST(cut_solicitations_pass),
		ARP_TEST(a_drained_edge_is_silent),
		ARP_TEST(other_links_are_silent),
		ARP_TEST(answers_are_limited),
		ARP_TEST(a_flood_of_questions_is_passed_on),
		ARP_TEST(packets_follow_the_stale_policy),
		ARP_TEST(a_stale_services_fragments_stay_together),
		ARP_TEST(other_services_are_kept),
		ARP_TEST(a_stale_address_is_silent),
	};

	return cmocka_run_group_tests_name("arp", tests, NULL, NULL);
}
