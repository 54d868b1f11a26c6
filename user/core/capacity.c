// SPDX-License-Identifier: Apache-2.0
#include "capacity.h"

#include "maps/gs_hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	REGIONS = GS_CAPACITY_REGIONS,
	CAP_ROUNDS = 16, /* of lowering the weight of those who would get too much */
	HALVINGS = 8,
	WAY_ROUNDS = 12,
	SHED_HALVINGS = 14, /* of eight priorities: to a two-thousandth of one */
};

#define TOLERANCE 1e-3 /* of all demand: not worth moving or shedding anybody for */
#define LITTLE 0.05    /* of a region's clients: not worth hurrying */
#define COLLAPSED 1e-4
#define MOST_SHED (GS_PRIORITIES - 1 + SHED_MOST)
#define SHED_MOST ((double)GS_SHED_MOST / GS_SHED_STEP)

/* ---- demand ---------------------------------------------------------------------------------- */

static bool is_group(const struct gs_capacity_group *group, const struct gs_capacity_group *key)
{
	return group->home == key->home && group->count == key->count &&
	       memcmp(group->usable, key->usable, key->count) == 0;
}

static uint32_t bucket_of(const struct gs_capacity_group *key)
{
	uint64_t hash = (uint64_t)key->home << 8 | key->count;

	for (uint8_t i = 0; i < key->count; i++)
		hash = gs_hash_step(hash, key->usable[i]);
	return (uint32_t)gs_hash_mix(hash) % GS_CAPACITY_BUCKETS;
}

static struct gs_capacity_group key_of(gs_id home, const uint8_t *usable, uint8_t count)
{
	struct gs_capacity_group key = {.home = (uint8_t)home};

	for (uint8_t i = 0; i < count && i < GS_PLAN_REGIONS; i++) {
		uint8_t at = key.count++;

		for (; at > 0 && key.usable[at - 1] > usable[i]; at--)
			key.usable[at] = key.usable[at - 1];
		key.usable[at] = usable[i];
	}
	return key;
}

/* Where there is no place for another group: the first with this home, or simply the first. */
static struct gs_capacity_group *any_group(struct gs_capacity_input *input, uint8_t home)
{
	for (uint16_t i = 0; i < input->group_count; i++)
		if (input->group[i].home == home)
			return &input->group[i];
	return &input->group[0];
}

static struct gs_capacity_group *group_for(struct gs_capacity_input *input,
					   const struct gs_capacity_group *key)
{
	uint32_t at = bucket_of(key);

	for (; input->bucket[at]; at = (at + 1) % GS_CAPACITY_BUCKETS)
		if (is_group(&input->group[input->bucket[at] - 1], key))
			return &input->group[input->bucket[at] - 1];
	if (input->group_count == GS_CAPACITY_GROUPS) {
		input->merged++;
		return any_group(input, key->home);
	}
	input->group[input->group_count] = *key;
	input->bucket[at] = ++input->group_count;
	return &input->group[input->group_count - 1];
}

void gs_capacity_add(struct gs_capacity_input *input, gs_id home, const uint8_t *usable,
		     uint8_t count, uint8_t priority, double per_second)
{
	struct gs_capacity_group key = key_of(home, usable, count);

	if (!(per_second > 0) || home > GS_ID_MAX_REGION || priority >= GS_PRIORITIES)
		return;
	group_for(input, &key)->per_second[priority] += (float)per_second;
}

void gs_capacity_clear(struct gs_capacity_input *input)
{
	input->group_count = 0;
	input->merged = 0;
	memset(input->bucket, 0, sizeof(input->bucket));
}

static int compare_groups(const void *left, const void *right)
{
	const struct gs_capacity_group *a = left, *b = right;

	if (a->home != b->home)
		return a->home < b->home ? -1 : 1;
	if (a->count != b->count)
		return a->count < b->count ? -1 : 1;
	return memcmp(a->usable, b->usable, a->count);
}

