/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through an edge with a real bond and real VLAN interfaces, by what geostream-loader has
 * attached and pinned; next hops and ports of bonds are found out by the controller's own adapters.
 * bonds.sh makes the left column and attaches the program to bond0 and eth3; the far ends'
 *namespace is made here.
 *
 *	bond0 10.8.0.1 -+- eth1 ----- p1 -+- bond1 10.8.0.2 (broadcast: it hears all)
 *	  (active-backup)\- eth2 ----- p2 -/
 *	  bond0.10      10.8.10.1            bond1.10      10.8.10.2
 *	  bond0.10.20   10.8.20.1            bond1.10.20   10.8.20.2
 *	eth3   10.9.0.1 ------------- p3     10.9.0.2
 *	  eth3.30       10.9.30.1 (802.1ad)  p3.30         10.9.30.2
 *	  eth3.30.40    10.9.40.1            p3.30.40      10.9.40.2
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/xdp_edge.h"
#include "tests/fakes/fakes.h"
#include "user/adapters/adapters.h"
#include "user/app/reach.h"
#include "user/app/snapshot_io.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIN_DIR "/sys/fs/bpf/geostream"
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define SYN 0x02
#define ACK 0x10

enum { WAIT_MS = 10000, TRY_MS = 20, P1 = 0, P2 = 1, P3 = 2, PORTS = 3 };

static const char *const port_names[PORTS] = {"p1", "p2", "p3"};
static int near_fd, far_fd; /* network namespaces */
static int ports[PORTS];    /* packet sockets on the far ends */
static struct xdp_edge edge;
static struct gs_loop *loop;
static struct gs_nexthop nexthop;
static uint16_t next_port = 20000;

/* ---- the wires ------------------------------------------------------------------------------- */

/* busybox's sh prefers its own ip. */
static bool succeeds(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "ip() { /sbin/ip \"$@\"; }; %s", command);
	return system(line) == 0;
}

static void run(const char *command)
{
	if (!succeeds(command))
		fail_msg("%s: failed", command);
}

static void run_far(const char *command)
{
	assert_int_equal(setns(far_fd, CLONE_NEWNET), 0);
	run(command);
	assert_int_equal(setns(near_fd, CLONE_NEWNET), 0);
}

