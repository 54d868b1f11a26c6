// SPDX-License-Identifier: Apache-2.0
/*
 * A region has one run of slots in a plan. Clients between two plans are cut into zones, so that it
 * still has: in each zone those who have gone over are at one end, those who have not at the other.
 * At which end depends on where the regions that are in both plans go. If their runs move to the
 * left, what is new comes from the right, and the other way round:
 *
 *	before  AAAAAAAACCCCCCCC	A's end moves left, C's begin moves right: two zones
 *	half    AAAAAAABBBCCCCCC	B comes between them, a half of each of its sides
 *	now     AAAAABBBBBBCCCCC
 */
#include "plan_blend.h"

#include <string.h>

enum { SLOTS = 65536, ZONES = 2 * GS_PLAN_REGIONS + 1, POINTS = 2 * GS_PLAN_REGIONS + 2 * ZONES };

/* Regions that have slots, in order; each from where the one before it ends. */
struct homes {
	uint32_t count;
	gs_id region[GS_PLAN_REGIONS];
	uint32_t end[GS_PLAN_REGIONS];
};

enum way { STAYS, GOES_LEFT, GOES_RIGHT };

struct zone {
	uint32_t begin, end;
	enum way way; /* of what is in both plans */
};

struct zones {
	uint32_t count;
	struct zone zone[ZONES];
};

/* ---- homes ----------------------------------------------------------------------------------- */

static struct homes homes_of(const struct gs_plan *plan)
{
	struct homes homes = {.count = 0};
	uint32_t begin = 0;

	for (uint8_t i = 0; i < plan->count; i++) {
		uint32_t end = plan->share[i] + 1u;

		if (end <= begin)
			continue;
		homes.region[homes.count] = plan->region[i];
		homes.end[homes.count++] = begin = end;
	}
	return homes;
}

static uint32_t begin_of(const struct homes *homes, uint32_t i)
{
	return i ? homes->end[i - 1] : 0;
}

/* homes->count: it has none. */
static uint32_t find(const struct homes *homes, gs_id region)
{
	uint32_t i = 0;

	while (i < homes->count && homes->region[i] != region)
		i++;
	return i;
}

static gs_id home_at(const struct homes *homes, uint32_t slot)
{
	uint32_t i = 0;

	while (slot >= homes->end[i])
		i++;
	return homes->region[i];
}

static bool are_equal(const struct homes *a, const struct homes *b)
{
	return a->count == b->count &&
	       memcmp(a->region, b->region, a->count * sizeof(a->region[0])) == 0 &&
	       memcmp(a->end, b->end, a->count * sizeof(a->end[0])) == 0;
}

/* ---- zones ----------------------------------------------------------------------------------- */

static enum way way_of(uint32_t from, uint32_t to)
{
	return to < from ? GOES_LEFT : to > from ? GOES_RIGHT : STAYS;
}

/* A border of a region in both plans goes this way: from `at` on, if those before it do not. */
static void add_way(struct zones *zones, enum way way, uint32_t at)
{
	struct zone *last = &zones->zone[zones->count - 1];

	if (way == STAYS || way == last->way)
		return;
	if (last->way == STAYS) {
		last->way = way;
		return;
	}
	zones->zone[zones->count++] = (struct zone){at, last->end, way};
	last->end = at;
}

/*
 * Zones meet inside a region that is in both plans, where it is in both at once, or, between two of
 * them, where the first one ends: before, if both go away from there (what is new meets there, and
 * is not to be cut), or now.
 */
static bool make_zones(const struct homes *before, const struct homes *now, struct zones *zones)
{
	uint32_t ends_before = 0, ends_now = 0, next = 0;

	*zones = (struct zones){.count = 1, .zone = {{0, SLOTS, STAYS}}};
	for (uint32_t b = 0; b < before->count; b++) {
		uint32_t n = find(now, before->region[b]);
		uint32_t from = begin_of(before, b), to;
		enum way last;

		if (n == now->count)
			continue;
		if (n < next)
			return false;
		next = n + 1;
		to = begin_of(now, n);
		last = zones->zone[zones->count - 1].way;
		add_way(zones, way_of(from, to), last == GOES_LEFT ? ends_before : ends_now);
		ends_before = before->end[b];
		ends_now = now->end[n];
		add_way(zones, way_of(ends_before, ends_now), from > to ? from : to);
	}
	return true;
}

static uint32_t moved_of(const struct zone *zone, uint8_t percent)
{
	return (zone->end - zone->begin) * percent / 100;
}

/* The slot in the zone at which those who have gone over meet those who have not. */
static uint32_t cut_of(const struct zone *zone, uint8_t percent)
{
	return zone->way == GOES_LEFT ? zone->end - moved_of(zone, percent)
				      : zone->begin + moved_of(zone, percent);
}

