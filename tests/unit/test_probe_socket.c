/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that one backend's probes use one after the other: nothing of one shows in the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "user/base/cleanup.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* A listener that the loop does not know: the test is the server, between two turns. */
struct scene {
	struct probe_scene probes;
	int listener;
	struct gs_probe_target target;
};

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct gs_addr addr;
	uint16_t port;

	*state = scene;
	probe_scene_open(&scene->probes, NULL);
	scene->listener = probe_scene_bind(AF_INET, SOCK_STREAM, &addr, &port);
	assert_int_equal(listen(scene->listener, 64), 0);
	scene->target = probe_scene_target(GS_PROBE_TCP, &addr, port);
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	close(scene->listener);
	probe_scene_close(&scene->probes);
	free(scene);
	return 0;
}

/* On loopback the kernel has connected it by now. */
static int begin_and_accept(struct scene *scene, uint16_t *ret_port)
{
	struct sockaddr_storage from = {0};
	socklen_t size = sizeof(from);
	int fd;

	scene->probes.count = 0;
	assert_int_equal(probe_scene_begin(&scene->probes, &scene->target, 1), 0);
	fd = accept4(scene->listener, (struct sockaddr *)&from, &size,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	if (ret_port) /* at the same place in both families */
		*ret_port = ntohs(((struct sockaddr_in *)&from)->sin_port);
	return fd;
}

/* Not found by a last look when time is up, either. */
static enum gs_probe_class result_in_time(struct scene *scene)
{
	probe_scene_run(&scene->probes, 1);
	assert_true(scene->probes.latency_us < scene->target.spec.timeout_ms * 1000);
	return scene->probes.result;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

/* Each is a connection with a port of its own, which the server sees reset; one socket serves all.
 */
static void each_probe_has_a_connection(void **state)
{
	struct scene *scene = *state;
	uint16_t before = 0, port = 0;
	int descriptors = 0;

	for (int i = 0; i < 40; i++) {
		char byte;
		int fd = begin_and_accept(scene, &port);

		assert_int_not_equal(port, before);
		before = port;
		assert_int_equal(result_in_time(scene), GS_PROBE_OK);
		assert_in_range(scene->probes.rtt_us, 1, scene->probes.latency_us);
		assert_int_equal(recv(fd, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(fd);
		if (i == 0)
			descriptors = count_descriptors();
		assert_int_equal(count_descriptors(), descriptors);
	}
}

/* The whole answer is there with the connection, so the loop tells of both at once. */
static void an_answer_before_the_question(void **state)
{
	struct scene *scene = *state;

	scene->target.spec.kind = GS_PROBE_HTTP;
	for (int i = 0; i < 6; i++) {
		int fd = begin_and_accept(scene, NULL);

		say(fd, i % 2 ? "HTTP/1.1 503 No\r\n\r\n" : OK_REPLY);
		assert_int_equal(result_in_time(scene), i % 2 ? GS_PROBE_STATUS : GS_PROBE_OK);
		close(fd);
	}
}

/* Also an end that comes with it, by FIN or by RST. */
static void an_end_before_the_question(void **state)
{
	const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
	struct scene *scene = *state;

	for (int i = 0; i < 8; i++) {
		bool is_http = i % 2, is_reset = i / 2 % 2;
		enum gs_probe_class result;
		int fd;

		scene->target.spec.kind = is_http ? GS_PROBE_HTTP : GS_PROBE_TCP;
		fd = begin_and_accept(scene, NULL);
		if (is_reset)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof(no_linger));
		close(fd);
		result = result_in_time(scene);
		if (is_reset)
			assert_int_equal(result, GS_PROBE_RESET);
		else if (!is_http)
			assert_int_equal(result, GS_PROBE_OK);
		else /* the request meets no reader any more */
			assert_true(result == GS_PROBE_BAD_REPLY || result == GS_PROBE_RESET);
	}
}

/* What a good answer had behind it is not the next one's beginning. */
static void bytes_left_unread(void **state)
{
	static char much[100000];
	struct scene *scene = *state;

	memset(much, 'x', sizeof(much) - 1);
	scene->target.spec.kind = GS_PROBE_HTTP;
	for (int i = 0; i < 6; i++) {
		int fd = begin_and_accept(scene, NULL);

		say(fd, i % 2 ? "HTTP/1.1 404 No\r\n\r\n" : OK_REPLY);
		(void)!send(fd, much, sizeof(much) - 1, MSG_NOSIGNAL);
		assert_int_equal(result_in_time(scene), i % 2 ? GS_PROBE_STATUS : GS_PROBE_OK);
		close(fd);
	}
}

/* A backend that has another address is asked there, in whichever family. */
static void another_address(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = scene->target, six = scene->target;
	int listener_six = probe_scene_bind(AF_INET6, SOCK_STREAM, &six.addr, &six.port);

	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(probe_scene_ask(&scene->probes, &six), GS_PROBE_REFUSED);
		target.addr.bytes[15] = 2; /* 127.0.0.2, where nobody listens */
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_REFUSED);
		target.addr.bytes[15] = 1;
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
		target.port = six.port;
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_REFUSED);
		target.port = scene->target.port;
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	}
	assert_int_equal(listen(listener_six, 8), 0);
	assert_int_equal(probe_scene_ask(&scene->probes, &six), GS_PROBE_OK);
	assert_int_equal(probe_scene_ask(&scene->probes, &scene->target), GS_PROBE_OK);
	close(listener_six);
}

