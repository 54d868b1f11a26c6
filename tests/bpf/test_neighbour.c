/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nexthop adapter against this kernel, in network namespaces of the test's own:
 *
 *	test's namespace                 a child's namespace
 *	gs-near 192.0.2.1/24   <-veth->  gs-far 192.0.2.2/24
 *	        2001:db8:1::1/64                2001:db8:1::2/64, fe80::2
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/adapters.h"
#include "user/adapters/neighbour.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 200, TRY_MS = 25, LIMIT_MS = 30000 };

static const uint8_t near_mac[6] = {2, 0, 0, 0, 0, 0x11};
static const uint8_t far_mac[6] = {2, 0, 0, 0, 0, 0x22};

static struct gs_loop *loop; /* everybody's */

/* ---- namespaces ------------------------------------------------------------------------------ */

struct far {
	pid_t pid;
	int alive_fd; /* closed: the child ends, its namespace with it */
};

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s: failed", command);
}

static void run_far(const struct far *far, const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "nsenter --net=/proc/%d/ns/net sh -c '%s'", (int)far->pid,
		 command);
	run(line);
}

static void open_far(struct far *far)
{
	int ready[2], alive[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(alive), 0);
	far->pid = fork();
	assert_true(far->pid >= 0);
	if (far->pid == 0) {
		close(alive[1]);
		if (unshare(CLONE_NEWNET) || write(ready[1], "r", 1) != 1)
			_exit(1);
		_exit(read(alive[0], &byte, 1) != 0); /* until the test is over */
	}
	close(alive[0]);
	close(ready[1]);
	far->alive_fd = alive[1];
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

static int setup(void **state)
{
	static struct far far;
	char command[256];

	assert_int_equal(gs_loop_new(&loop), 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	open_far(&far);
	*state = &far;
	run("ip link set lo up");
	run("ip link add gs-near address 02:00:00:00:00:11 type veth peer name gs-far address "
	    "02:00:00:00:00:22");
	snprintf(command, sizeof(command), "ip link set gs-far netns %d", (int)far.pid);
	run(command);
	run_far(&far, "ip addr add 192.0.2.2/24 dev gs-far; "
		      "ip addr add 2001:db8:1::2/64 dev gs-far nodad; "
		      "ip addr add fe80::2/64 dev gs-far nodad; ip link set gs-far up");
	run("ip addr add 192.0.2.1/24 dev gs-near");
	run("ip addr add 2001:db8:1::1/64 dev gs-near nodad");
	run("ip link set gs-near mtu 1480 up");
	return 0;
}

static int teardown(void **state)
{
	const struct far *far = *state;
	int status;

	gs_loop_free(loop);
	close(far->alive_fd);
	assert_int_equal(waitpid(far->pid, &status, 0), far->pid);
	return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct gs_addr addr(const char *text)
{
	struct gs_addr parsed;

	assert_int_equal(gs_addr_parse(text, &parsed), 0);
	return parsed;
}

static int resolve(const struct gs_nexthop *nexthop, const char *text, struct gs_hop *ret_hop)
{
	struct gs_addr at = addr(text);

	memset(ret_hop, 0xa5, sizeof(*ret_hop));
	return nexthop->ops->resolve(nexthop->self, &at, 0, ret_hop);
}

/* Until the neighbour is known with this MAC. */
static struct gs_hop resolve_to(const struct gs_nexthop *nexthop, const char *text,
				const uint8_t mac[6])
{
	struct gs_hop hop;

	for (int i = 0; i < TRIES; i++) {
		assert_int_equal(resolve(nexthop, text, &hop), 0);
		if (!hop.reflect && memcmp(hop.dst_mac, mac, 6) == 0)
			return hop;
		poll(NULL, 0, TRY_MS);
	}
	fail_msg("%s: not resolved", text);
	return hop;
}

static struct gs_nexthop open_ok(void)
{
	struct gs_nexthop nexthop = {0};
	struct gs_error error = {{0}};

	if (gs_neighbour_open(loop, NULL, &nexthop, &error))
		fail_msg("%s", error.text);
	return nexthop;
}

/* ---- VLANs: what the kernel says of one, and the link below, with its tags ------------------- */

/* As `ip -d link` has it: id, protocol, priority 0 becomes 5. */
static struct nlmsghdr *put_vlan(char *buffer, const char *kind, bool is_elsewhere)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x33};
	struct ifla_vlan_qos_mapping rules[] = {{.from = 1, .to = 6}, {.from = 0, .to = 5}};
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	struct nlattr *info, *data, *map;

	message->nlmsg_type = RTM_NEWLINK;
	body->ifi_type = ARPHRD_ETHER;
	body->ifi_flags = IFF_UP | 1 << 16;
	mnl_attr_put_u32(message, IFLA_MTU, 1400);
	mnl_attr_put(message, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(message, IFLA_LINK, 77);
	if (is_elsewhere)
		mnl_attr_put_u32(message, IFLA_LINK_NETNSID, 0);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, kind);
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	mnl_attr_put_u16(message, IFLA_VLAN_ID, 100);
	mnl_attr_put_u16(message, IFLA_VLAN_PROTOCOL, htons(0x88a8));
	map = mnl_attr_nest_start(message, IFLA_VLAN_EGRESS_QOS);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		mnl_attr_put(message, IFLA_VLAN_QOS_MAPPING, sizeof(rules[i]), &rules[i]);
	mnl_attr_nest_end(message, map);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	return message;
}

static void test_vlan_message(void **state)
{
	char buffer[1024];
	struct gs_neighbour_link link = gs_neighbour_read_link(put_vlan(buffer, "vlan", false));

	(void)state;
	assert_true(link.is_up && link.is_ethernet);
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(link.below, 77);
	assert_int_equal(link.vlan.protocol, 0x88a8);
	assert_int_equal(link.vlan.tci, 5 << 13 | 100);
	/* its NIC is in another namespace: nobody here can send by it */
	link = gs_neighbour_read_link(put_vlan(buffer, "vlan", true));
	assert_true(link.below == 0 && !link.is_ethernet);
	/* a veth names its other end, too */
	link = gs_neighbour_read_link(put_vlan(buffer, "veth", true));
	assert_true(link.below == 0 && link.is_ethernet && !link.is_bond);
	link = gs_neighbour_read_link(put_vlan(buffer, "bond", false));
	assert_true(link.below == 0 && link.is_bond);
}

/* Pretends that the kernel has just said this of a link. */
static void tell_link(struct gs_neighbour *self, uint32_t ifindex, struct gs_neighbour_link link)
{
	*gs_neighbour_link_slot(self, ifindex) =
		(struct gs_neighbour_link_slot){.ifindex = ifindex,
						.asked_ms = gs_now_us() / 1000,
						.is_xmit_checked = true,
						.link = link};
}

static void test_vlan(void **state)
{
	struct gs_nexthop nexthop = open_ok();
	struct gs_neighbour *self = nexthop.self;
	uint32_t near = if_nametoindex("gs-near");
	struct gs_neighbour_link nic = {.is_up = true, .is_ethernet = true, .mtu = 9000};
	struct gs_neighbour_link vlan = nic, inner;
	struct gs_hop hop = resolve_to(&nexthop, "192.0.2.2", far_mac);

	(void)state;
	assert_int_equal(hop.tag_count, 0);
	assert_true(hop.link == near && hop.ifindex == near);
	vlan.below = near + 2;
	vlan.vlan = (struct gs_vlan){0x88a8, 100};
	inner = vlan;
	inner.below = near + 1;
	inner.mtu = 1400;
	inner.vlan = (struct gs_vlan){0x8100, 200};
	tell_link(self, near, inner);
	tell_link(self, near + 1, vlan);
	tell_link(self, near + 2, nic);
	assert_int_equal(resolve(&nexthop, "192.0.2.2", &hop), 0);
	assert_true(!hop.reflect && hop.link == near && hop.ifindex == near + 2);
	assert_int_equal(hop.mtu, 1400);
	assert_int_equal(hop.tag_count, 2);
	assert_int_equal((uint32_t)hop.tags[0].protocol << 16 | hop.tags[0].tci, 0x88a80064);
	assert_int_equal((uint32_t)hop.tags[1].protocol << 16 | hop.tags[1].tci, 0x810000c8);
	/* the NIC is down */
	nic.is_up = false;
	tell_link(self, near + 2, nic);
	assert_int_equal(resolve(&nexthop, "192.0.2.2", &hop), -ENETDOWN);
	assert_int_equal(hop.mtu, 0);
	/* three tags are too many: back to whoever sent it */
	nic.is_up = true;
	nic.below = near + 3;
	tell_link(self, near + 2, nic);
	assert_int_equal(resolve(&nexthop, "192.0.2.2", &hop), 0);
	assert_true(hop.reflect);
	nexthop.ops->close(nexthop.self);
}

static void test_sources(void **state)
{
	struct gs_outer_sources sources = {0};
	struct gs_nexthop nexthop = {0};
	struct gs_error error;
	struct gs_hop hop;

	(void)state;
	assert_int_equal(gs_prefix_parse("203.0.113.0/28", &sources.v4), 0);
	assert_int_equal(gs_prefix_parse("2001:db8:e::/64", &sources.v6), 0);
	assert_int_equal(gs_neighbour_open(loop, &sources, &nexthop, &error), 0);
	assert_int_equal(resolve(&nexthop, "192.0.2.2", &hop), 0);
	assert_int_equal(gs_addr_to_v4(&hop.src4), 0xcb007100u);
	assert_int_equal(hop.spread4, 4);
	assert_int_equal(hop.spread6, 24);
	nexthop.ops->close(nexthop.self);
}

/* ---- what is reached ------------------------------------------------------------------------- */

static void test_reached(void **state)
{
	static const struct {
		const char *name;
		const char *route; /* added before; NULL: on the link */
		const char *to;
		const char *want_src4, *want_src6;
		uint32_t want_mtu;
	} cases[] = {
		{"IPv4 on the link", NULL, "192.0.2.2", "192.0.2.1", NULL, 1480},
		{"IPv6 on the link", NULL, "2001:db8:1::2", NULL, "2001:db8:1::1", 1480},
		{"by a gateway", "10.1.0.0/16 via 192.0.2.2", "10.1.2.3", "192.0.2.1", NULL, 1480},
		{"with a source", "10.2.0.0/16 via 192.0.2.2 src 192.0.2.77", "10.2.0.1",
		 "192.0.2.77", NULL, 1480},
		{"with an MTU", "10.3.0.0/16 via 192.0.2.2 mtu 1400", "10.3.0.1", "192.0.2.1", NULL,
		 1400},
		{"IPv6 by a gateway", "fd00:1::/64 via 2001:db8:1::2 mtu 1300", "fd00:1::5", NULL,
		 "2001:db8:1::1", 1300},
		{"IPv6 by a link-local gateway", "fd00:2::/64 via fe80::2 dev gs-near", "fd00:2::5",
		 NULL, "2001:db8:1::1", 1480},
		{"IPv4 by an IPv6 gateway", "10.4.0.0/16 via inet6 fe80::2 dev gs-near", "10.4.0.1",
		 "192.0.2.1", NULL, 1480},
	};
	struct gs_nexthop nexthop = open_ok();
	const struct gs_addr none = {{0}};

	(void)state;
	run("ip addr add 192.0.2.77/24 dev gs-near");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char command[256];
		struct gs_addr src4 = cases[i].want_src4 ? addr(cases[i].want_src4) : none;
		struct gs_addr src6 = cases[i].want_src6 ? addr(cases[i].want_src6) : none;
		struct gs_hop hop;

		print_message("%s\n", cases[i].name);
		if (cases[i].route) {
			snprintf(command, sizeof(command), "ip route add %s", cases[i].route);
			run(command);
		}
		hop = resolve_to(&nexthop, cases[i].to, far_mac);
		assert_memory_equal(hop.src_mac, near_mac, 6);
		assert_int_equal(hop.ifindex, if_nametoindex("gs-near"));
		assert_int_equal(hop.mtu, cases[i].want_mtu);
		assert_int_equal(hop.has_gateway, cases[i].route != NULL);
		assert_memory_equal(hop.src4.bytes, src4.bytes, 16);
		assert_memory_equal(hop.src6.bytes, src6.bytes, 16);
	}
	nexthop.ops->close(nexthop.self);
}

