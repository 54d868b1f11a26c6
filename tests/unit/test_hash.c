/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow hash under differences: tuples that differ in one bit, in two, or as an earlier hash
 * could not tell apart, under many seeds; and how it spreads clients that come in a row. Chance
 * alone makes two 64-bit hashes equal once in 2^64 pairs, their halves once in 2^32: far more pairs
 * than are drawn here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "user/core/cidr.h"
#include "user/core/random.h"

#include <string.h>

enum {
	WORDS = 5,	/* four of addresses; ports and protocol */
	LAST_BITS = 40, /* of the fifth: two ports, the protocol */
	BITS = (WORDS - 1) * 64 + LAST_BITS,
	SEEDS = 12,
	MANY_SEEDS = 100000,
	HALVES_EQUAL = 3, /* 2 x 525,000 pairs / 2^32: four would be one run in 10^16 */
};

static struct gs_flow_tuple from_words(const uint64_t words[WORDS])
{
	struct gs_flow_tuple tuple = {0};

	for (int i = 0; i < 4; i++) {
		uint32_t *at = i < 2 ? &tuple.src[2 * i] : &tuple.dst[2 * (i - 2)];

		at[0] = (uint32_t)(words[i] >> 32);
		at[1] = (uint32_t)words[i];
	}
	tuple.src_port = (uint16_t)(words[4] >> 24);
	tuple.dst_port = (uint16_t)(words[4] >> 8);
	tuple.protocol = (uint8_t)words[4];
	return tuple;
}

static void draw_words(uint64_t *seed, uint64_t ret_words[WORDS])
{
	for (int i = 0; i < WORDS; i++)
		ret_words[i] = gs_random(seed);
	ret_words[WORDS - 1] &= (1ull << LAST_BITS) - 1;
}

/* Pairs of which something is equal. */
struct equal {
	uint32_t whole, high, low;
};

static void compare(const uint64_t words[WORDS], const uint64_t flip[WORDS], uint64_t seed,
		    struct equal *equal)
{
	uint64_t other[WORDS], a, b;
	struct gs_flow_tuple tuple;

	for (int i = 0; i < WORDS; i++)
		other[i] = words[i] ^ flip[i];
	tuple = from_words(words);
	a = gs_hash_flow(&tuple, seed);
	tuple = from_words(other);
	b = gs_hash_flow(&tuple, seed);
	equal->whole += a == b;
	equal->high += a >> 32 == b >> 32;
	equal->low += (uint32_t)a == (uint32_t)b;
}

static void flip_bit(uint64_t flip[WORDS], uint32_t bit)
{
	flip[bit / 64] ^= 1ull << bit % 64;
}

/* Every single bit and every pair of bits of all five words. */
static void test_one_and_two_bits(void **state)
{
	struct equal equal = {0};
	uint64_t random = 20261123, words[WORDS];

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)random);
	for (uint32_t n = 0; n < SEEDS; n++) {
		uint64_t seed = gs_random(&random);

		for (uint32_t i = 0; i < BITS; i++)
			for (uint32_t j = i; j < BITS; j++) {
				uint64_t flip[WORDS] = {0};

				flip_bit(flip, i);
				if (j != i)
					flip_bit(flip, j);
				draw_words(&random, words);
				compare(words, flip, seed, &equal);
			}
	}
	assert_int_equal(equal.whole, 0);
	assert_in_range(equal.high, 0, HALVES_EQUAL);
	assert_in_range(equal.low, 0, HALVES_EQUAL);
}

/*
 * A multiplication carries the top bit into the top bit alone, whatever the seed. Where a shift
 * then copies it to bit 31 and the next word comes at once, that word can take both away again.
 */
static void test_top_bits(void **state)
{
	static const uint64_t next[] = {1ull << 63, 1ull << 31, 1ull << 63 | 1ull << 31};
	uint64_t random = 7, words[WORDS];

	(void)state;
	for (int word = 0; word < WORDS - 1; word++)
		for (unsigned i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
			struct equal equal = {0};
			uint64_t flip[WORDS] = {0};

			flip[word] = 1ull << 63;
			flip[word + 1] = next[i];
			if (word + 1 == WORDS - 1)
				flip[word + 1] &= (1ull << LAST_BITS) - 1;
			for (int n = 0; n < MANY_SEEDS; n++) {
				draw_words(&random, words);
				compare(words, flip, gs_random(&random), &equal);
			}
			if (equal.whole)
				print_message("words %d and %d, %016llx: %u of %u equal\n", word,
					      word + 1, (unsigned long long)next[i], equal.whole,
					      MANY_SEEDS);
			assert_int_equal(equal.whole, 0);
			assert_in_range(equal.high, 0, HALVES_EQUAL);
			assert_in_range(equal.low, 0, HALVES_EQUAL);
		}
}

