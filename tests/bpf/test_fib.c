/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend without a next hop in the maps: the kernel's routes and neighbours of a namespace of
 * the test's own. And the sources of outer headers, its own and spread ones.
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
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYN 0x02
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static struct xdp_edge edge;

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* The hop of everything is this: mtu 0 is not resolved. */
static void set_hop(uint32_t id, const struct gs_hop_value *hop)
{
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, hop);
}

static void set_link(const char *name, const char *sender, uint32_t tag)
{
	uint32_t link = if_nametoindex(name);
	struct gs_link_value value = {.ifindex = if_nametoindex(sender), .tags = tag != 0};

	value.tag[0] = (struct gs_tag){.protocol = htons((uint16_t)(tag >> 16)),
				       .tci = htons((uint16_t)tag)};
	xdp_edge_set(&edge, GS_MAP_LINKS, &link, &value);
}

static struct xdp_result send_to(uint8_t family)
{
	struct packet packet = packet_build(&(struct packet_spec){
		.flags = SYN, .family = 4, .src = family == 6 ? "203.0.113.200" : "192.0.2.1"});

	xdp_edge_forget(&edge);
	return xdp_edge_send(&edge, &packet);
}

/* To a gateway there, whose MAC is known; of every backend. */
static void add_routes(void)
{
	run("ip route add default via 10.9.0.2 dev gs-out; "
	    "ip -6 route add default via fd09::2 dev gs-out; "
	    "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:99 dev gs-out nud permanent; "
	    "ip neigh replace fd09::2 lladdr 02:00:00:00:00:99 dev gs-out nud permanent");
}

static void the_kernel_knows(void **state)
{
	static const uint8_t families[] = {4, 6};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet in = packet_build(&(struct packet_spec){
			.flags = SYN, .src = families[i] == 6 ? "203.0.113.200" : "192.0.2.1"});
		struct xdp_result result;
		struct packet want;

		/* no route, no neighbour, no link the controller knows, all of it */
		assert_int_equal(send_to(families[i]).reason, GS_REASON_drop_no_route);
		add_routes();
		run("ip neigh flush dev gs-out nud all; ip neigh del 10.9.0.2 dev gs-out; "
		    "ip -6 neigh del fd09::2 dev gs-out; true");
		set_link("gs-out", "gs-out", 0);
		assert_int_equal(send_to(families[i]).reason, GS_REASON_drop_no_neighbour);
		add_routes();
		result = send_to(families[i]);
		assert_int_equal(result.reason, GS_REASON_tx_fib);
		assert_int_equal(result.action, XDP_REDIRECT);
		want = edge_expect_frame(&in, result.backend);
		memcpy(want.bytes, "\x02\0\0\0\0\x99", 6);
		memcpy(want.bytes + 6, "\x02\0\0\0\0\x11", 6);
		assert_int_equal(result.out.length, want.length);
		assert_memory_equal(result.out.bytes, want.bytes, want.length);
		run("ip route flush all; ip -6 route del default dev gs-out");
	}
}

/* A packet can only leave by what sends; and not larger than that takes. */
static void only_known_links(void **state)
{
	uint32_t link = if_nametoindex("gs-out");
	struct gs_link_value elsewhere;
	struct xdp_result result;
	static const uint32_t tag = 0x81006064;
	struct packet want;
	(void)state;

	add_routes();
	assert_int_equal(send_to(4).reason, GS_REASON_drop_no_hop);
	set_link("gs-out", "lo", tag); /* as if it were a VLAN */
	xdp_edge_get(&edge, GS_MAP_LINKS, &link, &elsewhere);
	assert_int_equal(elsewhere.tags, 1);
	result = send_to(4);
	assert_int_equal(result.reason, GS_REASON_tx_fib);
	assert_int_equal(result.action, XDP_TX); /* came in by it */
	want = packet_build(&(struct packet_spec){.flags = SYN});
	want = edge_expect_frame(&want, result.backend);
	memcpy(want.bytes, "\x02\0\0\0\0\x99\x02\0\0\0\0\x11", 12);
	want = packet_tag(&want, &tag, 1);
	assert_int_equal(result.out.length, want.length);
	assert_memory_equal(result.out.bytes, want.bytes, want.length);
}

