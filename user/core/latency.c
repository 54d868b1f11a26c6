// SPDX-License-Identifier: Apache-2.0
#include "latency.h"

#include "place.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL "cell:"
#define EVERYBODY "everybody"

/* ---- places ----------------------------------------------------------------------------------*/

static const char *const sources[] = {
	[GS_LATENCY_DISTANCE] = "distance", [GS_LATENCY_PROBES] = GS_LATENCY_PLACE_PROBES,
	[GS_LATENCY_EVERYBODY] = EVERYBODY, [GS_LATENCY_CONTINENT] = "continent",
	[GS_LATENCY_COUNTRY] = "country",   [GS_LATENCY_SUBDIVISION] = "subdivision",
	[GS_LATENCY_CELL] = "measured",
};
_Static_assert(sizeof(sources) / sizeof(sources[0]) == GS_LATENCY__LEVELS, "names");

const char *gs_latency_source_name(enum gs_latency_level level)
{
	return level < GS_LATENCY__LEVELS ? sources[level] : "?";
}

static void name_place(char out[GS_LATENCY_PLACE_MAX], enum gs_place_kind kind, const char *country,
		       const char *part)
{
	struct gs_place place = {.kind = kind};

	snprintf(place.code, sizeof(place.code), "%.2s%s%.7s", country, *part ? "-" : "", part);
	if (gs_place_is_valid(&place))
		gs_place_format(&place, out);
}

void gs_latency_places_of(const struct gs_location *location, struct gs_latency_places *ret_places)
{
	struct gs_latency_places *places = ret_places;
	const char *subdivision = places->name[GS_LATENCY_SUBDIVISION];
	const char *country = places->name[GS_LATENCY_COUNTRY];
	const char *smallest;

	memset(places, 0, sizeof(*places));
	memcpy(places->name[GS_LATENCY_PROBES], GS_LATENCY_PLACE_PROBES,
	       sizeof(GS_LATENCY_PLACE_PROBES));
	memcpy(places->name[GS_LATENCY_EVERYBODY], EVERYBODY, sizeof(EVERYBODY));
	name_place(places->name[GS_LATENCY_CONTINENT], GS_PLACE_CONTINENT, location->continent, "");
	name_place(places->name[GS_LATENCY_COUNTRY], GS_PLACE_COUNTRY, location->country, "");
	if (location->subdivision[0])
		name_place(places->name[GS_LATENCY_SUBDIVISION], GS_PLACE_SUBDIVISION,
			   location->country, location->subdivision);
	smallest = *subdivision ? subdivision : country;
	if (*smallest && location->has_coord)
		snprintf(places->name[GS_LATENCY_CELL], GS_LATENCY_PLACE_MAX, CELL "%.6s/%d,%d",
			 strchr(smallest, ':') + 1, (int)floor(location->coord.lat_deg),
			 (int)floor(location->coord.lon_deg));
}

/* A whole number as it is printed, no further from 0 than `most`. NULL: it is not. */
static const char *skip_number(const char *text, int most)
{
	const char *digits = text + (*text == '-');
	char *end;
	long number = strtol(digits, &end, 10);

	if (*digits < '0' || *digits > '9' || end - digits > 3 || number > most ||
	    (*digits == '0' && (end - digits > 1 || digits != text)))
		return NULL;
	return end;
}

bool gs_latency_cell_place(const char *place, struct gs_place *ret_place)
{
	const char *name = place + strlen(CELL);
	size_t length;
	struct gs_place parsed = {.kind = GS_PLACE_COUNTRY};

	if (strncmp(place, CELL, strlen(CELL)) != 0)
		return false;
	length = strcspn(name, "/");
	if (length >= sizeof(parsed.code) || name[length] != '/')
		return false;
	if (length > 2)
		parsed.kind = GS_PLACE_SUBDIVISION;
	memcpy(parsed.code, name, length);
	name = skip_number(name + length + 1, 90);
	if (!name || *name != ',')
		return false;
	name = skip_number(name + 1, 180);
	if (!name || *name || !gs_place_is_valid(&parsed))
		return false;
	*ret_place = parsed;
	return true;
}

bool gs_latency_place_is_valid(const char place[GS_LATENCY_PLACE_MAX])
{
	size_t length = strnlen(place, GS_LATENCY_PLACE_MAX);
	struct gs_place parsed;

	if (length == GS_LATENCY_PLACE_MAX)
		return false;
	for (size_t i = length; i < GS_LATENCY_PLACE_MAX; i++)
		if (place[i])
			return false;
	return gs_latency_cell_place(place, &parsed) || gs_place_parse(place, &parsed) == 0 ||
	       strcmp(place, GS_LATENCY_PLACE_PROBES) == 0;
}

