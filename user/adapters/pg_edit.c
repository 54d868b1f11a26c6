// SPDX-License-Identifier: Apache-2.0
/* Changes of the desired state: all or nothing, on what nobody else has changed meanwhile. */
#include "user/adapters/pg_admin.h"
#include "user/adapters/pg_admin_parts.h"
#include "user/adapters/pg_rows.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ROWS(columns) \
	"ROWS FROM (jsonb_to_recordset($1::jsonb) AS (" columns ")) WITH ORDINALITY AS j"
#define REGION_COLUMNS                                                                        \
	"id int, name text, latitude float8, longitude float8, cost float8, capacity bigint," \
	" availability float8, target int, limit_packets int, limit_flows int, admin text, drain_until text"
#define POLICY_COLUMNS                                                                              \
	"id int, name text, kind text, \"order\" jsonb, rank jsonb, band_ms int, band_percent int," \
	" bias jsonb, weight jsonb"
#define RANK "ARRAY(SELECT jsonb_array_elements_text(j.rank))"
#define SERVICE_COLUMNS                                                                                                                    \
	"id int, name text, vip inet, port int, protocol text, policy text, probe_kind text,"                                              \
	" probe_port int, probe_path text, probe_host text, probe_interval_ms int,"                                                        \
	" probe_timeout_ms int, probe_fast_interval_ms int, probe_down_interval_ms int,"                                                   \
	" probe_rise int, probe_fall int, probe_clear int, probe_status text,"                                                             \
	" probe_expect text, probe_expect_at text, probe_request text, probe_trust text,"                                                  \
	" probe_dns_type text, probe_dns_rcode text, probe_command text,"                                                                  \
	" probe_arguments jsonb, probe_via text, failover_budget_ms int, breaker_enabled boolean,"                                         \
	" breaker_min_volume int, breaker_failure_percent int, breaker_consecutive int,"                                                   \
	" breaker_open_ms int, breaker_open_max_ms int, breaker_trials int,"                                                               \
	" breaker_successes int, breaker_ramp_ms int, breaker_slow_ms int, breaker_slow_percent int, affinity text, affinity_prefix4 int," \
	" affinity_prefix6 int, limit_client_packets int, limit_client_flows int,"                                                         \
	" limit_packets int, limit_flows int, limit_prefix4 int, limit_prefix6 int,"                                                       \
	" limit_priority int, stale text, stale_after_s int, damping_suppress int, damping_reuse int, damping_half_life_s int, damping_ceiling_s int, panic_percent int, panic_all_down text"
#define SPEC_NAMES                                                                                                                     \
	"probe_kind, probe_port, probe_path, probe_host, probe_interval_ms, probe_timeout_ms,"                                         \
	" probe_fast_interval_ms, probe_down_interval_ms, probe_rise, probe_fall, probe_clear,"                                        \
	" probe_status, probe_expect, probe_expect_at, probe_request, probe_trust,"                                                    \
	" probe_dns_type, probe_dns_rcode, probe_command, probe_arguments, probe_via, failover_budget_ms,"                             \
	" breaker_enabled, breaker_min_volume, breaker_failure_percent, breaker_consecutive,"                                          \
	" breaker_open_ms, breaker_open_max_ms, breaker_trials, breaker_successes,"                                                    \
	" breaker_ramp_ms, breaker_slow_ms, breaker_slow_percent, affinity, affinity_prefix4, affinity_prefix6, limit_client_packets," \
	" limit_client_flows, limit_packets, limit_flows, limit_prefix4, limit_prefix6, limit_priority,"                               \
	" stale, stale_after_s, damping_suppress, damping_reuse, damping_half_life_s, damping_ceiling_s, panic_percent, panic_all_down, panic_region"
