/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/random.h"

/* What SplitMix64 gives for this seed everywhere. */
static void as_published(void **state)
{
	static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
					9817491932198370423u, 4593380528125082431u,
					16408922859458223821u};
	uint64_t random = 1234567;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_true(gs_random(&random) == want[i]);
}

/* Neighbouring seeds have nothing in common: each bit of the first number differs in half of them.
 */
static void any_seed_is_a_good_seed(void **state)
{
	enum { SEEDS = 10000 };
	uint32_t changed[64] = {0};
	(void)state;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		uint64_t a = seed, b = seed + 1, differs = gs_random(&a) ^ gs_random(&b);

		for (int bit = 0; bit < 64; bit++)
			changed[bit] += differs >> bit & 1;
	}
	for (int bit = 0; bit < 64; bit++)
		assert_in_range(changed[bit], SEEDS * 48 / 100, SEEDS * 52 / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_published),
		cmocka_unit_test(any_seed_is_a_good_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
