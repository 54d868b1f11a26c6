/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/maglev.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { MEMBERS_MAX = 1200, SLOTS_MAX = 65537 };

static struct gs_maglev_member members[MEMBERS_MAX];
static gs_id ring[SLOTS_MAX], other_ring[SLOTS_MAX];

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185ULL;
	x ^= x >> 27;
	x *= 0x81dadef4bc2dd44dULL;
	return x ^ (x >> 33);
}

static void fill_members(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		members[i] = (struct gs_maglev_member){
			.backend = (gs_id)(i + 1), .weight = 100, .key = mix(i + 1)};
}

static int build(const struct gs_maglev_member *list, uint32_t count, uint64_t seed, uint32_t slots,
		 gs_id *ret_slots)
{
	GS_AUTO_FREE void *scratch = malloc(gs_maglev_scratch(count) + 1);

	return gs_maglev_build(list, count, seed, scratch, slots, ret_slots);
}

/* Percent of slots that differ between the two rings. */
static double moved_percent(uint32_t slots)
{
	uint32_t moved = 0;

	for (uint32_t i = 0; i < slots; i++)
		moved += ring[i] != other_ring[i];
	return 100.0 * moved / slots;
}

/* The ring with member `out` left out goes to other_ring. */
static void build_without(uint32_t count, uint32_t out, uint64_t seed, uint32_t slots)
{
	struct gs_maglev_member gone = members[out];

	members[out] = members[count - 1];
	assert_int_equal(build(members, count - 1, seed, slots, other_ring), 0);
	members[out] = gone;
}

static void lengths(void **state)
{
	uint32_t last = 0;
	(void)state;

	assert_int_equal(gs_maglev_slots(0), 4099);
	for (uint32_t n = 1; n <= 16384; n++) {
		uint32_t slots = gs_maglev_slots(n);

		assert_true(slots >= last && slots >= n && slots <= SLOTS_MAX);
		if (n <= 65)
			assert_true(slots >= 1000 * n);
		for (uint32_t d = 2; slots != last && d * d <= slots; d++)
			assert_true(slots % d != 0);
		last = slots;
	}
}

static void balance(void **state)
{
	static const uint32_t counts[] = {1, 2, 3, 4, 5, 10, 16, 17, 50, 65, 100, 250};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		uint32_t n = counts[c], slots = gs_maglev_slots(n);
		uint32_t got[MEMBERS_MAX + 1] = {0};
		double worst = 0;

		fill_members(n);
		assert_int_equal(build(members, n, 42, slots, ring), 0);
		for (uint32_t i = 0; i < slots; i++) {
			assert_in_range(ring[i], 1, n);
			got[ring[i]]++;
		}
		for (uint32_t i = 1; i <= n; i++)
			worst = fmax(worst, fabs((double)got[i] * n / slots - 1));
		if (worst > 0.01)
			fail_msg("%u members: off by %.2f %% of their share", n, 100 * worst);
	}
}

static void weights(void **state)
{
	static const struct {
		const char *name;
		uint32_t count;
		uint16_t weight[6];
	} cases[] = {
		{"equal, not 100", 3, {7, 7, 7}},
		{"one to three", 2, {1, 3}},
		{"canary", 4, {100, 100, 100, 1}},
		{"extremes", 4, {1000, 1, 1, 1}},
		{"all different", 6, {10, 20, 30, 40, 50, 60}},
		{"primes", 5, {997, 991, 13, 7, 2}},
		{"lone", 1, {1}},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		uint32_t n = cases[c].count, slots = gs_maglev_slots(n), sum = 0;
		uint32_t got[7] = {0};

		fill_members(n);
		for (uint32_t i = 0; i < n; i++) {
			members[i].weight = cases[c].weight[i];
			sum += cases[c].weight[i];
		}
		assert_int_equal(build(members, n, 9, slots, ring), 0);
		for (uint32_t i = 0; i < slots; i++)
			got[ring[i]]++;
		for (uint32_t i = 0; i < n; i++) {
			double want = (double)slots * cases[c].weight[i] / sum;
			double off = fabs(got[i + 1] - want);

			/* 1 % of the share, or the one slot that whole numbers cost. */
			if (off > 1.001 && off > want / 100)
				fail_msg("%s: member %u has %u slots, want %.1f", cases[c].name, i,
					 got[i + 1], want);
		}
	}
}

/* The length stays what it was, as it does unless a class of gs_maglev_slots is left. */
static void removal_moves_little(void **state)
{
	static const uint32_t counts[] = {2, 3, 4, 5, 8, 16, 17, 30, 65, 100};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		uint32_t n = counts[c], slots = gs_maglev_slots(n);
		double worst = 0, least = 100.0 / n;

		fill_members(n);
		for (uint64_t seed = 0; seed < 3; seed++) {
			assert_int_equal(build(members, n, seed, slots, ring), 0);
			for (uint32_t out = 0; out<n; out += n> 20 ? n / 10 : 1) {
				build_without(n, out, seed, slots);
				worst = fmax(worst, moved_percent(slots));
			}
		}
		print_message(
			"%3u members, %5u slots: one leaves, at most %.2f %% move (least %.2f)\n",
			n, slots, worst, least);
		if (worst > least + 2)
			fail_msg("%u members: %.2f %% move, least is %.2f %%", n, worst, least);
	}
}

