/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ends of plans. Where there are more different plans than ids, plans are told apart by their
 * first choices alone: behind those the same regions stand in the policy's order, which many
 * locations have in common. Nobody loses a region. Pure.
 */
#pragma once

#include "plan.h"
#include "rank.h"
#include "types.h"

/* As few choices as are exact at the least, if a plan has so many. */
#define GS_PLAN_EXACT_LEAST 2u

/* The order behind the exact choices, as the policy's: [region id] -> place; of regions that the
 * policy does not rank GS_ID_MAX_REGION. Last resorts are behind all others. */
void gs_plan_tail_places(const struct gs_ranker *ranker, const struct gs_ranked_policy *ranked,
			 uint8_t ret_places[GS_ID_MAX_REGION + 1]);

/* How many first choices of the plan are exact: `exact`, but at least those who share its clients
 * and the one behind them. At most plan->count. */
uint8_t gs_plan_tail_begin(const struct gs_plan *plan, uint32_t exact);

/*
 * Puts what is behind the exact choices in order, each region with its spare. Put in order for
 * fewer exact choices afterwards, a plan is what it would be if that had come first.
 */
void gs_plan_tail_settle(struct gs_plan *plan, uint32_t exact,
			 const uint8_t places[GS_ID_MAX_REGION + 1]);