void gs_capacity_sort(struct gs_capacity_input *input)
{
	qsort(input->group, input->group_count, sizeof(input->group[0]), compare_groups);
	memset(input->bucket, 0, sizeof(input->bucket));
	for (uint16_t i = 0; i < input->group_count; i++) {
		uint32_t at = bucket_of(&input->group[i]);

		while (input->bucket[at])
			at = (at + 1) % GS_CAPACITY_BUCKETS;
		input->bucket[at] = (uint16_t)(i + 1);
	}
}

/* ---- what words come to ---------------------------------------------------------------------- */

double gs_capacity_shed_share(double shed, uint8_t priority)
{
	double share = shed - priority;

	return share < 0 ? 0 : share > SHED_MOST ? SHED_MOST : share;
}

/* Of a group: all of it, and what is left when some are shed. */
static double demand_of(const struct gs_capacity_group *group, double shed, double *ret_left)
{
	double all = 0, left = 0;

	if (!(shed > 0)) {
		for (uint8_t p = 0; p < GS_PRIORITIES; p++)
			all += (double)group->per_second[p];
		*ret_left = all;
		return all;
	}
	for (uint8_t p = 0; p < GS_PRIORITIES; p++) {
		double rate = (double)group->per_second[p];

		all += rate;
		left += rate * (1 - gs_capacity_shed_share(shed, p));
	}
	*ret_left = left;
	return all;
}

static bool home_is_usable(const struct gs_capacity_group *group)
{
	return memchr(group->usable, group->home, group->count) != NULL;
}

/*
 * Of `excess` clients of a group each candidate its part by these weights; what is left over where
 * nobody weighs anything.
 */
static double spread(const struct gs_capacity_group *group, const double *weight, double excess,
		     double *taken)
{
	double total = 0, each;

	for (uint8_t i = 0; i < group->count; i++)
		if (group->usable[i] != group->home)
			total += weight[group->usable[i]];
	if (!(total > 0))
		return excess;
	each = excess / total; /* hundreds of groups are spread hundreds of times a second */
	for (uint8_t i = 0; i < group->count; i++)
		if (group->usable[i] != group->home)
			taken[group->usable[i]] += each * weight[group->usable[i]];
	return 0;
}

static void weigh_group(const struct gs_capacity_group *group,
			const struct gs_capacity_words *words, struct gs_capacity_load *load)
{
	uint8_t home = group->home;
	double left, all = demand_of(group, words->shed[home], &left), kept, excess;
	bool is_home = home_is_usable(group);

	kept = is_home ? left * (1 - words->away[home]) : 0;
	excess = left - kept;
	load->own[home] += all;
	load->shed[home] += all - left;
	if (excess > 0)
		excess = spread(group, words->room, excess, load->taken);
	if (is_home)
		kept += excess; /* nobody has room: they stay */
	else if (excess > 0)
		excess = spread(group, words->spare, excess, load->taken);
	load->kept[home] += kept;
	if (is_home || !(excess > 0))
		return;
	/* The plan's own spare, which is not known here: evenly. */
	for (uint8_t i = 0; i < group->count; i++)
		load->taken[group->usable[i]] += excess / group->count;
	if (group->count == 0)
		load->lost += excess;
}

static double load_at(const struct gs_capacity_load *load, uint32_t region)
{
	return load->kept[region] + load->taken[region];
}

void gs_capacity_weigh(const struct gs_capacity_input *input, const struct gs_capacity_words *words,
		       struct gs_capacity_load *ret_load)
{
	memset(ret_load, 0, sizeof(*ret_load));
	for (uint16_t i = 0; i < input->group_count; i++)
		weigh_group(&input->group[i], words, ret_load);
	for (uint32_t r = 1; r < REGIONS; r++) {
		double over = load_at(ret_load, r) - (double)input->limit[r].capacity;

		if (input->limit[r].capacity && over > 0)
			ret_load->over += over;
	}
}

/* ---- what would be right --------------------------------------------------------------------- */

