/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP a health probe speaks, byte by byte; test_probe.c has the sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/probe_http.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <errno.h>
#include <string.h>

#define MORE ((enum gs_probe_class) - 1)

static enum gs_probe_class feed_in_pieces(const char *text, size_t length, size_t piece)
{
	struct gs_http_answer head = {0};
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
	{"HTTP/1.1 400 x\r\n\r\n", GS_PROBE_STATUS},
	{"HTTP/1.1 599 x\r\n\r\n", GS_PROBE_STATUS},
	{"HTTP/1.1 999 x\r\n\r\n", GS_PROBE_STATUS},
	{"HTTP/1.1 101 Switching\r\n\r\n", GS_PROBE_STATUS},
	{"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 204 x\r\n\r\n", GS_PROBE_OK},
	{"HTTP/1.1 100 x\r\n\r\nrubbish", GS_PROBE_BAD_REPLY},
	{"HTTP/1.1 000 x\r\n\r\n", GS_PROBE_STATUS},
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

/* ---- what is wanted of an answer ---------------------------------------------------------------
 */

#define HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *status, *expect, *expect_at, *text;
	enum gs_probe_class want; /* MORE: at its end, what `end` says */
	enum gs_probe_class end;
} WANTED[] = {
	{"200-299,404", "", "", "HTTP/1.1 404 No\r\n\r\n", GS_PROBE_OK, 0},
	{"200-299,404", "", "", "HTTP/1.1 302 No\r\n\r\n", GS_PROBE_STATUS, 0},
	{"503", "", "", "HTTP/1.1 503 No\r\n\r\n", GS_PROBE_OK, 0},
	/* busy, and says so */
	{"", "", "", "HTTP/1.1 503 No\r\nRetry-After: 5\r\n\r\n", GS_PROBE_OK, 0},
	{"200", "ok", "", "HTTP/1.1 429 No\r\nA: b\r\nretry-AFTER: 5\r\n\r\n", GS_PROBE_OK, 0},
	{"", "", "", "HTTP/1.1 500 No\r\nRetry-After: 5\r\n\r\n", GS_PROBE_STATUS, 0},
	{"", "", "", "HTTP/1.1 503 No\r\nX-Retry-After: 5\r\n\r\n", GS_PROBE_STATUS, 0},
	{"", "", "", "HTTP/1.1 503 No\r\nRetry-After-All: 5\r\n\r\n", GS_PROBE_STATUS, 0},
	{"", "", "", "HTTP/1.1 503 No\r\nA: Retry-After: 5\r\n\r\n", GS_PROBE_STATUS, 0},
	{"", "", "", "HTTP/1.1 100 x\r\nRetry-After: 5\r\n\r\nHTTP/1.1 503 No\r\n\r\n",
	 GS_PROBE_STATUS, 0},
	/* a body by its length */
	{"", "ok", "", HEAD "Content-Length: 8\r\n\r\nall's ok", GS_PROBE_OK, 0},
	{"", "ok", "", HEAD "Content-Length: 99\r\n\r\nall's ok, and", GS_PROBE_OK, 0},
	{"", "ok", "", HEAD "content-length:8\r\n\r\nall's ko", GS_PROBE_BODY, 0},
	{"", "ok", "", HEAD "Content-Length: 7\r\n\r\nall's ok", GS_PROBE_BODY, 0},
	{"", "ok", "", HEAD "Content-Length: 0\r\n\r\nok", GS_PROBE_BODY, 0},
	{"", "ok", "", HEAD "Content-Length: 9\r\n\r\nall's", MORE, GS_PROBE_BAD_REPLY},
	{"", "ok", "", HEAD "X: ok\r\nContent-Length: 2\r\n\r\nno", GS_PROBE_BODY, 0},
	{"", "ok", "", "HTTP/1.1 204 x\r\n\r\nok", GS_PROBE_BODY, 0},
	{"", "ok", "", "HTTP/1.1 500 x\r\nContent-Length: 2\r\n\r\nok", GS_PROBE_STATUS, 0},
	{"", "aab", "", HEAD "Content-Length: 5\r\n\r\naaaab", GS_PROBE_OK, 0},
	{"", "abcabd", "", HEAD "Content-Length: 9\r\n\r\nabcabcabd", GS_PROBE_OK, 0},
	{"", "\\x00\\r\\n", "", HEAD "Content-Length: 4\r\n\r\nx\r\n.", GS_PROBE_BODY, 0},
	/* a body until the end of the connection */
	{"", "ok", "", HEAD "\r\nall's o", MORE, GS_PROBE_BODY},
	{"", "ok", "", HEAD "\r\nall's ok", GS_PROBE_OK, 0},
	{"", "ok", "", HEAD "Connection: close\r\n\r\n", MORE, GS_PROBE_BODY},
	/* in chunks */
	{"", "ok", "", CHUNKED "8\r\nall's ok\r\n0\r\n\r\n", GS_PROBE_OK, 0},
	{"", "all's ok", "", CHUNKED "2\r\nal\r\n6;x=y\r\nl's ok\r\n0\r\n\r\n", GS_PROBE_OK, 0},
	{"", "al\\r\\n", "", CHUNKED "2\r\nal\r\n6\r\nl's ok\r\n0\r\n\r\n", GS_PROBE_BODY, 0},
	{"", "k", "", CHUNKED "00a\nabcdefghij\n0\n\n", GS_PROBE_BODY, 0},
	{"", "j", "", CHUNKED "00A\nabcdefghij\n0\n\n", GS_PROBE_OK, 0},
	{"", "ok", "", CHUNKED "2\r\nno", MORE, GS_PROBE_BAD_REPLY},
	{"", "ok", "", CHUNKED "no\r\n", GS_PROBE_BAD_REPLY, 0},
	{"", "ok", "", CHUNKED "\r\nok\r\n", GS_PROBE_BAD_REPLY, 0},
	{"", "ok", "", CHUNKED "2\r\nnoX", GS_PROBE_BAD_REPLY, 0},
	{"", "ok", "", CHUNKED "fffffffffffffffff\r\nok", GS_PROBE_BAD_REPLY, 0},
	{"", "ok", "", HEAD "Content-Length: 1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nok",
	 GS_PROBE_OK, 0},
	{"", "2", "", HEAD "Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok", GS_PROBE_OK, 0},
	/* at its start */
	{"", "ok", "start", HEAD "Content-Length: 8\r\n\r\nokay, ok", GS_PROBE_OK, 0},
	{"", "ok", "start", HEAD "Content-Length: 8\r\n\r\nall's ok", GS_PROBE_BODY, 0},
	{"", "ok", "start", CHUNKED "1\r\no\r\n1\r\nk\r\n0\r\n\r\n", GS_PROBE_OK, 0},
	{"", "ok", "start", HEAD "\r\no", MORE, GS_PROBE_BODY},
};