/* Nobody there: back to whoever sent the packet, with what else is known. */
static void test_unknown_neighbour_reflects(void **state)
{
	struct gs_nexthop nexthop = open_ok();
	struct gs_addr src4 = addr("192.0.2.1");
	struct gs_hop hop;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(resolve(&nexthop, "192.0.2.200", &hop), 0);
		assert_true(hop.reflect);
		assert_int_equal(hop.mtu, 1480);
		assert_memory_equal(hop.src4.bytes, src4.bytes, 16);
	}
	/* It is asked for, and kept. */
	run("ip neigh show 192.0.2.200 dev gs-near | grep -q managed");
	nexthop.ops->close(nexthop.self);
}

static void test_changed_mac(void **state)
{
	static const uint8_t first[6] = {2, 0, 0, 0, 0, 0x33}, second[6] = {2, 0, 0, 0, 0, 0x44};
	struct gs_nexthop nexthop = open_ok();

	(void)state;
	run("ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:33 dev gs-near");
	resolve_to(&nexthop, "192.0.2.50", first);
	run("ip neigh show 192.0.2.50 dev gs-near | grep -q PERMANENT"); /* left as it is */
	run("ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:44 dev gs-near");
	resolve_to(&nexthop, "192.0.2.50", second);
	/* What the kernel only happens to know becomes managed, and keeps its MAC. */
	run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:22 nud stale dev gs-near");
	resolve_to(&nexthop, "192.0.2.2", far_mac);
	run("ip neigh show 192.0.2.2 dev gs-near | grep -q managed");
	resolve_to(&nexthop, "192.0.2.2", far_mac);
	nexthop.ops->close(nexthop.self);
}

