/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docs/flows.md says of chance, on the flow table's own structure and hash: how many flows
 * find their bucket full, how many share an entry with another. Calculated as the page does, and
 * counted with the hash of the packet path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "user/core/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = GS_FLOW_BUCKETS_DEFAULT, ENTRIES = BUCKETS * GS_FLOW_WAYS };

/* A flow of one service: a random client and port. */
static uint64_t draw_hash(uint64_t *random, uint64_t seed)
{
	struct gs_flow_tuple tuple = {
		.dst = {0, 0, 0xffff0000u, 0x0a6433c6u}, .dst_port = 0x5000, .protocol = 6};
	uint64_t client = gs_random(random);

	tuple.src[2] = 0xffff0000u;
	tuple.src[3] = (uint32_t)client;
	tuple.src_port = (uint16_t)(client >> 32);
	return gs_hash_flow(&tuple, seed);
}

static double poisson(double mean, int k)
{
	return exp(k * log(mean) - mean - lgamma(k + 1.0));
}

/* A bucket of `mean` flows on average: is it full when another one comes? */
static double full_for_a_new_one(double mean)
{
	double below = 0;

	for (int k = 0; k < (int)GS_FLOW_WAYS; k++)
		below += poisson(mean, k);
	return 1 - below;
}

/* Of all flows those that are beyond the ways of their bucket. */
static double beyond(double mean)
{
	double flows = 0;

	for (int k = GS_FLOW_WAYS + 1; k < 400; k++)
		flows += (k - (int)GS_FLOW_WAYS) * poisson(mean, k);
	return flows / mean;
}

/* flows in use; per cent as the page has them. */
static const struct {
	uint32_t flows;
	double full_percent, beyond_percent;
} LOADS[] = {
	{ENTRIES / 8, 0.0010, 0.00012},
	{ENTRIES / 4, 0.11, 0.015},
	{ENTRIES / 2, 5.1, 0.84},
	{ENTRIES, 55, 14},
};

static void test_the_page_calculates_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(LOADS) / sizeof(LOADS[0]); i++) {
		double mean = (double)LOADS[i].flows / BUCKETS;
		double full = 100 * full_for_a_new_one(mean), over = 100 * beyond(mean);

		print_message("# %u flows: %.5f %% find it full, %.6f %% are beyond\n",
			      LOADS[i].flows, full, over);
		assert_true(fabs(full - LOADS[i].full_percent) < 0.06 * LOADS[i].full_percent);
		assert_true(fabs(over - LOADS[i].beyond_percent) < 0.06 * LOADS[i].beyond_percent);
	}
}

/* The packet path's buckets fill as chance would have it, so that the calculation is of them. */
static void test_buckets_fill_by_chance(void **state)
{
	uint8_t *filled = malloc(BUCKETS);
	uint64_t random = 26112026;

	(void)state;
	assert_non_null(filled);
	for (size_t i = 1; i < sizeof(LOADS) / sizeof(LOADS[0]); i++) {
		double wanted = beyond((double)LOADS[i].flows / BUCKETS), counted = 0;
		uint64_t seed = gs_random(&random);
		double deviation;

		memset(filled, 0, BUCKETS);
		for (uint32_t n = 0; n < LOADS[i].flows; n++) {
			uint32_t bucket = (uint32_t)draw_hash(&random, seed) & (BUCKETS - 1);

			if (filled[bucket] < UINT8_MAX)
				filled[bucket]++;
			counted += filled[bucket] > GS_FLOW_WAYS;
		}
		/* flows beyond come in small groups: five deviations of their number, and half more
		 */
		deviation = 7.5 * sqrt(wanted * LOADS[i].flows);
		print_message("# %u flows: %.0f beyond, %.0f calculated\n", LOADS[i].flows, counted,
			      wanted * LOADS[i].flows);
		assert_true(fabs(counted - wanted * LOADS[i].flows) < deviation);
	}
	free(filled);
}

static int compare_keys(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/*
 * Bits of the bucket and of the tag are independent: pairs that are alike in 10 of the one and 16
 * of the other are one in 2^26, so pairs alike in 16 and 32 are one in 2^48.
 */
static void test_tags_are_alike_by_chance(void **state)
{
	enum { FLOWS = 65536, ROUNDS = 60, BUCKET_BITS = 10, TAG_BITS = 16 };
	uint32_t *keys = malloc(FLOWS * sizeof(*keys));
	double pairs = (double)ROUNDS * FLOWS * (FLOWS - 1) / 2, wanted, counted = 0;
	uint64_t random = 42;

	(void)state;
	assert_non_null(keys);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t seed = gs_random(&random);

		for (uint32_t n = 0; n < FLOWS; n++) {
			uint64_t hash = draw_hash(&random, seed);

			keys[n] = (uint32_t)hash % (1u << BUCKET_BITS) << TAG_BITS |
				  (uint32_t)(hash >> 32) % (1u << TAG_BITS);
		}
		qsort(keys, FLOWS, sizeof(*keys), compare_keys);
		for (uint32_t n = 1; n < FLOWS; n++)
			counted += keys[n] == keys[n - 1];
	}
	free(keys);
	/* the same client and port drawn twice is the same flow: 2^-48 of the pairs, none here */
	wanted = pairs / (1 << (BUCKET_BITS + TAG_BITS));
	print_message("# %.0f pairs alike, %.0f calculated\n", counted, wanted);
	assert_true(fabs(counted - wanted) < 5 * sqrt(wanted));
	/* as the page has it: of a full table, and of one new flow */
	assert_true(fabs(1 / ldexp(BUCKETS * GS_FLOW_WAYS * (GS_FLOW_WAYS - 1) / 2.0, -32) - 2340) <
		    1);
	assert_true(fabs(GS_FLOW_WAYS * ldexp(1, -32) - 1.0 / 536870912) < 1e-15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_page_calculates_right),
		cmocka_unit_test(test_buckets_fill_by_chance),
		cmocka_unit_test(test_tags_are_alike_by_chance),
	};

	return cmocka_run_group_tests_name("flow odds", tests, NULL, NULL);
}
