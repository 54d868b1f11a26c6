/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes by one packet: udp, dns and icmp, against responders on loopback, in a network namespace
 * of the test's own, where it may say who may send echo requests, and whether they are answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "user/adapters/probe_dns.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- a responder ----------------------------------------------------------------------------- */

struct responder {
	struct gs_loop *loop;
	struct gs_io io;
	struct gs_addr addr;
	uint16_t port;
	/* Fills `reply`, which begins as the request, and returns its length; 0: none. */
	size_t (*answer)(struct responder *responder, uint8_t *reply, size_t length);
	const char *text;
	size_t text_length;
	uint8_t request[512];
	size_t request_length;
};

static uint8_t reply[65536];

static void on_packet(struct gs_io *io, uint32_t epoll_events)
{
	struct responder *responder = io->context;
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	ssize_t got = recvfrom(io->fd, reply, sizeof(reply), 0, (struct sockaddr *)&from, &size);
	size_t length;

	(void)epoll_events;
	if (got < 0)
		return;
	responder->request_length = (size_t)got;
	memcpy(responder->request, reply, (size_t)got < 512 ? (size_t)got : 512);
	length = responder->answer(responder, reply, (size_t)got);
	if (length > 0)
		sendto(io->fd, reply, length, 0, (struct sockaddr *)&from, size);
}

struct world {
	struct probe_scene scene;
	struct responder responder;
};

static void respond(struct world *world, int family)
{
	struct responder *responder = &world->responder;

	if (responder->loop) {
		gs_loop_io_clear(responder->loop, &responder->io);
		close(responder->io.fd);
	}
	responder->loop = world->scene.loop;
	responder->io = (struct gs_io){.on_ready = on_packet, .context = responder};
	responder->io.fd = probe_scene_bind(family, SOCK_DGRAM, &responder->addr, &responder->port);
	assert_int_equal(gs_loop_io_set(responder->loop, &responder->io, EPOLLIN), 0);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	probe_scene_open(&world->scene, NULL);
	respond(world, AF_INET);
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	gs_loop_io_clear(world->scene.loop, &world->responder.io);
	close(world->responder.io.fd);
	probe_scene_close(&world->scene);
	free(world);
	return 0;
}

static struct gs_probe_target target_of(const struct world *world, enum gs_probe_kind kind,
					const char *request)
{
	struct gs_probe_target target =
		probe_scene_target(kind, &world->responder.addr, world->responder.port);

	snprintf(target.spec.request, sizeof(target.spec.request), "%s", request);
	return target;
}

/* ---- UDP ------------------------------------------------------------------------------------- */

static size_t say_text(struct responder *responder, uint8_t *out, size_t length)
{
	(void)length;
	memcpy(out, responder->text, responder->text_length);
	return responder->text_length;
}

static size_t say_nothing(struct responder *responder, uint8_t *out, size_t length)
{
	(void)responder;
	(void)out;
	(void)length;
	return 0;
}

static void udp_replies(void **state)
{
	static const struct {
		const char *expect, *expect_at, *text;
		size_t length;
		enum gs_probe_class want;
	} cases[] = {
		{"", "", "x", 1, GS_PROBE_OK},
		{"PONG", "", "so: PONG", 8, GS_PROBE_OK},
		{"PONG", "start", "PONG!", 5, GS_PROBE_OK},
		{"PONG", "start", "so: PONG", 8, GS_PROBE_BODY},
		{"PONG", "", "PING", 4, GS_PROBE_BODY},
		{"PONG", "", "PON", 3, GS_PROBE_BODY},
		{"\\x00\\xff", "", "a\0\xff", 3, GS_PROBE_OK},
	};
	struct world *world = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const size_t c = i / 2;
		struct gs_probe_target target;
		enum gs_probe_class class;

		respond(world, i % 2 ? AF_INET6 : AF_INET);
		target = target_of(world, GS_PROBE_UDP, "PING\\r\\n\\x00\\x80");
		world->responder.answer = say_text;
		world->responder.text = cases[c].text;
		world->responder.text_length = cases[c].length;
		strcpy(target.spec.expect, cases[c].expect);
		strcpy(target.spec.expect_at, cases[c].expect_at);
		class = probe_scene_ask(&world->scene, &target);
		if (class != cases[c].want)
			fail_msg("%s in %s: %s", cases[c].expect, cases[c].text,
				 gs_probe_class_name(class));
		assert_int_equal(world->scene.rtt_us, 0); /* the server's time is in it */
		assert_int_equal(world->responder.request_length, 8);
		assert_memory_equal(world->responder.request, "PING\r\n\0\x80", 8);
	}
}