/* *ret_hop is filled whatever happens. */
static void test_not_reached(void **state)
{
	static const struct {
		const char *name;
		const char *to;
		int want;
	} cases[] = {
		{"no route", "203.0.113.1", -ENETUNREACH},
		{"no IPv6 route", "2001:db8:ffff::1", -ENETUNREACH},
		{"a black hole", "10.66.0.1", -ENETUNREACH},
		{"prohibited", "10.67.0.1", -ENETUNREACH},
		{"unreachable", "10.68.0.1", -ENETUNREACH},
		{"an IPv6 black hole", "fd00:66::1", -ENETUNREACH},
		{"prohibited IPv6", "fd00:67::1", -ENETUNREACH},
		{"this machine", "192.0.2.1", 0},
		{"loopback", "127.0.0.1", 0},
		{"IPv6 loopback", "::1", 0},
	};
	struct gs_nexthop nexthop = open_ok();
	const uint8_t no_mac[6] = {0};

	(void)state;
	run("ip route add blackhole 10.66.0.0/16");
	run("ip route add prohibit 10.67.0.0/16");
	run("ip route add unreachable 10.68.0.0/16");
	run("ip -6 route add blackhole fd00:66::/64");
	run("ip -6 route add prohibit fd00:67::/64");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_hop hop;
		int result = resolve(&nexthop, cases[i].to, &hop);

		if (result != cases[i].want)
			fail_msg("%s: %d", cases[i].name, result);
		assert_true(hop.reflect);
		assert_memory_equal(hop.dst_mac, no_mac, 6);
		assert_int_equal(hop.mtu == 0, result != 0);
		assert_in_range(hop.mtu, 0, 65535); /* loopback's is 65,536 */
	}
	nexthop.ops->close(nexthop.self);
}

