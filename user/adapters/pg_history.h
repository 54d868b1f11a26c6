/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the database remembers, as rows for people: JSON arrays of objects, oldest first. Blocking;
 * libpq does not show. Each is 0, -EINVAL (a filter; *error names it), -EIO or -ENOMEM.
 */
#pragma once

#include "user/adapters/pg_admin.h"

#include <jansson.h>

/* NULL: whatever it is. since: "90s", "30m", "2h", "7d" ago, or a time as ISO 8601 has it. */
struct gs_pg_history_filter {
	const char *kind; /* region pool backend breaker plan generation */
	const char *region, *service, *backend, *edge;
	const char *since;
	uint32_t limit; /* the newest so many */
};
/* {at, edge, kind, region, service, backend, from, to, why, actor} */
int gs_pg_admin_history(struct gs_pg_admin *admin, const struct gs_pg_history_filter *filter,
			json_t **ret_rows, struct gs_error *error);

struct gs_pg_audit_filter {
	const char *kind; /* region policy service backend override force seed */
	const char *name, *actor, *since;
	uint32_t limit;
};
/* {at, revision, actor, role, kind, name, change: add|update|remove, before, after} */
int gs_pg_admin_audit(struct gs_pg_admin *admin, const struct gs_pg_audit_filter *filter,
		      json_t **ret_rows, struct gs_error *error);

/* {name, version, connected_at, seen_at, age_s, generation, revision, digest, published_at,
 * geo_path, geo_build_at}, by name */
int gs_pg_admin_edges(struct gs_pg_admin *admin, json_t **ret_rows, struct gs_error *error);

/* Of every edge, as last saved: {edge, service, region, state, since, until?, why}; then the
 * forces: {edge, service, region, forced: open|closed, expires, actor, reason} */
int gs_pg_admin_breakers(struct gs_pg_admin *admin, json_t **ret_states, json_t **ret_forces,
			 struct gs_error *error);

/* {minute, edge, service, region, backend, probes, failures, local_failures, p50_us, ...} */
int gs_pg_admin_probes(struct gs_pg_admin *admin, const struct gs_pg_history_filter *filter,
		       json_t **ret_rows, struct gs_error *error);

struct gs_pg_force {
	const char *service, *region;
	const char *edge; /* "": all */
	bool open;
	uint32_t seconds; /* until it expires */
	const char *reason;
};
/* Makes it, or puts it in the place of the one there is. -ENOENT: no such service or region. */
int gs_pg_admin_force(struct gs_pg_admin *admin, const struct gs_pg_force *force,
		      struct gs_error *error);
/* edge NULL: whatever edge they name. */
int gs_pg_admin_release(struct gs_pg_admin *admin, const char *service, const char *region,
			const char *edge, uint32_t *ret_count, struct gs_error *error);
