/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/geo.h"
#include "user/core/plan.h"
#include "user/core/policy.h"
#include "user/core/random.h"
#include "user/core/rank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- formulas -------------------------------------------------------------------------------- */

static void nines(void **state)
{
	static const struct {
		double percent;
		uint8_t want;
	} cases[] = {{0, 0},	 {50, 0},     {89.9, 0},  {90, 1},	{99, 2},      {99.5, 2},
		     {99.9, 3},	 {99.95, 3},  {99.98, 3}, {99.99, 4},	{99.999, 5},  {99.9999, 6},
		     {99.89, 2}, {99.989, 3}, {100, 9},	  {99.9989, 4}, {99.99999, 7}};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (gs_nines(cases[i].percent) != cases[i].want)
			fail_msg("%g: %d nines, want %d", cases[i].percent,
				 gs_nines(cases[i].percent), cases[i].want);
}

static void model(void **state)
{
	(void)state;
	assert_int_equal(gs_model_round_trip_us(0), 1000);
	assert_int_equal(gs_model_round_trip_us(99999), 1000);
	assert_int_equal(gs_model_round_trip_us(100000), 1000);
	assert_int_equal(gs_model_round_trip_us(100100), 1001);
	assert_int_equal(gs_model_round_trip_us(6211000), 62110); /* 6,211 km: 62.11 ms */
	for (uint32_t km = 1; km < 20016; km++)
		assert_true(gs_model_round_trip_us(km * 1000) >=
			    gs_model_round_trip_us((km - 1) * 1000));
}

/* Falls from end to end, crosses 0 nowhere, and from one percent to the next makes no jump. */
static void bias_is_continuous(void **state)
{
	const uint32_t metres = 10000000;
	(void)state;

	assert_int_equal(gs_biased_metres(metres, 0), metres);
	assert_int_equal(gs_biased_metres(metres, 50), metres / 2);
	assert_int_equal(gs_biased_metres(metres, -50), metres * 2);
	assert_int_equal(gs_biased_metres(metres, 99), metres / 100);
	assert_int_equal(gs_biased_metres(metres, -99), metres * 100);
	assert_int_equal(gs_biased_metres(20015115, -99), 2001511500);
	for (int bias = -98; bias <= 99; bias++) {
		double before = gs_biased_metres(metres, bias - 1);
		double now = gs_biased_metres(metres, bias);

		assert_true(now > 0 && now < before);
		assert_true(before / now < 2.01); /* 2: from -99 to -98, and from 98 to 99 */
		if (bias >= -9 && bias <= 9)
			assert_true(before / now < 1.12);
	}
}

static void ranks_of_kinds(void **state)
{
	uint8_t rank[GS_RANK_MAX];
	struct gs_policy policy = {
		.kind = GS_POLICY_RANKED, .rank_count = 2, .rank = {GS_BY_COST, GS_BY_WEIGHT}};
	(void)state;

	for (int kind = 0; kind < GS_POLICY_RANKED; kind++) {
		struct gs_policy preset = {.kind = (enum gs_policy_kind)kind};
		uint8_t count = gs_policy_rank(&preset, rank);

		assert_null(gs_rank_error(rank, count));
	}
	assert_int_equal(gs_policy_rank(&policy, rank), 2);
	assert_int_equal(rank[1], GS_BY_WEIGHT);
	for (int i = 0; i < GS_BY__COUNT; i++) {
		enum gs_criterion parsed;

		assert_int_equal(
			gs_criterion_parse(gs_criterion_name((enum gs_criterion)i), &parsed), 0);
		assert_int_equal(parsed, i);
	}
	assert_true(gs_criterion_parse("distance", &(enum gs_criterion){0}) < 0);
	assert_non_null(gs_rank_error((uint8_t[]){GS_BY_GEO}, 0));
	assert_non_null(gs_rank_error((uint8_t[]){GS_BY_GEO, GS_BY_GEO}, 2));
	assert_non_null(gs_rank_error((uint8_t[]){GS_BY_WEIGHT, GS_BY_GEO}, 2));
	assert_non_null(gs_rank_error((uint8_t[]){GS_BY__COUNT}, 1));
	assert_non_null(gs_rank_error((uint8_t[]){0, 1, 2, 3, 4}, 5));
}

