/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/retry.h"

#include <string.h>

static void bounds_double_up_to_the_cap(void **state)
{
	static const struct {
		uint32_t base_ms, cap_ms;
		uint32_t want_bound_ms[6];
	} cases[] = {
		{100, 1000, {100, 200, 400, 800, 1000, 1000}},
		{1, 5, {1, 2, 4, 5, 5, 5}},
		{500, 100, {100, 100, 100, 100, 100, 100}},
		{0, 0, {1, 1, 1, 1, 1, 1}},
		{UINT32_MAX, UINT32_MAX, {UINT32_MAX, UINT32_MAX, UINT32_MAX}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint64_t seed = 0; seed < 500; seed++) {
			struct gs_retry retry;

			gs_retry_init(&retry, cases[i].base_ms, cases[i].cap_ms, seed);
			for (int n = 0; n < 6 && cases[i].want_bound_ms[n]; n++) {
				uint32_t ms = gs_retry_next_ms(&retry);

				assert_in_range(ms, 1, cases[i].want_bound_ms[n]);
			}
		}
	}
}

static void jitter_is_full(void **state)
{
	uint32_t low = UINT32_MAX, high = 0;
	uint64_t sum = 0;
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 1000, 1000, 7);
	for (int i = 0; i < 20000; i++) {
		uint32_t ms = gs_retry_next_ms(&retry);

		low = ms < low ? ms : low;
		high = ms > high ? ms : high;
		sum += ms;
	}
	assert_in_range(low, 1, 3);
	assert_in_range(high, 998, 1000);
	assert_in_range(sum / 20000, 490, 511);
}

static void never_overflows(void **state)
{
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 100, 30000, 1);
	for (int i = 0; i < 10000; i++)
		assert_in_range(gs_retry_next_ms(&retry), 1, 30000);
	retry.attempt = UINT32_MAX;
	assert_in_range(gs_retry_next_ms(&retry), 1, 30000);
	assert_true(retry.attempt == UINT32_MAX);
}

static void reset_starts_anew(void **state)
{
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 10, 10000, 1);
	for (int i = 0; i < 20; i++)
		gs_retry_next_ms(&retry);
	gs_retry_reset(&retry);
	assert_in_range(gs_retry_next_ms(&retry), 1, 10);
}

static void seeds_matter(void **state)
{
	struct gs_retry a, b, c;
	uint32_t from_a[8], from_b[8], from_c[8];
	(void)state;

	gs_retry_init(&a, 1000, 60000, 1);
	gs_retry_init(&b, 1000, 60000, 1);
	gs_retry_init(&c, 1000, 60000, 2);
	for (int i = 0; i < 8; i++) {
		from_a[i] = gs_retry_next_ms(&a);
		from_b[i] = gs_retry_next_ms(&b);
		from_c[i] = gs_retry_next_ms(&c);
	}
	assert_memory_equal(from_a, from_b, sizeof(from_a));
	assert_memory_not_equal(from_a, from_c, sizeof(from_a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_double_up_to_the_cap),
		cmocka_unit_test(jitter_is_full),
		cmocka_unit_test(never_overflows),
		cmocka_unit_test(reset_starts_anew),
		cmocka_unit_test(seeds_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
