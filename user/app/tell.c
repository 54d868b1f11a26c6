// SPDX-License-Identifier: Apache-2.0
#include "tell.h"

#include "user/base/log.h"
#include "user/base/loop.h"
#include "user/core/geo.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

/* What fits: thousands of transitions are made in one turn, and snprintf is slow. */
static void copy(char *out, size_t room, const char *text)
{
	size_t length = strnlen(text, room - 1);

	memcpy(out, text, length);
	out[length] = '\0';
}

static void record_why(const struct gs_telling *t, enum gs_object_kind kind, const char *region,
		       const char *service, const char *backend, const char *from, const char *to,
		       const char *why)
{
	struct gs_transition transition = {.unix_ms = gs_unix_ms(), .kind = kind};

	copy(transition.region, sizeof(transition.region), region);
	copy(transition.service, sizeof(transition.service), service);
	copy(transition.backend, sizeof(transition.backend), backend);
	copy(transition.from, sizeof(transition.from), from);
	copy(transition.to, sizeof(transition.to), to);
	copy(transition.why, sizeof(transition.why), why);
	t->store->ops->record_transition(t->store->self, &transition);
}

static void record(const struct gs_telling *t, enum gs_object_kind kind, const char *region,
		   const char *service, const char *backend, const char *from, const char *to)
{
	record_why(t, kind, region, service, backend, from, to, t->why);
}

static const char *region_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, id);

	return region ? region->name : "?";
}

static const char *service_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, id);

	return service ? service->name : "?";
}

/* Who takes over for people to read: the nearest region that is up. Each client's plan decides. */
static const char *nearest_up(const struct gs_snapshot *snapshot, const struct gs_usable_view *view,
			      const struct gs_region *lost)
{
	const char *name = "none";
	double best_km = -1;

	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];
		double km;

		if (region == lost || view->regions[region->id].state != GS_USABLE_UP)
			continue;
		km = gs_geo_distance_km(&lost->coord, &region->coord);
		if (best_km < 0 || km < best_km) {
			best_km = km;
			name = region->name;
		}
	}
	return name;
}

static const char *from_name(const struct gs_usable *before)
{
	return before ? gs_usable_name(*before) : "unknown";
}

static bool changed(const struct gs_usable *before, struct gs_usable after)
{
	return before ? before->state != after.state : after.state != GS_USABLE_DOWN;
}

static void tell_regions(const struct gs_telling *t)
{
	for (uint32_t i = 0; i < t->snapshot->region_count; i++) {
		const struct gs_region *region = &t->snapshot->regions[i];
		const struct gs_usable *was = t->before ? &t->before->regions[region->id] : NULL;
		struct gs_usable now = t->after->regions[region->id];

		if (!changed(was, now))
			continue;
		if (now.state == GS_USABLE_UP)
			gs_log(GS_LOG_INFO, "region_up", "region=%s from=%s why=%s", region->name,
			       from_name(was), t->why);
		else
			gs_log(GS_LOG_WARNING, "region_failover", "region=%s to=%s state=%s why=%s",
			       region->name, nearest_up(t->snapshot, t->after, region),
			       gs_usable_name(now), t->why);
		record(t, GS_OBJECT_REGION, region->name, "", "", from_name(was),
		       gs_usable_name(now));
	}
}

/* Of each kind, in one turn of the loop: a line is a write, and a start is thousands of changes. */
enum { LINES_MOST = 50 };

/* Is there to be a line for one more? The history has them all. */
static bool has_line(uint32_t *told)
{
	return (*told)++ < LINES_MOST;
}

static void tell_rest(const struct gs_telling *t, const char *what, uint32_t told)
{
	if (told > LINES_MOST)
		gs_log(GS_LOG_WARNING, "states_changed", "of=%s more=%u why=%s", what,
		       told - LINES_MOST, t->why);
}

