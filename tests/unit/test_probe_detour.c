/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes with a detour: to the VIP and from the source it names, if it has a way; else straight to
 * the backend. In a network namespace of the test's own, where it may mark its packets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/probe_scene.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { MARK = 0x47530001 };

static struct fake_detour fake;
static struct gs_detour detour;

/* ---- who answers ----------------------------------------------------------------------------- */

struct server {
	struct gs_loop *loop;
	struct gs_io io;
	struct gs_addr addr;
	uint16_t port;
	struct gs_addr asked_by;
	uint32_t asked;
	const char *reply; /* to a connection, which is held then; NULL: it is closed */
	int held;
};

struct world {
	struct probe_scene scene;
	struct server vip, backend;
};

static struct gs_addr address_of(const struct sockaddr_storage *from)
{
	struct gs_addr addr = {{0}};

	if (from->ss_family == AF_INET)
		return gs_addr_from_v4(ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr));
	memcpy(addr.bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
	return addr;
}

static void on_asked(struct gs_io *io, uint32_t epoll_events)
{
	struct server *server = io->context;
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char byte[64];
	GS_AUTO_CLOSE int fd = accept(io->fd, (struct sockaddr *)&from, &size);

	(void)epoll_events;
	if (fd < 0 && recvfrom(io->fd, byte, sizeof(byte), 0, (struct sockaddr *)&from, &size) < 0)
		return;
	server->asked++;
	server->asked_by = address_of(&from);
	if (fd < 0)
		sendto(io->fd, "yes", 3, 0, (struct sockaddr *)&from, size);
	if (fd < 0 || !server->reply)
		return;
	assert_int_equal(send(fd, server->reply, strlen(server->reply), MSG_NOSIGNAL),
			 strlen(server->reply));
	server->held = gs_take_fd(fd);
}