/* ---- the example of docs/steering.md --------------------------------------------------------- */

enum { FRA = 1, AMS = 2, IAD = 3, SIN = 4 };

static const struct gs_region EXAMPLE[] = {
	{.id = FRA, .name = "fra", .coord = {50.11, 8.68}, .cost = 0.05, .availability = 99.99},
	{.id = AMS, .name = "ams", .coord = {52.37, 4.90}, .cost = 0.02, .availability = 99.9},
	{.id = IAD, .name = "iad", .coord = {39.04, -77.49}, .cost = 0.01, .availability = 99.95},
	{.id = SIN, .name = "sin", .coord = {1.35, 103.82}, .cost = 0.04, .availability = 99.99},
};
static const struct gs_location MUNICH = {.has_coord = true, .coord = {48.14, 11.58}};

struct example {
	const char *name;
	struct gs_policy policy;
	bool unknown;
	gs_id first;
	uint8_t count;
	gs_id want[4];
	uint8_t behind[4];
	uint16_t share[4]; /* all 0: all to the first */
};

#define ORDER .order_count = 4, .order = {FRA, AMS, IAD, SIN}
#define RANK(n, ...) .kind = GS_POLICY_RANKED, .rank_count = (n), .rank = {__VA_ARGS__}
#define BANDS(ms, percent) .band_ms = (ms), .band_percent = (percent)

