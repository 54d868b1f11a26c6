/* SPDX-License-Identifier: Apache-2.0 */
/* Flap damping of one target, and the floor of a service: tables, and properties over random hours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/damping.h"
#include "user/core/random.h"

#include <string.h>

static const struct gs_damping_spec DEFAULT = {.suppress = GS_DAMPING_SUPPRESS,
					       .reuse = GS_DAMPING_REUSE,
					       .half_life_s = GS_DAMPING_HALF_LIFE_S,
					       .ceiling_s = GS_DAMPING_CEILING_S};

/* ---- when it is held ------------------------------------------------------------------------- */

static void flaps_add_up_and_fade(void **state)
{
	static const struct {
		const char *name;
		struct gs_damping_spec spec; /* suppress 0 and reuse 0: the default */
		uint32_t flaps, every_ms;
		uint32_t held_at;	/* the nth flap; 0: never */
		uint32_t penalty;	/* right after the last one */
		uint32_t held_for_s[2]; /* after it: at least, at most */
	} cases[] = {
		{"one", {0}, 1, 0, 0, 1000, {0, 0}},
		{"two at once", {0}, 2, 0, 0, 2000, {0, 0}},
		{"two in a second", {0}, 2, 1000, 0, 1989, {0, 0}},
		{"three at once", {0}, 3, 0, 3, 3000, {60, 60}},
		{"three, every 2 s", {0}, 3, 2000, 3, 2932, {58, 59}},
		{"three within half a minute", {0}, 3, 16000, 3, 2522, {44, 46}},
		{"three within 40 s", {0}, 3, 20000, 0, 2424, {0, 0}},
		{"a hundred, one every 90 s", {0}, 100, 90000, 0, 1547, {0, 0}},
		{"every 2 s for 5 min", {0}, 150, 2000, 3, 42414, {280, 290}},
		{"every 100 ms for an hour: the ceiling", {0}, 36000, 100, 3, 48000, {300, 300}},
		{"another half life", {2500, 1500, 600, 300}, 3, 2000, 3, 2500, {300, 300}},
		{"longer, with room for it", {2500, 1500, 600, 3600}, 3, 2000, 3, 2993, {597, 599}},
		{"sooner", {900, 500, 60, 300}, 1, 0, 1, 1000, {60, 60}},
		{"switched off", {0, 1500, 60, 300}, 100, 1000, 0, 0, {0, 0}},
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_damping_spec spec = cases[c].spec.reuse == 0 ? DEFAULT : cases[c].spec;
		struct gs_damping damping = {0};
		uint64_t now_ms = 5000, due_ms;
		uint32_t held_at = 0;
		double penalty;

		for (uint32_t n = 1; n <= cases[c].flaps; n++) {
			if (gs_damping_flap(&damping, &spec, now_ms)) {
				if (held_at)
					fail_msg("%s: held twice", cases[c].name);
				held_at = n;
			}
			if (n < cases[c].flaps)
				now_ms += cases[c].every_ms;
		}
		penalty = gs_damping_penalty(&damping, &spec, now_ms);
		if (held_at != cases[c].held_at)
			fail_msg("%s: held at %u", cases[c].name, held_at);
		if (penalty < cases[c].penalty - 1.0 || penalty > cases[c].penalty + 1.0)
			fail_msg("%s: penalty %f", cases[c].name, penalty);
		due_ms = gs_damping_due_ms(&damping, &spec, now_ms);
		if (held_at == 0) {
			assert_true(due_ms == UINT64_MAX);
			continue;
		}
		if (due_ms - now_ms < cases[c].held_for_s[0] * 1000u - 1000u ||
		    due_ms - now_ms > cases[c].held_for_s[1] * 1000u + 2)
			fail_msg("%s: held for %lu ms", cases[c].name,
				 (unsigned long)(due_ms - now_ms));
		/* When it is due it is let go, and not before. */
		assert_false(gs_damping_step(&damping, &spec, due_ms - 3));
		assert_true(gs_damping_step(&damping, &spec, due_ms));
		assert_false(damping.is_suppressed);
		assert_false(gs_damping_step(&damping, &spec, due_ms + 1));
	}
}

