/* SPDX-License-Identifier: Apache-2.0 */
/* Which fences hold for whom, and what they leave. Pure. */
#pragma once

#include "types.h"

/* Bit f of word f / 64: snapshot.fences[f]. */
struct gs_fence_set {
	uint64_t words[GS_FENCES_MAX / 64];
};

/* Those that hold for the clients of a location, of whatever service. */
struct gs_fence_set gs_fences_of_location(const struct gs_snapshot *snapshot,
					  const struct gs_location *location);
/* Those that hold for a service, for whichever clients. */
struct gs_fence_set gs_fences_of_service(const struct gs_snapshot *snapshot, gs_id service);
/* Both. */
struct gs_fence_set gs_fences_both(const struct gs_fence_set *a, const struct gs_fence_set *b);
bool gs_fences_are_none(const struct gs_fence_set *set);
/* The regions that every fence of the set names. Without a fence: all. */
struct gs_region_set gs_fences_leave(const struct gs_snapshot *snapshot,
				     const struct gs_fence_set *set);