/* ---- what is told ---------------------------------------------------------------------------- */

struct want {
	const char *to;
	int result;
	uint32_t mtu;
	uint8_t dst, src; /* the last byte of the MACs; 0: unknown */
};

struct listener {
	struct gs_nexthop nexthop;
	struct gs_timer limit;
	const struct want *want; /* looked at when something is told, at no other time */
	uint32_t changes;
	char why[64]; /* of the last one */
	struct gs_hop hop;
	int result;
	bool timed_out;
};

static struct listener listener; /* whatever fails, stop_listening ends it */

static void look(const struct want *want)
{
	struct gs_addr at = addr(want->to);

	listener.result = listener.nexthop.ops->resolve(listener.nexthop.self, &at,
							if_nametoindex("gs-near"), &listener.hop);
}

static bool is_as_wanted(const struct want *want)
{
	const struct gs_hop *hop = &listener.hop;

	if (listener.result != want->result || hop->mtu != want->mtu)
		return false;
	return hop->reflect ? want->dst == 0
			    : hop->dst_mac[5] == want->dst && hop->src_mac[5] == want->src;
}

static void on_change(void *context, const char *why)
{
	(void)context;
	listener.changes++;
	snprintf(listener.why, sizeof(listener.why), "%s", why);
	look(listener.want);
	if (is_as_wanted(listener.want))
		gs_loop_stop(loop);
}

static void on_limit(struct gs_timer *timer)
{
	(void)timer;
	listener.timed_out = true;
	gs_loop_stop(loop);
}

