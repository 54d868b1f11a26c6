/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing here knows a border. A place is the country's that has the nearest time zone of
 * zone.tab: one that can be checked, and mostly true.
 */
#include "city.h"

#include "user/core/country.h"
#include "user/core/random.h"
#include "user/geoip/zone_tab.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As far from a time zone as cells are looked for. */
#define REACH_KM 600.0
#define EARTH_KM 6371.0

/* ---- zones ---------------------------------------------------------------------------------- */

static struct city_zone zone_at(const struct gs_coord *coord)
{
	const double lat = coord->lat_deg * M_PI / 180, lon = coord->lon_deg * M_PI / 180;

	return (struct city_zone){cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat), 0};
}

/* Cosine of the angle to the nearest one. */
static double nearest_zone(const struct city_places *places, const struct gs_coord *coord,
			   unsigned *ret_country)
{
	const struct city_zone at = zone_at(coord);
	double best = -2;

	for (size_t i = 0; i < places->zone_count; i++) {
		const struct city_zone *zone = &places->zones[i];
		double cosine = at.x * zone->x + at.y * zone->y + at.z * zone->z;

		if (cosine > best) {
			best = cosine;
			*ret_country = zone->country;
		}
	}
	return best;
}

unsigned city_places_nearest(const struct city_places *places, const struct gs_coord *coord)
{
	unsigned country = CITY_COUNTRIES;

	nearest_zone(places, coord, &country);
	return country;
}

struct reader {
	struct city_places *places;
	struct gs_coord *coords; /* of zones */
	bool failed;
};

static void add_zone(void *context, const char code[3], const struct gs_coord *coord)
{
	struct reader *reader = context;
	struct city_places *places = reader->places;
	const struct gs_country *country = gs_country_find(code);

	if (!country)
		return;
	if (places->zone_count == places->zone_room) {
		size_t room = places->zone_room ? 2 * places->zone_room : 512;
		struct city_zone *zones = reallocarray(places->zones, room, sizeof(*zones));
		struct gs_coord *coords;

		if (zones)
			places->zones = zones;
		coords = reallocarray(reader->coords, room, sizeof(*coords));
		if (coords)
			reader->coords = coords;
		if (!zones || !coords) {
			reader->failed = true;
			return;
		}
		places->zone_room = room;
	}
	places->zones[places->zone_count] = zone_at(coord);
	places->zones[places->zone_count].country = (uint16_t)city_country_number(country->code);
	reader->coords[places->zone_count++] = *coord;
}

/* Countries without a time zone of their own (BV, HM) stand where user/core/country.c has them. */
static void add_others(struct reader *reader)
{
	for (unsigned i = 0; i < CITY_COUNTRIES; i++) {
		char code[3] = {(char)('A' + i / 26), (char)('A' + i % 26), 0};
		const struct gs_country *country = gs_country_find(code);
		bool has_zone = false;

		/* "Somewhere in Europe" is no country, and withdrawn codes are another's. */
		if (!country || strcmp(country->code, code) != 0 || strcmp(code, "EU") == 0 ||
		    strcmp(code, "AP") == 0)
			continue;
		memcpy(reader->places->countries[i].code, code, sizeof(code));
		memcpy(reader->places->countries[i].continent, country->continent, 3);
		for (size_t j = 0; j < reader->places->zone_count && !has_zone; j++)
			has_zone = reader->places->zones[j].country == i;
		if (!has_zone)
			add_zone(reader, code, &country->coord);
	}
}

/* ---- cells ---------------------------------------------------------------------------------- */

struct found {
	struct gs_coord coord;
	double cosine; /* to the nearest zone */
	uint32_t degree;
	uint16_t country;
};

struct finds {
	struct found at[180 * 360 + 1024];
	size_t count;
};

static uint32_t degree_of(const struct gs_coord *coord)
{
	return (uint32_t)((int)floor(coord->lat_deg) + 90) * 360 +
	       (uint32_t)((int)floor(coord->lon_deg) + 180) % 360;
}

