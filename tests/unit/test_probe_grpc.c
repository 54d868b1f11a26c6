/* SPDX-License-Identifier: Apache-2.0 */
/* Probes by gRPC's health service, against an HTTP/2 server of nghttp2's and against bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "tests/fakes/tls_server.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum manner {
	ANSWERS,       /* HTTP status, a message, trailers */
	ANSWERS_ONCE,  /* HTTP status and trailers in one: there is no message */
	NO_TRAILERS,   /* the stream ends after the message */
	NO_END,	       /* it does not end */
	RESETS_STREAM, /* RST_STREAM instead */
	GOES_AWAY,     /* GOAWAY instead */
	SAYS,	       /* `raw`, whatever it is */
	SAYS_FOR_EVER,
	ENDS, /* the connection, in the middle of the answer */
};

struct server;

/* One connection: bytes go in and out by whoever has it, plain or through TLS. */
struct talk {
	struct server *server;
	nghttp2_session *session;
	void (*send)(struct talk *talk, const uint8_t *bytes, size_t count);
	struct gs_io io; /* plain */
	SSL *ssl;
	size_t sent; /* of the message */
};

struct server {
	struct gs_loop *loop;
	struct gs_io io;
	struct gs_addr addr;
	uint16_t port;
	enum manner manner;
	const char *http_status, *grpc_status;
	const uint8_t *message; /* with its five bytes of head */
	size_t message_length;
	const char *raw;
	size_t raw_length;
	char headers[1024]; /* of the request: "name: value\n" */
	uint8_t request[512];
	size_t request_length;
	uint32_t count;
	struct talk talks[64];
};

/* ---- the HTTP/2 side ------------------------------------------------------------------------- */

static void flush(struct talk *talk)
{
	const uint8_t *bytes;
	ssize_t count;

	while ((count = nghttp2_session_mem_send(talk->session, &bytes)) > 0)
		talk->send(talk, bytes, (size_t)count);
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static ssize_t read_message(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
			    uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct talk *talk = context;
	struct server *server = talk->server;
	size_t left = server->message_length - talk->sent;

	(void)source;
	if (left == 0 && server->manner == NO_END)
		return NGHTTP2_ERR_DEFERRED;
	left = left < room ? left : room;
	memcpy(out, server->message + talk->sent, left);
	talk->sent += left;
	if (talk->sent < server->message_length || server->manner == NO_END)
		return (ssize_t)left;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (server->manner == ANSWERS) {
		const nghttp2_nv trailer = header("grpc-status", server->grpc_status);

		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, stream, &trailer, 1);
	}
	return (ssize_t)left;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct talk *talk = context;
	struct server *server = talk->server;
	nghttp2_data_provider provider = {.read_callback = read_message};
	const nghttp2_nv headers[] = {header(":status", server->http_status),
				      header("content-type", "application/grpc"),
				      header("grpc-status", server->grpc_status)};
	int32_t stream = frame->hd.stream_id;

	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || stream == 0)
		return 0;
	if (server->manner == RESETS_STREAM)
		nghttp2_submit_rst_stream(session, 0, stream, NGHTTP2_REFUSED_STREAM);
	else if (server->manner == GOES_AWAY)
		nghttp2_submit_goaway(session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
	else if (server->manner == ANSWERS_ONCE)
		nghttp2_submit_response(session, stream, headers, 3, NULL);
	else
		nghttp2_submit_response(session, stream, headers, 2, &provider);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_length, const uint8_t *value, size_t length, uint8_t flags,
		     void *context)
{
	struct server *server = ((struct talk *)context)->server;
	size_t at = strlen(server->headers);

	(void)session;
	(void)frame;
	(void)flags;
	snprintf(server->headers + at, sizeof(server->headers) - at, "%.*s: %.*s\n",
		 (int)name_length, name, (int)length, value);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
		   size_t count, void *context)
{
	struct server *server = ((struct talk *)context)->server;

	(void)session;
	(void)flags;
	(void)stream;
	assert_true(server->request_length + count <= sizeof(server->request));
	memcpy(server->request + server->request_length, bytes, count);
	server->request_length += count;
	return 0;
}