static void start_listening(void)
{
	static const struct gs_nexthop_events events = {.on_change = on_change};

	listener = (struct listener){.nexthop = open_ok()};
	listener.limit = (struct gs_timer){.on_due = on_limit, .context = NULL};
	assert_int_equal(listener.nexthop.ops->start(listener.nexthop.self, &events, NULL), 0);
}

static void wait_told(const char *name, const struct want *want)
{
	listener.want = want;
	gs_loop_timer_set(loop, &listener.limit, LIMIT_MS);
	assert_int_equal(gs_loop_run(loop), 0);
	gs_loop_timer_clear(loop, &listener.limit);
	if (listener.timed_out)
		fail_msg("%s: told %u times, last: result %d mtu %u reflect %d mac %02x", name,
			 listener.changes, listener.result, listener.hop.mtu, listener.hop.reflect,
			 listener.hop.dst_mac[5]);
}

static int stop_listening(void **state)
{
	(void)state;
	gs_loop_timer_clear(loop, &listener.limit);
	if (listener.nexthop.ops)
		listener.nexthop.ops->close(listener.nexthop.self);
	listener = (struct listener){0};
	return 0;
}

/* Nothing is asked but when the adapter tells. */
static void test_told(void **state)
{
	static const struct {
		const char *name;
		const char *command, *far_command;
		struct want want;
	} cases[] = {
		{"a neighbour",
		 "ip neigh replace 192.0.2.60 lladdr 02:00:00:00:00:60 dev gs-near",
		 NULL,
		 {"192.0.2.60", 0, 1480, 0x60, 0x11}},
		{"its MAC",
		 "ip neigh replace 192.0.2.60 lladdr 02:00:00:00:00:61 dev gs-near",
		 NULL,
		 {"192.0.2.60", 0, 1480, 0x61, 0x11}},
		{"a route",
		 "ip route add 10.9.0.0/16 via 192.0.2.60",
		 NULL,
		 {"10.9.0.1", 0, 1480, 0x61, 0x11}},
		{"its gateway",
		 "ip neigh replace 192.0.2.62 lladdr 02:00:00:00:00:62 dev gs-near; "
		 "ip route replace 10.9.0.0/16 via 192.0.2.62",
		 NULL,
		 {"10.9.0.1", 0, 1480, 0x62, 0x11}},
		{"its MTU",
		 "ip route replace 10.9.0.0/16 via 192.0.2.62 mtu 1300",
		 NULL,
		 {"10.9.0.1", 0, 1300, 0x62, 0x11}},
		{"the link's MTU",
		 "ip link set gs-near mtu 1470",
		 NULL,
		 {"192.0.2.60", 0, 1470, 0x61, 0x11}},
		{"the link's MAC",
		 "ip link set gs-near address 02:00:00:00:00:12",
		 NULL,
		 {"192.0.2.2", 0, 1470, 0x22, 0x12}}, /* forgets all neighbours */
		{"a next hop of its own",
		 "ip neigh replace 192.0.2.60 lladdr 02:00:00:00:00:61 dev gs-near; ip neigh replace 192.0.2.62 lladdr 02:00:00:00:00:62 dev gs-near; "
		 "ip nexthop add id 7 via 192.0.2.60 dev gs-near; ip route add 10.10.0.0/16 nhid 7",
		 NULL,
		 {"10.10.0.1", 0, 1470, 0x61, 0x12}},
		{"another one",
		 "ip nexthop replace id 7 via 192.0.2.62 dev gs-near",
		 NULL,
		 {"10.10.0.1", 0, 1470, 0x62, 0x12}},
		{"a rule",
		 "ip rule add to 10.9.0.0/16 prohibit",
		 NULL,
		 {"10.9.0.1", -ENETUNREACH, 0, 0, 0}},
		{"no rule",
		 "ip rule del to 10.9.0.0/16 prohibit",
		 NULL,
		 {"10.9.0.1", 0, 1300, 0x62, 0x12}},
		{"IPv6",
		 "ip -6 neigh replace 2001:db8:1::60 lladdr 02:00:00:00:00:66 dev gs-near; "
		 "ip -6 route add fd00:9::/64 via 2001:db8:1::60",
		 NULL,
		 {"fd00:9::1", 0, 1470, 0x66, 0x12}},
		{"the link goes down: a neighbour",
		 "ip link set gs-near down",
		 NULL,
		 {"192.0.2.60", -ENETDOWN, 0, 0, 0}},
		{"the link comes up",
		 "ip link set gs-near address 02:00:00:00:00:11 mtu 1480 up",
		 NULL,
		 {"192.0.2.2", 0, 1480, 0x22, 0x11}},
		{"the link goes down: a route",
		 "ip route add 10.9.0.0/16 via 192.0.2.2; ip link set gs-near down",
		 NULL,
		 {"10.9.0.1", -ENETDOWN, 0, 0, 0}},
		{"it comes up, and the route",
		 "ip link set gs-near up; ip route add 10.9.0.0/16 via 192.0.2.2",
		 NULL,
		 {"10.9.0.1", 0, 1480, 0x22, 0x11}},
		{"the other end goes down",
		 NULL,
		 "ip link set gs-far down",
		 {"10.9.0.1", -ENETDOWN, 0, 0, 0}},
		{"the other end comes up",
		 NULL,
		 "ip link set gs-far up",
		 {"10.9.0.1", 0, 1480, 0x22, 0x11}},
		{"no route any more",
		 "ip route del 10.9.0.0/16",
		 NULL,
		 {"10.9.0.1", -ENETUNREACH, 0, 0, 0}},
	};
	const struct far *far = *state;

	start_listening();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].name);
		look(&cases[i].want); /* what is asked about is what is told of */
		if (is_as_wanted(&cases[i].want))
			fail_msg("%s: is so already", cases[i].name);
		if (cases[i].command)
			run(cases[i].command);
		if (cases[i].far_command)
			run_far(far, cases[i].far_command);
		wait_told(cases[i].name, &cases[i].want);
	}
}

