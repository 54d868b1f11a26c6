/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the commands' connection share; for pg_admin.c, pg_edit.c, pg_history.c only.
 */
#pragma once

#include "user/adapters/pg_connection.h"
#include "user/core/types.h"

struct gs_pg_admin {
	PGconn *connection;
};

/* What went wrong with a statement, for people; `what` comes before the database's own words.
 * -EBUSY or -EIO. */
int gs_pg_admin_error(PGconn *connection, const PGresult *result, const char *what,
		      struct gs_error *error);
/* Statements whose results do not matter. */
int gs_pg_admin_execute(struct gs_pg_admin *admin, const char *sql, struct gs_error *error);
/* gs_pg_snapshot_query or gs_pg_read_query to a snapshot. */
int gs_pg_admin_read_with(struct gs_pg_admin *admin, const char *query,
			  struct gs_snapshot **ret_snapshot, struct gs_error *error);
/* Of a change: locked until it ends, so that nobody changes anything beside it; dry_run: only read,
 * and nobody waits. */
int gs_pg_admin_begin(struct gs_pg_admin *admin, bool dry_run, struct gs_error *error);
/*
 * objects: [{"kind", "name"}], what a change touches as the audit has it; NULL: nothing. revision:
 * the newest. Was any of it changed after revision `since`? Who changes what somebody else has just
 * changed did not see that: -ESTALE, and *error tells what it was. -EINVAL: there was no such
 * revision yet.
 */
int gs_pg_admin_check_since(struct gs_pg_admin *admin, const char *objects, uint64_t since,
			    uint64_t revision, struct gs_error *error);