static const struct example EXAMPLES[] = {
	{"geo",
	 {.kind = GS_POLICY_GEO, ORDER},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_GEO, GS_BEHIND_GEO, GS_BEHIND_GEO},
	 {0}},
	{"bias 60 draws Munich to Amsterdam",
	 {.kind = GS_POLICY_GEO, ORDER, .bias = {0, 60}},
	 false,
	 0,
	 4,
	 {AMS, FRA, IAD, SIN},
	 {0, GS_BEHIND_GEO, GS_BEHIND_GEO, GS_BEHIND_GEO},
	 {0}},
	{"bias -60 repels from Frankfurt",
	 {.kind = GS_POLICY_GEO, ORDER, .bias = {-60}},
	 false,
	 0,
	 4,
	 {AMS, FRA, IAD, SIN},
	 {0, GS_BEHIND_GEO, GS_BEHIND_GEO, GS_BEHIND_GEO},
	 {0}},
	{"failover",
	 {.kind = GS_POLICY_FAILOVER, .order_count = 2, .order = {SIN, IAD}},
	 false,
	 0,
	 4,
	 {SIN, IAD, FRA, AMS},
	 {0, GS_BEHIND_ORDER, GS_BEHIND_ORDER, GS_BEHIND_TIE},
	 {0}},
	{"latency: 3.04 and 6.68 ms are tied, the nearer one first",
	 {.kind = GS_POLICY_LATENCY, ORDER, BANDS(5, 10)},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_GEO, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY},
	 {0}},
	{"cost: the cheapest of those tied by latency",
	 {.kind = GS_POLICY_COST, ORDER, BANDS(5, 10)},
	 false,
	 0,
	 4,
	 {AMS, FRA, IAD, SIN},
	 {0, GS_BEHIND_COST, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY},
	 {0}},
	{"cost within a budget of 70 ms",
	 {.kind = GS_POLICY_COST, ORDER, BANDS(70, 0)},
	 false,
	 0,
	 4,
	 {IAD, AMS, FRA, SIN},
	 {0, GS_BEHIND_COST, GS_BEHIND_COST, GS_BEHIND_LATENCY},
	 {0}},
	{"cost without a band: by latency",
	 {.kind = GS_POLICY_COST, ORDER},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY},
	 {0}},
	{"cost alone",
	 {RANK(1, GS_BY_COST), ORDER},
	 false,
	 0,
	 4,
	 {IAD, AMS, SIN, FRA},
	 {0, GS_BEHIND_COST, GS_BEHIND_COST, GS_BEHIND_COST},
	 {0}},
	{"availability: four nines, then three; the nearer one first",
	 {.kind = GS_POLICY_AVAILABILITY, ORDER},
	 false,
	 0,
	 4,
	 {FRA, SIN, AMS, IAD},
	 {0, GS_BEHIND_GEO, GS_BEHIND_AVAILABILITY, GS_BEHIND_GEO},
	 {0}},
	{"weighted: half, 30 %, 20 %, and one for when they are gone",
	 {.kind = GS_POLICY_WEIGHTED, ORDER, .weight = {50, 30, 20, 0}},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_TIE, GS_BEHIND_TIE, GS_BEHIND_WEIGHT},
	 {32767, 52427, 65535, 65535}},
	{"weights among what is tied by latency",
	 {RANK(2, GS_BY_LATENCY, GS_BY_WEIGHT), ORDER, BANDS(5, 10),
	  .weight = {100, 300, 100, 100}},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_TIE, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY},
	 {16383, 65535, 65535, 65535}},
	{"a weight of 0 is a last resort, however near",
	 {RANK(2, GS_BY_LATENCY, GS_BY_WEIGHT), ORDER, BANDS(5, 10), .weight = {0, 100, 100, 100}},
	 false,
	 0,
	 4,
	 {AMS, IAD, SIN, FRA},
	 {0, GS_BEHIND_LATENCY, GS_BEHIND_LATENCY, GS_BEHIND_WEIGHT},
	 {0}},
	{"all weights 0: alike",
	 {.kind = GS_POLICY_WEIGHTED, .order_count = 2, .order = {FRA, AMS}},
	 false,
	 0,
	 4,
	 {FRA, AMS, IAD, SIN},
	 {0, GS_BEHIND_TIE, GS_BEHIND_TIE, GS_BEHIND_TIE},
	 {16383, 32767, 49151, 65535}},
	{"order, then nothing",
	 {RANK(1, GS_BY_ORDER), .order_count = 3, .order = {IAD, FRA, AMS}},
	 false,
	 0,
	 4,
	 {IAD, FRA, AMS, SIN},
	 {0, GS_BEHIND_ORDER, GS_BEHIND_ORDER, GS_BEHIND_ORDER},
	 {0}},
	{"unknown location: latency and distance say nothing, cost does",
	 {.kind = GS_POLICY_COST, ORDER, BANDS(5, 10)},
	 true,
	 0,
	 4,
	 {IAD, AMS, SIN, FRA},
	 {0, GS_BEHIND_COST, GS_BEHIND_COST, GS_BEHIND_COST},
	 {0}},
	{"unknown location: the order",
	 {.kind = GS_POLICY_LATENCY, .order_count = 2, .order = {SIN, AMS}},
	 true,
	 0,
	 4,
	 {SIN, AMS, FRA, IAD},
	 {0, GS_BEHIND_TIE, GS_BEHIND_TIE, GS_BEHIND_TIE},
	 {0}},
	{"an override, then the policy",
	 {.kind = GS_POLICY_WEIGHTED, ORDER, .weight = {50, 50, 0, 0}},
	 false,
	 SIN,
	 4,
	 {SIN, FRA, AMS, IAD},
	 {0, GS_BEHIND_OVERRIDE, GS_BEHIND_TIE, GS_BEHIND_WEIGHT},
	 {0}},
};

static void check_example(const struct example *e)
{
	static const struct gs_location nowhere;
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;
	struct gs_plan plan;

	gs_ranker_init(&ranker, EXAMPLE, ARRAY_SIZE(EXAMPLE), NULL);
	gs_ranker_move(&ranker, 0, e->unknown ? &nowhere : &MUNICH);
	gs_ranked_policy_init(&ranked, &ranker, &e->policy, NULL);
	gs_rank(&ranker, &ranked, NULL, e->first, &ranking);
	gs_plan_from_ranking(&ranker, &ranking, &plan);
	assert_int_equal(plan.count, e->count);
	for (int i = 0; i < e->count; i++) {
		if (plan.region[i] != e->want[i])
			fail_msg("%s: [%d] is region %d, want %d", e->name, i, plan.region[i],
				 e->want[i]);
		if (i > 0 && ranking.behind[i] != e->behind[i])
			fail_msg("%s: [%d] is behind by %d, want %d", e->name, i, ranking.behind[i],
				 e->behind[i]);
		if (plan.share[i] != (e->share[e->count - 1] ? e->share[i] : 65535))
			fail_msg("%s: [%d] has share %d", e->name, i, plan.share[i]);
	}
}