static void answers_as_wanted_in_any_pieces(void **state)
{
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(WANTED); i++) {
		size_t length = strlen(WANTED[i].text);
		struct gs_probe_spec spec = {0};

		strncpy(spec.status, WANTED[i].status, sizeof(spec.status) - 1);
		strncpy(spec.expect, WANTED[i].expect, sizeof(spec.expect) - 1);
		strncpy(spec.expect_at, WANTED[i].expect_at, sizeof(spec.expect_at) - 1);
		for (size_t piece = 1; piece <= length; piece++) {
			struct gs_http_answer answer = {0};
			enum gs_probe_class class = MORE;

			assert_int_equal(gs_http_answer_init(&answer, &spec), 0);
			for (size_t at = 0; at < length && class == MORE; at += piece) {
				size_t count = length - at < piece ? length - at : piece;
				GS_AUTO_FREE char *bytes = malloc(count);

				memcpy(bytes, WANTED[i].text + at, count);
				if (!gs_http_feed(&answer, bytes, count, &class))
					assert_int_equal(class, MORE);
			}
			if (class != WANTED[i].want)
				fail_msg("in pieces of %zu, %d: %s", piece, class, WANTED[i].text);
			if (class == MORE)
				assert_int_equal(gs_http_end(&answer), WANTED[i].end);
		}
	}
}

static void what_cannot_be_wanted(void **state)
{
	struct gs_probe_spec spec = {.status = "2xx"};
	struct gs_http_answer answer = {0};
	(void)state;

	assert_int_equal(gs_http_answer_init(&answer, &spec), -EINVAL);
	spec = (struct gs_probe_spec){.expect = "a\\"};
	assert_int_equal(gs_http_answer_init(&answer, &spec), -EINVAL);
}

/* A body is looked through to a limit, and bytes of chunk lines count, too. */
static void bodies_have_an_end(void **state)
{
	static const char *const fillers[] = {"x", "1\r\nx\r\n", "00000000000001;\r\nx\r\n"};
	struct gs_probe_spec spec = {.expect = "ok"};
	(void)state;

	for (size_t f = 0; f < ARRAY_SIZE(fillers); f++) {
		const char *head = f ? CHUNKED : HEAD "\r\n";
		struct gs_http_answer answer = {0};
		enum gs_probe_class class = MORE;
		size_t fed = 0;

		assert_int_equal(gs_http_answer_init(&answer, &spec), 0);
		assert_false(gs_http_feed(&answer, head, strlen(head), &class));
		while (!gs_http_feed(&answer, fillers[f], strlen(fillers[f]), &class))
			fed += strlen(fillers[f]);
		assert_int_equal(class, GS_PROBE_BODY);
		assert_in_range(fed, GS_HTTP_BODY_MAX - 64, GS_HTTP_BODY_MAX + 64);
	}
}

/* Searched byte by byte, a text is found where strstr finds it. */
static void texts_are_found_as_by_strstr(void **state)
{
	uint64_t random = 42;
	(void)state;

	print_message("seed 42\n");
	for (int round = 0; round < 20000; round++) {
		char hay[24] = "", needle[8] = "";
		struct gs_probe_spec spec = {0};
		struct gs_match match = {0};
		size_t hay_length = gs_random(&random) % (sizeof(hay) - 1);
		size_t length = 1 + gs_random(&random) % (sizeof(needle) - 2);

		for (size_t i = 0; i < hay_length; i++)
			hay[i] = (char)('a' + gs_random(&random) % 2);
		for (size_t i = 0; i < length; i++)
			needle[i] = (char)('a' + gs_random(&random) % 2);
		strcpy(spec.expect, needle);
		if (round % 2)
			strcpy(spec.expect_at, "start");
		assert_int_equal(gs_match_init(&match, &spec), 0);
		assert_int_equal(gs_match_feed(&match, (uint8_t *)hay, hay_length) ==
					 GS_MATCH_FOUND,
				 round % 2 ? strncmp(hay, needle, length) == 0
					   : strstr(hay, needle) != NULL);
	}
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
		cmocka_unit_test(answers_as_wanted_in_any_pieces),
		cmocka_unit_test(what_cannot_be_wanted),
		cmocka_unit_test(bodies_have_an_end),
		cmocka_unit_test(texts_are_found_as_by_strstr),
		cmocka_unit_test(requests),
		cmocka_unit_test(request_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
