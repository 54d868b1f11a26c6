// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_latency.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char told_query[] =
	"WITH told AS MATERIALIZED (SELECT * FROM jsonb_to_recordset($2::jsonb) AS t(place text,"
	" continent text, region text, samples integer, rtt_us integer, model_us integer,"
	" age_ms bigint)),"
	" gone AS (DELETE FROM geostream.latency_samples s WHERE s.at < now() - interval '20 minutes'"
	" AND NOT (s.edge = $1 AND EXISTS (SELECT FROM told t WHERE t.place = s.place"
	" AND t.region = s.region)))"
	" INSERT INTO geostream.latency_samples (edge, place, region, continent, samples, rtt_us,"
	" model_us, at)"
	" SELECT $1, place, region, continent, samples, rtt_us, model_us,"
	" clock_timestamp() - age_ms * interval '1 millisecond' FROM told"
	" ON CONFLICT ON CONSTRAINT latency_samples_pkey DO UPDATE SET"
	" continent = EXCLUDED.continent, samples = EXCLUDED.samples, rtt_us = EXCLUDED.rtt_us,"
	" model_us = EXCLUDED.model_us, at = EXCLUDED.at";

/*
 * Of several edges the one that heard last weighs most: 1/e for each minute that another is behind.
 * Of probes each edge has a vote, and the middle one is taken (the lower of two): of round trips
 * and, for itself, of what they are more than distance. So one edge that is mistaken about where it
 * is moves little.
 */
static const char turn_query[] =
	"WITH turn AS MATERIALIZED (SELECT geostream.take_latency_turn($1, $2::integer) AS epoch)"
	" SELECT turn.epoch, m.* FROM turn LEFT JOIN LATERAL ("
	"(SELECT s.place, max(s.continent), r.id, least(sum(s.samples), 2147483647)::bigint AS samples,"
	" round(sum(w.weight * s.rtt_us) / sum(w.weight))::bigint,"
	" round(sum(w.weight * s.model_us) / sum(w.weight))::bigint,"
	" greatest(extract(epoch FROM clock_timestamp() - max(s.at)) * 1000, 0)::bigint,"
	" (extract(epoch FROM max(s.at)) * 1000)::bigint"
	" FROM geostream.latency_samples s JOIN geostream.regions r ON r.name = s.region"
	" CROSS JOIN LATERAL (SELECT s.samples * exp(greatest(-60,"
	" extract(epoch FROM s.at - now())::float8 / 60)) AS weight) w"
	" WHERE s.at > now() - interval '10 minutes' AND s.place <> 'probes' GROUP BY s.place, r.id"
	" ORDER BY samples DESC, s.place, r.id LIMIT 16384)"
	" UNION ALL "
	"(SELECT s.place, '', r.id, least(sum(s.samples), 2147483647)::bigint,"
	" percentile_disc(0.5) WITHIN GROUP (ORDER BY s.rtt_us)::bigint,"
	" (percentile_disc(0.5) WITHIN GROUP (ORDER BY s.rtt_us)"
	" - percentile_disc(0.5) WITHIN GROUP (ORDER BY greatest(s.rtt_us - s.model_us, 0)))::bigint,"
	" greatest(extract(epoch FROM clock_timestamp() - max(s.at)) * 1000, 0)::bigint,"
	" (extract(epoch FROM max(s.at)) * 1000)::bigint"
	" FROM geostream.latency_samples s JOIN geostream.regions r ON r.name = s.region"
	" WHERE s.at > now() - interval '10 minutes' AND s.place = 'probes' GROUP BY s.place, r.id)"
	") m ON true WHERE turn.epoch IS NOT NULL";

enum { TURN_COLUMNS = 9 };

static const char publish_query[] =
	"SELECT geostream.publish_latency($1, $2::bigint, jsonb_build_object('from', $4::integer,"
	" 'to', $5::integer, 'begins', $6::integer, 'rows', $3::jsonb))::int";

void gs_pg_latency_done(struct gs_pg_latency *latency)
{
	free(gs_take_ptr(latency->told));
	free(gs_take_ptr(latency->changes));
	latency->turn_is_due = false;
}

bool gs_pg_latency_is_busy(const struct gs_pg_latency *latency)
{
	return latency->told || latency->changes || latency->turn_is_due;
}

/* ---- what waits ------------------------------------------------------------------------------*/

/* A list in memory of its own. Places, regions and continents are plain words: nothing to quote. */
static int write_list(void (*write)(FILE *file, const void *rows, uint32_t i), const void *rows,
		      uint32_t count, char **ret_text)
{
	GS_AUTO_FREE char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return -ENOMEM;
	fputc('[', file);
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0)
			fputc(',', file);
		write(file, rows, i);
	}
	fputc(']', file);
	if (fclose(file) != 0)
		return -ENOMEM;
	free(*ret_text);
	*ret_text = gs_take_ptr(text);
	return 0;
}