/* The link itself is taken away: no route, and no such link. */
static void test_told_of_a_link_gone(void **state)
{
	static const struct want there = {"192.0.2.130", 0, 1500, 0x30, 0x99};
	static const struct want gone = {"192.0.2.130", -ENETDOWN, 0, 0, 0};
	struct gs_addr at = addr(there.to);
	uint32_t ifindex;
	struct gs_hop hop;

	(void)state;
	start_listening();
	run("ip link add gs-short address 02:00:00:00:00:99 type veth peer name gs-other");
	run("ip link set gs-short up; ip link set gs-other up; "
	    "ip route add 192.0.2.128/25 dev gs-short; "
	    "ip neigh add 192.0.2.130 lladdr 02:00:00:00:00:30 dev gs-short");
	ifindex = if_nametoindex("gs-short");
	wait_told("there", &there);
	/* 192.0.2.0/24 would serve instead, were it not for this. */
	run("ip route add unreachable 192.0.2.128/25 metric 4000");
	run("ip link del gs-short");
	assert_int_equal(listener.nexthop.ops->resolve(listener.nexthop.self, &at, ifindex, &hop),
			 gone.result);
	assert_int_equal(hop.mtu, 0);
	assert_int_equal(hop.ifindex, ifindex);
	/* Nobody knows which link it was: no route is all there is to say. */
	assert_int_equal(listener.nexthop.ops->resolve(listener.nexthop.self, &at, 0, &hop),
			 -ENETUNREACH);
	run("ip route del unreachable 192.0.2.128/25");
}

