// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/migrate.h"

#include "user/adapters/pg_connection.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <errno.h>
#include <string.h>

struct migration {
	int number;
	const char *name;
	const char *sum; /* SHA-256 of the file */
	const char *sql;
};

static const struct migration migrations[] = {
#include "migrations.inc"
};

enum { MIGRATION_COUNT = ARRAY_SIZE(migrations), SERVER_VERSION_MIN = 140000 };

/* "geostrea": any number will do that nobody else takes. */
#define LOCK_QUERY "SELECT pg_advisory_lock(7378697629483820641)"

static int sql_error(PGconn *connection, const char *what, struct gs_error *error)
{
	char line[GS_ERROR_MAX];

	return gs_error_set(-EIO, error, "%s: %s", what,
			    gs_pg_one_line(PQerrorMessage(connection), line, sizeof(line)));
}

static int execute(PGconn *connection, const char *sql, const char *what, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		return sql_error(connection, what, error);
	return 0;
}

static int open_database(const char *conninfo, PGconn **ret_connection, struct gs_error *error)
{
	GS_AUTO_PGCONN PGconn *connection = NULL;
	int ret = gs_pg_connect(conninfo, "geostreamctl db", &connection, error);

	if (ret)
		return ret;
	if (PQserverVersion(connection) < SERVER_VERSION_MIN)
		return gs_error_set(-EPROTO, error,
				    "database: PostgreSQL %d, GeoStream needs 14 or newer",
				    PQserverVersion(connection) / 10000);
	/* No object of a stranger's schema may stand in for one of the system's. */
	ret = execute(connection,
		      "SET search_path = pg_catalog; SET lock_timeout = '60s';"
		      "SET client_min_messages = warning",
		      "database", error);
	if (ret)
		return ret;
	*ret_connection = gs_take_ptr(connection);
	return 0;
}

/* One row of what ran against what this program has. */
static int check_applied(const PGresult *result, int row, struct gs_error *error)
{
	const char *name = PQgetvalue(result, row, 1);
	long number = strtol(PQgetvalue(result, row, 0), NULL, 10);

	if (number > MIGRATION_COUNT)
		return gs_error_set(-EPROTO, error,
				    "database: newer than this program: it has migration %ld (%s), "
				    "this program knows %d; upgrade the program",
				    number, name, MIGRATION_COUNT);
	if (number != row + 1)
		return gs_error_set(-EINVAL, error, "database: migration %d is missing before %ld",
				    row + 1, number);
	if (strcmp(PQgetvalue(result, row, 2), migrations[row].sum) != 0)
		return gs_error_set(-EINVAL, error,
				    "database: migration %ld (%s) ran with another text than this "
				    "program has: changed after it ran; migrations are never "
				    "changed, only added",
				    number, name);
	return 0;
}

static int read_applied(PGconn *connection, int *ret_applied, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *exists =
		PQexec(connection, "SELECT to_regclass('geostream.migrations') IS NOT NULL");
	GS_AUTO_PGRESULT PGresult *result = NULL;
	int ret;

	if (PQresultStatus(exists) != PGRES_TUPLES_OK)
		return sql_error(connection, "database", error);
	if (strcmp(PQgetvalue(exists, 0, 0), "t") != 0) {
		*ret_applied = 0;
		return 0;
	}
	result = PQexec(connection,
			"SELECT number, name, checksum FROM geostream.migrations ORDER BY number");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return sql_error(connection, "geostream.migrations", error);
	for (int row = 0; row < PQntuples(result); row++) {
		ret = check_applied(result, row, error);
		if (ret)
			return ret;
	}
	*ret_applied = PQntuples(result);
	return 0;
}

static int apply(PGconn *connection, const struct migration *migration, struct gs_error *error)
{
	const char *values[] = {migration->name, migration->sum};
	GS_AUTO_PGRESULT PGresult *result = NULL;
	char number[16], record[160];
	int ret = execute(connection, "BEGIN", "database", error);

	ret = ret ? ret : execute(connection, migration->sql, migration->name, error);
	if (ret)
		return ret;
	snprintf(number, sizeof(number), "%d", migration->number);
	snprintf(record, sizeof(record),
		 "INSERT INTO geostream.migrations (number, name, checksum) VALUES (%s, $1, $2)",
		 number);
	result = PQexecParams(connection, record, 2, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return sql_error(connection, migration->name, error);
	return execute(connection, "COMMIT", migration->name, error);
}

int gs_migrate_run(const char *conninfo,
		   void (*on_applied)(void *context, int number, const char *name), void *context,
		   struct gs_migration_status *ret_status, struct gs_error *error)
{
	struct gs_migration_status status = {.known = MIGRATION_COUNT};
	GS_AUTO_PGCONN PGconn *connection = NULL;
	int ret = open_database(conninfo, &connection, error);

	/* The lock is the session's: it ends with the connection, whatever happens. */
	ret = ret ? ret : execute(connection, LOCK_QUERY, "database: another migration", error);
	ret = ret ? ret : read_applied(connection, &status.applied, error);
	if (ret)
		return ret;
	if (status.applied == 0)
		ret = execute(
			connection,
			"BEGIN; CREATE SCHEMA IF NOT EXISTS geostream;"
			"CREATE TABLE IF NOT EXISTS geostream.migrations ("
			" number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
			" applied_at timestamptz NOT NULL DEFAULT now()); COMMIT",
			"database", error);
	for (; ret == 0 && status.applied < MIGRATION_COUNT; status.applied++, status.now++) {
		const struct migration *next = &migrations[status.applied];

		ret = apply(connection, next, error);
		if (ret)
			return ret;
		if (on_applied)
			on_applied(context, next->number, next->name);
	}
	if (ret)
		return ret;
	*ret_status = status;
	return 0;
}

int gs_migrate_check(const char *conninfo, struct gs_migration_status *ret_status,
		     struct gs_error *error)
{
	struct gs_migration_status status = {.known = MIGRATION_COUNT};
	GS_AUTO_PGCONN PGconn *connection = NULL;
	int ret = open_database(conninfo, &connection, error);

	ret = ret ? ret : read_applied(connection, &status.applied, error);
	if (ret)
		return ret;
	*ret_status = status;
	if (status.applied < MIGRATION_COUNT)
		return gs_error_set(-ENOENT, error,
				    "database: %d of %d migrations are missing: run geostreamctl "
				    "db migrate",
				    MIGRATION_COUNT - status.applied, MIGRATION_COUNT);
	return 0;
}
