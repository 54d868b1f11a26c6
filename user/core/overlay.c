/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay.h"

#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define refuse(error, ...) (snprintf((error)->text, sizeof((error)->text), __VA_ARGS__), -EPERM)

static int compare_objects(const struct gs_overlay *a, const struct gs_overlay *b)
{
	if (a->backend != b->backend)
		return a->backend < b->backend ? -1 : 1;
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

int gs_overlay_compare(const struct gs_overlay *a, const struct gs_overlay *b)
{
	int order = compare_objects(a, b);

	return order ? order : strcmp(a->edge, b->edge);
}

bool gs_overlay_same_object(const struct gs_overlay *a, const struct gs_overlay *b)
{
	return compare_objects(a, b) == 0;
}

static bool is_past(const struct gs_overlay *overlay, int64_t unix_ms)
{
	return overlay->expires_unix_ms != 0 && overlay->expires_unix_ms <= unix_ms;
}

bool gs_overlay_holds(const struct gs_overlay *overlay, const char *edge, int64_t unix_ms)
{
	return (!overlay->edge[0] || strcmp(overlay->edge, edge) == 0) &&
	       !is_past(overlay, unix_ms);
}

bool gs_admin_must_expire(enum gs_admin admin)
{
	return admin == GS_ADMIN_FORCE_UP || admin == GS_ADMIN_FORCE_DOWN;
}

bool gs_admin_takes_new(enum gs_admin admin)
{
	return admin == GS_ADMIN_AUTO || admin == GS_ADMIN_FORCE_UP;
}

const struct gs_overlay *gs_overlay_find(const struct gs_overlay_set *set,
					 const struct gs_overlay *object)
{
	const struct gs_overlay *found = NULL;

	for (uint32_t i = 0; i < set->local_count; i++)
		if (gs_overlay_same_object(&set->local[i], object) &&
		    !is_past(&set->local[i], set->unix_ms))
			return &set->local[i];
	/* That of every edge stands before that of one. */
	for (uint32_t i = 0; i < set->shared_count; i++)
		if (gs_overlay_same_object(&set->shared[i], object) &&
		    gs_overlay_holds(&set->shared[i], set->edge, set->unix_ms))
			found = &set->shared[i];
	return found;
}

static int64_t sooner(const struct gs_overlay *overlay, const struct gs_overlay_set *set,
		      int64_t due)
{
	return overlay->expires_unix_ms > set->unix_ms && overlay->expires_unix_ms < due
		       ? overlay->expires_unix_ms
		       : due;
}

int64_t gs_overlay_due_unix_ms(const struct gs_overlay_set *set)
{
	int64_t due = INT64_MAX;

	for (uint32_t i = 0; i < set->local_count; i++)
		due = sooner(&set->local[i], set, due);
	for (uint32_t i = 0; i < set->shared_count; i++)
		if (gs_overlay_holds(&set->shared[i], set->edge, set->unix_ms))
			due = sooner(&set->shared[i], set, due);
	return due;
}

/* ---- all of it -------------------------------------------------------------------------------*/

/* A drain that has come to its end is what is closed: what is still there moves. */
static uint8_t admin_at(enum gs_admin admin, int64_t drain_until_unix_ms, int64_t unix_ms)
{
	bool is_over = drain_until_unix_ms != 0 && unix_ms >= drain_until_unix_ms;

	return (uint8_t)(admin == GS_ADMIN_DRAIN && is_over ? GS_ADMIN_FORCE_DOWN : admin);
}

static int compare_pools(const struct gs_admin_pool *a, gs_id service, gs_id region)
{
	if (a->service != service)
		return a->service < service ? -1 : 1;
	return (a->region > region) - (a->region < region);
}

/* The first pool that does not come before this one. */
static uint32_t pool_place(const struct gs_admins *admins, gs_id service, gs_id region)
{
	uint32_t low = 0, high = admins->pool_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (compare_pools(&admins->pools[middle], service, region) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void lay_over_pool(struct gs_admins *admins, const struct gs_overlay *overlay)
{
	uint32_t place = pool_place(admins, overlay->service, overlay->region);
	struct gs_admin_pool *pool = &admins->pools[place];

	if (place == admins->pool_count ||
	    compare_pools(pool, overlay->service, overlay->region) != 0) {
		if (admins->pool_count == sizeof(admins->pools) / sizeof(admins->pools[0]))
			return;
		memmove(pool + 1, pool, (admins->pool_count - place) * sizeof(*pool));
		admins->pool_count++;
	}
	*pool = (struct gs_admin_pool){overlay->service, overlay->region, overlay->admin};
}

static void lay(struct gs_admins *admins, const struct gs_overlay *overlay)
{
	if (overlay->backend)
		admins->backend[overlay->backend] = (uint8_t)overlay->admin;
	else if (overlay->service)
		lay_over_pool(admins, overlay);
	else
		admins->region[overlay->region] = (uint8_t)overlay->admin;
}

void gs_admins_resolve(const struct gs_snapshot *snapshot, const struct gs_overlay_set *set,
		       struct gs_admins *ret_admins)
{
	memset(ret_admins->region, GS_ADMIN_AUTO, sizeof(ret_admins->region));
	memset(ret_admins->backend, GS_ADMIN_AUTO, sizeof(ret_admins->backend));
	ret_admins->pool_count = 0;
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];

		ret_admins->region[region->id] =
			admin_at(region->admin, region->drain_until_unix_ms, set->unix_ms);
	}
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		ret_admins->backend[backend->id] =
			admin_at(backend->admin, backend->drain_until_unix_ms, set->unix_ms);
	}
	for (uint32_t i = 0; i < set->shared_count; i++)
		if (gs_overlay_holds(&set->shared[i], set->edge, set->unix_ms))
			lay(ret_admins, &set->shared[i]);
	for (uint32_t i = 0; i < set->local_count; i++)
		if (!is_past(&set->local[i], set->unix_ms))
			lay(ret_admins, &set->local[i]);
}

