/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detour on this kernel: what a marked socket sends comes out of the NIC wrapped, checksums
 * filled in, tags in front; when there is no way it says why; and what is left of it, however it
 * ends. In a network namespace of the test's own:
 *
 *	edge0 192.0.2.2/24, 2001:db8:e::2/64  ----  far0, where this test listens
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_probe.h"
#include "packet.h"
#include "pinned_edge.h"
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKEND = 7, HOP = 3, IP4 = 20, IP6 = 40, UDP = 8, TCI = 0x2064 };

#define VIP4 "198.51.100.10"
#define VIP6 "2001:db8:100::10"

static struct pinned_edge edge;
static int far_fd;
static char object[256];

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static bool succeeds(const char *command)
{
	char quiet[256];

	snprintf(quiet, sizeof(quiet), "%s >/dev/null 2>&1", command);
	return system(quiet) == 0;
}

static void set(const char *map, uint32_t key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(pinned_edge_map(&edge, map), &key, value, BPF_ANY), 0);
}

static struct gs_hop_value hop_value(void)
{
	struct gs_hop_value hop = {.mtu = 1500,
				   .ifindex = if_nametoindex("edge0"),
				   .dst_mac = {2, 0, 0, 0, 0, 0xaa},
				   .src_mac = {2, 0, 0, 0, 0, 0xbb}};

	assert_int_equal(inet_pton(AF_INET, "192.0.2.2", &hop.src4), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:e::2", hop.src6), 1);
	return hop;
}

static void put_world(enum gs_forward_mode mode, uint8_t family, struct gs_hop_value hop)
{
	struct gs_backend_value backend = {.hop = HOP, .mode = mode, .family = family};

	packet_addr(family == 4 ? "10.1.0.11" : "fd00:1::11", (uint8_t *)backend.addr);
	set(GS_MAP_BACKENDS, BACKEND, &backend);
	set(GS_MAP_HOPS, HOP, &hop);
}

static struct gs_probe_target target_of(uint8_t family, const char *vip)
{
	struct gs_probe_target target = {.backend = BACKEND, .port = 80, .is_through = true};

	packet_addr(family == 4 ? "10.1.0.11" : "fd00:1::11", target.addr.bytes);
	packet_addr(vip, target.vip.bytes);
	return target;
}

static struct gs_detour detour_open(void)
{
	struct gs_detour detour;

	assert_int_equal(gs_detour_open(edge.pin_dir, object, &detour), 0);
	return detour;
}

static void detour_close(const struct gs_detour *detour)
{
	detour->ops->close(detour->self);
}

/* Everything of it but what only its end takes away. */
static bool leads_marks(const char *family)
{
	char command[128];

	snprintf(command, sizeof(command), "ip %s rule | grep -q 'fwmark 0x47530000/0xffffc000'",
		 family);
	return succeeds(command);
}

/* ---- what comes out -------------------------------------------------------------------------- */

static int is_wanted(const struct packet *frame)
{
	const uint8_t *ip = frame->bytes + PACKET_L3;
	const uint8_t dst[6] = {2, 0, 0, 0, 0, 0xaa};

	return frame->length > PACKET_L3 + IP4 && memcmp(frame->bytes, dst, 6) == 0 &&
	       (ip[0] >> 4 == 4 || ip[0] >> 4 == 6);
}

/* The next frame to the hop's MAC; *ret_tag: type and TCI of its tag, 0: it has none. */
static struct packet hear(uint32_t *ret_tag)
{
	struct packet frame = {.length = 0};
	char control[128];
	struct iovec iov = {.iov_base = frame.bytes, .iov_len = sizeof(frame.bytes)};
	struct pollfd ready = {.fd = far_fd, .events = POLLIN};

