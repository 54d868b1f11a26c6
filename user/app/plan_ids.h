/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids for the plans of a generation in the making. There are 65,535 of them; where that is too few,
 * the ends of all plans are put in the policy's order (core/plan_tail.h), from as far behind as
 * will do: the same on every edge, since it is a question of what all plans are, not of who comes
 * first.
 */
#pragma once

#include "user/core/plan.h"
#include "user/core/types.h"

struct gs_plan_ids {
	void *memory; /* of `set` */
	struct gs_plan_set *set;
	uint32_t most;	/* ids there may be */
	uint32_t exact; /* first choices of each plan that stay as they are ranked */
	/* What has been given: [row * stride + location] -> id; 0: none (yet). */
	uint16_t *routes;
	uint32_t row_count;
	uint32_t stride;
	/* Of each row. */
	uint8_t (*places)[GS_ID_MAX_REGION + 1];
};

/* most: GS_MAX_PLANS - 1 at most. 0 or -ENOMEM. The routes are all 0, places all filled in. Before
 * it is called the caller sets routes, row_count, stride and places, which stay its own. */
int gs_plan_ids_init(struct gs_plan_ids *ids, uint32_t most);
/* NULL in `memory`: somebody has taken it. */
void gs_plan_ids_done(struct gs_plan_ids *ids);

/*
 * Puts the id of the plan, which is not empty, into the routes, and puts the plan's end in order if
 * ids have run short. 0; -ENOMEM; -EFBIG: they do not suffice for GS_PLAN_EXACT_LEAST exact
 * choices.
 */
int gs_plan_ids_route(struct gs_plan_ids *ids, uint32_t row, uint32_t location,
		      const struct gs_plan *plan);