static void examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(EXAMPLES); i++)
		check_example(&EXAMPLES[i]);
}

/* The figures of the page's table. */
static void example_figures(void **state)
{
	static const uint32_t km[] = {304, 668, 6836, 10062};
	static const uint32_t us[] = {3040, 6680, 68360, 100620};
	struct gs_ranker ranker;
	(void)state;

	gs_ranker_init(&ranker, EXAMPLE, ARRAY_SIZE(EXAMPLE), NULL);
	gs_ranker_move(&ranker, 0, &MUNICH);
	for (int i = 0; i < 4; i++) {
		if (lround(ranker.metres[i] / 1000.0) != km[i] ||
		    lround(ranker.round_trip_us[i] / 10.0) * 10 != us[i])
			fail_msg("%s: %u m, %u us", EXAMPLE[i].name, ranker.metres[i],
				 ranker.round_trip_us[i]);
		assert_true(fabs(ranker.metres[i] / 1000.0 -
				 gs_geo_distance_km(&MUNICH.coord, &EXAMPLE[i].coord)) < 0.001);
	}
}

static void fences_and_facts(void **state)
{
	struct gs_policy policy = {.kind = GS_POLICY_GEO, ORDER};
	struct gs_region_set allowed = {{0}}, none = {{0}};
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;
	(void)state;

	gs_region_set_add(&allowed, IAD);
	gs_region_set_add(&allowed, SIN);
	gs_ranker_init(&ranker, EXAMPLE, ARRAY_SIZE(EXAMPLE), NULL);
	gs_ranker_move(&ranker, 0, &MUNICH);
	gs_ranked_policy_init(&ranked, &ranker, &policy, NULL);
	gs_rank(&ranker, &ranked, &allowed, FRA, &ranking); /* an override to what may not be */
	assert_int_equal(ranking.count, 2);
	assert_int_equal(EXAMPLE[ranking.index[0]].id, IAD);
	gs_rank(&ranker, &ranked, &none, FRA, &ranking);
	assert_int_equal(ranking.count, 0);
}

/* ---- measured facts -------------------------------------------------------------------------- */

static uint32_t measured_us(void *self, uint16_t id, const struct gs_region *region,
			    uint32_t model_us)
{
	const uint32_t *us = self;

	assert_int_equal(model_us, GS_ROUND_TRIP_UNKNOWN);

	assert_int_equal(id, 7);
	return us[region->id - 1];
}

static void facts_come_first(void **state)
{
	uint32_t us[] = {90000, 20000, 23000, GS_ROUND_TRIP_UNKNOWN};
	const struct gs_rank_facts facts = {.self = us, .round_trip_us = measured_us};
	static const struct gs_location nowhere;
	struct gs_policy policy = {.kind = GS_POLICY_COST, ORDER, BANDS(5, 10)};
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;
	(void)state;

	gs_ranker_init(&ranker, EXAMPLE, ARRAY_SIZE(EXAMPLE), &facts);
	gs_ranker_move(&ranker, 7, &nowhere); /* what is measured needs no coordinates */
	gs_ranked_policy_init(&ranked, &ranker, &policy, NULL);
	gs_rank(&ranker, &ranked, NULL, 0, &ranking);
	assert_int_equal(EXAMPLE[ranking.index[0]].id, IAD);
	assert_int_equal(EXAMPLE[ranking.index[1]].id, AMS);
	assert_int_equal(EXAMPLE[ranking.index[2]].id, FRA);
	assert_int_equal(EXAMPLE[ranking.index[3]].id, SIN);
	assert_int_equal(ranking.behind[3], GS_BEHIND_LATENCY);
}

/* ---- against brute force --------------------------------------------------------------------- */