static void tell_pools(const struct gs_telling *t)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < t->after->pool_count; i++) {
		const struct gs_usable_pool *pool = &t->after->pools[i], *was;
		const char *region, *service;

		was = t->before
			      ? gs_usable_view_pool_near(t->before, i, pool->service, pool->region)
			      : NULL;
		if (!changed(was ? &was->word : NULL, pool->word))
			continue;
		region = region_name(t->snapshot, pool->region);
		service = service_name(t->snapshot, pool->service);
		if (has_line(&told))
			gs_log(pool->word.state == GS_USABLE_UP ? GS_LOG_INFO : GS_LOG_WARNING,
			       "pool_state", "service=%s region=%s from=%s to=%s why=%s", service,
			       region, from_name(was ? &was->word : NULL),
			       gs_usable_name(pool->word), t->why);
		record(t, GS_OBJECT_POOL, region, service, "", from_name(was ? &was->word : NULL),
		       gs_usable_name(pool->word));
	}
	tell_rest(t, "pools", told);
}

enum { WHY_MAX = GS_DAMPING_TEXT_MAX + 128 };

/* Why this one: what has changed, and whether that began or ended its being held. */
static const char *why_of(const struct gs_telling *t, const struct gs_backend *backend,
			  bool is_down, char out[WHY_MAX])
{
	char damped[GS_DAMPING_TEXT_MAX];

	gs_dampings_why(t->dampings, gs_snapshot_service(t->snapshot, backend->service),
			backend->id, t->now_ms, damped);
	if (!damped[0])
		return t->why;
	if (is_down)
		snprintf(out, WHY_MAX, "%.100s; %s", t->why, damped);
	else
		snprintf(out, WHY_MAX, "%s", damped);
	return out;
}

/* first: the backend whose verdict is its first one; it was unknown, whatever its word said. */
static void tell_backends(const struct gs_telling *t)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < t->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &t->snapshot->backends[i];
		const struct gs_usable *was = t->before ? &t->before->backends[backend->id] : NULL;
		struct gs_usable now = t->after->backends[backend->id];
		const char *from = backend->id == t->first ? "unknown" : from_name(was);
		const char *why;
		char text[WHY_MAX];

		if (!changed(was, now) && backend->id != t->first)
			continue;
		why = why_of(t, backend, now.state == GS_USABLE_DOWN, text);
		if (has_line(&told))
			gs_log(now.state == GS_USABLE_UP ? GS_LOG_INFO : GS_LOG_WARNING,
			       "backend_state", "backend=%s region=%s from=%s to=%s why=%s",
			       backend->name, region_name(t->snapshot, backend->region), from,
			       gs_usable_name(now), why);
		record_why(t, GS_OBJECT_BACKEND, region_name(t->snapshot, backend->region),
			   service_name(t->snapshot, backend->service), backend->name, from,
			   gs_usable_name(now), why);
	}
	tell_rest(t, "backends", told);
}

void gs_tell_changes(const struct gs_telling *telling)
{
	tell_backends(telling);
	tell_pools(telling);
	tell_regions(telling);
}

/* ---- breakers -------------------------------------------------------------------------------- */

void gs_tell_breaker(const struct gs_store *store, const char *service, const char *region,
		     const struct gs_breakers_change *change)
{
	struct gs_transition transition = {.unix_ms = gs_unix_ms(), .kind = GS_OBJECT_BREAKER};

	gs_log(strcmp(change->to, "closed") == 0 ? GS_LOG_INFO : GS_LOG_WARNING, "breaker_state",
	       "service=%s region=%s from=%s to=%s why=%s actor=%s", service, region, change->from,
	       change->to, change->why, change->actor);
	if (strcmp(change->from, change->to) == 0)
		return;
	snprintf(transition.region, sizeof(transition.region), "%s", region);
	snprintf(transition.service, sizeof(transition.service), "%s", service);
	snprintf(transition.from, sizeof(transition.from), "%s", change->from);
	snprintf(transition.to, sizeof(transition.to), "%s", change->to);
	snprintf(transition.why, sizeof(transition.why), "%s", change->why);
	snprintf(transition.actor, sizeof(transition.actor), "%s", change->actor);
	transition.breaker = change->saved;
	store->ops->record_transition(store->self, &transition);
}