/* In by a port of a bond, the kernel is asked for the bond, and by that it leaves. */
static void a_port_is_its_bond(void **state)
{
	const struct gs_own_mac_value port = {.bond = if_nametoindex("gs-out")};
	uint32_t lo = if_nametoindex("lo");
	struct xdp_result result;
	(void)state;

	add_routes();
	run("echo 0 >/proc/sys/net/ipv4/conf/lo/forwarding");
	assert_int_equal(send_to(4).reason, GS_REASON_drop_no_hop);
	xdp_edge_set(&edge, GS_MAP_OWN_MACS, &lo, &port);
	result = send_to(4);
	assert_int_equal(result.reason, GS_REASON_tx_fib);
	assert_int_equal(result.action, XDP_TX);
}

/* What the kernel says of it all when it may not forward, or will not. */
static void refused_for_a_reason(void **state)
{
	static const struct {
		const char *command;
		enum gs_reason want;
	} cases[] = {
		{"ip route replace blackhole default metric 1", GS_REASON_drop_no_route},
		{"ip route replace unreachable default metric 1", GS_REASON_drop_no_route},
		{"ip route replace prohibit default metric 1", GS_REASON_drop_no_route},
		{"ip route del prohibit default metric 1", GS_REASON_tx_fib},
		{"echo 0 >/proc/sys/net/ipv4/conf/lo/forwarding", GS_REASON_drop_no_hop},
	};
	(void)state;

	add_routes();
	set_link("gs-out", "gs-out", 0);
	run("ip route del default; ip route add default via 10.9.0.2 dev gs-out metric 9");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		run(cases[i].command);
		if (send_to(4).reason != cases[i].want)
			fail_msg("%s", cases[i].command);
	}
}

/* L2 through a router would come back; on the link it is the neighbour's. */
static void l2_has_no_router(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){.flags = SYN});
	uint32_t backend;
	struct gs_backend_value value;
	struct xdp_result result;
	char text[64], command[256];
	(void)state;

	add_routes();
	set_link("gs-out", "gs-out", 0);
	backend = send_to(4).backend;
	value = edge_backend_value(backend);
	value.mode = GS_FORWARD_L2;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
	assert_int_equal(send_to(4).reason, GS_REASON_drop_no_hop);
	edge_backend_addr(backend, text);
	snprintf(command, sizeof(command),
		 "ip route add %s dev gs-out; "
		 "ip neigh replace %s lladdr 02:00:00:00:00:77 dev gs-out nud permanent",
		 text, text);
	run(command);
	result = send_to(4);
	assert_int_equal(result.reason, GS_REASON_tx_fib);
	memcpy(packet.bytes, "\x02\0\0\0\0\x77\x02\0\0\0\0\x11", 12);
	assert_memory_equal(result.out.bytes, packet.bytes, packet.length);
}

/* Flows differ in their source, a flow does not, and none leaves the prefix. */
static void sources_are_spread(void **state)
{
	enum { FLOWS = 256 };
	struct gs_hop_value hop = edge_hop_value();
	uint32_t seen[FLOWS], different = 0;
	(void)state;

	hop.src4 = htonl(0xc0000200);
	hop.spread4 = 8;
	inet_pton(AF_INET6, "2001:db8:e::", hop.src6);
	hop.spread6 = 24;
	set_hop(EDGE_HOP, &hop);
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct packet_spec spec = {.flags = SYN, .sport = (uint16_t)(1024 + flow)};
		struct packet packet = packet_build(&spec);
		struct xdp_result first, again;
		const uint8_t *ip = first.out.bytes + PACKET_L3;
		bool is_new = true;

		xdp_edge_forget(&edge);
		first = xdp_edge_send(&edge, &packet);
		assert_int_equal(first.reason, GS_REASON_tx_new);
		assert_memory_equal(ip + 12, "\xc0\0\x02", 3);
		assert_int_equal(packet_checksum(ip, 20), 0);
		spec.flags = 0;
		packet = packet_build(&spec);
		again = xdp_edge_send(&edge, &packet);
		assert_int_equal(again.out.bytes[PACKET_L3 + 15], ip[15]);
		seen[flow] = ip[15];
		for (uint32_t other = 0; other < flow && is_new; other++)
			is_new = seen[other] != seen[flow];
		different += is_new;

		spec.src = "203.0.113.200";
		packet = packet_build(&spec);
		again = xdp_edge_send(&edge, &packet);
		assert_memory_equal(again.out.bytes + PACKET_L3 + 8,
				    "\x20\x01\x0d\xb8\0\x0e\0\0\0\0\0\0\0", 13);
	}
	assert_in_range(different, 130, FLOWS); /* 162 are likely */
}

