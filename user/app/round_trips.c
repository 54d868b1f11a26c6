/* SPDX-License-Identifier: Apache-2.0 */
#include "round_trips.h"

#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	WAYS = 8,
	PREFIX_CLASSES = 32,	   /* prefixes are told apart by a hash of five bits */
	PREFIX_FREE = 16,	   /* samples any of them may give ... */
	PREFIX_SHARE = 4,	   /* ... besides a quarter of all */
	RECENT = 16,		   /* samples that are kept one by one ... */
	RECENT_SHARE = 4,	   /* ... so many of a class at most ... */
	RECENT_FEW = RECENT_SHARE, /* ... of which so many speak however old they are, ... */
	RECENT_MS = 30000,	   /* ... and all that are no older */
	WINDOWS = 2, /* the one that fills, by its number's last bit, and the one before */
};

struct pair {
	uint16_t id;
	gs_id region;
	uint64_t seen_ms;
	uint64_t window[WINDOWS]; /* number of the window that is in it */
	struct gs_histogram histogram[WINDOWS];
	uint16_t of_class[WINDOWS][PREFIX_CLASSES];
	uint32_t recent_us[RECENT]; /* a ring: the next one goes to recent_count % RECENT */
	uint64_t recent_ms[RECENT];
	uint8_t recent_class[RECENT]; /* of the client's prefix */
	uint64_t recent_count;	      /* ever */
};

/*
 * A pair is some KB, and all of them are more than a turn of the loop can touch: whether one is
 * used is kept beside them, and forgetting all is another era.
 */