/* At this port, or any if it is 0. */
static void serve(struct gs_loop *loop, struct server *server, int type, const char *address,
		  uint16_t port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool is_v6 = strchr(address, ':');
	struct sockaddr *own = is_v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
	socklen_t size = is_v6 ? sizeof(in6) : sizeof(in);
	int fd = socket(own->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(gs_addr_parse(address, &server->addr), 0);
	assert_int_equal(inet_pton(own->sa_family, address,
				   is_v6 ? (void *)&in6.sin6_addr : (void *)&in.sin_addr),
			 1);
	assert_int_equal(bind(fd, own, size), 0);
	assert_int_equal(getsockname(fd, own, &size), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	server->port = ntohs(is_v6 ? in6.sin6_port : in.sin_port);
	server->loop = loop;
	server->io = (struct gs_io){.fd = fd, .on_ready = on_asked, .context = server};
	assert_int_equal(gs_loop_io_set(loop, &server->io, EPOLLIN), 0);
}

static void end(struct server *server)
{
	gs_loop_io_clear(server->loop, &server->io);
	close(server->io.fd);
}

static struct gs_probe_target begin(struct world *world, int type, const char *vip)
{
	const struct gs_probe_settings settings = {.commands = "/nowhere", .detour = &detour};
	struct gs_probe_target target;

	memset(world, 0, sizeof(*world));
	fake = (struct fake_detour){.way = {.mark = MARK, .source = gs_addr_from_v4(0x7f000007)}};
	fake_detour_init(&fake, &detour);
	if (strchr(vip, ':'))
		assert_int_equal(gs_addr_parse("::1", &fake.way.source), 0);
	probe_scene_open(&world->scene, &settings);
	serve(world->scene.loop, &world->vip, type, vip, 0);
	serve(world->scene.loop, &world->backend, type, "127.0.0.8", world->vip.port);
	target = probe_scene_target(type == SOCK_STREAM ? GS_PROBE_TCP : GS_PROBE_UDP,
				    &world->backend.addr, world->vip.port);
	strcpy(target.spec.request, "well?");
	target.is_through = true;
	target.vip = world->vip.addr;
	return target;
}

static void finish(struct world *world)
{
	end(&world->vip);
	end(&world->backend);
	probe_scene_close(&world->scene);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static const struct {
	int type;
	const char *vip;
} rows[] = {{SOCK_STREAM, "127.0.0.9"},
	    {SOCK_DGRAM, "127.0.0.9"},
	    {SOCK_STREAM, "::1"}, /* an IPv6 service at an IPv4 backend */
	    {SOCK_DGRAM, "::1"}};

/* TCP is done before anybody accepts: the answer alone does not tell who gave it. */
static void ask(struct world *world, const struct gs_probe_target *target)
{
	assert_int_equal(probe_scene_ask(&world->scene, target), GS_PROBE_OK);
	on_asked(&world->vip.io, 0);
	on_asked(&world->backend.io, 0);
}

static void through(void **state)
{
	struct world world;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gs_probe_target target = begin(&world, rows[i].type, rows[i].vip);

		ask(&world, &target);
		assert_int_equal(world.vip.asked, 1);
		assert_int_equal(world.backend.asked, 0);
		assert_int_equal(gs_addr_compare(&world.vip.asked_by, &fake.way.source), 0);
		finish(&world);
	}
}

static void straight(void **state)
{
	struct world world;
	(void)state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		struct gs_probe_target target = begin(&world, rows[i / 2].type, rows[i / 2].vip);

		fake.why = i % 2 ? "no way" : NULL;
		target.is_through = i % 2;
		ask(&world, &target);
		assert_int_equal(world.vip.asked, 0);
		assert_int_equal(world.backend.asked, 1);
		assert_int_not_equal(gs_addr_compare(&world.backend.asked_by, &fake.way.source), 0);
		assert_int_equal(fake.looks, i % 2); /* nobody asks in vain */
		finish(&world);
	}
}

static void stop(struct gs_timer *timer)
{
	gs_loop_stop(timer->context);
}

/* Has the server's connection been reset? */
static bool is_reset(const struct server *server)
{
	char bytes[512];
	ssize_t got;

	while ((got = recv(server->held, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	return got < 0 && errno == ECONNRESET;
}

/*
 * A server's end that found no socket would be answered by the kernel, without the mark: through
 * the tunnel a connection is kept until its server ends it, if that takes less than a second.
 */
static void farewell(void **state)
{
	enum { SERVER_ENDS, NOBODY_ENDS, STRAIGHT, PROBER_ENDS, WAYS };
	struct world world;
	(void)state;

	for (int way = 0; way < WAYS; way++) {
		struct gs_probe_target target = begin(&world, SOCK_STREAM, "127.0.0.9");
		struct server *server = way == STRAIGHT ? &world.backend : &world.vip;
		struct gs_timer timer = {.on_due = stop, .context = world.scene.loop};

		target.spec.kind = GS_PROBE_HTTP;
		target.is_through = way != STRAIGHT;
		server->reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
		assert_int_equal(probe_scene_ask(&world.scene, &target), GS_PROBE_OK);
		assert_int_equal(is_reset(server), way == STRAIGHT);
		if (way == SERVER_ENDS)
			assert_int_equal(shutdown(server->held, SHUT_WR), 0);
		if (way == PROBER_ENDS) {
			probe_scene_close(&world.scene);
			assert_true(is_reset(server));
			probe_scene_open(&world.scene, NULL);
			world.vip.loop = world.backend.loop = world.scene.loop;
		}
		while (way <= NOBODY_ENDS && !is_reset(server)) {
			gs_loop_timer_set(world.scene.loop, &timer, 10);
			assert_int_equal(gs_loop_run(world.scene.loop), 0);
		}
		close(server->held);
		finish(&world);
	}
}

/* What asks the machine goes to the machine, whoever says otherwise. */
static void without_port(void **state)
{
	struct world world;
	struct gs_probe_target target = begin(&world, SOCK_DGRAM, "127.0.0.9");
	(void)state;

	fake.why = "no way";
	target.spec.kind = GS_PROBE_ICMP;
	target.is_through = false;
	assert_int_equal(probe_scene_ask(&world.scene, &target), GS_PROBE_OK);
	assert_int_equal(fake.looks, 0);
	finish(&world);
}

/* A source that has just gone is our own trouble. */
static void lost_source(void **state)
{
	struct world world;
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		struct gs_probe_target target = begin(&world, rows[i].type, rows[i].vip);

		fake.way.source = gs_addr_from_v4(0xc0000207);
		assert_int_equal(probe_scene_begin(&world.scene, &target, 1), -EADDRNOTAVAIL);
		finish(&world);
	}
}

static void write_file(const char *path, const char *text)
{
	GS_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		perror(path);
}

static int own_network(void **state)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	uid_t uid = geteuid();
	char map[32];
	GS_AUTO_CLOSE int fd = -1;

	(void)state;
	if (unshare(uid == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return -1;
	if (uid != 0) {
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_file("/proc/self/uid_map", map);
	}
	write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return ioctl(fd, SIOCSIFFLAGS, &lo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(through),     cmocka_unit_test(straight),
		cmocka_unit_test(farewell),    cmocka_unit_test(without_port),
		cmocka_unit_test(lost_source),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
