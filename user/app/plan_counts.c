/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_counts.h"

#include "user/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

int gs_plan_count_compare(const struct gs_plan_count *a, const struct gs_plan_count *b)
{
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

/* Rows are shared by services, so each is counted once. */
static void count_row(const struct gs_tables *tables, uint32_t row, uint32_t *ret_counts)
{
	const uint16_t *plans = tables->routes + (size_t)row * tables->location_stride;

	for (uint32_t location = 0; location < tables->location_count; location++) {
		const struct gs_plan *plan =
			plans[location] ? gs_plan_set_get(tables->plans, plans[location]) : NULL;

		if (plan && plan->count > 0)
			ret_counts[gs_plan_largest(plan)]++;
	}
}

struct gs_plan_counts *gs_plan_counts_new(const struct gs_tables *tables)
{
	const struct gs_snapshot *snapshot = tables->snapshot;
	size_t regions = tables->region_stride ? tables->region_stride : 1;
	GS_AUTO_FREE uint32_t *rows = calloc(tables->row_count * regions + 1, sizeof(*rows));
	struct gs_plan_counts *made;

	made = malloc(sizeof(*made) + (size_t)snapshot->service_count * snapshot->region_count *
					      sizeof(made->counts[0]));
	if (!rows || !made) {
		free(made);
		return NULL;
	}
	made->count = 0;
	for (uint32_t row = 0; row < tables->row_count; row++)
		count_row(tables, row, rows + row * regions);
	for (uint32_t s = 0; s < snapshot->service_count; s++) {
		gs_id service = snapshot->services[s].id;
		const uint32_t *counts = rows + tables->service_row[service] * regions;

		for (uint32_t r = 0; r < snapshot->region_count; r++) {
			gs_id region = snapshot->regions[r].id;

			if (region < regions && counts[region] > 0)
				made->counts[made->count++] =
					(struct gs_plan_count){service, region, counts[region]};
		}
	}
	return made;
}
