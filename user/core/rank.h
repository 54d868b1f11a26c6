/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranking: (policy, location, candidates) -> regions in order, and why each stands where it does.
 * Pure. docs/steering.md has the formulas for people.
 *
 * The best of what is left by the first criterion, and what is tied with it, come first; among
 * them the next criterion decides, and so on; what is tied to the end stands in the policy's order,
 * then by id. Only latency ties more than equals: within max(band_ms, band_percent of the best).
 * A criterion that knows nothing of the location (distance, without coordinates) ties all.
 */
#pragma once

#include "maps/gs_maps.h"
#include "types.h"

/* Where the round trip to a region is not known. */
#define GS_ROUND_TRIP_UNKNOWN UINT32_MAX
/* The shortest round trip the model tells: below it distance is not what takes the time. */
#define GS_MODEL_FLOOR_US 1000u

/* The model: 1 ms a 100 km, at least GS_MODEL_FLOOR_US. */
uint32_t gs_model_round_trip_us(uint32_t metres);
/* How many nines: 99.9 -> 3, 99.95 -> 3, 0 (not stated) -> 0, 100 -> 9. */
uint8_t gs_nines(double percent);
/* As the criterion geo has it: bias (percent) > 0 draws, < 0 repels; 0 changes nothing. */
uint32_t gs_biased_metres(uint32_t metres, int bias);

/* What ranks go by besides the configuration. A function that is NULL: the model, the promise. */
struct gs_rank_facts {
	void *self;
	/* Round trips asked for from here on are of this location. May be NULL. */
	void (*move)(void *self, uint16_t id, const struct gs_location *location);
	/* From clients of location `id` to the region, or GS_ROUND_TRIP_UNKNOWN. model_us: as the
	 * model has it, or GS_ROUND_TRIP_UNKNOWN. */
	uint32_t (*round_trip_us)(void *self, uint16_t id, const struct gs_region *region,
				  uint32_t model_us);
	uint8_t (*nines)(void *self, const struct gs_region *region);
};

/* Regions as seen from one location. Made by gs_ranker_init, moved by gs_ranker_move. */
struct gs_ranker {
	const struct gs_region *regions;
	uint32_t count; /* GS_ID_MAX_REGION at most */
	struct gs_rank_facts facts;
	double vector[GS_ID_MAX_REGION][3]; /* on the unit sphere */
	uint32_t cost[GS_ID_MAX_REGION];    /* how many regions are cheaper */
	uint32_t unreliable[GS_ID_MAX_REGION];
	uint8_t by_cost[GS_ID_MAX_REGION]; /* indices, sorted */
	uint8_t by_reliability[GS_ID_MAX_REGION];
	bool knows_distance, knows_round_trip; /* of the location */
	uint32_t metres[GS_ID_MAX_REGION];
	uint32_t round_trip_us[GS_ID_MAX_REGION];
	uint8_t by_metres[GS_ID_MAX_REGION]; /* indices, sorted: for all policies at once */
	uint8_t by_round_trip[GS_ID_MAX_REGION];
};

/* A policy and the regions it ranks, made ready once for many locations. */
struct gs_ranked_policy {
	uint8_t count; /* criteria, GS_BY_WEIGHT left out */
	uint8_t rank[GS_RANK_MAX];
	bool shares; /* GS_BY_WEIGHT is among them */
	uint32_t band_us;
	uint32_t band_percent;
	uint32_t member_count;
	uint32_t weighty_count;		  /* members that are no last resort */
	uint8_t member[GS_ID_MAX_REGION]; /* indices in regions: last resort last, in order, by id
					   */
	int8_t most_bias;		  /* the strongest that draws, or 0 */
	uint8_t biased_count;
	uint8_t biased[GS_ID_MAX_REGION];   /* indices of members that have a bias */
	uint8_t standing[GS_ID_MAX_REGION]; /* by index, from here on: where in member[], or
					     * UINT8_MAX */
	uint32_t place[GS_ID_MAX_REGION];
	int8_t bias[GS_ID_MAX_REGION];
	uint16_t weight[GS_ID_MAX_REGION];
};

/* Why a region stands behind the one before it. */
enum gs_behind {
	GS_BEHIND_ORDER, /* as enum gs_criterion */
	GS_BEHIND_GEO,
	GS_BEHIND_LATENCY,
	GS_BEHIND_COST,
	GS_BEHIND_AVAILABILITY,
	GS_BEHIND_WEIGHT,   /* it is a last resort: its weight is 0 */
	GS_BEHIND_TIE,	    /* nothing tells them apart: the policy's order, or the id */
	GS_BEHIND_OVERRIDE, /* the one before is an override's */
	GS_BEHIND_SETTLED,  /* not by gs_rank: in the policy's order, plan_tail.h */
};

struct gs_ranking {
	uint8_t count;
	uint8_t tied; /* the first ones, among which weights share the clients; >= 1 if count is */
	uint8_t index[GS_PLAN_REGIONS];	  /* in the ranker's regions */
	uint8_t behind[GS_PLAN_REGIONS];  /* enum gs_behind; [0] says nothing */
	uint16_t weight[GS_PLAN_REGIONS]; /* of the tied ones; all 0: alike */
};

/* regions: sorted by id, kept by the caller; beyond GS_ID_MAX_REGION of them are left out. facts
 * may be NULL. */
void gs_ranker_init(struct gs_ranker *ranker, const struct gs_region *regions, uint32_t count,
		    const struct gs_rank_facts *facts);
/* id: the location's, for facts. */
void gs_ranker_move(struct gs_ranker *ranker, uint16_t id, const struct gs_location *location);

/* The regions of `candidates` (NULL: all) that may be in a plan (gs_plan_region_allowed). */
void gs_ranked_policy_init(struct gs_ranked_policy *ranked, const struct gs_ranker *ranker,
			   const struct gs_policy *policy, const struct gs_region_set *candidates);
/*
 * At most GS_PLAN_REGIONS, the best ones. allowed: NULL, or the only regions there may be.
 * first: an override's region (0: none), first if it may be.
 */
void gs_rank(const struct gs_ranker *ranker, const struct gs_ranked_policy *ranked,
	     const struct gs_region_set *allowed, gs_id first, struct gs_ranking *ret_ranking);

/* id <= GS_ID_MAX_REGION */
bool gs_region_set_has(const struct gs_region_set *set, gs_id id);
void gs_region_set_add(struct gs_region_set *set, gs_id id);