struct slow {
	const struct gs_region *regions;
	const struct gs_policy *policy;
	const struct gs_location *location;
	const double *round_trip_ms; /* of each region, or NULL: the model's */
	bool knows_round_trip;
	uint8_t rank[GS_RANK_MAX];
	uint8_t count;
	double value[GS_BY__COUNT][GS_ID_MAX_REGION]; /* by criterion; smaller is better */
	uint32_t out[GS_ID_MAX_REGION];
	uint8_t behind[GS_ID_MAX_REGION];
	uint32_t out_count;
};

/* As the page says it, in floating point, of whole metres and microseconds. */
static double value_of(const struct slow *slow, uint8_t criterion, uint32_t i)
{
	const struct gs_region *region = &slow->regions[i];
	int place = gs_policy_place(slow->policy, region->id);
	double metres =
		slow->location->has_coord
			? round(1000 * gs_geo_distance_km(&slow->location->coord, &region->coord))
			: 0;
	int bias = place < 0 ? 0 : slow->policy->bias[place];

	switch (criterion) {
	case GS_BY_ORDER:
		return place < 0 ? 1000 : place;
	case GS_BY_GEO:
		return floor(bias > 0 ? metres * (100 - bias) / 100 : metres * 100 / (100 + bias));
	case GS_BY_LATENCY:
		if (slow->round_trip_ms)
			return slow->round_trip_ms[i];
		return slow->location->has_coord ? fmax(1000, floor(metres / 100)) / 1000 : 0;
	case GS_BY_COST:
		return region->cost;
	default:
		return -gs_nines(region->availability);
	}
}

static void take(struct slow *slow, uint32_t i, uint8_t behind)
{
	slow->behind[slow->out_count] = behind;
	slow->out[slow->out_count++] = i;
}

/* By order, then id. */
static void take_ties(struct slow *slow, uint32_t *set, uint32_t n, uint8_t behind)
{
	for (; n > 0; n--) {
		uint32_t first = 0;

		for (uint32_t i = 1; i < n; i++)
			if (slow->value[GS_BY_ORDER][set[i]] < slow->value[GS_BY_ORDER][set[first]])
				first = i;
		take(slow, set[first], behind);
		behind = GS_BEHIND_TIE;
		memmove(&set[first], &set[first + 1], (n - first - 1) * sizeof(*set));
	}
}

/* Everybody's bucket by each criterion, one after the other, from the whole set to its parts. */
static void split(struct slow *slow, uint32_t *set, uint32_t n, uint32_t c, uint8_t behind)
{
	if (c == slow->count) {
		take_ties(slow, set, n, behind);
		return;
	}
	while (n > 0) {
		uint32_t bucket[GS_ID_MAX_REGION], in = 0, left = 0;
		const double *value = slow->value[slow->rank[c]];
		double best = 1e300, band = 0;

		for (uint32_t i = 0; i < n; i++)
			best = fmin(best, value[set[i]]);
		if (slow->rank[c] == GS_BY_LATENCY && slow->knows_round_trip)
			band = fmax(slow->policy->band_ms, best * slow->policy->band_percent / 100);
		for (uint32_t i = 0; i < n; i++) {
			if (value[set[i]] <= best + band)
				bucket[in++] = set[i];
			else
				set[left++] = set[i];
		}
		split(slow, bucket, in, c + 1, behind);
		behind = slow->rank[c];
		n = left;
	}
}