/* ---- keys and sets that chance does not make --------------------------------------------------*/

/* Under keys that leave nothing of a word's half: what the other half says must still count. */
static void test_no_key_hides_a_half(void **state)
{
	static const uint64_t keys[] = {0, 1, UINT32_MAX, 1ull << 32, UINT64_MAX, 1ull << 63};
	uint64_t random = 27112026;

	(void)state;
	for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
		for (uint32_t n = 0; n < MANY_SEEDS; n++) {
			uint64_t one = gs_random(&random) | 1;
			uint64_t low_is_0 = (one & ~(uint64_t)UINT32_MAX) - keys[k];
			uint64_t high_is_0 = (uint32_t)one - keys[k];
			uint64_t of_low = gs_hash_word(low_is_0, keys[k]);
			uint64_t of_high = gs_hash_word(high_is_0, keys[k]);

			assert_int_not_equal(of_low, gs_hash_word(low_is_0 + (one << 32), keys[k]));
			assert_int_equal((uint32_t)of_high, (uint32_t)one);
			assert_int_not_equal(of_high, gs_hash_word(high_is_0 ^ 1, keys[k]));
		}
}

/*
 * Pairs made for keys that are multiples of one seed: a small sum of those is the same for every
 * seed. They are alike no more often than docs/flows.md says. Words as gs_hash_flow6 has them.
 */
static void test_chosen_pairs(void **state)
{
	static const __u64 a[WORDS] = {0x40000000b80d0120, 0x4000000057f69e5a, 0xb80d0120,
				       0x0100000000000000, 0x1040bb0106};
	static const __u64 b[WORDS] = {0x3ffffbd4b80d0120, 0x4000031757f69e5a, 0xb80d0120,
				       0x0100000000000000, 0x7740bb0106};
	uint64_t random = 1127;
	uint32_t alike = 0;

	(void)state;
	for (int n = 0; n < MANY_SEEDS; n++) {
		uint64_t seed = gs_random(&random);

		alike += gs_hash_flow6(a, a + 2, a[4], seed) == gs_hash_flow6(b, b + 2, b[4], seed);
	}
	print_message("# alike under %u of %d seeds\n", alike, MANY_SEEDS);
	assert_in_range(alike, 0, MANY_SEEDS / 512);
}

enum {
	SET = 65536,
	CELLS = 4096, /* 16 of a set in each, on average */
	/* chi square of 4,095 degrees of freedom: mean 4,095, deviation 90.5; and seven of these */
	CHI_SQUARE_MOST = 4729,
};

/* As clients come: the n-th of a set in which only one thing counts up. */
static struct gs_flow_tuple nth_of_set(int set, uint32_t n, const struct gs_flow_tuple *base)
{
	struct gs_flow_tuple tuple = *base;
	bool is_v4 = set % 2 == 0;

	if (is_v4) {
		tuple.src[0] = tuple.src[1] = tuple.dst[0] = tuple.dst[1] = 0;
		tuple.src[2] = tuple.dst[2] = (uint32_t)GS_HASH_MAPPED;
	}
	if (set / 2 == 0) /* one client's ports */
		tuple.src_port = (uint16_t)n;
	else if (set / 2 == 1) /* addresses in a row */
		tuple.src[3] = __builtin_bswap32(__builtin_bswap32(base->src[3]) + n);
	else if (is_v4) /* networks in a row */
		tuple.src[3] = __builtin_bswap32(n << 8 | (base->src[3] & 0xff));
	else
		tuple.src[1] = __builtin_bswap32(n << 16);
	return tuple;
}

static double chi_square(const uint32_t cells[CELLS])
{
	const double mean = (double)SET / CELLS;
	double sum = 0;

	for (int i = 0; i < CELLS; i++)
		sum += (cells[i] - mean) * (cells[i] - mean) / mean;
	return sum;
}

