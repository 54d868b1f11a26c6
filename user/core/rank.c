// SPDX-License-Identifier: Apache-2.0
#include "rank.h"

#include "geo.h"
#include "plan.h"
#include "policy.h"

#include <math.h>
#include <string.h>

#define RAD_PER_DEG (3.14159265358979323846 / 180.0)

enum { NOT_IN_ORDER = GS_POLICY_ORDER_MAX, NINES_MAX = 9 };
/* FEW members are sorted sooner than they are looked for among all regions. */
enum { NOBODY = UINT8_MAX, FEW = 6 };

bool gs_region_set_has(const struct gs_region_set *set, gs_id id)
{
	return set->words[id / 64] >> (id % 64) & 1;
}

void gs_region_set_add(struct gs_region_set *set, gs_id id)
{
	set->words[id / 64] |= 1ULL << id % 64;
}

/* ---- formulas -------------------------------------------------------------------------------- */

uint32_t gs_model_round_trip_us(uint32_t metres)
{
	uint32_t us = metres / 100;

	return us < GS_MODEL_FLOOR_US ? GS_MODEL_FLOOR_US : us;
}

uint8_t gs_nines(double percent)
{
	double allowed = 10.00001; /* percent down; a hair more, so that 99.9 has its three */
	uint8_t nines = 0;

	while (nines < NINES_MAX && 100.0 - percent <= allowed) {
		nines++;
		allowed /= 10;
	}
	return nines;
}

uint32_t gs_biased_metres(uint32_t metres, int bias)
{
	if (bias > 0)
		return (uint32_t)((uint64_t)metres * (uint64_t)(100 - bias) / 100);
	return (uint32_t)((uint64_t)metres * 100 / (uint64_t)(100 + bias));
}

/* ---- regions from a location ----------------------------------------------------------------- */

static void unit_vector(const struct gs_coord *coord, double ret_vector[3])
{
	double lat = coord->lat_deg * RAD_PER_DEG, lon = coord->lon_deg * RAD_PER_DEG;

	ret_vector[0] = cos(lat) * cos(lon);
	ret_vector[1] = cos(lat) * sin(lon);
	ret_vector[2] = sin(lat);
}

/* By the chord, which is exact where the cosine of a small angle is not. Whole metres: so that the
 * last bits of a libm do not decide. */
static uint32_t metres_between(const double a[3], const double b[3])
{
	double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
	double half = sqrt(x * x + y * y + z * z) / 2;

	return (uint32_t)(2000 * GS_EARTH_RADIUS_KM * asin(fmin(half, 1.0)) + 0.5);
}

void gs_ranker_init(struct gs_ranker *ranker, const struct gs_region *regions, uint32_t count,
		    const struct gs_rank_facts *facts)
{
	memset(ranker, 0, sizeof(*ranker));
	ranker->regions = regions;
	ranker->count = count < GS_ID_MAX_REGION ? count : (uint32_t)GS_ID_MAX_REGION;
	if (facts)
		ranker->facts = *facts;
	for (uint32_t i = 0; i < ranker->count; i++) {
		unit_vector(&regions[i].coord, ranker->vector[i]);
		for (uint32_t other = 0; other < ranker->count; other++)
			ranker->cost[i] += regions[other].cost < regions[i].cost;
		ranker->unreliable[i] =
			(uint32_t)NINES_MAX -
			(ranker->facts.nines ? ranker->facts.nines(ranker->facts.self, &regions[i])
					     : gs_nines(regions[i].availability));
	}
}

/* A key and what has it, as one number. */
static uint64_t pack(uint32_t key, uint32_t what)
{
	return (uint64_t)key << 8 | what;
}

/* Two sorted runs of `from` into one of `to`. */
static void merge(const uint64_t *from, uint32_t low, uint32_t middle, uint32_t high, uint64_t *to)
{
	uint32_t left = low, right = middle;

	for (uint32_t at = low; at < high; at++) {
		if (left < middle && (right >= high || from[left] <= from[right]))
			to[at] = from[left++];
		else
			to[at] = from[right++];
	}
}