/* ---- generations ----------------------------------------------------------------------------- */

/* As many as are worth reading; a new GeoIP database may change all of thousands. */
enum { PLANS_TOLD_MAX = 500 };

static void record_plan(const struct gs_generation_telling *t, gs_id service_id, gs_id region_id,
			uint32_t before, uint32_t after)
{
	const struct gs_service *service = gs_snapshot_service(t->snapshot, service_id);
	const struct gs_region *region = gs_snapshot_region(t->snapshot, region_id);
	struct gs_transition transition = {.unix_ms = gs_unix_ms(), .kind = GS_OBJECT_PLAN};

	if (!service || !region)
		return;
	snprintf(transition.service, sizeof(transition.service), "%s", service->name);
	snprintf(transition.region, sizeof(transition.region), "%s", region->name);
	snprintf(transition.from, sizeof(transition.from), "%u locations", before);
	snprintf(transition.to, sizeof(transition.to), "%u locations", after);
	snprintf(transition.why, sizeof(transition.why), "generation %lu: %.60s",
		 (unsigned long)t->after, t->why);
	snprintf(transition.actor, sizeof(transition.actor), "%s", t->snapshot->actor);
	t->store->ops->record_transition(t->store->self, &transition);
}

/*
 * The next pool of either list, which are sorted by service and region; what one of them lacks has
 * no locations there. False at the end of both.
 */
static bool next_pool(const struct gs_generation_telling *t, uint32_t *i, uint32_t *j,
		      struct gs_plan_count *ret_was, struct gs_plan_count *ret_is)
{
	const struct gs_plan_counts *a = t->counts_before, *b = t->counts_after;
	const struct gs_plan_count *was = *i < a->count ? &a->counts[*i] : NULL;
	const struct gs_plan_count *is = *j < b->count ? &b->counts[*j] : NULL;
	int order;

	if (!was && !is)
		return false;
	order = !was ? 1 : !is ? -1 : gs_plan_count_compare(was, is);
	*ret_was = order <= 0 ? *was : *is;
	*ret_is = order >= 0 ? *is : *was;
	if (order > 0)
		ret_was->locations = 0;
	if (order < 0)
		ret_is->locations = 0;
	*i += order <= 0;
	*j += order >= 0;
	return true;
}

static void record_plans(const struct gs_generation_telling *t)
{
	struct gs_plan_count was, is;
	uint32_t i = 0, j = 0, told = 0;

	while (told < PLANS_TOLD_MAX && next_pool(t, &i, &j, &was, &is)) {
		if (was.locations == is.locations)
			continue;
		record_plan(t, is.service, is.region, was.locations, is.locations);
		told++;
	}
	if (told == PLANS_TOLD_MAX)
		gs_log(GS_LOG_INFO, "plans_changed", "told=%u more=%s", told, "not in the history");
}

void gs_tell_generation(const struct gs_generation_telling *telling)
{
	struct gs_transition transition = {.unix_ms = gs_unix_ms(), .kind = GS_OBJECT_GENERATION};

	snprintf(transition.from, sizeof(transition.from), "%lu", (unsigned long)telling->before);
	snprintf(transition.to, sizeof(transition.to), "%lu", (unsigned long)telling->after);
	snprintf(transition.why, sizeof(transition.why), "%s", telling->why);
	snprintf(transition.actor, sizeof(transition.actor), "%s", telling->snapshot->actor);
	telling->store->ops->record_transition(telling->store->self, &transition);
	if (telling->counts_before && telling->counts_after)
		record_plans(telling);
}
