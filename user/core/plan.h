/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner: (policy, location) -> regions in order, with shares. Pure. A plan does not depend on
 * health: that is what the usable words are for. It depends on the admin state of regions only in
 * that maintenance and force_down regions are left out.
 */
#pragma once

#include "maps/gs_maps.h"
#include "types.h"

#include <stddef.h>

/* Bit r of word r / 64: region id r. */
struct gs_region_set {
	uint64_t words[GS_MAX_REGIONS / 64];
};

struct gs_plan {
	uint8_t count; /* 0: nowhere to go */
	gs_id region[GS_PLAN_REGIONS];
	uint16_t share[GS_PLAN_REGIONS];     /* cumulative, last one 65535 */
	uint16_t spare[GS_PLAN_REGIONS];     /* weights for the second draw */
	double distance_km[GS_PLAN_REGIONS]; /* < 0: unknown location, default order */
};

/* May the region be in a plan at all? (auto, force_up, drain) */
bool gs_plan_region_allowed(const struct gs_region *region);

/*
 * Geo policy and a location with coordinates: regions by distance, ties by id. A location of an
 * override (override_region): that region first (if allowed), then the rest by their distance to
 * it, whatever the policy's kind. No coordinates, or a failover policy: policy->order, then the
 * remaining allowed regions by id. Regions outside `served` (those the services of this route row
 * have backends in; NULL: all) are left out. At most GS_PLAN_REGIONS, the best ones.
 *
 * share: everything to the first. spare: if every region of the plan states a capacity, in
 * proportion to it (the first one's own included, for when it is not the one that is lost);
 * otherwise everything to the second (the first, if it is alone).
 */
void gs_plan_make(const struct gs_policy *policy, const struct gs_location *location,
		  const struct gs_region *regions, uint32_t region_count,
		  const struct gs_region_set *served, struct gs_plan *ret_plan);

/* What the packet path does with a plan (gs_plan_value's comment). usable[i] speaks of region[i].
 * draw: gs_hash_client. Index of the region taken, or -1. */
int gs_plan_pick(const struct gs_plan *plan, const bool *usable, uint64_t draw);

/* Interning: equal plans (count, region, share, spare) get one id. */
struct gs_plan_set; /* opaque; lives in caller's memory */
size_t gs_plan_set_size(uint32_t max_plans);
struct gs_plan_set *gs_plan_set_init(void *memory, uint32_t max_plans);
/* Id >= 1 of the plan, added if new; 0: full, or the plan is empty. */
gs_id gs_plan_set_intern(struct gs_plan_set *set, const struct gs_plan *plan);
uint32_t gs_plan_set_count(const struct gs_plan_set *set); /* ids in use are 1 .. count */
const struct gs_plan *gs_plan_set_get(const struct gs_plan_set *set, gs_id id);