/* Merge sort: there are up to 255 of them, and tens of thousands of locations. */
static void sort_regions(const uint32_t *key, uint32_t count, uint8_t *ret_sorted)
{
	uint64_t room[2][GS_ID_MAX_REGION];
	uint64_t *from = room[0], *to = room[1];

	for (uint32_t i = 0; i < count; i++)
		from[i] = pack(key[i], i);
	for (uint32_t width = 1; width < count; width *= 2) {
		uint64_t *swap = from;

		for (uint32_t low = 0; low < count; low += 2 * width) {
			uint32_t middle = low + width < count ? low + width : count;
			uint32_t high = low + 2 * width < count ? low + 2 * width : count;

			merge(from, low, middle, high, to);
		}
		from = to;
		to = swap;
	}
	for (uint32_t i = 0; i < count; i++)
		ret_sorted[i] = (uint8_t)from[i];
}

/* The model's, or what facts say. True: of one region at least. */
static bool take_round_trips(struct gs_ranker *ranker, uint16_t id)
{
	const struct gs_rank_facts *facts = &ranker->facts;
	bool is_known = false;

	for (uint32_t i = 0; i < ranker->count; i++) {
		uint32_t us = ranker->knows_distance ? gs_model_round_trip_us(ranker->metres[i])
						     : GS_ROUND_TRIP_UNKNOWN;

		if (facts->round_trip_us)
			us = facts->round_trip_us(facts->self, id, &ranker->regions[i], us);
		ranker->round_trip_us[i] = us;
		is_known = is_known || us != GS_ROUND_TRIP_UNKNOWN;
	}
	return is_known;
}

void gs_ranker_move(struct gs_ranker *ranker, uint16_t id, const struct gs_location *location)
{
	const struct gs_rank_facts *facts = &ranker->facts;
	double from[3];

	ranker->knows_distance = location->has_coord;
	if (facts->move)
		facts->move(facts->self, id, location);
	if (location->has_coord) {
		unit_vector(&location->coord, from);
		for (uint32_t i = 0; i < ranker->count; i++)
			ranker->metres[i] = metres_between(from, ranker->vector[i]);
		sort_regions(ranker->metres, ranker->count, ranker->by_metres);
	}
	ranker->knows_round_trip = take_round_trips(ranker, id);
	/* The model never turns distances round. */
	if (facts->round_trip_us)
		sort_regions(ranker->round_trip_us, ranker->count, ranker->by_round_trip);
	else if (location->has_coord)
		memcpy(ranker->by_round_trip, ranker->by_metres, ranker->count);
}

/* ---- a policy made ready --------------------------------------------------------------------- */

static void take_criteria(struct gs_ranked_policy *ranked, const struct gs_policy *policy)
{
	uint8_t rank[GS_RANK_MAX];
	uint8_t count = gs_policy_rank(policy, rank);

	for (uint8_t c = 0; c < count; c++) {
		if (rank[c] == GS_BY_WEIGHT)
			ranked->shares = true;
		else
			ranked->rank[ranked->count++] = rank[c];
	}
	ranked->band_us = policy->band_ms * 1000u;
	ranked->band_percent = policy->band_percent;
}

static bool is_last_resort(const struct gs_ranked_policy *ranked, uint8_t index)
{
	return ranked->shares && ranked->weight[index] == 0;
}

static bool stands_before(const struct gs_ranked_policy *ranked, uint8_t a, uint8_t b)
{
	if (is_last_resort(ranked, a) != is_last_resort(ranked, b))
		return is_last_resort(ranked, b);
	return ranked->place[a] != ranked->place[b] ? ranked->place[a] < ranked->place[b] : a < b;
}

/* Keeps the members as they stand where all else is equal. */
static void add_member(struct gs_ranked_policy *ranked, uint8_t index)
{
	uint32_t at = ranked->member_count++;

	for (; at > 0 && stands_before(ranked, index, ranked->member[at - 1]); at--)
		ranked->member[at] = ranked->member[at - 1];
	ranked->member[at] = index;
}

