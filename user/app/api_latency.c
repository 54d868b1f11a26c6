/* SPDX-License-Identifier: Apache-2.0 */
/* Published round trips: where one is known from, and all of them. */
#include "api_latency.h"

#include "api.h"
#include "user/core/country.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

static double ms_of(int64_t us)
{
	return (double)us / 1000;
}

static json_int_t age_s(int64_t at_unix_ms, int64_t now_unix_ms)
{
	return now_unix_ms > at_unix_ms ? (now_unix_ms - at_unix_ms) / 1000 : 0;
}

/* ---- one, in words ---------------------------------------------------------------------------*/

/* Two thirds of a sentence: what it is, and what it rests on. */
static void say_source(const struct gs_latency_estimate *estimate, int64_t now_unix_ms, char *out,
		       size_t room)
{
	const struct gs_latency *row = estimate->row;
	char rests_on[96] = "";

	if (row)
		snprintf(rests_on, sizeof(rests_on), "%u samples, published %lld s ago",
			 row->samples, (long long)age_s(row->at_unix_ms, now_unix_ms));
	if (estimate->source == GS_LATENCY_CELL)
		snprintf(out, room, "measured, %s", rests_on);
	else if (row && estimate->source == GS_LATENCY_PROBES && estimate->more_us != row->us)
		snprintf(out, room,
			 "of probes: distance and %.1f ms (%.1f of theirs, %+.1f as clients need "
			 "elsewhere), %s",
			 ms_of(estimate->more_us), ms_of(row->us),
			 ms_of((int64_t)estimate->more_us - row->us), rests_on);
	else if (row)
		snprintf(out, room, "of %s: distance and %.1f ms, %s", row->place,
			 ms_of(estimate->more_us), rests_on);
	else if (estimate->more_us)
		snprintf(out, room, "distance and %.1f ms, as is usual elsewhere",
			 ms_of(estimate->more_us));
	else
		snprintf(out, room, "distance");
}

/* What this edge sees now, and why the estimate is another one. */
static void say_here(const struct gs_latency_estimate *estimate, const struct gs_recent_trip *here,
		     char *out, size_t room)
{
	size_t length = strlen(out);
	int percent = GS_LATENCY_CHANGE_PERCENT, ms = GS_LATENCY_CHANGE_US / 1000;

	out += length;
	room -= length;
	if (here->count < GS_LATENCY_SAMPLES_MIN)
		snprintf(out, room, "; here %.1f ms of %u samples, %d would count", ms_of(here->us),
			 here->count, GS_LATENCY_SAMPLES_MIN);
	else if (estimate->source != GS_LATENCY_CELL)
		snprintf(out, room, "; here %.1f ms now, not published yet", ms_of(here->us));
	else if (gs_latency_differs((int32_t)estimate->us, here->us, estimate->us))
		snprintf(out, room, "; here %.1f ms now, followed if it stays", ms_of(here->us));
	else
		snprintf(out, room, "; here %.1f ms now: held, a change needs %d %% and %d ms",
			 ms_of(here->us), percent, ms);
}

void gs_api_add_round_trip(json_t *candidate, const struct gs_latency_estimate *estimate,
			   const struct gs_recent_trip *here, int64_t now_unix_ms)
{
	const struct gs_latency *row = estimate->row;
	char why[256];

	json_object_set_new(candidate, "round_trip_ms", json_real(ms_of(estimate->us)));
	json_object_set_new(candidate, "round_trip_source",
			    json_string(gs_latency_source_name(estimate->source)));
	if (row) {
		json_object_set_new(candidate, "round_trip_place", json_string(row->place));
		json_object_set_new(candidate, "round_trip_samples", json_integer(row->samples));
		json_object_set_new(candidate, "round_trip_age_s",
				    json_integer(age_s(row->at_unix_ms, now_unix_ms)));
	}
	say_source(estimate, now_unix_ms, why, sizeof(why));
	if (here) {
		json_object_set_new(candidate, "round_trip_here_ms", json_real(ms_of(here->us)));
		json_object_set_new(candidate, "round_trip_here_samples",
				    json_integer(here->count));
		say_here(estimate, here, why, sizeof(why));
	}
	json_object_set_new(candidate, "round_trip", json_string(why));
}

/* ---- all of them -----------------------------------------------------------------------------*/

/* Is the country (two letters) in this place? */
static bool holds_country(const char *place, const char *country)
{
	char code[3] = {country[0], country[1], '\0'};
	const struct gs_country *found;

	if (strncmp(place, "continent:", 10) != 0)
		return strncmp(place, "country:", 8) == 0 && strcmp(place + 8, code) == 0;
	found = gs_country_find(code);
	return found && strcmp(found->continent, place + 10) == 0;
}

/* The same place, or one inside it. */
static bool is_in(const char *place, const char *around)
{
	const char *code = strchr(place, ':');
	size_t length;

	if (strcmp(place, around) == 0 || strcmp(around, "everybody") == 0)
		return true;
	if (!code || gs_latency_level_of(place) <= GS_LATENCY_CONTINENT)
		return false;
	code++;
	if (holds_country(around, code))
		return true;
	length = strlen(around);
	return strncmp(around, "subdivision:", 12) == 0 &&
	       gs_latency_level_of(place) == GS_LATENCY_CELL &&
	       strncmp(code, around + 12, length - 12) == 0 && code[length - 12] == '/';
}

