/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "maps/gs_hash.h"

#include <string.h>

#define FULL_SHARE UINT16_MAX

bool gs_plan_region_allowed(const struct gs_region *region)
{
	return region->admin == GS_ADMIN_AUTO || region->admin == GS_ADMIN_FORCE_UP ||
	       region->admin == GS_ADMIN_DRAIN;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* What the tied ones take of the clients, and the sum: weights that are all 0 count alike. */
static uint32_t take_weights(const struct gs_ranking *ranking, uint32_t weight[GS_PLAN_REGIONS])
{
	uint32_t total = 0;

	for (uint8_t i = 0; i < ranking->tied; i++)
		total += weight[i] = ranking->weight[i];
	for (uint8_t i = 0; i < ranking->tied && total == 0; i++)
		weight[i] = 1;
	return total ? total : ranking->tied;
}

static void set_shares(const struct gs_ranking *ranking, const uint32_t *weight, uint32_t total,
		       struct gs_plan *plan)
{
	uint32_t sum = 0;

	for (uint8_t i = 0; i < plan->count; i++)
		plan->share[i] = FULL_SHARE;
	for (uint8_t i = 0; i + 1 < ranking->tied; i++) {
		sum += weight[i];
		plan->share[i] = (uint16_t)((FULL_SHARE + 1ULL) * sum / total - 1);
	}
}

static void scale_spare(struct gs_plan *plan, const double *weight, uint8_t count)
{
	double top = 0;

	for (uint8_t i = 0; i < count; i++)
		top = weight[i] > top ? weight[i] : top;
	for (uint8_t i = 0; i < count; i++) {
		double scaled = weight[i] / top * FULL_SHARE;

		/* Whoever has a weight, however small, is drawn now and then. Rounded as lround
		 * does: calls of it were 4 % of all that planning took. */
		plan->spare[i] = scaled < 1.0 ? 1 : (uint16_t)(((uint32_t)(2 * scaled) + 1) / 2);
	}
}

static void set_spare(const struct gs_ranker *ranker, const struct gs_ranking *ranking,
		      const uint32_t *share_weight, struct gs_plan *plan)
{
	double weight[GS_PLAN_REGIONS];
	bool all_stated = true;

	for (uint8_t i = 0; i < plan->count; i++) {
		weight[i] = (double)ranker->regions[ranking->index[i]].capacity;
		all_stated = all_stated && weight[i] > 0;
	}
	if (all_stated) {
		scale_spare(plan, weight, plan->count);
		return;
	}
	if (ranking->tied < 2) {
		plan->spare[plan->count > 1 ? 1 : 0] = FULL_SHARE;
		return;
	}
	for (uint8_t i = 0; i < ranking->tied; i++)
		weight[i] = share_weight[i];
	scale_spare(plan, weight, ranking->tied);
}

void gs_plan_from_ranking(const struct gs_ranker *ranker, const struct gs_ranking *ranking,
			  struct gs_plan *ret_plan)
{
	uint32_t weight[GS_PLAN_REGIONS], total;

	memset(ret_plan, 0, sizeof(*ret_plan));
	ret_plan->count = ranking->count;
	for (uint8_t i = 0; i < ranking->count; i++)
		ret_plan->region[i] = ranker->regions[ranking->index[i]].id;
	if (ranking->count == 0)
		return;
	total = take_weights(ranking, weight);
	set_shares(ranking, weight, total, ret_plan);
	set_spare(ranker, ranking, weight, ret_plan);
}

void gs_plan_make(const struct gs_policy *policy, const struct gs_location *location,
		  const struct gs_region *regions, uint32_t region_count,
		  const struct gs_region_set *served, struct gs_plan *ret_plan)
{
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;

	gs_ranker_init(&ranker, regions, region_count, NULL);
	gs_ranker_move(&ranker, 0, location);
	gs_ranked_policy_init(&ranked, &ranker, policy, served);
	gs_rank(&ranker, &ranked, NULL, location->override_region, &ranking);
	gs_plan_from_ranking(&ranker, &ranking, ret_plan);
}

/* ---- picking --------------------------------------------------------------------------------- */

gs_id gs_plan_largest(const struct gs_plan *plan)
{
	gs_id largest = 0;
	uint32_t most = 0, before = 0;

	for (uint8_t i = 0; i < plan->count && before <= UINT16_MAX; i++) {
		uint32_t end = plan->share[i] + 1u;

		if (end - before > most) {
			most = end - before;
			largest = plan->region[i];
		}
		before = end;
	}
	return largest;
}

int gs_plan_home(const struct gs_plan *plan, uint64_t draw)
{
	uint16_t slot = draw & 0xffff;

	for (int i = 0; i < plan->count; i++)
		if (slot <= plan->share[i])
			return i;
	return -1;
}

/* The second one: by these weights, over usable regions but `but`. -1: none weighs anything. */
static int second_draw(const struct gs_plan *plan, const bool *usable, int but,
		       const uint16_t *weight, uint64_t draw)
{
	uint64_t total = 0, point;

	for (int i = 0; i < plan->count; i++)
		if (usable[i] && i != but)
			total += weight[i];
	if (total == 0)
		return -1;
	point = (((draw >> 16) & 0xffffffff) * total) >> 32;
	for (int i = 0; i < plan->count; i++) {
		if (!usable[i] || i == but)
			continue;
		if (point < weight[i])
			return i;
		point -= weight[i];
	}
	return -1; /* not reached: point < total */
}

static int first_usable(const struct gs_plan *plan, const bool *usable)
{
	for (int i = 0; i < plan->count; i++)
		if (usable[i])
			return i;
	return -1;
}

/* Of a client whose own region is not usable. */
static int pick_spare(const struct gs_plan *plan, const bool *usable, const struct gs_fill *fill,
		      uint64_t draw)
{
	uint16_t spare[GS_PLAN_REGIONS];
	int at = -1;

	for (int i = 0; i < plan->count; i++)
		spare[i] = fill ? fill[i].spare : 0;
	at = second_draw(plan, usable, -1, spare, draw);
	if (at < 0)
		at = second_draw(plan, usable, -1, plan->spare, draw);
	return at < 0 ? first_usable(plan, usable) : at;
}

int gs_plan_pick_filled(const struct gs_plan *plan, const bool *usable, const struct gs_fill *fill,
			uint8_t priority, uint64_t draw, enum gs_plan_way *ret_way)
{
	int home = gs_plan_home(plan, draw), at = -1;
	uint16_t room[GS_PLAN_REGIONS];

	*ret_way = GS_WAY_SHED;
	if (home >= 0 && fill && gs_fill_sheds(draw, fill[home].shed, priority))
		return -1;
	if (home >= 0 && fill && gs_fill_leaves(draw, fill[home].away)) {
		for (int i = 0; i < plan->count; i++)
			room[i] = fill[i].room;
		at = second_draw(plan, usable, home, room, draw);
	}
	*ret_way = GS_WAY_ROOM;
	if (at >= 0)
		return at;
	*ret_way = GS_WAY_HOME;
	if (home >= 0 && usable[home])
		return home;
	at = pick_spare(plan, usable, fill, draw);
	*ret_way = at < 0 ? GS_WAY_NONE : GS_WAY_SPARE;
	return at;
}

int gs_plan_pick(const struct gs_plan *plan, const bool *usable, uint64_t draw)
{
	enum gs_plan_way way;

	return gs_plan_pick_filled(plan, usable, NULL, 0, draw, &way);
}

/* ---- interning ------------------------------------------------------------------------------- */

/* In one piece of memory: this, the plans, then `buckets`: open addressing, ids, 0 is empty. */
struct gs_plan_set {
	uint32_t max_plans;
	uint32_t count;
	uint32_t bucket_mask;
	uint32_t _pad;
	struct gs_plan plans[];
};

static uint32_t id_limit(uint32_t max_plans)
{
	return max_plans < GS_MAX_PLANS - 1 ? max_plans : GS_MAX_PLANS - 1;
}

/* A power of two, at most half full. */
static uint32_t bucket_count(uint32_t max_plans)
{
	uint32_t buckets = 2;

	while (buckets < 2 * id_limit(max_plans))
		buckets *= 2;
	return buckets;
}

static gs_id *buckets_of(struct gs_plan_set *set)
{
	return (gs_id *)(set->plans + set->max_plans);
}

size_t gs_plan_set_size(uint32_t max_plans)
{
	return sizeof(struct gs_plan_set) + id_limit(max_plans) * sizeof(struct gs_plan) +
	       bucket_count(max_plans) * sizeof(gs_id);
}

struct gs_plan_set *gs_plan_set_init(void *memory, uint32_t max_plans)
{
	struct gs_plan_set *set = memory;

	set->max_plans = id_limit(max_plans);
	set->count = 0;
	set->bucket_mask = bucket_count(max_plans) - 1;
	set->_pad = 0;
	memset(buckets_of(set), 0, (set->bucket_mask + 1) * sizeof(gs_id));
	return set;
}

static uint64_t word_of(const struct gs_plan *plan, uint8_t i)
{
	return (uint64_t)plan->region[i] << 32 | (uint64_t)plan->share[i] << 16 | plan->spare[i];
}

/* Every other one beside the rest, so that steps do not all wait for the one before. */
static uint64_t hash_plan(const struct gs_plan *plan)
{
	uint64_t even = plan->count, odd = 0;
	uint8_t i = 0;

	for (; i + 1 < plan->count; i += 2) {
		even = gs_hash_step(even, word_of(plan, i));
		odd = gs_hash_step(odd, word_of(plan, i + 1));
	}
	if (i < plan->count)
		even = gs_hash_step(even, word_of(plan, i));
	return gs_hash_mix(gs_hash_step(even, odd));
}

static bool plans_equal(const struct gs_plan *a, const struct gs_plan *b)
{
	size_t n = a->count;

	return a->count == b->count &&
	       memcmp(a->region, b->region, n * sizeof(a->region[0])) == 0 &&
	       memcmp(a->share, b->share, n * sizeof(a->share[0])) == 0 &&
	       memcmp(a->spare, b->spare, n * sizeof(a->spare[0])) == 0;
}

gs_id gs_plan_set_intern(struct gs_plan_set *set, const struct gs_plan *plan)
{
	gs_id *buckets = buckets_of(set);
	uint32_t bucket;

	if (plan->count == 0 || plan->count > GS_PLAN_REGIONS)
		return 0;
	bucket = (uint32_t)hash_plan(plan) & set->bucket_mask;
	for (; buckets[bucket] != 0; bucket = (bucket + 1) & set->bucket_mask)
		if (plans_equal(&set->plans[buckets[bucket] - 1], plan))
			return buckets[bucket];
	if (set->count == set->max_plans)
		return 0;
	set->plans[set->count++] = *plan;
	buckets[bucket] = (gs_id)set->count;
	return buckets[bucket];
}

uint32_t gs_plan_set_count(const struct gs_plan_set *set)
{
	return set->count;
}

const struct gs_plan *gs_plan_set_get(const struct gs_plan_set *set, gs_id id)
{
	return id >= 1 && id <= set->count ? &set->plans[id - 1] : NULL;
}