#define SPEC_OF_J                                                                                                                                                                                         \
	"j.probe_kind, j.probe_port, j.probe_path, j.probe_host, j.probe_interval_ms,"                                                                                                                    \
	" j.probe_timeout_ms, j.probe_fast_interval_ms, j.probe_down_interval_ms,"                                                                                                                        \
	" j.probe_rise, j.probe_fall, j.probe_clear, j.probe_status, j.probe_expect,"                                                                                                                     \
	" j.probe_expect_at, j.probe_request, j.probe_trust, j.probe_dns_type, j.probe_dns_rcode,"                                                                                                        \
	" j.probe_command, ARRAY(SELECT jsonb_array_elements_text(j.probe_arguments)),"                                                                                                                   \
	" j.probe_via, j.failover_budget_ms, j.breaker_enabled, j.breaker_min_volume,"                                                                                                                    \
	" j.breaker_failure_percent, j.breaker_consecutive, j.breaker_open_ms, j.breaker_open_max_ms,"                                                                                                    \
	" j.breaker_trials, j.breaker_successes, j.breaker_ramp_ms, j.breaker_slow_ms, j.breaker_slow_percent, j.affinity, j.affinity_prefix4,"                                                           \
	" j.affinity_prefix6, j.limit_client_packets, j.limit_client_flows, j.limit_packets,"                                                                                                             \
	" j.limit_flows, j.limit_prefix4, j.limit_prefix6, j.limit_priority, j.stale, j.stale_after_s, j.damping_suppress, j.damping_reuse, j.damping_half_life_s, j.damping_ceiling_s, j.panic_percent," \
	" split_part(j.panic_all_down, ':', 1), (SELECT f.id FROM geostream.regions f"                                                                                                                    \
	" WHERE f.name = nullif(split_part(j.panic_all_down, ':', 2), ''))"
#define BACKEND_COLUMNS                                                                         \
	"id int, name text, service text, region text, address inet, weight int, forward text," \
	" port int, admin text, drain_until text"
#define OVERRIDE_COLUMNS "prefix cidr, asn text, place text, region text, reason text"
/* Of a document's "AS64500". */
#define ASN "substr(j.asn, 3)::bigint"
#define SAME_CLIENTS                                                                 \
	"o.prefix IS NOT DISTINCT FROM j.prefix AND o.asn IS NOT DISTINCT FROM " ASN \
	" AND o.place IS NOT DISTINCT FROM j.place"
#define FENCE_COLUMNS "place text, service text, regions jsonb, \"unknown\" text, reason text"
#define FENCE_REGIONS                                                                 \
	"ARRAY(SELECT r.id FROM jsonb_array_elements_text(j.regions) WITH ORDINALITY" \
	" AS f(region, position) LEFT JOIN geostream.regions r ON r.name = f.region ORDER BY position)"
#define ACCESS_COLUMNS "prefix cidr, service text, action text, reason text"
/* Of a rule of every service NULL: its name is empty. */
#define OF_SERVICE "(SELECT s.id FROM geostream.services s WHERE s.name = j.service)"
#define DRAIN "nullif(j.drain_until, '')::timestamptz"

#define REMOVE (1u << GS_CHANGE_REMOVE)
#define UPDATE (1u << GS_CHANGE_UPDATE)
#define ADD (1u << GS_CHANGE_ADD)

/*
 * In this order nothing refers to what is not there yet or no more; what may clash for a moment
 * (two services that swap their VIPs) is deferred to the commit. $1: the objects, as JSON; those
 * that have an id are added first, so that no other gets it.
 */