static void write_told(FILE *file, const void *rows, uint32_t i)
{
	const struct gs_latency_told *row = (const struct gs_latency_told *)rows + i;

	fprintf(file,
		"{\"place\":\"%s\",\"continent\":\"%s\",\"region\":\"%s\",\"samples\":%" PRIu32
		",\"rtt_us\":%" PRIu32 ",\"model_us\":%" PRIu32 ",\"age_ms\":%" PRIu32 "}",
		row->place, row->continent, row->region, row->samples, row->rtt_us, row->model_us,
		row->age_ms);
}

static void write_change(FILE *file, const void *rows, uint32_t i)
{
	const struct gs_latency_change *row = (const struct gs_latency_change *)rows + i;

	fprintf(file, "{\"place\":\"%s\",\"region\":%u", row->place, row->region);
	if (!row->is_gone)
		fprintf(file, ",\"us\":%" PRId32 ",\"samples\":%" PRIu32, row->us, row->samples);
	fputc('}', file);
}

int gs_pg_latency_tell(struct gs_pg_latency *latency, const struct gs_latency_told *rows,
		       uint32_t count)
{
	return write_list(write_told, rows, count, &latency->told);
}

int gs_pg_latency_change(struct gs_pg_latency *latency, int64_t epoch,
			 const struct gs_latency_step *step,
			 const struct gs_latency_change *changes, uint32_t count)
{
	latency->epoch = epoch;
	latency->step = *step;
	return write_list(write_change, changes, count, &latency->changes);
}

/* ---- to the database -------------------------------------------------------------------------*/

static int send(PGconn *connection, const char *query, int count, const char *const *values)
{
	return PQsendQueryParams(connection, query, count, NULL, values, NULL, NULL, 0) ? 0 : -EIO;
}

int gs_pg_latency_send_told(struct gs_pg_latency *latency, PGconn *connection)
{
	GS_AUTO_FREE char *told = gs_take_ptr(latency->told);
	const char *const values[] = {latency->edge, told};

	return send(connection, told_query, ARRAY_SIZE(values), values);
}

int gs_pg_latency_send_turn(struct gs_pg_latency *latency, PGconn *connection)
{
	char period[16];
	const char *const values[] = {latency->edge, period};

	latency->turn_is_due = false;
	snprintf(period, sizeof(period), "%" PRIu32, latency->period_ms);
	return send(connection, turn_query, ARRAY_SIZE(values), values);
}

int gs_pg_latency_send_changes(struct gs_pg_latency *latency, PGconn *connection)
{
	GS_AUTO_FREE char *changes = gs_take_ptr(latency->changes);
	char epoch[24], from[8], to[8], begins[8];
	const char *const values[] = {latency->edge, epoch, changes, from, to, begins};

	snprintf(epoch, sizeof(epoch), "%" PRId64, latency->epoch);
	snprintf(from, sizeof(from), "%u", latency->step.from_percent);
	snprintf(to, sizeof(to), "%u", latency->step.to_percent);
	snprintf(begins, sizeof(begins), "%d", 100 - GS_LATENCY_STEP_PERCENT);
	return send(connection, publish_query, ARRAY_SIZE(values), values);
}

/* ---- and back --------------------------------------------------------------------------------*/

static uint64_t number_at(const PGresult *result, int row, int column, uint64_t most)
{
	unsigned long long number = strtoull(PQgetvalue(result, row, column), NULL, 10);

	return number < most ? number : most;
}

/* False: it makes no sense. */
static bool read_measured(const PGresult *result, int row, struct gs_latency_measured *m)
{
	const char *place = PQgetvalue(result, row, 1), *continent = PQgetvalue(result, row, 2);

	if (strlen(place) >= sizeof(m->place) || strlen(continent) >= sizeof(m->continent))
		return false;
	memcpy(m->place, place, strlen(place));
	memcpy(m->continent, continent, strlen(continent));
	m->region = (gs_id)number_at(result, row, 3, UINT16_MAX);
	m->samples = (uint32_t)number_at(result, row, 4, INT32_MAX);
	m->rtt_us = (uint32_t)number_at(result, row, 5, GS_LATENCY_US_MAX);
	m->model_us = (uint32_t)number_at(result, row, 6, GS_LATENCY_US_MAX);
	m->age_ms = (uint32_t)number_at(result, row, 7, UINT32_MAX);
	m->at_unix_ms = (int64_t)number_at(result, row, 8, INT64_MAX);
	return gs_latency_place_is_valid(m->place);
}

int gs_pg_latency_turn(const PGresult *result, int64_t *ret_epoch,
		       struct gs_latency_measured **ret_measured, uint32_t *ret_count)
{
	int rows = PQntuples(result);
	struct gs_latency_measured *measured;
	uint32_t count = 0;

	if (rows == 0 || PQnfields(result) != TURN_COLUMNS)
		return -EAGAIN;
	measured = calloc((size_t)rows, sizeof(*measured));
	if (!measured)
		return -ENOMEM;
	for (int row = 0; row < rows; row++) {
		memset(&measured[count], 0, sizeof(*measured));
		if (!PQgetisnull(result, row, 1) && read_measured(result, row, &measured[count]))
			count++;
	}
	*ret_epoch = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	*ret_measured = measured;
	*ret_count = count;
	return 0;
}

bool gs_pg_latency_is_published(const PGresult *result)
{
	return PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "1") == 0;
}