enum gs_admin gs_admins_pool(const struct gs_admins *admins, gs_id service, gs_id region)
{
	uint32_t place = admins->pool_count ? pool_place(admins, service, region) : 0;

	return place < admins->pool_count &&
			       compare_pools(&admins->pools[place], service, region) == 0
		       ? admins->pools[place].admin
		       : GS_ADMIN_AUTO;
}

/* ---- what is refused without force -----------------------------------------------------------*/

static bool has_region(const struct gs_region_set *set, gs_id id)
{
	return set->words[id / 64] >> id % 64 & 1;
}

static void add_region(struct gs_region_set *set, gs_id id)
{
	set->words[id / 64] |= 1ULL << id % 64;
}

/* Regions with a backend of the service (NULL: of any) that operators let take new flows; *ret_all:
 * with a backend of it at all. */
static struct gs_region_set open_regions(const struct gs_snapshot *snapshot,
					 const struct gs_admins *admins,
					 const struct gs_service *service,
					 struct gs_region_set *ret_all)
{
	struct gs_region_set open = {{0}};

	*ret_all = open;
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		if (service && backend->service != service->id)
			continue;
		add_region(ret_all, backend->region);
		if (gs_admin_takes_new(admins->backend[backend->id]) &&
		    gs_admin_takes_new(admins->region[backend->region]) &&
		    gs_admin_takes_new(gs_admins_pool(admins, backend->service, backend->region)))
			add_region(&open, backend->region);
	}
	return open;
}

static uint32_t count_of(const struct gs_region_set *set)
{
	uint32_t count = 0;

	for (uint32_t id = 1; id <= GS_ID_MAX_REGION; id++)
		count += has_region(set, (gs_id)id);
	return count;
}

static uint32_t count_up(const struct gs_region_set *open, const struct gs_region_set *down)
{
	uint32_t count = 0;

	for (uint32_t id = 1; id <= GS_ID_MAX_REGION; id++)
		count += has_region(open, (gs_id)id) && !has_region(down, (gs_id)id);
	return count;
}

/* Does something take flows before, and not after? */
static bool loses(const struct gs_region_set *before, const struct gs_region_set *after)
{
	for (size_t w = 0; w < sizeof(before->words) / sizeof(before->words[0]); w++)
		if (before->words[w] & ~after->words[w])
			return true;
	return false;
}

static int check_services(const struct gs_snapshot *snapshot, const struct gs_admins *before,
			  const struct gs_admins *after, const struct gs_rule_facts *facts,
			  struct gs_error *error)
{
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		struct gs_region_set all, was, is;

		was = open_regions(snapshot, before, service, &all);
		is = open_regions(snapshot, after, service, &all);
		if (loses(&was, &is) && count_up(&is, &facts->down) < GS_RULE_LEFT_MIN)
			return refuse(error,
				      "service %s would have no region left that is up and takes "
				      "new flows",
				      service->name);
	}
	return 0;
}

static int check_capacity(const struct gs_snapshot *snapshot, const struct gs_region_set *left,
			  const struct gs_rule_facts *facts, struct gs_error *error)
{
	const double needed = facts->demand * (100 + GS_RULE_HEADROOM_PERCENT) / 100;
	double capacity = 0;

	if (facts->demand < 0)
		return 0;
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];

		if (!has_region(left, region->id) || has_region(&facts->down, region->id))
			continue;
		if (region->capacity == 0)
			return 0;
		capacity += (double)region->capacity;
	}
	if (capacity >= needed)
		return 0;
	return refuse(error,
		      "what is left has a capacity of %.0f new flows a second, %.0f are needed "
		      "(a demand of %.0f and %d %%)",
		      capacity, needed, facts->demand, GS_RULE_HEADROOM_PERCENT);
}

int gs_admins_check(const struct gs_snapshot *snapshot, const struct gs_admins *before,
		    const struct gs_admins *after, const struct gs_rule_facts *facts,
		    struct gs_error *error)
{
	struct gs_region_set all, was, is;
	uint32_t total, open;
	int ret = check_services(snapshot, before, after, facts, error);

	if (ret)
		return ret;
	was = open_regions(snapshot, before, NULL, &all);
	is = open_regions(snapshot, after, NULL, &all);
	if (!loses(&was, &is))
		return 0;
	total = count_of(&all);
	open = count_of(&is);
	if (count_up(&is, &facts->down) < GS_RULE_LEFT_MIN)
		return refuse(error, "no region would be left that is up and takes new flows");
	if ((total - open) * 100 > total * GS_RULE_OUT_PERCENT)
		return refuse(error, "%u of %u regions would take no new flows, %d %% at most may",
			      total - open, total, GS_RULE_OUT_PERCENT);
	return check_capacity(snapshot, &is, facts, error);
}