struct gs_round_trips {
	uint64_t seed;
	uint32_t era[GS_ROUND_TRIPS__KINDS]; /* from 1 on */
	uint32_t era_of[GS_ROUND_TRIPS__KINDS][GS_ROUND_TRIPS_PAIRS];
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

static bool is_used(const struct gs_round_trips *trips, enum gs_round_trips_kind kind, uint32_t at)
{
	return trips->era_of[kind][at] == trips->era[kind];
}

static bool is_of(const struct gs_round_trips *trips, enum gs_round_trips_kind kind, uint32_t at,
		  uint16_t id, gs_id region)
{
	const struct pair *pair = &trips->pairs[kind][at];

	return is_used(trips, kind, at) && pair->id == id && pair->region == region;
}

static const struct pair *find(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			       uint16_t id, gs_id region)
{
	uint32_t set = set_of(trips, id, region);

	for (uint32_t at = set; at < set + WAYS; at++)
		if (is_of(trips, kind, at, id, region))
			return &trips->pairs[kind][at];
	return NULL;
}

/* A place that is free, or else the one not heard of for longest. */
static uint32_t oldest_of(const struct gs_round_trips *trips, enum gs_round_trips_kind kind,
			  uint32_t set)
{
	const struct pair *pairs = trips->pairs[kind];
	uint32_t oldest = set;

	for (uint32_t at = set; at < set + WAYS; at++) {
		if (!is_used(trips, kind, at))
			return at;
		if (pairs[at].seen_ms < pairs[oldest].seen_ms)
			oldest = at;
	}
	return oldest;
}

static struct pair *find_or_take(struct gs_round_trips *trips, enum gs_round_trips_kind kind,
				 uint16_t id, gs_id region)
{
	uint32_t set = set_of(trips, id, region), taken;
	struct pair *pair;

	for (uint32_t at = set; at < set + WAYS; at++)
		if (is_of(trips, kind, at, id, region))
			return &trips->pairs[kind][at];
	taken = oldest_of(trips, kind, set);
	pair = &trips->pairs[kind][taken];
	memset(pair, 0, sizeof(*pair));
	pair->id = id;
	pair->region = region;
	trips->era_of[kind][taken] = trips->era[kind];
	return pair;
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

/*
 * A class that has its share of the newest ones gives up its own oldest: it is followed however
 * much it sends, and pushes out nobody else's.
 */
static void add_recent(struct pair *pair, uint32_t class, uint32_t rtt_us, uint64_t now_ms)
{
	uint64_t at = pair->recent_count < RECENT ? 0 : pair->recent_count - RECENT, own = 0;
	uint32_t owned = 0;

	for (uint64_t i = pair->recent_count; i > at; i--)
		if (pair->recent_class[(i - 1) % RECENT] == class) {
			own = i - 1;
			owned++;
		}
	if (owned < RECENT_SHARE)
		own = pair->recent_count++;
	for (; own + 1 < pair->recent_count; own++) {
		pair->recent_us[own % RECENT] = pair->recent_us[(own + 1) % RECENT];
		pair->recent_class[own % RECENT] = pair->recent_class[(own + 1) % RECENT];
		pair->recent_ms[own % RECENT] = pair->recent_ms[(own + 1) % RECENT];
	}
	pair->recent_us[own % RECENT] = rtt_us;
	pair->recent_class[own % RECENT] = (uint8_t) class;
	pair->recent_ms[own % RECENT] = now_ms;
}

static bool add_to(struct pair *pair, uint32_t class, uint32_t rtt_us, uint64_t now_ms)
{
	uint32_t part = part_of(pair, now_ms);
	uint16_t *given = &pair->of_class[part][class];

	pair->seen_ms = now_ms;
	add_recent(pair, class, rtt_us, now_ms);
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

static int by_value(const void *left, const void *right)
{
	uint64_t a, b;

	memcpy(&a, left, sizeof(a));
	memcpy(&b, right, sizeof(b));
	return (a > b) - (a < b);
}

/* Sorted. Of an even number the lower middle one: one that stands alone among two waited for a
 * repeated SYN. */
static uint32_t median_of(const uint64_t *sorted, uint32_t count)
{
	return (uint32_t)sorted[(count - 1) / 2];
}

/* The newest ones, a class in the high bits. Returns how many. */
static uint32_t take_recent(const struct pair *pair, uint64_t now_ms, uint64_t ret_taken[RECENT])
{
	uint32_t count = 0;

	for (uint64_t back = 1; back <= RECENT && back <= pair->recent_count; back++) {
		uint32_t at = (uint32_t)((pair->recent_count - back) % RECENT);

		if (count >= RECENT_FEW && now_ms - pair->recent_ms[at] > RECENT_MS)
			break;
		ret_taken[count++] = (uint64_t)pair->recent_class[at] << 32 | pair->recent_us[at];
	}
	return count;
}

/* Each class of prefixes has one vote, its own median: however much one client sends. */
static uint32_t recent_median(const struct pair *pair, uint64_t now_ms)
{
	uint64_t taken[RECENT], votes[RECENT];
	uint32_t count = take_recent(pair, now_ms, taken), voters = 0, next;

	qsort(taken, count, sizeof(*taken), by_value);
	for (uint32_t first = 0; first < count; first = next) {
		for (next = first; next < count && taken[next] >> 32 == taken[first] >> 32; next++)
			;
		votes[voters] = median_of(&taken[first], next - first);
		voters++;
	}
	qsort(votes, voters, sizeof(*votes), by_value);
	return median_of(votes, voters);
}

static bool read_recent(const struct pair *pair, uint64_t now_ms, struct gs_recent_trip *ret_trip)
{
	uint32_t count = 0;

	for (uint32_t part = 0; part < WINDOWS; part++)
		if (is_fresh(pair->window[part], now_ms))
			count += pair->histogram[part].count;
	if (count == 0 || pair->recent_count == 0)
		return false;
	*ret_trip = (struct gs_recent_trip){
		.id = pair->id,
		.region = pair->region,
		.count = count,
		.us = recent_median(pair, now_ms),
		.age_ms = (uint32_t)(now_ms - pair->recent_ms[(pair->recent_count - 1) % RECENT]),
	};
	return true;
}

bool gs_round_trips_next_recent(const struct gs_round_trips *trips, uint32_t *at, uint64_t since_ms,
				uint64_t now_ms, struct gs_recent_trip *ret_trip)
{
	while (*at < GS_ROUND_TRIPS_PAIRS) {
		uint32_t this = (*at)++;
		const struct pair *pair = &trips->pairs[GS_ROUND_TRIPS_LOCATION][this];

		if (is_used(trips, GS_ROUND_TRIPS_LOCATION, this) && pair->recent_count > 0 &&
		    pair->recent_ms[(pair->recent_count - 1) % RECENT] >= since_ms &&
		    read_recent(pair, now_ms, ret_trip))
			return true;
	}
	return false;
}

bool gs_round_trips_recent(const struct gs_round_trips *trips, uint16_t location, gs_id region,
			   uint64_t now_ms, struct gs_recent_trip *ret_trip)
{
	const struct pair *pair = find(trips, GS_ROUND_TRIPS_LOCATION, location, region);

	return pair && read_recent(pair, now_ms, ret_trip);
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
		uint32_t this = (*at)++;

		if (is_used(trips, kind, this) &&
		    read_pair(&trips->pairs[kind][this], now_ms, ret_trip))
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
	trips->era[GS_ROUND_TRIPS_LOCATION]++;
}

int gs_round_trips_new(uint64_t seed, struct gs_round_trips **ret_trips)
{
	struct gs_round_trips *trips = calloc(1, sizeof(*trips));

	if (!trips)
		return -ENOMEM;
	trips->seed = seed;
	for (int kind = 0; kind < GS_ROUND_TRIPS__KINDS; kind++)
		trips->era[kind] = 1;
	*ret_trips = trips;
	return 0;
}

void gs_round_trips_free(struct gs_round_trips *trips)
{
	free(trips);
}
