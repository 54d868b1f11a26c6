/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy is made of: criteria, the kinds that are names of common ranks, defaults. Pure. */
#pragma once

#include "types.h"

enum {
	GS_BAND_MS_MAX = 10000,
	GS_BAND_MS_DEFAULT = 5,
	GS_BAND_PERCENT_MAX = 100,
	GS_BAND_PERCENT_DEFAULT = 10,
	GS_BIAS_MAX = 99,	     /* -99 .. 99 */
	GS_POLICY_WEIGHT_MAX = 1000, /* 0 .. 1000 */
	GS_POLICY_WEIGHT_DEFAULT = 100,
};

/* order geo latency cost availability weight */
const char *gs_criterion_name(enum gs_criterion criterion);
int gs_criterion_parse(const char *text, enum gs_criterion *ret_criterion); /* -EINVAL */

/* What the policy ranks by: its own rank, or that of its kind. Returns how many, >= 1. */
uint8_t gs_policy_rank(const struct gs_policy *policy, uint8_t ret_rank[GS_RANK_MAX]);
/* NULL: a rank may be so. Otherwise what is wrong with it, as "names geo twice". */
const char *gs_rank_error(const uint8_t *rank, uint32_t count);

/* Bands as they are where nobody says; kind, order, bias and weights are left alone. */
void gs_policy_default(struct gs_policy *policy);
/* Adds a region to the order with the weight and bias it has where nobody says. The order has room.
 */
void gs_policy_add(struct gs_policy *policy, gs_id region);
/* Place in the order, or -1. */
int gs_policy_place(const struct gs_policy *policy, gs_id region);