enum gs_latency_level gs_latency_level_of(const char *place)
{
	for (int level = GS_LATENCY_PROBES; level < GS_LATENCY_CELL; level++)
		if (strncmp(place, sources[level], strlen(sources[level])) == 0)
			return (enum gs_latency_level)level;
	return GS_LATENCY_CELL;
}

int gs_latency_compare(const struct gs_latency *a, const struct gs_latency *b)
{
	int places = strncmp(a->place, b->place, sizeof(a->place));

	return places ? places : (a->region > b->region) - (a->region < b->region);
}

/* ---- estimates -------------------------------------------------------------------------------*/

/* The first row that is not below (place, region 0). */
static uint32_t first_of(const struct gs_latency *rows, uint32_t count, const char *place)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strncmp(rows[middle].place, place, GS_LATENCY_PLACE_MAX) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_of(const struct gs_latency_view *view, uint32_t at, const char *place)
{
	return at < view->count && strncmp(view->rows[at].place, place, GS_LATENCY_PLACE_MAX) == 0;
}

uint8_t gs_latency_before_percent(const struct gs_latency *rows, uint32_t count)
{
	uint8_t most = 0;

	for (uint32_t i = 0; i < count; i++)
		if (rows[i].before_percent > most)
			most = rows[i].before_percent;
	return most;
}

/* GS_LATENCY_NONE: to those who see it so there is no such row. */
static int32_t value_of(const struct gs_latency_view *view, const struct gs_latency *row)
{
	return view->is_before && row->before_percent ? row->before_us : row->us;
}

/* Values of one place by region id; GS_LATENCY_NONE: none. */
struct by_region {
	int32_t us[GS_ID_MAX_REGION + 1];
};

static void find_by_region(const struct gs_latency_view *view, const char *place,
			   struct by_region *ret_values)
{
	for (uint32_t id = 0; id <= GS_ID_MAX_REGION; id++)
		ret_values->us[id] = GS_LATENCY_NONE;
	for (uint32_t at = first_of(view->rows, view->count, place); is_of(view, at, place); at++)
		if (view->rows[at].region <= GS_ID_MAX_REGION)
			ret_values->us[view->rows[at].region] = value_of(view, &view->rows[at]);
}

