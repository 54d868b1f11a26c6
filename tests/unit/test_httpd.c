/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP over real sockets on loopback, client and server in turns on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "user/adapters/httpd.h"
#include "user/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	CROWD = 512, /* as many connections as the adapter takes */
	LIMIT_MS = 5000,
};

struct scene {
	struct gs_loop *loop;
	struct fake_store store_fake;
	struct fake_geodb geodb_fake;
	struct fake_nexthop nexthop_fake;
	struct fake_dataplane dataplane_fake;
	struct fake_prober prober_fake;
	struct gs_store store;
	struct gs_geodb geodb;
	struct gs_nexthop nexthop;
	struct gs_dataplane dataplane;
	struct gs_prober prober;
	struct gs_config config;
	struct gs_reconcile *reconcile;
	struct gs_api api;
	struct gs_httpd *httpd;
	struct sockaddr_in addr;
	int crowd[CROWD];

	struct gs_timer poll, limit;
	int asking; /* the socket an answer is waited for on */
	char answer[1024];
	bool timed_out;
};

static void on_poll(struct gs_timer *timer)
{
	struct scene *scene = timer->context;
	ssize_t got = recv(scene->asking, scene->answer, sizeof(scene->answer) - 1, MSG_DONTWAIT);

	if (got < 0 && errno == EAGAIN) {
		gs_loop_timer_set(scene->loop, timer, 2);
		return;
	}
	scene->answer[got > 0 ? got : 0] = '\0';
	gs_loop_stop(scene->loop);
}

static void on_limit(struct gs_timer *timer)
{
	struct scene *scene = timer->context;

	scene->timed_out = true;
	gs_loop_stop(scene->loop);
}

/* A port nobody has: one the kernel gave, given back. */
static int free_port(struct sockaddr_in *ret_addr)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(addr);
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    getsockname(fd, (struct sockaddr *)&addr, &length))
		return -errno;
	*ret_addr = addr;
	return 0;
}

/* A socket for each side of every connection, and some. */
static int allow_crowd(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return -1;
	if (files.rlim_cur >= 2 * CROWD + 100)
		return 0;
	files.rlim_cur = 2 * CROWD + 100;
	return setrlimit(RLIMIT_NOFILE, &files);
}

static int make_edge(struct scene *scene)
{
	struct gs_reconcile_settings settings = {.last_good = "/proc/nowhere/last-good.json"};
	struct gs_reconcile_ports ports = {
		.loop = scene->loop,
		.store = &scene->store,
		.geodb = &scene->geodb,
		.dataplane = &scene->dataplane,
		.nexthop = &scene->nexthop,
		.prober = &scene->prober,
	};

	fake_store_init(&scene->store_fake, &scene->store);
	fake_geodb_init(&scene->geodb_fake, &scene->geodb);
	fake_nexthop_init(&scene->nexthop_fake, &scene->nexthop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_prober_init(&scene->prober_fake, scene->loop, &scene->prober);
	gs_config_default(&scene->config);
	if (gs_reconcile_new(&ports, &settings, &scene->reconcile) ||
	    gs_reconcile_start(scene->reconcile))
		return -1;
	scene->api = (struct gs_api){
		.reconcile = scene->reconcile,
		.dataplane = &scene->dataplane,
		.loop = scene->loop,
		.config = &scene->config,
		.started_ms = gs_loop_now_ms(scene->loop),
	};
	return 0;
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct gs_error error;
	char listen[32];

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	memset(scene->crowd, -1, sizeof(scene->crowd));
	scene->poll = (struct gs_timer){.on_due = on_poll, .context = scene};
	scene->limit = (struct gs_timer){.on_due = on_limit, .context = scene};
	if (allow_crowd() || gs_loop_new(&scene->loop) || make_edge(scene) ||
	    free_port(&scene->addr))
		return -1;
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", ntohs(scene->addr.sin_port));
	return gs_httpd_open(scene->loop, listen, &scene->api, &scene->httpd, &error);
}

static void close_crowd(struct scene *scene)
{
	for (int i = 0; i < CROWD; i++) {
		if (scene->crowd[i] >= 0)
			close(scene->crowd[i]);
		scene->crowd[i] = -1;
	}
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	close_crowd(scene);
	gs_httpd_close(scene->httpd);
	gs_loop_end_worker(scene->loop);
	gs_reconcile_free(scene->reconcile);
	fake_prober_done(&scene->prober_fake);
	gs_loop_free(scene->loop);
	free(scene);
	return 0;
}

static int dial(const struct scene *scene)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&scene->addr, sizeof(scene->addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* True if it was answered in time; the answer is in scene->answer. */
static bool ask(struct scene *scene, int fd)
{
	static const char request[] = "GET /health/live HTTP/1.1\r\nHost: edge\r\n\r\n";

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
		return false;
	scene->asking = fd;
	scene->timed_out = false;
	gs_loop_timer_set(scene->loop, &scene->poll, 0);
	gs_loop_timer_set(scene->loop, &scene->limit, LIMIT_MS);
	gs_loop_run(scene->loop);
	gs_loop_timer_clear(scene->loop, &scene->poll);
	gs_loop_timer_clear(scene->loop, &scene->limit);
	return !scene->timed_out && strncmp(scene->answer, "HTTP/1.1 200 ", 13) == 0;
}

/* Whoever was there in numbers and has gone leaves a server that listens. */
static void a_crowd_that_leaves_is_forgotten(void **state)
{
	struct scene *scene = *state;
	bool answered;
	int fd;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < CROWD; i++) {
			scene->crowd[i] = dial(scene);
			assert_true(scene->crowd[i] >= 0);
		}
		/* connections are taken in order: with the last one, all are in */
		assert_true(ask(scene, scene->crowd[CROWD - 1]));
		close_crowd(scene);
		fd = dial(scene);
		answered = ask(scene, fd);
		close(fd);
		assert_true(answered);
	}
}

/* One too many waits for a place, and gets the first. */
static void one_too_many_waits(void **state)
{
	struct scene *scene = *state;
	bool answered;
	int fd;

	for (int i = 0; i < CROWD; i++) {
		scene->crowd[i] = dial(scene);
		assert_true(scene->crowd[i] >= 0);
	}
	assert_true(ask(scene, scene->crowd[CROWD - 1]));
	fd = dial(scene);
	close(scene->crowd[0]);
	scene->crowd[0] = -1;
	answered = ask(scene, fd);
	close(fd);
	assert_true(answered);
}

static void a_taken_address_is_told(void **state)
{
	struct scene *scene = *state;
	struct gs_httpd *second = NULL;
	struct gs_error error = {""};
	char listen[32];

	snprintf(listen, sizeof(listen), "127.0.0.1:%u", ntohs(scene->addr.sin_port));
	assert_int_equal(gs_httpd_open(scene->loop, listen, &scene->api, &second, &error),
			 -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(error.text, listen));
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(a_crowd_that_leaves_is_forgotten),
		SCENE(one_too_many_waits),
		SCENE(a_taken_address_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
