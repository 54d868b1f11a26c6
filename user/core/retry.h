/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to try again: exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS
 * 2015), paid from a budget, so that what fails again and again is not hammered however often it
 * succeeds in between. Pure: randomness is a seed. Semantics and numbers: user/core/README.md.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GS_BUDGET_PERCENT 20u
#define GS_RETRY_STORE 10u

/*
 * How many extra attempts may be made: so many for each hundred regular ones, and what is in store.
 * In hundredths of an attempt.
 */
struct gs_budget {
	uint32_t percent;
	uint32_t most; /* that is kept in store */
	uint32_t left;
};

/* Full. store: attempts that may be made before any regular one. */
void gs_budget_init(struct gs_budget *budget, uint32_t percent, uint32_t store);
/* A regular attempt. */
void gs_budget_earn(struct gs_budget *budget);
/* Is there an extra attempt that leaves `keep` of them in store? */
bool gs_budget_has(const struct gs_budget *budget, uint32_t keep);
/* One extra attempt is made; nothing left: nothing happens. */
void gs_budget_spend(struct gs_budget *budget);
/* `count` of those were not extra after all. */
void gs_budget_return(struct gs_budget *budget, uint32_t count);

/* min(cap, base * 2^attempt), 0 standing for 1 everywhere: what the nth wait is drawn from. */
uint32_t gs_retry_bound_ms(uint32_t base_ms, uint32_t cap_ms, uint32_t attempt);

struct gs_retry {
	uint32_t base_ms;
	uint32_t cap_ms;
	uint32_t attempt; /* failures in a row */
	uint64_t random;  /* state of the generator; seed it */
	struct gs_budget budget;
};

void gs_retry_init(struct gs_retry *retry, uint32_t base_ms, uint32_t cap_ms, uint64_t seed);
/*
 * After a failure: how long to wait, 1 .. min(cap, base * 2^attempt). Waits shorter than the cap
 * are paid from the budget; if that is empty, cap / 2 .. cap.
 */
uint32_t gs_retry_next_ms(struct gs_retry *retry);
/* After a success: the next failure is a first one again, as long as the budget lasts. */
void gs_retry_reset(struct gs_retry *retry);
