/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/syn_hint.h"

enum { START_MS = 1000, LOOK_MS = 1000 };

/* Each case: a first look at (1000, 100), then one more. */
static void what_is_a_hint(void **state)
{
	static const struct {
		const char *name;
		uint64_t opened, repeated; /* since the first look */
		bool is_hint;
	} cases[] = {
		{"nothing", 0, 0, false},
		{"all of them answered", 1000, 0, false},
		{"loss as on any network", 1000, 30, false},
		{"just below the share", 1000, 299, false},
		{"the share", 1000, 300, true},
		{"below the volume, whatever the share", 7, 7, false},
		{"the volume", 8, 8, true},
		{"opened before, repeated now", 0, 8, true},
		{"a share of few", 25, 8, true},
		{"of more", 50, 8, false},
		{"numbers that would overflow a product", UINT64_MAX / 2, 300, false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_syn_hint hint = {0};

		print_message("# %s\n", cases[i].name);
		assert_false(gs_syn_hint_step(&hint, 1000, 100, START_MS));
		assert_int_equal(gs_syn_hint_step(&hint, 1000 + cases[i].opened,
						  100 + cases[i].repeated, START_MS + LOOK_MS),
				 cases[i].is_hint);
	}
}

/* What was counted before we came says nothing of now. */
static void the_first_look_only_learns(void **state)
{
	struct gs_syn_hint hint = {0};
	(void)state;

	assert_false(gs_syn_hint_step(&hint, 10, 1000, START_MS));
	assert_false(gs_syn_hint_step(&hint, 10, 1000, START_MS + LOOK_MS));
}

static void other_maps_are_learned_anew(void **state)
{
	struct gs_syn_hint hint = {0};
	(void)state;

	gs_syn_hint_step(&hint, 1000, 1000, START_MS);
	assert_false(gs_syn_hint_step(&hint, 50, 50, START_MS + LOOK_MS));
	assert_false(gs_syn_hint_step(&hint, 50, 57, START_MS + 2 * LOOK_MS));
	assert_true(gs_syn_hint_step(&hint, 50, 65, START_MS + 3 * LOOK_MS));
}

/* A flood of repeated SYNs: one hint in five seconds, for as long as it lasts. */
static void a_flood_is_no_flood_of_hints(void **state)
{
	struct gs_syn_hint hint = {0};
	uint32_t hints = 0;
	(void)state;

	gs_syn_hint_step(&hint, 0, 0, START_MS);
	for (uint64_t look = 1; look <= 1000; look++)
		hints += gs_syn_hint_step(&hint, look * 1000000, look * 1000000,
					  START_MS + look * LOOK_MS);
	assert_int_equal(hints, 1000 * LOOK_MS / GS_SYN_HINT_REST_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_hint),
		cmocka_unit_test(the_first_look_only_learns),
		cmocka_unit_test(other_maps_are_learned_anew),
		cmocka_unit_test(a_flood_is_no_flood_of_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
