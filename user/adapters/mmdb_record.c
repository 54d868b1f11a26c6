// SPDX-License-Identifier: Apache-2.0
#include "mmdb_record.h"

#include "user/core/country.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The keys of a record that may say something about its place. */
enum key {
	KEY_NONE, /* ends a list */
	KEY_COUNTRY,
	KEY_COUNTRY_CODE,
	KEY_REGISTERED_COUNTRY,
	KEY_CONTINENT,
	KEY_CONTINENT_CODE,
	KEY_SUBDIVISIONS,
	KEY_LOCATION,
	KEY_LATITUDE,
	KEY_LAT,
	KEY_LONGITUDE,
	KEY_LNG,
	KEY_LON,
	KEY__COUNT,
};

static const char *const key_names[KEY__COUNT] = {
	[KEY_NONE] = "",
	[KEY_COUNTRY] = "country",
	[KEY_COUNTRY_CODE] = "country_code",
	[KEY_REGISTERED_COUNTRY] = "registered_country",
	[KEY_CONTINENT] = "continent",
	[KEY_CONTINENT_CODE] = "continent_code",
	[KEY_SUBDIVISIONS] = "subdivisions",
	[KEY_LOCATION] = "location",
	[KEY_LATITUDE] = "latitude",
	[KEY_LAT] = "lat",
	[KEY_LONGITUDE] = "longitude",
	[KEY_LNG] = "lng",
	[KEY_LON] = "lon",
};

/* One record's values by key. Of an array, its first element. */
struct record {
	const struct gs_mmdb_section *data;
	struct gs_mmdb_value values[KEY__COUNT];
	bool has[KEY__COUNT];
};

/* Where something may be found: a key of the record, and one of the map there unless inner is NULL.
 */
struct field {
	const char *inner;
	enum key key;
	bool lenient; /* a value of another shape is something else, not an error */
};

static enum key find_key(const struct gs_mmdb_value *name)
{
	if (name->type != GS_MMDB_TEXT)
		return KEY_NONE;
	for (int key = KEY_NONE + 1; key < KEY__COUNT; key++)
		if (strlen(key_names[key]) == name->count &&
		    memcmp(key_names[key], name->text, name->count) == 0)
			return (enum key)key;
	return KEY_NONE;
}

static void read_record(const struct gs_mmdb_section *data, const struct gs_mmdb_value *map,
			struct record *ret_record)
{
	size_t offset = map->content;

	memset(ret_record->has, 0, sizeof(ret_record->has));
	ret_record->data = data;
	for (uint32_t i = 0; i < map->count; i++) {
		struct gs_mmdb_value name = gs_mmdb_value_at(data, offset);
		enum key key = find_key(&name);

		offset = gs_mmdb_value_after(data, offset);
		if (key != KEY_NONE && !ret_record->has[key]) {
			struct gs_mmdb_value value = gs_mmdb_value_at(data, offset);

			ret_record->has[key] = value.type != GS_MMDB_ARRAY || value.count > 0;
			if (value.type == GS_MMDB_ARRAY && value.count > 0)
				value = gs_mmdb_value_at(data, value.content);
			ret_record->values[key] = value;
		}
		offset = gs_mmdb_value_after(data, offset);
	}
}

static bool find_field(const struct record *record, const struct field *field,
		       struct gs_mmdb_value *ret_value)
{
	if (!record->has[field->key])
		return false;
	if (field->inner)
		return gs_mmdb_map_find(record->data, &record->values[field->key], field->inner,
					ret_value);
	*ret_value = record->values[field->key];
	return true;
}

