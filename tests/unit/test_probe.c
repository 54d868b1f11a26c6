/* SPDX-License-Identifier: Apache-2.0 */
/* The prober against real servers on loopback, all of them in this process and on its loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "user/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- a server that does as it is told -------------------------------------------------------- */

enum manner {
	REPLY,	   /* sends `reply` after the request, and waits */
	REPLY_END, /* the same, and closes */
	RESET,	   /* RST after the request */
	HANG_UP,   /* closes after the request, without a word */
	MUTE,	   /* accepts and reads, never answers */
	DRIP,	   /* `reply`, a byte every 2 ms */
	FLOOD,	   /* `reply`, then `flood` bytes of x, for ever if need be */
};

enum { CLIENTS_MAX = 400, REQUEST_MAX = 4096 };

struct client {
	struct server *server;
	struct gs_io io;
	struct gs_timer timer;
	size_t sent;
	size_t received;
};

struct server {
	struct gs_loop *loop;
	struct gs_io io;
	struct gs_addr addr;
	uint16_t port;
	enum manner manner;
	const char *reply;
	const char *flood; /* repeated */
	char request[REQUEST_MAX];
	uint32_t client_count;
	struct client clients[CLIENTS_MAX];
};

static void drop_client(struct client *client, bool by_reset)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (client->io.fd < 0)
		return;
	if (by_reset)
		setsockopt(client->io.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	gs_loop_io_clear(client->server->loop, &client->io);
	gs_loop_timer_clear(client->server->loop, &client->timer);
	close(client->io.fd);
	client->io.fd = -1;
}

static void on_drip(struct gs_timer *timer)
{
	struct client *client = timer->context;
	const char *reply = client->server->reply;

	if (!reply[client->sent] || send(client->io.fd, reply + client->sent, 1, MSG_NOSIGNAL) != 1)
		return;
	client->sent++;
	gs_loop_timer_set(client->server->loop, timer, 2);
}

static void flood(struct client *client)
{
	const char *text = client->server->flood;

	while (send(client->io.fd, text, strlen(text), MSG_NOSIGNAL) > 0)
		client->sent++;
	gs_loop_io_set(client->server->loop, &client->io, EPOLLIN | EPOLLOUT);
}

static void answer(struct client *client)
{
	struct server *server = client->server;

	switch (server->manner) {
	case REPLY:
	case REPLY_END:
		if (send(client->io.fd, server->reply, strlen(server->reply), MSG_NOSIGNAL) < 0 ||
		    server->manner == REPLY_END)
			drop_client(client, false);
		break;
	case RESET:
		drop_client(client, true);
		break;
	case HANG_UP:
		drop_client(client, false);
		break;
	case MUTE:
		break;
	case DRIP:
		on_drip(&client->timer);
		break;
	case FLOOD:
		send(client->io.fd, server->reply, strlen(server->reply), MSG_NOSIGNAL);
		flood(client);
		break;
	}
}

static void on_client(struct gs_io *io, uint32_t epoll_events)
{
	struct client *client = io->context;
	struct server *server = client->server;
	char *to = server->request + client->received;
	ssize_t got;

	if (server->manner == FLOOD && (epoll_events & EPOLLOUT) && client->received > 0)
		flood(client);
	got = recv(io->fd, to, REQUEST_MAX - 1 - client->received, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		drop_client(client, false);
		return;
	}
	client->received += (size_t)got;
	server->request[client->received] = 0;
	if (strstr(server->request, "\r\n\r\n"))
		answer(client);
}

static void on_accept(struct gs_io *io, uint32_t epoll_events)
{
	struct server *server = io->context;
	struct client *client = &server->clients[server->client_count];
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)epoll_events;
	if (fd < 0)
		return;
	assert_true(server->client_count < CLIENTS_MAX);
	server->client_count++;
	client->server = server;
	client->io = (struct gs_io){.fd = fd, .on_ready = on_client, .context = client};
	client->timer = (struct gs_timer){.on_due = on_drip, .context = client};
	assert_int_equal(gs_loop_io_set(server->loop, &client->io, EPOLLIN), 0);
}

