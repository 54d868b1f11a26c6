/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real frame that leaves by another interface than it came in by, in a network namespace of its
 * own: BPF_F_TEST_XDP_LIVE_FRAMES lets the kernel carry out the redirect, and the frame arrives at
 * the other end of a veth pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 5000 };

static struct xdp_edge edge;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	/* No neighbour discovery among the frames. */
	assert_int_equal(system("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 && "
				"ip link set lo up && "
				"ip link add gs-out type veth peer name gs-far && "
				"ip link set gs-out up && ip link set gs-far up"),
			 0);
	xdp_edge_open(&edge);
	/* A veth takes redirected frames only if its peer has a program; ours passes IPIP. */
	assert_int_equal(bpf_xdp_attach((int)if_nametoindex("gs-far"), edge.prog_fd,
					XDP_FLAGS_DRV_MODE, NULL),
			 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

/* Frames of this type that arrive at gs-far. */
static int listen_far(uint16_t type)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(type),
				 .sll_ifindex = (int)if_nametoindex("gs-far")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void expect_redirected(const struct packet_spec *spec, uint32_t service, uint32_t location)
{
	struct packet packet = packet_build(spec), want, got = {.length = 0};
	uint32_t backend = edge_expect_backend(&edge, &packet, service, location, 0x5eed);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes, .data_size_in = packet.length,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .repeat = 1);
	struct pollfd far = {.events = POLLIN};
	ssize_t bytes;

	assert_int_not_equal(backend, 0);
	want = edge_expect_frame(&packet, backend);
	far.fd = listen_far(packet_get16(want.bytes + 12));
	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	assert_int_equal(poll(&far, 1, WAIT_MS), 1);
	bytes = read(far.fd, got.bytes, sizeof(got.bytes));
	assert_int_equal(bytes, want.length);
	assert_memory_equal(got.bytes, want.bytes, want.length);
	close(far.fd);
}

static void test_redirect(void **state)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	(void)state;
	hop.ifindex = if_nametoindex("gs-out");
	assert_in_range(hop.ifindex, 2, 1 << 20); /* frames of a test run come in by loopback */
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	expect_redirected(&(struct packet_spec){.flags = 2, .payload = 100}, SERVICE_WEB4, 1);
	expect_redirected(&(struct packet_spec){.family = 6, .flags = 2}, SERVICE_WEB6, 1);
	expect_redirected(&(struct packet_spec){.src = "203.0.113.200", .payload = 1200},
			  SERVICE_WEB4, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_redirect, setup, teardown),
	};

	return cmocka_run_group_tests_name("redirect", tests, NULL, NULL);
}
