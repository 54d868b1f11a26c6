// SPDX-License-Identifier: Apache-2.0
#include "fence.h"

#include "place.h"

#include <string.h>

enum { WORDS = GS_FENCES_MAX / 64, REGION_WORDS = sizeof(struct gs_region_set) / 8 };

static void add(struct gs_fence_set *set, uint32_t fence)
{
	set->words[fence / 64] |= 1ULL << fence % 64;
}

static uint32_t fence_count(const struct gs_snapshot *snapshot)
{
	return snapshot->fence_count < GS_FENCES_MAX ? snapshot->fence_count
						     : (uint32_t)GS_FENCES_MAX;
}

struct gs_fence_set gs_fences_of_location(const struct gs_snapshot *snapshot,
					  const struct gs_location *location)
{
	struct gs_fence_set set = {{0}};

	for (uint32_t f = 0; f < fence_count(snapshot); f++) {
		const struct gs_fence *fence = &snapshot->fences[f];
		enum gs_place_answer answer = gs_place_holds(&fence->place, location);

		if (answer == GS_PLACE_YES || (answer == GS_PLACE_UNKNOWN && fence->holds_unknown))
			add(&set, f);
	}
	return set;
}

struct gs_fence_set gs_fences_of_service(const struct gs_snapshot *snapshot, gs_id service)
{
	struct gs_fence_set set = {{0}};

	for (uint32_t f = 0; f < fence_count(snapshot); f++)
		if (snapshot->fences[f].service == 0 || snapshot->fences[f].service == service)
			add(&set, f);
	return set;
}

struct gs_fence_set gs_fences_both(const struct gs_fence_set *a, const struct gs_fence_set *b)
{
	struct gs_fence_set set;

	for (int w = 0; w < WORDS; w++)
		set.words[w] = a->words[w] & b->words[w];
	return set;
}

bool gs_fences_are_none(const struct gs_fence_set *set)
{
	for (int w = 0; w < WORDS; w++)
		if (set->words[w])
			return false;
	return true;
}

static struct gs_region_set regions_of(const struct gs_fence *fence)
{
	struct gs_region_set set = {{0}};

	for (uint32_t r = 0; r < fence->region_count && r < GS_FENCE_REGIONS_MAX; r++)
		if (fence->regions[r] <= GS_ID_MAX_REGION)
			set.words[fence->regions[r] / 64] |= 1ULL << fence->regions[r] % 64;
	return set;
}

struct gs_region_set gs_fences_leave(const struct gs_snapshot *snapshot,
				     const struct gs_fence_set *set)
{
	struct gs_region_set left;

	memset(&left, 0xff, sizeof(left));
	for (uint32_t f = 0; f < fence_count(snapshot); f++) {
		struct gs_region_set named;

		if (!(set->words[f / 64] >> f % 64 & 1))
			continue;
		named = regions_of(&snapshot->fences[f]);
		for (int w = 0; w < REGION_WORDS; w++)
			left.words[w] &= named.words[w];
	}
	return left;
}
