/* SPDX-License-Identifier: Apache-2.0 */
#include "round_trips.h"

#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <errno.h>
#include <string.h>

enum {
	WAYS = 8,
	PREFIX_CLASSES = 32, /* prefixes are told apart by a hash of five bits */
	PREFIX_FREE = 16,    /* samples any of them may give ... */
	PREFIX_SHARE = 4,    /* ... besides a quarter of all */
	WINDOWS = 2,	     /* the one that fills, by its number's last bit, and the one before */
};

struct pair {
	bool is_used;
	uint16_t id;
	gs_id region;
	uint64_t seen_ms;
	uint64_t window[WINDOWS]; /* number of the window that is in it */
	struct gs_histogram histogram[WINDOWS];
	uint16_t of_class[WINDOWS][PREFIX_CLASSES];
};

struct gs_round_trips {
	uint64_t seed;
	struct pair pairs[GS_ROUND_TRIPS__KINDS][GS_ROUND_TRIPS_PAIRS];
};

static uint64_t window_of(uint64_t now_ms)
{
	return now_ms / GS_ROUND_TRIPS_WINDOW_MS;
}

static bool is_fresh(uint64_t window, uint64_t now_ms)
{
	return window + 1 >= window_of(now_ms);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* The first of the set that a pair may be in. */
static uint32_t set_of(const struct gs_round_trips *trips, uint16_t id, gs_id region)
{
	uint64_t state = trips->seed ^ ((uint64_t)id << 16 | region);

	return (uint32_t)(gs_random(&state) % (GS_ROUND_TRIPS_PAIRS / WAYS)) * WAYS;
}

static const struct pair *find(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			       uint16_t id, gs_id region)
{
	const struct pair *set = &trips->pairs[kind][set_of(trips, id, region)];

	for (uint32_t way = 0; way < WAYS; way++)
		if (set[way].is_used && set[way].id == id && set[way].region == region)
			return &set[way];
	return NULL;
}

static struct pair *find_or_take(struct gs_round_trips *trips, enum gs_round_trips_kind kind,
				 uint16_t id, gs_id region)
{
	struct pair *set = &trips->pairs[kind][set_of(trips, id, region)], *oldest = set;

	for (uint32_t way = 0; way < WAYS; way++) {
		if (set[way].is_used && set[way].id == id && set[way].region == region)
			return &set[way];
		if (!set[way].is_used ? oldest->is_used
				      : oldest->is_used && set[way].seen_ms < oldest->seen_ms)
			oldest = &set[way];
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->is_used = true;
	oldest->id = id;
	oldest->region = region;
	return oldest;
}

static uint32_t class_of(const struct gs_round_trips *trips, const struct gs_prefix *client)
{
	uint64_t high, low, state;

	memcpy(&high, client->addr.bytes, sizeof(high));
	memcpy(&low, client->addr.bytes + sizeof(high), sizeof(low));
	state = trips->seed ^ high;
	state = gs_random(&state) ^ low;
	return (uint32_t)(gs_random(&state) % PREFIX_CLASSES);
}

/* The pair's part of the window that fills now, emptied if it held an older one. */
static uint32_t part_of(struct pair *pair, uint64_t now_ms)
{
	uint64_t window = window_of(now_ms);
	uint32_t part = (uint32_t)(window % WINDOWS);

	if (pair->window[part] != window) {
		pair->window[part] = window;
		gs_histogram_clear(&pair->histogram[part]);
		memset(pair->of_class[part], 0, sizeof(pair->of_class[part]));
	}
	return part;
}

static bool add_to(struct pair *pair, uint32_t class, uint32_t rtt_us, uint64_t now_ms)
{
	uint32_t part = part_of(pair, now_ms);
	uint16_t *given = &pair->of_class[part][class];

	pair->seen_ms = now_ms;
	if (*given >= PREFIX_FREE + pair->histogram[part].count / PREFIX_SHARE ||
	    *given == UINT16_MAX)
		return false;
	++*given;
	gs_histogram_add(&pair->histogram[part], rtt_us);
	return true;
}

static bool read_pair(const struct pair *pair, uint64_t now_ms, struct gs_round_trip *ret_trip)
{
	struct gs_histogram sum;

	gs_histogram_clear(&sum);
	for (uint32_t part = 0; part < WINDOWS; part++)
		if (is_fresh(pair->window[part], now_ms))
			gs_histogram_merge(&sum, &pair->histogram[part]);
	if (sum.count == 0)
		return false;
	*ret_trip = (struct gs_round_trip){
		.id = pair->id,
		.region = pair->region,
		.count = sum.count,
		.p50_us = gs_histogram_percentile(&sum, 50),
		.p90_us = gs_histogram_percentile(&sum, 90),
		.p99_us = gs_histogram_percentile(&sum, 99),
		.max_us = sum.max,
	};
	return true;
}

bool gs_round_trips_get(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			uint16_t id, gs_id region, uint64_t now_ms, struct gs_round_trip *ret_trip)
{
	const struct pair *pair = find(trips, kind, id, region);

	return pair && read_pair(pair, now_ms, ret_trip);
}

bool gs_round_trips_next(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			 uint32_t *at, uint64_t now_ms, struct gs_round_trip *ret_trip)
{
	while (*at < GS_ROUND_TRIPS_PAIRS) {
		const struct pair *pair = &trips->pairs[kind][(*at)++];

		if (pair->is_used && read_pair(pair, now_ms, ret_trip))
			return true;
	}
	return false;
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool gs_round_trips_add(struct gs_round_trips *trips, const struct gs_handshake *handshake,
			uint64_t now_ms)
{
	uint32_t class = class_of(trips, &handshake->client);
	gs_id service = handshake->service;
	bool is_believed;

	if (handshake->rtt_us == 0 || handshake->rtt_us > GS_ROUND_TRIPS_MAX_US || service == 0 ||
	    service >= GS_MAX_SERVICES || handshake->region == 0)
		return false;
	is_believed =
		add_to(find_or_take(trips, GS_ROUND_TRIPS_SERVICE, service, handshake->region),
		       class, handshake->rtt_us, now_ms);
	if (!add_to(find_or_take(trips, GS_ROUND_TRIPS_LOCATION, handshake->location,
				 handshake->region),
		    class, handshake->rtt_us, now_ms))
		is_believed = false;
	return is_believed;
}

void gs_round_trips_forget_locations(struct gs_round_trips *trips)
{
	for (uint32_t i = 0; i < GS_ROUND_TRIPS_PAIRS; i++)
		trips->pairs[GS_ROUND_TRIPS_LOCATION][i].is_used = false;
}

int gs_round_trips_new(uint64_t seed, struct gs_round_trips **ret_trips)
{
	struct gs_round_trips *trips = calloc(1, sizeof(*trips));

	if (!trips)
		return -ENOMEM;
	trips->seed = seed;
	*ret_trips = trips;
	return 0;
}

void gs_round_trips_free(struct gs_round_trips *trips)
{
	free(trips);
}