/* Of one that was just let go one more flap is free, the second is not. */
static void who_was_let_go_may_flap_once(void **state)
{
	struct gs_damping damping = {0};
	uint64_t now_ms = 1000;

	(void)state;
	for (int n = 0; n < 3; n++)
		gs_damping_flap(&damping, &DEFAULT, now_ms);
	now_ms = gs_damping_due_ms(&damping, &DEFAULT, now_ms);
	assert_true(gs_damping_step(&damping, &DEFAULT, now_ms));
	assert_false(gs_damping_flap(&damping, &DEFAULT, now_ms + 1000)); /* 2482 */
	assert_true(gs_damping_flap(&damping, &DEFAULT, now_ms + 2000));
	/* Ten quiet minutes, and it may flap twice again. */
	now_ms += 600000;
	assert_true(gs_damping_step(&damping, &DEFAULT, now_ms));
	assert_false(gs_damping_flap(&damping, &DEFAULT, now_ms));
	assert_false(gs_damping_flap(&damping, &DEFAULT, now_ms));
	assert_int_equal(damping.flaps, 2);
}

static void a_changed_setting_holds_at_once(void **state)
{
	struct gs_damping_spec off = DEFAULT, high = DEFAULT;
	struct gs_damping damping = {0};

	(void)state;
	off.suppress = 0;
	high.reuse = 2999;
	high.suppress = 3000;
	for (int n = 0; n < 3; n++)
		gs_damping_flap(&damping, &DEFAULT, 1000);
	assert_int_equal(gs_damping_due_ms(&damping, &off, 1000), 1000);
	assert_true(gs_damping_due_ms(&damping, &high, 1000) < 1100);
	assert_true(gs_damping_step(&damping, &off, 1000));
}

static void what_was_not_its_fault_is_taken_back(void **state)
{
	struct gs_damping damping = {0};

	(void)state;
	for (int n = 0; n < 3; n++)
		gs_damping_flap(&damping, &DEFAULT, 10000 + 1000u * (uint32_t)n);
	assert_true(damping.is_suppressed);
	gs_damping_take_back(&damping, &DEFAULT, 12001, 13000); /* it was before that */
	assert_true(damping.is_suppressed);
	gs_damping_take_back(&damping, &DEFAULT, 12000, 13000);
	assert_false(damping.is_suppressed);
	assert_int_equal(damping.flaps, 2);
	assert_true(gs_damping_penalty(&damping, &DEFAULT, 12000) < 2000);
	/* Once. */
	gs_damping_take_back(&damping, &DEFAULT, 0, 14000);
	assert_int_equal(damping.flaps, 2);
	/* One that was held before that stays held. */
	for (int n = 0; n < 3; n++)
		gs_damping_flap(&damping, &DEFAULT, 20000);
	gs_damping_take_back(&damping, &DEFAULT, 20000, 20000);
	assert_true(damping.is_suppressed);
}

/* Random flaps for ten hours: never below 0, never above what the ceiling allows, always let go. */
static void nobody_is_held_longer_than_the_ceiling(void **state)
{
	uint64_t seed = 5;

	(void)state;
	for (int round = 0; round < 200; round++) {
		const struct gs_damping_spec spec = {
			.suppress = 1001 + (uint32_t)(gs_random(&seed) % 4000),
			.reuse = 100 + (uint32_t)(gs_random(&seed) % 900),
			.half_life_s = 1 + (uint32_t)(gs_random(&seed) % 120),
			.ceiling_s = 60 + (uint32_t)(gs_random(&seed) % 600)};
		struct gs_damping damping = {0};
		uint64_t now_ms = 1000;
		double most = gs_damping_penalty_max(&spec);

		for (int n = 0; n < 500; n++) {
			double penalty;

			now_ms += gs_random(&seed) % 20000;
			if (gs_random(&seed) % 3 == 0)
				gs_damping_flap(&damping, &spec, now_ms);
			gs_damping_step(&damping, &spec, now_ms);
			penalty = gs_damping_penalty(&damping, &spec, now_ms);
			assert_true(penalty >= 0 && penalty <= most);
			if (damping.is_suppressed)
				assert_in_range(gs_damping_due_ms(&damping, &spec, now_ms), now_ms,
						damping.flapped_ms + spec.ceiling_s * 1000u + 2);
			assert_true(!damping.is_suppressed || penalty > spec.reuse);
		}
		now_ms = damping.flapped_ms + 24 * 3600000u;
		gs_damping_step(&damping, &spec, now_ms);
		assert_false(damping.is_suppressed);
	}
}

