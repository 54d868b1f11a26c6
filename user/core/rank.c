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

/* Keys beside each other, for comparing one with all of them. */
typedef int32_t keys __attribute__((vector_size(16)));
enum { KEYS = sizeof(keys) / sizeof(int32_t), KEY_BLOCKS = (GS_ID_MAX_REGION + KEYS) / KEYS };

/*
 * Sorts indices by their keys; equal ones stay as they stand. Each is compared with all, and goes
 * as far behind as there are smaller ones: more comparisons than a sort needs, but four at a time,
 * and no branch waits for one. A merge sort took nearly four times as long for 50 regions, and as
 * long for 255.
 */
static void sort_by(const uint32_t *key, uint8_t *indices, uint32_t count)
{
	union {
		keys block[KEY_BLOCKS];
		int32_t one[KEY_BLOCKS * KEYS];
	} from, smaller;
	uint8_t sorted[GS_ID_MAX_REGION], equal[GS_ID_MAX_REGION];

	memset(equal, 0, count);
	for (uint32_t i = 0; i < count; i++)
		from.one[i] = (int32_t)(key[indices[i]] ^ 1u << 31); /* in order with a sign, too */
	for (uint32_t b = 0; b * KEYS < count; b++) {
		keys found = {0};

		for (uint32_t i = 0; i < count; i++)
			found -= from.one[i] < from.block[b];
		smaller.block[b] = found;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = (uint32_t)smaller.one[i];

		sorted[at + equal[at]++] = indices[i];
	}
	memcpy(indices, sorted, count);
}

static void sort_regions(const uint32_t *key, uint32_t count, uint8_t *ret_sorted)
{
	for (uint32_t i = 0; i < count; i++)
		ret_sorted[i] = (uint8_t)i;
	sort_by(key, ret_sorted, count);
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
	sort_regions(ranker->cost, ranker->count, ranker->by_cost);
	sort_regions(ranker->unreliable, ranker->count, ranker->by_reliability);
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

static void add_bias(struct gs_ranked_policy *ranked, uint8_t index, int8_t bias)
{
	ranked->bias[index] = bias;
	ranked->biased[ranked->biased_count++] = index;
	if (bias > ranked->most_bias)
		ranked->most_bias = bias;
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
		ranked->weight[i] = place < 0 ? 0 : policy->weight[place];
		if (place >= 0 && policy->bias[place] != 0)
			add_bias(ranked, (uint8_t)i, policy->bias[place]);
		add_member(ranked, (uint8_t)i);
	}
	memset(ranked->standing, NOBODY, sizeof(ranked->standing));
	for (uint32_t m = 0; m < ranked->member_count; m++) {
		ranked->standing[ranked->member[m]] = (uint8_t)m;
		ranked->weighty_count += !is_last_resort(ranked, ranked->member[m]);
	}
}

/* ---- ranking --------------------------------------------------------------------------------- */

/* What members go by. key[index]: smaller is better. */
struct by {
	uint8_t criterion;
	bool is_biased; /* `sorted` does without the bias */
	const uint32_t *key;
	const uint8_t *sorted; /* indices by that key; all members are among them */
	uint32_t sorted_count;
};

/* One ranking under way. */
struct work {
	const struct gs_ranked_policy *ranked;
	const struct gs_ranker *ranker;
	struct gs_ranking *ranking;
	uint32_t count; /* criteria */
	struct by by[GS_RANK_MAX];
	int banded;	 /* the one that ties more than equals; -1: none */
	uint8_t behind;	 /* why the next one stands behind the last one */
	bool has_bucket; /* the first bucket is complete: what follows is not tied with it */
	uint32_t biased[GS_ID_MAX_REGION];
};

static void rank_set(struct work *work, const uint8_t *standing, uint32_t first);

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

/* The criterion from `first` on that tells them apart; work->count: none. */
static uint32_t told_apart_by(const struct work *work, uint32_t first, uint8_t a, uint8_t b)
{
	uint32_t c = first;

	while (c < work->count && work->by[c].key[a] == work->by[c].key[b])
		c++;
	return c;
}

static bool is_better(const struct work *work, uint32_t first, uint8_t a, uint8_t b)
{
	uint32_t c = told_apart_by(work, first, a, b);

	if (c == work->count)
		return work->ranked->standing[a] < work->ranked->standing[b];
	return work->by[c].key[a] < work->by[c].key[b];
}

