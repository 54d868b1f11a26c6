/* SPDX-License-Identifier: Apache-2.0 */
/* Probes by HTTPS against real TLS servers on loopback, good ones and bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/probe_scene.h"
#include "tests/fakes/tls_server.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define DAY (24 * 3600)
#define OK_200 "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall's ok"

struct world {
	struct probe_scene scene;
	struct tls_server server;
	char folder[64], ca_file[96];
	struct tls_certificate ca, other_ca;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	snprintf(world->folder, sizeof(world->folder), "/tmp/gs-tls-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	snprintf(world->ca_file, sizeof(world->ca_file), "%s/ca.pem", world->folder);
	world->ca = tls_certify(NULL, NULL, -DAY, DAY);
	world->other_ca = tls_certify(NULL, NULL, -DAY, DAY);
	tls_certificate_write(&world->ca, world->ca_file);
	probe_scene_open(&world->scene, NULL);
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	if (world->server.loop)
		tls_server_stop(&world->server);
	probe_scene_close(&world->scene);
	tls_certificate_free(&world->ca);
	tls_certificate_free(&world->other_ca);
	unlink(world->ca_file);
	rmdir(world->folder);
	free(world);
	return 0;
}

static void serve(struct world *world, int family, const char *names,
		  const struct tls_certificate *issuer, int not_before_s, int not_after_s)
{
	struct tls_certificate leaf = tls_certify(names, issuer, not_before_s, not_after_s);

	if (world->server.loop)
		tls_server_stop(&world->server);
	tls_server_start(&world->server, world->scene.loop, family, &leaf);
	world->server.reply = OK_200;
	tls_certificate_free(&leaf);
}

static struct gs_probe_target target_of(struct world *world, const char *host, const char *trust)
{
	struct gs_probe_target target =
		probe_scene_target(GS_PROBE_HTTPS, &world->server.addr, world->server.port);

	snprintf(target.spec.host, sizeof(target.spec.host), "%s", host);
	snprintf(target.spec.trust, sizeof(target.spec.trust), "%s", trust);
	return target;
}

/* Whom a certificate is for, who signed it, when it is valid: against each way to trust. */
static void certificates(void **state)
{
	static const struct {
		const char *name, *names, *host;
		int issuer; /* 0: the CA; 1: another; 2: itself */
		int from_days, to_days;
		bool good;
	} cases[] = {
		{"its name", "DNS:web.test", "web.test", 0, -1, 1, true},
		{"with a port", "DNS:web.test", "web.test:8443", 0, -1, 1, true},
		{"a wildcard", "DNS:*.eu.test", "web.eu.test", 0, -1, 1, true},
		{"one of its names", "DNS:a.test,DNS:web.test", "web.test", 0, -1, 1, true},
		{"its address", "IP:127.0.0.1", "", 0, -1, 1, true},
		{"its address as a host", "IP:192.0.2.1", "192.0.2.1", 0, -1, 1, true},
		{"an IPv6 address as a host", "IP:2001:db8::1", "[2001:db8::1]:443", 0, -1, 1,
		 true},
		{"another name", "DNS:other.test", "web.test", 0, -1, 1, false},
		{"a name below", "DNS:web.test", "a.web.test", 0, -1, 1, false},
		{"a wildcard of too much", "DNS:*.eu.test", "a.web.eu.test", 0, -1, 1, false},
		{"a part of a name", "DNS:w*.eu.test", "web.eu.test", 0, -1, 1, false},
		{"another address", "IP:127.0.0.2", "", 0, -1, 1, false},
		{"a name, not its address", "DNS:web.test", "", 0, -1, 1, false},
		{"expired", "DNS:web.test", "web.test", 0, -2, -1, false},
		{"not valid yet", "DNS:web.test", "web.test", 0, 1, 2, false},
		{"of another CA", "DNS:web.test", "web.test", 1, -1, 1, false},
		{"signed by itself", "DNS:web.test", "web.test", 2, -1, 1, false},
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tls_certificate *issuer = cases[i].issuer == 0   ? &world->ca
						       : cases[i].issuer == 1 ? &world->other_ca
									      : NULL;
		struct gs_probe_target target;
		enum gs_probe_class class;

		serve(world, AF_INET, cases[i].names, issuer, cases[i].from_days * DAY,
		      cases[i].to_days * DAY);
		target = target_of(world, cases[i].host, world->ca_file);
		class = probe_scene_ask(&world->scene, &target);
		if (class != (cases[i].good ? GS_PROBE_OK : GS_PROBE_TLS))
			fail_msg("%s: %s", cases[i].name, gs_probe_class_name(class));
		/* Not looked at, all are good; the system knows none of these CAs. */
		target = target_of(world, cases[i].host, "none");
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	}
	for (int i = 0; i < 2; i++) {
		struct gs_probe_target target = target_of(world, "web.test", i ? "" : "system");

		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
	}
}

static void ipv6(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;

	serve(world, AF_INET6, "IP:::1", &world->ca, -DAY, DAY);
	target = target_of(world, "", world->ca_file);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_non_null(strstr(world->server.request, "\r\nHost: [::1]:"));
}