/* Hears and says everything there. */
static int open_port(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	at.sll_ifindex = (int)if_nametoindex(name);
	assert_true(fd >= 0 && at.sll_ifindex > 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void make_far(void)
{
	char command[512];

	near_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	far_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(near_fd >= 0 && far_fd >= 0);
	run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	assert_int_equal(setns(near_fd, CLONE_NEWNET), 0);
	for (int i = 0; i < PORTS; i++) {
		snprintf(command, sizeof(command), "ip link set %s netns /proc/%d/fd/%d",
			 port_names[i], (int)getpid(), far_fd);
		run(command);
	}
	/* with a program that passes: else a veth does not take what XDP sends back */
	run_far("for port in p1 p2 p3; do "
		"ip link set $port xdpdrv object $BUILD/bpf/bystander.bpf.o section xdp || exit 1; "
		"done; ip link add bond1 address 02:00:00:00:00:b1 type bond mode broadcast miimon 20 && "
		"ip link set p1 master bond1 && ip link set p2 master bond1 && "
		"ip link set p3 address 02:00:00:00:00:b3 && "
		"ip link set bond1 up && ip link set p3 up && ip addr add 10.8.0.2/24 dev bond1 && "
		"ip addr add 10.9.0.2/24 dev p3");
	run_far("vlan() { ip link add link $1 name $2 type vlan proto $3 id $4 && "
		"ip addr add $5 dev $2 && ip link set $2 up; }; "
		"vlan bond1 bond1.10 802.1Q 10 10.8.10.2/24 && "
		"vlan bond1.10 bond1.10.20 802.1Q 20 10.8.20.2/24 && "
		"vlan p3 p3.30 802.1ad 30 10.9.30.2/24 && "
		"vlan p3.30 p3.30.40 802.1Q 40 10.9.40.2/24");
	assert_int_equal(setns(far_fd, CLONE_NEWNET), 0);
	for (int i = 0; i < PORTS; i++)
		ports[i] = open_port(port_names[i]);
	assert_int_equal(setns(near_fd, CLONE_NEWNET), 0);
}

/* A socket keeps that its link was down, until it is asked. */
static void clear_error(int port)
{
	socklen_t size = sizeof(int);
	int error;

	assert_int_equal(getsockopt(ports[port], SOL_SOCKET, SO_ERROR, &error, &size), 0);
}

static void send_by(int port, const struct packet *packet)
{
	clear_error(port);
	assert_int_equal(write(ports[port], packet->bytes, packet->length), packet->length);
}

/* The kernel keeps the outer tag of what it received beside the frame. */
static void put_tag_back(struct msghdr *message, struct packet *packet)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	struct tpacket_auxdata aux;

	for (; control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_PACKET || control->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(control), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			continue;
		memmove(packet->bytes + 16, packet->bytes + 12, packet->length - 12);
		packet_put16(packet->bytes + 12,
			     aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : 0x8100);
		packet_put16(packet->bytes + 14, aux.tp_vlan_tci);
		packet->length += 4;
	}
}

static struct packet hear(int port)
{
	struct packet packet = {.length = 0};
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec bytes = {packet.bytes, sizeof(packet.bytes) - 4};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(ports[port], &message, 0);

	assert_in_range(got, 14, sizeof(packet.bytes));
	packet.length = (uint32_t)got;
	put_tag_back(&message, &packet);
	return packet;
}

/* Among whatever else is said there. The first `count` bytes are compared. */
static struct packet expect_at(const char *name, int port, const struct packet *want,
			       uint32_t count)
{
	struct pollfd heard[PORTS];
	struct packet got, last = {.length = 0};
	uint64_t deadline_us = gs_now_us() + WAIT_MS * 1000;
	int last_port = -1;

	for (int i = 0; i < PORTS; i++)
		heard[i] = (struct pollfd){.fd = ports[i], .events = POLLIN};
	while (gs_now_us() < deadline_us && poll(heard, PORTS, WAIT_MS) > 0) {
		for (int i = 0; i < PORTS; i++) {
			if (heard[i].revents & POLLERR)
				clear_error(i);
			if (!(heard[i].revents & POLLIN))
				continue;
			got = hear(i);
			if (i == port && got.length == want->length &&
			    memcmp(got.bytes, want->bytes, count) == 0)
				return got;
			if (got.length == want->length) {
				last = got;
				last_port = i;
			}
		}
	}
	if (last_port < 0)
		fail_msg("%s: nothing like it came", name);
	edge_expect_bytes(name, &last, want);
	fail_msg("%s: came at %s", name, port_names[last_port]);
	return last;
}

/* ---- next hops, as the controller finds them ------------------------------------------------- */

struct way {
	const char *link, *to;
	const char *sender; /* that the hop must name */
	uint8_t mac;	    /* last byte of the neighbour's */
	int port;	    /* while eth1 is the bond's active port */
	uint32_t tags[2], tag_count;
	struct gs_hop_value hop;
};

/* clang-format off */
static struct way ways[] = {
	{.link = "bond0", .to = "10.8.0.2", .sender = "bond0", .mac = 0xb1, .port = P1},
	{.link = "bond0.10", .to = "10.8.10.2", .sender = "bond0", .mac = 0xb1, .port = P1,
	 .tags = {0x8100000a}, .tag_count = 1},
	{.link = "bond0.10.20", .to = "10.8.20.2", .sender = "bond0", .mac = 0xb1, .port = P1,
	 .tags = {0x8100000a, 0x81000014}, .tag_count = 2},
	{.link = "eth3", .to = "10.9.0.2", .sender = "eth3", .mac = 0xb3, .port = P3},
	{.link = "eth3.30", .to = "10.9.30.2", .sender = "eth3", .mac = 0xb3, .port = P3,
	 .tags = {0x88a8001e}, .tag_count = 1},
	{.link = "eth3.30.40", .to = "10.9.40.2", .sender = "eth3", .mac = 0xb3, .port = P3,
	 .tags = {0x88a8001e, 0x81000028}, .tag_count = 2},
};
/* clang-format on */

static struct gs_hop resolve(const struct way *way)
{
	struct gs_addr addr;
	struct gs_hop hop;

	assert_int_equal(gs_addr_parse(way->to, &addr), 0);
	for (int i = 0; i < WAIT_MS / TRY_MS; i++) {
		assert_int_equal(nexthop.ops->resolve(nexthop.self, &addr, 0, &hop), 0);
		if (!hop.reflect)
			return hop;
		poll(NULL, 0, TRY_MS);
	}
	fail_msg("%s by %s: not resolved", way->to, way->link);
	return hop;
}

static void hops_behind_bonds_and_vlans(void **state)
{
	uint8_t mac[6] = {2};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct way *way = &ways[i];
		struct gs_hop hop = resolve(way);

		mac[5] = way->mac;
		assert_memory_equal(hop.dst_mac, mac, 6);
		assert_int_equal(hop.ifindex, if_nametoindex(way->sender));
		assert_int_equal(hop.link, if_nametoindex(way->link));
		assert_int_equal(hop.tag_count, way->tag_count);
		way->hop = edge_hop_value();
		memcpy(way->hop.dst_mac, hop.dst_mac, 6);
		memcpy(way->hop.src_mac, hop.src_mac, 6);
		way->hop.ifindex = hop.ifindex;
		way->hop.tags = hop.tag_count;
		for (uint32_t tag = 0; tag < way->tag_count; tag++) {
			assert_int_equal((uint32_t)hop.tags[tag].protocol << 16 | hop.tags[tag].tci,
					 way->tags[tag]);
			way->hop.tag[tag] =
				(struct gs_tag){.protocol = htons(hop.tags[tag].protocol),
						.tci = htons(hop.tags[tag].tci)};
		}
	}
}

