/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_trips.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>

enum { HALF_MS = 30000 };

/* A backend's: of this half of a minute, of the one before. */
struct halves {
	uint32_t number;   /* of this one */
	uint32_t least_us; /* 0: none */
	uint32_t least_before_us;
	uint16_t count, count_before;
	uint64_t at_ms;
	gs_id region; /* where it was then */
	struct gs_addr addr;
};

struct gs_probe_trips {
	struct halves of[GS_ID_MAX_BACKEND + 1];
};

static uint32_t least_of(uint32_t a_us, uint32_t b_us)
{
	if (a_us == 0 || b_us == 0)
		return a_us ? a_us : b_us;
	return a_us < b_us ? a_us : b_us;
}

/* As they are now: halves that have passed are the one before, or nobody's. */
static struct halves at_moment(const struct halves *halves, uint64_t now_ms)
{
	struct halves now = *halves;

	now.number = (uint32_t)(now_ms / HALF_MS);
	if (now.number == halves->number)
		return now;
	now.least_before_us = now.number == halves->number + 1 ? halves->least_us : 0;
	now.count_before = now.number == halves->number + 1 ? halves->count : 0;
	now.least_us = 0;
	now.count = 0;
	return now;
}

static bool is_there(const struct halves *halves, const struct gs_backend *backend)
{
	return halves->region == backend->region &&
	       gs_addr_compare(&halves->addr, &backend->addr) == 0;
}

void gs_probe_trips_add(struct gs_probe_trips *trips, const struct gs_backend *backend,
			uint32_t rtt_us, uint64_t now_ms)
{
	struct halves *halves = &trips->of[backend->id];

	if (!is_there(halves, backend))
		*halves = (struct halves){.region = backend->region, .addr = backend->addr};
	*halves = at_moment(halves, now_ms);
	halves->least_us = least_of(halves->least_us, rtt_us);
	halves->count += halves->count < UINT16_MAX;
	halves->at_ms = now_ms;
}

/* ---- regions --------------------------------------------------------------------------------- */

/* A region's backends that answered. */
struct sum {
	struct gs_probe_trip trip;
	uint32_t from; /* where their round trips begin */
	uint32_t known;
};

/* False: it has not answered of late, where it is. */
static bool look_at(const struct gs_probe_trips *trips, const struct gs_backend *backend,
		    uint64_t now_ms, struct gs_probe_trip *ret_trip)
{
	const struct halves now = at_moment(&trips->of[backend->id], now_ms);

	ret_trip->us = least_of(now.least_us, now.least_before_us);
	ret_trip->count = (uint32_t)now.count + now.count_before;
	ret_trip->at_ms = now.at_ms;
	return ret_trip->us > 0 && is_there(&now, backend);
}

/*
 * The middle one, the lower of two, by halving what it may be: thousands of them are not sorted in
 * one turn of the loop.
 */
static uint32_t middle_of(const uint32_t *us, uint32_t count)
{
	uint32_t low = 1, high = UINT32_MAX;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2, below = 0;

		for (uint32_t i = 0; i < count; i++)
			below += us[i] <= middle;
		if (below > (count - 1) / 2)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void add_up(const struct gs_probe_trips *trips, const struct gs_snapshot *snapshot,
		   uint64_t now_ms, struct sum sums[GS_ID_MAX_REGION + 1])
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct sum *sum = &sums[snapshot->backends[i].region];
		struct gs_probe_trip one;

		if (!look_at(trips, &snapshot->backends[i], now_ms, &one))
			continue;
		sum->known++;
		sum->trip.count += one.count;
		if (one.at_ms > sum->trip.at_ms)
			sum->trip.at_ms = one.at_ms;
	}
	for (uint32_t id = 1; id <= GS_ID_MAX_REGION; id++)
		sums[id].from = sums[id - 1].from + sums[id - 1].known;
}

/* Behind each other, by region. */
static void gather(const struct gs_probe_trips *trips, const struct gs_snapshot *snapshot,
		   uint64_t now_ms, const struct sum sums[GS_ID_MAX_REGION + 1], uint32_t *us)
{
	uint32_t filled[GS_ID_MAX_REGION + 1] = {0};

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		gs_id region = snapshot->backends[i].region;
		struct gs_probe_trip one;

		if (look_at(trips, &snapshot->backends[i], now_ms, &one))
			us[sums[region].from + filled[region]++] = one.us;
	}
}

uint32_t gs_probe_trips_look(const struct gs_probe_trips *trips, const struct gs_snapshot *snapshot,
			     uint64_t now_ms, struct gs_probe_trip ret_trips[GS_ID_MAX_REGION])
{
	GS_AUTO_FREE uint32_t *us = calloc(snapshot->backend_count + 1u, sizeof(*us));
	struct sum sums[GS_ID_MAX_REGION + 1] = {0};
	uint32_t count = 0;

	if (!us)
		return 0;
	add_up(trips, snapshot, now_ms, sums);
	gather(trips, snapshot, now_ms, sums, us);
	for (uint32_t id = 1; id <= GS_ID_MAX_REGION; id++) {
		if (sums[id].known == 0)
			continue;
		ret_trips[count] = sums[id].trip;
		ret_trips[count].region = (gs_id)id;
		ret_trips[count++].us = middle_of(us + sums[id].from, sums[id].known);
	}
	return count;
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_probe_trips_new(struct gs_probe_trips **ret_trips)
{
	struct gs_probe_trips *trips = calloc(1, sizeof(*trips));

	if (!trips)
		return -ENOMEM;
	*ret_trips = trips;
	return 0;
}

void gs_probe_trips_free(struct gs_probe_trips *trips)
{
	free(trips);
}
