// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_overlay.h"

#include "user/adapters/pg_admin_parts.h"
#include "user/adapters/pg_rows.h"
#include "user/app/overlays.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/loop.h"
#include "user/core/overlay.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

/* One change while it is worked out. */
struct work {
	struct gs_pg_admin *admin;
	const struct gs_pg_laying *laying;
	struct gs_snapshot *have;
	struct gs_overlay_names *names;
	struct gs_overlay *objects; /* of names[i]: which object, and what is laid over it */
	uint32_t count;
};

static void work_done(struct work *work)
{
	gs_snapshot_free(work->have);
	free(work->names);
	free(work->objects);
}

/* ---- what is meant --------------------------------------------------------------------------- */

static int find_objects(struct work *work, struct gs_error *error)
{
	const struct gs_pg_laying *laying = work->laying;
	int ret = 0;

	work->names = calloc(GS_OVERLAYS_MAX, sizeof(*work->names));
	work->objects = calloc(GS_OVERLAYS_MAX, sizeof(*work->objects));
	if (!work->names || !work->objects)
		return gs_error_set(-ENOMEM, error, "no memory");
	for (uint32_t p = 0; ret == 0 && p < laying->pattern_count; p++)
		ret = gs_overlay_expand(work->have, laying->kind, laying->patterns[p], work->names,
					GS_OVERLAYS_MAX, &work->count, error);
	for (uint32_t i = 0; ret == 0 && i < work->count; i++) {
		struct gs_overlay *object = &work->objects[i];

		gs_overlay_find_object(work->have, &work->names[i], object);
		object->admin = laying->admin;
		snprintf(object->edge, sizeof(object->edge), "%s", laying->edge);
	}
	return ret;
}

/* What is laid over it for the same edge, or for all; NULL. */
static const struct gs_overlay *laid_over(const struct gs_snapshot *snapshot,
					  const struct gs_overlay *object)
{
	for (uint32_t i = 0; i < snapshot->overlay_count; i++)
		if (gs_overlay_compare(&snapshot->overlays[i], object) == 0)
			return &snapshot->overlays[i];
	return NULL;
}

/* Who changes it has to know what it is. */
static int check_version(const struct work *work, struct gs_error *error)
{
	const struct gs_overlay *found;
	char name[GS_OVERLAY_NAME_MAX];

	if (!work->laying->has_version)
		return 0;
	if (work->count != 1)
		return gs_error_set(-EINVAL, error, "a version is of one object, not of %u",
				    work->count);
	found = laid_over(work->have, &work->objects[0]);
	if ((found ? found->version : 0) == work->laying->version)
		return 0;
	gs_overlay_name(&work->names[0], name);
	if (!found)
		return gs_error_set(-ESTALE, error,
				    "nothing is laid over %s %.127s any more: look again, then "
				    "repeat the change",
				    work->laying->kind, name);
	return gs_error_set(-ESTALE, error,
			    "%s %.63s has version %lu by now: %s by %.40s%s%.60s; look again, then "
			    "repeat the change",
			    work->laying->kind, name, (unsigned long)found->version,
			    gs_admin_name(found->admin), found->actor, found->reason[0] ? ": " : "",
			    found->reason);
}

/* ---- the rules ------------------------------------------------------------------------------- */

/* Regions that every edge which is alive says are down. */
static int read_down(struct work *work, struct gs_region_set *ret_down, struct gs_error *error)
{
	static const char query[] =
		"SELECT left(h.region, 64) FROM geostream.health_states h JOIN geostream.edges e"
		" ON e.name = h.edge AND e.seen_at > now() - interval '60 seconds'"
		" WHERE h.kind = 'region' GROUP BY h.region HAVING bool_and(h.state = 'down')"
		" LIMIT 256";
	GS_AUTO_PGRESULT PGresult *result = PQexec(work->admin->connection, query);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return gs_pg_admin_error(work->admin->connection, result, "", error);
	for (int i = 0; i < PQntuples(result); i++) {
		const struct gs_region *region =
			gs_snapshot_region_named(work->have, PQgetvalue(result, i, 0));

		if (region)
			ret_down->words[region->id / 64] |= 1ULL << region->id % 64;
	}
	return 0;
}