static void udp_large(void **state)
{
	static char text[60000];
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_UDP, "x");

	world->responder.answer = say_text;
	world->responder.text = text;
	world->responder.text_length = sizeof(text);
	strcpy(target.spec.expect, "end");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_BODY);
	memcpy(text + sizeof(text) - 3, "end", 3);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
}

static void silence(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_UDP, "x");

	world->responder.answer = say_nothing;
	target.spec.timeout_ms = 60;
	assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
	assert_true(world->scene.latency_us >= 59000);
	target.spec.kind = GS_PROBE_DNS;
	assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
}

/* ICMP says that nobody has the port. */
static void refused(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 4; i++) {
		struct gs_probe_target target =
			target_of(world, i % 2 ? GS_PROBE_DNS : GS_PROBE_UDP, "x");

		close(probe_scene_bind(i / 2 ? AF_INET6 : AF_INET, SOCK_DGRAM, &target.addr,
				       &target.port));
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_REFUSED);
		assert_true(world->scene.latency_us < 1000000);
	}
}

static void no_way_there(void **state)
{
	static const enum gs_probe_kind kinds[] = {GS_PROBE_UDP, GS_PROBE_DNS, GS_PROBE_ICMP};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct gs_probe_target target = target_of(world, kinds[i], "x");

		memcpy(target.addr.bytes + 12, "\xc0\x00\x02\x01", 4);
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_NO_ROUTE);
	}
}

static void what_cannot_be_asked(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_UDP, "\\q");

	assert_int_equal(probe_scene_begin(&world->scene, &target, 1), -EINVAL);
	target = target_of(world, GS_PROBE_DNS, "a..b");
	assert_int_equal(probe_scene_begin(&world->scene, &target, 1), -EINVAL);
}

/* ---- DNS ------------------------------------------------------------------------------------- */

/* Behind the question: a record of four bytes, its name a pointer to the question's. */
#define RECORD "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
enum { RECORD_LENGTH = sizeof(RECORD) - 1 };

static unsigned int rcode, answers, dns_flags;

static size_t say_dns(struct responder *responder, uint8_t *out, size_t length)
{
	(void)responder;
	out[2] = (uint8_t)(0x80 | dns_flags);
	out[3] = (uint8_t)rcode;
	out[7] = (uint8_t)answers;
	for (unsigned int i = 0; i < answers; i++, length += RECORD_LENGTH)
		memcpy(out + length, RECORD, RECORD_LENGTH);
	return length;
}

static void dns_answers(void **state)
{
	static const struct {
		const char *wanted;
		unsigned int rcode, answers, flags;
		enum gs_probe_class want;
	} cases[] = {
		{"noerror", 0, 1, 0, GS_PROBE_OK},
		{"", 0, 3, 0x04, GS_PROBE_OK},
		{"noerror", 0, 0, 0, GS_PROBE_BODY},
		{"noerror", 0, 0, 0x02, GS_PROBE_OK}, /* cut: there is more than fits */
		{"noerror", 3, 0, 0, GS_PROBE_STATUS},
		{"noerror", 2, 0, 0, GS_PROBE_STATUS},
		{"noerror", 5, 0, 0, GS_PROBE_STATUS},
		{"nxdomain", 3, 0, 0, GS_PROBE_OK},
		{"nxdomain", 0, 1, 0, GS_PROBE_STATUS},
		{"refused", 5, 0, 0, GS_PROBE_OK},
		{"noerror", 0, 1, 0x28, GS_PROBE_BAD_REPLY}, /* an opcode nobody asked for */
	};
	struct world *world = *state;

	world->responder.answer = say_dns;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(world, GS_PROBE_DNS, "www.example.net");
		enum gs_probe_class class;

		strcpy(target.spec.dns_rcode, cases[i].wanted);
		rcode = cases[i].rcode;
		answers = cases[i].answers;
		dns_flags = cases[i].flags;
		class = probe_scene_ask(&world->scene, &target);
		if (class != cases[i].want)
			fail_msg("case %zu: %s", i, gs_probe_class_name(class));
	}
}