struct solver {
	const struct gs_capacity_input *input;
	struct gs_capacity_words *words;
	struct gs_capacity_load load;
	double demand;		 /* all of it */
	double at_home[REGIONS]; /* of clients whose home is usable, none shed */
	double target[REGIONS];	 /* INFINITY: no capacity is stated */
	double capacity[REGIONS];
	bool is_there[REGIONS]; /* somebody may go there */
	/* The choice that is tried. */
	double home_level[REGIONS]; /* -1: nobody stays .. 0: up to the target .. 1: the capacity */
	double taking_level;	    /* 0: others' up to the target .. 1: the capacity */
	double takes_up_to[REGIONS];
	double first_room[REGIONS];
	double accepted; /* what may be left over */
};

static void find_candidates(struct solver *s)
{
	for (uint16_t i = 0; i < s->input->group_count; i++) {
		const struct gs_capacity_group *group = &s->input->group[i];
		double left, all = demand_of(group, 0, &left);

		s->demand += all;
		if (home_is_usable(group))
			s->at_home[group->home] += all;
		for (uint8_t c = 0; c < group->count; c++)
			s->is_there[group->usable[c]] = true;
	}
	for (uint32_t r = 1; r < REGIONS; r++) {
		const struct gs_capacity_limit *limit = &s->input->limit[r];
		double percent = limit->target ? limit->target : GS_TARGET_DEFAULT;

		s->capacity[r] = limit->capacity ? (double)limit->capacity : INFINITY;
		s->target[r] = s->capacity[r] * percent / 100;
	}
}

/* Up to where a region keeps its own. */
static double home_limit(const struct solver *s, uint32_t r)
{
	double level = s->home_level[r];

	if (isinf(s->capacity[r]))
		return INFINITY;
	return level >= 0 ? s->target[r] + level * (s->capacity[r] - s->target[r])
			  : s->target[r] * (1 + level);
}

/* A region that states no capacity could take everybody. */
static double headroom(const struct solver *s, double limit, double load)
{
	if (isinf(limit))
		return s->demand > 0 ? s->demand : 1;
	return limit > load ? limit - load : 0;
}

/*
 * Lowers the weights of those who would get more than they take. How much too much is left. A
 * weight that collapses beside the others is of a region that is somebody's only choice: they stay
 * at home.
 */
static double cap_weights(struct solver *s)
{
	struct gs_capacity_words *words = s->words;
	double over = 0, top = 0;

	gs_capacity_weigh(s->input, words, &s->load);
	for (uint32_t r = 1; r < REGIONS; r++) {
		double kept = s->load.kept[r], taken = s->load.taken[r];
		double room = s->takes_up_to[r] > kept ? s->takes_up_to[r] - kept : 0;

		if (taken > room)
			over += taken - room;
		if (kept > s->takes_up_to[r] && kept > home_limit(s, r))
			over += kept - fmax(s->takes_up_to[r], home_limit(s, r));
		if (taken > room * (1 + TOLERANCE / 4))
			words->room[r] *= room / taken;
		if (s->first_room[r] > 0)
			top = fmax(top, words->room[r] / s->first_room[r]);
	}
	for (uint32_t r = 1; r < REGIONS; r++)
		if (words->room[r] < s->first_room[r] * top * COLLAPSED)
			words->room[r] = 0;
	return over + s->load.lost;
}

/*
 * Words for the levels as they are. What somebody gets beyond them, of all: more than a little
 * means that the levels are too low. Weights begin as headrooms to the capacity: so they stay what
 * they are for spare, as long as nobody would be beyond its target.
 */
