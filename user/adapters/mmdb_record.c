// SPDX-License-Identifier: Apache-2.0
#include "mmdb_record.h"

#include "user/core/country.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Where something may be found, as keys from the record inwards. */
struct field {
	const char *path[4]; /* ends with NULL; at once: ends a list of fields */
	bool lenient;	     /* a value of another shape is something else, not an error */
	bool is_continent;
};

/* "country.iso_code is no text": as people write the field. */
static int fail_field(struct gs_error *error, const struct field *field, const char *wrong)
{
	const char *const *path = field->path;

	return gs_mmdb_fail(-EINVAL, error, "%s%s%s%s%s %s", path[0], path[1] ? "." : "",
			    path[1] ? path[1] : "", path[1] && path[2] ? "." : "",
			    path[1] && path[2] ? path[2] : "", wrong);
}

/* 1: *ret_value; 0: not there; -EINVAL. */
static int find_field(const MMDB_entry_s *record, const struct field *field,
		      MMDB_entry_data_s *ret_value, struct gs_error *error)
{
	MMDB_entry_s start = *record;
	int status = MMDB_aget_value(&start, ret_value, field->path);

	if (status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
		return 0;
	if (status != MMDB_SUCCESS)
		return fail_field(error, field, MMDB_strerror(status));
	return 1;
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
static bool says_nothing(const MMDB_entry_data_s *text)
{
	return text->data_size == 0 || (text->data_size == 1 && text->utf8_string[0] == '-');
}

static int read_two_letters(const MMDB_entry_data_s *value, const struct field *field, char code[3],
			    struct gs_error *error)
{
	if (value->type != MMDB_DATA_TYPE_UTF8_STRING)
		return fail_field(error, field, "is no text");
	if (says_nothing(value))
		return 0;
	if (value->data_size != 2 || !is_letter(value->utf8_string[0]) ||
	    !is_letter(value->utf8_string[1]))
		return fail_field(error, field, "is no code of two letters");
	code[0] = upper(value->utf8_string[0]);
	code[1] = upper(value->utf8_string[1]);
	code[2] = '\0';
	return 0;
}

/* The first field that is there and says something. */
static int read_code(const MMDB_entry_s *record, const struct field *fields, char code[3],
		     struct gs_error *error)
{
	for (; fields->path[0] && !code[0]; fields++) {
		MMDB_entry_data_s value;
		int found = find_field(record, fields, &value, error);

		if (found < 0)
			return found;
		if (!found || (fields->lenient &&
			       (value.type != MMDB_DATA_TYPE_UTF8_STRING || value.data_size != 2)))
			continue;
		found = read_two_letters(&value, fields, code, error);
		if (found)
			return found;
		if (fields->is_continent && code[0] && !strstr("AF AN AS EU NA OC SA", code))
			return fail_field(error, fields, "is none of the seven continents");
	}
	return 0;
}

static int read_country(const MMDB_entry_s *record, struct gs_mmdb_place *place,
			struct gs_error *error)
{
	static const struct field countries[] = {
		{.path = {"country", "iso_code"}},
		{.path = {"country_code"}},
		{.path = {"country"}, .lenient = true},
		{.path = {"registered_country", "iso_code"}},
		{.path = {NULL}},
	};
	static const struct field continents[] = {
		{.path = {"continent", "code"}, .is_continent = true},
		{.path = {"continent_code"}, .is_continent = true},
		{.path = {"continent"}, .is_continent = true, .lenient = true},
		{.path = {NULL}},
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
static int read_subdivision(const MMDB_entry_s *record, struct gs_mmdb_place *place,
			    struct gs_error *error)
{
	static const struct field field = {.path = {"subdivisions", "0", "iso_code"}};
	MMDB_entry_data_s value;
	int found = find_field(record, &field, &value, error);

	if (found <= 0)
		return found;
	if (value.type != MMDB_DATA_TYPE_UTF8_STRING)
		return fail_field(error, &field, "is no text");
	if (value.data_size >= sizeof(place->subdivision))
		return fail_field(error, &field, "is longer than 7 letters");
	for (uint32_t i = 0; i < value.data_size; i++) {
		char c = value.utf8_string[i];

		if (!is_letter(c) && !(c >= '0' && c <= '9'))
			return fail_field(error, &field, "is no ISO 3166-2 code");
		place->subdivision[i] = upper(c);
	}
	return 0;
}

/* Text of a decimal number, in any locale. */
static bool parse_real(const MMDB_entry_data_s *value, double *ret_real)
{
	char text[40], *end;
	double real;

	if (value->data_size >= sizeof(text))
		return false;
	memcpy(text, value->utf8_string, value->data_size);
	text[value->data_size] = '\0';
	if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != value->data_size)
		return false;
	real = strtod(text, &end);
	if (*end != '\0')
		return false;
	*ret_real = real;
	return true;
}

/* 1: *ret_deg; 0: says nothing; -EINVAL. */
static int read_degrees(const MMDB_entry_data_s *value, const struct field *field, double limit,
			double *ret_deg, struct gs_error *error)
{
	double deg = 0;

	switch (value->type) {
	case MMDB_DATA_TYPE_DOUBLE:
		deg = value->double_value;
		break;
	case MMDB_DATA_TYPE_FLOAT:
		deg = (double)value->float_value;
		break;
	case MMDB_DATA_TYPE_UINT16:
		deg = value->uint16;
		break;
	case MMDB_DATA_TYPE_UINT32:
		deg = value->uint32;
		break;
	case MMDB_DATA_TYPE_UINT64:
		deg = (double)value->uint64;
		break;
	case MMDB_DATA_TYPE_INT32:
		deg = value->int32;
		break;
	case MMDB_DATA_TYPE_UTF8_STRING:
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
static int find_degrees(const MMDB_entry_s *record, const struct field *fields, double limit,
			double *ret_deg, struct gs_error *error)
{
	MMDB_entry_data_s value;

	for (; fields->path[0]; fields++) {
		int found = find_field(record, fields, &value, error);

		if (found < 0)
			return found;
		if (found)
			return read_degrees(&value, fields, limit, ret_deg, error);
	}
	return 0;
}

/* Nobody lives at 0, 0: databases write it where they have no coordinates. */
static int read_coord(const MMDB_entry_s *record, struct gs_mmdb_place *place,
		      struct gs_error *error)
{
	static const struct field latitudes[] = {
		{.path = {"location", "latitude"}},
		{.path = {"latitude"}},
		{.path = {"lat"}},
		{.path = {NULL}},
	};
	static const struct field longitudes[] = {
		{.path = {"location", "longitude"}},
		{.path = {"longitude"}},
		{.path = {"lng"}},
		{.path = {"lon"}},
		{.path = {NULL}},
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

int gs_mmdb_place_read(const MMDB_s *mmdb, uint32_t offset, struct gs_mmdb_place *ret_place,
		       struct gs_error *error)
{
	const MMDB_entry_s record = {.mmdb = mmdb, .offset = offset};
	struct gs_mmdb_place place = {0};
	int err;

	if ((err = read_country(&record, &place, error)) ||
	    (err = read_subdivision(&record, &place, error)) ||
	    (err = read_coord(&record, &place, error)))
		return err;
	*ret_place = place;
	return 0;
}