static void start_server(struct server *server, struct gs_loop *loop, int family)
{
	memset(server, 0, sizeof(*server));
	server->loop = loop;
	server->io = (struct gs_io){.on_ready = on_accept, .context = server};
	server->io.fd = probe_scene_bind(family, SOCK_STREAM, &server->addr, &server->port);
	assert_int_equal(listen(server->io.fd, 256), 0);
	assert_int_equal(gs_loop_io_set(loop, &server->io, EPOLLIN), 0);
}

static void stop_server(struct server *server)
{
	for (uint32_t i = 0; i < server->client_count; i++)
		drop_client(&server->clients[i], true);
	gs_loop_io_clear(server->loop, &server->io);
	close(server->io.fd);
}

/* ---- the scene ------------------------------------------------------------------------------- */

struct scene {
	struct probe_scene probes;
	struct server server;
};

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	probe_scene_open(&scene->probes, NULL);
	start_server(&scene->server, scene->probes.loop, AF_INET);
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	stop_server(&scene->server);
	probe_scene_close(&scene->probes);
	free(scene);
	return 0;
}

static struct gs_probe_target target_of(const struct server *server, enum gs_probe_kind kind)
{
	struct gs_probe_target target = {.backend = 7, .addr = server->addr, .port = server->port};

	target.spec.kind = kind;
	target.spec.timeout_ms = 5000;
	return target;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static void tcp_accepting(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);

	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	assert_int_equal(scene->probes.token, 1);
	assert_in_range(scene->probes.latency_us, 1, 5000000);
	assert_in_range(scene->probes.rtt_us, 1, scene->probes.latency_us);
}

/* The network's round trip is its own, however long the server thinks. */
static void the_network_alone(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);

	scene->server.reply = "HTTP/1.1 200 OK\r\n\r\n"; /* by a byte each 2 ms */
	scene->server.manner = DRIP;
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	assert_true(scene->probes.latency_us >= 30000);
	assert_in_range(scene->probes.rtt_us, 1, scene->probes.latency_us / 2);
}

static void tcp_ipv6(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target;

	stop_server(&scene->server);
	start_server(&scene->server, scene->probes.loop, AF_INET6);
	target = target_of(&scene->server, GS_PROBE_TCP);
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	target.spec.kind = GS_PROBE_HTTP;
	scene->server.reply = "HTTP/1.1 200 OK\r\n\r\n";
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	assert_non_null(strstr(scene->server.request, "\r\nHost: [::1]:"));
}

static void refusing(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);
	int families[] = {AF_INET, AF_INET6};

	for (int i = 0; i < 4; i++) {
		/* Bound, so that nobody else has the port, but not listening. */
		int fd = probe_scene_bind(families[i / 2], SOCK_STREAM, &target.addr, &target.port);

		target.spec.kind = i % 2 ? GS_PROBE_HTTP : GS_PROBE_TCP;
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_REFUSED);
		assert_int_equal(scene->probes.rtt_us, 0);
		close(fd);
	}
}

/* A queue of accepted connections that is full lets the kernel drop every further SYN. */
static void silent(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);
	GS_AUTO_CLOSE int listener =
		probe_scene_bind(AF_INET, SOCK_STREAM, &target.addr, &target.port);
	GS_AUTO_CLOSE int first = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	GS_AUTO_CLOSE int second = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(target.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	assert_int_equal(listen(listener, 0), 0);
	(void)!connect(first, (struct sockaddr *)&in, sizeof(in));
	(void)!connect(second, (struct sockaddr *)&in, sizeof(in));
	target.spec.timeout_ms = 60;
	assert_int_equal(probe_scene_ask_silence(&scene->probes, &target), GS_PROBE_TIMEOUT);
	assert_true(scene->probes.latency_us >= 59000);
	assert_int_equal(scene->probes.rtt_us, 0);
	target.spec.kind = GS_PROBE_HTTP;
	assert_int_equal(probe_scene_ask_silence(&scene->probes, &target), GS_PROBE_TIMEOUT);
}

