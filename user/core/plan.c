/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "geo.h"
#include "maps/gs_hash.h"

#include <math.h>
#include <string.h>

#define FULL_SHARE UINT16_MAX

bool gs_plan_region_allowed(const struct gs_region *region)
{
	return region->admin == GS_ADMIN_AUTO || region->admin == GS_ADMIN_FORCE_UP ||
	       region->admin == GS_ADMIN_DRAIN;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool is_candidate(const struct gs_region *region, const struct gs_region_set *served)
{
	if (region->id == 0 || region->id >= GS_MAX_REGIONS || !gs_plan_region_allowed(region))
		return false;
	return !served || (served->words[region->id / 64] >> (region->id % 64) & 1);
}

static const struct gs_region *find_region(const struct gs_region *regions, uint32_t count,
					   gs_id id)
{
	for (uint32_t i = 0; i < count; i++)
		if (regions[i].id == id)
			return &regions[i];
	return NULL;
}

static bool holds(const struct gs_plan *plan, gs_id region)
{
	for (uint8_t i = 0; i < plan->count; i++)
		if (plan->region[i] == region)
			return true;
	return false;
}

static void append(struct gs_plan *plan, gs_id region, double distance_km)
{
	if (plan->count == GS_PLAN_REGIONS || holds(plan, region))
		return;
	plan->region[plan->count] = region;
	plan->distance_km[plan->count] = distance_km;
	plan->count++;
}

static double distance_from(const struct gs_coord *from, const struct gs_region *region)
{
	return from ? gs_geo_distance_km(from, &region->coord) : -1.0;
}

/* Candidates behind the first `fixed` entries, nearest first, ties by id; the farthest fall out. */
static void add_nearest(struct gs_plan *plan, const struct gs_region *regions, uint32_t count,
			const struct gs_region_set *served, const struct gs_coord *from)
{
	uint8_t fixed = plan->count;

	for (uint32_t i = 0; i < count; i++) {
		double km;
		uint8_t at;

		if (!is_candidate(&regions[i], served) || holds(plan, regions[i].id))
			continue;
		km = gs_geo_distance_km(from, &regions[i].coord);
		at = plan->count;
		while (at > fixed &&
		       (plan->distance_km[at - 1] > km ||
			(plan->distance_km[at - 1] == km && plan->region[at - 1] > regions[i].id)))
			at--;
		if (at == GS_PLAN_REGIONS)
			continue;
		if (plan->count < GS_PLAN_REGIONS)
			plan->count++;
		for (uint8_t j = (uint8_t)(plan->count - 1); j > at; j--) {
			plan->region[j] = plan->region[j - 1];
			plan->distance_km[j] = plan->distance_km[j - 1];
		}
		plan->region[at] = regions[i].id;
		plan->distance_km[at] = km;
	}
}

static void add_default_order(struct gs_plan *plan, const struct gs_policy *policy,
			      const struct gs_region *regions, uint32_t count,
			      const struct gs_region_set *served, const struct gs_coord *from)
{
	for (uint8_t i = 0; i < policy->order_count && i < GS_POLICY_ORDER_MAX; i++) {
		const struct gs_region *region = find_region(regions, count, policy->order[i]);

		if (region && is_candidate(region, served))
			append(plan, region->id, distance_from(from, region));
	}
	/* Regions are sorted by id. */
	for (uint32_t i = 0; i < count; i++)
		if (is_candidate(&regions[i], served))
			append(plan, regions[i].id, distance_from(from, &regions[i]));
}

static void set_shares(struct gs_plan *plan, const struct gs_region *regions, uint32_t count)
{
	uint64_t capacity[GS_PLAN_REGIONS], top = 0;
	bool all_stated = true;

	for (uint8_t i = 0; i < plan->count; i++) {
		plan->share[i] = FULL_SHARE;
		capacity[i] = find_region(regions, count, plan->region[i])->capacity;
		all_stated = all_stated && capacity[i] > 0;
		if (capacity[i] > top)
			top = capacity[i];
	}
	if (plan->count == 0)
		return;
	if (!all_stated) {
		plan->spare[plan->count > 1 ? 1 : 0] = FULL_SHARE;
		return;
	}
	for (uint8_t i = 0; i < plan->count; i++) {
		double weight = (double)capacity[i] / (double)top * FULL_SHARE;

		/* Whoever states a capacity, however small, is drawn now and then. */
		plan->spare[i] = weight < 1.0 ? 1 : (uint16_t)lround(weight);
	}
}

void gs_plan_make(const struct gs_policy *policy, const struct gs_location *location,
		  const struct gs_region *regions, uint32_t region_count,
		  const struct gs_region_set *served, struct gs_plan *ret_plan)
{
	const struct gs_region *target = NULL;
	const struct gs_coord *from = location->has_coord ? &location->coord : NULL;

	memset(ret_plan, 0, sizeof(*ret_plan));
	if (location->override_region)
		target = find_region(regions, region_count, location->override_region);
	if (target) {
		if (is_candidate(target, served))
			append(ret_plan, target->id, 0.0);
		add_nearest(ret_plan, regions, region_count, served, &target->coord);
	} else if (policy->kind == GS_POLICY_GEO && from) {
		add_nearest(ret_plan, regions, region_count, served, from);
	} else {
		add_default_order(ret_plan, policy, regions, region_count, served, from);
	}
	set_shares(ret_plan, regions, region_count);
}

/* ---- picking --------------------------------------------------------------------------------- */

int gs_plan_pick(const struct gs_plan *plan, const bool *usable, uint64_t draw)
{
	uint16_t slot = draw & 0xffff;
	uint64_t total = 0, point;
	int first_usable = -1;

	for (int i = 0; i < plan->count; i++) {
		if (slot > plan->share[i])
			continue;
		if (usable[i])
			return i;
		break;
	}
	for (int i = 0; i < plan->count; i++) {
		if (!usable[i])
			continue;
		total += plan->spare[i];
		if (first_usable < 0)
			first_usable = i;
	}
	if (total == 0)
		return first_usable;
	point = (((draw >> 16) & 0xffffffff) * total) >> 32;
	for (int i = 0; i < plan->count; i++) {
		if (!usable[i])
			continue;
		if (point < plan->spare[i])
			return i;
		point -= plan->spare[i];
	}
	return first_usable; /* not reached: point < total */
}

/* ---- interning ------------------------------------------------------------------------------- */

/* In one piece of memory: this, the plans, then `buckets`: open addressing, ids, 0 is empty. */
struct gs_plan_set {
	uint32_t max_plans;
	uint32_t count;
	uint32_t bucket_mask;
	uint32_t _pad;
	struct gs_plan plans[];
};

static uint32_t id_limit(uint32_t max_plans)
{
	return max_plans < GS_MAX_PLANS - 1 ? max_plans : GS_MAX_PLANS - 1;
}

/* A power of two, at most half full. */
static uint32_t bucket_count(uint32_t max_plans)
{
	uint32_t buckets = 2;

	while (buckets < 2 * id_limit(max_plans))
		buckets *= 2;
	return buckets;
}

static gs_id *buckets_of(struct gs_plan_set *set)
{
	return (gs_id *)(set->plans + set->max_plans);
}

size_t gs_plan_set_size(uint32_t max_plans)
{
	return sizeof(struct gs_plan_set) + id_limit(max_plans) * sizeof(struct gs_plan) +
	       bucket_count(max_plans) * sizeof(gs_id);
}

struct gs_plan_set *gs_plan_set_init(void *memory, uint32_t max_plans)
{
	struct gs_plan_set *set = memory;

	set->max_plans = id_limit(max_plans);
	set->count = 0;
	set->bucket_mask = bucket_count(max_plans) - 1;
	set->_pad = 0;
	memset(buckets_of(set), 0, (set->bucket_mask + 1) * sizeof(gs_id));
	return set;
}

static uint64_t hash_plan(const struct gs_plan *plan)
{
	uint64_t h = plan->count;

	for (uint8_t i = 0; i < plan->count; i++)
		h = gs_hash_step(h, (uint64_t)plan->region[i] << 32 |
					    (uint64_t)plan->share[i] << 16 | plan->spare[i]);
	return gs_hash_mix(h);
}

static bool plans_equal(const struct gs_plan *a, const struct gs_plan *b)
{
	size_t n = a->count;

	return a->count == b->count &&
	       memcmp(a->region, b->region, n * sizeof(a->region[0])) == 0 &&
	       memcmp(a->share, b->share, n * sizeof(a->share[0])) == 0 &&
	       memcmp(a->spare, b->spare, n * sizeof(a->spare[0])) == 0;
}

gs_id gs_plan_set_intern(struct gs_plan_set *set, const struct gs_plan *plan)
{
	gs_id *buckets = buckets_of(set);
	uint32_t bucket;

	if (plan->count == 0 || plan->count > GS_PLAN_REGIONS)
		return 0;
	bucket = (uint32_t)hash_plan(plan) & set->bucket_mask;
	for (; buckets[bucket] != 0; bucket = (bucket + 1) & set->bucket_mask)
		if (plans_equal(&set->plans[buckets[bucket] - 1], plan))
			return buckets[bucket];
	if (set->count == set->max_plans)
		return 0;
	set->plans[set->count++] = *plan;
	buckets[bucket] = (gs_id)set->count;
	return buckets[bucket];
}

uint32_t gs_plan_set_count(const struct gs_plan_set *set)
{
	return set->count;
}

const struct gs_plan *gs_plan_set_get(const struct gs_plan_set *set, gs_id id)
{
	return id >= 1 && id <= set->count ? &set->plans[id - 1] : NULL;
}
