// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_writes.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/base/loop.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/random.h>

struct gs_pg_queued {
	struct gs_pg_queued *next;
	uint64_t number;
	struct gs_transition transition;
};

/*
 * One statement, one transaction: what is already there (sent before, the answer lost) is left
 * alone, and the last state of each object is kept beside its history.
 */
static const char transitions_query[] =
	"WITH told AS (SELECT * FROM jsonb_to_recordset($3::jsonb) AS t(number bigint, at bigint,"
	" kind text, region text, service text, backend text, from_state text, to_state text,"
	" why text, actor text, state text, exponent int, epoch bigint, left_ms bigint)),"
	" history AS (INSERT INTO geostream.transitions (edge, run, number, at, kind, region,"
	" service, backend, from_state, to_state, why, actor)"
	" SELECT $1, $2::bigint, number, to_timestamp(at / 1000.0), kind, region, service, backend,"
	" from_state, to_state, why, actor FROM told ORDER BY number"
	" ON CONFLICT ON CONSTRAINT transitions_once DO NOTHING),"
	" breakers AS (INSERT INTO geostream.breaker_states"
	" (edge, service, region, state, exponent, epoch, left_ms, saved_at, why)"
	" SELECT DISTINCT ON (service, region) $1, service, region, state, exponent, epoch, left_ms,"
	" to_timestamp(at / 1000.0), why FROM told WHERE kind = 'breaker'"
	" ORDER BY service, region, number DESC"
	" ON CONFLICT ON CONSTRAINT breaker_states_pkey DO UPDATE SET state = EXCLUDED.state,"
	" exponent = EXCLUDED.exponent, epoch = EXCLUDED.epoch, left_ms = EXCLUDED.left_ms,"
	" saved_at = EXCLUDED.saved_at, why = EXCLUDED.why)"
	" INSERT INTO geostream.health_states AS held"
	" (edge, kind, region, service, backend, state, why, since)"
	" SELECT DISTINCT ON (kind, region, service, backend)"
	" $1, kind, region, service, backend, to_state, why, to_timestamp(at / 1000.0)"
	" FROM told WHERE kind IN ('region', 'pool', 'backend')"
	" ORDER BY kind, region, service, backend, number DESC"
	" ON CONFLICT ON CONSTRAINT health_states_pkey"
	" DO UPDATE SET state = EXCLUDED.state, why = EXCLUDED.why, since = EXCLUDED.since";

/* Of two rows of one minute (a restart, a clock set back) the fuller one stays. */
static const char minutes_query[] =
	"INSERT INTO geostream.probe_minutes AS held (minute, edge, service, region, backend, probes,"
	" failures, local_failures, p50_us, p90_us, p99_us, max_us)"
	" SELECT DISTINCT ON (minute, backend) to_timestamp(minute), $1, service, region, backend,"
	" probes, failures, local_failures, nullif(p50, 0), nullif(p90, 0), nullif(p99, 0),"
	" nullif(max, 0) FROM jsonb_to_recordset($2::jsonb) AS t(minute bigint, service text,"
	" region text, backend text, probes int, failures int, local_failures int, p50 int, p90 int,"
	" p99 int, max int) ORDER BY minute, backend, probes DESC"
	" ON CONFLICT ON CONSTRAINT probe_minutes_pkey DO UPDATE SET probes = EXCLUDED.probes,"
	" failures = EXCLUDED.failures, local_failures = EXCLUDED.local_failures,"
	" p50_us = EXCLUDED.p50_us, p90_us = EXCLUDED.p90_us, p99_us = EXCLUDED.p99_us,"
	" max_us = EXCLUDED.max_us WHERE EXCLUDED.probes > held.probes";

static const char breakers_query[] =
	"SELECT left(service, 64), left(region, 64), state, exponent, epoch, left_ms,"
	" (extract(epoch FROM saved_at) * 1000)::bigint FROM geostream.breaker_states"
	" WHERE edge = $1 LIMIT 262144";

