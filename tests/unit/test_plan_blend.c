/* SPDX-License-Identifier: Apache-2.0 */
/* Plans between two: each client goes over once, and to nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/plan_blend.h"
#include "user/core/random.h"

#include <string.h>

enum { A = 1, B, C, D, E, SLOTS = 65536 };

/* Regions with weights, as gs_plan_from_ranking has them; those of weight 0 behind. */
struct wish {
	uint8_t count;
	gs_id region[GS_PLAN_REGIONS];
	uint32_t weight[GS_PLAN_REGIONS];
};

static struct gs_plan plan_of(const struct wish *wish)
{
	struct gs_plan plan = {.count = wish->count};
	uint32_t total = 0, sum = 0;
	uint8_t tied = 0;

	for (uint8_t i = 0; i < wish->count; i++) {
		plan.region[i] = wish->region[i];
		total += wish->weight[i];
		tied += wish->weight[i] > 0;
	}
	for (uint8_t i = 0; i < wish->count; i++) {
		sum += wish->weight[i];
		plan.share[i] =
			sum == total ? UINT16_MAX : (uint16_t)((uint64_t)SLOTS * sum / total - 1);
		plan.spare[i] = tied > 1 && wish->weight[i] ? (uint16_t)wish->weight[i] : 0;
	}
	if (tied == 1)
		plan.spare[plan.count > 1 ? 1 : 0] = UINT16_MAX;
	return plan;
}

