/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/health.h"

#include <string.h>

/* Results as letters: . ok, r refused, t timeout, s reset, e TLS, h status, o body, b bad reply, n
 * no route, l local. */
static enum gs_probe_class class_of(char letter)
{
	static const char letters[] = ".rtsehobnl";

	return (enum gs_probe_class)(strchr(letters, letter) - letters);
}

/* ---- sequences of results -------------------------------------------------------------------- */

struct sequence_case {
	const char *name;
	enum gs_health_state from;
	uint8_t rise, fall, clear;
	const char *results;
	const char *want; /* after each result: ? unknown, U up, S suspect, D down, R recovering */
};

static const struct sequence_case SEQUENCES[] = {
	{"unknown, one success", GS_HEALTH_UNKNOWN, 4, 3, 10, ".", "U"},
	{"unknown, fall failures", GS_HEALTH_UNKNOWN, 4, 3, 10, "tttt", "??DD"},
	{"unknown, a success in between", GS_HEALTH_UNKNOWN, 4, 3, 10, "tt.ttt", "??USSD"},
	{"up stays up", GS_HEALTH_UP, 4, 3, 10, "......", "UUUUUU"},
	{"three in a row", GS_HEALTH_UP, 4, 3, 10, "ttt", "SSD"},
	{"any class of failure", GS_HEALTH_UP, 4, 8, 10, "rtsehobn", "SSSSSSSD"},
	{"two are forgotten after ten", GS_HEALTH_UP, 4, 3, 10, "tt..........tt", "SSSSSSSSSSSUSS"},
	{"nine do not do", GS_HEALTH_UP, 4, 3, 10, "tt.........t", "SSSSSSSSSSSD"},
	{"one in three for ever", GS_HEALTH_UP, 4, 3, 10, "t..t..t", "SSSSSSD"},
	{"one in ten for ever", GS_HEALTH_UP, 4, 3, 10, "t.........t.........t",
	 "SSSSSSSSSSSSSSSSSSSSD"},
	{"one in eleven is forgiven", GS_HEALTH_UP, 4, 3, 10, "t..........t..........t",
	 "SSSSSSSSSSUSSSSSSSSSSUS"},
	{"fall 1", GS_HEALTH_UP, 4, 1, 10, "t", "D"},
	{"limits of 0 mean 1", GS_HEALTH_UP, 0, 0, 0, "t.t.", "DUDU"},
	{"clear 1", GS_HEALTH_UP, 4, 2, 1, "t.t.tt", "SUSUSD"},
	{"rise", GS_HEALTH_DOWN, 4, 3, 10, "....", "RRRU"},
	{"rise 1", GS_HEALTH_DOWN, 1, 3, 10, ".", "U"},
	{"rise starts over", GS_HEALTH_DOWN, 4, 3, 10, "...t....", "RRRDRRRU"},
	{"half up for ever stays down", GS_HEALTH_DOWN, 4, 3, 10, ".t.t.t..t..t", "RDRDRDRRDRRD"},
	{"recovered with a clean slate", GS_HEALTH_DOWN, 2, 3, 10, "ttt..tt", "DDDRUSS"},
	{"down and back", GS_HEALTH_UP, 2, 2, 2, "tt..tt", "SDRUSD"},
	{"local never takes down", GS_HEALTH_UP, 4, 3, 10, "llllllll", "UUUUUUUU"},
	{"local never brings down one unknown", GS_HEALTH_UNKNOWN, 4, 3, 10, "llll.", "????U"},
	{"local does not clear", GS_HEALTH_UP, 4, 3, 10, "ttlllllllllllt", "SSSSSSSSSSSSSD"},
	{"local does not interrupt successes", GS_HEALTH_DOWN, 3, 3, 10, ".l.l.", "RRRRU"},
	{"local does not start a recovery", GS_HEALTH_DOWN, 1, 3, 10, "lll", "DDD"},
};

