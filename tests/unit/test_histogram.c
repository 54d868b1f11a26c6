/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/histogram.h"
#include "user/core/random.h"

#include <string.h>

static void fill(struct gs_histogram *histogram, const uint32_t *values, size_t count)
{
	gs_histogram_clear(histogram);
	for (size_t i = 0; i < count; i++)
		gs_histogram_add(histogram, values[i]);
}

static void small_numbers_are_exact(void **state)
{
	static const struct {
		const char *name;
		uint32_t count, values[8];
		uint32_t p1, p50, p90, p100;
	} cases[] = {
		{"nothing", 0, {0}, 0, 0, 0, 0},
		{"one", 1, {7}, 7, 7, 7, 7},
		{"zero is a number", 2, {0, 9}, 0, 0, 9, 9},
		{"nearest rank, even", 4, {1, 2, 3, 4}, 1, 2, 4, 4},
		{"nearest rank, odd", 5, {5, 4, 3, 2, 1}, 1, 3, 5, 5},
		{"the last exact one", 3, {15, 15, 15}, 15, 15, 15, 15},
		{"buckets of one number above them", 2, {16, 31}, 16, 16, 31, 31},
		{"the greatest is exact at any size",
		 1,
		 {1000003},
		 1000003,
		 1000003,
		 1000003,
		 1000003},
		{"what lies beyond",
		 2,
		 {UINT32_MAX, UINT32_MAX},
		 (31u << 21) + (1u << 20),
		 (31u << 21) + (1u << 20),
		 UINT32_MAX,
		 UINT32_MAX},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_histogram h;

		print_message("# %s\n", cases[i].name);
		fill(&h, cases[i].values, cases[i].count);
		assert_int_equal(h.count, cases[i].count);
		assert_int_equal(gs_histogram_percentile(&h, 1), cases[i].p1);
		assert_int_equal(gs_histogram_percentile(&h, 50), cases[i].p50);
		assert_int_equal(gs_histogram_percentile(&h, 90), cases[i].p90);
		assert_int_equal(gs_histogram_percentile(&h, 100), cases[i].p100);
	}
}

static void assert_near(uint32_t got, uint32_t want)
{
	uint32_t off = got > want ? got - want : want - got;

	if (want < 16)
		assert_int_equal(got, want);
	else
		assert_true((uint64_t)off * 32 <= want);
}

/* Every power of two and its neighbours, alone. */
static void any_number_is_at_most_a_thirty_second_off(void **state)
{
	(void)state;

	for (uint32_t bit = 0; bit < GS_HISTOGRAM_BITS; bit++) {
		for (int delta = -17; delta <= 17; delta++) {
			/* A greater one beside it, so that the exact maximum does not help. */
			uint32_t value = (1u << bit) + (uint32_t)delta;
			struct gs_histogram h;

			if (value >= 1u << GS_HISTOGRAM_BITS) /* below 0, that is */
				continue;
			fill(&h, (const uint32_t[]){value, UINT32_MAX}, 2);
			assert_near(gs_histogram_percentile(&h, 50), value);
		}
	}
}

