/* SPDX-License-Identifier: Apache-2.0 */
/* What a line looks like, and that no value can make two of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/base/log.h"

#include <jansson.h>
#include <string.h>

static char captured[65536];

struct capture {
	int stderr_fd;
	FILE *file;
};

static struct capture capture_start(void)
{
	struct capture c = {.stderr_fd = dup(STDERR_FILENO), .file = tmpfile()};

	assert_true(c.stderr_fd >= 0 && c.file);
	assert_true(dup2(fileno(c.file), STDERR_FILENO) >= 0);
	return c;
}

/* What was written, in captured[]. */
static const char *capture_end(struct capture c)
{
	size_t length;

	dup2(c.stderr_fd, STDERR_FILENO);
	close(c.stderr_fd);
	rewind(c.file);
	length = fread(captured, 1, sizeof(captured) - 1, c.file);
	captured[length] = '\0';
	fclose(c.file);
	return captured;
}

static const char *log_one(enum gs_log_format format, const char *value)
{
	struct capture c;

	gs_log_setup(GS_LOG_INFO, format);
	c = capture_start();
	gs_log(GS_LOG_WARNING, "some_event", "name=%s count=%u", value, 7u);
	return capture_end(c);
}

static const char *const HOSTILE[] = {
	"",
	"plain",
	"two words",
	"a=b",
	"say \"x\"",
	"back\\slash",
	"line\nlevel=error event=forged",
	"\r\x1b[2J\x7f",
	"\xff\xfe\xc3\x28",
	"\xe2\x82\xac",
	"%s%n",
	"{\"a\":1}",
};

static void logfmt_lines(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{"plain", " level=warning event=some_event name=plain count=7\n"},
		{"", " level=warning event=some_event name=\"\" count=7\n"},
		{"two words", " level=warning event=some_event name=\"two words\" count=7\n"},
		{"say \"x\"", " level=warning event=some_event name=\"say \\\"x\\\"\" count=7\n"},
		{"a\nb", " level=warning event=some_event name=\"a\\u000ab\" count=7\n"},
		{"a=b", " level=warning event=some_event name=\"a=b\" count=7\n"},
		{"%s", " level=warning event=some_event name=%s count=7\n"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *line = log_one(GS_LOG_LOGFMT, cases[i].value);

		assert_memory_equal(line, "time=20", 7);
		assert_string_equal(strchr(line, ' '), cases[i].want);
	}
}

static void one_line_whatever_the_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(HOSTILE); i++) {
		const char *line = log_one(GS_LOG_LOGFMT, HOSTILE[i]);

		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		for (const unsigned char *p = (const unsigned char *)line; *p != '\n'; p++)
			assert_in_range(*p, 0x20, 0x7e);
	}
}

static void json_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(HOSTILE); i++) {
		const char *line = log_one(GS_LOG_JSON, HOSTILE[i]);
		json_t *json = json_loads(line, 0, NULL);

		assert_non_null(json);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_string_equal(json_string_value(json_object_get(json, "level")), "warning");
		assert_string_equal(json_string_value(json_object_get(json, "event")),
				    "some_event");
		assert_int_equal(json_integer_value(json_object_get(json, "count")), 7);
		assert_true(json_is_string(json_object_get(json, "name")));
		if (strspn(HOSTILE[i], "\r\n\x1b\x7f\xff\xfe\xe2") == 0)
			assert_string_equal(json_string_value(json_object_get(json, "name")),
					    HOSTILE[i]);
		json_decref(json);
	}
}

static void every_conversion(void **state)
{
	struct capture c;
	const char *line;
	(void)state;

	gs_log_setup(GS_LOG_INFO, GS_LOG_LOGFMT);
	c = capture_start();
	gs_log(GS_LOG_INFO, "numbers", "a=%d b=%lu c=%016lx d=%.1f e=%c f=%zu g=%llu h=%.3s i=%5d",
	       -3, 4000000000ul, 0xabcul, 2.25, 'x', (size_t)9, 1ull << 63, "abcdef", 42);
	line = capture_end(c);
	assert_string_equal(strstr(line, " a="), " a=-3 b=4000000000 c=0000000000000abc d=2.2 e=x "
						 "f=9 g=9223372036854775808 h=abc i=\"   42\"\n");
}

static void below_the_level_is_silent(void **state)
{
	struct capture c;
	(void)state;

	gs_log_setup(GS_LOG_WARNING, GS_LOG_LOGFMT);
	c = capture_start();
	gs_log(GS_LOG_INFO, "quiet", "a=%d", 1);
	gs_log_limited(GS_LOG_DEBUG, "quiet", "a=%d", 1);
	assert_string_equal(capture_end(c), "");
}

static void a_huge_value_is_cut(void **state)
{
	static char huge[20000];
	const char *line;
	json_t *json;
	(void)state;

	memset(huge, '\x01', sizeof(huge) - 1);
	line = log_one(GS_LOG_LOGFMT, huge);
	assert_true(strlen(line) <= 4096);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	line = log_one(GS_LOG_JSON, huge);
	assert_true(strlen(line) <= 4096);
	json = json_loads(line, 0, NULL);
	assert_non_null(json);
	json_decref(json);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* Each event has its own limit, even with more events than are remembered. */
static void limited_lines(void **state)
{
	static char names[200][24];
	struct capture c;
	const char *at;
	int lines = 0;
	(void)state;

	gs_log_setup(GS_LOG_INFO, GS_LOG_LOGFMT);
	c = capture_start();
	for (int i = 0; i < 1000; i++) {
		gs_log_limited(GS_LOG_INFO, "flood", "i=%d", i);
		gs_log_limited(GS_LOG_INFO, "other", "i=%d", i);
	}
	at = capture_end(c);
	assert_non_null(strstr(at, "event=flood i=0\n"));
	assert_non_null(strstr(at, "event=other i=0\n"));
	for (; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 2);

	c = capture_start();
	for (int i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "event_%d", i);
		gs_log_limited(GS_LOG_INFO, names[i], "i=%d", i);
	}
	at = capture_end(c);
	assert_non_null(strstr(at, "event=event_199 i=199\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logfmt_lines),
		cmocka_unit_test(one_line_whatever_the_value),
		cmocka_unit_test(json_lines),
		cmocka_unit_test(every_conversion),
		cmocka_unit_test(below_the_level_is_silent),
		cmocka_unit_test(a_huge_value_is_cut),
		cmocka_unit_test(limited_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
