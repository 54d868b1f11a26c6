/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network between this edge and each region takes, by the probes that tell it (of TCP and
 * ICMP). Of a backend it is the least of the last half to whole minute: whatever made others longer
 * was no distance. Of a region it is the middle one of its backends, the lower of two.
 */
#pragma once

#include "user/core/types.h"

struct gs_probe_trips;

/* One region's. */
struct gs_probe_trip {
	gs_id region;
	uint32_t us;
	uint32_t count; /* of probes */
	uint64_t at_ms; /* of the newest */
};

/* 0 or -ENOMEM. */
int gs_probe_trips_new(struct gs_probe_trips **ret_trips);
/* NULL is fine. */
void gs_probe_trips_free(struct gs_probe_trips *trips);
/* A probe of a snapshot's backend that succeeded; rtt_us > 0. What a backend had elsewhere (another
 * region, another address) is forgotten. */
void gs_probe_trips_add(struct gs_probe_trips *trips, const struct gs_backend *backend,
			uint32_t rtt_us, uint64_t now_ms);
/* Of regions that have any, by id; how many. 0, too, if there is no memory. */
uint32_t gs_probe_trips_look(const struct gs_probe_trips *trips, const struct gs_snapshot *snapshot,
			     uint64_t now_ms, struct gs_probe_trip ret_trips[GS_ID_MAX_REGION]);
