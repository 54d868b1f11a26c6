/* SPDX-License-Identifier: Apache-2.0 */
/* How late it was since a moment, against everything that was ever seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/lag.h"
#include "user/core/random.h"

static void late_then_less_late(void **state)
{
	struct gs_lag lag = {0};
	uint64_t first, second;

	(void)state;
	assert_int_equal(gs_lag_worst_ms(&lag, gs_lag_moment(&lag)), 0);
	first = gs_lag_moment(&lag);
	gs_lag_see(&lag, 90);
	assert_int_equal(gs_lag_worst_ms(&lag, first), 90);
	second = gs_lag_moment(&lag);
	/* What begins after it knows nothing of it. */
	assert_int_equal(gs_lag_worst_ms(&lag, second), 0);
	gs_lag_see(&lag, 0);
	assert_int_equal(gs_lag_moment(&lag), second);
	gs_lag_see(&lag, 30);
	assert_int_equal(gs_lag_worst_ms(&lag, first), 90);
	assert_int_equal(gs_lag_worst_ms(&lag, second), 30);
	gs_lag_see(&lag, 200);
	assert_int_equal(gs_lag_worst_ms(&lag, first), 200);
	assert_int_equal(gs_lag_worst_ms(&lag, second), 200);
}

/* The exact answer while the smaller ones fit; never less than it, and nothing from before. */
static void as_all_that_was_seen(void **state)
{
	enum { STEPS = 3000 };
	static uint32_t seen[STEPS + 1];
	uint64_t random = 7;
	struct gs_lag lag = {0};
	uint32_t exact = 0, more = 0;

	(void)state;
	for (uint32_t at = 1; at <= STEPS; at++) {
		/* Now and then ever smaller ones, more than there is room for. */
		seen[at] =
			at % 400 < 20 ? 1000 - at % 400 : 1 + (uint32_t)(gs_random(&random) % 400);
		gs_lag_see(&lag, seen[at]);
		assert_int_equal(gs_lag_moment(&lag), at);
		for (uint32_t since = at > 60 ? at - 60 : 0; since <= at; since++) {
			uint32_t want = 0, got = gs_lag_worst_ms(&lag, since);

			for (uint32_t i = since + 1; i <= at; i++)
				want = seen[i] > want ? seen[i] : want;
			assert_true(got >= want);
			assert_true((got == 0) == (since == at));
			exact += got == want;
			more += got != want;
		}
	}
	assert_true(exact > 10 * more);
	assert_true(more > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_then_less_late),
		cmocka_unit_test(as_all_that_was_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
