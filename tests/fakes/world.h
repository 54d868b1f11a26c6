/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worlds to test with, from a seed: a snapshot with sparse ids, mixed families, administrative
 * states and nested overrides, and a small GeoIP database. The plain ranges it was compiled from
 * stay beside it, for oracles.
 */
#pragma once

#include "user/core/geodata.h"
#include "user/core/geotable.h"
#include "user/core/types.h"

enum { WORLD_RANGES = 64 };

struct world {
	struct gs_snapshot snapshot; /* arrays owned by the world */
	struct gs_geodata geo;
	struct gs_geo_range ranges4[WORLD_RANGES];
	struct gs_geo_range ranges6[WORLD_RANGES];
	uint32_t range4_count, range6_count;
};

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t world_draw(uint64_t *seed);
/* Aborts if there is no memory. */
struct world *world_new(uint64_t seed);
void world_free(struct world *world);
/* The blocks of a family, of sorted ranges apart from each other; aborts if they are not, or
 * without memory. */
void world_compile(struct gs_geodata_family *family, enum gs_geo_family which,
		   const struct gs_geo_range *ranges, uint32_t count);

/* A client: anywhere, in an override, in a range, or at an edge of one. */
struct gs_addr world_client(const struct world *world, uint64_t *seed);
/* What the ranges say, by looking at each. */
uint16_t world_geo_location(const struct world *world, const struct gs_addr *client);