static void open_session(struct talk *talk)
{
	nghttp2_session_callbacks *callbacks;

	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	assert_int_equal(nghttp2_session_server_new(&talk->session, callbacks, talk), 0);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(talk->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

/* ---- without TLS ----------------------------------------------------------------------------- */

static void send_plain(struct talk *talk, const uint8_t *bytes, size_t count)
{
	send(talk->io.fd, bytes, count, MSG_NOSIGNAL);
}

static void drop(struct talk *talk)
{
	if (talk->io.fd < 0)
		return;
	gs_loop_io_clear(talk->server->loop, &talk->io);
	close(talk->io.fd);
	talk->io.fd = -1;
	nghttp2_session_del(talk->session);
	talk->session = NULL;
}

static void on_client(struct gs_io *io, uint32_t epoll_events)
{
	struct talk *talk = io->context;
	struct server *server = talk->server;
	uint8_t bytes[4096];
	ssize_t got = recv(io->fd, bytes, sizeof(bytes), 0);

	if (server->manner == SAYS_FOR_EVER && (epoll_events & EPOLLOUT))
		for (int i = 0; i < 100; i++)
			send(io->fd, server->raw, server->raw_length, MSG_NOSIGNAL);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		drop(talk);
		return;
	}
	if (server->manner == SAYS || server->manner == SAYS_FOR_EVER) {
		send(io->fd, server->raw, server->raw_length, MSG_NOSIGNAL);
		if (server->manner == SAYS_FOR_EVER)
			gs_loop_io_set(server->loop, io, EPOLLIN | EPOLLOUT);
		return;
	}
	nghttp2_session_mem_recv(talk->session, bytes, (size_t)got);
	flush(talk);
	if (server->manner == ENDS && server->request_length > 0)
		drop(talk);
}

static void on_accept(struct gs_io *io, uint32_t epoll_events)
{
	struct server *server = io->context;
	struct talk *talk = &server->talks[server->count];
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)epoll_events;
	if (fd < 0)
		return;
	assert_true(server->count < ARRAY_SIZE(server->talks));
	server->count++;
	*talk = (struct talk){.server = server, .send = send_plain};
	talk->io = (struct gs_io){.fd = fd, .on_ready = on_client, .context = talk};
	open_session(talk);
	assert_int_equal(gs_loop_io_set(server->loop, &talk->io, EPOLLIN), 0);
}

/* ---- the scene ------------------------------------------------------------------------------- */

static const uint8_t SERVING[] = {0, 0, 0, 0, 2, 8, 1};

struct world {
	struct probe_scene scene;
	struct server server;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct server *server = &world->server;

	*state = world;
	probe_scene_open(&world->scene, NULL);
	server->loop = world->scene.loop;
	server->io = (struct gs_io){.on_ready = on_accept, .context = server};
	server->io.fd = probe_scene_bind(AF_INET, SOCK_STREAM, &server->addr, &server->port);
	server->http_status = "200";
	server->grpc_status = "0";
	server->message = SERVING;
	server->message_length = sizeof(SERVING);
	assert_int_equal(listen(server->io.fd, 64), 0);
	assert_int_equal(gs_loop_io_set(server->loop, &server->io, EPOLLIN), 0);
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	struct server *server = &world->server;

	for (uint32_t i = 0; i < server->count; i++)
		drop(&server->talks[i]);
	gs_loop_io_clear(server->loop, &server->io);
	close(server->io.fd);
	probe_scene_close(&world->scene);
	free(world);
	return 0;
}