/* What the judge has of it now, if this edge judges. */
static void add_judgement(const struct gs_api *api, const struct gs_latency *row, json_t *json)
{
	const struct gs_latency_track *track = gs_latencies_track(api->latencies, row);
	uint64_t now_ms = gs_loop_now_ms(api->loop), ready_ms;
	struct gs_latencies_status status;
	char text[96] = "held";

	if (!track || !track->is_known)
		return;
	gs_latencies_look(api->latencies, &status);
	ready_ms = track->changed_ms + gs_latency_dwell_ms(track, status.period_ms);
	if (track->wants && track->times < GS_LATENCY_TIMES)
		snprintf(text, sizeof(text), "wants %.1f ms: %u of %d times",
			 ms_of((int64_t)track->wanted_us), track->times, GS_LATENCY_TIMES);
	else if (track->wants && now_ms < ready_ms)
		snprintf(text, sizeof(text), "wants %.1f ms: held for %llu s more",
			 ms_of((int64_t)track->wanted_us),
			 (unsigned long long)(ready_ms - now_ms + 999) / 1000);
	json_object_set_new(json, "now_ms", json_real(ms_of((int64_t)track->smoothed_us)));
	json_object_set_new(json, "turns", json_integer(track->turns));
	json_object_set_new(json, "judged", json_string(text));
}

/* null: there is none. */
static json_t *estimate_json(int32_t us)
{
	return us == GS_LATENCY_NONE ? json_null() : json_real(ms_of(us));
}

static json_t *row_json(const struct gs_api *api, const struct gs_region *region,
			const struct gs_latency *row, int64_t now_unix_ms)
{
	bool is_cell = gs_latency_level_of(row->place) == GS_LATENCY_CELL;
	json_t *json =
		json_pack("{s:s, s:s, s:o, s:I, s:I}", "place", row->place, "region", region->name,
			  is_cell ? "round_trip_ms" : "more_ms", estimate_json(row->us), "samples",
			  (json_int_t)row->samples, "age_s", age_s(row->at_unix_ms, now_unix_ms));

	if (row->before_percent) {
		json_object_set_new(json, "before_ms", estimate_json(row->before_us));
		json_object_set_new(json, "moved_percent", json_integer(100 - row->before_percent));
	}
	if (api->latencies && row->us != GS_LATENCY_NONE)
		add_judgement(api, row, json);
	return json;
}

static void add_status(const struct gs_api *api, json_t *json)
{
	struct gs_latencies_status status;

	if (!api->latencies)
		return;
	gs_latencies_look(api->latencies, &status);
	json_object_set_new(json, "judge", json_boolean(status.is_judge));
	json_object_set_new(json, "period_ms", json_integer(status.period_ms));
	json_object_set_new(json, "probed", json_integer(status.probed));
}

json_t *gs_api_latencies(const struct gs_api *api, const char *place, uint32_t offset,
			 uint32_t limit)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const struct gs_snapshot *snapshot = state->snapshot;
	int64_t now_unix_ms = gs_unix_ms(), newest_ms = 0;
	json_t *list = json_array(), *json;
	uint32_t total = 0;

	if (limit > GS_API_LATENCIES_ROWS)
		limit = GS_API_LATENCIES_ROWS;
	for (uint32_t i = 0; snapshot && i < snapshot->latency_count; i++) {
		const struct gs_latency *row = &snapshot->latencies[i];
		const struct gs_region *region = gs_snapshot_region(snapshot, row->region);

		if (row->at_unix_ms > newest_ms)
			newest_ms = row->at_unix_ms;
		if (!region || (place && !is_in(row->place, place)))
			continue;
		if (total++ >= offset && json_array_size(list) < limit)
			json_array_append_new(list, row_json(api, region, row, now_unix_ms));
	}
	json = json_pack("{s:i, s:o, s:b}", "total", (int)total, "latencies", list, "connected",
			 state->connected);
	if (newest_ms)
		json_object_set_new(json, "newest_s", json_integer(age_s(newest_ms, now_unix_ms)));
	add_status(api, json);
	return json;
}

json_t *gs_api_latency_list(const struct gs_api *api, const json_t *request)
{
	const json_t *place = json_object_get(request, "place");
	const json_t *limit = json_object_get(request, "limit");
	json_int_t rows = limit ? json_integer_value(limit) : GS_API_LATENCIES;

	if ((limit && !json_is_integer(limit)) || rows < 0 || rows > GS_API_LATENCIES_MAX)
		return gs_api_error("limit: is no whole number of 0 to %d", GS_API_LATENCIES_MAX);
	if (place && !json_is_string(place))
		return gs_api_error("place: is no text");
	if (place && !gs_api_is_latency_place(json_string_value(place)))
		return gs_api_error("place: '%.64s' is none like country:DE or cell:DE-BE/52,13",
				    json_string_value(place));
	return gs_api_latencies(api, json_string_value(place), 0, (uint32_t)rows);
}

bool gs_api_is_latency_place(const char *text)
{
	char place[GS_LATENCY_PLACE_MAX] = "";

	if (strlen(text) >= sizeof(place))
		return false;
	snprintf(place, sizeof(place), "%s", text);
	return gs_latency_place_is_valid(place);
}
