// SPDX-License-Identifier: Apache-2.0
#include "policy.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {
	[GS_BY_ORDER] = "order",
	[GS_BY_GEO] = "geo",
	[GS_BY_LATENCY] = "latency",
	[GS_BY_COST] = "cost",
	[GS_BY_AVAILABILITY] = "availability",
	[GS_BY_WEIGHT] = "weight",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == GS_BY__COUNT, "names");

static const struct {
	uint8_t count;
	uint8_t rank[GS_RANK_MAX];
} ranks[] = {
	[GS_POLICY_GEO] = {1, {GS_BY_GEO}},
	[GS_POLICY_FAILOVER] = {1, {GS_BY_ORDER}},
	[GS_POLICY_LATENCY] = {2, {GS_BY_LATENCY, GS_BY_GEO}},
	[GS_POLICY_COST] = {3, {GS_BY_LATENCY, GS_BY_COST, GS_BY_GEO}},
	[GS_POLICY_AVAILABILITY] = {2, {GS_BY_AVAILABILITY, GS_BY_GEO}},
	[GS_POLICY_WEIGHTED] = {1, {GS_BY_WEIGHT}},
};
_Static_assert(sizeof(ranks) / sizeof(ranks[0]) == GS_POLICY_RANKED, "each kind has a rank");

const char *gs_criterion_name(enum gs_criterion criterion)
{
	return criterion < GS_BY__COUNT ? names[criterion] : "?";
}

int gs_criterion_parse(const char *text, enum gs_criterion *ret_criterion)
{
	for (int i = 0; i < GS_BY__COUNT; i++)
		if (strcmp(names[i], text) == 0) {
			*ret_criterion = (enum gs_criterion)i;
			return 0;
		}
	return -EINVAL;
}

uint8_t gs_policy_rank(const struct gs_policy *policy, uint8_t ret_rank[GS_RANK_MAX])
{
	if (policy->kind < GS_POLICY_RANKED) {
		memcpy(ret_rank, ranks[policy->kind].rank, GS_RANK_MAX);
		return ranks[policy->kind].count;
	}
	memcpy(ret_rank, policy->rank, GS_RANK_MAX);
	if (policy->rank_count > GS_RANK_MAX)
		return GS_RANK_MAX;
	return policy->rank_count;
}

const char *gs_rank_error(const uint8_t *rank, uint32_t count)
{
	if (count < 1 || count > GS_RANK_MAX)
		return "has not 1 to 4 criteria";
	for (uint32_t i = 0; i < count; i++) {
		if (rank[i] >= GS_BY__COUNT)
			return "has a criterion nobody knows";
		if (rank[i] == GS_BY_WEIGHT && i + 1 < count)
			return "has criteria behind weight, which leaves nothing to rank";
		for (uint32_t before = 0; before < i; before++)
			if (rank[before] == rank[i])
				return "names a criterion twice";
	}
	return NULL;
}

void gs_policy_default(struct gs_policy *policy)
{
	policy->band_ms = GS_BAND_MS_DEFAULT;
	policy->band_percent = GS_BAND_PERCENT_DEFAULT;
}

void gs_policy_add(struct gs_policy *policy, gs_id region)
{
	policy->order[policy->order_count] = region;
	policy->bias[policy->order_count] = 0;
	policy->weight[policy->order_count] = GS_POLICY_WEIGHT_DEFAULT;
	policy->order_count++;
}

int gs_policy_place(const struct gs_policy *policy, gs_id region)
{
	for (int i = 0; i < policy->order_count && i < GS_POLICY_ORDER_MAX; i++)
		if (policy->order[i] == region)
			return i;
	return -1;
}
