/* SPDX-License-Identifier: Apache-2.0 */
/* When health is ignored: a table of tallies, the hysteresis, and properties of random walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/base/loop.h"
#include "user/core/panic.h"

#include <string.h>

#define CALM GS_PANIC_CALM
#define ON GS_PANIC_ON
#define NONE GS_PANIC_ALL_DOWN

struct part {
	uint64_t weight, healthy;
};

static struct gs_panic_tally tally_of(const struct part *parts, size_t count, bool has_unknown)
{
	struct gs_panic_tally tally = {.has_unknown = has_unknown};

	for (size_t i = 0; i < count; i++)
		gs_panic_count(&tally, parts[i].weight, parts[i].healthy);
	return tally;
}

static const struct {
	const char *name;
	struct part parts[5];
	bool has_unknown;
	uint8_t percent;
	enum gs_panic_mode want;
	uint32_t want_norm;
} CASES[] = {
	{"nothing there", {{0, 0}}, false, 50, CALM, 0},
	{"all is well", {{100, 100}, {100, 100}}, false, 50, CALM, 200},
	{"one region of four is whole",
	 {{10, 10}, {10, 0}, {10, 0}, {10, 0}},
	 false,
	 50,
	 CALM,
	 100},
	{"the largest of five is lost",
	 {{90, 0}, {10, 10}, {10, 10}, {10, 10}, {10, 10}},
	 false,
	 50,
	 CALM,
	 400},
	{"5 of 7 count as whole", {{7, 5}, {70, 0}}, false, 50, CALM, 100},
	{"4 of 7 do not", {{7, 4}, {7, 0}}, false, 50, ON, 80},
	{"halves of two regions take everybody", {{10, 5}, {10, 4}}, false, 50, CALM, 126},
	{"a third of three does not", {{30, 10}, {30, 0}, {30, 9}}, false, 50, ON, 88},
	{"half of one region is enough", {{10, 5}}, false, 50, CALM, 70},
	{"a bit less is not", {{100, 49}}, false, 50, ON, 68},
	{"0: never", {{100, 1}}, false, 0, CALM, 1},
	{"100: unless all is well", {{100, 71}}, false, 100, ON, 99},
	{"100: what is as good as whole is well", {{100, 72}}, false, 100, CALM, 100},
	{"none is healthy", {{10, 0}, {10, 0}}, false, 50, NONE, 0},
	{"none is healthy, and 0: that is another question", {{10, 0}}, false, 0, NONE, 0},
	{"none is healthy, one is unknown", {{10, 0}}, true, 50, CALM, 0},
	{"unknown ones do not keep from panic", {{10, 1}}, true, 50, ON, 14},
	{"by weight, not by number", {{1000, 0}, {1, 1}}, false, 50, CALM, 100},
};

static void modes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct gs_panic panic = {.mode = CALM};
		struct gs_panic_tally tally =
			tally_of(CASES[i].parts, ARRAY_SIZE(CASES[i].parts), CASES[i].has_unknown);
		bool changed = gs_panic_step(&panic, CASES[i].percent, &tally, 5);

		if (panic.mode != CASES[i].want || tally.norm != CASES[i].want_norm ||
		    changed != (CASES[i].want != CALM))
			fail_msg("%s: %s, norm %u", CASES[i].name, gs_panic_mode_name(panic.mode),
				 tally.norm);
	}
}

/* ---- over time, one region of 100 ------------------------------------------------------------ */

static const struct {
	uint64_t at_ms;
	uint64_t healthy;
	enum gs_panic_mode want;
	uint64_t want_due;
} WALK[] = {
	{0, 50, CALM, UINT64_MAX},	{1000, 49, ON, UINT64_MAX},
	{2000, 59, ON, UINT64_MAX},  /* above what enters, not above what leaves */
	{60000, 59, ON, UINT64_MAX}, /* however long */
	{61000, 60, ON, 71000},	     /* it begins to leave */
	{70000, 59, ON, UINT64_MAX}, /* not for 10 s: all over again */
	{70500, 65, ON, 80500},		{80499, 62, ON, 80500},
	{80500, 62, CALM, UINT64_MAX},	{80600, 0, NONE, UINT64_MAX}, /* none: at once */
	{80700, 1, ON, UINT64_MAX},				      /* the first: at once */
	{80800, 90, ON, 90800},		{80900, 0, NONE, UINT64_MAX},
	{81000, 100, CALM, UINT64_MAX}, /* from nothing to all: nothing was ignored inside regions
					 */
};

