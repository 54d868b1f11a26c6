/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_tail.h"

#include <string.h>

void gs_plan_tail_places(const struct gs_ranker *ranker, const struct gs_ranked_policy *ranked,
			 uint8_t ret_places[GS_ID_MAX_REGION + 1])
{
	memset(ret_places, GS_ID_MAX_REGION, GS_ID_MAX_REGION + 1);
	for (uint32_t m = 0; m < ranked->member_count; m++)
		ret_places[ranker->regions[ranked->member[m]].id] = (uint8_t)m;
}

/* Those the first draw can give: the last one's share ends with the last slot. */
static uint32_t count_homes(const struct gs_plan *plan)
{
	uint32_t homes = 0;

	while (homes < plan->count && plan->share[homes] < UINT16_MAX)
		homes++;
	return homes + 1;
}

uint8_t gs_plan_tail_begin(const struct gs_plan *plan, uint32_t exact)
{
	uint32_t begin = count_homes(plan) + 1;

	if (begin < exact)
		begin = exact;
	return begin < plan->count ? (uint8_t)begin : plan->count;
}

void gs_plan_tail_settle(struct gs_plan *plan, uint32_t exact,
			 const uint8_t places[GS_ID_MAX_REGION + 1])
{
	uint8_t begin = gs_plan_tail_begin(plan, exact);

	/* Shares need not move: behind those who share the clients all are the same. */
	for (uint8_t i = begin; i < plan->count; i++) {
		gs_id region = plan->region[i];
		uint16_t spare = plan->spare[i];
		uint8_t at = i;

		for (; at > begin && places[plan->region[at - 1]] > places[region]; at--) {
			plan->region[at] = plan->region[at - 1];
			plan->spare[at] = plan->spare[at - 1];
		}
		plan->region[at] = region;
		plan->spare[at] = spare;
	}
}