/* "country.iso_code must be text": as people write the field. */
static int fail_field(struct gs_error *error, const struct field *field, const char *wrong)
{
	return gs_mmdb_fail(-EINVAL, error, "%s%s%s %s", key_names[field->key],
			    field->inner ? "." : "", field->inner ? field->inner : "", wrong);
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* What flat databases write where they know nothing. */
static bool says_nothing(const struct gs_mmdb_value *value)
{
	return value->count == 0 || (value->count == 1 && value->text[0] == '-');
}

static int read_two_letters(const struct gs_mmdb_value *value, const struct field *field,
			    char code[3], struct gs_error *error)
{
	if (value->type != GS_MMDB_TEXT)
		return fail_field(error, field, "is no text");
	if (says_nothing(value))
		return 0;
	if (value->count != 2 || !is_letter(value->text[0]) || !is_letter(value->text[1]))
		return fail_field(error, field, "is no code of two letters");
	code[0] = upper(value->text[0]);
	code[1] = upper(value->text[1]);
	code[2] = '\0';
	return 0;
}

/* The first field that is there and says something. Continents only those that exist. */
static int read_code(const struct record *record, const struct field *fields, char code[3],
		     struct gs_error *error)
{
	static const char continents[] = "AF AN AS EU NA OC SA";

	for (; fields->key != KEY_NONE && !code[0]; fields++) {
		bool is_continent =
			fields->key == KEY_CONTINENT || fields->key == KEY_CONTINENT_CODE;
		struct gs_mmdb_value value;
		int err;

		if (!find_field(record, fields, &value))
			continue;
		if (fields->lenient && (value.type != GS_MMDB_TEXT || value.count != 2))
			continue;
		err = read_two_letters(&value, fields, code, error);
		if (err)
			return err;
		if (is_continent && code[0] && !strstr(continents, code))
			return fail_field(error, fields, "is none of the seven continents");
	}
	return 0;
}

static int read_country(const struct record *record, struct gs_mmdb_place *place,
			struct gs_error *error)
{
	static const struct field countries[] = {
		{"iso_code", KEY_COUNTRY, false}, {NULL, KEY_COUNTRY_CODE, false},
		{NULL, KEY_COUNTRY, true},	  {"iso_code", KEY_REGISTERED_COUNTRY, false},
		{NULL, KEY_NONE, false},
	};
	static const struct field continents[] = {
		{"code", KEY_CONTINENT, false},
		{NULL, KEY_CONTINENT_CODE, false},
		{NULL, KEY_CONTINENT, true},
		{NULL, KEY_NONE, false},
	};
	const struct gs_country *country;
	int err = read_code(record, countries, place->country, error);

	if (err)
		return err;
	/* Withdrawn codes: one country, one name. */
	country = gs_country_find(place->country);
	if (country)
		memcpy(place->country, country->code, sizeof(place->country));
	return read_code(record, continents, place->continent, error);
}

/* Only where the shape is known; a flat database's free text would be no class of clients. */
static int read_subdivision(const struct record *record, struct gs_mmdb_place *place,
			    struct gs_error *error)
{
	static const struct field field = {"iso_code", KEY_SUBDIVISIONS, false};
	struct gs_mmdb_value value;

	if (!find_field(record, &field, &value))
		return 0;
	if (value.type != GS_MMDB_TEXT)
		return fail_field(error, &field, "is no text");
	if (value.count >= sizeof(place->subdivision))
		return fail_field(error, &field, "is longer than 7 letters");
	for (uint32_t i = 0; i < value.count; i++) {
		char c = value.text[i];

		if (!is_letter(c) && !(c >= '0' && c <= '9'))
			return fail_field(error, &field, "is no ISO 3166-2 code");
		place->subdivision[i] = upper(c);
	}
	return 0;
}

/* Text of a decimal number, in any locale. */
static bool parse_real(const struct gs_mmdb_value *value, double *ret_real)
{
	char text[40], *end;
	double real;

	if (value->count >= sizeof(text))
		return false;
	memcpy(text, value->text, value->count);
	text[value->count] = '\0';
	if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != value->count)
		return false;
	real = strtod(text, &end);
	if (*end != '\0')
		return false;
	*ret_real = real;
	return true;
}

/* 1: *ret_deg; 0: says nothing; -EINVAL. */
static int read_degrees(const struct gs_mmdb_value *value, const struct field *field, double limit,
			double *ret_deg, struct gs_error *error)
{
	double deg = 0;

	switch (value->type) {
	case GS_MMDB_DOUBLE:
	case GS_MMDB_FLOAT:
		deg = value->real;
		break;
	case GS_MMDB_UINT16:
	case GS_MMDB_UINT32:
	case GS_MMDB_UINT64:
		deg = (double)value->number;
		break;
	case GS_MMDB_INT32:
		deg = (double)(int64_t)value->number;
		break;
	case GS_MMDB_TEXT:
		if (says_nothing(value))
			return 0;
		if (!parse_real(value, &deg))
			return fail_field(error, field, "is text that is no number");
		break;
	default:
		return fail_field(error, field, "is no number");
	}
	if (!isfinite(deg) || fabs(deg) > limit)
		return fail_field(error, field, "is not on the globe");
	*ret_deg = deg;
	return 1;
}

/* One coordinate by the first of its names; as read_degrees. */
static int find_degrees(const struct record *record, const struct field *fields, double limit,
			double *ret_deg, struct gs_error *error)
{
	struct gs_mmdb_value value;

	for (; fields->key != KEY_NONE; fields++)
		if (find_field(record, fields, &value))
			return read_degrees(&value, fields, limit, ret_deg, error);
	return 0;
}

/* Nobody lives at 0, 0: databases write it where they have no coordinates. */
static int read_coord(const struct record *record, struct gs_mmdb_place *place,
		      struct gs_error *error)
{
	static const struct field latitudes[] = {
		{"latitude", KEY_LOCATION, false},
		{NULL, KEY_LATITUDE, false},
		{NULL, KEY_LAT, false},
		{NULL, KEY_NONE, false},
	};
	static const struct field longitudes[] = {
		{"longitude", KEY_LOCATION, false},
		{NULL, KEY_LONGITUDE, false},
		{NULL, KEY_LNG, false},
		{NULL, KEY_LON, false},
		{NULL, KEY_NONE, false},
	};
	struct gs_coord coord = {0};
	int has_lat, has_lon;

	has_lat = find_degrees(record, latitudes, 90, &coord.lat_deg, error);
	if (has_lat < 0)
		return has_lat;
	has_lon = find_degrees(record, longitudes, 180, &coord.lon_deg, error);
	if (has_lon < 0)
		return has_lon;
	if (has_lat != has_lon)
		return gs_mmdb_fail(-EINVAL, error, "%s without the other coordinate",
				    has_lat ? "latitude" : "longitude");
	if (has_lat && (coord.lat_deg != 0 || coord.lon_deg != 0)) {
		place->has_coord = true;
		place->coord = coord;
	}
	return 0;
}

int gs_mmdb_place_read(const struct gs_mmdb_section *data, size_t offset,
		       struct gs_mmdb_place *ret_place, struct gs_error *error)
{
	struct gs_mmdb_value map = gs_mmdb_value_at(data, offset);
	struct gs_mmdb_place place = {0};
	struct record record;
	int err;

	if (map.type == GS_MMDB_MAP) {
		read_record(data, &map, &record);
		if ((err = read_country(&record, &place, error)) ||
		    (err = read_subdivision(&record, &place, error)) ||
		    (err = read_coord(&record, &place, error)))
			return err;
	}
	*ret_place = place;
	return 0;
}