static void sequences(void **state)
{
	static const char letters[GS_HEALTH__COUNT] = "?USDR";
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(SEQUENCES); c++) {
		const struct sequence_case *s = &SEQUENCES[c];
		struct gs_probe_spec spec = gs_probe_spec_default();
		struct gs_health health;
		uint64_t counted = 0;

		spec.rise = s->rise;
		spec.fall = s->fall;
		spec.clear = s->clear;
		gs_health_init(&health, s->from, 0);
		assert_int_equal(strlen(s->results), strlen(s->want));
		for (size_t i = 0; s->results[i]; i++) {
			bool was_up = gs_health_is_up(&health);
			bool was_unknown = health.state == GS_HEALTH_UNKNOWN;
			enum gs_health_change change =
				gs_health_step(&health, &spec, class_of(s->results[i]), 1000 + i);
			enum gs_health_change want = GS_HEALTH_SAME;

			if (letters[health.state] != s->want[i])
				fail_msg("%s: after %zu results %c, want %c", s->name, i + 1,
					 letters[health.state], s->want[i]);
			/* The change tells what happened to the verdict, `since` when. */
			if (gs_health_is_up(&health) && !was_up)
				want = GS_HEALTH_WENT_UP;
			else if (health.state == GS_HEALTH_DOWN && (was_up || was_unknown))
				want = GS_HEALTH_WENT_DOWN;
			assert_int_equal(change, want);
			if (change != GS_HEALTH_SAME)
				assert_int_equal(health.since_ms, 1000 + i);
			if (change == GS_HEALTH_WENT_DOWN)
				assert_int_equal(health.why, class_of(s->results[i]));
			counted += s->results[i] != 'l';
			assert_int_equal(health.results, counted);
		}
	}
}

/* Whatever comes, DOWN takes `fall` failures since the last clean slate. */
static void random_sequences_against_a_log(void **state)
{
	(void)state;

	for (uint32_t round = 1; round <= 300; round++) {
		unsigned short seed[3] = {(unsigned short)round, 7, 7};
		struct gs_probe_spec spec = gs_probe_spec_default();
		struct gs_health health;
		int failures = 0, successes = 0; /* the log: since the slate, in a row */
		bool up = true;

		spec.rise = (uint8_t)(1 + nrand48(seed) % 5);
		spec.fall = (uint8_t)(1 + nrand48(seed) % 5);
		spec.clear = (uint8_t)(1 + nrand48(seed) % 12);
		gs_health_init(&health, GS_HEALTH_UP, 0);
		for (int i = 0; i < 500; i++) {
			int dice = (int)(nrand48(seed) % 8);
			bool ok = dice < 5, local = dice == 7;

			gs_health_step(&health, &spec,
				       local ? GS_PROBE_LOCAL
				       : ok  ? GS_PROBE_OK
					     : GS_PROBE_RESET,
				       (uint64_t)i);
			if (!local) {
				successes = ok ? successes + 1 : 0;
				failures += !ok;
				if (up && ok && successes >= spec.clear)
					failures = 0;
				if (up ? failures >= spec.fall : successes >= spec.rise) {
					up = !up;
					failures = successes = 0;
				}
			}
			if (gs_health_is_up(&health) != up)
				fail_msg("seed %u: after %d results %s", round, i + 1,
					 gs_health_state_name(health.state));
		}
	}
}

/* From wherever it is: so many results bring the verdict, and not one less. */
static void missing_is_what_it_takes(void **state)
{
	(void)state;

	for (uint32_t round = 1; round <= 2000; round++) {
		unsigned short seed[3] = {(unsigned short)round, 8, 8};
		struct gs_probe_spec spec = gs_probe_spec_default();
		uint32_t steps = (uint32_t)(nrand48(seed) % 40), missing;
		enum gs_health_change change = GS_HEALTH_SAME;
		enum gs_probe_class result;
		struct gs_health health;

		spec.rise = (uint8_t)(nrand48(seed) % 6);
		spec.fall = (uint8_t)(nrand48(seed) % 6);
		spec.clear = (uint8_t)(nrand48(seed) % 12);
		gs_health_init(&health, (enum gs_health_state)(nrand48(seed) % 2), 0);
		for (uint32_t i = 0; i < steps; i++)
			gs_health_step(&health, &spec,
				       nrand48(seed) % 3 ? GS_PROBE_RESET : GS_PROBE_OK, 0);
		result = health.state == GS_HEALTH_DOWN || health.state == GS_HEALTH_RECOVERING
				 ? GS_PROBE_OK
				 : GS_PROBE_RESET;
		missing = gs_health_missing(&health, &spec);
		for (uint32_t i = 0; i < missing; i++) {
			if (change != GS_HEALTH_SAME)
				fail_msg("seed %u: a verdict after %u of %u", round, i, missing);
			change = gs_health_step(&health, &spec, result, 0);
		}
		if (change == GS_HEALTH_SAME)
			fail_msg("seed %u: no verdict after %u", round, missing);
	}
}

