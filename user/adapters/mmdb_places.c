// SPDX-License-Identifier: Apache-2.0
#include "mmdb_places.h"

#include "mmdb_record.h"
#include "user/base/cleanup.h"
#include "user/core/country.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* ---- classes -------------------------------------------------------------------------------- */

/* Records of one country, continent, subdivision and one-degree cell. */
struct class
{
	char country[3];
	char continent[3];
	char subdivision[8];
	int16_t lat_cell; /* -90 .. 89; NO_CELL without coordinates */
	int16_t lon_cell;
	uint32_t records;
	double lat_sum;
	double lon_sum;
};

#define NO_CELL INT16_MAX

struct seen_record {
	uint32_t offset_plus_1; /* 0: empty */
	uint32_t class;
};

/* Both hash tables: open addressing, a power of two of slots, at most half full. */
struct gs_mmdb_places {
	struct class *classes; /* [0] is "says nothing" */
	uint32_t class_count, class_room;
	uint32_t *class_slots; /* class number, or 0 */
	uint32_t class_mask;
	struct seen_record *records;
	uint32_t record_count, record_mask;
};

/* The finaliser of MurmurHash3 (Appleby, public domain). */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

static uint64_t hash_class(const struct class *class)
{
	uint64_t subdivision, rest = 0;

	memcpy(&subdivision, class->subdivision, sizeof(subdivision));
	memcpy(&rest, class->country, sizeof(class->country));
	rest ^= (uint64_t)(uint8_t) class->continent[0] << 24 |
		(uint64_t)(uint8_t) class->continent[1] << 32;
	return mix(mix(subdivision) ^ rest ^ (uint64_t)(uint16_t) class->lat_cell << 40 ^
		   (uint64_t)(uint16_t) class->lon_cell << 48);
}

/* As if cells had `degrees` degrees (0: none) and subdivisions were kept or not. */
struct grain {
	bool subdivisions;
	int degrees;
};

static int cell_of(int16_t cell, int least, int degrees)
{
	if (cell == NO_CELL)
		return INT16_MAX;
	return degrees == 0 ? 0 : (cell - least) / degrees;
}

static int compare_classes(const struct class *a, const struct class *b, struct grain grain)
{
	int order = memcmp(a->country, b->country, sizeof(a->country));

	if (!order)
		order = memcmp(a->continent, b->continent, sizeof(a->continent));
	if (!order && grain.subdivisions)
		order = memcmp(a->subdivision, b->subdivision, sizeof(a->subdivision));
	if (!order)
		order = cell_of(a->lat_cell, -90, grain.degrees) -
			cell_of(b->lat_cell, -90, grain.degrees);
	if (!order)
		order = cell_of(a->lon_cell, -180, grain.degrees) -
			cell_of(b->lon_cell, -180, grain.degrees);
	return order;
}

static const struct grain finest = {true, 1};

/* Its slot, empty or not. */
static uint32_t *find_class_slot(const struct gs_mmdb_places *places, const struct class *class)
{
	uint64_t at = hash_class(class);

	for (;; at++) {
		uint32_t *slot = &places->class_slots[at & places->class_mask];

		if (*slot == 0 || compare_classes(&places->classes[*slot], class, finest) == 0)
			return slot;
	}
}

static struct seen_record *find_record_slot(const struct gs_mmdb_places *places, uint32_t offset)
{
	uint64_t at = mix(offset);

	for (;; at++) {
		struct seen_record *slot = &places->records[at & places->record_mask];

		if (slot->offset_plus_1 == 0 || slot->offset_plus_1 == offset + 1)
			return slot;
	}
}