static void sort(uint32_t *values, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		uint32_t value = values[i], at = i;

		for (; at > 0 && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

/* Beside sorting, and counting off the rank one by one. */
static void as_sorting_would_have_it(void **state)
{
	enum { MOST = 700 }; /* what a minute of probes has at most, nearly */
	static uint32_t values[MOST];
	(void)state;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint64_t random = seed;
		uint32_t count = 1 + (uint32_t)(gs_random(&random) % MOST);
		uint32_t bits = 1 + (uint32_t)(gs_random(&random) % GS_HISTOGRAM_BITS);
		struct gs_histogram h;

		print_message("# seed %d: %u numbers of up to %u bits\n", (int)seed, count, bits);
		for (uint32_t i = 0; i < count; i++) /* of all magnitudes, not only the greatest */
			values[i] = (uint32_t)(gs_random(&random) >> (64 - bits)) >>
				    gs_random(&random) % bits;
		fill(&h, values, count);
		sort(values, count);
		assert_int_equal(h.max, values[count - 1]);
		for (uint32_t percent = 1; percent <= 100; percent++) {
			uint32_t rank = 1;

			while (rank * 100 < percent * count)
				rank++;
			assert_near(gs_histogram_percentile(&h, percent), values[rank - 1]);
		}
	}
}

static void percentiles_do_not_fall(void **state)
{
	uint64_t random = 3;
	struct gs_histogram h;
	(void)state;

	gs_histogram_clear(&h);
	for (int i = 0; i < 5000; i++)
		gs_histogram_add(&h, (uint32_t)(gs_random(&random) >> 32));
	for (uint32_t percent = 2; percent <= 100; percent++)
		assert_true(gs_histogram_percentile(&h, percent) >=
			    gs_histogram_percentile(&h, percent - 1));
	assert_true(gs_histogram_percentile(&h, 100) <= h.max);
}

/* A bucket that is full takes no more; the others and the maximum go on. */
static void full_buckets_stay_full(void **state)
{
	struct gs_histogram h;
	(void)state;

	gs_histogram_clear(&h);
	for (int i = 0; i < 70000; i++)
		gs_histogram_add(&h, 100);
	assert_int_equal(h.count, UINT16_MAX);
	gs_histogram_add(&h, 5000);
	assert_int_equal(h.count, UINT16_MAX + 1);
	assert_int_equal(h.max, 5000);
	assert_near(gs_histogram_percentile(&h, 99), 100);
	assert_near(gs_histogram_percentile(&h, 100), 5000);
}

static void clearing_forgets(void **state)
{
	struct gs_histogram h, fresh;
	(void)state;

	fill(&h, (const uint32_t[]){1, 200, 30000, UINT32_MAX}, 4);
	gs_histogram_clear(&h);
	memset(&fresh, 0, sizeof(fresh));
	assert_memory_equal(&h, &fresh, sizeof(h));
	/* One for each of 16,383 backends: 12 MB. */
	assert_true(sizeof(struct gs_histogram) <= 768);
}

/* Two merged are one that had everything, whatever is in either: bucket for bucket. */
static void merged_as_if_added(void **state)
{
	(void)state;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct gs_histogram parts[2], all;
		uint64_t random = seed;
		uint32_t count = (uint32_t)(gs_random(&random) % 300);

		gs_histogram_clear(&parts[0]);
		gs_histogram_clear(&parts[1]);
		gs_histogram_clear(&all);
		for (uint32_t i = 0; i < count; i++) {
			uint64_t drawn = gs_random(&random);
			uint32_t value = (uint32_t)(drawn >> 32) >> (drawn % 32);

			/* Also with one of them empty. */
			gs_histogram_add(&parts[seed % 3 == 0 ? 0 : drawn >> 8 & 1], value);
			gs_histogram_add(&all, value);
		}
		gs_histogram_merge(&parts[seed & 1], &parts[~seed & 1]);
		assert_memory_equal(&parts[seed & 1], &all, sizeof(all));
	}
}

static void merging_stops_where_adding_does(void **state)
{
	struct gs_histogram full, half;
	(void)state;

	gs_histogram_clear(&full);
	gs_histogram_clear(&half);
	for (uint32_t i = 0; i < UINT16_MAX; i++)
		gs_histogram_add(&full, 5);
	for (uint32_t i = 0; i < 40000; i++)
		gs_histogram_add(&half, 5);
	gs_histogram_merge(&half, &full);
	assert_int_equal(half.count, UINT16_MAX);
	assert_memory_equal(&half, &full, sizeof(full));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_numbers_are_exact),
		cmocka_unit_test(any_number_is_at_most_a_thirty_second_off),
		cmocka_unit_test(as_sorting_would_have_it),
		cmocka_unit_test(percentiles_do_not_fall),
		cmocka_unit_test(full_buckets_stay_full),
		cmocka_unit_test(clearing_forgets),
		cmocka_unit_test(merged_as_if_added),
		cmocka_unit_test(merging_stops_where_adding_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
