/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What regions, pools and backends may be given: health x admin x breakers -> usable words. A
 * function of a snapshot and of what the monitor says; writing the words is reconcile's.
 */
#pragma once

#include "user/core/breaker.h"
#include "user/core/health.h"
#include "user/core/overlay.h"
#include "user/core/quorum.h"
#include "user/core/types.h"
#include "user/ports.h"

struct gs_usable_pool {
	gs_id service, region;
	struct gs_usable word;
};

struct gs_dampings;
struct gs_panics;

/* Arrays index by id, except pools: only those that have backends, by service and region. */
struct gs_usable_view {
	struct gs_usable regions[GS_MAX_REGIONS];
	struct gs_usable backends[GS_MAX_BACKENDS];
	struct gs_usable_pool *pools;
	uint32_t pool_count;
	uint32_t *pool_of;	 /* of the snapshot's i-th backend, an index into pools */
	struct gs_admins admins; /* as operators had them when it was judged */
};

/* What decides besides the snapshot. */
struct gs_usable_health {
	/* What is known of a backend; UNKNOWN if nothing is. */
	enum gs_health_state (*get)(void *context, gs_id backend);
	/* What a pool's breaker lets through; NULL: everything. */
	struct gs_permit (*permit)(void *context, gs_id service, gs_id region);
	/* What all edges hold of a pool together; NULL: there are no others. */
	enum gs_global (*global)(void *context, gs_id service, gs_id region);
	/* Is it known that this machine has no way to it? NULL: of none. */
	bool (*is_unreachable)(void *context, gs_id backend);
	void *context;
	/* What time it is by the database's clock, for what expires; 0: before all of it. */
	int64_t unix_ms;
	const char *edge;		/* this one's name; NULL: "" */
	const struct gs_overlay *local; /* what is laid over objects on this edge alone */
	uint32_t local_count;
	struct gs_panics *panics;     /* NULL: health always counts */
	struct gs_dampings *dampings; /* NULL: nobody is held down for flapping */
	bool steps;		      /* both: this is what is in force, from now_ms on */
	uint64_t now_ms;	      /* gs_loop_now_ms */
};

/* What is laid over this snapshot's objects. Borrows from both. */
struct gs_overlay_set gs_usable_overlays(const struct gs_snapshot *snapshot,
					 const struct gs_usable_health *health);

/*
 * When the next drain's deadline comes or an overlay expires: the words change then. INT64_MAX:
 * none will.
 */
int64_t gs_usable_due_unix_ms(const struct gs_snapshot *snapshot,
			      const struct gs_usable_health *health);
/* Do operators let it take new flows? */
bool gs_usable_takes_new(const struct gs_usable_view *view, const struct gs_backend *backend);
/* Is it for health to say whether the backend takes new flows? (all three auto) */
bool gs_usable_is_for_health(const struct gs_usable_view *view, const struct gs_backend *backend);
/* Is it healthy and not damped, or said to be up, and not out of reach? */
bool gs_usable_is_healthy(const struct gs_usable_view *view, const struct gs_backend *backend,
			  const struct gs_usable_health *health);

/* The view of one snapshot. 0 or -ENOMEM; free with gs_usable_view_free. */
int gs_usable_view_new(const struct gs_snapshot *snapshot, const struct gs_usable_health *health,
		       struct gs_usable_view **ret_view);
/* As above, quicker: `view` is an earlier one of the same snapshot, which stays as it is. */
int gs_usable_view_next(const struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			const struct gs_usable_health *health, struct gs_usable_view **ret_view);
void gs_usable_view_free(struct gs_usable_view *view);
/* NULL: no backend of the service is in the region. */
const struct gs_usable_pool *gs_usable_view_pool(const struct gs_usable_view *view, gs_id service,
						 gs_id region);
/* The same; at: where it probably is, as in another view of the snapshot. */
const struct gs_usable_pool *gs_usable_view_pool_near(const struct gs_usable_view *view,
						      uint32_t at, gs_id service, gs_id region);
const char *gs_usable_name(struct gs_usable word); /* up trial drain down */

/*
 * Writes what differs between two views (before may be NULL: everything), in an order in which a
 * packet never finds less than both views offer: backends up, pools up or with another fallback,
 * regions up; then regions down, pools down, backends down.
 */
void gs_usable_write(const struct gs_dataplane *dataplane, const struct gs_usable_view *before,
		     const struct gs_usable_view *after);

/*
 * Before a generation of `to` comes into force, while that of `from` is: what `after` raises,
 * backends first, so that packets find it; then the regions and pools it leaves nobody in, where
 * their clients have somewhere else to go in both views. What the generation in force knows is not
 * raised onto backends it does not know. It all ends with gs_usable_write(after, what then holds).
 */
void gs_usable_write_ahead(const struct gs_dataplane *dataplane,
			   const struct gs_usable_view *before, const struct gs_snapshot *from,
			   const struct gs_usable_view *after, const struct gs_snapshot *to);

/* What the maps say now of everything `like` speaks of. 0 or -ENOMEM. */
int gs_usable_view_read(const struct gs_dataplane *dataplane, const struct gs_usable_view *like,
			struct gs_usable_view **ret_view);