/* ---- the floor ------------------------------------------------------------------------------- */

/* weight, penalty, then h: healthy, d: down; H, D: the same and held. */
static void the_floor_lets_go(void **state)
{
	static const struct {
		const char *name;
		uint32_t percent;
		struct {
			uint32_t weight, penalty;
			char is;
		} targets[6];
		const char *held; /* indices that still are */
	} cases[] = {
		{"enough is left", 50, {{10, 0, 'h'}, {10, 3000, 'H'}}, "1"},
		{"just too few", 51, {{10, 0, 'h'}, {10, 3000, 'H'}}, ""},
		{"the other one fails", 50, {{10, 0, 'd'}, {10, 3000, 'H'}}, ""},
		{"all are held", 50, {{10, 3000, 'H'}, {10, 2900, 'H'}}, "0"},
		{"those that do not answer stay held",
		 50,
		 {{10, 3000, 'D'}, {10, 9000, 'H'}, {10, 0, 'd'}, {10, 0, 'd'}},
		 "0"},
		{"the least penalty goes first",
		 50,
		 {{10, 0, 'h'}, {10, 5000, 'H'}, {10, 4000, 'H'}, {10, 6000, 'H'}},
		 "13"},
		{"of equals the first",
		 50,
		 {{10, 0, 'h'}, {10, 4000, 'H'}, {10, 4000, 'H'}, {10, 4000, 'H'}},
		 "23"},
		{"by weight, not by number", 50, {{10, 0, 'h'}, {10, 0, 'h'}, {90, 3000, 'H'}}, ""},
		{"a light one may be held", 50, {{90, 0, 'h'}, {10, 3000, 'H'}}, "1"},
		{"100: nobody is", 100, {{90, 0, 'h'}, {10, 3000, 'H'}}, ""},
		{"nobody answers", 50, {{10, 3000, 'D'}, {10, 0, 'd'}}, "0"},
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_damping_target targets[6] = {0}, *scratch[6];
		char held[8] = "";
		uint32_t count = 0, length = 0, before = 0, released;

		for (; count < 6 && cases[c].targets[count].weight > 0; count++) {
			char is = cases[c].targets[count].is;

			targets[count] = (struct gs_damping_target){
				.weight = cases[c].targets[count].weight,
				.penalty = cases[c].targets[count].penalty,
				.is_healthy = is == 'h' || is == 'H',
				.is_held = is == 'H' || is == 'D'};
			before += targets[count].is_held;
		}
		released = gs_damping_keep_floor(targets, count, cases[c].percent, scratch);
		for (uint32_t i = 0; i < count; i++)
			if (targets[i].is_held)
				held[length++] = (char)('0' + i);
		if (strcmp(held, cases[c].held) != 0)
			fail_msg("%s: \"%s\" are held", cases[c].name, held);
		assert_int_equal(released, before - length);
	}
}