static int compare_overlays(const void *left, const void *right)
{
	return gs_overlay_compare(left, right);
}

/* The snapshot's, with what is to be laid in the place of what is laid; sorted. */
static uint32_t lay_all(const struct work *work, struct gs_overlay *out)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < work->have->overlay_count; i++) {
		bool is_one = false;

		for (uint32_t o = 0; o < work->count && !is_one; o++)
			is_one = gs_overlay_compare(&work->objects[o], &work->have->overlays[i]) ==
				 0;
		if (!is_one)
			out[count++] = work->have->overlays[i];
	}
	memcpy(out + count, work->objects, work->count * sizeof(*out));
	count += work->count;
	qsort(out, count, sizeof(*out), compare_overlays);
	return count;
}

static int check_rules(struct work *work, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_admins *before = malloc(sizeof(*before));
	GS_AUTO_FREE struct gs_admins *after = malloc(sizeof(*after));
	GS_AUTO_FREE struct gs_overlay *laid =
		calloc(work->have->overlay_count + work->count, sizeof(*laid));
	struct gs_rule_facts facts = {.demand = work->laying->demand};
	struct gs_overlay_set set = {.shared = work->have->overlays,
				     .shared_count = work->have->overlay_count,
				     .edge = work->laying->edge,
				     .unix_ms = gs_unix_ms() + work->have->clock_ahead_ms};
	struct gs_error why;
	int ret;

	if (!before || !after || !laid)
		return gs_error_set(-ENOMEM, error, "no memory");
	if (work->laying->is_forced)
		return 0;
	gs_admins_resolve(work->have, &set, before);
	set.shared = laid;
	set.shared_count = lay_all(work, laid);
	gs_admins_resolve(work->have, &set, after);
	ret = read_down(work, &facts.down, error);
	if (ret)
		return ret;
	ret = gs_admins_check(work->have, before, after, &facts, &why);
	return ret ? gs_error_set(ret, error, "%.240s (--force does it all the same)", why.text)
		   : 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* [{"region", "service", "backend", "edge"}]; to free; NULL: no memory. */
static char *objects_json(const struct work *work)
{
	json_t *list = json_array();
	char *text = NULL;

	for (uint32_t i = 0; i < work->count; i++)
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:s,s:s}", "region", work->names[i].region,
					"service", work->names[i].service, "backend",
					work->names[i].backend, "edge", work->laying->edge));
	if (json_array_size(list) == work->count)
		text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

/* Statements that return one row, one column: a JSON array. */
static int run(struct work *work, const char *query, const char *const *values, int count,
	       json_t **ret_rows, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexecParams(work->admin->connection, query, count, NULL, values, NULL, NULL, 0);
	json_t *rows;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return gs_pg_admin_error(work->admin->connection, result, "refused: ", error);
	rows = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
	if (!rows)
		return gs_error_set(-EIO, error, "database: an answer that is no JSON");
	*ret_rows = rows;
	return 0;
}

#define OBJECTS \
	"jsonb_to_recordset($1::jsonb) AS j(region text, service text, backend text, edge text)"
#define SHOW                                                                                               \
	"SELECT coalesce(json_agg(json_build_object('name', coalesce(backend, coalesce(service || '@',"    \
	" '') || region), 'edge', edge, 'admin', admin, 'expires', to_char(expires_at AT TIME ZONE 'UTC'," \
	" 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'version', version) ORDER BY name), '[]') FROM changed"

