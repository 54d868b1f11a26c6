// SPDX-License-Identifier: Apache-2.0
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
	[GS_PLACE_EVERYBODY] = "everybody",
	[GS_PLACE_CONTINENT] = "continent",
	[GS_PLACE_COUNTRY] = "country",
	[GS_PLACE_SUBDIVISION] = "subdivision",
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == GS_PLACE__COUNT, "names");

static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char capitals_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static bool is_continent(const char *code)
{
	static const char *const codes[] = {"AF", "AN", "AS", "EU", "NA", "OC", "SA"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i], code) == 0)
			return true;
	return false;
}

bool gs_place_is_valid(const struct gs_place *place)
{
	const char *code = place->code;
	size_t length = strnlen(code, sizeof(place->code));

	if (length == sizeof(place->code))
		return false;
	switch (place->kind) {
	case GS_PLACE_EVERYBODY:
		return length == 0;
	case GS_PLACE_CONTINENT:
		return is_continent(code);
	case GS_PLACE_COUNTRY:
		return length == 2 && strspn(code, capitals) == 2;
	case GS_PLACE_SUBDIVISION:
		return length >= 4 && length <= 6 && strspn(code, capitals) >= 2 &&
		       code[2] == '-' && strspn(code + 3, capitals_and_digits) == length - 3;
	default:
		return false;
	}
}

int gs_place_parse(const char *text, struct gs_place *ret_place)
{
	size_t length = strcspn(text, ":");

	for (int kind = 0; kind < GS_PLACE__COUNT; kind++) {
		struct gs_place place = {.kind = (enum gs_place_kind)kind};
		const char *code = text[length] ? text + length + 1 : "";

		if (strlen(kinds[kind]) != length || strncmp(kinds[kind], text, length) != 0)
			continue;
		if (strlen(code) >= sizeof(place.code) ||
		    (kind == GS_PLACE_EVERYBODY && text[length]))
			return -EINVAL;
		memcpy(place.code, code, strlen(code) + 1);
		if (!gs_place_is_valid(&place))
			return -EINVAL;
		*ret_place = place;
		return 0;
	}
	return -EINVAL;
}

const char *gs_place_format(const struct gs_place *place, char out[GS_PLACE_TEXT_MAX])
{
	snprintf(out, GS_PLACE_TEXT_MAX, "%s%s%.11s",
		 place->kind < GS_PLACE__COUNT ? kinds[place->kind] : "?",
		 place->kind == GS_PLACE_EVERYBODY ? "" : ":", place->code);
	return out;
}

int gs_place_compare(const struct gs_place *a, const struct gs_place *b)
{
	return a->kind != b->kind ? (int)a->kind - (int)b->kind
				  : strncmp(a->code, b->code, sizeof(a->code));
}

static enum gs_place_answer answer(const char *known, const char *wanted)
{
	if (!known[0])
		return GS_PLACE_UNKNOWN;
	return strcmp(known, wanted) == 0 ? GS_PLACE_YES : GS_PLACE_NO;
}

enum gs_place_answer gs_place_holds(const struct gs_place *place,
				    const struct gs_location *location)
{
	switch (place->kind) {
	case GS_PLACE_EVERYBODY:
		return GS_PLACE_YES;
	case GS_PLACE_CONTINENT:
		return answer(location->continent, place->code);
	case GS_PLACE_COUNTRY:
		return answer(location->country, place->code);
	default:
		if (!location->country[0])
			return GS_PLACE_UNKNOWN;
		if (strncmp(location->country, place->code, 2) != 0)
			return GS_PLACE_NO;
		return answer(location->subdivision, place->code + 3);
	}
}
