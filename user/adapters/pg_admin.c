// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_admin.h"

#include "user/adapters/pg_connection.h"
#include "user/adapters/pg_rows.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

struct gs_pg_admin {
	PGconn *connection;
};

/* ---- statements ------------------------------------------------------------------------------*/

static int sql_error(PGconn *connection, const PGresult *result, const char *what,
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

static int execute(struct gs_pg_admin *admin, const char *sql, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = PQexec(admin->connection, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		return sql_error(admin->connection, result, "", error);
	return 0;
}

int gs_pg_admin_open(const char *conninfo, struct gs_pg_admin **ret_admin, struct gs_error *error)
{
	struct gs_pg_admin *admin = calloc(1, sizeof(*admin));
	int ret;

	if (!admin)
		return gs_error_set(-ENOMEM, error, "no memory");
	ret = gs_pg_connect(conninfo, "geostreamctl", &admin->connection, error);
	if (ret == 0)
		ret = execute(admin,
			      "SET search_path = pg_catalog; SET lock_timeout = '10s';"
			      "SET statement_timeout = '60s'; SET client_min_messages = warning",
			      error);
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
			ret = sql_error(admin->connection, result, "", error);
		PQclear(result);
	}
	*ret_count = count;
	return ret;
}

static int read_with(struct gs_pg_admin *admin, const char *query,
		     struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	PGresult *results[GS_PG_RESULT__COUNT] = {NULL};
	struct gs_error why = {0};
	int count = 0, ret;

	if (!PQsendQuery(admin->connection, query))
		return sql_error(admin->connection, NULL, "", error);
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
	return read_with(admin, gs_pg_read_query, ret_snapshot, error);
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
		return sql_error(admin->connection, result, "", error);
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

/* ---- changing --------------------------------------------------------------------------------*/

#define ROWS(columns) \
	"ROWS FROM (jsonb_to_recordset($1::jsonb) AS (" columns ")) WITH ORDINALITY AS j"
#define REGION_COLUMNS \
	"name text, latitude float8, longitude float8, cost float8, capacity bigint, admin text"
#define POLICY_COLUMNS "name text, kind text, \"order\" jsonb"
#define SERVICE_COLUMNS                                                                  \
	"name text, vip inet, port int, protocol text, policy text, probe_kind text,"    \
	" probe_port int, probe_path text, probe_host text, probe_interval_ms int,"      \
	" probe_timeout_ms int, probe_fast_interval_ms int, probe_down_interval_ms int," \
	" probe_rise int, probe_fall int, probe_clear int"
#define PROBE_NAMES                                                                            \
	"probe_kind, probe_port, probe_path, probe_host, probe_interval_ms, probe_timeout_ms," \
	" probe_fast_interval_ms, probe_down_interval_ms, probe_rise, probe_fall, probe_clear"
#define PROBE_OF_J                                                                     \
	"j.probe_kind, j.probe_port, j.probe_path, j.probe_host, j.probe_interval_ms," \
	" j.probe_timeout_ms, j.probe_fast_interval_ms, j.probe_down_interval_ms,"     \
	" j.probe_rise, j.probe_fall, j.probe_clear"
#define BACKEND_COLUMNS "name text, service text, region text, address inet, weight int, admin text"
#define OVERRIDE_COLUMNS "prefix cidr, region text, reason text"

#define REMOVE (1u << GS_CHANGE_REMOVE)
#define UPDATE (1u << GS_CHANGE_UPDATE)
#define ADD (1u << GS_CHANGE_ADD)

/*
 * In this order nothing refers to what is not there yet or no more; what may clash for a moment
 * (two services that swap their VIPs) is deferred to the commit. $1: the objects, as JSON.
 */
static const struct step {
	enum gs_kind kind;
	unsigned int verbs;
	const char *sql;
} steps[] = {
	{GS_KIND_OVERRIDE, REMOVE,
	 "DELETE FROM geostream.overrides o USING " ROWS(
		 OVERRIDE_COLUMNS) " WHERE o.prefix = j.prefix"},
	{GS_KIND_BACKEND, REMOVE,
	 "DELETE FROM geostream.backends b USING " ROWS(BACKEND_COLUMNS) " WHERE b.name = j.name"},
	{GS_KIND_REGION, ADD,
	 "INSERT INTO geostream.regions (name, latitude, longitude, cost, capacity, admin)"
	 " SELECT name, latitude, longitude, cost, capacity, admin FROM " ROWS(
		 REGION_COLUMNS) " ORDER BY ordinality"},
	{GS_KIND_REGION, UPDATE,
	 "UPDATE geostream.regions r SET (latitude, longitude, cost, capacity, admin) ="
	 " ROW (j.latitude, j.longitude, j.cost, j.capacity, j.admin) FROM " ROWS(
		 REGION_COLUMNS) " WHERE r.name = j.name"},
	{GS_KIND_POLICY, ADD,
	 "INSERT INTO geostream.policies (name, kind) SELECT name, kind FROM " ROWS(
		 POLICY_COLUMNS) " ORDER BY ordinality"},
	{GS_KIND_POLICY, UPDATE,
	 "UPDATE geostream.policies p SET kind = j.kind FROM " ROWS(
		 POLICY_COLUMNS) " WHERE p.name = j.name"},
	{GS_KIND_POLICY, UPDATE,
	 "DELETE FROM geostream.policy_regions o USING geostream.policies p, " ROWS(
		 POLICY_COLUMNS) " WHERE p.name = j.name AND o.policy = p.id"},
	{GS_KIND_POLICY, ADD | UPDATE,
	 "INSERT INTO geostream.policy_regions (policy, position, region)"
	 " SELECT p.id, o.position, r.id FROM " ROWS(
		 POLICY_COLUMNS) " CROSS JOIN LATERAL jsonb_array_elements_text(j.\"order\") WITH ORDINALITY"
				 " AS o(region, position)"
				 " JOIN geostream.policies p ON p.name = j.name"
				 " LEFT JOIN geostream.regions r ON r.name = o.region"},
	{GS_KIND_SERVICE, ADD,
	 "INSERT INTO geostream.services (name, vip, port, protocol, policy, " PROBE_NAMES ")"
	 " SELECT j.name, j.vip, j.port, j.protocol, p.id, " PROBE_OF_J " FROM " ROWS(
		 SERVICE_COLUMNS) " LEFT JOIN geostream.policies p ON p.name = j.policy ORDER BY ordinality"},
	{GS_KIND_SERVICE, UPDATE,
	 "UPDATE geostream.services s SET (vip, port, protocol, policy, " PROBE_NAMES ") ="
	 " ROW (j.vip, j.port, j.protocol,"
	 " (SELECT p.id FROM geostream.policies p WHERE p.name = j.policy), " PROBE_OF_J ")"
	 " FROM " ROWS(SERVICE_COLUMNS) " WHERE s.name = j.name"},
	{GS_KIND_BACKEND, ADD,
	 "INSERT INTO geostream.backends (name, service, region, address, weight, admin)"
	 " SELECT j.name, s.id, r.id, j.address, j.weight, j.admin FROM " ROWS(
		 BACKEND_COLUMNS) " LEFT JOIN geostream.services s ON s.name = j.service"
				  " LEFT JOIN geostream.regions r ON r.name = j.region ORDER BY ordinality"},
	{GS_KIND_BACKEND, UPDATE,
	 "UPDATE geostream.backends b SET (service, region, address, weight, admin) ="
	 " ROW ((SELECT s.id FROM geostream.services s WHERE s.name = j.service),"
	 " (SELECT r.id FROM geostream.regions r WHERE r.name = j.region),"
	 " j.address, j.weight, j.admin) FROM " ROWS(BACKEND_COLUMNS) " WHERE b.name = j.name"},
	{GS_KIND_OVERRIDE, ADD,
	 "INSERT INTO geostream.overrides (prefix, region, reason)"
	 " SELECT j.prefix, r.id, j.reason FROM " ROWS(
		 OVERRIDE_COLUMNS) " LEFT JOIN geostream.regions r ON r.name = j.region"},
	{GS_KIND_OVERRIDE, UPDATE,
	 "UPDATE geostream.overrides o SET (region, reason) ="
	 " ROW ((SELECT r.id FROM geostream.regions r WHERE r.name = j.region), j.reason)"
	 " FROM " ROWS(OVERRIDE_COLUMNS) " WHERE o.prefix = j.prefix"},
	{GS_KIND_SERVICE, REMOVE,
	 "DELETE FROM geostream.services s USING " ROWS(SERVICE_COLUMNS) " WHERE s.name = j.name"},
	{GS_KIND_POLICY, REMOVE,
	 "DELETE FROM geostream.policies p USING " ROWS(POLICY_COLUMNS) " WHERE p.name = j.name"},
	{GS_KIND_REGION, REMOVE,
	 "DELETE FROM geostream.regions r USING " ROWS(REGION_COLUMNS) " WHERE r.name = j.name"},
};

/* The objects a step is about, as a JSON list; NULL in *ret_text if there is none. */
static int step_objects(const struct gs_difference *difference, const struct step *step,
			char **ret_text)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	json_t *list = json_array();
	bool failed = !fields || !list;

	for (size_t c = 0; !failed && c < difference->count; c++) {
		const struct gs_change *change = &difference->changes[c];

		if (change->kind != step->kind || !(step->verbs & 1u << change->verb))
			continue;
		if (change->verb == GS_CHANGE_REMOVE)
			gs_fields_get(difference->have, change->kind, change->have, fields);
		else
			gs_fields_get(difference->want, change->kind, change->want, fields);
		failed = json_array_append_new(list, gs_fields_json(fields)) != 0;
	}
	*ret_text = NULL;
	if (!failed && json_array_size(list) > 0) {
		*ret_text = json_dumps(list, JSON_COMPACT);
		failed = !*ret_text;
	}
	json_decref(list);
	return failed ? -ENOMEM : 0;
}

static int write_difference(struct gs_pg_admin *admin, const struct gs_difference *difference,
			    struct gs_error *error)
{
	int ret = execute(admin, "SET CONSTRAINTS ALL DEFERRED", error);

	for (size_t s = 0; ret == 0 && s < ARRAY_SIZE(steps); s++) {
		GS_AUTO_FREE char *objects = NULL;
		GS_AUTO_PGRESULT PGresult *result = NULL;
		const char *values[1];

		if (step_objects(difference, &steps[s], &objects) != 0)
			return gs_error_set(-ENOMEM, error, "no memory");
		if (!objects)
			continue;
		values[0] = objects;
		result = PQexecParams(admin->connection, steps[s].sql, 1, NULL, values, NULL, NULL,
				      0);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			ret = sql_error(admin->connection, result, "refused: ", error);
	}
	return ret;
}

static int read_revision(struct gs_pg_admin *admin, uint64_t *ret_revision, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexec(admin->connection, "SELECT revision FROM geostream.revision");

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return sql_error(admin->connection, result, "", error);
	*ret_revision = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	return 0;
}

void gs_pg_edit_done(struct gs_pg_edit *edit)
{
	gs_difference_done(&edit->difference);
	gs_snapshot_free(edit->have);
	gs_snapshot_free(edit->want);
	*edit = (struct gs_pg_edit){0};
}

/* Inside the transaction: what it is, what it shall be, and the way from one to the other. */
static int work_out(struct gs_pg_admin *admin,
		    int (*make)(const struct gs_snapshot *have, void *context,
				struct gs_snapshot **ret_want, struct gs_error *error),
		    void *context, struct gs_pg_edit *edit, struct gs_error *error)
{
	int ret = read_with(admin, gs_pg_snapshot_query, &edit->have, error);

	ret = ret ? ret : make(edit->have, context, &edit->want, error);
	ret = ret ? ret : gs_snapshot_check(edit->want, error);
	if (ret)
		return ret;
	edit->revision = edit->have->revision;
	if (gs_difference_make(edit->have, edit->want, &edit->difference) != 0)
		return gs_error_set(-ENOMEM, error, "no memory");
	return 0;
}

int gs_pg_admin_edit(struct gs_pg_admin *admin,
		     int (*make)(const struct gs_snapshot *have, void *context,
				 struct gs_snapshot **ret_want, struct gs_error *error),
		     void *context, bool dry_run, struct gs_pg_edit *ret_edit,
		     struct gs_error *error)
{
	GS_CLEANUP(gs_pg_edit_done) struct gs_pg_edit edit = {0};
	struct gs_error ignored;
	int ret = execute(admin,
			  dry_run ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
				  : "BEGIN; SELECT FROM geostream.revision FOR UPDATE",
			  error);

	ret = ret ? ret : work_out(admin, make, context, &edit, error);
	if (ret == 0 && !dry_run && edit.difference.count > 0) {
		ret = write_difference(admin, &edit.difference, error);
		ret = ret ? ret : read_revision(admin, &edit.revision, error);
		ret = ret ? ret : execute(admin, "COMMIT", error);
	}
	if (PQtransactionStatus(admin->connection) != PQTRANS_IDLE)
		execute(admin, "ROLLBACK", &ignored);
	if (ret)
		return ret;
	*ret_edit = edit;
	edit = (struct gs_pg_edit){0};
	return 0;
}
