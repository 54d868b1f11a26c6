/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients see: the round trips of sampled handshakes by (location, region) and by (service,
 * region), of the last five to ten minutes. Memory is fixed: of pairs that share a set of eight the
 * one not heard of for longest gives way.
 *
 * Nobody who answers for a handshake is known: an address that is not the sender's own can open a
 * flow and "complete" it. So one client prefix gives at most a quarter of a pair's samples (and
 * sixteen), what takes more than ten seconds is none, and what steers is a median.
 */
#pragma once

#include "user/core/histogram.h"
#include "user/ports.h"

enum {
	GS_ROUND_TRIPS_WINDOW_MS = 300000,
	GS_ROUND_TRIPS_MAX_US = 10000000,
	GS_ROUND_TRIPS_PAIRS = 4096, /* of each kind */
};

enum gs_round_trips_kind { GS_ROUND_TRIPS_LOCATION, GS_ROUND_TRIPS_SERVICE, GS_ROUND_TRIPS__KINDS };

struct gs_round_trips;

struct gs_round_trip {
	uint16_t id; /* location or service */
	gs_id region;
	uint32_t count;				 /* samples; greater than 0 */
	uint32_t p50_us, p90_us, p99_us, max_us; /* at most 1/32 off */
};

/* What clients of a location see now, for steering. */
struct gs_recent_trip {
	uint16_t id; /* location */
	gs_id region;
	uint32_t count; /* samples of the windows */
	/* The median of the newest: of 30 s, or of five if that is more; 16 at most. A client
	 * prefix has one vote. */
	uint32_t us;
	uint32_t age_ms; /* of the newest one */
};

/* seed: any value. 0 or -ENOMEM. */
int gs_round_trips_new(uint64_t seed, struct gs_round_trips **ret_trips);
/* NULL is fine. */
void gs_round_trips_free(struct gs_round_trips *trips);

/* now_ms never goes back. False: the sample was not believed. */
bool gs_round_trips_add(struct gs_round_trips *trips, const struct gs_handshake *handshake,
			uint64_t now_ms);
/* False: nothing is known of the pair, *ret_trip untouched. */
bool gs_round_trips_get(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			uint16_t id, gs_id region, uint64_t now_ms, struct gs_round_trip *ret_trip);
/* All pairs of a kind, in no order: *at begins at 0; false: no more. */
bool gs_round_trips_next(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			 uint32_t *at, uint64_t now_ms, struct gs_round_trip *ret_trip);
/* The same of what is new since then: locations only, those heard of at since_ms or later. */
bool gs_round_trips_next_recent(const struct gs_round_trips *trips, uint32_t *at, uint64_t since_ms,
				uint64_t now_ms, struct gs_recent_trip *ret_trip);
bool gs_round_trips_recent(const struct gs_round_trips *trips, uint16_t location, gs_id region,
			   uint64_t now_ms, struct gs_recent_trip *ret_trip);
/* Locations are others from now on: what is known by location goes. */
void gs_round_trips_forget_locations(struct gs_round_trips *trips);
