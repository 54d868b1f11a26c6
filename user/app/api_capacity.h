/* SPDX-License-Identifier: Apache-2.0 */
/* What capacity has to say of a client's way. */
#pragma once

#include "capacity.h"

#include <jansson.h>

/* A client, as far as capacity goes. */
struct gs_api_filled {
	const struct gs_capacity *capacity; /* NULL: it has no say */
	const struct gs_snapshot *snapshot;
	const struct gs_plan *plan;
	const bool *usable; /* as the plan's regions */
	uint8_t priority;
	uint64_t draw;
	/* out */
	int home; /* index in the plan, by the first draw */
	enum gs_plan_way way;
};

/* As packets do it. Index in the plan, or -1. */
int gs_api_pick_filled(struct gs_api_filled *filled);
/* Why it goes where it goes, if that is for capacity's sake. False: it is not. */
bool gs_api_filled_why(const struct gs_api_filled *filled, char *out, size_t room);
/* "capacity": of its home, if some of its clients leave or are shed: numbers, and in words. */
void gs_api_add_filled(json_t *json, const struct gs_api_filled *filled);