static double place(struct solver *s)
{
	struct gs_capacity_words *words = s->words;
	double over = 0;

	for (uint32_t r = 1; r < REGIONS; r++) {
		double limit = home_limit(s, r), own = s->at_home[r];
		double kept = own < limit ? own : limit;

		words->away[r] = own > limit ? 1 - limit / own : 0;
		s->takes_up_to[r] =
			isinf(s->capacity[r])
				? INFINITY
				: s->target[r] + s->taking_level * (s->capacity[r] - s->target[r]);
		words->room[r] = s->is_there[r] && headroom(s, s->takes_up_to[r], kept) > 0
					 ? headroom(s, s->capacity[r], kept)
					 : 0;
		s->first_room[r] = words->room[r];
	}
	for (int round = 0; round < CAP_ROUNDS; round++) {
		over = cap_weights(s);
		if (over <= s->demand * TOLERANCE / 2)
			break;
	}
	return over;
}

static bool suffices(const struct solver *s, double over)
{
	return over <= s->accepted;
}

static void set_home_levels(struct solver *s, const bool *which, double level)
{
	for (uint32_t r = 1; r < REGIONS; r++)
		if (!which || which[r])
			s->home_level[r] = level;
}

/* Tries a level; true: everybody has a place. */
typedef bool try_level(struct solver *s, const bool *which, double level);

static bool try_home(struct solver *s, const bool *which, double level)
{
	set_home_levels(s, which, level);
	return suffices(s, place(s));
}

static bool try_taking(struct solver *s, const bool *which, double level)
{
	(void)which;
	s->taking_level = level;
	return suffices(s, place(s));
}

static bool try_shed(struct solver *s, const bool *which, double level)
{
	for (uint32_t r = 1; r < REGIONS; r++)
		s->words->shed[r] = which[r] ? level : 0;
	/* What stays at home is a share of those who are not shed. */
	memset(s->at_home, 0, sizeof(s->at_home));
	for (uint16_t i = 0; i < s->input->group_count; i++) {
		const struct gs_capacity_group *group = &s->input->group[i];
		double left;

		demand_of(group, s->words->shed[group->home], &left);
		if (home_is_usable(group))
			s->at_home[group->home] += left;
	}
	return suffices(s, place(s));
}

/* The level nearest to `from` that suffices, where `to` does; it is tried last. */
static void halve(struct solver *s, try_level *try, const bool *which, double from, double to)
{
	int rounds = try == try_shed ? SHED_HALVINGS : HALVINGS;

	for (int i = 0; i < rounds; i++) {
		double middle = (from + to) / 2;

		if (try(s, which, middle))
			to = middle;
		else
			from = middle;
	}
	try(s, which, to);
}

/* Regions that are as full as can be. */
static void find_full(const struct solver *s, bool *ret_full)
{
	for (uint32_t r = 0; r < REGIONS; r++)
		ret_full[r] =
			s->is_there[r] && load_at(&s->load, r) >= s->capacity[r] * (1 - TOLERANCE);
}

static double over_at(struct solver *s, const bool *which, double level)
{
	set_home_levels(s, which, level);
	return place(s);
}

/*
 * Everybody is as full as can be, and some clients still have no place who could not go elsewhere:
 * as many of those at home in full regions as it takes make way, if they can. Too many would crowd
 * others: what is left over is least somewhere between. True: it is enough.
 */
static bool make_way(struct solver *s)
{
	double all = place(s), low = -1, high = 1;
	bool full[REGIONS];

	find_full(s, full);
	for (int i = 0; i < WAY_ROUNDS; i++) {
		double third = (high - low) / 3;

		if (over_at(s, full, low + third) < over_at(s, full, high - third))
			high -= third;
		else
			low += third;
	}
	if (try_home(s, full, high)) {
		halve(s, try_home, full, 1, high);
		return true;
	}
	/* It helps as far as it goes, or not at all. */
	if (place(s) > all - s->demand * TOLERANCE)
		try_home(s, full, 1);
	return false;
}

/* Homes of clients all of whose regions are full. */
static void find_crowded(const struct solver *s, bool *ret_crowded)
{
	bool full[REGIONS];

	find_full(s, full);
	memset(ret_crowded, 0, REGIONS * sizeof(*ret_crowded));
	for (uint16_t i = 0; i < s->input->group_count; i++) {
		const struct gs_capacity_group *group = &s->input->group[i];
		bool has_room = group->count == 0;

		for (uint8_t c = 0; c < group->count; c++)
			has_room = has_room || !full[group->usable[c]];
		if (!has_room)
			ret_crowded[group->home] = true;
	}
}

