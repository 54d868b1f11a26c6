/* SPDX-License-Identifier: Apache-2.0 */
/* Every automatic change, told: one log line for people, one transition for the store. */
#pragma once

#include "breakers.h"
#include "dampings.h"
#include "plan_counts.h"
#include "usable.h"
#include "user/ports.h"

struct gs_telling {
	const struct gs_store *store;
	const struct gs_snapshot *snapshot;  /* names; of `after` */
	const struct gs_usable_view *before; /* NULL: nothing was known */
	const struct gs_usable_view *after;
	gs_id first; /* a backend whose verdict is its first: it was unknown; 0: none */
	const char *why;
	const struct gs_dampings *dampings; /* NULL: nobody is damped */
	uint64_t now_ms;
};

/* Backends, pools, regions: those whose state differs. */
void gs_tell_changes(const struct gs_telling *telling);

/* A breaker of this edge; what changes nothing but its permit is told in the log alone. */
void gs_tell_breaker(const struct gs_store *store, const char *service, const char *region,
		     const struct gs_breakers_change *change);

/* A new generation, and how many locations have which region first now. */
struct gs_generation_telling {
	const struct gs_store *store;
	const struct gs_snapshot *snapshot;
	uint64_t before, after; /* numbers */
	char why[96];
	const struct gs_plan_counts *counts_before, *counts_after; /* NULL: not known */
};
void gs_tell_generation(const struct gs_generation_telling *telling);