static void dns_question(void **state)
{
	static const char want[] = "\1\0\0\1\0\0\0\0\0\0\4_sip\4_udp\7example\3net\0\0\x21\0\1";
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_DNS, "_sip._udp.example.net.");
	uint16_t ids[8];

	world->responder.answer = say_dns;
	rcode = 0;
	answers = 1;
	dns_flags = 0;
	strcpy(target.spec.dns_type, "SRV");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
		assert_int_equal(world->responder.request_length, 2 + sizeof(want) - 1);
		assert_memory_equal(world->responder.request + 2, want, sizeof(want) - 1);
		memcpy(&ids[i], world->responder.request, 2);
	}
	/* Ids are drawn: eight of them are hardly the same. */
	assert_true(memcmp(ids, ids + 1, sizeof(ids) - sizeof(ids[0])) != 0);
	strcpy(target.spec.request, ".");
	strcpy(target.spec.dns_type, "TYPE6");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_memory_equal(world->responder.request + 12, "\0\0\6\0\1", 5);
}

static uint8_t kept[512];
static size_t kept_length;

/* Four strays, then the answer: each from the same address, as a forger would have it. */
static size_t say_strays(struct responder *responder, uint8_t *out, size_t length)
{
	kept_length = length;
	memcpy(kept, out, length);
	return say_dns(responder, out, length);
}