static const char edge_query[] =
	"WITH edge AS (INSERT INTO geostream.edges AS e (name, version, generation, revision, digest,"
	" published_at, geo_path, geo_build_at, geo_digest, selection_seed)"
	" VALUES ($1, $2, $3::bigint, $4::bigint, $5::bigint,"
	" to_timestamp(nullif($6::bigint, 0) / 1000.0), $7, to_timestamp(nullif($8::bigint, 0)),"
	" $10::bigint, $11::bigint)"
	" ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, seen_at = now(),"
	" connected_at = CASE WHEN $9::boolean THEN now() ELSE e.connected_at END,"
	" generation = EXCLUDED.generation, revision = EXCLUDED.revision,"
	" digest = EXCLUDED.digest, published_at = EXCLUDED.published_at,"
	" geo_path = EXCLUDED.geo_path, geo_build_at = EXCLUDED.geo_build_at,"
	" geo_digest = EXCLUDED.geo_digest, selection_seed = EXCLUDED.selection_seed),"
	" pruned AS (DELETE FROM geostream.generations WHERE edge = $1 AND published_at <"
	" (SELECT published_at FROM geostream.generations WHERE edge = $1"
	" ORDER BY published_at DESC OFFSET 99 LIMIT 1))"
	" INSERT INTO geostream.generations (edge, number, published_at, revision, digest, geo_path,"
	" geo_build_at)"
	" SELECT $1, $3::bigint, to_timestamp($6::bigint / 1000.0), $4::bigint, $5::bigint, $7,"
	" to_timestamp(nullif($8::bigint, 0)) WHERE $3::bigint > 0"
	" ON CONFLICT ON CONSTRAINT generations_pkey DO NOTHING";

void gs_pg_writes_init(struct gs_pg_writes *writes, const char *edge)
{
	*writes = (struct gs_pg_writes){.edge = edge, .batch_limit = GS_PG_BATCH_MAX};
	writes->last = &writes->first;
	if (getrandom(&writes->run, sizeof(writes->run), 0) != sizeof(writes->run))
		writes->run = (int64_t)gs_now_us();
}

static void drop_first(struct gs_pg_writes *writes)
{
	struct gs_pg_queued *first = writes->first;

	writes->first = first->next;
	if (!writes->first)
		writes->last = &writes->first;
	writes->count--;
	if (writes->in_flight > 0)
		writes->in_flight--;
	free(first);
}

void gs_pg_writes_done(struct gs_pg_writes *writes)
{
	while (writes->first)
		drop_first(writes);
}

static void count_dropped(struct gs_pg_writes *writes)
{
	writes->dropped++;
	gs_log_limited(GS_LOG_WARNING, "transitions_dropped", "total=%" PRIu64 " queued=%u",
		       writes->dropped, writes->count);
}

void gs_pg_writes_add(struct gs_pg_writes *writes, const struct gs_transition *transition)
{
	struct gs_pg_queued *queued = malloc(sizeof(*queued));

	/* A number a transition, kept or not: a gap in the table tells of what was dropped. */
	writes->next_number++;
	if (!queued) {
		count_dropped(writes);
		return;
	}
	queued->next = NULL;
	queued->number = writes->next_number;
	queued->transition = *transition;
	*writes->last = queued;
	writes->last = &queued->next;
	writes->count++;
	if (writes->count > GS_PG_TRANSITIONS_MAX) {
		drop_first(writes);
		count_dropped(writes);
	}
}

/* Text the database takes, cut to size: what is no clean UTF-8 loses its odd bytes. */
static const char *clean_text(const char *text, char *out, size_t size)
{
	size_t length = strnlen(text, size - 1);

	memmove(out, text, length);
	out[length] = '\0';
	if (!gs_text_is_valid(out, size - 1))
		for (size_t i = 0; i < length; i++)
			if (out[i] < ' ' || out[i] > '~')
				out[i] = '?';
	return out;
}

static json_t *text_json(const char *text, size_t size)
{
	char clean[GS_ERROR_MAX];

	return json_string(clean_text(text, clean, size < sizeof(clean) ? size : sizeof(clean)));
}

static json_t *transition_json(const struct gs_pg_queued *queued)
{
	static const char *const kinds[] = {
		[GS_OBJECT_REGION] = "region",	 [GS_OBJECT_POOL] = "pool",
		[GS_OBJECT_BACKEND] = "backend", [GS_OBJECT_BREAKER] = "breaker",
		[GS_OBJECT_PLAN] = "plan",	 [GS_OBJECT_GENERATION] = "generation",
	};
	const struct gs_transition *t = &queued->transition;

	return json_pack("{s:I,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:i,s:I,s:I}", "number",
			 (json_int_t)queued->number, "at", (json_int_t)t->unix_ms, "kind",
			 t->kind < ARRAY_SIZE(kinds) ? kinds[t->kind] : "?", "region",
			 text_json(t->region, sizeof(t->region)), "service",
			 text_json(t->service, sizeof(t->service)), "backend",
			 text_json(t->backend, sizeof(t->backend)), "from_state",
			 text_json(t->from, sizeof(t->from)), "to_state",
			 text_json(t->to, sizeof(t->to)), "why", text_json(t->why, sizeof(t->why)),
			 "actor", text_json(t->actor, sizeof(t->actor)), "state",
			 gs_breaker_state_name(t->breaker.state), "exponent",
			 (int)t->breaker.exponent, "epoch", (json_int_t)t->breaker.epoch, "left_ms",
			 (json_int_t)t->breaker.left_ms);
}