static int write_rows(struct work *work, const char *objects, json_t **ret_rows,
		      struct gs_error *error)
{
	static const char query[] =
		"WITH changed AS (INSERT INTO geostream.overlays (region, service, backend, edge, admin,"
		" reason, ticket, expires_at, supersedes, forced)"
		" SELECT nullif(j.region, ''), nullif(j.service, ''), nullif(j.backend, ''), j.edge, $2,"
		" $3, $4, now() + nullif($5::bigint, 0) * interval '1 second', $6::boolean, $7::boolean"
		" FROM " OBJECTS " ON CONFLICT ((coalesce(region, '')), (coalesce(service, '')),"
		" (coalesce(backend, '')), edge) DO UPDATE SET admin = EXCLUDED.admin,"
		" reason = EXCLUDED.reason, ticket = EXCLUDED.ticket, made_at = EXCLUDED.made_at,"
		" expires_at = EXCLUDED.expires_at, supersedes = EXCLUDED.supersedes,"
		" forced = EXCLUDED.forced, actor = geostream.actor() RETURNING *) " SHOW;
	const struct gs_pg_laying *laying = work->laying;
	char seconds[16];
	const char *values[] = {objects,
				gs_admin_name(laying->admin),
				laying->reason,
				laying->ticket,
				seconds,
				laying->supersedes ? "t" : "f",
				laying->is_forced ? "t" : "f"};

	snprintf(seconds, sizeof(seconds), "%u", laying->seconds);
	return run(work, query, values, ARRAY_SIZE(values), ret_rows, error);
}

static int delete_rows(struct work *work, const char *objects, json_t **ret_rows,
		       struct gs_error *error)
{
	static const char query[] =
		"WITH changed AS (DELETE FROM geostream.overlays o USING " OBJECTS
		" WHERE coalesce(o.region, '') = j.region AND coalesce(o.service, '') = j.service"
		" AND coalesce(o.backend, '') = j.backend AND o.edge = j.edge RETURNING o.*) " SHOW;
	int ret = run(work, query, &objects, 1, ret_rows, error);

	if (ret || json_array_size(*ret_rows) > 0)
		return ret;
	json_decref(gs_take_ptr(*ret_rows));
	return gs_error_set(-ENOENT, error, "nothing is laid over it%s%s",
			    *work->laying->edge ? " on edge " : "", work->laying->edge);
}

static void add_kind(json_t *rows, const char *kind)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		json_object_set_new(row, "kind", json_string(kind));
}

/* Inside the transaction, which nobody else's change is beside. */
static int work_out(struct work *work, bool lifts, json_t **ret_rows, struct gs_error *error)
{
	GS_AUTO_FREE char *objects = NULL;
	int ret = gs_pg_admin_read_with(work->admin, gs_pg_snapshot_query, &work->have, error);

	ret = ret ? ret : find_objects(work, error);
	ret = ret ? ret : check_version(work, error);
	if (ret == 0 && !lifts)
		ret = check_rules(work, error);
	if (ret)
		return ret;
	objects = objects_json(work);
	if (!objects)
		return gs_error_set(-EINVAL, error, "no memory, or an edge's name that is no text");
	ret = lifts ? delete_rows(work, objects, ret_rows, error)
		    : write_rows(work, objects, ret_rows, error);
	if (ret == 0)
		add_kind(*ret_rows, work->laying->kind);
	return ret;
}

static int change(struct gs_pg_admin *admin, const struct gs_pg_laying *laying, bool lifts,
		  json_t **ret_rows, struct gs_error *error)
{
	GS_CLEANUP(work_done) struct work work = {.admin = admin, .laying = laying};
	struct gs_error ignored;
	json_t *rows = NULL;
	int ret = gs_pg_admin_execute(admin, "BEGIN; SELECT FROM geostream.revision FOR UPDATE",
				      error);

	ret = ret ? ret : work_out(&work, lifts, &rows, error);
	ret = ret ? ret : gs_pg_admin_execute(admin, "COMMIT", error);
	if (PQtransactionStatus(admin->connection) != PQTRANS_IDLE)
		gs_pg_admin_execute(admin, "ROLLBACK", &ignored);
	if (ret)
		json_decref(rows);
	else
		*ret_rows = rows;
	return ret;
}

int gs_pg_admin_lay(struct gs_pg_admin *admin, const struct gs_pg_laying *laying, json_t **ret_rows,
		    struct gs_error *error)
{
	return change(admin, laying, false, ret_rows, error);
}

int gs_pg_admin_lift(struct gs_pg_admin *admin, const struct gs_pg_laying *laying,
		     json_t **ret_rows, struct gs_error *error)
{
	return change(admin, laying, true, ret_rows, error);
}
