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