static gs_id home_of(const struct gs_plan *plan, uint32_t slot)
{
	int at = gs_plan_home(plan, slot);

	return at < 0 ? 0 : plan->region[at];
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void by_hand(void **state)
{
	static const struct {
		const char *name;
		struct wish before, now;
		uint8_t percent;
		bool is_between;
		struct {
			gs_id region;
			uint32_t end; /* of its slots */
		} want[6];
	} cases[] = {
		{"another is first",
		 {3, {A, B, C}, {1}},
		 {3, {B, C, A}, {1}},
		 25,
		 true,
		 {{B, 16384}, {C, 16384}, {A, 65536}}},
		{"nearly all have gone over",
		 {3, {A, B, C}, {1}},
		 {3, {B, C, A}, {1}},
		 75,
		 true,
		 {{B, 49152}, {C, 49152}, {A, 65536}}},
		{"all have", {3, {A, B, C}, {1}}, {3, {B, C, A}, {1}}, 100, false, {{0, 0}}},
		{"nobody has yet",
		 {3, {A, B, C}, {1}},
		 {3, {B, C, A}, {1}},
		 0,
		 true,
		 {{A, 65536}, {B, 65536}, {C, 65536}}},
		{"what is behind is no reason",
		 {3, {A, B, C}, {1}},
		 {3, {A, C, B}, {1}},
		 50,
		 false,
		 {{0, 0}}},
		{"the old first one is in the new plan no more",
		 {2, {A, B}, {1}},
		 {2, {B, C}, {1}},
		 50,
		 true,
		 {{B, 32768}, {C, 32768}, {A, 65536}}},
		{"one comes between two",
		 {2, {A, C}, {1, 1}},
		 {3, {A, B, C}, {1, 2, 1}},
		 50,
		 true,
		 {{A, 16384}, {B, 49152}, {C, 65536}}},
		{"one of three goes",
		 {3, {A, B, C}, {1, 2, 1}},
		 {3, {A, C, B}, {1, 1, 0}},
		 50,
		 true,
		 {{A, 16384}, {B, 49152}, {C, 65536}}},
		{"more of them know",
		 {3, {A, B, C}, {1, 2, 1}},
		 {3, {A, C, B}, {1, 1, 0}},
		 75,
		 true,
		 {{A, 24576}, {B, 40960}, {C, 65536}}},
		{"one becomes three",
		 {4, {A, B, C, D}, {1}},
		 {4, {B, C, D, A}, {1, 1, 2}},
		 50,
		 true,
		 {{B, 16384}, {C, 32768}, {D, 32768}, {A, 65536}}},
		{"what stands in another order is said by no plan",
		 {2, {A, B}, {1, 1}},
		 {2, {B, A}, {1, 1}},
		 50,
		 false,
		 {{0, 0}}},
		{"there was none", {0}, {2, {B, A}, {1}}, 50, false, {{0, 0}}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_plan before = plan_of(&cases[i].before), now = plan_of(&cases[i].now);
		struct gs_plan plan;

		print_message("# %s\n", cases[i].name);
		assert_int_equal(gs_plan_blend(&before, &now, cases[i].percent, &plan),
				 cases[i].is_between);
		if (!cases[i].is_between) {
			assert_memory_equal(&plan, &now, sizeof(plan));
			continue;
		}
		for (uint8_t r = 0; r < plan.count; r++) {
			assert_int_equal(plan.region[r], cases[i].want[r].region);
			assert_int_equal(plan.share[r] + 1u, cases[i].want[r].end);
		}
		assert_true(plan.count == 6 || cases[i].want[plan.count].region == 0);
	}
}

/* ---- who is lost ----------------------------------------------------------------------------- */

/* Clients whose old home is down go to the new one, those whose new one is to what `now` has next.
 */
static void failover_waits_for_nothing(void **state)
{
	static const struct wish wish_before = {4, {A, B, C, D}, {1}};
	static const struct wish wish_now = {4, {B, C, A, D}, {1}};
	struct gs_plan before = plan_of(&wish_before), now = plan_of(&wish_now), plan;
	static const struct {
		gs_id down, down_too;
		gs_id old, new; /* where those go who have not gone over, and who have */
	} cases[] = {{0, 0, A, B}, {A, 0, B, B}, {B, 0, A, C}, {A, B, C, C},
		     {B, C, A, A}, {C, 0, A, B}, {A, C, B, B}};
	(void)state;

	assert_true(gs_plan_blend(&before, &now, 50, &plan));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool usable[GS_PLAN_REGIONS];

		for (uint8_t r = 0; r < plan.count; r++)
			usable[r] = plan.region[r] != cases[i].down &&
				    plan.region[r] != cases[i].down_too;
		for (uint32_t slot = 0; slot < SLOTS; slot += 97) {
			uint64_t draw = (uint64_t)slot * 0x9e3779b97f4aull << 16 | slot;
			int at = gs_plan_pick(&plan, usable, draw);

			assert_true(at >= 0);
			assert_int_equal(plan.region[at],
					 slot < SLOTS / 2 ? cases[i].new : cases[i].old);
		}
	}
}

/* Where several share, what one of them loses is spread as theirs is. */
static void spare_is_as_now(void **state)
{
	static const struct wish wish_before = {3, {A, B, C}, {1}};
	static const struct wish wish_now = {3, {B, C, A}, {3, 5}};
	struct gs_plan before = plan_of(&wish_before), now = plan_of(&wish_now), plan;
	(void)state;

	assert_true(gs_plan_blend(&before, &now, 50, &plan));
	for (uint8_t r = 0; r < plan.count; r++)
		assert_int_equal(plan.spare[r], plan.region[r] == B   ? 3
						: plan.region[r] == C ? 5
								      : 0);
}

/* ---- whatever the plans ---------------------------------------------------------------------- */

/* Some of the regions in the order that all stand in, the others behind. alike: weights are the
 * regions' own, as a policy's are. */
static struct wish wish_some(uint64_t *seed, uint8_t regions, bool alike)
{
	struct wish wish = {.count = 0};
	uint64_t set = gs_random(seed) % (1u << regions);

	set = set ? set : 1;
	for (int is_behind = 0; is_behind < 2; is_behind++)
		for (uint8_t r = 0; r < regions; r++) {
			if ((set >> r & 1) == (uint64_t)is_behind)
				continue;
			wish.region[wish.count] = r + 1u;
			wish.weight[wish.count++] = is_behind ? 0
						    : alike   ? 1 + r * 7919u % 13
							    : 1 + (uint32_t)(gs_random(seed) % 100);
		}
	return wish;
}

/* All slots, at all percents that matter: each goes over once, from before's home to now's, and in
 * all as many as there should be. */
static void each_client_goes_over_once(void **state)
{
	enum { STEP = 61 };
	static uint8_t has_gone[SLOTS];
	uint64_t seed = 20261126;
	uint32_t between = 0;
	(void)state;

	for (int round = 0; round < 1500; round++) {
		uint8_t regions = 2 + (uint8_t)(gs_random(&seed) % (round % 5 ? 4 : 15));
		struct wish wishes[] = {wish_some(&seed, regions, round % 2),
					wish_some(&seed, regions, round % 2)};
		struct gs_plan before = plan_of(&wishes[0]), now = plan_of(&wishes[1]), plan;

		memset(has_gone, 0, sizeof(has_gone));
		for (uint8_t percent = 0; percent <= 100; percent += round % 3 ? 25 : 5) {
			bool is_between = gs_plan_blend(&before, &now, percent, &plan);
			uint32_t gone = 0, looked = 0;

			between += is_between;
			assert_true(plan.count >= 1 && plan.count <= GS_PLAN_REGIONS);
			assert_int_equal(plan.share[plan.count - 1], UINT16_MAX);
			for (uint8_t r = 0; r < plan.count; r++)
				for (uint8_t other = 0; other < r; other++)
					assert_int_not_equal(plan.region[r], plan.region[other]);
			for (uint32_t slot = 0; slot < SLOTS; slot += STEP) {
				gs_id was = home_of(&before, slot), is = home_of(&plan, slot);
				gs_id will = home_of(&now, slot);

				assert_true(is == was || is == will);
				if (was == will)
					continue;
				if (has_gone[slot] && is != will)
					fail_msg("round %d, %u %%: slot %u comes back", round,
						 percent, slot);
				has_gone[slot] = is == will;
				gone += is == will;
				looked++;
			}
			/* No more than that share of all, by a slot or two. */
			assert_true(gone <= (SLOTS / STEP + 1) * percent / 100 +
						    2 * GS_PLAN_REGIONS ||
				    !is_between);
			if (percent == 100)
				assert_int_equal(gone, looked);
			/* Only equal homes are no way to go. */
			if (!is_between && percent < 100)
				assert_int_equal(looked, 0);
		}
	}
	assert_true(between > 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(failover_waits_for_nothing),
		cmocka_unit_test(spare_is_as_now),
		cmocka_unit_test(each_client_goes_over_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