void gs_ranked_policy_init(struct gs_ranked_policy *ranked, const struct gs_ranker *ranker,
			   const struct gs_policy *policy, const struct gs_region_set *candidates)
{
	memset(ranked, 0, sizeof(*ranked));
	take_criteria(ranked, policy);
	for (uint32_t i = 0; i < ranker->count; i++) {
		const struct gs_region *region = &ranker->regions[i];
		int place = gs_policy_place(policy, region->id);

		if (region->id == 0 || region->id > GS_ID_MAX_REGION ||
		    !gs_plan_region_allowed(region) ||
		    (candidates && !gs_region_set_has(candidates, region->id)))
			continue;
		ranked->place[i] = place < 0 ? (uint32_t)NOT_IN_ORDER : (uint32_t)place;
		ranked->bias[i] = place < 0 ? 0 : policy->bias[place];
		ranked->weight[i] = place < 0 ? 0 : policy->weight[place];
		ranked->has_bias = ranked->has_bias || ranked->bias[i] != 0;
		add_member(ranked, (uint8_t)i);
	}
}

/* ---- ranking --------------------------------------------------------------------------------- */

/* One ranking under way. key[c][index]: smaller is better. */
struct work {
	const struct gs_ranked_policy *ranked;
	struct gs_ranking *ranking;
	uint32_t count; /* criteria */
	uint8_t criterion[GS_RANK_MAX];
	const uint32_t *key[GS_RANK_MAX];
	const uint8_t *sorted[GS_RANK_MAX]; /* all regions by that key, or NULL */
	uint32_t region_count;
	int banded;	 /* the one that ties more than equals; -1: none */
	uint8_t behind;	 /* why the next one stands behind the last one */
	bool has_bucket; /* the first bucket is complete: what follows is not tied with it */
	uint32_t biased[GS_ID_MAX_REGION];
};

static bool is_full(const struct work *work)
{
	return work->ranking->count == GS_PLAN_REGIONS;
}

static void append(struct work *work, uint8_t index, uint8_t behind)
{
	struct gs_ranking *ranking = work->ranking;

	ranking->index[ranking->count] = index;
	ranking->behind[ranking->count] = behind;
	if (behind != GS_BEHIND_TIE && ranking->count > 0)
		work->has_bucket = true;
	ranking->count++;
	if (!work->has_bucket)
		ranking->tied = ranking->count;
}

/* The criterion from `first` on by which a is better than b; count: none is. */
static uint32_t better_by(const struct work *work, uint32_t first, uint8_t a, uint8_t b)
{
	for (uint32_t c = first; c < work->count; c++)
		if (work->key[c][a] != work->key[c][b])
			return work->key[c][a] < work->key[c][b] ? c : work->count;
	return work->count;
}

/* Sorted ones, each with what sets it behind the one before. */
static void append_best(struct work *work, const uint8_t *best, uint32_t count, uint32_t first)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t by = i ? better_by(work, first, best[i - 1], best[i]) : 0;
		uint8_t behind = by < work->count ? work->criterion[by] : (uint8_t)GS_BEHIND_TIE;

		append(work, best[i], i ? behind : work->behind);
	}
}

/*
 * Criteria from `first` on tie nothing but equals: one pass that keeps the best of the members,
 * those that come first staying before their equals.
 */
static void select_best(struct work *work, const uint8_t *members, uint32_t count, uint32_t first)
{
	uint32_t room = GS_PLAN_REGIONS - work->ranking->count, kept = 0;
	uint8_t best[GS_PLAN_REGIONS];

	/* Nothing tells them apart, or there is nobody to be told apart from. */
	if (first == work->count || count == 1) {
		for (uint32_t m = 0; m < count && m < room; m++)
			append(work, members[m], m ? (uint8_t)GS_BEHIND_TIE : work->behind);
		return;
	}
	for (uint32_t m = 0; m < count; m++) {
		uint32_t at = kept;

		if (kept == room &&
		    better_by(work, first, members[m], best[kept - 1]) == work->count)
			continue;
		if (kept == room)
			at--;
		else
			kept++;
		for (; at > 0 && better_by(work, first, members[m], best[at - 1]) < work->count;
		     at--)
			best[at] = best[at - 1];
		best[at] = members[m];
	}
	append_best(work, best, kept, first);
}

/* The worst key that is still tied with the best one. */
static uint32_t tied_up_to(const struct work *work, uint32_t c, uint32_t best)
{
	uint64_t band = 0;

	if ((int)c == work->banded) {
		band = (uint64_t)best * work->ranked->band_percent / 100;
		if (band < work->ranked->band_us)
			band = work->ranked->band_us;
	}
	if (best == GS_ROUND_TRIP_UNKNOWN || best + band >= GS_ROUND_TRIP_UNKNOWN)
		return best;
	return best + (uint32_t)band;
}