/* ---- what routers behind the kernel's hop have told ------------------------------------------ */

enum { IP4 = 20, IP6 = 40, TCP = 20 };

static void add_tunnel(uint32_t backend)
{
	struct gs_tunnel_value value = {.backend = backend};
	struct gs_tunnel_key key;
	char text[64];

	packet_addr(edge_backend_addr(backend, text), (uint8_t *)key.addr);
	xdp_edge_set(&edge, GS_MAP_TUNNELS, &key, &value);
}

/* An error about a packet of ours to the backend: so much fits. `src`: what it was sent from. */
static enum gs_reason tell(uint32_t backend, const char *src, uint32_t mtu)
{
	bool is_v6 = strchr(src, ':');
	struct packet inner = packet_build(&(struct packet_spec){.payload = 200}), sent, error;
	char address[64];
	struct packet_outer outer = {.src = src, .dst = edge_backend_addr(backend, address)};

	sent = packet_encapsulate(&inner, &outer);
	error = packet_icmp(&(struct packet_icmp){
		.src = is_v6 ? "fd00:ff:1::2" : "100.64.1.2",
		.dst = src,
		.type = is_v6 ? 2 : 3,
		.code = is_v6 ? 0 : 4,
		.rest = mtu,
		.bytes = sent.bytes + PACKET_L3,
		.length = (is_v6 ? IP6 : IP4) + 8,
	});
	return xdp_edge_send(&edge, &error).reason;
}

/* One of so many bytes, its IP header included, that may not be cut. */
static struct xdp_result send_long(const char *src, uint32_t bytes)
{
	struct packet packet =
		packet_build(&(struct packet_spec){.flags = SYN,
						   .src = src,
						   .fragment = 0x4000,
						   .payload = (uint16_t)(bytes - IP4 - TCP)});

	xdp_edge_forget(&edge);
	return xdp_edge_send(&edge, &packet);
}

/* Packets of this client go with `most` bytes; of one byte more its sender is told so. */
static void expect_most(const char *src, uint32_t most)
{
	struct xdp_result result = send_long(src, most + 1);

	assert_int_equal(result.reason, GS_REASON_tx_too_big);
	assert_int_equal(packet_get16(result.out.bytes + PACKET_L3 + IP4 + 6), most);
	assert_int_equal(send_long(src, most).reason, GS_REASON_tx_fib);
}