/* ---- forwarding ------------------------------------------------------------------------------ */

static void set_hop(const struct gs_hop_value *hop)
{
	uint32_t id = EDGE_HOP;

	xdp_edge_set(&edge, GS_MAP_HOPS, &id, hop);
}

static struct packet new_flow(void)
{
	return packet_build(&(struct packet_spec){.flags = SYN, .sport = next_port++});
}

/* What leaves for it, by the way. */
static struct packet forwarded(const struct packet *in, const struct way *way)
{
	uint32_t backend = edge_expect_backend(&edge, in, SERVICE_WEB4, 1, 0x5eed);
	struct packet out = edge_expect_frame(in, backend);

	memcpy(out.bytes, way->hop.dst_mac, 6);
	memcpy(out.bytes + 6, way->hop.src_mac, 6);
	return packet_tag(&out, way->tags, way->tag_count);
}

/* By `from` with these tags; it must leave by the way at `to`. */
static void goes(int from, const uint32_t *tags, uint32_t tag_count, const struct way *way, int to)
{
	struct packet in = new_flow(), tagged = packet_tag(&in, tags, tag_count);
	struct packet want = forwarded(&in, way);
	char name[64];

	snprintf(name, sizeof(name), "from %s with %u tags by %s", port_names[from], tag_count,
		 way->link);
	set_hop(&way->hop);
	send_by(from, &tagged);
	expect_at(name, to, &want, want.length);
}

/* Nobody has said yet whose ports they are: redirected to the bond. */
static void forwards_before_the_controller_looks(void **state)
{
	(void)state;
	for (int from = P1; from < PORTS; from++)
		goes(from, NULL, 0, &ways[0], P1);
}

/* In by either port and by another NIC, tagged or not; out by all of them. */
static void forwards_everywhere(void **state)
{
	static const uint32_t tags[] = {0x81000007, 0x8100000a};
	static const uint32_t service_tags[] = {0x88a8001e, 0x81000028};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		for (int from = P1; from < PORTS; from++) {
			goes(from, NULL, 0, &ways[i], ways[i].port);
			goes(from, tags, 1, &ways[i], ways[i].port);
			goes(from, tags, 2, &ways[i], ways[i].port);
			goes(from, service_tags, 2, &ways[i], ways[i].port);
		}
	}
}

