// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_history.h"

#include "user/adapters/pg_admin_parts.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <errno.h>
#include <string.h>

enum { LIMIT_MAX = 100000 };

/* A time as JSON has it. */
#define UTC(column) "to_char((" column ") AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define ROWS_OF(query) \
	"SELECT coalesce(json_agg(row_to_json(found)), '[]') FROM (" query ") AS found"
#define MATCHES(column, number) "(" number "::text IS NULL OR " column " = " number ")"

/* One row, one column: a JSON array. */
static int ask(struct gs_pg_admin *admin, const char *query, int count, const char *const *values,
	       json_t **ret_rows, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexecParams(admin->connection, query, count, NULL, values, NULL, NULL, 0);
	json_t *rows;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return gs_pg_admin_error(admin->connection, result, "", error);
	rows = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
	if (!rows)
		return gs_error_set(-EIO, error, "database: an answer that is no JSON");
	*ret_rows = rows;
	return 0;
}

/* "7d" becomes "7 days ago" as SQL reads it; a time stays. False: neither. */
static bool read_since(const char *since, char *out, size_t room)
{
	static const struct {
		char letter;
		const char *unit;
	} units[] = {{'s', "seconds"}, {'m', "minutes"}, {'h', "hours"}, {'d', "days"}};
	size_t digits = strspn(since, "0123456789");

	if (digits > 0 && digits < 7 && since[digits] && !since[digits + 1]) {
		for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
			if (units[u].letter != since[digits])
				continue;
			snprintf(out, room, "%.*s %s", (int)digits, since, units[u].unit);
			return true;
		}
		return false;
	}
	/* 2026-11-25, 2026-11-25T17:40:03Z and the like: the database judges. */
	if (digits != 4 || since[4] != '-' || strlen(since) >= room ||
	    strspn(since, "0123456789-:.TZ+ ") != strlen(since))
		return false;
	snprintf(out, room, "%s", since);
	return true;
}

/* Parameters: since as an interval or as a time, one of them NULL. */
struct since {
	char text[64];
	const char *interval, *time;
};

static int set_since(struct since *since, const char *text, struct gs_error *error)
{
	*since = (struct since){.interval = NULL};
	if (!text)
		return 0;
	if (!read_since(text, since->text, sizeof(since->text)))
		return gs_error_set(
			-EINVAL, error,
			"since: '%.40s' is neither a span (90s, 30m, 2h, 7d) nor a time "
			"(2026-11-25T17:40:00Z)",
			text);
	if (strchr(since->text, '-'))
		since->time = since->text;
	else
		since->interval = since->text;
	return 0;
}
#define AFTER(column, interval, time)                                        \
	"(" interval "::interval IS NULL OR " column " >= now() - " interval \
	"::interval) AND (" time "::timestamptz IS NULL OR " column " >= " time "::timestamptz)"

static const char *limit_text(uint32_t limit, char out[16])
{
	snprintf(out, 16, "%u", limit == 0 || limit > LIMIT_MAX ? (uint32_t)LIMIT_MAX : limit);
	return out;
}

static int check_word(const char *what, const char *word, const char *const *words, size_t count,
		      struct gs_error *error)
{
	for (size_t i = 0; word && i < count; i++)
		if (strcmp(words[i], word) == 0)
			return 0;
	return word ? gs_error_set(-EINVAL, error, "%s: there is no '%.40s'", what, word) : 0;
}