/* Connections in the given state (as in /proc/net/tcp) at this port. */
static int count_sockets(uint16_t port, const char *state)
{
	GS_AUTO_FCLOSE FILE *file = fopen("/proc/net/tcp", "r");
	char line[512], want[16];
	int count = 0;

	assert_non_null(file);
	snprintf(want, sizeof(want), "0100007F:%04X", port);
	while (fgets(line, sizeof(line), file)) {
		char local[32], remote[32], has[8];

		if (sscanf(line, " %*s %31s %31s %7s", local, remote, has) == 3 &&
		    strcmp(has, state) == 0 &&
		    (strcmp(local, want) == 0 || strcmp(remote, want) == 0))
			count++;
	}
	return count;
}

static void no_time_wait_piles_up(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);

	scene->server.reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	target.spec.kind = GS_PROBE_HTTP;
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	assert_int_equal(count_sockets(scene->server.port, "06"), 0);
	assert_true(count_sockets(scene->server.port, "0A") >= 1); /* the count can count */
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static char many_headers[200 * 1024]; /* 200 KB in short lines */

static void http_replies(void **state)
{
	static const struct {
		const char *name;
		enum manner manner;
		const char *reply;
		const char *flood;
		enum gs_probe_class want;
		uint32_t timeout_ms; /* 0: long */
	} cases[] = {
		{"200", REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, GS_PROBE_OK, 0},
		{"200, HTTP/1.0, closes", REPLY_END, "HTTP/1.0 200 OK\r\n\r\nfine", 0, GS_PROBE_OK,
		 0},
		{"204", REPLY, "HTTP/1.1 204 No Content\r\n\r\n", 0, GS_PROBE_OK, 0},
		{"no reason phrase", REPLY, "HTTP/1.1 200\r\n\r\n", 0, GS_PROBE_OK, 0},
		{"302 is not followed", REPLY,
		 "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
		 0, GS_PROBE_OK, 0},
		{"1xx, then 200", REPLY,
		 "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 0,
		 GS_PROBE_OK, 0},
		{"1xx, then 500", REPLY,
		 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 0,
		 GS_PROBE_STATUS, 0},
		{"503", REPLY, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 0, GS_PROBE_STATUS,
		 0},
		{"404", REPLY_END, "HTTP/1.1 404 No\r\n\r\n", 0, GS_PROBE_STATUS, 0},
		{"401", REPLY, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n", 0,
		 GS_PROBE_STATUS, 0},
		{"the body never comes", REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 0,
		 GS_PROBE_OK, 0},
		{"an endless body", FLOOD, "HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxx",
		 GS_PROBE_OK, 0},
		{"not HTTP", REPLY_END, "220 mail.example ESMTP\r\n", 0, GS_PROBE_BAD_REPLY, 0},
		{"HTTP/0.9", REPLY_END, "<html>hello</html>", 0, GS_PROBE_BAD_REPLY, 0},
		{"a status that is none", REPLY_END, "HTTP/1.1 abc\r\n\r\n", 0, GS_PROBE_BAD_REPLY,
		 0},
		{"cut in the status line", REPLY_END, "HTTP/1.", 0, GS_PROBE_BAD_REPLY, 0},
		{"hangs up", HANG_UP, 0, 0, GS_PROBE_BAD_REPLY, 0},
		{"resets", RESET, 0, 0, GS_PROBE_RESET, 0},
		{"200 KB of headers", REPLY, many_headers, 0, GS_PROBE_BAD_REPLY, 0},
		{"endless headers", FLOOD, "HTTP/1.1 200 OK\r\n", "X-Pad: xxxxxxxx\r\n",
		 GS_PROBE_BAD_REPLY, 0},
		{"an endless header", FLOOD,
		 "HTTP/1.1 200 OK\r\nX-Pad: ", "xxxxxxxxxxxxxxxxxxxxxxx", GS_PROBE_BAD_REPLY, 0},
		{"an endless first line", FLOOD, "HTTP/1.1 200 ", "xxxxxxxxxxxxxxxxxxxxxxx",
		 GS_PROBE_BAD_REPLY, 0},
		{"byte by byte", DRIP, "HTTP/1.1 200 OK\r\nServer: slow\r\n\r\n", 0, GS_PROBE_OK,
		 0},
		{"byte by byte, too slow", DRIP,
		 "HTTP/1.1 200 OK\r\nX-Pad: 0123456789012345678901234567890123456789\r\n\r\n", 0,
		 GS_PROBE_TIMEOUT, 50},
		{"mute", MUTE, 0, 0, GS_PROBE_TIMEOUT, 50},
		{"no end of headers", REPLY, "HTTP/1.1 200 OK\r\nServer: x\r\n", 0,
		 GS_PROBE_TIMEOUT, 50},
	};
	struct scene *scene = *state;

	strcpy(many_headers, "HTTP/1.1 200 OK\r\n");
	for (size_t at = strlen(many_headers); at < sizeof(many_headers) - 50; at += 16)
		memcpy(many_headers + at, "X-Pad: 8901234\r\n", 17);
	strcat(many_headers, "\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);
		enum gs_probe_class got;

		if (cases[i].timeout_ms)
			target.spec.timeout_ms = cases[i].timeout_ms;
		scene->server.manner = cases[i].manner;
		scene->server.reply = cases[i].reply;
		scene->server.flood = cases[i].flood;
		got = cases[i].want == GS_PROBE_TIMEOUT
			      ? probe_scene_ask_silence(&scene->probes, &target)
			      : probe_scene_ask(&scene->probes, &target);
		if (got != cases[i].want)
			fail_msg("%s: %s, want %s", cases[i].name, gs_probe_class_name(got),
				 gs_probe_class_name(cases[i].want));
	}
}