static void add_found(struct finds *finds, const struct city_places *places,
		      const struct gs_coord *coord, double cosine)
{
	struct found found = {.coord = *coord, .degree = degree_of(coord)};
	unsigned country = CITY_COUNTRIES;
	double nearest = nearest_zone(places, coord, &country);

	if (nearest < cos(REACH_KM / EARTH_KM) ||
	    finds->count == sizeof(finds->at) / sizeof(finds->at[0]))
		return;
	found.cosine = cosine > nearest ? cosine : nearest;
	found.country = (uint16_t)country;
	finds->at[finds->count++] = found;
}

/* By country, nearest first. */
static int compare_found(const void *a, const void *b)
{
	const struct found *i = a, *j = b;

	if (i->country != j->country)
		return i->country < j->country ? -1 : 1;
	if (i->cosine != j->cosine)
		return i->cosine > j->cosine ? -1 : 1;
	return (i->degree > j->degree) - (i->degree < j->degree);
}

static bool has_degree(const struct city_country *country, uint32_t degree)
{
	for (uint32_t i = 0; i < country->cell_count; i++)
		if (degree_of(&country->cells[i].coord) == degree)
			return true;
	return false;
}

/* Neighbours in the list, which is by distance, are not neighbours in the country: subdivisions
 * are squares of five degrees. */
static uint16_t subdivision_of(const struct gs_coord *coord)
{
	return (uint16_t)(1 + (uint32_t)(floor(coord->lat_deg / 5) + 18) * 72 +
			  (uint32_t)(floor(coord->lon_deg / 5) + 36));
}

static int take_found(struct city_places *places, const struct finds *finds)
{
	for (size_t i = 0, next; i < finds->count; i = next) {
		struct city_country *country = &places->countries[finds->at[i].country];

		for (next = i;
		     next < finds->count && finds->at[next].country == finds->at[i].country;)
			next++;
		country->cells = calloc(next - i + 1, sizeof(*country->cells));
		if (!country->cells)
			return -ENOMEM;
		for (size_t j = i; j < next; j++) {
			const struct found *found = &finds->at[j];

			if (!has_degree(country, found->degree))
				country->cells[country->cell_count++] = (struct city_cell){
					found->coord, subdivision_of(&found->coord)};
		}
		/* What lies beside each other must differ: the smallest countries have two parts.
		 */
		if (country->cell_count == 1) {
			country->cells[country->cell_count] = country->cells[0];
			country->cells[country->cell_count++].subdivision = 9999;
		}
	}
	return 0;
}

static int find_cells(struct city_places *places, const struct reader *reader)
{
	struct finds *finds = calloc(1, sizeof(*finds));
	uint64_t seed = 1;
	int err;

	if (!finds)
		return -ENOMEM;
	for (size_t i = 0; i < places->zone_count; i++)
		add_found(finds, places, &reader->coords[i], 1);
	for (int lat = -90; lat < 90; lat++)
		for (int lon = -180; lon < 180; lon++) {
			uint64_t drawn = gs_random(&seed);
			struct gs_coord coord = {
				lat + 0.2 + (double)(drawn & 0xffff) / 0x10000 * 0.6,
				lon + 0.2 + (double)(drawn >> 16 & 0xffff) / 0x10000 * 0.6,
			};

			add_found(finds, places, &coord, -1);
		}
	qsort(finds->at, finds->count, sizeof(finds->at[0]), compare_found);
	err = take_found(places, finds);
	free(finds);
	return err;
}

int city_places_read(const char *zone_tab, struct city_places *ret_places)
{
	struct reader reader = {.places = ret_places};
	int err = gs_zone_tab_read(zone_tab, add_zone, &reader);

	if (!err) {
		add_others(&reader);
		err = reader.failed ? -ENOMEM : find_cells(ret_places, &reader);
	}
	free(reader.coords);
	return err;
}

void city_places_done(struct city_places *places)
{
	for (unsigned i = 0; i < CITY_COUNTRIES; i++)
		free(places->countries[i].cells);
	free(places->zones);
	memset(places, 0, sizeof(*places));
}

/* ---- who gets which ------------------------------------------------------------------------- */

