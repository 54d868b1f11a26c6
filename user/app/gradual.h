/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locations whose clients go over from one plan to another, for published round trips have changed
 * and not all clients go by the new ones yet (core/latency.h). Part of the tables: the same on all
 * edges.
 */
#pragma once

#include "tables.h"

/* The plans by what was published before. Large: some 14 kB. */
struct gs_gradual {
	uint8_t percent; /* of clients go by what is published now; 100: nobody is between two */
	bool is_between; /* some of the location are: it goes by a row that has changed */
	struct gs_ranker ranker;
	struct gs_latency_view view;
};

/* snapshot: kept by the caller. */
void gs_gradual_init(struct gs_gradual *gradual, const struct gs_snapshot *snapshot);
/* now: the view of what is published now, at that location. */
void gs_gradual_move(struct gs_gradual *gradual, const struct gs_latency_view *now, uint16_t id,
		     const struct gs_location *location);
/*
 * *plan: the location's now; becomes the one between (gs_plan_blend), if there is another before.
 * ret_before: that one, or NULL. False: there is none, and neither is changed. The rest as gs_rank
 * has it.
 */
bool gs_gradual_plan(const struct gs_gradual *gradual, const struct gs_ranked_policy *ranked,
		     const struct gs_region_set *allowed, gs_id first, struct gs_plan *plan,
		     struct gs_plan *ret_before);

/* Clients of a service and location between two plans. */
struct gs_tables_move {
	uint8_t percent; /* of its client prefixes have gone over */
	struct gs_plan before, now;
};
/* False: none are. */
bool gs_tables_move(const struct gs_tables *tables, gs_id service, uint16_t location,
		    struct gs_tables_move *ret_move);