/* Buckets (low bits), tags and ring slots (high ones) are spread as chance would. */
static void test_sets_in_a_row_are_spread(void **state)
{
	static uint32_t low[CELLS], middle[CELLS], high[CELLS];
	uint64_t random = 271120;

	(void)state;
	for (int set = 0; set < 6; set++)
		for (int n = 0; n < SEEDS; n++) {
			uint64_t seed = gs_random(&random), words[WORDS];
			struct gs_flow_tuple base;

			draw_words(&random, words);
			base = from_words(words);
			memset(low, 0, sizeof(low));
			memset(middle, 0, sizeof(middle));
			memset(high, 0, sizeof(high));
			for (uint32_t i = 0; i < SET; i++) {
				struct gs_flow_tuple tuple = nth_of_set(set, i, &base);
				uint64_t hash = gs_hash_flow(&tuple, seed);

				low[hash % CELLS]++;
				middle[(hash >> 26) % CELLS]++;
				high[hash >> 52]++;
			}
			assert_true(chi_square(low) < CHI_SQUARE_MOST);
			assert_true(chi_square(middle) < CHI_SQUARE_MOST);
			assert_true(chi_square(high) < CHI_SQUARE_MOST);
		}
}

/* ---- affinity --------------------------------------------------------------------------------*/

static struct gs_flow_tuple tuple_of(const struct gs_addr *client, uint64_t *random)
{
	uint64_t words[WORDS];
	struct gs_flow_tuple tuple;

	draw_words(random, words);
	tuple = from_words(words);
	memcpy(tuple.src, client->bytes, sizeof(tuple.src));
	return tuple;
}

/* For every length: of the client its prefix is left, as user space has it, and no port. */
static void test_affinity_by_prefix(void **state)
{
	uint64_t random = 26112026;

	(void)state;
	for (uint32_t round = 0; round < 20000; round++) {
		bool is_v4 = round % 2;
		uint8_t length = (uint8_t)(is_v4 ? 8 + round / 2 % 25 : 16 + round / 2 % 113);
		struct gs_addr client;
		struct gs_flow_tuple tuple, before;
		struct gs_prefix prefix;

		for (int i = 0; i < 16; i++)
			client.bytes[i] = (uint8_t)gs_random(&random);
		if (is_v4)
			client = gs_addr_from_v4((uint32_t)gs_random(&random));
		tuple = before = tuple_of(&client, &random);
		/* the other family's bits must not be gone by */
		gs_affinity_reduce(&tuple, GS_AFFINITY_PREFIX, is_v4 ? length : 9,
				   is_v4 ? 17 : length);
		prefix = gs_prefix_make(&client, length);
		assert_memory_equal(tuple.src, prefix.addr.bytes, sizeof(tuple.src));
		assert_int_equal(tuple.src_port, 0);
		assert_int_equal(tuple.dst_port, 0);
		assert_memory_equal(tuple.dst, before.dst, sizeof(tuple.dst));
		assert_int_equal(tuple.protocol, before.protocol);
	}
}

static void test_affinity_by_client_and_flow(void **state)
{
	uint64_t random = 4;

	(void)state;
	for (uint32_t round = 0; round < 1000; round++) {
		struct gs_addr client = gs_addr_from_v4((uint32_t)gs_random(&random));
		struct gs_flow_tuple before = tuple_of(&client, &random), tuple = before;

		gs_affinity_reduce(&tuple, GS_AFFINITY_FLOW, 8, 16);
		assert_memory_equal(&tuple, &before, sizeof(tuple));
		gs_affinity_reduce(&tuple, GS_AFFINITY_CLIENT, 8, 16);
		assert_memory_equal(tuple.src, before.src, sizeof(tuple.src));
		assert_int_equal(tuple.src_port | tuple.dst_port, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_and_two_bits),
		cmocka_unit_test(test_top_bits),
		cmocka_unit_test(test_no_key_hides_a_half),
		cmocka_unit_test(test_chosen_pairs),
		cmocka_unit_test(test_sets_in_a_row_are_spread),
		cmocka_unit_test(test_affinity_by_prefix),
		cmocka_unit_test(test_affinity_by_client_and_flow),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