/* ---- who has the VIP? ------------------------------------------------------------------------ */

static struct packet arp(uint16_t what, const char *sender, const char *target)
{
	struct packet packet = {.length = 42};
	static const uint8_t asker[6] = {2, 0, 0, 0, 0, 0xa5};

	memset(packet.bytes, 0xff, 6);
	memcpy(packet.bytes + 6, asker, 6);
	memcpy(packet.bytes + 12, "\x08\x06\0\x01\x08\0\x06\x04", 8);
	packet_put16(packet.bytes + 20, what);
	memcpy(packet.bytes + 22, asker, 6);
	assert_int_equal(inet_pton(AF_INET, sender, packet.bytes + 28), 1);
	assert_int_equal(inet_pton(AF_INET, target, packet.bytes + 38), 1);
	return packet;
}

/* The answer has the bond's MAC, whichever port was asked. */
static void arp_is_answered(const char *name, int from, int to)
{
	static const uint8_t asker[6] = {2, 0, 0, 0, 0, 0xa5}, bond[6] = {2, 0, 0, 0, 0, 0xb0};
	struct packet ask = arp(1, "198.51.100.1", "198.51.100.10");
	struct packet want = arp(2, "198.51.100.10", "198.51.100.1");

	memcpy(want.bytes, asker, 6);
	memcpy(want.bytes + 6, bond, 6);
	memcpy(want.bytes + 22, bond, 6);
	memcpy(want.bytes + 32, asker, 6);
	send_by(from, &ask);
	expect_at(name, to, &want, want.length);
}

static void look_at_links(void)
{
	const struct gs_service_key key = {.addr = {0, 0, htonl(0xffff), htonl(0xc633640a)},
					   .marker = 1};
	const struct gs_service_value none = {0};
	struct gs_dataplane dataplane = {0};
	struct gs_announcer announcer = {0};
	const struct gs_reach_ports with = {loop, &dataplane, &announcer};
	struct gs_snapshot *snapshot = fake_snapshot(1);
	struct gs_reach *reach;
	struct gs_error error;

	xdp_edge_set(&edge, GS_MAP_SERVICES, &key, &none);
	if (gs_dataplane_open(PIN_DIR, &dataplane, &error))
		fail_msg("%s", error.text);
	assert_int_equal(gs_announcer_open(&announcer), 0);
	assert_int_equal(gs_reach_new(&with, GS_ANNOUNCE_ON, "/tmp/drained", &reach), 0);
	gs_reach_follow(reach, snapshot);
	assert_string_equal(gs_reach_state(reach)->problem, "");
	assert_int_equal(gs_reach_state(reach)->carrier_count, 2); /* bond0, eth3 */
	gs_reach_free(reach);
	gs_snapshot_free(snapshot);
	announcer.ops->close(announcer.self);
	dataplane.ops->close(dataplane.self);
}

static void on_link_vips_are_answered_for(void **state)
{
	(void)state;
	look_at_links();
	arp_is_answered("asked by the active port", P1, P1);
	arp_is_answered("asked by the other port", P2, P1);
}

/* ---- the kernel's own next hop --------------------------------------------------------------- */

/* It forwards from the bond only, so it must be asked for the bond and not for the port. */
static void the_kernel_is_asked_for_the_bond(void **state)
{
	struct gs_hop_value none = edge_hop_value();
	struct packet in, want;

	(void)state;
	none.mtu = 0;
	run("ip route add 10.1.0.0/16 via 10.8.0.2 dev bond0 && "
	    "echo 1 >/proc/sys/net/ipv4/conf/bond0/forwarding");
	for (int from = P1; from <= P2; from++) {
		in = new_flow();
		want = forwarded(&in, &ways[0]);
		set_hop(&none);
		send_by(from, &in);
		expect_at("the kernel's hop", P1, &want, want.length);
	}
	run("echo 0 >/proc/sys/net/ipv4/conf/bond0/forwarding && ip route del 10.1.0.0/16");
}

/* ---- failover -------------------------------------------------------------------------------- */

