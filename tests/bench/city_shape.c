/* SPDX-License-Identifier: Apache-2.0 */
#include "city.h"

#include "user/base/cleanup.h"
#include "user/geoip/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number of 32 bits and nothing behind it but `end`; where that is, or NULL. */
static char *parse_number(char *text, char end, uint32_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long long number = strtoull(text, NULL, 10);

	if (digits == 0 || digits > 10 || number > UINT32_MAX || text[digits] != end)
		return NULL;
	*ret_number = (uint32_t)number;
	return text + digits;
}

/* Where a line's number belongs; NULL: said. */
static uint32_t *find_field(const struct gs_lines *lines, struct city_shape *shape, char *unit)
{
	uint32_t length;

	if (strcmp(unit, "networks") == 0)
		return &shape->networks;
	if (strcmp(unit, "cells") == 0)
		return &shape->cells;
	if (!parse_number(unit, '\0', &length) || length == 0 || length > shape->width) {
		gs_lines_fail(lines, shape->width == 32
					     ? "no prefix length of 1 to 32, \"networks\" or "
					       "\"cells\" in the second field"
					     : "no prefix length of 1 to 128, \"networks\" or "
					       "\"cells\" in the second field");
		return NULL;
	}
	return &shape->prefixes[length];
}

/* "family,unit,count" */
static int read_line(struct gs_lines *lines, struct city_shape shapes[2], bool seen[2][131])
{
	uint32_t family, count, *field;
	char *unit = parse_number(lines->line, ',', &family);
	char *last = unit ? strchr(unit + 1, ',') : NULL;
	struct city_shape *shape;
	bool *is_seen;

	if (!last || (family != 4 && family != 6))
		return gs_lines_fail(lines, "not a family (4 or 6), a unit and a count between "
					    "commas");
	*last = '\0';
	if (!parse_number(last + 1, '\0', &count))
		return gs_lines_fail(lines, "the count is no number below 2^32");
	shape = &shapes[family == 6];
	field = find_field(lines, shape, unit + 1);
	if (!field)
		return -EINVAL;
	/* networks and cells stand behind the lengths. */
	is_seen = &seen[family == 6][field == &shape->networks ? 129
				     : field == &shape->cells  ? 130
							       : field - shape->prefixes];
	if (*is_seen)
		return gs_lines_fail(lines, "the same unit as a line above");
	*is_seen = true;
	*field = count;
	return 0;
}

uint64_t city_shape_prefixes(const struct city_shape *shape)
{
	uint64_t prefixes = 0;

	for (unsigned length = 0; length <= shape->width; length++)
		prefixes += shape->prefixes[length];
	return prefixes;
}

/* What a bare histogram leaves open is as in city_prefixes.csv, in proportion. */
static void fill_in(struct city_shape *shape, const bool seen[131])
{
	const uint64_t prefixes = city_shape_prefixes(shape);

	if (!seen[129])
		shape->networks = (uint32_t)(prefixes + prefixes / 100 * 44);
	if (!seen[130])
		shape->cells = prefixes / 600 < 2 ? 2 : (uint32_t)(prefixes / 600);
}

/* Sums of the lines. */
static int check_shape(const char *path, const struct city_shape *shape)
{
	const char *family = shape->width == 32 ? "IPv4" : "IPv6";
	uint64_t prefixes = city_shape_prefixes(shape);
	/* Of IPv6 no half is public. */
	city_number left = (city_number)1 << (shape->width == 32 ? 32 : 127);

	if (prefixes == 0)
		return gs_lines_complain("%s: no %s prefixes", path, family);
	if (shape->networks < prefixes)
		return gs_lines_complain("%s: %s: %u networks cannot be %llu prefixes", path,
					 family, shape->networks, (unsigned long long)prefixes);
	if (shape->cells < 2 || shape->cells > prefixes || shape->cells > 60000)
		return gs_lines_complain("%s: %s: %u cells are not 2 to 60000, or more than "
					 "prefixes",
					 path, family, shape->cells);
	for (unsigned length = 1; length <= shape->width; length++) {
		city_number size = (city_number)1 << (shape->width - length);

		if (shape->prefixes[length] > left / size)
			return gs_lines_complain("%s: %s: prefixes of up to %u bits hold more "
						 "addresses than there are",
						 path, family, length);
		left -= size * shape->prefixes[length];
	}
	return 0;
}

int city_shape_read(const char *path, struct city_shape ret_shapes[2])
{
	GS_CLEANUP(gs_lines_close) struct gs_lines lines = {.path = path};
	struct city_shape shapes[2] = {{.width = 32, .part = 1}, {.width = 128, .part = 1}};
	bool seen[2][131] = {0};
	int more = gs_lines_open(&lines);
	int err;

	while (!more && (more = gs_lines_next(&lines)) > 0) {
		more = 0;
		if (lines.line[0] != '#' && strncmp(lines.line, "family,", 7) != 0)
			more = read_line(&lines, shapes, seen);
	}
	fill_in(&shapes[0], seen[0]);
	fill_in(&shapes[1], seen[1]);
	if (more || (err = check_shape(path, &shapes[0])) || (err = check_shape(path, &shapes[1])))
		return -EINVAL;
	memcpy(ret_shapes, shapes, sizeof(shapes));
	return 0;
}

void city_shape_scale(struct city_shape *shape, unsigned scale)
{
	const double ratio = (double)shape->networks / (double)city_shape_prefixes(shape);
	uint64_t rest = scale / 2;

	for (unsigned length = 0; length <= shape->width; length++) {
		rest += shape->prefixes[length];
		shape->prefixes[length] = (uint32_t)(rest / scale);
		rest %= scale;
	}
	shape->networks = (uint32_t)((double)city_shape_prefixes(shape) * ratio);
	shape->cells /= scale;
	if (shape->cells < 2)
		shape->cells = 2;
	shape->part *= scale;
}

static city_number number_of(struct gs_geo_key key)
{
	return (city_number)key.high << 64 | key.low;
}

/* Both ends included. */
static void count_interval(city_number first, city_number last, unsigned width,
			   uint64_t counts[129])
{
	for (;;) {
		unsigned bits = 0;

		while (bits < width - 1 && !(first >> bits & 1) &&
		       ((city_number)2 << bits) - 1 <= last - first)
			bits++;
		counts[width - bits]++;
		if (first + (((city_number)1 << bits) - 1) == last)
			return;
		first += (city_number)1 << bits;
	}
}

void city_shape_count(const struct gs_geodata_family *family, unsigned width,
		      uint64_t ret_counts[129])
{
	const city_number end = width == 32 ? UINT32_MAX : ~(city_number)0;

	memset(ret_counts, 0, 129 * sizeof(ret_counts[0]));
	for (size_t i = 0; i < family->start_count; i++)
		if (family->start_locations[i] != 0)
			count_interval(number_of(family->starts[i]),
				       i + 1 < family->start_count
					       ? number_of(family->starts[i + 1]) - 1
					       : end,
				       width, ret_counts);
}