int gs_pg_admin_history(struct gs_pg_admin *admin, const struct gs_pg_history_filter *filter,
			json_t **ret_rows, struct gs_error *error)
{
	static const char *const kinds[] = {"region",  "pool", "backend",
					    "breaker", "plan", "generation"};
	static const char query[] = ROWS_OF("SELECT " UTC(
		"at") " AS at, edge, kind, region, service, backend,"
		      " from_state AS from, to_state AS to, why, actor FROM (SELECT * FROM"
		      " geostream.transitions WHERE " MATCHES("kind", "$1") " AND " MATCHES("region", "$2") " AND " MATCHES(
			      "service",
			      "$3") " AND " MATCHES("backend",
						    "$4") " AND " MATCHES("edge",
									  "$5") " AND " AFTER("at",
											      "$6",
											      "$7") " ORDER BY at DESC, id DESC LIMIT $8::bigint) AS newest ORDER BY newest.at, newest.id");
	struct since since;
	char limit[16];
	int ret = set_since(&since, filter->since, error);

	ret = ret ? ret : check_word("kind", filter->kind, kinds, ARRAY_SIZE(kinds), error);
	if (ret)
		return ret;
	const char *values[] = {
		filter->kind, filter->region, filter->service, filter->backend,
		filter->edge, since.interval, since.time,      limit_text(filter->limit, limit)};

	return ask(admin, query, ARRAY_SIZE(values), values, ret_rows, error);
}

int gs_pg_admin_audit(struct gs_pg_admin *admin, const struct gs_pg_audit_filter *filter,
		      json_t **ret_rows, struct gs_error *error)
{
	static const char *const kinds[] = {"region",	"policy", "service", "backend",
					    "override", "access", "fence",   "force",
					    "overlay",	"quorum", "seed"};
	static const char query[] = ROWS_OF("SELECT " UTC(
		"at") " AS at, revision, actor, role, kind, name,"
		      " CASE WHEN before IS NULL THEN 'add' WHEN after IS NULL THEN 'remove' ELSE 'update'"
		      " END AS change, before, after FROM (SELECT * FROM geostream.audit WHERE " MATCHES(
			      "kind",
			      "$1") " AND " MATCHES("name",
						    "$2") " AND " MATCHES("actor",
									  "$3") " AND " AFTER("at",
											      "$4",
											      "$5") " ORDER BY at DESC, id DESC LIMIT $6::bigint) AS newest ORDER BY newest.at, newest.id");
	struct since since;
	char limit[16];
	int ret = set_since(&since, filter->since, error);

	ret = ret ? ret : check_word("kind", filter->kind, kinds, ARRAY_SIZE(kinds), error);
	if (ret)
		return ret;
	const char *values[] = {filter->kind,	filter->name, filter->actor,
				since.interval, since.time,   limit_text(filter->limit, limit)};

	return ask(admin, query, ARRAY_SIZE(values), values, ret_rows, error);
}

int gs_pg_admin_edges(struct gs_pg_admin *admin, json_t **ret_rows, struct gs_error *error)
{
	static const char query[] = ROWS_OF("SELECT name, version, " UTC("connected_at") " AS connected_at, " UTC(
		"seen_at") " AS seen_at,"
			   " extract(epoch FROM now() - seen_at)::bigint AS age_s, site, self, self_why,"
			   " (extract(epoch FROM clock_timestamp() - voted_at) * 1000)::bigint AS vote_age_ms,"
			   " lpad(to_hex(geo_digest), 16, '0') AS geo_digest,"
			   " selection_seed::text AS selection_seed,"
			   " generation, revision,"
			   " lpad(to_hex(digest), 16, '0') AS digest, " UTC("published_at") " AS published_at, geo_path, " UTC(
				   "geo_build_at") " AS geo_build_at"
						   " FROM geostream.edges ORDER BY name LIMIT 10000");

	return ask(admin, query, 0, NULL, ret_rows, error);
}

int gs_pg_admin_breakers(struct gs_pg_admin *admin, json_t **ret_states, json_t **ret_forces,
			 struct gs_error *error)
{
	static const char states[] = ROWS_OF("SELECT edge, service, region, state, " UTC(
		"saved_at") " AS since,"
			    " CASE WHEN state = 'open' THEN " UTC(
				    "saved_at + left_ms * interval '1 ms'") " END AS until, why"
									    " FROM geostream.breaker_states ORDER BY service, region, edge LIMIT 100000");
	static const char forces[] = ROWS_OF("SELECT edge, service, region, state AS forced, " UTC(
		"expires_at") " AS expires, actor, reason FROM geostream.breaker_forces"
			      " WHERE expires_at > now() ORDER BY service, region, edge");
	json_t *found = NULL;
	int ret = ask(admin, states, 0, NULL, &found, error);