/* One country while its prefixes get their cells. */
struct share {
	uint64_t addresses; /* IPv6: /48s */
	uint32_t prefixes;  /* that have none yet */
	uint32_t room;	    /* cells it could have */
	uint32_t cells;
	uint32_t shown; /* cells that have a prefix */
};

static void count_shares(const struct city_blocks *prefixes, unsigned width,
			 struct share shares[CITY_COUNTRIES])
{
	const unsigned unit = width == 32 ? 32 : 48;

	for (size_t i = 0; i < prefixes->count; i++) {
		const struct city_block *prefix = &prefixes->at[i];
		struct share *share = &shares[prefix->country];

		share->prefixes++;
		if (!prefix->is_spare)
			share->addresses +=
				prefix->length < unit ? 1ULL << (unit - prefix->length) : 1;
	}
}

/* In proportion, as far as there is room, again and again; then one by one. Returns what is left.
 */
static uint32_t give_cells(struct share shares[CITY_COUNTRIES], uint32_t cells)
{
	for (;;) {
		uint32_t given = 0;
		double sum = 0;

		for (unsigned i = 0; i < CITY_COUNTRIES; i++)
			if (shares[i].cells < shares[i].room)
				sum += (double)shares[i].addresses + 1;
		for (unsigned i = 0; i < CITY_COUNTRIES && sum > 0; i++) {
			uint32_t room = shares[i].room - shares[i].cells;
			double fair = cells * ((double)shares[i].addresses + 1) / sum;
			uint32_t more = fair < room ? (uint32_t)fair : room;

			shares[i].cells += more;
			given += more;
		}
		cells -= given;
		if (given == 0)
			break;
	}
	for (bool any = true; any && cells > 0;) {
		any = false;
		for (unsigned i = 0; i < CITY_COUNTRIES && cells > 0; i++)
			if (shares[i].cells < shares[i].room) {
				shares[i].cells++;
				cells--;
				any = true;
			}
	}
	return cells;
}

static uint16_t draw_cell(struct share *share, const struct city_block *before, uint64_t *state)
{
	double drawn = (double)(gs_random(state) >> 11) * 0x1p-53;
	uint32_t cell = (uint32_t)(drawn * drawn * share->cells);

	if (share->cells - share->shown >= share->prefixes)
		cell = share->shown;
	else if (before && before->cell == cell)
		cell = (cell + 1) % share->cells;
	if (cell == share->shown)
		share->shown++;
	share->prefixes--;
	return (uint16_t)cell;
}

uint32_t city_places_give(struct city_places *places, struct city_blocks *prefixes, int family,
			  const struct city_shape *shape, uint64_t seed)
{
	struct share *shares = calloc(CITY_COUNTRIES, sizeof(*shares));
	uint32_t cells = shape->cells;

	if (!shares)
		return 0;
	count_shares(prefixes, shape->width, shares);
	for (unsigned i = 0; i < CITY_COUNTRIES; i++) {
		struct share *share = &shares[i];
		const struct city_country *country = &places->countries[i];

		/* IPv6 is where IPv4 is. */
		share->room =
			family && country->used[0] > 1 ? country->used[0] : country->cell_count;
		if (share->room > share->prefixes)
			share->room = share->prefixes;
		share->cells = share->room < 2 ? share->room : 2;
		cells -= cells < share->cells ? cells : share->cells;
	}
	cells = give_cells(shares, cells);
	for (unsigned i = 0; i < CITY_COUNTRIES; i++)
		places->countries[i].used[family] = shares[i].cells;
	for (size_t i = 0; i < prefixes->count; i++) {
		struct city_block *prefix = &prefixes->at[i];
		const struct city_block *before = i > 0 ? prefix - 1 : NULL;

		if (before && before->country != prefix->country)
			before = NULL;
		prefix->cell = draw_cell(&shares[prefix->country], before, &seed);
	}
	cells = 0;
	for (unsigned i = 0; i < CITY_COUNTRIES; i++)
		cells += shares[i].shown;
	free(shares);
	return cells;
}
