/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions and what they can take: demand of this edge and of the others -> words of capacity
 * (core/capacity.h), once a second.
 *
 * Every edge makes its own words, from the same rows of the store and by the same function, so that
 * they agree without one that decides. A region that only this edge cannot reach is out for its own
 * clients alone. Without the store the others' rows stay what they were last, and this edge's own
 * demand goes on being counted.
 */
#pragma once

#include "reconcile.h"
#include "user/core/capacity.h"

struct gs_capacity;

/* All borrowed; they outlive it. */
struct gs_capacity_ports {
	struct gs_loop *loop;
	const struct gs_dataplane *dataplane; /* its set_fill may be NULL: there are no words */
	const struct gs_store *store;	      /* its report_demand may be NULL */
	/* What is in force now; snapshot, tables and view may be NULL. */
	const struct gs_reconcile_state *(*look)(void *context);
	void *look_context;
};

/* 0 or -errno. */
int gs_capacity_new(const struct gs_capacity_ports *ports, struct gs_capacity **ret_capacity);
/* Before the data plane is closed, and before the loop is. NULL is fine. */
void gs_capacity_free(struct gs_capacity *capacity);
/* The port's maps are others: their words are taken up. */
void gs_capacity_reopen(struct gs_capacity *capacity);

/* Of the entry of these tables (row * location_stride + location) so many flows are new. */
void gs_capacity_count(struct gs_capacity *capacity, const struct gs_tables *tables, uint32_t entry,
		       uint32_t flows);
/* All entries have been told, elapsed_ms after the last time. */
void gs_capacity_counted(struct gs_capacity *capacity, uint64_t elapsed_ms);
/* What the other edges have told the store, in sum. */
void gs_capacity_hear(struct gs_capacity *capacity, const struct gs_demand_told *rows,
		      uint32_t count, uint32_t edges);

/* ---- for people ------------------------------------------------------------------------------ */

/* Of one region; new flows a second. */
struct gs_capacity_status {
	uint64_t capacity;  /* 0: not stated */
	uint8_t target;	    /* percent */
	double demand;	    /* of all edges: clients whose region it is */
	double here;	    /* of those, on this edge */
	double kept, taken; /* what words in force come to */
	double shed;
	double away_percent; /* of its clients, in force; and where it goes */
	double away_goal_percent;
	double room_percent;
	double spare_percent;
	double shed_priority; /* 2.5: priorities 0 and 1, and half of 2 */
	bool is_up;	      /* on this edge */
};
/* False: nothing is filled: no region states a capacity, or nothing is in force yet. */
bool gs_capacity_get(const struct gs_capacity *capacity, gs_id region,
		     struct gs_capacity_status *ret_status);
/* The words in force, by region. NULL: there are none. */
const struct gs_fill *gs_capacity_fill(const struct gs_capacity *capacity);
/* How many other edges are in the sums, and how old they are; -1: nothing was heard yet. */
uint32_t gs_capacity_edges(const struct gs_capacity *capacity);
int64_t gs_capacity_heard_ms_ago(const struct gs_capacity *capacity);
