/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner: (policy, location) -> regions in order, with shares. Pure. A plan does not depend on
 * health: that is what the usable words are for. It depends on the admin state of regions only in
 * that maintenance and force_down regions are left out.
 */
#pragma once

#include "maps/gs_maps.h"
#include "rank.h"
#include "types.h"

#include <stddef.h>

struct gs_plan {
	uint8_t count; /* 0: nowhere to go */
	gs_id region[GS_PLAN_REGIONS];
	uint16_t share[GS_PLAN_REGIONS]; /* cumulative, last one 65535 */
	uint16_t spare[GS_PLAN_REGIONS]; /* weights for the second draw */
};

/* May the region be in a plan at all? (auto, force_up, drain) */
bool gs_plan_region_allowed(const struct gs_region *region);

/*
 * The plan of a ranking. share: to the first, or, by weight, to those tied with it; weights that
 * are all 0 count alike. The tied ones stand in the policy's order whatever they weigh, so that a
 * weight that changes moves the borders between neighbours and nothing else. spare: if every region
 * of the plan states a capacity, in proportion to it (the first one's own included, for when it is
 * not the one that is lost); otherwise as the weights, and of a single first one everything to the
 * second (the first, if it is alone).
 */
void gs_plan_from_ranking(const struct gs_ranker *ranker, const struct gs_ranking *ranking,
			  struct gs_plan *ret_plan);

/*
 * All of it for one location: the model's round trips, regions of `served` (NULL: all) only, the
 * override's region of the location first. regions: sorted by id.
 */
void gs_plan_make(const struct gs_policy *policy, const struct gs_location *location,
		  const struct gs_region *regions, uint32_t region_count,
		  const struct gs_region_set *served, struct gs_plan *ret_plan);

/* What the packet path does with a plan (gs_plan_value's comment). usable[i] speaks of region[i].
 * draw: gs_hash_client. Index of the region taken, or -1. */
int gs_plan_pick(const struct gs_plan *plan, const bool *usable, uint64_t draw);

/* Index of the region that the first draw gives, usable or not; -1: an empty plan. */
int gs_plan_home(const struct gs_plan *plan, uint64_t draw);

/* The region that most draws have at home; of equal ones the first. 0: an empty plan. */
gs_id gs_plan_largest(const struct gs_plan *plan);

/* A region's word in `fill` (gs_fill_word's comment). All zero: it has no say. */
struct gs_fill {
	uint16_t away, room, spare, shed;
};

/* How a client comes to a region. */
enum gs_plan_way {
	GS_WAY_NONE,  /* no region of the plan is usable */
	GS_WAY_HOME,  /* its own by the first draw */
	GS_WAY_SPARE, /* its own is not usable: by what the others have to spare */
	GS_WAY_ROOM,  /* its own is full: by what room the others have */
	GS_WAY_SHED,  /* all are: it is dropped */
};

/* The same, with what capacity has to say. fill[i] speaks of region[i]; NULL: nothing. priority:
 * the service's. -1 also for GS_WAY_SHED. */
int gs_plan_pick_filled(const struct gs_plan *plan, const bool *usable, const struct gs_fill *fill,
			uint8_t priority, uint64_t draw, enum gs_plan_way *ret_way);

/* Interning: equal plans (count, region, share, spare) get one id. */
struct gs_plan_set; /* opaque; lives in caller's memory */
size_t gs_plan_set_size(uint32_t max_plans);
struct gs_plan_set *gs_plan_set_init(void *memory, uint32_t max_plans);
/* Id >= 1 of the plan, added if new; 0: full, or the plan is empty. */
gs_id gs_plan_set_intern(struct gs_plan_set *set, const struct gs_plan *plan);
uint32_t gs_plan_set_count(const struct gs_plan_set *set); /* ids in use are 1 .. count */
const struct gs_plan *gs_plan_set_get(const struct gs_plan_set *set, gs_id id);