/* Below the worst of those that are kept; equal keys stay in the members' order. */
static void keep(uint64_t packed, uint64_t *best, uint32_t *kept)
{
	uint32_t at = *kept < GS_PLAN_REGIONS ? (*kept)++ : *kept - 1;

	for (; at > 0 && best[at - 1] > packed; at--)
		best[at] = best[at - 1];
	best[at] = packed;
}

/* The best by one criterion, sorted: as many as a plan can hold. Returns how many. */
static uint32_t take_best(const uint32_t *key, const uint8_t *members, uint32_t count,
			  uint64_t ret_best[GS_PLAN_REGIONS])
{
	uint32_t kept = 0;

	for (uint32_t m = 0; m < count; m++) {
		uint64_t packed = pack(key[members[m]], m);

		if (kept < GS_PLAN_REGIONS || packed < ret_best[kept - 1])
			keep(packed, ret_best, &kept);
	}
	return kept;
}

/* The same where all regions are sorted by the criterion. */
static uint32_t take_sorted(const uint32_t *key, const uint8_t *sorted, uint32_t region_count,
			    const uint8_t *members, uint32_t count,
			    uint64_t ret_best[GS_PLAN_REGIONS])
{
	uint8_t place[GS_ID_MAX_REGION];
	uint32_t kept = 0;

	memset(place, NOBODY, region_count);
	for (uint32_t m = 0; m < count; m++)
		place[members[m]] = (uint8_t)m;
	for (uint32_t i = 0; i < region_count; i++) {
		uint64_t packed = pack(key[sorted[i]], place[sorted[i]]);

		if (place[sorted[i]] == NOBODY)
			continue;
		if (kept == GS_PLAN_REGIONS && packed >> 8 > ret_best[kept - 1] >> 8)
			break;
		if (kept < GS_PLAN_REGIONS || packed < ret_best[kept - 1])
			keep(packed, ret_best, &kept);
	}
	return kept;
}

/* Sorted members best[0 .. count), back in the order they stand in. */
static void restore_order(const uint64_t *best, uint32_t count, const uint8_t *members,
			  uint8_t *ret_bucket)
{
	uint8_t places[GS_PLAN_REGIONS];

	for (uint32_t i = 0; i < count; i++) {
		uint8_t place = (uint8_t)best[i];
		uint32_t at = i;

		for (; at > 0 && places[at - 1] > place; at--)
			places[at] = places[at - 1];
		places[at] = place;
	}
	for (uint32_t i = 0; i < count; i++)
		ret_bucket[i] = members[places[i]];
}

/*
 * members: in the order of what stands first where all else is equal. A set of ties that ends
 * within the best is whole; one that reaches their end is looked for among all, and fills the plan.
 */
static void rank_members(struct work *work, const uint8_t *members, uint32_t count, uint32_t first)
{
	uint64_t best[GS_PLAN_REGIONS];
	uint8_t bucket[GS_ID_MAX_REGION];
	const uint32_t *key;
	uint32_t kept, next;

	if (first == work->count ||
	    ((int)first > work->banded && (count <= FEW || !work->sorted[first]))) {
		select_best(work, members, count, first);
		return;
	}
	key = work->key[first];
	kept = count > FEW && work->sorted[first]
		       ? take_sorted(key, work->sorted[first], work->region_count, members, count,
				     best)
		       : take_best(key, members, count, best);
	for (uint32_t i = 0; i < kept && !is_full(work); i = next) {
		uint32_t lowest = (uint32_t)(best[i] >> 8), in = 0;
		uint32_t limit = tied_up_to(work, first, lowest);

		for (next = i; next < kept && best[next] >> 8 <= limit; next++)
			;
		if (next < kept) {
			in = next - i;
			restore_order(best + i, in, members, bucket);
		} else {
			for (uint32_t m = 0; m < count; m++)
				if (key[members[m]] >= lowest && key[members[m]] <= limit)
					bucket[in++] = members[m];
		}
		/* As deep as there are criteria: GS_RANK_MAX. */
		rank_members(work, bucket, in, first + 1);
		work->behind = work->criterion[first];
	}
}