/* It is asked for again and again: that is no news, until it answers. */
static void test_failed_until_known(void **state)
{
	static const struct {
		struct gs_neighbour_entry before, now;
		bool want;
	} cases[] = {
		{{0}, {0}, false},
		{{0}, {.is_failed = true}, true},
		{{.is_failed = true}, {0}, true}, /* incomplete */
		{{.is_failed = true}, {.is_failed = true}, true},
		{{.is_failed = true}, {.is_known = true}, false},
		{{.is_known = true}, {0}, false},
		{{.is_known = true}, {.is_failed = true}, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_neighbour_entry now = cases[i].now;

		gs_neighbour_entry_after(&cases[i].before, &now);
		assert_int_equal(now.is_failed, cases[i].want);
	}
}

/* The kernel keeps asking for a managed entry; the moment it is answered, it is told. */
static void test_managed_fails_and_comes_back(void **state)
{
	static const struct want known = {"192.0.2.2", 0, 1480, 0x22, 0x11};
	static const struct want lost = {"192.0.2.2", -EHOSTUNREACH, 0, 0, 0};
	static const struct want behind = {"10.20.0.1", 0, 1480, 0, 0};
	const struct far *far = *state;

	start_listening();
	resolve_to(&listener.nexthop, "192.0.2.2", far_mac);
	run_far(far, "ip addr del 192.0.2.2/24 dev gs-far");
	run("ip neigh change 192.0.2.2 dev gs-near nud failed");
	wait_told("lost", &lost);
	/* What is behind a router goes on being given back to whoever sent it: the router, mostly.
	 */
	run("ip route add 10.20.0.0/16 via 192.0.2.2");
	look(&behind);
	assert_true(is_as_wanted(&behind));
	run("ip route del 10.20.0.0/16 via 192.0.2.2");
	run("ip neigh show 192.0.2.2 dev gs-near | grep -q managed");
	run_far(far, "ip addr add 192.0.2.2/24 dev gs-far");
	wait_told("back", &known);
}

/* What neighbours do all day, and what becomes of neighbours nobody asked about, is not told. */
static void test_chatter(void **state)
{
	static const struct want at_last = {"192.0.2.70", 0, 1480, 0x71, 0x11};

	(void)state;
	run("ip neigh replace 192.0.2.70 lladdr 02:00:00:00:00:70 dev gs-near");
	start_listening();
	look(&at_last);
	for (int i = 0; i < 3; i++) {
		run("ip neigh replace 192.0.2.70 lladdr 02:00:00:00:00:70 nud stale dev gs-near");
		run("ip neigh replace 192.0.2.70 lladdr 02:00:00:00:00:70 nud permanent "
		    "dev gs-near");
		run("ip neigh replace 192.0.2.71 lladdr 02:00:00:00:00:70 nud stale dev gs-near");
		run("ip neigh del 192.0.2.71 dev gs-near");
	}
	run("ip neigh replace 192.0.2.70 lladdr 02:00:00:00:00:71 dev gs-near");
	wait_told("a change at last", &at_last);
	assert_int_equal(listener.changes, 1);
	assert_string_equal(listener.why, "a neighbour");
}

/* Thousands of changes are a few tellings; more than the socket holds are one as well. */
static void test_bursts(void **state)
{
	static const struct want last = {"10.199.99.1", 0, 1480, 0x22, 0x11};

	(void)state;
	start_listening();
	resolve_to(&listener.nexthop, "192.0.2.2", far_mac);
	run("for i in $(seq 0 199); do for j in $(seq 0 99); do "
	    "echo route add 10.$i.$j.0/24 via 192.0.2.2; done; done | ip -batch -");
	wait_told("20,000 routes", &last);
	assert_in_range(listener.changes, 1, 3);
	assert_string_equal(listener.why, "too much to hear");
	run("ip route flush via 192.0.2.2");
}

/* ---- what cannot be sent by ------------------------------------------------------------------ */

/* Lines of the log that name the link, of three questions to a new adapter. */
static int warnings_of(const char *to)
{
	struct gs_nexthop nexthop = open_ok();
	FILE *log = tmpfile();
	int before = dup(STDERR_FILENO), count = 0;
	char line[512];
	struct gs_hop hop;

	dup2(fileno(log), STDERR_FILENO);
	for (int i = 0; i < 3; i++)
		resolve(&nexthop, to, &hop);
	dup2(before, STDERR_FILENO);
	close(before);
	nexthop.ops->close(nexthop.self);
	rewind(log);
	while (fgets(line, sizeof(line), log))
		count +=
			strstr(line, "link_takes_no_redirect") && strstr(line, "interface=gs-near");
	fclose(log);
	return count;
}

/* A veth takes redirected packets while its other end has a program, or GRO. */
static void test_link_without_xmit(void **state)
{
	const struct far *far = *state;

	run_far(far, "ethtool -K gs-far gro off");
	assert_int_equal(warnings_of("192.0.2.2"), 1);
	run_far(far, "ethtool -K gs-far gro on");
	assert_int_equal(warnings_of("192.0.2.2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reached),
		cmocka_unit_test(test_vlan_message),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_unknown_neighbour_reflects),
		cmocka_unit_test(test_changed_mac),
		cmocka_unit_test(test_not_reached),
		cmocka_unit_test_teardown(test_told, stop_listening),
		cmocka_unit_test_teardown(test_told_of_a_link_gone, stop_listening),
		cmocka_unit_test(test_failed_until_known),
		cmocka_unit_test_teardown(test_managed_fails_and_comes_back, stop_listening),
		cmocka_unit_test_teardown(test_chatter, stop_listening),
		cmocka_unit_test_teardown(test_bursts, stop_listening),
		cmocka_unit_test(test_link_without_xmit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