/* True: weights share the clients of those that are tied. */
static bool rank_slowly(struct slow *slow, uint32_t count, const struct gs_region_set *allowed,
			gs_id first)
{
	uint32_t sets[2][GS_ID_MAX_REGION], n[2] = {0, 0};
	uint8_t rank[GS_RANK_MAX], behind = GS_BEHIND_TIE;
	uint8_t criteria = gs_policy_rank(slow->policy, rank);
	bool shares = false;

	slow->count = 0;
	slow->out_count = 0;
	for (uint8_t c = 0; c < criteria; c++) {
		if (rank[c] == GS_BY_WEIGHT)
			shares = true;
		else
			slow->rank[slow->count++] = rank[c];
	}
	for (uint32_t i = 0; i < count; i++) {
		int place = gs_policy_place(slow->policy, slow->regions[i].id);
		bool last = shares && (place < 0 || slow->policy->weight[place] == 0);

		for (uint8_t c = 0; c < GS_BY_WEIGHT; c++)
			slow->value[c][i] = value_of(slow, c, i);
		if (!gs_plan_region_allowed(&slow->regions[i]) ||
		    (allowed && !gs_region_set_has(allowed, slow->regions[i].id)))
			continue;
		if (slow->regions[i].id == first) {
			take(slow, i, GS_BEHIND_TIE);
			behind = GS_BEHIND_OVERRIDE;
		} else {
			sets[last][n[last]++] = i;
		}
	}
	split(slow, sets[0], n[0], 0, behind);
	split(slow, sets[1], n[1], 0, n[0] ? (uint8_t)GS_BEHIND_WEIGHT : behind);
	return shares;
}

static double between(uint64_t *seed, double low, double high)
{
	return low + (high - low) * ((double)(gs_random(seed) >> 11) / (double)(1ULL << 53));
}

/* From none to bias_most either way, and only such as draw or such as repel, too. */
static int8_t draw_bias(uint64_t *seed, int bias_most, int sign)
{
	int bias = (int)(gs_random(seed) % (2 * (uint32_t)bias_most + 1)) - bias_most;

	if (gs_random(seed) % 3)
		return 0;
	return (int8_t)(sign ? sign * abs(bias) : bias);
}

static void draw_policy(uint64_t *seed, const struct gs_region *regions, uint32_t count,
			struct gs_policy *policy)
{
	int bias_most = gs_random(seed) % 2 ? 99 : 20, sign = (int)(gs_random(seed) % 3) - 1;

	*policy = (struct gs_policy){
		.kind = (enum gs_policy_kind)(gs_random(seed) % GS_POLICY__COUNT)};
	while (policy->kind == GS_POLICY_RANKED &&
	       gs_rank_error(policy->rank, policy->rank_count)) {
		policy->rank_count = (uint8_t)(1 + gs_random(seed) % GS_RANK_MAX);
		for (int c = 0; c < policy->rank_count; c++)
			policy->rank[c] = (uint8_t)(gs_random(seed) % GS_BY__COUNT);
	}
	policy->band_ms = (uint16_t)(gs_random(seed) % 3 ? gs_random(seed) % 60 : 0);
	policy->band_percent = (uint8_t)(gs_random(seed) % 3 ? gs_random(seed) % 40 : 0);
	for (uint32_t i = 0; i < count && policy->order_count < GS_POLICY_ORDER_MAX; i++) {
		uint32_t at = policy->order_count;

		if (gs_random(seed) % 2)
			continue;
		gs_policy_add(policy, regions[count - 1 - i].id);
		policy->weight[at] = (uint16_t)(gs_random(seed) % 4 * 100);
		policy->bias[at] = draw_bias(seed, bias_most, sign);
	}
}

/* One time in 16 as many as there may be. */
static uint32_t draw_regions(uint64_t *seed, struct gs_region *regions)
{
	bool many = gs_random(seed) % 16 == 0;
	uint32_t count = many ? GS_ID_MAX_REGION : (uint32_t)(gs_random(seed) % 60);
	gs_id id = 0;

	for (uint32_t i = 0; i < count; i++) {
		id = (gs_id)(id + 1 + (many ? 0 : gs_random(seed) % 4));
		regions[i] = (struct gs_region){
			.id = id,
			.coord = {between(seed, -90, 90), between(seed, -180, 180)},
			.cost = (double)(gs_random(seed) % 4) / 100,
			.availability = gs_random(seed) % 3 ? 99.9 : 99.99,
		};
		if (gs_random(seed) % 6 == 0)
			regions[i].admin = GS_ADMIN_MAINTENANCE;
		if (i > 0 && gs_random(seed) % 6 == 0)
			regions[i].coord = regions[i - 1].coord;
	}
	return count;
}