static struct gs_probe_target target_of(const struct world *world)
{
	return probe_scene_target(GS_PROBE_GRPC, &world->server.addr, world->server.port);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void states(void **state)
{
	static const struct {
		const char *name, *http_status, *grpc_status;
		enum manner manner;
		const char *message;
		size_t length;
		enum gs_probe_class want;
	} cases[] = {
		{"serving", "200", "0", ANSWERS, "\0\0\0\0\2\x08\1", 7, GS_PROBE_OK},
		{"unknown", "200", "0", ANSWERS, "\0\0\0\0\2\x08\0", 7, GS_PROBE_STATUS},
		{"unknown, left out", "200", "0", ANSWERS, "\0\0\0\0\0", 5, GS_PROBE_STATUS},
		{"not serving", "200", "0", ANSWERS, "\0\0\0\0\2\x08\2", 7, GS_PROBE_STATUS},
		{"service unknown", "200", "0", ANSWERS, "\0\0\0\0\2\x08\3", 7, GS_PROBE_STATUS},
		{"a large state", "200", "0", ANSWERS, "\0\0\0\0\4\x08\x81\x80\1", 9,
		 GS_PROBE_STATUS},
		{"a field cut short", "200", "0", ANSWERS,
		 "\0\0\0\0\x15\x12\2hi\x19"
		 "12345678\x25"
		 "1234\x08\1\x18",
		 5 + 4 + 9 + 5 + 2 + 1, GS_PROBE_BAD_REPLY},
		{"all kinds of fields", "200", "0", ANSWERS,
		 "\0\0\0\0\x14\x12\2hi\x19"
		 "12345678\x25"
		 "1234\x08\1",
		 5 + 4 + 9 + 5 + 2, GS_PROBE_OK},
		{"no such service", "200", "5", ANSWERS_ONCE, "", 0, GS_PROBE_STATUS},
		{"no health service", "200", "12", ANSWERS_ONCE, "", 0, GS_PROBE_STATUS},
		{"an error after the message", "200", "14", ANSWERS, "\0\0\0\0\2\x08\1", 7,
		 GS_PROBE_STATUS},
		{"a status that is no number", "200", "none", ANSWERS, "\0\0\0\0\2\x08\1", 7,
		 GS_PROBE_STATUS},
		{"no message", "200", "0", ANSWERS_ONCE, "", 0, GS_PROBE_BAD_REPLY},
		{"404", "404", "0", ANSWERS_ONCE, "", 0, GS_PROBE_STATUS},
		{"503, with a body", "503", "0", ANSWERS, "<html>", 6, GS_PROBE_STATUS},
		{"compressed", "200", "0", ANSWERS, "\1\0\0\0\2\x08\1", 7, GS_PROBE_BAD_REPLY},
		{"longer than it says", "200", "0", ANSWERS, "\0\0\0\0\1\x08\1", 7,
		 GS_PROBE_BAD_REPLY},
		{"shorter than it says", "200", "0", ANSWERS, "\0\0\0\0\3\x08\1", 7,
		 GS_PROBE_BAD_REPLY},
		{"a head only", "200", "0", ANSWERS, "\0\0\0", 3, GS_PROBE_BAD_REPLY},
		{"no protobuf", "200", "0", ANSWERS, "\0\0\0\0\2\xff\xff", 7, GS_PROBE_BAD_REPLY},
		{"a field beyond the end", "200", "0", ANSWERS,
		 "\0\0\0\0\3\x12\x7f"
		 "a",
		 8, GS_PROBE_BAD_REPLY},
		{"no trailers", "200", "0", NO_TRAILERS, "\0\0\0\0\2\x08\1", 7, GS_PROBE_BAD_REPLY},
		{"resets the stream", "200", "0", RESETS_STREAM, "", 0, GS_PROBE_BAD_REPLY},
		{"goes away", "200", "0", GOES_AWAY, "", 0, GS_PROBE_BAD_REPLY},
		{"ends in the middle", "200", "0", ENDS, "\0\0", 2, GS_PROBE_BAD_REPLY},
	};
	struct world *world = *state;
	struct gs_probe_target target = target_of(world);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum gs_probe_class class;

		world->server.http_status = cases[i].http_status;
		world->server.grpc_status = cases[i].grpc_status;
		world->server.manner = cases[i].manner;
		world->server.message = (const uint8_t *)cases[i].message;
		world->server.message_length = cases[i].length;
		world->server.request_length = 0;
		class = probe_scene_ask(&world->scene, &target);
		if (class != cases[i].want)
			fail_msg("%s: %s", cases[i].name, gs_probe_class_name(class));
	}
}

/* A message of more than anybody needs, in one frame and in many. */
static void huge_messages(void **state)
{
	static uint8_t message[60000] = {0, 0, 0, 0xea, 0x5b};
	struct world *world = *state;
	struct gs_probe_target target = target_of(world);

	world->server.message = message;
	world->server.message_length = sizeof(message);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_BAD_REPLY);
	world->server.message_length = 300;
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_BAD_REPLY);
}

static void what_is_sent(void **state)
{
	static const char want[] =
		":method: POST\n:scheme: http\n:path: /grpc.health.v1.Health/Check\n"
		":authority: grpc.test\ncontent-type: application/grpc\nte: trailers\n"
		"grpc-timeout: 5000m\nuser-agent: geostream-probe\n";
	struct world *world = *state;
	struct gs_probe_target target = target_of(world);
	char authority[64];

	strcpy(target.spec.host, "grpc.test");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_string_equal(world->server.headers, want);
	assert_int_equal(world->server.request_length, 5); /* of all services */
	assert_memory_equal(world->server.request, "\0\0\0\0\0", 5);

	memset(world->server.headers, 0, sizeof(world->server.headers));
	world->server.request_length = 0;
	target.spec.host[0] = 0;
	strcpy(target.spec.request, "a.b.Shop");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	snprintf(authority, sizeof(authority), ":authority: 127.0.0.1:%u\n", target.port);
	assert_non_null(strstr(world->server.headers, authority));
	assert_int_equal(world->server.request_length, 15);
	assert_memory_equal(world->server.request,
			    "\0\0\0\0\x0a\x0a\x08"
			    "a.b.Shop",
			    15);

	/* The longest name: its length takes two bytes. */
	memset(target.spec.request, 'x', sizeof(target.spec.request) - 1);
	world->server.request_length = 0;
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_int_equal(world->server.request_length, 5 + 3 + 255);
	assert_memory_equal(world->server.request, "\0\0\0\x01\x02\x0a\xff\x01xxx", 11);
}

