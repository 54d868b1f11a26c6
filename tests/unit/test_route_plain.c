/* SPDX-License-Identifier: Apache-2.0 */
/* What is read and written without jansson is what jansson would have read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/app/api.h"
#include "user/app/route_plain.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <string.h>

enum { ROUNDS = 30000 };

/* ---- reading --------------------------------------------------------------------------------- */

/* The question as jansson reads it. False: it is not one of two texts. */
static bool read_by_jansson(const char *body, size_t length, struct gs_route_question *question)
{
	json_error_t error;
	json_t *json = json_loadb(body, length, JSON_REJECT_DUPLICATES, &error);
	const char *client = json_string_value(json_object_get(json, "client_ip"));
	const char *service = json_string_value(json_object_get(json, "service"));
	bool is_question = json_object_size(json) == 2 && client && service &&
			   strlen(client) < sizeof(question->client_ip) &&
			   strlen(service) < sizeof(question->service);

	if (is_question) {
		strcpy(question->client_ip, client);
		strcpy(question->service, service);
	}
	json_decref(json);
	return is_question;
}

/* True if it was read; then jansson agrees. */
static bool read_alike(const char *body, size_t length)
{
	struct gs_route_question mine, theirs;
	/* Of its own memory, so that sanitizers see a byte too many. */
	char *copy = malloc(length + !length);
	bool is_read;

	assert_non_null(copy);
	memcpy(copy, body, length);
	is_read = gs_route_plain_read(copy, length, &mine);
	if (is_read && (!read_by_jansson(copy, length, &theirs) ||
			strcmp(mine.client_ip, theirs.client_ip) != 0 ||
			strcmp(mine.service, theirs.service) != 0))
		fail_msg("read otherwise: %.*s", (int)length, body);
	free(copy);
	return is_read;
}

#define LONG_NAME "a23456789012345678901234567890123456789012345678901234567890123"
#define LONG_IP "1234567890123456789012345678901234567890:::::"