static int compare_us(const void *left, const void *right)
{
	const int32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* The middle one, the lower of two; 0: there is none. Sorts them. */
static int32_t middle_of(int32_t *us, uint32_t count)
{
	qsort(us, count, sizeof(*us), compare_us);
	return count > 0 ? us[(count - 1) / 2] : 0;
}

/*
 * What clients need more than probes: of the regions that both have measured. Where there is none,
 * and clients have measured others, all that they need there: what only probes know is not to look
 * better than what clients have.
 */
static int32_t last_mile_of(const struct by_region *clients, const struct by_region *probes)
{
	int32_t both[GS_ID_MAX_REGION + 1], all[GS_ID_MAX_REGION + 1];
	uint32_t of_both = 0, of_all = 0;

	for (uint32_t id = 0; id <= GS_ID_MAX_REGION; id++) {
		if (clients->us[id] == GS_LATENCY_NONE)
			continue;
		all[of_all++] = clients->us[id];
		if (probes->us[id] != GS_LATENCY_NONE)
			both[of_both++] = clients->us[id] - probes->us[id];
	}
	return of_both > 0 ? middle_of(both, of_both) : middle_of(all, of_all);
}

/* In terms of clients: what they need more than the model to a region that only probes know. */
static int32_t of_probes(const struct gs_latency_view *view, int32_t probes_us)
{
	int32_t us = probes_us + view->last_mile_us;

	return us > 0 ? us : 0;
}

static void init_view(struct gs_latency_view *view, const struct gs_latency *rows, uint32_t count,
		      bool is_before)
{
	int32_t all[GS_ID_MAX_REGION + 1];
	struct by_region clients, probes;
	uint32_t of_all = 0;

	memset(view, 0, sizeof(*view));
	view->rows = rows;
	view->count = count;
	view->is_before = is_before;
	find_by_region(view, EVERYBODY, &clients);
	find_by_region(view, GS_LATENCY_PLACE_PROBES, &probes);
	view->last_mile_us = last_mile_of(&clients, &probes);
	for (uint32_t id = 0; id <= GS_ID_MAX_REGION; id++) {
		if (clients.us[id] != GS_LATENCY_NONE)
			all[of_all++] = clients.us[id];
		else if (probes.us[id] != GS_LATENCY_NONE)
			all[of_all++] = of_probes(view, probes.us[id]);
	}
	view->typical_us = middle_of(all, of_all);
}

void gs_latency_view_init(struct gs_latency_view *view, const struct gs_latency *rows,
			  uint32_t count)
{
	init_view(view, rows, count, false);
}

void gs_latency_view_init_before(struct gs_latency_view *view, const struct gs_latency *rows,
				 uint32_t count)
{
	init_view(view, rows, count, true);
}

static void see_row(struct gs_latency_view *view, const struct gs_latency *row)
{
	view->has_changed = view->has_changed || row->before_percent;
	if (row->region <= GS_ID_MAX_REGION && value_of(view, row) != GS_LATENCY_NONE)
		view->best[row->region] = row;
}

void gs_latency_view_move(struct gs_latency_view *view, const struct gs_location *location)
{
	struct gs_latency_places places;

	memset(view->best, 0, sizeof(view->best));
	view->has_changed = false;
	gs_latency_places_of(location, &places);
	for (int level = GS_LATENCY_PROBES; level < GS_LATENCY__LEVELS; level++) {
		const char *place = places.name[level];
		uint32_t at = *place ? first_of(view->rows, view->count, place) : view->count;

		for (; is_of(view, at, place); at++)
			see_row(view, &view->rows[at]);
	}
}

/* row: the one that says what the region takes; NULL: none does. */
static struct gs_latency_estimate estimate_by(const struct gs_latency_view *view,
					      const struct gs_latency *row, uint32_t model_us)
{
	struct gs_latency_estimate estimate = {.row = row};
	int64_t us;

	if (row)
		estimate.source = gs_latency_level_of(row->place);
	if (model_us == GS_ROUND_TRIP_UNKNOWN) {
		estimate.us = GS_ROUND_TRIP_UNKNOWN;
		return estimate;
	}
	if (estimate.source == GS_LATENCY_CELL)
		us = value_of(view, row);
	else if (estimate.source == GS_LATENCY_PROBES)
		us = (int64_t)model_us + of_probes(view, value_of(view, row));
	else
		us = (int64_t)model_us + (row ? value_of(view, row) : view->typical_us);
	if (us < GS_MODEL_FLOOR_US && estimate.source != GS_LATENCY_CELL)
		us = GS_MODEL_FLOOR_US;
	estimate.us = us > 0 ? (uint32_t)us : 1;
	estimate.more_us = (int32_t)((int64_t)estimate.us - model_us);
	return estimate;
}

struct gs_latency_estimate gs_latency_view_get(const struct gs_latency_view *view, gs_id region,
					       uint32_t model_us)
{
	return estimate_by(view, view->best[region], model_us);
}

/* Of this place and region; NULL: none. */
static const struct gs_latency *find_row(const struct gs_latency_view *view, const char *place,
					 gs_id region)
{
	const struct gs_latency *found = NULL;

	for (uint32_t at = first_of(view->rows, view->count, place); is_of(view, at, place); at++)
		if (view->rows[at].region == region &&
		    value_of(view, &view->rows[at]) != GS_LATENCY_NONE)
			found = &view->rows[at];
	return found;
}

struct gs_latency_estimate gs_latency_view_at(const struct gs_latency_view *view,
					      const struct gs_location *location, gs_id region,
					      uint32_t model_us)
{
	const struct gs_latency *row = NULL;
	struct gs_latency_places places;

	if (view->count == 0)
		return estimate_by(view, NULL, model_us);
	gs_latency_places_of(location, &places);
	for (int level = GS_LATENCY_CELL; level >= GS_LATENCY_PROBES && !row; level--)
		if (*places.name[level])
			row = find_row(view, places.name[level], region);
	return estimate_by(view, row, model_us);
}

static void move_view(void *self, uint16_t id, const struct gs_location *location)
{
	(void)id;
	gs_latency_view_move(self, location);
}

static uint32_t estimated_us(void *self, uint16_t id, const struct gs_region *region,
			     uint32_t model_us)
{
	(void)id;
	return gs_latency_view_get(self, region->id, model_us).us;
}

struct gs_rank_facts gs_latency_facts(struct gs_latency_view *view)
{
	return (struct gs_rank_facts){
		.self = view, .move = move_view, .round_trip_us = estimated_us};
}
