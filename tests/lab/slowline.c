/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slow line: what is routed to the device comes back out of it, so many milliseconds later. For
 *kernels without a qdisc that delays. Ends with the test, or by a signal.
 *
 *	lab-slowline DEVICE MS [NOISE_MS]
 *
 * NOISE_MS: each packet takes up to so much less or more, by chance; none overtakes another.
 * Says "ready" once the device is there, down and without an address.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PACKETS = 4096, PACKET_MAX = 2048 }; /* beyond: lost, as on any line */

static struct {
	int64_t due_ms;
	size_t size;
	char bytes[PACKET_MAX];
} line[PACKETS];
static uint64_t first, end; /* those in between are under way */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_device(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
		fprintf(stderr, "lab-slowline: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return fd;
}

/* How long poll may wait. */
static int deliver(int fd)
{
	for (; first < end; first++) {
		int64_t left = line[first % PACKETS].due_ms - now_ms();

		if (left > 0)
			return (int)left;
		if (write(fd, line[first % PACKETS].bytes, line[first % PACKETS].size) < 0)
			fprintf(stderr, "lab-slowline: a packet is lost: %s\n", strerror(errno));
	}
	return -1;
}

static int64_t due_ms(int delay_ms, int noise_ms)
{
	int64_t due = now_ms() + delay_ms;

	if (noise_ms > 0)
		due += rand() % (2 * noise_ms + 1) - noise_ms;
	if (end > first && due < line[(end - 1) % PACKETS].due_ms)
		return line[(end - 1) % PACKETS].due_ms;
	return due;
}

static void take(int fd, int delay_ms, int noise_ms)
{
	static char lost[PACKET_MAX];

	for (;;) {
		char *bytes = end - first < PACKETS ? line[end % PACKETS].bytes : lost;
		ssize_t got = read(fd, bytes, PACKET_MAX);

		if (got <= 0)
			return;
		if (bytes == lost)
			continue;
		line[end % PACKETS].size = (size_t)got;
		line[end % PACKETS].due_ms = due_ms(delay_ms, noise_ms);
		end++;
	}
}

int main(int argc, char **argv)
{
	struct pollfd device = {.events = POLLIN};
	int delay_ms = argc == 3 || argc == 4 ? atoi(argv[2]) : 0;
	int noise_ms = argc == 4 ? atoi(argv[3]) : 0;

	if (delay_ms <= 0 || noise_ms < 0 || noise_ms > delay_ms) {
		fprintf(stderr, "lab-slowline DEVICE MS [NOISE_MS]\n");
		return 2;
	}
	device.fd = open_device(argv[1]);
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(&device, 1, deliver(device.fd)) < 0 && errno != EINTR)
			return 1;
		take(device.fd, delay_ms, noise_ms);
	}
}