/*
 * In this order, each only if the one before was not enough: all up to their targets; their own
 * above that; others' above that; clients who have a choice make way; some are shed.
 */
static void find_levels(struct solver *s)
{
	bool crowded[REGIONS];

	if (suffices(s, place(s)))
		return;
	if (try_home(s, NULL, 1)) {
		halve(s, try_home, NULL, 0, 1);
		return;
	}
	if (try_taking(s, NULL, 1)) {
		halve(s, try_taking, NULL, 0, 1);
		return;
	}
	if (make_way(s))
		return;
	find_crowded(s, crowded);
	/* Nobody is shed for what shedding does not help. */
	try_shed(s, crowded, MOST_SHED);
	s->accepted += place(s);
	halve(s, try_shed, crowded, 0, MOST_SHED);
}

static void normalise(double *weight)
{
	double total = 0;

	for (uint32_t r = 1; r < REGIONS; r++)
		total += weight[r];
	for (uint32_t r = 1; r < REGIONS && total > 0; r++)
		weight[r] /= total;
}

void gs_capacity_solve(struct gs_capacity_input *input, struct gs_capacity_words *ret_words)
{
	struct solver s = {.input = input, .words = ret_words};

	memset(ret_words, 0, sizeof(*ret_words));
	gs_capacity_sort(input);
	find_candidates(&s);
	s.accepted = s.demand * TOLERANCE;
	find_levels(&s);
	gs_capacity_weigh(input, ret_words, &s.load);
	for (uint32_t r = 1; r < REGIONS; r++)
		ret_words->spare[r] = s.is_there[r] || input->limit[r].capacity
					      ? headroom(&s, s.capacity[r], load_at(&s.load, r))
					      : 0;
	normalise(ret_words->room);
	normalise(ret_words->spare);
}

/* ---- from here to there ---------------------------------------------------------------------- */

static double towards(double from, double to, double most)
{
	if (fabs(to - from) <= most)
		return to;
	return to > from ? from + most : from - most;
}

/*
 * Of what is too little to move for only the way back to nothing is gone, and little moves very
 * slowly: demand is noisy, and clients should not be.
 */
static double away_next(double is, double right, uint32_t elapsed_ms)
{
	double gap = fabs(right - is);

	if (gap < GS_CAPACITY_STILL && right > 0)
		return is;
	return towards(is, right,
		       (gap < LITTLE ? GS_CAPACITY_STILL : GS_CAPACITY_RATE) * elapsed_ms / 1000);
}

/* As much of a distribution as may move. */
static void room_next(double *room, const double *right, double most)
{
	double moved = 0, total = 0, part;

	for (uint32_t r = 1; r < REGIONS; r++) {
		moved += fabs(right[r] - room[r]) / 2;
		total += room[r];
	}
	if (total > 0 && moved < GS_CAPACITY_STILL)
		return;
	part = total > 0 && moved > most ? most / moved : 1;
	for (uint32_t r = 1; r < REGIONS; r++)
		room[r] += part * (right[r] - room[r]);
}

static void blend(const struct gs_capacity_words *slow, const struct gs_capacity_words *right,
		  double part, struct gs_capacity_words *ret_words)
{
	for (uint32_t r = 1; r < REGIONS; r++) {
		ret_words->away[r] = slow->away[r] + part * (right->away[r] - slow->away[r]);
		ret_words->room[r] = slow->room[r] + part * (right->room[r] - slow->room[r]);
		ret_words->shed[r] = slow->shed[r] + part * (right->shed[r] - slow->shed[r]);
	}
}

static double over_of(const struct gs_capacity_input *input, const struct gs_capacity_words *words)
{
	struct gs_capacity_load load;

	gs_capacity_weigh(input, words, &load);
	return load.over;
}

