// SPDX-License-Identifier: Apache-2.0
#include "zone_tab.h"

#include "lines.h"
#include "user/base/cleanup.h"
#include "user/core/geo.h"

#include <ctype.h>
#include <string.h>

/* "+DDMM", "-DDDMMSS", ...: degrees of two or three digits, by the number of them. */
static bool parse_degrees(const char *text, size_t length, size_t degree_digits, double *ret_deg)
{
	int numbers[3] = {0};
	size_t digits = length - 1;

	if (digits != degree_digits + 2 && digits != degree_digits + 4)
		return false;
	for (size_t i = 0; i < digits; i++) {
		size_t which = i < degree_digits ? 0 : 1 + (i - degree_digits) / 2;

		if (!isdigit((unsigned char)text[i + 1]))
			return false;
		numbers[which] = numbers[which] * 10 + text[i + 1] - '0';
	}
	*ret_deg = numbers[0] + numbers[1] / 60.0 + numbers[2] / 3600.0;
	if (text[0] == '-')
		*ret_deg = -*ret_deg;
	return numbers[1] < 60 && numbers[2] < 60;
}

static bool parse_coord(const char *text, struct gs_coord *ret_coord)
{
	size_t lat = 1, lon;

	if (text[0] != '+' && text[0] != '-')
		return false;
	lat += strcspn(text + 1, "+-");
	if (text[lat] == '\0')
		return false;
	lon = 1 + strspn(text + lat + 1, "0123456789");
	return (text[lat + lon] == '\t' || text[lat + lon] == '\0') &&
	       parse_degrees(text, lat, 2, &ret_coord->lat_deg) &&
	       parse_degrees(text + lat, lon, 3, &ret_coord->lon_deg) &&
	       gs_coord_is_valid(ret_coord);
}

static bool is_capital(char letter)
{
	return letter >= 'A' && letter <= 'Z';
}

int gs_zone_tab_read(const char *path, gs_zone_tab_add *add, void *context)
{
	GS_CLEANUP(gs_lines_close) struct gs_lines lines = {.path = path};
	int more = gs_lines_open(&lines);
	unsigned zones = 0;

	while (!more && (more = gs_lines_next(&lines)) > 0) {
		char code[3] = {0};
		struct gs_coord zone;

		more = 0;
		if (lines.line[0] == '#')
			continue;
		memcpy(code, lines.line, strnlen(lines.line, 2));
		if (!is_capital(code[0]) || !is_capital(code[1]) || lines.line[2] != '\t')
			return gs_lines_fail(&lines, "no code of two letters before the first tab");
		if (!parse_coord(lines.line + 3, &zone))
			return gs_lines_fail(&lines,
					     "no coordinates like +5230+01322 after the code");
		add(context, code, &zone);
		zones++;
	}
	if (!more && zones == 0)
		return gs_lines_complain("%s: no zones", path);
	return more;
}
