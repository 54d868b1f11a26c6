/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New flows a second, smoothed, from counters that only grow. Pure; caller's memory.
 *
 * A rate is the exponentially weighted mean of what was counted: of a constant stream the stream's
 * rate, of one that ends 1/e of it after the span. A cell that nothing is counted in is not
 * touched: its rate falls when it is read.
 */
#pragma once

#include "types.h"

#include <stddef.h>

enum gs_demand_span { GS_DEMAND_MINUTE, GS_DEMAND_FIVE_MINUTES, GS_DEMAND__SPANS };

/* Of one (policy, location). Zeroed: nothing was counted. */
struct gs_demand_cell {
	uint64_t flows;			    /* in all */
	float per_second[GS_DEMAND__SPANS]; /* as of `at` */
	uint32_t at;			    /* of the last change, in units of 100 ms */
	uint32_t counter;		    /* as it was last read */
};

/* One look at many cells: what it needs of time, worked out once. */
struct gs_demand_look {
	uint32_t at;				   /* 100 ms */
	double share_per_second[GS_DEMAND__SPANS]; /* of a flow counted, in the mean */
	uint32_t elapsed;			   /* that `decay` is of */
	double decay[GS_DEMAND__SPANS];
};

/* Counters are read now, and were read last since_ms ago (> 0). */
void gs_demand_look_init(struct gs_demand_look *look, uint64_t now_ms, uint64_t since_ms);
/* The cell's counter (modulo 2^32) as it is; how many flows are new. */
uint32_t gs_demand_count(struct gs_demand_look *look, struct gs_demand_cell *cell,
			 uint32_t counter);
/* Flows a second at the look's time. */
double gs_demand_rate(struct gs_demand_look *look, const struct gs_demand_cell *cell,
		      enum gs_demand_span span);

/* ---- other locations -------------------------------------------------------------------------*/

/* Slots of the hash table that gs_demand_match wants, for so many locations. */
size_t gs_demand_match_slots(uint32_t count);
/*
 * Which location of `after` says the same as each of `before`: ret_after[i] is its id, or 0 if
 * there is none (and for location 0). slots: gs_demand_match_slots(after_count) of them.
 */
void gs_demand_match(const struct gs_location *before, uint32_t before_count,
		     const struct gs_location *after, uint32_t after_count, uint16_t *slots,
		     uint16_t *ret_after);

/* ---- the busiest -----------------------------------------------------------------------------*/

/* A line of what is shown. */
struct gs_demand_row {
	gs_id policy;
	gs_id region; /* that its plan has first; 0: none, or several */
	uint32_t key; /* what it is of: location, region, country */
	uint64_t flows;
	double per_second[GS_DEMAND__SPANS];
};

/* The `room` busiest of those offered; zeroed but for rows and room. */
struct gs_demand_top {
	struct gs_demand_row *rows; /* the caller's */
	uint32_t room, count;
	uint32_t offered;
};

void gs_demand_top_offer(struct gs_demand_top *top, const struct gs_demand_row *row);
/* Busiest first: by the last minute's rate, then by flows, policy, key. Nothing can be offered
 * afterwards. */
void gs_demand_top_sort(struct gs_demand_top *top);
