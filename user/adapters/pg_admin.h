/* SPDX-License-Identifier: Apache-2.0 */
/* The desired state as commands read and change it. Blocking; libpq does not show. */
#pragma once

#include "user/app/difference.h"
#include "user/core/types.h"

struct gs_pg_admin;

/* actor: who changes something, for the audit; NULL or "": the role. 0, -EINVAL (conninfo) or
 * -ECONNREFUSED. */
int gs_pg_admin_open(const char *conninfo, const char *actor, struct gs_pg_admin **ret_admin,
		     struct gs_error *error);
void gs_pg_admin_close(struct gs_pg_admin *admin);

/* As of now, checked. 0, -EINVAL (rows that make no sense), -EIO, -ENOMEM. */
int gs_pg_admin_read(struct gs_pg_admin *admin, struct gs_snapshot **ret_snapshot,
		     struct gs_error *error);

/* A change of the desired state. */
struct gs_pg_change {
	/*
	 * Gives a snapshot of its own (references by the ids in it) or fails; what it gives is
	 * checked by gs_snapshot_check.
	 */
	int (*make)(const struct gs_snapshot *have, void *context, struct gs_snapshot **ret_want,
		    struct gs_error *error);
	void *context;
	bool dry_run; /* only works out the difference, nobody waits */
	/*
	 * What the caller looked at. Objects the change touches that were changed after it, or
	 * while we waited for somebody else's change, are -ESTALE. 0: what is there at the call.
	 */
	uint64_t since_revision;
};

/* What a change comes to. gs_pg_edit_done releases it. */
struct gs_pg_edit {
	struct gs_snapshot *have; /* before */
	struct gs_snapshot *want; /* after; ids of what was added are the database's unless given */
	struct gs_difference difference;
	bool seed_changes; /* the document named another selection seed */
	uint64_t revision; /* after */
};
void gs_pg_edit_done(struct gs_pg_edit *edit);

/*
 * Changes the desired state from what it is to what make() makes of it, all or nothing, while
 * nobody else can change it. Nothing to change: nothing is written, the revision stays.
 *
 * 0, make()'s error, -EINVAL, -ESTALE (somebody else changed it; *error says who and what), -EIO
 * (*error is the database's), -EBUSY (somebody else's change takes too long), -ENOMEM.
 */
int gs_pg_admin_edit(struct gs_pg_admin *admin, const struct gs_pg_change *change,
		     struct gs_pg_edit *ret_edit, struct gs_error *error);

/* A row of geostream.health_states. */
struct gs_pg_health {
	char edge[256];
	char kind[16];
	char region[GS_NAME_MAX], service[GS_NAME_MAX], backend[GS_NAME_MAX];
	char state[16];
	char why[128];
	char since[32]; /* ISO 8601, UTC */
};

/* What every edge last told of all objects. *ret_rows to free. 0, -EIO, -ENOMEM. */
int gs_pg_admin_health(struct gs_pg_admin *admin, struct gs_pg_health **ret_rows, size_t *ret_count,
		       struct gs_error *error);
