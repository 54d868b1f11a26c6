/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/base/suggest.h"

#include <string.h>

static void nearest_word_or_none(void **state)
{
	static const char *const WORDS[] = {"region", "service", "backend", "db", "geo", "status"};
	static const struct {
		const char *word, *want;
	} cases[] = {
		{"region", "region"},
		{"regoin", "region"},
		{"servce", "service"},
		{"servers", "service"},
		{"backends", "backend"},
		{"stauts", "status"},
		{"db", "db"},
		{"dbs", "db"},
		{"ge", "geo"},
		{"x", NULL},
		{"", NULL},
		{"zzzzzz", NULL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = gs_suggest(cases[i].word, WORDS, ARRAY_SIZE(WORDS));

		if (cases[i].want)
			assert_string_equal(got ? got : "(none)", cases[i].want);
		else
			assert_null(got);
	}
}

static void long_words_are_nobodys(void **state)
{
	static char huge[4096];
	const char *words[] = {huge, "short"};
	(void)state;

	memset(huge, 's', sizeof(huge) - 1);
	assert_null(gs_suggest(huge, words, ARRAY_SIZE(words)));
	assert_string_equal(gs_suggest("shor", words, ARRAY_SIZE(words)), "short");
	assert_null(gs_suggest("shor", words, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nearest_word_or_none),
		cmocka_unit_test(long_words_are_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