static const struct step {
	enum gs_kind kind;
	unsigned int verbs;
	const char *sql;
} steps[] = {
	{GS_KIND_OVERRIDE, REMOVE,
	 "DELETE FROM geostream.overrides o USING " ROWS(OVERRIDE_COLUMNS) " WHERE " SAME_CLIENTS},
	{GS_KIND_FENCE, REMOVE,
	 "DELETE FROM geostream.fences f USING " ROWS(
		 FENCE_COLUMNS) " WHERE f.place = j.place AND f.service IS NOT DISTINCT FROM " OF_SERVICE},
	{GS_KIND_ACCESS, REMOVE,
	 "DELETE FROM geostream.access a USING " ROWS(
		 ACCESS_COLUMNS) " WHERE a.prefix = j.prefix AND a.service IS NOT DISTINCT FROM " OF_SERVICE},
	{GS_KIND_BACKEND, REMOVE,
	 "DELETE FROM geostream.backends b USING " ROWS(BACKEND_COLUMNS) " WHERE b.name = j.name"},
	{GS_KIND_REGION, ADD,
	 "INSERT INTO geostream.regions (id, name, latitude, longitude, cost, capacity,"
	 " availability, target, limit_packets, limit_flows, admin, drain_until)"
	 " SELECT id, name, latitude, longitude, cost, capacity, availability, target, limit_packets, limit_flows, admin,"
	 " " DRAIN " FROM " ROWS(REGION_COLUMNS) " ORDER BY id, ordinality"},
	{GS_KIND_REGION, UPDATE,
	 "UPDATE geostream.regions r SET (latitude, longitude, cost, capacity, availability,"
	 " target, limit_packets, limit_flows, admin, drain_until) ="
	 " ROW (j.latitude, j.longitude, j.cost, j.capacity, j.availability, j.target, j.limit_packets, j.limit_flows, j.admin,"
	 " " DRAIN ") FROM " ROWS(REGION_COLUMNS) " WHERE r.name = j.name"},
	{GS_KIND_POLICY, ADD,
	 "INSERT INTO geostream.policies (id, name, kind, rank, band_ms, band_percent)"
	 " SELECT id, name, kind, " RANK
	 ", band_ms, band_percent FROM " ROWS(POLICY_COLUMNS) " ORDER BY id, ordinality"},
	{GS_KIND_POLICY, UPDATE,
	 "UPDATE geostream.policies p SET (kind, rank, band_ms, band_percent) ="
	 " ROW (j.kind, " RANK
	 ", j.band_ms, j.band_percent) FROM " ROWS(POLICY_COLUMNS) " WHERE p.name = j.name"},
	{GS_KIND_POLICY, UPDATE,
	 "DELETE FROM geostream.policy_regions o USING geostream.policies p, " ROWS(
		 POLICY_COLUMNS) " WHERE p.name = j.name AND o.policy = p.id"},
	{GS_KIND_POLICY, ADD | UPDATE,
	 "INSERT INTO geostream.policy_regions (policy, position, region, bias, weight)"
	 " SELECT p.id, o.position, r.id, coalesce((j.bias ->> o.region)::int, 0),"
	 " coalesce((j.weight ->> o.region)::int, 100) FROM " ROWS(
		 POLICY_COLUMNS) " CROSS JOIN LATERAL jsonb_array_elements_text(j.\"order\") WITH ORDINALITY"
				 " AS o(region, position)"
				 " JOIN geostream.policies p ON p.name = j.name"
				 " LEFT JOIN geostream.regions r ON r.name = o.region"},
	{GS_KIND_SERVICE, ADD,
	 "INSERT INTO geostream.services (id, name, vip, port, protocol, policy, " SPEC_NAMES ")"
	 " SELECT j.id, j.name, j.vip, j.port, j.protocol, p.id, " SPEC_OF_J " FROM " ROWS(
		 SERVICE_COLUMNS) " LEFT JOIN geostream.policies p ON p.name = j.policy ORDER BY j.id, ordinality"},
	{GS_KIND_SERVICE, UPDATE,
	 "UPDATE geostream.services s SET (vip, port, protocol, policy, " SPEC_NAMES ") ="
	 " ROW (j.vip, j.port, j.protocol,"
	 " (SELECT p.id FROM geostream.policies p WHERE p.name = j.policy), " SPEC_OF_J ")"
	 " FROM " ROWS(SERVICE_COLUMNS) " WHERE s.name = j.name"},
	{GS_KIND_BACKEND, ADD,
	 "INSERT INTO geostream.backends (id, name, service, region, address, weight, forward, port,"
	 " admin, drain_until) SELECT j.id, j.name, s.id, r.id, j.address, j.weight, j.forward,"
	 " j.port, j.admin, " DRAIN " FROM " ROWS(
		 BACKEND_COLUMNS) " LEFT JOIN geostream.services s ON s.name = j.service"
				  " LEFT JOIN geostream.regions r ON r.name = j.region ORDER BY j.id, ordinality"},
	{GS_KIND_BACKEND, UPDATE,
	 "UPDATE geostream.backends b SET (service, region, address, weight, forward, port, admin,"
	 " drain_until) ="
	 " ROW ((SELECT s.id FROM geostream.services s WHERE s.name = j.service),"
	 " (SELECT r.id FROM geostream.regions r WHERE r.name = j.region),"
	 " j.address, j.weight, j.forward, j.port, j.admin, " DRAIN
	 ") FROM " ROWS(BACKEND_COLUMNS) " WHERE b.name = j.name"},
	{GS_KIND_OVERRIDE, ADD,
	 "INSERT INTO geostream.overrides (prefix, asn, place, region, reason)"
	 " SELECT j.prefix, " ASN ", j.place, r.id, j.reason FROM " ROWS(
		 OVERRIDE_COLUMNS) " LEFT JOIN geostream.regions r ON r.name = j.region"},
	{GS_KIND_OVERRIDE, UPDATE,
	 "UPDATE geostream.overrides o SET (region, reason) ="
	 " ROW ((SELECT r.id FROM geostream.regions r WHERE r.name = j.region), j.reason)"
	 " FROM " ROWS(OVERRIDE_COLUMNS) " WHERE " SAME_CLIENTS},
	{GS_KIND_ACCESS, ADD,
	 "INSERT INTO geostream.access (prefix, service, action, reason)"
	 " SELECT j.prefix, " OF_SERVICE ", j.action, j.reason FROM " ROWS(ACCESS_COLUMNS)},
	{GS_KIND_ACCESS, UPDATE,
	 "UPDATE geostream.access a SET (action, reason) = ROW (j.action, j.reason) FROM " ROWS(
		 ACCESS_COLUMNS) " WHERE a.prefix = j.prefix AND a.service IS NOT DISTINCT FROM " OF_SERVICE},
	{GS_KIND_FENCE, ADD,
	 "INSERT INTO geostream.fences (place, service, regions, \"unknown\", reason)"
	 " SELECT j.place, " OF_SERVICE ", " FENCE_REGIONS
	 ", j.\"unknown\", j.reason FROM " ROWS(FENCE_COLUMNS)},
	{GS_KIND_FENCE, UPDATE,
	 "UPDATE geostream.fences f SET (regions, \"unknown\", reason) ="
	 " ROW (" FENCE_REGIONS ", j.\"unknown\", j.reason) FROM " ROWS(
		 FENCE_COLUMNS) " WHERE f.place = j.place AND f.service IS NOT DISTINCT FROM " OF_SERVICE},
	{GS_KIND_SERVICE, REMOVE,
	 "DELETE FROM geostream.services s USING " ROWS(SERVICE_COLUMNS) " WHERE s.name = j.name"},
	{GS_KIND_POLICY, REMOVE,
	 "DELETE FROM geostream.policies p USING " ROWS(POLICY_COLUMNS) " WHERE p.name = j.name"},
	{GS_KIND_REGION, REMOVE,
	 "DELETE FROM geostream.regions r USING " ROWS(REGION_COLUMNS) " WHERE r.name = j.name"},
};

