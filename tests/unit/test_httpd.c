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
	REQUEST_MS = 500,
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
	char answer[4096];
	size_t length;
	bool to_the_end;  /* wait for the end of the connection, not for an answer */
	const char *drip; /* sent a byte at a time meanwhile, or NULL */
	bool timed_out;
};

/* Until the connection has ended, or (unless asked to the end) something has come. */
static void on_poll(struct gs_timer *timer)
{
	struct scene *scene = timer->context;
	size_t room = sizeof(scene->answer) - 1 - scene->length;
	ssize_t got = recv(scene->asking, scene->answer + scene->length, room, MSG_DONTWAIT);

	if (got > 0)
		scene->length += (size_t)got;
	scene->answer[scene->length] = '\0';
	if (got == 0 || (got < 0 && errno != EAGAIN) || (got > 0 && !scene->to_the_end)) {
		gs_loop_stop(scene->loop);
		return;
	}
	if (scene->drip && *scene->drip && send(scene->asking, scene->drip, 1, MSG_NOSIGNAL) == 1)
		scene->drip++;
	gs_loop_timer_set(scene->loop, timer, scene->drip ? 20 : 2);
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
	return gs_httpd_open(scene->loop, listen, &scene->api, REQUEST_MS, &scene->httpd, &error);
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

/* True: what was waited for came in time; scene->answer has what was sent. */
static bool await(struct scene *scene, int fd)
{
	scene->asking = fd;
	scene->timed_out = false;
	scene->length = 0;
	gs_loop_timer_set(scene->loop, &scene->poll, 0);
	gs_loop_timer_set(scene->loop, &scene->limit, LIMIT_MS);
	gs_loop_run(scene->loop);
	gs_loop_timer_clear(scene->loop, &scene->poll);
	gs_loop_timer_clear(scene->loop, &scene->limit);
	return !scene->timed_out;
}

static bool tell(int fd, const char *bytes, size_t length)
{
	return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* True if it was answered in time. */
static bool ask(struct scene *scene, int fd)
{
	static const char request[] = "GET /health/live HTTP/1.1\r\nHost: edge\r\n\r\n";

	return tell(fd, request, sizeof(request) - 1) && await(scene, fd) &&
	       strncmp(scene->answer, "HTTP/1.1 200 ", 13) == 0;
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

/* ---- hostile requests ------------------------------------------------------------------------ */

/* `count` times `part` into a text of its own, with what comes before and after. */
static char *repeated(const char *before, const char *part, size_t count, const char *after)
{
	size_t length = strlen(before) + count * strlen(part) + strlen(after) + 1;
	char *text = malloc(length), *at;

	assert_non_null(text);
	at = stpcpy(text, before);
	for (size_t i = 0; i < count; i++)
		at = stpcpy(at, part);
	strcpy(at, after);
	return text;
}

/* One request on a connection of its own: the first answer has this status, and is a problem. */
static void refused(struct scene *scene, const char *request, unsigned int status)
{
	char want[32];
	int fd = dial(scene);
	bool answered = tell(fd, request, strlen(request)) && await(scene, fd);

	close(fd);
	snprintf(want, sizeof(want), "HTTP/1.1 %u ", status);
	if (!answered || strncmp(scene->answer, want, strlen(want)) != 0)
		fail_msg("%.60s: %s", request, scene->answer);
	if (!strstr(scene->answer, "Content-Type: application/problem+json") ||
	    strstr(scene->answer, "<html"))
		fail_msg("%.60s: no problem details: %s", request, scene->answer);
}

#define HEAD "HTTP/1.1\r\nHost: edge\r\n"
#define POST "POST /api/v1/route " HEAD "Content-Type: application/json\r\n"

static void every_refusal_is_a_problem(void **state)
{
	static const struct {
		const char *request;
		unsigned int status;
	} rows[] = {
		{"GET /health/live HTTP/1.1\r\n\r\n", 400}, /* no Host */
		{"GET /health/live " HEAD "Host: other\r\n\r\n", 400},
		{"GET /health/live HTTP/0.4\r\nHost: edge\r\n\r\n", 505},
		{"GET /health/live HTTQ/1.1\r\nHost: edge\r\n\r\n", 400},
		{"GET /health/live " HEAD "no colon\r\n\r\n", 400},
		{POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400},
		{POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
		{POST "Content-Length: two\r\n\r\n{}", 400},
		{POST "Content-Length: 999999999999999999999999\r\n\r\n{}", 413},
		{POST "Content-Length: 1000000\r\n\r\n{}", 413},
		{POST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n", 400},
		{POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n", 400},
		{POST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n", 413},
		{POST "Content-Length: 2\r\n\r\n{}",
		 503}, /* sound HTTP, of an edge without a generation */
		{"GET /health%00junk " HEAD "\r\n", 404},
		{"GET /api/v1/regions/eu%00 " HEAD "\r\n", 503},
		{"GET /api/v1/status?a=1&a=2&a=3&a=4&a=5&a=6&a=7&a=8&a=9 " HEAD "\r\n", 400},
		{"GET /api/v1/status?x " HEAD "\r\n", 400},
		{"BREW / " HEAD "\r\n", 404},
	};
	struct scene *scene = *state;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		refused(scene, rows[i].request, rows[i].status);
	text = repeated("GET /", "x", 20000, " " HEAD "\r\n");
	refused(scene, text, 414);
	free(text);
	text = repeated("GET /health/live " HEAD "X: ", "x", 20000, "\r\n\r\n");
	refused(scene, text, 431);
	free(text);
	text = repeated("GET /health/live " HEAD, "A: b\r\n", 4000, "\r\n");
	refused(scene, text, 431);
	free(text);
	text = repeated(POST "Content-Length: 70000\r\n\r\n", " ", 70000, "");
	refused(scene, text, 413);
	free(text);
	text = repeated(POST "Transfer-Encoding: chunked\r\n\r\n11170\r\n", " ", 0x11170,
			"\r\n0\r\n\r\n");
	refused(scene, text, 413);
	free(text);
	assert_int_equal(gs_httpd_counts(scene->httpd)->responses[4], ARRAY_SIZE(rows) + 5 - 3);
	assert_int_equal(gs_httpd_counts(scene->httpd)->responses[5], 3);
}

/* A body without an end is given up, with an answer or without. */
static void an_endless_body_is_given_up(void **state)
{
	struct scene *scene = *state;
	char *chunk = repeated("4000\r\n", " ", 0x4000, "\r\n");
	static const char head[] = POST "Transfer-Encoding: chunked\r\n\r\n";
	int fd = dial(scene);
	bool taken = tell(fd, head, sizeof(head) - 1);

	for (int i = 0; taken && i < 40; i++)
		taken = tell(fd, chunk, strlen(chunk));
	scene->to_the_end = true;
	assert_true(await(scene, fd));
	assert_null(strstr(scene->answer, " 200 "));
	close(fd);
	free(chunk);
}

/* Of any length and in pieces: what is at its very end is what the answer is about. */
static void a_body_arrives_whole(void **state)
{
	static const size_t lengths[] = {16, 255, 256, 257, 511, 512, 513, 5000, 65536};
	static const char end[] = "{\"last\": 1}";
	struct scene *scene = *state;
	int other = dial(scene);

	for (size_t i = 0; i < 2 * ARRAY_SIZE(lengths); i++) {
		size_t length = lengths[i / 2], blank = length - (sizeof(end) - 1);
		char *body = repeated("", " ", blank, end), *request;
		bool in_pieces = i % 2;
		int fd = dial(scene);

		assert_true(asprintf(&request, POST "Content-Length: %zu\r\n\r\n", length) > 0);
		assert_true(tell(fd, request, strlen(request)));
		/* Each piece has been read once somebody who came after it is answered. */
		for (size_t sent = 0; in_pieces && sent < 3; sent++) {
			assert_true(tell(fd, body + sent * (blank / 4), blank / 4));
			assert_true(ask(scene, other));
		}
		assert_true(tell(fd, body + in_pieces * 3 * (blank / 4),
				 length - in_pieces * 3 * (blank / 4)));
		assert_true(await(scene, fd));
		if (!strstr(scene->answer, " 400 ") || !strstr(scene->answer, "\"field\":\"last\""))
			fail_msg("%zu bytes: %s", length, scene->answer);
		free(request);
		free(body);
		close(fd);
	}
	close(other);
}

/* Requests sent at once are answered in their order, on one connection. */
static void pipelined_requests_are_answered_in_order(void **state)
{
	static const char requests[] = "GET /health/live " HEAD "\r\n"
				       "GET /nothing " HEAD "\r\n"
				       "HEAD /health/live " HEAD "\r\n"
				       "GET /health/live " HEAD "Connection: close\r\n\r\n";
	static const char *const want[] = {"HTTP/1.1 200", "HTTP/1.1 404", "HTTP/1.1 200",
					   "HTTP/1.1 200"};
	struct scene *scene = *state;
	const char *at = scene->answer;
	int fd = dial(scene);

	scene->to_the_end = true;
	assert_true(tell(fd, requests, sizeof(requests) - 1));
	assert_true(await(scene, fd));
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		at = strstr(at, "HTTP/1.1 ");
		assert_non_null(at);
		assert_int_equal(strncmp(at, want[i], strlen(want[i])), 0);
		at++;
	}
	assert_null(strstr(at, "HTTP/1.1 "));
}

/* ---- slow ones ------------------------------------------------------------------------------- */

/* A byte now and then is no request: neither of a head nor of a body. */
static void a_slow_request_is_ended(void **state)
{
	static const char *const drips[] = {
		"GET /health/live HTTP/1.1\r\nHost: edge\r\nX: and so on, for ever and ever and ever",
		POST "Content-Length: 1000\r\n\r\n{ }",
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < ARRAY_SIZE(drips); i++) {
		int fd = dial(scene);

		scene->to_the_end = true;
		scene->drip = drips[i];
		assert_true(await(scene, fd));
		assert_string_equal(scene->answer, "");
		assert_int_equal(gs_httpd_counts(scene->httpd)->connections, 0);
		close(fd);
	}
}

/* Its requests each in time, a connection stays for longer than one may take. */
static void a_busy_connection_stays(void **state)
{
	struct scene *scene = *state;
	uint64_t began_ms = gs_loop_now_ms(scene->loop);
	int fd = dial(scene);

	while (gs_loop_now_ms(scene->loop) < began_ms + 3 * REQUEST_MS)
		assert_true(ask(scene, fd));
	assert_int_equal(gs_httpd_counts(scene->httpd)->connections, 1);
	close(fd);
}

static void a_taken_address_is_told(void **state)
{
	struct scene *scene = *state;
	struct gs_httpd *second = NULL;
	struct gs_error error = {""};
	char listen[32];

	snprintf(listen, sizeof(listen), "127.0.0.1:%u", ntohs(scene->addr.sin_port));
	assert_int_equal(
		gs_httpd_open(scene->loop, listen, &scene->api, REQUEST_MS, &second, &error),
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
		SCENE(every_refusal_is_a_problem),
		SCENE(an_endless_body_is_given_up),
		SCENE(a_body_arrives_whole),
		SCENE(pipelined_requests_are_answered_in_order),
		SCENE(a_slow_request_is_ended),
		SCENE(a_busy_connection_stays),
		SCENE(a_taken_address_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