/* The system's CAs are where OpenSSL's own variables say. */
static void the_systems_cas(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;
	char hashed[96];

	serve(world, AF_INET, "DNS:web.test", &world->ca, -DAY, DAY);
	target = target_of(world, "web.test", "system");
	setenv("SSL_CERT_FILE", world->ca_file, 1);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);

	tls_server_stop(&world->server);
	world->server.loop = NULL;
	probe_scene_close(&world->scene);
	probe_scene_open(&world->scene, NULL);
	serve(world, AF_INET, "DNS:web.test", &world->ca, -DAY, DAY);
	target = target_of(world, "web.test", "system");
	setenv("SSL_CERT_FILE", "/nowhere", 1);
	setenv("SSL_CERT_DIR", world->folder, 1);
	snprintf(hashed, sizeof(hashed), "%s/%08lx.0", world->folder,
		 X509_subject_name_hash(world->ca.x509));
	tls_certificate_write(&world->ca, hashed);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	unlink(hashed);
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
}

static void names_asked_for(void **state)
{
	static const struct {
		const char *host, *want;
	} cases[] = {
		{"web.test", "web.test"}, {"web.test:8443", "web.test"}, {"", ""},
		{"192.0.2.1", ""},	  {"[2001:db8::1]:443", ""},
	};
	struct world *world = *state;

	serve(world, AF_INET, "DNS:x", NULL, -DAY, DAY);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(world, cases[i].host, "none");

		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
		assert_string_equal(world->server.asked_name, cases[i].want);
	}
}

/* A file of CAs that is no good is our own trouble, and says so before anything is sent. */
static void files_of_cas(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;
	int ret;

	serve(world, AF_INET, "DNS:web.test", &world->ca, -DAY, DAY);
	for (int i = 0; i < 2; i++) {
		char path[96];

		snprintf(path, sizeof(path), "%s/%s", world->folder, i ? "empty" : "missing");
		if (i)
			fclose(fopen(path, "we"));
		target = target_of(world, "web.test", path);
		/* The first one waits while the file is read. */
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
		ret = probe_scene_begin(&world->scene, &target, 1);
		assert_int_equal(ret, i ? -EBADMSG : -ENOENT);
		unlink(path);
	}
	/* What has no end is not read. */
	target = target_of(world, "web.test", "/dev/zero");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_LOCAL);
	assert_int_equal(probe_scene_begin(&world->scene, &target, 1), -EINVAL);
	target = target_of(world, "web.test", world->ca_file);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
}

static void servers(void **state)
{
	static const struct {
		const char *name;
		enum tls_manner manner;
		const char *reply, *flood, *status, *expect;
		enum gs_probe_class want;
		uint32_t timeout_ms;
	} cases[] = {
		{"200", TLS_REPLIES, OK_200, 0, "", "", GS_PROBE_OK, 0},
		{"its body", TLS_REPLIES, OK_200, 0, "", "ok", GS_PROBE_OK, 0},
		{"another body", TLS_REPLIES, OK_200, 0, "", "no", GS_PROBE_BODY, 0},
		{"404", TLS_REPLIES, "HTTP/1.1 404 No\r\n\r\n", 0, "", "", GS_PROBE_STATUS, 0},
		{"404 as wanted", TLS_REPLIES, "HTTP/1.1 404 No\r\n\r\n", 0, "404", "", GS_PROBE_OK,
		 0},
		{"200 not as wanted", TLS_REPLIES, OK_200, 0, "404", "", GS_PROBE_STATUS, 0},
		{"busy", TLS_REPLIES, "HTTP/1.1 503 No\r\nRetry-After: 1\r\n\r\n", 0, "", "ok",
		 GS_PROBE_OK, 0},
		{"a body until it closes", TLS_REPLIES_ENDS, "HTTP/1.1 200 OK\r\n\r\nno", 0, "",
		 "ok", GS_PROBE_BODY, 0},
		{"cut in the body", TLS_CUTS, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nall's",
		 0, "", "ok", GS_PROBE_BAD_REPLY, 0},
		{"cut in the head", TLS_CUTS, "HTTP/1.1 200 OK\r\nA: b", 0, "", "",
		 GS_PROBE_BAD_REPLY, 0},
		{"an endless body", TLS_FLOODS, "HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxxxxxx",
		 "", "ok", GS_PROBE_BODY, 0},
		{"endless headers", TLS_FLOODS, "HTTP/1.1 200 OK\r\n", "X-Pad: xxxxxxxx\r\n", "",
		 "", GS_PROBE_BAD_REPLY, 0},
		{"a reply byte by byte", TLS_DRIPS, OK_200, 0, "", "ok", GS_PROBE_OK, 0},
		{"byte by byte, too slow", TLS_DRIPS, OK_200, 0, "", "ok", GS_PROBE_TIMEOUT, 60},
		{"no reply", TLS_MUTE, "", 0, "", "", GS_PROBE_TIMEOUT, 100},
		{"no handshake", TLS_SILENT, "", 0, "", "", GS_PROBE_TIMEOUT, 60},
		{"plain HTTP", TLS_RUBBISH, "HTTP/1.1 400 Bad\r\n\r\n", 0, "", "", GS_PROBE_TLS, 0},
		{"another protocol", TLS_RUBBISH, "220 mail ESMTP\r\n", 0, "", "", GS_PROBE_TLS, 0},
		{"hangs up", TLS_HANGS_UP, "", 0, "", "", GS_PROBE_TLS, 0},
		{"resets", TLS_RESETS, "", 0, "", "", GS_PROBE_RESET, 0},
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target;
		enum gs_probe_class class;

		serve(world, AF_INET, "DNS:x", NULL, -DAY, DAY);
		world->server.manner = cases[i].manner;
		world->server.reply = cases[i].reply;
		world->server.flood = cases[i].flood;
		target = target_of(world, "", "none");
		snprintf(target.spec.status, sizeof(target.spec.status), "%s", cases[i].status);
		snprintf(target.spec.expect, sizeof(target.spec.expect), "%s", cases[i].expect);
		if (cases[i].timeout_ms)
			target.spec.timeout_ms = cases[i].timeout_ms;
		class = cases[i].timeout_ms ? probe_scene_ask_silence(&world->scene, &target)
					    : probe_scene_ask(&world->scene, &target);
		/* A hang-up with our hello unread is a reset. */
		if (class != cases[i].want &&
		    !(cases[i].manner == TLS_HANGS_UP && class == GS_PROBE_RESET))
			fail_msg("%s: %s", cases[i].name, gs_probe_class_name(class));
	}
}