static void what_is_told_is_heeded_at_once(void **state)
{
	static const struct {
		const char *src;
		const char *from; /* the edge's, for hops that have no source */
		uint32_t outer;
	} cases[] = {
		{"192.0.2.1", "192.0.2.254", IP4},
		{"203.0.113.200", "2001:db8:e::1", IP6},
	};
	(void)state;

	add_routes();
	set_link("gs-out", "gs-out", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *src = cases[i].src, *from = cases[i].from;
		uint32_t outer = cases[i].outer, id = send_long(src, 100).backend;
		struct gs_tunnel_told told;

		expect_most(src, 1500 - outer);
		assert_int_equal(tell(id, from, 1400), GS_REASON_pass_protocol); /* no tunnel */
		expect_most(src, 1500 - outer);
		add_tunnel(id);
		assert_int_equal(tell(id, i ? "2001:db8:e::2" : "192.0.2.253", 1400),
				 GS_REASON_pass_protocol); /* not from us */
		expect_most(src, 1500 - outer);
		assert_int_equal(tell(id, from, 1400), GS_REASON_pass_tunnel_mtu);
		expect_most(src, 1400 - outer);
		assert_int_equal(tell(id, from, 9000), GS_REASON_pass_tunnel_mtu);
		expect_most(src, 1500 - outer); /* no more than the kernel says */
		/* told long ago: the path may be wide again */
		assert_int_equal(tell(id, from, 1400), GS_REASON_pass_tunnel_mtu);
		xdp_edge_get(&edge, GS_MAP_TUNNEL_TOLD, &id, &told);
		told.seen -= GS_TUNNEL_KEEPS - 10000;
		xdp_edge_set(&edge, GS_MAP_TUNNEL_TOLD, &id, &told);
		expect_most(src, 1400 - outer);
		told.seen -= 10100;
		xdp_edge_set(&edge, GS_MAP_TUNNEL_TOLD, &id, &told);
		expect_most(src, 1500 - outer);
	}
	/* Less than every client must be able to send is asked of none. */
	assert_int_equal(tell(send_long("192.0.2.1", 100).backend, "192.0.2.254", 577),
			 GS_REASON_pass_tunnel_mtu);
	expect_most("192.0.2.1", 576);
}

/* Told of the hop in the maps: the controller makes another of it. And L2 has no tunnel. */
static void what_is_told_is_not_for_all(void **state)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id;
	struct gs_backend_value value;
	char text[64], command[256];
	(void)state;

	add_routes();
	set_link("gs-out", "gs-out", 0);
	id = send_long("192.0.2.1", 100).backend;
	add_tunnel(id);
	assert_int_equal(tell(id, "192.0.2.254", 1400), GS_REASON_pass_tunnel_mtu);
	expect_most("192.0.2.1", 1380);
	set_hop(EDGE_HOP, &hop);
	assert_int_equal(send_long("192.0.2.1", 1480).reason, GS_REASON_tx_new);
	hop.mtu = 0;
	set_hop(EDGE_HOP, &hop);
	value = edge_backend_value(id);
	value.mode = GS_FORWARD_L2;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	snprintf(command, sizeof(command),
		 "ip route add %s dev gs-out; "
		 "ip neigh replace %s lladdr 02:00:00:00:00:77 dev gs-out nud permanent",
		 edge_backend_addr(id, text), text);
	run(command);
	assert_int_equal(send_long("192.0.2.1", 1500).reason, GS_REASON_tx_fib);
}

static int setup(void **state)
{
	struct gs_hop_value none = {.mtu = 0}, sources = {.mtu = 0};
	const struct gs_hop_value good = edge_hop_value();

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up; ip link add gs-out address 02:00:00:00:00:11 type veth peer name "
	    "gs-far; ip link set gs-out up; ip link set gs-far up; "
	    "ip addr add 10.9.0.1/24 dev gs-out; ip addr add fd09::1/64 dev gs-out nodad; "
	    "echo 1 >/proc/sys/net/ipv4/ip_forward; "
	    "echo 1 >/proc/sys/net/ipv4/conf/lo/forwarding; "
	    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	xdp_edge_open(&edge);
	sources.src4 = good.src4;
	memcpy(sources.src6, good.src6, sizeof(sources.src6));
	set_hop(0, &sources);
	set_hop(EDGE_HOP, &none);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define FIB_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIB_TEST(the_kernel_knows),
		FIB_TEST(only_known_links),
		FIB_TEST(refused_for_a_reason),
		FIB_TEST(l2_has_no_router),
		FIB_TEST(sources_are_spread),
		FIB_TEST(what_is_told_is_heeded_at_once),
		FIB_TEST(what_is_told_is_not_for_all),
		FIB_TEST(a_port_is_its_bond),
	};

	return cmocka_run_group_tests_name("fib", tests, NULL, NULL);
}