/* Criteria from `first` on tie nothing but equals. Sorts the bucket. */
static void rank_few(struct work *work, uint8_t *bucket, uint32_t count, uint32_t first)
{
	for (uint32_t i = 1; i < count; i++) {
		uint8_t index = bucket[i];
		uint32_t at = i;

		for (; at > 0 && is_better(work, first, index, bucket[at - 1]); at--)
			bucket[at] = bucket[at - 1];
		bucket[at] = index;
	}
	append(work, bucket[0], work->behind);
	for (uint32_t i = 1; i < count && !is_full(work); i++) {
		uint32_t c = told_apart_by(work, first, bucket[i - 1], bucket[i]);

		append(work, bucket[i],
		       c < work->count ? work->by[c].criterion : (uint8_t)GS_BEHIND_TIE);
	}
}

/* Those of a set that are tied by all criteria before `first`. */
static void rank_bucket(struct work *work, uint8_t *bucket, uint32_t count, uint32_t first)
{
	uint8_t standing[GS_ID_MAX_REGION];

	if (count == 1) {
		append(work, bucket[0], work->behind);
		return;
	}
	if (count <= FEW && (int)first > work->banded) {
		rank_few(work, bucket, count, first);
		return;
	}
	memset(standing, NOBODY, work->ranker->count);
	for (uint32_t i = 0; i < count; i++)
		standing[bucket[i]] = work->ranked->standing[bucket[i]];
	/* As deep as there are criteria: GS_RANK_MAX. */
	rank_set(work, standing, first);
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

/* Nothing tells them apart. */
static void rank_ties(struct work *work, const uint8_t *standing)
{
	const struct gs_ranked_policy *ranked = work->ranked;

	for (uint32_t m = 0; m < ranked->member_count && !is_full(work); m++) {
		if (standing[ranked->member[m]] == NOBODY)
			continue;
		append(work, ranked->member[m], work->behind);
		work->behind = GS_BEHIND_TIE;
	}
}

/*
 * The best of the set by distances with their bias, and what is tied with them: as many as there is
 * room for. Once so many have been met, besides those that a bias repels, whoever is farther away
 * than the last of them even with the strongest bias is left out.
 */
static uint32_t sort_biased(const struct work *work, const uint8_t *standing, uint8_t *ret_sorted)
{
	const struct gs_ranked_policy *ranked = work->ranked;
	const struct gs_ranker *ranker = work->ranker;
	uint32_t room = GS_PLAN_REGIONS - work->ranking->count, count = 0, limit = UINT32_MAX;

	for (uint32_t i = 0; i < ranker->count; i++) {
		uint8_t index = ranker->by_metres[i];

		if (standing[index] == NOBODY)
			continue;
		if (room == 0 && gs_biased_metres(ranker->metres[index], ranked->most_bias) > limit)
			break;
		if (room > 0 && ranked->bias[index] >= 0 && --room == 0)
			limit = ranker->metres[index];
		ret_sorted[count++] = index;
	}
	sort_by(work->biased, ret_sorted, count);
	return count;
}

/*
 * standing: as the policy has it, of those in the set; of all others NOBODY. The best by the
 * criterion and what is tied with it, then the best of those behind it, until the plan is full.
 */
static void rank_set(struct work *work, const uint8_t *standing, uint32_t first)
{
	const struct by *by = &work->by[first];
	uint8_t bucket[GS_ID_MAX_REGION], biased[GS_ID_MAX_REGION];
	uint32_t sorted_count, in = 0, limit = 0;
	const uint8_t *sorted;

	if (first == work->count) {
		rank_ties(work, standing);
		return;
	}
	sorted = by->is_biased ? biased : by->sorted;
	sorted_count = by->is_biased ? sort_biased(work, standing, biased) : by->sorted_count;
	for (uint32_t i = 0; i < sorted_count; i++) {
		uint8_t index = sorted[i];

		if (standing[index] == NOBODY)
			continue;
		if (in > 0 && by->key[index] > limit) {
			rank_bucket(work, bucket, in, first + 1);
			if (is_full(work))
				return;
			work->behind = by->criterion;
			in = 0;
		}
		if (in == 0)
			limit = tied_up_to(work, first, by->key[index]);
		bucket[in++] = index;
	}
	if (in > 0)
		rank_bucket(work, bucket, in, first + 1);
}

static void bias_metres(struct work *work)
{
	const struct gs_ranked_policy *ranked = work->ranked;
	const uint32_t *metres = work->ranker->metres;

	memcpy(work->biased, metres, work->ranker->count * sizeof(*metres));
	for (uint32_t b = 0; b < ranked->biased_count; b++) {
		uint8_t i = ranked->biased[b];

		work->biased[i] = gs_biased_metres(metres[i], ranked->bias[i]);
	}
}

/* How a criterion ranks here. False: it says nothing. */
static bool take_criterion(struct work *work, uint8_t criterion, struct by *by)
{
	const struct gs_ranked_policy *ranked = work->ranked;
	const struct gs_ranker *ranker = work->ranker;

	*by = (struct by){.criterion = criterion, .sorted_count = ranker->count};
	switch (criterion) {
	case GS_BY_ORDER:
		by->key = ranked->place;
		by->sorted = ranked->member;
		by->sorted_count = ranked->member_count;
		return true;
	case GS_BY_GEO:
		by->is_biased = ranked->biased_count > 0;
		if (by->is_biased && ranker->knows_distance)
			bias_metres(work);
		by->key = by->is_biased ? work->biased : ranker->metres;
		by->sorted = ranker->by_metres;
		return ranker->knows_distance;
	case GS_BY_LATENCY:
		by->key = ranker->round_trip_us;
		by->sorted = ranker->by_round_trip;
		return ranker->knows_round_trip;
	case GS_BY_COST:
		by->key = ranker->cost;
		by->sorted = ranker->by_cost;
		return true;
	default:
		by->key = ranker->unreliable;
		by->sorted = ranker->by_reliability;
		return true;
	}
}

static void take_criteria_here(struct work *work)
{
	const struct gs_ranked_policy *ranked = work->ranked;

	work->banded = -1;
	work->count = 0;
	for (uint8_t c = 0; c < ranked->count; c++) {
		if (!take_criterion(work, ranked->rank[c], &work->by[work->count]))
			continue;
		if (ranked->rank[c] == GS_BY_LATENCY && (ranked->band_us || ranked->band_percent))
			work->banded = (int)work->count;
		work->count++;
	}
}

/* The policy's members but those that may not be, and but an override's region, which is put
 * first. */
static void take_set(struct work *work, const struct gs_region_set *allowed, gs_id first,
		     uint8_t *ret_standing)
{
	const struct gs_ranked_policy *ranked = work->ranked;

	memcpy(ret_standing, ranked->standing, work->ranker->count);
	for (uint32_t m = 0; m < ranked->member_count; m++) {
		uint8_t index = ranked->member[m];
		gs_id id = work->ranker->regions[index].id;

		if (allowed && !gs_region_set_has(allowed, id)) {
			ret_standing[index] = NOBODY;
		} else if (id == first) {
			ret_standing[index] = NOBODY;
			append(work, index, GS_BEHIND_TIE);
			work->behind = GS_BEHIND_OVERRIDE;
		}
	}
}

/* Those with a weight before those without. */
static void rank_by_turns(struct work *work, const uint8_t *standing)
{
	uint8_t placed = work->ranking->count;
	uint8_t some[GS_ID_MAX_REGION];

	for (uint32_t i = 0; i < work->ranker->count; i++)
		some[i] = standing[i] < work->ranked->weighty_count ? standing[i] : (uint8_t)NOBODY;
	rank_set(work, some, 0);
	if (work->ranking->count > placed)
		work->behind = GS_BEHIND_WEIGHT;
	for (uint32_t i = 0; i < work->ranker->count; i++)
		some[i] = standing[i] < work->ranked->weighty_count ? (uint8_t)NOBODY : standing[i];
	if (!is_full(work))
		rank_set(work, some, 0);
}

void gs_rank(const struct gs_ranker *ranker, const struct gs_ranked_policy *ranked,
	     const struct gs_region_set *allowed, gs_id first, struct gs_ranking *ret_ranking)
{
	struct work work;
	uint8_t some[GS_ID_MAX_REGION];
	const uint8_t *standing = ranked->standing;

	work.ranked = ranked;
	work.ranker = ranker;
	work.ranking = ret_ranking;
	work.behind = GS_BEHIND_TIE;
	work.has_bucket = false;
	memset(ret_ranking, 0, sizeof(*ret_ranking));
	take_criteria_here(&work);
	if (allowed || first) {
		take_set(&work, allowed, first, some);
		standing = some;
	}
	if (ranked->weighty_count < ranked->member_count)
		rank_by_turns(&work, standing);
	else
		rank_set(&work, standing, 0);
	for (uint8_t i = 0; ranked->shares && i < ret_ranking->tied; i++)
		ret_ranking->weight[i] = ranked->weight[ret_ranking->index[i]];
	if (!ranked->shares && ret_ranking->tied > 1)
		ret_ranking->tied = 1;
}