/* Round trips that have nothing to do with distances; many are equal, some are not known. */
static uint32_t drawn_us(void *self, uint16_t id, const struct gs_region *region, uint32_t model_us)
{
	uint64_t seed = *(const uint64_t *)self + id * 1000u + region->id, draw = gs_random(&seed);

	(void)model_us;
	return id == 0 || draw % 4 == 0 ? GS_ROUND_TRIP_UNKNOWN : (uint32_t)(draw / 4 % 40) * 5000;
}

static void check_ranking(const struct slow *slow, bool shares, const struct gs_ranking *ranking,
			  uint64_t round)
{
	uint32_t n = slow->out_count, tied = 1;

	assert_int_equal(ranking->count, n < GS_PLAN_REGIONS ? n : GS_PLAN_REGIONS);
	for (uint32_t i = 0; i < ranking->count; i++) {
		if (ranking->index[i] != slow->out[i])
			fail_msg("seed %llu: [%u] is %u, want %u", (unsigned long long)round, i,
				 ranking->index[i], slow->out[i]);
		if (i > 0 && ranking->behind[i] != slow->behind[i])
			fail_msg("seed %llu: [%u] is behind by %u, want %u",
				 (unsigned long long)round, i, ranking->behind[i], slow->behind[i]);
	}
	while (shares && tied < ranking->count && slow->behind[tied] == GS_BEHIND_TIE)
		tied++;
	assert_int_equal(ranking->tied, ranking->count ? tied : 0);
}

/* One policy at the place a ranker has been moved to: fences and an override are drawn. */
static void rank_both_ways(uint64_t *seed, const struct gs_ranker *ranker, struct slow *slow,
			   uint64_t round)
{
	struct gs_region_set allowed = {{0}};
	bool is_fenced = gs_random(seed) % 2;
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_policy policy;
	gs_id first = 0;
	bool shares;

	draw_policy(seed, slow->regions, ranker->count, &policy);
	for (uint32_t i = 0; i < ranker->count; i++)
		if (gs_random(seed) % 5)
			gs_region_set_add(&allowed, slow->regions[i].id);
	if (ranker->count && gs_random(seed) % 4 == 0)
		first = slow->regions[gs_random(seed) % ranker->count].id;
	slow->policy = &policy;
	shares = rank_slowly(slow, ranker->count, is_fenced ? &allowed : NULL, first);
	gs_ranked_policy_init(&ranked, ranker, &policy, NULL);
	gs_rank(ranker, &ranked, is_fenced ? &allowed : NULL, first, &ranking);
	check_ranking(slow, shares, &ranking, round);
}

/* A ranker goes from place to place: nothing of the one before may stay. */
static void agrees_with_brute_force(void **state)
{
	static struct gs_region regions[GS_ID_MAX_REGION];
	static double round_trip_ms[GS_ID_MAX_REGION];
	(void)state;

	for (uint64_t round = 1; round <= 2000; round++) {
		uint64_t seed = round, facts_seed = round << 32;
		const struct gs_rank_facts facts = {.self = &facts_seed, .round_trip_us = drawn_us};
		uint32_t count = draw_regions(&seed, regions);
		bool has_facts = gs_random(&seed) % 3 == 0;
		struct gs_ranker ranker;

		gs_ranker_init(&ranker, regions, count, has_facts ? &facts : NULL);
		for (uint16_t place = 0; place < 3; place++) {
			struct gs_location location = {.has_coord = gs_random(&seed) % 6 != 0};
			struct slow slow = {.regions = regions, .location = &location};

			location.coord.lat_deg = between(&seed, -90, 90);
			location.coord.lon_deg = between(&seed, -180, 180);
			slow.round_trip_ms = has_facts ? round_trip_ms : NULL;
			slow.knows_round_trip = !has_facts && location.has_coord;
			for (uint32_t i = 0; has_facts && i < count; i++) {
				uint32_t us = drawn_us(&facts_seed, place, &regions[i], 0);

				round_trip_ms[i] = us == GS_ROUND_TRIP_UNKNOWN ? 1e9 : us / 1000.0;
				slow.knows_round_trip |= us != GS_ROUND_TRIP_UNKNOWN;
			}
			gs_ranker_move(&ranker, place, &location);
			rank_both_ways(&seed, &ranker, &slow, round);
			rank_both_ways(&seed, &ranker, &slow, round);
		}
	}
}