static char *batch_json(const struct gs_pg_writes *writes, uint32_t count)
{
	const struct gs_pg_queued *queued = writes->first;
	json_t *batch = json_array();
	char *text;

	for (uint32_t i = 0; batch && i < count; i++, queued = queued->next)
		if (json_array_append_new(batch, transition_json(queued)) != 0) {
			json_decref(batch);
			return NULL;
		}
	text = json_dumps(batch, JSON_COMPACT);
	json_decref(batch);
	return text;
}

int gs_pg_writes_send(struct gs_pg_writes *writes, PGconn *connection)
{
	uint32_t count = writes->count < writes->batch_limit ? writes->count : writes->batch_limit;
	GS_AUTO_FREE char *batch = batch_json(writes, count);
	const char *values[3] = {writes->edge};
	char run[32];

	if (!batch)
		return -ENOMEM;
	snprintf(run, sizeof(run), "%" PRId64, writes->run);
	values[1] = run;
	values[2] = batch;
	if (!PQsendQueryParams(connection, transitions_query, 3, NULL, values, NULL, NULL, 0))
		return -EIO;
	writes->in_flight = count;
	return 0;
}

void gs_pg_writes_committed(struct gs_pg_writes *writes)
{
	while (writes->in_flight > 0)
		drop_first(writes);
	writes->batch_limit = GS_PG_BATCH_MAX;
}

bool gs_pg_writes_refused(struct gs_pg_writes *writes, const char *sqlstate)
{
	uint32_t in_flight = writes->in_flight;

	writes->in_flight = 0;
	/* Classes 22 and 23: the data is at fault, the same again would fail for ever. */
	if (!sqlstate || strncmp(sqlstate, "22", 2) < 0 || strncmp(sqlstate, "23", 2) > 0)
		return false;
	if (in_flight > 1) {
		writes->batch_limit = 1;
	} else if (in_flight == 1) {
		gs_log(GS_LOG_ERROR, "transition_discarded", "number=%" PRIu64 " sqlstate=%s",
		       writes->first->number, sqlstate);
		drop_first(writes);
		writes->dropped++;
	}
	return true;
}

/* ---- minutes of probes -----------------------------------------------------------------------*/

static void drop_minutes(struct gs_pg_minutes *minutes, uint32_t count)
{
	memmove(minutes->rows, minutes->rows + count,
		(minutes->count - count) * sizeof(*minutes->rows));
	minutes->count -= count;
	minutes->in_flight = minutes->in_flight > count ? minutes->in_flight - count : 0;
}

void gs_pg_minutes_done(struct gs_pg_minutes *minutes)
{
	free(minutes->rows);
	*minutes = (struct gs_pg_minutes){0};
}

static void count_dropped_minutes(struct gs_pg_minutes *minutes, uint32_t count)
{
	minutes->dropped += count;
	gs_log_limited(GS_LOG_WARNING, "probe_minutes_dropped", "total=%" PRIu64 " queued=%u",
		       minutes->dropped, minutes->count);
}

void gs_pg_minutes_add(struct gs_pg_minutes *minutes, const struct gs_probe_minute *rows,
		       uint32_t count)
{
	uint32_t take = count < GS_PG_MINUTES_MAX ? count : (uint32_t)GS_PG_MINUTES_MAX;

	if (minutes->count + take > GS_PG_MINUTES_MAX) {
		uint32_t over = minutes->count + take - GS_PG_MINUTES_MAX;

		drop_minutes(minutes, over);
		count_dropped_minutes(minutes, over);
	}
	if (minutes->count + take > minutes->room) {
		uint32_t room = 2 * (minutes->count + take);
		struct gs_probe_minute *bigger = realloc(minutes->rows, room * sizeof(*bigger));

		if (!bigger) {
			count_dropped_minutes(minutes, take);
			return;
		}
		minutes->rows = bigger;
		minutes->room = room;
	}
	memcpy(minutes->rows + minutes->count, rows, take * sizeof(*rows));
	minutes->count += take;
}

static json_t *minute_json(const struct gs_probe_minute *row)
{
	return json_pack(
		"{s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "minute", (json_int_t)row->unix_s,
		"service", text_json(row->service, sizeof(row->service)), "region",
		text_json(row->region, sizeof(row->region)), "backend",
		text_json(row->backend, sizeof(row->backend)), "probes", (json_int_t)row->count,
		"failures", (json_int_t)row->failures, "local_failures", (json_int_t)row->local,
		"p50", (json_int_t)row->p50_us, "p90", (json_int_t)row->p90_us, "p99",
		(json_int_t)row->p99_us, "max", (json_int_t)row->max_us);
}