static void wait_active(const char *port)
{
	char name[32] = "", line[32];
	FILE *file;

	for (int i = 0; i < WAIT_MS / TRY_MS; i++) {
		file = fopen("/sys/class/net/bond0/bonding/active_slave", "re");
		assert_non_null(file);
		if (fgets(line, sizeof(line), file))
			snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, "\n"), line);
		fclose(file);
		if (strcmp(name, port) == 0)
			return;
		poll(NULL, 0, TRY_MS);
	}
	fail_msg("the active port is %s and not %s", name, port);
}

static void set_mode(uint8_t mode)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(SERVICE_WEB4, 1, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = mode;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

/* A client behind the bond, its backend behind eth3. */
struct nat {
	struct packet in;
	char addr[64]; /* of the backend */
	uint16_t port; /* the edge's own */
};

static void nat_there(struct nat *nat)
{
	const struct gs_hop_value *hop = &ways[3].hop;
	struct packet want;

	nat->in = new_flow();
	edge_backend_addr(edge_expect_backend(&edge, &nat->in, SERVICE_WEB4, 1, 0x5eed), nat->addr);
	want = packet_translate(&nat->in, &(struct packet_ends){"192.0.2.254", nat->addr, 1024, 80,
								hop->dst_mac, hop->src_mac});
	set_hop(hop);
	send_by(P1, &nat->in);
	/* all but checksums and port, which is the edge's choice */
	want = expect_at("the client's packet", P3, &want, 24);
	nat->port = packet_get16(want.bytes + 34);
}

static void nat_back(const struct nat *nat, int to)
{
	const uint8_t *in = nat->in.bytes;
	struct packet back = packet_build(&(struct packet_spec){.src = nat->addr,
								.dst = "192.0.2.254",
								.sport = 80,
								.dport = nat->port,
								.flags = SYN | ACK});
	struct packet want =
		packet_translate(&back, &(struct packet_ends){"198.51.100.10", "192.0.2.1", 80,
							      packet_get16(in + 34), in + 6, in});

	send_by(P3, &back);
	expect_at("the answer", to, &want, want.length);
}

static void wait_carrier(const char *command)
{
	for (int i = 0; i < WAIT_MS / TRY_MS; i++) {
		if (succeeds(command))
			return;
		poll(NULL, 0, TRY_MS);
	}
	fail_msg("%s: never so", command);
}

static void the_other_port_takes_over(void **state)
{
	static const uint32_t vlan[] = {0x8100000a};
	struct nat nat;

	(void)state;
	set_mode(GS_FORWARD_NAT);
	nat_there(&nat);
	run_far("ip link set p1 down");
	wait_active("eth2");
	nat_back(&nat, P2);
	set_mode(GS_FORWARD_IPIP);
	goes(P2, NULL, 0, &ways[0], P2);
	goes(P2, vlan, 1, &ways[1], P2);
	goes(P3, NULL, 0, &ways[2], P2);
	goes(P2, NULL, 0, &ways[4], P3);
	arp_is_answered("asked after the failover", P2, P2);
	run_far("ip link set p1 up"); /* and eth1 is the other one now */
	wait_carrier("ip link show eth1 | grep -q LOWER_UP");
	goes(P1, NULL, 0, &ways[1], P2);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct gs_error error;

	(void)state;
	make_far();
	xdp_edge_adopt(&edge, PIN_DIR);
	assert_int_equal(gs_loop_new(&loop), 0);
	assert_int_equal(gs_neighbour_open(loop, NULL, &nexthop, &error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nexthop.ops->close(nexthop.self);
	gs_loop_free(loop);
	xdp_edge_close(&edge);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hops_behind_bonds_and_vlans),
		cmocka_unit_test(forwards_before_the_controller_looks),
		cmocka_unit_test(on_link_vips_are_answered_for),
		cmocka_unit_test(forwards_everywhere),
		cmocka_unit_test(the_kernel_is_asked_for_the_bond),
		cmocka_unit_test(the_other_port_takes_over),
	};

	return cmocka_run_group_tests_name("bond", tests, setup, teardown);
}
