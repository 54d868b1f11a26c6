/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world of the size that the controller is built for: 2,000 backends in 50 regions, 100 services,
 * 8,300 locations, 100 edges.
 */
#pragma once

#include "user/core/geodata.h"
#include "user/core/types.h"

enum {
	LARGE_REGIONS = 50,
	LARGE_POLICIES = 4,
	LARGE_SERVICES = 100,
	LARGE_BACKENDS = 2000,
	LARGE_POOLS = 1600,
	LARGE_LOCATIONS = 8301, /* the unknown one included */
	LARGE_LATENCIES = 8300, /* a published round trip for each place */
	LARGE_OVERLAYS = 100,
	LARGE_EDGES = 100,
};

/* Ids from 1 on, without gaps. Each service is in the 16 regions of its policy. The caller frees
 * it; aborts if there is no memory, as all of these. */
struct gs_snapshot *large_snapshot(uint64_t revision);
/* Sorts LARGE_LATENCIES rows; of places that are the same to the judge only the first stays. */
void large_sort_latencies(struct gs_snapshot *s);
/* A /24 for each location. */
struct gs_geodata *large_geodata(void);
void large_geodata_free(struct gs_geodata *geo);
