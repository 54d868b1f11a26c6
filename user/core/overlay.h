/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators say of regions, pools and backends: the configuration's `admin`, and over it what
 * is laid until it expires. Which counts, until when, and what may not be done. Pure.
 */
#pragma once

#include "types.h"

enum {
	GS_OVERLAY_SECONDS_MAX = 90 * 86400, /* what is to last belongs into the configuration */
	GS_OVERLAYS_LOCAL_MAX = 256,	     /* laid over objects on one edge alone */
};

/* Order: by object, then edge, that of every edge first. */
int gs_overlay_compare(const struct gs_overlay *a, const struct gs_overlay *b);
/* Of one region, pool or backend, whatever their edges. */
bool gs_overlay_same_object(const struct gs_overlay *a, const struct gs_overlay *b);
/* At this time, on this edge. */
bool gs_overlay_holds(const struct gs_overlay *overlay, const char *edge, int64_t unix_ms);
/* force_up and force_down are against what health says: for some time only. */
bool gs_admin_must_expire(enum gs_admin admin);
/* Does what is in this state take new flows, as far as operators go? (auto, force_up) */
bool gs_admin_takes_new(enum gs_admin admin);

/* What is laid over objects, as one edge sees it at one time. */
struct gs_overlay_set {
	const struct gs_overlay *shared; /* the snapshot's, sorted */
	const struct gs_overlay *local; /* the edge's own, in any order; their `edge` is not read */
	uint32_t shared_count, local_count;
	const char *edge;
	int64_t unix_ms; /* by the database's clock */
};

/*
 * The one that counts for an object (region; service and region; backend; the rest of it is not
 * read): the edge's own, then that of the edge's name, then that of every edge. NULL: none.
 */
const struct gs_overlay *gs_overlay_find(const struct gs_overlay_set *set,
					 const struct gs_overlay *object);
/* When the next of those that hold expires; INT64_MAX: none does. */
int64_t gs_overlay_due_unix_ms(const struct gs_overlay_set *set);

/* ---- all of it -------------------------------------------------------------------------------*/

struct gs_admin_pool {
	gs_id service, region;
	enum gs_admin admin;
};

/* By id, enum gs_admin each. 40 kB. */
struct gs_admins {
	uint8_t region[GS_ID_MAX_REGION + 1];
	uint8_t backend[GS_ID_MAX_BACKEND + 1];
	uint32_t pool_count; /* of those something is laid over, by service and region */
	struct gs_admin_pool pools[GS_OVERLAYS_MAX + GS_OVERLAYS_LOCAL_MAX];
};

/* The configuration's, drains whose end has come as force_down, and what is laid over them. */
void gs_admins_resolve(const struct gs_snapshot *snapshot, const struct gs_overlay_set *set,
		       struct gs_admins *ret_admins);
enum gs_admin gs_admins_pool(const struct gs_admins *admins, gs_id service, gs_id region);

/* ---- what is refused without force -----------------------------------------------------------*/

enum {
	GS_RULE_LEFT_MIN = 1,	      /* regions */
	GS_RULE_OUT_PERCENT = 50,     /* of regions */
	GS_RULE_HEADROOM_PERCENT = 10 /* of the demand */
};

struct gs_rule_facts {
	struct gs_region_set down; /* nobody sees a backend of theirs up */
	double demand;		   /* new flows a second; < 0: not known */
};

/*
 * From `before` to `after` something takes new flows no more. Refused, if by that
 *  - a service, or the whole, has less than one region left that takes them and is not down, or
 *  - more than half of the regions take none, or
 *  - those left, if each states a capacity, have less than 1.1 times the demand.
 * Regions without a backend do not count. 0, or -EPERM with *error.
 */
int gs_admins_check(const struct gs_snapshot *snapshot, const struct gs_admins *before,
		    const struct gs_admins *after, const struct gs_rule_facts *facts,
		    struct gs_error *error);
