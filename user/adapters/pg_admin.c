// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_admin.h"

#include "user/adapters/pg_admin_parts.h"
#include "user/adapters/pg_rows.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

/* ---- statements ------------------------------------------------------------------------------*/

int gs_pg_admin_error(PGconn *connection, const PGresult *result, const char *what,
		      struct gs_error *error)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
	char line[GS_ERROR_MAX];

	if (PQstatus(connection) != CONNECTION_OK)
		return gs_error_set(-EIO, error,
				    "database: connection lost (%s): run the command again to see "
				    "whether the change was made",
				    gs_pg_one_line(PQerrorMessage(connection), line, 160));
	gs_pg_one_line(primary ? primary : PQerrorMessage(connection), line, sizeof(line));
	if (sqlstate && strcmp(sqlstate, "55P03") == 0)
		return gs_error_set(-EBUSY, error,
				    "database: somebody else's change takes too long, try again");
	if (sqlstate && (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0 ||
			 strcmp(sqlstate, "42703") == 0))
		return gs_error_set(-EIO, error,
				    "database: schema missing or older than this program: run "
				    "geostreamctl db migrate (%s)",
				    line);
	return gs_error_set(-EIO, error, "database: %s%s%s%s%s", what, line,
			    constraint ? " (constraint " : "", constraint ? constraint : "",
			    constraint ? ")" : "");
}

int gs_pg_admin_execute(struct gs_pg_admin *admin, const char *sql, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = PQexec(admin->connection, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		return gs_pg_admin_error(admin->connection, result, "", error);
	return 0;
}

/* For the audit: who makes the changes of this connection. */
static int set_actor(struct gs_pg_admin *admin, const char *actor, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = NULL;

	if (!actor || !*actor)
		return 0;
	result = PQexecParams(admin->connection, "SELECT set_config('geostream.actor', $1, false)",
			      1, NULL, &actor, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return gs_pg_admin_error(admin->connection, result, "actor: ", error);
	return 0;
}

int gs_pg_admin_open(const char *conninfo, const char *actor, struct gs_pg_admin **ret_admin,
		     struct gs_error *error)
{
	struct gs_pg_admin *admin = calloc(1, sizeof(*admin));
	int ret;

	if (!admin)
		return gs_error_set(-ENOMEM, error, "no memory");
	ret = gs_pg_connect(conninfo, "geostreamctl", &admin->connection, error);
	if (ret == 0)
		ret = gs_pg_admin_execute(
			admin,
			"SET search_path = pg_catalog; SET lock_timeout = '10s';"
			"SET statement_timeout = '60s'; SET client_min_messages = warning;"
			"SET jit = off",
			error);
	ret = ret ? ret : set_actor(admin, actor, error);
	if (ret) {
		gs_pg_admin_close(admin);
		return ret;
	}
	*ret_admin = admin;
	return 0;
}

void gs_pg_admin_close(struct gs_pg_admin *admin)
{
	if (!admin)
		return;
	PQfinish(admin->connection);
	free(admin);
}

/* ---- reading ---------------------------------------------------------------------------------*/

/* All results of a query string; those with rows are kept in results. */
static int gather(struct gs_pg_admin *admin, PGresult **results, int *ret_count,
		  struct gs_error *error)
{
	PGresult *result;
	int count = 0, ret = 0;

	while ((result = PQgetResult(admin->connection))) {
		ExecStatusType status = PQresultStatus(result);

		if (status == PGRES_TUPLES_OK && count < GS_PG_RESULT__COUNT) {
			results[count++] = result;
			continue;
		}
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && ret == 0)
			ret = gs_pg_admin_error(admin->connection, result, "", error);
		PQclear(result);
	}
	*ret_count = count;
	return ret;
}

int gs_pg_admin_read_with(struct gs_pg_admin *admin, const char *query,
			  struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	PGresult *results[GS_PG_RESULT__COUNT] = {NULL};
	struct gs_error why = {0};
	int count = 0, ret;

	if (!PQsendQuery(admin->connection, query))
		return gs_pg_admin_error(admin->connection, NULL, "", error);
	ret = gather(admin, results, &count, error);
	if (ret == 0 && count < GS_PG_RESULT__COUNT)
		ret = gs_error_set(-EIO, error, "database: answered %d queries of %d", count,
				   GS_PG_RESULT__COUNT);
	if (ret == 0) {
		ret = gs_pg_rows_to_snapshot(results, ret_snapshot, &why);
		if (ret)
			gs_error_set(ret, error, "database: rows that make no sense: %s", why.text);
	}
	for (int r = 0; r < count; r++)
		PQclear(results[r]);
	return ret;
}

int gs_pg_admin_read(struct gs_pg_admin *admin, struct gs_snapshot **ret_snapshot,
		     struct gs_error *error)
{
	return gs_pg_admin_read_with(admin, gs_pg_read_query, ret_snapshot, error);
}

static void copy_column(const PGresult *result, int row, int column, char *out, size_t size)
{
	snprintf(out, size, "%s", PQgetvalue(result, row, column));
}

int gs_pg_admin_health(struct gs_pg_admin *admin, struct gs_pg_health **ret_rows, size_t *ret_count,
		       struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexec(admin->connection,
		       "SELECT edge, kind, region, service, backend, state, why,"
		       " to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
		       " FROM geostream.health_states ORDER BY kind, region, service, backend, edge"
		       " LIMIT 100000");
	struct gs_pg_health *rows;
	int count = PQntuples(result);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return gs_pg_admin_error(admin->connection, result, "", error);
	rows = calloc((size_t)count + 1, sizeof(*rows));
	if (!rows)
		return gs_error_set(-ENOMEM, error, "no memory");
	for (int i = 0; i < count; i++) {
		copy_column(result, i, 0, rows[i].edge, sizeof(rows[i].edge));
		copy_column(result, i, 1, rows[i].kind, sizeof(rows[i].kind));
		copy_column(result, i, 2, rows[i].region, sizeof(rows[i].region));
		copy_column(result, i, 3, rows[i].service, sizeof(rows[i].service));
		copy_column(result, i, 4, rows[i].backend, sizeof(rows[i].backend));
		copy_column(result, i, 5, rows[i].state, sizeof(rows[i].state));
		copy_column(result, i, 6, rows[i].why, sizeof(rows[i].why));
		copy_column(result, i, 7, rows[i].since, sizeof(rows[i].since));
	}
	*ret_rows = rows;
	*ret_count = (size_t)count;
	return 0;
}