/* ---- shares ---------------------------------------------------------------------------------- */

static struct gs_plan shared_by(const uint16_t *weight, uint8_t count)
{
	static const struct gs_location nowhere;
	struct gs_region regions[GS_POLICY_ORDER_MAX];
	struct gs_policy policy = {.kind = GS_POLICY_WEIGHTED};
	struct gs_plan plan;

	for (uint8_t i = 0; i < count; i++) {
		regions[i] = (struct gs_region){.id = (gs_id)(i + 1)};
		gs_policy_add(&policy, regions[i].id);
		policy.weight[i] = weight[i];
	}
	gs_plan_make(&policy, &nowhere, regions, count, NULL, &plan);
	return plan;
}

static gs_id region_of_slot(const struct gs_plan *plan, uint32_t slot)
{
	bool usable[GS_PLAN_REGIONS];

	memset(usable, true, sizeof(usable));
	return plan->region[gs_plan_pick(plan, usable, slot)];
}

/* Each has what its weight says, to a slot. */
static void shares_follow_weights(void **state)
{
	(void)state;
	for (uint64_t round = 1; round <= 300; round++) {
		uint64_t seed = round;
		uint8_t count = (uint8_t)(1 + gs_random(&seed) % GS_POLICY_ORDER_MAX);
		uint32_t slots[GS_POLICY_ORDER_MAX + 1] = {0}, total = 0;
		uint16_t weight[GS_POLICY_ORDER_MAX];
		struct gs_plan plan;

		for (uint8_t i = 0; i < count; i++) {
			weight[i] = (uint16_t)(1 + gs_random(&seed) % GS_POLICY_WEIGHT_MAX);
			total += weight[i];
		}
		plan = shared_by(weight, count);
		for (uint32_t slot = 0; slot < 65536; slot++)
			slots[region_of_slot(&plan, slot)]++;
		for (uint8_t i = 0; i < count; i++)
			assert_true(fabs(slots[i + 1] - 65536.0 * weight[i] / total) <= 1.0);
	}
}

/* Of two regions nobody moves who need not; of more, never more than the borders do. */
static void a_change_moves_few(void **state)
{
	(void)state;
	for (uint64_t round = 1; round <= 300; round++) {
		uint64_t seed = round;
		uint8_t count = (uint8_t)(2 + gs_random(&seed) % 4), changed;
		uint16_t weight[GS_POLICY_ORDER_MAX];
		uint32_t moved = 0, before = 0, after = 0;
		struct gs_plan a, b;

		for (uint8_t i = 0; i < count; i++)
			weight[i] = (uint16_t)(1 + gs_random(&seed) % 1000);
		a = shared_by(weight, count);
		changed = (uint8_t)(gs_random(&seed) % count);
		weight[changed] = (uint16_t)(1 + gs_random(&seed) % 1000);
		b = shared_by(weight, count);
		for (uint32_t slot = 0; slot < 65536; slot++) {
			gs_id from = region_of_slot(&a, slot), to = region_of_slot(&b, slot);

			moved += from != to;
			before += from == changed + 1;
			after += to == changed + 1;
		}
		/* What has to move, count - 1 times at most: each border for itself. */
		assert_true(moved <=
			    (count - 1u) * (before > after ? before - after : after - before) +
				    count);
	}
}

/* When one of those that share is lost, the others take its clients as their weights say. */
static void spare_follows_weights(void **state)
{
	static const uint16_t weight[] = {500, 200, 100, 0};
	struct gs_plan plan = shared_by(weight, 4);
	static const uint16_t want[] = {65535, 26214, 13107, 0};
	(void)state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(plan.spare[i], want[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nines),
		cmocka_unit_test(model),
		cmocka_unit_test(bias_is_continuous),
		cmocka_unit_test(ranks_of_kinds),
		cmocka_unit_test(examples),
		cmocka_unit_test(example_figures),
		cmocka_unit_test(fences_and_facts),
		cmocka_unit_test(facts_come_first),
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(shares_follow_weights),
		cmocka_unit_test(a_change_moves_few),
		cmocka_unit_test(spare_follows_weights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