/* Id and whether a document gave it, of an object of any kind; overrides and access have none. */
static gs_id id_of(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
		   bool *ret_is_given)
{
	*ret_is_given = false;
	switch (kind) {
	case GS_KIND_REGION:
		*ret_is_given = snapshot->regions[index].id_is_given;
		return snapshot->regions[index].id;
	case GS_KIND_POLICY:
		*ret_is_given = snapshot->policies[index].id_is_given;
		return snapshot->policies[index].id;
	case GS_KIND_SERVICE:
		*ret_is_given = snapshot->services[index].id_is_given;
		return snapshot->services[index].id;
	case GS_KIND_BACKEND:
		*ret_is_given = snapshot->backends[index].id_is_given;
		return snapshot->backends[index].id;
	default:
		return 0;
	}
}

/* 0: the database chooses. */
static gs_id given_id(const struct gs_snapshot *want, const struct gs_change *change)
{
	bool is_given;
	gs_id id = id_of(want, change->kind, change->want, &is_given);

	return is_given ? id : 0;
}

/* The objects a step is about, as a JSON list; NULL in *ret_text if there is none. */
static int step_objects(const struct gs_difference *difference, const struct step *step,
			char **ret_text)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	json_t *list = json_array();
	bool failed = !fields || !list;

	for (size_t c = 0; !failed && c < difference->count; c++) {
		const struct gs_change *change = &difference->changes[c];
		json_t *object;
		gs_id id;

		if (change->kind != step->kind || !(step->verbs & 1u << change->verb))
			continue;
		if (change->verb == GS_CHANGE_REMOVE)
			gs_fields_get(difference->have, change->kind, change->have, fields);
		else
			gs_fields_get(difference->want, change->kind, change->want, fields);
		object = gs_fields_json(fields);
		id = change->verb == GS_CHANGE_ADD ? given_id(difference->want, change) : 0;
		if (id != 0)
			json_object_set_new(object, "id", json_integer(id));
		failed = json_array_append_new(list, object) != 0;
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
	int ret = gs_pg_admin_execute(admin, "SET CONSTRAINTS ALL DEFERRED", error);

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
			ret = gs_pg_admin_error(admin->connection, result, "refused: ", error);
	}
	return ret;
}