static void leaves_slowly(void **state)
{
	struct gs_panic panic = {.mode = CALM};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(WALK); i++) {
		const struct part part = {100, WALK[i].healthy};
		struct gs_panic_tally tally = tally_of(&part, 1, false);

		gs_panic_step(&panic, 50, &tally, WALK[i].at_ms);
		if (panic.mode != WALK[i].want || gs_panic_due_ms(&panic) != WALK[i].want_due)
			fail_msg("at %lu: %s, due %lu", (unsigned long)WALK[i].at_ms,
				 gs_panic_mode_name(panic.mode),
				 (unsigned long)gs_panic_due_ms(&panic));
	}
}

/* An hour of a service around its threshold: no two changes between calm and panic within 10 s but
 * those that a fall below it makes. */
static void does_not_flap(void **state)
{
	uint64_t seed = gs_now_us(), changed_ms = 0;
	struct gs_panic panic = {.mode = CALM};
	(void)state;

	print_message("seed %lu\n", (unsigned long)seed);
	for (uint64_t now_ms = 0; now_ms < 3600000; now_ms += 200) {
		const struct part part = {100, 45 + world_draw(&seed) % 20};
		struct gs_panic_tally tally = tally_of(&part, 1, false);
		enum gs_panic_mode was = panic.mode;

		if (!gs_panic_step(&panic, 50, &tally, now_ms))
			continue;
		assert_int_not_equal(was, panic.mode);
		if (panic.mode == CALM)
			assert_true(now_ms - changed_ms >= GS_PANIC_HOLD_MS);
		else
			assert_true(part.healthy < 50);
		changed_ms = now_ms;
	}
}

/* Whatever a service looks like: one whole region, and no panic is entered; nobody healthy and all
 * known, and it is all down; a fraction never panics at 0. */
static void properties(void **state)
{
	uint64_t seed = gs_now_us();
	(void)state;

	print_message("seed %lu\n", (unsigned long)seed);
	for (int round = 0; round < 100000; round++) {
		struct part parts[5];
		size_t count = 1 + world_draw(&seed) % 5;
		uint8_t percent = (uint8_t)(world_draw(&seed) % 101);
		struct gs_panic panic = {.mode = CALM};
		struct gs_panic_tally tally;
		bool is_whole = false;

		for (size_t i = 0; i < count; i++) {
			parts[i].weight = 1 + world_draw(&seed) % 1000;
			parts[i].healthy = world_draw(&seed) % 3
						   ? world_draw(&seed) % (parts[i].weight + 1)
						   : parts[i].weight * (world_draw(&seed) % 2);
			is_whole = is_whole || parts[i].healthy == parts[i].weight;
		}
		tally = tally_of(parts, count, false);
		gs_panic_step(&panic, percent, &tally, 1);
		if (is_whole)
			assert_int_equal(panic.mode, CALM);
		assert_int_equal(panic.mode == NONE, tally.healthy == 0);
		if (panic.mode == ON)
			assert_true(tally.healthy * 100 < percent * tally.weight);
	}
}

static void words(void **state)
{
	enum gs_all_down kind;
	(void)state;

	for (int i = 0; i < GS_ALL_DOWN__COUNT; i++) {
		assert_int_equal(gs_all_down_parse(gs_all_down_name((enum gs_all_down)i), &kind),
				 0);
		assert_int_equal(kind, i);
	}
	assert_int_not_equal(gs_all_down_parse("serve", &kind), 0);
	assert_string_equal(gs_panic_mode_name(GS_PANIC__COUNT), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes),	 cmocka_unit_test(leaves_slowly),
		cmocka_unit_test(does_not_flap), cmocka_unit_test(properties),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
