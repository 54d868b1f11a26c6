// SPDX-License-Identifier: Apache-2.0
#include "pg_demand.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE_MS = 2000, PAUSE_OF_EDGE_MS = 50 };

/* What is told no more goes; so does what an edge left that was taken away. */
static const char write_query[] =
	"WITH told AS (SELECT home, ARRAY(SELECT jsonb_array_elements_text(usable)) AS usable, priority,"
	" per_second FROM jsonb_to_recordset($2::jsonb)"
	" AS t(home text, usable jsonb, priority int, per_second real)),"
	" gone AS (DELETE FROM geostream.edge_demand d WHERE told_at < now() - interval '1 day'"
	" OR (edge = $1 AND NOT EXISTS (SELECT FROM told t WHERE t.home = d.home"
	" AND t.usable = d.usable AND t.priority = d.priority)))"
	" INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second)"
	" SELECT $1, home, usable, priority, per_second FROM told"
	" ON CONFLICT ON CONSTRAINT edge_demand_pkey"
	" DO UPDATE SET per_second = EXCLUDED.per_second, told_at = now()";

static const char read_query[] =
	"WITH fresh AS (SELECT * FROM geostream.edge_demand WHERE edge <> $1"
	" AND told_at > now() - interval '60 seconds')"
	" SELECT left(home, 64), left(array_to_string(usable, ','), 1100), priority,"
	" sum(per_second)::float8, (SELECT count(DISTINCT edge) FROM fresh)"
	" FROM fresh GROUP BY home, usable, priority ORDER BY 4 DESC, 1, 2, 3 LIMIT 512";

void gs_pg_demand_done(struct gs_pg_demand *demand)
{
	free(demand->rows);
	*demand = (struct gs_pg_demand){0};
}

static json_t *names_json(const char *names)
{
	json_t *list = json_array();

	while (*names) {
		size_t length = strcspn(names, ",");

		json_array_append_new(list, json_stringn(names, length));
		names += length + (names[length] == ',');
	}
	return list;
}

void gs_pg_demand_set(struct gs_pg_demand *demand, const struct gs_demand_told *rows,
		      uint32_t count)
{
	json_t *list = json_array();
	char *text;

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s,s:o,s:i,s:f}", "home", rows[i].home,
						      "usable", names_json(rows[i].usable),
						      "priority", (int)rows[i].priority,
						      "per_second", (double)rows[i].per_second));
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (!text)
		return;
	free(demand->rows);
	demand->rows = text;
	demand->due = true;
}

int gs_pg_demand_send(struct gs_pg_demand *demand, const char *edge, PGconn *connection)
{
	const char *values[2] = {edge, demand->rows};

	demand->due = false;
	return PQsendQueryParams(connection, write_query, 2, NULL, values, NULL, NULL, 0) ? 0
											  : -EIO;
}

int gs_pg_demand_ask(const char *edge, PGconn *connection)
{
	return PQsendQueryParams(connection, read_query, 1, NULL, &edge, NULL, NULL, 0) ? 0 : -EIO;
}

static bool read_row(const PGresult *result, int i, struct gs_demand_told *row)
{
	long priority = strtol(PQgetvalue(result, i, 2), NULL, 10);
	double rate = strtod(PQgetvalue(result, i, 3), NULL);

	if (PQgetlength(result, i, 0) >= GS_NAME_MAX ||
	    PQgetlength(result, i, 1) >= (int)sizeof(row->usable) || priority < 0 ||
	    priority >= (long)GS_PRIORITIES || !isfinite(rate) || rate <= 0)
		return false;
	*row = (struct gs_demand_told){.priority = (uint8_t)priority, .per_second = (float)rate};
	snprintf(row->home, sizeof(row->home), "%s", PQgetvalue(result, i, 0));
	snprintf(row->usable, sizeof(row->usable), "%s", PQgetvalue(result, i, 1));
	return true;
}

int gs_pg_demand_rows(struct gs_pg_demand *demand, const PGresult *result,
		      struct gs_demand_told **ret_rows, uint32_t *ret_count)
{
	int tuples = PQntuples(result);
	struct gs_demand_told *rows = calloc((size_t)tuples + 1, sizeof(*rows));
	uint32_t count = 0;

	if (!rows)
		return -ENOMEM;
	demand->edges = tuples ? (uint32_t)strtoul(PQgetvalue(result, 0, 4), NULL, 10) : 0;
	for (int i = 0; i < tuples; i++)
		count += read_row(result, i, &rows[count]);
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

uint32_t gs_pg_demand_pause_ms(const struct gs_pg_demand *demand)
{
	uint32_t pause_ms = PAUSE_OF_EDGE_MS * demand->edges;

	return pause_ms > PAUSE_MS ? pause_ms : PAUSE_MS;
}
