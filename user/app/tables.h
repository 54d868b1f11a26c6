/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation as plain data: what a snapshot and a GeoIP database come to. Made by
 * gs_tables_build on the worker, published by the dataplane port, kept for `route get`.
 */
#pragma once

#include "user/core/geodata.h"
#include "user/core/plan.h"
#include "user/core/types.h"

struct gs_table_pool {
	uint32_t base;
	uint32_t slots; /* 0: the service has no backend in the region; region 0: its policy */
};

struct gs_table_override {
	struct gs_prefix prefix;
	uint16_t location;
};

struct gs_tables {
	uint64_t seed;			    /* selection seed */
	uint64_t digest;		    /* equal digests, equal decisions */
	const struct gs_snapshot *snapshot; /* not owned; outlives the tables */
	const struct gs_geodata *geo;	    /* not owned; NULL: no GeoIP database yet */

	/* The database's locations, then the synthetic ones of overrides (one a region). */
	uint32_t location_count;
	struct gs_location *locations;
	uint32_t override_count; /* sorted, IPv4 first */
	struct gs_table_override *overrides;
	uint32_t asks; /* GS_ASK_*: of the snapshot's access rules and regions' limits */

	uint32_t row_count;
	uint32_t location_stride; /* location_count rounded up to GS_BLOCK_U16 */
	uint16_t *routes;	  /* [row * location_stride + location] -> plan id */
	uint16_t *service_row;	  /* [service id] -> row; GS_MAX_SERVICES entries */
	gs_id *row_policy;	  /* [row] -> policy id */
	struct gs_region_set *row_served;
	struct gs_plan_set *plans;

	uint32_t service_stride;     /* highest service id + 1 */
	uint32_t region_stride;	     /* highest region id + 1 */
	struct gs_table_pool *pools; /* [service * region_stride + region] */
	uint32_t ring_slot_count;
	gs_id *ring_slots;
};

/*
 * 0; -ENOMEM; -EFBIG (a limit of gs_maps.h; *error says which). Overrides of regions that are
 * not in the snapshot are an -EINVAL. Backends under maintenance or force_down are left out of
 * rings.
 */
int gs_tables_build(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_tables **ret_tables, struct gs_error *error);
void gs_tables_free(struct gs_tables *tables);

/* The location the packet path finds: override first, then geo. ret_prefix, ret_is_override may be
 * NULL. */
uint16_t gs_tables_locate(const struct gs_tables *tables, const struct gs_addr *client,
			  struct gs_prefix *ret_prefix, bool *ret_is_override);
/* The plan of a service for a location, or NULL. */
const struct gs_plan *gs_tables_plan(const struct gs_tables *tables, gs_id service,
				     uint16_t location);
/* The client's draw (gs_hash_client, the selection seed): what gs_plan_pick takes. */
uint64_t gs_tables_draw(const struct gs_tables *tables, const struct gs_service *service,
			const struct gs_addr *client);