static void refused(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;
	GS_AUTO_CLOSE int fd = -1;

	target = probe_scene_target(GS_PROBE_HTTPS, &world->server.addr, 0);
	fd = probe_scene_bind(AF_INET, SOCK_STREAM, &target.addr, &target.port);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_REFUSED);
}

/* Old protocols are none any more. */
static void versions(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;

	serve(world, AF_INET, "DNS:x", NULL, -DAY, DAY);
	SSL_CTX_set_max_proto_version(world->server.context, TLS1_2_VERSION);
	target = target_of(world, "", "none");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	SSL_CTX_set_security_level(world->server.context, 0);
	SSL_CTX_set_min_proto_version(world->server.context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(world->server.context, TLS1_1_VERSION);
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
}

/* Sessions are taken up again, with the same server under the same name only. */
static void sessions(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;

	serve(world, AF_INET, "DNS:a.test,DNS:b.test", &world->ca, -DAY, DAY);
	target = target_of(world, "a.test", world->ca_file);
	for (int i = 0; i < 5; i++)
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_int_equal(world->server.full_handshakes, 1);
	strcpy(target.spec.host, "b.test");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_int_equal(world->server.full_handshakes, 2);
	strcpy(target.spec.host, "c.test");
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
	strcpy(target.spec.host, "a.test");
	target.spec.trust[0] = 0;
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_TLS);
	strcpy(target.spec.trust, world->ca_file);
	target.backend = 8;
	assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_int_equal(world->server.full_handshakes, 3);
	/* And in the time of TLS 1.2 */
	SSL_CTX_set_max_proto_version(world->server.context, TLS1_2_VERSION);
	target.backend = 9;
	for (int i = 0; i < 3; i++)
		assert_int_equal(probe_scene_ask(&world->scene, &target), GS_PROBE_OK);
	assert_int_equal(world->server.full_handshakes, 4);
}

/* While CAs are read the first probes wait, and each is answered once; or is gone (ASan tells). */
static void many_wait_for_cas(void **state)
{
	struct world *world = *state;
	struct gs_probe_target target;

	serve(world, AF_INET, "DNS:web.test", &world->ca, -DAY, DAY);
	target = target_of(world, "web.test", world->ca_file);
	for (uint64_t token = 1; token <= 20; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	probe_scene_run(&world->scene, 20);
	assert_int_equal(world->scene.results[GS_PROBE_OK], 20);
	snprintf(target.spec.trust, sizeof(target.spec.trust), "%s/missing", world->folder);
	for (uint64_t token = 1; token <= 5; token++)
		assert_int_equal(probe_scene_begin(&world->scene, &target, token), 0);
	probe_scene_run(&world->scene, 25);
	assert_int_equal(world->scene.results[GS_PROBE_LOCAL], 5);
	snprintf(target.spec.trust, sizeof(target.spec.trust), "system");
	assert_int_equal(probe_scene_begin(&world->scene, &target, 1), 0);
	world->scene.prober.ops->cancel(world->scene.prober.self, target.backend);
	assert_int_equal(probe_scene_begin(&world->scene, &target, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(certificates),    TEST(ipv6),	   TEST(the_systems_cas),
		TEST(names_asked_for), TEST(files_of_cas), TEST(servers),
		TEST(refused),	       TEST(versions),	   TEST(many_wait_for_cas),
		TEST(sessions),
	};

	signal(SIGPIPE, SIG_IGN); /* of the servers */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
