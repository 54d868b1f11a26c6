/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_ids.h"

#include "user/base/cleanup.h"
#include "user/core/plan_tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int gs_plan_ids_init(struct gs_plan_ids *ids, uint32_t most)
{
	ids->most = most;
	ids->exact = GS_PLAN_REGIONS;
	ids->memory = malloc(gs_plan_set_size(most));
	if (!ids->memory)
		return -ENOMEM;
	ids->set = gs_plan_set_init(ids->memory, most);
	return 0;
}

void gs_plan_ids_done(struct gs_plan_ids *ids)
{
	free(gs_take_ptr(ids->memory));
	ids->set = NULL;
}

static gs_id intern(struct gs_plan_set *set, const struct gs_plan *plan, uint32_t exact,
		    const uint8_t *places)
{
	struct gs_plan settled = *plan;

	gs_plan_tail_settle(&settled, exact, places);
	return gs_plan_set_intern(set, &settled);
}

/* ---- fewer exact choices --------------------------------------------------------------------- */

/* All that has been given so far, again: for one exact choice less, in a set and routes that take
 * the place of those there are if all of them fit. */
struct again {
	struct gs_plan_set *set;
	uint16_t *routes;
	uint16_t *known; /* [id so far] -> id of this row; 0: not met yet */
};

/* A plan that two rows share may end in two ways: their policies have their own orders. */
static bool route_row(const struct gs_plan_ids *ids, uint32_t exact, uint32_t row,
		      struct again *again)
{
	size_t first = (size_t)row * ids->stride;

	memset(again->known, 0, GS_MAX_PLANS * sizeof(*again->known));
	for (uint32_t i = 0; i < ids->stride; i++) {
		uint16_t was = ids->routes[first + i];

		if (was && !again->known[was])
			again->known[was] = intern(again->set, gs_plan_set_get(ids->set, was),
						   exact, ids->places[row]);
		again->routes[first + i] = again->known[was];
		if (was && !again->known[was])
			return false;
	}
	return true;
}

static bool route_all(const struct gs_plan_ids *ids, uint32_t exact, struct again *again)
{
	for (uint32_t row = 0; row < ids->row_count; row++)
		if (!route_row(ids, exact, row, again))
			return false;
	return true;
}

/* What did not fit for so many exact choices of some does not for all: the next lower number at
 * which what there is by now fits. */
static int settle_for_less(struct gs_plan_ids *ids)
{
	size_t entries = (size_t)ids->row_count * ids->stride;
	GS_AUTO_FREE uint16_t *routes = calloc(entries + 1, sizeof(*routes));
	GS_AUTO_FREE uint16_t *known = malloc(GS_MAX_PLANS * sizeof(*known));
	GS_AUTO_FREE void *memory = malloc(gs_plan_set_size(ids->most));
	struct again again = {.routes = routes, .known = known};

	if (!routes || !known || !memory)
		return -ENOMEM;
	while (ids->exact > GS_PLAN_EXACT_LEAST) {
		again.set = gs_plan_set_init(memory, ids->most);
		if (!route_all(ids, --ids->exact, &again))
			continue;
		memcpy(ids->routes, routes, entries * sizeof(*routes));
		free(ids->memory);
		ids->memory = gs_take_ptr(memory);
		ids->set = again.set;
		return 0;
	}
	return -EFBIG;
}

int gs_plan_ids_route(struct gs_plan_ids *ids, uint32_t row, uint32_t location,
		      const struct gs_plan *plan)
{
	uint16_t *route = &ids->routes[(size_t)row * ids->stride + location];
	int err = 0;

	while (!err) {
		*route = intern(ids->set, plan, ids->exact, ids->places[row]);
		if (*route)
			return 0;
		err = settle_for_less(ids);
	}
	return err;
}