static bool has_gone_over(const struct zones *zones, uint8_t percent, uint32_t slot)
{
	const struct zone *zone = zones->zone;

	while (slot >= zone->end)
		zone++;
	return (slot < cut_of(zone, percent)) == (zone->way != GOES_LEFT);
}

/* ---- the plan between ------------------------------------------------------------------------ */

struct points {
	uint32_t count;
	uint32_t at[POINTS];
};

/* Sorted, each once. */
static void add_point(struct points *points, uint32_t point)
{
	uint32_t at = points->count;

	while (at > 0 && points->at[at - 1] > point)
		at--;
	if (at > 0 && points->at[at - 1] == point)
		return;
	memmove(&points->at[at + 1], &points->at[at], (points->count - at) * sizeof(*points->at));
	points->at[at] = point;
	points->count++;
}

/* Where a home may end. */
static struct points points_of(const struct homes *before, const struct homes *now,
			       const struct zones *zones, uint8_t percent)
{
	struct points points = {.count = 0};

	for (uint32_t i = 0; i < before->count; i++)
		add_point(&points, before->end[i]);
	for (uint32_t i = 0; i < now->count; i++)
		add_point(&points, now->end[i]);
	for (uint32_t i = 0; i < zones->count; i++) {
		add_point(&points, zones->zone[i].end);
		add_point(&points, cut_of(&zones->zone[i], percent));
	}
	return points;
}

/* False: a region would have two runs of slots, or there are too many. */
static bool make_homes(const struct homes *before, const struct homes *now, uint8_t percent,
		       struct homes *ret_homes)
{
	struct points points;
	struct zones zones;
	uint32_t begin = 0;

	*ret_homes = (struct homes){.count = 0};
	if (!make_zones(before, now, &zones))
		return false;
	points = points_of(before, now, &zones, percent);
	for (uint32_t i = 0; i < points.count; i++) {
		uint32_t end = points.at[i], last = ret_homes->count;
		gs_id region;

		if (end == 0)
			continue;
		region = home_at(has_gone_over(&zones, percent, begin) ? now : before, begin);
		if (last > 0 && ret_homes->region[last - 1] == region)
			last--;
		else if (find(ret_homes, region) < last || last == GS_PLAN_REGIONS)
			return false;
		ret_homes->region[last] = region;
		ret_homes->end[last] = begin = end;
		ret_homes->count = last + 1;
	}
	return true;
}

static void append(struct gs_plan *plan, gs_id region, uint32_t end)
{
	plan->region[plan->count] = region;
	plan->share[plan->count++] = (uint16_t)(end - 1);
}

/* Homes in their order, the others where `now` has them: behind the first home at least. */
static void arrange(const struct homes *homes, const struct gs_plan *now, struct gs_plan *plan)
{
	uint32_t room = GS_PLAN_REGIONS - homes->count, next = 1;

	append(plan, homes->region[0], homes->end[0]);
	for (uint8_t i = 0; i < now->count; i++) {
		uint32_t at = find(homes, now->region[i]);

		for (; at < homes->count && next <= at; next++)
			append(plan, homes->region[next], homes->end[next]);
		if (at < homes->count || room == 0)
			continue;
		append(plan, now->region[i], plan->share[plan->count - 1] + 1u);
		room--;
	}
	for (; next < homes->count; next++)
		append(plan, homes->region[next], homes->end[next]);
}

static uint16_t spare_of(const struct gs_plan *plan, gs_id region)
{
	for (uint8_t i = 0; i < plan->count; i++)
		if (plan->region[i] == region)
			return plan->spare[i];
	return 0;
}

/*
 * Where a single region comes first now, all that `now` can lose is that one, and its second has
 * all of the spare. Here those who have not gone over may be the ones who are lost: they go to the
 * new first one, and to the second by its place if that is lost, too.
 */
static void take_spare(const struct gs_plan *now, struct gs_plan *plan)
{
	for (uint8_t i = 0; i < plan->count; i++) {
		if (now->spare[0] == 0)
			plan->spare[i] = plan->region[i] == now->region[0] ? UINT16_MAX : 0;
		else
			plan->spare[i] = spare_of(now, plan->region[i]);
	}
}

bool gs_plan_blend(const struct gs_plan *before, const struct gs_plan *now, uint8_t percent,
		   struct gs_plan *ret_plan)
{
	struct homes from = homes_of(before), to = homes_of(now), between;
	struct gs_plan plan = {.count = 0};

	if (percent >= 100 || from.count == 0 || to.count == 0 || are_equal(&from, &to) ||
	    !make_homes(&from, &to, percent, &between)) {
		*ret_plan = *now;
		return false;
	}
	arrange(&between, now, &plan);
	take_spare(now, &plan);
	*ret_plan = plan;
	return true;
}