static int read_revision(struct gs_pg_admin *admin, uint64_t *ret_revision, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexec(admin->connection, "SELECT revision FROM geostream.revision");

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return gs_pg_admin_error(admin->connection, result, "", error);
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

/* ---- what a change may not do ----------------------------------------------------------------*/

static const char *name_of(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index)
{
	switch (kind) {
	case GS_KIND_REGION:
		return snapshot->regions[index].name;
	case GS_KIND_POLICY:
		return snapshot->policies[index].name;
	case GS_KIND_SERVICE:
		return snapshot->services[index].name;
	default:
		return snapshot->backends[index].name;
	}
}

/* Index of the object of that name, or the count. */
static uint32_t find_named(const struct gs_snapshot *snapshot, enum gs_kind kind, const char *name)
{
	uint32_t count = gs_kind_count(snapshot, kind), i = 0;

	while (i < count && strcmp(name_of(snapshot, kind, i), name) != 0)
		i++;
	return i;
}

/* Flows and maps hold ids: an object keeps the one it has. */
static int check_ids(const struct gs_snapshot *have, const struct gs_snapshot *want,
		     struct gs_error *error)
{
	for (int k = 0; k < GS_KIND_OVERRIDE; k++) {
		enum gs_kind kind = (enum gs_kind)k;

		for (uint32_t i = 0; i < gs_kind_count(want, kind); i++) {
			const char *name = name_of(want, kind, i);
			bool is_given, ignored;
			gs_id id = id_of(want, kind, i, &is_given), now;
			uint32_t at =
				is_given ? find_named(have, kind, name) : gs_kind_count(have, kind);

			if (at == gs_kind_count(have, kind))
				continue;
			now = id_of(have, kind, at, &ignored);
			if (now != id)
				return gs_error_set(
					-EINVAL, error,
					"%s %s: the document says id %u, it has %u here, and ids "
					"cannot change (export --portable leaves them out)",
					gs_kind_name(kind), name, id, now);
		}
	}
	return 0;
}

/* [{"kind","name"}] of what a change touches; NULL: no memory. To free. */
static char *touched_objects(const struct gs_difference *difference)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	json_t *list = json_array();
	char *text = NULL;

	for (size_t c = 0; fields && list && c < difference->count; c++) {
		const struct gs_change *change = &difference->changes[c];
		bool removes = change->verb == GS_CHANGE_REMOVE;
		char name[GS_OBJECT_NAME_MAX];

		gs_fields_get(removes ? difference->have : difference->want, change->kind,
			      removes ? change->have : change->want, fields);
		json_array_append_new(list, json_pack("{s:s,s:s}", "kind",
						      gs_kind_name(change->kind), "name",
						      gs_fields_name(fields, change->kind, name)));
	}
	if (fields && list)
		text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

int gs_pg_admin_check_since(struct gs_pg_admin *admin, const char *objects, uint64_t since,
			    uint64_t revision, struct gs_error *error)
{
	static const char query[] =
		"SELECT kind, name, actor, revision,"
		" to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'),"
		" CASE WHEN before IS NULL THEN 'added' WHEN after IS NULL THEN 'removed' ELSE"
		" (SELECT string_agg(format('%s %s -> %s', k, before ->> k, after ->> k), ', ')"
		" FROM jsonb_object_keys(before) k WHERE before -> k IS DISTINCT FROM after -> k) END"
		" FROM geostream.audit WHERE revision > $1::bigint AND (kind, name) IN"
		" (SELECT kind, name FROM jsonb_to_recordset($2::jsonb) AS j(kind text, name text))"
		" ORDER BY id DESC LIMIT 1";
	GS_AUTO_PGRESULT PGresult *result = NULL;
	char number[24];
	const char *values[2] = {number, objects};

	if (since > revision)
		return gs_error_set(-EINVAL, error,
				    "revision %" PRIu64 " has not been yet: the newest is %" PRIu64,
				    since, revision);
	if (since == revision || !objects)
		return 0;
	snprintf(number, sizeof(number), "%" PRIu64, since);
	result = PQexecParams(admin->connection, query, 2, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return gs_pg_admin_error(admin->connection, result, "", error);
	if (PQntuples(result) == 0)
		return 0;
	return gs_error_set(-ESTALE, error,
			    "%s %s has changed since revision %" PRIu64
			    ": %.120s (by %s, %s, revision %s); look again, then repeat the change",
			    PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), since,
			    PQgetvalue(result, 0, 5), PQgetvalue(result, 0, 2),
			    PQgetvalue(result, 0, 4), PQgetvalue(result, 0, 3));
}

/* ---- the edit --------------------------------------------------------------------------------*/

static int check_since(struct gs_pg_admin *admin, const struct gs_pg_edit *edit, uint64_t since,
		       struct gs_error *error)
{
	bool is_due = since < edit->revision && edit->difference.count > 0;
	GS_AUTO_FREE char *objects = is_due ? touched_objects(&edit->difference) : NULL;

	if (is_due && !objects)
		return gs_error_set(-ENOMEM, error, "no memory");
	return gs_pg_admin_check_since(admin, objects, since, edit->revision, error);
}

static int write_seed(struct gs_pg_admin *admin, uint64_t seed, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = NULL;
	char text[24];
	const char *values[1] = {text};
	int ret;

	snprintf(text, sizeof(text), "%" PRId64, (int64_t)seed);
	result = PQexecParams(admin->connection,
			      "UPDATE geostream.revision SET selection_seed = $1::bigint", 1, NULL,
			      values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return gs_pg_admin_error(admin->connection, result, "refused: ", error);
	ret = gs_pg_admin_execute(admin, "SELECT geostream.bump_revision()", error);
	return ret;
}

/* Inside the transaction: what it is, what it shall be, and the way from one to the other. */
static int work_out(struct gs_pg_admin *admin, const struct gs_pg_change *change, uint64_t since,
		    struct gs_pg_edit *edit, struct gs_error *error)
{
	int ret = gs_pg_admin_read_with(admin, gs_pg_snapshot_query, &edit->have, error);

	ret = ret ? ret : change->make(edit->have, change->context, &edit->want, error);
	ret = ret ? ret : gs_snapshot_check(edit->want, error);
	ret = ret ? ret : check_ids(edit->have, edit->want, error);
	if (ret)
		return ret;
	edit->revision = edit->have->revision;
	edit->seed_changes = edit->want->seed_is_given &&
			     edit->want->selection_seed != edit->have->selection_seed;
	if (gs_difference_make(edit->have, edit->want, &edit->difference) != 0)
		return gs_error_set(-ENOMEM, error, "no memory");
	return check_since(admin, edit, since, error);
}

int gs_pg_admin_begin(struct gs_pg_admin *admin, bool dry_run, struct gs_error *error)
{
	return gs_pg_admin_execute(admin,
				   dry_run ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
					   : "BEGIN; SELECT FROM geostream.revision FOR UPDATE",
				   error);
}

static int write_edit(struct gs_pg_admin *admin, struct gs_pg_edit *edit, struct gs_error *error)
{
	int ret = write_difference(admin, &edit->difference, error);

	if (ret == 0 && edit->seed_changes)
		ret = write_seed(admin, edit->want->selection_seed, error);
	ret = ret ? ret : read_revision(admin, &edit->revision, error);
	return ret ? ret : gs_pg_admin_execute(admin, "COMMIT", error);
}

int gs_pg_admin_edit(struct gs_pg_admin *admin, const struct gs_pg_change *change,
		     struct gs_pg_edit *ret_edit, struct gs_error *error)
{
	GS_CLEANUP(gs_pg_edit_done) struct gs_pg_edit edit = {0};
	uint64_t since = change->since_revision;
	struct gs_error ignored;
	int ret = 0;

	/* What the caller acts on is what was there before he had to wait for the lock. */
	if (since == 0)
		ret = read_revision(admin, &since, error);
	ret = ret ? ret : gs_pg_admin_begin(admin, change->dry_run, error);
	ret = ret ? ret : work_out(admin, change, since, &edit, error);
	if (ret == 0 && !change->dry_run && (edit.difference.count > 0 || edit.seed_changes))
		ret = write_edit(admin, &edit, error);
	if (PQtransactionStatus(admin->connection) != PQTRANS_IDLE)
		gs_pg_admin_execute(admin, "ROLLBACK", &ignored);
	if (ret)
		return ret;
	*ret_edit = edit;
	edit = (struct gs_pg_edit){0};
	return 0;
}