static void questions(void **state)
{
	static const struct {
		const char *body;
		bool is_plain;
	} rows[] = {
		{"{\"client_ip\": \"203.0.113.9\", \"service\": \"web\"}", true},
		{"{\"service\":\"web\",\"client_ip\":\"2001:db8::1\"}", true},
		{" \t\r\n{ \"service\" :\n\"web\" ,\t\"client_ip\"\r: \"no address\" } \n", true},
		{"{\"client_ip\":\"\",\"service\":\"\"}", true},
		{"{\"client_ip\":\"" LONG_IP "\",\"service\":\"" LONG_NAME "\"}", true},
		/* Left to jansson, which takes some of them. */
		{"{\"client_ip\":\"" LONG_IP "1\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"" LONG_NAME "4\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"w\\u0065b\"}", false},
		{"{\"client\\u005fip\":\"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"w\xc3\xa9"
		 "b\"}",
		 false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"w\x7f"
		 "b\"}",
		 false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"w\tb\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":7}", false},
		{"{\"client_ip\":null,\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\"}", false},
		{"{\"service\":\"web\"}", false},
		{"{}", false},
		{"[\"client_ip\",\"1.2.3.4\",\"service\",\"web\"]", false},
		{"{\"client_ip\":\"1.2.3.4\",\"client_ip\":\"1.2.3.4\"}", false},
		{"{\"service\":\"web\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\",\"more\":\"x\"}", false},
		{"{\"more\":\"x\",\"client_ip\":\"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\",}", false},
		{"{,\"client_ip\":\"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\" \"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",,\"service\":\"web\"}", false},
		{"{\"client_ip\" \"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\"}}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\"} x", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\"]", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"web\"\v}", false},
		{"{client_ip:\"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"Client_ip\":\"1.2.3.4\",\"service\":\"web\"}", false},
		{"{\"client_ip \":\"1.2.3.4\",\"service\":\"web\"}", false},
		{"\xef\xbb\xbf{\"client_ip\":\"1.2.3.4\",\"service\":\"web\"}", false},
		/* A text that is none, and its key again. */
		{"{\"client_ip\":\"1.2.3.4\",\"service\":,\"service\":\"web\"}", false},
		{"{\"service\":\"web\",\"client_ip\":,\"client_ip\":\"1.2.3.4\"}", false},
		{"{\"service\":,\"service\":,\"service\":\"web\",\"client_ip\":\"1.2.3.4\"}",
		 false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"ab\\,\"service\":\"web\"}", false},
		{"{\"client_ip\":\"1.2.3.4\",\"service\":\"ab\x01,\"service\":\"web\"}", false},
		{"", false},
		{" ", false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (read_alike(rows[i].body, strlen(rows[i].body)) != rows[i].is_plain)
			fail_msg("%s", rows[i].body);
}

/* Cut anywhere, it is none. */
static void half_a_question(void **state)
{
	static const char body[] = "{\"client_ip\": \"203.0.113.9\", \"service\": \"web\"}";
	(void)state;

	for (size_t length = 0; length < sizeof(body) - 1; length++)
		assert_false(read_alike(body, length));
	assert_false(read_alike(body, sizeof(body))); /* a zero byte behind it */
}

/* Bytes changed, left out and put in: what is still read, jansson reads so, too. */
static void whatever_is_asked(void **state)
{
	static const char some[] = "{}[]:,\"\\ \t\n/u0aZ\x01\x7f\x80\xc3\xff";
	static const char *const sound[] = {
		"{\"client_ip\": \"2001:db8::1\", \"service\": \"web\"}",
		"{ \"service\":\"a\",\"client_ip\":\"b\"}",
	};
	uint64_t seed = 20261126;
	uint32_t read = 0;
	(void)state;

	print_message("# seed %ju\n", (uintmax_t)seed);
	for (int round = 0; round < ROUNDS; round++) {
		const char *from = sound[round % ARRAY_SIZE(sound)];
		size_t length = strlen(from), at;
		char body[128];

		memcpy(body, from, length);
		for (uint64_t i = gs_random(&seed) % 3; i > 0; i--) {
			uint64_t how = gs_random(&seed) % 3;

			at = gs_random(&seed) % length;
			if (how > 0) /* put in */
				memmove(body + at + 1, body + at, length++ - at);
			if (how < 2)
				body[at] = some[gs_random(&seed) % sizeof(some)];
			if (how == 2 && at + 1 < length) /* twice, less one */
				memmove(body + at, body + at + 1, --length - at);
		}
		read += read_alike(body, length);
	}
	assert_in_range(read, ROUNDS / 4, ROUNDS * 3 / 4); /* or nothing was tried */
}

/* ---- writing --------------------------------------------------------------------------------- */

/* As rest.c has it where this module does not write. */
static size_t write_by_jansson(const struct gs_route_decision *decision, uint64_t generation,
			       char *out, size_t room)
{
	double ms = (double)(long long)(decision->latency_ms * 10 + 0.5) / 10;
	json_t *json =
		json_pack("{s:s?, s:o, s:s, s:s, s:I}", "region", decision->region, "latency_ms",
			  decision->latency_ms < 0 ? json_null() : json_real(ms), "latency_source",
			  decision->latency_source, "reason", decision->reason, "generation",
			  (json_int_t)generation);
	size_t length = json_dumpb(json, out, room - 1,
				   JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

	json_decref(json);
	assert_in_range(length, 1, room - 1);
	out[length] = '\n';
	return length + 1;
}

/* True if it was written; then as jansson writes it. */
static bool write_alike(const struct gs_route_decision *decision, uint64_t generation)
{
	char mine[GS_ROUTE_PLAIN_MAX], theirs[4096];
	size_t length = gs_route_plain_write(decision, generation, mine);

	if (length == 0)
		return false;
	if (write_by_jansson(decision, generation, theirs, sizeof(theirs)) != length ||
	    memcmp(mine, theirs, length) != 0)
		fail_msg("written otherwise: %.*s", (int)length, mine);
	return true;
}

static void decisions(void **state)
{
	static const struct {
		const char *region;
		double latency_ms;
		const char *reason;
		uint64_t generation;
		bool is_plain;
	} rows[] = {
		{"eu", 3.5, "nearest usable one, 354 km away", 1, true},
		{NULL, -1, "no region of the plan is usable: packets are dropped", 0, true},
		{"eu", 0, "", 9, true},
		{"eu", 0.04, "~ !#[]'", 10, true},
		{"eu", 0.05, "a/b", UINT32_MAX, true},
		{"eu", 4294967.295, "rounded", INT64_MAX, true},
		{"eu", 99.95, "rounded", 100, true},
		{"eu", 1, "more than there is", (uint64_t)INT64_MAX + 1, false},
		{"eu", 1, "quotes \"it\"", 1, false},
		{"eu", 1, "a back\\slash", 1, false},
		{"eu", 1, "two\nlines", 1, false},
		{"eu", 1, "caf\xc3\xa9", 1, false},
		{"eu", 1, "no UTF-8: \xff", 1, false},
		{"eu", 1, "delete: \x7f", 1, false},
		{"e\"u", 1, "", 1, false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gs_route_decision decision = {.region = rows[i].region,
						     .latency_ms = rows[i].latency_ms,
						     .latency_source = "distance"};

		strcpy(decision.reason, rows[i].reason);
		if (write_alike(&decision, rows[i].generation) != rows[i].is_plain)
			fail_msg("%s", rows[i].reason);
	}
}

/* The longest of everything has room. */
static void the_longest_decision(void **state)
{
	struct gs_route_decision decision = {.region = LONG_NAME,
					     .latency_ms = UINT32_MAX / 1000.0,
					     .latency_source = "subdivision"};
	(void)state;

	memset(decision.reason, 'x', sizeof(decision.reason) - 1);
	assert_true(write_alike(&decision, INT64_MAX));
}

static void every_latency_as_jansson_has_it(void **state)
{
	struct gs_route_decision decision = {.region = "eu", .latency_source = "measured"};
	uint64_t seed = 20261126;
	(void)state;

	for (uint32_t us = 0; us < 200000; us += 37) {
		decision.latency_ms = us / 1000.0;
		assert_true(write_alike(&decision, us));
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t drawn = gs_random(&seed);

		decision.latency_ms = (uint32_t)drawn / 1000.0;
		assert_true(write_alike(&decision, drawn >> (1 + round % 63)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions),
		cmocka_unit_test(half_a_question),
		cmocka_unit_test(whatever_is_asked),
		cmocka_unit_test(decisions),
		cmocka_unit_test(the_longest_decision),
		cmocka_unit_test(every_latency_as_jansson_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