static int grow_classes(struct gs_mmdb_places *places)
{
	uint32_t room = places->class_room * 2;
	struct class *classes = reallocarray(places->classes, room, sizeof(*classes));
	uint32_t *slots;

	if (!classes)
		return -ENOMEM;
	places->classes = classes;
	slots = calloc(2 * (size_t)room, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(places->class_slots);
	places->class_slots = slots;
	places->class_room = room;
	places->class_mask = 2 * room - 1;
	for (uint32_t i = 1; i < places->class_count; i++)
		*find_class_slot(places, &places->classes[i]) = i;
	return 0;
}

static int grow_records(struct gs_mmdb_places *places)
{
	const uint32_t old_mask = places->record_mask;
	struct seen_record *old = places->records;
	struct seen_record *records = calloc(2 * ((size_t)old_mask + 1), sizeof(*records));

	if (!records)
		return -ENOMEM;
	places->records = records;
	places->record_mask = 2 * old_mask + 1;
	for (uint32_t i = 0; i <= old_mask; i++)
		if (old[i].offset_plus_1)
			*find_record_slot(places, old[i].offset_plus_1 - 1) = old[i];
	free(old);
	return 0;
}

int gs_mmdb_places_new(struct gs_mmdb_places **ret_places)
{
	const uint32_t room = 512;
	struct gs_mmdb_places *places = calloc(1, sizeof(*places));

	if (!places)
		return -ENOMEM;
	places->class_count = 1;
	places->class_room = room;
	places->class_mask = 2 * room - 1;
	places->record_mask = 2 * room - 1;
	places->classes = calloc(room, sizeof(*places->classes));
	places->class_slots = calloc(2 * (size_t)room, sizeof(*places->class_slots));
	places->records = calloc(2 * (size_t)room, sizeof(*places->records));
	if (!places->classes || !places->class_slots || !places->records) {
		gs_mmdb_places_free(places);
		return -ENOMEM;
	}
	*ret_places = places;
	return 0;
}

void gs_mmdb_places_free(struct gs_mmdb_places *places)
{
	if (!places)
		return;
	free(places->classes);
	free(places->class_slots);
	free(places->records);
	free(places);
}

/* floor(), the far edge belonging to the last cell: 90 N and 180 E are no cells of their own. */
static int16_t cell_at(double degrees, int last)
{
	int cell = (int)floor(degrees);

	return (int16_t)(cell > last ? last : cell);
}

static int find_or_add_class(struct gs_mmdb_places *places, const struct gs_mmdb_place *place,
			     uint32_t *ret_class)
{
	struct class class = {.lat_cell = NO_CELL, .lon_cell = NO_CELL};
	uint32_t *slot;
	int err;

	memcpy(class.country, place->country, sizeof(class.country));
	memcpy(class.continent, place->continent, sizeof(class.continent));
	memcpy(class.subdivision, place->subdivision, sizeof(class.subdivision));
	if (place->has_coord) {
		class.lat_cell = cell_at(place->coord.lat_deg, 89);
		class.lon_cell = cell_at(place->coord.lon_deg, 179);
	} else if (!class.country[0] && !class.continent[0]) {
		*ret_class = 0;
		return 0;
	}
	slot = find_class_slot(places, &class);
	if (*slot == 0 && places->class_count == places->class_room) {
		err = grow_classes(places);
		if (err)
			return err;
		slot = find_class_slot(places, &class);
	}
	if (*slot == 0) {
		*slot = places->class_count++;
		places->classes[*slot] = class;
	}
	*ret_class = *slot;
	if (place->has_coord) {
		places->classes[*slot].records++;
		places->classes[*slot].lat_sum += place->coord.lat_deg;
		places->classes[*slot].lon_sum += place->coord.lon_deg;
	}
	return 0;
}

int gs_mmdb_places_class(struct gs_mmdb_places *places, struct gs_mmdb_file *file, uint32_t offset,
			 uint32_t *ret_class, struct gs_error *error)
{
	struct seen_record *slot = find_record_slot(places, offset);
	struct gs_mmdb_place place;
	uint32_t class;
	int err;

	if (slot->offset_plus_1) {
		*ret_class = slot->class;
		return 0;
	}
	err = gs_mmdb_guard_check(&file->guard, &file->mmdb, offset, error);
	if (!err)
		err = gs_mmdb_place_read(&file->mmdb, offset, &place, error);
	if (!err)
		err = find_or_add_class(places, &place, &class);
	if (err)
		return err;
	slot->offset_plus_1 = offset + 1;
	slot->class = class;
	*ret_class = class;
	if (++places->record_count > places->record_mask / 2)
		return grow_records(places);
	return 0;
}

/* ---- locations ------------------------------------------------------------------------------ */

struct sorting {
	const struct class *classes;
	struct grain grain;
};

static int compare_numbers(const void *a, const void *b, void *context)
{
	const struct sorting *sorting = context;
	const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = compare_classes(&sorting->classes[i], &sorting->classes[j], sorting->grain);

	/* qsort is not stable, and sums depend on the order they are made in. */
	return order ? order : (i > j) - (i < j);
}

/* Sorted by the grain; returns how many different ones there are. */
static uint32_t sort_classes(uint32_t *order, uint32_t count, const struct sorting *sorting)
{
	uint32_t different = 0;

	qsort_r(order, count, sizeof(order[0]), compare_numbers, (void *)sorting);
	for (uint32_t i = 0; i < count; i++)
		different +=
			i == 0 || compare_classes(&sorting->classes[order[i - 1]],
						  &sorting->classes[order[i]], sorting->grain) != 0;
	return different;
}

/* The location of classes order[0 .. count), which are one by the grain. */
static struct gs_location make_location(const struct class *classes, const uint32_t *order,
					uint32_t count, struct grain grain)
{
	const struct class *first = &classes[order[0]];
	const struct gs_country *country;
	struct gs_location location = {0};
	double lat_sum = 0, lon_sum = 0;
	uint64_t records = 0;

	for (uint32_t i = 0; i < count; i++) {
		lat_sum += classes[order[i]].lat_sum;
		lon_sum += classes[order[i]].lon_sum;
		records += classes[order[i]].records;
	}
	memcpy(location.country, first->country, sizeof(location.country));
	memcpy(location.continent, first->continent, sizeof(location.continent));
	if (grain.subdivisions)
		memcpy(location.subdivision, first->subdivision, sizeof(location.subdivision));
	country = gs_country_find(location.country);
	if (country && !location.continent[0])
		memcpy(location.continent, country->continent, sizeof(location.continent));
	location.has_coord = records > 0 || country;
	if (records > 0) {
		location.coord.lat_deg = lat_sum / (double)records;
		location.coord.lon_deg = lon_sum / (double)records;
	} else if (country) {
		location.coord = country->coord;
	}
	return location;
}

/* Coarser until it fits; the last grain has no cells, only pairs of country and continent. */
static uint32_t choose_grain(uint32_t *order, uint32_t count, uint32_t limit,
			     struct sorting *sorting)
{
	uint32_t different = sort_classes(order, count, sorting);

	if (different > limit && sorting->grain.subdivisions) {
		sorting->grain.subdivisions = false;
		different = sort_classes(order, count, sorting);
	}
	while (different > limit && sorting->grain.degrees != 0) {
		sorting->grain.degrees =
			sorting->grain.degrees < 256 ? sorting->grain.degrees * 2 : 0;
		different = sort_classes(order, count, sorting);
	}
	return different;
}

int gs_mmdb_places_finish(const struct gs_mmdb_places *places, uint32_t limit,
			  struct gs_location **ret_locations, uint32_t *ret_count,
			  uint16_t **ret_location_of)
{
	const uint32_t count = places->class_count - 1;
	struct sorting sorting = {places->classes, finest};
	GS_AUTO_FREE uint32_t *order = calloc(count + 1u, sizeof(*order));
	GS_AUTO_FREE uint16_t *location_of = calloc(count + 1u, sizeof(*location_of));
	GS_AUTO_FREE struct gs_location *locations = NULL;
	uint32_t different, id = 0;

	if (!order || !location_of)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		order[i] = i + 1;
	different = choose_grain(order, count, limit - 1, &sorting);
	locations = calloc(different + 1u, sizeof(*locations));
	if (!locations)
		return -ENOMEM;
	for (uint32_t i = 0, next; i < count; i = next) {
		id++;
		for (next = i; next < count &&
			       compare_classes(&places->classes[order[i]],
					       &places->classes[order[next]], sorting.grain) == 0;
		     next++)
			location_of[order[next]] = (uint16_t)id;
		locations[id] = make_location(places->classes, order + i, next - i, sorting.grain);
	}
	*ret_locations = gs_take_ptr(locations);
	*ret_count = different + 1;
	*ret_location_of = gs_take_ptr(location_of);
	return 0;
}