static const uint32_t *biased_metres(struct work *work, const struct gs_ranker *ranker)
{
	const struct gs_ranked_policy *ranked = work->ranked;

	if (!ranked->has_bias)
		return ranker->metres;
	for (uint32_t m = 0; m < ranked->member_count; m++) {
		uint8_t i = ranked->member[m];

		work->biased[i] = gs_biased_metres(ranker->metres[i], ranked->bias[i]);
	}
	return work->biased;
}

/* The keys of each criterion that says something here. */
static void take_keys(struct work *work, const struct gs_ranker *ranker)
{
	const struct gs_ranked_policy *ranked = work->ranked;

	work->banded = -1;
	work->region_count = ranker->count;
	for (uint8_t c = 0; c < ranked->count; c++) {
		const uint32_t *key = NULL;
		const uint8_t *sorted = NULL;

		switch (ranked->rank[c]) {
		case GS_BY_ORDER:
			key = ranked->place;
			break;
		case GS_BY_GEO:
			key = ranker->knows_distance ? biased_metres(work, ranker) : NULL;
			sorted = ranked->has_bias ? NULL : ranker->by_metres;
			break;
		case GS_BY_LATENCY:
			key = ranker->knows_round_trip ? ranker->round_trip_us : NULL;
			sorted = ranker->by_round_trip;
			if (key && (ranked->band_us || ranked->band_percent))
				work->banded = (int)work->count;
			break;
		case GS_BY_COST:
			key = ranker->cost;
			break;
		default:
			key = ranker->unreliable;
			break;
		}
		if (!key)
			continue;
		work->criterion[work->count] = ranked->rank[c];
		work->sorted[work->count] = sorted;
		work->key[work->count++] = key;
	}
}

/* An override's region, if it may be. */
static void put_first(struct work *work, const struct gs_ranker *ranker, uint8_t *members,
		      uint32_t *count, gs_id first)
{
	uint32_t left = 0;
	bool found = false;

	for (uint32_t m = 0; m < *count; m++) {
		if (ranker->regions[members[m]].id == first) {
			append(work, members[m], GS_BEHIND_TIE);
			found = true;
		} else {
			members[left++] = members[m];
		}
	}
	*count = left;
	if (found)
		work->behind = GS_BEHIND_OVERRIDE;
}

/* Those with a weight before those without; both as they stand. */
static uint32_t weighty_ones(const struct gs_ranked_policy *ranked, const uint8_t *members,
			     uint32_t count)
{
	uint32_t weighty = 0;

	while (weighty < count && !is_last_resort(ranked, members[weighty]))
		weighty++;
	return weighty;
}

void gs_rank(const struct gs_ranker *ranker, const struct gs_ranked_policy *ranked,
	     const struct gs_region_set *allowed, gs_id first, struct gs_ranking *ret_ranking)
{
	struct work work;
	uint8_t members[GS_ID_MAX_REGION];
	uint32_t count = 0, weighty;

	work.ranked = ranked;
	work.ranking = ret_ranking;
	work.count = 0;
	work.behind = GS_BEHIND_TIE;
	work.has_bucket = false;
	memset(ret_ranking, 0, sizeof(*ret_ranking));
	take_keys(&work, ranker);
	for (uint32_t m = 0; m < ranked->member_count; m++)
		if (!allowed || gs_region_set_has(allowed, ranker->regions[ranked->member[m]].id))
			members[count++] = ranked->member[m];
	if (first)
		put_first(&work, ranker, members, &count, first);
	weighty = weighty_ones(ranked, members, count);
	if (weighty > 0)
		rank_members(&work, members, weighty, 0);
	if (weighty > 0)
		work.behind = GS_BEHIND_WEIGHT;
	if (count > weighty && !is_full(&work))
		rank_members(&work, members + weighty, count - weighty, 0);
	for (uint8_t i = 0; ranked->shares && i < ret_ranking->tied; i++)
		ret_ranking->weight[i] = ranked->weight[ret_ranking->index[i]];
	if (!ranked->shares && ret_ranking->tied > 1)
		ret_ranking->tied = 1;
}