int gs_pg_minutes_send(struct gs_pg_minutes *minutes, const char *edge, PGconn *connection)
{
	uint32_t count = minutes->count < GS_PG_MINUTES_BATCH ? minutes->count
							      : (uint32_t)GS_PG_MINUTES_BATCH;
	json_t *batch = json_array();
	GS_AUTO_FREE char *text = NULL;
	const char *values[2] = {edge};

	for (uint32_t i = 0; batch && i < count; i++)
		json_array_append_new(batch, minute_json(&minutes->rows[i]));
	text = batch ? json_dumps(batch, JSON_COMPACT) : NULL;
	json_decref(batch);
	if (!text)
		return -ENOMEM;
	values[1] = text;
	if (!PQsendQueryParams(connection, minutes_query, 2, NULL, values, NULL, NULL, 0))
		return -EIO;
	minutes->in_flight = count;
	return 0;
}

void gs_pg_minutes_sent(struct gs_pg_minutes *minutes, bool was_lost)
{
	if (!was_lost)
		drop_minutes(minutes, minutes->in_flight);
	minutes->in_flight = 0;
}

/* ---- breakers --------------------------------------------------------------------------------*/

int gs_pg_send_breakers(PGconn *connection, const char *edge)
{
	return PQsendQueryParams(connection, breakers_query, 1, NULL, &edge, NULL, NULL, 0) ? 0
											    : -EIO;
}

int gs_pg_breaker_records(const PGresult *result, struct gs_breaker_record **ret_records,
			  uint32_t *ret_count)
{
	int rows = PQntuples(result);
	struct gs_breaker_record *records = calloc((size_t)rows + 1, sizeof(*records));
	uint32_t count = 0;

	if (!records)
		return -ENOMEM;
	for (int i = 0; i < rows; i++) {
		struct gs_breaker_record *record = &records[count];
		unsigned long exponent = strtoul(PQgetvalue(result, i, 3), NULL, 10);
		unsigned long long left_ms = strtoull(PQgetvalue(result, i, 5), NULL, 10);

		if (PQgetlength(result, i, 0) >= GS_NAME_MAX ||
		    PQgetlength(result, i, 1) >= GS_NAME_MAX ||
		    gs_breaker_state_parse(PQgetvalue(result, i, 2), &record->saved.state) != 0)
			continue;
		snprintf(record->service, sizeof(record->service), "%s", PQgetvalue(result, i, 0));
		snprintf(record->region, sizeof(record->region), "%s", PQgetvalue(result, i, 1));
		record->saved.exponent = exponent < UINT8_MAX ? (uint8_t)exponent : UINT8_MAX;
		record->saved.epoch = (uint32_t)strtoul(PQgetvalue(result, i, 4), NULL, 10);
		record->saved.left_ms = left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX;
		record->unix_ms = strtoll(PQgetvalue(result, i, 6), NULL, 10);
		count++;
	}
	*ret_records = records;
	*ret_count = count;
	return 0;
}

/* ---- the edge --------------------------------------------------------------------------------*/

int gs_pg_send_edge(PGconn *connection, const char *edge, const struct gs_edge_report *report,
		    bool is_first)
{
	char generation[24], revision[24], digest[24], published[24], geo_build[24];
	char geo_path[GS_PATH_MAX], geo_digest[24], seed[24];
	const char *values[] = {
		edge,	  GS_VERSION, generation,	    revision,	digest, published,
		geo_path, geo_build,  is_first ? "t" : "f", geo_digest, seed};

	clean_text(report->geo_path, geo_path, sizeof(geo_path));
	snprintf(generation, sizeof(generation), "%" PRId64, (int64_t)report->generation);
	snprintf(revision, sizeof(revision), "%" PRId64, (int64_t)report->revision);
	snprintf(digest, sizeof(digest), "%" PRId64, (int64_t)report->digest);
	snprintf(published, sizeof(published), "%" PRId64, report->published_unix_ms);
	snprintf(geo_digest, sizeof(geo_digest), "%" PRId64, (int64_t)report->geo_digest);
	snprintf(seed, sizeof(seed), "%" PRId64, (int64_t)report->selection_seed);
	snprintf(geo_build, sizeof(geo_build), "%" PRId64, (int64_t)report->geo_build_unix_s);
	if (!PQsendQueryParams(connection, edge_query, ARRAY_SIZE(values), NULL, values, NULL, NULL,
			       0))
		return -EIO;
	return 0;
}