	do {
		struct msghdr message = {.msg_iov = &iov,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		struct cmsghdr *part;
		ssize_t got;

		assert_int_equal(poll(&ready, 1, 10000), 1);
		got = recvmsg(far_fd, &message, 0);
		assert_true(got > 0);
		frame.length = (uint32_t)got;
		*ret_tag = 0;
		for (part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
			const struct tpacket_auxdata *aux = (const void *)CMSG_DATA(part);

			if (part->cmsg_type == PACKET_AUXDATA &&
			    aux->tp_status & TP_STATUS_VLAN_VALID)
				*ret_tag = (uint32_t)aux->tp_vlan_tpid << 16 | aux->tp_vlan_tci;
		}
	} while (!is_wanted(&frame));
	return frame;
}

static void ask(const struct gs_detour_way *way, int type, const char *vip)
{
	bool is_v6 = strchr(vip, ':');
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)}, from6 = to6;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)}, from = to;
	GS_AUTO_CLOSE int fd =
		socket(is_v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = is_v6 ? sizeof(to6) : sizeof(to);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, vip,
				   is_v6 ? (void *)&to6.sin6_addr : (void *)&to.sin_addr),
			 1);
	memcpy(&from6.sin6_addr, way->source.bytes, 16);
	memcpy(&from.sin_addr, way->source.bytes + 12, 4);
	from6.sin6_port = from.sin_port = 0;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &way->mark, sizeof(way->mark)), 0);
	assert_int_equal(bind(fd, is_v6 ? (void *)&from6 : (void *)&from, size), 0);
	if (connect(fd, is_v6 ? (void *)&to6 : (void *)&to, size))
		assert_int_equal(errno, EINPROGRESS);
	if (type == SOCK_DGRAM)
		assert_int_equal(send(fd, "well?", 5, 0), 5);
}

/* Whole, and with the checksums that would have it arrive. */
static void expect_inside(const struct packet *frame, uint32_t at, int type, const char *vip)
{
	struct packet inner = {.length = PACKET_L3 + frame->length - at}, again;
	bool is_v6 = strchr(vip, ':');
	uint8_t to[16];

	memcpy(inner.bytes + PACKET_L3, frame->bytes + at, frame->length - at);
	inner.l4 = PACKET_L3 + (is_v6 ? IP6 : IP4);
	inner.protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	assert_int_equal(inner.bytes[PACKET_L3] >> 4, is_v6 ? 6 : 4);
	assert_int_equal(packet_get16(inner.bytes + PACKET_L3 + (is_v6 ? 4 : 2)),
			 inner.length - PACKET_L3 - (is_v6 ? IP6 : 0));
	packet_addr(vip, to);
	assert_memory_equal(inner.bytes + PACKET_L3 + (is_v6 ? 24 : 16), is_v6 ? to : to + 12,
			    is_v6 ? 16 : 4);
	again = inner;
	packet_fix_l4(&again);
	assert_memory_equal(again.bytes, inner.bytes, inner.length);
}

static void test_on_the_wire(void **state)
{
	static const struct {
		enum gs_forward_mode mode;
		uint8_t family;
		uint32_t outer;
		const char *vip;
	} rows[] = {
		{GS_FORWARD_IPIP, 4, IP4, VIP4},      {GS_FORWARD_IPIP, 4, IP4, VIP6},
		{GS_FORWARD_IPIP, 6, IP6, VIP4},      {GS_FORWARD_IPIP, 6, IP6, VIP6},
		{GS_FORWARD_GUE, 4, IP4 + UDP, VIP4}, {GS_FORWARD_GUE, 4, IP4 + UDP, VIP6},
		{GS_FORWARD_GUE, 6, IP6 + UDP, VIP4}, {GS_FORWARD_GUE, 6, IP6 + UDP, VIP6},
		{GS_FORWARD_L2, 4, 0, VIP4},	      {GS_FORWARD_L2, 6, 0, VIP6},
	};
	struct gs_detour detour = detour_open();
	struct gs_detour_way way = {0};
	struct gs_counter counters[GS_DETOUR_COUNTERS_MAX];
	uint32_t tag;
	(void)state;

	for (unsigned i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct gs_probe_target target = target_of(rows[i / 2].family, rows[i / 2].vip);
		int type = i % 2 ? SOCK_STREAM : SOCK_DGRAM;
		struct packet frame;
		const char *why;

		put_world(rows[i / 2].mode, rows[i / 2].family, hop_value());
		why = detour.ops->look(detour.self, &target, &way);
		if (why)
			fail_msg("row %u: %s", i / 2, why);
		assert_int_equal(way.mark, GS_PROBE_MARK + BACKEND);
		ask(&way, type, rows[i / 2].vip);
		frame = hear(&tag);
		assert_int_equal(tag, 0);
		if (rows[i / 2].outer)
			assert_int_equal(frame.bytes[PACKET_L3] >> 4, rows[i / 2].family);
		expect_inside(&frame, PACKET_L3 + rows[i / 2].outer, type, rows[i / 2].vip);
	}
	assert_int_equal(detour.ops->count(detour.self, counters), GS_WRAP__COUNT);
	assert_string_equal(counters[GS_WRAP_sent].name, "sent");
	assert_true(counters[GS_WRAP_sent].packets >= 2 * sizeof(rows) / sizeof(rows[0]));
	detour_close(&detour);
}

