/* SPDX-License-Identifier: Apache-2.0 */
/* How many locations have a region first, of each service: what a change of plans comes to. */
#pragma once

#include "tables.h"

struct gs_plan_count {
	gs_id service, region;
	uint32_t locations;
};

/* By service and region; none is 0. One block: free() it. */
struct gs_plan_counts {
	uint32_t count;
	struct gs_plan_count counts[];
};

/* NULL: no memory. On the worker: services x locations. */
struct gs_plan_counts *gs_plan_counts_new(const struct gs_tables *tables);
/* < 0, 0, > 0 */
int gs_plan_count_compare(const struct gs_plan_count *a, const struct gs_plan_count *b);