static void what_is_no_http2(void **state)
{
	static const struct {
		const char *name, *raw;
		size_t length;
		enum manner manner;
		enum gs_probe_class want;
		uint32_t timeout_ms;
	} cases[] = {
		{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", 47, SAYS,
		 GS_PROBE_BAD_REPLY, 0},
		{"something else", "220 mail ESMTP\r\n220 mail ESMTP\r\n", 32, SAYS,
		 GS_PROBE_BAD_REPLY, 0},
		{"settings alone", "\0\0\0\4\0\0\0\0\0", 9, SAYS, GS_PROBE_TIMEOUT, 60},
		{"nothing", "", 0, SAYS, GS_PROBE_TIMEOUT, 60},
		{"a frame that is too long", "\0\0\0\4\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\1", 18, SAYS,
		 GS_PROBE_BAD_REPLY, 0},
		{"headers that are no HPACK",
		 "\0\0\0\4\0\0\0\0\0\0\0\4\1\4\0\0\0\1\xff\xff\xff\xff", 22, SAYS,
		 GS_PROBE_BAD_REPLY, 0},
		{"settings for ever", "\0\0\0\4\0\0\0\0\0", 9, SAYS_FOR_EVER, GS_PROBE_BAD_REPLY,
		 0},
		{"pings for ever",
		 "\0\0\0\4\0\0\0\0\0\0\0\x08\6\0\0\0\0\0"
		 "12345678",
		 26, SAYS_FOR_EVER, GS_PROBE_BAD_REPLY, 0},
		{"a header block without an end",
		 "\0\0\0\4\0\0\0\0\0\0\0\1\1\0\0\0\0\1\x88\0\0\1\x09\0\0\0\0\1\x88", 29,
		 SAYS_FOR_EVER, GS_PROBE_BAD_REPLY, 0},
	};
	struct world *world = *state;
	struct gs_probe_target target = target_of(world);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum gs_probe_class class;

		world->server.manner = cases[i].manner;
		world->server.raw = cases[i].raw;
		world->server.raw_length = cases[i].length;
		target.spec.timeout_ms = cases[i].timeout_ms ? cases[i].timeout_ms : 5000;
		class = cases[i].timeout_ms ? probe_scene_ask_silence(&world->scene, &target)
					    : probe_scene_ask(&world->scene, &target);
		if (class != cases[i].want)
			fail_msg("%s: %s", cases[i].name, gs_probe_class_name(class));
	}
}

static void no_end(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world);

	world->server.manner = NO_END;
	target.spec.timeout_ms = 80;
	assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
}

/* ---- over TLS -------------------------------------------------------------------------------- */

static void send_tls(struct talk *talk, const uint8_t *bytes, size_t count)
{
	assert_int_equal(SSL_write(talk->ssl, bytes, (int)count), (int)count);
}

static struct server *tls_says; /* what the TLS server's sessions answer */

static bool speak(struct tls_client *client, const char *bytes, size_t count)
{
	struct talk *talk = client->session;

	if (!bytes) { /* it ends */
		if (talk)
			nghttp2_session_del(talk->session);
		free(talk);
		client->session = NULL;
		return false;
	}
	if (!talk) {
		talk = calloc(1, sizeof(*talk));
		talk->server = tls_says;
		talk->send = send_tls;
		talk->ssl = client->ssl;
		open_session(talk);
		client->session = talk;
	}
	nghttp2_session_mem_recv(talk->session, (const uint8_t *)bytes, count);
	flush(talk);
	return true;
}

static void over_tls(void **state)
{
	struct world *world = *state;
	struct tls_certificate ca = tls_certify(NULL, NULL, -3600, 3600);
	struct tls_certificate leaf = tls_certify("DNS:grpc.test", &ca, -3600, 3600);
	struct gs_probe_target target;
	struct tls_server server;
	char path[] = "/tmp/gs-grpc-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	tls_certificate_write(&ca, path);
	tls_says = &world->server;
	tls_server_start(&server, world->scene.loop, AF_INET, &leaf);
	server.speak = speak;
	target = probe_scene_target(GS_PROBE_GRPCS, &server.addr, server.port);
	strcpy(target.spec.host, "grpc.test");
	strcpy(target.spec.trust, path);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_non_null(strstr(world->server.headers, ":scheme: https\n"));
	world->server.message = (const uint8_t *)"\0\0\0\0\2\x08\2";
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_STATUS);
	strcpy(target.spec.host, "other.test");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
	/* To a server without TLS, and without it to one with TLS. */
	target.port = world->server.port;
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
	target.port = server.port;
	target.spec.kind = GS_PROBE_GRPC;
	assert_int_not_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	tls_server_stop(&server);
	tls_certificate_free(&leaf);
	tls_certificate_free(&ca);
	unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(states),		TEST(huge_messages), TEST(what_is_sent),
		TEST(what_is_no_http2), TEST(no_end),	     TEST(over_tls),
	};

	signal(SIGPIPE, SIG_IGN); /* of the servers */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