static void http_request(void **state)
{
	static const struct {
		const char *path, *host, *want_line, *want_host;
	} cases[] = {
		{"", "", "GET / HTTP/1.1\r\n", "\r\nHost: 127.0.0.1:"},
		{"/health", "www.example.net", "GET /health HTTP/1.1\r\n",
		 "\r\nHost: www.example.net\r\n"},
		{"/a/../b?x=%20&y=#z", "198.51.100.10:8080", "GET /a/../b?x=%20&y=#z HTTP/1.1\r\n",
		 "\r\nHost: 198.51.100.10:8080\r\n"},
		{"/@{1..9}[a-z]", "", "GET /@{1..9}[a-z] HTTP/1.1\r\n", "\r\nHost: 127.0.0.1:"},
	};
	struct scene *scene = *state;

	scene->server.reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	setenv("http_proxy", "http://192.0.2.1:9/", 1); /* not looked at */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);

		strcpy(target.spec.path, cases[i].path);
		strcpy(target.spec.host, cases[i].host);
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
		if (strncmp(scene->server.request, cases[i].want_line,
			    strlen(cases[i].want_line)) != 0 ||
		    !strstr(scene->server.request, cases[i].want_host))
			fail_msg("sent: %s", scene->server.request);
	}
	unsetenv("http_proxy");
	assert_int_equal(scene->server.client_count, ARRAY_SIZE(cases)); /* a fresh one each */
}

/* What would smuggle something into the request is our own mistake, not the target's. */
static void http_unfit_requests(void **state)
{
	static const struct {
		const char *path, *host;
	} cases[] = {
		{"/a\r\nX: y", ""}, {"/a b", ""}, {"nope", ""},
		{"/", "a\r\nX: y"}, {"/", "a b"}, {"/\x80", ""},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);

		strcpy(target.spec.path, cases[i].path);
		strcpy(target.spec.host, cases[i].host);
		assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_LOCAL);
	}
	assert_string_equal(scene->server.request, "");
}

/* ---- our own trouble ------------------------------------------------------------------------- */

static void no_descriptors(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);
	struct rlimit old, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(probe_scene_begin(&scene->probes, &target, 1), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(probe_scene_ask(&scene->probes, &target),
			 GS_PROBE_OK); /* that one, not the other */
}

static void no_way_there(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);

	memset(target.addr.bytes + 12, 255, 4); /* TCP to the broadcast address: ENETUNREACH */
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_NO_ROUTE);
	target.spec.kind = GS_PROBE_HTTP;
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_NO_ROUTE);
}

static void no_such_kind(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_NONE);

	assert_int_equal(probe_scene_begin(&scene->probes, &target, 1), -EINVAL);
}

static void hold_the_loop(struct gs_timer *timer)
{
	uint64_t until_us = gs_now_us() + *(uint64_t *)timer->context;

	while (gs_now_us() < until_us)
		;
}