struct trap {
	struct scene *scene;
	struct gs_io io; /* always ready */
	struct gs_probe_target silent;
	bool is_begun;
};

static void on_trap(struct gs_io *io, uint32_t epoll_events)
{
	struct trap *trap = io->context;

	(void)epoll_events;
	if (trap->is_begun || trap->scene->probes.count == 0)
		return;
	trap->is_begun = true;
	trap->silent.spec.timeout_ms = 60;
	assert_int_equal(probe_scene_begin(&trap->scene->probes, &trap->silent, 2), 0);
	gs_loop_io_clear(trap->scene->probes.loop, io);
}

/* Bound and with a queue that is full: the kernel drops every SYN. */
static int make_silent(struct gs_probe_target *target, int ret_clients[2])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = probe_scene_bind(AF_INET, SOCK_STREAM, &target->addr, &target->port);

	in.sin_port = htons(target->port);
	assert_int_equal(listen(listener, 0), 0);
	for (int i = 0; i < 2; i++) {
		ret_clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(ret_clients[i], (struct sockaddr *)&in, sizeof(in));
	}
	return listener;
}

/*
 * The end of one connection is still to be told when the next probe of that backend begins, in the
 * same turn: it is not taken for an answer.
 */
static void what_is_told_late(void **state)
{
	struct scene *scene = *state;
	struct trap trap = {.scene = scene, .silent = scene->target};
	int pipe_fds[2], clients[2], listener = make_silent(&trap.silent, clients);

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(write(pipe_fds[1], "x", 1), 1);
	trap.io = (struct gs_io){.fd = pipe_fds[0], .on_ready = on_trap, .context = &trap};
	for (int i = 0; i < 10; i++) {
		trap.is_begun = false;
		scene->probes.count = 0;
		assert_int_equal(gs_loop_io_set(scene->probes.loop, &trap.io, EPOLLIN), 0);
		assert_int_equal(probe_scene_begin(&scene->probes, &scene->target, 1), 0);
		probe_scene_run(&scene->probes, 2);
		assert_true(trap.is_begun);
		assert_int_equal(scene->probes.token, 2);
		assert_true(scene->probes.result == GS_PROBE_TIMEOUT ||
			    scene->probes.result == GS_PROBE_LOCAL); /* this machine was late */
	}
	for (int i = 0; i < 2; i++) {
		close(clients[i]);
		close(pipe_fds[i]);
	}
	close(listener);
}

static void cancel(struct scene *scene)
{
	struct gs_prober *prober = &scene->probes.prober;

	prober->ops->cancel(prober->self, scene->target.backend);
}

/* Who is probed no more has no socket kept, either. */
static void a_backend_that_is_gone(void **state)
{
	struct scene *scene = *state;
	int descriptors = count_descriptors();

	assert_int_equal(probe_scene_ask(&scene->probes, &scene->target), GS_PROBE_OK);
	assert_int_equal(count_descriptors(), descriptors + 1);
	cancel(scene);
	assert_int_equal(count_descriptors(), descriptors);
	cancel(scene);
	assert_int_equal(probe_scene_ask(&scene->probes, &scene->target), GS_PROBE_OK);
}

/* No descriptors are left: the socket that waits for another backend makes room. */
static void no_descriptors(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target other = scene->target;
	int taken[64], count = 0;
	struct rlimit limit, few;

	other.backend = scene->target.backend + 1;
	assert_int_equal(probe_scene_ask(&scene->probes, &other), GS_PROBE_OK);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = (struct rlimit){.rlim_cur = 40, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < 64 && (taken[count] = dup(scene->listener)) >= 0)
		count++;
	assert_int_equal(errno, EMFILE);
	assert_int_equal(probe_scene_ask(&scene->probes, &scene->target), GS_PROBE_OK);
	while (count > 0)
		close(taken[--count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_probe_has_a_connection),
		TEST(an_answer_before_the_question),
		TEST(an_end_before_the_question),
		TEST(bytes_left_unread),
		TEST(another_address),
		TEST(what_is_told_late),
		TEST(a_backend_that_is_gone),
		TEST(no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
