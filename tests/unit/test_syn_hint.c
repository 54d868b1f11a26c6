/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/syn_hint.h"

enum { START_MS = 1000, LOOK_MS = 1000 };

static bool step(struct gs_syn_hint *hint, uint64_t opened, uint64_t repeated, uint64_t now_ms)
{
	const struct gs_syn_counts counts = {.opened = opened, .repeated = repeated};

	return gs_syn_hint_step(hint, &counts, now_ms);
}

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
		assert_false(step(&hint, 1000, 100, START_MS));
		assert_int_equal(step(&hint, 1000 + cases[i].opened, 100 + cases[i].repeated,
				      START_MS + LOOK_MS),
				 cases[i].is_hint);
	}
}

/* Of the SYNs that failed it does not matter how. */
static void resets_count_as_repeated_ones_do(void **state)
{
	static const struct {
		const char *name;
		struct gs_syn_counts since; /* the first look */
		bool is_hint;
	} cases[] = {
		{"all reset", {100, 0, 100}, true},
		{"none", {100, 0, 0}, false},
		{"just below the share", {1000, 0, 299}, false},
		{"the share", {1000, 0, 300}, true},
		{"both together", {1000, 150, 150}, true},
		{"both together, below it", {1000, 150, 149}, false},
		{"below the volume", {7, 3, 4}, false},
		{"the volume of both", {8, 4, 4}, true},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_syn_counts counts = {.opened = 500, .repeated = 60, .resets = 70};
		struct gs_syn_hint hint = {0};

		print_message("# %s\n", cases[i].name);
		assert_false(gs_syn_hint_step(&hint, &counts, START_MS));
		counts.opened += cases[i].since.opened;
		counts.repeated += cases[i].since.repeated;
		counts.resets += cases[i].since.resets;
		assert_int_equal(gs_syn_hint_step(&hint, &counts, START_MS + LOOK_MS),
				 cases[i].is_hint);
	}
}

/* Fewer resets: other maps, whatever the SYNs say. */
static void fewer_resets_are_learned_anew(void **state)
{
	struct gs_syn_counts counts = {.opened = 10, .repeated = 0, .resets = 1000};
	struct gs_syn_hint hint = {0};
	(void)state;

	gs_syn_hint_step(&hint, &counts, START_MS);
	counts = (struct gs_syn_counts){.opened = 1000, .repeated = 500, .resets = 20};
	assert_false(gs_syn_hint_step(&hint, &counts, START_MS + LOOK_MS));
	counts.resets += 500;
	assert_true(gs_syn_hint_step(&hint, &counts, START_MS + 2 * LOOK_MS));
}

/* What was counted before we came says nothing of now. */
static void the_first_look_only_learns(void **state)
{
	struct gs_syn_hint hint = {0};
	(void)state;

	assert_false(step(&hint, 10, 1000, START_MS));
	assert_false(step(&hint, 10, 1000, START_MS + LOOK_MS));
}

static void other_maps_are_learned_anew(void **state)
{
	struct gs_syn_hint hint = {0};
	(void)state;

	step(&hint, 1000, 1000, START_MS);
	assert_false(step(&hint, 50, 50, START_MS + LOOK_MS));
	assert_false(step(&hint, 50, 57, START_MS + 2 * LOOK_MS));
	assert_true(step(&hint, 50, 65, START_MS + 3 * LOOK_MS));
}

/* A flood of repeated SYNs: one hint in five seconds, for as long as it lasts. */
static void a_flood_is_no_flood_of_hints(void **state)
{
	struct gs_syn_hint hint = {0};
	uint32_t hints = 0;
	(void)state;

	step(&hint, 0, 0, START_MS);
	for (uint64_t look = 1; look <= 1000; look++)
		hints += step(&hint, look * 1000000, look * 1000000, START_MS + look * LOOK_MS);
	assert_int_equal(hints, 1000 * LOOK_MS / GS_SYN_HINT_REST_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_hint),
		cmocka_unit_test(resets_count_as_repeated_ones_do),
		cmocka_unit_test(fewer_resets_are_learned_anew),
		cmocka_unit_test(the_first_look_only_learns),
		cmocka_unit_test(other_maps_are_learned_anew),
		cmocka_unit_test(a_flood_is_no_flood_of_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
