/* SPDX-License-Identifier: Apache-2.0 */
/* What route get tells of policies, overrides and fences: the rules, and what they come to here. */
#include "api_steering.h"

#include "user/base/cleanup.h"
#include "user/core/override.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

/* ---- the policy ------------------------------------------------------------------------------ */

const char *gs_api_rank_text(const struct gs_policy *policy, char out[GS_API_RANK_TEXT_MAX])
{
	uint8_t rank[GS_RANK_MAX];
	uint8_t count = gs_policy_rank(policy, rank);
	size_t length = 0;

	out[0] = '\0';
	for (uint8_t c = 0; c < count && length < GS_API_RANK_TEXT_MAX; c++)
		length += (size_t)snprintf(out + length, GS_API_RANK_TEXT_MAX - length, "%s%s",
					   c ? ", " : "",
					   gs_criterion_name((enum gs_criterion)rank[c]));
	return out;
}

void gs_api_add_policy(json_t *json, const struct gs_policy *policy)
{
	uint8_t rank[GS_RANK_MAX];
	uint8_t count = gs_policy_rank(policy, rank);
	json_t *list = json_array();

	json_object_set_new(json, "policy", json_string(policy->name));
	json_object_set_new(json, "policy_kind", json_string(gs_policy_kind_name(policy->kind)));
	json_object_set_new(json, "policy_rank", list);
	for (uint8_t c = 0; c < count; c++) {
		json_array_append_new(list,
				      json_string(gs_criterion_name((enum gs_criterion)rank[c])));
		if (rank[c] != GS_BY_LATENCY)
			continue;
		json_object_set_new(json, "band_ms", json_integer(policy->band_ms));
		json_object_set_new(json, "band_percent", json_integer(policy->band_percent));
	}
}

/* ---- overrides and fences -------------------------------------------------------------------- */

void gs_api_add_override(json_t *json, const struct gs_snapshot *snapshot,
			 const struct gs_override *override, const struct gs_plan *plan)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, override->region);
	char clients[GS_OVERRIDE_TEXT_MAX];
	bool is_followed = plan && plan->count > 0 && plan->region[0] == override->region;
	json_t *told = json_pack(
		"{s:s, s:s, s:s, s:b}", "clients", gs_override_format(override, clients), "region",
		region ? region->name : "?", "reason", override->reason, "followed", is_followed);

	json_object_set_new(json, "override", told);
}

static json_t *fence_json(const struct gs_snapshot *snapshot, const struct gs_fence *fence)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, fence->service);
	char place[GS_PLACE_TEXT_MAX];
	json_t *regions = json_array();

	for (uint32_t r = 0; r < fence->region_count; r++) {
		const struct gs_region *region = gs_snapshot_region(snapshot, fence->regions[r]);

		json_array_append_new(regions, json_string(region ? region->name : "?"));
	}
	return json_pack("{s:s, s:s, s:o, s:s}", "place", gs_place_format(&fence->place, place),
			 "service", service ? service->name : "", "regions", regions, "reason",
			 fence->reason);
}

void gs_api_add_fences(json_t *json, const struct gs_snapshot *snapshot,
		       const struct gs_fence_set *fences)
{
	json_t *list = json_array();

	for (uint32_t f = 0; f < snapshot->fence_count; f++)
		if (fences->words[f / 64] >> f % 64 & 1)
			json_array_append_new(list, fence_json(snapshot, &snapshot->fences[f]));
	json_object_set_new(json, "fences", list);
}

/* ---- why a region stands where it does ------------------------------------------------------- */

static double km_of(const struct gs_tables_reasons *reasons, int i)
{
	return reasons->ranker.metres[reasons->ranking.index[i]] / 1000.0;
}

static double ms_of(const struct gs_tables_reasons *reasons, int i)
{
	return reasons->ranker.round_trip_us[reasons->ranking.index[i]] / 1000.0;
}

static const struct gs_region *region_of(const struct gs_tables_reasons *reasons, int i)
{
	return &reasons->ranker.regions[reasons->ranking.index[i]];
}

static int bias_of(const struct gs_tables_reasons *reasons, const struct gs_policy *policy, int i)
{
	int place = gs_policy_place(policy, region_of(reasons, i)->id);

	return place < 0 ? 0 : policy->bias[place];
}

static void explain_distance(const struct gs_tables_reasons *reasons,
			     const struct gs_policy *policy, int i, char *out, size_t room)
{
	int bias = bias_of(reasons, policy, i), before = bias_of(reasons, policy, i - 1);

	if (bias || before)
		snprintf(out, room,
			 "farther: %.0f km with a bias of %d %%, %.0f km with %d %% before it",
			 km_of(reasons, i), bias, km_of(reasons, i - 1), before);
	else
		snprintf(out, room, "farther: %.0f km, %.0f km before it", km_of(reasons, i),
			 km_of(reasons, i - 1));
}

static void explain_first(const struct gs_policy *policy, bool is_override, char *out, size_t room)
{
	char rank[GS_API_RANK_TEXT_MAX];

	if (is_override)
		snprintf(out, room, "an override names it");
	else
		snprintf(out, room, "first by %s", gs_api_rank_text(policy, rank));
}

void gs_api_add_standing(json_t *candidate, const struct gs_tables_reasons *reasons,
			 const struct gs_policy *policy, int i, bool is_override)
{
	const struct gs_region *region = region_of(reasons, i);
	const struct gs_region *before = i ? region_of(reasons, i - 1) : NULL;
	char why[160] = "";

	if (i == 0) {
		explain_first(policy, is_override, why, sizeof(why));
	} else {
		switch (reasons->ranking.behind[i]) {
		case GS_BEHIND_ORDER:
			snprintf(why, sizeof(why), "later in the policy's order");
			break;
		case GS_BEHIND_GEO:
			explain_distance(reasons, policy, i, why, sizeof(why));
			break;
		case GS_BEHIND_LATENCY:
			snprintf(why, sizeof(why),
				 "slower: %.1f ms, beyond the band of those before it",
				 ms_of(reasons, i));
			break;
		case GS_BEHIND_COST:
			snprintf(why, sizeof(why), "dearer: %g, %g before it", region->cost,
				 before->cost);
			break;
		case GS_BEHIND_AVAILABILITY:
			snprintf(why, sizeof(why), "fewer nines: %d, %d before it",
				 gs_nines(region->availability), gs_nines(before->availability));
			break;
		case GS_BEHIND_WEIGHT:
			snprintf(why, sizeof(why), "a last resort: its weight is 0");
			break;
		case GS_BEHIND_OVERRIDE:
			snprintf(why, sizeof(why), "behind the override's, the best by the policy");
			break;
		case GS_BEHIND_SETTLED:
			snprintf(why, sizeof(why),
				 "in the policy's order: plans are too many for more than %u exact "
				 "choices",
				 reasons->exact_choices);
			break;
		default:
			snprintf(why, sizeof(why),
				 i < reasons->ranking.tied ? "tied: its weight is %u"
							   : "tied: in the policy's order",
				 reasons->ranking.weight[i]);
			break;
		}
	}
	json_object_set_new(candidate, "rank", json_string(why));
}
