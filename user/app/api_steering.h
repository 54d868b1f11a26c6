/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of what route get answers: policy, override, fences, and why regions rank as they do. */
#pragma once

#include "tables.h"

#include <jansson.h>

enum { GS_API_RANK_TEXT_MAX = 80 };

/* "latency, cost": what the policy ranks by. Writes to out and returns it. */
const char *gs_api_rank_text(const struct gs_policy *policy, char out[GS_API_RANK_TEXT_MAX]);
/* policy, policy_kind, policy_rank; with latency among it band_ms and band_percent. */
void gs_api_add_policy(json_t *json, const struct gs_policy *policy);
/* "override": the one that wins. plan: of the client, or NULL; is the override's region first? */
void gs_api_add_override(json_t *json, const struct gs_snapshot *snapshot,
			 const struct gs_override *override, const struct gs_plan *plan);
/* "fences": those that hold for the client. */
void gs_api_add_fences(json_t *json, const struct gs_snapshot *snapshot,
		       const struct gs_fence_set *fences);
/* rank: why the plan's i-th region stands there. is_override: the first is an override's. */
void gs_api_add_standing(json_t *candidate, const struct gs_tables_reasons *reasons,
			 const struct gs_policy *policy, int i, bool is_override);
