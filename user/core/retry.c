/* SPDX-License-Identifier: Apache-2.0 */
#include "retry.h"

#include "random.h"

enum { WHOLE = 100 }; /* one attempt, in a budget's hundredths */

/* ---- budget ---------------------------------------------------------------------------------- */

static void add(struct gs_budget *budget, uint64_t hundredths)
{
	uint64_t left = budget->left + hundredths;

	budget->left = left < budget->most ? (uint32_t)left : budget->most;
}

void gs_budget_init(struct gs_budget *budget, uint32_t percent, uint32_t store)
{
	budget->percent = percent;
	budget->most = store < UINT32_MAX / WHOLE ? store * WHOLE : UINT32_MAX;
	budget->left = budget->most;
}

void gs_budget_earn(struct gs_budget *budget)
{
	add(budget, budget->percent);
}

bool gs_budget_has(const struct gs_budget *budget, uint32_t keep)
{
	return budget->left >= ((uint64_t)keep + 1) * WHOLE;
}

void gs_budget_spend(struct gs_budget *budget)
{
	if (gs_budget_has(budget, 0))
		budget->left -= WHOLE;
}

void gs_budget_return(struct gs_budget *budget, uint32_t count)
{
	add(budget, (uint64_t)count * WHOLE);
}

/* ---- backoff --------------------------------------------------------------------------------- */

uint32_t gs_retry_bound_ms(uint32_t base_ms, uint32_t cap_ms, uint32_t attempt)
{
	/* From 2^32 on every base is above every cap. */
	uint64_t bound_ms = (uint64_t)(base_ms > 0 ? base_ms : 1) << (attempt < 32 ? attempt : 32);
	uint32_t most_ms = cap_ms > 0 ? cap_ms : 1;

	return bound_ms < most_ms ? (uint32_t)bound_ms : most_ms;
}

void gs_retry_init(struct gs_retry *retry, uint32_t base_ms, uint32_t cap_ms, uint64_t seed)
{
	retry->base_ms = base_ms;
	retry->cap_ms = cap_ms > 0 ? cap_ms : 1;
	retry->attempt = 0;
	retry->random = seed;
	gs_budget_init(&retry->budget, GS_BUDGET_PERCENT, GS_RETRY_STORE);
}

uint32_t gs_retry_next_ms(struct gs_retry *retry)
{
	uint32_t bound_ms = gs_retry_bound_ms(retry->base_ms, retry->cap_ms, retry->attempt);
	uint32_t jitter_ms = bound_ms - 1;

	if (retry->attempt < UINT32_MAX)
		retry->attempt++;
	if (bound_ms == retry->cap_ms) {
		gs_budget_earn(&retry->budget); /* no sooner than anybody may */
	} else if (gs_budget_has(&retry->budget, 0)) {
		gs_budget_spend(&retry->budget);
	} else {
		bound_ms = retry->cap_ms;
		jitter_ms = bound_ms / 2;
	}
	return bound_ms - (uint32_t)(gs_random(&retry->random) % (jitter_ms + 1ULL));
}

void gs_retry_reset(struct gs_retry *retry)
{
	retry->attempt = 0;
	gs_budget_earn(&retry->budget);
}