static void test_tags(void **state)
{
	struct gs_detour detour = detour_open();
	struct gs_probe_target target = target_of(4, VIP4);
	struct gs_hop_value hop = hop_value();
	struct gs_detour_way way = {0};
	struct packet frame;
	uint32_t tag;
	(void)state;

	hop.tags = 1;
	hop.tag[0] = (struct gs_tag){.protocol = htons(0x8100), .tci = htons(TCI)};
	put_world(GS_FORWARD_IPIP, 4, hop);
	assert_null(detour.ops->look(detour.self, &target, &way));
	ask(&way, SOCK_STREAM, VIP4);
	frame = hear(&tag);
	assert_int_equal(tag, 0x81000000u | TCI);
	expect_inside(&frame, PACKET_L3 + IP4, SOCK_STREAM, VIP4);
	detour_close(&detour);
}

/* ---- why not --------------------------------------------------------------------------------- */

static void expect_why(const char *family_vip, uint8_t family, const char *want)
{
	struct gs_detour detour = detour_open();
	struct gs_probe_target target = target_of(family, family_vip);
	struct gs_detour_way way = {0};
	const char *why = detour.ops->look(detour.self, &target, &way);

	if (!why != !want || (why && !strstr(why, want)))
		fail_msg("\"%s\" instead of \"%s\"", why ? why : "", want ? want : "");
	detour_close(&detour);
}

static void test_tables(void **state)
{
	struct gs_backend_value backend = {0};
	struct gs_hop_value hop = hop_value();
	(void)state;

	set(GS_MAP_BACKENDS, BACKEND, &backend);
	expect_why(VIP4, 4, "not in force yet");
	put_world(GS_FORWARD_IPIP, 6, hop);
	expect_why(VIP4, 4, "not in force yet"); /* its address is another one there */
	put_world(GS_FORWARD_NAT, 4, hop);
	expect_why(VIP4, 4, "another mode");
	hop.mtu = 0;
	put_world(GS_FORWARD_IPIP, 4, hop);
	expect_why(VIP4, 4, "next hop");
	hop = hop_value();
	hop.flags = GS_HOP_REFLECT;
	put_world(GS_FORWARD_IPIP, 4, hop);
	expect_why(VIP4, 4, "next hop");
	put_world(GS_FORWARD_IPIP, 4, hop_value());
	expect_why(VIP4, 4, NULL);
}

static void test_kernel(void **state)
{
	static const struct {
		const char *before, *after, *vip;
		uint8_t family;
		const char *want;
	} rows[] = {
		{"ip addr add " VIP4 "/32 dev lo", "ip addr del " VIP4 "/32 dev lo", VIP4, 4,
		 "an address of this machine"},
		{"ip addr add " VIP6 "/128 dev lo nodad", "ip addr del " VIP6 "/128 dev lo", VIP6,
		 4, "VIP"},
		{"sysctl -qw net.ipv4.conf.edge0.rp_filter=1 && ip route add 198.51.100.0/24 dev lo",
		 "sysctl -qw net.ipv4.conf.edge0.rp_filter=0 && ip route del 198.51.100.0/24 dev lo",
		 VIP4, 4, "rp_filter"},
		{"ip rule add pref 100 lookup main", "ip rule del pref 100", VIP4, 4,
		 "another rule"},
		{"ip route del default", "ip route add default via 192.0.2.1", VIP4, 4,
		 "no route to the backend"},
		{"ip route del default", "ip route add default via 192.0.2.1", VIP4, 6,
		 "no address of the VIP's family"},
		{"true", "true", VIP4, 4, NULL},
	};
	(void)state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_world(GS_FORWARD_IPIP, rows[i].family, hop_value());
		run(rows[i].before);
		expect_why(rows[i].vip, rows[i].family, rows[i].want);
		run(rows[i].after);
	}
}

