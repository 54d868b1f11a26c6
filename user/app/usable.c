/* SPDX-License-Identifier: Apache-2.0 */
#include "usable.h"

#include "dampings.h"
#include "panic.h"
#include "usable_global.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/plan.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

#define ACCEPT_ALL UINT16_MAX

static const struct gs_usable DOWN = {.state = GS_USABLE_DOWN, .accept = ACCEPT_ALL};

const char *gs_usable_name(struct gs_usable word)
{
	switch (word.state) {
	case GS_USABLE_UP:
		return "up";
	case GS_USABLE_TRIAL:
		return "trial";
	case GS_USABLE_DRAIN:
		return "drain";
	default:
		return "down";
	}
}

/* ---- the rules ------------------------------------------------------------------------------- */

struct gs_overlay_set gs_usable_overlays(const struct gs_snapshot *snapshot,
					 const struct gs_usable_health *health)
{
	return (struct gs_overlay_set){
		.shared = snapshot->overlays,
		.shared_count = snapshot->overlay_count,
		.local = health->local,
		.local_count = health->local_count,
		.edge = health->edge ? health->edge : "",
		.unix_ms = health->unix_ms,
	};
}

int64_t gs_usable_due_unix_ms(const struct gs_snapshot *snapshot,
			      const struct gs_usable_health *health)
{
	const struct gs_overlay_set overlays = gs_usable_overlays(snapshot, health);
	int64_t due = gs_overlay_due_unix_ms(&overlays), unix_ms = health->unix_ms;

	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].drain_until_unix_ms > unix_ms &&
		    snapshot->regions[i].drain_until_unix_ms < due)
			due = snapshot->regions[i].drain_until_unix_ms;
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].drain_until_unix_ms > unix_ms &&
		    snapshot->backends[i].drain_until_unix_ms < due)
			due = snapshot->backends[i].drain_until_unix_ms;
	return due;
}

/* Of the backend itself, unless its pool or region is forced up and it is left to health. */
static enum gs_admin backend_admin(const struct gs_admins *admins, const struct gs_backend *backend)
{
	enum gs_admin admin = (enum gs_admin)admins->backend[backend->id];

	if (admin == GS_ADMIN_AUTO &&
	    (admins->region[backend->region] == GS_ADMIN_FORCE_UP ||
	     gs_admins_pool(admins, backend->service, backend->region) == GS_ADMIN_FORCE_UP))
		return GS_ADMIN_FORCE_UP;
	return admin;
}

/* As far as operators go. */
static bool takes_new(const struct gs_admins *admins, const struct gs_backend *backend)
{
	return gs_admin_takes_new((enum gs_admin)admins->backend[backend->id]) &&
	       gs_admin_takes_new((enum gs_admin)admins->region[backend->region]) &&
	       gs_admin_takes_new(gs_admins_pool(admins, backend->service, backend->region));
}

bool gs_usable_takes_new(const struct gs_usable_view *view, const struct gs_backend *backend)
{
	return takes_new(&view->admins, backend);
}

bool gs_usable_is_for_health(const struct gs_usable_view *view, const struct gs_backend *backend)
{
	return takes_new(&view->admins, backend) &&
	       backend_admin(&view->admins, backend) == GS_ADMIN_AUTO;
}

/* is_good: as health has it, or nobody cares any more. */
static uint16_t backend_state(enum gs_admin admin, bool is_good, bool is_unreachable)
{
	switch (admin) {
	case GS_ADMIN_FORCE_UP:
		return is_unreachable ? GS_USABLE_DOWN : GS_USABLE_UP;
	case GS_ADMIN_AUTO:
		return is_good ? GS_USABLE_UP : GS_USABLE_DOWN;
	case GS_ADMIN_DRAIN:
		return is_good ? GS_USABLE_DRAIN : GS_USABLE_DOWN;
	default:
		return GS_USABLE_DOWN;
	}
}

/* Of a region or a pool, from its best backend. */
static uint16_t group_state(enum gs_admin admin, uint16_t best_backend)
{
	switch (admin) {
	case GS_ADMIN_FORCE_UP:
	case GS_ADMIN_AUTO:
		return best_backend;
	case GS_ADMIN_DRAIN:
		return best_backend == GS_USABLE_DOWN ? GS_USABLE_DOWN : GS_USABLE_DRAIN;
	default:
		return GS_USABLE_DOWN;
	}
}

static bool is_alive(enum gs_health_state state)
{
	return state == GS_HEALTH_UP || state == GS_HEALTH_SUSPECT;
}