static void small_weight_change_moves_little(void **state)
{
	uint32_t n = 10, slots = gs_maglev_slots(n);
	double least, moved;
	(void)state;

	fill_members(n);
	assert_int_equal(build(members, n, 5, slots, ring), 0);
	members[3].weight = 50;
	assert_int_equal(build(members, n, 5, slots, other_ring), 0);
	/* From 1/10 to 50/950: the least possible is the share that one lost. */
	least = 100 * (0.1 - 50.0 / 950);
	moved = moved_percent(slots);
	if (moved < least - 0.1 || moved > least + 5)
		fail_msg("%.2f %% move, least is %.2f %%", moved, least);
}

static void order_and_ids_do_not_matter(void **state)
{
	uint32_t n = 23, slots = gs_maglev_slots(n);
	(void)state;

	fill_members(n);
	for (uint32_t i = 0; i < n; i++)
		members[i].weight = (uint16_t)(1 + i * 7);
	assert_int_equal(build(members, n, 77, slots, ring), 0);
	for (uint32_t round = 1; round < 5; round++) {
		for (uint32_t i = n - 1; i > 0; i--) {
			uint32_t j = (uint32_t)(mix(round * 1000 + i) % (i + 1));
			struct gs_maglev_member swap = members[i];

			members[i] = members[j];
			members[j] = swap;
		}
		assert_int_equal(build(members, n, 77, slots, other_ring), 0);
		assert_memory_equal(ring, other_ring, slots * sizeof(ring[0]));
	}
	/* Renumbered: the same slots under other ids. */
	for (uint32_t i = 0; i < n; i++)
		members[i].backend = (gs_id)(members[i].backend + 500);
	assert_int_equal(build(members, n, 77, slots, other_ring), 0);
	for (uint32_t i = 0; i < slots; i++)
		assert_int_equal(other_ring[i], ring[i] + 500);
}

static void seed_matters(void **state)
{
	uint32_t slots = gs_maglev_slots(10);
	(void)state;

	fill_members(10);
	assert_int_equal(build(members, 10, 1, slots, ring), 0);
	assert_int_equal(build(members, 10, 2, slots, other_ring), 0);
	assert_true(moved_percent(slots) > 80);
}

static void bad_input(void **state)
{
	static const struct {
		const char *name;
		uint32_t count, slots;
		uint32_t zero_weight_at, equal_key_at, zero_id_at; /* 0: nowhere */
	} cases[] = {
		{"no members", 0, 4099, 0, 0, 0},
		{"weight 0", 3, 4099, 2, 0, 0},
		{"equal keys", 3, 4099, 0, 2, 0},
		{"backend 0", 3, 4099, 0, 0, 1},
		{"no slots", 3, 0, 0, 0, 0},
		{"one slot", 1, 1, 0, 0, 0},
		{"slots not prime", 3, 4096, 0, 0, 0},
		{"square of a prime", 3, 10201, 0, 0, 0},
		{"fewer slots than members", 5, 3, 0, 0, 0},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(ring, 0xee, sizeof(ring));
		memset(other_ring, 0xee, sizeof(other_ring));
		fill_members(5);
		if (cases[i].zero_weight_at)
			members[cases[i].zero_weight_at].weight = 0;
		if (cases[i].equal_key_at)
			members[cases[i].equal_key_at].key = members[0].key;
		if (cases[i].zero_id_at)
			members[cases[i].zero_id_at].backend = 0;
		if (build(members, cases[i].count, 1, cases[i].slots, ring) != -EINVAL)
			fail_msg("%s: not refused", cases[i].name);
		assert_memory_equal(ring, other_ring, sizeof(ring));
	}
}

static void as_many_members_as_slots(void **state)
{
	uint32_t got[MEMBERS_MAX + 1] = {0};
	(void)state;

	fill_members(1009);
	assert_int_equal(build(members, 1009, 3, 1009, ring), 0);
	for (uint32_t i = 0; i < 1009; i++)
		got[ring[i]]++;
	for (uint32_t i = 1; i <= 1009; i++)
		assert_int_equal(got[i], 1);
	assert_int_equal(build(members, 2, 3, 2, ring), 0);
	assert_int_equal(ring[0] + ring[1], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths),
		cmocka_unit_test(balance),
		cmocka_unit_test(weights),
		cmocka_unit_test(removal_moves_little),
		cmocka_unit_test(small_weight_change_moves_little),
		cmocka_unit_test(order_and_ids_do_not_matter),
		cmocka_unit_test(seed_matters),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(as_many_members_as_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
