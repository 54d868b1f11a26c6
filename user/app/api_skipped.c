/* SPDX-License-Identifier: Apache-2.0 */
/* Regions that are in no plan of a service: no usable word passes them over, they never come up. */
#include "api.h"

#include "user/core/geo.h"
#include "user/core/plan.h"
#include "user/core/snapshot.h"

static bool is_planned(const struct gs_plan *plan, gs_id region)
{
	for (int i = 0; plan && i < plan->count; i++)
		if (plan->region[i] == region)
			return true;
	return false;
}

static bool has_backend(const struct gs_snapshot *snapshot, gs_id service, gs_id region)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].service == service &&
		    snapshot->backends[i].region == region)
			return true;
	return false;
}

static bool is_down(enum gs_admin admin)
{
	return admin == GS_ADMIN_MAINTENANCE || admin == GS_ADMIN_FORCE_DOWN;
}

static const char *why_skipped(const struct gs_snapshot *snapshot, const struct gs_service *service,
			       const struct gs_plan *plan, const struct gs_region_set *allowed,
			       const struct gs_region *region)
{
	if (allowed && !gs_region_set_has(allowed, region->id))
		return "a fence keeps these clients out of it";
	if (is_down(region->admin))
		return "down by an operator";
	if (!has_backend(snapshot, service->id, region->id))
		return "the service has no backend there";
	return plan && plan->count == GS_PLAN_REGIONS
		       ? "a plan has no room for more regions"
		       : "all of the service's backends there are down by an operator";
}

void gs_api_add_skipped(json_t *json, const struct gs_snapshot *snapshot,
			const struct gs_service *service, const struct gs_plan *plan,
			const struct gs_region_set *allowed, const struct gs_coord *from)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];
		json_t *skipped;

		if (is_planned(plan, region->id))
			continue;
		skipped = json_pack("{s:s, s:s, s:s}", "region", region->name, "admin",
				    gs_admin_name(region->admin), "why",
				    why_skipped(snapshot, service, plan, allowed, region));
		if (from)
			json_object_set_new(skipped, "distance_km",
					    json_real(gs_geo_distance_km(from, &region->coord)));
		json_array_append_new(list, skipped);
	}
	json_object_set_new(json, "skipped", list);
}