/* Any service: what serves is the floor or more, if what answers is; and no more than it takes. */
static void the_floor_is_kept(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct gs_damping_target targets[12], before[12], *scratch[12];
		uint32_t count = 1 + (uint32_t)(gs_random(&seed) % 12), last = 0;
		uint32_t percent = (uint32_t)(gs_random(&seed) % 101);
		uint64_t all = 0, answer = 0, serve = 0;

		for (uint32_t i = 0; i < count; i++) {
			targets[i] = (struct gs_damping_target){
				.weight = 1 + (uint32_t)(gs_random(&seed) % 100),
				.penalty = (double)(gs_random(&seed) % 5000),
				.is_healthy = gs_random(&seed) % 4 != 0,
				.is_held = gs_random(&seed) % 2 == 0};
			all += targets[i].weight;
			answer += targets[i].is_healthy ? targets[i].weight : 0;
		}
		memcpy(before, targets, sizeof(before));
		gs_damping_keep_floor(targets, count, percent, scratch);
		for (uint32_t i = 0; i < count; i++) {
			serve += targets[i].is_healthy && !targets[i].is_held ? targets[i].weight
									      : 0;
			/* The one that was let go last has the highest penalty of those. */
			if (before[i].is_held && !targets[i].is_held) {
				assert_true(targets[i].is_healthy);
				if (last == 0 || targets[i].penalty >= targets[last - 1].penalty)
					last = i + 1;
			}
			assert_true(before[i].is_held || !targets[i].is_held);
		}
		assert_true(serve * 100 >= all * percent || serve == answer);
		if (last > 0)
			assert_true((serve - targets[last - 1].weight) * 100 < all * percent);
	}
}

/* The plain way: each time the one with the least penalty is looked for. */
static uint32_t keep_plainly(struct gs_damping_target *targets, uint32_t count, uint32_t percent)
{
	uint64_t all = 0, serving = 0;
	uint32_t released = 0;

	for (uint32_t i = 0; i < count; i++) {
		all += targets[i].weight;
		serving += targets[i].is_healthy && !targets[i].is_held ? targets[i].weight : 0;
	}
	while (serving * 100 < all * percent) {
		struct gs_damping_target *least = NULL;

		for (uint32_t i = 0; i < count; i++)
			if (targets[i].is_held && targets[i].is_healthy &&
			    (!least || targets[i].penalty < least->penalty))
				least = &targets[i];
		if (!least)
			break;
		least->is_held = false;
		serving += least->weight;
		released++;
	}
	return released;
}

/* Few or hundreds, many of equal penalty: the same ones as the plain way lets go, nobody moved. */
static void the_floor_is_the_plain_ones(void **state)
{
	enum { MOST = 300 };
	static struct gs_damping_target targets[MOST], plain[MOST], *scratch[MOST];
	uint64_t seed = 11;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint32_t most = round % 10 == 0 ? MOST : 12;
		uint32_t count = (uint32_t)(gs_random(&seed) % (most + 1));
		uint32_t percent = (uint32_t)(gs_random(&seed) % 101);
		uint32_t penalties = 1 + (uint32_t)(gs_random(&seed) % 400);

		for (uint32_t i = 0; i < count; i++) {
			targets[i] = (struct gs_damping_target){
				.weight = (uint32_t)(gs_random(&seed) % 100),
				.penalty = (double)(gs_random(&seed) % penalties),
				.is_healthy = gs_random(&seed) % 4 != 0,
				.is_held = gs_random(&seed) % 3 != 0,
				.tag = i};
			plain[i] = targets[i];
		}
		assert_int_equal(gs_damping_keep_floor(targets, count, percent, scratch),
				 keep_plainly(plain, count, percent));
		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(targets[i].is_held, plain[i].is_held);
			assert_int_equal(targets[i].tag, i);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flaps_add_up_and_fade),
		cmocka_unit_test(who_was_let_go_may_flap_once),
		cmocka_unit_test(a_changed_setting_holds_at_once),
		cmocka_unit_test(what_was_not_its_fault_is_taken_back),
		cmocka_unit_test(nobody_is_held_longer_than_the_ceiling),
		cmocka_unit_test(the_floor_lets_go),
		cmocka_unit_test(the_floor_is_kept),
		cmocka_unit_test(the_floor_is_the_plain_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