static bool is_unreachable(const struct gs_usable_health *health, gs_id backend)
{
	return health->is_unreachable && health->is_unreachable(health->context, backend);
}

bool gs_usable_is_healthy(const struct gs_usable_view *view, const struct gs_backend *backend,
			  const struct gs_usable_health *health)
{
	if (backend_admin(&view->admins, backend) == GS_ADMIN_FORCE_UP)
		return !is_unreachable(health, backend->id);
	return is_alive(health->get(health->context, backend->id)) &&
	       !gs_dampings_hold(health->dampings, backend->id);
}

/* Services with a backend that is up, or that an operator says is, where clients may go. */
static void find_services_up(const struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			     const struct gs_usable_health *health, bool up[GS_MAX_SERVICES])
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		if (!up[backend->service] && takes_new(&view->admins, backend) &&
		    gs_usable_is_healthy(view, backend, health))
			up[backend->service] = true;
	}
}

static int compare_pools(const void *left, const void *right)
{
	const struct gs_usable_pool *a = left, *b = right;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static void add_pools(struct gs_usable_view *view, const struct gs_snapshot *snapshot)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		view->pools[i] = (struct gs_usable_pool){
			.service = snapshot->backends[i].service,
			.region = snapshot->backends[i].region,
			.word = DOWN,
		};
	if (snapshot->backend_count == 0)
		return;
	qsort(view->pools, snapshot->backend_count, sizeof(view->pools[0]), compare_pools);
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (kept == 0 || compare_pools(&view->pools[kept - 1], &view->pools[i]) != 0)
			view->pools[kept++] = view->pools[i];
	view->pool_count = kept;
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		view->pool_of[i] =
			(uint32_t)(gs_usable_view_pool(view, snapshot->backends[i].service,
						       snapshot->backends[i].region) -
				   view->pools);
}

/* Which pools there are depends on the snapshot only. */
static void copy_pools(struct gs_usable_view *view, const struct gs_usable_view *from,
		       uint32_t backend_count)
{
	view->pool_count = from->pool_count;
	for (uint32_t i = 0; i < from->pool_count; i++) {
		view->pools[i] = from->pools[i];
		view->pools[i].word = DOWN;
	}
	memcpy(view->pool_of, from->pool_of, backend_count * sizeof(view->pool_of[0]));
}

const struct gs_usable_pool *gs_usable_view_pool(const struct gs_usable_view *view, gs_id service,
						 gs_id region)
{
	const struct gs_usable_pool key = {.service = service, .region = region};

	if (view->pool_count == 0)
		return NULL;
	return bsearch(&key, view->pools, view->pool_count, sizeof(key), compare_pools);
}

const struct gs_usable_pool *gs_usable_view_pool_near(const struct gs_usable_view *view,
						      uint32_t at, gs_id service, gs_id region)
{
	if (at < view->pool_count && view->pools[at].service == service &&
	    view->pools[at].region == region)
		return &view->pools[at];
	return gs_usable_view_pool(view, service, region);
}

static void judge_backends(struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			   const struct gs_usable_health *health, const bool up[GS_MAX_SERVICES])
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		struct gs_usable_pool *pool = &view->pools[view->pool_of[i]];
		enum gs_health_state seen = health->get(health->context, backend->id);
		/* Unknown: nobody else of the service is up, so one not known to be down will do.
		 */
		bool is_good =
			(is_alive(seen) && !gs_dampings_hold(health->dampings, backend->id)) ||
			(seen == GS_HEALTH_UNKNOWN && !up[backend->service]) ||
			gs_panics_let(health->panics, backend->id);
		uint16_t state = backend_state(backend_admin(&view->admins, backend), is_good,
					       is_unreachable(health, backend->id));

		view->backends[backend->id].state = state;
		if (state > pool->word.state)
			pool->word.state = state;
		if (state == GS_USABLE_UP && pool->word.fallback == 0)
			pool->word.fallback = backend->id;
	}
}

/* Operators' words for pools, then regions by the best of their pools, and theirs. */
static void judge_groups(struct gs_usable_view *view, const struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0; i < view->pool_count; i++) {
		struct gs_usable_pool *pool = &view->pools[i];

		pool->word.state =
			group_state(gs_admins_pool(&view->admins, pool->service, pool->region),
				    pool->word.state);
		if (pool->word.state > view->regions[pool->region].state)
			view->regions[pool->region].state = pool->word.state;
	}
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		gs_id id = snapshot->regions[i].id;

		view->regions[id].state = group_state((enum gs_admin)view->admins.region[id],
						      view->regions[id].state);
	}
}

/* ---- breakers -------------------------------------------------------------------------------- */