static void counters_do_not_wrap(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	struct gs_health health;
	(void)state;

	gs_health_init(&health, GS_HEALTH_UP, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(gs_health_step(&health, &spec, GS_PROBE_OK, 0), GS_HEALTH_SAME);
	gs_health_init(&health, GS_HEALTH_DOWN, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(gs_health_step(&health, &spec, GS_PROBE_RESET, 0), GS_HEALTH_SAME);
	assert_int_equal(health.failures, 255);
	spec.fall = 255;
	gs_health_init(&health, GS_HEALTH_UP, 0);
	for (int i = 0; i < 254; i++)
		assert_int_equal(gs_health_step(&health, &spec, GS_PROBE_RESET, 0), GS_HEALTH_SAME);
	assert_int_equal(gs_health_step(&health, &spec, GS_PROBE_RESET, 0), GS_HEALTH_WENT_DOWN);
}

/* ---- intervals ------------------------------------------------------------------------------- */

static void intervals(void **state)
{
	static const struct {
		const char *name;
		enum gs_health_state state;
		uint8_t failures;
		uint32_t interval_ms, fast_ms, down_ms;
		uint32_t want_low_ms, want_high_ms;
	} cases[] = {
		{"up", GS_HEALTH_UP, 0, 400, 100, 1000, 360, 440},
		{"suspect", GS_HEALTH_SUSPECT, 1, 400, 100, 1000, 90, 110},
		{"unknown", GS_HEALTH_UNKNOWN, 0, 400, 100, 1000, 90, 110},
		{"recovering", GS_HEALTH_RECOVERING, 0, 400, 100, 1000, 90, 110},
		{"down", GS_HEALTH_DOWN, 0, 400, 100, 1000, 900, 1100},
		{"down for long", GS_HEALTH_DOWN, 200, 400, 100, 1000, 900, 1100},
		{"down, quick, at first", GS_HEALTH_DOWN, 0, 400, 100, 200, 180, 220},
		{"down, quick, doubled", GS_HEALTH_DOWN, 1, 400, 100, 200, 360, 440},
		{"down, quick, capped by the budget", GS_HEALTH_DOWN, 255, 400, 100, 200, 900,
		 1100},
		{"down, slower than the budget", GS_HEALTH_DOWN, 9, 400, 100, 5000, 4500, 5500},
		{"fast slower than normal", GS_HEALTH_SUSPECT, 1, 400, 900, 1000, 360, 440},
		{"zeros", GS_HEALTH_UP, 0, 0, 0, 0, 1, 1},
		{"zeros, suspect", GS_HEALTH_SUSPECT, 0, 0, 0, 0, 1, 1},
		{"zeros, down", GS_HEALTH_DOWN, 0, 0, 0, 0, 1, 1},
		{"no overflow", GS_HEALTH_UP, 0, UINT32_MAX, 1, 1, 3865470566u, UINT32_MAX},
		{"no overflow, down", GS_HEALTH_DOWN, 255, 1, 1, UINT32_MAX, 3865470566u,
		 UINT32_MAX},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_probe_spec spec = gs_probe_spec_default();
		struct gs_health health;
		uint32_t low = UINT32_MAX, high = 0;

		spec.interval_ms = cases[c].interval_ms;
		spec.fast_interval_ms = cases[c].fast_ms;
		spec.down_interval_ms = cases[c].down_ms;
		gs_health_init(&health, cases[c].state, 0);
		health.failures = cases[c].failures;
		for (uint32_t i = 0; i < 5000; i++) {
			uint32_t ms = gs_health_next_ms(&health, &spec, i * 2654435761u);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		if (low < cases[c].want_low_ms || high > cases[c].want_high_ms)
			fail_msg("%s: %u .. %u ms, want %u .. %u", cases[c].name, low, high,
				 cases[c].want_low_ms, cases[c].want_high_ms);
		/* Jitter uses its whole range. */
		if (cases[c].want_high_ms < 10000)
			assert_true(low == cases[c].want_low_ms && high == cases[c].want_high_ms);
	}
}

static void soft_deadlines(void **state)
{
	static const struct {
		uint32_t interval_ms, fast_ms, timeout_ms, want_ms;
	} cases[] = {
		{400, 100, 250, 100}, {400, 300, 250, 250}, {50, 100, 250, 50},
		{400, 0, 250, 1},     {400, 100, 0, 1},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_spec spec = {.interval_ms = cases[i].interval_ms,
					     .fast_interval_ms = cases[i].fast_ms,
					     .timeout_ms = cases[i].timeout_ms};

		assert_int_equal(gs_health_soft_deadline_ms(&spec), cases[i].want_ms);
	}
}

static void worst_cases(void **state)
{
	static const struct {
		const char *name;
		uint32_t interval_ms, fast_ms, timeout_ms;
		uint8_t fall;
		uint32_t want_ms;
	} cases[] = {
		{"defaults", 400, 100, 250, 3, 440 + 2 * 110 + 250},
		{"one failure", 400, 100, 250, 1, 440 + 250},
		{"fall 0 is 1", 400, 100, 250, 0, 440 + 250},
		{"fast no faster", 400, 1000, 250, 3, 440 + 2 * 440 + 250},
		{"the pipeline is full", 400, 100, 10000, 18, 440 + 110 + 10000 + 10000},
		{"saturates", UINT32_MAX, UINT32_MAX, UINT32_MAX, 255, UINT32_MAX},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_spec spec = {.interval_ms = cases[i].interval_ms,
					     .fast_interval_ms = cases[i].fast_ms,
					     .timeout_ms = cases[i].timeout_ms,
					     .fall = cases[i].fall};
		uint32_t ms = gs_health_worst_case_ms(&spec);

		if (ms != cases[i].want_ms)
			fail_msg("%s: %u ms, want %u", cases[i].name, ms, cases[i].want_ms);
	}
}

static void defaults_keep_the_budget(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default();
	(void)state;

	assert_int_equal(spec.kind, GS_PROBE_TCP);
	assert_int_equal(spec.port, 0);
	assert_int_equal(spec.interval_ms, 400);
	assert_int_equal(spec.rise, 4);
	assert_int_equal(spec.fall, 3);
	assert_int_equal(spec.clear, 10);
	assert_true(gs_health_worst_case_ms(&spec) <= GS_HEALTH_FAILOVER_BUDGET_MS);
}

/* ---- a black hole, by the schedule's own words ----------------------------------------------- */

/*
 * Milliseconds from the last answer to DOWN of a target that answers after rtt_ms until it dies at
 * die_ms and is silent ever after. Simulated millisecond by millisecond.
 */
static uint32_t black_hole_ms(const struct gs_probe_spec *spec, unsigned short *seed,
			      uint32_t rtt_ms, uint32_t die_ms)
{
	struct {
		uint32_t start_ms, end_ms;
		bool ok;
	} flights[64];
	uint32_t n = 0, start_ms = 0, random = (uint32_t)nrand48(seed), last_answer_ms = 0;
	bool awaiting = false, begun = false;
	struct gs_health health;

	gs_health_init(&health, GS_HEALTH_UP, 0);
	for (uint32_t now_ms = 0; now_ms < 1000000; now_ms++) {
		uint32_t wait_ms;

		for (uint32_t i = 0; i < n; i++) {
			bool ok = flights[i].ok;

			if (flights[i].end_ms != now_ms)
				continue;
			if (ok)
				last_answer_ms = now_ms;
			if (ok || flights[i].start_ms == start_ms)
				awaiting = false;
			flights[i--] = flights[--n];
			if (gs_health_step(&health, spec, ok ? GS_PROBE_OK : GS_PROBE_TIMEOUT,
					   now_ms) == GS_HEALTH_WENT_DOWN)
				return now_ms - last_answer_ms;
		}
		wait_ms = gs_health_next_ms(&health, spec, random);
		if (awaiting && wait_ms > gs_health_soft_deadline_ms(spec))
			wait_ms = gs_health_soft_deadline_ms(spec);
		if (begun && now_ms < start_ms + wait_ms)
			continue;
		begun = awaiting = true;
		start_ms = now_ms;
		random = (uint32_t)nrand48(seed);
		flights[n].start_ms = now_ms;
		flights[n].ok = now_ms + rtt_ms / 2 < die_ms;
		flights[n].end_ms = now_ms + (flights[n].ok ? rtt_ms : spec->timeout_ms);
		n++;
	}
	return UINT32_MAX;
}

static int compare_u32(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static void black_hole_distribution(void **state)
{
	static const struct {
		const char *name;
		uint32_t interval_ms, fast_ms, timeout_ms, rtt_ms;
		uint8_t fall;
	} cases[] = {
		{"defaults", 400, 100, 250, 10, 3},
		{"80 ms away", 400, 100, 250, 80, 3},
		{"beyond the soft deadline", 400, 100, 250, 180, 3},
		{"500/100/300", 500, 100, 300, 10, 3},
		{"slow", 2000, 500, 1000, 30, 2},
		{"fast slower than timeout", 400, 300, 100, 10, 3},
		{"many", 400, 50, 250, 10, 10},
	};
	enum { RUNS = 4000 };
	static uint32_t ms[RUNS];
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		unsigned short seed[3] = {11, 22, (unsigned short)c};
		struct gs_probe_spec spec = gs_probe_spec_default();

		spec.interval_ms = cases[c].interval_ms;
		spec.fast_interval_ms = cases[c].fast_ms;
		spec.timeout_ms = cases[c].timeout_ms;
		spec.fall = cases[c].fall;
		for (int run = 0; run < RUNS; run++)
			ms[run] = black_hole_ms(&spec, seed, cases[c].rtt_ms,
						4000 + (uint32_t)(nrand48(seed) % 4000));
		qsort(ms, RUNS, sizeof(ms[0]), compare_u32);
		print_message(
			"%s: last answered probe to down %u/%u/%u ms (P50/P99/max), bound %u\n",
			cases[c].name, ms[RUNS / 2], ms[RUNS * 99 / 100], ms[RUNS - 1],
			gs_health_worst_case_ms(&spec));
		assert_true(ms[RUNS - 1] <= gs_health_worst_case_ms(&spec));
		/* The bound is one, but no wild guess. */
		assert_true(ms[RUNS - 1] * 10 >= gs_health_worst_case_ms(&spec) * 6);
	}
}

static void names(void **state)
{
	(void)state;

	for (int i = 0; i < GS_HEALTH__COUNT; i++)
		assert_true(strlen(gs_health_state_name((enum gs_health_state)i)) > 1);
	for (int i = 0; i < GS_PROBE_CLASS__COUNT; i++)
		assert_true(strlen(gs_probe_class_name((enum gs_probe_class)i)) > 1);
	assert_string_equal(gs_health_state_name(GS_HEALTH_RECOVERING), "recovering");
	assert_string_equal(gs_probe_class_name(GS_PROBE_STATUS), "status");
	assert_string_equal(gs_health_state_name(GS_HEALTH__COUNT), "?");
	assert_string_equal(gs_probe_class_name(GS_PROBE_CLASS__COUNT), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences),
		cmocka_unit_test(random_sequences_against_a_log),
		cmocka_unit_test(missing_is_what_it_takes),
		cmocka_unit_test(counters_do_not_wrap),
		cmocka_unit_test(intervals),
		cmocka_unit_test(soft_deadlines),
		cmocka_unit_test(worst_cases),
		cmocka_unit_test(defaults_keep_the_budget),
		cmocka_unit_test(black_hole_distribution),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
