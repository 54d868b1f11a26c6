/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New flows by policy and location: from the data plane's counters to rates and sums
 * (core/demand.h).
 *
 * A counter means a row and a location of one generation's tables. Those of a generation that is
 * replaced are read once more, while its tables are still there; rates are handed over to the
 * locations of the next one that say the same, and forgotten where there is none. Sums by region
 * and country are of names, and go on.
 */
#pragma once

#include "reconcile.h"
#include "user/core/demand.h"

struct gs_demand;

/* All borrowed; they outlive the demand. */
struct gs_demand_ports {
	struct gs_loop *loop;
	const struct gs_dataplane *dataplane; /* its demand may be NULL: there is none */
	/* What is in force now; snapshot and tables may be NULL. */
	const struct gs_reconcile_state *(*look)(void *context);
	void *look_context;
	/* Of an entry of these tables so many flows are new; and a look at all entries is over, so
	 * long after the last one. NULL: nobody wants to know. */
	void (*on_flows)(void *context, const struct gs_tables *tables, uint32_t entry,
			 uint32_t flows);
	void (*on_round)(void *context, uint64_t elapsed_ms);
	void *flows_context;
};

/* 0 or -errno. */
int gs_demand_new(const struct gs_demand_ports *ports, struct gs_demand **ret_demand);
/* Before the data plane is closed, and before the loop is. NULL is fine. */
void gs_demand_free(struct gs_demand *demand);
/* The port's maps are others: what they have counted until now is not known to be new. */
void gs_demand_reopen(struct gs_demand *demand);
/* Before the tables of `change` are freed. False: there is more of it, for another turn. */
bool gs_demand_replace(struct gs_demand *demand, const struct gs_generation_change *change);

enum gs_demand_by {
	GS_DEMAND_BY_POLICY,
	GS_DEMAND_BY_LOCATION,
	GS_DEMAND_BY_REGION, /* that the plan has first, usable or not: where clients belong */
	GS_DEMAND_BY_COUNTRY,
	GS_DEMAND_BY__COUNT
};
/* "policy", ... */
const char *gs_demand_by_name(enum gs_demand_by by);

/* What is in force; rows have keys of its ids, or gs_demand_country_of. */
struct gs_demand_query {
	gs_id policy; /* 0: all */
	enum gs_demand_by by;
};
/* Offers all that any flow was counted for. Flows are since the daemon began; by location, since
 * there was such a one. */
void gs_demand_read(struct gs_demand *demand, const struct gs_demand_query *query,
		    struct gs_demand_top *top);
/* Pairs of policy and location that have no counter: there are too many. */
uint32_t gs_demand_uncounted(const struct gs_demand *demand);

/* "DE"; "": unknown. */
const char *gs_demand_country_name(uint32_t key, char ret_name[3]);
enum { GS_DEMAND_COUNTRIES = 26 * 26 + 1 };
/* Sums since the daemon began, for /metrics. */
uint64_t gs_demand_sum_region(const struct gs_demand *demand, gs_id policy, gs_id region);
uint64_t gs_demand_sum_country(const struct gs_demand *demand, uint32_t country);
