// SPDX-License-Identifier: Apache-2.0
#include "gradual.h"

#include "user/base/cleanup.h"
#include "user/core/plan_blend.h"

#include <stdlib.h>

void gs_gradual_init(struct gs_gradual *gradual, const struct gs_snapshot *snapshot)
{
	uint8_t before = gs_latency_before_percent(snapshot->latencies, snapshot->latency_count);
	struct gs_rank_facts facts = gs_latency_facts(&gradual->view);

	gradual->percent = (uint8_t)(100 - before);
	gradual->is_between = false;
	if (before == 0)
		return;
	gs_latency_view_init_before(&gradual->view, snapshot->latencies, snapshot->latency_count);
	gs_ranker_init(&gradual->ranker, snapshot->regions, snapshot->region_count, &facts);
}

void gs_gradual_move(struct gs_gradual *gradual, const struct gs_latency_view *now, uint16_t id,
		     const struct gs_location *location)
{
	gradual->is_between = gradual->percent < 100 && now->has_changed;
	if (gradual->is_between)
		gs_ranker_move(&gradual->ranker, id, location);
}

static bool is_by_latency(const struct gs_ranked_policy *ranked)
{
	for (uint8_t c = 0; c < ranked->count; c++)
		if (ranked->rank[c] == GS_BY_LATENCY)
			return true;
	return false;
}

bool gs_gradual_plan(const struct gs_gradual *gradual, const struct gs_ranked_policy *ranked,
		     const struct gs_region_set *allowed, gs_id first, struct gs_plan *plan,
		     struct gs_plan *ret_before)
{
	struct gs_plan before, now = *plan;
	struct gs_ranking ranking;

	if (!gradual->is_between || !is_by_latency(ranked))
		return false;
	gs_rank(&gradual->ranker, ranked, allowed, first, &ranking);
	gs_plan_from_ranking(&gradual->ranker, &ranking, &before);
	if (ret_before)
		*ret_before = before;
	return gs_plan_blend(&before, &now, gradual->percent, plan);
}
