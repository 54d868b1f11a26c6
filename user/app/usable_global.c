/* SPDX-License-Identifier: Apache-2.0 */
#include "usable_global.h"

#include "user/core/quorum.h"
#include "user/core/snapshot.h"

static bool is_down(const struct gs_usable_health *health, const struct gs_usable_pool *pool)
{
	return health->global(health->context, pool->service, pool->region) == GS_GLOBAL_DOWN;
}

static bool takes_clients(const struct gs_usable_view *view, const struct gs_usable_pool *pool)
{
	return pool->word.state == GS_USABLE_UP &&
	       view->regions[pool->region].state == GS_USABLE_UP;
}

/* The pools of one service. */
static void limit_service(const struct gs_usable_view *view, struct gs_usable_pool *pools,
			  uint32_t count, const bool is_forced[GS_MAX_REGIONS],
			  const struct gs_usable_health *health)
{
	bool has_other = false;

	for (uint32_t i = 0; i < count && !has_other; i++)
		has_other = takes_clients(view, &pools[i]) && !is_down(health, &pools[i]);
	for (uint32_t i = 0; has_other && i < count; i++)
		if (pools[i].word.state == GS_USABLE_UP && !is_forced[pools[i].region] &&
		    is_down(health, &pools[i]))
			pools[i].word.state = GS_USABLE_DRAIN;
}

/* Regions that are down for the quorum and none of whose pools is left. */
static void limit_regions(struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			  const bool is_forced[GS_MAX_REGIONS],
			  const struct gs_usable_health *health)
{
	bool has_pool[GS_MAX_REGIONS] = {false};

	for (uint32_t i = 0; i < view->pool_count; i++)
		if (view->pools[i].word.state == GS_USABLE_UP)
			has_pool[view->pools[i].region] = true;
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		gs_id id = snapshot->regions[i].id;

		if (view->regions[id].state == GS_USABLE_UP && !is_forced[id] && !has_pool[id] &&
		    health->global(health->context, 0, id) == GS_GLOBAL_DOWN)
			view->regions[id].state = GS_USABLE_DRAIN;
	}
}

void gs_usable_limit_global(struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			    const struct gs_usable_health *health)
{
	bool is_forced[GS_MAX_REGIONS] = {false};
	uint32_t first = 0;

	for (uint32_t i = 0; i < snapshot->region_count; i++)
		is_forced[snapshot->regions[i].id] =
			view->admins.region[snapshot->regions[i].id] == GS_ADMIN_FORCE_UP;
	for (uint32_t i = 0; i < view->admins.pool_count; i++)
		if (view->admins.pools[i].admin == GS_ADMIN_FORCE_UP)
			is_forced[view->admins.pools[i].region] = true;
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (view->admins.backend[snapshot->backends[i].id] == GS_ADMIN_FORCE_UP)
			is_forced[snapshot->backends[i].region] = true;
	for (uint32_t i = 1; i <= view->pool_count; i++) {
		if (i < view->pool_count && view->pools[i].service == view->pools[first].service)
			continue;
		limit_service(view, &view->pools[first], i - first, is_forced, health);
		first = i;
	}
	limit_regions(view, snapshot, is_forced, health);
}