static bool takes_clients(const struct gs_usable_view *view, const struct gs_usable_pool *pool)
{
	return pool->word.state == GS_USABLE_UP &&
	       view->regions[pool->region].state == GS_USABLE_UP;
}

static void limit_pool(struct gs_usable *word, struct gs_permit permit)
{
	switch (permit.kind) {
	case GS_PERMIT_NONE: /* known flows stay; those of dead backends are moved by their words */
		word->state = GS_USABLE_DRAIN;
		break;
	case GS_PERMIT_TRIALS:
		word->state = GS_USABLE_TRIAL;
		word->trials = permit.trials;
		break;
	case GS_PERMIT_SHARE:
		word->accept = permit.accept;
		break;
	default:
		break;
	}
}

/*
 * The pools of one service. A breaker turns clients away only while another pool takes everybody:
 * the last one that is left is better than nothing. What an operator forces holds.
 */
static void limit_service(struct gs_usable_view *view, struct gs_usable_pool *pools, uint32_t count,
			  const struct gs_usable_health *health)
{
	bool has_other = false;

	for (uint32_t i = 0; i < count && !has_other; i++)
		has_other =
			takes_clients(view, &pools[i]) &&
			health->permit(health->context, pools[i].service, pools[i].region).kind ==
				GS_PERMIT_ALL;
	for (uint32_t i = 0; i < count; i++) {
		struct gs_permit permit;

		if (pools[i].word.state != GS_USABLE_UP)
			continue;
		permit = health->permit(health->context, pools[i].service, pools[i].region);
		if (has_other || permit.forced)
			limit_pool(&pools[i].word, permit);
	}
}

static void limit_pools(struct gs_usable_view *view, const struct gs_usable_health *health)
{
	uint32_t first = 0;

	for (uint32_t i = 1; i <= view->pool_count; i++) {
		if (i < view->pool_count && view->pools[i].service == view->pools[first].service)
			continue;
		limit_service(view, &view->pools[first], i - first, health);
		first = i;
	}
}

static struct gs_usable_view *allocate_view(uint32_t pools, uint32_t backends)
{
	struct gs_usable_view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	view->pools = calloc(pools + 1, sizeof(view->pools[0]));
	view->pool_of = calloc(backends + 1, sizeof(view->pool_of[0]));
	if (view->pools && view->pool_of)
		return view;
	gs_usable_view_free(view);
	return NULL;
}

static void judge(struct gs_usable_view *view, const struct gs_snapshot *snapshot,
		  const struct gs_usable_health *health)
{
	const struct gs_overlay_set overlays = gs_usable_overlays(snapshot, health);
	bool up[GS_MAX_SERVICES] = {false};

	gs_admins_resolve(snapshot, &overlays, &view->admins);
	if (health->steps) {
		gs_dampings_step(health->dampings, view, snapshot, health);
		gs_panics_step(health->panics, view, snapshot, health);
	}
	for (uint32_t i = 0; i < GS_MAX_REGIONS; i++)
		view->regions[i] = DOWN;
	for (uint32_t i = 0; i < GS_MAX_BACKENDS; i++)
		view->backends[i] = DOWN;
	find_services_up(view, snapshot, health, up);
	judge_backends(view, snapshot, health, up);
	judge_groups(view, snapshot);
	if (health->global && view->pool_count > 0)
		gs_usable_limit_global(view, snapshot, health);
	if (health->permit && view->pool_count > 0)
		limit_pools(view, health);
}

int gs_usable_view_new(const struct gs_snapshot *snapshot, const struct gs_usable_health *health,
		       struct gs_usable_view **ret_view)
{
	struct gs_usable_view *view =
		allocate_view(snapshot->backend_count, snapshot->backend_count);

	if (!view)
		return -ENOMEM;
	add_pools(view, snapshot);
	judge(view, snapshot, health);
	*ret_view = view;
	return 0;
}

int gs_usable_view_next(const struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			const struct gs_usable_health *health, struct gs_usable_view **ret_view)
{
	struct gs_usable_view *next = allocate_view(view->pool_count, snapshot->backend_count);

	if (!next)
		return -ENOMEM;
	copy_pools(next, view, snapshot->backend_count);
	judge(next, snapshot, health);
	*ret_view = next;
	return 0;
}