/* Another id, another question, a question: not ours, so the answer may still come. */
static void dns_strays(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	uint8_t query[GS_DNS_QUERY_MAX], answer[512];
	enum gs_probe_class class = GS_PROBE_RESET;
	size_t length;
	(void)state;

	strcpy(spec.request, "www.Example.net");
	length = (size_t)gs_dns_format_query(&spec, 0x1234, query);
	rcode = 0;
	answers = 1;
	dns_flags = 0;
	memcpy(answer, query, length);
	length = say_strays(NULL, answer, length);
	assert_true(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
	assert_int_equal(class, GS_PROBE_OK);
	answer[17] ^= 0x20; /* in other letters it is the same name */
	assert_true(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
	class = GS_PROBE_RESET;
	answer[17] ^= 0x01;
	assert_false(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
	answer[17] ^= 0x21;
	answer[kept_length - 3] ^= 1; /* another type */
	assert_false(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
	answer[kept_length - 3] ^= 1;
	for (int i = 0; i < 2; i++) {
		answer[i] ^= 1;
		assert_false(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
		answer[i] ^= 1;
	}
	answer[2] &= 0x7f; /* a question */
	assert_false(gs_dns_judge(&spec, kept, kept_length, answer, length, &class));
	assert_int_equal(class, GS_PROBE_RESET); /* untouched */
}

static size_t say_other_ids(struct responder *responder, uint8_t *out, size_t length)
{
	uint8_t *id = out;

	(void)responder;
	id[0] ^= 0x55;
	return say_dns(responder, out, length);
}

/* With other ids only, it is as if nobody had answered. */
static void dns_other_ids(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_DNS, "example.net");

	world->responder.answer = say_other_ids;
	rcode = 0;
	answers = 1;
	dns_flags = 0;
	target.spec.timeout_ms = 60;
	assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
}

/* Cut anywhere it is no good; with any byte changed it never reads beyond its end (ASan). */
static void dns_damaged(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	uint8_t query[GS_DNS_QUERY_MAX], answer[512];
	size_t length, query_length;
	uint64_t random = 7;
	(void)state;

	strcpy(spec.request, "www.example.net");
	query_length = length = (size_t)gs_dns_format_query(&spec, 0x1234, query);
	rcode = 0;
	answers = 2;
	dns_flags = 0;
	memcpy(answer, query, length);
	length = say_dns(NULL, answer, length);
	for (size_t cut = 0; cut <= length; cut++) {
		GS_AUTO_FREE uint8_t *bytes = malloc(cut + 1);
		enum gs_probe_class class = GS_PROBE_RESET;
		bool judged;

		memcpy(bytes, answer, cut);
		bytes = realloc(bytes, cut ? cut : 1);
		judged = gs_dns_judge(&spec, query, query_length, bytes, cut, &class);
		if (cut < length)
			assert_true(judged ? class == GS_PROBE_BAD_REPLY : cut < 12);
		else
			assert_true(judged && class == GS_PROBE_OK);
	}
	print_message("seed 7\n");
	for (int round = 0; round < 50000; round++) {
		GS_AUTO_FREE uint8_t *bytes = malloc(length);
		enum gs_probe_class class;

		memcpy(bytes, answer, length);
		for (int i = 0; i < 3; i++)
			bytes[2 + gs_random(&random) % (length - 2)] = (uint8_t)gs_random(&random);
		(void)gs_dns_judge(&spec, query, query_length, bytes, length, &class);
	}
}

/* ---- ICMP ------------------------------------------------------------------------------------ */

static void set(const char *path, const char *value)
{
	GS_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

/* Who may have the kernel's own echo sockets: nobody, so that raw ones are used; or group 0. */
static void allow_echo_sockets(bool allow)
{
	set("/proc/sys/net/ipv4/ping_group_range", allow ? "0 0" : "1 0");
}

static void icmp_echo(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 4; i++) {
		struct gs_probe_target target;

		respond(world, i % 2 ? AF_INET6 : AF_INET);
		target = target_of(world, GS_PROBE_ICMP, "");
		target.port = i % 2 ? 0 : 80; /* whatever it is */
		allow_echo_sockets(i / 2);
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
		assert_in_range(world->scene.latency_us, 1, 4000000);
		assert_in_range(world->scene.rtt_us, 1, world->scene.latency_us);
	}
}

static void icmp_silence(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_ICMP, "");

	target.spec.timeout_ms = 60;
	set("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1");
	for (int i = 0; i < 2; i++) {
		allow_echo_sockets(i);
		assert_int_equal(probe_scene_ask_silence(&world->scene, &target), GS_PROBE_TIMEOUT);
	}
	set("/proc/sys/net/ipv4/icmp_echo_ignore_all", "0");
}

/* Raw sockets hear the replies to all of them: each takes its own only. */
static void icmp_many(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target = target_of(world, GS_PROBE_ICMP, "");

	for (int i = 0; i < 2; i++) {
		allow_echo_sockets(i);
		world->scene.count = 0;
		for (uint64_t token = 0; token < 100; token++)
			assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
		probe_scene_run(&world->scene, 100);
	}
	assert_int_equal(world->scene.results[GS_PROBE_OK], 200);
}

/* ---- the namespace --------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	GS_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
}

/* As root of it, whoever we are. */
static int enter_namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	GS_AUTO_CLOSE int fd = -1;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[32];

	if (unshare(uid == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) != 0) {
		perror("unshare");
		return -1;
	}
	if (uid != 0) {
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_file("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %u 1", gid);
		write_file("/proc/self/gid_map", map);
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return ioctl(fd, SIOCSIFFLAGS, &lo);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(udp_replies),
		TEST(udp_large),
		TEST(silence),
		TEST(refused),
		TEST(no_way_there),
		TEST(what_cannot_be_asked),
		TEST(dns_answers),
		TEST(dns_question),
		cmocka_unit_test(dns_strays),
		TEST(dns_other_ids),
		cmocka_unit_test(dns_damaged),
		TEST(icmp_echo),
		TEST(icmp_silence),
		TEST(icmp_many),
	};

	if (enter_namespace() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