/* Nobody is beyond its capacity for the sake of slowness: as much faster as that takes. */
static void hurry(const struct gs_capacity_input *input, const struct gs_capacity_words *right,
		  struct gs_capacity_words *words)
{
	const struct gs_capacity_words slow = *words;
	double demand = 0, least = over_of(input, right), part = 1, too_little = 0;

	for (uint16_t i = 0; i < input->group_count; i++) {
		double left;

		demand += demand_of(&input->group[i], 0, &left);
	}
	least += demand * TOLERANCE;
	if (over_of(input, words) <= least)
		return;
	for (int i = 0; i < HALVINGS; i++) {
		double middle = (part + too_little) / 2;

		blend(&slow, right, middle, words);
		if (over_of(input, words) <= least)
			part = middle;
		else
			too_little = middle;
	}
	blend(&slow, right, part, words);
}

void gs_capacity_step(const struct gs_capacity_input *input, const struct gs_capacity_words *right,
		      const bool is_up[GS_CAPACITY_REGIONS], uint32_t elapsed_ms,
		      struct gs_capacity_words *words)
{
	double most = GS_CAPACITY_RATE * elapsed_ms / 1000;

	for (uint32_t r = 1; r < REGIONS; r++) {
		if (!is_up[r]) /* its own are elsewhere anyhow; others may see it otherwise */
			words->away[r] = right->away[r];
		words->away[r] = away_next(words->away[r], right->away[r], elapsed_ms);
		words->spare[r] = right->spare[r];
		words->shed[r] =
			right->shed[r] >= words->shed[r]
				? right->shed[r]
				: towards(words->shed[r], right->shed[r], most * GS_PRIORITIES);
	}
	room_next(words->room, right->room, most);
	hurry(input, right, words);
	for (uint32_t r = 1; r < REGIONS; r++)
		if (!is_up[r])
			words->away[r] = 1;
}

/* ---- words ----------------------------------------------------------------------------------- */

static uint16_t cut(double value)
{
	return (uint16_t)(value <= 0 ? 0 : value >= UINT16_MAX ? UINT16_MAX : lround(value));
}

/* The largest is 65,535; whoever has a weight, however small, is drawn now and then. */
static double scale_of(const double *weight)
{
	double top = 0;

	for (uint32_t r = 1; r < REGIONS; r++)
		top = weight[r] > top ? weight[r] : top;
	return top > 0 ? UINT16_MAX / top : 0;
}

static uint16_t weight_word(double weight, double scale)
{
	uint16_t word = cut(weight * scale);

	return word == 0 && weight * scale > 1e-3 ? 1 : word;
}

void gs_capacity_to_fill(const struct gs_capacity_words *words,
			 struct gs_fill ret_fill[GS_CAPACITY_REGIONS])
{
	double room = scale_of(words->room), spare = scale_of(words->spare);

	memset(ret_fill, 0, REGIONS * sizeof(*ret_fill));
	for (uint32_t r = 1; r < REGIONS; r++)
		ret_fill[r] = (struct gs_fill){
			.away = cut(words->away[r] * 65536),
			.room = weight_word(words->room[r], room),
			.spare = weight_word(words->spare[r], spare),
			.shed = cut(words->shed[r] * GS_SHED_STEP),
		};
}

void gs_capacity_from_fill(const struct gs_fill fill[GS_CAPACITY_REGIONS],
			   struct gs_capacity_words *ret_words)
{
	memset(ret_words, 0, sizeof(*ret_words));
	for (uint32_t r = 1; r < REGIONS; r++) {
		ret_words->away[r] = fill[r].away == UINT16_MAX ? 1 : fill[r].away / 65536.0;
		ret_words->room[r] = fill[r].room;
		ret_words->spare[r] = fill[r].spare;
		ret_words->shed[r] = (double)fill[r].shed / GS_SHED_STEP;
	}
	normalise(ret_words->room);
	normalise(ret_words->spare);
}