	if (ret)
		return ret;
	ret = ask(admin, forces, 0, NULL, ret_forces, error);
	if (ret)
		json_decref(found);
	else
		*ret_states = found;
	return ret;
}

int gs_pg_admin_probes(struct gs_pg_admin *admin, const struct gs_pg_history_filter *filter,
		       json_t **ret_rows, struct gs_error *error)
{
	static const char query[] = ROWS_OF("SELECT " UTC(
		"minute") " AS minute, edge, service, region, backend, probes,"
			  " failures, local_failures, p50_us, p90_us, p99_us, max_us FROM (SELECT * FROM"
			  " geostream.probe_minutes WHERE " MATCHES("region", "$1") " AND " MATCHES(
				  "service",
				  "$2") " AND " MATCHES("backend",
							"$3") " AND " MATCHES("edge",
									      "$4") " AND " AFTER("minute",
												  "$5",
												  "$6") " ORDER BY minute DESC, backend, edge LIMIT $7::bigint) AS newest"
													" ORDER BY newest.minute, backend, edge");
	struct since since;
	char limit[16];
	int ret = set_since(&since, filter->since, error);

	if (ret)
		return ret;
	const char *values[] = {filter->region,
				filter->service,
				filter->backend,
				filter->edge,
				since.interval,
				since.time,
				limit_text(filter->limit, limit)};

	return ask(admin, query, ARRAY_SIZE(values), values, ret_rows, error);
}

/* ---- forces ----------------------------------------------------------------------------------*/

int gs_pg_admin_force(struct gs_pg_admin *admin, const struct gs_pg_force *force,
		      struct gs_error *error)
{
	static const char query[] =
		"INSERT INTO geostream.breaker_forces AS f"
		" (service, region, edge, state, expires_at, reason)"
		" SELECT s.name, r.name, $3, $4, now() + $5::bigint * interval '1 second', $6"
		" FROM geostream.services s, geostream.regions r WHERE s.name = $1 AND r.name = $2"
		" ON CONFLICT ON CONSTRAINT breaker_forces_pkey DO UPDATE SET state = EXCLUDED.state,"
		" expires_at = EXCLUDED.expires_at, created_at = now(), actor = geostream.actor(),"
		" reason = EXCLUDED.reason";
	GS_AUTO_PGRESULT PGresult *result = NULL;
	char seconds[16];
	const char *values[] = {force->service,
				force->region,
				force->edge ? force->edge : "",
				force->open ? "open" : "closed",
				seconds,
				force->reason ? force->reason : ""};

	snprintf(seconds, sizeof(seconds), "%u", force->seconds);
	result = PQexecParams(admin->connection, query, ARRAY_SIZE(values), NULL, values, NULL,
			      NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return gs_pg_admin_error(admin->connection, result, "refused: ", error);
	if (strcmp(PQcmdTuples(result), "0") == 0)
		return gs_error_set(-ENOENT, error, "no service \"%.63s\", or no region \"%.63s\"",
				    force->service, force->region);
	return 0;
}

int gs_pg_admin_release(struct gs_pg_admin *admin, const char *service, const char *region,
			const char *edge, uint32_t *ret_count, struct gs_error *error)
{
	static const char query[] = "DELETE FROM geostream.breaker_forces WHERE service = $1"
				    " AND region = $2 AND " MATCHES("edge", "$3");
	const char *values[] = {service, region, edge};
	GS_AUTO_PGRESULT PGresult *result =
		PQexecParams(admin->connection, query, 3, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return gs_pg_admin_error(admin->connection, result, "refused: ", error);
	*ret_count = (uint32_t)strtoul(PQcmdTuples(result), NULL, 10);
	return 0;
}