void gs_usable_view_free(struct gs_usable_view *view)
{
	if (!view)
		return;
	free(view->pools);
	free(view->pool_of);
	free(view);
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool differs(struct gs_usable a, struct gs_usable b)
{
	return a.state != b.state || a.accept != b.accept || a.fallback != b.fallback;
}

static void write_array(const struct gs_dataplane *dataplane, enum gs_object_kind kind,
			const struct gs_usable *before, const struct gs_usable *after,
			uint32_t count, bool raise)
{
	for (uint32_t id = 1; id < count; id++) {
		bool raises = !before || after[id].state >= before[id].state;

		if (raises == raise && (!before || differs(before[id], after[id])))
			dataplane->ops->set_usable(dataplane->self, kind, id, after[id]);
	}
}

static void write_pools(const struct gs_dataplane *dataplane, const struct gs_usable_view *before,
			const struct gs_usable_view *after, bool raise)
{
	for (uint32_t i = 0; i < after->pool_count; i++) {
		const struct gs_usable_pool *pool = &after->pools[i], *was;
		bool raises;

		was = before ? gs_usable_view_pool_near(before, i, pool->service, pool->region)
			     : NULL;
		raises = !was || pool->word.state >= was->word.state;
		if (raises == raise && (!was || differs(was->word, pool->word)))
			dataplane->ops->set_usable(dataplane->self, GS_OBJECT_POOL,
						   gs_pool_index(pool->service, pool->region),
						   pool->word);
	}
}

/* Pools that are no more: nobody may be sent there. */
static void close_pools(const struct gs_dataplane *dataplane, const struct gs_usable_view *before,
			const struct gs_usable_view *after)
{
	for (uint32_t i = 0; before && i < before->pool_count; i++) {
		const struct gs_usable_pool *pool = &before->pools[i];

		if (!gs_usable_view_pool_near(after, i, pool->service, pool->region))
			dataplane->ops->set_usable(dataplane->self, GS_OBJECT_POOL,
						   gs_pool_index(pool->service, pool->region),
						   DOWN);
	}
}

void gs_usable_write(const struct gs_dataplane *dataplane, const struct gs_usable_view *before,
		     const struct gs_usable_view *after)
{
	const struct gs_usable *regions = before ? before->regions : NULL;
	const struct gs_usable *backends = before ? before->backends : NULL;

	write_array(dataplane, GS_OBJECT_BACKEND, backends, after->backends, GS_MAX_BACKENDS, true);
	write_pools(dataplane, before, after, true);
	write_array(dataplane, GS_OBJECT_REGION, regions, after->regions, GS_MAX_REGIONS, true);
	write_array(dataplane, GS_OBJECT_REGION, regions, after->regions, GS_MAX_REGIONS, false);
	write_pools(dataplane, before, after, false);
	close_pools(dataplane, before, after);
	write_array(dataplane, GS_OBJECT_BACKEND, backends, after->backends, GS_MAX_BACKENDS,
		    false);
}

/* ---- before and at the start ----------------------------------------------------------------- */

/* Both views, and what they say of the pools there are before. */
struct ahead {
	const struct gs_dataplane *dataplane;
	const struct gs_usable_view *before, *after;
	/* Of before's pools: a backend that stays what it is and is up in both; 0: none. */
	gs_id *stays;
};

static int find_staying(struct ahead *ahead, const struct gs_snapshot *from,
			const struct gs_snapshot *to)
{
	ahead->stays = calloc(ahead->before->pool_count + 1, sizeof(*ahead->stays));
	if (!ahead->stays)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->backend_count; i++) {
		const struct gs_backend *was = &from->backends[i];
		const struct gs_backend *is = gs_snapshot_backend(to, was->id);
		const struct gs_usable_pool *pool =
			gs_usable_view_pool(ahead->before, was->service, was->region);

		if (pool && is && is->service == was->service && is->region == was->region &&
		    gs_addr_compare(&is->addr, &was->addr) == 0 &&
		    ahead->after->backends[was->id].state == GS_USABLE_UP)
			ahead->stays[pool - ahead->before->pools] = was->id;
	}
	return 0;
}

/*
 * What is raised must be there for the generation in force: a pool it knows falls back on a backend
 * it knows. A pool it does not know is not asked for yet.
 */
static void raise_pools(const struct ahead *ahead)
{
	for (uint32_t i = 0; i < ahead->after->pool_count; i++) {
		const struct gs_usable_pool *pool = &ahead->after->pools[i];
		const struct gs_usable_pool *was =
			gs_usable_view_pool(ahead->before, pool->service, pool->region);
		struct gs_usable word = pool->word;

		if (word.state <= (was ? was->word.state : GS_USABLE_DOWN))
			continue;
		if (was && word.state == GS_USABLE_UP) {
			word.fallback = ahead->stays[was - ahead->before->pools];
			if (word.fallback == 0)
				continue;
		}
		ahead->dataplane->ops->set_usable(ahead->dataplane->self, GS_OBJECT_POOL,
						  gs_pool_index(pool->service, pool->region), word);
	}
}

