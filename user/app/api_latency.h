/* SPDX-License-Identifier: Apache-2.0 */
/* Where a round trip is known from, in words. */
#pragma once

#include "round_trips.h"
#include "tables.h"

#include <jansson.h>

/*
 * round_trip_ms, round_trip_source and what it rests on, into a candidate of route get. here: what
 * this edge sees of these clients now, or NULL.
 */
void gs_api_add_round_trip(json_t *candidate, const struct gs_latency_estimate *estimate,
			   const struct gs_recent_trip *here, int64_t now_unix_ms);