static void test_nothing_to_work_with(void **state)
{
	struct gs_probe_target target = target_of(4, VIP4);
	struct gs_detour detour;
	struct gs_detour_way way;
	(void)state;

	assert_int_equal(gs_detour_open("/sys/fs/bpf/nowhere", object, &detour), 0);
	assert_non_null(strstr(detour.ops->look(detour.self, &target, &way), "nowhere"));
	detour_close(&detour);
	assert_int_equal(gs_detour_open(edge.pin_dir, "/nowhere.o", &detour), 0);
	assert_non_null(strstr(detour.ops->look(detour.self, &target, &way), "/nowhere.o"));
	assert_false(leads_marks("-4"));
	assert_int_equal(if_nametoindex(GS_PROBE_DEVICE), 0);
	detour_close(&detour);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static void test_end(void **state)
{
	struct gs_detour detour = detour_open(), other;
	struct gs_probe_target target = target_of(4, VIP4);
	struct gs_detour_way way;
	(void)state;

	assert_true(if_nametoindex(GS_PROBE_DEVICE) > 0);
	assert_true(leads_marks("-4") && leads_marks("-6"));
	/* One daemon's, and not another's. */
	other = detour_open();
	assert_non_null(strstr(other.ops->look(other.self, &target, &way), "another process"));
	detour_close(&other);
	put_world(GS_FORWARD_IPIP, 4, hop_value());
	assert_null(detour.ops->look(detour.self, &target, &way));
	detour_close(&detour);
	assert_int_equal(if_nametoindex(GS_PROBE_DEVICE), 0);
	assert_false(leads_marks("-4") || leads_marks("-6"));
	assert_false(succeeds("ip route show table all | grep 18259"));
	assert_false(succeeds("ip -6 route show table all | grep 18259"));
}

/* Killed: the device is gone with all its routes; marks lead nowhere, until the next one comes. */
static void test_kill(void **state)
{
	struct gs_detour detour;
	struct gs_probe_target target = target_of(4, VIP4);
	struct gs_detour_way way;
	pid_t child = fork();
	int status;
	(void)state;

	if (child == 0) {
		struct gs_detour doomed;

		_exit(gs_detour_open(edge.pin_dir, object, &doomed) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(if_nametoindex(GS_PROBE_DEVICE), 0);
	assert_true(leads_marks("-4") && leads_marks("-6"));
	assert_false(succeeds("ip route get " VIP4 " mark 0x47530007"));
	assert_false(succeeds("ip -6 route get " VIP6 " mark 0x47530007"));
	assert_true(succeeds("ip route get " VIP4));
	detour = detour_open();
	put_world(GS_FORWARD_IPIP, 4, hop_value());
	assert_null(detour.ops->look(detour.self, &target, &way));
	run("test \"$(ip rule | grep -c 0x47530000)\" = 1");
	detour_close(&detour);
	assert_false(leads_marks("-4") || leads_marks("-6"));
}

/* What somebody tidied away is made again, within a second; until then nothing leaves by it. */
static void test_tidied_away(void **state)
{
	static const char *const ways[] = {"ip rule del pref 4753", "ip route flush table 18259",
					   "ip link del " GS_PROBE_DEVICE,
					   "ip link set " GS_PROBE_DEVICE " down"};
	static const char lead[] =
		"ip route get " VIP4 " mark 0x47530007 | grep -q 'dev " GS_PROBE_DEVICE "'";
	struct gs_probe_target target = target_of(4, VIP4);
	struct gs_detour detour = detour_open();
	struct gs_detour_way way;
	(void)state;

	put_world(GS_FORWARD_IPIP, 4, hop_value());
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct timespec before, now;
		const char *why;

		run(ways[i]);
		clock_gettime(CLOCK_MONOTONIC, &before);
		do {
			why = detour.ops->look(detour.self, &target, &way);
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (now.tv_sec - before.tv_sec > 20)
				fail_msg("%s: %s", ways[i], why ? why : "marks lead elsewhere");
		} while (why || !succeeds(lead));
	}
	detour_close(&detour);
	assert_false(leads_marks("-4") || leads_marks("-6"));
}

static int setup(void **state)
{
	struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	const char *build = getenv("BUILD");
	const int yes = 1;

	(void)state;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	snprintf(object, sizeof(object), "%s/bpf/gs_probe.bpf.o", build ? build : "build");
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up && ip link add edge0 type veth peer name far0 && "
	    "ethtool -K edge0 tx off >/dev/null && ip link set far0 up && ip link set edge0 up && "
	    "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.edge0.rp_filter=0 && "
	    "ip addr add 192.0.2.2/24 dev edge0 && ip addr add 2001:db8:e::2/64 dev edge0 nodad && "
	    "ip route add default via 192.0.2.1 && ip -6 route add default via 2001:db8:e::1");
	pinned_edge_open(&edge);
	far_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	here.sll_ifindex = (int)if_nametoindex("far0");
	assert_int_equal(bind(far_fd, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(setsockopt(far_fd, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof(yes)), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(far_fd);
	pinned_edge_close(&edge);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_on_the_wire),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_nothing_to_work_with),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_tidied_away),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
