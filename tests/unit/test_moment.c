/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as documents write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/moment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void test_what_is_a_moment(void **state)
{
	static const struct {
		const char *text;
		int64_t unix_ms;
		const char *again;
	} rows[] = {
		{"1970-01-01T00:00:01Z", 1000, "1970-01-01T00:00:01Z"},
		{"2000-02-29T23:59:59Z", 951868799000, "2000-02-29T23:59:59Z"},
		{"2026-11-26T03:00:00Z", 1795662000000, "2026-11-26T03:00:00Z"},
		{"2026-11-26T03:00:00.25Z", 1795662000250, "2026-11-26T03:00:00.250Z"},
		{"2026-11-26T03:00:00.123987Z", 1795662000123, "2026-11-26T03:00:00.123Z"},
		{"2026-11-26T03:00:00+05:30", 1795642200000, "2026-11-25T21:30:00Z"},
		{"2026-11-26T03:00:00-01:00", 1795665600000, "2026-11-26T04:00:00Z"},
		{"2100-02-28T00:00:00Z", 4107456000000, "2100-02-28T00:00:00Z"},
		{"9999-12-31T23:59:59.999Z", GS_MOMENT_MAX_MS, "9999-12-31T23:59:59.999Z"},
	};
	char text[GS_MOMENT_TEXT_MAX];

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		int64_t unix_ms = -1;

		if (gs_moment_parse(rows[r].text, &unix_ms) != 0 || unix_ms != rows[r].unix_ms)
			fail_msg("%s: %jd", rows[r].text, (intmax_t)unix_ms);
		assert_string_equal(gs_moment_format(unix_ms, text), rows[r].again);
	}
	assert_string_equal(gs_moment_format(0, text), "");
	assert_string_equal(gs_moment_format(-1, text), "");
	assert_string_equal(gs_moment_format(GS_MOMENT_MAX_MS + 1, text), "");
}

static void test_what_is_none(void **state)
{
	static const char *const rows[] = {
		"",
		"now",
		"2026",
		"2026-11-26",
		"2026-11-26 03:00:00Z",
		"2026-11-26T03:00:00",
		"2026-11-26T03:00Z",
		"2026-11-26T24:00:00Z",
		"2026-11-26T03:60:00Z",
		"2026-11-26T03:00:60Z",
		"2026-11-31T03:00:00Z",
		"2026-00-26T03:00:00Z",
		"2026-13-26T03:00:00Z",
		"2026-11-00T03:00:00Z",
		"2025-02-29T03:00:00Z",
		"2100-02-29T03:00:00Z",
		"2026-11-26T03:00:00.Z",
		"2026-11-26T03:00:00Zx",
		"2026-11-26T03:00:00+0100",
		"2026-11-26T03:00:00+24:00",
		"2026-11-26T03:00:00+01:60",
		" 2026-11-26T03:00:00Z",
		"-026-11-26T03:00:00Z",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59-00:01",
		"10000-01-01T00:00:00Z",
	};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		int64_t unix_ms = 5;

		if (gs_moment_parse(rows[r], &unix_ms) != -EINVAL || unix_ms != 5)
			fail_msg("\"%s\" is %jd", rows[r], (intmax_t)unix_ms);
	}
}

/* As the C library has it, for every day of two centuries. */
static void test_every_day(void **state)
{
	(void)state;
	for (int64_t day = 1; day < 200 * 366; day++) {
		int64_t unix_ms = day * 86400000 + 3723000, again = 0;
		time_t seconds = unix_ms / 1000;
		char text[GS_MOMENT_TEXT_MAX], wanted[GS_MOMENT_TEXT_MAX];
		struct tm utc;

		gmtime_r(&seconds, &utc);
		strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &utc);
		assert_string_equal(gs_moment_format(unix_ms, text), wanted);
		assert_int_equal(gs_moment_parse(text, &again), 0);
		assert_int_equal(again, unix_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_a_moment),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_every_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
