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
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 200, TRY_MS = 25 };

static const uint8_t near_mac[6] = {2, 0, 0, 0, 0, 0x11};
static const uint8_t far_mac[6] = {2, 0, 0, 0, 0, 0x22};

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

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	open_far(&far);
	*state = &far;
	run("ip link set lo up");
	run("ip link add gs-near address 02:00:00:00:00:11 type veth peer name gs-far address "
	    "02:00:00:00:00:22");
	snprintf(command, sizeof(command), "ip link set gs-far netns %d", (int)far.pid);
	run(command);
	snprintf(command, sizeof(command),
		 "nsenter --net=/proc/%d/ns/net sh -c 'ip addr add 192.0.2.2/24 dev gs-far; "
		 "ip addr add 2001:db8:1::2/64 dev gs-far nodad; "
		 "ip addr add fe80::2/64 dev gs-far nodad; ip link set gs-far up'",
		 (int)far.pid);
	run(command);
	run("ip addr add 192.0.2.1/24 dev gs-near");
	run("ip addr add 2001:db8:1::1/64 dev gs-near nodad");
	run("ip link set gs-near mtu 1480 up");
	return 0;
}

static int teardown(void **state)
{
	const struct far *far = *state;
	int status;

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
	return nexthop->ops->resolve(nexthop->self, &at, ret_hop);
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

	if (gs_neighbour_open(&nexthop, &error))
		fail_msg("%s", error.text);
	return nexthop;
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
		{"a black hole", "10.66.0.1", -EINVAL},
		{"prohibited", "10.67.0.1", -EACCES},
		{"this machine", "192.0.2.1", 0},
		{"loopback", "127.0.0.1", 0},
		{"IPv6 loopback", "::1", 0},
	};
	struct gs_nexthop nexthop = open_ok();
	const uint8_t no_mac[6] = {0};

	(void)state;
	run("ip route add blackhole 10.66.0.0/16");
	run("ip route add prohibit 10.67.0.0/16");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reached),
		cmocka_unit_test(test_unknown_neighbour_reflects),
		cmocka_unit_test(test_changed_mac),
		cmocka_unit_test(test_not_reached),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
