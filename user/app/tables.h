/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation as plain data: what a snapshot and a GeoIP database come to. Made by
 * gs_tables_build on the worker, published by the dataplane port, kept for `route get`.
 */
#pragma once

#include "user/core/asn.h"
#include "user/core/fence.h"
#include "user/core/geodata.h"
#include "user/core/latency.h"
#include "user/core/plan.h"
#include "user/core/rank.h"
#include "user/core/types.h"

struct gs_table_pool {
	uint32_t base;
	uint32_t slots; /* 0: the service has no backend in the region; region 0: its policy */
};

/* A piece of an override's prefix, or of one of its system's: all of it, unless fences cut it. */
struct gs_table_override {
	struct gs_prefix prefix;
	uint16_t location;
	uint32_t override; /* index in the snapshot's */
};

struct gs_tables {
	uint64_t seed;			    /* selection seed */
	uint64_t digest;		    /* equal digests, equal decisions */
	const struct gs_snapshot *snapshot; /* not owned; outlives the tables */
	const struct gs_geodata *geo;	    /* not owned; NULL: no GeoIP database yet */
	const struct gs_asndata *asn;	    /* the same of the ASN database */

	/* The database's locations, then the synthetic ones of overrides of prefixes: one a region
	 * and class. Overrides of places are in the database's own override_region. */
	uint32_t location_count;
	struct gs_location *locations;
	uint32_t
		*place_override; /* [location] -> 1 + index of the override of its place; 0: none */
	uint16_t *location_class; /* [location] -> which fences hold for its clients: classes[] */
	uint32_t class_count;
	struct gs_fence_set *classes;
	uint32_t override_count; /* sorted, IPv4 first */
	struct gs_table_override *overrides;
	uint32_t asks; /* GS_ASK_*: of the snapshot's access rules and regions' limits */
	struct gs_latency_view latencies; /* the snapshot's, of no location yet: for _view_at */

	uint32_t row_count;
	uint32_t location_stride; /* location_count rounded up to GS_BLOCK_U16 */
	uint16_t *routes;	  /* [row * location_stride + location] -> plan id */
	uint16_t *service_row;	  /* [service id] -> row; GS_MAX_SERVICES entries */
	gs_id *row_policy;	  /* [row] -> policy id */
	struct gs_region_set *row_served;
	struct gs_fence_set *row_fences; /* [row] -> those that hold for its services */
	uint8_t *row_priority;		 /* [row] -> theirs: demand is counted by it */
	struct gs_plan_set *plans;
	/* First choices of each plan that stand as they are ranked; behind them, where ids have run
	 * short, regions stand in the policy's order. GS_PLAN_REGIONS: all are as ranked. */
	uint8_t exact_choices;
	uint8_t before_percent; /* of clients go by round trips published before (gradual.h) */

	uint32_t service_stride;     /* highest service id + 1 */
	uint32_t region_stride;	     /* highest region id + 1 */
	struct gs_table_pool *pools; /* [service * region_stride + region] */
	uint32_t ring_slot_count;
	gs_id *ring_slots;
};

/*
 * 0; -ENOMEM; -EFBIG (a limit of gs_maps.h; *error says which). Overrides of regions that are
 * not in the snapshot are an -EINVAL. Backends under maintenance or force_down are left out of
 * rings. Without an ASN database (NULL) nobody is under an override of a system.
 */
struct gs_tables_sources {
	const struct gs_snapshot *snapshot;
	const struct gs_geodata *geo;
	const struct gs_asndata *asn;
};
int gs_tables_make(const struct gs_tables_sources *sources, struct gs_tables **ret_tables,
		   struct gs_error *error);
/* Without an ASN database. */
int gs_tables_build(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_tables **ret_tables, struct gs_error *error);
void gs_tables_free(struct gs_tables *tables);
/* Of both databases: the GeoIP database's own where there is no other; 0: neither. */
uint64_t gs_tables_geo_digest(const struct gs_tables *tables);

/* The location the packet path finds: override first, then geo. ret_prefix: the override's own, as
 * it was written, that of its system in the tables, or the database's; it and ret_is_override may
 * be NULL. */
uint16_t gs_tables_locate(const struct gs_tables *tables, const struct gs_addr *client,
			  struct gs_prefix *ret_prefix, bool *ret_is_override);
/* The override that wins for the client: of the longest prefix, of its system, of the smallest
 * place. NULL. */
const struct gs_override *gs_tables_override(const struct gs_tables *tables,
					     const struct gs_addr *client);
/* The plan of a service for a location, or NULL. */
const struct gs_plan *gs_tables_plan(const struct gs_tables *tables, gs_id service,
				     uint16_t location);
/* Why regions stand in a plan as they do. Large: some 14 kB. */
struct gs_tables_reasons {
	struct gs_fence_set fences;  /* that hold for these clients of this service */
	struct gs_ranker ranker;     /* at the location */
	struct gs_latency_view view; /* the same */
	struct gs_ranking ranking;   /* as the plan */
	uint8_t exact_choices;	     /* the tables' */
};
/* A service of the snapshot, a location of the tables. 0 or -ENOMEM. */
int gs_tables_explain(const struct gs_tables *tables, gs_id service, uint16_t location,
		      struct gs_tables_reasons *ret_reasons);
/* The client's draw (gs_hash_client, the selection seed): what gs_plan_pick takes. */
uint64_t gs_tables_draw(const struct gs_tables *tables, const struct gs_service *service,
			const struct gs_addr *client);