/*
 * pool: one of before's. Is there another of its service that takes everybody, now and in what is
 * to come?
 */
static bool has_other(const struct ahead *ahead, const struct gs_usable_pool *pool)
{
	const struct gs_usable_pool *end = ahead->before->pools + ahead->before->pool_count;
	const struct gs_usable_pool *other = pool, *later;

	while (other > ahead->before->pools && other[-1].service == pool->service)
		other--;
	for (; other < end && other->service == pool->service; other++) {
		if (other == pool || !takes_clients(ahead->before, other))
			continue;
		later = gs_usable_view_pool(ahead->after, other->service, other->region);
		if (later && takes_clients(ahead->after, later))
			return true;
	}
	return false;
}

/* A region is left by all its services or by none: which of them would have nowhere to go? */
static void lower_regions(const struct ahead *ahead)
{
	bool needed[GS_MAX_REGIONS] = {false};

	for (uint32_t i = 0; i < ahead->before->pool_count; i++) {
		const struct gs_usable_pool *pool = &ahead->before->pools[i];

		if (ahead->after->regions[pool->region].state <
			    ahead->before->regions[pool->region].state &&
		    takes_clients(ahead->before, pool) && !has_other(ahead, pool))
			needed[pool->region] = true;
	}
	for (uint32_t id = 1; id < GS_MAX_REGIONS; id++)
		if (!needed[id] &&
		    ahead->after->regions[id].state < ahead->before->regions[id].state)
			ahead->dataplane->ops->set_usable(ahead->dataplane->self, GS_OBJECT_REGION,
							  id, ahead->after->regions[id]);
}

static void lower_pools(const struct ahead *ahead)
{
	for (uint32_t i = 0; i < ahead->after->pool_count; i++) {
		const struct gs_usable_pool *pool = &ahead->after->pools[i];
		const struct gs_usable_pool *was =
			gs_usable_view_pool(ahead->before, pool->service, pool->region);

		if (was && pool->word.state < was->word.state &&
		    (!takes_clients(ahead->before, was) || has_other(ahead, was)))
			ahead->dataplane->ops->set_usable(
				ahead->dataplane->self, GS_OBJECT_POOL,
				gs_pool_index(pool->service, pool->region), pool->word);
	}
}

static void raise_array(const struct gs_dataplane *dataplane, enum gs_object_kind kind,
			const struct gs_usable *before, const struct gs_usable *after,
			uint32_t count)
{
	for (uint32_t id = 1; id < count; id++)
		if (after[id].state > before[id].state)
			dataplane->ops->set_usable(dataplane->self, kind, id, after[id]);
}

void gs_usable_write_ahead(const struct gs_dataplane *dataplane,
			   const struct gs_usable_view *before, const struct gs_snapshot *from,
			   const struct gs_usable_view *after, const struct gs_snapshot *to)
{
	struct ahead ahead = {.dataplane = dataplane, .before = before, .after = after};

	if (find_staying(&ahead, from, to))
		return; /* a moment later will do */
	raise_array(dataplane, GS_OBJECT_BACKEND, before->backends, after->backends,
		    GS_MAX_BACKENDS);
	raise_pools(&ahead);
	raise_array(dataplane, GS_OBJECT_REGION, before->regions, after->regions, GS_MAX_REGIONS);
	lower_regions(&ahead);
	lower_pools(&ahead);
	free(ahead.stays);
}

int gs_usable_view_read(const struct gs_dataplane *dataplane, const struct gs_usable_view *like,
			struct gs_usable_view **ret_view)
{
	struct gs_usable_view *view = allocate_view(like->pool_count, 0);

	if (!view)
		return -ENOMEM;
	view->pool_count = like->pool_count;
	for (uint32_t id = 0; id < GS_MAX_REGIONS; id++)
		view->regions[id] =
			dataplane->ops->get_usable(dataplane->self, GS_OBJECT_REGION, id);
	for (uint32_t id = 0; id < GS_MAX_BACKENDS; id++)
		view->backends[id] =
			dataplane->ops->get_usable(dataplane->self, GS_OBJECT_BACKEND, id);
	for (uint32_t i = 0; i < like->pool_count; i++) {
		view->pools[i] = like->pools[i];
		view->pools[i].word = dataplane->ops->get_usable(
			dataplane->self, GS_OBJECT_POOL,
			gs_pool_index(like->pools[i].service, like->pools[i].region));
	}
	*ret_view = view;
	return 0;
}
