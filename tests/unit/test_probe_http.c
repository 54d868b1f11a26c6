/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP a health probe speaks, byte by byte; test_probe.c has the sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/probe_http.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define MORE ((enum gs_probe_class) - 1)

static enum gs_probe_class feed_in_pieces(const char *text, size_t length, size_t piece)
{
	struct gs_http_head head = {0};
	enum gs_probe_class class = MORE;

	for (size_t at = 0; at < length; at += piece) {
		/* A copy of the exact size, so that ASan sees a step too far. */
		size_t count = length - at < piece ? length - at : piece;
		GS_AUTO_FREE char *bytes = malloc(count);

		memcpy(bytes, text + at, count);
		if (gs_http_feed(&head, bytes, count, &class))
			return class;
		assert_int_equal(class, MORE); /* untouched */
	}
	return MORE;
}

static const struct {
	const char *text;
	enum gs_probe_class want;
} ANSWERS[] = {
	{"HTTP/1.1 200 OK\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.0 200\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 200 \r\nA: b\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 299 x\nA: b\n\n", GS_PROBE_OK},
	{"HTTP/1.1 399 x\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 400 x\r\n\r\n", GS_PROBE_HTTP_STATUS},
	{"HTTP/1.1 599 x\r\n\r\n", GS_PROBE_HTTP_STATUS},
	{"HTTP/1.1 999 x\r\n\r\n", GS_PROBE_HTTP_STATUS},
	{"HTTP/1.1 101 Switching\r\n\r\n", GS_PROBE_HTTP_STATUS},
	{"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 204 x\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 100 x\r\n\r\nrubbish", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1 000 x\r\n\r\n", GS_PROBE_HTTP_STATUS},
	{"", MORE},
	{"HTTP/1.1 200 OK\r\nA: b\r\n", MORE},
	{"HTTP/1.1 200 OK\r\nA: b\r\n\r", MORE},
	{"HTTP/1.1 200", MORE},
	{"HTTP/1.1 2000 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1 20 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1  200 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1 -20 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/2 200\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/2.0 200\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/1.x 200 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"http/1.1 200 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{" HTTP/1.1 200 OK\r\n\r\n", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1 200 OK\r\nA: b\r\n\rX", GS_PROBE_BAD_REPLY},
	{"SSH-2.0-OpenSSH_9.2\r\n", GS_PROBE_BAD_REPLY},
	{"\r\n\r\n", GS_PROBE_BAD_REPLY},
};

static void answers_in_any_pieces(void **state)
{
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(ANSWERS); i++) {
		size_t length = strlen(ANSWERS[i].text);

		for (size_t piece = 1; piece <= length + 1; piece++)
			if (feed_in_pieces(ANSWERS[i].text, length, piece) != ANSWERS[i].want)
				fail_msg("in pieces of %zu: %s", piece, ANSWERS[i].text);
	}
}

static void cut_anywhere_is_never_fine(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
	(void)state;

	for (size_t length = 0; length < sizeof(text) - 1; length++)
		assert_int_equal(feed_in_pieces(text, length, 7), MORE);
	assert_int_equal(feed_in_pieces(text, sizeof(text) - 1, 7), GS_PROBE_OK);
}

/* One byte replaced by any other never goes beyond the buffer, and never makes 5xx an OK. */
static void any_byte_anywhere(void **state)
{
	static const char text[] = "HTTP/1.1 503 No\r\nA: b\r\n\r\n";
	char changed[sizeof(text)];
	(void)state;

	for (size_t at = 0; at < sizeof(text) - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			enum gs_probe_class class;

			memcpy(changed, text, sizeof(text));
			changed[at] = (char)byte;
			class = feed_in_pieces(changed, sizeof(text) - 1, 5);
			if (class == GS_PROBE_OK)
				assert_true(at == 9 && (byte == '2' || byte == '3'));
		}
	}
}

static void heads_have_an_end(void **state)
{
	static char text[GS_HTTP_HEAD_MAX + 1];
	static const char start[] = "HTTP/1.1 200 OK\r\nA: ";
	(void)state;

	memset(text, 'x', sizeof(text));
	memcpy(text, start, sizeof(start) - 1);
	assert_int_equal(feed_in_pieces(text, GS_HTTP_HEAD_MAX, 4096), MORE);
	assert_int_equal(feed_in_pieces(text, GS_HTTP_HEAD_MAX + 1, 4096), GS_PROBE_BAD_REPLY);
	memcpy(text + GS_HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(feed_in_pieces(text, GS_HTTP_HEAD_MAX + 1, 4096), GS_PROBE_OK);
	/* Interim heads do not start the count anew. */
	for (size_t at = 0; at + 17 < sizeof(text); at += 17)
		memcpy(text + at, "HTTP/1.1 100\r\n\r\n\n", 16);
	assert_int_not_equal(feed_in_pieces(text, sizeof(text), 4096), GS_PROBE_OK);
}

static struct gs_probe_target target_of(const char *path, const char *host)
{
	struct gs_probe_target target = {.port = 8080};

	memset(target.addr.bytes + 10, 0xff, 2);
	memcpy(target.addr.bytes + 12, "\xc0\x00\x02\x01", 4);
	memset(target.spec.path, 0, sizeof(target.spec.path));
	strncpy(target.spec.path, path, sizeof(target.spec.path) - 1);
	strncpy(target.spec.host, host, sizeof(target.spec.host) - 1);
	return target;
}

static void requests(void **state)
{
	static const struct {
		const char *path, *host, *want; /* NULL: refused */
	} cases[] = {
		{"", "", "GET / HTTP/1.1\r\nHost: 192.0.2.1:8080\r\n"},
		{"/health?x=1#y", "www.example.net",
		 "GET /health?x=1#y HTTP/1.1\r\nHost: www.example.net\r\n"},
		{"health", "", NULL},
		{"/a b", "", NULL},
		{"/a\r\nX: y", "", NULL},
		{"/\x7f", "", NULL},
		{"/\xc3\xa4", "", NULL},
		{"/", "a b", NULL},
		{"/", "a\r\nX: y", NULL},
		{"/", "a\n", NULL},
	};
	char request[GS_HTTP_REQUEST_MAX];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_target target = target_of(cases[i].path, cases[i].host);
		int length = gs_http_format_request(&target, request);

		if (!cases[i].want) {
			assert_int_equal(length, -EINVAL);
			continue;
		}
		assert_int_equal(length, strlen(request));
		assert_memory_equal(request, cases[i].want, strlen(cases[i].want));
		assert_string_equal(request + length - 4, "\r\n\r\n");
	}
}

static void request_limits(void **state)
{
	struct gs_probe_target target = target_of("/", "");
	char request[GS_HTTP_REQUEST_MAX];
	(void)state;

	/* The longest that fit, IPv6 without a host, and fields without their final zero. */
	memset(target.spec.path + 1, 'p', sizeof(target.spec.path) - 2);
	memset(target.spec.host, 'h', sizeof(target.spec.host) - 1);
	assert_true(gs_http_format_request(&target, request) > 500);
	target.spec.host[0] = 0;
	memset(target.addr.bytes, 0xab, 16);
	target.port = 65535;
	assert_true(gs_http_format_request(&target, request) > 0);
	assert_non_null(
		strstr(request, "\r\nHost: [abab:abab:abab:abab:abab:abab:abab:abab]:65535\r\n"));
	target.spec.path[sizeof(target.spec.path) - 1] = 'p';
	assert_int_equal(gs_http_format_request(&target, request), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_in_any_pieces),
		cmocka_unit_test(cut_anywhere_is_never_fine),
		cmocka_unit_test(any_byte_anywhere),
		cmocka_unit_test(heads_have_an_end),
		cmocka_unit_test(requests),
		cmocka_unit_test(request_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