/* A timeout that comes much too late is not the target's; an answer in time is one. */
static void a_loop_that_is_late(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);
	uint64_t held_us = 100000;
	struct gs_timer hog = {.on_due = hold_the_loop, .context = &held_us};

	target.spec.timeout_ms = 50;
	scene->server.manner = MUTE;
	gs_loop_timer_set(scene->probes.loop, &hog, 10);
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_LOCAL);
	target.spec.kind = GS_PROBE_TCP;
	gs_loop_timer_set(scene->probes.loop, &hog, 0);
	assert_int_equal(probe_scene_ask(&scene->probes, &target), GS_PROBE_OK);
	gs_loop_timer_clear(scene->probes.loop, &hog);
}

/* ---- many, and none -------------------------------------------------------------------------- */

static void many_at_once(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_TCP);

	scene->server.reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	for (int round = 0; round < 2; round++) {
		scene->probes.count = 0;
		memset(scene->probes.seen, 0, sizeof(scene->probes.seen));
		for (uint64_t token = 0; token < 150; token++) {
			target.spec.kind = token % 3 ? GS_PROBE_HTTP : GS_PROBE_TCP;
			assert_int_equal(probe_scene_begin(&scene->probes, &target, token), 0);
		}
		probe_scene_run(&scene->probes, 150);
		for (uint64_t token = 0; token < 150; token++)
			assert_int_equal(scene->probes.seen[token], 1);
	}
}

static void cancelled(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target mute = target_of(&scene->server, GS_PROBE_HTTP), other = mute;

	scene->server.manner = MUTE;
	mute.spec.timeout_ms = 100;
	other.backend = 8;
	other.spec.timeout_ms = 150;
	assert_int_equal(probe_scene_begin(&scene->probes, &mute, 1), 0);
	mute.spec.kind = GS_PROBE_TCP;
	assert_int_equal(probe_scene_begin(&scene->probes, &mute, 2), 0);
	scene->probes.prober.ops->cancel(scene->probes.prober.self, 7);
	mute.spec.kind = GS_PROBE_HTTP;
	assert_int_equal(probe_scene_begin(&scene->probes, &mute, 3), 0);
	assert_int_equal(probe_scene_begin(&scene->probes, &other, 4), 0);
	probe_scene_run(&scene->probes, 1); /* 3, in the middle of its exchange */
	assert_int_equal(scene->probes.token, 3);
	assert_int_equal(probe_scene_begin(&scene->probes, &mute, 5), 0);
	scene->probes.prober.ops->cancel(scene->probes.prober.self, 7);
	scene->probes.prober.ops->cancel(scene->probes.prober.self, 9);
	probe_scene_run(&scene->probes, 2);
	assert_int_equal(scene->probes.token, 4);
	assert_int_equal(scene->probes.seen[1] + scene->probes.seen[2] + scene->probes.seen[5], 0);
}

/* Whatever is under way when the prober closes goes with it (ASan would tell). */
static void closed_while_probing(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_target target = target_of(&scene->server, GS_PROBE_HTTP);
	struct gs_probe_target quick = target_of(&scene->server, GS_PROBE_TCP);

	scene->server.manner = MUTE;
	for (uint64_t token = 1; token <= 20; token++)
		assert_int_equal(probe_scene_begin(&scene->probes, &target, token), 0);
	quick.spec.timeout_ms = 30;
	assert_int_equal(probe_scene_begin(&scene->probes, &quick, 21), 0);
	probe_scene_run(&scene->probes, 1);
	assert_int_equal(probe_scene_begin(&scene->probes, &quick, 22), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcp_accepting),
		TEST(the_network_alone),
		TEST(tcp_ipv6),
		TEST(refusing),
		TEST(silent),
		TEST(no_time_wait_piles_up),
		TEST(http_replies),
		TEST(http_request),
		TEST(http_unfit_requests),
		TEST(no_descriptors),
		TEST(no_way_there),
		TEST(no_such_kind),
		TEST(a_loop_that_is_late),
		TEST(many_at_once),
		TEST(cancelled),
		TEST(closed_while_probing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
